/* error.c - one line on stderr, then every rank stops. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void (*stop_all)(int exit_code);
static int my_rank = -1;

void error_set_stop(void (*stop)(int exit_code), int rank)
{
    stop_all = stop;
    my_rank = rank;
}

static _Noreturn void stop(int code)
{
    fflush(NULL);
    if (stop_all) {
        stop_all(code);
    }
    _Exit(code);
}

/* What fails on one rank often fails on all at once (a full disk).  Ranks cannot agree on who speaks, so they wait for their turn: rank 0's
 * line stands alone, as it stops the others while they wait.  Open MPI sends SIGTERM, which does not end the wait, and SIGKILL 1 s later. */
static void wait_turn(void)
{
    struct timespec left = {2, 50000000L * (my_rank < 19 ? my_rank : 19)};
    while (my_rank > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

_Noreturn void error_fatal(enum exit_code code, const char *fmt, ...)
{
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    wait_turn();
    if (my_rank > 0) {
        fprintf(stderr, "chiasm: error: %s [rank %d]\n", line, my_rank);
    } else {
        fprintf(stderr, "chiasm: error: %s\n", line);
    }
    stop(code);
}

_Noreturn void error_assert(const char *what, const char *file, int line)
{
    fprintf(stderr, "chiasm: internal error: %s is false at %s:%d (rank %d). Please report this line.\n", what, file, line,
            my_rank < 0 ? 0 : my_rank);
    stop(EXIT_INTERNAL);
}

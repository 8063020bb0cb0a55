/* log.c - lines, progress and phase times. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int my_rank;
static enum log_level level_wanted = LOG_PROGRESS;
static bool line_open; /* a rewritten progress line stands on the terminal */
static double last_progress = -1e9;

static double phase_seconds[PHASE_COUNT], phase_since = -1;
static enum log_phase phase_current = PHASE_OTHER;

const char *const log_phase_name[PHASE_COUNT] = {"init", "stimulus", "compute", "borders", "record", "output", "restart", "other"};

void log_start(int rank, enum log_level level)
{
    my_rank = rank;
    level_wanted = level;
}

static void end_line(void)
{
    if (line_open) {
        fputc('\n', stdout);
        line_open = false;
    }
}

void log_say(enum log_level level, const char *fmt, ...)
{
    if (my_rank != 0 || level > level_wanted) {
        return;
    }
    end_line();
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    fputc('\n', stdout);
    fflush(stdout);
}

void log_warn(const char *fmt, ...)
{
    if (my_rank != 0) {
        return;
    }
    end_line();
    fflush(stdout);
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    fprintf(stderr, "chiasm: warning: %s\n", line); /* in one piece: mpirun puts what it forwards of stdout between two */
}

void log_progress(const char *fmt, ...)
{
    bool terminal = isatty(STDOUT_FILENO);
    double now = log_clock();
    if (my_rank != 0 || level_wanted < LOG_PROGRESS || now - last_progress < (terminal ? 0.2 : 60.0)) {
        return;
    }
    last_progress = now;
    va_list args;
    va_start(args, fmt);
    if (terminal) {
        fputs("\r\033[K", stdout);
    }
    vprintf(fmt, args);
    va_end(args);
    if (terminal) {
        line_open = true;
    } else {
        fputc('\n', stdout);
    }
    fflush(stdout);
}

void log_progress_end(void)
{
    end_line();
    last_progress = -1e9;
}

double log_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void log_phase(enum log_phase next)
{
    double now = log_clock();
    if (phase_since >= 0) {
        phase_seconds[phase_current] += now - phase_since;
    }
    phase_since = now;
    phase_current = next;
}

enum log_phase log_phase_now(void)
{
    return phase_current;
}

double log_phase_seconds(enum log_phase p)
{
    return phase_seconds[p];
}

/* error.h - the two ways a run goes wrong, and the exit codes.  Expected outcomes are enums of the function asked. */
#ifndef ERROR_H
#define ERROR_H
#include "base/base.h"

/* Exit codes of the program, as in sysexits.h; 124 and above belong to the shell and the scheduler. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_USAGE = 64,      /* wrong command line */
    EXIT_BAD_INPUT = 65,  /* the input file, or a file it names, has problems; all were listed */
    EXIT_NO_INPUT = 66,   /* an input file cannot be opened */
    EXIT_NO_DEVICE = 69,  /* the device asked for is not there, or memory does not suffice */
    EXIT_INTERNAL = 70,   /* our mistake */
    EXIT_NO_OUTPUT = 73,  /* the result cannot be created */
    EXIT_IO = 74,         /* reading or writing failed on the way (disk full) */
    EXIT_STOPPED = 75,    /* stopped in good order, restart file written; Slurm: RequeueExit=75 */
    EXIT_DIVERGED = 76    /* NaN or infinity in the model */
};

/* 1. Our own mistake.  Always compiled in; keep the condition O(1). */
#define ASSERT(c) ((c) ? (void)0 : error_assert(#c, __FILE__, __LINE__))
_Noreturn void error_assert(const char *what, const char *file, int line);

/* 2. The outside world failed and this run cannot go on: one line on stderr (what, where, what to do about it), then
 *    every rank is stopped with this exit code.  Never returns, never communicates. */
_Noreturn void error_fatal(enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* comm.c installs MPI_Abort here, so that this room need not know MPI.  rank is printed in front of the line (< 0: not). */
void error_set_stop(void (*stop)(int exit_code), int rank);

#endif

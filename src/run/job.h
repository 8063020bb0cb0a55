/* job.h - the straight path of a job: command line, input, plan, run, result. */
#ifndef JOB_H
#define JOB_H
#include "run/options.h"

/* Collective: a command that works on an input (validate, simulate).  Returns the exit code, the same on every rank. */
int job_run(const options *o, int argc, char *const argv[]);

/* Help, version and wrong command lines: no input, no MPI.  Returns the exit code. */
bool job_is_talk(const options *o);
int job_talk(const options *o);
#endif

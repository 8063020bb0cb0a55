/* guard.h - the CPU's ops on watched memory (guard.cpp): fresh memory is NaN, sentinels round every array are looked at after every op, and host code
 * that touches backend memory outside an op ends the program.  Its name is "guard", so that nobody takes its memory for the host's. */
#ifndef GUARD_H
#define GUARD_H
#include "compute/backend.h"

#ifdef __cplusplus
extern "C" {
#endif
backend *guard_open(int nthread);
void guard_close(backend *be);
#ifdef __cplusplus
}
#endif
#endif

/* threads.h - host work that falls in pieces, over the threads of this rank (run.threads).  The work alone says what its pieces are, and one thread does
 * a piece, so no result depends on how many there are. */
#ifndef THREADS_H
#define THREADS_H
#include "base/base.h"

void threads_use(int n); /* from now on; 1 at the start */
/* Calls work once for every i of 0..n-1, in any order.  From within a piece: one after the other. */
void threads_each(int64_t n, void (*work)(void *ctx, int64_t i), void *ctx);
#endif

/* rewind.h - states kept during the forward sweep so that the backward sweep can recompute each chunk.  Knows no model: a state is n reals.
 * Two levels: every k-th chunk boundary of the whole sequence, and all boundaries of the one segment of k chunks now being walked back: memory
 * ceil(nchunk / k) + k - 1 states.  The last segment is filled by the forward sweep itself; each other one takes k - 1 chunks run again, so the extra
 * work is nothing for k = 1 and less than one forward sweep otherwise (besides running each chunk again for its adjoint). */
#ifndef REWIND_H
#define REWIND_H
#include "base/base.h"

typedef struct rewind_store rewind_store;
/* Smallest k whose states fit in bytes_allowed; NULL if none does.  *needed: bytes that the thriftiest k takes. */
rewind_store *rewind_create(int64_t nstate, int nchunk, size_t bytes_allowed, size_t *needed);
int rewind_spacing(const rewind_store *r); /* k */
size_t rewind_bytes(const rewind_store *r);
int rewind_nforward(const rewind_store *r); /* chunks that one backward sweep runs again by `forward` */
/* Forward sweep, at the beginning of chunk ichunk: where to put the state, or NULL if this boundary is not kept. */
real *rewind_keep(rewind_store *r, int ichunk);
/* Backward sweep, chunks from last to first: the state at the beginning of ichunk.  If it is not held, forward(ctx, jchunk, from, to) is called from
 * the nearest boundary held: it runs chunk jchunk from state `from` and puts the state after it to `to`. */
const real *rewind_state(rewind_store *r, int ichunk, void (*forward)(void *ctx, int jchunk, const real *from, real *to), void *ctx);
void rewind_destroy(rewind_store *r);
#endif

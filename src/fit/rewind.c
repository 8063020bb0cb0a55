/* rewind.c - states at every k-th chunk, and those of one segment between. */
#include "fit/rewind.h"

#include "base/error.h"
#include "base/memory.h"

struct rewind_store {
    int64_t nstate;
    int nchunk, k, nsegment;
    real *at;    /* nsegment states at the beginnings of segments, then k - 1 inside the segment `held` */
    int segment; /* whose inner states are held, or are being filled */
    int nheld;   /* how many of its boundaries are, the first among them */
};

static int64_t states(int nchunk, int k)
{
    return (nchunk + k - 1) / k + k - 1;
}

rewind_store *rewind_create(int64_t nstate, int nchunk, size_t bytes_allowed, size_t *needed)
{
    ASSERT(nstate >= 0 && nchunk > 0);
    size_t bytes_state = (size_t)nstate * sizeof(real);
    int64_t least = nchunk;
    int chosen = 0;
    for (int k = 1; k <= nchunk; k++) {
        int64_t n = states(nchunk, k);
        least = n < least ? n : least;
        if (chosen == 0 && (size_t)n * bytes_state <= bytes_allowed) {
            chosen = k;
        }
    }
    *needed = (size_t)least * bytes_state;
    if (chosen == 0) {
        return NULL;
    }
    rewind_store *r = MEMORY_NEW(rewind_store, 1);
    *r = (rewind_store){.nstate = nstate, .nchunk = nchunk, .k = chosen, .nsegment = (nchunk + chosen - 1) / chosen, .segment = -1};
    r->at = MEMORY_NEW(real, states(nchunk, chosen) * nstate);
    return r;
}

int rewind_spacing(const rewind_store *r)
{
    return r->k;
}

size_t rewind_bytes(const rewind_store *r)
{
    return (size_t)(states(r->nchunk, r->k) * r->nstate) * sizeof(real);
}

int rewind_nforward(const rewind_store *r)
{
    return (r->nsegment - 1) * (r->k - 1);
}

/* Where the state at the beginning of a chunk stands, if it is held. */
static real *slot(rewind_store *r, int ichunk)
{
    int inside = ichunk % r->k;
    return r->at + (inside == 0 ? ichunk / r->k : r->nsegment + inside - 1) * r->nstate;
}

real *rewind_keep(rewind_store *r, int ichunk)
{
    ASSERT(ichunk >= 0 && ichunk < r->nchunk);
    int segment = ichunk / r->k, inside = ichunk % r->k;
    if (segment == r->nsegment - 1) { /* the backward sweep begins here, so all of it is kept */
        r->segment = segment;
        r->nheld = inside + 1;
        return slot(r, ichunk);
    }
    return inside == 0 ? slot(r, ichunk) : NULL;
}

const real *rewind_state(rewind_store *r, int ichunk, void (*forward)(void *ctx, int jchunk, const real *from, real *to), void *ctx)
{
    ASSERT(ichunk >= 0 && ichunk < r->nchunk);
    int segment = ichunk / r->k, first = segment * r->k, inside = ichunk % r->k;
    if (r->segment != segment) {
        r->segment = segment;
        r->nheld = 1;
    }
    for (; r->nheld <= inside; r->nheld++) {
        int jchunk = first + r->nheld - 1;
        forward(ctx, jchunk, slot(r, jchunk), slot(r, jchunk + 1));
    }
    return slot(r, ichunk);
}

void rewind_destroy(rewind_store *r)
{
    if (r) {
        memory_free(r->at);
        memory_free(r);
    }
}

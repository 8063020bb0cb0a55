/* frames.h - arrays for the tests of single ops: two leaves of different size, some channels and frames, a halo. */
#ifndef FRAMES_H
#define FRAMES_H
#include "device.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
static const double rounding = 1e-12; /* of sums of some thousand products of about 1 */
#else
static const double rounding = 2e-5; /* the same; exp and log have 3e-7 */
#endif
enum { LEAVES = 2, CHANNELS = 3, NY = 3, NX = 300, HALO = 1, NT = 9, ROW = NX + 2 * HALO, ROWS = NY + 2 * HALO, PLANE = NY * NX };
enum { ARRAY = LEAVES * NT * CHANNELS * ROWS * ROW };
static const grid_tile tiles[LEAVES] = {{0, 0, 0, NY, NX}, {1, 0, NX, NY - 1, NX - 31}};

static backend *be;

static inline view new_view(void)
{
    view v = {be->ops->alloc(be, ARRAY), tiles, LEAVES, CHANNELS, HALO, NT * CHANNELS * ROWS * ROW, CHANNELS * ROWS * ROW, ROWS * ROW, ROW, NY, NX};
    v.at += HALO * ROW + HALO;
    return v;
}

static inline view zero_view(void) /* for what is added to */
{
    view v = new_view();
    be->ops->fill(be, v.at - HALO * ROW - HALO, 0, ARRAY);
    return v;
}

static inline void free_view(view v)
{
    be->ops->release(be, v.at - HALO * ROW - HALO);
}

static inline void fill(dreal *at, int64_t n, uint64_t seed, double from, double to)
{
    real *number = MEMORY_NEW(real, n);
    for (int64_t i = 0; i < n; i++) {
        number[i] = (real)(from + (to - from) * 0.5 * (1 + test_random(&seed)));
    }
    be->ops->upload(be, at, number, n);
    memory_free(number);
}

static inline void fill_view(view v, uint64_t seed, double from, double to)
{
    fill(v.at - HALO * ROW - HALO, ARRAY, seed, from, to);
}

static inline int64_t pixel(int l, int t, int c, int y, int x)
{
    return (((int64_t)(l * NT + t) * CHANNELS + c) * ROWS + y) * ROW + x;
}

#define EACH_PIXEL(l, t, c, y, x)                                                                                                                    \
    for (int l = 0; l < LEAVES; l++)                                                                                                                 \
        for (int t = 0; t < NT; t++)                                                                                                                 \
            for (int c = 0; c < CHANNELS; c++)                                                                                                       \
                for (int y = 0; y < tiles[l].ny; y++)                                                                                                \
                    for (int x = 0; x < tiles[l].nx; x++)

/* The whole array, halo and all, in host memory; leave() ends that. */
static inline view look(view v)
{
    v.at = (dreal *)test_get(be, v.at - HALO * ROW - HALO, ARRAY) + HALO * ROW + HALO;
    return v;
}
static inline void leave(view seen)
{
    memory_free(seen.at - HALO * ROW - HALO);
}

static inline double inner(view a, view b)
{
    double sum = 0;
    view p = look(a), q = look(b);
    EACH_PIXEL(l, t, c, y, x)
    {
        sum += (double)host(p.at)[pixel(l, t, c, y, x)] * (double)host(q.at)[pixel(l, t, c, y, x)];
    }
    leave(p);
    leave(q);
    return sum;
}

static inline bool same_bits(const dreal *a, const dreal *b, int64_t n)
{
    real *p = test_get(be, a, n), *q = test_get(be, b, n);
    bool same = memcmp(p, q, (size_t)n * sizeof(real)) == 0;
    memory_free(p);
    memory_free(q);
    return same;
}
#endif

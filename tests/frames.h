/* frames.h - arrays for the tests of single ops: two leaves of different size, some channels and frames, a halo. */
#ifndef FRAMES_H
#define FRAMES_H
#include "compute/backend.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
static const double rounding = 1e-12; /* of sums of some thousand products of about 1 */
#else
static const double rounding = 2e-5; /* the same; exp and log have 3e-7 */
#endif
enum { LEAVES = 2, CHANNELS = 3, NY = 3, NX = 300, HALO = 1, NT = 9, ROW = NX + 2 * HALO, ROWS = NY + 2 * HALO, PLANE = NY * NX };
enum { ARRAY = LEAVES * NT * CHANNELS * ROWS * ROW, STATE = LEAVES * 4 * CHANNELS * PLANE };
static const grid_tile tiles[LEAVES] = {{0, 0, 0, NY, NX}, {1, 0, NX, NY - 1, NX - 31}};

static backend *be;

static inline view new_view(void)
{
    view v = {be->ops->alloc(be, ARRAY), tiles, LEAVES, CHANNELS, HALO, NT * CHANNELS * ROWS * ROW, CHANNELS * ROWS * ROW, ROWS * ROW, ROW, NY, NX};
    v.at += HALO * ROW + HALO;
    return v;
}

static inline void free_view(view v)
{
    be->ops->release(be, v.at - HALO * ROW - HALO);
}

static inline void fill(dreal *at, int64_t n, uint64_t seed, double from, double to)
{
    for (int64_t i = 0; i < n; i++) {
        host(at)[i] = (real)(from + (to - from) * 0.5 * (1 + test_random(&seed)));
    }
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

static inline double inner(view a, view b)
{
    double sum = 0;
    EACH_PIXEL(l, t, c, y, x)
    {
        sum += (double)host(a.at)[pixel(l, t, c, y, x)] * (double)host(b.at)[pixel(l, t, c, y, x)];
    }
    return sum;
}

static inline bool same_bits(const dreal *a, const dreal *b, int64_t n)
{
    return memcmp(a, b, (size_t)n * sizeof(real)) == 0;
}
#endif

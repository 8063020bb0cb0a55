/* test_pool_space.c - means and largest of squares against plain loops, and what their derivative adds where. */
#include "device.h"
#include "test.h"

enum { LEAVES = 2, CHANNELS = 2, NT = 3, SIZE = 3, NY = 8, NX = 10, HALO = 1, ROW = NX + 2 * HALO, PLANE = (NY + 2 * HALO) * ROW };
enum { OUT_NY = NY / SIZE, OUT_NX = NX / SIZE, OUT_PLANE = OUT_NY * OUT_NX };
static const grid_tile tile[LEAVES] = {{0, 0, 0, NY, NX}, {1, 0, 0, NY, NX}};
static const grid_tile out_tile[LEAVES] = {{0, 0, 0, OUT_NY, OUT_NX}, {1, 0, 0, OUT_NY, OUT_NX}};
static const double rounding = sizeof(real) == sizeof(float) ? 1e-6 : 1e-14; /* of nine numbers below 1 */

static view new_view(backend *be, bool out)
{
    int64_t plane = out ? OUT_PLANE : PLANE, frame = CHANNELS * plane;
    view v = {be->ops->alloc(be, LEAVES * NT * frame), out ? out_tile : tile, LEAVES, CHANNELS, out ? 0 : HALO, NT * frame, frame, plane,
              out ? OUT_NX : ROW, out ? OUT_NY : NY, out ? OUT_NX : NX};
    v.at += out ? 0 : HALO * ROW + HALO;
    return v;
}

static real *pixel(view v, int64_t frame, int y, int x) /* frame: of all leaves, steps and channels */
{
    return host(v.at) + frame * v.chan_stride + y * v.row_stride + x;
}

static void fill(backend *be, view v, int64_t n, uint64_t seed, bool alike)
{
    real *number = MEMORY_NEW(real, n);
    for (int64_t i = 0; i < n; i++) {
        number[i] = (real)(alike ? floor(4 * test_random(&seed)) / 4 : test_random(&seed));
    }
    be->ops->upload(be, v.at - v.halo * v.row_stride - v.halo, number, n);
    memory_free(number);
}

static void try_form(bool largest)
{
    backend *be = test_backend(1);
    view there[] = {new_view(be, false), new_view(be, false), new_view(be, true), new_view(be, true)}, x = there[0], gx = there[1], y = there[2],
         gy = there[3];
    fill(be, x, LEAVES * NT * CHANNELS * PLANE, 4, true);
    fill(be, gy, LEAVES * NT * CHANNELS * OUT_PLANE, 5, false);
    be->ops->fill(be, gx.at - HALO * ROW - HALO, 0, LEAVES * NT * CHANNELS * PLANE);
    be->ops->pool_space(be, SIZE, largest, NT, x, y);
    be->ops->pool_space_back(be, SIZE, largest, NT, x, gy, gx);
    be->ops->pool_space_back(be, SIZE, largest, NT, x, gy, gx); /* it adds */
    view *const seen[] = {&x, &gx, &y, &gy};
    for (int i = 0; i < 4; i++) {
        *seen[i] = test_take(be, there[i], NT);
    }
    for (int64_t f = 0; f < LEAVES * NT * CHANNELS; f++) {
        double wanted[NY][NX] = {{0}};
        for (int o = 0; o < OUT_PLANE; o++) {
            int y0 = o / OUT_NX * SIZE, x0 = o % OUT_NX * SIZE, best = 0;
            double sum = 0, g = 2 * (double)*pixel(gy, f, o / OUT_NX, o % OUT_NX);
            for (int k = 0; k < SIZE * SIZE; k++) {
                sum += (double)*pixel(x, f, y0 + k / SIZE, x0 + k % SIZE);
                best = *pixel(x, f, y0 + k / SIZE, x0 + k % SIZE) > *pixel(x, f, y0 + best / SIZE, x0 + best % SIZE) ? k : best;
                wanted[y0 + k / SIZE][x0 + k % SIZE] = largest ? 0 : g / (SIZE * SIZE);
            }
            double top = (double)*pixel(x, f, y0 + best / SIZE, x0 + best % SIZE);
            wanted[y0 + best / SIZE][x0 + best % SIZE] = largest ? g : g / (SIZE * SIZE);
            CHECK_NEAR(*pixel(y, f, o / OUT_NX, o % OUT_NX), largest ? top : sum / (SIZE * SIZE), largest ? 0 : rounding, "sum in another order");
        }
        for (int k = 0; k < NY * NX; k++) {
            CHECK_NEAR(*pixel(gx, f, k / NX, k % NX), wanted[k / NX][k % NX], rounding, "one product");
        }
    }
    for (int i = 0; i < 4; i++) {
        memory_free(seen[i]->at);
        be->ops->release(be, there[i].at - there[i].halo * ROW - there[i].halo);
    }
    test_backend_close(be);
}

static void means(void)
{
    try_form(false);
}

static void largest(void)
{
    try_form(true);
}

TEST_MAIN("pool_space", {"means", means}, {"largest", largest})

/* test_unit_sums.c - sums for each unit and the straight line from them, against plain loops: numbers of channels, rows,
 * pixels and cells, shared and not. */
#include "device.h"
#include "test.h"

enum { LEAVES = 2, CHANNELS = 3, NT = 5, NY = 4, NX = 70, FRAME = CHANNELS * NY * NX, ARRAY = LEAVES * NT * FRAME };
enum { FIELD_NX = 200, MOST = CHANNELS * NY * FIELD_NX };
static const grid_tile tiles[LEAVES] = {{0, 0, 10, NY, NX}, {1, 1, 80, NY - 1, NX - 5}};
static const double rounding = sizeof(real) == sizeof(float) ? 1e-5 : 1e-13; /* of a thousand numbers of about 1 */

static int64_t pixel(int l, int t, int c, int y, int x)
{
    return (((int64_t)(l * NT + t) * CHANNELS + c) * NY + y) * NX + x;
}

static int64_t place(const unit_table *u, int l, int c, int y, int x)
{
    return c * u->chan + (u->id ? u->col * u->id[l * NX + x] : u->row * (tiles[l].y0 + y) + u->col * (tiles[l].x0 + x));
}

typedef struct numbers {
    real x[ARRAY], gy[ARRAY], y[ARRAY], gx[ARRAY], line[4 * MOST];
    double centre[MOST], sum[LEAVES][2 * MOST], wanted[LEAVES][2 * MOST];
} numbers;

static void fill(real *to, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        to[i] = (real)test_random(&seed);
    }
}

/* Of every tile's pixel: into sums, and against the line's outputs. */
static void compare(const unit_table *u, numbers *a, bool centred, bool by_g)
{
    double worst = 0, worst_back = 0, worst_sum = 0;
    memset(a->wanted, 0, sizeof a->wanted);
    for (int64_t i = 0; i < ARRAY; i++) {
        int x = (int)(i % NX), y = (int)(i / NX % NY), c = (int)(i / NX / NY % CHANNELS), t = (int)(i / FRAME % NT), l = (int)(i / FRAME / NT);
        if (y >= tiles[l].ny || x >= tiles[l].nx) {
            CHECK(a->y[i] == 0 && a->gx[i] == 0);
            continue;
        }
        int64_t k = place(u, l, c, y, x), at = pixel(l, t, c, y, x);
        double v = (double)a->x[at], g = (double)a->gy[at], d = v - (centred ? a->centre[k] : 0), w = by_g ? g : d, m = (double)a->line[k];
        a->wanted[l][k] += w;
        a->wanted[l][u->n + k] += w * d;
        worst = fmax(worst, fabs((double)a->line[u->n + k] * (v - m) + (double)a->line[2 * u->n + k] - (double)a->y[at]));
        worst_back = fmax(worst_back, fabs((double)a->line[u->n + k] * g + (double)a->line[3 * u->n + k] * (v - m) + (double)a->line[2 * u->n + k] -
                                           (double)a->gx[at]));
    }
    for (int64_t i = 0; i < LEAVES * 2 * u->n; i++) {
        int64_t l = i / (2 * u->n), k = i % (2 * u->n);
        worst_sum = fmax(worst_sum, fabs(a->sum[l][k] - 7 - a->wanted[l][k])); /* 7 stood there */
    }
    CHECK_NEAR(worst, 0, rounding / 10, "a product and a sum");
    CHECK_NEAR(worst_back, 0, rounding / 10, "two of them");
    CHECK_NEAR(worst_sum, 0, 1e-11, "sums in double, in another order");
}

static void try_table(const unit_table *u, bool centred, bool by_g)
{
    static numbers a;
    backend *be = test_backend(1);
    fill(a.x, ARRAY, 1);
    fill(a.gy, ARRAY, 2);
    fill(a.line, 4 * MOST, 3);
    for (int i = 0; i < MOST; i++) {
        a.centre[i] = (double)a.line[MOST + i];
    }
    for (int i = 0; i < LEAVES * 2 * MOST; i++) {
        a.sum[i / (2 * MOST)][i % (2 * MOST)] = 7;
    }
    view x = {test_put(be, a.x, ARRAY), tiles, LEAVES, CHANNELS, 0, NT * FRAME, FRAME, NY * NX, NX, NY, NX};
    view gy = x, y = x, gx = x, none = {.at = NULL};
    gy.at = test_put(be, a.gy, ARRAY);
    y.at = be->ops->alloc(be, ARRAY);
    gx.at = be->ops->alloc(be, ARRAY);
    be->ops->fill(be, y.at, 0, ARRAY);
    be->ops->fill(be, gx.at, 0, ARRAY);
    be->ops->unit_sums(be, u, centred ? a.centre : NULL, NT, x, by_g ? gy : none, a.sum[0], 2 * MOST);
    be->ops->unit_line(be, u, a.line, NT, x, y);
    be->ops->unit_line_back(be, u, a.line, NT, x, gy, gx);
    be->ops->sync(be);
    be->ops->download(be, a.y, y.at, ARRAY);
    be->ops->download(be, a.gx, gx.at, ARRAY);
    compare(u, &a, centred, by_g);
    dreal *const arrays[] = {x.at, gy.at, y.at, gx.at};
    for (int i = 0; i < 4; i++) {
        be->ops->release(be, arrays[i]);
    }
    test_backend_close(be);
}

static void shared_by_pixels(void)
{
    const unit_table channels = {CHANNELS, 1, 0, 0, NULL}, rows = {CHANNELS * NY, NY, 1, 0, NULL}, one = {1, 0, 0, 0, NULL};
    try_table(&channels, false, false);
    try_table(&channels, true, true);
    try_table(&rows, true, false);
    try_table(&one, true, true);
}

static void of_each_pixel(void)
{
    const unit_table pixels = {CHANNELS * NY * FIELD_NX, NY * FIELD_NX, FIELD_NX, 1, NULL}, columns = {FIELD_NX, 0, 0, 1, NULL};
    try_table(&pixels, false, true);
    try_table(&pixels, true, false);
    try_table(&columns, true, true);
}

static void of_each_cell(void)
{
    int64_t id[LEAVES * NX];
    for (int i = 0; i < LEAVES * NX; i++) {
        id[i] = (i * 37) % (LEAVES * NX);
    }
    const unit_table cells = {CHANNELS * LEAVES * NX, LEAVES * NX, 0, 1, id};
    try_table(&cells, true, false);
    try_table(&cells, false, true);
}

TEST_MAIN("unit_sums", {"shared by pixels", shared_by_pixels}, {"of each pixel", of_each_pixel}, {"of each cell", of_each_cell})

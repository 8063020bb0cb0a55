/* cpu_blur_back.c - adjoints of the blurs: the same symmetric filters on a plane that is 0 outside the tile, spread into the halo; and the
 * derivative by sigma, that of the taps along x and along y in turn. */
#include <string.h>

#include "base/error.h"
#include "compute/cpu_blur.h"

/* --- adjoint of a uniform blur of rows [first, last] ------------------------------------------------------------------------- */
typedef struct uniform_back {
    const blur_level *level;
    int first, last;
    const real *square; /* growing: the level's weights follow from it */
    int number;         /* of the level */
} uniform_back;

/* Rows first..last of the derivative by the result; growing: times the weight of the level. */
static void gather(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io, const uniform_back *u, real *rows)
{
    real *line = cpu_scratch(be);
    for (int y = u->first; y <= u->last; y++) {
        const real *from = io->row(io->ctx, y, line);
        real *to = rows + (int64_t)(y - u->first) * p->line;
        if (!u->square) {
            memcpy(to, from, (size_t)tile->nx * sizeof(real));
            continue;
        }
        cpu_growing_weights(p, u->number, u->square + (int64_t)y * p->line, tile->nx, to);
        for (int x = 0; x < tile->nx; x++) {
            to[x] *= from[x];
        }
    }
}

/* out = sum over rows i of rows[i] taps[|y - i|], those that there are: n of them */
static void clipped_row(const real *rows, int64_t stride, int n, const real *taps, int radius, int y, int nx, real *restrict out)
{
    int from = y - radius > 0 ? y - radius : 0, to = y + radius < n - 1 ? y + radius : n - 1;
    memset(out, 0, (size_t)nx * sizeof(real));
    for (int i = from; i <= to; i++) {
        const real *restrict row = rows + i * stride;
        real w = taps[i < y ? y - i : i - y];
        for (int x = 0; x < nx; x++) {
            out[x] += w * row[x];
        }
    }
}

static void uniform_plane_back(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io, const uniform_back *u)
{
    int r = u->level->radius, nx = tile->nx, n = u->last - u->first + 1;
    const real *taps = u->level->taps;
    real *wide = cpu_scratch(be) + p->line, *out = wide + 2 * p->line, *rows = out + p->line; /* wide: nx + 4 r, zeros at both ends */
    gather(be, p, tile, io, u, rows);
    memset(wide, 0, (size_t)(nx + 4 * r) * sizeof(real));
    for (int y = -r; y < n + r; y++) {
        if (y >= r && y < n - r) {
            cpu_fir_row(rows + (int64_t)y * p->line, p->line, taps, r, nx, wide + 2 * r);
        } else {
            clipped_row(rows, p->line, n, taps, r, y, nx, wide + 2 * r);
        }
        cpu_fir_row(wide + r, 1, taps, r, nx + 2 * r, out);
        io->add(io->ctx, u->first + y, out + r, r);
    }
}

void cpu_blur_plane_back(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io)
{
    if (p->recursive) {
        deriche_field_back(p->recursive, cpu_scratch(be), io);
    } else if (blur_is_free(p)) {
        cpu_taps_plane_back(be, p, tile, io);
    } else if (p->nlevel == 0) {
        uniform_plane_back(be, p, tile, io, &(uniform_back){&p->uniform, 0, tile->ny - 1, NULL, 0});
    } else {
        uniform_back u = {.square = cpu_growing_squares(be, p, tile)};
        for (; u.number < p->nlevel; u.number++) {
            u.level = &p->levels[u.number];
            if (cpu_growing_rows(p, u.square, tile, u.number, &u.first, &u.last)) {
                uniform_plane_back(be, p, tile, io, &u);
            }
        }
    }
}

/* --- derivatives by parameters ----------------------------------------------------------------------------------------------- */
typedef struct against {
    const real *gy;
    int64_t stride;
    int nx;
    double sum;
} against;

static void against_row(void *ctx, int y, const real *row)
{
    against *a = ctx;
    a->sum += cpu_dot(a->gy + y * a->stride, row, a->nx);
}

typedef struct passed_on { /* io with another context for its rows than for what it emits */
    const blur_io *io;
    against a;
} passed_on;

static const real *passed_row(void *ctx, int y, real *line)
{
    const blur_io *io = ((passed_on *)ctx)->io;
    return io->row(io->ctx, y, line);
}

static void passed_emit(void *ctx, int y, const real *row)
{
    against_row(&((passed_on *)ctx)->a, y, row);
}

void cpu_blur_plane_par(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const real *gy, int64_t gy_stride, double factor,
                        double *g)
{
    if (blur_is_free(p)) {
        cpu_taps_plane_par(be, p, tile, io, gy, gy_stride, factor, g);
    } else if (p->desc.most_sigma_px > 0) {
        passed_on ctx = {io, {gy, gy_stride, tile->nx, 0}};
        cpu_blur_plane_slope(be, p, tile, &(blur_io){&ctx, passed_row, passed_emit, NULL, 0});
        g[0] += factor * ctx.a.sum;
    }
}

/* --- plain blur ---------------------------------------------------------------------------------------------------------------- */
typedef struct plain_back {
    const real *from;
    real *to;
    int64_t from_stride, to_stride;
    int nx;
} plain_back;

static const real *plain_back_row(void *ctx, int y, real *line)
{
    (void)line;
    const plain_back *c = ctx;
    return c->from + y * c->from_stride;
}

static void plain_back_add(void *ctx, int y, const real *restrict row, int reach)
{
    const plain_back *c = ctx;
    real *restrict to = c->to + y * c->to_stride;
    for (int x = -reach; x < c->nx + reach; x++) {
        to[x] += row[x];
    }
}

void cpu_blur_back(backend *be, const blur_plan *p, int nt, view gy, view gx)
{
    for (int l = 0; l < gy.nleaf; l++) {
        for (int i = 0; i < nt * gy.nchan; i++) {
            int t = i / gy.nchan, c = i % gy.nchan;
            plain_back ctx = {cpu_plane(gy, l, t, c), cpu_plane(gx, l, t, c), gy.row_stride, gx.row_stride, gy.tile[l].nx};
            cpu_blur_plane_back(be, p, &gy.tile[l], &(blur_back_io){&ctx, plain_back_row, plain_back_add});
        }
    }
}

void cpu_blur_back_par(backend *be, const blur_plan *p, int nt, view x, view gy, double *g, int64_t g_stride)
{
    for (int l = 0; l < gy.nleaf; l++) {
        for (int i = 0; i < nt * gy.nchan; i++) {
            int t = i / gy.nchan, c = i % gy.nchan;
            blur_plain ctx = {cpu_plane(x, l, t, c), x.row_stride, p->radius};
            cpu_blur_plane_par(be, p, &gy.tile[l], &(blur_io){&ctx, cpu_plain_row, NULL, NULL, 0}, cpu_plane(gy, l, t, c), gy.row_stride, 1,
                               g + l * g_stride);
        }
    }
}

/* --- leaky heat equation: s = adjoint of the blur on gy;  gu += b s, g_before += c s, by b: sum of s u, by c: sum of s y_before ------- */
typedef struct heat_back {
    const blur_heat *forward;
    const real *gy;
    real *gu, *g_before; /* gu: NULL or where it goes */
    int64_t gy_stride, gu_stride, g_before_stride;
    double *g; /* NULL: not wanted */
} heat_back;

static const real *heat_back_row(void *ctx, int y, real *line)
{
    (void)line;
    const heat_back *h = ctx;
    return h->gy + y * h->gy_stride;
}

static void heat_back_add(void *ctx, int y, const real *restrict row, int reach)
{
    const heat_back *h = ctx;
    const blur_heat *f = h->forward;
    int n = f->nx + 2 * reach;
    real *restrict before = h->g_before + y * h->g_before_stride - reach;
    row -= reach;
    for (int x = 0; x < n; x++) {
        before[x] += f->c * row[x];
    }
    if (h->gu) {
        real *restrict gu = h->gu + y * h->gu_stride - reach;
        for (int x = 0; x < n; x++) {
            gu[x] += f->b * row[x];
        }
    }
    if (h->g) {
        h->g[0] += cpu_dot(row, f->u + y * f->u_stride - reach, n);
        h->g[1] += cpu_dot(row, f->before + y * f->before_stride - reach, n);
    }
}

void cpu_heat_step_back(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view gy, view gu, view g_before, double *g,
                        int64_t g_stride)
{
    enum { BY_SIGMA = 2 };
    ASSERT(!blur_is_free(p));
    for (int i = 0; i < u.nleaf * u.nchan; i++) {
        int l = i / u.nchan, k = i % u.nchan;
        const grid_tile *tile = &u.tile[l];
        blur_heat forward = {cpu_plane(u, l, 0, k), cpu_plane(y_before, l, 0, k), u.row_stride, y_before.row_stride, p->radius, tile->nx, b, c};
        heat_back ctx = {&forward, cpu_plane(gy, l, 0, k), gu.at ? cpu_plane(gu, l, 0, k) : NULL, cpu_plane(g_before, l, 0, k), gy.row_stride,
                         gu.row_stride, g_before.row_stride, g ? g + l * g_stride : NULL};
        cpu_blur_plane_back(be, p, tile, &(blur_back_io){&ctx, heat_back_row, heat_back_add});
        if (g) {
            cpu_blur_plane_par(be, p, tile, &(blur_io){&forward, cpu_heat_row, NULL, NULL, 0}, ctx.gy, ctx.gy_stride, 1, ctx.g + BY_SIGMA);
        }
    }
}

/* cpu_blur.c - Gaussian smoothing of planes: symmetric FIR passes, uniform or growing with eccentricity, and Deriche's recursion.
 * Every pixel is summed in the same order wherever the field is cut, so tiles show in no bit. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/blur.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"
#include "compute/cpu_deriche.h"

/* One uniform blur that a growing one is mixed of. */
typedef struct level {
    int radius;
    real square; /* of its scale */
    real *taps;
} level;

struct blur_plan {
    blur_desc desc;
    int radius;
    int line;         /* reals of one padded row: room for nx + 2 radius */
    real *taps;       /* uniform: [radius + 1] */
    int nlevel;       /* growing: uniform blurs of scales blur_level_scale(k) */
    level *levels;
    deriche_plan_field *recursive;
};

static void plan_levels(blur_plan *p)
{
    p->nlevel = blur_nlevel(&p->desc);
    p->levels = MEMORY_NEW(level, p->nlevel);
    double *taps = MEMORY_NEW(double, p->radius + 1);
    for (int k = 0; k < p->nlevel; k++) {
        double scale = blur_level_scale(k);
        level *l = &p->levels[k];
        l->square = (real)(scale * scale);
        l->radius = blur_gaussian_radius(p->desc.sigma_px * scale);
        l->taps = MEMORY_NEW(real, l->radius + 1);
        blur_gaussian_taps(p->desc.sigma_px * scale, l->radius, taps);
        for (int d = 0; d <= l->radius; d++) {
            l->taps[d] = (real)taps[d];
        }
    }
    memory_free(taps);
}

blur_plan *cpu_blur_create(backend *be, const blur_desc *d)
{
    blur_plan *p = MEMORY_NEW(blur_plan, 1);
    blur_info info = blur_look(d);
    p->desc = *d;
    cpu_reserve(be, info.scratch);
    if (d->method == BLUR_DERICHE) {
        p->recursive = deriche_field_create(d);
        return p;
    }
    p->radius = info.radius;
    p->line = blur_line(d, p->radius);
    p->taps = MEMORY_NEW(real, p->radius + 1);
    double *taps = MEMORY_NEW(double, p->radius + 1);
    blur_taps(d, p->radius, taps);
    for (int n = 0; n <= p->radius; n++) {
        p->taps[n] = (real)taps[n];
    }
    memory_free(taps);
    if (d->scaling_per_px > 0) {
        plan_levels(p);
    }
    return p;
}

void cpu_blur_destroy(backend *be, blur_plan *p)
{
    (void)be;
    if (p) {
        deriche_field_destroy(p->recursive);
        memory_free(p->taps);
        for (int k = 0; k < p->nlevel; k++) {
            memory_free(p->levels[k].taps);
        }
        memory_free(p->levels);
        memory_free(p);
    }
}

/* out[x] = w[0] at[x] + sum over d of w[d] (at[x - d step] + at[x + d step]); three taps a sweep keep out in the cache's first level. */
static void fir_row(const real *restrict at, int64_t step, const real *w, int radius, int nx, real *restrict out)
{
    real w0 = w[0];
    int d = 1;
    if (radius >= 2) {
        real w1 = w[1], w2 = w[2];
        const real *l1 = at - step, *r1 = at + step, *l2 = at - 2 * step, *r2 = at + 2 * step;
        for (int x = 0; x < nx; x++) {
            out[x] = w0 * at[x] + w1 * (l1[x] + r1[x]) + w2 * (l2[x] + r2[x]);
        }
        d = 3;
    } else {
        for (int x = 0; x < nx; x++) {
            out[x] = w0 * at[x];
        }
    }
    for (; d + 2 <= radius; d += 3) {
        real w1 = w[d], w2 = w[d + 1], w3 = w[d + 2];
        const real *l1 = at - d * step, *r1 = at + d * step, *l2 = l1 - step, *r2 = r1 + step, *l3 = l2 - step, *r3 = r2 + step;
        for (int x = 0; x < nx; x++) {
            out[x] += w1 * (l1[x] + r1[x]) + w2 * (l2[x] + r2[x]) + w3 * (l3[x] + r3[x]);
        }
    }
    for (; d <= radius; d++) {
        real wd = w[d];
        const real *l = at - d * step, *r = at + d * step;
        for (int x = 0; x < nx; x++) {
            out[x] += wd * (l[x] + r[x]);
        }
    }
}

/* Rows [first, last] of the tile blurred uniformly, given to each(ctx, y, row) in order. */
typedef struct uniform_blur {
    const real *taps;
    int radius, first, last;
    void (*each)(void *ctx, int y, const real *row);
    void *ctx;
} uniform_blur;

static void blur_rows(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const uniform_blur *u)
{
    int r = u->radius;
    real *line = cpu_scratch(be), *blurred = line + p->line, *between = blurred + p->line;
    for (int y = u->first - r; y <= u->last + r; y++) {
        fir_row(io->row(io->ctx, y, line) + p->radius, 1, u->taps, r, tile->nx, between + (int64_t)(y - u->first + r) * p->line);
    }
    for (int y = u->first; y <= u->last; y++) {
        real *row = u->each || io->emit ? blurred : io->out + y * io->out_stride;
        fir_row(between + (int64_t)(y - u->first + r) * p->line, p->line, u->taps, r, tile->nx, row);
        if (u->each) {
            u->each(u->ctx, y, row);
        } else if (io->emit) {
            io->emit(io->ctx, y, row);
        }
    }
}

/* --- growing with eccentricity: t = scale^2 of a pixel lies between two levels, whose blurs it mixes; level k has the weight of a hat over
 * t_(k-1), t_k, t_(k+1).  A tile needs few levels, a level few rows. */
typedef struct growing {
    const blur_plan *p;
    const real *square; /* [ny][line] t of the tile's pixels */
    real *sum;          /* [ny][line] */
    int nx, level;
} growing;

static void add_level(void *ctx, int y, const real *restrict row)
{
    const growing *g = ctx;
    const level *l = &g->p->levels[g->level];
    bool lowest = g->level == 0, highest = g->level == g->p->nlevel - 1;
    real below = lowest ? 0 : l[-1].square, above = highest ? 0 : l[1].square;
    real rise = lowest ? 0 : 1 / (l->square - below), fall = highest ? 0 : 1 / (above - l->square);
    const real *restrict t = g->square + (int64_t)y * g->p->line;
    real *restrict sum = g->sum + (int64_t)y * g->p->line;
    for (int x = 0; x < g->nx; x++) {
        real up = lowest ? 1 : (t[x] - below) * rise, down = highest ? 1 : (above - t[x]) * fall;
        real weight = up < down ? up : down;
        sum[x] += (weight > 0 ? weight : 0) * row[x];
    }
}

static bool row_needs(const growing *g, int y, int k)
{
    const level *l = &g->p->levels[k];
    for (int x = 0; x < g->nx; x++) {
        real t = g->square[(int64_t)y * g->p->line + x];
        if ((k == 0 || t > l[-1].square) && (k == g->p->nlevel - 1 || t < l[1].square)) {
            return true;
        }
    }
    return false;
}

static void blur_plane_growing(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    int ny = tile->ny, nx = tile->nx;
    real *square = cpu_scratch(be) + (int64_t)p->line * (p->desc.tile_ny + 2 * p->radius + 4), *sum = square + (int64_t)p->line * (ny + 1);
    growing g = {p, square, sum, nx, 0};
    for (int y = 0; y < ny; y++) {
        for (int x = 0; x < nx; x++) {
            double scale = blur_scale_at(&p->desc, tile->y0 + y, tile->x0 + x);
            square[(int64_t)y * p->line + x] = (real)(scale * scale);
            sum[(int64_t)y * p->line + x] = 0;
        }
    }
    for (; g.level < p->nlevel; g.level++) {
        int first = 0, last = ny - 1;
        for (; first <= last && !row_needs(&g, first, g.level); first++) {
        }
        for (; last >= first && !row_needs(&g, last, g.level); last--) {
        }
        if (first <= last) {
            blur_rows(be, p, tile, io, &(uniform_blur){p->levels[g.level].taps, p->levels[g.level].radius, first, last, add_level, &g});
        }
    }
    for (int y = 0; y < ny; y++) {
        blur_io_give(io, y, sum + (int64_t)y * p->line, nx);
    }
}

void cpu_blur_plane(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    if (p->recursive) {
        deriche_field_blur(p->recursive, cpu_scratch(be), io);
    } else if (p->nlevel > 0) {
        blur_plane_growing(be, p, tile, io);
    } else {
        blur_rows(be, p, tile, io, &(uniform_blur){p->taps, p->radius, 0, tile->ny - 1, NULL, NULL});
    }
}

/* --- plain blur: rows are read and written in place ------------------------------------------------------------------ */
typedef struct plain {
    const real *from;
    int64_t from_stride;
    int radius;
} plain;

static const real *plain_row(void *ctx, int y, real *line)
{
    (void)line;
    const plain *c = ctx;
    return c->from + y * c->from_stride - c->radius;
}

void cpu_blur(backend *be, const blur_plan *p, int nt, view x, view y)
{
    for (int l = 0; l < x.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            for (int c = 0; c < x.nchan; c++) {
                plain ctx = {cpu_plane(x, l, t, c), x.row_stride, p->radius};
                cpu_blur_plane(be, p, &x.tile[l], &(blur_io){&ctx, plain_row, NULL, cpu_plane(y, l, t, c), y.row_stride});
            }
        }
    }
}

/* --- leaky heat equation: y = blur(b u + c y_before) of VirtualRetina 2.2.3 -------------------------------------------------- */
typedef struct heat {
    const real *u, *before;
    int64_t u_stride, before_stride;
    int radius, nx;
    real b, c;
} heat;

static const real *heat_row(void *ctx, int y, real *line)
{
    const heat *h = ctx;
    int r = h->radius;
    const real *u = h->u + y * h->u_stride - r, *before = h->before + y * h->before_stride - r;
    for (int x = 0; x < h->nx + 2 * r; x++) {
        line[x] = h->b * u[x] + h->c * before[x];
    }
    return line;
}

void cpu_heat_step(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view y)
{
    for (int l = 0; l < u.nleaf; l++) {
        for (int k = 0; k < u.nchan; k++) {
            heat ctx = {cpu_plane(u, l, 0, k), cpu_plane(y_before, l, 0, k), u.row_stride, y_before.row_stride, p->radius, u.tile[l].nx, b, c};
            cpu_blur_plane(be, p, &u.tile[l], &(blur_io){&ctx, heat_row, NULL, cpu_plane(y, l, 0, k), y.row_stride});
        }
    }
}

/* --- contrast gain control of VirtualRetina 2.2.3 ----------------------------------------------------------------------------- */
typedef struct gain {
    const gain_par *par;
    real inverse_saturation, mean;
    int radius, nx;
    const real *pooled, *input, *before; /* pooled: V of the step before (or Convis' q), with halo */
    real *adaptation, *v, *keep;         /* keep: NULL, or where A goes as well */
    int64_t pooled_stride, input_stride, before_stride, adaptation_stride, v_stride, keep_stride;
} gain;

static const real *gain_row(void *ctx, int y, real *line)
{
    const gain *g = ctx;
    const real *v = g->pooled + y * g->pooled_stride - g->radius;
    for (int x = 0; x < g->nx + 2 * g->radius; x++) {
        line[x] = cell_gain_pool(v[x], g->par->feedback_hz, g->inverse_saturation);
    }
    return line;
}

/* V_t uses A_(t-1), and A_t the blurred q(V_(t-1)). */
static void gain_emit(void *ctx, int y, const real *restrict pooled)
{
    const gain *g = ctx;
    const real *restrict input = g->input + y * g->input_stride, *restrict before = g->before + y * g->before_stride;
    real *restrict adaptation = g->adaptation + y * g->adaptation_stride, *restrict v = g->v + y * g->v_stride;
    real leak = g->par->leak_hz, amplification = g->par->gain_hz, dt = g->par->dt_s, c = g->par->decay;
    for (int x = 0; x < g->nx; x++) {
        v[x] = cell_gain_membrane(before[x], input[x], leak + adaptation[x], amplification, dt);
        adaptation[x] = (1 - c) * pooled[x] + c * adaptation[x];
    }
    if (g->keep) {
        memcpy(g->keep + y * g->keep_stride, adaptation, (size_t)g->nx * sizeof(real));
    }
}

static gain gain_context(const blur_plan *p, const gain_par *par, int l, view input, view before, dreal *adaptation, int64_t stride, view v,
                         view keep)
{
    gain g = {par,
              1 / par->saturation,
              0,
              p->radius,
              input.tile[l].nx,
              cpu_plane(before, l, 0, 0),
              cpu_plane(input, l, 0, 0),
              cpu_plane(before, l, 0, 0),
              host(adaptation) + l * stride,
              cpu_plane(v, l, 0, 0),
              keep.at ? cpu_plane(keep, l, 0, 0) : NULL,
              before.row_stride,
              input.row_stride,
              before.row_stride,
              v.pad_nx,
              v.row_stride,
              keep.row_stride};
    return g;
}

void cpu_gain_step(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride,
                   view v, view keep)
{
    for (int l = 0; l < input.nleaf; l++) {
        gain ctx = gain_context(p, par, l, input, v_before, adaptation, adaptation_stride, v, keep);
        if (par->feedback_hz == 0) { /* nothing is pooled */
            real *none = cpu_scratch(be);
            memset(none, 0, (size_t)ctx.nx * sizeof(real));
            for (int y = 0; y < input.tile[l].ny; y++) {
                gain_emit(&ctx, y, none);
            }
        } else {
            cpu_blur_plane(be, p, &input.tile[l], &(blur_io){&ctx, gain_row, gain_emit, NULL, 0});
        }
    }
}

void cpu_gain_q(backend *be, const gain_par *par, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum)
{
    (void)be;
    for (int l = 0; l < q.nleaf; l++) {
        const grid_tile *tile = &q.tile[l];
        leaf_sum[l] = 0;
        for (int y = 0; y < tile->ny; y++) {
            const real *v = cpu_plane(v_before, l, 0, 0) + y * v_before.row_stride;
            const real *a = host_const(adaptation) + l * adaptation_stride + (int64_t)y * q.pad_nx;
            real *out = cpu_plane(q, l, 0, 0) + y * q.row_stride;
            for (int x = 0; x < tile->nx; x++) {
                out[x] = par->feedback_hz * v[x] * v[x] * par->b0 - par->a1 * a[x];
                leaf_sum[l] += (double)out[x];
            }
        }
    }
}

static const real *convis_row(void *ctx, int y, real *line)
{
    const gain *g = ctx;
    const real *q = g->pooled + y * g->pooled_stride - g->radius;
    for (int x = 0; x < g->nx + 2 * g->radius; x++) {
        line[x] = q[x] - g->mean;
    }
    return line;
}

static void convis_emit(void *ctx, int y, const real *blurred)
{
    const gain *g = ctx;
    const real *input = g->input + y * g->input_stride, *before = g->before + y * g->before_stride;
    real *adaptation = g->adaptation + y * g->adaptation_stride, *v = g->v + y * g->v_stride;
    for (int x = 0; x < g->nx; x++) {
        v[x] = cell_gain_membrane(before[x], input[x], g->par->leak_hz + adaptation[x], g->par->gain_hz, g->par->dt_s);
        adaptation[x] = blurred[x] + g->mean;
    }
    if (g->keep) {
        memcpy(g->keep + y * g->keep_stride, adaptation, (size_t)g->nx * sizeof(real));
    }
}

void cpu_gain_convis(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, dreal *adaptation,
                     int64_t adaptation_stride, view v, view keep)
{
    for (int l = 0; l < input.nleaf; l++) {
        gain ctx = gain_context(p, par, l, input, v_before, adaptation, adaptation_stride, v, keep);
        ctx.mean = (real)mean;
        ctx.pooled = cpu_plane(q, l, 0, 0);
        ctx.pooled_stride = q.row_stride;
        cpu_blur_plane(be, p, &input.tile[l], &(blur_io){&ctx, convis_row, convis_emit, NULL, 0});
    }
}

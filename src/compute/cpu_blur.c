/* cpu_blur.c - Gaussian smoothing of planes: symmetric FIR passes, uniform or growing with eccentricity, and Deriche's recursion.
 * Every pixel is summed in the same order wherever the field is cut, so tiles show in no bit. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_blur.h"

static void level_create(const blur_plan *p, blur_level *l, int radius, double scale)
{
    l->radius = radius;
    l->square = (real)(scale * scale);
    l->taps = MEMORY_NEW(real, radius + 1);
    l->slopes = p->desc.most_sigma_px > 0 ? MEMORY_NEW(real, radius + 1) : NULL;
}

static void level_destroy(blur_level *l)
{
    memory_free(l->taps);
    memory_free(l->slopes);
}

/* Taps of a level: of sigma times its scale. */
static void level_set(const blur_plan *p, blur_level *l, double scale)
{
    blur_desc d = p->desc;
    double *taps = MEMORY_NEW(double, l->radius + 1);
    d.sigma_px *= scale;
    blur_taps(&d, l->radius, taps);
    for (int n = 0; n <= l->radius; n++) {
        l->taps[n] = (real)taps[n];
    }
    if (l->slopes) {
        blur_slopes(&d, l->radius, taps);
        for (int n = 0; n <= l->radius; n++) {
            l->slopes[n] = (real)(scale * taps[n]);
        }
    }
    memory_free(taps);
}

void cpu_blur_set(backend *be, blur_plan *p, double sigma_px)
{
    (void)be;
    ASSERT(!blur_is_free(p));
    p->desc.sigma_px = sigma_px > BLUR_MAX_SIGMA_PX ? BLUR_MAX_SIGMA_PX : sigma_px;
    if (p->recursive) {
        deriche_field_set(p->recursive, sigma_px);
        return;
    }
    level_set(p, &p->uniform, 1);
    for (int k = 0; k < p->nlevel; k++) {
        level_set(p, &p->levels[k], blur_level_scale(k));
    }
}

blur_plan *cpu_blur_create(backend *be, const blur_desc *d)
{
    blur_plan *p = MEMORY_NEW(blur_plan, 1);
    blur_info info = blur_look(d);
    p->desc = *d;
    p->radius = info.radius;
    p->line = blur_line(d, p->radius);
    enum { SPARE = 4 };
    p->spare = info.scratch - SPARE * (int64_t)p->line;
    cpu_reserve(be, info.scratch);
    if (blur_is_free(p)) {
        int64_t n = blur_npar(p) - 1;
        p->free = MEMORY_NEW(real, n);
        p->turned = MEMORY_NEW(real, n);
        return p;
    }
    if (d->method == BLUR_DERICHE) {
        p->recursive = deriche_field_create(d);
    } else {
        level_create(p, &p->uniform, p->radius, 1);
        p->nlevel = blur_nlevel(d);
    }
    p->levels = MEMORY_NEW(blur_level, p->nlevel);
    double most = d->most_sigma_px > 0 ? d->most_sigma_px : d->sigma_px;
    for (int k = 0; k < p->nlevel; k++) {
        level_create(p, &p->levels[k], blur_gaussian_radius(most * blur_level_scale(k)), blur_level_scale(k));
    }
    cpu_blur_set(be, p, d->sigma_px);
    return p;
}

void cpu_blur_destroy(backend *be, blur_plan *p)
{
    (void)be;
    if (p) {
        deriche_field_destroy(p->recursive);
        level_destroy(&p->uniform);
        for (int k = 0; k < p->nlevel; k++) {
            level_destroy(&p->levels[k]);
        }
        memory_free(p->levels);
        memory_free(p->free);
        memory_free(p->turned);
        memory_free(p);
    }
}

/* Three taps a sweep keep out in the cache's first level. */
void cpu_fir_row(const real *restrict at, int64_t step, const real *w, int radius, int nx, real *restrict out)
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
    const real *along_x, *along_y; /* taps */
    int radius, first, last;
    void (*each)(void *ctx, int y, const real *row);
    void *ctx;
} uniform_blur;

static void blur_rows(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const uniform_blur *u)
{
    int r = u->radius;
    real *line = cpu_scratch(be), *blurred = line + p->line, *between = blurred + p->line;
    for (int y = u->first - r; y <= u->last + r; y++) {
        cpu_fir_row(io->row(io->ctx, y, line) + p->radius, 1, u->along_x, r, tile->nx, between + (int64_t)(y - u->first + r) * p->line);
    }
    for (int y = u->first; y <= u->last; y++) {
        real *row = u->each || io->emit ? blurred : io->out + y * io->out_stride;
        cpu_fir_row(between + (int64_t)(y - u->first + r) * p->line, p->line, u->along_y, r, tile->nx, row);
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

static inline real hat(real t, bool lowest, bool highest, real below, real above, real rise, real fall)
{
    real up = lowest ? 1 : (t - below) * rise, down = highest ? 1 : (above - t) * fall;
    real weight = up < down ? up : down;
    return weight > 0 ? weight : 0;
}

static void add_level(void *ctx, int y, const real *restrict row)
{
    const growing *g = ctx;
    const blur_level *l = &g->p->levels[g->level];
    bool lowest = g->level == 0, highest = g->level == g->p->nlevel - 1;
    real below = lowest ? 0 : l[-1].square, above = highest ? 0 : l[1].square;
    real rise = lowest ? 0 : 1 / (l->square - below), fall = highest ? 0 : 1 / (above - l->square);
    const real *restrict t = g->square + (int64_t)y * g->p->line;
    real *restrict sum = g->sum + (int64_t)y * g->p->line;
    for (int x = 0; x < g->nx; x++) {
        sum[x] += hat(t[x], lowest, highest, below, above, rise, fall) * row[x];
    }
}

void cpu_growing_weights(const blur_plan *p, int k, const real *t, int nx, real *weight)
{
    const blur_level *l = &p->levels[k];
    bool lowest = k == 0, highest = k == p->nlevel - 1;
    real below = lowest ? 0 : l[-1].square, above = highest ? 0 : l[1].square;
    real rise = lowest ? 0 : 1 / (l->square - below), fall = highest ? 0 : 1 / (above - l->square);
    for (int x = 0; x < nx; x++) {
        weight[x] = hat(t[x], lowest, highest, below, above, rise, fall);
    }
}

static bool row_needs(const blur_plan *p, const real *t, int nx, int k)
{
    const blur_level *l = &p->levels[k];
    for (int x = 0; x < nx; x++) {
        if ((k == 0 || t[x] > l[-1].square) && (k == p->nlevel - 1 || t[x] < l[1].square)) {
            return true;
        }
    }
    return false;
}

bool cpu_growing_rows(const blur_plan *p, const real *square, const grid_tile *tile, int k, int *first, int *last)
{
    int a = 0, b = tile->ny - 1;
    for (; a <= b && !row_needs(p, square + (int64_t)a * p->line, tile->nx, k); a++) {
    }
    for (; b >= a && !row_needs(p, square + (int64_t)b * p->line, tile->nx, k); b--) {
    }
    *first = a;
    *last = b;
    return a <= b;
}

real *cpu_growing_squares(backend *be, const blur_plan *p, const grid_tile *tile)
{
    real *square = cpu_scratch(be) + (int64_t)p->line * (p->desc.tile_ny + 2 * p->radius + 4);
    for (int y = 0; y < tile->ny; y++) {
        for (int x = 0; x < tile->nx; x++) {
            double scale = blur_scale_at(&p->desc, tile->y0 + y, tile->x0 + x);
            square[(int64_t)y * p->line + x] = (real)(scale * scale);
        }
    }
    return square;
}

/* With slopes: the derivative by sigma instead, which is that along x and that along y. */
static void blur_plane_growing(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, bool slopes)
{
    int ny = tile->ny, nx = tile->nx;
    real *square = cpu_growing_squares(be, p, tile), *sum = square + (int64_t)p->line * (ny + 1);
    growing g = {p, square, sum, nx, 0};
    for (int y = 0; y < ny; y++) {
        memset(sum + (int64_t)y * p->line, 0, (size_t)nx * sizeof(real));
    }
    for (; g.level < p->nlevel; g.level++) {
        const blur_level *l = &p->levels[g.level];
        int first, last;
        if (!cpu_growing_rows(p, square, tile, g.level, &first, &last)) {
            continue;
        }
        if (slopes) {
            blur_rows(be, p, tile, io, &(uniform_blur){l->slopes, l->taps, l->radius, first, last, add_level, &g});
        }
        blur_rows(be, p, tile, io, &(uniform_blur){l->taps, slopes ? l->slopes : l->taps, l->radius, first, last, add_level, &g});
    }
    for (int y = 0; y < ny; y++) {
        blur_io_give(io, y, sum + (int64_t)y * p->line, nx);
    }
}

void cpu_blur_plane(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    if (p->recursive) {
        deriche_field_blur(p->recursive, cpu_scratch(be), io);
    } else if (blur_is_free(p)) {
        cpu_taps_plane(be, p, tile, io);
    } else if (p->nlevel > 0) {
        blur_plane_growing(be, p, tile, io, false);
    } else {
        blur_rows(be, p, tile, io, &(uniform_blur){p->uniform.taps, p->uniform.taps, p->radius, 0, tile->ny - 1, NULL, NULL});
    }
}

void cpu_blur_plane_slope(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    const blur_level *u = &p->uniform;
    ASSERT(p->desc.most_sigma_px > 0 && !blur_is_free(p));
    if (p->recursive) {
        deriche_field_slope(p->recursive, cpu_scratch(be), io);
    } else if (p->nlevel > 0) {
        blur_plane_growing(be, p, tile, io, true);
    } else {
        blur_rows(be, p, tile, io, &(uniform_blur){u->slopes, u->taps, p->radius, 0, tile->ny - 1, NULL, NULL});
        blur_rows(be, p, tile, io, &(uniform_blur){u->taps, u->slopes, p->radius, 0, tile->ny - 1, NULL, NULL});
    }
}

/* --- plain blur: rows are read and written in place ------------------------------------------------------------------ */
const real *cpu_plain_row(void *ctx, int y, real *line)
{
    (void)line;
    const blur_plain *c = ctx;
    return c->from + y * c->from_stride - c->radius;
}

void cpu_blur(backend *be, const blur_plan *p, int nt, view x, view y)
{
    for (int l = 0; l < x.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            for (int c = 0; c < x.nchan; c++) {
                blur_plain ctx = {cpu_plane(x, l, t, c), x.row_stride, p->radius};
                cpu_blur_plane(be, p, &x.tile[l], &(blur_io){&ctx, cpu_plain_row, NULL, cpu_plane(y, l, t, c), y.row_stride});
            }
        }
    }
}

/* --- leaky heat equation: y = blur(b u + c y_before) of VirtualRetina 2.2.3 -------------------------------------------------- */
const real *cpu_heat_row(void *ctx, int y, real *line)
{
    const blur_heat *h = ctx;
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
            blur_heat ctx = {cpu_plane(u, l, 0, k), cpu_plane(y_before, l, 0, k), u.row_stride, y_before.row_stride, p->radius, u.tile[l].nx, b, c};
            cpu_blur_plane(be, p, &u.tile[l], &(blur_io){&ctx, cpu_heat_row, NULL, cpu_plane(y, l, 0, k), y.row_stride});
        }
    }
}

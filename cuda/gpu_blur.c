/* gpu_blur.c - plans of the device's blurs: taps, levels of a growing blur, coefficients of the recursive one, computed in double on the host. */
#include "gpu_blur.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/blur.h"

static void *put_new(backend *be, const void *from, size_t bytes)
{
    void *p = gpu_malloc(be, bytes);
    gpu_put(be, p, from, bytes);
    return p;
}

/* --- symmetric taps ------------------------------------------------------------------------------------------------------------- */
static double scale_of(const blur_plan *p, int k)
{
    return p->level.n > 0 ? blur_level_scale(k) : 1;
}

static void levels_set(backend *be, blur_plan *p)
{
    int n = p->level.n > 0 ? p->level.n : 1, row = p->radius + 1;
    double *one = MEMORY_NEW(double, row);
    real *taps = MEMORY_NEW(real, (int64_t)n * row), *slopes = MEMORY_NEW(real, (int64_t)n * row);
    for (int k = 0; k < n; k++) {
        blur_desc d = p->desc;
        d.sigma_px *= scale_of(p, k);
        blur_taps(&d, p->reach[k], one);
        for (int i = 0; i <= p->reach[k]; i++) {
            taps[(int64_t)k * row + i] = (real)one[i];
        }
        blur_slopes(&d, p->reach[k], one);
        for (int i = 0; i <= p->reach[k]; i++) {
            slopes[(int64_t)k * row + i] = (real)(scale_of(p, k) * one[i]);
        }
    }
    gpu_put(be, p->level.taps, taps, (size_t)(n * row) * sizeof(real));
    if (p->level.slopes) {
        gpu_put(be, p->level.slopes, slopes, (size_t)(n * row) * sizeof(real));
    }
    memory_free(one);
    memory_free(taps);
    memory_free(slopes);
}

/* Squared scales of the field's pixels, and the levels that squares of BLUR_CELL pixels mix: level k has the weight of a hat over those of k-1, k, k+1. */
static void map_create(backend *be, blur_plan *p, const real *at)
{
    gpu_levels *l = &p->level;
    int cells_y = (l->field_ny + BLUR_CELL - 1) / BLUR_CELL, ncell = cells_y * l->cells_x;
    real *square = MEMORY_NEW(real, (int64_t)l->field_ny * l->field_nx);
    int *lowest = MEMORY_NEW(int, ncell), *highest = MEMORY_NEW(int, ncell);
    for (int i = 0; i < ncell; i++) {
        lowest[i] = l->n - 1;
    }
    for (int y = 0; y < l->field_ny; y++) {
        for (int x = 0; x < l->field_nx; x++) {
            double scale = blur_scale_at(&p->desc, y, x);
            real t = square[(int64_t)y * l->field_nx + x] = (real)(scale * scale);
            int k = 0, cell = y / BLUR_CELL * l->cells_x + x / BLUR_CELL;
            while (k < l->n - 2 && at[k + 1] < t) {
                k++;
            }
            lowest[cell] = k < lowest[cell] ? k : lowest[cell];
            highest[cell] = k + 1 > highest[cell] ? k + 1 : highest[cell];
        }
    }
    l->square = put_new(be, square, (size_t)l->field_ny * (size_t)l->field_nx * sizeof(real));
    l->lowest = put_new(be, lowest, (size_t)ncell * sizeof(int));
    l->highest = put_new(be, highest, (size_t)ncell * sizeof(int));
    memory_free(square);
    memory_free(lowest);
    memory_free(highest);
}

static void levels_create(backend *be, blur_plan *p)
{
    const blur_desc *d = &p->desc;
    gpu_levels *l = &p->level;
    double most = d->most_sigma_px > 0 ? d->most_sigma_px : d->sigma_px;
    *l = (gpu_levels){.n = blur_nlevel(d), .radius = p->radius, .field_ny = d->field_ny, .field_nx = d->field_nx};
    l->cells_x = (d->field_nx + BLUR_CELL - 1) / BLUR_CELL;
    int n = l->n > 0 ? l->n : 1;
    size_t bytes = (size_t)n * (size_t)(p->radius + 1) * sizeof(real);
    p->reach = MEMORY_NEW(int, n);
    real *at = MEMORY_NEW(real, n);
    for (int k = 0; k < n; k++) {
        p->reach[k] = l->n > 0 ? blur_gaussian_radius(most * scale_of(p, k)) : p->radius;
        at[k] = (real)(scale_of(p, k) * scale_of(p, k));
    }
    l->taps = gpu_malloc(be, bytes);
    l->slopes = d->most_sigma_px > 0 ? gpu_malloc(be, bytes) : NULL;
    l->reach = put_new(be, p->reach, (size_t)n * sizeof(int));
    l->at = put_new(be, at, (size_t)n * sizeof(real));
    if (l->n > 0) {
        map_create(be, p, at);
    }
    memory_free(at);
}

/* --- recursive lines ------------------------------------------------------------------------------------------------------------ */
static const double numerator = (double)1.695f; /* alpha = numerator/sigma, as VirtualRetina has it */

static deriche scaled(deriche u, double factor)
{
    return (deriche){u.a0 * factor, u.a1 * factor, u.a2 * factor, u.a3 * factor, u.b1 * factor, u.b2 * factor};
}

static void spread(real *to, int64_t n, deriche u)
{
    const double v[LINE_NCOEFFICIENT] = {u.a0, u.a1, u.a2, u.a3, u.b1, u.b2};
    for (int k = 0; k < LINE_NCOEFFICIENT; k++) {
        to[k * n] = (real)v[k];
    }
}

static void lines_set_uniform(backend *be, blur_plan *p)
{
    gpu_lines *l = &p->line;
    /* VirtualRetina's sigma is a float; one that is fitted is not, or it would move in jumps */
    double sigma = l->slope_by_row ? p->desc.sigma_px : (double)(float)p->desc.sigma_px, alpha = numerator / sigma;
    bool nothing = (float)p->desc.sigma_px < 0.1f;
    if (nothing != l->nothing) {
        gpu_repeat_forget(be);
        l->nothing = nothing;
    }
    if (nothing) {
        return;
    }
    deriche u = deriche_plan(alpha), d = scaled(deriche_slope(alpha), -alpha / sigma);
    double below = 1 - u.b1 - u.b2, start = (u.a0 + u.a1) / below, finish = (u.a2 + u.a3) / below;
    real c[LINE_NCOEFFICIENT];
    const real edge[LINE_NEDGE] = {(real)start, (real)finish, (real)((d.a0 + d.a1 + start * (d.b1 + d.b2)) / below),
                                   (real)((d.a2 + d.a3 + finish * (d.b1 + d.b2)) / below)};
    spread(c, 1, u);
    gpu_put(be, l->by_row, c, sizeof c);
    gpu_put(be, l->edge, edge, sizeof edge);
    if (l->slope_by_row) {
        spread(c, 1, d);
        gpu_put(be, l->slope_by_row, c, sizeof c);
    }
}

/* Rows of the tables are those of the field, or its columns. */
static void lines_set_growing(backend *be, blur_plan *p)
{
    gpu_lines *l = &p->line;
    int64_t n = (int64_t)l->ny * l->nx;
    size_t bytes = (size_t)(LINE_NCOEFFICIENT * n) * sizeof(real);
    real *value = MEMORY_NEW(real, LINE_NCOEFFICIENT * n), *slope = MEMORY_NEW(real, LINE_NCOEFFICIENT * n);
    for (int turned = 0; turned < 2; turned++) {
        for (int y = 0; y < l->ny; y++) {
            for (int x = 0; x < l->nx; x++) {
                double alpha = numerator / (p->desc.sigma_px * blur_scale_at(&p->desc, y, x));
                int64_t at = turned ? (int64_t)x * l->ny + y : (int64_t)y * l->nx + x;
                spread(value + at, n, deriche_plan(alpha));
                spread(slope + at, n, scaled(deriche_slope(alpha), -alpha / p->desc.sigma_px));
            }
        }
        gpu_put(be, turned ? l->by_column : l->by_row, value, bytes);
        if (l->slope_by_row) {
            gpu_put(be, turned ? l->slope_by_column : l->slope_by_row, slope, bytes);
        }
    }
    memory_free(value);
    memory_free(slope);
}

static void lines_create(backend *be, blur_plan *p)
{
    const blur_desc *d = &p->desc;
    gpu_lines *l = &p->line;
    ASSERT(d->tile_ny >= d->field_ny && d->tile_nx >= d->field_nx);
    *l = (gpu_lines){.ny = d->field_ny, .nx = d->field_nx, .growing = d->scaling_per_px > 0 && d->sigma_px > 0};
    size_t bytes = LINE_NCOEFFICIENT * sizeof(real) * (l->growing ? (size_t)l->ny * (size_t)l->nx : 1);
    bool slopes = d->most_sigma_px > 0;
    l->by_row = gpu_malloc(be, bytes);
    l->by_column = l->growing ? gpu_malloc(be, bytes) : l->by_row;
    l->slope_by_row = slopes ? gpu_malloc(be, bytes) : NULL;
    l->slope_by_column = slopes && l->growing ? gpu_malloc(be, bytes) : l->slope_by_row;
    const real half[LINE_NEDGE] = {(real)0.5, (real)0.5, 0, 0}; /* growing: VirtualRetina starts at half the edge value */
    l->edge = put_new(be, half, sizeof half);
}

/* --- plans ------------------------------------------------------------------------------------------------------------------------ */
void gpu_blur_set(backend *be, blur_plan *p, double sigma_px)
{
    ASSERT(p->desc.method != BLUR_TAPS);
    if (p->desc.method == BLUR_DERICHE) {
        p->desc.sigma_px = sigma_px;
        if (p->line.growing) {
            lines_set_growing(be, p);
        } else {
            lines_set_uniform(be, p);
        }
    } else {
        p->desc.sigma_px = sigma_px > BLUR_MAX_SIGMA_PX ? BLUR_MAX_SIGMA_PX : sigma_px;
        levels_set(be, p);
    }
}

void gpu_blur_set_taps(backend *be, blur_plan *p, const double *taps, double bias)
{
    ASSERT(p->desc.method == BLUR_TAPS);
    int n = (2 * p->radius + 1) * (2 * p->radius + 1);
    real *all = MEMORY_NEW(real, n + 1);
    for (int i = 0; i < n; i++) {
        all[i] = (real)taps[i];
    }
    all[n] = (real)bias;
    gpu_put(be, p->free, all, (size_t)(n + 1) * sizeof(real));
    memory_free(all);
}

blur_plan *gpu_blur_create(backend *be, const blur_desc *d)
{
    blur_plan *p = MEMORY_NEW(blur_plan, 1);
    p->desc = *d;
    p->radius = blur_look(d).radius;
    if (d->method == BLUR_TAPS) {
        int64_t n = (int64_t)(2 * p->radius + 1) * (2 * p->radius + 1) + 1;
        real *none = MEMORY_NEW(real, n);
        p->free = put_new(be, none, (size_t)n * sizeof(real));
        memory_free(none);
        return p;
    }
    if (d->method == BLUR_DERICHE) {
        lines_create(be, p);
    } else {
        levels_create(be, p);
    }
    gpu_blur_set(be, p, d->sigma_px);
    return p;
}

void gpu_blur_destroy(backend *be, blur_plan *p)
{
    if (p) {
        gpu_lines *l = &p->line;
        gpu_levels *v = &p->level;
        real *arrays[] = {l->by_row, l->growing ? l->by_column : NULL, l->slope_by_row, l->growing ? l->slope_by_column : NULL, l->edge, v->taps,
                          v->slopes, p->free};
        const void *tables[] = {v->reach, v->at, v->square, v->lowest, v->highest};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
            gpu_free(be, arrays[i]);
        }
        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
            gpu_free(be, (void *)tables[i]);
        }
        gpu_repeat_forget(be); /* they may name it */
        memory_free(p->reach);
        memory_free(p);
    }
}

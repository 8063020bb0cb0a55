/* mosaic.c - square and ring arrays as VirtualRetina places them, hexagonal arrays, jitter. */
#include "stages/mosaic.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>

#define PI 3.14159265358979323846

/* --- rings ---------------------------------------------------------------------------------------------------------- */
/* Cells per degree along a line at eccentricity r. */
static double density_at(const mosaic_desc *d, double r_deg)
{
    bool outside = d->shape == MOSAIC_CIRCULAR && d->scaling_per_deg > 0 && r_deg > d->fovea_deg;
    return outside ? d->density_per_deg / (1 + d->scaling_per_deg * (r_deg - d->fovea_deg)) : d->density_per_deg;
}

/* Radius of ring n: the one within which a radius meets n cells, integral of density = n. */
static double ring_radius(const mosaic_desc *d, int64_t n)
{
    double foveal = (double)n / d->density_per_deg, beyond = foveal - d->fovea_deg;
    bool outside = d->scaling_per_deg > 0 && beyond > 0;
    return outside ? d->fovea_deg + expm1(d->scaling_per_deg * beyond) / d->scaling_per_deg : foveal;
}

static int64_t ring_count(const mosaic_desc *d, double r_deg)
{
    return r_deg == 0 ? 1 : (int64_t)floor(2 * PI * density_at(d, r_deg) * r_deg);
}

/* --- lattices ------------------------------------------------------------------------------------------------------- */
typedef struct lattice {
    int64_t nx, ny;
    double step_x_deg, step_y_deg;
} lattice;

/* Hexagonal: distance a between neighbours with density^2 = 2 / (sqrt(3) a^2) cells in a square degree. */
static lattice lattice_of(const mosaic_desc *d)
{
    if (d->shape == MOSAIC_SQUARE) {
        return (lattice){(int64_t)floor(d->size_x_deg * d->density_per_deg), (int64_t)floor(d->size_y_deg * d->density_per_deg),
                         1 / d->density_per_deg, 1 / d->density_per_deg};
    }
    double a = sqrt(2 / sqrt(3.0)) / d->density_per_deg, row = a * sqrt(3.0) / 2;
    /* Every second row is half a step to the right: a row needs nx + 1/2 steps. */
    return (lattice){(int64_t)fmax(1, floor(d->size_x_deg / a - 0.5)), (int64_t)fmax(1, floor(d->size_y_deg / row)), a, row};
}

int64_t mosaic_count(const mosaic_desc *d)
{
    ASSERT(d->density_per_deg > 0);
    if (d->shape != MOSAIC_CIRCULAR) {
        lattice l = lattice_of(d);
        return l.nx * l.ny;
    }
    int64_t count = 0;
    double r = 0;
    for (int64_t n = 0; r <= d->diameter_deg / 2; r = ring_radius(d, ++n)) {
        count += ring_count(d, r);
    }
    return count;
}

static void place_square(const mosaic_desc *d, mosaic *m)
{
    lattice l = lattice_of(d);
    for (int64_t ix = 1; ix <= l.nx; ix++) {
        for (int64_t iy = 1; iy <= l.ny; iy++) {
            int64_t i = (ix - 1) * l.ny + iy - 1;
            m->x_deg[i] = ((double)ix - (double)(1 + l.nx) / 2) / d->density_per_deg;
            m->y_deg[i] = -((double)iy - (double)(1 + l.ny) / 2) / d->density_per_deg;
        }
    }
}

static void place_hexagonal(const mosaic_desc *d, mosaic *m)
{
    lattice l = lattice_of(d);
    for (int64_t iy = 0; iy < l.ny; iy++) {
        double half = iy % 2 ? 0.25 : -0.25;
        for (int64_t ix = 0; ix < l.nx; ix++) {
            m->x_deg[iy * l.nx + ix] = ((double)ix - (double)(l.nx - 1) / 2 + (l.ny > 1 ? half : 0)) * l.step_x_deg;
            m->y_deg[iy * l.nx + ix] = ((double)(l.ny - 1) / 2 - (double)iy) * l.step_y_deg;
        }
    }
}

static void place_circular(const mosaic_desc *d, mosaic *m)
{
    int64_t i = 0;
    double r = 0;
    for (int64_t n = 0; r <= d->diameter_deg / 2; r = ring_radius(d, ++n)) {
        int64_t count = ring_count(d, r);
        double step = 2 * PI / (double)(count > 0 ? count : 1);
        double phase = step * random_unit(random_bits(d->seed, RANDOM_MOSAIC, (uint64_t)n, d->number, 1).v[0]);
        for (int64_t k = 0; k < count; k++, i++) {
            double angle = phase + step * (double)k;
            m->x_deg[i] = r * cos(angle);
            m->y_deg[i] = r * sin(angle);
        }
    }
}

/* Normal displacements (Box and Muller 1958), in proportion to the distance between cells at that eccentricity. */
static void jitter(const mosaic_desc *d, mosaic *m)
{
    for (int64_t i = 0; i < m->ncell; i++) {
        random_block b = random_bits(d->seed, RANDOM_MOSAIC, (uint64_t)i, d->number, 0);
        double local = d->density_per_deg / density_at(d, hypot(m->x_deg[i], m->y_deg[i]));
        double radius = d->jitter_deg * local * sqrt(-2 * log(random_unit(b.v[0]))), angle = 2 * PI * random_unit(b.v[1]);
        m->x_deg[i] += radius * cos(angle);
        m->y_deg[i] += radius * sin(angle);
    }
}

mosaic mosaic_place(const mosaic_desc *d)
{
    mosaic m = {.ncell = mosaic_count(d)};
    m.x_deg = MEMORY_NEW(double, m.ncell);
    m.y_deg = MEMORY_NEW(double, m.ncell);
    switch (d->shape) {
    case MOSAIC_SQUARE:
        place_square(d, &m);
        break;
    case MOSAIC_CIRCULAR:
        place_circular(d, &m);
        break;
    case MOSAIC_HEXAGONAL:
        place_hexagonal(d, &m);
        break;
    }
    if (d->jitter_deg > 0) {
        jitter(d, &m);
    }
    for (int64_t i = 0; i < m.ncell; i++) {
        m.x_deg[i] += d->shift_x_deg;
        m.y_deg[i] += d->shift_y_deg;
    }
    return m;
}

void mosaic_free(mosaic *m)
{
    memory_free(m->x_deg);
    memory_free(m->y_deg);
    *m = (mosaic){0};
}

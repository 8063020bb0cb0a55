/* cpu_blur_taps.c - a blur whose taps are free: y = bias + sum over j, i of taps[j][i] x[y + r - j][x + r - i], as direct sums. */
#include <string.h>

#include "base/error.h"
#include "compute/cpu_blur.h"

void cpu_blur_set_taps(backend *be, blur_plan *p, const double *taps, double bias)
{
    (void)be;
    ASSERT(blur_is_free(p));
    int n = blur_npar(p) - 1;
    for (int i = 0; i < n; i++) {
        p->free[i] = (real)taps[i];
        p->turned[i] = (real)taps[n - 1 - i];
    }
    p->bias = (real)bias;
}

/* out[x] += sum over i < n of w[i] at[x + i] */
static void correlate_row(const real *restrict at, const real *w, int n, int nx, real *restrict out)
{
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        real w0 = w[i], w1 = w[i + 1], w2 = w[i + 2], w3 = w[i + 3];
        const real *a = at + i;
        for (int x = 0; x < nx; x++) {
            out[x] += w0 * a[x] + w1 * a[x + 1] + w2 * a[x + 2] + w3 * a[x + 3];
        }
    }
    for (; i < n; i++) {
        for (int x = 0; x < nx; x++) {
            out[x] += w[i] * at[x + i];
        }
    }
}

/* All rows of the input, from -radius on: pixel -radius of row y stands at (y + radius) * line. */
static real *gather(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    int r = p->radius;
    real *line = cpu_scratch(be), *rows = line + 2 * p->line;
    for (int y = -r; y < tile->ny + r; y++) {
        memcpy(rows + (int64_t)(y + r) * p->line, io->row(io->ctx, y, line), (size_t)(tile->nx + 2 * r) * sizeof(real));
    }
    return rows;
}

void cpu_taps_plane(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io)
{
    int side = 2 * p->radius + 1;
    real *out = cpu_scratch(be) + p->line;
    const real *rows = gather(be, p, tile, io);
    for (int y = 0; y < tile->ny; y++) {
        for (int x = 0; x < tile->nx; x++) {
            out[x] = p->bias;
        }
        for (int j = 0; j < side; j++) {
            correlate_row(rows + (int64_t)(y + j) * p->line, p->turned + j * side, side, tile->nx, out);
        }
        blur_io_give(io, y, out, tile->nx);
    }
}

/* The derivative by the result stands between zeros, 2 radius on either side. */
void cpu_taps_plane_back(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io)
{
    int r = p->radius, side = 2 * r + 1, nx = tile->nx, ny = tile->ny;
    int64_t wide = 2 * (int64_t)p->line; /* >= nx + 4 r */
    real *line = cpu_scratch(be), *out = line + p->line, *rows = out + p->line;
    for (int y = 0; y < ny; y++) {
        real *to = rows + y * wide;
        memset(to, 0, (size_t)(nx + 4 * r) * sizeof(real));
        memcpy(to + 2 * r, io->row(io->ctx, y, line), (size_t)nx * sizeof(real));
    }
    for (int y = -r; y < ny + r; y++) {
        memset(out, 0, (size_t)(nx + 2 * r) * sizeof(real));
        for (int j = 0; j < side; j++) {
            int from = y - r + j;
            if (from >= 0 && from < ny) {
                correlate_row(rows + from * wide, p->free + j * side, side, nx + 2 * r, out);
            }
        }
        io->add(io->ctx, y, out + r, r);
    }
}

void cpu_taps_plane_par(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const real *gy, int64_t gy_stride, double factor,
                        double *g)
{
    int r = p->radius, side = 2 * r + 1;
    const real *rows = gather(be, p, tile, io);
    for (int y = 0; y < tile->ny; y++) {
        const real *by = gy + y * gy_stride;
        for (int j = 0; j < side; j++) {
            const real *at = rows + (int64_t)(y + 2 * r - j) * p->line + 2 * r; /* pixel r of row y + r - j */
            for (int i = 0; i < side; i++) {
                g[j * side + i] += factor * cpu_dot(by, at - i, tile->nx);
            }
        }
        g[side * side] += factor * cpu_total(by, tile->nx);
    }
}

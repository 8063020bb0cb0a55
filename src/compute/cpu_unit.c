/* cpu_unit.c - sums over steps and pixels, and the straight line that follows from them, for each channel or each unit (batch normalisation). */
#include "compute/cpu.h"

/* Of row y of channel c: the place of its first number in a table, and the ids that its columns have there (NULL: they count on from there). */
typedef struct place {
    int64_t at;
    const int64_t *id;
} place;

static place place_of(const unit_table *u, view x, int leaf, int c, int y)
{
    const grid_tile *tile = &x.tile[leaf];
    if (u->id && u->col != 0) {
        return (place){c * u->chan, u->id + (int64_t)leaf * x.pad_nx};
    }
    return (place){c * u->chan + u->row * (tile->y0 + y) + u->col * (u->id ? 0 : tile->x0), NULL};
}

/* w = d = x - centre, or w = g: sums of w and of w d, in eight lanes, then these. */
static inline __attribute__((always_inline)) void add_row(const real *x, const real *g, double centre, int nx, double sum[2])
{
    enum { LANES = 8 };
    double first[LANES] = {0}, second[LANES] = {0};
    int i = 0;
    for (; i + LANES <= nx; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            double d = (double)x[i + k] - centre, w = g ? (double)g[i + k] : d;
            first[k] += w;
            second[k] += w * d;
        }
    }
    for (int k = 0; i + k < nx; k++) {
        double d = (double)x[i + k] - centre, w = g ? (double)g[i + k] : d;
        first[k] += w;
        second[k] += w * d;
    }
    sum[0] += ((first[0] + first[1]) + (first[2] + first[3])) + ((first[4] + first[5]) + (first[6] + first[7]));
    sum[1] += ((second[0] + second[1]) + (second[2] + second[3])) + ((second[4] + second[5]) + (second[6] + second[7]));
}

static void add_units(const unit_table *u, place p, const real *x, const real *g, const double *centre, int nx, double *sum)
{
    for (int i = 0; i < nx; i++) {
        int64_t k = p.at + u->col * (p.id ? p.id[i] : i);
        double d = (double)x[i] - (centre ? centre[k] : 0), w = g ? (double)g[i] : d;
        sum[k] += w;
        sum[u->n + k] += w * d;
    }
}

void cpu_unit_sums(backend *be, const unit_table *u, const double *centre, int nt, view x, view g, double *sum, int64_t sum_stride)
{
    (void)be;
    for (int l = 0; l < x.nleaf; l++) {
        double *mine = sum + l * sum_stride;
        for (int64_t r = 0; r < (int64_t)nt * x.nchan * x.tile[l].ny; r++) {
            int y = (int)(r % x.tile[l].ny), c = (int)(r / x.tile[l].ny % x.nchan), t = (int)(r / x.tile[l].ny / x.nchan), nx = x.tile[l].nx;
            const real *row = cpu_plane(x, l, t, c) + y * x.row_stride, *by = g.at ? cpu_plane(g, l, t, c) + y * g.row_stride : NULL;
            place p = place_of(u, x, l, c, y);
            if (u->col != 0) {
                add_units(u, p, row, by, centre, nx, mine);
                continue;
            }
            double pair[2] = {mine[p.at], mine[u->n + p.at]}, middle = centre ? centre[p.at] : 0;
            if (by) {
                add_row(row, by, middle, nx, pair);
            } else {
                add_row(row, NULL, middle, nx, pair);
            }
            mine[p.at] = pair[0];
            mine[u->n + p.at] = pair[1];
        }
    }
}

void cpu_unit_line(backend *be, const unit_table *u, const real *line, int nt, view x, view y)
{
    (void)be;
    const real *centre = line, *gain = line + u->n, *offset = line + 2 * u->n;
    for (int l = 0; l < x.nleaf; l++) {
        for (int64_t r = 0; r < (int64_t)nt * x.nchan * x.tile[l].ny; r++) {
            int row = (int)(r % x.tile[l].ny), c = (int)(r / x.tile[l].ny % x.nchan), t = (int)(r / x.tile[l].ny / x.nchan), nx = x.tile[l].nx;
            const real *restrict in = cpu_plane(x, l, t, c) + row * x.row_stride;
            real *restrict out = cpu_plane(y, l, t, c) + row * y.row_stride;
            place p = place_of(u, x, l, c, row);
            if (u->col == 0) {
                real m = centre[p.at], a = gain[p.at], b = offset[p.at];
                for (int i = 0; i < nx; i++) {
                    out[i] = a * (in[i] - m) + b;
                }
            }
            for (int i = 0; u->col != 0 && i < nx; i++) {
                int64_t k = p.at + u->col * (p.id ? p.id[i] : i);
                out[i] = gain[k] * (in[i] - centre[k]) + offset[k];
            }
        }
    }
}

void cpu_unit_line_back(backend *be, const unit_table *u, const real *line, int nt, view x, view gy, view gx)
{
    (void)be;
    const real *centre = line, *gain = line + u->n, *offset = line + 2 * u->n, *slope = line + 3 * u->n;
    for (int l = 0; l < x.nleaf; l++) {
        for (int64_t r = 0; r < (int64_t)nt * x.nchan * x.tile[l].ny; r++) {
            int row = (int)(r % x.tile[l].ny), c = (int)(r / x.tile[l].ny % x.nchan), t = (int)(r / x.tile[l].ny / x.nchan), nx = x.tile[l].nx;
            const real *restrict in = cpu_plane(x, l, t, c) + row * x.row_stride, *restrict g = cpu_plane(gy, l, t, c) + row * gy.row_stride;
            real *restrict out = cpu_plane(gx, l, t, c) + row * gx.row_stride;
            place p = place_of(u, x, l, c, row);
            if (u->col == 0) {
                real m = centre[p.at], a = gain[p.at], b = offset[p.at], s = slope[p.at];
                for (int i = 0; i < nx; i++) {
                    out[i] += a * g[i] + (s * (in[i] - m) + b);
                }
            }
            for (int i = 0; u->col != 0 && i < nx; i++) {
                int64_t k = p.at + u->col * (p.id ? p.id[i] : i);
                out[i] += gain[k] * g[i] + (slope[k] * (in[i] - centre[k]) + offset[k]);
            }
        }
    }
}

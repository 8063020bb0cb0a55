/* cpu_map.c - point functions, weighted sums, divisive normalisation and noise: each pixel or cell by itself, rows in SIMD loops. */
#include "base/error.h"
#include "base/random.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"

/* Inlined with the function as a constant, so that each of them has a loop of its own.  In place is fine: a pixel needs no other. */
static inline __attribute__((always_inline)) void each(real (*f)(real, const real[4]), const real par[4], int nx, const real *x, real *y)
{
    const real p[4] = {par[0], par[1], par[2], par[3]};
#pragma GCC ivdep
    for (int i = 0; i < nx; i++) {
        y[i] = f(x[i], p);
    }
}

static void map_row(enum cell_map kind, const real par[], int nx, const real *x, real *y)
{
    switch (kind) {
#define CASE(kind_, value, slope)                                                                                                                    \
    case kind_:                                                                                                                                      \
        each(value, par, nx, x, y);                                                                                                                  \
        break;
        CELL_MAPS(CASE)
#undef CASE
    case MAP_COUNT:
        ASSERT(kind != MAP_COUNT);
    }
}

void cpu_map(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view y)
{
    (void)be;
    ASSERT(npar == 4);
    for (int l = 0; l < x.nleaf; l++) {
        bool flat = cpu_flat(x, l) && cpu_flat(y, l);
        for (int t = 0; flat && t < nt; t++) {
            map_row(kind, par, cpu_frame_reals(x, l), cpu_plane(x, l, t, 0), cpu_plane(y, l, t, 0));
        }
        for (int t = 0; !flat && t < nt; t++) {
            for (int c = 0; c < x.nchan; c++) {
                for (int i = 0; i < x.tile[l].ny; i++) {
                    map_row(kind, par, x.tile[l].nx, cpu_plane(x, l, t, c) + i * x.row_stride, cpu_plane(y, l, t, c) + i * y.row_stride);
                }
            }
        }
    }
}

static void combine_row(int nin, const real weight[], const real *const x[], int nx, real *restrict y)
{
    if (nin == 1) {
        for (int i = 0; i < nx; i++) {
            y[i] = weight[0] * x[0][i];
        }
        return;
    }
    real w0 = weight[0], w1 = weight[1];
    const real *restrict a = x[0], *restrict b = x[1];
    for (int i = 0; i < nx; i++) {
        y[i] = w0 * a[i] + w1 * b[i];
    }
    for (int k = 2; k < nin; k++) {
        real w = weight[k];
        const real *restrict more = x[k];
        for (int i = 0; i < nx; i++) {
            y[i] += w * more[i];
        }
    }
}

void cpu_combine(backend *be, int nin, const real weight[], int nt, const view x[], view y)
{
    enum { MOST = 64 };
    (void)be;
    ASSERT(nin >= 1 && nin <= MOST);
    for (int l = 0; l < y.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            for (int c = 0; c < y.nchan; c++) {
                for (int i = 0; i < y.tile[l].ny; i++) {
                    const real *row[MOST];
                    for (int k = 0; k < nin; k++) {
                        row[k] = cpu_plane(x[k], l, t, c) + i * x[k].row_stride;
                    }
                    combine_row(nin, weight, row, y.tile[l].nx, cpu_plane(y, l, t, c) + i * y.row_stride);
                }
            }
        }
    }
}

/* --- divisive normalisation: par gain, n, s, weight[channel] ------------------------------------------------------------ */
enum { BLOCK = 256 };

void cpu_normalise(backend *be, const real par[], int npar, int nt, view x, view y)
{
    (void)be;
    ASSERT(npar == 3 + x.nchan);
    real gain = par[0], n = par[1], constant = cell_power(par[2], n);
    for (int l = 0; l < x.nleaf; l++) {
        for (int64_t r = 0; r < (int64_t)nt * x.tile[l].ny; r++) {
            int t = (int)(r / x.tile[l].ny), row = (int)(r % x.tile[l].ny);
            for (int first = 0; first < x.tile[l].nx; first += BLOCK) {
                int count = x.tile[l].nx - first < BLOCK ? x.tile[l].nx - first : BLOCK;
                real sum[BLOCK];
                for (int i = 0; i < count; i++) {
                    sum[i] = constant;
                }
                for (int c = 0; c < x.nchan; c++) {
                    const real *restrict in = cpu_plane(x, l, t, c) + row * x.row_stride + first;
                    real *restrict out = cpu_plane(y, l, t, c) + row * y.row_stride + first, weight = par[3 + c];
                    for (int i = 0; i < count; i++) {
                        out[i] = cell_power(in[i], n);
                        sum[i] += weight * out[i];
                    }
                }
                for (int c = 0; c < x.nchan; c++) {
                    real *restrict out = cpu_plane(y, l, t, c) + row * y.row_stride + first;
                    for (int i = 0; i < count; i++) {
                        out[i] *= gain / sum[i];
                    }
                }
            }
        }
    }
}

/* --- noise ---------------------------------------------------------------------------------------------------------------- */
/* One block of random bits serves a pixel for the steps 4 group .. 4 group + 3. */
static void noise_row(uint64_t seed, const uint64_t *who, const uint32_t *channel, int64_t group, int n, real noise[4][BLOCK])
{
    for (int i = 0; i < n; i++) {
        random_block b = random_bits(seed, RANDOM_NOISE_LAYER, who[i], (uint64_t)group, channel[i]);
        float z[4];
        random_normal_pair(b.v[0], b.v[1], &z[0], &z[1]);
        random_normal_pair(b.v[2], b.v[3], &z[2], &z[3]);
        for (int k = 0; k < 4; k++) {
            noise[k][i] = (real)z[k];
        }
    }
}

void cpu_noise(backend *be, uint64_t seed, real sd, int field_nx, const int64_t *id, int ntile, int64_t step0, int nt, view x, view y)
{
    (void)be;
    for (int l = 0; l < x.nleaf; l++) {
        const grid_tile *tile = &x.tile[l];
        uint64_t copy = (uint64_t)(tile->leaf / ntile) << 40; /* of the field: sequence and network */
        bool flat = cpu_flat(x, l) && cpu_flat(y, l);
        int nrow = flat ? 1 : x.nchan * tile->ny, nx = flat ? cpu_frame_reals(x, l) : tile->nx;
        for (int r = 0; r < nrow; r++) {
            for (int first = 0; first < nx; first += BLOCK) {
                int n = nx - first < BLOCK ? nx - first : BLOCK;
                uint64_t who[BLOCK];
                uint32_t channel[BLOCK];
                real noise[4][BLOCK];
                for (int i = 0; i < n; i++) {
                    int at = r * tile->nx + first + i, px = at % tile->nx, row = at / tile->nx % tile->ny;
                    channel[i] = (uint32_t)(at / tile->nx / tile->ny);
                    who[i] = copy | (id ? (uint64_t)id[(int64_t)l * x.pad_nx + px]
                                        : (uint64_t)(tile->y0 + row) * (uint64_t)field_nx + (uint64_t)(tile->x0 + px));
                }
                for (int t = 0; t < nt; t++) {
                    if (t == 0 || (step0 + t) % 4 == 0) {
                        noise_row(seed, who, channel, (step0 + t) / 4, n, noise);
                    }
                    const real *in = cpu_plane(x, l, t, r / tile->ny) + r % tile->ny * x.row_stride + first, *z = noise[(step0 + t) % 4];
                    real *out = cpu_plane(y, l, t, r / tile->ny) + r % tile->ny * y.row_stride + first;
                    for (int i = 0; i < n; i++) {
                        out[i] = in[i] + sd * z[i];
                    }
                }
            }
        }
    }
}

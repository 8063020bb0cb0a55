/* cpu_scan.c - recurrences in time, point functions and weighted sums: rows of cells in SIMD loops, time inside a row so that its state
 * stays in the first cache. */
#include "base/error.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"

/* One row over all frames of the chunk. */
typedef struct scan_row {
    int nt, nx;
    const real *x;
    real *y, *state;
    int64_t x_stride, y_stride, pole_stride; /* between frames, between states */
} scan_row;

/* par: b, c, gain, number of poles. */
static void lowpass(const scan_row *r, const real par[])
{
    real b = par[0], c = par[1], gain = par[2];
    int npole = (int)par[3];
    for (int t = 0; t < r->nt; t++) {
        const real *restrict x = r->x + t * r->x_stride;
        real *restrict y = r->y + t * r->y_stride, *restrict s = r->state;
        for (int i = 0; i < r->nx; i++) {
            y[i] = gain * cell_lowpass_step(x[i], b, c, &s[i]);
        }
        for (int p = 1; p < npole; p++) {
            real *restrict sp = r->state + p * r->pole_stride;
            for (int i = 0; i < r->nx; i++) {
                y[i] = cell_lowpass_step(y[i], b, c, &sp[i]);
            }
        }
    }
}

/* par: b, c, weight. */
static void highpass(const scan_row *r, const real par[])
{
    real b = par[0], c = par[1], weight = par[2];
    for (int t = 0; t < r->nt; t++) {
        const real *restrict x = r->x + t * r->x_stride;
        real *restrict y = r->y + t * r->y_stride, *restrict s = r->state;
        for (int i = 0; i < r->nx; i++) {
            y[i] = cell_highpass_step(x[i], b, c, weight, &s[i]);
        }
    }
}

/* par: b, c, weight, 1 at the first step of the run.  The low-pass sees the frame before; at the very first step, that frame itself. */
static void highpass_delayed(const scan_row *r, const real par[])
{
    real b = par[0], c = par[1], weight = par[2];
    real *restrict s = r->state, *restrict last = r->state + r->pole_stride;
    for (int t = 0; t < r->nt; t++) {
        const real *restrict x = r->x + t * r->x_stride;
        real *restrict y = r->y + t * r->y_stride;
        bool first = t == 0 && par[3] != 0;
        for (int i = 0; i < r->nx; i++) {
            real u = first ? x[i] : last[i];
            y[i] = x[i] - weight * cell_lowpass_step(u, b, c, &s[i]);
            last[i] = x[i];
        }
    }
}

void cpu_scan(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y)
{
    static void (*const run[SCAN_COUNT])(const scan_row *, const real[]) = {lowpass, highpass, highpass_delayed};
    static const int wanted[SCAN_COUNT] = {4, 3, 4};
    (void)be;
    ASSERT(npar == wanted[kind]);
    int64_t plane = (int64_t)x.pad_ny * x.pad_nx;
    for (int l = 0; l < x.nleaf; l++) {
        for (int c = 0; c < x.nchan; c++) {
            for (int i = 0; i < x.tile[l].ny; i++) {
                scan_row row = {nt, x.tile[l].nx, cpu_plane(x, l, 0, c) + i * x.row_stride, cpu_plane(y, l, 0, c) + i * y.row_stride,
                                host(state) + l * state_stride + c * plane + (int64_t)i * x.pad_nx, x.frame_stride, y.frame_stride, plane * x.nchan};
                run[kind](&row, par);
            }
        }
    }
}

/* par of every map: scale or sign, threshold or offset, value, slope (those that it uses). */
static void map_row(enum cell_map kind, const real par[], int nx, const real *restrict x, real *restrict y)
{
    real p0 = par[0], p1 = par[1], p2 = par[2], p3 = par[3];
    switch (kind) {
    case MAP_LINEAR:
        for (int i = 0; i < nx; i++) {
            y[i] = p0 * x[i] + p1;
        }
        break;
    case MAP_RECTIFY_VR:
        for (int i = 0; i < nx; i++) {
            y[i] = cell_rectify_vr(x[i], p0, p1, p2, p3);
        }
        break;
    case MAP_RECTIFY_CONVIS:
        for (int i = 0; i < nx; i++) {
            y[i] = cell_rectify_convis(x[i], p0, p1, p2, p3);
        }
        break;
    case MAP_CLIP: /* p3 (p0 x - p1), between 0 and 1e6 (Convis 0.6.4.2) */
        for (int i = 0; i < nx; i++) {
            real v = p3 * (p0 * x[i] - p1);
            y[i] = v < 0 ? 0 : v > (real)1e6 ? (real)1e6 : v;
        }
        break;
    case MAP_COUNT:
        ASSERT(kind != MAP_COUNT);
    }
}

void cpu_map(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view y)
{
    (void)be;
    ASSERT(npar == 4);
    for (int l = 0; l < x.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
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
    enum { MOST = 16 };
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

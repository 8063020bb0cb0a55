/* cpu_scan.c - recurrences in time: rows of cells in SIMD loops, time inside a row so that its state stays in the first cache. */
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

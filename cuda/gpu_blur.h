/* gpu_blur.h - the device's blurs among their own files: gpu_blur.c (plans), gpu_blur.cu (symmetric taps), gpu_blur_taps.cu (free taps), gpu_deriche.cu
 * (recursive lines), gpu_gain.cu and gpu_gain_back.cu (gain control around them).
 *
 * Every number that a fit may change stands in device memory at a place that stays, so that a captured graph goes on with the new one. */
#ifndef GPU_BLUR_H
#define GPU_BLUR_H
#include "gpu.h"

enum { BLUR_CELL = 32 }; /* pixels a side of the squares of the field whose levels are known */

/* Symmetric taps of one side; growing with eccentricity: of n uniform blurs, of which each pixel mixes two (compute/blur.h). */
typedef struct gpu_levels {
    int n, radius;              /* n 0: uniform; radius: the largest */
    real *taps, *slopes;        /* device [n or 1][radius + 1]; slopes: their derivatives by sigma_px, NULL: it stays */
    const int *reach;           /* device [n] radius of each */
    const real *at;             /* device [n] squared scale of each */
    const real *square;         /* device [field_ny][field_nx] squared scale of a pixel */
    const int *lowest, *highest;/* device [cells]: levels that the pixels of a square mix */
    int field_ny, field_nx, cells_x;
} gpu_levels;

/* Recursive lines: coefficients a0 a1 a2 a3 b1 b2 of every pixel if they grow, else of all; compute/blur.h. */
enum { LINE_NCOEFFICIENT = 6, LINE_NEDGE = 4 };
typedef struct gpu_lines {
    int ny, nx;
    bool growing, nothing;
    real *by_row, *by_column;   /* device [6][ny][nx], and for lines along x [6][nx][ny]; uniform: [6], the same twice */
    real *slope_by_row, *slope_by_column; /* the same of their derivatives by sigma_px; NULL: it stays */
    real *edge;                 /* device [4]: steady states of a unit input, forward and backward, and their derivatives */
} gpu_lines;

struct blur_plan {
    blur_desc desc;             /* with the sigma of now */
    int radius;
    gpu_levels level;
    int *reach;                 /* [level.n] host */
    gpu_lines line;
    real *free;                 /* device: BLUR_TAPS: [2 radius + 1][2 radius + 1] as given, then the bias */
};

static inline bool gpu_blur_has_slope(const struct blur_plan *p) /* a derivative by sigma_px can be had */
{
    return p->desc.method != BLUR_TAPS && p->desc.most_sigma_px > 0;
}
#endif

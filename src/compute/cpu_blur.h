/* cpu_blur.h - the CPU's blurs among their own files: cpu_blur.c (forward), cpu_blur_back.c (adjoints), cpu_blur_taps.c (free taps), cpu_gain.c
 * (gain control around them). */
#ifndef CPU_BLUR_H
#define CPU_BLUR_H
#include "compute/blur.h"
#include "compute/cpu.h"
#include "compute/cpu_deriche.h"
#include "compute/cpu_sum.h"

/* Symmetric taps [radius + 1] of one side, and their derivatives by sigma_px (NULL: sigma stays). */
typedef struct blur_level {
    int radius;
    real square; /* growing: of its scale */
    real *taps, *slopes;
} blur_level;

struct blur_plan {
    blur_desc desc; /* with the sigma of now */
    int radius;
    int line;             /* reals of one padded row: room for nx + 2 radius */
    int64_t spare;        /* where in the scratch cpu_blur_spare begins */
    blur_level uniform;
    int nlevel;           /* growing: uniform blurs of scales blur_level_scale(k) */
    blur_level *levels;
    deriche_plan_field *recursive;
    real *free, *turned; /* BLUR_TAPS: [2 radius + 1][2 radius + 1] as given, and turned by half a circle */
    real bias;
};

/* Four lines that no blur touches, for its callbacks; each nx + 2 radius long. */
static inline real *cpu_blur_spare(backend *be, const blur_plan *p, int line)
{
    return cpu_scratch(be) + p->spare + (int64_t)line * p->line;
}

static inline bool blur_is_free(const blur_plan *p)
{
    return p->desc.method == BLUR_TAPS;
}
static inline int blur_npar(const blur_plan *p) /* derivatives of blur_back_par: sigma_px, or all taps and the bias */
{
    return blur_is_free(p) ? (2 * p->radius + 1) * (2 * p->radius + 1) + 1 : 1;
}

/* out[x] = w[0] at[x] + sum over d of w[d] (at[x - d step] + at[x + d step]) */
void cpu_fir_row(const real *restrict at, int64_t step, const real *w, int radius, int nx, real *restrict out);

/* Inputs of the plain blur and of the leaky heat equation, for blur_io.row. */
typedef struct blur_plain {
    const real *from;
    int64_t from_stride;
    int radius;
} blur_plain;
const real *cpu_plain_row(void *ctx, int y, real *line);
typedef struct blur_heat {
    const real *u, *before;
    int64_t u_stride, before_stride;
    int radius, nx;
    real b, c;
} blur_heat;
const real *cpu_heat_row(void *ctx, int y, real *line);

/* Growing with eccentricity: squared scales of the tile's pixels, [ny][line] in the scratch, and room for as many sums behind them. */
real *cpu_growing_squares(backend *be, const blur_plan *p, const grid_tile *tile);
/* Weight of level k at nx pixels of squared scales t: a hat over the squares of levels k-1, k, k+1. */
void cpu_growing_weights(const blur_plan *p, int k, const real *t, int nx, real *weight);
/* Rows of the tile that level k has a part in; false: none. */
bool cpu_growing_rows(const blur_plan *p, const real *square, const grid_tile *tile, int k, int *first, int *last);

/* The derivative by sigma_px of the blurred plane: emit gets rows, perhaps several for each y, whose sum counts. */
void cpu_blur_plane_slope(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io);

/* Adjoint of cpu_blur_plane.  row(ctx, y, line) gives row y of the derivative by the result (nx pixels, in place or in line);
 * add(ctx, y, row, reach) takes pixels [-reach, nx + reach) of row y, -radius <= y < ny + radius, of that by the input: row points to pixel 0.
 * Perhaps several for each y, whose sum counts. */
typedef struct blur_back_io {
    void *ctx;
    const real *(*row)(void *ctx, int y, real *line);
    void (*add)(void *ctx, int y, const real *row, int reach);
} blur_back_io;
void cpu_blur_plane_back(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io);

/* Adds factor times the derivatives by sigma_px, or by taps and bias, to g[blur_npar]; the input by io->row, gy: by the result. */
void cpu_blur_plane_par(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const real *gy, int64_t gy_stride, double factor,
                        double *g);

/* BLUR_TAPS: the same three. */
void cpu_taps_plane(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io);
void cpu_taps_plane_back(backend *be, const blur_plan *p, const grid_tile *tile, const blur_back_io *io);
void cpu_taps_plane_par(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io, const real *gy, int64_t gy_stride, double factor,
                        double *g);
#endif

/* cpu_conv.h - convolution on the CPU: the backend's functions, and the four algorithms among themselves. */
#ifndef CPU_CONV_H
#define CPU_CONV_H
#include "compute/conv.h"

/* --- entries of backend_ops ------------------------------------------------------------------------------------------
 * Working memory is made at creation, for omp_get_max_threads() threads; conv and conv_start allocate nothing. */
conv_plan *cpu_conv_create(backend *be, const conv_desc *d, const real *kernel);
conv_info cpu_conv_look(const conv_plan *p);
void cpu_conv_destroy(backend *be, conv_plan *p); /* NULL is allowed */
void cpu_conv(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y);
void cpu_conv_start(backend *be, const conv_plan *p, view x_first, dreal *state, int64_t state_stride);

void cpu_conv_taped(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape, int64_t tape_stride);
void cpu_conv_set(backend *be, conv_plan *p, const real *kernel);
void cpu_conv_back(backend *be, const conv_plan *p, int nt, view x, const dreal *state, const dreal *tape, int64_t tape_stride, int64_t state_stride,
                   view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride);
void cpu_conv_start_back(backend *be, const conv_plan *p, int nleaf, const grid_tile *tile, const dreal *g_state, int64_t g_state_stride,
                         view gx_first, double *g_rest);

/* --- the algorithms: one leaf each; none knows of the bias.  like: as in conv_desc, NULL: none --------------------------- */
typedef struct conv_fft conv_fft;
conv_fft *conv_fft_create(const conv_desc *d, const conv_info *info, int nthread, const real *kernel, const conv_fft *like);
void conv_fft_destroy(conv_fft *f);
void conv_fft_set(conv_fft *f, const real *kernel);
void conv_fft_leaf(const conv_fft *f, int leaf, int nt, const view *x, real *state, const view *y, real *tape);
void conv_fft_start(const conv_fft *f, int leaf, const view *x_first, real *state);
void conv_fft_transforms(const conv_fft *f); /* one forward and one inverse 2-D transform and nothing else: the benchmark's floor */
void conv_fft_back(const conv_fft *f, int leaf, int nt, const real *state, const real *tape, const view *gy, real *g_state, const view *gx,
                   double *g_kernel);
double conv_fft_start_back(const conv_fft *f, int leaf, const grid_tile *tile, const real *g_state, const view *gx);

typedef struct conv_direct conv_direct;
conv_direct *conv_direct_create(const conv_desc *d, int nthread, const real *kernel);
void conv_direct_destroy(conv_direct *p);
void conv_direct_set(conv_direct *p, const real *kernel);
void conv_direct_leaf(const conv_direct *p, int leaf, int nt, const view *x, const view *y);

typedef struct conv_separable conv_separable;
conv_separable *conv_separable_create(const conv_desc *d, int nthread, const conv_factors *f);
void conv_separable_destroy(conv_separable *p);
void conv_separable_leaf(const conv_separable *p, int leaf, int nt, const view *x, const view *y);
void conv_separable_back(const conv_separable *p, int leaf, int nt, const view *gy, const view *gx);

typedef struct conv_window conv_window;
conv_window *conv_window_create(const conv_desc *d, int nthread, const real *kernel, const conv_window *like);
void conv_window_destroy(conv_window *p);
void conv_window_set(conv_window *p, const real *kernel);
void conv_window_leaf(const conv_window *p, int leaf, int nt, const view *x, const view *y);
void conv_window_back_kernel(const conv_window *p, int leaf, int nt, const view *x, const view *gy, double *g_kernel);
void conv_window_back_input(const conv_window *p, int leaf, int nt, const view *gy, const view *gx);

/* The plan's FFT part, for the benchmark; NULL if the plan does not use it. */
const conv_fft *cpu_conv_fft_of(const conv_plan *p);

/* out[o][x] = sum over n of weight[n][o] at[offset[n] + x], x < nx, o < nout (1 or 4).  Every pixel is summed in the order of n with
 * one fused multiply-add each, wherever in a row it lies.  Outputs may not overlap inputs. */
void cpu_fir(int nout, int ntap, const int64_t *offset, const real *weight, const real *at, int nx, real *const out[]);
#endif

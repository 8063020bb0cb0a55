/* cpu_conv.h - convolution on the CPU: the backend's functions, and the three algorithms among themselves. */
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

/* --- the algorithms: one leaf each ------------------------------------------------------------------------------------ */
typedef struct conv_fft conv_fft;
conv_fft *conv_fft_create(const conv_desc *d, const conv_info *info, int nthread, const real *kernel);
void conv_fft_destroy(conv_fft *f);
void conv_fft_leaf(const conv_fft *f, int leaf, int nt, const view *x, real *state, const view *y);
void conv_fft_start(const conv_fft *f, int leaf, const view *x_first, real *state);
void conv_fft_transforms(const conv_fft *f); /* one forward and one inverse 2-D transform and nothing else: the benchmark's floor */

typedef struct conv_direct conv_direct;
conv_direct *conv_direct_create(const conv_desc *d, int nthread, const real *kernel);
void conv_direct_destroy(conv_direct *p);
void conv_direct_leaf(const conv_direct *p, int leaf, int nt, const view *x, const view *y);

typedef struct conv_separable conv_separable;
conv_separable *conv_separable_create(const conv_desc *d, int nthread, const conv_factors *f);
void conv_separable_destroy(conv_separable *p);
void conv_separable_leaf(const conv_separable *p, int leaf, int nt, const view *x, const view *y);

/* The plan's FFT part, for the benchmark; NULL if the plan does not use it. */
const conv_fft *cpu_conv_fft_of(const conv_plan *p);

/* out[o][x] = sum over n of weight[n][o] at[offset[n] + x], x < nx, o < nout (1 or 4).  Every pixel is summed in the order of n with
 * one fused multiply-add each, wherever in a row it lies.  Outputs may not overlap inputs. */
void cpu_fir(int nout, int ntap, const int64_t *offset, const real *weight, const real *at, int nx, real *const out[]);
#endif

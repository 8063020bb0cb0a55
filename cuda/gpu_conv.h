/* gpu_conv.h - convolution on the device, among its own files.  Plans are computed in the .c files, kernels and launches stand in
 * the .cu files. */
#ifndef GPU_CONV_H
#define GPU_CONV_H
#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What kernels must know of conv_desc, by value. */
typedef struct conv_shape {
    int nchan_in, nchan_out, groups;
    int nin, nout;          /* channels of a group */
    int kt, ky, kx;
    int tile_ny, tile_nx;
    int before_y, before_x; /* rows above a pixel, columns left of it that it reads */
    int ntap;               /* of one output: nin kt ky kx */
} conv_shape;

/* Derivative by the bias: g[leaf * stride + o] += sum over steps and pixels.  Host doubles, as g_kernel. */
void gpu_conv_bias_back(backend *be, int nt, view gy, double *g, int64_t stride);

/* --- FFT: gpu_conv_fft.c, its kernels in gpu_conv_fft.cu ---------------------------------------------------------------------- */
typedef struct gpu_fft gpu_fft;
gpu_fft *gpu_fft_create(backend *be, const conv_shape *c, int fft_ny, int fft_nx, const real *kernel, const gpu_fft *like);
void gpu_fft_destroy(backend *be, gpu_fft *f);
void gpu_fft_set(backend *be, gpu_fft *f, const real *kernel);
void gpu_fft_forward(backend *be, const gpu_fft *f, int nt, view x, real *state, int64_t state_stride, view y, const real *bias, real *tape,
                      int64_t tape_stride);
void gpu_fft_back(backend *be, const gpu_fft *f, int nt, const real *state, int64_t state_stride, const real *tape, int64_t tape_stride, view gy,
                   real *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride);
void gpu_fft_start(backend *be, const gpu_fft *f, view x_first, real *state, int64_t state_stride);
void gpu_fft_start_back(backend *be, const gpu_fft *f, int nleaf, const grid_tile *tile, const real *g_state, int64_t g_state_stride, view gx_first,
                         double *g_rest);

enum { FFT_BLOCK = 64 }; /* frequencies of a block of a state: CONV_BLOCK */
typedef struct fft_shape {
    conv_shape c;
    int ny, nx;
    int64_t nfrequency;     /* ny (nx/2 + 1), as cuFFT has them: [ny][nx/2 + 1]  */
    int64_t spectrum;       /* reals of one spectrum in a state: whole blocks    */
    int together;           /* planes of a batch                                 */
} fft_shape;
typedef struct fft_complex {
    real re, im;
} __attribute__((aligned(2 * sizeof(real)))) fft_complex;
/* Where a plane of the transform lies in a view: (before_y, before_x) pixels up and left of the tile, so many more of them than the tile. */
typedef struct fft_place {
    int before_y, before_x, more_y, more_x;
} fft_place;

/* Planes are numbered (leaf, frame of nt, channel).  Planes [first, first + count) to zero-padded frames [count][ny][nx], and back. */
void gpu_fft_take(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, view from, real *frames);
void gpu_fft_give(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, const real *frames, view to, const real *bias);
void gpu_fft_give_add(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, const real *frames, view to);
/* Taps [count][ky][kx] of planes of a kernel to frames; and the frames' numbers at the taps' places, plane n of [nleaf][nplane], to result. */
void gpu_fft_take_taps(backend *be, const fft_shape *s, int count, const real *taps, real *frames);
void gpu_fft_give_taps(backend *be, const fft_shape *s, int64_t first, int count, const real *frames, double *result);
/* Y = sum over channels and lags of K X, X of frames before 0 from the state; nt frames. */
void gpu_fft_multiply(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *kernel, const fft_complex *x, const real *state,
                  int64_t state_stride, fft_complex *y);
/* The last kt - 1 frames become the state; tape NULL: not wanted. */
void gpu_fft_keep(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *x, real *state, int64_t state_stride, real *tape,
              int64_t tape_stride);
void gpu_fft_fill_state(backend *be, const fft_shape *s, int nleaf, const fft_complex *x, real *state, int64_t state_stride);
/* GX of nt frames, and of the kt - 1 before them, which becomes g_state; g_state_in: a copy of it, [nleaf] without gaps. */
void gpu_fft_multiply_back(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *kernel, const fft_complex *gy,
                           const real *g_state_in, fft_complex *gx, real *g_state, int64_t g_state_stride);
/* gK of [nleaf][nchan_out][nin][kt] planes. */
void gpu_fft_correlate(backend *be, const fft_shape *s, int nleaf, int nt, const real *state, int64_t state_stride, const real *tape,
                       int64_t tape_stride, const fft_complex *gy, fft_complex *g_kernel);
/* Between states and arrays of them without gaps; `to` or `from` at stride. */
void gpu_fft_copy_state(backend *be, const fft_shape *s, int nleaf, const real *from, int64_t from_stride, real *to, int64_t to_stride);
void gpu_fft_zero_state(backend *be, const fft_shape *s, int nleaf, real *state, int64_t stride);
/* Sum over the kt - 1 frames of a state; [nleaf][nchan_in]. */
void gpu_fft_sum_state(backend *be, const fft_shape *s, int nleaf, const real *state, int64_t stride, fft_complex *sum);
/* sum[plane] of what gpu_fft_give_add would add; tile: host. */
void gpu_fft_sum_planes(backend *be, const fft_shape *s, int64_t first, int count, int nleaf, const grid_tile *tile, const real *frames, double *sum);

/* --- DIRECT and WINDOW: gpu_conv_direct.cu.  Their adjoints serve all algorithms without a state ------------------------------------ */
typedef struct gpu_direct {
    conv_shape c;
    int64_t nkernel;
    real *kernel;   /* device: [nchan_out][nin][kt][ky][kx] */
    real *forward;  /* ... in groups of outputs that go together; NULL where only the adjoint is asked for */
    real *back;     /* ... in groups of inputs; NULL without differentiate                                */
} gpu_direct;
int64_t gpu_direct_room(const conv_shape *c, bool back); /* reals of `forward` or `back` */
void gpu_direct_set(backend *be, const gpu_direct *p);  /* after `kernel` was written */
void gpu_direct_forward(backend *be, const gpu_direct *p, int nt, view x, view y, const real *bias);
void gpu_direct_back_input(backend *be, const gpu_direct *p, int nt, view gy, view gx);
void gpu_direct_back_kernel(backend *be, const conv_shape *c, int nt, view x, view gy, double *g_kernel, int64_t stride);

/* --- SEPARABLE: gpu_conv_separable.c, its kernels in gpu_conv_separable.cu ------------------------------------------------------------ */
/* kernel = sum over terms of time x vertical x horizontal; terms are ordered by output, then by temporal filter, of which each has one input. */
typedef struct gpu_separable {
    conv_shape c;
    int nterm, ntime;
    real *time, *vertical, *horizontal; /* device, as all that follows: [ntime][kt], [nterm][ky], [nterm][kx] */
    int *of_output;                     /* [nchan_out + 1] terms of an output                                 */
    int *of_time;                       /* [ntime + 1] terms of a temporal filter                             */
    int *time_of;                       /* [nterm]                                                            */
    int *input_of;                      /* [ntime]                                                            */
    int *of_input, *times;              /* [nchan_in + 1] places in times [ntime]: filters of an input        */
} gpu_separable;
struct conv_factors;
gpu_separable *gpu_separable_create(backend *be, const conv_shape *c, const struct conv_factors *factors);
void gpu_separable_destroy(backend *be, gpu_separable *p);
void gpu_separable_forward(backend *be, const gpu_separable *p, int nt, view x, view y, const real *bias);
void gpu_separable_back(backend *be, const gpu_separable *p, int nt, view gy, view gx);

#ifdef __cplusplus
}
#endif
#endif

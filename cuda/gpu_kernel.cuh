/* gpu_kernel.cuh - what all kernels share: launches, a view on the device, places of threads, sums over a block. */
#ifndef GPU_KERNEL_CUH
#define GPU_KERNEL_CUH
#include "gpu.h"

/* LAUNCH(be, kernel, grid, block, arguments...): queued; a launch that CUDA refuses stops all ranks with file and line.  A template is put in
 * parentheses. */
#ifdef __CUDACC__
#define LAUNCH(be, kernel, grid, block, ...)                                     \
    do {                                                                         \
        kernel<<<(grid), (block), 0, gpu_stream(be)>>>(__VA_ARGS__);             \
        gpu_check(cudaGetLastError(), "launch of " #kernel, __FILE__, __LINE__); \
    } while (0)
#else /* tests/emulate */
#define LAUNCH(be, kernel, grid, block, ...)                                                    \
    do {                                                                                        \
        emulate_launch(kernel, #kernel, (grid), (block), gpu_stream(be), __VA_ARGS__);          \
        gpu_check(cudaGetLastError(), "launch of " #kernel, __FILE__, __LINE__);                \
    } while (0)
#endif

/* Before loops whose counters must be constants, so that small arrays stay in registers. */
#ifdef __CUDACC__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { GPU_THREADS = 256 }; /* of a block, everywhere but where said otherwise: block sums count on it */

/* A view whose tiles the device can read. */
struct gpu_view {
    real *at; /* NULL: the caller did not give this array */
    const grid_tile *tile;
    int nleaf, nchan, halo;
    int pad_ny, pad_nx;
    int64_t leaf_stride, frame_stride, chan_stride, row_stride;
};

static inline gpu_view gpu_see(backend *be, view v)
{
    gpu_view g = {(real *)v.at, NULL, v.nleaf, v.nchan, v.halo, v.pad_ny, v.pad_nx, v.leaf_stride, v.frame_stride, v.chan_stride, v.row_stride};
    if (v.at) {
        g.tile = (const grid_tile *)gpu_table(be, v.tile, (size_t)v.nleaf * sizeof(grid_tile));
    }
    return g;
}

__device__ static inline real *gpu_plane(const gpu_view &v, int leaf, int t, int c)
{
    return v.at + leaf * v.leaf_stride + t * v.frame_stride + c * v.chan_stride;
}

/* --- places: a grid of (blocks over the pixels of a padded plane) x (planes) ------------------------------------------------
 *
 *     int64_t i = gpu_thread(), n = pad_ny * pad_nx;         one pixel a thread
 *     for (int64_t plane = blockIdx.y; plane < nplane; plane += gridDim.y)
 *
 * as CUDA has at most 65,535 blocks along y. */
static inline unsigned gpu_blocks(int64_t n)
{
    return (unsigned)(n < 1 ? 1 : (n + GPU_THREADS - 1) / GPU_THREADS);
}
static inline dim3 gpu_grid(int64_t pixels, int64_t planes)
{
    return dim3(gpu_blocks(pixels), (unsigned)(planes < 1 ? 1 : planes > 65535 ? 65535 : planes));
}
__device__ static inline int64_t gpu_thread(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
/* Pixel i of the padded plane; false where this leaf's tile has none. */
__device__ static inline bool gpu_pixel(const grid_tile &tile, int pad_nx, int64_t i, int *y, int *x)
{
    *y = (int)((unsigned)i / (unsigned)pad_nx); /* a 64-bit division would cost more than the memory */
    *x = (int)((unsigned)i % (unsigned)pad_nx);
    return *y < tile.ny && *x < tile.nx;
}

/* sum += a b, in one rounding.  nvcc is told to fuse nothing by itself (-fmad=false): what is made anew in another kernel must have the same bits. */
__device__ static inline void gpu_mac(real a, real b, real *sum)
{
    *sum = fma(a, b, *sum);
}

/* Sum over the block's GPU_THREADS threads, the same tree always; thread 0 has it.  All threads must call it. */
__device__ static inline double gpu_block_sum(double mine)
{
    __shared__ double part[GPU_THREADS];
    part[threadIdx.x] = mine;
    __syncthreads();
    for (int half = GPU_THREADS / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half) {
            part[threadIdx.x] += part[threadIdx.x + half];
        }
        __syncthreads();
    }
    double sum = part[0];
    __syncthreads(); /* the next call writes */
    return sum;
}

/* Sums of N numbers of every thread over the block, the same tree always, six barriers for all of them; the first n go to to[0 .. n), or each
 * `group` of them `stride` behind the last.  All threads must call it. */
template <int N> __device__ static inline void gpu_block_sums(const double (&mine)[N], int n, double *to, int group = N, int64_t stride = 0)
{
    enum { WIDE = N > 8 ? 16 : N > 4 ? 32 : 64, FEW = 8 }; /* threads that a sum has after the first barrier, and the second */
    static_assert(N * WIDE <= GPU_THREADS, "too many sums for a block");
    __shared__ double part[N][GPU_THREADS];
    int k = (int)threadIdx.x / WIDE, lane = (int)threadIdx.x % WIDE;
    for (int i = 0; i < N; i++) {
        part[i][threadIdx.x] = mine[i];
    }
    __syncthreads();
    double sum = 0;
    for (int i = lane; k < N && i < GPU_THREADS; i += WIDE) {
        sum += part[k][i];
    }
    __syncthreads();
    if (k < N) {
        part[k][lane] = sum;
    }
    __syncthreads();
    double few = 0;
    for (int i = lane; k < N && lane < FEW && i < WIDE; i += FEW) {
        few += part[k][i];
    }
    __syncthreads();
    if (k < N && lane < FEW) {
        part[k][lane] = few;
    }
    __syncthreads();
    if (k < n && k < N && lane == 0) {
        double all = 0;
        for (int i = 0; i < FEW; i++) {
            all += part[k][i];
        }
        to[k / group * stride + k % group] = all;
    }
    __syncthreads(); /* the next call writes */
}
#endif

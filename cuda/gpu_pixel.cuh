/* gpu_pixel.cuh - for ops of each pixel by itself: what a thread takes, and where it stands. */
#ifndef GPU_PIXEL_CUH
#define GPU_PIXEL_CUH
#include "gpu_kernel.cuh"

/* The array of a view, for those after the first, whose tiles are the first one's. */
struct gpu_array {
    real *at; /* NULL: the caller did not give it */
    int64_t leaf, frame, chan, row; /* strides */
};
static inline gpu_array gpu_array_of(view v)
{
    gpu_array a = {(real *)v.at, v.leaf_stride, v.frame_stride, v.chan_stride, v.row_stride};
    return a;
}
__device__ static inline real *gpu_at(const gpu_array &a, int leaf, int t, int c, int y, int x)
{
    return a.at + leaf * a.leaf + t * a.frame + c * a.chan + y * a.row + x;
}
__device__ static inline real *gpu_at(const gpu_view &v, int leaf, int t, int c, int y, int x)
{
    return gpu_plane(v, leaf, t, c) + y * v.row_stride + x;
}

/* --- a pixel of a channel at GPU_STEPS frames: as many loads under way at once hide the memory's delay ---------------------------
 * Blocks: pixels of a padded plane, frames by GPU_STEPS, (leaf, channel). */
enum { GPU_STEPS = 4 };
static inline unsigned gpu_most(int64_t n) /* along y and z */
{
    return (unsigned)(n < 1 ? 1 : n > 65535 ? 65535 : n);
}
static inline dim3 gpu_grid_steps(int pad_ny, int pad_nx, int nt, int64_t planes)
{
    return dim3(gpu_blocks((int64_t)pad_ny * pad_nx), gpu_most((nt + GPU_STEPS - 1) / GPU_STEPS), gpu_most(planes));
}

/* --- GPU_EACH elements [channel][y][x] of the padded frame, for sums of each frame -----------------------------------------------
 * Blocks: elements of a frame, frames, leaves. */
enum { GPU_EACH = 4 };
static inline unsigned gpu_strips(int64_t n)
{
    return (unsigned)(n < 1 ? 1 : (n + GPU_THREADS * GPU_EACH - 1) / (GPU_THREADS * GPU_EACH));
}
static inline dim3 gpu_grid_frames(view v, int nt)
{
    return dim3(gpu_strips((int64_t)v.nchan * v.pad_ny * v.pad_nx), gpu_most(nt), gpu_most(v.nleaf));
}
struct gpu_element {
    int c, y, x; /* c < 0: none of the tile's */
};
__device__ static inline gpu_element gpu_element_at(const gpu_view &v, const grid_tile &tile, int k) /* k < GPU_EACH */
{
    unsigned i = (blockIdx.x * GPU_EACH + k) * GPU_THREADS + threadIdx.x, row = i / v.pad_nx;
    gpu_element e = {(int)(row / v.pad_ny), (int)(row % v.pad_ny), (int)(i % v.pad_nx)};
    if (e.c >= v.nchan || e.y >= tile.ny || e.x >= tile.nx) {
        e.c = -1;
    }
    return e;
}
#endif

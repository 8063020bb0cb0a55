/* gpu_link.cu - sampling of maps at cells, and the adjoint: a thread a cell, or a pixel, and some frames. */
#include "gpu_link.h"
#include "gpu_kernel.cuh"

enum { FRAMES = 8 }; /* of a thread, for which it looks into the table once */

/* As many entries as there are: 4 are the corners of a bilinear sample, 1 is a delay; 0: any number. */
template <int ENTRIES>
__global__ static void sample_kernel(const int32_t *offset, const real *weight, int pad, int nentry, int nt, gpu_view x, gpu_view y)
{
    int i = (int)gpu_thread(), ngroup = (nt + FRAMES - 1) / FRAMES;
    for (int64_t k = blockIdx.y; k < (int64_t)y.nleaf * ngroup; k += gridDim.y) {
        int leaf = (int)(k / ngroup), first = (int)(k % ngroup) * FRAMES, last = first + FRAMES < nt ? first + FRAMES : nt;
        if (i >= y.tile[leaf].nx) {
            continue;
        }
        const int32_t *o = offset + (int64_t)leaf * nentry * pad + i;
        const real *w = weight + (int64_t)leaf * nentry * pad + i;
        int32_t from[ENTRIES > 0 ? ENTRIES : 1];
        real by[ENTRIES > 0 ? ENTRIES : 1];
        for (int e = 0; e < ENTRIES; e++) {
            from[e] = o[(int64_t)e * pad];
            by[e] = w[(int64_t)e * pad];
        }
        for (int t = first; t < last; t++) {
            const real *map = gpu_plane(x, leaf, t, 0);
            real sum = 0;
            for (int e = 0; e < ENTRIES; e++) {
                sum += by[e] * map[from[e]];
            }
            for (int e = ENTRIES; e < nentry; e++) { /* those that no register holds */
                sum += w[(int64_t)e * pad] * map[o[(int64_t)e * pad]];
            }
            gpu_plane(y, leaf, t, 0)[i] = sum;
        }
    }
}

void gpu_link_sample(backend *be, const link_table *t, int first_leaf, int nt, view x, view y)
{
    const int32_t *offset = t->offset + (int64_t)first_leaf * t->nentry * t->ncell_pad;
    const real *weight = t->weight + (int64_t)first_leaf * t->nentry * t->ncell_pad;
    dim3 grid = gpu_grid(y.pad_nx, (int64_t)y.nleaf * ((nt + FRAMES - 1) / FRAMES));
    gpu_view from = gpu_see(be, x), to = gpu_see(be, y);
    if (t->nentry == 4) {
        LAUNCH(be, (sample_kernel<4>), grid, GPU_THREADS, offset, weight, t->ncell_pad, t->nentry, nt, from, to);
    } else if (t->nentry == 1) {
        LAUNCH(be, (sample_kernel<1>), grid, GPU_THREADS, offset, weight, t->ncell_pad, t->nentry, nt, from, to);
    } else {
        LAUNCH(be, (sample_kernel<0>), grid, GPU_THREADS, offset, weight, t->ncell_pad, t->nentry, nt, from, to);
    }
}

/* A thread a pixel that some cell sees: what its cells give, in their order. */
__global__ static void give_kernel(const int64_t *first_pixel, const int32_t *offset, const int64_t *entry, const int32_t *cell, const real *weight,
                                   int t0, int nt, gpu_view gy, gpu_view gx)
{
    int ngroup = (nt + FRAMES - 1) / FRAMES;
    for (int64_t k = blockIdx.y; k < (int64_t)gy.nleaf * ngroup; k += gridDim.y) {
        int leaf = (int)(k / ngroup), first = (int)(k % ngroup) * FRAMES, last = first + FRAMES < nt ? first + FRAMES : nt;
        int64_t pixel = first_pixel[leaf] + gpu_thread();
        if (pixel >= first_pixel[leaf + 1]) {
            continue;
        }
        for (int t = t0 + first; t < t0 + last; t++) {
            const real *from = gpu_plane(gy, leaf, t, 0);
            real *to = gpu_plane(gx, leaf, t, 0) + offset[pixel], sum = *to;
            for (int64_t e = entry[pixel]; e < entry[pixel + 1]; e++) {
                if (cell[e] < gy.tile[leaf].nx) {
                    sum += weight[e] * from[cell[e]];
                }
            }
            *to = sum;
        }
    }
}

void gpu_link_give(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx, bool ordered)
{
    const link_pixels *p = t->pixels;
    int together = ordered ? 1 : nt;
    dim3 grid = gpu_grid(p->most, (int64_t)gy.nleaf * ((together + FRAMES - 1) / FRAMES));
    gpu_view from = gpu_see(be, gy), to = gpu_see(be, gx);
    for (int t0 = 0; t0 < nt; t0 += together) {
        LAUNCH(be, give_kernel, grid, GPU_THREADS, p->first + first_leaf, p->offset, p->entry, p->cell, p->weight, t0, together, from, to);
    }
}

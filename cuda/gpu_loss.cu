/* gpu_loss.cu - losses of outputs against targets, and their derivatives: terms and sums in double, a frame by itself. */
#include "compute/cellmath.h"
#include "gpu_pixel.cuh"

struct loss_par {
    double factor, epsilon;
};

/* A kernel for each kind.  part: [leaf][step from the last][block]: gpu_result adds from the end on, and a loss has its frames in order. */
template <cell_loss (*TERM)(double, double, double)>
__global__ static void loss_kernel(loss_par p, int nt, gpu_view y, gpu_array target, gpu_array weight, gpu_array g, double *part)
{
    for (int leaf = (int)blockIdx.z; leaf < y.nleaf; leaf += (int)gridDim.z) {
        grid_tile tile = y.tile[leaf];
        for (int t = (int)blockIdx.y; t < nt; t += (int)gridDim.y) {
            double sum[1] = {0};
            for (int k = 0; k < GPU_EACH; k++) {
                gpu_element e = gpu_element_at(y, tile, k);
                double w = e.c < 0 ? 0 : weight.at ? (double)*gpu_at(weight, leaf, t, e.c, e.y, e.x) : 1;
                if (w == 0) { /* the target may be NaN here */
                    continue;
                }
                double r = target.at ? (double)*gpu_at(target, leaf, t, e.c, e.y, e.x) : 0;
                cell_loss l = TERM((double)*gpu_at(y, leaf, t, e.c, e.y, e.x), r, p.epsilon);
                sum[0] += w * l.value;
                if (g.at) {
                    *gpu_at(g, leaf, t, e.c, e.y, e.x) += (real)(p.factor * w * l.slope);
                }
            }
            gpu_block_sums<1>(sum, 1, part + ((int64_t)leaf * nt + nt - 1 - t) * gridDim.x + blockIdx.x);
        }
    }
}

void gpu_loss(backend *be, enum loss_kind kind, const double par[], int nt, view y, view target, view weight, view g, double *value)
{
    loss_par p = {par[0], par[1]};
    dim3 grid = gpu_grid_frames(y, nt);
    int64_t frames = (int64_t)y.nleaf * nt;
    double *part = (double *)gpu_scratch(be, (size_t)frames * grid.x * sizeof(double));
    switch (kind) {
#define CASE(kind_, term)                                                                                                                    \
    case kind_:                                                                                                                              \
        LAUNCH(be, loss_kernel<term>, grid, GPU_THREADS, p, nt, gpu_see(be, y), gpu_array_of(target), gpu_array_of(weight), gpu_array_of(g), \
               part);                                                                                                                        \
        break;
        CELL_LOSSES(CASE)
#undef CASE
    case LOSS_COUNT:
        break;
    }
    gpu_sum_parts(be, frames, (int)grid.x, 1, part, gpu_result(be, y.nleaf, nt, 1, value, 1, true));
}

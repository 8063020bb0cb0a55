/* gpu_map.cu - point functions, weighted sums and divisive normalisation: a thread takes a pixel at GPU_STEPS frames. */
#include "compute/cellmath.h"
#include "gpu_pixel.cuh"

struct map_par {
    real p[4];
};

/* A kernel for each function.  In place is fine: a pixel needs no other. */
template <real (*VALUE)(real, const real[4])> __global__ static void map_kernel(map_par par, int nt, gpu_view x, gpu_array y)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < x.nleaf * x.nchan; plane += (int)gridDim.z) {
        int leaf = plane / x.nchan, c = plane % x.nchan, row, column;
        if (!gpu_pixel(x.tile[leaf], x.pad_nx, i, &row, &column)) {
            continue;
        }
        for (int t = (int)blockIdx.y * GPU_STEPS; t < nt; t += (int)gridDim.y * GPU_STEPS) {
            const real *in = gpu_at(x, leaf, t, c, row, column);
            real *out = gpu_at(y, leaf, t, c, row, column), u[GPU_STEPS] = {0};
            for (int k = 0; k < GPU_STEPS; k++) {
                u[k] = t + k < nt ? in[k * x.frame_stride] : 0;
            }
            for (int k = 0; k < GPU_STEPS; k++) {
                if (t + k < nt) {
                    out[k * y.frame] = VALUE(u[k], par.p);
                }
            }
        }
    }
}

void gpu_map(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view y)
{
    (void)npar;
    map_par p = {{par[0], par[1], par[2], par[3]}};
    dim3 grid = gpu_grid_steps(x.pad_ny, x.pad_nx, nt, (int64_t)x.nleaf * x.nchan);
    switch (kind) {
#define CASE(kind_, value, slope)                                                                 \
    case kind_:                                                                                   \
        LAUNCH(be, map_kernel<value>, grid, GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(y)); \
        break;
        CELL_MAPS(CASE)
#undef CASE
    case MAP_COUNT:
        break;
    }
}

/* --- weighted sums ------------------------------------------------------------------------------------------------------------- */
enum { MOST = 64 };
struct inputs {
    int n;
    real weight[MOST];
    gpu_array x[MOST];
};

__global__ static void combine_kernel(inputs in, int nt, gpu_view y)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < y.nleaf * y.nchan; plane += (int)gridDim.z) {
        int leaf = plane / y.nchan, c = plane % y.nchan, row, column;
        if (!gpu_pixel(y.tile[leaf], y.pad_nx, i, &row, &column)) {
            continue;
        }
        for (int t = (int)blockIdx.y * GPU_STEPS; t < nt; t += (int)gridDim.y * GPU_STEPS) {
            real *out = gpu_at(y, leaf, t, c, row, column), sum[GPU_STEPS] = {0};
            for (int n = 0; n < in.n; n++) {
                const real *x = gpu_at(in.x[n], leaf, t, c, row, column);
                for (int k = 0; k < GPU_STEPS; k++) {
                    sum[k] += t + k < nt ? in.weight[n] * x[k * in.x[n].frame] : 0;
                }
            }
            for (int k = 0; k < GPU_STEPS; k++) {
                if (t + k < nt) {
                    out[k * y.frame_stride] = sum[k];
                }
            }
        }
    }
}

void gpu_combine(backend *be, int nin, const real weight[], int nt, const view x[], view y)
{
    inputs in = {nin, {0}, {}};
    for (int k = 0; k < nin; k++) {
        in.weight[k] = weight[k];
        in.x[k] = gpu_array_of(x[k]);
    }
    LAUNCH(be, combine_kernel, gpu_grid_steps(y.pad_ny, y.pad_nx, nt, (int64_t)y.nleaf * y.nchan), GPU_THREADS, in, nt, gpu_see(be, y));
}

/* --- divisive normalisation: par gain, n, s, weight[channel]; x is read again rather than its power kept ------------------------- */
__global__ static void normalise_kernel(const real *par, int nt, gpu_view x, gpu_array y)
{
    int64_t i = gpu_thread();
    real gain = par[0], n = par[1], constant = cell_power(par[2], n);
    for (int leaf = (int)blockIdx.z; leaf < x.nleaf; leaf += (int)gridDim.z) {
        int row, column;
        if (!gpu_pixel(x.tile[leaf], x.pad_nx, i, &row, &column)) {
            continue;
        }
        for (int t = (int)blockIdx.y; t < nt; t += (int)gridDim.y) {
            const real *in = gpu_at(x, leaf, t, 0, row, column);
            real *out = gpu_at(y, leaf, t, 0, row, column), sum = constant;
            for (int c = 0; c < x.nchan; c++) {
                sum += par[3 + c] * cell_power(in[c * x.chan_stride], n);
            }
            real factor = gain / sum;
            for (int c = 0; c < x.nchan; c++) {
                out[c * y.chan] = cell_power(in[c * x.chan_stride], n) * factor;
            }
        }
    }
}

void gpu_normalise(backend *be, const real par[], int npar, int nt, view x, view y)
{
    const real *p = (const real *)gpu_table(be, par, (size_t)npar * sizeof(real));
    dim3 grid(gpu_blocks((int64_t)x.pad_ny * x.pad_nx), gpu_most(nt), gpu_most(x.nleaf));
    LAUNCH(be, normalise_kernel, grid, GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(y));
}

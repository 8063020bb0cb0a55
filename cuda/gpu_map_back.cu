/* gpu_map_back.cu - adjoints of point functions, weighted sums and divisive normalisation: a thread takes GPU_EACH elements of a frame.  Derivatives
 * by parameters are sums of each frame, which the host adds from the last to the first (gpu_result), so that chunks do not show in them. */
#include "compute/cellmath.h"
#include "gpu_pixel.cuh"

struct map_par {
    real p[4];
};

/* Where each block of a frame leaves its n sums; NULL: not wanted. */
static double *parts_of(backend *be, view v, int nt, int n, bool wanted)
{
    return wanted ? (double *)gpu_scratch(be, (size_t)v.nleaf * nt * gpu_grid_frames(v, nt).x * n * sizeof(double)) : NULL;
}
static void finish(backend *be, view v, int nt, int n, const double *part, double *to, int64_t stride)
{
    if (part) {
        gpu_sum_parts(be, (int64_t)v.nleaf * nt, (int)gpu_grid_frames(v, nt).x, n, part, gpu_result(be, v.nleaf, nt, n, to, stride, true));
    }
}
__device__ static inline double *part_at(double *part, int leaf, int nt, int t, int n)
{
    return part + (((int64_t)leaf * nt + t) * gridDim.x + blockIdx.x) * n;
}

#define EACH_FRAME(v, nt, leaf, t)                                                    \
    for (int leaf = (int)blockIdx.z; leaf < (v).nleaf; leaf += (int)gridDim.z) \
        for (int t = (int)blockIdx.y; t < (nt); t += (int)gridDim.y)

/* --- point functions: a kernel for each ------------------------------------------------------------------------------------------ */
template <cell_slope (*SLOPE)(real, const real[4]), bool SUMS>
__global__ static void map_back_kernel(map_par par, int nt, gpu_view x, gpu_array gy, gpu_array gx, double *part)
{
    EACH_FRAME(x, nt, leaf, t)
    {
        grid_tile tile = x.tile[leaf];
        double sum[4] = {0};
        real u[GPU_EACH], g[GPU_EACH], *to[GPU_EACH];
        bool in[GPU_EACH];
        for (int k = 0; k < GPU_EACH; k++) {
            gpu_element e = gpu_element_at(x, tile, k);
            in[k] = e.c >= 0;
            u[k] = in[k] ? *gpu_at(x, leaf, t, e.c, e.y, e.x) : 0;
            g[k] = in[k] ? *gpu_at(gy, leaf, t, e.c, e.y, e.x) : 0;
            to[k] = in[k] && gx.at ? gpu_at(gx, leaf, t, e.c, e.y, e.x) : NULL;
        }
        for (int k = 0; k < GPU_EACH; k++) {
            cell_slope d = SLOPE(u[k], par.p);
            if (to[k]) {
                *to[k] += g[k] * d.x;
            }
            for (int q = 0; SUMS && q < 4; q++) {
                sum[q] += in[k] ? (double)g[k] * (double)d.p[q] : 0;
            }
        }
        if (SUMS) {
            gpu_block_sums<4>(sum, 4, part_at(part, leaf, nt, t, 4));
        }
    }
}

void gpu_map_back(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride)
{
    if (!gx.at && !g_par) {
        return;
    }
    map_par p = {{par[0], par[1], par[2], par[3]}};
    double *part = parts_of(be, x, nt, npar, g_par != NULL);
    dim3 grid = gpu_grid_frames(x, nt);
    switch (kind) {
#define CASE(kind_, value, slope)                                                                                                            \
    case kind_:                                                                                                                              \
        if (part) {                                                                                                                          \
            LAUNCH(be, (map_back_kernel<slope, true>), grid, GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(gy), gpu_array_of(gx), part);  \
        } else {                                                                                                                             \
            LAUNCH(be, (map_back_kernel<slope, false>), grid, GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(gy), gpu_array_of(gx), part); \
        }                                                                                                                                    \
        break;
        CELL_MAPS(CASE)
#undef CASE
    case MAP_COUNT:
        break;
    }
    finish(be, x, nt, npar, part, g_par, g_par_stride);
}

/* --- weighted sums ------------------------------------------------------------------------------------------------------------------- */
enum { MOST = 64, SUMS = 4 }; /* inputs; those that are summed at a time */
struct inputs {
    int n;
    real weight[MOST];
    gpu_array x[MOST], gx[MOST];
};

/* Input after input, from the last: two may be the same array. */
__global__ static void combine_back_kernel(inputs in, int nt, gpu_view gy, double *part)
{
    EACH_FRAME(gy, nt, leaf, t)
    {
        grid_tile tile = gy.tile[leaf];
        gpu_element e[GPU_EACH];
        real g[GPU_EACH];
        for (int k = 0; k < GPU_EACH; k++) {
            e[k] = gpu_element_at(gy, tile, k);
            g[k] = e[k].c >= 0 ? *gpu_at(gy, leaf, t, e[k].c, e[k].y, e[k].x) : 0;
        }
        for (int block = (in.n - 1) / SUMS * SUMS; block >= 0; block -= SUMS) {
            double sum[SUMS] = {0};
            int most = in.n - block < SUMS ? in.n - block : SUMS;
            UNROLL
            for (int q = SUMS - 1; q >= 0; q--) {
                int n = block + q;
                double mine = 0;
                UNROLL
                for (int k = 0; q < most && k < GPU_EACH; k++) {
                    if (e[k].c >= 0 && in.gx[n].at) {
                        *gpu_at(in.gx[n], leaf, t, e[k].c, e[k].y, e[k].x) += in.weight[n] * g[k];
                    }
                    mine += e[k].c >= 0 && part ? (double)g[k] * (double)*gpu_at(in.x[n], leaf, t, e[k].c, e[k].y, e[k].x) : 0;
                }
                sum[q] = mine;
            }
            if (part) {
                gpu_block_sums<SUMS>(sum, most, part_at(part, leaf, nt, t, in.n) + block);
            }
        }
    }
}

/* Whether no thread of one launch adds where another does: the same array, other channels of it, or memory elsewhere. */
static bool apart(const view *a, const view *b, int nt)
{
    if (!a->at || !b->at || a->at > b->at) {
        return !a->at || !b->at || apart(b, a, nt);
    }
    int64_t shift = b->at - a->at, reach = (a->nleaf - 1) * a->leaf_stride + (nt - 1) * a->frame_stride + (a->nchan - 1) * a->chan_stride +
                                           (a->pad_ny - 1) * a->row_stride + a->pad_nx;
    bool alike = a->leaf_stride == b->leaf_stride && a->frame_stride == b->frame_stride && a->chan_stride == b->chan_stride &&
                 a->row_stride == b->row_stride;
    bool channels = alike && a->chan_stride > 0 && shift % a->chan_stride == 0 && shift >= a->nchan * a->chan_stride &&
                    shift + a->nchan * a->chan_stride <= a->frame_stride;
    return shift >= reach || (alike && shift == 0) || channels;
}

void gpu_combine_back(backend *be, int nin, const real weight[], int nt, const view x[], view gy, const view gx[], double *g_weight,
                      int64_t g_weight_stride)
{
    inputs in = {nin, {0}, {}, {}};
    bool together = true, any = false;
    for (int k = 0; k < nin; k++) {
        in.weight[k] = weight[k];
        in.x[k] = gpu_array_of(x[k]);
        in.gx[k] = gpu_array_of(gx[k]);
        any = any || gx[k].at;
        for (int j = 0; j < k; j++) {
            together = together && apart(&gx[j], &gx[k], nt);
        }
    }
    double *part = parts_of(be, gy, nt, nin, g_weight != NULL);
    for (int k = nin - 1; !together && k >= 0; k--) {
        inputs one = {1, {weight[k]}, {}, {in.gx[k]}};
        LAUNCH(be, combine_back_kernel, gpu_grid_frames(gy, nt), GPU_THREADS, one, nt, gpu_see(be, gy), (double *)NULL);
        in.gx[k].at = NULL;
    }
    if (part || (any && together)) {
        LAUNCH(be, combine_back_kernel, gpu_grid_frames(gy, nt), GPU_THREADS, in, nt, gpu_see(be, gy), part);
    }
    finish(be, gy, nt, nin, part, g_weight, g_weight_stride);
}

/* --- divisive normalisation: y_c = gain q_c/N, N = s^n + sum of weight_c q_c, q = max(x, 0)^n; B = sum of gy q ----------------------------
 * by q_c: gain/N (gy_c - weight_c B/N); by N: -gain B/N^2.  par: gain, n, s, weights; a thread takes GPU_EACH pixels with all their channels. */
struct pool {
    int row, column; /* row < 0: none of the tile's */
    real total, by_total, for_gain;
};

__device__ static inline pool pool_at(const real *par, const gpu_view &x, const gpu_array &gy, int leaf, int t, int k)
{
    pool p = {0, 0, cell_power(par[2], par[1]), 0, 0};
    int64_t i = ((int64_t)blockIdx.x * GPU_EACH + k) * GPU_THREADS + threadIdx.x;
    if (!gpu_pixel(x.tile[leaf], x.pad_nx, i, &p.row, &p.column)) {
        p.row = -1;
        return p;
    }
    real both = 0;
    for (int c = 0; c < x.nchan; c++) {
        real q = cell_power(*gpu_at(x, leaf, t, c, p.row, p.column), par[1]);
        p.total += par[3 + c] * q;
        both += *gpu_at(gy, leaf, t, c, p.row, p.column) * q;
    }
    p.for_gain = both / p.total;
    p.by_total = p.for_gain * (-par[0] / p.total);
    return p;
}

/* Channel c of a pixel: adds to gx, and to the sums by the exponent and by the channel's weight. */
__device__ static inline void channel_back(const real *par, const gpu_view &x, const gpu_array &gy, const gpu_array &gx, int leaf, int t, int c,
                                           const pool &p, double *by_exponent, double *by_weight)
{
    real in = *gpu_at(x, leaf, t, c, p.row, p.column), q = cell_power(in, par[1]);
    real by_log = q * (par[0] / p.total * *gpu_at(gy, leaf, t, c, p.row, p.column) + par[3 + c] * p.by_total); /* times q, so by its logarithm */
    if (gx.at) {
        *gpu_at(gx, leaf, t, c, p.row, p.column) += in > 0 ? par[1] * by_log / in : 0;
    }
    *by_exponent += (double)by_log * (double)cell_log(in);
    *by_weight += (double)p.by_total * (double)q;
}

__global__ static void normalise_back_kernel(const real *par, int nt, gpu_view x, gpu_array gy, gpu_array gx, double *part)
{
    EACH_FRAME(x, nt, leaf, t)
    {
        pool p[GPU_EACH];
        double *to = part ? part_at(part, leaf, nt, t, 3 + x.nchan) : NULL, by_exponent = 0, gain = 0, total = 0;
        for (int k = 0; k < GPU_EACH; k++) {
            p[k] = pool_at(par, x, gy, leaf, t, k);
            gain += (double)p[k].for_gain;
            total += (double)p[k].by_total;
        }
        for (int block = 0; block < x.nchan; block += SUMS) {
            double sum[SUMS] = {0};
            int most = x.nchan - block < SUMS ? x.nchan - block : SUMS;
            UNROLL
            for (int q = 0; q < SUMS; q++) {
                double mine = 0;
                UNROLL
                for (int k = 0; q < most && k < GPU_EACH; k++) {
                    if (p[k].row >= 0) {
                        channel_back(par, x, gy, gx, leaf, t, block + q, p[k], &by_exponent, &mine);
                    }
                }
                sum[q] = mine;
            }
            if (part) {
                gpu_block_sums<SUMS>(sum, most, to + 3 + block);
            }
        }
        if (part) {
            real n = par[1], half = par[2], constant = cell_power(half, n);
            double sum[3] = {gain, by_exponent + total * (double)(constant * cell_log(half)), total * (double)(n * constant / half)};
            gpu_block_sums<3>(sum, 3, to);
        }
    }
}

void gpu_normalise_back(backend *be, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride)
{
    const real *p = (const real *)gpu_table(be, par, (size_t)npar * sizeof(real));
    view frame = x;
    frame.nchan = 1; /* its channels go together */
    double *part = parts_of(be, frame, nt, npar, g_par != NULL);
    if (gx.at || part) {
        LAUNCH(be, normalise_back_kernel, gpu_grid_frames(frame, nt), GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(gy), gpu_array_of(gx), part);
    }
    finish(be, frame, nt, npar, part, g_par, g_par_stride);
}

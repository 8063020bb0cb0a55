/* gpu_conv_separable.cu - sums of (temporal x vertical x horizontal) filters: frames along time, then along rows, then across them; and backwards.
 *
 *   z[n][t] = sum over k of T_n[k] x[t - k]      h[m][t] = horizontal_m * z[time of m][t]      y[o][t] = sum over terms m of o, vertical_m * h[m][t]
 *
 * Planes between the passes are as many frames as stay in the device's cache, in working memory.  Along time and across rows a thread has LINE
 * numbers that follow each other in registers, so that what one has read serves the next ones.  Every number is summed in the order of its taps. */
#include "gpu_conv.h"
#include "gpu_kernel.cuh"

enum { LINE = 8 }; /* frames or rows of a thread */

/* sum[r] += sum over k of weight[k] at[(r - k) step], r < n.  The ring w: number r - k stands in place (r - k) mod LINE. */
__device__ static inline void filter_line(const real *weight, int nweight, const real *at, int64_t step, int n, real sum[LINE])
{
    real w[LINE];
    UNROLL
    for (int r = 1; r < LINE; r++) {
        w[r] = r < n ? at[r * step] : 0;
    }
    for (int k0 = 0; k0 < nweight; k0 += LINE) {
        UNROLL
        for (int kk = 0; kk < LINE; kk++) {
            if (k0 + kk < nweight) {
                real one = weight[k0 + kk];
                w[(LINE - kk) % LINE] = at[-(k0 + kk) * step];
                UNROLL
                for (int r = 0; r < LINE; r++) {
                    gpu_mac(one, w[(r - kk + LINE) % LINE], &sum[r]);
                }
            }
        }
    }
}

/* sum[r] += sum over k of weight[k] at[(r + k) step]; numbers from n on, and those before `first`, are zero. */
__device__ static inline void filter_back(const real *weight, int nweight, const real *at, int64_t step, int first, int n, real sum[LINE])
{
    real w[LINE];
    UNROLL
    for (int r = 0; r < LINE - 1; r++) {
        w[r] = r >= first && r < n ? at[r * step] : 0;
    }
    for (int k0 = 0; k0 < nweight; k0 += LINE) {
        UNROLL
        for (int kk = 0; kk < LINE; kk++) {
            int next = LINE - 1 + k0 + kk;
            if (k0 + kk < nweight) {
                real one = weight[k0 + kk];
                w[(LINE - 1 + kk) % LINE] = next >= first && next < n ? at[next * step] : 0;
                UNROLL
                for (int r = 0; r < LINE; r++) {
                    gpu_mac(one, w[(r + kk) % LINE], &sum[r]);
                }
            }
        }
    }
}

/* Planes between passes: [leaf][frame][filter or term][rows][columns] of the padded tile. */
__host__ __device__ static inline int rows_of(const conv_shape &c)
{
    return c.tile_ny + c.ky - 1;
}
__host__ __device__ static inline int columns_of(const conv_shape &c)
{
    return c.tile_nx + c.kx - 1;
}

/* Row and column of thread i of an area; false beyond it. */
__device__ static inline bool in_area(int64_t i, int ny, int nx, int *y, int *x)
{
    *y = (int)(i / nx);
    *x = (int)(i % nx);
    return *y < ny;
}

__global__ static void time_kernel(gpu_separable p, int nt, gpu_view x, real *z)
{
    conv_shape c = p.c;
    int lines = (nt + LINE - 1) / LINE, row, column;
    int64_t plane = (int64_t)rows_of(c) * columns_of(c);
    for (int64_t b = blockIdx.y; b < (int64_t)x.nleaf * lines * p.ntime; b += gridDim.y) {
        int filter = (int)(b % p.ntime), t0 = (int)(b / p.ntime % lines) * LINE, leaf = (int)(b / p.ntime / lines);
        if (in_area(gpu_thread(), x.tile[leaf].ny + c.ky - 1, x.tile[leaf].nx + c.kx - 1, &row, &column)) {
            real sum[LINE] = {};
            const real *at = gpu_plane(x, leaf, t0, p.input_of[filter]) + (row - c.before_y) * x.row_stride + column - c.before_x;
            filter_line(p.time + filter * c.kt, c.kt, at, x.frame_stride, nt - t0, sum);
            real *to = z + ((int64_t)(leaf * nt + t0) * p.ntime + filter) * plane + (int64_t)row * columns_of(c) + column;
            UNROLL
            for (int r = 0; r < LINE; r++) {
                if (t0 + r < nt) {
                    to[r * p.ntime * plane] = sum[r];
                }
            }
        }
    }
}

__global__ static void horizontal_kernel(gpu_separable p, int nt, const grid_tile *tile, int nleaf, const real *z, real *h)
{
    conv_shape c = p.c;
    int row, column;
    for (int64_t b = blockIdx.y; b < (int64_t)nleaf * nt * p.nterm; b += gridDim.y) {
        int term = (int)(b % p.nterm);
        int64_t frame = b / p.nterm;
        grid_tile t = tile[frame / nt];
        if (in_area(gpu_thread(), t.ny + c.ky - 1, t.nx, &row, &column)) {
            const real *at = z + ((frame * p.ntime + p.time_of[term]) * rows_of(c) + row) * columns_of(c) + column + c.kx - 1;
            const real *weight = p.horizontal + term * c.kx;
            real sum = 0;
            for (int i = 0; i < c.kx; i++) {
                gpu_mac(weight[i], at[-i], &sum);
            }
            h[(b * rows_of(c) + row) * c.tile_nx + column] = sum;
        }
    }
}

__global__ static void vertical_kernel(gpu_separable p, int nt, const real *h, gpu_view y, const real *bias)
{
    conv_shape c = p.c;
    int line, column;
    for (int64_t b = blockIdx.y; b < (int64_t)y.nleaf * nt * y.nchan; b += gridDim.y) {
        int o = (int)(b % y.nchan), t = (int)(b / y.nchan % nt), leaf = (int)(b / y.nchan / nt), ny = y.tile[leaf].ny;
        if (in_area(gpu_thread(), (ny + LINE - 1) / LINE, y.tile[leaf].nx, &line, &column)) {
            int row = line * LINE;
            real sum[LINE] = {};
            for (int term = p.of_output[o]; term < p.of_output[o + 1]; term++) {
                const real *at = h + ((b / y.nchan * p.nterm + term) * rows_of(c) + row + c.ky - 1) * c.tile_nx + column;
                filter_line(p.vertical + term * c.ky, c.ky, at, c.tile_nx, ny - row, sum);
            }
            real *to = gpu_plane(y, leaf, t, o) + column;
            UNROLL
            for (int r = 0; r < LINE; r++) {
                if (row + r < ny) {
                    to[(row + r) * y.row_stride] = sum[r] + (bias ? bias[o] : 0);
                }
            }
        }
    }
}

/* Frames and leaves whose planes, `reals` of a leaf's frame, stay together within the budget. */
static void cut(double reals, double budget, int nt, int nleaf, int *frames, int *leaves)
{
    double bytes = reals * sizeof(real);
    *frames = nt;
    while (*frames > LINE && *frames * bytes > budget) {
        *frames = (*frames / 2 + LINE - 1) / LINE * LINE;
    }
    double n = budget / (*frames * bytes);
    *leaves = n < 1 ? 1 : n < nleaf ? (int)n : nleaf;
}

static const double near_bytes = 32e6; /* of the device's cache */

static void forward_group(backend *be, const gpu_separable *p, int nt, view x, view y, const real *bias)
{
    const conv_shape &c = p->c;
    int64_t area = (int64_t)rows_of(c) * columns_of(c), along = (int64_t)rows_of(c) * c.tile_nx, frames = (int64_t)x.nleaf * nt;
    real *z = (real *)gpu_scratch(be, (size_t)(frames * (p->ntime * area + p->nterm * along)) * sizeof(real)), *h = z + frames * p->ntime * area;
    gpu_view xs = gpu_see(be, x), ys = gpu_see(be, y);
    if (p->nterm > 0) {
        int64_t lines = (int64_t)x.nleaf * ((nt + LINE - 1) / LINE);
        LAUNCH(be, time_kernel, gpu_grid(area, lines * p->ntime), GPU_THREADS, *p, nt, xs, z);
        LAUNCH(be, horizontal_kernel, gpu_grid(along, frames * p->nterm), GPU_THREADS, *p, nt, xs.tile, x.nleaf, z, h);
    }
    LAUNCH(be, vertical_kernel, gpu_grid((int64_t)((c.tile_ny + LINE - 1) / LINE) * c.tile_nx, frames * y.nchan), GPU_THREADS, *p, nt, h, ys, bias);
}

void gpu_separable_forward(backend *be, const gpu_separable *p, int nt, view x, view y, const real *bias)
{
    const conv_shape &c = p->c;
    int frames, leaves;
    double reals = (double)rows_of(c) * (p->ntime * (double)columns_of(c) + p->nterm * (double)c.tile_nx);
    cut(reals + 1, near_bytes, nt, x.nleaf, &frames, &leaves);
    for (int l = 0; l < x.nleaf; l += leaves) {
        int nleaf = x.nleaf - l < leaves ? x.nleaf - l : leaves;
        for (int t = 0; t < nt; t += frames) {
            forward_group(be, p, nt - t < frames ? nt - t : frames, view_at_frame(view_of_leaf(x, l, nleaf), t),
                          view_at_frame(view_of_leaf(y, l, nleaf), t), bias);
        }
    }
}

/* --- backwards: v[m] = vertical_m' gy, s[n] = sum over terms m of n, horizontal_m' v[m], gx[t] += sum over n, k of T_n[k] s[n][t + k] ---- */
__global__ static void vertical_back_kernel(gpu_separable p, int nt, gpu_view gy, real *v)
{
    conv_shape c = p.c;
    int line, column;
    for (int64_t b = blockIdx.y; b < (int64_t)gy.nleaf * nt * gy.nchan; b += gridDim.y) {
        int o = (int)(b % gy.nchan), t = (int)(b / gy.nchan % nt), leaf = (int)(b / gy.nchan / nt), ny = gy.tile[leaf].ny, rows = ny + c.ky - 1;
        if (in_area(gpu_thread(), (rows + LINE - 1) / LINE, gy.tile[leaf].nx, &line, &column)) {
            int row = line * LINE, up = row - (c.ky - 1); /* row of the tile that tap 0 leads to */
            const real *at = gpu_plane(gy, leaf, t, o) + up * gy.row_stride + column;
            for (int term = p.of_output[o]; term < p.of_output[o + 1]; term++) {
                real sum[LINE] = {};
                filter_back(p.vertical + term * c.ky, c.ky, at, gy.row_stride, -up, ny - up, sum);
                real *to = v + ((b / gy.nchan * p.nterm + term) * rows_of(c) + row) * c.tile_nx + column;
                UNROLL
                for (int r = 0; r < LINE; r++) {
                    if (row + r < rows) {
                        to[r * c.tile_nx] = sum[r];
                    }
                }
            }
        }
    }
}

/* Frames [t0, t0 + nt) of whole, the chunk's length. */
__global__ static void horizontal_back_kernel(gpu_separable p, int t0, int nt, int whole, const grid_tile *tile, int nleaf, const real *v, real *s)
{
    conv_shape c = p.c;
    int row, column;
    for (int64_t b = blockIdx.y; b < (int64_t)nleaf * nt * p.ntime; b += gridDim.y) {
        int filter = (int)(b % p.ntime), t = (int)(b / p.ntime % nt), leaf = (int)(b / p.ntime / nt), nx = tile[leaf].nx;
        if (in_area(gpu_thread(), tile[leaf].ny + c.ky - 1, nx + c.kx - 1, &row, &column)) {
            int left = column - (c.kx - 1), first = left < 0 ? -left : 0, end = nx - left < c.kx ? nx - left : c.kx;
            real sum = 0;
            for (int term = p.of_time[filter]; term < p.of_time[filter + 1]; term++) {
                const real *at = v + ((b / p.ntime * p.nterm + term) * rows_of(c) + row) * c.tile_nx + left, *weight = p.horizontal + term * c.kx;
                for (int i = first; i < end; i++) {
                    gpu_mac(weight[i], at[i], &sum);
                }
            }
            s[((((int64_t)leaf * whole + t0 + t) * p.ntime + filter) * rows_of(c) + row) * columns_of(c) + column] = sum;
        }
    }
}

__global__ static void time_back_kernel(gpu_separable p, int nt, const real *s, const grid_tile *tile, gpu_view gx)
{
    conv_shape c = p.c;
    int past = c.kt - 1, lines = (nt + past + LINE - 1) / LINE, row, column;
    int64_t step = (int64_t)p.ntime * rows_of(c) * columns_of(c);
    for (int64_t b = blockIdx.y; b < (int64_t)gx.nleaf * lines * gx.nchan; b += gridDim.y) {
        int in = (int)(b % gx.nchan), t0 = (int)(b / gx.nchan % lines) * LINE - past, leaf = (int)(b / gx.nchan / lines);
        if (in_area(gpu_thread(), tile[leaf].ny + c.ky - 1, tile[leaf].nx + c.kx - 1, &row, &column)) {
            real sum[LINE] = {};
            for (int n = p.of_input[in]; n < p.of_input[in + 1]; n++) {
                int filter = p.times[n];
                const real *at = s + (leaf * (int64_t)nt + t0) * step + ((int64_t)filter * rows_of(c) + row) * columns_of(c) + column;
                filter_back(p.time + filter * c.kt, c.kt, at, step, -t0, nt - t0, sum);
            }
            real *to = gpu_plane(gx, leaf, t0, in) + (row - c.before_y) * gx.row_stride + column - c.before_x;
            UNROLL
            for (int r = 0; r < LINE; r++) {
                if (t0 + r < nt) {
                    to[r * gx.frame_stride] += sum[r];
                }
            }
        }
    }
}

/* s of the whole chunk is held for some leaves at a time, v for some frames of theirs. */
static void back_group(backend *be, const gpu_separable *p, int nt, int most, view gy, view gx)
{
    const conv_shape &c = p->c;
    int64_t area = (int64_t)rows_of(c) * columns_of(c), along = (int64_t)rows_of(c) * c.tile_nx, lines = (rows_of(c) + LINE - 1) / LINE;
    size_t reals = (size_t)gy.nleaf * (size_t)(nt * p->ntime * area + most * p->nterm * along);
    real *s = (real *)gpu_scratch(be, reals * sizeof(real)), *v = s + gy.nleaf * nt * p->ntime * area;
    const grid_tile *tile = gpu_see(be, gy).tile;
    for (int t = 0; t < nt; t += most) {
        int n = nt - t < most ? nt - t : most;
        int64_t frames = (int64_t)gy.nleaf * n;
        LAUNCH(be, vertical_back_kernel, gpu_grid(lines * c.tile_nx, frames * gy.nchan), GPU_THREADS, *p, n, gpu_see(be, view_at_frame(gy, t)), v);
        LAUNCH(be, horizontal_back_kernel, gpu_grid(area, frames * p->ntime), GPU_THREADS, *p, t, n, nt, tile, gy.nleaf, v, s);
    }
    int64_t steps = (nt + c.kt - 1 + LINE - 1) / LINE;
    LAUNCH(be, time_back_kernel, gpu_grid(area, gy.nleaf * steps * gx.nchan), GPU_THREADS, *p, nt, s, tile, gpu_see(be, gx));
}

void gpu_separable_back(backend *be, const gpu_separable *p, int nt, view gy, view gx)
{
    const double most_bytes = 512e6;
    const conv_shape &c = p->c;
    int frames, leaves, ignored;
    double area = (double)rows_of(c) * columns_of(c);
    double n = most_bytes / (nt * p->ntime * area * sizeof(real) + 1);
    leaves = n < 1 ? 1 : n < gy.nleaf ? (int)n : gy.nleaf;
    cut(leaves * p->nterm * (double)rows_of(c) * c.tile_nx + 1, near_bytes, nt, 1, &frames, &ignored);
    for (int l = 0; p->nterm > 0 && l < gy.nleaf; l += leaves) {
        int nleaf = gy.nleaf - l < leaves ? gy.nleaf - l : leaves;
        back_group(be, p, nt, frames, view_of_leaf(gy, l, nleaf), view_of_leaf(gx, l, nleaf));
    }
}

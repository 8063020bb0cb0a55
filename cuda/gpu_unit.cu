/* gpu_unit.cu - sums over steps and pixels, and the straight line that follows from them, for each channel or each unit (batch
 * normalisation). */
#include "gpu_pixel.cuh"

/* --- places in a table --------------------------------------------------------------------------------------------------------------- */
struct table {
    int64_t n, chan, row, col;
    const int64_t *id; /* device; NULL: pixels */
};

static table table_of(backend *be, const unit_table *u, view x)
{
    table t = {u->n, u->chan, u->row, u->col, NULL};
    if (u->id && u->col != 0) {
        t.id = (const int64_t *)gpu_table(be, u->id, (size_t)x.nleaf * x.pad_nx * sizeof(int64_t));
        t.row = 0;
    }
    return t;
}
__device__ static inline int64_t place_of(const table &u, const grid_tile &tile, int pad_nx, int leaf, int c, int y, int x)
{
    return c * u.chan + u.row * (tile.y0 + y) + u.col * (u.id ? u.id[(int64_t)leaf * pad_nx + x] : tile.x0 + x);
}

/* --- the line: y = gain (x - centre) + offset, or to gx: gain gy + (slope (x - centre) + offset); line: [centre, gain, offset, slope][n] ------- */
struct line_place {
    real centre, gain, offset, slope;
};

template <bool BACK> __global__ static void line_kernel(table u, const real *line, int nt, gpu_view x, gpu_array gy, gpu_array y)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < x.nleaf * x.nchan; plane += (int)gridDim.z) {
        int leaf = plane / x.nchan, c = plane % x.nchan, row, column;
        if (!gpu_pixel(x.tile[leaf], x.pad_nx, i, &row, &column)) {
            continue;
        }
        const real *at = line + place_of(u, x.tile[leaf], x.pad_nx, leaf, c, row, column);
        line_place p = {at[0], at[u.n], at[2 * u.n], BACK ? at[3 * u.n] : 0};
        for (int t = (int)blockIdx.y * GPU_STEPS; t < nt; t += (int)gridDim.y * GPU_STEPS) {
            const real *in = gpu_at(x, leaf, t, c, row, column), *by = BACK ? gpu_at(gy, leaf, t, c, row, column) : NULL;
            real *out = gpu_at(y, leaf, t, c, row, column), v[GPU_STEPS], g[GPU_STEPS];
            for (int k = 0; k < GPU_STEPS; k++) {
                v[k] = t + k < nt ? in[k * x.frame_stride] : 0;
                g[k] = BACK && t + k < nt ? by[k * gy.frame] : 0;
            }
            for (int k = 0; k < GPU_STEPS && t + k < nt; k++) {
                if (BACK) {
                    out[k * y.frame] += p.gain * g[k] + (p.slope * (v[k] - p.centre) + p.offset);
                } else {
                    out[k * y.frame] = p.gain * (v[k] - p.centre) + p.offset;
                }
            }
        }
    }
}

void gpu_unit_line(backend *be, const unit_table *u, const real *line, int nt, view x, view y)
{
    const real *at = (const real *)gpu_table(be, line, (size_t)(3 * u->n) * sizeof(real));
    LAUNCH(be, line_kernel<false>, gpu_grid_steps(x.pad_ny, x.pad_nx, nt, (int64_t)x.nleaf * x.nchan), GPU_THREADS, table_of(be, u, x), at, nt,
           gpu_see(be, x), gpu_array_of(x), gpu_array_of(y));
}

void gpu_unit_line_back(backend *be, const unit_table *u, const real *line, int nt, view x, view gy, view gx)
{
    const real *at = (const real *)gpu_table(be, line, (size_t)(4 * u->n) * sizeof(real));
    LAUNCH(be, line_kernel<true>, gpu_grid_steps(x.pad_ny, x.pad_nx, nt, (int64_t)x.nleaf * x.nchan), GPU_THREADS, table_of(be, u, x), at, nt,
           gpu_see(be, x), gpu_array_of(gy), gpu_array_of(gx));
}

/* --- sums of w and w d, d = x - centre, w = d or g.  What the pixels of a leaf share is summed by blocks, what is a
 * pixel's own by its thread. */
__device__ static inline void add_pair(const real *x, const real *g, double centre, double sum[2])
{
    double d = (double)*x - centre, w = g ? (double)*g : d;
    sum[0] += w;
    sum[1] += w * d;
}

/* A number has every element of the channels, rows and columns that share it: all channels where chan is 0, all rows where row is 0. */
__global__ static void own_kernel(table u, const double *centre, int nt, gpu_view x, gpu_array g, double *result)
{
    int nchan = u.chan ? x.nchan : 1, ny = u.row ? x.pad_ny : 1;
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < x.nleaf * nchan; plane += (int)gridDim.z) {
        int leaf = plane / nchan, c0 = plane % nchan, y0, column;
        grid_tile tile = x.tile[leaf];
        if (i >= (int64_t)ny * x.pad_nx || !gpu_pixel(tile, x.pad_nx, i, &y0, &column)) {
            continue;
        }
        int64_t place = place_of(u, tile, x.pad_nx, leaf, c0, y0, column);
        double middle = centre ? centre[place] : 0, sum[2] = {0};
        for (int t = 0; t < nt; t++) {
            for (int c = c0; c < (u.chan ? c0 + 1 : x.nchan); c++) {
                for (int y = y0; y < (u.row ? y0 + 1 : tile.ny); y++) {
                    add_pair(gpu_at(x, leaf, t, c, y, column), g.at ? gpu_at(g, leaf, t, c, y, column) : NULL, middle, sum);
                }
            }
        }
        result[2 * leaf * u.n + place] = sum[0];
        result[(2 * leaf + 1) * u.n + place] = sum[1];
    }
}

/* What pixels share: part [number of the leaf][step][strip][2]; numbers of a leaf: channels, or one, times rows, or one. */
struct shares {
    int nchan, ny, n, nstrip; /* n: of all leaves */
};
enum { SHARE_EACH = 16 }; /* elements of a thread */

static shares shares_of(const unit_table *u, view x)
{
    int64_t elements = (int64_t)(u->chan ? 1 : x.nchan) * (u->row ? 1 : x.pad_ny) * x.pad_nx, strip = GPU_THREADS * SHARE_EACH;
    shares s = {u->chan ? x.nchan : 1, u->row ? x.pad_ny : 1, 0, (int)((elements + strip - 1) / strip)};
    s.n = x.nleaf * s.nchan * s.ny;
    return s;
}

__global__ static void share_kernel(table u, shares s, const double *centre, int nt, gpu_view x, gpu_array g, double *part)
{
    for (int k = (int)blockIdx.z; k < s.n; k += (int)gridDim.z) {
        int leaf = k / s.ny / s.nchan, c0 = k / s.ny % s.nchan, y0 = k % s.ny, ny = u.row ? 1 : x.pad_ny, nrow = (u.chan ? 1 : x.nchan) * ny;
        grid_tile tile = x.tile[leaf];
        double middle = centre && y0 < tile.ny ? centre[place_of(u, tile, x.pad_nx, leaf, c0, y0, 0)] : 0;
        for (int t = (int)blockIdx.y; t < nt; t += (int)gridDim.y) {
            double sum[2] = {0};
            for (int e = 0; e < SHARE_EACH; e++) {
                unsigned i = (blockIdx.x * SHARE_EACH + e) * GPU_THREADS + threadIdx.x;
                int row = (int)(i / x.pad_nx), c = c0 + row / ny, y = y0 + row % ny, column = (int)(i % x.pad_nx);
                if (row < nrow && y < tile.ny && column < tile.nx) {
                    add_pair(gpu_at(x, leaf, t, c, y, column), g.at ? gpu_at(g, leaf, t, c, y, column) : NULL, middle, sum);
                }
            }
            gpu_block_sums<2>(sum, 2, part + (((int64_t)k * nt + t) * s.nstrip + blockIdx.x) * 2);
        }
    }
}

/* A block for each number, into its place. */
__global__ static void place_kernel(table u, shares s, int64_t npart, gpu_view x, const double *part, double *result)
{
    int k = (int)blockIdx.x, leaf = k / s.ny / s.nchan, c = k / s.ny % s.nchan, y = k % s.ny;
    double sum[2] = {0};
    for (int64_t i = threadIdx.x; i < npart; i += GPU_THREADS) {
        sum[0] += part[(k * npart + i) * 2];
        sum[1] += part[(k * npart + i) * 2 + 1];
    }
    for (int which = 0; which < 2; which++) {
        double all = gpu_block_sum(sum[which]);
        if (threadIdx.x == 0 && y < x.tile[leaf].ny) {
            result[(2 * leaf + which) * u.n + place_of(u, x.tile[leaf], x.pad_nx, leaf, c, y, 0)] = all;
        }
    }
}

void gpu_unit_sums(backend *be, const unit_table *u, const double *centre, int nt, view x, view g, double *sum, int64_t sum_stride)
{
    if (x.nleaf < 1 || nt < 1) {
        return;
    }
    const double *middle = centre ? (const double *)gpu_table(be, centre, (size_t)u->n * sizeof(double)) : NULL;
    table t = table_of(be, u, x);
    double *result = gpu_result(be, x.nleaf, 1, 2 * u->n, sum, sum_stride, true);
    GPU_CHECK(cudaMemsetAsync(result, 0, (size_t)(2 * x.nleaf * u->n) * sizeof(double), gpu_stream(be)));
    if (u->col != 0) {
        dim3 grid(gpu_blocks((int64_t)(t.row ? x.pad_ny : 1) * x.pad_nx), 1, gpu_most((int64_t)x.nleaf * (t.chan ? x.nchan : 1)));
        LAUNCH(be, own_kernel, grid, GPU_THREADS, t, middle, nt, gpu_see(be, x), gpu_array_of(g), result);
        return;
    }
    shares s = shares_of(u, x);
    double *part = (double *)gpu_scratch(be, (size_t)s.n * nt * s.nstrip * 2 * sizeof(double));
    dim3 grid((unsigned)s.nstrip, gpu_most(nt), gpu_most(s.n));
    LAUNCH(be, share_kernel, grid, GPU_THREADS, t, s, middle, nt, gpu_see(be, x), gpu_array_of(g), part);
    LAUNCH(be, place_kernel, (unsigned)s.n, GPU_THREADS, t, s, (int64_t)nt * s.nstrip, gpu_see(be, x), part, result);
}

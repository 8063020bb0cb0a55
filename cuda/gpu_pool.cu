/* gpu_pool.cu - mean or largest of squares of pixels, a thread a square; noise, a thread a pixel at four steps. */
#include "base/random.h"
#include "gpu_pixel.cuh"

__device__ static inline real mean_of(const real *x, int64_t row_stride, int size)
{
    real sum = 0;
    for (int j = 0; j < size; j++) {
        for (int i = 0; i < size; i++) {
            sum += x[j * row_stride + i];
        }
    }
    return sum / (real)(size * size);
}

/* Its number in the square; the first one, row by row, of several. */
__device__ static inline int largest_of(const real *x, int64_t row_stride, int size)
{
    int at = 0;
    real most = x[0];
    for (int k = 1; k < size * size; k++) {
        real v = x[k / size * row_stride + k % size];
        at = v > most ? k : at;
        most = v > most ? v : most;
    }
    return at;
}

__global__ static void pool_kernel(int size, bool largest, int nt, gpu_array x, gpu_view y)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < y.nleaf * y.nchan; plane += (int)gridDim.z) {
        int leaf = plane / y.nchan, c = plane % y.nchan, row, column;
        if (!gpu_pixel(y.tile[leaf], y.pad_nx, i, &row, &column)) {
            continue;
        }
        for (int t = (int)blockIdx.y; t < nt; t += (int)gridDim.y) {
            const real *in = gpu_at(x, leaf, t, c, row * size, column * size);
            int at = largest ? largest_of(in, x.row, size) : 0;
            *gpu_at(y, leaf, t, c, row, column) = largest ? in[at / size * x.row + at % size] : mean_of(in, x.row, size);
        }
    }
}

__global__ static void pool_back_kernel(int size, bool largest, int nt, gpu_array x, gpu_view gy, gpu_array gx)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.z; plane < gy.nleaf * gy.nchan; plane += (int)gridDim.z) {
        int leaf = plane / gy.nchan, c = plane % gy.nchan, row, column;
        if (!gpu_pixel(gy.tile[leaf], gy.pad_nx, i, &row, &column)) {
            continue;
        }
        for (int t = (int)blockIdx.y; t < nt; t += (int)gridDim.y) {
            real *out = gpu_at(gx, leaf, t, c, row * size, column * size), g = *gpu_at(gy, leaf, t, c, row, column);
            if (largest) {
                int at = largest_of(gpu_at(x, leaf, t, c, row * size, column * size), x.row, size);
                out[at / size * gx.row + at % size] += g;
                continue;
            }
            real share = g / (real)(size * size);
            for (int k = 0; k < size * size; k++) {
                out[k / size * gx.row + k % size] += share;
            }
        }
    }
}

static dim3 squares(view y, int nt)
{
    return dim3(gpu_blocks((int64_t)y.pad_ny * y.pad_nx), gpu_most(nt), gpu_most((int64_t)y.nleaf * y.nchan));
}

void gpu_pool_space(backend *be, int size, bool largest, int nt, view x, view y)
{
    LAUNCH(be, pool_kernel, squares(y, nt), GPU_THREADS, size, largest, nt, gpu_array_of(x), gpu_see(be, y));
}

void gpu_pool_space_back(backend *be, int size, bool largest, int nt, view x, view gy, view gx)
{
    LAUNCH(be, pool_back_kernel, squares(gy, nt), GPU_THREADS, size, largest, nt, gpu_array_of(x), gpu_see(be, gy), gpu_array_of(gx));
}

/* --- noise: one block of random bits serves a pixel for the steps 4 group .. 4 group + 3 ------------------------------------------- */
struct noise_par {
    uint64_t seed;
    real sd;
    int field_nx, ntile;
    int64_t step0;
    const int64_t *id; /* device; NULL: pixels */
};

__global__ static void noise_kernel(noise_par p, int nt, gpu_view x, gpu_array y)
{
    int64_t i = gpu_thread(), first = p.step0 / 4, last = (p.step0 + nt - 1) / 4;
    for (int plane = (int)blockIdx.z; plane < x.nleaf * x.nchan; plane += (int)gridDim.z) {
        int leaf = plane / x.nchan, c = plane % x.nchan, row, column;
        grid_tile tile = x.tile[leaf];
        if (!gpu_pixel(tile, x.pad_nx, i, &row, &column)) {
            continue;
        }
        uint64_t copy = (uint64_t)(tile.leaf / p.ntile) << 40; /* of the field: sequence and network */
        uint64_t who = copy | (p.id ? (uint64_t)p.id[(int64_t)leaf * x.pad_nx + column]
                                    : (uint64_t)(tile.y0 + row) * (uint64_t)p.field_nx + (uint64_t)(tile.x0 + column));
        for (int64_t group = first + blockIdx.y; group <= last; group += gridDim.y) {
            random_block b = random_bits(p.seed, RANDOM_NOISE_LAYER, who, (uint64_t)group, (uint32_t)c);
            float z[4];
            random_normal_pair(b.v[0], b.v[1], &z[0], &z[1]);
            random_normal_pair(b.v[2], b.v[3], &z[2], &z[3]);
            for (int k = 0; k < 4; k++) {
                int64_t t = 4 * group + k - p.step0;
                if (t >= 0 && t < nt) {
                    *gpu_at(y, leaf, (int)t, c, row, column) = *gpu_at(x, leaf, (int)t, c, row, column) + p.sd * (real)z[k];
                }
            }
        }
    }
}

void gpu_noise(backend *be, uint64_t seed, real sd, int field_nx, const int64_t *id, int ntile, int64_t step0, int nt, view x, view y)
{
    const int64_t *ids = id ? (const int64_t *)gpu_table(be, id, (size_t)x.nleaf * x.pad_nx * sizeof(int64_t)) : NULL;
    noise_par p = {seed, sd, field_nx, ntile, step0, ids};
    dim3 grid(gpu_blocks((int64_t)x.pad_ny * x.pad_nx), gpu_most(nt / 4 + 1), gpu_most((int64_t)x.nleaf * x.nchan));
    LAUNCH(be, noise_kernel, grid, GPU_THREADS, p, nt, gpu_see(be, x), gpu_array_of(y));
}

/* gpu_blur_taps.cu - a blur whose taps are free: y = bias + sum over j, i of taps[j][i] x[y + r - j][x + r - i], as direct sums, each pixel in the same
 * order.  Its adjoint is the sum with the taps turned by half a circle, without the bias. */
#include "gpu_blur_pass.cuh"

enum { WIDE = 32, ROWS = GPU_THREADS / WIDE };

/* A block makes 8 rows of 32 pixels.  For each row of taps, and 32 of its taps at a time, it stages what they meet. */
__global__ static void taps_kernel(blur_pass p, const real *taps, int radius, double *part)
{
    __shared__ real staged[ROWS][2 * WIDE];
    int side = 2 * radius + 1, across = (p.pad_nx + 2 * p.spread + WIDE - 1) / WIDE, tx = (int)threadIdx.x % WIDE, ty = (int)threadIdx.x / WIDE;
    int y = (int)blockIdx.x / across * ROWS - p.spread + ty, x0 = (int)blockIdx.x % across * WIDE - p.spread;
    for (int64_t plane = blockIdx.y; plane < blur_planes(p); plane += gridDim.y) {
        blur_place q = blur_at(p, plane);
        real s = p.back ? 0 : taps[side * side];
        for (int j = 0; j < side; j++) {
            for (int i0 = 0; i0 < side; i0 += WIDE) {
                for (int x = tx; x < 2 * WIDE; x += WIDE) {
                    staged[ty][x] = blur_from_at(p.from, q, y - radius + j, x0 - radius + i0 + x);
                }
                __syncthreads();
                for (int i = i0; i < i0 + WIDE && i < side; i++) {
                    int tap = p.back ? j * side + i : side * side - 1 - (j * side + i);
                    gpu_mac(taps[tap], staged[ty][tx + i - i0], &s);
                }
                __syncthreads();
            }
        }
        double sum[BLUR_MOST_SUMS] = {0};
        if (blur_makes(p, q, y, x0 + tx)) {
            blur_give(p.to.to, p.to, q, y, x0 + tx, s, sum);
        }
        blur_sums(p, sum, part, plane * gridDim.x + blockIdx.x);
    }
}

void gpu_taps_run(backend *be, const blur_plan *plan, enum blur_what what, const blur_pass &p)
{
    (void)what; /* p.back says it */
    int64_t planes = blur_planes(p);
    int rows = (p.pad_ny + 2 * p.spread + ROWS - 1) / ROWS, across = (p.pad_nx + 2 * p.spread + WIDE - 1) / WIDE, blocks = rows * across;
    double *part = p.nsum > 0 ? (double *)gpu_scratch(be, (size_t)(planes * blocks * p.nsum) * sizeof(double)) : NULL;
    LAUNCH(be, taps_kernel, dim3((unsigned)blocks, (unsigned)(planes > 65535 ? 65535 : planes)), GPU_THREADS, p, (const real *)plan->free, plan->radius,
           part);
    if (p.nsum > 0) {
        gpu_sum_parts(be, (int64_t)p.nleaf * p.nt, p.nchan * blocks, p.nsum, part, p.result);
    }
}

/* By taps[j][i]: the sum over pixels of other[y][x] x[y + r - j][x + r - i]; by the bias: that of other.  A block a few taps of one row and frame. */
enum { AT_ONCE = 4 };
__global__ static void par_kernel(blur_pass p, int radius, double *result)
{
    int side = 2 * radius + 1, across = (side + AT_ONCE - 1) / AT_ONCE, j = (int)blockIdx.x / across, i0 = (int)blockIdx.x % across * AT_ONCE;
    bool bias = j == side;
    for (int64_t frame = blockIdx.y; frame < (int64_t)p.nleaf * p.nt; frame += gridDim.y) {
        double sum[AT_ONCE] = {0};
        for (int c = 0; c < p.nchan; c++) {
            blur_place q = blur_at(p, frame * p.nchan + c);
            for (int64_t n = threadIdx.x; n < (int64_t)q.tile.ny * q.tile.nx; n += GPU_THREADS) {
                int y = (int)(n / q.tile.nx), x = (int)(n % q.tile.nx);
                double by = (double)*blur_pixel(p.to.other, q, y, x);
                for (int k = 0; k < AT_ONCE && (bias ? k == 0 : i0 + k < side); k++) {
                    sum[k] += bias ? by : by * (double)blur_from_at(p.from, q, y + radius - j, x + radius - i0 - k);
                }
            }
        }
        for (int k = 0; k < AT_ONCE; k++) {
            double all = gpu_block_sum(sum[k]);
            if (threadIdx.x == 0 && (bias ? k == 0 : i0 + k < side)) {
                result[frame * (side * side + 1) + j * side + (bias ? 0 : i0 + k)] = p.to.factor * all;
            }
        }
    }
}

void gpu_taps_par(backend *be, const blur_plan *plan, const blur_pass &p, double *result)
{
    int side = 2 * plan->radius + 1, across = (side + AT_ONCE - 1) / AT_ONCE;
    int64_t frames = (int64_t)p.nleaf * p.nt;
    LAUNCH(be, par_kernel, dim3((unsigned)(side * across + 1), (unsigned)(frames > 65535 ? 65535 : frames)), GPU_THREADS, p, plan->radius, result);
}

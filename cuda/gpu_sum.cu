/* gpu_sum.cu - sums over the blocks of a kernel, in a fixed tree. */
#include "gpu_kernel.cuh"

enum { FEW = 32 }; /* blocks that one thread adds up */

__global__ static void few_kernel(int64_t nsum, int nblock, int n, const double *part, double *result)
{
    int64_t j = gpu_thread();
    if (j < nsum * n) {
        const double *mine = part + j / n * nblock * n + j % n;
        double sum = 0;
        for (int b = 0; b < nblock; b++) {
            sum += mine[(int64_t)b * n];
        }
        result[j] = sum;
    }
}

__global__ static void many_kernel(int nblock, int n, const double *part, double *result)
{
    int64_t j = blockIdx.x;
    const double *mine = part + j / n * nblock * n + j % n;
    double sum = 0;
    for (int b = (int)threadIdx.x; b < nblock; b += GPU_THREADS) {
        sum += mine[(int64_t)b * n];
    }
    sum = gpu_block_sum(sum);
    if (threadIdx.x == 0) {
        result[j] = sum;
    }
}

void gpu_sum_parts(backend *be, int64_t nsum, int nblock, int n, const double *part, double *result)
{
    if (nsum * n < 1) {
        return;
    }
    if (nblock <= FEW) {
        LAUNCH(be, few_kernel, gpu_blocks(nsum * n), GPU_THREADS, nsum, nblock, n, part, result);
    } else {
        LAUNCH(be, many_kernel, (unsigned)(nsum * n), GPU_THREADS, nblock, n, part, result);
    }
}

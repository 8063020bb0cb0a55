/* gpu_block_sums.cuh - sums of several numbers over the threads of a block at once. */
#ifndef GPU_BLOCK_SUMS_CUH
#define GPU_BLOCK_SUMS_CUH
#include "gpu_kernel.cuh"

/* sum[k] = the sum over the block's threads of mine[k], k < N, always in the same order: 16 threads a number add up 16 each, one thread the rest. */
template <int N> __device__ static inline void gpu_block_sums(const double mine[], double sum[])
{
    enum { LANES = 16 };
    __shared__ double part[N][GPU_THREADS], lane[N][LANES];
    int i = (int)threadIdx.x, k = i / LANES;
    for (int n = 0; n < N; n++) {
        part[n][i] = mine[n];
    }
    __syncthreads();
    if (k < N) {
        double s = 0;
        for (int j = i % LANES; j < GPU_THREADS; j += LANES) {
            s += part[k][j];
        }
        lane[k][i % LANES] = s;
    }
    __syncthreads(); /* and part is free for the next call */
    if (i < N) {
        double s = 0;
        for (int j = 0; j < LANES; j++) {
            s += lane[i][j];
        }
        sum[i] = s;
    }
}
#endif

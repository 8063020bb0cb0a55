/* gpu_ceiling.cu - what bench_gpu.c needs of a device besides the table of ops: events, and the rate of a kernel of multiply-adds alone. */
#include "../../cuda/gpu_kernel.cuh"

extern "C" void bench_events(backend *be, void (*work)(void *), void *ctx, double *seconds);
extern "C" double bench_fma(backend *be);

/* Seconds on the device of what `work` queues. */
void bench_events(backend *be, void (*work)(void *), void *ctx, double *seconds)
{
    cudaEvent_t from, to;
    float ms;
    GPU_CHECK(cudaEventCreate(&from));
    GPU_CHECK(cudaEventCreate(&to));
    GPU_CHECK(cudaEventRecord(from, gpu_stream(be)));
    work(ctx);
    GPU_CHECK(cudaEventRecord(to, gpu_stream(be)));
    GPU_CHECK(cudaEventSynchronize(to));
    GPU_CHECK(cudaEventElapsedTime(&ms, from, to));
    GPU_CHECK(cudaEventDestroy(from));
    GPU_CHECK(cudaEventDestroy(to));
    *seconds = 1e-3 * ms;
}

enum { CHAINS = 8, ROUNDS = 1 << 15, FMA_BLOCKS = 132 * 16, FMA_WARM = 5, FMA_REPEAT = 9 };

/* Independent chains a thread, so that only the units limit.  x swings round b/(1 - a), slower to rest than the rounds are many, with all bits of its
 * mantissa in motion: a chain at rest draws less power and runs at a higher clock than work does. */
static __global__ void fma_kernel(real a, real b, real *out)
{
    real x[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; i++) {
        x[i] = (real)((int)threadIdx.x + i);
    }
#pragma unroll 32 /* 256 multiply-adds for one count and jump */
    for (int k = 0; k < ROUNDS; k++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++) {
            x[i] = fma(a, x[i], b);
        }
    }
    real sum = 0;
    for (int i = 0; i < CHAINS; i++) {
        sum += x[i];
    }
    out[gpu_thread()] = sum;
}

typedef struct fma_work {
    backend *be;
    real *out;
} fma_work;

static void fma_once(void *ctx)
{
    const fma_work *w = (const fma_work *)ctx;
    LAUNCH(w->be, fma_kernel, FMA_BLOCKS, GPU_THREADS, (real)-0.999999, (real)0.7, w->out);
}

/* Median; about 5 ms each on an H200, after as many that wake its clocks. */
double bench_fma(backend *be)
{
    fma_work w = {be, (real *)gpu_malloc(be, sizeof(real) * FMA_BLOCKS * GPU_THREADS)};
    double rate[FMA_REPEAT], seconds;
    for (int i = -FMA_WARM; i < FMA_REPEAT; i++) {
        bench_events(be, fma_once, &w, &seconds);
        double now = 2.0 * CHAINS * ROUNDS * FMA_BLOCKS * GPU_THREADS / seconds;
        int at = i < 0 ? 0 : i;
        for (; at > 0 && rate[at - 1] > now; at--) { /* in order */
            rate[at] = rate[at - 1];
        }
        rate[at] = now;
    }
    gpu_free(be, w.out);
    return rate[FMA_REPEAT / 2];
}

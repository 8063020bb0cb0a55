/* faults.cpp - faults that the emulated device must find, each planted once: by abort, or by wrong numbers where a GPU would give wrong numbers. */
#include <math.h>

#include "cufft.h"
#include "emulate.h"

namespace
{
enum { N = 512, THREADS = 256 };
cudaStream_t a, b;
cudaEvent_t done;
float *one, *two, *pinned;

template <class... P, class... A> void launch(void (*kernel)(P...), int blocks, A... args)
{
    emulate_launch(kernel, "a faulty kernel", dim3((unsigned)blocks), dim3(THREADS), a, args...);
}

bool differs(float value)
{
    bool wrong = false;
    cudaMemcpyAsync(pinned, one, N * sizeof *one, cudaMemcpyDeviceToHost, a);
    cudaStreamSynchronize(a);
    for (int i = 0; i < N; i++) {
        wrong = wrong || !(pinned[i] == value || isnan(value));
    }
    return wrong;
}

void set_kernel(float *to, float value)
{
    to[blockIdx.x * THREADS + threadIdx.x] = value;
}

/* --- races ---------------------------------------------------------------------------------------------------------------- */
void no_barrier_kernel(float *to)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = 0;
    __syncthreads();
    s[threadIdx.x] = 1;
    to[blockIdx.x * THREADS + threadIdx.x] = s[(threadIdx.x + 1) % THREADS]; /* forward only the last thread sees a 1 */
}
bool no_barrier()
{
    launch(no_barrier_kernel, 2, one);
    return differs(1);
}

void back_kernel(float *to, const float *from) /* the same, seen in reverse order only */
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = from[0];
    if (threadIdx.x == 0) {
        s[0] = 2;
    }
    __syncthreads();
    float mine = s[(threadIdx.x + THREADS - 1) % THREADS] > 0 ? 1 : 0;
    s[threadIdx.x] = 0;
    to[blockIdx.x * THREADS + threadIdx.x] = mine;
}
bool no_barrier_after_reading()
{
    launch(set_kernel, 2, one, 1.0f);
    bool wrong = false;
    for (int i = 0; i < 3; i++) {
        launch(back_kernel, 2, two, (const float *)one);
        cudaMemcpyAsync(one, two, N * sizeof *one, cudaMemcpyDeviceToDevice, a);
        wrong = wrong || differs(1);
        launch(set_kernel, 2, one, 1.0f);
    }
    return wrong;
}

void blocks_kernel(float *x) /* each block needs what the one before it has made */
{
    int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    x[i] = blockIdx.x > 0 ? x[i - THREADS] + 1 : 1;
}
bool blocks_in_order()
{
    bool wrong = false;
    for (int i = 0; i < 3; i++) {
        launch(set_kernel, 2, one, 0.0f);
        launch(blocks_kernel, 2, one);
        cudaMemcpyAsync(pinned, one, N * sizeof *one, cudaMemcpyDeviceToHost, a);
        cudaStreamSynchronize(a);
        wrong = wrong || pinned[N - 1] != 2;
    }
    return wrong;
}

void unwritten_kernel(float *to)
{
    __shared__ float s[THREADS];
    if (threadIdx.x > 0) {
        s[threadIdx.x] = 0;
    }
    __syncthreads();
    to[blockIdx.x * THREADS + threadIdx.x] = s[0] == 0 ? 1 : 0;
}
bool shared_not_written()
{
    launch(unwritten_kernel, 2, one);
    return differs(1);
}

/* --- streams ---------------------------------------------------------------------------------------------------------------- */
bool read_too_early()
{
    launch(set_kernel, 2, one, 1.0f);
    cudaMemcpyAsync(pinned, one, N * sizeof *one, cudaMemcpyDeviceToHost, a);
    bool wrong = pinned[0] != 1;
    cudaStreamSynchronize(a);
    return wrong;
}
bool written_too_early()
{
    pinned[0] = 1;
    cudaMemcpyAsync(one, pinned, sizeof *one, cudaMemcpyHostToDevice, a);
    pinned[0] = 2;
    cudaStreamSynchronize(a);
    cudaMemcpyAsync(pinned, one, sizeof *one, cudaMemcpyDeviceToHost, a);
    cudaStreamSynchronize(a);
    return pinned[0] != 1;
}
bool no_event_between_streams()
{
    launch(set_kernel, 2, one, 1.0f);
    cudaMemcpyAsync(pinned, one, N * sizeof *one, cudaMemcpyDeviceToHost, b);
    cudaStreamSynchronize(b);
    return pinned[0] != 1;
}
bool stream_ends_with_work()
{
    launch(set_kernel, 2, one, 1.0f);
    return cudaStreamDestroy(a) != cudaSuccess;
}
bool event_after_its_end()
{
    cudaEventDestroy(done);
    return cudaEventRecord(done, a) != cudaSuccess;
}
bool pinned_freed_too_early()
{
    launch(set_kernel, 2, one, 1.0f);
    cudaMemcpyAsync(pinned, one, N * sizeof *one, cudaMemcpyDeviceToHost, a);
    cudaFreeHost(pinned);
    return cudaStreamSynchronize(a) != cudaSuccess;
}
bool wait_from_without_a_capture()
{
    launch(set_kernel, 2, one, 1.0f);
    cudaEventRecord(done, a);
    cudaStreamBeginCapture(b, cudaStreamCaptureModeRelaxed);
    return cudaStreamWaitEvent(b, done, 0) != cudaSuccess;
}
bool event_of_a_capture()
{
    cudaGraph_t g;
    cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed);
    cudaEventRecord(done, a);
    cudaStreamEndCapture(a, &g);
    return cudaEventSynchronize(done) != cudaSuccess;
}
bool question_leaves_an_error() /* what has not come is the last error, until somebody asks */
{
    for (int i = 0; i < 3; i++) {
        launch(set_kernel, 2, one, 1.0f);
    }
    cudaEventRecord(done, a);
    return cudaEventQuery(done) == cudaErrorNotReady && cudaGetLastError() == cudaErrorNotReady && cudaGetLastError() == cudaSuccess;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------ */
bool copy_beyond_an_array()
{
    cudaMemcpyAsync(one, two + 1, N * sizeof *one, cudaMemcpyDeviceToDevice, a);
    return cudaStreamSynchronize(a) != cudaSuccess;
}
bool copy_onto_itself()
{
    return cudaMemcpyAsync(one, one + 1, (N - 1) * sizeof *one, cudaMemcpyDeviceToDevice, a) != cudaSuccess;
}
bool kernel_on_host_memory()
{
    static float host[N];
    launch(set_kernel, 2, (float *)host, 1.0f);
    return cudaStreamSynchronize(a) != cudaSuccess;
}
bool kernel_on_freed_memory()
{
    cudaFree(one);
    launch(set_kernel, 2, one, 1.0f);
    return cudaStreamSynchronize(a) != cudaSuccess;
}
bool pinned_left()
{
    cudaEventDestroy(done);
    cudaStreamDestroy(b);
    return cudaStreamDestroy(a) != cudaSuccess;
}

/* --- cuFFT ------------------------------------------------------------------------------------------------------------------- */
cufftHandle plan_of(cufftType type)
{
    cufftHandle h;
    size_t bytes;
    int n[2] = {8, 8};
    cufftCreate(&h);
    cufftSetAutoAllocation(h, 0);
    cufftMakePlanMany(h, 2, n, NULL, 1, 64, NULL, 1, 40, type, 1, &bytes);
    cufftSetStream(h, a);
    return h;
}
bool spectrum_used_again()
{
    cufftHandle h = plan_of(CUFFT_C2R);
    void *area;
    cudaMalloc(&area, 4096);
    cufftSetWorkArea(h, area);
    launch(set_kernel, 2, one, 1.0f);
    cufftExecC2R(h, (cufftComplex *)one, two);
    return differs(1);
}
bool transform_without_work_area()
{
    return cufftExecR2C(plan_of(CUFFT_R2C), one, (cufftComplex *)two) != CUFFT_SUCCESS;
}
bool transform_of_unaligned_data()
{
    cufftHandle h = plan_of(CUFFT_R2C);
    cufftSetWorkArea(h, two);
    return cufftExecR2C(h, one + 1, (cufftComplex *)two) != CUFFT_SUCCESS;
}
} // namespace

/* Plants fault k and says whether it gave wrong numbers; what aborts does not come back.  -1: there is no such fault.  In a process of its own. */
extern "C" int emulate_fault(int k)
{
    static bool (*const faults[])() = {no_barrier,
                                       no_barrier_after_reading,
                                       blocks_in_order,
                                       shared_not_written,
                                       read_too_early,
                                       written_too_early,
                                       no_event_between_streams,
                                       stream_ends_with_work,
                                       event_after_its_end,
                                       pinned_freed_too_early,
                                       wait_from_without_a_capture,
                                       event_of_a_capture,
                                       question_leaves_an_error,
                                       copy_beyond_an_array,
                                       copy_onto_itself,
                                       kernel_on_host_memory,
                                       kernel_on_freed_memory,
                                       pinned_left,
                                       spectrum_used_again,
                                       transform_without_work_area,
                                       transform_of_unaligned_data};
    if (k >= (int)(sizeof faults / sizeof *faults)) {
        return -1;
    }
    void *p[3];
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
    cudaMalloc(&p[0], N * sizeof(float));
    cudaMalloc(&p[1], N * sizeof(float));
    cudaMallocHost(&p[2], N * sizeof(float));
    one = (float *)p[0];
    two = (float *)p[1];
    pinned = (float *)p[2];
    return faults[k]();
}

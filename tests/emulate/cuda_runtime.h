/* cuda_runtime.h - the CUDA runtime as far as cuda/ uses it, acted out on the host, so that every kernel is tested where no GPU is.
 *
 * Found before the real header by the targets that end in _emulated.  Kernels run block by block, a block's threads one after the other, or as
 * coroutines from the first __syncthreads on; blocks and threads take turns in another order in each launch.  Device memory is one arena that cannot be
 * touched but within a kernel or a copy; fresh memory is NaN, shared memory too at the start of a launch; sentinels stand round every array and are looked
 * at by cudaFree and cudaStreamSynchronize.  Streams work as late as may be (streams.cpp); what is captured runs when its graph is launched.  What CUDA
 * forbids (a barrier that not all threads reach; an argument that is an address of the host, or of no array; memory not of the arena in a kernel's copy;
 * in a capture memory taken or freed, waits, questions to events, copies of pageable memory) aborts.  CHIASM_EMULATE_COUNT: launches, copies and waits
 * are printed at the end. */
#ifndef EMULATE_CUDA_RUNTIME_H
#define EMULATE_CUDA_RUNTIME_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
typedef enum cudaError { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorInsufficientDriver = 35,
                         cudaErrorNoDevice = 100, cudaErrorNotReady = 600, cudaErrorIllegalAddress = 700 } cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed };
typedef struct emulate_stream *cudaStream_t;
typedef struct emulate_event *cudaEvent_t;
typedef struct emulate_graph *cudaGraph_t;
typedef struct emulate_graph *cudaGraphExec_t;
typedef struct cudaUUID {
    char bytes[16];
} cudaUUID_t;
typedef struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem, sharedMemPerBlock;
    int major, minor, multiProcessorCount, integrated;
    int pciBusID, pciDeviceID, pciDomainID;
} cudaDeviceProp;

cudaError_t cudaGetDeviceCount(int *n); /* CHIASM_EMULATE_DEVICES, or 1; of these CHIASM_EMULATE_VISIBLE */
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaDriverGetVersion(int *version); /* CHIASM_EMULATE_DRIVER, or 13000 */
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total); /* CHIASM_EMULATE_MB, or 4096, less what is taken */
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t s);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaEventCreate(cudaEvent_t *e);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaGetLastError(void); /* CHIASM_EMULATE_FAULT: number of launches after which the device fails */
const char *cudaGetErrorString(cudaError_t e);
const char *cudaGetErrorName(cudaError_t e);

/* What tests may ask. */
int64_t emulate_launches(void);       /* kernels launched from the host so far; a graph counts 1 */
int64_t emulate_kernels(void);        /* kernels run, those of graphs too */
int64_t emulate_copies(void);         /* copies queued from the host so far, those of graphs not */
int64_t emulate_waits(void);          /* times that the host waited: for a stream, an event, the device */
void emulate_let(int may_touch);      /* opens (1) and closes (0) device memory; calls nest */
#ifdef __cplusplus
}

/* --- kernels -------------------------------------------------------------------------------------------------------- */
#include <math.h>

#include <string.h>

#include <functional>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static __attribute__((section("emulate_shared"))) /* all in one place, to be spoiled before each launch */
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads(void);

void emulate_run(dim3 grid, dim3 block, cudaStream_t s, const char *name, const std::vector<uintptr_t> &words, const std::function<void()> &thread);
void emulate_do(cudaStream_t s, const std::function<void()> &what); /* a library's call: now, or when the graph that is captured is launched */
template <class... P, class... A> void emulate_launch(void (*kernel)(P...), const char *name, dim3 grid, dim3 block, cudaStream_t s, A... a)
{
    static_assert((sizeof(P) + ... + 0) <= 32764 - 8 * sizeof...(P), "more arguments than a kernel may have");
    std::tuple<P...> args(a...); /* by value, as CUDA does */
    std::vector<uintptr_t> words;
    auto note = [&](auto one) { /* what may be an address */
        __builtin_clear_padding(&one);
        for (size_t at = 0; alignof(decltype(one)) >= sizeof(void *) && at + sizeof(void *) <= sizeof one; at += sizeof(void *)) {
            uintptr_t word;
            memcpy(&word, (const char *)&one + at, sizeof word);
            words.push_back(word);
        }
    };
    std::apply([&](const auto &...one) { (note(one), ...); }, args);
    emulate_run(grid, block, s, name, words, [=] { std::apply(kernel, args); });
}
#endif
#endif

/* emulate.cpp - devices, memory, streams, graphs and kernels of cuda_runtime.h on the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include <iterator>
#include <map>
#include <vector>

#include "cuda_runtime.h"

[[noreturn]] static void wrong(const char *what, const char *name)
{
    fprintf(stderr, "emulated CUDA: %s%s%s\n", what, name ? " in " : "", name ? name : "");
    abort();
}

/* --- devices ------------------------------------------------------------------------------------------------------------ */
static int current_device;

static long number_of(const char *variable, long otherwise)
{
    const char *text = getenv(variable);
    return text ? atol(text) : otherwise;
}

/* CHIASM_EMULATE_VISIBLE, as CUDA_VISIBLE_DEVICES: numbers of the devices that this process sees, under 0, 1, ... */
static std::vector<int> visible(void)
{
    std::vector<int> seen;
    int all = (int)number_of("CHIASM_EMULATE_DEVICES", 1);
    const char *list = getenv("CHIASM_EMULATE_VISIBLE");
    for (int i = 0; !list && i < all; i++) {
        seen.push_back(i);
    }
    for (const char *p = list; p && *p >= '0' && *p <= '9' && atoi(p) < all; p += *p == ',') {
        seen.push_back(atoi(p));
        p += strspn(p, "0123456789");
    }
    return seen;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    int driver, runtime;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    *n = (int)visible().size();
    return driver < runtime ? cudaErrorInsufficientDriver : *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int device)
{
    int n = 0;
    cudaGetDeviceCount(&n);
    if (device < 0 || device >= n) {
        return cudaErrorInvalidValue;
    }
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = current_device;
    return cudaSuccess;
}

static size_t all_bytes(void)
{
    return (size_t)number_of("CHIASM_EMULATE_MB", 4096) << 20;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated device");
    memcpy(p->uuid.bytes, "emulated device", 15);
    p->uuid.bytes[15] = (char)visible()[(size_t)device];
    p->totalGlobalMem = all_bytes();
    p->sharedMemPerBlock = 48 << 10;
    p->major = 9;
    p->multiProcessorCount = 1;
    p->pciBusID = device;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = (int)number_of("CHIASM_EMULATE_DRIVER", 13000);
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

/* --- what may not be called while a stream is captured ------------------------------------------------------------------------ */
static int ncapturing;

static void not_in_a_capture(const char *call)
{
    if (ncapturing > 0) {
        wrong("a call that a capture does not bear", call);
    }
}

/* --- memory ----------------------------------------------------------------------------------------------------------------
 * One arena, first fit; each array between two sentinels. */
enum { SENTINEL = 256, ALIGN = 256 };
static const unsigned char mark = 0xA5;
static char *arena;
static size_t arena_bytes, taken;
static int opened;
struct array {
    size_t bytes, room; /* room: with both sentinels */
};
static std::map<size_t, array> arrays; /* by where their room begins */

static void start_arena(void)
{
    if (!arena) {
        arena_bytes = (size_t)16 << 30;
        arena = (char *)mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) {
            wrong("no address space", NULL);
        }
        madvise(arena, arena_bytes, MADV_HUGEPAGE); /* fewer pages to open and close */
        if (getenv("CHIASM_EMULATE_OPEN")) { /* for an MPI that is given device pointers */
            emulate_let(1);
        }
    }
}

void emulate_let(int may_touch)
{
    start_arena();
    opened += may_touch ? 1 : -1;
    if (opened == (may_touch ? 1 : 0) && mprotect(arena, arena_bytes, may_touch ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
        wrong("mprotect failed", NULL);
    }
}

static bool in_arena(const void *p)
{
    return arena && (const char *)p >= arena && (const char *)p < arena + arena_bytes;
}

static void look_at_sentinels(size_t at, const array &a, const char *when)
{
    const unsigned char *before = (unsigned char *)arena + at, *after = before + SENTINEL + a.bytes, *end = before + a.room;
    for (const unsigned char *p = before; p < before + SENTINEL; p++) {
        if (*p != mark) {
            wrong("an array was written below its start", when);
        }
    }
    for (const unsigned char *p = after; p < end; p++) {
        if (*p != mark) {
            wrong("an array was written beyond its end", when);
        }
    }
}

static void look_at_all(const char *when)
{
    emulate_let(1);
    for (auto &a : arrays) {
        look_at_sentinels(a.first, a.second, when);
    }
    emulate_let(0);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *total = all_bytes();
    *free_bytes = *total > taken ? *total - taken : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    not_in_a_capture("cudaMalloc");
    start_arena();
    size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN + 2 * SENTINEL, at = 0;
    if (taken + room > all_bytes()) {
        *p = NULL;
        return cudaErrorMemoryAllocation;
    }
    for (auto &a : arrays) {
        if (a.first >= at + room) {
            break;
        }
        at = a.first + a.second.room;
    }
    arrays[at] = {bytes, room};
    taken += room;
    emulate_let(1);
    memset(arena + at, mark, room);
    memset(arena + at + SENTINEL, 0xFF, bytes); /* not a number */
    emulate_let(0);
    *p = arena + at + SENTINEL;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    not_in_a_capture("cudaFree");
    if (p) {
        auto a = arrays.find((size_t)((char *)p - arena) - SENTINEL);
        if (!in_arena(p) || a == arrays.end()) {
            wrong("cudaFree of what cudaMalloc did not give", NULL);
        }
        emulate_let(1);
        look_at_sentinels(a->first, a->second, "cudaFree");
        memset(p, 0xFF, a->second.bytes);
        emulate_let(0);
        taken -= a->second.room;
        arrays.erase(a);
    }
    return cudaSuccess;
}

static std::map<const char *, size_t> pinned; /* bytes, by where they begin */

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    not_in_a_capture("cudaMallocHost");
    *p = malloc(bytes ? bytes : 1);
    memset(*p, 0xFF, bytes);
    pinned[(const char *)*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    not_in_a_capture("cudaFreeHost");
    pinned.erase((const char *)p);
    free(p);
    return cudaSuccess;
}

static bool is_pinned(const void *p, size_t bytes)
{
    auto after = pinned.upper_bound((const char *)p);
    return after != pinned.begin() && (const char *)p + bytes <= std::prev(after)->first + std::prev(after)->second;
}

/* --- streams and graphs ------------------------------------------------------------------------------------------------------ */
struct emulate_graph {
    std::vector<std::function<void()>> work;
};
struct emulate_stream {
    emulate_graph *captured;
};
struct emulate_event {
    double at;
};
static int64_t nlaunch, nkernel, ncopy, nwait;

int64_t emulate_launches(void)
{
    return nlaunch;
}

int64_t emulate_copies(void)
{
    return ncopy;
}

int64_t emulate_waits(void)
{
    return nwait;
}

/* CHIASM_EMULATE_COUNT: what the host asked of the device, on stderr when the process ends. */
static const struct tally {
    ~tally()
    {
        if (getenv("CHIASM_EMULATE_COUNT")) {
            fprintf(stderr, "emulated CUDA: %lld launches, %lld copies, %lld waits; %lld kernels\n", (long long)nlaunch, (long long)ncopy, (long long)nwait,
                    (long long)nkernel);
        }
    }
} tally_at_exit;

int64_t emulate_kernels(void)
{
    return nkernel;
}

void emulate_do(cudaStream_t s, const std::function<void()> &what)
{
    if (s && s->captured) {
        s->captured->work.push_back(what);
        return;
    }
    emulate_let(1);
    what();
    emulate_let(0);
}

static void check_copy(const void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    ncopy += !(s && s->captured);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind != cudaMemcpyDefault && (in_arena(to) != to_device || in_arena(from) != from_device)) {
        wrong("a copy whose kind does not fit its addresses", NULL);
    }
    if (s && s->captured && ((!in_arena(to) && !is_pinned(to, bytes)) || (!in_arena(from) && !is_pinned(from, bytes)))) {
        wrong("a copy of pageable memory is captured", NULL);
    }
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s)
{
    if (bytes > 0) {
        check_copy(to, from, bytes, kind, s);
        emulate_do(s, [=] { memcpy(to, from, bytes); });
    }
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    not_in_a_capture("cudaMemcpy");
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t s)
{
    check_copy(to, from, width, kind, s);
    emulate_do(s, [=] {
        for (size_t i = 0; i < height; i++) {
            memcpy((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
        }
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    if (bytes > 0 && !in_arena(to)) {
        wrong("cudaMemsetAsync of host memory", NULL);
    }
    emulate_do(s, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new emulate_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    (void)s;
    not_in_a_capture("cudaStreamSynchronize");
    nwait++;
    look_at_all("some kernel before cudaStreamSynchronize");
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    not_in_a_capture("cudaDeviceSynchronize");
    nwait++;
    look_at_all("some kernel before cudaDeviceSynchronize");
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode)
{
    if (s->captured) {
        wrong("a capture within a capture", NULL);
    }
    s->captured = new emulate_graph();
    ncapturing++;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    if (!s->captured) {
        wrong("the end of no capture", NULL);
    }
    *g = s->captured;
    s->captured = NULL;
    ncapturing--;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long)
{
    *e = new emulate_graph(*g);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s)
{
    nlaunch++;
    for (auto &what : e->work) {
        emulate_do(s, what);
    }
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e)
{
    delete e;
    return cudaSuccess;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new emulate_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, 0);
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t)
{
    e->at = now_ms();
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    not_in_a_capture("cudaEventSynchronize");
    nwait++;
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t)
{
    not_in_a_capture("cudaEventQuery");
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = (float)(to->at - from->at);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}

/* CHIASM_EMULATE_FAULT=n: the n-th launch is the last that works. */
cudaError_t cudaGetLastError(void)
{
    static const long fault = number_of("CHIASM_EMULATE_FAULT", -1);
    return fault >= 0 && nlaunch > fault ? cudaErrorIllegalAddress : cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess ? "no error" : e == cudaErrorMemoryAllocation ? "out of memory" : e == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "an emulated error";
}

const char *cudaGetErrorName(cudaError_t e)
{
    return e == cudaSuccess ? "cudaSuccess" : e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : e == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaError";
}

/* --- kernels ---------------------------------------------------------------------------------------------------------------
 * Thread 0 of a block runs as a coroutine.  If it ends without a barrier the others are called one after the other; if it stops at one, each of
 * them becomes a coroutine too: a turn goes round them from barrier to barrier, each handing over to the next.  Coroutines are made once and go on
 * with the next block.  gcc's own setjmp saves two registers and changes stacks for the price of a call; the C library's costs many times that. */
dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace
{
enum { STACK = 128 << 10, COLOUR = 5 * 64, MOST_THREADS = 1024 };
struct coroutine {
    void *at[5]; /* of __builtin_setjmp */
    dim3 index;
    bool begun;
};
coroutine threads[MOST_THREADS];
void *scheduler[5];
int running = -1; /* coroutine; -1: a plain call */
int nthread, ended; /* of this block */
bool stopped;       /* it has come to a barrier */
const std::function<void()> *body;
const char *kernel_name;

void enter();

void begin(int i)
{
    static ucontext_t start; /* COLOUR: tops of stacks at one place of a page would share few sets of the cache */
    getcontext(&start);
    start.uc_stack.ss_size = (size_t)(STACK - i % 256 * COLOUR);
    start.uc_stack.ss_sp = malloc(STACK);
    makecontext(&start, enter, 0);
    threads[i].begun = true;
    setcontext(&start);
}

__attribute__((noinline)) void go_on(int i)
{
    running = i;
    threadIdx = threads[i].index;
    if (!threads[i].begun) {
        begin(i);
    }
    __builtin_longjmp(threads[i].at, 1);
}

/* The thread that runs has come to a barrier, or to its end: the next one's turn.  At the end of a turn none has ended, or all. */
__attribute__((noinline)) void leave(bool ends)
{
    int i = running, next = i + 1 < nthread ? i + 1 : 0;
    stopped = stopped || !ends;
    ended += ends;
    if (next == 0 && stopped && ended > 0 && ended < nthread) {
        wrong("a barrier that not all threads of a block reach", kernel_name);
    }
    if (__builtin_setjmp(threads[i].at) == 0) {
        if (!stopped || ended == nthread) {
            running = -1;
            __builtin_longjmp(scheduler, 1);
        }
        go_on(next);
    }
}

void enter()
{
    for (;;) {
        (*body)();
        leave(true);
    }
}

/* Until thread 0 has ended without a barrier, or all threads have. */
__attribute__((noinline)) void take_turns()
{
    stopped = false;
    ended = 0;
    if (__builtin_setjmp(scheduler) == 0) {
        go_on(0);
    }
}

void run_block()
{
    take_turns();
    for (int i = 1; !stopped && i < nthread; i++) {
        threadIdx = threads[i].index;
        (*body)();
    }
}
} // namespace

void __syncthreads(void)
{
    if (running < 0) {
        wrong("a barrier that not all threads of a block reach", kernel_name);
    }
    leave(false);
}

static void run_grid(dim3 grid, dim3 block, const char *name, const std::function<void()> &thread)
{
    nkernel++;
    gridDim = grid;
    blockDim = block;
    body = &thread;
    kernel_name = name;
    nthread = (int)(block.x * block.y * block.z);
    for (unsigned i = 0; i < (unsigned)nthread; i++) {
        threads[i].index = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
    }
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = dim3(x, y, z);
                run_block();
            }
        }
    }
}

void emulate_run(dim3 grid, dim3 block, cudaStream_t s, const char *name, const std::function<void()> &thread)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || block.x * block.y * block.z == 0 ||
        block.x * block.y * block.z > MOST_THREADS || block.z > 64) {
        wrong("a launch that CUDA refuses", name);
    }
    nlaunch += !(s && s->captured);
    emulate_do(s, [=] { run_grid(grid, block, name, thread); });
}

/* emulate.cpp - devices, memory, streams, graphs and kernels of cuda_runtime.h on the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include <iterator>
#include <map>
#include <numeric>
#include <vector>

#include "emulate.h"

[[noreturn]] void emulate_wrong(const char *what, const char *name)
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
int emulate_capturing;

void emulate_not_in_a_capture(const char *call)
{
    if (emulate_capturing > 0) {
        emulate_wrong("a call that a capture does not bear", call);
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
            emulate_wrong("no address space", NULL);
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
        emulate_wrong("mprotect failed", NULL);
    }
}

bool emulate_in_arena(const void *p)
{
    return arena && (const char *)p >= arena && (const char *)p < arena + arena_bytes;
}

static void look_at_sentinels(size_t at, const array &a, const char *when)
{
    const unsigned char *before = (unsigned char *)arena + at, *after = before + SENTINEL + a.bytes, *end = before + a.room;
    for (const unsigned char *p = before; p < before + SENTINEL; p++) {
        if (*p != mark) {
            emulate_wrong("an array was written below its start", when);
        }
    }
    for (const unsigned char *p = after; p < end; p++) {
        if (*p != mark) {
            emulate_wrong("an array was written beyond its end", when);
        }
    }
}

/* The array that p stands in, or at whose end; NULL: none. */
static const array *array_of(const void *p, size_t *begins)
{
    size_t at = (size_t)((const char *)p - arena);
    auto after = arrays.upper_bound(at);
    if (after == arrays.begin()) {
        return NULL;
    }
    auto a = std::prev(after);
    *begins = a->first + SENTINEL;
    return at >= *begins && at <= *begins + a->second.bytes ? &a->second : NULL;
}

void emulate_look(const void *p, size_t bytes, const char *what)
{
    size_t begins;
    if (emulate_in_arena(p)) {
        const array *a = array_of(p, &begins);
        if (!a || (size_t)((const char *)p - arena) + bytes > begins + a->bytes) {
            emulate_wrong("memory that no one array holds, or that was freed", what);
        }
    }
}

void emulate_look_at_all(const char *when)
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
    emulate_not_in_a_capture("cudaMalloc");
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
    emulate_not_in_a_capture("cudaFree");
    emulate_finish_all(); /* as CUDA does */
    if (p) {
        auto a = arrays.find((size_t)((char *)p - arena) - SENTINEL);
        if (!emulate_in_arena(p) || a == arrays.end()) {
            emulate_wrong("cudaFree of what cudaMalloc did not give", NULL);
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
    emulate_not_in_a_capture("cudaMallocHost");
    *p = malloc(bytes ? bytes : 1);
    memset(*p, 0xFF, bytes);
    pinned[(const char *)*p] = bytes;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p)
{
    emulate_not_in_a_capture("cudaFreeHost");
    pinned.erase((const char *)p);
    free(p);
    return cudaSuccess;
}

bool emulate_is_pinned(const void *p, size_t bytes)
{
    auto after = pinned.upper_bound((const char *)p);
    return after != pinned.begin() && (const char *)p + bytes <= std::prev(after)->first + std::prev(after)->second;
}

void emulate_left(void)
{
    if (!pinned.empty()) {
        emulate_wrong("pinned memory is left when the last stream is destroyed", NULL);
    }
    if (emulate_nplan > 0) {
        emulate_wrong("plans of cuFFT are left when the last stream is destroyed", NULL);
    }
}

/* --- errors ---------------------------------------------------------------------------------------------------------------- */
const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess ? "no error" : e == cudaErrorMemoryAllocation ? "out of memory" : e == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : "an emulated error";
}

const char *cudaGetErrorName(cudaError_t e)
{
    return e == cudaSuccess ? "cudaSuccess" : e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : e == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaError";
}

int64_t emulate_nlaunch, emulate_nkernel;

/* --- kernels ---------------------------------------------------------------------------------------------------------------
 * Thread 0 of a block runs as a coroutine.  If it ends without a barrier the others are called one after the other; if it stops at one, each of
 * them becomes a coroutine too: a turn goes round them from barrier to barrier, each handing over to the next.  Coroutines are made once and go on
 * with the next block.  gcc's own setjmp saves two registers and changes stacks for the price of a call; the C library's costs many times that. */
dim3 threadIdx, blockIdx, blockDim, gridDim;

/* In what order blocks, and threads between barriers, take their turns: a permutation i -> (step i + first) mod n, another one in each launch, so
 * that what only works in one order shows.  CHIASM_EMULATE_ORDER=forward, reverse or shuffled: that one always. */
struct turns {
    int64_t n, step, first;
    int64_t at(int64_t i) const
    {
        return (step * i + first) % n;
    }
};

static turns turns_of(int64_t n, int64_t launch)
{
    static const char *const text = getenv("CHIASM_EMULATE_ORDER");
    int how = text ? (*text == 'r' ? 1 : *text == 's' ? 2 : 0) : (int)(launch % 3);
    turns t = {n, 1, 0};
    if (how == 1) {
        t = {n, n - 1, n - 1};
    } else if (how == 2) {
        t = {n, n * 5 / 8 + 1, launch * 7919 % n};
        while (std::gcd(t.step, n) != 1) {
            t.step++;
        }
    }
    return t;
}

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
        emulate_wrong("a barrier that not all threads of a block reach", kernel_name);
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
        emulate_wrong("a barrier that not all threads of a block reach", kernel_name);
    }
    leave(false);
}

/* What no thread of this launch has written. */
extern char __start_emulate_shared[], __stop_emulate_shared[];
static void spoil_shared(void)
{
    memset(__start_emulate_shared, 0xFF, (size_t)(__stop_emulate_shared - __start_emulate_shared));
}

static void run_grid(dim3 grid, dim3 block, const char *name, const std::function<void()> &thread)
{
    emulate_nkernel++;
    gridDim = grid;
    blockDim = block;
    body = &thread;
    kernel_name = name;
    nthread = (int)(block.x * block.y * block.z);
    int64_t plane = (int64_t)grid.x * grid.y;
    const turns blocks = turns_of(plane * grid.z, emulate_nkernel), turn = turns_of(nthread, emulate_nkernel);
    for (int k = 0; k < nthread; k++) {
        unsigned i = (unsigned)turn.at(k);
        threads[k].index = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
    }
    spoil_shared();
    for (int64_t i = 0; i < blocks.n; i++) {
        int64_t at = blocks.at(i);
        blockIdx = dim3((unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / plane));
        run_block();
    }
}

/* The words of a kernel's arguments: none may be the address of device memory that is not there, or of mapped memory of the host. */
static void look_at_words(const std::vector<uintptr_t> &words, const char *name)
{
    const uintptr_t page = 4096;
    size_t begins;
    for (uintptr_t w : words) {
        if (emulate_in_arena((void *)w)) {
            if (!array_of((void *)w, &begins)) {
                emulate_wrong("an argument that leads to no array", name);
            }
        } else if (w >> 32 && w >> 47 == 0 && msync((void *)(w / page * page), page, MS_ASYNC) == 0) {
            emulate_wrong("an argument that is an address of the host", name);
        }
    }
}

void emulate_run(dim3 grid, dim3 block, cudaStream_t s, const char *name, const std::vector<uintptr_t> &words, const std::function<void()> &thread)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || block.x * block.y * block.z == 0 ||
        (uint64_t)block.x * block.y * block.z > MOST_THREADS || block.z > 64) {
        emulate_wrong("a launch that CUDA refuses", name);
    }
    emulate_nlaunch += !emulate_is_captured(s);
    emulate_do(s, [=] {
        look_at_words(words, name);
        run_grid(grid, block, name, thread);
    });
}

/* gpu_copy.c - bytes that cross between host and device while kernels run.
 *
 * Up: what is uploaded stands in pinned memory when the call returns.  A stream of its own takes it to a staging area on the device, beside the kernels
 * queued so far; the queue then copies it to its place.  Down: the queue copies what is fetched to a staging area, so that the array may be written again,
 * and another stream takes it to pinned memory beside the kernels that follow.  Both wait only for their own bytes. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "gpu_graph.h"

enum {
    SLOT_BYTES = 8 << 20, /* of an upload at once */
    MOST_SLOTS = 32,
    BLOCK_BYTES = 1 << 20, /* of a thread at a time */
    SMALL_BYTES = 64 << 10, /* go straight from pinned memory to their place */
    ALIGN = 256,
};
static const size_t MOST_PARCEL_BYTES = (size_t)256 << 20; /* of frames on their way down, unless one alone is larger */

typedef struct slot {
    char *pinned, *device;
    size_t used;
    cudaEvent_t arrived, emptied; /* on the device; the queue has taken all that stood in it */
} slot;

typedef struct parcel {
    struct parcel *next;
    void *pinned, *device;
    size_t room;
    cudaEvent_t packed, arrived;
    void (*got)(void *ctx, const real *at);
    _Alignas(16) char ctx[BACKEND_FETCH_CTX];
} parcel;

struct gpu_copies {
    cudaStream_t up, down;
    int nslot, at; /* slots, in the order in which they are filled; the one that is filled now */
    slot slot[MOST_SLOTS];
    parcel *first, *last, *idle; /* on their way, in order; free */
    size_t parcel_bytes;
};

static void *pinned_memory(size_t bytes)
{
    void *p = NULL;
    cudaError_t e = cudaMallocHost(&p, bytes);
    if (e == cudaErrorMemoryAllocation) {
        error_fatal(EXIT_NO_DEVICE, "the host gives no %.1f MB of pinned memory (ulimit -l, memory of the job)", (double)bytes / 1e6);
    }
    gpu_check(e, "cudaMallocHost", __FILE__, __LINE__);
    return p;
}

static cudaEvent_t new_event(void)
{
    cudaEvent_t e;
    GPU_CHECK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}

static bool has_happened(cudaEvent_t e)
{
    cudaError_t now = cudaEventQuery(e);
    if (now == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* the next launch must not find it */
        return false;
    }
    gpu_check(now, "cudaEventQuery", __FILE__, __LINE__);
    return true;
}

/* --- up ----------------------------------------------------------------------------------------------------------------- */
/* A slot with n bytes free: the one in use, or the oldest if the queue has emptied it, or a new one; of MOST_SLOTS the oldest is waited for. */
static slot *slot_with(backend *be, size_t n)
{
    struct gpu_copies *c = gpu_copies(be);
    if (c->nslot > 0 && c->slot[c->at].used + n <= SLOT_BYTES) {
        return &c->slot[c->at];
    }
    int next = c->nslot > 0 ? (c->at + 1) % c->nslot : 0;
    if (c->nslot == 0 || (c->nslot < MOST_SLOTS && !has_happened(c->slot[next].emptied))) {
        next = c->nslot > 0 ? c->at + 1 : 0;
        memmove(&c->slot[next + 1], &c->slot[next], (size_t)(c->nslot - next) * sizeof *c->slot);
        c->slot[next] = (slot){pinned_memory(SLOT_BYTES), gpu_malloc(be, SLOT_BYTES), 0, new_event(), new_event()};
        c->nslot++;
    }
    GPU_CHECK(cudaEventSynchronize(c->slot[next].emptied));
    c->slot[next].used = 0;
    c->at = next;
    return &c->slot[next];
}

typedef struct host_copy {
    char *to;
    const char *from;
    size_t bytes;
} host_copy;

static void copy_block(void *ctx, int64_t i)
{
    const host_copy *h = ctx;
    size_t at = (size_t)i * BLOCK_BYTES, n = h->bytes - at < BLOCK_BYTES ? h->bytes - at : BLOCK_BYTES;
    memcpy(h->to + at, h->from + at, n);
}

static void put_piece(backend *be, void *device, const void *from_host, size_t n)
{
    struct gpu_copies *c = gpu_copies(be);
    cudaStream_t queue = gpu_stream(be);
    ASSERT(!gpu_is_capturing(be)); /* replays would copy what the slot holds then */
    slot *s = slot_with(be, n);
    char *pinned = s->pinned + s->used, *staged = s->device + s->used;
    s->used += (n + ALIGN - 1) / ALIGN * ALIGN;
    host_copy h = {pinned, from_host, n};
    threads_each((int64_t)((n + BLOCK_BYTES - 1) / BLOCK_BYTES), copy_block, &h);
    if (n <= SMALL_BYTES) {
        GPU_CHECK(cudaMemcpyAsync(device, pinned, n, cudaMemcpyHostToDevice, queue));
    } else {
        GPU_CHECK(cudaMemcpyAsync(staged, pinned, n, cudaMemcpyHostToDevice, c->up));
        GPU_CHECK(cudaEventRecord(s->arrived, c->up));
        GPU_CHECK(cudaStreamWaitEvent(queue, s->arrived, 0));
        GPU_CHECK(cudaMemcpyAsync(device, staged, n, cudaMemcpyDeviceToDevice, queue));
    }
    GPU_CHECK(cudaEventRecord(s->emptied, queue));
}

void gpu_put(backend *be, void *device, const void *from_host, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += SLOT_BYTES) {
        put_piece(be, (char *)device + at, (const char *)from_host + at, bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES);
    }
}

void gpu_upload(backend *be, dreal *to, const real *from, int64_t n)
{
    gpu_put(be, to, from, (size_t)n * sizeof(real));
}

/* --- down ---------------------------------------------------------------------------------------------------------------- */
void gpu_download(backend *be, real *to, const dreal *from, int64_t n)
{
    GPU_CHECK(cudaMemcpyAsync(to, from, (size_t)n * sizeof(real), cudaMemcpyDeviceToHost, gpu_stream(be)));
    GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
}

static void deliver_first(struct gpu_copies *c)
{
    parcel *p = c->first;
    GPU_CHECK(cudaEventSynchronize(p->arrived));
    c->first = p->next;
    p->got(p->ctx, p->pinned);
    p->next = c->idle;
    c->idle = p;
}

void gpu_fetched(backend *be)
{
    while (gpu_copies(be)->first) {
        deliver_first(gpu_copies(be));
    }
}

void gpu_deliver(backend *be)
{
    struct gpu_copies *c = gpu_copies(be);
    while (c->first && has_happened(c->first->arrived)) {
        deliver_first(c);
    }
}

static void free_idle(backend *be)
{
    struct gpu_copies *c = gpu_copies(be);
    parcel *p = c->idle;
    c->idle = p->next;
    c->parcel_bytes -= p->room;
    gpu_free(be, p->device);
    GPU_CHECK(cudaFreeHost(p->pinned));
    GPU_CHECK(cudaEventDestroy(p->packed));
    GPU_CHECK(cudaEventDestroy(p->arrived));
    memory_free(p);
}

static parcel *new_parcel(backend *be, size_t bytes)
{
    parcel *p = MEMORY_NEW(parcel, 1);
    p->room = (bytes + SMALL_BYTES - 1) / SMALL_BYTES * SMALL_BYTES;
    p->pinned = pinned_memory(p->room);
    p->device = gpu_malloc(be, p->room);
    p->packed = new_event();
    p->arrived = new_event();
    gpu_copies(be)->parcel_bytes += p->room;
    return p;
}

/* A free one that is large enough; else a new one, for which room is made first. */
static parcel *parcel_for(backend *be, size_t bytes)
{
    struct gpu_copies *c = gpu_copies(be);
    for (;;) {
        for (parcel **at = &c->idle; *at; at = &(*at)->next) {
            if ((*at)->room >= bytes) {
                parcel *p = *at;
                *at = p->next;
                return p;
            }
        }
        if (c->parcel_bytes + bytes <= MOST_PARCEL_BYTES || (!c->first && !c->idle)) {
            return new_parcel(be, bytes);
        }
        if (c->idle) {
            free_idle(be);
        } else {
            deliver_first(c);
        }
    }
}

void gpu_fetch(backend *be, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes)
{
    struct gpu_copies *c = gpu_copies(be);
    size_t bytes = (size_t)n * sizeof(real);
    ASSERT(ctx_bytes <= sizeof(((parcel *)0)->ctx) && !gpu_is_capturing(be));
    parcel *p = parcel_for(be, bytes);
    GPU_CHECK(cudaMemcpyAsync(p->device, from, bytes, cudaMemcpyDeviceToDevice, gpu_stream(be)));
    GPU_CHECK(cudaEventRecord(p->packed, gpu_stream(be)));
    GPU_CHECK(cudaStreamWaitEvent(c->down, p->packed, 0));
    GPU_CHECK(cudaMemcpyAsync(p->pinned, p->device, bytes, cudaMemcpyDeviceToHost, c->down));
    GPU_CHECK(cudaEventRecord(p->arrived, c->down));
    memcpy(p->ctx, ctx, ctx_bytes);
    p->got = got;
    p->next = NULL;
    if (c->first) {
        c->last->next = p;
    } else {
        c->first = p;
    }
    c->last = p;
}

/* --- pinned memory for others --------------------------------------------------------------------------------------------- */
real *gpu_host_alloc(backend *be, int64_t n)
{
    (void)be;
    size_t bytes = (size_t)(n > 0 ? n : 1) * sizeof(real);
    return memset(pinned_memory(bytes), 0, bytes);
}

void gpu_host_release(backend *be, real *p)
{
    (void)be;
    GPU_CHECK(cudaFreeHost(p));
}

/* --- beginning and end ---------------------------------------------------------------------------------------------------- */
struct gpu_copies *gpu_copies_open(void)
{
    struct gpu_copies *c = MEMORY_NEW(struct gpu_copies, 1);
    GPU_CHECK(cudaStreamCreateWithFlags(&c->up, cudaStreamNonBlocking));
    GPU_CHECK(cudaStreamCreateWithFlags(&c->down, cudaStreamNonBlocking));
    return c;
}

void gpu_copies_close(backend *be)
{
    struct gpu_copies *c = gpu_copies(be);
    gpu_fetched(be);
    while (c->idle) {
        free_idle(be);
    }
    for (int i = 0; i < c->nslot; i++) {
        gpu_free(be, c->slot[i].device); /* which waits for the queue, and so for what went up */
        GPU_CHECK(cudaFreeHost(c->slot[i].pinned));
        GPU_CHECK(cudaEventDestroy(c->slot[i].arrived));
        GPU_CHECK(cudaEventDestroy(c->slot[i].emptied));
    }
    GPU_CHECK(cudaStreamDestroy(c->up));
    GPU_CHECK(cudaStreamDestroy(c->down));
    memory_free(c);
}

/* gpu_result.c - doubles that ops leave for the host: sums, losses, derivatives by parameters.
 *
 * Kernels write them to a buffer on the device; the next sync brings all that stands there down in one copy and adds them to their places in the order
 * in which the ops were issued.  Kernels of a graph write to doubles of the graph's own, as every replay does, and behind each replay the queue copies
 * these to the end of that buffer: so they take their turn among what is issued plainly before and after, any number of replays may come between two
 * syncs, and a graph may be dropped while its results are on their way. */
#include "gpu_result.h"

#include "base/error.h"
#include "base/memory.h"
#include "gpu_graph.h"

enum { LEAST_ROOM = 65536 };

/* What one op left: [nleaf][nstep][n] from `first` on. */
typedef struct piece {
    double *to;
    int64_t first, n, stride;
    int nleaf, nstep;
    bool add;
} piece;

struct gpu_noted {
    double *device;
    int64_t room, used;
    piece *piece;
    int npiece, piece_room;
};

struct gpu_results {
    gpu_noted queued; /* for the next sync; no graph names its doubles */
    double *pinned;   /* as many, on the host */
    gpu_noted *open;  /* of the graph that is captured; NULL: none */
    int64_t asked;
};

struct gpu_results *gpu_results_open(void)
{
    return MEMORY_NEW(struct gpu_results, 1);
}

void gpu_results_close(backend *be)
{
    struct gpu_results *r = gpu_results(be);
    GPU_CHECK(cudaFree(r->queued.device));
    GPU_CHECK(cudaFreeHost(r->pinned));
    memory_free(r->queued.piece);
    memory_free(r);
}

/* --- to the host ------------------------------------------------------------------------------------------------------------ */
static void hand_out(const piece *p, const double *from)
{
    int64_t n = p->n * p->nstep;
    for (int l = 0; l < p->nleaf; l++) {
        double *to = p->to + l * p->stride;
        for (int t = p->nstep - 1; t >= 0; t--) {
            for (int64_t i = 0; i < p->n; i++) {
                to[i] = from[l * n + t * p->n + i] + (p->add ? to[i] : 0);
            }
        }
    }
}

void gpu_settle(backend *be)
{
    struct gpu_results *r = gpu_results(be);
    gpu_noted *q = &r->queued;
    ASSERT(!gpu_is_capturing(be));
    gpu_deliver(be);
    gpu_spikes_fetch(be);
    if (q->used > 0) {
        GPU_CHECK(cudaMemcpyAsync(r->pinned, q->device, (size_t)q->used * sizeof(double), cudaMemcpyDeviceToHost, gpu_stream(be)));
    }
    GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
    for (int i = 0; i < q->npiece; i++) {
        hand_out(&q->piece[i], r->pinned + q->piece[i].first);
    }
    q->npiece = 0;
    q->used = 0;
    gpu_spikes_deliver(be);
}

/* --- places ------------------------------------------------------------------------------------------------------------------ */
void gpu_results_room(backend *be, int64_t n)
{
    struct gpu_results *r = gpu_results(be);
    gpu_noted *q = &r->queued;
    if (q->used + n <= q->room) {
        return;
    }
    gpu_settle(be);
    if (n > q->room) {
        GPU_CHECK(cudaFree(q->device));
        GPU_CHECK(cudaFreeHost(r->pinned));
        q->room = n > LEAST_ROOM ? n : LEAST_ROOM;
        q->device = gpu_malloc(be, (size_t)q->room * sizeof(double));
        void *pinned = NULL;
        GPU_CHECK(cudaMallocHost(&pinned, (size_t)q->room * sizeof(double)));
        r->pinned = pinned;
    }
}

static void append(gpu_noted *b, piece p)
{
    if (b->npiece == b->piece_room) {
        b->piece_room = b->piece_room ? 2 * b->piece_room : 64;
        b->piece = memory_grow(b->piece, (size_t)b->piece_room, sizeof(piece));
    }
    b->piece[b->npiece++] = p;
}

double *gpu_result(backend *be, int nleaf, int nstep, int64_t n, double *to, int64_t stride, bool add)
{
    struct gpu_results *r = gpu_results(be);
    int64_t all = nleaf * nstep * n;
    ASSERT(add || nstep == 1);
    if (!r->open) {
        gpu_results_room(be, all);
    }
    gpu_noted *b = r->open ? r->open : &r->queued;
    ASSERT(b->used + all <= b->room); /* a capture asks for what the plain run asked */
    append(b, (piece){to, b->used, n, stride, nleaf, nstep, add});
    double *at = b->device + b->used;
    b->used += all;
    r->asked += all;
    return at;
}

/* --- of graphs ---------------------------------------------------------------------------------------------------------------- */
int64_t gpu_results_asked(const backend *be)
{
    return gpu_results(be)->asked;
}

gpu_noted *gpu_results_note(backend *be, int64_t n)
{
    struct gpu_results *r = gpu_results(be);
    if (n > 0) {
        r->open = MEMORY_NEW(gpu_noted, 1);
        r->open->room = n;
        r->open->device = gpu_malloc(be, (size_t)n * sizeof(double));
    }
    return r->open;
}

void gpu_results_noted(backend *be)
{
    gpu_results(be)->open = NULL;
}

void gpu_results_queue(backend *be, const gpu_noted *b)
{
    gpu_noted *q = &gpu_results(be)->queued;
    if (!b) {
        return;
    }
    ASSERT(q->used + b->used <= q->room);
    GPU_CHECK(cudaMemcpyAsync(q->device + q->used, b->device, (size_t)b->used * sizeof(double), cudaMemcpyDeviceToDevice, gpu_stream(be)));
    for (int i = 0; i < b->npiece; i++) {
        piece p = b->piece[i];
        p.first += q->used;
        append(q, p);
    }
    q->used += b->used;
}

void gpu_results_drop(backend *be, gpu_noted *b)
{
    if (b) {
        GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
        GPU_CHECK(cudaFree(b->device));
        memory_free(b->piece);
        memory_free(b);
    }
}

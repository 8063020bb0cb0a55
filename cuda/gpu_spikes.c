/* gpu_spikes.c - room for spikes on the device, and their way into the host's lists at the next sync. */
#include "gpu_spikes.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cellmath_lif.h"

enum { ALIGN = 256, LEAST = 4096 /* spikes an op has room for */, STAGE = 1 << 18 /* spikes that are copied at once */, STARTS = 1 << 16 };
static const size_t most_room = (size_t)1 << 29; /* bytes kept for ops that wait for a sync; more than that: they do not wait */

struct gpu_spike_queue {
    char *room; /* device */
    size_t bytes, used;
    int64_t *start, *start_host; /* device; pinned */
    int64_t start_room, nstart;
    spike *stage; /* pinned */
    gpu_spikes *op;
    int nop, op_room;
    double density; /* most spikes of a cell and step, mean of an op */
};

static struct gpu_spike_queue *queue_of(backend *be)
{
    struct gpu_spike_queue **q = gpu_spike_queue(be);
    if (!*q) {
        *q = MEMORY_NEW(struct gpu_spike_queue, 1);
        void *pinned = NULL;
        GPU_CHECK(cudaMallocHost(&pinned, STAGE * sizeof(spike)));
        (*q)->stage = pinned;
    }
    return *q;
}

void gpu_spikes_close(backend *be)
{
    struct gpu_spike_queue *q = *gpu_spike_queue(be);
    if (q) {
        gpu_free(be, q->room);
        gpu_free(be, q->start);
        GPU_CHECK(cudaFreeHost(q->start_host));
        GPU_CHECK(cudaFreeHost(q->stage));
        memory_free(q->op);
        memory_free(q);
        *gpu_spike_queue(be) = NULL;
    }
}

/* --- before the spikes are known ---------------------------------------------------------------------------------------------- */
static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* A sync empties what is there.  It grows to hold the ops between two syncs. */
static void make_room(backend *be, struct gpu_spike_queue *q, size_t bytes, int64_t nstart)
{
    size_t want = q->used + bytes > most_room ? most_room : q->used + bytes;
    gpu_settle(be);
    if (bytes > q->bytes || want > q->bytes) {
        gpu_free(be, q->room);
        q->bytes = want > bytes ? want : bytes;
        q->room = gpu_malloc(be, q->bytes);
    }
    if (nstart > q->start_room) {
        gpu_free(be, q->start);
        GPU_CHECK(cudaFreeHost(q->start_host));
        q->start_room = nstart > STARTS ? nstart : STARTS;
        q->start = gpu_malloc(be, (size_t)q->start_room * sizeof(int64_t));
        void *pinned = NULL;
        GPU_CHECK(cudaMallocHost(&pinned, (size_t)q->start_room * sizeof(int64_t)));
        q->start_host = pinned;
    }
}

int64_t gpu_spikes_sums(const gpu_spikes *s)
{
    int64_t n = (int64_t)s->nleaf * s->nchan * s->nt * ((s->pad + SPIKE_BLOCK - 1) / SPIKE_BLOCK);
    return n + n / SPIKE_SCAN + 1; /* and the sums of those */
}

gpu_spikes *gpu_spikes_begin(backend *be, const gpu_spikes *of_op)
{
    struct gpu_spike_queue *q = queue_of(be);
    double cells = (double)of_op->nleaf * of_op->nchan * of_op->nt * of_op->pad;
    double expected = 1.25 * q->density * cells * sizeof(spike), kept = cells * sizeof(real), least = LEAST * sizeof(spike);
    size_t room = aligned((size_t)(kept > expected ? kept > least ? kept : least : expected > least ? expected : least));
    size_t states = aligned((size_t)of_op->nleaf * (size_t)of_op->nstate * (size_t)of_op->pad * sizeof(real));
    int64_t nstart = of_op->nleaf + 2;
    if (q->used + room + states > q->bytes || q->nstart + nstart > q->start_room) {
        make_room(be, q, room + states, nstart);
    }
    if (q->nop == q->op_room) {
        q->op_room = q->op_room ? 2 * q->op_room : 64;
        q->op = memory_grow(q->op, (size_t)q->op_room, sizeof(gpu_spikes));
    }
    gpu_spikes *s = &q->op[q->nop++];
    *s = *of_op;
    s->first = q->nstart;
    s->start = q->start + q->nstart;
    s->states = (real *)(q->room + q->used);
    s->at = q->room + q->used + states;
    s->room = (int64_t)(room / sizeof(spike));
    s->sum = gpu_scratch(be, (size_t)gpu_spikes_sums(s) * sizeof(int64_t));
    q->nstart += nstart;
    q->used += room + states;
    GPU_CHECK(cudaMemsetAsync(s->start + s->nleaf + 1, 0xFF, sizeof(int64_t), gpu_stream(be)));
    return s;
}

view gpu_spikes_view(const gpu_spikes *s, const real *kept)
{
    int64_t pad = s->pad, chan = pad * s->nt;
    return (view){(dreal *)kept, s->tile, s->nleaf, s->nchan, 0, chan * s->nchan, pad, chan, pad, 1, s->pad};
}

/* --- at a sync ------------------------------------------------------------------------------------------------------------------ */
void gpu_spikes_fetch(backend *be)
{
    struct gpu_spike_queue *q = *gpu_spike_queue(be);
    if (q && q->nop > 0) {
        GPU_CHECK(cudaMemcpyAsync(q->start_host, q->start, (size_t)q->nstart * sizeof(int64_t), cudaMemcpyDeviceToHost, gpu_stream(be)));
    }
}

static void append(spike_list *list, const spike *from, int64_t n)
{
    if (list->n + n > list->room) {
        list->room = list->n + n > 2 * list->room ? list->n + n : 2 * list->room;
        list->item = memory_grow(list->item, (size_t)list->room, sizeof *list->item);
    }
    memcpy(list->item + list->n, from, (size_t)n * sizeof *from);
    list->n += n;
}

/* The spikes of all leaves, a stage full at a time. */
static void deal(backend *be, struct gpu_spike_queue *q, const gpu_spikes *s, const int64_t *start, const spike *at)
{
    int leaf = 0;
    for (int64_t first = 0, end; first < start[s->nleaf]; first = end) {
        end = start[s->nleaf] - first < STAGE ? start[s->nleaf] : first + STAGE;
        GPU_CHECK(cudaMemcpyAsync(q->stage, at + first, (size_t)(end - first) * sizeof(spike), cudaMemcpyDeviceToHost, gpu_stream(be)));
        GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
        for (int64_t from = first, to; from < end; from = to) {
            while (start[leaf + 1] <= from) {
                leaf++;
            }
            to = start[leaf + 1] < end ? start[leaf + 1] : end;
            append(&s->out[leaf], q->stage + (from - first), to - from);
        }
    }
}

static void check_ends(const gpu_spikes *s, int64_t endless)
{
    if (endless >= 0) {
        int64_t leaf = endless / s->pad / s->nt, t = endless / s->pad % s->nt, cell = s->id[leaf * s->pad + endless % s->pad];
        error_fatal(EXIT_DIVERGED, "cell %lld fires more than %d times in step %lld; give it a refractory time or a smaller current", (long long)cell,
                    LIF_MOST_SPIKES, (long long)(s->step0 + t));
    }
}

static void hand_out(backend *be, struct gpu_spike_queue *q, gpu_spikes *s)
{
    const int64_t *start = q->start_host + s->first;
    int64_t n = start[s->nleaf];
    double density = (double)n / ((double)s->nleaf * s->nchan * s->nt * s->pad);
    check_ends(s, start[s->nleaf + 1]);
    q->density = density > q->density ? density : q->density;
    if (n <= s->room) {
        deal(be, q, s, start, s->at);
        return;
    }
    real *kept = s->at; /* no op's scratch: one of them may be at work */
    s->sum = gpu_malloc(be, (size_t)gpu_spikes_sums(s) * sizeof(int64_t));
    s->at = gpu_malloc(be, (size_t)n * sizeof(spike));
    s->room = n;
    s->again(be, s, kept);
    deal(be, q, s, start, s->at);
    gpu_free(be, s->at);
    gpu_free(be, s->sum);
}

void gpu_spikes_deliver(backend *be)
{
    struct gpu_spike_queue *q = *gpu_spike_queue(be);
    for (int i = 0; q && i < q->nop; i++) {
        hand_out(be, q, &q->op[i]);
    }
    if (q) {
        q->nop = 0;
        q->nstart = 0;
        q->used = 0;
    }
}

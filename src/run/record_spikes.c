/* record_spikes.c - spikes of all ranks in one order, (time, cell), whoever found them. */
#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/record_own.h"

void record_spikes_take(record *r, const model *m)
{
    for (int i = 0; i < r->nspikes; i++) {
        record_events *all = &r->spikes[i].list;
        for (int l = 0; l < model_nleaf(m); l++) {
            const spike_list *leaf = model_spikes(m, r->spikes[i].output, l);
            if (all->n + leaf->n > all->room) {
                all->room = 2 * (all->n + leaf->n);
                all->item = memory_grow(all->item, (size_t)all->room, sizeof *all->item);
            }
            for (int64_t k = 0; k < leaf->n; k++) {
                all->item[all->n++] = (record_event){leaf->item[k].time_s * 1e3, leaf->item[k].cell};
            }
        }
    }
}

static int compare(const void *a_, const void *b_)
{
    const record_event *a = a_, *b = b_;
    if (a->time_ms != b->time_ms) {
        return a->time_ms < b->time_ms ? -1 : 1;
    }
    return (a->cell > b->cell) - (a->cell < b->cell);
}

static void sort_few(record_event *s, int64_t n)
{
    if (n > 32) { /* many at one time: cells that spike on the time step */
        qsort(s, (size_t)n, sizeof *s, compare);
        return;
    }
    for (int64_t i = 1; i < n; i++) {
        record_event x = s[i];
        int64_t k = i;
        for (; k > 0 && compare(&x, &s[k - 1]) < 0; k--) {
            s[k] = s[k - 1];
        }
        s[k] = x;
    }
}

/* Place of a time among n equal parts of [first, first + length]; rises with the time, so equal times share a part. */
static int64_t part_of(double time, double first, double length, int64_t n)
{
    double part = length > 0 ? (time - first) / length * (double)n : 0;
    return part <= 0 ? 0 : part >= (double)n ? n - 1 : (int64_t)part;
}

/* Spikes are dealt into equal bins of time, about eight in each, and every bin is sorted for itself: linear for times that spread. */
void record_spikes_sort(const record_event *in, int64_t n, record_event *out)
{
    if (n == 0) {
        return;
    }
    double first = in[0].time_ms, last = in[0].time_ms;
    for (int64_t i = 1; i < n; i++) {
        first = in[i].time_ms < first ? in[i].time_ms : first;
        last = in[i].time_ms > last ? in[i].time_ms : last;
    }
    int64_t nbin = n / 8 + 1, *end = MEMORY_NEW(int64_t, nbin + 1); /* end[b + 1] counts bin b, then becomes its start, then its end */
    for (int64_t i = 0; i < n; i++) {
        end[part_of(in[i].time_ms, first, last - first, nbin) + 1]++;
    }
    for (int64_t b = 1, before = 0; b <= nbin; b++) {
        int64_t here = end[b];
        end[b] = before;
        before += here;
    }
    for (int64_t i = 0; i < n; i++) {
        out[end[part_of(in[i].time_ms, first, last - first, nbin) + 1]++] = in[i];
    }
    for (int64_t b = 0; b < nbin; b++) {
        sort_few(out + end[b], end[b + 1] - end[b]); /* end[0] stayed 0 */
    }
    memory_free(end);
}

/* Sends every spike to the rank that writes its share of the segment's time; returns what this rank writes, *n of them. */
static record_event *deal(const record_events *list, double first_ms, double length_ms, int64_t *n)
{
    int size = comm_size();
    int64_t *next = MEMORY_NEW(int64_t, size + 1);
    size_t *bytes = MEMORY_NEW(size_t, size), total;
    for (int64_t i = 0; i < list->n; i++) {
        bytes[part_of(list->item[i].time_ms, first_ms, length_ms, size)] += sizeof(record_event);
    }
    for (int p = 0; p < size; p++) {
        next[p + 1] = next[p] + (int64_t)(bytes[p] / sizeof(record_event));
    }
    record_event *send = MEMORY_NEW(record_event, list->n);
    for (int64_t i = 0; i < list->n; i++) {
        send[next[part_of(list->item[i].time_ms, first_ms, length_ms, size)]++] = list->item[i];
    }
    record_event *mine = comm_exchange(send, bytes, NULL, &total);
    *n = (int64_t)(total / sizeof(record_event));
    memory_free(send);
    memory_free(bytes);
    memory_free(next);
    return mine;
}

void record_spikes_write(record *r)
{
    double first_ms = (double)r->segment_first * r->facts.step_s * 1e3;
    double length_ms = (double)(r->segment_end - r->segment_first) * r->facts.step_s * 1e3;
    for (int i = 0; i < r->nspikes; i++) {
        record_spikes *s = &r->spikes[i];
        int64_t total = comm_sum_int(s->list.n), n;
        if (total == 0) {
            continue;
        }
        record_event *mine = deal(&s->list, first_ms, length_ms, &n), *sorted = MEMORY_NEW(record_event, n);
        record_spikes_sort(mine, n, sorted);
        double *time_ms = (double *)mine; /* n times, then n ids, in the room of n spikes */
        uint64_t *id = (uint64_t *)(time_ms + n);
        for (int64_t k = 0; k < n; k++) {
            time_ms[k] = sorted[k].time_ms;
            id[k] = (uint64_t)sorted[k].cell;
        }
        int64_t start = s->written + comm_prefix_int(n);
        store_write(r->file, s->times, STORE_F64, s->written + total, &start, &n, time_ms);
        store_write(r->file, s->ids, STORE_U64, s->written + total, &start, &n, id);
        s->written += total;
        s->list.n = 0;
        memory_free(sorted);
        memory_free(mine);
    }
}

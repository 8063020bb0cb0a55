/* cpu_neuron.h - what the forward and the backward loops over cells with memory share. */
#ifndef CPU_NEURON_H
#define CPU_NEURON_H
#include "compute/cellmath_neuron.h"
#include "compute/cpu.h"

/* One row of cells of one channel. */
typedef struct neuron_row {
    const neuron_desc *d;
    int nx, channel;
    real *state;                /* of the first cell; forward only */
    int64_t plane, kind_stride; /* reals of a channel's states, and between kinds of state */
    int64_t out_stride;         /* between the kinds of output */
    uint64_t seed, first;       /* number of the first pixel */
    const int64_t *id;          /* of the cells, or NULL */
} neuron_row;
neuron_row neuron_row_of(const neuron_desc *d, const int64_t *id, view x, int leaf, int line);

static inline cell_at neuron_at(const neuron_row *row, int i, int64_t step)
{
    uint64_t who = row->id ? (uint64_t)row->id[i] : row->first + (uint64_t)i;
    cell_at at = {row->seed, who + ((uint64_t)row->channel << 40), step};
    return at;
}

void cpu_spike_add(spike_list *list, double time_s, int64_t cell); /* cpu_lif.c */
#endif

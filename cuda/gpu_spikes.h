/* gpu_spikes.h - spikes on their way to the host's lists.
 *
 * An op has written how many spikes every cell has in every step.  The device adds them up over the 256 cells of a block and a step, adds these up in
 * the order in which the CPU appends spikes, and every spike is written to its place.  The host copies them at the next sync.  Their number is not
 * known when room is taken for them: where they are too many the op keeps there, instead, what it was given (a real a cell and step), and is done
 * again at the sync in enough room.  So nothing is lost and no op waits. */
#ifndef GPU_SPIKES_H
#define GPU_SPIKES_H
#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPIKE_BLOCK = 256 /* cells; threads of a block */, SPIKE_SCAN = 2048 /* sums that a block adds up */ };

typedef struct gpu_spikes gpu_spikes;
struct gpu_spikes {
    /* set by the op */
    int nleaf, nchan, nt, pad;
    int nstate;    /* kinds of state of a cell that are kept */
    bool by_block; /* order: [leaf][channel][256 cells][step][cell], else [leaf][channel][step][cell] */
    int64_t step0;
    double step_s;
    const grid_tile *tile; /* host, as id */
    const int64_t *id;
    lif_par lif;
    spike_list *out;
    void (*again)(backend *be, gpu_spikes *s, real *kept); /* writes the spikes, from what was kept */
    /* device */
    int64_t *start; /* [nleaf + 1] places of the leaves' first spikes and their number; then (leaf nt + step) pad + cell of one that fires without
                       end, or -1 */
    int64_t *sum;   /* gpu_spikes_sums() of them */
    real *states;   /* [leaf][nstate][pad] before the chunk */
    void *at;       /* [room] spikes; or reals [leaf][channel][step][pad] */
    int64_t room;
    int64_t first; /* of start, among those of all ops */
};

/* Takes room for an op; valid until the next call. */
gpu_spikes *gpu_spikes_begin(backend *be, const gpu_spikes *of_op);
int64_t gpu_spikes_sums(const gpu_spikes *s);
/* gpu_spikes.cu: the places of all spikes, from their counts; and the spikes themselves, spread evenly over their step. */
void gpu_spikes_place(backend *be, gpu_spikes *s, view count);
void gpu_spikes_spread(backend *be, gpu_spikes *s, view count);
view gpu_spikes_view(const gpu_spikes *s, const real *kept); /* reals [leaf][channel][step][pad] */

#ifdef __cplusplus
}
#endif
#endif

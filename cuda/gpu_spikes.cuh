/* gpu_spikes.cuh - the places of spikes, for the kernels that write them. */
#ifndef GPU_SPIKES_CUH
#define GPU_SPIKES_CUH
#include "gpu_kernel.cuh"
#include "gpu_spikes.h"

/* Where the spikes of a block's cells in a step begin: sum, exclusive within SPIKE_SCAN of them, and the sums before those. */
struct spike_places {
    int nleaf, nchan, nt, nblock;
    bool by_block;
    int64_t n, room;
    const int64_t *start, *sum, *before;
    void *at;
};

static inline spike_places spike_places_of(const gpu_spikes *s)
{
    spike_places p;
    p.nleaf = s->nleaf;
    p.nchan = s->nchan;
    p.nt = s->nt;
    p.nblock = (s->pad + SPIKE_BLOCK - 1) / SPIKE_BLOCK;
    p.by_block = s->by_block;
    p.n = (int64_t)p.nleaf * p.nchan * p.nt * p.nblock;
    p.room = s->room;
    p.start = s->start;
    p.sum = s->sum;
    p.before = s->sum + p.n;
    p.at = s->at;
    return p;
}

__device__ static inline int64_t spike_index(const spike_places &p, int leaf, int c, int block, int t)
{
    int64_t plane = (int64_t)leaf * p.nchan + c;
    return p.by_block ? (plane * p.nblock + block) * p.nt + t : (plane * p.nt + t) * p.nblock + block;
}
__device__ static inline int64_t spike_place(const spike_places &p, int64_t index)
{
    return index < p.n ? p.sum[index] + p.before[index / SPIKE_SCAN] : p.start[p.nleaf];
}
__device__ static inline bool spikes_fit(const spike_places &p)
{
    return p.start[p.nleaf] <= p.room;
}

/* A count as it is written.  More spikes of a cell in a step than this no memory would hold. */
__device__ static inline uint32_t spike_count(real n)
{
    return n > 0 && n < (real)16777216 ? (uint32_t)n : 0;
}

/* --- spikes of a block's 256 cells in SPIKE_STEPS steps, in shared memory --------------------------------------------------------
 * Each thread sums 16 cells of a step; a word is left free after each 16, so that these stand in different banks. */
enum { SPIKE_STEPS = 16, SPIKE_SEGMENTS = SPIKE_BLOCK / SPIKE_STEPS, SPIKE_ROW = SPIKE_BLOCK + SPIKE_SEGMENTS };
struct spike_tile {
    uint32_t n[SPIKE_STEPS][SPIKE_ROW]; /* counts; then spikes of the cells before */
    uint32_t part[SPIKE_STEPS][SPIKE_SEGMENTS + 1];
    uint32_t all[SPIKE_STEPS];
};
__device__ static inline uint32_t *spike_at(spike_tile &s, int step)
{
    return &s.n[step][threadIdx.x + threadIdx.x / SPIKE_SEGMENTS];
}

/* All threads, once each has written its counts of all SPIKE_STEPS steps. */
__device__ static inline void spike_offsets(spike_tile &s)
{
    int step = (int)threadIdx.x / SPIKE_SEGMENTS, segment = (int)threadIdx.x % SPIKE_SEGMENTS;
    uint32_t *mine = &s.n[step][segment * (SPIKE_SEGMENTS + 1)], sum = 0, before = 0;
    __syncthreads();
    for (int i = 0; i < SPIKE_SEGMENTS; i++) {
        uint32_t n = mine[i];
        mine[i] = sum;
        sum += n;
    }
    s.part[step][segment] = sum;
    __syncthreads();
    for (int i = 0; i < segment; i++) {
        before += s.part[step][i];
    }
    for (int i = 0; i < SPIKE_SEGMENTS; i++) {
        mine[i] += before;
    }
    if (segment == SPIKE_SEGMENTS - 1) {
        s.all[step] = before + sum;
    }
    __syncthreads();
}
#endif

/* gpu_spikes.cu - the places of spikes: counts of the cells of a block added up, and these sums added up; and spikes that stand evenly in their step.
 */
#include "gpu_spikes.cuh"

/* Blocks: 256 cells; (leaf, channel, SPIKE_STEPS steps). */
__global__ static void count_kernel(spike_places p, gpu_view count, int64_t *sum)
{
    __shared__ spike_tile tile;
    int i = (int)gpu_thread(), ngroup = (p.nt + SPIKE_STEPS - 1) / SPIKE_STEPS;
    for (int64_t k = blockIdx.y; k < (int64_t)p.nleaf * p.nchan * ngroup; k += gridDim.y) {
        int t0 = (int)(k % ngroup) * SPIKE_STEPS, c = (int)(k / ngroup % p.nchan), leaf = (int)(k / ngroup / p.nchan);
        bool inside = i < count.tile[leaf].nx;
        for (int step = 0; step < SPIKE_STEPS; step++) {
            *spike_at(tile, step) = inside && t0 + step < p.nt ? spike_count(gpu_plane(count, leaf, t0 + step, c)[i]) : 0;
        }
        spike_offsets(tile);
        int step = (int)threadIdx.x;
        if (step < SPIKE_STEPS && t0 + step < p.nt) {
            sum[spike_index(p, leaf, c, (int)blockIdx.x, t0 + step)] = tile.all[step];
        }
    }
}

/* Sum of what the threads before have, and of all. */
__device__ static int64_t sum_before(int64_t mine, int64_t *all)
{
    __shared__ int64_t part[GPU_THREADS];
    int i = (int)threadIdx.x;
    part[i] = mine;
    __syncthreads();
    for (int far = 1; far < GPU_THREADS; far *= 2) {
        int64_t more = i >= far ? part[i - far] : 0;
        __syncthreads();
        part[i] += more;
        __syncthreads();
    }
    int64_t upto = part[i];
    *all = part[GPU_THREADS - 1];
    __syncthreads(); /* the next call writes */
    return upto - mine;
}

/* SPIKE_SCAN sums a block: each becomes the sum of those before. */
__global__ static void scan_kernel(int64_t n, int64_t *sum, int64_t *of_block)
{
    enum { EACH = SPIKE_SCAN / GPU_THREADS };
    int64_t first = (int64_t)blockIdx.x * SPIKE_SCAN + (int64_t)threadIdx.x * EACH, mine = 0, all;
    for (int64_t k = first; k < first + EACH && k < n; k++) {
        mine += sum[k];
    }
    int64_t before = sum_before(mine, &all);
    for (int64_t k = first; k < first + EACH && k < n; k++) {
        int64_t here = sum[k];
        sum[k] = before;
        before += here;
    }
    if (threadIdx.x == 0) {
        of_block[blockIdx.x] = all;
    }
}

/* One block: the same with the sums of all blocks; then the places of the leaves' first spikes. */
__global__ static void scan_blocks_kernel(spike_places p, int64_t nscan, int64_t *of_block, int64_t *start)
{
    int64_t before = 0;
    for (int64_t first = 0; first < nscan; first += GPU_THREADS) {
        int64_t k = first + threadIdx.x, all, mine = sum_before(k < nscan ? of_block[k] : 0, &all);
        if (k < nscan) {
            of_block[k] = before + mine;
        }
        before += all;
    }
    __syncthreads();
    for (int leaf = (int)threadIdx.x; leaf <= p.nleaf; leaf += GPU_THREADS) {
        start[leaf] = leaf < p.nleaf && p.n > 0 ? spike_place(p, spike_index(p, leaf, 0, 0, 0)) : before;
    }
}

void gpu_spikes_place(backend *be, gpu_spikes *s, view count)
{
    spike_places p = spike_places_of(s);
    int64_t nscan = (p.n + SPIKE_SCAN - 1) / SPIKE_SCAN, groups = (p.nt + SPIKE_STEPS - 1) / SPIKE_STEPS;
    if (p.n > 0) {
        LAUNCH(be, count_kernel, gpu_grid(s->pad, groups * p.nleaf * p.nchan), SPIKE_BLOCK, p, gpu_see(be, count), s->sum);
        LAUNCH(be, scan_kernel, (unsigned)nscan, GPU_THREADS, p.n, s->sum, s->sum + p.n);
    }
    LAUNCH(be, scan_blocks_kernel, 1, GPU_THREADS, p, nscan, s->sum + p.n, s->start);
}

/* n spikes of a step stand in the middles of its n-th parts.  Blocks as above. */
__global__ static void spread_kernel(spike_places p, gpu_view count, const int64_t *id, int64_t step0, double step_s)
{
    __shared__ spike_tile tile;
    int i = (int)gpu_thread(), ngroup = (p.nt + SPIKE_STEPS - 1) / SPIKE_STEPS;
    bool fit = spikes_fit(p);
    for (int64_t k = blockIdx.y; k < (int64_t)p.nleaf * p.nchan * ngroup; k += gridDim.y) {
        int t0 = (int)(k % ngroup) * SPIKE_STEPS, c = (int)(k / ngroup % p.nchan), leaf = (int)(k / ngroup / p.nchan);
        bool inside = i < count.tile[leaf].nx;
        uint32_t mine[SPIKE_STEPS];
        for (int step = 0; step < SPIKE_STEPS; step++) {
            bool there = inside && t0 + step < p.nt;
            real n = there ? gpu_plane(count, leaf, t0 + step, c)[i] : 0;
            mine[step] = spike_count(n);
            *spike_at(tile, step) = mine[step];
            if (there && !fit) {
                ((real *)p.at)[(((int64_t)leaf * p.nchan + c) * p.nt + t0 + step) * count.pad_nx + i] = n;
            }
        }
        spike_offsets(tile);
        for (int step = 0; fit && step < SPIKE_STEPS; step++) {
            if (mine[step] > 0) {
                spike *to = (spike *)p.at + spike_place(p, spike_index(p, leaf, c, (int)blockIdx.x, t0 + step)) + *spike_at(tile, step);
                for (uint32_t j = 0; j < mine[step]; j++) {
                    to[j].time_s = ((double)(step0 + t0 + step) + (j + 0.5) / (int)mine[step]) * step_s;
                    to[j].cell = id[(int64_t)leaf * count.pad_nx + i];
                }
            }
        }
    }
}

void gpu_spikes_spread(backend *be, gpu_spikes *s, view count)
{
    spike_places p = spike_places_of(s);
    int64_t groups = (p.nt + SPIKE_STEPS - 1) / SPIKE_STEPS;
    if (p.n > 0) {
        const int64_t *id = (const int64_t *)gpu_table(be, s->id, (size_t)s->nleaf * (size_t)s->pad * sizeof(int64_t));
        LAUNCH(be, spread_kernel, gpu_grid(s->pad, groups * p.nleaf * p.nchan), SPIKE_BLOCK, p, gpu_see(be, count), id, s->step0, s->step_s);
    }
}

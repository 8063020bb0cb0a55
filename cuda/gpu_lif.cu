/* gpu_lif.cu - integrate-and-fire cells with exact spike times, and their adjoint: a thread a cell, all steps of the chunk. */
#include "compute/cellmath_lif.h"
#include "gpu_block_sums.cuh"
#include "gpu_spikes.cuh"

struct lif_call {
    lif_fixed f;
    neuron_random random;
    bool noisy;
    int64_t step0;
    int nt;
    enum surrogate surrogate;
    real width;
};

static lif_call call_of(const lif_par *par, int64_t step0, int nt)
{
    lif_call k = {lif_fix(par), par->random, par->noise > 0, step0, nt, par->surrogate, (real)par->width};
    return k;
}

/* Normal numbers of the four steps around the last one asked for. */
struct lif_noise {
    int64_t group;
    float x[LIF_NOISE_STEPS];
};
__device__ static inline real normal_of(lif_noise &n, uint64_t seed, int64_t id, int64_t step)
{
    int at = (int)(step % LIF_NOISE_STEPS);
    if (n.group != step / LIF_NOISE_STEPS) {
        n.group = step / LIF_NOISE_STEPS;
        cell_lif_normals(seed, id, n.group, n.x);
    }
    return (real)(at == 0 ? n.x[0] : at == 1 ? n.x[1] : at == 2 ? n.x[2] : n.x[3]);
}

/* One step of a cell; its spikes are written to `to` unless it is NULL. */
__device__ static inline void one_step(const lif_fixed &f, lif_cell *c, real current, spike *to)
{
    real next;
    c->done = 0;
    c->count = 0;
    if (f.adapts) {
        c->adapt *= f.decay;
        next = cell_lif_quiet_adapting(&f, c->v, c->adapt, current);
    } else {
        next = cell_lif_quiet(&f, c->v, current);
    }
    if (c->rest > 0 || next >= 1 || c->v >= 1) {
        while (c->count < LIF_MOST_SPIKES && cell_lif_spikes(&f, c, current)) {
            if (to) {
                to[c->count - 1].time_s = cell_lif_time(&f, c);
                to[c->count - 1].cell = c->id;
            }
        }
    } else {
        c->v = next;
    }
}

/* What a chunk of the cells reads and writes. */
struct lif_arrays {
    const int64_t *id;
    real *state; /* before the chunk; and, in the first run, after it */
    int64_t state_stride;
    real *tape, *before; /* or NULL; before: [leaf][LIF_STATES][pad], the states before the chunk again */
    int64_t tape_stride;
    int64_t *endless; /* or NULL: there is a cell that fires without end */
};

/* Some steps of cell i, whose currents are loaded at once.  tile: NULL, or places of the block's spikes in SPIKE_STEPS steps. */
enum { AT_ONCE = 4 };
__device__ static inline void few_steps(const lif_call &k, const gpu_view &current, const gpu_view &count, const lif_arrays &a, int leaf, int i,
                                        int t, lif_cell *c, lif_noise &noise, spike_tile *tile, const spike_places &p)
{
    int pad = current.pad_nx;
    real in[AT_ONCE];
    for (int j = 0; j < AT_ONCE; j++) {
        in[j] = t + j < k.nt ? gpu_plane(current, leaf, t + j, 0)[i] : 0;
    }
    for (int j = 0; j < AT_ONCE && t + j < k.nt; j++) {
        real now = j == 0 ? in[0] : j == 1 ? in[1] : j == 2 ? in[2] : in[3];
        c->step = k.step0 + t + j;
        if (a.tape) {
            real *to = a.tape + leaf * a.tape_stride + (int64_t)(t + j) * LIF_STATES * pad + i;
            to[LIF_V * pad] = c->v;
            to[LIF_REST * pad] = c->rest;
            to[LIF_ADAPT * pad] = c->adapt;
        }
        if (k.noisy) {
            now = cell_lif_current(&k.f, now, c->adapt, normal_of(noise, c->seed, c->id, c->step));
        }
        spike *to = NULL;
        if (tile) {
            to = (spike *)p.at + spike_place(p, spike_index(p, leaf, 0, (int)blockIdx.x, t + j)) + *spike_at(*tile, (t + j) % SPIKE_STEPS);
        }
        one_step(k.f, c, now, to);
        if (!tile) {
            gpu_plane(count, leaf, t + j, 0)[i] = (real)c->count;
        }
        if (a.endless && c->count == LIF_MOST_SPIKES && *a.endless < 0) {
            *a.endless = ((int64_t)leaf * k.nt + t + j) * pad + i; /* of several cells any */
        }
    }
}

/* Run twice where there are spikes, the same instructions: first to count them, then, with places for them, to write them.  Where they do not fit the
 * second run keeps the currents. */
__global__ static void __launch_bounds__(SPIKE_BLOCK, 4)
    lif_kernel(lif_call k, gpu_view current, gpu_view count, lif_arrays a, bool write, spike_places p)
{
    __shared__ spike_tile tile;
    int i = (int)gpu_thread(), pad = current.pad_nx;
    bool fit = !write || spikes_fit(p);
    for (int leaf = (int)blockIdx.y; leaf < current.nleaf; leaf += (int)gridDim.y) {
        bool inside = i < current.tile[leaf].nx;
        for (int t = 0; !fit && inside && t < k.nt; t++) {
            ((real *)p.at)[((int64_t)leaf * k.nt + t) * pad + i] = gpu_plane(current, leaf, t, 0)[i];
        }
        int64_t first = write ? spike_index(p, leaf, 0, (int)blockIdx.x, 0) : 0;
        if (!fit || (write && spike_place(p, first) == spike_place(p, first + k.nt))) {
            continue; /* no spike of this block */
        }
        real *s = a.state + leaf * a.state_stride + i;
        lif_cell c = {neuron_seed(&k.random, current.tile[leaf].leaf), -1, 0, 0, 0, 0, 0, 0};
        lif_noise noise = {-1, {0, 0, 0, 0}};
        if (inside) {
            c.id = a.id[(int64_t)leaf * pad + i];
            c.v = s[LIF_V * pad];
            c.rest = s[LIF_REST * pad];
            c.adapt = s[LIF_ADAPT * pad];
        }
        for (int kind = 0; a.before && inside && kind < LIF_STATES; kind++) {
            a.before[((int64_t)leaf * LIF_STATES + kind) * pad + i] = s[kind * pad];
        }
        for (int t0 = 0; t0 < k.nt; t0 += SPIKE_STEPS) {
            if (write) {
                for (int step = 0; step < SPIKE_STEPS; step++) {
                    *spike_at(tile, step) = inside && t0 + step < k.nt ? spike_count(gpu_plane(count, leaf, t0 + step, 0)[i]) : 0;
                }
                spike_offsets(tile);
            }
            for (int t = t0; inside && t < k.nt && t < t0 + SPIKE_STEPS; t += AT_ONCE) {
                few_steps(k, current, count, a, leaf, i, t, &c, noise, write ? &tile : NULL, p);
            }
        }
        if (inside && !write) {
            s[LIF_V * pad] = c.v;
            s[LIF_REST * pad] = c.rest;
            s[LIF_ADAPT * pad] = c.adapt;
        }
    }
}

static const int64_t *ids_of(backend *be, const int64_t *id, view cells)
{
    return (const int64_t *)gpu_table(be, id, (size_t)cells.nleaf * (size_t)cells.pad_nx * sizeof(int64_t));
}

/* a.before: kept for the second run. */
static void count_spikes(backend *be, const lif_call &k, view current, view count, const lif_arrays &a)
{
    spike_places none = {0, 0, 0, 0, false, 0, 0, NULL, NULL, NULL, NULL};
    LAUNCH(be, lif_kernel, gpu_grid(current.pad_nx, current.nleaf), SPIKE_BLOCK, k, gpu_see(be, current), gpu_see(be, count), a, false, none);
}

static void write_spikes(backend *be, gpu_spikes *s, const lif_call &k, view current, view count, const int64_t *id)
{
    lif_arrays a = {id, s->states, (int64_t)LIF_STATES * s->pad, NULL, NULL, 0, NULL};
    gpu_spikes_place(be, s, count);
    LAUNCH(be, lif_kernel, gpu_grid(current.pad_nx, current.nleaf), SPIKE_BLOCK, k, gpu_see(be, current), gpu_see(be, count), a, true,
           spike_places_of(s));
}

/* The chunk once more, from the states and currents that were kept. */
static void lif_again(backend *be, gpu_spikes *s, real *kept)
{
    size_t states = (size_t)s->nleaf * LIF_STATES * (size_t)s->pad * sizeof(real);
    real *state = (real *)gpu_malloc(be, states), *counted = (real *)gpu_malloc(be, (size_t)s->nleaf * (size_t)s->nt * (size_t)s->pad * sizeof(real));
    lif_call k = call_of(&s->lif, s->step0, s->nt);
    view current = gpu_spikes_view(s, kept), count = gpu_spikes_view(s, counted);
    const int64_t *id = ids_of(be, s->id, current);
    lif_arrays a = {id, state, (int64_t)LIF_STATES * s->pad, NULL, NULL, 0, NULL};
    GPU_CHECK(cudaMemcpyAsync(state, s->states, states, cudaMemcpyDeviceToDevice, gpu_stream(be)));
    count_spikes(be, k, current, count, a);
    write_spikes(be, s, k, current, count, id);
    gpu_free(be, state);
    gpu_free(be, counted);
}

void gpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             dreal *tape, int64_t tape_stride, spike_list *out)
{
    if (nt < 1 || current.nleaf < 1) {
        return;
    }
    lif_call k = call_of(par, step0, nt);
    gpu_spikes *s = NULL;
    if (out) {
        gpu_spikes of_op = {};
        of_op.nleaf = current.nleaf;
        of_op.nchan = 1;
        of_op.nt = nt;
        of_op.pad = current.pad_nx;
        of_op.nstate = LIF_STATES;
        of_op.by_block = true;
        of_op.step0 = step0;
        of_op.step_s = par->step_s;
        of_op.tile = current.tile;
        of_op.id = id;
        of_op.lif = *par;
        of_op.out = out;
        of_op.again = lif_again;
        s = gpu_spikes_begin(be, &of_op);
    }
    lif_arrays a = {ids_of(be, id, current),           (real *)state, state_stride, (real *)tape, s ? s->states : NULL, tape_stride,
                    s ? s->start + s->nleaf + 1 : NULL};
    count_spikes(be, k, current, count, a);
    if (s) {
        write_spikes(be, s, k, current, count, a.id);
    }
}

/* --- backwards: blocks are 256 cells; leaves ------------------------------------------------------------------------------------- */
enum { LIF_PAR = 2 }; /* leak, noise */

/* part: NULL, or [leaf][step][block][LIF_PAR]. */
__global__ static void lif_back_kernel(lif_call k, gpu_view current, lif_arrays a, gpu_view g_count, real *g_state, int64_t g_state_stride,
                                       gpu_view g_current, double *part)
{
    int i = (int)gpu_thread(), pad = current.pad_nx;
    for (int leaf = (int)blockIdx.y; leaf < current.nleaf; leaf += (int)gridDim.y) {
        bool inside = i < current.tile[leaf].nx;
        uint64_t seed = neuron_seed(&k.random, current.tile[leaf].leaf);
        lif_noise noise = {-1, {0, 0, 0, 0}};
        real *gs = g_state + leaf * g_state_stride + i, gv = inside ? gs[LIF_V * pad] : 0;
        int64_t id = inside ? a.id[(int64_t)leaf * pad + i] : -1;
        for (int t = k.nt - 1; t >= 0; t--) {
            double g[LIF_PAR] = {0, 0};
            if (inside) {
                const real *s = a.tape + leaf * a.tape_stride + (int64_t)t * LIF_STATES * pad + i;
                real before[LIF_STATES] = {s[LIF_V * pad], s[LIF_REST * pad], s[LIF_ADAPT * pad]};
                real normal = k.noisy ? normal_of(noise, seed, id, k.step0 + t) : 0;
                real gx = cell_exact_lif_back(&k.f, k.surrogate, k.width, before, gpu_plane(current, leaf, t, 0)[i], normal,
                                              gpu_plane(g_count, leaf, t, 0)[i], &gv, g);
                if (g_current.at) {
                    gpu_plane(g_current, leaf, t, 0)[i] += gx;
                }
            }
            if (part) {
                gpu_block_sums<LIF_PAR>(g, part + (((int64_t)leaf * k.nt + t) * gridDim.x + blockIdx.x) * LIF_PAR);
            }
        }
        if (inside) {
            gs[LIF_V * pad] = gv;
        }
        if (i < pad) {
            gs[LIF_REST * pad] = 0;
            gs[LIF_ADAPT * pad] = 0;
        }
    }
}

void gpu_lif_back(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride,
                  view g_count, dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride)
{
    if (nt < 1 || current.nleaf < 1) {
        return;
    }
    dim3 grid = gpu_grid(current.pad_nx, current.nleaf);
    double *result = g_par ? gpu_result(be, current.nleaf, nt, LIF_PAR, g_par, g_par_stride, true) : NULL, *part = NULL;
    if (g_par) {
        part = (double *)gpu_scratch(be, (size_t)current.nleaf * (size_t)nt * grid.x * LIF_PAR * sizeof(double));
    }
    lif_arrays a = {ids_of(be, id, current), NULL, 0, (real *)tape, NULL, tape_stride, NULL};
    LAUNCH(be, lif_back_kernel, grid, GPU_THREADS, call_of(par, step0, nt), gpu_see(be, current), a, gpu_see(be, g_count), (real *)g_state,
           g_state_stride, gpu_see(be, g_current), part);
    if (g_par) {
        gpu_sum_parts(be, (int64_t)current.nleaf * nt, (int)grid.x, LIF_PAR, part, result);
    }
}

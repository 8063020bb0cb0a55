/* cpu_lif.c - integrate-and-fire cells with exact spike times (cellmath_lif.h), and their adjoint. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cellmath_lif.h"
#include "compute/cpu_neuron.h"

enum { BLOCK = 256 }; /* cells whose numbers stay in the first cache over a chunk */

void cpu_spike_add(spike_list *list, double time_s, int64_t cell)
{
    if (list->n == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->item = memory_grow(list->item, (size_t)list->room, sizeof *list->item);
    }
    list->item[list->n++] = (spike){time_s, cell};
}

/* One step of one cell that may spike or is refractory; returns the number of spikes. */
static int step_with_spikes(const lif_fixed *f, lif_cell *c, real current, spike_list *out)
{
    while (cell_lif_spikes(f, c, current)) {
        cpu_spike_add(out, cell_lif_time(f, c), c->id);
        if (c->count == LIF_MOST_SPIKES) {
            error_fatal(EXIT_DIVERGED, "cell %lld fires more than %d times in step %lld; give it a refractory time or a smaller current",
                        (long long)c->id, LIF_MOST_SPIKES, (long long)c->step);
        }
    }
    return c->count;
}

static void draw_noise(uint64_t seed, const int64_t *id, int64_t group, int n, real noise[LIF_NOISE_STEPS][BLOCK])
{
    for (int i = 0; i < n; i++) {
        float x[LIF_NOISE_STEPS];
        cell_lif_normals(seed, id[i], group, x);
        for (int k = 0; k < LIF_NOISE_STEPS; k++) {
            noise[k][i] = (real)x[k];
        }
    }
}

/* n <= BLOCK cells, one step.  All cells first take the step as if nothing happened, side by side; the few that were refractory or
 * reached the threshold are then done again, exactly. */
static void lif_block(const lif_fixed *f, uint64_t seed, int64_t step, int n, const int64_t *id, const real *current, real *restrict v,
                      real *restrict rest, real *restrict adapt, real *restrict count, const real *noise, spike_list *out)
{
    real total[BLOCK], next[BLOCK];
    memcpy(total, current, (size_t)n * sizeof(real));
    for (int i = 0; noise && i < n; i++) {
        total[i] = cell_lif_current(f, total[i], adapt[i], noise[i]);
    }
    if (f->adapts) {
        for (int i = 0; i < n; i++) {
            adapt[i] *= f->decay;
            next[i] = cell_lif_quiet_adapting(f, v[i], adapt[i], total[i]);
        }
    } else {
        for (int i = 0; i < n; i++) {
            next[i] = cell_lif_quiet(f, v[i], total[i]);
        }
    }
    for (int i = 0; i < n; i++) {
        count[i] = 0;
        if (rest[i] > 0 || next[i] >= 1 || v[i] >= 1) {
            lif_cell c = {seed, id[i], step, v[i], rest[i], adapt[i], 0, 0};
            count[i] = (real)step_with_spikes(f, &c, total[i], out);
            v[i] = c.v;
            rest[i] = c.rest;
            adapt[i] = c.adapt;
        } else {
            v[i] = next[i];
        }
    }
}

void cpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             dreal *tape, int64_t tape_stride, spike_list *out)
{
    (void)be;
    int pad = current.pad_nx;
    lif_fixed f = lif_fix(par);
    for (int l = 0; l < current.nleaf; l++) {
        uint64_t seed = neuron_seed(&par->random, current.tile[l].leaf);
        for (int first = 0; first < current.tile[l].nx; first += BLOCK) {
            int n = current.tile[l].nx - first < BLOCK ? current.tile[l].nx - first : BLOCK;
            const int64_t *who = id + (int64_t)l * pad + first;
            real *s = host(state) + l * state_stride + first;
            real noise[LIF_NOISE_STEPS][BLOCK];
            int64_t drawn = -1;
            for (int t = 0; t < nt; t++) {
                int64_t group = (step0 + t) / LIF_NOISE_STEPS;
                if (par->noise > 0 && group != drawn) {
                    draw_noise(seed, who, group, n, noise);
                    drawn = group;
                }
                for (int k = 0; tape && k < LIF_STATES; k++) {
                    memcpy(host(tape) + l * tape_stride + (int64_t)(t * LIF_STATES + k) * pad + first, s + k * pad, (size_t)n * sizeof(real));
                }
                lif_block(&f, seed, step0 + t, n, who, cpu_plane(current, l, t, 0) + first, s + LIF_V * pad, s + LIF_REST * pad, s + LIF_ADAPT * pad,
                          cpu_plane(count, l, t, 0) + first, par->noise > 0 ? noise[(step0 + t) % LIF_NOISE_STEPS] : NULL, &out[l]);
            }
        }
    }
}

void cpu_lif_back(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride,
                  view g_count, dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride)
{
    (void)be;
    int pad = current.pad_nx;
    lif_fixed f = lif_fix(par);
    for (int l = 0; l < current.nleaf; l++) {
        uint64_t seed = neuron_seed(&par->random, current.tile[l].leaf);
        double unwanted[2] = {0}, *g = g_par ? g_par + l * g_par_stride : unwanted;
        real *gs = host(g_state) + l * g_state_stride;
        for (int first = 0; first < current.tile[l].nx; first += BLOCK) {
            int n = current.tile[l].nx - first < BLOCK ? current.tile[l].nx - first : BLOCK;
            real noise[LIF_NOISE_STEPS][BLOCK];
            int64_t drawn = -1;
            memset(noise, 0, sizeof noise);
            for (int t = nt - 1; t >= 0; t--) {
                const real *s = host_const(tape) + l * tape_stride + (int64_t)t * LIF_STATES * pad;
                int64_t group = (step0 + t) / LIF_NOISE_STEPS;
                if (par->noise > 0 && group != drawn) {
                    draw_noise(seed, id + (int64_t)l * pad + first, group, n, noise);
                    drawn = group;
                }
                for (int i = first; i < first + n; i++) {
                    real before[LIF_STATES] = {s[i], s[pad + i], s[2 * pad + i]};
                    real gx = cell_exact_lif_back(&f, par->surrogate, (real)par->width, before, cpu_plane(current, l, t, 0)[i],
                                                  noise[(step0 + t) % LIF_NOISE_STEPS][i - first], cpu_plane(g_count, l, t, 0)[i], &gs[i], g);
                    if (g_current.at) {
                        cpu_plane(g_current, l, t, 0)[i] += gx;
                    }
                }
            }
        }
        memset(gs + pad, 0, (size_t)(LIF_STATES - 1) * (size_t)pad * sizeof(real));
    }
}

/* cpu_lif.c - integrate-and-fire cells with exact spike times, and their adjoint. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "compute/cellmath.h"
#include "compute/cpu_neuron.h"

enum { BLOCK = 256 }; /* cells whose numbers stay in the first cache over a chunk */

/* --- exact LIF (as VirtualRetina 2.2.3) ------------------------------------------------------------------------------------------
 * Within a step the current is constant, so V relaxes to E = I/g with rate g: V(t) = E + (V0 - E) exp(-g t), and if E > 1 it reaches the
 * threshold 1 after ln((E - V0)/(E - 1))/g.  Noise is a current drawn once a step.  An adaptation conductance ga with reversal Ea adds to g
 * and pulls to Ea; it grows by delta with each spike and decays between steps. */
enum { STATE_V, STATE_REST, STATE_ADAPT, STATES };
enum { NOISE_STEPS = 4, MOST_SPIKES = 50000 /* of a cell in one step */ };

typedef struct lif_cell {
    const lif_par *par;
    int64_t id, step;
    real v, rest, adapt;
} lif_cell;

void cpu_spike_add(spike_list *list, double time_s, int64_t cell)
{
    if (list->n == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->item = memory_grow(list->item, (size_t)list->room, sizeof *list->item);
    }
    list->item[list->n++] = (spike){time_s, cell};
}

static real refractory(const lif_par *p, int64_t id, int64_t step, int which)
{
    if (p->refractory_sd_s <= 0) {
        return (real)p->refractory_s;
    }
    random_block b = random_bits(p->random.seed, RANDOM_REFRACTORY, (uint64_t)id, (uint64_t)step, (uint32_t)which);
    double r = p->refractory_s + p->refractory_sd_s * (double)random_normal(b.v[0], b.v[1]);
    return r > 0 ? (real)r : 0;
}

/* One step of one cell that may spike or is refractory; returns the number of spikes. */
static int step_with_spikes(lif_cell *c, real current, spike_list *out)
{
    const lif_par *p = c->par;
    real dt = (real)p->step_s, done = 0;
    int count = 0;
    for (;;) {
        real g = (real)p->leak_hz + c->adapt, e = (current + c->adapt * (real)p->adapt_reversal) / g;
        real left = dt - done;
        if (e > 1 || c->v >= 1) {
            real wait = c->v >= 1 ? 0 : (real)log((double)((e - c->v) / (e - 1))) / g;
            if (c->rest + wait < left) {
                done += c->rest + wait;
                cpu_spike_add(out, (double)c->step * p->step_s + (double)done, c->id);
                c->v = 0;
                c->rest = refractory(p, c->id, c->step, count);
                c->adapt += (real)p->adapt_delta_hz;
                count++;
                if (count == MOST_SPIKES) {
                    error_fatal(EXIT_DIVERGED, "cell %lld fires more than %d times in step %lld; give it a refractory time or a smaller current",
                                (long long)c->id, MOST_SPIKES, (long long)c->step);
                }
                continue;
            }
        }
        if (left > c->rest) {
            c->v = e + (c->v - e) * cell_exp(-(left - c->rest) * g);
            c->rest = 0;
        } else {
            c->rest -= left;
        }
        return count;
    }
}

/* Standard normal numbers of steps 4 group .. 4 group + 3: one block of random bits serves a cell for four steps. */
static void draw_noise(const lif_par *p, const int64_t *id, int64_t group, int n, real noise[NOISE_STEPS][BLOCK])
{
    for (int i = 0; i < n; i++) {
        random_block b = random_bits(p->random.seed, RANDOM_SPIKE_NOISE, (uint64_t)id[i], (uint64_t)group, 0);
        float x[NOISE_STEPS];
        random_normal_pair(b.v[0], b.v[1], &x[0], &x[1]);
        random_normal_pair(b.v[2], b.v[3], &x[2], &x[3]);
        for (int k = 0; k < NOISE_STEPS; k++) {
            noise[k][i] = (real)x[k];
        }
    }
}

/* n <= BLOCK cells, one step.  All cells first take the step as if nothing happened, side by side; the few that were refractory or
 * reached the threshold are then done again, exactly. */
static void lif_block(const lif_par *p, int64_t step, int n, const int64_t *id, const real *current, real *restrict v, real *restrict rest,
                      real *restrict adapt, real *restrict count, const real *noise, spike_list *out)
{
    real total[BLOCK], next[BLOCK];
    real leak = (real)p->leak_hz, dt = (real)p->step_s, reversal = (real)p->adapt_reversal;
    memcpy(total, current, (size_t)n * sizeof(real));
    if (noise) {
        real size = (real)(p->noise * sqrt(2 / p->step_s));
        for (int i = 0; i < n; i++) {
            total[i] += size * (real)sqrtf((float)(leak + adapt[i])) * noise[i];
        }
    }
    bool adapts = p->adapt_delta_hz != 0;
    if (adapts) {
        real decay = (real)exp(-p->step_s / p->adapt_tau_s);
        for (int i = 0; i < n; i++) {
            adapt[i] *= decay;
            real g = leak + adapt[i], e = (total[i] + adapt[i] * reversal) / g;
            next[i] = e + (v[i] - e) * cell_exp(-dt * g);
        }
    } else {
        real keep = cell_exp(-dt * leak);
        for (int i = 0; i < n; i++) {
            real e = total[i] / leak;
            next[i] = e + (v[i] - e) * keep;
        }
    }
    for (int i = 0; i < n; i++) {
        count[i] = 0;
        if (rest[i] > 0 || next[i] >= 1 || v[i] >= 1) {
            lif_cell c = {p, id[i], step, v[i], rest[i], adapt[i]};
            count[i] = (real)step_with_spikes(&c, total[i], out);
            v[i] = c.v;
            rest[i] = c.rest;
            adapt[i] = c.adapt;
        } else {
            v[i] = next[i];
        }
    }
}

/* A leaf's parameters: with the random numbers of its sequence. */
static lif_par par_of_leaf(const lif_par *par, const grid_tile *tile)
{
    lif_par p = *par;
    p.random.seed = neuron_seed(&par->random, tile->leaf);
    return p;
}

void cpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             dreal *tape, int64_t tape_stride, spike_list *out)
{
    (void)be;
    int pad = current.pad_nx;
    for (int l = 0; l < current.nleaf; l++) {
        lif_par p = par_of_leaf(par, &current.tile[l]);
        for (int first = 0; first < current.tile[l].nx; first += BLOCK) {
            int n = current.tile[l].nx - first < BLOCK ? current.tile[l].nx - first : BLOCK;
            const int64_t *who = id + (int64_t)l * pad + first;
            real *s = host(state) + l * state_stride + first;
            real noise[NOISE_STEPS][BLOCK];
            int64_t drawn = -1;
            for (int t = 0; t < nt; t++) {
                int64_t group = (step0 + t) / NOISE_STEPS;
                if (p.noise > 0 && group != drawn) {
                    draw_noise(&p, who, group, n, noise);
                    drawn = group;
                }
                for (int k = 0; tape && k < STATES; k++) {
                    memcpy(host(tape) + l * tape_stride + (int64_t)(t * STATES + k) * pad + first, s + k * pad, (size_t)n * sizeof(real));
                }
                lif_block(&p, step0 + t, n, who, cpu_plane(current, l, t, 0) + first, s + STATE_V * pad, s + STATE_REST * pad, s + STATE_ADAPT * pad,
                          cpu_plane(count, l, t, 0) + first, p.noise > 0 ? noise[(step0 + t) % NOISE_STEPS] : NULL, &out[l]);
            }
        }
    }
}

/* One step of one cell backwards.  The membrane that it would reach: next = e + (v - e) exp(-g free), e = I/g, free: the step without the refractory
 * time. The count has the surrogate's derivative by next; the membrane goes on from next unless there was a spike.  s: before the step; *gv: in, by V
 * after. */
static real step_back(const lif_par *p, const real s[], real current, real noise, real g_count, real *gv, double g[])
{
    real dt = (real)p->step_s, free = s[STATE_REST] > 0 ? dt - s[STATE_REST] : dt;
    real adapt = p->adapt_delta_hz != 0 ? s[STATE_ADAPT] * (real)exp(-p->step_s / p->adapt_tau_s) : 0, cond = (real)p->leak_hz + adapt;
    real shot = noise * (real)sqrt(2 / p->step_s * (double)cond), e = (current + (real)p->noise * shot + adapt * (real)p->adapt_reversal) / cond;
    if (free <= 0) {
        *gv = 0;
        return 0;
    }
    real keep = cell_exp(-free * cond), next = e + (s[STATE_V] - e) * keep;
    bool fires = next >= 1 || s[STATE_V] >= 1;
    real by_next = (fires ? 0 : *gv) + g_count * cell_surrogate(p->surrogate, (real)p->width, next - 1), by_e = by_next * (1 - keep) / cond;
    g[0] += (double)(by_e * ((real)p->noise * shot / (2 * cond) - e) - by_next * (s[STATE_V] - e) * free * keep);
    g[1] += (double)(by_e * shot);
    *gv = by_next * keep;
    return by_e;
}

void cpu_lif_back(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride,
                  view g_count, dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride)
{
    (void)be;
    int pad = current.pad_nx;
    for (int l = 0; l < current.nleaf; l++) {
        lif_par p = par_of_leaf(par, &current.tile[l]);
        double unwanted[2] = {0}, *g = g_par ? g_par + l * g_par_stride : unwanted;
        real *gs = host(g_state) + l * g_state_stride;
        for (int first = 0; first < current.tile[l].nx; first += BLOCK) {
            int n = current.tile[l].nx - first < BLOCK ? current.tile[l].nx - first : BLOCK;
            real noise[NOISE_STEPS][BLOCK];
            int64_t drawn = -1;
            memset(noise, 0, sizeof noise);
            for (int t = nt - 1; t >= 0; t--) {
                const real *s = host_const(tape) + l * tape_stride + (int64_t)t * STATES * pad;
                int64_t group = (step0 + t) / NOISE_STEPS;
                if (p.noise > 0 && group != drawn) {
                    draw_noise(&p, id + (int64_t)l * pad + first, group, n, noise);
                    drawn = group;
                }
                for (int i = first; i < first + n; i++) {
                    real before[STATES] = {s[i], s[pad + i], s[2 * pad + i]};
                    real gx = step_back(&p, before, cpu_plane(current, l, t, 0)[i], noise[(step0 + t) % NOISE_STEPS][i - first],
                                        cpu_plane(g_count, l, t, 0)[i], &gs[i], g);
                    if (g_current.at) {
                        cpu_plane(g_current, l, t, 0)[i] += gx;
                    }
                }
            }
        }
        memset(gs + pad, 0, (size_t)(STATES - 1) * (size_t)pad * sizeof(real));
    }
}

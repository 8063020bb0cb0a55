/* cpu_lif.c - sampling of maps at cells, and the two integrate-and-fire cells. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"

enum { BLOCK = 256 }; /* cells whose numbers stay in the first cache over a chunk */

struct link_table {
    int ncell_pad, nentry;
    int32_t *offset; /* [leaf][entry][cell]: entries apart, so that cells go side by side */
    real *weight;
};

link_table *cpu_link_create(backend *be, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight)
{
    (void)be;
    link_table *t = MEMORY_NEW(link_table, 1);
    t->ncell_pad = ncell_pad;
    t->nentry = nentry;
    size_t n = (size_t)nleaf * (size_t)ncell_pad * (size_t)nentry;
    t->offset = MEMORY_NEW(int32_t, n);
    t->weight = MEMORY_NEW(real, n);
    for (int64_t l = 0; l < nleaf; l++) {
        for (int64_t i = 0; i < ncell_pad; i++) {
            for (int64_t k = 0; k < nentry; k++) {
                int64_t from = (l * ncell_pad + i) * nentry + k, to = (l * nentry + k) * ncell_pad + i;
                t->offset[to] = offset[from];
                t->weight[to] = weight[from];
            }
        }
    }
    return t;
}

void cpu_link_destroy(backend *be, link_table *t)
{
    (void)be;
    if (t) {
        memory_free(t->offset);
        memory_free(t->weight);
        memory_free(t);
    }
}

/* Cells [first, first + n) of one leaf, all frames: their part of the table stays in the first cache.  The four corners of a bilinear sample
 * go in one sweep. */
static void link_cells(const link_table *t, int64_t table, int first, int n, int nt, const real *from, int64_t from_stride, real *to,
                       int64_t to_stride)
{
    int pad = t->ncell_pad;
    const int32_t *restrict o0 = t->offset + table + first, *o1 = o0 + pad, *o2 = o1 + pad, *o3 = o2 + pad;
    const real *restrict w0 = t->weight + table + first, *w1 = w0 + pad, *w2 = w1 + pad, *w3 = w2 + pad;
    for (int f = 0; f < nt; f++, from += from_stride, to += to_stride) {
        real *restrict out = to + first;
        if (t->nentry == 4) {
            for (int i = 0; i < n; i++) {
                out[i] = w0[i] * from[o0[i]] + w1[i] * from[o1[i]] + w2[i] * from[o2[i]] + w3[i] * from[o3[i]];
            }
            continue;
        }
        memset(out, 0, (size_t)n * sizeof(real));
        for (int k = 0; k < t->nentry; k++) {
            for (int i = 0; i < n; i++) {
                out[i] += w0[k * pad + i] * from[o0[k * pad + i]];
            }
        }
    }
}

void cpu_link(backend *be, const link_table *t, int first_leaf, int nt, view x, view y)
{
    (void)be;
    for (int l = 0; l < y.nleaf; l++) {
        int64_t table = (int64_t)(first_leaf + l) * t->nentry * t->ncell_pad;
        for (int first = 0; first < y.tile[l].nx; first += BLOCK) {
            int n = y.tile[l].nx - first < BLOCK ? y.tile[l].nx - first : BLOCK;
            link_cells(t, table, first, n, nt, cpu_plane(x, l, 0, 0), x.frame_stride, cpu_plane(y, l, 0, 0), y.frame_stride);
        }
    }
}

/* --- exact LIF (as VirtualRetina 2.2.3) ------------------------------------------------------------------------------------------
 * Within a step the current is constant, so V relaxes to E = I/g with rate g: V(t) = E + (V0 - E) exp(-g t), and if E > 1 it reaches the
 * threshold 1 after ln((E - V0)/(E - 1))/g.  Noise is a current drawn once a step.  An adaptation conductance ga with reversal Ea adds to g
 * and pulls to Ea; it grows by delta with each spike and decays between steps. */
enum { STATE_V, STATE_REST, STATE_ADAPT };
enum { NOISE_STEPS = 4, MOST_SPIKES = 50000 /* of a cell in one step */ };

typedef struct lif_cell {
    const lif_par *par;
    int64_t id, step;
    real v, rest, adapt;
} lif_cell;

static void spike_add(spike_list *list, double time_s, int64_t cell)
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
    random_block b = random_bits(p->seed, RANDOM_REFRACTORY, (uint64_t)id, (uint64_t)step, (uint32_t)which);
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
                spike_add(out, (double)c->step * p->step_s + (double)done, c->id);
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
        random_block b = random_bits(p->seed, RANDOM_SPIKE_NOISE, (uint64_t)id[i], (uint64_t)group, 0);
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

void cpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             spike_list *out)
{
    (void)be;
    int pad = current.pad_nx;
    for (int l = 0; l < current.nleaf; l++) {
        real *s = host(state) + l * state_stride;
        for (int first = 0; first < current.tile[l].nx; first += BLOCK) {
            int n = current.tile[l].nx - first < BLOCK ? current.tile[l].nx - first : BLOCK;
            real noise[NOISE_STEPS][BLOCK];
            int64_t drawn = -1;
            for (int t = 0; t < nt; t++) {
                int64_t group = (step0 + t) / NOISE_STEPS;
                if (par->noise > 0 && group != drawn) {
                    draw_noise(par, id + (int64_t)l * pad + first, group, n, noise);
                    drawn = group;
                }
                lif_block(par, step0 + t, n, id + (int64_t)l * pad + first, cpu_plane(current, l, t, 0) + first, s + STATE_V * pad + first,
                          s + STATE_REST * pad + first, s + STATE_ADAPT * pad + first, cpu_plane(count, l, t, 0) + first,
                          par->noise > 0 ? noise[(step0 + t) % NOISE_STEPS] : NULL, &out[l]);
            }
        }
    }
}

/* --- discrete cells of Convis 0.6.4.2: V' = V + dt (I - g V) + noise sqrt(g dt) xi; r counts steps of 1 ms; V' = 0 while r >= 0.5 ----- */
void cpu_pixel_lif(backend *be, const lif_par *par, int field_nx, int64_t step0, int nt, view current, dreal *state, int64_t state_stride, view y)
{
    (void)be;
    const real dt = (real)0.001, leak = (real)par->leak_hz, scale = (real)(par->noise * sqrt(par->leak_hz * 0.001));
    int64_t plane = (int64_t)current.pad_ny * current.pad_nx;
    for (int l = 0; l < current.nleaf; l++) {
        const grid_tile *tile = &current.tile[l];
        for (int64_t i = 0; i < (int64_t)tile->ny * nt; i++) {
            int row = (int)(i / nt), t = (int)(i % nt);
            const real *in = cpu_plane(current, l, t, 0) + row * current.row_stride;
            real *out = cpu_plane(y, l, t, 0) + row * y.row_stride, *v = host(state) + l * state_stride + (int64_t)row * current.pad_nx,
                 *rest = v + plane;
            for (int x = 0; x < tile->nx; x++) {
                real next = v[x] + dt * (in[x] - leak * v[x]);
                uint64_t pixel = (uint64_t)(tile->y0 + row) * (uint64_t)field_nx + (uint64_t)(tile->x0 + x);
                if (scale > 0) {
                    random_block b = random_bits(par->seed, RANDOM_SPIKE_NOISE, pixel, (uint64_t)(step0 + t), 0);
                    next += scale * (real)random_normal(b.v[0], b.v[1]);
                }
                rest[x] -= 1;
                next = rest[x] >= (real)0.5 ? 0 : next;
                bool spike_now = next > 1;
                if (spike_now) {
                    rest[x] = 1000 * refractory(par, (int64_t)pixel, step0 + t, 0);
                }
                rest[x] = rest[x] < 0 ? 0 : rest[x];
                v[x] = spike_now ? 0 : next;
                out[x] = spike_now;
            }
        }
    }
}

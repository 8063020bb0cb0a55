/* cellmath_lif.h - integrate-and-fire cells that are exact within steps of constant current (as VirtualRetina 2.2.3), and their adjoint.  As
 * cellmath.h: scalars of one cell only, for the C compiler and nvcc.
 *
 * Within a step the current is constant, so V relaxes to E = I/g with rate g: V(t) = E + (V0 - E) exp(-g t), and if E > 1 it reaches the threshold 1
 * after ln((E - V0)/(E - 1))/g.  Noise is a current drawn once a step.  An adaptation conductance ga with reversal Ea adds to g and pulls to Ea; it
 * grows by delta with each spike and decays between steps. */
#ifndef CELLMATH_LIF_H
#define CELLMATH_LIF_H
#include "compute/cellmath_neuron.h"

enum { LIF_V, LIF_REST, LIF_ADAPT, LIF_STATES };
enum { LIF_NOISE_STEPS = 4, LIF_MOST_SPIKES = 50000 /* of a cell in one step */ };

/* Parameters as the steps use them. */
typedef struct lif_fixed {
    double step_s, refractory_s, refractory_sd_s;
    real dt, leak, reversal, delta, rest;
    real noise, size; /* size: noise sqrt(2/dt), of its current by sqrt(g) */
    real decay, keep; /* of adaptation in a step; exp(-g dt) without adaptation */
    bool adapts;
} lif_fixed;

HD static inline lif_fixed lif_fix(const lif_par *p)
{
    lif_fixed f;
    f.step_s = p->step_s;
    f.refractory_s = p->refractory_s;
    f.refractory_sd_s = p->refractory_sd_s;
    f.dt = (real)p->step_s;
    f.leak = (real)p->leak_hz;
    f.reversal = (real)p->adapt_reversal;
    f.delta = (real)p->adapt_delta_hz;
    f.rest = (real)p->refractory_s;
    f.noise = (real)p->noise;
    f.size = (real)(p->noise * sqrt(2 / p->step_s));
    f.adapts = p->adapt_delta_hz != 0;
    f.decay = f.adapts ? (real)exp(-p->step_s / p->adapt_tau_s) : 0;
    f.keep = cell_exp(-f.dt * f.leak);
    return f;
}

/* Standard normal numbers of steps 4 group .. 4 group + 3: one block of random bits serves a cell for four steps. */
HD static inline void cell_lif_normals(uint64_t seed, int64_t id, int64_t group, float x[LIF_NOISE_STEPS])
{
    random_block b = random_bits(seed, RANDOM_SPIKE_NOISE, (uint64_t)id, (uint64_t)group, 0);
    random_normal_pair(b.v[0], b.v[1], &x[0], &x[1]);
    random_normal_pair(b.v[2], b.v[3], &x[2], &x[3]);
}

/* Current of a step with its noise. */
HD static inline real cell_lif_current(const lif_fixed *f, real current, real adapt, real normal)
{
    return current + f->size * (real)sqrtf((float)(f->leak + adapt)) * normal;
}

/* V at the end of a step in which nothing happens: from e, the V that it relaxes to, and what is left of the difference. */
HD static inline real cell_lif_relax(real v, real e, real keep)
{
    return e + (v - e) * keep;
}
HD static inline real cell_lif_quiet(const lif_fixed *f, real v, real current)
{
    return cell_lif_relax(v, current / f->leak, f->keep);
}
HD static inline real cell_lif_quiet_adapting(const lif_fixed *f, real v, real adapt, real current)
{
    real g = f->leak + adapt, e = (current + adapt * f->reversal) / g;
    return cell_lif_relax(v, e, cell_exp(-f->dt * g));
}

/* A cell within a step in which it may spike or is refractory. */
typedef struct lif_cell {
    uint64_t seed;
    int64_t id, step;
    real v, rest, adapt;
    real done; /* of the step, s: time of the last spike */
    int count; /* spikes so far */
} lif_cell;

HD static inline real cell_lif_refractory(const lif_fixed *f, const lif_cell *c)
{
    if (f->refractory_sd_s <= 0) {
        return f->rest;
    }
    random_block b = random_bits(c->seed, RANDOM_REFRACTORY, (uint64_t)c->id, (uint64_t)c->step, (uint32_t)c->count);
    double r = f->refractory_s + f->refractory_sd_s * (double)random_normal(b.v[0], b.v[1]);
    return r > 0 ? (real)r : 0;
}

/* On to the next spike of the step: true; or, if there is none, to its end. */
HD static inline bool cell_lif_spikes(const lif_fixed *f, lif_cell *c, real current)
{
    real g = f->leak + c->adapt, e = (current + c->adapt * f->reversal) / g;
    real left = f->dt - c->done;
    if (e > 1 || c->v >= 1) {
        real wait = c->v >= 1 ? 0 : (real)log((double)((e - c->v) / (e - 1))) / g;
        if (c->rest + wait < left) {
            c->done += c->rest + wait;
            c->v = 0;
            c->rest = cell_lif_refractory(f, c);
            c->adapt += f->delta;
            c->count++;
            return true;
        }
    }
    if (left > c->rest) {
        c->v = cell_lif_relax(c->v, e, cell_exp(-(left - c->rest) * g));
        c->rest = 0;
    } else {
        c->rest -= left;
    }
    return false;
}
HD static inline double cell_lif_time(const lif_fixed *f, const lif_cell *c) /* of the spike just made */
{
    return (double)c->step * f->step_s + (double)c->done;
}

/* One step of one cell backwards.  The membrane that it would reach: next = e + (v - e) exp(-g free), e = I/g, free: the step without the refractory
 * time.  The count has the surrogate's derivative by next; the membrane goes on from next unless there was a spike.  s: before the step; *gv: in, by
 * V after; out, by V before.  g: ADDED to, by leak and noise.  The derivative by the current is returned. */
HD static inline real cell_exact_lif_back(const lif_fixed *f, enum surrogate surrogate, real width, const real s[], real current, real normal,
                                          real g_count, real *gv, double g[])
{
    real free = s[LIF_REST] > 0 ? f->dt - s[LIF_REST] : f->dt;
    real adapt = f->adapts ? s[LIF_ADAPT] * f->decay : 0, cond = f->leak + adapt;
    real shot = normal * (real)sqrt(2 / f->step_s * (double)cond), e = (current + f->noise * shot + adapt * f->reversal) / cond;
    if (free <= 0) {
        *gv = 0;
        return 0;
    }
    real keep = cell_exp(-free * cond), next = cell_lif_relax(s[LIF_V], e, keep);
    bool fires = next >= 1 || s[LIF_V] >= 1;
    real by_next = (fires ? 0 : *gv) + g_count * cell_surrogate(surrogate, width, next - 1), by_e = by_next * (1 - keep) / cond;
    g[0] += (double)(by_e * (f->noise * shot / (2 * cond) - e) - by_next * (s[LIF_V] - e) * free * keep);
    g[1] += (double)(by_e * shot);
    *gv = by_next * keep;
    return by_e;
}
#endif

/* cellmath_neuron.h - point neurons and sensors with memory: for each kind an Euler step within a step (_sub), what follows once at the step's end
 * (_end: spike, reset, output), and their adjoints.  As cellmath.h: scalars of one cell only, for the C compiler and nvcc.
 *
 * p: parameters in the order that stands with each kind.  s: state, advanced in place; y: outputs.  Adjoints take p, x and the state before, and gs,
 * the derivative by the state after, which becomes that by the state before; they ADD to *gx and g[], by p.  Spikes have the derivative of a
 * surrogate by the distance of the membrane to the threshold; what a reset does is held constant. */
#ifndef CELLMATH_NEURON_H
#define CELLMATH_NEURON_H
#include "base/random.h"
#include "compute/backend.h"
#include "compute/cellmath.h"

/* --- what they share -------------------------------------------------------------------------------------------------------------- */
/* Derivative that a spike is given, by x, the membrane's distance above the threshold; 1 at the threshold.  fast sigmoid: Zenke & Ganguli, Neural
 * Comput. 30:1514, 2018; triangle: Bellec et al., NeurIPS 2018; exponential: Shrestha & Orchard, NeurIPS 2018. */
HD static inline real cell_surrogate(enum surrogate kind, real width, real x)
{
    real a = (x < 0 ? -x : x) / width;
    switch (kind) {
    case SURROGATE_FAST_SIGMOID:
        return 1 / ((1 + a) * (1 + a));
    case SURROGATE_TRIANGLE:
        return a < 1 ? 1 - a : 0;
    case SURROGATE_EXPONENTIAL:
        return cell_exp(-a);
    case SURROGATE_NONE:
        break;
    }
    return 0;
}

/* Where a cell stands among the random numbers. */
typedef struct cell_at {
    uint64_t seed, who;
    int64_t step;
} cell_at;

HD static inline uint64_t neuron_seed(const neuron_random *r, int leaf)
{
    int64_t sequence = r->ntile > 0 ? leaf / r->ntile % r->nseq : 0, many = r->nseq > 0 ? r->nseq : 1;
    return r->seed + (uint64_t)(r->draw * many + sequence) * 0x9E3779B97F4A7C15ull;
}

/* --- Izhikevich, IEEE Trans. Neural Netw. 14:1569, 2003: v' = 0.04 v^2 + k v + j - u + x, u' = a (b v - u); v >= h: v = c, u = u + d -------------
 * p: a b c d h k j.  s: v u.  y: spike, v, u; form: one of them, or all three. */
enum izhikevich_form { IZHIKEVICH_SPIKES, IZHIKEVICH_V, IZHIKEVICH_U, IZHIKEVICH_ALL };

HD static inline void cell_izhikevich_sub(const real p[], real dt, real x, real s[])
{
    real v = s[0], u = s[1];
    s[0] = v + dt * ((real)0.04 * v * v + p[5] * v + p[6] - u + x);
    s[1] = u + dt * p[0] * (p[1] * v - u);
}

HD static inline void cell_izhikevich_sub_back(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[])
{
    (void)x;
    real v = s[0], u = s[1], gv = dt * gs[0], gu = dt * gs[1];
    g[0] += gu * (p[1] * v - u);
    g[1] += gu * p[0] * v;
    g[5] += gv * v;
    g[6] += gv;
    *gx += gv;
    gs[0] += gv * ((real)0.08 * v + p[5]) + gu * p[0] * p[1];
    gs[1] -= gv + gu * p[0];
}

HD static inline void cell_izhikevich_end(const neuron_desc *d, real s[], real y[])
{
    const real *p = d->par;
    bool fires = s[0] >= p[4];
    s[0] = fires ? p[2] : s[0];
    s[1] = fires ? s[1] + p[3] : s[1];
    bool all = d->form == IZHIKEVICH_ALL;
    y[0] = d->form == IZHIKEVICH_V ? s[0] : d->form == IZHIKEVICH_U ? s[1] : (real)fires;
    y[1] = all ? s[0] : 0;
    y[2] = all ? s[1] : 0;
}

HD static inline void cell_izhikevich_end_back(const neuron_desc *d, const real s[], const real gy[], real gs[], real g[])
{
    const real *p = d->par;
    bool fires = s[0] >= p[4];
    real gspike = d->form == IZHIKEVICH_SPIKES || d->form == IZHIKEVICH_ALL ? gy[0] : 0;
    real gv = gs[0] + (d->form == IZHIKEVICH_V ? gy[0] : d->form == IZHIKEVICH_ALL ? gy[1] : 0);
    real gu = gs[1] + (d->form == IZHIKEVICH_U ? gy[0] : d->form == IZHIKEVICH_ALL ? gy[2] : 0);
    real crossing = gspike * cell_surrogate(d->surrogate, d->width, s[0] - p[4]);
    g[2] += fires ? gv : 0;
    g[3] += fires ? gu : 0;
    g[4] -= crossing;
    gs[0] = (fires ? 0 : gv) + crossing;
    gs[1] = gu;
}

/* --- FitzHugh-Nagumo with the signs of Convis 0.6.4.2: v' = x + v - v^3/3 - w, w' = t (v - a - b w) -----------------------------------------
 * p: a b t.  s: v w.  y: v. */
HD static inline void cell_fitzhugh_nagumo_sub(const real p[], real dt, real x, real s[])
{
    real v = s[0], w = s[1];
    s[0] = v + dt * (x + v - v * v * v / 3 - w);
    s[1] = w + dt * (v - p[0] - p[1] * w) * p[2];
}

HD static inline void cell_fitzhugh_nagumo_sub_back(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[])
{
    (void)x;
    real v = s[0], w = s[1], gv = dt * gs[0], gw = dt * gs[1];
    g[0] -= gw * p[2];
    g[1] -= gw * p[2] * w;
    g[2] += gw * (v - p[0] - p[1] * w);
    *gx += gv;
    gs[0] += gv * (1 - v * v) + gw * p[2];
    gs[1] -= gv + gw * p[2] * p[1];
}

/* --- Hodgkin & Huxley, J. Physiol. 117:500, 1952; mV from rest, ms, positive v is depolarised -------------------------------------------------
 * C v' = x - gK n^4 (v - VK) - gNa m^3 h (v - VNa) - gL (v - Vl);  z' = alpha_z (1 - z) - beta_z z for z = n, m, h.
 * p: gK gNa gL C VK VNa Vl.  s: v n m h.  y: v.
 * z/(exp(z) - 1) and its derivative; by their series near 0, where alpha_n and alpha_m are 0/0 (v = 10 and 25 mV). */
HD static inline real cell_bernoulli(real z)
{
    real q = z * z, near0 = 1 - z / 2 + q * ((real)(1.0 / 12) - q * ((real)(1.0 / 720) - q * ((real)(1.0 / 30240) - q * (real)(1.0 / 1209600))));
    bool small = q < (real)0.01;
    real e = cell_exp(small ? (real)1 : z) - 1, ratio = z / e;
    return small ? near0 : ratio;
}

HD static inline real cell_bernoulli_slope(real z)
{
    real q = z * z;
    real near0 = (real)-0.5 + z * ((real)(1.0 / 6) - q * ((real)(1.0 / 180) - q * ((real)(1.0 / 5040) - q * (real)(1.0 / 151200))));
    bool small = q < (real)0.01;
    real e = cell_exp(small ? (real)1 : z) - 1, slope = (1 - z / e * (e + 1)) / e;
    return small ? near0 : slope;
}

typedef struct hodgkin_huxley_rates {
    real an, bn, am, bm, ah, bh;
} hodgkin_huxley_rates;

HD static inline hodgkin_huxley_rates cell_hodgkin_huxley_rates(real v)
{
    hodgkin_huxley_rates r = {(real)0.1 * cell_bernoulli((10 - v) / 10),
                              (real)0.125 * cell_exp(-v / 80),
                              cell_bernoulli((25 - v) / 10),
                              4 * cell_exp(-v / 18),
                              (real)0.07 * cell_exp(-v / 20),
                              1 / (cell_exp((30 - v) / 10) + 1)};
    return r;
}

HD static inline void cell_hodgkin_huxley_sub(const real p[], real dt, real x, real s[])
{
    real v = s[0], n = s[1], m = s[2], h = s[3];
    hodgkin_huxley_rates r = cell_hodgkin_huxley_rates(v);
    s[0] = v + dt * (x - p[0] * n * n * n * n * (v - p[4]) - p[1] * m * m * m * h * (v - p[5]) - p[2] * (v - p[6])) / p[3];
    s[1] = n + dt * (r.an * (1 - n) - r.bn * n);
    s[2] = m + dt * (r.am * (1 - m) - r.bm * m);
    s[3] = h + dt * (r.ah * (1 - h) - r.bh * h);
}

HD static inline void cell_hodgkin_huxley_sub_back(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[])
{
    real v = s[0], n = s[1], m = s[2], h = s[3];
    hodgkin_huxley_rates r = cell_hodgkin_huxley_rates(v);
    real n3 = n * n * n, m2 = m * m;
    real gv = dt * gs[0] / p[3], gn = dt * gs[1], gm = dt * gs[2], gh = dt * gs[3];
    real current = x - p[0] * n3 * n * (v - p[4]) - p[1] * m2 * m * h * (v - p[5]) - p[2] * (v - p[6]);
    g[0] -= gv * n3 * n * (v - p[4]);
    g[1] -= gv * m2 * m * h * (v - p[5]);
    g[2] -= gv * (v - p[6]);
    g[3] -= gv * current / p[3];
    g[4] += gv * p[0] * n3 * n;
    g[5] += gv * p[1] * m2 * m * h;
    g[6] += gv * p[2];
    *gx += gv;
    real an = (real)-0.01 * cell_bernoulli_slope((10 - v) / 10), am = (real)-0.1 * cell_bernoulli_slope((25 - v) / 10); /* rates' slopes by v */
    real bn = -r.bn / 80, bm = -r.bm / 18, ah = -r.ah / 20, bh = r.bh * (1 - r.bh) / 10;
    gs[0] +=
        -gv * (p[0] * n3 * n + p[1] * m2 * m * h + p[2]) + gn * (an * (1 - n) - bn * n) + gm * (am * (1 - m) - bm * m) + gh * (ah * (1 - h) - bh * h);
    gs[1] -= gv * p[0] * 4 * n3 * (v - p[4]) + gn * (r.an + r.bn);
    gs[2] -= gv * p[1] * 3 * m2 * h * (v - p[5]) + gm * (r.am + r.bm);
    gs[3] -= gv * p[1] * m2 * m * (v - p[5]) + gh * (r.ah + r.bh);
}

/* --- integrate-and-fire of Convis 0.6.4.2 in Euler steps: v1 = v + dt (f x - g v) + noise sqrt(g dt) xi, spike at v1 > 1, reset to 0 -------------
 * leaky: no refractory time.  refractory: r = R at a spike, then max(r, 0) - 1; v = 0 where r >= 0.5 or a spike.  ganglion (Convis' GanglionSpiking):
 * r = r - 1 first, v1 = 0 where r >= 0.5, then the spike sets r.
 * p: g noise f, and for R in steps: mean and standard deviation in s, steps per s.  s: v r.  y: spike. */
enum lif_form { LIF_LEAKY, LIF_REFRACTORY, LIF_GANGLION };

typedef struct lif_moment { /* what happened within a step */
    real v1, xi;
    bool held, spike;
} lif_moment;

HD static inline lif_moment cell_lif_step(const neuron_desc *d, cell_at at, real x, real s[])
{
    const real *p = d->par, dt = d->sub_dt;
    lif_moment m = {s[0] + dt * (x * p[2] - p[0] * s[0]), 0, false, false};
    if (p[1] > 0) {
        random_block b = random_bits(at.seed, RANDOM_SPIKE_NOISE, at.who, (uint64_t)at.step, 0);
        m.xi = (real)random_normal(b.v[0], b.v[1]);
        m.v1 += p[1] * (real)sqrt((double)(p[0] * dt)) * m.xi;
    }
    if (d->form == LIF_GANGLION) {
        s[1] -= 1;
        m.held = s[1] >= (real)0.5;
        m.v1 = m.held ? 0 : m.v1;
    }
    m.spike = m.v1 > 1;
    if (m.spike && d->form != LIF_LEAKY) {
        real r = p[3];
        if (p[4] > 0) {
            random_block b = random_bits(at.seed, RANDOM_REFRACTORY, at.who, (uint64_t)at.step, 0);
            r += p[4] * (real)random_normal(b.v[0], b.v[1]);
        }
        s[1] = r * p[5];
    }
    s[1] = s[1] < 0 ? 0 : s[1];
    if (d->form == LIF_REFRACTORY) {
        s[1] -= 1;
        m.held = s[1] >= (real)0.5;
    }
    s[0] = m.held || m.spike ? 0 : m.v1;
    return m;
}

HD static inline void cell_lif_back(const neuron_desc *d, cell_at at, real x, const real s[], real gy, real gs[], real *gx, real g[])
{
    const real *p = d->par, dt = d->sub_dt;
    real after[2] = {s[0], s[1]};
    lif_moment m = cell_lif_step(d, at, x, after);
    bool silent = d->form == LIF_GANGLION && m.held; /* the spike does not depend on the membrane */
    real g1 = (m.held || m.spike ? 0 : gs[0]) + (silent ? 0 : gy * cell_surrogate(d->surrogate, d->width, m.v1 - 1));
    real root = (real)sqrt((double)(p[0] * dt));
    g[0] += g1 * (-dt * s[0] + (p[1] > 0 ? p[1] * m.xi * dt / (2 * root) : 0));
    g[1] += g1 * root * m.xi;
    *gx += g1 * dt * p[2];
    gs[0] = g1 * (1 - dt * p[0]);
    gs[1] = 0;
}

/* --- event sensor (Convis' IntegrativeMotionSensor): at most one event a step and polarity ------------------------------------------------------
 * linear: a = a + x; on where a > h, a = a - h; off where a < -h, a = a + h.  log: on where x/r > h, r = r h; off where x/r < 1/h, r = r/h.
 * p: h.  s: a or r.  y: on, off. */
enum event_form { EVENT_LINEAR, EVENT_LOG };

HD static inline void cell_event(const neuron_desc *d, real x, real s[], real y[])
{
    real h = d->par[0], a = d->form == EVENT_LOG ? x / s[0] : s[0] + x, low = d->form == EVENT_LOG ? 1 / h : -h;
    bool on = a > h, off = a < low;
    y[0] = (real)on;
    y[1] = (real)off;
    real next = d->form == EVENT_LOG ? s[0] : a;
    real raised = d->form == EVENT_LOG ? next * h : next - h, lowered = d->form == EVENT_LOG ? next / h : next + h;
    s[0] = on ? raised : off ? lowered : next;
}

HD static inline void cell_event_back(const neuron_desc *d, real x, const real s[], const real gy[], real gs[], real *gx, real g[])
{
    bool log = d->form == EVENT_LOG;
    real h = d->par[0], a = log ? x / s[0] : s[0] + x, low = log ? 1 / h : -h;
    bool on = a > h, off = a < low;
    real gon = gy[0] * cell_surrogate(d->surrogate, d->width, a - h), goff = gy[1] * cell_surrogate(d->surrogate, d->width, low - a);
    real ga = gon - goff;
    g[0] += -gon - goff * (log ? low * low : 1);
    if (log) {
        g[0] += gs[0] * (on ? s[0] : off ? -s[0] * low * low : 0);
        gs[0] = gs[0] * (on ? h : off ? low : 1) - ga * a / s[0];
        *gx += ga / s[0];
    } else {
        g[0] += gs[0] * (on ? -1 : off ? 1 : 0);
        gs[0] += ga;
        *gx += gs[0];
    }
}

/* --- Poisson spikes: x is a rate in Hz; form 0: one spike with probability x dt, form 1: a Poisson number of mean x dt.  No state. ----------------
 */
enum poisson_form { POISSON_BERNOULLI, POISSON_COUNT };

HD static inline real cell_poisson(const neuron_desc *d, cell_at at, real x)
{
    double mean = (double)x * d->step_s;
    random_block b = random_bits(at.seed, RANDOM_POISSON, at.who, (uint64_t)at.step, 0);
    double u = ((double)(((uint64_t)b.v[0] << 21) ^ (b.v[1] >> 11)) + 0.5) * 0x1p-53; /* 53 bits, never 0 or 1 */
    if (d->form == POISSON_BERNOULLI) {
        return u < mean ? 1 : 0;
    }
    if (!(mean > 0)) {
        return 0;
    }
    if (mean > 500) { /* normal to 1 % of a standard deviation, and exp(-mean) would vanish */
        double n = rint(mean + sqrt(mean) * (double)random_normal(b.v[2], b.v[3]));
        return (real)(n > 0 ? n : 0);
    }
    int n = 0; /* inversion: the smallest n with P(N <= n) > u */
    for (double term = exp(-mean), sum = term; u >= sum && n < 2000; sum += term) {
        term *= mean / ++n;
    }
    return (real)n;
}

/* --- photoreceptor: Angueyra et al., J. Neurosci. 42:1254, 2022; Idrees et al., Nat. Commun. 15:5957, 2024 -----------------------------------------
 * r' = -sigma r + gamma x/(8 ms), p' = r + eta - phi p, c' = beta (c_dark (g/g_dark)^n - c), g' = S(c) - p g, I = k/2 g^n,
 * S(c) = eta/phi g_dark (1 + (c_dark/K)^h)/(1 + (c/K)^h).  y = -I.
 * p: sigma phi eta beta k n c_dark h K gamma g_dark.  s: r p c g. */
enum { PR_SIGMA, PR_PHI, PR_ETA, PR_BETA, PR_K, PR_N, PR_C_DARK, PR_H, PR_AFFINITY, PR_GAMMA, PR_G_DARK, PR_COUNT };

typedef struct photoreceptor_terms {
    real log_g, a, log_c, b, log_dark, dark, cyclase; /* a = (g/g_dark)^n, b = (c/K)^h, dark = (c_dark/K)^h, cyclase = S */
} photoreceptor_terms;

HD static inline photoreceptor_terms cell_photoreceptor_terms(const real p[], const real s[])
{
    photoreceptor_terms t;
    t.log_g = cell_log(s[3] / p[PR_G_DARK]);
    t.a = cell_exp(p[PR_N] * t.log_g);
    t.log_c = cell_log(s[2] / p[PR_AFFINITY]);
    t.b = cell_exp(p[PR_H] * t.log_c);
    t.log_dark = cell_log(p[PR_C_DARK] / p[PR_AFFINITY]);
    t.dark = cell_exp(p[PR_H] * t.log_dark);
    t.cyclase = p[PR_ETA] / p[PR_PHI] * p[PR_G_DARK] * (1 + t.dark) / (1 + t.b);
    return t;
}

HD static inline void cell_photoreceptor_sub(const real p[], real dt, real x, real s[])
{
    const real per_8ms = 125;
    photoreceptor_terms t = cell_photoreceptor_terms(p, s);
    real r = s[0], e = s[1], c = s[2], g = s[3];
    s[0] = r + dt * (per_8ms * p[PR_GAMMA] * x - p[PR_SIGMA] * r);
    s[1] = e + dt * (r + p[PR_ETA] - p[PR_PHI] * e);
    s[2] = c + dt * p[PR_BETA] * (p[PR_C_DARK] * t.a - c);
    s[3] = g + dt * (t.cyclase - e * g);
}

HD static inline void cell_photoreceptor_sub_back(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[])
{
    const real per_8ms = 125;
    photoreceptor_terms t = cell_photoreceptor_terms(p, s);
    real gr = dt * gs[0], ge = dt * gs[1], gc = dt * gs[2], gg = dt * gs[3];
    real ga = gc * p[PR_BETA] * p[PR_C_DARK] * t.a, gS = gg * t.cyclase, fall = t.b / (1 + t.b), rise = t.dark / (1 + t.dark);
    g[PR_SIGMA] -= gr * s[0];
    g[PR_PHI] -= ge * s[1] + gS / p[PR_PHI];
    g[PR_ETA] += ge + gS / p[PR_ETA];
    g[PR_BETA] += gc * (p[PR_C_DARK] * t.a - s[2]);
    g[PR_N] += ga * t.log_g;
    g[PR_C_DARK] += ga / p[PR_C_DARK] + gS * rise * p[PR_H] / p[PR_C_DARK];
    g[PR_H] += gS * (rise * t.log_dark - fall * t.log_c);
    g[PR_AFFINITY] += gS * (fall - rise) * p[PR_H] / p[PR_AFFINITY];
    g[PR_GAMMA] += gr * per_8ms * x;
    g[PR_G_DARK] += (gS - ga * p[PR_N]) / p[PR_G_DARK];
    *gx += gr * per_8ms * p[PR_GAMMA];
    gs[0] += ge - gr * p[PR_SIGMA];
    gs[1] -= ge * p[PR_PHI] + gg * s[3];
    gs[2] -= gc * p[PR_BETA] + gS * fall * p[PR_H] / s[2];
    gs[3] += ga * p[PR_N] / s[3] - gg * s[1];
}

HD static inline void cell_photoreceptor_end(const real p[], const real s[], real y[])
{
    y[0] = -p[PR_K] / 2 * cell_power(s[3], p[PR_N]);
}

HD static inline void cell_photoreceptor_end_back(const real p[], const real s[], const real gy[], real gs[], real g[])
{
    real log_g = cell_log(s[3]), power = cell_exp(p[PR_N] * log_g);
    g[PR_K] -= gy[0] * power / 2;
    g[PR_N] -= gy[0] * p[PR_K] / 2 * power * log_g;
    gs[3] -= gy[0] * p[PR_K] / 2 * power * p[PR_N] / s[3];
}

/* --- linear-nonlinear-kinetic block: Ozuysal & Baccus, Neuron 73:1002, 2012; x = u, the nonlinearity's output
 * ----------------------------------------- R' = -ka u R + kfr I, A' = ka u R - kfi A, I' = kfi A - (kfr + ksi) I + ksr u J, J' = ksi I - ksr u J. p:
 * ka kfi kfr ksi ksr.  s: R A I J.  y: A. */
HD static inline void cell_kinetics_sub(const real p[], real dt, real x, real s[])
{
    real on = p[0] * x * s[0], fast = p[1] * s[1], back = p[2] * s[2], slow = p[3] * s[2] - p[4] * x * s[3];
    s[0] += dt * (back - on);
    s[1] += dt * (on - fast);
    s[2] += dt * (fast - back - slow);
    s[3] += dt * slow;
}

HD static inline void cell_kinetics_sub_back(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[])
{
    real on = dt * (gs[1] - gs[0]), fast = dt * (gs[2] - gs[1]), back = dt * (gs[0] - gs[2]), slow = dt * (gs[3] - gs[2]); /* by those four flows */
    g[0] += on * x * s[0];
    g[1] += fast * s[1];
    g[2] += back * s[2];
    g[3] += slow * s[2];
    g[4] -= slow * x * s[3];
    *gx += on * p[0] * s[0] - slow * p[4] * s[3];
    gs[0] += on * p[0] * x;
    gs[1] += fast * p[1];
    gs[2] += back * p[2] + slow * p[3];
    gs[3] -= slow * p[4] * x;
}
#endif

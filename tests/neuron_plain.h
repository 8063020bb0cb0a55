/* neuron_plain.h - the plain loop that cells with memory are tested against: one step of one cell as its equations stand in `chiasm help`, over dual
 * numbers, so that derivatives come along. */
#ifndef NEURON_PLAIN_H
#define NEURON_PLAIN_H
#include <math.h>

#include "base/random.h"
#include "compute/backend.h"
#include "test.h"

/* --- dual numbers: a value and its derivative ------------------------------------------------------------------------------ */
typedef struct dual {
    double v, d;
} dual;
static inline dual num(double v)
{
    return (dual){v, 0};
}
static inline dual add(dual a, dual b)
{
    return (dual){a.v + b.v, a.d + b.d};
}
static inline dual sub(dual a, dual b)
{
    return (dual){a.v - b.v, a.d - b.d};
}
static inline dual mul(dual a, dual b)
{
    return (dual){a.v * b.v, a.d * b.v + a.v * b.d};
}
static inline dual over(dual a, dual b)
{
    return (dual){a.v / b.v, (a.d - a.v / b.v * b.d) / b.v};
}
static inline dual times(double k, dual a)
{
    return (dual){k * a.v, k * a.d};
}
static inline dual expo(dual a)
{
    return (dual){exp(a.v), exp(a.v) * a.d};
}
static inline dual expo_less_1(dual a)
{
    return (dual){expm1(a.v), exp(a.v) * a.d};
}
static inline dual power(dual a, dual n)
{
    double y = pow(a.v, n.v);
    return (dual){y, y * (n.v * a.d / a.v + log(a.v) * n.d)};
}
static inline dual root(dual a)
{
    return (dual){sqrt(a.v), a.d / (2 * sqrt(a.v))};
}
static inline dual euler(dual s, double dt, dual slope)
{
    return add(s, times(dt, slope));
}

/* 1 above 0, with the surrogate's derivative. */
static inline dual spike_of(const neuron_desc *d, dual x, bool happens)
{
    double a = fabs(x.v) / (double)d->width, slope = 0;
    slope = d->surrogate == SURROGATE_FAST_SIGMOID ? pow(1 + a, -2) : slope;
    slope = d->surrogate == SURROGATE_TRIANGLE ? fmax(0, 1 - a) : slope;
    slope = d->surrogate == SURROGATE_EXPONENTIAL ? exp(-a) : slope;
    return (dual){happens, slope * x.d};
}

/* --- one step of one cell, as the equations stand in help ------------------------------------------------------------------- */
static inline void izhikevich(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    for (int k = 0; k < d->nsub; k++) {
        dual dv = add(add(times(0.04, mul(s[0], s[0])), mul(p[5], s[0])), add(sub(p[6], s[1]), x));
        dual du = mul(p[0], sub(mul(p[1], s[0]), s[1]));
        s[0] = euler(s[0], (double)d->sub_dt, dv);
        s[1] = euler(s[1], (double)d->sub_dt, du);
    }
    bool fires = s[0].v >= p[4].v;
    y[0] = spike_of(d, sub(s[0], p[4]), fires);
    s[0] = fires ? p[2] : s[0];
    s[1] = fires ? add(s[1], p[3]) : s[1];
    y[1] = s[0];
    y[2] = s[1];
}

static inline void fitzhugh_nagumo(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    for (int k = 0; k < d->nsub; k++) {
        dual dv = sub(sub(add(x, s[0]), times(1.0 / 3, mul(s[0], mul(s[0], s[0])))), s[1]), dw = mul(p[2], sub(sub(s[0], p[0]), mul(p[1], s[1])));
        s[0] = euler(s[0], (double)d->sub_dt, dv);
        s[1] = euler(s[1], (double)d->sub_dt, dw);
    }
    y[0] = s[0];
}

static inline dual gate(dual z, dual alpha, dual beta)
{
    return sub(mul(alpha, sub(num(1), z)), mul(beta, z));
}

static inline dual ramp(double k, double v0, dual v) /* k (v0 - v)/(exp((v0 - v)/10) - 1) */
{
    dual z = sub(num(v0), v);
    return over(times(k, z), expo_less_1(times(0.1, z)));
}

static inline void hodgkin_huxley(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    for (int k = 0; k < d->nsub; k++) {
        dual v = s[0], n2 = mul(s[1], s[1]), m3 = mul(s[2], mul(s[2], s[2]));
        dual current =
            sub(sub(sub(x, mul(p[0], mul(mul(n2, n2), sub(v, p[4])))), mul(p[1], mul(mul(m3, s[3]), sub(v, p[5])))), mul(p[2], sub(v, p[6])));
        dual dn = gate(s[1], ramp(0.01, 10, v), times(0.125, expo(times(-1.0 / 80, v))));
        dual dm = gate(s[2], ramp(0.1, 25, v), times(4, expo(times(-1.0 / 18, v))));
        dual dh = gate(s[3], times(0.07, expo(times(-1.0 / 20, v))), over(num(1), add(expo(times(0.1, sub(num(30), v))), num(1))));
        s[0] = euler(v, (double)d->sub_dt, over(current, p[3]));
        s[1] = euler(s[1], (double)d->sub_dt, dn);
        s[2] = euler(s[2], (double)d->sub_dt, dm);
        s[3] = euler(s[3], (double)d->sub_dt, dh);
    }
    y[0] = s[0];
}

enum { LEAKY, REFRACTORY, GANGLION }; /* forms of lif_euler */

static inline void lif(const neuron_desc *d, const dual p[], uint64_t who, int64_t step, dual x, dual s[], dual y[])
{
    double dt = (double)d->sub_dt;
    random_block b = random_bits(d->random.seed, RANDOM_SPIKE_NOISE, who, (uint64_t)step, 0),
                 r = random_bits(d->random.seed, RANDOM_REFRACTORY, who, (uint64_t)step, 0);
    dual v = euler(s[0], dt, sub(times((double)d->par[2], x), mul(p[0], s[0])));
    v = add(v, times(random_normal(b.v[0], b.v[1]), mul(p[1], root(times(dt, p[0])))));
    double rest = s[1].v - (d->form == GANGLION);
    v = d->form == GANGLION && rest >= 0.5 ? num(0) : v;
    bool fires = v.v > 1;
    y[0] = spike_of(d, sub(v, num(1)), fires);
    if (fires && d->form != LEAKY) {
        rest = ((double)d->par[3] + (double)d->par[4] * random_normal(r.v[0], r.v[1])) * (double)d->par[5];
    }
    rest = fmax(rest, 0) - (d->form == REFRACTORY);
    s[0] = fires || (d->form == REFRACTORY && rest >= 0.5) ? num(0) : v;
    s[1] = num(rest);
}

static inline void event(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    bool log_form = d->form == 1;
    dual a = log_form ? over(x, s[0]) : add(s[0], x), low = log_form ? over(num(1), p[0]) : times(-1, p[0]);
    bool on = a.v > p[0].v, off = a.v < low.v;
    y[0] = spike_of(d, sub(a, p[0]), on);
    y[1] = spike_of(d, sub(low, a), off);
    if (log_form) {
        s[0] = on ? mul(s[0], p[0]) : off ? over(s[0], p[0]) : s[0];
    } else {
        s[0] = on ? sub(a, p[0]) : off ? add(a, p[0]) : a;
    }
}

/* p: sigma phi eta beta k n c_dark h K gamma g_dark */
static inline void photoreceptor(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    for (int k = 0; k < d->nsub; k++) {
        dual dr = sub(times(1 / 0.008, mul(p[9], x)), mul(p[0], s[0])), dp = sub(add(s[0], p[2]), mul(p[1], s[1]));
        dual dc = mul(p[3], sub(mul(p[6], power(over(s[3], p[10]), p[5])), s[2]));
        dual most = mul(mul(over(p[2], p[1]), p[10]), add(num(1), power(over(p[6], p[8]), p[7])));
        dual dg = sub(over(most, add(num(1), power(over(s[2], p[8]), p[7]))), mul(s[1], s[3]));
        s[0] = euler(s[0], (double)d->sub_dt, dr);
        s[1] = euler(s[1], (double)d->sub_dt, dp);
        s[2] = euler(s[2], (double)d->sub_dt, dc);
        s[3] = euler(s[3], (double)d->sub_dt, dg);
    }
    y[0] = times(-0.5, mul(p[4], power(s[3], p[5])));
}

static inline void kinetics(const neuron_desc *d, const dual p[], dual x, dual s[], dual y[])
{
    for (int k = 0; k < d->nsub; k++) {
        dual ka = mul(mul(p[0], x), s[0]), kfi = mul(p[1], s[1]), kfr = mul(p[2], s[2]), ksi = mul(p[3], s[2]), ksr = mul(mul(p[4], x), s[3]);
        s[0] = euler(s[0], (double)d->sub_dt, sub(kfr, ka));
        s[1] = euler(s[1], (double)d->sub_dt, sub(ka, kfi));
        s[2] = euler(s[2], (double)d->sub_dt, sub(add(kfi, ksr), add(kfr, ksi)));
        s[3] = euler(s[3], (double)d->sub_dt, sub(ksi, ksr));
    }
    y[0] = s[1];
}

static inline void plain_step(const neuron_desc *d, const dual p[], uint64_t who, int64_t step, dual x, dual s[], dual y[])
{
    switch (d->kind) {
    case NEURON_IZHIKEVICH:
        izhikevich(d, p, x, s, y);
        break;
    case NEURON_FITZHUGH_NAGUMO:
        fitzhugh_nagumo(d, p, x, s, y);
        break;
    case NEURON_HODGKIN_HUXLEY:
        hodgkin_huxley(d, p, x, s, y);
        break;
    case NEURON_LIF_EULER:
        lif(d, p, who, step, x, s, y);
        break;
    case NEURON_EVENT:
        event(d, p, x, s, y);
        break;
    case NEURON_PHOTORECEPTOR:
        photoreceptor(d, p, x, s, y);
        break;
    case NEURON_KINETICS:
        kinetics(d, p, x, s, y);
        break;
    default:
        CHECK(false);
    }
}
#endif

/* stage_kinetics.c - the kinetics block of the linear-nonlinear-kinetic model: adaptation by depletion. */
#include <math.h>

#include "stages/neuron.h"

enum { KA, KFI, KFR, KSI, KSR, NRATE, RESTING = 0, ACTIVE, FAST, SLOW, NSTATE, REST = 0, ZERO };

typedef struct settings {
    double rate[NRATE];
    int64_t substeps;
    int start;
} settings;

#define RATE(i, name, fallback, help)                                                                                                                \
    {name, KEY_REAL, "Hz", fallback, 1e-6, 1e6, NULL, help, offsetof(settings, rate[i]), 0, 0}
static const key_spec keys[] = {
    RATE(KA, "ka", "40 Hz", "activation by an input of 1"),
    RATE(KFI, "kfi", "50 Hz", "fast inactivation"),
    RATE(KFR, "kfr", "80 Hz", "fast recovery"),
    RATE(KSI, "ksi", "4 Hz", "slow inactivation"),
    RATE(KSR, "ksr", "4 Hz", "slow recovery with an input of 1"),
    {"substeps", KEY_INT, NULL, "1", 1, NEURON_MOST_SUB, NULL, "Euler steps within a step", offsetof(settings, substeps), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "before step 0: steady with the input's rest value, or all resting",
     offsetof(settings, start), 0, 0},
};

/* Steady state: R : A : I : J = kfi kfr ksr : ka u kfr ksr : ka u kfi ksr : ka ksi kfi. */
static double weights(const double k[], double u, double w[])
{
    w[RESTING] = k[KFI] * k[KFR] * k[KSR];
    w[ACTIVE] = k[KA] * u * k[KFR] * k[KSR];
    w[FAST] = k[KA] * u * k[KFI] * k[KSR];
    w[SLOW] = k[KA] * k[KSI] * k[KFI];
    return w[RESTING] + w[ACTIVE] + w[FAST] + w[SLOW];
}

static void rates(const neuron_desc *d, double k[])
{
    for (int i = 0; i < NRATE; i++) {
        k[i] = (double)d->par[i];
    }
}

static void start(void *own, int network, const double rest_in[], double rest[2], double first[])
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    double k[NRATE], w[NSTATE];
    rates(d, k);
    double sum = weights(k, fmax(rest_in[0], 0), w);
    for (int i = 0; i < NSTATE; i++) {
        first[i] = d->form == ZERO ? i == RESTING : w[i] / sum;
    }
    rest[0] = first[ACTIVE];
}

static void start_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    double k[NRATE], w[NSTATE], g[NSTATE], u = fmax(rest_in[0], 0), mean = 0;
    if (d->form == ZERO) {
        return;
    }
    rates(d, k);
    double sum = weights(k, u, w);
    for (int i = 0; i < NSTATE; i++) {
        g[i] = g_start[i] + (i == ACTIVE ? g_rest[0] : 0);
        mean += g[i] * w[i] / sum;
    }
    for (int i = 0; i < NSTATE; i++) {
        g[i] = (g[i] - mean) / sum;
    }
    double by_active = g[ACTIVE] * k[KFR] * k[KSR], by_fast = g[FAST] * k[KFI] * k[KSR];
    g_value[KA] += (by_active + by_fast) * u + g[SLOW] * k[KSI] * k[KFI];
    g_value[KFI] += g[RESTING] * k[KFR] * k[KSR] + g[FAST] * k[KA] * u * k[KSR] + g[SLOW] * k[KA] * k[KSI];
    g_value[KFR] += g[RESTING] * k[KFI] * k[KSR] + g[ACTIVE] * k[KA] * u * k[KSR];
    g_value[KSI] += g[SLOW] * k[KA] * k[KFI];
    g_value[KSR] += g[RESTING] * k[KFI] * k[KFR] + (g[ACTIVE] * k[KFR] + g[FAST] * k[KFI]) * k[KA] * u;
    g_rest_in[0] += rest_in[0] > 0 ? (by_active + by_fast) * k[KA] : 0;
}

static void *kinetics_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    static const char *const state[] = {"resting", "active", "fast inactivated", "slow inactivated"};
    const settings *s = s_;
    double first[NSTATE], rest[2] = {0, 0};
    (void)at;
    neuron_desc d = {.kind = NEURON_KINETICS, .form = s->start, .nsub = (int)s->substeps, .sub_dt = (real)(w->step_s / (double)s->substeps)};
    neuron *o = neuron_plan(w, &in[0], &d, s->rate, keys, NRATE, plan);
    start(o, 0, &in[0].rest, rest, first);
    plan->unit = "1";
    plan->rest = rest[0];
    plan->wants_rest = s->start == REST;
    plan->flop = 20.0 * (double)s->substeps;
    for (int i = 0; i < NSTATE; i++) {
        neuron_add_state(&in[0], state[i], "1", first[i], plan);
    }
    return o;
}

const stage_type stage_kinetics = {
    .name = "kinetics",
    .help = "four-state kinetics of the linear-nonlinear-kinetic (LNK) model",
    .text =
        "  A fraction of 1 is resting (R), active (A), inactivated (I) or slowly inactivated (J); u >= 0 is the input, as a nonlinearity makes it:\n"
        "  R' = -ka u R + kfr I,  A' = ka u R - kfi A,  I' = kfi A - (kfr + ksi) I + ksr u J,  J' = ksi I - ksr u J;  output A.\n"
        "  Forward Euler: no rate times u may come near 1/dt.  Ozuysal & Baccus, Neuron 73:1002, 2012.",
    STAGE_KEYS(settings, keys),
    .plan = kinetics_plan,
    .start = start,
    .start_back = start_back,
    NEURON_STAGE,
};

/* stage_izhikevich.c - the simple model of spiking neurons, with its named behaviours. */
#include <stdio.h>

#include "compute/cellmath_neuron.h"
#include "stages/neuron.h"

enum { NPAR = 7 };

/* a, b, c, d, k, j: Izhikevich, IEEE Trans. Neural Netw. 15:1063, 2004, fig. 1, and the script that draws it. */
#define PRESETS                                                                                                                                      \
    "tonic_spiking|phasic_spiking|tonic_bursting|phasic_bursting|mixed_mode|frequency_adaptation|class_1|class_2|spike_latency|"                     \
    "subthreshold_oscillations|resonator|integrator|rebound_spike|rebound_burst|threshold_variability|bistability|afterpotential|accommodation|"     \
    "inhibition_induced_spiking|inhibition_induced_bursting"
static const double preset[][6] = {
    {0.02, 0.2, -65, 6, 5, 140},  {0.02, 0.25, -65, 6, 5, 140}, {0.02, 0.2, -50, 2, 5, 140},    {0.02, 0.25, -55, 0.05, 5, 140},
    {0.02, 0.2, -55, 4, 5, 140},  {0.01, 0.2, -65, 8, 5, 140},  {0.02, -0.1, -55, 6, 4.1, 108}, {0.2, 0.26, -65, 0, 5, 140},
    {0.02, 0.2, -65, 6, 5, 140},  {0.05, 0.26, -60, 0, 5, 140}, {0.1, 0.26, -60, -1, 5, 140},   {0.02, -0.1, -55, 6, 4.1, 108},
    {0.03, 0.25, -60, 4, 5, 140}, {0.03, 0.25, -52, 0, 5, 140}, {0.03, 0.25, -60, 4, 5, 140},   {0.1, 0.26, -60, 0, 5, 140},
    {1, 0.2, -60, -21, 5, 140},   {0.02, 1, -55, 4, 5, 140},    {-0.02, -1, -60, 8, 5, 140},    {-0.026, -1, -45, -2, 5, 140},
};
enum { NPRESET = sizeof preset / sizeof preset[0] };

typedef struct settings {
    int preset, output, surrogate, ngiven[NPAR];
    double given[NPAR][1], width;
    int64_t substeps;
} settings;

#define GIVEN(i, name, help)                                                                                                                         \
    {name, KEY_REALS, "", "", -1e6, 1e6, NULL, help, offsetof(settings, given[i]), offsetof(settings, ngiven[i]), 1}
static const key_spec keys[] = {
    {"preset", KEY_WORD, NULL, "tonic_spiking", 0, 0, PRESETS, "behaviour that a, b, c, d, linear and constant give", offsetof(settings, preset), 0,
     0},
    GIVEN(0, "a", "rate of u, per ms (none: of the preset)"),
    GIVEN(1, "b", "how far u follows v"),
    GIVEN(2, "c", "v after a spike"),
    GIVEN(3, "d", "added to u by a spike"),
    GIVEN(4, "threshold", "v of a spike (none: 30)"),
    GIVEN(5, "linear", "k of v' (4.1 for class_1 and integrator, else 5)"),
    GIVEN(6, "constant", "j of v' (108 for class_1 and integrator, else 140)"),
    {"output", KEY_WORD, NULL, "spikes", 0, 0, "spikes|v|u|all", "all: three channels, spikes, v and u (maps only)", offsetof(settings, output), 0,
     0},
    {"substeps", KEY_INT, NULL, "2", 1, NEURON_MOST_SUB, NULL, "Euler steps within a step", offsetof(settings, substeps), 0, 0},
    NEURON_SURROGATE_KEYS(settings, "", "10"),
};

static void *izhikevich_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    const double *of = preset[s->preset];
    double value[NPAR] = {of[0], of[1], of[2], of[3], 30, of[4], of[5]};
    for (int k = 0; k < NPAR; k++) {
        value[k] = s->ngiven[k] > 0 ? s->given[k][0] : value[k];
    }
    if (s->output == IZHIKEVICH_ALL && in[0].cells) {
        input_problem(w->in, at, "output: all: a population has one value a cell; spikes, v and u are possible");
    }
    neuron_desc d = {.kind = NEURON_IZHIKEVICH,
                     .form = s->output,
                     .nsub = (int)s->substeps,
                     .sub_dt = (real)(1000 * w->step_s / (double)s->substeps),
                     .surrogate = (enum surrogate)s->surrogate,
                     .width = (real)s->width};
    neuron *o = neuron_plan(w, &in[0], &d, value, keys + 1, 0, plan);
    plan->nchan = s->output == IZHIKEVICH_ALL && in[0].cells ? in[0].nchan : plan->nchan;
    plan->unit = s->output == IZHIKEVICH_V ? "mV" : s->output == IZHIKEVICH_U || s->output == IZHIKEVICH_ALL ? "1" : "spikes";
    plan->rest = s->output == IZHIKEVICH_V ? value[2] : s->output == IZHIKEVICH_U ? value[1] * value[2] : 0;
    plan->rest_varies = s->output == IZHIKEVICH_ALL;
    plan->spikes = in[0].cells && s->output == IZHIKEVICH_SPIKES;
    plan->flop = 12.0 * (double)s->substeps + 4;
    neuron_add_state(&in[0], "v", "mV", value[2], plan);
    neuron_add_state(&in[0], "u", "1", value[1] * value[2], plan);
    snprintf(plan->note, sizeof plan->note, "a %g, b %g, c %g, d %g", value[0], value[1], value[2], value[3]);
    return o;
}

/* v = c and u = b c before step 0. */
static void start(void *own, int network, const double rest_in[], double rest[2], double first[])
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    (void)rest_in;
    first[0] = (double)d->par[2];
    first[1] = (double)d->par[1] * (double)d->par[2];
    rest[0] = d->form == IZHIKEVICH_V ? first[0] : d->form == IZHIKEVICH_U ? first[1] : 0;
}

static void start_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    double gv = g_start[0] + (d->form == IZHIKEVICH_V ? g_rest[0] : 0), gu = g_start[1] + (d->form == IZHIKEVICH_U ? g_rest[0] : 0);
    (void)rest_in;
    (void)g_rest_in;
    g_value[1] += gu * (double)d->par[2];
    g_value[2] += gv + gu * (double)d->par[1];
}

const stage_type stage_izhikevich = {
    .name = "izhikevich",
    .help = "Izhikevich's simple model of spiking neurons, 20 named behaviours",
    .text =
        "  v' = 0.04 v^2 + linear v + constant - u + I,  u' = a (b v - u), time in ms;  v >= threshold: a spike, v = c, u = u + d, looked at once a "
        "step.\n"
        "  Izhikevich, IEEE Trans. Neural Netw. 14:1569, 2003 and 15:1063, 2004 (the presets are its figure 1, A to T).  Starts at v = c, u = b c.\n"
        "  (His script has u' = a b (v + 65) for accommodation; here it is as the others.)\n"
        "  As Convis 0.6.4.2, but every pixel gets its own increment of u (Convis takes that of the k-th pixel for the k-th that spikes); for "
        "bistability\n"
        "  and inhibition_induced_bursting Convis has other numbers, and it has linear 5, constant 140 for all.\n"
        "  Convis takes every frame for 1 ms, whatever its resolution: run.step: 1 ms has its numbers.\n"
        "  Currents to try: 14 tonic_spiking, 0.5 phasic_spiking, 15 tonic_bursting, 0.6 phasic_bursting, 10 mixed_mode, 30 frequency_adaptation,\n"
        "  7 spike_latency, 80 then 75 inhibition_induced." NEURON_SURROGATE_TEXT,
    STAGE_KEYS(settings, keys),
    .plan = izhikevich_plan,
    .start = start,
    .start_back = start_back,
    NEURON_STAGE,
};
_Static_assert(NPRESET == 20, "as many as words");

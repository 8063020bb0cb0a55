/* stage_excitable.c - membranes that make their own action potentials: FitzHugh-Nagumo and Hodgkin-Huxley. */
#include "compute/cellmath_neuron.h"
#include "stages/neuron.h"

static neuron_desc euler(const stage_world *w, enum cell_neuron kind, int64_t substeps)
{
    return (neuron_desc){.kind = kind, .nsub = (int)substeps, .sub_dt = (real)(1000 * w->step_s / (double)substeps)};
}

/* --- FitzHugh-Nagumo ------------------------------------------------------------------------------------------------------ */
typedef struct fitzhugh_nagumo_settings {
    double value[3];
    int64_t substeps;
} fitzhugh_nagumo_settings;

static const key_spec fitzhugh_nagumo_keys[] = {
    {"a", KEY_REAL, "", "0.7", -1e6, 1e6, NULL, "offset of w", offsetof(fitzhugh_nagumo_settings, value[0]), 0, 0},
    {"b", KEY_REAL, "", "0.8", -1e6, 1e6, NULL, "decay of w", offsetof(fitzhugh_nagumo_settings, value[1]), 0, 0},
    {"rate", KEY_REAL, "", "0.08", -1e6, 1e6, NULL, "of w, beside that of v (tau of Convis)", offsetof(fitzhugh_nagumo_settings, value[2]), 0, 0},
    {"substeps", KEY_INT, NULL, "10", 1, NEURON_MOST_SUB, NULL, "Euler steps within a step", offsetof(fitzhugh_nagumo_settings, substeps), 0, 0},
};

static void *fitzhugh_nagumo_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const fitzhugh_nagumo_settings *s = s_;
    neuron_desc d = euler(w, NEURON_FITZHUGH_NAGUMO, s->substeps);
    (void)at;
    neuron *o = neuron_plan(w, &in[0], &d, s->value, fitzhugh_nagumo_keys, 0, plan);
    plan->unit = "1";
    plan->flop = 14.0 * (double)s->substeps;
    neuron_add_state(&in[0], "v", "1", 0, plan);
    neuron_add_state(&in[0], "w", "1", 0, plan);
    return o;
}

const stage_type stage_fitzhugh_nagumo = {
    .name = "fitzhugh_nagumo",
    .help = "FitzHugh-Nagumo oscillator on every pixel or cell",
    .text = "  v' = v - v^3/3 - w + I,  w' = rate (v - a - b w), time in ms; output v.  Starts at v = w = 0.  FitzHugh, Biophys. J. 1:445, 1961, "
            "with the signs\n"
            "  of Convis 0.6.4.2 (the textbook's v + a is a: -0.7), without its noise.\n"
            "  Convis takes every frame for 1 ms, whatever its resolution: run.step: 1 ms has its numbers.",
    STAGE_KEYS(fitzhugh_nagumo_settings, fitzhugh_nagumo_keys),
    .plan = fitzhugh_nagumo_plan,
    NEURON_STAGE,
};

/* --- Hodgkin-Huxley --------------------------------------------------------------------------------------------------------- */
enum { CLOSED, STEADY, NPOSITIVE = 4 /* conductances and capacitance */ };

typedef struct hodgkin_huxley_settings {
    double value[7];
    int64_t substeps;
    int start;
} hodgkin_huxley_settings;

#define CHANNEL(i, name, fallback, low, help)                                                                                                        \
    {name, KEY_REAL, "", fallback, low, 1e6, NULL, help, offsetof(hodgkin_huxley_settings, value[i]), 0, 0}
static const key_spec hodgkin_huxley_keys[] = {
    CHANNEL(0, "potassium", "36", 0, "gK: greatest conductance, mS/cm2"),
    CHANNEL(1, "sodium", "120", 0, "gNa: greatest conductance, mS/cm2"),
    CHANNEL(2, "leak", "0.3", 0, "gL: leak conductance, mS/cm2"),
    CHANNEL(3, "capacitance", "1", 1e-6, "C: of the membrane, uF/cm2"),
    CHANNEL(4, "potassium_reversal", "-12", -1e6, "VK: mV from rest"),
    CHANNEL(5, "sodium_reversal", "115", -1e6, "VNa: mV from rest"),
    CHANNEL(6, "leak_reversal", "10.613", -1e6, "VL: mV from rest"),
    {"start", KEY_WORD, NULL, "steady", 0, 0, "closed|steady", "gates at step 0, at v = 0: all closed (as Convis), or steady",
     offsetof(hodgkin_huxley_settings, start), 0, 0},
    {"substeps", KEY_INT, NULL, "20", 1, NEURON_MOST_SUB, NULL, "Euler steps within a step; about 0.05 ms each are wanted",
     offsetof(hodgkin_huxley_settings, substeps), 0, 0},
};

static void *hodgkin_huxley_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const hodgkin_huxley_settings *s = s_;
    neuron_desc d = euler(w, NEURON_HODGKIN_HUXLEY, s->substeps);
    hodgkin_huxley_rates r = cell_hodgkin_huxley_rates(0);
    double open = s->start == STEADY ? 1 : 0;
    (void)at;
    neuron *o = neuron_plan(w, &in[0], &d, s->value, hodgkin_huxley_keys, NPOSITIVE, plan);
    plan->unit = "mV";
    plan->flop = 120.0 * (double)s->substeps;
    neuron_add_state(&in[0], "v", "mV", 0, plan);
    neuron_add_state(&in[0], "n", "1", open * (double)(r.an / (r.an + r.bn)), plan);
    neuron_add_state(&in[0], "m", "1", open * (double)(r.am / (r.am + r.bm)), plan);
    neuron_add_state(&in[0], "h", "1", open * (double)(r.ah / (r.ah + r.bh)), plan);
    return o;
}

const stage_type stage_hodgkin_huxley = {
    .name = "hodgkin_huxley",
    .help = "membrane of the squid's giant axon on every pixel or cell",
    .text = "  C v' = I - gK n^4 (v - VK) - gNa m^3 h (v - VNa) - gL (v - VL), time in ms, v in mV from rest, I in uA/cm2; output v.\n"
            "  z' = a_z (1 - z) - b_z z:  a_n = 0.01 (10-v)/(exp((10-v)/10) - 1), b_n = 0.125 exp(-v/80),  a_m = 0.1 (25-v)/(exp((25-v)/10) - 1),\n"
            "  b_m = 4 exp(-v/18),  a_h = 0.07 exp(-v/20), b_h = 1/(exp((30-v)/10) + 1).  Hodgkin & Huxley, J. Physiol. 117:500, 1952.\n"
            "  As Convis 0.6.4.2 without its noise, and finite at v = 10 and 25 mV.\n"
            "  Convis takes every frame for 1 ms, whatever its resolution: run.step: 1 ms has its numbers.",
    STAGE_KEYS(hodgkin_huxley_settings, hodgkin_huxley_keys),
    .plan = hodgkin_huxley_plan,
    NEURON_STAGE,
};

/* preset_convis.c - the chain of the program Convis (0.6.4.2), with its switches and defaults.
 * J. Huth, T. Masquelier, A. Arleo, Front. Neuroinform. 12:9 (2018). */
#include "base/units.h"
#include "model/preset_own.h"
#include <stdio.h>

/* Convis' chain and its defaults; the numbers of its configuration "human.parvo". */
typedef struct convis_settings {
    bool opl, bipolar, gang, spikes;
    double center_sigma_deg, surround_sigma_deg, center_tau_s, surround_tau_s, undershoot_tau_s, undershoot_weight, opl_gain, surround_weight;
    double bipolar_gain_hz, leak_hz, feedback_hz, adaptation_sigma_deg;
    double transient_tau_s, transient_weight, threshold, value_hz, slope_hz, pool_sigma_deg;
    double spike_leak_hz, noise_v, refractory_s, refractory_sd_s, start_v;
} convis_settings;

#define CONVIS(name_, kind_, unit_, fallback_, high_, field, help_)                                                                                  \
    {                                                                                                                                                \
        .name = name_, .kind = kind_, .unit = unit_, .fallback = fallback_, .min = 0, .max = high_, .help = help_,                                   \
        .offset = offsetof(convis_settings, field)                                                                                                   \
    }
static const key_spec convis_keys[] = {
    CONVIS("opl", KEY_FLAG, "", "true", 0, opl, "outer plexiform layer"),
    CONVIS("bipolar", KEY_FLAG, "", "true", 0, bipolar, "contrast gain control, as Convis computes it"),
    CONVIS("gang", KEY_FLAG, "", "true", 0, gang, "ganglion input: transient, rectification, pooling"),
    CONVIS("spikes", KEY_FLAG, "", "true", 0, spikes, "integrate-and-fire on every pixel"),
    CONVIS("center_sigma", KEY_REAL, "deg", "0.05 deg", 90, center_sigma_deg, "centre"),
    CONVIS("surround_sigma", KEY_REAL, "deg", "0.15 deg", 90, surround_sigma_deg, "surround, on top of the centre's"),
    CONVIS("center_tau", KEY_REAL, "s", "10 ms", 100, center_tau_s, "centre"),
    CONVIS("surround_tau", KEY_REAL, "s", "4 ms", 100, surround_tau_s, "surround"),
    CONVIS("undershoot_tau", KEY_REAL, "s", "100 ms", 100, undershoot_tau_s, "adaptation of the receptors"),
    CONVIS("undershoot_weight", KEY_REAL, "", "0.8", 10, undershoot_weight, "0: none"),
    CONVIS("opl_gain", KEY_REAL, "", "10", 1e6, opl_gain, "lambda_OPL; luminance is in [0, 1]"),
    CONVIS("surround_weight", KEY_REAL, "", "1", 10, surround_weight, "w_OPL"),
    CONVIS("bipolar_gain", KEY_REAL, "Hz", "50 Hz", 1e6, bipolar_gain_hz, "current per OPL output"),
    CONVIS("leak", KEY_REAL, "Hz", "50 Hz", 1e6, leak_hz, "of the bipolar cells"),
    CONVIS("feedback", KEY_REAL, "Hz", "0 Hz", 1e6, feedback_hz, "lambda of the adaptation"),
    CONVIS("adaptation_sigma", KEY_REAL, "deg", "0.2 deg", 90, adaptation_sigma_deg, "of the adaptation"),
    CONVIS("transient_tau", KEY_REAL, "s", "20 ms", 100, transient_tau_s, "of the ganglion input"),
    CONVIS("transient_weight", KEY_REAL, "", "0.7", 10, transient_weight, "of the ganglion input"),
    CONVIS("threshold", KEY_REAL, "", "0", 0, threshold, "v0"),
    CONVIS("value", KEY_REAL, "Hz", "37 Hz", 1e6, value_hz, "i0, at v0"),
    CONVIS("slope", KEY_REAL, "Hz", "100 Hz", 1e6, slope_hz, "lambda, above v0"),
    CONVIS("pool_sigma", KEY_REAL, "deg", "0 deg", 90, pool_sigma_deg, "0: none; the map keeps its size, Convis' shrinks"),
    CONVIS("spike_leak", KEY_REAL, "Hz", "50 Hz", 1e6, spike_leak_hz, "g_L"),
    CONVIS("noise", KEY_REAL, "", "0.1", 10, noise_v, "sigma_V, as Convis scales it"),
    CONVIS("refractory", KEY_REAL, "s", "3 ms", 10, refractory_s, "mean"),
    CONVIS("refractory_sd", KEY_REAL, "s", "0 s", 10, refractory_sd_s, "s.d."),
    CONVIS("start_v", KEY_REAL, "", "0.6", 1, start_v, "V before step 0; Convis draws it from 0.5 to 0.7"),
};

static void convis_filter(preset_text *t, const char *name, const char *type, const char *from, const char *form, double tau_s, const char *key,
                          double value)
{
    preset_begin(t, name, type, from, 0);
    preset_word(t, "form", form);
    preset_number(t, "tau", tau_s, "s");
    preset_number(t, key, value, "");
    preset_word(t, "start", "zero");
    preset_end(t);
}

static void convis_blur(preset_text *t, const char *name, const char *from, double sigma_deg)
{
    preset_begin(t, name, "blur", from, 0);
    preset_number(t, "sigma", sigma_deg, "deg");
    preset_word(t, "method", "convis");
    preset_end(t);
}

static void convis_ganglion(preset_text *t, const convis_settings *c, int k, const char *from)
{
    char transient[32], rate[32], pooled[32], spikes[32];
    snprintf(transient, sizeof transient, "ganglion_%d_transient", k);
    snprintf(rate, sizeof rate, c->pool_sigma_deg > 0 ? "ganglion_%d_rate" : "ganglion_%d", k);
    snprintf(pooled, sizeof pooled, "ganglion_%d", k);
    snprintf(spikes, sizeof spikes, "spikes_%d", k);
    if (c->gang) {
        retina_ganglion g = {.sign = k ? -1 : 1, .threshold = c->threshold, .value_hz = c->value_hz, .slope_hz = c->slope_hz};
        convis_filter(t, transient, "highpass", from, "fir", c->transient_tau_s, "weight", c->transient_weight);
        preset_rectify(t, &g, rate, "convis", transient, 0);
        preset_end(t);
        if (c->pool_sigma_deg > 0) {
            convis_blur(t, pooled, rate, c->pool_sigma_deg);
        }
        from = pooled;
    }
    if (c->spikes) {
        preset_begin(t, spikes, "pixel_lif", from, 0);
        preset_number(t, "leak", c->spike_leak_hz, "Hz");
        preset_number(t, "noise", c->noise_v, "");
        preset_number(t, "refractory", c->refractory_s, "s");
        preset_number(t, "refractory_sd", c->refractory_sd_s, "s");
        preset_number(t, "start_v", c->start_v, "");
        preset_end(t);
    }
}

static void convis_stages(preset_text *t, const convis_settings *c)
{
    const char *from = "stimulus";
    if (c->opl) {
        convis_blur(t, "receptor_blur", from, c->center_sigma_deg);
        convis_filter(t, "receptor_lowpass", "lowpass", "receptor_blur", "convis", c->center_tau_s, "gain", c->opl_gain);
        convis_filter(t, "receptor", "highpass", "receptor_lowpass", "convis", c->undershoot_tau_s, "weight", c->undershoot_weight);
        convis_blur(t, "surround_blur", "receptor", c->surround_sigma_deg);
        convis_filter(t, "surround", "lowpass", "surround_blur", "convis", c->surround_tau_s, "gain", 1);
        char w[64];
        units_write(-c->surround_weight, "", w, sizeof w);
        preset_say(t, "- {name: opl, type: sum, inputs: [receptor, surround], weights: [1, %s]}\n", w);
        from = "opl";
    }
    if (c->bipolar) {
        preset_begin(t, "bipolar", "gain_control", from, 0);
        preset_number(t, "gain", c->bipolar_gain_hz, "Hz");
        preset_number(t, "leak", c->leak_hz, "Hz");
        preset_number(t, "feedback", c->feedback_hz, "Hz");
        preset_number(t, "tau", 5, "s"); /* whatever its configuration says: computed once from a default of 5 (Convis 0.6.4.2) */
        preset_word(t, "form", "convis");
        preset_number(t, "sigma", c->adaptation_sigma_deg, "deg");
        preset_word(t, "method", "convis");
        preset_end(t);
        from = "bipolar";
    }
    for (int k = 0; k < 2; k++) {
        convis_ganglion(t, c, k, from);
    }
}

void preset_convis(input *in, const input_node *settings, preset_text *t)
{
    convis_settings c;
    INPUT_FILL(in, settings, "model: convis", convis_keys, &c);
    if (!c.opl && !c.bipolar && !c.gang && !c.spikes) {
        input_problem(in, settings, "model: convis: everything is switched off; one of opl, bipolar, gang, spikes is wanted");
    }
    convis_stages(t, &c);
}

const help_topic preset_convis_topic = {"convis", "settings of preset convis (model: convis: ...)",
                                        "The chain of the program Convis with its defaults (human parvo cells) and its peculiarities.\n", convis_keys,
                                        sizeof convis_keys / sizeof convis_keys[0]};

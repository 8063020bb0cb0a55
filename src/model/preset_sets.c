/* preset_sets.c - published parameter sets (Convis 0.6.4.2 and Wohrer & Kornprobst 2009).
 * A. Wohrer, P. Kornprobst, J. Comput. Neurosci. 26:219 (2009), and the example files of their program. */
#include "model/preset_own.h"

enum { BASE_LAYERS = 2 };

/* An On and an Off layer alike. */
static void add_pair(retina_xml *x, retina_ganglion layer, const char *on, const char *off)
{
    for (int k = 0; k < BASE_LAYERS; k++) {
        layer.sign = k ? -1 : 1;
        layer.label = k ? off : on;
        x->layer[x->nlayer++] = layer;
    }
}

/* What the published table leaves open is taken from the example file of the species. */
static retina_xml cat(bool y)
{
    retina_xml x = {.step_s = 0.005,
                    .luminosity_range = 255,
                    .pixels_per_deg = 2,
                    .center_sigma_deg = 0.5,
                    .surround_sigma_deg = 1.5,
                    .center_tau_s = 0.01,
                    .surround_tau_s = 0.01,
                    .opl_gain = 10,
                    .surround_weight = 1,
                    .leaky_heat = true,
                    .undershoot = true,
                    .undershoot_weight = 0.5,
                    .undershoot_tau_s = 0.2,
                    .gain_control = true,
                    .bipolar_gain_hz = 150,
                    .leak_hz = 5,
                    .feedback_hz = 100,
                    .adaptation_sigma_deg = 1.5,
                    .adaptation_tau_s = 0.01};
    retina_ganglion layer = {.transient_tau_s = 0.03,
                             .transient_weight = y ? 1 : 0.7,
                             .value_hz = 80,
                             .slope_hz = y ? 400 : 100,
                             .pool_sigma_deg = y ? 1.5 : 0,
                             .cells = {.mosaic = RETINA_HEXAGONAL,
                                       .density_per_deg = 1,
                                       .leak_hz = 50,
                                       .noise_v = 0.1,
                                       .refractory_s = 0.003,
                                       .refractory_sd_s = 0.001,
                                       .random_start = true}};
    add_pair(&x, layer, y ? "cat Y On" : "cat X On", y ? "cat Y Off" : "cat X Off");
    return x;
}

static retina_xml primate(bool midget)
{
    retina_xml x = {.step_s = 0.005,
                    .luminosity_range = 255,
                    .pixels_per_deg = 20,
                    .log_polar = true,
                    .fovea_radius_deg = 1,
                    .scaling_per_deg = 1,
                    .center_sigma_deg = 0.05,
                    .surround_sigma_deg = 0.15,
                    .center_tau_s = 0.01,
                    .surround_tau_s = 0.01,
                    .opl_gain = 10,
                    .surround_weight = 1,
                    .leaky_heat = true,
                    .gain_control = true,
                    .adaptation_sigma_deg = 0.15,
                    .adaptation_tau_s = 0.01};
    /* Midget cells: no feedback; a current that drives 50 Hz of leak with gain 1. */
    x.bipolar_gain_hz = midget ? 50 : 150;
    x.leak_hz = midget ? 50 : 5;
    x.feedback_hz = midget ? 0 : 100;
    retina_ganglion layer = {
        .transient_tau_s = 0.03,
        .transient_weight = midget ? 0.7 : 1,
        .value_hz = 80,
        .slope_hz = midget ? 100 : 400,
        .pool_sigma_deg = midget ? 0 : 0.1,
        .cells = {.mosaic = RETINA_CIRCULAR, .density_per_deg = midget ? 20 : 15, .leak_hz = 50, .refractory_s = 0.003, .random_start = true}};
    add_pair(&x, layer, midget ? "midget On" : "parasol On", midget ? "midget Off" : "parasol Off");
    return x;
}

static retina_xml human(void)
{
    retina_xml x = {.step_s = 0.001,
                    .luminosity_range = 255,
                    .pixels_per_deg = 10,
                    .center_sigma_deg = 0.05,
                    .surround_sigma_deg = 0.15,
                    .center_tau_s = 0.01,
                    .surround_tau_s = 0.004,
                    .opl_gain = 10,
                    .surround_weight = 1,
                    .leaky_heat = true,
                    .undershoot = true,
                    .undershoot_weight = 0.8,
                    .undershoot_tau_s = 0.1,
                    .gain_control = true,
                    .bipolar_gain_hz = 50,
                    .leak_hz = 50,
                    .adaptation_sigma_deg = 0.2,
                    .adaptation_tau_s = 0.005};
    retina_ganglion parvo = {.transient_tau_s = 0.02,
                             .transient_weight = 0.7,
                             .value_hz = 37,
                             .slope_hz = 100,
                             .cells = {.mosaic = RETINA_SQUARE, .density_per_deg = 20, .leak_hz = 50, .noise_v = 0.1, .refractory_s = 0.003}};
    retina_ganglion magno = {.transient_tau_s = 0.03,
                             .transient_weight = 1,
                             .value_hz = 80,
                             .slope_hz = 400,
                             .pool_sigma_deg = 0.1,
                             .cells = {.mosaic = RETINA_CIRCULAR, .density_per_deg = 15, .leak_hz = 50, .refractory_s = 0.003, .random_start = true}};
    add_pair(&x, parvo, "parvo On", "parvo Off");
    add_pair(&x, magno, "magno On", "magno Off");
    return x;
}

retina_xml preset_set(enum preset_kind kind)
{
    switch (kind) {
    case PRESET_CAT_X:
        return cat(false);
    case PRESET_CAT_Y:
        return cat(true);
    case PRESET_PRIMATE_PARASOL:
        return primate(false);
    case PRESET_PRIMATE_MIDGET:
        return primate(true);
    default:
        return human();
    }
}

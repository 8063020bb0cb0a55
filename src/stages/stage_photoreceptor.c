/* stage_photoreceptor.c - phototransduction: light to current, adapting by calcium. */
#include <math.h>
#include <stdio.h>

#include "compute/cellmath_neuron.h"
#include "stages/neuron.h"

enum { CONE, ROD, REST = 0, ZERO };

/* Idrees et al. 2024 */
static const double receptor[][PR_COUNT] = {
    {22, 22, 2000, 9, 0.01, 3, 1, 4, 0.5, 10, 35},
    {7.07, 7.07, 2.53, 25, 0.01, 3, 1, 4, 0.5, 10, 15.5},
};

typedef struct settings {
    int receptor, start, ngiven[PR_COUNT];
    double given[PR_COUNT][1];
    int64_t substeps;
} settings;

#define GIVEN(i, name, unit, low, high, help)                                                                                                        \
    {name, KEY_REALS, unit, "", low, high, NULL, help, offsetof(settings, given[i]), offsetof(settings, ngiven[i]), 1}
static const key_spec keys[] = {
    {"receptor", KEY_WORD, NULL, "cone", 0, 0, "cone|rod", "what the other keys are where they are not given (Idrees et al. 2024)",
     offsetof(settings, receptor), 0, 0},
    GIVEN(PR_SIGMA, "sigma", "Hz", 1e-6, 1e6, "decay of the opsin (cone 22, rod 7.07 Hz)"),
    GIVEN(PR_PHI, "phi", "Hz", 1e-6, 1e6, "decay of the phosphodiesterase (22, 7.07 Hz)"),
    GIVEN(PR_ETA, "eta", "Hz", 1e-6, 1e9, "its activation in the dark (2000, 2.53 Hz)"),
    GIVEN(PR_BETA, "beta", "Hz", 1e-6, 1e6, "extrusion of calcium (9, 25 Hz)"),
    GIVEN(PR_K, "k", "", 1e-9, 1e6, "current from cGMP, I = k/2 g^n (0.01)"),
    GIVEN(PR_N, "n", "", 1e-3, 100, "its exponent (3)"),
    GIVEN(PR_C_DARK, "c_dark", "", 1e-6, 1e6, "calcium in the dark (1)"),
    GIVEN(PR_H, "h", "", 1e-3, 100, "exponent of calcium on the cyclase (4)"),
    GIVEN(PR_AFFINITY, "affinity", "", 1e-6, 1e6, "K: calcium that halves the cyclase (0.5)"),
    GIVEN(PR_GAMMA, "gamma", "", 1e-9, 1e9, "opsin that light of 1 activates in 8 ms (10)"),
    GIVEN(PR_G_DARK, "g_dark", "", 1e-6, 1e6, "cGMP in the dark (35, 15.5)"),
    {"substeps", KEY_INT, NULL, "1", 1, NEURON_MOST_SUB, NULL, "Euler steps within a step", offsetof(settings, substeps), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "before step 0: adapted to the input's rest value, or to darkness",
     offsetof(settings, start), 0, 0},
};

/* --- steady state in light x: p g (1 + T) = eta/phi g_dark (1 + D), T = D (g/g_dark)^(n h), D = (c_dark/K)^h; p as the light makes it ---------- */
typedef struct steady {
    double r, p, c, g, dark, ratio, t; /* ratio: (g/g_dark)^n */
} steady;

static steady settle(const neuron_desc *d, double x)
{
    double v[PR_COUNT];
    for (int k = 0; k < PR_COUNT; k++) {
        v[k] = (double)d->par[k];
    }
    steady s;
    s.r = 125 * v[PR_GAMMA] * x / v[PR_SIGMA];
    s.p = (s.r + v[PR_ETA]) / v[PR_PHI];
    s.dark = pow(v[PR_C_DARK] / v[PR_AFFINITY], v[PR_H]);
    double most = v[PR_ETA] / v[PR_PHI] * v[PR_G_DARK] * (1 + s.dark), power = v[PR_N] * v[PR_H];
    s.g = most / s.p;
    for (int i = 0; i < 200; i++) { /* Newton from above: the function is convex and rises */
        s.t = s.dark * pow(s.g / v[PR_G_DARK], power);
        double step = (s.p * s.g * (1 + s.t) - most) / (s.p * (1 + s.t * (1 + power)));
        s.g -= step;
        if (fabs(step) <= 1e-15 * s.g) {
            break;
        }
    }
    s.t = s.dark * pow(s.g / v[PR_G_DARK], power);
    s.ratio = pow(s.g / v[PR_G_DARK], v[PR_N]);
    s.c = v[PR_C_DARK] * s.ratio;
    return s;
}

static double light_before(const neuron_desc *d, const double rest_in[])
{
    return d->form == ZERO ? 0 : fmax(rest_in[0], 0);
}

static void start(void *own, int network, const double rest_in[], double rest[2], double first[])
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    steady s = settle(d, light_before(d, rest_in));
    first[0] = s.r;
    first[1] = s.p;
    first[2] = s.c;
    first[3] = s.g;
    rest[0] = -(double)d->par[PR_K] / 2 * pow(s.g, (double)d->par[PR_N]);
}

/* g by the implicit function theorem; the others as they follow from it. */
static void start_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[], double *gv)
{
    const neuron_desc *d = &((neuron *)own)->of[network];
    double v[PR_COUNT], x = light_before(d, rest_in);
    for (int k = 0; k < PR_COUNT; k++) {
        v[k] = (double)d->par[k];
    }
    steady s = settle(d, x);
    double n = v[PR_N], h = v[PR_H], gd = v[PR_G_DARK], phi = v[PR_PHI], eta = v[PR_ETA], log_g = log(s.g / gd), pg = s.p * s.g;
    double current = v[PR_K] / 2 * pow(s.g, n);
    double by_g = g_start[3] + g_start[2] * s.c * n / s.g - g_rest[0] * current * n / s.g;
    double down = by_g / (s.p * (1 + s.t * (1 + n * h)));
    double by_dark = -down * (pg * s.t / s.dark - eta / phi * gd);
    gv[PR_K] -= g_rest[0] * current / v[PR_K];
    gv[PR_N] += -g_rest[0] * current * log(s.g) + g_start[2] * s.c * log_g - down * pg * s.t * h * log_g;
    gv[PR_H] += -down * pg * s.t * n * log_g + by_dark * s.dark * log(v[PR_C_DARK] / v[PR_AFFINITY]);
    gv[PR_C_DARK] += g_start[2] * s.ratio + by_dark * s.dark * h / v[PR_C_DARK];
    gv[PR_AFFINITY] -= by_dark * s.dark * h / v[PR_AFFINITY];
    gv[PR_G_DARK] += -g_start[2] * s.c * n / gd + down * (pg * s.t * n * h / gd + eta / phi * (1 + s.dark));
    double by_p = g_start[1] - down * s.g * (1 + s.t), by_r = g_start[0] + by_p / phi;
    gv[PR_ETA] += by_p / phi + down * gd / phi * (1 + s.dark);
    gv[PR_PHI] += -by_p * s.p / phi - down * eta / (phi * phi) * gd * (1 + s.dark);
    gv[PR_GAMMA] += by_r * 125 * x / v[PR_SIGMA];
    gv[PR_SIGMA] -= by_r * s.r / v[PR_SIGMA];
    g_rest_in[0] += x > 0 ? by_r * 125 * v[PR_GAMMA] / v[PR_SIGMA] : 0;
}

static void *photoreceptor_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    static const char *const state[] = {"opsin", "phosphodiesterase", "calcium", "cGMP"};
    const settings *s = s_;
    double value[PR_COUNT], first[4], rest[2] = {0, 0};
    (void)at;
    for (int k = 0; k < PR_COUNT; k++) {
        value[k] = s->ngiven[k] > 0 ? s->given[k][0] : receptor[s->receptor][k];
    }
    neuron_desc d = {.kind = NEURON_PHOTORECEPTOR, .form = s->start, .nsub = (int)s->substeps, .sub_dt = (real)(w->step_s / (double)s->substeps)};
    neuron *o = neuron_plan(w, &in[0], &d, value, keys + 1, PR_COUNT, plan);
    start(o, 0, &in[0].rest, rest, first);
    plan->unit = "1";
    plan->rest = rest[0];
    plan->wants_rest = s->start == REST;
    plan->flop = 150.0 * (double)s->substeps + 40;
    for (int k = 0; k < 4; k++) {
        neuron_add_state(&in[0], state[k], "1", first[k], plan);
    }
    snprintf(plan->note, sizeof plan->note, "%s, Euler steps of %.4g ms", s->receptor == ROD ? "rod" : "cone",
             1000 * w->step_s / (double)s->substeps);
    return o;
}

const stage_type stage_photoreceptor = {
    .name = "photoreceptor",
    .help = "cone or rod: light to current, adapting; every constant can be fitted",
    .text =
        "  r' = -sigma r + gamma x/(8 ms)        opsin activated by the light x (isomerisations a receptor and frame, say)\n"
        "  p' = r + eta - phi p                  phosphodiesterase\n"
        "  c' = beta (c_dark (g/g_dark)^n - c)   calcium: what the current brings in, and its extrusion\n"
        "  g' = S - p g                          cGMP;  S = (eta/phi) g_dark (1 + (c_dark/K)^h)/(1 + (c/K)^h): the cyclase, held back by calcium\n"
        "  output -I,  I = k/2 g^n               Angueyra et al., J. Neurosci. 42:1254, 2022; in front of a CNN: Idrees et al., Nat. Commun. "
        "15:5957,\n"
        "                                        2024 (there forward Euler with the frame of 8 ms, as here with run.step: 8 ms)",
    STAGE_KEYS(settings, keys),
    .plan = photoreceptor_plan,
    .start = start,
    .start_back = start_back,
    NEURON_STAGE,
};

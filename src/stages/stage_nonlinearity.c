/* stage_nonlinearity.c - static nonlinearities of LN models, energy models and networks; and the one of Naka and Rushton. */
#include "stages/stage_point.h"

typedef struct settings {
    int form;
    bool each_channel;
    double scale, bias, beta, a, b, height, slope, threshold, alpha, offset, exponent;
} settings;

enum { SCALE = 2, BIAS, BETA, A, B, HEIGHT, SLOPE, THRESHOLD, ALPHA, OFFSET, EXPONENT, NKEY }; /* among the keys */
static const key_spec keys[NKEY] = {
    {"form", KEY_WORD, NULL, "relu", 0, 0, "identity|relu|softplus|parametric_softplus|exponential|sigmoid|elu|square|rectified_square|power",
     "formulas above", offsetof(settings, form), 0, 0},
    {"each_channel", KEY_FLAG, NULL, "false", 0, 0, NULL, "parameters of their own for each channel, with the same start",
     offsetof(settings, each_channel), 0, 0},
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "relu, exponential, square, rectified_square, power: factor", offsetof(settings, scale), 0, 0},
    {"bias", KEY_REAL, "", "0", -1e12, 1e12, NULL, "relu, exponential, square, rectified_square: added to the input", offsetof(settings, bias), 0, 0},
    {"beta", KEY_REAL, "", "1", 1e-6, 1e6, NULL, "softplus: sharpness", offsetof(settings, beta), 0, 0},
    {"a", KEY_REAL, "", "0.2", -1e12, 1e12, NULL, "parametric_softplus: factor", offsetof(settings, a), 0, 0},
    {"b", KEY_REAL, "", "5", -1e12, 1e12, NULL, "parametric_softplus: sharpness", offsetof(settings, b), 0, 0},
    {"height", KEY_REAL, "", "1", -1e12, 1e12, NULL, "sigmoid: largest value", offsetof(settings, height), 0, 0},
    {"slope", KEY_REAL, "", "1", -1e12, 1e12, NULL, "sigmoid: steepness", offsetof(settings, slope), 0, 0},
    {"threshold", KEY_REAL, "", "0", -1e12, 1e12, NULL, "sigmoid: input of half the height; power: input below which it is 0",
     offsetof(settings, threshold), 0, 0},
    {"alpha", KEY_REAL, "", "1", -1e12, 1e12, NULL, "elu: how far it falls below 0", offsetof(settings, alpha), 0, 0},
    {"offset", KEY_REAL, "", "0", -1e12, 1e12, NULL, "elu: added to all of it (1: ELU + 1, never negative)", offsetof(settings, offset), 0, 0},
    {"exponent", KEY_REAL, "", "2", 1e-3, 100, NULL, "power", offsetof(settings, exponent), 0, 0},
};

/* Of each form, its map and which keys are the map's numbers. */
typedef struct form {
    enum cell_map map;
    int nkey, key[3];
} form;
static const form forms[] = {
    {MAP_LINEAR, 0, {0}},
    {MAP_RELU, 2, {SCALE, BIAS}},
    {MAP_SOFTPLUS, 1, {BETA}},
    {MAP_PARAMETRIC_SOFTPLUS, 2, {A, B}},
    {MAP_EXPONENTIAL, 2, {SCALE, BIAS}},
    {MAP_SIGMOID, 3, {HEIGHT, SLOPE, THRESHOLD}},
    {MAP_ELU, 2, {ALPHA, OFFSET}},
    {MAP_SQUARE, 2, {SCALE, BIAS}},
    {MAP_RECTIFIED_SQUARE, 2, {SCALE, BIAS}},
    {MAP_POWER, 3, {SCALE, EXPONENT, THRESHOLD}},
};

static void *nonlinearity_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    const form *f = &forms[s->form];
    (void)at;
    point *o = point_plan(w, in, f->map, s->each_channel && f->nkey > 0, plan);
    if (f->nkey == 0) {
        point_number(o, 0, 1); /* identity */
    }
    for (int i = 0; i < f->nkey; i++) {
        const key_spec *key = &keys[f->key[i]];
        double start = *(const double *)(const void *)((const char *)s + key->offset);
        point_param(o, plan, i, key, start, key->min > 0 ? PARAM_POSITIVE : PARAM_FREE);
    }
    point_rest(o, in, plan);
    plan->flop = 20;
    return o;
}

const stage_type stage_nonlinearity = {
    .name = "nonlinearity",
    .help = "static nonlinearity: relu, softplus, exponential, sigmoid, elu, square, power",
    .text =
        "  relu: max(scale x + bias, 0)                     softplus: ln(1 + exp(beta x))/beta\n"
        "  parametric_softplus: a ln(1 + exp(b x))          exponential: exp(scale x + bias)\n"
        "  sigmoid: height/(1 + exp(-slope (x - threshold)))  elu: offset + (x above 0, alpha (exp(x) - 1) below)\n"
        "  square: (scale x + bias)^2                       rectified_square: max(scale x + bias, 0)^2\n"
        "  power: scale max(x - threshold, 0)^exponent      identity: x\n"
        "  At a kink the derivative is that of the flat side.  The energy model of a complex cell (Adelson & Bergen 1985) is two convs with kernels\n"
        "  in quadrature, each through square, a sum, and power with exponent 0.5.",
    STAGE_KEYS(settings, keys),
    .plan = nonlinearity_plan,
    POINT_STAGE,
};

/* --- Naka and Rushton ------------------------------------------------------------------------------------------------------- */
typedef struct naka_settings {
    double max, exponent, semi_saturation, baseline;
} naka_settings;

static const key_spec naka_keys[] = {
    {"max", KEY_REAL, "", "1", -1e12, 1e12, NULL, "largest response above the baseline", offsetof(naka_settings, max), 0, 0},
    {"exponent", KEY_REAL, "", "2", 1e-3, 100, NULL, "steepness", offsetof(naka_settings, exponent), 0, 0},
    {"semi_saturation", KEY_REAL, "", "1", 1e-9, 1e12, NULL, "input of half the response", offsetof(naka_settings, semi_saturation), 0, 0},
    {"baseline", KEY_REAL, "", "0", -1e12, 1e12, NULL, "response to no input", offsetof(naka_settings, baseline), 0, 0},
};

static void *naka_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const naka_settings *s = s_;
    (void)at;
    point *o = point_plan(w, in, MAP_NAKA_RUSHTON, false, plan);
    point_param(o, plan, 0, &naka_keys[0], s->max, PARAM_FREE);
    point_param(o, plan, 1, &naka_keys[1], s->exponent, PARAM_POSITIVE);
    point_param(o, plan, 2, &naka_keys[2], s->semi_saturation, PARAM_POSITIVE);
    point_param(o, plan, 3, &naka_keys[3], s->baseline, PARAM_FREE);
    point_rest(o, in, plan);
    plan->flop = 30;
    return o;
}

const stage_type stage_naka_rushton = {
    .name = "naka_rushton",
    .help = "contrast response function: saturating power",
    .text = "  y = max x^n/(x^n + s^n) + baseline for x > 0, baseline else; n: exponent, s: semi_saturation (Naka & Rushton 1966).",
    STAGE_KEYS(naka_settings, naka_keys),
    .plan = naka_plan,
    POINT_STAGE,
};

/* stage_rectify.c - static nonlinearity of ganglion cells. */
#include "stages/stage_point.h"

enum { VIRTUALRETINA, CONVIS, CLIP };

typedef struct settings {
    int form;
    double sign, threshold, value_hz, slope_hz;
} settings;

enum { SIGN = 1, THRESHOLD, VALUE, SLOPE }; /* among the keys */
static const key_spec keys[] = {
    {"form", KEY_WORD, NULL, "virtualretina", 0, 0, "virtualretina|convis|clip", "clip: 0 below the threshold, 1e6 at most", offsetof(settings, form),
     0, 0},
    {"sign", KEY_REAL, "", "1", -1e12, 1e12, NULL, "1: On, -1: Off", offsetof(settings, sign), 0, 0},
    {"threshold", KEY_REAL, "", "0", -1e12, 1e12, NULL, "v0: input above which the response is linear", offsetof(settings, threshold), 0, 0},
    {"value", KEY_REAL, "Hz", "0 Hz", 0, 1e9, NULL, "T0: response at the threshold", offsetof(settings, value_hz), 0, 0},
    {"slope", KEY_REAL, "Hz", "1 Hz", 0, 1e12, NULL, "lambda: slope above the threshold, per unit of input", offsetof(settings, slope_hz), 0, 0},
};

/* VirtualRetina keeps only the sign of `sign`, which is no parameter then. */
static void *rectify_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    static const enum cell_map map[] = {MAP_RECTIFY_VR, MAP_RECTIFY_CONVIS, MAP_CLIP};
    const settings *s = s_;
    if (s->form == CONVIS && s->value_hz <= 0) {
        input_problem(w->in, at, "value: must be above 0 Hz with form: convis");
    }
    if (s->form == VIRTUALRETINA && s->value_hz >= 5e5) {
        input_problem(w->in, at, "value: must be below 5e5 Hz, where the response saturates");
    }
    point *o = point_plan(w, in, map[s->form], false, plan);
    key_spec value = keys[VALUE]; /* its limits follow from the form */
    if (s->form == VIRTUALRETINA) {
        point_number(o, 0, s->sign < 0 ? -1 : 1);
        value.max = 4.99e5;
    } else {
        point_param(o, plan, 0, &keys[SIGN], s->sign, PARAM_FREE);
        value.min = 1e-6;
    }
    point_param(o, plan, 1, &keys[THRESHOLD], s->threshold, PARAM_FREE);
    if (s->form != CLIP) {
        point_param(o, plan, 2, &value, s->value_hz, PARAM_POSITIVE);
    }
    point_param(o, plan, 3, &keys[SLOPE], s->slope_hz, PARAM_POSITIVE);
    point_rest(o, in, plan);
    plan->unit = "Hz";
    plan->flop = 10;
    return o;
}

const stage_type stage_rectify = {
    .name = "rectify",
    .help = "static nonlinearity: input to a firing current",
    .text = "  virtualretina: p = slope (sign x - threshold)/G, e = value/G, G = 5e5 Hz:  G (e + (1-e) p/(1-e+p)) for p > 0, G e^2/(e - p) else\n"
            "  convis: value + slope (sign x - threshold) above the threshold, value/(1 - slope (sign x - threshold)/value) below\n"
            "  clip: min(max(slope (sign x - threshold), 0), 1e6)\n"
            "  At a kink the derivative is that of the flat side.",
    STAGE_KEYS(settings, keys),
    .plan = rectify_plan,
    POINT_STAGE,
};

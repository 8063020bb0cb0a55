/* stage_point.c - the stages that act on each pixel or cell alone, without memory: gain, sum, rectify. */
#include <stdio.h>

#include "base/memory.h"
#include "compute/cellmath.h"
#include "stages/stage.h"

typedef struct own {
    enum cell_map map;
    real par[4];
    int nin;
    real weight[STAGE_MAX_INPUT];
} own;

static void destroy(void *own_, backend *be)
{
    (void)be;
    memory_free(own_);
}

static void point_forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->map(c->be, o->map, o->par, 4, c->nt, c->in[0], c->out);
}

static own *point_plan(const stage_input *in, stage_plan *plan)
{
    plan->nchan = in->nchan;
    plan->cells = in->cells;
    plan->unit = in->unit;
    plan->rest_varies = in->rest_varies;
    plan->flop = 2;
    return MEMORY_NEW(own, 1);
}

/* --- gain: y = scale x + offset --------------------------------------------------------------------------------------- */
typedef struct gain_settings {
    double scale, offset;
} gain_settings;

static const key_spec gain_keys[] = {
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor", offsetof(gain_settings, scale), 0, 0},
    {"offset", KEY_REAL, "", "0", -1e12, 1e12, NULL, "added after the factor", offsetof(gain_settings, offset), 0, 0},
};

static void *gain_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const gain_settings *s = s_;
    (void)w;
    (void)nin;
    (void)at;
    own *o = point_plan(in, plan);
    o->map = MAP_LINEAR;
    o->par[0] = (real)s->scale;
    o->par[1] = (real)s->offset;
    plan->rest = s->scale * in[0].rest + s->offset;
    return o;
}

const stage_type stage_gain = {
    .name = "gain",
    .help = "factor and offset",
    .text = "  y = scale x + offset",
    .keys = gain_keys,
    .nkey = sizeof gain_keys / sizeof *gain_keys,
    .settings_size = sizeof(gain_settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .plan = gain_plan,
    .forward = point_forward,
    .destroy = destroy,
};

/* --- sum: y = sum of weight[k] x[k] ------------------------------------------------------------------------------------- */
typedef struct sum_settings {
    double weights[STAGE_MAX_INPUT];
    int nweight;
} sum_settings;

static const key_spec sum_keys[] = {
    {"weights", KEY_REALS, "", "", -1e12, 1e12, NULL, "one for each input (none given: all 1)", offsetof(sum_settings, weights),
     offsetof(sum_settings, nweight), STAGE_MAX_INPUT},
};

static void *sum_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const sum_settings *s = s_;
    own *o = point_plan(in, plan);
    o->nin = nin;
    if (s->nweight != 0 && s->nweight != nin) {
        input_problem(w->in, at, "weights: %d given for %d inputs", s->nweight, nin);
    }
    for (int k = 0; k < nin; k++) {
        double weight = k < s->nweight ? s->weights[k] : 1;
        o->weight[k] = (real)weight;
        plan->rest += weight * in[k].rest;
        plan->rest_varies = plan->rest_varies || in[k].rest_varies;
        if (in[k].nchan != in[0].nchan || in[k].cells != in[0].cells) {
            input_problem(w->in, at, "inputs: '%s' and '%s' differ in shape", in[0].name, in[k].name);
        }
    }
    return o;
}

static void sum_forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->combine(c->be, o->nin, o->weight, c->nt, c->in, c->out);
}

const stage_type stage_sum = {
    .name = "sum",
    .help = "weighted sum of stages",
    .text = "  y = sum over k of weights[k] inputs[k]",
    .keys = sum_keys,
    .nkey = sizeof sum_keys / sizeof *sum_keys,
    .settings_size = sizeof(sum_settings),
    .min_inputs = 1,
    .max_inputs = STAGE_MAX_INPUT,
    .plan = sum_plan,
    .forward = sum_forward,
    .destroy = destroy,
};

/* --- rectify: static nonlinearity of ganglion cells --------------------------------------------------------------------- */
enum { VIRTUALRETINA, CONVIS, CLIP };

typedef struct rectify_settings {
    int form;
    double sign, threshold, value_hz, slope_hz;
} rectify_settings;

static const key_spec rectify_keys[] = {
    {"form", KEY_WORD, NULL, "virtualretina", 0, 0, "virtualretina|convis|clip", "clip: 0 below the threshold, 1e6 at most",
     offsetof(rectify_settings, form), 0, 0},
    {"sign", KEY_REAL, "", "1", -1e12, 1e12, NULL, "1: On, -1: Off", offsetof(rectify_settings, sign), 0, 0},
    {"threshold", KEY_REAL, "", "0", -1e12, 1e12, NULL, "v0: input above which the response is linear", offsetof(rectify_settings, threshold), 0, 0},
    {"value", KEY_REAL, "Hz", "0 Hz", 0, 1e9, NULL, "T0: response at the threshold", offsetof(rectify_settings, value_hz), 0, 0},
    {"slope", KEY_REAL, "Hz", "1 Hz", 0, 1e12, NULL, "lambda: slope above the threshold, per unit of input", offsetof(rectify_settings, slope_hz), 0,
     0},
};

static void *rectify_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    static const enum cell_map map[] = {MAP_RECTIFY_VR, MAP_RECTIFY_CONVIS, MAP_CLIP};
    const rectify_settings *s = s_;
    (void)nin;
    own *o = point_plan(in, plan);
    o->map = map[s->form];
    if (s->form == CONVIS && s->value_hz <= 0) {
        input_problem(w->in, at, "value: must be above 0 Hz with form: convis");
    }
    if (s->form == VIRTUALRETINA && s->value_hz >= 5e5) {
        input_problem(w->in, at, "value: must be below 5e5 Hz, where the response saturates");
    }
    double sign = s->form == VIRTUALRETINA ? (s->sign < 0 ? -1 : 1) : s->sign; /* VirtualRetina keeps only its sign */
    o->par[0] = (real)sign;
    o->par[1] = (real)s->threshold;
    o->par[2] = (real)s->value_hz;
    o->par[3] = (real)s->slope_hz;
    real rest = (real)in[0].rest;
    plan->rest = s->form == VIRTUALRETINA ? (double)cell_rectify_vr(rest, o->par[0], o->par[1], o->par[2], o->par[3])
                 : s->form == CONVIS      ? (double)cell_rectify_convis(rest, o->par[0], o->par[1], o->par[2], o->par[3])
                                          : fmin(fmax(s->slope_hz * (sign * in[0].rest - s->threshold), 0), 1e6);
    plan->unit = "Hz";
    plan->flop = 10;
    return o;
}

const stage_type stage_rectify = {
    .name = "rectify",
    .help = "static nonlinearity: input to a firing current",
    .text = "  virtualretina: p = slope (sign x - threshold)/G, e = value/G, G = 5e5 Hz:  G (e + (1-e) p/(1-e+p)) for p > 0, G e^2/(e - p) else\n"
            "  convis: value + slope (sign x - threshold) above the threshold, value/(1 - slope (sign x - threshold)/value) below\n"
            "  clip: min(max(slope (sign x - threshold), 0), 1e6)",
    .keys = rectify_keys,
    .nkey = sizeof rectify_keys / sizeof *rectify_keys,
    .settings_size = sizeof(rectify_settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .plan = rectify_plan,
    .forward = point_forward,
    .destroy = destroy,
};

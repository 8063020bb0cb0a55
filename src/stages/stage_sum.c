/* stage_sum.c - weighted sum of stages. */
#include "base/memory.h"
#include "stages/stage.h"

typedef struct settings {
    double weights[STAGE_MAX_INPUT];
    int nweight;
} settings;

static const key_spec keys[] = {
    {"weights", KEY_REALS, "", "", -1e12, 1e12, NULL, "one for each input (none given: all 1)", offsetof(settings, weights),
     offsetof(settings, nweight), STAGE_MAX_INPUT},
};

typedef struct own {
    int nin;
    double start[STAGE_MAX_INPUT];
    double *exact; /* [network][nin] */
    real *weight;  /* the same, as they are computed with */
} own;

static void *sum_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    o->nin = nin;
    o->exact = MEMORY_NEW(double, w->nnet *nin);
    o->weight = MEMORY_NEW(real, w->nnet * nin);
    plan->nchan = in[0].nchan;
    plan->cells = in[0].cells;
    plan->unit = in[0].unit;
    plan->flop = 2 * nin;
    if (s->nweight != 0 && s->nweight != nin) {
        input_problem(w->in, at, "weights: %d given for %d inputs", s->nweight, nin);
    }
    for (int k = 0; k < nin; k++) {
        o->start[k] = k < s->nweight ? s->weights[k] : 1;
        plan->rest += o->start[k] * in[k].rest;
        plan->rest_varies = plan->rest_varies || in[k].rest_varies;
        bool same = in[k].nchan == in[0].nchan && in[k].cells == in[0].cells && in[k].pad_ny == in[0].pad_ny && in[k].pad_nx == in[0].pad_nx;
        if (!same) {
            input_problem(w->in, at, "inputs: '%s' and '%s' differ in shape", in[0].name, in[k].name);
        }
    }
    plan->param[plan->nparam++] = (stage_param){
        .name = "weights", .unit = "", .n = nin, .ndim = 1, .dims = {nin}, .start = o->start, .min = -1e12, .max = 1e12, .map = PARAM_FREE};
    return o;
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    (void)be;
    for (int k = 0; k < o->nin; k++) {
        o->exact[network * o->nin + k] = value[k];
        o->weight[network * o->nin + k] = (real)value[k];
    }
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)state;
    rest[0] = 0;
    for (int k = 0; k < o->nin; k++) {
        rest[0] += o->exact[network * o->nin + k] * rest_in[k];
    }
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    (void)g_start;
    for (int k = 0; k < o->nin; k++) {
        g_rest_in[k] += g_rest[0] * o->exact[network * o->nin + k];
        g_value[k] += g_rest[0] * rest_in[k];
    }
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    c->be->ops->combine(c->be, o->nin, o->weight + c->network * o->nin, c->nt, c->in, c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    c->be->ops->combine_back(c->be, o->nin, o->weight + c->network * o->nin, c->nt, c->in, b->g_out, b->g_in, b->g_par, b->g_par_stride);
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    memory_free(o->exact);
    memory_free(o->weight);
    memory_free(o);
}

const stage_type stage_sum = {
    .name = "sum",
    .help = "weighted sum of stages",
    .text = "  y = sum over k of weights[k] inputs[k]",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = STAGE_MAX_INPUT,
    .plan = sum_plan,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

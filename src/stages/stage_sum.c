/* stage_sum.c - weighted sums: of stages, and of neighbouring channels (phases of one orientation, subunits of one cell). */
#include <stdio.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { MOST = 64 };

typedef struct settings {
    int64_t channels; /* pool */
    double weights[MOST];
    int nweight;
} settings;

static const key_spec sum_keys[] = {
    {"weights", KEY_REALS, "", "", -1e12, 1e12, NULL, "one for each input (none given: all 1)", offsetof(settings, weights),
     offsetof(settings, nweight), STAGE_MAX_INPUT},
};

static const key_spec pool_keys[] = {
    {"channels", KEY_INT, NULL, "0", 0, MOST, NULL, "how many of them, one after the other, give one output (0: all)", offsetof(settings, channels),
     0, 0},
    {"weights", KEY_REALS, "", "", -1e12, 1e12, NULL, "one for each of them, the same in all outputs (none given: all 1)",
     offsetof(settings, weights), offsetof(settings, nweight), MOST},
};

typedef struct own {
    int n; /* terms */
    bool of_channels;
    double start[MOST];
    double *exact; /* [network][n] */
    real *weight;  /* the same, as they are computed with */
} own;

static own *plan_weights(const stage_world *w, const settings *s, int n, bool of_channels, const stage_input in[], const input_node *at,
                         stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    o->n = n;
    o->of_channels = of_channels;
    o->exact = MEMORY_NEW(double, w->nnet *n);
    o->weight = MEMORY_NEW(real, w->nnet * n);
    if (s->nweight != 0 && s->nweight != n) {
        input_problem(w->in, at, "weights: %d given for %d %s", s->nweight, n, of_channels ? "channels" : "inputs");
    }
    for (int k = 0; k < n; k++) {
        const stage_input *term = &in[of_channels ? 0 : k];
        o->start[k] = k < s->nweight ? s->weights[k] : 1;
        plan->rest += o->start[k] * term->rest;
        plan->rest_varies = plan->rest_varies || term->rest_varies;
    }
    plan->flop = 2 * n;
    stage_add_param(plan, (stage_param){.name = "weights", .unit = "", .n = n, .ndim = 1, .dims = {n}, .start = o->start, .min = -1e12, .max = 1e12,
                                        .map = PARAM_FREE});
    return o;
}

static void *sum_plan(const stage_world *w, const void *s, const stage_input in[], const input_node *at, stage_plan *plan)
{
    for (int k = 0; k < plan->nin; k++) {
        bool same = in[k].nchan == in[0].nchan && in[k].cells == in[0].cells && in[k].pad_ny == in[0].pad_ny && in[k].pad_nx == in[0].pad_nx;
        if (!same) {
            input_problem(w->in, at, "inputs: '%s' and '%s' differ in shape", in[0].name, in[k].name);
        }
    }
    return plan_weights(w, s, plan->nin, false, in, at, plan);
}

static void *pool_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    int64_t n = s->channels > 0 ? s->channels : in[0].nchan;
    if (n > MOST || in[0].nchan % n != 0) {
        input_problem(w->in, at, "channels: %lld at a time, but '%s' has %d; at most %d, and no remainder", (long long)n, in[0].name, in[0].nchan,
                      MOST);
        n = 1;
    }
    plan->nchan = in[0].nchan / (int)n;
    snprintf(plan->note, sizeof plan->note, "%d channels each", (int)n);
    return plan_weights(w, s, (int)n, true, in, at, plan);
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    (void)be;
    for (int k = 0; k < o->n; k++) {
        o->exact[network * o->n + k] = value[k];
        o->weight[network * o->n + k] = (real)value[k];
    }
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)state;
    rest[0] = 0;
    for (int k = 0; k < o->n; k++) {
        rest[0] += o->exact[network * o->n + k] * rest_in[o->of_channels ? 0 : k];
    }
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    (void)g_start;
    for (int k = 0; k < o->n; k++) {
        int i = o->of_channels ? 0 : k;
        g_rest_in[i] += g_rest[0] * o->exact[network * o->n + k];
        g_value[k] += g_rest[0] * rest_in[i];
    }
}

static void sum_forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    c->be->ops->combine(c->be, o->n, o->weight + c->network * o->n, c->nt, c->in, c->out);
}

static void sum_backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    c->be->ops->combine_back(c->be, o->n, o->weight + c->network * o->n, c->nt, c->in, b->g_out, b->g_in, b->g_par, b->g_par_stride);
}

static view channel(view v, int c)
{
    v.at = v.at ? v.at + c * v.chan_stride : NULL;
    v.nchan = 1;
    return v;
}

static void pool_forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    for (int i = 0; i < c->out.nchan; i++) {
        view in[MOST];
        for (int k = 0; k < o->n; k++) {
            in[k] = channel(c->in[0], i * o->n + k);
        }
        c->be->ops->combine(c->be, o->n, o->weight + c->network * o->n, c->nt, in, channel(c->out, i));
    }
}

static void pool_backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    for (int i = 0; i < c->out.nchan; i++) {
        view in[MOST], g_in[MOST];
        for (int k = 0; k < o->n; k++) {
            in[k] = channel(c->in[0], i * o->n + k);
            g_in[k] = channel(b->g_in[0], i * o->n + k);
        }
        c->be->ops->combine_back(c->be, o->n, o->weight + c->network * o->n, c->nt, in, channel(b->g_out, i), g_in, b->g_par, b->g_par_stride);
    }
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
    STAGE_KEYS(settings, sum_keys),
    .many_inputs = true,
    .plan = sum_plan,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = sum_forward,
    .backward = sum_backward,
    .destroy = destroy,
};

const stage_type stage_pool = {
    .name = "pool",
    .help = "weighted sums of neighbouring channels",
    .text = "  y_o = sum over k < channels of weights[k] x_(o channels + k).  Energy model: conv with a gabor of two phases, nonlinearity square, "
            "pool of 2\n"
            "  channels, nonlinearity power with exponent 0.5.",
    STAGE_KEYS(settings, pool_keys),
    .plan = pool_plan,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = pool_forward,
    .backward = pool_backward,
    .destroy = destroy,
};

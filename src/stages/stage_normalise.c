/* stage_normalise.c - divisive normalisation of each channel by all of them. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { MOST_WEIGHT = 1000 };

typedef struct settings {
    double gain, exponent, semi_saturation, weights[MOST_WEIGHT];
    int nweight;
} settings;

static const key_spec keys[] = {
    {"gain", KEY_REAL, "", "1", -1e12, 1e12, NULL, "largest response", offsetof(settings, gain), 0, 0},
    {"exponent", KEY_REAL, "", "2", 1e-3, 100, NULL, "n", offsetof(settings, exponent), 0, 0},
    {"semi_saturation", KEY_REAL, "", "1", 1e-9, 1e12, NULL, "s: input of half the response, one channel alone", offsetof(settings, semi_saturation),
     0, 0},
    {"weights", KEY_REALS, "", "", 0, 1e12, NULL, "of each channel in the pool (none given: all 1)", offsetof(settings, weights),
     offsetof(settings, nweight), MOST_WEIGHT},
};

enum { GAIN, EXPONENT, SEMI, WEIGHTS };

typedef struct own {
    int nchan;
    double *start; /* [3 + nchan] */
    double *exact; /* [network][3 + nchan] */
    real *par;     /* the same, as they are computed with */
} own;

/* Rest value, and its derivatives by the input's and by each parameter (g NULL: not wanted). */
static double rest_of(const own *o, const double *p, double x, double *by_x, double *g)
{
    double n = p[EXPONENT], s = pow(p[SEMI], n), q = x > 0 ? pow(x, n) : 0, total = s;
    for (int c = 0; c < o->nchan; c++) {
        total += p[WEIGHTS + c] * q;
    }
    if (g) {
        double by_total = -p[GAIN] * q / (total * total), by_log_q = p[GAIN] * q * s / (total * total);
        *by_x = x > 0 ? by_log_q * n / x : 0;
        g[GAIN] = q / total;
        g[EXPONENT] = by_total * s * log(p[SEMI]) + (x > 0 ? by_log_q * log(x) : 0);
        g[SEMI] = by_total * n * s / p[SEMI];
        for (int c = 0; c < o->nchan; c++) {
            g[WEIGHTS + c] = by_total * q;
        }
    }
    return p[GAIN] * q / total;
}

static void *normalise_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    int nchan = o->nchan = in[0].nchan;
    if (nchan > MOST_WEIGHT) {
        input_problem(w->in, at, "'%s' has %d channels; normalise takes at most %d", in[0].name, nchan, MOST_WEIGHT);
    }
    if (s->nweight != 0 && s->nweight != nchan) {
        input_problem(w->in, at, "weights: %d given for %d channels", s->nweight, nchan);
    }
    o->start = MEMORY_NEW(double, WEIGHTS + nchan);
    o->exact = MEMORY_NEW(double, w->nnet *(WEIGHTS + nchan));
    o->par = MEMORY_NEW(real, w->nnet * (WEIGHTS + nchan));
    o->start[GAIN] = s->gain;
    o->start[EXPONENT] = s->exponent;
    o->start[SEMI] = s->semi_saturation;
    for (int c = 0; c < nchan; c++) {
        o->start[WEIGHTS + c] = c < s->nweight ? s->weights[c] : 1;
    }
    for (int i = GAIN; i < WEIGHTS; i++) {
        stage_add_number(plan, &keys[i], o->start + i, i == GAIN ? PARAM_FREE : PARAM_POSITIVE);
    }
    stage_param *weights = stage_add_number(plan, &keys[WEIGHTS], o->start + WEIGHTS, PARAM_FREE);
    weights->n = weights->dims[0] = nchan;
    weights->ndim = 1;
    plan->unit = "";
    plan->rest = rest_of(o, o->start, in[0].rest, NULL, NULL);
    plan->rest_varies = in[0].rest_varies;
    plan->flop = 30;
    return o;
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    (void)be;
    for (int i = 0; i < WEIGHTS + o->nchan; i++) {
        o->exact[network * (WEIGHTS + o->nchan) + i] = value[i];
        o->par[network * (WEIGHTS + o->nchan) + i] = (real)value[i];
    }
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)state;
    rest[0] = rest_of(o, o->exact + network * (WEIGHTS + o->nchan), rest_in[0], NULL, NULL);
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    double g[WEIGHTS + MOST_WEIGHT], by_x;
    (void)g_start;
    rest_of(o, o->exact + network * (WEIGHTS + o->nchan), rest_in[0], &by_x, g);
    g_rest_in[0] += g_rest[0] * by_x;
    for (int i = 0; i < WEIGHTS + o->nchan; i++) {
        g_value[i] += g_rest[0] * g[i];
    }
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    int n = WEIGHTS + o->nchan;
    c->be->ops->normalise(c->be, o->par + c->network * n, n, c->nt, c->in[0], c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    int n = WEIGHTS + o->nchan;
    c->be->ops->normalise_back(c->be, o->par + c->network * n, n, c->nt, c->in[0], b->g_out, b->g_in[0], b->g_par, b->g_par_stride);
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    memory_free(o->start);
    memory_free(o->exact);
    memory_free(o->par);
    memory_free(o);
}

const stage_type stage_normalise = {
    .name = "normalise",
    .help = "divisive normalisation of each channel by all channels",
    .text = "  y_c = gain q_c/(s^n + sum over k of weights[k] q_k),  q = max(x, 0)^n  (Heeger 1992).",
    STAGE_KEYS(settings, keys),
    .plan = normalise_plan,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

/* stage_lowpass.c - exponential low-pass and gamma cascade in time. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { EXPONENTIAL, CONVIS, REST = 0, ZERO };

typedef struct settings {
    double tau_s, gain;
    int64_t order;
    int form, start;
} settings;

static const key_spec keys[] = {
    {"tau", KEY_REAL, "s", NULL, 0, 1e6, NULL, "time constant (0: no filter)", offsetof(settings, tau_s), 0, 0},
    {"order", KEY_INT, NULL, "0", 0, 32, NULL, "n of the gamma cascade: n + 1 poles, each of tau/n (0: one of tau)", offsetof(settings, order), 0, 0},
    {"gain", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor at low frequencies", offsetof(settings, gain), 0, 0},
    {"form", KEY_WORD, NULL, "exponential", 0, 0, "exponential|convis", "convis: its trapezoid-like gain, order ignored there",
     offsetof(settings, form), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "state before step 0: steady state of the input's rest value, or 0",
     offsetof(settings, start), 0, 0},
};

typedef struct own {
    const stage_world *world;
    settings s;
    int npole;
    double *tau_s, *gain; /* [network] */
    real (*par)[4];       /* [network] of the scan: b, c, gain, poles */
    double (*g)[4];       /* [leaf] derivatives by them of one call */
} own;

/* What follows from tau and gain: coefficients and steady state, and how they change. */
typedef struct numbers {
    double b, c, b_tau, c_tau; /* by tau, before the gain */
    double steady, steady_tau, steady_gain;
} numbers;

static numbers numbers_of(const own *o, double tau_s, double gain)
{
    double dt = o->world->step_s, per_pole = o->npole > 1 ? (double)o->s.order : 1;
    numbers n = {.b = 1, .steady = gain, .steady_gain = 1};
    if (tau_s <= 0) {
        return n;
    }
    n.c = (double)(real)exp(-dt / (tau_s / per_pole)); /* as it is computed with, so that a constant passes unchanged */
    n.b = 1 - n.c;
    n.c_tau = n.c * per_pole * dt / (tau_s * tau_s);
    n.b_tau = -n.c_tau;
    if (o->s.form == CONVIS) {
        n.b = (1 + n.c) * dt / (2 * tau_s);
        n.b_tau = (n.c_tau - (1 + n.c) / tau_s) * dt / (2 * tau_s);
        if (n.c < 1) {
            double rest = 1 - n.c;
            n.steady = n.b * gain / rest;
            n.steady_gain = n.b / rest;
            n.steady_tau = gain * (n.b_tau + n.b * n.c_tau / rest) / rest;
        }
    }
    return n;
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    (void)be;
    numbers n = numbers_of(o, value[0], value[1]);
    bool convis = o->s.form == CONVIS; /* the gain is in b */
    o->tau_s[network] = value[0];
    o->gain[network] = value[1];
    o->par[network][0] = (real)(convis ? n.b * value[1] : n.b);
    o->par[network][1] = (real)n.c;
    o->par[network][2] = (real)(convis ? 1 : value[1]);
    o->par[network][3] = (real)o->npole;
}

/* In the cascade the first pole holds the state before the gain, the others after it. */
static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    numbers n = numbers_of(o, o->tau_s[network], o->gain[network]);
    bool at_rest = o->s.start == REST;
    rest[0] = at_rest ? n.steady * rest_in[0] : 0;
    state[0] = o->s.form == CONVIS ? rest[0] : at_rest ? rest_in[0] : 0;
    if (o->npole > 1) {
        state[1] = rest[0];
    }
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    if (o->s.start == ZERO) {
        return;
    }
    numbers n = numbers_of(o, o->tau_s[network], o->gain[network]);
    double g = g_rest[0] + (o->npole > 1 ? g_start[1] : 0) + (o->s.form == CONVIS ? g_start[0] : 0);
    g_rest_in[0] += g * n.steady + (o->s.form == CONVIS ? 0 : g_start[0]);
    g_value[0] += g * n.steady_tau * rest_in[0];
    g_value[1] += g * n.steady_gain * rest_in[0];
}

static void *lowpass_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)at;
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    o->s = *s;
    o->npole = s->form == CONVIS ? 1 : (int)s->order + 1;
    o->tau_s = MEMORY_NEW(double, w->nnet);
    o->gain = MEMORY_NEW(double, w->nnet);
    o->par = memory_alloc((size_t)w->nnet, sizeof *o->par);
    stage_add_number(plan, &keys[0], &o->s.tau_s, PARAM_POSITIVE);
    stage_add_number(plan, &keys[2], &o->s.gain, PARAM_FREE);
    int64_t plane = in[0].nchan * stage_plane(&in[0]);
    plan->state[plan->nstate++] = (stage_state){"first pole", in[0].unit, plane, 0};
    if (o->npole > 1) {
        plan->state[plan->nstate++] = (stage_state){"other poles", in[0].unit, plane * (o->npole - 1), 0};
    }
    numbers n = numbers_of(o, s->tau_s, s->gain);
    bool at_rest = s->start == REST;
    plan->rest = at_rest ? n.steady * in[0].rest : 0;
    plan->state[0].start = s->form == CONVIS ? plan->rest : at_rest ? in[0].rest : 0;
    plan->state[1].start = plan->rest;
    plan->wants_rest = at_rest;
    plan->flop = 3.0 * o->npole + 1;
    plan->bytes_scratch = w->differentiate ? (double)scan_scratch(o->npole, w->max_nt) * sizeof(real) : 0;
    snprintf(plan->note, sizeof plan->note, "recursive, %d pole%s, tau %.4g s", o->npole, o->npole > 1 ? "s" : "", s->tau_s);
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    if (o->world->differentiate) {
        be->ops->reserve(be, scan_scratch(o->npole, o->world->max_nt));
        o->g = memory_alloc((size_t)o->world->nleaf, sizeof *o->g);
    }
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    c->be->ops->scan(c->be, SCAN_LOWPASS, o->par[c->network], 4, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    double(*g)[4] = o->g + c->first;
    memset(g, 0, (size_t)c->nleaf * sizeof *g);
    c->be->ops->scan_back(c->be, SCAN_LOWPASS, o->par[c->network], 4, c->nt, c->in[0], c->state[0], c->state_stride, b->g_out, b->g_state[0],
                          b->g_state_stride, b->g_in[0], b->g_par ? g[0] : NULL, 4);
    if (!b->g_par) {
        return;
    }
    c->be->ops->sync(c->be);
    double gain = o->gain[c->network];
    numbers n = numbers_of(o, o->tau_s[c->network], gain);
    bool convis = o->s.form == CONVIS;
    for (int l = 0; l < c->nleaf; l++) {
        double *to = b->g_par + l * b->g_par_stride;
        to[0] += g[l][0] * n.b_tau * (convis ? gain : 1) + g[l][1] * n.c_tau;
        to[1] += convis ? g[l][0] * n.b : g[l][2];
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    memory_free(o->tau_s);
    memory_free(o->gain);
    memory_free(o->par);
    memory_free(o->g);
    memory_free(o);
}

const stage_type stage_lowpass = {
    .name = "lowpass",
    .help = "exponential low-pass or gamma cascade in time",
    .text = "  y_t = gain (1-c)^(n+1) x_t - sum over i = 1..n+1 of (-c)^i binom(n+1, i) y_(t-i),  c = exp(-dt/tau) for n = 0, exp(-n dt/tau) else;\n"
            "  computed as n + 1 poles in series.  VirtualRetina (Wohrer & Kornprobst 2009): centre and surround filters.\n"
            "  form convis: y_t = c y_(t-1) + (1 + c) dt/(2 tau) x_t.",
    STAGE_KEYS(settings, keys),
    .plan = lowpass_plan,
    .attach = attach,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

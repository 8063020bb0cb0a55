/* stage_leaky_heat.c - low-pass in time whose field of view widens with age: the leaky heat equation of VirtualRetina. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "stages/space.h"

enum { REST, ZERO };

typedef struct settings {
    double sigma_deg, tau_s, gain;
    int start;
    space_settings space;
} settings;

static const key_spec keys[] = {
    {"sigma", KEY_REAL, "deg", NULL, 0, 1000, NULL, "standard deviation of the Gaussian at age tau", offsetof(settings, sigma_deg), 0, 0},
    {"tau", KEY_REAL, "s", NULL, 1e-9, 1e6, NULL, "time constant", offsetof(settings, tau_s), 0, 0},
    {"gain", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor at low frequencies", offsetof(settings, gain), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "state before step 0: steady state of the input's rest value, or 0",
     offsetof(settings, start), 0, 0},
    SPACE_KEYS(settings),
};

enum { SIGMA, TAU, GAIN, NPARAM, BY_B = 0, BY_C, BY_SIGMA_PX, NOP };

/* Of one network. */
typedef struct constants {
    double sigma_px, tau_s, gain;
    double c; /* as it is computed with, so that a constant passes unchanged */
    real b;
} constants;

typedef struct own {
    space space;
    double value[NPARAM]; /* at first */
    double step_s;
    bool starts_at_rest, has_sigma;
    constants *x;         /* [network] */
    double *g_op;         /* [own leaf][NOP] */
} own;

/* The width of one step is sigma sqrt(dt/tau): a fit of tau widens it too, and may shorten it to a quarter. */
static space_want wanted(const stage_world *w, const stage_plan *plan, const settings *s)
{
    double shortest = stage_is_fitted(w, plan->name, "tau") ? s->tau_s / 4 : s->tau_s, most = stage_most(w, plan->name, "sigma", s->sigma_deg);
    bool fitted = s->sigma_deg > 0 && (stage_is_fitted(w, plan->name, "sigma") || shortest < s->tau_s);
    return (space_want){s->sigma_deg * sqrt(w->step_s / s->tau_s), fitted ? most * sqrt(w->step_s / shortest) : 0, false};
}

static void plan_params(own *o, const stage_world *w, const settings *s, stage_plan *plan)
{
    const double start[NPARAM] = {s->sigma_deg, s->tau_s, s->gain};
    memcpy(o->value, start, sizeof start);
    o->has_sigma = s->sigma_deg > 0;
    stage_param sigma = space_positive("sigma", "deg", &o->value[SIGMA]), tau = space_positive("tau", "s", &o->value[TAU]);
    if (stage_is_fitted(w, plan->name, "tau") && isfinite(o->space.most_deg)) {
        tau.min = s->tau_s / 4;
        sigma.max = o->space.most_deg / sqrt(w->step_s / tau.min);
    } else {
        sigma.max = o->space.most_deg / sqrt(w->step_s / s->tau_s);
    }
    if (o->has_sigma) {
        stage_add_param(plan, sigma);
    }
    stage_add_param(plan, tau);
    stage_add_param(plan, (stage_param){.name = "gain", .unit = "", .n = 1, .start = &o->value[GAIN], .min = -INFINITY, .max = INFINITY});
}

static void *heat_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    o->step_s = w->step_s;
    o->starts_at_rest = s->start == REST;
    plan->nchan = in[0].nchan;
    plan->unit = in[0].unit;
    plan->rest = s->start == REST ? s->gain * in[0].rest : 0;
    plan->wants_rest = s->start == REST;
    space_want want = wanted(w, plan, s);
    space_plan(&o->space, w, &want, &s->space, at, plan);
    plan_params(o, w, s, plan);
    plan->coupled = true;
    plan->out_halo = plan->halo[0];
    plan->out_hist = 1;
    plan->flop += 3;
    o->x = MEMORY_NEW(constants, w->nnet);
    o->g_op = MEMORY_NEW(double, (int64_t)w->nleaf * NOP);
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    space_attach(&o->space, be);
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    constants *x = &o->x[network];
    double sigma_deg = o->has_sigma ? *value++ : 0, tau_s = value[0], gain = value[1];
    double c = (double)(real)exp(-o->step_s / tau_s), step_deg = sigma_deg * sqrt(o->step_s / tau_s);
    *x = (constants){step_deg * o->space.pixels_per_deg, tau_s, gain, c, (real)(gain * (1 - c))};
    space_set(&o->space, be, network, &step_deg);
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)state;
    rest[0] = o->starts_at_rest ? o->x[network].gain * rest_in[0] : 0;
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_state[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    (void)g_state;
    if (o->starts_at_rest) {
        g_rest_in[0] += o->x[network].gain * g_rest[0];
        g_value[o->has_sigma ? GAIN : GAIN - 1] += rest_in[0] * g_rest[0];
    }
}

typedef struct step {
    own *o;
    const stage_call *c;
    const stage_back *b; /* backward only */
    int t;
} step;

static void leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    const constants *x = &s->o->x[c->network];
    view u = view_at_frame(view_of_leaf(c->in[0], first, n), s->t), y = view_at_frame(view_of_leaf(c->out, first, n), s->t);
    c->be->ops->heat_step(c->be, s->o->space.plan[c->network], x->b, (real)x->c, u, view_at_frame(y, -1), y);
}

static void all_steps(own *o, const stage_call *c)
{
    step s = {o, c, NULL, 0};
    for (; s.t < c->nt; s.t++) {
        c->be->ops->each_leaf(c->be, c->out.nleaf, leaves, &s);
        c->services->swap(c->services->ctx, view_at_frame(c->out, s.t), 1);
    }
}

enum { NKEY = 2 };
static void key_of_values(const constants *x, int64_t key[NKEY])
{
    const double values[NKEY] = {(double)x->b, x->c};
    memcpy(key, values, sizeof values);
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    int64_t key[STAGE_KEY + NKEY];
    stage_key(o, c, key);
    key_of_values(&o->x[c->network], key + STAGE_KEY);
    if (!c->services->swap_is_local(c->services->ctx, c->out.halo)) {
        all_steps(o, c);
    } else if (ops->repeat_begin(c->be, sizeof key / sizeof *key, key)) {
        all_steps(o, c);
        ops->repeat_end(c->be);
    }
}

static void leaves_back(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    const constants *x = &s->o->x[c->network];
    view u = view_at_frame(view_of_leaf(c->in[0], first, n), s->t), y = view_at_frame(view_of_leaf(c->out, first, n), s->t);
    view gy = view_at_frame(view_of_leaf(s->b->g_out, first, n), s->t), gu = s->b->g_in[0];
    if (gu.at) {
        gu = view_at_frame(view_of_leaf(gu, first, n), s->t);
    }
    double *g = s->b->g_par ? s->o->g_op + (int64_t)(c->first + first) * NOP : NULL;
    c->be->ops->heat_step_back(c->be, s->o->space.plan[c->network], x->b, (real)x->c, u, view_at_frame(y, -1), gy, gu, view_at_frame(gy, -1), g, NOP);
}

/* b = gain (1-c), c = exp(-dt/tau), width in pixels as sigma/sqrt(tau) */
static void chain(const own *o, const constants *x, const double *op, double *g_par)
{
    double c_by_tau = x->c * o->step_s / (x->tau_s * x->tau_s), px_per_deg = o->space.pixels_per_deg * sqrt(o->step_s / x->tau_s);
    if (o->has_sigma) {
        *g_par++ += op[BY_SIGMA_PX] * px_per_deg;
    }
    g_par[0] += (op[BY_C] - x->gain * op[BY_B]) * c_by_tau - op[BY_SIGMA_PX] * x->sigma_px / (2 * x->tau_s);
    g_par[1] += op[BY_B] * (1 - x->c);
}

static void all_steps_back(own *o, const stage_call *c, const stage_back *b)
{
    step s = {o, c, b, c->nt - 1};
    for (; s.t >= 0; s.t--) { /* the halos of the last frame were swapped back with those of the other outputs */
        c->be->ops->each_leaf(c->be, c->out.nleaf, leaves_back, &s);
        if (s.t > 0) {
            c->services->swap_back(c->services->ctx, view_at_frame(b->g_out, s.t - 1), 1);
        }
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    double *g = o->g_op + (int64_t)c->first * NOP;
    int64_t key[STAGE_BACK_KEY + NKEY];
    memset(g, 0, (size_t)c->nleaf * NOP * sizeof *g);
    stage_back_key(o, c, b, b->g_par ? g : NULL, key);
    key_of_values(&o->x[c->network], key + STAGE_BACK_KEY);
    if (!c->services->swap_is_local(c->services->ctx, c->out.halo)) {
        all_steps_back(o, c, b);
    } else if (ops->repeat_begin(c->be, sizeof key / sizeof *key, key)) {
        all_steps_back(o, c, b);
        ops->repeat_end(c->be);
    }
    ops->sync(c->be);
    for (int l = 0; b->g_par && l < c->nleaf; l++) {
        chain(o, &o->x[c->network], g + (int64_t)l * NOP, b->g_par + l * b->g_par_stride);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    space_destroy(&o->space, be);
    memory_free(o->x);
    memory_free(o->g_op);
    memory_free(o);
}

const stage_type stage_leaky_heat = {
    .name = "leaky_heat",
    .help = "low-pass in time with diffusion in space (leaky heat equation)",
    .text =
        "  y_t = G_s ** (gain (1-c) x_t + c y_(t-1)),  c = exp(-dt/tau), s = sigma sqrt(dt/tau):  the kernel G_{sigma sqrt(t/tau)} exp(-t/tau)/tau.\n"
        "  method deriche does not blur at all where s is below 0.1 pixels, as VirtualRetina; gaussian is right at any step.",
    STAGE_KEYS(settings, keys),
    .wants_map = true,
    .plan = heat_plan,
    .attach = attach,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

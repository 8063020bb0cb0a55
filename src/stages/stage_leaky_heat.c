/* stage_leaky_heat.c - low-pass in time whose field of view widens with age: the leaky heat equation of VirtualRetina. */
#include <math.h>

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

typedef struct own {
    blur_desc desc;
    blur_plan *plan;
    real b, c;
} own;

static void *heat_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    double c = (double)(real)exp(-w->step_s / s->tau_s); /* as it is computed with, so that a constant passes unchanged */
    o->b = (real)(s->gain * (1 - c));
    o->c = (real)c;
    plan->nchan = in[0].nchan;
    plan->unit = in[0].unit;
    plan->rest = s->start == REST ? s->gain * in[0].rest : 0;
    plan->wants_rest = s->start == REST;
    o->desc = space_plan(w, s->sigma_deg * sqrt(w->step_s / s->tau_s), &s->space, at, plan);
    plan->coupled = true;
    plan->out_halo = plan->halo[0];
    plan->out_hist = 1;
    plan->flop += 3;
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    o->plan = be->ops->blur_create(be, &o->desc);
}

typedef struct step {
    own *o;
    const stage_call *c;
    int t;
} step;

static void leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    step *s = ctx;
    const stage_call *c = s->c;
    view u = view_at_frame(view_of_leaf(c->in[0], first, n), s->t), y = view_at_frame(view_of_leaf(c->out, first, n), s->t);
    c->be->ops->heat_step(c->be, s->o->plan, s->o->b, s->o->c, u, view_at_frame(y, -1), y);
}

static void forward(void *own_, const stage_call *c)
{
    step s = {own_, c, 0};
    for (; s.t < c->nt; s.t++) {
        c->be->ops->each_leaf(c->be, c->out.nleaf, leaves, &s);
        c->services->swap(c->services->ctx, view_at_frame(c->out, s.t), 1);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be) {
        be->ops->blur_destroy(be, o->plan);
    }
    memory_free(o);
}

const stage_type stage_leaky_heat = {
    .name = "leaky_heat",
    .help = "low-pass in time with diffusion in space (leaky heat equation)",
    .text =
        "  y_t = G_s ** (gain (1-c) x_t + c y_(t-1)),  c = exp(-dt/tau), s = sigma sqrt(dt/tau):  the kernel G_{sigma sqrt(t/tau)} exp(-t/tau)/tau.\n"
        "  method deriche does not blur at all where s is below 0.1 pixels, as VirtualRetina; gaussian is right at any step.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .plan = heat_plan,
    .attach = attach,
    .forward = forward,
    .destroy = destroy,
};

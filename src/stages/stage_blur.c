/* stage_blur.c - Gaussian smoothing of each frame. */
#include <string.h>

#include "base/memory.h"
#include "stages/space.h"

typedef struct settings {
    double sigma_deg;
    space_settings space;
} settings;

static const key_spec keys[] = {
    {"sigma", KEY_REAL, "deg", NULL, 0, 1000, NULL, "standard deviation of the Gaussian", offsetof(settings, sigma_deg), 0, 0},
    SPACE_KEYS(settings),
};

typedef struct own {
    space space;
    double *g_op; /* [own leaf][space_nop] derivatives as the op gives them */
} own;

static void *blur_stage_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    plan->rest = in[0].rest;
    plan->rest_varies = in[0].rest_varies;
    space_want want = space_wants(w, plan, s->sigma_deg);
    space_plan(&o->space, w, &want, &s->space, at, plan);
    space_params(&o->space, plan->unit, plan);
    o->g_op = MEMORY_NEW(double, (int64_t)w->nleaf * space_nop(&o->space));
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
    space_set(&o->space, be, network, value);
}

/* A constant passes, whatever Convis' kernel sums to; free taps weigh it. */
static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)state;
    rest[0] = o->space.taps ? o->space.tap_sum[network] * rest_in[0] + o->space.offset[network] : rest_in[0];
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_state[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    (void)g_state;
    g_rest_in[0] += o->space.taps ? o->space.tap_sum[network] * g_rest[0] : g_rest[0];
    for (int i = 0; o->space.taps && i < o->space.npar; i++) {
        g_value[i] += i < o->space.ntap ? rest_in[0] * g_rest[0] : g_rest[0];
    }
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->blur(c->be, o->space.plan[c->network], c->nt, c->in[0], c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    const blur_plan *plan = o->space.plan[c->network];
    int nop = space_nop(&o->space);
    double *g = o->g_op + (int64_t)c->first * nop;
    if (b->g_in[0].at) {
        c->be->ops->blur_back(c->be, plan, c->nt, b->g_out, b->g_in[0]);
    }
    if (b->g_par) {
        memset(g, 0, (size_t)(c->nleaf * nop) * sizeof *g);
        c->be->ops->blur_back_par(c->be, plan, c->nt, c->in[0], b->g_out, g, nop);
        c->be->ops->sync(c->be);
        for (int l = 0; l < c->nleaf; l++) {
            space_chain(&o->space, g + (int64_t)l * nop, b->g_par + l * b->g_par_stride);
        }
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    space_destroy(&o->space, be);
    memory_free(o->g_op);
    memory_free(o);
}

const stage_type stage_blur = {
    .name = "blur",
    .help = "Gaussian smoothing of each frame",
    .text = "  y = G_sigma ** x.  gaussian: the discrete Gaussian exp(-t) I_n(t), t = sigma^2 in pixels (Lindeberg 1990), cut where the mass\n"
            "  outside is that beyond 4 sigma, and normalised; pixels at the border of the field go on for ever outside.\n"
            "  log-polar: sigma(r) = sigma (1 + scaling (r - fovea_radius)) beyond fovea_radius.\n"
            "  A fit may change sigma, or every tap (`taps`, which start as the method's own) and a `bias`.",
    STAGE_KEYS(settings, keys),
    .wants_map = true,
    .plan = blur_stage_plan,
    .attach = attach,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

/* stage_blur.c - Gaussian smoothing of each frame. */
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
    blur_desc desc;
    blur_plan *plan;
} own;

static void *blur_stage_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    plan->nchan = in[0].nchan;
    plan->rest = in[0].rest;
    plan->rest_varies = in[0].rest_varies;
    plan->unit = in[0].unit;
    o->desc = space_plan(w, s->sigma_deg, &s->space, at, plan);
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    o->plan = be->ops->blur_create(be, &o->desc);
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->blur(c->be, o->plan, c->nt, c->in[0], c->out);
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be) {
        be->ops->blur_destroy(be, o->plan);
    }
    memory_free(o);
}

const stage_type stage_blur = {
    .name = "blur",
    .help = "Gaussian smoothing of each frame",
    .text = "  y = G_sigma ** x.  gaussian: the discrete Gaussian exp(-t) I_n(t), t = sigma^2 in pixels (Lindeberg 1990), cut where the mass\n"
            "  outside is that beyond 4 sigma, and normalised; pixels at the border of the field go on for ever outside.\n"
            "  log-polar: sigma(r) = sigma (1 + scaling (r - fovea_radius)) beyond fovea_radius.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .plan = blur_stage_plan,
    .attach = attach,
    .forward = forward,
    .destroy = destroy,
};

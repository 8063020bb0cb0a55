/* stage_noise.c - noise that is added in training, as a regulariser, or always. */
#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"
#include "stages/stage.h"

typedef struct settings {
    double sd;
    bool always;
} settings;

static const key_spec keys[] = {
    {"sd", KEY_REAL, "", NULL, 0, 1e12, NULL, "standard deviation, in units of the input", offsetof(settings, sd), 0, 0},
    {"always", KEY_FLAG, NULL, "false", 0, 0, NULL, "true: in simulation and validation too, not only while a fit trains", offsetof(settings, always),
     0, 0},
};

typedef struct own {
    const stage_world *world;
    const population *cells;
    settings s;
    uint64_t place; /* of the stage among others: other stages draw other numbers */
} own;

static void *noise_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    (void)at;
    o->world = w;
    o->cells = in[0].cells;
    o->s = *(const settings *)s_;
    o->place = 14695981039346656037ull; /* FNV-1a of the name */
    for (const char *p = plan->name; *p; p++) {
        o->place = (o->place ^ (unsigned char)*p) * 1099511628211ull;
    }
    plan->rest = in[0].rest;
    plan->rest_varies = in[0].rest_varies;
    plan->flop = 40;
    snprintf(plan->note, sizeof plan->note, "sd %.4g, %s", o->s.sd, o->s.always ? "always" : "in training");
    return o;
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    const stage_world *w = o->world;
    const real one = 1;
    if (o->s.sd == 0 || !(c->training || o->s.always)) {
        c->be->ops->combine(c->be, 1, &one, c->nt, c->in, c->out);
        return;
    }
    random_block b = random_bits(w->seed, RANDOM_NOISE_LAYER, o->place, (uint64_t)c->draw, 0);
    uint64_t seed = (uint64_t)b.v[0] << 32 | b.v[1];
    c->be->ops->noise(c->be, seed, (real)o->s.sd, w->grid.nx, stage_ids(o->cells, c), grid_ntile(&w->grid), c->step0, c->nt, c->in[0], c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const real one = 1;
    (void)own_;
    if (b->g_in[0].at) {
        c->be->ops->combine_back(c->be, 1, &one, c->nt, c->in, b->g_out, b->g_in, NULL, 0);
    }
}

static void destroy(void *own_, backend *be)
{
    (void)be;
    memory_free(own_);
}

const stage_type stage_noise = {
    .name = "noise",
    .help = "adds Gaussian noise while a fit trains",
    .text = "  y = x + sd z, z standard normal, another one for each pixel or cell, channel, step, trial and batch; derivative by x: 1.",
    STAGE_KEYS(settings, keys),
    .plan = noise_plan,
    .start = stage_pass_rest,
    .start_back = stage_pass_rest_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

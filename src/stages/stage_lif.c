/* stage_lif.c - leaky integrate-and-fire cells: exact and event-driven on a population, and Convis' discrete ones on every pixel. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"
#include "stages/stage.h"

typedef struct settings {
    double leak_hz, noise, refractory_s, refractory_sd_s, adapt_delta_hz, adapt_tau_s, adapt_reversal, start_v, start_rest_s;
    bool random_start;
} settings;

#define LIF_KEYS                                                                                                                                    \
    {"leak", KEY_REAL, "Hz", "50 Hz", 1e-6, 1e6, NULL, "leak conductance g: time constant 1/g", offsetof(settings, leak_hz), 0, 0},                  \
    {"noise", KEY_REAL, "", "0", 0, 1e6, NULL, "standard deviation of the membrane (threshold 1) that the noise current makes", offsetof(settings, noise), 0, 0}, \
    {"refractory", KEY_REAL, "s", "3 ms", 0, 1000, NULL, "mean time at reset after a spike", offsetof(settings, refractory_s), 0, 0},              \
    {"refractory_sd", KEY_REAL, "s", "0 s", 0, 1000, NULL, "its standard deviation", offsetof(settings, refractory_sd_s), 0, 0}

static const key_spec lif_keys[] = {
    LIF_KEYS,
    {"random_start", KEY_FLAG, NULL, "false", 0, 0, NULL, "V uniform in 0..1 at step 0, instead of 0", offsetof(settings, random_start), 0, 0},
    {"adaptation_delta", KEY_REAL, "Hz", "0 Hz", 0, 1e9, NULL, "spike-frequency adaptation: conductance added by each spike",
     offsetof(settings, adapt_delta_hz), 0, 0},
    {"adaptation_tau", KEY_REAL, "s", "100 ms", 1e-9, 1e6, NULL, "its time constant", offsetof(settings, adapt_tau_s), 0, 0},
    {"adaptation_reversal", KEY_REAL, "", "0", -1e6, 1e6, NULL, "its reversal potential (reset 0, threshold 1)", offsetof(settings, adapt_reversal),
     0, 0},
};

static const key_spec pixel_keys[] = {
    LIF_KEYS,
    {"start_v", KEY_REAL, "", "0.5", -1000, 1, NULL, "V of every pixel at step 0", offsetof(settings, start_v), 0, 0},
    {"start_refractory", KEY_REAL, "s", "3 ms", 0, 1000, NULL, "refractory time left at step 0", offsetof(settings, start_rest_s), 0, 0},
};

typedef struct own {
    lif_par par;
    bool random_start;
    const population *cells;
    int field_nx, first_leaf;
} own;

static own *common_plan(const stage_world *w, const settings *s)
{
    own *o = MEMORY_NEW(own, 1);
    o->par = (lif_par){w->step_s,         s->leak_hz,     s->noise,          s->refractory_s, s->refractory_sd_s,
                       s->adapt_delta_hz, s->adapt_tau_s, s->adapt_reversal, w->seed};
    o->random_start = s->random_start;
    o->field_nx = w->grid.nx;
    return o;
}

static void *lif_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    enum { STATES = 3 };
    (void)nin;
    (void)at;
    own *o = common_plan(w, s_);
    o->cells = in[0].cells;
    plan->nchan = 1;
    plan->cells = in[0].cells;
    plan->unit = "spikes";
    plan->rest = 0;
    plan->spikes = true;
    plan->state[plan->nstate++] = (stage_state){"V, refractory time, adaptation", "1, s, Hz", (int64_t)STATES * in[0].cells->pad, 0};
    plan->flop = o->par.noise > 0 ? 80 : 10;
    snprintf(plan->note, sizeof plan->note, "event-driven, %lld cells", (long long)in[0].cells->ncell);
    return o;
}

/* V of each cell by its global id, so that it depends on no cut of the field. */
static void random_start(const own *o, const stage_call *c)
{
    int pad = o->cells->pad;
    real *v = MEMORY_NEW(real, pad);
    for (int l = 0; l < c->nleaf; l++) {
        for (int i = 0; i < pad; i++) {
            int64_t id = o->cells->id[(int64_t)(c->first + l) * pad + i];
            v[i] = id < 0 ? 0 : (real)random_unit(random_bits(o->par.seed, RANDOM_START, (uint64_t)id, 0, 0).v[0]);
        }
        c->be->ops->upload(c->be, c->state[0] + l * c->state_stride, v, pad);
    }
    memory_free(v);
}

static void lif_forward(void *own_, const stage_call *c)
{
    own *o = own_;
    if (c->step0 == 0 && o->random_start) {
        random_start(o, c);
    }
    c->be->ops->lif(c->be, &o->par, c->step0, c->nt, c->in[0], o->cells->id + (int64_t)c->first * o->cells->pad, c->state[0], c->state_stride, c->out,
                    c->spikes);
}

static void destroy(void *own_, backend *be)
{
    (void)be;
    memory_free(own_);
}

const stage_type stage_lif = {
    .name = "lif",
    .help = "leaky integrate-and-fire cells with exact spike times",
    .text = "  dV/dt = I - g V (+ noise);  spike at V = 1, then V = 0 for the refractory time.  I is constant over a step, so V relaxes to E = I/g "
            "and, if E > 1,\n"
            "  the crossing is ln((E - V)/(E - 1))/g later: times are continuous.  Noise: a current noise sqrt(2 g/dt) N(0,1) for each step "
            "(VirtualRetina).",
    .keys = lif_keys,
    .nkey = sizeof lif_keys / sizeof *lif_keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_cells = true,
    .plan = lif_plan,
    .forward = lif_forward,
    .destroy = destroy,
};

static void *pixel_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = common_plan(w, s);
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "pixel_lif takes one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    int64_t plane = (int64_t)w->grid.tile_ny * w->grid.tile_nx;
    plan->nchan = 1;
    plan->unit = "spikes";
    plan->state[plan->nstate++] = (stage_state){"V", "1", plane, s->start_v};
    plan->state[plan->nstate++] = (stage_state){"refractory steps", "1", plane, 1000 * s->start_rest_s};
    plan->flop = 12;
    return o;
}

static void pixel_forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->pixel_lif(c->be, &o->par, o->field_nx, c->step0, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
}

const stage_type stage_pixel_lif = {
    .name = "pixel_lif",
    .help = "Convis' integrate-and-fire on every pixel, in Euler steps of 1 ms",
    .text = "  V' = V + dt (I - g V) + noise sqrt(g dt) N(0,1), dt = 1 ms;  r = r - 1;  V' = 0 while r >= 0.5;  spike at V' > 1: V = 0, r = "
            "refractory/1 ms.",
    .keys = pixel_keys,
    .nkey = sizeof pixel_keys / sizeof *pixel_keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .plan = pixel_plan,
    .forward = pixel_forward,
    .destroy = destroy,
};

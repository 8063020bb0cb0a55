/* stage_lif.c - leaky integrate-and-fire cells: exact and event-driven on a population, and in Euler steps, as Convis has them, on every pixel or
 * cell. */
#include <stdio.h>

#include "base/memory.h"
#include "base/random.h"
#include "compute/cellmath_neuron.h"
#include "stages/neuron.h"

typedef struct settings {
    double leak_hz, noise, refractory_s, refractory_sd_s, adapt_delta_hz, adapt_tau_s, adapt_reversal, start_v, start_rest_s, width;
    bool random_start;
    int surrogate, form, drive;
} settings;

#define LIF_KEYS                                                                                                                                     \
    {"leak", KEY_REAL, "Hz", "50 Hz", 1e-6, 1e6, NULL, "leak conductance g: time constant 1/g", offsetof(settings, leak_hz), 0, 0},                  \
    {"noise", KEY_REAL, "", "0", 0, 1e6, NULL, "standard deviation of the membrane (threshold 1) that the noise current makes",                      \
     offsetof(settings, noise), 0, 0},                                                                                                               \
    {"refractory", KEY_REAL, "s", "3 ms", 0, 1000, NULL, "mean time at reset after a spike", offsetof(settings, refractory_s), 0, 0},                \
    {"refractory_sd", KEY_REAL, "s", "0 s", 0, 1000, NULL, "its standard deviation", offsetof(settings, refractory_sd_s), 0, 0},                     \
    NEURON_SURROGATE_KEYS(settings, "", "0.3")

static const key_spec lif_keys[] = {
    LIF_KEYS,
    {"random_start", KEY_FLAG, NULL, "false", 0, 0, NULL, "V uniform in 0..1 at step 0, instead of 0", offsetof(settings, random_start), 0, 0},
    {"adaptation_delta", KEY_REAL, "Hz", "0 Hz", 0, 1e9, NULL, "spike-frequency adaptation: conductance added by each spike",
     offsetof(settings, adapt_delta_hz), 0, 0},
    {"adaptation_tau", KEY_REAL, "s", "100 ms", 1e-9, 1e6, NULL, "its time constant", offsetof(settings, adapt_tau_s), 0, 0},
    {"adaptation_reversal", KEY_REAL, "", "0", -1e6, 1e6, NULL, "its reversal potential (reset 0, threshold 1)", offsetof(settings, adapt_reversal),
     0, 0},
};

#define EULER_KEYS                                                                                                                                   \
    LIF_KEYS, {"start_v", KEY_REAL, "", "0.5", -1000, 1, NULL, "V of every pixel at step 0", offsetof(settings, start_v), 0, 0}

static const key_spec pixel_keys[] = {
    EULER_KEYS,
    {"start_refractory", KEY_REAL, "s", "3 ms", 0, 1000, NULL, "refractory time left at step 0", offsetof(settings, start_rest_s), 0, 0},
};

static const key_spec euler_keys[] = {
    EULER_KEYS,
    {"start_refractory", KEY_REAL, "s", "0 s", 0, 1000, NULL, "refractory time left at step 0", offsetof(settings, start_rest_s), 0, 0},
    {"form", KEY_WORD, NULL, "refractory", 0, 0, "leaky|refractory|ganglion", "leaky: no refractory time; the others: see above",
     offsetof(settings, form), 0, 0},
    {"drive", KEY_WORD, NULL, "per_second", 0, 0, "per_second|per_step", "unit of the input: Hz, or what it adds to V in each step",
     offsetof(settings, drive), 0, 0},
};

typedef struct own {
    lif_par *of; /* [network] */
    bool random_start;
    const population *cells;
    double value[2]; /* leak, noise */
} own;

static void lif_set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    (void)be;
    o->of[network].leak_hz = value[0];
    o->of[network].noise = value[1];
}

static void *lif_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    enum { STATES = 3 };
    const settings *s = s_;
    (void)at;
    own *o = MEMORY_NEW(own, 1);
    o->of = MEMORY_NEW(lif_par, w->nnet);
    o->value[0] = s->leak_hz;
    o->value[1] = s->noise;
    for (int i = 0; i < w->nnet; i++) {
        o->of[i] = (lif_par){.step_s = w->step_s,
                             .leak_hz = s->leak_hz,
                             .noise = s->noise,
                             .refractory_s = s->refractory_s,
                             .refractory_sd_s = s->refractory_sd_s,
                             .adapt_delta_hz = s->adapt_delta_hz,
                             .adapt_tau_s = s->adapt_tau_s,
                             .adapt_reversal = s->adapt_reversal,
                             .random = {.seed = w->seed, .ntile = grid_ntile(&w->grid), .nseq = w->grid.nseq},
                             .surrogate = (enum surrogate)s->surrogate,
                             .width = s->width};
    }
    stage_add_number(plan, &lif_keys[0], &o->value[0], PARAM_POSITIVE);
    stage_add_number(plan, &lif_keys[1], &o->value[1], PARAM_FREE);
    o->random_start = s->random_start;
    o->cells = in[0].cells;
    plan->nchan = 1;
    plan->unit = "spikes";
    plan->spikes = true;
    plan->state[plan->nstate++] = (stage_state){"V, refractory time, adaptation", "1, s, Hz", (int64_t)STATES * in[0].cells->pad, 0};
    plan->tape = w->differentiate ? (int64_t)STATES * in[0].cells->pad : 0;
    plan->flop = s->noise > 0 ? 80 : 10;
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
            v[i] = id < 0 ? 0 : (real)random_unit(random_bits(o->of[c->network].random.seed, RANDOM_START, (uint64_t)id, 0, 0).v[0]);
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
    lif_par p = o->of[c->network];
    p.random.draw = c->draw;
    c->be->ops->lif(c->be, &p, c->step0, c->nt, c->in[0], stage_ids(o->cells, c), c->state[0], c->state_stride, c->out,
                    c->tape, c->tape_stride, c->spikes);
}

static void lif_backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    lif_par p = o->of[c->network];
    p.random.draw = c->draw;
    c->be->ops->lif_back(c->be, &p, c->step0, c->nt, c->in[0], stage_ids(o->cells, c), c->tape, c->tape_stride, b->g_out,
                         b->g_state[0], b->g_state_stride, b->g_in[0], b->g_par, b->g_par_stride);
}

static void lif_destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    memory_free(o->of);
    memory_free(o);
}

const stage_type stage_lif = {
    .name = "lif",
    .help = "leaky integrate-and-fire cells with exact spike times",
    .text = "  dV/dt = I - g V (+ noise);  spike at V = 1, then V = 0 for the refractory time.  I is constant over a step, so V relaxes to E = I/g "
            "and, if E > 1,\n"
            "  the crossing is ln((E - V)/(E - 1))/g later: times are continuous.  Noise: a current noise sqrt(2 g/dt) N(0,1) for each step "
            "(VirtualRetina)." NEURON_SURROGATE_TEXT "\n  The membrane is the one that the step would reach without spikes, E + (V - E) exp(-g t), "
                                                     "t: what the refractory time leaves of the step;\n"
            "  it is the same whatever the number of spikes in the step, and adaptation is held constant.",
    STAGE_KEYS(settings, lif_keys),
    .wants_cells = true,
    .plan = lif_plan,
    .set = lif_set,
    .forward = lif_forward,
    .backward = lif_backward,
    .destroy = lif_destroy,
};

/* --- in Euler steps ------------------------------------------------------------------------------------------------------- */
static neuron *euler_plan(const stage_world *w, const settings *s, enum lif_form form, double dt_s, const stage_input *in, stage_plan *plan)
{
    neuron_desc d = {
        .kind = NEURON_LIF_EULER, .form = (int)form, .sub_dt = (real)dt_s, .surrogate = (enum surrogate)s->surrogate, .width = (real)s->width};
    d.par[2] = s->drive ? (real)(1 / dt_s) : 1;
    d.par[3] = (real)s->refractory_s;
    d.par[4] = (real)s->refractory_sd_s;
    d.par[5] = (real)(1 / dt_s);
    neuron *o = neuron_plan(w, in, &d, (double[]){s->leak_hz, s->noise}, lif_keys, 1, plan);
    plan->unit = "spikes";
    plan->flop = 12;
    neuron_add_state(in, "V", "1", s->start_v, plan);
    neuron_add_state(in, "refractory steps", "1", s->start_rest_s / dt_s, plan);
    return o;
}

static void *pixel_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "pixel_lif takes one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    return euler_plan(w, s_, LIF_GANGLION, 0.001, in, plan);
}

static void *euler_stage_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)at;
    neuron *o = euler_plan(w, s, (enum lif_form)s->form, w->step_s, in, plan);
    plan->spikes = in[0].cells != NULL;
    return o;
}

const stage_type stage_pixel_lif = {
    .name = "pixel_lif",
    .help = "Convis' integrate-and-fire on every pixel, in Euler steps of 1 ms",
    .text = "  V' = V + dt (I - g V) + noise sqrt(g dt) N(0,1), dt = 1 ms;  r = r - 1;  V' = 0 while r >= 0.5;  spike at V' > 1: V = 0, r = "
            "refractory/1 ms." NEURON_SURROGATE_TEXT,
    STAGE_KEYS(settings, pixel_keys),
    .wants_map = true,
    .plan = pixel_plan,
    NEURON_STAGE,
};

const stage_type stage_lif_euler = {
    .name = "lif_euler",
    .help = "integrate-and-fire in Euler steps, on every pixel or cell",
    .text = "  V' = V + dt (I - g V) + noise sqrt(g dt) N(0,1), dt: the step;  spike at V' > 1, then V = 0.  Convis 0.6.4.2 has three forms:\n"
            "  leaky (LeakyIntegrateAndFireNeuron): no refractory time\n"
            "  refractory (RefractoryLeakyIntegrateAndFireNeuron): r = refractory/dt at a spike; then r = max(r, 0) - 1, V = 0 where r >= 0.5\n"
            "  ganglion (GanglionSpiking, as pixel_lif): r = r - 1 and V' = 0 where r >= 0.5 first; a spike sets r.  One step longer at reset.\n"
            "  Its first two take the input per step (drive: per_step).  Cells: a spike stands in the middle of its step." NEURON_SURROGATE_TEXT,
    STAGE_KEYS(settings, euler_keys),
    .plan = euler_stage_plan,
    NEURON_STAGE,
};

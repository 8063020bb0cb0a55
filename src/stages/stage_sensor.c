/* stage_sensor.c - events and spikes drawn from a signal: the event sensor and Poisson spikes. */
#include <math.h>

#include "compute/cellmath_neuron.h"
#include "stages/neuron.h"

/* --- event sensor ---------------------------------------------------------------------------------------------------------- */
typedef struct event_settings {
    int form, surrogate;
    double threshold, reference, width;
} event_settings;

static const key_spec event_keys[] = {
    {"form", KEY_WORD, NULL, "linear", 0, 0, "linear|log", "linear: sums its input; log: compares it with a reference",
     offsetof(event_settings, form), 0, 0},
    {"threshold", KEY_REAL, "", NULL, 1e-9, 1e9, NULL, "h: change that makes an event; log: a factor above 1", offsetof(event_settings, threshold), 0,
     0},
    {"reference", KEY_REAL, "", "0.5", 1e-9, 1e9, NULL, "log: r at step 0", offsetof(event_settings, reference), 0, 0},
    NEURON_SURROGATE_KEYS(event_settings, "", "0.1"),
};

static void *event_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const event_settings *s = s_;
    bool log = s->form == EVENT_LOG;
    if (log && s->threshold <= 1) {
        input_problem(w->in, at, "threshold: with form: log it is a factor, above 1");
    }
    neuron_desc d = {.kind = NEURON_EVENT, .form = s->form, .surrogate = (enum surrogate)s->surrogate, .width = (real)s->width};
    neuron *o = neuron_plan(w, &in[0], &d, &s->threshold, &event_keys[1], 1, plan);
    if (log) {
        plan->param[0].min = 1.000001;
    }
    plan->unit = "spikes";
    plan->flop = 6;
    neuron_add_state(&in[0], log ? "reference" : "sum", in[0].unit, log ? s->reference : 0, plan);
    return o;
}

const stage_type stage_event_sensor = {
    .name = "event_sensor",
    .help = "On and Off events where the input has changed enough (two channels)",
    .text = "  linear: a = a + x; On where a > h, a = a - h; Off where a < -h, a = a + h (x: what changed, as from a highpass stage).\n"
            "  log: On where x/r > h, r = r h; Off where x/r < 1/h, r = r/h (x > 0: light).  At most one event a step, pixel and channel.\n"
            "  Channel 0: On, 1: Off.  Convis 0.6.4.2's IntegrativeMotionSensor; there the k-th pixel with an event is reset to what the k-th pixel "
            "of the\n"
            "  image has, here to its own." NEURON_SURROGATE_TEXT,
    STAGE_KEYS(event_settings, event_keys),
    .wants_map = true,
    .plan = event_plan,
    NEURON_STAGE,
};

/* --- Poisson spikes --------------------------------------------------------------------------------------------------------- */
typedef struct poisson_settings {
    int form;
} poisson_settings;

static const key_spec poisson_keys[] = {
    {"form", KEY_WORD, NULL, "count", 0, 0, "bernoulli|count", "bernoulli: one spike at most, with probability rate dt; count: any number",
     offsetof(poisson_settings, form), 0, 0},
};

static void *poisson_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const poisson_settings *s = s_;
    (void)at;
    neuron_desc d = {.kind = NEURON_POISSON, .form = s->form};
    neuron *o = neuron_plan(w, &in[0], &d, NULL, NULL, 0, plan);
    plan->unit = "spikes";
    plan->spikes = in[0].cells != NULL;
    plan->flop = 60;
    return o;
}

const stage_type stage_poisson = {
    .name = "poisson",
    .help = "Poisson spikes of a rate in Hz, on every pixel or cell",
    .text = "  n ~ Poisson(x dt), or one spike with probability x dt; none for x <= 0.  Drawn by Philox from seed, pixel or cell id and step.  The "
            "spikes of a cell\n"
            "  are spread evenly over their step.  No derivative goes through.",
    STAGE_KEYS(poisson_settings, poisson_keys),
    .plan = poisson_plan,
    .forward = neuron_forward,
    .destroy = neuron_destroy,
};

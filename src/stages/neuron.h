/* neuron.h - what the stages of point neurons and sensors share: one op of the backend, its parameters those of the stage, in the same order. */
#ifndef NEURON_H
#define NEURON_H
#include "stages/stage.h"

typedef struct neuron { /* what such a stage keeps */
    neuron_desc *of;    /* [network] */
    const population *cells;
    double value[NEURON_MOST_PAR]; /* of its parameters before any fit */
} neuron;

/* d: everything but the parameters, neuron_look(d).npar of them: value[], and the key of each, one after the other; the first npositive are positive,
 * the others free.  The states are the caller's to add, in order. */
neuron *neuron_plan(const stage_world *w, const stage_input *in, const neuron_desc *d, const double value[], const key_spec key[], int npositive,
                    stage_plan *plan);
void neuron_add_state(const stage_input *in, const char *name, const char *unit, double start, stage_plan *plan);
void neuron_set(void *own, backend *be, int network, const double *value);
void neuron_forward(void *own, const stage_call *call);
void neuron_backward(void *own, const stage_call *call, const stage_back *back);
void neuron_destroy(void *own, backend *be);
#define NEURON_STAGE .set = neuron_set, .forward = neuron_forward, .backward = neuron_backward, .destroy = neuron_destroy

/* Keys of a stage whose output is spikes. */
#define NEURON_SURROGATE_KEYS(settings, width_unit, width_default)                                                                                   \
    {"surrogate", KEY_WORD, NULL, "fast_sigmoid", 0, 0, "none|fast_sigmoid|triangle|exponential", "derivative given to a spike in fits",             \
     offsetof(settings, surrogate), 0, 0},                                                                                                           \
    {"width", KEY_REAL, width_unit, width_default, 1e-9, 1e9, NULL, "of the surrogate, as a distance of the membrane to the threshold",              \
     offsetof(settings, width), 0, 0}
#define NEURON_SURROGATE_TEXT                                                                                                                        \
    "\n  Derivatives: a spike has that of a surrogate by x, the membrane's distance to the threshold; what a reset does is held constant.\n"         \
    "  fast_sigmoid 1/(1 + |x|/width)^2 (Zenke & Ganguli 2018); triangle max(0, 1 - |x|/width) (Bellec et al. 2018); exponential\n"                  \
    "  exp(-|x|/width) (Shrestha & Orchard 2018); none: 0."
#endif

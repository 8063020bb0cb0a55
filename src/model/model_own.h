/* model_own.h - the model among its own files. */
#ifndef MODEL_OWN_H
#define MODEL_OWN_H
#include "model/model.h"

enum { MODEL_MAX_STAGE = 64, MODEL_MAX_OUTPUT = 2 * MODEL_MAX_STAGE + 1, MODEL_MAX_BORDERS = MODEL_MAX_OUTPUT + MODEL_MAX_STAGE };

/* Output 0 is the stimulus; every stage has one, some a second one behind it. */
typedef struct output {
    char *name;
    int stage;            /* that makes it; -1: the stimulus */
    int nchan, halo, hist;
    const population *cells;
    const char *unit;
    double rest;
    bool rest_varies;     /* from channel to channel */
    enum { PAST_REST, PAST_ZERO, PAST_FIRST_FRAME } past;
    bool past_fixed;      /* some consumer reads history */
    bool doubtful;        /* its stage has problems: what it is made of was guessed */
    bool kept;            /* read after model_forward */
    /* Made and read within one group only: it lives in a worker's own memory, overwritten leaf by leaf, and never goes through main memory; its
     * history stands in the leaf's state. */
    bool passing;
    int64_t state_at, worker_stride;
    int64_t row_stride, chan_stride, frame_stride, leaf_stride;
    dreal *data;
    view v;               /* all own leaves, frame 0 after the history */
} output;

typedef struct stage {
    const stage_type *type;
    const input_node *node;
    void *settings, *own;
    stage_plan plan;
    int nin, in[STAGE_MAX_INPUT], delay[STAGE_MAX_INPUT];
    int out, second;      /* outputs; second -1: none */
    int64_t state_at[STAGE_MAX_STATE]; /* offset in a leaf's state vector */
    spike_list *spikes;   /* [own leaf] */
} stage;

/* Stages that run leaf by leaf without a word to the neighbours, or one coupled stage; then the swaps that later stages need. */
typedef struct group {
    int first, count;
    bool coupled;
} group;

typedef struct borders {
    int width;
    grid_borders *table;
    dreal **device_out, **device_in; /* [peer] */
    real **out, **in;                /* [peer], host; the same memory on the CPU */
    int64_t capacity;                /* values per pixel */
} borders;

struct model {
    model_setup setup;
    stage_world world;
    grid_tile *tile;
    int nstage, noutput, ngroup, nborders;
    stage stage[MODEL_MAX_STAGE];
    output output[MODEL_MAX_OUTPUT];
    group group[MODEL_MAX_STAGE];
    borders borders[MODEL_MAX_BORDERS];
    int64_t nstate_stages, nstate; /* reals a leaf: the stages' own, and with the history of passing outputs */
    dreal *state;
    backend *be;
    stage_services services;
};

/* model_section.c: the keys of the `model` section that are not stages; presets are expanded in the input. */
typedef struct model_section {
    double fovea_deg, scaling_per_deg;
} model_section;
const input_node *model_section_read(const model_setup *setup, model_section *out); /* the list of stages, or NULL */

/* model_plan.c */
void model_plan_stages(model *m, const input_node *list);
void model_plan_arrays(model *m);
void model_plan_passing(model *m); /* again after model_keep */
/* model_borders.c */
void model_plan_borders(model *m);
void model_borders_attach(model *m);
void model_borders_destroy(model *m);
size_t model_borders_bytes(const model *m); /* what attach allocates */
void model_swap(void *model_, view v, int nt);                                 /* stage_services.swap */
void model_sum_leaves(void *model_, const double *mine, int n, double *total); /* stage_services.sum_leaves */
#endif

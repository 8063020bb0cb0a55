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
    double rest;          /* as planned; each network has its own in model.rest */
    bool rest_given;      /* by the input: no parameter changes it */
    bool rest_varies;     /* from channel to channel */
    const grid_tile *tile; /* of maps smaller than the field's tiles; NULL: the field's */
    int pad_ny, pad_nx;    /* padded shape of a map */
    enum { PAST_REST, PAST_ZERO, PAST_FIRST_FRAME } past;
    bool past_fixed;      /* some consumer reads history */
    bool past_mixed;      /* some read it as 0, some as the rest value: which is 0 then, and must stay so */
    bool doubtful;        /* its stage has problems: what it is made of was guessed */
    bool kept;            /* read after model_forward */
    /* Made and read within one group only: it lives in a worker's own memory, overwritten leaf by leaf, and never goes through main memory; its
     * history stands in the leaf's state. */
    bool passing;
    int64_t state_at, worker_stride;
    int64_t row_stride, chan_stride, frame_stride, leaf_stride;
    dreal *data;
    view v;               /* all own leaves, frame 0 after the history */
    bool derived;         /* the loss may depend on something fitted through it: it has a derivative */
    view g;               /* the derivative, of v's shape; at NULL: none */
} output;

typedef struct stage {
    const stage_type *type;
    const input_node *node;
    void *settings, *own;
    stage_plan plan;
    int nin, in[STAGE_MAX_INPUT], delay[STAGE_MAX_INPUT];
    int out, second;      /* outputs; second -1: none */
    int64_t state_at[STAGE_MAX_STATE]; /* offset in a leaf's state vector */
    int64_t value_at, nvalue;          /* its parameters' values in a network's vector */
    bool fitted;                       /* some of them are */
    dreal *tape;                       /* [own leaf][max_nt][plan.tape] */
    double *given[STAGE_MAX_PARAM]; /* values of parameters read from the result of a fit; NULL: as the stage's keys say */
    spike_list *spikes;   /* [own leaf] */
} stage;

/* Stages that run leaf by leaf without a word to the neighbours, or one coupled stage; then the swaps that later stages need. */
typedef struct group {
    int first, count;
    bool coupled;
} group;

/* What goes out, one peer after the other, those of other ranks first: with v values a pixel, peer p's begins at out_px[p] * v, so that one copy
 * moves all of it.  What comes in likewise; of the own rank it is what went out, in the same place. */
typedef struct borders {
    int width;
    grid_borders *table;
    int64_t capacity; /* values per pixel */
    int64_t *out_px, *in_px, far_out_px, far_in_px; /* [peer]; of all other ranks */
    dreal *device_out, *device_in;
    real *out, *in;     /* where MPI reads and writes: the same memory, or the host's */
    real **send, **recv; /* [peer] */
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
    /* parameters, of the networks of this rank */
    int first_net;
    int64_t nvalue;
    double *value;        /* [net][nvalue] */
    double *rest;         /* [net][output] */
    double *state_start;  /* [net][stage][STAGE_MAX_STATE] */
    /* training */
    bool training;
    int64_t draw;
    int nsequence;        /* of those in flight the first that count */
    bool has_statistics;
    double *statistic, *statistic_sum; /* [net][nvalue] as the last chunk makes them, and summed over chunks */
    double statistic_weight;
    int64_t counted;      /* steps since model_start that are in the sum */
    /* derivatives */
    int pending;          /* steps of the last chunk whose frames have not yet become history */
    dreal *state_before;  /* the stages' states at the beginning of the last chunk */
    dreal *g_state;       /* derivative by the states */
    double *g_par;        /* [own leaf][nvalue] */
    double *g_rest;       /* [own leaf][stage][STAGE_MAX_INPUT] */
};

/* Leaves [first, first + n) that belong to one network, from `at` on: how many, and which network. */
int model_same_network(const model *m, int at, int end, int *net);
/* model.c: the call of stage s on leaves [first, first + n), all of one network. */
stage_call model_call(model *m, const stage *s, int first, int n, int worker, int64_t step0, int nt, bool coupled);
bool model_made_by(const output *o, int first, int count);

/* model_param.c */
void model_plan_params(model *m);   /* after all stages are planned */
void model_params_attach(model *m); /* parameters take the values of the input */
void model_params_destroy(model *m);
/* model_statistics.c */
void model_statistics_attach(model *m);
void model_statistics_destroy(model *m);
void model_statistics_clear(model *m);
bool model_statistics_wanted(const model *m, int64_t step0); /* the chunk that begins there counts */
void model_statistics_add(model *m, int64_t step0, int nt);  /* after it was computed */
/* model_back.c */
void model_back_attach(model *m);
void model_back_destroy(model *m);
size_t model_back_bytes(const model *m);

/* model_section.c: the keys of the `model` section that are not stages; presets are expanded in the input. */
typedef struct model_section {
    double fovea_deg, scaling_per_deg;
} model_section;
const input_node *model_section_read(const model_setup *setup, model_section *out); /* the list of stages, or NULL */

/* model_plan.c */
void model_plan_stages(model *m, const input_node *list);
void model_plan_arrays(model *m);
void model_plan_passing(model *m); /* again after model_keep */
/* model_values.c */
/* What the file brings counts as fitted while the stage plans, up to its values: sizes follow them, and some parameters (taps) are there only
 * then. */
typedef struct values_fitted {
    stage_fitted *list;
    char *names;
    const stage_fitted *before;
    int nbefore;
} values_fitted;
values_fitted model_expect_values(model *m, const char *of, const char *path); /* path NULL: nothing */
void model_expected_values(model *m, values_fitted *v); /* ends it */
void model_read_values(model *m, stage *s, const input_node *at, const char *path); /* after planning; problems at `at` */
/* model_borders.c */
void model_plan_borders(model *m);
void model_borders_attach(model *m);
void model_borders_destroy(model *m);
size_t model_borders_bytes(const model *m); /* what attach allocates */
void model_swap(void *model_, view v, int nt);                                 /* stage_services.swap */
void model_swap_back(void *model_, view g, int nt); /* stage_services.swap_back */
void model_sum_leaves(void *model_, const double *mine, int n, double *total); /* stage_services.sum_leaves */
bool model_swap_is_local(void *model_, int halo);                              /* stage_services.swap_is_local */
#endif

/* model.h - an ordered list of stages, the arrays between them, and nothing else. */
#ifndef MODEL_H
#define MODEL_H
#include "cluster/grid.h"
#include "stages/stage.h"

typedef struct model model;

/* The parts of a run that a model needs to be planned; see run/job.c. */
typedef struct model_setup {
    input *in;
    double step_s, pixels_per_deg;
    uint64_t seed;
    int ny, nx;               /* field that is computed, pixels */
    int full_ny, full_nx;     /* field of the input, before VirtualRetina's border is cut off (field.crop); else the same */
    int ntile_y, ntile_x;     /* 0: default rule of grid_plan */
    int chunk_steps;          /* 0: chosen */
    double stimulus_rest;     /* luminance before step 0 */
    int rank, nrank;          /* real or imagined */
    int nthread;              /* of the rank; for model_size */
    bool on_gpu;              /* it will be attached to one: chunks are chosen for it */
    /* for fits; all 0: a simulation */
    int nseq, nnet;           /* sequences in flight, networks */
    bool differentiate;       /* model_back will be called */
    bool stimulus_gradient;   /* the derivative by the stimulus is wanted */
    const stage_fitted *fitted; /* [nfitted] parameters whose derivatives are wanted; names are checked by the caller (model_param_find) */
    int nfitted;
} model_setup;

/* Reads the `model` section (presets are expanded), plans every stage.  No backend memory.  NULL when it has problems. */
model *model_create(const model_setup *setup);
void model_destroy(model *m);

typedef struct model_sizes {
    size_t bytes_arrays, bytes_state, bytes_tables; /* of this rank: outputs; states; kernels, cells, borders and working memory of threads */
    /* of this rank on a GPU, which works on all leaves at once: all; what does not grow with leaves; a leaf whose neighbours are other ranks' */
    size_t bytes_device, bytes_device_fixed, bytes_device_leaf;
    double flop_per_step, bytes_per_step;           /* of the whole model, all ranks */
} model_sizes;
model_sizes model_size(const model *m);
void model_print_plan(const model *m); /* LOG_RESULT lines: grid and chunk; each output: type, shape, halo, frames of its past kept, algorithm */
const grid *model_grid(const model *m);
const char *model_device(const model *m); /* "cpu", "cuda"; after model_attach */
int model_chunk_steps(const model *m);
int model_first_leaf(const model *m);
int model_nleaf(const model *m); /* of this rank */
const grid_tile *model_tiles(const model *m);

/* Output i will be read after each model_forward.  Others may live in working memory: their view has no leaves then.  Before model_attach. */
void model_keep(model *m, int i);

/* Allocates once and builds the backend's plans; afterwards nothing allocates.  State is that before step 0. */
void model_attach(model *m, backend *be);

/* One chunk: steps [step0, step0 + nt), nt <= model_chunk_steps; chunks must follow each other.  Frames of the stimulus stand in
 * model_stimulus (tile interiors, frames 0..nt-1).  Collective. */
void model_forward(model *m, int64_t step0, int nt);
void model_queue(model *m, int64_t step0, int nt); /* the same without waiting: spikes and what the host reads are there after the backend's sync */
view model_stimulus(model *m); /* to be written: ends the time in which model_back may follow a model_forward */

/* Output i of the model: the stimulus (0) and every stage in order. */
typedef struct model_output {
    const char *name, *unit, *type;
    int nchan;
    const population *cells; /* NULL: a map */
    const grid_tile *tile;   /* [own leaf] of a map, in pixels of the whole map */
    int ny, nx;              /* the whole map: the field, but for what follows a region: valid, which is smaller and in one tile */
    bool spikes;
    view v;                  /* frames 0..nt-1 of the last model_forward; interior pixels are valid */
} model_output;
int model_noutput(const model *m);
model_output model_output_at(const model *m, int i);
int model_find(const model *m, const char *name); /* -1: none */
/* Spikes of output i in the last chunk, of local leaf l; in no particular order. */
const spike_list *model_spikes(const model *m, int i, int leaf);

/* --- parameters -------------------------------------------------------------------------------------------------------------
 * All values of one network stand in one vector, parameter after parameter in the order of the stages.  Between model_attach and the first model_set
 * they are those of the input. */
typedef struct model_param {
    const char *stage;
    stage_param p;
    int64_t at;  /* of its first value */
    bool fitted; /* named in setup.fitted */
} model_param;
int model_nparam(const model *m);
model_param model_param_at(const model *m, int i);
int model_param_find(const model *m, const char *stage, const char *param); /* -1: none */
int64_t model_nvalue(const model *m);
int model_nnet(const model *m);      /* networks that this rank has leaves of; a rank without leaves stands by with the first: 1 */
int model_first_net(const model *m); /* global number of the first */
/* Local network `net` takes these values [nvalue].  Not collective, but the same on every rank that has leaves of it. */
void model_set(model *m, int net, const double *value);
void model_values(const model *m, int net, double *value); /* as last set */

/* Running statistics (batch_norm) among them are no optimiser's; they follow what training sees.  Since model_training every chunk counts, once. */
bool model_has_statistics(const model *m);
void model_statistics(const model *m, int net, double *value); /* puts them in value [nvalue] as they are after this sweep, for the next model_set */
void model_sequences(model *m, int n); /* of the sequences in flight the first n count, the others are idle; all, if it is never called */

/* --- derivatives -----------------------------------------------------------------------------------------------------------
 *   model_start(m);                          state before step 0
 *   for each chunk: model_forward; model_state_get of every leaf in between, to come back to
 *   model_back_start(m);                     nothing is derived yet
 *   for each chunk, last to first:
 *       model_state_set to its beginning; model_forward again (not for the last chunk, if nothing came in between)
 *       model_back_open(m, nt);              zero, with what the chunk after it left
 *       add dLoss/dOutput to the frames of model_gradient(m, i)
 *       model_back(m, step0, nt);
 *   model_back_end(m);                       only if the chunks went back to step 0: what the parameters did to the state before it
 *   model_gradient_sum(m, g);                collective */
void model_start(model *m);
void model_training(model *m, bool training, int64_t draw);
void model_back_start(model *m);
void model_back_open(model *m, int nt);
view model_gradient(model *m, int i); /* by output i, frames 0..nt-1, added to by the caller; at NULL: nothing fitted depends on it */
void model_back(model *m, int64_t step0, int nt);
void model_back_end(model *m);
/* g[local network][nvalue]: summed over the leaves of each network in one fixed tree. */
void model_gradient_sum(model *m, double *g);

/* Everything that goes on from chunk to chunk, of one local leaf, as one flat vector (host). */
int64_t model_nstate(const model *m);
void model_state_get(model *m, int leaf, real *state); /* [nstate] */
void model_state_set(model *m, int leaf, const real *state);
/* The stage whose output of the last chunk has a value that is not finite, or NULL.  Looks at one frame; cheap. */
const char *model_not_finite(model *m, int nt);

/* Size of the middle of a field that VirtualRetina would compute with the preset of the `model` section (its adjustSizes); false: no preset. */
bool model_preset_field(input *in, int field_ny, int field_nx, double pixels_per_deg, int *ny, int *nx);

extern const help_topic model_topics[];
extern const int model_ntopic;
extern const help_topic *const model_preset_topics[];
extern const int model_preset_ntopic;
#endif

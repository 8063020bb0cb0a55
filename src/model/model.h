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
} model_setup;

/* Reads the `model` section (presets are expanded), plans every stage.  No backend memory.  NULL when it has problems. */
model *model_create(const model_setup *setup);
void model_destroy(model *m);

typedef struct model_sizes {
    size_t bytes_arrays, bytes_state, bytes_tables; /* of this rank: outputs; states; kernels, cells, borders and working memory of threads */
    double flop_per_step, bytes_per_step;           /* of the whole model, all ranks */
} model_sizes;
model_sizes model_size(const model *m);
void model_print_plan(const model *m); /* LOG_RESULT lines: grid, chunk, each stage: shape, halo, delay, algorithm, memory */
const grid *model_grid(const model *m);
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
view model_stimulus(model *m);

/* Output i of the model: the stimulus (0) and every stage in order. */
typedef struct model_output {
    const char *name, *unit, *type;
    int nchan;
    const population *cells; /* NULL: a map of the field */
    bool spikes;
    view v;                  /* frames 0..nt-1 of the last model_forward; interior pixels are valid */
} model_output;
int model_noutput(const model *m);
model_output model_output_at(const model *m, int i);
int model_find(const model *m, const char *name); /* -1: none */
/* Spikes of output i in the last chunk, of local leaf l; in no particular order. */
const spike_list *model_spikes(const model *m, int i, int leaf);

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

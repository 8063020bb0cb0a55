/* stage.h - one step of a model: a pure function from (inputs, state) to (output, next state).  A stage keeps no other memory between
 * calls, so a chunk can be run again, saved or moved to another rank without asking the stage.
 *
 * A new stage is one file stage_<what>.c with a stage_type, one line in stage_list.c, one test, one input. */
#ifndef STAGE_H
#define STAGE_H
#include "compute/backend.h"
#include "input/input.h"

enum { STAGE_MAX_INPUT = 8, STAGE_MAX_STATE = 6 };

/* Cells with positions; degrees from the centre of the field, x to the right, y up.  Ids are 0..ncell-1 in the order of the mosaic. */
typedef struct population {
    const char *name;
    int64_t ncell;
    const double *x_deg, *y_deg; /* [ncell]                                                                  */
    const char *label;           /* cell type, for /cells                                                    */
    int pad;                     /* cells of the fullest leaf of the whole run: padded row of a cell array   */
    const int64_t *id;           /* [own leaf][pad] global ids, ascending; -1 beyond the leaf's count        */
    const grid_tile *tile;       /* [own leaf] as a view wants it: ny = 1, nx = number of cells              */
} population;

/* What every stage may know when it plans. */
typedef struct stage_world {
    input *in; /* for problems */
    double step_s, pixels_per_deg;
    uint64_t seed;
    grid grid;
    int first_leaf, nleaf;  /* leaves of this rank                                   */
    const grid_tile *tile;  /* [nleaf]                                               */
    int max_nt;             /* longest chunk                                         */
    double fovea_deg, scaling_per_deg; /* log-polar scheme; scaling 0: uniform       */
} stage_world;

/* One input of a stage as it is known when the stage plans. */
typedef struct stage_input {
    const char *name;
    int nchan;
    const population *cells; /* NULL: a map of the field */
    double rest;             /* value everywhere before step 0 */
    bool rest_varies;        /* from channel to channel; rest is the first one's */
    const char *unit;
} stage_input;

typedef struct stage_state {
    const char *name, *unit;
    int64_t n;    /* reals per leaf */
    double start; /* value before step 0 */
} stage_state;

/* What a stage says it needs, before anything is allocated. */
typedef struct stage_plan {
    const char *name;          /* given: of the stage; lives as long as the input */
    int nchan;
    const population *cells;   /* NULL: a map */
    const char *unit;          /* of the output */
    double rest;               /* value of the output before step 0, as delayed consumers see it */
    bool rest_varies;          /* from channel to channel: later stages may not ask for the rest value */
    bool wants_rest;           /* the start of its own state follows from the rest value of its input */
    int halo[STAGE_MAX_INPUT]; /* pixels of each input read beyond the tile */
    int hist[STAGE_MAX_INPUT]; /* frames of each input read before the chunk (without the link's own delay) */
    bool past_zero, past_first_frame; /* those frames before step 0 are 0 or the first frame, instead of the input's rest value */
    int nstate;
    stage_state state[STAGE_MAX_STATE];
    const char *second, *second_unit; /* name of a second output, a map of the same shape; NULL: none */
    double second_rest;
    int out_halo, out_hist;    /* of its own output, that the stage itself reads back (coupled stages) */
    int swap_halo;             /* of one-channel frames of its own that it swaps; 0: none */
    bool coupled;              /* every step needs the neighbours' last one: forward is called once with all leaves */
    bool spikes;               /* appends to stage_call.spikes */
    bool whole_field;          /* needs the field in one tile (recursive filters along whole lines) */
    double flop, bytes;        /* per element of the output and step, for the plan */
    double bytes_held, bytes_thread; /* memory of what attach builds: of this rank, and of each of its threads besides */
    double bytes_scratch;      /* of each thread, shared by all stages */
    char note[160];            /* what was chosen, for plan and log: "separable Gaussian, 13 taps" */
} stage_plan;

/* Services to stages that couple leaves; collective over ranks. */
typedef struct stage_services {
    void *ctx;
    void (*swap)(void *ctx, view v, int nt);                                 /* fills the halos of nt frames from the neighbours and the edge rule */
    void (*sum_leaves)(void *ctx, const double *mine, int n, double *total); /* mine[own leaf][n]; fixed order over leaves */
} stage_services;

typedef struct stage_call {
    backend *be;
    const stage_services *services; /* coupled stages only */
    int first, nleaf;               /* local leaves of the views; first: number of the first, for tables made per leaf */
    int64_t step0;                  /* absolute step of frame 0 */
    int nt;
    int nin;
    view in[STAGE_MAX_INPUT];       /* frame 0 already shifted by the link's delay */
    view out, second;               /* second.at NULL: none */
    dreal *state[STAGE_MAX_STATE];  /* of the first leaf */
    int64_t state_stride;           /* between leaves */
    spike_list *spikes;             /* [nleaf] */
} stage_call;

typedef struct stage_type {
    const char *name, *help; /* the word after `type:`; one line */
    const char *text;        /* equations and references for `chiasm help NAME` */
    const key_spec *keys;
    int nkey;
    size_t settings_size;
    int min_inputs, max_inputs;
    bool wants_cells, wants_map; /* its inputs are populations, or maps; neither: either, as for point and time stages */
    bool long_chunks;        /* works best on many steps at a time */
    /* Sizes and host tables; problems go to world->in at node `at`.  Returns what the stage keeps (host memory), never NULL. */
    void *(*plan)(const stage_world *world, const void *settings, int nin, const stage_input in[], const input_node *at, stage_plan *plan);
    void (*attach)(void *own, backend *be, const view in[]); /* builds the backend's plans; in: with the strides of the run */
    void (*forward)(void *own, const stage_call *call);
    void (*destroy)(void *own, backend *be);                 /* be NULL: was never attached */
} stage_type;

extern const stage_type *const stage_list[];
extern const int stage_count;
const stage_type *stage_find(const char *name); /* NULL if unknown */
#endif

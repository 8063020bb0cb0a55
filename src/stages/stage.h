/* stage.h - one step of a model: a pure function from (inputs, state, parameters) to (output, next state), and its adjoint.  A stage keeps no
 * other memory between calls, so a chunk can be run again, saved or moved to another rank without asking the stage.
 *
 * A new stage is one file stage_<what>.c with a stage_type, one line in stage_list.c, one test, one input. */
#ifndef STAGE_H
#define STAGE_H
#include "compute/backend.h"
#include "input/input.h"

enum { STAGE_MAX_INPUT = 8, STAGE_MAX_STATE = 6, STAGE_MAX_PARAM = 12, STAGE_MAX_DIM = 5 };

/* --- parameters: the physical ones, in the units of their keys ---------------------------------------------------------- */
enum param_map {  /* how an optimiser sees a value: as it is, its logarithm, or the logit of its place between min and max */
    PARAM_FREE, PARAM_POSITIVE, PARAM_BETWEEN
};
typedef struct stage_param {
    const char *name, *unit;       /* the key's name, where it is a key */
    int64_t n;                     /* values */
    int ndim;                      /* 0: one number; else their shape, slowest first */
    int64_t dims[STAGE_MAX_DIM];
    const double *start;           /* [n] before any fit; of the stage, lives as long as it */
    double min, max;               /* what a value may be; -INFINITY, INFINITY: any */
    enum param_map map;            /* default of a fit */
    bool statistic;                /* no optimiser changes it: forward says in training what it becomes (stage_call.statistics) */
} stage_param;

/* What a fit is going to change, known when stages plan: a stage whose sizes follow from a parameter (the radius of a blur) plans for the most. */
typedef struct stage_fitted {
    const char *stage, *param;
    double most; /* largest value that it may get; INFINITY: not said */
} stage_fitted;

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
    int nnet;                          /* networks of this rank, at least 1: copies of the model with parameters of their own */
    const stage_fitted *fitted;        /* [nfitted] */
    int nfitted;
    bool differentiate;                /* backward will be called: write the tape */
} stage_world;

/* plan.c: whether a fit changes a parameter, and the largest value it can come to: the fit's maximum or else twice the start; the start if it
 * is not fitted. */
bool stage_is_fitted(const stage_world *w, const char *stage, const char *param);
double stage_most(const stage_world *w, const char *stage, const char *param, double start);

/* One input of a stage as it is known when the stage plans. */
typedef struct stage_input {
    const char *name;
    int nchan;
    const population *cells; /* NULL: a map of the field */
    const grid_tile *tile;   /* [own leaf] of a map smaller than the field's tiles; NULL: the field's */
    int pad_ny, pad_nx;      /* padded shape of a map */
    double rest;             /* value everywhere before step 0 */
    bool rest_varies;        /* from channel to channel; rest is the first one's */
    const char *unit;
} stage_input;

/* Reals of one channel of a state of the input's shape. */
static inline int64_t stage_plane(const stage_input *in)
{
    return in->cells ? in->cells->pad : (int64_t)in->pad_ny * in->pad_nx;
}

typedef struct stage_state {
    const char *name, *unit;
    int64_t n;    /* reals per leaf */
    double start; /* value before step 0 */
} stage_state;

/* What a stage says it needs, before anything is allocated. */
typedef struct stage_plan {
    const char *name;          /* given: of the stage; lives as long as the input */
    int nin;                   /* given */
    int nchan;                 /* these three are given as those of the first input, for a stage that keeps them */
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
    int out_halo, out_hist;    /* of its own output, that the stage itself reads back (coupled stages, glm) */
    int swap_halo;             /* of one-channel frames of its own that it swaps; 0: none */
    bool coupled;              /* needs other leaves (the neighbours' last step, sums over the batch): forward is called once with all leaves of the
                                  rank, were there none, and swaps the borders of its first output itself */
    bool sums;                 /* its sums over leaves are those of one field: one sequence at a time */
    int nparam;
    stage_param param[STAGE_MAX_PARAM];
    int64_t tape;              /* reals per leaf and step that forward writes for backward, when world->differentiate */
    const grid_tile *tile;     /* [own leaf] of an output whose maps are smaller than the field's tiles (valid convolution); NULL: the field's */
    int pad_ny, pad_nx;        /* then: its padded shape */
    bool spikes;               /* appends to stage_call.spikes */
    bool whole_field;          /* needs the field in one tile (recursive filters along whole lines) */
    double flop, bytes;        /* per element of the output and step, for the plan */
    double bytes_held, bytes_thread; /* memory of what attach builds: of this rank, and of each of its threads besides */
    double bytes_scratch;      /* of each thread, shared by all stages */
    char note[160];            /* what was chosen, for plan and log: "separable Gaussian, 13 taps" */
} stage_plan;

/* plan.c: what several stages do when they plan. */
void stage_add_param(stage_plan *plan, stage_param p);
/* One number, named and limited as its key; start lives as long as the stage.  Returned to be changed. */
stage_param *stage_add_number(stage_plan *plan, const key_spec *key, const double *start, enum param_map map);
/* An output of ny x nx pixels, smaller than the field's tiles: writes plan.tile and its padded shape; a map that is whole so far must be in one tile.
 * The stage keeps the tiles returned [own leaf]. */
grid_tile *stage_plan_smaller(stage_plan *plan, const stage_world *w, const stage_input *in, int ny, int nx);

/* Services to stages that couple leaves; collective over ranks. */
typedef struct stage_services {
    void *ctx;
    void (*swap)(void *ctx, view v, int nt);                                 /* fills the halos of nt frames from the neighbours and the edge rule */
    void (*swap_back)(void *ctx, view g, int nt);                            /* its adjoint: adds halos to the pixels they came from, leaves them 0 */
    void (*sum_leaves)(void *ctx, const double *mine, int n, double *total); /* mine[own leaf][n]; over all leaves of the one network, every
                                                                                sequence, in fixed order; total[n] */
    bool (*swap_is_local)(void *ctx, int halo); /* swaps of such a halo, also back, need no other rank: they are work for the backend alone */
} stage_services;

typedef struct stage_call {
    backend *be;
    const stage_services *services; /* coupled stages only */
    int first, nleaf;               /* local leaves of the views; first: number of the first, for tables made per leaf */
    int network;                    /* all of these leaves belong to it; local number, < world->nnet */
    int64_t step0;                  /* absolute step of frame 0 */
    int nt;
    int nin;
    view in[STAGE_MAX_INPUT];       /* frame 0 already shifted by the link's delay */
    view out, second;               /* second.at NULL: none */
    dreal *state[STAGE_MAX_STATE];  /* of the first leaf */
    int64_t state_stride;           /* between leaves */
    spike_list *spikes;             /* [nleaf] */
    dreal *tape;                    /* nt * plan.tape reals a leaf, tape_stride apart; NULL: no backward will follow */
    int64_t tape_stride;
    bool training;                  /* layers that differ in training (noise, batch statistics) act so */
    int nsequence;                  /* of the sequences in flight the first that count; the others run idle and leave no trace in batch statistics */
    double *statistics;             /* [values of the stage's parameters]: forward writes what its statistics become by this chunk, the same on every
                                       rank; NULL: nobody asks (no training, or a chunk that is computed again) */
    int64_t draw;                   /* number of the batch: random layers draw anew for each */
} stage_call;

/* Global ids of the cells of a call's leaves; NULL: pixels. */
static inline const int64_t *stage_ids(const population *cells, const stage_call *c)
{
    return cells ? cells->id + (int64_t)c->first * cells->pad : NULL;
}

/* What the work of a chunk follows from besides a stage's constants, for backend_ops.repeat_begin. */
enum { STAGE_KEY = 10 };
static inline void stage_key(const void *own, const stage_call *c, int64_t key[STAGE_KEY])
{
    const void *at[] = {own, c->in[0].at, c->out.at, c->second.at, c->state[0], c->tape};
    const int64_t numbers[STAGE_KEY - 6] = {c->first, c->nleaf, c->nt, c->network};
    for (int i = 0; i < STAGE_KEY; i++) {
        key[i] = i < 6 ? (int64_t)(intptr_t)at[i] : numbers[i - 6];
    }
}

/* Adjoint of one chunk.  The stage_call beside it has the inputs and outputs that forward saw and made, state as it was BEFORE the chunk, and the
 * tape.  Everything is ADDED but where it says so. */
typedef struct stage_back {
    view g_out, g_second;            /* derivative of the loss by the outputs; a stage that reads its own history adds to frames < 0 of g_out */
    view g_in[STAGE_MAX_INPUT];      /* by the inputs: tile, halo and history frames; at NULL: nobody wants it */
    dreal *g_state[STAGE_MAX_STATE]; /* in: by the state after the chunk; out (overwritten): by the state before it */
    int64_t g_state_stride;
    double *g_par;                   /* [leaf] pieces of all values of the stage's parameters in their order, g_par_stride apart; NULL: not wanted */
    int64_t g_par_stride;
    double *g_rest;                  /* [leaf] pieces of [STAGE_MAX_INPUT], g_rest_stride apart: by the rest values of the inputs, where forward
                                        itself used them at step 0 */
    int64_t g_rest_stride;
} stage_back;

/* The same of an adjoint; g: what its ops add derivatives by their constants to, NULL: not wanted. */
enum { STAGE_BACK_KEY = STAGE_KEY + 5 };
static inline void stage_back_key(const void *own, const stage_call *c, const stage_back *b, const double *g, int64_t key[STAGE_BACK_KEY])
{
    const void *at[STAGE_BACK_KEY - STAGE_KEY] = {b->g_out.at, b->g_second.at, b->g_in[0].at, b->g_state[0], g};
    stage_key(own, c, key);
    for (int i = STAGE_KEY; i < STAGE_BACK_KEY; i++) {
        key[i] = (int64_t)(intptr_t)at[i - STAGE_KEY];
    }
}

typedef struct stage_type {
    const char *name, *help; /* the word after `type:`; one line */
    const char *text;        /* equations and references for `chiasm help NAME` */
    const key_spec *keys;
    int nkey;
    size_t settings_size;
    bool many_inputs;        /* up to STAGE_MAX_INPUT; else one */
    bool wants_cells, wants_map; /* its inputs are populations, or maps; neither: either, as for point and time stages */
    bool long_chunks;        /* works best on many steps at a time */
    /* Sizes and host tables; problems go to world->in at node `at`.  Returns what the stage keeps (host memory), never NULL. */
    void *(*plan)(const stage_world *world, const void *settings, const stage_input in[], const input_node *at, stage_plan *plan);
    void (*attach)(void *own, backend *be, const view in[]); /* builds the backend's plans; in: with the strides of the run */
    /* Takes the values of all parameters of a network, in the order of plan.param: the only place where constants and tables are made of them, called
     * after attach and after every step of a fit.  NULL: the stage has no parameters. */
    void (*set)(void *own, backend *be, int network, const double *value);
    /* Rest value of the output (and the second), and the start of each state, from those of the inputs, after set; NULL: as planned, whatever the
     * parameters.  start_back adds its adjoint to g_rest_in and g_value (g_start[k]: summed over the reals of state k). */
    void (*start)(void *own, int network, const double rest_in[], double rest[2], double start[]);
    void (*start_back)(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value);
    void (*forward)(void *own, const stage_call *call);
    void (*backward)(void *own, const stage_call *call, const stage_back *back); /* NULL: no derivative goes through (it is 0: Poisson spikes) */
    void (*destroy)(void *own, backend *be);                 /* be NULL: was never attached */
} stage_type;

#define STAGE_KEYS(settings_type, table) .keys = table, .nkey = sizeof table / sizeof *table, .settings_size = sizeof(settings_type)

/* start and start_back of a stage that a constant passes unchanged. */
void stage_pass_rest(void *own, int network, const double rest_in[], double rest[2], double start[]);
void stage_pass_rest_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                          double *g_value);

extern const stage_type *const stage_list[];
extern const int stage_count;
const stage_type *stage_find(const char *name); /* NULL if unknown */
#endif

/* fit_own.h - what the fit*.c files share; nobody else includes it. */
#ifndef FIT_OWN_H
#define FIT_OWN_H
#include "cluster/store.h"
#include "fit/loss.h"
#include "fit/optim.h"
#include "fit/penalty.h"
#include "fit/rewind.h"
#include "fit/split.h"
#include "fit/stopping.h"
#include "fit/transform.h"
#include "input/response.h"
#include "run/fit.h"

enum { FIT_MAX_ITEM = 8 };
enum fit_target { FIT_PARAMETERS, FIT_STIMULUS };
enum fit_score { SCORE_LOSS, SCORE_CORRELATION, SCORE_BITS_PER_SPIKE };

typedef struct fit_settings {
    int target, score;
    const input_node *parameters, *data, *loss, *penalties, *sequences, *split, *optimiser, *stopping, *networks, *stimulus;
    int64_t epochs, evaluate_every, memory_mb, movie_mb;
} fit_settings;

typedef struct fit_sequences {
    int64_t length, burn_in, batch, truncate;
    int order; /* 0 shuffled, 1 in order */
} fit_sequences;

/* fit.stimulus: what a stimulus is made for. */
typedef struct fit_stimulus {
    int objective; /* 0 maximise, 1 match the data */
    const char *stage;
    double cells[4096];
    int ncell;
    double norm, low, high, smooth_space, smooth_time, noise;
} fit_stimulus;

/* One fitted parameter: a piece of f->transform has the same number. */
typedef struct fit_parameter {
    char *name;      /* "opl.sigma" */
    int index;       /* of the model */
    const char *min, *max, *start, *map; /* as written; NULL: the stage's */
    double scale;
    const input_node *at; /* where it was asked for */
} fit_parameter;

/* An output that has targets. */
typedef struct fit_item {
    const input_node *at;
    const char *name;
    int output;
    double weight;
    response *r;          /* NULL: the stimulus is to make this output large */
    response_info info;
    int64_t nelement;     /* of the output, a step: [channel][y][x] of a map, [channel][cell] of a population */
    int64_t map_ny, map_nx;
    double *cells;        /* [ncell] columns of the response, as given; ncell 0: all, in order */
    int ncell;
    bool *chosen;         /* [nelement] of an output made large; NULL: all */
    dreal *target, *mask; /* [own leaf][max_nt][nchan][pad_ny][pad_nx]; mask: weights of the loss */
    int64_t row_stride, chan_stride, frame_stride, leaf_stride;
    dreal *kept;          /* [sequence][chunk][own network][tile] targets and masks, leaf_stride each; NULL: made anew every time */
    bool *known;          /* which of them are there */
    double *count;        /* [network][sequence] terms of the loss */
} fit_item;

typedef struct fit_network {
    const char *name;
    int y0, x0;           /* of its window in the field */
    double *cells;        /* [ncell] columns of the response; ncell 0: as the data say */
    int ncell;
} fit_network;

/* Sums over the time course of an element. */
typedef struct fit_moments {
    loss_moments m;
    double rlogy;
} fit_moments;
enum { FIT_NMOMENT = sizeof(fit_moments) / sizeof(double) };

/* One network's fit, as every rank with leaves of it holds it. */
typedef struct fit_course {
    optim *optim;
    double *u, *best_u;   /* [n] */
    double *best_value;   /* [nvalue] with the running statistics of that time */
    stopping stop;
    bool stopped;
    double first;         /* loss of the first step; NAN: none yet */
    double sum, n;        /* of the batch losses since the last evaluation */
    double loss, validation, score, rate; /* of the last evaluation */
} fit_course;

/* A set of sequences computed in turns of nseq. */
typedef struct fit_set {
    const int64_t *sequence;
    int64_t n;
} fit_set;

struct fit {
    run_parts *p;
    input *in;
    const input_node *section;
    fit_settings s;
    fit_sequences seq;
    fit_stimulus stim;
    loss_settings loss;
    split_settings split;
    optim_settings optim;
    stopping_settings stopping;
    model_setup setup;
    stage_fitted *fitted;     /* [nparam] */
    fit_parameter *param;     /* [nparam] */
    int nparam;
    transform transform;
    penalty *penalty;
    int npenalty, nitem, nnet;
    fit_item item[FIT_MAX_ITEM];
    int activity[LOSS_MAX_ACTIVITY]; /* outputs */
    dreal *step_mask;         /* [own leaf][chunk][step_width] 1 at steps at which some response counts: those whose activity is looked at */
    real *step_staging;
    int step_width;           /* pixels of the widest row */
    double *step_count;       /* [own network][sequence] their number */
    fit_network *network;     /* [nnet] all */
    int nseq;                 /* sequences in flight */
    int64_t nsequence, *start, window, burn_in;
    enum split_part *part;
    fit_set set[3];           /* by split_part */
    int64_t *set_list[3];
    model *m;
    backend *be;

    /* run: memory */
    int nleaf, chunk;
    int64_t nvalue, nu;       /* values and optimiser's numbers of a network */
    double *value, *g_value, *g_part; /* [own network][nvalue] */
    double *g_u;              /* [own network][nu] */
    fit_course *course;       /* [own network] */
    double *losses;           /* [own network] */
    rewind_store *rewind;     /* NULL: one chunk is all */
    real *states;             /* [own leaf][nstate] */
    real *staging;            /* one leaf's frames on the host */
    int64_t nstaging;
    double *recorded;         /* [chunk][ncell of a response] */
    fit_moments *moments;     /* [own network][element] of the items one after the other; of the last fit_evaluate */
    int64_t nelement;         /* of all items */
    loss_slope *slope;        /* the same, of a correlation loss */
    real *movie;              /* [step][y][x] of the rectangle below; NULL: rendered anew every time */
    int64_t movie_first, movie_nstep;
    int rect_y, rect_x, rect_ny, rect_nx;
    double *pixels, *g_pixels; /* target stimulus: [sequence][step][y][x], whole on every rank */
    int64_t npixel;

    /* run: where it stands */
    int64_t epoch, batch, step;
    double *history;          /* [nhistory][own network][4] train, validation, score, rate */
    int64_t *history_at;      /* [nhistory][2] epoch, step */
    int64_t nhistory, history_room;
    char *trouble;            /* what is not finite; NULL: nothing */
    store *result;            /* its name is reserved */
    double began_s, saved_s, step_s; /* log_clock(): of the loop, of the last restart file; longest step so far */
};

/* --- fit_settings.c: the section --- */
void fit_read(fit *f);
void fit_read_networks(fit *f);
bool fit_read_parameters(fit *f, const model *probe);  /* names and wildcards; false: problems */
void fit_read_limits(fit *f);                          /* of the planned model: pieces of the transform, start values in f->value are set later */
void fit_start_values(fit *f, int network, double *value); /* global number; what the input and `start` say */

void fit_read_item(fit *f, const input_node *at, fit_item *it);

/* --- fit_data.c: sequences, responses, frames --- */
void fit_plan_data(fit *f);
void fit_plan_outputs(fit *f);                         /* once the model is planned */
void fit_plan_frames(fit *f);
size_t fit_movie_bytes(const fit *f);                  /* of the frames that are kept; 0: none */
size_t fit_target_bytes(const fit *f);                 /* of the targets that are kept; 0: none */
void fit_data_attach(fit *f);
void fit_data_destroy(fit *f);
int64_t fit_element(const fit_item *it, const population *cells, view v, int leaf, int c, int y, int x);
/* Stimulus and, unless NULL, targets of the window's steps [t0, t0 + nt) of these sequences [nseq] (-1: none). */
void fit_show(fit *f, const int64_t *sequence, int64_t t0, int nt);
void fit_aim(fit *f, const int64_t *sequence, int64_t t0, int nt);
int64_t fit_column(const fit *f, const fit_item *it, int network, int64_t element); /* of the response; -1: none */

/* --- fit_sweep.c: loss and derivative --- */
void fit_sweep_attach(fit *f);
void fit_sweep_destroy(fit *f);
/* Collective.  Parameters of all own networks from u[own network][nu]. */
void fit_set_parameters(fit *f);
/* Collective.  f->losses, and with gradient f->g_value, of a set at the parameters set before; penalties are not in.  draw: of random layers. */
void fit_loss(fit *f, fit_set set, bool gradient, int64_t draw);
/* Collective.  Forward only: f->losses and f->moments.  take (NULL: nothing): called after each chunk. */
void fit_evaluate(fit *f, fit_set set, void (*take)(void *ctx, const int64_t *sequence, int64_t t0, int nt), void *ctx);
double fit_penalties(const fit *f, int net, double *g); /* adds to g [nvalue]; value f->value of the network */
/* Collective.  After a loss that is not finite: names step and stage, or the parameter, in f->trouble. */
void fit_diagnose(fit *f, fit_set set);

/* --- fit.c --- */
void fit_take_u(fit *f, int net, const double *u);     /* f->value of an own network */
void fit_attach(fit *f, backend *be);                  /* collective */
enum exit_code fit_say_trouble(fit *f, fit_set set);   /* collective: why loss or derivative is not finite, on stderr */
bool fit_time_to_stop(fit *f, bool *save);             /* collective: signal, wall time; *save: a restart file is due */

/* --- fit_restart.c --- */
void fit_restart_save(fit *f);
enum exit_code fit_restart_load(fit *f, bool *found);  /* EXIT_BAD_INPUT: refused */

/* --- fit_score.c --- */
double fit_score_of(const fit *f, int net); /* of f->moments and f->losses; larger is better */
double fit_item_score(const fit *f, int net, int item, double *cell_correlation, double *cell_bits); /* [nelement] each, or NULL */
void fit_note_history(fit *f);
void fit_say_result(fit *f, enum split_part part);     /* collective */

/* --- fit_result.c --- */
void fit_write_result(fit *f, double wall_s);
int fit_networks_to_write(const fit *f, int *first);   /* of this rank: local number of the first, and how many */
void fit_define_facts(fit *f);                         /* provenance and history, for fit_stimulus.c */
void fit_write_history(fit *f);
enum split_part fit_part_to_show(const fit *f);

/* --- fit_stimulus.c: target: stimulus --- */
void fit_plan_stimulus(fit *f);
void fit_stimulus_attach(fit *f);
enum exit_code fit_run_stimulus(fit *f);
#endif

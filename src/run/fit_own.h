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

/* Numbers of a chunk that no step changes, of every own leaf: targets, weights of the loss, steps that count. */
typedef struct fit_aimed {
    dreal *now;           /* [own leaf][stride] of the chunk last aimed at: in `space` or among `kept` */
    dreal *space, *kept;  /* kept: [sequence][chunk][own network][tile][stride]; NULL: made anew every time */
    int64_t stride;
} fit_aimed;

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
    fit_aimed target, mask; /* [max_nt][nchan][pad_ny][pad_nx]; mask: weights of the loss */
    int64_t row_stride, chan_stride, frame_stride;
    dreal *slope;         /* [own leaf][as target] derivative of a correlation by the output; NULL: another loss */
    real *slope_line;     /* [own network][4][nelement] as unit_line_back takes it */
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
    bool stopped, finite; /* finite: loss and derivative of the step being taken */
    double first;         /* loss of the first step; NAN: none yet */
    double sum, n;        /* of the batch losses since the last evaluation */
    double loss, validation, score, rate; /* of the last evaluation */
} fit_course;

/* The movie on a device, and the windows of the leaves of one sequence in flight: in the movie, in the stimulus. */
typedef struct fit_windows {
    int n;
    grid_rect *movie, *leaf;
} fit_windows;
typedef struct fit_device_movie {
    dreal *frames, *between; /* as fit.movie; NULL: the host shows every frame */
    grid_tile tile;
    fit_windows *windows;    /* [nseq] */
} fit_device_movie;

/* A set of sequences computed in turns of nseq. */
typedef struct fit_set {
    const int64_t *sequence;
    int64_t n;
} fit_set;

/* One turn: as many sequences as are in flight. */
typedef struct fit_turn {
    fit *f;
    int64_t *sequence;       /* [nseq]; -1: none */
    int64_t segment;         /* first step of the window that is back-propagated through at once */
    double *factor;          /* [own network][item] */
    double *activity_factor; /* [own network] */
    double *chunk;           /* [term][own leaf] sums of the loss of a chunk; terms: items, then L1 and L2 of each activity */
    double *value;           /* [own leaf][term] of all chunks so far */
} fit_turn;

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
    fit_aimed steps;          /* [chunk][step_width] 1 at steps at which some response counts: those whose activity is looked at */
    real *step_staging;       /* of one leaf */
    int step_width;           /* pixels of the widest row */
    bool *known;              /* [kept leaf] whether it was made */
    int64_t *held;            /* [own leaf] which kept leaf stands in the space */
    bool in_place;            /* there is no space: what is kept is used where it is */
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
    bool derived;             /* g_value holds what this sweep has derived so far */
    double *g_u;              /* [own network][nu] */
    fit_course *course;       /* [own network] */
    double *losses;           /* [own network] */
    rewind_store *rewind;     /* NULL: one chunk is all */
    real *states;             /* [own leaf][nstate] */
    real *staging;            /* one leaf's frames on the host */
    int64_t nstaging;
    real *stash;              /* [worker][2][nstash] target and weights on their way to the moments */
    int64_t nstash;
    fit_moments *moments;     /* [own network][element] of the items one after the other; of the last fit_evaluate */
    int64_t nelement;         /* of all items */
    loss_slope *slope;        /* the same, of a correlation loss */
    real *movie;              /* [step][y][x] of the rectangle below; NULL: rendered anew every time */
    fit_device_movie device_movie;
    int64_t movie_nstep;
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

/* --- fit_data.c: sequences, responses --- */
void fit_plan_data(fit *f);
void fit_plan_outputs(fit *f);                         /* once the model is planned */
size_t fit_target_bytes(const fit *f);                 /* of the targets that are kept; 0: none */
size_t fit_aim_bytes(const fit *f);                    /* of all targets and weights */
int64_t fit_aim_reals(const fit *f, const fit_item *it); /* of a leaf's targets */
void fit_data_attach(fit *f);
void fit_data_destroy(fit *f);
int64_t fit_element(const fit_item *it, const population *cells, view v, int leaf, int c, int y, int x);
/* Targets, weights and counted steps of the window's steps [t0, t0 + nt) of these sequences [nseq] (-1: none). */
void fit_aim(fit *f, const int64_t *sequence, int64_t t0, int nt);
int64_t fit_column(const fit *f, const fit_item *it, int network, int64_t element); /* of the response; -1: none */

/* --- fit_frames.c: the stimulus --- */
void fit_plan_frames(fit *f);
size_t fit_movie_bytes(const fit *f);                  /* of the frames that are kept; 0: none */
size_t fit_frame_bytes_device(const fit *f);
void fit_frames_attach(fit *f);
void fit_frames_destroy(fit *f);
void fit_show(fit *f, const int64_t *sequence, int64_t t0, int nt); /* as fit_aim */

/* --- fit_loss.c: loss of a chunk, sums over time courses --- */
void fit_loss_attach(fit *f);
void fit_loss_destroy(fit *f);
fit_turn fit_turn_create(fit *f, fit_set set);
void fit_turn_destroy(fit_turn *t);
/* Queues the loss of the chunk just computed; with gradient into model_gradient, which is open. */
void fit_add_loss(const fit_turn *t, int64_t t0, int nt, bool gradient);
void fit_take_loss(const fit_turn *t);                 /* after the backend's sync */
void fit_sum_losses(fit *f, const fit_turn *t);        /* collective: f->losses from the sums of all leaves; correlations add theirs apart */
bool fit_any_correlation(const fit *f);
void fit_add_correlations(fit *f);                     /* of f->moments: the loss, and the slopes for the way back */
void fit_take_moments(fit *f, int nt, fit_moments *mine); /* [own leaf][nelement]; there after the backend's fetched */

/* --- fit_sweep.c: loss and derivative --- */
void fit_sweep_attach(fit *f);
void fit_sweep_destroy(fit *f);
/* Collective.  Parameters of all own networks from u[own network][nu]. */
void fit_set_parameters(fit *f);
/* Collective.  f->losses, and with gradient f->g_value, of a set at the parameters set before; penalties are not in.  draw: of random layers. */
void fit_loss(fit *f, fit_set set, bool gradient, int64_t draw);
/* Collective.  Forward only: f->losses and f->moments.  take (NULL: nothing): called after each chunk. */
void fit_evaluate(fit *f, fit_set set, void (*take)(void *ctx, const int64_t *sequence, int64_t t0, int nt), void *ctx);
/* Collective.  After a loss that is not finite: names step and stage, or the parameter, in f->trouble. */
void fit_diagnose(fit *f, fit_set set);

/* --- fit_step.c: numbers of the own networks, and methods that step --- */
void fit_each_network(fit *f, void (*work)(fit *f, int net)); /* over the threads; one does a network */
void fit_take_u(fit *f, int net, const double *u);     /* f->value of an own network */
double fit_penalties(const fit *f, int net, double *g); /* adds to g [nvalue]; value f->value of the network */
enum exit_code fit_run_epochs(fit *f);                 /* collective */

/* --- fit.c --- */
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

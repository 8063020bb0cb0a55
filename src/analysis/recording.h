/* recording.h - a stimulus and the responses to it, as every analysis walks through them: cut in pieces of time that are dealt to ranks.
 *
 * The cut is set by the input, so that sums of doubles have the same bits for any number of ranks; sums over a stimulus of whole numbers are exact.
 * Windows over the past are never built: a row of lagged pixels exists for a block of steps at a time. */
#ifndef RECORDING_H
#define RECORDING_H
#include "cluster/grid.h"
#include "input/response.h"
#include "input/stimulus.h"

/* Conventions that differ between tools, as keys of the input. */
typedef struct recording_settings {
    int64_t lags, first_lag;  /* frames of a window; steps between its newest frame and the bin: 0 includes the bin's own frame */
    int count;                /* a bin with k spikes counts k times (0) or once (1) */
    int64_t skip;             /* bins at the start of each trial that are not used */
    int64_t trial;            /* steps of a trial; 0: the recording is one */
    double running[2], train[2], test[2], frozen[2]; /* [first, end) steps of a trial; trials, or steps if there are none */
    int nrunning, ntrain, ntest, nfrozen;
    double offset, unit;      /* stimulus = (luminance - offset) / unit */
    int64_t pieces;
} recording_settings;
enum { RECORDING_NKEY = 12 };
extern const key_spec recording_keys[RECORDING_NKEY];

enum recording_part { RECORDING_UNUSED, RECORDING_TRAIN, RECORDING_TEST, RECORDING_FROZEN };

typedef struct recording {
    recording_settings set;
    int64_t nstep, ncell, trial_steps, ntrial;
    int ny, nx;
    bool whole;            /* every stimulus value is a whole number in [-128, 127]; it is then held in `small` */
    grid pieces, ranks;    /* one tile a piece of time; one a rank */
    int piece0, npiece;    /* own pieces */
    int64_t from, to;      /* own steps */
    int64_t held0;         /* first frame held: before `from` by what windows need */
    int8_t *small;         /* [frames][ny][nx] or */
    real *wide;
    double *count;         /* [ncell][nstep], all of them on every rank; 0 where nothing was recorded */
    uint8_t *part;         /* [nstep], enum recording_part */
} recording;

/* Problems of the settings with each other and the length of the recording go on the list. */
void recording_check(input *in, const input_node *at, recording_settings *s, int64_t nstep);
typedef struct recording_source {
    stimulus *stim;
    response *resp;
    int64_t nstep;
    int y0, x0, ny, nx; /* rectangle of the stimulus's field */
} recording_source;
/* Collective.  Reads responses and renders the stimulus of the own pieces. */
recording *recording_load(const recording_settings *s, const recording_source *from);
void recording_destroy(recording *r);
size_t recording_bytes(const recording_settings *s, int64_t nstep, int64_t ncell, int ny, int nx, int rank, int nrank);
void recording_piece(const recording *r, int piece, int64_t *from, int64_t *to); /* steps of a piece, by its number among all */
double recording_spikes(const recording *r, int64_t cell, enum recording_part part);

/* What a row of numbers about a bin is made of. */
typedef struct recording_rows {
    const recording *r;
    int y0, x0, ny, nx;       /* window of pixels */
    const double *temporal;   /* [lags]: the window's frames weighted and summed; NULL: all of them, newest first */
    int history;              /* counts of cell `cell` at the bins 1..history before */
    int64_t cell;
    bool coupled;             /* ... and of every other cell */
} recording_rows;
int recording_width(const recording_rows *f); /* numbers in a row */
void recording_row(const recording_rows *f, int64_t step, double *row);

/* Moments of the rows of all bins of a part with weight[step] > 0 (NULL: all weigh 1): [0] sum of weights, then width sums, then width x width
 * second moments. */
static inline size_t recording_nmoment(int width)
{
    return 1 + (size_t)width + (size_t)width * (size_t)width;
}
void recording_moments(const recording_rows *f, enum recording_part part, const double *weight, double *moments); /* collective */
/* mean[width], covariance[width][width] of moments; unbiased: divided by n - 1. */
void recording_covariance(int width, const double *moments, bool unbiased, double *mean, double *covariance);
/* Collective.  to[nstep] = sum of kernel times row at each step of the recording that has a whole window in its trial, 0 elsewhere; on every rank. */
void recording_project(const recording_rows *f, const double *kernel, double *to);
/* Collective.  Sums of each piece -> total, in a fixed order; mine[npiece][n]. */
void recording_sum(const recording *r, const double *mine, int64_t n, double *total);
#endif

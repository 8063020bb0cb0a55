/* analyze_own.h - shared by analyze*.c alone. */
#ifndef ANALYZE_OWN_H
#define ANALYZE_OWN_H
#include "analysis/glm.h"
#include "analysis/nonlinearity.h"
#include "analysis/scores.h"
#include "analysis/sta.h"
#include "analysis/stc.h"
#include "analysis/stnmf.h"
#include "analysis/tuning.h"
#include "cluster/store.h"
#include "run/analyze.h"

/* The section as read. */
typedef struct analyze_settings {
    const input_node *response, *stc, *istac, *stnmf, *glm, *tuning, *trains;
    double window, window_at[2], window_smooth; /* window: pixels a side, 0: the whole field */
    int nwindow_at, filter, mean, nnonlinearity;
    bool transfer;
    int64_t bins;
    const char *nonlinearity[NONLINEARITY_COUNT];
} analyze_settings;
enum { FILTER_SEPARABLE, FILTER_FULL };
enum { MEAN_KEEP, MEAN_SUBTRACT };

typedef struct istac_settings {
    int64_t dimensions;
    double cut;
} istac_settings;

typedef struct trains_settings {
    const input_node *response;
    double tau_s, cost_hz;
} trains_settings;

struct analysis {
    const run_parts *parts;
    analyze_settings set;
    recording_settings recording_set;
    stc_settings stc;
    istac_settings istac;
    stnmf_settings stnmf;
    glm_settings glm;
    tuning_settings tuning;
    trains_settings trains;
    bool wants[NONLINEARITY_COUNT];
    response *resp, *other; /* other: trains that are compared, or NULL */
    int64_t nstep, ncell;
    /* of a run */
    recording *r;
    store *file;
    double *mean;         /* [lags][ny][nx] of the stimulus, or NULL */
    double *prediction;   /* [ncell][nstep] of the last nonlinearity, for the transfer matrix */
};

/* A filter and where its window is. */
typedef struct cell_filter {
    int64_t cell;
    char group[128];        /* /analysis/<name> */
    double nspike;
    double *sta;            /* [lags][ny][nx] of the field */
    double *temporal, *map; /* [lags], [ny nx]: separable part over the whole field */
    int y0, x0, ny, nx;     /* window */
    double *spatial;        /* [ny nx] of the window: temporal' STA */
    double *kernel;         /* of the generator: spatial, or [lags][ny nx] */
    int lag;                /* of the largest part of `temporal` */
} cell_filter;

/* Rows of windows weighted by the temporal STA (full: of all frames). */
recording_rows analyze_rows(const analysis *a, const cell_filter *f, bool full);

/* Collective: one analysis of one cell, written and said.  analyze_ln.c */
void analyze_ln(analysis *a, const cell_filter *f);
/* analyze_space.c */
void analyze_stc(analysis *a, const cell_filter *f);
void analyze_glm(analysis *a, const cell_filter *f);
void analyze_tuning(analysis *a, const cell_filter *f);
void analyze_stnmf(analysis *a, const cell_filter *filters);
/* analyze_trains.c */
enum { ANALYZE_TRAINS_NKEY = 3 };
extern const key_spec analyze_trains_keys[ANALYZE_TRAINS_NKEY];
void analyze_trains_plan(analysis *a); /* once a->resp is open */
void analyze_trains(analysis *a);

/* Writes values under a group of the result; rank 0 does it.  dims end with 0. */
void analyze_put(analysis *a, const char *group, const char *name, const char *unit, const double *values, int64_t d0, int64_t d1, int64_t d2);
void analyze_attr(analysis *a, const char *group, const char *name, double value);
#endif

/* run.h - what every mode of a run is given: the sections that all inputs have, read and planned, and the wishes of the command line. */
#ifndef RUN_H
#define RUN_H
#include "base/error.h"
#include "input/stimulus.h"
#include "model/model.h"
#include "run/options.h"
#include "run/settings.h"

typedef struct run_parts {
    const options *opt;
    input *in;
    settings set;        /* sections `run` and `field` */
    stimulus *stim;      /* NULL: not given, or it has problems */
    model_setup setup;   /* of a plain run: a mode may change it before it creates its model */
    const char *command; /* the line as typed */
    const char *result;  /* path of the result, known once all sections are read */
    const char *device;  /* name of the backend, known once it is open */
    double began_s;      /* log_clock() when the program started */
} run_parts;

/* log_clock() when the run has to be over; 0: no limit */
static inline double run_deadline(const run_parts *p)
{
    return p->opt->max_walltime_s > 0 ? p->began_s + p->opt->max_walltime_s : 0;
}

/* The one with the most leaves: what --plan shows. */
int run_busiest_rank(const grid *g, int nrank);
#endif

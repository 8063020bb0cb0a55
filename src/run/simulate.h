/* simulate.h - the loop: stimulus, model, record, chunk by chunk, until the end or until told to stop. */
#ifndef SIMULATE_H
#define SIMULATE_H
#include "base/error.h"
#include "input/stimulus.h"
#include "model/model.h"
#include "run/record.h"

/* Everything is planned and, apart from the result, open. */
typedef struct simulation {
    model *m; /* attached */
    backend *be;
    stimulus *stim;
    int crop_y, crop_x; /* first pixel of the model's field in that of the stimulus */
    record *rec;
    const char *result, *input_effective;
    int64_t nstep;
    double step_s;
    bool overwrite, resume;
    double restart_every_s; /* of wall time; 0: only when stopped */
    double deadline_s;      /* log_clock() when the run has to be over; 0: none */
} simulation;

typedef struct simulate_done {
    enum exit_code code;  /* EXIT_DONE, EXIT_STOPPED, EXIT_DIVERGED, EXIT_BAD_INPUT or EXIT_NO_OUTPUT (refused) */
    int64_t first, steps; /* where it began, and how many it did */
    double wall_s;        /* of the loop */
} simulate_done;

/* Collective; the same answer on every rank. */
simulate_done simulate_run(const simulation *s);
#endif

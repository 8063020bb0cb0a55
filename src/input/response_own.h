/* response_own.h - what the response files of this folder share; nobody else includes it. */
#ifndef RESPONSE_OWN_H
#define RESPONSE_OWN_H
#include "input/response.h"

/* What a dimension of an array, or the place of a list of spike times among others, stands for.  One that comes several times counts as one, the
 * slower dimension first: [time, time] are segments that follow each other. */
enum axis { AXIS_TIME, AXIS_TRIAL, AXIS_CELL, AXIS_ONE };
enum { AXES_MAX = 6 };

typedef struct axes {
    int rank;
    enum axis kind[AXES_MAX];
    int64_t dims[AXES_MAX];
} axes;

int64_t axes_count(const axes *a, enum axis kind);
/* Number of element (or list) `i`, counted row by row, along a kind of axis. */
int64_t axes_place(const axes *a, int64_t i, enum axis kind);

enum response_values { VALUES_AUTO, VALUES_COUNTS, VALUES_RATES, VALUES_SPIKE_TIMES, VALUES_CELL_SPIKE_TIMES };
enum response_unit { UNIT_S, UNIT_MS, UNIT_US, UNIT_STEPS };
enum response_part { PART_ALL, PART_RUNNING, PART_FROZEN };
enum { RESPONSE_MAX_CELLS = 4096 };

typedef struct response_settings {
    const char *source, *output, *frame_times;
    const char *axes[AXES_MAX], *cells[RESPONSE_MAX_CELLS];
    int naxes, ncells;
    int values, unit, files, part;
    double start_s, scale;
    int64_t segment_steps, running, frozen, skip_trials, shift;
    bool clip;
} response_settings;

/* All spikes as steps, in order within each (cell, trial). */
typedef struct spike_steps {
    int64_t ncell, ntrial, nstep, nspike;
    int64_t *first; /* [ncell * ntrial + 1] */
    int64_t *step;  /* [nspike]             */
    char **name;    /* [ncell], or NULL     */
} spike_steps;

/* The files or datasets that a name with braces stands for. */
typedef struct name_list {
    char **name;
    int n;
} name_list;
name_list names_expand(const char *pattern);
void names_free(name_list *l);

/* Reads spike times of any source; NULL after a problem.  nstep: steps wanted, 0: up to the last spike. */
spike_steps *spikes_read(input *in, const input_node *section, const response_settings *set, double step_s, int64_t nstep);
void spikes_free(spike_steps *s); /* NULL is allowed */
/* Whether the source can only be spike times: an array of references, NWB units, the spikes of a result. */
bool spikes_source(const response_settings *set);

/* Checks `axes` (NULL: the usual ones for that many dimensions) against the shape; false after a problem. */
bool axes_read(input *in, const input_node *section, const response_settings *set, int rank, const int64_t *dims, axes *a);
#endif

/* response.h - recorded (or simulated) responses: what a fit is fitted to and what an analysis analyses.
 *
 * Sources, by `source:`
 *   counts.h5:/y            HDF5 (also MAT v7.3, with its 512-byte user block) array of counts or rates; `axes: [time]`, `[cell, time]`,
 *                           `[cell, trial, time]`, ... names what each dimension is; an array of references (MATLAB cell array): lists of times
 *   counts.npy, counts.txt  the same of NumPy and of text
 *   spikes_C{1..8}.txt      spike times, one file a cell, or one file of lines "cell time"; `unit: s|ms|...`, `start:` time of step 0
 *   file.nwb                NWB 2: /units/spike_times with spike_times_index
 *   result.h5               of chiasm simulate: a map, a report or the spikes of a stage (`output: name`)
 * A name with {1..8}, {01..12} or {a,b} stands for many files or datasets, a cell (or trial) each.
 * Conventions that tools differ in are keys: shift (steps by which responses are moved against the stimulus), clip_counts (at most one spike a bin),
 * the parts of trials with new and with repeated stimuli. */
#ifndef RESPONSE_H
#define RESPONSE_H
#include "input/input.h"

typedef struct response response; /* opaque */

typedef struct response_info {
    int64_t nstep, ncell; /* elements a step: cells, or channels * ny * nx of a map */
    int64_t ntrial;       /* repeats; 1: none */
    bool counts;          /* whole numbers of spikes a step, else rates or other values */
} response_info;

/* Checks the section and opens what it names; problems go on the list and NULL is returned.  step_s: bin width for spike times; nstep: steps wanted
 * (0: as many as there are). */
response *response_open(input *in, const input_node *section, double step_s, int64_t nstep);
void response_close(response *r); /* NULL is allowed */
response_info response_look(const response *r);
size_t response_bytes(const response *r); /* host memory of the numbers that it holds at a time */
const char *response_describe(const response *r); /* one line: source, cells, steps, trials, spikes */
/* to[t][cell], cells [cell0, cell0 + ncell): the mean over trials (trial < 0) or one trial; NaN where nothing was recorded. */
void response_read(response *r, int64_t trial, int64_t step0, int64_t nt, int64_t cell0, int64_t ncell, double *to);
/* The names of cells, if the source has them (else NULL). */
const char *response_cell_name(const response *r, int64_t cell);
extern const help_topic response_topic; /* "response" */
#endif

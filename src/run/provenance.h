/* provenance.h - /provenance of a result: where it comes from.
 *   texts: input (effective), original, input_path, command, version, commit, build, precision, host, mpi, device, stimulus, start, end
 *   attributes: seed, ranks, nstep, step_s, wall_s */
#ifndef PROVENANCE_H
#define PROVENANCE_H
#include "cluster/store.h"
#include "input/input.h"

/* Facts of the run; input_* NULL: asked of the input now, as the effective input is whole only after every section was read. */
typedef struct provenance_facts {
    const char *input_effective, *input_original, *input_path, *command, *stimulus, *device;
    double step_s;
    int64_t nstep;
    uint64_t seed;
} provenance_facts;

/* Between store_create and store_begin. */
void provenance_define(store *s, input *in, const provenance_facts *f);
/* Collective, after store_begin, just before store_close: the time and how long it took. */
void provenance_end(store *s, double wall_s);
#endif

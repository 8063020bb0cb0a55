/* record.h - what is kept of a run: maps, cell reports and spikes of chosen stages, streamed into one HDF5 file (store.h).
 *
 *   /maps/<name>        [time][channel][y][x]  recorded region, every k-th step, f32 or f64; attributes units, dt_s, start_s, y0, x0, pixels_per_deg
 *   /cells/<population>/  id u64, x_deg, y_deg f64, type text; /cells/<spiking stage> and /cells/<report> are links to it, so that the name of a
 *                       SONATA population leads to the positions of its cells
 *   /spikes/<stage>/    SONATA: timestamps (ms), node_ids, sorted by (time, id); both without rows when no cell spiked
 *   /report/<name>/     SONATA element report of a cell stage (current, counts), f32
 *   /provenance/        texts: input (effective), original, command, version, commit, build, host, mpi, device, start; attributes: seed, ranks,
 *                       nstep, step_s, end, wall_s
 * <name> is the stage's unless the input gives another. */
#ifndef RECORD_H
#define RECORD_H
#include "cluster/store.h"
#include "model/model.h"

typedef struct record record;

/* Facts of the run that go into the file; copied, texts must live until record_open.  input_* NULL: asked of the input when the file is created,
 * as the effective input is whole only after every section was read. */
typedef struct record_facts {
    const char *input_effective, *input_original, *input_path, *command, *stimulus, *device;
    double step_s, pixels_per_deg;
    int64_t nstep;
    uint64_t seed;
} record_facts;

/* Checks the `record` section (NULL: not given) against the model (names of stages, regions, cadence, cells); problems go on the list.  What is
 * recorded is kept by the model (model_keep).  Never NULL.
 * m NULL, as the model has problems itself: only the form is checked. */
record *record_plan(input *in, const input_node *section, model *m, const record_facts *facts);
void record_destroy(record *r);
size_t record_bytes_buffer(const record *r); /* host memory of this rank */
double record_bytes_total(const record *r);  /* of the finished file, without spikes */
void record_print_plan(const record *r);

/* After model_attach, before record_open: allocates the buffers; be is where frames are downloaded from. */
void record_attach(record *r, backend *be);

/* Collective.  Creates path.part (see store_create) with all structure; or goes on with it after `position` (a resume). */
void record_open(record *r, const char *path, bool overwrite);
void record_resume(record *r, const char *path, const int64_t *position);
/* After each model_queue: asks the backend for the frames that are wanted of steps [step0, step0+nt); they may be computed still.  Own tiles only; not
 * collective. */
void record_take(record *r, model *m, int64_t step0, int nt);
/* Then, once the backend is in sync: takes the spikes of the chunk.  True: a buffer is nearly full and a flush is due (fold into comm_any). */
bool record_take_spikes(record *r, model *m);
void record_flush(record *r); /* collective: writes what is buffered, sorted; then flushes the file */
/* Rows written so far in every array, to be kept in the restart file: position[record_nposition]. */
int record_nposition(const record *r);
void record_position(const record *r, int64_t *position);
/* Collective.  Final attributes (end time, wall time), rename; prints one line per result: name, shape, unit, and spike counts and mean rates. */
void record_close(record *r, double wall_s);
void record_abandon(record *r); /* collective; leaves path.part for a resume */
void record_discard(record *r); /* collective; leaves nothing */

extern const help_topic record_topics[];
extern const int record_ntopic;
#endif

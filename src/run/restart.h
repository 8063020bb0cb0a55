/* restart.h - all that a run needs to go on: step, positions in the result, state of the model.
 *
 * RESULT.h5.restart is an HDF5 file that knows nothing of ranks: state is [leaf][nstate] in the global order of leaves, so it is
 * written by one number of ranks and read by another.  It appears whole (store.h renames it), the one before is kept as
 * RESULT.h5.restart.prev, and checksums tell a damaged one.  State has one layout on every kind of processor.  The result must have been flushed before (record_flush). */
#ifndef RESTART_H
#define RESTART_H
#include "cluster/store.h"
#include "model/model.h"

/* Where a run stands.  position: of the caller, [nposition], see record_position. */
typedef struct restart_point {
    int64_t step;
    int nposition;
    int64_t *position;
} restart_point;

/* Collective.  input_text: effective input of this run. */
void restart_save(const char *result, const char *input_text, model *m, const restart_point *p);
/* Collective.  Sets the model's state and *p from the newest whole restart file.  Refused, with lines on stderr: it was written by another
 * input (all but run.threads and run.chunk counts), in another precision or a newer format; or files are there but none is whole. */
enum restart_found { RESTART_NONE, RESTART_LOADED, RESTART_REFUSED };
enum restart_found restart_load(const char *result, const char *input_text, model *m, restart_point *p);
bool restart_exists(const char *result); /* collective: as rank 0 sees it */
void restart_remove(const char *result); /* collective: when the result is complete */
size_t restart_bytes(const model *m);    /* host memory of this rank while saving or loading */

/* For other modes, which keep files of the same name (fit_restart.c). */
char *restart_name(const char *result, bool previous);              /* memory_free it */
void restart_keep_previous(const char *result);                     /* collective, just before store_close of the new one */
void restart_compare_device(store *s, const char *path, const char *device); /* warns when the file is of another kind of processor */
uint64_t restart_checksum(uint64_t h, const void *data, size_t bytes); /* of words of eight bytes; finds damage, is no signature */

/* What differs between two effective inputs apart from run.threads and run.chunk: the lines of both from the first to the last that differ, at
 * most a few, as "  - line of then\n  + line of now\n"; NULL when nothing differs.  memory_free it. */
char *restart_differences(const char *then, const char *now);
#endif

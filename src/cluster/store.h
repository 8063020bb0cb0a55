/* store.h - named arrays with units in one HDF5 file.  Only store*.c include <hdf5.h> (through store_own.h).
 * What is written does not depend on how many ranks wrote it.  After a failed call the run stops at once on all ranks
 * with EXIT_IO (EXIT_NO_OUTPUT while creating); nothing here returns an error unless it says so. */
#ifndef STORE_H
#define STORE_H
#include "base/base.h"

typedef struct store store; /* opaque: an open file */
enum { STORE_MAX_RANK = 6 };
enum store_type { STORE_F32, STORE_F64, STORE_I32, STORE_I64, STORE_U32, STORE_U64, STORE_U8 };
#ifdef CHIASM_DOUBLE
#define STORE_REAL STORE_F64
#else
#define STORE_REAL STORE_F32
#endif

/* Collective.  Works on path.part until store_close renames it to path.  Refuses (EXIT_NO_OUTPUT, one line) an existing path unless
 * overwrite, an unwritable folder, and a path whose lock (path.lock: host, pid) is held by a living run.
 * Rank 0 builds the structure first, serially (text of any length is allowed only then): between create and store_begin
 * only rank 0's calls to the define functions below count (other ranks may call them, nothing happens).
 * The attr functions may also be called after store_begin, then collectively and with the same values; an attribute of that name is replaced. */
store *store_create(const char *path, bool overwrite);
void store_define_group(store *s, const char *name);
/* dims: slowest first; the first may be 0 and grow by store_write.  chunk_first: rows per chunk of a growing array (0: fixed layout). */
void store_define_array(store *s, const char *name, enum store_type type, int rank, const int64_t *dims, int64_t chunk_first,
                        const char *unit);
/* Small, whole, written now; rank 0: a scalar. */
void store_define_values(store *s, const char *name, enum store_type type, int rank, const int64_t *dims, const char *unit, const void *values);
void store_define_text(store *s, const char *name, const char *text);                              /* scalar string dataset, variable length UTF-8 */
void store_attr_text(store *s, const char *object, const char *attr, const char *text);            /* variable length UTF-8, scalar */
void store_attr_number(store *s, const char *object, const char *attr, double value);              /* f64 scalar */
/* n = 0: a scalar, values[0]. */
void store_attr_integers(store *s, const char *object, const char *attr, enum store_type type, int n, const int64_t *values);
void store_attr_sorting(store *s, const char *object, int value); /* SONATA's enum {none=0, by_id=1, by_time=2} over u8 */
void store_define_link(store *s, const char *existing, const char *name);                          /* hard link */
void store_begin(store *s);                                                                        /* collective; reopens for parallel writing */

/* Collective.  Writes count[] elements at start[] (a rank with nothing gives a count of 0); the array grows in its first dimension to
 * `rows` if that is more than it has.  Memory type is `type` (converted to the file's before writing). */
void store_write(store *s, const char *name, enum store_type type, int64_t rows, const int64_t *start, const int64_t *count, const void *data);
int64_t store_rows(store *s, const char *name);    /* current first dimension */
void store_set_rows(store *s, const char *name, int64_t rows); /* collective; cuts or grows */
void store_flush(store *s);                        /* collective; afterwards a kill leaves a readable file up to here */
/* Collective.  Free space of the file system is compared with bytes + reserve; EXIT_IO with one line if short. */
void store_need_space(store *s, size_t bytes);
void store_close(store *s);                        /* collective; fsync, rename to its final name, unlock */
void store_abandon(store *s, bool keep_part);      /* collective; closes; .part stays (for a resume) or is removed */
/* Collective.  Opens path.part of an interrupted run for further writing; NULL when there is none. */
store *store_reopen(const char *path);

/* --- reading (collective when opened by all ranks; each rank may read other parts) ------------------------------------ */
typedef struct store_info {
    bool found;
    enum store_type type; /* nearest of ours */
    int rank;
    int64_t dims[STORE_MAX_RANK];
} store_info;
/* Serial open by one rank, for input data (movies, kernels): NULL with a reason in *why (static text) if it is not there or no HDF5 file. */
store *store_open_read(const char *path, const char **why);
store *store_open_inside(const char *path, const char **name, const char **why); /* path: FILE.h5:/NAME; *name: its /NAME */
store *store_open_parallel(const char *path, const char **why); /* collective */
store_info store_look(store *s, const char *name);
/* start, count NULL: the whole array. */
bool store_read(store *s, const char *name, enum store_type type, const int64_t *start, const int64_t *count, void *data); /* false: cannot */
/* Elements of an array of references to objects (a MATLAB cell array); 0: no such array.  dims[STORE_MAX_RANK] as in store_info. */
int64_t store_look_references(store *s, const char *name, int *rank, int64_t *dims);
char *store_read_reference(store *s, const char *name, int64_t i); /* name of the object that element i refers to; memory_free it; NULL: none */
char *store_read_text(store *s, const char *name);                                                 /* memory_free it; NULL if absent */
char *store_read_attr_text(store *s, const char *object, const char *attr);                        /* same */
double store_read_attr_number(store *s, const char *object, const char *attr, double otherwise);
char *store_list(store *s, const char *group); /* names of the datasets in a group, one a line; memory_free it */
void store_close_read(store *s);

/* Digest (64-bit FNV-1a, of the shape and the element bytes in logical order) of every dataset below `group` of a finished file,
 * as lines "name digest\n";
 * skips `skip` (prefix, may be NULL).  Serial.  memory_free the text. */
char *store_digests(const char *path, const char *group, const char *skip);
#endif

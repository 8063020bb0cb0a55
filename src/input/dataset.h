/* dataset.h - one array of numbers in a file, whatever the file: HDF5 (MAT v7.3, NWB), .npy, or text. */
#ifndef DATASET_H
#define DATASET_H
#include "base/base.h"

enum { DATASET_MAX_RANK = 5 };

typedef struct dataset dataset; /* opaque */

typedef struct dataset_info {
    int rank; /* text: 1 with one number a line, else 2 */
    int64_t dims[DATASET_MAX_RANK]; /* slowest first; MATLAB's own order is the reverse */
    int64_t count;                  /* elements */
    bool whole;                     /* of an integer type */
} dataset_info;

/* path: FILE.h5:/NAME (any HDF5 file, .mat and .nwb too), FILE.npy, or a text file of numbers between blanks, commas or semicolons, as many in each
 * line; lines that begin with # or % are skipped.  NULL: `why` says what is wrong. */
dataset *dataset_open(const char *path, char *why, size_t size);
void dataset_close(dataset *d); /* NULL is allowed */
dataset_info dataset_look(const dataset *d);
/* The elements count[rank] from start[rank], in their order; false: they cannot be read. */
bool dataset_read(dataset *d, const int64_t *start, const int64_t *count, double *to);
#endif

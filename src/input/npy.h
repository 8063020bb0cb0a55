/* npy.h - arrays in NumPy's .npy format (versions 1 to 3), read piecewise. */
#ifndef NPY_H
#define NPY_H
#include "base/base.h"

enum { NPY_MAX_RANK = 5 };

typedef struct npy {
    int rank;
    int64_t dims[NPY_MAX_RANK]; /* slowest first */
    char kind;                  /* f i u b */
    int bytes;                  /* of an element */
    bool swapped;               /* other byte order than this machine's */
    long data_at;               /* of element 0 in the file */
    void *file;                 /* FILE */
} npy;

/* False: *why says what is wrong with the file (static text).  Elements must be in C order. */
bool npy_open(npy *a, const char *path, const char **why);
void npy_close(npy *a);
bool npy_read(npy *a, int64_t first, int64_t count, double *values); /* false: the file ends or cannot be read */
#endif

/* base.h - the few words every file shares.  Includes only the C library. */
#ifndef BASE_H
#define BASE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Storage and arithmetic of all model arrays: float in chiasm, double in chiasm-double (same sources). */
#ifdef CHIASM_DOUBLE
typedef double real;
#define REAL_NAME "double"
#else
typedef float real;
#define REAL_NAME "float"
#endif

/* A real that lives in backend memory.  A struct, so that host code which dereferences one does not
 * compile; pointer arithmetic still counts elements. */
typedef struct {
    real dev;
} dreal;

/* HD: a function of one cell that the C compiler and nvcc both compile. */
#ifdef __CUDACC__
#define HD __host__ __device__
#else
#define HD
#endif

#endif

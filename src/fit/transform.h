/* transform.h - between the physical values of parameters and the numbers an optimiser works on.
 *   PARAM_FREE u = p / scale;  PARAM_POSITIVE u = log(p);  PARAM_BETWEEN u = log((p - min) / (max - p))
 * Knows no model and no MPI. */
#ifndef TRANSFORM_H
#define TRANSFORM_H
#include "stages/stage.h" /* enum param_map */

/* A run of values that are fitted alike. */
typedef struct transform_piece {
    const char *name; /* "opl.sigma" */
    int64_t at, n;    /* in the vector of all values of a network */
    enum param_map map;
    double min, max; /* of p; -INFINITY, INFINITY: none.  PARAM_BETWEEN has both */
    double scale;    /* PARAM_FREE, above 0; 1: none */
} transform_piece;

typedef struct transform {
    int npiece;
    transform_piece *piece;
    int64_t n; /* numbers of the optimiser: the pieces one after the other */
} transform;

/* Number of the first piece with a value that its map cannot take (outside min..max, PARAM_POSITIVE and not above 0, or PARAM_BETWEEN at a limit,
 * where no derivative would move it), *which of its values; -1: none. */
int transform_problem(const transform *t, const double *p, int64_t *which);
void transform_in(const transform *t, const double *p, double *u);                            /* p: all values of a network */
void transform_out(const transform *t, const double *u, double *p);                           /* writes only what is fitted; clips to the limits */
void transform_gradient(const transform *t, const double *u, const double *g_p, double *g_u); /* chain rule of transform_out without its clipping */
void transform_bounds(const transform *t, double *low, double *high);                         /* [n] of u, for optimisers with bounds */
void transform_clip(const transform *t, double *u);                                           /* puts u within them: after a step without bounds */
#endif

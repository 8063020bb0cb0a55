/* mosaic.h - where the cells of a population stand.  Pure: the same description gives the same positions everywhere.
 * Degrees from the centre of the field, x to the right, y up. */
#ifndef MOSAIC_H
#define MOSAIC_H
#include "base/base.h"

enum mosaic_shape { MOSAIC_SQUARE, MOSAIC_CIRCULAR, MOSAIC_HEXAGONAL };

typedef struct mosaic_desc {
    enum mosaic_shape shape;
    double size_x_deg, size_y_deg;     /* square, hexagonal: the rectangle that is filled                                   */
    double diameter_deg;               /* circular                                                                          */
    double density_per_deg;            /* cells per degree along a line; hexagonal: as many in a square degree as the square */
    double jitter_deg;                 /* s.d. of each coordinate; grows with the distance between cells outside the fovea   */
    double fovea_deg, scaling_per_deg; /* circular: density is divided by 1 + scaling (r - fovea) beyond; scaling 0: uniform */
    double shift_x_deg, shift_y_deg;   /* added to every position; VirtualRetina stands half a pixel right and down         */
    uint64_t seed;
    uint64_t number; /* of the population: two of one run get other jitter and ring phases                */
} mosaic_desc;

typedef struct mosaic {
    int64_t ncell;
    double *x_deg, *y_deg; /* [ncell], owned; mosaic_free */
} mosaic;

/* Order of cells (their ids):
 *   square     columns from left to right, within a column from top to bottom (VirtualRetina's order);
 *   circular   the central cell, then ring by ring outwards, anticlockwise from a random phase;
 *   hexagonal  rows from top to bottom, within a row from left to right. */
int64_t mosaic_count(const mosaic_desc *d);
mosaic mosaic_place(const mosaic_desc *d);
void mosaic_free(mosaic *m);
#endif

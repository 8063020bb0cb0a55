/* penalty.h - penalties on parameters: value and derivative, in double.  Know no model and no MPI.
 *   l1: w sum |p|;  l2: w sum p^2 (no 1/2);  group: w sum over the indices of dimension `along` of the norm ||p_index||_2 of all values that share it
 *   laplace_space: w sum of squares of the 5-point Laplacian over the last two dimensions;  laplace_time: of second differences along the third from
 *   the last (a list: along it);  smooth: w sum of squares of first differences along each of the last three dimensions.
 * Edges: what is outside is 0 (zero_outside), or only what lies wholly inside is counted. */
#ifndef PENALTY_H
#define PENALTY_H
#include "input/input.h"

enum penalty_kind { PENALTY_L1, PENALTY_L2, PENALTY_GROUP, PENALTY_LAPLACE_SPACE, PENALTY_LAPLACE_TIME, PENALTY_SMOOTH, PENALTY_KINDS };
typedef struct penalty {
    enum penalty_kind kind;
    double weight;
    int64_t at, n; /* values in the vector of a network */
    int ndim;
    int64_t dims[5]; /* slowest first; ndim 0: n plain numbers */
    int along;       /* PENALTY_GROUP */
    bool zero_outside;
} penalty;
/* Adds to g (of the whole vector, as value; NULL: value only).  The derivative of a norm or absolute value at 0 is taken as 0. */
double penalty_value(const penalty *p, const double *value, double *g);

/* The `penalties` list of a fit: items {parameter: cnn.kernel, l1: 5.5e-4, l2: 1e-3, laplace_space: ..}; find says where a parameter stands (false:
 * no such parameter).  Returns a list, memory_free it. */
typedef bool (*penalty_find)(void *ctx, const char *parameter, int64_t *at, int64_t *n, int *ndim, int64_t dims[5]);
penalty *penalty_read(input *in, const input_node *list, penalty_find find, void *ctx, int *count);
extern const help_topic penalty_topic;
#endif

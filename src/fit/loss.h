/* loss.h - what a fit minimises: the `loss` section, and the parts of it that a backend's op `loss` does not do.  Knows no model and no MPI.
 *
 * A loss is a sum over leaves and a number to divide it by.  Both stay apart until the end: op `loss` adds the plain sum to value[leaf], and its
 * par[0] is the factor of the derivative, loss_factor(weight, reduce, count), known before the sweep as it depends on the weights alone.
 * Weights (cells, masks, burn-in) multiply the terms; an entry with weight 0 is not counted, and its target may be NaN. */
#ifndef LOSS_H
#define LOSS_H
#include "compute/backend.h"
#include "input/input.h"

enum loss_type { LOSS_TYPE_POISSON, LOSS_TYPE_BERNOULLI, LOSS_TYPE_SQUARED, LOSS_TYPE_CORRELATION };
enum loss_reduce { LOSS_MEAN, LOSS_SUM };
enum { LOSS_MAX_ACTIVITY = 8, LOSS_MAX_CELL_WEIGHT = 4096, LOSS_MAX_MASK = 64 };

typedef struct loss_activity { /* weight * (sum over elements of |y| or y^2) / steps counted: Keras' activity penalty */
    const char *stage;
    double l1, l2;
} loss_activity;

typedef struct loss_settings {
    int type;          /* enum loss_type */
    int reduce;        /* enum loss_reduce; correlation: mean over cells, always */
    const char *stage; /* whose output is compared; NULL: the last one */
    double weight;
    double epsilon;
    double burn_in_s;
    double cell_weight[LOSS_MAX_CELL_WEIGHT];
    int ncell_weight;                 /* 0: all 1 */
    double mask_steps[LOSS_MAX_MASK]; /* pairs [first, end) of steps that are not counted */
    int nmask_steps;
    loss_activity activity[LOSS_MAX_ACTIVITY];
    int nactivity;
} loss_settings;
extern const help_topic loss_topic, loss_activity_topic; /* "loss", "activity" */
void loss_read(input *in, const input_node *section, loss_settings *s);

/* The op for a type (correlation: LOSS_LINEAR with the derivative of loss_correlation_back as target) and its par: factor, epsilon. */
enum loss_kind loss_op(const loss_settings *s);
/* weight / count for a mean, weight for a sum; count 0 gives 0. */
double loss_factor(double weight, enum loss_reduce reduce, double count);

/* w[nt][ncell] of steps [step0, step0 + nt) of the recording.  Steps before first_counted (first step of the sequence and its burn-in) have weight
 * 0; cell_weight[ncell] (NULL: 1); counted[nt][ncell] (NULL: all): false where nothing was recorded.  Returns how many entries have a weight that is
 * not 0. */
int64_t loss_weights(const loss_settings *s, int64_t step0, int64_t nt, int64_t first_counted, int64_t ncell, const double *cell_weight,
                     const bool *counted, real *w);

/* --- correlation: mean over cells of 1 - r, r = Pearson over the whole course of a cell ------------------------------------
 * First sweep: sums of a cell add over chunks and leaves.  Then the derivative by any y is w (by_y y + by_target target + constant). */
typedef struct loss_moments { /* weighted sums; sums of doubles only, to be summed over leaves as an array */
    double w, y, r, yy, rr, yr;
} loss_moments;
typedef struct loss_slope {
    double by_y, by_target, constant;
} loss_slope;
/* y, target, weight (NULL: 1): element of step t and cell c at [t * step_stride + c]; host memory. */
void loss_moments_add(int64_t nt, int64_t ncell, int64_t step_stride, const real *y, const real *target, const real *weight, loss_moments *m);
/* Number of cells that have an r (both courses vary); the others are not counted. */
int64_t loss_correlation_count(int64_t ncell, const loss_moments *m);
/* Sum over cells of 1 - r, and the slopes [ncell] of factor times it; factor: loss_factor(weight, LOSS_MEAN, count). */
double loss_correlation(int64_t ncell, const loss_moments *m, double factor, loss_slope *slope);
/* g[t * step_stride + c] = dLoss/dy without the weight, which LOSS_LINEAR multiplies. */
void loss_correlation_back(int64_t nt, int64_t ncell, int64_t step_stride, const real *y, const real *target, const loss_slope *slope, real *g);
#endif

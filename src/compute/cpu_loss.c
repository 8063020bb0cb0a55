/* cpu_loss.c - losses of outputs against targets, and their derivatives.  Terms and sums are double; a frame is summed by itself and frames are added
 * in order, so that the sum does not show how they were cut into chunks. */
#include <math.h>

#include "base/error.h"
#include "compute/cpu.h"

/* One row of one frame and channel; weight, target and g may be NULL. */
typedef struct loss_row {
    int nx;
    double factor, epsilon;
    const real *y, *target, *weight;
    real *g;
} loss_row;

/* Value of one term and its derivative by y. */
typedef struct loss_term {
    double value, slope;
} loss_term;

static inline loss_term term(enum loss_kind kind, double y, double r, double epsilon)
{
    switch (kind) {
    case LOSS_POISSON:
        return (loss_term){y - r * log(y + epsilon), 1 - r / (y + epsilon)};
    case LOSS_BERNOULLI: /* epsilon on both sides, as the first */
        return (loss_term){-(r * log(y + epsilon) + (1 - r) * log(1 - y + epsilon)), (1 - r) / (1 - y + epsilon) - r / (y + epsilon)};
    case LOSS_SQUARE:
        return (loss_term){(y - r) * (y - r), 2 * (y - r)};
    case LOSS_ACTIVITY_L1:
        return (loss_term){fabs(y), (y > 0) - (y < 0)};
    case LOSS_ACTIVITY_L2:
        return (loss_term){y * y, 2 * y};
    default: /* LOSS_LINEAR */
        return (loss_term){r * y, r};
    }
}

static inline __attribute__((always_inline)) double sum_row(enum loss_kind kind, const loss_row *row)
{
    double sum = 0;
    for (int i = 0; i < row->nx; i++) {
        double w = row->weight ? (double)row->weight[i] : 1;
        if (w == 0) { /* the target may be NaN here */
            continue;
        }
        loss_term t = term(kind, (double)row->y[i], row->target ? (double)row->target[i] : 0, row->epsilon);
        sum += w * t.value;
        if (row->g) {
            row->g[i] += (real)(row->factor * w * t.slope);
        }
    }
    return sum;
}

/* A copy of the loop for each kind. */
static double sum_row_of(enum loss_kind kind, const loss_row *row)
{
    switch (kind) {
    case LOSS_POISSON:
        return sum_row(LOSS_POISSON, row);
    case LOSS_BERNOULLI:
        return sum_row(LOSS_BERNOULLI, row);
    case LOSS_SQUARE:
        return sum_row(LOSS_SQUARE, row);
    case LOSS_ACTIVITY_L1:
        return sum_row(LOSS_ACTIVITY_L1, row);
    case LOSS_ACTIVITY_L2:
        return sum_row(LOSS_ACTIVITY_L2, row);
    default:
        return sum_row(LOSS_LINEAR, row);
    }
}

static real *row_at(view v, int leaf, int t, int c, int i)
{
    return v.at ? cpu_plane(v, leaf, t, c) + i * v.row_stride : NULL;
}

/* par: factor of the derivative, epsilon. */
void cpu_loss(backend *be, enum loss_kind kind, const double par[], int nt, view y, view target, view weight, view g, double *value)
{
    (void)be;
    ASSERT(kind >= 0 && kind < LOSS_COUNT);
    ASSERT(target.at || kind == LOSS_ACTIVITY_L1 || kind == LOSS_ACTIVITY_L2);
    for (int l = 0; l < y.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            double sum = 0;
            for (int c = 0; c < y.nchan; c++) {
                for (int i = 0; i < y.tile[l].ny; i++) {
                    loss_row row = {
                        y.tile[l].nx,         par[0], par[1], row_at(y, l, t, c, i), row_at(target, l, t, c, i), row_at(weight, l, t, c, i),
                        row_at(g, l, t, c, i)};
                    sum += sum_row_of(kind, &row);
                }
            }
            value[l] += sum;
        }
    }
}

/* cpu_loss.c - losses of outputs against targets, and their derivatives.  Terms and sums are double; a frame is summed by itself and frames are added
 * in order, so that the sum does not show how they were cut into chunks. */
#include "base/error.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"

/* One row of one frame and channel; weight, target and g may be NULL. */
typedef struct loss_row {
    int nx;
    double factor, epsilon;
    const real *y, *target, *weight;
    real *g;
} loss_row;

static inline __attribute__((always_inline)) double sum_row(cell_loss (*term)(double, double, double), const loss_row *row)
{
    double sum = 0;
    for (int i = 0; i < row->nx; i++) {
        double w = row->weight ? (double)row->weight[i] : 1;
        if (w == 0) { /* the target may be NaN here */
            continue;
        }
        cell_loss l = term((double)row->y[i], row->target ? (double)row->target[i] : 0, row->epsilon);
        sum += w * l.value;
        if (row->g) {
            row->g[i] += (real)(row->factor * w * l.slope);
        }
    }
    return sum;
}

/* A copy of the loop for each kind. */
static double sum_row_of(enum loss_kind kind, const loss_row *row)
{
    switch (kind) {
#define CASE(kind_, term) \
    case kind_:           \
        return sum_row(term, row);
        CELL_LOSSES(CASE)
#undef CASE
    default:
        return 0;
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

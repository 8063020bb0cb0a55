/* stnmf.h - spike-triggered non-negative matrix factorisation: the subunits of a cell (Liu et al. 2017).
 *
 * X[spikes][pixels], windows weighted by the temporal STA, scaled to a standard deviation of 1, is X ~ A Y with Y >= 0:
 *   A = X Y^+, columns to norm 1;  Y = argmin over Y >= 0 of |X - A Y|^2 + beta sum_p (sum_k Y_kp)^2
 * X comes in only through X'X: with P = (Y Y')^+, A'A = P Y X'X Y' P and A'X = P Y X'X.  So an iteration takes the same time for any number of
 * spikes. */
#ifndef STNMF_H
#define STNMF_H
#include "input/input.h"

typedef struct stnmf_settings {
    int64_t modules, iterations, perturbations, seed;
    double beta, localised; /* Moran's I above which a module counts as local */
} stnmf_settings;
enum { STNMF_NKEY = 6 };
extern const key_spec stnmf_keys[STNMF_NKEY];

typedef struct stnmf_result {
    int nmodule, nlocal;
    double *module;   /* [nmodule][ny][nx] >= 0, the most local first */
    double *moran;    /* [nmodule] descending */
    double residual;  /* |X - A Y|, Frobenius */
    int kept;         /* perturbations that lowered it */
} stnmf_result;

/* square[ny nx][ny nx] = X'X, not scaled; sums[ny nx]: of X's columns; nspike rows.  who: the cell, for random numbers. */
stnmf_result *stnmf_run(const stnmf_settings *s, int ny, int nx, const double *square, const double *sums, double nspike, int64_t who);
void stnmf_destroy(stnmf_result *f);
#endif

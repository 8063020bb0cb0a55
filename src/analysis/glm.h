/* glm.h - Poisson regression: log mu_t = b + k.x_t + h.(own counts before) + l.(counts of other cells before), with a ridge on all but b:
 *   objective = sum (mu - y log mu) + (ridge/2) (|k|^2 + |h|^2 + |l|^2),
 * convex; Newton's method finds its only minimum (Pillow et al. 2008). */
#ifndef GLM_H
#define GLM_H
#include "analysis/recording.h"

typedef struct glm_settings {
    double ridge;
    int64_t history;
    bool coupled;
    double window[4]; /* [y0, x0, ny, nx] of the field; not given: the cell's window */
    int nwindow;
    int64_t steps;
} glm_settings;
enum { GLM_NKEY = 5 };
extern const key_spec glm_keys[GLM_NKEY];

typedef struct glm_result {
    int width;
    double *weight;  /* [width]: window frames newest first, then history, then other cells */
    double bias, objective, gradient; /* gradient: largest element at the end */
    int steps;
} glm_result;

/* Collective.  Training bins of f->cell. */
glm_result *glm_fit(const recording_rows *f, double ridge, int64_t most_steps);
/* Collective.  mu[nstep] on every rank; 0 at steps without a whole window. */
void glm_predict(const recording_rows *f, const glm_result *g, double *mu);
void glm_destroy(glm_result *g);
#endif

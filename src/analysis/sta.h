/* sta.h - spike-triggered averages, and what is read off a filter: its parts in time and space, where it is, how local and how regular it is. */
#ifndef STA_H
#define STA_H
#include "analysis/recording.h"

/* Collective.  sum[cell][lags][ny][nx] = sum over training bins of count times window, exact for stimuli of whole numbers; nspike[cell]. */
void sta_sums(const recording *r, double *sum, double *nspike);
/* Collective.  mean[lags][ny][nx] of the windows of all training bins. */
void sta_mean_window(const recording *r, double *mean);

/* The separable part of a filter[lags][npixel]: temporal[lags] and spatial[npixel] of norm 1, the spatial part mostly positive (its third moment);
 * strength: singular value, share: its part of the energy, values[min(lags, npixel)]: all singular values (may be NULL). */
typedef struct sta_parts {
    double *temporal, *spatial, strength, share, *values;
} sta_parts;
void sta_separate(int lags, int npixel, const double *filter, sta_parts *parts);

/* Where |map| is largest after a Gaussian of sigma pixels (mirrored at the edges). */
void sta_peak(int ny, int nx, const double *map, double sigma, int *y, int *x);

/* Moran's I with the 4 neighbours: (N / sum w) sum_ij w_ij (x_i - m)(x_j - m) / sum_i (x_i - m)^2; above 0.25 a filter counts as localised. */
double sta_moran(int ny, int nx, const double *map);
/* Temporal regularity as released with Yan et al. 2021, a = |temporal|: mean(max a - a) - alpha/(||a - mean(temporal)|| + alpha), alpha = 5e-4. */
double sta_regularity(int lags, const double *temporal);
#endif

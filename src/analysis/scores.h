/* scores.h - how well a prediction describes recorded responses.  Pure functions of arrays in host memory; sums in double, in order.
 * y[ntrial][nt]: responses of a cell (counts or rates) in repeats of one stimulus; p[nt]: prediction in the same unit; m: mean of y over trials.
 * NAN where a score has no value (nothing varies, no spikes, too few trials). */
#ifndef SCORES_H
#define SCORES_H
#include "base/base.h"

/* Pearson correlation. */
double scores_cc(int64_t n, const double *x, const double *y);
/* Fraction of variance explained: 1 - mean (y - p)^2 / var y. */
double scores_fev(int64_t n, const double *p, const double *y);

typedef struct scores_repeats {
    double cc;              /* of p and m */
    double cc_trial;        /* mean over trials of the correlation of p and a trial */
    double cc_half;         /* h: correlation of the means of even and odd trials, or of nsplit random halves, averaged */
    double cc_max;          /* sqrt(2 h/(1 + h)): of m and the mean of endlessly many trials (Spearman and Brown) */
    double cc_norm;         /* cc / cc_max */
    double signal_power;    /* SP = (var_t sum_r y - sum_r var_t y_r)/(R (R - 1)), variances with 1/(n - 1): Sahani and Linden 2003 */
    double cc_norm_schoppe; /* cov(p, m)/sqrt(var p SP), Schoppe et al. 2016 */
    double fev;             /* 1 - mean (m - p)^2 / var m */
    double feve;            /* 1 - (MSE - s2)/(total - s2), MSE over all trials and steps */
    double explainable;     /* (total - s2)/total; cells below 0.15 are usually left out */
    double oracle;          /* mean over trials of the correlation of a trial with the mean of the others */
} scores_repeats;
/* s2: mean over steps of the variance over trials, total: variance over all trials and steps, both with 1/(n - 1).  nsplit 0: even against odd
 * trials; else that many random halves, drawn from seed. */
void scores_of_repeats(int64_t ntrial, int64_t nt, const double *y, const double *p, int nsplit, uint64_t seed, scores_repeats *s);

/* Poisson: y counts, mu predicted counts of the same bins. */
typedef struct scores_likelihood {
    double log_likelihood; /* sum of y log mu - mu (without log y!) */
    double null;           /* the same of a constant rate, null_mean counts a bin */
    double saturated;      /* of mu = y */
    double nspike;
    double bits_per_spike; /* (log_likelihood - null)/(nspike ln 2) */
    double pseudo_r2;      /* 1 - (saturated - log_likelihood)/(saturated - null) */
} scores_likelihood;
/* null_mean: the constant rate that is compared with, e.g. the mean of the training data; NAN: the mean of y itself.  least: mu is taken as at
 * least this (0: a spike where mu is 0 makes the likelihood -infinity). */
void scores_poisson(int64_t n, const double *y, const double *mu, double null_mean, double least, scores_likelihood *s);

/* Spike trains: ascending times.
 * van Rossum 2001: D^2 = 1/tau int_0^inf (f - g)^2 dt, f = sum over spikes of exp(-(t - t_i)/tau) for t > t_i; returns D.  One spike against none:
 * 1/sqrt 2.  O(na + nb). */
double scores_van_rossum(int64_t na, const double *a, int64_t nb, const double *b, double tau);
/* Victor and Purpura 1996: cheapest way from one train to the other, 1 for a spike added or taken away, q |dt| for one moved (q in 1/time). */
double scores_victor_purpura(int64_t na, const double *a, int64_t nb, const double *b, double q);
#endif

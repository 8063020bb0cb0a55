/* stc.h - spike-triggered covariance and the most informative subspace.
 *
 *   C1 = (1/n) sum y (x - STA)(x - STA)',  C0 = covariance of the rows of all bins
 * Eigenvalues of C1 - C0, or, for a stimulus that is not white, of C0^-1/2 C1 C0^-1/2.  Significance: the same of spikes that are shifted in a circle
 * against the stimulus; nested: significant axes are taken out of data and shifted data one after the other (Rust et al. 2005). */
#ifndef STC_H
#define STC_H
#include "analysis/recording.h"

typedef struct stc_settings {
    bool whiten, unbiased, nested, full; /* full: rows are whole windows, else windows weighted by the temporal STA */
    int64_t shifts;         /* 0: no test */
    int64_t smallest_shift; /* bins; more than the memory of stimulus and cell */
    double quantile;        /* of the extreme eigenvalues of the shifted data: 0.95 */
    int64_t seed;
    double cut;             /* whitening: axes of C0 below this part of the largest eigenvalue are left out */
} stc_settings;
enum { STC_NKEY = 9 };
extern const key_spec stc_keys[STC_NKEY];

typedef struct stc_result {
    int width;
    double *mean0, *mean1;  /* [width] of all rows, of spike-triggered ones */
    double *c0, *c1;        /* [width][width] */
    double *value, *vector; /* descending; one eigenvector a row */
    double null_low, null_high; /* NAN: no test */
    int excitatory, suppressive; /* axes beyond them */
} stc_result;

/* Collective.  Training bins of f->cell. */
stc_result *stc_run(const recording_rows *f, const stc_settings *s);
void stc_destroy(stc_result *c);

/* Pillow and Simoncelli 2006: in the space where C0 is the identity, the orthonormal B[m] whose Gaussian information
 *   KL = 0.5 (tr B'CB - log|B'CB| - m + |B'mu|^2)  nats a spike
 * is largest; axes of C0 below `cut` of its largest eigenvalue are left out.  basis[m][width]: B in the stimulus's own space, rows of norm 1; returns
 * KL, and that of all axes in *total. */
double stc_information(const stc_result *c, int m, double cut, double *basis, double *total);
#endif

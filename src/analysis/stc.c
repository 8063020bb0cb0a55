/* stc.c - see stc.h. */
#include "analysis/stc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/linalg.h"
#include "base/memory.h"
#include "base/random.h"

#define AT(field) offsetof(stc_settings, field)
const key_spec stc_keys[STC_NKEY] = {
    {"full", KEY_FLAG, NULL, "false", 0, 0, NULL, "rows are whole windows (lags x pixels); else windows weighted by the temporal STA", AT(full), 0,
     0},
    {"whiten", KEY_FLAG, NULL, "false", 0, 0, NULL, "eigenvalues of C0^-1/2 C1 C0^-1/2 (stimuli that are not white), else of C1 - C0", AT(whiten), 0,
     0},
    {"cut", KEY_REAL, "", "1e-10", 0, 1, NULL, "whitening leaves out axes of C0 below this part of its largest eigenvalue", AT(cut), 0, 0},
    {"unbiased", KEY_FLAG, NULL, "false", 0, 0, NULL, "covariances are divided by n - 1 instead of n", AT(unbiased), 0, 0},
    {"shifts", KEY_INT, NULL, "0", 0, 100000, NULL, "significance: how often spikes are shifted in a circle; 0: no test", AT(shifts), 0, 0},
    {"smallest_shift", KEY_INT, NULL, "100", 1, 1e9, NULL, "bins, either way", AT(smallest_shift), 0, 0},
    {"quantile", KEY_REAL, "", "0.95", 0.5, 1, NULL, "of the extreme eigenvalues of shifted data that an axis has to exceed", AT(quantile), 0, 0},
    {"nested", KEY_FLAG, NULL, "false", 0, 0, NULL, "test again after each significant axis was taken out", AT(nested), 0, 0},
    {"seed", KEY_INT, NULL, "1", 0, 9007199254740992.0, NULL, "of the shifts", AT(seed), 0, 0},
};

static size_t square(int n)
{
    return (size_t)n * (size_t)n;
}

/* to = C1 - C0, or W C1 W; symmetric.  whitener NULL: not whitened. */
static void contrast(int width, const double *c0, const double *c1, const double *whitener, double *to)
{
    if (!whitener) {
        for (size_t i = 0; i < square(width); i++) {
            to[i] = c1[i] - c0[i];
        }
        return;
    }
    double *half = MEMORY_NEW(double, square(width));
    linalg_multiply(false, false, width, width, width, whitener, c1, 0, half);
    linalg_multiply(false, false, width, width, width, half, whitener, 0, to);
    memory_free(half);
}

/* --- shifted spikes ------------------------------------------------------------------------------------------------- */
/* The counts of training bins, moved by `shift` of them in a circle. */
static void shift_counts(const recording *r, int64_t cell, const int64_t *bin, int64_t nbin, int64_t shift, double *to)
{
    memset(to, 0, (size_t)r->nstep * sizeof *to);
    for (int64_t i = 0; i < nbin; i++) {
        to[bin[(i + shift) % nbin]] = r->count[cell * r->nstep + bin[i]];
    }
}

/* shifted[nshift][width][width]: what `contrast` makes of each. */
static void shift_all(const recording_rows *f, const stc_settings *s, const stc_result *c, const double *whitener, double *shifted)
{
    const recording *r = f->r;
    int64_t *bin = MEMORY_NEW(int64_t, r->nstep), nbin = 0;
    double *count = MEMORY_NEW(double, r->nstep), *moments = MEMORY_NEW(double, recording_nmoment(c->width));
    double *mean = MEMORY_NEW(double, c->width), *covariance = MEMORY_NEW(double, square(c->width));
    for (int64_t t = 0; t < r->nstep; t++) {
        if (r->part[t] == RECORDING_TRAIN) {
            bin[nbin++] = t;
        }
    }
    int64_t smallest = 2 * s->smallest_shift < nbin ? s->smallest_shift : nbin / 4, room = nbin - 2 * smallest;
    for (int64_t i = 0; i < s->shifts; i++) {
        random_block b = random_bits((uint64_t)s->seed, RANDOM_SHIFT, (uint64_t)f->cell, (uint64_t)i, 0);
        int64_t shift = smallest + (int64_t)((((uint64_t)b.v[0] << 32) | b.v[1]) % (uint64_t)(room > 0 ? room : 1));
        shift_counts(r, f->cell, bin, nbin, shift, count);
        recording_moments(f, RECORDING_TRAIN, count, moments);
        recording_covariance(c->width, moments, s->unbiased, mean, covariance);
        contrast(c->width, c->c0, covariance, whitener, shifted + (size_t)i * square(c->width));
    }
    memory_free(bin);
    memory_free(count);
    memory_free(moments);
    memory_free(mean);
    memory_free(covariance);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorted x[n]: the q-quantile, between neighbours by a straight line. */
static double quantile(int64_t n, double *x, double q)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at < n - 1 ? (int64_t)at : n - 2;
    return n == 1 ? x[0] : x[i] + (at - (double)i) * (x[i + 1] - x[i]);
}

/* Eigenvalue range of `a` on the axes basis[rank][width]. */
static void extremes(int width, int rank, const double *basis, const double *a, double *low, double *high)
{
    double *half = MEMORY_NEW(double, (size_t)rank *(size_t)width), *small = MEMORY_NEW(double, square(rank)), *value = MEMORY_NEW(double, rank);
    linalg_multiply(false, false, rank, width, width, basis, a, 0, half);
    linalg_multiply(false, true, rank, rank, width, half, basis, 0, small);
    linalg_eigenvalues(rank, small, value);
    *low = value[0];
    *high = value[rank - 1];
    memory_free(half);
    memory_free(small);
    memory_free(value);
}

/* Limits from the shifted data on the axes that are left: eigenvectors [first, end) of the data, which are orthonormal. */
static void limits(const stc_settings *s, const stc_result *c, const double *shifted, int first, int end, double *low, double *high)
{
    double *lows = MEMORY_NEW(double, s->shifts), *highs = MEMORY_NEW(double, s->shifts);
    for (int64_t i = 0; i < s->shifts; i++) {
        extremes(c->width, end - first, c->vector + (size_t)first * (size_t)c->width, shifted + (size_t)i * square(c->width), &lows[i], &highs[i]);
    }
    *low = quantile(s->shifts, lows, 1 - s->quantile);
    *high = quantile(s->shifts, highs, s->quantile);
    memory_free(lows);
    memory_free(highs);
}

/* Counts the axes beyond the limits.  Nested: the axis furthest beyond its limit is taken out, then the limits are found again. */
static void significance(const stc_settings *s, stc_result *c, const double *shifted)
{
    limits(s, c, shifted, 0, c->width, &c->null_low, &c->null_high);
    double low = c->null_low, high = c->null_high;
    int first = 0, end = c->width;
    while (first < end - 1) {
        double above = c->value[first] - high, below = low - c->value[end - 1];
        if (above <= 0 && below <= 0) {
            break;
        }
        if (above >= below) {
            first++;
        } else {
            end--;
        }
        if (s->nested) {
            limits(s, c, shifted, first, end, &low, &high);
        }
    }
    c->excitatory = first;
    c->suppressive = c->width - end;
    c->null_low = low;
    c->null_high = high;
}

/* --- the analysis --------------------------------------------------------------------------------------------------- */
static stc_result *create(int width)
{
    stc_result *c = MEMORY_NEW(stc_result, 1);
    c->width = width;
    c->mean0 = MEMORY_NEW(double, width);
    c->mean1 = MEMORY_NEW(double, width);
    c->c0 = MEMORY_NEW(double, square(width));
    c->c1 = MEMORY_NEW(double, square(width));
    c->value = MEMORY_NEW(double, width);
    c->vector = MEMORY_NEW(double, square(width));
    c->null_low = c->null_high = NAN;
    return c;
}

void stc_destroy(stc_result *c)
{
    if (c) {
        memory_free(c->mean0);
        memory_free(c->mean1);
        memory_free(c->c0);
        memory_free(c->c1);
        memory_free(c->value);
        memory_free(c->vector);
        memory_free(c);
    }
}

/* Ascending to descending. */
static void turn_round(int n, double *value, double *vector)
{
    for (int i = 0; i < n / 2; i++) {
        double *a = vector + (size_t)i * (size_t)n, *b = vector + (size_t)(n - 1 - i) * (size_t)n, keep = value[i];
        value[i] = value[n - 1 - i];
        value[n - 1 - i] = keep;
        for (int j = 0; j < n; j++) {
            keep = a[j];
            a[j] = b[j];
            b[j] = keep;
        }
    }
}

stc_result *stc_run(const recording_rows *f, const stc_settings *s)
{
    int width = recording_width(f);
    stc_result *c = create(width);
    double *moments = MEMORY_NEW(double, recording_nmoment(width)), *whitener = NULL;
    recording_moments(f, RECORDING_TRAIN, NULL, moments);
    recording_covariance(width, moments, s->unbiased, c->mean0, c->c0);
    recording_moments(f, RECORDING_TRAIN, f->r->count + f->cell * f->r->nstep, moments);
    recording_covariance(width, moments, s->unbiased, c->mean1, c->c1);
    memory_free(moments);
    if (s->whiten) {
        whitener = MEMORY_NEW(double, square(width));
        linalg_power(width, c->c0, -0.5, s->cut, whitener);
    }
    contrast(width, c->c0, c->c1, whitener, c->vector);
    linalg_eigen(width, c->vector, c->value);
    turn_round(width, c->value, c->vector);
    if (s->shifts > 0) {
        double *shifted = MEMORY_NEW(double, (size_t)s->shifts *square(width));
        shift_all(f, s, c, whitener, shifted);
        significance(s, c, shifted);
        memory_free(shifted);
    }
    memory_free(whitener);
    return c;
}

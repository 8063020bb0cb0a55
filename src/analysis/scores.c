/* scores.c - correlations, explained variance, likelihoods and distances between spike trains. */
#include "analysis/scores.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

static double mean(int64_t n, const double *x)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

/* Sum of (x - mean x)(y - mean y). */
static double product(int64_t n, const double *x, const double *y)
{
    double mx = mean(n, x), my = mean(n, y), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (x[i] - mx) * (y[i] - my);
    }
    return sum;
}

double scores_cc(int64_t n, const double *x, const double *y)
{
    double xx = product(n, x, x), yy = product(n, y, y);
    return xx > 0 && yy > 0 ? product(n, x, y) / sqrt(xx * yy) : NAN;
}

static double mean_square(int64_t n, const double *x, const double *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    }
    return sum / (double)n;
}

double scores_fev(int64_t n, const double *p, const double *y)
{
    double variance = product(n, y, y) / (double)n;
    return variance > 0 ? 1 - mean_square(n, p, y) / variance : NAN;
}

/* --- repeats ----------------------------------------------------------------------------------------------------------- */
typedef struct repeats {
    int64_t ntrial, nt;
    const double *y; /* [ntrial][nt] */
    double *sum;     /* [nt] over trials */
    double *half[2]; /* [nt] working memory */
} repeats;

/* Correlation of the means of two halves; side[r]: half of trial r, -1: left out. */
static double cc_of_halves(const repeats *a, const int *side)
{
    int64_t n[2] = {0, 0};
    for (int64_t t = 0; t < a->nt; t++) {
        a->half[0][t] = a->half[1][t] = 0;
    }
    for (int64_t r = 0; r < a->ntrial; r++) {
        if (side[r] >= 0) {
            n[side[r]]++;
            for (int64_t t = 0; t < a->nt; t++) {
                a->half[side[r]][t] += a->y[r * a->nt + t];
            }
        }
    }
    return n[0] > 0 && n[1] > 0 ? scores_cc(a->nt, a->half[0], a->half[1]) : NAN; /* a factor does not change a correlation */
}

/* The ntrial / 2 trials with the smallest random keys are one half, the next ntrial / 2 the other. */
static void draw_halves(int64_t ntrial, uint64_t seed, int split, int *side)
{
    int64_t half = ntrial / 2;
    for (int64_t r = 0; r < ntrial; r++) {
        random_block mine = random_bits(seed, RANDOM_HALVES, (uint64_t)r, (uint64_t)split, 0);
        int64_t rank = 0;
        for (int64_t s = 0; s < ntrial; s++) {
            random_block other = random_bits(seed, RANDOM_HALVES, (uint64_t)s, (uint64_t)split, 0);
            rank += other.v[0] < mine.v[0] || (other.v[0] == mine.v[0] && s < r);
        }
        side[r] = rank < half ? 0 : rank < 2 * half ? 1 : -1;
    }
}

static double cc_half(const repeats *a, int nsplit, uint64_t seed)
{
    int *side = MEMORY_NEW(int, a->ntrial);
    double sum = 0;
    for (int k = 0; k < (nsplit > 0 ? nsplit : 1); k++) {
        if (nsplit > 0) {
            draw_halves(a->ntrial, seed, k, side);
        } else {
            for (int64_t r = 0; r < a->ntrial; r++) {
                side[r] = (int)(r % 2);
            }
        }
        sum += cc_of_halves(a, side);
    }
    memory_free(side);
    return sum / (nsplit > 0 ? nsplit : 1);
}

/* A trial against the mean of the others. */
static double oracle(const repeats *a)
{
    double sum = 0;
    for (int64_t r = 0; r < a->ntrial; r++) {
        for (int64_t t = 0; t < a->nt; t++) {
            a->half[0][t] = a->sum[t] - a->y[r * a->nt + t];
        }
        sum += scores_cc(a->nt, a->half[0], a->y + r * a->nt);
    }
    return a->ntrial > 1 ? sum / (double)a->ntrial : NAN;
}

/* Mean over steps of the variance over trials. */
static double noise_variance(const repeats *a)
{
    double total = 0;
    for (int64_t t = 0; t < a->nt; t++) {
        double m = a->sum[t] / (double)a->ntrial, square = 0;
        for (int64_t r = 0; r < a->ntrial; r++) {
            double d = a->y[r * a->nt + t] - m;
            square += d * d;
        }
        total += square / (double)(a->ntrial - 1);
    }
    return total / (double)a->nt;
}

/* What one trial after the other says about p. */
static void score_trials(const repeats *a, const double *p, scores_repeats *s)
{
    int64_t n = a->ntrial * a->nt;
    double square = 0, cc = 0, within = 0, count = (double)a->ntrial;
    for (int64_t r = 0; r < a->ntrial; r++) {
        const double *y = a->y + r * a->nt;
        square += mean_square(a->nt, y, p) / count;
        cc += scores_cc(a->nt, p, y) / count;
        within += product(a->nt, y, y);
    }
    double steps = (double)(a->nt - 1), s2 = noise_variance(a), total = product(n, a->y, a->y) / (double)(n - 1);
    s->cc_trial = cc;
    s->signal_power = (product(a->nt, a->sum, a->sum) - within) / steps / (count * (count - 1));
    s->feve = total > s2 ? 1 - (square - s2) / (total - s2) : NAN;
    s->explainable = total > 0 ? (total - s2) / total : NAN;
}

void scores_of_repeats(int64_t ntrial, int64_t nt, const double *y, const double *p, int nsplit, uint64_t seed, scores_repeats *s)
{
    ASSERT(ntrial > 0 && nt > 1);
    repeats a = {ntrial, nt, y, MEMORY_NEW(double, nt), {MEMORY_NEW(double, nt), MEMORY_NEW(double, nt)}};
    double *m = MEMORY_NEW(double, nt);
    for (int64_t r = 0; r < ntrial; r++) {
        for (int64_t t = 0; t < nt; t++) {
            a.sum[t] += y[r * nt + t];
        }
    }
    for (int64_t t = 0; t < nt; t++) {
        m[t] = a.sum[t] / (double)ntrial;
    }
    score_trials(&a, p, s); /* with one trial all that needs more comes out as NAN: 0/0 */
    s->cc = scores_cc(nt, p, m);
    s->fev = scores_fev(nt, p, m);
    s->cc_half = cc_half(&a, nsplit, seed);
    s->cc_max = s->cc_half > 0 ? sqrt(2 * s->cc_half / (1 + s->cc_half)) : NAN;
    s->cc_norm = s->cc / s->cc_max;
    double power = product(nt, p, p) / (double)(nt - 1) * s->signal_power;
    s->cc_norm_schoppe = power > 0 ? product(nt, p, m) / (double)(nt - 1) / sqrt(power) : NAN;
    s->oracle = oracle(&a);
    memory_free(m);
    memory_free(a.sum);
    memory_free(a.half[0]);
    memory_free(a.half[1]);
}

/* --- likelihood -------------------------------------------------------------------------------------------------------- */
static double poisson_term(double y, double mu)
{
    return (y > 0 ? y * log(mu) : 0) - mu;
}

void scores_poisson(int64_t n, const double *y, const double *mu, double null_mean, double least, scores_likelihood *s)
{
    double rate = isnan(null_mean) ? mean(n, y) : null_mean;
    *s = (scores_likelihood){0};
    for (int64_t i = 0; i < n; i++) {
        s->log_likelihood += poisson_term(y[i], fmax(mu[i], least));
        s->null += poisson_term(y[i], rate);
        s->saturated += poisson_term(y[i], y[i]);
        s->nspike += y[i];
    }
    s->bits_per_spike = s->nspike > 0 ? (s->log_likelihood - s->null) / (s->nspike * log(2)) : NAN;
    s->pseudo_r2 = s->saturated > s->null ? 1 - (s->saturated - s->log_likelihood) / (s->saturated - s->null) : NAN;
}

/* --- spike trains ------------------------------------------------------------------------------------------------------ */

/* f - g falls exponentially from spike to spike, so its square integrates in closed form between them. */
double scores_van_rossum(int64_t na, const double *a, int64_t nb, const double *b, double tau)
{
    ASSERT(tau > 0);
    double square = 0, difference = 0, last = 0;
    for (int64_t i = 0, j = 0; i < na || j < nb;) {
        bool from_a = j >= nb || (i < na && a[i] <= b[j]);
        double now = from_a ? a[i] : b[j], fall = i + j > 0 ? exp(-(now - last) / tau) : 0;
        square += difference * difference / 2 * (1 - fall * fall);
        difference = difference * fall + (from_a ? 1 : -1);
        last = now;
        i += from_a;
        j += !from_a;
    }
    return sqrt(square + difference * difference / 2);
}

/* cost[j]: from the first i spikes of a to the first j of b. */
double scores_victor_purpura(int64_t na, const double *a, int64_t nb, const double *b, double q)
{
    double *cost = MEMORY_NEW(double, nb + 1);
    for (int64_t j = 0; j <= nb; j++) {
        cost[j] = (double)j;
    }
    for (int64_t i = 1; i <= na; i++) {
        double corner = cost[0];
        cost[0] = (double)i;
        for (int64_t j = 1; j <= nb; j++) {
            double moved = corner + q * fabs(a[i - 1] - b[j - 1]);
            corner = cost[j];
            cost[j] = fmin(moved, fmin(cost[j], cost[j - 1]) + 1);
        }
    }
    double least = cost[nb];
    memory_free(cost);
    return least;
}

/* nonlinearity.c - see nonlinearity.h. */
#include "analysis/nonlinearity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/linalg.h"
#include "base/memory.h"

const char *const nonlinearity_name[NONLINEARITY_COUNT] = {"histogram", "exp", "softplus", "sigmoid", "parametric"};
enum { MOST_STEPS = 500, NPARAM = 3, ENOUGH = 10000 };
static const double SMALLEST_RATE = 1e-12, LARGEST_EXPONENT = 30;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* --- histogram ------------------------------------------------------------------------------------------------------ */
static int bin_of(const nonlinearity *f, double g)
{
    int low = 0, high = f->nbin - 1; /* the first inner edge above g is edge[low + 1] */
    while (low < high) {
        int middle = (low + high) / 2;
        if (f->edge[middle + 1] <= g) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void fit_histogram(nonlinearity *f, int64_t n, const double *g, const double *y)
{
    double *sorted = MEMORY_NEW(double, n), *count = MEMORY_NEW(double, f->nbin);
    f->edge = MEMORY_NEW(double, f->nbin + 1);
    f->rate = MEMORY_NEW(double, f->nbin);
    memcpy(sorted, g, (size_t)n * sizeof *g);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    for (int i = 0; i <= f->nbin; i++) {
        double at = (double)(n - 1) * i / f->nbin;
        int64_t k = (int64_t)at;
        f->edge[i] = k + 1 < n ? sorted[k] + (at - (double)k) * (sorted[k + 1] - sorted[k]) : sorted[n - 1];
    }
    for (int64_t t = 0; t < n; t++) {
        int i = bin_of(f, g[t]);
        f->rate[i] += y[t];
        count[i]++;
    }
    for (int i = 0; i < f->nbin; i++) {
        f->rate[i] /= count[i] > 0 ? count[i] : 1;
    }
    memory_free(sorted);
    memory_free(count);
}

/* --- functions: p = (log a, b, c) ----------------------------------------------------------------------------------- */
static double value_of(enum nonlinearity_kind kind, const double p[NPARAM], double g, double d[NPARAM])
{
    double s = p[1] * g + p[2], a = exp(fmin(p[0], LARGEST_EXPONENT)), mu, inner;
    if (kind == NONLINEARITY_EXP) {
        mu = exp(fmin(p[0] + p[1] * g, LARGEST_EXPONENT));
        inner = mu;
    } else {
        double sigmoid = 1 / (1 + exp(-s));
        bool is_sigmoid = kind == NONLINEARITY_SIGMOID;
        mu = a * (is_sigmoid ? sigmoid : s > 0 ? s + log1p(exp(-s)) : log1p(exp(s)));
        inner = a * sigmoid * (is_sigmoid ? 1 - sigmoid : 1);
    }
    d[0] = mu;
    d[1] = inner * g;
    d[2] = kind == NONLINEARITY_EXP || kind == NONLINEARITY_PARAMETRIC ? 0 : inner;
    return fmax(mu, SMALLEST_RATE);
}

/* Log likelihood; its gradient and Fisher's information too unless NULL. */
static double likelihood(enum nonlinearity_kind kind, const double p[NPARAM], int64_t n, const double *g, const double *y, double *gradient,
                         double *fisher)
{
    double sum = 0, d[NPARAM];
    for (int64_t t = 0; t < n; t++) {
        double mu = value_of(kind, p, g[t], d);
        sum += y[t] * log(mu) - mu;
        for (int i = 0; gradient && i < NPARAM; i++) {
            gradient[i] += (y[t] / mu - 1) * d[i];
            for (int j = 0; j < NPARAM; j++) {
                fisher[i * NPARAM + j] += d[i] * d[j] / mu;
            }
        }
    }
    return sum;
}

/* Fisher scoring with Levenberg's damping (Levenberg 1944). */
static double climb(enum nonlinearity_kind kind, int64_t n, const double *g, const double *y, double p[NPARAM])
{
    double damping = 1e-3, now = likelihood(kind, p, n, g, y, NULL, NULL);
    for (int step = 0; step < MOST_STEPS && damping < 1e12; step++) {
        double gradient[NPARAM] = {0}, fisher[NPARAM * NPARAM] = {0}, next[NPARAM], slope = 0;
        likelihood(kind, p, n, g, y, gradient, fisher);
        bool better = false;
        while (!better && damping < 1e12) {
            double a[NPARAM * NPARAM], move[NPARAM];
            memcpy(a, fisher, sizeof a);
            memcpy(move, gradient, sizeof move);
            for (int i = 0; i < NPARAM; i++) {
                a[i * (NPARAM + 1)] += damping * fisher[i * (NPARAM + 1)] + 1e-12 * (1 + fisher[0]);
            }
            bool solved = linalg_solve(NPARAM, a, move);
            slope = 0;
            for (int i = 0; i < NPARAM; i++) {
                next[i] = p[i] + (solved ? move[i] : 0);
                slope += move[i] * gradient[i];
            }
            double then = likelihood(kind, next, n, g, y, NULL, NULL);
            better = solved && then > now;
            damping *= better ? 0.2 : 5;
            now = better ? then : now;
        }
        if (better) {
            memcpy(p, next, sizeof next);
        }
        if (!better || slope < 1e-10) { /* nats still to be had, to first order */
            break;
        }
    }
    return now;
}

static void fit_function(nonlinearity *f, int64_t n, const double *g, const double *y)
{
    static const double starts[][NPARAM] = {{-2, 1, -1}, {-1, 3, -3}, {-3, 0.5, 0}, {0, -1, -1}};
    double square = 0, mean = 0, *scaled = MEMORY_NEW(double, n), best[NPARAM] = {0};
    f->log_likelihood = -INFINITY;
    for (int64_t t = 0; t < n; t++) {
        mean += g[t] / (double)n;
        square += g[t] * g[t] / (double)n;
    }
    double sd = sqrt(fmax(square - mean * mean, 0)), unit = sd > 0 ? sd : 1;
    for (int64_t t = 0; t < n; t++) {
        scaled[t] = g[t] / unit;
    }
    int64_t some = n < ENOUGH ? n : ENOUGH; /* the best start is found on the first part of the data */
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        double p[NPARAM];
        memcpy(p, starts[i], sizeof p);
        p[2] = f->kind == NONLINEARITY_PARAMETRIC ? 0 : p[2];
        double reached = climb(f->kind, some, scaled, y, p);
        if (reached > f->log_likelihood) {
            f->log_likelihood = reached;
            memcpy(best, p, sizeof best);
        }
    }
    f->log_likelihood = climb(f->kind, n, scaled, y, best);
    f->a = f->kind == NONLINEARITY_EXP ? best[0] : exp(best[0]);
    f->b = best[1] / unit;
    f->c = f->kind == NONLINEARITY_EXP ? 0 : best[2];
    memory_free(scaled);
}

nonlinearity *nonlinearity_fit(enum nonlinearity_kind kind, int nbin, int64_t n, const double *g, const double *y)
{
    nonlinearity *f = MEMORY_NEW(nonlinearity, 1);
    f->kind = kind;
    f->nbin = nbin;
    if (kind != NONLINEARITY_HISTOGRAM) {
        fit_function(f, n, g, y);
        return f;
    }
    fit_histogram(f, n, g, y);
    for (int64_t t = 0; t < n; t++) {
        double mu = fmax(nonlinearity_at(f, g[t]), SMALLEST_RATE);
        f->log_likelihood += y[t] * log(mu) - mu;
    }
    return f;
}

double nonlinearity_at(const nonlinearity *f, double g)
{
    if (f->kind == NONLINEARITY_HISTOGRAM) {
        return f->rate[bin_of(f, g)];
    }
    double p[NPARAM] = {f->kind == NONLINEARITY_EXP ? f->a : log(f->a), f->b, f->c}, d[NPARAM];
    return value_of(f->kind, p, g, d);
}

void nonlinearity_destroy(nonlinearity *f)
{
    if (f) {
        memory_free(f->edge);
        memory_free(f->rate);
        memory_free(f);
    }
}

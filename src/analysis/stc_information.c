/* stc_information.c - iSTAC: ascent over orthonormal bases, with steps back to them by Gram and Schmidt.  See stc.h. */
#include <math.h>
#include <string.h>

#include "analysis/linalg.h"
#include "analysis/stc.h"
#include "base/memory.h"

enum { MOST_STEPS = 20000 };
/* Where the gradient is this small, KL is known to its square. */
#define SMALLEST_GRADIENT 1e-8

/* The whitened problem: C[n][n] and mu[n]; `back` leads to the stimulus's own space. */
typedef struct space {
    int n;
    double *c, *mu, *back; /* back[n][width]: C0^-1/2 along the axes kept */
} space;

/* false: a row lies in the space of those before it. */
static bool orthonormalise(int m, int n, double *b)
{
    for (int i = 0; i < m; i++) {
        double *v = b + (size_t)i * (size_t)n, before = sqrt(linalg_dot(n, v, v));
        for (int pass = 0; pass < 2; pass++) {
            for (int j = 0; j < i; j++) {
                const double *u = b + (size_t)j * (size_t)n;
                double along = linalg_dot(n, u, v);
                for (int k = 0; k < n; k++) {
                    v[k] -= along * u[k];
                }
            }
        }
        double norm = sqrt(linalg_dot(n, v, v));
        if (!(norm > 1e-6 * before)) {
            return false;
        }
        for (int k = 0; k < n; k++) {
            v[k] /= norm;
        }
    }
    return true;
}

/* KL of a basis b[m][n]; gradient[m][n], tangent to the bases, unless NULL. */
static double information(const space *s, int m, const double *b, double *gradient)
{
    double *cb = MEMORY_NEW(double, m *s->n), *q = MEMORY_NEW(double, m *m), *inverse = MEMORY_NEW(double, m *m), *value = MEMORY_NEW(double, m);
    double *along = MEMORY_NEW(double, m), kl = -m;
    linalg_multiply(false, false, m, s->n, s->n, b, s->c, 0, cb);
    linalg_multiply(false, true, m, m, s->n, cb, b, 0, q);
    for (int i = 0; i < m; i++) {
        along[i] = linalg_dot(s->n, b + i * s->n, s->mu);
        kl += q[i * m + i] + along[i] * along[i];
    }
    linalg_power(m, q, -1, 0, inverse);
    linalg_eigenvalues(m, q, value);
    for (int i = 0; i < m; i++) {
        kl -= log(value[i]);
    }
    if (gradient) {
        double *inside = MEMORY_NEW(double, m *m);
        memcpy(gradient, cb, (size_t)(m * s->n) * sizeof *gradient);
        for (size_t i = 0; i < (size_t)(m * m); i++) {
            inverse[i] = -inverse[i];
        }
        linalg_multiply(false, false, m, s->n, m, inverse, cb, 1, gradient);
        for (int i = 0; i < m; i++) {
            for (int k = 0; k < s->n; k++) {
                gradient[i * s->n + k] += along[i] * s->mu[k];
            }
        }
        linalg_multiply(false, true, m, m, s->n, gradient, b, 0, inside);
        for (int i = 0; i < m * m; i++) {
            inside[i] = -inside[i];
        }
        linalg_multiply(false, false, m, s->n, m, inside, b, 1, gradient);
        memory_free(inside);
    }
    memory_free(cb);
    memory_free(q);
    memory_free(inverse);
    memory_free(value);
    memory_free(along);
    return 0.5 * kl;
}

/* Climbs from b to the top next to it. */
static double climb(const space *s, int m, double *b)
{
    int n = m * s->n;
    double *g = MEMORY_NEW(double, n), *next = MEMORY_NEW(double, n), step = 0.5, kl = information(s, m, b, g);
    for (int i = 0; i < MOST_STEPS && step > 1e-14 && linalg_dot(n, g, g) > SMALLEST_GRADIENT * SMALLEST_GRADIENT; i++) {
        for (int k = 0; k < n; k++) {
            next[k] = b[k] + step * g[k];
        }
        double higher = orthonormalise(m, s->n, next) ? information(s, m, next, NULL) : -INFINITY;
        if (higher < kl) {
            step *= 0.5;
            continue;
        }
        memcpy(b, next, (size_t)n * sizeof *b);
        kl = information(s, m, b, g);
        step *= 1.5;
    }
    memory_free(g);
    memory_free(next);
    return kl;
}

static space whiten(const stc_result *c, double cut)
{
    int width = c->width;
    size_t size = (size_t)width * (size_t)width;
    double *axis = MEMORY_NEW(double, size), *value = MEMORY_NEW(double, width), *half, *mean = MEMORY_NEW(double, width);
    memcpy(axis, c->c0, size * sizeof *axis);
    linalg_eigen(width, axis, value);
    int first = 0;
    while (first < width - 1 && !(value[first] > cut * value[width - 1])) {
        first++;
    }
    space s = {.n = width - first};
    s.back = MEMORY_NEW(double, s.n *width);
    for (int i = 0; i < s.n; i++) {
        for (int k = 0; k < width; k++) {
            s.back[i * width + k] = axis[(size_t)(first + i) * (size_t)width + (size_t)k] / sqrt(value[first + i]);
        }
    }
    s.c = MEMORY_NEW(double, s.n *s.n);
    s.mu = MEMORY_NEW(double, s.n);
    half = MEMORY_NEW(double, s.n *width);
    linalg_multiply(false, false, s.n, width, width, s.back, c->c1, 0, half);
    linalg_multiply(false, true, s.n, s.n, width, half, s.back, 0, s.c);
    for (int k = 0; k < width; k++) {
        mean[k] = c->mean1[k] - c->mean0[k];
    }
    linalg_multiply(false, false, s.n, 1, width, s.back, mean, 0, s.mu);
    memory_free(axis);
    memory_free(value);
    memory_free(half);
    memory_free(mean);
    return s;
}

/* Adds one axis to the best basis so far: each eigenvector of C at both ends of the spectrum is tried, and mu for the first. */
static double extend(const space *s, int m, double *best)
{
    enum { TRIES = 4 };
    double *vector = MEMORY_NEW(double, s->n *s->n), *value = MEMORY_NEW(double, s->n), *trial = MEMORY_NEW(double, m *s->n);
    double *top = MEMORY_NEW(double, m *s->n), kl = -INFINITY;
    memcpy(vector, s->c, (size_t)(s->n * s->n) * sizeof *vector);
    linalg_eigen(s->n, vector, value);
    for (int i = 0; i <= 2 * TRIES; i++) {
        int axis = i <= TRIES ? s->n - i : i - TRIES - 1;
        if (axis < 0 || axis > s->n || (axis == s->n && m > 1)) {
            continue;
        }
        memcpy(trial, best, (size_t)((m - 1) * s->n) * sizeof *trial);
        memcpy(trial + (m - 1) * s->n, axis == s->n ? s->mu : vector + axis * s->n, (size_t)s->n * sizeof *trial);
        double reached = orthonormalise(m, s->n, trial) ? climb(s, m, trial) : -INFINITY;
        if (reached > kl) {
            kl = reached;
            memcpy(top, trial, (size_t)(m * s->n) * sizeof *top);
        }
    }
    memcpy(best, top, (size_t)(m * s->n) * sizeof *best);
    memory_free(vector);
    memory_free(value);
    memory_free(trial);
    memory_free(top);
    return kl;
}

double stc_information(const stc_result *c, int m, double cut, double *basis, double *total)
{
    space s = whiten(c, cut);
    double *b = MEMORY_NEW(double, m *s.n), *all = MEMORY_NEW(double, s.n *s.n), kl = 0;
    for (int i = 1; i <= m && i <= s.n; i++) {
        kl = extend(&s, i, b);
    }
    for (int i = 0; i < s.n; i++) {
        all[i * s.n + i] = 1;
    }
    *total = information(&s, s.n, all, NULL);
    linalg_multiply(false, false, m, c->width, s.n, b, s.back, 0, basis);
    for (int i = 0; i < m; i++) {
        double *row = basis + i * c->width, norm = sqrt(linalg_dot(c->width, row, row));
        for (int k = 0; k < c->width; k++) {
            row[k] /= norm > 0 ? norm : 1;
        }
    }
    memory_free(b);
    memory_free(all);
    memory_free(s.c);
    memory_free(s.mu);
    memory_free(s.back);
    return kl;
}

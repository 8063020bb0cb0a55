/* transform.c - maps between physical values and the numbers of an optimiser. */
#include "fit/transform.h"

#include <math.h>

#include "base/error.h"

static double to_number(const transform_piece *k, double p)
{
    switch (k->map) {
    case PARAM_POSITIVE:
        return log(p);
    case PARAM_BETWEEN:
        return log((p - k->min) / (k->max - p));
    default:
        return p / k->scale;
    }
}

/* 1 / (1 + exp(-u)) and 1 minus it, each with all its digits. */
static void logistic(double u, double *above, double *below)
{
    double e = exp(-fabs(u)), near_one = 1 / (1 + e), near_zero = e / (1 + e);
    *above = u > 0 ? near_one : near_zero;
    *below = u > 0 ? near_zero : near_one;
}

/* As fmin(fmax(x, low), high), NaN too, but no call, so that loops of it become SIMD. */
static inline double within(double x, double low, double high)
{
    double above = x >= low ? x : low;
    return above <= high ? above : high;
}

static double to_value(const transform_piece *k, double u)
{
    double above, below, p = u * k->scale;
    if (k->map == PARAM_POSITIVE) {
        p = exp(u);
    } else if (k->map == PARAM_BETWEEN) {
        logistic(u, &above, &below);
        p = above < 0.5 ? k->min + (k->max - k->min) * above : k->max - (k->max - k->min) * below;
    }
    return within(p, k->min, k->max);
}

static double slope(const transform_piece *k, double u)
{
    double above, below;
    switch (k->map) {
    case PARAM_POSITIVE:
        return exp(u);
    case PARAM_BETWEEN:
        logistic(u, &above, &below);
        return (k->max - k->min) * above * below;
    default:
        return k->scale;
    }
}

int transform_problem(const transform *t, const double *p, int64_t *which)
{
    for (int i = 0; i < t->npiece; i++) {
        const transform_piece *k = &t->piece[i];
        for (int64_t j = 0; j < k->n; j++) {
            double value = p[k->at + j];
            bool good = value >= k->min && value <= k->max;
            good = good && (k->map != PARAM_POSITIVE || (value > 0 && value < INFINITY));
            good = good && (k->map != PARAM_BETWEEN || (value > k->min && value < k->max && k->max - k->min < INFINITY));
            if (!good) {
                *which = j;
                return i;
            }
        }
    }
    return -1;
}

void transform_in(const transform *t, const double *p, double *u)
{
    for (int i = 0; i < t->npiece; i++) {
        const transform_piece *k = &t->piece[i];
        ASSERT(k->map != PARAM_FREE || k->scale > 0);
        for (int64_t j = 0; j < k->n; j++) {
            *u++ = to_number(k, p[k->at + j]);
        }
    }
}

void transform_out(const transform *t, const double *u, double *p)
{
    for (int i = 0; i < t->npiece; i++) {
        const transform_piece *k = &t->piece[i];
        double *restrict to = p + k->at, scale = k->scale, min = k->min, max = k->max;
        for (int64_t j = 0; j < k->n; j++) {
            to[j] = k->map == PARAM_FREE ? within(u[j] * scale, min, max) : to_value(k, u[j]);
        }
        u += k->n;
    }
}

void transform_gradient(const transform *t, const double *u, const double *g_p, double *g_u)
{
    for (int i = 0; i < t->npiece; i++) {
        const transform_piece *k = &t->piece[i];
        const double *from = g_p + k->at, scale = k->scale;
        double *restrict to = g_u;
        for (int64_t j = 0; j < k->n; j++) {
            to[j] = (k->map == PARAM_FREE ? scale : slope(k, u[j])) * from[j];
        }
        u += k->n;
        g_u += k->n;
    }
}

static void piece_bounds(const transform_piece *k, double *low, double *high)
{
    *low = -INFINITY;
    *high = INFINITY;
    if (k->map == PARAM_FREE) {
        *low = k->min / k->scale;
        *high = k->max / k->scale;
    } else if (k->map == PARAM_POSITIVE) {
        *low = k->min > 0 ? log(k->min) : -INFINITY;
        *high = log(k->max);
    }
}

void transform_bounds(const transform *t, double *low, double *high)
{
    for (int i = 0; i < t->npiece; i++) {
        for (int64_t j = 0; j < t->piece[i].n; j++) {
            piece_bounds(&t->piece[i], low++, high++);
        }
    }
}

void transform_clip(const transform *t, double *u)
{
    for (int i = 0; i < t->npiece; i++) {
        double low, high;
        piece_bounds(&t->piece[i], &low, &high);
        for (int64_t j = 0; j < t->piece[i].n; j++) {
            u[j] = within(u[j], low, high);
        }
        u += t->piece[i].n;
    }
}

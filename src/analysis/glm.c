/* glm.c - see glm.h. */
#include "analysis/glm.h"

#include <math.h>
#include <string.h>

#include "analysis/linalg.h"
#include "base/log.h"
#include "base/memory.h"

enum { BLOCK_ROWS = 256 };
static const double LARGEST_EXPONENT = 50;

#define AT(field) offsetof(glm_settings, field)
const key_spec glm_keys[GLM_NKEY] = {
    {"ridge", KEY_REAL, "", "1", 0, 1e12, NULL, "half of this times the squared norm of all weights is added to the objective", AT(ridge), 0, 0},
    {"history", KEY_INT, NULL, "0", 0, 1000, NULL, "bins of the cell's own past", AT(history), 0, 0},
    {"coupled", KEY_FLAG, NULL, "false", 0, 0, NULL, "the past of all other cells too", AT(coupled), 0, 0},
    {"window", KEY_REALS, "", "", 0, 1e6, NULL, "[y0, x0, ny, nx] pixels; not given: the window of the cell", AT(window), AT(nwindow), 4},
    {"steps", KEY_INT, NULL, "50", 1, 10000, NULL, "at most, of Newton's method", AT(steps), 0, 0},
};

/* Sums of a block of rows: [0] objective, [1] gradient, then, unless first_only, the Hessian. */
static void add_block(int n, int width, double *rows, const double *y, const double *w, bool first_only, double *sums)
{
    double eta[BLOCK_ROWS], slope[BLOCK_ROWS];
    linalg_multiply(false, false, n, 1, width, rows, w, 0, eta);
    for (int i = 0; i < n; i++) {
        double e = fmin(eta[i], LARGEST_EXPONENT), mu = exp(e), root = sqrt(mu);
        sums[0] += mu - y[i] * e;
        slope[i] = mu - y[i];
        eta[i] = root;
    }
    linalg_multiply(true, false, width, 1, n, rows, slope, 1, sums + 1);
    if (!first_only) {
        for (int i = 0; i < n; i++) {
            for (int d = 0; d < width; d++) {
                rows[(size_t)i * (size_t)width + (size_t)d] *= eta[i];
            }
        }
        linalg_add_square(n, width, rows, sums + 1 + width);
    }
}

/* width counts the constant, the last number of a row.  Collective. */
static void sum_all(const recording_rows *f, int width, const double *w, bool first_only, double *sums)
{
    const recording *r = f->r;
    const double *count = r->count + f->cell * r->nstep;
    size_t n = 1 + (size_t)width + (first_only ? 0 : (size_t)width * (size_t)width);
    double *mine = MEMORY_NEW(double, n *(size_t)r->npiece), *rows = MEMORY_NEW(double, (size_t)BLOCK_ROWS * (size_t)width), y[BLOCK_ROWS];
    for (int i = 0; i < r->npiece; i++) {
        int64_t from, to;
        int nrow = 0;
        recording_piece(r, r->piece0 + i, &from, &to);
        for (int64_t t = from; t < to; t++) {
            if (r->part[t] == RECORDING_TRAIN) {
                double *row = rows + (size_t)nrow * (size_t)width;
                recording_row(f, t, row);
                row[width - 1] = 1;
                y[nrow++] = count[t];
            }
            if (nrow == BLOCK_ROWS || (t == to - 1 && nrow > 0)) {
                add_block(nrow, width, rows, y, w, first_only, mine + n * (size_t)i);
                nrow = 0;
            }
        }
    }
    recording_sum(r, mine, (int64_t)n, sums);
    memory_free(mine);
    memory_free(rows);
}

/* Adds the ridge to objective, gradient and Hessian; returns the largest element of the gradient. */
static double add_ridge(int width, const double *w, double ridge, bool first_only, double *sums)
{
    double most = fabs(sums[width]); /* of the constant */
    for (int i = 0; i < width - 1; i++) {
        sums[0] += 0.5 * ridge * w[i] * w[i];
        sums[1 + i] += ridge * w[i];
        if (!first_only) {
            sums[1 + width + i * (width + 1)] += ridge;
        }
        most = fmax(most, fabs(sums[1 + i]));
    }
    return most;
}

static double start_bias(const recording_rows *f)
{
    double n = 0, spikes = recording_spikes(f->r, f->cell, RECORDING_TRAIN);
    for (int64_t t = 0; t < f->r->nstep; t++) {
        n += f->r->part[t] == RECORDING_TRAIN;
    }
    return spikes > 0 ? log(spikes / n) : -10;
}

glm_result *glm_fit(const recording_rows *f, double ridge, int64_t most_steps)
{
    int width = recording_width(f) + 1;
    size_t n = 1 + (size_t)width + (size_t)width * (size_t)width;
    glm_result *g = MEMORY_NEW(glm_result, 1);
    double *w = MEMORY_NEW(double, width), *next = MEMORY_NEW(double, width), *sums = MEMORY_NEW(double, n), *move = MEMORY_NEW(double, width);
    double *trial = MEMORY_NEW(double, 1 + width);
    w[width - 1] = start_bias(f);
    for (g->steps = 0; ; g->steps++) {
        sum_all(f, width, w, false, sums);
        g->gradient = add_ridge(width, w, ridge, false, sums);
        g->objective = sums[0];
        if (g->steps == most_steps || g->gradient < 1e-9 * fmax(1, sums[0])) {
            break;
        }
        linalg_mirror(width, sums + 1 + width);
        memcpy(move, sums + 1, (size_t)width * sizeof *move);
        if (!linalg_solve(width, sums + 1 + width, move)) {
            log_warn("glm: cell %lld: the Hessian is singular; a ridge above 0 helps", (long long)f->cell);
            break;
        }
        double part = 1;
        for (; part > 1e-6; part *= 0.5) {
            for (int i = 0; i < width; i++) {
                next[i] = w[i] - part * move[i];
            }
            sum_all(f, width, next, true, trial);
            add_ridge(width, next, ridge, true, trial);
            if (trial[0] <= g->objective + 1e-9 * fabs(g->objective)) {
                break;
            }
        }
        memcpy(w, next, (size_t)width * sizeof *w);
    }
    g->width = width - 1;
    g->bias = w[width - 1];
    g->weight = w;
    memory_free(next);
    memory_free(sums);
    memory_free(move);
    memory_free(trial);
    return g;
}

void glm_predict(const recording_rows *f, const glm_result *g, double *mu)
{
    const recording *r = f->r;
    recording_project(f, g->weight, mu);
    for (int64_t t = 0; t < r->nstep; t++) {
        bool whole = t - r->set.first_lag - r->set.lags + 1 >= 0;
        mu[t] = whole ? exp(fmin(mu[t] + g->bias, LARGEST_EXPONENT)) : 0;
    }
}

void glm_destroy(glm_result *g)
{
    if (g) {
        memory_free(g->weight);
        memory_free(g);
    }
}

/* stnmf.c - see stnmf.h. */
#include "analysis/stnmf.h"

#include <math.h>
#include <string.h>

#include "analysis/linalg.h"
#include "analysis/sta.h"
#include "base/memory.h"
#include "base/random.h"

#define AT(field) offsetof(stnmf_settings, field)
const key_spec stnmf_keys[STNMF_NKEY] = {
    {"modules", KEY_INT, NULL, "20", 1, 200, NULL, "a few more than the subunits expected", AT(modules), 0, 0},
    {"iterations", KEY_INT, NULL, "200", 1, 100000, NULL, "between perturbations", AT(iterations), 0, 0},
    {"perturbations", KEY_INT, NULL, "50", 0, 100000, NULL, "tries to leave a local minimum; kept if the residual falls", AT(perturbations), 0, 0},
    {"beta", KEY_REAL, "", "0.1", 0, 1e6, NULL, "weight of sparseness", AT(beta), 0, 0},
    {"localised", KEY_REAL, "", "0.25", -1, 1, NULL, "Moran's I above which a module counts as local", AT(localised), 0, 0},
    {"seed", KEY_INT, NULL, "1", 0, 9007199254740992.0, NULL, "of starts and perturbations", AT(seed), 0, 0},
};

typedef struct factors {
    const stnmf_settings *set;
    int k, p, ny, nx;
    const double *xx;  /* [p][p] X'X of the scaled X */
    double trace;
    double *y;         /* [k][p] */
    double *yx, *ax, *gram, *small, *inverse, *half; /* Y X'X and A'X [k][p]; A'A and work [k][k] */
    uint64_t who, drawn;
} factors;

static double draw(factors *f)
{
    random_block b = random_bits((uint64_t)f->set->seed, RANDOM_MODULES, f->who, f->drawn++, 0);
    return random_unit(b.v[0]);
}

/* --- non-negative least squares --------------------------------------------------------------------------------------- */
/* min y'Gy - 2 h'y over y >= 0 by active sets (Lawson and Hanson 1974); y is the start's support as well.  work: k (k + 2) numbers. */
static void solve_support(int k, const double *gram, const double *h, const bool *free, double *z, double *work)
{
    int n = 0;
    int at[256];
    for (int i = 0; i < k; i++) {
        z[i] = 0;
        if (free[i]) {
            at[n++] = i;
        }
    }
    double *a = work, *b = work + n * n;
    for (int i = 0; i < n; i++) {
        b[i] = h[at[i]];
        for (int j = 0; j < n; j++) {
            a[i * n + j] = gram[at[i] * k + at[j]] + (i == j ? 1e-12 * gram[at[i] * k + at[i]] : 0);
        }
    }
    if (n > 0 && linalg_solve(n, a, b)) {
        for (int i = 0; i < n; i++) {
            z[at[i]] = b[i];
        }
    }
}

/* Moves y towards z until the first element of the support reaches 0, which leaves the support; false: none did. */
static bool step_back(int k, double *y, const double *z, bool *free)
{
    double alpha = 1;
    for (int i = 0; i < k; i++) {
        if (free[i] && z[i] <= 0 && y[i] / (y[i] - z[i]) < alpha) {
            alpha = y[i] / (y[i] - z[i]);
        }
    }
    bool left = false;
    for (int i = 0; i < k; i++) {
        bool leaves = free[i] && z[i] <= 0 && y[i] + alpha * (z[i] - y[i]) <= 1e-15;
        y[i] = leaves || !free[i] ? 0 : y[i] + alpha * (z[i] - y[i]);
        free[i] = free[i] && !leaves;
        left = left || leaves;
    }
    return left;
}

static void nonnegative(int k, const double *gram, const double *h, double *y, double *work)
{
    bool free[256];
    double z[256];
    for (int i = 0; i < k; i++) {
        free[i] = y[i] > 0;
    }
    for (int round = 0; round < 3 * k; round++) {
        bool inside = false;
        for (int inner = 0; inner < k + 1 && !inside; inner++) {
            solve_support(k, gram, h, free, z, work);
            inside = !step_back(k, y, z, free);
        }
        int enter = -1;
        double most = 1e-10;
        for (int i = 0; i < k; i++) {
            double g = h[i];
            for (int j = 0; j < k; j++) {
                g -= gram[i * k + j] * y[j];
            }
            if (!free[i] && gram[i * k + i] > 0 && g / sqrt(gram[i * k + i]) > most) {
                most = g / sqrt(gram[i * k + i]);
                enter = i;
            }
        }
        if (enter < 0) {
            break;
        }
        free[enter] = true;
    }
}

/* --- one iteration ---------------------------------------------------------------------------------------------------- */
/* A'A and A'X of A = X Y^+ with columns of norm 1. */
static void fit_weights(factors *f)
{
    int k = f->k, p = f->p;
    linalg_multiply(false, true, k, k, p, f->y, f->y, 0, f->small);
    linalg_power(k, f->small, -1, 1e-12, f->inverse);
    linalg_multiply(false, false, k, p, p, f->y, f->xx, 0, f->yx);
    linalg_multiply(false, false, k, p, k, f->inverse, f->yx, 0, f->ax);
    linalg_multiply(false, true, k, k, p, f->ax, f->y, 0, f->half);
    linalg_multiply(false, false, k, k, k, f->half, f->inverse, 0, f->gram);
    for (int i = 0; i < k; i++) { /* the diagonal is read before it is scaled */
        f->small[i] = f->gram[i * k + i] > 0 ? 1 / sqrt(f->gram[i * k + i]) : 0;
    }
    for (int i = 0; i < k; i++) {
        for (int j = 0; j < k; j++) {
            f->gram[i * k + j] *= f->small[i] * f->small[j];
        }
        for (int j = 0; j < p; j++) {
            f->ax[i * p + j] *= f->small[i];
        }
    }
}

static void fit_modules(factors *f)
{
    int k = f->k, p = f->p;
    double *gram = MEMORY_NEW(double, k *k), *h = MEMORY_NEW(double, k), *y = MEMORY_NEW(double, k), *work = MEMORY_NEW(double, k *(k + 2));
    for (int i = 0; i < k * k; i++) {
        gram[i] = f->gram[i] + f->set->beta;
    }
    for (int j = 0; j < p; j++) {
        for (int i = 0; i < k; i++) {
            h[i] = f->ax[i * p + j];
            y[i] = f->y[i * p + j];
        }
        nonnegative(k, gram, h, y, work);
        for (int i = 0; i < k; i++) {
            f->y[i * p + j] = y[i];
        }
    }
    memory_free(gram);
    memory_free(h);
    memory_free(y);
    memory_free(work);
}

/* |X - A Y|^2 with the weights of the last iteration. */
static double residual_square(factors *f)
{
    int k = f->k, p = f->p;
    double sum = f->trace;
    linalg_multiply(false, true, k, k, p, f->y, f->y, 0, f->small);
    for (int i = 0; i < k; i++) {
        sum -= 2 * linalg_dot(p, f->ax + i * p, f->y + i * p);
    }
    return sum + linalg_dot(k * k, f->gram, f->small);
}

static double iterate(factors *f, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        fit_weights(f);
        fit_modules(f);
    }
    return residual_square(f);
}

/* --- perturbations ---------------------------------------------------------------------------------------------------- */
static void noise(factors *f, int module, double size, bool add)
{
    double *y = f->y + module * f->p;
    for (int j = 0; j < f->p; j++) {
        y[j] = (add ? y[j] : 0) + size * draw(f);
    }
}

static double largest(const factors *f, int module)
{
    double most = 0;
    for (int j = 0; j < f->p; j++) {
        most = fmax(most, f->y[module * f->p + j]);
    }
    return most > 0 ? most : 1;
}

/* The part of module `from` on the far side of its maximum goes to module `to`. */
static void split(factors *f, int from, int to, bool along_x)
{
    double *a = f->y + from * f->p, *b = f->y + to * f->p;
    int top = 0;
    for (int j = 0; j < f->p; j++) {
        top = a[j] > a[top] ? j : top;
    }
    for (int j = 0; j < f->p; j++) {
        bool far = along_x ? j % f->nx > top % f->nx : j / f->nx > top / f->nx;
        b[j] = far ? a[j] : 0;
        a[j] = far ? 0 : a[j];
    }
}

/* One module of those whose being local is `local`, at random; -1: there is none. */
static int pick(factors *f, bool local)
{
    int found = -1, n = 0;
    for (int i = 0; i < f->k; i++) {
        if ((sta_moran(f->ny, f->nx, f->y + i * f->p) > f->set->localised) == local && draw(f) * ++n < 1) {
            found = i;
        }
    }
    return found;
}

static void perturb(factors *f)
{
    enum { REPLACE, DUPLICATE, SPLIT_X, SPLIT_Y, RESEED, KINDS };
    int kind = (int)(draw(f) * KINDS), local = pick(f, true), other = pick(f, false);
    if (local < 0 || (other < 0 && kind != REPLACE)) {
        kind = RESEED;
    }
    if (kind == REPLACE) {
        noise(f, local, largest(f, local), false);
    } else if (kind == DUPLICATE) {
        memcpy(f->y + other * f->p, f->y + local * f->p, (size_t)f->p * sizeof *f->y);
        noise(f, local, 0.1 * largest(f, local), true);
        noise(f, other, 0.1 * largest(f, other), true);
    } else if (kind == SPLIT_X || kind == SPLIT_Y) {
        split(f, local, other, kind == SPLIT_X);
    } else {
        for (int i = 0; i < f->k; i++) {
            if (sta_moran(f->ny, f->nx, f->y + i * f->p) <= f->set->localised) {
                noise(f, i, largest(f, i), false);
            }
        }
    }
}

/* --- run -------------------------------------------------------------------------------------------------------------- */
/* Modules in order of Moran's I, most local first. */
static void sort_modules(const factors *f, stnmf_result *r)
{
    bool taken[256] = {false};
    for (int i = 0; i < f->k; i++) {
        int best = -1;
        double most = -INFINITY;
        for (int j = 0; j < f->k; j++) {
            double moran = sta_moran(f->ny, f->nx, f->y + j * f->p);
            if (!taken[j] && moran > most) {
                most = moran;
                best = j;
            }
        }
        taken[best] = true;
        r->moran[i] = most;
        r->nlocal += most > f->set->localised;
        memcpy(r->module + i * f->p, f->y + best * f->p, (size_t)f->p * sizeof *f->y);
    }
}

static factors create(const stnmf_settings *s, int ny, int nx, const double *square, const double *sums, double nspike, double *scaled)
{
    int k = (int)s->modules, p = ny * nx;
    factors f = {.set = s, .k = k, .p = p, .ny = ny, .nx = nx, .xx = scaled};
    double sum = 0, trace = 0, n = nspike * p;
    for (int i = 0; i < p; i++) {
        sum += sums[i];
        trace += square[(size_t)i * (size_t)p + (size_t)i];
    }
    double variance = trace / n - (sum / n) * (sum / n);
    for (size_t i = 0; i < (size_t)p * (size_t)p; i++) {
        scaled[i] = square[i] / variance;
    }
    f.trace = trace / variance;
    f.y = MEMORY_NEW(double, k *p);
    f.yx = MEMORY_NEW(double, k *p);
    f.ax = MEMORY_NEW(double, k *p);
    f.gram = MEMORY_NEW(double, k *k);
    f.small = MEMORY_NEW(double, k *k);
    f.inverse = MEMORY_NEW(double, k *k);
    f.half = MEMORY_NEW(double, k *k);
    return f;
}

stnmf_result *stnmf_run(const stnmf_settings *s, int ny, int nx, const double *square, const double *sums, double nspike, int64_t who)
{
    int k = (int)s->modules, p = ny * nx;
    double *scaled = MEMORY_NEW(double, (size_t)p *(size_t)p), *best = MEMORY_NEW(double, k *p);
    factors f = create(s, ny, nx, square, sums, nspike, scaled);
    f.who = (uint64_t)who;
    stnmf_result *r = MEMORY_NEW(stnmf_result, 1);
    r->nmodule = k;
    r->module = MEMORY_NEW(double, k *p);
    r->moran = MEMORY_NEW(double, k);
    for (int i = 0; i < k; i++) {
        noise(&f, i, 1, false);
    }
    double least = iterate(&f, s->iterations);
    memcpy(best, f.y, (size_t)(k * p) * sizeof *best);
    for (int64_t i = 0; i < s->perturbations; i++) {
        perturb(&f);
        double now = iterate(&f, s->iterations);
        bool better = now < least;
        least = better ? now : least;
        r->kept += better;
        memcpy(better ? best : f.y, better ? f.y : best, (size_t)(k * p) * sizeof *best);
    }
    memcpy(f.y, best, (size_t)(k * p) * sizeof *best);
    sort_modules(&f, r);
    r->residual = sqrt(fmax(least, 0));
    double *own[] = {scaled, best, f.y, f.yx, f.ax, f.gram, f.small, f.inverse, f.half};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        memory_free(own[i]);
    }
    return r;
}

void stnmf_destroy(stnmf_result *f)
{
    if (f) {
        memory_free(f->module);
        memory_free(f->moran);
        memory_free(f);
    }
}

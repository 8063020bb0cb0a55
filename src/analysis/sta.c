/* sta.c - see sta.h. */
#include "analysis/sta.h"

#include <math.h>
#include <string.h>

#include "analysis/linalg.h"
#include "base/memory.h"
#include "cluster/comm.h"

/* Sum of weight times window over training bins [from, to). */
static void add_small(const recording *r, const double *weight, int64_t from, int64_t to, int64_t *sum)
{
    int64_t pixels = (int64_t)r->ny * r->nx;
    for (int64_t t = from; t < to; t++) {
        int64_t w = r->part[t] == RECORDING_TRAIN ? (int64_t)weight[t] : 0;
        for (int64_t lag = 0; w > 0 && lag < r->set.lags; lag++) {
            const int8_t *frame = r->small + (t - r->set.first_lag - lag - r->held0) * pixels;
            int64_t *acc = sum + lag * pixels;
            for (int64_t i = 0; i < pixels; i++) {
                acc[i] += w * frame[i];
            }
        }
    }
}

static void add_wide(const recording *r, const double *weight, int64_t from, int64_t to, double *sum)
{
    int64_t pixels = (int64_t)r->ny * r->nx;
    for (int64_t t = from; t < to; t++) {
        double w = r->part[t] == RECORDING_TRAIN ? weight[t] : 0;
        for (int64_t lag = 0; w != 0 && lag < r->set.lags; lag++) {
            const int64_t frame = (t - r->set.first_lag - lag - r->held0) * pixels;
            double *acc = sum + lag * pixels;
            for (int64_t i = 0; i < pixels; i++) {
                acc[i] += w * (r->small ? (double)r->small[frame + i] : (double)r->wide[frame + i]);
            }
        }
    }
}

static bool is_whole(const recording *r, const double *weight)
{
    for (int64_t t = 0; t < r->nstep; t++) {
        if (weight[t] != rint(weight[t])) {
            return false;
        }
    }
    return r->small != NULL;
}

/* Whole numbers: one exact sum a rank.  Others: a sum for each piece of time. */
static void sum_windows(const recording *r, const double *weight, double *sum)
{
    int64_t n = r->set.lags * r->ny * r->nx;
    if (is_whole(r, weight)) {
        int64_t *exact = MEMORY_NEW(int64_t, n);
        double *mine = MEMORY_NEW(double, n);
        add_small(r, weight, r->from, r->to, exact);
        for (int64_t i = 0; i < n; i++) {
            mine[i] = (double)exact[i];
        }
        comm_leaf_sum(&r->ranks, mine, (int)n, sum);
        memory_free(exact);
        memory_free(mine);
        return;
    }
    double *mine = MEMORY_NEW(double, n *r->npiece);
    for (int i = 0; i < r->npiece; i++) {
        int64_t from, to;
        recording_piece(r, r->piece0 + i, &from, &to);
        add_wide(r, weight, from, to, mine + i * n);
    }
    recording_sum(r, mine, n, sum);
    memory_free(mine);
}

void sta_sums(const recording *r, double *sum, double *nspike)
{
    for (int64_t c = 0; c < r->ncell; c++) {
        sum_windows(r, r->count + c * r->nstep, sum + c * r->set.lags * r->ny * r->nx);
        nspike[c] = recording_spikes(r, c, RECORDING_TRAIN);
    }
}

void sta_mean_window(const recording *r, double *mean)
{
    double *one = MEMORY_NEW(double, r->nstep), n = 0;
    for (int64_t t = 0; t < r->nstep; t++) {
        one[t] = 1;
        n += r->part[t] == RECORDING_TRAIN;
    }
    sum_windows(r, one, mean);
    for (int64_t i = 0; i < r->set.lags * r->ny * r->nx; i++) {
        mean[i] /= n > 0 ? n : 1;
    }
    memory_free(one);
}

/* --- parts ---------------------------------------------------------------------------------------------------------- */
void sta_separate(int lags, int npixel, const double *filter, sta_parts *parts)
{
    int n = lags < npixel ? lags : npixel;
    double *u = MEMORY_NEW(double, (size_t)lags *(size_t)n), *vt = MEMORY_NEW(double, (size_t)n *(size_t)npixel), *s = MEMORY_NEW(double, n);
    double cubes = 0, energy = 0;
    linalg_svd(lags, npixel, filter, u, s, vt);
    for (int i = 0; i < npixel; i++) {
        cubes += vt[i] * vt[i] * vt[i];
    }
    double sign = cubes < 0 ? -1 : 1;
    for (int i = 0; i < npixel; i++) {
        parts->spatial[i] = sign * vt[i];
    }
    for (int i = 0; i < lags; i++) {
        parts->temporal[i] = sign * u[(size_t)i * (size_t)n];
    }
    for (int i = 0; i < n; i++) {
        energy += s[i] * s[i];
    }
    parts->strength = s[0];
    parts->share = energy > 0 ? s[0] * s[0] / energy : 0;
    if (parts->values) {
        memcpy(parts->values, s, (size_t)n * sizeof *s);
    }
    memory_free(u);
    memory_free(vt);
    memory_free(s);
}

static int mirror(int i, int n)
{
    while (i < 0 || i >= n) {
        i = i < 0 ? -1 - i : 2 * n - 1 - i;
    }
    return i;
}

/* A Gaussian cut at 4 sigma along one axis: `step` between neighbours, `line` between lines. */
static void smooth(int n, int nline, int step, int line, double sigma, const double *from, double *to)
{
    int radius = (int)(4 * sigma + 0.5);
    for (int l = 0; l < nline; l++) {
        for (int i = 0; i < n; i++) {
            double sum = 0, norm = 0;
            for (int k = -radius; k <= radius; k++) {
                double w = sigma > 0 ? exp(-0.5 * k * k / (sigma * sigma)) : 1;
                sum += w * from[l * line + mirror(i + k, n) * step];
                norm += w;
            }
            to[l * line + i * step] = sum / norm;
        }
    }
}

void sta_peak(int ny, int nx, const double *map, double sigma, int *y, int *x)
{
    double *a = MEMORY_NEW(double, ny *nx), *b = MEMORY_NEW(double, ny *nx), most = -1;
    smooth(nx, ny, 1, nx, sigma, map, a);
    smooth(ny, nx, nx, 1, sigma, a, b);
    for (int i = 0; i < ny * nx; i++) {
        if (fabs(b[i]) > most) {
            most = fabs(b[i]);
            *y = i / nx;
            *x = i % nx;
        }
    }
    memory_free(a);
    memory_free(b);
}

double sta_moran(int ny, int nx, const double *map)
{
    double mean = 0, variance = 0, neighbours = 0;
    int n = ny * nx, pairs = 0;
    for (int i = 0; i < n; i++) {
        mean += map[i] / n;
    }
    for (int y = 0; y < ny; y++) {
        for (int x = 0; x < nx; x++) {
            double d = map[y * nx + x] - mean;
            variance += d * d;
            if (x + 1 < nx) {
                neighbours += d * (map[y * nx + x + 1] - mean);
                pairs++;
            }
            if (y + 1 < ny) {
                neighbours += d * (map[(y + 1) * nx + x] - mean);
                pairs++;
            }
        }
    }
    return variance > 0 && pairs > 0 ? (double)n / pairs * neighbours / variance : 0; /* each pair counts twice above and below */
}

double sta_regularity(int lags, const double *temporal)
{
    const double alpha = 5e-4;
    double most = 0, mean = 0, below = 0, norm = 0;
    for (int i = 0; i < lags; i++) {
        most = fmax(most, fabs(temporal[i]));
        mean += temporal[i] / lags;
    }
    for (int i = 0; i < lags; i++) {
        double a = fabs(temporal[i]);
        below += (most - a) / lags;
        norm += (a - mean) * (a - mean);
    }
    return below - alpha / (sqrt(norm) + alpha);
}

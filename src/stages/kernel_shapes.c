/* kernel_shapes.c - kernels of named shapes: Gabor functions (V1 simple cells, drifting ones for direction selectivity), Gaussians, exponentials.
 * A shape says how the stimulus is weighed around a cell, u degrees to its right and v degrees above it, tau seconds ago; the kernel, an impulse
 * response, is that profile turned over: K[k][j][i] weighs the pixel i - kx/2 to the left and j - ky/2 above. */
#include <math.h>

#include "base/memory.h"
#include "stages/kernel.h"

enum { MOST_SHAPES = 64 };

typedef struct shape {
    double sigma_deg[MOST_SHAPES], orientation_deg[MOST_SHAPES], phase_deg[MOST_SHAPES], tau_s[MOST_SHAPES];
    int nsigma, norientation, nphase, ntau;
    double frequency, aspect, drift_hz;
    int64_t order, lags;
    bool balanced;
} shape;

#define TIME_KEYS                                                                                                                             \
    {"order", KEY_INT, NULL, "0", 0, 32, NULL, "power of t in the filter of time", offsetof(shape, order), 0, 0},                             \
    {"lags", KEY_INT, NULL, "0", 0, 100000, NULL, "steps of the filter of time; 0: until it has faded", offsetof(shape, lags), 0, 0}
static const key_spec gabor_keys[] = {
    {"sigma", KEY_REALS, "deg", NULL, 1e-9, 1000, NULL, "standard deviation across the bars", offsetof(shape, sigma_deg), offsetof(shape, nsigma), 1},
    {"frequency", KEY_REAL, "/deg", NULL, 0, 1e6, NULL, "spatial frequency", offsetof(shape, frequency), 0, 0},
    {"orientation", KEY_REALS, "deg", "0 deg", -360, 360, NULL, "direction across the bars: one, or a list", offsetof(shape, orientation_deg),
     offsetof(shape, norientation), MOST_SHAPES},
    {"phase", KEY_REALS, "deg", "0 deg", -360, 360, NULL, "phase of the bars: one, or a list", offsetof(shape, phase_deg), offsetof(shape, nphase),
     MOST_SHAPES},
    {"aspect", KEY_REAL, "", "1", 0.01, 100, NULL, "width across the bars by length along them", offsetof(shape, aspect), 0, 0},
    {"drift", KEY_REAL, "Hz", "0 Hz", -1e6, 1e6, NULL, "temporal frequency of the bars that drift", offsetof(shape, drift_hz), 0, 0},
    {"tau", KEY_REALS, "s", "0 s", 0, 1e6, NULL, "time constant", offsetof(shape, tau_s), offsetof(shape, ntau), 1},
    TIME_KEYS,
    {"balanced", KEY_FLAG, NULL, "true", 0, 0, NULL, "take away the answer to uniform light", offsetof(shape, balanced), 0, 0},
};
static const key_spec gaussian_keys[] = {
    {"sigma", KEY_REALS, "deg", NULL, 1e-9, 1000, NULL, "standard deviation: one, or a list", offsetof(shape, sigma_deg), offsetof(shape, nsigma),
     MOST_SHAPES},
    {"tau", KEY_REALS, "s", "0 s", 0, 1e6, NULL, "time constant", offsetof(shape, tau_s), offsetof(shape, ntau), 1},
    TIME_KEYS,
};
static const key_spec exponential_keys[] = {
    {"tau", KEY_REALS, "s", NULL, 0, 1e6, NULL, "time constant: one, or a list", offsetof(shape, tau_s), offsetof(shape, ntau), MOST_SHAPES},
    TIME_KEYS,
};

static double faded(double t_by_tau, int64_t order) /* by its maximum, at t = order tau */
{
    double peak = order > 0 ? pow((double)order, (double)order) * exp(-(double)order) : 1;
    return pow(t_by_tau, (double)order) * exp(-t_by_tau) / peak;
}

static int64_t filter_lags(const stage_world *w, const shape *s, double tau_s)
{
    int64_t lags = 1;
    while (s->lags == 0 && tau_s > 0 && lags < 100000 &&
           ((double)lags * w->step_s <= (double)s->order * tau_s || faded((double)lags * w->step_s / tau_s, s->order) > 1e-3)) {
        lags++;
    }
    return s->lags > 0 ? s->lags : lags;
}

/* h[k], sum 1. */
static void fill_filter(const stage_world *w, const shape *s, double tau_s, int64_t lags, double *h)
{
    double sum = 0;
    for (int64_t k = 0; k < lags; k++) {
        h[k] = tau_s > 0 ? faded((double)k * w->step_s / tau_s, s->order) : k == 0;
        sum += h[k];
    }
    for (int64_t k = 0; k < lags; k++) {
        h[k] /= sum > 0 ? sum : 1;
    }
}

/* One output: plane by plane, the envelope's sum is 1 and, when balanced, every plane's is 0. */
static void fill_gabor(const stage_world *w, const shape *s, double sigma_deg, double angle_deg, double phase_deg, const int64_t dims[5],
                       const double *h, double *k)
{
    const double turn = 2 * acos(-1.0);
    int64_t plane = dims[3] * dims[4];
    double a = angle_deg / 360 * turn, total = 0;
    double *envelope = MEMORY_NEW(double, plane);
    for (int64_t lag = 0; lag < dims[2]; lag++) {
        double sum = 0, *to = k + lag * plane;
        total = 0;
        for (int64_t n = 0; n < plane; n++) {
            double u = (double)(dims[4] / 2 - n % dims[4]) / w->pixels_per_deg, v = (double)(n / dims[4] - dims[3] / 2) / w->pixels_per_deg;
            double along = u * cos(a) + v * sin(a), across = s->aspect * (v * cos(a) - u * sin(a));
            envelope[n] = exp(-(along * along + across * across) / (2 * sigma_deg * sigma_deg));
            to[n] = envelope[n] * cos(turn * (s->frequency * along + s->drift_hz * (double)lag * w->step_s + phase_deg / 360));
            sum += to[n];
            total += envelope[n];
        }
        for (int64_t n = 0; n < plane; n++) {
            to[n] = h[lag] * (to[n] - (s->balanced ? sum / total * envelope[n] : 0)) / total;
        }
    }
    memory_free(envelope);
}

/* A bank of one output for each sigma, orientation, phase and tau, in this order; sigma of 0 entries: no space. */
static double *fill_bank(const stage_world *w, shape *s, const input_node *at, int64_t dims[5])
{
    enum { MOST_RADIUS = 1000 };
    double widest = 0;
    int64_t lags = 1;
    for (int i = 0; i < s->nsigma; i++) {
        widest = fmax(widest, s->sigma_deg[i] / fmin(1, s->aspect) * w->pixels_per_deg);
    }
    for (int i = 0; i < s->ntau; i++) {
        int64_t n = filter_lags(w, s, s->tau_s[i]);
        lags = n > lags ? n : lags;
    }
    if (3 * widest > MOST_RADIUS || s->ntau < 1) {
        input_problem(w->in, at, "a kernel of %.3g pixels is too large", 6 * widest);
        return NULL;
    }
    int64_t side = 2 * (int64_t)ceil(3 * widest) + 1, one = lags * side * side;
    int nsigma = s->nsigma > 0 ? s->nsigma : 1, each = s->norientation * s->nphase * s->ntau;
    dims[0] = (int64_t)nsigma * each;
    dims[1] = 1;
    dims[2] = lags;
    dims[3] = dims[4] = side;
    double *k = MEMORY_NEW(double, dims[0] * one), *h = MEMORY_NEW(double, lags);
    for (int n = 0; n < nsigma * each; n++) {
        double sigma = s->nsigma > 0 ? s->sigma_deg[n / each] : 1; /* of one pixel: 1, whatever sigma */
        fill_filter(w, s, s->tau_s[n % s->ntau], lags, h);
        fill_gabor(w, s, sigma, s->orientation_deg[n / s->ntau / s->nphase % s->norientation], s->phase_deg[n / s->ntau % s->nphase], dims, h,
                   k + n * one);
    }
    memory_free(h);
    return k;
}

double *kernel_gabor(const stage_world *w, const input_node *at, int64_t dims[5])
{
    shape s = {0};
    int before = input_nproblem(w->in);
    INPUT_FILL(w->in, at, "gabor", gabor_keys, &s);
    return input_nproblem(w->in) > before ? NULL : fill_bank(w, &s, at, dims);
}

static double *fill_plain(const stage_world *w, shape *s, const input_node *at, int64_t dims[5])
{
    s->norientation = s->nphase = 1;
    s->aspect = 1;
    return fill_bank(w, s, at, dims);
}

double *kernel_gaussian(const stage_world *w, const input_node *at, int64_t dims[5])
{
    shape s = {0};
    int before = input_nproblem(w->in);
    INPUT_FILL(w->in, at, "gaussian", gaussian_keys, &s);
    return input_nproblem(w->in) > before ? NULL : fill_plain(w, &s, at, dims);
}

double *kernel_exponential(const stage_world *w, const input_node *at, int64_t dims[5])
{
    shape s = {0};
    int before = input_nproblem(w->in);
    INPUT_FILL(w->in, at, "exponential", exponential_keys, &s);
    return input_nproblem(w->in) > before ? NULL : fill_plain(w, &s, at, dims);
}

/* blur.c - taps of the Gaussian blurs; shared by all backends. */
#include "compute/blur.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"

/* Mass outside +-4 sigma of a Gaussian: where kernels are cut. */
static const double tail_mass = 6.334e-5;

/* Discrete Gaussian T_n(t) = exp(-t) I_n(t), n = 0..count-1, by Miller's downward recurrence
 * I_(n-1) = I_(n+1) + (2n/t) I_n, normalised by T_0 + 2 sum T_n = 1. */
static void discrete_gaussian(double t, int count, double *taps)
{
    if (!(t >= 1e-12)) { /* a sigma that is not a number must show */
        for (int n = 0; n < count; n++) {
            taps[n] = isnan(t) ? t : n == 0;
        }
        return;
    }
    int start = count + 20 + (int)(6 * sqrt(t));
    double after = 0, here = 1e-300, sum = 0;
    for (int n = start; n >= 0; n--) {
        if (n < count) {
            taps[n] = here;
        }
        sum += n > 0 ? 2 * here : here;
        double before = after + (n > 0 ? 2.0 * n / t * here : 0);
        after = here;
        here = before;
        if (here > 1e200) { /* scale down everything so far */
            here *= 1e-250;
            after *= 1e-250;
            sum *= 1e-250;
            for (int k = n; k < count; k++) {
                taps[k] *= 1e-250;
            }
        }
    }
    for (int n = 0; n < count; n++) {
        taps[n] /= sum;
    }
}

int blur_gaussian_radius(double sigma_px)
{
    ASSERT(sigma_px <= BLUR_MAX_SIGMA_PX);
    double t = sigma_px * sigma_px;
    int radius = (int)ceil(4 * sigma_px) + 2;
    double *taps = MEMORY_NEW(double, radius + 1);
    discrete_gaussian(t, radius + 1, taps);
    double outside = 1 - taps[0];
    int r = 0;
    while (outside > tail_mass && r < radius) {
        r++;
        outside -= 2 * taps[r];
    }
    memory_free(taps);
    return r;
}

void blur_gaussian_taps(double sigma_px, int radius, double *taps)
{
    discrete_gaussian(sigma_px * sigma_px, radius + 1, taps);
    double sum = taps[0];
    for (int n = 1; n <= radius; n++) {
        sum += 2 * taps[n];
    }
    for (int n = 0; n <= radius; n++) {
        taps[n] /= sum;
    }
}

/* Of exp(-t) I_n(t): dT_n/dt = (T_(n-1) + T_(n+1))/2 - T_n; their sum over |n| <= radius telescopes to T_(radius+1) - T_radius, and t = sigma^2. */
void blur_gaussian_slopes(double sigma_px, int radius, double *slopes)
{
    double *taps = MEMORY_NEW(double, radius + 2);
    discrete_gaussian(sigma_px * sigma_px, radius + 2, taps);
    double sum = taps[0], sum_slope = taps[radius + 1] - taps[radius];
    for (int n = 1; n <= radius; n++) {
        sum += 2 * taps[n];
    }
    for (int n = 0; n <= radius; n++) {
        double by_t = (taps[n > 0 ? n - 1 : 1] + taps[n + 1]) / 2 - taps[n];
        slopes[n] = 2 * sigma_px * (by_t - taps[n] / sum * sum_slope) / sum;
    }
    memory_free(taps);
}

/* Kernel of Convis 0.6.4.2: half width h = ceil(sqrt(-2 s^2 ln(eps s sqrt(2 pi)))), taps for |n| < h. */
static int convis_radius(double s)
{
    const double eps = 0.001;
    double inside = -2 * s * s * log(eps * s * sqrt(2 * M_PI));
    int half = inside > 0 ? (int)ceil(sqrt(inside)) : 1;
    return s <= 0 || half < 1 ? 0 : half - 1;
}

static void convis_taps(double s, int radius, double *taps)
{
    for (int n = 0; n <= radius; n++) {
        double w = s <= 0 ? 1 : exp(-(double)n * n / (2 * s * s)) / (s * sqrt(2 * M_PI));
        taps[n] = w > 1 ? 1 : w;
    }
}

static void convis_slopes(double s, int radius, double *slopes)
{
    for (int n = 0; n <= radius; n++) {
        double square = (double)n * n / (s * s), w = exp(-square / 2) / (s * sqrt(2 * M_PI));
        slopes[n] = s <= 0 || w > 1 ? 0 : w * (square - 1) / s;
    }
}

double blur_scale_at(const blur_desc *d, double y, double x)
{
    double dy = y - 0.5 * (d->field_ny - 1), dx = x - 0.5 * (d->field_nx - 1);
    double beyond = sqrt(dy * dy + dx * dx) - d->fovea_px;
    return beyond > 0 ? 1 + d->scaling_per_px * beyond : 1;
}

double blur_largest_scale(const blur_desc *d)
{
    return d->scaling_per_px > 0 ? blur_scale_at(d, 0, 0) : 1;
}

double blur_level_scale(int k)
{
    return pow(1.1, k);
}

int blur_nlevel(const blur_desc *d)
{
    int n = 0;
    if (d->scaling_per_px > 0) {
        for (n = 2; blur_level_scale(n - 1) < blur_largest_scale(d); n++) {
        }
    }
    return n;
}

/* A growing Gaussian keeps the radius of each level for the largest sigma.  Convis' kernel is not normalised, so that its radius belongs to its first
 * sigma whatever becomes of it. */
blur_info blur_look(const blur_desc *d)
{
    enum { COEFFICIENTS = 6, SPARE = 4 }; /* of the recursive filter, for every pixel if it grows; lines for the adjoints of gain control */
    int64_t field = (int64_t)d->field_ny * d->field_nx;
    bool slopes = d->most_sigma_px > 0;
    int nlevel = blur_nlevel(d), sets = slopes ? 2 : 1;
    blur_info info = {0, 30, d->scaling_per_px > 0 ? COEFFICIENTS * field * sets : 0, 0};
    info.scratch = 2 * field * sets + d->field_nx + SPARE * (int64_t)blur_line(d, 0);
    switch (d->method) {
    case BLUR_GAUSSIAN:
        info.radius = blur_gaussian_radius((slopes ? d->most_sigma_px : d->sigma_px) * (nlevel > 0 ? blur_level_scale(nlevel - 1) : 1));
        break;
    case BLUR_CONVIS:
        info.radius = convis_radius(d->sigma_px);
        break;
    case BLUR_TAPS:
        info.radius = d->taps_radius;
        break;
    case BLUR_DERICHE:
        return info;
    }
    int64_t side = 2 * info.radius + 1, line = blur_line(d, info.radius), all = d->tile_ny + 2 * info.radius + 4; /* rows, and four to work in */
    info.flop = 2 * (3.0 * info.radius + 1);
    info.table = (int64_t)nlevel * (info.radius + 1) * sets;
    info.scratch = line * (all + SPARE);
    if (d->method == BLUR_TAPS) {
        info.flop = 2 * (double)(side * side);
        info.table = 2 * side * side;
        info.scratch = line * (2 * all + SPARE);
    }
    if (nlevel > 0) { /* scales and sums of the tile's pixels; a pixel is part of several levels */
        info.scratch += 2 * line * (d->tile_ny + 1);
        info.flop *= 3;
    }
    return info;
}

void blur_taps(const blur_desc *d, int radius, double *taps)
{
    if (d->method == BLUR_CONVIS) {
        convis_taps(d->sigma_px, radius, taps);
    } else {
        blur_gaussian_taps(d->sigma_px, radius, taps);
    }
}

void blur_slopes(const blur_desc *d, int radius, double *slopes)
{
    if (d->method == BLUR_CONVIS) {
        convis_slopes(d->sigma_px, radius, slopes);
    } else {
        blur_gaussian_slopes(d->sigma_px, radius, slopes);
    }
}

/* Coefficients of the recursive smoothing of order 0: R. Deriche, INRIA report 1893 (1993). */
deriche deriche_plan(double alpha)
{
    double m = exp(-alpha), k = (1 - m) * (1 - m) / (1 + 2 * alpha * m - m * m);
    deriche f = {k, k * m * (alpha - 1), k * m * (alpha + 1), -k * m * m, 2 * m, -m * m};
    return f;
}

deriche deriche_slope(double alpha)
{
    double m = exp(-alpha), below = 1 + 2 * alpha * m - m * m, k = (1 - m) * (1 - m) / below;
    double dk = (2 * (1 - m) * m - k * (2 * m - 2 * alpha * m + 2 * m * m)) / below; /* dm/dalpha = -m */
    deriche f = {dk, (dk - k) * m * (alpha - 1) + k * m, (dk - k) * m * (alpha + 1) + k * m, (2 * k - dk) * m * m, -2 * m, 2 * m * m};
    return f;
}

/* test_analysis.c - every estimator against the plain sum it stands for, or a case whose answer is known; on any number of ranks. */
#include "analysis/glm.h"
#include "analysis/linalg.h"
#include "analysis/nonlinearity.h"
#include "analysis/sta.h"
#include "analysis/stc.h"
#include "analysis/stnmf.h"
#include "analysis/transfer.h"
#include "analysis/tuning.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "test.h"

enum { NSTEP = 700, NY = 5, NX = 4, NPIXEL = NY * NX, LAGS = 6, NCELL = 3, TRIAL = 100, SKIP = 8 };

/* --- a recording by hand -------------------------------------------------------------------------------------------- */
/* Frames of all time, on every rank: what the plain sums run over. */
typedef struct world {
    recording r;
    real frame[NSTEP][NPIXEL];
} world;

static void deal(recording *r, int npiece)
{
    r->pieces = grid_plan(1, npiece, 1, npiece);
    r->ranks = grid_plan(1, comm_size(), 1, comm_size());
    grid_owned(&r->pieces, comm_rank(), comm_size(), &r->piece0, &r->npiece);
    int64_t unused;
    recording_piece(r, r->piece0, &r->from, &unused);
    recording_piece(r, r->piece0 + r->npiece - 1, &unused, &r->to);
    int64_t before = r->from - r->set.first_lag - r->set.lags + 1;
    r->held0 = before > 0 ? before : 0;
}

static world *make(bool whole, int first_lag, uint64_t seed)
{
    world *w = MEMORY_NEW(world, 1);
    recording *r = &w->r;
    *r = (recording){.set = {.lags = LAGS, .first_lag = first_lag}, .nstep = NSTEP, .ncell = NCELL, .trial_steps = TRIAL, .ntrial = NSTEP / TRIAL,
                     .ny = NY, .nx = NX, .whole = whole};
    deal(r, 7);
    for (int t = 0; t < NSTEP; t++) {
        for (int i = 0; i < NPIXEL; i++) {
            double v = test_random(&seed);
            w->frame[t][i] = (real)(whole ? (v < 0 ? -1 : 1) : v);
        }
    }
    int64_t held = (r->to - r->held0) * NPIXEL;
    r->small = whole ? MEMORY_NEW(int8_t, held) : NULL;
    r->wide = whole ? NULL : MEMORY_NEW(real, held);
    for (int64_t i = 0; i < held; i++) {
        real v = w->frame[r->held0 + i / NPIXEL][i % NPIXEL];
        if (whole) {
            r->small[i] = (int8_t)v;
        } else {
            r->wide[i] = v;
        }
    }
    r->count = MEMORY_NEW(double, NCELL *NSTEP);
    r->part = MEMORY_NEW(uint8_t, NSTEP);
    for (int t = 0; t < NSTEP; t++) {
        r->part[t] = t % TRIAL < SKIP ? RECORDING_UNUSED : t / TRIAL == 6 ? RECORDING_TEST : RECORDING_TRAIN;
        for (int c = 0; c < NCELL; c++) {
            r->count[c * NSTEP + t] = floor(fmax(0, 3 * test_random(&seed)));
        }
    }
    return w;
}

static void destroy(world *w)
{
    memory_free(w->r.small);
    memory_free(w->r.wide);
    memory_free(w->r.count);
    memory_free(w->r.part);
    memory_free(w);
}

/* --- sums ----------------------------------------------------------------------------------------------------------- */
static void sums_are_the_plain_sums(void)
{
    for (int k = 0; k < 4; k++) {
        world *w = make(k < 2, k % 2, 11 + (uint64_t)k);
        double sum[NCELL * LAGS * NPIXEL], nspike[NCELL], mean[LAGS * NPIXEL], worst = 0, worst_mean = 0;
        sta_sums(&w->r, sum, nspike);
        sta_mean_window(&w->r, mean);
        for (int c = 0; c < NCELL; c++) {
            double spikes = 0;
            for (int t = 0; t < NSTEP; t++) {
                spikes += w->r.part[t] == RECORDING_TRAIN ? w->r.count[c * NSTEP + t] : 0;
            }
            CHECK_NEAR(nspike[c], spikes, 0, "whole numbers");
            for (int i = 0; i < LAGS * NPIXEL; i++) {
                double plain = 0, all = 0, n = 0;
                for (int t = 0; t < NSTEP; t++) {
                    double x = t - k % 2 - i / NPIXEL >= 0 ? (double)w->frame[t - k % 2 - i / NPIXEL][i % NPIXEL] : 0;
                    bool used = w->r.part[t] == RECORDING_TRAIN;
                    plain += used ? w->r.count[c * NSTEP + t] * x : 0;
                    all += used ? x : 0;
                    n += used;
                }
                worst = fmax(worst, fabs(sum[c * LAGS * NPIXEL + i] - plain));
                worst_mean = fmax(worst_mean, fabs(mean[i] - all / n));
            }
        }
        CHECK_NEAR(worst, 0, k < 2 ? 0 : 1e-12, "whole numbers are exact; else some 500 roundings of sums near 100");
        CHECK_NEAR(worst_mean, 0, 1e-14, "one division");
        destroy(w);
    }
}

/* Element d of the row of bin t, by definition. */
static double element(const world *w, const recording_rows *f, int t, int d)
{
    const recording *r = &w->r;
    int pixels = f->ny * f->nx, window = pixels * (f->temporal ? 1 : LAGS), first = (int)r->set.first_lag;
    if (d >= window) {
        int which = (d - window) / f->history, back = (d - window) % f->history + 1;
        int64_t cell = which == 0 ? f->cell : which <= f->cell ? which - 1 : which;
        return t - back >= 0 ? r->count[cell * NSTEP + t - back] : 0;
    }
    int i = d % pixels, at = (f->y0 + i / f->nx) * NX + f->x0 + i % f->nx;
    double sum = 0;
    for (int lag = 0; lag < LAGS; lag++) {
        double weight = f->temporal ? f->temporal[lag] : lag == d / pixels;
        sum += t - first - lag >= 0 ? weight * (double)w->frame[t - first - lag][at] : 0;
    }
    return sum;
}

static void moments_are_the_plain_moments(void)
{
    static const double temporal[LAGS] = {0.3, -1.2, 0, 0.5, 2, 0.1};
    for (int k = 0; k < 3; k++) {
        world *w = make(k == 0, 1, 5 + (uint64_t)k);
        recording_rows f = {.r = &w->r, .y0 = 1, .x0 = 1, .ny = 3, .nx = 2, .temporal = k == 2 ? NULL : temporal, .history = k == 0 ? 0 : 2,
                            .cell = 1, .coupled = k == 2};
        int width = recording_width(&f);
        CHECK(width == (k == 0 ? 6 : k == 1 ? 8 : 36 + 6));
        double *moments = MEMORY_NEW(double, recording_nmoment(width)), *g = MEMORY_NEW(double, NSTEP), *kernel = MEMORY_NEW(double, width);
        double worst = 0, worst_mean = 0, worst_g = 0;
        recording_moments(&f, RECORDING_TRAIN, w->r.count, moments);
        for (int a = 0; a < width; a++) {
            double mean = 0;
            for (int b = 0; b < width; b++) {
                double second = 0;
                for (int t = 0; t < NSTEP; t++) {
                    second += w->r.part[t] == RECORDING_TRAIN ? w->r.count[t] * element(w, &f, t, a) * element(w, &f, t, b) : 0;
                }
                worst = fmax(worst, fabs(second - moments[1 + width + a * width + b]));
            }
            for (int t = 0; t < NSTEP; t++) {
                mean += w->r.part[t] == RECORDING_TRAIN ? w->r.count[t] * element(w, &f, t, a) : 0;
            }
            worst_mean = fmax(worst_mean, fabs(mean - moments[1 + a]));
            kernel[a] = sin(a + 1.0);
        }
        CHECK_NEAR(worst, 0, 1e-10, "500 roundings of sums below 1e4, with a root and its square");
        CHECK_NEAR(worst_mean, 0, 1e-11, "500 roundings of sums below 1e3");
        recording_project(&f, kernel, g);
        for (int t = 0; t < NSTEP; t++) {
            double plain = 0;
            for (int d = 0; d < width && t >= LAGS; d++) {
                plain += kernel[d] * element(w, &f, t, d);
            }
            worst_g = fmax(worst_g, fabs(plain - g[t]));
        }
        CHECK_NEAR(worst_g, 0, 1e-13, "42 roundings of a sum near 10");
        memory_free(moments);
        memory_free(g);
        memory_free(kernel);
        destroy(w);
    }
}

/* --- filters -------------------------------------------------------------------------------------------------------- */
static void filters_are_taken_apart(void)
{
    double filter[LAGS * NPIXEL], temporal[LAGS], spatial[NPIXEL], checker[NPIXEL], values[LAGS], point[NPIXEL] = {0};
    for (int i = 0; i < LAGS * NPIXEL; i++) {
        filter[i] = -2 * (i / NPIXEL == 2 ? 0.8 : i / NPIXEL == 3 ? 0.6 : 0) * (i % NPIXEL == 7 ? 1 : 0);
    }
    for (int i = 0; i < NPIXEL; i++) {
        checker[i] = (i / NX + i % NX) % 2;
    }
    sta_parts parts = {.temporal = temporal, .spatial = spatial, .values = values};
    sta_separate(LAGS, NPIXEL, filter, &parts);
    CHECK_NEAR(parts.strength, 2, 1e-14, "rounding");
    CHECK_NEAR(parts.share, 1, 1e-14, "one outer product");
    CHECK_NEAR(spatial[7], 1, 1e-14, "the spatial part is positive");
    CHECK_NEAR(temporal[2], -0.8, 1e-14, "rounding");
    CHECK_NEAR(sta_moran(NY, NX, checker), -1, 1e-14, "neighbours are opposite");
    int y, x;
    point[9] = -3;
    sta_peak(NY, NX, point, 0.7, &y, &x);
    CHECK(y == 2 && x == 1);
    double impulse[4] = {0, 1, 0, 0}; /* most - mean of |a| = 3/4; |a - 1/4| = sqrt(3)/2 */
    CHECK_NEAR(sta_regularity(4, impulse), 0.75 - 5e-4 / (sqrt(0.75) + 5e-4), 1e-14, "closed form");
}

/* --- covariance ----------------------------------------------------------------------------------------------------- */
/* Two axes: spikes where |x_5| is large (excitatory) and where |x_8| is small (suppressive). */
static void covariance_finds_its_axes(void)
{
    world *w = make(false, 0, 77);
    for (int t = 0; t < NSTEP; t++) {
        double up = (double)w->frame[t][5], down = (double)w->frame[t][8];
        w->r.count[t] = 2 * (fabs(up) > 0.6) * (fabs(down) < 0.5);
    }
    static const double newest[LAGS] = {1};
    recording_rows f = {.r = &w->r, .ny = NY, .nx = NX, .temporal = newest};
    for (int k = 0; k < 3; k++) {
        stc_settings s = {.whiten = k == 1, .unbiased = k == 2, .nested = k == 2, .shifts = 30, .smallest_shift = 20, .quantile = 0.95, .seed = 3,
                          .cut = 1e-10};
        stc_result *c = stc_run(&f, &s);
        CHECK(c->vector[5] > 0.85); /* about 120 bins with spikes for 20 dimensions */
        CHECK(c->vector[(NPIXEL - 1) * NPIXEL + 8] > 0.9);
        CHECK(c->excitatory == 1 && c->suppressive == 1);
        CHECK(c->null_low < c->null_high && c->value[0] > c->null_high && c->value[NPIXEL - 1] < c->null_low);
        stc_destroy(c);
    }
    destroy(w);
}

/* C0 = 1, C1 diagonal, mu along the first axis: each axis tells 0.5 (c - log c - 1 + mu^2). */
static void information_is_that_of_the_best_axes(void)
{
    enum { N = 6 };
    double c0[N * N] = {0}, c1[N * N] = {0}, mean0[N] = {0}, mean1[N] = {0.7}, basis[3 * N], total, all = 0, each[N];
    const double var[N] = {1.1, 2.5, 0.2, 1, 0.9, 1.6};
    for (int i = 0; i < N; i++) {
        c0[i * N + i] = 4;
        c1[i * N + i] = 4 * var[i];
        each[i] = 0.5 * (var[i] - log(var[i]) - 1 + (i == 0 ? 0.49 / 4 : 0));
        all += each[i];
    }
    stc_result c = {.width = N, .c0 = c0, .c1 = c1, .mean0 = mean0, .mean1 = mean1};
    double kl = stc_information(&c, 1, 0.01, basis, &total);
    CHECK_NEAR(total, all, 1e-14, "rounding");
    CHECK_NEAR(kl, each[2], 1e-13, "the top of a smooth hill, to the square of its gradient");
    CHECK_NEAR(fabs(basis[2]), 1, 1e-7, "gradient below 1e-8");
    kl = stc_information(&c, 3, 0.01, basis, &total);
    CHECK_NEAR(kl, each[2] + each[1] + each[5], 1e-13, "the three best");
}

static void subunits_are_found(void)
{
    enum { SIDE = 8, P = SIDE * SIDE, SUBUNITS = 4, SPIKES = 4000 };
    static double square[P * P], sums[P], x[P], truth[SUBUNITS][P];
    uint64_t seed = 4;
    for (int i = 0; i < P; i++) {
        int y = i / SIDE, z = i % SIDE;
        if (y >= 2 && y < 6 && z >= 2 && z < 6) {
            truth[(y >= 4) * 2 + (z >= 4)][i] = 1;
        }
    }
    for (int n = 0; n < SPIKES; n++) { /* each spike is of one subunit, on noise */
        int k = (int)(4 * (0.5 + 0.5 * test_random(&seed))) % SUBUNITS;
        for (int i = 0; i < P; i++) {
            x[i] = test_random(&seed) + truth[k][i];
            sums[i] += x[i];
        }
        for (int i = 0; i < P; i++) {
            for (int j = 0; j < P; j++) {
                square[i * P + j] += x[i] * x[j];
            }
        }
    }
    stnmf_settings s = {.modules = 6, .iterations = 60, .perturbations = 5, .beta = 0.1, .localised = 0.25, .seed = 1};
    stnmf_result *m = stnmf_run(&s, SIDE, SIDE, square, sums, SPIKES, 0), *again = stnmf_run(&s, SIDE, SIDE, square, sums, SPIKES, 0);
    CHECK(m->nlocal == SUBUNITS);
    for (int k = 0; k < SUBUNITS; k++) {
        double best = 0;
        for (int i = 0; i < m->nmodule; i++) {
            const double *a = truth[k], *b = m->module + i * P;
            best = fmax(best, linalg_dot(P, a, b) / sqrt(linalg_dot(P, a, a) * linalg_dot(P, b, b)));
        }
        CHECK(best > 0.97);
    }
    double least = 0;
    for (int i = 0; i < m->nmodule * P; i++) {
        least = fmin(least, m->module[i]);
    }
    CHECK_NEAR(least, 0, 0, "modules are not negative");
    CHECK(memcmp(m->module, again->module, (size_t)(m->nmodule * P) * sizeof *m->module) == 0);
    stnmf_destroy(m);
    stnmf_destroy(again);
}

/* --- nonlinearities ------------------------------------------------------------------------------------------------- */
/* Counts that are the rates themselves have their largest likelihood at the truth. */
static void nonlinearities_are_found_again(void)
{
    enum { N = 3000 };
    static double g[N], y[N];
    static const double truth[NONLINEARITY_COUNT][3] = {{0}, {-1.5, 0.8, 0}, {0.7, 2, -1.5}, {1.4, 1.5, -1}, {0.2, 1.1, 0}};
    for (int kind = NONLINEARITY_EXP; kind < NONLINEARITY_COUNT; kind++) {
        uint64_t seed = 8;
        nonlinearity f = {.kind = (enum nonlinearity_kind)kind, .a = truth[kind][0], .b = truth[kind][1], .c = truth[kind][2]};
        for (int i = 0; i < N; i++) {
            g[i] = 2 * test_random(&seed);
            y[i] = nonlinearity_at(&f, g[i]);
        }
        nonlinearity *fit = nonlinearity_fit(f.kind, 0, N, g, y);
        CHECK_NEAR(fit->a, f.a, 1e-4, "likelihood is climbed to 1e-10 nats of thousands; parameters to its root");
        CHECK_NEAR(fit->b, f.b, 1e-4, "as above");
        CHECK_NEAR(fit->c, f.c, 1e-4, "as above");
        nonlinearity_destroy(fit);
    }
    for (int i = 0; i < N; i++) {
        g[i] = (i * 7) % N;
        y[i] = g[i] < N / 2 ? 1 : 3;
    }
    nonlinearity *h = nonlinearity_fit(NONLINEARITY_HISTOGRAM, 10, N, g, y);
    CHECK_NEAR(h->edge[5], (N - 1) / 2.0, 1e-9, "the median of 0 .. N - 1");
    CHECK_NEAR(h->rate[4], 1, 0, "mean of equal counts");
    CHECK_NEAR(nonlinearity_at(h, N - 3), 3, 0, "last bin");
    CHECK_NEAR(nonlinearity_at(h, 1e9), 3, 0, "beyond the last edge: the last bin");
    nonlinearity_destroy(h);
}

/* At the minimum the plain gradient is 0. */
static void regression_reaches_its_minimum(void)
{
    world *w = make(false, 0, 21);
    recording_rows f = {.r = &w->r, .y0 = 1, .x0 = 0, .ny = 2, .nx = 2, .history = 3, .cell = 2, .coupled = true};
    const double ridge = 4;
    glm_result *g = glm_fit(&f, ridge, 30);
    double worst = 0, objective = 0, mu[NSTEP], *told = MEMORY_NEW(double, NSTEP);
    for (int t = 0; t < NSTEP; t++) {
        double eta = g->bias;
        for (int d = 0; d < g->width; d++) {
            eta += g->weight[d] * element(w, &f, t, d);
        }
        mu[t] = exp(eta);
        objective += w->r.part[t] == RECORDING_TRAIN ? mu[t] - w->r.count[2 * NSTEP + t] * eta : 0;
    }
    for (int d = 0; d < g->width; d++) {
        double slope = ridge * g->weight[d];
        objective += 0.5 * ridge * g->weight[d] * g->weight[d];
        for (int t = 0; t < NSTEP; t++) {
            slope += w->r.part[t] == RECORDING_TRAIN ? (mu[t] - w->r.count[2 * NSTEP + t]) * element(w, &f, t, d) : 0;
        }
        worst = fmax(worst, fabs(slope));
    }
    CHECK(g->width == 4 * LAGS + 3 * NCELL);
    CHECK_NEAR(worst, 0, 1e-5, "Newton's method stops at 1e-9 of the objective, some 500");
    CHECK_NEAR(g->objective, objective, 1e-9, "rounding of 500 terms");
    glm_predict(&f, g, told);
    CHECK_NEAR(told[500], mu[500], 1e-12, "rounding");
    memory_free(told);
    glm_destroy(g);
    destroy(w);
}

static void tuning_is_measured(void)
{
    enum { PER = 200, CONDITIONS = 8 };
    static double y[2 * PER * CONDITIONS];
    tuning_settings s = {.nvalue = CONDITIONS, .duration_s = 2, .skip_s = 1, .frequency_hz = 4};
    const double dt = 0.01, pi = 3.14159265358979323846;
    for (int i = 0; i < CONDITIONS; i++) {
        s.value[i] = 45 * i;
    }
    for (int t = 0; t < 2 * PER * CONDITIONS; t++) {
        double theta = 45 * (t / PER % CONDITIONS) * pi / 180, f0 = 10 + 4 * cos(theta - pi / 2);
        y[t] = dt * (t % PER < 100 ? 99 : f0 + 0.5 * f0 * cos(2 * pi * 4 * t * dt + 1));
    }
    tuning_curve *c = tuning_measure(&s, dt, 2 * PER * CONDITIONS, y);
    CHECK_NEAR(c->f0[2], 14, 1e-10, "rounding");
    CHECK_NEAR(c->f1[2], 7, 1e-10, "4 whole periods");
    CHECK_NEAR(c->best, 90, 0, "");
    CHECK_NEAR(c->dsi, 0.2, 1e-12, "sum R exp(i theta) = 4 * 8/2, sum R = 80");
    CHECK_NEAR(c->osi, 0, 1e-12, "no second harmonic");
    CHECK_NEAR(c->ratio, 0.5, 1e-11, "rounding");
    tuning_destroy(c);
}

static void transfer_is_correlation(void)
{
    const double p[2 * 4] = {1, 2, 3, 4, 4, 3, 2, 1}, y[2 * 4] = {2, 4, 6, 8, 1, 0, 1, 0};
    double score[4], alike[4];
    transfer_matrix(2, 2, 4, p, y, score, alike);
    CHECK_NEAR(score[0], 1, 1e-15, "rounding");
    CHECK_NEAR(score[2], -1, 1e-15, "rounding");
    CHECK_NEAR(alike[1], -1 / sqrt(5), 1e-15, "cov -0.5, variances 5 and 0.25 of counts 2, 4, 6, 8 and 1, 0, 1, 0");
    CHECK_NEAR(alike[3], 1, 1e-15, "rounding");
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    log_start(comm_rank(), LOG_QUIET);
    linalg_start();
    static const test_case tests[] = {{"spike-triggered sums are the plain sums", sums_are_the_plain_sums},
                                      {"moments and projections are the plain ones", moments_are_the_plain_moments},
                                      {"filters are taken apart", filters_are_taken_apart},
                                      {"covariance finds its axes", covariance_finds_its_axes},
                                      {"information is that of the best axes", information_is_that_of_the_best_axes},
                                      {"subunits are found", subunits_are_found},
                                      {"nonlinearities are found again", nonlinearities_are_found_again},
                                      {"regression reaches its minimum", regression_reaches_its_minimum},
                                      {"tuning is measured", tuning_is_measured},
                                      {"transfer is correlation", transfer_is_correlation}};
    int failed = test_run("analysis", tests, (int)(sizeof tests / sizeof tests[0]));
    comm_finish();
    return failed;
}

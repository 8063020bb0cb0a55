/* test_scores.c - scores against closed forms, plain loops, and the reference repeats of golden/lnln.h5 (60 trials of 300 steps). */
#include "analysis/scores.h"
#include "base/memory.h"
#include "cluster/store.h"
#include "test.h"

enum { NTRIAL = 60, NT = 300 };
static double y[NTRIAL * NT], m[NT];

static double golden_value(store *s, const char *name)
{
    double value = NAN;
    CHECK(store_read(s, name, STORE_F64, NULL, NULL, &value));
    return value;
}

static store *golden_open(void)
{
    const char *why;
    store *s = store_open_read("tests/golden/lnln.h5", &why);
    CHECK(s != NULL && store_read(s, "repeat_trials", STORE_F64, NULL, NULL, y));
    for (int t = 0; t < NT; t++) {
        m[t] = 0;
        for (int r = 0; r < NTRIAL; r++) {
            m[t] += y[r * NT + t] / NTRIAL;
        }
    }
    return s;
}

/* A prediction whose correlation with m is c and whose fraction of explained variance is f, with m's mean: p = mean + a (m - mean) + b e, e of
 * variance 1 and uncorrelated with m, so that b^2 = a^2 v (1/c^2 - 1) and a^2/c^2 - 2 a + f = 0. */
static void make_prediction(double c, double f, double *p)
{
    double e[NT], mean = 0, v = 0, em = 0, ee = 0, e_mean = 0;
    uint64_t seed = 4;
    for (int t = 0; t < NT; t++) {
        e[t] = test_random(&seed);
        e_mean += e[t] / NT;
        mean += m[t] / NT;
    }
    for (int t = 0; t < NT; t++) {
        v += (m[t] - mean) * (m[t] - mean) / NT;
        em += (e[t] - e_mean) * (m[t] - mean) / NT;
    }
    for (int t = 0; t < NT; t++) {
        e[t] = e[t] - e_mean - em / v * (m[t] - mean);
        ee += e[t] * e[t] / NT;
    }
    double a = c * c * (1 + sqrt(1 - f / (c * c))), b = a * sqrt(v * (1 / (c * c) - 1));
    for (int t = 0; t < NT; t++) {
        p[t] = mean + a * (m[t] - mean) + b * e[t] / sqrt(ee);
    }
}

/* The reference's own prediction is not stored, but scores of repeats see it only through CC and FEV. */
static void repeats_are_the_references(void)
{
    const char *why = "sums of 18,000 terms in another order";
    store *s = golden_open();
    double p[NT], cc = golden_value(s, "cc_psth"), fev = golden_value(s, "fev");
    scores_repeats score, halves;
    make_prediction(cc, fev, p);
    scores_of_repeats(NTRIAL, NT, y, p, 0, 1, &score);
    CHECK_NEAR(score.cc, cc, 1e-12, why);
    CHECK_NEAR(score.fev, fev, 1e-12, why);
    CHECK_NEAR(score.signal_power, golden_value(s, "signal_power"), 1e-12, why);
    CHECK_NEAR(score.cc_norm_schoppe, golden_value(s, "cc_norm_schoppe"), 1e-12, why);
    CHECK_NEAR(score.explainable, golden_value(s, "explainable_var_ratio"), 1e-12, why);
    CHECK_NEAR(score.feve, golden_value(s, "feve"), 1e-12, why);
    CHECK_NEAR(score.cc_norm, score.cc / score.cc_max, 1e-15, "rounding");
    CHECK_NEAR(score.cc_half, 0.9601698922932894, 1e-12, "numpy's corrcoef of even and odd trials");
    scores_of_repeats(NTRIAL, NT, y, p, 200, 1, &halves);
    CHECK_NEAR(halves.cc_half, golden_value(s, "half_split_cc"), 0.004, "other random halves; one split has a spread of 0.003");
    CHECK_NEAR(halves.cc_norm, golden_value(s, "cc_norm"), 0.001, "the same, weakened by the square root");
    double same = halves.cc_half;
    scores_of_repeats(NTRIAL, NT, y, p, 200, 1, &halves);
    CHECK(halves.cc_half == same);
    scores_of_repeats(NTRIAL, NT, y, p, 200, 2, &halves);
    CHECK(halves.cc_half != same && fabs(halves.cc_half - same) < 0.002);
    double h = golden_value(s, "half_split_cc"), reference_max = golden_value(s, "cc_max_spearman_brown");
    CHECK_NEAR(sqrt(2 * h / (1 + h)), reference_max, 1e-14, "our formula and the reference's");
    store_close_read(s);
}

/* y_rt = signal + noise of sign (-1)^r: everything in closed form. */
static void repeats_in_closed_form(void)
{
    enum { R = 2, N = 4 };
    static const double signal[N] = {1, -1, 3, -3}, noise[N] = {1, 1, -1, -1}, p[N] = {2, -2, 6, -6};
    double trials[R * N];
    for (int t = 0; t < N; t++) {
        trials[t] = signal[t] + noise[t];     /* 2 0 2 -4 */
        trials[N + t] = signal[t] - noise[t]; /* 0 -2 4 -2 */
    }
    scores_repeats s;
    scores_of_repeats(R, N, trials, p, 0, 1, &s);
    const char *why = "rounding";
    CHECK_NEAR(s.cc, 1, 1e-15, why);
    CHECK_NEAR(s.fev, 1 - 20.0 / 20, 1e-15, why);                          /* p - m = signal: as large as the signal */
    double trial_cc = 0.5 * (40 / sqrt(80.0 * 24) + 40 / sqrt(80.0 * 24)); /* both trials: sum of squares 24, with p 40 */
    CHECK_NEAR(s.cc_trial, trial_cc, 1e-14, why);
    CHECK_NEAR(s.cc_half, 16.0 / 24, 1e-15, why); /* sum of products 0 + 0 + 8 + 8 */
    CHECK_NEAR(s.oracle, 16.0 / 24, 1e-15, why);
    CHECK_NEAR(s.cc_max, sqrt(2 * (2.0 / 3) / (1 + 2.0 / 3)), 1e-15, why);
    CHECK_NEAR(s.signal_power, (80.0 - 24 - 24) / 3 / 2, 1e-14, why);   /* the sum over trials is 2 signal */
    CHECK_NEAR(s.explainable, (48.0 / 7 - 2) / (48.0 / 7), 1e-14, why); /* s2: (1 + 1)/1 */
    CHECK_NEAR(s.feve, 1 - (6.0 - 2) / (48.0 / 7 - 2), 1e-14, why);     /* MSE: mean of (signal -+ noise)^2 = 6 */
    scores_of_repeats(1, N, trials, p, 0, 1, &s);
    CHECK(isfinite(s.cc) && isfinite(s.fev) && isnan(s.cc_norm) && isnan(s.oracle) && isnan(s.feve) && isnan(s.signal_power));
}

static void correlations(void)
{
    static const double a[5] = {1, 2, 3, 4, 5}, b[5] = {2, 1, 4, 3, 5}, flat[5] = {7, 7, 7, 7, 7};
    CHECK_NEAR(scores_cc(5, a, b), 0.8, 1e-15, "rounding");
    CHECK(isnan(scores_cc(5, a, flat)));
    CHECK_NEAR(scores_fev(5, a, b), 1 - (4 / 5.0) / 2, 1e-15, "rounding");
    CHECK(isnan(scores_fev(5, a, flat)));
}

static void likelihoods(void)
{
    static const double counts[4] = {0, 2, 1, 1}, mu[4] = {0.5, 1.5, 1, 1};
    scores_likelihood s;
    const char *why = "rounding";
    scores_poisson(4, counts, mu, NAN, 0, &s);
    CHECK_NEAR(s.log_likelihood, 2 * log(1.5) - 4, 1e-15, why);
    CHECK_NEAR(s.null, -4, 1e-15, why); /* mean count 1 */
    CHECK_NEAR(s.saturated, 2 * log(2) - 4, 1e-15, why);
    CHECK_NEAR(s.bits_per_spike, 2 * log2(1.5) / 4, 1e-15, why);
    CHECK_NEAR(s.pseudo_r2, log2(1.5), 1e-15, why);
    scores_poisson(4, counts, mu, 0.5, 0, &s); /* the mean of other data */
    CHECK_NEAR(s.null, 4 * log(0.5) - 2, 1e-15, why);
    static const double silent[4] = {0, 0, 1, 1};
    scores_poisson(4, counts, silent, NAN, 0, &s);
    CHECK(s.log_likelihood == -INFINITY);
    scores_poisson(4, counts, silent, NAN, 1e-6, &s);
    CHECK_NEAR(s.log_likelihood, 2 * log(1e-6) - 2 - 2e-6, 1e-13, why);
    scores_poisson(2, silent, mu, NAN, 0, &s);
    CHECK(isnan(s.bits_per_spike) && s.nspike == 0);
}

/* D^2 = 1/2 sum over all pairs of s_i s_j exp(-|t_i - t_j|/tau), s = 1 in one train and -1 in the other. */
static double pairs(int n, const double *t, const int *sign, double tau)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            sum += 0.5 * sign[i] * sign[j] * exp(-fabs(t[i] - t[j]) / tau);
        }
    }
    return sqrt(sum);
}

static void van_rossum(void)
{
    static const double one[1] = {0.3}, later[1] = {0.35};
    CHECK_NEAR(scores_van_rossum(1, one, 0, NULL, 0.01), sqrt(0.5), 1e-15, "closed form");
    CHECK_NEAR(scores_van_rossum(1, one, 1, one, 0.01), 0, 0, "the same train");
    CHECK_NEAR(scores_van_rossum(1, one, 1, later, 0.05), sqrt(1 - exp(-1)), 1e-15, "closed form");
    CHECK_NEAR(scores_van_rossum(1, later, 1, one, 0.05), sqrt(1 - exp(-1)), 1e-15, "either way");
    CHECK(scores_van_rossum(0, NULL, 0, NULL, 1) == 0);
    double a[40], b[30], all[70];
    int sign[70];
    uint64_t seed = 8;
    double t = -2;
    for (int i = 0; i < 40; i++) {
        a[i] = t += 0.1 * (1.01 + test_random(&seed));
    }
    t = -2;
    for (int i = 0; i < 30; i++) {
        b[i] = t += 0.1 * (1.01 + test_random(&seed));
    }
    for (int i = 0; i < 70; i++) {
        all[i] = i < 40 ? a[i] : b[i - 40];
        sign[i] = i < 40 ? 1 : -1;
    }
    for (double tau = 0.003; tau < 50; tau *= 3) {
        CHECK_NEAR(scores_van_rossum(40, a, 30, b, tau), pairs(70, all, sign, tau), 1e-11, "4,900 terms that cancel to a few");
    }
}

static void victor_purpura(void)
{
    static const double a[3] = {0.1, 0.2, 0.5}, b[3] = {0.11, 0.25, 0.9}, c[1] = {0.2};
    const char *why = "rounding";
    CHECK_NEAR(scores_victor_purpura(3, a, 3, b, 0), 0, 0, "q = 0 counts spikes");
    CHECK_NEAR(scores_victor_purpura(3, a, 1, c, 0), 2, 0, "two too many");
    CHECK_NEAR(scores_victor_purpura(3, a, 3, b, 1e6), 6, 0, "none coincides");
    CHECK_NEAR(scores_victor_purpura(3, a, 1, c, 1e6), 2, 0, "one does");
    CHECK_NEAR(scores_victor_purpura(3, a, 3, b, 10), 0.1 + 0.5 + 2, 1e-15, why); /* the last costs 4 to move, 2 to replace */
    CHECK_NEAR(scores_victor_purpura(3, a, 3, b, 4), 0.04 + 0.2 + 1.6, 1e-15, why);
    CHECK_NEAR(scores_victor_purpura(3, b, 3, a, 4), 0.04 + 0.2 + 1.6, 1e-15, why);
    CHECK_NEAR(scores_victor_purpura(0, NULL, 3, a, 4), 3, 0, why);
}

TEST_MAIN("scores", {"repeats are the reference's", repeats_are_the_references}, {"repeats in closed form", repeats_in_closed_form},
          {"correlations", correlations}, {"likelihoods", likelihoods}, {"van Rossum", van_rossum}, {"Victor and Purpura", victor_purpura})

/* test_kernel.c - kernels before any fit: named shapes against what they are for, taps drawn by chance, and what is refused. */
#include "test.h"

#include "base/memory.h"
#include "stages/kernel.h"

static const double step_s = 0.005, pixels_per_deg = 10;

typedef struct made {
    input *in;
    double *k;
    int64_t dims[5];
} made;

/* text: the keys of a stage. */
static made make(const char *text, const kernel_settings *s, const char *stage, int nchan, int groups)
{
    made m = {.in = input_from_text(text, "kernel.yaml", NULL, 0)};
    stage_world w = {.in = m.in, .step_s = step_s, .pixels_per_deg = pixels_per_deg, .seed = 7};
    stage_input in = {.name = "x", .nchan = nchan, .pad_ny = 6, .pad_nx = 8};
    kernel_settings with = *s;
    with.gabor = input_child(input_root(m.in), "gabor");
    with.gaussian = input_child(input_root(m.in), "gaussian");
    with.exponential = input_child(input_root(m.in), "exponential");
    with.init = with.init ? with.init : "normal";
    m.k = kernel_make(&w, &with, stage, &in, groups, input_root(m.in), m.dims);
    return m;
}

static made make_shape(const char *text)
{
    return make(text, &(kernel_settings){.channels = 1}, "a", 1, 1);
}

static void done(made *m)
{
    memory_free(m->k);
    input_destroy(m->in);
}

static double sum_of(const double *k, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += k[i];
    }
    return sum;
}

static void gaussians(void)
{
    made m = make_shape("gaussian: {sigma: [0.2 deg, 0.1 deg], tau: 20 ms, lags: 7}\n");
    CHECK(m.k && m.dims[0] == 2 && m.dims[1] == 1 && m.dims[2] == 7 && m.dims[3] == 13 && m.dims[4] == 13); /* 3 sigma to each side */
    for (int o = 0; m.k && o < 2; o++) {
        const double *k = m.k + o * 7 * 169;
        double sigma_px = o ? 1 : 2;
        CHECK_NEAR(sum_of(k, 7 * 169), 1, 1e-14, "rounding");
        CHECK_NEAR(k[6 * 13 + 8] / k[6 * 13 + 6], exp(-4 / (2 * sigma_px * sigma_px)), 1e-14, "two pixels to the side");
        CHECK_NEAR(k[169 + 6 * 13 + 6] / k[6 * 13 + 6], exp(-0.25), 1e-14, "a step of a quarter tau");
    }
    done(&m);
}

static void exponentials(void)
{
    made m = make_shape("exponential: {tau: 10 ms, order: 2}\n");
    CHECK(m.k && m.dims[0] == 1 && m.dims[3] == 1 && m.dims[4] == 1);
    CHECK_NEAR(sum_of(m.k, m.dims[2]), 1, 1e-14, "rounding");
    CHECK(m.k[0] == 0 && m.k[4] > m.k[3] && m.k[4] > m.k[5]); /* the peak of t^2 exp(-t/tau) is at 2 tau, step 4 */
    CHECK_NEAR(m.k[2] / m.k[4], 0.25 * exp(1), 1e-14, "t^2 exp(-t/tau) at tau and 2 tau");
    CHECK(m.k[m.dims[2] - 1] > 1e-3 * m.k[4] && m.k[m.dims[2] - 1] < 2e-3 * m.k[4]); /* faded */
    done(&m);
}

/* Answer at the middle pixel to a grating of 2 cycles a degree that moves towards `angle` with drift_hz cycles a second. */
static double answer(const made *m, int out, double angle_deg, double drift_hz, double phase)
{
    const double pi = acos(-1.0), a = angle_deg * pi / 180;
    int kt = (int)m->dims[2], ky = (int)m->dims[3], kx = (int)m->dims[4];
    double sum = 0;
    for (int n = 0; n < kt * ky * kx; n++) {
        int k = n / (ky * kx), j = n / kx % ky, i = n % kx;
        double right = (kx / 2 - i) / pixels_per_deg, up = -(ky / 2 - j) / pixels_per_deg; /* rows run down */
        sum += m->k[(int64_t)out * kt * ky * kx + n] *
               cos(2 * pi * (2 * (right * cos(a) + up * sin(a)) - drift_hz * -k * step_s) + phase);
    }
    return sum;
}

/* Largest over the phases of the grating. */
static double amplitude(const made *m, int out, double angle_deg, double drift_hz)
{
    return hypot(answer(m, out, angle_deg, drift_hz, 0), answer(m, out, angle_deg, drift_hz, acos(-1.0) / 2));
}

static void gabors(void)
{
    made m = make_shape("gabor: {sigma: 0.25 deg, frequency: 2 /deg, orientation: [30 deg, 120 deg], phase: [0 deg, 90 deg]}\n");
    CHECK(m.k && m.dims[0] == 4 && m.dims[2] == 1 && m.dims[3] == 17);
    for (int o = 0; m.k && o < 4; o++) {
        double mine = amplitude(&m, o, o < 2 ? 30 : 120, 0), other = amplitude(&m, o, o < 2 ? 120 : 30, 0);
        CHECK_NEAR(sum_of(m.k + o * 289, 289), 0, 1e-14, "balanced");
        CHECK(mine > 0.45 && mine < 0.55 && other < 0.01); /* half of the envelope's sum at its own frequency */
    }
    for (int i = 0; m.k && i < 8; i++) { /* energy of the quadrature pair: the same for every phase */
        double phase = i * 0.7, energy = pow(answer(&m, 0, 30, 0, phase), 2) + pow(answer(&m, 1, 30, 0, phase), 2);
        CHECK_NEAR(energy, 0.25, 0.01, "the pixels' and the cut's share");
    }
    CHECK(answer(&m, 0, 30, 0, 0) > 0.45); /* phase 0: a bright bar in the middle */
    done(&m);
}

static void direction(void)
{
    made m = make_shape("gabor: {sigma: 0.25 deg, frequency: 2 /deg, orientation: [0 deg, 90 deg, 225 deg], drift: 8 Hz, tau: 50 ms, order: 1}\n");
    static const double towards[] = {0, 90, 225};
    for (int o = 0; m.k && o < 3; o++) {
        double with = amplitude(&m, o, towards[o], 8), against = amplitude(&m, o, towards[o] + 180, 8);
        CHECK(with > 0.4 && against < 0.2 * with);
    }
    CHECK(m.dims[2] > 50);
    done(&m);
}

static void by_chance(void)
{
    kernel_settings s = {.size = {20, 0, 0}, .nsize = 3, .channels = 12, .init = "normal 0.05"};
    made a = make("{}\n", &s, "a", 4, 2), again = make("{}\n", &s, "a", 4, 2), b = make("{}\n", &s, "b", 4, 2);
    int64_t n = 12 * 2 * 20 * 6 * 8;
    CHECK(a.k && again.k && b.k && a.dims[0] == 12 && a.dims[1] == 2 && a.dims[2] == 20 && a.dims[3] == 6 && a.dims[4] == 8); /* the whole map */
    double square = 0;
    int same = 0;
    for (int64_t i = 0; i < n; i++) {
        square += a.k[i] * a.k[i];
        same += a.k[i] == b.k[i];
    }
    CHECK(memcmp(a.k, again.k, (size_t)n * sizeof(double)) == 0 && same < 3);
    CHECK_NEAR(sqrt(square / (double)n), 0.05, 5 * 0.05 / sqrt(2.0 * (double)n), "5 standard errors");
    CHECK_NEAR(sum_of(a.k, n) / (double)n, 0, 5 * 0.05 / sqrt((double)n), "5 standard errors");
    done(&again);
    done(&b);
    s.seed = 8;
    made other = make("{}\n", &s, "a", 4, 2);
    CHECK(other.k && other.k[0] != a.k[0] && other.k[n - 1] != a.k[n - 1]);
    done(&other);
    done(&a);
    s.init = "uniform";
    made u = make("{}\n", &s, "a", 4, 2);
    double most = 0;
    for (int64_t i = 0; u.k && i < n; i++) {
        most = fmax(most, fabs(u.k[i]));
    }
    CHECK(most <= 1 / sqrt(1920) && most > 0.99 / sqrt(1920)); /* 1/sqrt(taps of an output) */
    done(&u);
    s.init = "zeros";
    made z = make("{}\n", &s, "a", 4, 2);
    CHECK(z.k && z.k[0] == 0 && z.k[n - 1] == 0);
    done(&z);
}

static void check_refused(const char *text, kernel_settings s, int nchan, int groups, const char *word)
{
    made m = make(text, &s, "a", nchan, groups);
    CHECK(!m.k && input_nproblem(m.in) == 1);
    if (input_nproblem(m.in) != 1 || !strstr(input_problem_text(m.in, 0), word)) {
        printf("\n    wanted '%s', got '%s'", word, input_nproblem(m.in) ? input_problem_text(m.in, 0) : "nothing");
        CHECK(false);
    }
    done(&m);
}

static void refused(void)
{
    kernel_settings none = {.channels = 1}, size = {.channels = 3, .nsize = 3, .size = {2, 3, 3}};
    check_refused("{}\n", none, 1, 1, "no kernel");
    check_refused("gaussian: {sigma: 1 deg}\n", size, 1, 1, "too many kernels");
    check_refused("{}\n", size, 2, 2, "3 outputs");
    check_refused("{}\n", size, 3, 2, "2 groups do not divide the 3 channels");
    check_refused("gaussian: {sigma: 1 deg}\n", none, 2, 1, "does not fit the 2 channels");
    check_refused("gaussian: {sigma: 200 deg}\n", none, 1, 1, "too large");
    check_refused("gaussian: {sigma: 1 s}\n", none, 1, 1, "sigma");
    check_refused("gabor: {sigma: 1 deg}\n", none, 1, 1, "frequency");
    size.size[0] = 1.5;
    check_refused("{}\n", size, 1, 1, "whole numbers");
    size.size[0] = 1;
    size.init = "gauss";
    check_refused("{}\n", size, 1, 1, "normal SD");
    size.init = "normal -1";
    check_refused("{}\n", size, 1, 1, "normal SD");
}

TEST_MAIN("kernel", {"Gaussians", gaussians}, {"exponentials", exponentials}, {"Gabor functions prefer their orientation", gabors},
          {"drifting ones prefer their direction", direction}, {"taps by chance", by_chance}, {"what is refused", refused})

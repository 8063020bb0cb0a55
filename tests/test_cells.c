/* test_cells.c - mathematics of cells and the ops built on it: exp, log, normal numbers, scans, gain control, sampling, spikes. */
#include "base/memory.h"
#include "base/random.h"
#include "compute/cellmath.h"
#include "compute/backend.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
static const double rounding = 1e-14;
#else
static const double rounding = 1e-6;
#endif

static void exp_and_log(void)
{
    double worst_double = 0, worst_float = 0, worst_log = 0;
    for (double x = -80; x < 80; x += 0.01371) {
        worst_double = fmax(worst_double, fabs(cell_exp_double(x) / exp(x) - 1));
        worst_float = fmax(worst_float, fabs((double)cell_exp_float((float)x) / exp((double)(float)x) - 1));
    }
    for (double x = 1e-7; x < 1; x *= 1.00173) {
        worst_log = fmax(worst_log, fabs((double)random_log((float)x) - log((double)(float)x)) / fmax(1e-3, fabs(log(x))));
    }
    CHECK_NEAR(worst_double, 0, 1e-15, "stated in cellmath.h");
    CHECK_NEAR(worst_float, 0, 3e-7, "stated in cellmath.h");
    CHECK_NEAR(worst_log, 0, 3e-7, "stated in cellmath.h");
    CHECK(cell_exp_float(-1e30f) >= 0 && cell_exp_double(1e30) < HUGE_VAL);
}

/* Philox4x32-10's published first vector (Random123's kat_vectors): counter 0, key 0. */
static void philox_known_answer(void)
{
    random_block b = random_bits(0, 0, 0, 0, 0);
    CHECK(b.v[0] == 0x6627e8d5u && b.v[1] == 0xe169c58du && b.v[2] == 0xbc57ac4cu && b.v[3] == 0x9b00dbd8u);
}

static void normal_numbers(void)
{
    enum { N = 200000 };
    double sum = 0, square = 0, fourth = 0;
    int beyond = 0;
    for (int i = 0; i < N; i++) {
        random_block b = random_bits(7, RANDOM_SPIKE_NOISE, (uint64_t)(i / 2), 3, 0);
        float pair[2];
        random_normal_pair(b.v[0], b.v[1], &pair[0], &pair[1]);
        double x = (double)pair[i % 2];
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
        beyond += fabs(x) > 1.959963985;
    }
    CHECK_NEAR(sum / N, 0, 5 / sqrt(N), "5 standard errors");
    CHECK_NEAR(square / N, 1, 5 * sqrt(2.0 / N), "5 standard errors");
    CHECK_NEAR(fourth / N, 3, 5 * sqrt(96.0 / N), "5 standard errors");
    CHECK_NEAR(beyond / (double)N, 0.05, 5 * sqrt(0.05 * 0.95 / N), "5 standard errors");
}

/* --- a row of cells over time ---------------------------------------------------------------------------------------- */
enum { NX = 37, NT = 60 };

static view row_view(dreal *at, const grid_tile *tile)
{
    view v = {at, tile, 1, 1, 0, NX * NT, NX, NX, NX, 1, NX};
    return v;
}

static void lowpass_closed_form(void)
{
    backend *be = backend_open("cpu", 1);
    grid_tile tile = {0, 0, 0, 1, NX};
    for (int npole = 1; npole <= 4; npole++) {
        dreal *x = be->ops->alloc(be, NX * NT), *y = be->ops->alloc(be, NX * NT), *s = be->ops->alloc(be, NX * 4);
        double c = exp(-0.1);
        const real par[4] = {(real)(1 - c), (real)c, 2, (real)npole};
        for (int i = 0; i < NX; i++) { /* a pulse at step i mod 5, of height i */
            host(x)[(i % 5) * NX + i] = (real)i;
        }
        be->ops->scan(be, SCAN_LOWPASS, par, 4, NT, row_view(x, &tile), s, NX * 4, row_view(y, &tile));
        for (int i = 0; i < NX; i += 7) {
            for (int t = i % 5; t < NT; t += 9) { /* (1-c)^n binom(k+n-1, n-1) c^k */
                int k = t - i % 5;
                double binomial = 1;
                for (int m = 1; m < npole; m++) {
                    binomial *= (k + m) / (double)m;
                }
                CHECK_NEAR(host(y)[t * NX + i], 2 * i * pow(1 - c, npole) * binomial * pow(c, k), 40 * rounding, "36 steps of rounding");
            }
        }
        be->ops->release(be, x);
        be->ops->release(be, y);
        be->ops->release(be, s);
    }
    backend_close(be);
}

/* Constant input and no feedback: V relaxes exponentially; with feedback it settles where A = q(V) and V = gain I/(leak + A). */
static void gain_control_settles(void)
{
    backend *be = backend_open("cpu", 1);
    enum { N = 20 };
    grid_tile tile = {0, 0, 0, N, N};
    blur_desc d = {.method = BLUR_GAUSSIAN, .sigma_px = 1, .field_ny = N, .field_nx = N, .tile_ny = N, .tile_nx = N};
    blur_plan *plan = be->ops->blur_create(be, &d);
    int halo = blur_look(&d).radius, row = N + 2 * halo;
    dreal *memory = be->ops->alloc(be, 2 * row * row), *input = be->ops->alloc(be, N * N), *a = be->ops->alloc(be, N * N);
    view in = {input, &tile, 1, 1, 0, N * N, N * N, N * N, N, N, N};
    view v = {memory + halo * row + halo, &tile, 1, 1, halo, 2 * row * row, row * row, row * row, row, N, N}, none = {0};
    be->ops->fill(be, input, (real)0.8, N * N);
    gain_par p = {.leak_hz = 50, .gain_hz = 150, .feedback_hz = 0, .dt_s = (real)0.001, .decay = (real)exp(-0.1), .saturation = (real)5e5};
    for (int t = 1; t <= 40; t++) {
        be->ops->gain_step(be, plan, &p, in, v, a, N * N, view_at_frame(v, 1), none);
        be->ops->move(be, memory, memory + row * row, row * row);
        CHECK_NEAR(host(v.at)[5 * row + 7], 150 * 0.8 / 50 * (1 - exp(-0.05 * t)), 40 * rounding, "exact for constant input");
    }
    p.feedback_hz = 100;
    for (int t = 0; t < 3000; t++) {
        be->ops->edge(be, 1, v, N, N);
        be->ops->gain_step(be, plan, &p, in, v, a, N * N, view_at_frame(v, 1), none);
        be->ops->move(be, memory, memory + row * row, row * row);
    }
    double volt = (double)host(v.at)[9 * row + 3], u = 100 * volt * volt;
    CHECK_NEAR(volt * (50 + u / (1 + u / 5e5)), 150 * 0.8, 1200 * rounding, "fixed point");
    be->ops->blur_destroy(be, plan);
    be->ops->release(be, memory);
    be->ops->release(be, input);
    be->ops->release(be, a);
    backend_close(be);
}

static void rectifier_is_smooth(void)
{
    const real value = 37, slope = 100;
    CHECK_NEAR(cell_rectify_vr(0, 1, 0, value, slope), 37, 1e-4 + rounding, "value at the threshold");
    CHECK_NEAR(cell_rectify_vr((real)0.001, 1, 0, value, slope) - cell_rectify_vr((real)-0.001, 1, 0, value, slope), 0.2, 3e-4 + 60 * rounding,
               "slope at the threshold; the curve below bends by 0.1^2/37");
    CHECK(cell_rectify_vr(-1e6, 1, 0, value, slope) > 0 && cell_rectify_vr(1e9, 1, 0, value, slope) < 5e5);
    CHECK_NEAR(cell_rectify_vr((real)-0.3, -1, 0, value, slope), cell_rectify_vr((real)0.3, 1, 0, value, slope), 100 * rounding,
               "Off is On of the opposite sign");
    CHECK_NEAR(cell_rectify_convis((real)0.5, 1, 0, value, slope), 87, 100 * rounding, "linear above");
    CHECK_NEAR(cell_rectify_convis((real)-0.37, 1, 0, value, slope), 18.5, 100 * rounding, "hyperbola below");
}

/* Constant current: the first spike after ln(E/(E-1))/g, then one each refractory time + that. */
static void lif_is_exact(void)
{
    backend *be = backend_open("cpu", 1);
    enum { N = 5, STEPS = 400 };
    grid_tile tile = {0, 0, 0, 1, N};
    dreal *current = be->ops->alloc(be, N), *count = be->ops->alloc(be, N), *state = be->ops->alloc(be, 4 * N);
    view in = {current, &tile, 1, 1, 0, N, N, N, N, 1, N}, out = {count, &tile, 1, 1, 0, N, N, N, N, 1, N};
    const int64_t id[N] = {100, 101, 102, 103, 104};
    const double amps[N] = {10, 49, 80, 400, 20000};
    spike_list spikes = {0};
    lif_par p = {.step_s = 0.001, .leak_hz = 50, .refractory_s = 0.0034, .random.seed = 1};
    for (int i = 0; i < N; i++) {
        host(current)[i] = (real)amps[i];
    }
    int64_t counted = 0;
    for (int t = 0; t < STEPS; t++) {
        be->ops->lif(be, &p, t, 1, in, id, state, 4 * N, out, NULL, 0, &spikes);
        for (int i = 0; i < N; i++) {
            counted += (int64_t)host(count)[i];
        }
    }
    CHECK(counted == spikes.n);
    for (int i = 0; i < N; i++) {
        double e = amps[i] / 50, wait = e > 1 ? log(e / (e - 1)) / 50 : HUGE_VAL;
        int64_t n = 0, expected = e > 1 ? (int64_t)floor((STEPS * 0.001 - wait) / (wait + 0.0034)) + 1 : 0;
        for (int64_t k = 0; k < spikes.n; k++) {
            if (spikes.item[k].cell == id[i]) {
                CHECK_NEAR(spikes.item[k].time_s, wait + (double)n * (wait + 0.0034), (double)(n + 1) * rounding * 0.02,
                           "closed form; some 20 steps of rounding in each interval");
                n++;
            }
        }
        CHECK(n == expected);
    }
    memory_free(spikes.item);
    be->ops->release(be, current);
    be->ops->release(be, count);
    be->ops->release(be, state);
    backend_close(be);
}

/* Far below threshold the membrane has the standard deviation asked for (VirtualRetina's scale of the noise), whatever the step. */
static void lif_noise_has_its_size(void)
{
    backend *be = backend_open("cpu", 1);
    enum { N = 2000 };
    grid_tile tile = {0, 0, 0, 1, N};
    dreal *current = be->ops->alloc(be, N), *count = be->ops->alloc(be, N), *state = be->ops->alloc(be, 4 * N);
    view in = {current, &tile, 1, 1, 0, N, N, N, N, 1, N}, out = {count, &tile, 1, 1, 0, N, N, N, N, 1, N};
    int64_t *id = MEMORY_NEW(int64_t, N);
    spike_list spikes = {0};
    lif_par p = {.step_s = 0.0005, .leak_hz = 50, .noise = 0.1, .random.seed = 3};
    for (int i = 0; i < N; i++) {
        id[i] = i;
    }
    for (int t = 0; t < 400; t++) {
        be->ops->lif(be, &p, t, 1, in, id, state, 4 * N, out, NULL, 0, &spikes);
    }
    double square = 0;
    for (int i = 0; i < N; i++) {
        square += (double)host(state)[i] * (double)host(state)[i] / N;
    }
    /* discrete steps: sigma^2 (2/(g dt)) (1-k)/(1+k), k = exp(-g dt), here 0.99995 of sigma^2 */
    CHECK_NEAR(sqrt(square), 0.1, 5 * 0.1 / sqrt(2.0 * N), "5 standard errors");
    CHECK(spikes.n == 0);
    memory_free(id);
    memory_free(spikes.item);
    be->ops->release(be, current);
    be->ops->release(be, count);
    be->ops->release(be, state);
    backend_close(be);
}

TEST_MAIN("cells", {"exp and log", exp_and_log}, {"Philox known answer", philox_known_answer}, {"normal numbers", normal_numbers},
          {"low-pass closed form", lowpass_closed_form}, {"gain control settles", gain_control_settles}, {"rectifier is smooth", rectifier_is_smooth},
          {"LIF is exact", lif_is_exact}, {"LIF noise has its size", lif_noise_has_its_size})

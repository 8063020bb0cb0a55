/* test_cells.c - mathematics of cells and the ops built on it: exp, log, normal numbers, scans, gain control, sampling, spikes. */
#include "base/memory.h"
#include "base/random.h"
#include "compute/cellmath.h"
#include "compute/backend.h"
#include "device.h"
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
    backend *be = test_backend(1);
    grid_tile tile = {0, 0, 0, 1, NX};
    for (int npole = 1; npole <= 4; npole++) {
        real pulses[NX * NT] = {0};
        double c = exp(-0.1);
        const real par[4] = {(real)(1 - c), (real)c, 2, (real)npole};
        for (int i = 0; i < NX; i++) { /* a pulse at step i mod 5, of height i */
            pulses[(i % 5) * NX + i] = (real)i;
        }
        dreal *x = test_put(be, pulses, NX * NT), *y = be->ops->alloc(be, NX * NT), *s = test_zeros(be, NX * 4);
        be->ops->scan(be, SCAN_LOWPASS, par, 4, NT, row_view(x, &tile), s, NX * 4, row_view(y, &tile));
        real *out = test_get(be, y, NX * NT);
        for (int i = 0; i < NX; i += 7) {
            for (int t = i % 5; t < NT; t += 9) { /* (1-c)^n binom(k+n-1, n-1) c^k */
                int k = t - i % 5;
                double binomial = 1;
                for (int m = 1; m < npole; m++) {
                    binomial *= (k + m) / (double)m;
                }
                CHECK_NEAR(out[t * NX + i], 2 * i * pow(1 - c, npole) * binomial * pow(c, k), 40 * rounding, "36 steps of rounding");
            }
        }
        memory_free(out);
        be->ops->release(be, x);
        be->ops->release(be, y);
        be->ops->release(be, s);
    }
    test_backend_close(be);
}

/* Constant input and no feedback: V relaxes exponentially; with feedback it settles where A = q(V) and V = gain I/(leak + A). */
static void gain_control_settles(void)
{
    backend *be = test_backend(1);
    enum { N = 20 };
    grid_tile tile = {0, 0, 0, N, N};
    blur_desc d = {.method = BLUR_GAUSSIAN, .sigma_px = 1, .field_ny = N, .field_nx = N, .tile_ny = N, .tile_nx = N};
    blur_plan *plan = be->ops->blur_create(be, &d);
    int halo = blur_look(&d).radius, row = N + 2 * halo;
    dreal *memory = test_zeros(be, 2 * row * row), *input = be->ops->alloc(be, N * N), *a = test_zeros(be, N * N);
    view in = {input, &tile, 1, 1, 0, N * N, N * N, N * N, N, N, N};
    view v = {memory + halo * row + halo, &tile, 1, 1, halo, 2 * row * row, row * row, row * row, row, N, N}, none = {0};
    be->ops->fill(be, input, (real)0.8, N * N);
    gain_par p = {.leak_hz = 50, .gain_hz = 150, .feedback_hz = 0, .dt_s = (real)0.001, .decay = (real)exp(-0.1), .saturation = (real)5e5};
    for (int t = 1; t <= 40; t++) {
        be->ops->gain_step(be, plan, &p, in, v, a, N * N, view_at_frame(v, 1), none);
        be->ops->move(be, memory, memory + row * row, row * row);
        real now;
        be->ops->download(be, &now, v.at + 5 * row + 7, 1);
        CHECK_NEAR(now, 150 * 0.8 / 50 * (1 - exp(-0.05 * t)), 40 * rounding, "exact for constant input");
    }
    p.feedback_hz = 100;
    for (int t = 0; t < 3000; t++) {
        be->ops->edge(be, 1, v, N, N);
        be->ops->gain_step(be, plan, &p, in, v, a, N * N, view_at_frame(v, 1), none);
        be->ops->move(be, memory, memory + row * row, row * row);
    }
    real last;
    be->ops->download(be, &last, v.at + 9 * row + 3, 1);
    double volt = (double)last, u = 100 * volt * volt;
    CHECK_NEAR(volt * (50 + u / (1 + u / 5e5)), 150 * 0.8, 1200 * rounding, "fixed point");
    be->ops->blur_destroy(be, plan);
    be->ops->release(be, memory);
    be->ops->release(be, input);
    be->ops->release(be, a);
    test_backend_close(be);
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
    backend *be = test_backend(1);
    enum { N = 5, STEPS = 400 };
    grid_tile tile = {0, 0, 0, 1, N};
    const double amps[N] = {10, 49, 80, 400, 20000};
    real driven[N];
    for (int i = 0; i < N; i++) {
        driven[i] = (real)amps[i];
    }
    dreal *current = test_put(be, driven, N), *count = be->ops->alloc(be, N * STEPS), *state = test_zeros(be, 4 * N);
    view in = {current, &tile, 1, 1, 0, N, N, N, N, 1, N}, out = {count, &tile, 1, 1, 0, N, N, N, N, 1, N};
    const int64_t id[N] = {100, 101, 102, 103, 104};
    spike_list spikes = {0};
    lif_par p = {.step_s = 0.001, .leak_hz = 50, .refractory_s = 0.0034, .random.seed = 1};
    for (int t = 0; t < STEPS; t++) {
        be->ops->lif(be, &p, t, 1, in, id, state, 4 * N, view_at_frame(out, t), NULL, 0, &spikes);
    }
    be->ops->sync(be);
    real *counts = test_get(be, count, N * STEPS);
    int64_t counted = 0;
    for (int i = 0; i < N * STEPS; i++) {
        counted += (int64_t)counts[i];
    }
    memory_free(counts);
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
    test_backend_close(be);
}

/* Far below threshold the membrane has the standard deviation asked for (VirtualRetina's scale of the noise), whatever the step. */
static void lif_noise_has_its_size(void)
{
    backend *be = test_backend(1);
    enum { N = 2000 };
    grid_tile tile = {0, 0, 0, 1, N};
    dreal *current = test_zeros(be, N), *count = be->ops->alloc(be, N), *state = test_zeros(be, 4 * N);
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
    be->ops->sync(be);
    real *v = test_get(be, state, N);
    double square = 0;
    for (int i = 0; i < N; i++) {
        square += (double)v[i] * (double)v[i] / N;
    }
    memory_free(v);
    /* discrete steps: sigma^2 (2/(g dt)) (1-k)/(1+k), k = exp(-g dt), here 0.99995 of sigma^2 */
    CHECK_NEAR(sqrt(square), 0.1, 5 * 0.1 / sqrt(2.0 * N), "5 standard errors");
    CHECK(spikes.n == 0);
    memory_free(id);
    memory_free(spikes.item);
    be->ops->release(be, current);
    be->ops->release(be, count);
    be->ops->release(be, state);
    test_backend_close(be);
}

/* Any number of entries, some of weight 0, pixels of many cells or none, and of other frames: where several steps give to one pixel, all of them
 * count. Against the plain sums. */
static void sampling_is_its_table(void)
{
    enum {
        TABLES = 3,
        LEAVES = 2,
        CELLS = 290,
        PAD = 304,
        MOST = 4,
        PIXELS = 600,
        FRAMES = 13,
        PAST = 2,
        STEPS = FRAMES - PAST,
        ALL = LEAVES * FRAMES * PIXELS
    };
    static const struct {
        int nentry;
        bool frames;
    } cases[] = {{1, false}, {4, false}, {3, true}, {4, true}};
    static double want[LEAVES * STEPS * PAD], back[ALL];
    backend *be = test_backend(1);
    const grid_tile cells[LEAVES] = {{1, 0, 0, 1, CELLS}, {2, 0, 0, 1, CELLS - 40}};
    real *map = MEMORY_NEW(real, ALL), *given = MEMORY_NEW(real, LEAVES * STEPS * PAD), *weight = MEMORY_NEW(real, TABLES * PAD * MOST);
    int32_t *offset = MEMORY_NEW(int32_t, TABLES * PAD * MOST);
    for (int n = 0; n < (int)(sizeof cases / sizeof cases[0]); n++) {
        int entries = cases[n].nentry;
        uint64_t seed = 12;
        for (int i = 0; i < ALL; i++) {
            map[i] = (real)test_random(&seed);
        }
        for (int i = 0; i < LEAVES * STEPS * PAD; i++) {
            given[i] = (real)test_random(&seed);
        }
        for (int i = 0; i < TABLES * PAD * entries; i++) {
            int frame = cases[n].frames ? (int)(PAST * (0.5 + 0.5 * test_random(&seed)) + 0.5) : 0;
            offset[i] = (int32_t)((PIXELS / 2 - 1) * (1 + test_random(&seed)) * 0.7) - frame * PIXELS;
            weight[i] = i % 7 == 0 || i / entries % PAD >= CELLS ? 0 : (real)test_random(&seed);
        }
        for (int i = 0; i < ALL; i++) {
            back[i] = (double)map[i];
        }
        for (int i = 0; i < LEAVES * STEPS * CELLS; i++) {
            int l = i / (STEPS * CELLS), t = i / CELLS % STEPS, cell = i % CELLS, to = (l * STEPS + t) * PAD + cell;
            want[to] = 0;
            for (int k = 0; k < entries && cell < cells[l].nx; k++) {
                int at = ((l + 1) * PAD + cell) * entries + k, from = (l * FRAMES + PAST + t) * PIXELS + offset[at];
                want[to] += (double)weight[at] * (double)map[from];
                back[from] += (double)weight[at] * (double)given[to];
            }
        }
        dreal *maps = test_put(be, map, ALL), *y = test_zeros(be, LEAVES * STEPS * PAD), *g = test_put(be, given, LEAVES * STEPS * PAD);
        view x = {maps + PAST * PIXELS, cells, LEAVES, 1, 0, FRAMES * PIXELS, PIXELS, PIXELS, 30, 20, 30};
        view out = {y, cells, LEAVES, 1, 0, STEPS * PAD, PAD, PAD, PAD, 1, PAD}, gy = out;
        gy.at = g;
        link_table *table = be->ops->link_create(be, TABLES, PAD, entries, offset, weight);
        be->ops->link(be, table, 1, STEPS, x, out);
        real *got = test_get(be, y, LEAVES * STEPS * PAD);
        be->ops->link_back(be, table, 1, STEPS - 4, gy, x); /* the map is there to be added to */
        be->ops->link_back(be, table, 1, 4, view_at_frame(gy, STEPS - 4), view_at_frame(x, STEPS - 4));
        real *sum = test_get(be, maps, ALL);
        double worst = 0, worst_back = 0;
        for (int i = 0; i < LEAVES * STEPS * PAD; i++) {
            worst = fmax(worst, i % PAD < cells[i / PAD / STEPS].nx ? fabs((double)got[i] - want[i]) : 0);
        }
        for (int i = 0; i < ALL; i++) {
            worst_back = fmax(worst_back, fabs((double)sum[i] - back[i]));
        }
        CHECK_NEAR(worst, 0, 2 * rounding, "rounding of up to 4 terms");
        CHECK_NEAR(worst_back, 0, 5 * rounding, "rounding of some 10 terms");
        memory_free(got);
        memory_free(sum);
        be->ops->link_destroy(be, table);
        be->ops->release(be, maps);
        be->ops->release(be, y);
        be->ops->release(be, g);
    }
    memory_free(map);
    memory_free(given);
    memory_free(weight);
    memory_free(offset);
    test_backend_close(be);
}

TEST_MAIN("cells", {"exp and log", exp_and_log}, {"Philox known answer", philox_known_answer}, {"normal numbers", normal_numbers},
          {"low-pass closed form", lowpass_closed_form}, {"gain control settles", gain_control_settles}, {"rectifier is smooth", rectifier_is_smooth},
          {"sampling is its table", sampling_is_its_table}, {"LIF is exact", lif_is_exact}, {"LIF noise has its size", lif_noise_has_its_size})

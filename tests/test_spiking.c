/* test_spiking.c - exact integrate-and-fire cells backwards, and Poisson spikes. */
#include "base/memory.h"
#include "base/random.h"
#include "compute/backend.h"
#include "neuron_plain.h"
#include "test.h"

static const bool exact = sizeof(real) == sizeof(double);
static backend *be;

/* --- exact LIF: derivatives along the states that it went through ---------------------------------------------------------------- */
static void exact_lif_has_the_surrogate_of_its_membrane(void)
{
    enum { N = 40, PAD = 48, STEPS = 50 };
    static const grid_tile row = {0, 0, 0, 1, N};
    for (int noisy = 0; noisy < 2; noisy++) {
        lif_par p = {.step_s = 0.001,
                     .leak_hz = 50,
                     .noise = noisy ? 0.2 : 0,
                     .refractory_s = 0.0024,
                     .random.seed = 4,
                     .surrogate = SURROGATE_FAST_SIGMOID,
                     .width = 0.25};
        view v = {.tile = &row,
                  .nleaf = 1,
                  .nchan = 1,
                  .frame_stride = PAD,
                  .chan_stride = PAD,
                  .row_stride = PAD,
                  .leaf_stride = PAD * STEPS,
                  .pad_ny = 1,
                  .pad_nx = PAD};
        view x = v, y = v, gx = v, gy = v;
        x.at = be->ops->alloc(be, PAD * STEPS);
        y.at = be->ops->alloc(be, PAD * STEPS);
        gx.at = be->ops->alloc(be, PAD * STEPS);
        gy.at = be->ops->alloc(be, PAD * STEPS);
        dreal *state = be->ops->alloc(be, 3 * PAD), *g_state = be->ops->alloc(be, 3 * PAD), *tape = be->ops->alloc(be, 3 * PAD * STEPS);
        int64_t id[PAD];
        uint64_t seed = 6;
        double slope = 0, size = 0, back = 0, dx[STEPS][N], dp[2] = {3, noisy ? 0.1 : 0}, g_par[2] = {0, 0};
        int count = 0;
        spike_list list = {0};
        for (int i = 0; i < PAD; i++) {
            id[i] = i < N ? 7 * i : -1;
            host(state)[i] = i < N ? (real)(0.5 + 0.4 * test_random(&seed)) : 0;
            for (int t = 0; t < STEPS; t++) {
                host(x.at)[t * PAD + i] = (real)(110 + 90 * test_random(&seed));
                host(gy.at)[t * PAD + i] = (real)test_random(&seed);
            }
        }
        be->ops->lif(be, &p, 0, STEPS, x, id, state, 0, y, tape, 0, &list);
        for (int i = 0; i < N; i++) {
            dual s = num(0);
            for (int t = 0; t < STEPS; t++) {
                const real *before = host_const(tape) + 3 * PAD * t;
                random_block b = random_bits(p.random.seed, RANDOM_SPIKE_NOISE, (uint64_t)id[i], (uint64_t)(t / 4), 0);
                float z[4];
                random_normal_pair(b.v[0], b.v[1], &z[0], &z[1]);
                random_normal_pair(b.v[2], b.v[3], &z[2], &z[3]);
                dx[t][i] = test_random(&seed);
                dual g = {p.leak_hz, dp[0]}, drive = {(double)host(x.at)[t * PAD + i], dx[t][i]};
                drive = add(drive, times((double)z[t % 4], mul((dual){p.noise, dp[1]}, root(times(2 / p.step_s, g)))));
                dual e = over(drive, g), now = {(double)before[i], s.d}, next;
                double left = p.step_s - fmax((double)before[PAD + i], 0);
                if (left <= 0) {
                    s = num(0);
                    continue;
                }
                next = add(e, mul(sub(now, e), expo(times(-left, g))));
                double a = 1 + fabs(next.v - 1) / p.width, term = (double)host(gy.at)[t * PAD + i] / (a * a) * next.d;
                slope += term;
                size += fabs(term);
                bool fires = host(y.at)[t * PAD + i] > 0;
                count += fires;
                s = fires ? num(0) : next;
            }
        }
        be->ops->lif_back(be, &p, 20, STEPS - 20, view_at_frame(x, 20), id, tape + 3 * PAD * 20, 0, view_at_frame(gy, 20), g_state, 0,
                          view_at_frame(gx, 20), g_par, 0);
        be->ops->lif_back(be, &p, 0, 20, x, id, tape, 0, gy, g_state, 0, gx, g_par, 0);
        for (int i = 0; i < N; i++) {
            for (int t = 0; t < STEPS; t++) {
                back += (double)host(gx.at)[t * PAD + i] * dx[t][i];
            }
        }
        back += g_par[0] * dp[0] + g_par[1] * dp[1];
        CHECK(count > 100 && list.n >= count);
        CHECK_NEAR(back, slope, (exact ? 1e-12 : 1e-4) * size, "rounding");
        memory_free(list.item);
        dreal *all[] = {x.at, y.at, gx.at, gy.at, state, g_state, tape};
        for (int k = 0; k < 7; k++) {
            be->ops->release(be, all[k]);
        }
    }
}

/* --- Poisson ------------------------------------------------------------------------------------------------------------------------- */
static void poisson_has_its_moments(void)
{
    enum { N = 100, STEPS = 400 };
    static const grid_tile row = {0, 0, 0, 1, N};
    static const double mean[] = {0.02, 0.5, 7, 900};
    for (int form = 0; form < 2; form++) {
        for (int k = 0; k < (form ? 4 : 2); k++) {
            neuron_desc d = {.kind = NEURON_POISSON, .form = form, .step_s = 0.002, .random.seed = 9};
            view x = {.tile = &row, .nleaf = 1, .nchan = 1, .pad_ny = 1, .pad_nx = N, .row_stride = N, .chan_stride = N},
                 y = x; /* the same frame for ever */
            y.frame_stride = N;
            x.at = be->ops->alloc(be, N);
            y.at = be->ops->alloc(be, N * STEPS);
            be->ops->fill(be, x.at, (real)(mean[k] / d.step_s), N);
            host(x.at)[3] = -5; /* silent */
            int64_t id[N];
            for (int i = 0; i < N; i++) {
                id[i] = 1000 - i;
            }
            spike_list list = {0};
            bool listed = mean[k] < 10;
            be->ops->neuron(be, &d, id, 50, STEPS, x, NULL, 0, y, NULL, 0, listed ? &list : NULL);
            double sum = 0, square = 0, n = (N - 1) * STEPS, silent = 0;
            for (int i = 0; i < N * STEPS; i++) {
                double c = (double)host(y.at)[i];
                silent += i % N == 3 ? c : 0;
                sum += c;
                square += c * c;
            }
            double variance = form ? mean[k] : mean[k] * (1 - mean[k]), got = sum / n;
            CHECK(silent == 0);
            CHECK_NEAR(got, mean[k], 5 * sqrt(variance / n), "five standard errors");
            CHECK_NEAR(square / n - got * got, variance, 5 * sqrt((variance + 2 * variance * variance) / n), "five standard errors");
            CHECK(!listed || (double)list.n == sum);
            bool inside = true, known = true;
            for (int64_t i = 0; i < list.n; i++) {
                inside = inside && list.item[i].time_s > 50 * d.step_s && list.item[i].time_s < (50 + STEPS) * d.step_s;
                known = known && list.item[i].cell > 1000 - N && list.item[i].cell <= 1000 && list.item[i].cell != 997;
            }
            CHECK(inside && known);
            /* in two chunks, and anew in another batch */
            real *once = MEMORY_NEW(real, N * STEPS);
            memcpy(once, host(y.at), N * STEPS * sizeof(real));
            be->ops->neuron(be, &d, id, 50, 30, x, NULL, 0, y, NULL, 0, NULL);
            be->ops->neuron(be, &d, id, 80, STEPS - 30, x, NULL, 0, view_at_frame(y, 30), NULL, 0, NULL);
            CHECK(memcmp(once, host(y.at), N * STEPS * sizeof(real)) == 0);
            d.random.draw = 1;
            be->ops->neuron(be, &d, id, 50, STEPS, x, NULL, 0, y, NULL, 0, NULL);
            CHECK(memcmp(once, host(y.at), N * STEPS * sizeof(real)) != 0);
            memory_free(once);
            memory_free(list.item);
            be->ops->release(be, x.at);
            be->ops->release(be, y.at);
        }
    }
}

int main(void)
{
    be = backend_open("cpu", 1);
    static const test_case tests[] = {{"exact LIF has the surrogate of its membrane", exact_lif_has_the_surrogate_of_its_membrane},
                                      {"Poisson has its moments", poisson_has_its_moments}};
    int failed = test_run("spiking", tests, (int)(sizeof tests / sizeof tests[0]));
    backend_close(be);
    return failed;
}

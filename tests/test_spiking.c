/* test_spiking.c - exact integrate-and-fire cells backwards, and Poisson spikes. */
#include "base/memory.h"
#include "base/random.h"
#include "compute/backend.h"
#include "device.h"
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
        real first[3 * PAD] = {0}, drive[PAD * STEPS], weight[PAD * STEPS];
        int64_t id[PAD];
        uint64_t seed = 6;
        double slope = 0, size = 0, back = 0, dx[STEPS][N], dp[2] = {3, noisy ? 0.1 : 0}, g_par[2] = {0, 0};
        int count = 0;
        spike_list list = {0};
        for (int i = 0; i < PAD; i++) {
            id[i] = i < N ? 7 * i : -1;
            first[i] = i < N ? (real)(0.5 + 0.4 * test_random(&seed)) : 0;
            for (int t = 0; t < STEPS; t++) {
                drive[t * PAD + i] = (real)(110 + 90 * test_random(&seed));
                weight[t * PAD + i] = (real)test_random(&seed);
            }
        }
        x.at = test_put(be, drive, PAD * STEPS);
        y.at = be->ops->alloc(be, PAD * STEPS);
        gx.at = test_zeros(be, PAD * STEPS);
        gy.at = test_put(be, weight, PAD * STEPS);
        dreal *state = test_put(be, first, 3 * PAD), *g_state = test_zeros(be, 3 * PAD), *tape = be->ops->alloc(be, 3 * PAD * STEPS);
        be->ops->lif(be, &p, 0, STEPS, x, id, state, 0, y, tape, 0, &list);
        be->ops->sync(be);
        real *seen = test_get(be, tape, 3 * PAD * STEPS), *counts = test_get(be, y.at, PAD * STEPS);
        for (int i = 0; i < N; i++) {
            dual s = num(0);
            for (int t = 0; t < STEPS; t++) {
                const real *before = seen + 3 * PAD * t;
                random_block b = random_bits(p.random.seed, RANDOM_SPIKE_NOISE, (uint64_t)id[i], (uint64_t)(t / 4), 0);
                float z[4];
                random_normal_pair(b.v[0], b.v[1], &z[0], &z[1]);
                random_normal_pair(b.v[2], b.v[3], &z[2], &z[3]);
                dx[t][i] = test_random(&seed);
                dual g = {p.leak_hz, dp[0]}, in = {(double)drive[t * PAD + i], dx[t][i]};
                in = add(in, times((double)z[t % 4], mul((dual){p.noise, dp[1]}, root(times(2 / p.step_s, g)))));
                dual e = over(in, g), now = {(double)before[i], s.d}, next;
                double left = p.step_s - fmax((double)before[PAD + i], 0);
                if (left <= 0) {
                    s = num(0);
                    continue;
                }
                next = add(e, mul(sub(now, e), expo(times(-left, g))));
                double a = 1 + fabs(next.v - 1) / p.width, term = (double)weight[t * PAD + i] / (a * a) * next.d;
                slope += term;
                size += fabs(term);
                bool fires = counts[t * PAD + i] > 0;
                count += fires;
                s = fires ? num(0) : next;
            }
        }
        be->ops->lif_back(be, &p, 20, STEPS - 20, view_at_frame(x, 20), id, tape + 3 * PAD * 20, 0, view_at_frame(gy, 20), g_state, 0,
                          view_at_frame(gx, 20), g_par, 0);
        be->ops->lif_back(be, &p, 0, 20, x, id, tape, 0, gy, g_state, 0, gx, g_par, 0);
        be->ops->sync(be);
        real *given = test_get(be, gx.at, PAD * STEPS);
        for (int i = 0; i < N; i++) {
            for (int t = 0; t < STEPS; t++) {
                back += (double)given[t * PAD + i] * dx[t][i];
            }
        }
        back += g_par[0] * dp[0] + g_par[1] * dp[1];
        CHECK(count > 100 && list.n >= count);
        CHECK_NEAR(back, slope, (exact ? 1e-12 : 1e-4) * size, "rounding");
        memory_free(list.item);
        memory_free(seen);
        memory_free(counts);
        memory_free(given);
        dreal *all[] = {x.at, y.at, gx.at, gy.at, state, g_state, tape};
        for (int k = 0; k < 7; k++) {
            be->ops->release(be, all[k]);
        }
    }
}

/* --- spikes: the CPU's, in its order -------------------------------------------------------------------------------------------- */
enum { LEAVES = 3, PAD_CELLS = 320, CELL_STEPS = 37 };
static const grid_tile cells[LEAVES] = {{4, 0, 0, 1, 300}, {5, 0, 0, 1, 0}, {6, 0, 0, 1, 257}};

typedef struct spikes_run {
    spike_list list[LEAVES];
    real *count, *state;
} spikes_run;

typedef struct spikes_case {
    const char *name;
    double current, refractory_s;
    bool exact_lif;
} spikes_case;

/* more: added to all currents, Hz. */
static spikes_run run_spikes(backend *on, const spikes_case *k, int chunk, double more)
{
    enum { PLANE = PAD_CELLS * CELL_STEPS, STATE = 3 * PAD_CELLS };
    spikes_run r = {{{0}}, NULL, NULL};
    int64_t *id = MEMORY_NEW(int64_t, LEAVES * PAD_CELLS);
    real *drive = MEMORY_NEW(real, LEAVES * PLANE);
    uint64_t seed = 3;
    for (int i = 0; i < LEAVES * PAD_CELLS; i++) {
        id[i] = i % PAD_CELLS < cells[i / PAD_CELLS].nx ? 1000000000000 - 3 * i : -1;
    }
    for (int i = 0; i < LEAVES * PLANE; i++) {
        drive[i] = (real)(k->current * (1 + 0.9 * test_random(&seed)) + more);
    }
    view x = {test_put(on, drive, LEAVES * PLANE), cells, LEAVES, 1, 0, PLANE, PAD_CELLS, PAD_CELLS, PAD_CELLS, 1, PAD_CELLS}, y = x;
    y.at = test_zeros(on, LEAVES * PLANE);
    dreal *state = test_zeros(on, LEAVES * STATE);
    lif_par p = {.step_s = 0.001,
                 .leak_hz = 40,
                 .noise = 0.3,
                 .refractory_s = k->refractory_s,
                 .refractory_sd_s = k->refractory_s / 4,
                 .adapt_delta_hz = 3,
                 .adapt_tau_s = 0.02,
                 .adapt_reversal = -0.1,
                 .random = {.seed = 8, .draw = 1, .ntile = 2, .nseq = 3}};
    neuron_desc d = {.kind = NEURON_POISSON, .form = 1, .step_s = 0.001, .random = p.random};
    for (int t = 0; t < CELL_STEPS; t += chunk) {
        int nt = CELL_STEPS - t < chunk ? CELL_STEPS - t : chunk;
        if (k->exact_lif) {
            on->ops->lif(on, &p, 5 + t, nt, view_at_frame(x, t), id, state, STATE, view_at_frame(y, t), NULL, 0, r.list);
        } else {
            on->ops->neuron(on, &d, id, 5 + t, nt, view_at_frame(x, t), NULL, 0, view_at_frame(y, t), NULL, 0, r.list);
        }
        on->ops->fill(on, x.at + t * PAD_CELLS, 0, nt * PAD_CELLS); /* its input is not there any more at the sync */
    }
    on->ops->sync(on);
    r.count = test_get(on, y.at, LEAVES * PLANE);
    r.state = test_get(on, state, LEAVES * STATE);
    on->ops->release(on, x.at);
    on->ops->release(on, y.at);
    on->ops->release(on, state);
    memory_free(id);
    memory_free(drive);
    return r;
}

static void spikes_free(spikes_run *r)
{
    for (int l = 0; l < LEAVES; l++) {
        memory_free(r->list[l].item);
    }
    memory_free(r->count);
    memory_free(r->state);
}

static int cell_of(const spike *s)
{
    return (int)((1000000000000 - s->cell) / 3);
}

/* Times of each cell's spikes, one after the other, cell c's from first[c] on; the caller's to free. */
static double *by_cell(const spikes_run *r, int64_t first[LEAVES * PAD_CELLS + 1])
{
    int64_t next[LEAVES * PAD_CELLS + 1] = {0};
    for (int l = 0; l < LEAVES; l++) {
        for (int64_t i = 0; i < r->list[l].n; i++) {
            next[cell_of(&r->list[l].item[i]) + 1]++;
        }
    }
    for (int c = 0; c < LEAVES * PAD_CELLS; c++) {
        next[c + 1] += next[c];
    }
    memcpy(first, next, sizeof next);
    double *time = MEMORY_NEW(double, first[LEAVES * PAD_CELLS]);
    for (int l = 0; l < LEAVES; l++) {
        for (int64_t i = 0; i < r->list[l].n; i++) {
            time[next[cell_of(&r->list[l].item[i])]++] = r->list[l].item[i].time_s;
        }
    }
    return time;
}

/* How much later or earlier the spikes of `got` come than those of `want`, beyond what those of `moved` do. */
static double lateness(const spikes_run *want, const spikes_run *got, const spikes_run *moved)
{
    int64_t first[3][LEAVES * PAD_CELLS + 1];
    double *time[] = {by_cell(want, first[0]), by_cell(got, first[1]), by_cell(moved, first[2])}, late = 0;
    for (int c = 0; c < LEAVES * PAD_CELLS; c++) {
        int64_t n = first[0][c + 1] - first[0][c];
        CHECK(first[1][c + 1] - first[1][c] == n);
        for (int64_t i = 0; i < n && i < first[2][c + 1] - first[2][c]; i++) {
            double at = time[0][first[0][c] + i];
            late = fmax(late, fabs(at - time[1][first[1][c] + i]) - fabs(at - time[2][first[2][c] + i]));
        }
    }
    for (int k = 0; k < 3; k++) {
        memory_free(time[k]);
    }
    return late;
}

/* In float a spike moves by the rounding of the membrane over its slope, which may be as small as it likes.  So each spike has its own bound: how far
 * the CPU's moves when all currents grow by what two roundings of V = E + (V - E) exp(-g dt), of 2^-24 |E| each, weigh in a step: 2 2^-24 |I|/(g dt), I
 * being the drive and the noise 0.3 sqrt(2/dt) sqrt(g) = 85 Hz. */
static void spikes_come_in_order(void)
{
    static const spikes_case cases[] = {{"few", 60, 0.003, true},
                                        {"many", 1500, 0.0002, true},
                                        {"Poisson, few", 30, 0, false},
                                        {"Poisson, more than fit", 40000, 0, false},
                                        {"more than fit", 60000, 0, true}}; /* more than 1.25 times what was most before */
    backend *cpu = backend_open("cpu", 1);
    for (int n = 0; n < (int)(sizeof cases / sizeof cases[0]); n++) {
        for (int chunk = CELL_STEPS; chunk > 0; chunk -= 18) {
            const double more = exact ? 0 : ldexp(2, -24) * (cases[n].current + 85) / (40 * 0.001);
            spikes_run want = run_spikes(cpu, &cases[n], chunk, 0), got = run_spikes(be, &cases[n], chunk, 0);
            spikes_run moved = run_spikes(cpu, &cases[n], chunk, more);
            int64_t all = 0, wrong = 0;
            double late = lateness(&want, &got, &moved);
            for (int l = 0; l < LEAVES; l++) {
                CHECK(want.list[l].n == got.list[l].n);
                all += want.list[l].n;
                for (int64_t i = 0; i < want.list[l].n && i < got.list[l].n; i++) {
                    wrong += want.list[l].item[i].cell != got.list[l].item[i].cell;
                }
            }
            if (wrong > 0 || late > (exact ? 1e-12 : 1e-8)) {
                printf("\n    %s, chunks of %d: %lld spikes, %lld of another cell, times to %g s", cases[n].name, chunk, (long long)all,
                       (long long)wrong, late);
            }
            CHECK(all > 100 && got.list[1].n == 0);
            CHECK(wrong == 0);
            CHECK_NEAR(late, 0, exact ? 1e-12 : 1e-8, "rounding of the membrane");
            CHECK(memcmp(want.count, got.count, (size_t)LEAVES * PAD_CELLS * CELL_STEPS * sizeof(real)) == 0);
            spikes_free(&want);
            spikes_free(&got);
            spikes_free(&moved);
        }
    }
    backend_close(cpu);
}

/* Derivatives by parameters go from the last step to the first, whatever the chunks, leaf by leaf. */
static void chunks_do_not_show(void)
{
    enum { PLANE = PAD_CELLS * CELL_STEPS, STATE = 3 * PAD_CELLS, ALL = LEAVES * PLANE };
    static real drive[ALL], weight[ALL], first[LEAVES * STATE];
    static int64_t id[LEAVES * PAD_CELLS];
    uint64_t seed = 21;
    for (int i = 0; i < ALL; i++) {
        drive[i] = (real)(60 + 50 * test_random(&seed));
        weight[i] = (real)test_random(&seed);
    }
    for (int i = 0; i < LEAVES * PAD_CELLS; i++) {
        id[i] = i;
    }
    lif_par p = {
        .step_s = 0.001, .leak_hz = 40, .noise = 0.2, .refractory_s = 0.002, .random.seed = 8, .surrogate = SURROGATE_TRIANGLE, .width = 0.5};
    neuron_desc d = {.kind = NEURON_LIF_EULER,
                     .form = 1,
                     .sub_dt = (real)0.001,
                     .step_s = 0.001,
                     .random.seed = 8,
                     .surrogate = SURROGATE_TRIANGLE,
                     .width = (real)0.5,
                     .par = {40, (real)0.2, 1, (real)0.002, 0, 1000}};
    for (int kind = 0; kind < 2; kind++) {
        int nstate = kind ? 2 : 3;
        int64_t frame = (int64_t)nstate * PAD_CELLS;
        double g[2][LEAVES][3] = {{{0}}};
        real *gx_of[2], *gs_of[2];
        for (int cut = 0; cut < 2; cut++) {
            view x = {test_put(be, drive, ALL), cells, LEAVES, 1, 0, PLANE, PAD_CELLS, PAD_CELLS, PAD_CELLS, 1, PAD_CELLS}, y = x, gy = x, gx = x;
            dreal *state = test_put(be, first, LEAVES * STATE), *gs = test_zeros(be, LEAVES * STATE),
                  *tape = test_zeros(be, LEAVES * frame * CELL_STEPS);
            y.at = test_zeros(be, ALL);
            gy.at = test_put(be, weight, ALL);
            gx.at = test_zeros(be, ALL);
            spike_list list[LEAVES] = {{0}};
            if (kind) {
                be->ops->neuron(be, &d, id, 2, CELL_STEPS, x, state, STATE, y, tape, frame * CELL_STEPS, list);
            } else {
                be->ops->lif(be, &p, 2, CELL_STEPS, x, id, state, STATE, y, tape, frame * CELL_STEPS, list);
            }
            for (int end = CELL_STEPS, t; end > 0; end = t) {
                t = cut ? (end > 10 ? end - 10 : 0) : 0;
                view xt = view_at_frame(x, t), gyt = view_at_frame(gy, t), gxt = view_at_frame(gx, t);
                if (kind) {
                    be->ops->neuron_back(be, &d, id, 2 + t, end - t, xt, tape + t * frame, frame * CELL_STEPS, gyt, gs, STATE, gxt, g[cut][0], 3);
                } else {
                    be->ops->lif_back(be, &p, 2 + t, end - t, xt, id, tape + t * frame, frame * CELL_STEPS, gyt, gs, STATE, gxt, g[cut][0], 3);
                }
            }
            be->ops->sync(be);
            gx_of[cut] = test_get(be, gx.at, ALL);
            gs_of[cut] = test_get(be, gs, LEAVES * STATE);
            CHECK(list[0].n > 100 && list[1].n == 0 && list[2].n > 100);
            dreal *all[] = {x.at, y.at, gy.at, gx.at, state, gs, tape};
            for (int k = 0; k < 7; k++) {
                be->ops->release(be, all[k]);
            }
            for (int l = 0; l < LEAVES; l++) {
                memory_free(list[l].item);
            }
        }
        CHECK(memcmp(gx_of[0], gx_of[1], ALL * sizeof(real)) == 0 && memcmp(gs_of[0], gs_of[1], LEAVES * STATE * sizeof(real)) == 0);
        for (int i = 0; i < LEAVES * 3; i++) {
            double one = g[0][i / 3][i % 3], two = g[1][i / 3][i % 3];
            CHECK(i % 3 < 2 && i / 3 != 1 ? fabs(one) > 0 : one == 0);
            CHECK_NEAR(one, two, strcmp(be->ops->name, "cuda") == 0 ? 0 : 1e-13 * fabs(one),
                       "the CPU sums block after block of cells within a chunk");
        }
        for (int cut = 0; cut < 2; cut++) {
            memory_free(gx_of[cut]);
            memory_free(gs_of[cut]);
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
            const real below = -5;
            x.at = be->ops->alloc(be, N);
            y.at = be->ops->alloc(be, N * STEPS);
            be->ops->fill(be, x.at, (real)(mean[k] / d.step_s), N);
            be->ops->upload(be, x.at + 3, &below, 1); /* silent */
            int64_t id[N];
            for (int i = 0; i < N; i++) {
                id[i] = 1000 - i;
            }
            spike_list list = {0};
            bool listed = mean[k] < 10;
            be->ops->neuron(be, &d, id, 50, STEPS, x, NULL, 0, y, NULL, 0, listed ? &list : NULL);
            be->ops->sync(be);
            real *once = test_get(be, y.at, N * STEPS);
            double sum = 0, square = 0, n = (N - 1) * STEPS, silent = 0;
            for (int i = 0; i < N * STEPS; i++) {
                double c = (double)once[i];
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
            be->ops->neuron(be, &d, id, 50, 30, x, NULL, 0, y, NULL, 0, NULL);
            be->ops->neuron(be, &d, id, 80, STEPS - 30, x, NULL, 0, view_at_frame(y, 30), NULL, 0, NULL);
            real *cut = test_get(be, y.at, N * STEPS);
            CHECK(memcmp(once, cut, N * STEPS * sizeof(real)) == 0);
            d.random.draw = 1;
            be->ops->neuron(be, &d, id, 50, STEPS, x, NULL, 0, y, NULL, 0, NULL);
            real *anew = test_get(be, y.at, N * STEPS);
            CHECK(memcmp(once, anew, N * STEPS * sizeof(real)) != 0);
            memory_free(once);
            memory_free(cut);
            memory_free(anew);
            memory_free(list.item);
            be->ops->release(be, x.at);
            be->ops->release(be, y.at);
        }
    }
}

int main(void)
{
    be = test_backend(1);
    static const test_case tests[] = {{"exact LIF has the surrogate of its membrane", exact_lif_has_the_surrogate_of_its_membrane},
                                      {"spikes come in order", spikes_come_in_order},
                                      {"chunks do not show", chunks_do_not_show},
                                      {"Poisson has its moments", poisson_has_its_moments}};
    int failed = test_run("spiking", tests, (int)(sizeof tests / sizeof tests[0]));
    test_backend_close(be);
    return failed;
}

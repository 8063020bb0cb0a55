/* test_batch_norm.c - batch normalisation against golden/batch_norm.h5 (a grouped 3-D convolution, BatchNorm3d and ELU of PyTorch 1.13 in double:
 * values, running statistics, gradients) and against plain loops; sequences that do not count leave no trace, and a chunk counts once. */
#include "trials.h"

#ifdef CHIASM_DOUBLE
static const double rounding = 1e-12;
#else
static const double rounding = 2e-5; /* of sums of some hundred products of about 1 */
#endif

/* --- the stage by itself, of the reference's shapes ------------------------------------------------------------------------- */
enum { NSEQ = 2, CHAN = 6, TIME = 4, ROWS = 5, COLUMNS = 6, SIZE = NSEQ * CHAN * TIME * ROWS * COLUMNS, FRAME = CHAN * ROWS * COLUMNS };
enum { IN_CHAN = 4, IN_TIME = 6, IN_ROWS = 7, IN_COLUMNS = 8, K = 3, NWEIGHT = CHAN * 2 * K * K * K };

/* Of element k of the reference's arrays: [sequence][channel][step][pixel]. */
typedef struct spot {
    int n, c, t, i;
} spot;

static spot spot_of(int k)
{
    int i = k % (ROWS * COLUMNS), t = k / (ROWS * COLUMNS) % TIME, c = k / (ROWS * COLUMNS * TIME) % CHAN;
    return (spot){k / (ROWS * COLUMNS * TIME * CHAN), c, t, i};
}

static void golden(const char *name, double *to)
{
    const char *why = NULL;
    store *s = store_open_read("tests/golden/batch_norm.h5", &why);
    CHECK(s && store_read(s, name, STORE_F64, NULL, NULL, to));
    if (s) {
        store_close_read(s);
    }
}

static view make_view(backend *be, const grid_tile *tile)
{
    return (view){be->ops->alloc(be, SIZE), tile, NSEQ, CHAN, 0, TIME * FRAME, FRAME, ROWS * COLUMNS, COLUMNS, ROWS, COLUMNS};
}

static int64_t place(view v, spot p)
{
    return p.n * v.leaf_stride + p.t * FRAME + p.c * ROWS * COLUMNS + p.i;
}

static void put(backend *be, view there, const double *from)
{
    view v = test_take(be, there, TIME);
    for (int k = 0; k < SIZE; k++) {
        spot p = spot_of(k);
        host(v.at)[place(v, p)] = (real)from[k];
    }
    test_give(be, there, TIME, v);
    memory_free(v.at);
}

static double at(view v, spot p) /* v in host memory, as of test_take */
{
    return (double)host(v.at)[place(v, p)];
}

static void plain_sum(void *ctx, const double *mine, int n, double *total)
{
    (void)ctx;
    for (int k = 0; k < n; k++) {
        total[k] = mine[k] + mine[n + k];
    }
}

static void no_swap(void *ctx, view v, int nt)
{
    (void)ctx;
    (void)nt;
    CHECK(v.halo == 0);
}

typedef struct lone { /* a stage without a model */
    input *in;
    backend *be;
    stage_world world;
    grid_tile tile[NSEQ];
    stage_plan plan;
    void *settings, *own;
    stage_services services;
    stage_call call;
    view gy, gx;
} lone;

static double elu(double z)
{
    return z > 0 ? z : expm1(z);
}

static void check_elu(const lone *s, const char *name)
{
    view out = test_take(s->be, s->call.out, TIME);
    static double wanted[SIZE];
    golden(name, wanted);
    double worst = 0;
    for (int k = 0; k < SIZE; k++) {
        spot p = spot_of(k);
        worst = fmax(worst, fabs(elu(at(out, p)) - wanted[k]));
    }
    memory_free(out.at);
    CHECK_NEAR(worst, 0, rounding, "rounding");
}

/* The derivative by the convolution's kernel, of that by its output: it tells of every gx. */
static void check_kernel(const lone *s)
{
    view gx = test_take(s->be, s->gx, TIME);
    static double x[NSEQ][IN_CHAN][IN_TIME][IN_ROWS][IN_COLUMNS], wanted[NWEIGHT];
    double worst = 0;
    golden("x", &x[0][0][0][0][0]);
    golden("by_kernel", wanted);
    for (int w = 0; w < NWEIGHT; w++) {
        int kx = w % K, ky = w / K % K, kt = w / (K * K) % K, c = w / (K * K * K) % 2, o = w / (K * K * K * 2);
        double sum = 0;
        for (int n = 0; n < NSEQ; n++) {
            for (int t = 0; t < TIME; t++) {
                for (int i = 0; i < ROWS * COLUMNS; i++) {
                    sum += at(gx, (spot){n, o, t, i}) * x[n][o / 3 * 2 + c][t + kt][i / COLUMNS + ky][i % COLUMNS + kx];
                }
            }
        }
        worst = fmax(worst, fabs(sum - wanted[w]));
    }
    memory_free(gx.at);
    CHECK_NEAR(worst, 0, 30 * rounding, "240 products of up to 10");
}

static void lone_open(lone *s)
{
    const stage_type *type = stage_find("batch_norm");
    s->in = input_from_text("{epsilon: 1e-5, momentum: 0.7}", "test", NULL, 0);
    s->be = test_backend(1);
    s->world = (stage_world){.in = s->in, .grid = grid_plan(ROWS, COLUMNS, 1, 1), .nleaf = NSEQ, .tile = s->tile, .nnet = 1, .differentiate = true};
    s->world.grid.nseq = NSEQ;
    for (int l = 0; l < NSEQ; l++) {
        s->tile[l] = grid_tile_at(&s->world.grid, l);
    }
    s->settings = memory_alloc(1, type->settings_size);
    input_fill(s->in, input_root(s->in), "batch_norm", type->keys, type->nkey, s->settings);
    stage_input seen = {.name = "conv", .nchan = CHAN, .pad_ny = ROWS, .pad_nx = COLUMNS};
    s->plan = (stage_plan){.nin = 1, .nchan = CHAN};
    s->own = type->plan(&s->world, s->settings, &seen, input_root(s->in), &s->plan);
    CHECK(input_nproblem(s->in) == 0 && s->plan.coupled && s->plan.nparam == 4);
    s->services = (stage_services){NULL, no_swap, no_swap, plain_sum, NULL};
    s->call = (stage_call){.be = s->be, .services = &s->services, .nleaf = NSEQ, .nt = TIME, .nin = 1, .training = true, .nsequence = NSEQ};
    s->call.in[0] = make_view(s->be, s->tile);
    s->call.out = make_view(s->be, s->tile);
    s->gy = make_view(s->be, s->tile);
    s->gx = make_view(s->be, s->tile);
}

static void lone_close(lone *s)
{
    stage_find("batch_norm")->destroy(s->own, s->be);
    dreal *arrays[] = {s->call.in[0].at, s->call.out.at, s->gy.at, s->gx.at};
    for (int i = 0; i < 4; i++) {
        s->be->ops->release(s->be, arrays[i]);
    }
    test_backend_close(s->be);
    input_destroy(s->in);
    memory_free(s->settings);
}

static void as_pytorch(void)
{
    const stage_type *type = stage_find("batch_norm");
    static double x[SIZE], g[SIZE];
    double value[4 * CHAN], after[4 * CHAN], g_par[NSEQ][4 * CHAN] = {{0}}, wanted[2][CHAN];
    lone s;
    memset(&s, 0, sizeof s);
    lone_open(&s);
    golden("conv", x);
    put(s.be, s.call.in[0], x);
    golden("gamma", value);
    golden("beta", value + CHAN);
    golden("running_mean", value + 2 * CHAN);
    golden("running_var", value + 3 * CHAN);
    type->set(s.own, s.be, 0, value);
    s.call.statistics = after;
    type->forward(s.own, &s.call);
    check_elu(&s, "y");
    golden("running_mean_new", wanted[0]);
    golden("running_var_new", wanted[1]);
    for (int k = 0; k < 2 * CHAN; k++) {
        CHECK_NEAR(after[2 * CHAN + k], wanted[k / CHAN][k % CHAN], rounding, "rounding of the input");
    }

    golden("cot", g);
    view z_view = test_take(s.be, s.call.out, TIME);
    for (int k = 0; k < SIZE; k++) {
        spot p = spot_of(k);
        double z = at(z_view, p);
        g[k] *= z > 0 ? 1 : exp(z);
    }
    memory_free(z_view.at);
    put(s.be, s.gy, g);
    s.be->ops->fill(s.be, s.gx.at, 0, SIZE);
    stage_back b = {.g_out = s.gy, .g_par = g_par[0], .g_par_stride = 4 * CHAN};
    b.g_in[0] = s.gx;
    type->backward(s.own, &s.call, &b);
    golden("by_gamma", wanted[0]);
    golden("by_beta", wanted[1]);
    for (int k = 0; k < 2 * CHAN; k++) {
        CHECK_NEAR(g_par[0][k] + g_par[1][k], wanted[k / CHAN][k % CHAN], 30 * rounding, "240 products of up to 10");
        CHECK(g_par[0][2 * CHAN + k] == 0); /* no derivative by a statistic */
    }
    check_kernel(&s);

    memcpy(value + 2 * CHAN, after + 2 * CHAN, 2 * CHAN * sizeof(double));
    s.call.training = false;
    s.call.statistics = NULL;
    type->set(s.own, s.be, 0, value);
    type->forward(s.own, &s.call);
    check_elu(&s, "y_eval");
    lone_close(&s);
}

/* --- in a model: three sequences in flight, two of them count ------------------------------------------------------------------ */
enum { FLIGHT = 3, COUNT = 2, CHUNK = 4, LENGTH = 6, PIXELS = NY * NX };

static double shown(int sequence, int t, int i, double idle)
{
    return sequence < COUNT ? luminance(t + 100 * sequence, i / NX, i % NX) : idle;
}

static void show_sequences(const session *s, int t0, int nt, double idle)
{
    model *m = s->m;
    view there = model_stimulus(m), v = test_take(s->be, there, nt);
    for (int l = 0; l < v.nleaf; l++) {
        for (int k = 0; k < nt * v.tile[l].ny * v.tile[l].nx; k++) {
            int x = k % v.tile[l].nx, y = k / v.tile[l].nx % v.tile[l].ny, t = k / v.tile[l].nx / v.tile[l].ny;
            int sequence = grid_sequence(model_grid(m), v.tile[l].leaf);
            host(v.at)[l * v.leaf_stride + t * v.frame_stride + y * v.row_stride + x] =
                (real)shown(sequence, t0 + t, (v.tile[l].y0 + y) * NX + v.tile[l].x0 + x, idle);
        }
    }
    test_give(s->be, there, nt, v);
    memory_free(v.at);
}

/* Mean and variance of steps [t0, t0 + nt) that pixel i has, unit or not; returns the number of elements. */
static double plain_batch(bool unit, int t0, int nt, int pixel, double *mean, double *variance)
{
    double n = 0, sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int k = 0; k < COUNT * nt * PIXELS; k++) {
            int i = k % PIXELS, t = t0 + k / PIXELS % nt;
            if (!unit || i == pixel) {
                double x = (double)(real)shown(k / PIXELS / nt, t, i, 0);
                n += pass == 0;
                sum += pass == 0 ? x : 0;
                squares += pass == 1 ? (x - sum / n) * (x - sum / n) : 0;
            }
        }
    }
    *mean = sum / n;
    *variance = squares / n;
    return n;
}

static void check_outputs(const session *s, bool unit, int t0, int nt)
{
    model *m = s->m;
    view v = test_take(s->be, model_output_at(m, 1).v, nt);
    double worst = 0;
    for (int l = 0; l < v.nleaf; l++) {
        int sequence = grid_sequence(model_grid(m), v.tile[l].leaf);
        for (int k = 0; sequence < COUNT && k < v.tile[l].ny * v.tile[l].nx; k++) {
            int x = k % v.tile[l].nx, y = k / v.tile[l].nx, i = (v.tile[l].y0 + y) * NX + v.tile[l].x0 + x;
            double mean, variance;
            plain_batch(unit, t0, nt, i, &mean, &variance);
            for (int t = 0; t < nt; t++) {
                double wanted = 2 * (shown(sequence, t0 + t, i, 0) - mean) / sqrt(variance + 0.01) - 1;
                worst = fmax(worst, fabs(wanted - (double)host(v.at)[l * v.leaf_stride + t * v.frame_stride + y * v.row_stride + x]));
            }
        }
    }
    memory_free(v.at);
    CHECK_NEAR(worst, 0, rounding, "rounding");
}

static void add_weights(const session *s, int t0, int nt)
{
    model *m = s->m;
    view there = model_gradient(m, 1), g = test_take(s->be, there, nt);
    for (int l = 0; l < g.nleaf; l++) {
        for (int k = 0; grid_sequence(model_grid(m), g.tile[l].leaf) < COUNT && k < nt * g.tile[l].ny * g.tile[l].nx; k++) {
            int x = k % g.tile[l].nx, y = k / g.tile[l].nx % g.tile[l].ny, t = k / g.tile[l].nx / g.tile[l].ny;
            host(g.at)[l * g.leaf_stride + t * g.frame_stride + y * g.row_stride + x] +=
                (real)push_direction(t0 + t, g.tile[l].y0 + y, g.tile[l].x0 + x);
        }
    }
    test_give(s->be, there, nt, g);
    memory_free(g.at);
}

static bool idle_is_zero(const session *s, int nt)
{
    model *m = s->m;
    view g = test_take(s->be, model_gradient(m, 0), nt);
    bool zero = true;
    for (int l = 0; l < g.nleaf; l++) {
        for (int k = 0; grid_sequence(model_grid(m), g.tile[l].leaf) >= COUNT && k < nt * g.tile[l].ny * g.tile[l].nx; k++) {
            int x = k % g.tile[l].nx, y = k / g.tile[l].nx % g.tile[l].ny, t = k / g.tile[l].nx / g.tile[l].ny;
            zero = zero && host(g.at)[l * g.leaf_stride + t * g.frame_stride + y * g.row_stride + x] == 0;
        }
    }
    memory_free(g.at);
    return zero;
}

typedef struct sweep_result {
    double by[4 * PIXELS], value[4 * PIXELS]; /* derivatives, and values with the statistics after the sweep */
} sweep_result;

/* Two chunks forward; back, the first one computed again. */
static void sweep(session *s, bool unit, double idle, sweep_result *r)
{
    real *state = MEMORY_NEW(real, (int64_t)model_nleaf(s->m) * model_nstate(s->m));
    model_training(s->m, true, 0);
    model_start(s->m);
    for (int t0 = 0; t0 < LENGTH; t0 += CHUNK) {
        int nt = LENGTH - t0 < CHUNK ? LENGTH - t0 : CHUNK;
        show_sequences(s, t0, nt, idle);
        model_forward(s->m, t0, nt);
        check_outputs(s, unit, t0, nt);
    }
    model_values(s->m, 0, r->value);
    model_statistics(s->m, 0, r->value);
    model_back_start(s->m);
    for (int t0 = CHUNK; t0 >= 0; t0 -= CHUNK) {
        int nt = LENGTH - t0 < CHUNK ? LENGTH - t0 : CHUNK;
        if (t0 == 0) {
            for (int l = 0; l < model_nleaf(s->m); l++) { /* it has no state but that before step 0 */
                model_state_set(s->m, l, state + l * model_nstate(s->m));
            }
            show_sequences(s, t0, nt, idle);
            model_forward(s->m, t0, nt);
        }
        model_back_open(s->m, nt);
        add_weights(s, t0, nt);
        model_back(s->m, t0, nt);
        CHECK(idle_is_zero(s, nt));
    }
    model_back_end(s->m);
    model_gradient_sum(s->m, r->by);
    double again[4 * PIXELS];
    model_values(s->m, 0, again);
    model_statistics(s->m, 0, again);
    CHECK(memcmp(again, r->value, (size_t)model_nvalue(s->m) * sizeof(double)) == 0); /* what is computed again does not count again */
    memory_free(state);
}

static void try_model(bool unit)
{
    char *stages = memory_text("{name: a, type: batch_norm, input: stimulus, each: %s, epsilon: 0.01, momentum: 0.2, scale: 2, shift: -1, mean: 0.3,"
                               "variance: 2}", unit ? "unit" : "channel");
    const stage_fitted fitted[] = {{"a", "scale", INFINITY}, {"a", "shift", INFINITY}};
    way w = {.ny = NY, .nx = NX, .tiles_y = 2, .tiles_x = 3, .threads = 2, .chunk = CHUNK, .sequences = FLIGHT, .fitted = fitted, .nfitted = 2};
    session s = session_open(stages, &w);
    CHECK(s.m != NULL);
    static sweep_result one, other;
    if (s.m) {
        int64_t n = unit ? PIXELS : 1;
        CHECK(model_nvalue(s.m) == 4 * n && model_has_statistics(s.m));
        model_sequences(s.m, COUNT);
        sweep(&s, unit, 0, &one);
        sweep(&s, unit, 1e6, &other);
        CHECK(memcmp(one.by, other.by, (size_t)(4 * n) * sizeof(double)) == 0);
        CHECK(memcmp(one.value, other.value, (size_t)(4 * n) * sizeof(double)) == 0);
        for (int i = 0; i < n; i++) {
            double mean = 0, variance = 0;
            for (int t0 = 0; t0 < LENGTH; t0 += CHUNK) {
                double nt = fmin(LENGTH - t0, CHUNK), m, v, count = plain_batch(unit, t0, (int)nt, i, &m, &v);
                mean += nt / LENGTH * (0.8 * 0.3 + 0.2 * m);
                variance += nt / LENGTH * (0.8 * 2 + 0.2 * v * count / (count - 1));
            }
            CHECK_NEAR(one.value[2 * n + i], mean, 1e-12, "doubles");
            CHECK_NEAR(one.value[3 * n + i], variance, 1e-12, "doubles");
            CHECK(one.value[i] == 2 && one.value[n + i] == -1 && one.by[2 * n + i] == 0 && one.by[3 * n + i] == 0);
        }
    }
    session_close(&s);
    memory_free(stages);
}

static void per_channel(void)
{
    try_model(false);
}

static void per_unit(void)
{
    try_model(true);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    (void)write_kernels;
    (void)show;
    static const test_case tests[] = {{"as PyTorch computes it", as_pytorch}, {"of each channel", per_channel}, {"of each unit", per_unit}};
    int failed = test_run("batch_norm", tests, (int)(sizeof tests / sizeof tests[0]));
    comm_finish();
    return failed;
}

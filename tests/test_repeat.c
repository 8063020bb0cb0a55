/* test_repeat.c - work that a device captures and replays: the steps of a coupled recurrence, and those of its adjoint, cost one launch a chunk, and not
 * a bit.  Oracles: all steps in one chunk, which nothing has come before; the same ops issued plainly. */
#include "compute/blur.h"
#include "trials.h"

__attribute__((weak)) int64_t emulate_launches(void); /* of tests/emulate's device */
__attribute__((weak)) int64_t emulate_copies(void);
__attribute__((weak)) int64_t emulate_waits(void);

static int64_t launches(void)
{
    return emulate_launches ? emulate_launches() : 0;
}

/* Every piece of work is issued, none captured. */
static bool always(backend *be, int n, const int64_t *key)
{
    (void)be, (void)n, (void)key;
    return true;
}
static void nothing(backend *be)
{
    (void)be;
}
static backend_ops plain_ops;
static void issue_plainly(backend *be)
{
    plain_ops = *be->ops;
    plain_ops.repeat_begin = always;
    plain_ops.repeat_end = nothing;
    be->ops = &plain_ops;
}

enum { CHUNKS = 5 };

/* The last output of all steps, [step][y][x], and the launches of each chunk. */
static double *run(const char *stages, int tiles, int chunk, int64_t count[CHUNKS])
{
    way w = {.ny = NY, .nx = NX, .tiles_y = tiles, .tiles_x = tiles, .threads = 1, .chunk = chunk};
    session s = session_open(stages, &w);
    CHECK(s.m != NULL);
    double *value = MEMORY_NEW(double, STEPS * NY * NX);
    for (int64_t k = 0, step = 0; s.m && step < STEPS; k++, step += chunk) {
        show(&s, &w, step, chunk);
        int64_t before = launches();
        model_forward(s.m, step, chunk);
        if (count) {
            count[k] = launches() - before;
        }
        model_output o = model_output_at(s.m, model_noutput(s.m) - 1);
        view v = test_take(s.be, o.v, chunk);
        for (int l = 0; l < v.nleaf; l++) {
            for (int i = 0; i < chunk * v.tile[l].ny * v.tile[l].nx; i++) {
                int t = i / (v.tile[l].ny * v.tile[l].nx), y = i / v.tile[l].nx % v.tile[l].ny, x = i % v.tile[l].nx;
                value[((step + t) * NY + v.tile[l].y0 + y) * NX + v.tile[l].x0 + x] =
                    (double)host(v.at)[l * v.leaf_stride + t * v.frame_stride + y * v.row_stride + x];
            }
        }
        memory_free(v.at);
    }
    session_close(&s);
    return value;
}

static const char *const models[] = {
    "{name: a, type: gain_control, input: stimulus, gain: 150 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.1 deg, tau: 5 ms, adaptation_output: b}",
    "{name: a, type: gain_control, input: stimulus, gain: 150 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.08 deg, tau: 5 ms, scheme: log-polar}",
    "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.08 deg, tau: 5 ms, method: deriche}",
    "{name: a, type: leaky_heat, input: stimulus, sigma: 0.3 deg, tau: 4 ms, gain: 2}",
    "{name: a, type: leaky_heat, input: stimulus, sigma: 0.2 deg, tau: 4 ms, scheme: log-polar, start: zero}",
    "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 50 Hz, feedback: 100 Hz, sigma: 0.1 deg, tau: 5 ms, form: convis}",
};
enum { NMODEL = sizeof models / sizeof *models, DERICHE = 2, FIRST_HEAT = 3, NREPEATED = NMODEL - 1 }; /* Convis' mean comes to the host */

static void replays_show_in_no_bit(void)
{
    for (int i = 0; i < NMODEL; i++) {
        int tiles = i == DERICHE ? 1 : 2;
        double *whole = run(models[i], tiles, STEPS, NULL), *parts = run(models[i], tiles, STEPS / CHUNKS, NULL);
        CHECK(memcmp(whole, parts, STEPS * NY * NX * sizeof *whole) == 0);
        CHECK(parts[(STEPS - 1) * NY * NX] != parts[(STEPS - 1) * NY * NX + 1]);
        memory_free(whole);
        memory_free(parts);
    }
}

/* Chunks of 3 and of 5 steps: from the third on as many launches, which are those of swapping the input's borders and one more. */
static void chunks_cost_one_launch(void)
{
    for (int i = 0; i < NREPEATED && strcmp(test_device(), "cuda") == 0 && emulate_launches; i++) {
        int tiles = i == DERICHE ? 1 : 2;
        int64_t few[CHUNKS] = {0}, many[CHUNKS] = {0};
        memory_free(run(models[i], tiles, 3, few));
        memory_free(run(models[i], tiles, 5, many));
        CHECK(many[0] > 5 && many[0] > few[0]);
        CHECK(few[2] == few[3] && few[3] == few[4] && few[2] == many[2]);
        enum { OF_BORDERS = 3 }; /* pack, unpack, edge */
        CHECK(few[2] == (i >= FIRST_HEAT ? 1 + OF_BORDERS : 1));
    }
}

/* --- backward ------------------------------------------------------------------------------------------------------------------ */
typedef struct derived {
    int model;
    const char *by;
} derived;
static const derived adjoints[] = {{0, "gain leak feedback tau sigma"}, {0, "gain feedback taps bias"}, {1, "leak tau sigma"}, {DERICHE, "gain tau sigma"},
                                   {3, "sigma tau gain"}};
enum { NADJOINT = sizeof adjoints / sizeof *adjoints };

typedef struct counts {
    int64_t launches, copies, waits;
} counts;

static counts counted(void)
{
    return emulate_launches ? (counts){emulate_launches(), emulate_copies(), emulate_waits()} : (counts){0};
}

/* The derivative of all outputs by what this chunk shows, times pseudo-random weights. */
static void give_weights(const session *s, int64_t step0, int nt)
{
    for (int i = 1; i < model_noutput(s->m); i++) {
        view there = model_gradient(s->m, i), g = test_take(s->be, there, nt);
        for (int l = 0; l < g.nleaf; l++) {
            for (int k = 0; k < nt * g.tile[l].ny * g.tile[l].nx; k++) {
                int t = k / (g.tile[l].ny * g.tile[l].nx), y = k / g.tile[l].nx % g.tile[l].ny, x = k % g.tile[l].nx;
                host(g.at)[l * g.leaf_stride + t * g.frame_stride + y * g.row_stride + x] +=
                    (real)push_direction(step0 + t + 100 * i, g.tile[l].y0 + y, g.tile[l].x0 + x);
            }
        }
        test_give(s->be, there, nt, g);
        memory_free(g.at);
    }
}

static session open_derived(const derived *d, way *w, stage_fitted fitted[8], char *names)
{
    w->fitted = fitted;
    for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
        fitted[w->nfitted++] = (stage_fitted){"a", name, INFINITY};
    }
    return session_open(models[d->model], w);
}

static void states_pass(session *s, real *states, void (*pass)(model *, int leaf, real *))
{
    for (int l = 0; l < model_nleaf(s->m); l++) {
        pass(s->m, l, states + l * model_nstate(s->m));
    }
}
static void set(model *m, int leaf, real *state)
{
    model_state_set(m, leaf, state);
}

/* The derivative by the stimulus of a chunk's steps, [step][y][x]. */
static void take_stimulus(const session *s, int step0, int nt, double *to)
{
    view g = test_take(s->be, model_gradient(s->m, 0), nt);
    for (int l = 0; l < g.nleaf; l++) {
        for (int i = 0; i < nt * g.tile[l].ny * g.tile[l].nx; i++) {
            int t = i / (g.tile[l].ny * g.tile[l].nx), y = i / g.tile[l].nx % g.tile[l].ny, x = i % g.tile[l].nx;
            to[((step0 + t) * NY + g.tile[l].y0 + y) * NX + g.tile[l].x0 + x] =
                (double)host(g.at)[l * g.leaf_stride + t * g.frame_stride + y * g.row_stride + x];
        }
    }
    memory_free(g.at);
}

/* Forward and back through all steps; to: derivatives by the stimulus; what each chunk's model_back asked of the device, last chunk first. */
static void sweep(session *s, const way *w, double *to, counts count[CHUNKS])
{
    int chunk = w->chunk, nchunk = STEPS / chunk;
    int64_t nstate = model_nstate(s->m) * model_nleaf(s->m);
    real *states = MEMORY_NEW(real, nstate * nchunk);
    model_start(s->m);
    for (int c = 0; c < nchunk; c++) {
        states_pass(s, states + c * nstate, model_state_get);
        show(s, w, c * chunk, chunk);
        model_forward(s->m, c * chunk, chunk);
    }
    model_back_start(s->m);
    for (int c = nchunk - 1; c >= 0; c--) {
        states_pass(s, states + c * nstate, set);
        show(s, w, c * chunk, chunk);
        model_forward(s->m, c * chunk, chunk);
        model_back_open(s->m, chunk);
        give_weights(s, c * chunk, chunk);
        s->be->ops->sync(s->be);
        counts before = counted();
        model_back(s->m, c * chunk, chunk);
        counts after = counted();
        count[nchunk - 1 - c] = (counts){after.launches - before.launches, after.copies - before.copies, after.waits - before.waits};
        take_stimulus(s, c * chunk, chunk, to);
    }
    model_back_end(s->m);
    memory_free(states);
}

/* Derivatives by the parameters, *n of them, then by the stimulus, at values that are set after a sweep with the first ones. */
static double *run_back(const derived *d, int chunk, bool plain, int64_t *n, counts count[CHUNKS])
{
    char *names = memory_text("%s", d->by);
    stage_fitted fitted[8];
    int tiles = d->model == DERICHE ? 1 : 2;
    way w = {.ny = NY, .nx = NX, .tiles_y = tiles, .tiles_x = tiles, .threads = 1, .chunk = chunk};
    session s = open_derived(d, &w, fitted, names);
    if (plain) {
        issue_plainly(s.be);
    }
    *n = model_nvalue(s.m);
    double *value = MEMORY_NEW(double, *n + STEPS * NY * NX);
    for (int i = 0; i < 2; i++) {
        model_values(s.m, 0, value);
        for (int64_t k = 0; i == 1 && k < *n; k++) {
            value[k] *= 1 - 0.1 / (double)(k + 1);
        }
        model_set(s.m, 0, value);
        sweep(&s, &w, value + *n, count);
    }
    model_gradient_sum(s.m, value);
    memory_free(names);
    session_close(&s);
    return value;
}

/* From the third chunk on: one launch and those of the borders of whole chunks, of the output and of heat's input; the graph's doubles join those on their
 * way, and these go to the host: two copies; the stage waits for its sums, and model_back waits. */
static void check_counts(const derived *d, const counts few[CHUNKS], const counts many[CHUNKS])
{
    enum { OF_BORDERS = 15 }; /* edge_back: rows, columns; take; unpack_add: a launch for each of the 12 rectangles, which overlap */
    int64_t of_borders = d->model == DERICHE ? 0 : d->model >= FIRST_HEAT ? 2 * OF_BORDERS : OF_BORDERS;
    CHECK(many[0].launches >= 1 + of_borders + 5 && many[0].launches > few[0].launches);
    for (int k = 2; k < CHUNKS; k++) {
        CHECK(few[k].launches == 1 + of_borders && few[k].copies == 2 && few[k].waits == 2);
    }
    CHECK(memcmp(&few[2], &many[2], sizeof few[2]) == 0);
}

static void adjoints_cost_one_launch_and_no_bit(void)
{
    for (const derived *d = adjoints; d < adjoints + NADJOINT; d++) {
        int64_t n;
        counts few[CHUNKS] = {{0}}, many[CHUNKS] = {{0}};
        double *issued = run_back(d, 3, true, &n, many), *replayed = run_back(d, 3, false, &n, few);
        CHECK(memcmp(issued, replayed, (n + STEPS * NY * NX) * sizeof *issued) == 0);
        for (int64_t k = 0; k < n; k++) {
            CHECK(isfinite(issued[k]));
        }
        CHECK(issued[n] != issued[n + 1]);
        if (strcmp(test_device(), "cuda") == 0 && emulate_launches) {
            memory_free(run_back(d, 5, false, &n, many));
            check_counts(d, few, many);
        }
        memory_free(issued);
        memory_free(replayed);
    }
}

/* --- doubles for the host -------------------------------------------------------------------------------------------------------- */
enum { FRAMES = 3, SIDE_OF_SUMS = 150, SIDE_OF_MANY = 730, NUNIT = SIDE_OF_MANY * SIDE_OF_MANY };
typedef struct bench {
    backend *be;
    dreal *small, *large, *q;
    double value[2], *sums; /* small: added to, and stored; [2][units] */
} bench;

/* A loss of three frames, a sum that is stored, and another loss: all come to value[0]. */
static void small_piece(bench *b, int kind)
{
    static const grid_tile tile = {.ny = 4, .nx = 5};
    const double par[2] = {1, 0.1};
    const gain_par gain = {.feedback_hz = 3, .b0 = 1};
    view x = {.at = b->small, .tile = &tile, .nleaf = 1, .nchan = 1, .leaf_stride = 20 * FRAMES, .frame_stride = 20, .chan_stride = 20, .row_stride = 5,
              .pad_ny = 4, .pad_nx = 5}, none = x, q = x;
    none.at = NULL;
    q.at = b->q;
    const backend_ops *ops = b->be->ops;
    ops->loss(b->be, LOSS_ACTIVITY_L1, par, FRAMES, x, none, none, none, &b->value[0]);
    if (kind == 1) {
        ops->gain_q(b->be, &gain, x, b->small + 20, 20, q, &b->value[0]);
    }
    ops->loss(b->be, kind == 0 ? LOSS_ACTIVITY_L2 : LOSS_ACTIVITY_L1, par, 1, x, none, none, none, &b->value[kind]);
}

/* Sums of every pixel. */
static void large_piece(bench *b, int side)
{
    static grid_tile tile[2] = {{.ny = SIDE_OF_SUMS, .nx = SIDE_OF_SUMS}, {.ny = SIDE_OF_MANY, .nx = SIDE_OF_MANY}};
    int64_t n = (int64_t)side * side;
    view x = {.at = b->large, .tile = &tile[side == SIDE_OF_MANY], .nleaf = 1, .nchan = 1, .leaf_stride = n, .frame_stride = n, .chan_stride = n, .row_stride = side,
              .pad_ny = side, .pad_nx = side}, none = x;
    none.at = NULL;
    b->be->ops->unit_sums(b->be, &(unit_table){.n = n, .chan = n, .row = side, .col = 1}, NULL, 1, x, none, b->sums, 2 * n);
}

static void piece(bench *b, int64_t what)
{
    if (b->be->ops->repeat_begin(b->be, 1, &what)) {
        if (what < 2) {
            small_piece(b, (int)what);
        } else {
            large_piece(b, what == 2 ? SIDE_OF_SUMS : SIDE_OF_MANY);
        }
        b->be->ops->repeat_end(b->be);
    }
}

/* Pieces of work, some repeated, some not, with new numbers before each and syncs now and then; what stands in the host's doubles after each sync. */
enum { ACTIONS = 100, MANY_AT = 80 };
static double *act(bool plain, int *nsync)
{
    bench b = {.be = test_backend(1), .sums = MEMORY_NEW(double, 2 * NUNIT)};
    if (plain) {
        issue_plainly(b.be);
    }
    const backend_ops *ops = b.be->ops;
    real *numbers = MEMORY_NEW(real, NUNIT);
    double *seen = MEMORY_NEW(double, ACTIONS * 4);
    b.small = ops->alloc(b.be, 20 * FRAMES);
    b.q = ops->alloc(b.be, 20);
    b.large = ops->alloc(b.be, NUNIT);
    uint64_t seed = 11;
    *nsync = 0;
    for (int k = 0; k < ACTIONS; k++) {
        int new = k < MANY_AT ? SIDE_OF_SUMS * SIDE_OF_SUMS : NUNIT;
        for (int i = 0; i < new; i++) {
            numbers[i] = (real)test_random(&seed);
        }
        ops->upload(b.be, b.small, numbers, 20 * FRAMES);
        ops->upload(b.be, b.large, numbers, new);
        int what = (int)(8 * fabs(test_random(&seed)));
        if (what < 3) {
            piece(&b, what);
        } else if (what == 3) {
            small_piece(&b, k % 2);
        } else if (what == 4) {
            piece(&b, 0); /* twice with the same numbers */
            piece(&b, 0);
        } else if (what == 5 && k % 3 == 0) {
            ops->release(b.be, ops->alloc(b.be, 8)); /* graphs are dropped, results are on their way */
        } else if (what == 6) {
            ops->sync(b.be);
            double *to = seen + 4 * (*nsync)++;
            to[0] = b.value[0];
            to[1] = b.value[1];
            for (int i = 0; i < 2 * NUNIT; i++) {
                to[2 + i % 2] += b.sums[i] * (1 + i % 7);
            }
        } else if (k >= MANY_AT) {
            piece(&b, 3);
        }
    }
    ops->sync(b.be);
    ops->release(b.be, b.small);
    ops->release(b.be, b.large);
    ops->release(b.be, b.q);
    test_backend_close(b.be);
    memory_free(b.sums);
    memory_free(numbers);
    return seen;
}

static void sums_take_their_turn(void)
{
    int n, again;
    double *plain = act(true, &n), *repeated = act(false, &again);
    CHECK(n == again && n > 5);
    CHECK(plain[0] != plain[4] && plain[1] != plain[5] && plain[2] != plain[6]);
    CHECK(memcmp(plain, repeated, (size_t)(4 * n) * sizeof *plain) == 0);
    memory_free(plain);
    memory_free(repeated);
}

/* A key that is the same: the plan's taps of now are taken; what is freed is forgotten. */
static void plans_may_change(void)
{
    backend *be = test_backend(1);
    const backend_ops *ops = be->ops;
    enum { SIDE = 12 };
    const enum blur_method methods[] = {BLUR_GAUSSIAN, BLUR_DERICHE, BLUR_TAPS};
    for (int i = 0; i < 3; i++) {
        blur_desc d = {.method = methods[i], .sigma_px = 1, .most_sigma_px = 2, .field_ny = SIDE, .field_nx = SIDE, .tile_ny = SIDE, .tile_nx = SIDE};
        grid_tile tile = {.ny = SIDE, .nx = SIDE};
        int r = blur_look(&d).radius, row = SIDE + 2 * r, n = row * row;
        real *image = MEMORY_NEW(real, n);
        uint64_t seed = 5;
        for (int k = 0; k < n; k++) {
            image[k] = (real)test_random(&seed);
        }
        dreal *in = test_put(be, image, n), *out = ops->alloc(be, SIDE * SIDE), *plain = ops->alloc(be, SIDE * SIDE);
        view x = {.at = in + r * row + r, .tile = &tile, .nleaf = 1, .nchan = 1, .halo = r, .leaf_stride = n, .frame_stride = n, .chan_stride = n,
                  .row_stride = row, .pad_ny = SIDE, .pad_nx = SIDE};
        view y = {.at = out, .tile = &tile, .nleaf = 1, .nchan = 1, .row_stride = SIDE, .pad_ny = SIDE, .pad_nx = SIDE}, z = y;
        z.at = plain;
        blur_plan *p = ops->blur_create(be, &d);
        const int64_t key[2] = {77, i};
        for (int k = 0; k < 8; k++) {
            if (methods[i] == BLUR_TAPS) {
                const double tap = 0.5 + k;
                ops->blur_set_taps(be, p, &tap, 0.1 * k);
            } else {
                ops->blur_set(be, p, k == 5 ? 0.05 : 0.7 + 0.1 * k); /* Deriche does nothing below 0.1 pixels */
            }
            if (ops->repeat_begin(be, 2, key)) {
                ops->blur(be, p, 1, x, y);
                ops->repeat_end(be);
            }
            ops->blur(be, p, 1, x, z);
            real *a = test_get(be, out, SIDE * SIDE), *b = test_get(be, plain, SIDE * SIDE);
            CHECK(memcmp(a, b, SIDE * SIDE * sizeof *a) == 0);
            memory_free(a);
            memory_free(b);
        }
        ops->blur_destroy(be, p);
        ops->release(be, in);
        ops->release(be, out);
        ops->release(be, plain);
        memory_free(image);
    }
    test_backend_close(be);
}

/* More keys than graphs are kept: each comes to its own result. */
static void many_keys(void)
{
    backend *be = test_backend(1);
    enum { KEYS = 150 };
    dreal *x = be->ops->alloc(be, KEYS);
    for (int round = 0; round < 4; round++) {
        for (int64_t k = 0; k < KEYS; k++) {
            if (be->ops->repeat_begin(be, 1, &k)) {
                be->ops->fill(be, x + k, (real)k, 1);
                be->ops->add(be, x + k, x + k / 2, 1);
                be->ops->repeat_end(be);
            }
            int64_t half = k % 10;
            if (be->ops->repeat_begin(be, 1, &half)) { /* some come often */
                be->ops->fill(be, x + half, (real)half, 1);
                be->ops->add(be, x + half, x + half / 2, 1);
                be->ops->repeat_end(be);
            }
        }
    }
    real *got = test_get(be, x, KEYS);
    for (int k = 0; k < KEYS; k++) {
        real want = (real)(k == 0 ? 0 : k + (double)got[k / 2]);
        CHECK(got[k] == want);
    }
    memory_free(got);
    be->ops->release(be, x);
    test_backend_close(be);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    static const test_case tests[] = {{"replays show in no bit", replays_show_in_no_bit},
                                      {"chunks cost one launch", chunks_cost_one_launch},
                                      {"adjoints cost one launch and no bit", adjoints_cost_one_launch_and_no_bit},
                                      {"sums take their turn", sums_take_their_turn},
                                      {"plans may change", plans_may_change},
                                      {"many keys", many_keys}};
    int failed = test_run("repeat", tests, sizeof tests / sizeof *tests);
    comm_finish();
    return failed;
}

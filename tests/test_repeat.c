/* test_repeat.c - work that a device captures and replays: the steps of a coupled recurrence cost one launch a chunk, and not a bit.
 * Oracle: all steps in one chunk, which nothing has come before. */
#include "compute/blur.h"
#include "trials.h"

__attribute__((weak)) int64_t emulate_launches(void); /* of tests/emulate's device */

static int64_t launches(void)
{
    return emulate_launches ? emulate_launches() : 0;
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
                                      {"plans may change", plans_may_change},
                                      {"many keys", many_keys}};
    int failed = test_run("repeat", tests, sizeof tests / sizeof *tests);
    comm_finish();
    return failed;
}

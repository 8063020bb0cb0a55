/* test_convis_gradient.c - loss, every parameter's and the input's gradient of an LN model and of Convis' default retina, against Convis 0.6.4.2 in double
 * (golden/convis_gradients.h5). */
#include "base/memory.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "device.h"
#include "model/model.h"
#include "test.h"

static store *golden;

static double *read(const char *name, int64_t *n)
{
    store_info info = store_look(golden, name);
    CHECK(info.found);
    *n = 1;
    for (int i = 0; i < info.rank; i++) {
        *n *= info.dims[i];
    }
    double *value = MEMORY_NEW(double, *n);
    CHECK(store_read(golden, name, STORE_F64, NULL, NULL, value));
    return value;
}

/* --- one model, one chunk ------------------------------------------------------------------------------------------------- */
enum { STEPS = 40 };
typedef struct fitted_model {
    input *in;
    backend *be;
    model *m;
    int side; /* of the square field */
    double *gradient;
} fitted_model;

static fitted_model open_model(const char *stages, int side, const stage_fitted *fitted, int nfitted)
{
    char *text = memory_text("model: {stages: [%s]}\n", stages);
    fitted_model f = {.in = input_from_text(text, "test", NULL, 0), .side = side};
    memory_free(text);
    model_setup setup = {.in = f.in, .step_s = 0.001, .pixels_per_deg = 10, .ny = side, .nx = side, .full_ny = side, .full_nx = side, .chunk_steps = STEPS,
                         .stimulus_rest = 0.5, .nrank = 1, .differentiate = true, .stimulus_gradient = true, .fitted = fitted, .nfitted = nfitted};
    f.m = model_create(&setup);
    if (!f.m) {
        input_print_problems(f.in);
    } else {
        f.be = test_backend(1);
        model_attach(f.m, f.be);
        f.gradient = MEMORY_NEW(double, model_nvalue(f.m));
    }
    return f;
}

static void close_model(fitted_model *f)
{
    model_destroy(f->m);
    if (f->be) {
        test_backend_close(f->be);
    }
    input_destroy(f->in);
    memory_free(f->gradient);
}

static void show(const fitted_model *f, const double *movie)
{
    view there = model_stimulus(f->m), v = test_take(f->be, there, STEPS);
    for (int64_t i = 0; i < (int64_t)STEPS * f->side * f->side; i++) {
        int64_t t = i / (f->side * f->side), y = i / f->side % f->side, x = i % f->side;
        host(v.at)[t * v.frame_stride + y * v.row_stride + x] = (real)movie[i];
    }
    test_give(f->be, there, STEPS, v);
    memory_free(v.at);
    model_start(f->m);
    model_forward(f->m, 0, STEPS);
    model_back_start(f->m);
    model_back_open(f->m, STEPS);
}

/* Adds factor * sum (y - target)^2 of an output; returns it. */
static double square(const fitted_model *f, const char *name, const double *target, double factor)
{
    view there = model_gradient(f->m, model_find(f->m, name)), g = test_take(f->be, there, STEPS);
    view y = test_take(f->be, model_output_at(f->m, model_find(f->m, name)).v, STEPS);
    double loss = 0;
    for (int64_t i = 0; i < (int64_t)STEPS * f->side * f->side; i++) {
        int64_t t = i / (f->side * f->side), at = t * y.frame_stride + i / f->side % f->side * y.row_stride + i % f->side;
        double d = (double)host(y.at)[at] - target[i];
        loss += factor * d * d;
        host(g.at)[at] += (real)(2 * factor * d);
    }
    test_give(f->be, there, STEPS, g);
    memory_free(g.at);
    memory_free(y.at);
    return loss;
}

static void go_back(const fitted_model *f)
{
    model_back(f->m, 0, STEPS);
    model_back_end(f->m);
    model_gradient_sum(f->m, f->gradient);
}

/* --- comparison ------------------------------------------------------------------------------------------------------------- */
static const double tolerance = sizeof(real) == sizeof(double) ? 1e-9 : 2e-3; /* float: sums of 1e4 terms that cancel */

static void same(const char *what, const double *got, const char *name, double sign, double at_least)
{
    int64_t n;
    double *want = read(name, &n), largest = at_least, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(sign * want[i]));
        worst = fmax(worst, fabs(got[i] - sign * want[i]));
    }
    if (!(worst <= tolerance * largest)) {
        printf("\n    %s: %lld values differ by %.3g of %.6g; first %.15g for %.15g", what, (long long)n, worst, largest, got[0], sign * want[0]);
    }
    CHECK(worst <= tolerance * largest);
    memory_free(want);
}

static void same_param(const fitted_model *f, const char *of, const char *param, int value, const char *name, double sign, double at_least)
{
    int i = model_param_find(f->m, of, param);
    char full[160], what[96];
    snprintf(full, sizeof full, "retina/by/%s", name);
    snprintf(what, sizeof what, "%s.%s[%d]", of, param, value);
    CHECK(i >= 0);
    if (i < 0) {
        printf("\n    there is no parameter %s", what);
        return;
    }
    same(what, f->gradient + model_param_at(f->m, i).at + value, full, sign, at_least);
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* Convis detaches the copies of the first frame that stand for what was before it.  Their share of the derivative by that frame, of y_t = sum over k, j, i
 * of K[k][j][i] x[t-k][y + 2 - j][x + 2 - i] with edges replicated: taken out of ours. */
static void take_out_past(const fitted_model *f, double *by_first)
{
    enum { NT = 10, NY = 5, NX = 5 };
    int64_t n, side = f->side;
    double *kernel = read("ln/kernel", &n);
    view g = test_take(f->be, model_gradient(f->m, model_find(f->m, "l")), STEPS);
    for (int t = 0; t < NT - 1; t++) {
        for (int64_t i = 0; i < side * side * NT * NY * NX; i++) {
            int x = (int)(i % side), y = (int)(i / side % side), kx = (int)(i / side / side % NX), ky = (int)(i / side / side / NX % NY);
            int k = (int)(i / side / side / NX / NY), py = inside(y + NY / 2 - ky, (int)side), px = inside(x + NX / 2 - kx, (int)side);
            if (k > t) {
                by_first[py * side + px] -= kernel[(k * NY + ky) * NX + kx] * (double)host(g.at)[t * g.frame_stride + y * g.row_stride + x];
            }
        }
    }
    memory_free(g.at);
    memory_free(kernel);
}

static void same_input(const fitted_model *f, const char *name, bool past_is_apart)
{
    int64_t n = (int64_t)STEPS * f->side * f->side;
    view g = test_take(f->be, model_gradient(f->m, 0), STEPS);
    double *got = MEMORY_NEW(double, n);
    for (int64_t i = 0; i < n; i++) {
        int64_t t = i / (f->side * f->side);
        got[i] = (double)host(g.at)[t * g.frame_stride + i / f->side % f->side * g.row_stride + i % f->side];
    }
    memory_free(g.at);
    if (past_is_apart) {
        take_out_past(f, got);
    }
    same("the input", got, name, 1, 0);
    memory_free(got);
}

static void same_loss(double loss, const char *name)
{
    same("the loss", &loss, name, 1, 0);
}

/* --- LN: sum of squares ----------------------------------------------------------------------------------------------------- */
static void linear_nonlinear(void)
{
    static const char *const algorithms[] = {"direct", "fft"};
    static const stage_fitted fitted[] = {{"l", "kernel", INFINITY}};
    for (int a = 0; a < 2; a++) {
        char *stages = memory_text("{name: l, type: conv, input: stimulus, kernel: 'tests/golden/convis_gradients.h5:/ln/kernel', start: first_frame,"
                                   "algorithm: %s}, {name: n, type: rectify, form: clip, input: l, slope: 1 Hz}", algorithms[a]);
        fitted_model f = open_model(stages, 32, fitted, 1);
        CHECK(f.m != NULL);
        if (f.m) {
            int64_t n;
            store *input_file = store_open_read("tests/golden/virtualretina.h5", &(const char *){NULL});
            double *target = read("ln/target", &n), *movie = MEMORY_NEW(double, n);
            int64_t start[] = {80, 0, 0}, count[] = {STEPS, 32, 32};
            CHECK(input_file && store_read(input_file, "luminance", STORE_F64, start, count, movie));
            show(&f, movie);
            same_loss(square(&f, "n", target, 1), "ln/loss");
            go_back(&f);
            same("the kernel", f.gradient, "ln/by_kernel", 1, 0);
            same_input(&f, "ln/by_input", true);
            store_close_read(input_file);
            memory_free(target);
            memory_free(movie);
        }
        close_model(&f);
        memory_free(stages);
    }
}

/* --- the retina: mean squares of On and Off ------------------------------------------------------------------------------- */
static const char retina[] =
    "{name: cg, type: blur, input: stimulus, sigma: 0.05 deg, method: convis}, {name: amplified, type: gain, input: cg, scale: 10},"
    "{name: ce, type: lowpass, input: amplified, form: convis, tau: 10 ms, start: zero},"
    "{name: centre, type: highpass, input: ce, form: convis, tau: 100 ms, weight: 0.8, start: zero},"
    "{name: sg, type: blur, input: centre, sigma: 0.15 deg, method: convis},"
    "{name: surround, type: lowpass, input: sg, form: convis, tau: 4 ms, start: zero},"
    "{name: opl, type: sum, inputs: [centre, surround], weights: [1, -1]},"
    "{name: bipolar, type: gain_control, input: opl, gain: 50 Hz, leak: 50 Hz, feedback: 0 Hz, sigma: 0.2 deg, tau: 5 s, form: convis, method: convis},"
    "{name: t0, type: highpass, input: bipolar, form: fir, tau: 20 ms, weight: 0.7, start: zero},"
    "{name: n0, type: rectify, input: t0, form: convis, sign: 1, value: 37 Hz, slope: 100 Hz}, {name: on, type: blur, input: n0, sigma: 0 deg, method: convis},"
    "{name: t1, type: highpass, input: bipolar, form: fir, tau: 20 ms, weight: 0.7, start: zero},"
    "{name: n1, type: rectify, input: t1, form: convis, sign: -1, value: 37 Hz, slope: 100 Hz}, {name: off, type: blur, input: n1, sigma: 0 deg, method: convis}";

static const stage_fitted retina_fitted[] = {
    {"cg", "taps", INFINITY}, {"amplified", "scale", INFINITY}, {"ce", "tau", INFINITY}, {"centre", "tau", INFINITY}, {"centre", "weight", INFINITY},
    {"sg", "taps", INFINITY}, {"surround", "tau", INFINITY}, {"opl", "weights", INFINITY}, {"bipolar", "gain", INFINITY}, {"bipolar", "leak", INFINITY},
    {"bipolar", "feedback", INFINITY}, {"bipolar", "convis_tau", INFINITY}, {"bipolar", "taps", INFINITY}, {"t0", "taps", INFINITY}, {"n0", "sign", INFINITY},
    {"n0", "value", INFINITY}, {"n0", "threshold", INFINITY}, {"n0", "slope", INFINITY}, {"on", "taps", INFINITY}, {"t1", "taps", INFINITY},
    {"n1", "sign", INFINITY}, {"n1", "value", INFINITY}, {"n1", "threshold", INFINITY}, {"n1", "slope", INFINITY}, {"off", "taps", INFINITY}};

static void ganglion(const fitted_model *f, int k)
{
    static const char *const map[][2] = {{"sign", "sign"}, {"value", "i_0"}, {"threshold", "v_0"}, {"slope", "lambda_G"}};
    char name[64], stage_name[8];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "gang_%d_input.%s", k, map[i][1]);
        snprintf(stage_name, sizeof stage_name, "n%d", k);
        same_param(f, stage_name, map[i][0], 0, name, 1, 0);
    }
    snprintf(stage_name, sizeof stage_name, "t%d", k);
    snprintf(name, sizeof name, "gang_%d_input.transient.weight", k);
    same_param(f, stage_name, "taps", 0, name, 1, 0);
    snprintf(name, sizeof name, "gang_%d_input.transient.bias", k);
    same_param(f, stage_name, "bias", 0, name, 1, 0);
    snprintf(name, sizeof name, "gang_%d_input.spatial_pooling.weight", k);
    same_param(f, k ? "off" : "on", "taps", 0, name, 1, 0);
    snprintf(name, sizeof name, "gang_%d_input.spatial_pooling.bias", k);
    same_param(f, k ? "off" : "on", "bias", 0, name, 1, 0);
}

static void default_retina(void)
{
    fitted_model f = open_model(retina, 16, retina_fitted, (int)(sizeof retina_fitted / sizeof *retina_fitted));
    CHECK(f.m != NULL);
    if (f.m) {
        int64_t n;
        double *movie = read("retina/input", &n), *on = read("retina/target_on", &n), *off = read("retina/target_off", &n);
        show(&f, movie);
        same_loss(square(&f, "on", on, 1.0 / (double)n) + square(&f, "off", off, 1.0 / (double)n), "retina/loss");
        go_back(&f);
        same_param(&f, "opl", "weights", 1, "opl.opl_filter.relative_weight", -1, 0);
        same_param(&f, "amplified", "scale", 0, "opl.opl_filter.lambda_opl", 1, 0);
        same_param(&f, "cg", "taps", 0, "opl.opl_filter.center_G.weight", 1, 0);
        same_param(&f, "cg", "bias", 0, "opl.opl_filter.center_G.bias", 1, 0);
        same_param(&f, "ce", "tau", 0, "opl.opl_filter.center_E.tau", 1, 0);
        same_param(&f, "centre", "tau", 0, "opl.opl_filter.center_undershoot.tau", 1, 0);
        same_param(&f, "centre", "weight", 0, "opl.opl_filter.center_undershoot.k", 1, 0);
        same_param(&f, "sg", "taps", 0, "opl.opl_filter.surround_G.weight", 1, 0);
        same_param(&f, "sg", "bias", 0, "opl.opl_filter.surround_G.bias", 1, 0);
        same_param(&f, "surround", "tau", 0, "opl.opl_filter.surround_E.tau", 1, 0);
        same_param(&f, "bipolar", "feedback", 0, "bipolar.lambda_amp", 1, 0);
        same_param(&f, "bipolar", "leak", 0, "bipolar.g_leak", 1, 0);
        same_param(&f, "bipolar", "gain", 0, "bipolar.input_amp", 1, 0);
        /* Convis' constants were made of tau = 5 s, but its derivative of 1/tau takes the 5 ms that the configuration puts there later: (5/0.005)^2 times
         * what it should be. */
        same_param(&f, "bipolar", "convis_tau", 0, "bipolar.tau", 1e-6, 0);
        same_param(&f, "bipolar", "taps", 0, "bipolar.conv2d.weight", 1, 200); /* 0 but for rounding: what is pooled is uniform; the bias' is -227 */
        same_param(&f, "bipolar", "bias", 0, "bipolar.conv2d.bias", 1, 0);
        ganglion(&f, 0);
        ganglion(&f, 1);
        same_input(&f, "retina/grad_input", false);
        memory_free(movie);
        memory_free(on);
        memory_free(off);
    }
    close_model(&f);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    const char *why;
    golden = store_open_read("tests/golden/convis_gradients.h5", &why);
    if (!golden) {
        fprintf(stderr, "golden/convis_gradients.h5: %s\n", why);
        return 1;
    }
    static const test_case tests[] = {{"default retina, 32 parameters and the input", default_retina}, {"LN by kernel and input", linear_nonlinear}};
    int failed = test_run("convis_gradient", tests, (int)(sizeof tests / sizeof tests[0]));
    store_close_read(golden);
    comm_finish();
    return failed;
}

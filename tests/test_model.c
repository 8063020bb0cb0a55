/* test_model.c - every stage type in whole models: neither chunks nor tiles nor threads nor a saved state show in the results.
 * Oracle: the same model run in one tile, one thread and chunks of seven steps; and a direct sum in double for linear-nonlinear models. */
#include <float.h>

#include "trials.h" /* the table of trials: a new stage type gets its lines there */

/* --- running a model ------------------------------------------------------------------------------------------------- */
typedef struct result {
    int64_t n, first, nspike; /* what stands before `first` was not looked at */
    double *value; /* of all outputs, [step][channel][y][x] or [step][cell] */
    spike *spikes; /* in order of time and cell */
} result;

/* o: in host memory. */
static void take_frame(const model_output *o, const way *w, int t, double *to)
{
    for (int l = 0; l < o->v.nleaf; l++) {
        const grid_tile *tile = &o->v.tile[l];
        const real *from = host(o->v.at) + l * o->v.leaf_stride + t * o->v.frame_stride;
        for (int i = 0; o->cells && i < tile->nx; i++) {
            to[o->cells->id[(int64_t)l * o->cells->pad + i]] = (double)from[i];
        }
        for (int i = 0; !o->cells && i < o->nchan * tile->ny * tile->nx; i++) {
            int c = i / (tile->ny * tile->nx), y = i / tile->nx % tile->ny, x = i % tile->nx;
            to[((int64_t)c * w->ny + tile->y0 + y) * w->nx + tile->x0 + x] = (double)from[c * o->v.chan_stride + y * o->v.row_stride + x];
        }
    }
}

static void take(const session *s, const way *w, int64_t step0, int nt, result *r)
{
    model *m = s->m;
    int64_t first = 0;
    for (int i = 0; i < model_noutput(m); i++) {
        model_output o = model_output_at(m, i);
        o.v = test_take(s->be, o.v, nt);
        int64_t n = values_of(&o, w);
        for (int t = 0; t < nt; t++) {
            take_frame(&o, w, t, r->value + first + (step0 + t) * n);
        }
        memory_free(o.v.at);
        first += STEPS * n;
        for (int l = 0; o.spikes && l < model_nleaf(m); l++) {
            const spike_list *list = model_spikes(m, i, l);
            r->spikes = memory_grow(r->spikes, (size_t)(r->nspike + list->n), sizeof(spike));
            for (int64_t k = 0; k < list->n; k++) {
                r->spikes[r->nspike++] = list->item[k];
            }
        }
    }
}

static int by_time(const void *a_, const void *b_)
{
    const spike *a = a_, *b = b_;
    return a->time_s != b->time_s ? (a->time_s < b->time_s ? -1 : 1) : (a->cell > b->cell) - (a->cell < b->cell);
}

static void go_on_in_new_model(session *s, const char *stages, const way *w)
{
    session next = session_open(stages, w);
    int64_t n = model_nstate(s->m);
    CHECK(n == model_nstate(next.m));
    real *state = MEMORY_NEW(real, n);
    for (int l = 0; l < model_nleaf(s->m); l++) {
        model_state_get(s->m, l, state);
        model_state_set(next.m, l, state);
    }
    memory_free(state);
    session_close(s);
    *s = next;
}

static result run(const char *stages, const way *w)
{
    result r = {0, 0, 0, NULL, NULL};
    session s = session_open(stages, w);
    if (!s.m) {
        CHECK(s.m != NULL);
        session_close(&s);
        return r;
    }
    for (int i = 0; i < model_noutput(s.m); i++) {
        model_output o = model_output_at(s.m, i);
        r.first = w->passing ? r.n : 0;
        r.n += STEPS * values_of(&o, w);
    }
    r.value = MEMORY_NEW(double, r.n);
    for (int step = 0, chunk = 0, nt; step < STEPS; step += nt, chunk++) {
        nt = w->mixed ? 1 + chunk * 3 % w->chunk : w->chunk;
        nt = nt < STEPS - step ? nt : STEPS - step;
        nt = step < w->stop && step + nt > w->stop ? w->stop - step : nt;
        show(&s, w, step, nt);
        model_forward(s.m, step, nt);
        take(&s, w, step, nt, &r);
        if (step + nt == w->stop) {
            go_on_in_new_model(&s, stages, w);
        }
    }
    CHECK(model_not_finite(s.m, 1) == NULL);
    session_close(&s);
    if (r.nspike > 0) {
        qsort(r.spikes, (size_t)r.nspike, sizeof(spike), by_time);
    }
    return r;
}

static void result_free(result *r)
{
    memory_free(r->value);
    memory_free(r->spikes);
}

/* Largest difference of what was looked at in b; infinite if the shapes or the spikes differ. */
static double difference(const result *a, const result *b)
{
    double worst = a->n == b->n && a->nspike == b->nspike ? 0 : INFINITY;
    for (int64_t i = b->first; worst < INFINITY && i < a->n; i++) {
        double d = fabs(a->value[i] - b->value[i]);
        worst = isfinite(d) ? fmax(worst, d) : INFINITY;
    }
    for (int64_t i = 0; worst < INFINITY && i < a->nspike; i++) {
        worst = a->spikes[i].time_s == b->spikes[i].time_s && a->spikes[i].cell == b->spikes[i].cell ? worst : INFINITY;
    }
    return worst;
}

static double largest(const result *r)
{
    double most = 0;
    for (int64_t i = 0; i < r->n; i++) {
        most = fmax(most, fabs(r->value[i]));
    }
    return most;
}

/* --- every stage, every way ------------------------------------------------------------------------------------------ */
static void compare(const trial *t, const result *reference, const way *w, double tolerance, const char *what)
{
    result r = run(t->stages, w);
    double worst = difference(reference, &r);
    if (!(worst <= tolerance)) {
        printf("\n    %s, %s, %d x %d tiles: differs by %g of %g: %s", t->type, what, w->tiles_x, w->tiles_y, worst, largest(reference), t->stages);
    }
    CHECK(worst <= tolerance);
    result_free(&r);
}

static void try_field(const trial *t, int ny, int nx)
{
    way base = {.ny = ny, .nx = nx, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 7};
    result reference = run(t->stages, &base);
    if (strcmp(t->type, "lif") == 0) {
        CHECK(reference.nspike > 10);
    }
    /* other cuts round otherwise: a few units in the last place of the largest value for each of two stages */
    double exact = 0, rounding = t->flags & CUT ? (sizeof(real) == sizeof(float) ? 1e-6 : 1e-14) * fmax(1, largest(&reference)) : exact;
    const int chunks[] = {1, 3, STEPS};
    for (int i = 0; i < (test_is_slow() ? 1 : 3); i++) {
        way w = base;
        w.chunk = chunks[i];
        compare(t, &reference, &w, exact, "other chunks");
    }
    way mixed = base;
    mixed.mixed = true;
    mixed.stop = test_is_slow() ? 8 : 0;
    compare(t, &reference, &mixed, exact, "mixed chunks");
    way again = base;
    again.stop = 8;
    if (!test_is_slow()) {
        compare(t, &reference, &again, exact, "saved state");
    }
    const int tiles[][2] = {{2, 3}, {5, 4}, {ny, nx}};
    for (int i = 0; i < (test_is_slow() ? 1 : 3) && !(t->flags & ONE_TILE); i++) {
        way w = base;
        w.tiles_y = tiles[i][0] < ny ? tiles[i][0] : ny;
        w.tiles_x = tiles[i][1] < nx ? tiles[i][1] : nx;
        compare(t, &reference, &w, rounding, "tiles");
        if (i == (test_is_slow() ? 0 : 1)) {
            w.threads = 3;
            w.mixed = true;
            w.stop = 5;
            compare(t, &reference, &w, rounding, "3 threads, mixed chunks, saved state");
            w.passing = true;
            compare(t, &reference, &w, rounding, "the same, and only the last output is kept");
        }
    }
    result_free(&reference);
}

static void all_stages(void)
{
    for (int i = 0; i < stage_count; i++) {
        bool tried = false;
        for (int k = 0; k < NTRIAL; k++) {
            tried = tried || strcmp(trials[k].type, stage_list[i]->name) == 0;
        }
        if (!tried) {
            printf("\n    stage type %s is not in the table of trials", stage_list[i]->name);
        }
        CHECK(tried);
    }
    for (int k = 0; k < NTRIAL; k++) {
        try_field(&trials[k], NY, NX);
        if (!(trials[k].flags & PLANE) && !test_is_slow()) {
            try_field(&trials[k], 1, 13);
            try_field(&trials[k], 13, 1);
        }
    }
}

/* Every output of every pixel and cell keeps the value it has in step 0. */
static void rest_is_steady(void)
{
    const double rounding = sizeof(real) == sizeof(float) ? 1e-5 : 1e-13; /* of recursions with time constants of 5 steps, over 15 steps */
    for (int k = 0; k < NTRIAL; k++) {
        if (!(trials[k].flags & STEADY)) {
            continue;
        }
        way w = {.ny = NY, .nx = NX, .tiles_y = trials[k].flags & ONE_TILE ? 1 : 2, .tiles_x = 1, .threads = 1, .chunk = 4, .steady = true};
        session s = session_open(trials[k].stages, &w);
        result r = run(trials[k].stages, &w);
        double worst = 0;
        const double *value = r.value;
        for (int i = 0; s.m && i < model_noutput(s.m); i++) {
            model_output o = model_output_at(s.m, i);
            int64_t n = values_of(&o, &w);
            for (int64_t j = 0; j < STEPS * n; j++) {
                worst = fmax(worst, fabs(value[j] - value[j % n]) / fmax(1, fabs(value[j % n])));
            }
            value += STEPS * n;
        }
        if (!(worst <= rounding)) {
            printf("\n    %s drifts from its rest by %g: %s", trials[k].type, worst, trials[k].stages);
        }
        CHECK(worst <= rounding);
        result_free(&r);
        session_close(&s);
    }
}

/* --- convolutions ------------------------------------------------------------------------------------------------------ */
static void same_answer_of_all_algorithms(void)
{
    static const char *const starts[] = {"zero", "rest", "first_frame"}, *const names[] = {"k", "smooth", "bank"};
    for (int i = 0; i < 18; i++) {
        result first = {0, 0, 0, NULL, NULL};
        for (int a = 0; a < 3; a++) {
            static const char *const algorithms[] = {"direct", "fft", "separable"};
            way w = {.ny = NY, .nx = NX, .tiles_y = 2, .tiles_x = 1, .threads = 1, .chunk = 2 + a};
            char *text = memory_text(
                "{name: i, type: gain, input: stimulus}, {name: a, type: conv, input: i, kernel: '@:/%s', algorithm: %s, start: %s, delay: %d}",
                names[i % 3], algorithms[a], starts[i / 3 % 3], i / 9 * 3);
            result r = run(text, &w);
            if (a == 0) {
                first = r;
            } else {
                CHECK_NEAR(difference(&first, &r), 0, sizeof(real) == sizeof(float) ? 3e-6 : 1e-13,
                           "rounding of sums of 60 to 180 products of about 1");
                result_free(&r);
            }
            memory_free(text);
        }
        result_free(&first);
    }
}

static int inside(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static double linear(int t, int y, int x, const char *start)
{
    double sum = 0;
    for (int k = 0; k < KT; k++) {
        for (int j = 0; j < KY; j++) {
            for (int i = 0; i < KX; i++) {
                int py = inside(y + KY / 2 - j, NY), px = inside(x + KX / 2 - i, NX);
                double past = start[0] == 'z' ? 0 : start[0] == 'r' ? 0.5 : (double)(real)luminance(0, py, px);
                sum += kernel[k][j][i] * (t - k < 0 ? past : (double)(real)luminance(t - k, py, px));
            }
        }
    }
    return sum;
}

static void linear_nonlinear_is_the_direct_sum(void)
{
    static const char *const starts[] = {"zero", "rest", "first_frame"}, *const algorithms[] = {"auto", "fft"};
    for (int c = 0; c < 6; c++) {
        way w = {.ny = NY, .nx = NX, .tiles_y = 2, .tiles_x = 2, .threads = 1, .chunk = 6};
        char *text = memory_text("{name: l, type: conv, input: stimulus, kernel: '@:/k', algorithm: %s, start: %s},"
                                 "{name: n, type: rectify, form: clip, input: l, threshold: 0.2, slope: 10 Hz}", algorithms[c % 2], starts[c / 2]);
        result r = run(text, &w);
        double worst = 0, most = 0;
        int64_t n = (int64_t)STEPS * NY * NX, silent = 0;
        for (int64_t i = 0; r.n == 3 * n && i < n; i++) {
            int t = (int)(i / (NY * NX)), y = (int)(i / NX % NY), x = (int)(i % NX);
            double y_linear = linear(t, y, x, starts[c / 2]), y_clip = fmin(fmax(10 * (y_linear - 0.2), 0), 1e6);
            worst = fmax(worst, fmax(fabs(r.value[n + i] - y_linear), fabs(r.value[2 * n + i] - y_clip) / 10));
            most = fmax(most, y_clip);
            silent += y_clip == 0;
        }
        CHECK(r.n == 3 * n && most > 1 && silent > 100);
        CHECK_NEAR(worst, 0, sizeof(real) == sizeof(float) ? 2e-6 : 1e-14, "rounding of 60 products of about 0.5");
        result_free(&r);
        memory_free(text);
    }
}

/* --- delays ------------------------------------------------------------------------------------------------------------------ */
static void every_pixel_has_its_delay(void)
{
    way w = {.ny = NY, .nx = NX, .tiles_y = 2, .tiles_x = 3, .threads = 1, .chunk = 4};
    result r = run("{name: a, type: delay, input: stimulus, steps: 2, map: '@:/delays', start: zero}", &w);
    CHECK(r.n == 2 * STEPS * NY * NX);
    bool same = true;
    for (int i = 0; i < STEPS * NY * NX; i++) {
        int t = i / (NY * NX) - 2 - i % (NY * NX) * 7 % 5, pixel = i % (NY * NX);
        same = same && r.value[STEPS * NY * NX + i] == (t < 0 ? 0 : (double)(real)luminance(t, pixel / NX, pixel % NX));
    }
    CHECK(same);
    result_free(&r);
}

/* --- noise --------------------------------------------------------------------------------------------------------------- */
/* Sum over the field of the difference to the input and of its square, after one chunk. */
static void noise_of(session *s, const way *w, bool training, int64_t draw, double *mean, double *square)
{
    model_start(s->m);
    model_training(s->m, training, draw);
    show(s, w, 0, w->chunk);
    model_forward(s->m, 0, w->chunk);
    view in = test_take(s->be, model_stimulus(s->m), w->chunk), out = test_take(s->be, model_output_at(s->m, 1).v, w->chunk);
    *mean = *square = 0;
    for (int t = 0; t < w->chunk; t++) {
        for (int i = 0; i < w->ny * w->nx; i++) {
            int y = i / w->nx, x = i % w->nx;
            double d = (double)host(out.at)[t * out.frame_stride + y * out.row_stride + x] - (double)host(in.at)[t * in.frame_stride + y * in.row_stride + x];
            *mean += d / (w->chunk * w->ny * w->nx);
            *square += d * d / (w->chunk * w->ny * w->nx);
        }
    }
    memory_free(in.at);
    memory_free(out.at);
}

static void noise_is_added_in_training(void)
{
    way w = {.ny = 40, .nx = 50, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 10};
    session s = session_open("{name: a, type: noise, input: stimulus, sd: 0.2}", &w);
    double mean, square, again, others, n = 10 * 40 * 50;
    noise_of(&s, &w, false, 0, &mean, &square);
    CHECK(mean == 0 && square == 0);
    noise_of(&s, &w, true, 3, &mean, &square);
    CHECK_NEAR(mean, 0, 5 * 0.2 / sqrt(n), "5 standard errors");
    CHECK_NEAR(square, 0.04, 5 * 0.04 * sqrt(2 / n), "5 standard errors");
    noise_of(&s, &w, true, 3, &again, &square);
    noise_of(&s, &w, true, 4, &others, &square);
    CHECK(again == mean && others != mean);
    session_close(&s);
}

/* A receptive field is laid on the stimulus as it stands. */
static void receptive_field_is_a_profile(void)
{
    way w = {.ny = NY, .nx = NX, .tiles_y = 1, .tiles_x = 1, .threads = 1, .chunk = 6};
    result r = run("{name: l, type: conv, input: stimulus, kernel: '@:/k', kernel_is: receptive_field, start: zero}", &w);
    double worst = 0;
    for (int t = KT; r.n > 0 && t < STEPS; t++) {
        double sum = 0;
        for (int n = 0; n < KT * KY * KX; n++) {
            int k = n / (KY * KX), j = n / KX % KY, i = n % KX;
            sum += kernel[k][j][i] * (double)(real)luminance(t - k, 4 + j - KY / 2, 5 + i - KX / 2);
        }
        worst = fmax(worst, fabs(sum - r.value[(int64_t)STEPS * NY * NX + ((int64_t)t * NY + 4) * NX + 5]));
    }
    CHECK(r.n > 0);
    CHECK_NEAR(worst, 0, sizeof(real) == sizeof(float) ? 2e-6 : 1e-14, "rounding of 60 products of about 0.5");
    result_free(&r);
}

/* --- at the door ------------------------------------------------------------------------------------------------------- */
/* Number of problems of a model. */
static int problems(const char *stages)
{
    char *text = model_text(stages);
    input *in = input_from_text(text, "test", NULL, 0);
    model_setup setup = {.in = in,
                         .step_s = 0.001,
                         .pixels_per_deg = pixels_per_deg,
                         .ny = NY,
                         .nx = NX,
                         .full_ny = NY,
                         .full_nx = NX,
                         .stimulus_rest = 0.5,
                         .nrank = 1};
    model *m = model_create(&setup);
    int n = input_nproblem(in);
    CHECK((m == NULL) == (n > 0));
    model_destroy(m);
    input_destroy(in);
    memory_free(text);
    return n;
}

static void wrong_models_are_refused(void)
{
    CHECK(problems("{name: a, type: gain, input: stimulus}") == 0);
    static const char *const map_stages[] = {"blur, sigma: 0.1 deg",
                                             "conv, kernel: '@:/time'",
                                             "leaky_heat, sigma: 0.1 deg, tau: 1 ms",
                                             "pixel_lif",
                                             "gain_control, gain: 1 Hz, leak: 1 Hz, feedback: 1 Hz, sigma: 0.1 deg, tau: 1 ms",
                                             "cells, density: 9 /deg"};
    for (int i = 0; i < 6; i++) {
        char *text = memory_text("{name: c, type: cells, input: stimulus, density: 15 /deg}, {name: a, input: c, type: %s}", map_stages[i]);
        CHECK(problems(text) == 1);
        memory_free(text);
    }
    CHECK(problems("{name: a, type: lif, input: stimulus}") == 1);
    CHECK(problems("{name: c, type: cellz, input: stimulus}, {name: a, type: lif, input: c}, {name: b, type: gain, input: a}") == 1);
    CHECK(problems("{name: a, type: rectify, input: stimulus, value: 6e5 Hz}") == 1);
    CHECK(problems("{name: a, type: gain, inputs: [stimulus, stimulus]}, {name: b, type: gain, input: stimulus}") == 1);
    CHECK(problems("{name: a, type: blur, input: stimulus, sigma: 900 deg}") == 1);
    CHECK(problems("{name: a, type: gain_control, input: stimulus, gain: 1 Hz, leak: 1 Hz, feedback: 1 Hz, sigma: 0.1 deg, tau: 1 ms, "
                   "adaptation_output: a b}") == 1);
    /* a bank whose kernels have other sums rests at other values in each channel: nothing that needs one value may follow */
    CHECK(problems("{name: a, type: conv, input: stimulus, kernel: '@:/bank'}, {name: b, type: rectify, input: a}") == 0);
    CHECK(problems("{name: a, type: conv, input: stimulus, kernel: '@:/bank'}, {name: b, type: lowpass, input: a, tau: 1 ms}") == 1);
    CHECK(problems("{name: a, type: conv, input: stimulus, kernel: '@:/bank'}, {name: b, type: gain, input: a}, {name: c, type: gain, input: b, "
                   "delay: 1}") == 1);
    CHECK(problems("{name: a, type: conv, input: stimulus, kernel: '@:/bank'}, {name: b, type: lowpass, input: a, tau: 1 ms, start: zero}") == 0);
    CHECK(
        problems("{name: a, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: b, type: lowpass, input: a, tau: 1 ms, delay: 1}") ==
        0);
}

/* --- chunks -------------------------------------------------------------------------------------------------------------- */
/* Steps that are chosen for a field of side x side pixels on so many ranks. */
static int chosen_chunk(int side, bool on_gpu, int nrank, const char *stages)
{
    char *text = model_text(stages);
    input *in = input_from_text(text, "test", NULL, 0);
    model_setup setup = {.in = in,
                         .step_s = 0.001,
                         .pixels_per_deg = pixels_per_deg,
                         .ny = side,
                         .nx = side,
                         .full_ny = side,
                         .full_nx = side,
                         .nrank = nrank,
                         .on_gpu = on_gpu};
    model *m = model_create(&setup);
    CHECK(m != NULL);
    int nt = m ? model_chunk_steps(m) : 0;
    model_destroy(m);
    input_destroy(in);
    memory_free(text);
    return nt;
}

/* A CPU: 64 KiB an array of one leaf (128 x 128 pixels); a GPU: 256 MiB an array of all leaves of a rank, 256 steps at most. */
static void chunks_suit_the_processor(void)
{
    const char *plain = "{name: a, type: gain, input: stimulus}", *lags = "{name: a, type: conv, input: stimulus, kernel: '@:/time'}";
    const int bytes = (int)sizeof(real);
    CHECK(chosen_chunk(2048, false, 1, plain) == 4);
    CHECK(chosen_chunk(2048, false, 1, lags) == 64);
    CHECK(chosen_chunk(2048, true, 1, plain) == 64 / bytes);
    CHECK(chosen_chunk(2048, true, 1, lags) == 64 / bytes);
    CHECK(chosen_chunk(2048, true, 4, plain) == 4 * 64 / bytes);
    CHECK(chosen_chunk(100, true, 1, plain) == 256);
    CHECK(chosen_chunk(16384, true, 1, plain) == 4);
}

/* --- memory ------------------------------------------------------------------------------------------------------------ */
static void memory_is_foretold(void)
{
    if (strcmp(test_device(), "cpu") != 0) {
        return; /* the host's is what is counted */
    }
    static const char *const models[] = {
        "{name: a, type: conv, input: stimulus, kernel: '@:/bank', algorithm: fft}, {name: b, type: rectify, input: a}",
        "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: direct}, {name: b, type: rectify, input: a}",
        "{name: a, type: conv, input: stimulus, kernel: '@:/smooth', algorithm: separable}",
        "{name: a, type: blur, input: stimulus, sigma: 1 deg}, {name: g, type: gain_control, input: a, gain: 9 Hz, leak: 9 Hz, feedback: 1 Hz, "
        "sigma: 0.5 deg,"
        "tau: 5 ms, adaptation_output: b}, {name: c, type: cells, input: g, density: 20 /deg}, {name: s, type: lif, input: c}",
        "{name: a, type: blur, input: stimulus, sigma: 0.3 deg, method: deriche, scheme: log-polar}",
    };
    for (int i = 0; i < 5; i++) {
        way w = {.ny = 200, .nx = 230, .tiles_y = i == 4 ? 1 : 2, .tiles_x = i == 4 ? 1 : 3, .threads = 2, .chunk = 5};
        char *text = model_text(models[i]);
        input *in = input_from_text(text, "test", NULL, 0);
        size_t before = memory_bytes_now();
        model_setup setup = {.in = in,
                             .step_s = 0.001,
                             .pixels_per_deg = pixels_per_deg,
                             .ny = w.ny,
                             .nx = w.nx,
                             .full_ny = w.ny,
                             .full_nx = w.nx,
                             .ntile_y = w.tiles_y,
                             .ntile_x = w.tiles_x,
                             .nthread = w.threads,
                             .chunk_steps = w.chunk,
                             .stimulus_rest = 0.5,
                             .nrank = 1};
        model *m = model_create(&setup);
        CHECK(m != NULL);
        model_sizes size = model_size(m);
        backend *be = backend_open("cpu", w.threads);
        model_attach(m, be);
        double held = (double)(memory_bytes_now() - before), foretold = (double)(size.bytes_arrays + size.bytes_state + size.bytes_tables);
        CHECK_NEAR(foretold, held, 0.01 * held + 2e5, "the tables of stages and of border rectangles are not counted");
        model_destroy(m);
        backend_close(be);
        input_destroy(in);
        memory_free(text);
    }
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    write_kernels();
    static const test_case tests[] = {{"every stage: no chunk, tile, thread or saved state shows", all_stages},
                                      {"a field at rest stays at rest", rest_is_steady},
                                      {"fft, separable and direct agree", same_answer_of_all_algorithms},
                                      {"LN is the direct sum", linear_nonlinear_is_the_direct_sum},
                                      {"a receptive field is a profile", receptive_field_is_a_profile},
                                      {"every pixel has its delay", every_pixel_has_its_delay},
                                      {"noise is added in training", noise_is_added_in_training},
                                      {"wrong models are refused", wrong_models_are_refused},
                                      {"chunks suit the processor", chunks_suit_the_processor},
                                      {"memory is foretold", memory_is_foretold}};
    int failed = test_run("model", tests, (int)(sizeof tests / sizeof tests[0]));
    remove(kernels);
    comm_finish();
    return failed;
}

/* test_fit.c - what a fit does around its optimiser: losses and penalties with their derivatives, maps of parameters; and the published network of
 * golden/cnn_grad.h5 (loss, gradients, ten Adam steps) with plain loops around our loss, penalties and Adam. */
#include "base/memory.h"
#include "cluster/store.h"
#include "device.h"
#include "fit/loss.h"
#include "fit/optim.h"
#include "fit/penalty.h"
#include "fit/transform.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
enum { IN_DOUBLE = 1 };
#else
enum { IN_DOUBLE = 0 };
#endif

/* --- Taylor: f(u + h d) - f(u) - h g.d falls as h^2 ------------------------------------------------------------------------ */
enum { MAX_N = 200 };
typedef double (*function)(void *ctx, const double *u, double *g); /* adds to g */

static double remainder_of(function f, void *ctx, int n, const double *u, const double *d, double h)
{
    double g[MAX_N] = {0}, moved[MAX_N], value = f(ctx, u, g), slope = 0;
    for (int i = 0; i < n; i++) {
        moved[i] = u[i] + h * d[i];
        slope += g[i] * d[i];
    }
    return fabs(f(ctx, moved, NULL) - value - h * slope);
}

static void check_taylor(function f, void *ctx, int n, const double *u, const char *what)
{
    double d[MAX_N];
    uint64_t seed = 11;
    for (int i = 0; i < n; i++) {
        d[i] = test_random(&seed);
    }
    double far = remainder_of(f, ctx, n, u, d, 2e-3), near = remainder_of(f, ctx, n, u, d, 1e-3), order = log2(far / near);
    if (!(order >= 1.9 && order <= 2.1)) {
        printf("\n    %s: order %g (remainders %g, %g)", what, order, far, near);
    }
    CHECK(order >= 1.9 && order <= 2.1);
}

/* --- maps of parameters ------------------------------------------------------------------------------------------------------ */
static transform_piece pieces[] = {
    {"a", 0, 2, PARAM_FREE, -3, INFINITY, 2},
    {"b", 3, 2, PARAM_POSITIVE, 0.1, INFINITY, 1},
    {"c", 5, 3, PARAM_BETWEEN, -1, 4, 1},
};
static const transform maps = {3, pieces, 7};
static const double start[] = {1.5, -2.5, 99, 0.2, 7, -0.9, 1, 3.99}; /* value 2 is not fitted */

/* sum of (i + 1) p_i^2 / 10 at p(u) */
static double of_mapped(void *ctx, const double *u, double *g)
{
    double p[8], g_p[8], g_u[7], sum = 0;
    (void)ctx;
    memcpy(p, start, sizeof p);
    transform_out(&maps, u, p);
    for (int i = 0; i < 8; i++) {
        sum += (i + 1) * p[i] * p[i] / 10;
        g_p[i] = (i + 1) * p[i] / 5;
    }
    if (g) {
        transform_gradient(&maps, u, g_p, g_u);
        for (int i = 0; i < 7; i++) {
            g[i] += g_u[i];
        }
    }
    return sum;
}

static void parameters_are_mapped(void)
{
    double u[7], p[8] = {0}, low[7], high[7];
    int64_t which;
    transform_in(&maps, start, u);
    CHECK_NEAR(u[0], 0.75, 0, "exact");
    CHECK_NEAR(u[2], log(0.2), 1e-15, "rounding");
    CHECK_NEAR(u[6], log(4.99 / 0.01), 1e-12, "rounding of 4 - 3.99");
    transform_out(&maps, u, p);
    for (int i = 0; i < 8; i++) {
        CHECK_NEAR(p[i], i == 2 ? 0 : start[i], 1e-14, "there and back");
    }
    check_taylor(of_mapped, NULL, 7, u, "maps");
    transform_bounds(&maps, low, high);
    CHECK(low[0] == -1.5 && high[0] == INFINITY && low[6] == -INFINITY && high[6] == INFINITY);
    CHECK_NEAR(low[2], log(0.1), 1e-15, "rounding");
    u[0] = -8;
    u[2] = -50;
    u[4] = 800;
    u[5] = -800;
    transform_out(&maps, u, p);
    CHECK(p[0] == -3 && p[3] == 0.1 && p[5] == 4 && p[6] == -1);
    transform_clip(&maps, u);
    CHECK(u[0] == -1.5 && u[2] == low[2] && u[4] == 800);
    CHECK(transform_problem(&maps, start, &which) == -1);
    static const struct {
        int at;
        double value;
        int piece;
        int64_t which;
    } wrong[] = {{1, -3.5, 0, 1}, {4, 0.05, 1, 1}, {3, -1, 1, 0}, {7, 4, 2, 2}, {5, -1, 2, 0}, {0, NAN, 0, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(p, start, sizeof p);
        p[wrong[i].at] = wrong[i].value;
        CHECK(transform_problem(&maps, p, &which) == wrong[i].piece && which == wrong[i].which);
    }
}

/* --- penalties ------------------------------------------------------------------------------------------------------------- */
static double penalty_function(void *ctx, const double *u, double *g)
{
    return penalty_value(ctx, u, g);
}

static void penalties_have_their_derivatives(void)
{
    double v[MAX_N];
    uint64_t seed = 5;
    for (int i = 0; i < MAX_N; i++) {
        v[i] = 0.3 + test_random(&seed);
    }
    for (int kind = 0; kind < PENALTY_KINDS; kind++) {
        for (int zero = 0; zero < 2; zero++) {
            penalty p = {(enum penalty_kind)kind, 0.7, 7, 2 * 3 * 4 * 5, 4, {2, 3, 4, 5}, 1, zero};
            if (kind != PENALTY_L1) { /* has corners */
                check_taylor(penalty_function, &p, MAX_N, v, "penalty");
            }
            double g[MAX_N] = {0};
            penalty_value(&p, v, g);
            CHECK(g[6] == 0 && g[7 + p.n] == 0); /* what is not its own is left alone */
            CHECK(g[7] != 0 || (!zero && kind >= PENALTY_LAPLACE_SPACE));
        }
    }
    penalty one = {PENALTY_L1, 2, 0, 3, 0, {0}, 0, false};
    double w[3] = {-2, 0, 3}, g[3] = {1, 1, 1};
    CHECK_NEAR(penalty_value(&one, w, g), 10, 0, "exact");
    CHECK(g[0] == -1 && g[1] == 1 && g[2] == 3);
}

/* Closed forms: x^2 + y^2 has Laplacian 4, t^2 second difference 2, 3 t + 2 y - x first differences 3, 2, -1. */
static void penalties_have_their_values(void)
{
    enum { T = 4, Y = 5, X = 6 };
    double bowl[T * Y * X], time[T * Y * X], ramp[T * Y * X], lone[9] = {0, 0, 0, 0, 3, 0, 0, 0, 0};
    for (int i = 0; i < T * Y * X; i++) {
        int t = i / (Y * X), y = i / X % Y, x = i % X;
        bowl[i] = x * x + y * y;
        time[i] = t * t;
        ramp[i] = 3 * t + 2 * y - x;
    }
    penalty p = {PENALTY_LAPLACE_SPACE, 0.5, 0, T * Y * X, 3, {T, Y, X}, 0, false};
    CHECK_NEAR(penalty_value(&p, bowl, NULL), 0.5 * 16 * T * (Y - 2) * (X - 2), 0, "whole numbers");
    p.kind = PENALTY_LAPLACE_TIME;
    CHECK_NEAR(penalty_value(&p, time, NULL), 0.5 * 4 * (T - 2) * Y * X, 0, "whole numbers");
    p.kind = PENALTY_SMOOTH;
    CHECK_NEAR(penalty_value(&p, ramp, NULL), 0.5 * (9 * (T - 1) * Y * X + 4 * T * (Y - 1) * X + T * Y * (X - 1)), 0, "whole numbers");
    p = (penalty){PENALTY_LAPLACE_SPACE, 1, 0, 9, 2, {3, 3}, 0, true};
    CHECK_NEAR(penalty_value(&p, lone, NULL), 9 * (16 + 4), 0, "whole numbers");
    p.kind = PENALTY_SMOOTH;
    CHECK_NEAR(penalty_value(&p, lone, NULL), 9 * 4, 0, "whole numbers");
    p = (penalty){PENALTY_SMOOTH, 1, 0, 1, 0, {0}, 0, true};
    CHECK_NEAR(penalty_value(&p, lone + 4, NULL), 0, 0, "one number has no neighbours");
    double line[3] = {1, 0, 0};
    p = (penalty){PENALTY_LAPLACE_TIME, 1, 0, 3, 1, {3}, 0, false};
    CHECK_NEAR(penalty_value(&p, line, NULL), 1, 0, "1 - 0 + 0");
    p.zero_outside = true;
    CHECK_NEAR(penalty_value(&p, line, NULL), 5, 0, "-2, 1, 0");
    double groups[4] = {3, 5, 4, 12};
    p = (penalty){PENALTY_GROUP, 1, 0, 4, 2, {2, 2}, 1, false};
    CHECK_NEAR(penalty_value(&p, groups, NULL), 5 + 13, 0, "columns (3, 4) and (5, 12)");
    double nothing[4] = {0}, g[4] = {0};
    CHECK(penalty_value(&p, nothing, g) == 0 && g[0] == 0);
}

/* Rows longer than those above, which go many columns at a time: the same squares, and E(v + d) - E(v - d) = 2 g.d as E has no third derivative. */
static void penalties_of_long_rows(void)
{
    enum { T = 3, Y = 4, X = 150, N = T * Y * X };
    static double v[N], g[N], d[N], up[N], down[N];
    uint64_t seed = 11;
    for (int i = 0; i < N; i++) {
        v[i] = test_random(&seed);
        d[i] = test_random(&seed);
        up[i] = v[i] + d[i];
        down[i] = v[i] - d[i];
    }
    static const enum penalty_kind kinds[] = {PENALTY_LAPLACE_SPACE, PENALTY_LAPLACE_TIME, PENALTY_SMOOTH};
    for (int k = 0; k < 6; k++) {
        penalty p = {kinds[k / 2], 0.7, 0, N, 3, {T, Y, X}, 0, k % 2};
        double slope = 0, two = penalty_value(&p, up, NULL) - penalty_value(&p, down, NULL), value = penalty_value(&p, v, NULL);
        memset(g, 0, sizeof g);
        CHECK_NEAR(penalty_value(&p, v, g), value, 0, "the derivative beside it changes nothing");
        for (int i = 0; i < N; i++) {
            slope += g[i] * d[i];
        }
        CHECK_NEAR(2 * slope, two, 1e-10, "rounding of sums of thousands");
        double narrow = 0; /* the same columns in pieces too narrow for that, one column of copies each: Laplacian along time only */
        for (int x = 0; k / 2 == 1 && x < X; x++) {
            double column[T * Y];
            for (int i = 0; i < T * Y; i++) {
                column[i] = v[i * X + x];
            }
            penalty q = {kinds[k / 2], 0.7, 0, T * Y, 3, {T, Y, 1}, 0, k % 2};
            narrow += penalty_value(&q, column, NULL);
        }
        CHECK(k / 2 != 1 || fabs(narrow - value) < 1e-11 * value);
    }
}

static bool find_parameter(void *ctx, const char *name, int64_t *at, int64_t *n, int *ndim, int64_t dims[5])
{
    (void)ctx;
    *at = 10;
    *n = 6;
    *ndim = 2;
    dims[0] = 2;
    dims[1] = 3;
    return strcmp(name, "cnn.kernel") == 0;
}

static void penalties_are_read(void)
{
    int n;
    input *in = input_from_text(
        "penalties: [{parameter: cnn.kernel, l1: 5.5e-4, smooth: 2, outside: zero}, {parameter: cnn.kernel, group: 3, group_along: 1}]", "test", NULL,
        0);
    penalty *p = penalty_read(in, input_child(input_root(in), "penalties"), find_parameter, NULL, &n);
    CHECK(input_nproblem(in) == 0 && n == 3);
    CHECK(p[0].kind == PENALTY_L1 && p[0].weight == 5.5e-4 && p[0].at == 10 && p[0].n == 6 && p[1].kind == PENALTY_SMOOTH && p[1].zero_outside);
    CHECK(p[2].kind == PENALTY_GROUP && p[2].along == 1 && p[2].dims[1] == 3 && !p[2].zero_outside);
    memory_free(p);
    input_destroy(in);
    in = input_from_text("penalties: [{parameter: cnn.kernel, l1: 0, l2: 0}]", "test", NULL, 0); /* the end of a sweep */
    memory_free(penalty_read(in, input_child(input_root(in), "penalties"), find_parameter, NULL, &n));
    CHECK(input_nproblem(in) == 0 && n == 0);
    input_destroy(in);
    static const char *const wrong[][2] = {{"penalties: [{parameter: cnn.bias, l1: 1}]", "no stage has a parameter 'cnn.bias'"},
                                           {"penalties: [{parameter: cnn.kernel}]", "no weight"},
                                           {"penalties: [{parameter: cnn.kernel, laplace_time: 1}]", "no time"},
                                           {"penalties: [{parameter: cnn.kernel, group: 1, group_along: 2}]", "0 to 1"},
                                           {"penalties: {parameter: cnn.kernel}", "a list is wanted"}};
    for (int i = 0; i < 5; i++) {
        in = input_from_text(wrong[i][0], "test", NULL, 0);
        memory_free(penalty_read(in, input_child(input_root(in), "penalties"), find_parameter, NULL, &n));
        CHECK(n == 0 && input_nproblem(in) == 1 && strstr(input_problem_text(in, 0), wrong[i][1]));
        input_destroy(in);
    }
}

/* --- losses ------------------------------------------------------------------------------------------------------------------ */
enum { LEAVES = 2, NT = 8, CHAN = 2, ROWS = 3, COLS = 4, FRAME = CHAN * ROWS * COLS, LEAF = NT * FRAME };
static const grid_tile tiles[LEAVES] = {{0, 0, 0, ROWS, COLS}, {1, 0, COLS, ROWS - 1, COLS - 1}};
static backend *be;

static view view_of(dreal *at)
{
    return (view){at, tiles, LEAVES, CHAN, 0, LEAF, FRAME, ROWS * COLS, COLS, ROWS, COLS};
}

/* The op on frames [t, t + nt) of host arrays; weight: NULL, one frame for all, or frame by frame; g: NULL, or added to. */
static void lose(enum loss_kind kind, const double par[], int t, int nt, const real *y, const real *target, const real *weight, bool one_frame, real *g,
                 double *value)
{
    int nweight = one_frame ? FRAME : LEAVES * LEAF;
    view a = view_of(test_put(be, y, LEAVES * LEAF)), r = view_of(test_put(be, target, LEAVES * LEAF)), w = {.at = NULL}, slope = {.at = NULL};
    if (weight) {
        w = view_of(test_put(be, weight, nweight));
        w.leaf_stride = one_frame ? 0 : LEAF;
        w.frame_stride = one_frame ? 0 : FRAME;
    }
    slope = g ? view_of(test_put(be, g, LEAVES * LEAF)) : slope;
    be->ops->loss(be, kind, par, nt, view_at_frame(a, t), view_at_frame(r, t), weight ? view_at_frame(w, t) : w, g ? view_at_frame(slope, t) : slope, value);
    be->ops->sync(be);
    if (g) {
        be->ops->download(be, g, slope.at, LEAVES * LEAF);
    }
    dreal *arrays[] = {a.at, r.at, w.at, slope.at};
    for (int i = 0; i < 4; i++) {
        be->ops->release(be, arrays[i]);
    }
}

typedef struct losses {
    enum loss_kind kind;
    real *target, *weight;
} losses;

/* Of the first numbers of both leaves, as doubles. */
static double loss_function(void *ctx, const double *u, double *g)
{
    const losses *a = ctx;
    const double par[] = {1, 1e-3};
    real y[LEAVES * LEAF], slope[LEAVES * LEAF] = {0};
    double value[LEAVES] = {0};
    for (int i = 0; i < LEAVES * LEAF; i++) {
        y[i] = (real)u[i % MAX_N];
    }
    lose(a->kind, par, 0, NT, y, a->target, a->weight, false, g ? slope : NULL, value);
    for (int i = 0; g && i < LEAVES * LEAF; i++) {
        g[i % MAX_N] += (double)slope[i];
    }
    return value[0] + value[1];
}

static double plain_term(enum loss_kind kind, double y, double r)
{
    switch (kind) {
    case LOSS_POISSON:
        return y - r * log(y + 1e-3);
    case LOSS_BERNOULLI:
        return -r * log(y + 1e-3) - (1 - r) * log(1 - y + 1e-3);
    case LOSS_SQUARE:
        return (y - r) * (y - r);
    case LOSS_ACTIVITY_L1:
        return fabs(y);
    case LOSS_ACTIVITY_L2:
        return y * y;
    default:
        return r * y;
    }
}

static void losses_are_plain_sums(void)
{
    real target[LEAVES * LEAF], weight[LEAVES * LEAF];
    double y[MAX_N];
    uint64_t seed = 3;
    for (int i = 0; i < MAX_N; i++) {
        y[i] = (double)(real)(0.5 + 0.4 * test_random(&seed));
    }
    for (int i = 0; i < LEAVES * LEAF; i++) {
        weight[i] = i % 7 == 0 ? 0 : (real)(1 + test_random(&seed));
        target[i] = i % 7 == 0 ? (real)NAN : (real)(0.5 + 0.5 * test_random(&seed)); /* missing data are not looked at */
    }
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        losses a = {(enum loss_kind)kind, target, weight};
        double sum = 0;
        for (int i = 0; i < LEAVES * LEAF; i++) {
            int leaf = i / LEAF, row = i / COLS % ROWS, column = i % COLS;
            if (weight[i] != 0 && row < tiles[leaf].ny && column < tiles[leaf].nx) {
                sum += (double)weight[i] * plain_term(a.kind, y[i % MAX_N], (double)target[i]);
            }
        }
        CHECK_NEAR(loss_function(&a, y, NULL), sum, 1e-12, "300 terms of about 1 in another order; terms are double in the float program too");
        if (IN_DOUBLE && kind != LOSS_ACTIVITY_L1 && kind != LOSS_LINEAR) {
            check_taylor(loss_function, &a, MAX_N, y, "loss");
        } else if (IN_DOUBLE) {
            CHECK_NEAR(remainder_of(loss_function, &a, MAX_N, y, y, 1e-3), 0, 1e-12, "linear here: rounding alone is left");
        }
    }
}

/* The factor is that of the derivative alone; strides of 0 repeat; no weights are weights of 1; chunks leave no trace. */
static void losses_add_up(void)
{
    real y[LEAVES * LEAF], target[LEAVES * LEAF], cell[FRAME], g1[LEAVES * LEAF] = {0}, g2[LEAVES * LEAF] = {0}, full[LEAVES * LEAF];
    uint64_t seed = 9;
    for (int i = 0; i < LEAVES * LEAF; i++) {
        y[i] = (real)(1 + 0.9 * test_random(&seed));
        target[i] = (real)(1 + test_random(&seed));
        cell[i % FRAME] = (real)(i % FRAME) / 8;
        full[i] = cell[i % FRAME];
    }
    double whole[LEAVES] = {0}, parts[LEAVES] = {0}, ones[LEAVES] = {0}, par[] = {0.25, 1e-7}, unit[] = {1, 1e-7};
    lose(LOSS_POISSON, unit, 0, NT, y, target, full, false, g1, whole);
    for (int t = 0; t < NT; t += t == 0 ? 3 : 5) {
        lose(LOSS_POISSON, par, t, t == 0 ? 3 : 5, y, target, cell, true, g2, parts);
    }
    CHECK(whole[0] == parts[0] && whole[1] == parts[1]);
    bool quarter = true;
    for (int i = 0; i < LEAVES * LEAF; i++) {
        quarter = quarter && g1[i] == 4 * g2[i]; /* a power of 2 does not round */
        full[i] = 1;
    }
    CHECK(quarter && whole[0] != 0);
    whole[0] = whole[1] = 0;
    lose(LOSS_POISSON, unit, 0, NT, y, target, NULL, false, NULL, ones);
    lose(LOSS_POISSON, unit, 0, NT, y, target, full, false, NULL, whole);
    CHECK(ones[0] == whole[0] && ones[1] == whole[1]);
}

static void weights_are_made(void)
{
    loss_settings s;
    input *in = input_from_text("{mask_steps: [12, 14], activity: [{stage: d, l1: 1e-3}], weight: 2}", "test", NULL, 0);
    loss_read(in, input_root(in), &s);
    CHECK(input_nproblem(in) == 0 && s.type == LOSS_TYPE_POISSON && s.reduce == LOSS_MEAN && s.epsilon == 1e-7 && s.nactivity == 1);
    CHECK(s.nactivity == 1 && s.activity[0].l1 == 1e-3 && s.activity[0].l2 == 0 && s.weight == 2);
    CHECK_TEXT(s.activity[0].stage, "d");
    static const double cells[3] = {1, 0, 2};
    bool counted[18];
    real w[18];
    for (int i = 0; i < 18; i++) {
        counted[i] = i != 17;
    }
    CHECK(loss_weights(&s, 10, 6, 11, 3, cells, counted, w) == 5); /* steps 11, 14, 15; cells 0 and 2; one missing */
    static const real wanted[18] = {0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 2, 1, 0, 0};
    CHECK(memcmp(w, wanted, sizeof w) == 0);
    CHECK(loss_weights(&s, 0, 6, 0, 3, NULL, NULL, w) == 18 && w[7] == 1);
    CHECK(loss_factor(2, LOSS_MEAN, 8) == 0.25 && loss_factor(2, LOSS_SUM, 8) == 2 && loss_factor(2, LOSS_MEAN, 0) == 0);
    input_destroy(in);
    static const char *const wrong[][2] = {{"{mask_steps: [3]}", "pairs"}, {"{type: mse}", "squared"}, {"{activity: {stage: a}}", "a list"}};
    for (int i = 0; i < 3; i++) {
        in = input_from_text(wrong[i][0], "test", NULL, 0);
        loss_read(in, input_root(in), &s);
        CHECK(input_nproblem(in) == 1 && strstr(input_problem_text(in, 0), wrong[i][1]));
        input_destroy(in);
    }
}

enum { CELLS = 3, COURSE = 60 };
static real course[COURSE * CELLS], course_weight[COURSE * CELLS];

/* 2.5 times the sum over cells of 1 - r of 180 outputs. */
static double correlation_function(void *ctx, const double *u, double *g)
{
    real y[COURSE * CELLS], slope_y[COURSE * CELLS];
    loss_moments m[CELLS] = {{0, 0, 0, 0, 0, 0}};
    loss_slope slope[CELLS];
    (void)ctx;
    for (int i = 0; i < COURSE * CELLS; i++) {
        y[i] = (real)u[i];
    }
    for (int t = 0; t < COURSE; t += 20) {
        loss_moments_add(20, CELLS, CELLS, y + t * CELLS, course + t * CELLS, course_weight + t * CELLS, m);
    }
    double sum = loss_correlation(CELLS, m, 2.5, slope);
    loss_correlation_back(COURSE, CELLS, CELLS, y, course, slope, slope_y);
    for (int i = 0; g && i < COURSE * CELLS; i++) {
        g[i] += course_weight[i] != 0 ? (double)(course_weight[i] * slope_y[i]) : 0;
    }
    return 2.5 * sum;
}

static void correlation_is_pearsons(void)
{
    double y[COURSE * CELLS], sum = 0;
    uint64_t seed = 21;
    for (int i = 0; i < COURSE * CELLS; i++) {
        course[i] = (real)test_random(&seed);
        y[i] = (double)(real)((double)course[i] + 0.5 * test_random(&seed) + 3);
        course_weight[i] = (real)(i % 5 != 0);
        if (i % 5 == 0) {
            course[i] = (real)NAN;
        }
    }
    for (int c = 0; c < CELLS; c++) {
        double n = 0, my = 0, mr = 0, yy = 0, rr = 0, yr = 0;
        for (int i = c; i < COURSE * CELLS; i += CELLS) {
            n += i % 5 != 0;
            my += i % 5 != 0 ? y[i] : 0;
            mr += i % 5 != 0 ? (double)course[i] : 0;
        }
        for (int i = c; i < COURSE * CELLS; i += CELLS) {
            double a = y[i] - my / n, b = (double)course[i] - mr / n;
            yy += i % 5 != 0 ? a * a : 0;
            rr += i % 5 != 0 ? b * b : 0;
            yr += i % 5 != 0 ? a * b : 0;
        }
        sum += 2.5 * (1 - yr / sqrt(yy * rr));
    }
    CHECK_NEAR(correlation_function(NULL, y, NULL), sum, 1e-12, "raw moments in double lose (mean / sd)^2, some 30, of 1e-16");
    if (IN_DOUBLE) {
        check_taylor(correlation_function, NULL, COURSE * CELLS, y, "correlation");
    }
    loss_moments m[3] = {
        {4, 8, 2, 16, 3, 4}, {4, 1, 2, 16, 3, 4}, {0, 0, 0, 0, 0, 0}}; /* the first y is 2 all the time; nothing counted in the last */
    loss_slope slope[3];
    CHECK(loss_correlation_count(3, m) == 1);
    loss_correlation(3, m, 1, slope);
    CHECK(slope[0].by_y == 0 && slope[0].by_target == 0 && slope[0].constant == 0 && slope[1].by_y != 0 && slope[2].by_target == 0);
}

/* --- the published network: convolution 4 @ 7x7 of 20 frames, rectifier, dense, a softplus(b x), Poisson loss, penalties ----------- */
enum {
    BATCH = 64,
    LAGS = 20,
    SIDE = 8,
    FILTERS = 4,
    KERNEL = 7,
    OUT = SIDE - KERNEL + 1,
    NW = FILTERS * LAGS * KERNEL * KERNEL,
    NHIDDEN = FILTERS * OUT * OUT
};
enum { AT_W = 0, AT_B = NW, AT_D = AT_B + FILTERS, AT_C = AT_D + NHIDDEN, AT_ALPHA = AT_C + 1, AT_BETA = AT_ALPHA + 1, NPAR = AT_BETA + 1 };
static const struct {
    const char *name;
    int at;
} places[] = {{"W", AT_W}, {"b", AT_B}, {"D", AT_D}, {"c", AT_C}, {"al", AT_ALPHA}, {"be", AT_BETA}};

static struct network {
    double x[BATCH][LAGS][SIDE][SIDE], target[BATCH], y[BATCH];
    double hidden[BATCH][NHIDDEN], dense[BATCH];
} net;

static void read_golden(store *s, const char *prefix, const char *name, double *to)
{
    char full[40];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    CHECK(store_read(s, full, STORE_F64, NULL, NULL, to));
}

static void network_forward(const double *p)
{
    for (int n = 0; n < BATCH; n++) {
        net.dense[n] = p[AT_C];
        for (int h = 0; h < NHIDDEN; h++) {
            int f = h / (OUT * OUT), y = h / OUT % OUT, x = h % OUT;
            double sum = p[AT_B + f];
            for (int i = 0; i < LAGS * KERNEL * KERNEL; i++) {
                int ky = i / KERNEL % KERNEL, kx = i % KERNEL;
                sum += net.x[n][i / (KERNEL * KERNEL)][y + ky][x + kx] * p[AT_W + f * LAGS * KERNEL * KERNEL + i];
            }
            net.hidden[n][h] = sum;
            net.dense[n] += fmax(sum, 0) * p[AT_D + h];
        }
        net.y[n] = p[AT_ALPHA] * log1p(exp(p[AT_BETA] * net.dense[n]));
    }
}

static void network_backward(const double *p, const double *g_y, const double *g_dense, double *g)
{
    for (int n = 0; n < BATCH; n++) {
        double z = p[AT_BETA] * net.dense[n], slope = p[AT_ALPHA] / (1 + exp(-z));
        g[AT_ALPHA] += g_y[n] * log1p(exp(z));
        g[AT_BETA] += g_y[n] * slope * net.dense[n];
        double g_x = g_y[n] * slope * p[AT_BETA] + g_dense[n];
        g[AT_C] += g_x;
        for (int h = 0; h < NHIDDEN; h++) {
            if (net.hidden[n][h] > 0) {
                int f = h / (OUT * OUT), y = h / OUT % OUT, x = h % OUT;
                double g_hidden = g_x * p[AT_D + h];
                g[AT_D + h] += g_x * net.hidden[n][h];
                g[AT_B + f] += g_hidden;
                for (int i = 0; i < LAGS * KERNEL * KERNEL; i++) {
                    int ky = i / KERNEL % KERNEL, kx = i % KERNEL;
                    g[AT_W + f * LAGS * KERNEL * KERNEL + i] += g_hidden * net.x[n][i / (KERNEL * KERNEL)][y + ky][x + kx];
                }
            }
        }
    }
}

/* The loss with our ops on 64 steps of one cell: value, and its derivative by the output. */
static double network_loss(enum loss_kind kind, double factor, const double *y, const double *target, double *g_y)
{
    real a[BATCH], b[BATCH], g[BATCH];
    double value = 0, par[] = {factor, 1e-7};
    static const grid_tile one = {0, 0, 0, 1, 1};
    for (int n = 0; n < BATCH; n++) {
        a[n] = (real)y[n];
        b[n] = target ? (real)target[n] : 0;
        g[n] = 0;
    }
    view v = {test_put(be, a, BATCH), &one, 1, 1, 0, BATCH, 1, 1, 1, 1, 1}, r = v, slope = v, none = {.at = NULL};
    r.at = target ? test_put(be, b, BATCH) : NULL;
    slope.at = test_put(be, g, BATCH);
    be->ops->loss(be, kind, par, BATCH, v, r, none, slope, &value);
    be->ops->sync(be);
    be->ops->download(be, g, slope.at, BATCH);
    be->ops->release(be, v.at);
    be->ops->release(be, r.at);
    be->ops->release(be, slope.at);
    for (int n = 0; n < BATCH; n++) {
        g_y[n] = (double)g[n];
    }
    return factor * value;
}

static double network_gradient(const double *p, double *g, double *nll)
{
    static const penalty penalties[] = {{PENALTY_L1, 5.5e-4, AT_W, NW, 0, {0}, 0, false},
                                        {PENALTY_L2, 1e-3, AT_W, NW, 0, {0}, 0, false},
                                        {PENALTY_L2, 1e-3, AT_D, NHIDDEN, 0, {0}, 0, false}};
    double g_y[BATCH], g_dense[BATCH];
    memset(g, 0, NPAR * sizeof *g);
    network_forward(p);
    *nll = network_loss(LOSS_POISSON, loss_factor(1, LOSS_MEAN, BATCH), net.y, net.target, g_y);
    double total = *nll + network_loss(LOSS_ACTIVITY_L1, loss_factor(1e-3, LOSS_MEAN, BATCH), net.dense, NULL, g_dense);
    network_backward(p, g_y, g_dense, g);
    for (int k = 0; k < 3; k++) {
        total += penalty_value(&penalties[k], p, g);
    }
    return total;
}

static void published_network_is_trained(void)
{
    const char *why;
    store *s = store_open_read("tests/golden/cnn_grad.h5", &why);
    CHECK(s != NULL);
    if (!s) {
        return;
    }
    double p[NPAR], g[NPAR], wanted_g[NPAR], wanted_p[NPAR], loss[10], nll[10], worst_g = 0, worst_p = 0, one;
    const double rounding = IN_DOUBLE ? 1e-10 : 1e-5;
    read_golden(s, "", "X", &net.x[0][0][0][0]);
    read_golden(s, "", "t", net.target);
    read_golden(s, "", "loss", loss);
    read_golden(s, "", "nll", nll);
    for (int k = 0; k < 6; k++) {
        read_golden(s, "P0_", places[k].name, p + places[k].at);
        read_golden(s, "G_", places[k].name, wanted_g + places[k].at);
        read_golden(s, "P10_", places[k].name, wanted_p + places[k].at);
    }
    store_close_read(s);
    CHECK_NEAR(loss[0], 41.64165959800079, 0, "the number in cnn-retina.md");
    optim_settings settings;
    input *in = input_from_text("{method: adam}", "test", NULL, 0);
    optim_read(in, input_root(in), &settings);
    optim *o = optim_create(&settings, NPAR);
    for (int step = 0; step < 10; step++) {
        CHECK_NEAR(network_gradient(p, g, &one), loss[step], rounding, "1e-10 as promised; float: y is rounded");
        CHECK_NEAR(one, nll[step], rounding, "the same");
        for (int i = 0; step == 0 && i < NPAR; i++) {
            worst_g = fmax(worst_g, fabs(g[i] - wanted_g[i]));
        }
        CHECK(optim_step(o, p, g, loss[step], optim_rate(&settings, step, 10, 0)) == OPTIM_GO);
    }
    for (int i = 0; i < NPAR; i++) {
        worst_p = fmax(worst_p, fabs(p[i] - wanted_p[i]));
    }
    CHECK_NEAR(worst_g, 0, IN_DOUBLE ? 1e-10 : 1e-5, "1e-10 as promised; float: derivatives by y are rounded");
    CHECK_NEAR(worst_p, 0, IN_DOUBLE ? 1e-10 : 1e-6, "Adam divides a gradient by its size: its relative error, times 10 steps of 1e-3");
    optim_destroy(o);
    input_destroy(in);
}

static void all_tests_begin(void) /* opens the backend that the others use */
{
    be = test_backend(1);
    CHECK(be != NULL);
}

TEST_MAIN("fit", {"a backend opens", all_tests_begin}, {"parameters are mapped", parameters_are_mapped},
          {"penalties have their derivatives", penalties_have_their_derivatives}, {"penalties have their values", penalties_have_their_values},
          {"penalties of long rows", penalties_of_long_rows},
          {"penalties are read", penalties_are_read}, {"losses are plain sums", losses_are_plain_sums}, {"losses add up", losses_add_up},
          {"weights are made", weights_are_made}, {"correlation is Pearson's", correlation_is_pearsons},
          {"the published network is trained", published_network_is_trained})

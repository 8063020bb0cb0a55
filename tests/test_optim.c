/* test_optim.c - optimisers: steps against PyTorch's, searches on functions whose minima are known, schedules, when a fit ends, restart. */
#include "base/memory.h"
#include "base/threads.h"
#include "fit/optim.h"
#include "fit/stopping.h"
#include "input/input.h"
#include "test.h"

/* The `optimiser` section written in a text; a problem fails the test. */
static optim_settings settings(const char *text)
{
    optim_settings s;
    input *in = input_from_text(text, "test", NULL, 0);
    optim_read(in, input_root(in), &s);
    CHECK(input_nproblem(in) == 0);
    static char method[8][64], local[8][64]; /* they outlive the input */
    static int next;
    next = (next + 1) % 8;
    snprintf(method[next], sizeof *method, "%s", s.method);
    snprintf(local[next], sizeof *local, "%s", s.local);
    s.method = method[next];
    s.local = local[next];
    input_destroy(in);
    return s;
}

static double rosenbrock(const double *u, double *g)
{
    double a = u[1] - u[0] * u[0], b = 1 - u[0];
    if (g) {
        g[0] = -400 * u[0] * a - 2 * b;
        g[1] = 200 * a;
    }
    return 100 * a * a + b * b;
}

/* --- steps --------------------------------------------------------------------------------------------------------------- */
static void walk(optim *o, double *u, int nstep)
{
    double g[2];
    for (int i = 0; i < nstep; i++) {
        double loss = rosenbrock(u, g);
        CHECK(optim_step(o, u, g, loss, 1e-4) == OPTIM_GO);
    }
}

/* After 25 steps on Rosenbrock's function from (-1.2, 1), as torch.optim of PyTorch 2.15 in float64 leaves it. */
static void steps_are_pytorchs(void)
{
    static const struct {
        const char *text;
        double rate, u[2];
    } cases[] = {
        {"{method: sgd, momentum: 0.9, weight_decay: 0.01}", 1e-4, {-0.9810602743922389, 1.012038875783338}},
        {"{method: sgd, momentum: 0.9, nesterov: true}", 1e-4, {-1.001910919289769, 1.0250585052092136}},
        {"{method: adam, epsilon: 1e-3, weight_decay: 0.1, epsilon_form: torch}", 0.05, {-1.0076948220861544, 1.0951670743643982}},
        {"{method: adamw, beta1: 0.8, beta2: 0.99, weight_decay: 0.5, epsilon_form: torch}", 0.05, {-0.638919019760694, 0.4379259367832267}},
        {"{method: rprop}", 0.01, {-1.0357312919257087, 1.0839512231297022}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        optim_settings s = settings(cases[c].text);
        optim *o = optim_create(&s, 2);
        double u[2] = {-1.2, 1}, g[2];
        for (int i = 0; i < 25; i++) {
            double loss = rosenbrock(u, g);
            optim_step(o, u, g, loss, cases[c].rate);
        }
        CHECK_NEAR(u[0], cases[c].u[0], 1e-12, "25 steps of double, other order of the same sums; the valley widens errors");
        CHECK_NEAR(u[1], cases[c].u[1], 1e-12, "the same");
        optim_destroy(o);
    }
}

/* Keras adds epsilon to the biased root: a large epsilon tells the two forms apart. */
static void adam_is_keras(void)
{
    optim_settings s = settings("{method: adam, epsilon: 0.5}");
    optim *o = optim_create(&s, 1);
    double u = 3, p = 3, m = 0, v = 0;
    for (int t = 1; t <= 10; t++) {
        double g = 2 * p, mine = 2 * u;
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        p -= 0.1 * sqrt(1 - pow(0.999, t)) / (1 - pow(0.9, t)) * m / (sqrt(v) + 0.5);
        optim_step(o, &u, &mine, u * u, 0.1);
    }
    CHECK_NEAR(u, p, 1e-14, "the same sums in another order, ten times");
    CHECK(fabs(u - 3) > 0.05);
    optim_destroy(o);
}

static void gradients_are_clipped(void)
{
    optim_settings s = settings("{method: sgd, clip: 2}");
    optim *o = optim_create(&s, 2);
    double u[2] = {0, 0}, longer[2] = {3, -4}, shorter[2] = {0.3, 0.4};
    optim_step(o, u, longer, 1, 1);
    CHECK_NEAR(u[0], -1.2, 1e-15, "rounding");
    CHECK_NEAR(u[1], 1.6, 1e-15, "rounding");
    optim_step(o, u, shorter, 1, 1);
    CHECK_NEAR(u[0], -1.5, 1e-15, "rounding");
    CHECK_NEAR(u[1], 1.2, 1e-15, "rounding");
    CHECK_NEAR(optim_norm(longer, 2), 5, 0, "whole numbers");
    optim_destroy(o);
}

/* mean_t = 0.75 mean_(t-1) + 0.25 u_t, begun with the u after the first step. */
static void mean_follows(void)
{
    optim_settings s = settings("{method: sgd, ema: 0.75}");
    optim *o = optim_create(&s, 1);
    double u = 0, g = -4, mean = 0;
    for (int t = 1; t <= 5; t++) {
        optim_step(o, &u, &g, 1, 1);
        mean = t == 1 ? 4 : 0.75 * mean + 0.25 * 4 * t;
        CHECK_NEAR(*optim_mean(o), mean, 1e-14, "rounding");
    }
    optim_destroy(o);
    s.ema = 0;
    o = optim_create(&s, 1);
    CHECK(optim_mean(o) == NULL);
    optim_destroy(o);
}

/* Stopped after 10 of 25 steps, all arrays and counters handed to another optimiser: the same bits. */
static void restart_goes_on(void)
{
    static const char *const texts[] = {"{method: sgd, momentum: 0.9, ema: 0.9}", "{method: adam, ema: 0.5}", "{method: adamw, weight_decay: 0.1}",
                                        "{method: rprop}"};
    for (int c = 0; c < 4; c++) {
        optim_settings s = settings(texts[c]);
        optim *whole = optim_create(&s, 2), *first = optim_create(&s, 2), *second = optim_create(&s, 2);
        double u[2] = {-1.2, 1}, v[2] = {-1.2, 1};
        const char *name, *same;
        walk(whole, u, 25);
        walk(first, v, 10);
        for (int i = 0; i < optim_narray(first); i++) {
            double *from = optim_array(first, i, &name), *to = optim_array(second, i, &same);
            memcpy(to, from, 2 * sizeof *to);
            CHECK_TEXT(name, same);
        }
        memcpy(optim_counts(second), optim_counts(first), (size_t)optim_ncount(first) * sizeof(int64_t));
        walk(second, v, 15);
        CHECK(memcmp(u, v, sizeof u) == 0);
        CHECK(!optim_mean(whole) || memcmp(optim_mean(whole), optim_mean(second), sizeof u) == 0);
        optim_destroy(whole);
        optim_destroy(first);
        optim_destroy(second);
    }
}

static void steps_end(void)
{
    optim_settings s = settings("{method: adam, max_steps: 3, target: 0.5}");
    optim *o = optim_create(&s, 2);
    double u[2] = {1, 2}, g[2] = {1, NAN}, good[2] = {1, 1};
    CHECK(optim_step(o, u, g, 1, 0.1) == OPTIM_NOT_FINITE);
    CHECK(optim_bad(g, 2) == 1);
    CHECK(optim_step(o, u, good, INFINITY, 0.1) == OPTIM_NOT_FINITE);
    CHECK(optim_step(o, u, good, 0.5, 0.1) == OPTIM_TARGET);
    CHECK(u[0] == 1 && u[1] == 2);
    CHECK(optim_step(o, u, good, 1, 0.1) == OPTIM_GO);
    CHECK(optim_step(o, u, good, 1, 0.1) == OPTIM_GO);
    CHECK(optim_step(o, u, good, 1, 0.1) == OPTIM_MAX_STEPS);
    CHECK(u[0] < 1);
    optim_destroy(o);
}

static void rates(void)
{
    const char *why = "rounding";
    optim_settings s = settings("{rate: 0.1, warmup_steps: 4}");
    CHECK_NEAR(optim_rate(&s, 0, 100, 0), 0.025, 1e-16, why);
    CHECK_NEAR(optim_rate(&s, 3, 100, 0), 0.1, 1e-16, why);
    CHECK_NEAR(optim_rate(&s, 99, 100, 7), 0.1, 1e-16, why);
    s = settings("{rate: 1, warmup_steps: 10, schedule: cosine, smallest_rate: 0.2}");
    CHECK_NEAR(optim_rate(&s, 4, 110, 0), 0.5, 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 10, 110, 0), 1, 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 60, 110, 0), 0.6, 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 35, 110, 0), 0.2 + 0.4 * (1 + sqrt(0.5)), 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 500, 110, 0), 0.2, 1e-15, why);
    s = settings("{rate: 1, schedule: steps, schedule_steps: 50, schedule_factor: 0.5, smallest_rate: 0.2}");
    CHECK_NEAR(optim_rate(&s, 49, 0, 0), 1, 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 50, 0, 0), 0.5, 1e-15, why);
    CHECK_NEAR(optim_rate(&s, 1000, 0, 0), 0.2, 1e-15, why);
    s = settings("{rate: 1, schedule: plateau}");
    CHECK_NEAR(optim_rate(&s, 49, 0, 2), 0.09, 1e-15, why);
}

/* --- when it ends ---------------------------------------------------------------------------------------------------------- */
static void patience_ends(void)
{
    static const double score[] = {0.1, 0.5, 0.505, 0.4, 0.51, 0.3, 0.2, NAN, 0.1, 0.1};
    static const bool kept[] = {false, true, false, false, false, false, false, false, false, false};
    stopping_settings rule = {.patience = 7, .least = 0.01, .first = 1};
    stopping now = stopping_start();
    for (int i = 0; i < 10; i++) {
        CHECK(!stopping_wanted(&rule, &now) || i == 9);
        CHECK(stopping_look(&rule, 3, score[i], &now) == kept[i]);
    }
    CHECK(stopping_wanted(&rule, &now));
    CHECK(now.best_at == 1 && now.best == 0.5 && now.stalled == 8 && now.neval == 10);
    CHECK(now.nreduction == 2); /* after 3 and 6 without a better one */
    CHECK(stopping_look(&rule, 3, 0.52, &now) && now.stalled == 0 && now.waited == 0 && now.nreduction == 2);
    rule.patience = 0;
    for (int i = 0; i < 1000; i++) {
        stopping_look(&rule, 0, 0, &now);
    }
    CHECK(!stopping_wanted(&rule, &now) && now.nreduction == 2);
}

/* --- searches ------------------------------------------------------------------------------------------------------------ */
typedef struct game {
    int64_t nvalue, stop_at, nan_at;
    double best;
    bool gradient_asked;
} game;

static double play(void *ctx, const double *u, double *g)
{
    game *a = ctx;
    a->nvalue++;
    a->gradient_asked = a->gradient_asked || g;
    double loss = rosenbrock(u, g);
    a->best = loss < a->best ? loss : a->best;
    return a->nvalue == a->nan_at ? NAN : loss;
}

static bool enough(void *ctx)
{
    const game *a = ctx;
    return a->stop_at > 0 && a->nvalue >= a->stop_at;
}

static const double low[] = {-2, -1.5}, high[] = {2, 3};

static const char *const local_methods[] = {
    "lbfgs",      "var1",  "var2",  "tnewton", "tnewton_restart", "tnewton_precond", "tnewton_precond_restart",
    "mma",        "ccsaq", "slsqp", "cobyla",  "bobyqa",          "newuoa",          "newuoa_bound",
    "neldermead", "sbplx", "praxis"};
static const char *const global_methods[] = {
    "direct",  "direct_l", "direct_l_rand", "direct_noscal", "direct_l_noscal", "direct_l_rand_noscal", "orig_direct", "orig_direct_l",
    "crs2_lm", "isres",    "esch",          "ags",           "stogo",           "stogo_rand",           "mlsl",        "mlsl_lds"};
enum { NLOCAL = sizeof local_methods / sizeof *local_methods, NGLOBAL = sizeof global_methods / sizeof *global_methods };

static void local_searches_find(void)
{
    for (int i = 0; i < NLOCAL; i++) {
        char text[100];
        snprintf(text, sizeof text, "{method: %s, max_steps: 20000, tolerance: 1e-14, parameter_tolerance: 1e-10}", local_methods[i]);
        optim_settings s = settings(text);
        game a = {.best = INFINITY};
        double u[2] = {-1.2, 1}, loss;
        enum optim_stop why = optim_search(&s, &(optim_problem){&a, 2, play, enough, NULL, NULL}, u, &loss);
        bool found = fabs(u[0] - 1) < 2e-3 && fabs(u[1] - 1) < 4e-3; /* where the function is below 4e-6: what a tolerance of the loss can tell */
        if (!found || why < OPTIM_ROUNDOFF || why == OPTIM_NOT_FINITE || why == OPTIM_FAILED) {
            printf("\n    %s: %g %g, %s", s.method, u[0], u[1], optim_stop_text(why));
        }
        CHECK(found);
        CHECK(why == OPTIM_CONVERGED || why == OPTIM_ROUNDOFF || why == OPTIM_MAX_STEPS);
        CHECK(loss == a.best && a.nvalue <= 20000);
        CHECK(a.gradient_asked == optim_needs_gradient(&s) && optim_is_search(&s) && !optim_needs_bounds(&s));
    }
}

static void global_searches_find(void)
{
    for (int i = 0; i < NGLOBAL; i++) {
        char text[100];
        if (!strstr(search_names(), global_methods[i])) { /* NLopt was built without C++ */
            CHECK(strstr("ags stogo stogo_rand", global_methods[i]) != NULL);
            continue;
        }
        snprintf(text, sizeof text, "{method: %s, max_steps: 20000, target: 1e-3}", global_methods[i]);
        optim_settings s = settings(text);
        game a = {.best = INFINITY};
        double u[2] = {-1.2, 1}, loss;
        enum optim_stop why = optim_search(&s, &(optim_problem){&a, 2, play, enough, low, high}, u, &loss);
        if (why != OPTIM_TARGET || !(loss <= 1e-3)) {
            printf("\n    %s: %g %g, %s", s.method, u[0], u[1], optim_stop_text(why));
        }
        CHECK(why == OPTIM_TARGET);
        CHECK(loss <= 1e-3 && loss == a.best);
        CHECK(optim_needs_bounds(&s));
    }
}

/* (x - 3)^2 + (y + 1)^2 + (x - 3)(y + 1)/2 inside [0, 1] x [0, 2]: least in the corner (1, 0). */
static double corner(void *ctx, const double *u, double *g)
{
    double a = u[0] - 3, b = u[1] + 1;
    (void)ctx;
    if (g) {
        g[0] = 2 * a + b / 2;
        g[1] = 2 * b + a / 2;
    }
    return a * a + b * b + a * b / 2;
}

static void bounds_hold(void)
{
    static const double floor_[] = {0, 0}, top[] = {1, 2};
    for (int i = 0; i < NLOCAL; i++) {
        char text[100];
        snprintf(text, sizeof text, "{method: %s, max_steps: 5000, parameter_tolerance: 1e-9}", local_methods[i]);
        if (strcmp(local_methods[i], "newuoa") == 0 || strcmp(local_methods[i], "praxis") == 0) { /* know no bounds */
            continue;
        }
        optim_settings s = settings(text);
        double u[2] = {0.4, 9}, loss; /* the start is outside and is moved inside */
        enum optim_stop why = optim_search(&s, &(optim_problem){NULL, 2, corner, NULL, floor_, top}, u, &loss);
        CHECK(u[0] >= 0 && u[0] <= 1 && u[1] >= 0 && u[1] <= 2);
        if (fabs(u[0] - 1) > 1e-5 || fabs(u[1]) > 1e-5) {
            printf("\n    %s: %g %g, %s", s.method, u[0], u[1], optim_stop_text(why));
        }
        CHECK_NEAR(u[0], 1, 1e-5, "slope 3.5: the loss is told apart to 1e-10");
        CHECK_NEAR(u[1], 0, 1e-5, "slope 1");
    }
}

static void searches_are_stopped(void)
{
    static const char *const some[] = {"lbfgs",       "slsqp", "neldermead", "cobyla", "crs2_lm", "direct_l",
                                       "orig_direct", "isres", "mlsl",       "esch",   "praxis"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char text[100];
        double u[2] = {-1.2, 1}, loss;
        snprintf(text, sizeof text, "{method: %s, max_steps: 11}", some[i]);
        optim_settings s = settings(text);
        game a = {.stop_at = 7, .best = INFINITY};
        CHECK(optim_search(&s, &(optim_problem){&a, 2, play, enough, low, high}, u, &loss) == OPTIM_INTERRUPTED);
        CHECK(a.nvalue == 7 && loss == a.best && rosenbrock(u, NULL) == loss);
        u[0] = -1.2;
        u[1] = 1;
        a = (game){.nan_at = 5, .best = INFINITY};
        CHECK(optim_search(&s, &(optim_problem){&a, 2, play, enough, low, high}, u, &loss) == OPTIM_NOT_FINITE);
        CHECK(a.nvalue == 5 && isfinite(loss) && rosenbrock(u, NULL) == loss);
        u[0] = -1.2;
        u[1] = 1;
        a = (game){.best = INFINITY};
        CHECK(optim_search(&s, &(optim_problem){&a, 2, play, enough, low, high}, u, &loss) == OPTIM_MAX_STEPS);
        CHECK(a.nvalue == 11 && loss == a.best);
    }
}

static void seeds_repeat(void)
{
    static const char *const some[] = {"crs2_lm", "isres", "esch", "direct_l_rand"};
    for (int i = 0; i < 4; i++) {
        double u[3][2], loss[3];
        for (int k = 0; k < 3; k++) {
            char text[100];
            snprintf(text, sizeof text, "{method: %s, max_steps: 200, seed: %d}", some[i], k == 2 ? 8 : 7);
            optim_settings s = settings(text);
            game a = {.best = INFINITY};
            u[k][0] = -1.2;
            u[k][1] = 1;
            optim_search(&s, &(optim_problem){&a, 2, play, NULL, low, high}, u[k], &loss[k]);
        }
        CHECK(memcmp(u[0], u[1], sizeof u[0]) == 0);
        CHECK(memcmp(u[0], u[2], sizeof u[0]) != 0 || i == 3); /* direct_l_rand draws rarely */
    }
}

/* --- many numbers ---------------------------------------------------------------------------------------------------------- */
/* In blocks over threads, or a few of them alone: the same bits for each number. */
static void blocks_and_threads_change_nothing(void)
{
    enum { N = 200003, FIRST = 65530, FEW = 13, STEPS = 3 };
    static const char *const texts[] = {"{method: adam, weight_decay: 0.1, ema: 0.9}", "{method: adamw, weight_decay: 0.1}",
                                        "{method: sgd, momentum: 0.9, nesterov: true}", "{method: rprop}"};
    double *u[2], *g = MEMORY_NEW(double, N), few[FEW];
    for (int k = 0; k < 2; k++) {
        u[k] = MEMORY_NEW(double, N);
    }
    for (size_t c = 0; c < sizeof texts / sizeof *texts; c++) {
        optim_settings s = settings(texts[c]);
        optim *o[3] = {optim_create(&s, N), optim_create(&s, N), optim_create(&s, FEW)};
        uint64_t seed = 3;
        for (int i = 0; i < N; i++) {
            u[0][i] = u[1][i] = test_random(&seed);
        }
        memcpy(few, u[0] + FIRST, sizeof few);
        for (int step = 0; step < STEPS; step++) {
            for (int i = 0; i < N; i++) {
                g[i] = test_random(&seed);
            }
            threads_use(1);
            optim_step(o[0], u[0], g, 1, 0.01);
            threads_use(2);
            optim_step(o[1], u[1], g, 1, 0.01);
            optim_step(o[2], few, g + FIRST, 1, 0.01);
        }
        CHECK(memcmp(u[0], u[1], N * sizeof *g) == 0);
        CHECK(memcmp(u[0] + FIRST, few, sizeof few) == 0);
        for (int k = 0; k < 3; k++) {
            optim_destroy(o[k]);
        }
    }
    g[N - 1] = -INFINITY;
    CHECK(optim_bad(g, N) == N - 1 && optim_bad(g, N - 1) == -1);
    g[4711] = NAN;
    CHECK(optim_bad(g, N) == 4711);
    threads_use(1);
    memory_free(u[0]);
    memory_free(u[1]);
    memory_free(g);
}

/* --- at the door --------------------------------------------------------------------------------------------------------- */
static void problems_are_told(void)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"{method: adagrad}", "unknown method 'adagrad'; allowed: sgd, adam, adamw, rprop, lbfgs"},
        {"{method: adagrad}", "mlsl_lds"},
        {"{schedule: steps}", "needs schedule_steps"},
        {"{beta1: 1}", "must be below 1"},
        {"{method: crs2_lm}", "give max_steps"},
        {"{method: bobyqa, parameter_tolerance: 0}", "above 0"},
        {"{method: mlsl, max_steps: 10, local: isres}", "no local search"},
        {"{rate: 0}", "out of range"},
        {"{learning_rate: 1}", "learning_rate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        optim_settings s;
        input *in = input_from_text(cases[i].text, "test", NULL, 0);
        optim_read(in, input_root(in), &s);
        CHECK(input_nproblem(in) == 1);
        CHECK(input_nproblem(in) > 0 && strstr(input_problem_text(in, 0), cases[i].wanted));
        input_destroy(in);
    }
}

TEST_MAIN("optim", {"steps are those of PyTorch", steps_are_pytorchs}, {"Adam is Keras' by default", adam_is_keras},
          {"gradients are clipped", gradients_are_clipped}, {"the running mean follows", mean_follows}, {"a restart goes on", restart_goes_on},
          {"steps end", steps_end}, {"rates follow schedules", rates}, {"patience ends a fit", patience_ends},
          {"local searches find the minimum", local_searches_find}, {"global searches find it", global_searches_find}, {"bounds hold", bounds_hold},
          {"searches are stopped", searches_are_stopped}, {"seeds repeat", seeds_repeat},
          {"blocks and threads change nothing", blocks_and_threads_change_nothing}, {"problems are told", problems_are_told})

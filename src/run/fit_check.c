/* fit_check.c - Taylor test: |L(u + h d) - L(u) - h g.d| must fall with h^2, on the user's own model and data.  Penalties are left out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

/* Steps h0, h0/2, ...: in float the loss itself is rounded at 1e-7, which leaves room for large steps alone. */
enum { NSTEP = 6 };
static const double FIRST_STEP = sizeof(real) == sizeof(double) ? 1e-3 : 0.2;
static const double NOISE = sizeof(real) == sizeof(double) ? 1e-12 : 3e-6; /* relative, of a loss: rounding of a long sum */

typedef struct taylor {
    double slope, remainder[NSTEP], order; /* order NAN: nothing above rounding */
    enum { RIGHT, UNCLEAR, WRONG } verdict;
} taylor;

static double loss_at(fit *f, const double *u, fit_set set)
{
    fit_take_u(f, 0, u);
    fit_set_parameters(f);
    fit_loss(f, set, false, 0);
    double loss = f->losses[0];
    comm_broadcast(&loss, sizeof loss, 0);
    return loss;
}

/* The order where remainders still stand out of rounding: the median of those between neighbours.  A wrong derivative stands out at most steps; a
 * low order at one or two only may be that of a large step. */
static void judge(taylor *t, double loss)
{
    double order[NSTEP], floor_ = NOISE * fabs(loss);
    int n = 0;
    for (int i = 0; i + 1 < NSTEP; i++) {
        if (t->remainder[i + 1] > 10 * floor_) {
            double o = log2(t->remainder[i] / t->remainder[i + 1]);
            int k = n++;
            while (k > 0 && order[k - 1] > o) {
                order[k] = order[k - 1];
                k--;
            }
            order[k] = o;
        }
    }
    t->order = n > 0 ? order[n / 2] : NAN;
    bool right = n == 0 || t->order >= 1.9; /* more, where the second derivative vanishes */
    t->verdict = right ? RIGHT : n <= 2 ? UNCLEAR : WRONG;
}

static taylor test(fit *f, fit_set set, const double *u, const double *g, const double *direction, double loss)
{
    taylor t = {0};
    double *moved = MEMORY_NEW(double, f->nu), h = FIRST_STEP;
    for (int64_t i = 0; i < f->nu; i++) {
        t.slope += g[i] * direction[i];
    }
    for (int k = 0; k < NSTEP; k++, h /= 2) {
        for (int64_t i = 0; i < f->nu; i++) {
            moved[i] = u[i] + h * direction[i];
        }
        t.remainder[k] = fabs(loss_at(f, moved, set) - loss - h * t.slope);
    }
    memory_free(moved);
    judge(&t, loss);
    return t;
}

/* Random signs and sizes, as large as the numbers themselves. */
static void draw_direction(const fit *f, int piece, const double *u, double *direction)
{
    int64_t at = 0;
    memset(direction, 0, (size_t)f->nu * sizeof *direction);
    for (int i = 0; i < f->transform.npiece; i++) {
        const transform_piece *t = &f->transform.piece[i];
        double size = 0;
        for (int64_t j = 0; j < t->n; j++) {
            size += u[at + j] * u[at + j] / (double)t->n;
        }
        size = t->map == PARAM_FREE && size > 0 ? sqrt(size) : 1;
        for (int64_t j = 0; (piece < 0 || piece == i) && j < t->n; j++) {
            random_block b = random_bits(f->setup.seed, RANDOM_FIT_START, (uint64_t)(at + j), 1u << 30, (uint32_t)(piece + 1));
            direction[at + j] = size * (0.5 + 0.5 * random_unit(b.v[0])) * (b.v[1] & 1 ? 1 : -1);
        }
        at += t->n;
    }
}

static void say(const char *name, const taylor *t)
{
    static const char *const verdict[] = {[RIGHT] = "right", [UNCLEAR] = "unclear: too few steps above rounding", [WRONG] = "WRONG"};
    char order[32];
    snprintf(order, sizeof order, isfinite(t->order) ? "%.3f" : "exact", t->order);
    log_say(LOG_RESULT, "%-28s %12.4e  %9.2e %9.2e %9.2e %9.2e %9.2e %9.2e  %6s  %s", name, t->slope, t->remainder[0], t->remainder[1],
            t->remainder[2], t->remainder[3], t->remainder[4], t->remainder[5], order, verdict[t->verdict]);
}

enum exit_code fit_check(fit *f, backend *be)
{
    fit_attach(f, be);
    if (f->s.target == FIT_STIMULUS || f->nnet > 1) {
        log_say(LOG_RESULT, "--check tests the parameters of one network; %s", f->nnet > 1 ? "the first is tested" : "a stimulus has none");
        if (f->s.target == FIT_STIMULUS) {
            return EXIT_DONE;
        }
    }
    fit_set set = f->set[SPLIT_TRAIN];
    set.n = set.n < f->nseq ? set.n : f->nseq;
    double *u = f->course[0].u, *g = MEMORY_NEW(double, f->nu), *direction = MEMORY_NEW(double, f->nu);
    fit_set_parameters(f);
    fit_loss(f, set, true, 0);
    transform_gradient(&f->transform, u, f->g_value, g);
    comm_broadcast(g, (size_t)f->nu * sizeof *g, 0);
    double loss = loss_at(f, u, set);
    enum exit_code code = EXIT_DONE;
    if (comm_any(!isfinite(loss) || optim_bad(g, f->nu) >= 0)) {
        code = fit_say_trouble(f, set);
    } else {
        log_say(
            LOG_RESULT,
            "Taylor test at the start values, loss %.8g of %lld sequences; remainders |L(u + h d) - L(u) - h g.d| at h = %g, %g, ... fall with h^2",
            loss, (long long)set.n, FIRST_STEP, FIRST_STEP / 2);
        if (sizeof(real) < sizeof(double)) {
            log_say(LOG_RESULT, "in float the loss is rounded at 1e-7, which leaves few steps; chiasm-double fit --check is exact");
        }
        log_say(LOG_RESULT, "%-28s %12s  %-59s  %6s", "parameter", "slope g.d", "remainders", "order");
    }
    for (int piece = 0; piece <= f->nparam && code != EXIT_DIVERGED; piece++) {
        bool together = piece == f->nparam;
        if (together && f->nparam == 1) {
            break;
        }
        draw_direction(f, together ? -1 : piece, u, direction);
        taylor t = test(f, set, u, g, direction, loss);
        say(together ? "all together" : f->param[piece].name, &t);
        if (t.verdict == WRONG) {
            code = EXIT_INTERNAL;
            if (comm_rank() == 0) {
                fprintf(
                    stderr,
                    "chiasm: error: the derivative by %s is not that of the loss (order %.3f); near a kink or threshold other start values help\n",
                    together ? "all parameters together" : f->param[piece].name, t.order);
            }
        }
    }
    memory_free(g);
    memory_free(direction);
    return code;
}

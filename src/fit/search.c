/* search.c - NLopt's methods behind optim_search; the only file that includes <nlopt.h>.  Its augmented Lagrangian is left out: there is nothing here
 * to constrain but bounds, which every other method knows. */
#include <math.h>
#include <nlopt.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "fit/optim.h"

/* What a method asks for; LOCAL: a second method, whose gradient it passes on; UNBOUNDED: takes no bounds (praxis answers to them with NaN); RADIUS:
 * ends by the size of its trust region, which only a tolerance of the parameters makes small. */
enum { GRADIENT = 1, BOUNDS = 2, LOCAL = 4, UNBOUNDED = 8, RADIUS = 16 };

static const struct {
    const char *name;
    nlopt_algorithm algorithm;
    int needs;
} methods[] = {
    {"lbfgs", NLOPT_LD_LBFGS, GRADIENT},
    {"var1", NLOPT_LD_VAR1, GRADIENT},
    {"var2", NLOPT_LD_VAR2, GRADIENT},
    {"tnewton", NLOPT_LD_TNEWTON, GRADIENT},
    {"tnewton_restart", NLOPT_LD_TNEWTON_RESTART, GRADIENT},
    {"tnewton_precond", NLOPT_LD_TNEWTON_PRECOND, GRADIENT},
    {"tnewton_precond_restart", NLOPT_LD_TNEWTON_PRECOND_RESTART, GRADIENT},
    {"mma", NLOPT_LD_MMA, GRADIENT},
    {"ccsaq", NLOPT_LD_CCSAQ, GRADIENT},
    {"slsqp", NLOPT_LD_SLSQP, GRADIENT},
    {"cobyla", NLOPT_LN_COBYLA, RADIUS},
    {"bobyqa", NLOPT_LN_BOBYQA, RADIUS},
    {"newuoa", NLOPT_LN_NEWUOA, UNBOUNDED | RADIUS},
    {"newuoa_bound", NLOPT_LN_NEWUOA_BOUND, RADIUS},
    {"neldermead", NLOPT_LN_NELDERMEAD, 0},
    {"sbplx", NLOPT_LN_SBPLX, 0},
    {"praxis", NLOPT_LN_PRAXIS, UNBOUNDED},
    {"direct", NLOPT_GN_DIRECT, BOUNDS},
    {"direct_l", NLOPT_GN_DIRECT_L, BOUNDS},
    {"direct_l_rand", NLOPT_GN_DIRECT_L_RAND, BOUNDS},
    {"direct_noscal", NLOPT_GN_DIRECT_NOSCAL, BOUNDS},
    {"direct_l_noscal", NLOPT_GN_DIRECT_L_NOSCAL, BOUNDS},
    {"direct_l_rand_noscal", NLOPT_GN_DIRECT_L_RAND_NOSCAL, BOUNDS},
    {"orig_direct", NLOPT_GN_ORIG_DIRECT, BOUNDS},
    {"orig_direct_l", NLOPT_GN_ORIG_DIRECT_L, BOUNDS},
    {"crs2_lm", NLOPT_GN_CRS2_LM, BOUNDS},
    {"isres", NLOPT_GN_ISRES, BOUNDS},
    {"esch", NLOPT_GN_ESCH, BOUNDS},
    {"ags", NLOPT_GN_AGS, BOUNDS},
    {"stogo", NLOPT_GD_STOGO, BOUNDS | GRADIENT},
    {"stogo_rand", NLOPT_GD_STOGO_RAND, BOUNDS | GRADIENT},
    {"mlsl", NLOPT_G_MLSL, BOUNDS | LOCAL},
    {"mlsl_lds", NLOPT_G_MLSL_LDS, BOUNDS | LOCAL},
};
enum { NMETHOD = sizeof methods / sizeof *methods };

static bool available(int i) /* stogo and ags are left out of libraries built without C++ */
{
    return !strstr(nlopt_algorithm_name(methods[i].algorithm), "NOT COMPILED");
}

static int find(const char *method)
{
    for (int i = 0; i < NMETHOD; i++) {
        if (strcmp(method, methods[i].name) == 0 && available(i)) {
            return i;
        }
    }
    return -1;
}

bool search_find(const char *method, search_needs *needs)
{
    int i = find(method);
    int all = i >= 0 ? methods[i].needs : 0;
    *needs = (search_needs){all & GRADIENT, all & BOUNDS, all & LOCAL, all & RADIUS};
    return i >= 0;
}

const char *search_names(void)
{
    static char text[1024];
    size_t n = 0;
    for (int i = 0; i < NMETHOD; i++) {
        n += available(i) ? (size_t)snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ", " : "", methods[i].name) : 0;
        ASSERT(n < sizeof text);
    }
    return text;
}

/* --- one search --------------------------------------------------------------------------------------------------------- */
typedef struct search {
    const optim_problem *p;
    nlopt_opt opt;
    double *best, best_loss;
    int64_t nvalue, max_values;
    double target;
    enum optim_stop why; /* that we ended it ourselves; OPTIM_GO: not */
} search;

/* max_values and target are looked at here too: some global methods look at them only between rounds, and inner searches of mlsl not at all. */
static double value(unsigned n, const double *u, double *g, void *search_)
{
    search *s = search_;
    if (s->why != OPTIM_GO) { /* already told to stop, but some methods ask on */
        if (g) {
            memset(g, 0, n * sizeof *g);
        }
        return s->best_loss;
    }
    if (optim_bad(u, n) >= 0) { /* the method itself has run out of digits */
        s->why = OPTIM_ROUNDOFF;
        nlopt_force_stop(s->opt);
        return HUGE_VAL;
    }
    double loss = s->p->value(s->p->ctx, u, g);
    bool finite = isfinite(loss) && (!g || optim_bad(g, n) < 0);
    s->nvalue++;
    if (finite && loss < s->best_loss) {
        s->best_loss = loss;
        memcpy(s->best, u, n * sizeof *u);
    }
    if (s->p->stop && s->p->stop(s->p->ctx)) {
        s->why = OPTIM_INTERRUPTED;
    } else if (!finite) {
        s->why = OPTIM_NOT_FINITE;
    } else if (loss <= s->target) {
        s->why = OPTIM_TARGET;
    } else if (s->max_values > 0 && s->nvalue >= s->max_values) {
        s->why = OPTIM_MAX_STEPS;
    }
    if (s->why != OPTIM_GO) {
        nlopt_force_stop(s->opt);
    }
    return finite ? loss : HUGE_VAL;
}

static enum optim_stop reason(const search *s, nlopt_result r)
{
    if (s->why != OPTIM_GO) {
        return s->why;
    }
    switch (r) {
    case NLOPT_SUCCESS:
    case NLOPT_FTOL_REACHED:
    case NLOPT_XTOL_REACHED:
        return OPTIM_CONVERGED;
    case NLOPT_ROUNDOFF_LIMITED:
        return OPTIM_ROUNDOFF;
    case NLOPT_FAILURE: /* a line search that finds nothing lower, at a minimum as sharp as rounding allows */
        return s->nvalue > 1 && isfinite(s->best_loss) ? OPTIM_ROUNDOFF : OPTIM_FAILED;
    default:
        return OPTIM_FAILED;
    }
}

static void set_limits(nlopt_opt opt, const optim_settings *s)
{
    nlopt_set_ftol_rel(opt, s->tolerance > 0 ? s->tolerance : -1);
    nlopt_set_xtol_rel(opt, s->parameter_tolerance > 0 ? s->parameter_tolerance : -1);
    nlopt_set_vector_storage(opt, (unsigned)s->memory);
}

/* A global search has no tolerance: it ends by max_steps or the target alone, as little progress says nothing there. */
static bool set_up(search *s, const optim_settings *settings, int method)
{
    const optim_problem *p = s->p;
    bool good = true;
    if (p->low && !(methods[method].needs & UNBOUNDED)) {
        good = nlopt_set_lower_bounds(s->opt, p->low) == NLOPT_SUCCESS && nlopt_set_upper_bounds(s->opt, p->high) == NLOPT_SUCCESS;
    }
    good = good && nlopt_set_min_objective(s->opt, value, s) == NLOPT_SUCCESS;
    if (!(methods[method].needs & BOUNDS)) {
        set_limits(s->opt, settings);
    }
    nlopt_set_population(s->opt, (unsigned)settings->population);
    if (settings->initial_step > 0) {
        nlopt_set_initial_step1(s->opt, settings->initial_step);
    }
    if (methods[method].needs & LOCAL) {
        int inner = find(settings->local);
        ASSERT(inner >= 0);
        nlopt_opt local = nlopt_create(methods[inner].algorithm, (unsigned)p->n);
        good = good && local;
        set_limits(local, settings);
        good = good && nlopt_set_local_optimizer(s->opt, local) == NLOPT_SUCCESS; /* takes a copy */
        nlopt_destroy(local);
    }
    return good;
}

enum optim_stop optim_search(const optim_settings *settings, const optim_problem *p, double *u, double *loss)
{
    int method = find(settings->method);
    ASSERT(method >= 0 && p->n > 0);
    search s = {.p = p, .best_loss = INFINITY, .max_values = settings->max_steps, .target = settings->target};
    s.opt = nlopt_create(methods[method].algorithm, (unsigned)p->n);
    ASSERT(s.opt);
    s.best = MEMORY_NEW(double, p->n);
    memcpy(s.best, u, (size_t)p->n * sizeof *u);
    for (int64_t i = 0; p->low && i < p->n; i++) {
        ASSERT(!(methods[method].needs & BOUNDS) || (isfinite(p->low[i]) && isfinite(p->high[i])));
        u[i] = fmin(fmax(u[i], p->low[i]), p->high[i]);
    }
    nlopt_srand((unsigned long)settings->seed);
    enum optim_stop why = OPTIM_FAILED;
    if (set_up(&s, settings, method)) {
        double last;
        why = reason(&s, nlopt_optimize(s.opt, u, &last));
    }
    memcpy(u, s.best, (size_t)p->n * sizeof *u);
    *loss = s.best_loss;
    nlopt_destroy(s.opt);
    memory_free(s.best);
    return why;
}

/* optim.h - optimisers on a flat vector of doubles.  Know no model, no MPI; every rank that holds the same numbers computes the same bits.
 *
 * Step methods are given a gradient and move the vector (optim_step).  Search methods (NLopt: lbfgs, mma, slsqp, var2, tnewton and every
 * derivative-free one by its own name: cobyla, bobyqa, neldermead, sbplx, praxis, crs2_lm, direct_l, isres, esch ...) ask for values themselves
 * (optim_search, search.c). */
#ifndef OPTIM_H
#define OPTIM_H
#include "input/input.h"

enum optim_stop { /* > 0: a good end; ROUNDOFF: as good as it gets */
                  OPTIM_GO = 0,
                  OPTIM_CONVERGED = 1,
                  OPTIM_MAX_STEPS = 2,
                  OPTIM_TARGET = 3,
                  OPTIM_INTERRUPTED = 4,
                  OPTIM_NOT_FINITE = -1,
                  OPTIM_FAILED = -2,
                  OPTIM_ROUNDOFF = -3
};
const char *optim_stop_text(enum optim_stop);

enum optim_schedule { OPTIM_CONSTANT, OPTIM_COSINE, OPTIM_STEPS, OPTIM_PLATEAU };
enum optim_epsilon { OPTIM_EPSILON_KERAS, OPTIM_EPSILON_TORCH };

/* The `optimiser` section; its table in optim.c says what each means. */
typedef struct optim_settings {
    const char *method; /* sgd | adam | adamw | rprop | one of NLopt's */
    double rate, momentum, beta1, beta2, epsilon, weight_decay, clip;
    int epsilon_form; /* enum optim_epsilon */
    bool nesterov;
    double ema;
    int64_t max_steps;
    int schedule; /* enum optim_schedule */
    int64_t warmup_steps, schedule_steps, patience;
    double schedule_factor, smallest_rate;
    double rprop_grow, rprop_shrink, rprop_least, rprop_most;
    double tolerance, parameter_tolerance, target, initial_step; /* searches */
    int64_t memory, population, seed;
    const char *local;
} optim_settings;
extern const help_topic optim_topic; /* "optimiser" */
/* Problems go on the input's list. */
void optim_read(input *in, const input_node *section, optim_settings *s);
bool optim_is_search(const optim_settings *s);
bool optim_needs_bounds(const optim_settings *s);   /* global searches: each number needs a smallest and a largest value (so PARAM_FREE only) */
bool optim_needs_gradient(const optim_settings *s); /* false: value is only ever asked with g NULL */

typedef struct optim optim; /* of the step methods */
optim *optim_create(const optim_settings *s, int64_t n);
void optim_destroy(optim *o);
/* One step: moves u.  rate_now is what the schedule says for this step (rprop takes only the first).  OPTIM_NOT_FINITE (nothing moved) if loss or
 * gradient are not finite (optim_bad says where), OPTIM_TARGET (nothing moved) if the loss is at the target, OPTIM_MAX_STEPS after the last step,
 * else OPTIM_GO. */
enum optim_stop optim_step(optim *o, double *u, const double *g, double loss, double rate_now);
int64_t optim_bad(const double *g, int64_t n); /* the first number that is not finite; -1: none */
double optim_norm(const double *g, int64_t n); /* Euclidean, that `clip` compares with */
/* The schedule: rate of step `step` (from 0) of nstep_total (0: unknown), after so many reductions by the plateau rule (stopping.h). */
double optim_rate(const optim_settings *s, int64_t step, int64_t nstep_total, int64_t nreduction);
const double *optim_mean(const optim *o); /* [n] EMA of u, or NULL; before the first step 0 */
/* What a restart saves and sets: arrays of n (moments, EMA) and counters. */
int optim_narray(const optim *o);
double *optim_array(optim *o, int i, const char **name);
int optim_ncount(const optim *o);
int64_t *optim_counts(optim *o);

/* A search asks value(ctx, u, g): the loss at u, and its gradient into g unless g is NULL.  It leaves the best u that was seen, and its loss.  After
 * each value stop(ctx) (NULL: never) is asked: true ends the search with OPTIM_INTERRUPTED.  A loss or gradient that is not finite ends it with
 * OPTIM_NOT_FINITE, unless stop says that it was meant so. */
typedef struct optim_problem {
    void *ctx;
    int64_t n;
    double (*value)(void *ctx, const double *u, double *g);
    bool (*stop)(void *ctx);
    const double *low, *high; /* NULL: no bounds; newuoa and praxis do not look at them */
} optim_problem;
enum optim_stop optim_search(const optim_settings *s, const optim_problem *p, double *u, double *loss);

/* search.c, for optim.c: what a method of NLopt asks for; false: there is no such method here.  search_names: "lbfgs, mma, ...". */
typedef struct search_needs {
    bool gradient, bounds, local, parameter_tolerance;
} search_needs;
bool search_find(const char *method, search_needs *needs);
const char *search_names(void);
#endif

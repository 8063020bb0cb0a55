/* optim.c - step methods, their schedule, and the `optimiser` section. */
#include "fit/optim.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"

/* --- the section ------------------------------------------------------------------------------------------------------- */
#define AT(field) offsetof(optim_settings, field)
static const key_spec keys[] = {
    {"method", KEY_TEXT, NULL, "adam", 0, 0, NULL, "sgd, adam, adamw, rprop, or a search by NLopt (listed above)", AT(method), 0, 0},
    {"max_steps", KEY_INT, NULL, "0", 0, 1e15, NULL, "steps, or values that a search may ask for; 0: no limit", AT(max_steps), 0, 0},
    {"target", KEY_REAL, "", "-1e300", -1e300, 1e300, NULL, "the fit ends when the loss is as low as this", AT(target), 0, 0},
    /* step methods */
    {"rate", KEY_REAL, "", "1e-3", 1e-300, 1e6, NULL, "of learning (rprop: first step)", AT(rate), 0, 0},
    {"momentum", KEY_REAL, "", "0", 0, 1, NULL, "sgd: part of the last step that goes on", AT(momentum), 0, 0},
    {"nesterov", KEY_FLAG, NULL, "false", 0, 0, NULL, "sgd: Nesterov's momentum", AT(nesterov), 0, 0},
    {"beta1", KEY_REAL, "", "0.9", 0, 1, NULL, "adam: decay of the mean gradient", AT(beta1), 0, 0},
    {"beta2", KEY_REAL, "", "0.999", 0, 1, NULL, "adam: decay of the mean square", AT(beta2), 0, 0},
    {"epsilon", KEY_REAL, "", "1e-8", 0, 1, NULL, "adam: beside the root of the mean square", AT(epsilon), 0, 0},
    {"epsilon_form", KEY_WORD, NULL, "keras", 0, 0, "keras|torch", "adam: epsilon added before (keras) or after (torch) the mean square is unbiased",
     AT(epsilon_form), 0, 0},
    {"weight_decay", KEY_REAL, "", "0", 0, 1e6, NULL,
     "adamw: shrinks each number by rate times this; others: adds it times the number to the gradient", AT(weight_decay), 0, 0},
    {"rprop_grow", KEY_REAL, "", "1.2", 1, 100, NULL, "rprop: a step grows by this while its sign holds", AT(rprop_grow), 0, 0},
    {"rprop_shrink", KEY_REAL, "", "0.5", 0, 1, NULL, "rprop: and shrinks by this when it turns", AT(rprop_shrink), 0, 0},
    {"rprop_least", KEY_REAL, "", "1e-6", 0, 1e6, NULL, "rprop: smallest step", AT(rprop_least), 0, 0},
    {"rprop_most", KEY_REAL, "", "50", 0, 1e6, NULL, "rprop: largest step", AT(rprop_most), 0, 0},
    {"clip", KEY_REAL, "", "0", 0, 1e300, NULL, "largest norm of the gradient, a longer one is shortened; 0: any", AT(clip), 0, 0},
    {"ema", KEY_REAL, "", "0", 0, 1, NULL, "decay of the running mean of the parameters, which is scored and kept; 0: none", AT(ema), 0, 0},
    {"schedule", KEY_WORD, NULL, "constant", 0, 0, "constant|cosine|steps|plateau", "how the rate changes", AT(schedule), 0, 0},
    {"warmup_steps", KEY_INT, NULL, "0", 0, 1e15, NULL, "steps in which the rate rises to its full value", AT(warmup_steps), 0, 0},
    {"schedule_steps", KEY_INT, NULL, "0", 0, 1e15, NULL, "steps: length of each; cosine: until the smallest rate (0: the whole fit)",
     AT(schedule_steps), 0, 0},
    {"schedule_factor", KEY_REAL, "", "0.3", 0, 1, NULL, "steps, plateau: what the rate is multiplied by", AT(schedule_factor), 0, 0},
    {"patience", KEY_INT, NULL, "5", 1, 1e9, NULL, "plateau: evaluations without a better score before that", AT(patience), 0, 0},
    {"smallest_rate", KEY_REAL, "", "0", 0, 1e6, NULL, "that a schedule comes to", AT(smallest_rate), 0, 0},
    /* searches */
    {"tolerance", KEY_REAL, "", "1e-10", 0, 1, NULL, "search: ends when the loss changes by less, relative to it; 0: never", AT(tolerance), 0, 0},
    {"parameter_tolerance", KEY_REAL, "", "1e-8", 0, 1, NULL, "search: ends when every number changes by less, relative to it; 0: never",
     AT(parameter_tolerance), 0, 0},
    {"initial_step", KEY_REAL, "", "0", 0, 1e300, NULL, "search without gradient: first step; 0: chosen", AT(initial_step), 0, 0},
    {"memory", KEY_INT, NULL, "0", 0, 10000, NULL, "lbfgs, var, tnewton: pairs kept; 0: chosen", AT(memory), 0, 0},
    {"population", KEY_INT, NULL, "0", 0, 1000000, NULL, "random searches: points kept; 0: chosen", AT(population), 0, 0},
    {"local", KEY_TEXT, NULL, "lbfgs", 0, 0, NULL, "mlsl: the search inside", AT(local), 0, 0},
    {"seed", KEY_INT, NULL, "1", 1, 4294967295.0, NULL, "of random searches", AT(seed), 0, 0},
};

static const char text[] =
    "  sgd    v = momentum v + g;  u -= rate v  (nesterov: rate (g + momentum v))\n"
    "  adam   m, v: running means of g and g^2;  u -= rate sqrt(1 - beta2^t)/(1 - beta1^t) m/(sqrt(v) + epsilon)  (Kingma & Ba 2015, as Keras)\n"
    "  rprop  each number has a step of its own, that grows while its gradient keeps its sign (Riedmiller & Braun 1993, as PyTorch)\n"
    "u is the number behind a parameter: its value, logarithm or logit (`map`).  Searches ask for the loss of all data at each point (NLopt's\n"
    "names, lower case); with gradient: lbfgs, var1, var2, tnewton, tnewton_restart, tnewton_precond, tnewton_precond_restart, mma, ccsaq, slsqp,\n"
    "stogo, stogo_rand, mlsl, mlsl_lds; without: cobyla, bobyqa, newuoa, newuoa_bound, neldermead, sbplx, praxis, direct, direct_l, direct_l_rand\n"
    "(and _noscal), orig_direct, orig_direct_l, crs2_lm, isres, esch, ags; mlsl with a local one of these.  Global ones (direct to ags, stogo,\n"
    "mlsl) need a smallest and a largest value of each parameter; newuoa and praxis look at none.  stogo and ags are only there if NLopt was\n"
    "built with C++.";

const help_topic optim_topic = {"optimiser", "section `optimiser` of a fit: method, rate, schedule", text, keys, sizeof keys / sizeof *keys};

static const char *const step_methods[] = {"sgd", "adam", "adamw", "rprop"};
enum method { SGD, ADAM, ADAMW, RPROP, NMETHOD };

static enum method step_method(const char *name)
{
    int i = 0;
    while (i < NMETHOD && strcmp(name, step_methods[i]) != 0) {
        i++;
    }
    return (enum method)i;
}

static void read_search(input *in, const input_node *section, optim_settings *s)
{
    search_needs needs, inner;
    if (!search_find(s->method, &needs)) {
        input_problem(in, input_child(section, "method"), "optimiser: unknown method '%s'; allowed: sgd, adam, adamw, rprop, %s", s->method,
                      search_names());
        s->method = "adam";
        return;
    }
    if (needs.local && (!search_find(s->local, &inner) || inner.bounds || inner.local)) {
        input_problem(in, input_child(section, "local"), "optimiser: '%s' is no local search; allowed: lbfgs, slsqp, bobyqa, neldermead and others",
                      s->local);
        s->local = "lbfgs";
    }
    if (needs.bounds && s->max_steps == 0) {
        input_problem(in, section, "optimiser: method %s searches for ever; give max_steps, the number of values that it may ask for", s->method);
    }
    if (needs.parameter_tolerance && s->parameter_tolerance == 0) {
        input_problem(in, input_child(section, "parameter_tolerance"), "optimiser: method %s needs a parameter_tolerance above 0", s->method);
    }
}

void optim_read(input *in, const input_node *section, optim_settings *s)
{
    INPUT_FILL(in, section, "optimiser", keys, s);
    if (optim_is_search(s)) {
        read_search(in, section, s);
    }
    if (s->schedule == OPTIM_STEPS && s->schedule_steps == 0) {
        input_problem(in, input_child(section, "schedule"), "optimiser: schedule: steps needs schedule_steps, above 0");
    }
    if (s->beta1 >= 1 || s->beta2 >= 1 || s->ema >= 1 || s->momentum >= 1) {
        input_problem(in, section, "optimiser: momentum, beta1, beta2 and ema must be below 1");
    }
}

bool optim_is_search(const optim_settings *s)
{
    return step_method(s->method) == NMETHOD;
}

bool optim_needs_bounds(const optim_settings *s)
{
    search_needs needs;
    return search_find(s->method, &needs) && needs.bounds;
}

bool optim_needs_gradient(const optim_settings *s)
{
    search_needs needs;
    if (!search_find(s->method, &needs)) {
        return true;
    }
    if (needs.local) {
        search_find(s->local, &needs);
    }
    return needs.gradient;
}

const char *optim_stop_text(enum optim_stop why)
{
    switch (why) {
    case OPTIM_GO:
        return "going on";
    case OPTIM_CONVERGED:
        return "converged: changes are below the tolerance";
    case OPTIM_MAX_STEPS:
        return "all steps done (max_steps)";
    case OPTIM_TARGET:
        return "the loss is at its target";
    case OPTIM_INTERRUPTED:
        return "stopped from outside";
    case OPTIM_NOT_FINITE:
        return "the loss or its gradient is not finite";
    case OPTIM_ROUNDOFF:
        return "no further progress within rounding";
    default:
        return "the method failed";
    }
}

/* --- steps ------------------------------------------------------------------------------------------------------------- */
enum { MAX_ARRAY = 3, BLOCK = 1 << 16 }; /* numbers that one thread moves: fewer are not worth waking another */
struct optim {
    optim_settings s;
    enum method method;
    int64_t n, step; /* step: number of those done */
    int narray;
    double *array[MAX_ARRAY];
    const char *name[MAX_ARRAY];
    double *a, *b, *mean; /* of the method, by its own use; NULL: not wanted */
};

static double *add_array(optim *o, const char *name)
{
    o->name[o->narray] = name;
    o->array[o->narray] = MEMORY_NEW(double, o->n);
    return o->array[o->narray++];
}

optim *optim_create(const optim_settings *s, int64_t n)
{
    optim *o = MEMORY_NEW(optim, 1);
    o->s = *s;
    o->n = n;
    o->method = step_method(s->method);
    ASSERT(o->method != NMETHOD);
    if (o->method == SGD && s->momentum > 0) {
        o->a = add_array(o, "velocity");
    } else if (o->method == ADAM || o->method == ADAMW) {
        o->a = add_array(o, "mean");
        o->b = add_array(o, "mean_square");
    } else if (o->method == RPROP) {
        o->a = add_array(o, "last_gradient");
        o->b = add_array(o, "step_size");
    }
    if (s->ema > 0) {
        o->mean = add_array(o, "ema");
    }
    return o;
}

void optim_destroy(optim *o)
{
    if (o) {
        for (int i = 0; i < o->narray; i++) {
            memory_free(o->array[i]);
        }
        memory_free(o);
    }
}

/* What is not finite has all bits of its exponent set: in whole numbers many are looked at at a time. */
static bool any_bad(const double *g, int64_t n)
{
    const uint64_t exponent = 0x7FF0000000000000;
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &g[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad != 0;
}

int64_t optim_bad(const double *g, int64_t n)
{
    int64_t i = any_bad(g, n) ? 0 : n;
    while (i < n && isfinite(g[i])) {
        i++;
    }
    return i < n ? i : -1;
}

/* In eight lanes, then these. */
double optim_norm(const double *g, int64_t n)
{
    enum { LANES = 8 };
    double lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            lane[k] += g[i + k] * g[i + k];
        }
    }
    for (int k = 0; i + k < n; k++) {
        lane[k] += g[i + k] * g[i + k];
    }
    return sqrt(((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7])));
}

/* --- one step of the numbers [first, first + n): each by itself, so any block of them gives the same bits ---------------------- */

/* What is constant within a step, by value: the loops write numbers, which might else be these. */
typedef struct move {
    optim *o;
    double *u;
    const double *g;
    double shorten, rate;
} move;

static void sgd(const move *m, int64_t first, int64_t n)
{
    const optim_settings s = m->o->s;
    const double shorten = m->shorten, rate = m->rate;
    double *restrict u = m->u + first, *restrict velocity = m->o->a ? m->o->a + first : NULL;
    const double *restrict g = m->g + first;
    for (int64_t i = 0; i < n; i++) {
        double by = shorten * g[i] + s.weight_decay * u[i];
        if (velocity) {
            velocity[i] = s.momentum * velocity[i] + by;
            by = s.nesterov ? by + s.momentum * velocity[i] : velocity[i];
        }
        u[i] -= rate * by;
    }
}

/* t: number of this step, from 1. */
static void adam(const move *m, int64_t first, int64_t n)
{
    const optim_settings s = m->o->s;
    const double t = (double)(m->o->step + 1), unbias1 = 1 - pow(s.beta1, t), unbias2 = sqrt(1 - pow(s.beta2, t));
    const double epsilon = s.epsilon_form == OPTIM_EPSILON_TORCH ? s.epsilon * unbias2 : s.epsilon; /* sqrt(v)/unbias2 + epsilon, times unbias2 */
    const double now = m->rate * unbias2 / unbias1, shorten = m->shorten;
    const bool decoupled = m->o->method == ADAMW;
    const double coupled_decay = decoupled ? 0 : s.weight_decay, decay = decoupled ? m->rate * s.weight_decay : 0;
    double *restrict u = m->u + first, *restrict mean = m->o->a + first, *restrict square = m->o->b + first;
    const double *restrict g = m->g + first;
    for (int64_t i = 0; i < n; i++) {
        double gradient = shorten * g[i] + coupled_decay * u[i];
        mean[i] = s.beta1 * mean[i] + (1 - s.beta1) * gradient;
        square[i] = s.beta2 * square[i] + (1 - s.beta2) * gradient * gradient;
        u[i] -= decay * u[i] + now * mean[i] / (sqrt(square[i]) + epsilon);
    }
}

static void rprop(const move *m, int64_t first, int64_t n)
{
    const optim_settings s = m->o->s;
    const double shorten = m->shorten, rate = m->rate;
    const bool begins = m->o->step == 0;
    double *restrict u = m->u + first, *restrict last = m->o->a + first, *restrict size = m->o->b + first;
    const double *restrict g = m->g + first;
    for (int64_t i = 0; i < n; i++) {
        double gradient = shorten * g[i] + s.weight_decay * u[i], turn = gradient * last[i], now = begins ? rate : size[i];
        double more = now * s.rprop_grow, less = now * s.rprop_shrink;
        more = more < s.rprop_most ? more : s.rprop_most;
        less = less > s.rprop_least ? less : s.rprop_least;
        size[i] = turn > 0 ? more : turn < 0 ? less : now;
        last[i] = turn < 0 ? 0 : gradient; /* after a turn it stands still for one step */
        u[i] -= (double)((last[i] > 0) - (last[i] < 0)) * size[i];
    }
}

/* The running mean of u. */
static void follow(const move *m, int64_t first, int64_t n)
{
    const double keep = m->o->step == 0 ? 0 : m->o->s.ema;
    double *restrict mean = m->o->mean + first;
    const double *restrict u = m->u + first;
    for (int64_t i = 0; i < n; i++) {
        mean[i] = keep * mean[i] + (1 - keep) * u[i];
    }
}

static void move_block(void *ctx, int64_t block)
{
    static void (*const methods[NMETHOD])(const move *, int64_t, int64_t) = {sgd, adam, adam, rprop};
    const move *m = ctx;
    int64_t first = block * BLOCK, n = m->o->n - first < BLOCK ? m->o->n - first : BLOCK;
    methods[m->o->method](m, first, n);
    if (m->o->mean) {
        follow(m, first, n);
    }
}

enum optim_stop optim_step(optim *o, double *u, const double *g, double loss, double rate_now)
{
    if (!isfinite(loss) || any_bad(g, o->n)) {
        return OPTIM_NOT_FINITE;
    }
    if (loss <= o->s.target) {
        return OPTIM_TARGET;
    }
    double norm = o->s.clip > 0 ? optim_norm(g, o->n) : 0;
    move m = {o, u, g, norm > o->s.clip ? o->s.clip / norm : 1, rate_now};
    threads_each((o->n + BLOCK - 1) / BLOCK, move_block, &m);
    o->step++;
    return o->s.max_steps > 0 && o->step >= o->s.max_steps ? OPTIM_MAX_STEPS : OPTIM_GO;
}

double optim_rate(const optim_settings *s, int64_t step, int64_t nstep_total, int64_t nreduction)
{
    double rate = s->rate;
    int64_t after = step - s->warmup_steps, length = s->schedule_steps > 0 ? s->schedule_steps : nstep_total - s->warmup_steps;
    if (after < 0) {
        return rate * (double)(step + 1) / (double)s->warmup_steps;
    }
    if (s->schedule == OPTIM_COSINE) {
        double part = length > 0 ? fmin((double)after / (double)length, 1) : 0;
        return s->smallest_rate + (rate - s->smallest_rate) * 0.5 * (1 + cos(3.14159265358979323846 * part));
    }
    if (s->schedule == OPTIM_STEPS) {
        rate *= pow(s->schedule_factor, (double)(after / s->schedule_steps));
    } else if (s->schedule == OPTIM_PLATEAU) {
        rate *= pow(s->schedule_factor, (double)nreduction);
    }
    return fmax(rate, s->smallest_rate);
}

const double *optim_mean(const optim *o)
{
    return o->mean;
}

int optim_narray(const optim *o)
{
    return o->narray;
}

double *optim_array(optim *o, int i, const char **name)
{
    *name = o->name[i];
    return o->array[i];
}

int optim_ncount(const optim *o)
{
    (void)o;
    return 1;
}

int64_t *optim_counts(optim *o)
{
    return &o->step;
}

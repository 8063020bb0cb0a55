/* stage_batch_norm.c - each channel, or each unit, to the mean and variance of its batch while a fit trains, by their running means elsewhere.
 * Ioffe & Szegedy 2015; with positive factors as in the retina models of Maheswaranathan et al. 2023. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "stages/stage.h"

enum { CHANNEL, UNIT };

typedef struct settings {
    int each;
    double epsilon, momentum, scale, shift, mean, variance;
    bool positive_scale;
} settings;

static const key_spec keys[] = {
    {"each", KEY_WORD, NULL, "channel", 0, 0, "channel|unit",
     "what has a mean, a variance, a scale and a shift: a channel, or each pixel or cell of it", offsetof(settings, each), 0, 0},
    {"epsilon", KEY_REAL, "", "1e-3", 1e-12, 1e12, NULL, "added to the variance", offsetof(settings, epsilon), 0, 0},
    {"momentum", KEY_REAL, "", "0.01", 0, 1, NULL, "share of a batch in the running mean and variance", offsetof(settings, momentum), 0, 0},
    {"positive_scale", KEY_FLAG, NULL, "false", 0, 0, NULL, "the absolute value of scale is the factor", offsetof(settings, positive_scale), 0, 0},
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor at first", offsetof(settings, scale), 0, 0},
    {"shift", KEY_REAL, "", "0", -1e12, 1e12, NULL, "added, at first", offsetof(settings, shift), 0, 0},
    {"mean", KEY_REAL, "", "0", -1e12, 1e12, NULL, "running mean at first", offsetof(settings, mean), 0, 0},
    {"variance", KEY_REAL, "", "1", 0, 1e12, NULL, "running variance at first", offsetof(settings, variance), 0, 0},
};

enum { SCALE, SHIFT, MEAN, VARIANCE, NPARAM }; /* each [n] */
enum { CENTRE, GAIN, OFFSET, SLOPE, NLINE };   /* of the ops, each [n] */

typedef struct own {
    const stage_world *world;
    settings s;
    unit_table table;
    int64_t n, nshare; /* numbers of a parameter; elements of one sequence and step that share one */
    double *start;     /* [NPARAM][n] */
    double *value;     /* [network][NPARAM][n] */
    real *line;        /* [network][OFFSET + 1][n] by the running statistics */
    /* working memory, of training and derivatives */
    double *sum;       /* [own leaf][2][n] */
    double *total;     /* [2][n] */
    double *batch;     /* [mean, variance][n] */
    real *working;     /* [NLINE][n] */
} own;

/* --- plan ---------------------------------------------------------------------------------------------------------------- */
static void plan_params(own *o, const stage_input *in, stage_plan *plan)
{
    const double start[NPARAM] = {o->s.scale, o->s.shift, o->s.mean, o->s.variance};
    static const char *const name[NPARAM] = {"scale", "shift", "mean", "variance"};
    bool unit = o->s.each == UNIT;
    o->start = MEMORY_NEW(double, NPARAM * o->n);
    for (int i = 0; i < NPARAM; i++) {
        for (int64_t k = 0; k < o->n; k++) {
            o->start[i * o->n + k] = start[i];
        }
        stage_param p = {.name = name[i], .unit = "", .n = o->n, .start = o->start + i * o->n, .min = i == VARIANCE ? 0 : -1e12, .max = 1e12};
        p.statistic = i >= MEAN;
        p.ndim = !unit ? o->n > 1 : in->cells ? 2 : 3;
        p.dims[0] = in->nchan;
        p.dims[1] = !unit ? 0 : in->cells ? o->table.chan : o->table.chan / o->table.row;
        p.dims[2] = unit && !in->cells ? o->table.row : 0;
        stage_add_param(plan, p);
    }
}

/* Of running statistics; index 0. */
static double rest_of(const own *o, const double *value, double x, double *by_x, double *by_scale)
{
    double scale = value[SCALE * o->n], sign = o->s.positive_scale && scale < 0 ? -1 : 1, d = x - value[MEAN * o->n];
    double r = 1 / sqrt(value[VARIANCE * o->n] + o->s.epsilon);
    *by_x = sign * scale * r;
    *by_scale = sign * d * r;
    return sign * scale * r * d + value[SHIFT * o->n];
}

static void *batch_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    o->s = *(const settings *)s_;
    int64_t ny = in[0].cells ? 1 : in[0].tile ? in[0].pad_ny : w->grid.ny;
    int64_t nx = in[0].cells ? in[0].cells->ncell : in[0].tile ? in[0].pad_nx : w->grid.nx;
    bool unit = o->s.each == UNIT;
    o->table = (unit_table){.n = in[0].nchan * (unit ? ny * nx : 1), .chan = unit ? ny * nx : 1, .row = unit ? nx : 0, .col = unit,
                            .id = in[0].cells ? in[0].cells->id : NULL};
    o->n = o->table.n;
    o->nshare = unit ? 1 : ny * nx;
    double nsum = 2.0 * (double)o->n * grid_nleaf(&w->grid);
    if (nsum > INT_MAX) {
        input_problem(w->in, at, "each: unit: %.3g sums of all sequences and tiles are more than %d", nsum, INT_MAX);
    }
    plan_params(o, &in[0], plan);
    o->value = MEMORY_NEW(double, w->nnet * NPARAM * o->n);
    o->line = MEMORY_NEW(real, w->nnet * (OFFSET + 1) * o->n);
    if (w->differentiate) {
        o->sum = MEMORY_NEW(double, w->nleaf * 2 * o->n);
        o->total = MEMORY_NEW(double, 2 * o->n);
        o->batch = MEMORY_NEW(double, 2 * o->n);
        o->working = MEMORY_NEW(real, NLINE * o->n);
        plan->bytes_held = (double)o->n * (2 * (w->nleaf + 2) * sizeof(double) + NLINE * sizeof(real));
    }
    plan->bytes_held += (double)o->n * (NPARAM * (w->nnet + 1) * sizeof(double) + w->nnet * (OFFSET + 1) * sizeof(real));
    plan->unit = "1";
    double by[2];
    plan->rest = rest_of(o, o->start, in[0].rest, &by[0], &by[1]);
    plan->rest_varies = in[0].rest_varies || o->n > 1;
    plan->coupled = w->differentiate; /* a simulation has its running statistics */
    plan->flop = 3;
    snprintf(plan->note, sizeof plan->note, "%lld means and variances%s", (long long)o->n, w->differentiate ? ", of the batch in training" : "");
    return o;
}

/* --- the line of given statistics ---------------------------------------------------------------------------------------- */
static double factor(const own *o, double scale)
{
    return o->s.positive_scale ? fabs(scale) : scale;
}

/* What the rounded centre loses goes into the offset. */
static void make_line(const own *o, const double *value, const double *mean, const double *variance, real *line)
{
    for (int64_t k = 0; k < o->n; k++) {
        double gain = factor(o, value[SCALE * o->n + k]) / sqrt(variance[k] + o->s.epsilon);
        line[CENTRE * o->n + k] = (real)mean[k];
        line[GAIN * o->n + k] = (real)gain;
        line[OFFSET * o->n + k] = (real)(value[SHIFT * o->n + k] - gain * (mean[k] - (double)(real)mean[k]));
    }
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    double *mine = o->value + network * NPARAM * o->n;
    (void)be;
    memcpy(mine, value, (size_t)(NPARAM * o->n) * sizeof *value);
    make_line(o, mine, mine + MEAN * o->n, mine + VARIANCE * o->n, o->line + network * (OFFSET + 1) * o->n);
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    double by[2];
    (void)state;
    rest[0] = rest_of(o, o->value + network * NPARAM * o->n, rest_in[0], &by[0], &by[1]);
}

/* Only one rest value is passed on: of several, none is asked for. */
static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    double by[2];
    (void)g_start;
    rest_of(o, o->value + network * NPARAM * o->n, rest_in[0], &by[0], &by[1]);
    g_rest_in[0] += g_rest[0] * by[0];
    g_value[SCALE * o->n] += g_rest[0] * by[1];
    g_value[SHIFT * o->n] += g_rest[0];
}

/* --- leaves ---------------------------------------------------------------------------------------------------------------- */
typedef struct job {
    own *o;
    const stage_call *c;
    const stage_back *b;  /* backward only */
    int nactive;          /* of the call's leaves: the first ones */
    const double *centre; /* of the sums */
    const real *line;
} job;

/* Leaves stand sequence after sequence: those that count come first. */
static int active(const own *o, const stage_call *c)
{
    int64_t per_net = (int64_t)grid_ntile(&o->world->grid) * o->world->grid.nseq, last = (int64_t)grid_ntile(&o->world->grid) * c->nsequence;
    int64_t n = last - (o->world->first_leaf + c->first) % per_net;
    return n < 0 ? 0 : n < c->nleaf ? (int)n : c->nleaf;
}

static unit_table table_of(const own *o, const stage_call *c, int first)
{
    unit_table u = o->table;
    u.id = u.id ? u.id + (int64_t)(c->first + first) * c->in[0].pad_nx : NULL;
    return u;
}

static void each(const job *j, int nleaf, void (*work)(void *ctx, int first, int n, int worker))
{
    if (j->c->services) {
        j->c->be->ops->each_leaf(j->c->be, nleaf, work, (void *)j);
    } else { /* it is one of several groups that run at the same time */
        work((void *)j, 0, nleaf, 0);
    }
}

static void sum_leaves(void *ctx, int first, int n, int worker)
{
    const job *j = ctx;
    const stage_call *c = j->c;
    unit_table u = table_of(j->o, c, first);
    view g = j->b ? view_of_leaf(j->b->g_out, first, n) : (view){0};
    (void)worker;
    int64_t pair = 2 * j->o->n;
    c->be->ops->unit_sums(c->be, &u, j->centre, c->nt, view_of_leaf(c->in[0], first, n), g, j->o->sum + (c->first + first) * pair, pair);
}

/* Sums of every leaf of the call; total [2][n] of all. */
static void sum(const job *j)
{
    own *o = j->o;
    const stage_call *c = j->c;
    double *mine = o->sum + c->first * 2 * o->n;
    memset(mine, 0, (size_t)(c->nleaf * 2 * o->n) * sizeof *mine);
    each(j, j->nactive, sum_leaves);
    c->be->ops->sync(c->be);
}

static void sum_all(const job *j)
{
    sum(j);
    j->c->services->sum_leaves(j->c->services->ctx, j->o->sum, (int)(2 * j->o->n), j->o->total);
}

static double count(const job *j)
{
    return (double)j->o->nshare * j->c->nt * j->c->nsequence;
}

/* Mean, then the variance about it, less what rounding has left of the mean. */
static void find_batch(job *j)
{
    own *o = j->o;
    double *mean = o->batch, *variance = o->batch + o->n, n = count(j);
    const stage_back *b = j->b;
    j->b = NULL;
    j->centre = NULL;
    sum_all(j);
    for (int64_t k = 0; k < o->n; k++) {
        mean[k] = o->total[k] / n;
    }
    j->centre = mean;
    sum_all(j);
    for (int64_t k = 0; k < o->n; k++) {
        double d = o->total[k] / n;
        variance[k] = fmax(o->total[o->n + k] / n - d * d, 0);
    }
    j->b = b;
}

/* --- forward ----------------------------------------------------------------------------------------------------------------- */
static void line_leaves(void *ctx, int first, int n, int worker)
{
    const job *j = ctx;
    const stage_call *c = j->c;
    unit_table u = table_of(j->o, c, first);
    (void)worker;
    c->be->ops->unit_line(c->be, &u, j->line, c->nt, view_of_leaf(c->in[0], first, n), view_of_leaf(c->out, first, n));
}

static void note_statistics(const job *j, const double *value)
{
    const own *o = j->o;
    double share = o->s.momentum, n = count(j);
    for (int64_t k = 0; k < o->n; k++) {
        double unbiased = o->batch[o->n + k] * (n > 1 ? n / (n - 1) : 1);
        j->c->statistics[MEAN * o->n + k] = (1 - share) * value[MEAN * o->n + k] + share * o->batch[k];
        j->c->statistics[VARIANCE * o->n + k] = (1 - share) * value[VARIANCE * o->n + k] + share * unbiased;
    }
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    job j = {.o = o, .c = c, .nactive = active(o, c), .line = o->line + c->network * (OFFSET + 1) * o->n};
    if (c->training) {
        const double *value = o->value + c->network * NPARAM * o->n;
        ASSERT(c->services && o->working);
        find_batch(&j);
        make_line(o, value, o->batch, o->batch + o->n, o->working);
        j.line = o->working;
        if (c->statistics) {
            note_statistics(&j, value);
        }
    }
    each(&j, c->nleaf, line_leaves);
    if (c->services) { /* a coupled stage swaps the borders of its output itself */
        c->services->swap(c->services->ctx, c->out, c->nt);
    }
}

/* --- adjoint: with d = x - mean, r = 1/sqrt(variance + epsilon), s the factor and N elements
 *     g_scale = r sum of gy d,  g_shift = sum of gy,  gx = s r (gy - g_shift/N - d r^2 (sum of gy d)/N);
 * outside training the mean and the variance do not follow x: gx = s r gy. --------------------------------------------------- */
static void line_leaves_back(void *ctx, int first, int n, int worker)
{
    const job *j = ctx;
    const stage_call *c = j->c;
    unit_table u = table_of(j->o, c, first);
    (void)worker;
    c->be->ops->unit_line_back(c->be, &u, j->line, c->nt, view_of_leaf(c->in[0], first, n), view_of_leaf(j->b->g_out, first, n),
                               view_of_leaf(j->b->g_in[0], first, n));
}

static void add_params(const job *j, const double *value, const double *variance)
{
    const own *o = j->o;
    for (int l = 0; j->b->g_par && l < j->c->nleaf; l++) {
        const double *mine = o->sum + (j->c->first + l) * 2 * o->n;
        double *g = j->b->g_par + l * j->b->g_par_stride;
        for (int64_t k = 0; k < o->n; k++) {
            double sign = o->s.positive_scale && value[SCALE * o->n + k] < 0 ? -1 : 1;
            g[SCALE * o->n + k] += sign * mine[o->n + k] / sqrt(variance[k] + o->s.epsilon);
            g[SHIFT * o->n + k] += mine[k];
        }
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    const double *value = o->value + c->network * NPARAM * o->n, *mean = value + MEAN * o->n, *variance = value + VARIANCE * o->n;
    job j = {.o = o, .c = c, .b = b, .nactive = active(o, c), .line = o->working};
    if (c->training) {
        find_batch(&j);
        mean = o->batch;
        variance = o->batch + o->n;
    }
    j.centre = mean;
    make_line(o, value, mean, variance, o->working);
    for (int64_t k = 0; k < o->n; k++) {
        o->working[OFFSET * o->n + k] = o->working[SLOPE * o->n + k] = 0;
    }
    if (c->training) {
        double n = count(&j);
        sum_all(&j);
        for (int64_t k = 0; k < o->n; k++) {
            double r2 = 1 / (variance[k] + o->s.epsilon), gain = factor(o, value[SCALE * o->n + k]) * sqrt(r2);
            double slope = -gain * r2 * o->total[o->n + k] / n;
            o->working[SLOPE * o->n + k] = (real)slope;
            o->working[OFFSET * o->n + k] = (real)(-gain * o->total[k] / n - slope * (mean[k] - (double)(real)mean[k]));
        }
    } else if (b->g_par) {
        sum(&j);
    }
    add_params(&j, value, variance);
    if (b->g_in[0].at) {
        each(&j, j.nactive, line_leaves_back);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    void *held[] = {o->start, o->value, o->line, o->sum, o->total, o->batch, o->working};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
        memory_free(held[i]);
    }
    memory_free(o);
}

const stage_type stage_batch_norm = {
    .name = "batch_norm",
    .help = "batch normalisation of each channel or each unit",
    .text = "  y = scale (x - mean)/sqrt(variance + epsilon) + shift                                                    (Ioffe & Szegedy 2015)\n"
            "  In training, mean and variance are those of the steps of a chunk (run.chunk; of a fit usually the whole window, burn-in\n"
            "  included), of all sequences in flight, and with each: channel of all pixels or cells; derivatives go through them.  Elsewhere\n"
            "  they are running ones, which follow each step of the optimiser:  running = (1 - momentum) running + momentum batch.  The\n"
            "  batch's variance is here the unbiased one; of several chunks the mean counts, each by its steps and sequences.  A search\n"
            "  (optimiser lbfgs, ...) sees all sequences at every point: momentum: 1 suits it.\n"
            "  A fit may change scale and shift; mean and variance are kept with its results.  Before step 0 the running statistics hold,\n"
            "  in training too.  positive_scale: |scale| in place of scale (Maheswaranathan et al. 2023).  A network with this stage cannot\n"
            "  be one of several (fit.networks).",
    STAGE_KEYS(settings, keys),
    .plan = batch_plan,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

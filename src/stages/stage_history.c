/* stage_history.c - generalised linear models: history and coupling filters, what has been counted weighed by raised cosines of time; and cells whose
 * own spikes feed back so. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "compute/cellmath_neuron.h"
#include "stages/stage.h"

enum { MOST_WEIGHTS = 1024 };

typedef struct settings {
    int64_t functions;
    double peaks_s[2], offset_s[1], weights[MOST_WEIGHTS];
    int npeak, noffset, nweight;
} settings;

static const key_spec keys[] = {
    {"functions", KEY_INT, NULL, "5", 2, 64, NULL, "raised cosines", offsetof(settings, functions), 0, 0},
    {"peaks", KEY_REALS, "s", "", 0, 1e6, NULL, "[first, last] peak (none: 1 and 50 steps)", offsetof(settings, peaks_s), offsetof(settings, npeak),
     2},
    {"offset", KEY_REALS, "s", "", 1e-9, 1e6, NULL, "b: large, the functions are as wide early as late (none: 5 steps)", offsetof(settings, offset_s),
     offsetof(settings, noffset), 1},
    {"weights", KEY_REALS, "", "", -1e12, 1e12, NULL, "of each function, channel after channel (none: 0, to be fitted)", offsetof(settings, weights),
     offsetof(settings, nweight), MOST_WEIGHTS},
};

typedef struct own {
    const stage_world *world;
    int nchan, nbasis, ntap; /* lags 1..ntap */
    double *basis;           /* [nbasis][ntap] */
    double *start;           /* [nchan][nbasis] weights before any fit */
    real *kernel;            /* [nchan][ntap + 1] on the way to a plan */
    double *g;               /* [own leaf][nchan][ntap + 1] */
    conv_desc desc;
    conv_plan **plan; /* [network] */
    /* of glm */
    const population *cells;
    neuron_desc poisson;
    view filtered, sum; /* [own leaf] one frame each */
} own;

/* B_j(t) = (1 + cos(min(|log(t + b) - c_j| pi/(2 d), pi)))/2; c_j d apart from log(first + b) to log(last + b), so that neighbours add up to 1
 * between the first and the last but one peak.  Pillow et al., Nature 454:995, 2008. */
static void make_basis(own *o, double first_s, double last_s, double b)
{
    double dt = o->world->step_s, c0 = log(first_s + b), d = (log(last_s + b) - c0) / (o->nbasis - 1);
    o->ntap = (int)fmax(1, floor((exp(c0 + (o->nbasis + 1) * d) - b) / dt));
    o->basis = MEMORY_NEW(double, (int64_t)o->nbasis * o->ntap);
    for (int j = 0; j < o->nbasis; j++) {
        for (int k = 1; k <= o->ntap; k++) {
            double phase = fabs(log(k * dt + b) - c0 - j * d) * M_PI / (2 * d);
            o->basis[j * o->ntap + k - 1] = (1 + cos(fmin(phase, M_PI))) / 2;
        }
    }
}

static void make_kernel(const own *o, const double *weight)
{
    for (int c = 0; c < o->nchan; c++) {
        o->kernel[c * (o->ntap + 1)] = 0;
        for (int k = 0; k < o->ntap; k++) {
            double sum = 0;
            for (int j = 0; j < o->nbasis; j++) {
                sum += weight[c * o->nbasis + j] * o->basis[j * o->ntap + k];
            }
            o->kernel[c * (o->ntap + 1) + k + 1] = (real)sum;
        }
    }
}

static own *common_plan(const stage_world *w, const settings *s, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    o->nchan = in[0].nchan;
    o->nbasis = (int)s->functions;
    int nweight = o->nchan * o->nbasis;
    double first = s->npeak > 0 ? s->peaks_s[0] : w->step_s, last = s->npeak > 1 ? s->peaks_s[1] : 50 * w->step_s;
    double b = s->noffset > 0 ? s->offset_s[0] : 5 * w->step_s;
    if (s->npeak == 1 || first >= last || last > 1e5 * w->step_s) {
        input_problem(w->in, at, "peaks: [first, last] are wanted, the last later than the first and within 100000 steps");
        first = w->step_s;
        last = 50 * w->step_s;
    }
    if (s->nweight != 0 && s->nweight != nweight) {
        input_problem(w->in, at, "weights: %d given; %d functions for each of %d channels want %d", s->nweight, o->nbasis, o->nchan, nweight);
    }
    make_basis(o, first, last, b);
    o->start = MEMORY_NEW(double, nweight);
    for (int i = 0; i < nweight && i < s->nweight; i++) {
        o->start[i] = s->weights[i];
    }
    o->kernel = MEMORY_NEW(real, (int64_t)o->nchan * (o->ntap + 1));
    make_kernel(o, o->start);
    o->desc = (conv_desc){.nchan_in = o->nchan,
                          .nchan_out = 1,
                          .groups = 1,
                          .kt = o->ntap + 1,
                          .ky = 1,
                          .kx = 1,
                          .tile_ny = in[0].cells ? 1 : in[0].pad_ny,
                          .tile_nx = in[0].cells ? in[0].cells->pad : in[0].pad_nx,
                          .max_nt = w->max_nt,
                          .algorithm = CONV_DIRECT,
                          .differentiate = w->differentiate};
    plan->nchan = 1;
    plan->unit = "1";
    plan->flop = 2.0 * o->nchan * o->ntap;
    stage_add_param(plan, (stage_param){.name = "weights", .unit = "1", .n = nweight, .ndim = 2, .dims = {o->nchan, o->nbasis}, .start = o->start,
                                        .min = -INFINITY, .max = INFINITY});
    snprintf(plan->note, sizeof plan->note, "%d raised cosines, %d lags", o->nbasis, o->ntap);
    return o;
}

static void *history_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = common_plan(w, s_, in, at, plan);
    plan->hist[0] = o->ntap;
    plan->past_zero = true;
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    o->plan = MEMORY_NEW(conv_plan *, o->world->nnet);
    for (int i = 0; i < o->world->nnet; i++) {
        o->plan[i] = be->ops->conv_create(be, &o->desc, o->kernel);
    }
    if (o->world->differentiate) {
        o->g = MEMORY_NEW(double, (int64_t)o->world->nleaf * o->nchan * (o->ntap + 1));
    }
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    make_kernel(o, value);
    be->ops->conv_set(be, o->plan[network], o->kernel);
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->conv(c->be, o->plan[c->network], c->nt, c->in[0], NULL, 0, c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    int64_t nkernel = (int64_t)o->nchan * (o->ntap + 1);
    double *g = b->g_par ? o->g + c->first * nkernel : NULL;
    if (g) {
        memset(g, 0, (size_t)(c->nleaf * nkernel) * sizeof *g);
    }
    c->be->ops->conv_back(c->be, o->plan[c->network], c->nt, c->in[0], NULL, NULL, 0, 0, b->g_out, NULL, 0, b->g_in[0], g, nkernel);
    c->be->ops->sync(c->be);
    for (int l = 0; g && l < c->nleaf; l++) {
        for (int i = 0; i < o->nchan * o->nbasis; i++) {
            const double *basis = o->basis + i % o->nbasis * o->ntap, *by_lag = g + l * nkernel + i / o->nbasis * (o->ntap + 1) + 1;
            double sum = 0;
            for (int k = 0; k < o->ntap; k++) {
                sum += basis[k] * by_lag[k];
            }
            b->g_par[l * b->g_par_stride + i] += sum;
        }
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    for (int i = 0; be && o->plan && i < o->world->nnet; i++) {
        be->ops->conv_destroy(be, o->plan[i]);
    }
    memory_free(o->plan);
    memory_free(o->basis);
    memory_free(o->start);
    memory_free(o->kernel);
    memory_free(o->g);
    memory_free(o);
}

const stage_type stage_history = {
    .name = "history",
    .help = "spike-history and coupling filters: counts of the past, weighed by raised cosines",
    .text = "  y[t] = sum over channels c, functions j and lags k >= 1 of weights[c][j] B_j(k dt) x_c[t-k];  what was counted before step 0 is 0.\n"
            "  B_j(t) = (1 + cos(clip((log(t + offset) - c_j) pi/(2 d), -pi, pi)))/2, the c_j d apart from log(first peak + offset) to log(last peak "
            "+ offset)\n"
            "  (Pillow et al., Nature 454:995, 2008).  Each pixel or cell has its own past (a history filter); the channels are mixed (coupling of "
            "cells that\n"
            "  were recorded together).  The counts are an input; for cells that feed back what they fire themselves see glm.",
    STAGE_KEYS(settings, keys),
    .plan = history_plan,
    .attach = attach,
    .set = set,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

/* --- glm: the same filter on what the cell itself has fired -------------------------------------------------------------------------- */
static void *glm_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "glm takes one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    own *o = common_plan(w, s_, in, at, plan);
    o->cells = in[0].cells;
    o->poisson = (neuron_desc){.kind = NEURON_POISSON,
                               .form = POISSON_COUNT,
                               .step_s = w->step_s,
                               .field_nx = w->grid.nx,
                               .random = {.seed = w->seed, .ntile = grid_ntile(&w->grid), .nseq = w->grid.nseq}};
    plan->unit = "spikes";
    plan->out_hist = o->ntap;
    plan->spikes = in[0].cells != NULL;
    plan->flop += 80;
    return o;
}

static view new_frames(const own *o, backend *be, view like)
{
    like.leaf_stride = like.frame_stride;
    like.at = be->ops->alloc(be, like.frame_stride * (o->world->nleaf > 0 ? o->world->nleaf : 1)) + like.halo * (like.row_stride + 1);
    return like;
}

static void glm_attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    attach(o, be, in);
    o->filtered = new_frames(o, be, in[0]);
    o->sum = new_frames(o, be, in[0]);
}

static void glm_forward(void *own_, const stage_call *c)
{
    own *o = own_;
    const backend_ops *ops = c->be->ops;
    const real weight[] = {1, 1}, exponential[4] = {1, 0, 1, 0};
    view filtered = view_of_leaf(o->filtered, c->first, c->nleaf), sum = view_of_leaf(o->sum, c->first, c->nleaf);
    neuron_desc d = o->poisson;
    d.random.draw = c->draw;
    const int64_t *id = stage_ids(o->cells, c);
    for (int l = 0; l < c->nleaf; l++) { /* the filter gives frame t itself the weight 0: let a number stand there */
        ops->fill(c->be, c->out.at + l * c->out.leaf_stride - c->out.halo * (c->out.row_stride + 1), 0, c->nt * c->out.frame_stride);
    }
    for (int t = 0; t < c->nt; t++) {
        view x[2] = {view_at_frame(c->in[0], t), filtered};
        ops->conv(c->be, o->plan[c->network], 1, view_at_frame(c->out, t), NULL, 0, filtered);
        ops->combine(c->be, 2, weight, 1, x, sum);
        ops->map(c->be, MAP_EXPONENTIAL, exponential, 4, 1, sum, sum);
        ops->neuron(c->be, &d, id, c->step0 + t, 1, sum, NULL, 0, view_at_frame(c->out, t), NULL, 0, c->spikes);
    }
}

static void glm_destroy(void *own_, backend *be)
{
    own *o = own_;
    view *temporary[] = {&o->filtered, &o->sum};
    for (int k = 0; be && k < 2; k++) {
        if (temporary[k]->at) {
            be->ops->release(be, temporary[k]->at - temporary[k]->halo * (temporary[k]->row_stride + 1));
        }
    }
    destroy(o, be);
}

const stage_type stage_glm = {
    .name = "glm",
    .help = "Poisson cells whose own spikes feed back: a generalised linear model that runs freely",
    .text = "  n[t] ~ Poisson(dt exp(x[t] + sum over functions j and lags k >= 1 of weights[j] B_j(k dt) n[t-k])),  rates in Hz;  B_j as history has "
            "them.\n"
            "  For simulation with fitted weights: fit with a history stage whose input are the recorded counts, an exponential and a Poisson loss.\n"
            "  No derivative goes through.",
    STAGE_KEYS(settings, keys),
    .plan = glm_plan,
    .attach = glm_attach,
    .set = set,
    .forward = glm_forward,
    .destroy = glm_destroy,
};

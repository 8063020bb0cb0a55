/* stage_highpass.c - the input minus its low-pass: undershoot of the centre, transience of ganglion cells. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { EXPONENTIAL, CONVIS, FIR, REST = 0, ZERO };

typedef struct settings {
    double tau_s, weight;
    int form, start;
} settings;

static const key_spec keys[] = {
    {"tau", KEY_REAL, "s", NULL, 1e-9, 1e6, NULL, "time constant of the low-pass that is taken off", offsetof(settings, tau_s), 0, 0},
    {"weight", KEY_REAL, "", NULL, -1000, 1000, NULL, "its weight: 0 nothing, 1 a constant input dies away", offsetof(settings, weight), 0, 0},
    {"form", KEY_WORD, NULL, "exponential", 0, 0, "exponential|convis|fir",
     "convis: low-pass of the frame before, with its gain; fir: Convis' truncated kernel of GanglionInput", offsetof(settings, form), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "state before step 0: steady state of the input's rest value, or 0",
     offsetof(settings, start), 0, 0},
};

typedef struct own {
    const stage_world *world;
    settings s;
    double *value; /* [network][nvalue] of all parameters */
    int nvalue;
    real (*par)[4]; /* [network] of the scan: b, c, weight */
    double *g;      /* [leaf] derivatives by them, or by the taps of each channel and the bias, of one call */
    int64_t g_stride;
    /* fir */
    bool free_taps; /* a fit changes the taps themselves, and a bias */
    int ntap;
    conv_desc desc;
    double *start; /* [ntap] */
    double no_bias;
    real *taps;       /* [channel][ntap], then the bias of each channel */
    conv_plan **conv; /* [network] */
} own;

/* --- recursive forms ------------------------------------------------------------------------------------------------------ */
typedef struct numbers { /* that follow from tau, and how they change with it */
    double b, c, b_tau, c_tau;
    double low, low_tau; /* steady state of the low-pass by the input */
} numbers;

static numbers numbers_of(const own *o, double tau_s)
{
    double dt = o->world->step_s;
    numbers n = {.low = 1};
    n.c = (double)(real)exp(-dt / tau_s); /* as it is computed with, so that a constant passes unchanged */
    n.c_tau = n.c * dt / (tau_s * tau_s);
    n.b = 1 - n.c;
    n.b_tau = -n.c_tau;
    if (o->s.form == CONVIS) {
        n.b = (1 + n.c) * dt / (2 * tau_s);
        n.b_tau = (n.c_tau - (1 + n.c) / tau_s) * dt / (2 * tau_s);
        if (n.c < 1) {
            n.low = n.b / (1 - n.c);
            n.low_tau = (n.b_tau + n.low * n.c_tau) / (1 - n.c);
        }
    }
    return n;
}

static void plan_recursive(own *o, const stage_world *w, const stage_input *in, stage_plan *plan)
{
    const settings *s = &o->s;
    int64_t plane = in->nchan * stage_plane(in);
    double low = s->start == REST ? numbers_of(o, s->tau_s).low * in->rest : 0;
    plan->rest = s->start == REST ? in->rest - s->weight * low : 0;
    plan->flop = 5;
    plan->state[plan->nstate++] = (stage_state){"low-pass", in->unit, plane, low};
    if (s->form == CONVIS) {
        plan->state[plan->nstate++] = (stage_state){"last input", in->unit, plane, in->rest};
    }
    plan->bytes_scratch = w->differentiate ? (double)scan_scratch(1, w->max_nt) * sizeof(real) : 0;
    snprintf(plan->note, sizeof plan->note, "recursive, tau %.4g s, weight %.4g", s->tau_s, s->weight);
}

/* --- Convis' truncated kernel (0.6.4.2): a = weight dt/tau, L = clip(trunc(-n ln(0.001/a)) + 1, 10, 1000) taps a exp(-(j + 0.4)/n), n = tau/dt,
 * taken off one frame later; kernel [1, -h_0, -h_1, ...].  L stays during a fit: that of the largest tau and weight it may come to. */
static int fir_length(double n, double weight)
{
    double a = weight / n, wanted = a > 0 ? trunc(-n * log(0.001 / a)) + 1 : 10;
    return wanted < 10 ? 10 : wanted > 1000 ? 1000 : (int)wanted;
}

static void taps_of(const own *o, double tau_s, double weight, double *k)
{
    double n = tau_s / o->world->step_s, a = weight / n;
    k[0] = 1;
    for (int j = 0; j < o->ntap - 1; j++) {
        k[j + 1] = -a * exp(-(j + 0.4) / n);
    }
}

/* Derivative by tau and weight from that by the taps. */
static void taps_back(const own *o, const double *value, const double *g, double *g_value)
{
    double n = value[0] / o->world->step_s, a = value[1] / n;
    for (int j = 0; j < o->ntap - 1; j++) {
        double shape = exp(-(j + 0.4) / n);
        g_value[0] += g[j + 1] * a * shape * (1 - (j + 0.4) / n) / value[0];
        g_value[1] -= g[j + 1] * shape / n;
    }
}

static void plan_fir(own *o, const stage_world *w, const stage_input *in, stage_plan *plan)
{
    const settings *s = &o->s;
    int nchan = in->nchan;
    o->free_taps = stage_is_fitted(w, plan->name, "taps") || stage_is_fitted(w, plan->name, "bias");
    double n = s->tau_s / w->step_s, n_most = stage_most(w, plan->name, "tau", s->tau_s) / w->step_s;
    double weight = stage_most(w, plan->name, "weight", s->weight), longest = fmin(n_most, 1000 * weight / 2.718281828459045);
    o->ntap = 1 + fir_length(n_most > n && longest > n ? longest : n, weight);
    o->start = MEMORY_NEW(double, o->ntap);
    o->taps = MEMORY_NEW(real, (o->ntap + 1) * nchan);
    o->conv = MEMORY_NEW(conv_plan *, w->nnet);
    taps_of(o, s->tau_s, s->weight, o->start);
    double sum = 0;
    for (int j = 0; j < o->ntap; j++) {
        sum += (double)(real)o->start[j];
    }
    o->desc = (conv_desc){.nchan_in = nchan,
                          .nchan_out = nchan,
                          .groups = nchan,
                          .kt = o->ntap,
                          .ky = 1,
                          .kx = 1,
                          .tile_ny = in->pad_ny,
                          .tile_nx = in->pad_nx,
                          .max_nt = w->max_nt,
                          .algorithm = CONV_DIRECT,
                          .bias = o->free_taps,
                          .differentiate = w->differentiate};
    plan->hist[0] = o->ntap - 1;
    plan->flop = 2.0 * o->ntap - 2;
    plan->past_zero = s->start == ZERO;
    plan->rest = s->start == REST ? sum * in->rest : 0;
    snprintf(plan->note, sizeof plan->note, "direct, %d taps in time", o->ntap);
}

static double tap_sum(const own *o, const double *value)
{
    double sum = 0, *k = MEMORY_NEW(double, o->ntap);
    if (!o->free_taps) {
        taps_of(o, value[0], value[1], k);
    }
    for (int j = 0; j < o->ntap; j++) {
        sum += (double)(real)(o->free_taps ? value[j] : k[j]);
    }
    memory_free(k);
    return sum;
}

/* --- both ----------------------------------------------------------------------------------------------------------------- */
static void *highpass_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    o->s = *(const settings *)s_;
    plan->wants_rest = o->s.start == REST;
    if (o->s.form == FIR && in[0].cells) {
        input_problem(w->in, at, "form: fir works on maps, not on cells");
    }
    if (o->s.form == FIR) {
        plan_fir(o, w, &in[0], plan);
    } else {
        plan_recursive(o, w, &in[0], plan);
    }
    if (o->free_taps) {
        stage_add_param(plan, (stage_param){.name = "taps", .unit = "", .n = o->ntap, .ndim = 1, .dims = {o->ntap}, .start = o->start,
                                            .min = -INFINITY, .max = INFINITY});
        stage_add_param(plan, (stage_param){.name = "bias", .unit = in[0].unit, .n = 1, .start = &o->no_bias, .min = -INFINITY, .max = INFINITY});
    } else {
        stage_add_number(plan, &keys[0], &o->s.tau_s, PARAM_POSITIVE);
        stage_add_number(plan, &keys[1], &o->s.weight, PARAM_FREE);
    }
    o->nvalue = o->free_taps ? o->ntap + 1 : 2;
    o->value = MEMORY_NEW(double, w->nnet * o->nvalue);
    o->par = memory_alloc((size_t)w->nnet, sizeof *o->par);
    o->g_stride = o->s.form == FIR ? (int64_t)in[0].nchan * (o->ntap + 1) : 4;
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    (void)in;
    const stage_world *w = o->world;
    if (w->differentiate) {
        o->g = MEMORY_NEW(double, w->nleaf * o->g_stride);
    }
    if (w->differentiate && o->s.form != FIR) {
        be->ops->reserve(be, scan_scratch(1, w->max_nt));
    }
    for (int c = 0; o->taps && c < o->desc.nchan_out; c++) {
        for (int j = 0; j < o->ntap; j++) {
            o->taps[c * o->ntap + j] = (real)o->start[j];
        }
    }
    for (int i = 0; o->conv && i < w->nnet; i++) {
        o->conv[i] = be->ops->conv_create(be, &o->desc, o->taps);
    }
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    memcpy(o->value + network * o->nvalue, value, (size_t)o->nvalue * sizeof *value);
    if (o->s.form != FIR) {
        numbers n = numbers_of(o, value[0]);
        o->par[network][0] = (real)n.b;
        o->par[network][1] = (real)n.c;
        o->par[network][2] = (real)value[1];
        return;
    }
    double *k = MEMORY_NEW(double, o->ntap);
    if (o->free_taps) {
        memcpy(k, value, (size_t)o->ntap * sizeof *k);
    } else {
        taps_of(o, value[0], value[1], k);
    }
    for (int i = 0; i < o->desc.nchan_out * o->ntap; i++) {
        o->taps[i] = (real)k[i % o->ntap];
    }
    for (int c = 0; c < o->desc.nchan_out; c++) {
        o->taps[o->desc.nchan_out * o->ntap + c] = o->free_taps ? (real)value[o->ntap] : 0;
    }
    be->ops->conv_set(be, o->conv[network], o->taps);
    memory_free(k);
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    const double *value = o->value + network * o->nvalue;
    bool at_rest = o->s.start == REST;
    if (o->s.form == FIR) {
        rest[0] = (at_rest ? tap_sum(o, value) * rest_in[0] : 0) + (o->free_taps ? value[o->ntap] : 0);
        return;
    }
    double low = at_rest ? numbers_of(o, value[0]).low * rest_in[0] : 0;
    rest[0] = at_rest ? rest_in[0] - value[1] * low : 0;
    state[0] = low;
    if (o->s.form == CONVIS) {
        state[1] = rest_in[0];
    }
}

static void fir_start_back(const own *o, const double *value, double rest_in, double g_rest, double *g_rest_in, double *g_value)
{
    bool at_rest = o->s.start == REST;
    if (o->free_taps) {
        g_value[o->ntap] += g_rest;
    }
    if (!at_rest) {
        return;
    }
    *g_rest_in += g_rest * tap_sum(o, value);
    double *g = MEMORY_NEW(double, o->ntap);
    for (int j = 0; j < o->ntap; j++) {
        g[j] = g_rest * rest_in;
        g_value[o->free_taps ? j : 0] += o->free_taps ? g[j] : 0;
    }
    if (!o->free_taps) {
        taps_back(o, value, g, g_value);
    }
    memory_free(g);
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    const double *value = o->value + network * o->nvalue;
    if (o->s.form == FIR) {
        fir_start_back(o, value, rest_in[0], g_rest[0], g_rest_in, g_value);
        return;
    }
    g_rest_in[0] += o->s.form == CONVIS ? g_start[1] : 0;
    if (o->s.start == REST) {
        numbers n = numbers_of(o, value[0]);
        double g_low = g_start[0] - value[1] * g_rest[0];
        g_rest_in[0] += g_rest[0] + g_low * n.low;
        g_value[0] += g_low * n.low_tau * rest_in[0];
        g_value[1] -= g_rest[0] * n.low * rest_in[0];
    }
}

/* The last number says that this is the first step of the run. */
static enum cell_scan scan_of(const own *o, const stage_call *c, real par[4], int *npar)
{
    memcpy(par, o->par[c->network], sizeof *o->par);
    par[3] = c->step0 == 0;
    *npar = o->s.form == CONVIS ? 4 : 3;
    return o->s.form == CONVIS ? SCAN_HIGHPASS_DELAYED : SCAN_HIGHPASS;
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    const backend_ops *ops = c->be->ops;
    if (o->s.form == FIR) {
        ops->conv(c->be, o->conv[c->network], c->nt, c->in[0], NULL, 0, c->out);
        return;
    }
    real par[4];
    int npar;
    enum cell_scan kind = scan_of(o, c, par, &npar);
    ops->scan(c->be, kind, par, npar, c->nt, c->in[0], c->state[0], c->state_stride, c->out);
}

static void fir_backward(const own *o, const stage_call *c, const stage_back *b, double *g)
{
    const backend_ops *ops = c->be->ops;
    int64_t nkernel = (int64_t)o->desc.nchan_out * o->ntap;
    const double *value = o->value + c->network * o->nvalue;
    ops->conv_back(c->be, o->conv[c->network], c->nt, c->in[0], NULL, NULL, 0, 0, b->g_out, NULL, 0, b->g_in[0], g, o->g_stride);
    ops->sync(c->be);
    for (int l = 0; g && l < c->nleaf; l++) {
        double *mine = g + l * o->g_stride, *to = b->g_par + l * b->g_par_stride;
        for (int64_t i = o->ntap; i < nkernel; i++) { /* all channels have the same taps */
            mine[i % o->ntap] += mine[i];
        }
        if (!o->free_taps) {
            taps_back(o, value, mine, to);
            continue;
        }
        for (int j = 0; j < o->ntap; j++) {
            to[j] += mine[j];
        }
        for (int k = 0; k < o->desc.nchan_out; k++) {
            to[o->ntap] += mine[nkernel + k];
        }
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    double *g = b->g_par ? o->g + c->first * o->g_stride : NULL;
    if (g) {
        memset(g, 0, (size_t)(c->nleaf * o->g_stride) * sizeof *g);
    }
    if (o->s.form == FIR) {
        fir_backward(o, c, b, g);
        return;
    }
    real par[4];
    int npar;
    enum cell_scan kind = scan_of(o, c, par, &npar);
    c->be->ops->scan_back(c->be, kind, par, npar, c->nt, c->in[0], c->state[0], c->state_stride, b->g_out, b->g_state[0], b->g_state_stride,
                          b->g_in[0], g, o->g_stride);
    c->be->ops->sync(c->be);
    numbers n = numbers_of(o, o->value[c->network * o->nvalue]);
    for (int l = 0; g && l < c->nleaf; l++) {
        const double *mine = g + l * o->g_stride;
        b->g_par[l * b->g_par_stride] += mine[0] * n.b_tau + mine[1] * n.c_tau;
        b->g_par[l * b->g_par_stride + 1] += mine[2];
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    for (int i = 0; be && o->conv && i < o->world->nnet; i++) {
        be->ops->conv_destroy(be, o->conv[i]);
    }
    memory_free(o->conv);
    memory_free(o->start);
    memory_free(o->taps);
    memory_free(o->value);
    memory_free(o->par);
    memory_free(o->g);
    memory_free(o);
}

const stage_type stage_highpass = {
    .name = "highpass",
    .help = "input minus its exponential low-pass (undershoot, transience)",
    .text = "  y = x - weight LP(x),  LP_t = (1-c) x_t + c LP_(t-1),  c = exp(-dt/tau):  kernel delta - weight exp(-t/tau)/tau of VirtualRetina.\n"
            "  form fir: a fit may change tau and weight, or instead of them all `taps` and a `bias`.",
    STAGE_KEYS(settings, keys),
    .plan = highpass_plan,
    .attach = attach,
    .set = set,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

/* stage_conv.c - convolution with a kernel in space and time, or a bank of them: the L of LN, the layers of CNNs; and the dense readout, which is the
 * same with kernels of the whole map, at the one place where they fit.
 *
 * Region `valid` needs no code but a view: the output's pixel (0, 0) is that of the input at which a kernel just fits. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "compute/conv.h"
#include "stages/kernel.h"

enum { ZERO, REST, FIRST_FRAME };
enum { IMPULSE_RESPONSE, RECEPTIVE_FIELD };
enum { KERNEL, BIAS }; /* parameters */

typedef struct settings {
    kernel_settings kernel;
    int algorithm, start, region, reading;
    double scale;
    int64_t groups, lags; /* lags: dense */
    bool bias;
} settings;

#define COMMON_KEYS                                                                                                                                  \
    {"algorithm", KEY_WORD, NULL, "auto", 0, 0, "auto|fft|separable|direct|window", "auto: the cheapest by the plan's cost model",                   \
     offsetof(settings, algorithm), 0, 0},                                                                                                           \
    {"start", KEY_WORD, NULL, "rest", 0, 0, "zero|rest|first_frame", "the past before step 0: 0, the input's rest value, the first frame for ever",  \
     offsetof(settings, start), 0, 0},                                                                                                               \
    {"kernel_is", KEY_WORD, NULL, "impulse_response", 0, 0, "impulse_response|receptive_field",                                                      \
     "receptive_field: a profile laid on the stimulus, as an STA is; it is turned by 180 degrees", offsetof(settings, reading), 0, 0},               \
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor on the kernel before any fit", offsetof(settings, scale), 0, 0}

static const key_spec keys[] = {
    KERNEL_SHAPE_KEYS(settings, kernel),
    KERNEL_INIT_KEYS(settings, kernel),
    {"bias", KEY_FLAG, NULL, "false", 0, 0, NULL, "add a constant to each output, 0 before any fit", offsetof(settings, bias), 0, 0},
    {"region", KEY_WORD, NULL, "same", 0, 0, "same|valid", "same: a map like the input's; valid: only where the kernel fits inside the input",
     offsetof(settings, region), 0, 0},
    {"groups", KEY_INT, NULL, "1", 1, 100000, NULL, "input and output channels in as many parts that do not mix", offsetof(settings, groups), 0, 0},
    COMMON_KEYS,
};

static const key_spec dense_keys[] = {
    {"channels", KEY_INT, NULL, "1", 1, 100000, NULL, "outputs", offsetof(settings, kernel.channels), 0, 0},
    {"lags", KEY_INT, NULL, "1", 1, 100000, NULL, "steps of the past that are weighed, the present one among them", offsetof(settings, lags), 0, 0},
    {"kernel", KEY_PATH, NULL, "", 0, 0, NULL, "instead: FILE.h5:/dataset [out][in][t][y][x] as large as the map, as conv has it",
     offsetof(settings, kernel.path), 0, 0},
    KERNEL_INIT_KEYS(settings, kernel),
    {"bias", KEY_FLAG, NULL, "true", 0, 0, NULL, "add a constant to each output, 0 before any fit", offsetof(settings, bias), 0, 0},
    COMMON_KEYS,
};

typedef struct own {
    conv_desc desc;
    conv_info info;
    int start, nnet;
    bool valid;
    int64_t nvalue;      /* kernel and bias */
    grid_tile *tile;     /* [own leaf] of a valid map */
    double *first;       /* [nvalue] before any fit */
    double *value;       /* [nnet][nvalue] as the plans have them */
    real *rounded;       /* [nvalue] on the way to a plan */
    backend *be;
    conv_plan **plan;    /* [nnet] */
    view rest_frame;     /* strides of one frame of a leaf; at: of network 0 at the input's rest value; NULL: not needed */
    int64_t rest_stride; /* between networks */
} own;

static void describe(const own *o, stage_plan *plan)
{
    static const char *const name[] = {"auto", "FFT", "separable", "direct", "window"};
    const conv_desc *d = &o->desc;
    char how[64] = "";
    if (o->info.algorithm == CONV_FFT) {
        snprintf(how, sizeof how, " %d x %d", o->info.fft_ny, o->info.fft_nx);
    }
    snprintf(plan->note, sizeof plan->note, "%s%s, kernel %d x %d x %d%s%s, %.3g MFLOP a frame", name[o->info.algorithm], how, d->kt, d->ky, d->kx,
             o->info.rank > 0 ? " of low rank" : "", o->valid ? ", valid" : "", o->info.flop_per_frame * 1e-6);
}

/* The rest value of each output: its kernel's sum times that of the input, and the bias. */
static void plan_rest(const own *o, const stage_world *w, const stage_input *in, stage_plan *plan)
{
    int64_t one = conv_kernel_reals(&o->desc) / o->desc.nchan_out;
    for (int out = 0; out < o->desc.nchan_out; out++) {
        double sum = 0, size = 0;
        for (int64_t i = out * one; i < (out + 1) * one; i++) {
            sum += o->first[i];
            size += fabs(o->first[i]);
        }
        double rest = o->start == ZERO ? 0 : sum * in->rest;
        plan->rest = out == 0 ? rest : plan->rest;
        plan->rest_varies = plan->rest_varies || fabs(rest - plan->rest) > 1e-6 * size * fabs(in->rest); /* beyond rounding in the file */
    }
    bool fitted = (o->start != ZERO && stage_is_fitted(w, plan->name, "kernel")) || (o->desc.bias && stage_is_fitted(w, plan->name, "bias"));
    plan->rest_varies = plan->rest_varies || (in->rest_varies && o->start != ZERO) || (fitted && o->desc.nchan_out > 1);
}

static void plan_params(own *o, const int64_t d[5], stage_plan *plan)
{
    int64_t nkernel = conv_kernel_reals(&o->desc);
    stage_add_param(plan, (stage_param){.name = "kernel", .unit = "", .n = nkernel, .ndim = 5, .dims = {d[0], d[1], d[2], d[3], d[4]},
                                        .start = o->first, .min = -INFINITY, .max = INFINITY});
    if (o->desc.bias) {
        stage_add_param(plan, (stage_param){.name = "bias", .unit = plan->unit, .n = d[0], .ndim = 1, .dims = {d[0]}, .start = o->first + nkernel,
                                            .min = -INFINITY, .max = INFINITY});
    }
}

/* The smaller maps of region valid.  A kernel that does not fit was refused. */
static void plan_valid(own *o, const stage_world *w, const stage_input *in, stage_plan *plan)
{
    o->valid = true;
    o->tile = stage_plan_smaller(plan, w, in, in->pad_ny - o->desc.ky + 1, in->pad_nx - o->desc.kx + 1);
    o->desc.tile_ny = plan->pad_ny;
    o->desc.tile_nx = plan->pad_nx;
}

static void choose(own *o, const stage_world *w, stage_plan *plan)
{
    conv_factors *factors;
    for (int64_t i = 0; i < o->nvalue; i++) {
        o->rounded[i] = (real)o->first[i];
    }
    o->info = conv_choose(&o->desc, &conv_core, o->rounded, &factors);
    conv_factors_destroy(factors);
    double pixels = (double)o->desc.nchan_out * o->desc.tile_ny * o->desc.tile_nx;
    int halo = o->info.halo_before > o->info.halo_after ? o->info.halo_before : o->info.halo_after;
    plan->halo[0] = o->valid ? 0 : halo;
    plan->hist[0] = o->info.hist;
    plan->flop = o->info.flop_per_frame / pixels;
    plan->bytes = o->info.bytes_per_frame / pixels;
    plan->bytes_held = o->info.bytes_held * w->nnet;
    plan->bytes_thread = o->info.bytes_thread;
    plan->tape = w->differentiate ? o->info.tape : 0;
}

static void *plan_stage(const stage_world *w, const settings *s, const stage_input *in, bool valid, const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    int64_t d[5] = {1, 1, 1, 1, 1};
    int groups = in->nchan % s->groups == 0 ? (int)s->groups : 1;
    double *k = kernel_make(w, &s->kernel, plan->name, in, (int)s->groups, at, d);
    int ny = in->tile || valid ? in->pad_ny : w->grid.ny, nx = in->tile || valid ? in->pad_nx : w->grid.nx;
    if (!k) {
        d[0] = groups;
        d[1] = in->nchan / groups;
        d[2] = d[3] = d[4] = 1;
    } else if ((d[3] > ny || d[4] > nx) && valid) {
        input_problem(w->in, input_child(at, s->kernel.path ? "kernel" : "size"), "%lld x %lld pixels is larger than the field of %d x %d",
                      (long long)d[4], (long long)d[3], nx, ny);
    } else if (d[3] > ny || d[4] > nx) { /* Convis computes that too: the field's edge goes on for ever */
        log_warn("model.stages.%s: the kernel, %lld x %lld pixels, is larger than the field of %d x %d: its outer taps see the repeated edge",
                 plan->name, (long long)d[4], (long long)d[3], nx, ny);
    }
    o->start = s->start;
    o->nnet = w->nnet;
    o->desc = (conv_desc){.nchan_in = in->nchan, .nchan_out = (int)d[0], .groups = groups, .kt = (int)d[2], .ky = (int)d[3], .kx = (int)d[4],
                          .tile_ny = in->pad_ny, .tile_nx = in->pad_nx, .max_nt = w->max_nt, .algorithm = (enum conv_algorithm)s->algorithm,
                          .bias = s->bias, .differentiate = w->differentiate, .varies = stage_is_fitted(w, plan->name, "kernel")};
    int64_t nkernel = conv_kernel_reals(&o->desc);
    o->nvalue = nkernel + (s->bias ? d[0] : 0);
    o->first = MEMORY_NEW(double, o->nvalue);
    o->value = MEMORY_NEW(double, w->nnet * o->nvalue);
    o->rounded = MEMORY_NEW(real, o->nvalue);
    o->plan = MEMORY_NEW(conv_plan *, w->nnet);
    int64_t plane = d[3] * d[4];
    for (int64_t i = 0; k && i < nkernel; i++) {
        o->first[i] = s->scale * k[s->reading == RECEPTIVE_FIELD ? i - i % plane + plane - 1 - i % plane : i];
    }
    memory_free(k);
    for (int n = 0; n < w->nnet; n++) {
        memcpy(o->value + n * o->nvalue, o->first, (size_t)o->nvalue * sizeof(double));
    }
    plan->nchan = (int)d[0];
    plan->past_zero = s->start == ZERO;
    plan->wants_rest = s->start == REST && d[2] > 1;
    plan->past_first_frame = s->start == FIRST_FRAME;
    if (valid) {
        plan_valid(o, w, in, plan);
    }
    choose(o, w, plan);
    plan_params(o, d, plan);
    plan_rest(o, w, in, plan);
    if (o->info.nstate > 0) {
        plan->state[plan->nstate++] = (stage_state){"spectra of past frames", in->unit, o->info.nstate, 0};
    }
    describe(o, plan);
    return o;
}

static void *conv_stage_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    return plan_stage(w, s, &in[0], s->region == 1, at, plan);
}

static void *dense_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    settings s = *(const settings *)s_;
    s.groups = 1;
    if (!s.kernel.path) {
        s.kernel.nsize = 3;
        s.kernel.size[0] = (double)s.lags;
    }
    own *o = plan_stage(w, &s, &in[0], true, at, plan);
    if (s.kernel.path && (o->desc.ky != in[0].pad_ny || o->desc.kx != in[0].pad_nx)) {
        input_problem(w->in, input_child(at, "kernel"), "%d x %d pixels, but the map of '%s' has %d x %d", o->desc.kx, o->desc.ky, in[0].name,
                      in[0].pad_nx, in[0].pad_ny);
    }
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    o->be = be;
    o->desc.algorithm = o->info.algorithm;
    for (int n = 0; n < o->nnet; n++) {
        o->plan[n] = be->ops->conv_create(be, &o->desc, o->rounded);
        o->desc.like = o->plan[0];
    }
    if (o->info.nstate > 0 && o->start == REST) {
        o->rest_frame = in[0];
        o->rest_stride = in[0].frame_stride;
        o->rest_frame.at = be->ops->alloc(be, o->nnet * o->rest_stride);
        o->rest_frame.at += in[0].halo * in[0].row_stride + in[0].halo;
    }
}

static void set(void *own_, backend *be, int network, const double *value)
{
    own *o = own_;
    double *now = o->value + network * o->nvalue;
    if (memcmp(now, value, (size_t)o->nvalue * sizeof(double)) == 0) { /* as the plan was made */
        return;
    }
    memcpy(now, value, (size_t)o->nvalue * sizeof(double));
    for (int64_t i = 0; i < o->nvalue; i++) {
        o->rounded[i] = (real)value[i];
    }
    be->ops->conv_set(be, o->plan[network], o->rounded);
}

/* Of the first output, as plan.rest is; and the frame that the past is made of. */
static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    own *o = own_;
    const double *value = o->value + network * o->nvalue;
    int64_t kernel = conv_kernel_reals(&o->desc), one = kernel / o->desc.nchan_out;
    double sum = 0;
    (void)state;
    for (int64_t i = 0; i < one; i++) {
        sum += value[i];
    }
    rest[0] = (o->start == ZERO ? 0 : sum * rest_in[0]) + (o->desc.bias ? value[kernel] : 0);
    if (o->rest_frame.at) {
        dreal *frame = o->rest_frame.at - o->rest_frame.halo * o->rest_frame.row_stride - o->rest_frame.halo;
        o->be->ops->fill(o->be, frame + network * o->rest_stride, (real)rest_in[0], o->rest_stride);
    }
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_state[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    const double *value = o->value + network * o->nvalue;
    int64_t kernel = conv_kernel_reals(&o->desc), one = kernel / o->desc.nchan_out;
    (void)g_state; /* conv_start_back took it */
    for (int64_t i = 0; o->start != ZERO && i < one; i++) {
        g_rest_in[0] += g_rest[0] * value[i];
        g_value[i] += g_rest[0] * rest_in[0];
    }
    if (o->desc.bias) {
        g_value[kernel] += g_rest[0];
    }
}

/* The input as the op sees it, of the size of the output. */
static view input_of(const own *o, view x, int first)
{
    if (o->valid && x.at) {
        int halo = o->info.halo_before > o->info.halo_after ? o->info.halo_before : o->info.halo_after;
        x.at += conv_before(o->desc.ky) * x.row_stride + conv_before(o->desc.kx);
        x.tile = o->tile + first;
        x.halo = halo; /* inside the input */
        x.pad_ny = o->desc.tile_ny;
        x.pad_nx = o->desc.tile_nx;
    }
    return x;
}

/* State at step 0: the spectra of one frame again and again. */
static void make_past(const own *o, const stage_call *c, view x)
{
    for (int l = 0; l < c->nleaf; l++) {
        view past = view_of_leaf(x, l, 1);
        if (o->start == REST) { /* every leaf has the same past */
            past.at = o->rest_frame.at + c->network * o->rest_stride;
            past.at += o->valid ? conv_before(o->desc.ky) * x.row_stride + conv_before(o->desc.kx) : 0;
        }
        c->be->ops->conv_start(c->be, o->plan[c->network], past, c->state[0] + l * c->state_stride, c->state_stride);
    }
}

static bool starts_here(const own *o, const stage_call *c)
{
    return c->step0 == 0 && o->info.nstate > 0 && o->start != ZERO;
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    view x = input_of(o, c->in[0], c->first);
    dreal *state = o->info.nstate > 0 ? c->state[0] : NULL;
    if (starts_here(o, c)) {
        make_past(o, c, x);
    }
    if (c->tape && o->info.tape > 0) {
        c->be->ops->conv_taped(c->be, o->plan[c->network], c->nt, x, state, c->state_stride, c->out, c->tape, c->tape_stride);
    } else {
        c->be->ops->conv(c->be, o->plan[c->network], c->nt, x, state, c->state_stride, c->out);
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    view x = input_of(o, c->in[0], c->first), gx = input_of(o, b->g_in[0], c->first);
    bool has_state = o->info.nstate > 0;
    dreal *g_state = has_state ? b->g_state[0] : NULL;
    if (starts_here(o, c)) {
        make_past(o, c, x);
    }
    c->be->ops->conv_back(c->be, o->plan[c->network], c->nt, x, has_state ? c->state[0] : NULL, c->tape, c->tape_stride, c->state_stride, b->g_out,
                          g_state, b->g_state_stride, gx, b->g_par, b->g_par_stride);
    for (int l = 0; starts_here(o, c) && gx.at && l < c->nleaf; l++) {
        view past = view_of_leaf(gx, l, 1);
        double *g_rest = o->start == REST && b->g_rest ? b->g_rest + l * b->g_rest_stride : NULL;
        past.at = o->start == FIRST_FRAME ? past.at : NULL;
        c->be->ops->conv_start_back(c->be, o->plan[c->network], 1, x.tile + l, g_state + l * b->g_state_stride, b->g_state_stride, past, g_rest);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    for (int n = o->nnet - 1; be && n >= 0; n--) { /* the others use the first's memory */
        be->ops->conv_destroy(be, o->plan[n]);
    }
    if (o->rest_frame.at) {
        be->ops->release(be, o->rest_frame.at - o->rest_frame.halo * o->rest_frame.row_stride - o->rest_frame.halo);
    }
    memory_free(o->plan);
    memory_free(o->tile);
    memory_free(o->first);
    memory_free(o->value);
    memory_free(o->rounded);
    memory_free(o);
}

#define CONV_STAGE                                                                                                                                   \
    .wants_map = true, .long_chunks = true, .attach = attach, .set = set, .start = start, .start_back = start_back, .forward = forward,              \
    .backward = backward, .destroy = destroy

const stage_type stage_conv = {
    .name = "conv",
    .help = "convolution with any kernel in space and time, or a bank of kernels",
    .text = "  y_o[t,y,x] = b_o + sum over c, k, j, i of K[o,c,k,j,i] x_c[t-k, y + ky/2 - j, x + kx/2 - i]:  K is the impulse response, k the past.\n"
            "  region: valid gives the (ny - ky + 1) x (nx - kx + 1) pixels where the kernel fits: x_c[t-k, y + ky-1 - j, x + kx-1 - i].\n"
            "  Algorithms: fft (one 2-D FFT a frame, lags summed in the frequency domain), separable (low-rank kernels), direct, window (small\n"
            "  maps: the direct sum, many steps at a time).  Parameters: kernel [out][in/groups][t][y][x], bias [out].\n"
            KERNEL_SHAPES_TEXT,
    STAGE_KEYS(settings, keys),
    CONV_STAGE,
    .plan = conv_stage_plan,
};

const stage_type stage_dense = {
    .name = "dense",
    .help = "readout: each output weighs all pixels and channels of the map, now or over some steps of the past (Convis' RF)",
    .text = "  y_o[t] = b_o + sum over c, k, j, i of K[o,c,k,j,i] x_c[t-k, ny-1-j, nx-1-i]:  conv, region: valid, with a kernel as large as the\n"
            "  map; the output is a map of one pixel.  Parameters: kernel [out][in][t][y][x] (an impulse response: the profile turned over),\n"
            "  bias [out].",
    STAGE_KEYS(settings, dense_keys),
    CONV_STAGE,
    .plan = dense_plan,
};

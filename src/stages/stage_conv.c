/* stage_conv.c - convolution with an arbitrary kernel in space and time, or a bank of them, read from HDF5: the L of LN. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/store.h"
#include "compute/conv.h"
#include "stages/stage.h"

enum { ZERO, REST, FIRST_FRAME };

typedef struct settings {
    const char *kernel;
    int algorithm, start;
    double scale;
} settings;

static const key_spec keys[] = {
    {"kernel", KEY_PATH, NULL, NULL, 0, 0, NULL, "FILE.h5:/dataset, [t][y][x], [out][t][y][x] or [out][in][t][y][x]; its impulse response",
     offsetof(settings, kernel), 0, 0},
    {"algorithm", KEY_WORD, NULL, "auto", 0, 0, "auto|fft|separable|direct", "auto: the cheapest by the plan's cost model",
     offsetof(settings, algorithm), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "zero|rest|first_frame", "the input's past before step 0: 0, its rest value, or the first frame for ever",
     offsetof(settings, start), 0, 0},
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor on the kernel", offsetof(settings, scale), 0, 0},
};

typedef struct own {
    conv_desc desc;
    conv_info info;
    real *kernel;
    conv_plan *plan;
    int start;
    double rest;
    view rest_frame; /* one frame of a leaf at the input's rest value; at NULL: not needed */
} own;

/* Reads the kernel; problems at `at`, NULL with them.  dims: [out][in][t][y][x]. */
static double *read_kernel(const stage_world *w, const char *path, const input_node *at, int64_t dims[5])
{
    const char *colon = strrchr(path, ':'), *why = NULL;
    if (!colon || colon[1] != '/') {
        input_problem(w->in, at, "'%s' names no dataset; write FILE.h5:/dataset", path);
        return NULL;
    }
    char *file = memory_text("%.*s", (int)(colon - path), path);
    store *s = store_open_read(file, &why);
    double *k = NULL;
    if (!s) {
        input_problem(w->in, at, "cannot read '%s': %s", file, why);
    } else {
        store_info info = store_look(s, colon + 1);
        if (!info.found || info.rank < 3) {
            input_problem(w->in, at, "'%s' has no dataset '%s' of numbers with 3 to 5 dimensions: [t][y][x], [out][t][y][x] or [out][in][t][y][x]",
                          file, colon + 1);
        } else {
            int64_t n = 1, start[5] = {0};
            for (int i = 0; i < 5; i++) {
                dims[i] = i < 5 - info.rank ? 1 : info.dims[i - (5 - info.rank)];
            }
            if (info.rank == 4) { /* [out][t][y][x] */
                dims[0] = info.dims[0];
                dims[1] = 1;
            }
            for (int i = 0; i < 5; i++) {
                n *= dims[i];
            }
            k = MEMORY_NEW(double, n);
            if (n < 1 || !store_read(s, colon + 1, STORE_F64, start, info.dims, k)) {
                input_problem(w->in, at, "cannot read '%s' of '%s' as numbers", colon + 1, file);
                memory_free(k);
                k = NULL;
            }
            for (int64_t i = 0; k && i < n; i++) {
                if (!isfinite(k[i])) {
                    input_problem(w->in, at, "value %lld of '%s' is not finite", (long long)i, path);
                    break;
                }
            }
        }
        store_close_read(s);
    }
    memory_free(file);
    return k;
}

/* The kernel as it is computed with, and the rest value of each output: its kernel's sum times that of the input. */
static void take_kernel(own *o, const settings *s, const double *k, const int64_t d[5], const stage_input *in, stage_plan *plan)
{
    int64_t one = d[1] * d[2] * d[3] * d[4];
    for (int64_t out = 0; out < d[0]; out++) {
        double sum = 0, size = 0;
        for (int64_t i = out * one; i < (out + 1) * one; i++) {
            o->kernel[i] = (real)(s->scale * k[i]);
            sum += s->scale * k[i];
            size += fabs(s->scale * k[i]);
        }
        double rest = s->start == ZERO ? 0 : sum * in->rest;
        plan->rest = out == 0 ? rest : plan->rest;
        plan->rest_varies = plan->rest_varies || fabs(rest - plan->rest) > 1e-6 * size * fabs(in->rest); /* beyond rounding in the file */
    }
    plan->rest_varies = plan->rest_varies || (in->rest_varies && s->start != ZERO);
}

static void *conv_stage_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    int64_t d[5] = {1, in[0].nchan, 1, 1, 1};
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    o->start = s->start;
    o->rest = in[0].rest;
    double *k = s->kernel ? read_kernel(w, s->kernel, input_child(at, "kernel"), d) : NULL;
    if (k && d[1] != in[0].nchan) {
        input_problem(w->in, input_child(at, "kernel"), "%lld input channels, but '%s' has %d", (long long)d[1], in[0].name, in[0].nchan);
    }
    if (d[3] > w->grid.ny || d[4] > w->grid.nx) {
        input_problem(w->in, input_child(at, "kernel"), "%lld x %lld pixels is larger than the field of %d x %d", (long long)d[4], (long long)d[3],
                      w->grid.nx, w->grid.ny);
    }
    o->kernel = MEMORY_NEW(real, d[0] * d[1] * d[2] * d[3] * d[4]);
    if (k) {
        take_kernel(o, s, k, d, in, plan);
    }
    memory_free(k);
    o->desc = (conv_desc){
        (int)d[1], (int)d[0], 1, (int)d[2], (int)d[3], (int)d[4], w->grid.tile_ny, w->grid.tile_nx, w->max_nt, (enum conv_algorithm)s->algorithm};
    conv_factors *factors;
    o->info = conv_choose(&o->desc, &conv_core, o->kernel, &factors);
    conv_factors_destroy(factors);
    static const char *const name[] = {"auto", "FFT", "separable", "direct"};
    int halo = o->info.halo_before > o->info.halo_after ? o->info.halo_before : o->info.halo_after;
    plan->nchan = (int)d[0];
    plan->unit = in[0].unit;
    plan->halo[0] = halo;
    plan->hist[0] = o->info.hist;
    plan->flop = o->info.flop_per_frame / ((double)d[0] * w->grid.tile_ny * w->grid.tile_nx);
    plan->bytes = o->info.bytes_per_frame / ((double)d[0] * w->grid.tile_ny * w->grid.tile_nx);
    plan->bytes_held = o->info.bytes_held;
    plan->bytes_thread = o->info.bytes_thread;
    plan->past_zero = s->start == ZERO;
    plan->wants_rest = s->start == REST && d[2] > 1;
    plan->past_first_frame = s->start == FIRST_FRAME;
    if (o->info.nstate > 0) {
        plan->state[plan->nstate++] = (stage_state){"spectra of past frames", in[0].unit, o->info.nstate, 0};
    }
    if (o->info.algorithm == CONV_FFT) {
        snprintf(plan->note, sizeof plan->note, "FFT %d x %d, kernel %lld x %lld x %lld, %.3g MFLOP a frame", o->info.fft_ny, o->info.fft_nx,
                 (long long)d[2], (long long)d[3], (long long)d[4], o->info.flop_per_frame * 1e-6);
    } else {
        snprintf(plan->note, sizeof plan->note, "%s, kernel %lld x %lld x %lld%s, %.3g MFLOP a frame", name[o->info.algorithm], (long long)d[2],
                 (long long)d[3], (long long)d[4], o->info.rank > 0 ? " of low rank" : "", o->info.flop_per_frame * 1e-6);
    }
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    o->desc.algorithm = o->info.algorithm;
    o->plan = be->ops->conv_create(be, &o->desc, o->kernel);
    if (o->info.nstate > 0 && o->start == REST) {
        o->rest_frame = in[0];
        o->rest_frame.at = be->ops->alloc(be, in[0].frame_stride);
        be->ops->fill(be, o->rest_frame.at, (real)o->rest, in[0].frame_stride);
        o->rest_frame.at += in[0].halo * in[0].row_stride + in[0].halo;
    }
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    if (c->step0 == 0 && o->info.nstate > 0 && o->start != ZERO) {
        for (int l = 0; l < c->nleaf; l++) {
            view past = view_of_leaf(c->in[0], l, 1);
            if (o->start == REST) { /* every leaf has the same past */
                past.at = o->rest_frame.at;
            }
            c->be->ops->conv_start(c->be, o->plan, past, c->state[0] + l * c->state_stride, c->state_stride);
        }
    }
    c->be->ops->conv(c->be, o->plan, c->nt, c->in[0], o->info.nstate > 0 ? c->state[0] : NULL, c->state_stride, c->out);
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be && o->plan) {
        be->ops->conv_destroy(be, o->plan);
    }
    if (o->rest_frame.at) {
        be->ops->release(be, o->rest_frame.at - o->rest_frame.halo * o->rest_frame.row_stride - o->rest_frame.halo);
    }
    memory_free(o->kernel);
    memory_free(o);
}

const stage_type stage_conv = {
    .name = "conv",
    .help = "convolution with any kernel in space and time, or a bank of kernels",
    .text = "  y_o[t,y,x] = sum over c, k, j, i of K[o,c,k,j,i] x_c[t-k, y + ky/2 - j, x + kx/2 - i]:  K is the impulse response, k the past.\n"
            "  Algorithms: fft (one 2-D FFT a frame, lags summed in the frequency domain), separable (low-rank kernels), direct.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .long_chunks = true,
    .plan = conv_stage_plan,
    .attach = attach,
    .forward = forward,
    .destroy = destroy,
};

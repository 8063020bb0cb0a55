/* bench_gpu.c - ops on a device: time by events, achieved bandwidth and FLOP/s beside the ceilings measured in the same run, and the error of
 * a convolution against sums in double beside the CPU's.
 *
 *     bench_gpu [cuda|cpu [SIZE]]      SIZE: pixels of a side, 1024 where not given
 *
 * The whole retina: bench_retina --device cuda 2048 2048 256 3.4527 1   (1,000,000 cells) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "compute/backend.h"
#include "compute/conv.h"

/* gpu_ceiling.cu, where CUDA is built in. */
__attribute__((weak)) void bench_events(backend *be, void (*work)(void *), void *ctx, double *seconds);
__attribute__((weak)) double bench_fma(backend *be);
__attribute__((weak)) int gpu_count(void);

enum { REPEAT = 7, KT = 20, K = 21, SAMPLES = 400 };

typedef struct field {
    backend *be;
    grid_tile *tile;
    int size, nt;
    view x, y;
    real *input;
    conv_plan *plan;
    blur_plan *blur;
    dreal *state, *copy;
    int64_t nstate;
} field;

static double ceiling_bytes, ceiling_flop;

static double seconds_of(backend *be, void (*work)(void *), void *ctx)
{
    double least = INFINITY;
    for (int i = 0; i < REPEAT; i++) {
        double s;
        if (bench_events && strcmp(be->ops->name, "cuda") == 0) {
            bench_events(be, work, ctx, &s);
        } else {
            double start = log_clock();
            work(ctx);
            be->ops->sync(be);
            s = log_clock() - start;
        }
        least = i > 0 && s < least ? s : least; /* the first makes tables and plans */
    }
    return least;
}

static void row(const char *name, const field *f, double s, double bytes, double flop)
{
    printf("%-36s %10.3f us/frame %9.1f GB/s %5.1f %% %10.1f GFLOP/s %5.1f %%\n", name, s / f->nt * 1e6, bytes / s * 1e-9, 100 * bytes / s / ceiling_bytes,
           flop / s * 1e-9, 100 * flop / s / ceiling_flop);
}

static view plain_view(field *f, int nt_before, int halo)
{
    view v = {.tile = f->tile, .nleaf = 1, .nchan = 1, .halo = halo, .pad_ny = f->size, .pad_nx = f->size};
    v.row_stride = (f->size + 2 * halo + 31) / 32 * 32;
    v.chan_stride = v.frame_stride = v.row_stride * (f->size + 2 * halo);
    v.leaf_stride = v.frame_stride * (f->nt + nt_before);
    v.at = f->be->ops->alloc(f->be, v.leaf_stride) + nt_before * v.frame_stride + halo * (v.row_stride + 1);
    return v;
}

static field open_field(backend *be, int size)
{
    field f = {.be = be, .tile = MEMORY_NEW(grid_tile, 1), .size = size, .nt = 32};
    *f.tile = (grid_tile){.ny = size, .nx = size};
    f.x = plain_view(&f, KT - 1, K / 2 + 1);
    f.y = plain_view(&f, 0, 0);
    f.input = MEMORY_NEW(real, f.x.leaf_stride);
    for (int64_t i = 0; i < f.x.leaf_stride; i++) {
        f.input[i] = (real)((double)(i * 7919 % 10007) / 10007);
    }
    be->ops->upload(be, f.x.at - (KT - 1) * f.x.frame_stride - f.x.halo * (f.x.row_stride + 1), f.input, f.x.leaf_stride);
    f.nstate = 2 * (int64_t)size * size;
    f.state = be->ops->alloc(be, f.nstate);
    f.copy = be->ops->alloc(be, f.x.leaf_stride);
    return f;
}

static void copy_work(void *ctx)
{
    field *f = ctx;
    f->be->ops->move(f->be, f->copy, f->x.at - (KT - 1) * f->x.frame_stride - f->x.halo * (f->x.row_stride + 1), f->x.leaf_stride);
}

static void map_work(void *ctx)
{
    field *f = ctx;
    const real par[] = {2, (real)0.5, -10, 10};
    f->be->ops->map(f->be, MAP_LINEAR, par, 4, f->nt, f->x, f->y);
}

static void scan_work(void *ctx)
{
    field *f = ctx;
    const real par[] = {(real)0.1, (real)0.9, 1, 1}; /* b, c, gain, poles */
    f->be->ops->scan(f->be, SCAN_LOWPASS, par, 4, f->nt, f->x, f->state, f->nstate, f->y);
}

static void blur_work(void *ctx)
{
    field *f = ctx;
    f->be->ops->blur(f->be, f->blur, f->nt, f->x, f->y);
}

static void conv_work(void *ctx)
{
    field *f = ctx;
    conv_info info = f->be->ops->conv_look(f->plan);
    f->be->ops->conv(f->be, f->plan, f->nt, f->x, f->state, info.nstate, f->y);
}

static real *make_kernel(void)
{
    real *kernel = MEMORY_NEW(real, KT * K * K + 1);
    for (int n = 0; n < KT * K * K; n++) {
        kernel[n] = (real)(((double)(n * 7919 % 10007) / 10007 - 0.5) / (KT * K));
    }
    return kernel;
}

/* Root mean square difference from sums in double at some pixels of the last frames, whose past is all in the input, by the spread of the sums. */
static double conv_error(field *f, const real *kernel)
{
    real *out = MEMORY_NEW(real, f->y.leaf_stride);
    double off = 0, all = 0;
    f->be->ops->download(f->be, out, f->y.at, f->y.leaf_stride);
    const real *in = f->input + (KT - 1) * f->x.frame_stride + f->x.halo * (f->x.row_stride + 1);
    for (int i = 0; i < SAMPLES; i++) {
        int t = KT - 1 + i * 7 % (f->nt - KT + 1), y = (i * 7919 + 13) % f->size, x = (i * 104729 + 7) % f->size;
        double sum = 0;
        for (int k = 0; k < KT; k++) {
            for (int b = 0; b < K; b++) {
                for (int a = 0; a < K; a++) {
                    sum += (double)kernel[(k * K + b) * K + a] *
                           (double)in[(t - k) * f->x.frame_stride + (y + K / 2 - b) * f->x.row_stride + x + K / 2 - a];
                }
            }
        }
        double got = (double)out[t * f->y.frame_stride + y * f->y.row_stride + x];
        off += (got - sum) * (got - sum);
        all += sum * sum;
    }
    memory_free(out);
    return sqrt(off / all);
}

/* The error of one algorithm on this processor; s: its time for the chunk. */
static double conv_on(backend *be, int size, enum conv_algorithm algorithm, double *s, conv_info *info, field *shape)
{
    field f = open_field(be, size);
    conv_desc d = {.nchan_in = 1, .nchan_out = 1, .groups = 1, .kt = KT, .ky = K, .kx = K, .tile_ny = size, .tile_nx = size, .max_nt = f.nt, .algorithm = algorithm};
    real *kernel = make_kernel();
    f.plan = be->ops->conv_create(be, &d, kernel);
    *info = be->ops->conv_look(f.plan);
    be->ops->release(be, f.state);
    f.state = be->ops->alloc(be, info->nstate + 1);
    conv_work(&f);
    double error = conv_error(&f, kernel);
    *s = seconds_of(be, conv_work, &f);
    *shape = f;
    be->ops->conv_destroy(be, f.plan);
    be->ops->release(be, f.x.at - (KT - 1) * f.x.frame_stride - f.x.halo * (f.x.row_stride + 1));
    be->ops->release(be, f.y.at);
    be->ops->release(be, f.state);
    be->ops->release(be, f.copy);
    memory_free(f.input);
    memory_free(f.tile);
    memory_free(kernel);
    return error;
}

int main(int narg, char **arg)
{
    const char *device = narg > 1 ? arg[1] : "cuda";
    int size = narg > 2 ? atoi(arg[2]) : 1024;
    if (strcmp(device, "cuda") == 0 && (!gpu_count || gpu_count() == 0)) {
        printf("skipped: no device\n");
        return 77;
    }
    backend *be = backend_open(device, 1), *cpu = backend_open("cpu", 1);
    field f = open_field(be, size);
    double pixels = (double)size * size * f.nt, bytes = (double)f.x.leaf_stride * sizeof(real);
    double s = seconds_of(be, copy_work, &f);
    ceiling_bytes = 2 * bytes / s;
    ceiling_flop = bench_fma && strcmp(device, "cuda") == 0 ? bench_fma(be) : NAN;
    printf("%s, %s, %d x %d pixels, %d frames at once\nceilings: copy %.1f GB/s (read and written), multiply-add %.1f GFLOP/s\n", be->device, REAL_NAME, size, size,
           f.nt, ceiling_bytes * 1e-9, ceiling_flop * 1e-9);
    row("map linear", &f, seconds_of(be, map_work, &f), 2 * pixels * sizeof(real), 2 * pixels);
    row("scan lowpass", &f, seconds_of(be, scan_work, &f), 2 * pixels * sizeof(real), 2 * pixels);
    blur_desc gauss = {.method = BLUR_GAUSSIAN, .sigma_px = 2, .field_ny = size, .field_nx = size, .tile_ny = size, .tile_nx = size};
    blur_info b = blur_look(&gauss);
    f.blur = b.radius <= f.x.halo ? be->ops->blur_create(be, &gauss) : NULL;
    if (f.blur) {
        row("blur, sigma 2 pixels", &f, seconds_of(be, blur_work, &f), 2 * pixels * sizeof(real), b.flop * pixels);
        be->ops->blur_destroy(be, f.blur);
    }
    for (int a = CONV_AUTO; a <= CONV_FFT; a++) {
        conv_info info, cpu_info;
        field shape;
        double cpu_s, error = conv_on(be, size, (enum conv_algorithm)a, &s, &info, &shape);
        row(a == CONV_AUTO ? "LN 20 x 21 x 21, as chosen" : "LN 20 x 21 x 21, fft", &shape, s, info.bytes_per_frame * shape.nt, info.flop_per_frame * shape.nt);
        double cpu_error = conv_on(cpu, size < 256 ? size : 256, (enum conv_algorithm)a, &cpu_s, &cpu_info, &shape);
        printf("  error against sums in double %.3g, the CPU's %.3g, ratio %.2f (at most 4); %.3g frames/s, the CPU's on 256 x 256 %.3g\n", error, cpu_error,
               error / cpu_error, shape.nt / s, shape.nt / cpu_s);
    }
    backend_close(be);
    backend_close(cpu);
    return 0;
}

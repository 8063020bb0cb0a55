/* bench_conv.c - convolution on one core: the LN filter of 20 x 21 x 21 taps, the floor of its transforms beside it, and every algorithm
 * on other sizes; forward and backward of what fits live on: small LN filters and the layers of single-cell CNNs.  Times are
 * medians of several repetitions; GFLOP/s count what the algorithm does (conv_info).  `bench_conv fits` stops after the latter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"

enum { MOST = 15 };
static const char *const algorithm_name[] = {"auto", "fft", "separable", "direct", "window"};

typedef struct bench {
    conv_desc desc;
    conv_plan *plan;
    conv_info info;
    grid_tile tile;
    real *input, *state, *out, *kernel;
    view x, y;
} bench;

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, order);
    return t[n / 2];
}

/* rank1: a product of decaying filters, else no structure. */
static real *make_kernel(const conv_desc *d, bool rank1)
{
    int64_t pairs = (int64_t)d->nchan_out * d->nchan_in / d->groups, taps = (int64_t)d->kt * d->ky * d->kx;
    real *kernel = MEMORY_NEW(real, pairs * taps + d->nchan_out); /* and a bias of 0 */
    for (int64_t n = 0; n < pairs * taps; n++) {
        double k = (double)(n % taps / (d->ky * d->kx)), j = (double)(n / d->kx % d->ky), i = (double)(n % d->kx);
        kernel[n] = rank1 ? (real)(1 / ((1 + k) * (1 + j * j) * (2 + i))) : (real)((double)(n * 7919 % 10007) / 10007 - 0.5);
    }
    return kernel;
}

static bench open_bench(conv_desc d, bool rank1)
{
    bench b = {.desc = d, .tile = {.ny = d.tile_ny, .nx = d.tile_nx}};
    b.kernel = make_kernel(&d, rank1);
    b.plan = cpu_conv_create(NULL, &d, b.kernel);
    b.info = cpu_conv_look(b.plan);
    int h = b.info.halo_before > b.info.halo_after ? b.info.halo_before : b.info.halo_after;
    b.x = (view){.nleaf = 1, .nchan = d.nchan_in, .halo = h, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx};
    b.x.row_stride = d.tile_nx + 2 * h < 16 ? d.tile_nx + 2 * h : (d.tile_nx + 2 * h + 15) / 16 * 16;
    b.x.chan_stride = b.x.row_stride * (d.tile_ny + 2 * h);
    b.x.frame_stride = b.x.chan_stride * d.nchan_in;
    b.x.leaf_stride = b.x.frame_stride * (d.max_nt + b.info.hist);
    b.input = MEMORY_NEW(real, b.x.leaf_stride);
    for (int64_t i = 0; i < b.x.leaf_stride; i++) {
        b.input[i] = (real)((double)(i * 7919 % 10007) / 10007);
    }
    b.x.at = (dreal *)(b.input + b.info.hist * b.x.frame_stride + h * (b.x.row_stride + 1));
    b.y = (view){.nleaf = 1, .nchan = d.nchan_out, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx, .row_stride = d.tile_nx};
    b.y.chan_stride = b.y.row_stride * d.tile_ny;
    b.y.frame_stride = b.y.leaf_stride = b.y.chan_stride * d.nchan_out;
    b.y.leaf_stride *= d.max_nt;
    b.out = MEMORY_NEW(real, b.y.leaf_stride);
    b.y.at = (dreal *)b.out;
    b.state = MEMORY_NEW(real, b.info.nstate);
    return b;
}

static void close_bench(bench *b)
{
    cpu_conv_destroy(NULL, b->plan);
    memory_free(b->kernel);
    memory_free(b->input);
    memory_free(b->state);
    memory_free(b->out);
}

/* Seconds for nt frames in chunks of max_nt (the same input again and again). */
static double time_conv(const bench *b, int nt)
{
    double t0 = log_clock();
    for (int t = 0; t < nt; t += b->desc.max_nt) {
        view x = b->x, y = b->y;
        x.tile = y.tile = &b->tile;
        cpu_conv(NULL, b->plan, nt - t < b->desc.max_nt ? nt - t : b->desc.max_nt, x, (dreal *)b->state, 0, y);
    }
    return log_clock() - t0;
}

static double time_transforms(const bench *b, int nt)
{
    double t0 = log_clock();
    for (int t = 0; t < nt; t++) {
        conv_fft_transforms(cpu_conv_fft_of(b->plan));
    }
    return log_clock() - t0;
}

static void ln_filter(void)
{
    enum { NT = 500 };
    conv_desc d = {.nchan_in = 1, .nchan_out = 1, .groups = 1, .kt = 20, .ky = 21, .kx = 21, .tile_ny = 128, .tile_nx = 128, .max_nt = 64};
    bench b = open_bench(d, false);
    double whole[MOST], floor[MOST];
    time_conv(&b, d.max_nt);
    for (int i = 0; i < MOST; i++) {
        whole[i] = time_conv(&b, NT);
        floor[i] = time_transforms(&b, NT);
    }
    double t = median(whole, MOST), f = median(floor, MOST);
    printf("LN 20 x 21 x 21 on 128 x 128 x 500 frames, %s, one core: %s %d x %d\n", REAL_NAME, algorithm_name[b.info.algorithm], b.info.fft_ny,
           b.info.fft_nx);
    printf("  %.3f s (best %.3f), its two FFTs a frame alone %.3f s (best %.3f), ratio %.2f, %.1f GFLOP/s   goal: 0.20 s, ratio 2.5\n", t,
           whole[0], f, floor[0], t / f, b.info.flop_per_frame * NT / t * 1e-9);
    close_bench(&b);
}

/* ms per frame; about 0.1 s of work at most. */
static double frame_ms(conv_desc d, enum conv_algorithm a, bool rank1, double *gflops, conv_info *info)
{
    d.algorithm = a;
    bench b = open_bench(d, rank1);
    double once = time_conv(&b, d.max_nt), t[5] = {once};
    int n = once > 0.05 ? 1 : 5;
    for (int i = 0; i < n; i++) {
        t[i] = time_conv(&b, d.max_nt);
    }
    double s = median(t, n) / d.max_nt;
    *gflops = b.info.flop_per_frame / s * 1e-9;
    *info = b.info;
    close_bench(&b);
    return s * 1e3;
}

/* Forward and backward of nt frames: ms, and GFLOP/s of the sums as they are defined. */
static void both_ways(const char *name, conv_desc d, enum conv_algorithm a, bool want_x)
{
    d.groups = 1;
    d.differentiate = d.bias = true;
    d.algorithm = a;
    d.varies = a != CONV_SEPARABLE;
    bench b = open_bench(d, false);
    real *tape = MEMORY_NEW(real, b.info.tape * d.max_nt), *g_state = MEMORY_NEW(real, b.info.nstate), *gx = MEMORY_NEW(real, b.x.leaf_stride);
    double *g = MEMORY_NEW(double, conv_kernel_reals(&d) + d.nchan_out), forward[7], by_kernel[7], by_input[7];
    view x = b.x, y = b.y, g_in = b.x, none = {0};
    x.tile = y.tile = g_in.tile = &b.tile;
    g_in.at = (dreal *)(gx + (host(b.x.at) - b.input));
    for (int i = 0; i < 7; i++) {
        double t0 = log_clock();
        cpu_conv_taped(NULL, b.plan, d.max_nt, x, (dreal *)b.state, 0, y, (dreal *)tape, 0);
        double t1 = log_clock();
        cpu_conv_back(NULL, b.plan, d.max_nt, x, (dreal *)b.state, (dreal *)tape, 0, 0, y, (dreal *)g_state, 0, none, g, 0);
        double t2 = log_clock();
        if (want_x) {
            cpu_conv_back(NULL, b.plan, d.max_nt, x, (dreal *)b.state, (dreal *)tape, 0, 0, y, (dreal *)g_state, 0, g_in, NULL, 0);
        }
        forward[i] = t1 - t0;
        by_kernel[i] = t2 - t1;
        by_input[i] = log_clock() - t2;
    }
    double flop = 2e-9 * (double)conv_kernel_reals(&d) * d.tile_ny * d.tile_nx * d.max_nt;
    double f = median(forward, 7), k = median(by_kernel, 7), i = median(by_input, 7);
    printf("%-44s %-6s forward %8.3f ms %6.1f GFLOP/s   by kernel %8.3f ms %6.1f", name, algorithm_name[b.info.algorithm], f * 1e3, flop / f, k * 1e3,
           flop / k);
    want_x ? printf("   by input %8.3f ms %6.1f\n", i * 1e3, flop / i) : printf("\n");
    memory_free(tape);
    memory_free(g_state);
    memory_free(gx);
    memory_free(g);
    close_bench(&b);
}

static void fits(void)
{
    conv_desc ln = {.nchan_in = 1, .nchan_out = 1, .kt = 12, .ky = 7, .kx = 7, .tile_ny = 20, .tile_nx = 20, .max_nt = 500};
    conv_desc cnn = {.nchan_in = 1, .nchan_out = 8, .kt = 20, .ky = 7, .kx = 7, .tile_ny = 2, .tile_nx = 2, .max_nt = 2000};
    conv_desc inner = {.nchan_in = 8, .nchan_out = 16, .kt = 1, .ky = 3, .kx = 3, .tile_ny = 16, .tile_nx = 16, .max_nt = 500};
    conv_desc mix = {.nchan_in = 8, .nchan_out = 16, .kt = 1, .ky = 1, .kx = 1, .tile_ny = 16, .tile_nx = 16, .max_nt = 500};
    conv_desc dense = {.nchan_in = 16, .nchan_out = 2, .kt = 1, .ky = 16, .kx = 16, .tile_ny = 1, .tile_nx = 1, .max_nt = 500};
    printf("\nfits, %s, one core (GFLOP/s of the sums as defined)\n", REAL_NAME);
    for (int a = CONV_AUTO; a <= CONV_WINDOW; a++) {
        if (a != CONV_SEPARABLE) {
            both_ways("LN 12 x 7 x 7 on 20 x 20, 500 frames", ln, (enum conv_algorithm)a, true);
        }
    }
    for (int a = CONV_AUTO; a <= CONV_WINDOW; a++) {
        if (a == CONV_SEPARABLE) {
            continue;
        }
        both_ways("CNN 8 @ 20 x 7 x 7, 8 x 8 > 2 x 2, 2000", cnn, (enum conv_algorithm)a, true);
        both_ways("8 > 16 @ 3 x 3 on 16 x 16, 500", inner, (enum conv_algorithm)a, true);
        both_ways("8 > 16 @ 1 x 1 on 16 x 16, 500", mix, (enum conv_algorithm)a, true);
        both_ways("dense 16 x 16 x 16 > 2, 500", dense, (enum conv_algorithm)a, true);
    }
}

static void one_size(int size, int nin, int nout, int kt, int k, bool rank1)
{
    int frames = 1 << 20 > size * size ? (1 << 20) / (size * size) : 1;
    conv_desc d = {.nchan_in = nin, .nchan_out = nout, .groups = 1, .kt = kt, .ky = k, .kx = k, .tile_ny = size, .tile_nx = size};
    d.max_nt = frames < 4 ? 4 : frames > 64 ? 64 : frames;
    conv_info info;
    double gflops;
    frame_ms(d, CONV_AUTO, rank1, &gflops, &info);
    printf("%5d %2d>%-2d %3d x %2d x %2d %-8s %-10s", size, nin, nout, kt, k, k, rank1 ? "rank 1" : "full", algorithm_name[info.algorithm]);
    for (int a = CONV_FFT; a <= CONV_WINDOW; a++) {
        double work = 2e-9 * size * size * d.max_nt * kt * k * k * nin * nout;
        if ((a == CONV_SEPARABLE && !rank1) || (a >= CONV_DIRECT && work > 8)) {
            printf("%12s %6s", "-", "");
            continue;
        }
        double ms = frame_ms(d, (enum conv_algorithm)a, rank1, &gflops, &info);
        printf("%12.3f %6.1f", ms, gflops);
    }
    printf("\n");
}

int main(int narg, char **arg)
{
    fits();
    if (narg > 1 && strcmp(arg[1], "fits") == 0) {
        return 0;
    }
    ln_filter();
    printf("\n size chan kernel        taps     chosen      fft ms GFLOP/s   separable GFLOP/s   direct GFLOP/s      window GFLOP/s      "
           "(ms per frame)\n");
    for (int size = 64; size <= 1024; size *= 2) {
        one_size(size, 1, 1, 1, 3, false);
        one_size(size, 1, 1, 1, 9, false);
        one_size(size, 1, 1, 1, 21, true);
        one_size(size, 1, 1, 5, 7, false);
        one_size(size, 1, 1, 20, 21, false);
        one_size(size, 1, 1, 20, 21, true);
    }
    one_size(128, 1, 8, 20, 21, false);
    one_size(64, 8, 8, 1, 3, false);
    one_size(64, 16, 16, 1, 9, false);
    return 0;
}

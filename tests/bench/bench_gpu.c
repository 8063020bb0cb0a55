/* bench_gpu.c - ops on a device: time by events, achieved bandwidth and FLOP/s beside the ceilings measured in the same run, times the floor, and the
 * error of a convolution against sums in double beside the CPU's.
 *
 *     bench_gpu [cuda|cpu [SIZE]]              SIZE: pixels of a side, 1024 where not given
 *     bench_gpu ceilings cuda|cpu              the two ceilings alone, as JSON
 *     bench_gpu ln cuda|cpu SIZE FRAMES FOLDER the LN of bench_gpu_peer.py, on its numbers: a line of JSON for each algorithm (see ln_files)
 *
 * Floor: the greater of bytes over copy bandwidth and operations over the rate of multiply-adds; bytes: each input read once and each output written
 * once, whatever an algorithm writes in between; operations: those of the algorithm.  Arrays are several times the cache (60 MB of an H200): no run
 * finds its input there, and none has another one's writes to wait for that it does not leave behind itself.
 * "as issued": the host launches every kernel; "replayed": as a graph, as recurrences run.  Where the two differ the host is the limit.
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

enum { WARM = 3, REPEAT = 9, KT = 20, K = 21, BORDER = K / 2, SAMPLES = 400 };
enum { BIG = 128 << 20 }; /* bytes that each array has at least on a device */
/* Of a device's error to the CPU's: the same roundings in another order, seen at few pixels; tf32 or half precision would be 100 times and more. */
static const double most_ratio = 4;

typedef struct field {
    backend *be;
    grid_tile *tile;
    int size, nt;
    view x, y;
    real *input;
    conv_plan *plan;
    blur_plan *blur;
    dreal *state, *before, *adaptation;
    int64_t nstate;
    /* ln: a step of a fit */
    view gy;
    real *kernel;
    double *g_kernel;
    dreal *tape, *g_state;
    conv_info info;
} field;

static double ceiling_bytes, ceiling_flop = NAN;

/* --- time ------------------------------------------------------------------------------------------------------------------------ */
static bool is_device(const backend *be)
{
    return strcmp(be->ops->name, "cpu") != 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of REPEAT, after WARM that make plans and tables, capture what is replayed, and wake the clocks. */
static double seconds_of(backend *be, void (*work)(void *), void *ctx)
{
    double s[REPEAT], once;
    for (int i = -WARM; i < REPEAT; i++) {
        if (is_device(be)) {
            bench_events(be, work, ctx, &once);
            be->ops->sync(be); /* hands out what came for the host */
        } else {
            double start = log_clock();
            work(ctx);
            once = log_clock() - start;
        }
        s[i < 0 ? 0 : i] = once;
    }
    qsort(s, REPEAT, sizeof *s, ascending);
    return s[REPEAT / 2];
}

typedef struct replay {
    backend *be;
    void (*work)(void *);
    void *ctx;
    int64_t number;
} replay;

static void replay_work(void *ctx)
{
    const replay *r = ctx;
    const int64_t key[] = {(int64_t)(intptr_t)r->work, r->number};
    if (r->be->ops->repeat_begin(r->be, sizeof key / sizeof *key, key)) {
        r->work(r->ctx);
        r->be->ops->repeat_end(r->be);
    }
}

static double replayed_seconds(backend *be, void (*work)(void *), void *ctx)
{
    static int64_t number;
    replay r = {be, work, ctx, number++};
    return seconds_of(be, replay_work, &r);
}

/* --- arrays ---------------------------------------------------------------------------------------------------------------------- */
static view plain_view(const field *f, int nt_before, int halo)
{
    view v = {.tile = f->tile, .nleaf = 1, .nchan = 1, .halo = halo, .pad_ny = f->size, .pad_nx = f->size};
    v.row_stride = (f->size + 2 * halo + 31) / 32 * 32;
    v.chan_stride = v.frame_stride = v.row_stride * (f->size + 2 * halo);
    v.leaf_stride = v.frame_stride * (f->nt + nt_before);
    v.at = f->be->ops->alloc(f->be, v.leaf_stride) + nt_before * v.frame_stride + halo * (v.row_stride + 1);
    return v;
}

static dreal *array_of(view v, int nt_before)
{
    return v.at - nt_before * v.frame_stride - v.halo * (v.row_stride + 1);
}

static field open_field(backend *be, int size, int nt)
{
    field f = {.be = be, .tile = MEMORY_NEW(grid_tile, 1), .size = size, .nt = nt};
    *f.tile = (grid_tile){.ny = size, .nx = size};
    f.x = plain_view(&f, KT - 1, BORDER + 1);
    f.y = plain_view(&f, 0, 0);
    f.input = MEMORY_NEW(real, f.x.leaf_stride);
    for (int64_t i = 0; i < f.x.leaf_stride; i++) {
        f.input[i] = (real)((double)(i * 7919 % 10007) / 10007);
    }
    be->ops->upload(be, array_of(f.x, KT - 1), f.input, f.x.leaf_stride);
    f.nstate = 2 * (int64_t)size * size;
    f.state = be->ops->alloc(be, f.nstate);
    f.adaptation = be->ops->alloc(be, f.nstate);
    be->ops->fill(be, f.state, 0, f.nstate);
    be->ops->fill(be, f.adaptation, 0, f.nstate);
    return f;
}

static void close_field(field *f)
{
    backend *be = f->be;
    be->ops->release(be, array_of(f->x, KT - 1));
    be->ops->release(be, array_of(f->y, 0));
    be->ops->release(be, f->state);
    be->ops->release(be, f->adaptation);
    memory_free(f->input);
    memory_free(f->tile);
}

/* Frames of which an array is as large as is wanted. */
static int frames_for(const backend *be, int size)
{
    enum { FEWEST = 32, CPU_BIG = 32 << 20 };
    int64_t n = (is_device(be) ? BIG : CPU_BIG) / ((int64_t)sizeof(real) * size * size);
    return n < FEWEST ? FEWEST : (int)n;
}

/* --- ceilings ---------------------------------------------------------------------------------------------------------------------- */
typedef struct copy {
    backend *be;
    dreal *to, *from;
    int64_t n;
} copy;

static void copy_work(void *ctx)
{
    const copy *c = ctx;
    c->be->ops->move(c->be, c->to, c->from, c->n);
}

/* Of one thread: chains enough to fill the registers, in motion as in gpu_ceiling.cu. */
static double cpu_fma(void)
{
    enum { CHAINS = 128, ROUNDS = 1 << 20 };
    static real x[CHAINS];
    double s[REPEAT];
    for (int i = 0; i < REPEAT; i++) {
        real y[CHAINS];
        double start = log_clock();
        for (int c = 0; c < CHAINS; c++) {
            y[c] = (real)c + x[c];
        }
        for (int k = 0; k < ROUNDS; k++) {
            for (int c = 0; c < CHAINS; c++) {
                y[c] = (real)-0.999999 * y[c] + (real)0.7;
            }
        }
        memcpy(x, y, sizeof x);
        s[i] = log_clock() - start;
    }
    qsort(s, REPEAT, sizeof *s, ascending);
    return x[0] > 1e30f ? NAN : 2.0 * CHAINS * ROUNDS / s[REPEAT / 2]; /* x is looked at, so that it is computed */
}

static void measure_ceilings(backend *be)
{
    copy c = {.be = be, .n = (is_device(be) ? (int64_t)1 << 30 : (int64_t)128 << 20) / (int64_t)sizeof(real)};
    real *numbers = MEMORY_NEW(real, c.n);
    for (int64_t i = 0; i < c.n; i++) { /* what is all the same may move faster */
        numbers[i] = (real)(i * 7919 % 10007);
    }
    c.to = be->ops->alloc(be, c.n);
    c.from = be->ops->alloc(be, c.n);
    be->ops->upload(be, c.from, numbers, c.n);
    memory_free(numbers);
    ceiling_bytes = 2.0 * (double)c.n * sizeof(real) / seconds_of(be, copy_work, &c);
    ceiling_flop = is_device(be) ? bench_fma(be) : cpu_fma();
    be->ops->release(be, c.to);
    be->ops->release(be, c.from);
}

/* --- ops --------------------------------------------------------------------------------------------------------------------------- */
static void row(const char *name, int nt, double s, double bytes, double flop)
{
    double floor_s = fmax(bytes / ceiling_bytes, flop / ceiling_flop);
    printf("%-36s %10.3f us/frame %9.1f GB/s %5.1f %% %10.1f GFLOP/s %5.1f %% %8.2f times the floor\n", name, s / nt * 1e6, bytes / s * 1e-9,
           100 * bytes / s / ceiling_bytes, flop / s * 1e-9, 100 * flop / s / ceiling_flop, s / floor_s);
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

/* V of step t stands in frame t of x, whose past is frame -1; its currents are y, written by what ran before. */
static void gain_work(void *ctx)
{
    field *f = ctx;
    const gain_par par = {.leak_hz = 5, .gain_hz = 150, .feedback_hz = 100, .dt_s = (real)0.001, .decay = (real)0.9, .saturation = (real)5e5};
    for (int t = 0; t < f->nt; t++) {
        view v = view_at_frame(f->x, t);
        f->be->ops->gain_step(f->be, f->blur, &par, view_at_frame(f->y, t), view_at_frame(f->x, t - 1), f->adaptation, f->nstate, v, (view){0});
        f->be->ops->edge(f->be, 1, v, f->size, f->size);
    }
}

static void conv_work(void *ctx)
{
    field *f = ctx;
    f->be->ops->conv(f->be, f->plan, f->nt, f->x, f->state, f->info.nstate, f->y);
}

static void pixel_rows(field *f)
{
    backend *be = f->be;
    double plane = (double)f->size * f->size, pixels = plane * f->nt, real_b = sizeof(real);
    row("map linear", f->nt, seconds_of(be, map_work, f), 2 * pixels * real_b, 2 * pixels);
    row("scan lowpass", f->nt, seconds_of(be, scan_work, f), (2 * pixels + 2 * plane) * real_b, 3 * pixels); /* the state in and out */
    blur_desc gauss = {.method = BLUR_GAUSSIAN, .sigma_px = 2, .field_ny = f->size, .field_nx = f->size, .tile_ny = f->size, .tile_nx = f->size};
    blur_info b = blur_look(&gauss);
    if (b.radius > f->x.halo) {
        printf("blur, gain control: skipped, %d pixels of radius\n", b.radius);
        return;
    }
    f->blur = be->ops->blur_create(be, &gauss);
    row("blur, sigma 2 pixels", f->nt, seconds_of(be, blur_work, f), 2 * pixels * real_b, b.flop * pixels);
    /* A step reads the current, V and A, and writes V and A: what the pool couples cannot be kept from one step to the next. */
    row("gain control, as issued", f->nt, seconds_of(be, gain_work, f), 5 * pixels * real_b, (b.flop + 30) * pixels);
    row("gain control, replayed", f->nt, replayed_seconds(be, gain_work, f), 5 * pixels * real_b, (b.flop + 30) * pixels);
    be->ops->blur_destroy(be, f->blur);
}

/* --- convolution --------------------------------------------------------------------------------------------------------------------- */
static real *make_kernel(void)
{
    real *kernel = MEMORY_NEW(real, KT * K * K + 1);
    for (int n = 0; n < KT * K * K; n++) {
        kernel[n] = (real)(((double)(n * 7919 % 10007) / 10007 - 0.5) / (KT * K));
    }
    return kernel;
}

static void open_conv(field *f, enum conv_algorithm algorithm, const real *kernel, bool differentiate)
{
    backend *be = f->be;
    conv_desc d = {.nchan_in = 1, .nchan_out = 1, .groups = 1, .kt = KT, .ky = K, .kx = K, .tile_ny = f->size, .tile_nx = f->size,
                   .max_nt = f->nt, .algorithm = algorithm, .differentiate = differentiate, .varies = differentiate};
    f->plan = be->ops->conv_create(be, &d, kernel);
    f->info = be->ops->conv_look(f->plan);
    be->ops->release(be, f->state);
    f->state = be->ops->alloc(be, f->info.nstate + 1);
    f->before = be->ops->alloc(be, f->info.nstate + 1);
    be->ops->fill(be, f->state, 0, f->info.nstate + 1);
    for (int t = 1 - KT, n; t < 0; t += n) { /* the past */
        n = -t < f->nt ? -t : f->nt;
        be->ops->conv(be, f->plan, n, view_at_frame(f->x, t), f->state, f->info.nstate, f->y);
    }
    be->ops->move(be, f->before, f->state, f->info.nstate + 1);
    be->ops->fill(be, array_of(f->y, 0), NAN, f->y.leaf_stride); /* every output must be written */
}

static void close_conv(field *f)
{
    f->be->ops->conv_destroy(f->be, f->plan);
    f->be->ops->release(f->be, f->before);
}

static double compulsory_bytes(const field *f) /* of a forward chunk */
{
    double across = f->size + 2.0 * BORDER;
    return sizeof(real) * (across * across + (double)f->size * f->size) * f->nt;
}

/* Root mean square difference from sums in double at some pixels, by the spread of the sums; NAN where an output was not written. */
static double conv_error(const field *f, const real *kernel)
{
    real *out = MEMORY_NEW(real, f->y.leaf_stride);
    double off = 0, all = 0;
    f->be->ops->download(f->be, out, f->y.at, f->y.leaf_stride);
    const real *in = f->input + (KT - 1) * f->x.frame_stride + f->x.halo * (f->x.row_stride + 1);
    for (int i = 0; i < SAMPLES; i++) {
        int t = i * 7 % f->nt, y = (i * 7919 + 13) % f->size, x = (i * 104729 + 7) % f->size;
        double sum = 0;
        for (int k = 0; k < KT; k++) {
            for (int b = 0; b < K; b++) {
                for (int a = 0; a < K; a++) {
                    const real *at = in + (t - k) * f->x.frame_stride + (y + BORDER - b) * f->x.row_stride + x + BORDER - a;
                    sum += (double)kernel[(k * K + b) * K + a] * (double)*at;
                }
            }
        }
        double got = (double)out[t * f->y.frame_stride + y * f->y.row_stride + x];
        off += (got - sum) * (got - sum);
        all += sum * sum;
    }
    for (int64_t i = 0; i < (int64_t)f->nt * f->size * f->size; i++) {
        int64_t t = i / f->size / f->size;
        off += 0 * (double)out[t * f->y.frame_stride + i / f->size % f->size * f->y.row_stride + i % f->size];
    }
    memory_free(out);
    return sqrt(off / all);
}

/* The error of one algorithm on this processor; its rows where a name is given. */
static double conv_on(backend *be, int size, int nt, enum conv_algorithm algorithm, const char *name)
{
    field f = open_field(be, size, nt);
    real *kernel = make_kernel();
    char text[64];
    open_conv(&f, algorithm, kernel, false);
    conv_work(&f);
    double error = conv_error(&f, kernel), flop = f.info.flop_per_frame * nt;
    if (name) {
        snprintf(text, sizeof text, "%s, as issued", name);
        row(text, nt, seconds_of(be, conv_work, &f), compulsory_bytes(&f), flop);
        snprintf(text, sizeof text, "%s, replayed", name);
        row(text, nt, replayed_seconds(be, conv_work, &f), compulsory_bytes(&f), flop);
    }
    close_conv(&f);
    close_field(&f);
    memory_free(kernel);
    return error;
}

static bool conv_rows(backend *be, int size)
{
    static const enum conv_algorithm algorithms[] = {CONV_FFT, CONV_DIRECT};
    static const char *const names[] = {"LN 20x21x21, fft", "LN 20x21x21, direct"};
    enum { CPU_SIZE = 128, CPU_FRAMES = 8 };
    bool good = true;
    backend *cpu = backend_open("cpu", 1);
    for (int i = 0; i < (is_device(be) ? 2 : 1); i++) { /* on a CPU the plain sum takes seconds */
        double error = conv_on(be, size, frames_for(be, size), algorithms[i], names[i]);
        double theirs = conv_on(cpu, CPU_SIZE, CPU_FRAMES, algorithms[i], NULL);
        bool fine = error <= most_ratio * theirs;
        printf("  error against sums in double %.3g, the CPU's %.3g, ratio %.2f (at most %g)%s\n", error, theirs, error / theirs, most_ratio,
               fine ? "" : ": FAILED");
        good = good && fine;
    }
    backend_close(cpu);
    return good;
}

/* --- ln: the numbers of bench_gpu_peer.py, little-endian floats -------------------------------------------------------------------------
 * in:  frames [KT - 1 + nt][size + 2 BORDER][size + 2 BORDER], the first KT - 1 are the past; kernel [KT][K][K]; gy [nt][size][size]
 * out: y_ALGORITHM [nt][size][size]; gk_ALGORITHM [KT][K][K], doubles: the derivative of sum(gy y) by the kernel */
static FILE *ln_file(const char *folder, const char *name, const char *algorithm, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s.f32", folder, name, algorithm);
    FILE *f = fopen(path, mode);
    if (!f) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return f;
}

static void read_frames(const char *folder, const char *name, int nt, int n, view v, int border, real *to)
{
    FILE *file = ln_file(folder, name, "", "rb");
    float *line = MEMORY_NEW(float, n);
    for (int64_t i = 0; i < (int64_t)nt * n; i++) {
        if (fread(line, sizeof *line, (size_t)n, file) != (size_t)n) {
            printf("%s: too short\n", name);
            exit(EXIT_FAILURE);
        }
        real *at = to + i / n * v.frame_stride + (i % n + v.halo - border) * v.row_stride + v.halo - border;
        for (int k = 0; k < n; k++) {
            at[k] = (real)line[k];
        }
    }
    memory_free(line);
    fclose(file);
}

static void write_frames(const char *folder, const char *algorithm, const field *f)
{
    FILE *file = ln_file(folder, "y_", algorithm, "wb");
    real *out = MEMORY_NEW(real, f->y.leaf_stride);
    float *line = MEMORY_NEW(float, f->size);
    f->be->ops->download(f->be, out, array_of(f->y, 0), f->y.leaf_stride);
    for (int64_t i = 0; i < (int64_t)f->nt * f->size; i++) {
        for (int k = 0; k < f->size; k++) {
            line[k] = (float)out[i / f->size * f->y.frame_stride + i % f->size * f->y.row_stride + k];
        }
        fwrite(line, sizeof *line, (size_t)f->size, file);
    }
    memory_free(out);
    memory_free(line);
    fclose(file);
}

/* What an optimiser's step needs of the convolution: another kernel, forward from the same past, derivative by the kernel. */
static void fit_work(void *ctx)
{
    field *f = ctx;
    const backend_ops *ops = f->be->ops;
    int64_t nstate = f->info.nstate;
    ops->conv_set(f->be, f->plan, f->kernel);
    ops->move(f->be, f->state, f->before, nstate + 1);
    ops->conv_taped(f->be, f->plan, f->nt, f->x, f->state, nstate, f->y, f->tape, f->info.tape * f->nt);
    ops->fill(f->be, f->g_state, 0, nstate + 1);
    ops->conv_back(f->be, f->plan, f->nt, f->x, f->before, f->tape, f->info.tape * f->nt, nstate, f->gy, f->g_state, nstate, (view){0}, f->g_kernel,
                   KT * K * K);
}

static void ln_algorithm(field *f, enum conv_algorithm algorithm, const char *name, const char *folder)
{
    backend *be = f->be;
    open_conv(f, algorithm, f->kernel, true);
    f->tape = be->ops->alloc(be, f->info.tape * f->nt + 1);
    f->g_state = be->ops->alloc(be, f->info.nstate + 1);
    memset(f->g_kernel, 0, KT * K * K * sizeof(double));
    fit_work(f);
    be->ops->sync(be);
    write_frames(folder, name, f);
    FILE *file = ln_file(folder, "gk_", name, "wb");
    fwrite(f->g_kernel, sizeof(double), KT * K * K, file);
    fclose(file);
    double forward = seconds_of(be, conv_work, f), fit = seconds_of(be, fit_work, f);
    printf("{\"algorithm\": \"%s\", \"forward_s\": %.9g, \"fit_s\": %.9g, \"flop_per_frame\": %.9g", name, forward, fit, f->info.flop_per_frame);
    if (is_device(be)) {
        printf(", \"forward_replayed_s\": %.9g", replayed_seconds(be, conv_work, f));
    }
    printf("}\n");
    be->ops->release(be, f->tape);
    be->ops->release(be, f->g_state);
    close_conv(f);
}

static void ln_files(backend *be, int size, int nt, const char *folder)
{
    field f = open_field(be, size, nt);
    int n = size + 2 * BORDER;
    memset(f.input, 0, (size_t)f.x.leaf_stride * sizeof(real));
    read_frames(folder, "frames", KT - 1 + nt, n, f.x, BORDER, f.input);
    be->ops->upload(be, array_of(f.x, KT - 1), f.input, f.x.leaf_stride);
    f.gy = plain_view(&f, 0, 0);
    real *gy = MEMORY_NEW(real, f.gy.leaf_stride);
    read_frames(folder, "gy", nt, size, f.gy, 0, gy);
    be->ops->upload(be, array_of(f.gy, 0), gy, f.gy.leaf_stride);
    memory_free(gy);
    f.kernel = MEMORY_NEW(real, KT * K * K);
    f.g_kernel = MEMORY_NEW(double, KT * K * K);
    read_frames(folder, "kernel", KT, K, (view){.frame_stride = K * K, .row_stride = K}, 0, f.kernel);
    ln_algorithm(&f, CONV_FFT, "fft", folder);
    if (is_device(be)) { /* CPUs are no match for 8,820 products a pixel */
        ln_algorithm(&f, CONV_DIRECT, "direct", folder);
    }
    be->ops->release(be, array_of(f.gy, 0));
    memory_free(f.kernel);
    memory_free(f.g_kernel);
    close_field(&f);
}

int main(int narg, char **arg)
{
    bool ln = narg == 6 && strcmp(arg[1], "ln") == 0, only = narg == 3 && strcmp(arg[1], "ceilings") == 0;
    const char *device = ln || only ? arg[2] : narg > 1 ? arg[1] : "cuda";
    int size = ln ? atoi(arg[3]) : !only && narg > 2 ? atoi(arg[2]) : 1024;
    bool good = true;
    if (strcmp(device, "cuda") == 0 && (!gpu_count || gpu_count() == 0)) {
        printf("skipped: no device\n");
        return 77;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was measured before a failure is seen */
    backend *be = backend_open(device, 1);
    if (ln) {
        ln_files(be, size, atoi(arg[4]), arg[5]);
        backend_close(be);
        return 0;
    }
    measure_ceilings(be);
    if (only) {
        printf("{\"device\": \"%s\", \"copy_bytes_per_s\": %.9g, \"fma_flop_per_s\": %.9g}\n", be->device, ceiling_bytes, ceiling_flop);
    } else {
        field f = open_field(be, size, frames_for(be, size));
        printf("%s, %s, %d x %d pixels, %d frames at once; medians of %d\n", be->device, REAL_NAME, size, size, f.nt, REPEAT);
        printf("ceilings: copy %.1f GB/s (read and written), multiply-add %.1f GFLOP/s\n", ceiling_bytes * 1e-9, ceiling_flop * 1e-9);
        pixel_rows(&f);
        close_field(&f);
        good = conv_rows(be, size);
    }
    backend_close(be);
    return good ? 0 : EXIT_FAILURE;
}

/* conv.c - cost of convolutions, choice of algorithm, sizes of transforms, rank-one terms of kernels. */
#include "compute/conv.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

/* One core of a Xeon of 2.5 GHz with AVX-512; the choice needs ratios only.  Doubles: half as many in a register. */
const conv_machine conv_core = {
    .direct_flops = 50e9 * sizeof(float) / sizeof(real),
    .short_flops = 2e9,
    .separable_flops = 22e9 * sizeof(float) / sizeof(real),
    .spectrum_flops = 45e9 * sizeof(float) / sizeof(real),
    .window_flops = 110e9 * sizeof(float) / sizeof(real),
    .fft_scale = 1.3 * sizeof(real) / sizeof(float), /* beside the table: rows in and out, order of frequencies */
    .bytes_per_s = 12e9,
    .row_s = 20e-9,
    .turn_s = 0.5e-9,
};

/* --- sizes of FFTs ---------------------------------------------------------------------------------------------------
 * FFTW 3.3.10, FFTW_ESTIMATE, float, on a Xeon of 2.5 GHz: ns per real along rows (real transforms) and per complex number along
 * columns (arranged as cpu_conv_fft.c does), mean of forward and inverse.  Sizes between these were slower than the next one in the table. */
typedef struct fft_size {
    int n;
    double row_ns, column_ns;
} fft_size;
static const fft_size fft_sizes[] = {
    {8, 0.8, 1.2}, {10, 1.0, 1.0}, {12, 0.9, 1.2}, {16, 1.1, 1.0}, {20, 1.2, 1.1}, {24, 1.8, 1.6}, {28, 3.2, 2.3},
    {32, 1.5, 1.3}, {36, 2.6, 2.6}, {40, 2.7, 2.2}, {48, 2.8, 2.2}, {56, 2.2, 2.5}, {64, 2.1, 1.3}, {72, 1.5, 2.1},
    {80, 1.5, 2.3}, {90, 1.9, 3.1}, {100, 1.8, 3.0}, {112, 2.1, 3.6}, {120, 1.7, 2.3}, {128, 2.8, 1.7}, {144, 1.4, 3.4},
    {150, 2.2, 3.2}, {160, 1.6, 2.6}, {180, 1.8, 2.9}, {192, 2.1, 4.5}, {216, 2.6, 4.8}, {240, 1.7, 4.6}, {256, 2.1, 2.8},
    {288, 1.5, 3.2}, {320, 1.6, 3.0}, {384, 1.9, 4.0}, {400, 1.5, 3.6}, {480, 2.6, 6.9}, {512, 2.0, 4.4}, {576, 2.0, 5.8},
    {640, 1.9, 4.2}, {768, 1.9, 5.4}, {800, 1.8, 7.6}, {960, 2.9, 8.4}, {1024, 2.5, 8.1}, {1152, 2.2, 8.1}, {1280, 2.0, 6.9},
    {1600, 3.0, 15.0}, {2048, 3.0, 28.0},
};
enum { NFFT = sizeof fft_sizes / sizeof fft_sizes[0] };

/* Beyond the table: its last sizes times powers of two. */
static fft_size fft_at(int i)
{
    enum { LAST = 4 };
    if (i < NFFT) {
        return fft_sizes[i];
    }
    int octave = (i - NFFT) / LAST + 1;
    fft_size s = fft_sizes[NFFT - LAST + (i - NFFT) % LAST];
    s.n <<= octave;
    s.column_ns *= 1 + 0.1 * octave;
    return s;
}

static double fft_seconds(const conv_desc *d, fft_size y, fft_size x)
{
    double rows = d->nchan_in * (double)(d->tile_ny + d->ky - 1) + d->nchan_out * (double)d->tile_ny;
    double columns = (d->nchan_in + d->nchan_out) * (x.n / 2 + 1.0);
    return 1e-9 * (rows * x.n * x.row_ns + columns * y.n * y.column_ns);
}

/* The pair of sizes with the least time for transforms and the products between them. */
static double fft_plan(const conv_desc *d, double product_s, int *fft_ny, int *fft_nx)
{
    double best = INFINITY;
    for (int i = 0, more_y = 3; more_y > 0; i++) {
        fft_size y = fft_at(i);
        if (y.n < d->tile_ny + d->ky - 1) {
            continue;
        }
        more_y--;
        for (int j = 0, more_x = 3; more_x > 0; j++) {
            fft_size x = fft_at(j);
            if (x.n < d->tile_nx + d->kx - 1) {
                continue;
            }
            more_x--;
            double s = fft_seconds(d, y, x) + product_s * y.n * (x.n / 2 + 1.0);
            if (s < best) {
                best = s;
                *fft_ny = y.n;
                *fft_nx = x.n;
            }
        }
    }
    return best;
}

static double products_per_frequency(const conv_desc *d)
{
    return (double)d->nchan_out * (d->nchan_in / d->groups) * d->kt;
}

/* --- costs ------------------------------------------------------------------------------------------------------------ */
static void describe_fft(const conv_desc *d, conv_info *info)
{
    fft_plan(d, 8 * products_per_frequency(d) / 45e9, &info->fft_ny, &info->fft_nx);
    double n = (double)info->fft_ny * info->fft_nx, frequencies = info->fft_ny * (info->fft_nx / 2 + 1.0);
    info->nstate = conv_spectrum_reals(info) * (d->kt - 1) * d->nchan_in;
    info->flop_per_frame = (d->nchan_in + d->nchan_out) * 2.5 * n * log2(n) + 8 * products_per_frequency(d) * frequencies;
    /* Kernel spectra and state pass once for CONV_FFT_FRAMES frames; spectra of the frame itself go in and out. */
    double spectra = products_per_frequency(d) + 2.0 * (d->kt - 1) * d->nchan_in;
    info->bytes_per_frame = 2 * sizeof(real) * frequencies * (spectra / CONV_FFT_FRAMES + 2 * (d->nchan_in + d->nchan_out));
    double spectrum = sizeof(real) * (double)conv_spectrum_reals(info), flight = (double)conv_fft_frames(d) * (d->nchan_in + d->nchan_out);
    info->bytes_held = spectrum * products_per_frequency(d);
    info->bytes_thread = spectrum * (flight + 2) + sizeof(real) * n; /* frames in flight; one frame before and after its rows and columns */
    if (d->differentiate) {
        info->tape = conv_spectrum_reals(info) * d->nchan_in;
        info->bytes_thread += spectrum * ((d->kt - 1) * (double)d->nchan_out + 2 * products_per_frequency(d)); /* the latter in double */
    }
}

/* --- turned frames: window, and the adjoints of all but FFT -------------------------------------------------------------- */
static double window_pixels(const conv_desc *d) /* of input and output, all channels of a group */
{
    double in = (double)(d->nchan_in / d->groups) * (d->tile_ny + d->ky - 1.0) * (d->tile_nx + d->kx - 1.0);
    return in + (double)(d->nchan_out / d->groups) * d->tile_ny * d->tile_nx;
}

static double window_reals(const conv_desc *d, int steps)
{
    return window_pixels(d) * (steps + d->kt - 1);
}

enum { NEAR = 1 << 19 }; /* reals */

int conv_window_steps(const conv_desc *d)
{
    return d->max_nt > CONV_WINDOW_SHORT && window_reals(d, CONV_WINDOW_LONG) <= NEAR ? CONV_WINDOW_LONG : CONV_WINDOW_SHORT;
}

static double window_bytes_thread(const conv_desc *d)
{
    enum { LANES = 16 };
    double lanes = d->differentiate ? LANES * (double)conv_kernel_reals(d) / d->groups : 0;
    return sizeof(real) * (window_reals(d, conv_window_steps(d)) + lanes);
}

conv_info conv_describe(const conv_desc *d, enum conv_algorithm a, int nterm, int ntime)
{
    int by = conv_before(d->ky), bx = conv_before(d->kx);
    conv_info info = {.algorithm = a, .halo_before = by > bx ? by : bx, .halo_after = d->ky > d->kx ? conv_after(d->ky) : conv_after(d->kx)};
    double pixels = (double)d->tile_ny * d->tile_nx, taps = (double)d->kt * d->ky * d->kx;
    double read = (double)(d->tile_ny + d->ky - 1) * (d->tile_nx + d->kx - 1);
    info.bytes_per_frame = sizeof(real) * (read * d->nchan_in * d->kt + pixels * d->nchan_out);
    if (a == CONV_FFT) {
        describe_fft(d, &info);
        return info;
    }
    info.hist = d->kt - 1;
    if (a == CONV_SEPARABLE) {
        info.rank = nterm;
        double along = (d->tile_ny + d->ky - 1.0) * d->tile_nx;
        info.flop_per_frame = 2.0 * (ntime * d->kt * read + nterm * (d->kx * along + d->ky * pixels));
        info.bytes_per_frame = sizeof(real) * (read * d->kt * ntime + 2 * along * nterm + pixels * d->nchan_out);
        info.bytes_held = sizeof(real) * ((double)ntime * d->kt + (double)nterm * (d->ky + d->kx));
        info.bytes_thread = sizeof(real) * read * (1 + (double)((nterm + d->nchan_out - 1) / d->nchan_out));
    } else if (a == CONV_WINDOW) {
        info.flop_per_frame = 2 * pixels * taps * d->nchan_out * (d->nchan_in / d->groups);
        info.bytes_held = sizeof(real) * (double)conv_kernel_reals(d);
        info.bytes_thread = window_bytes_thread(d);
    } else {
        info.flop_per_frame = 2 * pixels * taps * d->nchan_out * (d->nchan_in / d->groups);
        info.bytes_held = sizeof(real) * taps * d->nchan_out * (d->nchan_in / d->groups);
        info.bytes_thread = sizeof(int64_t) * taps * (d->nchan_in / d->groups);
    }
    if (d->differentiate) {
        info.bytes_held += sizeof(real) * (double)conv_kernel_reals(d) * (a == CONV_WINDOW ? 1 : 2);
        info.bytes_thread += a == CONV_WINDOW ? 0 : window_bytes_thread(d);
    }
    return info;
}

double conv_seconds(const conv_desc *d, const conv_info *info, const conv_machine *m)
{
    double rows = (double)d->tile_ny * d->nchan_out;
    if (info->algorithm == CONV_FFT) {
        double product_s = 8 * products_per_frequency(d) / m->spectrum_flops, frequencies = info->fft_ny * (info->fft_nx / 2 + 1.0);
        int ny, nx;
        return fft_plan(d, 0, &ny, &nx) * m->fft_scale + product_s * frequencies + info->bytes_per_frame / m->bytes_per_s;
    }
    if (info->algorithm == CONV_SEPARABLE) {
        return info->flop_per_frame / m->separable_flops + info->rank * 3.0 * d->tile_ny * m->row_s;
    }
    if (info->algorithm == CONV_WINDOW) { /* full speed with 4 outputs and more that share what is loaded; every number is turned once */
        int together = d->nchan_out / d->groups;
        double share = together >= 4 ? 1 : together >= 2 ? 0.6 : 0.35;
        return info->flop_per_frame / (share * m->window_flops) + d->groups * window_pixels(d) * m->turn_s;
    }
    enum { SHORT_ROW = 16 }; /* rows that fill no register are done a pixel at a time */
    double speed = d->tile_nx < SHORT_ROW ? m->short_flops : m->direct_flops;
    return info->flop_per_frame / speed + rows * m->row_s;
}

conv_info conv_choose(const conv_desc *d, const conv_machine *m, const real *kernel, conv_factors **factors)
{
    enum { MOST_TERMS = 8 }; /* of one pair; beyond, the others win */
    *factors = NULL;
    if (d->algorithm == CONV_FFT || d->algorithm == CONV_DIRECT || d->algorithm == CONV_WINDOW) {
        return conv_describe(d, d->algorithm, 0, 0);
    }
    int every = d->kt * d->ky < d->kt * d->kx ? d->kt * d->ky : d->kt * d->kx; /* enough for any kernel */
    conv_factors *f = d->varies && d->algorithm == CONV_AUTO ? NULL : conv_factor(d, kernel, d->algorithm == CONV_SEPARABLE ? every : MOST_TERMS);
    ASSERT(f || d->algorithm != CONV_SEPARABLE);
    conv_info best = conv_describe(d, CONV_DIRECT, 0, 0);
    if (d->algorithm == CONV_AUTO) {
        conv_info fft = conv_describe(d, CONV_FFT, 0, 0);
        best = conv_seconds(d, &fft, m) < conv_seconds(d, &best, m) ? fft : best;
        conv_info window = conv_describe(d, CONV_WINDOW, 0, 0);
        bool near = window_reals(d, CONV_WINDOW_SHORT) <= NEAR;
        best = near && conv_seconds(d, &window, m) < conv_seconds(d, &best, m) ? window : best;
    }
    if (f) {
        conv_info separable = conv_describe(d, CONV_SEPARABLE, f->nterm, f->ntime);
        if (d->algorithm == CONV_SEPARABLE || conv_seconds(d, &separable, m) < conv_seconds(d, &best, m)) {
            *factors = f;
            return separable;
        }
        conv_factors_destroy(f);
    }
    return best;
}

/* --- rank-one terms --------------------------------------------------------------------------------------------------- */
#ifdef CHIASM_DOUBLE
static const double tolerance = 1e-13;
#else
static const double tolerance = 1e-7;
#endif

static double norm(const double *v, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) {
        s += v[i] * v[i];
    }
    return sqrt(s);
}

/* x = A v and y = A' u of a (m x n). */
static void times(const double *a, int m, int n, const double *v, double *x)
{
    for (int i = 0; i < m; i++) {
        double s = 0;
        for (int j = 0; j < n; j++) {
            s += a[(int64_t)i * n + j] * v[j];
        }
        x[i] = s;
    }
}

static void times_transposed(const double *a, int m, int n, const double *u, double *y)
{
    memset(y, 0, (size_t)n * sizeof(double));
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            y[j] += a[(int64_t)i * n + j] * u[i];
        }
    }
}

static void scale(double *v, int n, double by)
{
    for (int i = 0; i < n; i++) {
        v[i] *= by;
    }
}

/* a (m x n, destroyed) = sum over terms of left[r][m] right[r][n]; returns the number of terms, or -1 if `most` do not leave a remainder
 * below `floor`.  Each term takes u u'A from A with a unit u of A's range, which lowers the rank by exactly one (Wedderburn 1934); a few
 * power steps bring u near the largest singular vector, so that rounding stays small.  left is orthonormal. */
static int split(double *a, int m, int n, double floor, int most, double *left, double *right)
{
    for (int r = 0;; r++) {
        if (!(norm(a, (int64_t)m * n) > floor)) {
            return r;
        }
        if (r == most) {
            return -1;
        }
        double *u = left + (int64_t)r * m, *v = right + (int64_t)r * n;
        int row = 0;
        for (int i = 1; i < m; i++) {
            row = norm(a + (int64_t)i * n, n) > norm(a + (int64_t)row * n, n) ? i : row;
        }
        memcpy(v, a + (int64_t)row * n, (size_t)n * sizeof(double));
        for (int step = 0; step < 6; step++) {
            scale(v, n, 1 / norm(v, n));
            times(a, m, n, v, u);
            scale(u, m, 1 / norm(u, m));
            times_transposed(a, m, n, u, v);
        }
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                a[(int64_t)i * n + j] -= u[i] * v[j];
            }
        }
    }
}

static void add_term(conv_factors *f, const conv_desc *d, conv_term term, const double *vertical, const double *horizontal)
{
    int n = f->nterm++;
    if ((n & (n - 1)) == 0) { /* at powers of two */
        size_t room = n ? 2 * (size_t)n : 1;
        f->term = memory_grow(f->term, room, sizeof(conv_term));
        f->vertical = memory_grow(f->vertical, room * (size_t)d->ky, sizeof(double));
        f->horizontal = memory_grow(f->horizontal, room * (size_t)d->kx, sizeof(double));
    }
    f->term[n] = term;
    memcpy(f->vertical + (int64_t)n * d->ky, vertical, (size_t)d->ky * sizeof(double));
    memcpy(f->horizontal + (int64_t)n * d->kx, horizontal, (size_t)d->kx * sizeof(double));
}

/* One (output, input) pair: first time against space, then each spatial part vertical against horizontal. */
static bool factor_pair(conv_factors *f, const conv_desc *d, int out, int in, double *kernel, int most)
{
    int space = d->ky * d->kx, nmost = d->kt < space ? d->kt : space, smost = d->ky < d->kx ? d->ky : d->kx;
    double *time = MEMORY_NEW(double, (int64_t)nmost * d->kt), *spatial = MEMORY_NEW(double, (int64_t)nmost * space);
    double *vertical = MEMORY_NEW(double, (int64_t)smost * d->ky), *horizontal = MEMORY_NEW(double, (int64_t)smost * d->kx);
    double size = norm(kernel, (int64_t)d->kt * space);
    int before = f->nterm, ntime = split(kernel, d->kt, space, size * tolerance, nmost < most ? nmost : most, time, spatial);
    bool done = ntime >= 0;
    for (int r = 0; done && r < ntime; r++) {
        double *part = spatial + (int64_t)r * space, floor = size * tolerance / sqrt(ntime); /* the parts are orthogonal */
        int n = split(part, d->ky, d->kx, floor, smost, vertical, horizontal);
        done = n >= 0 && f->nterm - before + n <= most;
        for (int s = 0; done && s < n; s++) {
            add_term(f, d, (conv_term){.out = out, .in = in, .time = f->ntime}, vertical + (int64_t)s * d->ky, horizontal + (int64_t)s * d->kx);
        }
        if (done && n > 0) {
            f->time = memory_grow(f->time, (size_t)(f->ntime + 1) * (size_t)d->kt, sizeof(double));
            memcpy(f->time + (int64_t)f->ntime++ * d->kt, time + (int64_t)r * d->kt, (size_t)d->kt * sizeof(double));
        }
    }
    memory_free(time);
    memory_free(spatial);
    memory_free(vertical);
    memory_free(horizontal);
    return done;
}

conv_factors *conv_factor(const conv_desc *d, const real *kernel, int max_term)
{
    conv_factors *f = MEMORY_NEW(conv_factors, 1);
    int nin = d->nchan_in / d->groups, taps = d->kt * d->ky * d->kx;
    double *pair = MEMORY_NEW(double, taps);
    bool done = true;
    for (int i = 0; done && i < d->nchan_out * nin; i++) {
        for (int n = 0; n < taps; n++) {
            pair[n] = (double)kernel[(int64_t)i * taps + n];
        }
        done = factor_pair(f, d, i / nin, i % nin, pair, max_term);
    }
    memory_free(pair);
    if (!done) {
        conv_factors_destroy(f);
        return NULL;
    }
    return f;
}

void conv_factors_destroy(conv_factors *f)
{
    if (f) {
        memory_free(f->term);
        memory_free(f->time);
        memory_free(f->vertical);
        memory_free(f->horizontal);
        memory_free(f);
    }
}

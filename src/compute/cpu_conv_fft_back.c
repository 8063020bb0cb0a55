/* cpu_conv_fft_back.c - adjoint of the convolution in the frequency domain.
 *
 *   GX[c][t](f) = sum over o, k of conj(K[o][c][k](f)) GY[o][t + k](f)        gK[o][c][k](f) = sum over t of conj(X[c][t - k](f)) GY[o][t](f)
 *
 * GY is the spectrum of gy as it stands in the result's rows; GX comes back by the inverse transform; what a chunk has to say to frames before it
 * stays a spectrum, in g_state, in the order of the state.  Groups of frames go from the last to the first, each with the GY of the kt - 1 frames
 * after it, blocks of frequencies as in the forward sum.  gK adds CONV_FFT_FRAMES frames in a register, those sums in double, and comes back once. */
#include "compute/cpu_conv_fft.h"

void conv_fft_back_create(conv_fft *f)
{
    const conv_desc *d = &f->desc;
    const fft_scratch *first = &f->scratch[0];
    int ny = f->ny, nx = f->nx, nkx = f->nkx;
    int64_t block = (int64_t)f->nblock * PAIR;
    for (int i = 0; i < f->nthread; i++) {
        fft_scratch *s = &f->scratch[i];
        s->new_and_future = MEMORY_NEW(real, (int64_t)(f->frames + d->kt - 1) * d->nchan_out * PAIR);
        s->future = MEMORY_NEW(real, block * (d->kt - 1) * d->nchan_out);
        s->g_kernel = MEMORY_NEW(double, block * d->nchan_out * (d->nchan_in / d->groups) * d->kt);
    }
    f->tile_forward = FFTW(plan_many_dft_r2c)(1, &nx, d->tile_ny, first->frame, NULL, 1, nx, first->half, NULL, 1, nkx, FFTW_ESTIMATE);
    f->input_backward = FFTW(plan_many_dft_c2r)(1, &nx, f->rows, first->half, NULL, 1, nkx, first->frame, NULL, 1, nx, FFTW_ESTIMATE);
    f->whole_backward = FFTW(plan_many_dft_c2r)(1, &nx, ny, first->half, NULL, 1, nkx, first->frame, NULL, 1, nx, FFTW_ESTIMATE);
    ASSERT(f->tile_forward && f->input_backward && f->whole_backward);
}

void conv_fft_back_destroy(conv_fft *f)
{
    if (f->whole_backward) {
        FFTW(destroy_plan)(f->tile_forward);
        FFTW(destroy_plan)(f->input_backward);
        FFTW(destroy_plan)(f->whole_backward);
    }
    for (int i = 0; i < f->nthread; i++) {
        memory_free(f->scratch[i].new_and_future);
        memory_free(f->scratch[i].future);
        memory_free(f->scratch[i].g_kernel);
    }
}

/* Spectra of gy of frame t, which stands where the result comes out: row 0 of the frame is row 0 of the tile. */
static void output_spectra(const conv_fft *f, fft_scratch *s, int leaf, int t, const view *gy, real *to, int64_t stride)
{
    const conv_desc *d = &f->desc;
    int ny = gy->tile[leaf].ny, nx = gy->tile[leaf].nx;
    for (int o = 0; o < d->nchan_out; o++) {
        const real *from = host(gy->at) + leaf * gy->leaf_stride + t * gy->frame_stride + o * gy->chan_stride;
        for (int r = 0; r < d->tile_ny; r++) {
            real *row = s->frame + (int64_t)r * f->nx;
            int n = r < ny ? nx : 0;
            vec_copy(row, from + r * gy->row_stride, n);
            vec_zero(row + n, f->nx - n);
        }
        FFTW(execute_dft_r2c)(f->tile_forward, s->frame, s->half);
        memset(s->half + (int64_t)d->tile_ny * f->nkx, 0, (size_t)(f->ny - d->tile_ny) * (size_t)f->nkx * sizeof *s->half);
        FFTW(execute_dft)(f->columns_forward, s->half, s->interleaved);
        conv_fft_to_blocks(f, s, to + (int64_t)o * PAIR, stride);
    }
}

/* Adds the inverse of GX of frame t to tile and halo of gx (at NULL: to nothing); returns the sum over pixels and channels if asked. */
static double input_add(const conv_fft *f, fft_scratch *s, int leaf, int t, const view *gx, const grid_tile *tile, const real *from, int64_t stride)
{
    const conv_desc *d = &f->desc;
    int rows = tile->ny + d->ky - 1, columns = tile->nx + d->kx - 1;
    double sum = 0;
    for (int c = 0; c < d->nchan_in; c++) {
        conv_fft_from_blocks(f, s, from + (int64_t)c * PAIR, stride);
        FFTW(execute_dft)(f->columns_backward, s->interleaved, s->half);
        FFTW(execute_dft_c2r)(f->input_backward, s->half, s->frame);
        for (int r = 0; r < rows; r++) {
            const real *row = s->frame + (int64_t)r * f->nx;
            if (gx) {
                real *to = host(gx->at) + leaf * gx->leaf_stride + t * gx->frame_stride + c * gx->chan_stride +
                           (r - conv_before(d->ky)) * gx->row_stride - conv_before(d->kx);
                for (int i = 0; i < columns; i++) {
                    to[i] += row[i];
                }
            } else {
                for (int i = 0; i < columns; i++) {
                    sum += (double)row[i];
                }
            }
        }
    }
    return sum;
}

/* `frames` x nvec registers of GX of one channel, lags k0 and later; gy: GY of the first output at the frame of lag 0. */
static inline __attribute__((always_inline)) void multiply_back(int frames, int nvec, const conv_desc *d, int k0, const real *kernel, const real *gy,
                                                                real *gx, int64_t gx_stride, int at)
{
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    int64_t stride = (int64_t)d->nchan_out * PAIR;
    vec re[8], im[8];
#pragma GCC unroll 8
    for (int n = 0; n < frames * nvec; n++) {
        re[n] = (vec){0};
        im[n] = (vec){0};
    }
    for (int o = 0; o < nout; o++) {
        const real *tap = kernel + ((int64_t)o * nin * d->kt + k0) * PAIR + at, *from = gy + (int64_t)o * PAIR + k0 * stride + at;
        for (int k = k0; k < d->kt; k++, from += stride, tap += PAIR) {
#pragma GCC unroll 8
            for (int n = 0; n < frames * nvec; n++) {
                const real *one = from + n / nvec * stride + n % nvec * VEC;
                vec kr = vec_load(tap + n % nvec * VEC), ki = vec_load(tap + CONV_BLOCK + n % nvec * VEC);
                vec gr = vec_load(one), gi = vec_load(one + CONV_BLOCK);
                re[n] += kr * gr;
                re[n] += ki * gi;
                im[n] += kr * gi;
                im[n] -= ki * gr;
            }
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < frames * nvec; n++) {
        vec_store(gx + n / nvec * gx_stride + n % nvec * VEC + at, re[n]);
        vec_store(gx + n / nvec * gx_stride + n % nvec * VEC + at + CONV_BLOCK, im[n]);
    }
}

/* One block of nt frames; gy: [nt + kt - 1][nchan_out][PAIR], gx: [nt][nchan_in][PAIR]; k0: the least lag (nt = 1 when it is not 0). */
static void combine_back(const conv_fft *f, int nt, int k0, const real *kernel, const real *gy, real *gx)
{
    const conv_desc *d = &f->desc;
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    int64_t gx_stride = (int64_t)d->nchan_in * PAIR, gy_stride = (int64_t)d->nchan_out * PAIR;
    for (int c = 0; c < d->nchan_in; c++) {
        int first = c / nin * nout;
        const real *k = kernel + ((int64_t)first * nin + c % nin) * d->kt * PAIR, *from = gy + (int64_t)first * PAIR;
        real *to = gx + (int64_t)c * PAIR;
        int t = 0;
        for (; t + 4 <= nt; t += 4) {
            for (int at = 0; at < CONV_BLOCK; at += VEC) {
                multiply_back(4, 1, d, k0, k, from + t * gy_stride, to + t * gx_stride, gx_stride, at);
            }
        }
        for (; t < nt; t++) {
            for (int at = 0; at < CONV_BLOCK; at += 4 * VEC) {
                multiply_back(1, 4, d, k0, k, from + t * gy_stride, to + t * gx_stride, gx_stride, at);
            }
        }
    }
}

/* sum[lag] += sum over nt frames of conj(X[t - lag]) GY[t], nlag lags from that of x on, one register of frequencies. */
static inline __attribute__((always_inline)) void products(int nlag, int nt, const real *x, int64_t x_stride, const real *gy, int64_t gy_stride,
                                                           double *sum)
{
    vec re[4], im[4];
#pragma GCC unroll 4
    for (int n = 0; n < nlag; n++) {
        re[n] = (vec){0};
        im[n] = (vec){0};
    }
    for (int t = 0; t < nt; t++, x += x_stride, gy += gy_stride) {
        vec gr = vec_load(gy), gi = vec_load(gy + CONV_BLOCK);
#pragma GCC unroll 4
        for (int n = 0; n < nlag; n++) {
            vec xr = vec_load(x - n * x_stride), xi = vec_load(x - n * x_stride + CONV_BLOCK);
            re[n] += xr * gr;
            re[n] += xi * gi;
            im[n] += xr * gi;
            im[n] -= xi * gr;
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < nlag; n++) {
        for (int i = 0; i < VEC; i++) {
            sum[n * PAIR + i] += (double)re[n][i];
            sum[n * PAIR + CONV_BLOCK + i] += (double)im[n][i];
        }
    }
}

/* Adds one block of nt frames to g_kernel [nchan_out][nchan_in/groups][kt][PAIR]; x: first new frame, kt - 1 frames stand before it. */
static void correlate(const conv_fft *f, int nt, const real *x, const real *gy, double *g_kernel)
{
    const conv_desc *d = &f->desc;
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    int64_t x_stride = (int64_t)d->nchan_in * PAIR, gy_stride = (int64_t)d->nchan_out * PAIR;
    for (int pair = 0; pair < d->nchan_out * nin; pair++) {
        int o = pair / nin, c = o / nout * nin + pair % nin;
        for (int at = 0; at < CONV_BLOCK; at += VEC) {
            const real *xc = x + (int64_t)c * PAIR + at, *go = gy + (int64_t)o * PAIR + at;
            double *to = g_kernel + (int64_t)pair * d->kt * PAIR + at;
            int k = 0;
            for (; k + 4 <= d->kt; k += 4) {
                products(4, nt, xc - k * x_stride, x_stride, go, gy_stride, to + (int64_t)k * PAIR);
            }
            for (; k < d->kt; k++) {
                products(1, nt, xc - k * x_stride, x_stride, go, gy_stride, to + (int64_t)k * PAIR);
            }
        }
    }
}

/* The inverse of each plane's gK at the places of its taps. */
static void kernel_add(const conv_fft *f, fft_scratch *s, double *g_kernel)
{
    const conv_desc *d = &f->desc;
    int nplane = d->nchan_out * (d->nchan_in / d->groups) * d->kt;
    double scale = 1 / ((double)f->ny * f->nx);
    for (int n = 0; n < nplane; n++) {
        real *to = (real *)s->interleaved;
        for (int b = 0; b < f->nblock; b++, to += PAIR) {
            const double *from = s->g_kernel + ((int64_t)b * nplane + n) * PAIR;
            for (int i = 0; i < CONV_BLOCK; i++) {
                to[2 * i] = (real)(scale * from[i]);
                to[2 * i + 1] = (real)(scale * from[CONV_BLOCK + i]);
            }
        }
        FFTW(execute_dft)(f->columns_backward, s->interleaved, s->half);
        FFTW(execute_dft_c2r)(f->whole_backward, s->half, s->frame);
        for (int j = 0; j < d->ky; j++) {
            for (int i = 0; i < d->kx; i++) {
                int64_t y = (j - (d->ky - 1) + f->ny) % f->ny, x = (i - (d->kx - 1) + f->nx) % f->nx;
                g_kernel[((int64_t)n * d->ky + j) * d->kx + i] += (double)s->frame[y * f->nx + x];
            }
        }
    }
}

/* The chunk of one leaf. */
typedef struct chunk {
    int nt;
    const real *state, *tape, *g_state;
    bool want_input, want_kernel;
} chunk;

/* Spectra of frames [t0 - (kt - 1), t0 + n) of block b, in past_and_new: from the tape, and before the chunk from the state. */
static void gather_input(const conv_fft *f, fft_scratch *s, const chunk *c, int b, int t0, int n)
{
    int past = f->desc.kt - 1;
    int64_t in = (int64_t)f->desc.nchan_in * PAIR;
    for (int t = t0 - past; t < t0 + n;) {
        int group = t < 0 ? 0 : t / f->frames * f->frames, end = t < 0 ? 0 : group + f->frames;
        end = end < t0 + n ? end : t0 + n;
        int together = c->nt - group < f->frames ? c->nt - group : f->frames;
        const real *from = t < 0 ? c->state + ((int64_t)b * past + past + t) * in
                                 : c->tape + (int64_t)group * f->nblock * in + ((int64_t)b * together + t - group) * in;
        memcpy(s->past_and_new + (t - (t0 - past)) * in, from, (size_t)((end - t) * in) * sizeof(real));
        t = end;
    }
}

/* One block of the group [t0, t0 + n), whose GY is in s->out: leaves its GX in s->in. */
static void back_block(const conv_fft *f, fft_scratch *s, const chunk *c, int b, int t0, int n)
{
    const conv_desc *d = &f->desc;
    int past = d->kt - 1, nin = d->nchan_in / d->groups, told = c->nt - past; /* frames from `told` on: later chunks had something to say to them */
    int64_t in = (int64_t)d->nchan_in * PAIR, out = (int64_t)d->nchan_out * PAIR, planes = (int64_t)d->nchan_out * nin * d->kt * PAIR;
    real *future = s->future + (int64_t)b * past * out, *gx = s->in + (int64_t)b * n * in;
    memcpy(s->new_and_future, s->out + (int64_t)b * n * out, (size_t)(n * out) * sizeof(real));
    if (c->want_kernel) {
        gather_input(f, s, c, b, t0, n);
        correlate(f, n, s->past_and_new + past * in, s->new_and_future, s->g_kernel + b * planes);
    }
    if (c->want_input) {
        memcpy(s->new_and_future + n * out, future, (size_t)(past * out) * sizeof(real));
        combine_back(f, n, 0, f->kernel + b * planes, s->new_and_future, gx);
        for (int t = t0 > told ? t0 : told; t < t0 + n; t++) {
            for (int64_t i = 0; i < in; i++) {
                gx[(t - t0) * in + i] += c->g_state[((int64_t)b * past + t - told) * in + i];
            }
        }
        memcpy(future, s->new_and_future, (size_t)(past * out) * sizeof(real));
    }
}

/* What this chunk and later ones have to say to the kt - 1 frames before it; the later ones' share moves up by nt frames. */
static void back_to_past(const conv_fft *f, fft_scratch *s, int nt, real *g_state)
{
    const conv_desc *d = &f->desc;
    int past = d->kt - 1;
    int64_t in = (int64_t)d->nchan_in * PAIR, out = (int64_t)d->nchan_out * PAIR;
    int64_t planes = (int64_t)d->nchan_out * (d->nchan_in / d->groups) * d->kt * PAIR;
    for (int b = 0; b < f->nblock; b++) {
        real *g = g_state + b * past * in;
        for (int j = past - 1; j >= 0; j--) { /* frame j - past */
            combine_back(f, 1, past - j, f->kernel + b * planes, s->future + b * past * out + (j - past) * out, s->past_and_new);
            for (int64_t i = 0; i < in; i++) {
                g[j * in + i] = s->past_and_new[i] + (j >= nt ? g[(j - nt) * in + i] : 0);
            }
        }
    }
}

/* g_state: in and out as conv_back has it; gx NULL: neither it nor g_state is wanted (g_state becomes 0).  g_kernel NULL: not wanted. */
void conv_fft_back(const conv_fft *f, int leaf, int nt, const real *state, const real *tape, const view *gy, real *g_state, const view *gx,
                   double *g_kernel)
{
    const conv_desc *d = &f->desc;
    fft_scratch *s = conv_fft_scratch(f);
    chunk c = {nt, state, tape, g_state, gx != NULL, g_kernel != NULL};
    int past = d->kt - 1;
    int64_t in = (int64_t)d->nchan_in * PAIR, out = (int64_t)d->nchan_out * PAIR;
    ASSERT(f->whole_backward && (tape || !g_kernel));
    if (g_kernel) {
        memset(s->g_kernel, 0, (size_t)(f->nblock * d->kt * (d->nchan_in / d->groups) * out) * sizeof(double));
    }
    memset(s->future, 0, (size_t)(f->nblock * past * out) * sizeof(real));
    for (int t0 = (nt - 1) / f->frames * f->frames; t0 >= 0; t0 -= f->frames) {
        int n = nt - t0 < f->frames ? nt - t0 : f->frames;
        for (int t = 0; t < n; t++) {
            output_spectra(f, s, leaf, t0 + t, gy, s->out + t * out, n * out);
        }
        for (int b = 0; b < f->nblock; b++) {
            back_block(f, s, &c, b, t0, n);
        }
        for (int t = 0; gx && t < n; t++) {
            input_add(f, s, leaf, t0 + t, gx, &gy->tile[leaf], s->in + t * in, n * in);
        }
    }
    if (g_kernel) {
        kernel_add(f, s, g_kernel);
    }
    if (gx) {
        back_to_past(f, s, nt, g_state);
    } else if (past > 0) {
        memset(g_state, 0, (size_t)(f->nblock * past * in) * sizeof(real));
    }
}

/* All frames of the past were one frame: adds to it (gx; NULL: not wanted) and returns the sum over its pixels. */
double conv_fft_start_back(const conv_fft *f, int leaf, const grid_tile *tile, const real *g_state, const view *gx)
{
    fft_scratch *s = conv_fft_scratch(f);
    int past = f->desc.kt - 1;
    int64_t in = (int64_t)f->desc.nchan_in * PAIR;
    for (int b = 0; b < f->nblock; b++) {
        real *sum = s->in + b * in;
        memset(sum, 0, (size_t)in * sizeof(real));
        for (int64_t n = 0; n < past * in; n++) {
            sum[n % in] += g_state[b * past * in + n];
        }
    }
    if (gx) {
        input_add(f, s, leaf, 0, gx, tile, s->in, in);
    }
    return input_add(f, s, leaf, 0, NULL, tile, s->in, in);
}

/* cpu_conv_fft.c - convolution by one real 2-D FFT per frame and channel; lags and channels are summed in the frequency domain.
 *
 *   Y[o][t](f) = sum over c, k of K[o][c][k](f) X[c][t - k](f)
 *
 * Frequencies come in blocks of CONV_BLOCK: the kernel's spectra of a block, its past frames and up to CONV_FFT_FRAMES new ones lie
 * together and stay in the nearest caches while the sum runs.  Every frame has the same transforms and the same order of summation,
 * so its bits do not depend on the frames it came with.  FFTW_ESTIMATE on aligned arrays, for the same reason. */
#include "compute/cpu_conv_fft.h"

/* Columns up to this length are faster from one array to another, longer ones in place (measured, FFTW 3.3.10 with ESTIMATE). */
enum { LONGEST_OUT_OF_PLACE = 320 };

static void scratch_create(const conv_fft *f, fft_scratch *s)
{
    const conv_desc *d = &f->desc;
    int64_t flight = (int64_t)f->nblock * f->frames * PAIR;
    s->frame = MEMORY_NEW(real, (int64_t)f->ny * f->nx);
    s->interleaved = MEMORY_NEW(FFTW(complex), (int64_t)f->nblock * CONV_BLOCK);
    s->half = f->ny <= LONGEST_OUT_OF_PLACE ? MEMORY_NEW(FFTW(complex), (int64_t)f->ny * f->nkx) : s->interleaved;
    s->in = MEMORY_NEW(real, flight * d->nchan_in);
    s->out = MEMORY_NEW(real, flight * d->nchan_out);
    s->past_and_new = MEMORY_NEW(real, (int64_t)(d->kt - 1 + f->frames) * d->nchan_in * PAIR);
}

static void scratch_destroy(fft_scratch *s)
{
    memory_free(s->frame);
    if (s->half != s->interleaved) {
        memory_free(s->half);
    }
    memory_free(s->interleaved);
    memory_free(s->in);
    memory_free(s->out);
    memory_free(s->past_and_new);
}

/* Rows and columns have plans of their own: rows that are zero, or not wanted back, are left out. */
static void make_plans(conv_fft *f)
{
    const fft_scratch *s = &f->scratch[0];
    int ny = f->ny, nx = f->nx, nkx = f->nkx;
    f->whole_forward = FFTW(plan_dft_r2c_2d)(ny, nx, s->frame, s->interleaved, FFTW_ESTIMATE);
    f->rows_forward = FFTW(plan_many_dft_r2c)(1, &nx, f->rows, s->frame, NULL, 1, nx, s->half, NULL, 1, nkx, FFTW_ESTIMATE);
    f->columns_forward = FFTW(plan_many_dft)(1, &ny, nkx, s->half, NULL, nkx, 1, s->interleaved, NULL, nkx, 1, FFTW_FORWARD, FFTW_ESTIMATE);
    f->columns_backward = FFTW(plan_many_dft)(1, &ny, nkx, s->interleaved, NULL, nkx, 1, s->half, NULL, nkx, 1, FFTW_BACKWARD, FFTW_ESTIMATE);
    f->rows_backward = FFTW(plan_many_dft_c2r)(1, &nx, f->desc.tile_ny, s->half, NULL, 1, nkx, s->frame, NULL, 1, nx, FFTW_ESTIMATE);
    ASSERT(f->whole_forward && f->rows_forward && f->columns_forward && f->columns_backward && f->rows_backward);
}

static void forward(const conv_fft *f, fft_scratch *s)
{
    FFTW(execute_dft_r2c)(f->rows_forward, s->frame, s->half);
    memset(s->half + (int64_t)f->rows * f->nkx, 0, (size_t)(f->ny - f->rows) * (size_t)f->nkx * sizeof *s->half);
    FFTW(execute_dft)(f->columns_forward, s->half, s->interleaved);
}

static void backward(const conv_fft *f, fft_scratch *s)
{
    FFTW(execute_dft)(f->columns_backward, s->interleaved, s->half);
    FFTW(execute_dft_c2r)(f->rows_backward, s->half, s->frame);
}

void conv_fft_transforms(const conv_fft *f)
{
    forward(f, &f->scratch[0]);
    backward(f, &f->scratch[0]);
}

void conv_fft_to_blocks(const conv_fft *f, const fft_scratch *s, real *to, int64_t stride)
{
    const real *from = (const real *)s->interleaved;
    for (int b = 0; b < f->nblock; b++, from += PAIR, to += stride) {
        for (int i = 0; i < CONV_BLOCK; i++) {
            to[i] = from[2 * i];
            to[CONV_BLOCK + i] = from[2 * i + 1];
        }
    }
}

void conv_fft_from_blocks(const conv_fft *f, fft_scratch *s, const real *from, int64_t stride)
{
    real *to = (real *)s->interleaved;
    for (int b = 0; b < f->nblock; b++, to += PAIR, from += stride) {
        for (int i = 0; i < CONV_BLOCK; i++) {
            to[2 * i] = from[i];
            to[2 * i + 1] = from[CONV_BLOCK + i];
        }
    }
}

/* Tap (j, i) goes where result pixel (y, x) comes out at (y, x): input row 0 is conv_before(ky) above the tile. */
void conv_fft_set(conv_fft *f, const real *kernel)
{
    const conv_desc *d = &f->desc;
    fft_scratch *s = &f->scratch[0];
    int nplane = d->nchan_out * (d->nchan_in / d->groups) * d->kt;
    for (int n = 0; n < nplane; n++) {
        memset(s->frame, 0, (size_t)f->ny * (size_t)f->nx * sizeof(real));
        for (int j = 0; j < d->ky; j++) {
            for (int i = 0; i < d->kx; i++) {
                int64_t y = (j - (d->ky - 1) + f->ny) % f->ny, x = (i - (d->kx - 1) + f->nx) % f->nx;
                s->frame[y * f->nx + x] = kernel[((int64_t)n * d->ky + j) * d->kx + i] / ((real)f->ny * (real)f->nx);
            }
        }
        FFTW(execute)(f->whole_forward);
        conv_fft_to_blocks(f, s, f->kernel + (int64_t)n * PAIR, (int64_t)nplane * PAIR);
    }
}

conv_fft *conv_fft_create(const conv_desc *d, const conv_info *info, int nthread, const real *kernel, const conv_fft *like)
{
    conv_fft *f = MEMORY_NEW(conv_fft, 1);
    if (like) {
        *f = *like;
        f->borrowed = true;
        f->kernel = MEMORY_NEW(real, (int64_t)f->nblock * PAIR * d->nchan_out * (d->nchan_in / d->groups) * d->kt);
        conv_fft_set(f, kernel);
        return f;
    }
    f->desc = *d;
    f->ny = info->fft_ny;
    f->nx = info->fft_nx;
    f->nkx = f->nx / 2 + 1;
    f->rows = d->tile_ny + d->ky - 1;
    f->nblock = (int)(conv_spectrum_reals(info) / PAIR);
    f->frames = conv_fft_frames(d);
    ASSERT(f->rows <= f->ny && d->tile_nx + d->kx - 1 <= f->nx);
    f->kernel = MEMORY_NEW(real, (int64_t)f->nblock * PAIR * d->nchan_out * (d->nchan_in / d->groups) * d->kt);
    f->nthread = nthread;
    f->scratch = MEMORY_NEW(fft_scratch, nthread);
    for (int i = 0; i < nthread; i++) {
        scratch_create(f, &f->scratch[i]);
    }
    make_plans(f);
    if (d->differentiate) {
        conv_fft_back_create(f);
    }
    conv_fft_set(f, kernel);
    return f;
}

void conv_fft_destroy(conv_fft *f)
{
    if (f && !f->borrowed) {
        conv_fft_back_destroy(f);
        FFTW(destroy_plan)(f->whole_forward);
        FFTW(destroy_plan)(f->rows_forward);
        FFTW(destroy_plan)(f->columns_forward);
        FFTW(destroy_plan)(f->columns_backward);
        FFTW(destroy_plan)(f->rows_backward);
        for (int i = 0; i < f->nthread; i++) {
            scratch_destroy(&f->scratch[i]);
        }
        memory_free(f->scratch);
    }
    if (f) {
        memory_free(f->kernel);
        memory_free(f);
    }
}

/* frames x nvec registers of one output from frequency `at` of a block on; inlined with constants.  x: frame 0's first channel.
 * Every frame sums over channels, then lags, one fused multiply-add at a time: the same bits whatever `frames` is. */
static inline __attribute__((always_inline)) void multiply_add(int frames, int nvec, const conv_desc *d, const real *kernel, const real *x, real *y,
                                                               int64_t y_stride, int at)
{
    int nin = d->nchan_in / d->groups;
    int64_t x_stride = (int64_t)d->nchan_in * PAIR;
    vec re[8], im[8];
#pragma GCC unroll 8
    for (int n = 0; n < frames * nvec; n++) {
        re[n] = (vec){0};
        im[n] = (vec){0};
    }
    for (int c = 0; c < nin; c++) {
        const real *from = x + (int64_t)c * PAIR + at, *tap = kernel + (int64_t)c * d->kt * PAIR + at;
        for (int k = 0; k < d->kt; k++, from -= x_stride, tap += PAIR) {
#pragma GCC unroll 8
            for (int n = 0; n < frames * nvec; n++) {
                const real *one = from + n / nvec * x_stride + n % nvec * VEC;
                vec kr = vec_load(tap + n % nvec * VEC), ki = vec_load(tap + CONV_BLOCK + n % nvec * VEC);
                vec xr = vec_load(one), xi = vec_load(one + CONV_BLOCK);
                re[n] += kr * xr;
                re[n] -= ki * xi;
                im[n] += kr * xi;
                im[n] += ki * xr;
            }
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < frames * nvec; n++) {
        vec_store(y + n / nvec * y_stride + n % nvec * VEC + at, re[n]);
        vec_store(y + n / nvec * y_stride + n % nvec * VEC + at + CONV_BLOCK, im[n]);
    }
}

/* One block of nt frames; x: first new frame of [kt - 1 + nt][nchan_in][PAIR], y: [nt][nchan_out][PAIR]. */
static void combine_block(const conv_fft *f, int nt, const real *kernel, const real *x, real *y)
{
    const conv_desc *d = &f->desc;
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    int64_t x_stride = (int64_t)d->nchan_in * PAIR, y_stride = (int64_t)d->nchan_out * PAIR;
    for (int o = 0; o < d->nchan_out; o++) {
        const real *k = kernel + (int64_t)o * nin * d->kt * PAIR, *from = x + (int64_t)(o / nout) * nin * PAIR;
        real *to = y + (int64_t)o * PAIR;
        int t = 0;
        for (; t + 4 <= nt; t += 4) {
            for (int at = 0; at < CONV_BLOCK; at += VEC) {
                multiply_add(4, 1, d, k, from + t * x_stride, to + t * y_stride, y_stride, at);
            }
        }
        for (; t < nt; t++) {
            for (int at = 0; at < CONV_BLOCK; at += 4 * VEC) {
                multiply_add(1, 4, d, k, from + t * x_stride, to + t * y_stride, y_stride, at);
            }
        }
    }
}

/* Spectra of all input channels of frame t; to: first block of that frame, blocks `stride` apart.  What the leaf does not have is zero. */
static void transform_input(const conv_fft *f, fft_scratch *s, int leaf, int t, const view *x, real *to, int64_t stride)
{
    const conv_desc *d = &f->desc;
    int rows = x->tile[leaf].ny + d->ky - 1, columns = x->tile[leaf].nx + d->kx - 1;
    for (int c = 0; c < d->nchan_in; c++) {
        const real *from = host(x->at) + leaf * x->leaf_stride + t * x->frame_stride + c * x->chan_stride - conv_before(d->ky) * x->row_stride -
                           conv_before(d->kx);
        for (int r = 0; r < f->rows; r++) {
            real *row = s->frame + (int64_t)r * f->nx;
            int n = r < rows ? columns : 0;
            vec_copy(row, from + r * x->row_stride, n);
            vec_zero(row + n, f->nx - n);
        }
        forward(f, s);
        conv_fft_to_blocks(f, s, to + (int64_t)c * PAIR, stride);
    }
}

static void result_frame(const conv_fft *f, fft_scratch *s, int leaf, int t, const view *y, const real *from, int64_t stride)
{
    for (int o = 0; o < f->desc.nchan_out; o++) {
        conv_fft_from_blocks(f, s, from + (int64_t)o * PAIR, stride);
        backward(f, s);
        real *to = host(y->at) + leaf * y->leaf_stride + t * y->frame_stride + o * y->chan_stride;
        for (int r = 0; r < y->tile[leaf].ny; r++) {
            vec_copy(to + r * y->row_stride, s->frame + (int64_t)r * f->nx, y->tile[leaf].nx);
        }
    }
}

fft_scratch *conv_fft_scratch(const conv_fft *f)
{
    ASSERT(omp_get_thread_num() < f->nthread);
    return &f->scratch[omp_get_thread_num()];
}

/* state: [block][kt - 1][nchan_in][PAIR], oldest frame first; may be NULL when kt = 1.  tape: spectra of the chunk's frames, as s->in holds those
 * in flight: the frames that passed together one after the other; NULL: not wanted. */
void conv_fft_leaf(const conv_fft *f, int leaf, int nt, const view *x, real *state, const view *y, real *tape)
{
    const conv_desc *d = &f->desc;
    fft_scratch *s = conv_fft_scratch(f);
    int64_t in = (int64_t)d->nchan_in * PAIR, out = (int64_t)d->nchan_out * PAIR, past = (d->kt - 1) * in;
    int64_t kernel = (int64_t)d->nchan_out * (d->nchan_in / d->groups) * d->kt * PAIR;
    for (int t0 = 0; t0 < nt; t0 += f->frames) {
        int n = nt - t0 < f->frames ? nt - t0 : f->frames;
        real *spectra = tape ? tape + (int64_t)t0 * f->nblock * in : s->in;
        for (int t = 0; t < n; t++) {
            transform_input(f, s, leaf, t0 + t, x, spectra + t * in, n * in);
        }
        for (int b = 0; b < f->nblock; b++) {
            if (past > 0) {
                memcpy(s->past_and_new, state + b * past, (size_t)past * sizeof(real));
            }
            memcpy(s->past_and_new + past, spectra + b * n * in, (size_t)(n * in) * sizeof(real));
            combine_block(f, n, f->kernel + b * kernel, s->past_and_new + past, s->out + b * n * out);
            if (past > 0) {
                memcpy(state + b * past, s->past_and_new + n * in, (size_t)past * sizeof(real));
            }
        }
        for (int t = 0; t < n; t++) {
            result_frame(f, s, leaf, t0 + t, y, s->out + t * out, n * out);
        }
    }
}

void conv_fft_start(const conv_fft *f, int leaf, const view *x_first, real *state)
{
    fft_scratch *s = conv_fft_scratch(f);
    int64_t in = (int64_t)f->desc.nchan_in * PAIR;
    transform_input(f, s, leaf, 0, x_first, s->in, in);
    for (int b = 0; b < f->nblock; b++) {
        for (int k = 0; k < f->desc.kt - 1; k++) {
            memcpy(state + ((int64_t)b * (f->desc.kt - 1) + k) * in, s->in + b * in, (size_t)in * sizeof(real));
        }
    }
}

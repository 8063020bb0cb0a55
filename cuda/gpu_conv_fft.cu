/* gpu_conv_fft.cu - kernels round the transforms: frames to zero-padded planes and back, sums over lags and channels in the frequency domain.
 *
 *   Y[o][t](f) = sum over c, k of K[o][c][k](f) X[c][t - k](f)
 *   GX[c][t](f) = sum over o, k of conj(K[o][c][k](f)) GY[o][t + k](f)        gK[o][c][k](f) = sum over t of conj(X[c][t - k](f)) GY[o][t](f)
 *
 * A thread has one frequency, some frames and some channels (or lags) in registers; lags are the inner loop, through which a frame that has been read
 * moves on.  Each sum goes over channels, then lags, one after the other: a frame's bits do not depend on the frames it came with.
 *
 * A state is laid out as the CPU's (cpu_conv_fft.c), as restart files pass between the two: [block of FFT_BLOCK frequencies][kt - 1 frames][channel]
 * [real parts, imaginary parts].  A tape is [frame][channel] of the same blocks. */
#include "gpu_conv.h"
#include "gpu_kernel.cuh"

enum { RUN = 32 }; /* frames that are added in a register before the sum in double */
enum { BLOCKS = sizeof(real) == sizeof(float) ? 2 : 1 }; /* of a multiprocessor, that the registers of a sum must leave room for */

/* Blocks over frequencies are the slower ones: those that run together share the kernel's spectra. */
static dim3 over(int64_t tiles, int64_t nfrequency)
{
    int64_t n = gpu_blocks(nfrequency);
    return dim3((unsigned)tiles, (unsigned)(n > 65535 ? 65535 : n));
}
#define EACH_FREQUENCY(f, n) \
    for (int64_t f = (int64_t)blockIdx.y * GPU_THREADS + threadIdx.x; f < (n); f += (int64_t)gridDim.y * GPU_THREADS)

/* Leaf, frame of nt and channel of plane n; row and column of pixel i of a plane.  A 64-bit division would cost more than the memory. */
struct fft_plane {
    int leaf, t, c;
};
__device__ static inline fft_plane plane_at(int64_t n, int nt, int nchan)
{
    unsigned plane = (unsigned)n, frame = plane / (unsigned)nchan;
    fft_plane p = {(int)(frame / (unsigned)nt), (int)(frame % (unsigned)nt), (int)(plane % (unsigned)nchan)};
    return p;
}
__device__ static inline void pixel_at(int64_t i, int nx, int *y, int *x)
{
    *y = (int)((unsigned)i / (unsigned)nx);
    *x = (int)((unsigned)i % (unsigned)nx);
}

/* --- planes ------------------------------------------------------------------------------------------------------------------------ */
__global__ static void take_kernel(int ny, int nx, fft_place q, int64_t first, int count, int nt, gpu_view from, real *frames)
{
    int64_t i = gpu_thread();
    int y, x;
    pixel_at(i, nx, &y, &x);
    for (int n = (int)blockIdx.y; n < count && y < ny; n += (int)gridDim.y) {
        fft_plane p = plane_at(first + n, nt, from.nchan);
        bool inside = y < from.tile[p.leaf].ny + q.more_y && x < from.tile[p.leaf].nx + q.more_x;
        const real *at = gpu_plane(from, p.leaf, p.t, p.c) + (y - q.before_y) * from.row_stride + x - q.before_x;
        frames[(int64_t)n * ny * nx + i] = inside ? *at : 0;
    }
}

void gpu_fft_take(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, view from, real *frames)
{
    LAUNCH(be, take_kernel, gpu_grid((int64_t)s->ny * s->nx, count), GPU_THREADS, s->ny, s->nx, place, first, count, nt, gpu_see(be, from), frames);
}

__global__ static void give_kernel(bool add, int ny, int nx, fft_place q, int64_t first, int count, int nt, const real *frames, gpu_view to,
                                   const real *bias)
{
    int64_t i = gpu_thread();
    int y, x;
    pixel_at(i, nx, &y, &x);
    for (int n = (int)blockIdx.y; n < count; n += (int)gridDim.y) {
        fft_plane p = plane_at(first + n, nt, to.nchan);
        if (y < to.tile[p.leaf].ny + q.more_y && x < to.tile[p.leaf].nx + q.more_x) {
            real *at = gpu_plane(to, p.leaf, p.t, p.c) + (y - q.before_y) * to.row_stride + x - q.before_x;
            *at = frames[(int64_t)n * ny * nx + i] + (add ? *at : bias ? bias[p.c] : 0);
        }
    }
}

static void give(backend *be, bool add, const fft_shape *s, fft_place q, int64_t first, int count, int nt, const real *frames, view to,
                 const real *bias)
{
    int64_t pixels = (int64_t)(s->c.tile_ny + q.more_y) * s->nx; /* the rows below hold nothing */
    LAUNCH(be, give_kernel, gpu_grid(pixels, count), GPU_THREADS, add, s->ny, s->nx, q, first, count, nt, frames, gpu_see(be, to), bias);
}

void gpu_fft_give(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, const real *frames, view to, const real *bias)
{
    give(be, false, s, place, first, count, nt, frames, to, bias);
}

void gpu_fft_give_add(backend *be, const fft_shape *s, fft_place place, int64_t first, int count, int nt, const real *frames, view to)
{
    give(be, true, s, place, first, count, nt, frames, to, NULL);
}

/* Tap (j, i) stands where result pixel (y, x) comes out at (y, x): input row 0 is before_y above the tile. */
__device__ static inline int64_t place_of_tap(int j, int i, int ky, int kx, int ny, int nx)
{
    return (int64_t)((j - (ky - 1) + ny) % ny) * nx + (i - (kx - 1) + nx) % nx;
}

/* A kernel's plane is scaled by 1 / (ny nx), which the transforms leave out. */
__global__ static void take_taps_kernel(int ny, int nx, int ky, int kx, int count, const real *taps, real *frames)
{
    int64_t at = gpu_thread();
    int y = (int)(at / nx), x = (int)(at % nx), j = (y + ky - 1) % ny, i = (x + kx - 1) % nx;
    for (int n = (int)blockIdx.y; n < count && y < ny; n += (int)gridDim.y) {
        frames[(int64_t)n * ny * nx + at] = j < ky && i < kx ? taps[((int64_t)n * ky + j) * kx + i] / ((real)ny * (real)nx) : 0;
    }
}

void gpu_fft_take_taps(backend *be, const fft_shape *s, int count, const real *taps, real *frames)
{
    LAUNCH(be, take_taps_kernel, gpu_grid((int64_t)s->ny * s->nx, count), GPU_THREADS, s->ny, s->nx, s->c.ky, s->c.kx, count, taps, frames);
}

__global__ static void give_taps_kernel(int ny, int nx, int ky, int kx, int count, const real *frames, double *result)
{
    for (int64_t i = gpu_thread(); i < (int64_t)count * ky * kx; i += (int64_t)gridDim.x * GPU_THREADS) {
        int64_t n = i / (ky * kx);
        result[i] = (double)frames[n * ny * nx + place_of_tap((int)(i / kx % ky), (int)(i % kx), ky, kx, ny, nx)];
    }
}

void gpu_fft_give_taps(backend *be, const fft_shape *s, int64_t first, int count, const real *frames, double *result)
{
    int64_t taps = (int64_t)s->c.ky * s->c.kx;
    LAUNCH(be, give_taps_kernel, gpu_blocks(count * taps), GPU_THREADS, s->ny, s->nx, s->c.ky, s->c.kx, count, frames, result + first * taps);
}

__global__ static void sum_planes_kernel(int ny, int nx, conv_shape c, int64_t first, const grid_tile *tile, const real *frames, double *sum)
{
    const grid_tile t = tile[(first + blockIdx.x) / c.nchan_in];
    const real *at = frames + (int64_t)blockIdx.x * ny * nx;
    int64_t columns = t.nx + c.kx - 1, n = (t.ny + c.ky - 1) * columns;
    double mine = 0;
    for (int64_t i = threadIdx.x; i < n; i += GPU_THREADS) {
        mine += (double)at[i / columns * nx + i % columns];
    }
    mine = gpu_block_sum(mine);
    if (threadIdx.x == 0) {
        sum[first + blockIdx.x] = mine;
    }
}

void gpu_fft_sum_planes(backend *be, const fft_shape *s, int64_t first, int count, int nleaf, const grid_tile *tile, const real *frames, double *sum)
{
    const grid_tile *tiles = (const grid_tile *)gpu_table(be, tile, (size_t)nleaf * sizeof *tile);
    LAUNCH(be, sum_planes_kernel, (unsigned)count, GPU_THREADS, s->ny, s->nx, s->c, first, tiles, frames, sum);
}

/* --- states ------------------------------------------------------------------------------------------------------------------------- */
enum { PAIR = 2 * FFT_BLOCK };

/* Frequency f of frame j (0: the oldest of kt - 1) and channel c; its imaginary part stands FFT_BLOCK further. */
__device__ static inline int64_t in_state(const fft_shape &s, int j, int c, int64_t f)
{
    return ((f / FFT_BLOCK * (s.c.kt - 1) + j) * s.c.nchan_in + c) * PAIR + f % FFT_BLOCK;
}
__device__ static inline int64_t in_tape(const fft_shape &s, int t, int c, int64_t f)
{
    return ((int64_t)t * s.c.nchan_in + c) * s.spectrum + f / FFT_BLOCK * PAIR + f % FFT_BLOCK;
}
__device__ static inline fft_complex pair_at(const real *p)
{
    fft_complex z = {p[0], p[FFT_BLOCK]};
    return z;
}
__device__ static inline void put_pair(real *p, fft_complex z)
{
    p[0] = z.re;
    p[FFT_BLOCK] = z.im;
}

/* A thread a frequency (the last block's, that do not exist, are zero), channel and leaf. */
__global__ static void keep_kernel(fft_shape s, int nt, const fft_complex *x, real *state, int64_t state_stride, real *tape, int64_t tape_stride)
{
    int past = s.c.kt - 1, nchan = s.c.nchan_in, leaf = (int)blockIdx.x / nchan, c = (int)blockIdx.x % nchan;
    const fft_complex zero = {0, 0};
    EACH_FREQUENCY(f, s.spectrum / 2)
    {
        const fft_complex *from = x + ((int64_t)leaf * nt * nchan + c) * s.nfrequency + f;
        bool there = f < s.nfrequency;
        for (int t = 0; tape && t < nt; t++) {
            put_pair(tape + leaf * tape_stride + in_tape(s, t, c, f), there ? from[(int64_t)t * nchan * s.nfrequency] : zero);
        }
        real *ring = state + leaf * state_stride;
        for (int j = 0; j < past; j++) {
            int t = nt - past + j; /* frames from before the chunk move up */
            put_pair(ring + in_state(s, j, c, f),
                     t < 0 ? pair_at(ring + in_state(s, j + nt, c, f)) : there ? from[(int64_t)t * nchan * s.nfrequency] : zero);
        }
    }
}

void gpu_fft_keep(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *x, real *state, int64_t state_stride, real *tape,
                  int64_t tape_stride)
{
    if (tape || s->c.kt > 1) {
        LAUNCH(be, keep_kernel, over((int64_t)nleaf * s->c.nchan_in, s->spectrum / 2), GPU_THREADS, *s, nt, x, state, state_stride, tape,
               tape_stride);
    }
}

__global__ static void fill_kernel(fft_shape s, const fft_complex *x, real *state, int64_t stride)
{
    int nchan = s.c.nchan_in, leaf = (int)blockIdx.x / nchan, c = (int)blockIdx.x % nchan;
    const fft_complex zero = {0, 0};
    EACH_FREQUENCY(f, s.spectrum / 2)
    {
        fft_complex z = f < s.nfrequency ? x[(int64_t)blockIdx.x * s.nfrequency + f] : zero;
        for (int j = 0; j < s.c.kt - 1; j++) {
            put_pair(state + leaf * stride + in_state(s, j, c, f), z);
        }
    }
}

void gpu_fft_fill_state(backend *be, const fft_shape *s, int nleaf, const fft_complex *x, real *state, int64_t state_stride)
{
    LAUNCH(be, fill_kernel, over((int64_t)nleaf * s->c.nchan_in, s->spectrum / 2), GPU_THREADS, *s, x, state, state_stride);
}

__global__ static void sum_state_kernel(fft_shape s, const real *state, int64_t stride, fft_complex *sum)
{
    int nchan = s.c.nchan_in, leaf = (int)blockIdx.x / nchan, c = (int)blockIdx.x % nchan;
    EACH_FREQUENCY(f, s.nfrequency)
    {
        fft_complex z = {0, 0};
        for (int j = 0; j < s.c.kt - 1; j++) {
            fft_complex one = pair_at(state + leaf * stride + in_state(s, j, c, f));
            z.re += one.re;
            z.im += one.im;
        }
        sum[(int64_t)blockIdx.x * s.nfrequency + f] = z;
    }
}

void gpu_fft_sum_state(backend *be, const fft_shape *s, int nleaf, const real *state, int64_t stride, fft_complex *sum)
{
    LAUNCH(be, sum_state_kernel, over((int64_t)nleaf * s->c.nchan_in, s->nfrequency), GPU_THREADS, *s, state, stride, sum);
}

/* from NULL: zeros. */
__global__ static void copy_state_kernel(int64_t n, const real *from, int64_t from_stride, real *to, int64_t to_stride)
{
    for (int64_t i = gpu_thread(); i < n; i += (int64_t)gridDim.x * GPU_THREADS) {
        to[blockIdx.y * to_stride + i] = from ? from[blockIdx.y * from_stride + i] : 0;
    }
}

void gpu_fft_copy_state(backend *be, const fft_shape *s, int nleaf, const real *from, int64_t from_stride, real *to, int64_t to_stride)
{
    int64_t n = s->spectrum * (s->c.kt - 1) * s->c.nchan_in;
    for (int l = 0; n > 0 && l < nleaf; l += 65535) {
        int count = nleaf - l < 65535 ? nleaf - l : 65535;
        LAUNCH(be, copy_state_kernel, gpu_grid(n, count), GPU_THREADS, n, from ? from + l * from_stride : NULL, from_stride, to + l * to_stride,
               to_stride);
    }
}

void gpu_fft_zero_state(backend *be, const fft_shape *s, int nleaf, real *state, int64_t stride)
{
    gpu_fft_copy_state(be, s, nleaf, NULL, 0, state, stride);
}

/* --- Y: OUT outputs and STEPS frames a thread ------------------------------------------------------------------------------------------ */
template <int OUT, int STEPS>
__global__ static void __launch_bounds__(GPU_THREADS, BLOCKS)
    multiply_kernel(fft_shape s, int nt, const fft_complex *kernel, const fft_complex *x, const real *state, int64_t state_stride, fft_complex *y)
{
    int nout = s.c.nout, kt = s.c.kt, many = (nout + OUT - 1) / OUT, steps = (nt + STEPS - 1) / STEPS, tile = (int)blockIdx.x;
    int group = tile / many % s.c.groups, o0 = group * nout + tile % many * OUT, t0 = tile / many / s.c.groups % steps * STEPS;
    int leaf = tile / many / s.c.groups / steps, end = (group + 1) * nout;
    int64_t nf = s.nfrequency, frame = s.c.nchan_in * nf;
    EACH_FREQUENCY(f, nf)
    {
        fft_complex sum[OUT][STEPS] = {};
        for (int in = 0; in < s.c.nin; in++) {
            int c = group * s.c.nin + in;
            const fft_complex *from = x + leaf * nt * frame + c * nf + f;
            const real *ring = state + leaf * state_stride;
            const fft_complex *k_at = kernel + ((int64_t)o0 * s.c.nin + in) * kt * nf + f;
            fft_complex w[STEPS] = {};
            UNROLL
            for (int r = 1; r < STEPS; r++) {
                if (t0 + r < nt) {
                    w[r] = from[(t0 + r) * frame];
                }
            }
            for (int k0 = 0; k0 < kt; k0 += STEPS) {
                UNROLL
                for (int kk = 0; kk < STEPS; kk++) {
                    int k = k0 + kk, t = t0 - k;
                    if (k < kt) { /* frame t0 + r - k is in place (r - kk) mod STEPS */
                        w[(STEPS - kk) % STEPS] = t >= 0 ? from[t * frame] : pair_at(ring + in_state(s, kt - 1 + t, c, f));
                        UNROLL
                        for (int o = 0; o < OUT; o++) {
                            fft_complex h = {0, 0};
                            if (o0 + o < end) {
                                h = k_at[((int64_t)o * s.c.nin * kt + k) * nf];
                            }
                            UNROLL
                            for (int r = 0; r < STEPS; r++) {
                                const fft_complex &one = w[(r - kk + STEPS) % STEPS];
                                gpu_mac(h.re, one.re, &sum[o][r].re);
                                gpu_mac(-h.im, one.im, &sum[o][r].re);
                                gpu_mac(h.re, one.im, &sum[o][r].im);
                                gpu_mac(h.im, one.re, &sum[o][r].im);
                            }
                        }
                    }
                }
            }
        }
        UNROLL
        for (int o = 0; o < OUT; o++) {
            UNROLL
            for (int r = 0; r < STEPS; r++) {
                if (o0 + o < end && t0 + r < nt) {
                    y[(((int64_t)leaf * nt + t0 + r) * s.c.nchan_out + o0 + o) * nf + f] = sum[o][r];
                }
            }
        }
    }
}

void gpu_fft_multiply(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *kernel, const fft_complex *x, const real *state,
                      int64_t state_stride, fft_complex *y)
{
    if (s->c.nout == 1) {
        int64_t tiles = (int64_t)nleaf * ((nt + 7) / 8) * s->c.groups;
        LAUNCH(be, (multiply_kernel<1, 8>), over(tiles, s->nfrequency), GPU_THREADS, *s, nt, kernel, x, state, state_stride, y);
    } else {
        int64_t tiles = (int64_t)nleaf * ((nt + 3) / 4) * s->c.groups * ((s->c.nout + 3) / 4);
        LAUNCH(be, (multiply_kernel<4, 4>), over(tiles, s->nfrequency), GPU_THREADS, *s, nt, kernel, x, state, state_stride, y);
    }
}

/* --- GX: IN inputs and STEPS frames a thread ------------------------------------------------------------------------------------------- */
template <int IN, int STEPS>
__global__ static void __launch_bounds__(GPU_THREADS, BLOCKS)
    multiply_back_kernel(fft_shape s, int nt, const fft_complex *kernel, const fft_complex *gy, const real *g_state_in, fft_complex *gx,
                         real *g_state, int64_t g_state_stride)
{
    int nin = s.c.nin, kt = s.c.kt, past = kt - 1, many = (nin + IN - 1) / IN, steps = (nt + past + STEPS - 1) / STEPS, tile = (int)blockIdx.x;
    int group = tile / many % s.c.groups, in0 = tile % many * IN, t0 = tile / many / s.c.groups % steps * STEPS - past;
    int leaf = tile / many / s.c.groups / steps;
    int64_t nf = s.nfrequency, frame = s.c.nchan_out * nf;
    EACH_FREQUENCY(f, s.spectrum / 2)
    {
        fft_complex sum[IN][STEPS] = {};
        for (int o = group * s.c.nout; f < nf && o < (group + 1) * s.c.nout; o++) {
            const fft_complex *from = gy + leaf * nt * frame + o * nf + f, *k_at = kernel + ((int64_t)o * nin + in0) * kt * nf + f;
            fft_complex w[STEPS] = {};
            UNROLL
            for (int r = 0; r < STEPS - 1; r++) {
                if (t0 + r >= 0 && t0 + r < nt) {
                    w[r] = from[(t0 + r) * frame];
                }
            }
            for (int k0 = 0; k0 < kt; k0 += STEPS) {
                UNROLL
                for (int kk = 0; kk < STEPS; kk++) {
                    int k = k0 + kk, t = t0 + STEPS - 1 + k;
                    if (k < kt) { /* frame t0 + r + k is in place (r + kk) mod STEPS */
                        fft_complex next = {0, 0};
                        if (t >= 0 && t < nt) {
                            next = from[t * frame];
                        }
                        w[(STEPS - 1 + kk) % STEPS] = next;
                        UNROLL
                        for (int i = 0; i < IN; i++) {
                            fft_complex h = {0, 0};
                            if (in0 + i < nin) {
                                h = k_at[((int64_t)i * kt + k) * nf];
                            }
                            UNROLL
                            for (int r = 0; r < STEPS; r++) {
                                const fft_complex &one = w[(r + kk) % STEPS];
                                gpu_mac(h.re, one.re, &sum[i][r].re);
                                gpu_mac(h.im, one.im, &sum[i][r].re);
                                gpu_mac(h.re, one.im, &sum[i][r].im);
                                gpu_mac(-h.im, one.re, &sum[i][r].im);
                            }
                        }
                    }
                }
            }
        }
        UNROLL
        for (int i = 0; i < IN; i++) {
            UNROLL
            for (int r = 0; r < STEPS; r++) {
                int t = t0 + r, c = group * nin + in0 + i, told = t - (nt - past); /* later chunks had something to say to frames from nt - past on */
                if (in0 + i < nin && t < nt) {
                    fft_complex z = sum[i][r];
                    if (told >= 0) {
                        fft_complex later = pair_at(g_state_in + leaf * s.spectrum * past * s.c.nchan_in + in_state(s, told, c, f));
                        z.re += later.re;
                        z.im += later.im;
                    }
                    if (t < 0) {
                        put_pair(g_state + leaf * g_state_stride + in_state(s, t + past, c, f), z);
                    } else if (f < nf) {
                        gx[(((int64_t)leaf * nt + t) * s.c.nchan_in + c) * nf + f] = z;
                    }
                }
            }
        }
    }
}

void gpu_fft_multiply_back(backend *be, const fft_shape *s, int nleaf, int nt, const fft_complex *kernel, const fft_complex *gy,
                           const real *g_state_in, fft_complex *gx, real *g_state, int64_t g_state_stride)
{
    int frames = nt + s->c.kt - 1;
    if (s->c.nin == 1) {
        int64_t tiles = (int64_t)nleaf * ((frames + 7) / 8) * s->c.groups;
        LAUNCH(be, (multiply_back_kernel<1, 8>), over(tiles, s->spectrum / 2), GPU_THREADS, *s, nt, kernel, gy, g_state_in, gx, g_state,
               g_state_stride);
    } else {
        int64_t tiles = (int64_t)nleaf * ((frames + 3) / 4) * s->c.groups * ((s->c.nin + 3) / 4);
        LAUNCH(be, (multiply_back_kernel<4, 4>), over(tiles, s->spectrum / 2), GPU_THREADS, *s, nt, kernel, gy, g_state_in, gx, g_state,
               g_state_stride);
    }
}

/* --- gK: LAGS lags of one output and input a thread --------------------------------------------------------------------------------------- */
enum { LAGS = 8 };

__global__ static void correlate_kernel(fft_shape s, int nt, const real *state, int64_t state_stride, const real *tape, int64_t tape_stride,
                                        const fft_complex *gy, fft_complex *g_kernel)
{
    int nin = s.c.nin, kt = s.c.kt, many = (kt + LAGS - 1) / LAGS, tile = (int)blockIdx.x, k0 = tile % many * LAGS, in = tile / many % nin;
    int o = tile / many / nin % s.c.nchan_out, leaf = tile / many / nin / s.c.nchan_out, c = o / s.c.nout * nin + in;
    int64_t nf = s.nfrequency;
    const real *ring = state + leaf * state_stride, *notes = tape + leaf * tape_stride;
    const fft_complex zero = {0, 0};
    const double scale = 1 / ((double)s.ny * s.nx);
    EACH_FREQUENCY(f, nf)
    {
        const fft_complex *from = gy + ((int64_t)leaf * nt * s.c.nchan_out + o) * nf + f;
        double re[LAGS] = {}, im[LAGS] = {};
        fft_complex w[LAGS];
        UNROLL
        for (int r = 1; r < LAGS; r++) { /* frame t - k0 - r is in place (t - r) mod LAGS */
            int t = -k0 - r;
            w[LAGS - r] = t >= 1 - kt ? pair_at(ring + in_state(s, kt - 1 + t, c, f)) : zero;
        }
        for (int begin = 0; begin < nt; begin += RUN) {
            fft_complex run[LAGS] = {};
            for (int t0 = begin; t0 < begin + RUN && t0 < nt; t0 += LAGS) {
                UNROLL
                for (int tt = 0; tt < LAGS; tt++) {
                    int t = t0 + tt, t_x = t - k0;
                    if (t < nt) {
                        fft_complex g = from[(int64_t)t * s.c.nchan_out * nf];
                        w[tt] = t_x >= 0 ? pair_at(notes + in_tape(s, t_x, c, f)) : pair_at(ring + in_state(s, kt - 1 + t_x, c, f));
                        UNROLL
                        for (int r = 0; r < LAGS; r++) {
                            const fft_complex &one = w[(tt - r + LAGS) % LAGS];
                            gpu_mac(one.re, g.re, &run[r].re);
                            gpu_mac(one.im, g.im, &run[r].re);
                            gpu_mac(one.re, g.im, &run[r].im);
                            gpu_mac(-one.im, g.re, &run[r].im);
                        }
                    }
                }
            }
            UNROLL
            for (int r = 0; r < LAGS; r++) {
                re[r] += (double)run[r].re;
                im[r] += (double)run[r].im;
            }
        }
        UNROLL
        for (int r = 0; r < LAGS; r++) {
            if (k0 + r < kt) {
                fft_complex z = {(real)(re[r] * scale), (real)(im[r] * scale)};
                g_kernel[((((int64_t)leaf * s.c.nchan_out + o) * nin + in) * kt + k0 + r) * nf + f] = z;
            }
        }
    }
}

void gpu_fft_correlate(backend *be, const fft_shape *s, int nleaf, int nt, const real *state, int64_t state_stride, const real *tape,
                       int64_t tape_stride, const fft_complex *gy, fft_complex *g_kernel)
{
    int64_t tiles = (int64_t)nleaf * s->c.nchan_out * s->c.nin * ((s->c.kt + LAGS - 1) / LAGS);
    LAUNCH(be, correlate_kernel, over(tiles, s->nfrequency), GPU_THREADS, *s, nt, state, state_stride, tape, tape_stride, gy, g_kernel);
}

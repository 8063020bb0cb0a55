/* gpu_conv_direct.cu - the convolution as the sum it is, for small kernels and small maps; and its adjoints, by the kernel also for SEPARABLE.
 *
 *   y[o][p][t] = sum over c, j, i, k of K[o][c][k][j][i] x[c][at(p, j, i)][t - k]
 *   gx[c][q][t] = sum over o, j, i, k of K[o][c][k][j][i] gy[o][from(q, j, i)][t + k]
 *   gK[o][n] = sum over p, t of gy[o][p][t] x[at(p, n)][t - k(n)]                          n = (c, k, j, i)
 *
 * A thread has one pixel, STEPS frames and up to 8 channels in registers.  Lags are the inner loop: a frame that has been read moves on through the
 * registers, so that a lag costs one number and 8 weights (the same for all threads of a block) for 8 STEPS products.  What neighbouring pixels share
 * comes from the nearest cache.  Maps of few pixels would leave the device empty; there the threads of a block share the taps of an output (`deep`).
 * Every output is summed in an order that depends on the kernel and the map's size only: the same bits in any chunk. */
#include "gpu_conv.h"
#include "gpu_kernel.cuh"

enum { STEPS = 4, MOST = 8 }; /* frames, and channels, of a thread */

/* Channels that go together when n are left; a few may be empty. */
__host__ __device__ static inline int together(int n)
{
    return n > 4 ? 8 : n > 2 ? 4 : n;
}

static bool deep(const conv_shape *c)
{
    return c->tile_ny * c->tile_nx <= 16 && c->ntap >= 256;
}

/* --- weights: [group][channels that go together][other channel][j][i][k][width] ------------------------------------------------ */
static int64_t room_of_group(const conv_shape *c, bool back)
{
    int n = back ? c->nin : c->nout, rest = n % MOST;
    return (int64_t)(n - rest + (rest ? together(rest) : 0)) * (back ? c->nout : c->nin) * c->kt * c->ky * c->kx;
}

int64_t gpu_direct_room(const conv_shape *c, bool back)
{
    return c->groups * room_of_group(c, back);
}

__global__ static void arrange_kernel(conv_shape c, bool back, int64_t room, const real *kernel, real *to)
{
    int n = back ? c.nin : c.nout, nother = back ? c.nout : c.nin;
    int64_t at = gpu_thread(), taps = (int64_t)c.kt * c.ky * c.kx;
    if (at >= c.groups * room) {
        return;
    }
    int group = (int)(at / room);
    int first = (int)(at % room / (nother * taps) / MOST * MOST), width = together(n - first);
    int64_t within = at % room - first * nother * taps;
    int lane = (int)(within % width), k = (int)(within / width % c.kt), i = (int)(within / width / c.kt % c.kx);
    int j = (int)(within / width / c.kt / c.kx % c.ky), other = (int)(within / width / taps);
    int o = group * c.nout + (back ? other : first + lane), in = back ? first + lane : other;
    to[at] = first + lane < n ? kernel[((((int64_t)o * c.nin + in) * c.kt + k) * c.ky + j) * c.kx + i] : 0;
}

static void arrange(backend *be, const conv_shape *c, bool back, const real *kernel, real *to)
{
    int64_t room = room_of_group(c, back);
    LAUNCH(be, arrange_kernel, gpu_blocks(c->groups * room), GPU_THREADS, *c, back, room, kernel, to);
}

void gpu_direct_set(backend *be, const gpu_direct *p)
{
    arrange(be, &p->c, false, p->kernel, p->forward);
    if (p->back) {
        arrange(be, &p->c, true, p->kernel, p->back);
    }
}

/* Runs of channels of one width; work(first channel, width, number of groups of channels). */
template <class F> static void each_width(int n, const F &work)
{
    int whole = n / MOST + (n % MOST && together(n % MOST) == MOST), first = whole * MOST;
    if (whole > 0) {
        work(0, MOST, whole);
    }
    if (first < n) {
        work(first, together(n - first), 1);
    }
}

/* Blocks of 256 threads; smaller ones where there would be too few. */
static unsigned block_for(int64_t threads)
{
    return threads < 64 * GPU_THREADS ? 64 : GPU_THREADS;
}

static dim3 grid_for(int64_t threads, unsigned block, int64_t planes)
{
    return dim3((unsigned)((threads + block - 1) / block), (unsigned)(planes > 65535 ? 65535 : planes));
}

/* --- y ------------------------------------------------------------------------------------------------------------------------ */
/* STEPS frames stand in w from place `at` on, as in a ring; `at` is a constant once the loop round it is unrolled. */
template <int WIDTH> __device__ static inline void add_products(const real *weight, const real w[STEPS], int at, real sum[WIDTH][STEPS])
{
    UNROLL
    for (int o = 0; o < WIDTH; o++) {
        UNROLL
        for (int r = 0; r < STEPS; r++) {
            gpu_mac(weight[o], w[(r + at) % STEPS], &sum[o][r]);
        }
    }
}

/* Adds the sum over taps of one pixel; x: frame 0 of the group's first channel, t0 the first of STEPS frames. */
template <int WIDTH>
__device__ static inline void sum_taps(const conv_shape &c, const gpu_view &v, const real *x, int t0, int nt, const real *weight,
                                       real sum[WIDTH][STEPS])
{
    for (int n = 0; n < c.nin * c.ky; n++) {
        const real *at = x + n / c.ky * v.chan_stride + (c.ky / 2 - n % c.ky) * v.row_stride + c.kx / 2 + t0 * v.frame_stride;
        for (int i = 0; i < c.kx; i++, at--) {
            real w[STEPS];
            UNROLL
            for (int r = 1; r < STEPS; r++) {
                w[r] = t0 + r < nt ? at[r * v.frame_stride] : 0;
            }
            for (int k0 = 0; k0 < c.kt; k0 += STEPS) {
                UNROLL
                for (int kk = 0; kk < STEPS; kk++) {
                    if (k0 + kk < c.kt) {
                        w[(STEPS - kk) % STEPS] = at[-(k0 + kk) * v.frame_stride]; /* frame t0 + r - k is in place (r - kk) mod STEPS */
                        add_products<WIDTH>(weight, w, STEPS - kk, sum);
                        weight += WIDTH;
                    }
                }
            }
        }
    }
}

template <int WIDTH>
__global__ static void forward_kernel(conv_shape c, int nt, int first, int many, int64_t room, const real *weight, gpu_view x, gpu_view y,
                                      const real *bias)
{
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * c.groups * many; plane += gridDim.y) {
        int o0 = first + (int)(plane % many) * MOST, group = (int)(plane / many % c.groups), leaf = (int)(plane / many / c.groups);
        int ny = x.tile[leaf].ny, nx = x.tile[leaf].nx;
        int64_t i = gpu_thread();
        int t0 = (int)(i / (ny * nx)) * STEPS, row = (int)(i / nx % ny), column = (int)(i % nx);
        if (t0 >= nt) {
            continue;
        }
        real sum[WIDTH][STEPS] = {};
        sum_taps<WIDTH>(c, x, gpu_plane(x, leaf, 0, group * c.nin) + row * x.row_stride + column, t0, nt,
                        weight + group * room + (int64_t)o0 * c.ntap, sum);
        UNROLL
        for (int o = 0; o < WIDTH; o++) {
            UNROLL
            for (int r = 0; r < STEPS; r++) {
                int out = group * c.nout + o0 + o;
                if (o0 + o < c.nout && t0 + r < nt) {
                    gpu_plane(y, leaf, t0 + r, out)[row * y.row_stride + column] = sum[o][r] + (bias ? bias[out] : 0);
                }
            }
        }
    }
}

/* --- sums of eight numbers a thread over the block, always the same tree: threads 32 q to 32 q + 31 have the q-th --------------------------- */
__device__ static inline double eight_sums(const double mine[MOST])
{
    __shared__ double part[MOST][GPU_THREADS], few[MOST][32];
    int q = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    UNROLL
    for (int i = 0; i < MOST; i++) {
        part[i][threadIdx.x] = mine[i];
    }
    __syncthreads();
    double sum = 0;
    for (int i = lane; i < GPU_THREADS; i += 32) {
        sum += part[q][i];
    }
    few[q][lane] = sum;
    __syncthreads(); /* the next call writes `part` after this, and `few` after its own first barrier */
    double four[4] = {};
    for (int i = 0; i < 32; i += 4) {
        UNROLL
        for (int k = 0; k < 4; k++) {
            four[k] += few[q][i + k];
        }
    }
    return (four[0] + four[1]) + (four[2] + four[3]);
}

/* From an output's pixel to its tap n = (c, k, j, i). */
__device__ static inline int64_t tap_offset(const conv_shape &c, const gpu_view &x, int n)
{
    int i = n % c.kx, j = n / c.kx % c.ky, k = n / (c.kx * c.ky) % c.kt, in = n / (c.kx * c.ky * c.kt);
    return in * x.chan_stride - k * x.frame_stride + (c.ky / 2 - j) * x.row_stride + c.kx / 2 - i;
}

/* A block has one pixel, STEPS frames and up to 8 outputs; its threads share the taps. */
template <int WIDTH>
__global__ static void deep_kernel(conv_shape c, int nt, int first, int many, const real *kernel, gpu_view x, gpu_view y, const real *bias)
{
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * c.groups * many; plane += gridDim.y) {
        int o0 = first + (int)(plane % many) * MOST, group = (int)(plane / many % c.groups), leaf = (int)(plane / many / c.groups);
        int pixels = x.tile[leaf].ny * x.tile[leaf].nx, t0 = (int)blockIdx.x / pixels * STEPS;
        int row = (int)blockIdx.x % pixels / x.tile[leaf].nx, column = (int)blockIdx.x % x.tile[leaf].nx;
        if (t0 >= nt) {
            continue; /* the whole block */
        }
        const real *at = gpu_plane(x, leaf, t0, group * c.nin) + row * x.row_stride + column;
        real sum[WIDTH][STEPS] = {};
        for (int n = (int)threadIdx.x; n < c.ntap; n += GPU_THREADS) {
            const real *from = at + tap_offset(c, x, n);
            real w[STEPS];
            UNROLL
            for (int r = 0; r < STEPS; r++) {
                w[r] = t0 + r < nt ? from[r * x.frame_stride] : 0;
            }
            UNROLL
            for (int o = 0; o < WIDTH; o++) {
                real weight = o0 + o < c.nout ? kernel[((int64_t)group * c.nout + o0 + o) * c.ntap + n] : 0;
                UNROLL
                for (int r = 0; r < STEPS; r++) {
                    gpu_mac(weight, w[r], &sum[o][r]);
                }
            }
        }
        UNROLL
        for (int first_sum = 0; first_sum < WIDTH * STEPS; first_sum += MOST) {
            double mine[MOST];
            UNROLL
            for (int q = 0; q < MOST; q++) {
                mine[q] = first_sum + q < WIDTH * STEPS ? (double)sum[(first_sum + q) / STEPS % WIDTH][q % STEPS] : 0;
            }
            double total = eight_sums(mine);
            int q = first_sum + (int)threadIdx.x / 32, o = o0 + q / STEPS, t = t0 + q % STEPS, out = group * c.nout + o;
            if (threadIdx.x % 32 == 0 && q < WIDTH * STEPS && o < c.nout && t < nt) {
                gpu_plane(y, leaf, t, out)[row * y.row_stride + column] = (real)(total + (bias ? (double)bias[out] : 0));
            }
        }
    }
}

#define WIDTHS(width_, launch) \
    switch (width_) {          \
    case 8:                    \
        launch(8);             \
        break;                 \
    case 4:                    \
        launch(4);             \
        break;                 \
    case 2:                    \
        launch(2);             \
        break;                 \
    default:                   \
        launch(1);             \
    }

void gpu_direct_forward(backend *be, const gpu_direct *p, int nt, view x, view y, const real *bias)
{
    const conv_shape *c = &p->c;
    int64_t groups_of_steps = (nt + STEPS - 1) / STEPS, pixels = (int64_t)c->tile_ny * c->tile_nx, threads = groups_of_steps * pixels;
    each_width(c->nout, [&](int first, int width, int many) {
        int64_t planes = (int64_t)x.nleaf * c->groups * many;
        if (deep(c)) {
#define DEEP(n)                                                                                                                                      \
    LAUNCH(be, (deep_kernel<n>), grid_for(threads, 1, planes), GPU_THREADS, *c, nt, first, many, p->kernel, gpu_see(be, x), gpu_see(be, y), bias)
            WIDTHS(width, DEEP)
        } else {
            unsigned block = block_for(threads * planes);
#define FORWARD(n)                                                                                                                                   \
    LAUNCH(be, (forward_kernel<n>), grid_for(threads, block, planes), block, *c, nt, first, many, room_of_group(c, false), p->forward,               \
           gpu_see(be, x), gpu_see(be, y), bias)
            WIDTHS(width, FORWARD)
        }
    });
}

/* --- gx: pixels of tile and halo, frames from kt - 1 before the chunk on --------------------------------------------------------------- */
/* Taps of one pixel that lead to pixels of the tile.  gy: frame 0 of the group's first output at the pixel of tap (0, 0), wherever that is; t0: first
 * frame. */
template <int WIDTH>
__device__ static inline void sum_back(const conv_shape &c, const gpu_view &v, const real *gy, int up, int left, int ny, int nx, int t0, int nt,
                                       const real *weights, real sum[WIDTH][STEPS])
{
    int j0 = up < 0 ? -up : 0, j1 = ny - up < c.ky ? ny - up : c.ky, i0 = left < 0 ? -left : 0, i1 = nx - left < c.kx ? nx - left : c.kx;
    for (int o = 0; o < c.nout; o++) {
        for (int j = j0; j < j1; j++) {
            for (int i = i0; i < i1; i++) {
                const real *from = gy + o * v.chan_stride + j * v.row_stride + i + t0 * v.frame_stride;
                const real *weight = weights + ((int64_t)(o * c.ky + j) * c.kx + i) * c.kt * WIDTH;
                real w[STEPS];
                UNROLL
                for (int r = 0; r < STEPS - 1; r++) {
                    w[r] = t0 + r >= 0 && t0 + r < nt ? from[r * v.frame_stride] : 0;
                }
                for (int k0 = 0; k0 < c.kt; k0 += STEPS) {
                    UNROLL
                    for (int kk = 0; kk < STEPS; kk++) {
                        int ahead = STEPS - 1 + k0 + kk;
                        if (k0 + kk < c.kt) { /* frame t0 + r + k is in place (r + kk) mod STEPS */
                            w[(STEPS - 1 + kk) % STEPS] = t0 + ahead >= 0 && t0 + ahead < nt ? from[ahead * v.frame_stride] : 0;
                            add_products<WIDTH>(weight, w, kk, sum);
                            weight += WIDTH;
                        }
                    }
                }
            }
        }
    }
}

template <int WIDTH>
__global__ static void back_kernel(conv_shape c, int nt, int first, int many, int64_t room, const real *weight, gpu_view gy, gpu_view gx)
{
    for (int64_t plane = blockIdx.y; plane < (int64_t)gy.nleaf * c.groups * many; plane += gridDim.y) {
        int c0 = first + (int)(plane % many) * MOST, group = (int)(plane / many % c.groups), leaf = (int)(plane / many / c.groups);
        int ny = gy.tile[leaf].ny, nx = gy.tile[leaf].nx, rows = ny + c.ky - 1, columns = nx + c.kx - 1;
        int64_t i = gpu_thread();
        int64_t step = i / ((int64_t)rows * columns) * STEPS;
        int t0 = (int)step - (c.kt - 1), row = (int)(i / columns % rows), column = (int)(i % columns);
        if (step >= nt + c.kt - 1) {
            continue;
        }
        int up = row - (c.ky - 1), left = column - (c.kx - 1);
        real sum[WIDTH][STEPS] = {};
        sum_back<WIDTH>(c, gy, gpu_plane(gy, leaf, 0, group * c.nout) + up * gy.row_stride + left, up, left, ny, nx, t0, nt,
                        weight + group * room + (int64_t)c0 * c.nout * (c.ntap / c.nin), sum);
        UNROLL
        for (int in = 0; in < WIDTH; in++) {
            UNROLL
            for (int r = 0; r < STEPS; r++) {
                if (c0 + in < c.nin && t0 + r < nt) {
                    gpu_plane(gx, leaf, t0 + r, group * c.nin + c0 + in)[(row - c.before_y) * gx.row_stride + column - c.before_x] += sum[in][r];
                }
            }
        }
    }
}

void gpu_direct_back_input(backend *be, const gpu_direct *p, int nt, view gy, view gx)
{
    const conv_shape *c = &p->c;
    int64_t threads = (int64_t)((nt + c->kt - 1 + STEPS - 1) / STEPS) * (c->tile_ny + c->ky - 1) * (c->tile_nx + c->kx - 1);
    each_width(c->nin, [&](int first, int width, int many) {
        int64_t planes = (int64_t)gy.nleaf * c->groups * many;
        unsigned block = block_for(threads * planes);
#define BACK(n)                                                                                                                                  \
    LAUNCH(be, (back_kernel<n>), grid_for(threads, block, planes), block, *c, nt, first, many, room_of_group(c, true), p->back, gpu_see(be, gy), \
           gpu_see(be, gx))
        WIDTHS(width, BACK)
    });
}

/* --- gK: positions (step, pixel) in slices, a block's sums of each are put together by gpu_sum_parts --------------------------------------- */
enum { TAPS = 4, RUN = 64 }; /* taps of a thread; products that are added in a register before the sum in double */
typedef struct slices {
    int n, ntile; /* slices of a leaf's positions; groups of taps */
} slices;

/* A position of a leaf, and the step from it to the one GPU_THREADS further. */
struct place {
    int ny, nx, t, y, x;
    __device__ void set(int64_t p)
    {
        x = (int)(p % nx);
        y = (int)(p / nx % ny);
        t = (int)(p / nx / ny);
    }
    __device__ void go(int dt, int dy, int dx)
    {
        x += dx;
        y += dy + (x >= nx);
        x -= x >= nx ? nx : 0;
        t += dt + (y >= ny);
        y -= y >= ny ? ny : 0;
    }
};

/* A block has TAPS taps and up to 8 outputs; its threads share the positions of a slice. */
template <int WIDTH>
__global__ static void products_kernel(conv_shape c, int nt, int first, int many, slices s, gpu_view x, gpu_view gy, double *part)
{
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * c.groups * many; plane += gridDim.y) {
        int o0 = first + (int)(plane % many) * MOST, group = (int)(plane / many % c.groups), leaf = (int)(plane / many / c.groups);
        int slice = (int)blockIdx.x / s.ntile, tap = (int)blockIdx.x % s.ntile * TAPS;
        place at = {gy.tile[leaf].ny, gy.tile[leaf].nx, 0, 0, 0};
        int64_t n = (int64_t)nt * at.ny * at.nx, share = (n + s.n - 1) / s.n, end = (slice + 1) * share < n ? (slice + 1) * share : n;
        int dx = GPU_THREADS % at.nx, dy = GPU_THREADS / at.nx % at.ny, dt = GPU_THREADS / at.nx / at.ny;
        const real *x0 = gpu_plane(x, leaf, 0, group * c.nin), *gy0 = gpu_plane(gy, leaf, 0, group * c.nout + o0);
        int64_t offset[TAPS];
        UNROLL
        for (int i = 0; i < TAPS; i++) {
            offset[i] = tap_offset(c, x, tap + i < c.ntap ? tap + i : tap);
        }
        double sum[WIDTH * TAPS] = {};
        at.set(slice * share + threadIdx.x);
        for (int64_t p = slice * share + threadIdx.x; p < end;) {
            real run[WIDTH * TAPS] = {};
            for (int m = 0; m < RUN && p < end; m++, p += GPU_THREADS, at.go(dt, dy, dx)) {
                const real *from = x0 + at.t * x.frame_stride + at.y * x.row_stride + at.x;
                const real *g = gy0 + at.t * gy.frame_stride + at.y * gy.row_stride + at.x;
                real tapped[TAPS];
                UNROLL
                for (int i = 0; i < TAPS; i++) {
                    tapped[i] = from[offset[i]];
                }
                UNROLL
                for (int o = 0; o < WIDTH; o++) {
                    real one = o0 + o < c.nout ? g[o * gy.chan_stride] : 0;
                    UNROLL
                    for (int i = 0; i < TAPS; i++) {
                        gpu_mac(one, tapped[i], &run[o * TAPS + i]);
                    }
                }
            }
            UNROLL
            for (int i = 0; i < WIDTH * TAPS; i++) {
                sum[i] += (double)run[i];
            }
        }
        double *to = part + ((int64_t)leaf * s.n + slice) * c.nchan_out * c.ntap;
        UNROLL
        for (int begin = 0; begin < WIDTH * TAPS; begin += MOST) {
            double mine[MOST];
            UNROLL
            for (int q = 0; q < MOST; q++) {
                mine[q] = begin + q < WIDTH * TAPS ? sum[(begin + q) % (WIDTH * TAPS)] : 0;
            }
            double total = eight_sums(mine);
            int q = begin + (int)threadIdx.x / 32, o = o0 + q / TAPS, i = tap + q % TAPS;
            if (threadIdx.x % 32 == 0 && q < WIDTH * TAPS && o < c.nout && i < c.ntap) {
                to[(int64_t)(group * c.nout + o) * c.ntap + i] = total;
            }
        }
    }
}

/* Few pixels, many taps: a thread has one tap and up to 8 outputs, and goes through the positions, whose gy the block holds. */
template <int WIDTH>
__global__ static void deep_products_kernel(conv_shape c, int nt, int first, int many, slices s, gpu_view x, gpu_view gy, double *part)
{
    __shared__ real g[RUN][MOST];
    __shared__ int64_t from[RUN];
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * c.groups * many; plane += gridDim.y) {
        int o0 = first + (int)(plane % many) * MOST, group = (int)(plane / many % c.groups), leaf = (int)(plane / many / c.groups);
        int slice = (int)blockIdx.x / s.ntile, tap = (int)blockIdx.x % s.ntile * GPU_THREADS + (int)threadIdx.x;
        place at = {gy.tile[leaf].ny, gy.tile[leaf].nx, 0, 0, 0};
        int64_t n = (int64_t)nt * at.ny * at.nx, share = (n + s.n - 1) / s.n, end = (slice + 1) * share < n ? (slice + 1) * share : n;
        const real *x0 = gpu_plane(x, leaf, 0, group * c.nin) + tap_offset(c, x, tap < c.ntap ? tap : 0);
        const real *gy0 = gpu_plane(gy, leaf, 0, group * c.nout + o0);
        double sum[WIDTH] = {};
        for (int64_t p = slice * share; p < end; p += RUN) {
            for (int i = (int)threadIdx.x; i < RUN * WIDTH; i += GPU_THREADS) {
                int o = i / RUN, m = i % RUN;
                at.set(p + m < end ? p + m : p);
                g[m][o] = p + m < end && o0 + o < c.nout ? gy0[o * gy.chan_stride + at.t * gy.frame_stride + at.y * gy.row_stride + at.x] : 0;
                if (o == 0) {
                    from[m] = at.t * x.frame_stride + at.y * x.row_stride + at.x;
                }
            }
            __syncthreads();
            real run[WIDTH] = {};
            for (int m = 0; m < RUN && p + m < end; m++) {
                real tapped = x0[from[m]];
                UNROLL
                for (int o = 0; o < WIDTH; o++) {
                    gpu_mac(g[m][o], tapped, &run[o]);
                }
            }
            UNROLL
            for (int o = 0; o < WIDTH; o++) {
                sum[o] += (double)run[o];
            }
            __syncthreads();
        }
        double *to = part + ((int64_t)leaf * s.n + slice) * c.nchan_out * c.ntap;
        UNROLL
        for (int o = 0; o < WIDTH; o++) {
            if (o0 + o < c.nout && tap < c.ntap) {
                to[(int64_t)(group * c.nout + o0 + o) * c.ntap + tap] = sum[o];
            }
        }
    }
}

/* As many slices as keep a device busy, none of them short; by the shape of one leaf. */
static slices cut(const conv_shape *c, int nt)
{
    enum { BUSY = 1024, LARGEST = 256, SHORT = 8192, DEEP_SHORT = 256 };
    slices s = {1, (c->ntap + TAPS - 1) / TAPS};
    if (deep(c)) {
        s.ntile = (c->ntap + GPU_THREADS - 1) / GPU_THREADS;
    }
    int64_t positions = (int64_t)nt * c->tile_ny * c->tile_nx, blocks = (int64_t)s.ntile * c->groups * ((c->nout + MOST - 1) / MOST);
    int64_t n = positions / (deep(c) ? DEEP_SHORT : SHORT), most = BUSY / blocks;
    n = n < most ? n : most;
    s.n = n < 1 ? 1 : n < LARGEST ? (int)n : (int)LARGEST;
    return s;
}

void gpu_direct_back_kernel(backend *be, const conv_shape *c, int nt, view x, view gy, double *g_kernel, int64_t stride)
{
    enum { BUDGET = 1 << 27 }; /* doubles of parts */
    slices s = cut(c, nt);
    int64_t nkernel = (int64_t)c->nchan_out * c->ntap, most = BUDGET / (s.n * nkernel);
    int together_ = most < 1 ? 1 : most < x.nleaf ? (int)most : x.nleaf;
    for (int l = 0; l < x.nleaf; l += together_) {
        int nleaf = x.nleaf - l < together_ ? x.nleaf - l : together_;
        gpu_view xs = gpu_see(be, view_of_leaf(x, l, nleaf)), gs = gpu_see(be, view_of_leaf(gy, l, nleaf));
        double *result = gpu_result(be, nleaf, 1, nkernel, g_kernel + l * stride, stride, true);
        double *part = s.n == 1 ? result : (double *)gpu_scratch(be, (size_t)(nleaf * s.n * nkernel) * sizeof(double));
        each_width(c->nout, [&](int first, int width, int many) {
            dim3 grid = grid_for((int64_t)s.n * s.ntile, 1, (int64_t)nleaf * c->groups * many);
            if (deep(c)) {
#define DEEP_PRODUCTS(n) LAUNCH(be, (deep_products_kernel<n>), grid, GPU_THREADS, *c, nt, first, many, s, xs, gs, part)
                WIDTHS(width, DEEP_PRODUCTS)
            } else {
#define PRODUCTS(n) LAUNCH(be, (products_kernel<n>), grid, GPU_THREADS, *c, nt, first, many, s, xs, gs, part)
                WIDTHS(width, PRODUCTS)
            }
        });
        if (s.n > 1) {
            gpu_sum_parts(be, nleaf, s.n, (int)nkernel, part, result);
        }
    }
}

/* --- bias: a block a plane, so that every step stands alone ---------------------------------------------------------------------------- */
__global__ static void bias_kernel(int nt, gpu_view gy, double *g)
{
    for (int64_t plane = blockIdx.x; plane < (int64_t)gy.nleaf * nt * gy.nchan; plane += gridDim.x) {
        int o = (int)(plane % gy.nchan), t = (int)(plane / gy.nchan % nt), leaf = (int)(plane / gy.nchan / nt);
        const real *at = gpu_plane(gy, leaf, t, o);
        int64_t nx = gy.tile[leaf].nx, n = gy.tile[leaf].ny * nx;
        double sum = 0;
        for (int64_t i = threadIdx.x; i < n; i += GPU_THREADS) {
            sum += (double)at[i / nx * gy.row_stride + i % nx];
        }
        sum = gpu_block_sum(sum);
        if (threadIdx.x == 0) {
            g[plane] = sum;
        }
    }
}

void gpu_conv_bias_back(backend *be, int nt, view gy, double *g, int64_t stride)
{
    double *result = gpu_result(be, gy.nleaf, nt, gy.nchan, g, stride, true);
    LAUNCH(be, bias_kernel, (unsigned)(gy.nleaf * nt * gy.nchan), GPU_THREADS, nt, gpu_see(be, gy), result);
}

/* gpu_scan.cu - recurrences in time, and their adjoints: a thread walks a pixel through the frames, its states in registers. */
#include "compute/cellmath.h"
#include "gpu_pixel.cuh"

enum { AHEAD = 8, MOST_POLES = 4, NSUM = 3 }; /* frames read at once; poles of one kernel: longer cascades go in groups; b, c, gain or weight */

struct scan_par {
    real b, c, gain; /* or weight */
    bool starts, gained; /* step 0 of the chunk is the run's first; the gain is a parameter */
};

/* The kinds: one step, and its adjoint: from gy and the states before and after the step, the derivative by x.  carry: of each state, in by it after
 * the step, out by it before; sum: by b, c and gain. */
__device__ static inline real pole_back(const scan_par &p, real by_s, real u, real before, real *carry, double *sum)
{
    real whole = cell_lowpass_back(by_s, p.c, carry);
    sum[0] += (double)whole * (double)u;
    sum[1] += (double)whole * (double)before;
    return p.b * whole;
}

/* The gain stands between the first pole and the next one, or the output. */
template <int N> struct lowpass {
    enum { STATES = N };
    __device__ static inline real step(const scan_par &p, real x, bool, real s[])
    {
        real y = p.gain * cell_lowpass_step(x, p.b, p.c, &s[0]);
        UNROLL
        for (int q = 1; q < N; q++) {
            y = cell_lowpass_step(y, p.b, p.c, &s[q]);
        }
        return y;
    }
    __device__ static inline real back(const scan_par &p, real x, bool, const real before[], const real after[], real gy, real carry[], double *sum)
    {
        real g = gy;
        UNROLL
        for (int q = N - 1; q > 0; q--) {
            g = pole_back(p, g, q == 1 ? p.gain * after[0] : after[q - 1], before[q], &carry[q], sum);
        }
        sum[2] += p.gained ? (double)g * (double)after[0] : 0;
        return pole_back(p, p.gain * g, x, before[0], &carry[0], sum);
    }
};

/* y = x - w s */
struct highpass {
    enum { STATES = 1 };
    __device__ static inline real step(const scan_par &p, real x, bool, real s[])
    {
        return cell_highpass_step(x, p.b, p.c, p.gain, &s[0]);
    }
    __device__ static inline real back(const scan_par &p, real x, bool, const real before[], const real after[], real gy, real carry[], double *sum)
    {
        sum[2] -= (double)gy * (double)after[0];
        return pole_back(p, -p.gain * gy, x, before[0], &carry[0], sum) + gy;
    }
};

/* The low-pass sees the frame before, the second state; at the very first step, that frame itself. */
struct highpass_delayed {
    enum { STATES = 2 };
    __device__ static inline real step(const scan_par &p, real x, bool first, real s[])
    {
        real y = x - p.gain * cell_lowpass_step(first ? x : s[1], p.b, p.c, &s[0]);
        s[1] = x;
        return y;
    }
    __device__ static inline real back(const scan_par &p, real x, bool first, const real before[], const real after[], real gy, real carry[],
                                          double *sum)
    {
        sum[2] -= (double)gy * (double)after[0];
        real g = pole_back(p, -p.gain * gy, first ? x : before[1], before[0], &carry[0], sum), by_x = gy + carry[1] + (first ? g : 0);
        carry[1] = first ? 0 : g;
        return by_x;
    }
};

/* States of the chunk: [leaf][pole][channel][padded pixel]; of this pixel the first one. */
struct states {
    real *at; /* NULL: not wanted */
    int64_t leaf;
};
__device__ static inline real *state_at(const states &s, const gpu_view &x, int leaf, int c, int64_t i)
{
    return s.at + leaf * s.leaf + (int64_t)c * x.pad_ny * x.pad_nx + i;
}
__device__ static inline int64_t pole_stride(const gpu_view &x)
{
    return (int64_t)x.nchan * x.pad_ny * x.pad_nx;
}

__device__ static inline void read_ahead(const real *at, int64_t frame, int n, real to[AHEAD])
{
    for (int k = 0; k < AHEAD; k++) {
        to[k] = k < n ? at[k * frame] : 0;
    }
}

/* y may be x. */
template <class CELL> __global__ static void scan_kernel(scan_par p, int nt, gpu_view x, states before, states after, gpu_array y)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.y; plane < x.nleaf * x.nchan; plane += (int)gridDim.y) {
        int leaf = plane / x.nchan, c = plane % x.nchan, row, column;
        if (!gpu_pixel(x.tile[leaf], x.pad_nx, i, &row, &column)) {
            continue;
        }
        real s[CELL::STATES], u[AHEAD];
        for (int q = 0; q < CELL::STATES; q++) {
            s[q] = state_at(before, x, leaf, c, i)[q * pole_stride(x)];
        }
        for (int t = 0; t < nt; t += AHEAD) {
            read_ahead(gpu_at(x, leaf, t, c, row, column), x.frame_stride, nt - t, u);
            real *out = gpu_at(y, leaf, t, c, row, column);
            for (int k = 0; k < AHEAD; k++) {
                if (t + k < nt) {
                    out[k * y.frame] = CELL::step(p, u[k], p.starts && t + k == 0, s);
                }
            }
        }
        for (int q = 0; after.at && q < CELL::STATES; q++) {
            state_at(after, x, leaf, c, i)[q * pole_stride(x)] = s[q];
        }
    }
}

/* --- adjoint ----------------------------------------------------------------------------------------------------------------------
 * For the derivatives by parameters the states are made again: once forward, leaving those before every AHEAD-th step in `kept`, then, walking back,
 * those of AHEAD steps at a time in registers. */
struct back_call {
    int nt;
    gpu_view x;
    states before, carry;
    gpu_array gy, gx;
    bool add;        /* to gx */
    real *kept;      /* [AHEAD steps][state][leaf][channel][padded pixel] */
    double *part;    /* [leaf][step][block][NSUM] */
    int block, nblock; /* first of this launch, and all */
};

__device__ static inline real *kept_at(const back_call &b, int nstate, int section, int plane, int64_t i)
{
    return b.kept + ((int64_t)section * nstate * b.x.nleaf * b.x.nchan + plane) * b.x.pad_ny * b.x.pad_nx + i;
}
__device__ static inline int64_t kept_stride(const back_call &b) /* between states */
{
    return (int64_t)b.x.nleaf * pole_stride(b.x);
}

template <class CELL> __device__ static inline void keep_states(const scan_par &p, const back_call &b, int plane, int64_t i, int row, int column)
{
    int leaf = plane / b.x.nchan, c = plane % b.x.nchan;
    real s[CELL::STATES], u[AHEAD];
    for (int q = 0; q < CELL::STATES; q++) {
        s[q] = state_at(b.before, b.x, leaf, c, i)[q * pole_stride(b.x)];
    }
    for (int t = 0; t < b.nt; t += AHEAD) {
        real *to = kept_at(b, CELL::STATES, t / AHEAD, plane, i);
        for (int q = 0; q < CELL::STATES; q++) {
            to[q * kept_stride(b)] = s[q];
        }
        if (t + AHEAD < b.nt) {
            read_ahead(gpu_at(b.x, leaf, t, c, row, column), b.x.frame_stride, AHEAD, u);
            for (int k = 0; k < AHEAD; k++) {
                CELL::step(p, u[k], p.starts && t + k == 0, s);
            }
        }
    }
}

/* AHEAD steps from t on, back.  in: the tile has this pixel. */
template <class CELL, bool SUMS>
__device__ static inline void section_back(const scan_par &p, const back_call &b, int plane, int64_t i, bool in, int row, int column, int t,
                                           real carry[])
{
    enum { AT_ONCE = 4 };
    int leaf = plane / b.x.nchan, c = plane % b.x.nchan, n = b.nt - t < AHEAD ? b.nt - t : AHEAD;
    real s[AHEAD + 1][CELL::STATES] = {{0}}, u[AHEAD] = {0}, g[AHEAD] = {0}, old[AHEAD] = {0};
    if (in) {
        read_ahead(gpu_at(b.gy, leaf, t, c, row, column), b.gy.frame, n, g);
        read_ahead(gpu_at(b.gx, leaf, t, c, row, column), b.gx.frame, b.gx.at && b.add ? n : 0, old);
    }
    if (SUMS && in) {
        read_ahead(gpu_at(b.x, leaf, t, c, row, column), b.x.frame_stride, n, u);
        UNROLL
        for (int q = 0; q < CELL::STATES; q++) {
            s[0][q] = kept_at(b, CELL::STATES, t / AHEAD, plane, i)[q * kept_stride(b)];
        }
        UNROLL
        for (int k = 0; k < AHEAD; k++) {
            UNROLL
            for (int q = 0; q < CELL::STATES; q++) {
                s[k + 1][q] = s[k][q];
            }
            if (k < n) {
                CELL::step(p, u[k], p.starts && t + k == 0, s[k + 1]);
            }
        }
    }
    UNROLL
    for (int half = AHEAD - AT_ONCE; half >= 0; half -= AT_ONCE) {
        double sum[AT_ONCE * NSUM] = {0};
        UNROLL
        for (int k = AT_ONCE - 1; k >= 0; k--) {
            int m = half + k;
            if (in && m < n) {
                real by_x = CELL::back(p, u[m], p.starts && t + m == 0, s[m], s[m + 1], g[m], carry, &sum[k * NSUM]);
                if (b.gx.at) {
                    *gpu_at(b.gx, leaf, t + m, c, row, column) = old[m] + by_x;
                }
            }
        }
        if (SUMS && half < n) {
            int64_t block = b.block + c * (int)gridDim.x + (int)blockIdx.x, steps = n - half < AT_ONCE ? n - half : AT_ONCE;
            gpu_block_sums<AT_ONCE * NSUM>(sum, (int)steps * NSUM, b.part + (((int64_t)leaf * b.nt + t + half) * b.nblock + block) * NSUM, NSUM,
                                           (int64_t)b.nblock * NSUM);
        }
    }
}

template <class CELL, bool SUMS> __global__ static void scan_back_kernel(scan_par p, back_call b)
{
    int64_t i = gpu_thread();
    for (int plane = (int)blockIdx.y; plane < b.x.nleaf * b.x.nchan; plane += (int)gridDim.y) {
        int leaf = plane / b.x.nchan, c = plane % b.x.nchan, row, column;
        bool in = gpu_pixel(b.x.tile[leaf], b.x.pad_nx, i, &row, &column);
        real carry[CELL::STATES] = {0}, *at = in ? state_at(b.carry, b.x, leaf, c, i) : NULL;
        for (int q = 0; in && q < CELL::STATES; q++) {
            carry[q] = at[q * pole_stride(b.x)];
        }
        if (SUMS && in) {
            keep_states<CELL>(p, b, plane, i, row, column);
        }
        for (int t = (b.nt - 1) / AHEAD * AHEAD; t >= 0; t -= AHEAD) {
            section_back<CELL, SUMS>(p, b, plane, i, in, row, column, t, carry);
        }
        for (int q = 0; in && q < CELL::STATES; q++) {
            at[q * pole_stride(b.x)] = carry[q];
        }
    }
}

/* --- the kinds' launches ------------------------------------------------------------------------------------------------------------ */
template <class CELL> static void scan_as(backend *be, scan_par p, int nt, view x, states before, states after, gpu_array y)
{
    dim3 grid = gpu_grid((int64_t)x.pad_ny * x.pad_nx, (int64_t)x.nleaf * x.nchan);
    LAUNCH(be, scan_kernel<CELL>, grid, GPU_THREADS, p, nt, gpu_see(be, x), before, after, y);
}
template <class CELL> static void scan_back_as(backend *be, scan_par p, back_call b)
{
    dim3 grid = gpu_grid((int64_t)b.x.pad_ny * b.x.pad_nx, (int64_t)b.x.nleaf * b.x.nchan);
    if (b.part) {
        LAUNCH(be, (scan_back_kernel<CELL, true>), grid, GPU_THREADS, p, b);
    } else {
        LAUNCH(be, (scan_back_kernel<CELL, false>), grid, GPU_THREADS, p, b);
    }
}

static void scan_group(backend *be, enum cell_scan kind, int npole, scan_par p, int nt, view x, states before, states after, gpu_array y)
{
    static void (*const low[])(backend *, scan_par, int, view, states, states, gpu_array) = {scan_as<lowpass<1>>, scan_as<lowpass<2>>,
                                                                                             scan_as<lowpass<3>>, scan_as<lowpass<4>>};
    (kind == SCAN_LOWPASS ? low[npole - 1] : kind == SCAN_HIGHPASS ? scan_as<highpass> : scan_as<highpass_delayed>)(be, p, nt, x, before, after, y);
}
static void scan_group_back(backend *be, enum cell_scan kind, int npole, scan_par p, back_call b)
{
    static void (*const low[])(backend *, scan_par, back_call) = {scan_back_as<lowpass<1>>, scan_back_as<lowpass<2>>, scan_back_as<lowpass<3>>,
                                                                  scan_back_as<lowpass<4>>};
    (kind == SCAN_LOWPASS ? low[npole - 1] : kind == SCAN_HIGHPASS ? scan_back_as<highpass> : scan_back_as<highpass_delayed>)(be, p, b);
}

/* --- cascades in groups of poles: each reads what the one before it has made; only the first has the gain ------------------------------ */
struct group {
    int npole, first; /* pole */
    scan_par p;
};
static int group_count(enum cell_scan kind, const real par[])
{
    return kind == SCAN_LOWPASS ? ((int)par[3] + MOST_POLES - 1) / MOST_POLES : 1;
}
static group group_at(enum cell_scan kind, const real par[], int n)
{
    int left = kind == SCAN_LOWPASS ? (int)par[3] - n * MOST_POLES : 1;
    bool starts = kind == SCAN_HIGHPASS_DELAYED && par[3] != 0;
    group g = {left < MOST_POLES ? left : MOST_POLES, n * MOST_POLES, {par[0], par[1], n == 0 ? par[2] : 1, starts, n == 0}};
    return g;
}
static states states_of(dreal *at, int64_t stride, view x, const group &g)
{
    states s = {at ? (real *)at + (int64_t)g.first * x.nchan * x.pad_ny * x.pad_nx : NULL, stride};
    return s;
}

void gpu_scan(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y)
{
    (void)npar;
    for (int n = 0; n < group_count(kind, par); n++) {
        group g = group_at(kind, par, n);
        states s = states_of(state, state_stride, x, g);
        scan_group(be, kind, g.npole, g.p, nt, n == 0 ? x : y, s, s, gpu_array_of(y));
    }
}

/* Working memory of the adjoint: outputs of all groups but the last, and the derivative by one of them, as views without halo; kept states;
 * parts. */
struct back_memory {
    double *part;
    real *kept, *between;
    int64_t array; /* reals of one */
};
static back_memory back_memory_of(backend *be, int ngroup, int nstate, int nt, view x, int64_t nblock, bool sums)
{
    int64_t frame = (int64_t)x.nchan * x.pad_ny * x.pad_nx, array = ngroup > 1 ? frame * nt * x.nleaf : 0;
    int64_t kept = sums ? (int64_t)((nt + AHEAD - 1) / AHEAD) * nstate * x.nleaf * frame : 0, parts = sums ? x.nleaf * nt * nblock * NSUM : 0;
    char *at = (char *)gpu_scratch(be, (size_t)parts * sizeof(double) + (size_t)(kept + (sums ? ngroup : 1) * array) * sizeof(real));
    real *reals = (real *)(at + (size_t)parts * sizeof(double));
    back_memory m = {sums ? (double *)at : NULL, reals, reals + kept, array};
    return m;
}
static view between_of(const back_memory &m, view x, int nt, int n)
{
    view v = x;
    v.at = (dreal *)(m.between + n * m.array);
    v.halo = 0;
    v.row_stride = x.pad_nx;
    v.chan_stride = (int64_t)x.pad_ny * x.pad_nx;
    v.frame_stride = x.nchan * v.chan_stride;
    v.leaf_stride = nt * v.frame_stride;
    return v;
}

void gpu_scan_back(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, const dreal *state, int64_t state_stride, view gy,
                   dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride)
{
    (void)npar;
    int ngroup = group_count(kind, par), blocks = (int)gpu_blocks((int64_t)x.pad_ny * x.pad_nx) * x.nchan;
    int nstate = kind == SCAN_HIGHPASS_DELAYED ? 2 : group_at(kind, par, 0).npole;
    back_memory m = back_memory_of(be, ngroup, nstate, nt, x, (int64_t)blocks * ngroup, g_par != NULL);
    view g_between = between_of(m, x, nt, g_par ? ngroup - 1 : 0);
    for (int n = 0; g_par && n < ngroup - 1; n++) {
        group g = group_at(kind, par, n);
        states none = {NULL, 0};
        scan_group(be, kind, g.npole, g.p, nt, n == 0 ? x : between_of(m, x, nt, n - 1), states_of((dreal *)state, state_stride, x, g), none,
                   gpu_array_of(between_of(m, x, nt, n)));
    }
    for (int n = ngroup - 1; n >= 0; n--) {
        group g = group_at(kind, par, n);
        back_call b = {nt,
                       gpu_see(be, n == 0 || !g_par ? x : between_of(m, x, nt, n - 1)),
                       states_of((dreal *)state, state_stride, x, g),
                       states_of(g_state, g_state_stride, x, g),
                       gpu_array_of(n == ngroup - 1 ? gy : g_between),
                       gpu_array_of(n == 0 ? gx : g_between),
                       n == 0,
                       m.kept,
                       m.part,
                       n * blocks,
                       ngroup * blocks};
        scan_group_back(be, kind, g.npole, g.p, b);
    }
    if (g_par) {
        gpu_sum_parts(be, (int64_t)x.nleaf * nt, ngroup * blocks, NSUM, m.part, gpu_result(be, x.nleaf, nt, NSUM, g_par, g_par_stride, true));
    }
}

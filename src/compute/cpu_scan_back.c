/* cpu_scan_back.c - adjoints of the recurrences in time.  The states of a chunk are made again from the one before it, then the steps are walked back
 * from the last: with s_t = b u_t + c s_(t-1) and G_t the whole derivative by s_t, G_t = (by what was made of s_t) + c G_(t+1), by u_t it is b G_t.
 * Derivatives by parameters are summed step by step, from the last to the first, so that chunks do not show in them. */
#include "base/error.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"
#include "compute/cpu_sum.h"

enum { BLOCK = 64, MOST_PAR = 4 };

/* Up to BLOCK cells of a row over all frames of the chunk. */
typedef struct scan_block {
    int nt, n;
    const real *x, *gy, *state;
    real *gx, *g_state;                                  /* gx NULL: not wanted */
    int64_t x_stride, gy_stride, gx_stride, pole_stride; /* between frames, between states */
    real *past;                                          /* [pole][1 + nt][BLOCK] states, from the one before the chunk on */
    double *sum;                                         /* [nt][MOST_PAR] by the parameters; NULL: not wanted */
} scan_block;

int64_t scan_scratch(int npole, int max_nt)
{
    int64_t sums = (int64_t)max_nt * MOST_PAR * (int64_t)(sizeof(double) / sizeof(real));
    return sums + (int64_t)npole * (1 + max_nt) * BLOCK;
}

static real *past_of(const scan_block *s, int pole, int t) /* the state after step t; -1: before the chunk */
{
    return s->past + ((int64_t)pole * (1 + s->nt) + 1 + t) * BLOCK;
}

static void add_row(const scan_block *s, int t, const real *g)
{
    real *restrict to = s->gx ? s->gx + t * s->gx_stride : NULL;
    for (int i = 0; to && i < s->n; i++) {
        to[i] += g[i];
    }
}

/* s_t = b u_t + c s_(t-1) of one pole; input(t) with factor gain. */
static void low_again(const scan_block *s, int pole, real b, real c, real gain)
{
    memcpy(past_of(s, pole, -1), s->state + pole * s->pole_stride, (size_t)s->n * sizeof(real));
    for (int t = 0; t < s->nt; t++) {
        const real *restrict u = pole > 0 ? past_of(s, pole - 1, t) : s->x + t * s->x_stride;
        const real *restrict before = past_of(s, pole, t - 1);
        real *restrict after = past_of(s, pole, t);
        for (int i = 0; i < s->n; i++) {
            after[i] = before[i];
            cell_lowpass_step(pole == 1 ? gain * u[i] : u[i], b, c, &after[i]);
        }
    }
}

/* One pole at step t.  g: in, by its output; out, by its input u. */
static void pole_back(const scan_block *s, int pole, int t, const real par[], const real *u, real *restrict g, double *sum)
{
    real b = par[0], c = par[1], *restrict carry = s->g_state + pole * s->pole_stride;
    for (int i = 0; i < s->n; i++) {
        g[i] = cell_lowpass_back(g[i], c, &carry[i]);
    }
    if (sum) {
        sum[0] += cpu_dot(g, u, s->n);
        sum[1] += cpu_dot(g, past_of(s, pole, t - 1), s->n);
    }
    for (int i = 0; i < s->n; i++) {
        g[i] *= b;
    }
}

/* par: b, c, gain, number of poles; the gain stands between the first pole and the next one, or the output. */
static void lowpass_back(const scan_block *s, const real par[])
{
    real gain = par[2], g[BLOCK], u[BLOCK];
    int npole = (int)par[3];
    for (int p = 0; p < npole; p++) {
        low_again(s, p, par[0], par[1], gain);
    }
    for (int t = s->nt - 1; t >= 0; t--) {
        double *sum = s->sum ? s->sum + t * MOST_PAR : NULL;
        memcpy(g, s->gy + t * s->gy_stride, (size_t)s->n * sizeof(real));
        for (int p = npole - 1; p > 0; p--) {
            const real *in = past_of(s, p - 1, t);
            for (int i = 0; i < s->n; i++) {
                u[i] = p == 1 ? gain * in[i] : in[i];
            }
            pole_back(s, p, t, par, u, g, sum);
        }
        if (sum) {
            sum[2] += cpu_dot(g, past_of(s, 0, t), s->n);
        }
        for (int i = 0; i < s->n; i++) {
            g[i] *= gain;
        }
        pole_back(s, 0, t, par, s->x + t * s->x_stride, g, sum);
        add_row(s, t, g);
    }
}

/* y = u - w s.  par: b, c, weight. */
static void highpass_back(const scan_block *s, const real par[])
{
    real weight = par[2], g[BLOCK];
    low_again(s, 0, par[0], par[1], 1);
    for (int t = s->nt - 1; t >= 0; t--) {
        const real *gy = s->gy + t * s->gy_stride;
        double *sum = s->sum ? s->sum + t * MOST_PAR : NULL;
        if (sum) {
            sum[2] -= cpu_dot(gy, past_of(s, 0, t), s->n);
        }
        for (int i = 0; i < s->n; i++) {
            g[i] = -weight * gy[i];
        }
        pole_back(s, 0, t, par, s->x + t * s->x_stride, g, sum);
        for (int i = 0; i < s->n; i++) {
            g[i] += gy[i];
        }
        add_row(s, t, g);
    }
}

/* The low-pass sees the frame before, which is the second state; at the very first step, that frame itself.  par: b, c, weight, 1 at that step. */
static const real *frame_before(const scan_block *s, int t, const real par[])
{
    return t > 0 ? s->x + (t - 1) * s->x_stride : par[3] != 0 ? s->x : s->state + s->pole_stride;
}

static void highpass_delayed_back(const scan_block *s, const real par[])
{
    real weight = par[2], g[BLOCK], *restrict g_last = s->g_state + s->pole_stride;
    memcpy(past_of(s, 0, -1), s->state, (size_t)s->n * sizeof(real));
    for (int t = 0; t < s->nt; t++) {
        const real *restrict u = frame_before(s, t, par);
        const real *restrict before = past_of(s, 0, t - 1);
        real *restrict after = past_of(s, 0, t);
        for (int i = 0; i < s->n; i++) {
            after[i] = before[i];
            cell_lowpass_step(u[i], par[0], par[1], &after[i]);
        }
    }
    for (int t = s->nt - 1; t >= 0; t--) {
        const real *gy = s->gy + t * s->gy_stride;
        double *sum = s->sum ? s->sum + t * MOST_PAR : NULL;
        bool first = t == 0 && par[3] != 0;
        if (sum) {
            sum[2] -= cpu_dot(gy, past_of(s, 0, t), s->n);
        }
        for (int i = 0; i < s->n; i++) {
            g[i] = -weight * gy[i];
        }
        pole_back(s, 0, t, par, frame_before(s, t, par), g, sum);
        for (int i = 0; i < s->n; i++) {
            real by_frame = gy[i] + g_last[i] + (first ? g[i] : 0);
            g_last[i] = first ? 0 : g[i];
            g[i] = by_frame;
        }
        add_row(s, t, g);
    }
}

void cpu_scan_back(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, const dreal *state, int64_t state_stride, view gy,
                   dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride)
{
    static void (*const run[SCAN_COUNT])(const scan_block *, const real[]) = {lowpass_back, highpass_back, highpass_delayed_back};
    static const int wanted[SCAN_COUNT] = {4, 3, 4};
    ASSERT(npar == wanted[kind]);
    double *sum = (double *)(void *)cpu_scratch(be);
    real *past = (real *)(void *)(sum + (int64_t)nt * MOST_PAR);
    int64_t plane = (int64_t)x.pad_ny * x.pad_nx;
    for (int l = 0; l < x.nleaf; l++) {
        memset(sum, 0, (size_t)nt * MOST_PAR * sizeof *sum);
        for (int r = 0; r < x.nchan * x.tile[l].ny; r++) {
            int c = r / x.tile[l].ny, row = r % x.tile[l].ny;
            for (int first = 0; first < x.tile[l].nx; first += BLOCK) {
                int n = x.tile[l].nx - first < BLOCK ? x.tile[l].nx - first : BLOCK;
                int64_t at = c * plane + (int64_t)row * x.pad_nx + first;
                scan_block s = {nt,
                                n,
                                cpu_plane(x, l, 0, c) + row * x.row_stride + first,
                                cpu_plane(gy, l, 0, c) + row * gy.row_stride + first,
                                host_const(state) + l * state_stride + at,
                                gx.at ? cpu_plane(gx, l, 0, c) + row * gx.row_stride + first : NULL,
                                host(g_state) + l * g_state_stride + at,
                                x.frame_stride,
                                gy.frame_stride,
                                gx.frame_stride,
                                plane * x.nchan,
                                past,
                                g_par ? sum : NULL};
                run[kind](&s, par);
            }
        }
        for (int t = nt - 1; g_par && t >= 0; t--) {
            for (int k = 0; k < npar; k++) {
                g_par[l * g_par_stride + k] += sum[t * MOST_PAR + k];
            }
        }
    }
}

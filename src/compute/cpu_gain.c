/* cpu_gain.c - one step of contrast gain control: the pool of the last voltage, blurred, and the membrane, row by row. */
#include <string.h>

#include "compute/cellmath.h"
#include "compute/cpu_blur.h"

/* --- contrast gain control of VirtualRetina 2.2.3 ----------------------------------------------------------------------------- */
typedef struct gain {
    const gain_par *par;
    real inverse_saturation, mean;
    int radius, nx;
    const real *pooled, *input, *before; /* pooled: V of the step before (or Convis' q), with halo */
    real *adaptation, *v, *keep;         /* keep: NULL, or where A goes as well */
    int64_t pooled_stride, input_stride, before_stride, adaptation_stride, v_stride, keep_stride;
} gain;

static const real *gain_row(void *ctx, int y, real *line)
{
    const gain *g = ctx;
    const real *v = g->pooled + y * g->pooled_stride - g->radius;
    for (int x = 0; x < g->nx + 2 * g->radius; x++) {
        line[x] = cell_gain_pool(v[x], g->par->feedback_hz, g->inverse_saturation);
    }
    return line;
}

/* V_t uses A_(t-1), and A_t the blurred q(V_(t-1)). */
static void gain_emit(void *ctx, int y, const real *restrict pooled)
{
    const gain *g = ctx;
    const real *restrict input = g->input + y * g->input_stride, *restrict before = g->before + y * g->before_stride;
    real *restrict adaptation = g->adaptation + y * g->adaptation_stride, *restrict v = g->v + y * g->v_stride;
    real leak = g->par->leak_hz, amplification = g->par->gain_hz, dt = g->par->dt_s, c = g->par->decay;
    for (int x = 0; x < g->nx; x++) {
        v[x] = cell_gain_membrane(before[x], input[x], leak + adaptation[x], amplification, dt);
        adaptation[x] = (1 - c) * pooled[x] + c * adaptation[x];
    }
    if (g->keep) {
        memcpy(g->keep + y * g->keep_stride, adaptation, (size_t)g->nx * sizeof(real));
    }
}

static gain gain_context(const blur_plan *p, const gain_par *par, int l, view input, view before, dreal *adaptation, int64_t stride, view v,
                         view keep)
{
    gain g = {par,
              1 / par->saturation,
              0,
              p->radius,
              input.tile[l].nx,
              cpu_plane(before, l, 0, 0),
              cpu_plane(input, l, 0, 0),
              cpu_plane(before, l, 0, 0),
              host(adaptation) + l * stride,
              cpu_plane(v, l, 0, 0),
              keep.at ? cpu_plane(keep, l, 0, 0) : NULL,
              before.row_stride,
              input.row_stride,
              before.row_stride,
              v.pad_nx,
              v.row_stride,
              keep.row_stride};
    return g;
}

void cpu_gain_step(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride,
                   view v, view keep)
{
    for (int l = 0; l < input.nleaf; l++) {
        gain ctx = gain_context(p, par, l, input, v_before, adaptation, adaptation_stride, v, keep);
        if (par->feedback_hz == 0 && !blur_is_free(p)) { /* nothing is pooled */
            real *none = cpu_scratch(be);
            memset(none, 0, (size_t)ctx.nx * sizeof(real));
            for (int y = 0; y < input.tile[l].ny; y++) {
                gain_emit(&ctx, y, none);
            }
        } else {
            cpu_blur_plane(be, p, &input.tile[l], &(blur_io){&ctx, gain_row, gain_emit, NULL, 0});
        }
    }
}

void cpu_gain_q(backend *be, const gain_par *par, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum)
{
    (void)be;
    for (int l = 0; l < q.nleaf; l++) {
        const grid_tile *tile = &q.tile[l];
        leaf_sum[l] = 0;
        for (int y = 0; y < tile->ny; y++) {
            const real *v = cpu_plane(v_before, l, 0, 0) + y * v_before.row_stride;
            const real *a = host_const(adaptation) + l * adaptation_stride + (int64_t)y * q.pad_nx;
            real *out = cpu_plane(q, l, 0, 0) + y * q.row_stride;
            for (int x = 0; x < tile->nx; x++) {
                out[x] = par->feedback_hz * v[x] * v[x] * par->b0 - par->a1 * a[x];
                leaf_sum[l] += (double)out[x];
            }
        }
    }
}

static const real *convis_row(void *ctx, int y, real *line)
{
    const gain *g = ctx;
    const real *q = g->pooled + y * g->pooled_stride - g->radius;
    for (int x = 0; x < g->nx + 2 * g->radius; x++) {
        line[x] = q[x] - g->mean;
    }
    return line;
}

static void convis_emit(void *ctx, int y, const real *blurred)
{
    const gain *g = ctx;
    const real *input = g->input + y * g->input_stride, *before = g->before + y * g->before_stride;
    real *adaptation = g->adaptation + y * g->adaptation_stride, *v = g->v + y * g->v_stride;
    for (int x = 0; x < g->nx; x++) {
        v[x] = cell_gain_membrane(before[x], input[x], g->par->leak_hz + adaptation[x], g->par->gain_hz, g->par->dt_s);
        adaptation[x] = blurred[x] + g->mean;
    }
    if (g->keep) {
        memcpy(g->keep + y * g->keep_stride, adaptation, (size_t)g->nx * sizeof(real));
    }
}

void cpu_gain_convis(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, dreal *adaptation,
                     int64_t adaptation_stride, view v, view keep)
{
    for (int l = 0; l < input.nleaf; l++) {
        gain ctx = gain_context(p, par, l, input, v_before, adaptation, adaptation_stride, v, keep);
        ctx.mean = (real)mean;
        ctx.pooled = cpu_plane(q, l, 0, 0);
        ctx.pooled_stride = q.row_stride;
        cpu_blur_plane(be, p, &input.tile[l], &(blur_io){&ctx, convis_row, convis_emit, NULL, 0});
    }
}

/* --- adjoints ------------------------------------------------------------------------------------------------------------------
 * The membrane's part is the same in both forms; A_t of the step reached V_(t+1) only, so that what comes in by A_t belongs to the pool. */
typedef struct gain_back {
    const blur_plan *plan;
    const gain_par *par;
    const grid_tile *tile;
    backend *be;
    gain forward;                   /* rows of the pool's input */
    const real *input, *before, *a; /* I, V and A of the step before */
    const real *g_v;
    real *g_a, *g_input, *g_before; /* g_input: NULL or where it goes */
    int64_t input_stride, before_stride, a_stride, g_v_stride, g_input_stride, g_before_stride;
    real *gq; /* Convis: derivative by q */
    int64_t gq_stride;
    double *g;                      /* NULL: not wanted */
    double sum_q, sum_back;         /* of the pool's adjoint times q, and of itself */
} gain_back;

enum { BY_GAIN, BY_LEAK, BY_FEEDBACK, BY_DECAY, BY_POOL, BY_B0 = BY_DECAY, BY_A1, CONVIS_BY_POOL };

/* What the membrane of one row says. */
typedef struct membrane_row {
    const real *v, *current, *a, *g_v;
    real *by_v, *by_current, *by_g, *by_gain;
} membrane_row;

static void derive_membrane(const gain_par *par, const membrane_row *m, int nx)
{
    const real *v = m->v, *current = m->current, *a = m->a, *g_v = m->g_v;
    real *by_v = m->by_v, *by_current = m->by_current, *by_g = m->by_g, *by_gain = m->by_gain;
    real leak = par->leak_hz, amplification = par->gain_hz, dt = par->dt_s;
#pragma GCC ivdep /* eight arrays, none within another: too many for the compiler to ask them in pairs */
    for (int x = 0; x < nx; x++) {
        cell_gain_membrane_back(v[x], current[x], leak + a[x], amplification, dt, g_v[x], &by_v[x], &by_current[x], &by_g[x], &by_gain[x]);
    }
}

static void add_row(real *restrict to, const real *restrict what, int nx)
{
    for (int x = 0; x < nx; x++) {
        to[x] += what[x];
    }
}

/* g_a becomes keep g_a and what the membrane says of A_(t-1). */
static void membrane_back(const gain_back *b, real keep)
{
    real *spare[4];
    int nx = b->tile->nx;
    for (int i = 0; i < 4; i++) {
        spare[i] = cpu_blur_spare(b->be, b->plan, i);
    }
    for (int y = 0; y < b->tile->ny; y++) {
        membrane_row m = {b->before + y * b->before_stride, b->input + y * b->input_stride, b->a + y * b->a_stride, b->g_v + y * b->g_v_stride,
                          spare[0], spare[1], spare[2], spare[3]};
        real *restrict g_a = b->g_a + y * b->a_stride;
        derive_membrane(b->par, &m, nx);
        add_row(b->g_before + y * b->g_before_stride, m.by_v, nx);
        for (int x = 0; x < nx; x++) {
            g_a[x] *= keep;
        }
        add_row(g_a, m.by_g, nx);
        if (b->g_input) {
            add_row(b->g_input + y * b->g_input_stride, m.by_current, nx);
        }
        if (b->g) {
            b->g[BY_GAIN] += cpu_total(m.by_gain, nx);
            b->g[BY_LEAK] += cpu_total(m.by_g, nx);
        }
    }
}

static const real *gain_back_row(void *ctx, int y, real *line)
{
    (void)line;
    const gain_back *b = ctx;
    return b->g_a + y * b->a_stride;
}

/* Through q = u/(1 + u/saturation) of V_(t-1), tile and halo. */
static void gain_back_add(void *ctx, int y, const real *restrict row, int reach)
{
    gain_back *b = ctx;
    int n = b->tile->nx + 2 * reach;
    real feedback = b->par->feedback_hz, share = 1 - b->par->decay, inverse = b->forward.inverse_saturation;
    real *restrict q = cpu_blur_spare(b->be, b->plan, 0), *restrict by_feedback = cpu_blur_spare(b->be, b->plan, 1);
    const real *restrict v = b->before + y * b->before_stride - reach;
    real *restrict g_before = b->g_before + y * b->g_before_stride - reach;
    row -= reach;
    for (int x = 0; x < n; x++) {
        real by_v;
        cell_gain_pool_slope(v[x], feedback, inverse, &by_v, &by_feedback[x]);
        g_before[x] += share * row[x] * by_v;
    }
    if (b->g) {
        for (int x = 0; x < n; x++) {
            q[x] = cell_gain_pool(v[x], feedback, inverse);
        }
        b->g[BY_FEEDBACK] += (double)share * cpu_dot(row, by_feedback, n);
        b->sum_q += cpu_dot(row, q, n);
    }
}

/* A_t = (1-c) P + c A_(t-1): by c it is A_(t-1) - P, and the sum of g_a P that of the blur's adjoint times q, and the bias. */
static void decay_back(const gain_back *b)
{
    double sum = -b->sum_q;
    for (int y = 0; y < b->tile->ny; y++) {
        const real *g_a = b->g_a + y * b->a_stride;
        sum += cpu_dot(g_a, b->a + y * b->a_stride, b->tile->nx);
        sum -= blur_is_free(b->plan) ? (double)b->plan->bias * cpu_total(g_a, b->tile->nx) : 0;
    }
    b->g[BY_DECAY] += sum;
}

/* What the adjoint of leaf l reads and writes. */
typedef struct gain_views {
    view input, v_before, g_v, g_input, g_before;
    const dreal *before;
    int64_t before_stride;
    dreal *g_adaptation;
    int64_t g_adaptation_stride;
    double *g;
    int64_t g_stride;
} gain_views;

static gain_back gain_back_context(backend *be, const blur_plan *p, const gain_par *par, int l, const gain_views *v)
{
    gain_back b = {
        .plan = p,
        .par = par,
        .tile = &v->input.tile[l],
        .be = be,
        .forward = {.par = par,
                    .inverse_saturation = 1 / par->saturation,
                    .radius = p->radius,
                    .nx = v->input.tile[l].nx,
                    .pooled = cpu_plane(v->v_before, l, 0, 0),
                    .pooled_stride = v->v_before.row_stride},
        .input = cpu_plane(v->input, l, 0, 0),
        .before = cpu_plane(v->v_before, l, 0, 0),
        .a = host_const(v->before) + l * v->before_stride,
        .g_v = cpu_plane(v->g_v, l, 0, 0),
        .g_a = host(v->g_adaptation) + l * v->g_adaptation_stride,
        .g_input = v->g_input.at ? cpu_plane(v->g_input, l, 0, 0) : NULL,
        .g_before = cpu_plane(v->g_before, l, 0, 0),
        .input_stride = v->input.row_stride,
        .before_stride = v->v_before.row_stride,
        .a_stride = v->input.pad_nx,
        .g_v_stride = v->g_v.row_stride,
        .g_input_stride = v->g_input.row_stride,
        .g_before_stride = v->g_before.row_stride,
        .g = v->g ? v->g + l * v->g_stride : NULL,
    };
    return b;
}

void cpu_gain_step_back(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, const dreal *before, int64_t before_stride,
                        view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, double *g, int64_t g_stride)
{
    gain_views v = {input, v_before, g_v, g_input, g_before, before, before_stride, g_adaptation, g_adaptation_stride, g, g_stride};
    for (int l = 0; l < input.nleaf; l++) {
        gain_back b = gain_back_context(be, p, par, l, &v);
        if (par->feedback_hz != 0 || g) { /* something is pooled, or could be */
            cpu_blur_plane_back(be, p, b.tile, &(blur_back_io){&b, gain_back_row, gain_back_add});
        }
        if (g) {
            cpu_blur_plane_par(be, p, b.tile, &(blur_io){&b.forward, gain_row, NULL, NULL, 0}, b.g_a, b.a_stride, 1 - (double)par->decay,
                               b.g + BY_POOL);
            decay_back(&b);
        }
        membrane_back(&b, par->decay);
    }
}

/* By q - mean, tile and halo. */
static void convis_back_add(void *ctx, int y, const real *restrict row, int reach)
{
    gain_back *b = ctx;
    int n = b->tile->nx + 2 * reach;
    real *restrict gq = b->gq + y * b->gq_stride - reach;
    row -= reach;
    for (int x = 0; x < n; x++) {
        gq[x] += row[x];
    }
    b->sum_back += cpu_total(row, n);
}

/* A_t = K(q - mean) + mean */
void cpu_gain_convis_back(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, const dreal *before,
                          int64_t before_stride, view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, view gq,
                          double *g_mean, double *g, int64_t g_stride)
{
    gain_views v = {input, v_before, g_v, g_input, g_before, before, before_stride, g_adaptation, g_adaptation_stride, g, g_stride};
    for (int l = 0; l < input.nleaf; l++) {
        gain_back b = gain_back_context(be, p, par, l, &v);
        b.forward.pooled = cpu_plane(q, l, 0, 0);
        b.forward.pooled_stride = q.row_stride;
        b.forward.mean = (real)mean;
        b.gq = cpu_plane(gq, l, 0, 0);
        b.gq_stride = gq.row_stride;
        for (int y = -gq.halo; y < b.tile->ny + gq.halo; y++) {
            memset(b.gq + y * b.gq_stride - gq.halo, 0, (size_t)(b.tile->nx + 2 * gq.halo) * sizeof(real));
        }
        cpu_blur_plane_back(be, p, b.tile, &(blur_back_io){&b, gain_back_row, convis_back_add});
        g_mean[l] = -b.sum_back;
        for (int y = 0; y < b.tile->ny; y++) {
            g_mean[l] += cpu_total(b.g_a + y * b.a_stride, b.tile->nx);
        }
        if (g) {
            cpu_blur_plane_par(be, p, b.tile, &(blur_io){&b.forward, convis_row, NULL, NULL, 0}, b.g_a, b.a_stride, 1, b.g + CONVIS_BY_POOL);
        }
        membrane_back(&b, 0);
    }
}

/* q = feedback V^2 b0 - a1 A. */
void cpu_gain_q_back(backend *be, const gain_par *par, view v_before, const dreal *before, int64_t before_stride, view gq, double mean_share,
                     view g_before, dreal *g_adaptation, int64_t g_adaptation_stride, double *g, int64_t g_stride)
{
    (void)be;
    real share = (real)mean_share, feedback = par->feedback_hz, b0 = par->b0, a1 = par->a1;
    for (int l = 0; l < gq.nleaf; l++) {
        const grid_tile *tile = &gq.tile[l];
        double by_v2 = 0, by_a = 0; /* sums of the derivative by q times V^2, and times A */
        for (int y = 0; y < tile->ny; y++) {
            const real *by_q = cpu_plane(gq, l, 0, 0) + y * gq.row_stride, *v = cpu_plane(v_before, l, 0, 0) + y * v_before.row_stride;
            const real *a = host_const(before) + l * before_stride + (int64_t)y * gq.pad_nx;
            real *g_v = cpu_plane(g_before, l, 0, 0) + y * g_before.row_stride;
            real *g_a = host(g_adaptation) + l * g_adaptation_stride + (int64_t)y * gq.pad_nx;
            for (int x = 0; x < tile->nx; x++) {
                real d = by_q[x] + share;
                g_v[x] += d * 2 * feedback * b0 * v[x];
                g_a[x] -= d * a1;
                by_v2 += (double)(d * v[x] * v[x]);
                by_a += (double)(d * a[x]);
            }
        }
        if (g) {
            g[l * g_stride + BY_FEEDBACK] += by_v2 * (double)b0;
            g[l * g_stride + BY_B0] += by_v2 * (double)feedback;
            g[l * g_stride + BY_A1] -= by_a;
        }
    }
}

/* gpu_gain_back.cu - adjoint of a step of gain control: through the pool first, which needs the derivative by A_t, then through the membrane, after
 * which it is that by A_(t-1). */
#include "gpu_gain.cuh"

enum { BY_GAIN, BY_LEAK, BY_FEEDBACK, BY_DECAY, BY_POOL, BY_B0 = BY_DECAY, BY_A1, CONVIS_BY_POOL };
enum { MOST_SUMS = BY_POOL };

/* What the adjoint reads and writes. */
struct gain_back {
    gain_par par;
    gpu_view input, before, a, g_v, g_a, g_input, g_before; /* g_input: at NULL: not wanted */
    real keep;        /* of g_a */
    const real *bias; /* of free taps; NULL: none */
    int nsum;         /* 0, or by gain and leak, or up to decay */
    double *part;
};

__device__ static inline real *at(const gpu_view &v, int leaf, int y, int x)
{
    return gpu_plane(v, leaf, 0, 0) + y * v.row_stride + x;
}

/* A_t = (1-c) P + c A_(t-1): by c it is A_(t-1) - P; the sum of g_a P is that of the blur's adjoint times q, taken there, and the bias. */
__device__ static inline void membrane_pixel(const gain_back &b, int leaf, int y, int x, double sum[MOST_SUMS])
{
    real a = *at(b.a, leaf, y, x), *g_a = at(b.g_a, leaf, y, x), by_v, by_current, by_g, by_gain;
    cell_gain_membrane_back(*at(b.before, leaf, y, x), *at(b.input, leaf, y, x), b.par.leak_hz + a, b.par.gain_hz, b.par.dt_s, *at(b.g_v, leaf, y, x), &by_v,
                            &by_current, &by_g, &by_gain);
    sum[BY_GAIN] = (double)by_gain;
    sum[BY_LEAK] = (double)by_g;
    sum[BY_DECAY] = (double)*g_a * ((double)a - (b.bias ? (double)*b.bias : 0));
    *at(b.g_before, leaf, y, x) += by_v;
    *g_a = b.keep * *g_a + by_g;
    if (b.g_input.at) {
        *at(b.g_input, leaf, y, x) += by_current;
    }
}

__global__ static void membrane_kernel(gain_back b)
{
    int64_t i = gpu_thread();
    for (int64_t leaf = blockIdx.y; leaf < b.input.nleaf; leaf += gridDim.y) {
        int y, x;
        double sum[MOST_SUMS] = {0};
        if (gpu_pixel(b.input.tile[leaf], b.input.pad_nx, i, &y, &x)) {
            membrane_pixel(b, (int)leaf, y, x, sum);
        }
        for (int k = 0; k < MOST_SUMS; k++) {
            double all = k < b.nsum ? gpu_block_sum(sum[k]) : 0;
            if (k < b.nsum && threadIdx.x == 0) {
                b.part[(leaf * gridDim.x + blockIdx.x) * b.nsum + k] = all;
            }
        }
    }
}

static void membrane_back(backend *be, gain_back b, double *g, int64_t g_stride, int nsum)
{
    int64_t pixels = (int64_t)b.input.pad_ny * b.input.pad_nx;
    int blocks = (int)gpu_blocks(pixels);
    double *result = NULL;
    if (g) {
        b.nsum = nsum;
        result = gpu_result(be, b.input.nleaf, 1, nsum, g, g_stride, true);
        b.part = (double *)gpu_scratch(be, (size_t)b.input.nleaf * (size_t)(blocks * nsum) * sizeof(double));
    }
    LAUNCH(be, membrane_kernel, gpu_grid(pixels, b.input.nleaf), GPU_THREADS, b);
    if (g) {
        gpu_sum_parts(be, b.input.nleaf, blocks, nsum, b.part, result);
    }
}

/* The pass that takes the derivative by A_t back through the blur. */
static blur_pass pool_pass(backend *be, const blur_plan *plan, view input, const gpu_view &g_a)
{
    blur_pass p = gpu_blur_begin(be, input, 1, 1);
    p.from.from = FROM_PLAIN;
    p.from.a = g_a;
    p.spread = plan->radius;
    return p;
}

void gpu_gain_step_back(backend *be, const blur_plan *plan, const gain_par *par, view input, view v_before, const dreal *before, int64_t before_stride,
                        view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, double *g, int64_t g_stride)
{
    if (input.nleaf == 0) {
        return;
    }
    bool is_free = plan->desc.method == BLUR_TAPS;
    gain_back b = {*par, gpu_see(be, input), gpu_see(be, v_before), gpu_gain_planes(be, input, before, before_stride), gpu_see(be, g_v),
                   gpu_gain_planes(be, input, g_adaptation, g_adaptation_stride), gpu_see(be, g_input), gpu_see(be, g_before), par->decay,
                   is_free ? plan->free + (2 * plan->radius + 1) * (2 * plan->radius + 1) : NULL, 0, NULL};
    blur_pass p = pool_pass(be, plan, input, b.g_a);
    p.to.to = TO_POOL_BACK;
    p.to.before = b.g_before;
    p.to.input = b.before;
    p.to.par = *par;
    p.to.inverse_saturation = 1 / par->saturation;
    if (g) {
        p.nsum = 2;
        p.result = gpu_result(be, p.nleaf, 1, 2, g + BY_FEEDBACK, g_stride, true);
    }
    if (par->feedback_hz != 0 || g) { /* something is pooled, or could be */
        gpu_blur_run(be, plan, BLUR_ADJOINT, p);
    }
    if (g) {
        p.from = gpu_gain_source(be, plan, par, v_before);
        gpu_blur_par(be, plan, p, b.g_a, 1 - (double)par->decay, g + BY_POOL, g_stride);
    }
    membrane_back(be, b, g, g_stride, BY_DECAY + 1);
}

/* A_t = K(q - mean) + mean */
void gpu_gain_convis_back(backend *be, const blur_plan *plan, const gain_par *par, double mean, view input, view v_before, view q, const dreal *before,
                          int64_t before_stride, view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, view gq,
                          double *g_mean, double *g, int64_t g_stride)
{
    if (input.nleaf == 0) {
        return;
    }
    gain_back b = {*par, gpu_see(be, input), gpu_see(be, v_before), gpu_gain_planes(be, input, before, before_stride), gpu_see(be, g_v),
                   gpu_gain_planes(be, input, g_adaptation, g_adaptation_stride), gpu_see(be, g_input), gpu_see(be, g_before), 0, NULL, 0, NULL};
    blur_pass p = pool_pass(be, plan, input, b.g_a);
    p.to.to = TO_CONVIS_BACK;
    p.to.out = gpu_see(be, gq);
    p.to.other = b.g_a;
    p.spread = gq.halo; /* 0 beyond the radius */
    p.nsum = 1;
    p.result = gpu_result(be, p.nleaf, 1, 1, g_mean, 1, false);
    gpu_blur_run(be, plan, BLUR_ADJOINT, p);
    if (g) {
        p.from = gpu_gain_source(be, plan, par, q);
        p.from.from = FROM_SHIFT;
        p.from.mean = (real)mean;
        gpu_blur_par(be, plan, p, b.g_a, 1, g + CONVIS_BY_POOL, g_stride);
    }
    membrane_back(be, b, g, g_stride, BY_LEAK + 1);
}

/* --- q = feedback V^2 b0 - a1 A -------------------------------------------------------------------------------------------------------------- */
enum { NQ = BY_A1 + 1 - BY_FEEDBACK };

__global__ static void q_back_kernel(gain_par par, real share, gpu_view v, gpu_view a, gpu_view gq, gpu_view g_v, gpu_view g_a, double *part)
{
    int64_t i = gpu_thread();
    for (int64_t leaf = blockIdx.y; leaf < gq.nleaf; leaf += gridDim.y) {
        int y, x, l = (int)leaf;
        double sum[NQ] = {0};
        if (gpu_pixel(gq.tile[l], gq.pad_nx, i, &y, &x)) {
            real d = *at(gq, l, y, x) + share, u = *at(v, l, y, x), adapted = *at(a, l, y, x);
            double by_v2 = (double)(d * u * u);
            *at(g_v, l, y, x) += d * 2 * par.feedback_hz * par.b0 * u;
            *at(g_a, l, y, x) -= d * par.a1;
            sum[0] = by_v2 * (double)par.b0;
            sum[BY_B0 - BY_FEEDBACK] = by_v2 * (double)par.feedback_hz;
            sum[BY_A1 - BY_FEEDBACK] = -(double)(d * adapted);
        }
        for (int k = 0; part && k < NQ; k++) {
            double all = gpu_block_sum(sum[k]);
            if (threadIdx.x == 0) {
                part[(leaf * gridDim.x + blockIdx.x) * NQ + k] = all;
            }
        }
    }
}

void gpu_gain_q_back(backend *be, const gain_par *par, view v_before, const dreal *before, int64_t before_stride, view gq, double mean_share,
                     view g_before, dreal *g_adaptation, int64_t g_adaptation_stride, double *g, int64_t g_stride)
{
    if (gq.nleaf == 0) {
        return;
    }
    int64_t pixels = (int64_t)gq.pad_ny * gq.pad_nx;
    int blocks = (int)gpu_blocks(pixels);
    double *result = g ? gpu_result(be, gq.nleaf, 1, NQ, g + BY_FEEDBACK, g_stride, true) : NULL;
    double *part = g ? (double *)gpu_scratch(be, (size_t)gq.nleaf * (size_t)(blocks * NQ) * sizeof(double)) : NULL;
    LAUNCH(be, q_back_kernel, gpu_grid(pixels, gq.nleaf), GPU_THREADS, *par, (real)mean_share, gpu_see(be, v_before),
           gpu_gain_planes(be, gq, before, before_stride), gpu_see(be, gq), gpu_see(be, g_before),
           gpu_gain_planes(be, gq, g_adaptation, g_adaptation_stride), part);
    if (g) {
        gpu_sum_parts(be, gq.nleaf, blocks, NQ, part, result);
    }
}

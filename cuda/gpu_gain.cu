/* gpu_gain.cu - one step of contrast gain control: the pool of the last voltage, its blur and the membrane in one pass. */
#include "gpu_gain.cuh"

gpu_view gpu_gain_planes(backend *be, view like, const dreal *at, int64_t leaf_stride)
{
    view v = like;
    v.at = (dreal *)at;
    v.halo = 0;
    v.leaf_stride = leaf_stride;
    v.frame_stride = v.chan_stride = (int64_t)like.pad_ny * like.pad_nx;
    v.row_stride = like.pad_nx;
    return gpu_see(be, v);
}

blur_source gpu_gain_source(backend *be, const blur_plan *plan, const gain_par *par, view v_before)
{
    blur_source f = blur_source();
    f.from = FROM_POOL;
    f.a = gpu_see(be, v_before);
    f.feedback = par->feedback_hz;
    f.inverse_saturation = 1 / par->saturation;
    f.reach = plan->radius;
    return f;
}

/* V_t uses A_(t-1), and A_t the blurred q(V_(t-1)). */
static blur_sink membrane(backend *be, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride, view v, view keep)
{
    blur_sink k = blur_sink();
    k.to = TO_MEMBRANE;
    k.out = gpu_see(be, v);
    k.before = gpu_see(be, v_before);
    k.input = gpu_see(be, input);
    k.adaptation = gpu_gain_planes(be, input, adaptation, adaptation_stride);
    k.keep = gpu_see(be, keep);
    k.par = *par;
    return k;
}

/* Nothing is pooled. */
__global__ static void alone_kernel(blur_pass p)
{
    int64_t i = gpu_thread();
    for (int64_t plane = blockIdx.y; plane < blur_planes(p); plane += gridDim.y) {
        blur_place q = blur_at(p, plane);
        int y, x;
        if (gpu_pixel(q.tile, p.pad_nx, i, &y, &x)) {
            blur_membrane(p.to, q, y, x, 0);
        }
    }
}

void gpu_gain_step(backend *be, const blur_plan *plan, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride, view v,
                   view keep)
{
    if (input.nleaf == 0) {
        return;
    }
    blur_pass p = gpu_blur_begin(be, input, 1, 1);
    p.from = gpu_gain_source(be, plan, par, v_before);
    p.to = membrane(be, par, input, v_before, adaptation, adaptation_stride, v, keep);
    if (par->feedback_hz == 0 && plan->desc.method != BLUR_TAPS) {
        LAUNCH(be, alone_kernel, gpu_grid((int64_t)p.pad_ny * p.pad_nx, blur_planes(p)), GPU_THREADS, p);
    } else {
        gpu_blur_run(be, plan, BLUR_FORWARD, p);
    }
}

/* --- Convis: q = feedback V^2 b0 - a1 A, and its sum over each leaf -------------------------------------------------------------------- */
__global__ static void q_kernel(gain_par par, gpu_view v, gpu_view a, gpu_view q, double *part)
{
    int64_t i = gpu_thread();
    for (int64_t leaf = blockIdx.y; leaf < q.nleaf; leaf += gridDim.y) {
        int y, x;
        double mine = 0;
        if (gpu_pixel(q.tile[leaf], q.pad_nx, i, &y, &x)) {
            real u = gpu_plane(v, (int)leaf, 0, 0)[y * v.row_stride + x];
            real value = par.feedback_hz * u * u * par.b0 - par.a1 * gpu_plane(a, (int)leaf, 0, 0)[y * a.row_stride + x];
            gpu_plane(q, (int)leaf, 0, 0)[y * q.row_stride + x] = value;
            mine = (double)value;
        }
        double sum = gpu_block_sum(mine);
        if (threadIdx.x == 0) {
            part[leaf * gridDim.x + blockIdx.x] = sum;
        }
    }
}

void gpu_gain_q(backend *be, const gain_par *par, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum)
{
    if (q.nleaf == 0) {
        return;
    }
    int64_t pixels = (int64_t)q.pad_ny * q.pad_nx;
    int blocks = (int)gpu_blocks(pixels);
    double *result = gpu_result(be, q.nleaf, 1, 1, leaf_sum, 1, false);
    double *part = (double *)gpu_scratch(be, (size_t)q.nleaf * (size_t)blocks * sizeof(double));
    LAUNCH(be, q_kernel, gpu_grid(pixels, q.nleaf), GPU_THREADS, *par, gpu_see(be, v_before), gpu_gain_planes(be, q, adaptation, adaptation_stride),
           gpu_see(be, q), part);
    gpu_sum_parts(be, q.nleaf, blocks, 1, part, result);
}

void gpu_gain_convis(backend *be, const blur_plan *plan, const gain_par *par, double mean, view input, view v_before, view q, dreal *adaptation,
                     int64_t adaptation_stride, view v, view keep)
{
    blur_pass p = gpu_blur_begin(be, input, 1, 1);
    p.from = gpu_gain_source(be, plan, par, q);
    p.from.from = FROM_SHIFT;
    p.from.mean = (real)mean;
    p.to = membrane(be, par, input, v_before, adaptation, adaptation_stride, v, keep);
    p.to.to = TO_CONVIS;
    p.to.mean = (real)mean;
    gpu_blur_run(be, plan, BLUR_FORWARD, p);
}

/* gpu_conv.c - convolution entries of the CUDA backend.  The algorithm is chosen as on the CPU (conv_core), so that a plan, its state and its restart
 * file do not depend on the device.
 *
 *   FFT         cuFFT and a multiplication of spectra                     gpu_conv_fft
 *   SEPARABLE   filters along time, rows and columns                      gpu_conv_separable
 *   DIRECT, WINDOW  the sum as it stands; the two differ on a CPU only    gpu_conv_direct
 *
 * cuDNN is not used: it is 400 MB of library (and more of its own memory) for sums whose kernels are small, and it knows neither lags nor a past. */
#include "gpu_conv.h"

#include "base/error.h"
#include "base/memory.h"
#include "compute/conv.h"

_Static_assert((int)FFT_BLOCK == (int)CONV_BLOCK, "states are written by both backends");

struct conv_plan {
    conv_desc desc;
    conv_info info;
    conv_shape shape;
    gpu_fft *fft; /* the one of info.algorithm */
    gpu_separable *separable;
    gpu_direct direct; /* also the adjoint of separable, by the kernel */
    real *bias;         /* device, [nchan_out]; NULL: none */
};

static conv_shape shape_of(const conv_desc *d)
{
    int nin = d->nchan_in / d->groups;
    return (conv_shape){.nchan_in = d->nchan_in, .nchan_out = d->nchan_out, .groups = d->groups, .nin = nin, .nout = d->nchan_out / d->groups,
                        .kt = d->kt, .ky = d->ky, .kx = d->kx, .tile_ny = d->tile_ny, .tile_nx = d->tile_nx, .before_y = conv_before(d->ky),
                        .before_x = conv_before(d->kx), .ntap = nin * d->kt * d->ky * d->kx};
}

static void take_bias(backend *be, const conv_plan *p, const real *kernel)
{
    if (p->bias) {
        gpu_put(be, p->bias, kernel + conv_kernel_reals(&p->desc), (size_t)p->desc.nchan_out * sizeof(real));
    }
}

static void set_direct(backend *be, const gpu_direct *p, const real *kernel)
{
    gpu_put(be, p->kernel, kernel, (size_t)p->nkernel * sizeof(real));
    gpu_direct_set(be, p);
}

static void create_direct(backend *be, conv_plan *p, const real *kernel)
{
    gpu_direct *q = &p->direct;
    q->c = p->shape;
    q->nkernel = conv_kernel_reals(&p->desc);
    q->kernel = gpu_malloc(be, (size_t)q->nkernel * sizeof(real));
    q->forward = gpu_malloc(be, (size_t)gpu_direct_room(&q->c, false) * sizeof(real));
    q->back = p->desc.differentiate ? gpu_malloc(be, (size_t)gpu_direct_room(&q->c, true) * sizeof(real)) : NULL;
    set_direct(be, q, kernel);
}

conv_plan *gpu_conv_create(backend *be, const conv_desc *d, const real *kernel)
{
    ASSERT(d->groups > 0 && d->nchan_in % d->groups == 0 && d->nchan_out % d->groups == 0);
    ASSERT(d->kt > 0 && d->ky > 0 && d->kx > 0 && d->tile_ny > 0 && d->tile_nx > 0 && d->max_nt > 0);
    conv_plan *p = MEMORY_NEW(conv_plan, 1);
    conv_factors *factors;
    p->desc = *d;
    p->shape = shape_of(d);
    p->info = conv_choose(d, &conv_core, kernel, &factors);
    p->bias = d->bias ? gpu_malloc(be, (size_t)d->nchan_out * sizeof(real)) : NULL;
    take_bias(be, p, kernel);
    ASSERT(!d->like || d->like->info.algorithm == p->info.algorithm);
    if (p->info.algorithm == CONV_FFT) {
        p->fft = gpu_fft_create(be, &p->shape, p->info.fft_ny, p->info.fft_nx, kernel, d->like ? d->like->fft : NULL);
    } else if (p->info.algorithm == CONV_SEPARABLE) {
        p->separable = gpu_separable_create(be, &p->shape, factors);
    } else {
        create_direct(be, p, kernel);
    }
    conv_factors_destroy(factors);
    return p;
}

/* SEPARABLE: of any rank, by building it anew. */
void gpu_conv_set(backend *be, conv_plan *p, const real *kernel)
{
    take_bias(be, p, kernel);
    if (p->fft) {
        gpu_fft_set(be, p->fft, kernel);
    } else if (p->separable) {
        conv_desc d = p->desc;
        conv_factors *factors;
        d.algorithm = CONV_SEPARABLE;
        p->info.rank = conv_choose(&d, &conv_core, kernel, &factors).rank;
        gpu_separable_destroy(be, p->separable);
        p->separable = gpu_separable_create(be, &p->shape, factors);
        conv_factors_destroy(factors);
    } else {
        set_direct(be, &p->direct, kernel);
    }
}

conv_info gpu_conv_look(const conv_plan *p)
{
    return p->info;
}

void gpu_conv_destroy(backend *be, conv_plan *p)
{
    if (p) {
        gpu_fft_destroy(be, p->fft);
        gpu_separable_destroy(be, p->separable);
        gpu_free(be, p->direct.kernel);
        gpu_free(be, p->direct.forward);
        gpu_free(be, p->direct.back);
        gpu_free(be, p->bias);
        memory_free(p);
    }
}

static void check_input(const conv_plan *p, const view *x)
{
    ASSERT(x->nchan == p->desc.nchan_in && x->halo >= p->info.halo_before && x->halo >= p->info.halo_after);
    for (int l = 0; l < x->nleaf; l++) {
        ASSERT(x->tile[l].ny <= p->desc.tile_ny && x->tile[l].nx <= p->desc.tile_nx);
    }
}

void gpu_conv_taped(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape, int64_t tape_stride)
{
    check_input(p, &x);
    ASSERT(nt >= 0 && nt <= p->desc.max_nt && y.nchan == p->desc.nchan_out && y.nleaf == x.nleaf);
    if (nt == 0 || x.nleaf == 0) {
        return;
    }
    if (p->fft) {
        gpu_fft_forward(be, p->fft, nt, x, (real *)state, state_stride, y, p->bias, (real *)tape, tape_stride);
    } else if (p->separable) {
        gpu_separable_forward(be, p->separable, nt, x, y, p->bias);
    } else {
        gpu_direct_forward(be, &p->direct, nt, x, y, p->bias);
    }
}

void gpu_conv(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y)
{
    gpu_conv_taped(be, p, nt, x, state, state_stride, y, NULL, 0);
}

void gpu_conv_back(backend *be, const conv_plan *p, int nt, view x, const dreal *state, const dreal *tape, int64_t tape_stride, int64_t state_stride,
                   view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride)
{
    check_input(p, &x);
    ASSERT(p->desc.differentiate && nt >= 0 && nt <= p->desc.max_nt && gy.nchan == p->desc.nchan_out && gy.nleaf == x.nleaf);
    if (nt == 0 || x.nleaf == 0) {
        return;
    }
    if (p->fft) {
        gpu_fft_back(be, p->fft, nt, (const real *)state, state_stride, (const real *)tape, tape_stride, gy, (real *)g_state, g_state_stride, gx,
                      g_kernel, g_kernel_stride);
    } else {
        if (gx.at && p->separable) {
            gpu_separable_back(be, p->separable, nt, gy, gx);
        } else if (gx.at) {
            gpu_direct_back_input(be, &p->direct, nt, gy, gx);
        }
        if (g_kernel) {
            gpu_direct_back_kernel(be, &p->shape, nt, x, gy, g_kernel, g_kernel_stride);
        }
    }
    if (g_kernel && p->bias) {
        gpu_conv_bias_back(be, nt, gy, g_kernel + conv_kernel_reals(&p->desc), g_kernel_stride);
    }
}

void gpu_conv_start(backend *be, const conv_plan *p, view x_first, dreal *state, int64_t state_stride)
{
    check_input(p, &x_first);
    if (p->fft && p->desc.kt > 1 && x_first.nleaf > 0) {
        gpu_fft_start(be, p->fft, x_first, (real *)state, state_stride);
    }
}

void gpu_conv_start_back(backend *be, const conv_plan *p, int nleaf, const grid_tile *tile, const dreal *g_state, int64_t g_state_stride,
                         view gx_first, double *g_rest)
{
    if (p->fft && p->desc.kt > 1 && nleaf > 0) {
        gpu_fft_start_back(be, p->fft, nleaf, tile, (const real *)g_state, g_state_stride, gx_first, g_rest);
    }
}

/* cpu_conv.c - convolution entries of the CPU backend: choose once, then leaf by leaf. */
#include "compute/cpu_conv.h"

#include <omp.h>

#include "base/error.h"
#include "base/memory.h"

struct conv_plan {
    conv_desc desc;
    conv_info info;
    conv_fft *fft;             /* exactly one of the three */
    conv_direct *direct;
    conv_separable *separable;
};

conv_plan *cpu_conv_create(backend *be, const conv_desc *d, const real *kernel)
{
    (void)be;
    ASSERT(d->groups > 0 && d->nchan_in % d->groups == 0 && d->nchan_out % d->groups == 0);
    ASSERT(d->kt > 0 && d->ky > 0 && d->kx > 0 && d->tile_ny > 0 && d->tile_nx > 0 && d->max_nt > 0);
    conv_plan *p = MEMORY_NEW(conv_plan, 1);
    conv_factors *factors;
    p->desc = *d;
    p->info = conv_choose(d, &conv_core, kernel, &factors);
    int nthread = omp_get_max_threads();
    if (p->info.algorithm == CONV_FFT) {
        p->fft = conv_fft_create(d, &p->info, nthread, kernel);
    } else if (p->info.algorithm == CONV_SEPARABLE) {
        p->separable = conv_separable_create(d, nthread, factors);
    } else {
        p->direct = conv_direct_create(d, nthread, kernel);
    }
    conv_factors_destroy(factors);
    return p;
}

conv_info cpu_conv_look(const conv_plan *p)
{
    return p->info;
}

const conv_fft *cpu_conv_fft_of(const conv_plan *p)
{
    return p->fft;
}

void cpu_conv_destroy(backend *be, conv_plan *p)
{
    (void)be;
    if (p) {
        conv_fft_destroy(p->fft);
        conv_direct_destroy(p->direct);
        conv_separable_destroy(p->separable);
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

void cpu_conv(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y)
{
    (void)be;
    check_input(p, &x);
    ASSERT(nt >= 0 && nt <= p->desc.max_nt && y.nchan == p->desc.nchan_out && y.nleaf == x.nleaf);
    for (int l = 0; l < x.nleaf; l++) {
        if (p->fft) {
            conv_fft_leaf(p->fft, l, nt, &x, host(state) + l * state_stride, &y);
        } else if (p->separable) {
            conv_separable_leaf(p->separable, l, nt, &x, &y);
        } else {
            conv_direct_leaf(p->direct, l, nt, &x, &y);
        }
    }
}

void cpu_conv_start(backend *be, const conv_plan *p, view x_first, dreal *state, int64_t state_stride)
{
    (void)be;
    check_input(p, &x_first);
    for (int l = 0; p->fft && l < x_first.nleaf; l++) {
        conv_fft_start(p->fft, l, &x_first, host(state) + l * state_stride);
    }
}

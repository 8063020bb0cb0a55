/* cpu_conv.c - convolution entries of the CPU backend: choose once, then leaf by leaf. */
#include "compute/cpu_conv.h"

#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu.h"

struct conv_plan {
    conv_desc desc;
    conv_info info;
    conv_fft *fft; /* the one of info.algorithm */
    conv_direct *direct;
    conv_separable *separable;
    conv_window *window; /* also the adjoint of direct and separable */
    real *bias;          /* [nchan_out]; NULL: none */
};

static void build_separable(conv_plan *p, const conv_factors *factors)
{
    conv_separable_destroy(p->separable);
    p->separable = conv_separable_create(&p->desc, omp_get_max_threads(), factors);
}

static void take_bias(conv_plan *p, const real *kernel)
{
    if (p->bias) {
        memcpy(p->bias, kernel + conv_kernel_reals(&p->desc), (size_t)p->desc.nchan_out * sizeof(real));
    }
}

conv_plan *cpu_conv_create(backend *be, const conv_desc *d, const real *kernel)
{
    (void)be;
    ASSERT(d->groups > 0 && d->nchan_in % d->groups == 0 && d->nchan_out % d->groups == 0);
    ASSERT(d->kt > 0 && d->ky > 0 && d->kx > 0 && d->tile_ny > 0 && d->tile_nx > 0 && d->max_nt > 0);
    conv_plan *p = MEMORY_NEW(conv_plan, 1);
    conv_factors *factors;
    p->desc = *d;
    p->info = conv_choose(d, &conv_core, kernel, &factors);
    p->bias = d->bias ? MEMORY_NEW(real, d->nchan_out) : NULL;
    take_bias(p, kernel);
    int nthread = omp_get_max_threads();
    ASSERT(!d->like || d->like->info.algorithm == p->info.algorithm);
    if (p->info.algorithm == CONV_FFT) {
        p->fft = conv_fft_create(d, &p->info, nthread, kernel, d->like ? d->like->fft : NULL);
    } else if (p->info.algorithm == CONV_SEPARABLE) {
        build_separable(p, factors);
    } else if (p->info.algorithm == CONV_DIRECT) {
        p->direct = conv_direct_create(d, nthread, kernel);
    }
    if (p->info.algorithm == CONV_WINDOW || (d->differentiate && p->info.algorithm != CONV_FFT)) {
        p->window = conv_window_create(d, nthread, kernel, d->like ? d->like->window : NULL);
    }
    conv_factors_destroy(factors);
    return p;
}

/* SEPARABLE: of any rank, by building it anew. */
void cpu_conv_set(backend *be, conv_plan *p, const real *kernel)
{
    (void)be;
    take_bias(p, kernel);
    if (p->fft) {
        conv_fft_set(p->fft, kernel);
    }
    if (p->direct) {
        conv_direct_set(p->direct, kernel);
    }
    if (p->separable) {
        conv_desc d = p->desc;
        conv_factors *factors;
        d.algorithm = CONV_SEPARABLE;
        p->info.rank = conv_choose(&d, &conv_core, kernel, &factors).rank;
        build_separable(p, factors);
        conv_factors_destroy(factors);
    }
    if (p->window) {
        conv_window_set(p->window, kernel);
    }
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
        conv_window_destroy(p->window);
        memory_free(p->bias);
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

static void add_bias(const conv_plan *p, int leaf, int nt, const view *y)
{
    int ny = y->tile[leaf].ny, nx = y->tile[leaf].nx;
    for (int t = 0; t < nt; t++) {
        for (int o = 0; o < y->nchan; o++) {
            real *row = cpu_plane(*y, leaf, t, o);
            for (int r = 0; r < ny; r++, row += y->row_stride) {
                for (int x = 0; x < nx; x++) {
                    row[x] += p->bias[o];
                }
            }
        }
    }
}

/* g[o] += sum over steps and pixels. */
static void add_sums(int leaf, int nt, const view *gy, double *g)
{
    int ny = gy->tile[leaf].ny, nx = gy->tile[leaf].nx;
    for (int t = 0; t < nt; t++) {
        for (int o = 0; o < gy->nchan; o++) {
            const real *row = cpu_plane(*gy, leaf, t, o);
            for (int r = 0; r < ny; r++, row += gy->row_stride) {
                double sum = 0;
                for (int x = 0; x < nx; x++) {
                    sum += (double)row[x];
                }
                g[o] += sum;
            }
        }
    }
}

void cpu_conv_taped(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape, int64_t tape_stride)
{
    (void)be;
    check_input(p, &x);
    ASSERT(nt >= 0 && nt <= p->desc.max_nt && y.nchan == p->desc.nchan_out && y.nleaf == x.nleaf);
    for (int l = 0; l < x.nleaf; l++) {
        if (p->info.algorithm == CONV_FFT) {
            conv_fft_leaf(p->fft, l, nt, &x, host(state) + l * state_stride, &y, tape ? host(tape) + l * tape_stride : NULL);
        } else if (p->info.algorithm == CONV_SEPARABLE) {
            conv_separable_leaf(p->separable, l, nt, &x, &y);
        } else if (p->info.algorithm == CONV_DIRECT) {
            conv_direct_leaf(p->direct, l, nt, &x, &y);
        } else {
            conv_window_leaf(p->window, l, nt, &x, &y);
        }
        if (p->bias) {
            add_bias(p, l, nt, &y);
        }
    }
}

void cpu_conv(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y)
{
    cpu_conv_taped(be, p, nt, x, state, state_stride, y, NULL, 0);
}

void cpu_conv_back(backend *be, const conv_plan *p, int nt, view x, const dreal *state, const dreal *tape, int64_t tape_stride, int64_t state_stride,
                   view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride)
{
    (void)be;
    check_input(p, &x);
    ASSERT(p->desc.differentiate && nt >= 0 && nt <= p->desc.max_nt && gy.nchan == p->desc.nchan_out && gy.nleaf == x.nleaf);
    for (int l = 0; l < x.nleaf; l++) {
        double *g = g_kernel ? g_kernel + l * g_kernel_stride : NULL;
        const view *want = gx.at ? &gx : NULL;
        if (p->info.algorithm == CONV_FFT) {
            conv_fft_back(p->fft, l, nt, host_const(state) + l * state_stride, tape ? host_const(tape) + l * tape_stride : NULL, &gy,
                          host(g_state) + l * g_state_stride, want, g);
        } else {
            if (want && p->info.algorithm == CONV_SEPARABLE) {
                conv_separable_back(p->separable, l, nt, &gy, want);
            } else if (want) {
                conv_window_back_input(p->window, l, nt, &gy, want);
            }
            if (g) {
                conv_window_back_kernel(p->window, l, nt, &x, &gy, g);
            }
        }
        if (g && p->bias) {
            add_sums(l, nt, &gy, g + conv_kernel_reals(&p->desc));
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

void cpu_conv_start_back(backend *be, const conv_plan *p, int nleaf, const grid_tile *tile, const dreal *g_state, int64_t g_state_stride,
                         view gx_first, double *g_rest)
{
    (void)be;
    for (int l = 0; p->fft && l < nleaf; l++) {
        double sum = conv_fft_start_back(p->fft, l, &tile[l], host_const(g_state) + l * g_state_stride, gx_first.at ? &gx_first : NULL);
        if (g_rest) {
            g_rest[l] += sum;
        }
    }
}

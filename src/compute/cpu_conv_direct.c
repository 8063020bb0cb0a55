/* cpu_conv_direct.c - the sum as it stands, and the row filter it shares with the separable form.
 * A row of pixels is a few registers that stay put while all taps pass by. */
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"
#include "compute/cpu_vec.h"

/* nout x nvec registers at pixel x.  Inlined with constants, so that the loops over o and v disappear. */
static inline __attribute__((always_inline)) void fir_block(int nout, int nvec, int ntap, const int64_t *offset, const real *weight, const real *at,
                                                            int x, real *const out[])
{
    vec sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < nout * nvec; i++) {
        sum[i] = (vec){0};
    }
    for (int n = 0; n < ntap; n++) {
        const real *from = at + offset[n] + x;
#pragma GCC unroll 8
        for (int i = 0; i < nout * nvec; i++) {
            sum[i] += weight[n * nout + i / nvec] * vec_load(from + i % nvec * VEC);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < nout * nvec; i++) {
        vec_store(out[i / nvec] + x + i % nvec * VEC, sum[i]);
    }
}

/* Rows shorter than a register. */
static void fir_short(int nout, int ntap, const int64_t *offset, const real *weight, const real *at, int nx, real *const out[])
{
    for (int o = 0; o < nout; o++) {
        real sum[VEC] = {0};
        for (int n = 0; n < ntap; n++) {
            for (int x = 0; x < nx; x++) {
                sum[x] += weight[n * nout + o] * at[offset[n] + x];
            }
        }
        memcpy(out[o], sum, (size_t)nx * sizeof(real));
    }
}

void cpu_fir(int nout, int ntap, const int64_t *offset, const real *weight, const real *at, int nx, real *const out[])
{
    if (nx < VEC) {
        fir_short(nout, ntap, offset, weight, at, nx, out);
        return;
    }
    int x = 0;
    if (nout == 1) {
        for (; x + 8 * VEC <= nx; x += 8 * VEC) {
            fir_block(1, 8, ntap, offset, weight, at, x, out);
        }
        for (; x + 4 * VEC <= nx; x += 4 * VEC) {
            fir_block(1, 4, ntap, offset, weight, at, x, out);
        }
    } else {
        ASSERT(nout == 4);
        for (; x + 2 * VEC <= nx; x += 2 * VEC) {
            fir_block(4, 2, ntap, offset, weight, at, x, out);
        }
    }
    /* The last register overlaps pixels that are done: they get the same bits again. */
    for (; x < nx; x += VEC) {
        int begin = x + VEC <= nx ? x : nx - VEC;
        if (nout == 1) {
            fir_block(1, 1, ntap, offset, weight, at, begin, out);
        } else {
            fir_block(4, 1, ntap, offset, weight, at, begin, out);
        }
    }
}

struct conv_direct {
    conv_desc desc;
    int ntap;         /* of one output: nchan_in / groups * kt * ky * kx                  */
    int nfour;        /* outputs of a group that are done four at a time                  */
    real *weight;     /* per group: [nfour/4][ntap][4], then [rest][ntap]                 */
    int nthread;
    int64_t *offset;  /* [nthread][ntap] from an output pixel to each tap's pixel         */
};

conv_direct *conv_direct_create(const conv_desc *d, int nthread, const real *kernel)
{
    conv_direct *p = MEMORY_NEW(conv_direct, 1);
    int nout = d->nchan_out / d->groups;
    p->desc = *d;
    p->ntap = d->nchan_in / d->groups * d->kt * d->ky * d->kx;
    p->nfour = nout / 4 * 4;
    p->weight = MEMORY_NEW(real, (size_t)d->nchan_out * (size_t)p->ntap);
    conv_direct_set(p, kernel);
    p->nthread = nthread;
    p->offset = MEMORY_NEW(int64_t, (size_t)nthread * (size_t)p->ntap);
    return p;
}

void conv_direct_set(conv_direct *p, const real *kernel)
{
    int nout = p->desc.nchan_out / p->desc.groups;
    for (int o = 0; o < p->desc.nchan_out; o++) {
        int within = o % nout;
        bool four = within < p->nfour;
        real *to = p->weight + (int64_t)(four ? o - within % 4 : o) * p->ntap + (four ? within % 4 : 0);
        for (int n = 0; n < p->ntap; n++) {
            to[(int64_t)n * (four ? 4 : 1)] = kernel[(int64_t)o * p->ntap + n];
        }
    }
}

void conv_direct_destroy(conv_direct *p)
{
    if (p) {
        memory_free(p->weight);
        memory_free(p->offset);
        memory_free(p);
    }
}

static void plan_offsets(const conv_desc *d, const view *x, int64_t *offset)
{
    for (int c = 0; c < d->nchan_in / d->groups; c++) {
        for (int k = 0; k < d->kt; k++) {
            for (int j = 0; j < d->ky; j++) {
                for (int i = 0; i < d->kx; i++) {
                    *offset++ = c * x->chan_stride - k * x->frame_stride + (d->ky / 2 - j) * x->row_stride + d->kx / 2 - i;
                }
            }
        }
    }
}

void conv_direct_leaf(const conv_direct *p, int leaf, int nt, const view *x, const view *y)
{
    const conv_desc *d = &p->desc;
    ASSERT(omp_get_thread_num() < p->nthread);
    int64_t *offset = p->offset + (int64_t)omp_get_thread_num() * p->ntap;
    plan_offsets(d, x, offset);
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups, ny = x->tile[leaf].ny, nx = x->tile[leaf].nx;
    for (int r = 0; r < nt * d->groups * ny; r++) {
        int t = r / (d->groups * ny), g = r / ny % d->groups, row = r % ny;
        const real *at = host(x->at) + leaf * x->leaf_stride + t * x->frame_stride + g * nin * x->chan_stride + row * x->row_stride;
        real *to = host(y->at) + leaf * y->leaf_stride + t * y->frame_stride + g * nout * y->chan_stride + row * y->row_stride;
        const real *weight = p->weight + (int64_t)g * nout * p->ntap;
        for (int o = 0; o < nout;) {
            int n = o < p->nfour ? 4 : 1;
            real *out[4] = {to + o * y->chan_stride};
            for (int i = 1; i < n; i++) {
                out[i] = out[0] + i * y->chan_stride;
            }
            cpu_fir(n, p->ntap, offset, weight + (int64_t)o * p->ntap, at, nx, out);
            o += n;
        }
    }
}

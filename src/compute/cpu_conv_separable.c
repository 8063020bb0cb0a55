/* cpu_conv_separable.c - sums of (temporal x vertical x horizontal) filters: frames to one plane, along rows, then across rows. */
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"

struct conv_separable {
    conv_desc desc;
    int nterm, ntime, most; /* most: terms of one output */
    conv_term *term;
    int *first;             /* [nchan_out + 1] terms of each output */
    real *time, *vertical, *horizontal;
    int width;              /* reals of a row of the planes below */
    int64_t plane;          /* reals of a plane of tile_ny + ky - 1 rows */
    int nthread;
    real *scratch;          /* [nthread][1 + most][plane]: a frame after the temporal filter, then each term's after the horizontal one */
    int64_t *offset;        /* [nthread][noffset]: temporal, horizontal and vertical taps */
    int64_t noffset;
};

static real *rounded(const double *from, int64_t n)
{
    real *to = MEMORY_NEW(real, n);
    for (int64_t i = 0; i < n; i++) {
        to[i] = (real)from[i];
    }
    return to;
}

conv_separable *conv_separable_create(const conv_desc *d, int nthread, const conv_factors *f)
{
    conv_separable *p = MEMORY_NEW(conv_separable, 1);
    p->desc = *d;
    p->nterm = f->nterm;
    p->ntime = f->ntime;
    p->term = MEMORY_NEW(conv_term, f->nterm);
    p->first = MEMORY_NEW(int, d->nchan_out + 1);
    for (int n = 0; n < f->nterm; n++) {
        p->term[n] = f->term[n];
        p->first[f->term[n].out + 1]++;
    }
    for (int o = 0; o < d->nchan_out; o++) {
        p->most = p->first[o + 1] > p->most ? p->first[o + 1] : p->most;
        p->first[o + 1] += p->first[o];
    }
    p->time = rounded(f->time, (int64_t)f->ntime * d->kt);
    p->vertical = rounded(f->vertical, (int64_t)f->nterm * d->ky);
    p->horizontal = rounded(f->horizontal, (int64_t)f->nterm * d->kx);
    p->width = (d->tile_nx + d->kx - 1 + 15) / 16 * 16;
    p->plane = (int64_t)p->width * (d->tile_ny + d->ky - 1);
    p->nthread = nthread;
    p->scratch = MEMORY_NEW(real, nthread * (1 + p->most) * p->plane);
    p->noffset = d->kt + d->kx + (int64_t)p->most * d->ky;
    p->offset = MEMORY_NEW(int64_t, nthread * p->noffset);
    return p;
}

void conv_separable_destroy(conv_separable *p)
{
    if (p) {
        memory_free(p->term);
        memory_free(p->first);
        memory_free(p->time);
        memory_free(p->vertical);
        memory_free(p->horizontal);
        memory_free(p->scratch);
        memory_free(p->offset);
        memory_free(p);
    }
}

static void plan_offsets(const conv_separable *p, const view *x, int64_t *offset)
{
    const conv_desc *d = &p->desc;
    for (int k = 0; k < d->kt; k++) {
        *offset++ = -k * x->frame_stride;
    }
    for (int i = 0; i < d->kx; i++) {
        *offset++ = d->kx - 1 - i; /* planes begin conv_before(kx) left of the tile */
    }
    for (int n = 0; n < p->most; n++) {
        for (int j = 0; j < d->ky; j++) {
            *offset++ = n * p->plane + (d->ky - 1 - j) * p->width;
        }
    }
}

/* One output channel of one frame.  at: pixel (0,0) of that frame, first channel of the output's group. */
static void output(const conv_separable *p, int o, const view *x, const grid_tile *tile, const real *at, real *scratch, const int64_t *offset,
                   real *to, int64_t to_stride)
{
    const conv_desc *d = &p->desc;
    const conv_term *term = p->term + p->first[o];
    int nterm = p->first[o + 1] - p->first[o], rows = tile->ny + d->ky - 1, columns = tile->nx + d->kx - 1;
    real *filtered = scratch, *planes = scratch + p->plane;
    for (int n = 0; n < nterm; n++) {
        const real *corner = at + term[n].in * x->chan_stride - conv_before(d->ky) * x->row_stride - conv_before(d->kx);
        const real *horizontal = p->horizontal + (int64_t)(p->first[o] + n) * d->kx;
        bool fresh = n == 0 || term[n].time != term[n - 1].time;
        for (int r = 0; r < rows; r++) {
            real *line[1] = {filtered + (int64_t)r * p->width}, *along[1] = {planes + n * p->plane + (int64_t)r * p->width};
            if (fresh) {
                cpu_fir(1, d->kt, offset, p->time + (int64_t)term[n].time * d->kt, corner + r * x->row_stride, columns, line);
            }
            cpu_fir(1, d->kx, offset + d->kt, horizontal, line[0], tile->nx, along);
        }
    }
    for (int r = 0; r < tile->ny; r++) {
        real *line[1] = {to + r * to_stride};
        cpu_fir(1, nterm * d->ky, offset + d->kt + d->kx, p->vertical + (int64_t)p->first[o] * d->ky, planes + (int64_t)r * p->width, tile->nx, line);
    }
}

void conv_separable_leaf(const conv_separable *p, int leaf, int nt, const view *x, const view *y)
{
    const conv_desc *d = &p->desc;
    int thread = omp_get_thread_num();
    ASSERT(thread < p->nthread);
    real *scratch = p->scratch + thread * (1 + p->most) * p->plane;
    int64_t *offset = p->offset + thread * p->noffset;
    plan_offsets(p, x, offset);
    int nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    for (int i = 0; i < nt * d->nchan_out; i++) {
        int t = i / d->nchan_out, o = i % d->nchan_out;
        const real *at = host(x->at) + leaf * x->leaf_stride + t * x->frame_stride + o / nout * nin * x->chan_stride;
        real *to = host(y->at) + leaf * y->leaf_stride + t * y->frame_stride + o * y->chan_stride;
        output(p, o, x, &x->tile[leaf], at, scratch, offset, to, y->row_stride);
    }
}

/* Adds the adjoint of frame gy [ny][nx] of one output to plane `spread`, [ny + ky - 1] rows: first across rows into `tall`, then along them. */
static void spread_term(const conv_separable *p, int term, const grid_tile *tile, const real *gy, int64_t gy_stride, real *tall, real *spread)
{
    const conv_desc *d = &p->desc;
    const real *vertical = p->vertical + (int64_t)term * d->ky, *horizontal = p->horizontal + (int64_t)term * d->kx;
    int rows = tile->ny + d->ky - 1;
    memset(tall, 0, (size_t)(rows * p->width) * sizeof(real));
    for (int r = 0; r < tile->ny; r++) {
        for (int j = 0; j < d->ky; j++) {
            real *to = tall + (int64_t)(r + d->ky - 1 - j) * p->width;
            for (int x = 0; x < tile->nx; x++) {
                to[x] += vertical[j] * gy[r * gy_stride + x];
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < d->kx; i++) {
            real *to = spread + (int64_t)r * p->width + d->kx - 1 - i;
            for (int x = 0; x < tile->nx; x++) {
                to[x] += horizontal[i] * tall[(int64_t)r * p->width + x];
            }
        }
    }
}

/* Adds to tile, halo and history frames of gx. */
void conv_separable_back(const conv_separable *p, int leaf, int nt, const view *gy, const view *gx)
{
    const conv_desc *d = &p->desc;
    const grid_tile *tile = &gy->tile[leaf];
    int thread = omp_get_thread_num(), nin = d->nchan_in / d->groups, nout = d->nchan_out / d->groups;
    int rows = tile->ny + d->ky - 1, columns = tile->nx + d->kx - 1;
    ASSERT(thread < p->nthread);
    real *spread = p->scratch + thread * (1 + p->most) * p->plane, *tall = spread + p->plane;
    for (int i = 0; i < nt * d->nchan_out; i++) {
        int t = i / d->nchan_out, o = i % d->nchan_out;
        const real *from = host(gy->at) + leaf * gy->leaf_stride + t * gy->frame_stride + o * gy->chan_stride;
        for (int n = p->first[o]; n < p->first[o + 1]; n++) {
            if (n == p->first[o] || p->term[n].time != p->term[n - 1].time) {
                memset(spread, 0, (size_t)(rows * p->width) * sizeof(real));
            }
            spread_term(p, n, tile, from, gy->row_stride, tall, spread);
            bool last = n + 1 == p->first[o + 1] || p->term[n + 1].time != p->term[n].time;
            for (int k = 0; last && k < d->kt; k++) {
                real weight = p->time[(int64_t)p->term[n].time * d->kt + k];
                real *to = host(gx->at) + leaf * gx->leaf_stride + (t - k) * gx->frame_stride + (o / nout * nin + p->term[n].in) * gx->chan_stride -
                           conv_before(d->ky) * gx->row_stride - conv_before(d->kx);
                for (int r = 0; r < rows; r++) {
                    for (int x = 0; x < columns; x++) {
                        to[r * gx->row_stride + x] += weight * spread[(int64_t)r * p->width + x];
                    }
                }
            }
        }
    }
}

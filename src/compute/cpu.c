/* cpu.c - the CPU backend: its table, memory, threads over leaves, and borders. */
#include "compute/cpu.h"

#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"

/* Working memory, one block per thread. */
typedef struct cpu_own {
    int64_t nscratch;
    real **scratch;
} cpu_own;

static dreal *cpu_alloc(backend *be, int64_t n)
{
    (void)be;
    return (dreal *)MEMORY_NEW(real, n);
}

static void cpu_release(backend *be, dreal *p)
{
    (void)be;
    memory_free(p);
}

static void cpu_upload(backend *be, dreal *to, const real *from, int64_t n)
{
    (void)be;
    memcpy(to, from, (size_t)n * sizeof(real));
}

static void cpu_download(backend *be, real *to, const dreal *from, int64_t n)
{
    (void)be;
    memcpy(to, from, (size_t)n * sizeof(real));
}

static void cpu_fetch(backend *be, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes)
{
    (void)be;
    (void)n;
    _Alignas(16) char copy[BACKEND_FETCH_CTX];
    ASSERT(ctx_bytes <= sizeof copy);
    memcpy(copy, ctx, ctx_bytes);
    got(copy, host_const(from));
}

/* The CPU launches nothing. */
static bool cpu_repeat_begin(backend *be, int n, const int64_t *key)
{
    (void)be;
    (void)n;
    (void)key;
    return true;
}

static void cpu_repeat_end(backend *be)
{
    (void)be;
}

static void cpu_fetched(backend *be)
{
    (void)be;
}

static real *cpu_host_alloc(backend *be, int64_t n)
{
    (void)be;
    return MEMORY_NEW(real, n);
}

static void cpu_host_release(backend *be, real *p)
{
    (void)be;
    memory_free(p);
}

static void cpu_move(backend *be, dreal *to, const dreal *from, int64_t n)
{
    (void)be;
    memmove(to, from, (size_t)n * sizeof(real));
}

static void cpu_fill(backend *be, dreal *to, real value, int64_t n)
{
    (void)be;
    real *p = host(to);
    for (int64_t i = 0; i < n; i++) {
        p[i] = value;
    }
}

static void cpu_add(backend *be, dreal *to_, const dreal *what_, int64_t n)
{
    (void)be;
    real *restrict to = host(to_);
    const real *restrict what = host_const(what_);
    for (int64_t i = 0; i < n; i++) {
        to[i] += what[i];
    }
}

static void cpu_sync(backend *be)
{
    (void)be;
}

real *cpu_scratch(backend *be)
{
    cpu_own *own = be->own;
    int thread = omp_get_thread_num();
    ASSERT(thread < be->nthread && own->nscratch > 0);
    return own->scratch[thread];
}

void cpu_reserve(backend *be, int64_t n)
{
    cpu_own *own = be->own;
    if (n > own->nscratch) {
        own->nscratch = n;
        for (int i = 0; i < be->nthread; i++) {
            memory_free(own->scratch[i]);
            own->scratch[i] = MEMORY_NEW(real, n);
        }
    }
}

static void cpu_each_leaf(backend *be, int nleaf, void (*work)(void *ctx, int first, int n, int worker), void *ctx)
{
    if (be->nthread == 1 || nleaf == 1) {
        for (int l = 0; l < nleaf; l++) {
            work(ctx, l, 1, 0);
        }
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(be->nthread)
    for (int l = 0; l < nleaf; l++) {
        work(ctx, l, 1, omp_get_thread_num());
    }
}

static void cpu_pack(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer)
{
#pragma omp parallel for num_threads(be->nthread) if (be->nthread > 1 && nrect > 16)
    for (int r = 0; r < nrect; r++) {
        const grid_rect *q = &rect[r];
        real *to = host(buffer) + q->offset * nt * x.nchan;
        for (int i = 0; i < nt * x.nchan; i++) {
            const real *from = cpu_plane(x, q->leaf, i / x.nchan, i % x.nchan) + q->y * x.row_stride + q->x;
            for (int y = 0; y < q->ny; y++, to += q->nx) {
                memcpy(to, from + y * x.row_stride, (size_t)q->nx * sizeof(real));
            }
        }
    }
}

static void cpu_unpack(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer)
{
#pragma omp parallel for num_threads(be->nthread) if (be->nthread > 1 && nrect > 16)
    for (int r = 0; r < nrect; r++) {
        const grid_rect *q = &rect[r];
        const real *from = host_const(buffer) + q->offset * nt * x.nchan;
        for (int i = 0; i < nt * x.nchan; i++) {
            real *to = cpu_plane(x, q->leaf, i / x.nchan, i % x.nchan) + q->y * x.row_stride + q->x;
            for (int y = 0; y < q->ny; y++, from += q->nx) {
                memcpy(to + y * x.row_stride, from, (size_t)q->nx * sizeof(real));
            }
        }
    }
}

/* Rows first (left and right of the field), then whole rows above and below. */
static void edge_plane(real *p, const view *x, const grid_tile *tile, int field_ny, int field_nx)
{
    int h = x->halo, lowest = -tile->y0, highest = field_ny - 1 - tile->y0, leftmost = -tile->x0, rightmost = field_nx - 1 - tile->x0;
    for (int y = lowest > -h ? lowest : -h; y <= highest && y < tile->ny + h; y++) {
        real *row = p + y * x->row_stride;
        for (int i = -h; i < leftmost; i++) {
            row[i] = row[leftmost];
        }
        for (int i = rightmost + 1; i < tile->nx + h; i++) {
            row[i] = row[rightmost];
        }
    }
    size_t bytes = (size_t)(tile->nx + 2 * h) * sizeof(real);
    for (int y = -h; y < lowest; y++) {
        memcpy(p + y * x->row_stride - h, p + lowest * x->row_stride - h, bytes);
    }
    for (int y = highest + 1; y < tile->ny + h; y++) {
        memcpy(p + y * x->row_stride - h, p + highest * x->row_stride - h, bytes);
    }
}

/* --- adjoints of the borders ------------------------------------------------------------------------------------------ */
static void cpu_take(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer)
{
    cpu_pack(be, nrect, rect, nt, x, buffer);
    for (int r = 0; r < nrect; r++) {
        const grid_rect *q = &rect[r];
        for (int i = 0; i < nt * x.nchan; i++) {
            real *at = cpu_plane(x, q->leaf, i / x.nchan, i % x.nchan) + q->y * x.row_stride + q->x;
            for (int y = 0; y < q->ny; y++) {
                memset(at + y * x.row_stride, 0, (size_t)q->nx * sizeof(real));
            }
        }
    }
}

/* One rectangle after the other: a pixel near a corner stands in several, and is summed in their order. */
static void cpu_unpack_add(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer)
{
    (void)be;
    for (int r = 0; r < nrect; r++) {
        const grid_rect *q = &rect[r];
        const real *from = host_const(buffer) + q->offset * nt * x.nchan;
        for (int i = 0; i < nt * x.nchan; i++) {
            real *at = cpu_plane(x, q->leaf, i / x.nchan, i % x.nchan) + q->y * x.row_stride + q->x;
            for (int y = 0; y < q->ny; y++, from += q->nx) {
                for (int k = 0; k < q->nx; k++) {
                    at[y * x.row_stride + k] += from[k];
                }
            }
        }
    }
}

/* edge_plane backwards: whole rows above and below first, then left and right. */
static void edge_plane_back(real *p, const view *x, const grid_tile *tile, int field_ny, int field_nx)
{
    int h = x->halo, lowest = -tile->y0, highest = field_ny - 1 - tile->y0, leftmost = -tile->x0, rightmost = field_nx - 1 - tile->x0;
    for (int y = -h; y < tile->ny + h; y++) {
        if (y < lowest || y > highest) {
            real *from = p + y * x->row_stride, *to = p + (y < lowest ? lowest : highest) * x->row_stride;
            for (int i = -h; i < tile->nx + h; i++) {
                to[i] += from[i];
                from[i] = 0;
            }
        }
    }
    for (int y = lowest > -h ? lowest : -h; y <= highest && y < tile->ny + h; y++) {
        real *row = p + y * x->row_stride;
        for (int i = -h; i < leftmost; i++) {
            row[leftmost] += row[i];
            row[i] = 0;
        }
        for (int i = rightmost + 1; i < tile->nx + h; i++) {
            row[rightmost] += row[i];
            row[i] = 0;
        }
    }
}

static void edge_leaves(view x, int nt, int field_ny, int field_nx, void (*each)(real *, const view *, const grid_tile *, int, int))
{
    for (int l = 0; l < x.nleaf; l++) {
        const grid_tile *tile = &x.tile[l];
        if (tile->y0 >= x.halo && tile->x0 >= x.halo && tile->y0 + tile->ny + x.halo <= field_ny && tile->x0 + tile->nx + x.halo <= field_nx) {
            continue;
        }
        for (int i = 0; i < nt * x.nchan; i++) {
            each(cpu_plane(x, l, i / x.nchan, i % x.nchan), &x, tile, field_ny, field_nx);
        }
    }
}

static void cpu_edge(backend *be, int nt, view x, int field_ny, int field_nx)
{
    (void)be;
    edge_leaves(x, nt, field_ny, field_nx, edge_plane);
}

static void cpu_edge_back(backend *be, int nt, view x, int field_ny, int field_nx)
{
    (void)be;
    edge_leaves(x, nt, field_ny, field_nx, edge_plane_back);
}

static const backend_ops cpu_ops = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .fetch = cpu_fetch,
    .fetched = cpu_fetched,
    .host_alloc = cpu_host_alloc,
    .host_release = cpu_host_release,
    .move = cpu_move,
    .fill = cpu_fill,
    .add = cpu_add,
    .sync = cpu_sync,
    .each_leaf = cpu_each_leaf,
    .repeat_begin = cpu_repeat_begin,
    .repeat_end = cpu_repeat_end,
    .pack = cpu_pack,
    .unpack = cpu_unpack,
    .edge = cpu_edge,
    .conv_create = cpu_conv_create,
    .conv_look = cpu_conv_look,
    .conv_destroy = cpu_conv_destroy,
    .conv = cpu_conv,
    .conv_start = cpu_conv_start,
    .blur_create = cpu_blur_create,
    .blur_destroy = cpu_blur_destroy,
    .blur = cpu_blur,
    .heat_step = cpu_heat_step,
    .scan = cpu_scan,
    .map = cpu_map,
    .normalise = cpu_normalise,
    .unit_sums = cpu_unit_sums,
    .unit_line = cpu_unit_line,
    .unit_line_back = cpu_unit_line_back,
    .pool_space = cpu_pool_space,
    .pool_space_back = cpu_pool_space_back,
    .normalise_back = cpu_normalise_back,
    .noise = cpu_noise,
    .reserve = cpu_reserve,
    .combine = cpu_combine,
    .gain_step = cpu_gain_step,
    .gain_q = cpu_gain_q,
    .gain_convis = cpu_gain_convis,
    .link_create = cpu_link_create,
    .link_destroy = cpu_link_destroy,
    .link = cpu_link,
    .lif = cpu_lif,
    .lif_back = cpu_lif_back,
    .blur_set = cpu_blur_set,
    .blur_set_taps = cpu_blur_set_taps,
    .blur_back = cpu_blur_back,
    .blur_back_par = cpu_blur_back_par,
    .heat_step_back = cpu_heat_step_back,
    .gain_step_back = cpu_gain_step_back,
    .gain_convis_back = cpu_gain_convis_back,
    .gain_q_back = cpu_gain_q_back,
    .conv_taped = cpu_conv_taped,
    .conv_set = cpu_conv_set,
    .conv_back = cpu_conv_back,
    .conv_start_back = cpu_conv_start_back,
    .scan_back = cpu_scan_back,
    .map_back = cpu_map_back,
    .combine_back = cpu_combine_back,
    .link_back = cpu_link_back,
    .neuron = cpu_neuron,
    .neuron_back = cpu_neuron_back,
    .loss = cpu_loss,
    .unpack_add = cpu_unpack_add,
    .take = cpu_take,
    .edge_back = cpu_edge_back,
};

backend *cpu_open(int nthread)
{
    backend *be = MEMORY_NEW(backend, 1);
    cpu_own *own = MEMORY_NEW(cpu_own, 1);
    be->ops = &cpu_ops;
    be->own = own;
    be->nthread = nthread < 1 ? 1 : nthread;
    be->one_leaf_a_call = true;
    memcpy(be->device, "cpu", sizeof "cpu");
    own->scratch = MEMORY_NEW(real *, be->nthread);
    omp_set_num_threads(be->nthread); /* so that scratch made elsewhere for omp_get_max_threads() fits */
    return be;
}

void cpu_close(backend *be)
{
    cpu_own *own = be->own;
    for (int i = 0; i < be->nthread; i++) {
        memory_free(own->scratch[i]);
    }
    memory_free(own->scratch);
    memory_free(own);
    memory_free(be);
}

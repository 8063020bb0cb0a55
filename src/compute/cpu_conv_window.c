/* cpu_conv_window.c - the direct sum for small maps, with time in the registers: frames are turned so that the steps of a pixel follow each
 * other, and a register holds VEC steps of one pixel.  Every output is then a row filter along time, however few pixels a map has, and outputs
 * share the input.
 * Its adjoints serve all algorithms without a state.
 *
 *   y[o][p][t] = sum over n of K[o][n] x[at(p, n)][t - k(n)]          n = (c, k, j, i)
 *   gK[o][n] = sum over p, t of gy[o][p][t] x[at(p, n)][t - k(n)]     gx[c][q][t] = sum over o, j, i, k of K[o][c][k][j][i] gy[o][q - (j, i)][t + k]
 *
 * Every step is summed in the order of n, one fused multiply-add each: the same bits in any chunk.  gK adds each lane's steps, then the lanes in
 * double. */
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"
#include "compute/cpu_vec.h"

enum { MOST_TOGETHER = VEC_BYTES == 64 ? 8 : 4 }; /* outputs in registers at once */

typedef struct window_scratch {
    real *x;     /* [nchan_in/groups][rows][columns][x_stride]: x, frame 0 of the block at kt - 1; or gx, frame 0 at 0 */
    real *y;     /* [nchan_out/groups][tile_ny][tile_nx][y_stride]: y or gy, frame 0 at 0 */
    real *lanes; /* [ntap][nchan_out/groups][VEC] of gK */
} window_scratch;

struct conv_window {
    conv_desc desc;
    int nin, nout;            /* channels of a group */
    int rows, columns;        /* of the input that a tile reads */
    int ntap;                 /* of one output */
    int block;                /* registers of time that pass together */
    int64_t x_stride, y_stride;
    int64_t *offset;          /* [ntap] from an output's pixel and step to the tap's */
    real *weight;             /* groups of outputs that go together: [ntap][together] */
    real *back;               /* groups of inputs that go together: [out][j][i][k][together]; NULL without differentiate */
    int nthread;
    window_scratch *scratch;
    bool borrowed;            /* all but the kernel belongs to another */
};

/* How many of n channels go together, and the registers of time beside them (as many as hide the latency of an addition). */
static int together(int n)
{
    return n >= MOST_TOGETHER ? MOST_TOGETHER : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}
static int longest(int n)
{
    return n >= 4 ? 3 : n == 2 ? 6 : 12;
}
#define SHAPES(shape) shape(8, 3) shape(8, 1) shape(4, 3) shape(4, 1) shape(2, 6) shape(2, 3) shape(2, 1) shape(1, 12) shape(1, 3) shape(1, 1)

/* Registers of time to take next, `left` to do: rather a few too many (there is room) than one alone. */
static int next_length(int n, int block, int left)
{
    return left > 3 && longest(n) <= block ? longest(n) : left > 1 ? 3 : 1;
}

static void work_create(conv_window *p)
{
    const conv_desc *d = &p->desc;
    int64_t x_plane = (int64_t)p->nin * p->rows * p->columns, y_plane = (int64_t)p->nout * d->tile_ny * d->tile_nx;
    p->offset = MEMORY_NEW(int64_t, p->ntap);
    for (int n = 0; n < p->ntap; n++) {
        int i = n % d->kx, j = n / d->kx % d->ky, k = n / (d->kx * d->ky) % d->kt, c = n / (d->kx * d->ky * d->kt);
        p->offset[n] = ((int64_t)(c * p->rows + d->ky - 1 - j) * p->columns + d->kx - 1 - i) * p->x_stride + d->kt - 1 - k;
    }
    p->scratch = MEMORY_NEW(window_scratch, p->nthread);
    for (int i = 0; i < p->nthread; i++) {
        p->scratch[i].x = MEMORY_NEW(real, x_plane * p->x_stride);
        p->scratch[i].y = MEMORY_NEW(real, y_plane * p->y_stride);
        p->scratch[i].lanes = d->differentiate ? MEMORY_NEW(real, (int64_t)p->ntap * p->nout * VEC) : NULL;
    }
}

conv_window *conv_window_create(const conv_desc *d, int nthread, const real *kernel, const conv_window *like)
{
    conv_window *p = MEMORY_NEW(conv_window, 1);
    if (like) {
        *p = *like;
        p->borrowed = true;
    } else {
        p->desc = *d;
        p->nin = d->nchan_in / d->groups;
        p->nout = d->nchan_out / d->groups;
        p->rows = d->tile_ny + d->ky - 1;
        p->columns = d->tile_nx + d->kx - 1;
        p->ntap = p->nin * d->kt * d->ky * d->kx;
        p->block = conv_window_steps(d) / VEC; /* a multiple of 3, and of 12 where it is more */
        p->x_stride = (p->block * VEC + d->kt - 1 + VEC - 1) / VEC * VEC;
        p->y_stride = p->x_stride;
        p->nthread = nthread;
        work_create(p);
    }
    p->weight = MEMORY_NEW(real, (int64_t)d->nchan_out * p->ntap);
    p->back = d->differentiate ? MEMORY_NEW(real, (int64_t)d->nchan_out * p->ntap) : NULL;
    conv_window_set(p, kernel);
    return p;
}

/* from: [many][n], `apart` between the first of two; to: [n][many]. */
static void interleave(int many, int n, const real *from, int64_t apart, real *to)
{
    for (int i = 0; i < n; i++) {
        for (int o = 0; o < many; o++) {
            to[i * many + o] = from[o * apart + i];
        }
    }
}

void conv_window_set(conv_window *p, const real *kernel)
{
    const conv_desc *d = &p->desc;
    int space = d->ky * d->kx, taps = d->kt * space;
    for (int g = 0; g < d->groups; g++) {
        int64_t first = (int64_t)g * p->nout * p->ntap;
        for (int o = 0, many; o < p->nout; o += many) {
            many = together(p->nout - o);
            interleave(many, p->ntap, kernel + first + (int64_t)o * p->ntap, p->ntap, p->weight + first + (int64_t)o * p->ntap);
        }
        for (int c = 0, many; p->back && c < p->nin; c += many) {
            many = together(p->nin - c);
            real *to = p->back + first + (int64_t)c * p->nout * taps;
            for (int64_t n = 0; n < (int64_t)p->nout * space; n++) { /* the lags of one output's tap (j, i) */
                const real *from = kernel + first + ((n / space) * p->nin + c) * taps + n % space;
                for (int k = 0; k < d->kt; k++, from += space) {
                    for (int i = 0; i < many; i++) {
                        *to++ = from[(int64_t)i * taps];
                    }
                }
            }
        }
    }
}

void conv_window_destroy(conv_window *p)
{
    for (int i = 0; p && !p->borrowed && i < p->nthread; i++) {
        memory_free(p->scratch[i].x);
        memory_free(p->scratch[i].y);
        memory_free(p->scratch[i].lanes);
    }
    if (p && !p->borrowed) {
        memory_free(p->scratch);
        memory_free(p->offset);
    }
    if (p) {
        memory_free(p->weight);
        memory_free(p->back);
        memory_free(p);
    }
}

static window_scratch *scratch_of_thread(const conv_window *p)
{
    ASSERT(omp_get_thread_num() < p->nthread);
    return &p->scratch[omp_get_thread_num()];
}

/* --- turning -----------------------------------------------------------------------------------------------------------
 * Between frames [t, t + n) of the rectangle ny x nx at `at` (frame 0, first channel) and [channel][turned_ny][turned_nx][stride]. */
typedef struct rectangle {
    const view *v;
    int64_t at; /* of frame 0, first channel, in v->at */
    int nchan, ny, nx, turned_ny, turned_nx;
    int64_t stride;
} rectangle;

/* Rows that follow each other without a gap are one, and so are channels. */
static rectangle joined(rectangle r)
{
    if (r.nx == r.turned_nx && r.nx == r.v->row_stride) {
        r.turned_nx *= r.turned_ny;
        bool planes = r.nchan > 1 && r.ny * r.nx == r.turned_nx && r.ny * r.nx == r.v->chan_stride;
        r.nx *= r.ny;
        r.ny = r.turned_ny = 1;
        if (planes) {
            r.nx = r.turned_nx *= r.nchan;
            r.nchan = 1;
        }
    }
    return r;
}

/* VEC frames of VEC pixels, from rows to rows. */
static void turn_square(const real *from, int64_t from_stride, real *to, int64_t to_stride, bool add)
{
    vec r[VEC];
#pragma GCC unroll 16
    for (int i = 0; i < VEC; i++) {
        r[i] = vec_load(from + i * from_stride);
    }
    vec_transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < VEC; i++) {
        vec_store(to + i * to_stride, add ? vec_load(to + i * to_stride) + r[i] : r[i]);
    }
}

/* m rows of n numbers to columns: to[x][f] = from[f][x]. */
static void turn_rows(const real *from, int64_t from_stride, int n, real *to, int64_t to_stride, int m)
{
    int x = 0;
    for (; m == VEC && x + VEC <= n; x += VEC) {
        turn_square(from + x, from_stride, to + x * to_stride, to_stride, false);
    }
    for (int f = 0; f < m; f++) {
        for (int rest = x; rest < n; rest++) {
            to[rest * to_stride + f] = from[f * from_stride + rest];
        }
    }
}

/* Frames before `first` or from `end` on are zero, and so is what is left of the stride. */
static void turn(const rectangle *whole, int t, int n, int first, int end, real *to)
{
    rectangle joint = joined(*whole), *r = &joint;
    int from = t < first ? (first < t + n ? first : t + n) : t, until = t + n < end ? t + n : end;
    until = until > from ? until : from;
    for (int line = 0; line < r->nchan * r->ny; line++) {
        real *turned = to + ((int64_t)(line / r->ny) * r->turned_ny + line % r->ny) * r->turned_nx * r->stride;
        for (int x = 0; x < r->nx; x++) {
            memset(turned + x * r->stride, 0, (size_t)(from - t) * sizeof(real));
            memset(turned + x * r->stride + until - t, 0, (size_t)(r->stride - (until - t)) * sizeof(real));
        }
    }
    for (int f = from; f < until; f += VEC) { /* frame by frame, as they lie in memory */
        for (int line = 0; line < r->nchan * r->ny; line++) {
            int c = line / r->ny, y = line % r->ny, m = until - f < VEC ? until - f : VEC;
            const real *row = host(r->v->at) + r->at + c * r->v->chan_stride + y * r->v->row_stride + f * r->v->frame_stride;
            turn_rows(row, r->v->frame_stride, r->nx, to + ((int64_t)c * r->turned_ny + y) * r->turned_nx * r->stride + f - t, r->stride, m);
        }
    }
}

static void turn_back(const rectangle *whole, int t, int n, const real *from, bool add)
{
    rectangle joint = joined(*whole), *r = &joint;
    for (int f = 0; f < n; f += VEC) {
        for (int line = 0; line < r->nchan * r->ny; line++) {
            int c = line / r->ny, y = line % r->ny, m = n - f < VEC ? n - f : VEC;
            real *row = host(r->v->at) + r->at + c * r->v->chan_stride + y * r->v->row_stride + (t + f) * r->v->frame_stride;
            const real *turned = from + ((int64_t)c * r->turned_ny + y) * r->turned_nx * r->stride + f;
            int x = 0;
            for (; m == VEC && x + VEC <= r->nx; x += VEC) {
                turn_square(turned + x * r->stride, r->stride, row + x, r->v->frame_stride, add);
            }
            for (int i = 0; i < m; i++) {
                real *one = row + i * r->v->frame_stride;
                for (int rest = x; rest < r->nx; rest++) {
                    one[rest] = (add ? one[rest] : 0) + turned[rest * r->stride + i];
                }
            }
        }
    }
}

static rectangle input_of(const conv_window *p, const view *x, const grid_tile *tile, int leaf, int group)
{
    const conv_desc *d = &p->desc;
    int64_t at = leaf * x->leaf_stride + (int64_t)group * p->nin * x->chan_stride - conv_before(d->ky) * x->row_stride - conv_before(d->kx);
    return (rectangle){x, at, p->nin, tile->ny + d->ky - 1, tile->nx + d->kx - 1, p->rows, p->columns, p->x_stride};
}

static rectangle output_of(const conv_window *p, const view *y, int leaf, int group)
{
    int64_t at = leaf * y->leaf_stride + (int64_t)group * p->nout * y->chan_stride;
    return (rectangle){y, at, p->nout, y->tile[leaf].ny, y->tile[leaf].nx, p->desc.tile_ny, p->desc.tile_nx, p->y_stride};
}

/* --- y ----------------------------------------------------------------------------------------------------------------- */
static inline __attribute__((always_inline)) void sum_shape(int nout, int nvec, int ntap, const int64_t *offset, const real *weight, const real *at,
                                                            real *out, int64_t out_stride)
{
    vec sum[24];
#pragma GCC unroll 24
    for (int i = 0; i < nout * nvec; i++) {
        sum[i] = (vec){0};
    }
    for (int n = 0; n < ntap; n++, weight += nout) {
        const real *from = at + offset[n];
#pragma GCC unroll 24
        for (int i = 0; i < nout * nvec; i++) {
            sum[i] += weight[i / nvec] * vec_load(from + i % nvec * VEC);
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < nout * nvec; i++) {
        vec_store(out + i / nvec * out_stride + i % nvec * VEC, sum[i]);
    }
}

static void sum(int nout, int nvec, int ntap, const int64_t *offset, const real *weight, const real *at, real *out, int64_t out_stride)
{
    switch (nout * 16 + nvec) {
#define SUM(o, v)                                                             \
    case (o) * 16 + (v):                                                      \
        sum_shape(o, v, ntap, offset, weight, at, out, out_stride); \
        break;
        SHAPES(SUM)
    }
}

void conv_window_leaf(const conv_window *p, int leaf, int nt, const view *x, const view *y)
{
    const conv_desc *d = &p->desc;
    window_scratch *s = scratch_of_thread(p);
    int past = d->kt - 1, most = p->block * VEC, ny = y->tile[leaf].ny, nx = y->tile[leaf].nx;
    for (int g = 0; g < d->groups; g++) {
        rectangle in = input_of(p, x, &x->tile[leaf], leaf, g), out = output_of(p, y, leaf, g);
        for (int t = 0; t < nt; t += most) {
            int n = nt - t < most ? nt - t : most, nvec = (n + VEC - 1) / VEC;
            turn(&in, t - past, n + past, -past, nt, s->x);
            for (int o = 0, many; o < p->nout; o += many) {
                many = together(p->nout - o);
                const real *weight = p->weight + ((int64_t)g * p->nout + o) * p->ntap;
                for (int v = 0, more; v < nvec; v += more) {
                    more = next_length(many, p->block, nvec - v);
                    for (int pixel = 0; pixel < ny * nx; pixel++) {
                        int row = pixel / nx, column = pixel % nx;
                        real *to = s->y + (((int64_t)o * d->tile_ny + row) * d->tile_nx + column) * p->y_stride + v * VEC;
                        sum(many, more, p->ntap, p->offset, weight, s->x + ((int64_t)row * p->columns + column) * p->x_stride + v * VEC, to,
                            (int64_t)d->tile_ny * d->tile_nx * p->y_stride);
                    }
                }
            }
            turn_back(&out, t, n, s->y, false);
        }
    }
}

/* --- gK ---------------------------------------------------------------------------------------------------------------- */
typedef struct products_of { /* sizes that do not change within a leaf */
    int ny, nx, nvec;
    int64_t x_row, x_stride, y_row, y_stride, y_plane; /* reals between rows, pixels, outputs */
} products_of;

/* lanes[tap][out] (vectors) += x of ntap taps by gy of nout outputs, over pixels and steps. */
static inline __attribute__((always_inline)) void product_shape(int nout, int ntap, const products_of *q, const int64_t *offset, const real *x,
                                                                const real *gy, real *lanes, int64_t tap_stride)
{
    vec acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < nout * ntap; i++) {
        acc[i] = (vec){0};
    }
    for (int pixel = 0; pixel < q->ny * q->nx; pixel++) {
        const real *xp = x + pixel / q->nx * q->x_row + pixel % q->nx * q->x_stride;
        const real *gp = gy + pixel / q->nx * q->y_row + pixel % q->nx * q->y_stride;
        for (int v = 0; v < q->nvec * VEC; v += VEC) {
            vec g[8];
#pragma GCC unroll 8
            for (int o = 0; o < nout; o++) {
                g[o] = vec_load(gp + o * q->y_plane + v);
            }
#pragma GCC unroll 24
            for (int i = 0; i < nout * ntap; i++) {
                acc[i] += g[i % nout] * vec_load(xp + offset[i / nout] + v);
            }
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < nout * ntap; i++) {
        real *to = lanes + i / nout * tap_stride + i % nout * VEC;
        vec_store(to, vec_load(to) + acc[i]);
    }
}

static void product(int nout, int ntap, const products_of *q, const int64_t *offset, const real *x, const real *gy, real *lanes, int64_t tap_stride)
{
    switch (nout * 16 + ntap) {
#define PRODUCT(o, n)                                                             \
    case (o) * 16 + (n):                                                          \
        product_shape(o, n, q, offset, x, gy, lanes, tap_stride); \
        break;
        SHAPES(PRODUCT)
    }
}

/* Adds to g_kernel [nchan_out][ntap]. */
void conv_window_back_kernel(const conv_window *p, int leaf, int nt, const view *x, const view *gy, double *g_kernel)
{
    const conv_desc *d = &p->desc;
    window_scratch *s = scratch_of_thread(p);
    int past = d->kt - 1, most = p->block * VEC;
    products_of q = {gy->tile[leaf].ny, gy->tile[leaf].nx, 0, p->columns * p->x_stride, p->x_stride, d->tile_nx * p->y_stride, p->y_stride,
                     (int64_t)d->tile_ny * d->tile_nx * p->y_stride};
    for (int g = 0; g < d->groups; g++) {
        rectangle in = input_of(p, x, &gy->tile[leaf], leaf, g), out = output_of(p, gy, leaf, g);
        int64_t tap_stride = (int64_t)p->nout * VEC;
        memset(s->lanes, 0, (size_t)(p->ntap * tap_stride) * sizeof(real));
        for (int t = 0; t < nt; t += most) {
            int n = nt - t < most ? nt - t : most;
            q.nvec = (n + VEC - 1) / VEC;
            turn(&in, t - past, n + past, -past, nt, s->x);
            turn(&out, t, n, 0, nt, s->y);
            for (int o = 0, many; o < p->nout; o += many) {
                many = together(p->nout - o);
                for (int tap = 0, more; tap < p->ntap; tap += more) {
                    more = p->ntap - tap >= longest(many) ? longest(many) : 1;
                    product(many, more, &q, p->offset + tap, s->x, s->y + o * q.y_plane, s->lanes + tap * tap_stride + o * VEC, tap_stride);
                }
            }
        }
        for (int64_t n = 0; n < (int64_t)p->nout * p->ntap; n++) {
            const real *lanes = s->lanes + n % p->ntap * tap_stride + n / p->ntap * VEC;
            double even = 0, odd = 0; /* two chains, not one */
            for (int i = 0; i < VEC; i += 2) {
                even += (double)lanes[i];
                odd += (double)lanes[i + 1];
            }
            g_kernel[(int64_t)g * p->nout * p->ntap + n] += even + odd;
        }
    }
}

/* --- gx ---------------------------------------------------------------------------------------------------------------- */
typedef struct taps_of { /* the taps of a pixel of the input that lead to pixels of the tile */
    int nout, kt, ky, kx, j0, j1, i0, i1;
    int64_t y_row, y_stride, y_plane;
} taps_of;

/* gy: first output at the pixel of tap (0, 0), wherever that is. */
static inline __attribute__((always_inline)) void back_shape(int nin, int nvec, const taps_of *q, const real *weight, const real *gy, real *out,
                                                             int64_t out_stride)
{
    vec acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < nin * nvec; i++) {
        acc[i] = (vec){0};
    }
    for (int o = 0; o < q->nout; o++) {
        for (int j = q->j0; j < q->j1; j++) {
            for (int i = q->i0; i < q->i1; i++) {
                const real *from = gy + o * q->y_plane + j * q->y_row + i * q->y_stride;
                const real *w = weight + ((int64_t)(o * q->ky + j) * q->kx + i) * q->kt * nin;
                for (int k = 0; k < q->kt; k++, from++, w += nin) {
#pragma GCC unroll 24
                    for (int a = 0; a < nin * nvec; a++) {
                        acc[a] += w[a / nvec] * vec_load(from + a % nvec * VEC);
                    }
                }
            }
        }
    }
#pragma GCC unroll 24
    for (int i = 0; i < nin * nvec; i++) {
        vec_store(out + i / nvec * out_stride + i % nvec * VEC, acc[i]);
    }
}

static void back(int nin, int nvec, const taps_of *q, const real *weight, const real *gy, real *out, int64_t out_stride)
{
    switch (nin * 16 + nvec) {
#define BACK(c, v)                                                  \
    case (c) * 16 + (v):                                            \
        back_shape(c, v, q, weight, gy, out, out_stride); \
        break;
        SHAPES(BACK)
    }
}

/* One pixel of the input, all channels of the group, nvec registers of time. */
static void back_pixel(const conv_window *p, const window_scratch *s, int group, const rectangle *out, int row, int column, int nvec)
{
    const conv_desc *d = &p->desc;
    int up = row - (d->ky - 1), left = column - (d->kx - 1); /* pixel of the tile that tap (0, 0) leads to */
    taps_of q = {p->nout, d->kt, d->ky, d->kx, up < 0 ? -up : 0, out->ny - up < d->ky ? out->ny - up : d->ky,
                 left < 0 ? -left : 0, out->nx - left < d->kx ? out->nx - left : d->kx,
                 d->tile_nx * p->y_stride, p->y_stride, (int64_t)d->tile_ny * d->tile_nx * p->y_stride};
    int64_t plane = (int64_t)p->rows * p->columns * p->x_stride;
    for (int c = 0, many; c < p->nin; c += many) {
        many = together(p->nin - c);
        const real *weight = p->back + ((int64_t)group * p->nin + c) * p->nout * (d->kt * d->ky * d->kx);
        for (int v = 0, more; v < nvec; v += more) {
            more = next_length(many, p->block, nvec - v);
            back(many, more, &q, weight, s->y + ((int64_t)up * d->tile_nx + left) * p->y_stride + v * VEC,
                 s->x + c * plane + ((int64_t)row * p->columns + column) * p->x_stride + v * VEC, plane);
        }
    }
}

/* Adds to tile, halo and history frames of gx. */
void conv_window_back_input(const conv_window *p, int leaf, int nt, const view *gy, const view *gx)
{
    const conv_desc *d = &p->desc;
    window_scratch *s = scratch_of_thread(p);
    int past = d->kt - 1, most = p->block * VEC;
    for (int g = 0; g < d->groups; g++) {
        rectangle in = input_of(p, gx, &gy->tile[leaf], leaf, g), out = output_of(p, gy, leaf, g);
        for (int t = -past; t < nt; t += most) {
            int n = nt - t < most ? nt - t : most, nvec = (n + VEC - 1) / VEC;
            turn(&out, t, n + past, 0, nt, s->y);
            for (int pixel = 0; pixel < in.ny * in.nx; pixel++) {
                back_pixel(p, s, g, &out, pixel / in.nx, pixel % in.nx, nvec);
            }
            turn_back(&in, t, n, s->x, true);
        }
    }
}

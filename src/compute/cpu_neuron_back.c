/* cpu_neuron_back.c - adjoint of cpu_neuron: from the last step to the first, the Euler steps within each step made again from the state on the tape
 * and walked back.  Cells go in blocks side by side; the sums by parameters are kept for each place in a block, so that their order depends on
 * nothing. */
#include "base/error.h"
#include "compute/cpu_neuron.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

typedef real lanes[LANES];

/* A block of cells within one step. */
typedef struct back_block {
    const neuron_row *row;
    int first; /* cell in the row */
    int64_t step;
    lanes x, gx;
    lanes gy[NEURON_MOST_OUT];
    lanes s[NEURON_MOST_SUB + 1][NEURON_MOST_STATE]; /* before each Euler step, and after the last */
    lanes gs[NEURON_MOST_STATE];
    double g[NEURON_MOST_PAR][LANES]; /* goes on from step to step */
} back_block;

typedef void (*sub_step)(const real p[], real dt, real x, real s[]);
typedef void (*sub_back)(const real p[], real dt, real x, const real s[], real gs[], real *gx, real g[]);

INLINE void take_state(lanes from[NEURON_MOST_STATE], int nstate, int i, real s[])
{
    for (int k = 0; k < NEURON_MOST_STATE; k++) {
        s[k] = k < nstate ? from[k][i] : 0;
    }
}

INLINE void again(back_block *b, int nstate, sub_step sub)
{
    const neuron_desc *d = b->row->d;
    for (int n = 0; n < d->nsub; n++) {
#pragma GCC ivdep
        for (int i = 0; i < LANES; i++) {
            real s[NEURON_MOST_STATE];
            take_state(b->s[n], nstate, i, s);
            sub(d->par, d->sub_dt, b->x[i], s);
            for (int k = 0; k < nstate; k++) {
                b->s[n + 1][k][i] = s[k];
            }
        }
    }
}

INLINE void walk_back(back_block *b, int nstate, int npar, sub_back sub)
{
    const neuron_desc *d = b->row->d;
    for (int n = d->nsub - 1; n >= 0; n--) {
#pragma GCC ivdep
        for (int i = 0; i < LANES; i++) {
            real s[NEURON_MOST_STATE], gs[NEURON_MOST_STATE], g[NEURON_MOST_PAR] = {0}, gx = 0;
            take_state(b->s[n], nstate, i, s);
            take_state(b->gs, nstate, i, gs);
            sub(d->par, d->sub_dt, b->x[i], s, gs, &gx, g);
            for (int k = 0; k < nstate; k++) {
                b->gs[k][i] = gs[k];
            }
            for (int k = 0; k < npar; k++) {
                b->g[k][i] += (double)g[k];
            }
            b->gx[i] += gx;
        }
    }
}

static void back_izhikevich(back_block *b)
{
    const neuron_desc *d = b->row->d;
    again(b, 2, cell_izhikevich_sub);
    for (int i = 0; i < LANES; i++) {
        real s[NEURON_MOST_STATE], gs[NEURON_MOST_STATE], gy[NEURON_MOST_OUT] = {b->gy[0][i], b->gy[1][i], b->gy[2][i]}, g[NEURON_MOST_PAR] = {0};
        take_state(b->s[d->nsub], 2, i, s);
        take_state(b->gs, 2, i, gs);
        cell_izhikevich_end_back(d, s, gy, gs, g);
        b->gs[0][i] = gs[0];
        b->gs[1][i] = gs[1];
        for (int k = 2; k < 5; k++) {
            b->g[k][i] += (double)g[k];
        }
    }
    walk_back(b, 2, 7, cell_izhikevich_sub_back);
}

static void add_output(back_block *b, int k) /* the output is state k */
{
    for (int i = 0; i < LANES; i++) {
        b->gs[k][i] += b->gy[0][i];
    }
}

static void back_fitzhugh_nagumo(back_block *b)
{
    again(b, 2, cell_fitzhugh_nagumo_sub);
    add_output(b, 0);
    walk_back(b, 2, 3, cell_fitzhugh_nagumo_sub_back);
}

static void back_hodgkin_huxley(back_block *b)
{
    again(b, 4, cell_hodgkin_huxley_sub);
    add_output(b, 0);
    walk_back(b, 4, 7, cell_hodgkin_huxley_sub_back);
}

static void back_kinetics(back_block *b)
{
    again(b, 4, cell_kinetics_sub);
    add_output(b, 1);
    walk_back(b, 4, 5, cell_kinetics_sub_back);
}

static void back_photoreceptor(back_block *b)
{
    const neuron_desc *d = b->row->d;
    again(b, 4, cell_photoreceptor_sub);
    for (int i = 0; i < LANES; i++) {
        real s[NEURON_MOST_STATE], gs[NEURON_MOST_STATE], g[NEURON_MOST_PAR] = {0};
        take_state(b->s[d->nsub], 4, i, s);
        take_state(b->gs, 4, i, gs);
        cell_photoreceptor_end_back(d->par, s, &b->gy[0][i], gs, g);
        b->gs[3][i] = gs[3];
        b->g[PR_K][i] += (double)g[PR_K];
        b->g[PR_N][i] += (double)g[PR_N];
    }
    walk_back(b, 4, PR_COUNT, cell_photoreceptor_sub_back);
}

static void back_lif(back_block *b)
{
    for (int i = 0; i < LANES && b->first + i < b->row->nx; i++) {
        real s[NEURON_MOST_STATE], gs[NEURON_MOST_STATE], g[2] = {0};
        take_state(b->s[0], 2, i, s);
        take_state(b->gs, 2, i, gs);
        cell_lif_back(b->row->d, neuron_at(b->row, b->first + i, b->step), b->x[i], s, b->gy[0][i], gs, &b->gx[i], g);
        for (int k = 0; k < 2; k++) {
            b->gs[k][i] = gs[k];
            b->g[k][i] += (double)g[k];
        }
    }
}

static void back_event(back_block *b)
{
    for (int i = 0; i < LANES && b->first + i < b->row->nx; i++) {
        real gy[2] = {b->gy[0][i], b->gy[1][i]}, g = 0;
        cell_event_back(b->row->d, b->x[i], &b->s[0][0][i], gy, &b->gs[0][i], &b->gx[i], &g);
        b->g[0][i] += (double)g;
    }
}

static void back_nothing(back_block *b) /* Poisson spikes: no derivative goes through */
{
    (void)b;
}

/* Unused lanes are copies of the first cell with no derivative to hand on: nothing in them overflows, and they add 0. */
static void load(back_block *b, const real *from, int64_t stride, lanes *to, int count, bool zero)
{
    int n = b->row->nx - b->first < LANES ? b->row->nx - b->first : LANES;
    for (int k = 0; k < count; k++) {
        for (int i = 0; i < LANES; i++) {
            to[k][i] = i < n ? from[k * stride + i] : zero ? 0 : from[k * stride];
        }
    }
}

typedef struct back_place { /* of a block: its first cell at step 0 of the chunk */
    const real *x, *tape, *gy;
    real *gx, *g_state;
    int64_t x_stride, tape_stride, gy_stride, gx_stride; /* between steps */
} back_place;

static void back_cells(back_block *b, const back_place *at, int64_t step0, int nt, void (*kind)(back_block *))
{
    const neuron_row *row = b->row;
    neuron_shape shape = neuron_look(row->d);
    int n = row->nx - b->first < LANES ? row->nx - b->first : LANES;
    memset(b->g, 0, sizeof b->g);
    memset(b->gs, 0, sizeof b->gs);
    memset(b->gy, 0, sizeof b->gy);
    load(b, at->g_state, row->kind_stride, b->gs, shape.nstate, true);
    for (int t = nt - 1; t >= 0; t--) {
        b->step = step0 + t;
        load(b, at->x + t * at->x_stride, 0, &b->x, 1, false);
        load(b, at->gy + t * at->gy_stride, row->out_stride, b->gy, shape.nout, true);
        load(b, at->tape + t * at->tape_stride, row->kind_stride, b->s[0], shape.nstate, false);
        memset(b->gx, 0, sizeof b->gx);
        kind(b);
        for (int i = 0; at->gx && i < n; i++) {
            at->gx[t * at->gx_stride + i] += b->gx[i];
        }
    }
    for (int k = 0; k < shape.nstate; k++) {
        for (int i = 0; i < n; i++) {
            at->g_state[k * row->kind_stride + i] = b->gs[k][i];
        }
    }
}

void cpu_neuron_back(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, const dreal *tape, int64_t tape_stride,
                     view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride)
{
    static void (*const kind[NEURON_COUNT])(back_block *) = {[NEURON_IZHIKEVICH] = back_izhikevich,
                                                             [NEURON_FITZHUGH_NAGUMO] = back_fitzhugh_nagumo,
                                                             [NEURON_HODGKIN_HUXLEY] = back_hodgkin_huxley,
                                                             [NEURON_LIF_EULER] = back_lif,
                                                             [NEURON_EVENT] = back_event,
                                                             [NEURON_POISSON] = back_nothing,
                                                             [NEURON_PHOTORECEPTOR] = back_photoreceptor,
                                                             [NEURON_KINETICS] = back_kinetics};
    (void)be;
    neuron_shape shape = neuron_look(d);
    back_block b;
    for (int l = 0; l < x.nleaf; l++) {
        for (int i = 0; i < x.tile[l].ny * x.nchan; i++) {
            int c = i / x.tile[l].ny, line = i % x.tile[l].ny;
            neuron_row row = neuron_row_of(d, id, x, l, line);
            row.channel = c;
            row.out_stride = gy.chan_stride * x.nchan;
            b.row = &row;
            for (b.first = 0; b.first < row.nx; b.first += LANES) {
                int64_t at = c * row.plane + (int64_t)line * x.pad_nx + b.first;
                back_place p = {cpu_plane(x, l, 0, c) + line * x.row_stride + b.first,
                                host_const(tape) + l * tape_stride + at,
                                cpu_plane(gy, l, 0, c) + line * gy.row_stride + b.first,
                                gx.at ? cpu_plane(gx, l, 0, c) + line * gx.row_stride + b.first : NULL,
                                host(g_state) + l * g_state_stride + at,
                                x.frame_stride,
                                shape.nstate * row.kind_stride,
                                gy.frame_stride,
                                gx.frame_stride};
                back_cells(&b, &p, step0, nt, kind[d->kind]);
                for (int k = 0; g_par && k < shape.npar; k++) {
                    for (int lane = 0; lane < LANES; lane++) {
                        g_par[l * g_par_stride + k] += b.g[k][lane];
                    }
                }
            }
        }
    }
}

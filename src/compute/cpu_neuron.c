/* cpu_neuron.c - point neurons and sensors with memory: rows of cells in SIMD loops, Euler step after Euler step, time inside a row so that its state
 * stays in the first cache. */
#include "base/error.h"
#include "base/memory.h"
#include "compute/cellmath_neuron.h"
#include "compute/cpu_neuron.h"

#define INLINE static inline __attribute__((always_inline)) /* so that a kind's functions are known in its loops */

neuron_shape neuron_look(const neuron_desc *d)
{
    static const neuron_shape shape[NEURON_COUNT] = {[NEURON_IZHIKEVICH] = {2, 7, 1},
                                                     [NEURON_FITZHUGH_NAGUMO] = {2, 3, 1},
                                                     [NEURON_HODGKIN_HUXLEY] = {4, 7, 1},
                                                     [NEURON_LIF_EULER] = {2, 2, 1},
                                                     [NEURON_EVENT] = {1, 1, 2},
                                                     [NEURON_POISSON] = {0, 0, 1},
                                                     [NEURON_PHOTORECEPTOR] = {4, PR_COUNT, 1},
                                                     [NEURON_KINETICS] = {4, 5, 1}};
    neuron_shape s = shape[d->kind];
    if (d->kind == NEURON_IZHIKEVICH && d->form == IZHIKEVICH_ALL) {
        s.nout = 3;
    }
    return s;
}

typedef void (*sub_step)(const real p[], real dt, real x, real s[]);

/* All Euler steps within one step, of the cells of a row: one after the other, each over all cells. */
INLINE void row_sub(const neuron_row *row, const real *restrict x, int nstate, sub_step sub)
{
    const neuron_desc *d = row->d;
    real *restrict s0 = row->state, *restrict s1 = s0 + row->kind_stride, *restrict s2 = s1 + row->kind_stride, *restrict s3 = s2 + row->kind_stride;
    for (int k = 0; k < d->nsub; k++) {
#pragma GCC ivdep
        for (int i = 0; i < row->nx; i++) {
            real s[NEURON_MOST_STATE] = {s0[i], s1[i], nstate > 2 ? s2[i] : 0, nstate > 3 ? s3[i] : 0};
            sub(d->par, d->sub_dt, x[i], s);
            s0[i] = s[0];
            s1[i] = s[1];
            if (nstate > 3) {
                s2[i] = s[2];
                s3[i] = s[3];
            }
        }
    }
}

static void step_izhikevich(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    row_sub(row, x, 2, cell_izhikevich_sub);
    real *restrict v = row->state, *restrict u = v + row->kind_stride;
    int nout = neuron_look(row->d).nout;
    for (int i = 0; i < row->nx; i++) {
        real s[2] = {v[i], u[i]}, out[NEURON_MOST_OUT];
        cell_izhikevich_end(row->d, s, out);
        v[i] = s[0];
        u[i] = s[1];
        for (int k = 0; k < nout; k++) {
            y[k * row->out_stride + i] = out[k];
        }
    }
}

static void step_fitzhugh_nagumo(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    row_sub(row, x, 2, cell_fitzhugh_nagumo_sub);
    memcpy(y, row->state, (size_t)row->nx * sizeof(real));
}

static void step_hodgkin_huxley(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    row_sub(row, x, 4, cell_hodgkin_huxley_sub);
    memcpy(y, row->state, (size_t)row->nx * sizeof(real));
}

static void step_lif(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    real *restrict v = row->state, *restrict r = v + row->kind_stride;
    for (int i = 0; i < row->nx; i++) {
        real s[2] = {v[i], r[i]};
        y[i] = (real)cell_lif_step(row->d, neuron_at(row, i, step), x[i], s).spike;
        v[i] = s[0];
        r[i] = s[1];
    }
}

static void step_event(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    for (int i = 0; i < row->nx; i++) {
        real out[2];
        cell_event(row->d, x[i], &row->state[i], out);
        y[i] = out[0];
        y[row->out_stride + i] = out[1];
    }
}

static void step_poisson(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    for (int i = 0; i < row->nx; i++) {
        y[i] = cell_poisson(row->d, neuron_at(row, i, step), x[i]);
    }
}

static void step_photoreceptor(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    row_sub(row, x, 4, cell_photoreceptor_sub);
    const real *restrict g = row->state + 3 * row->kind_stride;
#pragma GCC ivdep
    for (int i = 0; i < row->nx; i++) {
        real s[NEURON_MOST_STATE] = {0, 0, 0, g[i]}, out;
        cell_photoreceptor_end(row->d->par, s, &out);
        y[i] = out;
    }
}

static void step_kinetics(const neuron_row *row, int64_t step, const real *restrict x, real *restrict y)
{
    (void)step;
    row_sub(row, x, 4, cell_kinetics_sub);
    memcpy(y, row->state + row->kind_stride, (size_t)row->nx * sizeof(real));
}

neuron_row neuron_row_of(const neuron_desc *d, const int64_t *id, view x, int leaf, int line)
{
    const grid_tile *t = &x.tile[leaf];
    neuron_row row = {.d = d, .nx = t->nx, .seed = neuron_seed(&d->random, t->leaf)};
    row.plane = (int64_t)x.pad_ny * x.pad_nx;
    row.kind_stride = row.plane * x.nchan;
    row.first = (uint64_t)(t->y0 + line) * (uint64_t)d->field_nx + (uint64_t)t->x0;
    row.id = id ? id + (int64_t)leaf * x.pad_nx : NULL;
    return row;
}

static void note_spikes(const neuron_row *row, int64_t step, const real *count, spike_list *out)
{
    for (int i = 0; i < row->nx; i++) {
        int n = (int)count[i];
        for (int k = 0; k < n; k++) {
            cpu_spike_add(out, ((double)step + (k + 0.5) / n) * row->d->step_s, row->id[i]);
        }
    }
}

void cpu_neuron(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride, view y,
                dreal *tape, int64_t tape_stride, spike_list *out)
{
    static void (*const step[NEURON_COUNT])(const neuron_row *, int64_t, const real *, real *) = {[NEURON_IZHIKEVICH] = step_izhikevich,
                                                                                                  [NEURON_FITZHUGH_NAGUMO] = step_fitzhugh_nagumo,
                                                                                                  [NEURON_HODGKIN_HUXLEY] = step_hodgkin_huxley,
                                                                                                  [NEURON_LIF_EULER] = step_lif,
                                                                                                  [NEURON_EVENT] = step_event,
                                                                                                  [NEURON_POISSON] = step_poisson,
                                                                                                  [NEURON_PHOTORECEPTOR] = step_photoreceptor,
                                                                                                  [NEURON_KINETICS] = step_kinetics};
    (void)be;
    ASSERT(d->nsub <= NEURON_MOST_SUB && (!out || id));
    int nstate = neuron_look(d).nstate;
    for (int l = 0; l < x.nleaf; l++) {
        for (int i = 0; i < x.tile[l].ny * x.nchan; i++) {
            int c = i / x.tile[l].ny, line = i % x.tile[l].ny;
            neuron_row row = neuron_row_of(d, id, x, l, line);
            int64_t at = c * row.plane + (int64_t)line * x.pad_nx;
            row.channel = c;
            row.out_stride = y.chan_stride * x.nchan;
            row.state = nstate > 0 ? host(state) + l * state_stride + at : NULL;
            for (int t = 0; t < nt; t++) {
                for (int k = 0; tape && k < nstate; k++) {
                    memcpy(host(tape) + l * tape_stride + (t * nstate + k) * row.kind_stride + at, row.state + k * row.kind_stride,
                           (size_t)row.nx * sizeof(real));
                }
                real *to = cpu_plane(y, l, t, c) + line * y.row_stride;
                step[d->kind](&row, step0 + t, cpu_plane(x, l, t, c) + line * x.row_stride, to);
                if (out) {
                    note_spikes(&row, step0 + t, to, &out[l]);
                }
            }
        }
    }
}

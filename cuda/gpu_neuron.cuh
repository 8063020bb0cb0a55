/* gpu_neuron.cuh - the kinds of cells with memory, each with the names of its mathematics; and the place of a cell. */
#ifndef GPU_NEURON_CUH
#define GPU_NEURON_CUH
#include "compute/cellmath_neuron.h"
#include "gpu_kernel.cuh"
#include "gpu_neuron.h"

/* A kind made of Euler steps: sub and sub_back are one of them, end and end_back what follows once. */
struct izhikevich {
    enum { STATES = 2, PARS = 7, OUTS = 3 };
    __device__ static void sub(const neuron_desc &d, real x, real s[])
    {
        cell_izhikevich_sub(d.par, d.sub_dt, x, s);
    }
    __device__ static void end(const neuron_desc &d, real s[], real y[])
    {
        cell_izhikevich_end(&d, s, y);
    }
    __device__ static void sub_back(const neuron_desc &d, real x, const real s[], real gs[], real *gx, real g[])
    {
        cell_izhikevich_sub_back(d.par, d.sub_dt, x, s, gs, gx, g);
    }
    __device__ static void end_back(const neuron_desc &d, const real s[], const real gy[], real gs[], real g[])
    {
        cell_izhikevich_end_back(&d, s, gy, gs, g);
    }
};

/* Those whose output is a state. */
#define STATE_KIND(name, states, pars, output)                                                                                                       \
    struct name {                                                                                                                                    \
        enum { STATES = states, PARS = pars, OUTS = 1 };                                                                                             \
        __device__ static void sub(const neuron_desc &d, real x, real s[])                                                                           \
        {                                                                                                                                            \
            cell_##name##_sub(d.par, d.sub_dt, x, s);                                                                                                \
        }                                                                                                                                            \
        __device__ static void end(const neuron_desc &, real s[], real y[])                                                                          \
        {                                                                                                                                            \
            y[0] = s[output];                                                                                                                        \
        }                                                                                                                                            \
        __device__ static void sub_back(const neuron_desc &d, real x, const real s[], real gs[], real *gx, real g[])                                 \
        {                                                                                                                                            \
            cell_##name##_sub_back(d.par, d.sub_dt, x, s, gs, gx, g);                                                                                \
        }                                                                                                                                            \
        __device__ static void end_back(const neuron_desc &, const real[], const real gy[], real gs[], real[])                                       \
        {                                                                                                                                            \
            gs[output] += gy[0];                                                                                                                     \
        }                                                                                                                                            \
    }
STATE_KIND(fitzhugh_nagumo, 2, 3, 0);
STATE_KIND(hodgkin_huxley, 4, 7, 0);
STATE_KIND(kinetics, 4, 5, 1);

struct photoreceptor {
    enum { STATES = 4, PARS = PR_COUNT, OUTS = 1 };
    __device__ static void sub(const neuron_desc &d, real x, real s[])
    {
        cell_photoreceptor_sub(d.par, d.sub_dt, x, s);
    }
    __device__ static void end(const neuron_desc &d, real s[], real y[])
    {
        cell_photoreceptor_end(d.par, s, y);
    }
    __device__ static void sub_back(const neuron_desc &d, real x, const real s[], real gs[], real *gx, real g[])
    {
        cell_photoreceptor_sub_back(d.par, d.sub_dt, x, s, gs, gx, g);
    }
    __device__ static void end_back(const neuron_desc &d, const real s[], const real gy[], real gs[], real g[])
    {
        cell_photoreceptor_end_back(d.par, s, gy, gs, g);
    }
};

/* Those that take one step a step. */
struct lif_euler {
    enum { STATES = 2, PARS = 2, OUTS = 1 };
};
struct event {
    enum { STATES = 1, PARS = 1, OUTS = 2 };
};
struct poisson {
    enum { STATES = 0, PARS = 0, OUTS = 1 };
};

/* Cell i of the padded plane of a channel. */
struct neuron_place {
    cell_at at;
    int row, column;
    int64_t kind_stride, state; /* between kinds of state; of the cell's first, within a leaf's states */
};
__device__ static inline bool neuron_find(const neuron_call &k, const gpu_view &x, int leaf, int c, int64_t i, neuron_place *p)
{
    grid_tile tile = x.tile[leaf];
    int64_t plane = (int64_t)x.pad_ny * x.pad_nx;
    if (!gpu_pixel(tile, x.pad_nx, i, &p->row, &p->column)) {
        return false;
    }
    uint64_t pixel = (uint64_t)(tile.y0 + p->row) * (uint64_t)k.d.field_nx + (uint64_t)tile.x0 + (uint64_t)p->column;
    uint64_t who = k.id ? (uint64_t)k.id[(int64_t)leaf * x.pad_nx + p->column] : pixel;
    p->at.seed = neuron_seed(&k.d.random, tile.leaf);
    p->at.who = who + ((uint64_t)c << 40);
    p->at.step = k.step0;
    p->kind_stride = plane * x.nchan;
    p->state = c * plane + i;
    return true;
}
#endif

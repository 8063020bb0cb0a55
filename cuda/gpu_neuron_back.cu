/* gpu_neuron_back.cu - adjoint of gpu_neuron.cu: from the last step to the first, the Euler steps within each step made again from the state on the
 * tape and walked back. */
#include "gpu_block_sums.cuh"
#include "gpu_neuron.cuh"

/* What one step gives back: by the input; by the parameters, summed in double over its Euler steps. */
struct step_gift {
    real gx;
    double g[NEURON_MOST_PAR];
};

template <int PARS> __device__ static inline void add_gift(step_gift *gift, real g[])
{
    for (int j = 0; j < PARS; j++) {
        gift->g[j] += (double)g[j];
        g[j] = 0;
    }
}

/* States of every EACH-th Euler step are kept; from each the next ones are made again.  s: before the step; gs: in, by the state after it; out, by
 * that before. */
template <class K>
__device__ static inline void back_of(K, const neuron_desc &d, const cell_at &, real x, real s[], const real gy[], real gs[], step_gift *gift)
{
    enum { EACH = 8, STATES = K::STATES };
    real kept[NEURON_MOST_SUB / EACH][STATES], before[EACH][STATES], g[K::PARS] = {0};
    for (int n = 0; n < d.nsub; n++) {
        for (int j = 0; n % EACH == 0 && j < STATES; j++) {
            kept[n / EACH][j] = s[j];
        }
        K::sub(d, x, s);
    }
    K::end_back(d, s, gy, gs, g);
    add_gift<K::PARS>(gift, g);
    for (int group = (d.nsub + EACH - 1) / EACH - 1; group >= 0; group--) {
        int n = d.nsub - group * EACH < EACH ? d.nsub - group * EACH : EACH;
        for (int j = 0; j < STATES; j++) {
            s[j] = kept[group][j];
        }
        for (int m = 0; m < n; m++) {
            for (int j = 0; j < STATES; j++) {
                before[m][j] = s[j];
            }
            K::sub(d, x, s);
        }
        for (int m = n - 1; m >= 0; m--) {
            real gx = 0;
            K::sub_back(d, x, before[m], gs, &gx, g);
            add_gift<K::PARS>(gift, g);
            gift->gx += gx;
        }
    }
}
__device__ static inline void back_of(lif_euler, const neuron_desc &d, const cell_at &at, real x, real s[], const real gy[], real gs[],
                                      step_gift *gift)
{
    real g[lif_euler::PARS] = {0};
    cell_lif_back(&d, at, x, s, gy[0], gs, &gift->gx, g);
    add_gift<lif_euler::PARS>(gift, g);
}
__device__ static inline void back_of(event, const neuron_desc &d, const cell_at &, real x, real s[], const real gy[], real gs[], step_gift *gift)
{
    real g[event::PARS] = {0};
    cell_event_back(&d, x, s, gy, gs, &gift->gx, g);
    add_gift<event::PARS>(gift, g);
}

/* Blocks: 256 cells; (leaf, channel).  Every thread takes part in the sums. */
template <class K> __global__ static void back_kernel(neuron_call k, gpu_view x, gpu_view gy, gpu_view gx, double *part)
{
    enum { STATES = K::STATES };
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * x.nchan; plane += gridDim.y) {
        int c = (int)(plane % x.nchan), leaf = (int)(plane / x.nchan);
        neuron_place p = {};
        bool inside = neuron_find(k, x, leaf, c, gpu_thread(), &p);
        real *state = inside ? k.state + leaf * k.state_stride + p.state : NULL, gs[STATES] = {0};
        for (int j = 0; inside && j < STATES; j++) {
            gs[j] = state[j * p.kind_stride];
        }
        for (int t = k.nt - 1; t >= 0; t--) {
            step_gift gift = {0, {0}};
            if (inside) {
                const real *tape = k.tape + leaf * k.tape_stride + (int64_t)t * STATES * p.kind_stride + p.state;
                real s[STATES], by_out[NEURON_MOST_OUT] = {0};
                for (int j = 0; j < STATES; j++) {
                    s[j] = tape[j * p.kind_stride];
                }
                for (int j = 0; j < K::OUTS; j++) {
                    by_out[j] = j < k.nout ? gpu_plane(gy, leaf, t, j * x.nchan + c)[p.row * gy.row_stride + p.column] : 0;
                }
                p.at.step = k.step0 + t;
                back_of(K(), k.d, p.at, gpu_plane(x, leaf, t, c)[p.row * x.row_stride + p.column], s, by_out, gs, &gift);
                if (gx.at) {
                    gpu_plane(gx, leaf, t, c)[p.row * gx.row_stride + p.column] += gift.gx;
                }
            }
            if (part) {
                int64_t block = (((int64_t)leaf * k.nt + t) * x.nchan + c) * gridDim.x + blockIdx.x;
                gpu_block_sums<K::PARS>(gift.g, part + block * K::PARS);
            }
        }
        for (int j = 0; inside && j < STATES; j++) {
            state[j * p.kind_stride] = gs[j];
        }
    }
}

int gpu_neuron_blocks(view x)
{
    return (int)gpu_blocks((int64_t)x.pad_ny * x.pad_nx) * x.nchan;
}

void gpu_neuron_run_back(backend *be, const neuron_call *k, view x, view gy, view gx, double *part)
{
    dim3 grid = gpu_grid((int64_t)x.pad_ny * x.pad_nx, (int64_t)x.nleaf * x.nchan);
    gpu_view from = gpu_see(be, x), by = gpu_see(be, gy), to = gpu_see(be, gx);
    switch (k->d.kind) {
#define CASE(kind, name)                                                                                                                             \
    case kind:                                                                                                                                       \
        LAUNCH(be, (back_kernel<name>), grid, GPU_THREADS, *k, from, by, to, part);                                                                  \
        break
        CASE(NEURON_IZHIKEVICH, izhikevich);
        CASE(NEURON_FITZHUGH_NAGUMO, fitzhugh_nagumo);
        CASE(NEURON_HODGKIN_HUXLEY, hodgkin_huxley);
        CASE(NEURON_LIF_EULER, lif_euler);
        CASE(NEURON_EVENT, event);
        CASE(NEURON_PHOTORECEPTOR, photoreceptor);
        CASE(NEURON_KINETICS, kinetics);
#undef CASE
    case NEURON_POISSON:
    case NEURON_COUNT:
        break;
    }
}

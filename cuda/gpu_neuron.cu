/* gpu_neuron.cu - point neurons and sensors with memory: a thread a cell, all steps of the chunk. */
#include "gpu_neuron.cuh"

template <class K> __device__ static inline void step_of(K, const neuron_desc &d, const cell_at &, real x, real s[], real y[])
{
    for (int n = 0; n < d.nsub; n++) {
        K::sub(d, x, s);
    }
    K::end(d, s, y);
}
__device__ static inline void step_of(lif_euler, const neuron_desc &d, const cell_at &at, real x, real s[], real y[])
{
    y[0] = (real)cell_lif_step(&d, at, x, s).spike;
}
__device__ static inline void step_of(event, const neuron_desc &d, const cell_at &, real x, real s[], real y[])
{
    cell_event(&d, x, s, y);
}
__device__ static inline void step_of(poisson, const neuron_desc &d, const cell_at &at, real x, real[], real y[])
{
    y[0] = cell_poisson(&d, at, x);
}

template <class K> __global__ static void neuron_kernel(neuron_call k, gpu_view x, gpu_view y)
{
    enum { STATES = K::STATES };
    int64_t i = gpu_thread();
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * x.nchan; plane += gridDim.y) {
        int c = (int)(plane % x.nchan), leaf = (int)(plane / x.nchan);
        neuron_place p = {};
        if (!neuron_find(k, x, leaf, c, i, &p)) {
            continue;
        }
        real *state = k.state + leaf * k.state_stride + p.state, *tape = k.tape ? k.tape + leaf * k.tape_stride + p.state : NULL;
        const real *from = gpu_plane(x, leaf, 0, c) + p.row * x.row_stride + p.column;
        real *to = gpu_plane(y, leaf, 0, c) + p.row * y.row_stride + p.column;
        real s[STATES + 1], out[NEURON_MOST_OUT], next = from[0]; /* the next step's is on its way */
        for (int j = 0; j < STATES; j++) {
            s[j] = state[j * p.kind_stride];
        }
        for (int t = 0; t < k.nt; t++, p.at.step++) {
            real now = next;
            next = t + 1 < k.nt ? from[(t + 1) * x.frame_stride] : 0;
            for (int j = 0; tape && j < STATES; j++) {
                tape[((int64_t)t * STATES + j) * p.kind_stride] = s[j];
            }
            step_of(K(), k.d, p.at, now, s, out);
            for (int j = 0; j < K::OUTS; j++) {
                if (j < k.nout) {
                    to[t * y.frame_stride + j * x.nchan * y.chan_stride] = out[j];
                }
            }
        }
        for (int j = 0; j < STATES; j++) {
            state[j * p.kind_stride] = s[j];
        }
    }
}

void gpu_neuron_run(backend *be, const neuron_call *k, view x, view y)
{
    dim3 grid = gpu_grid((int64_t)x.pad_ny * x.pad_nx, (int64_t)x.nleaf * x.nchan);
    gpu_view from = gpu_see(be, x), to = gpu_see(be, y);
    switch (k->d.kind) {
#define CASE(kind, name)                                                                                                                             \
    case kind:                                                                                                                                       \
        LAUNCH(be, (neuron_kernel<name>), grid, GPU_THREADS, *k, from, to);                                                                          \
        break
        CASE(NEURON_IZHIKEVICH, izhikevich);
        CASE(NEURON_FITZHUGH_NAGUMO, fitzhugh_nagumo);
        CASE(NEURON_HODGKIN_HUXLEY, hodgkin_huxley);
        CASE(NEURON_LIF_EULER, lif_euler);
        CASE(NEURON_EVENT, event);
        CASE(NEURON_POISSON, poisson);
        CASE(NEURON_PHOTORECEPTOR, photoreceptor);
        CASE(NEURON_KINETICS, kinetics);
#undef CASE
    case NEURON_COUNT:
        break;
    }
}

/* gpu_neuron.c - point neurons and sensors with memory, and their spikes. */
#include "gpu_neuron.h"

#include "base/error.h"
#include "gpu_spikes.h"

static neuron_call call_of(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride,
                           const dreal *tape, int64_t tape_stride)
{
    ASSERT(d->nsub <= NEURON_MOST_SUB);
    const int64_t *on_device = id ? gpu_table(be, id, (size_t)x.nleaf * (size_t)x.pad_nx * sizeof *id) : NULL;
    return (neuron_call){*d, neuron_look(d).nout, nt, step0, on_device, (real *)state, (real *)tape, state_stride, tape_stride};
}

static void spread_again(backend *be, gpu_spikes *s, real *kept)
{
    view count = gpu_spikes_view(s, kept);
    gpu_spikes_place(be, s, count);
    gpu_spikes_spread(be, s, count);
}

void gpu_neuron(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride, view y,
                dreal *tape, int64_t tape_stride, spike_list *out)
{
    ASSERT(!out || id);
    if (nt < 1 || x.nleaf < 1) {
        return;
    }
    neuron_call k = call_of(be, d, id, step0, nt, x, state, state_stride, tape, tape_stride);
    gpu_neuron_run(be, &k, x, y);
    if (out) { /* of output 0, all channels */
        gpu_spikes *s = gpu_spikes_begin(be, &(gpu_spikes){.nleaf = x.nleaf,
                                                           .nchan = x.nchan,
                                                           .nt = nt,
                                                           .pad = x.pad_nx,
                                                           .step0 = step0,
                                                           .step_s = d->step_s,
                                                           .tile = x.tile,
                                                           .id = id,
                                                           .out = out,
                                                           .again = spread_again});
        gpu_spikes_place(be, s, y);
        gpu_spikes_spread(be, s, y);
    }
}

void gpu_neuron_back(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, const dreal *tape, int64_t tape_stride,
                     view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride)
{
    if (nt < 1 || x.nleaf < 1 || d->kind == NEURON_POISSON) { /* no derivative goes through */
        return;
    }
    int npar = neuron_look(d).npar, nblock = gpu_neuron_blocks(x);
    double *result = g_par ? gpu_result(be, x.nleaf, nt, npar, g_par, g_par_stride, true) : NULL;
    double *part = g_par ? gpu_scratch(be, (size_t)x.nleaf * (size_t)nt * (size_t)nblock * (size_t)npar * sizeof(double)) : NULL;
    neuron_call k = call_of(be, d, id, step0, nt, x, g_state, g_state_stride, tape, tape_stride);
    gpu_neuron_run_back(be, &k, x, gy, gx, part);
    if (g_par) {
        gpu_sum_parts(be, (int64_t)x.nleaf * nt, nblock, npar, part, result);
    }
}

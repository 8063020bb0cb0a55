/* gpu_neuron.h - cells with memory: what gpu_neuron.c asks of the kernels. */
#ifndef GPU_NEURON_H
#define GPU_NEURON_H
#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One chunk: the arguments of neuron and neuron_back as the kernels take them. */
typedef struct neuron_call {
    neuron_desc d;
    int nout, nt;
    int64_t step0;
    const int64_t *id;  /* device; NULL: pixels */
    real *state, *tape; /* device; tape NULL: none */
    int64_t state_stride, tape_stride;
} neuron_call;

void gpu_neuron_run(backend *be, const neuron_call *k, view x, view y);
/* k->state: derivatives by the state.  part: NULL, or [leaf][step][block][npar], sums of a block's derivatives by the parameters. */
void gpu_neuron_run_back(backend *be, const neuron_call *k, view x, view gy, view gx, double *part);
int gpu_neuron_blocks(view x); /* of a leaf and step */

#ifdef __cplusplus
}
#endif
#endif

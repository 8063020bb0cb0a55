/* neuron.c - what the stages of point neurons and sensors share. */
#include "stages/neuron.h"

#include "base/memory.h"

neuron *neuron_plan(const stage_world *w, const stage_input *in, const neuron_desc *d, const double value[], const key_spec key[], int npositive,
                    stage_plan *plan)
{
    neuron_shape shape = neuron_look(d);
    neuron *o = MEMORY_NEW(neuron, 1);
    o->cells = in->cells;
    o->of = MEMORY_NEW(neuron_desc, w->nnet);
    for (int k = 0; k < shape.npar; k++) {
        o->value[k] = value[k];
        stage_add_number(plan, &key[k], &o->value[k], k < npositive ? PARAM_POSITIVE : PARAM_FREE);
    }
    for (int i = 0; i < w->nnet; i++) {
        o->of[i] = *d;
        o->of[i].step_s = w->step_s;
        o->of[i].field_nx = w->grid.nx;
        o->of[i].random = (neuron_random){.seed = w->seed, .ntile = grid_ntile(&w->grid), .nseq = w->grid.nseq};
        neuron_set(o, NULL, i, o->value);
    }
    plan->nchan = in->nchan * shape.nout;
    plan->tape = w->differentiate ? shape.nstate * in->nchan * stage_plane(in) : 0;
    return o;
}

void neuron_add_state(const stage_input *in, const char *name, const char *unit, double start, stage_plan *plan)
{
    plan->state[plan->nstate++] = (stage_state){name, unit, in->nchan * stage_plane(in), start};
}

void neuron_set(void *own, backend *be, int network, const double *value)
{
    neuron *o = own;
    (void)be;
    for (int k = 0; k < neuron_look(&o->of[network]).npar; k++) {
        o->of[network].par[k] = (real)value[k];
    }
}

void neuron_forward(void *own, const stage_call *c)
{
    const neuron *o = own;
    neuron_desc d = o->of[c->network];
    d.random.draw = c->draw;
    c->be->ops->neuron(c->be, &d, stage_ids(o->cells, c), c->step0, c->nt, c->in[0], c->state[0], c->state_stride, c->out, c->tape, c->tape_stride,
                       c->spikes);
}

void neuron_backward(void *own, const stage_call *c, const stage_back *b)
{
    const neuron *o = own;
    neuron_desc d = o->of[c->network];
    d.random.draw = c->draw;
    c->be->ops->neuron_back(c->be, &d, stage_ids(o->cells, c), c->step0, c->nt, c->in[0], c->tape, c->tape_stride, b->g_out, b->g_state[0],
                            b->g_state_stride, b->g_in[0], b->g_par, b->g_par_stride);
}

void neuron_destroy(void *own, backend *be)
{
    neuron *o = own;
    (void)be;
    memory_free(o->of);
    memory_free(o);
}

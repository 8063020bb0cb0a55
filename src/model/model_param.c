/* model_param.c - the parameters of all stages as one vector for each network, and what follows from them before step 0. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "model/model_own.h"

/* What of the outputs has a derivative: all that something fitted has an influence on. */
static void plan_derived(model *m)
{
    m->output[0].derived = m->world.differentiate && m->setup.stimulus_gradient;
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        bool derived = s->fitted;
        for (int k = 0; k < s->nin; k++) {
            derived = derived || m->output[s->in[k]].derived;
        }
        derived = derived && m->world.differentiate && s->type->backward;
        m->output[s->out].derived = derived;
        if (s->second >= 0) {
            m->output[s->second].derived = derived;
        }
    }
}

void model_plan_params(model *m)
{
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        s->value_at = m->nvalue;
        for (int k = 0; k < s->plan.nparam; k++) {
            s->nvalue += s->plan.param[k].n;
            s->fitted = s->fitted || stage_is_fitted(&m->world, s->plan.name, s->plan.param[k].name);
        }
        m->nvalue += s->nvalue;
    }
    plan_derived(m);
    int nnet = m->world.nnet;
    m->value = MEMORY_NEW(double, nnet * m->nvalue);
    m->rest = MEMORY_NEW(double, nnet * m->noutput);
    m->state_start = MEMORY_NEW(double, (int64_t)nnet *m->nstage *STAGE_MAX_STATE);
}

void model_params_destroy(model *m)
{
    memory_free(m->value);
    memory_free(m->rest);
    memory_free(m->state_start);
}

/* Rest values of all outputs and starts of all states, stage by stage. */
static void follow_rest(model *m, int net)
{
    double *rest = m->rest + (int64_t)net * m->noutput;
    rest[0] = m->output[0].rest;
    for (int i = 0; i < m->nstage; i++) {
        const stage *s = &m->stage[i];
        double in[STAGE_MAX_INPUT], out[2] = {s->plan.rest, s->plan.second_rest};
        double *start = m->state_start + ((int64_t)net * m->nstage + i) * STAGE_MAX_STATE;
        for (int k = 0; k < s->nin; k++) {
            in[k] = rest[s->in[k]];
        }
        for (int k = 0; k < s->plan.nstate; k++) {
            start[k] = s->plan.state[k].start;
        }
        if (s->type->start) {
            s->type->start(s->own, net, in, out, start);
        }
        rest[s->out] = m->output[s->out].rest_given ? m->output[s->out].rest : out[0];
        if (s->second >= 0) {
            rest[s->second] = out[1];
        }
        if (m->output[s->out].past_mixed && rest[s->out] != 0) {
            error_fatal(EXIT_BAD_INPUT,
                        "'%s' rests at %g with these parameters, but a later stage takes its past as 0 (start: zero); put a gain stage between",
                        m->output[s->out].name, rest[s->out]);
        }
    }
}

void model_set(model *m, int net, const double *value)
{
    ASSERT(m->be && net >= 0 && net < m->world.nnet);
    double *mine = m->value + net * m->nvalue;
    memmove(mine, value, (size_t)m->nvalue * sizeof *value);
    for (int i = 0; i < m->nstage; i++) {
        const stage *s = &m->stage[i];
        if (s->type->set) {
            s->type->set(s->own, m->be, net, mine + s->value_at);
        }
    }
    follow_rest(m, net);
}

void model_params_attach(model *m)
{
    for (int net = 0; net < m->world.nnet; net++) {
        double *value = m->value + net * m->nvalue;
        for (int i = 0; i < m->nstage; i++) {
            for (int k = 0; k < m->stage[i].plan.nparam; k++) {
                const stage_param *p = &m->stage[i].plan.param[k];
                memcpy(value, p->start, (size_t)p->n * sizeof *value);
                value += p->n;
            }
        }
        model_set(m, net, m->value + net * m->nvalue);
    }
}

void model_values(const model *m, int net, double *value)
{
    memcpy(value, m->value + net * m->nvalue, (size_t)m->nvalue * sizeof *value);
}

int model_nparam(const model *m)
{
    int n = 0;
    for (int i = 0; i < m->nstage; i++) {
        n += m->stage[i].plan.nparam;
    }
    return n;
}

model_param model_param_at(const model *m, int i)
{
    int stage_number = 0;
    while (i >= m->stage[stage_number].plan.nparam) {
        i -= m->stage[stage_number++].plan.nparam;
        ASSERT(stage_number < m->nstage);
    }
    const stage *s = &m->stage[stage_number];
    model_param p = {s->plan.name, s->plan.param[i], s->value_at, stage_is_fitted(&m->world, s->plan.name, s->plan.param[i].name)};
    for (int k = 0; k < i; k++) {
        p.at += s->plan.param[k].n;
    }
    return p;
}

int model_param_find(const model *m, const char *of, const char *param)
{
    for (int i = 0; i < model_nparam(m); i++) {
        model_param p = model_param_at(m, i);
        if (strcmp(p.stage, of) == 0 && strcmp(p.p.name, param) == 0) {
            return i;
        }
    }
    return -1;
}

int64_t model_nvalue(const model *m)
{
    return m->nvalue;
}

int model_nnet(const model *m)
{
    return m->world.nnet;
}

int model_first_net(const model *m)
{
    return m->first_net;
}

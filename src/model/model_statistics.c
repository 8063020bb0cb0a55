/* model_statistics.c - what running statistics of a network become by a sweep in training: the mean over its chunks, each by its steps and sequences,
 * of what its stages say.  A chunk counts once: one that is computed again for the derivative stands before the last that counted. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "model/model_own.h"

static bool any(const model *m)
{
    for (int i = 0; i < m->nstage; i++) {
        for (int k = 0; k < m->stage[i].plan.nparam; k++) {
            if (m->stage[i].plan.param[k].statistic) {
                return true;
            }
        }
    }
    return false;
}

void model_statistics_attach(model *m)
{
    int64_t n = any(m) ? (int64_t)m->world.nnet * m->nvalue : 0;
    m->has_statistics = n > 0;
    m->statistic = MEMORY_NEW(double, n);
    m->statistic_sum = MEMORY_NEW(double, n);
    m->nsequence = m->world.grid.nseq;
}

void model_statistics_destroy(model *m)
{
    memory_free(m->statistic);
    memory_free(m->statistic_sum);
}

bool model_statistics_wanted(const model *m, int64_t step0)
{
    return m->has_statistics && m->training && step0 >= m->counted;
}

void model_statistics_add(model *m, int64_t step0, int nt)
{
    if (model_statistics_wanted(m, step0)) {
        double weight = (double)nt * m->nsequence;
        for (int64_t i = 0; i < m->world.nnet * m->nvalue; i++) {
            m->statistic_sum[i] += weight * m->statistic[i];
        }
        m->statistic_weight += weight;
        m->counted = step0 + nt;
    }
}

void model_statistics_clear(model *m)
{
    if (m->has_statistics) {
        memset(m->statistic_sum, 0, (size_t)(m->world.nnet * m->nvalue) * sizeof *m->statistic_sum);
    }
    m->statistic_weight = 0;
}

void model_statistics(const model *m, int net, double *value)
{
    ASSERT(net >= 0 && net < m->world.nnet);
    for (int i = 0; i < model_nparam(m) && m->statistic_weight > 0; i++) {
        model_param p = model_param_at(m, i);
        for (int64_t k = p.at; p.p.statistic && k < p.at + p.p.n; k++) {
            value[k] = m->statistic_sum[net * m->nvalue + k] / m->statistic_weight;
        }
    }
}

bool model_has_statistics(const model *m)
{
    return any(m);
}

void model_sequences(model *m, int n)
{
    ASSERT(n >= 1 && n <= m->world.grid.nseq);
    m->nsequence = n;
}

/* model_back.c - the derivative of a loss, one chunk at a time from the last to the first.
 *
 * The derivative by an output stands in an array like the output's own, history and halo with it.  What a later chunk wanted of this one's frames, as
 * its history, is carried over when the chunk is opened (carry); what others wanted of a tile's pixels, as their halo, is swapped back before the
 * stage that made them goes backward.  So every stage sees its whole derivative, and forward's mechanisms stand here once more in reverse order. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "model/model_own.h"

/* --- memory -------------------------------------------------------------------------------------------------------------- */
static int at_least_one(int nleaf)
{
    return nleaf > 0 ? nleaf : 1;
}

size_t model_back_bytes(const model *m)
{
    if (!m->world.differentiate) {
        return 0;
    }
    int64_t reals = 2 * m->nstate, sums = m->nvalue + (int64_t)m->nstage * STAGE_MAX_INPUT;
    for (int i = 0; i < m->noutput; i++) {
        reals += m->output[i].derived ? m->output[i].leaf_stride : 0;
    }
    for (int i = 0; i < m->nstage; i++) {
        reals += m->stage[i].plan.tape * m->world.max_nt;
    }
    return (size_t)at_least_one(m->world.nleaf) * ((size_t)reals * sizeof(real) + (size_t)sums * sizeof(double));
}

void model_back_attach(model *m)
{
    if (!m->world.differentiate) {
        return;
    }
    int nleaf = at_least_one(m->world.nleaf);
    for (int i = 0; i < m->noutput; i++) {
        output *o = &m->output[i];
        if (o->derived) {
            o->g = o->v;
            o->g.at = m->be->ops->alloc(m->be, o->leaf_stride * nleaf) + (o->v.at - o->data);
        }
    }
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        if (s->plan.tape > 0 && m->output[s->out].derived) {
            s->tape = m->be->ops->alloc(m->be, s->plan.tape * m->world.max_nt * nleaf);
        }
    }
    m->state_before = m->be->ops->alloc(m->be, m->nstate * nleaf);
    m->g_state = m->be->ops->alloc(m->be, m->nstate * nleaf);
    m->g_par = MEMORY_NEW(double, m->nvalue * nleaf);
    m->g_rest = MEMORY_NEW(double, (int64_t)nleaf *m->nstage *STAGE_MAX_INPUT);
}

static dreal *first_real(const output *o) /* of the array of derivatives */
{
    return o->g.at - (o->v.at - o->data);
}

void model_back_destroy(model *m)
{
    for (int i = 0; i < m->noutput; i++) {
        if (m->output[i].g.at) {
            m->be->ops->release(m->be, first_real(&m->output[i]));
        }
    }
    for (int i = 0; i < m->nstage; i++) {
        m->be->ops->release(m->be, m->stage[i].tape);
    }
    m->be->ops->release(m->be, m->state_before);
    m->be->ops->release(m->be, m->g_state);
    memory_free(m->g_par);
    memory_free(m->g_rest);
}

/* --- from chunk to chunk -------------------------------------------------------------------------------------------------- */
void model_back_start(model *m)
{
    ASSERT(m->world.differentiate);
    int nleaf = at_least_one(m->world.nleaf);
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        if (o->derived) {
            m->be->ops->fill(m->be, first_real(o), 0, o->leaf_stride * nleaf);
        }
    }
    m->be->ops->fill(m->be, m->g_state, 0, m->nstate * nleaf);
    memset(m->g_par, 0, (size_t)(m->nvalue * nleaf) * sizeof *m->g_par);
    memset(m->g_rest, 0, (size_t)nleaf * (size_t)m->nstage * STAGE_MAX_INPUT * sizeof *m->g_rest);
}

/* The history of the chunk after this one are the last frames of this one, or still history. */
typedef struct carry {
    model *m;
    int nt;
} carry;

static void carry_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const carry *c = ctx;
    model *m = c->m;
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        for (int l = first; o->derived && l < first + n; l++) {
            dreal *leaf = first_real(o) + l * o->leaf_stride;
            m->be->ops->move(m->be, leaf + c->nt * o->frame_stride, leaf, o->hist * o->frame_stride);
            m->be->ops->fill(m->be, leaf, 0, c->nt * o->frame_stride);
        }
    }
}

void model_back_open(model *m, int nt)
{
    ASSERT(nt >= 1 && nt <= m->world.max_nt);
    m->be->ops->each_leaf(m->be, m->world.nleaf, carry_leaves, &(carry){m, nt});
}

view model_gradient(model *m, int i)
{
    ASSERT(i >= 0 && i < m->noutput);
    return m->output[i].g;
}

/* --- one chunk -------------------------------------------------------------------------------------------------------------- */
typedef struct run {
    model *m;
    const group *g;
    int64_t step0;
    int nt;
} run;

static stage_back back_of(model *m, const stage *s, int first, int n)
{
    stage_back b = {.g_out = view_of_leaf(m->output[s->out].g, first, n), .g_state_stride = m->nstate, .g_par_stride = m->nvalue};
    if (s->second >= 0) {
        b.g_second = view_of_leaf(m->output[s->second].g, first, n);
    }
    for (int k = 0; k < s->nin; k++) {
        const output *in = &m->output[s->in[k]];
        if (in->derived) {
            b.g_in[k] = view_at_frame(view_of_leaf(in->g, first, n), -s->delay[k]);
        }
    }
    for (int k = 0; k < s->plan.nstate; k++) {
        b.g_state[k] = m->g_state + first * m->nstate + s->state_at[k];
    }
    b.g_par = s->fitted ? m->g_par + first * m->nvalue + s->value_at : NULL;
    b.g_rest = m->g_rest + ((int64_t)first * m->nstage + (s - m->stage)) * STAGE_MAX_INPUT;
    b.g_rest_stride = (int64_t)m->nstage * STAGE_MAX_INPUT;
    return b;
}

static void back_leaves(void *ctx, int first, int n, int worker)
{
    const run *r = ctx;
    model *m = r->m;
    int at = first, net;
    do { /* also without leaves, as forward */
        int same = model_same_network(m, at, first + n, &net);
        for (int i = r->g->first + r->g->count - 1; i >= r->g->first; i--) {
            const stage *s = &m->stage[i];
            if (!m->output[s->out].derived) {
                continue;
            }
            stage_call c = model_call(m, s, at, same, worker, r->step0, r->nt, r->g->coupled);
            for (int k = 0; k < s->plan.nstate; k++) {
                c.state[k] = m->state_before + at * m->nstate + s->state_at[k];
            }
            stage_back b = back_of(m, s, at, same);
            s->type->backward(s->own, &c, &b);
        }
        at += same;
    } while (at < first + n);
}

/* The first frame stood for all before it. */
static void past_was_first_frame(model *m, const output *o)
{
    if (o->past != PAST_FIRST_FRAME || o->hist == 0) {
        return;
    }
    view one = o->g;
    for (int l = 0; l < m->world.nleaf; l++) {
        dreal *leaf = first_real(o) + l * o->leaf_stride;
        for (int h = 0; h < o->hist; h++) {
            m->be->ops->add(m->be, leaf + o->hist * o->frame_stride, leaf + h * o->frame_stride, one.frame_stride);
        }
        m->be->ops->fill(m->be, leaf, 0, o->hist * o->frame_stride);
    }
}

/* Derivatives by what a group made, once all that read it went backward. */
static void collect(model *m, const run *r, int first, int count)
{
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        if (o->derived && model_made_by(o, first, count)) {
            if (r->step0 == 0) {
                past_was_first_frame(m, o);
            }
            model_swap_back(m, o->g, r->nt);
        }
    }
}

void model_back(model *m, int64_t step0, int nt)
{
    ASSERT(m->pending == nt); /* the frames of this very chunk are still there */
    run r = {m, NULL, step0, nt};
    for (int i = m->ngroup - 1; i >= 0; i--) {
        r.g = &m->group[i];
        collect(m, &r, r.g->first, r.g->count);
        if (r.g->coupled) {
            back_leaves(&r, 0, m->world.nleaf, 0);
        } else {
            m->be->ops->each_leaf(m->be, m->world.nleaf, back_leaves, &r);
        }
    }
    collect(m, &r, -1, 1); /* the stimulus */
    m->be->ops->sync(m->be);
}

/* --- what the parameters did to all that was before step 0 -------------------------------------------------------------------- */
static double sum_reals(model *m, const dreal *from, int64_t n)
{
    real *copy = MEMORY_NEW(real, n);
    double sum = 0;
    m->be->ops->download(m->be, copy, from, n);
    for (int64_t i = 0; i < n; i++) {
        sum += (double)copy[i];
    }
    memory_free(copy);
    return sum;
}

/* Derivative by the rest value that stands in the history of output i: everywhere, halo too; what lies between rows is 0. */
static double past_of(model *m, int i, int leaf)
{
    const output *o = &m->output[i];
    bool rests = o->derived && o->hist > 0 && o->past == PAST_REST;
    return rests ? sum_reals(m, first_real(o) + leaf * o->leaf_stride, o->hist * o->frame_stride) : 0;
}

static void rest_of_leaf(model *m, int leaf)
{
    double by_rest[MODEL_MAX_OUTPUT];
    int net;
    model_same_network(m, leaf, leaf + 1, &net);
    const double *rest = m->rest + (int64_t)net * m->noutput;
    for (int i = 0; i < m->noutput; i++) {
        by_rest[i] = past_of(m, i, leaf);
    }
    for (int i = m->nstage - 1; i >= 0; i--) {
        const stage *s = &m->stage[i];
        if (!m->output[s->out].derived) {
            continue;
        }
        double in[STAGE_MAX_INPUT] = {0}, g_in[STAGE_MAX_INPUT] = {0}, g_start[STAGE_MAX_STATE] = {0};
        double out[2] = {m->output[s->out].rest_given ? 0 : by_rest[s->out], s->second >= 0 ? by_rest[s->second] : 0};
        for (int k = 0; k < s->nin; k++) {
            in[k] = rest[s->in[k]];
        }
        for (int k = 0; k < s->plan.nstate; k++) {
            g_start[k] = sum_reals(m, m->g_state + leaf * m->nstate + s->state_at[k], s->plan.state[k].n);
        }
        if (s->type->start_back) {
            s->type->start_back(s->own, net, in, out, g_start, g_in, m->g_par + leaf * m->nvalue + s->value_at);
        }
        for (int k = 0; k < s->nin; k++) {
            by_rest[s->in[k]] += g_in[k] + m->g_rest[((int64_t)leaf * m->nstage + i) * STAGE_MAX_INPUT + k];
        }
    }
}

void model_back_end(model *m)
{
    for (int l = 0; l < m->world.nleaf; l++) {
        rest_of_leaf(m, l);
    }
}

void model_gradient_sum(model *m, double *g)
{
    comm_network_sum(&m->world.grid, m->g_par, m->nvalue, g);
}

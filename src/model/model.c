/* model.c - creation, one chunk forward, state. */
#include "model/model.h"

#include "base/error.h"
#include "base/memory.h"
#include "model/model_own.h"

/* Frames of a chunk on a GPU, which does all leaves of a rank in one launch: each launch and each wait should cover many pixels, as long as no array
 * of a rank grows beyond this. */
static int gpu_chunk(const model_setup *s, const grid *g)
{
    const int64_t most_bytes = 256 << 20, most_steps = 256;
    int64_t leaves = (grid_nleaf(g) + s->nrank - 1) / s->nrank, nt = most_bytes / (leaves * g->tile_ny * g->tile_nx * (int64_t)sizeof(real));
    return (int)(nt < 4 ? 4 : nt > most_steps ? most_steps : nt);
}

/* On the CPU: arrays of a leaf that stay in the second cache, and enough frames to spread the cost of each call. */
static int cpu_chunk(const grid *g, const input_node *stages)
{
    for (int i = 0; i < input_count(stages); i++) {
        const char *type = input_scalar(input_child(input_item(stages, i), "type"));
        const stage_type *t = type ? stage_find(type) : NULL;
        if (t && t->long_chunks) {
            return 64;
        }
    }
    int64_t frame = (int64_t)g->tile_ny * g->tile_nx * (int64_t)sizeof(real), nt = (64 << 10) / frame;
    return nt < 4 ? 4 : nt > 64 ? 64 : (int)nt;
}

static void plan_world(model *m, const model_section *section, const input_node *stages)
{
    const model_setup *s = &m->setup;
    stage_world *w = &m->world;
    w->in = s->in;
    w->step_s = s->step_s;
    w->pixels_per_deg = s->pixels_per_deg;
    w->seed = s->seed;
    w->grid = grid_plan(s->ny, s->nx, s->ntile_y, s->ntile_x);
    w->grid.nseq = s->nseq > 0 ? s->nseq : 1;
    w->grid.nnet = s->nnet > 0 ? s->nnet : 1;
    w->fitted = s->fitted;
    w->nfitted = s->nfitted;
    w->differentiate = s->differentiate;
    grid_owned(&w->grid, s->rank, s->nrank, &w->first_leaf, &w->nleaf);
    m->first_net = w->nleaf > 0 ? grid_network(&w->grid, w->first_leaf) : 0;
    w->nnet = w->nleaf > 0 ? grid_network(&w->grid, w->first_leaf + w->nleaf - 1) - m->first_net + 1 : 1;
    m->tile = MEMORY_NEW(grid_tile, w->nleaf);
    for (int l = 0; l < w->nleaf; l++) {
        m->tile[l] = grid_tile_at(&w->grid, w->first_leaf + l);
    }
    w->tile = m->tile;
    w->fovea_deg = section->fovea_deg;
    w->scaling_per_deg = section->scaling_per_deg;
    w->max_nt = s->chunk_steps > 0 ? s->chunk_steps : s->on_gpu ? gpu_chunk(s, &w->grid) : cpu_chunk(&w->grid, stages);
}

model *model_create(const model_setup *setup)
{
    input *in = setup->in;
    int before = input_nproblem(in);
    model *m = MEMORY_NEW(model, 1);
    m->setup = *setup;
    model_section section = {0, 0};
    const input_node *stages = model_section_read(setup, &section);
    plan_world(m, &section, stages);
    if (input_count(stages) == 0 && input_nproblem(in) == before) {
        input_problem(in, input_child(input_root(in), "model"), "model: needs a preset or a list of stages");
    }
    model_plan_stages(m, stages);
    if (input_nproblem(in) == before) {
        model_plan_arrays(m);
        model_plan_borders(m);
        model_plan_params(m);
    }
    if (input_nproblem(in) > before) {
        model_destroy(m);
        return NULL;
    }
    return m;
}

void model_destroy(model *m)
{
    if (!m) {
        return;
    }
    if (m->be) {
        model_borders_destroy(m);
        model_back_destroy(m);
        m->be->ops->release(m->be, m->state);
    }
    model_params_destroy(m);
    model_statistics_destroy(m);
    for (int i = 0; i < m->noutput; i++) {
        if (m->be) {
            m->be->ops->release(m->be, m->output[i].data);
        }
        memory_free(m->output[i].name);
    }
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        if (s->own) {
            s->type->destroy(s->own, m->be);
        }
        for (int l = 0; s->spikes && l < m->world.nleaf; l++) {
            memory_free(s->spikes[l].item);
        }
        for (int k = 0; k < STAGE_MAX_PARAM; k++) {
            memory_free(s->given[k]);
        }
        memory_free(s->spikes);
        memory_free(s->settings);
    }
    memory_free(m->tile);
    memory_free(m);
}

static view make_view(const model *m, const output *o)
{
    return (view){.at = o->data + o->hist * o->frame_stride + o->halo * o->row_stride + o->halo,
                  .tile = o->cells ? o->cells->tile : o->tile ? o->tile : m->tile,
                  .nleaf = m->world.nleaf,
                  .nchan = o->nchan,
                  .halo = o->halo,
                  .leaf_stride = o->passing && m->be->one_leaf_a_call ? 0 : o->leaf_stride,
                  .frame_stride = o->frame_stride,
                  .chan_stride = o->chan_stride,
                  .row_stride = o->row_stride,
                  .pad_ny = o->cells ? 1 : o->pad_ny,
                  .pad_nx = o->cells ? o->cells->pad : o->pad_nx};
}

void model_keep(model *m, int i)
{
    ASSERT(!m->be && i >= 0 && i < m->noutput);
    m->output[i].kept = true;
    model_plan_passing(m);
}

/* Everything before step 0: histories at rest, states at their start. */
void model_start(model *m)
{
    const backend_ops *ops = m->be->ops;
    for (int l = 0; l < m->world.nleaf; l++) {
        int net;
        model_same_network(m, l, l + 1, &net);
        for (int i = 0; i < m->noutput; i++) {
            const output *o = &m->output[i];
            dreal *past = o->passing ? m->state + l * m->nstate + o->state_at : o->data + l * o->leaf_stride;
            ops->fill(m->be, past, (real)(o->past == PAST_ZERO ? 0 : m->rest[net * m->noutput + i]), o->hist * o->frame_stride);
        }
        for (int i = 0; i < m->nstage; i++) {
            const stage *s = &m->stage[i];
            const double *first = m->state_start + ((int64_t)net * m->nstage + i) * STAGE_MAX_STATE;
            for (int k = 0; k < s->plan.nstate; k++) {
                ops->fill(m->be, m->state + l * m->nstate + s->state_at[k], (real)first[k], s->plan.state[k].n);
            }
        }
    }
    m->pending = 0;
    m->counted = 0;
}

static view input_view(const model *m, const stage *s, int k)
{
    return view_at_frame(m->output[s->in[k]].v, -s->delay[k]);
}

void model_attach(model *m, backend *be)
{
    m->be = be;
    int nleaf = m->world.nleaf > 0 ? m->world.nleaf : 1;
    for (int i = 0; i < m->noutput; i++) {
        output *o = &m->output[i];
        bool small = o->passing && be->one_leaf_a_call;
        o->worker_stride = small ? (o->leaf_stride + 15) / 16 * 16 : o->leaf_stride * nleaf;
        o->data = be->ops->alloc(be, o->worker_stride * (small ? be->nthread : 1));
        o->v = make_view(m, o);
    }
    m->state = be->ops->alloc(be, m->nstate * nleaf);
    m->services = (stage_services){m, model_swap, model_swap_back, model_sum_leaves, model_swap_is_local};
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        if (s->type->attach) {
            view in[STAGE_MAX_INPUT];
            for (int k = 0; k < s->nin; k++) {
                in[k] = input_view(m, s, k);
            }
            s->type->attach(s->own, be, in);
        }
        if (s->plan.spikes) {
            s->spikes = MEMORY_NEW(spike_list, nleaf);
        }
    }
    model_borders_attach(m);
    model_params_attach(m);
    model_statistics_attach(m);
    model_back_attach(m);
    model_start(m);
}

typedef struct run {
    model *m;
    const group *g;
    int64_t step0;
    int nt;
} run;

bool model_made_by(const output *o, int first, int count)
{
    return o->stage >= first && o->stage < first + count;
}

/* Output i as the stages of one call see it. */
static view output_view(const model *m, int i, int first, int n, int worker)
{
    view v = view_of_leaf(m->output[i].v, first, n);
    if (m->output[i].passing) {
        v.at += worker * m->output[i].worker_stride;
    }
    return v;
}

/* Histories of the passing outputs of a group: from the leaves' states into working memory, and the last frames back. */
static void carry_history(const run *r, int first, int n, int worker, bool back)
{
    model *m = r->m;
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        for (int l = 0; o->passing && o->hist > 0 && model_made_by(o, r->g->first, r->g->count) && l < n; l++) {
            dreal *frames = o->data + worker * o->worker_stride + l * o->v.leaf_stride, *state = m->state + (first + l) * m->nstate + o->state_at;
            if (back) {
                m->be->ops->move(m->be, state, frames + r->nt * o->frame_stride, o->hist * o->frame_stride);
            } else {
                m->be->ops->move(m->be, frames, state, o->hist * o->frame_stride);
            }
        }
    }
}

int model_same_network(const model *m, int at, int end, int *net)
{
    const grid *g = &m->world.grid;
    int per_net = grid_ntile(g) * g->nseq, leaf = m->world.first_leaf + at, left = per_net - leaf % per_net;
    *net = leaf / per_net - m->first_net;
    return left < end - at ? left : end - at;
}

stage_call model_call(model *m, const stage *s, int first, int n, int worker, int64_t step0, int nt, bool coupled)
{
    stage_call c = {.be = m->be,
                    .services = coupled ? &m->services : NULL,
                    .first = first,
                    .nleaf = n,
                    .step0 = step0,
                    .nt = nt,
                    .nin = s->nin,
                    .out = output_view(m, s->out, first, n, worker),
                    .state_stride = m->nstate,
                    .spikes = s->spikes ? s->spikes + first : NULL,
                    .tape_stride = s->plan.tape * m->world.max_nt,
                    .training = m->training,
                    .nsequence = m->nsequence,
                    .draw = m->draw};
    model_same_network(m, first, first + n, &c.network);
    c.tape = s->tape ? s->tape + first * c.tape_stride : NULL;
    if (s->second >= 0) {
        c.second = output_view(m, s->second, first, n, worker);
    }
    for (int k = 0; k < s->nin; k++) {
        c.in[k] = view_at_frame(output_view(m, s->in[k], first, n, worker), -s->delay[k]);
    }
    for (int k = 0; k < s->plan.nstate; k++) {
        c.state[k] = m->state + first * m->nstate + s->state_at[k];
    }
    return c;
}

static void run_leaves(void *ctx, int first, int n, int worker)
{
    const run *r = ctx;
    model *m = r->m;
    int at = first, net;
    carry_history(r, first, n, worker, false);
    do { /* also without leaves: a coupled stage may sum over those of other ranks */
        int same = model_same_network(m, at, first + n, &net);
        for (int i = r->g->first; i < r->g->first + r->g->count; i++) {
            stage_call c = model_call(m, &m->stage[i], at, same, worker, r->step0, r->nt, r->g->coupled);
            c.statistics = model_statistics_wanted(m, r->step0) ? m->statistic + net * m->nvalue + m->stage[i].value_at : NULL;
            m->stage[i].type->forward(m->stage[i].own, &c);
        }
        at += same;
    } while (at < first + n);
    carry_history(r, first, n, worker, true);
}

/* The first frame stands for all that came before it, where a stage asks for that. */
static void past_is_first_frame(model *m, int first, int count)
{
    for (int i = 0; i < m->noutput; i++) {
        output *o = &m->output[i];
        if (!model_made_by(o, first, count)) {
            continue;
        }
        for (int h = 0; o->past == PAST_FIRST_FRAME && h < o->hist; h++) {
            for (int l = 0; l < m->world.nleaf; l++) {
                dreal *leaf = o->data + l * o->leaf_stride;
                m->be->ops->move(m->be, leaf + h * o->frame_stride, leaf + o->hist * o->frame_stride, o->frame_stride);
            }
        }
    }
}

/* Halos of what a group made; a coupled stage has swapped those of its first output itself. */
static void settle(model *m, const run *r, const group *g)
{
    for (int i = 0; i < m->noutput; i++) {
        bool done = g->coupled && i == m->stage[g->first].out;
        if (model_made_by(&m->output[i], g->first, g->count) && !done) {
            model_swap(m, m->output[i].v, r->nt);
        }
    }
    if (r->step0 == 0) {
        past_is_first_frame(m, g->first, g->count);
    }
}

/* The last frames go before frame 0; the chunk's own frames stay readable. */
static void keep_history(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const run *r = ctx;
    model *m = r->m;
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        for (int l = first; o->hist > 0 && !o->passing && l < first + n; l++) {
            dreal *leaf = o->data + l * o->leaf_stride;
            m->be->ops->move(m->be, leaf, leaf + r->nt * o->frame_stride, o->hist * o->frame_stride);
        }
    }
}

/* Before a backward sweep the frames of a chunk stay where they are; any other use of the model wants them to be history. */
static void end_chunk(model *m)
{
    if (m->pending > 0) {
        run r = {m, NULL, 0, m->pending};
        m->be->ops->each_leaf(m->be, m->world.nleaf, keep_history, &r);
        m->pending = 0;
    }
}

void model_training(model *m, bool training, int64_t draw)
{
    m->training = training;
    m->draw = draw;
    model_statistics_clear(m);
}

void model_queue(model *m, int64_t step0, int nt)
{
    ASSERT(m->be && nt >= 1 && nt <= m->world.max_nt);
    run r = {m, NULL, step0, nt};
    end_chunk(m);
    if (m->world.differentiate) {
        m->be->ops->move(m->be, m->state_before, m->state, m->nstate * m->world.nleaf);
    }
    for (int i = 0; i < m->nstage; i++) {
        for (int l = 0; m->stage[i].spikes && l < m->world.nleaf; l++) {
            m->stage[i].spikes[l].n = 0;
        }
    }
    settle(m, &r, &(group){-1, 1, false}); /* the stimulus */
    for (int i = 0; i < m->ngroup; i++) {
        r.g = &m->group[i];
        if (r.g->coupled) {
            run_leaves(&r, 0, m->world.nleaf, 0);
        } else {
            m->be->ops->each_leaf(m->be, m->world.nleaf, run_leaves, &r);
        }
        settle(m, &r, r.g);
    }
    model_statistics_add(m, step0, nt);
    m->pending = nt;
    if (!m->world.differentiate) {
        end_chunk(m);
    }
}

void model_forward(model *m, int64_t step0, int nt)
{
    model_queue(m, step0, nt);
    m->be->ops->sync(m->be);
}

view model_stimulus(model *m)
{
    end_chunk(m); /* what stands there now is about to be overwritten */
    return m->output[0].v;
}

/* --- state of a leaf: the stages' own, then the history of every output ------------------------------------------------- */
static int64_t past_reals(const output *o) /* a leaf's; that of a passing output is in its state already */
{
    return o->passing ? 0 : o->hist * o->frame_stride;
}

int64_t model_nstate(const model *m)
{
    int64_t n = m->nstate;
    for (int i = 0; i < m->noutput; i++) {
        n += past_reals(&m->output[i]);
    }
    return n;
}

void model_state_get(model *m, int leaf, real *state)
{
    end_chunk(m);
    m->be->ops->download(m->be, state, m->state + leaf * m->nstate, m->nstate);
    state += m->nstate;
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        int64_t n = past_reals(o);
        if (n > 0) {
            m->be->ops->download(m->be, state, o->data + leaf * o->leaf_stride, n);
        }
        state += n;
    }
}

void model_state_set(model *m, int leaf, const real *state)
{
    m->pending = 0; /* of all leaves: they are set together */
    m->be->ops->upload(m->be, m->state + leaf * m->nstate, state, m->nstate);
    state += m->nstate;
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        int64_t n = past_reals(o);
        if (n > 0) {
            m->be->ops->upload(m->be, o->data + leaf * o->leaf_stride, state, n);
        }
        state += n;
    }
}

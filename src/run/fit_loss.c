/* fit_loss.c - the loss of a chunk and its derivative by the outputs; sums over time courses, for scores and for correlations.
 *
 * Nothing here waits for a device: what the loss adds up, and what the moments are made of, come to the host when the sweep waits anyway. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

static int nterm(const fit *f)
{
    return f->nitem + 2 * f->loss.nactivity;
}

static bool is_correlation(const fit *f, const fit_item *it)
{
    return it->r && f->loss.type == LOSS_TYPE_CORRELATION;
}

bool fit_any_correlation(const fit *f)
{
    return f->loss.type == LOSS_TYPE_CORRELATION && f->nitem > 0 && f->item[0].r;
}

static int network_of(const fit *f, int l)
{
    return grid_network(model_grid(f->m), model_first_leaf(f->m) + l) - model_first_net(f->m);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

void fit_loss_attach(fit *f)
{
    int nleaf = f->nleaf > 0 ? f->nleaf : 1, nnet = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1;
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        f->nstash = it->target.stride > f->nstash ? it->target.stride : f->nstash;
        if (is_correlation(f, it)) {
            it->slope = f->be->ops->alloc(f->be, nleaf * it->target.stride);
            it->slope_line = MEMORY_NEW(real, nnet * 4 * it->nelement);
        }
    }
    f->stash = MEMORY_NEW(real, 2 * f->nstash * f->be->nthread);
    f->moments = MEMORY_NEW(fit_moments, nnet * f->nelement);
    f->slope = MEMORY_NEW(loss_slope, nnet * f->nelement);
}

void fit_loss_destroy(fit *f)
{
    for (int i = 0; i < f->nitem; i++) {
        if (f->be) {
            f->be->ops->release(f->be, f->item[i].slope);
        }
        memory_free(f->item[i].slope_line);
    }
    memory_free(f->stash);
    memory_free(f->moments);
    memory_free(f->slope);
}

/* --- a turn ---------------------------------------------------------------------------------------------------------- */

static double terms(const fit *f, int item, int net, fit_set set)
{
    double n = 0;
    for (int64_t i = 0; i < set.n; i++) {
        n += f->item[item].count[net * f->nsequence + set.sequence[i]];
    }
    return n;
}

/* What each sum is divided by is known before the sweep. */
static void find_factors(const fit *f, fit_set set, double *factor, double *activity)
{
    for (int k = 0; k < model_nnet(f->m); k++) {
        for (int i = 0; i < f->nitem; i++) {
            enum loss_reduce reduce = f->item[i].r ? (enum loss_reduce)f->loss.reduce : LOSS_MEAN;
            factor[k * f->nitem + i] = loss_factor(f->loss.weight * f->item[i].weight, reduce, terms(f, i, k, set));
        }
        double steps = 0;
        for (int64_t i = 0; i < set.n && f->step_count; i++) {
            steps += f->step_count[k * f->nsequence + set.sequence[i]];
        }
        activity[k] = loss_factor(1, (enum loss_reduce)f->loss.reduce, steps);
    }
}

fit_turn fit_turn_create(fit *f, fit_set set)
{
    int nnet = model_nnet(f->m);
    fit_turn t = {.f = f, .sequence = MEMORY_NEW(int64_t, f->nseq), .factor = MEMORY_NEW(double, nnet * (f->nitem + 1))};
    t.activity_factor = t.factor + nnet * f->nitem;
    t.chunk = MEMORY_NEW(double, f->nleaf * nterm(f));
    t.value = MEMORY_NEW(double, f->nleaf * nterm(f));
    find_factors(f, set, t.factor, t.activity_factor);
    return t;
}

void fit_turn_destroy(fit_turn *t)
{
    memory_free(t->sequence);
    memory_free(t->factor);
    memory_free(t->chunk);
    memory_free(t->value);
}

/* --- the loss of a chunk ----------------------------------------------------------------------------------------------- */

/* One term of every own leaf. */
typedef struct loss_call {
    fit *f;
    enum loss_kind kind;
    double weight, epsilon;
    const double *factor; /* [own network][stride]; NULL: 1 */
    int stride, nt;
    view y, target, mask, gy;
    double *value; /* [own leaf] */
} loss_call;

static double factor_of(const loss_call *c, int l)
{
    return c->weight * (c->factor ? c->factor[network_of(c->f, l) * c->stride] : 1);
}

static view some_leaves(view v, int first, int n)
{
    return v.at ? view_of_leaf(v, first, n) : (view){0};
}

/* Leaves whose derivative has the same factor in one call: networks with as many terms, which is all of them as a rule. */
static void call_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const loss_call *c = ctx;
    for (int at = first, same; at < first + n; at += same) {
        double par[2] = {factor_of(c, at), c->epsilon};
        same = 1;
        while (at + same < first + n && factor_of(c, at + same) == par[0]) {
            same++;
        }
        c->f->be->ops->loss(c->f->be, c->kind, par, c->nt, view_of_leaf(c->y, at, same), some_leaves(c->target, at, same),
                            view_of_leaf(c->mask, at, same), some_leaves(c->gy, at, same), c->value + at);
    }
}

static void call_loss(loss_call *c)
{
    c->f->be->ops->each_leaf(c->f->be, c->f->nleaf, call_leaves, c);
}

static view item_view(const fit *f, const fit_item *it, dreal *at)
{
    view v = model_output_at(f->m, it->output).v;
    v.at = at;
    v.halo = 0;
    v.leaf_stride = it->target.stride;
    v.frame_stride = it->frame_stride;
    v.chan_stride = it->chan_stride;
    v.row_stride = it->row_stride;
    return v;
}

/* dr/dy_t is a line in y and in the target, for each element one of its own. */
typedef struct slope_call {
    fit *f;
    const fit_item *it;
    int nt;
} slope_call;

static void slope_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const slope_call *c = ctx;
    fit *f = c->f;
    const fit_item *it = c->it;
    model_output o = model_output_at(f->m, it->output);
    view target = item_view(f, it, it->target.now), slope = item_view(f, it, it->slope);
    f->be->ops->fill(f->be, it->slope + first * it->target.stride, 0, n * it->target.stride);
    for (int at = first, same; at < first + n; at += same) {
        int net = network_of(f, at);
        same = 1;
        while (at + same < first + n && network_of(f, at + same) == net) {
            same++;
        }
        unit_table u = {it->nelement, it->map_ny * it->map_nx, it->map_nx, 1, NULL};
        if (o.cells) {
            u = (unit_table){it->nelement, o.cells->ncell, 0, 1, o.cells->id + (int64_t)at * o.cells->pad};
        }
        f->be->ops->unit_line_back(f->be, &u, it->slope_line + net * 4 * it->nelement, c->nt, view_of_leaf(o.v, at, same),
                                   view_of_leaf(target, at, same), view_of_leaf(slope, at, same));
    }
}

static void add_item(const fit_turn *t, int i, int nt, bool gradient)
{
    fit *f = t->f;
    const fit_item *it = &f->item[i];
    loss_call c = {.f = f, .weight = 1, .epsilon = f->loss.epsilon, .factor = t->factor + i, .stride = f->nitem, .nt = nt};
    c.kind = it->r ? loss_op(&f->loss) : LOSS_LINEAR;
    c.y = model_output_at(f->m, it->output).v;
    c.target = item_view(f, it, it->target.now);
    c.mask = item_view(f, it, it->mask.now);
    c.value = t->chunk + (int64_t)i * f->nleaf;
    if (gradient) {
        c.gy = model_gradient(f->m, it->output);
    }
    if (is_correlation(f, it)) {
        c.factor = NULL;
        if (gradient) {
            f->be->ops->each_leaf(f->be, f->nleaf, slope_leaves, &(slope_call){f, it, nt});
            c.target.at = it->slope;
        }
    }
    call_loss(&c);
}

/* At the steps at which some response counts. */
static void add_activity(const fit_turn *t, int i, int nt, bool gradient)
{
    fit *f = t->f;
    const loss_activity *a = &f->loss.activity[i];
    loss_call c = {.f = f, .factor = t->activity_factor, .stride = 1, .nt = nt, .y = model_output_at(f->m, f->activity[i]).v};
    if (gradient) {
        c.gy = model_gradient(f->m, f->activity[i]);
    }
    c.mask = c.y;
    c.mask.at = f->steps.now;
    c.mask.leaf_stride = f->steps.stride;
    c.mask.frame_stride = f->step_width;
    c.mask.chan_stride = c.mask.row_stride = c.mask.halo = 0;
    for (int kind = 0; kind < 2; kind++) {
        c.kind = kind == 0 ? LOSS_ACTIVITY_L1 : LOSS_ACTIVITY_L2;
        c.weight = kind == 0 ? a->l1 : a->l2;
        c.value = t->chunk + (int64_t)(f->nitem + 2 * i + kind) * f->nleaf;
        if (c.weight > 0) {
            call_loss(&c);
        }
    }
}

void fit_add_loss(const fit_turn *t, int64_t t0, int nt, bool gradient)
{
    fit *f = t->f;
    log_phase(PHASE_RECORD);
    fit_aim(f, t->sequence, t0, nt);
    for (int i = 0; i < f->nitem; i++) {
        add_item(t, i, nt, gradient);
    }
    for (int i = 0; i < f->loss.nactivity; i++) {
        add_activity(t, i, nt, gradient);
    }
    log_phase(PHASE_COMPUTE);
}

void fit_take_loss(const fit_turn *t)
{
    int n = nterm(t->f), nleaf = t->f->nleaf;
    for (int l = 0; l < nleaf; l++) {
        for (int i = 0; i < n; i++) {
            t->value[l * n + i] += t->chunk[i * nleaf + l];
        }
    }
    memset(t->chunk, 0, (size_t)(n * nleaf) * sizeof *t->chunk);
}

void fit_sum_losses(fit *f, const fit_turn *t)
{
    int n = nterm(f), nnet = model_nnet(f->m);
    double *total = MEMORY_NEW(double, nnet * n);
    comm_network_sum(model_grid(f->m), t->value, n, total);
    for (int k = 0; k < nnet; k++) {
        f->losses[k] = 0;
        for (int i = 0; i < f->nitem; i++) {
            f->losses[k] += is_correlation(f, &f->item[i]) ? 0 : t->factor[k * f->nitem + i] * total[k * n + i];
        }
        for (int i = 0; i < f->loss.nactivity; i++) {
            const double *v = total + k * n + f->nitem + 2 * i;
            f->losses[k] += t->activity_factor[k] * (f->loss.activity[i].l1 * v[0] + f->loss.activity[i].l2 * v[1]);
        }
    }
    memory_free(total);
}

/* --- time courses ------------------------------------------------------------------------------------------------------ */

/* The line through the means of y and r: by_y (y - mean y) + by_target (r - mean r). */
static void write_line(const fit_item *it, const loss_slope *slope, const loss_moments *m, real *line)
{
    int64_t n = it->nelement;
    for (int64_t e = 0; e < n; e++) {
        bool counts = m[e].w > 0;
        line[e] = counts ? (real)(m[e].y / m[e].w) : 0;
        line[n + e] = (real)slope[e].by_target;
        line[2 * n + e] = counts ? (real)(-slope[e].by_target * (m[e].r / m[e].w)) : 0;
        line[3 * n + e] = (real)slope[e].by_y;
    }
}

void fit_add_correlations(fit *f)
{
    for (int k = 0; k < model_nnet(f->m); k++) {
        int64_t at = k * f->nelement;
        for (int i = 0; i < f->nitem; i++) {
            const fit_item *it = &f->item[i];
            if (is_correlation(f, it)) {
                loss_moments *m = MEMORY_NEW(loss_moments, it->nelement);
                for (int64_t e = 0; e < it->nelement; e++) {
                    m[e] = f->moments[at + e].m;
                }
                double factor = loss_factor(f->loss.weight * it->weight, LOSS_MEAN, (double)loss_correlation_count(it->nelement, m));
                f->losses[k] += factor * loss_correlation(it->nelement, m, factor, f->slope + at);
                write_line(it, f->slope + at, m, it->slope_line + k * 4 * it->nelement);
                memory_free(m);
            }
            at += it->nelement;
        }
    }
}

/* Three arrays of a leaf that come to the host one after the other. */
typedef struct course_of_leaf {
    fit *f;
    const fit_item *it;
    int leaf, nt;
    real *stash;     /* target and weights */
    fit_moments *to; /* [nelement] */
} course_of_leaf;

static void stash_target(void *ctx, const real *at)
{
    const course_of_leaf *c = ctx;
    memcpy(c->stash, at, (size_t)(c->nt * c->it->frame_stride) * sizeof *at);
}

static void stash_weights(void *ctx, const real *at)
{
    const course_of_leaf *c = ctx;
    memcpy(c->stash + c->f->nstash, at, (size_t)(c->nt * c->it->frame_stride) * sizeof *at);
}

static fit_moments add_course(fit_moments s, double epsilon, int nt, const real *target, const real *weight, int64_t stride, const real *y,
                              int64_t y_stride)
{
    for (int t = 0; t < nt; t++) {
        double w = (double)weight[t * stride], r = (double)target[t * stride], p = (double)y[t * y_stride];
        if (w != 0) {
            s.m.w += w;
            s.m.y += w * p;
            s.m.r += w * r;
            s.m.yy += w * p * p;
            s.m.rr += w * r * r;
            s.m.yr += w * p * r;
            s.rlogy += r > 0 ? w * r * log(fmax(p, 0) + epsilon) : 0;
        }
    }
    return s;
}

static void add_output(void *ctx, const real *y)
{
    const course_of_leaf *c = ctx;
    const fit_item *it = c->it;
    model_output o = model_output_at(c->f->m, it->output);
    const grid_tile *tile = &o.v.tile[c->leaf];
    int64_t before = o.v.halo * o.v.row_stride + o.v.halo;
    for (int k = 0; k < o.nchan; k++) {
        for (int row = 0; row < tile->ny; row++) {
            for (int x = 0; x < tile->nx; x++) {
                int64_t at = k * it->chan_stride + row * it->row_stride + x;
                const real *course = y + before + k * o.v.chan_stride + row * o.v.row_stride + x;
                fit_moments *to = &c->to[fit_element(it, o.cells, o.v, c->leaf, k, row, x)];
                *to = add_course(*to, c->f->loss.epsilon, c->nt, c->stash + at, c->stash + c->f->nstash + at, it->frame_stride, course,
                                 o.v.frame_stride);
            }
        }
    }
}

typedef struct moments_call {
    fit *f;
    const fit_item *it;
    int nt;
    fit_moments *to; /* [own leaf][nelement of all items], of this item */
} moments_call;

static void moments_of_leaves(void *ctx, int first, int n, int worker)
{
    const moments_call *m = ctx;
    fit *f = m->f;
    const fit_item *it = m->it;
    const backend_ops *ops = f->be->ops;
    view v = model_output_at(f->m, it->output).v;
    for (int l = first; l < first + n; l++) {
        course_of_leaf c = {f, it, l, m->nt, f->stash + 2 * f->nstash * worker, m->to + l * f->nelement};
        ops->fetch(f->be, it->target.now + l * it->target.stride, m->nt * it->frame_stride, stash_target, &c, sizeof c);
        ops->fetch(f->be, it->mask.now + l * it->mask.stride, m->nt * it->frame_stride, stash_weights, &c, sizeof c);
        ops->fetch(f->be, v.at + l * v.leaf_stride - v.halo * v.row_stride - v.halo, m->nt * v.frame_stride, add_output, &c, sizeof c);
    }
}

void fit_take_moments(fit *f, int nt, fit_moments *mine)
{
    int64_t first = 0;
    for (int i = 0; i < f->nitem; i++) {
        f->be->ops->each_leaf(f->be, f->nleaf, moments_of_leaves, &(moments_call){f, &f->item[i], nt, mine + first});
        first += f->item[i].nelement;
    }
}

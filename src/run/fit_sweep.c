/* fit_sweep.c - one sweep over the sequences of a set: loss forward, derivative backward. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

/* One turn: as many sequences as are in flight. */
typedef struct turn {
    fit *f;
    const int64_t *sequence; /* [nseq]; -1: none */
    int64_t segment;         /* first step of the window that is back-propagated through at once */
    const double *factor;    /* [own network][item] */
    const double *activity_factor; /* [own network] */
    double *value;           /* [own leaf][term] sums of the loss; terms: items, then L1 and L2 of each activity */
} turn;

static int nterm(const fit *f)
{
    return f->nitem + 2 * f->loss.nactivity;
}

static int64_t segment_steps(const fit *f)
{
    return f->seq.truncate > 0 && f->seq.truncate < f->window ? f->seq.truncate : f->window;
}

static int chunk_at(const fit *f, int64_t t, int64_t end)
{
    return (int)(end - t < f->chunk ? end - t : f->chunk);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

/* Reals of all states of the rank with the most leaves, so that every rank keeps the same boundaries. */
static int64_t states_most(const fit *f)
{
    double most = f->nleaf;
    comm_max_double(&most, 1);
    return (int64_t)most * model_nstate(f->m);
}

void fit_sweep_attach(fit *f)
{
    int nnet = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1;
    f->nvalue = model_nvalue(f->m);
    f->value = MEMORY_NEW(double, nnet * f->nvalue);
    f->g_value = MEMORY_NEW(double, nnet * f->nvalue);
    f->g_part = MEMORY_NEW(double, nnet * f->nvalue);
    f->g_u = MEMORY_NEW(double, nnet * f->nu);
    f->losses = MEMORY_NEW(double, nnet);
    f->moments = MEMORY_NEW(fit_moments, nnet * f->nelement);
    f->slope = MEMORY_NEW(loss_slope, nnet * f->nelement);
    int64_t nstate = states_most(f);
    f->states = MEMORY_NEW(real, segment_steps(f) < f->window ? nstate : 0);
    int nchunk = (int)((segment_steps(f) + f->chunk - 1) / f->chunk);
    if (nchunk > 1) {
        size_t needed, allowed = (size_t)f->s.memory_mb << 20;
        f->rewind = rewind_create(nstate, nchunk, allowed, &needed);
        if (!f->rewind) {
            error_fatal(EXIT_NO_DEVICE, "back-propagation through %lld steps needs %.0f MiB of states a rank; allowed: fit.memory_mb %lld; use more ranks, or truncate",
                        (long long)segment_steps(f), ceil((double)needed / 1048576), (long long)f->s.memory_mb);
        }
        log_say(LOG_PROGRESS, "back-propagation through %d chunks of %d steps: every %d-th state kept, %.3g MB a rank", nchunk, f->chunk,
                rewind_spacing(f->rewind), (double)rewind_bytes(f->rewind) * 1e-6);
    }
}

void fit_sweep_destroy(fit *f)
{
    void *own[] = {f->value, f->g_value, f->g_part, f->g_u, f->losses, f->moments, f->slope, f->states};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        memory_free(own[i]);
    }
    if (f->rewind) {
        rewind_destroy(f->rewind);
    }
}

/* --- forward --------------------------------------------------------------------------------------------------------- */

static void states_get(fit *f, real *to)
{
    for (int l = 0; l < f->nleaf; l++) {
        model_state_get(f->m, l, to + l * model_nstate(f->m));
    }
}

static void states_set(fit *f, const real *from)
{
    for (int l = 0; l < f->nleaf; l++) {
        model_state_set(f->m, l, from + l * model_nstate(f->m));
    }
}

static void run_chunk(const turn *t, int64_t t0, int nt)
{
    log_phase(PHASE_STIMULUS);
    fit_show(t->f, t->sequence, t0, nt);
    log_phase(PHASE_COMPUTE);
    model_forward(t->f->m, t0, nt);
}

static bool is_correlation(const fit *f, const fit_item *it)
{
    return it->r && f->loss.type == LOSS_TYPE_CORRELATION;
}

static view item_view(const fit *f, const fit_item *it, dreal *at)
{
    view v = model_output_at(f->m, it->output).v;
    v.at = at;
    v.halo = 0;
    v.leaf_stride = it->leaf_stride;
    v.frame_stride = it->frame_stride;
    v.chan_stride = it->chan_stride;
    v.row_stride = it->row_stride;
    return v;
}

/* What stands in the target of a correlation is replaced by the derivative of the loss by the output. */
static void slope_for_target(fit *f, const fit_item *it, const loss_slope *slope, int leaf, int nt)
{
    model_output o = model_output_at(f->m, it->output);
    const grid_tile *tile = &o.v.tile[leaf];
    int64_t n = nt * it->frame_stride, before = o.v.halo * o.v.row_stride + o.v.halo;
    real *target = MEMORY_NEW(real, n);
    dreal *place = it->target + leaf * it->leaf_stride;
    f->be->ops->download(f->be, target, place, n);
    f->be->ops->download(f->be, f->staging, o.v.at + leaf * o.v.leaf_stride - before, nt * o.v.frame_stride);
    for (int c = 0; c < o.nchan; c++) {
        for (int y = 0; y < tile->ny; y++) {
            for (int x = 0; x < tile->nx; x++) {
                const loss_slope *s = &slope[fit_element(it, o.cells, o.v, leaf, c, y, x)];
                for (int t = 0; t < nt; t++) {
                    real *r = &target[t * it->frame_stride + c * it->chan_stride + y * it->row_stride + x];
                    double at = (double)f->staging[before + t * o.v.frame_stride + c * o.v.chan_stride + y * o.v.row_stride + x];
                    *r = (real)(s->by_y * at + s->by_target * (double)*r + s->constant);
                }
            }
        }
    }
    f->be->ops->upload(f->be, place, target, n);
    memory_free(target);
}

static void add_item(const turn *t, int i, int64_t slope_at, int nt, bool gradient)
{
    fit *f = t->f;
    const fit_item *it = &f->item[i];
    const grid *g = model_grid(f->m);
    view y = model_output_at(f->m, it->output).v, target = item_view(f, it, it->target), mask = item_view(f, it, it->mask), gy = {0};
    bool correlation = is_correlation(f, it);
    if (gradient) {
        gy = model_gradient(f->m, it->output);
    }
    for (int l = 0; l < f->nleaf; l++) {
        int net = grid_network(g, model_first_leaf(f->m) + l) - model_first_net(f->m);
        double value = 0, par[2] = {correlation ? 1 : t->factor[net * f->nitem + i], f->loss.epsilon};
        if (correlation && gradient) {
            slope_for_target(f, it, f->slope + net * f->nelement + slope_at, l, nt);
        }
        f->be->ops->loss(f->be, it->r ? loss_op(&f->loss) : LOSS_LINEAR, par, nt, view_of_leaf(y, l, 1), view_of_leaf(target, l, 1),
                         view_of_leaf(mask, l, 1), gy.at ? view_of_leaf(gy, l, 1) : (view){0}, &value);
        f->be->ops->sync(f->be);
        t->value[l * nterm(f) + i] += value;
    }
}

/* At the steps at which some response counts. */
static void add_activity(const turn *t, int i, int nt, bool gradient)
{
    fit *f = t->f;
    const loss_activity *a = &f->loss.activity[i];
    const grid *g = model_grid(f->m);
    view y = model_output_at(f->m, f->activity[i]).v, gy = {0}, mask = y;
    if (gradient) {
        gy = model_gradient(f->m, f->activity[i]);
    }
    mask.at = f->step_mask;
    mask.leaf_stride = (int64_t)f->chunk * f->step_width;
    mask.frame_stride = f->step_width;
    mask.chan_stride = mask.row_stride = mask.halo = 0;
    for (int l = 0; l < f->nleaf; l++) {
        int leaf = model_first_leaf(f->m) + l;
        for (int kind = 0; t->sequence[grid_sequence(g, leaf)] >= 0 && kind < 2; kind++) {
            double weight = kind == 0 ? a->l1 : a->l2, value = 0;
            double par[2] = {weight * t->activity_factor[grid_network(g, leaf) - model_first_net(f->m)], 0};
            if (weight > 0) {
                f->be->ops->loss(f->be, kind == 0 ? LOSS_ACTIVITY_L1 : LOSS_ACTIVITY_L2, par, nt, view_of_leaf(y, l, 1), (view){0}, view_of_leaf(mask, l, 1),
                                 gy.at ? view_of_leaf(gy, l, 1) : (view){0}, &value);
                f->be->ops->sync(f->be);
                t->value[l * nterm(f) + f->nitem + 2 * i + kind] += value;
            }
        }
    }
}

/* Loss of the chunk just computed; with gradient into model_gradient, which is open. */
static void add_loss(const turn *t, int64_t t0, int nt, bool gradient)
{
    fit *f = t->f;
    int64_t at = 0;
    log_phase(PHASE_RECORD);
    fit_aim(f, t->sequence, t0, nt);
    for (int i = 0; i < f->nitem; i++) {
        add_item(t, i, at, nt, gradient);
        at += f->item[i].nelement;
    }
    for (int i = 0; i < f->loss.nactivity; i++) {
        add_activity(t, i, nt, gradient);
    }
    log_phase(PHASE_COMPUTE);
}

/* --- backward -------------------------------------------------------------------------------------------------------- */

/* For rewind_state: a chunk of the segment again. */
static void again(void *ctx, int chunk, const real *from, real *to)
{
    const turn *t = ctx;
    int64_t t0 = t->segment + (int64_t)chunk * t->f->chunk;
    states_set(t->f, from);
    run_chunk(t, t0, t->f->chunk);
    states_get(t->f, to);
}

static void add_gradient(fit *f)
{
    model_gradient_sum(f->m, f->g_part);
    for (int64_t i = 0; i < model_nnet(f->m) * f->nvalue; i++) {
        f->g_value[i] += f->g_part[i];
    }
}

/* What model_gradient(m, 0) holds of the own pixels, into the movie's. */
static void take_pixels(const turn *t, int64_t t0, int nt)
{
    fit *f = t->f;
    view g = model_gradient(f->m, 0);
    int64_t before = g.halo * g.row_stride + g.halo;
    for (int l = 0; g.at && l < f->nleaf; l++) {
        const grid_tile *tile = &model_tiles(f->m)[l];
        int slot = grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l);
        f->be->ops->download(f->be, f->staging, g.at + l * g.leaf_stride - before, nt * g.frame_stride);
        for (int i = 0; i < nt; i++) {
            for (int y = 0; y < tile->ny; y++) {
                double *to = f->g_pixels + ((slot * f->window + t0 + i) * f->setup.ny + tile->y0 + y) * f->setup.nx + tile->x0;
                for (int x = 0; x < tile->nx; x++) {
                    to[x] = (double)f->staging[before + i * g.frame_stride + y * g.row_stride + x];
                }
            }
        }
    }
}

static void back_through(turn *t, int64_t end)
{
    fit *f = t->f;
    int nchunk = (int)((end - t->segment + f->chunk - 1) / f->chunk);
    for (int c = 0; c < nchunk; c++) {
        int64_t t0 = t->segment + (int64_t)c * f->chunk;
        real *keep = nchunk > 1 ? rewind_keep(f->rewind, c) : NULL;
        if (keep) {
            states_get(f, keep);
        }
        run_chunk(t, t0, chunk_at(f, t0, end));
    }
    model_back_start(f->m);
    for (int c = nchunk - 1; c >= 0; c--) {
        int64_t t0 = t->segment + (int64_t)c * f->chunk;
        int nt = chunk_at(f, t0, end);
        if (c < nchunk - 1) {
            states_set(f, rewind_state(f->rewind, c, again, t));
            run_chunk(t, t0, nt);
        }
        model_back_open(f->m, nt);
        add_loss(t, t0, nt, true);
        model_back(f->m, t0, nt);
        if (f->g_pixels) {
            take_pixels(t, t0, nt);
        }
        if (c == nchunk - 1 && end < f->window) { /* where the next segment begins; earlier, the frames would no longer be this chunk's */
            states_get(f, f->states);
        }
    }
    if (t->segment == 0) {
        model_back_end(f->m);
    }
    if (f->nparam > 0) {
        add_gradient(f);
    }
}

static void sweep_back(turn *t)
{
    fit *f = t->f;
    int64_t step = segment_steps(f);
    model_start(f->m);
    for (t->segment = 0; t->segment < f->window; t->segment += step) {
        int64_t end = t->segment + step < f->window ? t->segment + step : f->window;
        if (t->segment > 0) {
            states_set(f, f->states);
        }
        back_through(t, end);
    }
}

/* --- forward only: loss and moments ---------------------------------------------------------------------------------- */

/* Sums of the elements of one leaf. */
static void add_moments(fit *f, const fit_item *it, const double *mask, const double *target, int leaf, int nt, fit_moments *to)
{
    model_output o = model_output_at(f->m, it->output);
    const grid_tile *tile = &o.v.tile[leaf];
    int64_t before = o.v.halo * o.v.row_stride + o.v.halo;
    for (int c = 0; c < o.nchan; c++) {
        for (int y = 0; y < tile->ny; y++) {
            for (int x = 0; x < tile->nx; x++) {
                fit_moments *s = &to[fit_element(it, o.cells, o.v, leaf, c, y, x)];
                for (int t = 0; t < nt; t++) {
                    int64_t at = t * it->frame_stride + c * it->chan_stride + y * it->row_stride + x;
                    double w = mask[at], r = target[at], p = (double)f->staging[before + t * o.v.frame_stride + c * o.v.chan_stride + y * o.v.row_stride + x];
                    if (w != 0) {
                        s->m.w += w;
                        s->m.y += w * p;
                        s->m.r += w * r;
                        s->m.yy += w * p * p;
                        s->m.rr += w * r * r;
                        s->m.yr += w * p * r;
                        s->rlogy += r > 0 ? w * r * log(fmax(p, 0) + f->loss.epsilon) : 0;
                    }
                }
            }
        }
    }
}

static void download_doubles(fit *f, const dreal *from, int64_t n, double *to)
{
    f->be->ops->download(f->be, f->staging, from, n);
    for (int64_t i = 0; i < n; i++) {
        to[i] = (double)f->staging[i];
    }
}

static void take_moments(fit *f, int nt, fit_moments *mine)
{
    int64_t first = 0;
    for (int i = 0; i < f->nitem; i++) {
        const fit_item *it = &f->item[i];
        view v = model_output_at(f->m, it->output).v;
        int64_t n = nt * it->frame_stride;
        double *mask = MEMORY_NEW(double, n), *target = MEMORY_NEW(double, n);
        for (int l = 0; l < f->nleaf; l++) {
            download_doubles(f, it->mask + l * it->leaf_stride, n, mask);
            download_doubles(f, it->target + l * it->leaf_stride, n, target);
            f->be->ops->download(f->be, f->staging, v.at + l * v.leaf_stride - v.halo * v.row_stride - v.halo, nt * v.frame_stride);
            add_moments(f, it, mask, target, l, nt, mine + l * f->nelement + first);
        }
        memory_free(mask);
        memory_free(target);
        first += it->nelement;
    }
}

/* --- sets ------------------------------------------------------------------------------------------------------------ */

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

/* Collective.  f->losses from the sums of all leaves; correlations add theirs apart. */
static void sum_losses(fit *f, const turn *t)
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

/* Of f->moments: the loss, and the slopes for the way back. */
static void add_correlations(fit *f)
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
                memory_free(m);
            }
            at += it->nelement;
        }
    }
}

static bool any_correlation(const fit *f)
{
    return f->loss.type == LOSS_TYPE_CORRELATION && f->nitem > 0 && f->item[0].r;
}

static void next_turn(const fit *f, fit_set set, int64_t first, int64_t *sequence)
{
    model_sequences(f->m, (int)(set.n - first < f->nseq ? set.n - first : f->nseq));
    for (int s = 0; s < f->nseq; s++) {
        sequence[s] = first + s < set.n ? set.sequence[first + s] : -1;
    }
}

static turn turn_create(fit *f, fit_set set, int64_t **sequence, double **factor)
{
    turn t = {.f = f};
    t.sequence = *sequence = MEMORY_NEW(int64_t, f->nseq);
    t.factor = *factor = MEMORY_NEW(double, model_nnet(f->m) * (f->nitem + 1));
    t.activity_factor = t.factor + model_nnet(f->m) * f->nitem;
    t.value = MEMORY_NEW(double, f->nleaf * nterm(f));
    find_factors(f, set, *factor, *factor + model_nnet(f->m) * f->nitem);
    return t;
}

static void turn_destroy(turn *t, int64_t *sequence, double *factor)
{
    memory_free(sequence);
    memory_free(factor);
    memory_free(t->value);
}

static void forward_only(fit *f, fit_set set, void (*take)(void *ctx, const int64_t *sequence, int64_t t0, int nt), void *ctx)
{
    int64_t *sequence;
    double *factor;
    turn t = turn_create(f, set, &sequence, &factor);
    fit_moments *mine = MEMORY_NEW(fit_moments, f->nleaf * f->nelement);
    for (int64_t first = 0; first < set.n; first += f->nseq) {
        next_turn(f, set, first, sequence);
        model_start(f->m);
        for (int64_t t0 = 0; t0 < f->window; t0 += f->chunk) {
            int nt = chunk_at(f, t0, f->window);
            run_chunk(&t, t0, nt);
            add_loss(&t, t0, nt, false);
            take_moments(f, nt, mine);
            if (take) {
                take(ctx, sequence, t0, nt);
            }
        }
    }
    comm_network_sum(model_grid(f->m), (double *)mine, f->nelement * FIT_NMOMENT, (double *)f->moments);
    sum_losses(f, &t);
    add_correlations(f);
    memory_free(mine);
    turn_destroy(&t, sequence, factor);
    log_phase(PHASE_OTHER);
}

void fit_evaluate(fit *f, fit_set set, void (*take)(void *ctx, const int64_t *sequence, int64_t t0, int nt), void *ctx)
{
    model_training(f->m, false, 0);
    forward_only(f, set, take, ctx);
}

void fit_loss(fit *f, fit_set set, bool gradient, int64_t draw)
{
    model_training(f->m, f->s.target == FIT_PARAMETERS, draw); /* a stimulus is made for the network as it is */
    if (any_correlation(f) || !gradient) { /* the slopes follow from whole courses */
        forward_only(f, set, NULL, NULL);
    }
    if (!gradient) {
        return;
    }
    int nnet = model_nnet(f->m);
    int64_t *sequence;
    double *factor, *known = MEMORY_NEW(double, nnet);
    turn t = turn_create(f, set, &sequence, &factor);
    memcpy(known, f->losses, (size_t)nnet * sizeof *known);
    memset(f->g_value, 0, (size_t)(nnet * f->nvalue) * sizeof(double));
    for (int64_t first = 0; first < set.n; first += f->nseq) {
        next_turn(f, set, first, sequence);
        sweep_back(&t);
    }
    sum_losses(f, &t);
    if (any_correlation(f)) {
        memcpy(f->losses, known, (size_t)nnet * sizeof *known);
    }
    memory_free(known);
    turn_destroy(&t, sequence, factor);
    log_phase(PHASE_OTHER);
}

/* --- parameters ------------------------------------------------------------------------------------------------------ */

void fit_set_parameters(fit *f)
{
    for (int k = 0; k < model_nnet(f->m); k++) {
        model_set(f->m, k, f->value + k * f->nvalue);
    }
}

double fit_penalties(const fit *f, int net, double *g)
{
    double sum = 0;
    for (int i = 0; i < f->npenalty; i++) {
        sum += penalty_value(&f->penalty[i], f->value + net * f->nvalue, g);
    }
    return sum;
}

/* --- what is not finite ---------------------------------------------------------------------------------------------- */

void fit_diagnose(fit *f, fit_set set)
{
    int64_t *sequence;
    double *factor;
    turn t = turn_create(f, set, &sequence, &factor);
    bool found = false;
    for (int64_t first = 0; first < set.n && !found; first += f->nseq) {
        next_turn(f, set, first, sequence);
        model_start(f->m);
        for (int64_t t0 = 0; t0 < f->window && !found; t0 += f->chunk) {
            int nt = chunk_at(f, t0, f->window);
            run_chunk(&t, t0, nt);
            const char *stage = model_not_finite(f->m, nt);
            if (stage) {
                f->trouble = memory_text("stage '%s' has a value that is not finite, by step %lld of a sequence", stage, (long long)(t0 + nt - 1));
            }
            found = comm_any(stage != NULL);
        }
    }
    for (int k = 0; k < model_nnet(f->m) && !found && !f->trouble; k++) {
        for (int i = 0; i < f->nparam && !f->trouble; i++) {
            const transform_piece *p = &f->transform.piece[i];
            int64_t bad = optim_bad(f->g_value + k * f->nvalue + p->at, p->n);
            if (bad >= 0) {
                f->trouble = memory_text("the derivative by %s (value %lld, now %g) is not finite", p->name, (long long)bad,
                                         f->value[k * f->nvalue + p->at + bad]);
            }
        }
    }
    turn_destroy(&t, sequence, factor);
}

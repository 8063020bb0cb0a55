/* fit_sweep.c - one sweep over the sequences of a set: loss forward, derivative backward. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

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
    int64_t nstate = states_most(f);
    f->states = MEMORY_NEW(real, segment_steps(f) < f->window ? nstate : 0);
    int nchunk = (int)((segment_steps(f) + f->chunk - 1) / f->chunk);
    if (nchunk > 1) {
        size_t needed, allowed = (size_t)f->s.memory_mb << 20;
        f->rewind = rewind_create(nstate, nchunk, allowed, &needed);
        if (!f->rewind) {
            error_fatal(
                EXIT_NO_DEVICE,
                "back-propagation through %lld steps needs %.0f MiB of states a rank; allowed: fit.memory_mb %lld; use more ranks, or truncate",
                (long long)segment_steps(f), ceil((double)needed / 1048576), (long long)f->s.memory_mb);
        }
        log_say(LOG_PROGRESS, "back-propagation through %d chunks of %d steps: every %d-th state kept, %.3g MB a rank", nchunk, f->chunk,
                rewind_spacing(f->rewind), (double)rewind_bytes(f->rewind) * 1e-6);
    }
}

void fit_sweep_destroy(fit *f)
{
    void *own[] = {f->value, f->g_value, f->g_part, f->g_u, f->losses, f->states};
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

/* Queued only: whoever wants it at once waits. */
static void run_chunk(const fit_turn *t, int64_t t0, int nt)
{
    log_phase(PHASE_STIMULUS);
    fit_show(t->f, t->sequence, t0, nt);
    log_phase(PHASE_COMPUTE);
    model_queue(t->f->m, t0, nt);
}

/* --- backward -------------------------------------------------------------------------------------------------------- */

/* For rewind_state: a chunk of the segment again. */
static void again(void *ctx, int chunk, const real *from, real *to)
{
    const fit_turn *t = ctx;
    int64_t t0 = t->segment + (int64_t)chunk * t->f->chunk;
    states_set(t->f, from);
    run_chunk(t, t0, t->f->chunk);
    t->f->be->ops->sync(t->f->be);
    states_get(t->f, to);
}

static void add_part(fit *f, int net)
{
    double *restrict g = f->g_value + net * f->nvalue;
    const double *restrict part = f->g_part + net * f->nvalue;
    for (int64_t i = 0; i < f->nvalue; i++) {
        g[i] += part[i];
    }
}

/* Of the first segment as they are, of later ones added. */
static void take_derivatives(fit *f)
{
    model_gradient_sum(f->m, f->derived ? f->g_part : f->g_value);
    if (f->derived) {
        fit_each_network(f, add_part);
    }
    f->derived = true;
}

/* What model_gradient(m, 0) holds of the own pixels, into the movie's. */
static void take_pixels(const fit_turn *t, int64_t t0, int nt)
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

static void back_through(fit_turn *t, int64_t end)
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
        if (c < nchunk - 1) {
            f->be->ops->sync(f->be);
        }
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
        fit_add_loss(t, t0, nt, true);
        model_back(f->m, t0, nt); /* waits */
        fit_take_loss(t);
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
        take_derivatives(f);
    }
}

static void sweep_back(fit_turn *t)
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

/* --- sets ------------------------------------------------------------------------------------------------------------ */

static void next_turn(const fit *f, fit_set set, int64_t first, const fit_turn *t)
{
    model_sequences(f->m, (int)(set.n - first < f->nseq ? set.n - first : f->nseq));
    for (int s = 0; s < f->nseq; s++) {
        t->sequence[s] = first + s < set.n ? set.sequence[first + s] : -1;
    }
}

static void forward_only(fit *f, fit_set set, void (*take)(void *ctx, const int64_t *sequence, int64_t t0, int nt), void *ctx)
{
    fit_turn t = fit_turn_create(f, set);
    fit_moments *mine = MEMORY_NEW(fit_moments, f->nleaf * f->nelement);
    for (int64_t first = 0; first < set.n; first += f->nseq) {
        next_turn(f, set, first, &t);
        model_start(f->m);
        for (int64_t t0 = 0; t0 < f->window; t0 += f->chunk) {
            int nt = chunk_at(f, t0, f->window);
            run_chunk(&t, t0, nt);
            fit_add_loss(&t, t0, nt, false);
            fit_take_moments(f, nt, mine);
            f->be->ops->sync(f->be);
            fit_take_loss(&t);
            if (take) {
                take(ctx, t.sequence, t0, nt);
            }
        }
    }
    f->be->ops->fetched(f->be);
    comm_network_sum(model_grid(f->m), (double *)mine, f->nelement * FIT_NMOMENT, (double *)f->moments);
    fit_sum_losses(f, &t);
    fit_add_correlations(f);
    memory_free(mine);
    fit_turn_destroy(&t);
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
    if (fit_any_correlation(f) || !gradient) { /* the slopes follow from whole courses */
        forward_only(f, set, NULL, NULL);
    }
    if (!gradient) {
        return;
    }
    int nnet = model_nnet(f->m);
    double *known = MEMORY_NEW(double, nnet);
    fit_turn t = fit_turn_create(f, set);
    memcpy(known, f->losses, (size_t)nnet * sizeof *known);
    f->derived = false;
    for (int64_t first = 0; first < set.n; first += f->nseq) {
        next_turn(f, set, first, &t);
        sweep_back(&t);
    }
    fit_sum_losses(f, &t);
    if (fit_any_correlation(f)) {
        memcpy(f->losses, known, (size_t)nnet * sizeof *known);
    }
    memory_free(known);
    fit_turn_destroy(&t);
    log_phase(PHASE_OTHER);
}

/* --- parameters ------------------------------------------------------------------------------------------------------ */

void fit_set_parameters(fit *f)
{
    for (int k = 0; k < model_nnet(f->m); k++) {
        model_set(f->m, k, f->value + k * f->nvalue);
    }
}

/* --- what is not finite ---------------------------------------------------------------------------------------------- */

/* The first value of network k whose derivative is not finite, in f->trouble. */
static void find_bad_derivative(fit *f, int k)
{
    for (int i = 0; i < f->nparam && !f->trouble; i++) {
        const transform_piece *p = &f->transform.piece[i];
        int64_t bad = optim_bad(f->g_value + k * f->nvalue + p->at, p->n);
        if (bad >= 0) {
            f->trouble = memory_text("the derivative by %s (value %lld, now %g) is not finite", p->name, (long long)bad,
                                     f->value[k * f->nvalue + p->at + bad]);
        }
    }
}

void fit_diagnose(fit *f, fit_set set)
{
    fit_turn t = fit_turn_create(f, set);
    bool found = false;
    for (int64_t first = 0; first < set.n && !found; first += f->nseq) {
        next_turn(f, set, first, &t);
        model_start(f->m);
        for (int64_t t0 = 0; t0 < f->window && !found; t0 += f->chunk) {
            int nt = chunk_at(f, t0, f->window);
            run_chunk(&t, t0, nt);
            f->be->ops->sync(f->be);
            const char *stage = model_not_finite(f->m, nt);
            if (stage) {
                f->trouble = memory_text("stage '%s' has a value that is not finite, by step %lld of a sequence", stage, (long long)(t0 + nt - 1));
            }
            found = comm_any(stage != NULL);
        }
    }
    for (int k = 0; k < model_nnet(f->m) && !found && !f->trouble; k++) {
        find_bad_derivative(f, k);
    }
    fit_turn_destroy(&t);
}

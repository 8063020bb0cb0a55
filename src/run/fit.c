/* fit.c - plan and loop of a fit. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"
#include "run/restart.h"

/* --- plan ------------------------------------------------------------------------------------------------------------ */

/* Where "cnn.kernel" stands among the values of a network. */
static bool find_parameter(void *ctx, const char *name, int64_t *at, int64_t *n, int *ndim, int64_t dims[5])
{
    const fit *f = ctx;
    for (int i = 0; i < model_nparam(f->m); i++) {
        model_param p = model_param_at(f->m, i);
        size_t head = strlen(p.stage);
        if (strncmp(name, p.stage, head) == 0 && name[head] == '.' && strcmp(name + head + 1, p.p.name) == 0) {
            *at = p.at;
            *n = p.p.n;
            *ndim = p.p.ndim;
            memcpy(dims, p.p.dims, sizeof p.p.dims);
            return true;
        }
    }
    return false;
}

/* A whole window in one chunk needs no second forward sweep: as many steps as let the arrays of all leaves, and their derivatives, keep to
 * fit.memory_mb, by the number of stages and pixels.  From the input alone. */
static int choose_chunk(const fit *f)
{
    const input_node *stages = input_child(input_child(input_root(f->in), "model"), "stages");
    grid g = grid_plan(f->setup.ny, f->setup.nx, f->setup.ntile_y, f->setup.ntile_x);
    double pixels = (double)g.tile_ny * g.tile_nx * grid_ntile(&g) * f->nseq * f->nnet;
    double nt = (double)f->s.memory_mb * 1048576 / (pixels * (input_count(stages) + 2) * 2 * sizeof(float));
    nt = fmax(nt, 16);
    return (int)fmin(fmin(nt, (double)f->window), 65536);
}

static void plan_model(fit *f)
{
    model_setup *s = &f->setup;
    if (f->s.networks) {
        s->ntile_y = s->ntile_x = 0;
    }
    model_setup plain = *s;
    if (f->s.target == FIT_PARAMETERS) {
        model *probe = model_create(&plain);
        bool fine = probe && f->s.parameters && fit_read_parameters(f, probe);
        model_destroy(probe);
        if (!fine) {
            return;
        }
    }
    grid g = grid_plan(s->ny, s->nx, s->ntile_y, s->ntile_x);
    g.nseq = f->nseq;
    g.nnet = f->nnet;
    s->rank = f->p->opt->plan ? run_busiest_rank(&g, s->nrank) : comm_rank();
    s->nseq = f->nseq;
    s->nnet = f->nnet;
    s->chunk_steps = s->chunk_steps > 0 ? (s->chunk_steps < f->window ? s->chunk_steps : (int)f->window) : choose_chunk(f);
    s->differentiate = true;
    s->stimulus_gradient = f->s.target == FIT_STIMULUS;
    s->fitted = f->fitted;
    s->nfitted = f->nparam;
    f->m = model_create(s);
}

fit *fit_plan(run_parts *p, const input_node *section)
{
    fit *f = MEMORY_NEW(fit, 1);
    f->p = p;
    f->in = p->in;
    f->section = section;
    f->setup = p->setup;
    if (!section) {
        input_problem(p->in, NULL, "fit: the section is missing; chiasm help fit shows one");
        return f;
    }
    int before = input_nproblem(p->in);
    fit_read(f);
    fit_read_networks(f);
    fit_plan_data(f);
    plan_model(f);
    if (f->m) {
        fit_plan_outputs(f);
        fit_read_limits(f);
        f->penalty = penalty_read(f->in, f->s.penalties, find_parameter, f, &f->npenalty);
        if (input_nproblem(p->in) == before) {
            fit_plan_frames(f);
        }
        if (f->s.target == FIT_STIMULUS) {
            fit_plan_stimulus(f);
        }
    }
    return f;
}

void fit_destroy(fit *f)
{
    if (!f) {
        return;
    }
    fit_data_destroy(f);
    fit_frames_destroy(f);
    fit_loss_destroy(f);
    fit_sweep_destroy(f);
    for (int k = 0; f->course && (k == 0 || k < model_nnet(f->m)); k++) {
        if (f->course[k].optim) {
            optim_destroy(f->course[k].optim);
        }
        memory_free(f->course[k].u);
        memory_free(f->course[k].best_u);
        memory_free(f->course[k].best_value);
    }
    model_destroy(f->m);
    for (int i = 0; i < f->nparam; i++) {
        memory_free(f->param[i].name);
        memory_free((void *)f->fitted[i].stage);
    }
    void *own[] = {f->param, f->fitted, f->transform.piece, f->penalty, f->course, f->history, f->history_at, f->trouble};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        memory_free(own[i]);
    }
    memory_free(f);
}

model *fit_model(const fit *f)
{
    return f->m;
}

size_t fit_bytes_device(const fit *f)
{
    size_t bytes = fit_aim_bytes(f) + fit_frame_bytes_device(f);
    for (int i = 0; i < f->nitem && f->loss.type == LOSS_TYPE_CORRELATION; i++) { /* slopes */
        bytes += (size_t)(fit_aim_reals(f, &f->item[i]) * model_nleaf(f->m)) * sizeof(real);
    }
    return bytes;
}

size_t fit_bytes(const fit *f)
{
    size_t bytes = fit_movie_bytes(f) + fit_aim_bytes(f), nnet = (size_t)model_nnet(f->m);
    bytes += nnet * (size_t)(3 * model_nvalue(f->m) + 6 * f->nu) * sizeof(double);
    bytes += 2 * (size_t)f->npixel * sizeof(double) * 4;
    size_t states = (size_t)model_nleaf(f->m) * (size_t)model_nstate(f->m) * sizeof(real), most = (size_t)f->s.memory_mb << 20;
    size_t all = states * (size_t)((f->window + f->chunk - 1) / f->chunk);
    for (int i = 0; i < f->nitem; i++) { /* while targets and weights are made, and scored */
        size_t leaf = (size_t)fit_aim_reals(f, &f->item[i]), nthread = (size_t)f->p->set.threads;
        bytes += leaf * (sizeof(real) + 2 * sizeof(double)) + 2 * leaf * nthread * sizeof(real);
        bytes += f->item[i].r ? response_bytes(f->item[i].r) : 0;
    }
    return bytes + (all < most ? all : most);
}

void fit_print_plan(const fit *f)
{
    log_say(LOG_RESULT, "fit of %lld sequences of %lld steps (%lld before each are not counted): %lld train, %lld validate, %lld test; %d at once",
            (long long)f->nsequence, (long long)(f->window - f->seq.burn_in), (long long)f->burn_in, (long long)f->set[SPLIT_TRAIN].n,
            (long long)f->set[SPLIT_VALIDATION].n, (long long)f->set[SPLIT_TEST].n, f->nseq);
    log_say(LOG_RESULT, "%d network%s, %lld fitted values each; method %s", f->nnet, f->nnet > 1 ? "s" : "", (long long)f->nu, f->optim.method);
    for (int i = 0; i < f->nitem; i++) {
        log_say(LOG_RESULT, "  output %s: %s", f->item[i].name, f->item[i].r ? response_describe(f->item[i].r) : "is made large");
    }
    log_say(LOG_RESULT, "%-28s %8s %14s %14s %14s  %-8s %s", "parameter", "values", "start", "min", "max", "map", "fitted");
    for (int i = 0; i < model_nparam(f->m); i++) {
        static const char *const maps[] = {"free", "positive", "between"};
        model_param p = model_param_at(f->m, i);
        int piece = 0;
        while (piece < f->nparam && f->param[piece].index != i) {
            piece++;
        }
        const transform_piece *t = piece < f->nparam ? &f->transform.piece[piece] : NULL;
        char name[128];
        snprintf(name, sizeof name, "%s.%s", p.stage, p.p.name);
        log_say(LOG_RESULT, "%-28s %8lld %14.6g %14.6g %14.6g  %-8s %s  %s", name, (long long)p.p.n, p.p.start[0], t ? t->min : p.p.min,
                t ? t->max : p.p.max, maps[t ? t->map : p.p.map], t ? "yes" : "no", p.p.unit ? p.p.unit : "");
    }
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

void fit_attach(fit *f, backend *be)
{
    int nnet = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1; /* a rank without leaves holds the numbers of the first network all the same */
    f->be = be;
    model_attach(f->m, be);
    fit_data_attach(f);
    fit_frames_attach(f);
    fit_loss_attach(f);
    fit_sweep_attach(f);
    f->course = MEMORY_NEW(fit_course, nnet);
    for (int k = 0; k < nnet; k++) {
        fit_course *c = &f->course[k];
        c->u = MEMORY_NEW(double, f->nu);
        c->best_u = MEMORY_NEW(double, f->nu);
        c->stop = stopping_start();
        c->loss = c->validation = c->score = c->first = NAN;
        fit_start_values(f, (model_nnet(f->m) > 0 ? model_first_net(f->m) : 0) + k, f->value + k * f->nvalue);
        c->best_value = MEMORY_NEW(double, f->nvalue);
        memcpy(c->best_value, f->value + k * f->nvalue, (size_t)f->nvalue * sizeof(double));
        transform_in(&f->transform, f->value + k * f->nvalue, c->u);
        memcpy(c->best_u, c->u, (size_t)f->nu * sizeof(double));
        if (!optim_is_search(&f->optim) && f->nparam > 0) {
            c->optim = optim_create(&f->optim, f->nu);
        }
    }
    if (f->s.target == FIT_STIMULUS) {
        fit_stimulus_attach(f);
    }
    if (f->p->stim && stimulus_broken(f->p->stim)) {
        error_fatal(EXIT_BAD_INPUT, "%s", stimulus_broken(f->p->stim));
    }
}

/* --- searches ---------------------------------------------------------------------------------------------------------- */

typedef struct search {
    fit *f;
    bool stopped;
    double best;
} search;

static double search_value(void *ctx, const double *u, double *g)
{
    search *s = ctx;
    fit *f = s->f;
    fit_course *c = &f->course[0];
    memcpy(c->u, u, (size_t)f->nu * sizeof(double));
    fit_take_u(f, 0, u);
    fit_set_parameters(f);
    fit_loss(f, f->set[SPLIT_TRAIN], g != NULL, 0);
    double loss = f->losses[0] + fit_penalties(f, 0, g ? f->g_value : NULL);
    if (g) {
        transform_gradient(&f->transform, u, f->g_value, g);
        comm_broadcast(g, (size_t)f->nu * sizeof *g, 0);
    }
    comm_broadcast(&loss, sizeof loss, 0); /* ranks without leaves search along */
    f->step++;
    c->loss = loss;
    model_statistics(f->m, 0, f->value);
    if (loss < s->best) {
        s->best = loss;
        memcpy(c->best_u, u, (size_t)f->nu * sizeof(double));
        memcpy(c->best_value, f->value, (size_t)f->nvalue * sizeof(double));
        c->score = -loss;
        fit_note_history(f);
    }
    bool save;
    s->stopped = fit_time_to_stop(f, &save);
    if (save || s->stopped) {
        fit_restart_save(f);
    }
    log_progress("value %lld  loss %.8g  best %.8g", (long long)f->step, loss, s->best);
    return s->stopped ? NAN : loss;
}

static bool search_stopped(void *ctx)
{
    return ((search *)ctx)->stopped;
}

static enum exit_code run_search(fit *f)
{
    search s = {.f = f, .best = INFINITY};
    fit_course *c = &f->course[0];
    double *low = MEMORY_NEW(double, f->nu), *high = MEMORY_NEW(double, f->nu), *u = MEMORY_NEW(double, f->nu), loss = INFINITY;
    transform_bounds(&f->transform, low, high);
    memcpy(u, c->best_u, (size_t)f->nu * sizeof(double)); /* of a stopped search: its best point */
    optim_problem p = {&s, f->nu, search_value, search_stopped, low, high};
    enum optim_stop stop = optim_search(&f->optim, &p, u, &loss);
    log_progress_end();
    enum exit_code code = EXIT_DONE;
    if (stop == OPTIM_NOT_FINITE) {
        code = fit_say_trouble(f, f->set[SPLIT_TRAIN]);
    } else if (stop == OPTIM_INTERRUPTED) {
        code = EXIT_STOPPED;
    } else {
        memcpy(c->best_u, u, (size_t)f->nu * sizeof(double));
        c->loss = loss;
        log_say(LOG_PROGRESS, "%s: %s after %lld values, loss %.8g", f->optim.method, optim_stop_text(stop), (long long)f->step, loss);
    }
    memory_free(low);
    memory_free(high);
    memory_free(u);
    return code;
}

/* --- run --------------------------------------------------------------------------------------------------------------- */

/* Refuses to lose what is there.  *complete: a result of this very input is there, and --resume was said. */
static enum exit_code begin(fit *f, bool *complete)
{
    const options *o = f->p->opt;
    const char *result = f->p->result;
    bool there = comm_any(comm_rank() == 0 && access(result, F_OK) == 0), interrupted = restart_exists(result);
    *complete = o->resume && there && !interrupted;
    if (interrupted && !o->resume && !o->overwrite) {
        if (comm_rank() == 0) {
            fprintf(stderr, "chiasm: error: %s.restart of an interrupted fit is there; --resume goes on with it, --overwrite starts again\n", result);
        }
        return EXIT_NO_OUTPUT;
    }
    if (there && !o->resume && !o->overwrite) {
        if (comm_rank() == 0) {
            fprintf(stderr, "chiasm: error: result '%s' exists already; choose another --out or give --overwrite\n", result);
        }
        return EXIT_NO_OUTPUT;
    }
    if (*complete) {
        log_say(LOG_PROGRESS, "%s is complete; nothing to resume", result);
        return EXIT_DONE;
    }
    bool found = false;
    enum exit_code code = o->resume ? fit_restart_load(f, &found) : EXIT_DONE;
    if (code == EXIT_DONE && o->resume) {
        log_say(LOG_PROGRESS, found ? "goes on at epoch %lld, step %lld" : "nothing to resume; starting at the beginning", (long long)f->epoch,
                (long long)f->step);
    }
    if (code == EXIT_DONE && !found) {
        restart_remove(result);
    }
    return code;
}

enum exit_code fit_run(fit *f, backend *be)
{
    bool complete;
    fit_attach(f, be);
    enum exit_code code = begin(f, &complete);
    if (code != EXIT_DONE || complete) {
        return code;
    }
    f->result = store_create(f->p->result, f->p->opt->overwrite || f->p->opt->resume);
    f->began_s = f->saved_s = log_clock();
    code = f->s.target == FIT_STIMULUS ? fit_run_stimulus(f) : optim_is_search(&f->optim) ? run_search(f) : fit_run_epochs(f);
    log_progress_end();
    if (code == EXIT_DONE) {
        fit_write_result(f, log_clock() - f->began_s);
        restart_remove(f->p->result);
    } else {
        store_abandon(f->result, false);
        if (code == EXIT_STOPPED) {
            log_say(LOG_RESULT, "stopped at epoch %lld, step %lld; the same command with --resume goes on", (long long)f->epoch, (long long)f->step);
        }
    }
    log_phase(PHASE_OTHER);
    return code;
}

/* fit_step.c - methods that step: numbers of the own networks, one step of all of them, the loop over epochs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

#define DIVERGED 1e9 /* times the loss of the first step */

/* --- networks ---------------------------------------------------------------------------------------------------------- */

typedef struct network_work {
    fit *f;
    void (*work)(fit *f, int net);
} network_work;

static void work_on_network(void *ctx, int64_t net)
{
    const network_work *w = ctx;
    w->work(w->f, (int)net);
}

void fit_each_network(fit *f, void (*work)(fit *f, int net))
{
    network_work w = {f, work};
    threads_each(model_nnet(f->m), work_on_network, &w);
}

void fit_take_u(fit *f, int net, const double *u)
{
    transform_out(&f->transform, u, f->value + net * f->nvalue);
}

double fit_penalties(const fit *f, int net, double *g)
{
    double sum = 0;
    for (int i = 0; i < f->npenalty; i++) {
        sum += penalty_value(&f->penalty[i], f->value + net * f->nvalue, g);
    }
    return sum;
}

/* --- the loop: what is looked at -------------------------------------------------------------------------------------- */

bool fit_time_to_stop(fit *f, bool *save)
{
    double now = log_clock(), deadline = run_deadline(f->p);
    bool first = comm_rank() == 0, late = deadline > 0 && now + 2 * f->step_s > deadline; /* one more step and the restart file */
    double votes[2] = {comm_signal_seen() || (first && late),
                       first && f->p->opt->restart_every_s > 0 && now - f->saved_s > f->p->opt->restart_every_s};
    comm_max_double(votes, 2);
    *save = votes[1] > 0;
    return votes[0] > 0;
}

/* The running mean of the parameters is what is scored, if there is one. */
static const double *scored(const fit_course *c)
{
    const double *mean = c->optim ? optim_mean(c->optim) : NULL;
    return mean ? mean : c->u;
}

static void take_scored(fit *f, int net)
{
    fit_take_u(f, net, scored(&f->course[net]));
}

static void look(fit *f)
{
    bool validates = f->set[SPLIT_VALIDATION].n > 0;
    int nnet = model_nnet(f->m);
    fit_each_network(f, take_scored);
    if (validates) {
        fit_set_parameters(f);
        fit_evaluate(f, f->set[SPLIT_VALIDATION], NULL, NULL);
    }
    for (int k = 0; k < nnet; k++) {
        fit_course *c = &f->course[k];
        if (c->stopped) {
            continue;
        }
        c->loss = c->n > 0 ? c->sum / c->n : NAN;
        c->sum = c->n = 0;
        c->validation = validates ? f->losses[k] : NAN;
        c->score = validates ? fit_score_of(f, k) : -c->loss;
        bool better = stopping_look(&f->stopping, f->optim.schedule == OPTIM_PLATEAU ? f->optim.patience : 0, c->score, &c->stop);
        if (better || !validates) {
            memcpy(c->best_u, scored(c), (size_t)f->nu * sizeof(double));
            memcpy(c->best_value, f->value + k * f->nvalue, (size_t)f->nvalue * sizeof(double));
        }
        c->stopped = stopping_wanted(&f->stopping, &c->stop);
    }
    fit_note_history(f);
}

/* Collective, for the eye only: means over networks. */
static void show_progress(fit *f, int64_t nstep)
{
    double mine[4] = {0, 0, 0, 0}, *all = MEMORY_NEW(double, 4 * comm_size());
    int begin, n = fit_networks_to_write(f, &begin); /* each counts once */
    for (int k = begin; k < begin + n; k++) {
        const fit_course *c = &f->course[k];
        mine[0] += isfinite(c->loss) ? c->loss : 0;
        mine[1] += isfinite(c->score) ? c->score : 0;
        mine[2] += !c->stopped;
        mine[3]++;
    }
    comm_gather_double(mine, 4, all);
    double sum[4] = {0, 0, 0, 0}, wall = log_clock() - f->began_s;
    for (int r = 0; r < 4 * comm_size(); r++) {
        sum[r % 4] += all[r];
    }
    memory_free(all);
    double left = f->step > 0 ? wall / (double)f->step * (double)(nstep - f->step) : 0;
    static const char *const names[] = {[SCORE_LOSS] = "score (-loss)", [SCORE_CORRELATION] = "correlation", [SCORE_BITS_PER_SPIKE] = "bits/spike"};
    log_progress("epoch %lld of %lld  loss %.6g  %s %.5g  rate %.3g  %lld of %d fitting  %lld:%02lld left", (long long)f->epoch,
                 (long long)f->s.epochs, sum[0] / sum[3], names[f->s.score], sum[1] / sum[3], f->course[0].rate, (long long)sum[2], (int)sum[3],
                 (long long)left / 60, (long long)left % 60);
}

/* Every rank hears of it; the first that knows what it is says so. */
enum exit_code fit_say_trouble(fit *f, fit_set set)
{
    if (!comm_any(f->trouble != NULL)) {
        fit_diagnose(f, set);
    }
    double speaker = f->trouble ? comm_rank() : comm_size();
    comm_min_double(&speaker, 1);
    log_progress_end();
    if (comm_rank() == (int)speaker || (speaker == comm_size() && comm_rank() == 0)) {
        fprintf(stderr, "chiasm: error: epoch %lld, step %lld of the fit: %s; a smaller optimiser.rate, optimiser.clip or limits may help\n",
                (long long)f->epoch, (long long)f->step, f->trouble ? f->trouble : "the loss is not finite");
    }
    return EXIT_DIVERGED;
}

/* --- methods that step ------------------------------------------------------------------------------------------------ */

static void take_numbers(fit *f, int net)
{
    fit_take_u(f, net, f->course[net].u);
}

/* Of one network: from the derivative by its values that by the optimiser's numbers. */
static void finish_derivative(fit *f, int net)
{
    double *g_value = f->g_value + net * f->nvalue, *g_u = f->g_u + net * f->nu;
    f->losses[net] += fit_penalties(f, net, g_value);
    transform_gradient(&f->transform, f->course[net].u, g_value, g_u);
    f->course[net].finite = isfinite(f->losses[net]) && optim_bad(g_u, f->nu) < 0;
}

/* Collective.  Losses and derivatives by the optimiser's numbers; false: not finite somewhere. */
static bool derive(fit *f, fit_set set)
{
    fit_each_network(f, take_numbers);
    fit_set_parameters(f);
    fit_loss(f, set, true, f->step);
    fit_each_network(f, finish_derivative);
    bool fine = true;
    for (int k = 0; k < model_nnet(f->m); k++) {
        fine = fine && f->course[k].finite;
    }
    return !comm_any(!fine);
}

/* Of network k: the loss has left all that it began with.  Names what went furthest. */
static bool diverges(fit *f, int k)
{
    fit_course *c = &f->course[k];
    c->first = isfinite(c->first) ? c->first : f->losses[k];
    if (fabs(f->losses[k]) <= DIVERGED * fmax(fabs(c->first), 1)) {
        return false;
    }
    double *u = MEMORY_NEW(double, f->nu), *p = MEMORY_NEW(double, f->nvalue), most = -1;
    int64_t at = 0;
    const transform_piece *furthest = NULL;
    fit_start_values(f, model_first_net(f->m) + k, p);
    transform_in(&f->transform, p, u);
    for (int i = 0; i < f->nparam; i++) {
        const transform_piece *t = &f->transform.piece[i];
        for (int64_t j = 0; j < t->n; j++, at++) {
            if (fabs(c->u[at] - u[at]) > most) {
                most = fabs(c->u[at] - u[at]);
                furthest = t;
            }
        }
    }
    memory_free(f->trouble);
    f->trouble = memory_text("the loss is %.4g after %.4g at the start; %s went furthest, to %.6g", f->losses[k], c->first, furthest->name,
                             f->value[k * f->nvalue + furthest->at]);
    memory_free(u);
    memory_free(p);
    return true;
}

/* Of one network, by the rate of its course. */
static void move_numbers(fit *f, int net)
{
    fit_course *c = &f->course[net];
    if (c->stopped) {
        return;
    }
    if (model_has_statistics(f->m)) {
        model_statistics(f->m, net, f->value + net * f->nvalue);
    }
    enum optim_stop stop = optim_step(c->optim, c->u, f->g_u + net * f->nu, f->losses[net], c->rate);
    transform_clip(&f->transform, c->u);
    c->sum += f->losses[net];
    c->n++;
    c->stopped = stop != OPTIM_GO;
}

static bool step(fit *f, fit_set set, int64_t nstep)
{
    double start = log_clock();
    if (!derive(f, set)) {
        return false;
    }
    bool lost = false;
    for (int k = 0; k < model_nnet(f->m); k++) {
        fit_course *c = &f->course[k];
        c->rate = c->stopped ? c->rate : optim_rate(&f->optim, f->step, nstep, c->stop.nreduction);
        lost = diverges(f, k) || lost;
    }
    if (comm_any(lost)) {
        return false;
    }
    fit_each_network(f, move_numbers);
    f->step++;
    f->step_s = fmax(f->step_s, log_clock() - start);
    return true;
}

static bool all_stopped(const fit *f)
{
    bool going = false;
    for (int k = 0; k < model_nnet(f->m); k++) {
        going = going || !f->course[k].stopped;
    }
    return !comm_any(going);
}

enum exit_code fit_run_epochs(fit *f)
{
    fit_set train = f->set[SPLIT_TRAIN];
    int64_t nbatch = (train.n + f->nseq - 1) / f->nseq, nstep = f->s.epochs * nbatch;
    int64_t *order = MEMORY_NEW(int64_t, train.n), *list = MEMORY_NEW(int64_t, f->nseq);
    enum exit_code code = EXIT_DONE;
    while (f->epoch < f->s.epochs && code == EXIT_DONE && !all_stopped(f)) {
        split_order(f->setup.seed, f->epoch, train.n, f->seq.order == 0, order);
        fit_set set = {list, 0};
        for (int64_t i = f->batch * f->nseq; i < train.n && set.n < f->nseq; i++) {
            list[set.n++] = train.sequence[order[i]];
        }
        if (!step(f, set, nstep)) {
            code = fit_say_trouble(f, set);
            break;
        }
        f->batch++;
        bool ends = f->batch == nbatch;
        if (ends) {
            f->batch = 0;
            f->epoch++;
        }
        if (f->s.evaluate_every > 0 ? f->step % f->s.evaluate_every == 0 || f->step == nstep : ends) {
            look(f);
            show_progress(f, nstep);
        }
        bool save;
        if (fit_time_to_stop(f, &save) && f->step < nstep) {
            code = EXIT_STOPPED;
        }
        if (save || code == EXIT_STOPPED) {
            fit_restart_save(f);
        }
    }
    memory_free(order);
    memory_free(list);
    return code;
}

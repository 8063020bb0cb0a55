/* fit_stimulus.c - the movie itself is what is fitted: the most exciting stimulus, or one that makes a given response.  Every rank holds the whole
 * movie and takes the same steps; each shows its own tiles. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

#define MOST_PIXELS 134217728.0 /* 1 GiB a vector */

void fit_plan_stimulus(fit *f)
{
    double n = (double)f->window * f->setup.ny * f->setup.nx;
    if (optim_is_search(&f->optim)) {
        input_problem(f->in, f->s.optimiser, "fit: target: stimulus takes a method that steps: adam, adamw, sgd, rprop");
    }
    if (n > MOST_PIXELS) {
        input_problem(f->in, f->s.sequences, "fit: target: stimulus: a movie of %lld steps has %.3g pixels; at most %.3g", (long long)f->window, n,
                      MOST_PIXELS);
        n = 1;
    }
    f->npixel = (int64_t)n;
    f->movie_nstep = 0;
    if (f->p->stim) {
        stimulus_expect(f->p->stim, f->p->set.crop_y, f->p->set.crop_x, f->setup.ny, f->setup.nx, f->chunk > 0 ? f->chunk : 1);
    }
}

/* No further from the background than the norm allows, then within the range of luminance, which shortens it at most. */
static void keep_limits(const fit *f, double *u)
{
    const fit_stimulus *s = &f->stim;
    double sum = 0, rest = f->setup.stimulus_rest;
    for (int64_t i = 0; i < f->npixel; i++) {
        sum += (u[i] - rest) * (u[i] - rest);
    }
    double rms = sqrt(sum / (double)f->npixel), factor = s->norm > 0 && rms > s->norm ? s->norm / rms : 1;
    for (int64_t i = 0; i < f->npixel; i++) {
        u[i] = fmin(fmax(rest + (u[i] - rest) * factor, s->low), s->high);
    }
}

/* The section `stimulus`, with noise. */
void fit_stimulus_attach(fit *f)
{
    fit_course *c = &f->course[0];
    int64_t frame = (int64_t)f->setup.ny * f->setup.nx;
    memory_free(c->u);
    memory_free(c->best_u);
    c->u = MEMORY_NEW(double, f->npixel);
    c->best_u = MEMORY_NEW(double, f->npixel);
    c->optim = optim_create(&f->optim, f->npixel);
    f->pixels = MEMORY_NEW(double, f->npixel);
    f->g_pixels = MEMORY_NEW(double, f->npixel);
    real *shown = MEMORY_NEW(real, frame);
    for (int64_t t = 0; t < f->window; t++) {
        stimulus_render(f->p->stim, t, 1, f->p->set.crop_y, f->p->set.crop_x, f->setup.ny, f->setup.nx, shown, frame, f->setup.nx);
        for (int64_t i = 0; i < frame; i++) {
            random_block b = random_bits(f->setup.seed, RANDOM_FIT_START, (uint64_t)i, (uint64_t)t, 1);
            c->u[t * frame + i] = (double)shown[i] + f->stim.noise * (double)random_normal(b.v[0], b.v[1]);
        }
    }
    memory_free(shown);
    keep_limits(f, c->u);
    memcpy(c->best_u, c->u, (size_t)f->npixel * sizeof(double));
}

/* Collective.  A pixel has a derivative on one rank and 0 on the others: the largest and the smallest of all add up to it, exactly. */
static void share_gradient(fit *f)
{
    if (comm_size() == 1) {
        return;
    }
    double *least = MEMORY_NEW(double, f->npixel);
    memcpy(least, f->g_pixels, (size_t)f->npixel * sizeof *least);
    for (int64_t i = 0; i < f->npixel; i += 1 << 20) {
        int n = (int)(f->npixel - i < 1 << 20 ? f->npixel - i : 1 << 20);
        comm_max_double(f->g_pixels + i, n);
        comm_min_double(least + i, n);
    }
    for (int64_t i = 0; i < f->npixel; i++) {
        f->g_pixels[i] += least[i];
    }
    memory_free(least);
}

static double smoothness(const fit *f, const double *u, double *g)
{
    const double weight[2] = {f->stim.smooth_space, f->stim.smooth_time};
    const enum penalty_kind kind[2] = {PENALTY_LAPLACE_SPACE, PENALTY_LAPLACE_TIME};
    double sum = 0;
    for (int k = 0; k < 2; k++) {
        penalty p = {
            .kind = kind[k], .weight = weight[k] / (double)f->npixel, .n = f->npixel, .ndim = 3, .dims = {f->window, f->setup.ny, f->setup.nx}};
        sum += weight[k] > 0 ? penalty_value(&p, u, g) : 0;
    }
    return sum;
}

enum exit_code fit_run_stimulus(fit *f)
{
    fit_course *c = &f->course[0];
    fit_set set = f->set[SPLIT_TRAIN];
    enum exit_code code = EXIT_DONE;
    while (f->epoch < f->s.epochs && code == EXIT_DONE && !c->stopped) {
        double start = log_clock();
        memcpy(f->pixels, c->u, (size_t)f->npixel * sizeof(double));
        memset(f->g_pixels, 0, (size_t)f->npixel * sizeof(double));
        fit_loss(f, set, true, f->step);
        double loss = f->losses[0];
        comm_broadcast(&loss, sizeof loss, 0);
        bool fine = isfinite(loss) && optim_bad(f->g_pixels, f->npixel) < 0;
        if (comm_any(!fine)) {
            return fit_say_trouble(f, set);
        }
        share_gradient(f);
        loss += smoothness(f, c->u, f->g_pixels);
        c->loss = loss;
        c->score = -loss;
        if (stopping_look(&f->stopping, f->optim.schedule == OPTIM_PLATEAU ? f->optim.patience : 0, c->score, &c->stop)) {
            memcpy(c->best_u, c->u, (size_t)f->npixel * sizeof(double));
        }
        c->rate = optim_rate(&f->optim, f->step, f->s.epochs, c->stop.nreduction);
        c->stopped = optim_step(c->optim, c->u, f->g_pixels, loss, c->rate) != OPTIM_GO || stopping_wanted(&f->stopping, &c->stop);
        keep_limits(f, c->u);
        f->step++;
        f->epoch++;
        f->step_s = fmax(f->step_s, log_clock() - start);
        fit_note_history(f);
        log_progress("step %lld of %lld  loss %.6g  best %.6g  rate %.3g", (long long)f->step, (long long)f->s.epochs, loss, -c->stop.best, c->rate);
        bool save;
        if (fit_time_to_stop(f, &save) && f->epoch < f->s.epochs) {
            code = EXIT_STOPPED;
        }
        if (save || code == EXIT_STOPPED) {
            fit_restart_save(f);
        }
    }
    memcpy(f->pixels, c->best_u, (size_t)f->npixel * sizeof(double)); /* for the prediction */
    return code;
}

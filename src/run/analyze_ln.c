/* analyze_ln.c - the LN model of a cell: generator, nonlinearities, scores on bins that were held out. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "run/analyze_own.h"

/* A predicted rate of 0 in a bin with a spike is no proof of the impossible, but of too few data. */
static const double LEAST_COUNT = 1e-9;

/* Values at the bins of a part, joined. */
static int64_t take(const recording *r, enum recording_part part, const double *from, double *to)
{
    int64_t n = 0;
    for (int64_t t = 0; t < r->nstep; t++) {
        if (r->part[t] == part) {
            to[n++] = from[t];
        }
    }
    return n;
}

typedef struct part_score {
    double bits, cc, pseudo_r2;
    int64_t bins;
} part_score;

static part_score score_part(const analysis *a, int64_t cell, enum recording_part part, const double *prediction)
{
    const recording *r = a->r;
    double *y = MEMORY_NEW(double, r->nstep), *p = MEMORY_NEW(double, r->nstep);
    scores_likelihood l = {0};
    part_score s = {.bins = take(r, part, r->count + cell * r->nstep, y)};
    take(r, part, prediction, p);
    scores_poisson(s.bins, y, p, NAN, LEAST_COUNT, &l);
    s.bits = l.bits_per_spike;
    s.pseudo_r2 = l.pseudo_r2;
    s.cc = scores_cc(s.bins, p, y);
    memory_free(y);
    memory_free(p);
    return s;
}

/* y[trial][bin] of the frozen steps and p of the first trial's, against which they are scored; the number of bins. */
static int64_t take_frozen(const analysis *a, int64_t cell, const double *prediction, double **y, double **p)
{
    const recording *r = a->r;
    int64_t first = (int64_t)r->set.frozen[0], n = (int64_t)(r->set.frozen[1] - r->set.frozen[0]);
    *y = MEMORY_NEW(double, r->ntrial *n);
    *p = MEMORY_NEW(double, n);
    for (int64_t k = 0; k < r->ntrial; k++) {
        memcpy(*y + k * n, r->count + cell * r->nstep + k * r->trial_steps + first, (size_t)n * sizeof **y);
    }
    memcpy(*p, prediction + first, (size_t)n * sizeof **p);
    return n;
}

/* ... of the repeats that the responses themselves hold, over the bins of a part. */
static int64_t take_repeats(const analysis *a, int64_t cell, enum recording_part part, const double *prediction, double **y, double **p)
{
    const recording *r = a->r;
    int64_t ntrial = response_look(a->resp).ntrial, n = 0;
    double *all = MEMORY_NEW(double, r->nstep);
    *p = MEMORY_NEW(double, r->nstep);
    n = take(r, part, prediction, *p);
    *y = MEMORY_NEW(double, ntrial *n);
    for (int64_t k = 0; k < ntrial; k++) {
        response_read(a->resp, k, 0, r->nstep, cell, 1, all);
        take(r, part, all, *y + k * n);
    }
    memory_free(all);
    return n;
}

/* false: the stimulus was shown once. */
static bool score_repeats(const analysis *a, int64_t cell, enum recording_part part, const double *prediction, scores_repeats *s)
{
    const recording *r = a->r;
    bool frozen = r->set.nfrozen > 0 && r->ntrial > 1;
    double *y, *p;
    if (!frozen && response_look(a->resp).ntrial < 2) {
        return false;
    }
    int64_t n = frozen ? take_frozen(a, cell, prediction, &y, &p) : take_repeats(a, cell, part, prediction, &y, &p);
    scores_of_repeats(frozen ? r->ntrial : response_look(a->resp).ntrial, n, y, p, 0, 0, s);
    memory_free(y);
    memory_free(p);
    return true;
}

static void put_function(analysis *a, const char *group, const nonlinearity *f)
{
    store_define_group(a->file, group);
    if (f->kind == NONLINEARITY_HISTOGRAM) {
        analyze_put(a, group, "edge", "1", f->edge, f->nbin + 1, 0, 0);
        analyze_put(a, group, "rate", "1/bin", f->rate, f->nbin, 0, 0);
        return;
    }
    analyze_attr(a, group, "a", f->a);
    analyze_attr(a, group, "b", f->b);
    analyze_attr(a, group, "c", f->c);
}

static void put_scores(analysis *a, const char *group, const nonlinearity *f, int64_t cell, const double *prediction)
{
    bool held = false;
    for (int64_t t = 0; t < a->r->nstep && !held; t++) {
        held = a->r->part[t] == RECORDING_TEST;
    }
    scores_repeats repeats;
    enum recording_part part = held ? RECORDING_TEST : RECORDING_TRAIN;
    part_score s = score_part(a, cell, part, prediction);
    analyze_attr(a, group, "bits_per_spike", s.bits);
    analyze_attr(a, group, "cc", s.cc);
    analyze_attr(a, group, "pseudo_r2", s.pseudo_r2);
    store_attr_text(a->file, group, "part", held ? "test" : "train");
    analyze_attr(a, group, "log_likelihood_train", f->log_likelihood);
    if (!score_repeats(a, cell, part, prediction, &repeats)) {
        log_say(LOG_RESULT, "  LN %-10s  %s: %.4f bits/spike   CC %.4f", nonlinearity_name[f->kind], held ? "held out" : "same data", s.bits, s.cc);
        return;
    }
    const struct {
        const char *name;
        double value;
    } more[] = {{"cc_repeats", repeats.cc}, {"cc_norm", repeats.cc_norm}, {"cc_norm_schoppe", repeats.cc_norm_schoppe}, {"fev", repeats.fev},
                {"feve", repeats.feve}, {"cc_half", repeats.cc_half}, {"explainable", repeats.explainable},
                {"oracle", repeats.oracle}};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        analyze_attr(a, group, more[i].name, more[i].value);
    }
    log_say(LOG_RESULT, "  LN %-10s  %s: %.4f bits/spike   repeats: CC %.4f   CC_norm %.4f   FEVe %.4f", nonlinearity_name[f->kind],
            held ? "held out" : "same data", s.bits, repeats.cc, repeats.cc_norm, repeats.feve);
}

void analyze_ln(analysis *a, const cell_filter *f)
{
    const recording *r = a->r;
    recording_rows rows = analyze_rows(a, f, a->set.filter == FILTER_FULL);
    double *g = MEMORY_NEW(double, r->nstep), *prediction = MEMORY_NEW(double, r->nstep);
    double *g_train = MEMORY_NEW(double, r->nstep), *y_train = MEMORY_NEW(double, r->nstep);
    recording_project(&rows, f->kernel, g);
    int64_t n = take(r, RECORDING_TRAIN, g, g_train), any = 0;
    take(r, RECORDING_TRAIN, r->count + f->cell * r->nstep, y_train);
    char *all = memory_text("%s/nonlinearity", f->group);
    store_define_group(a->file, all);
    for (int kind = 0; kind < NONLINEARITY_COUNT && n > 0; kind++) {
        if (!a->wants[kind]) {
            continue;
        }
        nonlinearity *fit = nonlinearity_fit((enum nonlinearity_kind)kind, (int)a->set.bins, n, g_train, y_train);
        char *group = memory_text("%s/%s", all, nonlinearity_name[kind]);
        for (int64_t t = 0; t < r->nstep; t++) {
            prediction[t] = t < r->set.first_lag + r->set.lags - 1 ? NAN : nonlinearity_at(fit, g[t]);
        }
        put_function(a, group, fit);
        put_scores(a, group, fit, f->cell, prediction);
        nonlinearity_destroy(fit);
        memory_free(group);
        any++;
    }
    if (any > 0) {
        analyze_put(a, f->group, "prediction", "1/bin", prediction, r->nstep, 0, 0);
        if (a->set.transfer) {
            memcpy(a->prediction + f->cell * r->nstep, prediction, (size_t)r->nstep * sizeof *prediction);
        }
    }
    memory_free(all);
    memory_free(g);
    memory_free(prediction);
    memory_free(g_train);
    memory_free(y_train);
}

/* stopping.h - what the validation scores of a fit decide: which model is kept, when the rate of learning falls, when the fit ends.  Pure: the
 * struct is all the memory there is (a restart saves it as it stands). */
#ifndef STOPPING_H
#define STOPPING_H
#include <math.h>

#include "input/input.h"

/* The `stopping` section; one evaluation is one look at the validation score.  The published rule of Yan et al. is {least: 0.01, first: 25,
 * patience: 0} with one evaluation every 20 steps. */
typedef struct stopping_settings {
    int64_t patience; /* evaluations without a better score before the fit ends; 0: it never ends so */
    double least;     /* by how much a score must beat the best one */
    int64_t first;    /* evaluations before this one are not looked at */
} stopping_settings;
extern const help_topic stopping_topic; /* "stopping" */
void stopping_read(input *in, const input_node *section, stopping_settings *s);

typedef struct stopping {
    int64_t neval;      /* evaluations so far */
    int64_t best_at;    /* the one with the best score; -1: none yet */
    int64_t stalled;    /* evaluations since then */
    int64_t waited;     /* evaluations since then, or since the rate was last reduced */
    int64_t nreduction; /* of the rate, for optim_rate */
    double best;
} stopping;

static inline stopping stopping_start(void)
{
    return (stopping){0, -1, 0, 0, 0, -INFINITY};
}

/* Takes a score (larger is better: give minus the loss); true: it is the best so far, keep this model.  A score that is not a number is no better
 * than any.  rate_patience: evaluations without a better score before the rate is reduced (optim_settings.patience); 0: never. */
static inline bool stopping_look(const stopping_settings *s, int64_t rate_patience, double score, stopping *now)
{
    int64_t eval = now->neval++;
    if (eval < s->first) {
        return false;
    }
    if (now->best_at < 0 ? score > -INFINITY : score > now->best + s->least) {
        now->best = score;
        now->best_at = eval;
        now->stalled = now->waited = 0;
        return true;
    }
    now->stalled++;
    now->waited++;
    if (rate_patience > 0 && now->waited >= rate_patience) {
        now->nreduction++;
        now->waited = 0;
    }
    return false;
}

static inline bool stopping_wanted(const stopping_settings *s, const stopping *now)
{
    return s->patience > 0 && now->stalled >= s->patience;
}
#endif

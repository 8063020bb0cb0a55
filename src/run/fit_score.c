/* fit_score.c - scores of a fit, its history, and what is said of them at the end. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

/* --- scores ---------------------------------------------------------------------------------------------------------- */

double fit_item_score(const fit *f, int net, int item, double *cell_correlation, double *cell_bits)
{
    int64_t at = net * f->nelement, n[2] = {0, 0};
    double sum[2] = {0, 0};
    for (int i = 0; i < item; i++) {
        at += f->item[i].nelement;
    }
    for (int64_t e = 0; e < f->item[item].nelement; e++) {
        const fit_moments *s = &f->moments[at + e];
        const loss_moments *m = &s->m;
        double vy = m->w * m->yy - m->y * m->y, vr = m->w * m->rr - m->r * m->r;
        bool vary = vy > 1e-12 * m->w * m->yy && vr > 1e-12 * m->w * m->rr; /* more than rounding */
        double r = vary ? (m->w * m->yr - m->y * m->r) / sqrt(vy * vr) : NAN;
        /* Log likelihood of a Poisson process of this rate less that of the mean rate, by spike. */
        double bits = m->r > 0 ? (s->rlogy - m->y - m->r * log(m->r / m->w) + m->r) / (m->r * log(2)) : NAN;
        if (cell_correlation) {
            cell_correlation[e] = r;
        }
        if (cell_bits) {
            cell_bits[e] = bits;
        }
        sum[0] += isfinite(r) ? r : 0;
        sum[1] += isfinite(bits) ? bits : 0;
        n[0] += isfinite(r);
        n[1] += isfinite(bits);
    }
    int k = f->s.score == SCORE_BITS_PER_SPIKE;
    return n[k] > 0 ? sum[k] / (double)n[k] : NAN;
}

double fit_score_of(const fit *f, int net)
{
    double sum = 0;
    for (int i = 0; f->s.score != SCORE_LOSS && i < f->nitem; i++) {
        sum += fit_item_score(f, net, i, NULL, NULL) / f->nitem;
    }
    return f->s.score == SCORE_LOSS ? -f->losses[net] : sum;
}

/* --- history --------------------------------------------------------------------------------------------------------- */

void fit_note_history(fit *f)
{
    int nnet = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1;
    if (f->nhistory == f->history_room) {
        f->history_room = f->history_room > 0 ? 2 * f->history_room : 64;
        f->history = memory_grow(f->history, (size_t)(f->history_room * nnet * 4), sizeof *f->history);
        f->history_at = memory_grow(f->history_at, (size_t)(f->history_room * 2), sizeof *f->history_at);
    }
    for (int k = 0; k < nnet; k++) {
        const fit_course *c = &f->course[k];
        double row[4] = {c->loss, c->validation, c->score, c->rate};
        memcpy(f->history + (f->nhistory * nnet + k) * 4, row, sizeof row);
    }
    f->history_at[2 * f->nhistory] = f->epoch;
    f->history_at[2 * f->nhistory + 1] = f->step;
    f->nhistory++;
    log_say(LOG_DETAIL, "epoch %lld  step %lld  loss %.8g  validation %.8g  score %.6g  rate %.4g", (long long)f->epoch, (long long)f->step,
            f->course[0].loss, f->course[0].validation, f->course[0].score, f->course[0].rate);
}

/* --- at the end ---------------------------------------------------------------------------------------------------------- */

static void say_one(fit *f, enum split_part part)
{
    static const char *const parts[] = {"training", "validation", "test"};
    log_say(LOG_RESULT, "%s: %lld steps, loss of the %s part %.6g", f->s.target == FIT_STIMULUS ? "stimulus" : "fit", (long long)f->step,
            f->s.target == FIT_STIMULUS ? "counted" : parts[part], f->losses[0]);
    double *start = MEMORY_NEW(double, f->nvalue);
    fit_start_values(f, 0, start);
    for (int i = 0; i < f->nitem; i++) {
        double *r = MEMORY_NEW(double, 2 * f->item[i].nelement), sum[2] = {0, 0};
        int64_t n = f->item[i].nelement;
        fit_item_score(f, 0, i, r, r + n);
        for (int64_t e = 0; e < 2 * n; e++) {
            sum[e / n] += isfinite(r[e]) ? r[e] / (double)n : 0;
        }
        char bits[64] = "";
        if (f->item[i].info.counts) {
            snprintf(bits, sizeof bits, ", %.4f bits/spike", sum[1]);
        }
        log_say(LOG_RESULT, "  %-20s correlation %.4f%s (mean of %lld cells)", f->item[i].name, sum[0], bits, (long long)n);
        memory_free(r);
    }
    for (int i = 0; i < f->nparam; i++) {
        model_param p = model_param_at(f->m, f->param[i].index);
        if (p.p.n == 1) {
            log_say(LOG_RESULT, "  %-28s %14.8g %-8s (started at %.8g)", f->param[i].name, f->value[p.at], p.p.unit ? p.p.unit : "", start[p.at]);
        }
    }
    memory_free(start);
    log_say(LOG_RESULT, "  %s", f->p->result);
}

/* Collective.  Least, median and most of the mean correlations of the networks. */
static void say_networks(fit *f, enum split_part part)
{
    static const char *const parts[] = {"training", "validation", "test"};
    int first, n = fit_networks_to_write(f, &first), most = f->nnet, found = 0;
    double *mine = MEMORY_NEW(double, most), *all = MEMORY_NEW(double, (int64_t)most *comm_size());
    for (int k = 0; k < most; k++) {
        mine[k] = -INFINITY;
    }
    enum fit_score before = (enum fit_score)f->s.score;
    f->s.score = SCORE_CORRELATION;
    for (int k = 0; k < n; k++) {
        double r = fit_score_of(f, first + k);
        mine[k] = isfinite(r) ? r : 0;
    }
    f->s.score = (int)before;
    comm_gather_double(mine, most, all);
    for (int64_t i = 0; i < (int64_t)most * comm_size(); i++) { /* sorted, without what stands for nothing */
        if (all[i] > -INFINITY) {
            double x = all[i];
            int k = found++;
            while (k > 0 && all[k - 1] > x) {
                all[k] = all[k - 1];
                k--;
            }
            all[k] = x;
        }
    }
    log_say(LOG_RESULT, "fit of %d networks: %lld steps, correlations of the %s part %.4f to %.4f, median %.4f", f->nnet, (long long)f->step,
            parts[part], all[0], all[found - 1], all[found / 2]);
    log_say(LOG_RESULT, "  %s", f->p->result);
    memory_free(mine);
    memory_free(all);
}

void fit_say_result(fit *f, enum split_part part)
{
    if (f->nnet == 1) {
        say_one(f, part);
    } else {
        say_networks(f, part);
    }
}

/* analyze_trains.c - distances of spike trains: each cell's recorded train against that of another response, trial by trial: a model's spikes, or a second
 * recording.  van Rossum 2001: D^2 = 1/tau int (f - g)^2 dt, f = sum over spikes of exp(-(t - t_i)/tau).  Victor and Purpura 1996: cheapest way from
 * one train to the other, 1 for a spike added or taken away, cost |dt| for one moved.  Spikes stand in the middle of their bins; means over trials. */
#include <math.h>
#include <stdio.h>

#include "analysis/scores.h"
#include "base/log.h"
#include "base/memory.h"
#include "run/analyze_own.h"

#define COUNT(x) ((int)(sizeof(x) / sizeof((x)[0])))
enum { MOST_SPIKES = 20000 }; /* Victor and Purpura's distance takes the product of both numbers */

const key_spec analyze_trains_keys[] = {
    {"response", KEY_NODE, NULL, NULL, 0, 0, NULL, "the other trains (chiasm help response): as many cells; trial i is compared with trial i",
     offsetof(trains_settings, response), 0, 0},
    {"tau", KEY_REAL, "s", "10 ms", 1e-6, 1e6, NULL, "van Rossum: decay of the kernel", offsetof(trains_settings, tau_s), 0, 0},
    {"cost", KEY_REAL, "Hz", "100 Hz", 0, 1e9, NULL, "Victor and Purpura: of moving a spike by a second", offsetof(trains_settings, cost_hz), 0, 0},
};
_Static_assert(COUNT(analyze_trains_keys) == ANALYZE_TRAINS_NKEY, "say it in analyze_own.h");

void analyze_trains_plan(analysis *a)
{
    input *in = a->parts->in;
    if (!a->set.trains) {
        return;
    }
    INPUT_FILL(in, a->set.trains, "analyze.trains", analyze_trains_keys, &a->trains);
    a->other = a->trains.response ? response_open(in, a->trains.response, a->parts->set.step_s, a->nstep) : NULL;
    if (a->other && a->resp) {
        response_info mine = response_look(a->resp), theirs = response_look(a->other);
        if (mine.ncell != theirs.ncell) {
            input_problem(in, a->set.trains, "%lld cells are compared with %lld; `cells` of a response chooses", (long long)mine.ncell, (long long)theirs.ncell);
        }
        if (!mine.counts || !theirs.counts) {
            input_problem(in, a->set.trains, "spike trains are wanted; one of the responses has rates, not counts");
        }
    }
}

/* Spike times of one cell and trial, s; *n of them. */
static double *train(const analysis *a, response *r, int64_t trial, int64_t cell, int64_t *n)
{
    double *count = MEMORY_NEW(double, a->nstep), total = 0, step_s = a->parts->set.step_s;
    response_read(r, trial, 0, a->nstep, cell, 1, count);
    for (int64_t t = 0; t < a->nstep; t++) {
        count[t] = isfinite(count[t]) ? count[t] : 0;
        total += count[t];
    }
    double *time = MEMORY_NEW(double, (int64_t)total);
    *n = 0;
    for (int64_t t = 0; t < a->nstep; t++) {
        for (int k = 0; k < (int)count[t]; k++) {
            time[(*n)++] = ((double)t + 0.5) * step_s;
        }
    }
    memory_free(count);
    return time;
}

static void compare(const analysis *a, int64_t cell, int64_t ntrial, double d[4])
{
    for (int64_t trial = 0; trial < ntrial; trial++) {
        int64_t n, m;
        double *x = train(a, a->resp, trial, cell, &n), *y = train(a, a->other, trial, cell, &m);
        bool few = n <= MOST_SPIKES && m <= MOST_SPIKES;
        d[0] += scores_van_rossum(n, x, m, y, a->trains.tau_s) / (double)ntrial;
        d[1] += scores_van_rossum(n, x, 0, NULL, a->trains.tau_s) / (double)ntrial;
        d[2] += (few ? scores_victor_purpura(n, x, m, y, a->trains.cost_hz) : NAN) / (double)ntrial;
        d[3] += (double)n / (double)ntrial;
        memory_free(x);
        memory_free(y);
    }
}

void analyze_trains(analysis *a)
{
    if (!a->other) {
        return;
    }
    int64_t ncell = a->ncell, mine = response_look(a->resp).ntrial, theirs = response_look(a->other).ntrial, ntrial = mine < theirs ? mine : theirs;
    double *all = MEMORY_NEW(double, 4 * ncell);
    static const char *const name[] = {"van_rossum", "van_rossum_to_none", "victor_purpura", "victor_purpura_to_none"};
    log_say(LOG_RESULT, "spike trains, mean of %lld trial%s: distance (that of no spikes at all)   van Rossum, tau %g s   Victor and Purpura, cost %g Hz",
            (long long)ntrial, ntrial > 1 ? "s" : "", a->trains.tau_s, a->trains.cost_hz);
    for (int64_t c = 0; c < ncell; c++) {
        double d[4] = {0};
        compare(a, c, ntrial, d);
        log_say(LOG_RESULT, "  %-12lld %10.4f (%.4f) %14.4f (%.4f)", (long long)c, d[0], d[1], d[2], d[3]);
        for (int k = 0; k < 4; k++) {
            all[k * ncell + c] = d[k];
        }
    }
    store_define_group(a->file, "/analysis/trains");
    for (int k = 0; k < 4; k++) {
        analyze_put(a, "/analysis/trains", name[k], "1", all + k * ncell, ncell, 0, 0);
    }
    memory_free(all);
}

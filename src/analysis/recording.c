/* recording.c - see recording.h. */
#include "analysis/recording.h"

#include <math.h>
#include <string.h>

#include "analysis/linalg.h"
#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"

enum { RENDER_STEPS = 64, BLOCK_ROWS = 256 };
/* A whole number that went through luminance as a float: 255 (1 + 2^-24) is off by 2e-5. */
#define WHOLE_TOLERANCE 1e-4

#define AT(field) offsetof(recording_settings, field)
const key_spec recording_keys[RECORDING_NKEY] = {
    {"lags", KEY_INT, NULL, "20", 1, 10000, NULL, "frames in the window over the past", AT(lags), 0, 0},
    {"first_lag", KEY_INT, NULL, "0", 0, 1000, NULL, "steps from the newest frame of the window to the bin; 0: the bin's own frame is in it",
     AT(first_lag), 0, 0},
    {"count", KEY_WORD, NULL, "all", 0, 0, "all|once", "a bin with k spikes counts k times, or once", AT(count), 0, 0},
    {"skip", KEY_INT, NULL, "0", 0, 1e9, NULL, "bins at the start of each trial that are not used", AT(skip), 0, 0},
    {"trial", KEY_INT, NULL, "0", 0, 1e12, NULL, "steps of a trial; 0: the recording is one", AT(trial), 0, 0},
    {"running", KEY_REALS, "", "", 0, 1e12, NULL, "[first, end) steps of each trial that are used; not given: all", AT(running), AT(nrunning), 2},
    {"train", KEY_REALS, "", "", 0, 1e12, NULL, "[first, end) trials (without trials: steps) of the estimates; not given: all but `test`", AT(train),
     AT(ntrain), 2},
    {"test", KEY_REALS, "", "", 0, 1e12, NULL, "[first, end) trials or steps that are held out for scores", AT(test), AT(ntest), 2},
    {"frozen", KEY_REALS, "", "", 0, 1e12, NULL, "[first, end) steps of each trial whose stimulus is the same in all: scored against their mean",
     AT(frozen), AT(nfrozen), 2},
    {"offset", KEY_REAL, "", "0.5", -1e30, 1e30, NULL, "luminance that counts as 0", AT(offset), 0, 0},
    {"unit", KEY_REAL, "", "0.5", 1e-30, 1e30, NULL, "luminance above it that counts as 1 (0.5: black and white are -1 and 1)", AT(unit), 0, 0},
    {"pieces", KEY_INT, NULL, "16", 1, 4096, NULL, "pieces of time that are dealt to ranks; last bits of sums of rounded numbers depend on it",
     AT(pieces), 0, 0},
};

/* --- settings ------------------------------------------------------------------------------------------------------- */
static void check_range(input *in, const input_node *at, const char *key, const double v[2], int n, int64_t end, const char *what)
{
    if (n != 0 && (n != 2 || v[0] >= v[1] || v[1] > (double)end)) {
        input_problem(in, input_child(at, key), "%s: two numbers [first, end) with first < end <= %lld are wanted: there are %lld %s", key,
                      (long long)end, (long long)end, what);
    }
}

void recording_check(input *in, const input_node *at, recording_settings *s, int64_t nstep)
{
    if (s->trial > nstep) {
        input_problem(in, input_child(at, "trial"), "trial: %lld steps; the recording has %lld", (long long)s->trial, (long long)nstep);
        s->trial = 0;
    }
    int64_t steps = s->trial > 0 ? s->trial : nstep, trials = s->trial > 0 ? nstep / s->trial : nstep;
    check_range(in, at, "running", s->running, s->nrunning, steps, "steps in a trial");
    check_range(in, at, "frozen", s->frozen, s->nfrozen, steps, "steps in a trial");
    check_range(in, at, "train", s->train, s->ntrain, trials, s->trial > 0 ? "trials" : "steps");
    check_range(in, at, "test", s->test, s->ntest, trials, s->trial > 0 ? "trials" : "steps");
    if (s->nfrozen > 0 && s->trial == 0) {
        input_problem(in, input_child(at, "frozen"), "frozen: give `trial`, the steps of a trial, too");
    }
    if (s->lags + s->first_lag > nstep) {
        input_problem(in, input_child(at, "lags"), "lags: a window of %lld frames is longer than the recording, %lld steps", (long long)s->lags,
                      (long long)nstep);
    }
}

/* n is not 2 when the range was not given. */
static bool within(double at, const double range[2], int n, bool otherwise)
{
    return n == 2 ? at >= range[0] && at < range[1] : otherwise;
}

static enum recording_part part_of(const recording *r, int64_t step)
{
    const recording_settings *s = &r->set;
    int64_t trial = step / r->trial_steps, at = step % r->trial_steps;
    if (trial >= r->ntrial || at < s->skip || step < s->first_lag + s->lags - 1) {
        return RECORDING_UNUSED;
    }
    if (within((double)at, s->frozen, s->nfrozen, false)) {
        return RECORDING_FROZEN;
    }
    if (!within((double)at, s->running, s->nrunning, true)) {
        return RECORDING_UNUSED;
    }
    double unit = (double)(s->trial > 0 ? trial : step);
    if (within(unit, s->test, s->ntest, false)) {
        return RECORDING_TEST;
    }
    return within(unit, s->train, s->ntrain, true) ? RECORDING_TRAIN : RECORDING_UNUSED;
}

/* --- loading -------------------------------------------------------------------------------------------------------- */
static void read_counts(recording *r, response *from)
{
    enum { AT_ONCE = 4096 };
    double *some = MEMORY_NEW(double, AT_ONCE * r->ncell);
    r->count = MEMORY_NEW(double, r->ncell * r->nstep);
    for (int64_t t0 = 0; t0 < r->nstep; t0 += AT_ONCE) {
        int64_t nt = r->nstep - t0 < AT_ONCE ? r->nstep - t0 : AT_ONCE;
        response_read(from, -1, t0, nt, 0, r->ncell, some);
        for (int64_t t = 0; t < nt; t++) {
            for (int64_t c = 0; c < r->ncell; c++) {
                double y = some[t * r->ncell + c];
                if (isnan(y)) {
                    r->part[t0 + t] = RECORDING_UNUSED;
                    y = 0;
                }
                r->count[c * r->nstep + t0 + t] = r->set.count == 1 && y > 0 ? 1 : y;
            }
        }
    }
    memory_free(some);
}

/* Luminance to stimulus; false: a value is no whole number that fits 8 bits. */
static bool scale_frames(const recording_settings *s, int64_t n, real *v)
{
    bool whole = true;
    double per_unit = 1 / s->unit;
    for (int64_t i = 0; i < n; i++) {
        double x = ((double)v[i] - s->offset) * per_unit, near = rint(x);
        whole = whole && fabs(x - near) <= WHOLE_TOLERANCE && near >= INT8_MIN && near <= INT8_MAX;
        v[i] = (real)x;
    }
    return whole;
}

static void render(recording *r, const recording_source *from)
{
    stimulus *stim = from->stim;
    int64_t pixels = (int64_t)r->ny * r->nx, frames = r->to - r->held0;
    r->wide = MEMORY_NEW(real, frames * pixels);
    stimulus_expect(stim, from->y0, from->x0, r->ny, r->nx, RENDER_STEPS);
    bool whole = true;
    for (int64_t t = 0; t < frames; t += RENDER_STEPS) {
        int nt = (int)(frames - t < RENDER_STEPS ? frames - t : RENDER_STEPS);
        real *to = r->wide + t * pixels;
        stimulus_render(stim, r->held0 + t, nt, from->y0, from->x0, r->ny, r->nx, to, pixels, r->nx);
        whole = scale_frames(&r->set, nt * pixels, to) && whole;
    }
    if (stimulus_broken(stim)) {
        error_fatal(EXIT_BAD_INPUT, "%s", stimulus_broken(stim));
    }
    r->whole = !comm_any(!whole);
    if (r->whole) {
        r->small = MEMORY_NEW(int8_t, frames * pixels);
        for (int64_t i = 0; i < frames * pixels; i++) {
            r->small[i] = (int8_t)rint((double)r->wide[i]);
        }
        memory_free(r->wide);
        r->wide = NULL;
    }
}

void recording_piece(const recording *r, int piece, int64_t *from, int64_t *to)
{
    int64_t n = grid_nleaf(&r->pieces);
    *from = r->nstep * piece / n;
    *to = r->nstep * (piece + 1) / n;
}

recording *recording_load(const recording_settings *s, const recording_source *source)
{
    int64_t nstep = source->nstep;
    recording *r = MEMORY_NEW(recording, 1);
    int npiece = (int)(s->pieces < nstep ? s->pieces : nstep), nrank = comm_size();
    r->set = *s;
    r->nstep = nstep;
    r->ncell = response_look(source->resp).ncell;
    r->trial_steps = s->trial > 0 ? s->trial : nstep;
    r->ntrial = nstep / r->trial_steps;
    r->ny = source->ny;
    r->nx = source->nx;
    r->pieces = grid_plan(1, npiece, 1, npiece);
    r->ranks = grid_plan(1, nrank, 1, nrank);
    grid_owned(&r->pieces, comm_rank(), nrank, &r->piece0, &r->npiece);
    int64_t unused;
    if (r->npiece > 0) {
        recording_piece(r, r->piece0, &r->from, &unused);
        recording_piece(r, r->piece0 + r->npiece - 1, &unused, &r->to);
    }
    int64_t before = r->from - s->first_lag - s->lags + 1;
    r->held0 = before > 0 ? before : 0;
    r->part = MEMORY_NEW(uint8_t, nstep);
    for (int64_t t = 0; t < nstep; t++) {
        r->part[t] = (uint8_t)part_of(r, t);
    }
    read_counts(r, source->resp);
    render(r, source);
    return r;
}

void recording_destroy(recording *r)
{
    if (r) {
        memory_free(r->small);
        memory_free(r->wide);
        memory_free(r->count);
        memory_free(r->part);
        memory_free(r);
    }
}

size_t recording_bytes(const recording_settings *s, int64_t nstep, int64_t ncell, int ny, int nx, int rank, int nrank)
{
    int npiece = (int)(s->pieces < nstep ? s->pieces : nstep), first, count;
    grid g = grid_plan(1, npiece, 1, npiece);
    grid_owned(&g, rank, nrank, &first, &count);
    size_t frames = (size_t)(nstep * count / npiece + s->lags + s->first_lag);
    return frames * (size_t)ny * (size_t)nx * (sizeof(real) + 1) + (size_t)nstep * (size_t)ncell * sizeof(double);
}

double recording_spikes(const recording *r, int64_t cell, enum recording_part part)
{
    double sum = 0;
    for (int64_t t = 0; t < r->nstep; t++) {
        sum += r->part[t] == part ? r->count[cell * r->nstep + t] : 0;
    }
    return sum;
}

/* --- rows ----------------------------------------------------------------------------------------------------------- */
int recording_width(const recording_rows *f)
{
    int64_t window = (int64_t)f->ny * f->nx * (f->temporal ? 1 : f->r->set.lags);
    return (int)(window + (int64_t)f->history * (f->coupled ? f->r->ncell : 1));
}

/* to[window] += weight times a frame. */
static void add_frame(const recording_rows *f, int64_t step, double weight, double *to)
{
    const recording *r = f->r;
    int64_t first = ((step - r->held0) * r->ny + f->y0) * r->nx + f->x0;
    for (int y = 0; y < f->ny; y++, first += r->nx, to += f->nx) {
        if (r->small) {
            for (int x = 0; x < f->nx; x++) {
                to[x] += weight * (double)r->small[first + x];
            }
        } else {
            for (int x = 0; x < f->nx; x++) {
                to[x] += weight * (double)r->wide[first + x];
            }
        }
    }
}

static double *history_row(const recording_rows *f, int64_t cell, int64_t step, double *row)
{
    for (int k = 1; k <= f->history; k++) {
        *row++ = step - k >= 0 ? f->r->count[cell * f->r->nstep + step - k] : 0;
    }
    return row;
}

void recording_row(const recording_rows *f, int64_t step, double *row)
{
    const recording *r = f->r;
    int64_t newest = step - r->set.first_lag, pixels = (int64_t)f->ny * f->nx, window = pixels * (f->temporal ? 1 : r->set.lags);
    memset(row, 0, (size_t)window * sizeof *row);
    for (int64_t lag = 0; lag < r->set.lags && newest - lag >= 0; lag++) {
        if (!f->temporal) {
            add_frame(f, newest - lag, 1, row + lag * pixels);
        } else if (f->temporal[lag] != 0) {
            add_frame(f, newest - lag, f->temporal[lag], row);
        }
    }
    row = f->history > 0 ? history_row(f, f->cell, step, row + window) : row;
    for (int64_t c = 0; f->coupled && c < r->ncell; c++) {
        row = c == f->cell ? row : history_row(f, c, step, row);
    }
}

/* --- sums ----------------------------------------------------------------------------------------------------------- */
void recording_sum(const recording *r, const double *mine, int64_t n, double *total)
{
    ASSERT(n <= INT32_MAX);
    comm_leaf_sum(&r->pieces, mine, (int)n, total);
}

/* The block's sums; its rows are scaled by the roots of their weights on the way, so that one symmetric product is enough. */
static void add_block(int n, int width, double *rows, const double *weight, double *moments)
{
    for (int i = 0; i < n; i++) {
        double *row = rows + (size_t)i * (size_t)width, root = sqrt(weight[i]);
        moments[0] += weight[i];
        for (int d = 0; d < width; d++) {
            moments[1 + d] += weight[i] * row[d];
            row[d] *= root;
        }
    }
    linalg_add_square(n, width, rows, moments + 1 + width);
}

void recording_moments(const recording_rows *f, enum recording_part part, const double *weight, double *moments)
{
    const recording *r = f->r;
    int width = recording_width(f);
    size_t n = recording_nmoment(width);
    double *mine = MEMORY_NEW(double, n *(size_t)r->npiece), *rows = MEMORY_NEW(double, (size_t)BLOCK_ROWS * (size_t)width);
    double *weights = MEMORY_NEW(double, BLOCK_ROWS);
    for (int i = 0; i < r->npiece; i++) {
        int64_t from, to;
        int nrow = 0;
        recording_piece(r, r->piece0 + i, &from, &to);
        for (int64_t t = from; t < to; t++) {
            double w = weight ? weight[t] : 1;
            if (r->part[t] == part && w > 0) {
                recording_row(f, t, rows + (size_t)nrow * (size_t)width);
                weights[nrow++] = w;
            }
            if (nrow == BLOCK_ROWS || t == to - 1) {
                add_block(nrow, width, rows, weights, mine + n * (size_t)i);
                nrow = 0;
            }
        }
    }
    recording_sum(r, mine, (int64_t)n, moments);
    linalg_mirror(width, moments + 1 + width);
    memory_free(mine);
    memory_free(rows);
    memory_free(weights);
}

void recording_covariance(int width, const double *moments, bool unbiased, double *mean, double *covariance)
{
    double n = moments[0], over = unbiased && n > 1 ? n / (n - 1) : 1;
    const double *second = moments + 1 + width;
    for (int i = 0; i < width; i++) {
        mean[i] = n > 0 ? moments[1 + i] / n : 0;
    }
    for (size_t i = 0; i < (size_t)width; i++) {
        for (size_t j = 0; j < (size_t)width; j++) {
            covariance[i * (size_t)width + j] = n > 0 ? over * (second[i * (size_t)width + j] / n - mean[i] * mean[j]) : 0;
        }
    }
}

void recording_project(const recording_rows *f, const double *kernel, double *to)
{
    const recording *r = f->r;
    int width = recording_width(f);
    double *mine = MEMORY_NEW(double, r->nstep), *row = MEMORY_NEW(double, width);
    for (int64_t t = r->from; t < r->to; t++) {
        if (t - r->set.first_lag - r->set.lags + 1 >= 0) {
            recording_row(f, t, row);
            mine[t] = linalg_dot(width, row, kernel);
        }
    }
    comm_leaf_sum(&r->ranks, mine, (int)r->nstep, to); /* each step is of one rank: nothing is rounded */
    memory_free(mine);
    memory_free(row);
}

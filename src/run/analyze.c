/* analyze.c - the run mode `chiasm analyze`: settings, the way through the cells, the result.
 *
 *   /analysis/<cell>/          sta [lag][y][x] (sta_sum i64 when the stimulus is of whole numbers), temporal, spatial, singular_values;
 *                              attributes nspike, first_lag, window_y, window_x, lag, share, moran, regularity
 *     nonlinearity/<kind>/     edge, rate, or attributes a b c; attributes bits_per_spike, cc, part, ... of held-out bins
 *     prediction               counts a bin of the last nonlinearity, NaN at bins without a whole window
 *     stc/ istac/ stnmf/ glm/ tuning/
 *     temporal_kernel [lag][1][1], stnmf/kernel [local module][1][y][x]: where a conv of chiasm fit can start
 *   /analysis/trains/          van_rossum[_to_none], victor_purpura[_to_none] [cell]
 *   /analysis/transfer/        score [model][cell], response_correlation [cell][cell]
 *   /provenance/               see provenance.h */
#include "run/analyze.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analysis/linalg.h"
#include "analysis/transfer.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/analyze_own.h"
#include "run/provenance.h"

#define AT(field) offsetof(analyze_settings, field)
static const key_spec own_keys[] = {
    {"response", KEY_NODE, NULL, NULL, 0, 0, NULL, "what was recorded (chiasm help response)", AT(response), 0, 0},
    {"window", KEY_REAL, "", "0", 0, 4096, NULL, "pixels a side of the window of a cell, around the peak of its STA; 0: the whole field",
     AT(window), 0, 0},
    {"window_at", KEY_REALS, "", "", 0, 32768, NULL, "[y0, x0] first pixel of the window, instead of looking for the peak", AT(window_at),
     AT(nwindow_at), 2},
    {"window_smooth", KEY_REAL, "", "1.5", 0, 100, NULL, "pixels: Gaussian before the peak is looked for", AT(window_smooth), 0, 0},
    {"mean", KEY_WORD, NULL, "keep", 0, 0, "keep|subtract", "subtract: the mean stimulus is taken from the STA", AT(mean), 0, 0},
    {"filter", KEY_WORD, NULL, "separable", 0, 0, "separable|full", "of the LN model: temporal times spatial STA, or the whole STA", AT(filter),
     0, 0},
    {"nonlinearity", KEY_TEXTS, NULL, "[histogram, softplus]", 0, 0, NULL, "histogram, exp, softplus, sigmoid, parametric; [] for none",
     AT(nonlinearity), AT(nnonlinearity), NONLINEARITY_COUNT},
    {"bins", KEY_INT, NULL, "30", 2, 10000, NULL, "of the histogram, equally full", AT(bins), 0, 0},
    {"transfer", KEY_FLAG, NULL, "false", 0, 0, NULL, "score each cell's LN model on every cell", AT(transfer), 0, 0},
    {"stc", KEY_NODE, NULL, "", 0, 0, NULL, "spike-triggered covariance (chiasm help stc)", AT(stc), 0, 0},
    {"istac", KEY_NODE, NULL, "", 0, 0, NULL, "most informative subspace (chiasm help istac)", AT(istac), 0, 0},
    {"stnmf", KEY_NODE, NULL, "", 0, 0, NULL, "subunits (chiasm help stnmf)", AT(stnmf), 0, 0},
    {"glm", KEY_NODE, NULL, "", 0, 0, NULL, "Poisson regression (chiasm help glm)", AT(glm), 0, 0},
    {"tuning", KEY_NODE, NULL, "", 0, 0, NULL, "responses to gratings (chiasm help tuning)", AT(tuning), 0, 0},
    {"trains", KEY_NODE, NULL, "", 0, 0, NULL, "distances to the spike trains of another response (chiasm help trains)", AT(trains), 0, 0},
};
#define COUNT(x) ((int)(sizeof(x) / sizeof((x)[0])))

static const key_spec istac_keys[] = {
    {"dimensions", KEY_INT, NULL, "4", 1, 64, NULL, "of the largest subspace", offsetof(istac_settings, dimensions), 0, 0},
    {"cut", KEY_REAL, "", "0.01", 0, 1, NULL, "axes of the stimulus below this part of its largest eigenvalue are left out",
     offsetof(istac_settings, cut), 0, 0},
};

enum { NTOPIC = 8 };
const int analyze_ntopic = NTOPIC;
const help_topic analyze_topics[NTOPIC] = {
    {"analysis", "section `analyze`: receptive fields and models read off recorded responses",
     "Beside these keys those of `chiasm help windows` stand in the section.  An analysis is done when its key is given ({} for its defaults).\n"
     "STA = (1/n) sum y x;  LN: counts a bin = f(g), g = filter . x, f by maximum likelihood; scores on the held-out `test` or `frozen` bins.",
     own_keys, COUNT(own_keys)},
    {"windows", "section `analyze`: lags, trials and the other conventions that tools differ in",
     "x_t = frames t - first_lag, t - first_lag - 1, ... (lags of them), y_t = spikes of bin t.", recording_keys, RECORDING_NKEY},
    {"stc", "analyze.stc: spike-triggered covariance",
     "Eigenvalues of C1 - C0, or C0^-1/2 C1 C0^-1/2; an axis is significant beyond the quantile of what shifted spikes give.", stc_keys, STC_NKEY},
    {"istac", "analyze.istac: subspace of most Gaussian information (Pillow and Simoncelli 2006)",
     "KL = 0.5 (tr B'CB - log|B'CB| - m + |B'mu|^2) in the space where the stimulus is white.", istac_keys, COUNT(istac_keys)},
    {"stnmf", "analyze.stnmf: subunits by non-negative matrix factorisation (Liu et al. 2017)",
     "X ~ A Y, Y >= 0, of the windows before spikes weighted by the temporal STA.", stnmf_keys, STNMF_NKEY},
    {"glm", "analyze.glm: Poisson regression with stimulus, history and coupling",
     "log mu = b + k.x + h.(own past) + l.(past of other cells); minimum of sum (mu - y log mu) + (ridge/2)|weights|^2 by Newton's method.",
     glm_keys, GLM_NKEY},
    {"tuning", "analyze.tuning: F0, F1, OSI and DSI of responses to gratings shown one after the other",
     "OSI = |sum R exp(2 i theta)| / sum R, DSI = |sum R exp(i theta)| / sum R.", tuning_keys, TUNING_NKEY},
    {"trains", "analyze.trains: distances of spike trains to those of another response",
     "van Rossum: D^2 = 1/tau int (f - g)^2 dt, f = sum over spikes of exp(-(t - t_i)/tau).  Victor and Purpura: cheapest way from one train to the\n"
     "other, 1 for a spike added or taken away, cost |dt| for one moved.  Beside each what an empty train would have.",
     analyze_trains_keys, ANALYZE_TRAINS_NKEY},
};

/* --- reading -------------------------------------------------------------------------------------------------------- */
static void read_nonlinearities(analysis *a, input *in, const input_node *section)
{
    for (int i = 0; i < a->set.nnonlinearity; i++) {
        int kind = 0;
        while (kind < NONLINEARITY_COUNT && strcmp(a->set.nonlinearity[i], nonlinearity_name[kind]) != 0) {
            kind++;
        }
        if (kind == NONLINEARITY_COUNT) {
            input_problem(in, input_child(section, "nonlinearity"), "nonlinearity: '%s' is not one of histogram, exp, softplus, sigmoid, parametric",
                          a->set.nonlinearity[i]);
        } else {
            a->wants[kind] = true;
        }
    }
}

static void check_window(analysis *a, input *in, const input_node *section)
{
    const settings *s = &a->parts->set;
    double side = a->set.window;
    if (side != floor(side) || side > s->ny || side > s->nx) {
        input_problem(in, input_child(section, "window"), "window: a whole number up to %d is wanted, as the field has %d x %d pixels",
                      s->ny < s->nx ? s->ny : s->nx, s->nx, s->ny);
        a->set.window = 0;
    }
    const double *at = a->set.window_at;
    if (a->set.nwindow_at != 0 && (a->set.nwindow_at != 2 || side == 0 || at[0] + side > s->ny || at[1] + side > s->nx)) {
        input_problem(in, input_child(section, "window_at"), "window_at: [y0, x0] of a window (give `window`, its pixels a side) inside the field");
        a->set.nwindow_at = 0;
    }
}

static void check_glm_window(analysis *a, input *in)
{
    const settings *s = &a->parts->set;
    const double *w = a->glm.window;
    if (a->glm.nwindow != 0 && (a->glm.nwindow != 4 || w[2] < 1 || w[3] < 1 || w[0] + w[2] > s->ny || w[1] + w[3] > s->nx)) {
        input_problem(in, input_child(a->set.glm, "window"), "window: [y0, x0, ny, nx] inside the field is wanted");
        a->glm.nwindow = 0;
    }
}

analysis *analyze_plan(const run_parts *p, const input_node *section)
{
    analysis *a = MEMORY_NEW(analysis, 1);
    input *in = p->in;
    a->parts = p;
    if (!section) {
        input_problem(in, NULL, "analyze: the section is missing; chiasm help analysis");
    }
    const key_table tables[] = {{own_keys, COUNT(own_keys), &a->set}, {recording_keys, RECORDING_NKEY, &a->recording_set}};
    input_fill_tables(in, section, "analyze", tables, 2);
    input_fill(in, a->set.stc, "analyze.stc", stc_keys, STC_NKEY, &a->stc);
    INPUT_FILL(in, a->set.istac, "analyze.istac", istac_keys, &a->istac);
    input_fill(in, a->set.stnmf, "analyze.stnmf", stnmf_keys, STNMF_NKEY, &a->stnmf);
    input_fill(in, a->set.glm, "analyze.glm", glm_keys, GLM_NKEY, &a->glm);
    if (a->set.tuning) {
        input_fill(in, a->set.tuning, "analyze.tuning", tuning_keys, TUNING_NKEY, &a->tuning);
    }
    read_nonlinearities(a, in, section);
    check_window(a, in, section);
    check_glm_window(a, in);
    if (!p->stim && section && !input_child(input_root(in), "stimulus")) {
        input_problem(in, NULL, "stimulus: the section is missing; an analysis needs what was shown");
    }
    a->nstep = p->set.nstep;
    a->resp = a->set.response ? response_open(in, a->set.response, p->set.step_s, p->set.duration_s > 0 ? p->set.nstep : 0) : NULL;
    if (a->resp) {
        response_info info = response_look(a->resp);
        a->nstep = info.nstep < a->nstep ? info.nstep : a->nstep;
        a->ncell = info.ncell;
        recording_check(in, section, &a->recording_set, a->nstep);
    }
    analyze_trains_plan(a);
    return a;
}

size_t analyze_bytes(const analysis *a)
{
    const settings *s = &a->parts->set;
    size_t lags = (size_t)a->recording_set.lags, pixels = (size_t)s->ny * (size_t)s->nx, ncell = (size_t)a->ncell, nstep = (size_t)a->nstep;
    size_t side = a->set.window > 0 ? (size_t)(a->set.window * a->set.window) : pixels, width = a->stc.full ? side * lags : side;
    size_t moments = a->set.stc || a->set.istac ? width * width * ((size_t)a->recording_set.pieces + 8 + (size_t)a->stc.shifts) : 0;
    moments += a->set.stnmf ? side * side * (ncell + (size_t)a->recording_set.pieces) : 0;
    return recording_bytes(&a->recording_set, a->nstep, a->ncell, s->ny, s->nx, a->parts->setup.rank, a->parts->setup.nrank) +
           (lags * pixels * (ncell + (size_t)a->recording_set.pieces) + nstep * (ncell + 4) + moments) * sizeof(double);
}

void analyze_print_plan(const analysis *a)
{
    log_say(LOG_RESULT, "responses %s", response_describe(a->resp));
    log_say(LOG_RESULT, "analysis  %lld cells, %lld bins, windows of %lld frames x %d x %d pixels, from lag %lld", (long long)a->ncell,
            (long long)a->nstep, (long long)a->recording_set.lags, a->parts->set.nx, a->parts->set.ny, (long long)a->recording_set.first_lag);
}

void analyze_destroy(analysis *a)
{
    if (a) {
        if (a->resp) {
            response_close(a->resp);
        }
        if (a->other) {
            response_close(a->other);
        }
        memory_free(a);
    }
}

/* --- writing -------------------------------------------------------------------------------------------------------- */
void analyze_put(analysis *a, const char *group, const char *name, const char *unit, const double *values, int64_t d0, int64_t d1, int64_t d2)
{
    int64_t dims[3] = {d0, d1, d2};
    char *path = memory_text("%s/%s", group, name);
    store_define_values(a->file, path, STORE_F64, d2 > 0 ? 3 : d1 > 0 ? 2 : 1, dims, unit, values);
    memory_free(path);
}

void analyze_attr(analysis *a, const char *group, const char *name, double value)
{
    store_attr_number(a->file, group, name, value);
}

static void put_sums(analysis *a, const cell_filter *f, const double *sum)
{
    const recording *r = a->r;
    int64_t dims[3] = {r->set.lags, r->ny, r->nx}, n = dims[0] * dims[1] * dims[2], *exact = MEMORY_NEW(int64_t, n), total = 0;
    for (int64_t i = 0; i < n; i++) {
        exact[i] = llround(sum[i]);
        total += exact[i];
    }
    char *path = memory_text("%s/sta_sum", f->group);
    store_define_values(a->file, path, STORE_I64, 3, dims, "1", exact);
    store_attr_integers(a->file, path, "sum", STORE_I64, 0, &total);
    memory_free(path);
    memory_free(exact);
}

/* --- filters -------------------------------------------------------------------------------------------------------- */
recording_rows analyze_rows(const analysis *a, const cell_filter *f, bool full)
{
    return (recording_rows){.r = a->r, .y0 = f->y0, .x0 = f->x0, .ny = f->ny, .nx = f->nx, .temporal = full ? NULL : f->temporal, .cell = f->cell};
}

static int clip(int v, int most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

static void place_window(const analysis *a, cell_filter *f)
{
    const recording *r = a->r;
    int side = (int)a->set.window, y, x;
    f->ny = side > 0 ? side : r->ny;
    f->nx = side > 0 ? side : r->nx;
    if (side == 0) {
        return;
    }
    if (a->set.nwindow_at == 2) {
        f->y0 = (int)a->set.window_at[0];
        f->x0 = (int)a->set.window_at[1];
        return;
    }
    sta_peak(r->ny, r->nx, f->map, a->set.window_smooth, &y, &x);
    f->y0 = clip(y - side / 2, r->ny - side);
    f->x0 = clip(x - side / 2, r->nx - side);
}

/* The STA within the window, [lags][ny nx], and its projection on the temporal part. */
static void cut_window(const analysis *a, cell_filter *f)
{
    const recording *r = a->r;
    int64_t lags = r->set.lags, pixels = (int64_t)f->ny * f->nx;
    f->spatial = MEMORY_NEW(double, pixels);
    f->kernel = MEMORY_NEW(double, lags *pixels);
    for (int64_t lag = 0; lag < lags; lag++) {
        for (int64_t i = 0; i < pixels; i++) {
            int64_t y = f->y0 + i / f->nx, x = f->x0 + i % f->nx;
            double v = f->sta[(lag * r->ny + y) * r->nx + x];
            f->spatial[i] += f->temporal[lag] * v;
            f->kernel[lag * pixels + i] = v;
        }
    }
    if (a->set.filter == FILTER_SEPARABLE) {
        memcpy(f->kernel, f->spatial, (size_t)pixels * sizeof *f->kernel);
    }
}

static void put_filter(analysis *a, const cell_filter *f, const double *sum, const sta_parts *parts)
{
    const recording *r = a->r;
    int64_t lags = r->set.lags, pixels = (int64_t)r->ny * r->nx;
    double moran = sta_moran(f->ny, f->nx, f->spatial), regularity = sta_regularity((int)lags, f->temporal);
    store_define_group(a->file, f->group);
    analyze_put(a, f->group, "sta", "1", f->sta, lags, r->ny, r->nx);
    analyze_put(a, f->group, "temporal", "1", f->temporal, lags, 0, 0);
    analyze_put(a, f->group, "temporal_kernel", "1", f->temporal, lags, 1, 1);
    analyze_put(a, f->group, "spatial", "1", f->spatial, f->ny, f->nx, 0);
    analyze_put(a, f->group, "singular_values", "1", parts->values, lags < pixels ? lags : pixels, 0, 0);
    if (r->whole) {
        put_sums(a, f, sum);
    }
    const struct {
        const char *name;
        double value;
    } attr[] = {{"nspike", f->nspike}, {"first_lag", (double)r->set.first_lag}, {"window_y", f->y0}, {"window_x", f->x0}, {"lag", f->lag},
                {"share", parts->share}, {"moran", moran}, {"regularity", regularity}};
    for (int i = 0; i < COUNT(attr); i++) {
        analyze_attr(a, f->group, attr[i].name, attr[i].value);
    }
    log_say(LOG_RESULT, "%-12.12s %8.0f spikes   lag %3d %s   separable %.3f   Moran %6.3f   window %d x %d at (%d, %d)",
            strrchr(f->group, '/') + 1, f->nspike, f->lag, f->temporal[f->lag] < 0 ? "OFF" : "ON ", parts->share, moran, f->nx, f->ny, f->x0, f->y0);
}

static void name_group(const analysis *a, cell_filter *f)
{
    const char root[] = "/analysis/", *name = response_cell_name(a->resp, f->cell);
    if (name) {
        snprintf(f->group, sizeof f->group, "%s%.100s", root, name);
    } else {
        snprintf(f->group, sizeof f->group, "%scell%lld", root, (long long)f->cell);
    }
    for (char *c = f->group + strlen(root); *c; c++) {
        *c = *c == '/' ? '_' : *c;
    }
}

static cell_filter find_filter(analysis *a, int64_t cell, const double *sum, double nspike)
{
    const recording *r = a->r;
    int64_t lags = r->set.lags, pixels = (int64_t)r->ny * r->nx, nvalue = lags < pixels ? lags : pixels;
    cell_filter f = {.cell = cell, .nspike = nspike};
    name_group(a, &f);
    f.sta = MEMORY_NEW(double, lags *pixels);
    f.temporal = MEMORY_NEW(double, lags);
    f.map = MEMORY_NEW(double, pixels);
    for (int64_t i = 0; i < lags * pixels; i++) {
        f.sta[i] = (nspike > 0 ? sum[i] / nspike : 0) - (a->mean ? a->mean[i] : 0);
    }
    sta_parts parts = {.temporal = f.temporal, .spatial = f.map, .values = MEMORY_NEW(double, nvalue)};
    sta_separate((int)lags, (int)pixels, f.sta, &parts);
    place_window(a, &f);
    cut_window(a, &f);
    for (int i = 0; i < lags; i++) {
        f.lag = fabs(f.temporal[i]) > fabs(f.temporal[f.lag]) ? i : f.lag;
    }
    put_filter(a, &f, sum, &parts);
    memory_free(parts.values);
    return f;
}

static void filter_free(cell_filter *f)
{
    memory_free(f->sta);
    memory_free(f->temporal);
    memory_free(f->map);
    memory_free(f->spatial);
    memory_free(f->kernel);
}

/* --- run ------------------------------------------------------------------------------------------------------------ */
/* Each cell's model on every cell's responses, over the held-out bins (without any: all that are used). */
static void run_transfer(analysis *a)
{
    const recording *r = a->r;
    int64_t n = 0, *bin = MEMORY_NEW(int64_t, r->nstep), ncell = r->ncell;
    bool held = false;
    for (int64_t t = 0; t < r->nstep; t++) {
        held = held || r->part[t] == RECORDING_TEST;
    }
    for (int64_t t = 0; t < r->nstep; t++) {
        if (r->part[t] == (held ? RECORDING_TEST : RECORDING_TRAIN)) {
            bin[n++] = t;
        }
    }
    double *p = MEMORY_NEW(double, ncell *n), *y = MEMORY_NEW(double, ncell *n), *score = MEMORY_NEW(double, ncell *ncell);
    double *alike = MEMORY_NEW(double, ncell *ncell);
    const char **names = MEMORY_NEW(const char *, ncell);
    for (int64_t c = 0; c < ncell; c++) {
        for (int64_t i = 0; i < n; i++) {
            p[c * n + i] = a->prediction[c * r->nstep + bin[i]];
            y[c * n + i] = r->count[c * r->nstep + bin[i]];
        }
        names[c] = response_cell_name(a->resp, c);
    }
    transfer_matrix((int)ncell, (int)ncell, n, p, y, score, alike);
    transfer_print((int)ncell, (int)ncell, score, alike, ncell > 0 && names[0] ? names : NULL);
    store_define_group(a->file, "/analysis/transfer");
    analyze_put(a, "/analysis/transfer", "score", "1", score, ncell, ncell, 0);
    analyze_put(a, "/analysis/transfer", "response_correlation", "1", alike, ncell, ncell, 0);
    memory_free(bin);
    memory_free(p);
    memory_free(y);
    memory_free(score);
    memory_free(alike);
    memory_free(names);
}

static void run_cell(analysis *a, const cell_filter *f)
{
    if (f->nspike > 0) {
        analyze_ln(a, f);
        analyze_stc(a, f);
        analyze_glm(a, f);
    }
    analyze_tuning(a, f);
}

/* Collective.  A signal came, or the time is over. */
static bool stop_wanted(const analysis *a)
{
    double deadline = run_deadline(a->parts);
    return comm_any(comm_signal_seen() || (deadline > 0 && log_clock() > deadline));
}

/* false: stopped on the way. */
static bool run_cells(analysis *a)
{
    const recording *r = a->r;
    int64_t n = r->set.lags * r->ny * r->nx;
    double *sum = MEMORY_NEW(double, n *r->ncell), *nspike = MEMORY_NEW(double, r->ncell);
    cell_filter *filters = MEMORY_NEW(cell_filter, r->ncell);
    if (a->set.mean == MEAN_SUBTRACT) {
        a->mean = MEMORY_NEW(double, n);
        sta_mean_window(r, a->mean);
    }
    a->prediction = MEMORY_NEW(double, a->set.transfer ? r->ncell * r->nstep : 0);
    sta_sums(r, sum, nspike);
    bool stopped = false;
    for (int64_t c = 0; c < r->ncell && !stopped; c++) {
        filters[c] = find_filter(a, c, sum + c * n, nspike[c]);
        run_cell(a, &filters[c]);
        stopped = stop_wanted(a);
    }
    if (!stopped) {
        analyze_stnmf(a, filters);
    }
    if (!stopped && a->set.transfer) {
        run_transfer(a);
    }
    if (!stopped) {
        analyze_trains(a);
    }
    for (int64_t c = 0; c < r->ncell; c++) {
        filter_free(&filters[c]);
    }
    memory_free(filters);
    memory_free(sum);
    memory_free(nspike);
    memory_free(a->mean);
    memory_free(a->prediction);
    return !stopped;
}

enum exit_code analyze_run(analysis *a, backend *be)
{
    (void)be; /* all of it is dense algebra on the host */
    const run_parts *p = a->parts;
    double began = log_clock();
    linalg_start();
    log_phase(PHASE_STIMULUS);
    recording_source source = {p->stim, a->resp, a->nstep, p->set.crop_y, p->set.crop_x, p->set.ny, p->set.nx};
    a->r = recording_load(&a->recording_set, &source);
    log_phase(PHASE_OUTPUT);
    a->file = store_create(p->result, p->opt->overwrite);
    store_define_group(a->file, "/analysis");
    provenance_facts facts = {.command = p->command, .stimulus = stimulus_describe(p->stim), .device = p->device, .step_s = p->set.step_s,
                              .nstep = a->nstep, .seed = (uint64_t)p->set.seed};
    provenance_define(a->file, p->in, &facts);
    log_phase(PHASE_COMPUTE);
    log_say(LOG_RESULT, "response %s", response_describe(a->resp));
    log_say(LOG_PROGRESS, "analysis %lld frames x %d x %d pixels, %s", (long long)a->recording_set.lags, a->r->nx, a->r->ny,
            a->r->whole ? "a stimulus of whole numbers: sums are exact" : "sums in double, in a fixed order");
    bool complete = run_cells(a);
    recording_destroy(a->r);
    log_phase(PHASE_OUTPUT);
    if (!complete) {
        store_abandon(a->file, false);
        log_say(LOG_RESULT, "stopped; an analysis keeps nothing of what it did, start it again");
        return EXIT_STOPPED;
    }
    store_begin(a->file);
    provenance_end(a->file, log_clock() - began);
    store_close(a->file);
    log_phase(PHASE_OTHER);
    return EXIT_DONE;
}

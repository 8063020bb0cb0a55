/* response.c - one reader for every layout: an array whose dimensions are named, or spikes in steps; then the conventions of tools as keys. */
#include "input/response.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/store.h"
#include "input/dataset.h"
#include "input/response_own.h"

#define FIELD(f) offsetof(response_settings, f)
static const key_spec keys[] = {
    {"source", KEY_PATH, NULL, NULL, 0, 0, NULL,
     "FILE.h5:/NAME (also .mat v7.3), FILE.npy, text, FILE.nwb, or a result of chiasm; {1..8}, {01..12}, {a,b} in it: many, a cell each",
     FIELD(source), 0, 0},
    {"values", KEY_WORD, NULL, "auto", 0, 0, "auto|counts|rates|spike_times|cell_spike_times",
     "what its numbers are; auto: counts if they are whole; times must be said, but of NWB, results and MATLAB cell arrays", FIELD(values), 0, 0},
    {"axes", KEY_TEXTS, NULL, "", 0, 0, NULL, "dimensions, slowest first (MATLAB: reversed): time, trial, cell, one; time twice: segments",
     FIELD(axes), FIELD(naxes), AXES_MAX},
    {"files", KEY_WORD, NULL, "cell", 0, 0, "time|trial|cell", "what each of many files stands for; time: they follow each other",
     FIELD(files), 0, 0},
    {"output", KEY_TEXT, NULL, "", 0, 0, NULL, "of a result: the map, report or spiking stage", FIELD(output), 0, 0},
    {"cells", KEY_TEXTS, NULL, "", 0, 0, NULL, "these alone: names where the source has them (NWB ids, file names), else numbers from 0",
     FIELD(cells), FIELD(ncells), RESPONSE_MAX_CELLS},
    {"unit", KEY_WORD, NULL, "s", 0, 0, "s|ms|us|steps", "of spike and frame times", FIELD(unit), 0, 0},
    {"start", KEY_REAL, "s", "0 s", 0, 0, NULL, "time of step 0 among the spike times", FIELD(start_s), 0, 0},
    {"frame_times", KEY_PATH, NULL, "", 0, 0, NULL, "onsets of the frames, one a step (any file of numbers): bins of spike times",
     FIELD(frame_times), 0, 0},
    {"segment_steps", KEY_INT, NULL, "0", 0, 9e15, NULL, "steps of one list of spike times where lists follow each other; 0: as frame_times",
     FIELD(segment_steps), 0, 0},
    {"running_steps", KEY_INT, NULL, "0", 0, 9e15, NULL, "the recording consists of trials of so many steps with a new stimulus ...",
     FIELD(running), 0, 0},
    {"frozen_steps", KEY_INT, NULL, "0", 0, 9e15, NULL, "... and so many with one that is repeated", FIELD(frozen), 0, 0},
    {"part", KEY_WORD, NULL, "all", 0, 0, "all|running|frozen", "running: those steps, joined; frozen: those, each trial a repeat",
     FIELD(part), 0, 0},
    {"skip_trials", KEY_INT, NULL, "0", 0, 9e15, NULL, "first trials that do not count: repeats are left out, steps become NaN",
     FIELD(skip_trials), 0, 0},
    {"shift", KEY_INT, NULL, "0", -1e6, 1e6, NULL, "step t gets what was recorded at t + shift (before a part is taken)", FIELD(shift), 0, 0},
    {"clip_counts", KEY_FLAG, NULL, "false", 0, 0, NULL, "at most one spike a step", FIELD(clip), 0, 0},
    {"scale", KEY_REAL, "", "1", 0, 0, NULL, "factor on all values (a step in s: Hz to counts a step)", FIELD(scale), 0, 0},
};

const help_topic response_topic = {
    "response", "recorded or simulated responses, for fits and analyses",
    "HDF5 folders of single-cell CNNs (train.hdf5: X, y, r):   source: train.hdf5:/y, axes: [time, trial];  :/r, axes: [time, one], values: rates\n"
    "one file with the responses of many cells:               source: whitenoise.h5:/train/response/firing_rate_10ms, axes: [cell, time]\n"
    "  its repeats:                                           source: 'whitenoise.h5:/test/repeats/cell{01..05}', axes: [trial, time]\n"
    "spike and frame times as text:                           source: 'cell{1..8}.txt', values: spike_times, frame_times: frames.txt\n"
    "trials of 1800 running and 600 frozen frames:            running_steps: 1800, frozen_steps: 600, part: frozen\n"
    "MATLAB cell array of times in successive runs:           source: a.mat:/spk_tms, axes: [time, one], frame_times: a.mat:/stim_tms, unit: ms\n"
    "sorted units of a session:                               source: session.nwb, cells: [12, 17]\n"
    "a simulation:                                            source: result.h5, output: ganglion",
    keys, sizeof keys / sizeof *keys,
};

enum { BLOCK_NUMBERS = 1 << 21 }; /* 16 MB */

struct response {
    response_settings set;
    response_info info;
    char *text;
    /* an array: files beside each other, as one array with one dimension more */
    dataset **file;
    int nfile;
    axes axes;
    int outer;               /* slowest axis of time                                   */
    int64_t inner_steps;     /* steps of one of its elements                           */
    double *block;           /* elements [block0, block0 + nblock) of it               */
    size_t block_bytes;
    int64_t block0, nblock;  /* block0 < 0: nothing read yet                           */
    int64_t *cell_at, *trial_at, *inner_at, outer_stride; /* places in the block       */
    /* or spikes */
    spike_steps *spikes;
    int64_t *cursor; /* [ncell * ntrial] where reading goes on */
    /* both */
    int64_t source_steps, source_trials, source_cells;
    int64_t *cell;   /* [ncell] of the source      */
    char **name;     /* [source_cells], or NULL    */
    double *row;     /* of one trial               */
};

static void fail(input *in, const input_node *section, const char *key, const char *why)
{
    const input_node *at = input_child(section, key);
    input_problem(in, at ? at : section, "%s", why);
}

/* --- arrays ---------------------------------------------------------------------------------------------------------------- */
/* Reads the block with element `outer` of the slowest axis of time. */
static void read_block(response *r, int64_t outer)
{
    int64_t start[AXES_MAX] = {0}, count[AXES_MAX], one = 1, from = outer / r->nblock * r->nblock;
    int extra = r->nfile > 1;
    from = from + r->nblock > r->axes.dims[r->outer] ? r->axes.dims[r->outer] - r->nblock : from;
    memcpy(count, r->axes.dims, sizeof count);
    start[r->outer] = from;
    count[r->outer] = r->nblock;
    for (int i = extra; i < r->axes.rank; i++) {
        one *= count[i];
    }
    for (int64_t f = 0; f < (extra ? count[0] : 1); f++) {
        if (!dataset_read(r->file[start[0] * extra + f], start + extra, count + extra, r->block + f * one)) {
            error_fatal(EXIT_IO, "'%s': reading responses failed; repair the file", r->set.source);
        }
    }
    r->block0 = from;
}

/* Places of 0, 1, ... along one kind of axis (without axis `skip`) in the block. */
static int64_t *places_of(const response *r, enum axis kind, int skip, int64_t *n)
{
    axes a = {.rank = 0};
    int64_t stride[AXES_MAX], step = 1, of[AXES_MAX];
    for (int i = r->axes.rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= i == r->outer ? r->nblock : r->axes.dims[i];
    }
    *n = 1;
    for (int i = 0; i < r->axes.rank; i++) {
        if (r->axes.kind[i] == kind && i != skip) {
            of[a.rank] = stride[i];
            a.dims[a.rank++] = r->axes.dims[i];
            *n *= r->axes.dims[i];
        }
    }
    int64_t *at = MEMORY_NEW(int64_t, *n);
    for (int64_t k = 0; k < *n; k++) {
        int64_t left = k;
        for (int i = a.rank - 1; i >= 0; i--) {
            at[k] += left % a.dims[i] * of[i];
            left /= a.dims[i];
        }
    }
    return at;
}

static bool plan_array(response *r, input *in, const input_node *section)
{
    int64_t total = 1;
    r->outer = -1;
    r->outer_stride = 1;
    for (int i = r->axes.rank - 1; i >= 0; i--) {
        r->outer = r->axes.kind[i] == AXIS_TIME ? i : r->outer;
        total *= r->axes.dims[i];
    }
    if (r->outer < 0 || total == 0) {
        fail(in, section, "axes", r->outer < 0 ? "none of the axes is time" : "the source is empty");
        return false;
    }
    for (int i = r->outer + 1; i < r->axes.rank; i++) {
        r->outer_stride *= r->axes.dims[i];
    }
    int64_t n = r->axes.dims[r->outer], many = BLOCK_NUMBERS / (total / n);
    r->nblock = many < 1 ? 1 : many < n ? many : n;
    r->block0 = -1;
    r->block_bytes = (size_t)(total / n * r->nblock) * sizeof(double);
    r->block = MEMORY_NEW(double, total / n * r->nblock);
    r->cell_at = places_of(r, AXIS_CELL, -1, &r->source_cells);
    r->trial_at = places_of(r, AXIS_TRIAL, -1, &r->source_trials);
    r->inner_at = places_of(r, AXIS_TIME, r->outer, &r->inner_steps);
    r->source_steps = n * r->inner_steps;
    return true;
}

/* Whether all numbers that fit one block are whole (NaN: none recorded). */
static bool whole_numbers(response *r)
{
    int64_t n = r->nblock;
    read_block(r, 0);
    for (int i = 0; i < r->axes.rank; i++) {
        n *= i == r->outer ? 1 : r->axes.dims[i];
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(r->block[i]) && (r->block[i] < 0 || r->block[i] != floor(r->block[i]))) {
            return false;
        }
    }
    return true;
}

static bool open_files(response *r, input *in, const input_node *section, const name_list *names)
{
    dataset_info first = {0};
    char why[512];
    r->file = MEMORY_NEW(dataset *, names->n);
    for (r->nfile = 0; r->nfile < names->n; r->nfile++) {
        dataset *d = r->file[r->nfile] = dataset_open(names->name[r->nfile], why, sizeof why);
        if (!d) {
            fail(in, section, "source", why);
            return false;
        }
        dataset_info info = dataset_look(d);
        first = r->nfile == 0 ? info : first;
        if (info.rank != first.rank || memcmp(info.dims, first.dims, sizeof info.dims) != 0) {
            snprintf(why, sizeof why, "'%s' has another shape than the first of the files", names->name[r->nfile]);
            r->nfile++;
            fail(in, section, "source", why);
            return false;
        }
    }
    if (!axes_read(in, section, &r->set, first.rank, first.dims, &r->axes)) {
        return false;
    }
    if (names->n > 1) {
        axes *a = &r->axes;
        memmove(a->dims + 1, a->dims, (AXES_MAX - 1) * sizeof *a->dims);
        memmove(a->kind + 1, a->kind, (AXES_MAX - 1) * sizeof *a->kind);
        a->dims[0] = names->n;
        a->kind[0] = (enum axis)r->set.files;
        a->rank++;
    }
    return true;
}

/* The array behind a map or a report of a result; false: it has none of that name, or another step. */
static bool name_result(response *r, input *in, const input_node *section, double step_s, char **path)
{
    const char *why, *usual[] = {"time", "cell", "cell", "cell"};
    store *s = store_open_read(r->set.source, &why);
    if (!s) {
        input_problem(in, input_child(section, "source"), "%s: %s", r->set.source, why);
        return false;
    }
    char *map = memory_text("/maps/%s", r->set.output), *report = memory_text("/report/%s/data", r->set.output);
    store_info info = store_look(s, map);
    const char *found = info.found ? map : (info = store_look(s, report)).found ? report : NULL;
    double dt = found ? store_read_attr_number(s, found, "dt_s", step_s) : step_s;
    store_close_read(s);
    if (!found) {
        input_problem(in, section, "%s has no map, report or spikes named '%s'", r->set.source, r->set.output);
    } else if (fabs(dt - step_s) > 1e-6 * step_s) {
        input_problem(in, section, "%s holds a frame every %g s, a step is %g s; record every step, or take that step", r->set.source, dt, step_s);
        found = NULL;
    } else {
        *path = memory_text("%s:%s", r->set.source, found);
        for (int i = 0; r->set.naxes == 0 && i < info.rank; i++) {
            r->set.axes[i] = usual[i];
        }
        r->set.naxes = r->set.naxes == 0 ? info.rank : r->set.naxes;
    }
    memory_free(map);
    memory_free(report);
    return found != NULL;
}

/* The parts of file names that differ: "1", "2", ... of cell{1..8}.txt. */
static void name_cells(response *r, const name_list *names)
{
    size_t head = strcspn(r->set.source, "{"), end = strlen(r->set.source), tail = 0;
    const char *close = strrchr(r->set.source, '}');
    tail = close ? end - (size_t)(close + 1 - r->set.source) : 0;
    r->name = MEMORY_NEW(char *, names->n);
    for (int i = 0; i < names->n; i++) {
        size_t n = strlen(names->name[i]);
        r->name[i] = memory_text("%.*s", (int)(n - head - tail), names->name[i] + head);
    }
}

/* --- opening --------------------------------------------------------------------------------------------------------------- */
static bool open_source(response *r, input *in, const input_node *section, double step_s, int64_t nstep)
{
    response_settings *set = &r->set;
    bool times = set->values == VALUES_SPIKE_TIMES || set->values == VALUES_CELL_SPIKE_TIMES || spikes_source(set);
    char *path = NULL;
    if (!times && set->output && !name_result(r, in, section, step_s, &path)) {
        return false;
    }
    name_list names = names_expand(path ? path : set->source);
    bool good;
    if (times) {
        int64_t more = set->shift > 0 ? set->shift : 0;
        r->spikes = spikes_read(in, section, set, step_s, nstep > 0 && set->part == PART_ALL ? nstep + more : 0);
        good = r->spikes != NULL;
        if (good) {
            r->source_steps = r->spikes->nstep;
            r->source_trials = r->spikes->ntrial;
            r->source_cells = r->spikes->ncell;
            r->cursor = MEMORY_NEW(int64_t, r->source_cells * r->source_trials);
            r->info.counts = true;
        }
    } else {
        good = open_files(r, in, section, &names) && plan_array(r, in, section);
        bool all = good && r->nblock == r->axes.dims[r->outer], whole = good && (dataset_look(r->file[0]).whole || (all && whole_numbers(r)));
        r->info.counts = set->values == VALUES_COUNTS || (set->values == VALUES_AUTO && whole && set->scale == 1);
        if (good && set->values == VALUES_COUNTS && all && !whole) {
            fail(in, section, "values", "the source holds numbers that are no counts (negative or not whole)");
            good = false;
        }
    }
    if (good && r->source_cells == names.n && names.n > 1 && set->files == AXIS_CELL) {
        name_cells(r, &names);
    }
    names_free(&names);
    memory_free(path);
    return good;
}

const char *response_cell_name(const response *r, int64_t cell)
{
    ASSERT(cell >= 0 && cell < r->info.ncell);
    return r->name ? r->name[r->cell[cell]] : r->spikes && r->spikes->name ? r->spikes->name[r->cell[cell]] : NULL;
}

static bool choose_cells(response *r, input *in, const input_node *section)
{
    char *const *name = r->name ? r->name : r->spikes ? r->spikes->name : NULL;
    r->info.ncell = r->set.ncells > 0 ? r->set.ncells : r->source_cells;
    r->cell = MEMORY_NEW(int64_t, r->info.ncell);
    for (int64_t i = 0; i < r->info.ncell; i++) {
        r->cell[i] = i;
        if (r->set.ncells > 0) {
            const char *text = r->set.cells[i];
            char *end;
            int64_t k = name ? 0 : strtoll(text, &end, 10);
            while (name && k < r->source_cells && strcmp(name[k], text) != 0) {
                k++;
            }
            if (k < 0 || k >= r->source_cells || (!name && (end == text || *end))) {
                input_problem(in, input_child(section, "cells"), "there is no cell '%s'; the source has %lld, %s to %s", text,
                              (long long)r->source_cells, name ? name[0] : "0", name ? name[r->source_cells - 1] : "the last, counted from 0");
                return false;
            }
            r->cell[i] = k;
        }
    }
    return true;
}

/* Steps and trials that are left when the part and the trials are chosen. */
static bool choose_steps(response *r, input *in, const input_node *section, int64_t nstep)
{
    const response_settings *set = &r->set;
    int64_t period = set->running + set->frozen, n = r->source_steps, ntrial = r->source_trials;
    if ((set->part != PART_ALL || set->frozen > 0) && (period == 0 || (set->part == PART_FROZEN && (set->frozen == 0 || ntrial > 1)))) {
        fail(in, section, "part", "running and frozen parts need running_steps and frozen_steps, and a source without an axis of trials");
        return false;
    }
    if (set->part == PART_RUNNING) {
        int64_t rest = n % period;
        n = n / period * set->running + (rest < set->running ? rest : set->running);
    } else if (set->part == PART_FROZEN) {
        ntrial = n / period;
        n = set->frozen;
    }
    bool repeats = set->part == PART_FROZEN || ntrial > 1;
    ntrial -= repeats ? set->skip_trials : 0;
    if (ntrial < 1 || n < 1 || (set->skip_trials > 0 && !repeats && period == 0)) {
        fail(in, section, "skip_trials", "no trial is left; the source has fewer, or none are told apart (running_steps, frozen_steps)");
        return false;
    }
    if (nstep > n) {
        input_problem(in, section, "the responses end after %lld steps, %lld are wanted; shorten the run", (long long)n, (long long)nstep);
        return false;
    }
    r->info.nstep = nstep > 0 ? nstep : n;
    r->info.ntrial = ntrial;
    return true;
}

static void describe(response *r)
{
    char spikes[48] = "", trials[48] = "";
    if (r->spikes) {
        snprintf(spikes, sizeof spikes, ", %lld spikes in the source", (long long)r->spikes->nspike);
    }
    if (r->info.ntrial > 1) {
        snprintf(trials, sizeof trials, ", %lld trials", (long long)r->info.ntrial);
    }
    r->text = memory_text("%s: %s, %lld cells, %lld steps%s%s", r->set.source, r->info.counts ? "counts" : "values", (long long)r->info.ncell,
                          (long long)r->info.nstep, trials, spikes);
}

response *response_open(input *in, const input_node *section, double step_s, int64_t nstep)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        input_child(section, keys[i].name); /* keys that another reader of the section did not know are known now, before problems are counted */
    }
    int before = input_nproblem(in);
    response *r = MEMORY_NEW(response, 1);
    if (!section || !input_is_map(section)) {
        input_problem(in, section, "response: a mapping with a source is wanted");
    } else {
        INPUT_FILL(in, section, "response", keys, &r->set);
    }
    bool good = input_nproblem(in) == before && open_source(r, in, section, step_s, nstep) && choose_cells(r, in, section) &&
                choose_steps(r, in, section, nstep);
    if (!good) {
        ASSERT(input_nproblem(in) > before);
        response_close(r);
        return NULL;
    }
    r->row = MEMORY_NEW(double, 2 * r->info.ncell);
    describe(r);
    return r;
}

void response_close(response *r)
{
    if (!r) {
        return;
    }
    for (int i = 0; i < r->nfile; i++) {
        dataset_close(r->file[i]);
    }
    for (int64_t i = 0; r->name && i < r->source_cells; i++) {
        memory_free(r->name[i]);
    }
    spikes_free(r->spikes);
    void *all[] = {r->file, r->name, r->text, r->block, r->cell_at, r->trial_at, r->inner_at, r->cursor, r->cell, r->row, r};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memory_free(all[i]);
    }
}

size_t response_bytes(const response *r)
{
    return r->block_bytes;
}

response_info response_look(const response *r)
{
    return r->info;
}

const char *response_describe(const response *r)
{
    return r->text;
}

/* --- reading --------------------------------------------------------------------------------------------------------------- */
/* Spikes of a cell in a step: reading goes forward mostly. */
static double spikes_in(response *r, int64_t list, int64_t step)
{
    const int64_t *at = r->spikes->step + r->spikes->first[list], n = r->spikes->first[list + 1] - r->spikes->first[list];
    int64_t low = r->cursor[list], count = 0;
    if (low > n || (low > 0 && at[low - 1] >= step) || (low < n && at[low] < step)) { /* first spike at or after the step */
        low = 0;
        for (int64_t high = n; low < high;) {
            int64_t middle = (low + high) / 2;
            *(at[middle] < step ? &low : &high) = at[middle] < step ? middle + 1 : middle;
        }
    }
    while (low + count < n && at[low + count] == step) {
        count++;
    }
    r->cursor[list] = low + count;
    return (double)count;
}

/* One step of one trial of the source, chosen cells [cell0, cell0 + n). */
static void read_source_row(response *r, int64_t trial, int64_t step, int64_t cell0, int64_t n, double *to)
{
    if (r->spikes) {
        for (int64_t i = 0; i < n; i++) {
            to[i] = spikes_in(r, r->cell[cell0 + i] * r->source_trials + trial, step);
        }
        return;
    }
    int64_t outer = step / r->inner_steps;
    if (r->block0 < 0 || outer < r->block0 || outer >= r->block0 + r->nblock) {
        read_block(r, outer);
    }
    const double *at = r->block + (outer - r->block0) * r->outer_stride + r->inner_at[step % r->inner_steps] + r->trial_at[trial];
    for (int64_t i = 0; i < n; i++) {
        to[i] = at[r->cell_at[r->cell[cell0 + i]]];
    }
}

static void read_row(response *r, int64_t trial, int64_t step, int64_t cell0, int64_t n, double *to)
{
    const response_settings *set = &r->set;
    int64_t period = set->running + set->frozen, from = step, source_trial = trial;
    bool there = true;
    if (set->part == PART_RUNNING) {
        from = step / set->running * period + step % set->running;
    } else if (set->part == PART_FROZEN) {
        from = (trial + set->skip_trials) * period + set->running + step;
        source_trial = 0;
    } else if (r->source_trials > 1) {
        source_trial += set->skip_trials;
    }
    if (set->part != PART_FROZEN && r->source_trials == 1 && period > 0) {
        there = from >= set->skip_trials * period;
    }
    from += set->shift;
    if (!there || from < 0 || from >= r->source_steps) {
        for (int64_t i = 0; i < n; i++) {
            to[i] = NAN;
        }
        return;
    }
    read_source_row(r, source_trial, from, cell0, n, to);
    for (int64_t i = 0; i < n; i++) {
        to[i] = (set->clip && to[i] > 1 ? 1 : to[i]) * set->scale;
    }
}

void response_read(response *r, int64_t trial, int64_t step0, int64_t nt, int64_t cell0, int64_t ncell, double *to)
{
    ASSERT(trial < r->info.ntrial && step0 >= 0 && nt >= 0 && step0 + nt <= r->info.nstep);
    ASSERT(cell0 >= 0 && ncell >= 0 && cell0 + ncell <= r->info.ncell);
    double *row = r->row, *known = row + r->info.ncell;
    for (int64_t t = 0; t < nt; t++) {
        double *out = to + t * ncell;
        if (trial >= 0 || r->info.ntrial == 1) {
            read_row(r, trial < 0 ? 0 : trial, step0 + t, cell0, ncell, out);
            continue;
        }
        for (int64_t i = 0; i < ncell; i++) {
            out[i] = known[i] = 0;
        }
        for (int64_t k = 0; k < r->info.ntrial; k++) { /* what was not recorded in a trial does not count */
            read_row(r, k, step0 + t, cell0, ncell, row);
            for (int64_t i = 0; i < ncell; i++) {
                out[i] += isnan(row[i]) ? 0 : row[i];
                known[i] += !isnan(row[i]);
            }
        }
        for (int64_t i = 0; i < ncell; i++) {
            out[i] = known[i] > 0 ? out[i] / known[i] : NAN;
        }
    }
}

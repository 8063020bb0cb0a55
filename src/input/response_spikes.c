/* response_spikes.c - spike times of text, HDF5, MAT cell arrays, NWB units and results, put into steps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/store.h"
#include "input/dataset.h"
#include "input/response_own.h"

/* Spikes as they come: the number of their list, and the step within the list's own time. */
typedef struct spike_event {
    int64_t list, step;
} spike_event;

typedef struct reading {
    input *in;
    const input_node *section;
    const response_settings *set;
    double step_s;
    double *edge; /* onsets of frames in s, [nedge]; NULL: steps of step_s */
    int64_t nedge;
    spike_event *event;
    int64_t nevent, room;
    double *time; /* of one list, grown as needed */
    int64_t time_room;
    axes lists;   /* what the numbers of lists stand for */
    char **name;  /* of cells */
} reading;

static bool problem(reading *r, const char *what)
{
    input_problem(r->in, input_child(r->section, "source"), "%s", what);
    return false;
}

/* --- bins ------------------------------------------------------------------------------------------------------------------ */
/* A time within 1e-7 of a step's begin counts as at it; between frame onsets no such guard is needed. */
static int64_t step_of(const reading *r, double t_s)
{
    if (!r->edge) {
        return (int64_t)floor(t_s / r->step_s + 1e-7);
    }
    if (t_s < r->edge[0]) {
        return -1;
    }
    int64_t low = 0, high = r->nedge;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        *(r->edge[middle] <= t_s ? &low : &high) = middle;
    }
    double last = r->edge[r->nedge - 1], width = r->nedge > 1 ? last - r->edge[r->nedge - 2] : r->step_s;
    return t_s < last + width ? low : r->nedge; /* the last frame lasts as long as the one before */
}

static void take_times(reading *r, int64_t list, const double *time, int64_t n)
{
    static const double to_s[] = {1, 1e-3, 1e-6, 0};
    double unit = r->set->unit == UNIT_STEPS ? r->step_s : to_s[r->set->unit];
    if (r->nevent + n > r->room) {
        r->room = r->nevent + n > 2 * r->room ? r->nevent + n : 2 * r->room;
        r->event = memory_grow(r->event, (size_t)r->room, sizeof *r->event);
    }
    for (int64_t i = 0; i < n; i++) {
        double t = time[i] * unit - r->set->start_s;
        int64_t step = isfinite(t) ? step_of(r, t) : -1; /* NaN fills up the rows of some files */
        if (step >= 0) {
            r->event[r->nevent++] = (spike_event){list, step};
        }
    }
}

static bool read_edges(reading *r)
{
    char why[512];
    if (!r->set->frame_times) {
        return true;
    }
    const input_node *at = input_child(r->section, "frame_times");
    dataset *d = dataset_open(r->set->frame_times, why, sizeof why);
    if (!d) {
        input_problem(r->in, at, "%s", why);
        return false;
    }
    static const double to_s[] = {1, 1e-3, 1e-6, 1};
    int64_t start[DATASET_MAX_RANK] = {0};
    dataset_info info = dataset_look(d);
    r->nedge = info.count;
    r->edge = MEMORY_NEW(double, info.count);
    bool good = info.count > 0 && dataset_read(d, start, info.dims, r->edge);
    dataset_close(d);
    for (int64_t i = 0; good && i < r->nedge; i++) {
        r->edge[i] *= r->set->unit == UNIT_STEPS ? r->step_s : to_s[r->set->unit];
        good = isfinite(r->edge[i]) && (i == 0 || r->edge[i] > r->edge[i - 1]);
    }
    if (!good) {
        input_problem(r->in, at, "'%s' holds no times that rise from frame to frame", r->set->frame_times);
    }
    for (int64_t i = 0; i < r->nedge; i++) {
        r->edge[i] -= r->set->start_s;
    }
    return good;
}

/* --- sources --------------------------------------------------------------------------------------------------------------- */
static double *time_room(reading *r, int64_t n)
{
    if (n > r->time_room) {
        r->time_room = n;
        r->time = memory_grow(r->time, (size_t)n, sizeof(double));
    }
    return r->time;
}

/* All numbers of a dataset into r->time; < 0: a problem was noted. */
static int64_t read_all(reading *r, const char *path, dataset_info *info)
{
    char why[512];
    int64_t start[DATASET_MAX_RANK] = {0};
    dataset *d = dataset_open(path, why, sizeof why);
    if (!d) {
        problem(r, why);
        return -1;
    }
    *info = dataset_look(d);
    bool good = dataset_read(d, start, info->dims, time_room(r, info->count));
    dataset_close(d);
    if (!good) {
        problem(r, "cannot be read as numbers");
    }
    return good ? info->count : -1;
}

/* One list a file (or dataset). */
static bool read_lists(reading *r, const name_list *names)
{
    r->lists = (axes){1, {(enum axis)r->set->files}, {names->n}};
    for (int i = 0; i < names->n; i++) {
        dataset_info info;
        int64_t n = read_all(r, names->name[i], &info);
        if (n < 0) {
            return false;
        }
        take_times(r, i, r->time, n);
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Lines "cell time"; cells in the order of their numbers, which are their names. */
static bool read_pairs(reading *r, const char *path)
{
    dataset_info info;
    int64_t n = read_all(r, path, &info), ncell = 0;
    if (n < 0) {
        return false;
    }
    if (info.rank != 2 || info.dims[1] != 2) {
        return problem(r, "cell_spike_times: two numbers a line are wanted, the cell's and the time");
    }
    int64_t nline = info.dims[0];
    double *cell = MEMORY_NEW(double, nline);
    for (int64_t i = 0; i < nline; i++) {
        cell[i] = r->time[2 * i];
    }
    qsort(cell, (size_t)nline, sizeof *cell, by_value);
    for (int64_t i = 0; i < nline; i++) {
        if (ncell == 0 || cell[i] != cell[ncell - 1]) {
            cell[ncell++] = cell[i];
        }
    }
    r->lists = (axes){1, {AXIS_CELL}, {ncell}};
    r->name = MEMORY_NEW(char *, ncell);
    for (int64_t i = 0; i < ncell; i++) {
        r->name[i] = memory_text("%.15g", cell[i]);
    }
    for (int64_t i = 0; i < nline; i++) {
        const double *at = bsearch(&r->time[2 * i], cell, (size_t)ncell, sizeof *cell, by_value);
        take_times(r, at - cell, &r->time[2 * i + 1], 1);
    }
    memory_free(cell);
    return true;
}

/* A MATLAB cell array: lists behind references. */
static bool read_references(reading *r, store *s, const char *path, const char *file, const char *name)
{
    int rank;
    int64_t dims[STORE_MAX_RANK], n = store_look_references(s, name, &rank, dims);
    if (n == 0) {
        return problem(r, "holds no lists");
    }
    response_settings one = *r->set; /* a row of cells and no axes: what `files` says */
    static const char *const words[] = {"time", "trial", "cell"};
    if (one.naxes == 0) {
        one.axes[one.naxes++] = words[one.files];
    }
    if (!axes_read(r->in, r->section, &one, rank, dims, &r->lists)) {
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        char *target = store_read_reference(s, name, i), *whole = target ? memory_text("%s:%s", file, target) : NULL;
        dataset_info info;
        int64_t many = whole ? read_all(r, whole, &info) : problem(r, path) - 1;
        memory_free(target);
        memory_free(whole);
        if (many < 0) {
            return false;
        }
        take_times(r, i, r->time, many);
    }
    return true;
}

/* All rows of a one-dimensional array of a file into fresh memory; NULL: there is no such array. */
static double *read_column(store *s, const char *name, int64_t *n)
{
    store_info info = store_look(s, name);
    if (!info.found || info.rank != 1) {
        return NULL;
    }
    double *to = MEMORY_NEW(double, info.dims[0]);
    *n = info.dims[0];
    if (!store_read(s, name, STORE_F64, NULL, NULL, to)) {
        memory_free(to);
        return NULL;
    }
    return to;
}

/* NWB 2: times of all units one after another, and where each unit's end. */
static bool read_units(reading *r, store *s)
{
    int64_t ntime = 0, nunit = 0, nid = 0;
    double *time = read_column(s, "/units/spike_times", &ntime), *end = read_column(s, "/units/spike_times_index", &nunit);
    double *id = read_column(s, "/units/id", &nid);
    bool good = time && end && (nunit == 0 || end[nunit - 1] <= (double)ntime);
    for (int64_t i = 1; good && i < nunit; i++) {
        good = end[i] >= end[i - 1];
    }
    if (good) {
        r->lists = (axes){1, {AXIS_CELL}, {nunit}};
        r->name = MEMORY_NEW(char *, nunit);
        for (int64_t i = 0; i < nunit; i++) {
            int64_t from = i > 0 ? (int64_t)end[i - 1] : 0;
            r->name[i] = memory_text("%.15g", id && i < nid ? id[i] : (double)i);
            take_times(r, i, time + from, (int64_t)end[i] - from);
        }
    }
    memory_free(time);
    memory_free(end);
    memory_free(id);
    return good || problem(r, "has no usable /units/spike_times and /units/spike_times_index");
}

/* Spikes of a stage of a result: times in ms, ids; all its cells, silent ones too. */
static bool read_result(reading *r, store *s)
{
    int64_t n = 0, nid = 0, ncell = 0;
    char *group = memory_text("/spikes/%s", r->set->output), *times = memory_text("%s/timestamps", group), *ids = memory_text("%s/node_ids", group);
    char *cells = memory_text("/cells/%s/id", r->set->output);
    double *time = read_column(s, times, &n), *id = read_column(s, ids, &nid), *cell = read_column(s, cells, &ncell);
    response_settings ms = *r->set;
    const response_settings *given = r->set;
    bool good = time && id && cell && n == nid;
    if (good) {
        ms.unit = UNIT_MS;
        r->set = &ms;
        r->lists = (axes){1, {AXIS_CELL}, {ncell}};
        r->name = MEMORY_NEW(char *, ncell);
        for (int64_t i = 0; i < ncell; i++) {
            r->name[i] = memory_text("%.15g", cell[i]);
        }
        for (int64_t i = 0; i < n; i++) { /* ids are 0, 1, ... */
            if (id[i] >= 0 && id[i] < (double)ncell) {
                take_times(r, (int64_t)id[i], &time[i], 1);
            }
        }
        r->set = given;
    }
    memory_free(group);
    memory_free(times);
    memory_free(ids);
    memory_free(cells);
    memory_free(time);
    memory_free(id);
    memory_free(cell);
    return good || problem(r, "has no spikes of that output, or no cells of it");
}

/* --- all ------------------------------------------------------------------------------------------------------------------- */
/* The file part of FILE:/NAME, and whether a store can be opened. */
static store *open_file(const char *source, char **file)
{
    const char *colon = strstr(source, ":/"), *why;
    *file = memory_text("%.*s", colon ? (int)(colon - source) : (int)strlen(source), source);
    return store_open_read(*file, &why);
}

bool spikes_source(const response_settings *set)
{
    char *file;
    store *s = open_file(set->source, &file);
    const char *colon = strstr(set->source, ":/");
    bool spikes = false;
    int rank;
    int64_t dims[STORE_MAX_RANK];
    if (s && colon) {
        spikes = store_look_references(s, colon + 1, &rank, dims) > 0;
    } else if (s) {
        char *times = set->output ? memory_text("/spikes/%s/timestamps", set->output) : memory_text("%s", "/units/spike_times");
        spikes = store_look(s, times).found;
        memory_free(times);
    }
    if (s) {
        store_close_read(s);
    }
    memory_free(file);
    return spikes;
}

static bool read_source(reading *r)
{
    char *file = NULL;
    const char *colon = strstr(r->set->source, ":/");
    name_list names = names_expand(r->set->source);
    store *s = names.n == 1 ? open_file(r->set->source, &file) : NULL;
    int rank;
    int64_t dims[STORE_MAX_RANK];
    bool good;
    if (s && colon && store_look_references(s, colon + 1, &rank, dims) > 0) {
        good = read_references(r, s, r->set->source, file, colon + 1);
    } else if (s && !colon) {
        good = r->set->output ? read_result(r, s) : read_units(r, s);
    } else if (r->set->values == VALUES_CELL_SPIKE_TIMES) {
        good = names.n == 1 ? read_pairs(r, r->set->source) : problem(r, "cell_spike_times: one file is wanted");
    } else {
        good = read_lists(r, &names);
    }
    if (s) {
        store_close_read(s);
    }
    memory_free(file);
    names_free(&names);
    return good;
}

static int by_step(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Events into one sorted list for each (cell, trial); segments of time follow each other. */
static spike_steps *sort_events(reading *r, int64_t segment)
{
    spike_steps *s = MEMORY_NEW(spike_steps, 1);
    int64_t nsegment = axes_count(&r->lists, AXIS_TIME), nlist = nsegment;
    s->ncell = axes_count(&r->lists, AXIS_CELL);
    s->ntrial = axes_count(&r->lists, AXIS_TRIAL);
    s->nstep = segment * nsegment;
    nlist = s->ncell * s->ntrial;
    s->first = MEMORY_NEW(int64_t, nlist + 1);
    s->step = MEMORY_NEW(int64_t, r->nevent);
    for (int pass = 0; pass < 2; pass++) { /* count, then place */
        for (int64_t i = 0; i < r->nevent; i++) {
            const spike_event *e = &r->event[i];
            int64_t list = axes_place(&r->lists, e->list, AXIS_CELL) * s->ntrial + axes_place(&r->lists, e->list, AXIS_TRIAL);
            if (e->step < segment && pass == 0) {
                s->first[list + 1]++;
            } else if (e->step < segment) {
                s->step[s->first[list]++] = axes_place(&r->lists, e->list, AXIS_TIME) * segment + e->step;
            }
        }
        for (int64_t l = 0; l < nlist && pass == 0; l++) {
            s->first[l + 1] += s->first[l];
        }
    }
    for (int64_t l = nlist; l > 0; l--) { /* placing moved each begin to its end */
        s->first[l] = s->first[l - 1];
    }
    s->first[0] = 0;
    s->nspike = s->first[nlist];
    for (int64_t l = 0; l < nlist; l++) {
        qsort(s->step + s->first[l], (size_t)(s->first[l + 1] - s->first[l]), sizeof *s->step, by_step);
    }
    s->name = r->name;
    return s;
}

spike_steps *spikes_read(input *in, const input_node *section, const response_settings *set, double step_s, int64_t nstep)
{
    reading r = {.in = in, .section = section, .set = set, .step_s = step_s};
    spike_steps *s = NULL;
    if (read_edges(&r) && read_source(&r)) {
        int64_t segment = r.edge ? r.nedge : set->segment_steps, last = 0;
        for (int64_t i = 0; i < r.nevent; i++) {
            last = r.event[i].step > last ? r.event[i].step : last;
        }
        if (segment == 0 && axes_count(&r.lists, AXIS_TIME) > 1) {
            problem(&r, "lists that follow each other in time need frame_times or segment_steps");
        } else {
            s = sort_events(&r, segment > 0 ? segment : nstep > 0 ? nstep : last + 1);
        }
    }
    memory_free(r.edge);
    memory_free(r.event);
    memory_free(r.time);
    if (!s) {
        for (int64_t i = 0; r.name && i < axes_count(&r.lists, AXIS_CELL); i++) {
            memory_free(r.name[i]);
        }
        memory_free(r.name);
    }
    return s;
}

void spikes_free(spike_steps *s)
{
    if (!s) {
        return;
    }
    for (int64_t i = 0; s->name && i < s->ncell; i++) {
        memory_free(s->name[i]);
    }
    memory_free(s->name);
    memory_free(s->first);
    memory_free(s->step);
    memory_free(s);
}

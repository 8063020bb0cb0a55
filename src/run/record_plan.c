/* record_plan.c - the `record` section of an input, checked against the model. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "run/record_own.h"

enum { MAX_TEXTS = 256 };

typedef struct section {
    const input_node *maps, *reports;
    const char *spikes[MAX_TEXTS];
    int nspikes, compression;
    int64_t buffer_mb;
} section;

static const key_spec section_keys[] = {
    {"maps", KEY_NODE, NULL, "", 0, 0, NULL, "stages that are maps: a list of names, or of mappings (chiasm help record.maps)",
     offsetof(section, maps), 0, 0},
    {"reports", KEY_NODE, NULL, "", 0, 0, NULL, "stages that are cells: a list of names, or of mappings (chiasm help record.reports)",
     offsetof(section, reports), 0, 0},
    {"spikes", KEY_TEXTS, NULL, "all", 0, 0, NULL, "spiking stages: a list of names, or all, or none", offsetof(section, spikes),
     offsetof(section, nspikes), MAX_TEXTS},
    {"compression", KEY_WORD, NULL, "none", 0, 0, "none", "data are written as they are", offsetof(section, compression), 0, 0},
    {"buffer_mb", KEY_INT, NULL, "64", 1, 65536, NULL, "host memory of each rank for what is not written yet, MiB",
     offsetof(section, buffer_mb), 0, 0},
};

/* What maps and reports have in common. */
typedef struct entry {
    const char *stage, *name;
    double every_s, start_s, stop_s;
} entry;

#define ENTRY_KEYS(type)                                                                                        \
    {"stage", KEY_TEXT, NULL, NULL, 0, 0, NULL, "what is recorded: a stage of the model, or stimulus",          \
     offsetof(type, all.stage), 0, 0},                                                                          \
    {"name", KEY_TEXT, NULL, "", 0, 0, NULL, "its name in the result, when not that of the stage",              \
     offsetof(type, all.name), 0, 0},                                                                           \
    {"every", KEY_REAL, "s", "0 s", 0, 1e9, NULL, "time between frames, a multiple of the step; 0: every step", \
     offsetof(type, all.every_s), 0, 0},                                                                        \
    {"start", KEY_REAL, "s", "0 s", 0, 1e9, NULL, "the first frame is that of the first step at or after it",   \
     offsetof(type, all.start_s), 0, 0},                                                                        \
    {"stop", KEY_REAL, "s", "0 s", 0, 1e9, NULL, "only frames before it; 0: to the end",                        \
     offsetof(type, all.stop_s), 0, 0}

typedef struct map_entry {
    entry all;
    double region_deg[4];
    int nregion, precision;
} map_entry;

static const key_spec map_keys[] = {
    ENTRY_KEYS(map_entry),
    {"region", KEY_REALS, "deg", "", 0, 0, NULL, "[x0, y0, x1, y1] from the centre of the field, y up: pixels whose centre is inside; not given: all",
     offsetof(map_entry, region_deg), offsetof(map_entry, nregion), 4},
    {"precision", KEY_WORD, NULL, REAL_NAME, 0, 0, "float|double", "of the numbers in the file", offsetof(map_entry, precision), 0, 0},
};

typedef struct report_entry {
    entry all;
    const char *cells[MAX_TEXTS];
    int ncells;
} report_entry;

static const key_spec report_keys[] = {
    ENTRY_KEYS(report_entry),
    {"cells", KEY_TEXTS, NULL, "all", 0, 0, NULL, "all, or a list of ids and ranges: [3, 10-19]", offsetof(report_entry, cells),
     offsetof(report_entry, ncells), MAX_TEXTS},
};

#define COUNT(keys) ((int)(sizeof(keys) / sizeof *(keys)))
const help_topic record_topics[] = {
    {"record", "what is kept of a run",
     "  One HDF5 file: /maps/NAME [time][channel][y][x]; /report/NAME and /spikes/NAME as SONATA has them (times in ms);\n"
     "  /cells/NAME id, x_deg, y_deg, type; /provenance.  It has its name when it is complete, NAME.part until then.\n"
     "  Without this section the spikes of all spiking stages are kept.",
     section_keys, COUNT(section_keys)},
    {"record.maps", "one recorded map", "  maps: [opl, bipolar]   or   maps: [{stage: opl, every: 10 ms}, bipolar]", map_keys, COUNT(map_keys)},
    {"record.reports", "one recorded population: its values over time, as a SONATA report", NULL, report_keys, COUNT(report_keys)},
};
const int record_ntopic = COUNT(record_topics);

/* --- finding stages -------------------------------------------------------------------------------------------------- */
enum kind { MAP, CELLS, SPIKES };
static const char *const kind_name[] = {"a map", "a population of cells", "a spiking stage"};

static bool is_kind(model_output o, enum kind kind)
{
    return kind == SPIKES ? o.spikes : (o.cells != NULL) == (kind == CELLS);
}

/* Number of the output, or -1 after a problem that names those there are. */
static int find(const record *r, const input_node *at, const char *name, enum kind kind)
{
    int found = model_find(r->model, name);
    if (found >= 0 && is_kind(model_output_at(r->model, found), kind)) {
        return found;
    }
    char there[1000] = "";
    size_t n = 0;
    for (int i = 0; i < model_noutput(r->model) && n < sizeof there; i++) {
        model_output o = model_output_at(r->model, i);
        if (is_kind(o, kind)) {
            n += (size_t)snprintf(there + n, sizeof there - n, "%s%s", n ? ", " : "", o.name);
        }
    }
    input_problem(r->in, at, "'%s' is %s%s; allowed: %s", name, found < 0 ? "no stage of the model; wanted is " : "not ", kind_name[kind],
                  n ? there : "nothing, the model has none");
    return -1;
}

/* --- cadence, region, cells ------------------------------------------------------------------------------------------- */
static double in_steps(const record *r, double s)
{
    return s / r->facts.step_s;
}

static bool plan_series(const record *r, const input_node *at, const entry *e, record_series *series)
{
    const double slack = 1e-6; /* steps: "10 ms" / "1 ms" need not be 10 exactly */
    double every = e->every_s > 0 ? round(in_steps(r, e->every_s)) : 1, end = e->stop_s > 0 ? ceil(in_steps(r, e->stop_s) - slack) : INFINITY;
    if (every < 1 || (e->every_s > 0 && fabs(in_steps(r, e->every_s) - every) > slack)) {
        input_problem(r->in, at, "every: %g ms is no multiple of the step; allowed: multiples of %g ms", e->every_s * 1e3, r->facts.step_s * 1e3);
        return false;
    }
    int64_t last = end < (double)r->facts.nstep ? (int64_t)end : r->facts.nstep;
    series->every = every < (double)INT64_MAX / 4 ? (int64_t)every : INT64_MAX / 4;
    series->first = (int64_t)fmin(ceil(in_steps(r, e->start_s) - slack), (double)INT64_MAX / 4);
    if (series->first >= last) {
        input_problem(r->in, at, "start: nothing is left to record between %g s and %g s; the run ends at %g s", e->start_s,
                      fmin(e->stop_s > 0 ? e->stop_s : INFINITY, (double)r->facts.nstep * r->facts.step_s), (double)r->facts.nstep * r->facts.step_s);
        return false;
    }
    series->nframe = (last - series->first - 1) / series->every + 1;
    return true;
}

/* Pixels with their centre in [low, high] deg along one axis of n pixels; false: none. */
static bool pixels(double low_deg, double high_deg, double pixels_per_deg, int n, int *first, int *count)
{
    const double slack = 1e-6; /* pixels: a bound given as the centre of a pixel takes it in */
    double middle = (n - 1) / 2.0;
    double a = fmax(ceil(low_deg * pixels_per_deg + middle - slack), 0), b = fmin(floor(high_deg * pixels_per_deg + middle + slack), n - 1);
    *first = (int)fmin(a, n - 1);
    *count = b >= a ? (int)(b - a) + 1 : 0;
    return *count > 0;
}

static bool plan_region(const record *r, const input_node *at, const map_entry *e, record_map *map)
{
    const grid *g = model_grid(r->model);
    const double *d = e->region_deg, half_x = g->nx / 2.0 / r->facts.pixels_per_deg, half_y = g->ny / 2.0 / r->facts.pixels_per_deg;
    model_output o = model_output_at(r->model, map->output);
    map->ny = o.ny;
    map->nx = o.nx;
    if (e->nregion == 0) {
        return true;
    }
    if (o.ny != g->ny || o.nx != g->nx) {
        input_problem(r->in, at, "region: '%s' is a map of %d x %d, smaller than the field (region: valid); it is recorded whole", o.name, o.nx, o.ny);
        return false;
    }
    const double slack = 1e-9 * (half_x + half_y);
    bool inside = d[0] >= -half_x - slack && d[2] <= half_x + slack && d[1] >= -half_y - slack && d[3] <= half_y + slack;
    if (e->nregion != 4 || d[0] > d[2] || d[1] > d[3] || !inside) {
        input_problem(r->in, at, "region: wanted are [x0, y0, x1, y1] with x0 <= x1 in %g .. %g deg and y0 <= y1 in %g .. %g deg, the field", -half_x,
                      half_x, -half_y, half_y);
        return false;
    }
    if (!pixels(d[0], d[2], r->facts.pixels_per_deg, g->nx, &map->x0, &map->nx) ||
        !pixels(-d[3], -d[1], r->facts.pixels_per_deg, g->ny, &map->y0, &map->ny)) { /* rows go down, y goes up */
        input_problem(r->in, at, "region: no pixel has its centre inside; pixels are %g deg apart", 1 / r->facts.pixels_per_deg);
        return false;
    }
    return true;
}

/* "12" or "10-19" */
static bool read_range(const char *text, int64_t ncell, int64_t *first, int64_t *last)
{
    char *end;
    errno = 0;
    *first = *last = strtoll(text, &end, 10);
    if (end != text && *end == '-') {
        const char *second = end + 1;
        *last = strtoll(second, &end, 10);
        end = end == second ? (char *)text : end;
    }
    return end != text && *end == '\0' && errno == 0 && *first >= 0 && *first <= *last && *last < ncell;
}

static bool plan_cells(const record *r, const input_node *at, const report_entry *e, record_report *report)
{
    const population *p = model_output_at(r->model, report->output).cells;
    bool *wanted = MEMORY_NEW(bool, p->ncell), good = true, all = e->ncells == 1 && strcmp(e->cells[0], "all") == 0;
    for (int i = 0; i < e->ncells; i++) {
        int64_t first = 0, last = p->ncell - 1;
        if (!all && !read_range(e->cells[i], p->ncell, &first, &last)) {
            input_problem(r->in, at, "cells: '%s' is not a cell or a range of cells of '%s'; allowed: all, ids and ranges (10-19) in 0 .. %lld",
                          e->cells[i], report->name, (long long)p->ncell - 1);
            good = false;
            continue;
        }
        for (int64_t id = first; id <= last; id++) {
            report->ncell += !wanted[id];
            wanted[id] = true;
        }
    }
    if (good && report->ncell == 0) {
        input_problem(r->in, at, "cells: none are left of '%s', which has %lld", report->name, (long long)p->ncell);
        good = false;
    }
    report->cell = MEMORY_NEW(int64_t, report->ncell);
    for (int64_t id = 0, n = 0; id < p->ncell; id++) {
        if (wanted[id]) {
            report->cell[n++] = id;
        }
    }
    memory_free(wanted);
    return good;
}

/* --- the lists ------------------------------------------------------------------------------------------------------- */
/* A list of names or mappings, or one of them alone. */
static int item_count(const input_node *n)
{
    return input_is_list(n) ? input_count(n) : n ? 1 : 0;
}

static const input_node *item_at(const input_node *n, int i)
{
    return input_is_list(n) ? input_item(n, i) : n;
}

/* Fills the struct of one item: a mapping, or the name of a stage alone, which has the defaults of `plain`, an input without other keys.
 * False after a problem that leaves nothing to look at. */
static bool read_entry(const record *r, input *plain, const input_node *item, const help_topic *topic, void *out, entry *all)
{
    const char *name = input_scalar(item);
    if (!name && !input_is_map(item)) {
        input_problem(r->in, item, "%s: wanted is the name of a stage or a mapping with `stage`", topic->name);
        return false;
    }
    input *from = name ? plain : r->in;
    input_fill(from, name ? input_root(plain) : item, topic->name, topic->keys, topic->nkey, out);
    all->stage = name ? name : all->stage;
    if (all->name && (strchr(all->name, '/') || strcmp(all->name, ".") == 0)) {
        input_problem(r->in, item, "name: '%s' cannot name a dataset; allowed: text without '/'", all->name);
        all->name = NULL;
    }
    return r->model != NULL && all->stage[0] != '\0';
}

static void plan_map(record *r, input *plain, const input_node *item)
{
    map_entry e;
    if (!read_entry(r, plain, item, &record_topics[1], &e, &e.all)) {
        return;
    }
    record_map map = {.output = find(r, item, e.all.stage, MAP), .f64 = e.precision == 1};
    if (map.output < 0) {
        return;
    }
    map.name = memory_text("%s", e.all.name ? e.all.name : e.all.stage);
    map.path = memory_text("/maps/%s", map.name);
    map.nchan = model_output_at(r->model, map.output).nchan;
    bool good = plan_series(r, item, &e.all, &map.series);
    if (plan_region(r, item, &e, &map) && good) {
        record_map_cut(&map, r->model);
    }
    for (int i = 0; i < r->nmap; i++) {
        if (strcmp(r->map[i].name, map.name) == 0) {
            input_problem(r->in, item, "map '%s' is recorded twice; give this one another `name`", map.name);
        }
    }
    r->map = memory_grow(r->map, (size_t)r->nmap + 1, sizeof *r->map);
    r->map[r->nmap++] = map;
}

static void plan_report(record *r, input *plain, const input_node *item)
{
    report_entry e;
    if (!read_entry(r, plain, item, &record_topics[2], &e, &e.all)) {
        return;
    }
    record_report report = {.output = find(r, item, e.all.stage, CELLS)};
    if (report.output < 0) {
        return;
    }
    report.name = memory_text("%s", e.all.name ? e.all.name : e.all.stage);
    report.path = memory_text("/report/%s", report.name);
    report.data = memory_text("%s/data", report.path);
    report.nchan = model_output_at(r->model, report.output).nchan;
    bool good = plan_series(r, item, &e.all, &report.series);
    if (plan_cells(r, item, &e, &report) && good) {
        record_report_cut(&report, r->model);
    }
    for (int i = 0; i < r->nreport; i++) {
        if (strcmp(r->report[i].name, report.name) == 0) {
            input_problem(r->in, item, "report '%s' is recorded twice; give this one another `name`", report.name);
        }
    }
    r->report = memory_grow(r->report, (size_t)r->nreport + 1, sizeof *r->report);
    r->report[r->nreport++] = report;
}

static void plan_spikes(record *r, int output)
{
    for (int i = 0; i < r->nspikes; i++) {
        if (r->spikes[i].output == output) {
            return;
        }
    }
    model_output o = model_output_at(r->model, output);
    record_spikes s = {.output = output, .ncell = o.cells ? o.cells->ncell : 0, .name = memory_text("%s", o.name)};
    s.path = memory_text("/spikes/%s", o.name);
    s.times = memory_text("%s/timestamps", s.path);
    s.ids = memory_text("%s/node_ids", s.path);
    r->spikes = memory_grow(r->spikes, (size_t)r->nspikes + 1, sizeof *r->spikes);
    r->spikes[r->nspikes++] = s;
}

static void plan_spike_list(record *r, const input_node *at, const section *s)
{
    bool all = s->nspikes == 1 && strcmp(s->spikes[0], "all") == 0, none = s->nspikes == 1 && strcmp(s->spikes[0], "none") == 0;
    for (int i = 0; all && i < model_noutput(r->model); i++) {
        if (model_output_at(r->model, i).spikes) {
            plan_spikes(r, i);
        }
    }
    for (int i = 0; !all && !none && i < s->nspikes; i++) {
        int output = find(r, input_item(at, i) ? input_item(at, i) : at, s->spikes[i], SPIKES);
        if (output >= 0) {
            plan_spikes(r, output);
        }
    }
}

void record_read(record *r, const input_node *at)
{
    section s;
    INPUT_FILL(r->in, at, "record", section_keys, &s);
    r->budget = (size_t)s.buffer_mb << 20;
    input *plain = input_from_text("stage: any", "record", NULL, 0);
    for (int i = 0; i < item_count(s.maps); i++) {
        plan_map(r, plain, item_at(s.maps, i));
    }
    for (int i = 0; i < item_count(s.reports); i++) {
        plan_report(r, plain, item_at(s.reports, i));
    }
    input_destroy(plain);
    if (r->model) {
        plan_spike_list(r, at ? input_child(at, "spikes") : NULL, &s);
    }
}

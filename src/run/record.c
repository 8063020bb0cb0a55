/* record.c - one result file: planned, created, filled segment by segment, closed. */
#include "run/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/provenance.h"
#include "run/record_own.h"

enum { SPIKE_COPIES = 4 }; /* while spikes are written: the list, what is sent, what is received, what is sorted */

/* --- plan ------------------------------------------------------------------------------------------------------------ */
static int64_t series_room(const record_series *s, int64_t nstep)
{
    int64_t n = nstep / s->every + 1;
    return n < s->nframe ? n : s->nframe;
}

/* Reals that one frame of everything takes in this rank's buffers; a report is written from a second copy. */
static int64_t report_values(const record_report *report)
{
    return 2 * report->nown * report->nchan;
}

static size_t column_bytes(const record_report *report)
{
    return (size_t)(report->ncell * report->nchan) * sizeof *report->column;
}

/* The budget is shared by frames and spikes, half each when there are both; a segment holds as many steps as fit, at least one chunk. */
static void plan_buffers(record *r)
{
    double bytes_per_step = 0, bytes_once = 0; /* a segment may hold one frame more than its steps / every */
    for (int i = 0; i < r->nmap; i++) {
        double frame = (double)record_frame_values(&r->map[i]) * sizeof(real);
        bytes_per_step += frame / (double)r->map[i].series.every;
        bytes_once += frame;
    }
    for (int i = 0; i < r->nreport; i++) {
        double frame = (double)report_values(&r->report[i]) * sizeof(real);
        bytes_per_step += frame / (double)r->report[i].series.every;
        bytes_once += frame + (double)column_bytes(&r->report[i]);
    }
    double share = (double)r->budget / (r->nspikes > 0 && bytes_per_step > 0 ? 2 : 1), left = fmax(share - bytes_once, 0);
    int64_t segment = bytes_per_step > 0 ? (int64_t)fmin(left / bytes_per_step, (double)r->facts.nstep) : r->facts.nstep;
    segment = segment > r->chunk_steps ? segment : r->chunk_steps;
    for (int i = 0; i < r->nmap; i++) {
        r->map[i].series.room = series_room(&r->map[i].series, segment);
    }
    for (int i = 0; i < r->nreport; i++) {
        r->report[i].series.room = series_room(&r->report[i].series, segment);
    }
    for (int i = 0; i < r->nspikes; i++) {
        r->spikes[i].room = (int64_t)(share / r->nspikes / SPIKE_COPIES / sizeof(record_event));
    }
}

record *record_plan(input *in, const input_node *section, model *m, const record_facts *facts)
{
    record *r = MEMORY_NEW(record, 1);
    r->facts = *facts;
    r->in = in;
    r->model = m;
    r->segment_first = -1;
    int before = input_nproblem(in);
    record_read(r, section);
    if (m && input_nproblem(in) == before) {
        r->chunk_steps = model_chunk_steps(m);
        for (int i = 0; i < r->nmap; i++) {
            model_keep(m, r->map[i].output);
        }
        for (int i = 0; i < r->nreport; i++) {
            model_keep(m, r->report[i].output);
        }
        plan_buffers(r);
    }
    return r;
}

void record_destroy(record *r)
{
    if (!r) {
        return;
    }
    for (int i = 0; i < r->nmap; i++) {
        for (int k = 0; k < r->map[i].nrect; k++) {
            memory_free(r->map[i].rect[k].frames);
        }
        memory_free(r->map[i].name);
        memory_free(r->map[i].path);
    }
    for (int i = 0; i < r->nreport; i++) {
        record_report *p = &r->report[i];
        void *own[] = {p->name, p->path, p->data, p->cell, p->own, p->frames, p->column, p->nvalue};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            memory_free(own[k]);
        }
    }
    for (int i = 0; i < r->nspikes; i++) {
        record_spikes *s = &r->spikes[i];
        void *own[] = {s->name, s->path, s->times, s->ids, s->list.item};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            memory_free(own[k]);
        }
    }
    memory_free(r->map);
    memory_free(r->report);
    memory_free(r->spikes);
    memory_free(r);
}

size_t record_bytes_buffer(const record *r)
{
    size_t bytes = 0;
    for (int i = 0; i < r->nmap; i++) {
        bytes += (size_t)(record_frame_values(&r->map[i]) * r->map[i].series.room) * sizeof(real);
    }
    for (int i = 0; i < r->nreport; i++) {
        const record_report *p = &r->report[i];
        bytes += (size_t)(report_values(p) * p->series.room) * sizeof(real) + column_bytes(p);
    }
    for (int i = 0; i < r->nspikes; i++) {
        bytes += (size_t)r->spikes[i].room * SPIKE_COPIES * sizeof(record_event);
    }
    return bytes;
}

static double map_frame_bytes(const record_map *map)
{
    return (double)map->nchan * map->ny * map->nx * (map->f64 ? 8 : 4);
}

static double report_frame_bytes(const record_report *report)
{
    return (double)report->ncell * report->nchan * sizeof(float);
}

double record_bytes_total(const record *r)
{
    double bytes = 0;
    for (int i = 0; i < r->nmap; i++) {
        bytes += map_frame_bytes(&r->map[i]) * (double)r->map[i].series.nframe;
    }
    for (int i = 0; i < r->nreport; i++) {
        bytes += report_frame_bytes(&r->report[i]) * (double)r->report[i].series.nframe;
    }
    return bytes;
}

static void say_series(const record *r, const char *path, const char *shape, int output, int64_t every, int64_t nframe, double frame_bytes)
{
    const char *unit = model_output_at(r->model, output).unit;
    log_say(LOG_RESULT, "  %-24s %lld frames of %s, %s%severy %g ms, %.4g MB", path, (long long)nframe, shape, unit ? unit : "",
            unit && *unit ? ", " : "", (double)every * r->facts.step_s * 1e3, frame_bytes * (double)nframe * 1e-6);
}

/* One line per result; with the frames and spikes that are planned, or that were written. */
static void say_results(const record *r, bool planned)
{
    for (int i = 0; i < r->nmap; i++) {
        const record_map *map = &r->map[i];
        char *shape = memory_text("%d x %d x %d (channel, y, x) %s", map->nchan, map->ny, map->nx, map->f64 ? "double" : "float");
        say_series(r, map->path, shape, map->output, map->series.every, planned ? map->series.nframe : map->series.written, map_frame_bytes(map));
        memory_free(shape);
    }
    for (int i = 0; i < r->nreport; i++) {
        const record_report *p = &r->report[i];
        char *shape = memory_text("%lld cells", (long long)p->ncell);
        say_series(r, p->path, shape, p->output, p->series.every, planned ? p->series.nframe : p->series.written, report_frame_bytes(p));
        memory_free(shape);
    }
    for (int i = 0; i < r->nspikes; i++) {
        const record_spikes *s = &r->spikes[i];
        double cell_s = (double)s->ncell * (double)r->facts.nstep * r->facts.step_s;
        if (planned) {
            log_say(LOG_RESULT, "  %-24s spikes of %lld cells, ms", s->path, (long long)s->ncell);
        } else {
            log_say(LOG_RESULT, "  %-24s %lld spikes of %lld cells, ms, mean rate %.4g Hz", s->path, (long long)s->written, (long long)s->ncell,
                    cell_s > 0 ? (double)s->written / cell_s : 0);
        }
    }
}

void record_print_plan(const record *r)
{
    log_say(LOG_RESULT, "results: %.4g MB and spikes; buffers of %.4g MB on this rank", record_bytes_total(r) * 1e-6,
            (double)record_bytes_buffer(r) * 1e-6);
    say_results(r, true);
}

void record_attach(record *r, backend *be)
{
    ASSERT(!r->be);
    r->be = be;
    for (int i = 0; i < r->nmap; i++) {
        record_map *map = &r->map[i];
        for (int k = 0; k < map->nrect; k++) {
            map->rect[k].frames = MEMORY_NEW(real, map->series.room * map->nchan * map->rect[k].ny * map->rect[k].nx);
        }
    }
    for (int i = 0; i < r->nreport; i++) {
        r->report[i].frames = MEMORY_NEW(real, r->report[i].series.room * r->report[i].nown * r->report[i].nchan);
    }
    for (int i = 0; i < r->nspikes; i++) {
        r->spikes[i].list.room = r->spikes[i].room;
        r->spikes[i].list.item = MEMORY_NEW(record_event, r->spikes[i].room);
    }
}

/* --- structure of the file ------------------------------------------------------------------------------------------- */
/* Rows of a chunk: about 1 MiB. */
static int64_t chunk_rows(double row_bytes)
{
    return (int64_t)fmax(1, fmin(1024, 1048576 / fmax(row_bytes, 1)));
}

static void define_maps(record *r)
{
    for (int i = 0; i < r->nmap; i++) {
        const record_map *map = &r->map[i];
        model_output o = model_output_at(r->model, map->output);
        int64_t dims[4] = {0, map->nchan, map->ny, map->nx}, corner[2] = {map->y0, map->x0};
        store_define_array(r->file, map->path, map->f64 ? STORE_F64 : STORE_F32, 4, dims, chunk_rows(map_frame_bytes(map)), o.unit);
        store_attr_text(r->file, map->path, "stage", o.name);
        store_attr_text(r->file, map->path, "dimensions", "time, channel, y, x");
        store_attr_number(r->file, map->path, "dt_s", (double)map->series.every * r->facts.step_s);
        store_attr_number(r->file, map->path, "start_s", (double)map->series.first * r->facts.step_s);
        store_attr_integers(r->file, map->path, "y0", STORE_I64, 0, &corner[0]);
        store_attr_integers(r->file, map->path, "x0", STORE_I64, 0, &corner[1]);
        store_attr_number(r->file, map->path, "pixels_per_deg", r->facts.pixels_per_deg);
    }
}

/* BMTK takes int((t_stop - t_start) / dt) frames: that must not fall below their number. */
void record_report_times(const record_series *s, double step_s, double time_ms[3])
{
    double dt = (double)s->every * step_s * 1e3, start = (double)s->first * step_s * 1e3, stop = start + (double)s->nframe * dt;
    while ((stop - start) / dt < (double)s->nframe) {
        stop = nextafter(stop, INFINITY);
    }
    time_ms[0] = start;
    time_ms[1] = stop;
    time_ms[2] = dt;
}

static void define_mapping(record *r, const record_report *report, const char *mapping)
{
    int64_t n = report->ncell, nvalue = n * report->nchan, n1 = n + 1, three = 3, one = 1;
    int64_t *pointer = MEMORY_NEW(int64_t, n1);
    uint32_t *element = MEMORY_NEW(uint32_t, nvalue);
    float *place = MEMORY_NEW(float, nvalue);
    for (int64_t i = 0; i <= n; i++) {
        pointer[i] = i * report->nchan;
    }
    for (int64_t i = 0; i < nvalue; i++) {
        element[i] = (uint32_t)(i % report->nchan);
        place[i] = 0.5f;
    }
    double time_ms[3];
    record_report_times(&report->series, r->facts.step_s, time_ms);
    const struct {
        const char *name;
        enum store_type type;
        int64_t *n;
        const char *unit;
        const void *values;
    } part[] = {{"node_ids", STORE_U64, &n, NULL, report->cell},
                {"index_pointers", STORE_U64, &n1, NULL, pointer},
                {"element_ids", STORE_U32, &nvalue, NULL, element},
                {"element_pos", STORE_F32, &nvalue, NULL, place},
                {"time", STORE_F64, &three, "ms", time_ms}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char *name = memory_text("%s/%s", mapping, part[i].name);
        store_define_values(r->file, name, part[i].type, 1, part[i].n, part[i].unit, part[i].values);
        if (i == 0) {
            store_attr_integers(r->file, name, "sorted", STORE_U8, 0, &one);
        }
        if (i == 1) { /* BMTK's name of it */
            char *other = memory_text("%s/index_pointer", mapping);
            store_define_link(r->file, name, other);
            memory_free(other);
        }
        memory_free(name);
    }
    memory_free(pointer);
    memory_free(element);
    memory_free(place);
}

static void define_reports(record *r)
{
    for (int i = 0; i < r->nreport; i++) {
        const record_report *report = &r->report[i];
        model_output o = model_output_at(r->model, report->output);
        char *mapping = memory_text("%s/mapping", report->path);
        int64_t dims[2] = {0, report->ncell * report->nchan};
        store_define_group(r->file, report->path);
        store_define_array(r->file, report->data, STORE_F32, 2, dims, chunk_rows(report_frame_bytes(report)), o.unit && *o.unit ? o.unit : "1");
        store_attr_text(r->file, report->data, "variable", o.name);
        store_define_group(r->file, mapping);
        define_mapping(r, report, mapping);
        memory_free(mapping);
    }
}

/* A population without spikes keeps its two datasets of no rows: libsonata 0.2 and BMTK 1.2 read it as one that is silent. */
static void define_spikes(record *r)
{
    for (int i = 0; i < r->nspikes; i++) {
        const record_spikes *s = &r->spikes[i];
        int64_t none = 0;
        store_define_group(r->file, s->path);
        store_attr_sorting(r->file, s->path, 2);
        store_define_array(r->file, s->times, STORE_F64, 1, &none, 65536, "ms");
        store_define_array(r->file, s->ids, STORE_U64, 1, &none, 65536, NULL);
    }
}

/* Positions of the cells behind an output: under the population's name and, as SONATA names spikes and reports, under `name` too. */
static void define_cells(record *r, int output, const char *name, const char **done, int *ndone)
{
    const population *p = model_output_at(r->model, output).cells;
    if (!p) {
        return;
    }
    bool population_done = false, name_done = strcmp(name, p->name) == 0;
    for (int i = 0; i < *ndone; i++) {
        population_done = population_done || strcmp(done[i], p->name) == 0;
        name_done = name_done || strcmp(done[i], name) == 0;
    }
    char *group = memory_text("/cells/%s", p->name), *x = memory_text("%s/x_deg", group), *y = memory_text("%s/y_deg", group);
    char *id = memory_text("%s/id", group), *type = memory_text("%s/type", group), *link = memory_text("/cells/%s", name);
    if (!population_done) {
        uint64_t *ids = MEMORY_NEW(uint64_t, p->ncell);
        for (int64_t i = 0; i < p->ncell; i++) {
            ids[i] = (uint64_t)i;
        }
        store_define_group(r->file, group);
        store_define_values(r->file, id, STORE_U64, 1, &p->ncell, NULL, ids);
        store_define_values(r->file, x, STORE_F64, 1, &p->ncell, "deg", p->x_deg);
        store_define_values(r->file, y, STORE_F64, 1, &p->ncell, "deg", p->y_deg);
        store_define_text(r->file, type, p->label ? p->label : "");
        memory_free(ids);
        done[(*ndone)++] = p->name;
    }
    if (!name_done) {
        store_define_link(r->file, group, link);
        done[(*ndone)++] = name;
    }
    char *own[] = {group, x, y, id, type, link};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        memory_free(own[i]);
    }
}

static void define_all(record *r)
{
    const int64_t magic = 0x0A7A, version[2] = {0, 1}; /* SONATA's */
    store_attr_integers(r->file, "/", "magic", STORE_U32, 0, &magic);
    store_attr_integers(r->file, "/", "version", STORE_U32, 2, version);
    const char **done = MEMORY_NEW(const char *, 2 * (r->nreport + r->nspikes));
    int ndone = 0;
    define_maps(r);
    define_reports(r);
    define_spikes(r);
    for (int i = 0; i < r->nreport; i++) {
        define_cells(r, r->report[i].output, r->report[i].name, done, &ndone);
    }
    for (int i = 0; i < r->nspikes; i++) {
        define_cells(r, r->spikes[i].output, r->spikes[i].name, done, &ndone);
    }
    const record_facts *f = &r->facts;
    provenance_define(r->file, r->in,
                      &(provenance_facts){f->input_effective, f->input_original, f->input_path, f->command, f->stimulus, f->device, f->step_s, f->nstep, f->seed});
    memory_free(done);
}

/* --- open ------------------------------------------------------------------------------------------------------------ */
/* What the ranks must know of each other before the first collective write. */
static void match_ranks(record *r)
{
    ASSERT(r->be);
    for (int i = 0; i < r->nmap; i++) {
        double most = r->map[i].nrect;
        comm_max_double(&most, 1);
        r->map[i].nrect_any = (int)most;
    }
    record_reports_match(r);
}

void record_open(record *r, const char *path, bool overwrite)
{
    r->file = store_create(path, overwrite);
    store_need_space(r->file, (size_t)record_bytes_total(r));
    define_all(r);
    store_begin(r->file);
    match_ranks(r);
}

int record_nposition(const record *r)
{
    return r->nmap + r->nreport + r->nspikes;
}

void record_position(const record *r, int64_t *position)
{
    for (int i = 0; i < r->nmap; i++) {
        *position++ = r->map[i].series.written;
    }
    for (int i = 0; i < r->nreport; i++) {
        *position++ = r->report[i].series.written;
    }
    for (int i = 0; i < r->nspikes; i++) {
        *position++ = r->spikes[i].written;
    }
}

/* Cuts what was written after the restart file. */
static int64_t go_back(record *r, const char *path, const char *array, int64_t rows)
{
    if (store_rows(r->file, array) < rows) {
        error_fatal(EXIT_IO, "'%s.part' ends before its restart file: %s has %lld of %lld rows; remove both and start anew", path, array,
                    (long long)store_rows(r->file, array), (long long)rows);
    }
    store_set_rows(r->file, array, rows);
    return rows;
}

void record_resume(record *r, const char *path, const int64_t *position)
{
    r->file = store_reopen(path);
    if (!r->file) {
        error_fatal(EXIT_NO_INPUT, "there is a restart file, but not its unfinished result '%s.part'; start anew without --resume", path);
    }
    for (int i = 0; i < r->nmap; i++) {
        r->map[i].series.written = go_back(r, path, r->map[i].path, *position++);
    }
    for (int i = 0; i < r->nreport; i++) {
        r->report[i].series.written = go_back(r, path, r->report[i].data, *position++);
    }
    for (int i = 0; i < r->nspikes; i++) {
        go_back(r, path, r->spikes[i].times, *position);
        r->spikes[i].written = go_back(r, path, r->spikes[i].ids, *position++);
    }
    match_ranks(r);
}

/* --- run ------------------------------------------------------------------------------------------------------------- */
void record_take(record *r, model *m, int64_t step0, int nt)
{
    ASSERT(r->segment_first < 0 || step0 == r->segment_end);
    enum log_phase before = log_phase_now();
    log_phase(PHASE_RECORD);
    r->segment_first = r->segment_first < 0 ? step0 : r->segment_first;
    r->segment_end = step0 + nt;
    r->segment_nt = nt;
    record_maps_take(r, m, step0, nt);
    log_phase(before);
}

bool record_take_spikes(record *r, model *m)
{
    enum log_phase before = log_phase_now();
    log_phase(PHASE_RECORD);
    record_spikes_take(r, m);
    bool full = false;
    for (int i = 0; i < r->nmap; i++) {
        full = full || record_series_full(&r->map[i].series, r->chunk_steps);
    }
    for (int i = 0; i < r->nreport; i++) {
        full = full || record_series_full(&r->report[i].series, r->chunk_steps);
    }
    for (int i = 0; i < r->nspikes; i++) { /* how many the next chunk brings is not known: as many as the average one so far */
        int64_t n = r->spikes[i].list.n;
        full = full || n + n * r->segment_nt / (r->segment_end - r->segment_first) > r->spikes[i].room;
    }
    log_phase(before);
    return full;
}

/* Bytes that this flush adds to the file. */
static size_t bytes_waiting(const record *r)
{
    double bytes = 0;
    int64_t nspike = 0;
    for (int i = 0; i < r->nmap; i++) {
        bytes += map_frame_bytes(&r->map[i]) * (double)r->map[i].series.n;
    }
    for (int i = 0; i < r->nreport; i++) {
        bytes += report_frame_bytes(&r->report[i]) * (double)r->report[i].series.n;
    }
    for (int i = 0; i < r->nspikes; i++) {
        nspike += r->spikes[i].list.n;
    }
    return (size_t)bytes + (size_t)comm_sum_int(nspike) * (sizeof(double) + sizeof(uint64_t));
}

void record_flush(record *r)
{
    if (r->segment_first < 0) {
        return;
    }
    enum log_phase before = log_phase_now();
    log_phase(PHASE_OUTPUT);
    r->be->ops->fetched(r->be);
    store_need_space(r->file, bytes_waiting(r));
    record_maps_write(r);
    record_reports_write(r);
    record_spikes_write(r);
    store_flush(r->file);
    r->segment_first = r->segment_end;
    log_phase(before);
}

void record_close(record *r, double wall_s)
{
    record_flush(r);
    provenance_end(r->file, wall_s);
    store_close(r->file);
    r->file = NULL;
    say_results(r, false);
}

static void leave(record *r, bool keep_part)
{
    if (r->file) {
        r->be->ops->fetched(r->be); /* into buffers that are about to go */
        store_abandon(r->file, keep_part);
        r->file = NULL;
    }
}

void record_abandon(record *r)
{
    leave(r, true);
}

void record_discard(record *r)
{
    leave(r, false);
}

/* record_own.h - what the record*.c files share; nobody else includes it. */
#ifndef RECORD_OWN_H
#define RECORD_OWN_H
#include "run/record.h"

enum { RECORD_MAX_RECT = 3 }; /* a run of tiles in reading order: rest of a row of tiles, whole rows, start of a row */

/* Steps first, first + every, ... of the run; frames in the file, in the buffer, and that the buffer can hold. */
typedef struct record_series {
    int64_t first, every, nframe;
    int64_t written, n, room;
} record_series;

/* A part of the recorded region that this rank owns, field pixels. */
typedef struct record_rect {
    int y, x, ny, nx;
    real *frames; /* [room][nchan][ny][nx] */
} record_rect;

typedef struct record_map {
    char *name, *path; /* "opl", "/maps/opl" */
    int output, nchan;
    bool f64;
    int y0, x0, ny, nx; /* recorded region, field pixels */
    record_series series;
    int nrect, nrect_any; /* own; most of any rank */
    record_rect rect[RECORD_MAX_RECT];
} record_map;

/* A recorded cell of an own leaf. */
typedef struct record_cell {
    int leaf, at;  /* local leaf; place in its row of the cell array */
    int64_t index; /* among the recorded cells */
} record_cell;

typedef struct record_report {
    char *name, *path, *data; /* "cells_0", "/report/cells_0", "/report/cells_0/data" */
    int output, nchan;
    int64_t ncell, *cell; /* recorded ids, ascending */
    record_series series;
    int64_t nown;
    record_cell *own; /* [nown], leaf by leaf */
    real *frames;     /* [room][nown][nchan] */
    /* Column in the file of every value as ranks send them, rank by rank; values of each rank. */
    int64_t *column, *nvalue;
} record_report;

typedef struct record_event {
    double time_ms; /* SONATA's unit: spikes are ordered by what is written */
    int64_t cell;
} record_event;
typedef struct record_events {
    record_event *item;
    int64_t n, room;
} record_events;

typedef struct record_spikes {
    char *name, *path, *times, *ids; /* "spikes_0", "/spikes/spikes_0", ".../timestamps", ".../node_ids" */
    int output;
    int64_t ncell;
    record_events list; /* own spikes since the last flush */
    int64_t room, written;
} record_spikes;

struct record {
    record_facts facts;
    input *in;
    const model *model;
    store *file;
    backend *be;
    int nmap, nreport, nspikes, chunk_steps;
    record_map *map;
    record_report *report;
    record_spikes *spikes;
    size_t budget; /* bytes of buffers asked for */
    int64_t segment_first, segment_end; /* steps of the buffers; first < 0: none yet */
    int segment_nt;                     /* of the last chunk */
};

/* --- record_plan.c ------------------------------------------------------------------------------------------------ */
void record_read(record *r, const input_node *section); /* the lists of maps, reports and spikes, and the budget */

/* --- record.c ----------------------------------------------------------------------------------------------------- */
void record_report_times(const record_series *s, double step_s, double time_ms[3]); /* SONATA's t_start, t_stop, dt */

/* --- record_maps.c ------------------------------------------------------------------------------------------------ */
int64_t record_frames_before(const record_series *s, int64_t step); /* frames of steps below `step` */
bool record_series_full(const record_series *s, int chunk_steps);   /* another chunk may not fit */
int64_t record_frame_values(const record_map *map);                 /* of this rank's part of a frame */
void record_map_cut(record_map *map, const model *m);               /* own rectangles of the region */
void record_report_cut(record_report *report, const model *m);      /* own cells */
void record_maps_take(record *r, const model *m, int64_t step0, int nt);
void record_maps_write(record *r);     /* collective */
void record_reports_match(record *r);  /* collective: who sends which columns */
void record_reports_write(record *r);  /* collective */

/* --- record_spikes.c ---------------------------------------------------------------------------------------------- */
void record_spikes_take(record *r, const model *m);
void record_spikes_write(record *r); /* collective */
/* Ascending (time, cell); out must not overlap in. */
void record_spikes_sort(const record_event *in, int64_t n, record_event *out);
#endif

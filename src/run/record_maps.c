/* record_maps.c - frames of maps and cell reports: from the backend to a host buffer, from the buffers of all ranks to the file. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/record_own.h"

int64_t record_frames_before(const record_series *s, int64_t step)
{
    int64_t n = step <= s->first ? 0 : (step - s->first + s->every - 1) / s->every;
    return n < s->nframe ? n : s->nframe;
}

bool record_series_full(const record_series *s, int chunk_steps)
{
    int64_t left = s->nframe - s->written - s->n, chunk = chunk_steps / s->every + 1;
    return s->n > 0 && s->n + (chunk < left ? chunk : left) > s->room;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* Part of the tile inside the region; ny = 0 or nx = 0: none. */
static grid_tile inside(grid_tile t, const record_map *map)
{
    int y = most(t.y0, map->y0), x = most(t.x0, map->x0);
    int ny = least(t.y0 + t.ny, map->y0 + map->ny) - y, nx = least(t.x0 + t.nx, map->x0 + map->nx) - x;
    return (grid_tile){t.leaf, y, x, most(ny, 0), most(nx, 0)};
}

int64_t record_frame_values(const record_map *map)
{
    int64_t n = 0;
    for (int i = 0; i < map->nrect; i++) {
        n += (int64_t)map->nchan * map->rect[i].ny * map->rect[i].nx;
    }
    return n;
}

/* Leaves of a rank follow each other in reading order, so they are at most three rectangles of tiles: the end of a row, whole rows, the start
 * of a row.  Tiles side by side are joined first, then strips of equal width below each other. */
void record_map_cut(record_map *map, const model *m)
{
    const grid_tile *tile = model_output_at(m, map->output).tile;
    map->nrect = 0;
    for (int l = 0; l < model_nleaf(m);) {
        grid_tile strip = inside(tile[l], map);
        for (int row = tile[l++].y0; l < model_nleaf(m) && tile[l].y0 == row; l++) {
            grid_tile t = inside(tile[l], map);
            strip.x0 = strip.nx ? strip.x0 : t.x0;
            strip.nx += t.nx;
        }
        if (strip.ny == 0 || strip.nx == 0) {
            continue;
        }
        record_rect *last = map->nrect ? &map->rect[map->nrect - 1] : NULL;
        if (last && last->x == strip.x0 && last->nx == strip.nx) {
            last->ny += strip.ny;
        } else {
            ASSERT(map->nrect < RECORD_MAX_RECT);
            map->rect[map->nrect++] = (record_rect){strip.y0, strip.x0, strip.ny, strip.nx, NULL};
        }
    }
}

void record_report_cut(record_report *report, const model *m)
{
    const population *p = model_output_at(m, report->output).cells;
    for (int pass = 0; pass < 2; pass++) {
        int64_t n = 0;
        for (int l = 0; l < model_nleaf(m); l++) {
            int64_t i = 0;
            for (int at = 0; at < p->tile[l].nx; at++) { /* both lists ascend */
                int64_t id = p->id[(int64_t)l * p->pad + at];
                while (i < report->ncell && report->cell[i] < id) {
                    i++;
                }
                if (i < report->ncell && report->cell[i] == id) {
                    if (pass == 1) {
                        report->own[n] = (record_cell){l, at, i};
                    }
                    n++;
                }
            }
        }
        if (pass == 0) {
            report->nown = n;
            report->own = MEMORY_NEW(record_cell, n);
        }
    }
}

/* Frames of one leaf that are on their way to the host, in one piece, and where they go. */
typedef struct parcel {
    view v;
    int leaf, n;        /* frames, one after the other */
    int64_t slot;       /* of the first in the buffer */
    record_map *map;    /* or a report, */
    record_report *report;
    int64_t own, end;   /* and its cells of this leaf */
} parcel;
_Static_assert(sizeof(parcel) <= BACKEND_FETCH_CTX, "the backend keeps it until the frames have come");

static void fetch(record *r, const parcel *p, int64_t frame, void (*got)(void *ctx, const real *frames))
{
    const view *v = &p->v;
    const grid_tile *t = &v->tile[p->leaf];
    int64_t n = (p->n - 1) * v->frame_stride + (v->nchan - 1) * v->chan_stride + (t->ny - 1) * v->row_stride + t->nx;
    ASSERT(r->be && t->ny > 0 && t->nx > 0);
    r->be->ops->fetch(r->be, v->at + p->leaf * v->leaf_stride + frame * v->frame_stride, n, got, p, sizeof *p);
}

/* One frame of one leaf into its rectangle. */
static void copy_tile(record_map *map, const view *v, const grid_tile *tile, const real *frame, int64_t slot)
{
    grid_tile part = inside(*tile, map);
    record_rect *rect = map->rect;
    while (part.y0 < rect->y || part.y0 >= rect->y + rect->ny || part.x0 < rect->x || part.x0 >= rect->x + rect->nx) {
        rect++;
        ASSERT(rect < map->rect + map->nrect);
    }
    real *to = rect->frames + slot * map->nchan * rect->ny * rect->nx;
    for (int c = 0; c < map->nchan; c++) {
        for (int y = part.y0; y < part.y0 + part.ny; y++) {
            const real *row = frame + c * v->chan_stride + (y - tile->y0) * v->row_stride + (part.x0 - tile->x0);
            memcpy(to + ((int64_t)c * rect->ny + (y - rect->y)) * rect->nx + (part.x0 - rect->x), row, (size_t)part.nx * sizeof(real));
        }
    }
}

static void got_map(void *ctx, const real *frames)
{
    const parcel *p = ctx;
    for (int k = 0; k < p->n; k++) {
        copy_tile(p->map, &p->v, &p->v.tile[p->leaf], frames + k * p->v.frame_stride, p->slot + k);
    }
}

static void take_map(record *r, record_map *map, view v, int64_t step0, int64_t count)
{
    record_series *s = &map->series;
    int64_t f0 = s->first + (s->written + s->n) * s->every - step0, batch = s->every == 1 ? count : 1;
    for (int l = 0; l < v.nleaf; l++) {
        grid_tile part = inside(v.tile[l], map);
        if (part.ny == 0 || part.nx == 0) {
            continue;
        }
        for (int64_t j = 0; j < count; j += batch) {
            fetch(r, &(parcel){.v = v, .leaf = l, .n = (int)batch, .slot = s->n + j, .map = map}, f0 + j * s->every, got_map);
        }
    }
    s->n += count;
}

static void got_report(void *ctx, const real *frames)
{
    const parcel *p = ctx;
    const record_report *report = p->report;
    for (int k = 0; k < p->n; k++) {
        real *to = report->frames + (p->slot + k) * report->nown * report->nchan;
        for (int64_t own = p->own; own < p->end; own++) {
            for (int c = 0; c < report->nchan; c++) {
                to[own * report->nchan + c] = frames[k * p->v.frame_stride + c * p->v.chan_stride + report->own[own].at];
            }
        }
    }
}

static void take_report(record *r, record_report *report, view v, int64_t step0, int64_t count)
{
    record_series *s = &report->series;
    int64_t f0 = s->first + (s->written + s->n) * s->every - step0, batch = s->every == 1 ? count : 1;
    for (int64_t i = 0, end; i < report->nown; i = end) {
        int leaf = report->own[i].leaf;
        for (end = i; end < report->nown && report->own[end].leaf == leaf; end++) {
        }
        for (int64_t j = 0; j < count; j += batch) {
            fetch(r, &(parcel){.v = v, .leaf = leaf, .n = (int)batch, .slot = s->n + j, .report = report, .own = i, .end = end}, f0 + j * s->every,
                  got_report);
        }
    }
    s->n += count;
}

/* Recorded frames of the chunk; they must follow the last ones and fit. */
static int64_t new_frames(const record_series *s, int64_t step0, int nt)
{
    int64_t before = record_frames_before(s, step0), count = record_frames_before(s, step0 + nt) - before;
    ASSERT(count == 0 || before == s->written + s->n);
    ASSERT(s->n + count <= s->room);
    return count;
}

void record_maps_take(record *r, const model *m, int64_t step0, int nt)
{
    for (int i = 0; i < r->nmap; i++) {
        int64_t count = new_frames(&r->map[i].series, step0, nt);
        if (count > 0) {
            take_map(r, &r->map[i], model_output_at(m, r->map[i].output).v, step0, count);
        }
    }
    for (int i = 0; i < r->nreport; i++) {
        int64_t count = new_frames(&r->report[i].series, step0, nt);
        if (count > 0) {
            take_report(r, &r->report[i], model_output_at(m, r->report[i].output).v, step0, count);
        }
    }
}

void record_maps_write(record *r)
{
    for (int i = 0; i < r->nmap; i++) {
        record_map *map = &r->map[i];
        record_series *s = &map->series;
        if (s->n == 0) {
            continue; /* on every rank: the steps are the same */
        }
        for (int k = 0; k < map->nrect_any; k++) {
            record_rect rect = k < map->nrect ? map->rect[k] : (record_rect){map->y0, map->x0, 0, 0, NULL};
            int64_t n = k < map->nrect ? s->n : 0;
            int64_t start[4] = {s->written, 0, rect.y - map->y0, rect.x - map->x0}, count[4] = {n, map->nchan, rect.ny, rect.nx};
            store_write(r->file, map->path, STORE_REAL, s->written + s->n, start, count, rect.frames);
        }
        s->written += s->n;
        s->n = 0;
    }
}

void record_reports_match(record *r)
{
    size_t size = (size_t)comm_size();
    size_t *send_bytes = MEMORY_NEW(size_t, size), *recv_bytes = MEMORY_NEW(size_t, size), total;
    for (int i = 0; i < r->nreport; i++) {
        record_report *report = &r->report[i];
        int64_t n = report->nown * report->nchan;
        int64_t *send = MEMORY_NEW(int64_t, (size_t)n * size);
        for (size_t p = 0; p < size; p++) {
            for (int64_t k = 0; k < n; k++) {
                send[(int64_t)p * n + k] = report->own[k / report->nchan].index * report->nchan + k % report->nchan;
            }
            send_bytes[p] = (size_t)n * sizeof(int64_t);
        }
        report->column = comm_exchange(send, send_bytes, recv_bytes, &total);
        ASSERT(total == (size_t)(report->ncell * report->nchan) * sizeof(int64_t)); /* every cell has one owner */
        report->nvalue = MEMORY_NEW(int64_t, size);
        for (size_t p = 0; p < size; p++) {
            report->nvalue[p] = (int64_t)(recv_bytes[p] / sizeof(int64_t));
        }
        memory_free(send);
    }
    memory_free(send_bytes);
    memory_free(recv_bytes);
}

/* Cells of a rank are scattered over the columns of the file, so the ranks deal the frames among themselves instead: each gets all columns of
 * its share of the frames and writes one slab of whole rows. */
static void write_report(record *r, record_report *report)
{
    record_series *s = &report->series;
    int size = comm_size(), rank = comm_rank();
    size_t *send_bytes = MEMORY_NEW(size_t, size), total;
    for (int p = 0; p < size; p++) {
        send_bytes[p] = (size_t)((s->n * (p + 1) / size - s->n * p / size) * report->nown * report->nchan) * sizeof(real);
    }
    real *mine = comm_exchange(report->frames, send_bytes, NULL, &total);
    int64_t first = s->n * rank / size, n = s->n * (rank + 1) / size - first, ncolumn = report->ncell * report->nchan;
    ASSERT(total == (size_t)(n * ncolumn) * sizeof(real));
    real *rows = MEMORY_NEW(real, n * ncolumn);
    const real *from = mine;
    const int64_t *column = report->column;
    for (int p = 0; p < size; p++) {
        for (int64_t f = 0; f < n; f++) {
            for (int64_t k = 0; k < report->nvalue[p]; k++) {
                rows[f * ncolumn + column[k]] = *from++;
            }
        }
        column += report->nvalue[p];
    }
    int64_t start[2] = {s->written + first, 0}, count[2] = {n, ncolumn};
    store_write(r->file, report->data, STORE_REAL, s->written + s->n, start, count, rows);
    memory_free(rows);
    memory_free(mine);
    memory_free(send_bytes);
}

void record_reports_write(record *r)
{
    for (int i = 0; i < r->nreport; i++) {
        record_series *s = &r->report[i].series;
        if (s->n > 0) {
            write_report(r, &r->report[i]);
            s->written += s->n;
            s->n = 0;
        }
    }
}

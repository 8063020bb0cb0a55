/* stage_cells.c - a population of cells on a mosaic, each taking the map's value at its place. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "stages/mosaic.h"
#include "stages/stage.h"

typedef struct settings {
    int shape;
    double size_deg[2], diameter_deg, density_per_deg, jitter_deg, shift_deg[2];
    int nsize, nshift, scheme;
    int64_t number;
    const char *label;
} settings;

static const key_spec keys[] = {
    {"mosaic", KEY_WORD, NULL, "square", 0, 0, "square|circular|hexagonal", "arrangement of the cells", offsetof(settings, shape), 0, 0},
    {"size", KEY_REALS, "deg", "", 0, 360, NULL, "square, hexagonal: [x, y] that is filled (none: the field)", offsetof(settings, size_deg),
     offsetof(settings, nsize), 2},
    {"diameter", KEY_REAL, "deg", "0 deg", 0, 360, NULL, "circular: of the array (0: the field's smaller side)", offsetof(settings, diameter_deg), 0,
     0},
    {"density", KEY_REAL, "/deg", NULL, 1e-6, 1e6, NULL, "cells per degree along a line, at the fovea", offsetof(settings, density_per_deg), 0, 0},
    {"jitter", KEY_REAL, "deg", "0 deg", 0, 360, NULL, "standard deviation of each coordinate about its place", offsetof(settings, jitter_deg), 0, 0},
    {"scheme", KEY_WORD, NULL, "uniform", 0, 0, "uniform|log-polar", "log-polar: density falls with eccentricity as model.log_polar says (circular)",
     offsetof(settings, scheme), 0, 0},
    {"shift", KEY_REALS, "deg", "", -360, 360, NULL, "[x, y] added to every position", offsetof(settings, shift_deg), offsetof(settings, nshift), 2},
    {"number", KEY_INT, NULL, "0", 0, 1000000, NULL, "populations of other numbers have other random jitter and ring phases",
     offsetof(settings, number), 0, 0},
    {"label", KEY_TEXT, NULL, "", 0, 0, NULL, "cell type, kept in the result", offsetof(settings, label), 0, 0},
};

enum { CORNERS = 4 }; /* pixels that a cell samples */

typedef struct own {
    population cells;
    mosaic place;
    int64_t *id;
    grid_tile *tile;
    double *row, *column; /* of each cell, pixels of the field */
    const stage_world *world;
    link_table *table;
} own;

/* Pixel coordinates, clamped to the field; in float as VirtualRetina's, so that its cells see the same weights. */
static void place_in_pixels(own *o)
{
    const stage_world *w = o->world;
    int64_t n = o->place.ncell;
    o->row = MEMORY_NEW(double, n);
    o->column = MEMORY_NEW(double, n);
    for (int64_t i = 0; i < n; i++) {
        double x = (double)(float)(0.5 * (w->grid.nx - 1) + w->pixels_per_deg * o->place.x_deg[i]);
        double y = (double)(float)(0.5 * (w->grid.ny - 1) - w->pixels_per_deg * o->place.y_deg[i]);
        o->column[i] = fmin(fmax(x, 0), w->grid.nx - 1);
        o->row[i] = fmin(fmax(y, 0), w->grid.ny - 1);
    }
}

/* Which tile owns each cell: the one with the pixel above and left of it.  Every sequence and network has the same cells. */
static void deal_to_leaves(own *o)
{
    const stage_world *w = o->world;
    int ntile = grid_ntile(&w->grid);
    int64_t *count = MEMORY_NEW(int64_t, ntile), most = 1;
    for (int64_t i = 0; i < o->place.ncell; i++) {
        int64_t n = ++count[grid_leaf_of(&w->grid, (int)o->row[i], (int)o->column[i])];
        most = n > most ? n : most;
    }
    int pad = (int)((most + 15) / 16 * 16);
    o->id = MEMORY_NEW(int64_t, (int64_t)w->nleaf * pad);
    o->tile = MEMORY_NEW(grid_tile, w->nleaf);
    for (int l = 0; l < w->nleaf; l++) {
        o->tile[l] = (grid_tile){w->first_leaf + l, 0, 0, 1, 0};
        for (int i = 0; i < pad; i++) {
            o->id[(int64_t)l * pad + i] = -1;
        }
    }
    for (int64_t i = 0; i < o->place.ncell; i++) {
        int tile = grid_leaf_of(&w->grid, (int)o->row[i], (int)o->column[i]);
        for (int l = (tile - w->first_leaf % ntile + ntile) % ntile; l < w->nleaf; l += ntile) {
            o->id[(int64_t)l * pad + o->tile[l].nx++] = i;
        }
    }
    memory_free(count);
    o->cells.pad = pad;
    o->cells.id = o->id;
    o->cells.tile = o->tile;
}

static void *cells_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    double field_x = w->grid.nx / w->pixels_per_deg, field_y = w->grid.ny / w->pixels_per_deg;
    mosaic_desc d = {(enum mosaic_shape)s->shape,
                     field_x,
                     field_y,
                     s->diameter_deg > 0 ? s->diameter_deg : fmin(field_x, field_y),
                     s->density_per_deg,
                     s->jitter_deg,
                     w->fovea_deg,
                     s->scheme ? w->scaling_per_deg : 0,
                     s->nshift > 0 ? s->shift_deg[0] : 0,
                     s->nshift > 1 ? s->shift_deg[1] : 0,
                     w->seed,
                     (uint64_t)s->number};
    if (s->nsize > 0) {
        d.size_x_deg = s->size_deg[0];
        d.size_y_deg = s->nsize > 1 ? s->size_deg[1] : s->size_deg[0];
    }
    int64_t n = mosaic_count(&d);
    if (n < 1 || n > 100000000) {
        input_problem(w->in, at, "mosaic has %lld cells; 1 to 100000000 are possible (size, diameter, density)", (long long)n);
        d.density_per_deg = 1;
        d.shape = MOSAIC_SQUARE;
        d.size_x_deg = d.size_y_deg = 1.01;
    }
    if (in[0].nchan != 1) {
        input_problem(w->in, at, "cells sample one channel; '%s' has %d", in[0].name, in[0].nchan);
    }
    o->place = mosaic_place(&d);
    place_in_pixels(o);
    deal_to_leaves(o);
    o->cells.name = plan->name;
    o->cells.ncell = o->place.ncell;
    o->cells.x_deg = o->place.x_deg;
    o->cells.y_deg = o->place.y_deg;
    o->cells.label = s->label ? s->label : "";
    plan->nchan = 1;
    plan->cells = &o->cells;
    plan->rest = in[0].rest;
    plan->halo[0] = 1; /* the neighbour below and right */
    plan->flop = 7;
    /* positions of all cells, ids and sampling table of this rank's */
    plan->bytes_held =
        2.0 * sizeof(double) * (double)n + (double)w->nleaf * o->cells.pad * (sizeof(int64_t) + CORNERS * (sizeof(int32_t) + sizeof(real)));
    snprintf(plan->note, sizeof plan->note, "%lld cells, at most %d a leaf", (long long)o->place.ncell, o->cells.pad);
    return o;
}

static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    const stage_world *w = o->world;
    int pad = o->cells.pad;
    int64_t n = (int64_t)w->nleaf * pad * CORNERS;
    int32_t *offset = MEMORY_NEW(int32_t, n);
    real *weight = MEMORY_NEW(real, n);
    for (int l = 0; l < w->nleaf; l++) {
        for (int i = 0; i < o->tile[l].nx; i++) {
            int64_t id = o->id[(int64_t)l * pad + i], at = ((int64_t)l * pad + i) * CORNERS;
            int y = (int)o->row[id], x = (int)o->column[id];
            double dy = (double)((float)o->row[id] - (float)y), dx = (double)((float)o->column[id] - (float)x);
            for (int k = 0; k < CORNERS; k++) {
                int down = k / 2, right = k % 2;
                offset[at + k] = (int32_t)((y - w->tile[l].y0 + down) * in[0].row_stride + (x - w->tile[l].x0 + right));
                weight[at + k] = (real)((down ? dy : 1 - dy) * (right ? dx : 1 - dx));
            }
        }
    }
    o->table = be->ops->link_create(be, w->nleaf, pad, CORNERS, offset, weight);
    memory_free(offset);
    memory_free(weight);
    memory_free(o->row);
    memory_free(o->column);
    o->row = o->column = NULL;
}

static void forward(void *own_, const stage_call *c)
{
    own *o = own_;
    c->be->ops->link(c->be, o->table, c->first, c->nt, c->in[0], c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    own *o = own_;
    if (b->g_in[0].at) {
        c->be->ops->link_back(c->be, o->table, c->first, c->nt, b->g_out, b->g_in[0]);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be) {
        be->ops->link_destroy(be, o->table);
    }
    mosaic_free(&o->place);
    memory_free(o->row);
    memory_free(o->column);
    memory_free(o->id);
    memory_free(o->tile);
    memory_free(o);
}

const stage_type stage_cells = {
    .name = "cells",
    .help = "cells on a mosaic, each sampling the map at its place (bilinear)",
    .text =
        "  square: density cells a degree along rows and columns; hexagonal: as many to a square degree; circular: rings, with a density that falls\n"
        "  with eccentricity under scheme: log-polar.  Ids count from 0 in the order of the mosaic.",
    STAGE_KEYS(settings, keys),
    .wants_map = true,
    .plan = cells_plan,
    .attach = attach,
    .start = stage_pass_rest,
    .start_back = stage_pass_rest_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

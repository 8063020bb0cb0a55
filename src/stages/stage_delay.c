/* stage_delay.c - the input some steps later, the same everywhere or as many at each pixel as a map says. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/store.h"
#include "stages/stage.h"

enum { REST, ZERO, MOST_STEPS = 100000 };

typedef struct settings {
    int64_t steps;
    const char *map;
    int start;
} settings;

static const key_spec keys[] = {
    {"steps", KEY_INT, NULL, "0", 0, MOST_STEPS, NULL, "how many", offsetof(settings, steps), 0, 0},
    {"map", KEY_PATH, NULL, "", 0, 0, NULL, "FILE.h5:/dataset [y][x]: how many more at each pixel", offsetof(settings, map), 0, 0},
    {"start", KEY_WORD, NULL, "rest", 0, 0, "rest|zero", "the input before step 0: its rest value, or 0 (Convis)", offsetof(settings, start), 0, 0},
};

typedef struct own {
    const stage_world *world;
    settings s;
    /* of a map */
    double *more; /* [ny][nx] of the whole input */
    int nx, pad_ny, pad_nx;
    const grid_tile *tile; /* [own leaf] of the input */
    grid_tile *row;        /* [own leaf][pad_ny]: each row of pixels is a row of cells */
    link_table *table;
} own;

/* NULL with problems. */
static double *read_map(const stage_world *w, const char *path, const input_node *at, int64_t ny, int64_t nx)
{
    const char *name, *why;
    store *s = store_open_inside(path, &name, &why);
    if (!s) {
        input_problem(w->in, at, "cannot read '%s': %s", path, why);
        return NULL;
    }
    store_info info = store_look(s, name);
    double *map = MEMORY_NEW(double, ny *nx);
    if (!info.found || info.rank != 2 || info.dims[0] != ny || info.dims[1] != nx || !store_read(s, name, STORE_F64, NULL, NULL, map)) {
        input_problem(w->in, at, "'%s' is no dataset of %lld x %lld numbers, [y][x]", path, (long long)ny, (long long)nx);
        memory_free(map);
        map = NULL;
    }
    store_close_read(s);
    return map;
}

/* Returns the longest delay of the map. */
static int64_t plan_map(own *o, const stage_world *w, const stage_input *in, const input_node *at)
{
    if (in->cells) {
        input_problem(w->in, at, "a map of delays works on maps; '%s' is cells", in->name);
        return 0;
    }
    int ny = in->tile ? in->pad_ny : w->grid.ny;
    o->nx = in->tile ? in->pad_nx : w->grid.nx;
    o->pad_ny = in->pad_ny;
    o->pad_nx = in->pad_nx;
    o->tile = in->tile ? in->tile : w->tile;
    o->more = read_map(w, o->s.map, at, ny, o->nx);
    double most = 0;
    for (int64_t i = 0; o->more && i < (int64_t)ny * o->nx; i++) {
        double d = o->more[i];
        if (!(d >= 0 && d <= MOST_STEPS && d == floor(d))) {
            input_problem(w->in, at, "pixel (%lld, %lld) of the map is delayed by %g; whole steps from 0 to %d are possible", (long long)(i / o->nx),
                          (long long)(i % o->nx), d, (int)MOST_STEPS);
            return 0;
        }
        most = fmax(most, d);
    }
    return (int64_t)most;
}

static void *delay_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    own *o = MEMORY_NEW(own, 1);
    o->world = w;
    o->s = *(const settings *)s_;
    int64_t most = o->s.steps + (o->s.map ? plan_map(o, w, &in[0], input_child(at, "map")) : 0);
    plan->rest = o->s.start == REST ? in[0].rest : 0;
    plan->rest_varies = in[0].rest_varies && o->s.start == REST;
    plan->wants_rest = o->s.start == REST && most > 0;
    plan->hist[0] = (int)most;
    plan->past_zero = o->s.start == ZERO;
    plan->flop = 1;
    plan->bytes_held = o->more ? (double)w->nleaf * o->pad_ny * o->pad_nx * (sizeof(int32_t) + sizeof(real)) : 0;
    snprintf(plan->note, sizeof plan->note, "%s%lld steps", o->s.map ? "up to " : "", (long long)most);
    return o;
}

/* Every pixel is a cell that samples one pixel, some frames back. */
static void attach(void *own_, backend *be, const view in[])
{
    own *o = own_;
    if (!o->more) {
        return;
    }
    const stage_world *w = o->world;
    int64_t nrow = (int64_t)w->nleaf * o->pad_ny;
    int32_t *offset = MEMORY_NEW(int32_t, nrow * o->pad_nx);
    real *weight = MEMORY_NEW(real, nrow * o->pad_nx);
    o->row = MEMORY_NEW(grid_tile, nrow);
    for (int64_t r = 0; r < nrow; r++) {
        const grid_tile *tile = &o->tile[r / o->pad_ny];
        int y = (int)(r % o->pad_ny);
        o->row[r] = (grid_tile){tile->leaf, 0, 0, 1, tile->nx};
        for (int x = 0; y < tile->ny && x < tile->nx; x++) {
            int64_t back = (int64_t)o->more[(int64_t)(tile->y0 + y) * o->nx + tile->x0 + x] * in[0].frame_stride;
            ASSERT(back < INT32_MAX);
            offset[r * o->pad_nx + x] = (int32_t)(x - back);
            weight[r * o->pad_nx + x] = 1;
        }
    }
    o->table = be->ops->link_create(be, (int)nrow, o->pad_nx, 1, offset, weight);
    memory_free(offset);
    memory_free(weight);
}

/* The rows of one leaf and channel as leaves of cells. */
static view rows(const own *o, view v, int leaf_of_rank, int leaf, int channel)
{
    int ny = o->tile[leaf_of_rank].ny;
    return (view){v.at + leaf * v.leaf_stride + channel * v.chan_stride,
                  o->row + (int64_t)leaf_of_rank * o->pad_ny,
                  ny,
                  1,
                  v.halo,
                  v.row_stride,
                  v.frame_stride,
                  v.chan_stride,
                  v.row_stride,
                  1,
                  o->pad_nx};
}

static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    const own *o = own_;
    (void)network;
    (void)state;
    rest[0] = o->s.start == REST ? rest_in[0] : 0;
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    const own *o = own_;
    (void)network;
    (void)rest_in;
    (void)g_start;
    (void)g_value;
    g_rest_in[0] += o->s.start == REST ? g_rest[0] : 0;
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    const real one = 1;
    view past = view_at_frame(c->in[0], -o->s.steps);
    if (!o->table) {
        c->be->ops->combine(c->be, 1, &one, c->nt, &past, c->out);
        return;
    }
    for (int i = 0; i < c->nleaf * c->out.nchan; i++) {
        int l = i / c->out.nchan, k = i % c->out.nchan;
        c->be->ops->link(c->be, o->table, (c->first + l) * o->pad_ny, c->nt, rows(o, past, c->first + l, l, k), rows(o, c->out, c->first + l, l, k));
    }
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    const real one = 1;
    if (!b->g_in[0].at) {
        return;
    }
    view past = view_at_frame(c->in[0], -o->s.steps), g_past = view_at_frame(b->g_in[0], -o->s.steps);
    if (!o->table) {
        c->be->ops->combine_back(c->be, 1, &one, c->nt, &past, b->g_out, &g_past, NULL, 0);
        return;
    }
    for (int i = 0; i < c->nleaf * c->out.nchan; i++) {
        int l = i / c->out.nchan, k = i % c->out.nchan;
        c->be->ops->link_back(c->be, o->table, (c->first + l) * o->pad_ny, c->nt, rows(o, b->g_out, c->first + l, l, k),
                              rows(o, g_past, c->first + l, l, k));
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    if (be && o->table) {
        be->ops->link_destroy(be, o->table);
    }
    memory_free(o->more);
    memory_free(o->row);
    memory_free(o);
}

const stage_type stage_delay = {
    .name = "delay",
    .help = "the input some steps later",
    .text = "  y_t = x_(t - steps - map).  Any link between stages may have a delay too (key `delay`); a stage of its own can be recorded and has a "
            "start.",
    STAGE_KEYS(settings, keys),
    .plan = delay_plan,
    .attach = attach,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

/* stage_pool_space.c - a smaller map: the mean or the largest of each square of pixels. */
#include <stdio.h>

#include "base/memory.h"
#include "stages/stage.h"

enum { MEAN, LARGEST };

typedef struct settings {
    int form;
    int64_t size;
} settings;

static const key_spec keys[] = {
    {"form", KEY_WORD, NULL, "mean", 0, 0, "mean|max", "of the pixels of a square", offsetof(settings, form), 0, 0},
    {"size", KEY_INT, NULL, "2", 1, 64, NULL, "its side, pixels", offsetof(settings, size), 0, 0},
};

typedef struct own {
    int size;
    bool largest;
    grid_tile *tile; /* [own leaf] */
} own;

static void *pool_plan(const stage_world *w, const void *s_, int nin, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)nin;
    own *o = MEMORY_NEW(own, 1);
    int ny = in[0].tile ? in[0].pad_ny : w->grid.ny, nx = in[0].tile ? in[0].pad_nx : w->grid.nx, size = o->size = (int)s->size;
    o->largest = s->form == LARGEST;
    if (size > ny || size > nx) {
        input_problem(w->in, at, "size: a square of %d pixels does not fit into '%s' of %d x %d", size, in[0].name, nx, ny);
    }
    plan->whole_field = !in[0].tile;
    plan->pad_ny = ny / size > 0 ? ny / size : 1;
    plan->pad_nx = nx / size > 0 ? nx / size : 1;
    o->tile = MEMORY_NEW(grid_tile, w->nleaf);
    for (int l = 0; l < w->nleaf; l++) {
        o->tile[l] = in[0].tile ? in[0].tile[l] : w->tile[l];
        o->tile[l].ny = plan->pad_ny;
        o->tile[l].nx = plan->pad_nx;
    }
    plan->tile = o->tile;
    plan->nchan = in[0].nchan;
    plan->unit = in[0].unit;
    plan->rest = in[0].rest;
    plan->rest_varies = in[0].rest_varies;
    plan->flop = size * size;
    snprintf(plan->note, sizeof plan->note, "%s of %d x %d pixels", o->largest ? "largest" : "mean", size, size);
    return o;
}

/* Of pixels that are alike the mean and the largest are themselves. */
static void start(void *own_, int network, const double rest_in[], double rest[2], double state[])
{
    (void)own_;
    (void)network;
    (void)state;
    rest[0] = rest_in[0];
}

static void start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                       double *g_value)
{
    (void)own_;
    (void)network;
    (void)rest_in;
    (void)g_start;
    (void)g_value;
    g_rest_in[0] += g_rest[0];
}

static void forward(void *own_, const stage_call *c)
{
    const own *o = own_;
    c->be->ops->pool_space(c->be, o->size, o->largest, c->nt, c->in[0], c->out);
}

static void backward(void *own_, const stage_call *c, const stage_back *b)
{
    const own *o = own_;
    if (b->g_in[0].at) {
        c->be->ops->pool_space_back(c->be, o->size, o->largest, c->nt, c->in[0], b->g_out, b->g_in[0]);
    }
}

static void destroy(void *own_, backend *be)
{
    own *o = own_;
    (void)be;
    memory_free(o->tile);
    memory_free(o);
}

const stage_type stage_pool_space = {
    .name = "pool_space",
    .help = "mean or largest of squares of pixels: a smaller map",
    .text = "  y_c[y, x] = mean or largest of x_c[size y + j, size x + i], 0 <= j, i < size.  Pixels that fill no square are left\n"
            "  out.  As with region: valid, the map is in one tile.  The derivative of the largest goes to the first one, row by row.",
    .keys = keys,
    .nkey = sizeof keys / sizeof *keys,
    .settings_size = sizeof(settings),
    .min_inputs = 1,
    .max_inputs = 1,
    .wants_map = true,
    .plan = pool_plan,
    .start = start,
    .start_back = start_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

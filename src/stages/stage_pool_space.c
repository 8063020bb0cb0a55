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

static void *pool_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    own *o = MEMORY_NEW(own, 1);
    int ny = in[0].tile ? in[0].pad_ny : w->grid.ny, nx = in[0].tile ? in[0].pad_nx : w->grid.nx, size = o->size = (int)s->size;
    o->largest = s->form == LARGEST;
    if (size > ny || size > nx) {
        input_problem(w->in, at, "size: a square of %d pixels does not fit into '%s' of %d x %d", size, in[0].name, nx, ny);
    }
    o->tile = stage_plan_smaller(plan, w, &in[0], ny / size, nx / size);
    plan->rest = in[0].rest; /* of pixels that are alike the mean and the largest are themselves */
    plan->rest_varies = in[0].rest_varies;
    plan->flop = size * size;
    snprintf(plan->note, sizeof plan->note, "%s of %d x %d pixels", o->largest ? "largest" : "mean", size, size);
    return o;
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
    STAGE_KEYS(settings, keys),
    .wants_map = true,
    .plan = pool_plan,
    .start = stage_pass_rest,
    .start_back = stage_pass_rest_back,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};

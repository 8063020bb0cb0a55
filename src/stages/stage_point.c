/* stage_point.c - one point function of each pixel or cell, and its parameters. */
#include "stages/stage_point.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cellmath.h"

point *point_plan(const stage_world *w, const stage_input *in, enum cell_map map, bool each_channel, stage_plan *plan)
{
    point *o = MEMORY_NEW(point, 1);
    o->world = w;
    o->map = map;
    o->nset = each_channel ? in->nchan : 1;
    o->number = MEMORY_NEW(double, (int64_t)w->nnet * o->nset * 4);
    o->par = MEMORY_NEW(real, (int64_t)w->nnet * o->nset * 4);
    plan->rest_varies = in->rest_varies || o->nset > 1;
    plan->flop = 2;
    return o;
}

static void put(point *o, int network, int set, int place, double value)
{
    int64_t at = ((int64_t)network * o->nset + set) * 4 + place;
    o->number[at] = value;
    o->par[at] = (real)value;
}

void point_number(point *o, int place, double value)
{
    for (int i = 0; i < o->world->nnet * o->nset; i++) {
        put(o, i / o->nset, i % o->nset, place, value);
    }
}

void point_param(point *o, stage_plan *plan, int place, const key_spec *key, double start, enum param_map map)
{
    ASSERT(o->nparam < 4 && plan->nparam == o->nparam);
    double *values = MEMORY_NEW(double, o->nset);
    for (int i = 0; i < o->nset; i++) {
        values[i] = start;
    }
    point_number(o, place, start);
    o->start[o->nparam] = values;
    o->place[o->nparam++] = place;
    stage_param *p = stage_add_number(plan, key, values, map);
    p->n = p->dims[0] = o->nset;
    p->ndim = o->nset > 1;
}

/* In double where no function of cells is needed, so that rest values pass through without rounding. */
static double value_at(const point *o, int network, double x)
{
#define ENTRY(kind, value, slope) [kind] = value,
    static real (*const f[MAP_COUNT])(real, const real[4]) = {CELL_MAPS(ENTRY)};
#undef ENTRY
    int64_t at = (int64_t)network * o->nset * 4;
    const double *p = o->number + at;
    return o->map == MAP_LINEAR ? p[0] * x + p[1]
           : o->map == MAP_CLIP ? fmin(fmax(p[3] * (p[0] * x - p[1]), 0), 1e6)
                                : (double)f[o->map]((real)x, o->par + at);
}

void point_rest(const point *o, const stage_input *in, stage_plan *plan)
{
    plan->rest = value_at(o, 0, in->rest);
}

void point_attach(void *own_, backend *be, const view in[])
{
    point *o = own_;
    (void)be;
    (void)in;
    if (o->world->differentiate) {
        o->g = MEMORY_NEW(double, (int64_t)o->world->nleaf * o->nset * 4);
    }
}

void point_set(void *own_, backend *be, int network, const double *value)
{
    point *o = own_;
    (void)be;
    for (int i = 0; i < o->nparam * o->nset; i++) {
        put(o, network, i % o->nset, o->place[i / o->nset], value[i]);
    }
}

void point_start(void *own_, int network, const double rest_in[], double rest[2], double start[])
{
    (void)start;
    rest[0] = value_at(own_, network, rest_in[0]);
}

/* Only one rest value is passed on: with numbers of their own for each channel nothing that needs it may follow. */
void point_start_back(void *own_, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                      double *g_value)
{
#define ENTRY(kind, value, slope) [kind] = slope,
    static cell_slope (*const f[MAP_COUNT])(real, const real[4]) = {CELL_MAPS(ENTRY)};
#undef ENTRY
    const point *o = own_;
    (void)g_start;
    cell_slope d = f[o->map]((real)rest_in[0], o->par + (int64_t)network * o->nset * 4);
    g_rest_in[0] += g_rest[0] * (double)d.x;
    for (int i = 0; i < o->nparam; i++) {
        g_value[(int64_t)i * o->nset] += g_rest[0] * (double)d.p[o->place[i]];
    }
}

static view channels(view v, int first, int n)
{
    v.at += first * v.chan_stride;
    v.nchan = n;
    return v;
}

static view channels_or_none(view v, int first, int n)
{
    return v.at ? channels(v, first, n) : v;
}

void point_forward(void *own_, const stage_call *c)
{
    const point *o = own_;
    const real *par = o->par + (int64_t)c->network * o->nset * 4;
    int n = c->out.nchan / o->nset;
    for (int i = 0; i < o->nset; i++) {
        c->be->ops->map(c->be, o->map, par + 4 * i, 4, c->nt, channels(c->in[0], i * n, n), channels(c->out, i * n, n));
    }
}

void point_backward(void *own_, const stage_call *c, const stage_back *b)
{
    const point *o = own_;
    const real *par = o->par + (int64_t)c->network * o->nset * 4;
    int n = c->out.nchan / o->nset;
    double *g = b->g_par && o->nparam > 0 ? o->g + (int64_t)c->first * o->nset * 4 : NULL;
    if (g) {
        memset(g, 0, (size_t)c->nleaf * (size_t)o->nset * 4 * sizeof *g);
    }
    for (int i = 0; i < o->nset; i++) {
        c->be->ops->map_back(c->be, o->map, par + 4 * i, 4, c->nt, channels(c->in[0], i * n, n), channels(b->g_out, i * n, n),
                             channels_or_none(b->g_in[0], i * n, n), g ? g + 4 * i : NULL, o->nset * 4);
    }
    if (!g) {
        return;
    }
    c->be->ops->sync(c->be);
    for (int l = 0; l < c->nleaf; l++) {
        for (int i = 0; i < o->nparam * o->nset; i++) {
            b->g_par[l * b->g_par_stride + i] += g[((int64_t)l * o->nset + i % o->nset) * 4 + o->place[i / o->nset]];
        }
    }
}

void point_destroy(void *own_, backend *be)
{
    point *o = own_;
    (void)be;
    for (int i = 0; i < o->nparam; i++) {
        memory_free(o->start[i]);
    }
    memory_free(o->number);
    memory_free(o->par);
    memory_free(o->g);
    memory_free(o);
}

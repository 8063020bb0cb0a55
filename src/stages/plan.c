/* plan.c - what several stages ask and write when they plan. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "stages/stage.h"

static const stage_fitted *find(const stage_world *w, const char *stage, const char *param)
{
    for (int i = 0; i < w->nfitted; i++) {
        if (strcmp(w->fitted[i].stage, stage) == 0 && strcmp(w->fitted[i].param, param) == 0) {
            return &w->fitted[i];
        }
    }
    return NULL;
}

bool stage_is_fitted(const stage_world *w, const char *stage, const char *param)
{
    return find(w, stage, param) != NULL;
}

double stage_most(const stage_world *w, const char *stage, const char *param, double start)
{
    const stage_fitted *f = find(w, stage, param);
    return !f ? start : isfinite(f->most) ? fmax(f->most, start) : 2 * start;
}

void stage_add_param(stage_plan *plan, stage_param p)
{
    ASSERT(plan->nparam < STAGE_MAX_PARAM);
    plan->param[plan->nparam++] = p;
}

stage_param *stage_add_number(stage_plan *plan, const key_spec *key, const double *start, enum param_map map)
{
    stage_add_param(plan, (stage_param){.name = key->name, .unit = key->unit, .n = 1, .start = start, .min = key->min, .max = key->max, .map = map});
    return &plan->param[plan->nparam - 1];
}

grid_tile *stage_plan_smaller(stage_plan *plan, const stage_world *w, const stage_input *in, int ny, int nx)
{
    grid_tile *tile = MEMORY_NEW(grid_tile, w->nleaf);
    plan->whole_field = !in->tile;
    plan->pad_ny = ny > 0 ? ny : 1;
    plan->pad_nx = nx > 0 ? nx : 1;
    for (int l = 0; l < w->nleaf; l++) {
        tile[l] = in->tile ? in->tile[l] : w->tile[l];
        tile[l].ny = plan->pad_ny;
        tile[l].nx = plan->pad_nx;
    }
    plan->tile = tile;
    return tile;
}

void stage_pass_rest(void *own, int network, const double rest_in[], double rest[2], double start[])
{
    (void)own;
    (void)network;
    (void)start;
    rest[0] = rest_in[0];
}

void stage_pass_rest_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                          double *g_value)
{
    (void)own;
    (void)network;
    (void)rest_in;
    (void)g_start;
    (void)g_value;
    g_rest_in[0] += g_rest[0];
}

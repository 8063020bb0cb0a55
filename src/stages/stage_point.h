/* stage_point.h - what stages that are one point function of each pixel or cell share: gain, rectify, nonlinearity, naka_rushton.
 * Some of the function's four numbers are parameters, the same in all channels or one for each. */
#ifndef STAGE_POINT_H
#define STAGE_POINT_H
#include "stages/stage.h"

typedef struct point {
    const stage_world *world;
    enum cell_map map;
    int nset;             /* sets of numbers: 1, or one for each channel */
    int nparam, place[4]; /* of each parameter among the four numbers */
    double *start[4];     /* [nset] of each parameter */
    double *number;       /* [network][nset][4] */
    real *par;            /* the same, as they are computed with */
    double *g;            /* [leaf][nset][4] derivatives by them of one call */
} point;

/* plan.rest must be set by point_rest once all numbers are known. */
point *point_plan(const stage_world *w, const stage_input *in, enum cell_map map, bool each_channel, stage_plan *plan);
void point_number(point *o, int place, double value); /* a number that is no parameter */
/* A parameter that starts at the value of the key; limits as there. */
void point_param(point *o, stage_plan *plan, int place, const key_spec *key, double start, enum param_map map);
void point_rest(const point *o, const stage_input *in, stage_plan *plan);

/* Of stage_type. */
void point_attach(void *own, backend *be, const view in[]);
void point_set(void *own, backend *be, int network, const double *value);
void point_start(void *own, int network, const double rest_in[], double rest[2], double start[]);
void point_start_back(void *own, int network, const double rest_in[], const double g_rest[2], const double g_start[], double g_rest_in[],
                      double *g_value);
void point_forward(void *own, const stage_call *call);
void point_backward(void *own, const stage_call *call, const stage_back *back);
void point_destroy(void *own, backend *be);
#define POINT_STAGE                                                                                                                                  \
    .attach = point_attach, .set = point_set, .start = point_start, .start_back = point_start_back, .forward = point_forward,                        \
    .backward = point_backward, .destroy = point_destroy
#endif

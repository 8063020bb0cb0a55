/* stage_gain.c - factor and offset. */
#include "stages/stage_point.h"

typedef struct settings {
    double scale, offset;
    bool each_channel;
} settings;

static const key_spec keys[] = {
    {"scale", KEY_REAL, "", "1", -1e12, 1e12, NULL, "factor", offsetof(settings, scale), 0, 0},
    {"offset", KEY_REAL, "", "0", -1e12, 1e12, NULL, "added after the factor", offsetof(settings, offset), 0, 0},
    {"each_channel", KEY_FLAG, NULL, "false", 0, 0, NULL, "a factor and an offset for each channel, with the same start",
     offsetof(settings, each_channel), 0, 0},
};

static void *gain_plan(const stage_world *w, const void *s_, const stage_input in[], const input_node *at, stage_plan *plan)
{
    const settings *s = s_;
    (void)at;
    point *o = point_plan(w, in, MAP_LINEAR, s->each_channel, plan);
    point_param(o, plan, 0, &keys[0], s->scale, PARAM_FREE);
    point_param(o, plan, 1, &keys[1], s->offset, PARAM_FREE);
    point_rest(o, in, plan);
    return o;
}

const stage_type stage_gain = {
    .name = "gain",
    .help = "factor and offset",
    .text = "  y = scale x + offset",
    STAGE_KEYS(settings, keys),
    .plan = gain_plan,
    POINT_STAGE,
};

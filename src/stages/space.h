/* space.h - keys and planning shared by the stages that blur. */
#ifndef SPACE_H
#define SPACE_H
#include "stages/stage.h"

typedef struct space_settings {
    int method; /* enum blur_method */
    int scheme; /* 0 uniform, 1 log-polar */
} space_settings;

/* Key table entries for a settings struct with a member `space`. */
#define SPACE_KEYS(type)                                                                                                            \
    {"method", KEY_WORD, NULL, "gaussian", 0, 0, "gaussian|deriche|convis",                                                         \
     "gaussian: exact and tileable; deriche: VirtualRetina's recursive filter; convis: sampled, truncated",                         \
     offsetof(type, space.method), 0, 0},                                                                                           \
    {"scheme", KEY_WORD, NULL, "uniform", 0, 0, "uniform|log-polar",                                                                \
     "log-polar: sigma grows with eccentricity as model.log_polar says", offsetof(type, space.scheme), 0, 0}

/* Description of a blur of sigma_deg; checks that model.log_polar is there if it is asked for, that the kernel fits the field (problems at
 * node `at`); writes halo, whole_field, FLOPs and note into plan for input 0. */
blur_desc space_plan(const stage_world *w, double sigma_deg, const space_settings *s, const input_node *at, stage_plan *plan);
#endif

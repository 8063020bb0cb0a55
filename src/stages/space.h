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

/* A blur of a stage: how it starts, what a fit may change of it, and one plan for each network.  Its parameters are `sigma`, if that is above 0, or,
 * when a fit names them, every tap and a bias: `taps` [2r+1][2r+1], at first the outer product of the method's own taps, and `bias`, at first 0. */
typedef struct space {
    blur_desc desc;
    double pixels_per_deg, sigma_deg, most_deg, bias;
    double *taps;             /* NULL: not free */
    int npar, ntap;           /* values of the parameters; of taps among them */
    int nnet;
    blur_plan **plan;         /* [nnet] after space_attach */
    double *tap_sum, *offset; /* [nnet] taps: their sum, and the bias */
} space;

typedef struct space_want {
    double sigma_deg, most_deg; /* most: the largest it can come to; 0: it stays */
    bool may_be_free;
} space_want;

/* What a stage whose parameter `sigma` is that of the blur wants. */
space_want space_wants(const stage_world *w, const stage_plan *plan, double sigma_deg);

/* Checks that model.log_polar is there if it is asked for, that the kernel fits the field (problems at node `at`); writes halo, whole_field,
 * FLOPs and note into plan for input 0. */
void space_plan(space *sp, const stage_world *w, const space_want *want, const space_settings *s, const input_node *at, stage_plan *plan);
void space_params(const space *sp, const char *unit, stage_plan *plan); /* adds them; unit: of the bias */
void space_attach(space *sp, backend *be);
void space_set(space *sp, backend *be, int network, const double *value); /* value: from the first of its parameters on */
/* Op's derivatives (by sigma_px, or taps and bias; space_nop of them) to those by the parameters, added. */
int space_nop(const space *sp);
void space_chain(const space *sp, const double *op, double *g_par);
void space_destroy(space *sp, backend *be); /* be NULL: was never attached */

/* One positive number; if it starts at 0, its logarithm would not move, and it is free above 0. */
stage_param space_positive(const char *name, const char *unit, const double *start);
#endif

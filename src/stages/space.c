/* space.c - from degrees to blur descriptions, and from derivatives in pixels to those in degrees. */
#include "stages/space.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "compute/blur.h"

space_want space_wants(const stage_world *w, const stage_plan *plan, double sigma_deg)
{
    bool fitted = stage_is_fitted(w, plan->name, "sigma") && sigma_deg > 0;
    return (space_want){sigma_deg, fitted ? stage_most(w, plan->name, "sigma", sigma_deg) : 0, true};
}

static void check_scheme(const stage_world *w, const space_settings *s, const input_node *at, blur_desc *d)
{
    if (s->scheme != 1) {
        return;
    }
    if (w->scaling_per_deg <= 0) {
        input_problem(w->in, at, "scheme: log-polar needs model.log_polar with a scaling above 0 /deg");
    }
    if (s->method == BLUR_CONVIS) {
        input_problem(w->in, at, "method: convis knows no log-polar scheme; gaussian and deriche do");
    }
    d->fovea_px = w->fovea_deg * w->pixels_per_deg;
    d->scaling_per_px = w->scaling_per_deg / w->pixels_per_deg;
}

static void check_size(const stage_world *w, const space_want *want, const space_settings *s, const input_node *at, blur_desc *d)
{
    enum { SMALL_FIELD_PX = 100 }; /* a blur so wide costs little on a field of a few pixels, or of one */
    int longest = d->field_ny > d->field_nx ? d->field_ny : d->field_nx;
    if (s->method != BLUR_DERICHE && d->sigma_px > longest && d->sigma_px > SMALL_FIELD_PX) {
        input_problem(w->in, at, "sigma: %g deg is %g pixels, more than the field (%d x %d pixels)", want->sigma_deg, d->sigma_px, d->field_nx,
                      d->field_ny);
        d->sigma_px = 1;
    }
    if (s->method == BLUR_CONVIS && d->sigma_px > BLUR_MAX_CONVIS_PX) {
        input_problem(w->in, at, "sigma: %g deg is %g pixels; Convis has no kernel above %d (all its taps are below 0.001 there)", want->sigma_deg,
                      d->sigma_px, BLUR_MAX_CONVIS_PX);
        d->sigma_px = 1;
    }
    double scale = blur_largest_scale(d), largest_px = d->sigma_px * scale;
    if (s->method == BLUR_GAUSSIAN && largest_px > BLUR_MAX_SIGMA_PX) {
        input_problem(w->in, at, "sigma: %g deg is %g pixels%s; at most %d are possible", want->sigma_deg, largest_px,
                      s->scheme ? " in the corners of the field" : "", BLUR_MAX_SIGMA_PX);
        d->sigma_px = d->scaling_per_px = 0;
    }
    if (want->most_deg > 0) { /* a fit goes no further than a first sigma may */
        double limit_px = d->sigma_px > longest ? fmin(2 * d->sigma_px, SMALL_FIELD_PX) : longest; /* room above where it begins */
        double most_px = fmin(fmin(want->most_deg * w->pixels_per_deg, limit_px), BLUR_MAX_SIGMA_PX / (1.1 * scale));
        d->most_sigma_px = fmax(most_px, d->sigma_px);
    }
}

/* Taps of the method's own blur, set free. */
static void set_free(space *sp, const stage_world *w, const space_settings *s, const input_node *at)
{
    if (s->method == BLUR_DERICHE || s->scheme == 1) {
        input_problem(w->in, at, "taps, bias: %s has no taps that could be fitted; method gaussian or convis with scheme uniform has",
                      s->scheme == 1 ? "scheme log-polar" : "method deriche");
        return;
    }
    blur_desc *d = &sp->desc;
    d->most_sigma_px = 0;
    int r = blur_look(d).radius, side = 2 * r + 1;
    double *one = MEMORY_NEW(double, r + 1);
    blur_taps(d, r, one);
    sp->ntap = side * side;
    sp->taps = MEMORY_NEW(double, sp->ntap);
    for (int i = 0; i < sp->ntap; i++) {
        sp->taps[i] = one[abs(i / side - r)] * one[abs(i % side - r)];
    }
    memory_free(one);
    d->method = BLUR_TAPS;
    d->taps_radius = r;
}

void space_plan(space *sp, const stage_world *w, const space_want *want, const space_settings *s, const input_node *at, stage_plan *plan)
{
    static const char *const name[] = {"discrete Gaussian", "Deriche recursion", "Convis Gaussian", "free taps"};
    *sp = (space){.pixels_per_deg = w->pixels_per_deg, .sigma_deg = want->sigma_deg, .nnet = w->nnet};
    blur_desc *d = &sp->desc;
    *d = (blur_desc){.method = (enum blur_method)s->method, .sigma_px = want->sigma_deg * w->pixels_per_deg, .field_ny = w->grid.ny,
                     .field_nx = w->grid.nx, .tile_ny = w->grid.tile_ny, .tile_nx = w->grid.tile_nx};
    check_scheme(w, s, at, d);
    check_size(w, want, s, at, d);
    if (want->may_be_free && (stage_is_fitted(w, plan->name, "taps") || stage_is_fitted(w, plan->name, "bias"))) {
        set_free(sp, w, s, at);
    }
    sp->npar = sp->taps ? sp->ntap + 1 : want->sigma_deg > 0;
    sp->most_deg = d->most_sigma_px > 0 && s->method == BLUR_GAUSSIAN ? d->most_sigma_px / w->pixels_per_deg : INFINITY;
    blur_info info = blur_look(d);
    plan->halo[0] = info.radius;
    plan->whole_field = s->method == BLUR_DERICHE;
    plan->flop += info.flop;
    plan->bytes_held = (double)info.table * sizeof(real) * w->nnet;
    plan->bytes_scratch = (double)info.scratch * sizeof(real);
    snprintf(plan->note, sizeof plan->note, "%s%s, sigma %.3g px, %d taps a side", name[d->method], s->scheme ? " growing with eccentricity" : "",
             d->sigma_px, info.radius);
}

stage_param space_positive(const char *name, const char *unit, const double *start)
{
    enum param_map map = *start > 0 ? PARAM_POSITIVE : PARAM_FREE;
    return (stage_param){.name = name, .unit = unit, .n = 1, .start = start, .min = 0, .max = INFINITY, .map = map};
}

void space_params(const space *sp, const char *unit, stage_plan *plan)
{
    if (sp->taps) {
        int side = 2 * sp->desc.taps_radius + 1;
        stage_add_param(plan, (stage_param){.name = "taps", .unit = "", .n = sp->ntap, .ndim = 2, .dims = {side, side}, .start = sp->taps,
                                            .min = -INFINITY, .max = INFINITY});
        stage_add_param(plan, (stage_param){.name = "bias", .unit = unit, .n = 1, .start = &sp->bias, .min = -INFINITY, .max = INFINITY});
    } else if (sp->npar > 0) {
        stage_param p = space_positive("sigma", "deg", &sp->sigma_deg);
        p.max = sp->most_deg;
        stage_add_param(plan, p);
    }
}

void space_attach(space *sp, backend *be)
{
    sp->plan = MEMORY_NEW(blur_plan *, sp->nnet);
    sp->tap_sum = MEMORY_NEW(double, sp->nnet);
    sp->offset = MEMORY_NEW(double, sp->nnet);
    for (int i = 0; i < sp->nnet; i++) {
        sp->plan[i] = be->ops->blur_create(be, &sp->desc);
    }
}

void space_set(space *sp, backend *be, int network, const double *value)
{
    if (sp->taps) {
        sp->tap_sum[network] = 0;
        for (int i = 0; i < sp->ntap; i++) {
            sp->tap_sum[network] += value[i];
        }
        sp->offset[network] = value[sp->ntap];
        be->ops->blur_set_taps(be, sp->plan[network], value, value[sp->ntap]);
    } else if (sp->npar > 0) {
        be->ops->blur_set(be, sp->plan[network], value[0] * sp->pixels_per_deg);
    }
}

int space_nop(const space *sp)
{
    return sp->taps ? sp->ntap + 1 : 1;
}

void space_chain(const space *sp, const double *op, double *g_par)
{
    for (int i = 0; i < sp->npar; i++) {
        g_par[i] += sp->taps ? op[i] : op[i] * sp->pixels_per_deg;
    }
}

void space_destroy(space *sp, backend *be)
{
    for (int i = 0; be && i < sp->nnet; i++) {
        be->ops->blur_destroy(be, sp->plan[i]);
    }
    memory_free(sp->plan);
    memory_free(sp->tap_sum);
    memory_free(sp->offset);
    memory_free(sp->taps);
}

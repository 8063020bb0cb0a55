/* space.c - from degrees to blur descriptions. */
#include "stages/space.h"

#include <stdio.h>

#include "compute/blur.h"

blur_desc space_plan(const stage_world *w, double sigma_deg, const space_settings *s, const input_node *at, stage_plan *plan)
{
    static const char *const name[] = {"discrete Gaussian", "Deriche recursion", "Convis Gaussian"};
    blur_desc d = {(enum blur_method)s->method, sigma_deg * w->pixels_per_deg, 0, 0, w->grid.ny, w->grid.nx, w->grid.tile_ny, w->grid.tile_nx};
    if (s->scheme == 1) {
        if (w->scaling_per_deg <= 0) {
            input_problem(w->in, at, "scheme: log-polar needs model.log_polar with a scaling above 0 /deg");
        }
        if (s->method == BLUR_CONVIS) {
            input_problem(w->in, at, "method: convis knows no log-polar scheme; gaussian and deriche do");
        }
        d.fovea_px = w->fovea_deg * w->pixels_per_deg;
        d.scaling_per_px = w->scaling_per_deg / w->pixels_per_deg;
    }
    int longest = d.field_ny > d.field_nx ? d.field_ny : d.field_nx;
    if (s->method != BLUR_DERICHE && d.sigma_px > longest) {
        input_problem(w->in, at, "sigma: %g deg is %g pixels, more than the field (%d x %d pixels)", sigma_deg, d.sigma_px, d.field_nx, d.field_ny);
        d.sigma_px = 1;
    }
    double largest_px = d.sigma_px * blur_largest_scale(&d);
    if (s->method == BLUR_GAUSSIAN && largest_px > BLUR_MAX_SIGMA_PX) {
        input_problem(w->in, at, "sigma: %g deg is %g pixels%s; at most %d are possible", sigma_deg, largest_px,
                      s->scheme ? " in the corners of the field" : "", BLUR_MAX_SIGMA_PX);
        d.sigma_px = d.scaling_per_px = 0;
    }
    blur_info info = blur_look(&d);
    plan->halo[0] = info.radius;
    plan->whole_field = s->method == BLUR_DERICHE;
    plan->flop += info.flop;
    plan->bytes_held = (double)info.table * sizeof(real);
    plan->bytes_scratch = (double)info.scratch * sizeof(real);
    snprintf(plan->note, sizeof plan->note, "%s%s, sigma %.3g px, %d taps a side", name[s->method], s->scheme ? " growing with eccentricity" : "",
             d.sigma_px, info.radius);
    return d;
}

/* tuning.c - see tuning.h. */
#include "analysis/tuning.h"

#include <math.h>

#include "base/memory.h"

#define AT(field) offsetof(tuning_settings, field)
const key_spec tuning_keys[TUNING_NKEY] = {
    {"values", KEY_REALS, "", NULL, -1e6, 1e6, NULL, "of the conditions in the order shown, in deg, /deg or Hz", AT(value), AT(nvalue), TUNING_MOST},
    {"vary", KEY_WORD, NULL, "direction", 0, 0, "direction|orientation|spatial_frequency|temporal_frequency", "what the values are", AT(vary), 0, 0},
    {"duration", KEY_REAL, "s", NULL, 1e-6, 1e6, NULL, "of each condition", AT(duration_s), 0, 0},
    {"skip", KEY_REAL, "s", "0 s", 0, 1e6, NULL, "at the start of each condition, not used", AT(skip_s), 0, 0},
    {"frequency", KEY_REAL, "Hz", "1 Hz", 0, 1e4, NULL, "temporal frequency of the gratings, for F1 (temporal_frequency: the values themselves)",
     AT(frequency_hz), 0, 0},
};
enum { VARY_DIRECTION, VARY_ORIENTATION, VARY_SPATIAL_FREQUENCY, VARY_TEMPORAL_FREQUENCY };
static const double PI = 3.14159265358979323846;

static void measure(const tuning_settings *s, double step_s, int64_t nstep, const double *count, int condition, tuning_curve *c)
{
    int64_t steps = llround(s->duration_s / step_s), skip = llround(s->skip_s / step_s);
    double f = s->vary == VARY_TEMPORAL_FREQUENCY ? s->value[condition] : s->frequency_hz, sum = 0, re = 0, im = 0, n = 0;
    for (int64_t first = condition * steps; first + steps <= nstep; first += s->nvalue * steps) {
        for (int64_t t = skip; t < steps; t++) {
            double y = count[first + t], phase = 2 * PI * f * ((double)t + 0.5) * step_s;
            sum += y;
            re += y * cos(phase);
            im += y * sin(phase);
            n++;
        }
    }
    c->f0[condition] = n > 0 ? sum / (n * step_s) : 0;
    c->f1[condition] = n > 0 ? 2 * hypot(re, im) / (n * step_s) : 0;
}

static double selectivity(const tuning_settings *s, const tuning_curve *c, int order)
{
    double sum = 0, re = 0, im = 0;
    for (int i = 0; i < c->n; i++) {
        double angle = order * s->value[i] * PI / 180;
        sum += c->f0[i];
        re += c->f0[i] * cos(angle);
        im += c->f0[i] * sin(angle);
    }
    return sum > 0 ? hypot(re, im) / sum : NAN;
}

tuning_curve *tuning_measure(const tuning_settings *s, double step_s, int64_t nstep, const double *count)
{
    tuning_curve *c = MEMORY_NEW(tuning_curve, 1);
    int top = 0;
    c->n = s->nvalue;
    c->f0 = MEMORY_NEW(double, c->n);
    c->f1 = MEMORY_NEW(double, c->n);
    for (int i = 0; i < c->n; i++) {
        measure(s, step_s, nstep, count, i, c);
        top = c->f0[i] > c->f0[top] ? i : top;
    }
    bool angles = s->vary == VARY_DIRECTION || s->vary == VARY_ORIENTATION;
    c->best = s->value[top];
    c->osi = angles ? selectivity(s, c, 2) : NAN;
    c->dsi = s->vary == VARY_DIRECTION ? selectivity(s, c, 1) : NAN;
    c->ratio = c->f0[top] > 0 ? c->f1[top] / c->f0[top] : NAN;
    return c;
}

void tuning_destroy(tuning_curve *c)
{
    if (c) {
        memory_free(c->f0);
        memory_free(c->f1);
        memory_free(c);
    }
}

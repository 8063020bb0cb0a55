/* tuning.h - responses to gratings: mean rate F0 and modulation F1 of each condition, and how selective they are.
 *
 * Conditions follow one another, `steps` bins each, and begin again after the last; the first `skip` bins of each are not used.
 *   F0 = mean of y / dt,  F1 = 2 |sum y exp(-2 pi i f t)| / (n dt)
 *   orientation index OSI = |sum R exp(2 i theta)| / sum R, direction index DSI = |sum R exp(i theta)| / sum R (circular variances) */
#ifndef TUNING_H
#define TUNING_H
#include "input/input.h"

enum { TUNING_MOST = 256 };
typedef struct tuning_settings {
    double value[TUNING_MOST]; /* deg, or the unit of what is varied */
    int nvalue, vary;
    double duration_s, skip_s, frequency_hz;
} tuning_settings;
enum { TUNING_NKEY = 5 };
extern const key_spec tuning_keys[TUNING_NKEY];

typedef struct tuning_curve {
    int n;
    double *f0, *f1; /* [n] Hz */
    double best, osi, dsi, ratio; /* best: value with the largest F0; ratio: F1/F0 there */
} tuning_curve;

/* count[nstep] spikes a bin of step_s. */
tuning_curve *tuning_measure(const tuning_settings *s, double step_s, int64_t nstep, const double *count);
void tuning_destroy(tuning_curve *c);
#endif

/* nonlinearity.h - from a filtered stimulus g to spikes a bin, by maximum likelihood of Poisson counts.
 *   histogram    mean count in bins of equally many g
 *   exp          exp(a + b g)
 *   softplus     a log(1 + exp(b g + c))
 *   sigmoid      a/(1 + exp(-(b g + c)))
 *   parametric   a log(1 + exp(b g)): softplus as at the end of the networks of Yan et al. 2022 */
#ifndef NONLINEARITY_H
#define NONLINEARITY_H
#include "base/base.h"

enum nonlinearity_kind { NONLINEARITY_HISTOGRAM, NONLINEARITY_EXP, NONLINEARITY_SOFTPLUS, NONLINEARITY_SIGMOID, NONLINEARITY_PARAMETRIC,
                         NONLINEARITY_COUNT };
extern const char *const nonlinearity_name[NONLINEARITY_COUNT];

typedef struct nonlinearity {
    enum nonlinearity_kind kind;
    int nbin;
    double *edge, *rate;   /* histogram: [nbin + 1] of g, [nbin] counts a bin */
    double a, b, c;        /* others; b in 1/unit of g */
    double log_likelihood; /* of the data it was fitted to: sum y log mu - mu */
} nonlinearity;

/* g[n], y[n]; nbin: of the histogram. */
nonlinearity *nonlinearity_fit(enum nonlinearity_kind kind, int nbin, int64_t n, const double *g, const double *y);
double nonlinearity_at(const nonlinearity *f, double g);
void nonlinearity_destroy(nonlinearity *f);
#endif

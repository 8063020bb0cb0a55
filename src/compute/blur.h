/* blur.h - numbers behind blur_desc, for the backends: taps, radius, scale with eccentricity, recursive coefficients.  Pure. */
#ifndef BLUR_H
#define BLUR_H
#include "compute/backend.h"

int blur_gaussian_radius(double sigma_px);                          /* where the mass outside equals that of +-4 sigma */
void blur_gaussian_taps(double sigma_px, int radius, double *taps); /* taps[0..radius] of one side; whole sum is 1     */
void blur_gaussian_slopes(double sigma_px, int radius, double *slopes); /* their derivatives by sigma_px                */
void blur_taps(const blur_desc *d, int radius, double *taps);       /* of a uniform blur, by its method                */
void blur_slopes(const blur_desc *d, int radius, double *slopes);
double blur_scale_at(const blur_desc *d, double y, double x);       /* sigma at a pixel of the field / sigma           */
double blur_largest_scale(const blur_desc *d);                      /* in the corners                                  */
enum { BLUR_MAX_SIGMA_PX = 1000 };                                  /* of the FIR methods, in the corners              */
enum { BLUR_MAX_CONVIS_PX = 398 };                                  /* 0.001 sigma sqrt(2 pi) < 1: see blur.c          */
/* A growing Gaussian is made of uniform ones of scales 1.1^k, k = 0 .. n-1: each pixel mixes the two nearest so that the variance is exact. */
int blur_nlevel(const blur_desc *d);                                /* n; 0: uniform                                   */
double blur_level_scale(int k);
static inline int blur_line(const blur_desc *d, int radius)         /* padded row of tile and halo, reals              */
{
    return (d->tile_nx + 2 * radius + 31) / 16 * 16;
}

/* One forward and one backward pass per line:  f_i = a0 x_i + a1 x_(i-1) + b1 f_(i-1) + b2 f_(i-2),
 * g_i = a2 x_(i+1) + a3 x_(i+2) + b1 g_(i+1) + b2 g_(i+2), result f + g. */
typedef struct deriche {
    double a0, a1, a2, a3, b1, b2;
} deriche;
deriche deriche_plan(double alpha);
deriche deriche_slope(double alpha); /* derivatives of the coefficients by alpha */
#endif

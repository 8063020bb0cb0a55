/* cellmath.h - mathematics of one cell, written once for the C compiler (SIMD loops) and nvcc (kernels).
 * Scalars only: no arrays of cells, no loops over cells, no memory.  Same bits at every position of an array. */
#ifndef CELLMATH_H
#define CELLMATH_H
#include <math.h>
#include <string.h>

#include "base/base.h"

/* exp(x), relative error < 3e-7 in float and < 1e-15 in double; x is clamped so that nothing overflows.
 * x = n ln 2 + r, |r| <= ln 2 / 2; Taylor series of exp(r); 2^n by its exponent bits. */
HD static inline double cell_exp_double(double x)
{
    x = x < -708.0 ? -708.0 : x > 709.0 ? 709.0 : x;
    double n = rint(x * 1.4426950408889634);
    double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    double p = 1.0 + r / 13.0;
    p = 1.0 + p * r * (1.0 / 12.0);
    p = 1.0 + p * r * (1.0 / 11.0);
    p = 1.0 + p * r * (1.0 / 10.0);
    p = 1.0 + p * r * (1.0 / 9.0);
    p = 1.0 + p * r * (1.0 / 8.0);
    p = 1.0 + p * r * (1.0 / 7.0);
    p = 1.0 + p * r * (1.0 / 6.0);
    p = 1.0 + p * r * (1.0 / 5.0);
    p = 1.0 + p * r * (1.0 / 4.0);
    p = 1.0 + p * r * (1.0 / 3.0);
    p = 1.0 + p * r * (1.0 / 2.0);
    p = 1.0 + p * r;
    int64_t bits = ((int64_t)n + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

HD static inline float cell_exp_float(float x)
{
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float n = rintf(x * 1.44269504f);
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f / 7.0f);
    p = 1.0f + p * r * (1.0f / 6.0f);
    p = 1.0f + p * r * (1.0f / 5.0f);
    p = 1.0f + p * r * (1.0f / 4.0f);
    p = 1.0f + p * r * (1.0f / 3.0f);
    p = 1.0f + p * r * (1.0f / 2.0f);
    p = 1.0f + p * r;
    int32_t bits = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

HD static inline real cell_exp(real x)
{
#ifdef CHIASM_DOUBLE
    return cell_exp_double(x);
#else
    return cell_exp_float(x);
#endif
}

/* --- recurrences: one step; s is the state, advanced in place --------------------------------------------------------
 * Low-pass  s_t = c s_(t-1) + b u_t.  With b = 1 - c it has unit gain; Convis has b = 1 + c and divides by 2 tau/dt. */
HD static inline real cell_lowpass_step(real u, real b, real c, real *s)
{
    *s = b * u + c * *s;
    return *s;
}

/* High-pass  y = u - w LP(u): undershoot and transient of Wohrer & Kornprobst 2009, K = delta - w exp(-t/tau)/tau. */
HD static inline real cell_highpass_step(real u, real b, real c, real w, real *s)
{
    *s = b * u + c * *s;
    return u - w * *s;
}

/* --- contrast gain control of VirtualRetina 2.2.3 ----------------------------------------------------------------------------
 * pooled quantity before the blur: q = u/(1 + u/saturation), u = feedback V^2 */
HD static inline real cell_gain_pool(real v, real feedback, real inverse_saturation)
{
    real u = feedback * v * v;
    return u / (1 + u * inverse_saturation);
}

/* membrane: dV/dt = gain I - g V with constant g over the step, solved exactly */
HD static inline real cell_gain_membrane(real v, real current, real g, real gain, real dt)
{
    real e = gain * current / g;
    return (v - e) * cell_exp(-g * dt) + e;
}

/* --- static nonlinearities -------------------------------------------------------------------------------------------
 * Smooth rectifier of VirtualRetina 2.2.3 with soft saturation at G = 5e5 Hz: p = slope (sign u - v0)/G, eta = T0/G,
 * p > 0: G (eta + (1-eta) p/(1-eta+p));  p <= 0: G eta^2/(eta - p) */
HD static inline real cell_rectify_vr(real u, real sign, real v0, real value, real slope)
{
    const real limit = (real)5e5;
    real eta = value / limit, p = slope * (sign * u - v0) / limit;
    real above = limit * (eta + (1 - eta) * p / (1 - eta + p)), below = limit * eta * eta / (eta - p);
    return p > 0 ? above : eta > 0 ? below : 0; /* eta = 0: its limit, and no 0/0 at the threshold */
}

/* Convis 0.6.4.2: i0 + lambda (u - v0) above v0, i0/(1 - lambda (u - v0)/i0) below. */
HD static inline real cell_rectify_convis(real u, real sign, real v0, real value, real slope)
{
    real p = slope * (sign * u - v0);
    return p > 0 ? value + p : value / (1 - p / value);
}
#endif

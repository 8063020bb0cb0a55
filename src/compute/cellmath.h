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

/* ln(x), x > 0 and normal, relative error < 3e-7: x = 2^n m, m in [1/sqrt 2, sqrt 2); ln m = 2 artanh((m-1)/(m+1)). */
HD static inline float cell_log_float(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t n = (bits - 0x3f3504f3) >> 23;
    bits -= n * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    float p = 1.0f + s2 * (1.0f / 3.0f + s2 * (1.0f / 5.0f + s2 * (1.0f / 7.0f + s2 * (1.0f / 9.0f))));
    return (float)n * 0.69314718f + 2.0f * s * p;
}

/* cos(2 pi u), u in [0, 1): = sin(pi/2 - 2 pi v), v the distance of u from the nearest integer. */
HD static inline float cell_cos_turn(float u)
{
    float v = u < 0.5f ? u : 1.0f - u;
    float a = 6.28318531f * (0.25f - v), a2 = a * a;
    return a * (1.0f + a2 * (-1.0f / 6.0f + a2 * (1.0f / 120.0f + a2 * (-1.0f / 5040.0f + a2 * (1.0f / 362880.0f - a2 * (1.0f / 39916800.0f))))));
}

/* Two independent standard normal numbers from two words of random bits (Box and Muller 1958); the same in the float and the double program. */
HD static inline void cell_normal_pair(uint32_t b0, uint32_t b1, float *x, float *y)
{
    float u = ((float)(b0 >> 8) + 0.5f) * (1.0f / 16777216.0f), turn = (float)(b1 >> 8) * (1.0f / 16777216.0f);
    float radius = sqrtf(-2.0f * cell_log_float(u)), back = turn - 0.25f;
    *x = radius * cell_cos_turn(turn);
    *y = radius * cell_cos_turn(back < 0 ? -back : back); /* sine */
}

HD static inline float cell_normal(uint32_t b0, uint32_t b1)
{
    float x, y;
    cell_normal_pair(b0, b1, &x, &y);
    return x;
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

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

/* --- logarithm and its friends -----------------------------------------------------------------------------------------
 * ln(x), x > 0, relative error < 3e-7 in float and < 1e-15 in double: x = 2^n m, m in [1/sqrt 2, sqrt 2); ln m = 2 artanh((m-1)/(m+1)).  What is
 * smaller than the smallest normal numbers, or negative, is taken for 1e-37, or 1e-300: as integers, so that no branch comes of it; not finite: not a
 * number. */
HD static inline double cell_log_double(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits < 0x01a56e1fc2f8f359 ? 0x01a56e1fc2f8f359 : bits;
    int64_t n = (bits - 0x3fe6a09e667f3bcd) >> 52;
    bits -= n * ((int64_t)1 << 52);
    double m;
    memcpy(&m, &bits, sizeof m);
    double s = (m - 1) / (m + 1), two_s = s + s, s2 = s * s, p = 1.0 / 23;
    for (int k = 21; k > 1; k -= 2) {
        p = 1.0 / k + s2 * p;
    }
    double small = two_s + two_s * (s2 * p); /* never a sum of two products: which of them is fused with the sum is the compiler's choice */
    return (double)n * 0.693147180559945309417 + small + (x - x);
}

HD static inline float cell_log_float(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits < 0x02081cea ? 0x02081cea : bits;
    int32_t n = (bits - 0x3f3504f3) >> 23;
    bits -= n * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1) / (m + 1), two_s = s + s, s2 = s * s, p = 1.0f / 9;
    for (int k = 7; k > 1; k -= 2) {
        p = 1.0f / (float)k + s2 * p;
    }
    float small = two_s + two_s * (s2 * p);
    return (float)n * 0.69314718f + small + (x - x);
}

HD static inline real cell_log(real x)
{
#ifdef CHIASM_DOUBLE
    return cell_log_double(x);
#else
    return cell_log_float(x);
#endif
}

/* ln(1 + e) for e in [0, 1]: 2 artanh(e/(2 + e)), small e without loss. */
HD static inline real cell_log1p(real e)
{
    enum { LAST = sizeof(real) == sizeof(float) ? 17 : 35 };
    real s = e / (2 + e), s2 = s * s, p = 1 / (real)LAST;
    for (int k = LAST - 2; k > 0; k -= 2) {
        p = 1 / (real)k + s2 * p;
    }
    return 2 * s * p;
}

/* exp(x) - 1; its series where the difference would lose digits. */
HD static inline real cell_expm1(real x)
{
    enum { LAST = sizeof(real) == sizeof(float) ? 8 : 14 };
    real p = 1 + x / (real)LAST;
    for (int k = LAST - 1; k > 1; k--) {
        p = 1 + x / (real)k * p;
    }
    return x > (real)0.35 || x < (real)-0.35 ? cell_exp(x) - 1 : x * p;
}

HD static inline real cell_power(real x, real n) /* 0 for x <= 0 */
{
    real y = cell_exp(n * cell_log(x));
    return x > 0 ? y : 0;
}

HD static inline real cell_logistic(real z)
{
    real e = cell_exp(z > 0 ? -z : z);
    return (z > 0 ? 1 : e) / (1 + e);
}

HD static inline real cell_softplus(real z) /* ln(1 + exp(z)) */
{
    return (z > 0 ? z : 0) + cell_log1p(cell_exp(z > 0 ? -z : z));
}

/* --- recurrences: one step; s is the state, advanced in place --------------------------------------------------------
 * Low-pass  s_t = c s_(t-1) + b u_t.  With b = 1 - c it has unit gain; Convis has b = 1 + c and divides by 2 tau/dt. */
HD static inline real cell_lowpass_step(real u, real b, real c, real *s)
{
    *s = b * u + c * *s;
    return *s;
}

/* Its adjoint: of by_s, the derivative by s_t of what step t made of it, makes that by s_t of all of it, which times b is that by u_t.  carry: in,
 * what came back to s_t from the steps after; out, what goes back to s_(t-1). */
HD static inline real cell_lowpass_back(real by_s, real c, real *carry)
{
    real whole = by_s + *carry;
    *carry = c * whole;
    return whole;
}

/* High-pass  y = u - w LP(u): undershoot and transient of Wohrer & Kornprobst 2009, K = delta - w exp(-t/tau)/tau. */
HD static inline real cell_highpass_step(real u, real b, real c, real w, real *s)
{
    return u - w * cell_lowpass_step(u, b, c, s);
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

/* Slopes of the pooled quantity by v and by feedback. */
HD static inline void cell_gain_pool_slope(real v, real feedback, real inverse_saturation, real *by_v, real *by_feedback)
{
    real below = 1 + feedback * v * v * inverse_saturation, by_u = 1 / (below * below);
    *by_v = 2 * feedback * v * by_u;
    *by_feedback = v * v * by_u;
}

/* Adjoint of the membrane: gy times its derivatives by v, current, g and gain. */
HD static inline void cell_gain_membrane_back(real v, real current, real g, real gain, real dt, real gy, real *by_v, real *by_current, real *by_g,
                                              real *by_gain)
{
    real inverse = 1 / g, e = gain * current * inverse, stay = cell_exp(-g * dt), go = (1 - stay) * inverse;
    *by_v = gy * stay;
    *by_current = gy * gain * go;
    *by_g = -gy * (dt * stay * (v - e) + e * go);
    *by_gain = gy * current * go;
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

/* --- point functions with their slopes: by x and by each of their parameters p[0..3] --------------------------------------
 * At a kink the slope is that of the flat side: 0 at the threshold of a rectifier, at either end of a clip. */
typedef struct cell_slope {
    real x, p[4];
} cell_slope;

HD static inline real cell_linear(real x, const real p[4])
{
    return p[0] * x + p[1];
}
HD static inline cell_slope cell_linear_slope(real x, const real p[4])
{
    cell_slope d = {p[0], {x, 1, 0, 0}};
    return d;
}

/* p: sign, threshold, value, slope, as above; the value is limit (eta + u r) with r = (1-eta)/(1-eta+u), or limit eta^2/(eta - u). */
HD static inline real cell_rectify_vr_map(real x, const real p[4])
{
    return cell_rectify_vr(x, p[0], p[1], p[2], p[3]);
}
HD static inline cell_slope cell_rectify_vr_slope(real x, const real p[4])
{
    const real limit = (real)5e5;
    real eta = p[2] / limit, v = p[0] * x - p[1], u = p[3] * v / limit;
    real r = (1 - eta) / (1 - eta + u), q = eta > 0 ? eta / (eta - u) : 0;
    real by_u = u > 0 ? r * r : q * q, by_value = u > 0 ? r * (2 - r) : q * (2 - q);
    cell_slope d = {by_u * p[3] * p[0], {by_u * p[3] * x, -by_u * p[3], by_value, by_u * v}};
    return d;
}

HD static inline real cell_rectify_convis_map(real x, const real p[4])
{
    return cell_rectify_convis(x, p[0], p[1], p[2], p[3]);
}
HD static inline cell_slope cell_rectify_convis_slope(real x, const real p[4])
{
    real v = p[0] * x - p[1], u = p[3] * v, q = p[2] / (p[2] - u);
    real by_u = u > 0 ? 1 : q * q, by_value = u > 0 ? 1 : q * (2 - q);
    cell_slope d = {by_u * p[3] * p[0], {by_u * p[3] * x, -by_u * p[3], by_value, by_u * v}};
    return d;
}

/* p[3] (p[0] x - p[1]), between 0 and 1e6 (Convis 0.6.4.2) */
HD static inline real cell_clip(real x, const real p[4])
{
    real v = p[3] * (p[0] * x - p[1]);
    return v < 0 ? 0 : v > (real)1e6 ? (real)1e6 : v;
}
HD static inline cell_slope cell_clip_slope(real x, const real p[4])
{
    real v = p[0] * x - p[1], u = p[3] * v, in = (u > 0) & (u < (real)1e6);
    cell_slope d = {in * p[3] * p[0], {in * p[3] * x, -in * p[3], 0, in * v}};
    return d;
}

/* max(p[0] x + p[1], 0), its square, and the square of all of it */
HD static inline real cell_relu(real x, const real p[4])
{
    real u = p[0] * x + p[1];
    return u > 0 ? u : 0;
}
HD static inline cell_slope cell_relu_slope(real x, const real p[4])
{
    real on = p[0] * x + p[1] > 0;
    cell_slope d = {on * p[0], {on * x, on, 0, 0}};
    return d;
}
HD static inline real cell_square(real x, const real p[4])
{
    real u = p[0] * x + p[1];
    return u * u;
}
HD static inline cell_slope cell_square_slope(real x, const real p[4])
{
    real u = 2 * (p[0] * x + p[1]);
    cell_slope d = {u * p[0], {u * x, u, 0, 0}};
    return d;
}
HD static inline real cell_rectified_square(real x, const real p[4])
{
    real u = cell_relu(x, p);
    return u * u;
}
HD static inline cell_slope cell_rectified_square_slope(real x, const real p[4])
{
    real u = 2 * cell_relu(x, p);
    cell_slope d = {u * p[0], {u * x, u, 0, 0}};
    return d;
}

/* ln(1 + exp(p[0] x))/p[0] */
HD static inline real cell_softplus_map(real x, const real p[4])
{
    return cell_softplus(p[0] * x) / p[0];
}
HD static inline cell_slope cell_softplus_map_slope(real x, const real p[4])
{
    real s = cell_logistic(p[0] * x);
    cell_slope d = {s, {(s * x - cell_softplus(p[0] * x) / p[0]) / p[0], 0, 0, 0}};
    return d;
}

/* p[0] ln(1 + exp(p[1] x)) */
HD static inline real cell_parametric_softplus(real x, const real p[4])
{
    return p[0] * cell_softplus(p[1] * x);
}
HD static inline cell_slope cell_parametric_softplus_slope(real x, const real p[4])
{
    real s = p[0] * cell_logistic(p[1] * x);
    cell_slope d = {s * p[1], {cell_softplus(p[1] * x), s * x, 0, 0}};
    return d;
}

/* exp(p[0] x + p[1]) */
HD static inline real cell_exponential(real x, const real p[4])
{
    return cell_exp(p[0] * x + p[1]);
}
HD static inline cell_slope cell_exponential_slope(real x, const real p[4])
{
    real y = cell_exponential(x, p);
    cell_slope d = {y * p[0], {y * x, y, 0, 0}};
    return d;
}

/* p[0]/(1 + exp(-p[1] (x - p[2]))) */
HD static inline real cell_sigmoid(real x, const real p[4])
{
    return p[0] * cell_logistic(p[1] * (x - p[2]));
}
HD static inline cell_slope cell_sigmoid_slope(real x, const real p[4])
{
    real z = p[1] * (x - p[2]), s = cell_logistic(z), by_z = p[0] * s * cell_logistic(-z);
    cell_slope d = {by_z * p[1], {s, by_z * (x - p[2]), -by_z * p[1], 0}};
    return d;
}

/* x above 0, p[0] (exp(x) - 1) below, all of it raised by p[1] */
HD static inline real cell_elu(real x, const real p[4])
{
    real factor = x > 0 ? 1 : p[0], value = x > 0 ? x : cell_expm1(x); /* one product and sum, whichever branch is taken */
    return factor * value + p[1];
}
HD static inline cell_slope cell_elu_slope(real x, const real p[4])
{
    real e = cell_exp(x), below = cell_expm1(x);
    cell_slope d = {x > 0 ? 1 : p[0] * e, {x > 0 ? 0 : below, 1, 0, 0}};
    return d;
}

/* p[0] max(x - p[2], 0)^p[1] */
HD static inline real cell_power_map(real x, const real p[4])
{
    return p[0] * cell_power(x - p[2], p[1]);
}
HD static inline cell_slope cell_power_map_slope(real x, const real p[4])
{
    real u = x - p[2], y = cell_power(u, p[1]), by_u = u > 0 ? p[0] * p[1] * y / u : 0;
    cell_slope d = {by_u, {y, p[0] * y * cell_log(u), -by_u, 0}};
    return d;
}

/* Naka and Rushton 1966: p[0] x^n/(x^n + s^n) + p[3] with n = p[1], s = p[2]; p[3] for x <= 0 */
HD static inline real cell_naka_rushton(real x, const real p[4])
{
    real most = x > 0 ? p[0] : 0;
    return most * cell_logistic(p[1] * (cell_log(x) - cell_log(p[2]))) + p[3];
}
HD static inline cell_slope cell_naka_rushton_slope(real x, const real p[4])
{
    real far = cell_log(x) - cell_log(p[2]), z = p[1] * far, on = x > 0, s = on * cell_logistic(z), by_z = p[0] * s * cell_logistic(-z);
    cell_slope d = {on ? by_z * p[1] / x : 0, {s, by_z * far, -by_z * p[1] / p[2], 1}};
    return d;
}

/* --- losses: one term of an output y and a target r, and its slope by y; in double whatever real is ----------------------------- */
typedef struct cell_loss {
    double value, slope;
} cell_loss;

HD static inline cell_loss cell_loss_poisson(double y, double r, double epsilon)
{
    cell_loss l = {y - r * log(y + epsilon), 1 - r / (y + epsilon)};
    return l;
}
HD static inline cell_loss cell_loss_bernoulli(double y, double r, double epsilon) /* epsilon on both sides, as the first */
{
    cell_loss l = {-(r * log(y + epsilon) + (1 - r) * log(1 - y + epsilon)), (1 - r) / (1 - y + epsilon) - r / (y + epsilon)};
    return l;
}
HD static inline cell_loss cell_loss_square(double y, double r, double epsilon)
{
    (void)epsilon;
    cell_loss l = {(y - r) * (y - r), 2 * (y - r)};
    return l;
}
HD static inline cell_loss cell_loss_activity_l1(double y, double r, double epsilon)
{
    (void)r;
    (void)epsilon;
    cell_loss l = {fabs(y), (double)((y > 0) - (y < 0))};
    return l;
}
HD static inline cell_loss cell_loss_activity_l2(double y, double r, double epsilon)
{
    (void)r;
    (void)epsilon;
    cell_loss l = {y * y, 2 * y};
    return l;
}
HD static inline cell_loss cell_loss_linear(double y, double r, double epsilon)
{
    (void)epsilon;
    cell_loss l = {r * y, r};
    return l;
}

/* Every loss of enum loss_kind (compute/backend.h). */
#define CELL_LOSSES(EACH)                          \
    EACH(LOSS_POISSON, cell_loss_poisson)          \
    EACH(LOSS_BERNOULLI, cell_loss_bernoulli)      \
    EACH(LOSS_SQUARE, cell_loss_square)            \
    EACH(LOSS_ACTIVITY_L1, cell_loss_activity_l1)  \
    EACH(LOSS_ACTIVITY_L2, cell_loss_activity_l2)  \
    EACH(LOSS_LINEAR, cell_loss_linear)

/* Every point function of enum cell_map (compute/backend.h) with its value and its slopes. */
#define CELL_MAPS(EACH)                                                                     \
    EACH(MAP_LINEAR, cell_linear, cell_linear_slope)                                        \
    EACH(MAP_RECTIFY_VR, cell_rectify_vr_map, cell_rectify_vr_slope)                        \
    EACH(MAP_RECTIFY_CONVIS, cell_rectify_convis_map, cell_rectify_convis_slope)            \
    EACH(MAP_CLIP, cell_clip, cell_clip_slope)                                              \
    EACH(MAP_RELU, cell_relu, cell_relu_slope)                                              \
    EACH(MAP_SOFTPLUS, cell_softplus_map, cell_softplus_map_slope)                          \
    EACH(MAP_PARAMETRIC_SOFTPLUS, cell_parametric_softplus, cell_parametric_softplus_slope) \
    EACH(MAP_EXPONENTIAL, cell_exponential, cell_exponential_slope)                         \
    EACH(MAP_SIGMOID, cell_sigmoid, cell_sigmoid_slope)                                     \
    EACH(MAP_ELU, cell_elu, cell_elu_slope)                                                 \
    EACH(MAP_SQUARE, cell_square, cell_square_slope)                                        \
    EACH(MAP_RECTIFIED_SQUARE, cell_rectified_square, cell_rectified_square_slope)          \
    EACH(MAP_POWER, cell_power_map, cell_power_map_slope)                                   \
    EACH(MAP_NAKA_RUSHTON, cell_naka_rushton, cell_naka_rushton_slope)
#endif

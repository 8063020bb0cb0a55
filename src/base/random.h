/* random.h - counter-based random numbers: a pure function of where you are.  No state to seed, save or hand to a
 * thread; the same bits on every processor, for any number of ranks.
 * Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef RANDOM_H
#define RANDOM_H
#include <math.h>
#include <string.h>

#include "base/base.h"

/* Who is drawing.  One value per distinct use, never reused, never renumbered. */
enum random_use {
    RANDOM_STIMULUS = 1,   /* who = pixel/check/dot number, when = stimulus frame */
    RANDOM_EYE = 2,        /* eye movements: who = saccade number; drift: who = wave, which = 4 */
    RANDOM_MOSAIC = 3,     /* jitter and ring phase: who = cell or ring number, when = number of the population */
    RANDOM_SPIKE_NOISE = 4,/* membrane noise: who = global cell id, when = step */
    RANDOM_REFRACTORY = 5, /* who = global cell id, when = step of the spike, which = spike within the step */
    RANDOM_START = 6,      /* initial state: who = global cell id */
    RANDOM_NOISE_LAYER = 7,/* who = pixel or global cell id with the number of the sequence above bit 40, when = step/4, which = channel */
    RANDOM_POISSON = 8,    /* spikes: who = pixel of the field or global cell id, when = step */
    RANDOM_KERNEL = 24,    /* taps before a fit: who = pair of taps, when = letters of the stage's name */
    RANDOM_SPLIT = 20,     /* training, validation, test: who = block */
    RANDOM_SHIFT = 30,     /* spikes against the stimulus: who = cell, when = number of the shift */
    RANDOM_MODULES = 31,   /* STNMF: who = cell, when = draw, which = perturbation */
    RANDOM_HALVES = 23,    /* of trials, for scores: who = trial, when = number of the split */
    RANDOM_ORDER = 21,     /* batches: who = sequence, when = epoch */
    RANDOM_FIT_START = 22  /* values before a fit: who = value, when = network; a movie: who = pixel, when = step */
};

typedef struct random_block {
    uint32_t v[4];
} random_block;

/* 128 random bits for (seed, use, who, when, which). */
HD static inline random_block random_bits(uint64_t seed, uint32_t use, uint64_t who, uint64_t when, uint32_t which)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32) ^ (use * 0x9E3779B1u);
    uint32_t c0 = (uint32_t)when, c1 = (uint32_t)(when >> 32) ^ (which << 16), c2 = (uint32_t)who, c3 = (uint32_t)(who >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    random_block b = {{c0, c1, c2, c3}};
    return b;
}

/* 24 of 32 bits as a number in (0,1), never 0 or 1. */
HD static inline double random_unit(uint32_t bits)
{
    return ((double)(bits >> 8) + 0.5) * (1.0 / 16777216.0);
}

/* --- normal numbers without a call or a branch, so that they come many at a time ------------------------------------------
 * Sums of products say themselves where they are rounded (fmaf), so that every compiler and processor gives the same bits.
 * ln(x), x > 0 and normal, relative error < 3e-7: x = 2^n m, m in [1/sqrt 2, sqrt 2); ln m = 2 artanh((m-1)/(m+1)). */
HD static inline float random_log(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t n = (bits - 0x3f3504f3) >> 23;
    bits -= n * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    float p = fmaf(s2, fmaf(s2, fmaf(s2, fmaf(s2, 1.0f / 9.0f, 1.0f / 7.0f), 1.0f / 5.0f), 1.0f / 3.0f), 1.0f);
    return fmaf((float)n, 0.69314718f, 2.0f * s * p);
}

/* cos(2 pi u), u in [0, 1): = sin(pi/2 - 2 pi v), v the distance of u from the nearest integer. */
HD static inline float random_cos_turn(float u)
{
    float v = u < 0.5f ? u : 1.0f - u;
    float a = 6.28318531f * (0.25f - v), a2 = a * a;
    float p = fmaf(a2, fmaf(a2, fmaf(a2, -1.0f / 39916800.0f, 1.0f / 362880.0f), -1.0f / 5040.0f), 1.0f / 120.0f);
    return a * fmaf(a2, fmaf(a2, p, -1.0f / 6.0f), 1.0f);
}

/* Two independent standard normal numbers from two words of random bits (Box and Muller 1958); the same in the float and the double program. */
HD static inline void random_normal_pair(uint32_t b0, uint32_t b1, float *x, float *y)
{
    float u = ((float)(int32_t)(b0 >> 8) + 0.5f) * (1.0f / 16777216.0f), turn = (float)(int32_t)(b1 >> 8) * (1.0f / 16777216.0f);
    float radius = sqrtf(-2.0f * random_log(u)), back = turn - 0.25f;
    *x = radius * random_cos_turn(turn);
    *y = radius * random_cos_turn(back < 0 ? -back : back); /* sine */
}

HD static inline float random_normal(uint32_t b0, uint32_t b1)
{
    float x, y;
    random_normal_pair(b0, b1, &x, &y);
    return x;
}
#endif

/* ran1.h - the serial generator of many published stimuli (Gollisch lab and others), so that they are drawn again from their seeds.
 * Minimal standard generator x' = 16807 x mod (2^31 - 1) (Park and Miller 1988) whose output is shuffled through 32 places (Bays and Durham 1976),
 * with the start and the seeds' sign as in Press et al., Numerical Recipes, 2nd edition 1992, section 7.1, where it has its name.
 * Own stimuli and noise use random.h: this one cannot be entered in the middle. */
#ifndef RAN1_H
#define RAN1_H
#include "base/base.h"

typedef struct ran1 {
    int32_t x;         /* of the minimal standard generator */
    int32_t last;      /* number given out last; its top 5 bits choose the place of the next */
    int32_t place[32];
    bool has_spare;    /* the polar method makes two normal numbers at a time */
    double spare;
} ran1;

void ran1_start(ran1 *r, int32_t seed); /* seed < 0 */

/* The next whole number, 1 to 2^31 - 2. */
static inline int32_t ran1_step(ran1 *r)
{
    uint64_t product = (uint64_t)r->x * 16807u, sum = (product & 0x7fffffffu) + (product >> 31); /* mod 2^31 - 1 */
    r->x = (int32_t)(sum >= 0x7fffffffu ? sum - 0x7fffffffu : sum);
    int place = r->last >> 26;
    r->last = r->place[place];
    r->place[place] = r->x;
    return r->last;
}

/* The next number in (0, 1). */
static inline double ran1_unit(ran1 *r)
{
    double u = ran1_step(r) * (1.0 / 2147483647.0);
    return u > 1 - 1.2e-7 ? 1 - 1.2e-7 : u;
}

/* Whether the next number is at least 0.5. */
static inline bool ran1_high(ran1 *r)
{
    return ran1_step(r) >> 30;
}

/* The next standard normal number: polar method of Marsaglia and Bray 1964; of each accepted pair the second coordinate's is given first. */
double ran1_normal(ran1 *r);
#endif

/* ran1.c - start of the generator, and its normal numbers. */
#include "base/ran1.h"

#include <math.h>

#include "base/error.h"

void ran1_start(ran1 *r, int32_t seed)
{
    ASSERT(seed < 0 && seed > -INT32_MAX);
    *r = (ran1){.x = -seed};
    for (int i = 39; i >= 0; i--) { /* 8 numbers pass unused, then the places are filled from the last */
        r->x = (int32_t)((uint64_t)r->x * 16807u % 0x7fffffffu);
        r->place[i & 31] = r->x;
    }
    r->last = r->place[0];
}

double ran1_normal(ran1 *r)
{
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    double v1, v2, q;
    do {
        v1 = 2 * ran1_unit(r) - 1;
        v2 = 2 * ran1_unit(r) - 1;
        q = v1 * v1 + v2 * v2;
    } while (q >= 1 || q == 0);
    double f = sqrt(-2 * log(q) / q);
    r->has_spare = true;
    r->spare = v1 * f;
    return v2 * f;
}

/* cpu_sum.h - sums, and sums of products, in double, in one order whatever the length of the chunk: eight partial sums, then these. */
#ifndef CPU_SUM_H
#define CPU_SUM_H
#include "base/base.h"

static inline double cpu_dot(const real *a, const real *b, int n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            sum[k] += (double)a[i + k] * (double)b[i + k];
        }
    }
    for (int k = 0; i + k < n; k++) {
        sum[k] += (double)a[i + k] * (double)b[i + k];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static inline double cpu_total(const real *a, int n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; k++) {
            sum[k] += (double)a[i + k];
        }
    }
    for (int k = 0; i + k < n; k++) {
        sum[k] += (double)a[i + k];
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
#endif

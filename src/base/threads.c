/* threads.c - see threads.h. */
#include "base/threads.h"

#include <omp.h>

static int nthread = 1;

void threads_use(int n)
{
    nthread = n > 1 ? n : 1;
}

void threads_each(int64_t n, void (*work)(void *ctx, int64_t i), void *ctx)
{
    if (nthread == 1 || n < 2 || omp_in_parallel()) {
        for (int64_t i = 0; i < n; i++) {
            work(ctx, i);
        }
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(nthread)
    for (int64_t i = 0; i < n; i++) {
        work(ctx, i);
    }
}

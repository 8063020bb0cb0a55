/* threads.c - see threads.h. */
#include "base/threads.h"

static int nthread = 1;

void threads_use(int n)
{
    nthread = n > 1 ? n : 1;
}

/* Within a piece OpenMP has one thread: its regions do not nest unless they are told to. */
void threads_each(int64_t n, void (*work)(void *ctx, int64_t i), void *ctx)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(nthread) if (nthread > 1 && n > 1)
    for (int64_t i = 0; i < n; i++) {
        work(ctx, i);
    }
}

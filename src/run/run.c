/* run.c - see run.h. */
#include "run/run.h"

int run_busiest_rank(const grid *g, int nrank)
{
    int busiest = 0, most = -1;
    for (int r = 0; r < nrank; r++) {
        int first, count;
        grid_owned(g, r, nrank, &first, &count);
        if (count > most) {
            most = count;
            busiest = r;
        }
    }
    return busiest;
}

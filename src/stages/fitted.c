/* fitted.c - what a fit is going to change. */
#include <math.h>
#include <string.h>

#include "stages/stage.h"

static const stage_fitted *find(const stage_world *w, const char *stage, const char *param)
{
    for (int i = 0; i < w->nfitted; i++) {
        if (strcmp(w->fitted[i].stage, stage) == 0 && strcmp(w->fitted[i].param, param) == 0) {
            return &w->fitted[i];
        }
    }
    return NULL;
}

bool stage_is_fitted(const stage_world *w, const char *stage, const char *param)
{
    return find(w, stage, param) != NULL;
}

double stage_most(const stage_world *w, const char *stage, const char *param, double start)
{
    const stage_fitted *f = find(w, stage, param);
    return !f ? start : isfinite(f->most) ? fmax(f->most, start) : 2 * start;
}

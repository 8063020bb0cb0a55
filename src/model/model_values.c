/* model_values.c - `values` of a stage: parameters from the result of a fit, in place of those that its keys say. */
#include <string.h>

#include "base/memory.h"
#include "cluster/store.h"
#include "model/model_own.h"

static void read_one(model *m, stage *s, const input_node *at, store *file, const char *folder, int k)
{
    stage_param *p = &s->plan.param[k];
    char *name = memory_text("%s/%s", folder, p->name);
    store_info info = store_look(file, name);
    int64_t n = info.found ? 1 : 0;
    for (int i = 0; i < info.rank && info.found; i++) {
        n *= info.dims[i];
    }
    if (info.found && n != p->n) {
        input_problem(m->setup.in, at, "'%s' has %lld values, %s of stage '%s' has %lld", name, (long long)n, p->name, s->plan.name, (long long)p->n);
    } else if (info.found) {
        s->given[k] = MEMORY_NEW(double, n);
        if (store_read(file, name, STORE_F64, NULL, NULL, s->given[k])) {
            p->start = s->given[k];
        } else {
            input_problem(m->setup.in, at, "cannot read '%s' as numbers", name);
        }
    }
    memory_free(name);
}

void model_read_values(model *m, stage *s, const input_node *at, const char *path)
{
    const char *colon = strrchr(path, ':'), *why = "write FILE.h5:/parameters/STAGE";
    char *file = memory_text("%.*s", colon ? (int)(colon - path) : 0, path);
    store *f = colon && colon[1] == '/' ? store_open_read(file, &why) : NULL;
    if (!f) {
        input_problem(m->setup.in, at, "cannot read '%s': %s", path, why);
    } else {
        for (int k = 0; k < s->plan.nparam; k++) {
            read_one(m, s, at, f, colon + 1, k);
        }
        store_close_read(f);
    }
    memory_free(file);
}

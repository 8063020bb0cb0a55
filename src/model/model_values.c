/* model_values.c - `values` of a stage: parameters from the result of a fit, in place of those that its keys say. */
#include <math.h>
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

/* The largest value of a dataset; -INFINITY: it is not fitted, or cannot be read (model_read_values says so). */
static double largest(store *f, const char *name)
{
    store_info info = store_look(f, name);
    int64_t n = info.found && store_read_attr_number(f, name, "fitted", 1) != 0;
    for (int i = 0; i < info.rank && info.found; i++) {
        n *= info.dims[i];
    }
    double *value = MEMORY_NEW(double, n), most = -INFINITY;
    if (n > 0 && store_read(f, name, STORE_F64, NULL, NULL, value)) {
        for (int64_t i = 0; i < n; i++) {
            most = fmax(most, value[i]);
        }
    }
    memory_free(value);
    return most;
}

/* A fit that goes on from these values goes further. */
static double most_of(const values_fitted *v, const char *of, const char *param, double value)
{
    double most = value;
    for (int i = 0; i < v->nbefore; i++) {
        if (strcmp(v->before[i].stage, of) == 0 && strcmp(v->before[i].param, param) == 0) {
            most = fmax(most, isfinite(v->before[i].most) ? v->before[i].most : 2 * value);
        }
    }
    return most;
}

values_fitted model_expect_values(model *m, const char *of, const char *path)
{
    values_fitted v = {.before = m->world.fitted, .nbefore = m->world.nfitted};
    const char *folder, *why;
    store *f = path ? store_open_inside(path, &folder, &why) : NULL;
    if (!f) {
        return v;
    }
    v.names = store_list(f, folder);
    v.list = MEMORY_NEW(stage_fitted, strlen(v.names) / 2 + 1 + (size_t)v.nbefore);
    int n = 0;
    for (char *param = strtok(v.names, "\n"); param; param = strtok(NULL, "\n")) {
        char *whole = memory_text("%s/%s", folder, param);
        double value = largest(f, whole);
        memory_free(whole);
        if (value > -INFINITY) {
            v.list[n++] = (stage_fitted){of, param, most_of(&v, of, param, value)};
        }
    }
    for (int i = 0; i < v.nbefore; i++) { /* of this stage and parameter the first counts */
        v.list[n++] = v.before[i];
    }
    m->world.fitted = v.list;
    m->world.nfitted = n;
    store_close_read(f);
    return v;
}

void model_expected_values(model *m, values_fitted *v)
{
    m->world.fitted = v->before;
    m->world.nfitted = v->nbefore;
    memory_free(v->list);
    memory_free(v->names);
}

void model_read_values(model *m, stage *s, const input_node *at, const char *path)
{
    const char *folder, *why;
    store *f = store_open_inside(path, &folder, &why);
    if (!f) {
        input_problem(m->setup.in, at, "cannot read '%s': %s", path, why);
        return;
    }
    for (int k = 0; k < s->plan.nparam; k++) {
        read_one(m, s, at, f, folder, k);
    }
    store_close_read(f);
}

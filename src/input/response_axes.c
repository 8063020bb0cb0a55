/* response_axes.c - what the dimensions of a source stand for, and names that stand for many files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "input/response_own.h"

static const char *const axis_names[] = {"time", "trial", "cell", "one"};

int64_t axes_count(const axes *a, enum axis kind)
{
    int64_t n = 1;
    for (int i = 0; i < a->rank; i++) {
        n *= a->kind[i] == kind ? a->dims[i] : 1;
    }
    return n;
}

int64_t axes_place(const axes *a, int64_t i, enum axis kind)
{
    int64_t place = 0, unit = 1;
    for (int d = a->rank - 1; d >= 0; d--) {
        int64_t here = i % a->dims[d];
        i /= a->dims[d];
        if (a->kind[d] == kind) {
            place += here * unit;
            unit *= a->dims[d];
        }
    }
    return place;
}

/* "18 x 1" */
static void shape_text(int rank, const int64_t *dims, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%lld", i ? " x " : "", (long long)dims[i]);
    }
}

static bool name_axes(input *in, const input_node *at, const response_settings *set, enum axis kind[AXES_MAX])
{
    for (int i = 0; i < set->naxes; i++) {
        int k = 0;
        while (k < 4 && strcmp(axis_names[k], set->axes[i]) != 0) {
            k++;
        }
        if (k == 4) {
            input_problem(in, at, "'%s' is no axis; allowed: time, trial, cell, one (of length 1)", set->axes[i]);
            return false;
        }
        kind[i] = (enum axis)k;
    }
    return true;
}

bool axes_read(input *in, const input_node *section, const response_settings *set, int rank, const int64_t *dims, axes *a)
{
    enum axis kind[AXES_MAX] = {AXIS_TIME, AXIS_CELL};
    char shape[128];
    int nlong = 0, next = 0, n = set->naxes;
    const input_node *at = input_child(section, "axes");
    if (!name_axes(in, at, set, kind)) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        nlong += dims[i] != 1;
    }
    n = n > 0 ? n : nlong < 2 ? nlong : 2;
    shape_text(rank, dims, shape, sizeof shape);
    if (n != rank && n != nlong) {
        input_problem(in, at ? at : section, "the source has %d dimensions (%s); give axes, a name for each: time, trial, cell or one", rank,
                      shape);
        return false;
    }
    *a = (axes){.rank = rank};
    for (int i = 0; i < rank; i++) {
        a->dims[i] = dims[i];
        a->kind[i] = n != rank && dims[i] == 1 ? AXIS_ONE : kind[next++];
        if (a->kind[i] == AXIS_ONE && dims[i] != 1) {
            input_problem(in, at, "axis %d of %s is called one, but is longer", i + 1, shape);
            return false;
        }
    }
    return true;
}

/* --- names ----------------------------------------------------------------------------------------------------------------- */
static void add_name(name_list *l, char *name)
{
    l->name = memory_grow(l->name, (size_t)l->n + 1, sizeof *l->name);
    l->name[l->n++] = name;
}

/* Appends `pattern` with every value of its first braces, each expanded further. */
static void expand(name_list *l, const char *pattern)
{
    const char *open = strchr(pattern, '{'), *close = open ? strchr(open, '}') : NULL, *rest = close ? close + 1 : NULL;
    if (!close) {
        add_name(l, memory_text("%s", pattern));
        return;
    }
    char *dots;
    long from = strtol(open + 1, &dots, 10);
    int head = (int)(open - pattern), width = (int)(dots - open - 1);
    if (width > 0 && strncmp(dots, "..", 2) == 0) { /* {01..12} keeps its zeros */
        long to = strtol(dots + 2, NULL, 10);
        for (long i = from; i <= to && i - from < RESPONSE_MAX_CELLS; i++) {
            char *one = memory_text("%.*s%0*ld%s", head, pattern, open[1] == '0' ? width : 1, i, rest);
            expand(l, one);
            memory_free(one);
        }
        return;
    }
    for (const char *item = open + 1; item <= close;) {
        int n = (int)strcspn(item, ",}");
        char *one = memory_text("%.*s%.*s%s", head, pattern, n, item, rest);
        expand(l, one);
        memory_free(one);
        item += n + 1;
    }
}

name_list names_expand(const char *pattern)
{
    name_list l = {0};
    expand(&l, pattern);
    return l;
}

void names_free(name_list *l)
{
    for (int i = 0; i < l->n; i++) {
        memory_free(l->name[i]);
    }
    memory_free(l->name);
    *l = (name_list){0};
}

/* kernel.c - where the taps of a kernel come from. */
#include "stages/kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "cluster/store.h"

static double *read_dataset(const stage_world *w, store *s, const char *path, const char *name, const input_node *at, int64_t dims[5])
{
    store_info info = store_look(s, name);
    if (!info.found || info.rank < 3 || info.rank > 5) {
        input_problem(w->in, at, "'%s' is no dataset of numbers with 3 to 5 dimensions: [t][y][x], [out][t][y][x] or [out][in][t][y][x]", path);
        return NULL;
    }
    int64_t n = 1, start[5] = {0};
    for (int i = 0; i < 5; i++) {
        dims[i] = i < 5 - info.rank ? 1 : info.dims[i - (5 - info.rank)];
    }
    if (info.rank == 4) { /* [out][t][y][x] */
        dims[0] = info.dims[0];
        dims[1] = 1;
    }
    for (int i = 0; i < 5; i++) {
        n *= dims[i];
    }
    double *k = MEMORY_NEW(double, n);
    if (n < 1 || !store_read(s, name, STORE_F64, start, info.dims, k)) {
        input_problem(w->in, at, "cannot read '%s' as numbers", path);
        memory_free(k);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(k[i])) {
            input_problem(w->in, at, "value %lld of '%s' is not finite", (long long)i, path);
            break;
        }
    }
    return k;
}

static double *read_kernel(const stage_world *w, const char *path, const input_node *at, int64_t dims[5])
{
    const char *name, *why;
    store *s = store_open_inside(path, &name, &why);
    if (!s) {
        input_problem(w->in, at, "cannot read '%s': %s", path, why);
        return NULL;
    }
    double *k = read_dataset(w, s, path, name, at, dims);
    store_close_read(s);
    return k;
}

/* By chance: every tap by its number, the stage's name and the seed. */
static double *draw_kernel(const stage_world *w, const kernel_settings *s, const char *stage, const input_node *at, const int64_t dims[5])
{
    int64_t taps = dims[1] * dims[2] * dims[3] * dims[4], n = dims[0] * taps;
    char word[16] = "";
    double size = 1 / sqrt((double)taps);
    int items = sscanf(s->init, "%15s %lf", word, &size);
    enum { NORMAL, UNIFORM, ZEROS } how = strcmp(word, "normal") == 0 ? NORMAL : strcmp(word, "uniform") == 0 ? UNIFORM : ZEROS;
    if ((how == ZEROS && (strcmp(word, "zeros") != 0 || items > 1)) || !(size >= 0 && isfinite(size))) {
        input_problem(w->in, input_child(at, "init"), "'%s' must be normal SD, uniform LIMIT (SD, LIMIT: numbers from 0 on) or zeros", s->init);
        return NULL;
    }
    uint64_t name = 0, seed = s->seed > 0 ? (uint64_t)s->seed : w->seed;
    for (const char *c = stage; *c; c++) {
        name = name * 257 + (unsigned char)*c;
    }
    double *k = MEMORY_NEW(double, n);
    for (int64_t i = 0; how != ZEROS && i < n; i += 2) {
        random_block b = random_bits(seed, RANDOM_KERNEL, (uint64_t)(i / 2), name, 0);
        float pair[2] = {(float)(2 * random_unit(b.v[0]) - 1), (float)(2 * random_unit(b.v[1]) - 1)};
        if (how == NORMAL) {
            random_normal_pair(b.v[0], b.v[1], &pair[0], &pair[1]);
        }
        k[i] = size * (double)pair[0];
        if (i + 1 < n) {
            k[i + 1] = size * (double)pair[1];
        }
    }
    return k;
}

double *kernel_make(const stage_world *w, const kernel_settings *s, const char *stage, const stage_input *in, int groups, const input_node *at,
                    int64_t dims[5])
{
    int given = (s->path != NULL) + (s->nsize > 0) + (s->gabor != NULL) + (s->gaussian != NULL) + (s->exponential != NULL);
    if (given != 1) {
        input_problem(w->in, at, "%s: one of kernel, size, gabor, gaussian and exponential says what the kernel is",
                      given ? "too many kernels" : "no kernel");
        return NULL;
    }
    if (in->nchan % groups != 0) {
        input_problem(w->in, input_child(at, "groups"), "%d groups do not divide the %d channels of '%s'", groups, in->nchan, in->name);
        return NULL;
    }
    double *k = NULL;
    if (s->path) {
        k = read_kernel(w, s->path, input_child(at, "kernel"), dims);
    } else if (s->gabor) {
        k = kernel_gabor(w, s->gabor, dims);
    } else if (s->gaussian) {
        k = kernel_gaussian(w, s->gaussian, dims);
    } else if (s->exponential) {
        k = kernel_exponential(w, s->exponential, dims);
    } else if (s->nsize != 3 || s->size[0] < 1 || fmod(s->size[0], 1) != 0 || fmod(s->size[1], 1) != 0 || fmod(s->size[2], 1) != 0) {
        input_problem(w->in, input_child(at, "size"), "[kt, ky, kx] must be three whole numbers, kt at least 1");
    } else {
        int64_t size[5] = {s->channels, in->nchan / groups, (int64_t)s->size[0], s->size[1] > 0 ? (int64_t)s->size[1] : in->pad_ny,
                           s->size[2] > 0 ? (int64_t)s->size[2] : in->pad_nx};
        memcpy(dims, size, sizeof size);
        k = draw_kernel(w, s, stage, at, dims);
    }
    if (k && (dims[1] != in->nchan / groups || dims[0] % groups != 0)) {
        input_problem(w->in, input_child(at, s->path ? "kernel" : "groups"),
                      "a kernel of %lld outputs and %lld input channels a group does not fit the %d channels of '%s' in %d group%s",
                      (long long)dims[0], (long long)dims[1], in->nchan, in->name, groups, groups > 1 ? "s" : "");
        memory_free(k);
        return NULL;
    }
    return k;
}

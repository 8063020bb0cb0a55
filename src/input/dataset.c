/* dataset.c - three kinds of files behind one reader of slabs. */
#include "input/dataset.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/store.h"
#include "input/npy.h"

struct dataset {
    dataset_info info;
    store *store; /* of FILE.h5 */
    char *name;
    npy npy;
    bool is_npy;
    double *text; /* [rows][columns] of a text file, whole */
};

/* --- text ------------------------------------------------------------------------------------------------------------------ */
static char *skip_blanks(char *at)
{
    while (*at && (isspace((unsigned char)*at) || *at == ',' || *at == ';')) {
        at++;
    }
    return at;
}

/* Appends the numbers of a line; false: something else stands there. */
static bool take_line(dataset *d, char *line, int64_t *room, int64_t *ncolumn)
{
    *ncolumn = 0;
    for (char *at = skip_blanks(line), *end; *at; at = skip_blanks(end)) {
        double value = strtod(at, &end);
        if (end == at || (*end && !isspace((unsigned char)*end) && *end != ',' && *end != ';')) {
            return false;
        }
        if (d->info.count == *room) {
            *room = *room ? 2 * *room : 4096;
            d->text = memory_grow(d->text, (size_t)*room, sizeof(double));
        }
        d->text[d->info.count++] = value;
        ++*ncolumn;
    }
    return true;
}

static bool open_text(dataset *d, const char *path, char *why, size_t size)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        snprintf(why, size, "'%s' cannot be opened: %s", path, strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t line_room = 0;
    int64_t room = 0, nrow = 0, columns = 0, number = 0;
    bool good = true;
    while (good && getline(&line, &line_room, f) >= 0) {
        number++;
        char *first = skip_blanks(line);
        int64_t n = 0;
        if (!*first || *first == '#' || *first == '%') {
            continue;
        }
        if (!take_line(d, first, &room, &n)) {
            snprintf(why, size, "'%s': line %lld is no list of numbers", path, (long long)number);
            good = false;
        } else if (nrow > 0 && n != columns) {
            snprintf(why, size, "'%s': line %lld has %lld numbers, those before have %lld", path, (long long)number, (long long)n,
                     (long long)columns);
            good = false;
        }
        columns = n;
        nrow++;
    }
    free(line);
    fclose(f);
    d->info.rank = columns > 1 ? 2 : 1;
    d->info.dims[0] = nrow;
    d->info.dims[1] = columns;
    return good;
}

/* --- HDF5 ------------------------------------------------------------------------------------------------------------------ */
static bool open_store(dataset *d, const char *path, const char *colon, char *why, size_t size)
{
    const char *reason = NULL;
    char *file = memory_text("%.*s", (int)(colon - path), path);
    d->name = memory_text("%s", colon + 1);
    d->store = store_open_read(file, &reason);
    bool good = d->store != NULL;
    if (!good) {
        snprintf(why, size, "%s: %s", file, reason);
    } else {
        store_info info = store_look(d->store, d->name);
        d->info.rank = info.rank;
        d->info.whole = info.type != STORE_F32 && info.type != STORE_F64;
        memcpy(d->info.dims, info.dims, sizeof info.dims);
        good = info.found;
        if (!good) {
            snprintf(why, size, "%s has no dataset %s of numbers", file, d->name);
        } else if (store_read_attr_number(d->store, d->name, "MATLAB_empty", 0) == 1) { /* MATLAB writes the shape of an empty array in its place */
            d->info.rank = 1;
            d->info.dims[0] = 0;
        }
    }
    memory_free(file);
    return good;
}

/* --- any ------------------------------------------------------------------------------------------------------------------- */
static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

static bool is_npy(const char *path)
{
    char head[6] = "";
    FILE *f = fopen(path, "rb");
    bool magic = f && fread(head, 1, 6, f) == 6 && memcmp(head, "\x93NUMPY", 6) == 0;
    if (f) {
        fclose(f);
    }
    return magic || ends_in(path, ".npy");
}

dataset *dataset_open(const char *path, char *why, size_t size)
{
    dataset *d = MEMORY_NEW(dataset, 1);
    const char *colon = strstr(path, ":/"), *reason = NULL;
    bool good;
    if (colon) {
        good = open_store(d, path, colon, why, size);
    } else if (is_npy(path)) {
        good = d->is_npy = npy_open(&d->npy, path, &reason);
        if (good) {
            d->info.rank = d->npy.rank;
            d->info.whole = d->npy.kind != 'f';
            memcpy(d->info.dims, d->npy.dims, sizeof d->npy.dims);
        } else {
            snprintf(why, size, "%s %s", path, reason);
        }
    } else if (ends_in(path, ".h5") || ends_in(path, ".hdf5") || ends_in(path, ".mat") || ends_in(path, ".nwb")) {
        snprintf(why, size, "'%s' names no dataset; give FILE.h5:/NAME", path);
        good = false;
    } else {
        good = open_text(d, path, why, size);
    }
    if (!good) {
        dataset_close(d);
        return NULL;
    }
    d->info.count = 1;
    for (int i = 0; i < d->info.rank; i++) {
        d->info.count *= d->info.dims[i];
    }
    return d;
}

void dataset_close(dataset *d)
{
    if (!d) {
        return;
    }
    if (d->store) {
        store_close_read(d->store);
    }
    npy_close(&d->npy);
    memory_free(d->name);
    memory_free(d->text);
    memory_free(d);
}

dataset_info dataset_look(const dataset *d)
{
    return d->info;
}

/* Elements [first, first + n) of the array as it lies in the file. */
static bool read_run(dataset *d, int64_t first, int64_t n, double *to)
{
    if (d->is_npy) {
        return npy_read(&d->npy, first, n, to);
    }
    memcpy(to, d->text + first, (size_t)n * sizeof(double));
    return true;
}

/* Slab by runs: what is whole from dimension `depth` on lies together. */
static bool read_slab(dataset *d, int depth, int64_t first, const int64_t *start, const int64_t *count, double **to)
{
    int64_t inner = 1, wanted = 1;
    bool together = true;
    for (int i = depth; i < d->info.rank; i++) {
        together = together && (i == depth || count[i] == d->info.dims[i]);
        inner *= i > depth ? d->info.dims[i] : 1;
        wanted *= count[i];
    }
    if (together) {
        bool good = read_run(d, first + (d->info.rank > depth ? start[depth] * inner : 0), wanted, *to);
        *to += wanted;
        return good;
    }
    for (int64_t i = 0; i < count[depth]; i++) {
        if (!read_slab(d, depth + 1, first + (start[depth] + i) * inner, start, count, to)) {
            return false;
        }
    }
    return true;
}

bool dataset_read(dataset *d, const int64_t *start, const int64_t *count, double *to)
{
    for (int i = 0; i < d->info.rank; i++) {
        if (start[i] < 0 || count[i] < 0 || start[i] + count[i] > d->info.dims[i]) {
            return false;
        }
        if (count[i] == 0) {
            return true;
        }
    }
    return d->store ? store_read(d->store, d->name, STORE_F64, start, count, to) : read_slab(d, 0, 0, start, count, &to);
}

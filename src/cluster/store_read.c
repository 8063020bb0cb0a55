/* store_read.c - looking, reading and digests. */
#include "cluster/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"

static const size_t DIGEST_BLOCK_BYTES = (size_t)8 << 20;

/* --- opening ------------------------------------------------------------------------------------------------------------- */

/* NULL if it can be opened and read. */
static const char *why_unreadable(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return strerror(errno);
    }
    bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    close(fd);
    return file ? NULL : "not a file";
}

store *store_open_read(const char *path, const char **why)
{
    store_quiet();
    *why = why_unreadable(path);
    if (*why) {
        return NULL;
    }
    if (H5Fis_hdf5(path) <= 0) {
        *why = "not an HDF5 file, or a run that was killed before it wrote anything";
        return NULL;
    }
    hid_t access = store_access(false), file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (file < 0) {
        *why = store_reason(path);
    }
    H5Pclose(access);
    if (file < 0) {
        return NULL;
    }
    store *s = store_new(path);
    s->file = file;
    return s;
}

store *store_open_inside(const char *path, const char **name, const char **why)
{
    const char *colon = strrchr(path, ':');
    if (!colon || colon[1] != '/') {
        *why = "it names nothing in the file; write FILE.h5:/NAME";
        return NULL;
    }
    *name = colon + 1;
    char *file = memory_text("%.*s", (int)(colon - path), path);
    store *s = store_open_read(file, why);
    memory_free(file);
    return s;
}

store *store_open_parallel(const char *path, const char **why)
{
    static char reason[256]; /* rank 0's, on every rank */
    reason[0] = 0;
    if (comm_rank() == 0) {
        store *trial = store_open_read(path, why);
        if (trial) {
            store_close_read(trial);
        } else {
            snprintf(reason, sizeof reason, "%s", *why);
        }
    }
    comm_broadcast(reason, sizeof reason, 0);
    *why = reason[0] ? reason : NULL;
    if (*why) {
        return NULL;
    }
    store *s = store_new(path);
    hid_t access = store_access(true);
    s->file = store_checked(s, H5Fopen(path, H5F_ACC_RDONLY, access), "opening", NULL);
    H5Pclose(access);
    return s;
}

void store_close_read(store *s)
{
    if (s) {
        store_close_arrays(s);
        store_checked(s, H5Fclose(s->file), "closing", NULL);
        store_free(s);
    }
}

/* --- numbers --------------------------------------------------------------------------------------------------------------- */

store_info store_look(store *s, const char *name)
{
    store_info info = {0};
    const store_array *a = store_find(s, name);
    if (a) {
        info.found = true;
        info.type = a->type;
        info.rank = a->rank;
        for (int d = 0; d < a->rank; d++) {
            info.dims[d] = (int64_t)a->dims[d];
        }
    }
    return info;
}

bool store_read(store *s, const char *name, enum store_type type, const int64_t *start, const int64_t *count, void *data)
{
    const store_array *a = store_find(s, name);
    if (!a) {
        return false;
    }
    hsize_t from[STORE_MAX_RANK], n[STORE_MAX_RANK], total = 1;
    for (int d = 0; d < a->rank; d++) {
        int64_t first = start ? start[d] : 0, many = count ? count[d] : (int64_t)a->dims[d] - first;
        if (first < 0 || many < 0 || first + many > (int64_t)a->dims[d]) {
            return false;
        }
        from[d] = (hsize_t)first;
        n[d] = (hsize_t)many;
        total *= n[d];
    }
    if (total == 0) {
        return true;
    }
    if (a->rank == 0) {
        return H5Dread(a->id, store_memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    }
    hid_t in_file = H5Dget_space(a->id), in_memory = H5Screate_simple(a->rank, n, NULL);
    bool done = in_file >= 0 && in_memory >= 0 && H5Sselect_hyperslab(in_file, H5S_SELECT_SET, from, NULL, n, NULL) >= 0 &&
                H5Dread(a->id, store_memory_type(type), in_memory, in_file, H5P_DEFAULT, data) >= 0;
    H5Sclose(in_memory);
    H5Sclose(in_file);
    return done;
}

/* --- references -------------------------------------------------------------------------------------------------------------- */

/* The dataset `name` if it holds object references, else < 0; *n elements. */
static hid_t open_references(store *s, const char *name, int *rank, int64_t *dims, int64_t *n)
{
    hid_t set = store_exists(s, name) ? H5Dopen2(s->file, name, H5P_DEFAULT) : -1;
    if (set < 0) {
        return -1;
    }
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    hsize_t shape[STORE_MAX_RANK] = {0};
    *rank = H5Sget_simple_extent_ndims(space);
    bool ours = H5Tequal(type, H5T_STD_REF_OBJ) > 0 && *rank >= 0 && *rank <= STORE_MAX_RANK &&
                H5Sget_simple_extent_dims(space, shape, NULL) == *rank;
    *n = 1;
    for (int d = 0; ours && d < *rank; d++) {
        dims[d] = (int64_t)shape[d];
        *n *= dims[d];
    }
    H5Sclose(space);
    H5Tclose(type);
    if (!ours) {
        H5Dclose(set);
        return -1;
    }
    return set;
}

int64_t store_look_references(store *s, const char *name, int *rank, int64_t *dims)
{
    int64_t n = 0;
    hid_t set = open_references(s, name, rank, dims, &n);
    if (set < 0) {
        return 0;
    }
    H5Dclose(set);
    return n;
}

char *store_read_reference(store *s, const char *name, int64_t i)
{
    int rank;
    int64_t dims[STORE_MAX_RANK], n = 0;
    hid_t set = open_references(s, name, &rank, dims, &n);
    if (set < 0) {
        return NULL;
    }
    hobj_ref_t *all = MEMORY_NEW(hobj_ref_t, n);
    char *target = NULL;
    if (i >= 0 && i < n && H5Dread(set, H5T_STD_REF_OBJ, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0) {
        ssize_t length = H5Rget_name(set, H5R_OBJECT, &all[i], NULL, 0);
        if (length > 0) {
            target = MEMORY_NEW(char, length + 1);
            H5Rget_name(set, H5R_OBJECT, &all[i], target, (size_t)length + 1);
        }
    }
    memory_free(all);
    H5Dclose(set);
    return target;
}

/* --- text ------------------------------------------------------------------------------------------------------------------- */

/* Reads one string of a dataset or an attribute, of variable or fixed length. */
static char *read_text(hid_t object, bool is_attr)
{
    hid_t in_file = is_attr ? H5Aget_type(object) : H5Dget_type(object), space = is_attr ? H5Aget_space(object) : H5Dget_space(object);
    char *text = NULL;
    if (in_file >= 0 && space >= 0 && H5Tget_class(in_file) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1) {
        bool variable = H5Tis_variable_str(in_file) > 0;
        hid_t type = H5Tcopy(H5T_C_S1);
        size_t bytes = variable ? 0 : H5Tget_size(in_file) + 1;
        char *fixed = MEMORY_NEW(char, bytes), *given = NULL;
        void *to = variable ? (void *)&given : (void *)fixed;
        H5Tset_size(type, variable ? H5T_VARIABLE : bytes);
        H5Tset_cset(type, H5Tget_cset(in_file));
        if ((is_attr ? H5Aread(object, type, to) : H5Dread(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to)) >= 0) {
            text = memory_text("%s", !variable ? fixed : given ? given : "");
        }
        H5free_memory(given);
        memory_free(fixed);
        H5Tclose(type);
    }
    H5Sclose(space);
    H5Tclose(in_file);
    return text;
}

char *store_read_text(store *s, const char *name)
{
    hid_t set = store_exists(s, name) ? H5Dopen2(s->file, name, H5P_DEFAULT) : -1;
    char *text = NULL;
    if (set >= 0) {
        text = read_text(set, false);
        H5Dclose(set);
    }
    return text;
}

static hid_t open_attribute(store *s, const char *object, const char *attr)
{
    const char *name = object && *object ? object : "/";
    return store_exists(s, name) && H5Aexists_by_name(s->file, name, attr, H5P_DEFAULT) > 0
               ? H5Aopen_by_name(s->file, name, attr, H5P_DEFAULT, H5P_DEFAULT)
               : -1;
}

char *store_read_attr_text(store *s, const char *object, const char *attr)
{
    hid_t a = open_attribute(s, object, attr);
    char *text = NULL;
    if (a >= 0) {
        text = read_text(a, true);
        H5Aclose(a);
    }
    return text;
}

double store_read_attr_number(store *s, const char *object, const char *attr, double otherwise)
{
    hid_t a = open_attribute(s, object, attr);
    if (a < 0) {
        return otherwise;
    }
    hid_t space = H5Aget_space(a);
    double value;
    bool done = H5Sget_simple_extent_npoints(space) == 1 && H5Aread(a, H5T_NATIVE_DOUBLE, &value) >= 0;
    H5Sclose(space);
    H5Aclose(a);
    return done ? value : otherwise;
}

/* --- lists and digests -------------------------------------------------------------------------------------------------------- */

typedef struct name_list {
    char **item;
    size_t n, room;
    const char *group, *skip;
} name_list;

static herr_t note_name(hid_t at, const char *name, const H5O_info_t *info, void *to)
{
    (void)at;
    name_list *l = to;
    if (info->type != H5O_TYPE_DATASET) {
        return 0;
    }
    char *whole = memory_text("%s/%s", strcmp(l->group, "/") == 0 ? "" : l->group, name);
    if (l->skip && strncmp(whole, l->skip, strlen(l->skip)) == 0) {
        memory_free(whole);
        return 0;
    }
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 32;
        l->item = memory_grow(l->item, l->room, sizeof *l->item);
    }
    l->item[l->n++] = whole;
    return 0;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *store_list(store *s, const char *group)
{
    name_list names = {.group = group};
    char *text = memory_text("%s", "");
    if (store_exists(s, group)) {
        store_checked(s, H5Ovisit_by_name2(s->file, group, H5_INDEX_NAME, H5_ITER_INC, note_name, &names, H5O_INFO_BASIC, H5P_DEFAULT), "listing",
                      group);
    }
    for (size_t i = 0; i < names.n; i++) {
        const char *name = strrchr(names.item[i], '/') + 1;
        bool direct = strncmp(names.item[i], group, strlen(group)) == 0 && (size_t)(name - names.item[i]) == strlen(group) + 1;
        char *longer = memory_text("%s%s%s", text, direct ? name : "", direct ? "\n" : "");
        memory_free(text);
        memory_free(names.item[i]);
        text = longer;
    }
    memory_free(names.item);
    return text;
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo; IETF draft-eastlake-fnv). */
static uint64_t fnv(uint64_t digest, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) {
        digest = (digest ^ p[i]) * 0x100000001B3ull;
    }
    return digest;
}

/* The shape counts too, then all elements, row by row, whatever the chunks are. */
static uint64_t digest_numbers(store *s, hid_t set, const char *name, uint64_t digest)
{
    hid_t in_file = H5Dget_type(set), type = store_checked(s, H5Tcopy(in_file), "type of", name);
    hid_t space = store_checked(s, H5Dget_space(set), "shape of", name);
    hsize_t dims[H5S_MAX_RANK] = {1}, from[H5S_MAX_RANK] = {0};
    int rank = (int)store_checked(s, H5Sget_simple_extent_dims(space, dims, NULL), "shape of", name);
    if (H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT) {
        store_checked(s, H5Tset_order(type, H5T_ORDER_LE), "type of", name);
    }
    size_t row = H5Tget_size(type);
    for (int d = 0; d < rank; d++) {
        uint64_t n = dims[d];
        digest = fnv(digest, &n, sizeof n);
        row *= d > 0 ? (size_t)n : 1;
    }
    hsize_t rows = rank > 0 ? dims[0] : 1, block = row > 0 && DIGEST_BLOCK_BYTES > row ? DIGEST_BLOCK_BYTES / row : 1;
    block = block < rows ? block : rows;
    char *data = memory_alloc(row > 0 ? block * row : 0, 1);
    for (; row > 0 && from[0] < rows; from[0] += block) {
        dims[0] = rows - from[0] < block ? rows - from[0] : block;
        hid_t in_memory = H5S_ALL;
        if (rank > 0) {
            in_memory = store_checked(s, H5Screate_simple(rank, dims, NULL), "shape of", name);
            store_checked(s, H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, dims, NULL), "selecting in", name);
        }
        store_checked(s, H5Dread(set, type, in_memory, rank > 0 ? space : H5S_ALL, H5P_DEFAULT, data), "reading", name);
        digest = fnv(digest, data, dims[0] * row);
        if (rank > 0) {
            H5Sclose(in_memory);
        }
    }
    memory_free(data);
    H5Sclose(space);
    H5Tclose(type);
    H5Tclose(in_file);
    return digest;
}

static uint64_t digest_of(store *s, const char *name)
{
    hid_t set = store_checked(s, H5Dopen2(s->file, name, H5P_DEFAULT), "opening", name), type = H5Dget_type(set);
    bool is_text = H5Tget_class(type) == H5T_STRING;
    uint64_t digest = 0xCBF29CE484222325ull;
    H5Tclose(type);
    char *text = is_text ? read_text(set, false) : NULL;
    if (text) {
        digest = fnv(digest, text, strlen(text));
    } else if (!is_text) {
        digest = digest_numbers(s, set, name, digest);
    }
    memory_free(text);
    store_checked(s, H5Dclose(set), "closing", name);
    return digest;
}

char *store_digests(const char *path, const char *group, const char *skip)
{
    const char *why;
    store *s = store_open_read(path, &why);
    if (!s) {
        error_fatal(EXIT_NO_INPUT, "'%s' cannot be opened: %s; give a finished result", path, why);
    }
    name_list names = {.group = group, .skip = skip};
    char *text = memory_text("%s", "");
    size_t length = 0;
    if (store_exists(s, group)) {
        store_checked(s, H5Ovisit_by_name2(s->file, group, H5_INDEX_NAME, H5_ITER_INC, note_name, &names, H5O_INFO_BASIC, H5P_DEFAULT), "listing",
                      group);
    }
    if (names.n > 0) {
        qsort(names.item, names.n, sizeof *names.item, name_order);
    }
    for (size_t i = 0; i < names.n; i++) {
        char *line = memory_text("%s %016llx\n", names.item[i], (unsigned long long)digest_of(s, names.item[i]));
        size_t n = strlen(line);
        text = memory_grow(text, length + n + 1, 1);
        memcpy(text + length, line, n + 1);
        length += n;
        memory_free(line);
        memory_free(names.item[i]);
    }
    memory_free(names.item);
    store_close_read(s);
    return text;
}

/* store_own.c - an open file, its arrays, and how a run ends when HDF5 fails. */
#include "cluster/store_own.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"

/* --- failing --------------------------------------------------------------------------------------------------------- */

void store_quiet(void)
{
    static bool done;
    if (!done) {
        H5dont_atexit();
        H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
        done = true;
    }
}

static herr_t look_for_cause(unsigned n, const H5E_error2_t *e, void *text)
{
    static const char *const telling[] = {"errno", "truncated", "No space", "NO_SPACE"};
    bool tells = n == 0; /* the innermost, unless another one says more */
    for (int i = 0; i < 4; i++) {
        tells = tells || (e->desc && strstr(e->desc, telling[i]));
    }
    if (tells && e->desc) {
        snprintf(text, 256, "%s", e->desc);
    }
    return 0;
}

const char *store_reason(const char *path)
{
    static _Thread_local char text[256];
    snprintf(text, sizeof text, "HDF5 gives no reason");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, look_for_cause, text);
    struct statvfs fs;
    bool full = statvfs(path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < ((uint64_t)1 << 20);
    if (full || strstr(text, "No space") || strstr(text, "NO_SPACE")) {
        return "disk full";
    }
    return strstr(text, "truncated") ? "the file is truncated" : text;
}

_Noreturn void store_fail(store *s, const char *doing, const char *name)
{
    const char *file = s->part ? s->part : s->path, *reason = store_reason(file);
    const struct timespec wait = {0, 300000000};
    if (comm_rank() > 0) { /* what fails on all ranks is told by the first, which ends the others */
        nanosleep(&wait, NULL);
    }
    if (s->locked) {
        unlink(s->lock);
    }
    const char *advice = strcmp(reason, "disk full") == 0 ? "; free some space or choose another --out" : "";
    error_fatal(s->created || !s->part ? EXIT_IO : EXIT_NO_OUTPUT, "'%s': %s%s%s failed: %s%s", file, doing, name ? " " : "", name ? name : "",
                reason, advice);
}

hid_t store_checked(store *s, hid_t result, const char *doing, const char *name)
{
    if (result < 0) {
        store_fail(s, doing, name);
    }
    return result;
}

/* --- one file -------------------------------------------------------------------------------------------------------- */

store *store_new(const char *path)
{
    store_quiet();
    store *s = MEMORY_NEW(store, 1);
    s->path = memory_text("%s", path);
    s->file = -1;
    s->transfer = H5P_DEFAULT;
    return s;
}

void store_free(store *s)
{
    memory_free(s->path);
    memory_free(s->part);
    memory_free(s->lock);
    memory_free(s->scratch);
    memory_free(s);
}

hid_t store_access(bool parallel)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5AC_cache_config_t cache = {.version = H5AC__CURR_CACHE_CONFIG_VERSION};
    bool done = access >= 0 && H5Pset_file_locking(access, 1, 1) >= 0 && (!parallel || H5Pset_fapl_mpio(access, MPI_COMM_WORLD, MPI_INFO_NULL) >= 0);
    if (done && parallel) {
        /* Tables stay in memory between flushes: what is on disk is whole as of the last one, whenever the run is killed. */
        done = H5Pget_mdc_config(access, &cache) >= 0;
        cache.evictions_enabled = 0;
        cache.incr_mode = H5C_incr__off;
        cache.flash_incr_mode = H5C_flash_incr__off;
        cache.decr_mode = H5C_decr__off;
        cache.dirty_bytes_threshold = (size_t)8 << 20;
        done = done && H5Pset_mdc_config(access, &cache) >= 0;
        /* No cache of chunks: cutting an array leaves its last chunk in there, which would later overwrite what ranks wrote past it. */
        done = done && H5Pset_cache(access, 0, 521, 0, 1.0) >= 0;
    }
    if (!done) {
        error_fatal(EXIT_IO, "HDF5's file access properties cannot be set: %s", store_reason("."));
    }
    return access;
}

/* --- arrays ----------------------------------------------------------------------------------------------------------- */

hid_t store_memory_type(enum store_type type)
{
    switch (type) {
    case STORE_F32: return H5T_NATIVE_FLOAT;
    case STORE_F64: return H5T_NATIVE_DOUBLE;
    case STORE_I32: return H5T_NATIVE_INT32;
    case STORE_I64: return H5T_NATIVE_INT64;
    case STORE_U32: return H5T_NATIVE_UINT32;
    case STORE_U64: return H5T_NATIVE_UINT64;
    case STORE_U8: return H5T_NATIVE_UINT8;
    }
    ASSERT(!"a store_type");
    return -1;
}

size_t store_type_bytes(enum store_type type)
{
    return H5Tget_size(store_memory_type(type));
}

bool store_exists(store *s, const char *name)
{
    char *copy = memory_text("%s", name);
    bool there = true;
    for (char *slash = strchr(copy + (*copy == '/'), '/'); there && slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        there = H5Lexists(s->file, copy, H5P_DEFAULT) > 0;
        *slash = '/';
    }
    there = there && (strcmp(copy, "/") == 0 || (*copy && H5Lexists(s->file, copy, H5P_DEFAULT) > 0));
    memory_free(copy);
    return there;
}

/* The type of ours that holds the file's values; false: no numbers. */
static bool nearest_type(hid_t type, enum store_type *out)
{
    H5T_class_t class_id = H5Tget_class(type);
    size_t bytes = H5Tget_size(type);
    bool is_signed = class_id == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
    if (class_id == H5T_FLOAT) {
        *out = bytes <= 4 ? STORE_F32 : STORE_F64;
    } else if (is_signed) {
        *out = bytes <= 4 ? STORE_I32 : STORE_I64;
    } else {
        *out = bytes == 1 ? STORE_U8 : bytes <= 4 ? STORE_U32 : STORE_U64;
    }
    return class_id == H5T_FLOAT || class_id == H5T_INTEGER;
}

static bool describe(store_array *a)
{
    hid_t type = H5Dget_type(a->id), space = H5Dget_space(a->id);
    bool ours = type >= 0 && space >= 0 && nearest_type(type, &a->type);
    a->rank = ours ? H5Sget_simple_extent_ndims(space) : -1;
    ours = a->rank >= 0 && a->rank <= STORE_MAX_RANK && H5Sget_simple_extent_type(space) != H5S_NULL &&
           H5Sget_simple_extent_dims(space, a->dims, NULL) == a->rank;
    H5Sclose(space);
    H5Tclose(type);
    return ours;
}

store_array *store_find(store *s, const char *name)
{
    const char *plain = name + (*name == '/');
    for (store_array *a = s->arrays; a; a = a->next) {
        if (strcmp(a->name, plain) == 0) {
            return a;
        }
    }
    H5O_info_t info;
    if (!*plain || !store_exists(s, name) || H5Oget_info_by_name2(s->file, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0 ||
        info.type != H5O_TYPE_DATASET) {
        return NULL;
    }
    store_array *a = MEMORY_NEW(store_array, 1);
    a->id = store_checked(s, H5Dopen2(s->file, name, H5P_DEFAULT), "opening", name);
    if (!describe(a)) {
        H5Dclose(a->id);
        memory_free(a);
        return NULL;
    }
    a->name = memory_text("%s", plain);
    a->next = s->arrays;
    s->arrays = a;
    return a;
}

void store_close_arrays(store *s)
{
    while (s->arrays) {
        store_array *a = s->arrays;
        s->arrays = a->next;
        store_checked(s, H5Dclose(a->id), "closing", a->name);
        memory_free(a->name);
        memory_free(a);
    }
}

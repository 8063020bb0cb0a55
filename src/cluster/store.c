/* store.c - writing.  Rank 0 builds the structure with serial HDF5, then all ranks reopen the file through MPI-IO and write slabs
 * collectively.  After a failed call the other ranks may be inside a collective one, so nothing is agreed or closed: the run is aborted. */
#include "cluster/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"

static const hsize_t CHUNK_BYTES = (hsize_t)4 << 20;   /* HDF5 users are advised chunks of 1 to 4 MiB */
static const size_t PIECE_BYTES = (size_t)1 << 30;     /* MPI-IO counts bytes in int */
static const size_t SPARE_BYTES = (size_t)4 << 20;     /* for HDF5's own tables */

/* --- structure of one file ------------------------------------------------------------------------------------------ */

static store *new_for_writing(const char *path)
{
    store *s = store_new(path);
    s->part = memory_text("%s.part", path);
    s->lock = memory_text("%s.lock", path);
    return s;
}

/* Properties of a class, without times: equal runs give equal files. */
static hid_t object_properties(store *s, hid_t class_id)
{
    hid_t p = store_checked(s, H5Pcreate(class_id), "setting properties", NULL);
    store_checked(s, H5Pset_obj_track_times(p, 0), "setting properties", NULL);
    return p;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

store *store_create(const char *path, bool overwrite)
{
    store *s = new_for_writing(path);
    if (comm_rank() != 0) {
        s->created = true;
        return s;
    }
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        error_fatal(EXIT_NO_OUTPUT, "result '%s' is a folder; name a file", path);
    }
    if (!overwrite && exists(path)) {
        error_fatal(EXIT_NO_OUTPUT, "result '%s' exists already; choose another --out or give --overwrite", path);
    }
    store_lock_take(s);
    hid_t access = store_access(false), creation = object_properties(s, H5P_FILE_CREATE);
    s->file = store_checked(s, H5Fcreate(s->part, H5F_ACC_TRUNC, creation, access), "creating the file", NULL);
    s->created = true;
    H5Pclose(creation);
    H5Pclose(access);
    return s;
}

/* --- structure: rank 0 ------------------------------------------------------------------------------------------------ */

static bool defines(const store *s)
{
    ASSERT(!s->begun);
    return comm_rank() == 0;
}

static hid_t file_type(enum store_type type)
{
    switch (type) {
    case STORE_F32: return H5T_IEEE_F32LE;
    case STORE_F64: return H5T_IEEE_F64LE;
    case STORE_I32: return H5T_STD_I32LE;
    case STORE_I64: return H5T_STD_I64LE;
    case STORE_U32: return H5T_STD_U32LE;
    case STORE_U64: return H5T_STD_U64LE;
    case STORE_U8: return H5T_STD_U8LE;
    }
    ASSERT(!"a store_type");
    return -1;
}

static hid_t text_type(store *s)
{
    hid_t t = store_checked(s, H5Tcopy(H5T_C_S1), "text type", NULL);
    store_checked(s, H5Tset_size(t, H5T_VARIABLE), "text type", NULL);
    store_checked(s, H5Tset_cset(t, H5T_CSET_UTF8), "text type", NULL);
    return t;
}

static hid_t link_properties(store *s)
{
    hid_t p = store_checked(s, H5Pcreate(H5P_LINK_CREATE), "setting properties", NULL);
    store_checked(s, H5Pset_create_intermediate_group(p, 1), "setting properties", NULL);
    return p;
}

void store_define_group(store *s, const char *name)
{
    if (!defines(s) || store_exists(s, name)) {
        return;
    }
    hid_t links = link_properties(s), creation = object_properties(s, H5P_GROUP_CREATE);
    hid_t group = store_checked(s, H5Gcreate2(s->file, name, links, creation, H5P_DEFAULT), "creating group", name);
    H5Gclose(group);
    H5Pclose(creation);
    H5Pclose(links);
}

/* Groups above an object, so that they too are made without times. */
static void define_parents(store *s, const char *name)
{
    char *copy = memory_text("%s", name);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        store_define_group(s, copy);
        *slash = '/';
    }
    memory_free(copy);
}

static hid_t define_dataset(store *s, const char *name, hid_t type, hid_t space, hid_t creation)
{
    define_parents(s, name);
    return store_checked(s, H5Dcreate2(s->file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT), "creating dataset", name);
}

/* chunk_first whole rows, cut down to CHUNK_BYTES: first y, then channels, then rows, at last x, in equal parts. */
static void plan_chunk(int rank, const int64_t *dims, int64_t chunk_first, size_t bytes, hsize_t *chunk)
{
    int order[STORE_MAX_RANK + 1], n = 0;
    hsize_t size = bytes;
    for (int d = rank - 2; d >= 1; d--) {
        order[n++] = d;
    }
    order[n++] = 0;
    order[n++] = rank - 1;
    for (int d = 0; d < rank; d++) {
        chunk[d] = (hsize_t)(d == 0 ? chunk_first : dims[d] > 0 ? dims[d] : 1);
        size *= chunk[d];
    }
    for (int i = 0; i < n && size > CHUNK_BYTES; i++) {
        hsize_t *c = &chunk[order[i]], whole = *c, parts = (size + CHUNK_BYTES - 1) / CHUNK_BYTES;
        *c = parts >= whole ? 1 : (whole + parts - 1) / parts;
        size = size / whole * *c;
    }
}

void store_define_array(store *s, const char *name, enum store_type type, int rank, const int64_t *dims, int64_t chunk_first, const char *unit)
{
    ASSERT(rank >= 1 && rank <= STORE_MAX_RANK && chunk_first >= 0);
    if (!defines(s)) {
        return;
    }
    hsize_t now[STORE_MAX_RANK], most[STORE_MAX_RANK], chunk[STORE_MAX_RANK];
    for (int d = 0; d < rank; d++) {
        ASSERT(dims[d] >= 0);
        now[d] = most[d] = (hsize_t)dims[d];
    }
    hid_t creation = object_properties(s, H5P_DATASET_CREATE);
    store_checked(s, H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "setting properties of", name);
    store_checked(s, H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "setting properties of", name);
    if (chunk_first > 0) {
        most[0] = H5S_UNLIMITED;
        plan_chunk(rank, dims, chunk_first, store_type_bytes(type), chunk);
        store_checked(s, H5Pset_chunk(creation, rank, chunk), "setting chunks of", name);
    }
    hid_t space = store_checked(s, H5Screate_simple(rank, now, most), "shape of", name);
    hid_t set = define_dataset(s, name, file_type(type), space, creation);
    store_checked(s, H5Dclose(set), "creating dataset", name);
    H5Sclose(space);
    H5Pclose(creation);
    if (unit && *unit) {
        store_attr_text(s, name, "units", unit);
    }
}

void store_define_values(store *s, const char *name, enum store_type type, int rank, const int64_t *dims, const char *unit, const void *values)
{
    ASSERT(rank >= 0 && rank <= STORE_MAX_RANK);
    if (!defines(s)) {
        return;
    }
    hsize_t now[STORE_MAX_RANK];
    int64_t n = 1;
    for (int d = 0; d < rank; d++) {
        now[d] = (hsize_t)dims[d];
        n *= dims[d];
    }
    hid_t creation = object_properties(s, H5P_DATASET_CREATE);
    hid_t space = store_checked(s, rank > 0 ? H5Screate_simple(rank, now, NULL) : H5Screate(H5S_SCALAR), "shape of", name);
    hid_t set = define_dataset(s, name, file_type(type), space, creation);
    if (n > 0) {
        store_checked(s, H5Dwrite(set, store_memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "writing", name);
    }
    store_checked(s, H5Dclose(set), "writing", name);
    H5Sclose(space);
    H5Pclose(creation);
    if (unit && *unit) {
        store_attr_text(s, name, "units", unit);
    }
}

void store_define_text(store *s, const char *name, const char *text)
{
    if (!defines(s)) {
        return;
    }
    hid_t creation = object_properties(s, H5P_DATASET_CREATE), type = text_type(s);
    hid_t space = store_checked(s, H5Screate(H5S_SCALAR), "shape of", name), set = define_dataset(s, name, type, space, creation);
    store_checked(s, H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &text), "writing", name);
    store_checked(s, H5Dclose(set), "writing", name);
    H5Sclose(space);
    H5Tclose(type);
    H5Pclose(creation);
}

void store_define_link(store *s, const char *existing, const char *name)
{
    if (defines(s)) {
        define_parents(s, name);
        store_checked(s, H5Lcreate_hard(s->file, existing, s->file, name, H5P_DEFAULT, H5P_DEFAULT), "linking", name);
    }
}

/* --- attributes: rank 0 before store_begin, all ranks after it ---------------------------------------------------------- */

/* n = 0: a scalar.  An attribute of that name is replaced. */
static void write_attribute(store *s, const char *object, const char *attr, hid_t in_file, hid_t in_memory, int n, const void *value)
{
    const char *name = object && *object ? object : "/";
    hsize_t count = (hsize_t)n;
    hid_t at = store_checked(s, H5Oopen(s->file, name, H5P_DEFAULT), "opening", name);
    if (store_checked(s, H5Aexists(at, attr), "looking for an attribute of", name) > 0) {
        store_checked(s, H5Adelete(at, attr), "replacing an attribute of", name);
    }
    hid_t space = store_checked(s, n > 0 ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR), "shape of attribute", attr);
    hid_t a = store_checked(s, H5Acreate2(at, attr, in_file, space, H5P_DEFAULT, H5P_DEFAULT), "creating attribute", attr);
    store_checked(s, H5Awrite(a, in_memory, value), "writing attribute", attr);
    store_checked(s, H5Aclose(a), "writing attribute", attr);
    H5Sclose(space);
    store_checked(s, H5Oclose(at), "writing attribute", attr);
}

static bool writes_attributes(const store *s)
{
    return s->begun || comm_rank() == 0;
}

void store_attr_text(store *s, const char *object, const char *attr, const char *text)
{
    if (writes_attributes(s)) {
        hid_t type = text_type(s);
        write_attribute(s, object, attr, type, type, 0, &text);
        H5Tclose(type);
    }
}

void store_attr_number(store *s, const char *object, const char *attr, double value)
{
    if (writes_attributes(s)) {
        write_attribute(s, object, attr, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, &value);
    }
}

void store_attr_integers(store *s, const char *object, const char *attr, enum store_type type, int n, const int64_t *values)
{
    if (writes_attributes(s)) {
        write_attribute(s, object, attr, file_type(type), H5T_NATIVE_INT64, n, values);
    }
}

void store_attr_sorting(store *s, const char *object, int value)
{
    static const char *const names[] = {"none", "by_id", "by_time"};
    ASSERT(value >= 0 && value < 3);
    if (!writes_attributes(s)) {
        return;
    }
    hid_t type = store_checked(s, H5Tenum_create(H5T_STD_U8LE), "type of attribute", "sorting");
    for (int i = 0; i < 3; i++) {
        uint8_t v = (uint8_t)i;
        store_checked(s, H5Tenum_insert(type, names[i], &v), "type of attribute", "sorting");
    }
    uint8_t mine = (uint8_t)value;
    write_attribute(s, object, "sorting", type, type, 0, &mine);
    H5Tclose(type);
}

/* --- writing: all ranks ------------------------------------------------------------------------------------------------ */

static void open_parallel(store *s)
{
    hid_t access = store_access(true);
    s->file = store_checked(s, H5Fopen(s->part, H5F_ACC_RDWR, access), "opening for parallel writing", NULL);
    H5Pclose(access);
    s->transfer = store_checked(s, H5Pcreate(H5P_DATASET_XFER), "setting properties", NULL);
    store_checked(s, H5Pset_dxpl_mpio(s->transfer, H5FD_MPIO_COLLECTIVE), "setting properties", NULL);
    s->created = s->begun = s->locked = true; /* any rank that fails removes the lock */
}

void store_begin(store *s)
{
    ASSERT(!s->begun);
    if (comm_rank() == 0) {
        store_close_arrays(s);
        store_checked(s, H5Fclose(s->file), "writing the structure", NULL);
    }
    comm_barrier();
    open_parallel(s);
    store_flush(s);
}

/* Rows [*first, *first + *n) of this piece of a write, so that no piece exceeds PIECE_BYTES; all ranks make the same number of pieces. */
static int64_t count_pieces(const store_array *a, const int64_t *count, size_t bytes, int64_t *rows_each)
{
    size_t row = bytes;
    for (int d = 1; d < a->rank; d++) {
        row *= (size_t)count[d];
    }
    *rows_each = row == 0 || PIECE_BYTES / row == 0 ? 1 : (int64_t)(PIECE_BYTES / row);
    double pieces = row == 0 ? 1 : (double)((count[0] + *rows_each - 1) / *rows_each);
    comm_max_double(&pieces, 1);
    return pieces < 1 ? 1 : (int64_t)pieces;
}

/* Data of another type is converted here: HDF5 would give up collective writing to do it. */
static const void *as_in_file(store *s, const store_array *a, enum store_type type, size_t n, const void *data)
{
    if (type == a->type || n == 0) {
        return data;
    }
    size_t from = store_type_bytes(type), to = store_type_bytes(a->type), bytes = n * (from > to ? from : to);
    if (bytes > s->scratch_bytes) {
        memory_free(s->scratch);
        s->scratch = memory_alloc(bytes, 1);
        s->scratch_bytes = bytes;
    }
    memcpy(s->scratch, data, n * from);
    store_checked(s, H5Tconvert(store_memory_type(type), store_memory_type(a->type), n, s->scratch, NULL, H5P_DEFAULT), "converting", a->name);
    return s->scratch;
}

static void check_collective(store *s, const char *name)
{
    H5D_mpio_actual_io_mode_t mode;
    uint32_t local = 0, global = 0;
    if (s->collective_checked || H5Pget_mpio_actual_io_mode(s->transfer, &mode) < 0 ||
        H5Pget_mpio_no_collective_cause(s->transfer, &local, &global) < 0) {
        return;
    }
    s->collective_checked = true;
    if (mode == H5D_MPIO_NO_COLLECTIVE && global != 0) {
        log_warn("'%s': HDF5 writes %s rank by rank (cause 0x%x), not collectively; output will be slow", s->part, name, (unsigned)global);
    }
}

static void write_piece(store *s, store_array *a, const hsize_t *start, const hsize_t *count, const void *data)
{
    hid_t in_file = store_checked(s, H5Dget_space(a->id), "shape of", a->name);
    hsize_t n = 1, one[STORE_MAX_RANK];
    for (int d = 0; d < a->rank; d++) {
        n *= count[d];
        one[d] = 1;
    }
    hid_t in_memory = store_checked(s, H5Screate_simple(a->rank, n > 0 ? count : one, NULL), "shape of", a->name);
    if (n > 0) {
        store_checked(s, H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL), "selecting in", a->name);
    } else {
        store_checked(s, H5Sselect_none(in_file), "selecting in", a->name);
        store_checked(s, H5Sselect_none(in_memory), "selecting in", a->name);
    }
    store_checked(s, H5Dwrite(a->id, store_memory_type(a->type), in_memory, in_file, s->transfer, data), "writing", a->name);
    check_collective(s, a->name);
    H5Sclose(in_memory);
    H5Sclose(in_file);
}

static store_array *need_array(store *s, const char *name)
{
    store_array *a = store_find(s, name);
    if (!a) {
        store_fail(s, "looking for array", name);
    }
    return a;
}

void store_write(store *s, const char *name, enum store_type type, int64_t rows, const int64_t *start, const int64_t *count, const void *data)
{
    ASSERT(s->begun);
    store_array *a = need_array(s, name);
    if (rows > (int64_t)a->dims[0]) {
        store_set_rows(s, name, rows);
    }
    size_t row = 1;
    for (int d = 0; d < a->rank; d++) {
        ASSERT(start[d] >= 0 && count[d] >= 0 && (count[d] == 0 || start[d] + count[d] <= (int64_t)a->dims[d]));
        row *= d > 0 ? (size_t)count[d] : 1;
    }
    int64_t each, npiece = count_pieces(a, count, store_type_bytes(type), &each);
    static const int64_t nothing[1];
    for (int64_t i = 0; i < npiece; i++) {
        hsize_t from[STORE_MAX_RANK], n[STORE_MAX_RANK];
        int64_t done = i * each < count[0] ? i * each : count[0], left = count[0] - done;
        for (int d = 0; d < a->rank; d++) {
            from[d] = (hsize_t)(d == 0 ? start[0] + done : start[d]);
            n[d] = (hsize_t)(d > 0 ? count[d] : left < each ? left : each);
        }
        const char *at = data ? (const char *)data + (size_t)done * row * store_type_bytes(type) : (const char *)nothing;
        write_piece(s, a, from, n, as_in_file(s, a, type, (size_t)n[0] * row, at));
    }
}

int64_t store_rows(store *s, const char *name)
{
    return (int64_t)need_array(s, name)->dims[0];
}

void store_set_rows(store *s, const char *name, int64_t rows)
{
    store_array *a = need_array(s, name);
    ASSERT(s->begun && rows >= 0);
    if ((hsize_t)rows != a->dims[0]) {
        a->dims[0] = (hsize_t)rows;
        store_checked(s, H5Dset_extent(a->id, a->dims), "setting the length of", name);
    }
}

void store_flush(store *s)
{
    ASSERT(s->begun);
    store_checked(s, H5Fflush(s->file, H5F_SCOPE_GLOBAL), "flushing", NULL);
}

/* --- files and folders: rank 0 ------------------------------------------------------------------------------------------ */

static char *folder_of(const char *path)
{
    char *copy = memory_text("%s", path), *folder = memory_text("%s", dirname(copy));
    memory_free(copy);
    return folder;
}

void store_need_space(store *s, size_t bytes)
{
    struct statvfs fs;
    if (comm_rank() != 0) {
        return;
    }
    char *folder = folder_of(s->path);
    if (statvfs(folder, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < bytes + SPARE_BYTES) {
        unlink(s->lock);
        if (!s->begun) {
            unlink(s->part);
        }
        error_fatal(EXIT_IO, "disk full: '%s' has %.1f MB left in '%s', %.1f MB are needed; free some space or choose another --out", s->path,
                    (double)fs.f_bavail * (double)fs.f_frsize * 1e-6, folder, (double)(bytes + SPARE_BYTES) * 1e-6);
    }
    memory_free(folder);
}

static void sync_path(store *s, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    bool synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL); /* some file systems cannot sync a folder */
    int failed = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (!synced) {
        unlink(s->lock);
        error_fatal(EXIT_IO, "'%s' cannot be brought to disk: %s", path, failed == ENOSPC ? "disk full" : strerror(failed));
    }
}

static void close_file(store *s)
{
    store_close_arrays(s);
    if (s->transfer != H5P_DEFAULT) {
        H5Pclose(s->transfer);
    }
    if (s->file >= 0) {
        store_checked(s, H5Fflush(s->file, H5F_SCOPE_GLOBAL), "flushing", NULL);
        store_checked(s, H5Fclose(s->file), "closing", NULL);
    }
    comm_barrier();
}

void store_close(store *s)
{
    ASSERT(s->part);
    close_file(s);
    if (comm_rank() == 0) {
        char *folder = folder_of(s->path);
        sync_path(s, s->part, O_RDWR);
        if (rename(s->part, s->path) != 0) {
            int failed = errno;
            unlink(s->lock);
            error_fatal(EXIT_IO, "'%s' cannot be renamed to '%s': %s", s->part, s->path, strerror(failed));
        }
        sync_path(s, folder, O_RDONLY | O_DIRECTORY);
        store_lock_release(s);
        memory_free(folder);
    }
    comm_barrier();
    store_free(s);
}

void store_abandon(store *s, bool keep_part)
{
    ASSERT(s->part);
    close_file(s);
    if (comm_rank() == 0) {
        if (!keep_part && unlink(s->part) != 0) {
            log_warn("'%s' cannot be removed: %s", s->part, strerror(errno));
        }
        store_lock_release(s);
    }
    comm_barrier();
    store_free(s);
}

store *store_reopen(const char *path)
{
    store *s = new_for_writing(path);
    int there = 0;
    if (comm_rank() == 0 && exists(s->part)) {
        const char *why;
        there = 1;
        store_lock_take(s);
        store *trial = store_open_read(s->part, &why);
        if (!trial) {
            unlink(s->lock);
            error_fatal(EXIT_IO, "'%s' of the interrupted run cannot be used: %s; remove it and start anew", s->part, why);
        }
        store_close_read(trial);
    }
    comm_broadcast(&there, sizeof there, 0);
    if (!there) {
        store_free(s);
        return NULL;
    }
    open_parallel(s);
    return s;
}

/* store_own.h - what the store*.c files share.  Nobody else includes it. */
#ifndef STORE_OWN_H
#define STORE_OWN_H
#include <hdf5.h>

#include "cluster/store.h"

/* A dataset that was used once stays open until the file is closed. */
typedef struct store_array {
    char *name;
    hid_t id;
    enum store_type type; /* in the file */
    int rank;
    hsize_t dims[STORE_MAX_RANK]; /* now */
    struct store_array *next;
} store_array;

struct store {
    char *path, *part, *lock; /* part, lock: NULL when open for reading */
    hid_t file;               /* < 0: another rank defines the structure */
    hid_t transfer;           /* collective when writing in parallel     */
    bool locked, created, begun, collective_checked;
    store_array *arrays;
    void *scratch; /* for conversion before a collective write */
    size_t scratch_bytes;
};

/* Must come before the first HDF5 call: HDF5 prints nothing and does not flush at exit, where a broken run would hang. */
void store_quiet(void);
/* Stops the run: what was done to which object, why.  Never communicates. */
_Noreturn void store_fail(store *s, const char *doing, const char *name);
/* Result of an HDF5 call, if it is not negative. */
hid_t store_checked(store *s, hid_t result, const char *doing, const char *name);
/* Why the last HDF5 call failed: static text or thread-local buffer. */
const char *store_reason(const char *path);

store *store_new(const char *path);
void store_free(store *s);
void store_close_arrays(store *s);
store_array *store_find(store *s, const char *name); /* opens it on first use; NULL if there is no such array of numbers */
hid_t store_memory_type(enum store_type type);
size_t store_type_bytes(enum store_type type);
bool store_exists(store *s, const char *name); /* "/" and every step of the path */
hid_t store_access(bool parallel);             /* file access properties; H5Pclose them */

/* Serial, rank 0 only.  Fatal (EXIT_NO_OUTPUT) when the lock is held or cannot be made. */
void store_lock_take(store *s);
void store_lock_release(store *s);
#endif

/* device.h - the processor that a test runs on: CHIASM_TEST_DEVICE=cpu (default), guard (the CPU on watched memory, guard.h) or cuda. */
#ifndef DEVICE_H
#define DEVICE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "compute/backend.h"
#include "guard.h"

__attribute__((weak)) int64_t emulate_launches(void); /* of tests/emulate's device */
__attribute__((weak)) int gpu_count(void); /* devices; cuda/ where it is linked in */

static inline const char *test_device(void)
{
    const char *name = getenv("CHIASM_TEST_DEVICE");
    return name ? name : "cpu";
}

/* The guard and the emulated device take long for each op: tests run fewer variants of a model there. */
static inline bool test_is_slow(void)
{
    return strcmp(test_device(), "guard") == 0 || (strcmp(test_device(), "cuda") == 0 && emulate_launches);
}

/* Exits with 77, "skipped: no device", where cuda is wanted and none is there. */
static inline backend *test_backend(int nthread)
{
    if (strcmp(test_device(), "guard") == 0) {
        return guard_open(nthread);
    }
    if (strcmp(test_device(), "cuda") == 0 && (!gpu_count || gpu_count() == 0)) {
        printf("skipped: no device\n");
        exit(77);
    }
    return backend_open(test_device(), nthread);
}

static inline void test_backend_close(backend *be)
{
    if (strcmp(test_device(), "guard") == 0) {
        guard_close(be);
    } else {
        backend_close(be);
    }
}

/* Backend memory with these numbers in it, and its numbers in host memory of the caller's. */
static inline dreal *test_put(backend *be, const real *from, int64_t n)
{
    dreal *p = be->ops->alloc(be, n);
    be->ops->upload(be, p, from, n);
    return p;
}
static inline dreal *test_zeros(backend *be, int64_t n)
{
    dreal *p = be->ops->alloc(be, n);
    be->ops->fill(be, p, 0, n);
    return p;
}
static inline real *test_get(backend *be, const dreal *from, int64_t n)
{
    real *p = MEMORY_NEW(real, n);
    be->ops->download(be, p, from, n);
    return p;
}

/* A view's first nt frames in host memory of the caller's, with the view's strides: host(at)[...] as of the view.  test_give puts them in their place. */
static inline int64_t test_reach(view v, int nt)
{
    return v.nleaf == 0 ? 0 : (v.nleaf - 1) * v.leaf_stride + (nt - 1) * v.frame_stride + (v.nchan - 1) * v.chan_stride + (v.pad_ny - 1) * v.row_stride + v.pad_nx;
}
static inline view test_take(backend *be, view v, int nt)
{
    v.at = v.at ? (dreal *)test_get(be, v.at, test_reach(v, nt)) : NULL;
    return v;
}
static inline void test_give(backend *be, view v, int nt, view taken)
{
    be->ops->upload(be, v.at, host(taken.at), test_reach(v, nt));
}
#endif

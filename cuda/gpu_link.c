/* gpu_link.c - sampling tables: by cells, and for the adjoint by pixels. */
#include "gpu_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

static void *on_device(backend *be, const void *from, size_t bytes)
{
    void *p = gpu_malloc(be, bytes);
    if (bytes > 0) {
        gpu_put(be, p, from, bytes);
    }
    return p;
}

static void *copy_of(const void *from, size_t bytes)
{
    void *p = memory_alloc(bytes > 0 ? bytes : 1, 1);
    memcpy(p, from, bytes);
    return p;
}

link_table *gpu_link_create(backend *be, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight)
{
    link_table *t = MEMORY_NEW(link_table, 1);
    size_t n = (size_t)nleaf * (size_t)ncell_pad * (size_t)nentry;
    int32_t *o = MEMORY_NEW(int32_t, n);
    real *w = MEMORY_NEW(real, n);
    for (int64_t l = 0; l < nleaf; l++) {
        for (int64_t i = 0; i < ncell_pad; i++) {
            for (int64_t k = 0; k < nentry; k++) {
                int64_t from = (l * ncell_pad + i) * nentry + k, to = (l * nentry + k) * ncell_pad + i;
                o[to] = offset[from];
                w[to] = weight[from];
            }
        }
    }
    *t = (link_table){nleaf, ncell_pad, nentry, on_device(be, o, n * sizeof *o), on_device(be, w, n * sizeof *w), MEMORY_NEW(link_pixels, 1)};
    t->pixels->from_offset = copy_of(offset, n * sizeof *offset);
    t->pixels->from_weight = copy_of(weight, n * sizeof *weight);
    memory_free(o);
    memory_free(w);
    return t;
}

void gpu_link_destroy(backend *be, link_table *t)
{
    if (!t) {
        return;
    }
    link_pixels *p = t->pixels;
    const void *device[] = {t->offset, t->weight, p->first, p->offset, p->entry, p->cell, p->weight};
    for (size_t i = 0; i < sizeof device / sizeof *device; i++) {
        gpu_free(be, (void *)device[i]);
    }
    memory_free(p->from_offset);
    memory_free(p->from_weight);
    memory_free(p->leaf_pixel);
    memory_free(p->leaf_offset);
    memory_free(p);
    memory_free(t);
}

void gpu_link(backend *be, const link_table *t, int first_leaf, int nt, view x, view y)
{
    if (nt > 0 && y.nleaf > 0) {
        gpu_link_sample(be, t, first_leaf, nt, x, y);
    }
}

/* --- by pixels ---------------------------------------------------------------------------------------------------------------- */
static int by_number(const void *a_, const void *b_)
{
    uint64_t a = *(const uint64_t *)a_, b = *(const uint64_t *)b_;
    return (a > b) - (a < b);
}

/* Entries of a leaf in the order of their offsets, those of one offset in the order of cells: numbers (offset, entry) in order.  Entries of weight 0
 * fill up the table and are left out. */
static int64_t sorted_entries(const link_table *t, int leaf, uint64_t *key)
{
    int64_t n = 0, all = (int64_t)t->ncell_pad * t->nentry;
    for (int64_t i = 0; i < all; i++) {
        if (t->pixels->from_weight[leaf * all + i] != 0) {
            key[n++] = (uint64_t)((int64_t)t->pixels->from_offset[leaf * all + i] - INT32_MIN) << 32 | (uint64_t)i;
        }
    }
    qsort(key, (size_t)n, sizeof *key, by_number);
    return n;
}

static void make_pixels(backend *be, const link_table *t)
{
    link_pixels *p = t->pixels;
    int64_t all = (int64_t)t->ncell_pad * t->nentry, npixel = 0, nentry = 0;
    ASSERT(all <= UINT32_MAX);
    uint64_t *key = MEMORY_NEW(uint64_t, all);
    int64_t *entry = MEMORY_NEW(int64_t, all * t->nleaf + 1);
    int32_t *cell = MEMORY_NEW(int32_t, all * t->nleaf);
    real *weight = MEMORY_NEW(real, all * t->nleaf);
    p->leaf_pixel = MEMORY_NEW(int64_t, t->nleaf + 1);
    p->leaf_offset = MEMORY_NEW(int32_t, all * t->nleaf);
    for (int l = 0; l < t->nleaf; l++) {
        int64_t n = sorted_entries(t, l, key);
        for (int64_t i = 0; i < n; i++) {
            uint64_t from = key[i] & UINT32_MAX;
            if (i == 0 || key[i] >> 32 != key[i - 1] >> 32) {
                entry[npixel] = nentry;
                p->leaf_offset[npixel++] = (int32_t)((int64_t)(key[i] >> 32) + INT32_MIN);
            }
            cell[nentry] = (int32_t)(from / (uint64_t)t->nentry);
            weight[nentry++] = p->from_weight[l * all + (int64_t)from];
        }
        p->leaf_pixel[l + 1] = npixel;
        p->most = npixel - p->leaf_pixel[l] > p->most ? (int)(npixel - p->leaf_pixel[l]) : p->most;
    }
    entry[npixel] = nentry;
    p->first = on_device(be, p->leaf_pixel, (size_t)(t->nleaf + 1) * sizeof(int64_t));
    p->offset = on_device(be, p->leaf_offset, (size_t)npixel * sizeof(int32_t));
    p->entry = on_device(be, entry, (size_t)(npixel + 1) * sizeof(int64_t));
    p->cell = on_device(be, cell, (size_t)nentry * sizeof(int32_t));
    p->weight = on_device(be, weight, (size_t)nentry * sizeof(real));
    memory_free(key);
    memory_free(entry);
    memory_free(cell);
    memory_free(weight);
    memory_free(p->from_offset);
    memory_free(p->from_weight);
    p->from_offset = NULL;
    p->from_weight = NULL;
}

/* Offsets may lead to other frames.  Where two of a leaf are whole frames apart, different steps give to one pixel. */
static bool offsets_alone(const link_pixels *p, int nleaf, int64_t stride)
{
    bool alone = stride > 0;
    uint64_t *rest = MEMORY_NEW(uint64_t, p->most);
    for (int l = 0; l < nleaf && alone; l++) {
        const int32_t *offset = p->leaf_offset + p->leaf_pixel[l];
        int64_t n = p->leaf_pixel[l + 1] - p->leaf_pixel[l];
        if (n == 0 || (int64_t)offset[n - 1] - offset[0] < stride) {
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            rest[i] = (uint64_t)(((int64_t)offset[i] - offset[0]) % stride);
        }
        qsort(rest, (size_t)n, sizeof *rest, by_number);
        for (int64_t i = 1; i < n; i++) {
            alone = alone && rest[i] != rest[i - 1];
        }
    }
    memory_free(rest);
    return alone;
}

void gpu_link_back(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx)
{
    link_pixels *p = t->pixels;
    if (p->from_offset) {
        make_pixels(be, t);
    }
    if (p->most == 0 || nt < 1 || gy.nleaf < 1) {
        return;
    }
    if (p->stride != gx.frame_stride) {
        p->stride = gx.frame_stride;
        p->alone = offsets_alone(p, t->nleaf, p->stride);
    }
    gpu_link_give(be, t, first_leaf, nt, gy, gx, !p->alone);
}

/* cpu_link.c - sampling of maps at cells. */
#include <string.h>

#include "base/memory.h"
#include "compute/cpu.h"

enum { BLOCK = 256 }; /* cells whose part of the table stays in the first cache over a chunk */

struct link_table {
    int ncell_pad, nentry;
    int32_t *offset; /* [leaf][entry][cell]: entries apart, so that cells go side by side */
    real *weight;
};

link_table *cpu_link_create(backend *be, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight)
{
    (void)be;
    link_table *t = MEMORY_NEW(link_table, 1);
    t->ncell_pad = ncell_pad;
    t->nentry = nentry;
    size_t n = (size_t)nleaf * (size_t)ncell_pad * (size_t)nentry;
    t->offset = MEMORY_NEW(int32_t, n);
    t->weight = MEMORY_NEW(real, n);
    for (int64_t l = 0; l < nleaf; l++) {
        for (int64_t i = 0; i < ncell_pad; i++) {
            for (int64_t k = 0; k < nentry; k++) {
                int64_t from = (l * ncell_pad + i) * nentry + k, to = (l * nentry + k) * ncell_pad + i;
                t->offset[to] = offset[from];
                t->weight[to] = weight[from];
            }
        }
    }
    return t;
}

void cpu_link_destroy(backend *be, link_table *t)
{
    (void)be;
    if (t) {
        memory_free(t->offset);
        memory_free(t->weight);
        memory_free(t);
    }
}

/* Cells [first, first + n) of one leaf, all frames: their part of the table stays in the first cache.  The four corners of a bilinear sample
 * go in one sweep. */
static void link_cells(const link_table *t, int64_t table, int first, int n, int nt, const real *from, int64_t from_stride, real *to,
                       int64_t to_stride)
{
    int pad = t->ncell_pad;
    const int32_t *restrict o0 = t->offset + table + first, *o1 = o0 + pad, *o2 = o1 + pad, *o3 = o2 + pad;
    const real *restrict w0 = t->weight + table + first, *w1 = w0 + pad, *w2 = w1 + pad, *w3 = w2 + pad;
    for (int f = 0; f < nt; f++, from += from_stride, to += to_stride) {
        real *restrict out = to + first;
        if (t->nentry == 4) {
            for (int i = 0; i < n; i++) {
                out[i] = w0[i] * from[o0[i]] + w1[i] * from[o1[i]] + w2[i] * from[o2[i]] + w3[i] * from[o3[i]];
            }
            continue;
        }
        memset(out, 0, (size_t)n * sizeof(real));
        for (int k = 0; k < t->nentry; k++) {
            for (int i = 0; i < n; i++) {
                out[i] += w0[k * pad + i] * from[o0[k * pad + i]];
            }
        }
    }
}

void cpu_link(backend *be, const link_table *t, int first_leaf, int nt, view x, view y)
{
    (void)be;
    for (int l = 0; l < y.nleaf; l++) {
        int64_t table = (int64_t)(first_leaf + l) * t->nentry * t->ncell_pad;
        for (int first = 0; first < y.tile[l].nx; first += BLOCK) {
            int n = y.tile[l].nx - first < BLOCK ? y.tile[l].nx - first : BLOCK;
            link_cells(t, table, first, n, nt, cpu_plane(x, l, 0, 0), x.frame_stride, cpu_plane(y, l, 0, 0), y.frame_stride);
        }
    }
}

/* Every cell gives back to the pixels it was made of, cell after cell: many cells may share a pixel, and their order is fixed. */
void cpu_link_back(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx)
{
    (void)be;
    int pad = t->ncell_pad;
    for (int l = 0; l < gy.nleaf; l++) {
        const int32_t *offset = t->offset + (int64_t)(first_leaf + l) * t->nentry * pad;
        const real *weight = t->weight + (int64_t)(first_leaf + l) * t->nentry * pad;
        for (int f = 0; f < nt; f++) {
            const real *from = cpu_plane(gy, l, f, 0);
            real *to = cpu_plane(gx, l, f, 0);
            for (int i = 0; i < gy.tile[l].nx; i++) {
                for (int k = 0; k < t->nentry; k++) {
                    to[offset[k * pad + i]] += weight[k * pad + i] * from[i];
                }
            }
        }
    }
}

/* gpu_link.h - sampling tables, for gpu_link.c and its kernels. */
#ifndef GPU_LINK_H
#define GPU_LINK_H
#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The table by pixels, made when it is first wanted: each pixel with the cells it goes to, in the order of the cells, so that a thread a pixel sums
 * what cells give back. */
typedef struct link_pixels {
    int32_t *from_offset; /* host, [leaf][cell][entry], and the weights: until it is made */
    real *from_weight;
    int most;             /* pixels of a leaf */
    int64_t *leaf_pixel;  /* host, [nleaf + 1] */
    int32_t *leaf_offset; /* host: offsets of all pixels, leaf after leaf, rising */
    int64_t stride;       /* of frames, for which alone is known; 0: none */
    bool alone;           /* no two offsets of a leaf are whole frames apart */
    const int64_t *first; /* device, as the rest: [nleaf + 1], first pixel of a leaf */
    const int32_t *offset;
    const int64_t *entry; /* [pixels + 1]: their first entries */
    const int32_t *cell;
    const real *weight;
} link_pixels;

struct link_table {
    int nleaf, ncell_pad, nentry;
    const int32_t *offset; /* device, [leaf][entry][cell] */
    const real *weight;
    link_pixels *pixels;
};

/* gpu_link.cu.  ordered: frame after frame, as different frames may give to one pixel. */
void gpu_link_sample(backend *be, const link_table *t, int first_leaf, int nt, view x, view y);
void gpu_link_give(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx, bool ordered);

#ifdef __cplusplus
}
#endif
#endif

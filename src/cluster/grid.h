/* grid.h - how the work is cut.  Integers only: no MPI, no floats.  The cut is set by the input alone: a leaf is a tile of the visual field, of one
 * sequence (trial) of a batch, for one network of many.  Ranks only choose who does which leaves, so nothing that is computed depends on them. */
#ifndef GRID_H
#define GRID_H
#include "base/base.h"

typedef struct grid {
    int ny, nx;             /* field, pixels                       */
    int ntile_y, ntile_x;   /* tiles                               */
    int tile_ny, tile_nx;   /* padded shape shared by all leaves   */
    int nseq, nnet;         /* sequences at once, networks; grid_plan says 1 */
} grid;

/* One leaf's tile: pixels [y0, y0+ny) x [x0, x0+nx) of the field.  leaf = (network * nseq + sequence) * ntile + tile; tiles are numbered row by
 * row. */
typedef struct grid_tile {
    int leaf;
    int y0, x0, ny, nx;
} grid_tile;

/* ntile <= 0: chosen from the field alone: as few tiles as are no longer than 128 pixels, so 4 x 4 of them for 512 x 512.  Smaller ones would spend
 * more on their halos. */
grid grid_plan(int ny, int nx, int ntile_y, int ntile_x);
int grid_nleaf(const grid *g);
int grid_ntile(const grid *g); /* of one sequence */
static inline int grid_network(const grid *g, int leaf)
{
    return leaf / (g->ntile_y * g->ntile_x * g->nseq);
}
static inline int grid_sequence(const grid *g, int leaf)
{
    return leaf / (g->ntile_y * g->ntile_x) % g->nseq;
}
grid_tile grid_tile_at(const grid *g, int leaf);
int grid_leaf_of(const grid *g, int y, int x); /* tile that owns the pixel; outside pixels: of the nearest one inside */

/* Leaves [*first, *first + *count) belong to `rank` of `nrank`; contiguous, counts differ by at most 1; some may have 0.  Networks stay whole when
 * there are at least as many as ranks. */
void grid_owned(const grid *g, int rank, int nrank, int *first, int *count);
int grid_owner(const grid *g, int nrank, int leaf);

/* --- borders: which pixels of a leaf's halo (width px on each side, may exceed a tile) come from which tile ---------- */
typedef struct grid_rect {
    int leaf;           /* local number (0 = first owned leaf) of the array read (sends) or written (receives)            */
    int y, x, ny, nx;   /* pixels relative to the tile's own (0,0); negative: in the halo                                 */
    int64_t offset;     /* in pixels of one frame and channel, within the buffer exchanged with that peer                 */
} grid_rect;

typedef struct grid_peer {
    int rank;
    int nsend, nrecv;
    grid_rect *send, *recv;        /* matching order on both sides                                                       */
    int64_t send_px, recv_px;      /* buffer sizes for one frame and channel                                              */
} grid_peer;

/* All exchanges of one rank for one halo width; peers in order of rank, this rank itself among them (tiles of one rank copy). */
typedef struct grid_borders {
    int width, npeer;
    grid_peer *peer;
} grid_borders;
grid_borders *grid_borders_create(const grid *g, int rank, int nrank, int width);
void grid_borders_destroy(grid_borders *b);
#endif

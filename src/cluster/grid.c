/* grid.c - cuts are even: tile i of n over N pixels starts at floor(i N / n), so sizes differ by one pixel at most.  The same
 * formula deals leaves to ranks. */
#include "cluster/grid.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/memory.h"

enum { TILE_PX = 128 };

static int part_start(int64_t total, int nparts, int64_t i)
{
    return (int)(i * total / nparts);
}

/* The part that holds item k: the largest i with floor(i total / nparts) <= k. */
static int part_of(int64_t total, int nparts, int64_t k)
{
    return (int)(((k + 1) * nparts - 1) / total);
}

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

grid grid_plan(int ny, int nx, int ntile_y, int ntile_x)
{
    ASSERT(ny > 0 && nx > 0 && ntile_y <= ny && ntile_x <= nx);
    int auto_y = (ny + TILE_PX - 1) / TILE_PX, auto_x = (nx + TILE_PX - 1) / TILE_PX;
    grid g = {.ny = ny, .nx = nx, .nseq = 1, .nnet = 1};
    g.ntile_y = ntile_y > 0 ? ntile_y : auto_y;
    g.ntile_x = ntile_x > 0 ? ntile_x : auto_x;
    ASSERT((int64_t)g.ntile_y * g.ntile_x <= INT32_MAX);
    g.tile_ny = (ny + g.ntile_y - 1) / g.ntile_y;
    g.tile_nx = (nx + g.ntile_x - 1) / g.ntile_x;
    return g;
}

int grid_ntile(const grid *g)
{
    return g->ntile_y * g->ntile_x;
}

int grid_nleaf(const grid *g)
{
    ASSERT((int64_t)grid_ntile(g) * g->nseq * g->nnet <= INT32_MAX);
    return grid_ntile(g) * g->nseq * g->nnet;
}

grid_tile grid_tile_at(const grid *g, int leaf)
{
    ASSERT(leaf >= 0 && leaf < grid_nleaf(g));
    int tile = leaf % grid_ntile(g), iy = tile / g->ntile_x, ix = tile % g->ntile_x;
    grid_tile t = {.leaf = leaf, .y0 = part_start(g->ny, g->ntile_y, iy), .x0 = part_start(g->nx, g->ntile_x, ix)};
    t.ny = part_start(g->ny, g->ntile_y, iy + 1) - t.y0;
    t.nx = part_start(g->nx, g->ntile_x, ix + 1) - t.x0;
    return t;
}

int grid_leaf_of(const grid *g, int y, int x)
{
    int iy = part_of(g->ny, g->ntile_y, clamp(y, 0, g->ny - 1));
    int ix = part_of(g->nx, g->ntile_x, clamp(x, 0, g->nx - 1));
    return iy * g->ntile_x + ix;
}

/* Leaves that go to one rank together: those of a network, if there are networks for every rank. */
static int unit(const grid *g, int nrank)
{
    return g->nnet >= nrank ? grid_ntile(g) * g->nseq : 1;
}

void grid_owned(const grid *g, int rank, int nrank, int *first, int *count)
{
    ASSERT(rank >= 0 && rank < nrank);
    int together = unit(g, nrank), nunit = grid_nleaf(g) / together;
    *first = part_start(nunit, nrank, rank) * together;
    *count = part_start(nunit, nrank, rank + 1) * together - *first;
}

int grid_owner(const grid *g, int nrank, int leaf)
{
    int together = unit(g, nrank);
    return part_of(grid_nleaf(g) / together, nrank, leaf / together);
}

/* --- borders --------------------------------------------------------------------------------------------------------- */

/* Pixels of tile `source` that the halo of tile `dest` wants, in pixels of the field. */
typedef struct border_piece {
    int peer, dest, source;
    int y0, x0, y1, x1;
} border_piece;

typedef struct piece_list {
    border_piece *item;
    int n, room;
} piece_list;

static void piece_add(piece_list *l, border_piece p)
{
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->item = memory_grow(l->item, (size_t)l->room, sizeof *l->item);
    }
    l->item[l->n++] = p;
}

/* One order for both sides, so that the buffers match: by destination, then by source. */
static int piece_order(const void *a, const void *b)
{
    const border_piece *p = a, *q = b;
    int64_t d = p->peer != q->peer ? (int64_t)p->peer - q->peer
                : p->dest != q->dest ? (int64_t)p->dest - q->dest : (int64_t)p->source - q->source;
    return d < 0 ? -1 : d > 0;
}

/* All pieces that leaf `mine` receives (or sends).  Tile B is within `width` of tile A exactly when A is within `width` of B, so one
 * search serves both directions; `width` may span several tiles. */
static void collect(const grid *g, int nrank, int width, int mine, bool receive, piece_list *out)
{
    grid_tile t = grid_tile_at(g, mine);
    int first = grid_leaf_of(g, t.y0 - width, t.x0 - width), last = grid_leaf_of(g, t.y0 + t.ny - 1 + width, t.x0 + t.nx - 1 + width);
    int sequence = mine - mine % grid_ntile(g); /* first leaf of the sequence */
    for (int iy = first / g->ntile_x; iy <= last / g->ntile_x; iy++) {
        for (int ix = first % g->ntile_x; ix <= last % g->ntile_x; ix++) {
            int other = sequence + iy * g->ntile_x + ix;
            if (other == mine) {
                continue;
            }
            border_piece p = {.peer = grid_owner(g, nrank, other), .dest = receive ? mine : other, .source = receive ? other : mine};
            grid_tile d = grid_tile_at(g, p.dest), s = grid_tile_at(g, p.source);
            p.y0 = clamp(d.y0 - width, s.y0, s.y0 + s.ny);
            p.x0 = clamp(d.x0 - width, s.x0, s.x0 + s.nx);
            p.y1 = clamp(d.y0 + d.ny + width, s.y0, s.y0 + s.ny);
            p.x1 = clamp(d.x0 + d.nx + width, s.x0, s.x0 + s.nx);
            piece_add(out, p);
        }
    }
}

static piece_list collect_all(const grid *g, int rank, int nrank, int width, bool receive)
{
    piece_list l = {0};
    int first, count;
    grid_owned(g, rank, nrank, &first, &count);
    for (int i = 0; width > 0 && i < count; i++) {
        collect(g, nrank, width, first + i, receive, &l);
    }
    if (l.n > 0) {
        qsort(l.item, (size_t)l.n, sizeof *l.item, piece_order);
    }
    return l;
}

/* The pieces of one peer, from *at on, as rectangles of my own leaves. */
static grid_rect *rects_of(const grid *g, const piece_list *l, int *at, int first_own, bool receive, int *nrect, int64_t *px)
{
    int n = 0, peer = l->item[*at].peer;
    while (*at + n < l->n && l->item[*at + n].peer == peer) {
        n++;
    }
    grid_rect *rects = MEMORY_NEW(grid_rect, n);
    *px = 0;
    for (int i = 0; i < n; i++) {
        const border_piece *p = &l->item[*at + i];
        int leaf = receive ? p->dest : p->source;
        grid_tile t = grid_tile_at(g, leaf);
        rects[i] = (grid_rect){.leaf = leaf - first_own, .y = p->y0 - t.y0, .x = p->x0 - t.x0, .offset = *px};
        rects[i].ny = p->y1 - p->y0;
        rects[i].nx = p->x1 - p->x0;
        *px += (int64_t)rects[i].ny * rects[i].nx;
    }
    *at += n;
    *nrect = n;
    return rects;
}

grid_borders *grid_borders_create(const grid *g, int rank, int nrank, int width)
{
    ASSERT(width >= 0);
    piece_list in = collect_all(g, rank, nrank, width, true), out = collect_all(g, rank, nrank, width, false);
    ASSERT(in.n == out.n); /* nearness is symmetric */
    int first, count;
    grid_owned(g, rank, nrank, &first, &count);
    grid_borders *b = MEMORY_NEW(grid_borders, 1);
    b->width = width;
    b->peer = MEMORY_NEW(grid_peer, nrank < in.n ? nrank : in.n);
    for (int i = 0, o = 0; i < in.n;) {
        grid_peer *p = &b->peer[b->npeer++];
        p->rank = in.item[i].peer;
        ASSERT(out.item[o].peer == p->rank);
        p->recv = rects_of(g, &in, &i, first, true, &p->nrecv, &p->recv_px);
        p->send = rects_of(g, &out, &o, first, false, &p->nsend, &p->send_px);
    }
    memory_free(in.item);
    memory_free(out.item);
    return b;
}

void grid_borders_destroy(grid_borders *b)
{
    for (int i = 0; b && i < b->npeer; i++) {
        memory_free(b->peer[i].send);
        memory_free(b->peer[i].recv);
    }
    if (b) {
        memory_free(b->peer);
    }
    memory_free(b);
}

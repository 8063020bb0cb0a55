/* test_grid.c - the cut, against brute force over pixels; all ranks simulated in one process. */
#include "cluster/grid.h"

#include "base/memory.h"
#include "test.h"

static const int shape[][4] = {{1, 1, 0, 0},   {7, 5, 3, 2},    {10, 10, 10, 10}, {96, 96, 0, 0},  {100, 133, 0, 0},
                               {13, 29, 4, 5}, {256, 256, 0, 0}, {61, 300, 0, 0},  {31, 17, 1, 17}, {300, 260, 0, 2}};
enum { NSHAPE = sizeof shape / sizeof shape[0] };

static grid grid_of(int i)
{
    return grid_plan(shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
}

static void default_tiles(void)
{
    const int want[][4] = {{96, 96, 1, 1},   {128, 60, 1, 1},    {129, 60, 2, 1},     {256, 256, 2, 2},
                           {257, 256, 3, 2}, {2048, 512, 16, 4}, {256, 10000, 2, 79}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        grid g = grid_plan(want[i][0], want[i][1], 0, -1);
        CHECK(g.ntile_y == want[i][2] && g.ntile_x == want[i][3]);
        CHECK(g.tile_ny <= 128 && g.tile_nx <= 128);
    }
}

static void tiles_cover(void)
{
    for (int i = 0; i < NSHAPE; i++) {
        grid g = grid_of(i);
        int *owner = MEMORY_NEW(int, g.ny * g.nx); /* 1 + leaf */
        int overlaps = 0, missing = 0, wrong = 0;
        for (int leaf = 0; leaf < grid_nleaf(&g); leaf++) {
            grid_tile t = grid_tile_at(&g, leaf);
            CHECK(t.leaf == leaf && t.ny >= 1 && t.ny <= g.tile_ny && t.ny >= g.tile_ny - 1);
            CHECK(t.nx >= 1 && t.nx <= g.tile_nx && t.nx >= g.tile_nx - 1);
            for (int y = t.y0; y < t.y0 + t.ny; y++) {
                for (int x = t.x0; x < t.x0 + t.nx; x++) {
                    overlaps += owner[y * g.nx + x] != 0;
                    owner[y * g.nx + x] = 1 + leaf;
                }
            }
        }
        for (int k = 0; k < g.ny * g.nx; k++) {
            missing += owner[k] == 0;
            wrong += grid_leaf_of(&g, k / g.nx, k % g.nx) != owner[k] - 1;
        }
        CHECK(overlaps == 0 && missing == 0 && wrong == 0);
        CHECK(grid_leaf_of(&g, -5, -1) == 0 && grid_leaf_of(&g, g.ny + 3, g.nx) == grid_nleaf(&g) - 1);
        memory_free(owner);
    }
}

static void owners_agree(void)
{
    for (int i = 0; i < NSHAPE; i++) {
        grid g = grid_of(i);
        int nleaf = grid_nleaf(&g);
        for (int nrank = 1; nrank <= 40; nrank++) {
            int next = 0;
            for (int r = 0; r < nrank; r++) {
                int first, count;
                grid_owned(&g, r, nrank, &first, &count);
                CHECK(first == next && (count == nleaf / nrank || count == (nleaf + nrank - 1) / nrank));
                for (int k = first; k < first + count; k++) {
                    CHECK(grid_owner(&g, nrank, k) == r);
                }
                next += count;
            }
            CHECK(next == nleaf);
        }
    }
}

static const grid_peer *peer_of(const grid_borders *b, int rank)
{
    for (int i = 0; i < b->npeer; i++) {
        if (b->peer[i].rank == rank) {
            return &b->peer[i];
        }
    }
    return NULL;
}

/* Fills buffer[offset...] with field values seen from the sender's own tiles; false if a pixel is not the sender's. */
static bool pack(const grid *g, const grid_peer *p, int first, int *buffer)
{
    bool own = true;
    for (int i = 0; i < p->nsend; i++) {
        grid_rect r = p->send[i];
        grid_tile t = grid_tile_at(g, first + r.leaf);
        own = own && r.y >= 0 && r.x >= 0 && r.y + r.ny <= t.ny && r.x + r.nx <= t.nx && r.offset + (int64_t)r.ny * r.nx <= p->send_px;
        for (int k = 0; own && k < r.ny * r.nx; k++) {
            buffer[r.offset + k] = 1 + (t.y0 + r.y + k / r.nx) * g->nx + t.x0 + r.x + k % r.nx;
        }
    }
    return own;
}

/* Writes one peer's buffer into the halos, counting pixels written twice or outside. */
static int unpack(const grid *g, const grid_peer *p, int width, int *halo, const int *buffer)
{
    int bad = 0, hy = g->tile_ny + 2 * width, hx = g->tile_nx + 2 * width;
    for (int i = 0; i < p->nrecv; i++) {
        grid_rect r = p->recv[i];
        for (int k = 0; k < r.ny * r.nx; k++) {
            int y = r.y + k / r.nx + width, x = r.x + k % r.nx + width;
            if (y < 0 || x < 0 || y >= hy || x >= hx || halo[(r.leaf * hy + y) * hx + x] != 0) {
                bad++;
            } else {
                halo[(r.leaf * hy + y) * hx + x] = buffer[r.offset + k];
            }
        }
    }
    return bad;
}

/* Every halo pixel inside the field holds that pixel of the field, the rest is untouched. */
static int halo_errors(const grid *g, grid_tile t, int width, const int *halo)
{
    int bad = 0, hx = g->tile_nx + 2 * width;
    for (int y = -width; y < g->tile_ny + width; y++) {
        for (int x = -width; x < g->tile_nx + width; x++) {
            int fy = t.y0 + y, fx = t.x0 + x;
            bool inside = fy >= 0 && fx >= 0 && fy < g->ny && fx < g->nx, own = y >= 0 && x >= 0 && y < t.ny && x < t.nx;
            bool reach = y < t.ny + width && x < t.nx + width;
            int want = inside && reach && !own ? 1 + fy * g->nx + fx : 0;
            bad += halo[(y + width) * hx + x + width] != want;
        }
    }
    return bad;
}

static void swap_all(const grid *g, int nrank, int width)
{
    grid_borders **b = MEMORY_NEW(grid_borders *, nrank);
    for (int r = 0; r < nrank; r++) {
        b[r] = grid_borders_create(g, r, nrank, width);
    }
    int bad = 0, plane = (g->tile_ny + 2 * width) * (g->tile_nx + 2 * width);
    for (int r = 0; r < nrank; r++) {
        int first, count, from, nfrom;
        grid_owned(g, r, nrank, &first, &count);
        int *halo = MEMORY_NEW(int, count * plane);
        for (int i = 0; i < b[r]->npeer; i++) {
            const grid_peer *mine = &b[r]->peer[i];
            bad += i > 0 && mine->rank <= mine[-1].rank;
            const grid_peer *theirs = peer_of(b[mine->rank], r);
            if (!theirs || theirs->send_px != mine->recv_px || theirs->nsend != mine->nrecv) {
                bad++;
                continue;
            }
            int *buffer = MEMORY_NEW(int, theirs->send_px);
            grid_owned(g, mine->rank, nrank, &from, &nfrom);
            bad += !pack(g, theirs, from, buffer);
            bad += unpack(g, mine, width, halo, buffer);
            memory_free(buffer);
        }
        for (int k = 0; k < count; k++) {
            bad += halo_errors(g, grid_tile_at(g, first + k), width, halo + k * plane);
        }
        memory_free(halo);
    }
    CHECK(bad == 0);
    for (int r = 0; r < nrank; r++) {
        grid_borders_destroy(b[r]);
    }
    memory_free(b);
}

static void borders_brute_force(void)
{
    const int field[][4] = {{1, 1, 1, 1}, {7, 5, 3, 2}, {10, 10, 10, 10}, {13, 29, 4, 5}, {31, 17, 1, 17}, {40, 33, 3, 3}};
    const int width[] = {0, 1, 3, 8, 40};
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
        grid g = grid_plan(field[i][0], field[i][1], field[i][2], field[i][3]);
        for (size_t w = 0; w < sizeof width / sizeof width[0]; w++) {
            for (int nrank = 1; nrank <= 7; nrank++) {
                swap_all(&g, nrank, width[w]);
            }
        }
    }
}

/* Leaves of networks and sequences: numbers, tiles, borders within a sequence, networks whole on ranks. */
static void networks_and_sequences(void)
{
    grid g = grid_plan(20, 30, 2, 3);
    g.nseq = 4;
    g.nnet = 5;
    CHECK(grid_ntile(&g) == 6 && grid_nleaf(&g) == 120);
    for (int leaf = 0; leaf < 120; leaf++) {
        grid plain = grid_plan(20, 30, 2, 3);
        grid_tile a = grid_tile_at(&g, leaf), b = grid_tile_at(&plain, leaf % 6);
        CHECK(a.leaf == leaf && a.y0 == b.y0 && a.x0 == b.x0 && a.ny == b.ny && a.nx == b.nx);
        CHECK(grid_network(&g, leaf) == leaf / 24 && grid_sequence(&g, leaf) == leaf / 6 % 4);
    }
    for (int nrank = 1; nrank <= 8; nrank++) {
        int next = 0;
        for (int r = 0; r < nrank; r++) {
            int first, count;
            grid_owned(&g, r, nrank, &first, &count);
            CHECK(first == next);
            CHECK(nrank > g.nnet || (first % 24 == 0 && count % 24 == 0));
            for (int k = first; k < first + count; k++) {
                CHECK(grid_owner(&g, nrank, k) == r);
            }
            next = first + count;
        }
        CHECK(next == 120);
    }
    grid_borders *b = grid_borders_create(&g, 0, 1, 3), *one = NULL;
    grid single = grid_plan(20, 30, 2, 3);
    one = grid_borders_create(&single, 0, 1, 3);
    CHECK(b->npeer == 1 && b->peer[0].nrecv == 20 * one->peer[0].nrecv && b->peer[0].recv_px == 20 * one->peer[0].recv_px);
    for (int i = 0; i < b->peer[0].nrecv; i++) {
        CHECK(b->peer[0].recv[i].leaf / 6 == b->peer[0].send[i].leaf / 6); /* matching order: from a tile of the same sequence */
    }
    grid_borders_destroy(b);
    grid_borders_destroy(one);
}

TEST_MAIN("grid", {"default tiles", default_tiles}, {"tiles cover the field once", tiles_cover}, {"owners agree with ranges", owners_agree},
          {"borders equal the field, 1 to 7 ranks", borders_brute_force},
          {"networks and sequences", networks_and_sequences})

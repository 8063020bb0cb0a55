/* test_comm.c - any number of ranks.  Rank 0 prints; all ranks end with the same verdict. */
#include "cluster/comm.h"

#include <signal.h>
#include <unistd.h>

#include "base/memory.h"
#include "test.h"

static void numbers(void)
{
    int r = comm_rank(), n = comm_size();
    CHECK(r >= 0 && r < n && comm_node_rank() < comm_node_size() && comm_node_size() <= n && comm_host()[0] && comm_library()[0]);
    CHECK(comm_sum_int(((int64_t)1 << 40) + r) == n * ((int64_t)1 << 40) + n * (n - 1) / 2);
    CHECK(comm_prefix_int(r + 1) == r * (r + 1) / 2);
    CHECK(comm_any(r == n - 1) && !comm_any(false));
    double v[2] = {r, -r}, all[2 * 64];
    comm_max_double(v, 2);
    CHECK(v[0] == n - 1 && v[1] == 0);
    v[0] = r, v[1] = -r;
    comm_min_double(v, 2);
    CHECK(v[0] == 0 && v[1] == 1 - n);
    v[0] = r, v[1] = 10 * r;
    if (n <= 64) {
        comm_gather_double(v, 2, all);
        for (int i = 0; i < n; i++) {
            CHECK(all[2 * i] == i && all[2 * i + 1] == 10 * i);
        }
    }
    char text[8] = {0};
    if (r == n - 1) {
        strcpy(text, "chiasm");
    }
    comm_broadcast(text, sizeof text, n - 1);
    CHECK_TEXT(text, "chiasm");
    comm_barrier();
}

/* Rank r sends (r + d) % 3 bytes of value 16 r + d to rank d. */
static void exchange(void)
{
    int r = comm_rank(), n = comm_size();
    size_t *sizes = MEMORY_NEW(size_t, n), *got = MEMORY_NEW(size_t, n), total = 0, want = 0;
    unsigned char *data = MEMORY_NEW(unsigned char, 2 * n);
    for (int d = 0; d < n; d++) {
        sizes[d] = (size_t)((r + d) % 3);
        memset(data + total, 16 * r + d, sizes[d]);
        total += sizes[d];
    }
    unsigned char *in = comm_exchange(data, sizes, got, &total);
    for (int s = 0; s < n; s++) {
        CHECK(got[s] == (size_t)((r + s) % 3));
        for (size_t k = 0; k < got[s]; k++) {
            CHECK(in[want++] == (unsigned char)(16 * s + r));
        }
    }
    CHECK(want == total);
    memory_free(in);
    memory_free(data);
    memory_free(got);
    memory_free(sizes);
}

/* The tree as a recursion: the oracle.  The sum of [i, i + 2 step) is that of its halves. */
static double tree(const double *v, size_t i, size_t step, size_t n)
{
    return step == 0 ? v[i] : i + step < n ? tree(v, i, step / 2, n) + tree(v, i + step, step / 2, n) : tree(v, i, step / 2, n);
}

static void leaf_sum(void)
{
    const int tiles[][2] = {{1, 1}, {1, 2}, {3, 1}, {4, 4}, {5, 7}};
    for (int c = 0; c < 5; c++) {
        grid g = grid_plan(40, 40, tiles[c][0], tiles[c][1]);
        int nleaf = grid_nleaf(&g), first, count;
        double all[35], mine[2 * 35], total[2];
        uint64_t seed = 7;
        for (int k = 0; k < nleaf; k++) {
            all[k] = test_random(&seed) * pow(10, k % 9); /* so that another order gives other bits */
        }
        grid_owned(&g, comm_rank(), comm_size(), &first, &count);
        for (int k = 0; k < count; k++) {
            mine[2 * k] = all[first + k];
            mine[2 * k + 1] = first + k;
        }
        comm_leaf_sum(&g, mine, 2, total);
        double want = tree(all, 0, 32, (size_t)nleaf);
        CHECK(memcmp(&total[0], &want, sizeof want) == 0);
        CHECK(total[1] == nleaf * (nleaf - 1) / 2);
    }
}

/* Networks of some sequences each: shared among ranks or whole on one; ranks without leaves get those of the first. */
static void network_sum(void)
{
    const int shapes[][3] = {{1, 5, 2}, {2, 3, 2}, {7, 1, 2}, {1, 1, 2}, {3, 4, 2}, {1, 1, 1}}; /* networks, sequences, tiles of each */
    for (int c = 0; c < 6; c++) {
        grid g = grid_plan(8, 8, 1, shapes[c][2]);
        g.nnet = shapes[c][0];
        g.nseq = shapes[c][1];
        int nleaf = grid_nleaf(&g), per_net = nleaf / g.nnet, first, count;
        double all[64], mine[2 * 64], total[2 * 64];
        uint64_t seed = 11;
        for (int k = 0; k < nleaf; k++) {
            all[k] = test_random(&seed) * pow(10, k % 9);
        }
        grid_owned(&g, comm_rank(), comm_size(), &first, &count);
        for (int k = 0; k < count; k++) {
            mine[2 * k] = all[first + k];
            mine[2 * k + 1] = 1;
        }
        comm_network_sum(&g, mine, 2, total);
        int first_net = count > 0 ? grid_network(&g, first) : 0, last_net = count > 0 ? grid_network(&g, first + count - 1) : 0;
        for (int net = first_net; net <= last_net; net++) {
            double want = tree(all + net * per_net, 0, 32, (size_t)per_net);
            CHECK(memcmp(&total[2 * (net - first_net)], &want, sizeof want) == 0);
            CHECK(total[2 * (net - first_net) + 1] == per_net);
        }
    }
}

/* <swap x, y> = <x, swap_back y>: in sums of whole numbers, exact. */
static void swap_back(void)
{
    grid g = grid_plan(23, 31, 4, 5);
    grid_borders *b = grid_borders_create(&g, comm_rank(), comm_size(), 3);
    real **send = MEMORY_NEW(real *, b->npeer), **recv = MEMORY_NEW(real *, b->npeer);
    uint64_t seed = 3 + (uint64_t)comm_rank();
    double forward = 0, back = 0;
    for (int i = 0; i < b->npeer; i++) {
        send[i] = MEMORY_NEW(real, b->peer[i].send_px);
        recv[i] = MEMORY_NEW(real, b->peer[i].recv_px);
        for (int64_t k = 0; k < b->peer[i].send_px; k++) {
            send[i][k] = (real)floor(100 * test_random(&seed));
        }
    }
    comm_swap(b, 1, send, recv);
    for (int i = 0; i < b->npeer; i++) {
        for (int64_t k = 0; k < b->peer[i].recv_px; k++) {
            real y = (real)floor(100 * test_random(&seed));
            forward += (double)(recv[i][k] * y);
            recv[i][k] = y;
        }
    }
    real **came = MEMORY_NEW(real *, b->npeer);
    for (int i = 0; i < b->npeer; i++) {
        came[i] = MEMORY_NEW(real, b->peer[i].send_px);
    }
    comm_swap_back(b, 1, recv, came);
    for (int i = 0; i < b->npeer; i++) {
        for (int64_t k = 0; k < b->peer[i].send_px; k++) {
            back += (double)(came[i][k] * send[i][k]);
        }
        memory_free(send[i]);
        memory_free(recv[i]);
        memory_free(came[i]);
    }
    CHECK(comm_sum_int((int64_t)forward) == comm_sum_int((int64_t)back));
    CHECK(comm_sum_int((int64_t)forward) != 0);
    memory_free(send);
    memory_free(recv);
    memory_free(came);
    grid_borders_destroy(b);
}

/* Every pixel of a buffer carries its place in the field; a second value its negative. */
static void swap_borders(void)
{
    const int nvalue = 2;
    for (int width = 0; width < 12; width += 3) {
        grid g = grid_plan(23, 31, 4, 5);
        int first, count, wrong = 0;
        grid_owned(&g, comm_rank(), comm_size(), &first, &count);
        grid_borders *b = grid_borders_create(&g, comm_rank(), comm_size(), width);
        real **send = MEMORY_NEW(real *, b->npeer), **recv = MEMORY_NEW(real *, b->npeer);
        for (int i = 0; i < b->npeer; i++) {
            const grid_peer *p = &b->peer[i];
            send[i] = MEMORY_NEW(real, p->send_px * nvalue);
            recv[i] = MEMORY_NEW(real, p->recv_px * nvalue);
            for (int k = 0; k < p->nsend; k++) {
                grid_rect q = p->send[k];
                grid_tile t = grid_tile_at(&g, first + q.leaf);
                for (int px = 0; px < q.ny * q.nx; px++) {
                    real place = (real)((t.y0 + q.y + px / q.nx) * g.nx + t.x0 + q.x + px % q.nx);
                    send[i][(q.offset + px) * nvalue] = place;
                    send[i][(q.offset + px) * nvalue + 1] = -place;
                }
            }
        }
        comm_swap(b, nvalue, send, recv);
        for (int i = 0; i < b->npeer; i++) {
            for (int k = 0; k < b->peer[i].nrecv; k++) {
                grid_rect q = b->peer[i].recv[k];
                grid_tile t = grid_tile_at(&g, first + q.leaf);
                for (int px = 0; px < q.ny * q.nx; px++) {
                    real place = (real)((t.y0 + q.y + px / q.nx) * g.nx + t.x0 + q.x + px % q.nx);
                    wrong += recv[i][(q.offset + px) * nvalue] != place || recv[i][(q.offset + px) * nvalue + 1] != -place;
                }
            }
            memory_free(send[i]);
            memory_free(recv[i]);
        }
        CHECK(wrong == 0);
        memory_free(send);
        memory_free(recv);
        grid_borders_destroy(b);
    }
}

static void signals(void)
{
    CHECK(!comm_signal_seen());
    raise(SIGUSR1);
    CHECK(comm_signal_seen());
    CHECK(comm_any(comm_signal_seen()));
    raise(SIGTERM);
    raise(SIGINT); /* the first one only sets the flag */
}

static void components(void)
{
    const char *io = getenv("OMPI_MCA_io"), *copy = getenv("OMPI_MCA_btl_vader_single_copy_mechanism");
    CHECK(strncmp(comm_library(), "Open MPI v4.1.4", 15) != 0 || (io && strcmp(io, "^ompio") == 0));
    CHECK(copy && *copy);
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    if (comm_rank() > 0 && !freopen("/dev/null", "w", stdout)) {
        return 1;
    }
    const test_case tests[] = {{"numbers of all ranks", numbers}, {"exchange", exchange}, {"leaf sum in a fixed tree", leaf_sum},
                               {"sum over the leaves of networks", network_sum}, {"border swap", swap_borders}, {"border swap backwards", swap_back},
                               {"signals", signals},  {"MPI components", components}};
    bool failed = comm_any(test_run("comm", tests, (int)(sizeof tests / sizeof tests[0])) != 0);
    comm_finish();
    return failed;
}

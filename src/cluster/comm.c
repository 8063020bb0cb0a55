/* comm.c - what the program asks of MPI.  MPI's own error handler stays MPI_ERRORS_ARE_FATAL: a failed call stops all ranks with
 * MPI's message, so results of calls are not looked at here. */
#include "cluster/comm.h"

#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

#include "base/error.h"
#include "base/memory.h"

enum { TAG_SWAP = 1, TAG_EXCHANGE = 2, TAG_SUM = 3 };
static const size_t MESSAGE_BYTES = (size_t)1 << 30; /* MPI counts are int: longer messages go in parts */

static int my_rank, nrank = 1, node_rank, node_size = 1;
static char host_name[MPI_MAX_PROCESSOR_NAME], library[MPI_MAX_LIBRARY_VERSION_STRING];
static MPI_Request *requests; /* grow only, so that a swap in every step allocates once */
static int request_room;
static double *leaf_values;
static size_t leaf_room;
static volatile sig_atomic_t signal_seen, interrupts;

static void on_signal(int number)
{
    signal_seen = 1;
    if (number == SIGINT && ++interrupts > 1) {
        _exit(128 + SIGINT); /* MPI_Abort may not be called from a handler; the launcher ends the other ranks */
    }
}

static void catch_signals(void)
{
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    act.sa_flags = SA_RESTART;
    sigemptyset(&act.sa_mask);
    const int caught[] = {SIGTERM, SIGINT, SIGUSR1};
    for (int i = 0; i < 3; i++) {
        if (sigaction(caught[i], &act, NULL) != 0) {
            error_fatal(EXIT_INTERNAL, "signal %d cannot be caught", caught[i]);
        }
    }
}

/* Alone there is nobody to stop, and MPI_Abort would print more lines than the error has. */
static void stop_all(int exit_code)
{
    if (comm_size() == 1) {
        _exit(exit_code);
    }
    MPI_Abort(MPI_COMM_WORLD, exit_code);
}

/* Before MPI_Init; a user's own setting wins.  Open MPI's ompio reports success for writes that failed on a full disk; ROMIO does not, but is
 * sound with chunked HDF5 only since 4.1.2.  The copy of vader needs ptrace rights that containers do not give. */
static void choose_components(void)
{
    int length, major = 0, minor = 0, release = 0;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = 0;
    if (sscanf(library, "Open MPI v%d.%d.%d", &major, &minor, &release) >= 2 && major * 10000 + minor * 100 + release >= 40102) {
        setenv("OMPI_MCA_io", "^ompio", 0);
    }
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

void comm_start(int *argc, char ***argv)
{
    choose_components();
    int given, length;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &given);
    MPI_Comm_rank(MPI_COMM_WORLD, &my_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nrank);
    error_set_stop(stop_all, my_rank);
    if (given < MPI_THREAD_FUNNELED) {
        error_fatal(EXIT_NO_DEVICE, "%s gives no MPI_THREAD_FUNNELED; use an MPI built with thread support", library);
    }
    MPI_Comm node;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, my_rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &node_rank);
    MPI_Comm_size(node, &node_size);
    MPI_Comm_free(&node);
    MPI_Get_processor_name(host_name, &length);
    catch_signals();
}

void comm_finish(void)
{
    memory_free(requests);
    memory_free(leaf_values);
    requests = NULL;
    leaf_values = NULL;
    request_room = 0;
    leaf_room = 0;
    MPI_Finalize();
    error_set_stop(NULL, my_rank);
}

int comm_rank(void)
{
    return my_rank;
}

int comm_size(void)
{
    return nrank;
}

int comm_node_rank(void)
{
    return node_rank;
}

int comm_node_size(void)
{
    return node_size;
}

const char *comm_host(void)
{
    return host_name;
}

const char *comm_library(void)
{
    return library;
}

void comm_broadcast(void *data, size_t bytes, int root)
{
    for (size_t at = 0; at < bytes; at += MESSAGE_BYTES) {
        size_t n = bytes - at < MESSAGE_BYTES ? bytes - at : MESSAGE_BYTES;
        MPI_Bcast((char *)data + at, (int)n, MPI_BYTE, root, MPI_COMM_WORLD);
    }
}

void comm_barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

bool comm_any(bool mine)
{
    int any = mine;
    MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return any != 0;
}

int64_t comm_sum_int(int64_t mine)
{
    int64_t sum = 0;
    MPI_Allreduce(&mine, &sum, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

int64_t comm_prefix_int(int64_t mine)
{
    int64_t upto = 0;
    MPI_Scan(&mine, &upto, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return upto - mine;
}

void comm_max_double(double *v, int n)
{
    MPI_Allreduce(MPI_IN_PLACE, v, n, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
}

void comm_min_double(double *v, int n)
{
    MPI_Allreduce(MPI_IN_PLACE, v, n, MPI_DOUBLE, MPI_MIN, MPI_COMM_WORLD);
}

void comm_gather_double(const double *mine, int n, double *all)
{
    MPI_Allgather(mine, n, MPI_DOUBLE, all, n, MPI_DOUBLE, MPI_COMM_WORLD);
}

void comm_gather(const void *mine, size_t bytes, void *all)
{
    ASSERT(bytes <= INT_MAX);
    MPI_Allgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, MPI_COMM_WORLD);
}

static void need_requests(size_t n)
{
    ASSERT(n <= INT_MAX);
    if ((int)n > request_room) {
        requests = memory_grow(requests, n, sizeof *requests);
        request_room = (int)n;
    }
}

static size_t messages_of(size_t bytes)
{
    return (bytes + MESSAGE_BYTES - 1) / MESSAGE_BYTES;
}

/* Starts all messages of one block; both sides cut it alike and MPI keeps the order of one pair of ranks. */
static int start_block(int nreq, bool receive, char *data, size_t bytes, int peer)
{
    for (size_t at = 0; at < bytes; at += MESSAGE_BYTES) {
        size_t n = bytes - at < MESSAGE_BYTES ? bytes - at : MESSAGE_BYTES;
        if (receive) {
            MPI_Irecv(data + at, (int)n, MPI_BYTE, peer, TAG_EXCHANGE, MPI_COMM_WORLD, &requests[nreq++]);
        } else {
            MPI_Isend(data + at, (int)n, MPI_BYTE, peer, TAG_EXCHANGE, MPI_COMM_WORLD, &requests[nreq++]);
        }
    }
    return nreq;
}

void *comm_exchange(const void *send, const size_t *send_bytes, size_t *recv_bytes, size_t *bytes)
{
    _Static_assert(sizeof(size_t) == sizeof(uint64_t), "sizes travel as 64 bits");
    size_t *in = MEMORY_NEW(size_t, nrank), total = 0, nmessage = 0;
    MPI_Alltoall(send_bytes, 1, MPI_UINT64_T, in, 1, MPI_UINT64_T, MPI_COMM_WORLD);
    for (int r = 0; r < nrank; r++) {
        total += in[r];
        nmessage += messages_of(in[r]) + messages_of(send_bytes[r]);
    }
    char *data = memory_alloc(total, 1);
    need_requests(nmessage);
    int nreq = 0;
    size_t own = 0;
    for (size_t r = 0, at = 0; r < (size_t)nrank; at += in[r++]) {
        if ((int)r == my_rank) {
            own = at;
        } else {
            nreq = start_block(nreq, true, data + at, in[r], (int)r);
        }
    }
    for (size_t r = 0, at = 0; r < (size_t)nrank; at += send_bytes[r++]) {
        char *from = (char *)send + at; /* only read */
        if ((int)r != my_rank) {
            nreq = start_block(nreq, false, from, send_bytes[r], (int)r);
        } else if (in[r] > 0) {
            memcpy(data + own, from, in[r]);
        }
    }
    MPI_Waitall(nreq, requests, MPI_STATUSES_IGNORE);
    if (recv_bytes) {
        memcpy(recv_bytes, in, (size_t)nrank * sizeof *in);
    }
    memory_free(in);
    *bytes = total;
    return data;
}

/* Every rank gets the values of all leaves and adds them itself: (((0+1)+(2+3))+...), whoever computed them. */
void comm_leaf_sum(const grid *g, const double *mine, int n, double *total)
{
    size_t nleaf = (size_t)grid_nleaf(g), size = (size_t)n;
    ASSERT(n >= 0 && nleaf * size <= INT_MAX);
    if (nleaf * size > leaf_room) {
        leaf_room = nleaf * size;
        leaf_values = memory_grow(leaf_values, leaf_room, sizeof *leaf_values);
    }
    int *count = MEMORY_NEW(int, 2 * nrank), *start = count + nrank;
    for (int r = 0; r < nrank; r++) {
        grid_owned(g, r, nrank, &start[r], &count[r]);
        start[r] *= n;
        count[r] *= n;
    }
    MPI_Allgatherv(mine, count[my_rank], MPI_DOUBLE, leaf_values, count, start, MPI_DOUBLE, MPI_COMM_WORLD);
    memory_free(count);
    for (size_t step = 1; step < nleaf; step *= 2) {
        for (size_t i = 0; i + step < nleaf; i += 2 * step) {
            double *a = leaf_values + i * size;
            const double *b = a + step * size;
            for (size_t k = 0; k < size; k++) {
                a[k] += b[k];
            }
        }
    }
    if (n > 0) {
        memcpy(total, leaf_values, size * sizeof *total);
    }
}

/* One network of nleaf leaves from leaf `first` on.  The owner of a node's first leaf has its sum: on each level of the tree a rank sends at most one
 * vector down in rank, and then receives at most one from above. */
static void sum_network(const grid *g, int first, int nleaf, double *mine, int own_first, int own_count, int64_t n, double *other)
{
    for (int step = 1; step < nleaf; step *= 2) {
        for (int i = 0; i + step < nleaf; i += 2 * step) {
            int a = grid_owner(g, nrank, first + i), b = grid_owner(g, nrank, first + i + step);
            double *at_a = a == my_rank ? mine + (first + i - own_first) * n : NULL;
            const double *from_b = b == my_rank ? mine + (first + i + step - own_first) * n : NULL;
            ASSERT((!at_a && !from_b) || own_count > 0);
            if (from_b && !at_a) {
                MPI_Send(from_b, (int)n, MPI_DOUBLE, a, TAG_SUM, MPI_COMM_WORLD);
            } else if (at_a && !from_b) {
                MPI_Recv(other, (int)n, MPI_DOUBLE, b, TAG_SUM, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
                from_b = other;
            }
            for (int64_t k = 0; at_a && k < n; k++) {
                at_a[k] += from_b[k];
            }
        }
    }
}

void comm_network_sum(const grid *g, double *mine, int64_t n, double *total)
{
    ASSERT(n >= 0 && n <= INT_MAX);
    int own_first, own_count, nleaf = grid_ntile(g) * g->nseq;
    grid_owned(g, my_rank, nrank, &own_first, &own_count);
    int first_net = own_count > 0 ? grid_network(g, own_first) : 0;
    int last_net = own_count > 0 ? grid_network(g, own_first + own_count - 1) : 0;
    bool idle = grid_nleaf(g) < nrank; /* some ranks have no leaves */
    double *other = MEMORY_NEW(double, n);
    for (int net = 0; net < g->nnet; net++) {
        int first = net * nleaf, root = grid_owner(g, nrank, first);
        bool whole = root == grid_owner(g, nrank, first + nleaf - 1) && !(idle && net == 0), wanted = net >= first_net && net <= last_net;
        if (whole && !wanted) {
            continue;
        }
        sum_network(g, first, nleaf, mine, own_first, own_count, n, other);
        double *sum = wanted ? total + (net - first_net) * n : other;
        if (root == my_rank) {
            memcpy(sum, mine + (first - own_first) * n, (size_t)n * sizeof *sum);
        }
        if (!whole) {
            MPI_Bcast(sum, (int)n, MPI_DOUBLE, root, MPI_COMM_WORLD);
        }
    }
    memory_free(other);
}

bool comm_device_memory(void)
{
    const char *wish = getenv("CHIASM_GPU_AWARE_MPI");
    if (wish && strcmp(wish, "on") == 0) {
        return true;
    }
    if (wish && strcmp(wish, "off") == 0) {
        return false;
    }
    if (wish && strcmp(wish, "auto") != 0) {
        error_fatal(EXIT_USAGE, "CHIASM_GPU_AWARE_MPI is '%s'; auto, on and off are known", wish);
    }
#ifdef MPIX_CUDA_AWARE_SUPPORT
    return MPIX_Query_cuda_support() == 1;
#else
    return false;
#endif
}

/* Forward what is sent goes out, back what was received. */
static void swap(const grid_borders *b, int nvalue, bool back, real *const out[], real *const in[])
{
    const MPI_Datatype type = sizeof(real) == sizeof(double) ? MPI_DOUBLE : MPI_FLOAT;
    int nreq = 0;
    need_requests(2 * (size_t)b->npeer);
    for (int i = 0; i < b->npeer; i++) {
        const grid_peer *p = &b->peer[i];
        int64_t n = (back ? p->send_px : p->recv_px) * nvalue;
        if (p->rank != my_rank) {
            ASSERT(n <= INT_MAX);
            MPI_Irecv(in[i], (int)n, type, p->rank, TAG_SWAP, MPI_COMM_WORLD, &requests[nreq++]);
        }
    }
    for (int i = 0; i < b->npeer; i++) {
        const grid_peer *p = &b->peer[i];
        int64_t n = (back ? p->recv_px : p->send_px) * nvalue;
        if (p->rank != my_rank) {
            ASSERT(n <= INT_MAX);
            MPI_Isend(out[i], (int)n, type, p->rank, TAG_SWAP, MPI_COMM_WORLD, &requests[nreq++]);
        }
    }
    for (int i = 0; i < b->npeer; i++) { /* while the messages travel */
        if (b->peer[i].rank == my_rank && in[i] != out[i]) {
            memcpy(in[i], out[i], (size_t)(b->peer[i].send_px * nvalue) * sizeof(real));
        }
    }
    MPI_Waitall(nreq, requests, MPI_STATUSES_IGNORE);
}

void comm_swap(const grid_borders *b, int nvalue, real *const send[], real *const recv[])
{
    swap(b, nvalue, false, send, recv);
}

void comm_swap_back(const grid_borders *b, int nvalue, real *const recv[], real *const send[])
{
    swap(b, nvalue, true, recv, send);
}

bool comm_signal_seen(void)
{
    return signal_seen != 0;
}

/* comm.h - ranks and what they say to each other; only comm.c, and store*.c for parallel HDF5, include <mpi.h>.
 * "Collective": every rank calls it, in the same order. */
#ifndef COMM_H
#define COMM_H
#include "base/base.h"
#include "cluster/grid.h"

/* Collective.  Sets OMPI_MCA_io=^ompio (Open MPI's own MPI-IO loses data on a full disk, tried with 4.1.4) before MPI_Init,
 * installs MPI_Abort as the stop of error.h and the signal handlers of comm_signal_seen. */
void comm_start(int *argc, char ***argv);
void comm_finish(void); /* collective; nothing may be called afterwards */
int comm_rank(void);
int comm_size(void);
int comm_node_rank(void); /* rank within the node */
int comm_node_size(void);
const char *comm_host(void);
const char *comm_library(void); /* MPI's name and version */

void comm_broadcast(void *data, size_t bytes, int root); /* collective */
void comm_barrier(void);                                 /* collective */
bool comm_any(bool mine);                                /* collective; true if true on any rank */
int64_t comm_sum_int(int64_t mine);                      /* collective */
int64_t comm_prefix_int(int64_t mine);                   /* collective; sum over lower ranks */
void comm_max_double(double *v, int n);                  /* collective, in place */
void comm_min_double(double *v, int n);
void comm_gather_double(const double *mine, int n, double *all); /* collective; all[rank][n] on every rank */
void comm_gather(const void *mine, size_t bytes, void *all);     /* collective; the same of small structs */
/* Collective: variable blocks to every rank.  send[] is ordered by destination with send_bytes[size] each; returns memory_alloc'ed
 * data in order of source rank; *recv_bytes [size] likewise if not NULL; total in *bytes. */
void *comm_exchange(const void *send, const size_t *send_bytes, size_t *recv_bytes, size_t *bytes);

/* Collective.  Sum over leaves in one fixed binary tree over leaf numbers: bits do not depend on the number of ranks.
 * mine[count of own leaves][n] -> total[n] on every rank. */
void comm_leaf_sum(const grid *g, const double *mine, int n, double *total);
/* Collective.  Sums over the leaves of each network, in a binary tree over their numbers within it: mine[own leaf][n] (overwritten) -> total[own
 * network][n].  Networks that are whole on their rank cost no message; of a shared one a rank sends a few partial sums up the tree and gets the
 * total.  A rank without leaves gets those of network 0. */
void comm_network_sum(const grid *g, double *mine, int64_t n, double *total);

/* Whether MPI may be given pointers to device memory in comm_swap: what Open MPI says of itself, or CHIASM_GPU_AWARE_MPI=on|off (auto: ask). */
bool comm_device_memory(void);
/* Collective.  Exchanges border buffers with every peer of b (self: a copy, or nothing if send[i] and recv[i] are one): for peer i, send[i] of
 * send_px*nvalue reals goes out and recv[i] of recv_px*nvalue reals comes in. */
void comm_swap(const grid_borders *b, int nvalue, real *const send[], real *const recv[]);
/* The way back: recv[i] goes out, send[i] comes in. */
void comm_swap_back(const grid_borders *b, int nvalue, real *const recv[], real *const send[]);

/* --- stopping in good order ------------------------------------------------------------------------------------------
 * SIGTERM, SIGINT and SIGUSR1 only set a flag; a second SIGINT stops at once.  Not collective: fold into comm_any. */
bool comm_signal_seen(void);
#endif

/* model_borders.c - the two services that couple leaves: border swap and sum. */
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "model/model_own.h"

static borders *find(model *m, int width)
{
    for (int i = 0; i < m->nborders; i++) {
        if (m->borders[i].width == width) {
            return &m->borders[i];
        }
    }
    return NULL;
}

static void need(model *m, int width, int64_t values)
{
    if (width > 0) {
        borders *b = find(m, width);
        if (!b) {
            ASSERT(m->nborders < MODEL_MAX_BORDERS);
            b = &m->borders[m->nborders++];
            b->width = width;
        }
        b->capacity = values > b->capacity ? values : b->capacity;
    }
}

/* Widths, and the most values that cross at once. */
void model_plan_borders(model *m)
{
    for (int i = 0; i < m->noutput; i++) {
        need(m, m->output[i].halo, (int64_t)m->output[i].nchan * m->world.max_nt);
    }
    for (int i = 0; i < m->nstage; i++) {
        need(m, m->stage[i].plan.swap_halo, 1);
    }
}

size_t model_borders_bytes(const model *m)
{
    int64_t values = 0;
    for (int i = 0; i < m->nborders; i++) {
        grid_borders *t = grid_borders_create(&m->world.grid, m->setup.rank, m->setup.nrank, m->borders[i].width);
        for (int p = 0; p < t->npeer; p++) {
            bool own = t->peer[p].rank == m->setup.rank;
            values += (t->peer[p].send_px + (own ? 0 : t->peer[p].recv_px)) * m->borders[i].capacity;
        }
        grid_borders_destroy(t);
    }
    return (size_t)values * sizeof(real);
}

void model_borders_attach(model *m)
{
    bool direct = strcmp(m->be->ops->name, "cpu") == 0; /* backend memory is host memory */
    for (int i = 0; i < m->nborders; i++) {
        borders *b = &m->borders[i];
        b->table = grid_borders_create(&m->world.grid, comm_rank(), comm_size(), b->width);
        int n = b->table->npeer;
        b->device_out = MEMORY_NEW(dreal *, n);
        b->device_in = MEMORY_NEW(dreal *, n);
        b->out = MEMORY_NEW(real *, n);
        b->in = MEMORY_NEW(real *, n);
        for (int p = 0; p < n; p++) {
            int64_t out = b->table->peer[p].send_px * b->capacity, in = b->table->peer[p].recv_px * b->capacity;
            bool own = b->table->peer[p].rank == comm_rank(); /* what is packed is unpacked: one buffer */
            b->device_out[p] = m->be->ops->alloc(m->be, out);
            b->device_in[p] = own ? b->device_out[p] : m->be->ops->alloc(m->be, in);
            b->out[p] = direct || own ? host(b->device_out[p]) : MEMORY_NEW(real, out);
            b->in[p] = direct || own ? host(b->device_in[p]) : MEMORY_NEW(real, in);
        }
    }
}

void model_borders_destroy(model *m)
{
    for (int i = 0; i < m->nborders; i++) {
        borders *b = &m->borders[i];
        for (int p = 0; p < b->table->npeer; p++) {
            if (b->out[p] != host(b->device_out[p])) {
                memory_free(b->out[p]);
                memory_free(b->in[p]);
            }
            m->be->ops->release(m->be, b->device_out[p]);
            if (b->device_in[p] != b->device_out[p]) {
                m->be->ops->release(m->be, b->device_in[p]);
            }
        }
        memory_free(b->device_out);
        memory_free(b->device_in);
        memory_free(b->out);
        memory_free(b->in);
        grid_borders_destroy(b->table);
    }
}

typedef struct edges {
    model *m;
    view v;
    int nt;
    void (*edge)(backend *, int nt, view x, int field_ny, int field_nx);
} edges;

static void edge_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const edges *c = ctx;
    c->edge(c->m->be, c->nt, view_of_leaf(c->v, first, n), c->m->world.grid.ny, c->m->world.grid.nx);
}

void model_swap(void *model_, view v, int nt)
{
    model *m = model_;
    if (v.halo == 0) {
        return;
    }
    enum log_phase phase = log_phase_now();
    log_phase(PHASE_BORDERS);
    const borders *b = find(m, v.halo);
    ASSERT(b && b->table);
    const grid_borders *t = b->table;
    const backend_ops *ops = m->be->ops;
    int values = nt * v.nchan;
    ASSERT(values <= b->capacity);
    for (int p = 0; p < t->npeer; p++) {
        const grid_peer *peer = &t->peer[p];
        ops->pack(m->be, peer->nsend, peer->send, nt, v, b->device_out[p]);
        if (b->out[p] != host(b->device_out[p])) {
            ops->download(m->be, b->out[p], b->device_out[p], peer->send_px * values);
        }
    }
    if (t->npeer > 0) {
        comm_swap(t, values, b->out, b->in);
    }
    for (int p = 0; p < t->npeer; p++) {
        const grid_peer *peer = &t->peer[p];
        if (b->in[p] != host(b->device_in[p])) {
            ops->upload(m->be, b->device_in[p], b->in[p], peer->recv_px * values);
        }
        ops->unpack(m->be, peer->nrecv, peer->recv, nt, v, b->device_in[p]);
    }
    ops->each_leaf(m->be, v.nleaf, edge_leaves, &(edges){m, v, nt, ops->edge});
    log_phase(phase);
}

/* model_swap backwards: what the edge rule copied goes home first, then what came from neighbours. */
void model_swap_back(void *model_, view g, int nt)
{
    model *m = model_;
    if (g.halo == 0) {
        return;
    }
    enum log_phase phase = log_phase_now();
    log_phase(PHASE_BORDERS);
    const borders *b = find(m, g.halo);
    ASSERT(b && b->table);
    const grid_borders *t = b->table;
    const backend_ops *ops = m->be->ops;
    int values = nt * g.nchan;
    ASSERT(values <= b->capacity);
    ops->each_leaf(m->be, g.nleaf, edge_leaves, &(edges){m, g, nt, ops->edge_back});
    for (int p = 0; p < t->npeer; p++) {
        const grid_peer *peer = &t->peer[p];
        ops->take(m->be, peer->nrecv, peer->recv, nt, g, b->device_in[p]);
        if (b->in[p] != host(b->device_in[p])) {
            ops->download(m->be, b->in[p], b->device_in[p], peer->recv_px * values);
        }
    }
    if (t->npeer > 0) {
        comm_swap_back(t, values, b->in, b->out);
    }
    for (int p = 0; p < t->npeer; p++) {
        const grid_peer *peer = &t->peer[p];
        if (b->out[p] != host(b->device_out[p])) {
            ops->upload(m->be, b->device_out[p], b->out[p], peer->send_px * values);
        }
        ops->unpack_add(m->be, peer->nsend, peer->send, nt, g, b->device_out[p]);
    }
    log_phase(phase);
}

void model_sum_leaves(void *model_, const double *mine, int n, double *total)
{
    model *m = model_;
    ASSERT(m->world.grid.nnet == 1);
    comm_leaf_sum(&m->world.grid, mine, n, total);
}

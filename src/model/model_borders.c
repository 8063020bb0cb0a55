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
    ASSERT(m->nborders < MODEL_MAX_STAGE);
    borders *b = &m->borders[m->nborders++];
    b->width = width;
    return b;
}

void model_borders_attach(model *m)
{
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        if (o->halo > 0) {
            borders *b = find(m, o->halo);
            int64_t values = (int64_t)o->nchan * m->world.max_nt;
            b->capacity = values > b->capacity ? values : b->capacity;
        }
    }
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
            b->device_out[p] = m->be->ops->alloc(m->be, out);
            b->device_in[p] = m->be->ops->alloc(m->be, in);
            b->out[p] = direct ? host(b->device_out[p]) : MEMORY_NEW(real, out);
            b->in[p] = direct ? host(b->device_in[p]) : MEMORY_NEW(real, in);
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
            m->be->ops->release(m->be, b->device_in[p]);
        }
        memory_free(b->device_out);
        memory_free(b->device_in);
        memory_free(b->out);
        memory_free(b->in);
        grid_borders_destroy(b->table);
    }
}

static void edge_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    struct {
        model *m;
        view v;
        int nt;
    } *c = ctx;
    c->m->be->ops->edge(c->m->be, c->nt, view_of_leaf(c->v, first, n), c->m->world.grid.ny, c->m->world.grid.nx);
}

void model_swap(void *model_, view v, int nt)
{
    model *m = model_;
    if (v.halo == 0 || v.nleaf == 0) {
        if (v.halo == 0 || comm_size() == 1) {
            return;
        }
    }
    enum log_phase phase = log_phase_now();
    log_phase(PHASE_BORDERS);
    borders *b = find(m, v.halo);
    const grid_borders *t = b->table;
    const backend_ops *ops = m->be->ops;
    int values = nt * v.nchan;
    ASSERT(t && values <= b->capacity);
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
    struct {
        model *m;
        view v;
        int nt;
    } edge = {m, v, nt};
    ops->each_leaf(m->be, v.nleaf, edge_leaves, &edge);
    log_phase(phase);
}

void model_sum_leaves(void *model_, const double *mine, int n, double *total)
{
    model *m = model_;
    comm_leaf_sum(&m->world.grid, mine, n, total);
}

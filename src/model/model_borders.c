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

/* Where each peer's part begins. */
static void lay_out(borders *b)
{
    const grid_borders *t = b->table;
    b->out_px = MEMORY_NEW(int64_t, t->npeer);
    b->in_px = MEMORY_NEW(int64_t, t->npeer);
    b->far_out_px = b->far_in_px = 0;
    for (int p = 0; p < t->npeer; p++) {
        if (t->peer[p].rank != comm_rank()) {
            b->out_px[p] = b->far_out_px;
            b->in_px[p] = b->far_in_px;
            b->far_out_px += t->peer[p].send_px;
            b->far_in_px += t->peer[p].recv_px;
        }
    }
    for (int p = 0; p < t->npeer; p++) {
        if (t->peer[p].rank == comm_rank()) {
            b->out_px[p] = b->far_out_px;
        }
    }
}

static bool is_own(const borders *b, int peer)
{
    return b->table->peer[peer].rank == comm_rank();
}

static int64_t all_out_px(const borders *b)
{
    int64_t n = b->far_out_px;
    for (int p = 0; p < b->table->npeer; p++) {
        n += is_own(b, p) ? b->table->peer[p].send_px : 0;
    }
    return n;
}

void model_borders_attach(model *m)
{
    const backend_ops *ops = m->be->ops;
    bool host_memory = strcmp(ops->name, "cpu") == 0, direct = host_memory || comm_device_memory(), far = false;
    for (int i = 0; i < m->nborders; i++) {
        borders *b = &m->borders[i];
        b->table = grid_borders_create(&m->world.grid, comm_rank(), comm_size(), b->width);
        lay_out(b);
        b->send = MEMORY_NEW(real *, b->table->npeer);
        b->recv = MEMORY_NEW(real *, b->table->npeer);
        b->device_out = ops->alloc(m->be, all_out_px(b) * b->capacity);
        b->device_in = ops->alloc(m->be, b->far_in_px * b->capacity);
        b->out = direct ? host(b->device_out) : ops->host_alloc(m->be, b->far_out_px * b->capacity);
        b->in = direct ? host(b->device_in) : ops->host_alloc(m->be, b->far_in_px * b->capacity);
        far = far || b->far_out_px > 0;
    }
    if (far && !host_memory) {
        log_say(LOG_PROGRESS, "borders  %s", direct ? "go from device to device: MPI takes device pointers" : "go through pinned host memory");
    }
}

void model_borders_destroy(model *m)
{
    const backend_ops *ops = m->be->ops;
    for (int i = 0; i < m->nborders; i++) {
        borders *b = &m->borders[i];
        if (b->out != host(b->device_out)) {
            ops->host_release(m->be, b->out);
            ops->host_release(m->be, b->in);
        }
        ops->release(m->be, b->device_out);
        ops->release(m->be, b->device_in);
        memory_free(b->out_px);
        memory_free(b->in_px);
        memory_free(b->send);
        memory_free(b->recv);
        grid_borders_destroy(b->table);
    }
}

/* Peer p's part of what goes out and of what comes in, with so many values a pixel. */
static dreal *part_out(const borders *b, int p, int values)
{
    return b->device_out + b->out_px[p] * values;
}
static dreal *part_in(const borders *b, int p, int values)
{
    return is_own(b, p) ? part_out(b, p, values) : b->device_in + b->in_px[p] * values;
}

/* Packed borders to the other ranks and theirs here; back: what came in goes home. */
static void exchange(model *m, const borders *b, int values, bool back)
{
    const backend_ops *ops = m->be->ops;
    const grid_borders *t = b->table;
    const dreal *from = back ? b->device_in : b->device_out;
    dreal *to = back ? b->device_out : b->device_in;
    int64_t nfrom = (back ? b->far_in_px : b->far_out_px) * values, nto = (back ? b->far_out_px : b->far_in_px) * values;
    bool staged = b->out != host(b->device_out);
    if (nfrom == 0 && nto == 0) {
        return;
    }
    for (int p = 0; p < t->npeer; p++) {
        b->send[p] = is_own(b, p) ? host(part_out(b, p, values)) : b->out + b->out_px[p] * values;
        b->recv[p] = is_own(b, p) ? b->send[p] : b->in + b->in_px[p] * values;
    }
    if (staged) {
        ops->download(m->be, back ? b->in : b->out, from, nfrom);
    } else {
        ops->sync(m->be);
    }
    back ? comm_swap_back(t, values, b->recv, b->send) : comm_swap(t, values, b->send, b->recv);
    if (staged) {
        ops->upload(m->be, to, back ? b->out : b->in, nto);
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
        ops->pack(m->be, t->peer[p].nsend, t->peer[p].send, nt, v, part_out(b, p, values));
    }
    exchange(m, b, values, false);
    for (int p = 0; p < t->npeer; p++) {
        ops->unpack(m->be, t->peer[p].nrecv, t->peer[p].recv, nt, v, part_in(b, p, values));
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
        ops->take(m->be, t->peer[p].nrecv, t->peer[p].recv, nt, g, part_in(b, p, values));
    }
    exchange(m, b, values, true);
    for (int p = 0; p < t->npeer; p++) {
        ops->unpack_add(m->be, t->peer[p].nsend, t->peer[p].send, nt, g, part_out(b, p, values));
    }
    log_phase(phase);
}

bool model_swap_is_local(void *model_, int halo)
{
    const borders *b = find(model_, halo);
    return !b || (b->far_out_px == 0 && b->far_in_px == 0);
}

void model_sum_leaves(void *model_, const double *mine, int n, double *total)
{
    model *m = model_;
    ASSERT(m->world.grid.nnet == 1);
    comm_leaf_sum(&m->world.grid, mine, n, total);
}

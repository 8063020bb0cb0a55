/* model_look.c - what there is to see of a model: its outputs, its size, its plan in words. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/model_own.h"

int model_noutput(const model *m)
{
    return m->noutput;
}

model_output model_output_at(const model *m, int i)
{
    ASSERT(i >= 0 && i < m->noutput);
    const output *o = &m->output[i];
    const stage *s = o->stage >= 0 ? &m->stage[o->stage] : NULL;
    const grid *g = &m->world.grid;
    model_output seen = {.name = o->name,
                         .unit = o->unit,
                         .type = s ? s->type->name : "stimulus",
                         .nchan = o->nchan,
                         .cells = o->cells,
                         .tile = o->tile ? o->tile : m->tile,
                         .ny = o->tile ? o->pad_ny : g->ny,
                         .nx = o->tile ? o->pad_nx : g->nx,
                         .spikes = s && s->plan.spikes,
                         .v = o->v};
    seen.v.nleaf = o->passing ? 0 : o->v.nleaf;
    return seen;
}

int model_find(const model *m, const char *name)
{
    for (int i = 0; i < m->noutput; i++) {
        if (strcmp(m->output[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const spike_list *model_spikes(const model *m, int i, int leaf)
{
    ASSERT(i > 0 && m->stage[m->output[i].stage].spikes);
    return &m->stage[m->output[i].stage].spikes[leaf];
}

const grid *model_grid(const model *m)
{
    return &m->world.grid;
}

int model_chunk_steps(const model *m)
{
    return m->world.max_nt;
}

int model_first_leaf(const model *m)
{
    return m->world.first_leaf;
}

int model_nleaf(const model *m)
{
    return m->world.nleaf;
}

const grid_tile *model_tiles(const model *m)
{
    return m->tile;
}

/* Passing outputs of all leaves stand side by side there.  Working memory is shared by the stages; what would take more of it goes group by group of
 * leaves and frames (cuda/: at most half a GB for those of one leaf).  Of a stage with spikes the currents and counts of a chunk are kept. */
static void size_on_device(const model *m, size_t nleaf, double scratch, model_sizes *s)
{
    const double staging = 16e6, most_work = (double)(512 << 20);
    double leaf = (double)m->nstate * sizeof(real), held = 0, work = scratch;
    for (int i = 0; i < m->noutput; i++) {
        leaf += (double)m->output[i].leaf_stride * sizeof(real);
    }
    for (int i = 0; i < m->nstage; i++) {
        const stage_plan *p = &m->stage[i].plan;
        held += p->bytes_held;
        work = p->bytes_thread > work ? p->bytes_thread : work;
        leaf += p->spikes ? 3 * (double)m->output[m->stage[i].out].leaf_stride * sizeof(real) : 0;
    }
    double together = work * (double)nleaf * m->world.max_nt;
    work = together < most_work ? together : work > most_work ? work : most_work;
    s->bytes_device_fixed = (size_t)(staging + held + work);
    size_t swaps = model_borders_bytes(m), leaves = (size_t)(leaf * (double)nleaf) + swaps + model_back_bytes(m);
    s->bytes_device = s->bytes_device_fixed + leaves;
    s->bytes_device_leaf = (leaves + swaps) / nleaf;
}

model_sizes model_size(const model *m)
{
    model_sizes s = {0};
    size_t nleaf = (size_t)(m->world.nleaf > 0 ? m->world.nleaf : 1), nthread = (size_t)(m->setup.nthread > 0 ? m->setup.nthread : 1);
    for (int i = 0; i < m->noutput; i++) {
        s.bytes_arrays += (m->output[i].passing ? nthread : nleaf) * (size_t)m->output[i].leaf_stride * sizeof(real);
    }
    s.bytes_state = nleaf * (size_t)m->nstate * sizeof(real);
    double pixels = (double)m->world.grid.ny * m->world.grid.nx;
    double tables = (double)model_borders_bytes(m), scratch = 0;
    for (int i = 0; i < m->nstage; i++) {
        const stage *st = &m->stage[i];
        double elements = st->plan.cells ? (double)st->plan.cells->ncell : pixels * st->plan.nchan;
        s.flop_per_step += st->plan.flop * elements;
        s.bytes_per_step += (st->plan.bytes > 0 ? st->plan.bytes : (double)(st->nin + 1) * sizeof(real)) * elements;
        tables += st->plan.bytes_held + (double)nthread * st->plan.bytes_thread;
        scratch = st->plan.bytes_scratch > scratch ? st->plan.bytes_scratch : scratch;
    }
    s.bytes_tables = (size_t)(tables + (double)nthread * scratch);
    s.bytes_arrays += model_back_bytes(m);
    size_on_device(m, nleaf, scratch, &s);
    return s;
}

const char *model_device(const model *m)
{
    return m->be->ops->name;
}

void model_print_plan(const model *m)
{
    const grid *g = &m->world.grid;
    log_say(LOG_RESULT, "field %d x %d pixels in %d x %d tiles of %d x %d, chunks of %d steps", g->nx, g->ny, g->ntile_x, g->ntile_y, g->tile_nx,
            g->tile_ny, m->world.max_nt);
    log_say(LOG_RESULT, "%-24s %-13s %-16s %6s %6s  %s", "stage", "type", "shape", "halo", "past", "how");
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        char shape[64];
        if (o->cells) {
            snprintf(shape, sizeof shape, "%lld cells", (long long)o->cells->ncell);
        } else {
            snprintf(shape, sizeof shape, "%d x %d x %d", o->nchan, o->tile ? o->pad_ny : g->ny, o->tile ? o->pad_nx : g->nx);
        }
        const stage *s = o->stage >= 0 ? &m->stage[o->stage] : NULL;
        log_say(LOG_RESULT, "%-24s %-13s %-16s %6d %6d  %s", o->name, s ? s->type->name : "-", shape, o->halo, o->hist, s ? s->plan.note : "");
    }
}

static bool finite_tile(const output *o, const grid_tile *tile, const real *frame)
{
    for (int c = 0; c < o->nchan; c++) {
        for (int y = 0; y < tile->ny; y++) {
            const real *row = frame + c * o->chan_stride + (y + o->halo) * o->row_stride + o->halo;
            for (int x = 0; x < tile->nx; x++) {
                if (!isfinite(row[x])) {
                    return false;
                }
            }
        }
    }
    return true;
}

const char *model_not_finite(model *m, int nt)
{
    for (int i = 0; i < m->noutput; i++) {
        const output *o = &m->output[i];
        real *frame = MEMORY_NEW(real, o->frame_stride);
        bool fine = true;
        for (int l = 0; fine && !o->passing && l < m->world.nleaf; l++) {
            m->be->ops->download(m->be, frame, o->data + l * o->leaf_stride + (o->hist + nt - 1) * o->frame_stride, o->frame_stride);
            fine = finite_tile(o, &o->v.tile[l], frame);
        }
        memory_free(frame);
        if (!fine) {
            return o->name;
        }
    }
    return NULL;
}

/* test_record.c - results against a model of our own whose values are known in closed form.  Runs on any number of ranks; alone, it starts itself
 * on three and compares digests.  `test_record write FILE` only writes the file (for test_sonata.py). */
#include "test.h"

#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/record_own.h"

/* --- a model: 13 x 17 pixels in 3 x 4 tiles, three maps and two populations --------------------------------------------- */
enum { NY = 13, NX = 17, NSTEP = 1000, CHUNK = 7, HALO = 2, NCELL = 29, NOUT = 6, MAX_LEAF = 12 };
static const double STEP_S = 0.001, PIXELS_PER_DEG = 10;
enum { STIMULUS, OPL, CELLS_0, SPIKES_0, CELLS_1, SPIKES_1 };

struct model {
    grid grid;
    int first, nleaf;
    grid_tile tile[MAX_LEAF], cell_tile[MAX_LEAF];
    int64_t id[MAX_LEAF * NCELL];
    double x_deg[NCELL], y_deg[NCELL];
    population cells[2];
    real *frames[NOUT];
    spike_list spikes[MAX_LEAF], none;
};

/* Whole numbers below 2^24: exact in float. */
static double value(int output, int64_t step, int chan, int y, int x)
{
    return (double)(((step * 2 + chan) * NY + y) * NX + x) + output * 1e6;
}

static double cell_value(int output, int64_t step, int64_t cell)
{
    return (double)(step * NCELL + cell) + output * 1e6;
}

static int cell_leaf(int64_t cell)
{
    return (int)(cell * 7 % MAX_LEAF);
}

/* Cells spike at quarters of a step, so that many spike at the same time. */
static bool cell_spikes(int64_t cell, int64_t step, double *time_s)
{
    *time_s = ((double)step + (double)((cell * 13 + step * 7) % 4) / 4) * STEP_S;
    return (cell * 31 + step * 17) % 5 == 0;
}

static model *fake_create(void)
{
    model *m = MEMORY_NEW(model, 1);
    m->grid = grid_plan(NY, NX, 3, 4);
    grid_owned(&m->grid, comm_rank(), comm_size(), &m->first, &m->nleaf);
    for (int l = 0; l < m->nleaf; l++) {
        int n = 0;
        m->tile[l] = grid_tile_at(&m->grid, m->first + l);
        for (int64_t c = 0; c < NCELL; c++) {
            m->id[l * NCELL + c] = -1;
            if (cell_leaf(c) == m->first + l) {
                m->id[l * NCELL + n++] = c;
            }
        }
        m->cell_tile[l] = (grid_tile){m->first + l, 0, 0, 1, n};
    }
    for (int c = 0; c < NCELL; c++) {
        m->x_deg[c] = c * 0.01;
        m->y_deg[c] = -c * 0.02;
    }
    for (int i = 0; i < 2; i++) {
        m->cells[i] = (population){i ? "cells_1" : "cells_0", NCELL, m->x_deg, m->y_deg, i ? "off" : "on", NCELL, m->id, m->cell_tile};
    }
    return m;
}

static void fake_destroy(model *m)
{
    for (int i = 0; i < NOUT; i++) {
        memory_free(m->frames[i]);
    }
    for (int l = 0; l < MAX_LEAF; l++) {
        memory_free(m->spikes[l].item);
    }
    memory_free(m);
}

const grid *model_grid(const model *m)
{
    return &m->grid;
}
int model_chunk_steps(const model *m)
{
    (void)m;
    return CHUNK;
}
int model_first_leaf(const model *m)
{
    return m->first;
}
int model_nleaf(const model *m)
{
    return m->nleaf;
}
const grid_tile *model_tiles(const model *m)
{
    return m->tile;
}
int model_noutput(const model *m)
{
    (void)m;
    return NOUT;
}

/* Arrays have halos and padding, where -1 stands. */
static view fake_view(const model *m, int output)
{
    bool cells = output >= CELLS_0;
    int halo = cells ? 0 : HALO, nchan = output == OPL ? 2 : 1;
    int pad_ny = cells ? 1 : m->grid.tile_ny, pad_nx = cells ? NCELL : m->grid.tile_nx;
    view v = {.tile = cells ? m->cell_tile : m->tile, .nleaf = m->nleaf, .nchan = nchan, .halo = halo, .pad_ny = pad_ny, .pad_nx = pad_nx};
    v.row_stride = pad_nx + 2 * halo + 3;
    v.chan_stride = v.row_stride * (pad_ny + 2 * halo);
    v.frame_stride = nchan * v.chan_stride;
    v.leaf_stride = CHUNK * v.frame_stride;
    v.at = (dreal *)(m->frames[output] + halo * v.row_stride + halo);
    return v;
}

model_output model_output_at(const model *m, int i)
{
    static const char *const name[] = {"stimulus", "opl", "cells_0", "spikes_0", "cells_1", "spikes_1"};
    model_output o = {.name = name[i], .unit = i == STIMULUS ? "" : i < SPIKES_0 ? "Hz" : "1", .type = "fake", .nchan = i == OPL ? 2 : 1};
    o.cells = i < CELLS_0 ? NULL : &m->cells[i >= CELLS_1];
    o.spikes = i == SPIKES_0 || i == SPIKES_1;
    o.tile = m->tile;
    o.ny = m->grid.ny;
    o.nx = m->grid.nx;
    if (m->frames[i]) {
        o.v = fake_view(m, i);
    }
    return o;
}

void model_keep(model *m, int i)
{
    (void)m;
    (void)i;
}

int model_find(const model *m, const char *name)
{
    for (int i = 0; i < NOUT; i++) {
        if (strcmp(model_output_at(m, i).name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const spike_list *model_spikes(const model *m, int i, int leaf)
{
    return i == SPIKES_0 ? &m->spikes[leaf] : &m->none;
}

static void fill_frames(model *m, int output, int64_t step0, int nt)
{
    if (!m->frames[output]) {
        view shape = fake_view(m, output);
        m->frames[output] = MEMORY_NEW(real, (m->nleaf + 1) * shape.leaf_stride);
    }
    view v = fake_view(m, output);
    for (int64_t k = 0; k < (m->nleaf + 1) * v.leaf_stride; k++) {
        m->frames[output][k] = -1;
    }
    for (int l = 0; l < m->nleaf; l++) {
        for (int f = 0; f < nt; f++) {
            for (int c = 0; c < v.nchan; c++) {
                for (int y = 0; y < v.tile[l].ny; y++) {
                    for (int x = 0; x < v.tile[l].nx; x++) {
                        double at = output >= CELLS_0 ? cell_value(output, step0 + f, m->id[l * NCELL + x])
                                                      : value(output, step0 + f, c, v.tile[l].y0 + y, v.tile[l].x0 + x);
                        ((real *)v.at)[l * v.leaf_stride + f * v.frame_stride + c * v.chan_stride + y * v.row_stride + x] = (real)at;
                    }
                }
            }
        }
    }
}

static void fake_forward(model *m, int64_t step0, int nt)
{
    for (int i = 0; i < NOUT; i++) {
        fill_frames(m, i, step0, nt);
    }
    for (int l = 0; l < m->nleaf; l++) {
        spike_list *s = &m->spikes[l];
        if (!s->item) {
            s->item = MEMORY_NEW(spike, NCELL * CHUNK);
        }
        s->n = 0;
        for (int at = m->cell_tile[l].nx - 1; at >= 0; at--) {
            for (int64_t step = step0; step < step0 + nt; step++) {
                int64_t cell = m->id[l * NCELL + at];
                double time_s;
                if (cell_spikes(cell, step, &time_s)) {
                    s->item[s->n++] = (spike){time_s, cell};
                }
            }
        }
    }
}

/* --- running it --------------------------------------------------------------------------------------------------------- */
/* As late as the contract allows, when the arrays hold other frames; the CPU hands them out at once. */
typedef struct late {
    real *frames;
    void (*got)(void *ctx, const real *at);
    _Alignas(16) char ctx[BACKEND_FETCH_CTX];
} late;
static late waiting[4096];
static int nwaiting, nlate;

static void fetch_late(backend *be, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes)
{
    (void)be;
    ASSERT(nwaiting < (int)(sizeof waiting / sizeof *waiting) && ctx_bytes <= BACKEND_FETCH_CTX);
    late *l = &waiting[nwaiting++];
    l->frames = MEMORY_NEW(real, n);
    l->got = got;
    memcpy(l->frames, from, (size_t)n * sizeof(real));
    memcpy(l->ctx, ctx, ctx_bytes);
}

static void fetched_late(backend *be)
{
    (void)be;
    for (int i = 0; i < nwaiting; i++) {
        waiting[i].got(waiting[i].ctx, waiting[i].frames);
        memory_free(waiting[i].frames);
    }
    nlate += nwaiting;
    nwaiting = 0;
}

static void fetch_now(backend *be, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes)
{
    (void)n;
    _Alignas(16) char copy[BACKEND_FETCH_CTX];
    memcpy(copy, ctx, ctx_bytes);
    (void)be;
    got(copy, host_const(from));
}

static void fetched_now(backend *be)
{
    (void)be;
}
static const backend_ops far_ops = {.name = "far", .fetch = fetch_late, .fetched = fetched_late},
                         near_ops = {.name = "cpu", .fetch = fetch_now, .fetched = fetched_now};
static backend far_backend = {.ops = &far_ops}, near_backend = {.ops = &near_ops};

static const char whole[] = "record:\n"
                            "  maps:\n"
                            "    - stimulus\n"
                            "    - opl\n"
                            "    - {stage: opl, name: centre, every: 3 ms, start: 5 ms, stop: 905 ms, region: [-0.3 deg, -0.2 deg, 0.5 deg, 0.4 deg],"
                            " precision: double}\n"
                            "  reports: [cells_0, {stage: cells_0, name: some, cells: [3, 10-19, 28], every: 10 ms}]\n"
                            "  buffer_mb: 1\n";

typedef struct run_case {
    const char *path, *text;
    backend *be;
    int flush_every;              /* chunks; 0: when the buffer is full */
    int64_t restart_at, lost_at;  /* steps: interrupted at lost_at and gone back to restart_at; 0: not */
} run_case;

static char folder[512]; /* of this run alone, known to all ranks */

static void make_folder(void)
{
    const char *parent = getenv("TMPDIR");
    if (comm_rank() == 0) {
        snprintf(folder, sizeof folder, "%s/chiasm_record_XXXXXX", parent ? parent : "/tmp");
        if (!mkdtemp(folder)) {
            error_fatal(EXIT_NO_OUTPUT, "test_record: '%s' cannot be made", folder);
        }
    }
    comm_broadcast(folder, sizeof folder, 0);
}

static char *temporary(const char *name)
{
    return memory_text("%s/%s", folder, name);
}

static record *plan(input *in, model *m)
{
    record_facts facts = {.command = "test", .stimulus = "closed form", .device = "none", .step_s = STEP_S, .pixels_per_deg = PIXELS_PER_DEG,
                          .nstep = NSTEP, .seed = 0xFEDCBA9876543210u};
    return record_plan(in, input_child(input_root(in), "record"), m, &facts);
}

/* Steps [from, to); number of flushes that were due. */
static int go(record *r, model *m, int64_t from, int64_t to, int flush_every)
{
    int due = 0, chunk = 0;
    for (int64_t step = from, nt; step < to; step += nt) {
        nt = to - step < CHUNK ? to - step : CHUNK;
        fake_forward(m, step, (int)nt);
        record_take(r, m, step, (int)nt);
        bool full = comm_any(record_take_spikes(r, m));
        due += full;
        chunk++;
        if (full || (flush_every && chunk % flush_every == 0)) {
            record_flush(r);
        }
    }
    return due;
}

static int run(const run_case *c)
{
    model *m = fake_create();
    input *in = input_from_text(c->text, "test.yaml", NULL, 0);
    record *r = plan(in, m);
    input_print_problems(in);
    ASSERT(input_nproblem(in) == 0); /* no CHECK here: `write` is no test */
    record_attach(r, c->be);
    record_open(r, c->path, true);
    int due = go(r, m, 0, c->restart_at ? c->restart_at : NSTEP, c->flush_every);
    if (c->restart_at) {
        record_flush(r);
        int64_t position[16];
        ASSERT(record_nposition(r) <= 16);
        record_position(r, position);
        go(r, m, c->restart_at, c->lost_at, 3);
        record_flush(r);
        record_abandon(r);
        record_destroy(r);
        r = plan(in, m);
        record_attach(r, c->be);
        record_resume(r, c->path, position);
        go(r, m, c->restart_at, NSTEP, c->flush_every);
    }
    record_close(r, 1.5);
    record_destroy(r);
    input_destroy(in);
    fake_destroy(m);
    return due;
}

/* --- tests -------------------------------------------------------------------------------------------------------------- */
static store *open_result(const char *path)
{
    const char *why = NULL;
    store *s = store_open_read(path, &why);
    CHECK(s != NULL);
    if (!s) {
        printf("\n    %s: %s", path, why);
        exit(1);
    }
    return s;
}

static void check_map(store *s, const char *name, int output, int first, int every, const int64_t dims[4], int y0, int x0)
{
    store_info info = store_look(s, name);
    CHECK(info.found && info.rank == 4);
    int64_t start[4] = {0}, n = dims[0] * dims[1] * dims[2] * dims[3], wrong = 0, k = 0;
    for (int d = 0; d < 4; d++) {
        CHECK(info.dims[d] == dims[d]);
    }
    double *data = MEMORY_NEW(double, n);
    CHECK(store_read(s, name, STORE_F64, start, dims, data));
    for (int64_t t = 0; t < dims[0]; t++) {
        for (int c = 0; c < dims[1]; c++) {
            for (int y = 0; y < dims[2]; y++) {
                for (int x = 0; x < dims[3]; x++) {
                    wrong += data[k++] != value(output, first + t * every, c, y0 + y, x0 + x);
                }
            }
        }
    }
    CHECK(wrong == 0);
    CHECK(store_read_attr_number(s, name, "dt_s", -1) == every * STEP_S);
    CHECK(store_read_attr_number(s, name, "start_s", -1) == first * STEP_S);
    CHECK(store_read_attr_number(s, name, "y0", -1) == y0);
    CHECK(store_read_attr_number(s, name, "x0", -1) == x0);
    memory_free(data);
}

static void check_report(store *s, const char *path, const int64_t *cell, int64_t ncell, int every, int64_t nframe)
{
    char *data_name = memory_text("%s/data", path), *ids_name = memory_text("%s/mapping/node_ids", path);
    char *pointer_name = memory_text("%s/mapping/index_pointer", path);
    store_info info = store_look(s, data_name);
    int64_t start[2] = {0, 0}, count[2] = {nframe, ncell}, n1 = ncell + 1, wrong = 0;
    CHECK(info.found && info.rank == 2 && info.dims[0] == nframe && info.dims[1] == ncell && info.type == STORE_F32);
    double *data = MEMORY_NEW(double, nframe * ncell);
    int64_t *ids = MEMORY_NEW(int64_t, n1);
    CHECK(store_read(s, data_name, STORE_F64, start, count, data));
    CHECK(store_read(s, ids_name, STORE_I64, start, &ncell, ids));
    for (int64_t i = 0; i < ncell; i++) {
        wrong += ids[i] != cell[i];
        for (int64_t t = 0; t < nframe; t++) {
            wrong += data[t * ncell + i] != cell_value(CELLS_0, t * every, cell[i]);
        }
    }
    CHECK(store_read(s, pointer_name, STORE_I64, start, &n1, ids));
    CHECK(ids[0] == 0 && ids[ncell] == ncell);
    CHECK(wrong == 0);
    memory_free(data);
    memory_free(ids);
    memory_free(data_name);
    memory_free(ids_name);
    memory_free(pointer_name);
}

static int by_time(const void *a_, const void *b_)
{
    const record_event *a = a_, *b = b_;
    return a->time_ms != b->time_ms ? (a->time_ms > b->time_ms) - (a->time_ms < b->time_ms) : (a->cell > b->cell) - (a->cell < b->cell);
}

static void check_spikes(store *s)
{
    record_event *all = MEMORY_NEW(record_event, NCELL * NSTEP);
    int64_t n = 0, start = 0, wrong = 0;
    for (int64_t cell = 0; cell < NCELL; cell++) {
        for (int64_t step = 0; step < NSTEP; step++) {
            double time_s;
            if (cell_spikes(cell, step, &time_s)) {
                all[n++] = (record_event){time_s * 1e3, cell};
            }
        }
    }
    qsort(all, (size_t)n, sizeof *all, by_time);
    store_info info = store_look(s, "/spikes/spikes_0/timestamps");
    CHECK(info.found && info.dims[0] == n && info.type == STORE_F64);
    CHECK(store_look(s, "/spikes/spikes_1/timestamps").dims[0] == 0);
    double *time_ms = MEMORY_NEW(double, n);
    int64_t *id = MEMORY_NEW(int64_t, n);
    CHECK(store_read(s, "/spikes/spikes_0/timestamps", STORE_F64, &start, &n, time_ms));
    CHECK(store_read(s, "/spikes/spikes_0/node_ids", STORE_I64, &start, &n, id));
    for (int64_t i = 0; i < n; i++) {
        wrong += time_ms[i] != all[i].time_ms || id[i] != all[i].cell;
    }
    CHECK(wrong == 0);
    memory_free(all);
    memory_free(time_ms);
    memory_free(id);
}

static void check_cells(store *s)
{
    static const char *const group[] = {"cells_0", "spikes_0", "some", "cells_1", "spikes_1"};
    for (size_t i = 0; i < sizeof group / sizeof *group; i++) {
        double y_deg[NCELL];
        int64_t start = 0, n = NCELL;
        char *name = memory_text("/cells/%s/y_deg", group[i]);
        CHECK(store_read(s, name, STORE_F64, &start, &n, y_deg) && y_deg[28] == -28 * 0.02);
        memory_free(name);
    }
    char *type = store_read_text(s, "/cells/spikes_1/type"), *input_text = store_read_text(s, "/provenance/original");
    char *end = store_read_attr_text(s, "/provenance", "end");
    CHECK_TEXT(type, "off");
    CHECK_TEXT(input_text, whole);
    CHECK(end && strlen(end) == strlen("2026-01-01T00:00:00+00:00"));
    CHECK(store_read_attr_number(s, "/provenance", "wall_s", 0) == 1.5);
    memory_free(type);
    memory_free(input_text);
    memory_free(end);
}

static void contents(void)
{
    char *path = temporary("whole.h5");
    int due = run(&(run_case){path, whole, &near_backend, 0, 0, 0});
    CHECK(due >= 1); /* the buffer of 1 MiB is filled before the end */
    if (comm_rank() == 0) {
        store *s = open_result(path);
        int64_t all[NCELL], some[] = {3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 28};
        for (int i = 0; i < NCELL; i++) {
            all[i] = i;
        }
        check_map(s, "/maps/stimulus", STIMULUS, 0, 1, (int64_t[]){NSTEP, 1, NY, NX}, 0, 0);
        check_map(s, "/maps/opl", OPL, 0, 1, (int64_t[]){NSTEP, 2, NY, NX}, 0, 0);
        /* pixel x stands at (x - 8) / 10 deg, y at (6 - y) / 10 deg; steps 5, 8, .., 902 */
        check_map(s, "/maps/centre", OPL, 5, 3, (int64_t[]){300, 2, 7, 9}, 2, 5);
        CHECK(store_look(s, "/maps/centre").type == STORE_F64);
        CHECK(store_look(s, "/maps/opl").type == STORE_REAL);
        check_report(s, "/report/cells_0", all, NCELL, 1, NSTEP);
        check_report(s, "/report/some", some, 12, 10, NSTEP / 10);
        check_spikes(s);
        check_cells(s);
        store_close_read(s);
    }
    comm_barrier();
    memory_free(path);
}

static char *digests(const char *path)
{
    char *text = store_digests(path, "/", "/provenance");
    CHECK(text && strstr(text, "maps/centre") && strstr(text, "spikes_0/node_ids"));
    return text;
}

/* The same bytes from a device, with other segments, and after going back to a restart file. */
static void same_bytes(void)
{
    char *path = temporary("whole.h5"), *other = temporary("other.h5");
    const run_case cases[] = {
        {other, whole, &far_backend, 0, 0, 0}, {other, whole, &near_backend, 1, 0, 0}, {other, whole, &near_backend, 0, 497, 623}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(&cases[i]);
        if (comm_rank() == 0) {
            char *a = digests(path), *b = digests(other);
            CHECK_TEXT(a, b);
            memory_free(a);
            memory_free(b);
        }
        comm_barrier();
    }
    CHECK(nlate > 0 || comm_size() > MAX_LEAF);
    if (comm_rank() == 0) {
        unlink(other);
    }
    memory_free(path);
    memory_free(other);
}

/* A program under mpirun would take this rank's own Open MPI settings for its own: they are taken away. */
static char *on_three_ranks(const char *path)
{
    extern char **environ;
    char *clean = memory_text("env"), self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    for (char **e = environ; *e; e++) {
        if (strncmp(*e, "OMPI_", 5) == 0 || strncmp(*e, "PMIX_", 5) == 0 || strncmp(*e, "ORTE_", 5) == 0) {
            char *longer = memory_text("%s -u %.*s", clean, (int)strcspn(*e, "="), *e);
            memory_free(clean);
            clean = longer;
        }
    }
    char *command = memory_text("%s OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none "
                                "mpirun --oversubscribe -n 3 '%s' write '%s' > '%s.log' 2>&1",
                                clean, self, path, path);
    memory_free(clean);
    return command;
}

static void any_number_of_ranks(void)
{
    if (comm_size() > 1) { /* done by the run on one rank */
        char *done = temporary("whole.h5");
        if (comm_rank() == 0) {
            unlink(done);
        }
        memory_free(done);
        return;
    }
    char *path = temporary("whole.h5"), *other = temporary("ranks.h5"), *command = on_three_ranks(other);
    CHECK(system(command) == 0);
    char *a = digests(path), *b = digests(other), *log = memory_text("%s.log", other);
    CHECK_TEXT(a, b);
    unlink(other);
    unlink(log);
    unlink(path);
    memory_free(log);
    memory_free(a);
    memory_free(b);
    memory_free(path);
    memory_free(other);
    memory_free(command);
}

static void order_of_spikes(void)
{
    enum { N = 20000 };
    record_event *in = MEMORY_NEW(record_event, N), *out = MEMORY_NEW(record_event, N);
    uint64_t seed = 7;
    for (int kind = 0; kind < 4; kind++) { /* spread, on the step, all at once, one late */
        for (int i = 0; i < N; i++) {
            double t = test_random(&seed) + 1;
            in[i].time_ms = kind == 0 ? t : kind == 1 ? floor(t * 10) : kind == 2 ? 5 : i == 77 ? 1e12 : t;
            in[i].cell = (int64_t)(1000 * (test_random(&seed) + 1));
        }
        record_spikes_sort(in, N, out);
        qsort(in, N, sizeof *in, by_time);
        CHECK(memcmp(in, out, N * sizeof *in) == 0);
    }
    record_spikes_sort(in, 0, out);
    memory_free(in);
    memory_free(out);
}

static void report_times(void)
{
    static const double steps_s[] = {0.0001, 0.0003, 0.0007, 0.001, 1 / 60.0, 1 / 85.0};
    for (size_t i = 0; i < sizeof steps_s / sizeof *steps_s; i++) {
        int wrong = 0;
        for (int64_t n = 1; n < 20000; n += 13) {
            double t[3];
            record_report_times(&(record_series){.first = n % 7, .every = 1 + n % 3, .nframe = n}, steps_s[i], t);
            wrong += (int64_t)((t[1] - t[0]) / t[2]) != n; /* as BMTK counts */
        }
        CHECK(wrong == 0);
    }
}

static void bad_inputs(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"record: {maps: [ople]}", "stimulus, opl"},
        {"record: {maps: [cells_0]}", "not a map; allowed: stimulus, opl"},
        {"record: {reports: [opl]}", "cells_0, spikes_0, cells_1, spikes_1"},
        {"record: {spikes: [cells_0]}", "spikes_0, spikes_1"},
        {"record: {spikes: nobody}", "spikes_0, spikes_1"},
        {"record: {maps: [{stage: opl, every: 2.5 ms}]}", "multiples of 1 ms"},
        {"record: {maps: [{stage: opl, every: 10}]}", "ms"},
        {"record: {maps: [{every: 10 ms}]}", "stage"},
        {"record: {maps: [{stage: opl, start: 2 s}]}", "the run ends at 1 s"},
        {"record: {maps: [{stage: opl, start: 0.5 s, stop: 0.4 s}]}", "nothing is left"},
        {"record: {maps: [{stage: opl, region: [0 deg, 0 deg, 1 deg]}]}", "[x0, y0, x1, y1]"},
        {"record: {maps: [{stage: opl, region: [0 deg, 0 deg, 2 deg, 0.1 deg]}]}", "0.85 deg"},
        {"record: {maps: [{stage: opl, region: [0.01 deg, 0 deg, 0.02 deg, 0.1 deg]}]}", "0.1 deg apart"},
        {"record: {maps: [opl, opl]}", "twice"},
        {"record: {maps: [{stage: opl, name: a/b}]}", "without '/'"},
        {"record: {maps: [{stage: opl, evry: 1 ms}]}", "every"},
        {"record: {maps: [[opl]]}", "name of a stage"},
        {"record: {reports: [{stage: cells_0, cells: 10-29}]}", "0 .. 28"},
        {"record: {reports: [{stage: cells_0, cells: [5-2]}]}", "'5-2'"},
        {"record: {reports: [{stage: cells_0, cells: []}]}", "none are left"},
        {"record: {buffer_mb: 0}", "buffer_mb"},
        {"record: {compression: gzip}", "none"},
    };
    model *m = fake_create();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        input *in = input_from_text(bad[i].text, "bad.yaml", NULL, 0);
        record *r = plan(in, m);
        const char *text = input_nproblem(in) > 0 ? input_problem_text(in, 0) : "no problem";
        CHECK(input_nproblem(in) == 1);
        CHECK(strstr(text, "bad.yaml:1:") != NULL);
        CHECK(strstr(text, bad[i].says) != NULL);
        if (!strstr(text, bad[i].says)) {
            printf("\n    %s\n      -> %s", bad[i].text, text);
        }
        record_destroy(r);
        r = plan(in, NULL); /* a model with problems: no crash */
        record_destroy(r);
        input_destroy(in);
    }
    fake_destroy(m);
}

static void without_a_section(void)
{
    model *m = fake_create();
    input *in = input_from_text("record: {spikes: none}", "test.yaml", NULL, 0);
    record *r = plan(in, m);
    CHECK(input_nproblem(in) == 0 && record_nposition(r) == 0 && record_bytes_buffer(r) == 0);
    record_destroy(r);
    input_destroy(in);
    in = input_from_text("run: {}", "test.yaml", NULL, 0);
    r = plan(in, m);
    CHECK(input_nproblem(in) == 0 && record_nposition(r) == 2 && record_bytes_total(r) == 0);
    CHECK(record_bytes_buffer(r) <= 64 << 20);
    record_destroy(r);
    input_destroy(in);
    fake_destroy(m);
}

static void sizes(void)
{
    model *m = fake_create();
    input *in = input_from_text(whole, "test.yaml", NULL, 0);
    record *r = plan(in, m);
    double reals = sizeof(real) * (1.0 + 2.0) * NSTEP * NY * NX + 8.0 * 300 * 2 * 7 * 9 + 4.0 * (NSTEP * NCELL + 100 * 12);
    CHECK(record_bytes_total(r) == reals);
    CHECK(record_bytes_buffer(r) <= 1 << 20);
    record_destroy(r);
    input_destroy(in);
    fake_destroy(m);
}

int main(int argc, char **argv)
{
    static const test_case tests[] = {{"order of spikes", order_of_spikes},
                                      {"times of reports", report_times},
                                      {"bad inputs", bad_inputs},
                                      {"defaults", without_a_section},
                                      {"sizes", sizes},
                                      {"contents", contents},
                                      {"same bytes: device, segments, restart", same_bytes},
                                      {"same bytes: ranks", any_number_of_ranks}};
    comm_start(&argc, &argv);
    log_start(comm_rank(), LOG_QUIET);
    int failed = 0;
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        run(&(run_case){argv[2], whole, &near_backend, 0, 0, 0});
    } else {
        make_folder();
        failed = test_run("record", tests, (int)(sizeof tests / sizeof *tests));
        comm_barrier();
        failed |= comm_rank() == 0 && rmdir(folder) != 0; /* nothing is left in it */
    }
    failed = comm_any(failed != 0);
    comm_finish();
    return failed;
}

/* test_gpu.c - what carries the ops: arrays and borders, against the CPU's; on a device also its tables, results and what it says when memory is short. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "device.h"
#include "test.h"

/* Of cuda/gpu.h, where it is linked in. */
__attribute__((weak)) const void *gpu_table(backend *be, const void *host, size_t bytes);
__attribute__((weak)) double *gpu_result(backend *be, int nleaf, int nstep, int64_t n, double *to, int64_t stride, bool add);
__attribute__((weak)) int64_t emulate_launches(void);
__attribute__((weak)) int emulate_fault(int k);

static backend *be, *cpu;

static bool on_device(void)
{
    return strcmp(be->ops->name, "cuda") == 0;
}

static real *numbers(int64_t n, uint64_t seed)
{
    real *p = MEMORY_NEW(real, n);
    for (int64_t i = 0; i < n; i++) {
        p[i] = (real)test_random(&seed);
    }
    return p;
}

/* --- whole arrays ---------------------------------------------------------------------------------------------------------- */
static void moves_may_overlap(void)
{
    enum { N = 5000 };
    static const int cases[][3] = {{0, 2500, 2500}, {7, 0, 4000}, {0, 7, 4000}, {100, 100, 50}, {4999, 0, 1}, {3, 9, 0}}; /* to, from, n */
    for (int i = 0; i < 6; i++) {
        int to = cases[i][0], from = cases[i][1], n = cases[i][2];
        real *p = numbers(N, 3);
        dreal *d = test_put(be, p, N);
        be->ops->move(be, d + to, d + from, n);
        real *got = test_get(be, d, N);
        memmove(p + to, p + from, (size_t)n * sizeof(real));
        CHECK(memcmp(got, p, N * sizeof(real)) == 0);
        be->ops->release(be, d);
        memory_free(got);
        memory_free(p);
    }
}

static void arrays_are_filled_and_added(void)
{
    enum { N = 70001 };
    real *p = numbers(N, 5);
    dreal *a = test_put(be, p, N), *b = test_put(be, p, N);
    be->ops->fill(be, b + 1, (real)0.25, N - 2);
    be->ops->add(be, a + 1, b, N - 1);
    be->ops->fill(be, a, 7, 0);
    real *got = test_get(be, a, N);
    int64_t wrong = got[0] != p[0];
    for (int i = 1; i < N; i++) {
        wrong += got[i] != p[i] + (i == 1 ? p[0] : (real)0.25);
    }
    CHECK(wrong == 0);
    be->ops->release(be, a);
    be->ops->release(be, b);
    memory_free(got);
    memory_free(p);
}

/* --- borders ----------------------------------------------------------------------------------------------------------------- */
enum { FIELD_NY = 10, FIELD_NX = 13, HALO = 4, NT = 3, CHAN = 2, MOST_LEAVES = 20 };
typedef struct borders_case {
    grid g;
    int nleaf;
    grid_tile tile[MOST_LEAVES];
    grid_borders *table;
    view v; /* at NULL */
    int64_t n;
} borders_case;

static borders_case make_case(int tiles_y, int tiles_x)
{
    borders_case b = {.g = grid_plan(FIELD_NY, FIELD_NX, tiles_y, tiles_x)};
    b.nleaf = grid_nleaf(&b.g);
    for (int l = 0; l < b.nleaf; l++) {
        b.tile[l] = grid_tile_at(&b.g, l);
    }
    b.table = grid_borders_create(&b.g, 0, 1, HALO);
    int64_t row = b.g.tile_nx + 2 * HALO + 1, chan = row * (b.g.tile_ny + 2 * HALO), frame = CHAN * chan;
    b.v = (view){.nleaf = b.nleaf, .nchan = CHAN, .halo = HALO, .leaf_stride = (NT + 1) * frame, .frame_stride = frame, .chan_stride = chan,
                 .row_stride = row, .pad_ny = b.g.tile_ny, .pad_nx = b.g.tile_nx};
    b.n = b.nleaf * b.v.leaf_stride;
    return b;
}

/* One op on backend `on`: the array, and behind it the buffer. */
static real *after(backend *on, const borders_case *b, int op)
{
    const grid_peer none = {0}, *peer = b->table->npeer > 0 ? &b->table->peer[0] : &none;
    int64_t nbuffer = (peer->send_px > peer->recv_px ? peer->send_px : peer->recv_px) * NT * CHAN;
    real *p = numbers(b->n + nbuffer, 11);
    dreal *array = test_put(on, p, b->n), *buffer = test_put(on, p + b->n, nbuffer);
    view v = b->v;
    v.tile = b->tile;
    v.at = array + HALO * v.row_stride + HALO;
    switch (op) {
    case 0:
        on->ops->pack(on, peer->nsend, peer->send, NT, v, buffer);
        break;
    case 1:
        on->ops->unpack(on, peer->nrecv, peer->recv, NT, v, buffer);
        break;
    case 2:
        on->ops->unpack_add(on, peer->nsend, peer->send, NT, v, buffer);
        break;
    case 3:
        on->ops->take(on, peer->nrecv, peer->recv, NT, v, buffer);
        break;
    case 4:
        on->ops->edge(on, NT, v, FIELD_NY, FIELD_NX);
        break;
    default:
        on->ops->edge_back(on, NT, v, FIELD_NY, FIELD_NX);
    }
    on->ops->download(on, p, array, b->n);
    on->ops->download(on, p + b->n, buffer, nbuffer);
    on->ops->release(on, array);
    on->ops->release(on, buffer);
    return p;
}

static void borders_are_the_cpus(void)
{
    static const char *const name[] = {"pack", "unpack", "unpack_add", "take", "edge", "edge_back"};
    static const int tiles[][2] = {{1, 1}, {2, 2}, {5, 4}, {1, 3}}; /* some smaller than the halo */
    const double rounding = sizeof(real) == sizeof(float) ? 4e-6 : 1e-14; /* of sums of up to 25 numbers below 1, in another order */
    for (int i = 0; i < 4; i++) {
        borders_case b = make_case(tiles[i][0], tiles[i][1]);
        for (int op = b.table->npeer > 0 ? 0 : 4; op < 6; op++) {
            real *want = after(cpu, &b, op), *got = after(be, &b, op);
            double worst = 0;
            for (int64_t k = 0; k < b.n; k++) {
                worst = fmax(worst, fabs((double)got[k] - (double)want[k]));
            }
            if (!(worst <= (op == 5 ? rounding : 0))) {
                printf("\n    %s, %d x %d tiles: differs by %g", name[op], tiles[i][1], tiles[i][0], worst);
            }
            CHECK(worst <= (op == 5 ? rounding : 0));
            memory_free(want);
            memory_free(got);
        }
        grid_borders_destroy(b.table);
    }
}

/* --- tables of the device ---------------------------------------------------------------------------------------------------- */
/* What is queued sees the table as it was then; more tables than are kept; two lengths at one address. */
static void tables_follow_the_host(void)
{
    enum { N = 64, MANY = 1500 };
    if (!on_device()) {
        return;
    }
    static real table[MANY][N];
    real zero[N] = {0};
    dreal *sum = test_put(be, zero, N);
    double want[N] = {0};
    for (int round = 0; round < 3; round++) {
        for (int k = 0; k < MANY; k++) {
            for (int i = 0; i < N; i++) {
                table[k][i] = (real)((k + i + round) % 5 - 2);
                want[i] += (double)table[k][i] * (i < N / 2 ? 2 : 1);
            }
            be->ops->add(be, sum, (const dreal *)gpu_table(be, table[k], sizeof table[k]), N);
            be->ops->add(be, sum, (const dreal *)gpu_table(be, table[k], sizeof table[k] / 2), N / 2);
        }
        const void *once = gpu_table(be, table[MANY - 1], sizeof table[MANY - 1]);
        CHECK(once == gpu_table(be, table[MANY - 1], sizeof table[MANY - 1]));
    }
    real *got = test_get(be, sum, N);
    for (int i = 0; i < N; i++) {
        CHECK(got[i] == (real)want[i]);
    }
    memory_free(got);
    be->ops->release(be, sum);
}

/* --- results ----------------------------------------------------------------------------------------------------------------- */
/* As a kernel would: doubles where gpu_result says. */
static void write_doubles(double *device, const double *from, int64_t n)
{
    be->ops->upload(be, (dreal *)device, (const real *)from, n * (int64_t)(sizeof(double) / sizeof(real)));
}

static void results_come_at_sync(void)
{
    enum { LEAVES = 2, STEPS = 3, N = 2, STRIDE = 5, LARGE = 70000 };
    if (!on_device()) {
        return;
    }
    double from[LEAVES][STEPS][N], to[LEAVES * STRIDE], want[LEAVES * STRIDE], first[LEAVES][N] = {{1, 2}, {3, 4}};
    uint64_t seed = 4;
    for (int i = 0; i < LEAVES * STRIDE; i++) {
        to[i] = want[i] = 1e10 * test_random(&seed);
    }
    for (int i = 0; i < LEAVES * STEPS * N; i++) {
        from[i / (STEPS * N)][i / N % STEPS][i % N] = 1e5 * test_random(&seed); /* so that the order shows in the last bits */
    }
    write_doubles(gpu_result(be, LEAVES, 1, N, to, STRIDE, false), first[0], LEAVES * N); /* stored, then added to */
    write_doubles(gpu_result(be, LEAVES, STEPS, N, to, STRIDE, true), from[0][0], LEAVES * STEPS * N);
    CHECK(memcmp(to, want, sizeof to) == 0); /* not yet */
    be->ops->sync(be);
    for (int l = 0; l < LEAVES; l++) {
        for (int i = 0; i < N; i++) {
            want[l * STRIDE + i] = first[l][i];
            for (int t = STEPS - 1; t >= 0; t--) {
                want[l * STRIDE + i] = from[l][t][i] + want[l * STRIDE + i];
            }
        }
    }
    CHECK(memcmp(to, want, sizeof to) == 0);
    be->ops->sync(be);
    CHECK(memcmp(to, want, sizeof to) == 0); /* once only */
    static double large[LARGE], sum[LARGE], one[1] = {0}, five = 5;
    write_doubles(gpu_result(be, 1, 1, 1, one, 1, true), &five, 1);
    for (int round = 1; round <= 3; round++) { /* more than there was room for, while others wait */
        for (int i = 0; i < LARGE; i++) {
            large[i] = i * round;
        }
        write_doubles(gpu_result(be, 1, 1, LARGE, sum, LARGE, true), large, LARGE);
    }
    be->ops->sync(be);
    int64_t wrong = one[0] != 5;
    for (int i = 0; i < LARGE; i++) {
        wrong += sum[i] != 6.0 * i;
    }
    CHECK(wrong == 0);
}

/* --- memory ------------------------------------------------------------------------------------------------------------------- */
static void shortage_is_explained(void)
{
    if (!on_device() || !emulate_launches) { /* a process may not fork once it has used a real device */
        return;
    }
    int ends[2], status = 0;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        setenv("CHIASM_EMULATE_MB", "8", 1);
        be->ops->alloc(be, 4 << 20);
        _exit(0);
    }
    close(ends[1]);
    char text[4096] = "";
    size_t n = 0;
    for (ssize_t got; n < sizeof text - 1 && (got = read(ends[0], text + n, sizeof text - 1 - n)) > 0; n += (size_t)got) {
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_DEVICE);
    CHECK(strstr(text, "the device has no") && strstr(text, "run.chunk"));
}

/* --- the emulated device ------------------------------------------------------------------------------------------------------ */
/* Each planted fault ends the process or gives wrong numbers. */
static void faults_are_found(void)
{
    enum { WRONG = 3, RIGHT = 4, NO_MORE = 5 };
    for (int k = 0, status = 0; on_device() && emulate_fault && !(WIFEXITED(status) && WEXITSTATUS(status) == NO_MORE); k++) {
        pid_t child = fork();
        if (child == 0) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
            CHECK(freopen("/dev/null", "w", stderr) != NULL);
            test_backend_close(be);
            int found = emulate_fault(k);
            _exit(found < 0 ? NO_MORE : found ? WRONG : RIGHT);
        }
        waitpid(child, &status, 0);
        bool found = WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) == WRONG || WEXITSTATUS(status) == NO_MORE;
        if (!found) {
            printf("\n    fault %d was not found", k);
        }
        CHECK(found);
    }
}

int main(void)
{
    be = test_backend(1);
    cpu = backend_open("cpu", 1);
    static const test_case tests[] = {{"the emulated device finds faults", faults_are_found}, /* first: what has little is soon copied and closed */
                                      {"moves may overlap", moves_may_overlap},
                                      {"arrays are filled and added", arrays_are_filled_and_added},
                                      {"borders are the CPU's", borders_are_the_cpus},
                                      {"tables follow the host", tables_follow_the_host},
                                      {"results come at sync, in order", results_come_at_sync},
                                      {"shortage of memory is explained", shortage_is_explained}};
    int failed = test_run("gpu", tests, (int)(sizeof tests / sizeof tests[0]));
    backend_close(cpu);
    test_backend_close(be);
    return failed;
}

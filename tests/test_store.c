/* test_store.c - any number of ranks; what is written must not depend on it.  Faults are tried in children of a single rank: this program
 * itself, called as  test_store CHILD PATH. */
#include "cluster/store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "test.h"

enum { NT = 11, NC = 2, NY = 23, NX = 37 };
static char folder[256], self[512];

static float value_at(int64_t i)
{
    return (float)((i * 2654435761u >> 7) % 1000003) - 500000.f;
}

static char *path_of(const char *name)
{
    return memory_text("%s/%s", folder, name);
}

/* The oracle of store_digests: shape, then elements. */
static uint64_t fnv(uint64_t h, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001B3ull;
    }
    return h;
}

static void define(store *s)
{
    const int64_t dims[] = {0, NC, NY, NX}, two[] = {2}, whole[] = {NY, NX}, none[] = {0};
    const int64_t version[] = {0, 1};
    store_define_group(s, "/maps");
    store_define_array(s, "/maps/opl", STORE_F32, 4, dims, 4, "1");
    store_define_array(s, "/maps/whole", STORE_F32, 2, whole, 0, "Hz");
    store_define_array(s, "/spikes/on/node_ids", STORE_U64, 1, none, 5, "");
    store_define_values(s, "/report/time", STORE_F64, 1, two, "ms", (double[]){1.5, -2});
    store_define_values(s, "/report/n", STORE_U8, 0, NULL, NULL, (uint8_t[]){7});
    store_define_text(s, "/provenance/input", "model:\n  größe: 1 deg\n");
    store_define_link(s, "/report/time", "/report/again/zeit");
    store_attr_text(s, "/", "program", "chiasm");
    store_attr_number(s, "/maps/opl", "dt_s", 1e-3);
    store_attr_integers(s, NULL, "version", STORE_U32, 2, version);
    store_attr_integers(s, "/", "magic", STORE_U32, 0, (int64_t[]){0x0A7A});
    store_attr_sorting(s, "/spikes/on", 2);
}

/* Frames [t0, t1): columns are dealt to ranks like leaves; with many ranks some have none.  Given in double: converted. */
static void write_frames(store *s, int t0, int t1)
{
    grid g = grid_plan(1, 3, 1, 3);
    int first, count;
    grid_owned(&g, comm_rank(), comm_size(), &first, &count);
    int64_t x0 = first * NX / 3, nx = (first + count) * NX / 3 - x0, n = 0;
    double *data = MEMORY_NEW(double, (t1 - t0) * NC * NY * nx);
    for (int64_t row = (int64_t)t0 * NC * NY; row < (int64_t)t1 * NC * NY; row++) {
        for (int64_t x = x0; x < x0 + nx; x++) {
            data[n++] = value_at(row * NX + x);
        }
    }
    store_write(s, "maps/opl", STORE_F64, t1, (int64_t[]){t0, 0, 0, x0}, (int64_t[]){t1 - t0, NC, NY, nx}, data);
    memory_free(data);
}

static void write_rest(store *s)
{
    int64_t rank = comm_rank(), n = rank == 0 ? 6 : 0, start[] = {0, 0}, all[] = {NY, NX}, none[] = {0, 0};
    uint64_t ids[6] = {1, 2, 3, 5, 8, (uint64_t)1 << 40};
    float *plane = MEMORY_NEW(float, NY * NX);
    for (int i = 0; i < NY * NX; i++) {
        plane[i] = value_at(i);
    }
    store_write(s, "/maps/whole", STORE_F32, 0, start, rank == comm_size() - 1 ? all : none, plane);
    store_write(s, "/spikes/on/node_ids", STORE_U64, 6, start, &n, rank == 0 ? ids : NULL);
    store_attr_number(s, "/", "wall_s", 2.5);
    memory_free(plane);
}

static void write_file(const char *path, bool overwrite)
{
    store *s = store_create(path, overwrite);
    define(s);
    store_begin(s);
    store_need_space(s, 1000);
    write_frames(s, 0, 3);
    CHECK(store_rows(s, "/maps/opl") == 3);
    store_flush(s);
    write_frames(s, 3, NT);
    write_rest(s);
    store_close(s);
}

static bool opl_is_right(store *s, int nt)
{
    store_info info = store_look(s, "/maps/opl");
    bool right = info.found && info.type == STORE_F32 && info.rank == 4 && info.dims[0] == nt && info.dims[3] == NX;
    float frame[NY * NX];
    for (int t = 0; right && t < nt * NC; t++) {
        right = store_read(s, "/maps/opl", STORE_F32, (int64_t[]){t / NC, t % NC, 0, 0}, (int64_t[]){1, 1, NY, NX}, frame);
        for (int i = 0; right && i < NY * NX; i++) {
            right = frame[i] == value_at(t * NY * NX + i);
        }
    }
    return right;
}

static void check_small(store *s)
{
    double two[2], n;
    uint64_t ids[6];
    CHECK(store_read(s, "/report/again/zeit", STORE_F64, NULL, NULL, two) && two[0] == 1.5 && two[1] == -2);
    CHECK(store_read(s, "/report/n", STORE_F64, NULL, NULL, &n) && n == 7);
    CHECK(store_read(s, "/spikes/on/node_ids", STORE_U64, NULL, NULL, ids) && ids[5] == (uint64_t)1 << 40);
    CHECK(!store_read(s, "/report/time", STORE_F64, (int64_t[]){1}, (int64_t[]){2}, two)); /* beyond the end */
    CHECK(!store_read(s, "/no/such", STORE_F64, NULL, NULL, two) && !store_look(s, "/maps").found && !store_look(s, "/provenance/input").found);
    const char *const want[][3] = {{"/maps/whole", "units", "Hz"}, {"/report/time", "units", "ms"}, {"/", "program", "chiasm"}};
    for (int i = 0; i < 3; i++) {
        char *text = store_read_attr_text(s, want[i][0], want[i][1]);
        CHECK_TEXT(text, want[i][2]);
        memory_free(text);
    }
    char *text = store_read_text(s, "/provenance/input");
    CHECK_TEXT(text, "model:\n  größe: 1 deg\n");
    memory_free(text);
    CHECK(!store_read_text(s, "/provenance/none") && !store_read_attr_text(s, "/", "none"));
    CHECK(store_read_attr_number(s, "/maps/opl", "dt_s", 0) == 1e-3 && store_read_attr_number(s, "/", "wall_s", 0) == 2.5);
    CHECK(store_read_attr_number(s, "/", "magic", 0) == 0x0A7A && store_read_attr_number(s, "/", "none", -1) == -1);
}

static void round_trip(void)
{
    char *path = path_of("round.h5"), *part = path_of("round.h5.part"), *lock = path_of("round.h5.lock");
    const char *why;
    write_file(path, false);
    CHECK(access(part, F_OK) != 0 && access(lock, F_OK) != 0);
    comm_barrier(); /* rank 0 makes both again */
    write_file(path, true);
    store *s = store_open_read(path, &why); /* each rank for itself */
    CHECK(s != NULL);
    if (s) {
        CHECK(opl_is_right(s, NT));
        check_small(s);
        store_close_read(s);
    }
    comm_barrier();
    s = store_open_parallel(path, &why);
    CHECK(s && opl_is_right(s, NT));
    if (s) {
        check_small(s);
        store_close_read(s);
    }
    comm_barrier();
    memory_free(path);
    memory_free(part);
    memory_free(lock);
}

static void digests(void)
{
    char *path = path_of("round.h5");
    float *all = MEMORY_NEW(float, NT * NC * NY * NX);
    const uint64_t dims[] = {NT, NC, NY, NX};
    for (int64_t i = 0; i < (int64_t)NT * NC * NY * NX; i++) {
        all[i] = value_at(i);
    }
    uint64_t opl = fnv(fnv(0xCBF29CE484222325ull, dims, sizeof dims), all, sizeof(float) * NT * NC * NY * NX);
    uint64_t plane = fnv(fnv(0xCBF29CE484222325ull, dims + 2, 2 * sizeof *dims), all, sizeof(float) * NY * NX);
    char *want = memory_text("/maps/opl %016llx\n/maps/whole %016llx\n", (unsigned long long)opl, (unsigned long long)plane);
    char *maps = store_digests(path, "/maps", NULL), *few = store_digests(path, "/", "/provenance"), *none = store_digests(path, "/no", NULL);
    CHECK_TEXT(maps, want);
    CHECK(strncmp(few, want, strlen(want)) == 0 && strstr(few, "/report/n ") && !strstr(few, "/provenance"));
    CHECK_TEXT(none, "");
    memory_free(maps);
    memory_free(few);
    memory_free(none);
    memory_free(want);
    memory_free(all);
    memory_free(path);
    comm_barrier();
}

/* An interrupted run goes on: too many rows are cut, the rest is written, and nothing shows. */
static void resume(void)
{
    char *path = path_of("resume.h5"), *whole = path_of("round.h5");
    CHECK(store_reopen(path) == NULL);
    store *s = store_create(path, false);
    define(s);
    store_begin(s);
    write_frames(s, 0, 7);
    store_abandon(s, true);
    s = store_reopen(path);
    CHECK(s && store_rows(s, "/maps/opl") == 7);
    store_set_rows(s, "/maps/opl", 5);
    CHECK(opl_is_right(s, 5));
    write_frames(s, 5, NT);
    write_rest(s);
    store_close(s);
    char *a = store_digests(path, "/", NULL), *b = store_digests(whole, "/", NULL);
    CHECK_TEXT(a, b);
    memory_free(a);
    memory_free(b);
    s = store_create(path, true);
    store_begin(s);
    store_abandon(s, false);
    CHECK(store_reopen(path) == NULL);
    memory_free(path);
    memory_free(whole);
}

/* --- faults, in children --------------------------------------------------------------------------------------------- */

static char said[4096];

/* Runs this program on nrank ranks (1: without mpirun); its exit code, what it said on stderr in said[]. */
static int child(int nrank, const char *what, const char *path)
{
    char *log = path_of("child.log");
    char *command = memory_text("env -i PATH=\"$PATH\" HOME=/tmp OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
                                "LSAN_OPTIONS=\"$LSAN_OPTIONS\" ASAN_OPTIONS=\"$ASAN_OPTIONS\" "
                                "OMPI_MCA_mpi_yield_when_idle=1 timeout -k 1 20 %s %s %s '%s' '%s' > '%s' 2>&1",
                                nrank > 1 ? "mpirun --oversubscribe -n" : "env", nrank > 1 ? "2" : "", self, what, path, log);
    int status = system(command);
    FILE *f = fopen(log, "r");
    size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;
    said[n] = 0;
    if (f) {
        fclose(f);
    }
    memory_free(command);
    memory_free(log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(text, f) >= 0);
    if (f) {
        fclose(f);
    }
}

static bool alone(void)
{
    if (comm_size() > 1) {
        printf("skipped (one rank only) ");
    }
    return comm_size() == 1;
}

/* A child that may not create path, and says why; what it said instead is shown. */
static void check_refused(const char *path, const char *why, const char *what_to_do)
{
    int code = child(1, "create", path);
    bool refused = code == EXIT_NO_OUTPUT && strstr(said, why) && strstr(said, what_to_do);
    if (!refused) {
        printf("\n    create '%s': exit code %d, said: %s", path, code, said);
    }
    CHECK(refused);
}

static void refusals(void)
{
    if (!alone()) {
        return;
    }
    char *path = path_of("round.h5"), *fresh = path_of("fresh.h5"), *lock = path_of("fresh.h5.lock"), *lost = path_of("no/such.h5"),
         *in_file = path_of("round.h5/x.h5");
    check_refused(path, "exists already", "--overwrite");
    check_refused(folder, "is a folder", "");
    check_refused(lost, "No such file or directory", "");
    check_refused(in_file, "Not a directory", "");
    check_refused("/proc/x.h5", "cannot be created", "");
    store *s = store_create(fresh, false);
    check_refused(fresh, "being written by another run", comm_host());
    store_begin(s);
    store_abandon(s, false);
    write_text(lock, "elsewhere 1 - 0\n");
    check_refused(fresh, "host elsewhere", "remove");
    char *dead = memory_text("%s 4194305 - 0\n", comm_host()); /* above the largest process number */
    write_text(lock, dead);
    CHECK(child(1, "create", fresh) == 0 && access(lock, F_OK) != 0 && access(fresh, F_OK) == 0);
    memory_free(dead);
    memory_free(path);
    memory_free(fresh);
    memory_free(lock);
    memory_free(lost);
    memory_free(in_file);
}

static void broken_files(void)
{
    if (!alone()) {
        return;
    }
    char *path = path_of("cut.h5"), *text = path_of("text.h5"), *lost = path_of("lost.h5");
    const char *why = NULL;
    write_file(path, false);
    CHECK(truncate(path, 3000) == 0);
    CHECK(!store_open_read(path, &why) && why && strstr(why, "truncated"));
    write_text(text, "hello\n");
    CHECK(!store_open_read(text, &why) && strstr(why, "not an HDF5 file"));
    CHECK(!store_open_parallel(text, &why) && strstr(why, "not an HDF5 file"));
    CHECK(!store_open_read(lost, &why) && strstr(why, "No such file"));
    CHECK(!store_open_read(folder, &why) && strstr(why, "not a file"));
    memory_free(path);
    memory_free(text);
    memory_free(lost);
}

/* kill -9 after a flush and more unflushed rows: what was flushed is there, and the run can go on. */
static void killed(void)
{
    if (!alone()) {
        return;
    }
    char *path = path_of("killed.h5"), *whole = path_of("round.h5");
    CHECK(child(1, "killed", path) == 128 + SIGKILL);
    store *s = store_reopen(path);
    CHECK(s && store_rows(s, "/maps/opl") >= 4);
    if (s) {
        store_set_rows(s, "/maps/opl", 4);
        CHECK(opl_is_right(s, 4));
        write_frames(s, 4, NT);
        write_rest(s);
        store_close(s);
        char *a = store_digests(path, "/", NULL), *b = store_digests(whole, "/", NULL);
        CHECK_TEXT(a, b);
        memory_free(a);
        memory_free(b);
    }
    memory_free(path);
    memory_free(whole);
}

static void disk_full(void)
{
    if (!alone()) {
        return;
    }
    char *disk = path_of("disk"), *path = path_of("disk/full.h5"), *lock = path_of("disk/full.h5.lock");
    char *mount = memory_text("mount -t tmpfs -o size=20m none '%s' 2>/dev/null", disk), *umount = memory_text("umount '%s'", disk);
    if (mkdir(disk, 0777) != 0 || geteuid() != 0 || system(mount) != 0) {
        printf("skipped (a small disk cannot be mounted) ");
    } else {
        const char *const how[] = {"full", "short"};
        for (int i = 0; i < 2; i++) {
            double t0 = log_clock();
            int code = child(2, how[i], path);
            CHECK(code == EXIT_IO);
            CHECK(log_clock() - t0 < 10); /* the promise of issue 2 */
            CHECK(strstr(said, "disk full") && access(path, F_OK) != 0 && access(lock, F_OK) != 0);
            if (!strstr(said, "disk full") || code != EXIT_IO) {
                printf("exit code %d: %s", code, said);
            }
        }
        CHECK(system(umount) == 0);
    }
    rmdir(disk);
    memory_free(disk);
    memory_free(path);
    memory_free(lock);
    memory_free(mount);
    memory_free(umount);
}

/* nbyte of f32 in segments, rows dealt to ranks: fills a disk, or shows the speed. */
static void write_much(const char *path, int64_t nbyte, bool ask)
{
    enum { COLS = 16384, ROWS = 64 };
    int64_t n = comm_size(), rank = comm_rank(), segments = nbyte / (ROWS * COLS * 4);
    float *data = MEMORY_NEW(float, ROWS *COLS);
    store *s = store_create(path, true);
    store_define_array(s, "/maps/v", STORE_F32, 2, (int64_t[]){0, COLS}, ROWS, "1");
    store_begin(s);
    double t0 = log_clock();
    for (int64_t k = 0; k < segments; k++) {
        if (ask) {
            store_need_space(s, ROWS * COLS * 4);
        }
        int64_t r0 = k * ROWS + rank * ROWS / n, r1 = k * ROWS + (rank + 1) * ROWS / n;
        store_write(s, "/maps/v", STORE_F32, (k + 1) * ROWS, (int64_t[]){r0, 0}, (int64_t[]){r1 - r0, COLS}, data);
    }
    double t1 = log_clock();
    store_close(s);
    if (rank == 0) {
        printf("write %.2f s, close %.2f s, %.0f MB/s\n", t1 - t0, log_clock() - t1, (double)nbyte * 1e-6 / (log_clock() - t0));
    }
    memory_free(data);
}

static int be_child(const char *what, const char *path)
{
    if (strcmp(what, "create") == 0) {
        store *s = store_create(path, false);
        store_begin(s);
        store_close(s);
    } else if (strcmp(what, "killed") == 0) {
        store *s = store_create(path, false);
        define(s);
        store_begin(s);
        write_frames(s, 0, 4);
        store_flush(s);
        write_frames(s, 4, 9);
        raise(SIGKILL);
    } else {
        write_much(path, strcmp(what, "speed") == 0 ? (int64_t)256 << 20 : (int64_t)64 << 20, strcmp(what, "short") == 0);
    }
    comm_finish();
    return 0;
}

int main(int argc, char **argv)
{
    comm_start(&argc, &argv);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (argc == 3) {
        return be_child(argv[1], argv[2]);
    }
    if (n <= 0 || (comm_rank() > 0 && !freopen("/dev/null", "w", stdout))) {
        error_fatal(EXIT_INTERNAL, "test_store: cannot start");
    }
    if (comm_rank() == 0) {
        strcpy(folder, "/tmp/chiasm_store_XXXXXX");
        if (!mkdtemp(folder)) {
            error_fatal(EXIT_NO_OUTPUT, "test_store: no folder in /tmp");
        }
    }
    comm_broadcast(folder, sizeof folder, 0);
    const test_case tests[] = {{"round trip", round_trip}, {"digests", digests},           {"resume", resume},      {"refusals", refusals},
                               {"broken files", broken_files}, {"killed after a flush", killed}, {"disk full", disk_full}};
    bool failed = comm_any(test_run("store", tests, (int)(sizeof tests / sizeof tests[0])) != 0);
    char *remove = memory_text("rm -rf '%s'", folder);
    if (comm_rank() == 0 && system(remove) != 0) {
        failed = true;
    }
    memory_free(remove);
    comm_finish();
    return failed;
}

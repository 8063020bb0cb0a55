/* test_restart.c - restart files with a model that is only a table of numbers; any number of ranks. */
#include "run/restart.h"

#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "test.h"

/* --- the model: state[leaf][k] is a function of leaf, k and an offset ------------------------------------------------ */

enum { NLEAF = 6, NSTATE = 1000, NPOSITION = 3 };
struct model {
    grid g;
    int first, count;
    real state[NLEAF][NSTATE];
};

const grid *model_grid(const model *m)
{
    return &m->g;
}

const char *model_device(const model *m)
{
    (void)m;
    return "cpu";
}

int model_first_leaf(const model *m)
{
    return m->first;
}

int model_nleaf(const model *m)
{
    return m->count;
}

int64_t model_nstate(const model *m)
{
    (void)m;
    return NSTATE;
}

void model_state_get(model *m, int leaf, real *state)
{
    memcpy(state, m->state[leaf], sizeof m->state[leaf]);
}

void model_state_set(model *m, int leaf, const real *state)
{
    memcpy(m->state[leaf], state, sizeof m->state[leaf]);
}

static real value(int leaf, int k, int offset)
{
    return (real)(leaf * 1000003 + k * 7 + offset) / (real)1024;
}

static model *make(int offset)
{
    model *m = MEMORY_NEW(model, 1);
    m->g = grid_plan(20, 30, 2, 3);
    grid_owned(&m->g, comm_rank(), comm_size(), &m->first, &m->count);
    for (int l = 0; l < m->count; l++) {
        for (int k = 0; k < NSTATE; k++) {
            m->state[l][k] = value(m->first + l, k, offset);
        }
    }
    return m;
}

static bool holds(const model *m, int offset)
{
    for (int l = 0; l < m->count; l++) {
        for (int k = 0; k < NSTATE; k++) {
            if (m->state[l][k] != value(m->first + l, k, offset)) {
                return false;
            }
        }
    }
    return true;
}

/* --- files --------------------------------------------------------------------------------------------------------- */

/* An effective input; the keys `chunk` of stages are others than run.chunk. */
#define INPUT(threads, chunk, height, stage_chunk)                                                                                                   \
    "run:\n  duration: 2 s\n  threads: " threads "\n  chunk: " chunk "\nfield:\n  size: [2 deg, " height "]\n"                                       \
    "model:\n  stages:\n    - name: a\n      chunk: " stage_chunk "\n"
static const char input_text[] = INPUT("1", "0", "2 deg", "4");
static char folder[64], result[80]; /* of this run alone, known to all ranks */

static void make_folder(void)
{
    if (comm_rank() == 0) {
        strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/chiasm_restart_XXXXXX" : "/tmp/chiasm_restart_XXXXXX");
        if (!mkdtemp(folder)) {
            error_fatal(EXIT_NO_OUTPUT, "test_restart: '%s' cannot be made", folder);
        }
    }
    comm_broadcast(folder, sizeof folder, 0);
    snprintf(result, sizeof result, "%s/result.h5", folder);
}

static void save(int offset, int64_t step)
{
    model *m = make(offset);
    int64_t position[NPOSITION] = {step, 2 * step, offset};
    restart_save(result, input_text, m, &(restart_point){step, NPOSITION, position});
    memory_free(m);
}

/* Loads and checks: expected == -1: refused. */
static void load(const char *text, int offset, int64_t step)
{
    model *m = make(-1);
    int64_t position[NPOSITION] = {0};
    restart_point p = {-1, NPOSITION, position};
    enum restart_found found = restart_load(result, text, m, &p);
    CHECK(found == (offset < 0 ? RESTART_REFUSED : RESTART_LOADED));
    if (found == RESTART_LOADED) {
        CHECK(holds(m, offset));
        CHECK(p.step == step && position[0] == step && position[1] == 2 * step && position[2] == offset);
    }
    memory_free(m);
}

/* Rank 0 changes bytes of a file at the first place where `pattern` stands; true if it was found. */
static bool damage(const char *suffix, const void *pattern, size_t n)
{
    bool found = false;
    if (comm_rank() == 0) {
        char *path = memory_text("%s.restart%s", result, suffix);
        FILE *f = fopen(path, "r+b");
        fseek(f, 0, SEEK_END);
        size_t size = (size_t)ftell(f);
        char *bytes = MEMORY_NEW(char, size);
        rewind(f);
        found = fread(bytes, 1, size, f) == size;
        size_t at = 0;
        while (found && at + n <= size && memcmp(bytes + at, pattern, n) != 0) {
            at++;
        }
        found = found && at + n <= size;
        if (found) {
            fseek(f, (long)at, SEEK_SET);
            fputc(bytes[at] ^ 1, f);
        }
        fclose(f);
        memory_free(bytes);
        memory_free(path);
    }
    comm_broadcast(&found, sizeof found, 0);
    return found;
}

static void cut(const char *suffix, long bytes)
{
    if (comm_rank() == 0) {
        char *path = memory_text("%s.restart%s", result, suffix);
        CHECK(truncate(path, bytes) == 0);
        memory_free(path);
    }
    comm_barrier();
}

static void none(void)
{
    model *m = make(-1);
    int64_t position[NPOSITION];
    restart_point p = {0, NPOSITION, position};
    CHECK(!restart_exists(result));
    CHECK(restart_load(result, input_text, m, &p) == RESTART_NONE);
    memory_free(m);
}

static void round_trip(void)
{
    save(1, 100);
    CHECK(restart_exists(result));
    load(input_text, 1, 100);
    save(2, 200); /* the newest counts */
    load(input_text, 2, 200);
    char *part = memory_text("%s.restart.part", result);
    comm_barrier(); /* the next test writes again */
    CHECK(access(part, F_OK) != 0);
    comm_barrier();
    memory_free(part);
}

static void damaged(void)
{
    save(3, 300);
    save(4, 400);
    real there = value(5, 123, 4);
    CHECK(damage("", &there, sizeof there));
    load(input_text, 3, 300); /* a flipped bit of state: the one before */
    save(5, 500);             /* the damaged one is kept as .prev now */
    load(input_text, 5, 500);
    cut("", 1000);
    load(input_text, -1, 0); /* neither is whole */
    save(6, 600);
    save(7, 700);
    cut("", 0);
    load(input_text, 6, 600);
    char *path = memory_text("%s.restart", result);
    comm_barrier();
    if (comm_rank() == 0) {
        remove(path);
    }
    comm_barrier();
    load(input_text, 6, 600); /* .prev alone is enough */
    memory_free(path);
}

static void other_input(void)
{
    save(8, 800);
    load(INPUT("2", "16", "2 deg", "4"), 8, 800);
    load(INPUT("1", "0", "3 deg", "4"), -1, 0);
    load(INPUT("1", "0", "2 deg", "5"), -1, 0);
}

static void removed(void)
{
    restart_remove(result);
    CHECK(!restart_exists(result));
    none();
}

static void differences(void)
{
    CHECK(restart_differences("a: 1\nb: 2\n", "a: 1\nb: 2\n") == NULL);
    CHECK(restart_differences("run:\n  chunk: 1\nb: 2\n", "run:\n  threads: 4\nb: 2\n") == NULL);
    static const struct {
        const char *then, *now, *lines;
    } pairs[] = {
        {"a: 1\nb: 2\nc: 3\n", "a: 1\nb: 12\nc: 3\n", "  - b: 2\n  + b: 12\n"},
        {"a: 1\nc: 3\n", "a: 1\nb: 2\nc: 3\n", "  + b: 2\n"},
        {"a: 1\na: 1\n", "a: 1\n", "  - a: 1\n"},
        {"", "a: 1\n", "  + a: 1\n"},
        {"x:\n  chunk: 1\n", "x:\n  chunk: 2\n", "  -   chunk: 1\n  +   chunk: 2\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n", "", "  - 1\n  - 2\n  - 3\n  - 4\n  - 5\n  - 6\n  - ...\n"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *lines = restart_differences(pairs[i].then, pairs[i].now);
        CHECK_TEXT(lines, pairs[i].lines);
        memory_free(lines);
    }
}

int main(int argc, char **argv)
{
    static const test_case tests[] = {{"differences of inputs", differences}, {"no restart file", none},
                                      {"save and load", round_trip},          {"damaged files", damaged},
                                      {"another input", other_input},         {"removed", removed}};
    comm_start(&argc, &argv);
    log_start(comm_rank(), LOG_QUIET);
    make_folder();
    int failed = test_run("restart", tests, (int)(sizeof tests / sizeof *tests));
    comm_barrier();
    failed |= comm_rank() == 0 && rmdir(folder) != 0; /* nothing is left in it */
    failed = comm_any(failed != 0);
    comm_finish();
    return failed;
}

/* restart.c - restart files: written under a temporary name, one generation kept, looked through before they are believed. */
#include "run/restart.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "cluster/store.h"

enum { FORMAT = 1, LINES_SHOWN = 6 };
static const char kind[] = "chiasm restart";

/* --- checksums ---------------------------------------------------------------------------------------------------- */

/* 64-bit checksum of words of eight bytes: xor, multiply, fold.  Finds damage; it is no signature. */
uint64_t restart_checksum(uint64_t h, const void *data, size_t bytes)
{
    const char *p = data;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, bytes - i < 8 ? bytes - i : 8);
        h = (h ^ word) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    return h;
}

static uint64_t checksum_of_leaf(int leaf, const real *state, int64_t nstate)
{
    return restart_checksum((uint64_t)leaf + 1, state, (size_t)nstate * sizeof(real));
}

static uint64_t checksum_of_head(int64_t step, int nposition, const int64_t *position, const char *text)
{
    uint64_t h = restart_checksum(FORMAT, &step, sizeof step);
    h = restart_checksum(h, position, (size_t)nposition * sizeof *position);
    return restart_checksum(h, text, strlen(text));
}

/* --- inputs that may go on with each other ------------------------------------------------------------------------ */

/* Copies a text without the lines run.threads and run.chunk, which no result depends on. */
static char *without_free_keys(const char *text)
{
    char *kept = MEMORY_NEW(char, strlen(text) + 1), *end = kept;
    bool in_run = false;
    while (*text) {
        size_t n = strcspn(text, "\n");
        n += text[n] == '\n';
        size_t indent = strspn(text, " ");
        if (indent == 0) {
            in_run = strncmp(text, "run:", 4) == 0;
        }
        bool is_free = in_run && indent > 0 && (strncmp(text + indent, "threads:", 8) == 0 || strncmp(text + indent, "chunk:", 6) == 0);
        if (!is_free) {
            memcpy(end, text, n);
            end += n;
        }
        text += n;
    }
    return kept;
}

static char *add_lines(char *list, char sign, const char *from, const char *to)
{
    for (int shown = 0; from < to; shown++) {
        const char *line = from;
        size_t n = strcspn(line, "\n");
        from += n + (line[n] == '\n');
        char *longer = shown < LINES_SHOWN ? memory_text("%s  %c %.*s\n", list, sign, (int)n, line) : memory_text("%s  %c ...\n", list, sign);
        memory_free(list);
        list = longer;
        if (shown == LINES_SHOWN) {
            break;
        }
    }
    return list;
}

char *restart_differences(const char *then, const char *now)
{
    char *a = without_free_keys(then), *b = without_free_keys(now), *list = NULL;
    if (strcmp(a, b) != 0) {
        size_t na = strlen(a), nb = strlen(b), head = 0, tail = 0, least = na < nb ? na : nb;
        while (head < least && a[head] == b[head]) {
            head++;
        }
        while (head > 0 && a[head - 1] != '\n') { /* whole lines */
            head--;
        }
        while (tail < least - head && a[na - 1 - tail] == b[nb - 1 - tail]) {
            tail++;
        }
        while (tail > 0 && ((na - tail > head && a[na - tail - 1] != '\n') || (nb - tail > head && b[nb - tail - 1] != '\n'))) {
            tail--;
        }
        list = add_lines(memory_text("%s", ""), '-', a + head, a + na - tail);
        list = add_lines(list, '+', b + head, b + nb - tail);
    }
    memory_free(a);
    memory_free(b);
    return list;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

char *restart_name(const char *result, bool previous)
{
    return memory_text("%s.restart%s", result, previous ? ".prev" : "");
}

/* What rank 0 sees is what counts: file systems of clusters may be late on others. */
static bool exists(const char *path)
{
    bool is_there = access(path, F_OK) == 0;
    comm_broadcast(&is_there, sizeof is_there, 0);
    return is_there;
}

bool restart_exists(const char *result)
{
    char *path = restart_name(result, false), *previous = restart_name(result, true);
    bool found = exists(path);
    found = exists(previous) || found;
    memory_free(path);
    memory_free(previous);
    return found;
}

void restart_remove(const char *result)
{
    char *path = restart_name(result, false), *previous = restart_name(result, true);
    char *part = memory_text("%s.part", path), *lock = memory_text("%s.lock", path); /* of a run that was killed while it wrote */
    if (comm_rank() == 0) {
        remove(path);
        remove(previous);
        remove(part);
        remove(lock);
    }
    comm_barrier();
    memory_free(path);
    memory_free(previous);
    memory_free(part);
    memory_free(lock);
}

/* At no moment is there no restart file: the old one gets a second name, which the rename of the new one does not touch. */
void restart_keep_previous(const char *result)
{
    char *path = restart_name(result, false), *previous = restart_name(result, true);
    if (comm_rank() == 0 && access(path, F_OK) == 0) {
        remove(previous);
        if (link(path, previous) != 0 && rename(path, previous) != 0) { /* file systems without hard links */
            log_warn("%s cannot be kept as %s", path, previous);
        }
    }
    comm_barrier();
    memory_free(path);
    memory_free(previous);
}

size_t restart_bytes(const model *m)
{
    return (size_t)(model_nstate(m) > 0 ? model_nstate(m) : 1) * sizeof(real);
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

static void define_file(store *s, const char *input_text, const model *m, const restart_point *p)
{
    int64_t npos = p->nposition, nleaf = grid_nleaf(model_grid(m)), shape[] = {nleaf, model_nstate(m)}, one = 1;
    uint64_t head = checksum_of_head(p->step, p->nposition, p->position, input_text);
    store_attr_text(s, "/", "kind", kind);
    store_attr_number(s, "/", "format", FORMAT);
    store_attr_text(s, "/", "real", REAL_NAME);
    store_attr_text(s, "/", "device", model_device(m));
    store_define_text(s, "/input", input_text);
    store_define_values(s, "/step", STORE_I64, 1, &one, NULL, &p->step);
    if (npos > 0) {
        store_define_values(s, "/position", STORE_I64, 1, &npos, NULL, p->position);
    }
    store_define_values(s, "/head_checksum", STORE_U64, 1, &one, NULL, &head);
    store_define_array(s, "/checksum", STORE_U64, 1, &nleaf, 0, NULL);
    if (shape[1] > 0) {
        store_define_array(s, "/state", STORE_REAL, 2, shape, 0, NULL);
    }
}

/* Every rank writes as often as the one with the most leaves: writing is collective. */
static int64_t most_leaves(const model *m)
{
    double n = model_nleaf(m);
    comm_max_double(&n, 1);
    return (int64_t)n;
}

void restart_save(const char *result, const char *input_text, model *m, const restart_point *p)
{
    int64_t nstate = model_nstate(m), nleaf = grid_nleaf(model_grid(m));
    char *path = restart_name(result, false);
    store *s = store_create(path, true);
    store_need_space(s, (size_t)nleaf * (size_t)nstate * sizeof(real));
    define_file(s, input_text, m, p);
    store_begin(s);
    real *state = memory_alloc(restart_bytes(m), 1);
    for (int64_t l = 0, most = most_leaves(m); l < most; l++) {
        bool mine = l < model_nleaf(m);
        int64_t leaf = model_first_leaf(m) + l, start[] = {mine ? leaf : 0, 0}, count[] = {mine, mine ? nstate : 0};
        uint64_t sum = 0;
        if (mine && nstate > 0) {
            model_state_get(m, (int)l, state);
        }
        if (mine) {
            sum = checksum_of_leaf((int)leaf, state, nstate);
        }
        store_write(s, "/checksum", STORE_U64, nleaf, start, count, &sum);
        if (nstate > 0) {
            store_write(s, "/state", STORE_REAL, nleaf, start, count, state);
        }
    }
    memory_free(state);
    restart_keep_previous(result);
    store_close(s);
    memory_free(path);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

void restart_compare_device(store *s, const char *path, const char *device)
{
    char *then = store_read_attr_text(s, "/", "device");
    if (then && strcmp(then, device) != 0) {
        log_warn("%s was written on %s, this run goes on on %s: the result is right to rounding, but has not the bits of a run on one of them", path, then,
                 device);
    }
    memory_free(then);
}

/* What this rank thinks of a file.  A damaged one is passed over; another one is the user's business. */
typedef struct verdict {
    enum { WHOLE, DAMAGED, OTHER } is;
    char *why; /* memory_free it; NULL when whole */
} verdict;

static bool read_values(store *s, const char *name, enum store_type type, int64_t first, int64_t n, void *values)
{
    store_info info = store_look(s, name);
    return info.found && info.rank == 1 && info.dims[0] >= first + n && store_read(s, name, type, &first, &n, values);
}

/* Precision and input: what a user can mistake. */
static verdict check_origin(store *s, const char *text, const char *input_text)
{
    char *precision = store_read_attr_text(s, "/", "real"), *differences = restart_differences(text, input_text);
    verdict v = {WHOLE, NULL};
    if (!precision || strcmp(precision, REAL_NAME) != 0) {
        v = (verdict){OTHER, memory_text("holds a state in %s, this program computes in %s; resume with the program that wrote it",
                                         precision ? precision : "an unknown precision", REAL_NAME)};
    } else if (differences) {
        differences[strlen(differences) - 1] = '\0';
        v = (verdict){OTHER, memory_text("was written by another input; give that one, or start again with --overwrite. Then (-) and now (+):\n%s",
                                         differences)};
    }
    memory_free(precision);
    memory_free(differences);
    return v;
}

/* position: [n], all that the file has. */
static verdict check_head(store *s, const char *text, const char *input_text, const restart_point *p, const int64_t *position, int n)
{
    uint64_t sum = 0;
    if (!read_values(s, "/head_checksum", STORE_U64, 0, 1, &sum) || sum != checksum_of_head(p->step, n, position, text)) {
        return (verdict){DAMAGED, memory_text("its head is damaged")};
    }
    verdict v = check_origin(s, text, input_text);
    if (v.is == WHOLE && n != p->nposition) {
        v = (verdict){OTHER, memory_text("was written by another version of chiasm; start again with --overwrite")};
    }
    return v;
}

static verdict read_head(store *s, const char *input_text, restart_point *p)
{
    verdict v = {DAMAGED, NULL};
    char *what = store_read_attr_text(s, "/", "kind"), *text = store_read_text(s, "/input");
    store_info info = store_look(s, "/position");
    int n = info.found && info.rank == 1 ? (int)info.dims[0] : 0;
    int64_t *position = MEMORY_NEW(int64_t, n);
    if (!what || strcmp(what, kind) != 0) {
        v.why = memory_text("it is no restart file");
    } else if (store_read_attr_number(s, "/", "format", 0) > FORMAT) {
        v = (verdict){OTHER, memory_text("was written by a newer chiasm; resume with that one, or start again with --overwrite")};
    } else if (!text || !read_values(s, "/step", STORE_I64, 0, 1, &p->step) || (n > 0 && !read_values(s, "/position", STORE_I64, 0, n, position))) {
        v.why = memory_text("its head cannot be read");
    } else {
        v = check_head(s, text, input_text, p, position, n);
    }
    if (v.is == WHOLE && !v.why) {
        memcpy(p->position, position, (size_t)n * sizeof *position);
    }
    memory_free(position);
    memory_free(what);
    memory_free(text);
    return v;
}

static verdict read_states(store *s, model *m)
{
    int64_t nstate = model_nstate(m), nleaf = grid_nleaf(model_grid(m));
    store_info info = store_look(s, "/state");
    if (nstate > 0 && (!info.found || info.rank != 2 || info.dims[0] != nleaf || info.dims[1] != nstate)) {
        return (verdict){OTHER, memory_text("was written by another version of chiasm; start again with --overwrite")};
    }
    verdict v = {WHOLE, NULL};
    real *state = memory_alloc(restart_bytes(m), 1);
    for (int l = 0; l < model_nleaf(m) && v.is == WHOLE; l++) {
        int64_t leaf = model_first_leaf(m) + l, start[] = {leaf, 0}, count[] = {1, nstate};
        uint64_t sum = 0;
        bool done =
            read_values(s, "/checksum", STORE_U64, leaf, 1, &sum) && (nstate == 0 || store_read(s, "/state", STORE_REAL, start, count, state));
        if (!done || sum != checksum_of_leaf((int)leaf, state, nstate)) {
            v = (verdict){DAMAGED, memory_text("the state of tile %lld is damaged", (long long)leaf)};
        } else if (nstate > 0) {
            model_state_set(m, l, state);
        }
    }
    memory_free(state);
    return v;
}

/* Collective: the worst that any rank thinks, with the words of the first rank that thinks so, on every rank. */
static verdict agree(verdict mine)
{
    double worst = mine.is;
    comm_max_double(&worst, 1);
    double speaker = mine.is == worst ? comm_rank() : comm_size();
    comm_min_double(&speaker, 1);
    if (worst == WHOLE) {
        return mine;
    }
    size_t bytes = mine.why ? strlen(mine.why) + 1 : 1;
    comm_broadcast(&bytes, sizeof bytes, (int)speaker);
    char *why = MEMORY_NEW(char, bytes);
    if (comm_rank() == (int)speaker) {
        memcpy(why, mine.why, bytes);
    }
    comm_broadcast(why, bytes, (int)speaker);
    memory_free(mine.why);
    mine.is = (int)worst;
    mine.why = why;
    return mine;
}

static verdict load_one(const char *path, const char *input_text, model *m, restart_point *p)
{
    const char *why = NULL;
    store *s = store_open_parallel(path, &why);
    verdict v = agree(s ? (verdict){WHOLE, NULL} : (verdict){DAMAGED, memory_text("it cannot be opened (%s)", why ? why : "no reason given")});
    if (v.is == WHOLE) {
        v = agree(read_head(s, input_text, p));
    }
    if (v.is == WHOLE) {
        v = agree(read_states(s, m));
    }
    if (v.is == WHOLE) {
        restart_compare_device(s, path, model_device(m));
    }
    if (s) {
        store_close_read(s);
    }
    return v;
}

enum restart_found restart_load(const char *result, const char *input_text, model *m, restart_point *p)
{
    enum restart_found found = RESTART_NONE;
    bool is_other = false;
    for (int previous = 0; previous < 2 && found != RESTART_LOADED && !is_other; previous++) {
        char *path = restart_name(result, previous);
        if (exists(path)) {
            verdict v = load_one(path, input_text, m, p);
            if (v.is == DAMAGED) {
                log_warn("%s is not used: %s%s", path, v.why, previous ? "" : "; looking for the one before");
            } else if (v.is == OTHER && comm_rank() == 0) {
                fprintf(stderr, "chiasm: error: %s %s\n", path, v.why);
            }
            found = v.is == WHOLE ? RESTART_LOADED : RESTART_REFUSED;
            memory_free(v.why);
            is_other = v.is == OTHER;
        }
        memory_free(path);
    }
    if (found == RESTART_REFUSED && !is_other && comm_rank() == 0) {
        fprintf(stderr, "chiasm: error: no restart file of %s is whole; start again with --overwrite\n", result);
    }
    return found;
}

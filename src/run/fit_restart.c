/* fit_restart.c - all that a fit needs to go on: numbers of the optimiser, scores, place in the epoch.  RESULT.h5.restart knows nothing of ranks: it
 * has a row for each network, written by one rank that holds it and read by all that do. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"
#include "run/restart.h"

enum { FORMAT = 1, NCLOCK = 4, NSCORE = 14 };
static const char kind[] = "chiasm fit restart";

/* A stimulus is one vector that every rank holds. */
static int64_t numbers(const fit *f)
{
    return f->s.target == FIT_STIMULUS ? f->npixel : f->nu;
}

/* Values now and then, where training changes some that no optimiser knows. */
static int64_t statistics(const fit *f)
{
    return model_has_statistics(f->m) ? 2 * f->nvalue : 0;
}

static int64_t record_size(const fit *f)
{
    const optim *o = f->course[0].optim;
    return NSCORE + statistics(f) + numbers(f) * (2 + (o ? optim_narray(o) : 0)) + (o ? optim_ncount(o) : 0);
}

/* Everything of one network as doubles; counters are far below 2^53. */
static void pack(const fit *f, int net, double *to)
{
    fit_course *c = &f->course[net];
    const stopping *s = &c->stop;
    double score[NSCORE] = {(double)s->neval, (double)s->best_at, (double)s->stalled, (double)s->waited, (double)s->nreduction, s->best, c->stopped,
                            c->sum, c->n, c->loss, c->validation, c->score, c->rate, c->first};
    size_t n = (size_t)numbers(f);
    memcpy(to, score, sizeof score);
    to += NSCORE;
    memcpy(to, c->u, n * sizeof *to);
    memcpy(to + n, c->best_u, n * sizeof *to);
    to += 2 * n;
    for (int i = 0; c->optim && i < optim_narray(c->optim); i++, to += n) {
        const char *name;
        memcpy(to, optim_array(c->optim, i, &name), n * sizeof *to);
    }
    for (int i = 0; c->optim && i < optim_ncount(c->optim); i++) {
        *to++ = (double)optim_counts(c->optim)[i];
    }
    if (statistics(f) > 0) {
        memcpy(to, f->value + net * f->nvalue, (size_t)f->nvalue * sizeof *to);
        memcpy(to + f->nvalue, c->best_value, (size_t)f->nvalue * sizeof *to);
    }
}

static void unpack(const fit *f, int net, const double *from)
{
    fit_course *c = &f->course[net];
    c->stop = (stopping){(int64_t)from[0], (int64_t)from[1], (int64_t)from[2], (int64_t)from[3], (int64_t)from[4], from[5]};
    c->stopped = from[6] != 0;
    c->sum = from[7];
    c->n = from[8];
    c->loss = from[9];
    c->validation = from[10];
    c->score = from[11];
    c->rate = from[12];
    c->first = from[13];
    size_t n = (size_t)numbers(f);
    from += NSCORE;
    memcpy(c->u, from, n * sizeof *from);
    memcpy(c->best_u, from + n, n * sizeof *from);
    from += 2 * n;
    for (int i = 0; c->optim && i < optim_narray(c->optim); i++, from += n) {
        const char *name;
        memcpy(optim_array(c->optim, i, &name), from, n * sizeof *from);
    }
    for (int i = 0; c->optim && i < optim_ncount(c->optim); i++) {
        optim_counts(c->optim)[i] = (int64_t)*from++;
    }
    if (statistics(f) > 0) {
        memcpy(f->value + net * f->nvalue, from, (size_t)f->nvalue * sizeof *from);
        memcpy(c->best_value, from + f->nvalue, (size_t)f->nvalue * sizeof *from);
    }
}

/* --- saving ------------------------------------------------------------------------------------------------------- */

static void define_file(const fit *f, store *s, int64_t nrecord)
{
    int64_t clock[NCLOCK] = {f->epoch, f->batch, f->step, f->nhistory}, nclock = NCLOCK, one = 1, dims[3] = {f->nnet, nrecord, 0};
    int64_t at[2] = {f->nhistory, 2}, history[3] = {f->nhistory, f->nnet, 4};
    uint64_t sum = restart_checksum(FORMAT, clock, sizeof clock);
    sum = restart_checksum(sum, f->history_at, (size_t)f->nhistory * 2 * sizeof(int64_t));
    store_attr_text(s, "/", "kind", kind);
    store_attr_number(s, "/", "format", FORMAT);
    store_attr_text(s, "/", "real", REAL_NAME);
    store_attr_text(s, "/", "device", model_device(f->m));
    store_define_text(s, "/input", input_effective(f->in));
    store_define_values(s, "/clock", STORE_I64, 1, &nclock, NULL, clock);
    store_define_values(s, "/head_checksum", STORE_U64, 1, &one, NULL, &sum);
    store_define_array(s, "/network", STORE_F64, 2, dims, 0, NULL);
    store_define_array(s, "/checksum", STORE_U64, 1, dims, 0, NULL);
    if (f->nhistory > 0) {
        store_define_values(s, "/history_at", STORE_I64, 2, at, NULL, f->history_at);
        store_define_array(s, "/history", STORE_F64, 3, history, 0, NULL);
    }
}

void fit_restart_save(fit *f)
{
    double start = log_clock();
    log_phase(PHASE_RESTART);
    int64_t nrecord = record_size(f);
    int first, n = fit_networks_to_write(f, &first), nhold = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1;
    int64_t global = n > 0 ? model_first_net(f->m) + first : 0;
    char *path = restart_name(f->p->result, false);
    store *s = store_create(path, true);
    store_need_space(s, (size_t)(f->nnet * nrecord) * sizeof(double));
    define_file(f, s, nrecord);
    store_begin(s);
    double *record = MEMORY_NEW(double, n * nrecord), *history = MEMORY_NEW(double, f->nhistory * n * 4);
    uint64_t *sum = MEMORY_NEW(uint64_t, n);
    for (int k = 0; k < n; k++) {
        pack(f, first + k, record + k * nrecord);
        sum[k] = restart_checksum((uint64_t)(global + k) + 1, record + k * nrecord, (size_t)nrecord * sizeof *record);
    }
    for (int64_t i = 0; n > 0 && i < f->nhistory; i++) {
        memcpy(history + i * n * 4, f->history + (i * nhold + first) * 4, (size_t)n * 4 * sizeof(double));
    }
    int64_t at[3] = {global, 0, 0}, count[3] = {n, n > 0 ? nrecord : 0, 0}, row[3] = {0, global, 0};
    int64_t rows[3] = {n > 0 ? f->nhistory : 0, n, n > 0 ? 4 : 0};
    store_write(s, "/network", STORE_F64, f->nnet, at, count, record);
    store_write(s, "/checksum", STORE_U64, f->nnet, at, count, sum);
    if (f->nhistory > 0) {
        store_write(s, "/history", STORE_F64, f->nhistory, row, rows, history);
    }
    memory_free(record);
    memory_free(history);
    memory_free(sum);
    restart_keep_previous(f->p->result);
    store_close(s);
    memory_free(path);
    f->saved_s = log_clock();
    log_say(LOG_DETAIL, "restart file of step %lld written in %.2f s", (long long)f->step, f->saved_s - start);
    log_phase(PHASE_OTHER);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

enum verdict { WHOLE, DAMAGED, OTHER };

static enum verdict read_head(fit *f, store *s, int64_t clock[NCLOCK], char **why)
{
    char *what = store_read_attr_text(s, "/", "kind"), *precision = store_read_attr_text(s, "/", "real"), *text = store_read_text(s, "/input");
    char *differences = text ? restart_differences(text, input_effective(f->in)) : NULL;
    enum verdict v = WHOLE;
    uint64_t sum = 0;
    int64_t *at = NULL;
    if (!what || strcmp(what, kind) != 0 || !text || !store_read(s, "/clock", STORE_I64, NULL, NULL, clock) ||
        !store_read(s, "/head_checksum", STORE_U64, NULL, NULL, &sum)) {
        v = DAMAGED;
        *why = memory_text("its head cannot be read");
    } else if (differences) {
        v = OTHER;
        *why = memory_text("was written by another input; give that one, or start again with --overwrite. Then (-) and now (+):\n%s", differences);
    } else if (!precision || strcmp(precision, REAL_NAME) != 0) {
        v = OTHER;
        *why = memory_text("was written in %s, this program computes in %s", precision ? precision : "an unknown precision", REAL_NAME);
    } else {
        bool sane = clock[3] >= 0 && (clock[3] == 0 || (store_look(s, "/history_at").found && store_look(s, "/history_at").dims[0] == clock[3]));
        at = MEMORY_NEW(int64_t, sane ? 2 * clock[3] : 1);
        sane = sane && (clock[3] == 0 || store_read(s, "/history_at", STORE_I64, NULL, NULL, at));
        uint64_t found = restart_checksum(FORMAT, clock, NCLOCK * sizeof *clock);
        if (!sane || restart_checksum(found, at, (size_t)clock[3] * 2 * sizeof *at) != sum) {
            v = DAMAGED;
            *why = memory_text("its head is damaged");
        }
    }
    if (v == WHOLE) {
        memory_free(f->history_at);
        f->history_at = at;
    } else {
        memory_free(at);
    }
    memory_free(what);
    memory_free(precision);
    memory_free(text);
    memory_free(differences);
    return v;
}

/* Rows of the networks that this rank holds. */
static enum verdict read_networks(fit *f, store *s, const int64_t clock[NCLOCK], char **why)
{
    int64_t nrecord = record_size(f), nhold = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1, first = model_nnet(f->m) > 0 ? model_first_net(f->m) : 0;
    store_info info = store_look(s, "/network");
    if (!info.found || info.rank != 2 || info.dims[0] != f->nnet || info.dims[1] != nrecord) {
        *why = memory_text("was written by another version of chiasm; start again with --overwrite");
        return OTHER;
    }
    double *record = MEMORY_NEW(double, nrecord);
    bool whole = true;
    for (int64_t k = 0; k < nhold && whole; k++) {
        int64_t at[2] = {first + k, 0}, count[2] = {1, nrecord};
        uint64_t sum = 0;
        whole = store_read(s, "/checksum", STORE_U64, at, count, &sum) && store_read(s, "/network", STORE_F64, at, count, record) &&
                sum == restart_checksum((uint64_t)(first + k) + 1, record, (size_t)nrecord * sizeof *record);
        if (whole) {
            unpack(f, (int)k, record);
        }
    }
    memory_free(record);
    f->nhistory = f->history_room = clock[3];
    f->history = memory_grow(f->history, (size_t)(clock[3] * nhold * 4 + 1), sizeof *f->history);
    int64_t start[3] = {0, first, 0}, count[3] = {clock[3], nhold, 4};
    whole = whole && (clock[3] == 0 || store_read(s, "/history", STORE_F64, start, count, f->history));
    if (!whole) {
        *why = memory_text("a network's row is damaged");
    }
    f->epoch = clock[0];
    f->batch = clock[1];
    f->step = clock[2];
    return whole ? WHOLE : DAMAGED;
}

static enum verdict load_one(fit *f, const char *path, char **why)
{
    const char *reason = NULL;
    int64_t clock[NCLOCK] = {0};
    store *s = store_open_parallel(path, &reason);
    enum verdict v = s ? WHOLE : DAMAGED;
    if (!s) {
        *why = memory_text("it cannot be opened (%s)", reason ? reason : "no reason given");
    }
    double worst = v;
    comm_max_double(&worst, 1);
    if (worst == WHOLE) {
        v = read_head(f, s, clock, why);
        worst = v;
        comm_max_double(&worst, 1);
    }
    if (worst == WHOLE) {
        v = read_networks(f, s, clock, why);
        worst = v;
        comm_max_double(&worst, 1);
    }
    if (worst == WHOLE) {
        restart_compare_device(s, path, model_device(f->m));
    }
    if (s) {
        store_close_read(s);
    }
    if (worst != WHOLE && !*why) {
        *why = memory_text("another rank found it damaged");
    }
    return (enum verdict)worst;
}

enum exit_code fit_restart_load(fit *f, bool *found)
{
    enum verdict v = DAMAGED;
    bool any = false;
    *found = false;
    for (int previous = 0; previous < 2 && v == DAMAGED; previous++) {
        char *path = restart_name(f->p->result, previous), *why = NULL;
        bool there = access(path, F_OK) == 0;
        comm_broadcast(&there, sizeof there, 0);
        if (there) {
            any = true;
            v = load_one(f, path, &why);
            if (v == DAMAGED) {
                log_warn("%s is not used: %s%s", path, why, previous ? "" : "; looking for the one before");
            } else if (v == OTHER && comm_rank() == 0) {
                fprintf(stderr, "chiasm: error: %s %s\n", path, why);
            }
        }
        memory_free(why);
        memory_free(path);
    }
    *found = v == WHOLE;
    if (any && v == DAMAGED && comm_rank() == 0) {
        fprintf(stderr, "chiasm: error: no restart file of %s is whole; start again with --overwrite\n", f->p->result);
    }
    return any && v != WHOLE ? EXIT_BAD_INPUT : EXIT_DONE;
}

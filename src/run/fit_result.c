/* fit_result.c - the files that a fit leaves.
 *
 *   /parameters/<stage>/<parameter>  [network]... with unit; /start/... the same before the fit
 *   /history/                        epoch, step, train_loss, validation_loss, score, rate   [look][network]
 *   /prediction/step                 steps of the recording;  /prediction/<output>, /target/<output>  [network][step][element]
 *   /score/<output>/                 correlation, bits_per_spike  [network][element];  attributes of /score: part, loss
 *   /networks/                       name, x0, y0
 *   /stimulus/movie                  [step][y][x], of target: stimulus
 * Without fit.networks there is no dimension [network], and RESULT_fitted.yaml is the input with the fitted values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/units.h"
#include "cluster/comm.h"
#include "run/fit_own.h"
#include "run/provenance.h"

#define MOST_PREDICTION 2e9 /* bytes on each rank */

/* --- arrays with a row for each network -------------------------------------------------------------------------------- */

/* Networks that this rank writes: those whose first leaf it owns.  Local number of the first and how many. */
int fit_networks_to_write(const fit *f, int *first)
{
    const grid *g = model_grid(f->m);
    int n = 0;
    *first = 0;
    for (int k = 0; k < model_nnet(f->m); k++) {
        bool mine = grid_owner(g, comm_size(), (model_first_net(f->m) + k) * g->nseq * grid_ntile(g)) == comm_rank();
        *first = mine && n == 0 ? k : *first;
        n += mine;
    }
    return n;
}

static void define_rows(fit *f, const char *name, int rank, const int64_t *dims, const char *unit)
{
    int64_t all[STORE_MAX_RANK] = {f->nnet};
    int more = f->s.networks != NULL;
    for (int i = 0; i < rank; i++) {
        all[i + more] = dims[i];
    }
    if (rank + more == 0) { /* one number is an array of one */
        all[0] = 1;
        more = 1;
    }
    store_define_array(f->result, name, STORE_F64, rank + more, all, 0, unit);
}

/* Collective.  values: [network of fit_networks_to_write][dims]. */
static void write_rows(fit *f, const char *name, int rank, const int64_t *dims, const double *values)
{
    int first, n = fit_networks_to_write(f, &first), more = f->s.networks != NULL;
    int64_t start[STORE_MAX_RANK] = {0}, count[STORE_MAX_RANK] = {0};
    for (int i = 0; i < rank; i++) {
        count[i + more] = n > 0 ? dims[i] : 0;
    }
    if (more) {
        start[0] = n > 0 ? model_first_net(f->m) + first : 0;
        count[0] = n;
    } else if (rank == 0) {
        count[0] = n;
    }
    store_write(f->result, name, STORE_F64, more ? f->nnet : rank > 0 ? dims[0] : 1, start, count, values);
}

static char *parameter_path(const char *group, const model_param *p)
{
    return memory_text("/%s/%s/%s", group, p->stage, p->p.name);
}

static void define_parameters(fit *f, const char *group)
{
    char *top = memory_text("/%s", group);
    const char *stage = "";
    store_define_group(f->result, top);
    for (int i = 0; i < model_nparam(f->m); i++) {
        model_param p = model_param_at(f->m, i);
        char *path = parameter_path(group, &p), *folder = memory_text("/%s/%s", group, p.stage);
        if (strcmp(stage, p.stage) != 0) {
            store_define_group(f->result, folder);
            stage = p.stage;
        }
        int64_t n = p.p.n;
        define_rows(f, path, p.p.ndim > 0 ? p.p.ndim : n > 1, p.p.ndim > 0 ? p.p.dims : &n, p.p.unit);
        store_attr_number(f->result, path, "fitted", p.fitted);
        memory_free(folder);
        memory_free(path);
    }
    memory_free(top);
}

static void write_parameters(fit *f, const char *group)
{
    int first, n = fit_networks_to_write(f, &first);
    for (int i = 0; i < model_nparam(f->m); i++) {
        model_param p = model_param_at(f->m, i);
        char *path = parameter_path(group, &p);
        double *rows = MEMORY_NEW(double, n * p.p.n);
        for (int k = 0; k < n; k++) {
            memcpy(rows + k * p.p.n, f->value + (first + k) * f->nvalue + p.at, (size_t)p.p.n * sizeof(double));
        }
        int64_t size = p.p.n;
        write_rows(f, path, p.p.ndim > 0 ? p.p.ndim : size > 1, p.p.ndim > 0 ? p.p.dims : &size, rows);
        memory_free(rows);
        memory_free(path);
    }
}

/* --- history --- */
static const char *const history_name[4] = {"/history/train_loss", "/history/validation_loss", "/history/score", "/history/rate"};

static void define_history(fit *f)
{
    int64_t *column = MEMORY_NEW(int64_t, f->nhistory);
    store_define_group(f->result, "/history");
    for (int c = 0; c < 2; c++) {
        for (int64_t i = 0; i < f->nhistory; i++) {
            column[i] = f->history_at[2 * i + c];
        }
        store_define_values(f->result, c == 0 ? "/history/epoch" : "/history/step", STORE_I64, 1, &f->nhistory, NULL, column);
    }
    memory_free(column);
    int64_t dims[2] = {f->nhistory, f->nnet};
    for (int c = 0; c < 4; c++) {
        store_define_array(f->result, history_name[c], STORE_F64, f->s.networks ? 2 : 1, dims, 0, "1");
    }
    static const char *const scores[] = {"-loss", "correlation", "bits per spike"};
    store_attr_text(f->result, "/history/score", "kind", scores[f->s.score]);
}

void fit_write_history(fit *f)
{
    int first, n = fit_networks_to_write(f, &first), nnet = model_nnet(f->m) > 0 ? model_nnet(f->m) : 1;
    double *column = MEMORY_NEW(double, f->nhistory * (n > 0 ? n : 1));
    for (int c = 0; c < 4; c++) {
        for (int64_t i = 0; i < f->nhistory; i++) {
            for (int k = 0; k < n; k++) {
                column[i * n + k] = f->history[(i * nnet + first + k) * 4 + c];
            }
        }
        int64_t start[2] = {0, n > 0 ? model_first_net(f->m) + first : 0}, count[2] = {n > 0 ? f->nhistory : 0, n};
        store_write(f->result, history_name[c], STORE_F64, f->nhistory, start, count, column);
    }
    memory_free(column);
}

/* --- predictions ------------------------------------------------------------------------------------------------------- */

typedef struct predictions {
    fit *f;
    fit_set set;
    int64_t nstep;               /* counted steps of all sequences */
    double *at[FIT_MAX_ITEM][2]; /* prediction and target, [network held][step][element]; NULL: too large */
    int first, nhold;            /* global number of the first network held, and how many */
} predictions;

enum split_part fit_part_to_show(const fit *f)
{
    return f->set[SPLIT_TEST].n > 0 ? SPLIT_TEST : f->set[SPLIT_VALIDATION].n > 0 ? SPLIT_VALIDATION : SPLIT_TRAIN;
}

static predictions predictions_create(fit *f, fit_set set)
{
    predictions p = {.f = f, .set = set, .nstep = set.n * (f->window - f->seq.burn_in)};
    bool shared = f->nnet < comm_size(); /* networks lie on several ranks */
    p.first = shared ? 0 : model_first_net(f->m);
    p.nhold = shared ? f->nnet : model_nnet(f->m);
    for (int i = 0; i < f->nitem; i++) {
        double n = (double)p.nhold * (double)p.nstep * (double)f->item[i].nelement, most = n * 8;
        comm_max_double(&most, 1);
        bool fits = most <= MOST_PREDICTION && 2 * most <= (double)f->s.memory_mb * 1048576;
        if (!fits) {
            log_say(LOG_RESULT, "output %s: its predictions would take %.3g MB and are not written (fit.memory_mb)", f->item[i].name, 2e-6 * most);
        }
        for (int k = 0; k < 2 && fits; k++) {
            p.at[i][k] = MEMORY_NEW(double, n);
            for (int64_t j = 0; j < (int64_t)n; j++) {
                p.at[i][k][j] = -INFINITY; /* not on this rank */
            }
        }
    }
    return p;
}

static int64_t place_in_set(const predictions *p, int64_t sequence)
{
    for (int64_t i = 0; i < p->set.n; i++) {
        if (p->set.sequence[i] == sequence) {
            return i;
        }
    }
    return -1;
}

static void take_leaf(predictions *p, int item, int leaf, int64_t row, int64_t t0, int nt)
{
    fit *f = p->f;
    const fit_item *it = &f->item[item];
    model_output o = model_output_at(f->m, it->output);
    const grid_tile *tile = &o.v.tile[leaf];
    int net = grid_network(model_grid(f->m), model_first_leaf(f->m) + leaf) - p->first;
    int64_t before = o.v.halo * o.v.row_stride + o.v.halo, n = nt * it->frame_stride;
    real *target = MEMORY_NEW(real, n), *mask = MEMORY_NEW(real, n);
    f->be->ops->download(f->be, target, it->target.now + leaf * it->target.stride, n);
    f->be->ops->download(f->be, mask, it->mask.now + leaf * it->mask.stride, n);
    f->be->ops->download(f->be, f->staging, o.v.at + leaf * o.v.leaf_stride - before, nt * o.v.frame_stride);
    for (int t = 0; t < nt; t++) {
        for (int c = 0; t0 + t >= f->seq.burn_in && c < o.nchan; c++) {
            for (int y = 0; y < tile->ny; y++) {
                for (int x = 0; x < tile->nx; x++) {
                    int64_t step = row + t0 + t - f->seq.burn_in, e = fit_element(it, o.cells, o.v, leaf, c, y, x);
                    int64_t to = (net * p->nstep + step) * it->nelement + e,
                            from = t * it->frame_stride + c * it->chan_stride + y * it->row_stride + x;
                    p->at[item][0][to] = (double)f->staging[before + t * o.v.frame_stride + c * o.v.chan_stride + y * o.v.row_stride + x];
                    p->at[item][1][to] = mask[from] != 0 ? (double)target[from] : (double)NAN;
                }
            }
        }
    }
    memory_free(target);
    memory_free(mask);
}

static void take(void *ctx, const int64_t *sequence, int64_t t0, int nt)
{
    predictions *p = ctx;
    fit *f = p->f;
    for (int i = 0; i < f->nitem; i++) {
        for (int l = 0; p->at[i][0] && l < f->nleaf; l++) {
            int slot = grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l);
            if (sequence[slot] >= 0) {
                take_leaf(p, i, l, place_in_set(p, sequence[slot]) * (f->window - f->seq.burn_in), t0, nt);
            }
        }
    }
}

/* Collective.  Every element was computed by one rank; NaN (nothing recorded) loses against -INFINITY in a maximum, so it is said by another number.
 */
static void share(const predictions *p)
{
    for (int i = 0; i < p->f->nitem && p->f->nnet < comm_size(); i++) {
        int64_t n = p->nhold * p->nstep * p->f->item[i].nelement;
        for (int k = 0; p->at[i][0] && k < 2; k++) {
            double *at = p->at[i][k];
            for (int64_t j = 0; j < n; j++) {
                at[j] = isnan(at[j]) ? INFINITY : at[j];
            }
            for (int64_t j = 0; j < n; j += 1 << 20) {
                comm_max_double(at + j, (int)(n - j < 1 << 20 ? n - j : 1 << 20));
            }
            for (int64_t j = 0; j < n; j++) {
                at[j] = at[j] == INFINITY ? (double)NAN : at[j];
            }
        }
    }
}

static const char *const prediction_group[2] = {"prediction", "target"};

static void define_predictions(const predictions *p)
{
    fit *f = p->f;
    int64_t length = f->window - f->seq.burn_in, *step = MEMORY_NEW(int64_t, p->nstep);
    for (int64_t i = 0; i < p->nstep; i++) {
        step[i] = f->start[p->set.sequence[i / length]] + i % length;
    }
    store_define_group(f->result, "/prediction");
    store_define_group(f->result, "/target");
    store_define_group(f->result, "/score");
    store_define_values(f->result, "/prediction/step", STORE_I64, 1, &p->nstep, NULL, step);
    memory_free(step);
    for (int i = 0; i < f->nitem; i++) {
        const fit_item *it = &f->item[i];
        int64_t dims[2] = {p->nstep, it->nelement};
        for (int k = 0; p->at[i][0] && k < 2; k++) {
            char *name = memory_text("/%s/%s", prediction_group[k], it->name);
            define_rows(f, name, 2, dims, model_output_at(f->m, it->output).unit);
            memory_free(name);
        }
        char *group = memory_text("/score/%s", it->name), *correlation = memory_text("%s/correlation", group),
             *bits = memory_text("%s/bits_per_spike", group);
        store_define_group(f->result, group);
        define_rows(f, correlation, 1, &it->nelement, "1");
        define_rows(f, bits, 1, &it->nelement, "bit");
        memory_free(group);
        memory_free(correlation);
        memory_free(bits);
    }
}

static void write_predictions(const predictions *p)
{
    fit *f = p->f;
    int first, n = fit_networks_to_write(f, &first), skip = model_first_net(f->m) + first - p->first;
    for (int i = 0; i < f->nitem; i++) {
        const fit_item *it = &f->item[i];
        int64_t dims[2] = {p->nstep, it->nelement};
        for (int k = 0; p->at[i][0] && k < 2; k++) {
            char *name = memory_text("/%s/%s", prediction_group[k], it->name);
            write_rows(f, name, 2, dims, p->at[i][k] + (n > 0 ? skip * p->nstep * it->nelement : 0));
            memory_free(name);
        }
        double *score[2] = {MEMORY_NEW(double, n * it->nelement), MEMORY_NEW(double, n * it->nelement)};
        for (int k = 0; k < n; k++) {
            fit_item_score(f, first + k, i, score[0] + k * it->nelement, score[1] + k * it->nelement);
        }
        char *correlation = memory_text("/score/%s/correlation", it->name), *bits = memory_text("/score/%s/bits_per_spike", it->name);
        write_rows(f, correlation, 1, &it->nelement, score[0]);
        write_rows(f, bits, 1, &it->nelement, score[1]);
        memory_free(correlation);
        memory_free(bits);
        memory_free(score[0]);
        memory_free(score[1]);
    }
}

/* --- the input with the fitted values ------------------------------------------------------------------------------------ */

/* What stands in the file for a parameter; NULL: no key can hold it. */
static char *value_text(const fit *f, const key_spec *key, const model_param *p, const double *value)
{
    const char *slash = strrchr(f->p->result, '/');
    const char *unit = p->p.unit && strcmp(p->p.unit, "1") != 0 ? p->p.unit : "";
    if (key->kind == KEY_PATH) {
        return memory_text("\"%s:/parameters/%s/%s\"", slash ? slash + 1 : f->p->result, p->stage, p->p.name);
    }
    if ((key->kind != KEY_REAL || p->p.n != 1) && key->kind != KEY_REALS) {
        return NULL;
    }
    char *text = memory_text(key->kind == KEY_REALS ? "[" : "%s", "");
    for (int64_t i = 0; i < p->p.n; i++) {
        char number[64];
        units_write(value[i], unit, number, sizeof number);
        char *longer = memory_text("%s%s%s", text, i > 0 ? ", " : "", number);
        memory_free(text);
        text = longer;
    }
    if (key->kind == KEY_REALS) {
        char *longer = memory_text("%s]", text);
        memory_free(text);
        text = longer;
    }
    return text;
}

static const key_spec *key_of(const fit *f, const model_param *p)
{
    const stage_type *type = stage_find(model_output_at(f->m, model_find(f->m, p->stage)).type);
    for (int i = 0; type && i < type->nkey; i++) {
        if (strcmp(type->keys[i].name, p->p.name) == 0) {
            return &type->keys[i];
        }
    }
    return NULL;
}

/* Keys that would say the same of a kernel as the file now named. */
static void unset_rivals(fit *f, const model_param *p, const key_spec *key)
{
    static const char *const rivals[] = {"size", "gabor", "gaussian", "exponential"};
    const stage_type *type = stage_find(model_output_at(f->m, model_find(f->m, p->stage)).type);
    for (int i = 0; key->kind == KEY_PATH && i < type->nkey; i++) {
        for (int k = 0; k < 4; k++) {
            if (strcmp(type->keys[i].name, rivals[k]) == 0) {
                char *place = memory_text("model.stages.%s.%s", p->stage, rivals[k]);
                input_remove(f->in, place);
                memory_free(place);
            }
        }
        if (strcmp(type->keys[i].name, "scale") == 0) {
            char *place = memory_text("model.stages.%s.scale", p->stage);
            input_set(f->in, place, "1");
            memory_free(place);
        }
    }
}

/* Rank 0: RESULT_fitted.yaml, which chiasm simulate runs, and chiasm fit goes on with. */
static void write_input(fit *f)
{
    const char *result = f->p->result, *slash = strrchr(result, '/');
    size_t n = strlen(result);
    char *path = memory_text("%.*s_fitted.yaml", (int)(n > 3 && strcmp(result + n - 3, ".h5") == 0 ? n - 3 : n), result);
    for (int i = 0; i < model_nparam(f->m); i++) {
        model_param p = model_param_at(f->m, i);
        if (!p.fitted && !p.p.statistic) {
            continue;
        }
        const key_spec *key = key_of(f, &p);
        char *text = key ? value_text(f, key, &p, f->value + p.at) : NULL;
        char *place = memory_text("model.stages.%s.%s", p.stage, text ? p.p.name : "values");
        if (text) {
            input_set(f->in, place, text);
            unset_rivals(f, &p, key);
        } else { /* no key can hold it */
            char *group = memory_text("\"%s:/parameters/%s\"", slash ? slash + 1 : result, p.stage);
            input_set(f->in, place, group);
            memory_free(group);
        }
        memory_free(text);
        memory_free(place);
    }
    FILE *file = fopen(path, "w");
    bool written = file && fprintf(file, "# The input of a fit with the values that it found: %s\n%s", result, input_portable(f->in)) > 0;
    written = (!file || fclose(file) == 0) && written;
    if (written) {
        log_say(LOG_RESULT, "  %s", path);
    } else {
        log_warn("'%s' cannot be written", path);
    }
    memory_free(path);
}

/* --- the whole ----------------------------------------------------------------------------------------------------------- */

static void define_networks(fit *f)
{
    int64_t n = f->nnet, *corner = MEMORY_NEW(int64_t, 2 * n);
    char *names = memory_text("%s", "");
    for (int k = 0; k < f->nnet; k++) {
        corner[k] = f->network[k].x0;
        corner[n + k] = f->network[k].y0;
        char *longer = memory_text("%s%s\n", names, f->network[k].name);
        memory_free(names);
        names = longer;
    }
    store_define_group(f->result, "/networks");
    store_define_text(f->result, "/networks/name", names);
    store_define_values(f->result, "/networks/x0", STORE_I64, 1, &n, "px", corner);
    store_define_values(f->result, "/networks/y0", STORE_I64, 1, &n, "px", corner + n);
    memory_free(corner);
    memory_free(names);
}

void fit_define_facts(fit *f)
{
    const char *shown = f->p->stim ? stimulus_describe(f->p->stim) : "";
    provenance_define(f->result, f->in,
                      &(provenance_facts){NULL, NULL, NULL, f->p->command, shown, f->be->ops->name, f->setup.step_s, f->p->set.nstep, f->setup.seed});
    define_history(f);
    store_attr_number(f->result, "/", "fit_steps", (double)f->step);
}

void fit_write_result(fit *f, double wall_s)
{
    static const char *const parts[] = {"train", "validation", "test"};
    int nnet = model_nnet(f->m);
    enum split_part part = fit_part_to_show(f);
    log_phase(PHASE_OUTPUT);
    for (int k = 0; k < nnet; k++) {
        memcpy(f->value + k * f->nvalue, f->course[k].best_value, (size_t)f->nvalue * sizeof(double));
        fit_take_u(f, k, f->course[k].best_u);
    }
    fit_set_parameters(f);
    predictions p = predictions_create(f, f->set[part]);
    fit_evaluate(f, f->set[part], take, &p);
    share(&p);
    log_phase(PHASE_OUTPUT);
    fit_say_result(f, part);
    store *s = f->result;
    fit_define_facts(f);
    define_parameters(f, "parameters");
    define_parameters(f, "start");
    define_predictions(&p);
    store_attr_text(s, "/score", "part", parts[part]);
    if (f->s.networks) {
        define_networks(f);
    }
    int64_t movie[3] = {f->window, f->setup.ny, f->setup.nx};
    if (f->s.target == FIT_STIMULUS) {
        store_define_group(s, "/stimulus");
        define_rows(f, "/stimulus/movie", 3, movie, "1");
        store_attr_number(s, "/stimulus/movie", "dt_s", f->setup.step_s);
    }
    define_rows(f, "/score/loss", 0, NULL, "1");
    define_rows(f, "/history/best", 0, NULL, "1");
    store_begin(s);
    write_parameters(f, "parameters");
    fit_write_history(f);
    write_predictions(&p);
    if (f->s.target == FIT_STIMULUS) {
        write_rows(f, "/stimulus/movie", 3, movie, f->pixels);
    }
    int first, n = fit_networks_to_write(f, &first);
    double *best = MEMORY_NEW(double, n);
    for (int k = 0; k < n; k++) {
        best[k] = (double)f->course[first + k].stop.best_at;
    }
    write_rows(f, "/score/loss", 0, NULL, f->losses + first);
    write_rows(f, "/history/best", 0, NULL, best);
    memory_free(best);
    if (comm_rank() == 0 && !f->s.networks && f->nparam > 0) {
        write_input(f);
    }
    for (int k = 0; k < nnet; k++) {
        fit_start_values(f, model_first_net(f->m) + k, f->value + k * f->nvalue);
    }
    write_parameters(f, "start");
    provenance_end(s, wall_s);
    store_close(s);
    f->result = NULL;
    for (int i = 0; i < f->nitem; i++) {
        memory_free(p.at[i][0]);
        memory_free(p.at[i][1]);
    }
}

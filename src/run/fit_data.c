/* fit_data.c - sequences of a recording and their responses. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "run/fit_own.h"

/* --- plan ------------------------------------------------------------------------------------------------------------ */

static void plan_items(fit *f)
{
    const input_node *data = f->s.data;
    int n = input_is_list(data) ? input_count(data) : data ? 1 : 0;
    if (n > FIT_MAX_ITEM) {
        input_problem(f->in, data, "fit: data: %d outputs with responses; at most %d", n, FIT_MAX_ITEM);
        n = FIT_MAX_ITEM;
    }
    for (int i = 0; i < n; i++) {
        const input_node *at = input_is_list(data) ? input_item(data, i) : data;
        fit_item *it = &f->item[f->nitem++];
        fit_read_item(f, at, it);
        it->r = response_open(f->in, at, f->setup.step_s, f->p->set.nstep);
        if (it->r) {
            it->info = response_look(it->r);
        }
    }
}

/* Steps that both the stimulus and every response have. */
static int64_t recording_steps(const fit *f)
{
    int64_t n = f->p->set.nstep;
    for (int i = 0; i < f->nitem; i++) {
        if (f->item[i].r && f->item[i].info.nstep < n) {
            n = f->item[i].info.nstep;
        }
    }
    return n;
}

static void plan_sequences(fit *f)
{
    fit_sequences *q = &f->seq;
    int64_t nstep = recording_steps(f), most = nstep - q->burn_in;
    if (most < 1 || q->length > most) {
        input_problem(f->in, f->s.sequences, "fit: sequences: %lld steps and %lld of burn-in; the recording has %lld steps", (long long)q->length,
                      (long long)q->burn_in, (long long)nstep);
        q->length = 1;
        most = 1;
    }
    int64_t length = q->length > 0 ? q->length : most;
    f->window = q->burn_in + length;
    f->burn_in = q->burn_in;
    f->nsequence = f->s.target == FIT_STIMULUS ? 1 : most / length;
    f->start = MEMORY_NEW(int64_t, f->nsequence);
    f->part = MEMORY_NEW(enum split_part, f->nsequence);
    for (int64_t i = 0; i < f->nsequence; i++) {
        f->start[i] = q->burn_in + i * length;
    }
    if (f->s.target == FIT_PARAMETERS) {
        split_deal(&f->split, f->nsequence, f->start, length, NULL, f->part);
    }
    for (int p = 0; p < 3; p++) {
        f->set_list[p] = MEMORY_NEW(int64_t, f->nsequence);
        f->set[p].sequence = f->set_list[p];
        for (int64_t i = 0; i < f->nsequence; i++) {
            if (f->part[i] == (enum split_part)p) {
                f->set_list[p][f->set[p].n++] = i;
            }
        }
    }
    if (f->set[SPLIT_TRAIN].n == 0) {
        input_problem(f->in, f->section, "fit: split: of %lld sequences none trains; make sequences.length smaller, or less validation and test",
                      (long long)f->nsequence);
    }
    int64_t ntrain = f->set[SPLIT_TRAIN].n > 0 ? f->set[SPLIT_TRAIN].n : 1;
    f->nseq = (int)(q->batch < ntrain ? q->batch : ntrain);
}

void fit_plan_data(fit *f)
{
    plan_items(f);
    if (f->s.target == FIT_STIMULUS && f->stim.objective == 0) {
        fit_item *it = &f->item[f->nitem++];
        *it = (fit_item){.at = f->s.stimulus, .name = f->stim.stage, .weight = 1, .cells = MEMORY_NEW(double, f->stim.ncell), .ncell = f->stim.ncell};
        memcpy(it->cells, f->stim.cells, (size_t)f->stim.ncell * sizeof(double));
    }
    plan_sequences(f);
}

/* Outputs by their names, once the model is planned; they are kept. */
void fit_plan_outputs(fit *f)
{
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        const char *name = it->name ? it->name : f->loss.stage;
        it->output = name ? model_find(f->m, name) : model_noutput(f->m) - 1;
        if (it->output < 0) {
            input_problem(f->in, it->at, "fit: data: there is no output '%s'", name);
            it->output = 0;
            continue;
        }
        model_output o = model_output_at(f->m, it->output);
        it->name = o.name;
        model_keep(f->m, it->output);
        int64_t n = o.cells ? o.cells->ncell * o.nchan : 0, have = it->ncell > 0 ? it->ncell : it->info.ncell;
        if (it->r && n > 0 && n != have && !f->s.networks) {
            input_problem(f->in, it->at, "fit: data: '%s' has %lld cells, the response %lld; columns names as many as the output has", o.name,
                          (long long)n, (long long)have);
        }
    }
    for (int i = 0; i < f->loss.nactivity; i++) {
        f->activity[i] = model_find(f->m, f->loss.activity[i].stage);
        if (f->activity[i] < 0) {
            input_problem(f->in, f->s.loss, "fit: loss: activity: there is no output '%s'", f->loss.activity[i].stage);
            f->activity[i] = 0;
        } else {
            model_keep(f->m, f->activity[i]);
        }
    }
    double burn_in = round(f->loss.burn_in_s / f->setup.step_s);
    f->burn_in = burn_in > (double)f->burn_in ? (int64_t)burn_in : f->burn_in;
}

/* --- elements of an output and columns of a response --------------------------------------------------------------------- */

int64_t fit_element(const fit_item *it, const population *cells, view v, int leaf, int c, int y, int x)
{
    if (cells) {
        return c * cells->ncell + cells->id[(int64_t)leaf * cells->pad + x];
    }
    return (c * it->map_ny + v.tile[leaf].y0 + y) * it->map_nx + v.tile[leaf].x0 + x;
}

int64_t fit_column(const fit *f, const fit_item *it, int network, int64_t element)
{
    const fit_network *n = &f->network[network];
    return (int64_t)(n->ncell > 0 ? n->cells[element] : it->ncell > 0 ? it->cells[element] : (double)element);
}

/* Collective.  Sizes of an output as a whole: tiles of some are smaller than the field's (valid convolutions). */
static void measure_item(fit *f, fit_item *it)
{
    model_output o = model_output_at(f->m, it->output);
    double most[2] = {1, 1};
    for (int l = 0; !o.cells && l < f->nleaf; l++) {
        most[0] = fmax(most[0], o.v.tile[l].y0 + o.v.tile[l].ny);
        most[1] = fmax(most[1], o.v.tile[l].x0 + o.v.tile[l].nx);
    }
    comm_max_double(most, 2);
    it->map_ny = (int64_t)most[0];
    it->map_nx = (int64_t)most[1];
    it->nelement = o.nchan * (o.cells ? o.cells->ncell : it->map_ny * it->map_nx);
}

/* Every element of every network has a column. */
static void check_columns(const fit *f, const fit_item *it)
{
    for (int k = 0; it->r && k < f->nnet; k++) {
        const fit_network *n = &f->network[k];
        int64_t have = n->ncell > 0 ? n->ncell : it->ncell > 0 ? it->ncell : it->info.ncell;
        if (have != it->nelement) {
            error_fatal(EXIT_BAD_INPUT, "fit: output '%s' has %lld elements a step, its response %lld%s%s; give as many columns", it->name,
                        (long long)it->nelement, (long long)have, f->s.networks ? " of network " : "", f->s.networks ? n->name : "");
        }
        for (int64_t e = 0; e < it->nelement; e++) {
            int64_t column = fit_column(f, it, k, e);
            if (column < 0 || column >= it->info.ncell) {
                error_fatal(EXIT_BAD_INPUT, "fit: output '%s': column %lld; the response has 0 to %lld", it->name, (long long)column,
                            (long long)it->info.ncell - 1);
            }
        }
    }
}

/* --- responses ------------------------------------------------------------------------------------------------------- */

/* Work space for the targets of a network: [nt][nelement]. */
typedef struct aim {
    double *target, *column;
    bool *counted;
    real *weight;
} aim;

static aim aim_create(const fit_item *it, int nt)
{
    int64_t n = it->nelement * nt;
    return (aim){MEMORY_NEW(double, n), MEMORY_NEW(double, nt), MEMORY_NEW(bool, n), MEMORY_NEW(real, n)};
}

static void aim_destroy(aim *a)
{
    memory_free(a->target);
    memory_free(a->column);
    memory_free(a->counted);
    memory_free(a->weight);
}

static bool columns_in_order(const fit *f, const fit_item *it, int network)
{
    return f->network[network].ncell == 0 && it->ncell == 0;
}

/* Targets and weights of the window's steps [t0, t0 + nt); returns how many count. */
static int64_t aim_at(const fit *f, const fit_item *it, int network, int64_t sequence, int64_t t0, int nt, aim *a)
{
    int64_t n = it->nelement, first = f->start[sequence] - f->seq.burn_in;
    if (!it->r) {
        for (int64_t i = 0; i < nt * n; i++) {
            a->target[i] = -1;
            a->counted[i] = !it->chosen || it->chosen[i % n];
        }
    } else if (columns_in_order(f, it, network)) {
        response_read(it->r, -1, first + t0, nt, 0, n, a->target);
    } else {
        for (int64_t e = 0; e < n; e++) {
            response_read(it->r, -1, first + t0, nt, fit_column(f, it, network, e), 1, a->column);
            for (int t = 0; t < nt; t++) {
                a->target[t * n + e] = a->column[t];
            }
        }
    }
    for (int64_t i = 0; it->r && i < nt * n; i++) {
        a->counted[i] = isfinite(a->target[i]);
    }
    return loss_weights(&f->loss, first + t0, nt, first + f->burn_in, n, f->loss.ncell_weight ? f->loss.cell_weight : NULL, a->counted, a->weight);
}

static void count_terms(fit *f, fit_item *it)
{
    aim a = aim_create(it, f->chunk);
    it->count = MEMORY_NEW(double, model_nnet(f->m) * f->nsequence);
    for (int k = 0; k < model_nnet(f->m); k++) {
        for (int64_t i = 0; i < f->nsequence; i++) {
            int64_t n = 0;
            for (int64_t t = 0; f->part[i] != SPLIT_NONE && t < f->window; t += f->chunk) {
                int nt = (int)(f->window - t < f->chunk ? f->window - t : f->chunk);
                n += aim_at(f, it, model_first_net(f->m) + k, i, t, nt, &a);
            }
            it->count[k * f->nsequence + i] = (double)n;
        }
    }
    aim_destroy(&a);
}

/* step[nt][width] */
static void mark_steps(const fit_item *it, const aim *a, int nt, int width, real *step)
{
    for (int t = 0; t < nt; t++) {
        bool counts = false;
        for (int64_t e = 0; e < it->nelement && !counts; e++) {
            counts = a->weight[t * it->nelement + e] > 0;
        }
        for (int x = 0; x < width && counts; x++) {
            step[(int64_t)t * width + x] = 1;
        }
    }
}

static void count_steps(fit *f)
{
    real *step = MEMORY_NEW(real, f->chunk);
    f->step_count = MEMORY_NEW(double, model_nnet(f->m) * f->nsequence);
    for (int64_t j = 0; j < model_nnet(f->m) * f->nsequence; j++) {
        for (int64_t t = 0; f->part[j % f->nsequence] != SPLIT_NONE && t < f->window; t += f->chunk) {
            int nt = (int)(f->window - t < f->chunk ? f->window - t : f->chunk);
            memset(step, 0, (size_t)nt * sizeof *step);
            for (int i = 0; i < f->nitem; i++) {
                aim a = aim_create(&f->item[i], nt);
                aim_at(f, &f->item[i], model_first_net(f->m) + (int)(j / f->nsequence), j % f->nsequence, t, nt, &a);
                mark_steps(&f->item[i], &a, nt, 1, step);
                aim_destroy(&a);
            }
            for (int k = 0; k < nt; k++) {
                f->step_count[j] += (double)step[k];
            }
        }
    }
    memory_free(step);
}

/* --- targets, weights and counted steps of a chunk ------------------------------------------------------------------------- */

int64_t fit_aim_reals(const fit *f, const fit_item *it)
{
    model_output o = model_output_at(f->m, it->output);
    return (int64_t)f->chunk * o.nchan * o.v.pad_ny * o.v.pad_nx;
}

/* Pixels of the widest row that an activity loss looks at: the steps are marked as often. */
static int step_width(const fit *f)
{
    int most = 0;
    for (int i = 0; i < f->loss.nactivity; i++) {
        int width = model_output_at(f->m, f->activity[i]).v.pad_nx;
        most = width > most ? width : most;
    }
    return most;
}

/* What stands in fit_aimed arrays, reals a leaf. */
static double reals_of_leaf(const fit *f)
{
    double reals = (double)f->chunk * step_width(f);
    for (int i = 0; i < f->nitem; i++) {
        reals += 2.0 * (double)fit_aim_reals(f, &f->item[i]);
    }
    return reals;
}

/* They do not change: those of every sequence and chunk are kept, once made, if there is memory for them.  [sequence][chunk][own network][tile] */
static int64_t kept_leaves(const fit *f)
{
    int64_t nchunk = (f->window + f->chunk - 1) / f->chunk;
    return f->nsequence * nchunk * model_nnet(f->m) * grid_ntile(model_grid(f->m));
}

static int64_t kept_at(const fit *f, int leaf, int64_t sequence, int64_t t0)
{
    const grid *g = model_grid(f->m);
    int64_t nchunk = (f->window + f->chunk - 1) / f->chunk, chunk = sequence * nchunk + t0 / f->chunk;
    return (chunk * model_nnet(f->m) + grid_network(g, leaf) - model_first_net(f->m)) * grid_ntile(g) + leaf % grid_ntile(g);
}

size_t fit_target_bytes(const fit *f)
{
    double bytes = (double)kept_leaves(f) * reals_of_leaf(f) * sizeof(real);
    bool fits = bytes + (double)fit_movie_bytes(f) <= (double)f->s.movie_mb * 1048576;
    return fits && f->seq.truncate == 0 ? (size_t)bytes : 0; /* truncated, chunks begin anywhere */
}

/* Of one sequence at a time the kept leaves follow each other as the leaves in flight do: they are used where they are. */
static bool may_use_in_place(const fit *f)
{
    return fit_target_bytes(f) > 0 && f->nseq == 1;
}

size_t fit_aim_bytes(const fit *f)
{
    return fit_target_bytes(f) + (may_use_in_place(f) ? 0 : (size_t)(reals_of_leaf(f) * model_nleaf(f->m)) * sizeof(real));
}

static void create_aimed(fit *f, fit_aimed *a, int64_t stride)
{
    int64_t nleaf = f->nleaf > 0 ? f->nleaf : 1;
    *a = (fit_aimed){.stride = stride};
    if (fit_target_bytes(f) > 0) {
        a->kept = f->be->ops->alloc(f->be, stride * kept_leaves(f));
    }
    if (!f->in_place) {
        a->space = f->be->ops->alloc(f->be, stride * nleaf);
    }
    a->now = a->space ? a->space : a->kept;
}

static void destroy_aimed(fit *f, fit_aimed *a)
{
    f->be->ops->release(f->be, a->kept);
    f->be->ops->release(f->be, a->space);
}

static int list_aimed(fit *f, fit_aimed *list[2 * FIT_MAX_ITEM + 1])
{
    int n = 0;
    for (int i = 0; i < f->nitem; i++) {
        list[n++] = &f->item[i].target;
        list[n++] = &f->item[i].mask;
    }
    if (f->step_staging) {
        list[n++] = &f->steps;
    }
    return n;
}

/* Where own leaf l is made; at: its place among those kept. */
static dreal *place_of(const fit_aimed *a, int l, int64_t at)
{
    return a->kept ? a->kept + at * a->stride : a->space + l * a->stride;
}

/* One leaf's target or mask, from [nt][nelement]. */
static void scatter(fit *f, const fit_item *it, int leaf, int nt, const double *target, const real *weight, dreal *to)
{
    model_output o = model_output_at(f->m, it->output);
    const grid_tile *tile = &o.v.tile[leaf];
    memset(f->staging, 0, (size_t)(nt * it->frame_stride) * sizeof(real));
    for (int c = 0; c < o.nchan; c++) {
        for (int y = 0; y < tile->ny; y++) {
            for (int x = 0; x < tile->nx; x++) {
                int64_t e = fit_element(it, o.cells, o.v, leaf, c, y, x), at = c * it->chan_stride + y * it->row_stride + x;
                for (int t = 0; t < nt; t++) {
                    double v = target ? target[t * it->nelement + e] : (double)weight[t * it->nelement + e];
                    f->staging[t * it->frame_stride + at] = isfinite(v) ? (real)v : 0;
                }
            }
        }
    }
    f->be->ops->upload(f->be, to, f->staging, nt * it->frame_stride);
}

/* All of own leaves [l, l + n): tiles of one sequence and network, kept from `at` on. */
static void make_leaves(fit *f, int l, int n, int64_t at, int64_t sequence, int64_t t0, int nt)
{
    int network = grid_network(model_grid(f->m), model_first_leaf(f->m) + l);
    int64_t nstep = (int64_t)f->chunk * f->step_width;
    if (f->step_staging) {
        memset(f->step_staging, 0, (size_t)nstep * sizeof(real));
    }
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        aim a = aim_create(it, nt);
        aim_at(f, it, network, sequence, t0, nt, &a);
        for (int k = 0; k < n; k++) {
            scatter(f, it, l + k, nt, a.target, NULL, place_of(&it->target, l + k, at + k));
            scatter(f, it, l + k, nt, NULL, a.weight, place_of(&it->mask, l + k, at + k));
        }
        if (f->step_staging) {
            mark_steps(it, &a, nt, f->step_width, f->step_staging);
        }
        aim_destroy(&a);
    }
    for (int k = 0; f->step_staging && k < n; k++) {
        f->be->ops->upload(f->be, place_of(&f->steps, l + k, at + k), f->step_staging, nstep);
    }
    for (int k = 0; f->known && k < n; k++) {
        f->known[at + k] = true;
    }
}

/* Leaves [l, l + n) of the space take what is kept from `from` on; NOTHING: no sequence. */
enum { NOTHING = -1, UNKNOWN = -2 };
static void fill_space(fit *f, int l, int n, int64_t from)
{
    fit_aimed *list[2 * FIT_MAX_ITEM + 1];
    int naimed = list_aimed(f, list);
    for (int i = 0; i < naimed; i++) {
        int64_t stride = list[i]->stride;
        if (from == NOTHING) {
            f->be->ops->fill(f->be, list[i]->space + l * stride, 0, n * stride);
        } else {
            f->be->ops->move(f->be, list[i]->space + l * stride, list[i]->kept + from * stride, n * stride);
        }
    }
    for (int k = 0; k < n; k++) {
        f->held[l + k] = from == NOTHING ? NOTHING : from + k;
    }
}

void fit_aim(fit *f, const int64_t *sequence, int64_t t0, int nt)
{
    const grid *g = model_grid(f->m);
    int ntile = grid_ntile(g);
    for (int l = 0, n; l < f->nleaf; l += n) { /* the tiles of a sequence and network at a time */
        int leaf = model_first_leaf(f->m) + l;
        int64_t s = sequence[grid_sequence(g, leaf)], at = s >= 0 && f->known ? kept_at(f, leaf, s, t0) : NOTHING;
        n = ntile - leaf % ntile < f->nleaf - l ? ntile - leaf % ntile : f->nleaf - l;
        if (s >= 0 && !(f->known && f->known[at])) {
            make_leaves(f, l, n, at, s, t0, nt);
            f->held[l] = UNKNOWN;
        }
        if (!f->in_place && f->held[l] != at && (s < 0 || f->known)) {
            fill_space(f, l, n, at);
        }
    }
    fit_aimed *list[2 * FIT_MAX_ITEM + 1];
    int naimed = list_aimed(f, list);
    for (int i = 0; i < naimed && f->in_place && f->nleaf > 0; i++) {
        list[i]->now = list[i]->kept + kept_at(f, model_first_leaf(f->m), sequence[0], t0) * list[i]->stride;
    }
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

/* Of an output made large. */
static void choose_cells(fit_item *it)
{
    it->chosen = MEMORY_NEW(bool, it->nelement);
    for (int c = 0; c < it->ncell; c++) {
        if (it->cells[c] >= (double)it->nelement) {
            error_fatal(EXIT_BAD_INPUT, "fit: stimulus: cells: %g; output '%s' has 0 to %lld", it->cells[c], it->name, (long long)it->nelement - 1);
        }
        it->chosen[(int64_t)it->cells[c]] = true;
    }
}

void fit_data_attach(fit *f)
{
    f->nstaging = f->chunk * model_stimulus(f->m).frame_stride;
    f->in_place = may_use_in_place(f);
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        model_output o = model_output_at(f->m, it->output);
        measure_item(f, it);
        check_columns(f, it);
        it->row_stride = o.v.pad_nx;
        it->chan_stride = (int64_t)o.v.pad_ny * o.v.pad_nx;
        it->frame_stride = o.nchan * it->chan_stride;
        create_aimed(f, &it->target, f->chunk * it->frame_stride);
        create_aimed(f, &it->mask, f->chunk * it->frame_stride);
        f->nstaging = it->target.stride > f->nstaging ? it->target.stride : f->nstaging;
        int64_t out = f->chunk * o.v.frame_stride;
        f->nstaging = out > f->nstaging ? out : f->nstaging;
        if (!it->r && it->ncell > 0) {
            choose_cells(it);
        }
        count_terms(f, it);
        f->nelement += it->nelement;
    }
    f->staging = MEMORY_NEW(real, f->nstaging);
    f->held = MEMORY_NEW(int64_t, f->nleaf);
    for (int l = 0; l < f->nleaf; l++) {
        f->held[l] = UNKNOWN;
    }
    if (fit_target_bytes(f) > 0) {
        f->known = MEMORY_NEW(bool, kept_leaves(f));
    }
    if (f->loss.nactivity > 0) {
        f->step_width = step_width(f);
        f->step_staging = MEMORY_NEW(real, (int64_t)f->chunk * f->step_width);
        create_aimed(f, &f->steps, (int64_t)f->chunk * f->step_width);
        count_steps(f);
    }
}

void fit_data_destroy(fit *f)
{
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        if (it->r) {
            response_close(it->r);
        }
        if (f->be) {
            destroy_aimed(f, &it->target);
            destroy_aimed(f, &it->mask);
        }
        memory_free(it->cells);
        memory_free(it->chosen);
        memory_free(it->count);
    }
    for (int p = 0; p < 3; p++) {
        memory_free(f->set_list[p]);
    }
    for (int k = 0; k < f->nnet; k++) {
        memory_free(f->network[k].cells);
    }
    memory_free(f->network);
    memory_free(f->start);
    memory_free(f->part);
    memory_free(f->staging);
    if (f->be) {
        destroy_aimed(f, &f->steps);
    }
    memory_free(f->held);
    memory_free(f->known);
    memory_free(f->step_staging);
    memory_free(f->step_count);
}

/* fit_data.c - sequences of a recording, their frames and their responses. */
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
            input_problem(f->in, it->at, "fit: data: '%s' has %lld cells, the response %lld; columns names as many as the output has", o.name, (long long)n,
                          (long long)have);
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
    f->be->ops->upload(f->be, to + leaf * it->leaf_stride, f->staging, nt * it->frame_stride);
}

/* Targets and weights do not change: those of every sequence and chunk are kept, once made, if there is memory for them. */
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

/* Between a leaf's target and mask and what is kept of them. */
static void move_kept(fit *f, fit_item *it, int l, int64_t at, int nt, bool out)
{
    int64_t n = nt * it->frame_stride;
    dreal *kept = it->kept + 2 * at * it->leaf_stride, *target = it->target + l * it->leaf_stride, *mask = it->mask + l * it->leaf_stride;
    f->be->ops->move(f->be, out ? target : kept, out ? kept : target, n);
    f->be->ops->move(f->be, out ? mask : kept + it->leaf_stride, out ? kept + it->leaf_stride : mask, n);
    it->known[at] = true;
}

size_t fit_target_bytes(const fit *f)
{
    double reals = 0;
    for (int i = 0; i < f->nitem; i++) {
        model_output o = model_output_at(f->m, f->item[i].output);
        reals += 2.0 * (double)kept_leaves(f) * f->chunk * o.nchan * o.v.pad_ny * o.v.pad_nx;
    }
    bool fits = reals * sizeof(real) + (double)fit_movie_bytes(f) <= (double)f->s.movie_mb * 1048576;
    bool fixed = f->seq.truncate == 0 && f->loss.nactivity == 0; /* truncated, chunks begin anywhere; activities want the steps marked each time */
    return fits && fixed ? (size_t)reals * sizeof(real) : 0;
}

static void aim_item(fit *f, fit_item *it, const int64_t *sequence, int64_t t0, int nt)
{
    const grid *g = model_grid(f->m);
    aim a = {0};
    int done = -1;
    for (int l = 0; l < f->nleaf; l++) {
        int leaf = model_first_leaf(f->m) + l, block = leaf / grid_ntile(g), slot = grid_sequence(g, leaf);
        if (sequence[slot] < 0) {
            f->be->ops->fill(f->be, it->target + l * it->leaf_stride, 0, nt * it->frame_stride);
            f->be->ops->fill(f->be, it->mask + l * it->leaf_stride, 0, nt * it->frame_stride);
            continue;
        }
        int64_t at = it->kept ? kept_at(f, leaf, sequence[slot], t0) : 0;
        if (it->kept && it->known[at]) {
            move_kept(f, it, l, at, nt, true);
            continue;
        }
        if (block != done) {
            a = a.target ? a : aim_create(it, nt);
            aim_at(f, it, grid_network(g, leaf), sequence[slot], t0, nt, &a);
            done = block;
        }
        scatter(f, it, l, nt, a.target, NULL, it->target);
        scatter(f, it, l, nt, NULL, a.weight, it->mask);
        if (it->kept) {
            move_kept(f, it, l, at, nt, false);
        }
        if (f->step_staging) {
            mark_steps(it, &a, nt, f->step_width, f->step_staging + (int64_t)l * f->chunk * f->step_width);
        }
    }
    aim_destroy(&a);
}

void fit_aim(fit *f, const int64_t *sequence, int64_t t0, int nt)
{
    int64_t nstep = (int64_t)f->nleaf * f->chunk * f->step_width;
    if (f->step_staging) {
        memset(f->step_staging, 0, (size_t)nstep * sizeof(real));
    }
    for (int i = 0; i < f->nitem; i++) {
        aim_item(f, &f->item[i], sequence, t0, nt);
    }
    if (f->step_staging) {
        f->be->ops->upload(f->be, f->step_mask, f->step_staging, nstep);
    }
}

/* --- frames ---------------------------------------------------------------------------------------------------------- */

static bool is_cpu(const backend *be)
{
    return strcmp(be->ops->name, "cpu") == 0;
}

/* First pixel of a leaf's tile in the field of the stimulus. */
static void corner(const fit *f, int l, int *y0, int *x0)
{
    int leaf = model_first_leaf(f->m) + l;
    const fit_network *n = &f->network[grid_network(model_grid(f->m), leaf)];
    const grid_tile *t = &model_tiles(f->m)[l];
    *y0 = f->p->set.crop_y + n->y0 + t->y0;
    *x0 = f->p->set.crop_x + n->x0 + t->x0;
}

/* The part of the field that this rank shows. */
static void find_rectangle(fit *f)
{
    int y1 = 0, x1 = 0;
    f->rect_y = f->rect_x = INT32_MAX;
    for (int l = 0; l < f->nleaf; l++) {
        int y0, x0;
        const grid_tile *t = &model_tiles(f->m)[l];
        corner(f, l, &y0, &x0);
        f->rect_y = y0 < f->rect_y ? y0 : f->rect_y;
        f->rect_x = x0 < f->rect_x ? x0 : f->rect_x;
        y1 = y0 + t->ny > y1 ? y0 + t->ny : y1;
        x1 = x0 + t->nx > x1 ? x0 + t->nx : x1;
    }
    f->rect_ny = f->nleaf > 0 ? y1 - f->rect_y : 0;
    f->rect_nx = f->nleaf > 0 ? x1 - f->rect_x : 0;
    if (f->nleaf == 0) {
        f->rect_y = f->rect_x = 0;
    }
}

size_t fit_movie_bytes(const fit *f)
{
    double bytes = (double)f->movie_nstep * f->rect_ny * f->rect_nx * sizeof(real);
    return bytes <= (double)f->s.movie_mb * 1048576 ? (size_t)bytes : 0;
}

/* Shape and reach, before anything is allocated. */
void fit_plan_frames(fit *f)
{
    f->nleaf = model_nleaf(f->m);
    f->chunk = model_chunk_steps(f->m);
    find_rectangle(f);
    f->movie_nstep = f->start[f->nsequence - 1] - f->seq.burn_in + f->window;
    if (f->p->stim) {
        stimulus_expect(f->p->stim, f->rect_y, f->rect_x, f->rect_ny, f->rect_nx, f->chunk);
    }
}

static void keep_movie(fit *f)
{
    size_t bytes = fit_movie_bytes(f);
    if (bytes == 0 || f->pixels) {
        return;
    }
    int64_t frame = (int64_t)f->rect_ny * f->rect_nx;
    f->movie = MEMORY_NEW(real, f->movie_nstep * frame);
    for (int64_t t = 0; t < f->movie_nstep; t += f->chunk) {
        int nt = (int)(f->movie_nstep - t < f->chunk ? f->movie_nstep - t : f->chunk);
        stimulus_render(f->p->stim, t, nt, f->rect_y, f->rect_x, f->rect_ny, f->rect_nx, f->movie + t * frame, frame, f->rect_nx);
    }
}

static void copy_frames(const fit *f, int l, int64_t step, int slot, int64_t t0, int nt, real *to, int64_t frame_stride, int64_t row_stride)
{
    int y0, x0;
    const grid_tile *tile = &model_tiles(f->m)[l];
    int ny = f->setup.ny, nx = f->setup.nx;
    corner(f, l, &y0, &x0);
    for (int t = 0; t < nt; t++) {
        for (int y = 0; y < tile->ny; y++) {
            real *row = to + t * frame_stride + y * row_stride;
            if (f->pixels) {
                const double *from = f->pixels + ((slot * f->window + t0 + t) * ny + tile->y0 + y) * nx + tile->x0;
                for (int x = 0; x < tile->nx; x++) {
                    row[x] = (real)from[x];
                }
            } else {
                const real *from = f->movie + ((step + t) * f->rect_ny + y0 - f->rect_y + y) * f->rect_nx + x0 - f->rect_x;
                memcpy(row, from, (size_t)tile->nx * sizeof(real));
            }
        }
    }
}

static void show_leaf(fit *f, int l, view v, int64_t sequence, int slot, int64_t t0, int nt)
{
    const grid_tile *t = v.tile;
    real *frames = is_cpu(f->be) ? host(v.at) : f->staging;
    int64_t step = sequence >= 0 ? f->start[sequence] - f->seq.burn_in + t0 : 0;
    if (sequence < 0) {
        for (int i = 0; i < nt; i++) {
            for (int y = 0; y < t->ny; y++) {
                for (int x = 0; x < t->nx; x++) {
                    frames[i * v.frame_stride + y * v.row_stride + x] = (real)f->setup.stimulus_rest;
                }
            }
        }
    } else if (f->pixels || f->movie) {
        copy_frames(f, l, step, slot, t0, nt, frames, v.frame_stride, v.row_stride);
    } else {
        int y0, x0;
        corner(f, l, &y0, &x0);
        stimulus_render(f->p->stim, step, nt, y0, x0, t->ny, t->nx, frames, v.frame_stride, v.row_stride);
    }
    if (frames == f->staging) {
        f->be->ops->upload(f->be, v.at, frames, (nt - 1) * v.frame_stride + (t->ny - 1) * v.row_stride + t->nx);
    }
}

void fit_show(fit *f, const int64_t *sequence, int64_t t0, int nt)
{
    view v = model_stimulus(f->m);
    for (int l = 0; l < f->nleaf; l++) {
        int slot = grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l);
        show_leaf(f, l, view_of_leaf(v, l, 1), sequence[slot], slot, t0, nt);
    }
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

void fit_data_attach(fit *f)
{
    f->nstaging = f->chunk * model_stimulus(f->m).frame_stride;
    for (int i = 0; i < f->nitem; i++) {
        fit_item *it = &f->item[i];
        model_output o = model_output_at(f->m, it->output);
        measure_item(f, it);
        check_columns(f, it);
        it->row_stride = o.v.pad_nx;
        it->chan_stride = (int64_t)o.v.pad_ny * o.v.pad_nx;
        it->frame_stride = o.nchan * it->chan_stride;
        it->leaf_stride = f->chunk * it->frame_stride;
        int64_t n = it->leaf_stride * (f->nleaf > 0 ? f->nleaf : 1);
        it->target = f->be->ops->alloc(f->be, n);
        it->mask = f->be->ops->alloc(f->be, n);
        f->nstaging = it->leaf_stride > f->nstaging ? it->leaf_stride : f->nstaging;
        int64_t out = f->chunk * o.v.frame_stride;
        f->nstaging = out > f->nstaging ? out : f->nstaging;
        if (fit_target_bytes(f) > 0) {
            it->kept = f->be->ops->alloc(f->be, 2 * kept_leaves(f) * it->leaf_stride);
            it->known = MEMORY_NEW(bool, kept_leaves(f));
        }
        if (!it->r && it->ncell > 0) {
            it->chosen = MEMORY_NEW(bool, it->nelement);
            for (int c = 0; c < it->ncell; c++) {
                if (it->cells[c] >= (double)it->nelement) {
                    error_fatal(EXIT_BAD_INPUT, "fit: stimulus: cells: %g; output '%s' has 0 to %lld", it->cells[c], it->name, (long long)it->nelement - 1);
                }
                it->chosen[(int64_t)it->cells[c]] = true;
            }
        }
        count_terms(f, it);
        f->nelement += it->nelement;
    }
    f->staging = MEMORY_NEW(real, f->nstaging);
    if (f->loss.nactivity > 0) {
        for (int i = 0; i < f->loss.nactivity; i++) {
            int width = model_output_at(f->m, f->activity[i]).v.pad_nx;
            f->step_width = width > f->step_width ? width : f->step_width;
        }
        int64_t n = (int64_t)f->chunk * f->step_width * (f->nleaf > 0 ? f->nleaf : 1);
        f->step_mask = f->be->ops->alloc(f->be, n);
        f->step_staging = MEMORY_NEW(real, n);
        count_steps(f);
    }
    if (f->p->stim) {
        keep_movie(f);
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
            f->be->ops->release(f->be, it->target);
            f->be->ops->release(f->be, it->mask);
            f->be->ops->release(f->be, it->kept);
        }
        memory_free(it->cells);
        memory_free(it->chosen);
        memory_free(it->known);
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
    if (f->step_mask) {
        f->be->ops->release(f->be, f->step_mask);
    }
    memory_free(f->step_staging);
    memory_free(f->step_count);
    memory_free(f->movie);
    memory_free(f->pixels);
    memory_free(f->g_pixels);
}

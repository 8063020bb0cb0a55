/* fit_frames.c - the frames that a fit's sequences show.  The movie is kept in memory if it fits (fit.movie_mb), and on a device too, which then cuts
 * the windows of its leaves out of it without the host. */
#include <string.h>

#include "base/memory.h"
#include "run/fit_own.h"

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

/* --- on the host --------------------------------------------------------------------------------------------------------- */

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

typedef struct show {
    fit *f;
    view v; /* asked for once: model_stimulus ends the time of the chunk before */
    const int64_t *sequence;
    int64_t t0;
    int nt;
} show;

static void show_leaves(void *ctx, int first, int n, int worker)
{
    (void)worker;
    const show *s = ctx;
    fit *f = s->f;
    for (int l = first; l < first + n; l++) {
        int slot = grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l);
        show_leaf(f, l, view_of_leaf(s->v, l, 1), s->sequence[slot], slot, s->t0, s->nt);
    }
}

/* --- on a device --------------------------------------------------------------------------------------------------------- */

/* The windows of a sequence's leaves, in the movie and in the stimulus; between the two they stand in a buffer. */
static void find_windows(fit *f, int slot, fit_windows *w)
{
    int64_t pixels = 0;
    w->leaf = MEMORY_NEW(grid_rect, f->nleaf);
    w->movie = MEMORY_NEW(grid_rect, f->nleaf);
    for (int l = 0; l < f->nleaf; l++) {
        const grid_tile *t = &model_tiles(f->m)[l];
        if (grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l) == slot) {
            int y0, x0;
            corner(f, l, &y0, &x0);
            w->leaf[w->n] = (grid_rect){l, 0, 0, t->ny, t->nx, pixels};
            w->movie[w->n++] = (grid_rect){0, y0 - f->rect_y, x0 - f->rect_x, t->ny, t->nx, pixels};
            pixels += (int64_t)t->ny * t->nx;
        }
    }
}

/* Pixels of the windows of the sequence with most of them. */
static int64_t window_pixels(const fit *f)
{
    int64_t *pixels = MEMORY_NEW(int64_t, f->nseq), most = 0;
    for (int l = 0; l < f->nleaf; l++) {
        const grid_tile *t = &model_tiles(f->m)[l];
        int64_t *of = &pixels[grid_sequence(model_grid(f->m), model_first_leaf(f->m) + l)];
        *of += (int64_t)t->ny * t->nx;
        most = *of > most ? *of : most;
    }
    memory_free(pixels);
    return most;
}

size_t fit_frame_bytes_device(const fit *f)
{
    size_t movie = fit_movie_bytes(f);
    return movie > 0 ? movie + (size_t)(window_pixels(f) * f->chunk) * sizeof(real) : 0;
}

static void keep_movie_on_device(fit *f)
{
    fit_device_movie *d = &f->device_movie;
    int64_t n = f->movie_nstep * f->rect_ny * f->rect_nx;
    d->frames = f->be->ops->alloc(f->be, n);
    d->between = f->be->ops->alloc(f->be, window_pixels(f) * f->chunk);
    d->tile = (grid_tile){.ny = f->rect_ny, .nx = f->rect_nx};
    d->windows = MEMORY_NEW(fit_windows, f->nseq);
    f->be->ops->upload(f->be, d->frames, f->movie, n);
    for (int s = 0; s < f->nseq; s++) {
        find_windows(f, s, &d->windows[s]);
    }
}

static void show_from_device(fit *f, view v, const int64_t *sequence, int64_t t0, int nt)
{
    fit_device_movie *d = &f->device_movie;
    int64_t frame = (int64_t)f->rect_ny * f->rect_nx;
    for (int s = 0; s < f->nseq; s++) {
        const fit_windows *w = &d->windows[s];
        if (sequence[s] >= 0) {
            int64_t step = f->start[sequence[s]] - f->seq.burn_in + t0;
            view movie = {d->frames + step * frame, &d->tile, 1, 1, 0, f->movie_nstep * frame, frame, frame, f->rect_nx, f->rect_ny, f->rect_nx};
            f->be->ops->pack(f->be, w->n, w->movie, nt, movie, d->between);
            f->be->ops->unpack(f->be, w->n, w->leaf, nt, v, d->between);
        }
        for (int i = 0; sequence[s] < 0 && i < w->n; i++) { /* halos too, which are filled from such pixels later */
            dreal *first = v.at + w->leaf[i].leaf * v.leaf_stride - v.halo * v.row_stride - v.halo;
            f->be->ops->fill(f->be, first, (real)f->setup.stimulus_rest, nt * v.frame_stride);
        }
    }
}

/* --- either -------------------------------------------------------------------------------------------------------------- */

void fit_show(fit *f, const int64_t *sequence, int64_t t0, int nt)
{
    show s = {f, model_stimulus(f->m), sequence, t0, nt};
    if (f->device_movie.frames) {
        show_from_device(f, s.v, sequence, t0, nt);
    } else if (f->movie || f->pixels) {
        f->be->ops->each_leaf(f->be, f->nleaf, show_leaves, &s);
    } else { /* a stimulus is rendered by one thread at a time */
        show_leaves(&s, 0, f->nleaf, 0);
    }
}

void fit_frames_attach(fit *f)
{
    if (f->p->stim) {
        keep_movie(f);
    }
    if (f->movie && f->nleaf > 0 && !is_cpu(f->be)) {
        keep_movie_on_device(f);
    }
}

void fit_frames_destroy(fit *f)
{
    fit_device_movie *d = &f->device_movie;
    if (d->frames) {
        f->be->ops->release(f->be, d->frames);
        f->be->ops->release(f->be, d->between);
    }
    for (int s = 0; d->windows && s < f->nseq; s++) {
        memory_free(d->windows[s].leaf);
        memory_free(d->windows[s].movie);
    }
    memory_free(d->windows);
    memory_free(f->movie);
    memory_free(f->pixels);
    memory_free(f->g_pixels);
}

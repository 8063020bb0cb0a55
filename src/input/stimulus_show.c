/* stimulus_show.c - frames of a rectangle: pictures that last are drawn once for all rectangles and steps that show them. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "input/stimulus_own.h"

enum {
    PROBE_STEPS = 1024,
    PIECE_PIXELS = 1 << 15, /* of a thread at a time, or a little more */
    PIECE_ROWS = 8,         /* of which it is a multiple: a type may draw some rows at a time */
};

static int64_t picture_of(stimulus_part *p, int64_t step)
{
    return p->type->picture ? p->type->picture(p, step) : PICTURE_PASSING;
}

/* Pictures shown in steps [step, step + n) of a part, with or without those that pass; one that comes back counts again. */
static int count_pictures(stimulus_part *p, int64_t step, int n, bool passing)
{
    int count = 0;
    int64_t last = PICTURE_PASSING;
    for (int i = 0; i < n && step + i < p->nstep; i++) {
        int64_t number = picture_of(p, step + i);
        count += number == PICTURE_PASSING ? passing : number != last;
        last = number;
    }
    return count;
}

void part_choose_keep(stimulus_part *p)
{
    int n = p->nstep < PROBE_STEPS ? (int)p->nstep : PROBE_STEPS;
    p->keeps = p->type->keep == KEEP_ALL || (p->type->keep == KEEP_HELD && 2 * count_pictures(p, 0, n, true) <= n + 1);
}

/* --- what is asked for --------------------------------------------------------------------------------------------------- */
void stimulus_forget(stimulus *s)
{
    for (int i = 0; i < s->npart; i++) {
        memory_free(s->parts[i].share);
        s->parts[i].share = NULL;
    }
    for (int i = 0; i < s->nkept; i++) {
        memory_free(s->kept[i].luma);
        s->kept[i] = (kept_picture){0};
    }
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

static void extend_reach(stimulus *s, int y0, int x0, int ny, int nx)
{
    canvas *r = &s->reach;
    bool none = r->ny == 0 || r->nx == 0;
    if (ny == 0 || nx == 0 || (!none && y0 >= r->y0 && x0 >= r->x0 && y0 + ny <= r->y0 + r->ny && x0 + nx <= r->x0 + r->nx)) {
        return;
    }
    stimulus_forget(s);
    int y_end = none ? y0 + ny : most(r->y0 + r->ny, y0 + ny), x_end = none ? x0 + nx : most(r->x0 + r->nx, x0 + nx);
    r->y0 = none ? y0 : least(r->y0, y0);
    r->x0 = none ? x0 : least(r->x0, x0);
    r->ny = y_end - r->y0;
    r->nx = x_end - r->x0;
    r->row_stride = r->nx;
}

static size_t reach_pixels(const stimulus *s)
{
    return (size_t)s->reach.ny * (size_t)s->reach.nx;
}

void stimulus_expect(stimulus *s, int y0, int x0, int ny, int nx, int chunk_steps)
{
    extend_reach(s, y0, x0, ny, nx);
    s->chunk_steps = most(chunk_steps, 1);
}

size_t stimulus_bytes(const stimulus *s)
{
    size_t later = 0, pictures = 0;
    for (int i = 0; i < s->npart; i++) {
        stimulus_part *p = &s->parts[i];
        int shown = 0;
        for (int64_t step = 0; p->keeps && step < p->nstep && step < PROBE_STEPS; step += s->chunk_steps) {
            shown = most(shown, count_pictures(p, step, s->chunk_steps, false));
        }
        pictures = pictures < (size_t)shown ? (size_t)shown : pictures;
        later += p->bytes_later + p->bytes_a_line * ((size_t)s->reach.ny + (size_t)s->reach.nx) +
                 (p->mask.shape != MASK_NONE ? reach_pixels(s) * sizeof(real) : 0);
    }
    return later + pictures * reach_pixels(s) * sizeof(real);
}

/* --- masks --------------------------------------------------------------------------------------------------------------- */
static real mask_share(const stimulus_part *p, int64_t y, int64_t x)
{
    const mask_settings *m = &p->mask;
    double dx = fabs(part_x_deg(p, x) - m->centre_deg[0]), dy = fabs(part_y_deg(p, y) - m->centre_deg[1]);
    double inside = m->radius_deg - (m->shape == MASK_CIRCLE ? sqrt(dx * dx + dy * dy) : fmax(dx, dy));
    if (m->smooth_deg <= 0) {
        return inside >= -1e-9;
    }
    return (real)(0.5 - 0.5 * cos(M_PI * clip_unit(inside / m->smooth_deg + 0.5)));
}

static void plan_mask(const stimulus *s, stimulus_part *p)
{
    const canvas *r = &s->reach;
    p->share = MEMORY_NEW(real, reach_pixels(s));
    for (int y = 0; y < r->ny; y++) {
        for (int x = 0; x < r->nx; x++) {
            p->share[y * r->row_stride + x] = mask_share(p, (int64_t)r->y0 + y, (int64_t)r->x0 + x);
        }
    }
}

/* --- drawing ------------------------------------------------------------------------------------------------------------- */
static const real *in_reach(const stimulus *s, const real *values, const canvas *c, int y)
{
    return values + (c->y0 - s->reach.y0 + y) * s->reach.row_stride + (c->x0 - s->reach.x0);
}

static void draw_seen(const stimulus *s, stimulus_part *p, int64_t step, const canvas *c)
{
    p->type->draw(p, step, c);
    real background = (real)p->mask.background;
    for (int y = 0; p->share && y < c->ny; y++) {
        const real *share = in_reach(s, p->share, c, y);
        real *row = c->out + y * c->row_stride;
        for (int x = 0; x < c->nx; x++) {
            row[x] = share[x] * row[x] + (1 - share[x]) * background;
        }
    }
}

/* --- over threads --------------------------------------------------------------------------------------------------------- */
/* Some rows of a picture: where they go, and where they stand already. */
typedef struct band {
    stimulus_part *part;
    int64_t step;     /* of the part                                            */
    const real *from; /* NULL: they are drawn; else rows, from_stride apart     */
    int64_t from_stride;
    canvas to;
} band;

/* What can be shown in any order, or is drawn one after another by a type that asks for it. */
typedef struct bands {
    const stimulus *s;
    const stimulus_part *drawn; /* by this part; NULL: all are copied */
    band *band;
    int64_t n, room, pixels, each; /* each: bands of a piece          */
} bands;

static void show_piece(void *ctx, int64_t i)
{
    const bands *w = ctx;
    for (int64_t k = i * w->each; k < w->n && k < (i + 1) * w->each; k++) {
        const band *b = &w->band[k];
        if (!b->from) {
            draw_seen(w->s, b->part, b->step, &b->to);
            continue;
        }
        for (int y = 0; y < b->to.ny; y++) {
            memcpy(b->to.out + y * b->to.row_stride, b->from + y * b->from_stride, (size_t)b->to.nx * sizeof(real));
        }
    }
}

static bool is_drawn_one_by_one(const bands *w)
{
    return w->drawn && w->drawn->type->at_a_time == DRAW_ONE;
}

static void show_bands(bands *w)
{
    if (w->n > 0) {
        w->each = is_drawn_one_by_one(w) ? w->n : 1 + PIECE_PIXELS * w->n / (w->pixels + 1);
        threads_each((w->n + w->each - 1) / w->each, show_piece, w);
    }
    w->n = w->pixels = 0;
}

/* Adds a picture of a rectangle, in bands where it is large. */
static void add_bands(bands *w, band whole)
{
    canvas c = whole.to;
    int ny = c.nx > 0 ? (PIECE_PIXELS / c.nx / PIECE_ROWS + 1) * PIECE_ROWS : 0;
    for (int y = 0, n; c.nx > 0 && y < c.ny; y += n) {
        n = is_drawn_one_by_one(w) ? c.ny : least(c.ny - y, ny);
        if (w->n == w->room) {
            w->room = 2 * w->room + 16;
            w->band = memory_grow(w->band, (size_t)w->room, sizeof *w->band);
        }
        band *b = &w->band[w->n++];
        *b = whole;
        b->from = whole.from ? whole.from + y * whole.from_stride : NULL;
        b->to = (canvas){c.y0 + y, c.x0, n, c.nx, c.out + y * c.row_stride, c.row_stride};
        w->pixels += (int64_t)n * c.nx;
    }
}

/* Before a picture of a part is added that is to be drawn, in rectangles within bounds: what is there is drawn first unless both can be at a time. */
static void prepare_bands(bands *w, stimulus_part *p, int64_t step, const canvas *bounds)
{
    if (p == w->drawn && p->type->at_a_time == DRAW_STEPS) {
        return;
    }
    show_bands(w);
    w->drawn = p;
    if (p->mask.shape != MASK_NONE && !p->share) {
        plan_mask(w->s, p);
    }
    if (p->type->prepare) {
        p->type->prepare(p, step, bounds);
    }
}

/* --- kept pictures -------------------------------------------------------------------------------------------------------- */
/* The picture of the whole reach; drawn in place of the one that was not used for longest when it is not there. */
static const real *kept_luma(stimulus *s, stimulus_part *p, int64_t step, int64_t number)
{
    kept_picture *k = &s->kept[0];
    for (int i = 0; i < s->nkept; i++) {
        if (s->kept[i].part == p && s->kept[i].number == number) {
            s->kept[i].used = ++s->clock;
            return s->kept[i].luma;
        }
        k = s->kept[i].used < k->used ? &s->kept[i] : k;
    }
    if (!k->luma) {
        k->luma = MEMORY_NEW(real, reach_pixels(s));
    }
    canvas whole = s->reach;
    whole.out = k->luma;
    k->part = NULL;
    bands w = {.s = s};
    prepare_bands(&w, p, step, &s->reach);
    add_bands(&w, (band){.part = p, .step = step, .to = whole});
    show_bands(&w);
    memory_free(w.band);
    *k = (kept_picture){p, number, ++s->clock, k->luma};
    return k->luma;
}

static stimulus_part *part_at(stimulus *s, int64_t step)
{
    int i = s->npart - 1;
    while (i > 0 && s->parts[i].first > step) {
        i--;
    }
    return &s->parts[i];
}

/* Room for all pictures of a call: the other rectangles of the same steps find them there. */
static void make_room(stimulus *s, int64_t step0, int nt)
{
    int need = 0;
    for (int64_t step = step0; step < step0 + nt;) {
        stimulus_part *p = part_at(s, step);
        int64_t end = step0 + nt - p->first < p->nstep ? step0 + nt : p->first + p->nstep;
        need += p->keeps ? count_pictures(p, step - p->first, (int)(end - step), false) : 0;
        step = end;
    }
    need = most(need, 1);
    if (s->nkept < need) {
        s->kept = memory_grow(s->kept, (size_t)need, sizeof *s->kept);
        s->nkept = need;
    }
}

/* --- a call --------------------------------------------------------------------------------------------------------------- */
/* What a step shows: a kept picture, that of an earlier step, or a new one. */
typedef struct shown {
    stimulus_part *part;
    int64_t step;     /* of the part                       */
    const real *luma; /* of the reach; NULL: none is kept  */
    int as;           /* the earlier step; -1: none        */
} shown;

/* A picture that stays is drawn once. */
static void find_pictures(stimulus *s, int64_t step0, int nt, shown *picture)
{
    int64_t last_number = PICTURE_PASSING;
    for (int t = 0; t < nt; t++) {
        stimulus_part *p = part_at(s, step0 + t);
        int64_t step = step0 + t - p->first, number = picture_of(p, step);
        picture[t] = (shown){p, step, NULL, -1};
        if (number != PICTURE_PASSING && p->keeps) {
            picture[t].luma = kept_luma(s, p, step, number);
        } else if (number != PICTURE_PASSING && t > 0 && p == picture[t - 1].part && number == last_number) {
            picture[t].as = picture[t - 1].as < 0 ? t - 1 : picture[t - 1].as;
        }
        last_number = number;
    }
}

/* Step t of all rectangles. */
static void add_step(bands *w, const shown *picture, int t, const stimulus_rect *rect, int nrect)
{
    const shown *k = &picture[t];
    for (int r = 0; r < nrect; r++) {
        const stimulus_rect *q = &rect[r];
        band b = {.part = k->part, .step = k->step, .to = {q->y0, q->x0, q->ny, q->nx, q->frames + t * q->frame_stride, q->row_stride}};
        b.from = k->luma ? in_reach(w->s, k->luma, &b.to, 0) : k->as >= 0 ? q->frames + k->as * q->frame_stride : NULL;
        b.from_stride = k->luma ? w->s->reach.row_stride : q->row_stride;
        add_bands(w, b);
    }
}

static canvas bounds_of(const stimulus_rect *rect, int nrect)
{
    canvas c = {0};
    for (int r = 0; r < nrect; r++) {
        if (rect[r].ny > 0 && rect[r].nx > 0) {
            widen(&c.y0, &c.ny, rect[r].y0, rect[r].ny);
            widen(&c.x0, &c.nx, rect[r].x0, rect[r].nx);
        }
    }
    return c;
}

void stimulus_render_all(stimulus *s, int64_t step0, int nt, const stimulus_rect *rect, int nrect)
{
    ASSERT(step0 >= 0 && nt >= 0 && step0 <= s->nstep - nt);
    canvas bounds = bounds_of(rect, nrect);
    if (bounds.ny == 0) {
        return;
    }
    extend_reach(s, bounds.y0, bounds.x0, bounds.ny, bounds.nx);
    make_room(s, step0, nt);
    shown *picture = MEMORY_NEW(shown, nt);
    find_pictures(s, step0, nt, picture);
    bands w = {.s = s};
    for (int t = 0; t < nt; t++) {
        if (!picture[t].luma && picture[t].as < 0) {
            prepare_bands(&w, picture[t].part, picture[t].step, &bounds);
            add_step(&w, picture, t, rect, nrect);
        }
    }
    show_bands(&w);
    w.drawn = NULL;
    for (int t = 0; t < nt; t++) {
        if (picture[t].luma || picture[t].as >= 0) {
            add_step(&w, picture, t, rect, nrect);
        }
    }
    show_bands(&w);
    memory_free(w.band);
    memory_free(picture);
}

void stimulus_render(stimulus *s, int64_t step0, int nt, int y0, int x0, int ny, int nx, real *frames, int64_t frame_stride, int64_t row_stride)
{
    stimulus_render_all(s, step0, nt, &(stimulus_rect){y0, x0, ny, nx, frames, frame_stride, row_stride}, 1);
}

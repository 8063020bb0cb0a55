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
/* A picture of a rectangle: where it goes, and where it stands already. */
typedef struct shown {
    stimulus_part *part;
    int64_t step;     /* of the part                                             */
    const real *from; /* NULL: it is drawn; else rows of it, from_stride apart   */
    int64_t from_stride;
    real *out;
} shown;

/* Pictures of one rectangle; their rows, one picture after another, fall in pieces. */
typedef struct showing {
    const stimulus *s;
    const shown *picture;
    const canvas *where; /* its out is not looked at */
    int64_t nrow, piece_rows;
} showing;

static void show_band(const stimulus *s, const shown *k, int y, int ny, const canvas *where)
{
    canvas c = {where->y0 + y, where->x0, ny, where->nx, k->out + y * where->row_stride, where->row_stride};
    if (!k->from) {
        draw_seen(s, k->part, k->step, &c);
        return;
    }
    for (int i = 0; i < ny; i++) {
        memcpy(c.out + i * c.row_stride, k->from + (y + i) * k->from_stride, (size_t)c.nx * sizeof(real));
    }
}

static void show_piece(void *ctx, int64_t i)
{
    const showing *w = ctx;
    int64_t begin = i * w->piece_rows, end = w->nrow - begin < w->piece_rows ? w->nrow : begin + w->piece_rows, ny = w->where->ny;
    for (int64_t row = begin; row < end;) {
        int64_t y = row % ny, n = ny - y < end - row ? ny - y : end - row;
        show_band(w->s, &w->picture[row / ny], (int)y, (int)n, w->where);
        row += n;
    }
}

/* In pieces, or picture by picture. */
static void show_all(const stimulus *s, const shown *picture, int n, const canvas *where, bool in_pieces)
{
    showing w = {s, picture, where, (int64_t)n * where->ny, (int64_t)n * where->ny};
    if (in_pieces) {
        w.piece_rows = (PIECE_PIXELS / where->nx / PIECE_ROWS + 1) * PIECE_ROWS;
    }
    threads_each((w.nrow + w.piece_rows - 1) / w.piece_rows, show_piece, &w);
}

/* Pictures that are not there yet. */
static void draw_all(const stimulus *s, const shown *picture, int n, const canvas *where)
{
    for (int i = 0, end; i < n; i = end) {
        stimulus_part *p = picture[i].part;
        for (end = i + 1; p->type->at_a_time == DRAW_STEPS && end < n && picture[end].part == p; end++) {
        }
        if (p->mask.shape != MASK_NONE && !p->share) {
            plan_mask(s, p);
        }
        if (p->type->prepare) {
            p->type->prepare(p, picture[i].step, where);
        }
        show_all(s, picture + i, end - i, where, p->type->at_a_time != DRAW_ONE);
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
    k->part = NULL;
    draw_all(s, &(shown){.part = p, .step = step, .out = k->luma}, 1, &s->reach);
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

/* What is drawn, in order, and what is copied then, from the end; returns how many are drawn.  A picture that stays is drawn once. */
static int sort_pictures(stimulus *s, int64_t step0, int nt, const canvas *where, int64_t frame_stride, shown *picture)
{
    int ndrawn = 0, ncopied = 0;
    shown last = {0};
    int64_t last_number = PICTURE_PASSING;
    for (int t = 0; t < nt; t++) {
        stimulus_part *p = part_at(s, step0 + t);
        shown now = {.part = p, .step = step0 + t - p->first, .out = where->out + t * frame_stride};
        int64_t number = picture_of(p, now.step);
        if (p == last.part && number == last_number && number != PICTURE_PASSING) {
            now.from = last.from ? last.from : last.out;
            now.from_stride = last.from ? last.from_stride : where->row_stride;
        } else if (p->keeps && number != PICTURE_PASSING) {
            now.from = in_reach(s, kept_luma(s, p, now.step, number), where, 0);
            now.from_stride = s->reach.row_stride;
        }
        picture[now.from ? nt - ++ncopied : ndrawn++] = now;
        last = now;
        last_number = number;
    }
    return ndrawn;
}

void stimulus_render(stimulus *s, int64_t step0, int nt, int y0, int x0, int ny, int nx, real *frames, int64_t frame_stride, int64_t row_stride)
{
    ASSERT(step0 >= 0 && nt >= 0 && step0 <= s->nstep - nt);
    if (nt == 0 || ny == 0 || nx == 0) {
        return;
    }
    extend_reach(s, y0, x0, ny, nx);
    make_room(s, step0, nt);
    canvas where = {y0, x0, ny, nx, frames, row_stride};
    shown *picture = MEMORY_NEW(shown, nt);
    int ndrawn = sort_pictures(s, step0, nt, &where, frame_stride, picture);
    draw_all(s, picture, ndrawn, &where);
    if (ndrawn < nt) {
        show_all(s, picture + ndrawn, nt - ndrawn, &where, true);
    }
    memory_free(picture);
}

/* stimulus_show.c - frames of a rectangle: pictures that last are drawn once for all rectangles and steps that show them. */
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "input/stimulus_own.h"

enum { PROBE_STEPS = 1024 };

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
        later += p->bytes_later + (p->mask.shape != MASK_NONE ? reach_pixels(s) * sizeof(real) : 0);
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
    if (p->mask.shape == MASK_NONE) {
        return;
    }
    if (!p->share) {
        plan_mask(s, p);
    }
    real background = (real)p->mask.background;
    for (int y = 0; y < c->ny; y++) {
        const real *share = in_reach(s, p->share, c, y);
        real *row = c->out + y * c->row_stride;
        for (int x = 0; x < c->nx; x++) {
            row[x] = share[x] * row[x] + (1 - share[x]) * background;
        }
    }
}

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
    draw_seen(s, p, step, &whole);
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

void stimulus_render(stimulus *s, int64_t step0, int nt, int y0, int x0, int ny, int nx, real *frames, int64_t frame_stride, int64_t row_stride)
{
    ASSERT(step0 >= 0 && nt >= 0 && step0 <= s->nstep - nt);
    extend_reach(s, y0, x0, ny, nx);
    make_room(s, step0, nt);
    const stimulus_part *last = NULL;
    int64_t shown = PICTURE_PASSING;
    for (int t = 0; t < nt; t++) {
        stimulus_part *p = part_at(s, step0 + t);
        canvas c = {y0, x0, ny, nx, frames + t * frame_stride, row_stride};
        int64_t step = step0 + t - p->first, number = picture_of(p, step);
        bool again = p == last && number == shown && number != PICTURE_PASSING, kept = p->keeps && number != PICTURE_PASSING;
        const real *luma = kept && !again ? kept_luma(s, p, step, number) : NULL;
        for (int y = 0; (again || kept) && y < ny; y++) {
            real *row = c.out + y * row_stride;
            memcpy(row, again ? row - frame_stride : in_reach(s, luma, &c, y), (size_t)nx * sizeof(real));
        }
        if (!again && !kept) {
            draw_seen(s, p, step, &c);
        }
        last = p;
        shown = number;
    }
}

/* stimulus_ran1.c - white noise of the generator ran1: published checkerboards and flicker drawn again from their seeds.
 *
 * The generator is serial, and all checks of a frame are drawn even when the field shows few of them.  So every rank draws each frame once, in order,
 * at 2 ns a check (13 ns a Gaussian one), and keeps the checks it shows, as a bit each (binary) or a real each (Gaussian): a later look at any frame
 * costs nothing.  36,000 frames of 200 x 150 checks: 3 s a rank; 24 x 24 of them shown: 2.6 MB. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/ran1.h"
#include "input/stimulus_own.h"

enum { RAN1_BINARY, RAN1_GAUSSIAN };
enum { ORDER_YX, ORDER_XY };

/* Frames drawn so far of one seed, of the window alone. */
typedef struct ran1_stream {
    ran1 generator;
    int32_t seed;
    int64_t ndrawn, room; /* frames */
    unsigned char *kept;  /* [room][frame_bytes] */
} ran1_stream;

/* Of a board, the checks [first, first + n) along x (0) and y (1). */
typedef struct ran1_window {
    int64_t first[2], n[2];
} ran1_window;

typedef struct ran1_noise {
    double checks[2], window[2], check_deg, rate_hz, contrast, mean;
    int nchecks, nwindow, order, distribution;
    int64_t running_seed, frozen_seed, running, frozen, first_frame;
    bool clip;
    int64_t board[2], corner[2]; /* checks of a frame; check in the field's upper left corner; x, y */
    double side_px[2];
    ran1_window shown;
    ran1_stream run, freeze;
    size_t frame_bytes;
    real *line; /* numbers of the generator along the inner axis */
    int *check; /* of each column of a canvas */
    int ncolumn;
} ran1_noise;

const key_spec ran1_keys[RAN1_NKEY] = {
    INT_KEY(ran1_noise, running_seed, "running_seed", NULL, -2147483646, -1, "of the running frames, never started again (`seed` is not used)"),
    INT_KEY(ran1_noise, frozen_seed, "frozen_seed", "0", -2147483646, 0, "of the frozen frames, started again in every trial"),
    INT_KEY(ran1_noise, running, "running_frames", "0", 0, 9e15, "of a trial, new in every trial ..."),
    INT_KEY(ran1_noise, frozen, "frozen_frames", "0", 0, 9e15, "... and these, after them, are the same in all; 0: no trials"),
    INT_KEY(ran1_noise, first_frame, "first_frame", "0", 0, 9e15, "frame of the sequence that is shown first"),
    NUMBER_KEY(ran1_noise, rate_hz, "rate", "Hz", "0 Hz", 0, INFINITY, "new frames per second, held in between; 0: one a step"),
    LIST_KEY(ran1_noise, checks, nchecks, 2, "checks", "", "", 1, 1e6, "[nx, ny] of a frame as drawn; not given: as many as the field shows"),
    NUMBER_KEY(ran1_noise, check_deg, "check", "deg", "0 deg", 0, INFINITY, "side of a check; 0: a pixel, or the whole field for checks [1, 1]"),
    LIST_KEY(ran1_noise, window, nwindow, 2, "window", "", "", 0, 1e6, "[x, y] of the check in the field's upper left corner; not given: [0, 0]"),
    WORD_KEY(ran1_noise, order, "order", "yx", "yx|xy", "number of check (x, y) in a frame: y nx + x, or x ny + y"),
    WORD_KEY(ran1_noise, distribution, "distribution", "binary", "binary|gaussian", "u >= 0.5 is white; or normal numbers by the polar method"),
    NUMBER_KEY(ran1_noise, contrast, "contrast", "", "1", 0, INFINITY, "binary: mean (1 +- contrast); gaussian: sd / mean"),
    NUMBER_KEY(ran1_noise, mean, "mean", "", "0.5", 0, 1, "mean luminance, and that beyond the last check"),
    FLAG_KEY(ran1_noise, clip, "clip", "true", "limit luminance to [0, 1]"),
};

/* --- frames ---------------------------------------------------------------------------------------------------------------- */
/* Inner axis of the order of drawing: 0 x, 1 y. */
static int inner_axis(const ran1_noise *k)
{
    return k->order == ORDER_XY;
}

static void keep_value(const ran1_noise *k, unsigned char *frame, int64_t i, real value)
{
    if (k->distribution == RAN1_GAUSSIAN) {
        ((real *)frame)[i] = value;
    } else if (value > 0) {
        frame[i >> 3] |= (unsigned char)(1 << (i & 7));
    }
}

static real kept_value(const ran1_noise *k, const unsigned char *frame, int64_t i)
{
    return k->distribution == RAN1_GAUSSIAN ? ((const real *)frame)[i] : frame[i >> 3] >> (i & 7) & 1 ? 1 : -1;
}

/* n numbers; the generator is worked on in registers. */
static void draw_line(const ran1_noise *k, ran1 *generator, int64_t n, real *line)
{
    ran1 g = *generator;
    if (k->distribution == RAN1_GAUSSIAN) {
        for (int64_t i = 0; i < n; i++) {
            line[i] = (real)ran1_normal(&g);
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            line[i] = (real)(2 * ran1_high(&g) - 1);
        }
    }
    *generator = g;
}

static void draw_frame(ran1_noise *k, ran1 *g, unsigned char *frame)
{
    int inner = inner_axis(k);
    const ran1_window *w = &k->shown;
    int64_t outer_end = w->first[!inner] + w->n[!inner];
    for (int64_t a = 0; a < k->board[!inner]; a++) {
        draw_line(k, g, k->board[inner], k->line);
        for (int64_t b = 0; a >= w->first[!inner] && a < outer_end && b < w->n[inner]; b++) {
            keep_value(k, frame, (a - w->first[!inner]) * w->n[inner] + b, k->line[w->first[inner] + b]);
        }
    }
}

/* Frame i of a stream; all before it are drawn when they were not. */
static const unsigned char *stream_frame(ran1_noise *k, ran1_stream *s, int64_t i, int64_t nexpected)
{
    if (s->ndrawn == 0) {
        ran1_start(&s->generator, s->seed);
    }
    if (i >= s->room) {
        int64_t need = i + 1 > 2 * s->room ? i + 1 : 2 * s->room;
        s->room = need > nexpected ? need : nexpected;
        s->kept = memory_grow(s->kept, (size_t)s->room * k->frame_bytes, 1);
    }
    for (; s->ndrawn <= i; s->ndrawn++) {
        unsigned char *frame = s->kept + (size_t)s->ndrawn * k->frame_bytes;
        memset(frame, 0, k->frame_bytes);
        draw_frame(k, &s->generator, frame);
    }
    return s->kept + (size_t)i * k->frame_bytes;
}

/* Running frames before frame `end` of the sequence. */
static int64_t running_before(const ran1_noise *k, int64_t end)
{
    int64_t trial = k->running + k->frozen, rest = k->frozen > 0 ? end % trial : 0;
    return k->frozen > 0 ? end / trial * k->running + (rest < k->running ? rest : k->running) : end;
}

static int64_t frames_expected(const stimulus_part *p)
{
    const ran1_noise *k = p->own;
    int64_t wanted = (int64_t)llround(p->set.duration_s / p->where.step_s), nstep = wanted > 0 ? wanted : p->where.nstep - p->first;
    double rate_hz = k->rate_hz > 0 ? k->rate_hz : 1 / p->where.step_s;
    return running_before(k, k->first_frame + (nstep > 0 ? part_frame_at(p, nstep - 1, rate_hz) : 0) + 1);
}

static void set_frame_bytes(ran1_noise *k)
{
    int64_t n = k->shown.n[0] * k->shown.n[1];
    k->frame_bytes = k->distribution == RAN1_GAUSSIAN ? (size_t)n * sizeof(real) : (size_t)(n + 7) / 8;
}

/* --- places ---------------------------------------------------------------------------------------------------------------- */
static int64_t check_at(const ran1_noise *k, int axis, int64_t pixel)
{
    return k->corner[axis] + (int64_t)floor(((double)pixel + 0.5) / k->side_px[axis] + 1e-9);
}

/* The window that shows n pixels from `pixel` on too; what was drawn of a smaller one is drawn again. */
static void extend_window(ran1_noise *k, const int64_t pixel[2], const int64_t n[2])
{
    ran1_window *w = &k->shown;
    bool larger = false;
    for (int axis = 0; axis < 2; axis++) {
        int64_t from = check_at(k, axis, pixel[axis]), to = check_at(k, axis, pixel[axis] + n[axis] - 1) + 1, end = w->first[axis] + w->n[axis];
        from = from < 0 ? 0 : from;
        to = to > k->board[axis] ? k->board[axis] : to;
        if (from >= to || (from >= w->first[axis] && to <= end)) {
            continue;
        }
        larger = true;
        end = w->n[axis] == 0 || to > end ? to : end;
        w->first[axis] = w->n[axis] == 0 || from < w->first[axis] ? from : w->first[axis];
        w->n[axis] = end - w->first[axis];
    }
    if (larger) {
        set_frame_bytes(k);
        ran1_stream *both[] = {&k->run, &k->freeze};
        for (int i = 0; i < 2; i++) {
            memory_free(both[i]->kept);
            *both[i] = (ran1_stream){.seed = both[i]->seed};
        }
    }
}

static bool ran1_open(stimulus_part *p, input *in, const input_node *at)
{
    ran1_noise *k = p->own;
    int64_t pixels[2] = {p->where.nx, p->where.ny}, none[2] = {0, 0};
    bool full_field = k->nchecks == 2 && k->checks[0] == 1 && k->checks[1] == 1 && k->check_deg == 0;
    if (k->nchecks == 1 || k->nwindow == 1) {
        input_problem(in, at, "ran1_noise: checks and window take two whole numbers, along x and y");
        return false;
    }
    if (k->frozen > 0 && k->frozen_seed == 0) {
        input_problem(in, at, "ran1_noise: frozen_frames need a frozen_seed (below 0)");
        return false;
    }
    if (k->check_deg > 0 && k->check_deg * p->where.pixels_per_deg < 1 - 1e-9) {
        input_problem(in, at, "ran1_noise: a check of %g deg is smaller than a pixel (%g deg)", k->check_deg, 1 / p->where.pixels_per_deg);
        return false;
    }
    for (int axis = 0; axis < 2; axis++) {
        k->corner[axis] = k->nwindow ? (int64_t)k->window[axis] : 0;
        k->side_px[axis] = full_field ? (double)pixels[axis] : k->check_deg > 0 ? k->check_deg * p->where.pixels_per_deg : 1;
        k->board[axis] = k->nchecks ? (int64_t)k->checks[axis] : check_at(k, axis, pixels[axis] - 1) + 1;
        if ((k->nchecks && k->checks[axis] != floor(k->checks[axis])) || (k->nwindow && k->window[axis] != floor(k->window[axis])) ||
            k->corner[axis] >= k->board[axis]) {
            input_problem(in, at, "ran1_noise: checks and window are whole numbers, and the window's corner lies on the board of %lld x %lld checks",
                          (long long)k->board[0], (long long)k->board[1]);
            return false;
        }
    }
    k->run.seed = (int32_t)k->running_seed;
    k->freeze.seed = (int32_t)k->frozen_seed;
    k->line = MEMORY_NEW(real, k->board[inner_axis(k)]);
    extend_window(k, none, pixels);
    p->bytes_later = (size_t)(frames_expected(p) + k->frozen) * k->frame_bytes;
    snprintf(p->note, sizeof p->note, "board of %lld x %lld checks, seeds %lld and %lld, %.3g MB kept", (long long)k->board[0],
             (long long)k->board[1], (long long)k->running_seed, (long long)k->frozen_seed, (double)p->bytes_later * 1e-6);
    return true;
}

static void ran1_close(stimulus_part *p)
{
    ran1_noise *k = p->own;
    memory_free(k->run.kept);
    memory_free(k->freeze.kept);
    memory_free(k->line);
    memory_free(k->check);
}

/* --- pictures -------------------------------------------------------------------------------------------------------------- */
/* Frozen frames are numbered from the top of the 64 bits, where no running frame comes. */
static int64_t ran1_picture(stimulus_part *p, int64_t step)
{
    const ran1_noise *k = p->own;
    int64_t frame = k->first_frame + (k->rate_hz > 0 ? part_frame_at(p, step, k->rate_hz) : step);
    int64_t in_trial = k->frozen > 0 ? frame % (k->running + k->frozen) : 0;
    return k->frozen > 0 && in_trial >= k->running ? INT64_MIN + (in_trial - k->running) : running_before(k, frame);
}

static void ran1_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    ran1_noise *k = p->own;
    extend_window(k, (const int64_t[2]){c->x0, c->y0}, (const int64_t[2]){c->nx, c->ny});
    if (k->ncolumn < c->nx) {
        k->ncolumn = c->nx;
        k->check = memory_grow(k->check, (size_t)c->nx, sizeof *k->check);
    }
    int64_t number = ran1_picture(p, step), stride[2] = {1, k->shown.n[0]};
    const unsigned char *frame = number < 0 ? stream_frame(k, &k->freeze, number - INT64_MIN, k->frozen)
                                            : stream_frame(k, &k->run, number, frames_expected(p));
    if (k->order == ORDER_XY) {
        stride[0] = k->shown.n[1];
        stride[1] = 1;
    }
    real mean = (real)k->mean, depth = (real)(k->mean * k->contrast), low = k->clip ? 0 : -INFINITY, high = k->clip ? 1 : INFINITY;
    for (int x = 0; x < c->nx; x++) {
        k->check[x] = (int)(check_at(k, 0, (int64_t)c->x0 + x) - k->shown.first[0]);
    }
    for (int y = 0; y < c->ny; y++) {
        real *row = c->out + y * c->row_stride;
        int64_t cy = check_at(k, 1, (int64_t)c->y0 + y) - k->shown.first[1];
        bool on_board = cy >= 0 && cy < k->shown.n[1];
        for (int x = 0; x < c->nx; x++) {
            bool there = on_board && k->check[x] >= 0 && k->check[x] < k->shown.n[0];
            real v = there ? mean + depth * kept_value(k, frame, cy * stride[1] + k->check[x] * stride[0]) : mean;
            row[x] = v < low ? low : v > high ? high : v;
        }
    }
}

const stimulus_type type_ran1 = {
    "ran1_noise", sizeof(ran1_noise), ran1_keys, RAN1_NKEY, ran1_open, ran1_close, ran1_picture, NULL, ran1_draw, KEEP_ALL, DRAW_ONE};

/* stimulus_noise.c - checkerboards and sparse noise: every check is a function of (seed, frame, place). */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "input/stimulus_own.h"

/* --- checkerboard -------------------------------------------------------------------------------------------------------- */
enum { CHECK_BINARY, CHECK_GAUSSIAN };

typedef struct checkerboard {
    int distribution;
    double check_deg, height_deg, rate_hz, contrast, mean;
    int64_t running, frozen;
    bool clip;
    int *check; /* of columns x0 + [0, nx), those asked for so far, from the check of the first */
    int x0, nx;
} checkerboard;

const key_spec checkerboard_keys[CHECKERBOARD_NKEY] = {
    NUMBER_KEY(checkerboard, check_deg, "check", "deg", "0.2 deg", 1e-6, INFINITY,
               "side of a check; the first is in the field's upper left corner"),
    NUMBER_KEY(checkerboard, height_deg, "check_height", "deg", "0 deg", 0, INFINITY, "height of a check (bars: the field's); 0: square"),
    NUMBER_KEY(checkerboard, rate_hz, "rate", "Hz", "30 Hz", 1e-6, INFINITY, "new frames per second, held in between"),
    WORD_KEY(checkerboard, distribution, "distribution", "binary", "binary|gaussian", "of the checks"),
    NUMBER_KEY(checkerboard, contrast, "contrast", "", "1", 0, INFINITY, "binary: mean (1 +- contrast); gaussian: sd / mean"),
    NUMBER_KEY(checkerboard, mean, "mean", "", "0.5", 0, 1, "mean luminance"),
    INT_KEY(checkerboard, running, "running_frames", "0", 0, 9e15, "of a trial: these differ in every trial ..."),
    INT_KEY(checkerboard, frozen, "frozen_frames", "0", 0, 9e15, "... and these, after them, are the same in all; 0: no trials"),
    FLAG_KEY(checkerboard, clip, "clip", "true", "limit luminance to [0, 1]"),
};

static bool checkerboard_open(stimulus_part *p, input *in, const input_node *at)
{
    checkerboard *k = p->own;
    if (k->check_deg * p->where.pixels_per_deg < 1 - 1e-9 ||
        (k->height_deg > 0 && k->height_deg * p->where.pixels_per_deg < 1 - 1e-9)) {
        input_problem(in, at, "checkerboard: a check of %g deg is smaller than a pixel (%g deg)", k->check_deg, 1 / p->where.pixels_per_deg);
        return false;
    }
    if (k->height_deg == 0) {
        k->height_deg = k->check_deg;
    }
    if (k->clip && k->distribution == CHECK_GAUSSIAN) {
        snprintf(p->note, sizeof p->note, "clipped to [0, 1]: %.3g %%", 100 * clipped_fraction(k->mean, k->mean * k->contrast));
    }
    return true;
}

/* Frozen frames are numbered from the top of the 64 bits, where no running frame comes. */
static int64_t checkerboard_picture(stimulus_part *p, int64_t step)
{
    const checkerboard *k = p->own;
    int64_t frame = part_frame_at(p, step, k->rate_hz);
    if (k->frozen > 0) {
        int64_t trial = frame / (k->running + k->frozen), i = frame % (k->running + k->frozen);
        return i < k->running ? trial * k->running + i : INT64_MIN + (i - k->running);
    }
    return frame;
}

/* Deviations of checks cx + [0, CHECKS) of row cy: words 0 and 1 of random_bits, all checks at a time. */
enum { CHECKS = 32 };
static void check_bits(uint64_t seed, int64_t frame, int64_t cy, int64_t cx, uint32_t b0[CHECKS], uint32_t b1[CHECKS])
{
    for (int i = 0; i < CHECKS; i++) {
        random_block b = random_bits(seed, RANDOM_STIMULUS, (uint64_t)(uint32_t)cy << 32 | (uint32_t)(cx + i), (uint64_t)frame, 1);
        b0[i] = b.v[0];
        b1[i] = b.v[1];
    }
}

/* Levels of checks [cx, cx + n) of row cy, n a multiple of CHECKS. */
static void check_levels(const checkerboard *k, uint64_t seed, int64_t frame, int64_t cy, int64_t cx, int n, real *level)
{
    uint32_t b0[CHECKS], b1[CHECKS];
    real mean = (real)k->mean, depth = (real)(k->mean * k->contrast), low = k->clip ? 0 : -INFINITY, high = k->clip ? 1 : INFINITY;
    for (int first = 0; first < n; first += CHECKS) {
        check_bits(seed, frame, cy, cx + first, b0, b1);
        real *out = level + first;
        if (k->distribution == CHECK_GAUSSIAN) {
            for (int i = 0; i < CHECKS; i++) {
                out[i] = mean + depth * (real)random_normal(b0[i], b1[i]);
            }
        } else {
            for (int i = 0; i < CHECKS; i++) {
                out[i] = b0[i] >> 31 ? mean + depth : mean - depth;
            }
        }
        for (int i = 0; i < CHECKS; i++) {
            real v = out[i] < low ? low : out[i];
            out[i] = v > high ? high : v;
        }
    }
}

static int64_t check_of(const stimulus_part *p, int64_t pixel, double side_deg)
{
    return (int64_t)floor(((double)pixel + 0.5) / (side_deg * p->where.pixels_per_deg));
}

static void checkerboard_prepare(stimulus_part *p, int64_t step, const canvas *c)
{
    checkerboard *k = p->own;
    (void)step;
    if (!widen(&k->x0, &k->nx, c->x0, c->nx)) {
        return;
    }
    k->check = memory_grow(k->check, (size_t)k->nx, sizeof *k->check);
    for (int x = 0; x < k->nx; x++) {
        k->check[x] = (int)(check_of(p, (int64_t)k->x0 + x, k->check_deg) - check_of(p, k->x0, k->check_deg));
    }
}

static void checkerboard_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const checkerboard *k = p->own;
    const int *check = k->check + (c->x0 - k->x0);
    int64_t frame = checkerboard_picture(p, step), last_y = 0, first = check_of(p, c->x0, k->check_deg);
    int n = (check[c->nx - 1] - check[0]) / CHECKS * CHECKS + CHECKS;
    real *level = MEMORY_NEW(real, n); /* of the checks in a row */
    for (int y = 0; y < c->ny; y++) {
        real *row = c->out + y * c->row_stride;
        int64_t cy = check_of(p, (int64_t)c->y0 + y, k->height_deg);
        if (y > 0 && cy == last_y) {
            memcpy(row, row - c->row_stride, (size_t)c->nx * sizeof(real));
            continue;
        }
        last_y = cy;
        check_levels(k, p->seed, frame, cy, first, n, level);
        for (int x = 0; x < c->nx; x++) {
            row[x] = level[check[x] - check[0]];
        }
    }
    memory_free(level);
}

static void checkerboard_close(stimulus_part *p)
{
    memory_free(((checkerboard *)p->own)->check);
}

const stimulus_type type_checkerboard = {
    "checkerboard", sizeof(checkerboard), checkerboard_keys, CHECKERBOARD_NKEY, checkerboard_open, checkerboard_close,
    checkerboard_picture, checkerboard_prepare, checkerboard_draw, KEEP_HELD, DRAW_STEPS};

/* --- sparse noise -------------------------------------------------------------------------------------------------------- */
typedef struct sparse {
    double square_deg, rate_hz, contrast, mean;
    int64_t count;
    int nsy, nsx; /* squares of the grid over the field */
} sparse;

const key_spec sparse_keys[SPARSE_NKEY] = {
    NUMBER_KEY(sparse, square_deg, "square", "deg", "0.5 deg", 1e-6, INFINITY, "side of a square; they stand on a grid from the upper left corner"),
    NUMBER_KEY(sparse, rate_hz, "rate", "Hz", "4 Hz", 1e-6, INFINITY, "new frames per second, held in between"),
    INT_KEY(sparse, count, "count", "1", 1, 10000, "squares in a frame, black or white; a later one covers an earlier one"),
    NUMBER_KEY(sparse, contrast, "contrast", "", "1", 0, 1, "of the squares: mean (1 +- contrast)"),
    NUMBER_KEY(sparse, mean, "mean", "", "0.5", 0, 1, "luminance around them"),
};

static bool sparse_open(stimulus_part *p, input *in, const input_node *at)
{
    sparse *s = p->own;
    double side = s->square_deg * p->where.pixels_per_deg;
    if (side < 1 - 1e-9) {
        input_problem(in, at, "sparse_noise: a square of %g deg is smaller than a pixel (%g deg)", s->square_deg, 1 / p->where.pixels_per_deg);
        return false;
    }
    s->nsy = (int)ceil(p->where.ny / side - 1e-9);
    s->nsx = (int)ceil(p->where.nx / side - 1e-9);
    snprintf(p->note, sizeof p->note, "%d x %d places", s->nsy, s->nsx);
    return true;
}

static int64_t sparse_picture(stimulus_part *p, int64_t step)
{
    return part_frame_at(p, step, ((const sparse *)p->own)->rate_hz);
}

static void sparse_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const sparse *s = p->own;
    int64_t frame = sparse_picture(p, step);
    canvas_fill(c, s->mean);
    for (int64_t i = 0; i < s->count; i++) {
        random_block b = random_bits(p->seed, RANDOM_STIMULUS, (uint64_t)i, (uint64_t)frame, 2);
        int64_t sy = (int64_t)(random_unit(b.v[0]) * s->nsy), sx = (int64_t)(random_unit(b.v[1]) * s->nsx);
        real level = (real)(s->mean * (1 + (b.v[2] >> 31 ? s->contrast : -s->contrast)));
        for (int y = 0; y < c->ny; y++) {
            if (check_of(p, (int64_t)c->y0 + y, s->square_deg) != sy) {
                continue;
            }
            for (int x = 0; x < c->nx; x++) {
                if (check_of(p, (int64_t)c->x0 + x, s->square_deg) == sx) {
                    c->out[y * c->row_stride + x] = level;
                }
            }
        }
    }
}

const stimulus_type type_sparse = {
    "sparse_noise", sizeof(sparse), sparse_keys, SPARSE_NKEY, sparse_open, NULL, sparse_picture, NULL, sparse_draw, KEEP_HELD, DRAW_STEPS};

/* stimulus_noise.c - checkerboards, sparse noise, 1/f noise: every check is a function of (seed, frame, place). */
#include <stdio.h>

#include "base/memory.h"
#include "input/stimulus_own.h"

/* --- checkerboard -------------------------------------------------------------------------------------------------------- */
enum { CHECK_BINARY, CHECK_GAUSSIAN };

typedef struct checkerboard {
    int distribution;
    double check_deg, height_deg, rate_hz, contrast, mean;
    int64_t running, frozen;
    bool clip;
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

static double check_level(const checkerboard *k, uint64_t seed, int64_t frame, int64_t cy, int64_t cx)
{
    random_block b = random_bits(seed, RANDOM_STIMULUS, (uint64_t)(uint32_t)cy << 32 | (uint32_t)cx, (uint64_t)frame, 1);
    double deviation = k->distribution == CHECK_GAUSSIAN ? random_normal(b) : b.v[0] >> 31 ? 1 : -1;
    double level = k->mean * (1 + k->contrast * deviation);
    return k->clip ? clip_unit(level) : level;
}

static int64_t check_of(const stimulus_part *p, int64_t pixel, double side_deg)
{
    return (int64_t)floor(((double)pixel + 0.5) / (side_deg * p->where.pixels_per_deg));
}

static void checkerboard_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    checkerboard *k = p->own;
    int64_t frame = checkerboard_picture(p, step), last_y = 0;
    for (int y = 0; y < c->ny; y++) {
        real *row = c->out + y * c->row_stride;
        int64_t cy = check_of(p, (int64_t)c->y0 + y, k->height_deg), last_x = 0;
        if (y > 0 && cy == last_y) {
            for (int x = 0; x < c->nx; x++) {
                row[x] = row[x - c->row_stride];
            }
            continue;
        }
        last_y = cy;
        real level = 0;
        for (int x = 0; x < c->nx; x++) {
            int64_t cx = check_of(p, (int64_t)c->x0 + x, k->check_deg);
            if (x == 0 || cx != last_x) {
                level = (real)check_level(k, p->seed, frame, cy, cx);
                last_x = cx;
            }
            row[x] = level;
        }
    }
}

const stimulus_type type_checkerboard = {
    "checkerboard", sizeof(checkerboard), checkerboard_keys, CHECKERBOARD_NKEY, checkerboard_open, NULL, checkerboard_picture, checkerboard_draw};

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

const stimulus_type type_sparse = {"sparse_noise", sizeof(sparse), sparse_keys, SPARSE_NKEY, sparse_open, NULL, sparse_picture, sparse_draw};

/* --- 1/f noise ----------------------------------------------------------------------------------------------------------- */
enum { PINK_HELD, PINK_DRIFTING };

typedef struct pink {
    int motion;
    double beta, contrast, mean, rate_hz, lowest_per_deg, slow_hz, fast_hz;
    int64_t count;
    bool clip;
    double highest_per_deg;
    double *work; /* one row, then sine and cosine of the columns for each wave */
    size_t nwork;
} pink;

const key_spec pink_keys[PINK_NKEY] = {
    NUMBER_KEY(pink, beta, "beta", "", "1", 0, 4, "spatial amplitude goes as 1/f^beta"),
    NUMBER_KEY(pink, contrast, "contrast", "", "0.3", 0, INFINITY, "sd / mean before clipping"),
    NUMBER_KEY(pink, mean, "mean", "", "0.5", 0, 1, "mean luminance"),
    WORD_KEY(pink, motion, "temporal", "held", "held|drifting", "held: a new frame at rate; drifting: waves move, temporal power goes as 1/f"),
    NUMBER_KEY(pink, rate_hz, "rate", "Hz", "30 Hz", 1e-6, INFINITY, "of held frames"),
    NUMBER_KEY(pink, slow_hz, "slowest", "Hz", "0.1 Hz", 1e-6, INFINITY, "lowest temporal frequency when drifting"),
    NUMBER_KEY(pink, fast_hz, "fastest", "Hz", "30 Hz", 1e-6, INFINITY, "highest temporal frequency when drifting"),
    NUMBER_KEY(pink, lowest_per_deg, "lowest", "/deg", "0 /deg", 0, INFINITY, "lowest spatial frequency; 0: one cycle in the field"),
    INT_KEY(pink, count, "waves", "256", 16, 65536, "plane waves that are summed"),
    FLAG_KEY(pink, clip, "clip", "true", "limit luminance to [0, 1]"),
};

static bool pink_open(stimulus_part *p, input *in, const input_node *at)
{
    pink *k = p->own;
    k->highest_per_deg = p->where.pixels_per_deg / 2;
    if (k->lowest_per_deg == 0) {
        k->lowest_per_deg = p->where.pixels_per_deg / fmax(2.0, fmax(p->where.ny, p->where.nx));
    }
    if (k->lowest_per_deg > k->highest_per_deg || k->slow_hz > k->fast_hz) {
        input_problem(in, at, "pink_noise: lowest %g /deg to highest %g /deg (half of pixels per degree), slowest %g Hz to fastest %g Hz: "
                              "each pair must rise", k->lowest_per_deg, k->highest_per_deg, k->slow_hz, k->fast_hz);
        return false;
    }
    if (k->clip) {
        snprintf(p->note, sizeof p->note, "clipped to [0, 1]: %.3g %%", 100 * clipped_fraction(k->mean, k->mean * k->contrast));
    }
    return true;
}

static void pink_close(stimulus_part *p)
{
    memory_free(((pink *)p->own)->work);
}

static int64_t pink_picture(stimulus_part *p, int64_t step)
{
    const pink *k = p->own;
    return k->motion == PINK_DRIFTING ? step : part_frame_at(p, step, k->rate_hz);
}

typedef struct wave {
    double kx, ky, phase; /* rad/deg, rad */
} wave;

/* The quantile u of a density f^-e between low and high. */
static double power_quantile(double u, double e, double low, double high)
{
    if (fabs(e - 1) < 1e-9) {
        return low * pow(high / low, u);
    }
    double a = pow(low, 1 - e), b = pow(high, 1 - e);
    return pow(a + u * (b - a), 1 / (1 - e));
}

/* Spectral representation (Shinozuka & Jan, J. Sound Vib. 25, 1972): waves of equal amplitude whose frequencies are drawn, one of each
 * stratum, from the power spectrum: f^(-2 beta) over the plane is f^(1 - 2 beta) along the radius. */
static wave pink_wave(const stimulus_part *p, int64_t i, int64_t step)
{
    const pink *k = p->own;
    uint64_t frame = k->motion == PINK_HELD ? (uint64_t)part_frame_at(p, step, k->rate_hz) : 0;
    random_block b = random_bits(p->seed, RANDOM_STIMULUS, (uint64_t)i, frame, 3);
    double u = ((double)i + random_unit(b.v[0])) / (double)k->count;
    double f = 2 * M_PI * power_quantile(u, 2 * k->beta - 1, k->lowest_per_deg, k->highest_per_deg);
    double angle = 2 * M_PI * random_unit(b.v[1]), turns = random_unit(b.v[2]);
    if (k->motion == PINK_DRIFTING) {
        turns += part_time_s(p, step) * power_quantile(random_unit(b.v[3]), 1, k->slow_hz, k->fast_hz);
    }
    return (wave){f * cos(angle), f * sin(angle), 2 * M_PI * (turns - floor(turns))};
}

static void pink_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    pink *k = p->own;
    size_t n = (size_t)k->count, nx = (size_t)c->nx, need = nx + 2 * n * nx + 2 * n;
    if (k->nwork < need) {
        k->work = memory_grow(k->work, need, sizeof(double));
        k->nwork = need;
    }
    double *line = k->work, *columns = line + nx, *rows = columns + 2 * n * nx, scale = k->contrast * k->mean * sqrt(2 / (double)k->count);
    for (size_t i = 0; i < n; i++) {
        wave w = pink_wave(p, (int64_t)i, step);
        rows[2 * i] = w.ky;
        rows[2 * i + 1] = w.phase;
        for (size_t x = 0; x < nx; x++) {
            double a = w.kx * part_x_deg(p, c->x0 + (int64_t)x);
            columns[2 * i * nx + x] = cos(a);
            columns[(2 * i + 1) * nx + x] = sin(a);
        }
    }
    for (int y = 0; y < c->ny; y++) {
        double y_deg = part_y_deg(p, (int64_t)c->y0 + y);
        for (size_t x = 0; x < nx; x++) {
            line[x] = 0;
        }
        for (size_t i = 0; i < n; i++) {
            double b = rows[2 * i] * y_deg + rows[2 * i + 1], cos_b = cos(b), sin_b = sin(b);
            const double *cos_x = columns + 2 * i * nx, *sin_x = cos_x + nx;
            for (size_t x = 0; x < nx; x++) {
                line[x] += cos_x[x] * cos_b - sin_x[x] * sin_b;
            }
        }
        for (size_t x = 0; x < nx; x++) {
            double level = k->mean + scale * line[x];
            c->out[y * c->row_stride + (int64_t)x] = (real)(k->clip ? clip_unit(level) : level);
        }
    }
}

const stimulus_type type_pink = {"pink_noise", sizeof(pink), pink_keys, PINK_NKEY, pink_open, pink_close, pink_picture, pink_draw};

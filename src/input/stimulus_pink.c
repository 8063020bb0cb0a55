/* stimulus_pink.c - 1/f noise: a sum of plane waves, which separates into columns and rows. */
#include <stdio.h>

#include "base/memory.h"
#include "input/stimulus_own.h"

enum { PINK_HELD, PINK_DRIFTING };

/* Rows and columns summed at a time: their sums stay in registers. */
enum { ROWS = 8, LANES = 64 / (int)sizeof(real) };
typedef real lanes __attribute__((vector_size(64), may_alias));
typedef real row_lanes __attribute__((vector_size(8 * sizeof(real)), may_alias));

typedef struct wave {
    double kx, ky, turns, rate_hz; /* rad/deg; phase at time 0, cycles */
    real cos_t, sin_t;             /* of the phase at the step drawn   */
} wave;

typedef struct pink {
    int motion;
    double beta, contrast, mean, rate_hz, lowest_per_deg, slow_hz, fast_hz;
    int64_t count;
    bool clip;
    double highest_per_deg;
    wave *waves;     /* [count], of the picture drawn last */
    uint64_t frame;
    bool drawn;
    /* Cosine and sine of each wave at the columns and rows asked for so far, in blocks: columns[x/LANES][wave][2][LANES], rows likewise. */
    real *columns, *rows;
    int x0, nx, y0, ny;
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
    p->bytes_a_line = 2 * (size_t)k->count * sizeof(real);
    p->bytes_later = (size_t)k->count * sizeof(wave) + 2 * (LANES - 1) * p->bytes_a_line; /* waves; tables are of whole blocks */
    if (k->clip) {
        snprintf(p->note, sizeof p->note, "clipped to [0, 1]: %.3g %%", 100 * clipped_fraction(k->mean, k->mean * k->contrast));
    }
    return true;
}

static void pink_close(stimulus_part *p)
{
    pink *k = p->own;
    memory_free(k->waves);
    memory_free(k->columns);
    memory_free(k->rows);
}

static int64_t pink_picture(stimulus_part *p, int64_t step)
{
    const pink *k = p->own;
    return k->motion == PINK_DRIFTING ? step : part_frame_at(p, step, k->rate_hz);
}

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
static wave pink_wave(const stimulus_part *p, int64_t i, uint64_t frame)
{
    const pink *k = p->own;
    random_block b = random_bits(p->seed, RANDOM_STIMULUS, (uint64_t)i, frame, 3);
    double u = ((double)i + random_unit(b.v[0])) / (double)k->count;
    double f = 2 * M_PI * power_quantile(u, 2 * k->beta - 1, k->lowest_per_deg, k->highest_per_deg), angle = 2 * M_PI * random_unit(b.v[1]);
    double rate_hz = k->motion == PINK_DRIFTING ? power_quantile(random_unit(b.v[3]), 1, k->slow_hz, k->fast_hz) : 0;
    return (wave){f * cos(angle), f * sin(angle), random_unit(b.v[2]), rate_hz, 1, 0};
}

/* Of block at/LANES of a table. */
static real *block_of(const pink *k, real *table, int at)
{
    return table + (int64_t)(at / LANES) * 2 * k->count * LANES;
}

/* cos(a), sin(a) of all waves at one row or column of a table. */
static void fill_line(const pink *k, double x_deg, double y_deg, real *table, int at)
{
    real *line = block_of(k, table, at) + at % LANES;
    for (int64_t i = 0; i < k->count; i++) {
        double a = k->waves[i].kx * x_deg + k->waves[i].ky * y_deg;
        line[2 * i * LANES] = (real)cos(a);
        line[(2 * i + 1) * LANES] = (real)sin(a);
    }
}

/* Waves of the picture, and their tables for at least the canvas. */
static void pink_prepare(stimulus_part *p, int64_t step, const canvas *c)
{
    pink *k = p->own;
    size_t lines = 2 * (size_t)k->count;
    uint64_t frame = k->motion == PINK_HELD ? (uint64_t)part_frame_at(p, step, k->rate_hz) : 0;
    bool renew = !k->drawn || k->frame != frame, wider = widen(&k->x0, &k->nx, c->x0, c->nx), taller = widen(&k->y0, &k->ny, c->y0, c->ny);
    if (!k->waves) {
        k->waves = MEMORY_NEW(wave, k->count);
    }
    for (int64_t i = 0; renew && i < k->count; i++) {
        k->waves[i] = pink_wave(p, i, frame);
    }
    for (int64_t i = 0; i < k->count; i++) {
        wave *w = &k->waves[i];
        double turns = w->turns + part_time_s(p, step) * w->rate_hz, phase = 2 * M_PI * (turns - floor(turns));
        w->cos_t = (real)cos(phase);
        w->sin_t = (real)sin(phase);
    }
    size_t wide = ((size_t)k->nx + LANES - 1) / LANES * LANES, tall = ((size_t)k->ny + LANES - 1) / LANES * LANES;
    if (wider) {
        k->columns = memory_grow(k->columns, lines * wide, sizeof(real));
    }
    if (taller) {
        k->rows = memory_grow(k->rows, lines * tall, sizeof(real));
    }
    for (int x = 0; (renew || wider) && x < k->nx; x++) {
        fill_line(k, part_x_deg(p, (int64_t)k->x0 + x), 0, k->columns, x);
    }
    for (int y = 0; (renew || taller) && y < k->ny; y++) {
        fill_line(k, 0, part_y_deg(p, (int64_t)k->y0 + y), k->rows, y);
    }
    k->frame = frame;
    k->drawn = true;
}

/* factors[wave][2][ROWS]: cos and -sin of (ky y + phase) for the ROWS rows of the table from `at`, a multiple of ROWS. */
static void row_factors(const pink *k, int at, real *factors)
{
    const real *line = block_of(k, k->rows, at) + at % LANES;
    row_lanes *factor = (row_lanes *)factors;
    for (int64_t i = 0; i < k->count; i++, line += 2 * LANES, factor += 2) {
        row_lanes cos_y = *(const row_lanes *)line, sin_y = *(const row_lanes *)(line + LANES);
        factor[0] = cos_y * k->waves[i].cos_t - sin_y * k->waves[i].sin_t;
        factor[1] = -(sin_y * k->waves[i].cos_t + cos_y * k->waves[i].sin_t);
    }
}

/* sums[x/LANES][r][x%LANES] = sum over waves of cos(kx x + ky y + phase) = cos cos - sin sin, in the order of the waves wherever x and y begin. */
static void sum_waves(const pink *k, const real *factors, int x_from, int nx, real *out)
{
    for (int at = x_from / LANES * LANES; at < x_from + nx; at += LANES, out += ROWS * LANES) {
        const real *column = block_of(k, k->columns, at), *factor = factors;
        lanes sum[ROWS] = {0};
        for (int64_t i = 0; i < 2 * k->count; i++, column += LANES, factor += ROWS) {
            lanes v = *(const lanes *)column;
            for (int r = 0; r < ROWS; r++) {
                sum[r] += factor[r] * v;
            }
        }
        for (int r = 0; r < ROWS; r++) {
            *(lanes *)(out + r * LANES) = sum[r];
        }
    }
}

static void to_luma(const stimulus_part *p, const real *restrict sum, real *restrict row, int n)
{
    const pink *k = p->own;
    real mean = (real)k->mean, scale = (real)(k->contrast * k->mean * sqrt(2 / (double)k->count));
    real low = k->clip ? 0 : -INFINITY, high = k->clip ? 1 : INFINITY;
    for (int i = 0; i < n; i++) {
        real v = mean + scale * sum[i];
        v = v < low ? low : v;
        row[i] = v > high ? high : v;
    }
}

static void pink_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const pink *k = p->own;
    (void)step; /* prepared */
    int x_from = c->x0 - k->x0, y_from = c->y0 - k->y0, nblock = (x_from + c->nx - 1) / LANES - x_from / LANES + 1;
    real *factors = MEMORY_NEW(real, 2 * k->count * ROWS), *sums = MEMORY_NEW(real, (int64_t)nblock * ROWS * LANES); /* of the rows in work */
    for (int y = 0; y < c->ny; y++) {
        int r = (y_from + y) % ROWS;
        if (y == 0 || r == 0) {
            row_factors(k, y_from + y - r, factors);
            sum_waves(k, factors, x_from, c->nx, sums);
        }
        const real *sum = sums + r * LANES;
        real *row = c->out + y * c->row_stride;
        for (int x = -(x_from % LANES); x < c->nx; x += LANES, sum += ROWS * LANES) {
            int from = x < 0 ? -x : 0, to = c->nx - x < LANES ? c->nx - x : LANES;
            to_luma(p, sum + from, row + x + from, to - from);
        }
    }
    memory_free(factors);
    memory_free(sums);
}

const stimulus_type type_pink = {"pink_noise", sizeof(pink), pink_keys, PINK_NKEY, pink_open, pink_close, pink_picture, pink_prepare, pink_draw,
                                  KEEP_HELD, DRAW_BANDS};

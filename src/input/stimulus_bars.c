/* stimulus_bars.c - uniform field, gratings, moving and flashed bars. */
#include "base/memory.h"
#include "input/stimulus_own.h"

/* --- uniform ------------------------------------------------------------------------------------------------------------- */
typedef struct uniform {
    double level;
} uniform;

const key_spec uniform_keys[UNIFORM_NKEY] = {NUMBER_KEY(uniform, level, "level", "", "0.5", 0, 1, "luminance")};

static int64_t uniform_picture(stimulus_part *p, int64_t step)
{
    (void)p, (void)step;
    return 0;
}

static void uniform_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    (void)step;
    canvas_fill(c, ((const uniform *)p->own)->level);
}

const stimulus_type type_uniform = {"uniform", sizeof(uniform), uniform_keys, UNIFORM_NKEY, NULL, NULL, uniform_picture, NULL, uniform_draw,
                                     KEEP_NONE, DRAW_STEPS};

/* --- grating ------------------------------------------------------------------------------------------------------------- */
enum { GRATING_DRIFTING, GRATING_COUNTERPHASE, GRATING_STATIC };
enum { WAVE_SINE, WAVE_SQUARE };

typedef struct grating {
    int kind, waveform;
    double direction_deg, frequency_per_deg, rate_hz, contrast, mean, phase_deg;
    double *column; /* sines and then cosines of columns x0 + [0, nx): those asked for so far */
    int x0, nx;
} grating;

const key_spec grating_keys[GRATING_NKEY] = {
    WORD_KEY(grating, kind, "kind", "drifting", "drifting|counterphase|static", "how it moves"),
    NUMBER_KEY(grating, direction_deg, "orientation", "deg", "0 deg", 0, 0,
               "of the wave vector: direction of drift, at right angles to the bars; anti-clockwise from rightwards"),
    NUMBER_KEY(grating, frequency_per_deg, "spatial_frequency", "/deg", "1 /deg", 0, INFINITY, "cycles per degree; 0: full-field flicker"),
    NUMBER_KEY(grating, rate_hz, "temporal_frequency", "Hz", "4 Hz", 0, INFINITY, "cycles per second"),
    NUMBER_KEY(grating, contrast, "contrast", "", "1", 0, 1, "Michelson contrast"),
    NUMBER_KEY(grating, mean, "mean", "", "0.5", 0, 1, "mean luminance"),
    NUMBER_KEY(grating, phase_deg, "phase", "deg", "0 deg", 0, 0, "of the sine at the field's centre when it begins"),
    WORD_KEY(grating, waveform, "waveform", "sine", "sine|square", "profile of the bars"),
};

static void grating_close(stimulus_part *p)
{
    memory_free(((grating *)p->own)->column);
}

static int64_t grating_picture(stimulus_part *p, int64_t step)
{
    return ((const grating *)p->own)->kind == GRATING_STATIC ? 0 : step;
}

static double grating_angle(const grating *g)
{
    return g->direction_deg * (M_PI / 180);
}

/* L = mean (1 + contrast w(2 pi f (x cos a + y sin a) - 2 pi r t + phase)), counterphase: w(2 pi f (...) + phase) cos(2 pi r t).
 * sin(a x + b) = sin(a x) cos b + cos(a x) sin b: one sine and cosine for each column and row, which depend on their place alone. */
static void grating_prepare(stimulus_part *p, int64_t step, const canvas *c)
{
    grating *g = p->own;
    (void)step;
    if (!widen(&g->x0, &g->nx, c->x0, c->nx)) {
        return;
    }
    g->column = memory_grow(g->column, 2 * (size_t)g->nx, sizeof(double));
    for (int x = 0; x < g->nx; x++) {
        double a = 2 * M_PI * g->frequency_per_deg * cos(grating_angle(g)) * part_x_deg(p, (int64_t)g->x0 + x);
        g->column[x] = sin(a);
        g->column[g->nx + x] = cos(a);
    }
}

static void grating_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const grating *g = p->own;
    double turns = part_time_s(p, step) * g->rate_hz;
    turns = 2 * M_PI * (turns - floor(turns));
    double slope = 2 * M_PI * g->frequency_per_deg * sin(grating_angle(g));
    double shift = g->phase_deg * (M_PI / 180) - (g->kind == GRATING_DRIFTING ? turns : 0);
    double depth = g->contrast * g->mean * (g->kind == GRATING_COUNTERPHASE ? cos(turns) : 1);
    const double *sin_x = g->column + (c->x0 - g->x0), *cos_x = sin_x + g->nx;
    for (int y = 0; y < c->ny; y++) {
        double b = slope * part_y_deg(p, (int64_t)c->y0 + y) + shift, cos_y = cos(b), sin_y = sin(b);
        real *row = c->out + y * c->row_stride;
        if (g->waveform == WAVE_SINE) {
            for (int x = 0; x < c->nx; x++) {
                row[x] = (real)(g->mean + depth * (sin_x[x] * cos_y + cos_x[x] * sin_y));
            }
        } else {
            for (int x = 0; x < c->nx; x++) {
                row[x] = (real)(sin_x[x] * cos_y + cos_x[x] * sin_y >= 0 ? g->mean + depth : g->mean - depth);
            }
        }
    }
}

const stimulus_type type_grating = {
    "grating", sizeof(grating), grating_keys, GRATING_NKEY, NULL, grating_close, grating_picture, grating_prepare, grating_draw, KEEP_HELD,
    DRAW_STEPS};

/* --- bar ----------------------------------------------------------------------------------------------------------------- */
enum { BAR_MOVING, BAR_FLASHED, BAR_MAX_DIRECTION = 16 };

typedef struct bar {
    int kind;
    double width_deg, length_deg, speed_deg_per_s, level, background, travel_deg, position_deg, on_s, off_s;
    double direction_deg[BAR_MAX_DIRECTION];
    int ndirection;
} bar;

const key_spec bar_keys[BAR_NKEY] = {
    WORD_KEY(bar, kind, "kind", "moving", "moving|flashed", "sweeps over the field, or stands at position and is turned on and off"),
    NUMBER_KEY(bar, width_deg, "width", "deg", "0.5 deg", 1e-6, INFINITY, "along its direction"),
    NUMBER_KEY(bar, length_deg, "length", "deg", "0 deg", 0, INFINITY, "across its direction; 0: without end"),
    NUMBER_KEY(bar, speed_deg_per_s, "speed", "deg/s", "5 deg/s", 1e-6, INFINITY, "of a moving bar"),
    LIST_KEY(bar, direction_deg, ndirection, BAR_MAX_DIRECTION, "direction", "deg", "[0 deg]", 0, 0,
             "anti-clockwise from rightwards; of a list one after another"),
    NUMBER_KEY(bar, level, "level", "", "1", 0, 1, "luminance of the bar"),
    NUMBER_KEY(bar, background, "background", "", "0.5", 0, 1, "luminance around it"),
    NUMBER_KEY(bar, travel_deg, "travel", "deg", "0 deg", 0, INFINITY, "way of its centre, about the field's; 0: from outside to outside"),
    NUMBER_KEY(bar, position_deg, "position", "deg", "0 deg", 0, 0, "of a flashed bar, along its direction"),
    NUMBER_KEY(bar, on_s, "on_time", "s", "0.5 s", 0, INFINITY, "of a flashed bar"),
    NUMBER_KEY(bar, off_s, "off_time", "s", "0.5 s", 0, INFINITY, "background after a flash or a sweep"),
};

static bool bar_open(stimulus_part *p, input *in, const input_node *at)
{
    bar *b = p->own;
    if (b->ndirection == 0) {
        b->ndirection = 1;
    }
    if (b->travel_deg == 0) {
        b->travel_deg = hypot(p->where.ny, p->where.nx) / p->where.pixels_per_deg + b->width_deg;
    }
    if (b->kind == BAR_FLASHED && b->on_s + b->off_s <= 0) {
        input_problem(in, at, "bar: on_time and off_time are both 0; give at least one of them");
        return false;
    }
    return true;
}

static void bar_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const bar *b = p->own;
    double on_s = b->kind == BAR_MOVING ? b->travel_deg / b->speed_deg_per_s : b->on_s, t = part_time_s(p, step);
    double cycle = floor(t / (on_s + b->off_s) + 1e-9), since_s = t - cycle * (on_s + b->off_s);
    double centre_deg = b->kind == BAR_MOVING ? since_s * b->speed_deg_per_s - b->travel_deg / 2 : b->position_deg;
    if (since_s >= on_s - 1e-9) {
        canvas_fill(c, b->background);
        return;
    }
    double angle = b->direction_deg[(int64_t)cycle % b->ndirection] * (M_PI / 180), ca = cos(angle), sa = sin(angle);
    for (int y = 0; y < c->ny; y++) {
        double y_deg = part_y_deg(p, (int64_t)c->y0 + y);
        for (int x = 0; x < c->nx; x++) {
            double x_deg = part_x_deg(p, (int64_t)c->x0 + x);
            double cover = part_cover(p, b->width_deg / 2 - fabs(x_deg * ca + y_deg * sa - centre_deg));
            if (b->length_deg > 0) {
                cover *= part_cover(p, b->length_deg / 2 - fabs(y_deg * ca - x_deg * sa));
            }
            c->out[y * c->row_stride + x] = (real)(b->background + cover * (b->level - b->background));
        }
    }
}

const stimulus_type type_bar = {"bar", sizeof(bar), bar_keys, BAR_NKEY, bar_open, NULL, NULL, NULL, bar_draw, KEEP_NONE, DRAW_STEPS};

/* stimulus_dots.c - moving dots with limited life, looming disc. */
#include "base/memory.h"
#include "input/stimulus_own.h"

/* Luminance of a disc over what is there; coverage of several discs does not add up. */
static void draw_disc(const stimulus_part *p, const canvas *c, double x_deg, double y_deg, double radius_deg, double background, double level)
{
    double ppd = p->where.pixels_per_deg, reach = radius_deg * ppd + 1, cx = x_deg * ppd + 0.5 * (p->where.nx - 1) - c->x0,
           cy = -y_deg * ppd + 0.5 * (p->where.ny - 1) - c->y0;
    int x_from = (int)fmax(0, floor(cx - reach)), x_to = (int)fmin(c->nx - 1, ceil(cx + reach));
    int y_from = (int)fmax(0, floor(cy - reach)), y_to = (int)fmin(c->ny - 1, ceil(cy + reach));
    for (int y = y_from; y <= y_to && x_from <= x_to; y++) {
        double dy = part_y_deg(p, (int64_t)c->y0 + y) - y_deg;
        for (int x = x_from; x <= x_to; x++) {
            double dx = part_x_deg(p, (int64_t)c->x0 + x) - x_deg;
            real new = (real)(background + part_cover(p, radius_deg - sqrt(dx * dx + dy * dy)) * (level - background));
            real *now = &c->out[y * c->row_stride + x];
            if (level > background ? new > *now : new < *now) {
                *now = new;
            }
        }
    }
}

/* --- dots ---------------------------------------------------------------------------------------------------------------- */
/* A dot's life: from its start (shares of the field) in its direction. */
typedef struct dot {
    double phase, life; /* life -1: none yet */
    double x, y, dx, dy;
} dot;

typedef struct dots {
    int64_t count;
    double coherence, speed_deg_per_s, life_s, diameter_deg, direction_deg, level, background;
    dot *now; /* [count], the life it was in when last drawn */
} dots;

const key_spec dots_keys[DOTS_NKEY] = {
    INT_KEY(dots, count, "count", "100", 1, 10000000, "dots in the field"),
    NUMBER_KEY(dots, coherence, "coherence", "", "1", 0, 1, "share that moves in the direction; the others each in a direction of their own"),
    NUMBER_KEY(dots, speed_deg_per_s, "speed", "deg/s", "2 deg/s", 0, INFINITY, "of every dot"),
    NUMBER_KEY(dots, life_s, "life", "s", "0.5 s", 0, INFINITY, "after which a dot begins anew elsewhere; 0: lives for ever"),
    NUMBER_KEY(dots, diameter_deg, "size", "deg", "0.2 deg", 1e-6, INFINITY, "diameter"),
    NUMBER_KEY(dots, direction_deg, "direction", "deg", "0 deg", 0, 0, "anti-clockwise from rightwards"),
    NUMBER_KEY(dots, level, "level", "", "1", 0, 1, "luminance of the dots"),
    NUMBER_KEY(dots, background, "background", "", "0", 0, 1, "luminance around them"),
};

static double wrap(double v, double period)
{
    return v - period * floor(v / period);
}

static bool dots_open(stimulus_part *p, input *in, const input_node *at)
{
    (void)in, (void)at;
    p->bytes_later = (size_t)((const dots *)p->own)->count * sizeof(dot);
    return true;
}

static void dots_close(stimulus_part *p)
{
    memory_free(((dots *)p->own)->now);
}

static void begin_dots(const stimulus_part *p)
{
    dots *d = p->own;
    d->now = MEMORY_NEW(dot, d->count);
    for (int64_t i = 0; i < d->count; i++) {
        d->now[i].phase = random_unit(random_bits(p->seed, RANDOM_STIMULUS, (uint64_t)i, 0, 5).v[0]);
        d->now[i].life = -1;
    }
}

/* Dot i at time t, closed form: lives begin at random phases; a life has its own start and direction; the field is a torus with a rim of one
 * diameter, so that dots come and go out of sight. */
static void dot_at(const stimulus_part *p, int64_t i, double t, double *x_deg, double *y_deg)
{
    const dots *d = p->own;
    dot *now = &d->now[i];
    double life = 0, age = t;
    if (d->life_s > 0) {
        double begun = t / d->life_s + now->phase;
        life = floor(begun);
        age = (begun - life) * d->life_s;
    }
    if (now->life != life) {
        random_block b = random_bits(p->seed, RANDOM_STIMULUS, (uint64_t)i, (uint64_t)life, 4);
        double angle = random_unit(b.v[2]) < d->coherence ? d->direction_deg * (M_PI / 180) : 2 * M_PI * random_unit(b.v[3]);
        *now = (dot){now->phase, life, random_unit(b.v[0]), random_unit(b.v[1]), cos(angle), sin(angle)};
    }
    double width = p->where.nx / p->where.pixels_per_deg + d->diameter_deg, height = p->where.ny / p->where.pixels_per_deg + d->diameter_deg;
    *x_deg = wrap(now->x * width + d->speed_deg_per_s * age * now->dx, width) - width / 2;
    *y_deg = wrap(now->y * height + d->speed_deg_per_s * age * now->dy, height) - height / 2;
}

static void dots_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const dots *d = p->own;
    canvas_fill(c, d->background);
    if (!d->now) {
        begin_dots(p);
    }
    for (int64_t i = 0; i < d->count; i++) {
        double x_deg, y_deg;
        dot_at(p, i, part_time_s(p, step), &x_deg, &y_deg);
        draw_disc(p, c, x_deg, y_deg, d->diameter_deg / 2, d->background, d->level);
    }
}

const stimulus_type type_dots = {"dots", sizeof(dots), dots_keys, DOTS_NKEY, dots_open, dots_close, NULL, NULL, dots_draw, KEEP_NONE, DRAW_ONE};

/* --- looming ------------------------------------------------------------------------------------------------------------- */
typedef struct looming {
    double l_over_v_s, collision_s, level, background, largest_deg;
    double centre_deg[2];
    int ncentre;
} looming;

const key_spec looming_keys[LOOMING_NKEY] = {
    NUMBER_KEY(looming, l_over_v_s, "l_over_v", "s", "60 ms", 1e-6, INFINITY, "half size over approach speed"),
    NUMBER_KEY(looming, collision_s, "collision", "s", "2 s", 0, INFINITY, "time of collision; the disc stays as it is then"),
    NUMBER_KEY(looming, level, "level", "", "0", 0, 1, "luminance of the disc"),
    NUMBER_KEY(looming, background, "background", "", "0.5", 0, 1, "luminance around it"),
    NUMBER_KEY(looming, largest_deg, "largest", "deg", "180 deg", 0, 180, "diameter at which it stops growing"),
    LIST_KEY(looming, centre_deg, ncentre, 2, "centre", "deg", "", 0, 0, "[x, y]; not given: of the field"),
};

static bool looming_open(stimulus_part *p, input *in, const input_node *at)
{
    const looming *l = p->own;
    if (l->ncentre == 1) {
        input_problem(in, at, "looming: centre has one number; give [x deg, y deg]");
        return false;
    }
    return true;
}

/* theta(t) = 2 atan((l/v) / (t_c - t)): Gabbiani, Krapp & Laurent, J. Neurosci. 19, 1999. */
static void looming_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const looming *l = p->own;
    double left_s = l->collision_s - part_time_s(p, step);
    double theta_deg = left_s > 0 ? 2 * atan(l->l_over_v_s / left_s) * (180 / M_PI) : 180;
    canvas_fill(c, l->background);
    draw_disc(p, c, l->centre_deg[0], l->centre_deg[1], fmin(theta_deg, l->largest_deg) / 2, l->background, l->level);
}

const stimulus_type type_looming = {"looming", sizeof(looming), looming_keys, LOOMING_NKEY, looming_open, NULL, NULL, NULL, looming_draw, KEEP_NONE,
                                     DRAW_STEPS};

/* stimulus_eye.c - a natural image under a moving eye: microsaccades towards the fixation point, and drift between them. */
#include <stdio.h>

#include "base/memory.h"
#include "input/image.h"
#include "input/stimulus_own.h"

enum { DRIFT_WAVES = 24 };

typedef struct saccade {
    double begin_s, duration_s, x_deg, y_deg, dx_deg, dy_deg; /* position before it, and jump */
} saccade;

typedef struct natural {
    const char *file;
    double period_s, period_sd_s, amplitude_deg, amplitude_sd_deg, duration_s, duration_sd_s, angle_noise_pi, drift_deg2_per_s;
    screen screen;
    image picture;
    saccade *saccades; /* [nsaccade], from the first; grows with time, 48 bytes each */
    int64_t nsaccade, nroom;
} natural;

const key_spec natural_keys[NATURAL_NKEY] = {
    PATH_KEY(natural, file, "file", "image: PNG, or any that libav reads"),
    NUMBER_KEY(natural, period_s, "period", "s", "0.2 s", 0, INFINITY, "mean time from one microsaccade to the next; 0: none"),
    NUMBER_KEY(natural, period_sd_s, "period_sd", "s", "0 s", 0, INFINITY, "its standard deviation"),
    NUMBER_KEY(natural, amplitude_deg, "amplitude", "deg", "0.5 deg", 0, INFINITY, "mean length of a jump"),
    NUMBER_KEY(natural, amplitude_sd_deg, "amplitude_sd", "deg", "0.1 deg", 0, INFINITY, "its standard deviation"),
    NUMBER_KEY(natural, duration_s, "saccade_time", "s", "25 ms", 0, INFINITY, "mean duration of a jump"),
    NUMBER_KEY(natural, duration_sd_s, "saccade_time_sd", "s", "5 ms", 0, INFINITY, "its standard deviation"),
    NUMBER_KEY(natural, angle_noise_pi, "angular_noise", "", "0.3", 0, INFINITY, "sd of the angle to the fixation point, in units of pi rad"),
    NUMBER_KEY(natural, drift_deg2_per_s, "drift", "", "0", 0, INFINITY, "diffusion constant of the drift on each axis, deg^2/s"),
    SCREEN_KEYS(natural, "field"),
};

/* The next jump follows from the last by counted random numbers, so the table is the same whenever and wherever it is built.
 * Wohrer & Kornprobst, J. Comput. Neurosci. 26, 2009: straight jumps towards the fixation point, +- noise. */
static saccade saccade_after(const stimulus_part *p, const saccade *last, int64_t n)
{
    const natural *k = p->own;
    random_block a = random_bits(p->seed, RANDOM_EYE, (uint64_t)n, 0, 0), b = random_bits(p->seed, RANDOM_EYE, (uint64_t)n, 0, 1),
                 c = random_bits(p->seed, RANDOM_EYE, (uint64_t)n, 0, 2), d = random_bits(p->seed, RANDOM_EYE, (uint64_t)n, 0, 3);
    saccade s = {.x_deg = last->x_deg + last->dx_deg, .y_deg = last->y_deg + last->dy_deg};
    s.begin_s = last->begin_s + fmax(k->period_s + k->period_sd_s * (double)random_normal(a.v[0], a.v[1]), fmax(last->duration_s, p->where.step_s));
    s.duration_s = fmax(0, k->duration_s + k->duration_sd_s * (double)random_normal(b.v[0], b.v[1]));
    double amplitude_deg = fmax(0, k->amplitude_deg + k->amplitude_sd_deg * (double)random_normal(c.v[0], c.v[1]));
    double back = s.x_deg == 0 && s.y_deg == 0 ? 2 * M_PI * random_unit(d.v[2]) : atan2(-s.y_deg, -s.x_deg);
    double angle = back + M_PI * k->angle_noise_pi * (double)random_normal(d.v[0], d.v[1]);
    s.dx_deg = amplitude_deg * cos(angle);
    s.dy_deg = amplitude_deg * sin(angle);
    return s;
}

static const saccade *saccade_at(stimulus_part *p, double t)
{
    natural *k = p->own;
    while (k->nsaccade == 0 || k->saccades[k->nsaccade - 1].begin_s <= t) {
        if (k->nsaccade == k->nroom) {
            k->nroom = 2 * k->nroom + 64;
            k->saccades = memory_grow(k->saccades, (size_t)k->nroom, sizeof *k->saccades);
        }
        saccade none = {0};
        k->saccades[k->nsaccade] = k->nsaccade == 0 ? none : saccade_after(p, &k->saccades[k->nsaccade - 1], k->nsaccade);
        k->nsaccade++;
    }
    int64_t low = 0, high = k->nsaccade;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (k->saccades[middle].begin_s <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &k->saccades[low];
}

/* Brownian motion with <x^2> = 2 D t has the one-sided spectrum D / (pi f)^2: a sum of sines at frequencies of 2^(1/2) from one to the next,
 * 0.02 to 80 Hz, each with the power of its band. */
static double drift_deg(const stimulus_part *p, int axis, double t)
{
    const natural *k = p->own;
    double sum = 0;
    for (int i = 0; i < DRIFT_WAVES && k->drift_deg2_per_s > 0; i++) {
        random_block b = random_bits(p->seed, RANDOM_EYE, (uint64_t)(axis * DRIFT_WAVES + i), 0, 4);
        double f = 0.02 * pow(2, (i + random_unit(b.v[0])) / 2), band = f * (M_LN2 / 2);
        double amplitude = sqrt(2 * k->drift_deg2_per_s * band) / (M_PI * f), phase = 2 * M_PI * random_unit(b.v[1]);
        sum += amplitude * (sin(2 * M_PI * f * t + phase) - sin(phase));
    }
    return sum;
}

static double jump_done(const saccade *s, double t)
{
    return s->duration_s > 0 ? clip_unit((t - s->begin_s) / s->duration_s) : 1;
}

static void eye_at(stimulus_part *p, int64_t step, double *x_deg, double *y_deg)
{
    const natural *k = p->own;
    double t = part_time_s(p, step), done = 0;
    saccade s = {0};
    if (k->period_s > 0) {
        s = *saccade_at(p, t);
        done = jump_done(&s, t);
    }
    *x_deg = s.x_deg + done * s.dx_deg + drift_deg(p, 0, t);
    *y_deg = s.y_deg + done * s.dy_deg + drift_deg(p, 1, t);
}

/* An eye at rest sees one picture until the next jump, whose number it has. */
static int64_t natural_picture(stimulus_part *p, int64_t step)
{
    natural *k = p->own;
    if (k->drift_deg2_per_s > 0) {
        return PICTURE_PASSING;
    }
    if (k->period_s == 0) {
        return 0;
    }
    double t = part_time_s(p, step);
    const saccade *s = saccade_at(p, t);
    return jump_done(s, t) == 1 ? s - k->saccades : PICTURE_PASSING;
}

static bool natural_open(stimulus_part *p, input *in, const input_node *at)
{
    natural *k = p->own;
    char why[256];
    if (!k->file) {
        return false;
    }
    if (!image_read(k->file, &k->picture, why, sizeof why)) {
        input_problem(in, at, "file: %s: %s", k->file, why);
        return false;
    }
    snprintf(p->note, sizeof p->note, "%s, %d x %d pixels", k->file, k->picture.nx, k->picture.ny);
    return screen_open(&k->screen, p, k->picture.ny, k->picture.nx, in, at);
}

static void natural_close(stimulus_part *p)
{
    natural *k = p->own;
    memory_free(k->picture.luma);
    memory_free(k->saccades);
    screen_close(&k->screen);
}

static void natural_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    natural *k = p->own;
    double x_deg, y_deg;
    eye_at(p, step, &x_deg, &y_deg);
    screen_draw(&k->screen, p, k->picture.luma, x_deg, y_deg, c);
}

const stimulus_type type_natural = {
    "natural", sizeof(natural), natural_keys, NATURAL_NKEY, natural_open, natural_close, natural_picture, NULL, natural_draw, KEEP_HELD,
    DRAW_ONE};

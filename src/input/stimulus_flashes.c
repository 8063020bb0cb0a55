/* stimulus_flashes.c - the whole field changes: flashes and steps, chirp, flicker of switching contrast.  A spot is a mask of it. */
#include <stdio.h>

#include "input/stimulus_own.h"

/* --- flash --------------------------------------------------------------------------------------------------------------- */
enum { FLASH_MAX = 64 };

typedef struct flash {
    double level[FLASH_MAX], duration_s[FLASH_MAX];
    int nlevel, nduration;
    bool repeat;
    double cycle_s;
} flash;

const key_spec flash_keys[FLASH_NKEY] = {
    LIST_KEY(flash, level, nlevel, FLASH_MAX, "levels", "", "[0.5, 1, 0.5, 0]", 0, 1, "luminances shown one after another"),
    LIST_KEY(flash, duration_s, nduration, FLASH_MAX, "durations", "s", "[2 s, 1 s, 2 s, 1 s]", 0, INFINITY, "of each level, or one for all"),
    FLAG_KEY(flash, repeat, "repeat", "true", "begin again after the last"),
};

static bool flash_open(stimulus_part *p, input *in, const input_node *at)
{
    flash *f = p->own;
    if (f->nlevel < 1 || (f->nduration != 1 && f->nduration != f->nlevel)) {
        input_problem(in, at, "flash: %d levels and %d durations; give one duration for each level, or one for all", f->nlevel, f->nduration);
        return false;
    }
    for (int i = 0; i < f->nlevel; i++) {
        f->duration_s[i] = f->nduration == 1 ? f->duration_s[0] : f->duration_s[i];
        f->cycle_s += f->duration_s[i];
    }
    if (f->cycle_s < p->where.step_s) {
        input_problem(in, at, "flash: all durations together are shorter than a step (%g s)", p->where.step_s);
        return false;
    }
    if (!f->repeat) {
        p->natural_nstep = (int64_t)ceil(f->cycle_s / p->where.step_s - 1e-6);
    }
    return true;
}

static int64_t flash_picture(stimulus_part *p, int64_t step)
{
    const flash *f = p->own;
    double t = part_time_s(p, step);
    t -= floor(t / f->cycle_s + 1e-9) * f->cycle_s;
    for (int i = 0; i < f->nlevel - 1; i++) {
        t -= f->duration_s[i];
        if (t < -1e-9) {
            return i;
        }
    }
    return f->nlevel - 1;
}

static void flash_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    canvas_fill(c, ((const flash *)p->own)->level[flash_picture(p, step)]);
}

const stimulus_type type_flash = {"flash", sizeof(flash), flash_keys, FLASH_NKEY, flash_open, NULL, flash_picture, NULL, flash_draw, KEEP_NONE,
                                   DRAW_STEPS};

/* --- chirp --------------------------------------------------------------------------------------------------------------- */
typedef struct chirp {
    double mean, amplitude, rise_hz_per_s, sweep_s, ramp_hz, ramp_s;
    bool repeat;
} chirp;

const key_spec chirp_keys[CHIRP_NKEY] = {
    NUMBER_KEY(chirp, mean, "mean", "", "0.5", 0, 1, "luminance of the grey parts"),
    NUMBER_KEY(chirp, amplitude, "amplitude", "", "0.5", 0, 1, "of both sines; black is mean - amplitude, white is mean + amplitude"),
    NUMBER_KEY(chirp, rise_hz_per_s, "frequency_rise", "", "1", 0, INFINITY, "K of the frequency sweep sin(pi K t^2), Hz per second"),
    NUMBER_KEY(chirp, sweep_s, "sweep_time", "s", "8 s", 0, INFINITY, "of the frequency sweep"),
    NUMBER_KEY(chirp, ramp_hz, "ramp_frequency", "Hz", "2 Hz", 0, INFINITY, "of the sine whose contrast grows"),
    NUMBER_KEY(chirp, ramp_s, "ramp_time", "s", "8 s", 0, INFINITY, "in which contrast grows from 0 to full"),
    FLAG_KEY(chirp, repeat, "repeat", "true", "begin again after the end"),
};

static double chirp_length_s(const chirp *k)
{
    return 2 + 3 + 3 + 2 + k->sweep_s + 2 + k->ramp_s + 2 + 3;
}

static bool chirp_open(stimulus_part *p, input *in, const input_node *at)
{
    const chirp *k = p->own;
    if (k->amplitude > k->mean + 1e-12 || k->mean + k->amplitude > 1 + 1e-12) {
        input_problem(in, at, "chirp: mean %g and amplitude %g leave [0, 1]; lower the amplitude", k->mean, k->amplitude);
        return false;
    }
    snprintf(p->note, sizeof p->note, "%g s", chirp_length_s(k));
    if (!k->repeat) {
        p->natural_nstep = (int64_t)ceil(chirp_length_s(k) / p->where.step_s - 1e-6);
    }
    return true;
}

/* Baden et al., Nature 2016: 2 s off, 3 s full, 3 s off, 2 s half, frequency sweep, 2 s half, contrast ramp, 2 s half, 3 s off. */
static double chirp_level(const chirp *k, double t)
{
    double length = chirp_length_s(k), black = k->mean - k->amplitude, white = k->mean + k->amplitude;
    t -= floor(t / length + 1e-12) * length;
    t += 1e-9; /* a part begins with the step that begins with it, whatever the rounding of t */
    if (t < 8) {
        return t >= 2 && t < 5 ? white : black;
    }
    double sweep = t - 10, ramp = sweep - k->sweep_s - 2, end = ramp - k->ramp_s;
    if (sweep >= 0 && sweep < k->sweep_s) {
        return k->mean + k->amplitude * sin(M_PI * k->rise_hz_per_s * sweep * sweep);
    }
    if (ramp >= 0 && ramp < k->ramp_s) {
        return k->mean + k->amplitude * (ramp / k->ramp_s) * sin(2 * M_PI * k->ramp_hz * ramp);
    }
    return end >= 2 ? black : k->mean;
}

static void chirp_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    canvas_fill(c, chirp_level(p->own, part_time_s(p, step)));
}

const stimulus_type type_chirp = {"chirp", sizeof(chirp), chirp_keys, CHIRP_NKEY, chirp_open, NULL, NULL, NULL, chirp_draw, KEEP_NONE, DRAW_STEPS};

/* --- contrast switching -------------------------------------------------------------------------------------------------- */
typedef struct switching {
    int distribution;
    double rate_hz, low, high, epoch_s, mean;
    bool clip;
} switching;

const key_spec switching_keys[SWITCHING_NKEY] = {
    NUMBER_KEY(switching, rate_hz, "rate", "Hz", "60 Hz", 1e-6, INFINITY, "new levels per second"),
    WORD_KEY(switching, distribution, "distribution", "gaussian", "gaussian|binary", "of the levels"),
    NUMBER_KEY(switching, low, "low", "", "0.05", 0, 1, "contrast (sd / mean) of the even epochs"),
    NUMBER_KEY(switching, high, "high", "", "0.35", 0, 1, "contrast of the odd epochs"),
    NUMBER_KEY(switching, epoch_s, "epoch", "s", "20 s", 1e-6, INFINITY, "time of one contrast"),
    NUMBER_KEY(switching, mean, "mean", "", "0.5", 0, 1, "mean luminance"),
    FLAG_KEY(switching, clip, "clip", "true", "limit luminance to [0, 1]"),
};

static bool switching_open(stimulus_part *p, input *in, const input_node *at)
{
    (void)in, (void)at;
    const switching *s = p->own;
    if (s->clip && s->distribution == 0) {
        snprintf(p->note, sizeof p->note, "clipped to [0, 1]: %.3g %% at low, %.3g %% at high contrast",
                 100 * clipped_fraction(s->mean, s->mean * s->low), 100 * clipped_fraction(s->mean, s->mean * s->high));
    }
    return true;
}

/* Frames are held; an epoch's contrast is that of the time its frame begins. */
static int64_t switching_picture(stimulus_part *p, int64_t step)
{
    return part_frame_at(p, step, ((const switching *)p->own)->rate_hz);
}

static void switching_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    const switching *s = p->own;
    int64_t frame = switching_picture(p, step), epoch = (int64_t)floor((double)frame / (s->rate_hz * s->epoch_s) + 1e-6);
    random_block b = random_bits(p->seed, RANDOM_STIMULUS, 0, (uint64_t)frame, 0);
    double deviation = s->distribution == 0 ? (double)random_normal(b.v[0], b.v[1]) : b.v[0] >> 31 ? 1 : -1;
    double level = s->mean * (1 + (epoch % 2 ? s->high : s->low) * deviation);
    canvas_fill(c, s->clip ? clip_unit(level) : level);
}

const stimulus_type type_switching = {
    "contrast_switching", sizeof(switching), switching_keys, SWITCHING_NKEY, switching_open, NULL, switching_picture, NULL, switching_draw,
    KEEP_NONE, DRAW_STEPS};

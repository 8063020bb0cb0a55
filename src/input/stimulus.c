/* stimulus.c - the list of all types, and opening of one or a sequence of them. */
#include "input/stimulus.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "input/stimulus_own.h"

const stimulus_type *const stimulus_types[] = {
    &type_uniform, &type_grating, &type_bar, &type_flash, &type_chirp, &type_switching, &type_checkerboard, &type_sparse,
    &type_pink, &type_dots, &type_looming, &type_movie, &type_image, &type_dataset, &type_npy, &type_natural, &type_ran1,
};
const int stimulus_ntype = sizeof stimulus_types / sizeof stimulus_types[0];
#define TYPE_WORDS                                                                                                              \
    "uniform|grating|bar|flash|chirp|contrast_switching|checkerboard|sparse_noise|pink_noise|dots|looming|movie|image|dataset|npy|natural|ran1_noise"

static const key_spec common_keys[] = {
    WORD_KEY(part_settings, type, "type", NULL, TYPE_WORDS, "what is shown; `chiasm help TYPE` lists its keys"),
    NUMBER_KEY(part_settings, duration_s, "duration", "s", "0 s", 0, INFINITY, "time it is shown; 0: as long as it has, or the run"),
    INT_KEY(part_settings, seed, "seed", "-1", -1, 9e15, "of its random numbers; -1: from the run's seed and its place in the list"),
    {"mask", KEY_NODE, NULL, "", 0, 0, NULL, "{shape, radius, smooth, centre, background}: only a part of it is seen", offsetof(part_settings, mask),
     0, 0},
};
static const key_spec mask_keys[] = {
    WORD_KEY(mask_settings, shape, "shape", "circle", "none|circle|square", "outline of what is seen"),
    NUMBER_KEY(mask_settings, radius_deg, "radius", "deg", "1 deg", 0, INFINITY, "of the circle; half the side of the square"),
    NUMBER_KEY(mask_settings, smooth_deg, "smooth", "deg", "0 deg", 0, INFINITY, "width of a raised-cosine edge, centred on the outline"),
    NUMBER_KEY(mask_settings, background, "background", "", "0.5", 0, 1, "luminance outside"),
    LIST_KEY(mask_settings, centre_deg, ncentre, 2, "centre", "deg", "", 0, 0, "[x, y]; not given: of the field"),
};

#define TOPIC(name, summary, text, keys) {name, summary, text, keys, (int)(sizeof(keys) / sizeof((keys)[0]))}
const help_topic stimulus_topics[] = {
    TOPIC("stimulus", "keys common to all stimuli; a section is one mapping or a list of mappings shown one after another",
          "Luminance: 0 black, 0.5 mean grey, 1 white.  Degrees from the field's centre, x rightwards, y up.\n"
          "Every frame is a function of step, place and seed alone.", common_keys),
    TOPIC("mask", "only a part of a stimulus is seen", NULL, mask_keys),
    TOPIC("uniform", "one luminance", NULL, uniform_keys),
    TOPIC("grating", "drifting, counter-phase or static grating", NULL, grating_keys),
    TOPIC("bar", "moving or flashed bar", NULL, bar_keys),
    TOPIC("flash", "flashes and steps of the whole field; with a mask: of a spot", NULL, flash_keys),
    TOPIC("chirp", "steps, frequency sweep and contrast ramp of the whole field; with a mask: of a spot (Baden et al. 2016)",
          "2 s off, 3 s full, 3 s off, 2 s half, mean + amplitude sin(pi K t^2), 2 s half, contrast ramp, 2 s half, 3 s off.", chirp_keys),
    TOPIC("contrast_switching", "flicker of the whole field whose contrast changes from epoch to epoch", NULL, switching_keys),
    TOPIC("checkerboard", "white noise, binary or Gaussian, every frame addressable", NULL, checkerboard_keys),
    TOPIC("sparse_noise", "few black or white squares on grey", NULL, sparse_keys),
    TOPIC("pink_noise", "1/f noise: a sum of random plane waves", NULL, pink_keys),
    TOPIC("dots", "moving dots with coherence and limited life", NULL, dots_keys),
    TOPIC("looming", "disc on a collision course: theta = 2 atan((l/v) / (t_c - t))", NULL, looming_keys),
    TOPIC("movie", "movie file, Rec.709 luma; the frame shown at the step's begin", NULL, movie_keys),
    TOPIC("image", "image file", NULL, image_keys),
    TOPIC("dataset", "frames of an HDF5 dataset", NULL, dataset_keys),
    TOPIC("npy", "frames of a NumPy array", NULL, npy_keys),
    TOPIC("ran1_noise", "white noise of the serial generator ran1: published checkerboards and flicker from their seeds",
          "Every rank draws all frames up to the last one it shows, once, in order, and keeps a bit (gaussian: a number) for each check shown.\n"
          "running_seed -10000, frozen_seed -20000, checks [200, 150], order xy: checkerboards of Liu et al., Nat. Commun. 8:149, 2017.", ran1_keys),
    TOPIC("natural", "image seen by an eye that makes microsaccades and drifts", NULL, natural_keys),
};
const int stimulus_ntopic = sizeof stimulus_topics / sizeof stimulus_topics[0];

void canvas_fill(const canvas *c, double level)
{
    for (int y = 0; y < c->ny; y++) {
        for (int x = 0; x < c->nx; x++) {
            c->out[y * c->row_stride + x] = (real)level;
        }
    }
}

double clipped_fraction(double mean, double sd)
{
    return sd > 0 ? 0.5 * (erfc(mean / (sd * M_SQRT2)) + erfc((1 - mean) / (sd * M_SQRT2))) : 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------------- */
static const stimulus_type *type_of(const input_node *section)
{
    const char *name = input_scalar(input_child(section, "type"));
    for (int i = 0; name && i < stimulus_ntype; i++) {
        if (strcmp(name, stimulus_types[i]->name) == 0) {
            return stimulus_types[i];
        }
    }
    return NULL;
}

static void open_part(stimulus_part *p, int number, input *in, const input_node *section)
{
    int before = input_nproblem(in);
    p->type = type_of(section);
    if (!p->type) {
        for (int i = 0; i < input_count(section); i++) {
            input_key(section, i); /* which keys it may have is not known */
        }
        INPUT_FILL(in, section, "stimulus", common_keys, &p->set); /* says which types there are */
        return;
    }
    p->own = memory_alloc(1, p->type->bytes);
    char where[64];
    snprintf(where, sizeof where, "stimulus: %s", p->type->name);
    key_table tables[] = {{common_keys, sizeof common_keys / sizeof common_keys[0], &p->set}, {p->type->keys, p->type->nkey, p->own}};
    input_fill_tables(in, section, where, tables, 2);
    if (p->set.mask) {
        INPUT_FILL(in, p->set.mask, "stimulus: mask", mask_keys, &p->mask);
        if (p->mask.ncentre == 1) {
            input_problem(in, p->set.mask, "mask: centre has one number; give [x deg, y deg]");
        }
    }
    p->seed = p->set.seed >= 0 ? (uint64_t)p->set.seed : p->where.seed + (uint64_t)number * 0x9E3779B97F4A7C15u;
    p->natural_nstep = INT64_MAX;
    if (input_nproblem(in) == before && p->type->open && !p->type->open(p, in, section)) {
        ASSERT(input_nproblem(in) > before);
    }
    int64_t wanted = (int64_t)llround(p->set.duration_s / p->where.step_s);
    p->nstep = p->set.duration_s > 0 ? (wanted < 1 ? 1 : wanted) : p->natural_nstep;
    if (p->nstep > p->natural_nstep) {
        input_problem(in, section, "%s: it ends after %g s, duration is %g s; shorten it, or let it loop or repeat where it can", p->type->name,
                      (double)p->natural_nstep * p->where.step_s, p->set.duration_s);
    }
    if (input_nproblem(in) == before) {
        part_choose_keep(p);
    }
}

static void describe(stimulus *s)
{
    s->text = memory_text("%s", "");
    for (int i = 0; i < s->npart; i++) {
        const stimulus_part *p = &s->parts[i];
        char length[48] = "";
        if (p->nstep < INT64_MAX) {
            snprintf(length, sizeof length, " for %g s", (double)p->nstep * p->where.step_s);
        }
        char *text = memory_text("%s%s%s%s%s%s", s->text, i ? "; then " : "", p->type->name, length, p->note[0] ? ": " : "", p->note);
        memory_free(s->text);
        s->text = text;
    }
}

stimulus *stimulus_open(input *in, const input_node *section, const stimulus_frame *where)
{
    int before = input_nproblem(in);
    stimulus *s = MEMORY_NEW(stimulus, 1);
    bool list = input_is_list(section);
    s->npart = list ? input_count(section) : 1;
    s->chunk_steps = 1;
    s->parts = MEMORY_NEW(stimulus_part, s->npart);
    if (!section || s->npart == 0 || (!list && !input_is_map(section))) {
        input_problem(in, section, "stimulus: a mapping with a type, or a list of such mappings, is wanted");
        s->npart = 0;
    }
    for (int i = 0; i < s->npart; i++) {
        stimulus_part *p = &s->parts[i];
        const input_node *item = list ? input_item(section, i) : section;
        p->where = *where;
        p->first = s->nstep;
        open_part(p, i, in, item);
        if (p->type && p->nstep == INT64_MAX && i < s->npart - 1) {
            input_problem(in, item, "%s never ends; give a duration, since another stimulus follows", p->type->name);
        }
        s->nstep = p->nstep > INT64_MAX - s->nstep ? INT64_MAX : s->nstep + p->nstep;
    }
    if (input_nproblem(in) == before && s->nstep < where->nstep) {
        input_problem(in, section, "the stimulus ends after %g s, the run lasts %g s; shorten the run, or let the stimulus loop",
                      (double)s->nstep * where->step_s, (double)where->nstep * where->step_s);
    }
    if (input_nproblem(in) > before) {
        stimulus_close(s);
        return NULL;
    }
    describe(s);
    return s;
}

void stimulus_close(stimulus *s)
{
    if (s) {
        for (int i = 0; i < s->npart; i++) {
            stimulus_part *p = &s->parts[i];
            if (p->own && p->type->close) {
                p->type->close(p);
            }
            memory_free(p->own);
            memory_free(p->broken);
        }
        stimulus_forget(s);
        memory_free(s->kept);
        memory_free(s->parts);
        memory_free(s->text);
        memory_free(s);
    }
}

int64_t stimulus_nstep(const stimulus *s)
{
    return s->nstep;
}

const char *stimulus_broken(const stimulus *s)
{
    for (int i = 0; i < s->npart; i++) {
        if (s->parts[i].broken) {
            return s->parts[i].broken;
        }
    }
    return NULL;
}

const char *stimulus_describe(const stimulus *s)
{
    return s->text;
}

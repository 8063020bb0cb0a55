/* settings.c - how long, how fine, how large; and the list of all help. */
#include "run/settings.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "input/stimulus.h"
#include "model/model.h"
#include "run/analyze.h"
#include "run/fit.h"
#include "run/options.h"
#include "run/record.h"

enum { FIELD_MAX_PIXELS = 32768 };
#define FIELD_MIN_RESOLUTION 1e-2 /* per deg */

static const key_spec run_keys[] = {
    {"duration", KEY_REAL, "s", "0 s", 0, 1e7, NULL, "simulated time; 0 s: as long as the stimulus", offsetof(settings, duration_s), 0, 0},
    {"step", KEY_REAL, "s", "1 ms", 1e-6, 10, NULL, "time step of all stages", offsetof(settings, step_s), 0, 0},
    {"seed", KEY_INT, NULL, "1", 0, 9007199254740992.0, NULL, "of all random numbers", offsetof(settings, seed), 0, 0},
    {"chunk", KEY_INT, NULL, "0", 0, 65536, NULL, "steps computed at a time; 0: chosen; no result depends on it", offsetof(settings, chunk_steps), 0,
     0},
    {"threads", KEY_INT, NULL, "1", 1, 1024, NULL, "threads of each rank; no result depends on it", offsetof(settings, threads), 0, 0},
};

static const key_spec field_keys[] = {
    {"size", KEY_REALS, "deg", "", 1e-3, 360, NULL, "[width, height] of the visual field; this or pixels", offsetof(settings, size_deg),
     offsetof(settings, nsize), 2},
    {"pixels", KEY_REALS, "", "", 1, FIELD_MAX_PIXELS, NULL, "[nx, ny] of the visual field; this or size", offsetof(settings, pixels),
     offsetof(settings, npixels), 2},
    {"resolution", KEY_REAL, "/deg", NULL, FIELD_MIN_RESOLUTION, 1e4, NULL, "pixels per degree", offsetof(settings, resolution_per_deg), 0, 0},
    {"crop", KEY_REALS, "", "", 1, FIELD_MAX_PIXELS, NULL, "[nx, ny] pixels in the middle that are computed; not given: all",
     offsetof(settings, crop), offsetof(settings, ncrop), 2},
    {"border", KEY_WORD, NULL, "none", 0, 0, "none|virtualretina",
     "virtualretina: crop as that program does, to its cells and 3.5 sigma around them (needs a preset)", offsetof(settings, border), 0, 0},
    {"tiles", KEY_REALS, "", "", 0, FIELD_MAX_PIXELS, NULL, "[ty, tx] tiles that the field is cut into; not given: by a rule from its size",
     offsetof(settings, tiles), offsetof(settings, ntiles), 2},
    {"background", KEY_REAL, "", "0.5", 0, 1, NULL, "luminance everywhere before the first step (0 black, 1 white)", offsetof(settings, background),
     0, 0},
};

static const char run_text[] =
    "A run is a whole number of steps; step 0 begins at 0 s.  Same input: same bits, for any number of ranks, threads and any chunk.";
static const char field_text[] =
    "Degrees are measured from the centre of the field, x to the right, y up.  A crop is what VirtualRetina does: the stimulus has the whole field,\n"
    "cells and maps the pixels from (n - crop)/2, rounded down, on; borders of the crop repeat its own edge.  Tiles are what is dealt to ranks.  "
    "They are part of the input\n"
    "because the last bits of an FFT depend on its size; give them to use more ranks than the rule makes tiles.";

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const char input_text[] =
    "  run:      {duration: 1 s, step: 1 ms, seed: 1}\n"
    "  field:    {size: [5 deg, 4 deg], resolution: 10 /deg}\n"
    "  stimulus: {type: grating, spatial_frequency: 1 /deg, temporal_frequency: 4 Hz}\n"
    "  model:    {preset: cat-x}\n"
    "  record:   {maps: [{stage: opl, every: 10 ms}], spikes: all}\n\n"
    "A topic explains each section.  Numbers carry their unit.  chiasm validate FILE lists every problem, chiasm simulate FILE --plan says what a\n"
    "run takes, chiasm simulate FILE --dump-input prints every default and the stages of a preset.";

static const help_topic own_topics[] = {
    {"input", "a whole input file, as an example", input_text, NULL, 0},
    {"run", "section `run`: duration, step, seed, threads", run_text, run_keys, COUNT(run_keys)},
    {"field", "section `field`: size and resolution of the visual field", field_text, field_keys, COUNT(field_keys)},
};

static bool is_whole(double x)
{
    return x == floor(x);
}

/* Pixels of both axes, from either key. */
static void read_shape(input *in, const input_node *field, settings *s)
{
    double shape[2] = {1, 1}; /* x, y */
    if ((s->nsize > 0) == (s->npixels > 0)) {
        input_problem(in, field, "field: give size or pixels, %s", s->nsize > 0 ? "not both" : "one of the two");
    } else if (s->npixels == 2) {
        memcpy(shape, s->pixels, sizeof shape);
        if (!is_whole(shape[0]) || !is_whole(shape[1])) {
            input_problem(in, input_child(field, "pixels"), "field: pixels: [%g, %g] are not whole numbers", shape[0], shape[1]);
        }
    } else if (s->nsize == 2) {
        for (int i = 0; i < 2; i++) {
            shape[i] = fmax(1, round(s->size_deg[i] * s->resolution_per_deg));
        }
    } else {
        input_problem(in, input_child(field, s->nsize ? "size" : "pixels"), "field: %s: two numbers are wanted, [x, y]",
                      s->nsize ? "size" : "pixels");
    }
    if (shape[0] > FIELD_MAX_PIXELS || shape[1] > FIELD_MAX_PIXELS) {
        input_problem(in, input_child(field, "size"), "field: %g x %g pixels; at most %d each way; make size or resolution smaller", shape[0],
                      shape[1], FIELD_MAX_PIXELS);
        shape[0] = shape[1] = 1;
    }
    s->full_nx = s->nx = (int)shape[0];
    s->full_ny = s->ny = (int)shape[1];
}

/* After a problem the field may be far from what the user means; an ordinary one keeps the checks of the other sections to the point. */
static void stand_in(settings *s)
{
    if (s->nx == 1 || s->ny == 1 || s->resolution_per_deg <= FIELD_MIN_RESOLUTION) {
        s->full_nx = s->full_ny = s->nx = s->ny = 256;
        s->resolution_per_deg = 10;
    }
}

/* What the preset asks for becomes a crop in the effective input, which reads back to the same run without the preset. */
static void read_border(input *in, const input_node *field, settings *s)
{
    int ny, nx;
    if (s->border == 0) {
        return;
    }
    if (s->ncrop > 0 || !model_preset_field(in, s->full_ny, s->full_nx, s->resolution_per_deg, &ny, &nx)) {
        input_problem(in, input_child(field, "border"), "field: border: virtualretina needs a preset in the model, and no crop beside it");
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "[%d, %d]", nx, ny);
    input_set(in, "field.border", "none");
    input_set(in, "field.crop", text);
    s->ncrop = 2;
    s->crop[0] = nx;
    s->crop[1] = ny;
}

static void read_crop(input *in, const input_node *field, settings *s)
{
    if (s->ncrop == 0) {
        return;
    }
    if (s->ncrop != 2 || !is_whole(s->crop[0]) || !is_whole(s->crop[1]) || s->crop[0] > s->nx || s->crop[1] > s->ny) {
        input_problem(in, input_child(field, "crop"), "field: crop: two whole numbers are wanted, [nx, ny], at most [%d, %d]", s->nx, s->ny);
        return;
    }
    s->nx = (int)s->crop[0];
    s->ny = (int)s->crop[1];
    s->crop_x = (s->full_nx - s->nx) / 2;
    s->crop_y = (s->full_ny - s->ny) / 2;
}

static void read_tiles(input *in, const input_node *field, settings *s)
{
    if (s->ntiles == 0) {
        return;
    }
    const input_node *at = input_child(field, "tiles");
    if (s->ntiles != 2 || !is_whole(s->tiles[0]) || !is_whole(s->tiles[1])) {
        input_problem(in, at, "field: tiles: two whole numbers are wanted, [ty, tx]");
    } else if (s->tiles[0] > s->ny || s->tiles[1] > s->nx) {
        input_problem(in, at, "field: tiles: %g x %g tiles of a field of %d x %d pixels; at most one a pixel", s->tiles[0], s->tiles[1], s->ny,
                      s->nx);
    } else {
        s->ntile_y = (int)s->tiles[0];
        s->ntile_x = (int)s->tiles[1];
    }
}

void settings_read(input *in, const input_node *run, const input_node *field, settings *s)
{
    int before = input_nproblem(in);
    *s = (settings){0};
    INPUT_FILL(in, run, "run", run_keys, s);
    INPUT_FILL(in, field, "field", field_keys, s);
    read_shape(in, field, s);
    if (input_nproblem(in) > before) {
        stand_in(s);
    }
    read_border(in, field, s);
    read_crop(in, field, s);
    read_tiles(in, field, s);
    double steps = s->duration_s / s->step_s;
    s->nstep = llround(steps);
    /* 1e-6 of a step: duration and step are decimal texts, their quotient is not exact. */
    if (fabs(steps - (double)s->nstep) > 1e-6 || (s->duration_s > 0 && s->nstep == 0)) {
        input_problem(in, input_child(run, "duration"), "run: duration: %g s is not a whole number of steps of %g s", s->duration_s, s->step_s);
    }
}

void settings_length(input *in, const input_node *run, int64_t stimulus_nstep, settings *s)
{
    if (s->nstep > 0) {
        return;
    }
    if (stimulus_nstep == INT64_MAX) {
        input_problem(in, run, "run: duration must be given: this stimulus never ends");
        stimulus_nstep = 1;
    }
    s->nstep = stimulus_nstep;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

static int topic_count(void)
{
    return COUNT(own_topics) + stimulus_ntopic + model_ntopic + record_ntopic + analyze_ntopic + fit_topic_count() + model_preset_ntopic + stage_count;
}

static help_topic topic_at(int i)
{
    const help_topic *const list[] = {own_topics, stimulus_topics, model_topics, record_topics, analyze_topics};
    const int n[] = {COUNT(own_topics), stimulus_ntopic, model_ntopic, record_ntopic, analyze_ntopic};
    for (int k = 0; k < COUNT(list); k++) {
        if (i < n[k]) {
            return list[k][i];
        }
        i -= n[k];
    }
    if (i < fit_topic_count()) {
        return fit_topic_at(i);
    }
    i -= fit_topic_count() + model_preset_ntopic;
    if (i < 0) {
        return *model_preset_topics[i + model_preset_ntopic];
    }
    ASSERT(i < stage_count);
    const stage_type *t = stage_list[i];
    return (help_topic){t->name, t->help, t->text, t->keys, t->nkey};
}

/* A preset by its name: described with all of them. */
static bool names_preset(const help_topic *t, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < t->nkey; i++) {
        bool lists = strcmp(t->keys[i].name, "preset") == 0 && t->keys[i].kind == KEY_WORD;
        for (const char *word = lists ? t->keys[i].words : NULL; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL) {
            if (strcspn(word, "|") == n && strncmp(word, name, n) == 0 && strcmp(name, t->keys[i].fallback) != 0) {
                return true;
            }
        }
    }
    return false;
}

bool settings_help(const char *topic)
{
    int found = 0;
    for (int i = 0; i < topic_count(); i++) {
        help_topic t = topic_at(i);
        if (!topic) {
            bool stages_begin = i == topic_count() - stage_count;
            printf("%s  %-18s %s\n", i == 0 ? "Sections, stimuli and presets:\n" : stages_begin ? "\nStages of a model:\n" : "", t.name, t.summary);
        } else if (strcmp(t.name, topic) == 0) {
            fputs(found++ > 0 ? "\n" : "", stdout); /* a stage and a stimulus may share a name: both are shown */
            help_print(&t);
        }
    }
    for (int i = 0; topic && found == 0 && i < model_preset_ntopic; i++) {
        if (names_preset(model_preset_topics[i], topic)) {
            help_print(model_preset_topics[i]);
            found++;
        }
    }
    return !topic || found > 0;
}

const char *settings_nearest_topic(const char *word)
{
    int n = topic_count();
    const char **names = MEMORY_NEW(const char *, n);
    for (int i = 0; i < n; i++) {
        names[i] = topic_at(i).name;
    }
    const char *nearest = nearest_word(word, names, n);
    memory_free(names);
    return nearest;
}

/* settings.h - the sections `run` and `field` of an input, and every topic of `chiasm help`. */
#ifndef SETTINGS_H
#define SETTINGS_H
#include "input/input.h"

typedef struct settings {
    /* as read */
    double duration_s; /* 0: as long as the stimulus */
    double step_s;
    int64_t seed, chunk_steps, threads;
    double resolution_per_deg; /* pixels per degree */
    double size_deg[2], pixels[2], crop[2], tiles[2];
    int nsize, npixels, ncrop, ntiles, border;
    double background;
    /* what follows from it */
    int full_ny, full_nx; /* field of the stimulus, pixels */
    int ny, nx;           /* what is computed of it, and its first pixel */
    int crop_y, crop_x;
    int ntile_y, ntile_x; /* 0: default rule of grid_plan */
    int64_t nstep;        /* 0 until settings_length, when duration_s is 0 */
} settings;

/* Reads both sections (either may be NULL); problems go on the list, and all fields are set to something valid. */
void settings_read(input *in, const input_node *run, const input_node *field, settings *s);

/* How long the run is, once the stimulus is open: its length in steps, INT64_MAX if it never ends. */
void settings_length(input *in, const input_node *run, int64_t stimulus_nstep, settings *s);

/* `chiasm help TOPIC`: false if there is no such topic.  TOPIC NULL: a list of all topics with their summaries. */
bool settings_help(const char *topic);
/* The known topic nearest to a word, or NULL when none is near. */
const char *settings_nearest_topic(const char *word);
#endif

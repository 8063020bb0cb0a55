/* stimulus_own.h - what the stimulus files of this folder share; nobody else includes it. */
#ifndef STIMULUS_OWN_H
#define STIMULUS_OWN_H
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "input/stimulus.h"

/* Pixels [y0, y0+ny) x [x0, x0+nx) of the field, and where they go: out[y*row_stride + x]. */
typedef struct canvas {
    int y0, x0, ny, nx;
    real *out;
    int64_t row_stride;
} canvas;

typedef struct stimulus_part stimulus_part;

/* Number of a picture that one step alone shows: not worth keeping. */
#define PICTURE_PASSING INT64_MAX
/* Pictures worth keeping for later steps and other rectangles: none (as cheap to draw as to copy), those that last for two steps and more, all
 * (their source is costly to read). */
enum keep { KEEP_NONE, KEEP_HELD, KEEP_ALL };
/* What may be drawn at a time, by as many threads: one canvas; parts of the canvas and step that prepare had last; parts of the canvas that
 * prepare had last, of any steps. */
enum at_a_time { DRAW_ONE, DRAW_BANDS, DRAW_STEPS };

/* One kind of stimulus.  Settings and prepared values live in one zeroed struct of `bytes` (part->own), filled from `keys`. */
typedef struct stimulus_type {
    const char *name;
    size_t bytes;
    const key_spec *keys;
    int nkey;
    bool (*open)(stimulus_part *p, input *in, const input_node *at); /* NULL: nothing to prepare; false: problems were listed */
    void (*close)(stimulus_part *p);                                 /* NULL: nothing to free */
    int64_t (*picture)(stimulus_part *p, int64_t step);              /* equal numbers: equal frames; NULL: all PICTURE_PASSING */
    void (*prepare)(stimulus_part *p, int64_t step, const canvas *c); /* tables for what is drawn next; NULL: none                */
    void (*draw)(stimulus_part *p, int64_t step, const canvas *c);   /* a canvas that is not empty; writes nothing else but by DRAW_ONE */
    enum keep keep;
    enum at_a_time at_a_time;
} stimulus_type;

enum mask_shape { MASK_NONE, MASK_CIRCLE, MASK_SQUARE };

typedef struct mask_settings {
    int shape;
    double radius_deg, smooth_deg, background;
    double centre_deg[2];
    int ncentre;
} mask_settings;

/* Keys common to all types. */
typedef struct part_settings {
    int type;
    int64_t seed;      /* -1: of the run */
    double duration_s; /* 0: as long as it has */
    const input_node *mask;
} part_settings;

/* One stimulus of a sequence; steps given to its type count from its own begin. */
struct stimulus_part {
    const stimulus_type *type;
    void *own;
    stimulus_frame where;
    uint64_t seed;
    int64_t first, nstep; /* steps of the run it is shown; INT64_MAX: without end */
    int64_t natural_nstep; /* what its source has; set by open, INT64_MAX before */
    part_settings set;
    mask_settings mask;
    size_t bytes_later;    /* set by open: what draw will allocate that does not depend on what is asked, e.g. a frame of the source */
    size_t bytes_a_line;   /* set by open: what prepare will allocate for each row and column of the reach */
    char *broken;          /* what is wrong with a picture that was drawn; NULL: nothing */
    char note[200];        /* what open found out: sizes, rates, clipped fraction */
    bool keeps;            /* its pictures are worth keeping                      */
    real *share;           /* of the stimulus behind its mask, [reach]; NULL until needed */
};

/* A picture of the reach as it is seen, mask and all. */
typedef struct kept_picture {
    const stimulus_part *part; /* NULL: none */
    int64_t number, used;
    real *luma;
} kept_picture;

struct stimulus {
    stimulus_part *parts;
    int npart;
    int64_t nstep;
    canvas reach;        /* what is asked for lies in here; out is NULL */
    int chunk_steps;     /* steps asked for at a time, for the plan     */
    kept_picture *kept;  /* as many as a call has shown pictures        */
    int nkept;
    int64_t clock;       /* of their use                                */
    char *text;
};
/* Of stimulus_show.c. */
void part_choose_keep(stimulus_part *p);
void stimulus_forget(stimulus *s); /* frees kept pictures and masks */

static inline double part_x_deg(const stimulus_part *p, int64_t x)
{
    return ((double)x - 0.5 * (p->where.nx - 1)) / p->where.pixels_per_deg;
}
static inline double part_y_deg(const stimulus_part *p, int64_t y)
{
    return -((double)y - 0.5 * (p->where.ny - 1)) / p->where.pixels_per_deg;
}
static inline double part_time_s(const stimulus_part *p, int64_t step)
{
    return (double)step * p->where.step_s;
}
/* Number of the frame of `rate_hz` that is on when the step begins; a frame that begins with the step within rounding counts. */
static inline int64_t part_frame_at(const stimulus_part *p, int64_t step, double rate_hz)
{
    return (int64_t)floor((double)step * (p->where.step_s * rate_hz) + 1e-6);
}
/* Share of a pixel inside an edge that lies `inside_deg` beyond its centre: edges are one pixel wide. */
static inline double part_cover(const stimulus_part *p, double inside_deg)
{
    double c = inside_deg * p->where.pixels_per_deg + 0.5;
    return c < 0 ? 0 : c > 1 ? 1 : c;
}
static inline double clip_unit(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}
/* Lets [*first, *first + *n) cover [want, want + nwant); true when it has changed. */
static inline bool widen(int *first, int *n, int want, int nwant)
{
    int from = *n > 0 && *first < want ? *first : want, to = *n > 0 && *first + *n > want + nwant ? *first + *n : want + nwant;
    bool changed = *n == 0 || from < *first || to > *first + *n;
    *first = from;
    *n = to - from;
    return changed;
}
void canvas_fill(const canvas *c, double level);
/* Fraction of a Gaussian luminance of this mean and sd that falls outside [0, 1]. */
double clipped_fraction(double mean, double sd);

#define NUMBER_KEY(type, field, key, unit, fallback, lo, hi, help)                                                                                   \
    {key, KEY_REAL, unit, fallback, lo, hi, NULL, help, offsetof(type, field), 0, 0}
#define INT_KEY(type, field, key, fallback, lo, hi, help)                                                                                            \
    {key, KEY_INT, NULL, fallback, lo, hi, NULL, help, offsetof(type, field), 0, 0}
#define WORD_KEY(type, field, key, fallback, words, help)                                                                                            \
    {key, KEY_WORD, NULL, fallback, 0, 0, words, help, offsetof(type, field), 0, 0}
#define FLAG_KEY(type, field, key, fallback, help)                                                                                                   \
    {key, KEY_FLAG, NULL, fallback, 0, 0, NULL, help, offsetof(type, field), 0, 0}
#define PATH_KEY(type, field, key, help)                                                                                                             \
    {key, KEY_PATH, NULL, NULL, 0, 0, NULL, help, offsetof(type, field), 0, 0}
#define TEXT_KEY(type, field, key, fallback, help)                                                                                                   \
    {key, KEY_TEXT, NULL, fallback, 0, 0, NULL, help, offsetof(type, field), 0, 0}
#define LIST_KEY(type, field, nfield, max, key, unit, fallback, lo, hi, help)                                                                        \
    {key, KEY_REALS, unit, fallback, lo, hi, NULL, help, offsetof(type, field), offsetof(type, nfield), max}

/* A flat picture (movie frame, image) hung up in the field. */
enum screen_fit { FIT_FIELD, FIT_PIXELS };
enum { SCREEN_NKEY = 4 };
typedef struct screen {
    /* settings */
    double size_deg[2], position_deg[2];
    int nsize, nposition;
    int fit;
    const char *outside;
    /* prepared */
    bool replicate;
    double level;              /* luminance beyond the edge                          */
    int ny, nx;                /* of the source                                       */
    double first_x, first_y;   /* source position of field pixel 0                    */
    double pitch_x, pitch_y;   /* source pixels from one field pixel to the next      */
    double *work;              /* taps and one row, grown as needed                   */
    size_t nwork;
} screen;
#define SCREEN_KEYS(type, fit_fallback)                                                                                                    \
    LIST_KEY(type, screen.size_deg, screen.nsize, 2, "size", "deg", "", 1e-6, INFINITY,                                                    \
             "[width, height], or the width alone (aspect kept); not given: see fit"),                                                     \
        LIST_KEY(type, screen.position_deg, screen.nposition, 2, "position", "deg", "", 0, 0, "centre [x, y]; not given: of the field"),   \
        WORD_KEY(type, screen.fit, "fit", fit_fallback, "field|pixels",                                                                    \
                 "field: scaled to cover the field, aspect kept; pixels: one source pixel for each of the field"),                         \
        TEXT_KEY(type, screen.outside, "outside", "0.5", "luminance beyond the edge, or replicate")
bool screen_open(screen *s, const stimulus_part *p, int ny, int nx, input *in, const input_node *at);
void screen_close(screen *s);
/* Draws source[ny][nx], the eye turned by (eye_x_deg, eye_y_deg) over it: area average where it is finer than the field, bilinear where coarser. */
void screen_draw(screen *s, const stimulus_part *p, const real *source, double eye_x_deg, double eye_y_deg, const canvas *c);

enum {
    UNIFORM_NKEY = 1, GRATING_NKEY = 8, BAR_NKEY = 11, FLASH_NKEY = 3, CHIRP_NKEY = 7, SWITCHING_NKEY = 7, CHECKERBOARD_NKEY = 9,
    SPARSE_NKEY = 5, PINK_NKEY = 10, DOTS_NKEY = 8, LOOMING_NKEY = 6, MOVIE_NKEY = 4 + SCREEN_NKEY, IMAGE_NKEY = 1 + SCREEN_NKEY,
    DATASET_NKEY = 6 + SCREEN_NKEY, NPY_NKEY = 6 + SCREEN_NKEY, NATURAL_NKEY = 9 + SCREEN_NKEY, RAN1_NKEY = 14
};
extern const key_spec uniform_keys[UNIFORM_NKEY], grating_keys[GRATING_NKEY], bar_keys[BAR_NKEY], flash_keys[FLASH_NKEY], chirp_keys[CHIRP_NKEY],
    switching_keys[SWITCHING_NKEY], checkerboard_keys[CHECKERBOARD_NKEY], sparse_keys[SPARSE_NKEY], pink_keys[PINK_NKEY], dots_keys[DOTS_NKEY],
    looming_keys[LOOMING_NKEY], movie_keys[MOVIE_NKEY], image_keys[IMAGE_NKEY], dataset_keys[DATASET_NKEY], npy_keys[NPY_NKEY],
    natural_keys[NATURAL_NKEY], ran1_keys[RAN1_NKEY];
extern const stimulus_type type_uniform, type_grating, type_bar, type_flash, type_chirp, type_switching, type_checkerboard, type_sparse, type_pink,
    type_dots, type_looming, type_movie, type_image, type_dataset, type_npy, type_natural, type_ran1;

/* For tests that go through all types. */
extern const stimulus_type *const stimulus_types[];
extern const int stimulus_ntype;
#endif

/* stimulus_files.c - movies, images, HDF5 datasets and .npy arrays: frames of a file, one of them in memory. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/store.h"
#include "input/image.h"
#include "input/movie.h"
#include "input/npy.h"
#include "input/stimulus_own.h"

/* Frames of any source; one struct for all four types, so that they share all but reading. */
typedef struct film {
    const char *file;
    double rate_hz, start_s, frame_s, range;
    int axes;
    bool loop;
    screen screen;
    movie *movie;
    image image;
    npy npy;
    store *store;
    char *path, *name; /* of a dataset: file and array */
    real *turned;     /* frame of a dataset as it is stored, when x comes first */
    int ny, nx;
    int64_t nframe;
    real *luma;     /* of the frame read last */
    int64_t now;    /* its number; -1: none   */
    bool (*read)(struct film *f, int64_t frame, real *luma, char *why, size_t size);
} film;

enum { AXES_TYX, AXES_TXY };

#define FRAMES_KEYS                                                                                                                  \
    NUMBER_KEY(film, frame_s, "frame_duration", "s", "0 s", 0, INFINITY, "time of a frame; 0: one step"),                            \
        NUMBER_KEY(film, range, "range", "", "1", 1e-30, INFINITY, "value that counts as luminance 1 (255 for 0..255 data)"),        \
        WORD_KEY(film, axes, "axes", "tyx", "tyx|txy", "order of the dimensions, slowest first"),                                    \
        FLAG_KEY(film, loop, "loop", "false", "begin again after the last frame"), SCREEN_KEYS(film, "pixels")

const key_spec movie_keys[MOVIE_NKEY] = {
    PATH_KEY(film, file, "file", "any movie that libavformat reads"),
    NUMBER_KEY(film, rate_hz, "fps", "Hz", "0 Hz", 0, INFINITY, "frames per second; 0: as the file says"),
    NUMBER_KEY(film, start_s, "start", "s", "0 s", 0, INFINITY, "time in the movie at which it begins"),
    FLAG_KEY(film, loop, "loop", "false", "begin again (at start) after the end"),
    SCREEN_KEYS(film, "field"),
};
const key_spec image_keys[IMAGE_NKEY] = {PATH_KEY(film, file, "file", "PNG, or any that libav reads"), SCREEN_KEYS(film, "field")};
const key_spec dataset_keys[DATASET_NKEY] = {PATH_KEY(film, file, "file", "FILE.h5:/NAME of an array of three dimensions"), FRAMES_KEYS};
const key_spec npy_keys[NPY_NKEY] = {PATH_KEY(film, file, "file", "NumPy array of three dimensions"), FRAMES_KEYS};

/* --- frames -------------------------------------------------------------------------------------------------------------- */
static const real *film_frame(stimulus_part *p, int64_t frame)
{
    film *f = p->own;
    if (!f->luma) {
        f->luma = MEMORY_NEW(real, (size_t)f->ny * (size_t)f->nx);
    }
    char why[256] = "";
    bool there = f->now == frame;
    f->now = -1;
    if (!there && !f->read(f, frame, f->luma, why, sizeof why)) {
        memset(f->luma, 0, (size_t)f->ny * (size_t)f->nx * sizeof(real));
        if (!p->broken) { /* the first one is told */
            p->broken = memory_text("%s: frame %lld: %s; repair the file, or end the run before it", f->file, (long long)frame, why);
        }
    }
    f->now = frame;
    return f->luma;
}

static bool film_ready(film *f, stimulus_part *p, input *in, const input_node *at)
{
    f->now = -1;
    p->bytes_later = f->read ? (size_t)f->ny * (size_t)f->nx * sizeof(real) : 0;
    p->bytes_later += f->movie ? movie_look(f->movie).bytes_decoder : 0;
    if (!screen_open(&f->screen, p, f->ny, f->nx, in, at)) {
        return false;
    }
    size_t used = strlen(p->note);
    double pitch = f->screen.pitch_x;
    snprintf(p->note + used, sizeof p->note - used, ", %.4g x %.4g source pixels per pixel (%s), sample and hold", pitch, f->screen.pitch_y,
             pitch > 1 ? "area average" : pitch == 1 ? "as they are" : "bilinear");
    return true;
}

static void film_close(stimulus_part *p)
{
    film *f = p->own;
    memory_free(f->luma);
    memory_free(f->image.luma);
    memory_free(f->path);
    memory_free(f->name);
    memory_free(f->turned);
    movie_close(f->movie);
    npy_close(&f->npy);
    if (f->store) {
        store_close_read(f->store);
    }
    screen_close(&f->screen);
}

/* --- movie --------------------------------------------------------------------------------------------------------------- */
static bool movie_fetch(film *f, int64_t frame, real *luma, char *why, size_t size)
{
    return movie_read(f->movie, frame, luma, why, size);
}

static double movie_length_s(const film *f)
{
    return f->rate_hz > 0 ? (double)f->nframe / f->rate_hz : movie_look(f->movie).duration_s;
}

static bool open_movie(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    char why[256];
    f->movie = movie_open(f->file, why, sizeof why);
    if (!f->movie) {
        input_problem(in, input_child(at, "file"), "%s: %s", f->file, why);
        return false;
    }
    movie_info i = movie_look(f->movie);
    f->ny = i.ny;
    f->nx = i.nx;
    f->nframe = i.nframe;
    f->read = movie_fetch;
    double left_s = movie_length_s(f) - f->start_s;
    if (left_s <= 0) {
        input_problem(in, input_child(at, "start"), "the movie ends at %g s, before %g s", movie_length_s(f), f->start_s);
        return false;
    }
    p->natural_nstep = f->loop ? INT64_MAX : (int64_t)ceil(left_s / p->where.step_s - 1e-6);
    snprintf(p->note, sizeof p->note, "%.60s, %s, %d x %d, %lld frames, %.5g Hz, luma of %s, %s range", f->file, i.codec, i.nx, i.ny,
             (long long)i.nframe, f->rate_hz > 0 ? f->rate_hz : i.rate_hz, i.luma, i.full_range ? "full" : "limited");
    return film_ready(f, p, in, at);
}

static int64_t movie_picture(stimulus_part *p, int64_t step)
{
    const film *f = p->own;
    double t = part_time_s(p, step), left_s = movie_length_s(f) - f->start_s;
    if (f->loop) {
        t -= floor(t / left_s + 1e-9) * left_s;
    }
    t += f->start_s;
    int64_t i = f->rate_hz > 0 ? (int64_t)floor(t * f->rate_hz + 1e-6) : movie_frame_at(f->movie, t);
    return i < f->nframe ? i : f->nframe - 1;
}

static void movie_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    film *f = p->own;
    screen_draw(&f->screen, p, film_frame(p, movie_picture(p, step)), 0, 0, c);
}

const stimulus_type type_movie = {"movie", sizeof(film), movie_keys, MOVIE_NKEY, open_movie, film_close, movie_picture, movie_draw, KEEP_ALL};

/* --- image --------------------------------------------------------------------------------------------------------------- */
static bool open_image(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    char why[256];
    if (!image_read(f->file, &f->image, why, sizeof why)) {
        input_problem(in, input_child(at, "file"), "%s: %s", f->file, why);
        return false;
    }
    f->ny = f->image.ny;
    f->nx = f->image.nx;
    snprintf(p->note, sizeof p->note, "%.80s, %d x %d", f->file, f->nx, f->ny);
    return film_ready(f, p, in, at);
}

static int64_t image_picture(stimulus_part *p, int64_t step)
{
    (void)p, (void)step;
    return 0;
}

static void image_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    (void)step;
    film *f = p->own;
    screen_draw(&f->screen, p, f->image.luma, 0, 0, c);
}

const stimulus_type type_image = {"image", sizeof(film), image_keys, IMAGE_NKEY, open_image, film_close, image_picture, image_draw, KEEP_HELD};

/* --- arrays -------------------------------------------------------------------------------------------------------------- */
/* Numbers as stored to luminance, rows first; NaN and infinity are found here. */
static bool array_take(film *f, const real *stored, real *luma, char *why, size_t size)
{
    real scale = (real)(1 / f->range);
    for (int y = 0; y < f->ny; y++) {
        for (int x = 0; x < f->nx; x++) {
            real v = stored[f->axes == AXES_TXY ? (size_t)x * (size_t)f->ny + (size_t)y : (size_t)y * (size_t)f->nx + (size_t)x];
            if (!isfinite(v)) {
                snprintf(why, size, "row %d, column %d is %f", y, x, (double)v);
                return false;
            }
            luma[(size_t)y * (size_t)f->nx + (size_t)x] = v * scale;
        }
    }
    return true;
}

static bool npy_fetch(film *f, int64_t frame, real *luma, char *why, size_t size)
{
    int64_t n = (int64_t)f->ny * f->nx;
    if (!npy_read(&f->npy, frame * n, n, f->turned)) {
        snprintf(why, size, "cannot be read");
        return false;
    }
    return array_take(f, f->turned, luma, why, size);
}

static bool dataset_fetch(film *f, int64_t frame, real *luma, char *why, size_t size)
{
    int64_t start[3] = {frame, 0, 0}, count[3] = {1, f->axes == AXES_TXY ? f->nx : f->ny, f->axes == AXES_TXY ? f->ny : f->nx};
    if (!store_read(f->store, f->name, STORE_REAL, start, count, f->turned)) {
        snprintf(why, size, "cannot be read");
        return false;
    }
    return array_take(f, f->turned, luma, why, size);
}

static bool array_ready(stimulus_part *p, int rank, const int64_t *dims, input *in, const input_node *at)
{
    film *f = p->own;
    if (rank != 3 || dims[0] < 1 || dims[1] < 1 || dims[2] < 1 || dims[1] > 1 << 20 || dims[2] > 1 << 20) {
        input_problem(in, input_child(at, "file"), "%s has %d dimensions; frames need three [time, y, x] (see axes), none empty", f->file, rank);
        return false;
    }
    f->nframe = dims[0];
    f->ny = (int)dims[f->axes == AXES_TXY ? 2 : 1];
    f->nx = (int)dims[f->axes == AXES_TXY ? 1 : 2];
    f->turned = MEMORY_NEW(real, (size_t)f->ny * (size_t)f->nx);
    f->frame_s = f->frame_s > 0 ? f->frame_s : p->where.step_s;
    p->natural_nstep = f->loop ? INT64_MAX : (int64_t)ceil((double)f->nframe * f->frame_s / p->where.step_s - 1e-6);
    snprintf(p->note, sizeof p->note, "%.80s, %d x %d, %lld frames of %g s", f->file, f->nx, f->ny, (long long)f->nframe, f->frame_s);
    return film_ready(f, p, in, at);
}

static bool open_npy(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    const char *why;
    if (!npy_open(&f->npy, f->file, &why)) {
        input_problem(in, input_child(at, "file"), "%s %s", f->file, why);
        return false;
    }
    f->read = npy_fetch;
    return array_ready(p, f->npy.rank, f->npy.dims, in, at);
}

static bool open_dataset(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    const char *colon = strstr(f->file, ":/"), *why = NULL;
    if (!colon) {
        input_problem(in, input_child(at, "file"), "'%s' names no dataset; give FILE.h5:/NAME", f->file);
        return false;
    }
    f->path = memory_text("%.*s", (int)(colon - f->file), f->file);
    f->name = memory_text("%s", colon + 1);
    f->store = store_open_read(f->path, &why);
    if (!f->store) {
        input_problem(in, input_child(at, "file"), "%s: %s", f->path, why);
        return false;
    }
    store_info info = store_look(f->store, f->name);
    if (!info.found) {
        input_problem(in, input_child(at, "file"), "%s has no dataset %s", f->path, f->name);
        return false;
    }
    f->read = dataset_fetch;
    return array_ready(p, info.rank, info.dims, in, at);
}

static int64_t array_picture(stimulus_part *p, int64_t step)
{
    const film *f = p->own;
    int64_t i = part_frame_at(p, step, 1 / f->frame_s);
    return f->loop ? i % f->nframe : i < f->nframe ? i : f->nframe - 1;
}

static void array_draw(stimulus_part *p, int64_t step, const canvas *c)
{
    film *f = p->own;
    screen_draw(&f->screen, p, film_frame(p, array_picture(p, step)), 0, 0, c);
}

const stimulus_type type_dataset = {
    "dataset", sizeof(film), dataset_keys, DATASET_NKEY, open_dataset, film_close, array_picture, array_draw, KEEP_ALL};
const stimulus_type type_npy = {"npy", sizeof(film), npy_keys, NPY_NKEY, open_npy, film_close, array_picture, array_draw, KEEP_ALL};

/* stimulus_files.c - movies, images, HDF5 datasets and .npy arrays: frames of a file, one of them in memory. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "input/dataset.h"
#include "input/image.h"
#include "input/movie.h"
#include "input/npy.h"
#include "input/stimulus_own.h"

/* Frames of any source; one struct for all four types, so that they share all but reading. */
typedef struct film {
    const char *file;
    double rate_hz, start_s, frame_s, range, black;
    int axes;
    bool loop;
    screen screen;
    movie *movie;
    image image;
    dataset *data;
    double *block; /* of an array: frames [block0, block0 + nblock) as they are stored */
    int64_t block0, nblock, block_frames;
    int ny, nx;
    int64_t nframe;
    real *luma;     /* of the frame read last */
    int64_t now;    /* its number; -1: none   */
    bool (*read)(struct film *f, int64_t frame, real *luma, char *why, size_t size);
} film;

/* Orders of the dimensions, slowest first; bars have no y (one row) or no x, full-field flicker has neither. */
#define AXES_WORDS "tyx|txy|ytx|yxt|xty|xyt|tx|xt|ty|yt|t"
static const char *const axes_words[] = {"tyx", "txy", "ytx", "yxt", "xty", "xyt", "tx", "xt", "ty", "yt", "t"};

#define FRAMES_KEYS                                                                                                                  \
    NUMBER_KEY(film, frame_s, "frame_duration", "s", "0 s", 0, INFINITY, "time of a frame; 0: one step"),                            \
        NUMBER_KEY(film, range, "range", "", "1", -1e30, 1e30, "value that counts as luminance 1 (255 for 0..255 data)"),            \
        NUMBER_KEY(film, black, "black", "", "0", -1e30, 1e30, "value that counts as luminance 0 (-1 for +-1 data)"),                \
        WORD_KEY(film, axes, "axes", "tyx", AXES_WORDS, "order of the dimensions, slowest first (MATLAB: its own order reversed)"),  \
        FLAG_KEY(film, loop, "loop", "false", "begin again after the last frame"), SCREEN_KEYS(film, "pixels")

const key_spec movie_keys[MOVIE_NKEY] = {
    PATH_KEY(film, file, "file", "any movie that libavformat reads"),
    NUMBER_KEY(film, rate_hz, "fps", "Hz", "0 Hz", 0, INFINITY, "frames per second; 0: as the file says"),
    NUMBER_KEY(film, start_s, "start", "s", "0 s", 0, INFINITY, "time in the movie at which it begins"),
    FLAG_KEY(film, loop, "loop", "false", "begin again (at start) after the end"),
    SCREEN_KEYS(film, "field"),
};
const key_spec image_keys[IMAGE_NKEY] = {PATH_KEY(film, file, "file", "PNG, or any that libav reads"), SCREEN_KEYS(film, "field")};
const key_spec dataset_keys[DATASET_NKEY] = {
    PATH_KEY(film, file, "file", "FILE.h5:/NAME (also .mat v7.3), FILE.npy, or text with one frame a line"), FRAMES_KEYS};
const key_spec npy_keys[NPY_NKEY] = {PATH_KEY(film, file, "file", "NumPy array"), FRAMES_KEYS};

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
    memory_free(f->block);
    movie_close(f->movie);
    dataset_close(f->data);
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

const stimulus_type type_movie = {"movie", sizeof(film), movie_keys, MOVIE_NKEY, open_movie, film_close, movie_picture, NULL, movie_draw, KEEP_ALL,
                                   DRAW_ONE};

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

const stimulus_type type_image = {"image", sizeof(film), image_keys, IMAGE_NKEY, open_image, film_close, image_picture, NULL, image_draw, KEEP_HELD,
                                   DRAW_ONE};

/* --- arrays -------------------------------------------------------------------------------------------------------------- */
/* Frames are read many at a time, more of them when time is not the slowest dimension and a frame lies all over the file. */
enum { BLOCK_NUMBERS = 1 << 16, BLOCK_NUMBERS_SCATTERED = 1 << 20 };

/* Where the dimensions are: of letter t, y or x, -1: none. */
static int dimension_of(const film *f, char letter)
{
    const char *at = strchr(axes_words[f->axes], letter);
    return at ? (int)(at - axes_words[f->axes]) : -1;
}

static bool read_block(film *f, int64_t frame)
{
    int time = dimension_of(f, 't');
    dataset_info info = dataset_look(f->data);
    int64_t start[DATASET_MAX_RANK] = {0};
    f->block0 = frame / f->block_frames * f->block_frames;
    f->nblock = 0;
    start[time] = f->block0;
    info.dims[time] = f->nframe - f->block0 < f->block_frames ? f->nframe - f->block0 : f->block_frames;
    if (!dataset_read(f->data, start, info.dims, f->block)) {
        return false;
    }
    f->nblock = info.dims[time];
    return true;
}

/* Numbers as stored to luminance, rows first; NaN and infinity are found here. */
static bool array_fetch(film *f, int64_t frame, real *luma, char *why, size_t size)
{
    if ((frame < f->block0 || frame >= f->block0 + f->nblock) && !read_block(f, frame)) {
        snprintf(why, size, "cannot be read");
        return false;
    }
    dataset_info info = dataset_look(f->data);
    int64_t stride[DATASET_MAX_RANK + 1] = {0}, step = 1; /* the last is that of a dimension that is not there */
    info.dims[dimension_of(f, 't')] = f->nblock;
    for (int i = info.rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= info.dims[i];
    }
    int in_y = dimension_of(f, 'y'), in_x = dimension_of(f, 'x');
    int64_t step_y = stride[in_y < 0 ? DATASET_MAX_RANK : in_y], step_x = stride[in_x < 0 ? DATASET_MAX_RANK : in_x];
    const double *stored = f->block + (frame - f->block0) * stride[dimension_of(f, 't')];
    double scale = 1 / (f->range - f->black);
    for (int y = 0; y < f->ny; y++) {
        for (int x = 0; x < f->nx; x++) {
            double v = stored[y * step_y + x * step_x];
            if (!isfinite(v)) {
                snprintf(why, size, "row %d, column %d is %f", y, x, v);
                return false;
            }
            luma[(size_t)y * (size_t)f->nx + (size_t)x] = (real)((v - f->black) * scale);
        }
    }
    return true;
}

static bool array_ready(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    dataset_info info = dataset_look(f->data);
    const char *axes = axes_words[f->axes];
    bool good = info.rank == (int)strlen(axes) && info.count > 0;
    for (int i = 0; good && i < info.rank; i++) {
        good = axes[i] == 't' || info.dims[i] <= 1 << 20;
    }
    if (!good) {
        input_problem(in, input_child(at, "file"), "%s has %d dimensions and %lld numbers; axes: %s asks for %d, none empty", f->file, info.rank,
                      (long long)info.count, axes, (int)strlen(axes));
        return false;
    }
    if (f->range == f->black) {
        input_problem(in, at, "range and black are both %g; give the values of luminance 1 and 0", f->range);
        return false;
    }
    int time = dimension_of(f, 't'), y = dimension_of(f, 'y'), x = dimension_of(f, 'x');
    f->nframe = info.dims[time];
    f->ny = y < 0 ? 1 : (int)info.dims[y];
    f->nx = x < 0 ? 1 : (int)info.dims[x];
    int64_t one = (int64_t)f->ny * f->nx, many = (time == 0 ? BLOCK_NUMBERS : BLOCK_NUMBERS_SCATTERED) / one;
    f->block_frames = many < 1 ? 1 : many < f->nframe ? many : f->nframe;
    f->block = MEMORY_NEW(double, f->block_frames *one);
    f->read = array_fetch;
    f->frame_s = f->frame_s > 0 ? f->frame_s : p->where.step_s;
    p->natural_nstep = f->loop ? INT64_MAX : (int64_t)ceil((double)f->nframe * f->frame_s / p->where.step_s - 1e-6);
    snprintf(p->note, sizeof p->note, "%.80s, %d x %d, %lld frames of %g s", f->file, f->nx, f->ny, (long long)f->nframe, f->frame_s);
    return film_ready(f, p, in, at);
}

static bool open_array(stimulus_part *p, input *in, const input_node *at)
{
    film *f = p->own;
    char why[512];
    f->data = dataset_open(f->file, why, sizeof why);
    if (!f->data) {
        input_problem(in, input_child(at, "file"), "%s", why);
        return false;
    }
    return array_ready(p, in, at);
}

static bool open_npy(stimulus_part *p, input *in, const input_node *at)
{
    const film *f = p->own;
    const char *why;
    npy trial;
    if (!npy_open(&trial, f->file, &why)) {
        input_problem(in, input_child(at, "file"), "%s %s", f->file, why);
        return false;
    }
    npy_close(&trial);
    return open_array(p, in, at);
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
    "dataset", sizeof(film), dataset_keys, DATASET_NKEY, open_array, film_close, array_picture, NULL, array_draw, KEEP_ALL, DRAW_ONE};
const stimulus_type type_npy = {"npy", sizeof(film), npy_keys, NPY_NKEY, open_npy, film_close, array_picture, NULL, array_draw, KEEP_ALL, DRAW_ONE};

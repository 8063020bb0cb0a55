/* image.c - PNG is read whole by libpng; a first frame of libav does for the rest. */
#include "input/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>

#include "base/memory.h"
#include "input/movie.h"

typedef struct png_trouble {
    char *why;
    size_t size;
} png_trouble;

static void png_failed(png_structp png, png_const_charp message)
{
    png_trouble *t = png_get_error_ptr(png);
    snprintf(t->why, t->size, "damaged or truncated PNG (%s)", message);
    png_longjmp(png, 1);
}

static void png_warned(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static real sample(const png_byte *at, int depth)
{
    return depth == 16 ? (real)(at[0] << 8 | at[1]) / 65535 : (real)at[0] / 255;
}

static void take_rows(png_structp png, png_infop info, image *picture)
{
    int depth = png_get_bit_depth(png, info), nchan = png_get_channels(png, info), bytes = depth / 8;
    png_bytepp rows = png_get_rows(png, info);
    picture->ny = (int)png_get_image_height(png, info);
    picture->nx = (int)png_get_image_width(png, info);
    picture->luma = MEMORY_NEW(real, (size_t)picture->ny * (size_t)picture->nx);
    for (int y = 0; y < picture->ny; y++) {
        for (int x = 0; x < picture->nx; x++) {
            const png_byte *at = rows[y] + (size_t)x * (size_t)(nchan * bytes);
            real v = sample(at, depth);
            if (nchan >= 3) {
                v = 0.2126f * v + 0.7152f * sample(at + bytes, depth) + 0.0722f * sample(at + 2 * bytes, depth);
            }
            picture->luma[(size_t)y * (size_t)picture->nx + (size_t)x] = v;
        }
    }
}

static bool read_png(FILE *f, image *picture, char *why, size_t size)
{
    png_trouble trouble = {why, size};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &trouble, png_failed, png_warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        snprintf(why, size, "libpng cannot start");
        png_destroy_read_struct(&png, NULL, NULL);
        return false;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return false;
    }
    png_init_io(png, f);
    png_read_png(png, info, PNG_TRANSFORM_EXPAND | PNG_TRANSFORM_STRIP_ALPHA, NULL);
    take_rows(png, info, picture);
    png_destroy_read_struct(&png, &info, NULL);
    return true;
}

bool image_read(const char *path, image *picture, char *why, size_t size)
{
    *picture = (image){0};
    FILE *f = fopen(path, "rb");
    if (!f) {
        snprintf(why, size, "cannot be opened");
        return false;
    }
    png_byte head[8] = {0};
    bool is_png = fread(head, 1, 8, f) == 8 && png_sig_cmp(head, 0, 8) == 0;
    rewind(f);
    bool done = is_png && read_png(f, picture, why, size);
    fclose(f);
    if (is_png) {
        return done;
    }
    movie *m = movie_open(path, why, size);
    if (!m) {
        return false;
    }
    movie_info i = movie_look(m);
    picture->ny = i.ny;
    picture->nx = i.nx;
    picture->luma = MEMORY_NEW(real, (size_t)i.ny * (size_t)i.nx);
    done = movie_read(m, 0, picture->luma, why, size);
    movie_close(m);
    if (!done) {
        memory_free(picture->luma);
        picture->luma = NULL;
    }
    return done;
}

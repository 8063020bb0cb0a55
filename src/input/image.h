/* image.h - one picture as luma: 0.2126 R + 0.7152 G + 0.0722 B of the stored (gamma-encoded) values, 0 to 1. */
#ifndef IMAGE_H
#define IMAGE_H
#include "base/base.h"

typedef struct image {
    int ny, nx;
    real *luma; /* [ny][nx], first row on top; memory_free it */
} image;

/* PNG by libpng (transparency is ignored), other formats by libav.  False: `why` says what is wrong. */
bool image_read(const char *path, image *picture, char *why, size_t size);
#endif

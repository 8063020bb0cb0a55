/* movie.h - any movie that libavformat reads, by frame number, in any order, as Rec.709 luma. */
#ifndef MOVIE_H
#define MOVIE_H
#include "base/base.h"

typedef struct movie movie; /* opaque */

typedef struct movie_info {
    int ny, nx;
    int64_t nframe;
    double duration_s;    /* from the first frame's time to the end of the last */
    double rate_hz;       /* mean */
    const char *codec, *pixels;
    bool full_range;
    const char *luma;     /* how luma is made: of the Y plane, or by way of RGB */
    size_t bytes_decoder; /* what decoding will allocate, about */
} movie_info;

/* Reads through the file once, to know every frame's time and whether the file is whole.  NULL: `why` says what is wrong
 * (not there, no video in it, truncated at which frame). */
movie *movie_open(const char *path, char *why, size_t size);
void movie_close(movie *m);
movie_info movie_look(const movie *m);
int64_t movie_frame_at(const movie *m, double t_s); /* the frame shown t_s after the first; the last one after the end */

/* Luma of frame i, 0 black to 1 white (range of the file taken into account) into luma[ny][nx], first row on top.
 * False: it cannot be decoded; `why` says so. */
bool movie_read(movie *m, int64_t i, real *luma, char *why, size_t size);
#endif

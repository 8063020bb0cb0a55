/* stimulus.h - what the eye sees: a pure function of absolute step and place, so that any tile, chunk or rank that asks gets
 * the same bits.  Luminance is in units of the display's range [0, 1]: 0 black, 0.5 mean grey, 1 white. */
#ifndef STIMULUS_H
#define STIMULUS_H
#include "input/input.h"

typedef struct stimulus stimulus; /* opaque */

/* Where and when it is shown. */
typedef struct stimulus_frame {
    int ny, nx;              /* field, pixels; degrees are measured from its centre, x to the right, y up     */
    double pixels_per_deg;
    double step_s;           /* duration of one step                                                         */
    int64_t nstep;           /* steps of the run (0: as many as the stimulus has)                            */
    uint64_t seed;           /* of the run; a stimulus may have its own                                      */
} stimulus_frame;

/* Checks the `stimulus` section (type: movie | image | dataset | npy | grating | ...; masks; edge rule for what lies outside a movie)
 * and opens its files; problems go on the input's list and NULL is returned.  A list of stimuli with durations is shown one after another. */
stimulus *stimulus_open(input *in, const input_node *section, const stimulus_frame *where);
void stimulus_close(stimulus *s);
int64_t stimulus_nstep(const stimulus *s); /* INT64_MAX when it never ends */
const char *stimulus_describe(const stimulus *s); /* one line: source, size, resampling in space and time, as used */

/* Says what this rank will ask for: rectangles within this one, `chunk_steps` at a time.  A promise that saves work and memory, no more: a
 * movie's frame is then resampled once, for all of it.  Without it, what is asked for is found out by and by. */
void stimulus_expect(stimulus *s, int y0, int x0, int ny, int nx, int chunk_steps);
/* What rendering will allocate, bytes; call stimulus_expect before.  A frame of the source, a decoder's frames, and as many pictures of the
 * rectangle expected as a chunk shows. */
size_t stimulus_bytes(const stimulus *s);

/* Frames [step0, step0+nt) of the rectangle whose first pixel is (y0, x0) of the field; it may reach outside the field.
 * frames[t*frame_stride + y*row_stride + x].  Not collective; one thread of a rank at a time calls it, and what allows it is drawn over threads.
 * A frame that cannot be decoded, or has NaN, is black; see stimulus_broken. */
void stimulus_render(stimulus *s, int64_t step0, int nt, int y0, int x0, int ny, int nx, real *frames, int64_t frame_stride, int64_t row_stride);
/* Several rectangles with one call: more for the threads to share. */
typedef struct stimulus_rect {
    int y0, x0, ny, nx;
    real *frames;
    int64_t frame_stride, row_stride;
} stimulus_rect;
void stimulus_render_all(stimulus *s, int64_t step0, int nt, const stimulus_rect *rect, int nrect);
/* What is wrong with a frame rendered so far: "film.h5:/x: frame 9: row 3, column 3 is nan; ..."; NULL: nothing.  Not collective. */
const char *stimulus_broken(const stimulus *s);

extern const help_topic stimulus_topics[]; /* "stimulus" and one for each type */
extern const int stimulus_ntopic;
#endif

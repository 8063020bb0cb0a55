/* screen.c - a flat picture hung up in the field and resampled to its pixels. */
#include <string.h>

#include "base/memory.h"
#include "base/units.h"
#include "input/stimulus_own.h"

/* Position on one axis of n field pixels: source position of pixel 0 and source pixels per pixel. */
static void place(double source_n, int n, double pixels_per_deg, double size_deg, double centre_deg, double *first, double *pitch)
{
    *pitch = source_n / (size_deg * pixels_per_deg);
    *first = (-0.5 * (n - 1) - centre_deg * pixels_per_deg) * *pitch + 0.5 * (source_n - 1);
}

bool screen_open(screen *s, const stimulus_part *p, int ny, int nx, input *in, const input_node *at)
{
    double ppd = p->where.pixels_per_deg, width = nx / ppd, height = ny / ppd;
    s->ny = ny;
    s->nx = nx;
    if (s->nposition == 1) {
        input_problem(in, at, "position has one number; give [x deg, y deg]");
        return false;
    }
    s->replicate = strcmp(s->outside, "replicate") == 0;
    const char *wrong = s->replicate ? NULL : units_read(s->outside, "", &s->level);
    if (wrong || s->level < 0 || s->level > 1) {
        input_problem(in, at, "outside is '%s'; give replicate, or a luminance from 0 to 1", s->outside);
        return false;
    }
    if (s->nsize > 0) {
        width = s->size_deg[0];
        height = s->nsize > 1 ? s->size_deg[1] : width * ny / nx;
    } else if (s->fit == FIT_FIELD) {
        double scale = fmax((double)p->where.nx / nx, (double)p->where.ny / ny);
        width *= scale;
        height *= scale;
    }
    place(nx, p->where.nx, ppd, width, s->position_deg[0], &s->first_x, &s->pitch_x);
    place(ny, p->where.ny, ppd, height, -s->position_deg[1], &s->first_y, &s->pitch_y);
    if (s->nsize == 0 && s->fit == FIT_PIXELS) { /* pixel on pixel, whatever the parity of both */
        s->pitch_x = s->pitch_y = 1;
        s->first_x = floor(s->first_x + 1e-9);
        s->first_y = floor(s->first_y + 1e-9);
    }
    return true;
}

void screen_close(screen *s)
{
    memory_free(s->work);
}

/* Source samples that make one field pixel: the n from `first` with `weight`; the weights' sum is the share that lies on the picture. */
typedef struct taps {
    int64_t first;
    int n;
    double share;
} taps;

static int most_taps(double pitch)
{
    return pitch > 1 ? (int)ceil(pitch) + 2 : 2;
}

static taps make_taps(const screen *s, double centre, double pitch, int64_t n, double *weight)
{
    double whole = floor(centre + 0.5);
    centre = fabs(centre - whole) < 1e-9 ? whole : centre;
    taps t = {0};
    if (pitch <= 1) { /* bilinear; up to half a sample beyond the edge still is picture */
        bool on = s->replicate || (centre >= -0.5 && centre <= (double)n - 0.5);
        double at = fmin(fmax(centre, 0), (double)n - 1);
        t.first = (int64_t)at < n - 1 ? (int64_t)at : n - 1;
        t.n = t.first < n - 1 ? 2 : 1;
        weight[0] = on ? 1 - (at - (double)t.first) : 0;
        weight[1] = on ? at - (double)t.first : 0;
        t.share = on ? 1 : 0;
        return t;
    }
    double low = centre - pitch / 2 + 0.5, high = centre + pitch / 2 + 0.5; /* sample i covers [i, i+1) */
    double from = fmin(fmax(low, 0), (double)n), to = fmin(fmax(high, 0), (double)n);
    t.first = (int64_t)fmin(floor(from), (double)n - 1);
    t.n = (int)((int64_t)fmin(ceil(to), (double)n) - t.first);
    t.n = t.n < 1 ? 1 : t.n;
    for (int i = 0; i < t.n; i++) {
        double left = fmax(from, (double)(t.first + i)), right = fmin(to, (double)(t.first + i + 1));
        weight[i] = fmax(0, right - left) / pitch;
    }
    t.share = (to - from) / pitch;
    if (s->replicate) {
        weight[0] += (from - low) / pitch;
        weight[t.n - 1] += (high - to) / pitch;
        t.share = 1;
    }
    return t;
}

void screen_draw(screen *s, const stimulus_part *p, const real *source, double eye_x_deg, double eye_y_deg, const canvas *c)
{
    int nwx = most_taps(s->pitch_x), nwy = most_taps(s->pitch_y);
    double ppd = p->where.pixels_per_deg, first_x = s->first_x + eye_x_deg * ppd * s->pitch_x, first_y = s->first_y - eye_y_deg * ppd * s->pitch_y;
    size_t need = (size_t)s->nx + (size_t)nwy + (size_t)c->nx * ((size_t)nwx + 3);
    if (s->nwork < need) {
        s->work = memory_grow(s->work, need, sizeof(double));
        s->nwork = need;
    }
    double *line = s->work, *wy = line + s->nx, *wx = wy + nwy, *tx = wx + (size_t)c->nx * (size_t)nwx;
    int64_t from = s->nx, to = 0;
    for (int x = 0; x < c->nx; x++) {
        taps t = make_taps(s, first_x + (double)((int64_t)c->x0 + x) * s->pitch_x, s->pitch_x, s->nx, wx + (size_t)x * (size_t)nwx);
        tx[3 * x] = (double)t.first;
        tx[3 * x + 1] = t.n;
        tx[3 * x + 2] = t.share;
        from = t.first < from ? t.first : from;
        to = t.first + t.n > to ? t.first + t.n : to;
    }
    for (int y = 0; y < c->ny; y++) {
        taps ty = make_taps(s, first_y + (double)((int64_t)c->y0 + y) * s->pitch_y, s->pitch_y, s->ny, wy);
        for (int64_t i = from; i < to; i++) {
            line[i] = 0;
        }
        for (int j = 0; j < ty.n; j++) {
            const real *row = source + (ty.first + j) * s->nx;
            for (int64_t i = from; i < to; i++) {
                line[i] += wy[j] * (double)row[i];
            }
        }
        for (int x = 0; x < c->nx; x++) {
            const double *at = line + (int64_t)tx[3 * x], *w = wx + (size_t)x * (size_t)nwx;
            double sum = (1 - tx[3 * x + 2] * ty.share) * s->level;
            for (int i = 0; i < (int)tx[3 * x + 1]; i++) {
                sum += w[i] * at[i];
            }
            c->out[y * c->row_stride + x] = (real)sum;
        }
    }
}

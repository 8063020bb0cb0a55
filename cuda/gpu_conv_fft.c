/* gpu_conv_fft.c - convolution by cuFFT: transforms of many planes at a time, and what passes the frequency domain together.
 *
 * All transforms of a plan are batches of one size, which is set by the transform's shape (about a million numbers: a batch and its spectra stay in
 * the device's cache between its kernels).  The last batch of a call is filled up with planes that nobody reads.  So a plane always goes through the
 * same code, and its bits do not depend on the planes it came with.  Spectra of up to FRAMES frames of as many leaves as fit BUDGET are held at once;
 * they, the batch and cuFFT's own memory stand in the backend's working memory, so that plans need not share any. */
#include <cufft.h>

#include "base/error.h"
#include "base/memory.h"
#include "gpu_conv.h"

#ifdef CHIASM_DOUBLE
#define TRANSFORM_FORWARD CUFFT_D2Z
#define TRANSFORM_BACKWARD CUFFT_Z2D
#else
#define TRANSFORM_FORWARD CUFFT_R2C
#define TRANSFORM_BACKWARD CUFFT_C2R
#endif

enum { BATCH_REALS = 1 << 20, MOST_TOGETHER = 64, FRAMES = 32, FEWEST_FRAMES = 4, BUDGET = 512 << 20 };

struct gpu_fft {
    fft_shape s;
    cufftHandle forward, backward;
    size_t work_bytes;   /* of cuFFT */
    int nplane;          /* of the kernel: nchan_out * nin * kt */
    fft_complex *kernel; /* device: [nchan_out][nin][kt] spectra, 1 / (ny nx) in them */
    bool borrowed;       /* the transforms are another plan's */
};

static void check(cufftResult r, const char *call, const char *file, int line)
{
    if (r != CUFFT_SUCCESS) {
        error_fatal(EXIT_NO_DEVICE, "cuFFT: %s at %s:%d: error %d", call, file, line, (int)r);
    }
}
#define CHECK(call) check(call, #call, __FILE__, __LINE__)

/* --- transforms ------------------------------------------------------------------------------------------------------------------- */
static cufftHandle make_transform(backend *be, const fft_shape *s, cufftType type, size_t *bytes)
{
    cufftHandle h;
    int n[2] = {s->ny, s->nx}, frame = s->ny * s->nx, spectrum = (int)s->nfrequency;
    bool forward = type == TRANSFORM_FORWARD;
    size_t need = 0;
    CHECK(cufftCreate(&h));
    CHECK(cufftSetAutoAllocation(h, 0));
    CHECK(cufftMakePlanMany(h, 2, n, NULL, 1, forward ? frame : spectrum, NULL, 1, forward ? spectrum : frame, type, s->together, &need));
    CHECK(cufftSetStream(h, gpu_stream(be)));
    *bytes = need > *bytes ? need : *bytes;
    return h;
}

static void run_forward(const gpu_fft *f, real *frames, fft_complex *spectra)
{
#ifdef CHIASM_DOUBLE
    CHECK(cufftExecD2Z(f->forward, frames, (cufftDoubleComplex *)spectra));
#else
    CHECK(cufftExecR2C(f->forward, frames, (cufftComplex *)spectra));
#endif
}

static void run_backward(const gpu_fft *f, fft_complex *spectra, real *frames)
{
#ifdef CHIASM_DOUBLE
    CHECK(cufftExecZ2D(f->backward, (cufftDoubleComplex *)spectra, frames));
#else
    CHECK(cufftExecC2R(f->backward, (cufftComplex *)spectra, frames));
#endif
}

/* --- working memory of a call: cuFFT's, a batch of frames, then what is carved from it --------------------------------------------------- */
typedef struct work {
    real *frames;
    char *next;
} work;
enum { ALIGN = 256 };

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t spectra_bytes(const gpu_fft *f, int64_t nplane) /* whole batches */
{
    int64_t n = (nplane + f->s.together - 1) / f->s.together * f->s.together;
    return rounded((size_t)(n * f->s.nfrequency) * sizeof(fft_complex));
}

static work get_work(backend *be, const gpu_fft *f, size_t bytes)
{
    size_t frames = rounded((size_t)f->s.together * (size_t)f->s.ny * (size_t)f->s.nx * sizeof(real)), own = rounded(f->work_bytes);
    char *p = gpu_scratch(be, own + frames + bytes);
    CHECK(cufftSetWorkArea(f->forward, p));
    CHECK(cufftSetWorkArea(f->backward, p));
    return (work){(real *)(p + own), p + own + frames};
}

static void *carve(work *w, size_t bytes)
{
    void *p = w->next;
    w->next += rounded(bytes);
    return p;
}

/* Leaves that go together when one needs so many bytes. */
static int leaves_for(double bytes, int nleaf)
{
    double n = BUDGET / bytes;
    return n < 1 ? 1 : n < nleaf ? (int)n : nleaf;
}

static fft_place input_place(const gpu_fft *f)
{
    const conv_shape *c = &f->s.c;
    return (fft_place){c->before_y, c->before_x, c->ky - 1, c->kx - 1};
}
static const fft_place output_place; /* the tile itself */

static int batch(const gpu_fft *f, int64_t first, int64_t nplane)
{
    return (int)(nplane - first < f->s.together ? nplane - first : f->s.together);
}

static void spectra_of(backend *be, const gpu_fft *f, const work *w, fft_place place, int nt, view x, fft_complex *to)
{
    int64_t nplane = (int64_t)x.nleaf * nt * x.nchan;
    for (int64_t p = 0; p < nplane; p += f->s.together) {
        gpu_fft_take(be, &f->s, place, p, batch(f, p, nplane), nt, x, w->frames);
        run_forward(f, w->frames, to + p * f->s.nfrequency);
    }
}

/* --- plans ---------------------------------------------------------------------------------------------------------------------------- */
gpu_fft *gpu_fft_create(backend *be, const conv_shape *c, int fft_ny, int fft_nx, const real *kernel, const gpu_fft *like)
{
    gpu_fft *f = MEMORY_NEW(gpu_fft, 1);
    if (like) {
        *f = *like;
        f->borrowed = true;
    } else {
        int64_t n = (int64_t)fft_ny * fft_nx, frequencies = (int64_t)fft_ny * (fft_nx / 2 + 1), many = BATCH_REALS / n;
        f->s = (fft_shape){*c, fft_ny, fft_nx, frequencies, 2 * ((frequencies + FFT_BLOCK - 1) / FFT_BLOCK) * FFT_BLOCK,
                           many < 1 ? 1 : many < MOST_TOGETHER ? (int)many : MOST_TOGETHER};
        f->nplane = c->nchan_out * c->nin * c->kt;
        f->forward = make_transform(be, &f->s, TRANSFORM_FORWARD, &f->work_bytes);
        f->backward = make_transform(be, &f->s, TRANSFORM_BACKWARD, &f->work_bytes);
    }
    f->kernel = gpu_malloc(be, spectra_bytes(f, f->nplane));
    gpu_fft_set(be, f, kernel);
    return f;
}

void gpu_fft_destroy(backend *be, gpu_fft *f)
{
    if (f) {
        gpu_free(be, f->kernel);
        if (!f->borrowed) {
            CHECK(cufftDestroy(f->forward));
            CHECK(cufftDestroy(f->backward));
        }
        memory_free(f);
    }
}

void gpu_fft_set(backend *be, gpu_fft *f, const real *kernel)
{
    int64_t taps = (int64_t)f->s.c.ky * f->s.c.kx;
    size_t bytes = (size_t)(f->nplane * taps) * sizeof(real);
    work w = get_work(be, f, rounded(bytes));
    real *raw = carve(&w, bytes);
    gpu_put(be, raw, kernel, bytes);
    for (int64_t p = 0; p < f->nplane; p += f->s.together) {
        gpu_fft_take_taps(be, &f->s, batch(f, p, f->nplane), raw + p * taps, w.frames);
        run_forward(f, w.frames, f->kernel + p * f->s.nfrequency);
    }
}

/* --- forward ------------------------------------------------------------------------------------------------------------------------------ */
/* Some leaves, some frames. */
static void forward_group(backend *be, const gpu_fft *f, int nt, view x, real *state, int64_t state_stride, view y, const real *bias, real *tape,
                          int64_t tape_stride)
{
    const conv_shape *c = &f->s.c;
    int64_t nin = (int64_t)x.nleaf * nt * c->nchan_in, nout = (int64_t)x.nleaf * nt * c->nchan_out;
    work w = get_work(be, f, spectra_bytes(f, nin) + spectra_bytes(f, nout));
    fft_complex *in = carve(&w, spectra_bytes(f, nin)), *out = carve(&w, spectra_bytes(f, nout));
    spectra_of(be, f, &w, input_place(f), nt, x, in);
    gpu_fft_multiply(be, &f->s, x.nleaf, nt, f->kernel, in, state, state_stride, out);
    gpu_fft_keep(be, &f->s, x.nleaf, nt, in, state, state_stride, tape, tape_stride);
    for (int64_t p = 0; p < nout; p += f->s.together) {
        run_backward(f, out + p * f->s.nfrequency, w.frames);
        gpu_fft_give(be, &f->s, output_place, p, batch(f, p, nout), nt, w.frames, y, bias);
    }
}

void gpu_fft_forward(backend *be, const gpu_fft *f, int nt, view x, real *state, int64_t state_stride, view y, const real *bias, real *tape,
                     int64_t tape_stride)
{
    const conv_shape *c = &f->s.c;
    double one = (double)(c->nchan_in + c->nchan_out) * (double)f->s.nfrequency * sizeof(fft_complex);
    int frames = nt < FRAMES ? nt : FRAMES;
    while (frames > FEWEST_FRAMES && frames * one > BUDGET) {
        frames = (frames + 1) / 2;
    }
    int together = leaves_for(frames * one, x.nleaf);
    for (int l = 0; l < x.nleaf; l += together) {
        int nleaf = x.nleaf - l < together ? x.nleaf - l : together;
        for (int t = 0; t < nt; t += frames) {
            int n = nt - t < frames ? nt - t : frames;
            real *notes = tape ? tape + l * tape_stride + t * c->nchan_in * f->s.spectrum : NULL;
            forward_group(be, f, n, view_at_frame(view_of_leaf(x, l, nleaf), t), state + l * state_stride, state_stride,
                          view_at_frame(view_of_leaf(y, l, nleaf), t), bias, notes, tape_stride);
        }
    }
}

void gpu_fft_start(backend *be, const gpu_fft *f, view x_first, real *state, int64_t state_stride)
{
    int nchan = f->s.c.nchan_in, together = leaves_for((double)nchan * (double)f->s.nfrequency * sizeof(fft_complex), x_first.nleaf);
    for (int l = 0; l < x_first.nleaf; l += together) {
        int nleaf = x_first.nleaf - l < together ? x_first.nleaf - l : together;
        work w = get_work(be, f, spectra_bytes(f, (int64_t)nleaf * nchan));
        fft_complex *in = carve(&w, spectra_bytes(f, (int64_t)nleaf * nchan));
        spectra_of(be, f, &w, input_place(f), 1, view_of_leaf(x_first, l, nleaf), in);
        gpu_fft_fill_state(be, &f->s, nleaf, in, state + l * state_stride, state_stride);
    }
}

/* --- backward: the spectra of all of a chunk's gy are held, as its tape is ------------------------------------------------------------------- */
typedef struct chunk {
    int nt;
    const real *state, *tape;
    real *g_state;
    int64_t state_stride, tape_stride, g_state_stride;
    double *g_kernel; /* host; NULL: not wanted */
    int64_t g_kernel_stride;
} chunk;

static void back_by_kernel(backend *be, const gpu_fft *f, const work *w, const chunk *c, int nleaf, const fft_complex *out, fft_complex *planes)
{
    int64_t nplane = (int64_t)nleaf * f->nplane, taps = (int64_t)f->s.c.ky * f->s.c.kx;
    double *result = gpu_result(be, nleaf, 1, f->nplane * taps, c->g_kernel, c->g_kernel_stride, true);
    gpu_fft_correlate(be, &f->s, nleaf, c->nt, c->state, c->state_stride, c->tape, c->tape_stride, out, planes);
    for (int64_t p = 0; p < nplane; p += f->s.together) {
        run_backward(f, planes + p * f->s.nfrequency, w->frames);
        gpu_fft_give_taps(be, &f->s, p, batch(f, p, nplane), w->frames, result);
    }
}

static void back_by_input(backend *be, const gpu_fft *f, work *w, const chunk *c, const fft_complex *out, fft_complex *planes, view gx)
{
    int64_t nplane = (int64_t)gx.nleaf * c->nt * gx.nchan, nstate = f->s.spectrum * (f->s.c.kt - 1) * f->s.c.nchan_in;
    real *before = carve(w, (size_t)(gx.nleaf * nstate) * sizeof(real));
    gpu_fft_copy_state(be, &f->s, gx.nleaf, c->g_state, c->g_state_stride, before, nstate);
    gpu_fft_multiply_back(be, &f->s, gx.nleaf, c->nt, f->kernel, out, before, planes, c->g_state, c->g_state_stride);
    for (int64_t p = 0; p < nplane; p += f->s.together) {
        run_backward(f, planes + p * f->s.nfrequency, w->frames);
        gpu_fft_give_add(be, &f->s, input_place(f), p, batch(f, p, nplane), c->nt, w->frames, gx);
    }
}

static void back_group(backend *be, const gpu_fft *f, const chunk *c, view gy, view gx)
{
    const conv_shape *s = &f->s.c;
    int nleaf = gy.nleaf;
    int64_t nout = (int64_t)nleaf * c->nt * s->nchan_out, nin = gx.at ? (int64_t)nleaf * c->nt * s->nchan_in : 0;
    int64_t nkernel = c->g_kernel ? (int64_t)nleaf * f->nplane : 0, nplane = nin > nkernel ? nin : nkernel;
    size_t before = rounded((size_t)(nleaf * f->s.spectrum * (s->kt - 1) * s->nchan_in) * sizeof(real));
    work w = get_work(be, f, spectra_bytes(f, nout) + spectra_bytes(f, nplane) + (gx.at ? before : 0));
    fft_complex *out = carve(&w, spectra_bytes(f, nout)), *planes = carve(&w, spectra_bytes(f, nplane));
    spectra_of(be, f, &w, output_place, c->nt, gy, out);
    if (c->g_kernel) {
        back_by_kernel(be, f, &w, c, nleaf, out, planes);
    }
    if (gx.at) {
        back_by_input(be, f, &w, c, out, planes, gx);
    } else {
        gpu_fft_zero_state(be, &f->s, nleaf, c->g_state, c->g_state_stride);
    }
}

void gpu_fft_back(backend *be, const gpu_fft *f, int nt, const real *state, int64_t state_stride, const real *tape, int64_t tape_stride, view gy,
                  real *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride)
{
    const conv_shape *c = &f->s.c;
    ASSERT(tape || !g_kernel);
    double frames = (double)nt * (c->nchan_in + c->nchan_out) + (double)(c->kt - 1) * c->nchan_in + (g_kernel ? f->nplane : 0);
    int together = leaves_for(frames * (double)f->s.nfrequency * sizeof(fft_complex), gy.nleaf);
    for (int l = 0; l < gy.nleaf; l += together) {
        int nleaf = gy.nleaf - l < together ? gy.nleaf - l : together;
        chunk part = {nt, state + l * state_stride, tape ? tape + l * tape_stride : NULL, g_state + l * g_state_stride, state_stride, tape_stride,
                      g_state_stride, g_kernel ? g_kernel + l * g_kernel_stride : NULL, g_kernel_stride};
        back_group(be, f, &part, view_of_leaf(gy, l, nleaf), gx.at ? view_of_leaf(gx, l, nleaf) : gx);
    }
}

/* All frames of the past were one frame. */
void gpu_fft_start_back(backend *be, const gpu_fft *f, int nleaf, const grid_tile *tile, const real *g_state, int64_t g_state_stride, view gx_first,
                        double *g_rest)
{
    int nchan = f->s.c.nchan_in;
    int64_t nplane = (int64_t)nleaf * nchan;
    work w = get_work(be, f, spectra_bytes(f, nplane) + rounded((size_t)nplane * sizeof(double)));
    fft_complex *planes = carve(&w, spectra_bytes(f, nplane));
    double *sums = carve(&w, (size_t)nplane * sizeof(double));
    gpu_fft_sum_state(be, &f->s, nleaf, g_state, g_state_stride, planes);
    for (int64_t p = 0; p < nplane; p += f->s.together) {
        run_backward(f, planes + p * f->s.nfrequency, w.frames);
        if (gx_first.at) {
            gpu_fft_give_add(be, &f->s, input_place(f), p, batch(f, p, nplane), 1, w.frames, gx_first);
        }
        if (g_rest) {
            gpu_fft_sum_planes(be, &f->s, p, batch(f, p, nplane), nleaf, tile, w.frames, sums);
        }
    }
    if (g_rest) {
        gpu_sum_parts(be, nleaf, nchan, 1, sums, gpu_result(be, nleaf, 1, 1, g_rest, 1, true));
    }
}

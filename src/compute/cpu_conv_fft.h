/* cpu_conv_fft.h - the frequency-domain convolution among its own files. */
#ifndef CPU_CONV_FFT_H
#define CPU_CONV_FFT_H
#include <fftw3.h>
#include <omp.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_conv.h"
#include "compute/cpu_vec.h"

#ifdef CHIASM_DOUBLE
#define FFTW(name) fftw_##name
#else
#define FFTW(name) fftwf_##name
#endif

enum { PAIR = 2 * CONV_BLOCK }; /* reals of a block of one spectrum */

/* Working memory of one thread. */
typedef struct fft_scratch {
    real *frame;            /* [fft_ny][fft_nx]                                                  */
    FFTW(complex) *half;    /* [fft_ny][nkx] transformed along rows only; large transforms: interleaved */
    FFTW(complex) *interleaved; /* [fft_ny][nkx] as FFTW has it                                  */
    real *in, *out;         /* [block][frames][channel][PAIR] of the frames in flight            */
    real *past_and_new;     /* [kt - 1 + frames][nchan_in][PAIR] of one block                    */
    real *new_and_future;   /* the adjoint's: [frames + kt - 1][nchan_out][PAIR] of one block    */
    real *future;           /* ... [block][kt - 1][nchan_out][PAIR], derivatives of later frames */
    double *g_kernel;       /* ... [block][nchan_out][nchan_in/groups][kt][PAIR]                 */
} fft_scratch;

struct conv_fft {
    conv_desc desc;
    int ny, nx, nkx;        /* transform; frequencies along x                                    */
    int rows;               /* of input that are not zero: tile_ny + ky - 1                      */
    int nblock, frames;     /* frames: in flight, multiple of 4                                  */
    real *kernel;           /* [block][nchan_out][nchan_in/groups][kt][PAIR], 1 / (ny nx) in it  */
    FFTW(plan) whole_forward; /* frame to interleaved: kernels                                   */
    FFTW(plan) rows_forward, columns_forward, columns_backward, rows_backward;
    FFTW(plan) tile_forward, input_backward, whole_backward; /* of the adjoint: rows of the output forward, of the input, or all, backward */
    int nthread;
    fft_scratch *scratch;   /* [nthread] */
    bool borrowed;          /* all but the kernel belongs to another */
};

fft_scratch *conv_fft_scratch(const conv_fft *f); /* of the calling thread */
/* Between FFTW's order and blocks; blocks of one spectrum lie `stride` reals apart. */
void conv_fft_to_blocks(const conv_fft *f, const fft_scratch *s, real *to, int64_t stride);
void conv_fft_from_blocks(const conv_fft *f, fft_scratch *s, const real *from, int64_t stride);
void conv_fft_back_create(conv_fft *f); /* the adjoint's plans and memory */
void conv_fft_back_destroy(conv_fft *f);
#endif

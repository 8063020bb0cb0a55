/* conv.h - the numbers behind conv_desc, for the backends: what each algorithm costs, which one to take, FFT sizes, rank-one terms.  Pure. */
#ifndef CONV_H
#define CONV_H
#include "compute/backend.h"

/* Spectra of real frames: fft_ny * (fft_nx/2 + 1) frequencies in blocks, each block first its real, then its imaginary parts. */
enum { CONV_BLOCK = 64 };      /* frequencies                                        */
enum { CONV_FFT_FRAMES = 32 }; /* frames that pass the frequency domain together      */
static inline int conv_fft_frames(const conv_desc *d) /* a multiple of 4 */
{
    return d->max_nt < CONV_FFT_FRAMES ? (d->max_nt + 3) / 4 * 4 : CONV_FFT_FRAMES;
}
static inline int64_t conv_spectrum_reals(const conv_info *info)
{
    int64_t frequencies = (int64_t)info->fft_ny * (info->fft_nx / 2 + 1);
    return 2 * ((frequencies + CONV_BLOCK - 1) / CONV_BLOCK) * CONV_BLOCK;
}

/* WINDOW: steps that pass together, long blocks where they stay in a cache. */
enum { CONV_WINDOW_LONG = 192, CONV_WINDOW_SHORT = 48 };
int conv_window_steps(const conv_desc *d);
static inline int64_t conv_kernel_reals(const conv_desc *d) /* kernel without bias */
{
    return (int64_t)d->nchan_out * (d->nchan_in / d->groups) * d->kt * d->ky * d->kx;
}

/* Speed of a processor (one core of a CPU) in the inner loops of each algorithm; sets the choice, never the result. */
typedef struct conv_machine {
    double direct_flops, short_flops, separable_flops, spectrum_flops, window_flops; /* sustained FLOP/s; short: DIRECT on very small maps */
    double fft_scale;                                     /* times the built-in FFT table              */
    double bytes_per_s;                                   /* arrays that do not stay in the nearest cache */
    double row_s;                                         /* overhead of one filtered row of pixels     */
    double turn_s;                                        /* WINDOW: to turn one number                 */
} conv_machine;

extern const conv_machine conv_core; /* one core of a CPU: what the choice is made by, so that a plan is the same on every backend */

/* kernel = sum over terms of time[k] * vertical[j] * horizontal[i], term by term of one (output, input) pair. */
typedef struct conv_term {
    int out, in;   /* channels; in counts within the group                 */
    int time;      /* which temporal filter (terms of a pair may share it) */
} conv_term;
typedef struct conv_factors {
    int nterm, ntime;
    conv_term *term;                      /* [nterm], ordered by out, then in, then time */
    double *time, *vertical, *horizontal; /* [ntime][kt], [nterm][ky], [nterm][kx]       */
} conv_factors;
/* Rank-one terms of the whole bank, exact to rounding (1e-13, float 1e-7, of each pair's norm); NULL when a pair needs more than max_term.
 * Memory is the caller's (conv_factors_destroy). */
conv_factors *conv_factor(const conv_desc *d, const real *kernel, int max_term);
void conv_factors_destroy(conv_factors *f); /* NULL is allowed */

/* Pixels read before (above, left) and after an axis of k taps. */
static inline int conv_before(int k)
{
    return (k - 1) - k / 2;
}
static inline int conv_after(int k)
{
    return k / 2;
}

/* nterm, ntime: of the separable form. */
conv_info conv_describe(const conv_desc *d, enum conv_algorithm a, int nterm, int ntime);
/* Estimated time of one frame of one full tile. */
double conv_seconds(const conv_desc *d, const conv_info *info, const conv_machine *m);
/* Follows d->algorithm, or takes the cheapest; *factors is set when that is SEPARABLE, else NULL. */
conv_info conv_choose(const conv_desc *d, const conv_machine *m, const real *kernel, conv_factors **factors);
#endif

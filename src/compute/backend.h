/* backend.h - all that a model may ask of a processor.
 *
 * Contract, the same for every backend:
 *  - One in-order queue.  A call may return before its work is done; the host sees results only after download or sync.
 *  - Outputs are overwritten.  Inputs and outputs do not overlap unless said so.
 *  - No atomics, no sum whose order depends on timing, thread count or number of leaves in the call.
 *  - Arrays are [leaf][time][channel][y][x], x fastest (struct view).  An op does all leaves of its views.  The CPU may be called by
 *    several threads at once, with other leaves each.
 *  - Running out of memory or a device fault is fatal inside the backend. */
#ifndef BACKEND_H
#define BACKEND_H
#include "base/base.h"
#include "cluster/grid.h"

typedef struct backend backend;

/* A window on an array in backend memory: some leaves, from some frame on. */
typedef struct view {
    dreal *at;              /* pixel (0,0) of the tile (inside the halo), channel 0, frame 0, first leaf               */
    const grid_tile *tile;  /* [nleaf] place and true size of each leaf's tile (arrays are padded to one shape)         */
    int nleaf, nchan;
    int halo;               /* pixels around each tile that may be read (filled by a border swap)                     */
    int64_t leaf_stride, frame_stride, chan_stride, row_stride; /* in reals                                            */
    int pad_ny, pad_nx;     /* padded shape of a tile; state planes are [pad_ny][pad_nx]                              */
} view;
/* Cell arrays (populations) are views of tiles with ny = 1, nx = cells of the leaf, halo 0. */

static inline view view_at_frame(view v, int64_t frame) /* frame < 0: history */
{
    v.at += frame * v.frame_stride;
    return v;
}
static inline view view_of_leaf(view v, int first, int n)
{
    v.at += first * v.leaf_stride;
    v.tile += first;
    v.nleaf = n;
    return v;
}

/* --- convolution: y[t][o][y][x] = sum over c, k, j, i of kernel[o][c][k][j][i] x[t-k][c][y + ky/2 - j][x + kx/2 - i] --------------------
 * The kernel IS the impulse response; k >= 0 is the past.  "Same" size: the input's halo supplies the surroundings. */
enum conv_algorithm { CONV_AUTO, CONV_FFT, CONV_SEPARABLE, CONV_DIRECT };
typedef struct conv_desc {
    int nchan_in, nchan_out, groups; /* kernel is [nchan_out][nchan_in/groups][kt][ky][kx]        */
    int kt, ky, kx;
    int tile_ny, tile_nx;            /* padded tile                                                */
    int max_nt;                      /* longest chunk                                              */
    enum conv_algorithm algorithm;   /* AUTO: the cheapest by the cost model                       */
} conv_desc;
typedef struct conv_plan conv_plan;  /* opaque, made by the backend; constant after conv_set_kernel */
typedef struct conv_info {           /* what the plan chose, for --plan, log and benchmarks        */
    enum conv_algorithm algorithm;
    int fft_ny, fft_nx;              /* FFT                                                        */
    int rank;                        /* SEPARABLE: number of rank-one terms                        */
    int64_t nstate;                  /* reals of state per leaf (FFT: ring of spectra of the last kt-1 frames) */
    int hist;                        /* frames of input history read before the chunk (DIRECT, SEPARABLE: kt-1; FFT: 0) */
    int halo_before, halo_after;     /* pixels read before/after the tile: (k-1)-k/2 and k/2; halo needed is their maximum */
    double flop_per_frame, bytes_per_frame;
    double bytes_held, bytes_thread; /* of the plan (kernel, its spectra), and of each thread's working memory besides (CPU) */
} conv_info;

/* --- blur: Gaussian smoothing of each frame ------------------------------------------------------------------------ */
enum blur_method {
    BLUR_GAUSSIAN, /* discrete Gaussian exp(-t) I_n(t), t = sigma^2 (Lindeberg 1990): exact variance at any sigma, and blurs add up exactly */
    BLUR_DERICHE,  /* VirtualRetina's recursive approximation along whole lines */
    BLUR_CONVIS    /* Convis' sampled Gaussian, truncated at 0.001, not renormalised */
};
typedef struct blur_desc {
    enum blur_method method;
    double sigma_px;             /* at the centre of the field; below 0.1 px DERICHE does nothing (as VirtualRetina)       */
    /* sigma grows with eccentricity r: sigma(r) = sigma / s(r), s = 1 for r < fovea_px, 1/(1 + scaling (r - fovea_px)) beyond
     * (VirtualRetina's log-polar scheme); scaling 0: uniform.  r is measured from ((field_ny-1)/2, (field_nx-1)/2). */
    double fovea_px, scaling_per_px;
    int field_ny, field_nx, tile_ny, tile_nx;
} blur_desc;
typedef struct blur_plan blur_plan;
typedef struct blur_info {
    int radius;  /* pixels read beyond the tile; DERICHE: 0, but it needs the whole field in one tile */
    double flop; /* per pixel */
    int64_t table, scratch; /* reals that a plan holds, and that each thread works in (CPU) */
} blur_info;
blur_info blur_look(const blur_desc *); /* pure; for planning */

/* --- recurrences and point functions: see cellmath.h for the lists ------------------------------------------------- */
enum cell_scan { SCAN_LOWPASS, SCAN_HIGHPASS, SCAN_HIGHPASS_DELAYED, SCAN_COUNT };
enum cell_map { MAP_LINEAR, MAP_RECTIFY_VR, MAP_RECTIFY_CONVIS, MAP_CLIP, MAP_COUNT };

/* Contrast gain control (as VirtualRetina 2.2.3): parameters of one step. */
typedef struct gain_par {
    real leak_hz, gain_hz, feedback_hz, dt_s;
    real decay;      /* VirtualRetina: c = exp(-dt/tau_A)                                                    */
    real saturation; /* VirtualRetina: q = u/(1 + u/saturation), u = feedback V^2                            */
    real b0, a1;     /* Convis: q = feedback V^2 b0 - a1 A                                                    */
} gain_par;

/* Sparse sampling: y[cell] = sum_k weight[k] x[offset[k]]; fixed number of entries per cell, padded with weight 0. */
typedef struct link_table link_table;

/* Leaky integrate-and-fire cells, exact within steps of constant current (as VirtualRetina 2.2.3). */
typedef struct lif_par {
    double step_s, leak_hz, noise, refractory_s, refractory_sd_s;
    double adapt_delta_hz, adapt_tau_s, adapt_reversal; /* spike-frequency adaptation; delta 0: none */
    uint64_t seed;
} lif_par;
typedef struct spike {
    double time_s;      /* from the start of the run */
    int64_t cell;       /* global cell id            */
} spike;
typedef struct spike_list { /* one per leaf; grows as needed */
    spike *item;
    int64_t n, room;
} spike_list;

typedef struct backend_ops {
    const char *name; /* "cpu", "cuda" */
    dreal *(*alloc)(backend *, int64_t n); /* zeroed, 64-byte aligned */
    void (*release)(backend *, dreal *);
    void (*upload)(backend *, dreal *to, const real *from, int64_t n);
    void (*download)(backend *, real *to, const dreal *from, int64_t n); /* waits */
    void (*move)(backend *, dreal *to, const dreal *from, int64_t n);    /* may overlap */
    void (*fill)(backend *, dreal *to, real value, int64_t n);
    void (*sync)(backend *);
    /* Calls work so that every leaf 0..nleaf-1 is in exactly one call of leaves [first, first + n): the CPU one leaf per call from its threads, a GPU
     * all in one.  worker < nthread: no other call with this number runs at the same time, so it may name working memory. */
    void (*each_leaf)(backend *, int nleaf, void (*work)(void *ctx, int first, int n, int worker), void *ctx);

    /* Borders: rectangles of nt frames and all channels to and from a buffer [rect][nt][nchan][ny][nx]; offset of a rect counts pixels of one
     * frame and channel, so it starts at offset * nt * nchan. */
    void (*pack)(backend *, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer);
    void (*unpack)(backend *, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer);
    /* Fills the part of each halo that lies outside a field of ny x nx pixels with the nearest pixel inside (edge values go on for ever). */
    void (*edge)(backend *, int nt, view x, int field_ny, int field_nx);

    conv_plan *(*conv_create)(backend *, const conv_desc *, const real *kernel); /* kernel: host, [nchan_out][nchan_in/groups][kt][ky][kx] */
    conv_info (*conv_look)(const conv_plan *);
    void (*conv_destroy)(backend *, conv_plan *);
    /* state: [leaf] pieces of nstate reals, state_stride apart, updated in place; fill it by conv_start. */
    void (*conv)(backend *, const conv_plan *, int nt, view x, dreal *state, int64_t state_stride, view y);
    void (*conv_start)(backend *, const conv_plan *, view x_first, dreal *state, int64_t state_stride); /* the past = this frame, for ever */

    blur_plan *(*blur_create)(backend *, const blur_desc *);
    void (*blur_destroy)(backend *, blur_plan *);
    void (*blur)(backend *, const blur_plan *, int nt, view x, view y);
    /* One step of the leaky heat equation: y = blur(b u + c y_before); u and y_before with halo. */
    void (*heat_step)(backend *, const blur_plan *, real b, real c, view u, view y_before, view y);

    /* state: [leaf][pole or kind][channel][pad_ny][pad_nx], state_stride between leaves; updated in place. */
    void (*scan)(backend *, enum cell_scan, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y);
    void (*map)(backend *, enum cell_map, const real par[], int npar, int nt, view x, view y);
    void (*combine)(backend *, int nin, const real weight[], int nt, const view x[], view y);
    /* One step of contrast gain control; v_before with halo; adaptation A: one plane per leaf, updated in place. */
    void (*gain_step)(backend *, const blur_plan *, const gain_par *, view input, view v_before, dreal *adaptation, int64_t adaptation_stride, view v,
                      view keep); /* keep: where A_t is copied; at NULL: nowhere */
    /* Convis' version in two halves, as it subtracts the mean of q over the field: gain_q writes q (with halo) and each leaf's sum of q,
     * gain_convis then A = K(q - mean) + mean and v. */
    void (*gain_q)(backend *, const gain_par *, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum);
    void (*gain_convis)(backend *, const blur_plan *, const gain_par *, double mean, view input, view v_before, view q, dreal *adaptation,
                        int64_t adaptation_stride, view v, view keep);

    /* count[leaf] cells; offsets count reals from view.at of frame 0 (row_stride of x is in them), [leaf][ncell_pad][nentry]. */
    link_table *(*link_create)(backend *, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight);
    void (*link_destroy)(backend *, link_table *);
    void (*link)(backend *, const link_table *, int first_leaf, int nt, view x, view y);

    /* id: [leaf][ncell_pad] global cell ids.  state: [leaf][3][ncell_pad] membrane V, refractory time left (s), adaptation conductance (Hz).
     * current: Hz.  count: spikes of each cell and step.  spikes are appended to out[leaf]. */
    void (*lif)(backend *, const lif_par *, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
                spike_list *out);
    /* Integrate-and-fire of Convis 0.6.4.2 on every pixel, Euler steps of 1 ms; y: 1 where a spike.  state: V, refractory steps left. */
    void (*pixel_lif)(backend *, const lif_par *, int field_nx, int64_t step0, int nt, view current, dreal *state, int64_t state_stride, view y);
} backend_ops;

struct backend {
    const backend_ops *ops;
    void *own;
    int nthread;          /* workers of each_leaf */
    bool one_leaf_a_call; /* of each_leaf; else all leaves in one */
};

/* name "cpu" | "cuda" | "auto".  Fatal (EXIT_NO_DEVICE), with the build hint, if "cuda" was not built or has no device. */
backend *backend_open(const char *name, int nthread);
void backend_close(backend *);

/* Host pointer of CPU memory, for the CPU backend's own files and host-side services when name is "cpu". */
static inline real *host(dreal *p)
{
    return (real *)p;
}
static inline const real *host_const(const dreal *p)
{
    return (const real *)p;
}
#endif

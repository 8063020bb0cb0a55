/* backend.h - all that a model may ask of a processor.
 *
 * Contract, the same for every backend:
 *  - One in-order queue.  A call may return before its work is done; the host sees results only after download or sync.
 *  - Outputs are overwritten.  Inputs and outputs do not overlap unless said so.
 *  - Every op that a derivative goes through has its adjoint beside it, named _back: it takes the inputs of the op and g..., the derivative of the loss
 *    by its outputs, and ADDS the derivative by its inputs to others.  Derivatives by parameters are host doubles, a piece a leaf, valid after sync.
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
enum conv_algorithm { CONV_AUTO, CONV_FFT, CONV_SEPARABLE, CONV_DIRECT, CONV_WINDOW }; /* WINDOW: small maps; the direct sum, many frames at a time */
typedef struct conv_desc {
    int nchan_in, nchan_out, groups; /* kernel is [nchan_out][nchan_in/groups][kt][ky][kx]        */
    int kt, ky, kx;
    int tile_ny, tile_nx;            /* padded tile                                                */
    int max_nt;                      /* longest chunk                                              */
    enum conv_algorithm algorithm;   /* AUTO: the cheapest by the cost model                       */
    bool bias;                       /* [nchan_out] constants, added to y, stand behind the kernel and in g_kernel */
    bool differentiate;              /* conv_back will be called: working memory for it            */
    bool varies;                     /* conv_set will bring kernels of any rank: AUTO does not take SEPARABLE */
    const struct conv_plan *like;    /* a plan of the same sizes whose working memory this one uses and that outlives it; NULL: its own */
} conv_desc;
typedef struct conv_plan conv_plan;  /* opaque, made by the backend; only conv_set changes it      */
typedef struct conv_info {           /* what the plan chose, for --plan, log and benchmarks        */
    enum conv_algorithm algorithm;
    int fft_ny, fft_nx;              /* FFT                                                        */
    int rank;                        /* SEPARABLE: number of rank-one terms                        */
    int64_t nstate;                  /* reals of state per leaf (FFT: ring of spectra of the last kt-1 frames) */
    int hist;                        /* frames of input history read before the chunk (kt-1; FFT: 0) */
    int halo_before, halo_after;     /* pixels read before/after the tile: (k-1)-k/2 and k/2; halo needed is their maximum */
    double flop_per_frame, bytes_per_frame;
    double bytes_held, bytes_thread; /* of the plan (kernel, its spectra), and of each thread's working memory besides (CPU) */
    int64_t tape;                    /* reals a leaf and step that conv writes for conv_back; 0: none (FFT: spectra of the frames) */
} conv_info;

/* --- blur: Gaussian smoothing of each frame ------------------------------------------------------------------------ */
enum blur_method {
    BLUR_GAUSSIAN, /* discrete Gaussian exp(-t) I_n(t), t = sigma^2 (Lindeberg 1990): exact variance at any sigma, and blurs add up exactly */
    BLUR_DERICHE,  /* VirtualRetina's recursive approximation along whole lines */
    BLUR_CONVIS,   /* Convis' sampled Gaussian, truncated at 0.001, not renormalised */
    BLUR_TAPS      /* any taps [2 radius + 1][2 radius + 1] with a bias: a Gaussian set free, to be fitted tap by tap */
};
typedef struct blur_desc {
    enum blur_method method;
    double sigma_px;             /* at the centre of the field; below 0.1 px DERICHE does nothing (as VirtualRetina)       */
    /* sigma grows with eccentricity r: sigma(r) = sigma / s(r), s = 1 for r < fovea_px, 1/(1 + scaling (r - fovea_px)) beyond
     * (VirtualRetina's log-polar scheme); scaling 0: uniform.  r is measured from ((field_ny-1)/2, (field_nx-1)/2). */
    double fovea_px, scaling_per_px;
    int field_ny, field_nx, tile_ny, tile_nx;
    double most_sigma_px; /* the largest that blur_set will be given (it fixes the radius); 0: sigma_px for ever, no derivative by it */
    int taps_radius;      /* BLUR_TAPS */
} blur_desc;
typedef struct blur_plan blur_plan;
typedef struct blur_info {
    int radius;  /* pixels read beyond the tile; DERICHE: 0, but it needs the whole field in one tile */
    double flop; /* per pixel */
    int64_t table, scratch; /* reals that a plan holds, and that each thread works in (CPU) */
} blur_info;
blur_info blur_look(const blur_desc *); /* pure; for planning */

/* --- recurrences and point functions: see cellmath.h for the lists ------------------------------------------------- */
/* Point neurons and sensors with memory: state of a few reals a pixel or cell; their steps and the order of their parameters in cellmath_neuron.h. */
enum cell_neuron { NEURON_IZHIKEVICH, NEURON_FITZHUGH_NAGUMO, NEURON_HODGKIN_HUXLEY, NEURON_LIF_EULER, NEURON_EVENT, NEURON_POISSON,
                   NEURON_PHOTORECEPTOR, NEURON_KINETICS, NEURON_COUNT };
enum { NEURON_MOST_PAR = 12, NEURON_MOST_STATE = 4, NEURON_MOST_OUT = 3, NEURON_MOST_SUB = 64 };
enum surrogate { SURROGATE_NONE, SURROGATE_FAST_SIGMOID, SURROGATE_TRIANGLE, SURROGATE_EXPONENTIAL }; /* derivative given to a spike */
/* Where random numbers come from: (seed, pixel of the field or cell id, step), anew for each sequence and batch. */
typedef struct neuron_random {
    uint64_t seed;
    int64_t draw;    /* number of the batch */
    int ntile, nseq; /* as in the grid, to tell the sequence of a leaf; 0, 0: there is one */
} neuron_random;
typedef struct neuron_desc {
    enum cell_neuron kind;
    int form;                  /* of the kind */
    int nsub;                  /* Euler steps within a step; 0: none */
    real sub_dt;               /* their length, in the kind's unit of time */
    double step_s;
    real par[NEURON_MOST_PAR]; /* those that have derivatives first */
    enum surrogate surrogate;
    real width;                /* of the surrogate, in the membrane's unit */
    int field_nx;
    neuron_random random;
} neuron_desc;
typedef struct neuron_shape { /* derivatives are by the first npar of par */
    int nstate, npar, nout;   /* state is [kind of state][channel][pad_ny][pad_nx], output channel k * nchan + c */
} neuron_shape;
neuron_shape neuron_look(const neuron_desc *); /* pure */

/* Losses of an output y against a target r, summed over elements with weight w (masks and burn-in are weights of 0):
 * POISSON w (y - r log(y + eps)), BERNOULLI -w (r log(y + eps) + (1 - r) log(1 - y + eps)), SQUARE w (y - r)^2, ACTIVITY_L1 w |y|, ACTIVITY_L2 w y^2,
 * LINEAR w r y (a derivative given from outside: r is dLoss/dy; correlation and others that need whole time courses). */
enum loss_kind { LOSS_POISSON, LOSS_BERNOULLI, LOSS_SQUARE, LOSS_ACTIVITY_L1, LOSS_ACTIVITY_L2, LOSS_LINEAR, LOSS_COUNT };

enum cell_scan { SCAN_LOWPASS, SCAN_HIGHPASS, SCAN_HIGHPASS_DELAYED, SCAN_COUNT };
enum cell_map { MAP_LINEAR, MAP_RECTIFY_VR, MAP_RECTIFY_CONVIS, MAP_CLIP, MAP_RELU, MAP_SOFTPLUS, MAP_PARAMETRIC_SOFTPLUS, MAP_EXPONENTIAL, MAP_SIGMOID,
                MAP_ELU, MAP_SQUARE, MAP_RECTIFIED_SQUARE, MAP_POWER, MAP_NAKA_RUSHTON, MAP_COUNT };
int64_t scan_scratch(int npole, int max_nt); /* reals that a thread of the CPU works in for scan_back; npole: states of a pixel */

/* Contrast gain control (as VirtualRetina 2.2.3): parameters of one step. */
typedef struct gain_par {
    real leak_hz, gain_hz, feedback_hz, dt_s;
    real decay;      /* VirtualRetina: c = exp(-dt/tau_A)                                                    */
    real saturation; /* VirtualRetina: q = u/(1 + u/saturation), u = feedback V^2                            */
    real b0, a1;     /* Convis: q = feedback V^2 b0 - a1 A                                                    */
} gain_par;

/* Numbers for each channel, or each unit (channel of a pixel or cell): that of channel c and pixel (y, x) of the field stands at c chan + y row +
 * x col, that of a cell at c chan + id col.  col 0, and row: the pixels or cells of a channel share one. */
typedef struct unit_table {
    int64_t n, chan, row, col;
    const int64_t *id; /* [leaf][pad] of cells; NULL: pixels */
} unit_table;

/* Sparse sampling: y[cell] = sum_k weight[k] x[offset[k]]; fixed number of entries per cell, padded with weight 0. */
typedef struct link_table link_table;

/* Leaky integrate-and-fire cells, exact within steps of constant current (as VirtualRetina 2.2.3). */
typedef struct lif_par {
    double step_s, leak_hz, noise, refractory_s, refractory_sd_s;
    double adapt_delta_hz, adapt_tau_s, adapt_reversal; /* spike-frequency adaptation; delta 0: none */
    neuron_random random;
    enum surrogate surrogate;
    double width; /* of the surrogate; threshold 1 */
} lif_par;
typedef struct spike {
    double time_s;      /* from the start of the run */
    int64_t cell;       /* global cell id            */
} spike;
typedef struct spike_list { /* one per leaf; grows as needed */
    spike *item;
    int64_t n, room;
} spike_list;

enum { BACKEND_FETCH_CTX = 192 };
typedef struct backend_ops {
    const char *name; /* "cpu", "cuda" */
    dreal *(*alloc)(backend *, int64_t n); /* 64-byte aligned; what stands in it is not said (guard and emulated device: NaN) */
    void (*release)(backend *, dreal *);
    void (*upload)(backend *, dreal *to, const real *from, int64_t n);
    void (*download)(backend *, real *to, const dreal *from, int64_t n); /* waits */
    /* Calls got(copy of ctx, at) once the host can read the n reals at `at`, in the order of the calls: the CPU at once, in place; a device beside the work
     * queued after this, during some later op, sync or fetched.  The array itself may be written again at once.  ctx: at most BACKEND_FETCH_CTX bytes. */
    void (*fetch)(backend *, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes);
    void (*fetched)(backend *);                    /* waits until every fetch has come */
    real *(*host_alloc)(backend *, int64_t n);     /* zeroed host memory that upload and download reach fastest */
    void (*host_release)(backend *, real *);
    void (*move)(backend *, dreal *to, const dreal *from, int64_t n);    /* may overlap */
    void (*fill)(backend *, dreal *to, real value, int64_t n);
    void (*add)(backend *, dreal *to, const dreal *what, int64_t n); /* to += what */
    void (*sync)(backend *);
    void (*reserve)(backend *, int64_t n); /* working memory of each thread for ops that have no plan of their own (scan_back), before a run */
    /* Calls work so that every leaf 0..nleaf-1 is in exactly one call of leaves [first, first + n): the CPU one leaf per call from its threads, a GPU
     * all in one.  worker < nthread: no other call with this number runs at the same time, so it may name working memory. */
    void (*each_leaf)(backend *, int nleaf, void (*work)(void *ctx, int first, int n, int worker), void *ctx);

    /* Work that comes again and again: true: the caller issues it, then calls repeat_end; false: a device has replayed what was issued under this key
     * before.  The key names all that the work follows from: addresses of arrays, and of the host's doubles that ops give sums and derivatives to; lengths;
     * values of parameters (contents of plans may change by their _set).  In between: no plan is made, nothing is waited for, uploaded, downloaded or
     * fetched, no op has spikes for the host, and calls do not nest.  Sums and derivatives come to the host as ever: each time, by the next sync, in the
     * order of issue. */
    bool (*repeat_begin)(backend *, int n, const int64_t *key);
    void (*repeat_end)(backend *);

    /* Borders: rectangles of nt frames and all channels to and from a buffer [rect][nt][nchan][ny][nx]; offset of a rect counts pixels of one
     * frame and channel, so it starts at offset * nt * nchan. */
    void (*pack)(backend *, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer);
    void (*unpack)(backend *, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer);
    /* Fills the part of each halo that lies outside a field of ny x nx pixels with the nearest pixel inside (edge values go on for ever). */
    void (*edge)(backend *, int nt, view x, int field_ny, int field_nx);
    /* Adjoints: unpack_add adds a buffer to the rectangles; take packs them and leaves zeros behind; edge_back adds what stands outside the field to
     * the edge pixels it was copied from, and leaves zeros there. */
    void (*unpack_add)(backend *, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer);
    void (*take)(backend *, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer);
    void (*edge_back)(backend *, int nt, view x, int field_ny, int field_nx);

    conv_plan *(*conv_create)(backend *, const conv_desc *, const real *kernel); /* kernel: host, [nchan_out][nchan_in/groups][kt][ky][kx] */
    conv_info (*conv_look)(const conv_plan *);
    void (*conv_destroy)(backend *, conv_plan *);
    /* state: [leaf] pieces of nstate reals, state_stride apart, updated in place; fill it by conv_start. */
    void (*conv)(backend *, const conv_plan *, int nt, view x, dreal *state, int64_t state_stride, view y);
    /* The same, and notes for conv_back what it needs: tape: [leaf] pieces tape_stride apart of nt * conv_info.tape reals. */
    void (*conv_taped)(backend *, const conv_plan *, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape, int64_t tape_stride);
    void (*conv_set)(backend *, conv_plan *, const real *kernel); /* another kernel of the same shape; host.  The algorithm stays. */
    /* Adjoint of a chunk.  state: before the chunk.  g_state: in, derivative by the state after it; out, by that before it.  gx (at NULL: not wanted):
     * ADDED to tile, halo and history frames.  g_kernel (NULL: not wanted): ADDED, [leaf] pieces of [nchan_out][nchan_in/groups][kt][ky][kx]. */
    void (*conv_back)(backend *, const conv_plan *, int nt, view x, const dreal *state, const dreal *tape, int64_t tape_stride, int64_t state_stride,
                      view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride);
    /* Adjoint of conv_start: adds to *g_rest [leaf] the derivative by a constant past, from g_state, that by the state before step 0. */
    void (*conv_start_back)(backend *, const conv_plan *, int nleaf, const grid_tile *tile, const dreal *g_state, int64_t g_state_stride, view gx_first,
                            double *g_rest);
    void (*conv_start)(backend *, const conv_plan *, view x_first, dreal *state, int64_t state_stride); /* the past = this frame, for ever */

    blur_plan *(*blur_create)(backend *, const blur_desc *);
    void (*blur_destroy)(backend *, blur_plan *);
    void (*blur_set)(backend *, blur_plan *, double sigma_px);              /* another width; not above desc.most_sigma_px */
    void (*blur_set_taps)(backend *, blur_plan *, const double *taps, double bias); /* BLUR_TAPS: host, [2 radius + 1]^2 */
    void (*blur)(backend *, const blur_plan *, int nt, view x, view y);
    /* Adds the adjoint to gx, tile and halo.  blur_back_par adds the derivative by sigma_px to g[leaf * stride], or for BLUR_TAPS by every tap and then
     * the bias. */
    void (*blur_back)(backend *, const blur_plan *, int nt, view gy, view gx);
    void (*blur_back_par)(backend *, const blur_plan *, int nt, view x, view gy, double *g, int64_t g_stride);
    /* One step of the leaky heat equation: y = blur(b u + c y_before); u and y_before with halo. */
    void (*heat_step)(backend *, const blur_plan *, real b, real c, view u, view y_before, view y);
    /* Adds to gu (at NULL: not wanted) and g_before, both with halo, and to g[leaf * stride]: by b, by c, by sigma_px. */
    void (*heat_step_back)(backend *, const blur_plan *, real b, real c, view u, view y_before, view gy, view gu, view g_before, double *g,
                           int64_t g_stride);

    /* state: [leaf][pole or kind][channel][pad_ny][pad_nx], state_stride between leaves; updated in place. */
    void (*scan)(backend *, enum cell_scan, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y);
    void (*map)(backend *, enum cell_map, const real par[], int npar, int nt, view x, view y); /* y may be x */
    void (*combine)(backend *, int nin, const real weight[], int nt, const view x[], view y);
    /* Divisive normalisation over the channels: y_c = gain q_c/(s^n + sum over k of weight[k] q_k), q = max(x, 0)^n.  par: gain, n, s, weight[nchan]. */
    void (*normalise)(backend *, const real par[], int npar, int nt, view x, view y);
    /* With w = d = x - centre, or w = g where g has a place: adds the sums over steps of w and of w d to sum[leaf * stride], [2][n], host, valid after sync.
     * centre: [n], host; NULL: 0. */
    void (*unit_sums)(backend *, const unit_table *, const double *centre, int nt, view x, view g, double *sum, int64_t sum_stride);
    /* y = gain (x - centre) + offset; line: [centre, gain, offset][n], host.  The other adds gain gy + slope (x - centre) + offset to gx; line: [centre,
     * gain, offset, slope][n]. */
    void (*unit_line)(backend *, const unit_table *, const real *line, int nt, view x, view y);
    void (*unit_line_back)(backend *, const unit_table *, const real *line, int nt, view x, view gy, view gx);
    /* Mean or largest of squares of size x size pixels; y has x's channels and a size-th of its rows and columns.  The derivative by the largest goes to
     * the first of several, row by row. */
    void (*pool_space)(backend *, int size, bool largest, int nt, view x, view y);
    void (*pool_space_back)(backend *, int size, bool largest, int nt, view x, view gy, view gx);
    /* y = x + sd * a normal number of (seed, pixel of the field or cell id, sequence and network, channel, step); ntile: leaves of a sequence. */
    void (*noise)(backend *, uint64_t seed, real sd, int field_nx, const int64_t *id, int ntile, int64_t step0, int nt, view x, view y);
    /* Adjoints: gx is ADDED to (at NULL: not wanted), g_par[leaf * stride + i] too (NULL: not wanted), by par[i] as the forward op takes it.  state: before
     * the chunk; g_state: in, by the state after it; out, by that before it. */
    void (*scan_back)(backend *, enum cell_scan, const real par[], int npar, int nt, view x, const dreal *state, int64_t state_stride, view gy,
                      dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);
    void (*map_back)(backend *, enum cell_map, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
    void (*combine_back)(backend *, int nin, const real weight[], int nt, const view x[], view gy, const view gx[], double *g_weight,
                         int64_t g_weight_stride);
    void (*normalise_back)(backend *, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
    /* id: global ids of cells, NULL: pixels.  tape (NULL: none): [leaf][step] states before each step, for neuron_back.  out (NULL: none): what the first
     * channel counts, as spikes spread evenly over the step. */
    void (*neuron)(backend *, const neuron_desc *, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape,
                   int64_t tape_stride, spike_list *out);
    void (*neuron_back)(backend *, const neuron_desc *, const int64_t *id, int64_t step0, int nt, view x, const dreal *tape, int64_t tape_stride, view gy,
                        dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);
    /* value[leaf] is added to: the plain sum; g (at NULL: value only) is ADDED to: par[0] times its derivative (a factor such as 1 / count).  par[1]: eps.
     * target (not of the ACTIVITY losses), weight: views of y's shape, strides of 0 repeat; weight.at NULL: 1 everywhere.  Where the weight is 0 the target may
     * be NaN. */
    void (*loss)(backend *, enum loss_kind, const double par[], int nt, view y, view target, view weight, view g, double *value);
    /* One step of contrast gain control; v_before with halo; adaptation A: one plane per leaf, updated in place. */
    void (*gain_step)(backend *, const blur_plan *, const gain_par *, view input, view v_before, dreal *adaptation, int64_t adaptation_stride, view v,
                      view keep); /* keep: where A_t is copied; at NULL: nowhere */
    /* Convis' version in two halves, as it subtracts the mean of q over the field: gain_q writes q (with halo) and each leaf's sum of q,
     * gain_convis then A = K(q - mean) + mean and v. */
    void (*gain_q)(backend *, const gain_par *, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum);
    void (*gain_convis)(backend *, const blur_plan *, const gain_par *, double mean, view input, view v_before, view q, dreal *adaptation,
                        int64_t adaptation_stride, view v, view keep);
    /* Adjoint of gain_step.  before: A of the step before, planes before_stride apart.  g_v: by V_t.  g_adaptation: in, by A_t; out, by A_(t-1).  Adds to
     * g_input (at NULL: not wanted), g_before (V of the step before, with halo), g[leaf * stride]: by gain, leak, feedback, decay, then by sigma_px or taps
     * and bias. */
    void (*gain_step_back)(backend *, const blur_plan *, const gain_par *, view input, view v_before, const dreal *before, int64_t before_stride, view g_v,
                           dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, double *g, int64_t g_stride);
    /* Adjoints of gain_convis and gain_q.  The first overwrites gq (with halo) and g_mean[leaf]; once gq's halos are swapped back and the mean's share, the
     * sum of g_mean over leaves by the number of pixels, is known, the second adds to g_before and to g_adaptation, and finishes g: by gain, leak,
     * feedback, b0, a1, then taps or sigma_px. */
    void (*gain_convis_back)(backend *, const blur_plan *, const gain_par *, double mean, view input, view v_before, view q, const dreal *before,
                             int64_t before_stride, view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, view gq,
                             double *g_mean, double *g, int64_t g_stride);
    void (*gain_q_back)(backend *, const gain_par *, view v_before, const dreal *before, int64_t before_stride, view gq, double mean_share, view g_before,
                        dreal *g_adaptation, int64_t g_adaptation_stride, double *g, int64_t g_stride);

    /* count[leaf] cells; offsets count reals from view.at of frame 0 (row_stride of x is in them), [leaf][ncell_pad][nentry]. */
    link_table *(*link_create)(backend *, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight);
    void (*link_destroy)(backend *, link_table *);
    void (*link)(backend *, const link_table *, int first_leaf, int nt, view x, view y);
    void (*link_back)(backend *, const link_table *, int first_leaf, int nt, view gy, view gx); /* added: the transposed table */

    /* id: [leaf][ncell_pad] global cell ids.  state: [leaf][3][ncell_pad] membrane V, refractory time left (s), adaptation conductance (Hz).
     * current: Hz.  count: spikes of each cell and step.  spikes are appended to out[leaf].  tape (NULL: none): [leaf][step] states before each step. */
    void (*lif)(backend *, const lif_par *, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
                dreal *tape, int64_t tape_stride, spike_list *out);
    /* With the surrogate of the membrane that a step would reach without spikes; g_par: by leak_hz, noise.  Resets and adaptation are held constant. */
    void (*lif_back)(backend *, const lif_par *, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride, view g_count,
                     dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride);
} backend_ops;

struct backend {
    const backend_ops *ops;
    void *own;
    int nthread;          /* workers of each_leaf */
    bool one_leaf_a_call; /* of each_leaf; else all leaves in one */
    char device[128];     /* what it runs on, for log and provenance: "cpu", "cuda: NVIDIA H200, sm_90" */
};

/* Both collective once MPI has started.  What "auto" comes to: "cuda" where this program has it and every rank has a device that works, else "cpu"; any
 * other name stays as it is. */
const char *backend_choose(const char *name);
/* name: "cpu" | "cuda" | "auto".  Fatal (EXIT_NO_DEVICE), with what to do about it, if "cuda" was not built or has no device. */
backend *backend_open(const char *name, int nthread);
void backend_close(backend *);
void backend_say(const backend *); /* collective; which rank drives which device, to the log, and a warning where several share one */
/* Device memory: bytes that this rank may take (of a shared device its part), and all there are.  False: it works in the host's memory. */
bool backend_memory(const backend *, size_t *free_bytes, size_t *all_bytes);

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

/* cpu.h - the CPU backend among its own files. */
#ifndef CPU_H
#define CPU_H
#include <string.h>

#include "compute/backend.h"

backend *cpu_open(int nthread);
void cpu_close(backend *be);

/* Working memory of the calling thread, at least n reals, kept until the next call; grown only while plans are made (cpu_reserve). */
real *cpu_scratch(backend *be);
void cpu_reserve(backend *be, int64_t n);

/* First pixel of the tile's own rows of one frame and channel. */
static inline real *cpu_plane(view v, int leaf, int t, int c)
{
    return host(v.at) + leaf * v.leaf_stride + t * v.frame_stride + c * v.chan_stride;
}

/* Whether a frame's rows and channels follow each other without a gap, so that point functions may take them as one row. */
static inline bool cpu_flat(view v, int leaf)
{
    const grid_tile *t = &v.tile[leaf];
    return v.row_stride == t->nx && v.chan_stride == (int64_t)t->ny * t->nx;
}
static inline int cpu_frame_reals(view v, int leaf)
{
    return v.nchan * v.tile[leaf].ny * v.tile[leaf].nx;
}

blur_plan *cpu_blur_create(backend *be, const blur_desc *d);
void cpu_blur_destroy(backend *be, blur_plan *p);
void cpu_blur(backend *be, const blur_plan *p, int nt, view x, view y);
void cpu_heat_step(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view y);
void cpu_gain_step(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride,
                   view v, view keep);
void cpu_gain_q(backend *be, const gain_par *par, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum);
void cpu_gain_convis(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, dreal *adaptation,
                     int64_t adaptation_stride, view v, view keep);

/* Blurs one plane.  row(ctx, y, line) gives the pixels [-radius, nx + radius) of row y of the input (y from -radius to ny + radius - 1),
 * in place or written to line; emit(ctx, y, blurred) takes row y of the result (nx pixels), or, if emit is NULL, it is written to
 * out + y out_stride. */
typedef struct blur_io {
    void *ctx;
    const real *(*row)(void *ctx, int y, real *line);
    void (*emit)(void *ctx, int y, const real *blurred);
    real *out;
    int64_t out_stride;
} blur_io;
static inline void blur_io_give(const blur_io *io, int y, const real *row, int nx) /* row y of the result, finished elsewhere */
{
    if (io->emit) {
        io->emit(io->ctx, y, row);
    } else {
        memcpy(io->out + y * io->out_stride, row, (size_t)nx * sizeof(real));
    }
}
void cpu_blur_plane(backend *be, const blur_plan *p, const grid_tile *tile, const blur_io *io);

void cpu_scan(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y);
void cpu_normalise(backend *be, const real par[], int npar, int nt, view x, view y);
void cpu_normalise_back(backend *be, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
void cpu_unit_sums(backend *be, const unit_table *u, const double *centre, int nt, view x, view g, double *sum, int64_t sum_stride);
void cpu_unit_line(backend *be, const unit_table *u, const real *line, int nt, view x, view y);
void cpu_unit_line_back(backend *be, const unit_table *u, const real *line, int nt, view x, view gy, view gx);
void cpu_pool_space(backend *be, int size, bool largest, int nt, view x, view y);
void cpu_pool_space_back(backend *be, int size, bool largest, int nt, view x, view gy, view gx);
void cpu_noise(backend *be, uint64_t seed, real sd, int field_nx, const int64_t *id, int ntile, int64_t step0, int nt, view x, view y);
void cpu_map(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view y);
void cpu_combine(backend *be, int nin, const real weight[], int nt, const view x[], view y);

link_table *cpu_link_create(backend *be, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight);
void cpu_link_destroy(backend *be, link_table *t);
void cpu_link(backend *be, const link_table *t, int first_leaf, int nt, view x, view y);
void cpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             dreal *tape, int64_t tape_stride, spike_list *out);
void cpu_lif_back(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride,
                  view g_count, dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride);
void cpu_blur_set(backend *be, blur_plan *p, double sigma_px);
void cpu_blur_set_taps(backend *be, blur_plan *p, const double *taps, double bias);
void cpu_blur_back(backend *be, const blur_plan *p, int nt, view gy, view gx);
void cpu_blur_back_par(backend *be, const blur_plan *p, int nt, view x, view gy, double *g, int64_t g_stride);
void cpu_heat_step_back(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view gy, view gu, view g_before, double *g,
                        int64_t g_stride);
void cpu_gain_step_back(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, const dreal *before, int64_t before_stride,
                        view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, double *g, int64_t g_stride);
void cpu_gain_convis_back(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, const dreal *before,
                          int64_t before_stride, view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, view gq,
                          double *g_mean, double *g, int64_t g_stride);
void cpu_gain_q_back(backend *be, const gain_par *par, view v_before, const dreal *before, int64_t before_stride, view gq, double mean_share,
                     view g_before, dreal *g_adaptation, int64_t g_adaptation_stride, double *g, int64_t g_stride);
void cpu_scan_back(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, const dreal *state, int64_t state_stride, view gy,
                   dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);
void cpu_map_back(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
void cpu_combine_back(backend *be, int nin, const real weight[], int nt, const view x[], view gy, const view gx[], double *g_weight,
                      int64_t g_weight_stride);
void cpu_link_back(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx);
void cpu_neuron(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride, view y,
                dreal *tape, int64_t tape_stride, spike_list *out);
void cpu_neuron_back(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, const dreal *tape, int64_t tape_stride,
                     view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);
void cpu_loss(backend *be, enum loss_kind kind, const double par[], int nt, view y, view target, view weight, view g, double *value);
#endif

/* gpu.h - the CUDA backend among its own files.  The same table as the CPU's (compute/backend.h): what an op does is said there.
 *
 *   gpu_device.c   which device a rank drives, and what the log says of it.  Plain C.
 *   gpu.c          memory, queue, tables that kernels read; the table of ops.  Plain C.
 *   gpu_result.c   doubles that ops leave for the host.  Plain C.
 *   gpu_copy.c     what crosses between host and device beside the kernels.  Plain C.
 *   gpu_graph.c    work that is captured and replayed.  Plain C.
 *   gpu_*.c        plans of conv, blur, link: what is computed once, on the host.  Plain C.
 *   gpu_*.cu       kernels, and the ops that launch them.  The only files nvcc compiles; gpu_kernel.cuh is theirs.
 *
 * One stream; every op only queues work on it.  All sums are fixed trees: over threads of a block, then over blocks, never atomics, and the blocks of a
 * leaf do not depend on how many leaves are in a call. */
#ifndef GPU_H
#define GPU_H
#include <cuda_runtime.h>

#include "compute/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

int gpu_count(void);           /* devices this process sees */
const char *gpu_trouble(void); /* why this process can use none of them; NULL: it can */
backend *gpu_open(int nthread); /* collective once MPI has started: takes device (local rank modulo devices) */
void gpu_close(backend *be);
void gpu_say(const backend *be);
void gpu_memory(const backend *be, size_t *free_bytes, size_t *all_bytes);

/* --- the queue ---------------------------------------------------------------------------------------------------------- */
cudaStream_t gpu_stream(const backend *be);
/* Fatal (EXIT_NO_DEVICE) with the call, file, line and the last call before it, on all ranks. */
void gpu_check(cudaError_t e, const char *call, const char *file, int line);
#define GPU_CHECK(call) gpu_check(call, #call, __FILE__, __LINE__)

/* --- memory ------------------------------------------------------------------------------------------------------------- */
void *gpu_malloc(backend *be, size_t bytes); /* device; not zeroed.  For plans and tables.  Fatal when there is none */
void gpu_free(backend *be, void *p);         /* NULL is allowed; waits for the queue */
/* Working memory of one op: valid until the next gpu_scratch.  What follows in the queue may use the same bytes. */
void *gpu_scratch(backend *be, size_t bytes);

/* gpu_copy.c */
struct gpu_copies *gpu_copies(const backend *be); /* gpu.c keeps it */
struct gpu_copies *gpu_copies_open(void);
void gpu_copies_close(backend *be); /* what is on its way is handed out first */
void gpu_put(backend *be, void *device, const void *from_host, size_t bytes); /* queued; `from_host` may change as soon as it returns.  Not in a capture */
void gpu_deliver(backend *be); /* hands out what was fetched and has come */
void gpu_upload(backend *be, dreal *to, const real *from, int64_t n);
void gpu_download(backend *be, real *to, const dreal *from, int64_t n);
void gpu_fetch(backend *be, const dreal *from, int64_t n, void (*got)(void *ctx, const real *at), const void *ctx, size_t ctx_bytes);
void gpu_fetched(backend *be);
real *gpu_host_alloc(backend *be, int64_t n);
void gpu_host_release(backend *be, real *p);

/* A host table (tiles of a view, cell ids, weights) as kernels may read it: uploaded when the bytes at this address are not those seen last. */
const void *gpu_table(backend *be, const void *host, size_t bytes);

/* Work that comes again with the same key is captured and replayed (gpu_graph.c); forget: drops all, e.g. because other kernels are to be launched. */
bool gpu_repeat_begin(backend *be, int n, const int64_t *key);
void gpu_repeat_end(backend *be);
void gpu_repeat_forget(backend *be);

/* --- results for the host: gpu_result.c ------------------------------------------------------------------------------------
 * Device doubles [nleaf][nstep][n] that the op's kernels must write, every one.  At the next sync, step after step from the last to the first (so that
 * chunks do not show), they are added to to[leaf * stride + i]; add false: stored there, nstep 1.  In a capture: at the sync after each replay. */
double *gpu_result(backend *be, int nleaf, int nstep, int64_t n, double *to, int64_t stride, bool add);
/* result[k][i] = sum over blocks of part[k][block][i], k < nsum, in a fixed tree.  part: device, e.g. scratch. */
void gpu_sum_parts(backend *be, int64_t nsum, int nblock, int n, const double *part, double *result);
struct gpu_results *gpu_results(const backend *be); /* gpu.c keeps it */
struct gpu_results *gpu_results_open(void);
void gpu_results_close(backend *be); /* the queue is empty */
void gpu_settle(backend *be); /* waits for the queue, then hands the results out: sync */

/* Spikes on their way to the host's lists, gpu_spikes.c: NULL where no op has made any; what gpu_settle does before and after its wait. */
struct gpu_spike_queue **gpu_spike_queue(backend *be);
void gpu_spikes_fetch(backend *be);
void gpu_spikes_deliver(backend *be);
void gpu_spikes_close(backend *be);

/* --- ops, by file ----------------------------------------------------------------------------------------------------------- */
/* gpu_array.cu */
void gpu_fill(backend *be, dreal *to, real value, int64_t n);
void gpu_add(backend *be, dreal *to, const dreal *what, int64_t n);
void gpu_pack(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer);
void gpu_unpack(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer);
void gpu_unpack_add(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer);
void gpu_take(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer);
void gpu_edge(backend *be, int nt, view x, int field_ny, int field_nx);
void gpu_edge_back(backend *be, int nt, view x, int field_ny, int field_nx);

/* gpu_conv.c */
conv_plan *gpu_conv_create(backend *be, const conv_desc *d, const real *kernel);
conv_info gpu_conv_look(const conv_plan *p);
void gpu_conv_destroy(backend *be, conv_plan *p);
void gpu_conv(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y);
void gpu_conv_taped(backend *be, const conv_plan *p, int nt, view x, dreal *state, int64_t state_stride, view y, dreal *tape, int64_t tape_stride);
void gpu_conv_set(backend *be, conv_plan *p, const real *kernel);
void gpu_conv_back(backend *be, const conv_plan *p, int nt, view x, const dreal *state, const dreal *tape, int64_t tape_stride, int64_t state_stride,
                   view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_kernel, int64_t g_kernel_stride);
void gpu_conv_start(backend *be, const conv_plan *p, view x_first, dreal *state, int64_t state_stride);
void gpu_conv_start_back(backend *be, const conv_plan *p, int nleaf, const grid_tile *tile, const dreal *g_state, int64_t g_state_stride, view gx_first,
                         double *g_rest);

/* gpu_blur.c, gpu_gain.cu */
blur_plan *gpu_blur_create(backend *be, const blur_desc *d);
void gpu_blur_destroy(backend *be, blur_plan *p);
void gpu_blur_set(backend *be, blur_plan *p, double sigma_px);
void gpu_blur_set_taps(backend *be, blur_plan *p, const double *taps, double bias);
void gpu_blur(backend *be, const blur_plan *p, int nt, view x, view y);
void gpu_blur_back(backend *be, const blur_plan *p, int nt, view gy, view gx);
void gpu_blur_back_par(backend *be, const blur_plan *p, int nt, view x, view gy, double *g, int64_t g_stride);
void gpu_heat_step(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view y);
void gpu_heat_step_back(backend *be, const blur_plan *p, real b, real c, view u, view y_before, view gy, view gu, view g_before, double *g,
                        int64_t g_stride);
void gpu_gain_step(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, dreal *adaptation, int64_t adaptation_stride, view v,
                   view keep);
void gpu_gain_q(backend *be, const gain_par *par, view v_before, const dreal *adaptation, int64_t adaptation_stride, view q, double *leaf_sum);
void gpu_gain_convis(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, dreal *adaptation,
                     int64_t adaptation_stride, view v, view keep);
void gpu_gain_step_back(backend *be, const blur_plan *p, const gain_par *par, view input, view v_before, const dreal *before, int64_t before_stride,
                        view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, double *g, int64_t g_stride);
void gpu_gain_convis_back(backend *be, const blur_plan *p, const gain_par *par, double mean, view input, view v_before, view q, const dreal *before,
                          int64_t before_stride, view g_v, dreal *g_adaptation, int64_t g_adaptation_stride, view g_input, view g_before, view gq,
                          double *g_mean, double *g, int64_t g_stride);
void gpu_gain_q_back(backend *be, const gain_par *par, view v_before, const dreal *before, int64_t before_stride, view gq, double mean_share,
                     view g_before, dreal *g_adaptation, int64_t g_adaptation_stride, double *g, int64_t g_stride);

/* gpu_map.cu, gpu_unit.cu, gpu_scan.cu, gpu_loss.cu */
void gpu_map(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view y);
void gpu_map_back(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
void gpu_combine(backend *be, int nin, const real weight[], int nt, const view x[], view y);
void gpu_combine_back(backend *be, int nin, const real weight[], int nt, const view x[], view gy, const view gx[], double *g_weight,
                      int64_t g_weight_stride);
void gpu_normalise(backend *be, const real par[], int npar, int nt, view x, view y);
void gpu_normalise_back(backend *be, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride);
void gpu_unit_sums(backend *be, const unit_table *u, const double *centre, int nt, view x, view g, double *sum, int64_t sum_stride);
void gpu_unit_line(backend *be, const unit_table *u, const real *line, int nt, view x, view y);
void gpu_unit_line_back(backend *be, const unit_table *u, const real *line, int nt, view x, view gy, view gx);
void gpu_pool_space(backend *be, int size, bool largest, int nt, view x, view y);
void gpu_pool_space_back(backend *be, int size, bool largest, int nt, view x, view gy, view gx);
void gpu_noise(backend *be, uint64_t seed, real sd, int field_nx, const int64_t *id, int ntile, int64_t step0, int nt, view x, view y);
void gpu_scan(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, dreal *state, int64_t state_stride, view y);
void gpu_scan_back(backend *be, enum cell_scan kind, const real par[], int npar, int nt, view x, const dreal *state, int64_t state_stride, view gy,
                   dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);
void gpu_loss(backend *be, enum loss_kind kind, const double par[], int nt, view y, view target, view weight, view g, double *value);

/* gpu_link.c, gpu_lif.cu, gpu_neuron.c */
link_table *gpu_link_create(backend *be, int nleaf, int ncell_pad, int nentry, const int32_t *offset, const real *weight);
void gpu_link_destroy(backend *be, link_table *t);
void gpu_link(backend *be, const link_table *t, int first_leaf, int nt, view x, view y);
void gpu_link_back(backend *be, const link_table *t, int first_leaf, int nt, view gy, view gx);
void gpu_lif(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, dreal *state, int64_t state_stride, view count,
             dreal *tape, int64_t tape_stride, spike_list *out);
void gpu_lif_back(backend *be, const lif_par *par, int64_t step0, int nt, view current, const int64_t *id, const dreal *tape, int64_t tape_stride,
                  view g_count, dreal *g_state, int64_t g_state_stride, view g_current, double *g_par, int64_t g_par_stride);
void gpu_neuron(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, dreal *state, int64_t state_stride, view y,
                dreal *tape, int64_t tape_stride, spike_list *out);
void gpu_neuron_back(backend *be, const neuron_desc *d, const int64_t *id, int64_t step0, int nt, view x, const dreal *tape, int64_t tape_stride,
                     view gy, dreal *g_state, int64_t g_state_stride, view gx, double *g_par, int64_t g_par_stride);

#ifdef __cplusplus
}
#endif
#endif

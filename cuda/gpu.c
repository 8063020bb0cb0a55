/* gpu.c - the CUDA backend's host side: device, memory, queue, tables that kernels read; the table of ops. */
#include "gpu.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "gpu_device.h"
#include "gpu_graph.h"

/* A host table on the device: what was seen at an address, kept to see whether it has changed. */
typedef struct table {
    const void *host;
    size_t bytes;
    void *seen, *device;
    int64_t used; /* clock of the last use */
} table;
enum { MOST_TABLES = 512 };

typedef struct gpu_own {
    gpu_seats *seats;
    cudaStream_t stream;
    struct gpu_copies *copies;
    gpu_graphs *graphs;
    void *scratch;
    size_t scratch_bytes;
    table tables[MOST_TABLES];
    int ntable;
    int64_t clock;
    struct gpu_results *results;
    struct gpu_spike_queue *spikes; /* gpu_spikes.c */
} gpu_own;

static gpu_own *own_of(const backend *be)
{
    return be->own;
}

/* --- the queue ------------------------------------------------------------------------------------------------------------ */
cudaStream_t gpu_stream(const backend *be)
{
    return own_of(be)->stream;
}

struct gpu_copies *gpu_copies(const backend *be)
{
    return own_of(be)->copies;
}

gpu_graphs *gpu_graphs_of(const backend *be)
{
    return own_of(be)->graphs;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void gpu_check(cudaError_t e, const char *call, const char *file, int line)
{
    static const char *last_call = "none", *last_file = "";
    static int last_line;
    if (e != cudaSuccess) {
        error_fatal(EXIT_NO_DEVICE,
                    "CUDA: %s at %s:%d: %s (%s); the last that went well is %s at %s:%d. A fault of a kernel shows at a later call, CUDA_LAUNCH_BLOCKING=1 shows where",
                    call, file_name(file), line, cudaGetErrorString(e), cudaGetErrorName(e), last_call, file_name(last_file), last_line);
    }
    last_call = call;
    last_file = file;
    last_line = line;
}

/* --- memory --------------------------------------------------------------------------------------------------------------- */
void *gpu_malloc(backend *be, size_t bytes)
{
    ASSERT(!gpu_is_capturing(be));
    void *p = NULL;
    cudaError_t e = cudaMalloc(&p, bytes > 0 ? bytes : 1);
    if (e == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, total = 0;
        GPU_CHECK(cudaMemGetInfo(&free_bytes, &total));
        error_fatal(EXIT_NO_DEVICE, "the device has no %.1f MB left (%.1f of %.1f MB are free); use more ranks and devices, or a smaller run.chunk",
                    (double)bytes / 1e6, (double)free_bytes / 1e6, (double)total / 1e6);
    }
    gpu_check(e, "cudaMalloc", __FILE__, __LINE__);
    return p;
}

void gpu_free(backend *be, void *p)
{
    if (p) {
        gpu_repeat_forget(be); /* graphs may name it */
        GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
        GPU_CHECK(cudaFree(p));
    }
}

void *gpu_scratch(backend *be, size_t bytes)
{
    gpu_own *own = own_of(be);
    if (bytes > own->scratch_bytes) {
        gpu_free(be, own->scratch);
        own->scratch = gpu_malloc(be, bytes);
        own->scratch_bytes = bytes;
    }
    return own->scratch;
}

static dreal *alloc(backend *be, int64_t n)
{
    return gpu_malloc(be, (size_t)n * sizeof(real));
}

static void release(backend *be, dreal *p)
{
    gpu_free(be, p);
}

/* What overlaps goes through the working memory. */
static void move(backend *be, dreal *to, const dreal *from, int64_t n)
{
    size_t bytes = (size_t)n * sizeof(real);
    const dreal *source = from;
    if (to < from + n && from < to + n) {
        dreal *between = gpu_scratch(be, bytes);
        GPU_CHECK(cudaMemcpyAsync(between, from, bytes, cudaMemcpyDeviceToDevice, gpu_stream(be)));
        source = between;
    }
    GPU_CHECK(cudaMemcpyAsync(to, source, bytes, cudaMemcpyDeviceToDevice, gpu_stream(be)));
}

static void reserve(backend *be, int64_t n)
{
    gpu_scratch(be, (size_t)n * sizeof(real));
}

/* One stream and one set of leaves: a device wants them all at once. */
static void each_leaf(backend *be, int nleaf, void (*work)(void *ctx, int first, int n, int worker), void *ctx)
{
    (void)be;
    if (nleaf > 0) {
        work(ctx, 0, nleaf, 0);
    }
}

/* --- tables ----------------------------------------------------------------------------------------------------------------- */
static table *find_table(gpu_own *own, const void *host, size_t bytes)
{
    for (int i = 0; i < own->ntable; i++) {
        if (own->tables[i].host == host && own->tables[i].bytes == bytes) {
            return &own->tables[i];
        }
    }
    return NULL;
}

static table *new_table(backend *be, const void *host, size_t bytes)
{
    gpu_own *own = own_of(be);
    table *t = &own->tables[0];
    if (own->ntable < MOST_TABLES) {
        t = &own->tables[own->ntable++];
    } else {
        for (int i = 1; i < MOST_TABLES; i++) {
            t = own->tables[i].used < t->used ? &own->tables[i] : t;
        }
        gpu_free(be, t->device);
        memory_free(t->seen);
    }
    *t = (table){host, bytes, memory_alloc(bytes, 1), gpu_malloc(be, bytes), 0};
    return t;
}

const void *gpu_table(backend *be, const void *host, size_t bytes)
{
    gpu_own *own = own_of(be);
    table *t = find_table(own, host, bytes);
    if (!t || memcmp(t->seen, host, bytes) != 0) {
        ASSERT(!gpu_is_capturing(be));
        t = t ? t : new_table(be, host, bytes);
        memcpy(t->seen, host, bytes);
        gpu_put(be, t->device, t->seen, bytes);
    }
    t->used = ++own->clock;
    return t->device;
}

/* --- kept for other files ----------------------------------------------------------------------------------------------------- */
struct gpu_spike_queue **gpu_spike_queue(backend *be)
{
    return &own_of(be)->spikes;
}

struct gpu_results *gpu_results(const backend *be)
{
    return own_of(be)->results;
}

/* --- the table ---------------------------------------------------------------------------------------------------------------- */
static const backend_ops gpu_ops = {
    .name = "cuda",
    .alloc = alloc,
    .release = release,
    .upload = gpu_upload,
    .download = gpu_download,
    .fetch = gpu_fetch,
    .fetched = gpu_fetched,
    .host_alloc = gpu_host_alloc,
    .host_release = gpu_host_release,
    .move = move,
    .fill = gpu_fill,
    .add = gpu_add,
    .sync = gpu_settle,
    .reserve = reserve,
    .each_leaf = each_leaf,
    .repeat_begin = gpu_repeat_begin,
    .repeat_end = gpu_repeat_end,
    .pack = gpu_pack,
    .unpack = gpu_unpack,
    .edge = gpu_edge,
    .unpack_add = gpu_unpack_add,
    .take = gpu_take,
    .edge_back = gpu_edge_back,
    .conv_create = gpu_conv_create,
    .conv_look = gpu_conv_look,
    .conv_destroy = gpu_conv_destroy,
    .conv = gpu_conv,
    .conv_taped = gpu_conv_taped,
    .conv_set = gpu_conv_set,
    .conv_back = gpu_conv_back,
    .conv_start_back = gpu_conv_start_back,
    .conv_start = gpu_conv_start,
    .blur_create = gpu_blur_create,
    .blur_destroy = gpu_blur_destroy,
    .blur_set = gpu_blur_set,
    .blur_set_taps = gpu_blur_set_taps,
    .blur = gpu_blur,
    .blur_back = gpu_blur_back,
    .blur_back_par = gpu_blur_back_par,
    .heat_step = gpu_heat_step,
    .heat_step_back = gpu_heat_step_back,
    .scan = gpu_scan,
    .map = gpu_map,
    .combine = gpu_combine,
    .normalise = gpu_normalise,
    .unit_sums = gpu_unit_sums,
    .unit_line = gpu_unit_line,
    .unit_line_back = gpu_unit_line_back,
    .pool_space = gpu_pool_space,
    .pool_space_back = gpu_pool_space_back,
    .noise = gpu_noise,
    .scan_back = gpu_scan_back,
    .map_back = gpu_map_back,
    .combine_back = gpu_combine_back,
    .normalise_back = gpu_normalise_back,
    .neuron = gpu_neuron,
    .neuron_back = gpu_neuron_back,
    .loss = gpu_loss,
    .gain_step = gpu_gain_step,
    .gain_q = gpu_gain_q,
    .gain_convis = gpu_gain_convis,
    .gain_step_back = gpu_gain_step_back,
    .gain_convis_back = gpu_gain_convis_back,
    .gain_q_back = gpu_gain_q_back,
    .link_create = gpu_link_create,
    .link_destroy = gpu_link_destroy,
    .link = gpu_link,
    .link_back = gpu_link_back,
    .lif = gpu_lif,
    .lif_back = gpu_lif_back,
};

backend *gpu_open(int nthread)
{
    (void)nthread; /* of the CPU */
    backend *be = MEMORY_NEW(backend, 1);
    gpu_own *own = MEMORY_NEW(gpu_own, 1);
    be->ops = &gpu_ops;
    be->own = own;
    be->nthread = 1;
    be->one_leaf_a_call = false;
    own->seats = gpu_seats_take();
    const gpu_seat *mine = &own->seats->seat[own->seats->rank];
    snprintf(be->device, sizeof be->device, "cuda: %s, sm_%d%d", mine->name, mine->major, mine->minor);
    GPU_CHECK(cudaStreamCreateWithFlags(&own->stream, cudaStreamNonBlocking));
    own->copies = gpu_copies_open();
    own->graphs = gpu_graphs_create();
    own->results = gpu_results_open();
    return be;
}

void gpu_say(const backend *be)
{
    gpu_seats_say(own_of(be)->seats);
}

/* Less what is taken later and not planned: kernels, plans of CUDA's libraries, copies on their way. */
void gpu_memory(const backend *be, size_t *free_bytes, size_t *all_bytes)
{
    const gpu_seats *s = own_of(be)->seats;
    const size_t most = (size_t)1 << 30;
    GPU_CHECK(cudaMemGetInfo(free_bytes, all_bytes));
    size_t spare = *all_bytes / 16 < most ? *all_bytes / 16 : most;
    *free_bytes = (*free_bytes > spare ? *free_bytes - spare : 0) / (size_t)gpu_seats_sharers(s, s->rank);
}

void gpu_close(backend *be)
{
    gpu_own *own = own_of(be);
    GPU_CHECK(cudaStreamSynchronize(own->stream));
    gpu_spikes_close(be);
    gpu_copies_close(be);
    gpu_graphs_destroy(be);
    own->graphs = NULL;
    for (int i = 0; i < own->ntable; i++) {
        gpu_free(be, own->tables[i].device);
        memory_free(own->tables[i].seen);
    }
    gpu_free(be, own->scratch);
    gpu_results_close(be);
    GPU_CHECK(cudaStreamDestroy(own->stream));
    gpu_seats_destroy(own->seats);
    memory_free(own);
    memory_free(be);
}

/* gpu_graph.c - work that comes again and again, as CUDA graphs: the steps of a coupled recurrence then cost one launch a chunk.
 *
 * The first time work is issued plainly, so that tables, scratch and plans are there; the second time the queue captures it; from then on it is
 * replayed.  A graph holds addresses and values of arguments: the key must name all that vary.  Whatever is freed drops all graphs (gpu_free).  Doubles
 * for the host are the graph's own (gpu_result.c). */
#include "gpu_graph.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "gpu_result.h"

enum { MOST_GRAPHS = 64, MOST_RESULTS = 1 << 20 }; /* doubles for the host of one graph; work that has more is issued plainly, its kernels are not short */

typedef struct graph {
    int n; /* of the key */
    int64_t *key;
    cudaGraphExec_t run; /* NULL: not captured yet */
    int64_t nresult;     /* doubles for the host, as the plain run asked for them */
    gpu_noted *results;
    int64_t used;
} graph;

struct gpu_graphs {
    graph all[MOST_GRAPHS];
    int ngraph;
    graph *open; /* between begin and end */
    bool capturing;
    int64_t clock;
};

gpu_graphs *gpu_graphs_create(void)
{
    return MEMORY_NEW(gpu_graphs, 1);
}

bool gpu_is_capturing(const backend *be)
{
    const gpu_graphs *g = gpu_graphs_of(be);
    return g && g->capturing;
}

static void drop(backend *be, graph *g)
{
    gpu_results_drop(be, g->results);
    if (g->run) {
        GPU_CHECK(cudaGraphExecDestroy(g->run));
    }
    memory_free(g->key);
    *g = (graph){0};
}

void gpu_repeat_forget(backend *be)
{
    gpu_graphs *own = gpu_graphs_of(be);
    if (!own || own->ngraph == 0) {
        return;
    }
    ASSERT(!own->capturing);
    GPU_CHECK(cudaStreamSynchronize(gpu_stream(be)));
    int kept = 0;
    for (int i = 0; i < own->ngraph; i++) {
        if (&own->all[i] == own->open) { /* its first, plain run: what it frees is not yet in any graph of its own */
            own->all[kept++] = own->all[i];
        } else {
            drop(be, &own->all[i]);
        }
    }
    own->ngraph = kept;
    own->open = own->open ? &own->all[0] : NULL;
}

void gpu_graphs_destroy(backend *be)
{
    gpu_repeat_forget(be);
    memory_free(gpu_graphs_of(be));
}

static graph *find(gpu_graphs *own, int n, const int64_t *key)
{
    for (int i = 0; i < own->ngraph; i++) {
        if (own->all[i].n == n && memcmp(own->all[i].key, key, (size_t)n * sizeof *key) == 0) {
            return &own->all[i];
        }
    }
    return NULL;
}

/* A place for another key: that of the graph which was not used for longest, when all are taken. */
static graph *new_graph(backend *be, int n, const int64_t *key)
{
    gpu_graphs *own = gpu_graphs_of(be);
    graph *g = &own->all[0];
    if (own->ngraph < MOST_GRAPHS) {
        g = &own->all[own->ngraph++];
    } else {
        for (int i = 1; i < MOST_GRAPHS; i++) {
            g = own->all[i].used < g->used ? &own->all[i] : g;
        }
        drop(be, g);
    }
    *g = (graph){.n = n, .key = MEMORY_NEW(int64_t, n)};
    memcpy(g->key, key, (size_t)n * sizeof *key);
    return g;
}

static void replay(backend *be, const graph *g)
{
    GPU_CHECK(cudaGraphLaunch(g->run, gpu_stream(be)));
    gpu_results_queue(be, g->results);
}

bool gpu_repeat_begin(backend *be, int n, const int64_t *key)
{
    gpu_graphs *own = gpu_graphs_of(be);
    ASSERT(!own->open);
    graph *g = find(own, n, key);
    bool captures = g && g->nresult <= MOST_RESULTS;
    if (captures) {
        gpu_results_room(be, g->nresult);
        g = find(own, n, key);
        captures = g != NULL;
    }
    g = g ? g : new_graph(be, n, key);
    g->used = ++own->clock;
    if (g->run) {
        replay(be, g);
        return false;
    }
    own->open = g;
    if (captures) {
        g->results = gpu_results_note(be, g->nresult);
        own->capturing = true;
        GPU_CHECK(cudaStreamBeginCapture(gpu_stream(be), cudaStreamCaptureModeRelaxed));
    } else {
        g->nresult = -gpu_results_asked(be);
    }
    return true;
}

void gpu_repeat_end(backend *be)
{
    gpu_graphs *own = gpu_graphs_of(be);
    graph *g = own->open;
    own->open = NULL;
    if (own->capturing) {
        cudaGraph_t captured;
        GPU_CHECK(cudaStreamEndCapture(gpu_stream(be), &captured));
        own->capturing = false;
        gpu_results_noted(be);
        GPU_CHECK(cudaGraphInstantiate(&g->run, captured, 0));
        GPU_CHECK(cudaGraphDestroy(captured));
        replay(be, g);
    } else {
        g->nresult += gpu_results_asked(be);
    }
}

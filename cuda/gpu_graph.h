/* gpu_graph.h - graphs of repeated work (gpu_graph.c), kept by gpu.c with the rest of the backend. */
#ifndef GPU_GRAPH_H
#define GPU_GRAPH_H
#include "gpu.h"

typedef struct gpu_graphs gpu_graphs;
gpu_graphs *gpu_graphs_create(void);
void gpu_graphs_destroy(backend *be);
gpu_graphs *gpu_graphs_of(const backend *be);
bool gpu_is_capturing(const backend *be); /* nothing is run now: no upload, no allocation, no wait */
#endif

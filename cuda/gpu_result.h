/* gpu_result.h - results of work that is captured (gpu_result.c), for gpu_graph.c; what ops need of results stands in gpu.h. */
#ifndef GPU_RESULT_H
#define GPU_RESULT_H
#include "gpu.h"

/* Doubles of a graph's own, which its kernels write at every replay, and whose they are. */
typedef struct gpu_noted gpu_noted;

int64_t gpu_results_asked(const backend *be);        /* doubles that gpu_result has given so far */
gpu_noted *gpu_results_note(backend *be, int64_t n); /* from here on gpu_result gives places among n new ones; n 0: none, NULL */
void gpu_results_noted(backend *be);                 /* to here */
/* Room for n more on their way; what fills it goes to the host first, which may free what spikes took and so drop graphs. */
void gpu_results_room(backend *be, int64_t n);
/* Once the graph is launched: they go to the host at the next sync, in their turn; there is room for them.  NULL is allowed, as for drop. */
void gpu_results_queue(backend *be, const gpu_noted *b);
void gpu_results_drop(backend *be, gpu_noted *b);    /* waits for the queue */
#endif

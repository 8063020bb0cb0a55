/* emulate.h - the emulated device among its own files: emulate.cpp (devices, memory, kernels), streams.cpp (streams, events, copies, graphs), cufft.cpp,
 * faults.cpp (faults that it must find). */
#ifndef EMULATE_H
#define EMULATE_H
#include "cuda_runtime.h"

[[noreturn]] void emulate_wrong(const char *what, const char *name);
bool emulate_in_arena(const void *p);
bool emulate_is_pinned(const void *p, size_t bytes);
/* Memory of the device that no one array holds all of, or that was freed: abort. */
void emulate_look(const void *p, size_t bytes, const char *what);
void emulate_look_at_all(const char *when); /* the sentinels */

extern int emulate_capturing; /* streams */
bool emulate_is_captured(cudaStream_t s);
void emulate_not_in_a_capture(const char *call);
void emulate_finish_all(void); /* what all streams wait with */
extern int64_t emulate_nlaunch, emulate_nkernel;
extern int emulate_nplan;   /* of cuFFT */
void emulate_left(void);    /* what is left of host memory and plans as the last stream ends: abort */
#endif

/* memory.h - host memory: aligned, zeroed, counted.  Running out is fatal here, so callers have no error path. */
#ifndef MEMORY_H
#define MEMORY_H
#include "base/base.h"

/* Zeroed, 64-byte aligned memory for n elements; n == 0 gives a valid pointer.  Fatal (EXIT_NO_DEVICE) when there is none. */
void *memory_alloc(size_t n, size_t element_bytes);
#define MEMORY_NEW(type, n) ((type *)memory_alloc((size_t)(n), sizeof(type)))

/* Grows (or shrinks) to n elements; new ones are zero.  p may be NULL. */
void *memory_grow(void *p, size_t n, size_t element_bytes);
void memory_free(void *p); /* NULL is allowed */
char *memory_text(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* formatted string; memory_free it */

size_t memory_bytes_now(void);
size_t memory_rss_peak(void);       /* of the process as the system counts it, bytes */
size_t memory_bytes_available(void); /* of the machine, bytes */
#endif

/* memory.c - a header of 64 bytes before each block holds its size. */
#include "base/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/error.h"

enum { ALIGN = 64, LARGE = 2 << 20 /* a huge page */ };

static atomic_size_t bytes_now;

static size_t *header_of(void *p)
{
    return (size_t *)((char *)p - ALIGN);
}

void *memory_alloc(size_t n, size_t element_bytes)
{
    ASSERT(element_bytes > 0 && n <= (SIZE_MAX - 2 * ALIGN) / element_bytes);
    size_t bytes = n * element_bytes;
    size_t align = bytes >= LARGE ? LARGE : ALIGN, whole = (bytes + ALIGN + align - 1) / align * align;
    char *block = aligned_alloc(align, whole);
    if (block && align == LARGE) {
        madvise(block, whole, MADV_HUGEPAGE); /* fields of many tiles are swept step by step: far fewer look-ups of pages */
    }
    if (!block) {
        error_fatal(EXIT_NO_DEVICE, "out of memory: %zu bytes asked for, %zu in use; use more ranks or a smaller field",
                    bytes, memory_bytes_now());
    }
    memset(block, 0, whole);
    *(size_t *)block = bytes;
    atomic_fetch_add(&bytes_now, bytes);
    return block + ALIGN;
}

void *memory_grow(void *p, size_t n, size_t element_bytes)
{
    void *q = memory_alloc(n, element_bytes);
    if (p) {
        size_t old = *header_of(p), now = n * element_bytes;
        memcpy(q, p, old < now ? old : now);
        memory_free(p);
    }
    return q;
}

void memory_free(void *p)
{
    if (p) {
        atomic_fetch_sub(&bytes_now, *header_of(p));
        free(header_of(p));
    }
}

char *memory_text(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    char *text = MEMORY_NEW(char, n + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

size_t memory_bytes_now(void)
{
    return atomic_load(&bytes_now);
}

size_t memory_rss_peak(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (size_t)use.ru_maxrss * 1024;
}

size_t memory_bytes_available(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    size_t kib = 0;
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return kib * 1024;
}

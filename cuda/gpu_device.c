/* gpu_device.c - choice of a device, and who shares one.  Devices are compared by UUID, so it does not matter which numbers the ranks see them under
 * (CUDA_VISIBLE_DEVICES, --gpus-per-task, containers). */
#include "gpu_device.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "cluster/comm.h"
#include "gpu.h"

enum { MOST_WARNINGS = 4 };

int gpu_count(void)
{
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

static void version_text(int version, char text[16])
{
    snprintf(text, 16, "%d.%d", version / 1000, version % 1000 / 10);
}

const char *gpu_trouble(void)
{
    static char why[256];
    int n = 0, driver = 0, runtime = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    char old[16], wanted[16];
    if (e == cudaErrorInsufficientDriver) {
        if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
            return "no NVIDIA driver is there";
        }
        cudaRuntimeGetVersion(&runtime);
        version_text(driver, old);
        version_text(runtime, wanted);
        snprintf(why, sizeof why, "its driver is for CUDA %s, this chiasm was built with CUDA %s; use a newer driver, or build with CUDA %s", old, wanted, old);
    } else if (e == cudaErrorNoDevice || (e == cudaSuccess && n == 0)) {
        return "no CUDA device is there (nvidia-smi -L lists them, CUDA_VISIBLE_DEVICES hides them)";
    } else if (e != cudaSuccess) {
        snprintf(why, sizeof why, "%s (%s)", cudaGetErrorString(e), cudaGetErrorName(e));
    } else {
        return NULL;
    }
    return why;
}

gpu_seats *gpu_seats_take(void)
{
    gpu_seats *s = MEMORY_NEW(gpu_seats, 1);
    gpu_seat mine = {.visible = gpu_count()};
    struct cudaDeviceProp p;
    mine.number = comm_node_rank() % (mine.visible > 0 ? mine.visible : 1);
    GPU_CHECK(cudaSetDevice(mine.number));
    GPU_CHECK(cudaGetDeviceProperties(&p, mine.number));
    snprintf(mine.host, sizeof mine.host, "%s", comm_host());
    snprintf(mine.name, sizeof mine.name, "%.63s", p.name);
    memcpy(mine.uuid, p.uuid.bytes, sizeof mine.uuid);
    mine.major = p.major;
    mine.minor = p.minor;
    mine.bytes = p.totalGlobalMem;
    s->nrank = comm_size();
    s->rank = comm_rank();
    s->seat = MEMORY_NEW(gpu_seat, s->nrank);
    if (s->nrank > 1) {
        comm_gather(&mine, sizeof mine, s->seat);
    } else {
        s->seat[0] = mine;
    }
    return s;
}

void gpu_seats_destroy(gpu_seats *s)
{
    memory_free(s->seat);
    memory_free(s);
}

static bool same_device(const gpu_seat *a, const gpu_seat *b)
{
    return memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0 && strcmp(a->host, b->host) == 0;
}

int gpu_seats_sharers(const gpu_seats *s, int rank)
{
    int n = 0;
    for (int r = 0; r < s->nrank; r++) {
        n += same_device(&s->seat[r], &s->seat[rank]);
    }
    return n;
}

/* --- words ------------------------------------------------------------------------------------------------------------------ */
/* A text that grows. */
static void __attribute__((format(printf, 2, 3))) append(char **text, const char *fmt, ...)
{
    char piece[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    char *longer = memory_text("%s%s", *text, piece);
    memory_free(*text);
    *text = longer;
}

/* As nvidia-smi writes it; so much of it as CUDA_VISIBLE_DEVICES needs to tell devices apart. */
static void append_uuid(char **text, const gpu_seat *g)
{
    const unsigned char *u = g->uuid;
    append(text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9],
           u[10], u[11], u[12], u[13], u[14], u[15]);
}

/* "rank 3" or "ranks 0-3 8": all on the device of this rank. */
static void append_ranks(char **text, const gpu_seats *s, int rank)
{
    append(text, gpu_seats_sharers(s, rank) > 1 ? "ranks" : "rank");
    for (int r = 0; r < s->nrank; r++) {
        int last = r;
        while (last < s->nrank && same_device(&s->seat[last], &s->seat[rank])) {
            last++;
        }
        if (last > r + 1) {
            append(text, " %d-%d", r, last - 1);
        } else if (last > r) {
            append(text, " %d", r);
        }
        r = last > r ? last - 1 : r;
    }
}

/* No rank before this one is on the same host, or on the same device. */
static bool is_first(const gpu_seats *s, int rank, bool device)
{
    for (int r = 0; r < rank; r++) {
        if (device ? same_device(&s->seat[r], &s->seat[rank]) : strcmp(s->seat[r].host, s->seat[rank].host) == 0) {
            return false;
        }
    }
    return true;
}

static void say_node(const gpu_seats *s, int first)
{
    char *line = memory_text("gpu      %s:", s->seat[first].host);
    const char *name = "";
    for (int r = first; r < s->nrank; r++) {
        const gpu_seat *g = &s->seat[r];
        if (strcmp(g->host, s->seat[first].host) != 0 || !is_first(s, r, true)) {
            continue;
        }
        append(&line, r > first ? "; " : " ");
        append_ranks(&line, s, r);
        append(&line, " on %s%d ", gpu_seats_sharers(s, r) > 1 ? "one device, " : "", g->number);
        if (strcmp(name, g->name) != 0) {
            append(&line, "%s (sm_%d%d, %.4g GB, %s) ", g->name, g->major, g->minor, (double)g->bytes / 1e9, strstr(g->name, "MIG ") ? "MIG" : "no MIG");
        }
        name = g->name;
        append_uuid(&line, g);
    }
    log_say(LOG_PROGRESS, "%s", line);
    memory_free(line);
}

static void warn_of_sharing(const gpu_seats *s)
{
    int shared = 0;
    for (int r = 0; r < s->nrank; r++) {
        if (gpu_seats_sharers(s, r) == 1 || !is_first(s, r, true) || shared++ >= MOST_WARNINGS) {
            continue;
        }
        char *who = memory_text("%s", "");
        append_ranks(&who, s, r);
        log_warn("%s on %s share one GPU (device %d, %s): they wait for one another and divide its memory; start as many ranks a node as it has GPUs", who,
                 s->seat[r].host, s->seat[r].number, s->seat[r].name);
        memory_free(who);
    }
    if (shared > MOST_WARNINGS) {
        log_warn("%d more GPUs are shared by several ranks", shared - MOST_WARNINGS);
    }
}

void gpu_seats_say(const gpu_seats *s)
{
    if (s->rank != 0) {
        return;
    }
    for (int r = 0; r < s->nrank; r++) {
        if (is_first(s, r, false)) {
            say_node(s, r);
        }
    }
    warn_of_sharing(s);
}

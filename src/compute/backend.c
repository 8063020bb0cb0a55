/* backend.c - choice of a processor by name. */
#include "compute/backend.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cluster/comm.h"
#include "compute/cpu.h"

/* Of cuda/, where it is linked in. */
__attribute__((weak)) const char *gpu_trouble(void); /* why this process can use no device; NULL: it can */
__attribute__((weak)) backend *gpu_open(int nthread);
__attribute__((weak)) void gpu_close(backend *be);
__attribute__((weak)) void gpu_say(const backend *be);
__attribute__((weak)) void gpu_memory(const backend *be, size_t *free_bytes, size_t *all_bytes);

typedef struct finding {
    char host[64], why[256]; /* why "": nothing is wrong */
} finding;

/* What keeps the ranks from using CUDA: of the first rank that cannot.  Collective. */
static bool look_for_trouble(finding *f)
{
    const char *why = gpu_trouble();
    double first = why ? comm_rank() : comm_size();
    *f = (finding){"", ""};
    snprintf(f->host, sizeof f->host, "%s", comm_host());
    snprintf(f->why, sizeof f->why, "%s", why ? why : "");
    if (comm_size() > 1) {
        comm_min_double(&first, 1);
        comm_broadcast(f, sizeof *f, first < comm_size() ? (int)first : 0);
    }
    return first < comm_size();
}

static backend *open_cuda(int nthread)
{
    finding f;
    if (!gpu_open) {
        if (comm_rank() == 0) {
            error_fatal(EXIT_NO_DEVICE, "this chiasm was built without CUDA; run with --device cpu, or build it with the CUDA toolkit on PATH (nvcc): "
                                        "cmake --preset cuda && cmake --build build-cuda -j");
        }
        comm_barrier(); /* until rank 0 has ended all */
    }
    if (look_for_trouble(&f)) {
        if (comm_rank() == 0) {
            error_fatal(EXIT_NO_DEVICE, "no GPU can be used on %s: %s; or run with --device cpu", f.host[0] ? f.host : "this machine", f.why);
        }
        comm_barrier();
    }
    return gpu_open(nthread);
}

/* All ranks or none: a run has one kind of processor, as bits differ between kinds. */
static const char *best(void)
{
    finding f;
    if (!gpu_open) {
        log_say(LOG_DETAIL, "device   cpu: this chiasm was built without CUDA");
        return "cpu";
    }
    if (look_for_trouble(&f)) {
        log_say(LOG_PROGRESS, "device   cpu: no GPU can be used on %s: %s", f.host[0] ? f.host : "this machine", f.why);
        return "cpu";
    }
    return "cuda";
}

const char *backend_choose(const char *name)
{
    return strcmp(name, "auto") == 0 ? best() : name;
}

backend *backend_open(const char *name, int nthread)
{
    const char *chosen = backend_choose(name);
    if (strcmp(chosen, "cpu") == 0) {
        return cpu_open(nthread);
    }
    if (strcmp(chosen, "cuda") == 0) {
        return open_cuda(nthread);
    }
    error_fatal(EXIT_USAGE, "unknown device '%s'; cpu, cuda and auto are known", name);
}

static bool is_cuda(const backend *be)
{
    return strcmp(be->ops->name, "cuda") == 0;
}

void backend_close(backend *be)
{
    if (be && is_cuda(be)) {
        gpu_close(be);
    } else if (be) {
        cpu_close(be);
    }
}

void backend_say(const backend *be)
{
    if (is_cuda(be)) {
        gpu_say(be);
    }
}

bool backend_memory(const backend *be, size_t *free_bytes, size_t *all_bytes)
{
    if (is_cuda(be)) {
        gpu_memory(be, free_bytes, all_bytes);
    }
    return is_cuda(be);
}

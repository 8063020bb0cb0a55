/* backend.c - choice of a processor by name. */
#include "compute/backend.h"

#include <string.h>

#include "base/error.h"
#include "compute/cpu.h"

backend *backend_open(const char *name, int nthread)
{
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0) {
        return cpu_open(nthread);
    }
    if (strcmp(name, "cuda") == 0) {
        error_fatal(EXIT_NO_DEVICE, "this chiasm has no CUDA backend; run with --device cpu");
    }
    error_fatal(EXIT_USAGE, "unknown device '%s'; cpu, cuda and auto are known", name);
}

void backend_close(backend *be)
{
    if (be) {
        cpu_close(be);
    }
}

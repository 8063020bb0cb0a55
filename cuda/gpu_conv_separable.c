/* gpu_conv_separable.c - tables of a separable convolution. */
#include "base/memory.h"
#include "compute/conv.h"
#include "gpu_conv.h"

static real *put_reals(backend *be, const double *from, int64_t n)
{
    real *rounded = MEMORY_NEW(real, n), *device = gpu_malloc(be, (size_t)n * sizeof(real));
    for (int64_t i = 0; i < n; i++) {
        rounded[i] = (real)from[i];
    }
    gpu_put(be, device, rounded, (size_t)n * sizeof(real));
    memory_free(rounded);
    return device;
}

static int *put_ints(backend *be, int *from, int64_t n) /* and frees them */
{
    int *device = gpu_malloc(be, (size_t)n * sizeof(int));
    gpu_put(be, device, from, (size_t)n * sizeof(int));
    memory_free(from);
    return device;
}

/* first[k] of n things that are numbered by kind: where those of kind k begin when they are put in order. */
static int *begins(const int *kind, int n, int nkind)
{
    int *first = MEMORY_NEW(int, nkind + 1);
    for (int i = 0; i < n; i++) {
        first[kind[i] + 1]++;
    }
    for (int k = 0; k < nkind; k++) {
        first[k + 1] += first[k];
    }
    return first;
}

gpu_separable *gpu_separable_create(backend *be, const conv_shape *c, const struct conv_factors *f)
{
    gpu_separable *p = MEMORY_NEW(gpu_separable, 1);
    int *output = MEMORY_NEW(int, f->nterm), *time = MEMORY_NEW(int, f->nterm), *input = MEMORY_NEW(int, f->ntime),
        *times = MEMORY_NEW(int, f->ntime);
    p->c = *c;
    p->nterm = f->nterm;
    p->ntime = f->ntime;
    for (int n = 0; n < f->nterm; n++) {
        output[n] = f->term[n].out;
        time[n] = f->term[n].time;
        input[time[n]] = f->term[n].out / c->nout * c->nin + f->term[n].in;
    }
    int *of_input = begins(input, f->ntime, c->nchan_in);
    for (int i = 0, n = 0; i < c->nchan_in; i++) {
        for (int k = 0; k < f->ntime; k++) {
            if (input[k] == i) {
                times[n++] = k;
            }
        }
    }
    p->of_output = put_ints(be, begins(output, f->nterm, c->nchan_out), c->nchan_out + 1);
    p->of_time = put_ints(be, begins(time, f->nterm, f->ntime), f->ntime + 1);
    p->of_input = put_ints(be, of_input, c->nchan_in + 1);
    p->times = put_ints(be, times, f->ntime);
    p->time_of = put_ints(be, time, f->nterm);
    p->input_of = put_ints(be, input, f->ntime);
    p->time = put_reals(be, f->time, (int64_t)f->ntime * c->kt);
    p->vertical = put_reals(be, f->vertical, (int64_t)f->nterm * c->ky);
    p->horizontal = put_reals(be, f->horizontal, (int64_t)f->nterm * c->kx);
    memory_free(output);
    return p;
}

void gpu_separable_destroy(backend *be, gpu_separable *p)
{
    if (p) {
        void *all[] = {p->of_output, p->of_time, p->of_input, p->times, p->time_of, p->input_of, p->time, p->vertical, p->horizontal};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            gpu_free(be, all[i]);
        }
        memory_free(p);
    }
}

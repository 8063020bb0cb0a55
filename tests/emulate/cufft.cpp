/* cufft.cpp - transforms of cufft.h by FFTW.
 *
 * As cuFFT may: the input of a backward transform and the work area are spoiled; data must be aligned as complex numbers are. */
#include "cufft.h"

#include <fftw3.h>
#include <string.h>

#include <vector>

#include "emulate.h"

namespace
{
struct transform {
    fftwf_plan single;
    fftw_plan twice;
    cudaStream_t stream;
    size_t spectra;  /* bytes of all of a batch */
    bool takes_area; /* cufftSetAutoAllocation */
    char *area;
};
enum { AREA = 4096 };
std::vector<transform> plans;

transform *at(cufftHandle h)
{
    return h >= 0 && h < (int)plans.size() ? &plans[(size_t)h] : NULL;
}
} // namespace
int emulate_nplan;

cufftResult cufftCreate(cufftHandle *plan)
{
    plans.push_back(transform());
    *plan = (int)plans.size() - 1;
    emulate_nplan++;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetAutoAllocation(cufftHandle plan, int on)
{
    if (!at(plan)) {
        return CUFFT_INVALID_PLAN;
    }
    at(plan)->takes_area = !on;
    return CUFFT_SUCCESS;
}

cufftResult cufftMakePlanMany(cufftHandle plan, int rank, int *n, int *inembed, int istride, int idist, int *onembed, int ostride, int odist, cufftType type,
                              int batch, size_t *work_bytes)
{
    transform *t = at(plan);
    const bool forward = type == CUFFT_R2C || type == CUFFT_D2Z; /* which leaves its input as it was */
    const unsigned how = FFTW_ESTIMATE | FFTW_UNALIGNED | (forward ? FFTW_PRESERVE_INPUT : FFTW_DESTROY_INPUT);
    /* FFTW_ESTIMATE looks at no numbers; these addresses only say that the plan is out of place. */
    void *in = (void *)64, *out = (void *)128;
    if (!t || batch < 1) {
        return CUFFT_INVALID_VALUE;
    }
    switch (type) {
    case CUFFT_R2C:
        t->single = fftwf_plan_many_dft_r2c(rank, n, batch, (float *)in, inembed, istride, idist, (fftwf_complex *)out, onembed, ostride, odist, how);
        break;
    case CUFFT_C2R:
        t->single = fftwf_plan_many_dft_c2r(rank, n, batch, (fftwf_complex *)in, inembed, istride, idist, (float *)out, onembed, ostride, odist, how);
        break;
    case CUFFT_D2Z:
        t->twice = fftw_plan_many_dft_r2c(rank, n, batch, (double *)in, inembed, istride, idist, (fftw_complex *)out, onembed, ostride, odist, how);
        break;
    case CUFFT_Z2D:
        t->twice = fftw_plan_many_dft_c2r(rank, n, batch, (fftw_complex *)in, inembed, istride, idist, (double *)out, onembed, ostride, odist, how);
        break;
    default:
        return CUFFT_INVALID_VALUE;
    }
    t->spectra = (size_t)batch * (t->single ? sizeof(fftwf_complex) : sizeof(fftw_complex));
    for (int i = 0; i < rank; i++) {
        t->spectra *= (size_t)(i < rank - 1 ? n[i] : n[i] / 2 + 1);
    }
    *work_bytes = AREA;
    return t->single || t->twice ? CUFFT_SUCCESS : CUFFT_INVALID_VALUE;
}

cufftResult cufftPlanMany(cufftHandle *plan, int rank, int *n, int *inembed, int istride, int idist, int *onembed, int ostride, int odist, cufftType type,
                          int batch)
{
    size_t bytes;
    cufftCreate(plan);
    return cufftMakePlanMany(*plan, rank, n, inembed, istride, idist, onembed, ostride, odist, type, batch, &bytes);
}

cufftResult cufftGetSize(cufftHandle plan, size_t *work_bytes)
{
    *work_bytes = AREA;
    return at(plan) ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}

cufftResult cufftSetWorkArea(cufftHandle plan, void *memory)
{
    if (!at(plan)) {
        return CUFFT_INVALID_PLAN;
    }
    at(plan)->area = (char *)memory;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle plan, cudaStream_t s)
{
    if (!at(plan)) {
        return CUFFT_INVALID_PLAN;
    }
    at(plan)->stream = s;
    return CUFFT_SUCCESS;
}

/* back: the input is spoiled. */
template <class F> static cufftResult run(cufftHandle plan, void *in, void *out, bool back, const F &what)
{
    if (!at(plan) || !(at(plan)->single || at(plan)->twice)) {
        return CUFFT_INVALID_PLAN;
    }
    transform t = *at(plan);
    size_t number = t.single ? sizeof(fftwf_complex) : sizeof(fftw_complex);
    if ((uintptr_t)in % number != 0 || (uintptr_t)out % number != 0) {
        emulate_wrong("data that are not aligned as complex numbers", "cuFFT");
    }
    if (t.takes_area && !t.area) {
        emulate_wrong("a transform without a work area", "cuFFT");
    }
    emulate_do(t.stream, [=] {
        emulate_look(back ? in : out, t.spectra, "cuFFT");
        if (t.takes_area) {
            emulate_look(t.area, AREA, "cuFFT");
            memset(t.area, 0xFF, AREA);
        }
        what(t);
        if (back) {
            memset(in, 0xFF, t.spectra);
        }
    });
    return CUFFT_SUCCESS;
}

cufftResult cufftExecR2C(cufftHandle plan, cufftReal *in, cufftComplex *out)
{
    return run(plan, in, out, false, [=](const transform &t) { fftwf_execute_dft_r2c(t.single, in, (fftwf_complex *)out); });
}

cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *in, cufftReal *out)
{
    return run(plan, in, out, true, [=](const transform &t) { fftwf_execute_dft_c2r(t.single, (fftwf_complex *)in, out); });
}

cufftResult cufftExecD2Z(cufftHandle plan, cufftDoubleReal *in, cufftDoubleComplex *out)
{
    return run(plan, in, out, false, [=](const transform &t) { fftw_execute_dft_r2c(t.twice, in, (fftw_complex *)out); });
}

cufftResult cufftExecZ2D(cufftHandle plan, cufftDoubleComplex *in, cufftDoubleReal *out)
{
    return run(plan, in, out, true, [=](const transform &t) { fftw_execute_dft_c2r(t.twice, (fftw_complex *)in, out); });
}

cufftResult cufftDestroy(cufftHandle plan)
{
    transform *t = at(plan);
    if (!t) {
        return CUFFT_INVALID_PLAN;
    }
    fftwf_destroy_plan(t->single);
    fftw_destroy_plan(t->twice);
    *t = transform();
    emulate_nplan--;
    return CUFFT_SUCCESS;
}

cufftResult cufftGetVersion(int *version)
{
    *version = 12000;
    return CUFFT_SUCCESS;
}

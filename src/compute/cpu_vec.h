/* cpu_vec.h - one SIMD register of reals, as wide as the compiler may use. */
#ifndef CPU_VEC_H
#define CPU_VEC_H
#include "base/base.h"

#if defined(__AVX512F__)
enum { VEC_BYTES = 64 };
#elif defined(__AVX__)
enum { VEC_BYTES = 32 };
#else
enum { VEC_BYTES = 16 };
#endif
enum { VEC = VEC_BYTES / (int)sizeof(real) };

typedef real vec __attribute__((vector_size(VEC_BYTES)));
typedef real vec_anywhere __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));

static inline vec vec_load(const real *p)
{
    return *(const vec_anywhere *)p;
}
static inline void vec_store(real *p, vec v)
{
    *(vec_anywhere *)p = v;
}
#endif

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

/* Short rows: without the cost of a call.  n >= VEC goes in registers, the last one overlapping. */
static inline void vec_copy(real *restrict to, const real *restrict from, int n)
{
    if (n < VEC) {
        for (int i = 0; i < n; i++) {
            to[i] = from[i];
            __asm__("" ::: "memory"); /* else the compiler makes a call of it */
        }
        return;
    }
    for (int i = 0; i + VEC <= n; i += VEC) {
        vec_store(to + i, vec_load(from + i));
    }
    vec_store(to + n - VEC, vec_load(from + n - VEC));
}

static inline void vec_zero(real *to, int n)
{
    int i = 0;
    for (; i + VEC <= n; i += VEC) {
        vec_store(to + i, (vec){0});
    }
    for (; i < n; i++) {
        to[i] = 0;
        __asm__("" ::: "memory");
    }
}

/* r[i][l] becomes r[l][i]: halves, then quarters and so on change places. */
#ifdef CHIASM_DOUBLE
typedef int64_t vec_index __attribute__((vector_size(VEC_BYTES)));
#else
typedef int32_t vec_index __attribute__((vector_size(VEC_BYTES)));
#endif
static inline __attribute__((always_inline)) void vec_transpose(vec r[VEC])
{
#pragma GCC unroll 4
    for (int s = VEC / 2; s > 0; s /= 2) {
        vec_index low, high;
        for (int l = 0; l < VEC; l++) {
            low[l] = l & s ? VEC + l - s : l;
            high[l] = l & s ? VEC + l : l + s;
        }
#pragma GCC unroll 16
        for (int i = 0; i < VEC; i++) {
            if (!(i & s)) {
                vec a = r[i], b = r[i + s];
                r[i] = __builtin_shuffle(a, b, low);
                r[i + s] = __builtin_shuffle(a, b, high);
            }
        }
    }
}
#endif

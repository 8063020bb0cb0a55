/* linalg.c - see linalg.h.  LAPACK's own failures (no convergence, memory) are fatal: nothing above could do better. */
#include "analysis/linalg.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

void linalg_start(void)
{
    openblas_set_num_threads(1);
}

void linalg_multiply(bool turn_a, bool turn_b, int m, int n, int k, const double *a, const double *b, double beta, double *c)
{
    cblas_dgemm(CblasRowMajor, turn_a ? CblasTrans : CblasNoTrans, turn_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a, turn_a ? m : k, b,
                turn_b ? k : n, beta, c, n);
}

void linalg_add_square(int rows, int n, const double *x, double *c)
{
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, n, rows, 1, x, n, 1, c, n);
}

void linalg_mirror(int n, double *c)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) {
            c[(size_t)i * (size_t)n + (size_t)j] = c[(size_t)j * (size_t)n + (size_t)i];
        }
    }
}

static void check(int info, const char *what)
{
    if (info != 0) {
        error_fatal(EXIT_INTERNAL, "LAPACK's %s gave up (info %d); does the recording hold a stimulus that varies?", what, info);
    }
}

void linalg_eigen(int n, double *a, double *value)
{
    check(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, value), "dsyevd"); /* columns of LAPACK's matrix are our rows */
    for (int i = 0; i < n; i++) {
        double *v = a + (size_t)i * (size_t)n, most = 0;
        for (int j = 0; j < n; j++) {
            most = fabs(v[j]) > fabs(most) ? v[j] : most;
        }
        for (int j = 0; most < 0 && j < n; j++) {
            v[j] = -v[j];
        }
    }
}

void linalg_eigenvalues(int n, double *a, double *value)
{
    check(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'U', n, a, n, value), "dsyevd");
}

int linalg_power(int n, const double *c, double p, double cut, double *to)
{
    size_t size = (size_t)n * (size_t)n;
    double *v = MEMORY_NEW(double, size), *scaled = MEMORY_NEW(double, size), *value = MEMORY_NEW(double, n);
    memcpy(v, c, size * sizeof *v);
    linalg_eigen(n, v, value);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        bool keep = value[i] > 0 && value[i] > cut * value[n - 1];
        double factor = keep ? pow(value[i], p) : 0;
        kept += keep;
        for (int j = 0; j < n; j++) {
            scaled[(size_t)i * (size_t)n + (size_t)j] = factor * v[(size_t)i * (size_t)n + (size_t)j];
        }
    }
    linalg_multiply(true, false, n, n, n, v, scaled, 0, to);
    memory_free(v);
    memory_free(scaled);
    memory_free(value);
    return kept;
}

void linalg_svd(int m, int n, const double *a, double *u, double *s, double *vt)
{
    int r = m < n ? m : n;
    double *copy = MEMORY_NEW(double, (size_t)m * (size_t)n);
    memcpy(copy, a, (size_t)m * (size_t)n * sizeof *copy);
    check(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', m, n, copy, n, s, u, r, vt, n), "dgesdd");
    memory_free(copy);
}

bool linalg_solve(int n, double *a, double *b)
{
    return LAPACKE_dposv(LAPACK_COL_MAJOR, 'U', n, 1, a, n, b, n) == 0;
}

double linalg_dot(int64_t n, const double *x, const double *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

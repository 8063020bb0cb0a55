/* linalg.h - dense matrices of doubles, row by row, for the analyses.  Only linalg.c includes LAPACKE and CBLAS; one thread, so that the bits of a
 * result depend on the shapes alone. */
#ifndef LINALG_H
#define LINALG_H
#include "base/base.h"

void linalg_start(void); /* one thread; call once before the others */

/* c[m][n] = beta c + a b, a[m][k], b[k][n]; a is stored as its transpose [k][m] if turn_a, b as [n][k] if turn_b. */
void linalg_multiply(bool turn_a, bool turn_b, int m, int n, int k, const double *a, const double *b, double beta, double *c);
/* Upper half of c[n][n] += x'x, x[rows][n]; linalg_mirror copies it to the lower half. */
void linalg_add_square(int rows, int n, const double *x, double *c);
void linalg_mirror(int n, double *c);

/* Symmetric a[n][n] = sum of value[i] v_i v_i', values ascending; a becomes the eigenvectors, one a row, each with its largest element positive. */
void linalg_eigen(int n, double *a, double *value);
/* Values only; a is destroyed. */
void linalg_eigenvalues(int n, double *a, double *value);
/* to[n][n] = c^p of a symmetric c, on the axes whose eigenvalue is above cut times the largest; returns how many those are. */
int linalg_power(int n, const double *c, double p, double cut, double *to);
/* a[m][n] = u[m][r] diag(s[r]) vt[r][n], r = min(m, n), s descending. */
void linalg_svd(int m, int n, const double *a, double *u, double *s, double *vt);
/* Solves the symmetric positive definite a x = b in place of b; a is destroyed.  false: a is not positive definite. */
bool linalg_solve(int n, double *a, double *b);
double linalg_dot(int64_t n, const double *x, const double *y); /* in order of the elements */
#endif

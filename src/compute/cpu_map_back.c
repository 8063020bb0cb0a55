/* cpu_map_back.c - adjoints of point functions, weighted sums and divisive normalisation.  Derivatives by parameters are summed step by step, from
 * the last step to the first, so that chunks do not show in them. */
#include "base/error.h"
#include "compute/cellmath.h"
#include "compute/cpu.h"
#include "compute/cpu_sum.h"

enum { BLOCK = 256 }; /* pixels whose slopes stay in the first cache */

/* Inlined with the function as a constant, so that each of them has a loop of its own. */
static inline __attribute__((always_inline)) void each(cell_slope (*f)(real, const real[4]), const real par[4], int n, const real *restrict x,
                                                       real slope[5][BLOCK])
{
    const real p[4] = {par[0], par[1], par[2], par[3]};
    for (int i = 0; i < n; i++) {
        cell_slope d = f(x[i], p);
        slope[0][i] = d.x;
        slope[1][i] = d.p[0];
        slope[2][i] = d.p[1];
        slope[3][i] = d.p[2];
        slope[4][i] = d.p[3];
    }
}

static void slopes(enum cell_map kind, const real par[], int n, const real *x, real slope[5][BLOCK])
{
    switch (kind) {
#define CASE(kind_, value, slope_)                                                                                                                   \
    case kind_:                                                                                                                                      \
        each(slope_, par, n, x, slope);                                                                                                              \
        break;
        CELL_MAPS(CASE)
#undef CASE
    case MAP_COUNT:
        ASSERT(kind != MAP_COUNT);
    }
}

/* Without derivatives by the parameters. */
static inline __attribute__((always_inline)) void each_input(cell_slope (*f)(real, const real[4]), const real par[4], int n, const real *restrict x,
                                                             const real *restrict gy, real *restrict gx)
{
    const real p[4] = {par[0], par[1], par[2], par[3]};
    for (int i = 0; i < n; i++) {
        gx[i] += gy[i] * f(x[i], p).x;
    }
}

static void map_row_back_input(enum cell_map kind, const real par[], int n, const real *x, const real *gy, real *gx)
{
    switch (kind) {
#define CASE(kind_, value, slope_)                                                                                                                   \
    case kind_:                                                                                                                                      \
        each_input(slope_, par, n, x, gy, gx);                                                                                                       \
        break;
        CELL_MAPS(CASE)
#undef CASE
    case MAP_COUNT:
        ASSERT(kind != MAP_COUNT);
    }
}

/* One row; sum: [4], added to; NULL: not wanted. */
static void map_row_back(enum cell_map kind, const real par[], int nx, const real *x, const real *gy, real *gx, double *sum)
{
    if (!sum) {
        if (gx) {
            map_row_back_input(kind, par, nx, x, gy, gx);
        }
        return;
    }
    for (int first = 0; first < nx; first += BLOCK) {
        int n = nx - first < BLOCK ? nx - first : BLOCK;
        real slope[5][BLOCK];
        slopes(kind, par, n, x + first, slope);
        for (int i = 0; gx && i < n; i++) {
            gx[first + i] += gy[first + i] * slope[0][i];
        }
        for (int k = 0; k < 4; k++) {
            sum[k] += cpu_dot(gy + first, slope[1 + k], n);
        }
    }
}

void cpu_map_back(backend *be, enum cell_map kind, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride)
{
    (void)be;
    ASSERT(npar == 4);
    for (int l = 0; l < x.nleaf; l++) {
        bool flat = cpu_flat(x, l) && cpu_flat(gy, l) && (!gx.at || cpu_flat(gx, l));
        int nrow = flat ? 1 : x.nchan * x.tile[l].ny, nx = flat ? cpu_frame_reals(x, l) : x.tile[l].nx;
        for (int t = nt - 1; t >= 0; t--) {
            double sum[4] = {0};
            for (int r = 0; r < nrow; r++) {
                int c = r / x.tile[l].ny, row = r % x.tile[l].ny;
                map_row_back(kind, par, nx, cpu_plane(x, l, t, c) + row * x.row_stride, cpu_plane(gy, l, t, c) + row * gy.row_stride,
                             gx.at ? cpu_plane(gx, l, t, c) + row * gx.row_stride : NULL, g_par ? sum : NULL);
            }
            for (int k = 0; g_par && k < 4; k++) {
                g_par[l * g_par_stride + k] += sum[k];
            }
        }
    }
}

void cpu_combine_back(backend *be, int nin, const real weight[], int nt, const view x[], view gy, const view gx[], double *g_weight,
                      int64_t g_weight_stride)
{
    (void)be;
    for (int64_t j = (int64_t)gy.nleaf * nin - 1; j >= 0; j--) { /* input after input: two may be the same array */
        int l = (int)(j / nin), k = (int)(j % nin), ny = gy.tile[l].ny;
        bool flat = cpu_flat(gy, l) && (!g_weight || cpu_flat(x[k], l)) && (!gx[k].at || cpu_flat(gx[k], l));
        int nrow = flat ? 1 : gy.nchan * ny, nx = flat ? cpu_frame_reals(gy, l) : gy.tile[l].nx;
        for (int t = nt - 1; t >= 0; t--) {
            double sum = 0;
            for (int r = 0; r < nrow; r++) {
                int c = r / ny, row = r % ny;
                const real *g = cpu_plane(gy, l, t, c) + row * gy.row_stride;
                real *to = gx[k].at ? cpu_plane(gx[k], l, t, c) + row * gx[k].row_stride : NULL;
                for (int i = 0; to && i < nx; i++) {
                    to[i] += weight[k] * g[i];
                }
                sum += g_weight ? cpu_dot(g, cpu_plane(x[k], l, t, c) + row * x[k].row_stride, nx) : 0;
            }
            if (g_weight) {
                g_weight[l * g_weight_stride + k] += sum;
            }
        }
    }
}

/* --- divisive normalisation: y_c = gain q_c/N, N = s^n + sum of weight_c q_c, q = max(x, 0)^n ------------------------------ */
typedef struct pool {               /* of a block of pixels */
    real total[BLOCK], both[BLOCK]; /* N, and the sum over channels of gy q */
} pool;

static void pool_block(const real par[], view x, view gy, int l, int t, int row, int first, int n, pool *p)
{
    real exponent = par[1], constant = cell_power(par[2], exponent);
    for (int i = 0; i < n; i++) {
        p->total[i] = constant;
        p->both[i] = 0;
    }
    for (int c = 0; c < x.nchan; c++) {
        const real *restrict in = cpu_plane(x, l, t, c) + row * x.row_stride + first;
        const real *restrict g = cpu_plane(gy, l, t, c) + row * gy.row_stride + first;
        for (int i = 0; i < n; i++) {
            real q = cell_power(in[i], exponent);
            p->total[i] += par[3 + c] * q;
            p->both[i] += g[i] * q;
        }
    }
}

/* by q_c: gain/N (gy_c - weight_c B/N), B = sum of gy q; by N: -gain B/N^2.  sum: by gain, n, s, weights; added to. */
static void normalise_block_back(const real par[], view x, view gy, view gx, int l, int t, int row, int first, int n, double *sum)
{
    pool p;
    pool_block(par, x, gy, l, t, row, first, n, &p);
    real gain = par[0], exponent = par[1], half = par[2], one[BLOCK], by_total[BLOCK], constant = cell_power(half, exponent);
    for (int i = 0; i < n; i++) {
        one[i] = 1;
        by_total[i] = p.both[i] / p.total[i];
        p.both[i] = by_total[i]; /* for the gain */
        by_total[i] *= -gain / p.total[i];
    }
    if (sum) {
        double total = cpu_dot(by_total, one, n);
        sum[0] += cpu_dot(p.both, one, n);
        sum[1] += total * (double)(constant * cell_log(half));
        sum[2] += total * (double)(exponent * constant / half);
    }
    for (int c = 0; c < x.nchan; c++) {
        const real *restrict in = cpu_plane(x, l, t, c) + row * x.row_stride + first;
        const real *restrict g = cpu_plane(gy, l, t, c) + row * gy.row_stride + first;
        real *restrict to = gx.at ? cpu_plane(gx, l, t, c) + row * gx.row_stride + first : NULL, q[BLOCK], by_log[BLOCK], log_x[BLOCK];
        for (int i = 0; i < n; i++) {
            q[i] = cell_power(in[i], exponent);
            by_log[i] = q[i] * (gain / p.total[i] * g[i] + par[3 + c] * by_total[i]); /* times q, so by its logarithm */
            log_x[i] = cell_log(in[i]);
        }
        for (int i = 0; to && i < n; i++) {
            to[i] += in[i] > 0 ? exponent * by_log[i] / in[i] : 0;
        }
        if (sum) {
            sum[1] += cpu_dot(by_log, log_x, n);
            sum[3 + c] += cpu_dot(by_total, q, n);
        }
    }
}

void cpu_normalise_back(backend *be, const real par[], int npar, int nt, view x, view gy, view gx, double *g_par, int64_t g_par_stride)
{
    enum { MOST = 1024 };
    (void)be;
    ASSERT(npar == 3 + x.nchan && npar <= MOST);
    for (int l = 0; l < x.nleaf; l++) {
        for (int t = nt - 1; t >= 0; t--) {
            double sum[MOST];
            memset(sum, 0, (size_t)npar * sizeof *sum);
            for (int row = 0; row < x.tile[l].ny; row++) {
                for (int first = 0; first < x.tile[l].nx; first += BLOCK) {
                    int n = x.tile[l].nx - first < BLOCK ? x.tile[l].nx - first : BLOCK;
                    normalise_block_back(par, x, gy, gx, l, t, row, first, n, g_par ? sum : NULL);
                }
            }
            for (int k = 0; g_par && k < npar; k++) {
                g_par[l * g_par_stride + k] += sum[k];
            }
        }
    }
}

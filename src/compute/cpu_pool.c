/* cpu_pool.c - mean or largest of squares of pixels. */
#include "compute/cpu.h"

static real mean_of(const real *x, int64_t row_stride, int size)
{
    real sum = 0;
    for (int j = 0; j < size; j++) {
        for (int i = 0; i < size; i++) {
            sum += x[j * row_stride + i];
        }
    }
    return sum / (real)(size * size);
}

/* Where it is; the first one, row by row, of several. */
static int64_t largest_of(const real *x, int64_t row_stride, int size)
{
    int64_t at = 0;
    for (int j = 0; j < size; j++) {
        for (int i = 0; i < size; i++) {
            at = x[j * row_stride + i] > x[at] ? j * row_stride + i : at;
        }
    }
    return at;
}

void cpu_pool_space(backend *be, int size, bool largest, int nt, view x, view y)
{
    (void)be;
    for (int l = 0; l < y.nleaf; l++) {
        for (int64_t r = 0; r < (int64_t)nt * y.nchan * y.tile[l].ny; r++) {
            int row = (int)(r % y.tile[l].ny), c = (int)(r / y.tile[l].ny % y.nchan), t = (int)(r / y.tile[l].ny / y.nchan);
            const real *in = cpu_plane(x, l, t, c) + row * size * x.row_stride;
            real *out = cpu_plane(y, l, t, c) + row * y.row_stride;
            for (int i = 0; i < y.tile[l].nx; i++, in += size) {
                out[i] = largest ? in[largest_of(in, x.row_stride, size)] : mean_of(in, x.row_stride, size);
            }
        }
    }
}

void cpu_pool_space_back(backend *be, int size, bool largest, int nt, view x, view gy, view gx)
{
    (void)be;
    for (int l = 0; l < gy.nleaf; l++) {
        for (int64_t r = 0; r < (int64_t)nt * gy.nchan * gy.tile[l].ny; r++) {
            int row = (int)(r % gy.tile[l].ny), c = (int)(r / gy.tile[l].ny % gy.nchan), t = (int)(r / gy.tile[l].ny / gy.nchan);
            const real *in = cpu_plane(x, l, t, c) + row * size * x.row_stride, *g = cpu_plane(gy, l, t, c) + row * gy.row_stride;
            real *out = cpu_plane(gx, l, t, c) + row * size * gx.row_stride;
            for (int i = 0; i < gy.tile[l].nx; i++, in += size, out += size) {
                int64_t at = largest ? largest_of(in, x.row_stride, size) : 0;
                for (int k = 0; !largest && k < size * size; k++) {
                    out[k / size * gx.row_stride + k % size] += g[i] / (real)(size * size);
                }
                if (largest) {
                    out[at / x.row_stride * gx.row_stride + at % x.row_stride] += g[i];
                }
            }
        }
    }
}

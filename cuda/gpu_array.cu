/* gpu_array.cu - whole arrays, and borders: rectangles to and from buffers, edges of the field. */
#include "gpu_kernel.cuh"

__global__ static void fill_kernel(real *to, real value, int64_t n)
{
    for (int64_t i = gpu_thread(); i < n; i += (int64_t)gridDim.x * blockDim.x) {
        to[i] = value;
    }
}

void gpu_fill(backend *be, dreal *to, real value, int64_t n)
{
    if (n > 0) {
        LAUNCH(be, fill_kernel, gpu_blocks(n), GPU_THREADS, (real *)to, value, n);
    }
}

__global__ static void add_kernel(real *to, const real *what, int64_t n)
{
    for (int64_t i = gpu_thread(); i < n; i += (int64_t)gridDim.x * blockDim.x) {
        to[i] += what[i];
    }
}

void gpu_add(backend *be, dreal *to, const dreal *what, int64_t n)
{
    if (n > 0) {
        LAUNCH(be, add_kernel, gpu_blocks(n), GPU_THREADS, (real *)to, (const real *)what, n);
    }
}

/* --- rectangles: blocks along y are (rectangle, frame, channel), threads its pixels ------------------------------------------- */
enum how { PACK, UNPACK, UNPACK_ADD, TAKE };

__global__ static void rect_kernel(enum how how, int first, int nrect, const grid_rect *rect, int nt, gpu_view x, real *buffer)
{
    for (int64_t k = blockIdx.y; k < (int64_t)nrect * nt * x.nchan; k += gridDim.y) {
        int c = (int)(k % x.nchan), t = (int)(k / x.nchan % nt);
        grid_rect q = rect[first + k / x.nchan / nt];
        real *plane = gpu_plane(x, q.leaf, t, c), *part = buffer + q.offset * nt * x.nchan + ((int64_t)t * x.nchan + c) * q.ny * q.nx;
        for (int64_t i = gpu_thread(); i < (int64_t)q.ny * q.nx; i += (int64_t)gridDim.x * blockDim.x) {
            real *at = plane + (q.y + i / q.nx) * x.row_stride + q.x + i % q.nx;
            if (how == PACK || how == TAKE) {
                part[i] = *at;
                *at = how == TAKE ? 0 : *at;
            } else {
                *at = part[i] + (how == UNPACK_ADD ? *at : 0);
            }
        }
    }
}

static void rectangles(backend *be, enum how how, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer)
{
    int64_t largest = 0;
    for (int r = 0; r < nrect; r++) {
        int64_t n = (int64_t)rect[r].ny * rect[r].nx;
        largest = n > largest ? n : largest;
    }
    if (largest == 0 || nt == 0) {
        return;
    }
    const grid_rect *table = (const grid_rect *)gpu_table(be, rect, (size_t)nrect * sizeof(grid_rect));
    /* What is added meets in corners: one rectangle after the other.  The rest has places of its own. */
    int together = how == UNPACK_ADD ? 1 : nrect;
    for (int first = 0; first < nrect; first += together) {
        LAUNCH(be, rect_kernel, gpu_grid(largest, (int64_t)together * nt * x.nchan), GPU_THREADS, how, first, together, table, nt, gpu_see(be, x),
               (real *)buffer);
    }
}

void gpu_pack(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer)
{
    rectangles(be, PACK, nrect, rect, nt, x, buffer);
}

void gpu_unpack(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer)
{
    rectangles(be, UNPACK, nrect, rect, nt, x, (dreal *)buffer);
}

void gpu_unpack_add(backend *be, int nrect, const grid_rect *rect, int nt, view x, const dreal *buffer)
{
    rectangles(be, UNPACK_ADD, nrect, rect, nt, x, (dreal *)buffer);
}

void gpu_take(backend *be, int nrect, const grid_rect *rect, int nt, view x, dreal *buffer)
{
    rectangles(be, TAKE, nrect, rect, nt, x, buffer);
}

/* --- edges of the field ---------------------------------------------------------------------------------------------------------- */
/* A thread a pixel of the halo (rows above and below, then columns left and right) that lies outside the field: it takes the nearest pixel inside. */
__global__ static void edge_kernel(int nt, gpu_view x, int field_ny, int field_nx)
{
    int h = x.halo, wide = x.pad_nx + 2 * h, i = (int)gpu_thread(), rows = 2 * h * wide, side = i - rows, ahead = i / wide, across = side / (2 * h);
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * nt * x.nchan; plane += gridDim.y) {
        int c = (int)(plane % x.nchan), t = (int)(plane / x.nchan % nt), leaf = (int)(plane / x.nchan / nt);
        grid_tile tile = x.tile[leaf];
        int y = i < rows ? (ahead < h ? ahead - h : tile.ny + ahead - h) : across;
        int column = i < rows ? i % wide - h : (side % (2 * h) < h ? side % (2 * h) - h : tile.nx + side % (2 * h) - h);
        if (y >= tile.ny + h || column >= tile.nx + h || (i >= rows && y >= tile.ny)) {
            continue;
        }
        int lowest = -tile.y0, highest = field_ny - 1 - tile.y0, leftmost = -tile.x0, rightmost = field_nx - 1 - tile.x0;
        int from_y = y < lowest ? lowest : y > highest ? highest : y, from_x = column < leftmost ? leftmost : column > rightmost ? rightmost : column;
        if (from_y != y || from_x != column) {
            real *p = gpu_plane(x, leaf, t, c);
            p[y * x.row_stride + column] = p[from_y * x.row_stride + from_x];
        }
    }
}

void gpu_edge(backend *be, int nt, view x, int field_ny, int field_nx)
{
    if (x.halo > 0 && nt > 0) {
        int64_t pixels = 2 * (int64_t)x.halo * (x.pad_nx + 2 * x.halo + x.pad_ny);
        LAUNCH(be, edge_kernel, gpu_grid(pixels, (int64_t)x.nleaf * nt * x.nchan), GPU_THREADS, nt, gpu_see(be, x), field_ny, field_nx);
    }
}

/* Backwards in two passes, each pixel of the field by one thread that sums what was copied from it, in a fixed order: whole rows above and below
 * first, then left and right. */
__global__ static void edge_back_kernel(bool rows, int nt, gpu_view x, int field_ny, int field_nx)
{
    int64_t i = gpu_thread();
    for (int64_t plane = blockIdx.y; plane < (int64_t)x.nleaf * nt * x.nchan; plane += gridDim.y) {
        int c = (int)(plane % x.nchan), t = (int)(plane / x.nchan % nt), leaf = (int)(plane / x.nchan / nt), h = x.halo;
        grid_tile tile = x.tile[leaf];
        int lowest = -tile.y0, highest = field_ny - 1 - tile.y0, leftmost = -tile.x0, rightmost = field_nx - 1 - tile.x0;
        real *p = gpu_plane(x, leaf, t, c);
        int64_t step = rows ? x.row_stride : 1, across = rows ? 1 : x.row_stride;
        int first = rows ? lowest : leftmost, last = rows ? highest : rightmost, length = rows ? tile.ny : tile.nx;
        int most = rows ? tile.nx + 2 * h : tile.ny + 2 * h;
        if (i >= most) {
            continue;
        }
        real *line = p + (i - h) * across;
        if (!rows && (i - h < lowest || i - h > highest)) {
            continue; /* rows outside the field are empty by now */
        }
        for (int k = -h; k < first; k++) {
            line[first * step] += line[k * step];
            line[k * step] = 0;
        }
        for (int k = last + 1; k < length + h; k++) {
            line[last * step] += line[k * step];
            line[k * step] = 0;
        }
    }
}

void gpu_edge_back(backend *be, int nt, view x, int field_ny, int field_nx)
{
    int64_t most = (x.pad_ny > x.pad_nx ? x.pad_ny : x.pad_nx) + 2 * (int64_t)x.halo;
    for (int rows = 1; x.halo > 0 && nt > 0 && rows >= 0; rows--) {
        LAUNCH(be, edge_back_kernel, gpu_grid(most, (int64_t)x.nleaf * nt * x.nchan), GPU_THREADS, rows == 1, nt, gpu_see(be, x), field_ny, field_nx);
    }
}

/* gpu_blur.cu - symmetric taps, uniform or growing with eccentricity; the plain blur and the leaky heat equation.
 *
 * Up to FUSED pixels of radius a block makes a tile of 32 x 32 in one go: rows of the source are staged and blurred along x into shared memory, then
 * along y, by each thread EACH neighbours at once, which share what they read.  Wider ones go through working memory, rows first.  Either way a pixel
 * is summed in one order wherever the field is cut. */
#include "gpu_blur_pass.cuh"

enum { TILE = 32, ROWS = GPU_THREADS / TILE, EACH = TILE / ROWS, FUSED = 32 };
enum { STAGED = sizeof(real) == sizeof(float) ? 32 : 16 }; /* rows of the source at a time: shared memory has 48 KB */
enum { BLOCKS = sizeof(real) == sizeof(float) ? 5 : 3, GROWING_BLOCKS = BLOCKS / 2 + 1 }; /* of a multiprocessor, as registers allow */
static const int64_t most_between = (int64_t)256 << 20; /* bytes of blurred rows that wait for their columns */

/* Taps of a pass: [level][radius + 1] along x and y. */
struct blur_taps {
    gpu_levels v;
    const real *along_x, *along_y;
};

/* w[0] at[0] + sum over d of w[d] (at[-d step] + at[d step]) */
__device__ static inline real fir(const real *at, int64_t step, const real *w, int radius)
{
    real sum = w[0] * at[0];
    for (int d = 1; d <= radius; d++) {
        gpu_mac(w[d], at[-d * step] + at[d * step], &sum);
    }
    return sum;
}

/* The same of EACH neighbours: number j stands in place j mod EACH of its ring, and each distance reads one more at either end. */
__device__ static inline void fir_each(const real *at, int step, const real *w, int radius, real sum[EACH])
{
    real before[EACH], after[EACH];
    UNROLL
    for (int i = 0; i < EACH; i++) {
        before[i] = after[i] = at[i * step];
        sum[i] = w[0] * before[i];
    }
    auto add = [&](int d, int k) { /* d mod EACH = (k + 1) mod EACH */
        real one = w[d];
        before[EACH - 1 - k] = at[-d * step];
        after[k] = at[(EACH - 1 + d) * step];
        UNROLL
        for (int i = 0; i < EACH; i++) {
            gpu_mac(one, before[(i + EACH - 1 - k) % EACH] + after[(i + 1 + k) % EACH], &sum[i]);
        }
    };
    int d = 1;
    for (; d + EACH <= radius + 1; d += EACH) {
        UNROLL
        for (int k = 0; k < EACH; k++) {
            add(d + k, k);
        }
    }
    UNROLL
    for (int k = 0; k < EACH - 1; k++) {
        if (d + k <= radius) {
            add(d + k, k);
        }
    }
}

/* --- growing: t = scale^2 of a pixel lies between two levels; level k has the weight of a hat over t_(k-1), t_k, t_(k+1) -------------------- */
__device__ static inline real weight_at(const gpu_levels &v, int k, const grid_tile &tile, int y, int x)
{
    if (v.n == 0) {
        return 1;
    }
    real t = v.square[(int64_t)(tile.y0 + y) * v.field_nx + tile.x0 + x], here = v.at[k];
    real up = k == 0 ? 1 : (t - v.at[k - 1]) * (1 / (here - v.at[k - 1]));
    real down = k == v.n - 1 ? 1 : (v.at[k + 1] - t) * (1 / (v.at[k + 1] - here));
    real weight = up < down ? up : down;
    return weight > 0 ? weight : 0;
}

/* s, of the source; of an adjoint, times the level's weight. */
__device__ static inline real weighed(const blur_pass &p, const gpu_levels &v, int k, const blur_place &q, int y, int x, real s)
{
    bool weighs = p.back && v.n > 0 && y >= 0 && x >= 0 && y < q.tile.ny && x < q.tile.nx;
    return weighs ? s * weight_at(v, k, q.tile, y, x) : s;
}
__device__ static inline real source_at(const blur_pass &p, const gpu_levels &v, int k, const blur_place &q, int y, int x)
{
    return weighed(p, v, k, q, y, x, blur_from_at(p.from, q, y, x));
}

__device__ static inline int cell_of(int at, int length)
{
    return (at < 0 ? 0 : at >= length ? length - 1 : at) / BLUR_CELL;
}

/* Levels that the pixels [y0, y1] x [x0, x1] may mix, from the field's squares. */
__device__ static inline void levels_of(const gpu_levels &v, const grid_tile &tile, int y0, int y1, int x0, int x1, int *low, int *high)
{
    *low = v.n;
    *high = -1;
    for (int cy = cell_of(tile.y0 + y0, v.field_ny); cy <= cell_of(tile.y0 + y1, v.field_ny); cy++) {
        for (int cx = cell_of(tile.x0 + x0, v.field_nx); cx <= cell_of(tile.x0 + x1, v.field_nx); cx++) {
            int a = v.lowest[cy * v.cells_x + cx], b = v.highest[cy * v.cells_x + cx];
            *low = a < *low ? a : *low;
            *high = b > *high ? b : *high;
        }
    }
}

__device__ static inline bool has_level(const gpu_levels &v, const grid_tile &tile, int k, int y0, int y1, int x0, int x1)
{
    int low, high;
    levels_of(v, tile, y0, y1, x0, x1, &low, &high);
    return k >= low && k <= high;
}

/* --- in one go --------------------------------------------------------------------------------------------------------------------- */
/* Rows of the source from y on.  All loads of a column are under way before the first is used; most instructions of a narrow blur are these. */
template <bool GROWS>
__device__ static inline void stage_rows(const blur_pass &p, const gpu_levels &v, int k, const blur_place &q, int y, int rows, int x0, int width,
                                         real (*staged)[TILE + 2 * FUSED + 1])
{
    enum { N = STAGED / ROWS };
    const blur_source &f = p.from;
    int ty = (int)threadIdx.x / TILE, first = -f.reach - y, end = q.tile.ny + f.reach - y < rows ? q.tile.ny + f.reach - y : rows;
    int64_t step = ROWS * f.a.row_stride, step_before = ROWS * f.before.row_stride;
    for (int i = (int)threadIdx.x % TILE; i < width; i += TILE) {
        const real *now = blur_pixel(f.a, q, y + ty, x0 + i);
        bool column = x0 + i >= -f.reach && x0 + i < q.tile.nx + f.reach, in[N];
        real one[N];
        UNROLL
        for (int n = 0; n < N; n++, now += step) {
            in[n] = column && ty + n * ROWS >= first && ty + n * ROWS < end;
            one[n] = in[n] ? *now : 0;
        }
        if (f.from != FROM_PLAIN) {
            real before[N] = {};
            if (f.from == FROM_HEAT) {
                const real *then = blur_pixel(f.before, q, y + ty, x0 + i);
                UNROLL
                for (int n = 0; n < N; n++, then += step_before) {
                    before[n] = in[n] ? *then : 0;
                }
            }
            UNROLL
            for (int n = 0; n < N; n++) {
                one[n] = in[n] ? blur_made_of(f, one[n], before[n]) : 0;
            }
        }
        UNROLL
        for (int n = 0; n < N; n++) {
            staged[ty + n * ROWS][i] = GROWS ? weighed(p, v, k, q, y + ty + n * ROWS, x0 + i, one[n]) : one[n];
        }
    }
}

/* Rows are one number longer than they need be: the 32 threads that read 8 numbers of 4 rows then meet 32 banks.  Along y a thread has rows EACH
 * (thread / TILE) and following. */
template <bool GROWS>
__device__ static inline void level_of_tile(const blur_pass &p, const blur_taps &w, int k, const blur_place &q, int y0, int x0, real made[EACH])
{
    __shared__ real staged[STAGED][TILE + 2 * FUSED + 1], between[TILE + 2 * FUSED][TILE + 1], taps[2][FUSED + 1];
    int i = (int)threadIdx.x, r = w.v.reach[k], rows = TILE + 2 * r, row = i / (TILE / EACH), x = i % (TILE / EACH) * EACH;
    real sum[EACH];
    __syncthreads(); /* the level before, or plane, has been read */
    for (int d = i; d <= r; d += GPU_THREADS) {
        taps[0][d] = w.along_x[(int64_t)k * (w.v.radius + 1) + d];
        taps[1][d] = w.along_y[(int64_t)k * (w.v.radius + 1) + d];
    }
    for (int j = 0; j < rows; j += STAGED) {
        stage_rows<GROWS>(p, w.v, k, q, y0 - r + j, rows - j, x0 - r, rows, staged);
        __syncthreads();
        if (row < STAGED && j + row < rows) {
            fir_each(&staged[row][x + r], 1, taps[0], r, sum);
            UNROLL
            for (int n = 0; n < EACH; n++) {
                between[j + row][x + n] = sum[n];
            }
        }
        __syncthreads();
    }
    int ty = i / TILE * EACH, tx = i % TILE;
    fir_each(&between[ty + r][tx], TILE + 1, taps[1], r, sum);
    UNROLL
    for (int n = 0; n < EACH; n++) {
        if (blur_makes(p, q, y0 + ty + n, x0 + tx)) {
            real weight = p.back || !GROWS ? 1 : weight_at(w.v, k, q.tile, y0 + ty + n, x0 + tx);
            made[n] += weight * sum[n];
        }
    }
}

/* One kernel for each thing that becomes of a pixel, uniform or growing: all in one would need registers for the largest. */
template <enum blur_to TO, bool GROWS>
__global__ static void __launch_bounds__(GPU_THREADS, GROWS ? GROWING_BLOCKS : BLOCKS)
    fused_kernel(blur_pass p, blur_taps w, double *part, int which, int of)
{
    int across = (p.pad_nx + 2 * p.spread + TILE - 1) / TILE;
    int y0 = (int)blockIdx.x / across * TILE - p.spread, x0 = (int)blockIdx.x % across * TILE - p.spread;
    int y = y0 + (int)threadIdx.x / TILE * EACH, x = x0 + (int)threadIdx.x % TILE;
    enum { MEMBRANE = TO == TO_MEMBRANE || TO == TO_CONVIS };
    for (int64_t plane = blockIdx.y; plane < blur_planes(p); plane += gridDim.y) {
        blur_place q = blur_at(p, plane);
        int low = 0, high = 0, far = p.back ? w.v.radius : 0;
        if (GROWS) {
            levels_of(w.v, q.tile, y0 - far, y0 + TILE - 1 + far, x0 - far, x0 + TILE - 1 + far, &low, &high);
        }
        real made[EACH] = {0};
        blur_cell cell[EACH] = {};
        UNROLL
        for (int i = 0; MEMBRANE && i < EACH; i++) { /* under way while the tile is blurred */
            if (blur_makes(p, q, y + i, x)) {
                cell[i] = blur_membrane_reads(p.to, q, y + i, x);
            }
        }
        for (int k = low; k <= high; k++) {
            level_of_tile<GROWS>(p, w, k, q, y0, x0, made);
        }
        double sum[BLUR_MOST_SUMS] = {0};
        UNROLL
        for (int i = 0; i < EACH; i++) {
            if (blur_makes(p, q, y + i, x)) {
                if (MEMBRANE) {
                    blur_membrane_gives(p.to, q, y + i, x, cell[i], made[i]);
                } else {
                    blur_give(TO, p.to, q, y + i, x, made[i], sum);
                }
            }
        }
        blur_sums(p, sum, part, (plane * gridDim.x + blockIdx.x) * of + which);
    }
}

/* --- wide: rows of level k to `between` [plane][rows][width], from -spread - radius on; then columns ------------------------------------ */
struct wide {
    int64_t first, n; /* planes of this launch */
    int k, rows, height, width;
    real *between, *made; /* made [plane][height][width]: sums of the levels so far */
};

__global__ static void rows_kernel(blur_pass p, blur_taps w, wide g)
{
    __shared__ real window[2 * GPU_THREADS];
    int across = (g.width + GPU_THREADS - 1) / GPU_THREADS, row = (int)blockIdx.x / across, i = (int)threadIdx.x;
    int x0 = (int)blockIdx.x % across * GPU_THREADS - p.spread, y = row - p.spread - w.v.radius, r = w.v.reach[g.k];
    const real *taps = w.along_x + (int64_t)g.k * (w.v.radius + 1);
    for (int64_t plane = blockIdx.y; plane < g.n; plane += gridDim.y) {
        blur_place q = blur_at(p, g.first + plane);
        int up = p.back ? 0 : r, side = p.back ? r : 0;
        real sum = 0;
        if (w.v.n == 0 || has_level(w.v, q.tile, g.k, y - up, y + up, x0 - side, x0 + GPU_THREADS - 1 + side)) {
            for (int d0 = -r; d0 <= r; d0 += GPU_THREADS) {
                window[i] = source_at(p, w.v, g.k, q, y, x0 + d0 + i);
                window[i + GPU_THREADS] = source_at(p, w.v, g.k, q, y, x0 + d0 + i + GPU_THREADS);
                __syncthreads();
                for (int d = d0; d < d0 + GPU_THREADS && d <= r; d++) {
                    sum += taps[d < 0 ? -d : d] * window[i + d - d0];
                }
                __syncthreads();
            }
        }
        if (x0 + i < g.width - p.spread) {
            g.between[(plane * g.rows + row) * g.width + x0 + i + p.spread] = sum;
        }
    }
}

__global__ static void columns_kernel(blur_pass p, blur_taps w, wide g, double *part, int which, int of)
{
    int64_t i = gpu_thread();
    int y = (int)(i / g.width) - p.spread, x = (int)(i % g.width) - p.spread, r = w.v.reach[g.k], far = p.back ? r : 0;
    const real *taps = w.along_y + (int64_t)g.k * (w.v.radius + 1);
    bool last = w.v.n == 0 || g.k == w.v.n - 1;
    for (int64_t plane = blockIdx.y; plane < g.n; plane += gridDim.y) {
        blur_place q = blur_at(p, g.first + plane);
        double sum[BLUR_MOST_SUMS] = {0};
        if (blur_makes(p, q, y, x)) {
            real *made = g.made + plane * g.height * g.width + i, s = g.k > 0 ? *made : 0;
            real weight = p.back ? 1 : weight_at(w.v, g.k, q.tile, y, x);
            if (weight > 0 && (w.v.n == 0 || has_level(w.v, q.tile, g.k, y - far, y + far, x - far, x + far))) {
                const real *at = g.between + (plane * g.rows + y + p.spread + w.v.radius) * g.width + x + p.spread;
                s += weight * fir(at, g.width, taps, r);
            }
            if (last) {
                blur_give(p.to.to, p.to, q, y, x, s, sum);
            } else {
                *made = s;
            }
        }
        if (last) {
            blur_sums(p, sum, part, ((g.first + plane) * gridDim.x + blockIdx.x) * of + which);
        }
    }
}

/* --- queueing ------------------------------------------------------------------------------------------------------------------------ */
static void run_wide(backend *be, const blur_pass &p, const blur_taps &w, wide g, double *part, int which, int of, int64_t group)
{
    unsigned across = gpu_blocks(g.width), blocks = gpu_blocks((int64_t)g.height * g.width);
    for (g.first = 0; g.first < blur_planes(p); g.first += group) {
        g.n = blur_planes(p) - g.first < group ? blur_planes(p) - g.first : group;
        unsigned planes = (unsigned)(g.n > 65535 ? 65535 : g.n);
        for (g.k = 0; g.k < (w.v.n > 0 ? w.v.n : 1); g.k++) {
            LAUNCH(be, rows_kernel, dim3((unsigned)g.rows * across, planes), GPU_THREADS, p, w, g);
            LAUNCH(be, columns_kernel, dim3(blocks, planes), GPU_THREADS, p, w, g, part, which, of);
        }
    }
}

static void run_fused(backend *be, dim3 grid, const blur_pass &p, const blur_taps &w, double *part, int which, int of)
{
    switch (p.to.to) {
#define CASE(TO)                                                                             \
    case TO:                                                                                 \
        if (w.v.n > 0) {                                                                     \
            LAUNCH(be, (fused_kernel<TO, true>), grid, GPU_THREADS, p, w, part, which, of);  \
        } else {                                                                             \
            LAUNCH(be, (fused_kernel<TO, false>), grid, GPU_THREADS, p, w, part, which, of); \
        }                                                                                    \
        break;
        CASE(TO_PLACE)
        CASE(TO_MEMBRANE)
        CASE(TO_CONVIS)
        CASE(TO_DOT)
        CASE(TO_SUM)
        CASE(TO_HEAT_BACK)
        CASE(TO_POOL_BACK)
        CASE(TO_CONVIS_BACK)
#undef CASE
    case TO_COUNT:
        break;
    }
}

static void run_symmetric(backend *be, const blur_plan *plan, enum blur_what what, const blur_pass &p)
{
    const gpu_levels *v = &plan->level;
    int height = p.pad_ny + 2 * p.spread, width = p.pad_nx + 2 * p.spread, of = what == BLUR_SLOPE ? 2 : 1;
    int64_t planes = blur_planes(p), plane_bytes = 0, group = planes;
    wide g = {0, 0, 0, height + 2 * v->radius, height, width, NULL, NULL};
    unsigned blocks = (unsigned)((height + TILE - 1) / TILE) * (unsigned)((width + TILE - 1) / TILE);
    if (v->radius > FUSED) {
        blocks = gpu_blocks((int64_t)height * width);
        plane_bytes = ((int64_t)g.rows + height) * width * (int64_t)sizeof(real);
        group = plane_bytes > most_between ? 1 : most_between / plane_bytes;
        group = group < planes ? group : planes;
    }
    int64_t part_bytes = (planes * blocks * of * p.nsum * (int64_t)sizeof(double) + 255) / 256 * 256;
    char *scratch = p.nsum > 0 || plane_bytes > 0 ? (char *)gpu_scratch(be, (size_t)(part_bytes + group * plane_bytes)) : NULL;
    double *part = (double *)scratch;
    if (plane_bytes > 0) {
        g.between = (real *)(scratch + part_bytes);
        g.made = g.between + group * g.rows * width;
    }
    for (int which = 0; which < of; which++) { /* by sigma: of the taps along x, then along y */
        bool slope = what == BLUR_SLOPE;
        blur_taps w = {*v, slope && which == 0 ? v->slopes : v->taps, slope && which == 1 ? v->slopes : v->taps};
        if (plane_bytes > 0) {
            run_wide(be, p, w, g, part, which, of, group);
        } else {
            run_fused(be, dim3(blocks, (unsigned)(planes > 65535 ? 65535 : planes)), p, w, part, which, of);
        }
    }
    if (p.nsum > 0) {
        gpu_sum_parts(be, (int64_t)p.nleaf * p.nt, p.nchan * (int)blocks * of, p.nsum, part, p.result);
    }
}

void gpu_blur_run(backend *be, const blur_plan *plan, enum blur_what what, blur_pass p)
{
    p.back = what == BLUR_ADJOINT;
    p.to.sums = p.nsum > 0;
    if (blur_planes(p) == 0) {
        return;
    }
    if (plan->desc.method == BLUR_DERICHE) {
        gpu_deriche_run(be, plan, what, p);
    } else if (plan->desc.method == BLUR_TAPS) {
        gpu_taps_run(be, plan, what, p);
    } else {
        run_symmetric(be, plan, what, p);
    }
}

void gpu_blur_par(backend *be, const blur_plan *plan, blur_pass p, gpu_view other, double factor, double *g, int64_t g_stride)
{
    p.to = blur_sink();
    p.to.to = TO_DOT;
    p.to.other = other;
    p.to.factor = factor;
    p.spread = 0;
    if (blur_planes(p) == 0) {
        return;
    }
    if (plan->desc.method == BLUR_TAPS) {
        int side = 2 * plan->radius + 1;
        gpu_taps_par(be, plan, p, gpu_result(be, p.nleaf, p.nt, side * side + 1, g, g_stride, true));
    } else if (gpu_blur_has_slope(plan)) {
        p.nsum = 1;
        p.result = gpu_result(be, p.nleaf, p.nt, 1, g, g_stride, true);
        gpu_blur_run(be, plan, BLUR_SLOPE, p);
    }
}

blur_pass gpu_blur_begin(backend *be, view like, int nt, int nchan)
{
    blur_pass p = blur_pass();
    p.nleaf = like.nleaf;
    p.nt = nt;
    p.nchan = nchan;
    p.pad_ny = like.pad_ny;
    p.pad_nx = like.pad_nx;
    p.tile = (const grid_tile *)gpu_table(be, like.tile, (size_t)like.nleaf * sizeof(grid_tile));
    return p;
}

/* --- plain blur ------------------------------------------------------------------------------------------------------------------------- */
static blur_source plain(backend *be, view x, int reach)
{
    blur_source f = blur_source();
    f.from = FROM_PLAIN;
    f.a = gpu_see(be, x);
    f.reach = reach;
    return f;
}

void gpu_blur(backend *be, const blur_plan *plan, int nt, view x, view y)
{
    blur_pass p = gpu_blur_begin(be, x, nt, x.nchan);
    p.from = plain(be, x, plan->radius);
    p.to.to = TO_PLACE;
    p.to.out = gpu_see(be, y);
    gpu_blur_run(be, plan, BLUR_FORWARD, p);
}

void gpu_blur_back(backend *be, const blur_plan *plan, int nt, view gy, view gx)
{
    blur_pass p = gpu_blur_begin(be, gy, nt, gy.nchan);
    p.from = plain(be, gy, 0);
    p.spread = plan->radius;
    p.to.to = TO_SUM;
    p.to.out = gpu_see(be, gx);
    gpu_blur_run(be, plan, BLUR_ADJOINT, p);
}

void gpu_blur_back_par(backend *be, const blur_plan *plan, int nt, view x, view gy, double *g, int64_t g_stride)
{
    blur_pass p = gpu_blur_begin(be, gy, nt, gy.nchan);
    p.from = plain(be, x, plan->radius);
    gpu_blur_par(be, plan, p, gpu_see(be, gy), 1, g, g_stride);
}

/* --- leaky heat equation: y = blur(b u + c y_before) of VirtualRetina 2.2.3 -------------------------------------------------------------- */
static blur_source heat(backend *be, const blur_plan *plan, real b, real c, view u, view y_before)
{
    blur_source f = plain(be, u, plan->radius);
    f.from = FROM_HEAT;
    f.before = gpu_see(be, y_before);
    f.b = b;
    f.c = c;
    return f;
}

void gpu_heat_step(backend *be, const blur_plan *plan, real b, real c, view u, view y_before, view y)
{
    blur_pass p = gpu_blur_begin(be, u, 1, u.nchan);
    p.from = heat(be, plan, b, c, u, y_before);
    p.to.to = TO_PLACE;
    p.to.out = gpu_see(be, y);
    gpu_blur_run(be, plan, BLUR_FORWARD, p);
}

/* s = adjoint of the blur on gy:  gu += b s, g_before += c s, by b: sum of s u, by c: sum of s y_before */
void gpu_heat_step_back(backend *be, const blur_plan *plan, real b, real c, view u, view y_before, view gy, view gu, view g_before, double *g,
                        int64_t g_stride)
{
    enum { BY_SIGMA = 2 };
    blur_pass p = gpu_blur_begin(be, u, 1, u.nchan);
    p.from = plain(be, gy, 0);
    p.spread = plan->radius;
    p.to.to = TO_HEAT_BACK;
    p.to.b = b;
    p.to.c = c;
    p.to.out = gpu_see(be, gu);
    p.to.before = gpu_see(be, g_before);
    p.to.u = gpu_see(be, u);
    p.to.input = gpu_see(be, y_before);
    if (g && blur_planes(p) > 0) {
        p.nsum = BY_SIGMA;
        p.result = gpu_result(be, p.nleaf, 1, BY_SIGMA, g, g_stride, true);
    }
    gpu_blur_run(be, plan, BLUR_ADJOINT, p);
    if (g) {
        p.from = heat(be, plan, b, c, u, y_before);
        gpu_blur_par(be, plan, p, gpu_see(be, gy), 1, g + BY_SIGMA, g_stride);
    }
}

/* gpu_deriche.cu - VirtualRetina's recursive smoothing of whole fields, with its quirks (compute/cpu_deriche.c): x pass, then y pass, each a forward and
 * a backward recursion along every line.  A thread a line; lines along x are turned, so that neighbouring threads read neighbouring pixels. */
#include "gpu_blur_pass.cuh"

enum { A0, A1, A2, A3, B1, B2, TURN = 32, TURN_ROWS = GPU_THREADS / TURN };
static const int64_t most_lines = (int64_t)512 << 20; /* bytes of planes at once */

/* Lines of n pixels `lines` apart, side by side: pixel i of line x stands at i * lines + x. */
struct line_set {
    int n, lines;
    bool growing;
    const real *c, *slope; /* [6][growing: n * lines, else 1] */
    const real *edge;
};

__device__ static inline real table_at(const line_set &s, const real *table, int k, int64_t at)
{
    return s.growing ? table[(int64_t)k * s.n * s.lines + at] : table[k];
}
__device__ static inline real coefficient(const line_set &s, int k, int64_t at)
{
    return table_at(s, s.c, k, at);
}

/* --- planes in and out ------------------------------------------------------------------------------------------------------------------ */
struct planes {
    int64_t first, n; /* of this launch; kept planes are [n][ny][nx] */
    int ny, nx;
};

__global__ static void gather_kernel(blur_pass p, planes g, real *to)
{
    int64_t i = gpu_thread(), size = (int64_t)g.ny * g.nx;
    for (int64_t plane = blockIdx.y; i < size && plane < g.n; plane += gridDim.y) {
        to[plane * size + i] = blur_from_at(p.from, blur_at(p, g.first + plane), (int)(i / g.nx), (int)(i % g.nx));
    }
}

/* from NULL: the source itself, or 0 where a derivative by a sigma that does nothing is asked for. */
__global__ static void give_kernel(blur_pass p, planes g, const real *from, bool zero, double *part)
{
    int64_t i = gpu_thread(), size = (int64_t)g.ny * g.nx;
    int y = (int)(i / g.nx), x = (int)(i % g.nx);
    for (int64_t plane = blockIdx.y; plane < g.n; plane += gridDim.y) {
        blur_place q = blur_at(p, g.first + plane);
        double sum[BLUR_MOST_SUMS] = {0};
        if (i < size) {
            real s = from ? from[plane * size + i] : zero ? 0 : blur_from_at(p.from, q, y, x);
            blur_give(p.to.to, p.to, q, y, x, s, sum);
        }
        blur_sums(p, sum, part, (g.first + plane) * gridDim.x + blockIdx.x);
    }
}

/* [ny][nx] -> [nx][ny] */
__global__ static void turn_kernel(int64_t nplane, int ny, int nx, const real *from, real *to)
{
    __shared__ real square[TURN][TURN + 1];
    int across = (nx + TURN - 1) / TURN, x0 = (int)blockIdx.x % across * TURN, y0 = (int)blockIdx.x / across * TURN;
    int tx = (int)threadIdx.x % TURN, ty = (int)threadIdx.x / TURN;
    for (int64_t plane = blockIdx.y; plane < nplane; plane += gridDim.y) {
        const real *a = from + plane * ny * nx;
        real *b = to + plane * ny * nx;
        for (int j = ty; j < TURN; j += TURN_ROWS) {
            if (y0 + j < ny && x0 + tx < nx) {
                square[j][tx] = a[(int64_t)(y0 + j) * nx + x0 + tx];
            }
        }
        __syncthreads();
        for (int j = ty; j < TURN; j += TURN_ROWS) {
            if (x0 + j < nx && y0 + tx < ny) {
                b[(int64_t)(x0 + j) * ny + y0 + tx] = square[tx][j];
            }
        }
        __syncthreads();
    }
}

/* --- forward: u -> f --------------------------------------------------------------------------------------------------------------------- */
__device__ static inline void line_forward(const line_set &s, int line, const real *u, real *f)
{
    int64_t step = s.lines;
    int n = s.n;
    real before = u[0], f1 = u[0] * s.edge[0], f2 = f1;
    for (int i = 0; i < n; i++) {
        int64_t at = line + i * step;
        real now = u[i * step];
        real v = coefficient(s, A0, at) * now + coefficient(s, A1, at) * before + coefficient(s, B1, at) * f1 + coefficient(s, B2, at) * f2;
        f[i * step] = v;
        before = now;
        f2 = f1;
        f1 = v;
    }
    real last = u[(n - 1) * step], next = last, after = last, g1 = last * s.edge[1], g2 = g1;
    for (int i = n - 1; i >= 0; i--) {
        int64_t at = line + i * step;
        real now = u[i * step];
        real near = s.growing ? now : next, far = s.growing ? next : after; /* growing: one pixel early */
        real v = coefficient(s, A2, at) * near + coefficient(s, A3, at) * far + coefficient(s, B1, at) * g1 + coefficient(s, B2, at) * g2;
        f[i * step] += v;
        after = next;
        next = now;
        g2 = g1;
        g1 = v;
    }
}

/* --- adjoint: gy -> gu: both recursions run the other way round, and what started them goes to the edge pixels --------------------------------- */
__device__ static inline void line_back(const line_set &s, int line, const real *gy, real *gu)
{
    int64_t step = s.lines;
    int n = s.n;
    real l1 = 0, l2 = 0, b1 = 0, b2 = 0, b2_far = 0, a1 = 0; /* l1, l2: derivatives by the forward part of pixels i + 1, i + 2 */
    for (int i = n - 1; i >= 0; i--) {
        int64_t at = line + i * step;
        real lambda = gy[i * step] + b1 * l1 + b2_far * l2;
        gu[i * step] = coefficient(s, A0, at) * lambda + a1 * l1;
        b2_far = b2;
        b1 = coefficient(s, B1, at);
        b2 = coefficient(s, B2, at);
        a1 = coefficient(s, A1, at);
        l2 = l1;
        l1 = lambda;
    }
    gu[0] += a1 * l1 + s.edge[0] * (b1 * l1 + b2 * l1 + b2_far * l2);
    real m1 = 0, m2 = 0; /* by the backward part of pixels i - 1, i - 2 */
    b1 = b2 = b2_far = 0;
    int near = s.growing ? 0 : 1, far = s.growing ? 1 : 2;
    for (int i = 0; i < n; i++) {
        int64_t at = line + i * step;
        real mu = gy[i * step] + b1 * m1 + b2_far * m2;
        gu[(i + near < n ? i + near : n - 1) * step] += coefficient(s, A2, at) * mu;
        gu[(i + far < n ? i + far : n - 1) * step] += coefficient(s, A3, at) * mu;
        b2_far = b2;
        b1 = coefficient(s, B1, at);
        b2 = coefficient(s, B2, at);
        m2 = m1;
        m1 = mu;
    }
    gu[(n - 1) * step] += s.edge[1] * (b1 * m1 + b2 * m1 + b2_far * m2);
}

/* --- derivative by sigma: values and their derivatives go along together -------------------------------------------------------------------- */
struct pair {
    real v, d;
};

__device__ static inline pair product(real c, real dc, pair u)
{
    pair y = {c * u.v, dc * u.v + c * u.d};
    return y;
}

/* Coefficients k and k + 1 times inputs, B1 and B2 times what came before. */
__device__ static inline pair pair_step(const line_set &s, int k, int64_t at, pair near, pair far, pair one, pair two)
{
    const int which[4] = {k, k + 1, B1, B2};
    const pair in[4] = {near, far, one, two};
    pair sum = {0, 0};
    for (int j = 0; j < 4; j++) {
        pair part = product(coefficient(s, which[j], at), table_at(s, s.slope, which[j], at), in[j]);
        sum.v += part.v;
        sum.d += part.d;
    }
    return sum;
}

__device__ static inline pair pair_at(const real *u, const real *du, int64_t i)
{
    pair p = {u[i], du ? du[i] : 0};
    return p;
}

/* u, du (NULL: 0) -> y, dy */
__device__ static inline void line_slope(const line_set &s, int line, const real *u, const real *du, real *y, real *dy)
{
    int64_t step = s.lines;
    pair before = pair_at(u, du, 0), f1 = product(s.edge[0], s.edge[2], before), f2 = f1;
    for (int i = 0; i < s.n; i++) {
        pair now = pair_at(u, du, i * step), f = pair_step(s, A0, line + i * step, now, before, f1, f2);
        y[i * step] = f.v;
        dy[i * step] = f.d;
        before = now;
        f2 = f1;
        f1 = f;
    }
    pair next = pair_at(u, du, (s.n - 1) * step), after = next, g1 = product(s.edge[1], s.edge[3], next), g2 = g1;
    for (int i = s.n - 1; i >= 0; i--) {
        pair now = pair_at(u, du, i * step);
        pair g = pair_step(s, A2, line + i * step, s.growing ? now : next, s.growing ? next : after, g1, g2);
        y[i * step] += g.v;
        dy[i * step] += g.d;
        after = next;
        next = now;
        g2 = g1;
        g1 = g;
    }
}

/* --- all lines of all planes ----------------------------------------------------------------------------------------------------------------- */
__global__ static void lines_kernel(enum blur_what what, line_set s, int64_t nplane, const real *u, const real *du, real *y, real *dy)
{
    int64_t size = (int64_t)s.n * s.lines;
    int line = (int)gpu_thread();
    for (int64_t plane = blockIdx.y; line < s.lines && plane < nplane; plane += gridDim.y) {
        int64_t at = plane * size + line;
        if (s.n == 1) {
            y[at] = u[at];
            if (what == BLUR_SLOPE) {
                dy[at] = du ? du[at] : 0;
            }
        } else if (what == BLUR_FORWARD) {
            line_forward(s, line, u + at, y + at);
        } else if (what == BLUR_ADJOINT) {
            line_back(s, line, u + at, y + at);
        } else {
            line_slope(s, line, u + at, du ? du + at : NULL, y + at, dy + at);
        }
    }
}

static void turn(backend *be, const planes &g, int ny, int nx, const real *from, real *to)
{
    unsigned blocks = (unsigned)((ny + TURN - 1) / TURN) * (unsigned)((nx + TURN - 1) / TURN), along = (unsigned)(g.n > 65535 ? 65535 : g.n);
    LAUNCH(be, turn_kernel, dim3(blocks, along), GPU_THREADS, g.n, ny, nx, from, to);
}

/* Buffers a, b, and for slopes da, db.  Where the result is: in *last. */
static void blur_lines(backend *be, const gpu_lines *l, enum blur_what what, const planes &g, real *const buffer[4], const real **last)
{
    bool slopes = what == BLUR_SLOPE;
    real *a = buffer[0], *b = buffer[1], *da = slopes ? buffer[2] : NULL, *db = slopes ? buffer[3] : NULL;
    line_set along_x = {l->nx, l->ny, l->growing, l->by_column, l->slope_by_column, l->edge};
    line_set along_y = {l->ny, l->nx, l->growing, l->by_row, l->slope_by_row, l->edge};
    if (what == BLUR_ADJOINT) {
        LAUNCH(be, lines_kernel, gpu_grid(l->nx, g.n), GPU_THREADS, what, along_y, g.n, (const real *)a, (const real *)NULL, b, da);
        turn(be, g, l->ny, l->nx, b, a);
        LAUNCH(be, lines_kernel, gpu_grid(l->ny, g.n), GPU_THREADS, what, along_x, g.n, (const real *)a, (const real *)NULL, b, da);
        turn(be, g, l->nx, l->ny, b, a);
        *last = a;
        return;
    }
    turn(be, g, l->ny, l->nx, a, b);
    LAUNCH(be, lines_kernel, gpu_grid(l->ny, g.n), GPU_THREADS, what, along_x, g.n, (const real *)b, (const real *)NULL, a, da);
    turn(be, g, l->nx, l->ny, a, b);
    if (slopes) {
        turn(be, g, l->nx, l->ny, da, db);
    }
    LAUNCH(be, lines_kernel, gpu_grid(l->nx, g.n), GPU_THREADS, what, along_y, g.n, (const real *)b, (const real *)db, a, da);
    *last = slopes ? da : a;
}

void gpu_deriche_run(backend *be, const blur_plan *plan, enum blur_what what, const blur_pass &p)
{
    const gpu_lines *l = &plan->line;
    int nbuffer = l->nothing ? 0 : what == BLUR_SLOPE ? 4 : 2;
    int64_t size = (int64_t)l->ny * l->nx, all = blur_planes(p), bytes = size * nbuffer * (int64_t)sizeof(real);
    int64_t group = bytes * all <= most_lines ? all : bytes > most_lines ? 1 : most_lines / bytes;
    unsigned blocks = gpu_blocks(size);
    int64_t part_bytes = (all * blocks * p.nsum * (int64_t)sizeof(double) + 255) / 256 * 256;
    char *scratch = part_bytes + bytes > 0 ? (char *)gpu_scratch(be, (size_t)(part_bytes + group * bytes)) : NULL;
    double *part = (double *)scratch;
    real *buffer[4];
    for (int i = 0; i < 4; i++) {
        buffer[i] = i < nbuffer ? (real *)(scratch + part_bytes) + i * group * size : NULL;
    }
    for (planes g = {0, 0, l->ny, l->nx}; g.first < all; g.first += group) {
        const real *last = NULL;
        g.n = all - g.first < group ? all - g.first : group;
        if (!l->nothing) {
            LAUNCH(be, gather_kernel, gpu_grid(size, g.n), GPU_THREADS, p, g, buffer[0]);
            blur_lines(be, l, what, g, buffer, &last);
        }
        LAUNCH(be, give_kernel, gpu_grid(size, g.n), GPU_THREADS, p, g, last, what == BLUR_SLOPE, part);
    }
    if (p.nsum > 0) {
        gpu_sum_parts(be, (int64_t)p.nleaf * p.nt, p.nchan * (int)blocks, p.nsum, part, p.result);
    }
}

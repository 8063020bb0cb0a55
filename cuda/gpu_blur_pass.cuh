/* gpu_blur_pass.cuh - a blur of planes as all methods share it: where pixels come from, what becomes of the blurred ones.
 *
 * The adjoint of a symmetric blur is the blur of a plane that is 0 outside the tile, spread into the halo: each pixel gathers, in a fixed order. */
#ifndef GPU_BLUR_PASS_CUH
#define GPU_BLUR_PASS_CUH
#include "compute/cellmath.h"
#include "gpu_blur.h"
#include "gpu_kernel.cuh"

/* --- what is blurred; 0 farther than `reach` pixels from the tile ---------------------------------------------------------------- */
enum blur_from {
    FROM_PLAIN, /* a */
    FROM_HEAT,  /* b a + c before */
    FROM_POOL,  /* what gain control pools of a voltage */
    FROM_SHIFT  /* a - mean */
};
struct blur_source {
    enum blur_from from;
    gpu_view a, before;
    real b, c, mean, feedback, inverse_saturation;
    int reach;
};

/* --- what becomes of it ------------------------------------------------------------------------------------------------------------ */
enum blur_to {
    TO_PLACE,       /* out = s */
    TO_MEMBRANE,    /* VirtualRetina's membrane, and A = (1 - c) s + c A */
    TO_CONVIS,      /* the same membrane, and A = s + mean */
    TO_DOT,         /* sum of factor other s */
    TO_SUM,         /* out += s */
    TO_HEAT_BACK,   /* out += b s, before += c s; sums of s u, of s times what was before */
    TO_POOL_BACK,   /* before += s by what was pooled; sums by feedback, and of -s q */
    TO_CONVIS_BACK, /* out = s; sum of other - s */
    TO_COUNT
};
enum { BLUR_MOST_SUMS = 2 };
struct blur_sink {
    enum blur_to to;
    gpu_view out, before, other, input, u, adaptation, keep; /* at NULL: not wanted */
    gain_par par;
    real b, c, mean, inverse_saturation;
    double factor;
    bool sums; /* wanted */
};

/* A call: planes (leaf, frame, channel), of which each pixel of the tile and `spread` pixels around it is made. */
struct blur_pass {
    int nleaf, nt, nchan, pad_ny, pad_nx, spread;
    const grid_tile *tile;
    bool back;
    blur_source from;
    blur_sink to;
    int nsum;       /* of a block, <= BLUR_MOST_SUMS */
    double *result; /* device [nleaf * nt][nsum] */
};

enum blur_what { BLUR_FORWARD, BLUR_ADJOINT, BLUR_SLOPE };
/* Queues it, and the sums.  The tiles are those of the source's view. */
void gpu_blur_run(backend *be, const blur_plan *p, enum blur_what what, blur_pass pass);
blur_pass gpu_blur_begin(backend *be, view like, int nt, int nchan); /* of these leaves; the rest is 0 */
void gpu_deriche_run(backend *be, const blur_plan *p, enum blur_what what, const blur_pass &pass); /* gpu_deriche.cu */
void gpu_taps_run(backend *be, const blur_plan *p, enum blur_what what, const blur_pass &pass);    /* gpu_blur_taps.cu */
/* Writes factor times the derivatives by taps and bias to the result [nleaf * nt][(2 radius + 1)^2 + 1]; pass.to.other: by the blurred plane. */
void gpu_taps_par(backend *be, const blur_plan *p, const blur_pass &pass, double *result);
/* Adds factor times the derivative by sigma_px, or by taps and bias, to g[leaf * stride]: from.. against other. */
void gpu_blur_par(backend *be, const blur_plan *p, blur_pass pass, gpu_view other, double factor, double *g, int64_t g_stride);

__host__ __device__ static inline int64_t blur_planes(const blur_pass &p)
{
    return (int64_t)p.nleaf * p.nt * p.nchan;
}

/* A plane of a pass. */
struct blur_place {
    int leaf, t, c;
    grid_tile tile;
};

__device__ static inline blur_place blur_at(const blur_pass &p, int64_t plane_)
{
    unsigned plane = (unsigned)plane_, frame = plane / (unsigned)p.nchan; /* 64-bit divisions would cost as much as the blur */
    blur_place q = {(int)(frame / (unsigned)p.nt), (int)(frame % (unsigned)p.nt), (int)(plane % (unsigned)p.nchan), {0, 0, 0, 0, 0}};
    q.tile = p.tile[q.leaf];
    return q;
}

__device__ static inline real *blur_pixel(const gpu_view &v, const blur_place &q, int y, int x)
{
    return gpu_plane(v, q.leaf, q.t, q.c) + y * v.row_stride + x;
}

__device__ static inline bool blur_reaches(const blur_source &f, const blur_place &q, int y, int x)
{
    return y >= -f.reach && x >= -f.reach && y < q.tile.ny + f.reach && x < q.tile.nx + f.reach;
}

/* What is blurred, of what stands at a pixel and, FROM_HEAT, stood there before. */
__device__ static inline real blur_made_of(const blur_source &f, real v, real before)
{
    switch (f.from) {
    case FROM_PLAIN:
        return v;
    case FROM_HEAT:
        return f.b * v + f.c * before;
    case FROM_POOL:
        return cell_gain_pool(v, f.feedback, f.inverse_saturation);
    case FROM_SHIFT:
        return v - f.mean;
    }
    return 0;
}

__device__ static inline real blur_from_at(const blur_source &f, const blur_place &q, int y, int x)
{
    bool in = blur_reaches(f, q, y, x);
    real v = in ? *blur_pixel(f.a, q, y, x) : 0, before = in && f.from == FROM_HEAT ? *blur_pixel(f.before, q, y, x) : 0;
    return in ? blur_made_of(f, v, before) : 0;
}

__device__ static inline bool blur_makes(const blur_pass &p, const blur_place &q, int y, int x)
{
    return y >= -p.spread && x >= -p.spread && y < q.tile.ny + p.spread && x < q.tile.nx + p.spread;
}

/* What the membrane of a pixel reads: A_(t-1), V_(t-1), its input. */
struct blur_cell {
    real a, before, input;
};
__device__ static inline blur_cell blur_membrane_reads(const blur_sink &k, const blur_place &q, int y, int x)
{
    blur_cell c = {*blur_pixel(k.adaptation, q, y, x), *blur_pixel(k.before, q, y, x), *blur_pixel(k.input, q, y, x)};
    return c;
}

/* keep gets the new A. */
__device__ static inline void blur_membrane_gives(const blur_sink &k, const blur_place &q, int y, int x, const blur_cell &c, real s)
{
    real a = k.to == TO_CONVIS ? s + k.mean : (1 - k.par.decay) * s + k.par.decay * c.a;
    *blur_pixel(k.out, q, y, x) = cell_gain_membrane(c.before, c.input, k.par.leak_hz + c.a, k.par.gain_hz, k.par.dt_s);
    *blur_pixel(k.adaptation, q, y, x) = a;
    if (k.keep.at) {
        *blur_pixel(k.keep, q, y, x) = a;
    }
}
__device__ static inline void blur_membrane(const blur_sink &k, const blur_place &q, int y, int x, real s)
{
    blur_membrane_gives(k, q, y, x, blur_membrane_reads(k, q, y, x), s);
}

__device__ static inline void blur_pool_back(const blur_sink &k, const blur_place &q, int y, int x, real s, double sum[BLUR_MOST_SUMS])
{
    real v = *blur_pixel(k.input, q, y, x), share = 1 - k.par.decay, by_v, by_feedback;
    cell_gain_pool_slope(v, k.par.feedback_hz, k.inverse_saturation, &by_v, &by_feedback);
    *blur_pixel(k.before, q, y, x) += share * s * by_v;
    if (!k.sums) {
        return;
    }
    sum[0] += (double)share * ((double)s * (double)by_feedback);
    sum[1] -= (double)s * (double)cell_gain_pool(v, k.par.feedback_hz, k.inverse_saturation);
}

/* Pixel (y, x) is made and comes to s.  to: k.to, or the same as a constant. */
__device__ static inline void blur_give(enum blur_to to, const blur_sink &k, const blur_place &q, int y, int x, real s, double sum[BLUR_MOST_SUMS])
{
    switch (to) {
    case TO_PLACE:
        *blur_pixel(k.out, q, y, x) = s;
        break;
    case TO_MEMBRANE:
    case TO_CONVIS:
        blur_membrane(k, q, y, x, s);
        break;
    case TO_DOT:
        sum[0] += k.factor * ((double)*blur_pixel(k.other, q, y, x) * (double)s);
        break;
    case TO_SUM:
        *blur_pixel(k.out, q, y, x) += s;
        break;
    case TO_HEAT_BACK:
        if (k.out.at) {
            *blur_pixel(k.out, q, y, x) += k.b * s;
        }
        *blur_pixel(k.before, q, y, x) += k.c * s;
        if (k.sums) {
            sum[0] += (double)s * (double)*blur_pixel(k.u, q, y, x);
            sum[1] += (double)s * (double)*blur_pixel(k.input, q, y, x);
        }
        break;
    case TO_POOL_BACK:
        blur_pool_back(k, q, y, x, s, sum);
        break;
    case TO_CONVIS_BACK:
        *blur_pixel(k.out, q, y, x) = s;
        sum[0] += (y >= 0 && x >= 0 && y < q.tile.ny && x < q.tile.nx ? (double)*blur_pixel(k.other, q, y, x) : 0) - (double)s;
        break;
    case TO_COUNT:
        break;
    }
}

/* The block's sums go to part[block][nsum].  All threads. */
__device__ static inline void blur_sums(const blur_pass &p, const double sum[BLUR_MOST_SUMS], double *part, int64_t block)
{
    for (int i = 0; i < BLUR_MOST_SUMS; i++) {
        double all = i < p.nsum ? gpu_block_sum(sum[i]) : 0;
        if (i < p.nsum && threadIdx.x == 0) {
            part[block * p.nsum + i] = all;
        }
    }
}
#endif

/* cpu_deriche.c - x pass, then y pass, each a forward and a backward recursion along every line.
 * Uniform: both recursions start in the steady state of the edge pixel, as if it went on for ever.  Growing with eccentricity, as
 * VirtualRetina has it: starts at half the edge value, and the backward recursion reads one pixel early. */
#include "compute/cpu_deriche.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "compute/cpu_blur.h"

struct deriche_plan_field {
    int ny, nx;
    bool nothing;      /* sigma below 0.1 px: VirtualRetina does not blur */
    bool slopes;       /* sigma may change: the derivatives are kept too */
    blur_desc desc;
    deriche uniform, uniform_slope;
    real start, finish;/* steady states of a unit input: forward, backward */
    real start_slope, finish_slope;
    real *coefficient; /* growing: [6][ny][nx] a0 a1 a2 a3 b1 b2 */
    real *slope;       /* growing: the same of their derivatives by sigma */
};

enum { A0, A1, A2, A3, B1, B2, NCOEFFICIENT };
static const double numerator = (double)1.695f; /* alpha = numerator/sigma */

/* u times a factor */
static deriche scaled(deriche u, double factor)
{
    return (deriche){u.a0 * factor, u.a1 * factor, u.a2 * factor, u.a3 * factor, u.b1 * factor, u.b2 * factor};
}

static void set_uniform(deriche_plan_field *p, double sigma_px)
{
    /* VirtualRetina's sigma is a float; one that is fitted is not, or it would move in jumps */
    double sigma = p->slopes ? sigma_px : (double)(float)sigma_px;
    p->nothing = (float)sigma_px < 0.1f;
    if (p->nothing) {
        return;
    }
    double alpha = numerator / sigma;
    deriche u = p->uniform = deriche_plan(alpha), d = p->uniform_slope = scaled(deriche_slope(alpha), -alpha / sigma);
    double below = 1 - u.b1 - u.b2, start = (u.a0 + u.a1) / below, finish = (u.a2 + u.a3) / below;
    p->start = (real)start;
    p->finish = (real)finish;
    p->start_slope = (real)((d.a0 + d.a1 + start * (d.b1 + d.b2)) / below);
    p->finish_slope = (real)((d.a2 + d.a3 + finish * (d.b1 + d.b2)) / below);
}

static void put(real *to, int64_t n, deriche u)
{
    const double v[NCOEFFICIENT] = {u.a0, u.a1, u.a2, u.a3, u.b1, u.b2};
    for (int k = 0; k < NCOEFFICIENT; k++) {
        to[k * n] = (real)v[k];
    }
}

void deriche_field_set(deriche_plan_field *p, double sigma_px)
{
    if (!p->coefficient) {
        set_uniform(p, sigma_px);
        return;
    }
    int64_t n = (int64_t)p->ny * p->nx;
    for (int y = 0; y < p->ny; y++) {
        for (int x = 0; x < p->nx; x++) {
            double alpha = numerator / (sigma_px * blur_scale_at(&p->desc, y, x));
            put(p->coefficient + (int64_t)y * p->nx + x, n, deriche_plan(alpha));
            if (p->slope) {
                put(p->slope + (int64_t)y * p->nx + x, n, scaled(deriche_slope(alpha), -alpha / sigma_px));
            }
        }
    }
}

deriche_plan_field *deriche_field_create(const blur_desc *d)
{
    ASSERT(d->tile_ny >= d->field_ny && d->tile_nx >= d->field_nx);
    deriche_plan_field *p = MEMORY_NEW(deriche_plan_field, 1);
    p->desc = *d;
    p->ny = d->field_ny;
    p->nx = d->field_nx;
    p->slopes = d->most_sigma_px > 0;
    if (d->scaling_per_px > 0 && d->sigma_px > 0) {
        int64_t n = (int64_t)p->ny * p->nx;
        p->start = p->finish = (real)0.5;
        p->coefficient = MEMORY_NEW(real, NCOEFFICIENT * n);
        p->slope = p->slopes ? MEMORY_NEW(real, NCOEFFICIENT * n) : NULL;
    }
    return p; /* set comes next */
}

void deriche_field_destroy(deriche_plan_field *p)
{
    if (p) {
        memory_free(p->coefficient);
        memory_free(p->slope);
        memory_free(p);
    }
}

/* Coefficient k at pixel i of a line whose first pixel is `at` in the field. */
static inline real coefficient(const deriche_plan_field *p, int k, int64_t at)
{
    if (p->coefficient) {
        return p->coefficient[(int64_t)k * p->ny * p->nx + at];
    }
    const double v[NCOEFFICIENT] = {p->uniform.a0, p->uniform.a1, p->uniform.a2, p->uniform.a3, p->uniform.b1, p->uniform.b2};
    return (real)v[k];
}

/* n pixels `step` apart, `lines` lines side by side at distance `side`: from -> to (to holds the forward part first). */
static void lines_pass(const deriche_plan_field *p, const real *from, real *to, int n, int64_t step, int lines, int64_t side)
{
    if (n == 1) {
        for (int x = 0; x < lines; x++) {
            to[x * side] = from[x * side];
        }
        return;
    }
    bool early = p->coefficient != NULL;
    for (int x = 0; x < lines; x++) {
        const real *u = from + x * side;
        real *f = to + x * side;
        int64_t base = x * side;
        real before = u[0], f1 = u[0] * p->start, f2 = f1;
        for (int i = 0; i < n; i++) {
            int64_t at = base + i * step;
            real now = u[i * step];
            real v = coefficient(p, A0, at) * now + coefficient(p, A1, at) * before + coefficient(p, B1, at) * f1 + coefficient(p, B2, at) * f2;
            f[i * step] = v;
            before = now;
            f2 = f1;
            f1 = v;
        }
        real last = u[(n - 1) * step], next = last, after = last, g1 = last * p->finish, g2 = g1;
        for (int i = n - 1; i >= 0; i--) {
            int64_t at = base + i * step;
            real now = u[i * step];
            real near = early ? now : next, far = early ? next : after;
            real v = coefficient(p, A2, at) * near + coefficient(p, A3, at) * far + coefficient(p, B1, at) * g1 + coefficient(p, B2, at) * g2;
            f[i * step] += v;
            after = next;
            next = now;
            g2 = g1;
            g1 = v;
        }
    }
}

void deriche_field_blur(const deriche_plan_field *p, real *scratch, const blur_io *io)
{
    int ny = p->ny, nx = p->nx;
    real *a = scratch, *b = a + (int64_t)ny * nx, *line = b + (int64_t)ny * nx;
    for (int y = 0; y < ny; y++) {
        memcpy(a + (int64_t)y * nx, io->row(io->ctx, y, line), (size_t)nx * sizeof(real));
    }
    if (!p->nothing) {
        lines_pass(p, a, b, nx, 1, ny, nx);
        lines_pass(p, b, a, ny, nx, nx, 1);
    }
    for (int y = 0; y < ny; y++) {
        blur_io_give(io, y, a + (int64_t)y * nx, nx);
    }
}

/* --- adjoint ------------------------------------------------------------------------------------------------------------------
 * of a line: both recursions run the other way round, and what started them goes to the edge pixels.  gy -> gu, overwritten. */
static void line_back(const deriche_plan_field *p, const real *gy, real *gu, int n, int64_t step, int64_t base)
{
    bool early = p->coefficient != NULL;
    real l1 = 0, l2 = 0; /* lambda_(i+1), lambda_(i+2): derivatives by the forward part */
    real b1 = 0, b2 = 0, b2_far = 0, a1 = 0;
    for (int i = n - 1; i >= 0; i--) {
        int64_t at = base + i * step;
        real lambda = gy[i * step] + b1 * l1 + b2_far * l2;
        gu[i * step] = coefficient(p, A0, at) * lambda + a1 * l1;
        b2_far = b2; /* of pixel i + 1 */
        b1 = coefficient(p, B1, at);
        b2 = coefficient(p, B2, at);
        a1 = coefficient(p, A1, at);
        l2 = l1;
        l1 = lambda;
    }
    gu[0] += a1 * l1 + p->start * (b1 * l1 + b2 * l1 + b2_far * l2);
    real m1 = 0, m2 = 0; /* mu_(i-1), mu_(i-2): by the backward part */
    b1 = b2 = b2_far = 0;
    int near = early ? 0 : 1, far = early ? 1 : 2;
    for (int i = 0; i < n; i++) {
        int64_t at = base + i * step;
        real mu = gy[i * step] + b1 * m1 + b2_far * m2;
        gu[(i + near < n ? i + near : n - 1) * step] += coefficient(p, A2, at) * mu;
        gu[(i + far < n ? i + far : n - 1) * step] += coefficient(p, A3, at) * mu;
        b2_far = b2; /* of pixel i - 1 */
        b1 = coefficient(p, B1, at);
        b2 = coefficient(p, B2, at);
        m2 = m1;
        m1 = mu;
    }
    gu[(n - 1) * step] += p->finish * (b1 * m1 + b2 * m1 + b2_far * m2);
}

static void lines_back(const deriche_plan_field *p, const real *gy, real *gu, int n, int64_t step, int lines, int64_t side)
{
    for (int x = 0; x < lines; x++) {
        if (n == 1) {
            gu[x * side] = gy[x * side];
        } else {
            line_back(p, gy + x * side, gu + x * side, n, step, x * side);
        }
    }
}

void deriche_field_back(const deriche_plan_field *p, real *scratch, const blur_back_io *io)
{
    int ny = p->ny, nx = p->nx;
    real *a = scratch, *b = a + (int64_t)ny * nx, *line = b + (int64_t)ny * nx;
    for (int y = 0; y < ny; y++) {
        memcpy(a + (int64_t)y * nx, io->row(io->ctx, y, line), (size_t)nx * sizeof(real));
    }
    if (!p->nothing) {
        lines_back(p, a, b, ny, nx, nx, 1);
        lines_back(p, b, a, nx, 1, ny, nx);
    }
    for (int y = 0; y < ny; y++) {
        io->add(io->ctx, y, a + (int64_t)y * nx, 0);
    }
}

/* --- derivative by sigma: the recursions derived along (tangent) ------------------------------------------------------------- */
static inline real slope(const deriche_plan_field *p, int k, int64_t at)
{
    if (p->coefficient) {
        return p->slope[(int64_t)k * p->ny * p->nx + at];
    }
    const deriche *u = &p->uniform_slope;
    const double v[NCOEFFICIENT] = {u->a0, u->a1, u->a2, u->a3, u->b1, u->b2};
    return (real)v[k];
}

/* A value and its derivative by sigma. */
typedef struct pair {
    real v, d;
} pair;

static inline pair product(real c, real dc, pair u)
{
    return (pair){c * u.v, dc * u.v + c * u.d};
}

/* sum of four coefficients times four numbers: k[0], k[0] + 1 of inputs, B1, B2 of what came before */
static inline pair pair_step(const deriche_plan_field *p, int k, int64_t at, const pair in[4])
{
    const int which[4] = {k, k + 1, B1, B2};
    pair sum = {0, 0};
    for (int j = 0; j < 4; j++) {
        pair part = product(coefficient(p, which[j], at), slope(p, which[j], at), in[j]);
        sum.v += part.v;
        sum.d += part.d;
    }
    return sum;
}

static inline pair pair_at(const real *u, const real *du, int64_t i)
{
    return (pair){u[i], du ? du[i] : 0};
}

/* u, du (NULL: 0) -> y, dy of one line */
static void line_slope(const deriche_plan_field *p, const real *u, const real *du, real *y, real *dy, int n, int64_t step, int64_t base)
{
    bool early = p->coefficient != NULL;
    pair before = pair_at(u, du, 0), f1 = product(p->start, p->start_slope, before), f2 = f1;
    for (int i = 0; i < n; i++) {
        pair now = pair_at(u, du, i * step), f = pair_step(p, A0, base + i * step, (pair[4]){now, before, f1, f2});
        y[i * step] = f.v;
        dy[i * step] = f.d;
        before = now;
        f2 = f1;
        f1 = f;
    }
    pair next = pair_at(u, du, (n - 1) * step), after = next, g1 = product(p->finish, p->finish_slope, next), g2 = g1;
    for (int i = n - 1; i >= 0; i--) {
        pair now = pair_at(u, du, i * step);
        pair g = pair_step(p, A2, base + i * step, (pair[4]){early ? now : next, early ? next : after, g1, g2});
        y[i * step] += g.v;
        dy[i * step] += g.d;
        after = next;
        next = now;
        g2 = g1;
        g1 = g;
    }
}

static void lines_slope(const deriche_plan_field *p, const real *u, const real *du, real *y, real *dy, int n, int64_t step, int lines, int64_t side)
{
    for (int x = 0; x < lines; x++) {
        int64_t i = x * side;
        if (n == 1) {
            y[i] = u[i];
            dy[i] = du ? du[i] : 0;
        } else {
            line_slope(p, u + i, du ? du + i : NULL, y + i, dy + i, n, step, i);
        }
    }
}

void deriche_field_slope(const deriche_plan_field *p, real *scratch, const blur_io *io)
{
    int ny = p->ny, nx = p->nx;
    int64_t n = (int64_t)ny * nx;
    real *a = scratch, *b = a + n, *db = b + n, *da = db + n, *line = da + n;
    for (int y = 0; y < ny; y++) {
        memcpy(a + (int64_t)y * nx, io->row(io->ctx, y, line), (size_t)nx * sizeof(real));
    }
    if (p->nothing) {
        memset(da, 0, (size_t)n * sizeof(real));
    } else {
        lines_slope(p, a, NULL, b, db, nx, 1, ny, nx);
        lines_slope(p, b, db, a, da, ny, nx, nx, 1);
    }
    for (int y = 0; y < ny; y++) {
        blur_io_give(io, y, da + (int64_t)y * nx, nx);
    }
}

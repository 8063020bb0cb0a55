/* cpu_deriche.c - x pass, then y pass, each a forward and a backward recursion along every line.
 * Uniform: both recursions start in the steady state of the edge pixel, as if it went on for ever.  Growing with eccentricity, as
 * VirtualRetina has it: starts at half the edge value, and the backward recursion reads one pixel early. */
#include "compute/cpu_deriche.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"

struct deriche_plan_field {
    int ny, nx;
    bool nothing;      /* sigma below 0.1 px: VirtualRetina does not blur */
    deriche uniform;
    real start, finish;/* steady states of a unit input: forward, backward */
    real *coefficient; /* growing: [6][ny][nx] a0 a1 a2 a3 b1 b2 */
};

enum { A0, A1, A2, A3, B1, B2, NCOEFFICIENT };

deriche_plan_field *deriche_field_create(const blur_desc *d)
{
    ASSERT(d->tile_ny >= d->field_ny && d->tile_nx >= d->field_nx);
    deriche_plan_field *p = MEMORY_NEW(deriche_plan_field, 1);
    int ny = p->ny = d->field_ny, nx = p->nx = d->field_nx;
    const double numerator = (double)1.695f;
    if (d->scaling_per_px <= 0 || d->sigma_px <= 0) {
        float sigma = (float)d->sigma_px;
        p->nothing = sigma < 0.1f;
        if (!p->nothing) {
            deriche u = p->uniform = deriche_plan(numerator / (double)sigma);
            p->start = (real)((u.a0 + u.a1) / (1 - u.b1 - u.b2));
            p->finish = (real)((u.a2 + u.a3) / (1 - u.b1 - u.b2));
        }
        return p;
    }
    p->start = p->finish = (real)0.5;
    int64_t n = (int64_t)ny * nx;
    p->coefficient = MEMORY_NEW(real, NCOEFFICIENT * n);
    for (int y = 0; y < ny; y++) {
        for (int x = 0; x < nx; x++) {
            deriche u = deriche_plan(numerator / (d->sigma_px * blur_scale_at(d, y, x)));
            const double v[NCOEFFICIENT] = {u.a0, u.a1, u.a2, u.a3, u.b1, u.b2};
            for (int k = 0; k < NCOEFFICIENT; k++) {
                p->coefficient[k * n + (int64_t)y * nx + x] = (real)v[k];
            }
        }
    }
    return p;
}

void deriche_field_destroy(deriche_plan_field *p)
{
    if (p) {
        memory_free(p->coefficient);
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

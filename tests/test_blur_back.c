/* test_blur_back.c - adjoints and derivatives by parameters of the blurs, the leaky heat step and gain control.
 * Oracles: <A x, y> = <x, A' y> for whatever is linear; Taylor's remainder, whose order is 2, for the rest; taps derived by hand. */
#include "compute/blur.h"

#include "base/memory.h"
#include "device.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
static const double identity = 1e-12; /* sums of some 1e3 products in two orders */
#else
static const double identity = 2e-5; /* the same, of the size of the largest term */
#endif

enum { MOST = 16, NY = 13, NX = 17 };

/* A field in tiles, each with its halo. */
typedef struct plane {
    grid g;
    grid_tile tile[MOST];
    int64_t n;  /* reals, all leaves */
    real *copy; /* of all of them, on the host */
    view v;
    backend *be;
} plane;

static void plane_make(plane *p, backend *be, const grid *g, int halo)
{
    *p = (plane){.g = *g, .be = be};
    int nleaf = grid_nleaf(g), row = g->tile_nx + 2 * halo + 3;
    for (int l = 0; l < nleaf; l++) {
        p->tile[l] = grid_tile_at(g, l);
    }
    int64_t size = (int64_t)row * (g->tile_ny + 2 * halo);
    p->n = size * nleaf;
    p->v = (view){.tile = p->tile, .nleaf = nleaf, .nchan = 1, .halo = halo, .leaf_stride = size, .frame_stride = size, .chan_stride = size,
                  .row_stride = row, .pad_ny = g->tile_ny, .pad_nx = g->tile_nx};
    p->copy = MEMORY_NEW(real, p->n);
    p->v.at = test_put(be, p->copy, p->n) + halo * row + halo;
}

static int64_t first_pixel(const plane *p) /* of the first tile, in the copy */
{
    return p->v.halo * p->v.row_stride + p->v.halo;
}

static void plane_put(const plane *p)
{
    p->be->ops->upload(p->be, p->v.at - first_pixel(p), p->copy, p->n);
}

static real *plane_get(const plane *p) /* the copy, as the array is now */
{
    p->be->ops->download(p->be, p->copy, p->v.at - first_pixel(p), p->n);
    return p->copy;
}

static void plane_free(plane *p)
{
    p->be->ops->release(p->be, p->v.at - first_pixel(p));
    memory_free(p->copy);
}

/* Every pixel of tile and halo its own number: adjoints of tiles are taken one by one, without borders being swapped. */
static void plane_noise(plane *p, uint64_t seed, double offset, double size)
{
    for (int l = 0; l < p->v.nleaf; l++) {
        for (int y = -p->v.halo; y < p->tile[l].ny + p->v.halo; y++) {
            for (int x = -p->v.halo; x < p->tile[l].nx + p->v.halo; x++) {
                p->copy[first_pixel(p) + l * p->v.leaf_stride + y * p->v.row_stride + x] = (real)(offset + size * test_random(&seed));
            }
        }
    }
    plane_put(p);
}

/* Over tile and halo of both, whichever is smaller. */
static double dot(const plane *a, const plane *b)
{
    int halo = a->v.halo < b->v.halo ? a->v.halo : b->v.halo;
    const real *in_a = plane_get(a) + first_pixel(a), *in_b = plane_get(b) + first_pixel(b);
    double sum = 0;
    for (int l = 0; l < a->v.nleaf; l++) {
        for (int y = -halo; y < a->tile[l].ny + halo; y++) {
            for (int x = -halo; x < a->tile[l].nx + halo; x++) {
                sum += (double)in_a[l * a->v.leaf_stride + y * a->v.row_stride + x] * (double)in_b[l * b->v.leaf_stride + y * b->v.row_stride + x];
            }
        }
    }
    return sum;
}

/* --- every blur -------------------------------------------------------------------------------------------------------------- */
typedef struct kind {
    const char *name;
    blur_desc d;
    int ntile_y, ntile_x;
} kind;

#define DESC(...) {.field_ny = NY, .field_nx = NX, __VA_ARGS__}
static const kind kinds[] = {
    {"gaussian", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 1.1, .most_sigma_px = 2.2), 2, 3},
    {"gaussian, halo beyond the tile", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 1.7, .most_sigma_px = 1.8), 3, 4},
    {"narrow gaussian", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 0.13, .most_sigma_px = 0.3), 1, 2},
    {"growing gaussian", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 0.8, .most_sigma_px = 1.2, .fovea_px = 2, .scaling_per_px = 0.06), 2, 2},
    {"wide gaussian", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 8.5, .most_sigma_px = 9), 2, 1},
    {"wide growing gaussian", DESC(.method = BLUR_GAUSSIAN, .sigma_px = 2, .most_sigma_px = 2.5, .fovea_px = 2, .scaling_per_px = 0.4), 1, 2},
    {"convis", DESC(.method = BLUR_CONVIS, .sigma_px = 0.9, .most_sigma_px = 1.8), 2, 1},
    {"clipped convis", DESC(.method = BLUR_CONVIS, .sigma_px = 0.3, .most_sigma_px = 0.5), 1, 1},
    {"deriche", DESC(.method = BLUR_DERICHE, .sigma_px = 1.3, .most_sigma_px = 3), 1, 1},
    {"growing deriche", DESC(.method = BLUR_DERICHE, .sigma_px = 0.8, .most_sigma_px = 3, .fovea_px = 2, .scaling_per_px = 0.06), 1, 1},
    {"deriche that does nothing", DESC(.method = BLUR_DERICHE, .sigma_px = 0.05, .most_sigma_px = 0.09), 1, 1},
    {"deriche of one line", {.method = BLUR_DERICHE, .sigma_px = 0.7, .most_sigma_px = 3, .field_ny = 1, .field_nx = NX}, 1, 1},
    {"free taps", DESC(.method = BLUR_TAPS, .taps_radius = 2), 2, 2},
    {"one free tap", DESC(.method = BLUR_TAPS, .taps_radius = 0), 1, 2},
};
enum { NKIND = sizeof kinds / sizeof *kinds, MOST_TAPS = 25 };

/* Numbers that a blur follows from: sigma, or taps and bias. */
static int npar_of(const blur_desc *d)
{
    return d->method == BLUR_TAPS ? (2 * d->taps_radius + 1) * (2 * d->taps_radius + 1) + 1 : 1;
}

static void first_values(const blur_desc *d, double *value)
{
    uint64_t seed = 77;
    value[0] = d->sigma_px;
    for (int i = 0; d->method == BLUR_TAPS && i < npar_of(d); i++) {
        value[i] = 0.3 * test_random(&seed);
    }
}

static void set_blur(backend *be, blur_plan *p, const blur_desc *d, const double *value)
{
    if (d->method == BLUR_TAPS) {
        be->ops->blur_set_taps(be, p, value, value[npar_of(d) - 1]);
    } else {
        be->ops->blur_set(be, p, value[0]);
    }
}

static grid make_grid(const kind *k, blur_desc *d)
{
    grid g = grid_plan(k->d.field_ny, k->d.field_nx, k->ntile_y, k->ntile_x);
    *d = k->d;
    d->tile_ny = g.tile_ny;
    d->tile_nx = g.tile_nx;
    return g;
}

static void adjoints_of_blurs(void)
{
    backend *be = test_backend(1);
    for (int k = 0; k < NKIND; k++) {
        blur_desc d;
        grid g = make_grid(&kinds[k], &d);
        plane x, y, gy, gx;
        plane_make(&x, be, &g, blur_look(&d).radius + k % 2); /* a halo may be wider than asked for */
        plane_make(&gx, be, &g, blur_look(&d).radius);
        plane_make(&y, be, &g, 0);
        plane_make(&gy, be, &g, 1);
        plane_noise(&x, 1, 0, 1);
        plane_noise(&gy, 2, 0, 1);
        plane_noise(&gx, 3, 0, 1); /* it is added to */
        double before = dot(&x, &gx), value[MOST_TAPS + 1];
        blur_plan *p = be->ops->blur_create(be, &d);
        first_values(&d, value);
        value[npar_of(&d) - 1] = d.method == BLUR_TAPS ? 0 : value[0];
        set_blur(be, p, &d, value);
        be->ops->blur(be, p, 1, x.v, y.v);
        be->ops->blur_back(be, p, 1, gy.v, gx.v);
        double size = sqrt(dot(&y, &y) * dot(&gy, &gy));
        double differ = (dot(&x, &gx) - before - dot(&y, &gy)) / size;
        if (fabs(differ) > identity) {
            printf("\n    %s:", kinds[k].name);
        }
        CHECK_NEAR(differ, 0, identity, "both sides of the identity, of the size of the vectors");
        CHECK(size > 0.1);
        be->ops->blur_destroy(be, p);
        plane_free(&x);
        plane_free(&y);
        plane_free(&gy);
        plane_free(&gx);
    }
    test_backend_close(be);
}

/* Tiles show in no bit of the adjoint's interior sum: put together, tiles give what the whole field gives, but for the order of the sums. */
static void tiles_add_up(void)
{
    backend *be = test_backend(1);
    enum { R = 9 };
    static double whole[NY + 2 * R][NX + 2 * R], parts[NY + 2 * R][NX + 2 * R];
    memset(whole, 0, sizeof whole);
    memset(parts, 0, sizeof parts);
    for (int cut = 0; cut < 2; cut++) {
        grid g = grid_plan(NY, NX, cut ? 3 : 1, cut ? 2 : 1);
        blur_desc d = {.sigma_px = 1.4, .fovea_px = 1, .scaling_per_px = 0.03, .field_ny = NY, .field_nx = NX};
        d.tile_ny = g.tile_ny;
        d.tile_nx = g.tile_nx;
        int r = blur_look(&d).radius;
        CHECK(r <= R);
        plane gy, gx;
        plane_make(&gy, be, &g, 0);
        plane_make(&gx, be, &g, r);
        for (int l = 0; l < gy.v.nleaf; l++) {
            for (int i = 0; i < gy.tile[l].ny * gy.tile[l].nx; i++) {
                int y = i / gy.tile[l].nx, x = i % gy.tile[l].nx;
                uint64_t seed = (uint64_t)((gy.tile[l].y0 + y) * NX + gy.tile[l].x0 + x);
                gy.copy[l * gy.v.leaf_stride + y * gy.v.row_stride + x] = (real)test_random(&seed);
            }
        }
        plane_put(&gy);
        blur_plan *p = be->ops->blur_create(be, &d);
        be->ops->blur_back(be, p, 1, gy.v, gx.v);
        const real *got = plane_get(&gx) + first_pixel(&gx);
        for (int l = 0; l < gx.v.nleaf; l++) {
            for (int y = -r; y < gx.tile[l].ny + r; y++) {
                for (int x = -r; x < gx.tile[l].nx + r; x++) {
                    (cut ? parts : whole)[gx.tile[l].y0 + y + R][gx.tile[l].x0 + x + R] +=
                        (double)got[l * gx.v.leaf_stride + y * gx.v.row_stride + x];
                }
            }
        }
        be->ops->blur_destroy(be, p);
        plane_free(&gy);
        plane_free(&gx);
    }
    double worst = 0;
    for (int i = 0; i < (NY + 2 * R) * (NX + 2 * R); i++) {
        worst = fmax(worst, fabs((&whole[0][0])[i] - (&parts[0][0])[i]));
    }
    CHECK_NEAR(worst, 0, identity / 10, "the same sums of some 300 products in other orders");
    test_backend_close(be);
}

/* --- Taylor's remainder --------------------------------------------------------------------------------------------------------- */
typedef double loss_of(void *ctx, const double *value);

/* R(h) = L(p + h d) - L(p) - h <d, g>, along a direction of relative steps; order log2 R(h)/R(h/2), over two halvings; -1: R is 0 to rounding. */
static double taylor_order(loss_of *loss, void *ctx, const double *value, const double *g, int n, double h)
{
    enum { MOST_VALUES = 64 };
    double moved[MOST_VALUES], d[MOST_VALUES], r[2], slope = 0, l0 = loss(ctx, value);
    uint64_t seed = 9;
    for (int i = 0; i < n; i++) {
        d[i] = (fabs(value[i]) + 1e-3) * (1 + 0.5 * test_random(&seed));
        slope += d[i] * g[i];
    }
    for (int k = 0; k < 2; k++) {
        double step = h / (k ? 4 : 1);
        for (int i = 0; i < n; i++) {
            moved[i] = value[i] + step * d[i];
        }
        r[k] = loss(ctx, moved) - l0 - step * slope;
    }
    if (fabs(r[0]) < 1e-13 * (fabs(l0) + fabs(slope))) { /* linear in the parameter */
        return -1;
    }
    return log2(fabs(r[0] / r[1])) / 2;
}

typedef struct blur_case {
    backend *be;
    blur_desc d;
    blur_plan *p;
    plane x, y, gy;
} blur_case;

static double blur_loss(void *ctx, const double *value)
{
    blur_case *c = ctx;
    set_blur(c->be, c->p, &c->d, value);
    c->be->ops->blur(c->be, c->p, 1, c->x.v, c->y.v);
    return dot(&c->y, &c->gy);
}

static void check_order(double order, const char *name, bool linear)
{
    if (linear ? order != -1 : !(order >= 1.9 && order <= 2.1)) {
        printf("\n    %s: order %g", name, order);
        CHECK(linear ? order == -1 : order >= 1.9 && order <= 2.1);
    }
}

static void derivatives_by_sigma_and_taps(void)
{
    backend *be = test_backend(1);
    for (int k = 0; k < NKIND; k++) {
        blur_case c = {.be = be};
        grid g = make_grid(&kinds[k], &c.d);
        int n = npar_of(&c.d), nleaf = grid_nleaf(&g);
        double *by = MEMORY_NEW(double, nleaf * (n + 1)), value[MOST_TAPS + 1], sum[MOST_TAPS + 1] = {0};
        plane_make(&c.x, be, &g, blur_look(&c.d).radius);
        plane_make(&c.y, be, &g, 0);
        plane_make(&c.gy, be, &g, 0);
        plane_noise(&c.x, 4, 0.3, 1);
        plane_noise(&c.gy, 5, 0.1, 1);
        c.p = be->ops->blur_create(be, &c.d);
        first_values(&c.d, value);
        set_blur(be, c.p, &c.d, value);
        be->ops->blur_back_par(be, c.p, 1, c.x.v, c.gy.v, by, n + 1);
        be->ops->sync(be);
        for (int i = 0; i < nleaf * n; i++) {
            sum[i % n] += by[i / n * (n + 1) + i % n];
        }
        bool nothing = c.d.method == BLUR_DERICHE && c.d.sigma_px < 0.1;
        CHECK(nothing || sum[0] != 0);
        if (sizeof(real) == sizeof(double)) { /* in float the remainder drowns */
            check_order(taylor_order(blur_loss, &c, value, sum, n, 1e-3), kinds[k].name, c.d.method == BLUR_TAPS || nothing);
        } else {
            double d = 2e-2 * value[0], up = value[0] + d, down = value[0] - d;
            double slope = n > 1 ? sum[0] : (blur_loss(&c, &up) - blur_loss(&c, &down)) / (2 * d);
            CHECK_NEAR(sum[0], slope, 3e-3 * (fabs(slope) + 1), "difference of second order in float, 2 % apart");
        }
        be->ops->blur_destroy(be, c.p);
        plane_free(&c.x);
        plane_free(&c.y);
        plane_free(&c.gy);
        memory_free(by);
    }
    test_backend_close(be);
}

/* The slopes of the taps themselves: against differences of the taps. */
static void slopes_are_differences(void)
{
    const double sigmas[] = {0.2, 0.9, 3};
    for (int i = 0; i < 3; i++) {
        enum { R = 12 };
        double up[R + 1], down[R + 1], slope[R + 1], h = 1e-5 * sigmas[i], sum;
        blur_gaussian_taps(sigmas[i] + h, R, up);
        blur_gaussian_taps(sigmas[i] - h, R, down);
        blur_gaussian_slopes(sigmas[i], R, slope);
        sum = slope[0];
        for (int n = 0; n <= R; n++) {
            sum += n ? 2 * slope[n] : 0;
            CHECK_NEAR(slope[n], (up[n] - down[n]) / (2 * h), 1e-9 / sigmas[i], "central difference: h^2, and rounding over h");
        }
        CHECK_NEAR(sum, 0, 1e-14, "the sum of the taps stays 1");
        deriche a = deriche_plan(sigmas[i] + h), b = deriche_plan(sigmas[i] - h), d = deriche_slope(sigmas[i]);
        const double *pa = &a.a0, *pb = &b.a0, *pd = &d.a0;
        for (int n = 0; n < 6; n++) {
            CHECK_NEAR(pd[n], (pa[n] - pb[n]) / (2 * h), 1e-9 / sigmas[i], "central difference");
        }
    }
}

/* The outer product of a blur's taps, set free, blurs alike. */
static void free_taps_are_a_blur(void)
{
    backend *be = test_backend(1);
    blur_desc d = {.method = BLUR_CONVIS, .sigma_px = 0.9, .field_ny = NY, .field_nx = NX, .tile_ny = NY, .tile_nx = NX}, f = d;
    int r = blur_look(&d).radius, side = 2 * r + 1;
    f.method = BLUR_TAPS;
    f.taps_radius = r;
    grid g = grid_plan(NY, NX, 1, 1);
    plane x, y, z;
    plane_make(&x, be, &g, r);
    plane_make(&y, be, &g, 0);
    plane_make(&z, be, &g, 0);
    plane_noise(&x, 8, 0, 1);
    double *one = MEMORY_NEW(double, r + 1), *taps = MEMORY_NEW(double, side * side), worst = 0;
    blur_taps(&d, r, one);
    for (int i = 0; i < side * side; i++) {
        taps[i] = one[abs(i / side - r)] * one[abs(i % side - r)];
    }
    taps[0] = 0.5; /* of the pixel r rows below and r columns to the right: which way the kernel lies */
    blur_plan *p = be->ops->blur_create(be, &d), *q = be->ops->blur_create(be, &f);
    be->ops->blur(be, p, 1, x.v, y.v);
    be->ops->blur_set_taps(be, q, taps, 0.25);
    be->ops->blur(be, q, 1, x.v, z.v);
    const real *in = plane_get(&x) + first_pixel(&x), *gaussian = plane_get(&y), *taken = plane_get(&z);
    for (int i = 0; i < NY * NX; i++) {
        int64_t at = i / NX * y.v.row_stride + i % NX, corner = (i / NX + r) * x.v.row_stride + i % NX + r;
        double want = (double)gaussian[at] + 0.25 + (0.5 - one[r] * one[r]) * (double)in[corner];
        worst = fmax(worst, fabs((double)taken[at] - want));
    }
    CHECK_NEAR(worst, 0, sizeof(real) == sizeof(double) ? 1e-14 : 2e-6, "sums of some 50 products in two orders");
    be->ops->blur_destroy(be, p);
    be->ops->blur_destroy(be, q);
    memory_free(one);
    memory_free(taps);
    plane_free(&x);
    plane_free(&y);
    plane_free(&z);
    test_backend_close(be);
}

/* A wider radius than sigma needs gives the same blur but for the tails; set back, the same bits. */
static void set_is_create(void)
{
    backend *be = test_backend(1);
    for (int k = 0; k < NKIND; k++) {
        blur_desc d;
        grid g = make_grid(&kinds[k], &d);
        if (d.method == BLUR_TAPS) {
            continue;
        }
        plane x, y, z;
        plane_make(&x, be, &g, blur_look(&d).radius);
        plane_make(&y, be, &g, 0);
        plane_make(&z, be, &g, 0);
        plane_noise(&x, 6, 0, 1);
        blur_plan *p = be->ops->blur_create(be, &d);
        be->ops->blur(be, p, 1, x.v, y.v);
        be->ops->blur_set(be, p, d.most_sigma_px);
        be->ops->blur(be, p, 1, x.v, z.v);
        CHECK((memcmp(plane_get(&y), plane_get(&z), (size_t)y.n * sizeof(real)) != 0) == (d.most_sigma_px >= 0.12));
        be->ops->blur_set(be, p, d.sigma_px);
        be->ops->blur(be, p, 1, x.v, z.v);
        CHECK(memcmp(plane_get(&y), plane_get(&z), (size_t)y.n * sizeof(real)) == 0);
        be->ops->blur_destroy(be, p);
        plane_free(&x);
        plane_free(&y);
        plane_free(&z);
    }
    test_backend_close(be);
}

/* --- one step of the recurrences -------------------------------------------------------------------------------------------------
 * Inputs u and what was before stand in value[] behind the parameters along one direction each, so that Taylor's remainder tests both at once. */
enum { HEAT, GAIN, GAIN_WITHOUT_FEEDBACK, CONVIS_GAIN, NSTEP };
enum { MOST_PAR = 6 + MOST_TAPS };

typedef struct step_case {
    backend *be;
    int what, npar, nop; /* values: npar of the step, those of the blur, then three directions */
    blur_desc d;
    blur_plan *p;
    plane u, before, after, a, a_after, q; /* a: adaptation, in planes of the tile */
    plane du, dbefore, da, w, w_a;       /* directions, and weights of the loss */
    plane u0, before0, a0;
} step_case;

static void along(plane *to, const plane *from, const plane *d, double h)
{
    for (int64_t i = 0; i < to->n; i++) {
        to->copy[i] = from->copy[i] + (real)h * d->copy[i];
    }
    plane_put(to);
}

static gain_par par_of(const double *v)
{
    return (gain_par){.gain_hz = (real)v[0], .leak_hz = (real)v[1], .feedback_hz = (real)v[2], .decay = (real)v[3], .b0 = (real)v[3],
                      .a1 = (real)v[4], .dt_s = (real)0.01, .saturation = (real)300};
}

static double mean_of(const step_case *c, const double *leaf_sum)
{
    double sum = 0;
    for (int l = 0; l < c->u.v.nleaf; l++) {
        sum += leaf_sum[l];
    }
    return sum / (NY * NX);
}

/* Halos of q: here the neighbours are not asked, each tile goes on with 0, which is its own adjoint's business. */
static void step_forward(step_case *c, const double *value, double *mean)
{
    const backend_ops *ops = c->be->ops;
    if (c->what == HEAT) {
        ops->heat_step(c->be, c->p, (real)value[0], (real)value[1], c->u.v, c->before.v, c->after.v);
        return;
    }
    gain_par par = par_of(value);
    ops->move(c->be, c->a_after.v.at, c->a.v.at, c->a.n); /* no halo */
    if (c->what == CONVIS_GAIN) {
        double leaf_sum[MOST];
        ops->gain_q(c->be, &par, c->before.v, c->a.v.at, c->a.v.leaf_stride, c->q.v, leaf_sum);
        ops->sync(c->be);
        *mean = mean_of(c, leaf_sum);
        ops->gain_convis(c->be, c->p, &par, *mean, c->u.v, c->before.v, c->q.v, c->a_after.v.at, c->a.v.leaf_stride, c->after.v, (view){0});
    } else {
        ops->gain_step(c->be, c->p, &par, c->u.v, c->before.v, c->a_after.v.at, c->a.v.leaf_stride, c->after.v, (view){0});
    }
}

static double step_loss(void *ctx, const double *value)
{
    step_case *c = ctx;
    double mean;
    const double *move = value + c->npar + npar_of(&c->d);
    set_blur(c->be, c->p, &c->d, value + c->npar);
    along(&c->u, &c->u0, &c->du, move[0]);
    along(&c->before, &c->before0, &c->dbefore, move[1]);
    along(&c->a, &c->a0, &c->da, move[2]);
    step_forward(c, value, &mean);
    return dot(&c->after, &c->w) + (c->what == HEAT ? 0 : dot(&c->a_after, &c->w_a));
}

/* Adaptation planes have no halo and rows of pad_nx. */
static void adaptation_make(plane *p, backend *be, const grid *g)
{
    plane_make(p, be, g, 0);
    p->v.row_stride = g->tile_nx;
}

static void step_make(step_case *c, backend *be, const kind *k, int what, double *value)
{
    static const double start[NSTEP][5] = {{0.3, 0.7}, {40, 20, 30, 0.8}, {40, 20, 0, 0.8}, {40, 20, 30, 0.9, -0.7}};
    static const int npar[NSTEP] = {2, 4, 4, 5};
    *c = (step_case){.be = be, .what = what, .npar = npar[what]};
    grid g = make_grid(k, &c->d);
    int r = blur_look(&c->d).radius;
    plane *wide[] = {&c->u, &c->before, &c->du, &c->dbefore, &c->u0, &c->before0, &c->q};
    plane *narrow[] = {&c->after, &c->w}, *planes[] = {&c->a, &c->a_after, &c->da, &c->a0, &c->w_a};
    for (int i = 0; i < 7; i++) {
        plane_make(wide[i], be, &g, r);
    }
    for (int i = 0; i < 2; i++) {
        plane_make(narrow[i], be, &g, 0);
    }
    for (int i = 0; i < 5; i++) {
        adaptation_make(planes[i], be, &g);
    }
    plane_noise(&c->u0, 11, 0.2, 1);
    plane_noise(&c->before0, 12, 0.5, 1.5);
    plane_noise(&c->a0, 13, 10, 5);
    plane_noise(&c->du, 14, 0, 1);
    plane_noise(&c->dbefore, 15, 0, 1);
    plane_noise(&c->da, 16, 0, 5);
    plane_noise(&c->w, 17, 0.1, 1);
    plane_noise(&c->w_a, 18, 0.02, 0.1);
    c->p = be->ops->blur_create(be, &c->d);
    memcpy(value, start[what], sizeof start[what]);
    first_values(&c->d, value + c->npar);
    double *move = value + c->npar + npar_of(&c->d);
    move[0] = move[1] = move[2] = 0;
    step_loss(c, value);
}

static void step_free(step_case *c)
{
    plane *all[] = {&c->u,     &c->before, &c->du, &c->dbefore, &c->u0, &c->before0, &c->q,
                    &c->after, &c->w,      &c->a,  &c->a_after, &c->da, &c->a0,      &c->w_a};
    for (int i = 0; i < 14; i++) {
        plane_free(all[i]);
    }
    c->be->ops->blur_destroy(c->be, c->p);
}

static void halo_away(plane *p) /* what is added to the halo of q goes nowhere: it is 0 whatever q is */
{
    real *at = plane_get(p) + first_pixel(p);
    for (int l = 0; l < p->v.nleaf; l++) {
        for (int y = -p->v.halo; y < p->tile[l].ny + p->v.halo; y++) {
            for (int x = -p->v.halo; x < p->tile[l].nx + p->v.halo; x++) {
                bool outside = y < 0 || x < 0 || y >= p->tile[l].ny || x >= p->tile[l].nx;
                at[l * p->v.leaf_stride + y * p->v.row_stride + x] *= (real)!outside;
            }
        }
    }
    plane_put(p);
}

/* Derivatives by all of value[]. */
static void step_back(step_case *c, const double *value, double *by)
{
    const backend_ops *ops = c->be->ops;
    double mean = 0, *g = MEMORY_NEW(double, MOST * (MOST_PAR + 1)), g_mean[MOST];
    plane gu, g_before, ga, gq;
    int n = c->npar + npar_of(&c->d);
    plane_make(&gu, c->be, &c->u.g, c->u.v.halo);
    plane_make(&g_before, c->be, &c->u.g, c->u.v.halo);
    plane_make(&gq, c->be, &c->u.g, c->u.v.halo);
    adaptation_make(&ga, c->be, &c->u.g);
    ops->move(c->be, ga.v.at, c->w_a.v.at, ga.n);
    step_forward(c, value, &mean);
    gain_par par = par_of(value);
    int64_t stride = ga.v.leaf_stride;
    if (c->what == HEAT) {
        ops->heat_step_back(c->be, c->p, (real)value[0], (real)value[1], c->u.v, c->before.v, c->w.v, gu.v, g_before.v, g, MOST_PAR + 1);
    } else if (c->what == CONVIS_GAIN) {
        plane_noise(&gq, 20, 0, 1); /* it is overwritten */
        ops->gain_convis_back(c->be, c->p, &par, mean, c->u.v, c->before.v, c->q.v, c->a.v.at, stride, c->w.v, ga.v.at, stride, gu.v, g_before.v,
                              gq.v, g_mean, g, MOST_PAR + 1);
        ops->sync(c->be);
        halo_away(&gq);
        ops->gain_q_back(c->be, &par, c->before.v, c->a.v.at, stride, gq.v, mean_of(c, g_mean), g_before.v, ga.v.at, stride, g, MOST_PAR + 1);
    } else {
        ops->gain_step_back(c->be, c->p, &par, c->u.v, c->before.v, c->a.v.at, stride, c->w.v, ga.v.at, stride, gu.v, g_before.v, g, MOST_PAR + 1);
    }
    ops->sync(c->be);
    memset(by, 0, (size_t)(n + 3) * sizeof *by);
    for (int i = 0; i < n; i++) {
        for (int l = 0; l < c->u.v.nleaf; l++) {
            by[i] += g[l * (MOST_PAR + 1) + i];
        }
    }
    by[n] = dot(&gu, &c->du);
    by[n + 1] = dot(&g_before, &c->dbefore);
    by[n + 2] = c->what == HEAT ? 0 : dot(&ga, &c->da);
    plane_free(&gu);
    plane_free(&g_before);
    plane_free(&gq);
    plane_free(&ga);
    memory_free(g);
}

static bool takes(int what, const blur_desc *d)
{
    bool growing = d->scaling_per_px > 0 || d->method == BLUR_DERICHE;
    if (blur_look(d).radius > 32) { /* nothing of their own, and the most work by far */
        return what == HEAT && !growing;
    }
    return d->field_ny == NY && (what == HEAT ? d->method != BLUR_TAPS : what == CONVIS_GAIN ? !growing : true);
}

/* All parameters and all three directions, each by itself and then together. */
static void steps_of_recurrences(void)
{
    backend *be = test_backend(1);
    for (int what = 0; what < NSTEP; what++) {
        for (int k = 0; k < NKIND; k++) {
            if (!takes(what, &kinds[k].d)) {
                continue;
            }
            step_case c;
            double value[MOST_PAR + 4], by[MOST_PAR + 4];
            step_make(&c, be, &kinds[k], what, value);
            step_back(&c, value, by);
            int n = c.npar + npar_of(&c.d) + 3;
            if (sizeof(real) == sizeof(double)) {
                check_order(taylor_order(step_loss, &c, value, by, n, 1e-3), kinds[k].name, false);
            }
            for (int i = 0; i < n; i++) { /* the central difference of each */
                bool is_double = sizeof(real) == sizeof(double), move = i >= n - 3;
                double h = (move ? 1 : fabs(value[i]) + 1e-3) * (is_double ? 1e-4 : 1e-2), v = value[i];
                value[i] = v + h;
                double up = step_loss(&c, value);
                value[i] = v - h;
                double down = step_loss(&c, value), slope = (up - down) / (2 * h), rounding = (fabs(up) + fabs(down) + 20) / h;
                value[i] = v;
                double tol = is_double ? 1e-13 * rounding + 1e-6 * (fabs(slope) + 1) : 3e-6 * rounding + 1e-2 * (fabs(slope) + 1);
                bool right = fabs(by[i] - slope) <= tol;
                if (!right) {
                    printf("\n    step %d, %s, value %d of %d:", what, kinds[k].name, i, n);
                }
                CHECK_NEAR(by[i], slope, tol, "central difference: h^2, and rounding over h");
            }
            step_free(&c);
        }
    }
    test_backend_close(be);
}

TEST_MAIN("blur back", {"adjoints of blurs", adjoints_of_blurs}, {"tiles add up", tiles_add_up}, {"slopes are differences", slopes_are_differences},
          {"derivatives by sigma and taps", derivatives_by_sigma_and_taps}, {"free taps are a blur", free_taps_are_a_blur}, {"set is create", set_is_create},
          {"steps of recurrences", steps_of_recurrences})

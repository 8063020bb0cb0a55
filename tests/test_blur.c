/* test_blur.c - Gaussian, growing, Deriche and Convis blurs, leaky heat, against plain sums and closed forms. */
#include "compute/blur.h"

#include "base/memory.h"
#include "device.h"
#include "test.h"

#ifdef CHIASM_DOUBLE
static const double rounding = 1e-13;
#else
static const double rounding = 2e-6;
#endif

enum { MOST = 64 };

/* A field in tiles, each with its halo filled from the field, and nearest pixels beyond its border. */
typedef struct plane {
    grid g;
    grid_tile tile[MOST];
    view v;
    int64_t n;  /* reals */
    real *copy; /* of all of them, on the host */
    backend *be;
} plane;

static plane plane_make(backend *be, const grid *g, int halo)
{
    plane p = {.g = *g, .be = be};
    int n = grid_nleaf(g), row = g->tile_nx + 2 * halo;
    for (int l = 0; l < n; l++) {
        p.tile[l] = grid_tile_at(g, l);
    }
    int64_t size = (int64_t)row * (g->tile_ny + 2 * halo);
    p.v = (view){.nleaf = n,
                 .nchan = 1,
                 .halo = halo,
                 .leaf_stride = size,
                 .frame_stride = size,
                 .chan_stride = size,
                 .row_stride = row,
                 .pad_ny = g->tile_ny,
                 .pad_nx = g->tile_nx};
    p.n = size * n;
    p.copy = MEMORY_NEW(real, p.n);
    p.v.at = test_put(be, p.copy, p.n) + halo * row + halo;
    return p;
}

static int64_t first_pixel(const plane *p) /* of the first tile, in the copy */
{
    return p->v.halo * p->v.row_stride + p->v.halo;
}

static void plane_free(plane *p)
{
    p->be->ops->release(p->be, p->v.at - first_pixel(p));
    memory_free(p->copy);
}

static void plane_get(plane *p)
{
    p->be->ops->download(p->be, p->copy, p->v.at - first_pixel(p), p->n);
}

static int clamp(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void plane_set(plane *p, const double *field)
{
    p->v.tile = p->tile;
    for (int l = 0; l < p->v.nleaf; l++) {
        const grid_tile *t = &p->tile[l];
        real *at = p->copy + first_pixel(p) + l * p->v.leaf_stride;
        for (int y = -p->v.halo; y < t->ny + p->v.halo; y++) {
            for (int x = -p->v.halo; x < t->nx + p->v.halo; x++) {
                at[y * p->v.row_stride + x] = (real)field[clamp(t->y0 + y, p->g.ny) * p->g.nx + clamp(t->x0 + x, p->g.nx)];
            }
        }
    }
    p->be->ops->upload(p->be, p->v.at - first_pixel(p), p->copy, p->n);
}

static double plane_at(const plane *p, int y, int x)
{
    int l = grid_leaf_of(&p->g, y, x);
    return (double)p->copy[first_pixel(p) + l * p->v.leaf_stride + (y - p->tile[l].y0) * p->v.row_stride + x - p->tile[l].x0];
}

static plane blurred(backend *be, blur_desc d, int ntile_y, int ntile_x, const double *field)
{
    grid g = grid_plan(d.field_ny, d.field_nx, ntile_y, ntile_x);
    d.tile_ny = g.tile_ny;
    d.tile_nx = g.tile_nx;
    plane in = plane_make(be, &g, blur_look(&d).radius), out = plane_make(be, &g, 0);
    plane_set(&in, field);
    out.v.tile = out.tile;
    in.v.tile = in.tile;
    blur_plan *plan = be->ops->blur_create(be, &d);
    be->ops->blur(be, plan, 1, in.v, out.v);
    be->ops->blur_destroy(be, plan);
    plane_get(&out);
    plane_free(&in);
    return out;
}

static double *noise(int n, uint64_t seed)
{
    double *f = MEMORY_NEW(double, n);
    for (int i = 0; i < n; i++) {
        f[i] = test_random(&seed);
    }
    return f;
}

/* sum over n of T_n exactly as defined, I_n by its power series (no recurrence), t small enough for it. */
static double bessel(int n, double t)
{
    double term = 1, sum = 0;
    for (int k = 1; k <= n; k++) {
        term *= t / 2 / k;
    }
    for (int k = 0; k < 200; k++) {
        sum += term;
        term *= t * t / 4 / ((k + 1.0) * (k + 1.0 + n));
    }
    return exp(-t) * sum;
}

static void taps_are_the_discrete_gaussian(void)
{
    const double sigmas[] = {0.05, 0.158, 0.5, 1, 2, 4.3};
    for (int i = 0; i < 6; i++) {
        int r = blur_gaussian_radius(sigmas[i]);
        double *taps = MEMORY_NEW(double, r + 1), sum = 0, mass = 0, t = sigmas[i] * sigmas[i];
        blur_gaussian_taps(sigmas[i], r, taps);
        for (int n = 0; n <= r; n++) {
            sum += (n ? 2 : 1) * taps[n];
            mass += (n ? 2 : 1) * bessel(n, t);
        }
        CHECK_NEAR(sum, 1, 1e-14, "normalised");
        CHECK(1 - mass <= 6.4e-5); /* as much as beyond 4 sigma of a Gaussian */
        for (int n = 0; n <= r; n++) {
            CHECK_NEAR(taps[n] * mass, bessel(n, t), 1e-13, "two ways to the same Bessel function");
        }
        memory_free(taps);
    }
    double variance = 0, taps[64];
    blur_gaussian_taps(0.158, 20, taps);
    for (int n = 1; n <= 20; n++) {
        variance += 2.0 * n * n * taps[n];
    }
    CHECK_NEAR(variance, 0.158 * 0.158, 1e-15, "variance is exact even far below a pixel");
}

static void gaussian_is_a_direct_sum(void)
{
    backend *be = test_backend(1);
    enum { NY = 23, NX = 31 };
    double *field = noise(NY * NX, 1);
    const double sigmas[] = {0, 0.158, 0.7, 1.5, 3, 8.5};
    for (int i = 0; i < 6; i++) {
        blur_desc d = {.method = BLUR_GAUSSIAN, .sigma_px = sigmas[i], .field_ny = NY, .field_nx = NX};
        int r = blur_look(&d).radius;
        double *taps = MEMORY_NEW(double, r + 1), worst = 0;
        blur_gaussian_taps(sigmas[i], r, taps);
        plane out = blurred(be, d, 1, 1, field);
        for (int y = 0; y < NY; y++) {
            for (int x = 0; x < NX; x++) {
                double sum = 0;
                for (int j = -r; j <= r; j++) {
                    for (int k = -r; k <= r; k++) {
                        sum += taps[abs(j)] * taps[abs(k)] * field[clamp(y + j, NY) * NX + clamp(x + k, NX)];
                    }
                }
                worst = fmax(worst, fabs(sum - plane_at(&out, y, x)));
            }
        }
        CHECK_NEAR(worst, 0, rounding, "sums in another order");
        plane_free(&out);
        memory_free(taps);
    }
    memory_free(field);
    test_backend_close(be);
}

/* Cut in any way: the same bits. */
static void tiles_do_not_show(void)
{
    backend *be = test_backend(1);
    enum { NY = 37, NX = 45 };
    double *field = noise(NY * NX, 2);
    const int cuts[][2] = {{1, 2}, {3, 1}, {2, 3}, {5, 7}};
    const double sigmas[] = {1.3, 1.3, 8.5, 4}; /* of the uniform, of the growing; narrow and wide */
    for (int k = 0; k < 4; k++) {
        int growing = k % 2;
        blur_desc d = {.method = BLUR_GAUSSIAN, .sigma_px = sigmas[k], .fovea_px = 5, .scaling_per_px = growing * 0.05, .field_ny = NY, .field_nx = NX};
        plane whole = blurred(be, d, 1, 1, field);
        for (int c = 0; c < 4; c++) {
            plane parts = blurred(be, d, cuts[c][0], cuts[c][1], field);
            int differ = 0;
            for (int i = 0; i < NY * NX; i++) {
                differ += plane_at(&whole, i / NX, i % NX) != plane_at(&parts, i / NX, i % NX);
            }
            CHECK(differ == 0);
            plane_free(&parts);
        }
        plane_free(&whole);
    }
    memory_free(field);
    test_backend_close(be);
}

/* Along an axis the kernel of a pixel has the variance that its eccentricity asks for. */
static void growing_variance_is_exact(void)
{
    backend *be = test_backend(1);
    enum { N = 81 };
    double *square = MEMORY_NEW(double, N);
    for (int i = 0; i < N; i++) {
        square[i] = i * i; /* blurred x^2 is x^2 + variance */
    }
    /* one line of pixels: the y pass does nothing */
    blur_desc d = {.sigma_px = 0.9, .fovea_px = 4, .scaling_per_px = 0.03, .field_ny = 1, .field_nx = N};
    plane out = blurred(be, d, 1, 1, square);
    for (int x = 28; x <= 52; x += 3) {
        double sigma = 0.9 * (fabs(x - 40.0) > 4 ? 1 + 0.03 * (fabs(x - 40.0) - 4) : 1);
        /* what is cut off beyond 4 sigma, 6.3e-5 of the mass, would have added some 20 sigma^2 each */
        CHECK_NEAR(plane_at(&out, 0, x) - x * x, sigma * sigma, 20 * 6.3e-5 * sigma * sigma + (rounding > 1e-10 ? 1e-3 : 0),
                   "cut tails; in float x^2 has 1e-7 of 2700");
    }
    plane_free(&out);
    memory_free(square);
    test_backend_close(be);
}

/* Uniform images stay as they are, whatever the method; Convis' kernel has its known sum (three taps at 0.5 px). */
static void constants_stay(void)
{
    backend *be = test_backend(1);
    enum { NY = 19, NX = 26 };
    double field[NY * NX];
    for (int i = 0; i < NY * NX; i++) {
        field[i] = 0.5;
    }
    for (int method = BLUR_GAUSSIAN; method <= BLUR_CONVIS; method++) {
        blur_desc d = {.method = (enum blur_method)method, .sigma_px = 0.5, .field_ny = NY, .field_nx = NX};
        plane out = blurred(be, d, 1, 1, field);
        double sum = method == BLUR_CONVIS ? 0.6366197723675814 + 4 * 0.08615711720739452 + 4 * 0.011660097860112774 : 1;
        CHECK_NEAR(plane_at(&out, 0, 0), 0.5 * sum, rounding, "corner");
        CHECK_NEAR(plane_at(&out, 9, 13), 0.5 * sum, rounding, "middle");
        plane_free(&out);
    }
    test_backend_close(be);
}

/* n steps of the leaky heat equation, driven by one flash: sum over the image is gain (1-c) c^k, its variance (k+1) s^2. */
static void leaky_heat_spreads(void)
{
    backend *be = test_backend(1);
    enum { N = 61, STEPS = 12 };
    blur_desc d = {.sigma_px = 0.4, .field_ny = N, .field_nx = N, .tile_ny = N, .tile_nx = N};
    grid g = grid_plan(N, N, 1, 1);
    int halo = blur_look(&d).radius;
    plane u = plane_make(be, &g, halo), a = plane_make(be, &g, halo), b = plane_make(be, &g, halo);
    double *flash = MEMORY_NEW(double, N * N), c = 0.8;
    u.v.tile = a.v.tile = b.v.tile = u.tile;
    flash[30 * N + 30] = 1;
    plane_set(&u, flash);
    blur_plan *plan = be->ops->blur_create(be, &d);
    for (int k = 0; k < STEPS; k++) {
        be->ops->heat_step(be, plan, (real)(1 - c), (real)c, u.v, a.v, b.v);
        memset(flash, 0, N * N * sizeof(double));
        u.v.tile = u.tile;
        plane_set(&u, flash);
        plane_get(&b);
        for (int i = 0; i < N * N; i++) {
            flash[i] = plane_at(&b, i / N, i % N);
        }
        plane_set(&a, flash);
        double sum = 0, spread = 0;
        for (int i = 0; i < N * N; i++) {
            sum += flash[i];
            spread += flash[i] * (i % N - 30) * (i % N - 30);
        }
        CHECK_NEAR(sum / ((1 - c) * pow(c, k)), 1, 10 * rounding, "nothing is lost");
        CHECK_NEAR(spread / sum, (k + 1) * 0.16, (k + 1) * 2e-4, "cut kernels lose a little of the tails");
    }
    be->ops->blur_destroy(be, plan);
    plane_free(&u);
    plane_free(&a);
    plane_free(&b);
    memory_free(flash);
    test_backend_close(be);
}

TEST_MAIN("blur", {"taps are the discrete Gaussian", taps_are_the_discrete_gaussian}, {"Gaussian is a direct sum", gaussian_is_a_direct_sum},
          {"tiles do not show", tiles_do_not_show}, {"growing variance is exact", growing_variance_is_exact}, {"constants stay", constants_stay},
          {"leaky heat spreads", leaky_heat_spreads})

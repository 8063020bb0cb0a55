/* test_mosaic.c - cells stand where VirtualRetina put them (refdata: retina_out.xml), rings and lattices have the right density. */
#include "stages/mosaic.h"
#include "test.h"
#include <time.h>

#define EXACT "the same arithmetic as VirtualRetina's, in another order: a few units in the last place"

/* 10 x 10 cells, 10 per degree: unit 0 at (-.45, -.45), unit 1 at (-.45, -.35), unit 10 at (-.35, -.45); there y points down. */
static void square_order(void)
{
    mosaic_desc d = {.shape = MOSAIC_SQUARE, .size_x_deg = 1, .size_y_deg = 1, .density_per_deg = 10};
    mosaic m = mosaic_place(&d);
    CHECK(m.ncell == 100);
    for (int i = 0; i < 100; i++) {
        CHECK_NEAR(m.x_deg[i], -0.45 + 0.1 * (i / 10), 1e-15, EXACT);
        CHECK_NEAR(m.y_deg[i], 0.45 - 0.1 * (i % 10), 1e-15, EXACT);
    }
    mosaic_free(&m);

    d.size_x_deg = 0.35; /* cells per side are rounded down, and the array stays centred */
    d.shift_x_deg = 0.05;
    m = mosaic_place(&d);
    CHECK(m.ncell == 30);
    CHECK_NEAR(m.x_deg[0], -0.1 + 0.05, 1e-15, EXACT);
    CHECK_NEAR(m.x_deg[29], 0.1 + 0.05, 1e-15, EXACT);
    mosaic_free(&m);
}

/* Rings by quadrature instead of the closed form: one ring for each cell met along a radius. */
static void rings(void)
{
    mosaic_desc d = {.shape = MOSAIC_CIRCULAR, .diameter_deg = 8, .density_per_deg = 20, .fovea_deg = 1, .scaling_per_deg = 1, .seed = 5};
    mosaic m = mosaic_place(&d);
    CHECK(m.ncell == mosaic_count(&d));
    CHECK(m.x_deg[0] == 0 && m.y_deg[0] == 0);
    double met = 0, r = 0, last = 0;
    const double dr = 1e-5;
    int64_t i = 0, ring = 0;
    while (i < m.ncell) {
        double here = hypot(m.x_deg[i], m.y_deg[i]);
        for (; r < here - dr / 2; r += dr) {
            double at = r + dr / 2;
            met += dr * (at > 1 ? 20 / (1 + (at - 1)) : 20);
        }
        CHECK_NEAR(met, (double)ring, 5e-4, "steps of 1e-5 deg at 20 cells per degree: 2e-4 cells");
        CHECK(here <= 4 + 1e-12);
        int64_t count = 0;
        while (i + count < m.ncell && fabs(hypot(m.x_deg[i + count], m.y_deg[i + count]) - here) < 1e-9) {
            count++;
        }
        double density = here > 1 ? 20 / here : 20; /* 1 + (r - 1) = r */
        CHECK(count == (here == 0 ? 1 : (int64_t)floor(2 * 3.14159265358979323846 * density * here + 1e-9)));
        for (int64_t k = 1; k < count; k++) { /* neighbours at equal angles, anticlockwise */
            double cross = m.x_deg[i + k - 1] * m.y_deg[i + k] - m.y_deg[i + k - 1] * m.x_deg[i + k];
            CHECK_NEAR(cross, here * here * sin(2 * 3.14159265358979323846 / (double)count), 1e-12, "products of order 10 in double");
        }
        i += count;
        ring++;
        last = here;
    }
    CHECK(last > 3.7); /* next one would be beyond the diameter */
    mosaic_free(&m);

    d.scaling_per_deg = 0;
    d.diameter_deg = 0;
    CHECK(mosaic_count(&d) == 1); /* the cat X cell of VirtualRetina's examples */
    d.diameter_deg = 0.5;
    d.density_per_deg = 1;
    CHECK(mosaic_count(&d) == 1);
}

static void hexagons(void)
{
    mosaic_desc d = {.shape = MOSAIC_HEXAGONAL, .size_x_deg = 4, .size_y_deg = 3, .density_per_deg = 10};
    mosaic m = mosaic_place(&d);
    double expected = 4 * 3 * 100.0;
    CHECK_NEAR((double)m.ncell, expected, 0.06 * expected, "one row and one column less at the border: 1/30 + 1/40");
    double sx = 0, sy = 0, nearest = 1e9;
    int64_t middle = m.ncell / 2 + 17;
    int around = 0;
    for (int64_t i = 0; i < m.ncell; i++) {
        sx += m.x_deg[i];
        sy += m.y_deg[i];
        CHECK(fabs(m.x_deg[i]) <= 2 && fabs(m.y_deg[i]) <= 1.5);
        if (i != middle) {
            nearest = fmin(nearest, hypot(m.x_deg[i] - m.x_deg[middle], m.y_deg[i] - m.y_deg[middle]));
        }
    }
    CHECK_NEAR(nearest, sqrt(2 / sqrt(3.0)) / 10, 1e-12, "lattice constant, rounding of positions");
    for (int64_t i = 0; i < m.ncell; i++) {
        double far = hypot(m.x_deg[i] - m.x_deg[middle], m.y_deg[i] - m.y_deg[middle]);
        around += i != middle && far < nearest * 1.001;
    }
    CHECK(around == 6);
    CHECK_NEAR(sy / (double)m.ncell, 0, 1e-12, "rows are symmetric about the centre");
    CHECK_NEAR(sx / (double)m.ncell, 0, 0.01, "an odd number of rows leaves a quarter step over one row of 27");
    mosaic_free(&m);
}

static void jitter(void)
{
    mosaic_desc plain = {.shape = MOSAIC_SQUARE, .size_x_deg = 10, .size_y_deg = 10, .density_per_deg = 20, .seed = 3, .number = 1}, moved = plain;
    moved.jitter_deg = 0.02;
    mosaic a = mosaic_place(&plain), b = mosaic_place(&moved), c = mosaic_place(&moved);
    moved.number = 2;
    mosaic other = mosaic_place(&moved);
    double s[2] = {0}, sxy = 0, m[2] = {0};
    bool same = true, differs = false;
    for (int64_t i = 0; i < a.ncell; i++) {
        double dx = b.x_deg[i] - a.x_deg[i], dy = b.y_deg[i] - a.y_deg[i];
        m[0] += dx / (double)a.ncell;
        m[1] += dy / (double)a.ncell;
        s[0] += dx * dx / (double)a.ncell;
        s[1] += dy * dy / (double)a.ncell;
        sxy += dx * dy / (double)a.ncell;
        same = same && b.x_deg[i] == c.x_deg[i] && b.y_deg[i] == c.y_deg[i];
        differs = differs || b.x_deg[i] != other.x_deg[i];
    }
    CHECK(same && differs);
    for (int k = 0; k < 2; k++) {
        CHECK_NEAR(m[k], 0, 4 * 0.02 / 200, "four standard errors of a mean of 40,000");
        CHECK_NEAR(sqrt(s[k]), 0.02, 4 * 0.02 / sqrt(2 * 40000.0), "four standard errors of an s.d. of 40,000");
    }
    CHECK_NEAR(sxy, 0, 4 * 0.0004 / 200, "independent coordinates: four standard errors");
    mosaic_free(&a);
    mosaic_free(&b);
    mosaic_free(&c);
    mosaic_free(&other);
}

static void a_million(void)
{
    mosaic_desc d = {.shape = MOSAIC_CIRCULAR, .diameter_deg = 56.5, .density_per_deg = 20, .jitter_deg = 0.01, .seed = 1};
    clock_t start = clock();
    mosaic m = mosaic_place(&d);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECK(m.ncell > 1000000);
    printf(" %lld cells in %.3f s ", (long long)m.ncell, seconds);
    CHECK(seconds < 2); /* 0.15 s on one idle core; the machine is shared and the build may be a debug one */
    mosaic_free(&m);
}

TEST_MAIN("mosaic", {"square arrays in VirtualRetina's order", square_order}, {"rings follow the density", rings}, {"hexagonal lattice", hexagons},
          {"jitter", jitter}, {"a million cells", a_million})

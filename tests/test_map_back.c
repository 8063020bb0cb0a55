/* test_map_back.c - point functions, weighted sums and normalisation with their adjoints, and noise, each by itself.
 * Oracle: the same formulas written plainly in double with the C library's functions; derivatives are compared with central differences.  In double
 * the remainder of the op's own Taylor series must fall as h^2 besides. */
#include "frames.h"

/* --- maps ----------------------------------------------------------------------------------------------------------------- */
typedef struct map_case {
    enum cell_map kind;
    int nfree[4];            /* parameters that have a derivative */
    double par[4], from, to; /* inputs */
} map_case;

static const map_case maps[] = {
    {MAP_LINEAR, {1, 1, 0, 0}, {1.3, -0.2, 0, 0}, -2, 2},
    {MAP_RECTIFY_VR, {1, 1, 1, 1}, {-1, 0.1, 37, 100}, -2, 2},
    {MAP_RECTIFY_VR, {0, 1, 0, 1}, {1, 0.1, 0, 100}, -2, 2},
    {MAP_RECTIFY_CONVIS, {1, 1, 1, 1}, {0.8, 0.1, 37, 100}, -2, 2},
    {MAP_CLIP, {1, 1, 0, 1}, {0.8, 0.1, 0, 1e6}, -3, 3},
    {MAP_RELU, {1, 1, 0, 0}, {0.8, 0.1, 0, 0}, -2, 2},
    {MAP_SOFTPLUS, {1, 0, 0, 0}, {2.5, 0, 0, 0}, -30, 30},
    {MAP_PARAMETRIC_SOFTPLUS, {1, 1, 0, 0}, {0.2, 5, 0, 0}, -10, 10},
    {MAP_EXPONENTIAL, {1, 1, 0, 0}, {0.8, 0.1, 0, 0}, -2, 2},
    {MAP_SIGMOID, {1, 1, 1, 0}, {3, 4, 0.3, 0}, -4, 4},
    {MAP_ELU, {1, 1, 0, 0}, {0.7, 1, 0, 0}, -4, 4},
    {MAP_SQUARE, {1, 1, 0, 0}, {0.8, 0.1, 0, 0}, -2, 2},
    {MAP_RECTIFIED_SQUARE, {1, 1, 0, 0}, {0.8, 0.1, 0, 0}, -2, 2},
    {MAP_POWER, {1, 1, 1, 0}, {1.5, 2.3, 0.2, 0}, -2, 3},
    {MAP_POWER, {1, 1, 0, 0}, {1.5, 0.5, 0, 0}, 0.01, 3},
    {MAP_NAKA_RUSHTON, {1, 1, 1, 1}, {40, 2.2, 0.3, 3}, -0.5, 2},
};
enum { NMAP = sizeof maps / sizeof maps[0] };

static double rectify_below(double value, double u)
{
    return value > 0 ? value * value / (value - u) : 0;
}

static double map_plain(enum cell_map kind, const double p[4], double x)
{
    double u = p[0] * x + p[1], v = p[0] * x - p[1];
    switch (kind) {
    case MAP_LINEAR:
        return u;
    case MAP_RECTIFY_VR: {
        double s = p[3] * v, m = 5e5 - p[2];
        return s > 0 ? p[2] + m * s / (m + s) : rectify_below(p[2], s);
    }
    case MAP_RECTIFY_CONVIS:
        return p[3] * v > 0 ? p[2] + p[3] * v : rectify_below(p[2], p[3] * v);
    case MAP_CLIP:
        return fmin(fmax(p[3] * v, 0), 1e6);
    case MAP_RELU:
        return fmax(u, 0);
    case MAP_SOFTPLUS:
        return (fmax(p[0] * x, 0) + log1p(exp(-fabs(p[0] * x)))) / p[0];
    case MAP_PARAMETRIC_SOFTPLUS:
        return p[0] * (fmax(p[1] * x, 0) + log1p(exp(-fabs(p[1] * x))));
    case MAP_EXPONENTIAL:
        return exp(u);
    case MAP_SIGMOID:
        return p[0] / (1 + exp(-p[1] * (x - p[2])));
    case MAP_ELU:
        return (x > 0 ? x : p[0] * expm1(x)) + p[1];
    case MAP_SQUARE:
        return u * u;
    case MAP_RECTIFIED_SQUARE:
        return fmax(u, 0) * fmax(u, 0);
    case MAP_POWER:
        return p[0] * pow(fmax(x - p[2], 0), p[1]);
    case MAP_NAKA_RUSHTON:
        return (x > 0 ? p[0] * pow(x, p[1]) / (pow(x, p[1]) + pow(p[2], p[1])) : 0) + p[3];
    case MAP_COUNT:
        break;
    }
    return NAN;
}

/* Central differences in x and in each parameter, pixel by pixel; kinks are left out. */
static void maps_match_their_formulas(void)
{
    enum { N = 999 };
    for (int i = 0; i < NMAP; i++) {
        const map_case *k = &maps[i];
        real par[4];
        double p[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)k->par[q];
            p[q] = (double)par[q];
        }
        grid_tile tile = {0, 0, 0, 1, 1};
        dreal *at = be->ops->alloc(be, 4);
        view one = {at, &tile, 1, 1, 0, 1, 1, 1, 1, 1, 1}, y = one, gy = one, gx = one;
        y.at += 1;
        gy.at += 2;
        gx.at += 3;
        double worst = 0, worst_slope = 0;
        for (int j = 0; j < N; j++) {
            double x = (double)(real)(k->from + (k->to - k->from) * (j + 0.37) / N), h = 1e-4 * fmin(1, fabs(x)), g[4] = {0};
            host(at)[0] = (real)x;
            host(at)[2] = 1;
            host(at)[3] = 0;
            be->ops->map(be, k->kind, par, 4, 1, one, y);
            be->ops->map_back(be, k->kind, par, 4, 1, one, gy, gx, g, 4);
            double want = map_plain(k->kind, p, x), high = map_plain(k->kind, p, x + h), low = map_plain(k->kind, p, x - h);
            double slope = (high - low) / (2 * h), bend = fabs(high - 2 * want + low) / h;
            worst = fmax(worst, fabs((double)host(at)[1] - want) / (fabs(want) + 1e-6 * (1 + fabs(p[0]))));
            worst_slope = fmax(worst_slope, (fabs((double)host(at)[3] - slope) - 2 * bend * 1e-2) / (1 + fabs(slope)));
            for (int q = 0; q < 4; q++) {
                if (k->nfree[q]) {
                    double d = 1e-5 * fmax(0.1, fabs(p[q])), up[4], down[4];
                    memcpy(up, p, sizeof p);
                    memcpy(down, p, sizeof p);
                    up[q] += d;
                    down[q] -= d;
                    high = map_plain(k->kind, up, x);
                    low = map_plain(k->kind, down, x);
                    slope = (high - low) / (2 * d);
                    bend = fabs(high - 2 * want + low) / d;
                    worst_slope = fmax(worst_slope, (fabs(g[q] - slope) - 2 * bend) / (1 + fabs(slope)));
                }
            }
        }
        bool narrow = sizeof(real) == sizeof(float);
        if (worst > (narrow ? 2e-5 : 1e-12) || worst_slope > (narrow ? 1e-4 : 3e-6)) {
            printf("\n    map %d: value %g, slope %g", (int)k->kind, worst, worst_slope);
        }
        CHECK_NEAR(worst, 0, narrow ? 2e-5 : 1e-12, "exp and log of arguments up to 75, each rounded once");
        CHECK_NEAR(fmax(worst_slope, 0), 0, narrow ? 1e-4 : 3e-6, "the same; central difference of h = 1e-5 to 1e-4");
        be->ops->release(be, at);
    }
}

static void maps_add_over_whole_arrays(void)
{
    view x = new_view(), w = new_view(), gx = new_view(), y = new_view(), none = {0};
    fill_view(x, 5, -2, 2);
    fill_view(w, 6, -1, 1);
    for (int i = 0; i < NMAP; i++) {
        real par[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)maps[i].par[q];
        }
        double g[LEAVES][5] = {{0}}, cut[LEAVES][5] = {{0}}, sum[4] = {0}, sum_size[4] = {0}, worst = 0;
        fill_view(gx, 7, 3, 3);
        be->ops->map_back(be, maps[i].kind, par, 4, NT, x, w, gx, g[0], 5);
        EACH_PIXEL(l, t, c, row, col)
        {
            grid_tile tile = {0, 0, 0, 1, 1};
            int64_t at = pixel(l, t, c, row, col);
            real gone[1] = {0};
            view px = {x.at + at, &tile, 1, 1, 0, 1, 1, 1, 1, 1, 1}, pw = px, pg = px;
            pw.at = w.at + at;
            pg.at = (dreal *)(void *)gone;
            double one[4] = {0};
            be->ops->map_back(be, maps[i].kind, par, 4, 1, px, pw, pg, one, 4);
            for (int q = 0; q < 4; q++) {
                sum[q] += one[q];
                sum_size[q] += fabs(one[q]);
            }
            worst = fmax(worst, fabs((double)host(gx.at)[at] - 3 - (double)gone[0]) / (1 + fabs((double)gone[0])));
        }
        CHECK_NEAR(worst, 0, sizeof(real) == sizeof(float) ? 5e-7 : 1e-15, "one sum");
        for (int q = 0; q < 4; q++) {
            CHECK_NEAR(g[0][q] + g[1][q], sum[q], 1e-11 * (sum_size[q] + 1), "sums in double of numbers of this size, in another order");
        }
        for (int t = NT - 2; t >= -1; t -= 2) { /* two steps at a time, the first alone */
            int first = t < 0 ? 0 : t, n = t < 0 ? 1 : 2;
            be->ops->map_back(be, maps[i].kind, par, 4, n, view_at_frame(x, first), view_at_frame(w, first), none, cut[0], 5);
        }
        CHECK(memcmp(cut, g, sizeof g) == 0 && g[0][4] == 0);
        if (maps[i].kind == MAP_LINEAR) { /* in place */
            be->ops->map(be, MAP_LINEAR, par, 4, NT, x, y);
            fill_view(gx, 5, -2, 2);
            be->ops->map(be, MAP_LINEAR, par, 4, NT, gx, gx);
            CHECK(inner(gx, w) == inner(y, w));
        }
    }
    free_view(x);
    free_view(w);
    free_view(gx);
    free_view(y);
}

/* Rows of any length from any place: the loops of the compiler over many pixels and over the last few must round alike. */
static void bits_do_not_depend_on_the_place(void)
{
    enum { N = 4000 };
    dreal *x = be->ops->alloc(be, N), *y = be->ops->alloc(be, N), *z = be->ops->alloc(be, N);
    for (int i = 0; i < NMAP; i++) {
        real par[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)maps[i].par[q];
        }
        fill(x, N, 60, maps[i].from, maps[i].to);
        grid_tile all = {0, 0, 0, 1, N};
        view in = {x, &all, 1, 1, 0, N, N, N, N, 1, N}, out = in;
        out.at = y;
        be->ops->map(be, maps[i].kind, par, 4, 1, in, out);
        for (int width = 1; width < 40; width += 3) {
            grid_tile part = {0, 0, 0, 1, width};
            in.tile = out.tile = &part;
            for (int first = 0; first + width <= N; first += width) {
                in.at = x + first;
                out.at = z + first;
                be->ops->map(be, maps[i].kind, par, 4, 1, in, out);
            }
            CHECK(same_bits(y, z, N / width * width));
        }
    }
    be->ops->release(be, x);
    be->ops->release(be, y);
    be->ops->release(be, z);
}

/* --- sums and normalisation ----------------------------------------------------------------------------------------------- */
static void sums_give_back(void)
{
    enum { N = 3 };
    view x[N], gx[N], w = new_view(), y = new_view();
    real weight[N] = {(real)0.7, (real)-1.3, (real)2.1};
    double g[LEAVES][N] = {{0}}, cut[LEAVES][N] = {{0}};
    fill_view(w, 8, -1, 1);
    for (int k = 0; k < N; k++) {
        x[k] = new_view();
        fill_view(x[k], (uint64_t)(9 + k), -1, 1);
        gx[k] = k == 1 ? (view){0} : new_view();
    }
    gx[2] = (free_view(gx[2]), gx[0]); /* one array given twice */
    be->ops->combine(be, N, weight, NT, x, y);
    be->ops->combine_back(be, N, weight, NT, x, w, gx, g[0], N);
    double linear = 0, worst = 0;
    for (int k = 0; k < N; k++) {
        double want = inner(w, x[k]);
        CHECK_NEAR(g[0][k] + g[1][k], want, 1e-9, "sums in double, another order");
        linear += (g[0][k] + g[1][k]) * (double)weight[k];
    }
    EACH_PIXEL(l, t, c, row, col)
    {
        int64_t at = pixel(l, t, c, row, col);
        worst = fmax(worst, fabs((double)host(gx[0].at)[at] - (double)(weight[0] + weight[2]) * (double)host(w.at)[at]));
    }
    CHECK_NEAR(worst, 0, rounding / 10, "two products");
    CHECK_NEAR(linear, inner(w, y), rounding * 100, "<w, Ax>");
    for (int t = NT - 1; t >= 0; t--) {
        view xt[N], none[N] = {{0}};
        for (int k = 0; k < N; k++) {
            xt[k] = view_at_frame(x[k], t);
        }
        be->ops->combine_back(be, N, weight, 1, xt, view_at_frame(w, t), none, cut[0], N);
    }
    CHECK(memcmp(cut, g, sizeof g) == 0);
    for (int k = 0; k < N; k++) {
        free_view(x[k]);
    }
    free_view(gx[0]);
    free_view(w);
    free_view(y);
}

static double normalise_loss(const double *par, view x, view w)
{
    double loss = 0;
    for (int l = 0; l < LEAVES; l++) {
        for (int64_t i = 0; i < (int64_t)NT * tiles[l].ny * tiles[l].nx; i++) {
            int t = (int)(i / (tiles[l].ny * tiles[l].nx)), row = (int)(i / tiles[l].nx % tiles[l].ny), col = (int)(i % tiles[l].nx);
            double total = pow(par[2], par[1]), q[CHANNELS];
            for (int c = 0; c < CHANNELS; c++) {
                q[c] = pow(fmax((double)host(x.at)[pixel(l, t, c, row, col)], 0), par[1]);
                total += par[3 + c] * q[c];
            }
            for (int c = 0; c < CHANNELS; c++) {
                loss += (double)host(w.at)[pixel(l, t, c, row, col)] * par[0] * q[c] / total;
            }
        }
    }
    return loss;
}

static void normalisation_gives_back(void)
{
    enum { NPAR = 3 + CHANNELS };
    view x = new_view(), w = new_view(), gx = new_view(), y = new_view(), dx = new_view(), none = {0};
    real par[NPAR] = {2, (real)1.7, (real)0.6, (real)0.3, (real)1.1, (real)0.8};
    double p[NPAR], g[LEAVES][NPAR] = {{0}}, cut[LEAVES][NPAR] = {{0}}, size = sqrt((double)LEAVES * CHANNELS * PLANE * NT);
    fill_view(x, 20, -0.5, 2);
    fill_view(w, 21, -1, 1);
    fill_view(dx, 22, -1, 1);
    for (int k = 0; k < NPAR; k++) {
        p[k] = (double)par[k];
    }
    be->ops->normalise(be, par, NPAR, NT, x, y);
    CHECK_NEAR(inner(w, y), normalise_loss(p, x, w), rounding * size, "the same sum");
    be->ops->normalise_back(be, par, NPAR, NT, x, w, gx, g[0], NPAR);
    for (int k = 0; k < NPAR; k++) {
        double h = 1e-5, up[NPAR], down[NPAR];
        memcpy(up, p, sizeof p);
        memcpy(down, p, sizeof p);
        up[k] += h;
        down[k] -= h;
        CHECK_NEAR(g[0][k] + g[1][k], (normalise_loss(up, x, w) - normalise_loss(down, x, w)) / (2 * h), (rounding + 1e-7) * size,
                   "central difference");
    }
    for (int t = NT - 1; t >= 0; t--) {
        be->ops->normalise_back(be, par, NPAR, 1, view_at_frame(x, t), view_at_frame(w, t), none, cut[0], NPAR);
    }
    CHECK(memcmp(cut, g, sizeof g) == 0);
#ifdef CHIASM_DOUBLE
    double first = inner(gx, dx), before = inner(w, y), left[2];
    for (int i = 0; i < 2; i++) {
        double h = i == 0 ? 1e-4 : 5e-5;
        view moved = new_view();
        for (int64_t k = 0; k < ARRAY; k++) {
            host(moved.at - HALO * ROW - HALO)[k] = host(x.at - HALO * ROW - HALO)[k] + h * host(dx.at - HALO * ROW - HALO)[k];
        }
        be->ops->normalise(be, par, NPAR, NT, moved, y);
        left[i] = fabs(inner(w, y) - before - h * first);
        free_view(moved);
    }
    CHECK_NEAR(log2(left[0] / left[1]), 2, 0.1, "the remainder falls as h^2");
#endif
    free_view(x);
    free_view(w);
    free_view(gx);
    free_view(y);
    free_view(dx);
}

/* --- Taylor series of the ops themselves ------------------------------------------------------------------------------------ */
#ifdef CHIASM_DOUBLE
static double map_loss(const map_case *k, const real *par, view x, double h, view dx, view w)
{
    view moved = new_view(), y = new_view();
    for (int64_t i = 0; i < ARRAY; i++) {
        host(moved.at - HALO * ROW - HALO)[i] = host(x.at - HALO * ROW - HALO)[i] + h * host(dx.at - HALO * ROW - HALO)[i];
    }
    be->ops->map(be, k->kind, par, 4, NT, moved, y);
    double loss = inner(w, y);
    free_view(moved);
    free_view(y);
    return loss;
}

/* Order 2 by the input and by each parameter; where an op is linear the remainder is rounding. */
static void remainders_are_of_second_order(void)
{
    view x = new_view(), dx = new_view(), w = new_view(), gx = new_view();
    fill_view(dx, 31, -1, 1);
    fill_view(w, 32, 0.5, 1);
    for (int i = 0; i < NMAP; i++) {
        const map_case *k = &maps[i];
        bool kink = k->kind == MAP_CLIP || k->kind == MAP_RELU || k->kind == MAP_ELU || (k->kind == MAP_RECTIFY_VR && k->par[2] == 0);
        double side = k->kind == MAP_ELU ? -1 : 1;
        fill_view(x, 30, kink ? side * 0.3 : k->from, kink ? side * 0.9 : k->to); /* away from kinks */
        be->ops->fill(be, gx.at - HALO * ROW - HALO, 0, ARRAY);
        double g[LEAVES][4] = {{0}};
        be->ops->map_back(be, k->kind, k->par, 4, NT, x, w, gx, g[0], 4);
        double base = map_loss(k, k->par, x, 0, dx, w), by_input = inner(gx, dx);
        for (int q = -1; q < 4; q++) {
            if (q >= 0 && !k->nfree[q]) {
                continue;
            }
            double left[2], unit = q < 0 ? 2e-3 : 2e-3 * fmax(0.1, fabs(k->par[q]));
            for (int n = 0; n < 2; n++) {
                double h = unit / (1 << n), moved[4];
                memcpy(moved, k->par, sizeof moved);
                moved[q < 0 ? 0 : q] += q < 0 ? 0 : h;
                double slope = q < 0 ? by_input : g[0][q] + g[1][q];
                left[n] = fabs(map_loss(k, moved, x, q < 0 ? h : 0, dx, w) - base - h * slope);
            }
            if (left[0] > 1e-11 * (1 + fabs(base))) {
                CHECK_NEAR(log2(left[0] / left[1]), 2, 0.1, "the remainder falls as h^2");
            }
        }
    }
    free_view(x);
    free_view(dx);
    free_view(w);
    free_view(gx);
}
#endif

/* --- noise ------------------------------------------------------------------------------------------------------------------ */
static void noise_is_normal_and_in_its_place(void)
{
    view x = new_view(), y = new_view(), z = new_view();
    fill_view(x, 50, -1, 1);
    be->ops->noise(be, 9, (real)0.5, 2 * NX, NULL, 2, 102, NT, x, y);
    for (int t = 0; t < NT; t += 2) {
        be->ops->noise(be, 9, (real)0.5, 2 * NX, NULL, 2, 102 + t, NT - t < 2 ? NT - t : 2, view_at_frame(x, t), view_at_frame(z, t));
    }
    double sum = 0, square = 0, lag = 0, last = 0, n = 0;
    bool same = true;
    EACH_PIXEL(l, t, c, row, col)
    {
        int64_t at = pixel(l, t, c, row, col);
        double d = ((double)host(y.at)[at] - (double)host(x.at)[at]) / 0.5;
        same = same && host(y.at)[at] == host(z.at)[at];
        sum += d;
        square += d * d;
        lag += d * last;
        last = d;
        n++;
    }
    CHECK(same);
    CHECK_NEAR(sum / n, 0, 5 / sqrt(n), "5 standard errors");
    CHECK_NEAR(square / n, 1, 5 * sqrt(2 / n), "5 standard errors");
    CHECK_NEAR(lag / n, 0, 5 / sqrt(n), "5 standard errors");
    be->ops->noise(be, 9, (real)0.5, 2 * NX, NULL, 1, 102, NT, x, z); /* the second leaf is another sequence now */
    CHECK(host(z.at)[pixel(0, 1, 2, 1, 5)] == host(y.at)[pixel(0, 1, 2, 1, 5)] &&
          host(z.at)[pixel(1, 1, 2, 1, 5)] != host(y.at)[pixel(1, 1, 2, 1, 5)]);
    free_view(x);
    free_view(y);
    free_view(z);
}

int main(void)
{
    be = backend_open("cpu", 1);
    static const test_case tests[] = {
        {"maps match their formulas", maps_match_their_formulas},
        {"maps add over whole arrays", maps_add_over_whole_arrays},
        {"bits do not depend on the place", bits_do_not_depend_on_the_place},
        {"sums give back", sums_give_back},
        {"normalisation gives back", normalisation_gives_back},
#ifdef CHIASM_DOUBLE
        {"remainders are of second order", remainders_are_of_second_order},
#endif
        {"noise is normal and in its place", noise_is_normal_and_in_its_place},
    };
    int failed = test_run("map_back", tests, (int)(sizeof tests / sizeof tests[0]));
    backend_close(be);
    return failed;
}

/* test_map_back.c - point functions, weighted sums and normalisation with their adjoints, and noise, each by itself.
 * Oracle: the same formulas written plainly in double with the C library's functions; derivatives are compared with central differences.  In double
 * the remainder of the op's own Taylor series must fall as h^2 besides. */
#include "base/random.h"
#include "compute/cellmath.h"
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
enum { N = 999 };
typedef struct map_values {
    real x[N], y[N], gx[N];
    double g[N][4];
} map_values;

/* Each pixel is a leaf, so that it has its own derivatives by the parameters. */
static void map_each(const map_case *k, const real *par, map_values *v)
{
    grid_tile tile[N];
    real one[N];
    for (int j = 0; j < N; j++) {
        tile[j] = (grid_tile){j, 0, 0, 1, 1};
        v->x[j] = (real)(k->from + (k->to - k->from) * (j + 0.37) / N);
        one[j] = 1;
    }
    view x = {test_put(be, v->x, N), tile, N, 1, 0, 1, 1, 1, 1, 1, 1}, y = x, gy = x, gx = x;
    y.at = be->ops->alloc(be, N);
    gy.at = test_put(be, one, N);
    gx.at = be->ops->alloc(be, N);
    be->ops->fill(be, gx.at, 0, N);
    memset(v->g, 0, sizeof v->g);
    be->ops->map(be, k->kind, par, 4, 1, x, y);
    be->ops->map_back(be, k->kind, par, 4, 1, x, gy, gx, v->g[0], 4);
    be->ops->download(be, v->y, y.at, N);
    be->ops->download(be, v->gx, gx.at, N);
    be->ops->sync(be);
    dreal *const arrays[] = {x.at, y.at, gy.at, gx.at};
    for (int i = 0; i < 4; i++) {
        be->ops->release(be, arrays[i]);
    }
}

static void maps_match_their_formulas(void)
{
    static map_values v;
    for (int i = 0; i < NMAP; i++) {
        const map_case *k = &maps[i];
        real par[4];
        double p[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)k->par[q];
            p[q] = (double)par[q];
        }
        map_each(k, par, &v);
        double worst = 0, worst_slope = 0;
        for (int j = 0; j < N; j++) {
            double x = (double)v.x[j], h = 1e-4 * fmin(1, fabs(x));
            double want = map_plain(k->kind, p, x), high = map_plain(k->kind, p, x + h), low = map_plain(k->kind, p, x - h);
            double slope = (high - low) / (2 * h), bend = fabs(high - 2 * want + low) / h;
            worst = fmax(worst, fabs((double)v.y[j] - want) / (fabs(want) + 1e-6 * (1 + fabs(p[0]))));
            worst_slope = fmax(worst_slope, (fabs((double)v.gx[j] - slope) - 2 * bend * 1e-2) / (1 + fabs(slope)));
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
                    worst_slope = fmax(worst_slope, (fabs(v.g[j][q] - slope) - 2 * bend) / (1 + fabs(slope)));
                }
            }
        }
        bool narrow = sizeof(real) == sizeof(float);
        if (worst > (narrow ? 2e-5 : 1e-12) || worst_slope > (narrow ? 1e-4 : 3e-6)) {
            printf("\n    map %d: value %g, slope %g", (int)k->kind, worst, worst_slope);
        }
        CHECK_NEAR(worst, 0, narrow ? 2e-5 : 1e-12, "exp and log of arguments up to 75, each rounded once");
        CHECK_NEAR(fmax(worst_slope, 0), 0, narrow ? 1e-4 : 3e-6, "the same; central difference of h = 1e-5 to 1e-4");
    }
}

static cell_slope slope_of(enum cell_map kind, real x, const real p[4])
{
#define ENTRY(kind_, value, slope) [kind_] = slope,
    static cell_slope (*const f[MAP_COUNT])(real, const real[4]) = {CELL_MAPS(ENTRY)};
#undef ENTRY
    return f[kind](x, p);
}

static void maps_add_over_whole_arrays(void)
{
    view x = new_view(), w = new_view(), gx = new_view(), y = new_view(), none = {0};
    fill_view(x, 5, -2, 2);
    fill_view(w, 6, -1, 1);
    view seen_x = look(x), seen_w = look(w);
    for (int i = 0; i < NMAP; i++) {
        real par[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)maps[i].par[q];
        }
        double g[LEAVES][5] = {{0}}, cut[LEAVES][5] = {{0}}, sum[4] = {0}, sum_size[4] = {0}, worst = 0;
        fill_view(gx, 7, 3, 3);
        be->ops->map_back(be, maps[i].kind, par, 4, NT, x, w, gx, g[0], 5);
        be->ops->sync(be);
        view seen = look(gx);
        EACH_PIXEL(l, t, c, row, col)
        {
            int64_t at = pixel(l, t, c, row, col);
            cell_slope d = slope_of(maps[i].kind, host(seen_x.at)[at], par);
            double by = (double)host(seen_w.at)[at], want = by * (double)d.x;
            for (int q = 0; q < 4; q++) {
                sum[q] += by * (double)d.p[q];
                sum_size[q] += fabs(by * (double)d.p[q]);
            }
            worst = fmax(worst, fabs((double)host(seen.at)[at] - 3 - want) / (1 + fabs(want)));
        }
        bool halo_is_left = host(seen.at)[pixel(0, 0, 0, 0, -1)] == 3 && host(seen.at)[pixel(1, 0, 0, tiles[1].ny, 0)] == 3;
        CHECK(halo_is_left);
        leave(seen);
        CHECK_NEAR(worst, 0, sizeof(real) == sizeof(float) ? 1e-6 : ldexp(24, -53),
                   "one sum, and slopes whose products are fused or not: two dozen roundings in exp and what follows");
        for (int q = 0; q < 4; q++) {
            CHECK_NEAR(g[0][q] + g[1][q], sum[q], (sizeof(real) == sizeof(float) ? 1e-8 : 1e-11) * (sum_size[q] + 1),
                       "sums in double of numbers of this size, in another order; slopes whose products are fused or not");
        }
        for (int t = NT - 2; t >= -1; t -= 2) { /* two steps at a time, the first alone */
            int first = t < 0 ? 0 : t, n = t < 0 ? 1 : 2;
            be->ops->map_back(be, maps[i].kind, par, 4, n, view_at_frame(x, first), view_at_frame(w, first), none, cut[0], 5);
        }
        be->ops->sync(be);
        CHECK(memcmp(cut, g, sizeof g) == 0 && g[0][4] == 0);
        if (maps[i].kind == MAP_LINEAR) { /* in place */
            be->ops->map(be, MAP_LINEAR, par, 4, NT, x, y);
            fill_view(gx, 5, -2, 2);
            be->ops->map(be, MAP_LINEAR, par, 4, NT, gx, gx);
            CHECK(inner(gx, w) == inner(y, w));
        }
    }
    leave(seen_x);
    leave(seen_w);
    free_view(x);
    free_view(w);
    free_view(gx);
    free_view(y);
}

/* Rows of any length from any place: the loops of the compiler over many pixels and over the last few must round alike. */
static void bits_do_not_depend_on_the_place(void)
{
    enum { LONG = 4000 };
    static grid_tile part[LONG];
    dreal *x = be->ops->alloc(be, LONG), *y = be->ops->alloc(be, LONG), *z = be->ops->alloc(be, LONG);
    for (int i = 0; i < NMAP; i++) {
        real par[4];
        for (int q = 0; q < 4; q++) {
            par[q] = (real)maps[i].par[q];
        }
        fill(x, LONG, 60, maps[i].from, maps[i].to);
        grid_tile all = {0, 0, 0, 1, LONG};
        view in = {x, &all, 1, 1, 0, LONG, LONG, LONG, LONG, 1, LONG}, out = in;
        out.at = y;
        be->ops->map(be, maps[i].kind, par, 4, 1, in, out);
        for (int width = 1; width < 40; width += 3) {
            int n = LONG / width;
            for (int l = 0; l < n; l++) {
                part[l] = (grid_tile){l, 0, l * width, 1, width};
            }
            view rows = {x, part, n, 1, 0, width, width, width, width, 1, width}, to = rows;
            to.at = z;
            be->ops->map(be, maps[i].kind, par, 4, 1, rows, to);
            CHECK(same_bits(y, z, n * width));
        }
    }
    be->ops->release(be, x);
    be->ops->release(be, y);
    be->ops->release(be, z);
}

#ifdef CHIASM_DOUBLE
static view moved_view(view x, double h, view dx) /* x + h dx */
{
    view moved = new_view(), p = look(x), q = look(dx);
    for (int64_t k = -HALO * ROW - HALO; k < ARRAY - HALO * ROW - HALO; k++) {
        host(p.at)[k] += h * host(q.at)[k];
    }
    be->ops->upload(be, moved.at - HALO * ROW - HALO, host(p.at) - HALO * ROW - HALO, ARRAY);
    leave(p);
    leave(q);
    return moved;
}
#endif

/* --- sums and normalisation ----------------------------------------------------------------------------------------------- */
static void sums_give_back(void)
{
    enum { NIN = 3 };
    view x[NIN], gx[NIN], w = new_view(), y = new_view();
    real weight[NIN] = {(real)0.7, (real)-1.3, (real)2.1};
    double g[LEAVES][NIN] = {{0}}, cut[LEAVES][NIN] = {{0}};
    fill_view(w, 8, -1, 1);
    for (int k = 0; k < NIN; k++) {
        x[k] = new_view();
        fill_view(x[k], (uint64_t)(9 + k), -1, 1);
        gx[k] = k == 1 ? (view){0} : zero_view();
    }
    gx[2] = (free_view(gx[2]), gx[0]); /* one array given twice */
    be->ops->combine(be, NIN, weight, NT, x, y);
    be->ops->combine_back(be, NIN, weight, NT, x, w, gx, g[0], NIN);
    be->ops->sync(be);
    double linear = 0, worst = 0;
    for (int k = 0; k < NIN; k++) {
        double want = inner(w, x[k]);
        CHECK_NEAR(g[0][k] + g[1][k], want, 1e-9, "sums in double, another order");
        linear += (g[0][k] + g[1][k]) * (double)weight[k];
    }
    view seen = look(gx[0]), seen_w = look(w);
    EACH_PIXEL(l, t, c, row, col)
    {
        int64_t at = pixel(l, t, c, row, col);
        worst = fmax(worst, fabs((double)host(seen.at)[at] - (double)(weight[0] + weight[2]) * (double)host(seen_w.at)[at]));
    }
    leave(seen);
    leave(seen_w);
    CHECK_NEAR(worst, 0, rounding / 10, "two products");
    CHECK_NEAR(linear, inner(w, y), rounding * 100, "<w, Ax>");
    for (int t = NT - 1; t >= 0; t--) {
        view xt[NIN], none[NIN] = {{0}};
        for (int k = 0; k < NIN; k++) {
            xt[k] = view_at_frame(x[k], t);
        }
        be->ops->combine_back(be, NIN, weight, 1, xt, view_at_frame(w, t), none, cut[0], NIN);
    }
    be->ops->sync(be);
    CHECK(memcmp(cut, g, sizeof g) == 0);
    for (int k = 0; k < NIN; k++) {
        free_view(x[k]);
    }
    free_view(gx[0]);
    free_view(w);
    free_view(y);
}

/* Inputs that are parts of one array: other channels of it, and the frame before. */
static void sums_of_one_array_give_back(void)
{
    enum { NIN = 2 };
    const real weight[NIN] = {(real)0.5, 2};
    for (int channels = 0; channels < 2; channels++) {
        view a = new_view(), ga = zero_view(), w = new_view(), y = new_view();
        fill_view(a, 12, -1, 1);
        fill_view(w, 13, -1, 1);
        view x[NIN] = {a, a}, gx[NIN] = {ga, ga}, part = w, out = y;
        int nt = channels ? NT : NT - 1;
        if (channels) {
            x[0].nchan = x[1].nchan = gx[0].nchan = gx[1].nchan = part.nchan = out.nchan = 1;
            x[1].at += 2 * a.chan_stride;
            gx[1].at += 2 * a.chan_stride;
        } else {
            x[1] = view_at_frame(a, 1);
            gx[1] = view_at_frame(ga, 1);
        }
        double g[LEAVES][NIN] = {{0}}, by = 0, linear = 0;
        be->ops->combine(be, NIN, weight, nt, x, out);
        be->ops->combine_back(be, NIN, weight, nt, x, part, gx, g[0], NIN);
        be->ops->sync(be);
        view seen_y = look(y), seen_w = look(w);
        EACH_PIXEL(l, t, c, row, col)
        {
            int64_t at = pixel(l, t, c, row, col);
            by += t < nt && c < out.nchan ? (double)host(seen_y.at)[at] * (double)host(seen_w.at)[at] : 0;
        }
        leave(seen_y);
        leave(seen_w);
        for (int k = 0; k < NIN; k++) {
            linear += (g[0][k] + g[1][k]) * (double)weight[k];
        }
        CHECK_NEAR(linear, by, rounding * 100, "<w, Ax>");
        CHECK_NEAR(inner(ga, a), by, rounding * 100, "<A'w, x>");
        free_view(a);
        free_view(ga);
        free_view(w);
        free_view(y);
    }
}

static double normalise_loss(const double *par, view x, view w)
{
    double loss = 0;
    view seen_x = look(x), seen_w = look(w);
    for (int l = 0; l < LEAVES; l++) {
        for (int64_t i = 0; i < (int64_t)NT * tiles[l].ny * tiles[l].nx; i++) {
            int t = (int)(i / (tiles[l].ny * tiles[l].nx)), row = (int)(i / tiles[l].nx % tiles[l].ny), col = (int)(i % tiles[l].nx);
            double total = pow(par[2], par[1]), q[CHANNELS];
            for (int c = 0; c < CHANNELS; c++) {
                q[c] = pow(fmax((double)host(seen_x.at)[pixel(l, t, c, row, col)], 0), par[1]);
                total += par[3 + c] * q[c];
            }
            for (int c = 0; c < CHANNELS; c++) {
                loss += (double)host(seen_w.at)[pixel(l, t, c, row, col)] * par[0] * q[c] / total;
            }
        }
    }
    leave(seen_x);
    leave(seen_w);
    return loss;
}

static void normalisation_gives_back(void)
{
    enum { NPAR = 3 + CHANNELS };
    view x = new_view(), w = new_view(), gx = zero_view(), y = new_view(), dx = new_view(), none = {0};
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
    be->ops->sync(be);
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
    be->ops->sync(be);
    CHECK(memcmp(cut, g, sizeof g) == 0);
#ifdef CHIASM_DOUBLE
    double first = inner(gx, dx), before = inner(w, y), left[2];
    for (int i = 0; i < 2; i++) {
        double h = i == 0 ? 1e-4 : 5e-5;
        view moved = moved_view(x, h, dx);
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
    view moved = moved_view(x, h, dx), y = new_view();
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
        be->ops->sync(be);
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
    double sum = 0, square = 0, lag = 0, last = 0, n = 0, worst = 0;
    bool same = true;
    view seen_x = look(x), seen_y = look(y), seen_z = look(z);
    EACH_PIXEL(l, t, c, row, col)
    {
        int64_t at = pixel(l, t, c, row, col);
        double d = ((double)host(seen_y.at)[at] - (double)host(seen_x.at)[at]) / 0.5;
        same = same && host(seen_y.at)[at] == host(seen_z.at)[at];
        sum += d;
        square += d * d;
        lag += d * last;
        last = d;
        n++;
        uint64_t who = (uint64_t)(tiles[l].y0 + row) * 2 * NX + (uint64_t)(tiles[l].x0 + col);
        random_block b = random_bits(9, RANDOM_NOISE_LAYER, who, (uint64_t)(102 + t) / 4, (uint32_t)c);
        float pair[2];
        random_normal_pair(b.v[(102 + t) % 4 / 2 * 2], b.v[(102 + t) % 4 / 2 * 2 + 1], &pair[0], &pair[1]);
        worst = fmax(worst, fabs(d - (double)pair[t % 2]));
    }
    CHECK(same);
    CHECK_NEAR(worst, 0, 2e-6, "numbers up to 5, their products fused or not; the sum with x rounded");
    CHECK_NEAR(sum / n, 0, 5 / sqrt(n), "5 standard errors");
    CHECK_NEAR(square / n, 1, 5 * sqrt(2 / n), "5 standard errors");
    CHECK_NEAR(lag / n, 0, 5 / sqrt(n), "5 standard errors");
    leave(seen_z);
    be->ops->noise(be, 9, (real)0.5, 2 * NX, NULL, 1, 102, NT, x, z); /* the second leaf is another sequence now */
    seen_z = look(z);
    int64_t first = pixel(0, 1, 2, 1, 5), second = pixel(1, 1, 2, 1, 5);
    CHECK(host(seen_z.at)[first] == host(seen_y.at)[first] && host(seen_z.at)[second] != host(seen_y.at)[second]);
    leave(seen_x);
    leave(seen_y);
    leave(seen_z);
    free_view(x);
    free_view(y);
    free_view(z);
}

int main(void)
{
    be = test_backend(1);
    static const test_case tests[] = {
        {"maps match their formulas", maps_match_their_formulas},
        {"maps add over whole arrays", maps_add_over_whole_arrays},
        {"bits do not depend on the place", bits_do_not_depend_on_the_place},
        {"sums give back", sums_give_back},
        {"sums of one array give back", sums_of_one_array_give_back},
        {"normalisation gives back", normalisation_gives_back},
#ifdef CHIASM_DOUBLE
        {"remainders are of second order", remainders_are_of_second_order},
#endif
        {"noise is normal and in its place", noise_is_normal_and_in_its_place},
    };
    int failed = test_run("map_back", tests, (int)(sizeof tests / sizeof tests[0]));
    test_backend_close(be);
    return failed;
}

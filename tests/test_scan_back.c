/* test_scan_back.c - adjoints of the recurrences in time and of sampling, each by itself; logarithms.
 * Oracle: the same sums written plainly in double.  They are linear in input and state: <A'w, x> = <w, A x>; derivatives by parameters are compared
 * with central differences. */
#include "compute/cellmath.h"
#include "frames.h"

/* --- scans ---------------------------------------------------------------------------------------------------------------- */
enum { POLES = 6, STATE = LEAVES * POLES * CHANNELS * PLANE };

typedef struct scan_case {
    enum cell_scan kind;
    int npar, nfree, nstate;
    double par[4];
} scan_case;

static const scan_case scans[] = {
    {SCAN_LOWPASS, 4, 3, 1, {0.2, 0.8, 1.7, 1}},           {SCAN_LOWPASS, 4, 3, 4, {0.3, 0.6, -0.7, 4}},
    {SCAN_HIGHPASS, 3, 3, 1, {0.2, 0.9, 0.7, 0}},          {SCAN_HIGHPASS_DELAYED, 4, 3, 2, {0.2, 0.9, 0.7, 0}},
    {SCAN_HIGHPASS_DELAYED, 4, 3, 2, {0.3, 0.75, 1.1, 1}}, {SCAN_LOWPASS, 4, 3, 6, {0.4, 0.6, 1.3, 6}},
};
enum { NSCAN = sizeof scans / sizeof scans[0] };

static int64_t state_at(int l, int p, int c, int y, int x)
{
    return ((int64_t)(l * POLES + p) * CHANNELS + c) * PLANE + y * NX + x;
}

/* Loss sum wy y + sum ws (state after) of one pixel's time course, written plainly. */
static double pixel_loss(const scan_case *k, const double p[4], const double *u, double *s, const double *wy, const double *ws)
{
    double loss = 0;
    for (int t = 0; t < NT; t++) {
        double y;
        if (k->kind == SCAN_LOWPASS) {
            y = u[t];
            for (int i = 0; i < k->nstate; i++) {
                s[i] = p[0] * y + p[1] * s[i];
                y = i == 0 ? p[2] * s[0] : s[i];
            }
        } else if (k->kind == SCAN_HIGHPASS) {
            s[0] = p[0] * u[t] + p[1] * s[0];
            y = u[t] - p[2] * s[0];
        } else {
            s[0] = p[0] * (t == 0 && p[3] != 0 ? u[0] : s[1]) + p[1] * s[0];
            y = u[t] - p[2] * s[0];
            s[1] = u[t];
        }
        loss += wy[t] * y;
    }
    for (int i = 0; i < k->nstate; i++) {
        loss += ws[i] * s[i];
    }
    return loss;
}

static double scan_loss(const scan_case *k, const double p[4], view x, const dreal *state, view wy, const dreal *ws)
{
    double loss = 0;
    view seen_x = look(x), seen_w = look(wy);
    real *seen_state = test_get(be, state, STATE), *seen_ws = test_get(be, ws, STATE);
    for (int64_t i = 0; i < (int64_t)LEAVES * CHANNELS * PLANE; i++) {
        int l = (int)(i / (CHANNELS * PLANE)), c = (int)(i / PLANE % CHANNELS), y = (int)(i / NX % NY), col = (int)(i % NX);
        if (y >= tiles[l].ny || col >= tiles[l].nx) {
            continue;
        }
        double u[NT], w[NT], s[POLES], v[POLES];
        for (int t = 0; t < NT; t++) {
            u[t] = (double)host(seen_x.at)[pixel(l, t, c, y, col)];
            w[t] = (double)host(seen_w.at)[pixel(l, t, c, y, col)];
        }
        for (int q = 0; q < k->nstate; q++) {
            s[q] = (double)seen_state[state_at(l, q, c, y, col)];
            v[q] = (double)seen_ws[state_at(l, q, c, y, col)];
        }
        loss += pixel_loss(k, p, u, s, w, v);
    }
    leave(seen_x);
    leave(seen_w);
    memory_free(seen_state);
    memory_free(seen_ws);
    return loss;
}

static double state_inner(const scan_case *k, const dreal *a, const dreal *b)
{
    double sum = 0;
    real *p = test_get(be, a, STATE), *o = test_get(be, b, STATE);
    for (int l = 0; l < LEAVES; l++) {
        for (int q = 0; q < k->nstate * CHANNELS * PLANE; q++) {
            int64_t i = (int64_t)l * POLES * CHANNELS * PLANE + q;
            bool in = q / NX % NY < tiles[l].ny && q % NX < tiles[l].nx;
            sum += in ? (double)p[i] * (double)o[i] : 0;
        }
    }
    memory_free(p);
    memory_free(o);
    return sum;
}

typedef struct scan_grads {
    view gx;
    dreal *g_state;
    double g_par[LEAVES][5];
} scan_grads;

/* Back over chunks of at most `chunk` steps; states at their beginnings are made by the forward op. */
static scan_grads scan_grad(const scan_case *k, view x, const dreal *state, view wy, const dreal *ws, int chunk)
{
    real par[4];
    scan_grads g = {new_view(), be->ops->alloc(be, STATE), {{0}}};
    view y = new_view();
    dreal *before[NT];
    int n = 0;
    dreal *now = be->ops->alloc(be, STATE);
    be->ops->move(be, now, state, STATE);
    for (int i = 0; i < 4; i++) {
        par[i] = (real)k->par[i];
    }
    for (int t = 0; t < NT; t += chunk, n++) {
        before[n] = be->ops->alloc(be, STATE);
        be->ops->move(be, before[n], now, STATE);
        int nt = NT - t < chunk ? NT - t : chunk;
        par[3] = (real)(k->kind == SCAN_HIGHPASS_DELAYED && t > 0 ? 0 : k->par[3]);
        be->ops->scan(be, k->kind, par, k->npar, nt, view_at_frame(x, t), now, STATE / LEAVES, view_at_frame(y, t));
    }
    be->ops->move(be, g.g_state, ws, STATE);
    fill_view(g.gx, 77, 1, 1);
    for (int i = n - 1; i >= 0; i--) {
        int t = i * chunk, nt = NT - t < chunk ? NT - t : chunk;
        par[3] = (real)(k->kind == SCAN_HIGHPASS_DELAYED && t > 0 ? 0 : k->par[3]);
        be->ops->scan_back(be, k->kind, par, k->npar, nt, view_at_frame(x, t), before[i], STATE / LEAVES, view_at_frame(wy, t), g.g_state,
                           STATE / LEAVES, view_at_frame(g.gx, t), g.g_par[0], 5);
        be->ops->release(be, before[i]);
    }
    be->ops->release(be, now);
    be->ops->sync(be);
    free_view(y);
    return g;
}

static void grads_free(scan_grads *g)
{
    free_view(g->gx);
    be->ops->release(be, g->g_state);
}

static void scans_match_their_sums(void)
{
    view x = new_view(), wy = new_view();
    dreal *state = be->ops->alloc(be, STATE), *ws = be->ops->alloc(be, STATE);
    fill_view(x, 1, -1, 1);
    fill_view(wy, 2, -1, 1);
    fill(state, STATE, 3, -1, 1);
    fill(ws, STATE, 4, -1, 1);
    for (int i = 0; i < NSCAN; i++) {
        const scan_case *k = &scans[i];
        scan_grads g = scan_grad(k, x, state, wy, ws, NT);
        double p[4];
        for (int q = 0; q < 4; q++) {
            p[q] = (double)(real)k->par[q];
        }
        double loss = scan_loss(k, p, x, state, wy, ws), ones = 0;
        view seen = look(x);
        EACH_PIXEL(l, t, c, y, col)
        {
            ones += (double)host(seen.at)[pixel(l, t, c, y, col)]; /* gx held 1 before */
        }
        leave(seen);
        double size = sqrt((double)LEAVES * CHANNELS * PLANE * NT);
        CHECK_NEAR(inner(g.gx, x) - ones + state_inner(k, g.g_state, state), loss, rounding * size, "<A'w, x> = <w, Ax>, linear in input and state");
        for (int q = 0; q < k->nfree; q++) {
            double h = 1e-5, high[4], low[4];
            memcpy(high, p, sizeof p);
            memcpy(low, p, sizeof p);
            high[q] += h;
            low[q] -= h;
            double central = (scan_loss(k, high, x, state, wy, ws) - scan_loss(k, low, x, state, wy, ws)) / (2 * h);
            CHECK_NEAR(g.g_par[0][q] + g.g_par[1][q], central, (rounding + 1e-7) * 10 * size, "central difference: h^2 and rounding by h");
        }
        CHECK(g.g_par[0][4] == 0 && g.g_par[0][3] == 0);
        for (int chunk = 1; chunk < NT; chunk += 3) {
            scan_grads cut = scan_grad(k, x, state, wy, ws, chunk);
            CHECK(same_bits(cut.gx.at - HALO * ROW - HALO, g.gx.at - HALO * ROW - HALO, ARRAY) && same_bits(cut.g_state, g.g_state, STATE));
            CHECK(memcmp(cut.g_par, g.g_par, sizeof g.g_par) == 0);
            grads_free(&cut);
        }
        grads_free(&g);
    }
    free_view(x);
    free_view(wy);
    be->ops->release(be, state);
    be->ops->release(be, ws);
}

/* --- sampling --------------------------------------------------------------------------------------------------------------- */
static void sampling_gives_back(void)
{
    enum { CELLS = 16, ENTRIES = 4 };
    int32_t offset[LEAVES * CELLS * ENTRIES];
    real weight[LEAVES * CELLS * ENTRIES];
    uint64_t seed = 40;
    for (int i = 0; i < LEAVES * CELLS * ENTRIES; i++) { /* some pixels many times, some in the halo */
        offset[i] = (int32_t)((int)(2 + 2 * test_random(&seed)) * ROW + (int)(10 * test_random(&seed)) + 9);
        weight[i] = (real)test_random(&seed);
    }
    const grid_tile cells[LEAVES] = {{0, 0, 0, 1, CELLS}, {1, 0, 0, 1, CELLS - 3}};
    dreal *at = be->ops->alloc(be, 2 * LEAVES * NT * CELLS);
    view y = {at, cells, LEAVES, 1, 0, NT * CELLS, CELLS, CELLS, CELLS, 1, CELLS}, w = y, x = new_view(), gx = zero_view();
    w.at += LEAVES * NT * CELLS;
    fill_view(x, 41, -1, 1);
    fill(w.at, LEAVES * NT * CELLS, 42, -1, 1);
    link_table *table = be->ops->link_create(be, LEAVES, CELLS, ENTRIES, offset, weight);
    be->ops->link(be, table, 0, NT, x, y);
    be->ops->link_back(be, table, 0, NT, w, gx);
    double forward = 0, back = 0;
    real *seen = test_get(be, at, 2 * LEAVES * NT * CELLS);
    view seen_x = look(x), seen_gx = look(gx);
    for (int l = 0; l < LEAVES; l++) {
        for (int i = 0; i < NT * CELLS; i++) {
            int at_i = l * NT * CELLS + i;
            forward += i % CELLS < cells[l].nx ? (double)seen[at_i] * (double)seen[LEAVES * NT * CELLS + at_i] : 0;
        }
    }
    for (int64_t i = 0; i < ARRAY; i++) {
        back += (double)host(seen_gx.at - HALO * ROW - HALO)[i] * (double)host(seen_x.at - HALO * ROW - HALO)[i];
    }
    memory_free(seen);
    leave(seen_x);
    leave(seen_gx);
    CHECK(fabs(forward) > 0.1);
    CHECK_NEAR(forward, back, rounding, "<w, Ax> = <A'w, x>");
    be->ops->link_destroy(be, table);
    be->ops->release(be, at);
    free_view(x);
    free_view(gx);
}

/* --- mathematics of cells -------------------------------------------------------------------------------------------------- */
static void logarithms_are_exact(void)
{
    double worst = 0, worst_1p = 0, worst_m1 = 0, worst_double = 0;
    for (double x = 1e-30; x < 1e30; x *= 1.0173) {
        double y = (double)(real)x;
        worst = fmax(worst, fabs((double)cell_log((real)x) - log(y)) / fmax(1e-3, fabs(log(y))));
        worst_double = fmax(worst_double, fabs(cell_log_double(x) - log(x)) / fmax(1e-3, fabs(log(x))));
    }
    for (double e = 1e-8; e <= 1; e *= 1.00311) {
        double y = (double)(real)e;
        worst_1p = fmax(worst_1p, fabs((double)cell_log1p((real)e) / log1p(y) - 1));
        worst_m1 = fmax(worst_m1, fabs((double)cell_expm1((real)e) / expm1(y) - 1));
        worst_m1 = fmax(worst_m1, fabs((double)cell_expm1((real)-e) / expm1(-y) - 1));
    }
    CHECK_NEAR(worst_double, 0, 1e-15, "stated in cellmath.h");
    CHECK_NEAR(worst, 0, sizeof(real) == sizeof(float) ? 3e-7 : 1e-15, "stated in cellmath.h");
    CHECK_NEAR(worst_1p, 0, sizeof(real) == sizeof(float) ? 5e-7 : 1e-15, "its series is complete to the last place");
    CHECK_NEAR(worst_m1, 0, sizeof(real) == sizeof(float) ? 1e-6 : 3e-15, "its series, or a difference that loses 2 bits");
}

int main(void)
{
    be = test_backend(1);
    be->ops->reserve(be, scan_scratch(POLES, NT));
    static const test_case tests[] = {{"logarithms are exact", logarithms_are_exact},
                                      {"scans match their sums, chunks do not show", scans_match_their_sums},
                                      {"sampling gives back", sampling_gives_back}};
    int failed = test_run("scan_back", tests, (int)(sizeof tests / sizeof tests[0]));
    test_backend_close(be);
    return failed;
}

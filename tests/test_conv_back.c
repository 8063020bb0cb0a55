/* test_conv_back.c - adjoints of every algorithm by input, past, kernel and bias: against the sums written as they are defined, and the identities
 * <Ax, g> = <x, A'g> and <A(K)x, g> = <K, gK>; in one chunk and in several, whose states and derivatives are handed on. */
#include "test.h"

#include "compute/conv.h"
#include "device.h"

#ifdef CHIASM_DOUBLE
static const double tolerance = 1e-12;
#else
static const double tolerance = 1e-5;
#endif
static const char why[] = "relative to the largest: rounding of sums over up to 1e4 terms and of transforms";
static const enum conv_algorithm algorithms[] = {CONV_FFT, CONV_SEPARABLE, CONV_DIRECT, CONV_WINDOW};
static backend *be;

/* Whole time course in one array; kernel and bias; the derivative gy of some loss; what must come out.  Pixels of x beyond a leaf's are NaN. */
typedef struct trial {
    conv_desc desc;
    int nleaf, nt, halo;
    grid_tile tile[3];
    int64_t nx, ny, nk, first;
    real *x, *gy, *kernel;
    double *want_x, *want_k; /* as x and [leaf][kernel, bias] */
    double largest_x, largest_k;
    view vx, vy;
} trial;

static double *weight_at(const trial *p, double *k, int o, int c, int l, int j, int i)
{
    const conv_desc *d = &p->desc;
    return k + (((o * (d->nchan_in / d->groups) + c) * d->kt + l) * d->ky + j) * d->kx + i;
}

static int64_t x_at(const trial *p, int l, int t, int c, int y, int x)
{
    return p->first + l * p->vx.leaf_stride + t * p->vx.frame_stride + c * p->vx.chan_stride + y * p->vx.row_stride + x;
}

static void add_wanted(trial *p, const double *kernel, int l, int t, int o, int y, int x)
{
    const conv_desc *d = &p->desc;
    int nin = d->nchan_in / d->groups, group = o / (d->nchan_out / d->groups);
    double g = (double)p->gy[l * p->vy.leaf_stride + t * p->vy.frame_stride + o * p->vy.chan_stride + y * p->vy.row_stride + x];
    double *by_kernel = p->want_k + l * p->nk;
    for (int n = 0; n < nin * d->kt * d->ky * d->kx; n++) {
        int i = n % d->kx, j = n / d->kx % d->ky, k = n / (d->kx * d->ky) % d->kt, c = n / (d->kx * d->ky * d->kt);
        int64_t from = x_at(p, l, t - k, group * nin + c, y + d->ky / 2 - j, x + d->kx / 2 - i);
        p->want_x[from] += g * *weight_at(p, (double *)kernel, o, c, k, j, i);
        *weight_at(p, by_kernel, o, c, k, j, i) += g * (double)p->x[from];
    }
    by_kernel[conv_kernel_reals(d) + o] += g;
}

static void wanted(trial *p)
{
    double *kernel = MEMORY_NEW(double, p->nk);
    for (int64_t n = 0; n < p->nk; n++) {
        kernel[n] = (double)p->kernel[n];
    }
    for (int l = 0; l < p->nleaf; l++) {
        int area = p->tile[l].ny * p->tile[l].nx;
        for (int n = 0; n < p->nt * p->desc.nchan_out * area; n++) {
            int x = n % p->tile[l].nx, y = n / p->tile[l].nx % p->tile[l].ny, o = n / area % p->desc.nchan_out;
            add_wanted(p, kernel, l, n / area / p->desc.nchan_out, o, y, x);
        }
    }
    for (int64_t n = 0; n < p->nx; n++) {
        p->largest_x = fmax(p->largest_x, fabs(p->want_x[n]));
    }
    for (int64_t n = 0; n < p->nleaf * p->nk; n++) {
        p->largest_k = fmax(p->largest_k, fabs(p->want_k[n]));
    }
    memory_free(kernel);
}

static void fill(trial *p)
{
    uint64_t seed = 17;
    for (int64_t n = 0; n < p->nx; n++) {
        p->x[n] = (real)NAN;
    }
    for (int l = 0; l < p->nleaf; l++) {
        for (int n = 0; n < (p->nt + p->desc.kt - 1) * p->desc.nchan_in; n++) {
            for (int y = -p->halo; y < p->tile[l].ny + p->halo; y++) {
                for (int x = -p->halo; x < p->tile[l].nx + p->halo; x++) {
                    int t = n / p->desc.nchan_in - (p->desc.kt - 1);
                    p->x[x_at(p, l, t, n % p->desc.nchan_in, y, x)] = t < 0 ? 0 : (real)test_random(&seed);
                }
            }
        }
    }
    for (int64_t n = 0; n < p->ny; n++) {
        p->gy[n] = (real)test_random(&seed);
    }
    for (int64_t n = 0; n < p->nk; n++) {
        p->kernel[n] = (real)test_random(&seed);
    }
}

static trial make(conv_desc d, int nleaf, const grid_tile *tile, int nt)
{
    trial p = {.desc = d, .nleaf = nleaf, .nt = nt};
    p.desc.bias = p.desc.differentiate = true;
    memcpy(p.tile, tile, (size_t)nleaf * sizeof *tile);
    conv_info info = conv_describe(&d, CONV_DIRECT, 0, 0);
    p.halo = info.halo_before > info.halo_after ? info.halo_before : info.halo_after;
    p.vx = (view){.nleaf = nleaf, .nchan = d.nchan_in, .halo = p.halo, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx};
    p.vx.row_stride = d.tile_nx + 2 * p.halo + 1;
    p.vx.chan_stride = p.vx.row_stride * (d.tile_ny + 2 * p.halo + 1);
    p.vx.frame_stride = p.vx.chan_stride * d.nchan_in;
    p.vx.leaf_stride = p.vx.frame_stride * (nt + d.kt - 1);
    p.first = (d.kt - 1) * p.vx.frame_stride + p.halo * (p.vx.row_stride + 1);
    p.vy = (view){.nleaf = nleaf, .nchan = d.nchan_out, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx, .row_stride = d.tile_nx};
    p.vy.chan_stride = p.vy.row_stride * d.tile_ny;
    p.vy.frame_stride = p.vy.chan_stride * d.nchan_out;
    p.vy.leaf_stride = p.vy.frame_stride * nt;
    p.nx = nleaf * p.vx.leaf_stride;
    p.ny = nleaf * p.vy.leaf_stride;
    p.nk = conv_kernel_reals(&d) + d.nchan_out;
    p.x = MEMORY_NEW(real, p.nx);
    p.gy = MEMORY_NEW(real, p.ny);
    p.kernel = MEMORY_NEW(real, p.nk);
    p.want_x = MEMORY_NEW(double, p.nx);
    p.want_k = MEMORY_NEW(double, nleaf * p.nk);
    fill(&p);
    wanted(&p);
    return p;
}

static void destroy(trial *p)
{
    memory_free(p->x);
    memory_free(p->gy);
    memory_free(p->kernel);
    memory_free(p->want_x);
    memory_free(p->want_k);
}

/* What an algorithm gave. */
typedef struct result {
    real *y, *gx;  /* gx began at 0.5, so that adding shows */
    double *gk;    /* began at 0.25 */
    double *rest;  /* [leaf] by a constant past; before: 0.125 */
    real *first;   /* as x: by a past that is frame 0 for ever */
} result;

static void free_result(result *r)
{
    memory_free(r->y);
    memory_free(r->gx);
    memory_free(r->gk);
    memory_free(r->rest);
    memory_free(r->first);
}

static view on(view v, dreal *at, int64_t first, const grid_tile *tile, int frame)
{
    v.at = at + first + frame * v.frame_stride;
    v.tile = tile;
    return v;
}

/* Backend memory that begins as zeros or `value`; and an array of it for the host, the memory released. */
static dreal *filled(int64_t n, real value)
{
    dreal *p = be->ops->alloc(be, n);
    be->ops->fill(be, p, value, n);
    return p;
}
static real *taken(dreal *p, int64_t n)
{
    real *numbers = test_get(be, p, n);
    be->ops->release(be, p);
    return numbers;
}

/* Forward in chunks, then back from the last to the first. */
static result run(const trial *p, enum conv_algorithm a, int chunk, bool want_x, bool want_k)
{
    const backend_ops *ops = be->ops;
    conv_desc d = p->desc;
    d.algorithm = a;
    d.max_nt = chunk;
    conv_plan *plan = ops->conv_create(be, &d, p->kernel);
    conv_info info = ops->conv_look(plan);
    int nchunk = (p->nt + chunk - 1) / chunk;
    int64_t state_stride = info.nstate + 3, states = p->nleaf * state_stride, tape_stride = chunk * info.tape + 5, tapes = p->nleaf * tape_stride;
    result r = {.gk = MEMORY_NEW(double, p->nleaf * p->nk), .rest = MEMORY_NEW(double, p->nleaf)};
    for (int64_t n = 0; n < p->nleaf * p->nk; n++) {
        r.gk[n] = 0.25;
    }
    dreal *x = test_put(be, p->x, p->nx), *gy = test_put(be, p->gy, p->ny), *y = filled(p->ny, 0), *gx = filled(p->nx, (real)0.5),
          *first = filled(p->nx, 0);
    dreal *state = filled((nchunk + 1) * states, 0), *tape = filled(nchunk * tapes, 0), *g_state = filled(states, 0);
    for (int i = 0; i < nchunk; i++) {
        int n = p->nt - i * chunk < chunk ? p->nt - i * chunk : chunk;
        ops->move(be, state + (i + 1) * states, state + i * states, states);
        ops->conv_taped(be, plan, n, on(p->vx, x, p->first, p->tile, i * chunk), state + (i + 1) * states, state_stride,
                        on(p->vy, y, 0, p->tile, i * chunk), tape + i * tapes, tape_stride);
    }
    for (int i = nchunk - 1; i >= 0; i--) {
        int n = p->nt - i * chunk < chunk ? p->nt - i * chunk : chunk;
        view gx_now = on(p->vx, gx, p->first, p->tile, i * chunk);
        gx_now.at = want_x ? gx_now.at : NULL;
        ops->conv_back(be, plan, n, on(p->vx, x, p->first, p->tile, i * chunk), state + i * states, tape + i * tapes, tape_stride, state_stride,
                       on(p->vy, gy, 0, p->tile, i * chunk), g_state, state_stride, gx_now, want_k ? r.gk : NULL, p->nk);
    }
    for (int l = 0; l < p->nleaf; l++) {
        r.rest[l] = 0.125;
    }
    ops->conv_start_back(be, plan, p->nleaf, p->tile, g_state, state_stride, on(p->vx, first, p->first, p->tile, 0), r.rest);
    ops->sync(be);
    dreal *done[] = {x, gy, state, tape, g_state};
    for (int i = 0; i < 5; i++) {
        ops->release(be, done[i]);
    }
    r.y = taken(y, p->ny);
    r.gx = taken(gx, p->nx);
    r.first = taken(first, p->nx);
    ops->conv_destroy(be, plan);
    return r;
}

/* Steps from 0 on, and the past: frames of gx, or for FFT the constant past. */
static void check_input(const trial *p, const result *r, bool fft)
{
    double worst = 0, worst_past = 0, worst_rest = 0;
    int past = p->desc.kt - 1;
    for (int64_t n = 0; n < p->nx; n++) { /* what lies beyond a leaf is not touched either */
        bool before = n % p->vx.leaf_stride < past * p->vx.frame_stride;
        double error = fabs((double)r->gx[n] - 0.5 - (fft && before ? 0 : p->want_x[n]));
        worst = error <= worst ? worst : error;
    }
    for (int l = 0; fft && l < p->nleaf; l++) {
        double rest = 0.125;
        for (int64_t n = 0; n < p->vx.frame_stride; n++) {
            double sum = 0;
            for (int k = 0; k < past; k++) {
                sum += p->want_x[l * p->vx.leaf_stride + k * p->vx.frame_stride + n];
            }
            double error = fabs((double)r->first[l * p->vx.leaf_stride + past * p->vx.frame_stride + n] - sum);
            worst_past = error <= worst_past ? worst_past : error;
            rest += sum;
        }
        worst_rest = fmax(worst_rest, fabs(rest - r->rest[l]));
    }
    CHECK_NEAR(worst / p->largest_x, 0, tolerance, why);
    CHECK_NEAR(worst_past / p->largest_x, 0, past * tolerance, why);
    CHECK_NEAR(worst_rest / p->largest_x, 0, past * (double)p->vx.frame_stride * tolerance, why);
}

static void check_kernel(const trial *p, const result *r)
{
    double worst = 0;
    for (int64_t n = 0; n < p->nleaf * p->nk; n++) {
        double error = fabs(r->gk[n] - 0.25 - p->want_k[n]);
        worst = error <= worst ? worst : error;
    }
    CHECK_NEAR(worst / p->largest_k, 0, tolerance, why);
}

/* <Ax, g> = <x, A'g> = <K, gK>, the bias aside. */
static void check_identities(const trial *p, const result *r)
{
    double by_output = 0, by_input = 0, by_kernel = 0, size = 0;
    for (int l = 0; l < p->nleaf; l++) {
        for (int64_t n = 0; n < p->vy.leaf_stride; n++) {
            int o = (int)(n / p->vy.chan_stride % p->desc.nchan_out), y = (int)(n / p->vy.row_stride % p->desc.tile_ny);
            if (y < p->tile[l].ny && n % p->vy.row_stride < p->tile[l].nx) {
                int64_t at = l * p->vy.leaf_stride + n;
                double product = ((double)r->y[at] - (double)p->kernel[conv_kernel_reals(&p->desc) + o]) * (double)p->gy[at];
                by_output += product;
                size += fabs(product);
            }
        }
        for (int64_t n = 0; n < conv_kernel_reals(&p->desc); n++) {
            by_kernel += (double)p->kernel[n] * (r->gk[l * p->nk + n] - 0.25);
        }
    }
    for (int64_t n = 0; n < p->nx; n++) {
        by_input += isnan(p->x[n]) ? 0 : (double)p->x[n] * ((double)r->gx[n] - 0.5);
    }
    CHECK_NEAR(by_input / size, by_output / size, tolerance, why);
    CHECK_NEAR(by_kernel / size, by_output / size, tolerance, why);
}

static void check_all(conv_desc d, int nleaf, const grid_tile *tile, int nt)
{
    static const int chunks[] = {1, 7, 33, 80};
    d.groups = d.groups ? d.groups : 1;
    trial p = make(d, nleaf, tile, nt);
    for (int a = 0; a < 4; a++) {
        for (int i = 0; i < 4; i++) {
            unsigned failed = CU_get_number_of_failures();
            result r = run(&p, algorithms[a], chunks[i], true, true);
            check_input(&p, &r, algorithms[a] == CONV_FFT);
            check_kernel(&p, &r);
            check_identities(&p, &r);
            free_result(&r);
            if (CU_get_number_of_failures() > failed) {
                printf("\n    algorithm %d, chunk %d, kernel %d x %d x %d, tile %d x %d, %d > %d in %d:", algorithms[a], chunks[i], d.kt, d.ky, d.kx,
                       d.tile_ny, d.tile_nx, d.nchan_in, d.nchan_out, d.groups);
            }
        }
    }
    destroy(&p);
}

static void check_one(int ny, int nx, int kt, int ky, int kx, int nt)
{
    grid_tile tile = {.ny = ny, .nx = nx};
    check_all((conv_desc){.nchan_in = 1, .nchan_out = 1, .kt = kt, .ky = ky, .kx = kx, .tile_ny = ny, .tile_nx = nx}, 1, &tile, nt);
}

static void sizes(void)
{
    check_one(1, 1, 1, 1, 1, 3);
    check_one(1, 1, 3, 4, 5, 9);
    check_one(7, 5, 4, 9, 8, 9);
    check_one(16, 15, 3, 5, 4, 40);
    check_one(20, 9, 2, 1, 12, 9);
    check_one(3, 40, 1, 2, 2, 5);
}

static void lags(void)
{
    static const int kt[] = {2, 5, 20, 33, 40};
    for (int i = 0; i < 5; i++) {
        check_one(4, 5, kt[i], 3, 2, 75);
    }
}

static void channels(void)
{
    grid_tile tile = {.ny = 4, .nx = 6};
    conv_desc d = {.kt = 3, .ky = 4, .kx = 3, .tile_ny = 4, .tile_nx = 6};
    static const int shape[][3] = {{3, 1, 1}, {1, 3, 1}, {2, 3, 1}, {3, 3, 3}, {4, 6, 2}, {2, 30, 2}, {11, 9, 1}};
    for (int i = 0; i < 7; i++) {
        d.nchan_in = shape[i][0];
        d.nchan_out = shape[i][1];
        d.groups = shape[i][2];
        check_all(d, 1, &tile, 10);
    }
}

static const grid_tile unequal[3] = {{.ny = 8, .nx = 9}, {.ny = 7, .nx = 8}, {.ny = 3, .nx = 2}};
static const conv_desc bank = {.nchan_in = 2, .nchan_out = 3, .groups = 1, .kt = 5, .ky = 6, .kx = 5, .tile_ny = 8, .tile_nx = 9};

static void leaves(void)
{
    check_all(bank, 3, unequal, 50);
}

/* What is not wanted does not change what is. */
static void wanted_parts(void)
{
    trial p = make(bank, 3, unequal, 20);
    for (int a = 0; a < 4; a++) {
        result both = run(&p, algorithms[a], 7, true, true), x = run(&p, algorithms[a], 7, true, false), k = run(&p, algorithms[a], 7, false, true);
        CHECK(memcmp(both.gx, x.gx, (size_t)p.nx * sizeof(real)) == 0);
        CHECK(memcmp(both.gk, k.gk, (size_t)(p.nleaf * p.nk) * sizeof(double)) == 0);
        CHECK(both.gx[p.first] != (real)0.5 && k.gx[p.first] == (real)0.5 && x.gk[0] == 0.25 && both.gk[0] != 0.25);
        CHECK(memcmp(both.rest, x.rest, (size_t)p.nleaf * sizeof(double)) == 0 && k.rest[0] == 0.125);
        free_result(&both);
        free_result(&x);
        free_result(&k);
    }
    destroy(&p);
}

/* One chunk, with a plan of another kernel that was given this one (0), a plan of this kernel (1), one that borrows its working memory (2). */
static void run_plan(const trial *p, const conv_desc *d, int which, const real *zero, real **y, double *g)
{
    const backend_ops *ops = be->ops;
    conv_desc borrowing = *d;
    conv_plan *lender = which == 2 ? ops->conv_create(be, d, zero) : NULL;
    borrowing.like = lender;
    conv_plan *plan = ops->conv_create(be, &borrowing, which ? p->kernel : zero);
    conv_info info = ops->conv_look(plan);
    dreal *x = test_put(be, p->x, p->nx), *gy = test_put(be, p->gy, p->ny), *out = filled(p->ny, 0), *gx = filled(p->nx, 0);
    dreal *state = filled(info.nstate, 0), *g_state = filled(info.nstate, 0), *tape = filled(p->nt * info.tape, 0);
    if (which == 0) {
        ops->conv_set(be, plan, p->kernel);
    }
    ops->conv_taped(be, plan, p->nt, on(p->vx, x, p->first, p->tile, 0), state, 0, on(p->vy, out, 0, p->tile, 0), tape, 0);
    ops->fill(be, state, 0, info.nstate);
    ops->conv_back(be, plan, p->nt, on(p->vx, x, p->first, p->tile, 0), state, tape, 0, 0, on(p->vy, gy, 0, p->tile, 0), g_state, 0,
                   on(p->vx, gx, p->first, p->tile, 0), g, 0);
    ops->sync(be);
    *y = taken(out, p->ny);
    real *by_input = taken(gx, p->nx);
    CHECK_NEAR((double)by_input[p->first], p->want_x[p->first], tolerance * p->largest_x, why);
    memory_free(by_input);
    ops->conv_destroy(be, plan);
    ops->conv_destroy(be, lender);
    dreal *done[] = {x, gy, state, g_state, tape};
    for (int i = 0; i < 5; i++) {
        ops->release(be, done[i]);
    }
}

/* A plan that was given another kernel, and one that borrows its working memory, are the plan made with that kernel. */
static void another_kernel(void)
{
    trial p = make(bank, 1, unequal, 9);
    real *zero = MEMORY_NEW(real, p.nk);
    for (int a = 0; a < 4; a++) {
        conv_desc d = p.desc;
        d.algorithm = algorithms[a];
        d.max_nt = p.nt;
        real *y[3];
        double *g[3];
        for (int i = 0; i < 3; i++) {
            g[i] = MEMORY_NEW(double, p.nk);
            run_plan(&p, &d, i, zero, &y[i], g[i]);
        }
        CHECK(y[0][0] != 0 && memcmp(y[0], y[1], (size_t)p.ny * sizeof(real)) == 0);
        CHECK(memcmp(y[0], y[2], (size_t)p.ny * sizeof(real)) == 0);
        CHECK(memcmp(g[0], g[1], (size_t)p.nk * sizeof(double)) == 0 && memcmp(g[0], g[2], (size_t)p.nk * sizeof(double)) == 0);
        for (int i = 0; i < 3; i++) {
            memory_free(y[i]);
            memory_free(g[i]);
        }
    }
    memory_free(zero);
    destroy(&p);
}

/* Few pixels and many taps, where the threads of a device share the taps; many positions, which they share too. */
static void few_and_many(void)
{
    grid_tile one = {.ny = 1, .nx = 1}, four = {.ny = 2, .nx = 2}, many = {.ny = 40, .nx = 37};
    check_all((conv_desc){.nchan_in = 3, .nchan_out = 11, .kt = 1, .ky = 10, .kx = 11, .tile_ny = 1, .tile_nx = 1}, 1, &one, 9);
    check_all((conv_desc){.nchan_in = 1, .nchan_out = 3, .kt = 20, .ky = 7, .kx = 7, .tile_ny = 2, .tile_nx = 2}, 1, &four, 90);
    check_all((conv_desc){.nchan_in = 1, .nchan_out = 2, .kt = 2, .ky = 2, .kx = 2, .tile_ny = 40, .tile_nx = 37}, 1, &many, 20);
}

int main(void)
{
    static const test_case tests[] = {
        {"odd and even sizes equal the sums", sizes}, {"1 to 40 lags in chunks of 1 to 80", lags}, {"channels, banks, groups", channels},
        {"leaves of unequal size, nothing touched beyond them", leaves}, {"few pixels and many taps, many pixels and few taps", few_and_many},
        {"only what is wanted", wanted_parts}, {"another kernel in the same plan", another_kernel}};
    be = test_backend(1);
    int failed = test_run("conv_back", tests, (int)(sizeof tests / sizeof *tests));
    test_backend_close(be);
    return failed;
}

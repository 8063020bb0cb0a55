/* test_conv.c - every algorithm against the double sum written as it is defined; same bits for any chunk, leaf company and thread. */
#include "test.h"

#include <omp.h>

#include "compute/conv.h"
#include "device.h"

#ifdef CHIASM_DOUBLE
static const double tolerance = 1e-12;
#else
static const double tolerance = 5e-6;
#endif
static const char why[] = "relative to max|y|: rounding of sums over up to 1e4 taps and of transforms of up to 1e5 points";
static const enum conv_algorithm algorithms[] = {CONV_FFT, CONV_SEPARABLE, CONV_DIRECT, CONV_WINDOW};

static backend *be;

enum past { PAST_ZERO, PAST_FIRST };

/* A convolution with its input, and arrays of the padded layout; what an algorithm must not read is NaN. */
typedef struct trial {
    conv_desc desc;
    int nleaf, nt, halo;
    grid_tile tile[4];
    real *kernel, *input;
    view x;
    int64_t first; /* of frame 0 in input */
    double *want;  /* [leaf][nt][nchan_out][tile_ny][tile_nx] */
    double largest;
} trial;

static int64_t want_at(const trial *p, int l, int t, int o, int y, int x)
{
    return ((((int64_t)l * p->nt + t) * p->desc.nchan_out + o) * p->desc.tile_ny + y) * p->desc.tile_nx + x;
}

static real *input_at(const trial *p, int l, int t, int c, int y, int x)
{
    return p->input + p->first + l * p->x.leaf_stride + t * p->x.frame_stride + c * p->x.chan_stride + y * p->x.row_stride + x;
}

static double kernel_at(const trial *p, int o, int c, int k, int j, int i)
{
    const conv_desc *d = &p->desc;
    return (double)p->kernel[(((o * (d->nchan_in / d->groups) + c) * d->kt + k) * d->ky + j) * d->kx + i];
}

/* y[t][o][y][x] = sum over c, k, j, i of K[o][c][k][j][i] x[t-k][c][y + ky/2 - j][x + kx/2 - i], in double. */
static double oracle(const trial *p, int l, int t, int o, int y, int x)
{
    const conv_desc *d = &p->desc;
    int nin = d->nchan_in / d->groups, first = o / (d->nchan_out / d->groups) * nin;
    double sum = 0;
    for (int c = 0; c < nin; c++) {
        for (int k = 0; k < d->kt; k++) {
            for (int j = 0; j < d->ky; j++) {
                for (int i = 0; i < d->kx; i++) {
                    sum += kernel_at(p, o, c, k, j, i) * (double)*input_at(p, l, t - k, first + c, y + d->ky / 2 - j, x + d->kx / 2 - i);
                }
            }
        }
    }
    return sum;
}

/* Frames before 0 are zero, or as frame 0; the halo of each tile's true size is filled. */
static void fill_input(trial *p, enum past past)
{
    uint64_t seed = 7;
    for (int l = 0; l < p->nleaf; l++) {
        for (int i = 0; i < p->nt * p->desc.nchan_in; i++) {
            int t = i / p->desc.nchan_in, c = i % p->desc.nchan_in;
            for (int y = -p->halo; y < p->tile[l].ny + p->halo; y++) {
                for (int x = -p->halo; x < p->tile[l].nx + p->halo; x++) {
                    real value = (real)(test_random(&seed) + 0.3);
                    *input_at(p, l, t, c, y, x) = value;
                    for (int k = 1; t == 0 && k < p->desc.kt; k++) {
                        *input_at(p, l, -k, c, y, x) = past == PAST_ZERO ? 0 : value;
                    }
                }
            }
        }
    }
}

static trial make(conv_desc d, int nleaf, const grid_tile *tile, int nt, enum past past)
{
    trial p = {.desc = d, .nleaf = nleaf, .nt = nt};
    memcpy(p.tile, tile, (size_t)nleaf * sizeof *tile);
    conv_info info = conv_describe(&d, CONV_DIRECT, 0, 0);
    p.halo = info.halo_before > info.halo_after ? info.halo_before : info.halo_after;
    p.x = (view){.nleaf = nleaf, .nchan = d.nchan_in, .halo = p.halo, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx};
    p.x.row_stride = d.tile_nx + 2 * p.halo + 3;
    p.x.chan_stride = p.x.row_stride * (d.tile_ny + 2 * p.halo + 1);
    p.x.frame_stride = p.x.chan_stride * d.nchan_in;
    p.x.leaf_stride = p.x.frame_stride * (nt + d.kt - 1);
    p.first = (d.kt - 1) * p.x.frame_stride + p.halo * (p.x.row_stride + 1);
    p.input = MEMORY_NEW(real, nleaf * p.x.leaf_stride);
    for (int64_t i = 0; i < nleaf * p.x.leaf_stride; i++) {
        p.input[i] = (real)NAN;
    }
    fill_input(&p, past);
    uint64_t seed = 11;
    int taps = d.nchan_out * (d.nchan_in / d.groups) * d.kt * d.ky * d.kx;
    p.kernel = MEMORY_NEW(real, taps);
    for (int n = 0; n < taps; n++) {
        p.kernel[n] = (real)test_random(&seed);
    }
    return p;
}

static void compute_want(trial *p)
{
    p->want = MEMORY_NEW(double, want_at(p, p->nleaf, 0, 0, 0, 0));
    p->largest = 0;
    for (int l = 0; l < p->nleaf; l++) {
        for (int i = 0; i < p->nt * p->desc.nchan_out * p->tile[l].ny * p->tile[l].nx; i++) {
            int x = i % p->tile[l].nx, y = i / p->tile[l].nx % p->tile[l].ny, to = i / (p->tile[l].nx * p->tile[l].ny);
            int t = to / p->desc.nchan_out, o = to % p->desc.nchan_out;
            double value = oracle(p, l, t, o, y, x);
            p->want[want_at(p, l, t, o, y, x)] = value;
            p->largest = fmax(p->largest, fabs(value));
        }
    }
}

static void destroy(trial *p)
{
    memory_free(p->kernel);
    memory_free(p->input);
    memory_free(p->want);
}

/* Runs in chunks into [leaf][nt][nchan_out][tile_ny][tile_nx] (memory_free it); what is not written stays 1e30.
 * One leaf a call if `apart`, from several threads where the backend takes them. */
static real *run(const trial *p, enum conv_algorithm a, int chunk, enum past past, bool apart)
{
    const backend_ops *ops = be->ops;
    conv_desc d = p->desc;
    d.algorithm = a;
    d.max_nt = chunk;
    conv_plan *plan = ops->conv_create(be, &d, p->kernel);
    conv_info info = ops->conv_look(plan);
    CHECK(info.algorithm == a);
    view x = p->x, y = {.tile = p->tile, .nleaf = p->nleaf, .nchan = d.nchan_out, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx};
    dreal *input = test_put(be, p->input, p->nleaf * p->x.leaf_stride);
    x.at = input + p->first;
    x.tile = p->tile;
    y.row_stride = d.tile_nx;
    y.chan_stride = y.row_stride * d.tile_ny;
    y.frame_stride = y.chan_stride * d.nchan_out;
    y.leaf_stride = y.frame_stride * p->nt;
    int64_t stride = info.nstate + 5;
    dreal *state = ops->alloc(be, p->nleaf * stride), *output = y.at = ops->alloc(be, p->nleaf * y.leaf_stride);
    ops->fill(be, output, (real)1e30, p->nleaf * y.leaf_stride);
    ops->fill(be, state, 0, p->nleaf * stride);
    if (past == PAST_FIRST) {
        ops->conv_start(be, plan, x, state, stride);
    }
    for (int t = 0; t < p->nt; t += chunk) {
        int n = p->nt - t < chunk ? p->nt - t : chunk;
        view xt = view_at_frame(x, t), yt = view_at_frame(y, t);
        if (apart) {
#pragma omp parallel for schedule(dynamic, 1) if (strcmp(test_device(), "cpu") == 0)
            for (int l = 0; l < p->nleaf; l++) {
                ops->conv(be, plan, n, view_of_leaf(xt, l, 1), state + l * stride, stride, view_of_leaf(yt, l, 1));
            }
        } else {
            ops->conv(be, plan, n, xt, state, stride, yt);
        }
    }
    real *out = test_get(be, output, p->nleaf * y.leaf_stride);
    ops->conv_destroy(be, plan);
    ops->release(be, input);
    ops->release(be, output);
    ops->release(be, state);
    return out;
}

static double worst_error(const trial *p, const real *out)
{
    double worst = 0;
    for (int64_t i = 0; i < want_at(p, p->nleaf, 0, 0, 0, 0); i++) {
        int x = (int)(i % p->desc.tile_nx), y = (int)(i / p->desc.tile_nx % p->desc.tile_ny);
        int l = (int)(i / want_at(p, 1, 0, 0, 0, 0));
        if (y < p->tile[l].ny && x < p->tile[l].nx) {
            double error = fabs((double)out[i] - p->want[i]) / p->largest;
            worst = error <= worst || isnan(worst) ? worst : error;
        } else {
            worst = out[i] == (real)1e30 ? worst : INFINITY; /* written beyond the leaf */
        }
    }
    return worst;
}

static bool same_bits(const trial *p, const real *a, const real *b)
{
    return memcmp(a, b, (size_t)want_at(p, p->nleaf, 0, 0, 0, 0) * sizeof(real)) == 0;
}

/* Each algorithm: the oracle's values, and the same bits in chunks of 1, 7, 64. */
static void check_all(conv_desc d, int nleaf, const grid_tile *tile, int nt, enum past past)
{
    static const int chunks[] = {1, 7, 64};
    d.groups = d.groups ? d.groups : 1;
    trial p = make(d, nleaf, tile, nt, past);
    compute_want(&p);
    for (int a = 0; a < 4; a++) {
        real *whole = run(&p, algorithms[a], nt, past, false);
        double worst = worst_error(&p, whole);
        if (!(worst <= tolerance)) {
            printf("\n    algorithm %d, kernel %d x %d x %d, tile %d x %d:", algorithms[a], d.kt, d.ky, d.kx, d.tile_ny, d.tile_nx);
        }
        CHECK_NEAR(worst, 0, tolerance, why);
        for (int i = 0; i < 3; i++) {
            real *part = run(&p, algorithms[a], chunks[i], past, false);
            CHECK(same_bits(&p, whole, part));
            memory_free(part);
        }
        memory_free(whole);
    }
    destroy(&p);
}

static void check_one(int ny, int nx, int kt, int ky, int kx, int nt)
{
    grid_tile tile = {.ny = ny, .nx = nx};
    check_all((conv_desc){.nchan_in = 1, .nchan_out = 1, .kt = kt, .ky = ky, .kx = kx, .tile_ny = ny, .tile_nx = nx}, 1, &tile, nt, PAST_ZERO);
}

static void sizes(void)
{
    check_one(1, 1, 1, 1, 1, 3);
    check_one(1, 1, 3, 4, 5, 9);
    check_one(7, 5, 2, 3, 3, 70);
    check_one(7, 5, 4, 9, 8, 9);
    check_one(16, 16, 3, 5, 4, 10);
    check_one(33, 20, 3, 4, 7, 11);
    check_one(20, 33, 2, 1, 12, 9);
    check_one(5, 150, 2, 11, 1, 9);
    check_one(3, 300, 1, 2, 2, 5);
}

static void lags(void)
{
    static const int kt[] = {1, 2, 5, 20, 63, 64};
    for (int i = 0; i < 6; i++) {
        check_one(6, 9, kt[i], 3, 2, 75);
    }
}

static void channels(void)
{
    grid_tile tile = {.ny = 9, .nx = 17};
    conv_desc d = {.kt = 3, .ky = 4, .kx = 3, .tile_ny = 9, .tile_nx = 17};
    static const int shape[][3] = {{3, 1, 1}, {1, 3, 1}, {2, 3, 1}, {3, 3, 3}, {4, 6, 2}, {2, 12, 2}, {1, 9, 1}};
    for (int i = 0; i < 7; i++) {
        d.nchan_in = shape[i][0];
        d.nchan_out = shape[i][1];
        d.groups = shape[i][2];
        check_all(d, 1, &tile, 10, PAST_ZERO);
    }
}

static const grid_tile unequal[4] = {{.ny = 18, .nx = 21}, {.ny = 17, .nx = 21}, {.ny = 18, .nx = 20}, {.ny = 3, .nx = 2}};
static const conv_desc bank = {.nchan_in = 2, .nchan_out = 2, .groups = 1, .kt = 5, .ky = 6, .kx = 5, .tile_ny = 18, .tile_nx = 21};

static void leaves(void)
{
    check_all(bank, 4, unequal, 9, PAST_ZERO);
}

static void past_is_first_frame(void)
{
    check_all(bank, 4, unequal, 9, PAST_FIRST);
}

/* A leaf's bits do not depend on the leaves or threads it is computed with. */
static void company(void)
{
    trial p = make(bank, 4, unequal, 9, PAST_ZERO);
    int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    for (int a = 0; a < 4; a++) {
        real *together = run(&p, algorithms[a], 4, PAST_ZERO, false), *apart = run(&p, algorithms[a], 9, PAST_ZERO, true);
        CHECK(same_bits(&p, together, apart));
        memory_free(together);
        memory_free(apart);
    }
    omp_set_num_threads(threads);
    destroy(&p);
}

/* Steps [t, t + n) on `on`, from a host's state to a host's state. */
static void pass_on(backend *on, const trial *p, int t, int n, real *state, real *out)
{
    const backend_ops *ops = on->ops;
    conv_desc d = p->desc;
    d.algorithm = CONV_FFT;
    d.max_nt = p->nt;
    conv_plan *plan = ops->conv_create(on, &d, p->kernel);
    int64_t nstate = ops->conv_look(plan).nstate, plane = (int64_t)d.tile_ny * d.tile_nx, nx = p->nleaf * p->x.leaf_stride;
    view x = p->x, y = {.tile = p->tile, .nleaf = p->nleaf, .nchan = d.nchan_out, .leaf_stride = plane * d.nchan_out * p->nt,
                        .frame_stride = plane * d.nchan_out, .chan_stride = plane, .row_stride = d.tile_nx, .pad_ny = d.tile_ny, .pad_nx = d.tile_nx};
    int64_t ny = p->nleaf * y.leaf_stride;
    dreal *input = test_put(on, p->input, nx), *kept = test_put(on, state, p->nleaf * nstate), *output = y.at = test_put(on, out, ny);
    x.at = input + p->first;
    x.tile = p->tile;
    ops->conv(on, plan, n, view_at_frame(x, t), kept, nstate, view_at_frame(y, t));
    ops->download(on, state, kept, p->nleaf * nstate);
    ops->download(on, out, output, ny);
    ops->release(on, input);
    ops->release(on, kept);
    ops->release(on, output);
    ops->conv_destroy(on, plan);
}

/* A restart file that one processor wrote is read by another: steps from a CPU to this device and back again. */
static void handed_over(void)
{
    trial p = make(bank, 4, unequal, 9, PAST_ZERO);
    compute_want(&p);
    backend *cpu = backend_open("cpu", 1);
    conv_desc d = p.desc;
    d.max_nt = p.nt;
    conv_info info = conv_describe(&d, CONV_FFT, 0, 0);
    real *state = MEMORY_NEW(real, p.nleaf * info.nstate), *out = MEMORY_NEW(real, want_at(&p, p.nleaf, 0, 0, 0, 0));
    for (int64_t i = 0; i < want_at(&p, p.nleaf, 0, 0, 0, 0); i++) {
        out[i] = (real)1e30;
    }
    pass_on(cpu, &p, 0, 3, state, out);
    pass_on(be, &p, 3, 4, state, out);
    pass_on(cpu, &p, 7, 2, state, out);
    CHECK_NEAR(worst_error(&p, out), 0, tolerance, why);
    backend_close(cpu);
    memory_free(state);
    memory_free(out);
    destroy(&p);
}

/* Where the threads of a device share the taps. */
static void few_pixels(void)
{
    grid_tile one = {.ny = 1, .nx = 1}, four = {.ny = 2, .nx = 2};
    check_all((conv_desc){.nchan_in = 3, .nchan_out = 11, .kt = 1, .ky = 10, .kx = 11, .tile_ny = 1, .tile_nx = 1}, 1, &one, 9, PAST_ZERO);
    check_all((conv_desc){.nchan_in = 2, .nchan_out = 2, .groups = 2, .kt = 20, .ky = 7, .kx = 7, .tile_ny = 2, .tile_nx = 2}, 1, &four, 70,
              PAST_FIRST);
}

/* --- separable kernels ----------------------------------------------------------------------------------------------- */
static void add_gaussian(real *kernel, const conv_desc *d, double tau, double sigma, double weight)
{
    for (int n = 0; n < d->kt * d->ky * d->kx; n++) {
        double k = n / (d->ky * d->kx), j = n / d->kx % d->ky - d->ky / 2, i = n % d->kx - d->kx / 2;
        kernel[n] += (real)(weight * exp(-k / tau) * exp(-(i * i + j * j) / (2 * sigma * sigma)));
    }
}

static void terms(void)
{
    conv_desc d = {.nchan_in = 1, .nchan_out = 1, .groups = 1, .kt = 20, .ky = 21, .kx = 15, .tile_ny = 40, .tile_nx = 40, .max_nt = 8};
    real *kernel = MEMORY_NEW(real, d.kt * d.ky * d.kx);
    conv_factors *f = conv_factor(&d, kernel, 8);
    CHECK(f && f->nterm == 0); /* a kernel of zeros */
    conv_factors_destroy(f);
    add_gaussian(kernel, &d, 3, 2, 1);
    f = conv_factor(&d, kernel, 8);
    CHECK(f && f->nterm == 1);
    conv_factors_destroy(f);
    conv_plan *plan = be->ops->conv_create(be, &d, kernel);
    CHECK(be->ops->conv_look(plan).algorithm == CONV_SEPARABLE && be->ops->conv_look(plan).rank == 1 && be->ops->conv_look(plan).hist == 19);
    be->ops->conv_destroy(be, plan);
    d.varies = d.differentiate = true; /* a kernel that a fit will change */
    plan = be->ops->conv_create(be, &d, kernel);
    CHECK(be->ops->conv_look(plan).algorithm == CONV_FFT && be->ops->conv_look(plan).tape > 0);
    be->ops->conv_destroy(be, plan);
    d.varies = d.differentiate = false;
    kernel[137] += (real)0.1; /* one tap more: one or more terms more, still exact */
    f = conv_factor(&d, kernel, 8);
    CHECK(f && f->nterm >= 2 && f->nterm <= 4);
    conv_factors_destroy(f);
    uint64_t seed = 5;
    for (int n = 0; n < d.kt * d.ky * d.kx; n++) {
        kernel[n] = (real)test_random(&seed);
    }
    CHECK(conv_factor(&d, kernel, 8) == NULL);
    memory_free(kernel);
}

static void zero_kernel(void)
{
    trial p = make(bank, 4, unequal, 3, PAST_ZERO);
    memset(p.kernel, 0, (size_t)(bank.nchan_in * bank.nchan_out * bank.kt * bank.ky * bank.kx) * sizeof(real));
    compute_want(&p);
    p.largest = 1;
    for (int a = 0; a < 4; a++) {
        real *out = run(&p, algorithms[a], 3, PAST_ZERO, false);
        CHECK_NEAR(worst_error(&p, out), 0, 0, "no taps, no result");
        memory_free(out);
    }
    destroy(&p);
}

/* --- the plan -------------------------------------------------------------------------------------------------------- */
static void choice(void)
{
    uint64_t seed = 3;
    conv_desc d = {.nchan_in = 1, .nchan_out = 1, .groups = 1, .kt = 20, .ky = 21, .kx = 20, .tile_ny = 128, .tile_nx = 128, .max_nt = 64};
    real *kernel = MEMORY_NEW(real, 20 * 21 * 20);
    for (int n = 0; n < 20 * 21 * 20; n++) {
        kernel[n] = (real)test_random(&seed);
    }
    conv_plan *plan = be->ops->conv_create(be, &d, kernel);
    conv_info info = be->ops->conv_look(plan);
    CHECK(info.algorithm == CONV_FFT && info.hist == 0 && info.fft_ny >= 148 && info.fft_nx >= 147);
    CHECK(info.nstate >= 19LL * 2 * info.fft_ny * (info.fft_nx / 2 + 1));
    CHECK(info.halo_before == 10 && info.halo_after == 10 && info.flop_per_frame > 1e6 && info.bytes_per_frame > 1e5);
    be->ops->conv_destroy(be, plan);
    d.kt = 1;
    d.ky = d.kx = 3;
    d.nchan_in = d.nchan_out = 8;
    plan = be->ops->conv_create(be, &d, kernel);
    info = be->ops->conv_look(plan);
    CHECK(info.algorithm == CONV_DIRECT && info.hist == 0 && info.nstate == 0 && info.halo_before == 1 && info.halo_after == 1);
    CHECK_NEAR(info.flop_per_frame, 2.0 * 128 * 128 * 9 * 64, 0, "counted");
    be->ops->conv_destroy(be, plan);
    conv_desc cell = {.nchan_in = 1, .nchan_out = 8, .groups = 1, .kt = 20, .ky = 7, .kx = 7, .tile_ny = 2, .tile_nx = 2, .max_nt = 2000};
    plan = be->ops->conv_create(be, &cell, kernel); /* the published CNN of a single cell */
    info = be->ops->conv_look(plan);
    CHECK(info.algorithm == CONV_WINDOW && info.hist == 19 && info.nstate == 0 && info.tape == 0);
    be->ops->conv_destroy(be, plan);
    d.ky = 4; /* rows y-1 ... y+2: tap j reads y + 2 - j */
    info = conv_describe(&d, CONV_DIRECT, 0, 0);
    CHECK(info.halo_before == 1 && info.halo_after == 2);
    memory_free(kernel);
}

int main(void)
{
    static const test_case tests[] = {
        {"odd and even sizes equal the direct sum", sizes}, {"1 to 64 lags", lags}, {"channels, banks, groups", channels},
        {"leaves of unequal size, nothing read or written beyond them", leaves}, {"the past is the first frame for ever", past_is_first_frame},
        {"same bits in any company and thread", company}, {"few pixels and many taps", few_pixels},
        {"a state passes between processors", handed_over}, {"rank-one terms are found", terms},
        {"a kernel of zeros", zero_kernel}, {"the plan says what it chose", choice}};
    be = test_backend(1);
    int failed = test_run("conv", tests, (int)(sizeof tests / sizeof *tests));
    test_backend_close(be);
    return failed;
}

/* test_ran1.c - the generator against its definition in plain arithmetic and against published stimuli; noise is the same however it is asked. */
#include "base/memory.h"
#include "base/ran1.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "input/stimulus_own.h"
#include "test.h"

/* The definition word by word: x' = 16807 x mod 2147483647 by Schrage's division, 32 places, the last output / 67108864 is the place of the next. */
typedef struct plain {
    long x, last, place[32];
} plain;

static long park_miller(long x)
{
    long k = x / 127773;
    x = 16807 * (x - k * 127773) - 2836 * k;
    return x < 0 ? x + 2147483647 : x;
}

static void plain_start(plain *p, long seed)
{
    p->x = -seed;
    for (int i = 0; i < 8; i++) {
        p->x = park_miller(p->x);
    }
    for (int i = 31; i >= 0; i--) {
        p->place[i] = p->x = park_miller(p->x);
    }
    p->last = p->place[0];
}

static long plain_next(plain *p)
{
    p->x = park_miller(p->x);
    int i = (int)(p->last / (1 + 2147483646 / 32));
    p->last = p->place[i];
    p->place[i] = p->x;
    return p->last;
}

static void definition(void)
{
    static const int32_t seeds[] = {-1, -1000, -10000, -2147483646};
    for (int s = 0; s < 4; s++) {
        ran1 r, high;
        plain p;
        bool equal = true;
        ran1_start(&r, seeds[s]);
        ran1_start(&high, seeds[s]);
        plain_start(&p, seeds[s]);
        for (int i = 0; i < 100000; i++) {
            long n = plain_next(&p);
            double u = (double)n / 2147483647;
            equal = equal && fabs(ran1_unit(&r) - u) < (u > 1 - 1.2e-7 ? 1.3e-7 : 2.3e-16) && ran1_high(&high) == (u >= 0.5);
        }
        CHECK(equal);
    }
}

/* First frame of the stimulus of the published model cell (seed -1000, 8 x 8), and of the checkerboard of Liu et al. 2017 (seed -10000). */
static void published(void)
{
    static const char *const model_cell = "--++-+++++-+-+---+++----+-+----++++++-+-+++--++-+++---+-+---++-+";
    static const char *const liu = "-+-++++-++-+------+-++++----+-++";
    ran1 r;
    ran1_start(&r, -1000);
    for (int i = 0; i < 64; i++) {
        CHECK(ran1_high(&r) == (model_cell[i] == '+'));
    }
    ran1_start(&r, -10000);
    for (int i = 0; i < 32; i++) {
        CHECK(ran1_high(&r) == (liu[i] == '+'));
    }
    static const double flicker[] = {-0.156800876320019, -1.36714937009158, 0.00379847573940936, 0.783975551674518, 0.499588452397002};
    ran1_start(&r, -1000);
    for (int i = 0; i < 5; i++) {
        CHECK_NEAR(ran1_normal(&r), flicker[i], 1e-14, "15 digits in the file");
    }
}

/* --- the stimulus ---------------------------------------------------------------------------------------------------------- */
static input *last_input;
static stimulus *open_type(const char *type, const char *settings, const stimulus_frame *where)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "stimulus: {type: %s, %s}\n", type, settings);
    input_destroy(last_input);
    last_input = input_from_text(yaml, "test", NULL, 0);
    return stimulus_open(last_input, input_child(input_root(last_input), "stimulus"), where);
}

static stimulus *open_text(const char *settings, const stimulus_frame *where)
{
    return open_type("ran1_noise", settings, where);
}

enum { NY = 5, NX = 7, NT = 40 };
static const stimulus_frame field = {NY, NX, 10, 0.01, NT, 1};

/* Boards of the generator itself, all frames: board[t][y][x]. */
enum { BX = 11, BY = 9 };
static unsigned char board[NT + 8][BY][BX];
static void draw_boards(int32_t seed, bool x_slow)
{
    ran1 r;
    ran1_start(&r, seed);
    for (int t = 0; t < NT + 8; t++) {
        for (int i = 0; i < BX * BY; i++) {
            int x = x_slow ? i / BY : i % BX, y = x_slow ? i % BY : i / BX;
            board[t][y][x] = ran1_high(&r);
        }
    }
}

static bool frame_is(stimulus *s, int64_t step, int y0, int x0, const unsigned char b[BY][BX], double white, double black)
{
    real seen[NY][NX];
    stimulus_render(s, step, 1, 0, 0, NY, NX, &seen[0][0], NY * NX, NX);
    bool equal = true;
    for (int y = 0; y < NY; y++) {
        for (int x = 0; x < NX; x++) {
            bool on = y + y0 < BY && x + x0 < BX;
            equal = equal && seen[y][x] == (real)(!on ? 0.5 : b[y + y0][x + x0] ? white : black);
        }
    }
    return equal;
}

static void boards(void)
{
    draw_boards(-10000, true);
    stimulus *s = open_text("running_seed: -10000, checks: [11, 9], window: [3, 2], order: xy", &field);
    CHECK(s && stimulus_bytes(s) == NT * 5); /* 35 checks of a frame; no picture is expected yet */
    CHECK(s && frame_is(s, 0, 2, 3, board[0], 1, 0) && frame_is(s, 39, 2, 3, board[39], 1, 0) && frame_is(s, 7, 2, 3, board[7], 1, 0));
    real beyond[2]; /* the board goes on where the field ends, and is drawn again for it; beyond the board all is mean */
    stimulus_render(s, 5, 1, 0, 7, 1, 2, beyond, 2, 2);
    CHECK(beyond[0] == (real)board[5][2][10] && beyond[1] == (real)0.5);
    CHECK(s && frame_is(s, 6, 2, 3, board[6], 1, 0));
    stimulus_close(s);
    draw_boards(-3, false);
    s = open_text("running_seed: -3, checks: [11, 9], window: [6, 1], first_frame: 8, contrast: 0.5", &field);
    CHECK(s && frame_is(s, 0, 1, 6, board[8], 0.75, 0.25) && frame_is(s, 39, 1, 6, board[47], 0.75, 0.25));
    stimulus_close(s);
    s = open_text("running_seed: -3, check: 0.2 deg, checks: [11, 9], rate: 50 Hz", &field); /* two pixels, two steps */
    real seen[NY][NX];
    stimulus_render(s, 7, 1, 0, 0, NY, NX, &seen[0][0], NY * NX, NX);
    CHECK(seen[4][6] == (real)board[3][2][3] && seen[2][1] == (real)board[3][1][0]);
    stimulus_close(s);
}

/* Trials of 3 running and 2 frozen frames: running ones go on, frozen ones begin again. */
static void trials(void)
{
    static unsigned char frozen[2][BY][BX];
    draw_boards(-20000, false);
    memcpy(frozen, board, sizeof frozen);
    draw_boards(-10000, false);
    stimulus *s = open_text("running_seed: -10000, frozen_seed: -20000, running_frames: 3, frozen_frames: 2, checks: [11, 9]", &field);
    for (int i = 0; s && i < NT; i++) {
        int t = i * 7 % NT, trial = t / 5, k = t % 5;
        CHECK(frame_is(s, t, 0, 0, k < 3 ? board[trial * 3 + k] : frozen[k - 3], 1, 0));
    }
    stimulus_close(s);
    s = open_text("running_seed: -10000, frozen_seed: -20000, frozen_frames: 2, checks: [11, 9]", &field); /* the frozen part alone */
    CHECK(s && frame_is(s, 3, 0, 0, frozen[1], 1, 0) && frame_is(s, 38, 0, 0, frozen[0], 1, 0));
    stimulus_close(s);
}

static void flicker(void)
{
    ran1 r;
    ran1_start(&r, -1000);
    stimulus *s = open_text("running_seed: -1000, distribution: gaussian, checks: [1, 1], contrast: 0.3", &field);
    for (int t = 0; s && t < NT; t++) {
        real seen[NY][NX];
        stimulus_render(s, t, 1, 0, 0, NY, NX, &seen[0][0], NY * NX, NX);
        CHECK_NEAR(seen[0][0], 0.5 + 0.15 * ran1_normal(&r), sizeof(real) == 4 ? 1e-7 : 1e-15, "rounding of the number kept");
        CHECK(seen[4][6] == seen[0][0]);
    }
    stimulus_close(s);
    CHECK(open_text("running_seed: -1, frozen_frames: 3", &field) == NULL && strstr(input_problem_text(last_input, 0), "frozen_seed"));
    CHECK(open_text("running_seed: 5", &field) == NULL && strstr(input_problem_text(last_input, 0), "running_seed"));
    CHECK(open_text("running_seed: -5, checks: [3, 3], window: [3, 0]", &field) == NULL && strstr(input_problem_text(last_input, 0), "corner"));
    CHECK(open_text("running_seed: -5, check: 0.05 deg", &field) == NULL && strstr(input_problem_text(last_input, 0), "smaller than a pixel"));
}

/* --- recordings (CHIASM_DATA/realdata, CHIASM_DATA/refdata) ------------------------------------------------------------------ */
static store *open_data(const char *name)
{
    char path[1024];
    const char *why;
    snprintf(path, sizeof path, "%s/%s", getenv("CHIASM_DATA"), name);
    store *s = store_open_read(path, &why);
    CHECK(s != NULL);
    return s;
}

/* Frames of 24 x 24 checks cut out of 200 x 150 of Liu et al. 2017: the first 600, exact. */
static void liu2017(void)
{
    enum { N = 600, SIDE = 24 };
    static unsigned char x[N][SIDE][SIDE];
    static real seen[N][SIDE][SIDE];
    const stimulus_frame where = {SIDE, SIDE, 10, 1 / 30.0, N, 1};
    store *file = open_data("realdata/liu2017/cell009.h5");
    CHECK(store_read(file, "/X", STORE_U8, (int64_t[]){0, 0, 0}, (int64_t[]){N, SIDE, SIDE}, x));
    store_close_read(file);
    stimulus *s = open_text("running_seed: -10000, checks: [200, 150], window: [73, 73], order: xy", &where);
    CHECK(s != NULL);
    stimulus_render(s, 0, N, 0, 0, SIDE, SIDE, &seen[0][0][0], SIDE * SIDE, SIDE);
    int differ = 0;
    for (int t = 0; t < N; t++) {
        for (int i = 0; i < SIDE * SIDE; i++) {
            differ += seen[t][i % SIDE][i / SIDE] != (real)x[t][i / SIDE][i % SIDE]; /* [frame][x][y] */
        }
    }
    CHECK(differ == 0);
    stimulus_close(s);
    static real read[N][SIDE][SIDE]; /* the frames of the file as a stimulus */
    char settings[600];
    snprintf(settings, sizeof settings, "file: '%s/realdata/liu2017/cell009.h5:/X', axes: txy", getenv("CHIASM_DATA"));
    s = open_type("dataset", settings, &where);
    CHECK(s && stimulus_nstep(s) == 36000);
    stimulus_render(s, 0, N, 0, 0, SIDE, SIDE, &read[0][0][0], SIDE * SIDE, SIDE);
    CHECK(memcmp(seen, read, sizeof seen) == 0);
    stimulus_close(s);
}

/* Bars of +-1, (bar, time) as HDF5 sees MATLAB's (time, bar). */
static void bars(void)
{
    enum { N = 2000, BARS = 24, FIRST = 290000 };
    static double stored[BARS][N];
    static real seen[N][BARS];
    const stimulus_frame where = {1, BARS, 10, 0.01, 294912, 1};
    char settings[600];
    store *file = open_data("realdata/544l029.p21_stc.mat");
    CHECK(store_read(file, "/stim", STORE_F64, (int64_t[]){0, FIRST}, (int64_t[]){BARS, N}, stored));
    store_close_read(file);
    snprintf(settings, sizeof settings, "file: '%s/realdata/544l029.p21_stc.mat:/stim', axes: xt, black: -1", getenv("CHIASM_DATA"));
    stimulus *s = open_type("dataset", settings, &where);
    CHECK(s != NULL);
    stimulus_render(s, FIRST, N, 0, 0, 1, BARS, &seen[0][0], BARS, BARS);
    int differ = 0;
    for (int i = 0; i < N * BARS; i++) {
        differ += seen[i / BARS][i % BARS] != (real)(stored[i % BARS][i / BARS] > 0);
    }
    CHECK(differ == 0);
    stimulus_close(s);
}

/* Spike-triggered sums of lnln.h5: 12 x 12 checks of +-1, 15 lags, exact whole numbers. */
static void spike_triggered_sum(void)
{
    enum { N = 200000, P = 144, LAGS = 15 };
    static unsigned char count[N];
    static signed char frame[LAGS][P];
    static int64_t sum[LAGS][P], given[LAGS][P];
    store *file = open_data("refdata/cnn-retina/lnln.h5");
    CHECK(store_read(file, "/lnln_counts", STORE_U8, (int64_t[]){0}, (int64_t[]){N}, count));
    CHECK(store_read(file, "/lnln_sta_sum", STORE_I64, NULL, NULL, given));
    store_close_read(file);
    ran1 r;
    ran1_start(&r, -10000);
    for (int t = 0; t < N; t++) {
        for (int i = 0; i < P; i++) {
            frame[t % LAGS][i] = ran1_high(&r) ? 1 : -1;
        }
        for (int lag = 0; count[t] > 0 && lag < LAGS && lag <= t; lag++) {
            for (int i = 0; i < P; i++) {
                sum[lag][i] += count[t] * frame[(t - lag) % LAGS][i];
            }
        }
    }
    CHECK(memcmp(sum, given, sizeof sum) == 0);
}

/* 41 trials of 1,800 running and 600 frozen frames of Gaussian flicker. */
static void ggnb(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/realdata/ggnb_data_LN_model/stimulus_fullfieldnoise.txt", getenv("CHIASM_DATA"));
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    ran1 running, frozen;
    ran1_start(&running, -1000);
    double most = 0, value = 0;
    for (int t = 0; f && t < 41 * 2400; t++) {
        if (t % 2400 == 1800) {
            ran1_start(&frozen, -10000);
        }
        if (fscanf(f, "%lf", &value) != 1) {
            value = INFINITY;
        }
        most = fmax(most, fabs(value - ran1_normal(t % 2400 < 1800 ? &running : &frozen)));
    }
    CHECK_NEAR(most, 0, 6e-15, "15 digits in the file");
    if (f) {
        fclose(f);
    }
}

static void recordings(void)
{
    if (!getenv("CHIASM_DATA")) {
        printf("skipped: no data (CHIASM_DATA) ... ");
    } else {
        int argc = 0;
        char **argv = NULL;
        comm_start(&argc, &argv);
        liu2017();
        bars();
        spike_triggered_sum();
        ggnb();
        comm_finish();
    }
    input_destroy(last_input);
}

TEST_MAIN("ran1", {"definition", definition}, {"published", published}, {"boards", boards}, {"trials", trials}, {"flicker", flicker},
          {"recordings", recordings})

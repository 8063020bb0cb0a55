/* test_stimulus.c - every type gives the same bits however it is asked; closed forms; files; bad input. */
#include "base/memory.h"
#include "base/threads.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "input/stimulus_own.h"
#include "test.h"
#include <png.h>
#include <unistd.h>

#define ROUNDING "one operation in real on numbers of order 1"
static const double eps = sizeof(real) == 4 ? 2e-7 : 1e-12;

enum { NY = 21, NX = 34, NT = 12 };
static const stimulus_frame field = {NY, NX, 8, 0.01, NT, 77};
static char folder[] = "/tmp/chiasm_stimulusXXXXXX";
static char scratch[4096];

static const char *text_of(const char *fmt, const char *a)
{
    snprintf(scratch, sizeof scratch, fmt, a, a, a, a);
    return scratch;
}

static input *last_input;
static stimulus *open_text(const char *yaml, const stimulus_frame *where)
{
    input_destroy(last_input);
    last_input = input_from_text(yaml, "test", NULL, 0);
    return stimulus_open(last_input, input_child(input_root(last_input), "stimulus"), where);
}

static bool problem_has(const char *part)
{
    for (int i = 0; i < input_nproblem(last_input); i++) {
        if (strstr(input_problem_text(last_input, i), part)) {
            return true;
        }
    }
    printf("\n    no problem has '%s'; first: %s", part, input_nproblem(last_input) ? input_problem_text(last_input, 0) : "none");
    return false;
}

static double value_at(stimulus *s, int64_t step, int y, int x)
{
    real v;
    stimulus_render(s, step, 1, y, x, 1, 1, &v, 1, 1);
    return (double)v;
}

static void write_npy(const char *path, const char *descr, const char *shape, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    char head[118];
    int n = snprintf(head, sizeof head, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    memset(head + n, ' ', sizeof head - (size_t)n);
    head[117] = '\n';
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f);
    fwrite(head, 1, 118, f);
    fwrite(data, 1, bytes, f);
    fclose(f);
}

enum { FT = 12, FY = 9, FX = 14 };
static float film_value(int t, int y, int x)
{
    return (float)((t * 31 + y * 7 + x * 3) % 200);
}

/* film.npy, film.h5 (time, x, y), picture.png, movie.mkv in a folder of their own. */
static void make_files(void)
{
    static float film[FT][FY][FX], turned[FT][FX][FY];
    for (int t = 0; t < FT; t++) {
        for (int y = 0; y < FY; y++) {
            for (int x = 0; x < FX; x++) {
                film[t][y][x] = turned[t][x][y] = film_value(t, y, x);
            }
        }
    }
    CHECK(mkdtemp(folder) != NULL);
    CHECK(chdir(folder) == 0);
    write_npy("film.npy", "<f4", "12, 9, 14", film, sizeof film);
    film[3][2][1] = NAN;
    write_npy("nan.npy", "<f4", "12, 9, 14", film, sizeof film);
    write_npy("short.npy", "<f4", "13, 9, 14", film, sizeof film);
    int argc = 0;
    char **argv = NULL;
    comm_start(&argc, &argv);
    store *s = store_create("film.h5", true);
    store_define_values(s, "/film", STORE_F32, 3, (int64_t[]){FT, FX, FY}, "", turned);
    store_begin(s);
    store_close(s);
    unsigned char rgb[FY][FX][3];
    for (int y = 0; y < FY; y++) {
        for (int x = 0; x < FX; x++) {
            rgb[y][x][0] = (unsigned char)(20 * y);
            rgb[y][x][1] = (unsigned char)(15 * x);
            rgb[y][x][2] = 100;
        }
    }
    png_image png = {.version = PNG_IMAGE_VERSION, .width = FX, .height = FY, .format = PNG_FORMAT_RGB};
    CHECK(png_image_write_to_file(&png, "picture.png", 0, rgb, 0, NULL));
    CHECK(system("ffmpeg -v error -y -f lavfi -i testsrc2=size=64x48:rate=50:duration=1 -c:v ffv1 movie.mkv") == 0);
}

/* One input for each type, in the order of stimulus_types. */
static const char *const each_type[] = {
    "level: 0.25",
    "orientation: 30 deg, spatial_frequency: 0.7 /deg, phase: 20 deg, contrast: 0.8",
    "direction: [20 deg, 110 deg], width: 0.4 deg, length: 1.1 deg, speed: 40 deg/s",
    "levels: [0, 1, 0.3], durations: [20 ms, 30 ms, 10 ms]",
    "sweep_time: 1 s",
    "rate: 50 Hz, epoch: 60 ms",
    "check: 0.3 deg, rate: 40 Hz, distribution: gaussian, contrast: 0.3, running_frames: 2, frozen_frames: 1",
    "square: 0.5 deg, rate: 50 Hz, count: 3",
    "temporal: drifting, waves: 40",
    "count: 30, coherence: 0.5, life: 50 ms, speed: 10 deg/s",
    "collision: 0.1 s, l_over_v: 20 ms",
    "file: movie.mkv",
    "file: picture.png, size: 5 deg, outside: 0.1",
    "file: film.h5:/film, axes: txy, range: 255",
    "file: film.npy, range: 255, size: [1 deg, 0.5 deg], outside: replicate",
    "file: picture.png, period: 40 ms, drift: 0.1",
    "running_seed: -1000, frozen_seed: -7, running_frames: 2, frozen_frames: 1, rate: 40 Hz, check: 0.3 deg, checks: [20, 9], window: [2, 1], "
    "order: xy",
};

/* Kinds of some of them that are drawn or kept otherwise; numbered on from the types. */
static const struct {
    int type;
    const char *settings;
} more_types[] = {
    {1, "kind: static, waveform: square"},
    {1, "kind: counterphase, orientation: 70 deg"},
    {2, "speed: 400 deg/s, width: 3 deg"},
    {6, "check: 0.125 deg, rate: 100 Hz"},
    {6, "check: 0.125 deg, rate: 100 Hz, distribution: gaussian, clip: false"},
    {8, "waves: 33, rate: 40 Hz, clip: false"},
    {15, "file: picture.png, period: 50 ms"},
    {16, "running_seed: -1000, distribution: gaussian, contrast: 0.3, first_frame: 5"},
};
enum { NMORE = sizeof more_types / sizeof more_types[0] };

static stimulus *open_type_in(int i, const char *more, const stimulus_frame *where)
{
    char yaml[512];
    bool is_type = i < stimulus_ntype;
    snprintf(yaml, sizeof yaml, "stimulus: {type: %s, %s%s}\n", stimulus_types[is_type ? i : more_types[i - stimulus_ntype].type]->name,
             is_type ? each_type[i] : more_types[i - stimulus_ntype].settings, more);
    stimulus *s = open_text(yaml, where);
    if (!s) {
        printf("\n    %s: %s", yaml, input_nproblem(last_input) ? input_problem_text(last_input, 0) : "?");
    }
    return s;
}

static stimulus *open_type(int i, const char *more)
{
    return open_type_in(i, more, &field);
}

/* Whole and once; tiles, single pixels, chunks, steps in any order, a second opening: equal bits.  A rim of 3 pixels lies outside. */
static void same_bits_of(int type, const char *more)
{
    enum { R = 3, H = NY + 2 * R, W = NX + 2 * R };
    static real whole[NT][H][W], piece[NT][H][W];
    memset(whole, 0xff, sizeof whole);
    memset(piece, 0xff, sizeof piece);
    stimulus *s = open_type(type, more);
    CHECK(s != NULL);
    if (!s) {
        return;
    }
    stimulus_render(s, 0, NT, -R, -R, H, W, &whole[0][0][0], H * W, W);
    stimulus_close(s);
    s = open_type(type, more);
    for (int t = NT - 5; t >= 0; t -= 7) { /* chunks of 5 and 7, backwards */
        int nt = t == NT - 5 ? 5 : 7;
        for (int y = 0; y < H; y += 8) {
            for (int x = 0; x < W; x += 13) {
                int ny = H - y < 8 ? H - y : 8, nx = W - x < 13 ? W - x : 13;
                stimulus_render(s, t, nt, y - R, x - R, ny, nx, &piece[t][y][x], H * W, W);
            }
        }
    }
    CHECK(memcmp(whole, piece, sizeof whole) == 0);
    bool equal = true, finite = true;
    for (int i = 0; i < 150; i++) {
        int t = i * 7 % NT, y = i * 5 % H, x = i * 11 % W;
        equal = equal && value_at(s, t, y - R, x - R) == (double)whole[t][y][x];
        finite = finite && isfinite(whole[t][y][x]);
    }
    CHECK(equal);
    CHECK(finite);
    if (!equal || memcmp(whole, piece, sizeof whole) != 0) {
        printf("\n    %d%s", type, more);
    }
    CHECK(stimulus_describe(s)[0] != 0);
    stimulus_close(s);
}

static void same_bits(void)
{
    make_files();
    CHECK(sizeof each_type / sizeof each_type[0] == (size_t)stimulus_ntype);
    for (int i = 0; i < stimulus_ntype + NMORE; i++) {
        same_bits_of(i, "");
        same_bits_of(i, ", mask: {shape: circle, radius: 1 deg, smooth: 0.5 deg, background: 0.2, centre: [0.3 deg, 0.1 deg]}");
    }
}

/* A field of several pieces: for 1 thread and 3, whole and once; twice by the same stimulus; in chunks of 7 and 5 and two rectangles, called for one by
 * one and both at once. */
static void same_bits_over_threads(void)
{
    enum { H = 300, W = 250, LEFT = 113 };
    static real one[NT][H][W], three[NT][H][W];
    const stimulus_frame large = {H, W, 8, 0.01, NT, 77};
    for (int i = 0; i < 2 * (stimulus_ntype + NMORE); i++) {
        const char *mask = i % 2 ? ", mask: {shape: circle, radius: 14 deg, smooth: 5 deg, background: 0.2}" : "";
        threads_use(1);
        stimulus *s = open_type_in(i / 2, mask, &large);
        CHECK(s != NULL);
        memset(one, 0xff, sizeof one);
        stimulus_render(s, 0, NT, 0, 0, H, W, &one[0][0][0], H * W, W);
        stimulus_close(s);
        threads_use(3);
        s = open_type_in(i / 2, mask, &large);
        for (int again = 0; again < 2; again++) {
            memset(three, 0xff, sizeof three);
            stimulus_render(s, 0, NT, 0, 0, H, W, &three[0][0][0], H * W, W);
            CHECK(memcmp(one, three, sizeof one) == 0);
        }
        for (int at_once = 0; at_once < 2; at_once++) {
            memset(three, 0xff, sizeof three);
            for (int t = 0; t < NT; t += 7) {
                int nt = NT - t < 7 ? NT - t : 7;
                const stimulus_rect rect[] = {
                    {0, 0, H, LEFT, &three[t][0][0], H * W, W}, {0, 0, 0, 9, NULL, 0, 0}, {0, LEFT, H, W - LEFT, &three[t][0][LEFT], H * W, W}};
                for (int r = 0; r < 3; r += at_once ? 3 : 1) {
                    stimulus_render_all(s, t, nt, &rect[r], at_once ? 3 : 1);
                }
            }
            CHECK(memcmp(one, three, sizeof one) == 0);
        }
        const real *first = &one[0][0][0];
        bool equal = true, varies = false, hidden = i / 2 == 0 || i / 2 == 2 || i / 2 == 4; /* uniform; a bar outside, the black before a chirp */
        for (int k = 0; k < 100; k++) { /* single pixels are one piece each */
            int t = k * 5 % NT, y = k * 37 % H, x = k * 53 % W;
            equal = equal && value_at(s, t, y, x) == (double)one[t][y][x];
        }
        for (int64_t k = 0; k < (int64_t)NT * H * W && !varies; k++) {
            varies = first[k] != first[0];
        }
        CHECK(equal);
        CHECK(varies || (!mask[0] && hidden)); /* something is seen, a mask if nothing else */
        if (!equal || memcmp(one, three, sizeof one) != 0) {
            printf("\n    %d%s", i / 2, mask);
        }
        stimulus_close(s);
    }
    threads_use(1);
}

static void tables(void)
{
    for (int i = 0; i < stimulus_ntype; i++) {
        for (int k = 0; k < stimulus_types[i]->nkey; k++) {
            CHECK(stimulus_types[i]->keys[k].name != NULL && stimulus_types[i]->keys[k].help != NULL);
        }
        bool found = false;
        for (int t = 0; t < stimulus_ntopic; t++) {
            found = found || (strcmp(stimulus_topics[t].name, stimulus_types[i]->name) == 0 && stimulus_topics[t].keys == stimulus_types[i]->keys);
        }
        CHECK(found);
    }
}

static void closed_forms(void)
{
    stimulus *s = open_type(1, "");
    for (int i = 0; i < 50; i++) {
        int t = i % NT, y = i * 3 % NY, x = i * 5 % NX;
        double xd = (x - 16.5) / 8, yd = -(y - 10.0) / 8, u = xd * cos(M_PI / 6) + yd * sin(M_PI / 6);
        CHECK_NEAR(value_at(s, t, y, x), 0.5 + 0.4 * sin(2 * M_PI * (0.7 * u - 4 * 0.01 * t) + M_PI / 9), eps, ROUNDING);
    }
    stimulus_close(s);
    s = open_type(3, "");
    const double levels[NT] = {0, 0, 1, 1, 1, 0.3, 0, 0, 1, 1, 1, 0.3};
    for (int t = 0; t < NT; t++) {
        CHECK_NEAR(value_at(s, t, 4, 4), levels[t], eps, ROUNDING);
    }
    stimulus_close(s);

    stimulus_frame slow = {NY, NX, 8, 1.0 / 60, 33 * 60, 1}; /* Euler's chirp at its 60 Hz */
    s = open_text("stimulus: {type: chirp}\n", &slow);
    CHECK(s != NULL);
    const double at_s[] = {1.9, 2, 4.9, 5, 8, 9.9, 33 - 3};
    const double level[] = {0, 1, 1, 0, 0.5, 0.5, 0};
    for (int i = 0; i < 7; i++) {
        CHECK_NEAR(value_at(s, (int64_t)round(at_s[i] * 60), 0, 0), level[i], eps, ROUNDING);
    }
    CHECK_NEAR(value_at(s, 13 * 60 + 20, 0, 0), 0.5 + 0.5 * sin(M_PI * (10 / 3.0) * (10 / 3.0)), 1e-6, "parts begin 1 ns early");
    CHECK_NEAR(value_at(s, 24 * 60 + 7, 0, 0), 0.5 + 0.5 * ((4 + 7 / 60.0) / 8) * sin(4 * M_PI * (4 + 7 / 60.0)), 1e-6, "same");
    stimulus_close(s);

    s = open_text("stimulus: {type: looming, collision: 0.1 s, l_over_v: 1 ms, level: 1, background: 0}\n", &field);
    double area = 0, radius = atan(0.001 / 0.08) * 180 / M_PI; /* 0.72 deg at 20 ms: within the field */
    for (int y = 0; y < NY; y++) {
        for (int x = 0; x < NX; x++) {
            area += value_at(s, 2, y, x) / 64;
        }
    }
    CHECK_NEAR(area, M_PI * radius * radius, 0.02 * area, "edges of one pixel on a disc of 92 pixels");
    stimulus_close(s);
}

/* Statistics over many frames: mean, sd, independence; spectral slope is in the variance of differences. */
static void noise(void)
{
    stimulus_frame one = {16, 16, 10, 0.01, 0, 5};
    stimulus *s = open_text("stimulus: {type: checkerboard, check: 0.1 deg, rate: 100 Hz, contrast: 0.6}\n", &one);
    double sum = 0, lag = 0;
    int n = 0;
    static real f[200][16][16];
    stimulus_render(s, 1000000007, 200, 0, 0, 16, 16, &f[0][0][0], 256, 16);
    for (int t = 0; t < 200; t++) {
        for (int y = 0; y < 16; y++) {
            for (int x = 0; x < 15; x++, n++) {
                double d = ((double)f[t][y][x] - 0.5) / 0.3;
                CHECK_NEAR(fabs(d), 1, 1e-6, "two levels only");
                sum += d;
                lag += d * ((double)f[t][y][x + 1] - 0.5) / 0.3;
            }
        }
    }
    CHECK_NEAR(sum / n, 0, 4.5 / sqrt(n), "4.5 standard errors");
    CHECK_NEAR(lag / n, 0, 4.5 / sqrt(n), "4.5 standard errors");
    stimulus_close(s);

    s = open_text("stimulus: {type: pink_noise, contrast: 0.1, clip: false, rate: 100 Hz}\n", &one);
    double square = 0;
    stimulus_render(s, 0, 200, 0, 0, 16, 16, &f[0][0][0], 256, 16);
    for (int t = 0; t < 200; t++) {
        double d = (double)f[t][5][5] - 0.5;
        square += d * d / 200;
    }
    CHECK_NEAR(sqrt(square), 0.05, 0.05 * 4.5 / sqrt(400), "4.5 standard errors of a sd from 200 frames");
    stimulus_close(s);
}

static void files(void)
{
    const char *const names[] = {"{type: npy, file: film.npy, range: 255}", "{type: dataset, file: film.h5:/film, axes: txy, range: 255}"};
    for (int i = 0; i < 2; i++) {
        char yaml[200];
        snprintf(yaml, sizeof yaml, "stimulus: %s\n", names[i]);
        stimulus *s = open_text(yaml, &field);
        CHECK(s && stimulus_nstep(s) == FT);
        for (int k = 0; s && k < 40; k++) {
            int t = k % FT, y = k * 5 % FY, x = k * 3 % FX;
            CHECK_NEAR(value_at(s, t, y + 6, x + 10), film_value(t, y, x) / 255, 1e-7, "float"); /* (21 - 9)/2, (34 - 14)/2 */
        }
        stimulus_close(s);
    }
    /* Area average: mean luminance of the whole picture survives when it is shown in 7 x 4.5 pixels. */
    stimulus *s = open_text("stimulus: {type: image, file: picture.png, size: 0.875 deg, outside: 0}\n", &field);
    double sum = 0, mean = (0.2126 * 20 * 4 + 0.7152 * 15 * 6.5 + 0.0722 * 100) / 255;
    for (int y = 0; s && y < NY; y++) {
        for (int x = 0; x < NX; x++) {
            sum += value_at(s, 0, y, x);
        }
    }
    CHECK_NEAR(sum, mean * 7 * 4.5, 1e-5, "float pixels of a PNG");
    stimulus_close(s);
}

/* Rendering allocates what was planned: exactly for pictures, a frame of the source and masks; a decoder's memory is libav's own. */
static void expected(void)
{
    static const char *const kinds[] = {"{type: npy, file: film.npy, mask: {shape: circle}}", "{type: image, file: picture.png}",
                                        "{type: checkerboard, rate: 25 Hz}", "{type: grating, kind: static}",
                                        "{type: pink_noise, rate: 20 Hz, waves: 16}", "{type: natural, file: picture.png, period: 40 ms}",
                                        "[{type: npy, file: film.npy, duration: 50 ms}, {type: checkerboard, rate: 25 Hz, check: 0.3 deg}]"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        stimulus *s = open_text(text_of("stimulus: %s\n", kinds[i]), &field);
        CHECK(s != NULL);
        if (!s) {
            continue;
        }
        stimulus_expect(s, 2, 3, 16, 24, 4);
        size_t planned = stimulus_bytes(s), before = memory_bytes_now();
        static real out[4][NY][NX];
        for (int t = 0; t < NT; t += 4) {
            for (int y = 2; y < 18; y += 8) {
                stimulus_render(s, t, 4, y, 3, 8, 24, &out[0][y][3], NY * NX, NX);
            }
        }
        double used = (double)(memory_bytes_now() - before);
        CHECK(used > 0);
        CHECK_NEAR(used, (double)planned, 4096, "tables of a line, lists of pictures and saccades");
        stimulus_close(s);
    }
    /* A rectangle that nobody expected is drawn all the same. */
    stimulus *s = open_text("stimulus: {type: npy, file: film.npy, range: 255}\n", &field);
    stimulus_expect(s, 2, 3, 4, 4, 4);
    CHECK_NEAR(value_at(s, 3, 6 + 5, 10 + 7), film_value(3, 5, 7) / 255, 1e-7, "float");
    CHECK_NEAR(value_at(s, 3, 6 + 2, 10 + 1), film_value(3, 2, 1) / 255, 1e-7, "float");
    stimulus_close(s);
}

/* A still eye sees the image; a saccade of known length moves it by that much at the known time. */
static void eye(void)
{
    static const char *const still[] = {"{type: image, file: picture.png, size: 6 deg}",
                                        "{type: natural, file: picture.png, size: 6 deg, period: 0 s}",
                                        "{type: natural, file: picture.png, size: 6 deg, period: 50 ms, amplitude: 1 deg, amplitude_sd: 0 deg, "
                                        "saccade_time: 20 ms, saccade_time_sd: 0 s}"};
    static real seen[3][NT][NY][NX];
    for (int i = 0; i < 3; i++) {
        char yaml[300];
        snprintf(yaml, sizeof yaml, "stimulus: %s\n", still[i]);
        stimulus *s = open_text(yaml, &field);
        CHECK(s != NULL);
        if (s) {
            stimulus_render(s, 0, NT, 0, 0, NY, NX, &seen[i][0][0][0], NY * NX, NX);
        }
        stimulus_close(s);
    }
    CHECK(memcmp(seen[0], seen[1], sizeof seen[0]) == 0);
    for (int t = 0; t < NT; t++) { /* jumps begin at 50 and 100 ms, go on for 2 steps, and rest */
        CHECK((memcmp(seen[2][t], seen[0][0], sizeof seen[0][0]) == 0) == (t <= 5));
        bool rests = t > 0 && memcmp(seen[2][t], seen[2][t - 1], sizeof seen[0][0]) == 0;
        CHECK(t == 0 || rests == (t <= 5 || (t >= 8 && t <= 10)));
    }
    /* The picture's luminance is linear in place, so the middle tells the way: |d| along the gradient is at most 1 deg. */
    double per_deg_x = FX / 6.0 * 15 * 0.7152 / 255, per_deg_y = FX / 6.0 * 20 * 0.2126 / 255;
    double moved = (double)seen[2][8][10][16] - (double)seen[0][0][10][16];
    CHECK(fabs(moved) <= hypot(per_deg_x, per_deg_y) + 1e-6 && moved != 0);
    double half = (double)seen[2][6][10][16] - (double)seen[0][0][10][16];
    CHECK_NEAR(half, moved / 2, 1e-6, "straight jumps at even speed; float pixels");
}

static void sequence(void)
{
    stimulus *s = open_text("stimulus:\n  - {type: uniform, level: 0.2, duration: 30 ms}\n"
                            "  - {type: flash, levels: [1, 0], durations: [10 ms]}\n", &field);
    const double level[] = {0.2, 0.2, 0.2, 1, 0, 1};
    for (int t = 0; s && t < 6; t++) {
        CHECK_NEAR(value_at(s, t, 0, 0), level[t], eps, ROUNDING);
    }
    CHECK(s && stimulus_nstep(s) == INT64_MAX);
    stimulus_close(s);
}

/* Arrays of other orders: bars as MATLAB has them, [x][t] of -1 and 1; frames of many blocks; text with one value a frame. */
static void orders(void)
{
    enum { BARS = 34, FRAMES = 40000 };
    static float bars[BARS][FRAMES];
    const stimulus_frame where = {1, BARS, 8, 0.01, FRAMES, 77};
    for (int x = 0; x < BARS; x++) {
        for (int t = 0; t < FRAMES; t++) {
            bars[x][t] = (x * 7 + t * 3) % 5 < 2 ? 1 : -1;
        }
    }
    write_npy("bars.npy", "<f4", "34, 40000", bars, sizeof bars);
    stimulus *s = open_text("stimulus: {type: npy, file: bars.npy, axes: xt, black: -1}\n", &where);
    static const int64_t steps[] = {0, 39999, 30840, 30839, 5};
    for (size_t i = 0; s && i < sizeof steps / sizeof steps[0]; i++) {
        CHECK(value_at(s, steps[i], 0, 3) == (bars[3][steps[i]] > 0) && value_at(s, steps[i], 0, 33) == (bars[33][steps[i]] > 0));
    }
    CHECK(s && stimulus_nstep(s) == FRAMES);
    stimulus_close(s);
    FILE *f = fopen("flicker.txt", "wb");
    for (int t = 0; t < NT; t++) {
        fprintf(f, "%d\n", t);
    }
    fclose(f);
    s = open_text("stimulus: {type: dataset, file: flicker.txt, axes: t, range: 20, size: [100 deg, 100 deg]}\n", &field);
    CHECK(s != NULL);
    CHECK_NEAR(s ? value_at(s, 7, 20, 33) : 0, 0.35, eps, ROUNDING);
    stimulus_close(s);
    CHECK(open_text("stimulus: {type: npy, file: bars.npy}\n", &where) == NULL && problem_has("tyx asks for 3"));
    CHECK(open_text("stimulus: {type: npy, file: bars.npy, axes: xt, black: 1}\n", &where) == NULL && problem_has("both 1"));
}

/* A frame that cannot be shown is told of, and nothing else is. */
static void bad_frame(void)
{
    stimulus *s = open_text("stimulus: {type: npy, file: nan.npy}\n", &field);
    CHECK(s && isfinite(value_at(s, 2, 8, 11)) && stimulus_broken(s) == NULL);
    CHECK(s && value_at(s, 3, 8, 11) == 0);
    const char *broken = s ? stimulus_broken(s) : NULL;
    CHECK(broken && strstr(broken, "nan.npy: frame 3: row 2, column 1 is nan"));
    stimulus_close(s);
}

static void bad_input(void)
{
    static const char *const bad[][2] = {
        {"{type: gratng}", "unknown word"}, {"{level: 1}", "type"}, {"{type: uniform, level: 2}", "level"}, {"{type: uniform, lvel: 1}", "lvel"},
        {"{type: movie, file: none.mp4}", "none.mp4"}, {"{type: image, file: film.npy}", "film.npy"}, {"{type: npy, file: short.npy}", "truncated"},
        {"{type: npy, file: picture.png}", "no .npy"}, {"{type: dataset, file: film.h5:/no}", "no dataset"},
        {"{type: dataset, file: no.h5:/f}", "no.h5"},
        {"{type: dataset, file: film.h5}", "names no dataset"}, {"{type: flash, levels: [0, 1, 0], durations: [1 s, 1 s]}", "one duration"},
        {"{type: npy, file: film.npy, duration: 1 s}", "ends after"}, {"[{type: uniform}, {type: uniform}]", "never ends"},
        {"{type: image, file: picture.png, outside: grey}", "outside"}, {"{type: uniform, duration: 10 ms}", "run lasts"},
        {"{type: checkerboard, check: 0.01 deg}", "smaller than a pixel"}, {"{type: grating, spatial_frequency: 1 Hz}", "spatial_frequency"},
        {"{type: chirp, mean: 0.8}", "amplitude"}, {"[]", "mapping"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stimulus *s = open_text(text_of("stimulus: %s\n", bad[i][0]), &field);
        CHECK(s == NULL);
        CHECK(problem_has(bad[i][1]));
        stimulus_close(s);
    }
    CHECK(open_text("nothing: 1\n", &field) == NULL);
    input_destroy(last_input);
    CHECK(system(text_of("rm -r %s", folder)) == 0);
    comm_finish();
}

TEST_MAIN("stimulus", {"same bits however asked", same_bits},
          {"same bits over threads", same_bits_over_threads}, {"tables", tables}, {"closed forms", closed_forms}, {"noise", noise},
          {"files", files}, {"expected", expected}, {"eye", eye}, {"sequence", sequence}, {"orders", orders}, {"bad frame", bad_frame},
          {"bad input", bad_input})

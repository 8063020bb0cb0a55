/* test_response.c - every layout that is read, each in a small file whose numbers are known; recordings when CHIASM_DATA names their folder. */
#include <math.h>
#include <unistd.h>

#include "base/memory.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "input/response_own.h"
#include "test.h"

static char folder[] = "/tmp/chiasm_responseXXXXXX";
static input *last_input;

static response *open_text(const char *yaml, double step_s, int64_t nstep)
{
    input_destroy(last_input);
    last_input = input_from_text(yaml, "test", NULL, 0);
    response *r = response_open(last_input, input_child(input_root(last_input), "response"), step_s, nstep);
    if (!r) {
        printf("\n    %s: %s", yaml, input_nproblem(last_input) ? input_problem_text(last_input, 0) : "?");
    }
    return r;
}

static bool shape_is(const response *r, int64_t nstep, int64_t ncell, int64_t ntrial, bool counts)
{
    response_info i = r ? response_look(r) : (response_info){0};
    bool good = r && i.nstep == nstep && i.ncell == ncell && i.ntrial == ntrial && i.counts == counts;
    if (r && !good) {
        printf("\n    %s", response_describe(r));
    }
    return good;
}

static double one(response *r, int64_t trial, int64_t step, int64_t cell)
{
    double v = -1;
    response_read(r, trial, step, 1, cell, 1, &v);
    return v;
}

static double sum_of(response *r, int64_t cell)
{
    double sum = 0;
    for (int64_t t = 0; t < response_look(r).nstep; t++) {
        sum += one(r, 0, t, cell);
    }
    return sum;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "wb");
    fputs(text, f);
    fclose(f);
}

/* Count of cell c in trial k, step t: known everywhere. */
enum { NT = 7, NCELL = 3, NTRIAL = 4 };
static double value(int cell, int trial, int step)
{
    return cell * 100 + trial * 10 + step;
}

/* The same numbers in the orders of the published layouts. */
static void make_arrays(void)
{
    static double tk[NT][NTRIAL], ct[NCELL][NT], ckt[NCELL][NTRIAL][NT], kct[NTRIAL][NCELL][NT], kt[NTRIAL][NT];
    static double segments[NTRIAL][NT], half[NT];
    static unsigned char whole[NT];
    for (int t = 0; t < NT; t++) {
        half[t] = t + 0.5;
        whole[t] = (unsigned char)t;
        for (int k = 0; k < NTRIAL; k++) {
            tk[t][k] = kt[k][t] = value(0, k, t);
            segments[k][t] = k * NT + t;
            for (int c = 0; c < NCELL; c++) {
                ct[c][t] = value(c, 0, t);
                ckt[c][k][t] = kct[k][c][t] = value(c, k, t);
            }
        }
    }
    int64_t dtk[] = {NT, NTRIAL}, dct[] = {NCELL, NT}, dckt[] = {NCELL, NTRIAL, NT}, dkct[] = {NTRIAL, NCELL, NT};
    int64_t dt1[] = {NT, 1}, dkt[] = {NTRIAL, NT};
    store *s = store_create("arrays.h5", true);
    store_define_values(s, "/y", STORE_F64, 2, dtk, "", tk);
    store_define_values(s, "/r", STORE_F64, 2, dt1, "Hz", half);
    store_define_values(s, "/whole", STORE_U8, 1, dt1, "", whole);
    store_define_values(s, "/train/response/firing_rate_10ms", STORE_F64, 2, dct, "Hz", ct);
    store_define_values(s, "/test/repeats/firing_rate_10ms", STORE_F64, 3, dkct, "Hz", kct);
    store_define_values(s, "/images", STORE_F64, 3, dckt, "", ckt);
    store_define_values(s, "/segments", STORE_F64, 2, dkt, "", segments);
    for (int c = 0; c < NCELL; c++) {
        char name[64];
        for (int k = 0; k < NTRIAL; k++) {
            for (int t = 0; t < NT; t++) {
                kt[k][t] = value(c, k, t);
            }
        }
        snprintf(name, sizeof name, "/test/repeats/cell%02d", c + 1);
        store_define_values(s, name, STORE_F64, 2, dkt, "Hz", kt);
    }
    store_begin(s);
    store_close(s);
}

static void check_values(response *r)
{
    response_info i = response_look(r);
    bool equal = true;
    for (int64_t c = 0; c < i.ncell; c++) {
        for (int64_t k = 0; k < i.ntrial; k++) {
            for (int64_t t = 0; t < i.nstep; t++) {
                equal = equal && one(r, k, t, c) == value((int)c, (int)k, (int)t);
            }
        }
    }
    CHECK(equal);
    double some[NT * NCELL]; /* many at once; the mean over trials */
    response_read(r, -1, 1, i.nstep - 1, i.ncell - 1, 1, some);
    CHECK_NEAR(some[2], value((int)i.ncell - 1, 0, 3) + 10 * ((double)i.ntrial - 1) / 2, 1e-12, "mean of whole numbers");
}

static void arrays(void)
{
    int argc = 0;
    char **argv = NULL;
    comm_start(&argc, &argv);
    CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
    make_arrays();
    static const struct {
        const char *yaml;
        int ncell, ntrial;
        bool counts;
    } all[] = {
        {"source: arrays.h5:/y, axes: [time, trial]", 1, NTRIAL, true},
        {"source: arrays.h5:/y, axes: [time, cell], cells: [0], values: rates", 1, 1, false},
        {"source: arrays.h5:/train/response/firing_rate_10ms, axes: [cell, time], values: rates", NCELL, 1, false},
        {"source: arrays.h5:/test/repeats/firing_rate_10ms, axes: [trial, cell, time]", NCELL, NTRIAL, true},
        {"source: arrays.h5:/images, axes: [cell, trial, time]", NCELL, NTRIAL, true},
        {"source: 'arrays.h5:/test/repeats/cell{01..03}', axes: [trial, time]", NCELL, NTRIAL, true},
        {"source: 'arrays.h5:/test/repeats/cell{01,02}', axes: [trial, time], cells: ['01', '02']", 2, NTRIAL, true},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "response: {%s}\n", all[i].yaml);
        response *r = open_text(yaml, 0.01, 0);
        CHECK(shape_is(r, NT, all[i].ncell, all[i].ntrial, all[i].counts));
        if (r) {
            check_values(r);
        }
        response_close(r);
    }
}

/* One dimension, a second of length 1, whole numbers by type, segments that follow each other, a shorter run, shift, clip and scale. */
static void conventions(void)
{
    response *r = open_text("response: {source: arrays.h5:/r}\n", 0.01, 0);
    CHECK(shape_is(r, NT, 1, 1, false) && one(r, 0, 3, 0) == 3.5 && response_cell_name(r, 0) == NULL);
    response_close(r);
    r = open_text("response: {source: arrays.h5:/whole, clip_counts: true}\n", 0.01, 5);
    CHECK(shape_is(r, 5, 1, 1, true) && one(r, 0, 0, 0) == 0 && one(r, 0, 3, 0) == 1);
    response_close(r);
    r = open_text("response: {source: arrays.h5:/r, scale: 0.01}\n", 0.01, 0);
    CHECK(shape_is(r, NT, 1, 1, false));
    CHECK_NEAR(r ? one(r, 0, 3, 0) : 0, 0.035, 1e-16, "one product");
    response_close(r);
    r = open_text("response: {source: arrays.h5:/segments, axes: [time, time], shift: 2}\n", 0.01, 0);
    CHECK(shape_is(r, NT * NTRIAL, 1, 1, true) && one(r, 0, 6, 0) == 8 && one(r, 0, 0, 0) == 2 && isnan(one(r, 0, NT * NTRIAL - 2, 0)));
    response_close(r);
    r = open_text("response: {source: arrays.h5:/segments, axes: [time, time], shift: -2}\n", 0.01, 0);
    CHECK(r && isnan(one(r, 0, 1, 0)) && one(r, 0, 2, 0) == 0);
    response_close(r);
    r = open_text("response: {source: arrays.h5:/y, axes: [time, trial], skip_trials: 1}\n", 0.01, 0);
    CHECK(shape_is(r, NT, 1, NTRIAL - 1, true) && one(r, 0, 3, 0) == value(0, 1, 3));
    response_close(r);
}

/* Trials of 4 new and 3 repeated steps in a row of 28: step s holds the number s. */
static void parts(void)
{
#define TRIALS "response: {source: arrays.h5:/segments, axes: [time, time], running_steps: 4, frozen_steps: 3, "
    response *r = open_text(TRIALS "part: running}\n", 0.01, 0);
    CHECK(shape_is(r, 16, 1, 1, true) && one(r, 0, 3, 0) == 3 && one(r, 0, 4, 0) == 7 && one(r, 0, 15, 0) == 24);
    response_close(r);
    r = open_text(TRIALS "part: frozen, skip_trials: 1}\n", 0.01, 0);
    CHECK(shape_is(r, 3, 1, 3, true) && one(r, 0, 0, 0) == 11 && one(r, 2, 2, 0) == 27 && one(r, -1, 1, 0) == 19);
    response_close(r);
    r = open_text(TRIALS "part: running, skip_trials: 2}\n", 0.01, 0);
    CHECK(shape_is(r, 16, 1, 1, true) && isnan(one(r, 0, 7, 0)) && one(r, 0, 8, 0) == 14);
    response_close(r);
    r = open_text(TRIALS "part: all, shift: 1}\n", 0.01, 0);
    CHECK(shape_is(r, 28, 1, 1, true) && one(r, 0, 4, 0) == 5);
    response_close(r);
}

/* Text: values, times of one cell a file, lines of cell and time; a time at the begin of a step belongs to it, rounding or not. */
static void text(void)
{
    write_file("values.txt", "# counts\n0 1\n2, 3\n\n4; 5\n");
    write_file("c1.txt", "0.05\n0.3\n0.31\n0.39\n0.75\n");
    write_file("c2.txt", "0.1\n-0.2\n");
    write_file("pairs.txt", "7 0.05\n3 0.3\n7 0.06\n");
    write_file("frames.txt", "0\n0.2\n0.35\n0.6\n");
    response *r = open_text("response: {source: values.txt, axes: [time, cell]}\n", 0.1, 0);
    CHECK(shape_is(r, 3, 2, 1, true) && one(r, 0, 1, 1) == 3 && one(r, 0, 2, 0) == 4);
    response_close(r);
    r = open_text("response: {source: 'c{1..2}.txt', values: spike_times}\n", 0.1, 9);
    CHECK(shape_is(r, 9, 2, 1, true) && one(r, 0, 3, 0) == 3 && one(r, 0, 0, 0) == 1 && one(r, 0, 2, 0) == 0 && sum_of(r, 0) == 5);
    CHECK(r && sum_of(r, 1) == 1 && one(r, 0, 1, 1) == 1 && strcmp(response_cell_name(r, 1), "2") == 0);
    response_close(r);
    r = open_text("response: {source: 'c{1..2}.txt', values: spike_times, cells: [2], start: -0.2 s}\n", 0.1, 0);
    CHECK(shape_is(r, 10, 1, 1, true) && one(r, 0, 0, 0) == 1 && one(r, 0, 3, 0) == 1);
    response_close(r);
    r = open_text("response: {source: 'c{1..2}.txt', values: spike_times, frame_times: frames.txt}\n", 0.1, 0);
    CHECK(shape_is(r, 4, 2, 1, true) && one(r, 0, 0, 0) == 1 && one(r, 0, 1, 0) == 2 && one(r, 0, 2, 0) == 1 && one(r, 0, 3, 0) == 1);
    response_close(r);
    r = open_text("response: {source: 'c{1..2}.txt', values: spike_times, files: trial, unit: ms}\n", 1e-4, 8);
    CHECK(shape_is(r, 8, 1, 2, true) && one(r, 0, 3, 0) == 3 && one(r, 1, 1, 0) == 1 && one(r, -1, 3, 0) == 1.5);
    response_close(r);
    r = open_text("response: {source: 'c{1..2}.txt', values: spike_times, files: time, segment_steps: 8}\n", 0.1, 0);
    CHECK(shape_is(r, 16, 1, 1, true) && one(r, 0, 9, 0) == 1 && one(r, 0, 3, 0) == 3);
    response_close(r);
    r = open_text("response: {source: pairs.txt, values: cell_spike_times}\n", 0.1, 0);
    CHECK(shape_is(r, 4, 2, 1, true) && one(r, 0, 3, 0) == 1 && one(r, 0, 0, 1) == 2 && strcmp(response_cell_name(r, 1), "7") == 0);
    response_close(r);
}

/* MATLAB v7.3: 512 bytes in front, dimensions reversed, cell arrays as references, empty arrays as their shape; NWB 2 units; NumPy. */
static void python_files(void)
{
    write_file("make.py",
               "import h5py, numpy as np\n"
               "with h5py.File('cell.mat', 'w', userblock_size=512) as f:\n"
               "    f['counts'] = np.arange(6.0).reshape(6, 1)\n"
               "    lists = [np.array([[1.0], [12.0], [12.5]]), np.array([[3.0]]), np.array([0, 0], 'u8'), np.array([[29.0], [31.0]])]\n"
               "    refs = f.create_dataset('spk', (4, 1), dtype=h5py.ref_dtype)\n"
               "    for i, l in enumerate(lists):\n"
               "        d = f.create_dataset('#refs#/%c' % (97 + i), data=l)\n"
               "        if l.dtype == np.uint64: d.attrs['MATLAB_empty'] = np.uint8(1)\n"
               "        refs[i, 0] = d.ref\n"
               "    f['frames'] = np.array([[0.0, 10.0, 20.0]])\n"
               "with open('cell.mat', 'r+b') as f: f.write(b'MATLAB 7.3 MAT-file')\n"
               "with h5py.File('session.nwb', 'w') as f:\n"
               "    f['units/spike_times'] = np.array([0.01, 0.31, 0.02, 0.11, 0.12])\n"
               "    f['units/spike_times_index'] = np.array([2, 2, 5], 'u1')\n"
               "    f['units/id'] = np.array([12, 15, 17])\n"
               "np.save('counts.npy', np.arange(24, dtype='i4').reshape(2, 3, 4))\n");
    const char *python = getenv("CHIASM_PYTHON");
    char command[512];
    snprintf(command, sizeof command, "%s make.py", python ? python : "python3");
    CHECK(system(command) == 0);
    response *r = open_text("response: {source: cell.mat:/counts}\n", 0.01, 0);
    CHECK(shape_is(r, 6, 1, 1, true) && one(r, 0, 4, 0) == 4);
    response_close(r);
    r = open_text("response: {source: cell.mat:/spk, axes: [time, one], frame_times: cell.mat:/frames, unit: ms}\n", 0.01, 0);
    CHECK(shape_is(r, 12, 1, 1, true) && sum_of(r, 0) == 5 && one(r, 0, 1, 0) == 2 && one(r, 0, 3, 0) == 1 && one(r, 0, 11, 0) == 1);
    response_close(r);
    r = open_text("response: {source: cell.mat:/spk, axes: [trial, one], unit: ms}\n", 0.01, 4);
    CHECK(shape_is(r, 4, 1, 4, true) && one(r, 0, 1, 0) == 2 && one(r, 2, 0, 0) == 0 && one(r, 3, 3, 0) == 1);
    response_close(r);
    r = open_text("response: {source: session.nwb}\n", 0.1, 4);
    CHECK(shape_is(r, 4, 3, 1, true) && sum_of(r, 0) == 2 && sum_of(r, 1) == 0 && one(r, 0, 1, 2) == 2);
    CHECK(r && strcmp(response_cell_name(r, 2), "17") == 0);
    response_close(r);
    r = open_text("response: {source: session.nwb, cells: [17, 12]}\n", 0.1, 0);
    CHECK(shape_is(r, 4, 2, 1, true) && one(r, 0, 1, 0) == 2 && one(r, 0, 3, 1) == 1);
    response_close(r);
    r = open_text("response: {source: counts.npy, axes: [trial, time, cell]}\n", 0.1, 0);
    CHECK(shape_is(r, 3, 4, 2, true) && one(r, 1, 2, 3) == 23 && one(r, 0, 1, 0) == 4);
    response_close(r);
}

/* A result of chiasm: [time][channel][y][x] maps, reports, SONATA spikes. */
static void results(void)
{
    float map[5 * 2 * 3 * 4], report[5 * 3];
    double times[] = {1, 12, 12.5, 40}, dt = 0.01;
    int64_t ids[] = {2, 0, 2, 1}, cells[] = {0, 1, 2, 3}, nmap[] = {5, 2, 3, 4}, nreport[] = {5, 3}, n4 = 4;
    for (int i = 0; i < 120; i++) {
        map[i] = (float)i + 0.25f;
        report[i % 15] = (float)(i % 15);
    }
    store *s = store_create("result.h5", true);
    store_define_group(s, "/maps");
    store_define_values(s, "/maps/opl", STORE_F32, 4, nmap, "", map);
    store_attr_number(s, "/maps/opl", "dt_s", dt);
    store_define_values(s, "/report/current/data", STORE_F32, 2, nreport, "", report);
    store_define_values(s, "/spikes/on/timestamps", STORE_F64, 1, &n4, "ms", times);
    store_define_values(s, "/spikes/on/node_ids", STORE_I64, 1, &n4, NULL, ids);
    store_define_values(s, "/cells/on/id", STORE_I64, 1, &n4, NULL, cells);
    store_begin(s);
    store_close(s);
    response *r = open_text("response: {source: result.h5, output: opl}\n", dt, 0);
    CHECK(shape_is(r, 5, 24, 1, false) && one(r, 0, 2, 13) == 61.25);
    response_close(r);
    r = open_text("response: {source: result.h5, output: current, values: rates}\n", dt, 4);
    CHECK(shape_is(r, 4, 3, 1, false) && one(r, 0, 3, 2) == 11);
    response_close(r);
    r = open_text("response: {source: result.h5, output: on}\n", dt, 0);
    CHECK(shape_is(r, 5, 4, 1, true) && one(r, 0, 1, 2) == 1 && one(r, 0, 4, 1) == 1 && sum_of(r, 3) == 0 && sum_of(r, 2) == 2);
    response_close(r);
}

/* A section that another reader has taken its own keys from. */
static void shared_section(void)
{
    struct {
        double weight;
    } own;
    static const key_spec keys[] = {{"weight", KEY_REAL, "", "1", 0, 0, NULL, "", 0, 0, 0}};
    input_destroy(last_input);
    last_input = input_from_text("response: {source: arrays.h5:/whole, weight: 2, clip_counts: true}\n", "test", NULL, 0);
    const input_node *section = input_child(input_root(last_input), "response");
    INPUT_FILL(last_input, section, "fit.data", keys, &own);
    CHECK(input_nproblem(last_input) > 0 && own.weight == 2);
    response *r = response_open(last_input, section, 0.1, 0);
    CHECK(r && input_nproblem(last_input) == 0 && one(r, 0, 5, 0) == 1);
    response_close(r);
}

static void bad_input(void)
{
    static const char *const bad[][2] = {
        {"source: none.h5:/y", "none.h5"}, {"source: arrays.h5:/none", "no dataset /none"}, {"source: arrays.h5", "names no dataset"},
        {"source: arrays.h5:/images", "give axes"}, {"source: arrays.h5:/y, axes: [time, tril]", "allowed: time, trial, cell, one"},
        {"source: arrays.h5:/y, axes: [cell, trial]", "none of the axes is time"}, {"source: arrays.h5:/y, axes: [time, one]", "is longer"},
        {"source: arrays.h5:/r, values: counts", "no counts"}, {"source: arrays.h5:/y, axes: [time, trial], skip_trials: 4", "no trial is left"},
        {"source: arrays.h5:/r, part: frozen", "frozen_steps"}, {"source: arrays.h5:/whole, cells: [1]", "no cell '1'"},
        {"source: 'c{1..2}.txt', values: spike_times, cells: [c3]", "no cell 'c3'"}, {"source: make.py", "line 1 is no list of numbers"},
        {"source: 'c{1..2}.txt'", "another shape"}, {"source: 'c{1..2}.txt', values: spike_times, files: time", "segment_steps"},
        {"source: values.txt, values: cell_spike_times, frame_times: c2.txt", "rise from frame to frame"},
        {"source: result.h5, output: no", "no map"},
        {"sauce: arrays.h5:/y", "sauce"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "response: {%s}\n", bad[i][0]);
        input_destroy(last_input);
        last_input = input_from_text(yaml, "test", NULL, 0);
        CHECK(response_open(last_input, input_child(input_root(last_input), "response"), 0.1, 0) == NULL);
        bool told = false;
        for (int k = 0; k < input_nproblem(last_input); k++) {
            told = told || strstr(input_problem_text(last_input, k), bad[i][1]);
        }
        CHECK(told);
        if (!told) {
            printf("\n    %s: %s", yaml, input_nproblem(last_input) ? input_problem_text(last_input, 0) : "no problem");
        }
    }
    input_destroy(last_input);
    last_input = input_from_text("response: {source: arrays.h5:/whole}\n", "test", NULL, 0);
    CHECK(response_open(last_input, input_child(input_root(last_input), "response"), 0.1, NT + 1) == NULL);
    CHECK(input_nproblem(last_input) == 1 && strstr(input_problem_text(last_input, 0), "end after 7 steps"));
}

/* --- recordings (CHIASM_DATA/realdata) ------------------------------------------------------------------------------------- */
static response *open_data(const char *settings, double step_s)
{
    char yaml[1024];
    const char *data = getenv("CHIASM_DATA");
    int used = snprintf(yaml, sizeof yaml, "response: {");
    for (const char *at = settings; *at; at++) {
        used += snprintf(yaml + used, sizeof yaml - (size_t)used, *at == '@' ? "%s/realdata" : "%.1s", *at == '@' ? data : at);
    }
    snprintf(yaml + used, sizeof yaml - (size_t)used, "}\n");
    return open_text(yaml, step_s, 0);
}

static void recordings(void)
{
    if (!getenv("CHIASM_DATA")) {
        printf("skipped: no data (CHIASM_DATA) ... ");
        return;
    }
    response *r = open_data("source: '@/liu2017/cell009.h5:/y'", 1 / 30.0);
    CHECK(shape_is(r, 36000, 1, 1, true));
    response_close(r);
    r = open_data("source: '@/ggnb_data_LN_model/fullfieldnoise_C{1..8}.txt', values: spike_times, running_steps: 1800, frozen_steps: 600, "
                  "part: running, frame_times: '@/ggnb_data_LN_model/frametimes_fullfieldnoise.txt'", 1 / 75.0);
    CHECK(shape_is(r, 41 * 1800 + 1800, 8, 1, true)); /* the last trial ends in its frozen part */
    double used = 0;
    for (int64_t t = 0; r && t < 41 * 1800; t++) {
        used += t % 1800 >= 44 ? one(r, 0, t, 0) : 0;
    }
    CHECK(used == 16083); /* of the reference, with windows of 45 frames */
    response_close(r);
    r = open_data("source: '@/544l029.p21_stc.mat:/spk_tms', axes: [time, one], frame_times: '@/544l029.p21_stc.mat:/stim_tms', unit: ms", 0.01);
    response *given = open_data("source: '@/544l029.p21_stc.mat:/spikes_per_frm'", 0.01);
    CHECK(shape_is(r, 294912, 1, 1, true) && shape_is(given, 294912, 1, 1, true));
    int64_t differ = 0;
    for (int64_t t = 0; r && given && t < 294912; t++) {
        differ += one(r, 0, t, 0) != one(given, 0, t, 0);
    }
    CHECK(r && given && sum_of(r, 0) == 212342 && sum_of(given, 0) == 212337);
    CHECK(differ == 4); /* the last frames of four runs, whose 5 spikes the counts in the file leave out */
    response_close(r);
    response_close(given);
}

static void clean_up(void)
{
    input_destroy(last_input);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(chdir("/") == 0 && system(command) == 0);
    comm_finish();
}

TEST_MAIN("response", {"arrays of any order", arrays}, {"conventions", conventions}, {"parts of trials", parts}, {"text", text},
          {"MAT, NWB, NumPy", python_files}, {"results", results}, {"shared section", shared_section}, {"bad input", bad_input},
          {"recordings", recordings}, {"clean up", clean_up})

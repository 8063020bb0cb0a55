/* test_input.c - oracle: the line, column and words that the person who wrote the file needs; round trips; a mutation test. */
#include "base/memory.h"
#include "input/input.h"

#include <unistd.h>

#include "test.h"

typedef struct settings {
    int64_t seed;
    double dt_s, sigma_deg, gain;
    bool noisy;
    int method, nweight, nlabel;
    const char *title, *movie;
    double weights[3];
    const char *labels[3];
    const input_node *extra;
} settings;

static const key_spec keys[] = {
    {"seed", KEY_INT, NULL, "1", 1, 100, NULL, "of all noise", offsetof(settings, seed), 0, 0},
    {"dt", KEY_REAL, "s", NULL, 1e-6, 1, NULL, "time step", offsetof(settings, dt_s), 0, 0},
    {"sigma", KEY_REAL, "deg", "0.05 deg", 0, INFINITY, NULL, "of the centre", offsetof(settings, sigma_deg), 0, 0},
    {"gain", KEY_REAL, "", "2", 0, 0, NULL, "of the centre", offsetof(settings, gain), 0, 0},
    {"noisy", KEY_FLAG, NULL, "false", 0, 0, NULL, "with noise", offsetof(settings, noisy), 0, 0},
    {"method", KEY_WORD, NULL, "gaussian", 0, 0, "gaussian|deriche", "of the blur", offsetof(settings, method), 0, 0},
    {"title", KEY_TEXT, NULL, "", 0, 0, NULL, "of the figure", offsetof(settings, title), 0, 0},
    {"movie", KEY_PATH, NULL, "", 0, 0, NULL, "to show", offsetof(settings, movie), 0, 0},
    {"weights", KEY_REALS, "", "[1, -1]", -10, 10, NULL, "of the inputs", offsetof(settings, weights), offsetof(settings, nweight), 3},
    {"labels", KEY_TEXTS, NULL, "", 0, 0, NULL, "of the inputs", offsetof(settings, labels), offsetof(settings, nlabel), 3},
    {"extra", KEY_NODE, NULL, "", 0, 0, NULL, "free", offsetof(settings, extra), 0, 0},
};

/* A small program: a section `run` by table, a list of stages with a table and a type each. */
typedef struct stage {
    const char *name, *type;
    double tau_s;
} stage;

static const key_spec stage_keys[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "unique word", offsetof(stage, name), 0, 0},
    {"type", KEY_TEXT, NULL, NULL, 0, 0, NULL, "kind of stage", offsetof(stage, type), 0, 0},
    {"tau", KEY_REAL, "s", "10 ms", 0, 10, NULL, "time constant", offsetof(stage, tau_s), 0, 0},
};

static void read_all(input *in, settings *s, stage stages[4])
{
    const input_node *root = input_root(in), *list = input_child(input_child(root, "model"), "stages");
    INPUT_FILL(in, input_child(root, "run"), "run", keys, s);
    for (int i = 0; i < input_count(list) && i < 4; i++) {
        INPUT_FILL(in, input_item(list, i), "stage", stage_keys, &stages[i]);
    }
    input_check_unknown(in);
}

#define MODEL "model:\n  stages:\n    - name: opl\n      type: blur\n    - {name: bip, type: lowpass, tau: 5 ms}\n"

static const char *const good = "# a run\nrun:\n  dt: 1 ms\n  seed: 7\n  sigma: 3 arcmin\n  noisy: true\n  method: deriche\n  title: \"on: off\"\n"
                                "  movie: films/cat.h5:/frames\n  weights: [1, 50 %]\n  labels: one\n" MODEL;

static void print_problems(const input *in)
{
    for (int i = 0; i < input_nproblem(in); i++) {
        printf("\n    %s", input_problem_text(in, i));
    }
}

/* Windows' editors begin a UTF-8 file with a mark. */
static void marked_file(void)
{
    char *marked = memory_text("\xEF\xBB\xBF%s", good);
    input *in = input_from_text(marked, "good.yaml", NULL, 0);
    settings s;
    stage st[4] = {{0}};
    read_all(in, &s, st);
    CHECK(input_nproblem(in) == 0 && s.seed == 7);
    print_problems(in);
    input_destroy(in);
    memory_free(marked);
}

static void good_file(void)
{
    input *in = input_from_text(good, "good.yaml", NULL, 0);
    settings s;
    stage st[4] = {{0}};
    read_all(in, &s, st);
    CHECK(input_nproblem(in) == 0);
    print_problems(in);
    CHECK(s.seed == 7 && s.dt_s == 0.001 && s.sigma_deg == 0.05 && s.gain == 2 && s.noisy && s.method == 1);
    CHECK_TEXT(s.title, "on: off");
    CHECK_TEXT(s.movie, "films/cat.h5:/frames");
    CHECK(s.nweight == 2 && s.weights[0] == 1 && s.weights[1] == 0.5);
    CHECK(s.nlabel == 1);
    CHECK_TEXT(s.labels[0], "one");
    CHECK(s.extra == NULL);
    CHECK_TEXT(st[1].name, "bip");
    CHECK(st[0].tau_s == 0.01 && st[1].tau_s == 0.005);
    CHECK_TEXT(input_original(in), good);
    const char *file;
    int line, column;
    input_where(input_item(input_child(input_child(input_root(in), "model"), "stages"), 1), &file, &line, &column);
    CHECK_TEXT(file, "good.yaml");
    CHECK(line == 16 && column == 7);
    input_destroy(in);
}

/* Each is a whole file; the problem named must be on the list, at that line. */
static const struct {
    const char *yaml;
    int line;
    const char *piece;
} malformed[] = {
    {"run:\n  dt: 1 ms\n  sigmaa: 1 deg\n", 3, "3:3: run.sigmaa: unknown key in run (did you mean 'sigma'?); allowed: seed, dt, sigma, gain"},
    {"run:\n  dt: 1 ms\n  Sigma: 1 deg\n", 3, "did you mean 'sigma'?"},
    {"run:\n  dt: 1 ms\n  xyzzyx: 1\n", 3, "unknown key in run; allowed: seed"},
    {"run:\n  dt: 1 ms\nrnu:\n  dt: 1 ms\n", 3, "3:1: rnu: unknown key (did you mean 'run'?); allowed: model, run"},
    {"run:\n  seed: 3\n", 1, "run.dt: is missing; allowed: number (s, ms, us, min, h), 1e-06 to 1 s"},
    {"", 0, "run.dt: is missing"},
    {"run:\n", 1, "run.dt: is missing"},
    {"run:\n  dt: 1\n", 2, "2:7: run.dt: '1' has no unit; a time is wanted (s, ms, us, min, h)"},
    {"run:\n  dt: 1 deg\n", 2, "is an angle; a time is wanted"},
    {"run:\n  dt: 1 parsec\n", 2, "unknown unit"},
    {"run:\n  dt: fast\n", 2, "'fast' is not a number"},
    {"run:\n  dt: nan s\n", 2, "is not a number"},
    {"run:\n  dt: .inf\n", 2, "is not a number"},
    {"run:\n  dt: 1e999 s\n", 2, "is not a finite number"},
    {"run:\n  dt: -1 ms\n", 2, "'-1 ms' is out of range; allowed: number (s, ms, us, min, h), 1e-06 to 1 s"},
    {"run:\n  dt: 0\n", 2, "'0' is out of range"},
    {"run:\n  dt:\n", 2, "run.dt: has no value; allowed: number"},
    {"run:\n  dt: \"\"\n", 2, "is not a number"},
    {"run:\n  dt: [1 ms]\n", 2, "is a list, not a value"},
    {"run:\n  dt:\n    a: 1\n", 2, "is a mapping, not a value"},
    {"run:\n  dt: 1 ms\n  sigma: -0.1 deg\n", 3, "at least 0 deg"},
    {"run:\n  dt: 1 ms\n  seed: 1.5\n", 3, "'1.5' is not a whole number; allowed: a whole number, 1 to 100"},
    {"run:\n  dt: 1 ms\n  seed: 0x10\n", 3, "is not a whole number"},
    {"run:\n  dt: 1 ms\n  seed: 1e2\n", 3, "is not a whole number"},
    {"run:\n  dt: 1 ms\n  seed: 0\n", 3, "'0' is out of range; allowed: a whole number, 1 to 100"},
    {"run:\n  dt: 1 ms\n  seed: 99999999999999999999\n", 3, "is too large"},
    {"run:\n  dt: 1 ms\n  seed: -\n", 3, "YAML: "},
    {"run:\n  dt: 1 ms\n  noisy: yes\n", 3, "'yes' is neither true nor false; allowed: true, false"},
    {"run:\n  dt: 1 ms\n  method: gausian\n", 3, "unknown word 'gausian' (did you mean 'gaussian'?); allowed: gaussian, deriche"},
    {"run:\n  dt: 1 ms\n  gain: 2 Hz\n", 3, "is a frequency; a plain number is wanted"},
    {"run:\n  dt: 1 ms\n  weights: [1, two]\n", 3, "3:16: run.weights.1: 'two' is not a number"},
    {"run:\n  dt: 1 ms\n  weights: [1, 2, 3, 4]\n", 3, "a list of 4 is too long; allowed: list of up to 3: number"},
    {"run:\n  dt: 1 ms\n  weights:\n    - 1\n    - 11\n", 5, "run.weights.1: '11' is out of range"},
    {"run:\n  dt: 1 ms\n  weights: {a: 1}\n", 3, "is a mapping, not a list"},
    {"run:\n  dt: 1 ms\n  labels: [a, [b]]\n", 3, "run.labels.1: is a list, not a value"},
    {"run:\n  dt: 1 ms\n  title: [a]\n", 3, "allowed: text"},
    {"run:\n  dt: 1 ms\n  movie:\n", 3, "has no value; allowed: a path"},
    {"run:\n  dt: 1 ms\n  seed: 2\n  dt: 2 ms\n", 4, "4:3: run.dt: the key is given twice, first on line 2"},
    {"run:\n  dt: &step 1 ms\n", 2, "the anchor '&step' is not allowed"},
    {"run:\n  dt: *step\n", 2, "the alias '*step' is not allowed"},
    {"run:\n  dt: !!float 1\n", 2, "the tag 'tag:yaml.org,2002:float' is not allowed"},
    {"run: !map\n  dt: 1 ms\n", 1, "the tag '!map' is not allowed"},
    {"run:\n  dt: 1 ms\n  <<: {seed: 2}\n", 3, "run.<<: unknown key"},
    {"run:\n\tdt: 1 ms\n", 2, "a tab cannot indent"},
    {"run:\n  dt: 1 ms\n   seed: 2\n", 3, "YAML: "},
    {"run:\n  dt: 1 ms\n seed: 2\n", 3, "YAML: "},
    {"run:\n  dt: 1 ms\n  weights: [1, 2\n  seed: 2\n", 4, "YAML: "},
    {"run:\n  dt: 1 ms\n  title: \"open\n", 4, "YAML: "},
    {"run:\n  dt 1 ms\n  seed: 2\n", 3, "YAML: no key can stand here; look for a missing ':'"},
    {"run:\n  seed: 2\n  dt 1 ms\n  noisy: true\n", 3, "YAML: ':' is missing after a key"},
    {"run:\n  dt: 1 ms\n  title: on: off\n", 3, "quote a text that contains ': '"},
    {"run: {dt: 1 ms}\nmodel:\n  stages:\n    - {name: a, type: b}\n    - {name: b, type: c, tau: 1 s, type: d}\n", 5,
     "model.stages.b.type: the key is given twice"},
    {"run:\n  dt: 1 ms\n  title: @x\n", 3, "YAML: "},
    {"run:\n  dt: 1 ms\n---\nrun:\n", 3, "a second document ('---') is not allowed"},
    {"run:\n  dt: 1 ms\n  ? [a, b]\n  : 2\n", 3, "a key must be a word"},
    {"run:\n  dt: 1 ms\n  title: a\x01z\n", 3, "not UTF-8 text"},
    {"run:\n  dt: 1 ms\n  title: \xff\n", 3, "not UTF-8 text"},
    {"run:\n  dt: 1 ms\n  title: \"a\\0b\"\n", 3, "zero byte"},
    {"run: [1, 2]\n", 1, "run: is a list; a mapping with the keys of run is wanted"},
    {"run: fast\n", 1, "run: is a text; a mapping"},
    {"- run\n- model\n", 1, "the file must be a mapping of sections"},
    {"just words\n", 1, "the file must be a mapping of sections"},
    {"run: {dt: 1 ms}\nmodel:\n  stages:\n    - name: opl\n", 4, "model.stages.opl.type: is missing; allowed: text"},
    {"run: {dt: 1 ms}\nmodel:\n  stages:\n    - name: opl\n      type: blur\n      tua: 5 ms\n", 6,
     "model.stages.opl.tua: unknown key in stage (did you mean 'tau'?)"},
    {"run: {dt: 1 ms}\nmodel:\n  stages:\n    - type: blur\n      tau: 5\n", 5, "model.stages.0.tau: '5' has no unit"},
    {"run: {dt: 1 ms}\nmodel:\n  stages: [opl]\n", 3, "3:12: model.stages.0: is a text; a mapping"},
    {"run: {dt: 1 ms}\nmodel:\n  stagse: []\n", 3, "model.stagse: unknown key (did you mean 'stages'?); allowed: stages"},
    {"run: {dt: 1 ms}\nmodel: {a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}\n", 2, "nested too deeply"},
};

static bool has_problem(const input *in, int line, const char *piece)
{
    char place[32];
    snprintf(place, sizeof place, line ? "f.yaml:%d:" : "f.yaml: ", line);
    for (int i = 0; i < input_nproblem(in); i++) {
        const char *text = input_problem_text(in, i);
        if (strncmp(text, place, strlen(place)) == 0 && strstr(text, piece)) {
            return true;
        }
    }
    return false;
}

static void malformed_files(void)
{
    int n = (int)(sizeof malformed / sizeof malformed[0]);
    CHECK(n >= 40);
    for (int i = 0; i < n; i++) {
        input *in = input_from_text(malformed[i].yaml, "f.yaml", NULL, 0);
        settings s;
        stage st[4];
        read_all(in, &s, st);
        bool found = has_problem(in, malformed[i].line, malformed[i].piece);
        if (!found || input_nproblem(in) > 2) {
            printf("\n    file %d:\n%s    wanted: line %d, \"%s\"; got:", i, malformed[i].yaml, malformed[i].line, malformed[i].piece);
            print_problems(in);
        }
        CHECK(found);
        CHECK(input_nproblem(in) <= 2); /* one mistake is not to drown in its consequences */
        CHECK(s.seed >= 1 && s.seed <= 100 && s.dt_s >= 1e-6 && s.dt_s <= 1 && s.nweight <= 3 && s.method <= 1); /* always valid */
        input_destroy(in);
    }
}

/* All are found in one go and listed by line, the command line last. */
static void all_problems_sorted(void)
{
    static const char *const set[] = {"run.nothing.at.all=3", "run.gain=x", "modl", "model.stages.9.tau=1 s", "run..dt=3", "run.title=a, b"};
    const char *yaml = "zzz: 1\nrun:\n  seed: x\n  dt: 5\n  noisy: maybe\n" MODEL;
    input *in = input_from_text(yaml, "f.yaml", set, 6);
    settings s;
    stage st[4];
    input_problem(in, NULL, "whole file");
    input_problem_in(in, "retina.xml", 12, "attribute 'x'");
    read_all(in, &s, st);
    static const char *const want[] = {"f.yaml: whole file",
                                       "f.yaml:1:1: zzz: unknown key",
                                       "f.yaml:3:9: run.seed: 'x'",
                                       "f.yaml:4:7: run.dt: '5' has no unit",
                                       "f.yaml:5:10: run.noisy: 'maybe'",
                                       "retina.xml:12: attribute 'x'",
                                       "--set model.stages.9.tau=1 s: model.stages has no item '9'; allowed: 0 to 1, opl, bip",
                                       "--set modl: '=' is missing",
                                       "--set run..dt=3: 'run..dt' is not a path",
                                       "--set run.gain=x: run.gain: 'x' is not a number",
                                       "--set run.nothing.at.all=3: run.nothing: unknown key",
                                       "--set run.title=a, b: the value is not one value"};
    int n = (int)(sizeof want / sizeof want[0]);
    CHECK(input_nproblem(in) == n);
    for (int i = 0; i < n && i < input_nproblem(in); i++) {
        CHECK(strncmp(input_problem_text(in, i), want[i], strlen(want[i])) == 0);
    }
    if (input_nproblem(in) != n || strncmp(input_problem_text(in, n - 1), want[n - 1], strlen(want[n - 1])) != 0) {
        print_problems(in);
    }
    input_destroy(in);
}

static void overrides(void)
{
    static const char *const set[] = {"run.dt=2 ms", "run.weights=[1, 2, 3]", "model.stages.opl.tau=7 ms", "model.stages.1.tau=8 ms",
                                      "run.movie=here.mp4", "run.labels=[a, \"b, c\"]", "run.extra.deep.key={x: 1}", "run.seed=5", "run.seed=6",
                                      "run.title=a=b # c"};
    input *in = input_from_text(good, "sub/f.yaml", set, 10);
    settings s;
    stage st[4];
    read_all(in, &s, st);
    CHECK(s.dt_s == 0.002 && s.nweight == 3 && s.weights[2] == 3 && s.seed == 6);
    CHECK(st[0].tau_s == 0.007 && st[1].tau_s == 0.008);
    CHECK_TEXT(s.movie, "here.mp4");
    CHECK_TEXT(s.labels[1], "b, c");
    CHECK_TEXT(s.title, "a=b");
    CHECK_TEXT(input_scalar(input_child(input_child(input_child(s.extra, "deep"), "key"), "x")), "1");
    input_destroy(in);

    static const char *const bare[] = {"run.dt=1 ms"};
    in = input_from_text("run:\n", "f.yaml", bare, 1); /* an empty section takes keys */
    read_all(in, &s, st);
    CHECK(input_nproblem(in) == 0 && s.dt_s == 0.001);
    input_destroy(in);
    in = input_from_text("run: 3\n", "f.yaml", bare, 1);
    CHECK(input_nproblem(in) == 1);
    CHECK_TEXT(input_problem_text(in, 0), "--set run.dt=1 ms: run is '3', which has no keys below it");
    input_destroy(in);
}

static void graft(void)
{
    static const char *const set[] = {"model.stages.gang.tau=9 ms", "model.preset=cat-x"};
    input *in = input_from_text("run: {dt: 1 ms}\nmodel:\n  preset: cat-y\n  stages: []\n", "f.yaml", set, 2);
    CHECK(input_nproblem(in) == 1); /* no such stage yet */
    CHECK_TEXT(input_scalar(input_child(input_child(input_root(in), "model"), "preset")), "cat-x");
    input_graft(in, "model.stages", "- name: opl\n  type: blur\n- name: gang\n  type: lowpass\n  tau: 1 ms\n", "preset cat-x");
    settings s;
    stage st[4];
    read_all(in, &s, st);
    CHECK(input_nproblem(in) == 0); /* the override has found its place */
    CHECK(st[1].tau_s == 0.009 && st[0].tau_s == 0.01);
    input_set(in, "model.preset", "none"); /* settled: the stages are written out, the override has had its say */
    CHECK(strstr(input_effective(in), "  preset: none\n") != NULL);
    input_problem(in, input_child(input_root(in), "model"), "stages: too many");
    input_problem(in, input_child(input_root(in), "model"), "model: too few");
    CHECK_TEXT(input_problem_text(in, 0), "f.yaml:2:1: model: stages: too many");
    CHECK_TEXT(input_problem_text(in, 1), "f.yaml:2:1: model: too few");
    const char *file;
    int line, column;
    input_where(input_child(input_item(input_child(input_child(input_root(in), "model"), "stages"), 1), "type"), &file, &line, &column);
    CHECK_TEXT(file, "preset cat-x");
    CHECK(line == 4 && column == 9);
    CHECK(strstr(input_effective(in), "  stages:\n    - name: opl\n      type: blur\n      tau: 10 ms\n    - name: gang\n") != NULL);
    input_destroy(in);
    in = input_from_text("", "f.yaml", NULL, 0);
    input_graft(in, "model.stages", "- name: a\n  type: [\n", "preset bad");
    CHECK(input_nproblem(in) == 1 && strncmp(input_problem_text(in, 0), "preset bad:3:1: YAML", 20) == 0);
    input_destroy(in);
}

/* One item of a grafted list is replaced: what the new one does not say is kept, where it was written too; overrides reach it. */
static void replace(void)
{
    static const char *const set[] = {"model.stages.opl.tau=9 ms"}, *const kept[] = {"name", "tau", "sigma"};
    input *in = input_from_text("model:\n  new: {type: lowpass, gain: 3}\n", "f.yaml", set, 1);
    input_graft(in, "model.stages", "- {name: opl, type: blur, tau: 1 ms}\n- {name: gang, type: lowpass, tau: 2 ms}\n", "preset");
    const input_node *model = input_child(input_root(in), "model"), *stages = input_child(model, "stages");
    input_replace(in, input_item(stages, 0), input_child(model, "new"), kept, 3);
    const input_node *opl = input_item(stages, 0);
    CHECK(input_nproblem(in) == 0 && input_count(stages) == 2 && input_count(opl) == 4);
    CHECK_TEXT(input_scalar(input_child(opl, "name")), "opl");
    CHECK_TEXT(input_scalar(input_child(opl, "type")), "lowpass");
    CHECK_TEXT(input_scalar(input_child(opl, "gain")), "3");
    CHECK_TEXT(input_scalar(input_child(opl, "tau")), "9 ms");
    CHECK_TEXT(input_scalar(input_child(input_item(stages, 1), "tau")), "2 ms");
    const char *file;
    int line, column;
    input_where(input_child(opl, "gain"), &file, &line, &column);
    CHECK_TEXT(file, "f.yaml");
    CHECK(line == 2 && column == 30);
    input_where(input_child(opl, "name"), &file, &line, &column);
    CHECK_TEXT(file, "preset");
    input_destroy(in);
}

static bool same_settings(const settings *a, const settings *b)
{
    bool same = a->seed == b->seed && a->dt_s == b->dt_s && a->sigma_deg == b->sigma_deg && a->gain == b->gain && a->noisy == b->noisy &&
                a->method == b->method && a->nweight == b->nweight && a->nlabel == b->nlabel && strcmp(a->title, b->title) == 0 &&
                strcmp(a->movie, b->movie) == 0;
    for (int i = 0; same && i < a->nweight; i++) {
        same = a->weights[i] == b->weights[i];
    }
    for (int i = 0; same && i < a->nlabel; i++) {
        same = strcmp(a->labels[i], b->labels[i]) == 0;
    }
    return same;
}

static void effective(void)
{
    static const char *const set[] = {"run.title=\"a\\n\\t\\\"#: \xc2\xb5 \\u2028\\x85 end \"", "run.labels=['- x', '', \"%\"]"};
    input *in = input_from_text(good, "f.yaml", set, 2), *back;
    settings s, t;
    stage st[4], su[4];
    read_all(in, &s, st);
    back = input_from_text(input_effective(in), "back.yaml", NULL, 0);
    read_all(back, &t, su);
    CHECK(input_nproblem(in) == 0 && input_nproblem(back) == 0);
    print_problems(back);
    CHECK(same_settings(&s, &t));
    CHECK(st[0].tau_s == su[0].tau_s && st[1].tau_s == su[1].tau_s);
    CHECK_TEXT(input_effective(back), input_effective(in));
    CHECK(strstr(input_effective(in), "sigma: 3 arcmin\n") != NULL); /* as given */
    CHECK(strstr(input_effective(in), "gain: 2\n") != NULL);         /* fallback */
    input_destroy(in);
    input_destroy(back);

    in = input_from_text("run: {dt: 1 ms}\n", "f.yaml", NULL, 0);
    static const key_spec section[] = {{"fovea", KEY_REAL, "deg", "0", 0, 0, NULL, "", offsetof(settings, dt_s), 0, 0},
                                       {"log_polar", KEY_NODE, NULL, "", 0, 0, NULL, "", offsetof(settings, extra), 0, 0}};
    INPUT_FILL(in, input_child(input_root(in), "model"), "model", section, &s);
    INPUT_FILL(in, NULL, "model.log_polar", section, &s);
    INPUT_FILL(in, NULL, "stage", section, &s); /* not a key of the file: not printed */
    CHECK_TEXT(input_effective(in), "run:\n  dt: 1 ms\nmodel:\n  fovea: 0 deg\n  log_polar:\n    fovea: 0 deg\n");
    CHECK(input_child(input_root(in), "model") == NULL); /* a default is not a given section */
    input_destroy(in);
}

static void files(void)
{
    input *in = input_read("/nowhere/at/all.yaml", NULL, 0);
    settings s;
    stage st[4];
    read_all(in, &s, st);
    CHECK(input_missing(in) && input_nproblem(in) == 1);
    CHECK_TEXT(input_problem_text(in, 0), "/nowhere/at/all.yaml: cannot be read: No such file or directory; an input file (YAML) is wanted");
    input_destroy(in);
    in = input_read("/tmp", NULL, 0); /* a folder */
    CHECK(input_missing(in));
    input_destroy(in);

    char folder[] = "/tmp/test_input_XXXXXX", path[64], want[96];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/run.yaml", folder);
    snprintf(want, sizeof want, "%s/films/cat.h5:/frames", folder);
    FILE *f = fopen(path, "w");
    CHECK(f && fputs(good, f) >= 0 && fclose(f) == 0);
    in = input_read(path, NULL, 0);
    read_all(in, &s, st);
    CHECK(!input_missing(in) && input_nproblem(in) == 0);
    CHECK_TEXT(s.movie, want);
    CHECK_TEXT(input_path(in), path);
    CHECK(strstr(input_effective(in), want) != NULL);
    input_destroy(in);
    unlink(path);
    rmdir(folder);
}

/* Tables given one after the other, a key asked for late, absolute paths: nobody is told that a known key is unknown. */
static void late_questions(void)
{
    input *in = input_from_text("run:\n  dt: 1 ms\n  late: 3\n  tau: 1 s\n  name: n\n  type: t\n  movie: /a/b\n", "sub/f.yaml", NULL, 0);
    settings s;
    stage st;
    const input_node *run = input_child(input_root(in), "run");
    INPUT_FILL(in, run, "run", keys, &s);
    CHECK(input_nproblem(in) == 4);
    INPUT_FILL(in, run, "run", stage_keys, &st);
    CHECK(input_nproblem(in) == 1);
    CHECK_TEXT(input_scalar(input_child(run, "late")), "3");
    CHECK(input_nproblem(in) == 0);
    CHECK_TEXT(s.movie, "/a/b");
    CHECK(!input_child(NULL, "x") && !input_child(input_child(run, "late"), "x") && !input_item(run, 99) && !input_item(run, -1));
    CHECK(input_count(NULL) == 0 && input_is_map(run) && !input_is_list(run) && !input_is_map(NULL) && !input_scalar(run));
    CHECK_TEXT(input_key(run, 0), "dt");
    input_destroy(in);
}

/* Bytes of a valid file changed, dropped or doubled at random: problems, perhaps, but never a crash, and what has no problem
 * prints an effective input that reads back. */
static void mutations(void)
{
    static const char spice[] = ":-[]{}#&*!|>'\"%@`,?\t\n \\.\x01\xff\xc3=0e";
    const char *repeat = getenv("INPUT_MUTATIONS");
    int n = repeat ? atoi(repeat) : 3000, clean = 0;
    uint64_t seed = 4;
    for (int i = 0; i < n; i++) {
        char text[1024];
        size_t size = strlen(good);
        memcpy(text, good, size + 1);
        for (int change = 1 + i % 4; change > 0; change--) {
            size_t at = (size_t)((test_random(&seed) + 1) / 2 * (double)size);
            double what = test_random(&seed);
            if (what < 0) {
                text[at] = spice[(size_t)((test_random(&seed) + 1) / 2 * (sizeof spice - 1))];
            } else if (what < 0.5) {
                memmove(text + at, text + at + 1, size - at);
                size--;
            } else {
                memmove(text + at + 1, text + at, size - at + 1);
                size++;
            }
        }
        char override[64];
        snprintf(override, sizeof override, "%.*s", 40, text + i % 100);
        const char *set[] = {override};
        input *in = input_from_text(text, "f.yaml", set, i % 3 == 0);
        settings s;
        stage st[4];
        read_all(in, &s, st);
        const char *yaml = input_effective(in);
        if (input_nproblem(in) == 0) {
            input *back = input_from_text(yaml, "f.yaml", NULL, 0);
            settings t;
            read_all(back, &t, st);
            if (input_nproblem(back)) {
                printf("\n%s\n-->\n%s", text, yaml);
                print_problems(back);
            }
            CHECK(input_nproblem(back) == 0);
            clean++;
            input_destroy(back);
        }
        input_destroy(in);
    }
    CHECK(clean > n / 50); /* else the second half was never tried */
}

/* The help is a table with every key, printed from the same specs. */
static void help(void)
{
    char name[] = "/tmp/test_help_XXXXXX", line[512], all[8192] = "";
    int fd = mkstemp(name), kept = dup(1), n = (int)(sizeof keys / sizeof keys[0]), rows = 0;
    fflush(stdout);
    dup2(fd, 1);
    help_print(&(help_topic){"run", "a run", "y = x", keys, n});
    fflush(stdout);
    dup2(kept, 1);
    close(kept);
    close(fd);
    FILE *f = fopen(name, "r");
    while (f && fgets(line, sizeof line, f)) {
        strncat(all, line, sizeof all - strlen(all) - 1);
        rows++;
    }
    fclose(f);
    unlink(name);
    CHECK(rows == n + 5); /* name, blank, text, blank, heads */
    CHECK(strncmp(all, "run - a run\n\ny = x\n\n  key ", 25) == 0);
    CHECK(strstr(all, "at least 0 deg") != NULL && strstr(all, "gaussian, deriche") && strstr(all, "required") && strstr(all, "1e-06 to 1 s"));
}

TEST_MAIN("input", {"a good file", good_file}, {"one with a byte order mark", marked_file}, {"malformed files", malformed_files}, {"all problems, sorted", all_problems_sorted},
          {"overrides", overrides}, {"graft of a preset", graft}, {"replaced item", replace}, {"effective input reads back", effective},
          {"files and paths", files}, {"late questions", late_questions}, {"random mutations", mutations}, {"help", help})

/* test_options.c - command lines, right and wrong, and the lengths and shapes of sections `run` and `field`. */
#include "run/options.h"

#include "base/nearest.h"
#include "run/settings.h"
#include "test.h"

enum { MAX_WORDS = 32 };

/* Splits at blanks; the words live until the next call. */
static options read_line(const char *line)
{
    static char text[512];
    static char *words[MAX_WORDS];
    int n = 0;
    snprintf(text, sizeof text, "chiasm %s", line);
    for (char *w = strtok(text, " "); w && n < MAX_WORDS; w = strtok(NULL, " ")) {
        words[n++] = w;
    }
    return options_read(n, words);
}

static void wrong_line(const char *line, const char *problem)
{
    options o = read_line(line);
    CHECK_TEXT(o.problem, problem);
    options_free(&o);
}

static void all_flags(void)
{
    options o = read_line("simulate --set a.b=1 in.yaml --out=r.h5 --overwrite --restart-every 10min --max-walltime=1.5h --device cpu --threads 2 "
                          "--set c=[1,2] --quiet");
    CHECK_TEXT(o.problem, "");
    CHECK(o.command == COMMAND_SIMULATE && o.overwrite && !o.resume && !o.plan && !o.dump_input && o.ranks == 0);
    CHECK_TEXT(o.file, "in.yaml");
    CHECK_TEXT(o.out, "r.h5");
    CHECK_TEXT(o.device, "cpu");
    CHECK(o.level == LOG_QUIET);
    CHECK_NEAR(o.restart_every_s, 600, 1e-9, "rounding of one product");
    CHECK_NEAR(o.max_walltime_s, 5400, 1e-9, "rounding of one product");
    CHECK(o.nset == 3);
    if (o.nset == 3) {
        CHECK_TEXT(o.set[0], "a.b=1");
        CHECK_TEXT(o.set[1], "run.threads=2");
        CHECK_TEXT(o.set[2], "c=[1,2]");
    }
    options_free(&o);
}

static void defaults(void)
{
    options o = read_line("simulate in.yaml");
    CHECK_TEXT(o.problem, "");
    CHECK(!o.out && o.nset == 0 && !o.overwrite && o.restart_every_s == 0 && o.max_walltime_s == 0 && o.level == LOG_PROGRESS);
    CHECK_TEXT(o.device, "cpu");
    options_free(&o);
    o = read_line("simulate in.yaml --plan --ranks 1000");
    CHECK(o.plan && o.ranks == 1000 && o.problem[0] == '\0');
    options_free(&o);
    o = read_line("fit in.yaml --check --resume --restart-every 1min");
    CHECK(o.command == COMMAND_FIT && o.check && o.resume && o.problem[0] == '\0');
    options_free(&o);
    o = read_line("analyze in.yaml --out r.h5");
    CHECK(o.command == COMMAND_ANALYZE && !o.check && o.problem[0] == '\0');
    options_free(&o);
    o = read_line("simulate -- --strange.yaml");
    CHECK_TEXT(o.file, "--strange.yaml");
    options_free(&o);
}

static void talk(void)
{
    const char *const help[] = {"help", "--help", "-h"}, *const version[] = {"version", "--version"};
    for (int i = 0; i < 3; i++) {
        options o = read_line(help[i]);
        CHECK(o.command == COMMAND_HELP && !o.topic && o.problem[0] == '\0');
    }
    for (int i = 0; i < 2; i++) {
        options o = read_line(version[i]);
        CHECK(o.command == COMMAND_VERSION && o.problem[0] == '\0');
    }
    options o = read_line("help gain");
    CHECK(o.command == COMMAND_HELP);
    CHECK_TEXT(o.topic, "gain");
    o = read_line("simulate --help");
    CHECK(o.command == COMMAND_HELP && o.problem[0] == '\0');
    CHECK_TEXT(o.topic, "simulate");
}

static void wrong_lines(void)
{
    wrong_line("", "which command? chiasm help lists them");
    wrong_line("simulat in.yaml", "unknown command simulat; did you mean chiasm simulate");
    wrong_line("xyzzy", "unknown command xyzzy; chiasm help lists the commands");
    wrong_line("simulate", "simulate: which input file? chiasm simulate FILE.yaml");
    wrong_line("simulate a.yaml b.yaml", "one input file is wanted, not 'a.yaml' and 'b.yaml' (flags begin with --)");
    wrong_line("simulate a.yaml --overwite", "unknown flag --overwite; did you mean --overwrite?");
    wrong_line("simulate a.yaml --dvice=cpu", "unknown flag --dvice; did you mean --device?");
    wrong_line("simulate a.yaml -n", "unknown flag -n; chiasm help simulate lists the flags");
    wrong_line("validate a.yaml --out b", "--out is a flag of simulate, not of validate");
    wrong_line("simulate a.yaml --check", "--check is a flag of fit, not of simulate");
    wrong_line("analyze a.yaml --resume", "--resume is a flag of simulate, not of analyze");
    wrong_line("simulate a.yaml --out", "--out needs a value: --out RESULT.h5");
    wrong_line("simulate a.yaml --out --plan", "--out needs a value: --out RESULT.h5");
    wrong_line("simulate a.yaml --out=", "--out needs a value: --out RESULT.h5");
    wrong_line("simulate a.yaml --plan=yes", "--plan takes no value");
    wrong_line("simulate a.yaml --set run.step", "--set: 'run.step' has no KEY=VALUE");
    wrong_line("simulate a.yaml --threads 0", "--threads: '0' is not a whole number from 1 on");
    wrong_line("simulate a.yaml --threads 2x", "--threads: '2x' is not a whole number from 1 on");
    wrong_line("simulate a.yaml --device gpu", "--device: 'gpu' is none of cpu, cuda, auto");
    wrong_line("simulate a.yaml --ranks 4", "--ranks goes with --plan; ranks of a run are started by mpirun -n 4 chiasm ...");
    wrong_line("simulate a.yaml --restart-every 0s", "--restart-every: a time above zero is wanted, as in 10min");
    wrong_line("help a b", "help: too many words; chiasm help [TOPIC]");
    options o = read_line("simulate a.yaml --max-walltime 5deg"); /* the rest of the words is units.c's */
    CHECK(strncmp(o.problem, "--max-walltime: ", 16) == 0);
    options_free(&o);
}

static void nearest(void)
{
    const char *const names[] = {"gaussian", "deriche", "gain"};
    CHECK_TEXT(nearest_word("gausian", names, 3), "gaussian");
    CHECK_TEXT(nearest_word("agin", names, 3), "gain"); /* two letters swapped: one mistake */
    CHECK(nearest_word("hexagonal", names, 3) == NULL);
    CHECK(nearest_word("", names, 0) == NULL);
}

/* --- run and field ------------------------------------------------------------------------------------------------ */

/* Problems found; *s as read. */
static int read_settings(const char *yaml, int64_t stimulus_nstep, settings *s, char *first, size_t size)
{
    input *in = input_from_text(yaml, "test", NULL, 0);
    const input_node *run = input_child(input_root(in), "run");
    settings_read(in, run, input_child(input_root(in), "field"), s);
    settings_length(in, run, stimulus_nstep, s);
    int n = input_nproblem(in);
    snprintf(first, size, "%s", n > 0 ? input_problem_text(in, 0) : "");
    input_destroy(in);
    return n;
}

static void good_settings(void)
{
    settings s;
    char text[512];
    CHECK(read_settings("run: {duration: 0.3 s, step: 0.1 ms}\nfield: {size: [8 deg, 4.5 deg], resolution: 20 /deg}\n", 10, &s, text, sizeof text) ==
          0);
    CHECK_TEXT(text, "");
    CHECK(s.nstep == 3000 && s.nx == 160 && s.ny == 90 && s.ntile_x == 0 && s.ntile_y == 0 && s.seed == 1 && s.threads == 1);
    CHECK_NEAR(s.background, 0.5, 0, "the default is exact");
    CHECK(read_settings("field: {pixels: [64, 48], resolution: 0.5 /arcmin, tiles: [3, 4]}\n", 77, &s, text, sizeof text) == 0);
    CHECK_TEXT(text, "");
    CHECK(s.nstep == 77 && s.nx == 64 && s.ny == 48 && s.ntile_y == 3 && s.ntile_x == 4);
    CHECK(s.full_nx == 64 && s.full_ny == 48 && s.crop_x == 0 && s.crop_y == 0);
    CHECK(read_settings("field: {pixels: [64, 48], resolution: 30 /deg, crop: [61, 46]}\n", 77, &s, text, sizeof text) == 0);
    CHECK(s.nx == 61 && s.ny == 46 && s.full_nx == 64 && s.full_ny == 48 && s.crop_x == 1 && s.crop_y == 1);
    CHECK_NEAR(s.resolution_per_deg, 30, 1e-12, "rounding of one product");
    CHECK_NEAR(s.step_s, 1e-3, 1e-18, "rounding of one product");
}

static void bad_settings(void)
{
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        {"field: {resolution: 20 /deg}\n", "give size or pixels, one of the two"},
        {"field: {resolution: 20 /deg, pixels: [2, 2], size: [1 deg, 1 deg]}\n", "give size or pixels, not both"},
        {"field: {resolution: 20 /deg, pixels: [2]}\n", "two numbers are wanted"},
        {"field: {resolution: 20 /deg, pixels: [2.5, 3]}\n", "not whole numbers"},
        {"field: {resolution: 20 /deg, pixels: [20, 30], tiles: [31, 1]}\n", "at most one a pixel"},
        {"field: {resolution: 20 /deg, pixels: [20, 30], tiles: [2]}\n", "[ty, tx]"},
        {"field: {resolution: 10000 /deg, size: [90 deg, 90 deg]}\n", "at most 32768 each way"},
        {"field: {pixels: [20, 30]}\n", "resolution"},
        {"field: {resolution: 20 /deg, pixels: [20, 30], crop: [21, 30]}\n", "at most [20, 30]"},
        {"run: {duration: 1.5 ms}\nfield: {resolution: 20 /deg, pixels: [2, 2]}\n", "whole number of steps"},
        {"run: {step: 0 s}\nfield: {resolution: 20 /deg, pixels: [2, 2]}\n", "step"},
        {"run: {threads: 0}\nfield: {resolution: 20 /deg, pixels: [2, 2]}\n", "threads"},
    };
    settings s;
    char text[512];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int n = read_settings(bad[i].yaml, 5, &s, text, sizeof text);
        bool told = n == 1 && strstr(text, bad[i].says);
        if (!told) {
            printf("\n    %s    %d problems, first: %s", bad[i].yaml, n, text);
        }
        CHECK(told);
        CHECK(s.nx >= 1 && s.ny >= 1 && s.nstep >= 1);
    }
    CHECK(read_settings("field: {resolution: 20 /deg, pixels: [2, 2]}\n", INT64_MAX, &s, text, sizeof text) == 1);
    CHECK(strstr(text, "duration must be given") != NULL);
}

TEST_MAIN("options", {"every flag", all_flags}, {"defaults", defaults}, {"help and version", talk}, {"wrong lines", wrong_lines},
          {"nearest names", nearest}, {"run and field", good_settings}, {"bad run and field", bad_settings})

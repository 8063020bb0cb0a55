/* options.c - one table of flags checks the command line and prints its help. */
#include "run/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/units.h"

enum flag_kind { FLAG_YES, FLAG_TEXT, FLAG_COUNT, FLAG_SECONDS, FLAG_SET, FLAG_THREADS, FLAG_DEVICE, FLAG_LEVEL, FLAG_HELP };
enum { FOR_VALIDATE = 1, FOR_SIMULATE = 2, FOR_FIT = 4, FOR_ANALYZE = 8, FOR_LONG = 6, FOR_RUN = 14, FOR_ALL = 15 };

typedef struct flag {
    const char *name;
    enum flag_kind kind;
    int commands;
    size_t offset; /* of the field of options that it sets */
    int level;     /* FLAG_LEVEL */
    const char *value, *help;
} flag;

static const flag flags[] = {
    {"--set", FLAG_SET, FOR_ALL, 0, 0, "KEY=VALUE", "replaces one value of the input: run.duration=2s, model.stages.opl.sigma='0.1 deg'"},
    {"--out", FLAG_TEXT, FOR_RUN, offsetof(options, out), 0, "RESULT.h5", "where the result goes [results/<name of the input>.h5, ..._fit.h5, ..._analysis.h5]"},
    {"--overwrite", FLAG_YES, FOR_RUN, offsetof(options, overwrite), 0, NULL, "an existing result is replaced"},
    {"--plan", FLAG_YES, FOR_RUN, offsetof(options, plan), 0, NULL, "prints shapes, memory, operations, and stops"},
    {"--ranks", FLAG_COUNT, FOR_LONG, offsetof(options, ranks), 0, "N", "with --plan: as if on N ranks"},
    {"--resume", FLAG_YES, FOR_LONG, offsetof(options, resume), 0, NULL,
     "goes on from RESULT.h5.restart, if there is one; on any number of ranks"},
    {"--restart-every", FLAG_SECONDS, FOR_LONG, offsetof(options, restart_every_s), 0, "TIME", "writes a restart file that often: 10min"},
    {"--max-walltime", FLAG_SECONDS, FOR_LONG, offsetof(options, max_walltime_s), 0, "TIME",
     "stops with a restart file (exit 75) before that time: 1h"},
    {"--device", FLAG_DEVICE, FOR_RUN, offsetof(options, device), 0, "NAME", "cpu, cuda, or auto: cuda where every rank has a GPU that works [cpu]"},
    {"--threads", FLAG_THREADS, FOR_ALL, 0, 0, "N", "short for --set run.threads=N"},
    {"--check", FLAG_YES, FOR_FIT, offsetof(options, check), 0, NULL, "Taylor test of every fitted parameter on the first batch, and stops"},
    {"--dump-input", FLAG_YES, FOR_ALL, offsetof(options, dump_input), 0, NULL, "prints the input with every default written out, and stops"},
    {"--quiet", FLAG_LEVEL, FOR_ALL, 0, LOG_QUIET, NULL, "says nothing but errors"},
    {"--verbose", FLAG_LEVEL, FOR_ALL, 0, LOG_DETAIL, NULL, "says more"},
    {"--help", FLAG_HELP, FOR_ALL, 0, 0, NULL, "this text"},
};
enum { NFLAG = sizeof flags / sizeof *flags };

static const struct {
    const char *name;
    enum command command;
    int flags;
    const char *usage, *help;
} commands[] = {
    {"simulate", COMMAND_SIMULATE, FOR_SIMULATE, "chiasm simulate FILE.yaml [flags]",
     "runs a model on a stimulus; as it stands also under mpirun or srun"},
    {"fit", COMMAND_FIT, FOR_FIT, "chiasm fit FILE.yaml [flags]", "fits parameters of a model, or a stimulus, to responses"},
    {"analyze", COMMAND_ANALYZE, FOR_ANALYZE, "chiasm analyze FILE.yaml [flags]", "receptive fields, nonlinearities and scores of responses"},
    {"validate", COMMAND_VALIDATE, FOR_VALIDATE, "chiasm validate FILE.yaml [flags]", "lists every problem of an input, and stops"},
    {"help", COMMAND_HELP, 0, "chiasm help [TOPIC]", "this text, or what TOPIC is: a command, a section, a stage, a stimulus, a preset"},
    {"version", COMMAND_VERSION, 0, "chiasm version", "version, commit, precision, build"},
};
enum { NCOMMAND = sizeof commands / sizeof *commands };

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The first problem is the one that is told. */
static void __attribute__((format(printf, 2, 3))) wrong(options *o, const char *fmt, ...)
{
    if (o->problem[0] == '\0') {
        va_list args;
        va_start(args, fmt);
        vsnprintf(o->problem, sizeof o->problem, fmt, args);
        va_end(args);
    }
}

static const flag *find_flag(options *o, const char *name, int wanted)
{
    const char *names[NFLAG];
    int n = 0;
    for (int i = 0; i < NFLAG; i++) {
        if (flags[i].commands & wanted) {
            if (strcmp(flags[i].name, name) == 0) {
                return &flags[i];
            }
            names[n++] = flags[i].name;
        }
    }
    for (int i = 0; i < NFLAG; i++) {
        if (strcmp(flags[i].name, name) == 0) {
            int c = 0;
            while (!(commands[c].flags & flags[i].commands)) {
                c++;
            }
            wrong(o, "%s is a flag of %s, not of %s", name, commands[c].name, o->topic);
            return NULL;
        }
    }
    const char *nearest = nearest_word(name, names, n);
    if (nearest) {
        wrong(o, "unknown flag %s; did you mean %s?", name, nearest);
    } else {
        wrong(o, "unknown flag %s; chiasm help %s lists the flags", name, o->topic);
    }
    return NULL;
}

static int read_count(options *o, const char *name, const char *value)
{
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    if (errno || *end != '\0' || end == value || n < 1 || n > 10000000) {
        wrong(o, "%s: '%s' is not a whole number from 1 on", name, value);
        return 1;
    }
    return (int)n;
}

static void add_override(options *o, const char *text)
{
    o->set = memory_grow(o->set, (size_t)o->nset + 1, sizeof *o->set);
    o->set[o->nset++] = memory_text("%s", text);
}

static void apply(options *o, const flag *f, const char *value)
{
    void *field = (char *)o + f->offset;
    switch (f->kind) {
    case FLAG_YES:
        *(bool *)field = true;
        break;
    case FLAG_TEXT:
        *(const char **)field = value;
        break;
    case FLAG_COUNT:
        *(int *)field = read_count(o, f->name, value);
        break;
    case FLAG_SECONDS: {
        const char *why = units_read(value, "s", (double *)field);
        if (why || !(*(double *)field > 0)) {
            wrong(o, "%s: %s", f->name, why ? why : "a time above zero is wanted, as in 10min");
        }
        break;
    }
    case FLAG_SET:
        if (!strchr(value, '=') || value[0] == '=') {
            wrong(o, "--set: '%s' has no KEY=VALUE", value);
        }
        add_override(o, value);
        break;
    case FLAG_THREADS: {
        char text[64];
        snprintf(text, sizeof text, "run.threads=%d", read_count(o, f->name, value));
        add_override(o, text);
        break;
    }
    case FLAG_DEVICE:
        *(const char **)field = value;
        if (strcmp(value, "cpu") != 0 && strcmp(value, "cuda") != 0 && strcmp(value, "auto") != 0) {
            wrong(o, "--device: '%s' is none of cpu, cuda, auto", value);
        }
        break;
    case FLAG_LEVEL:
        o->level = (enum log_level)f->level;
        break;
    case FLAG_HELP:
        o->command = COMMAND_HELP;
        break;
    }
}

/* One flag at argv[i]; returns the index of the last word used. */
static int read_flag(options *o, int wanted, int argc, char *const argv[], int i)
{
    char name[64];
    const char *equals = strchr(argv[i], '=');
    int n = equals ? (int)(equals - argv[i]) : (int)strlen(argv[i]);
    snprintf(name, sizeof name, "%.*s", n, argv[i]);
    const flag *f = find_flag(o, name, wanted);
    if (!f) {
        return i;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (!f->value && value) {
        wrong(o, "%s takes no value", name);
    } else if (f->value && !value) {
        if (i + 1 >= argc || strncmp(argv[i + 1], "--", 2) == 0) {
            wrong(o, "%s needs a value: %s %s", name, name, f->value);
            return i;
        }
        value = argv[++i];
    }
    if (f->value && *value == '\0') {
        wrong(o, "%s needs a value: %s %s", name, name, f->value);
    } else {
        apply(o, f, value);
    }
    return i;
}

static void read_words(options *o, int wanted, int argc, char *const argv[])
{
    bool plain = false; /* behind "--" */
    for (int i = 2; i < argc; i++) {
        if (!plain && strcmp(argv[i], "--") == 0) {
            plain = true;
        } else if (!plain && strcmp(argv[i], "-h") == 0) {
            o->command = COMMAND_HELP;
        } else if (!plain && argv[i][0] == '-' && argv[i][1] != '\0') {
            i = read_flag(o, wanted, argc, argv, i);
        } else if (o->file) {
            wrong(o, "one input file is wanted, not '%s' and '%s' (flags begin with --)", o->file, argv[i]);
        } else {
            o->file = argv[i];
        }
    }
    if (o->command != COMMAND_HELP && !o->file) {
        wrong(o, "%s: which input file? chiasm %s FILE.yaml", o->topic, o->topic);
    }
    if (o->ranks > 0 && !o->plan) {
        wrong(o, "--ranks goes with --plan; ranks of a run are started by mpirun -n %d chiasm ...", o->ranks);
    }
}

options options_read(int argc, char *const argv[])
{
    options o = {.command = COMMAND_HELP, .device = "cpu", .level = LOG_PROGRESS};
    if (argc < 2) {
        wrong(&o, "which command? chiasm help lists them");
        return o;
    }
    const char *word = argv[1];
    word = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ? "help" : strcmp(word, "--version") == 0 ? "version" : word;
    const char *names[NCOMMAND];
    for (int i = 0; i < NCOMMAND; i++) {
        names[i] = commands[i].name;
        if (strcmp(word, names[i]) != 0) {
            continue;
        }
        o.command = commands[i].command;
        o.topic = names[i];
        if (commands[i].flags) {
            read_words(&o, commands[i].flags, argc, argv);
        } else if (argc > (o.command == COMMAND_HELP ? 3 : 2)) {
            wrong(&o, "%s: too many words; %s", names[i], commands[i].usage);
        } else if (o.command == COMMAND_HELP) {
            o.topic = argc > 2 ? argv[2] : NULL;
        }
        return o;
    }
    const char *nearest = nearest_word(word, names, NCOMMAND);
    wrong(&o, "unknown command %s; %s%s", word, nearest ? "did you mean chiasm " : "chiasm help lists the commands", nearest ? nearest : "");
    return o;
}

void options_free(options *o)
{
    for (int i = 0; i < o->nset; i++) {
        memory_free((void *)o->set[i]);
    }
    memory_free(o->set);
    o->set = NULL;
    o->nset = 0;
}

/* --- help --------------------------------------------------------------------------------------------------------- */

static void print_flags(int wanted)
{
    for (int i = 0; i < NFLAG; i++) {
        if (flags[i].commands & wanted) {
            char left[64];
            snprintf(left, sizeof left, "%s %s", flags[i].name, flags[i].value ? flags[i].value : "");
            printf("  %-22s %s\n", left, flags[i].help);
        }
    }
}

bool options_help_command(const char *name)
{
    for (int i = 0; i < NCOMMAND; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            printf("%s\n  %s\n", commands[i].usage, commands[i].help);
            print_flags(commands[i].flags);
            return true;
        }
    }
    return false;
}

void options_help(void)
{
    puts("chiasm - large populations of visual neurons\n");
    for (int i = 0; i < NCOMMAND; i++) {
        printf("  %-36s %s\n", commands[i].usage, commands[i].help);
    }
    puts("\nFlags (chiasm help COMMAND lists those of one):");
    print_flags(FOR_ALL);
    puts("\nExit codes: 0 done, 64 wrong command line, 65 bad input, 66 input cannot be opened, 69 no device or memory, 70 internal,\n"
         "73 result cannot be created, 74 reading or writing failed, 75 stopped in good order with a restart file, 76 model diverged.");
}

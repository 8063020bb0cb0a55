/* job.c - from a command line to a result.  Ranks read the same input and plan the same run; what they must agree on is said where it is done. */
#include "run/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "cluster/comm.h"
#include "input/stimulus.h"
#include "model/model.h"
#include "run/record.h"
#include "run/report.h"
#include "run/restart.h"
#include "run/settings.h"
#include "run/simulate.h"

typedef struct job {
    const options *opt;
    input *in;
    settings set;
    stimulus *stim;
    model *m;
    record *rec;
    record_facts facts;
    char *command, *result;
    char device[16];     /* what --device came to: known when the result is opened */
    double began_s;      /* log_clock() */
    int rank, nrank;     /* real, or imagined by --plan --ranks */
    size_t bytes_before; /* of this process before the model, mostly libraries and the stimulus */
} job;

/* --- reading and planning: nothing large is allocated -------------------------------------------------------------- */

typedef struct sections {
    const input_node *run, *field, *stimulus, *model, *record;
} sections;

static const key_spec section_keys[] = {
    {"run", KEY_NODE, NULL, "", 0, 0, NULL, "duration, step, seed, threads", offsetof(sections, run), 0, 0},
    {"field", KEY_NODE, NULL, "", 0, 0, NULL, "size and resolution of the visual field", offsetof(sections, field), 0, 0},
    {"stimulus", KEY_NODE, NULL, NULL, 0, 0, NULL, "what is shown (chiasm help stimulus)", offsetof(sections, stimulus), 0, 0},
    {"model", KEY_NODE, NULL, NULL, 0, 0, NULL, "a preset, or a list of stages (chiasm help model)", offsetof(sections, model), 0, 0},
    {"record", KEY_NODE, NULL, "", 0, 0, NULL, "what is kept", offsetof(sections, record), 0, 0},
};

/* Collective.  The first rank that has problems lists them, all leave with the same code. */
static enum exit_code agree_on_problems(const input *in)
{
    double code = input_nproblem(in) == 0 ? EXIT_DONE : input_missing(in) ? EXIT_NO_INPUT : EXIT_BAD_INPUT;
    double speaker = code != EXIT_DONE ? comm_rank() : comm_size();
    comm_max_double(&code, 1);
    comm_min_double(&speaker, 1);
    if (comm_rank() == (int)speaker) {
        input_print_problems(in);
    }
    return (enum exit_code)code;
}

static void open_stimulus(job *j, const sections *sec)
{
    const settings *s = &j->set;
    stimulus_frame where = {s->full_ny, s->full_nx, s->resolution_per_deg, s->step_s, s->nstep, (uint64_t)s->seed};
    j->stim = stimulus_open(j->in, sec->stimulus, &where);
    settings_length(j->in, sec->run, j->stim ? stimulus_nstep(j->stim) : 1, &j->set);
}

/* --plan shows the rank with the most work. */
static int busiest_rank(const settings *s, int nrank)
{
    grid g = grid_plan(s->ny, s->nx, s->ntile_y, s->ntile_x);
    int busiest = 0, most = -1;
    for (int r = 0; r < nrank; r++) {
        int first, count;
        grid_owned(&g, r, nrank, &first, &count);
        if (count > most) {
            most = count;
            busiest = r;
        }
    }
    return busiest;
}

static void plan_model(job *j)
{
    const settings *s = &j->set;
    j->nrank = j->opt->ranks > 0 ? j->opt->ranks : comm_size();
    j->rank = j->opt->plan ? busiest_rank(s, j->nrank) : comm_rank();
    j->bytes_before = memory_rss_peak();
    model_setup setup = {.in = j->in,
                         .step_s = s->step_s,
                         .pixels_per_deg = s->resolution_per_deg,
                         .seed = (uint64_t)s->seed,
                         .ny = s->ny,
                         .nx = s->nx,
                         .full_ny = s->full_ny,
                         .full_nx = s->full_nx,
                         .ntile_y = s->ntile_y,
                         .ntile_x = s->ntile_x,
                         .chunk_steps = (int)s->chunk_steps,
                         .stimulus_rest = s->background,
                         .rank = j->rank,
                         .nrank = j->nrank,
                         .nthread = (int)s->threads};
    j->m = model_create(&setup);
}

/* Tells the stimulus which part of the field this rank will ask for: the rectangle around its tiles. */
static void expect_stimulus(job *j)
{
    const settings *s = &j->set;
    grid g = grid_plan(s->ny, s->nx, s->ntile_y, s->ntile_x);
    int first, count, y0 = s->ny, x0 = s->nx, y1 = 0, x1 = 0;
    grid_owned(&g, j->rank, j->nrank, &first, &count);
    for (int leaf = first; leaf < first + count; leaf++) {
        grid_tile t = grid_tile_at(&g, leaf);
        y0 = t.y0 < y0 ? t.y0 : y0;
        x0 = t.x0 < x0 ? t.x0 : x0;
        y1 = t.y0 + t.ny > y1 ? t.y0 + t.ny : y1;
        x1 = t.x0 + t.nx > x1 ? t.x0 + t.nx : x1;
    }
    stimulus_expect(j->stim, s->crop_y + y0, s->crop_x + x0, y1 > y0 ? y1 - y0 : 0, x1 > x0 ? x1 - x0 : 0, model_chunk_steps(j->m));
}

static void plan_record(job *j, const sections *sec)
{
    const settings *s = &j->set;
    /* Without input_effective: what this section adds to it is known when the result is opened. */
    j->facts = (record_facts){.input_original = input_original(j->in),
                              .input_path = input_path(j->in),
                              .command = j->command,
                              .stimulus = j->stim ? stimulus_describe(j->stim) : "",
                              .device = j->device,
                              .step_s = s->step_s,
                              .pixels_per_deg = s->resolution_per_deg,
                              .nstep = s->nstep,
                              .seed = (uint64_t)s->seed};
    j->rec = record_plan(j->in, sec->record, j->m, &j->facts);
}

/* Every section is read before anything is said about any. */
static void read_sections(job *j)
{
    sections sec = {0};
    INPUT_FILL(j->in, input_root(j->in), "the input", section_keys, &sec);
    settings_read(j->in, sec.run, sec.field, &j->set);
    if (sec.stimulus) {
        open_stimulus(j, &sec);
    }
    if (sec.model) {
        plan_model(j);
    }
    if (j->stim && j->m) {
        expect_stimulus(j);
    }
    plan_record(j, &sec);
    if (j->m) { /* else not every key was asked for */
        input_check_unknown(j->in);
    }
}

static enum exit_code job_read(job *j)
{
    j->in = input_read(j->opt->file, j->opt->set, j->opt->nset);
    enum exit_code code = agree_on_problems(j->in);
    if (code == EXIT_DONE) {
        read_sections(j);
        code = agree_on_problems(j->in);
    }
    return code;
}

/* Collective.  Folders of nodes may differ; what ranks compute must not. */
static void check_same_input(job *j)
{
    const char *mine = input_effective(j->in);
    size_t bytes = strlen(mine) + 1;
    comm_broadcast(&bytes, sizeof bytes, 0);
    char *first = MEMORY_NEW(char, bytes);
    if (comm_rank() == 0) {
        memcpy(first, mine, bytes);
    }
    comm_broadcast(first, bytes, 0);
    if (strcmp(first, mine) != 0) {
        error_fatal(EXIT_BAD_INPUT, "%s reads differently on %s than on rank 0; put it on a file system that all nodes share", j->opt->file,
                    comm_host());
    }
    memory_free(first);
}

/* --- plan --------------------------------------------------------------------------------------------------------- */

/* Of this rank, bytes: all that is still to be allocated. */
static size_t bytes_wanted(const job *j)
{
    model_sizes size = model_size(j->m);
    return size.bytes_arrays + size.bytes_state + size.bytes_tables + record_bytes_buffer(j->rec) + restart_bytes(j->m) +
           stimulus_bytes(j->stim);
}

static void print_plan(const job *j)
{
    const settings *s = &j->set;
    model_sizes size = model_size(j->m);
    char text[7][32];
    log_say(LOG_RESULT, "input     %s", j->opt->file);
    log_say(LOG_RESULT, "result    %s, %s and spikes", j->result, report_bytes(record_bytes_total(j->rec), text[0]));
    log_say(LOG_RESULT, "time      %lld steps of %g ms, %g s", (long long)s->nstep, s->step_s * 1e3, (double)s->nstep * s->step_s);
    log_say(LOG_RESULT, "field     %d x %d pixels, %g x %g deg, %g pixels per deg", s->nx, s->ny, s->nx / s->resolution_per_deg,
            s->ny / s->resolution_per_deg, s->resolution_per_deg);
    log_say(LOG_RESULT, "stimulus  %s", stimulus_describe(j->stim));
    model_print_plan(j->m);
    record_print_plan(j->rec);
    log_say(LOG_RESULT, "work      %.3g GFLOP and %.3g GB moved a step, all ranks", size.flop_per_step * 1e-9, size.bytes_per_step * 1e-9);
    log_say(LOG_RESULT, "memory    %s on rank %d of %d: arrays %s, state %s, tables %s, record %s, stimulus %s, program %s",
            report_bytes((double)(j->bytes_before + bytes_wanted(j)), text[0]), j->rank, j->nrank, report_bytes((double)size.bytes_arrays, text[1]),
            report_bytes((double)size.bytes_state, text[2]), report_bytes((double)size.bytes_tables, text[3]),
            report_bytes((double)record_bytes_buffer(j->rec), text[4]), report_bytes((double)stimulus_bytes(j->stim), text[5]),
            report_bytes((double)j->bytes_before, text[6]));
}

/* Collective. */
static enum exit_code check_memory(const job *j, bool is_cpu)
{
    model_sizes size = model_size(j->m);
    size_t wanted = bytes_wanted(j) - (is_cpu ? 0 : size.bytes_arrays + size.bytes_state);
    size_t share = memory_bytes_available() / (size_t)comm_node_size();
    if (!comm_any(wanted > share)) {
        return EXIT_DONE;
    }
    double most[2] = {(double)wanted, -(double)share};
    comm_max_double(most, 2);
    if (comm_rank() == 0) {
        char text[2][32];
        fprintf(stderr, "chiasm: error: not enough memory: %s wanted by a rank, %s free for each rank of a node; use more nodes or a smaller field\n",
                report_bytes(most[0], text[0]), report_bytes(-most[1], text[1]));
    }
    return EXIT_NO_DEVICE;
}

/* --- run ---------------------------------------------------------------------------------------------------------- */

static enum exit_code job_simulate(job *j)
{
    const settings *s = &j->set;
    const options *o = j->opt;
    backend *be = backend_open(o->device, (int)s->threads);
    snprintf(j->device, sizeof j->device, "%s", be->ops->name);
    report_header(j->command, be->ops->name, (int)s->threads);
    enum exit_code code = check_memory(j, strcmp(be->ops->name, "cpu") == 0);
    if (code == EXIT_DONE) {
        model_attach(j->m, be);
        record_attach(j->rec, be);
        simulation sim = {.m = j->m,
                          .be = be,
                          .stim = j->stim,
                          .crop_y = s->crop_y,
                          .crop_x = s->crop_x,
                          .rec = j->rec,
                          .result = j->result,
                          .input_effective = input_effective(j->in),
                          .nstep = s->nstep,
                          .step_s = s->step_s,
                          .overwrite = o->overwrite,
                          .resume = o->resume,
                          .restart_every_s = o->restart_every_s,
                          .deadline_s = o->max_walltime_s > 0 ? j->began_s + o->max_walltime_s : 0};
        log_say(LOG_PROGRESS, "stimulus %s", stimulus_describe(j->stim));
        log_say(LOG_PROGRESS, "result   %s", j->result);
        simulate_done done = simulate_run(&sim);
        code = done.code;
        if (code == EXIT_DONE || code == EXIT_STOPPED) {
            report_end(j->began_s, j->bytes_before + bytes_wanted(j));
            log_say(LOG_PROGRESS, "%.6g s simulated in %.3f s: %.3g x real time", (double)done.steps * s->step_s, done.wall_s,
                    (double)done.steps * s->step_s / done.wall_s);
        }
    }
    record_destroy(j->rec);
    model_destroy(j->m);
    j->rec = NULL;
    j->m = NULL;
    backend_close(be);
    return code;
}

/* results/<name of the input>.h5, unless told otherwise. */
static char *choose_result(const options *o)
{
    if (o->out) {
        return memory_text("%s", o->out);
    }
    const char *slash = strrchr(o->file, '/'), *name = slash ? slash + 1 : o->file, *dot = strrchr(name, '.');
    int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    if (comm_rank() == 0 && !o->plan && o->command == COMMAND_SIMULATE && mkdir("results", 0777) != 0 && errno != EEXIST) {
        error_fatal(EXIT_NO_OUTPUT, "the folder results cannot be created here (%s); name a result with --out", strerror(errno));
    }
    return memory_text("results/%.*s.h5", n, name);
}

static char *join_words(int argc, char *const argv[])
{
    char *line = memory_text("%s", argv[0]);
    for (int i = 1; i < argc; i++) {
        char *longer = memory_text(strpbrk(argv[i], " \t'\"*?$") ? "%s '%s'" : "%s %s", line, argv[i]);
        memory_free(line);
        line = longer;
    }
    return line;
}

static enum exit_code job_do(job *j)
{
    if (j->opt->dump_input) {
        if (comm_rank() == 0) {
            fputs(input_effective(j->in), stdout);
        }
        return EXIT_DONE;
    }
    if (j->opt->command == COMMAND_VALIDATE) {
        log_say(LOG_RESULT, "%s: no problems", j->opt->file);
        return EXIT_DONE;
    }
    j->result = choose_result(j->opt);
    if (j->opt->plan) {
        print_plan(j);
        return EXIT_DONE;
    }
    return job_simulate(j);
}

int job_run(const options *o, int argc, char *const argv[])
{
    job j = {.opt = o, .began_s = log_clock(), .command = join_words(argc, argv)};
    log_start(comm_rank(), o->level);
    log_phase(PHASE_INIT);
    enum exit_code code = job_read(&j);
    if (code == EXIT_DONE) {
        check_same_input(&j);
        code = job_do(&j);
    }
    if (j.rec) {
        record_destroy(j.rec);
    }
    model_destroy(j.m);
    if (j.stim) {
        stimulus_close(j.stim);
    }
    input_destroy(j.in);
    memory_free(j.command);
    memory_free(j.result);
    return code;
}

/* --- talk --------------------------------------------------------------------------------------------------------- */

/* Under a launcher, without MPI: the first process speaks. */
static bool is_first_process(void)
{
    const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (int i = 0; i < 3; i++) {
        const char *rank = getenv(names[i]);
        if (rank) {
            return atoi(rank) == 0;
        }
    }
    return true;
}

static enum exit_code help(const char *topic)
{
    if (!topic) {
        options_help();
        puts("\nTopics of chiasm help TOPIC:");
        settings_help(NULL);
        return EXIT_DONE;
    }
    if (options_help_command(topic) || settings_help(topic)) {
        return EXIT_DONE;
    }
    const char *nearest = settings_nearest_topic(topic);
    fprintf(stderr, "chiasm: error: no help on %s; %s%s\n", topic, nearest ? "did you mean chiasm help " : "chiasm help lists the topics",
            nearest ? nearest : "");
    return EXIT_USAGE;
}

bool job_is_talk(const options *o)
{
    return o->problem[0] != '\0' || o->command == COMMAND_HELP || o->command == COMMAND_VERSION;
}

int job_talk(const options *o)
{
    bool speaks = is_first_process();
    if (o->problem[0] != '\0') {
        if (speaks) {
            fprintf(stderr, "chiasm: error: %s\n", o->problem);
        }
        return EXIT_USAGE;
    }
    if (!speaks) {
        return EXIT_DONE;
    }
    if (o->command == COMMAND_HELP) {
        return help(o->topic);
    }
    printf("chiasm %s (%s)\nreal   %s\nbuild  %s\n", version_number, version_commit, REAL_NAME, version_build);
    return EXIT_DONE;
}

/* job.c - from a command line to a result.  Ranks read the same input and plan the same run; what they must agree on is said where it is done. */
#include "run/job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"
#include "base/version.h"
#include "cluster/comm.h"
#include "run/analyze.h"
#include "run/fit.h"
#include "run/record.h"
#include "run/report.h"
#include "run/restart.h"
#include "run/run.h"
#include "run/simulate.h"

typedef struct job {
    run_parts p;
    model *m;           /* of simulate; a fit has its own */
    record *rec;
    fit *fit;
    analysis *analysis;
    char *command, *result;
    const char *processor; /* "cpu" or "cuda": what --device came to */
    char device[128];      /* the same in words */
    size_t bytes_before;   /* of this process before the model, mostly libraries and the stimulus */
    double device_free;    /* bytes of the GPU before the model */
} job;

/* --- reading and planning: nothing large is allocated -------------------------------------------------------------- */

typedef struct sections {
    const input_node *run, *field, *stimulus, *model, *record, *fit, *analyze;
} sections;

static const key_spec section_keys[] = {
    {"run", KEY_NODE, NULL, "", 0, 0, NULL, "duration, step, seed, threads", offsetof(sections, run), 0, 0},
    {"field", KEY_NODE, NULL, "", 0, 0, NULL, "size and resolution of the visual field", offsetof(sections, field), 0, 0},
    {"stimulus", KEY_NODE, NULL, NULL, 0, 0, NULL, "what is shown (chiasm help stimulus)", offsetof(sections, stimulus), 0, 0},
    {"model", KEY_NODE, NULL, NULL, 0, 0, NULL, "a preset, or a list of stages (chiasm help model)", offsetof(sections, model), 0, 0},
    {"record", KEY_NODE, NULL, "", 0, 0, NULL, "what is kept of a simulation", offsetof(sections, record), 0, 0},
    {"fit", KEY_NODE, NULL, "", 0, 0, NULL, "what a fit changes, and to what end", offsetof(sections, fit), 0, 0},
    {"analyze", KEY_NODE, NULL, "", 0, 0, NULL, "what an analysis computes", offsetof(sections, analyze), 0, 0},
};
enum { NSECTION = sizeof section_keys / sizeof *section_keys };

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
    settings *s = &j->p.set;
    stimulus_frame where = {s->full_ny, s->full_nx, s->resolution_per_deg, s->step_s, s->nstep, (uint64_t)s->seed};
    j->p.stim = stimulus_open(j->p.in, sec->stimulus, &where);
    settings_length(j->p.in, sec->run, j->p.stim ? stimulus_nstep(j->p.stim) : 1, s);
}

static void prepare_setup(job *j)
{
    const settings *s = &j->p.set;
    grid g = grid_plan(s->ny, s->nx, s->ntile_y, s->ntile_x);
    int nrank = j->p.opt->ranks > 0 ? j->p.opt->ranks : comm_size();
    j->bytes_before = memory_rss_peak();
    j->p.setup = (model_setup){.in = j->p.in,
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
                               .rank = j->p.opt->plan ? run_busiest_rank(&g, nrank) : comm_rank(),
                               .nrank = nrank,
                               .nthread = (int)s->threads,
                               .on_gpu = strcmp(j->processor, "cuda") == 0};
}

/* Tells the stimulus which part of the field this rank will ask for: the rectangle around its tiles. */
static void expect_stimulus(job *j)
{
    const settings *s = &j->p.set;
    const grid_tile *tile = model_tiles(j->m);
    int y0 = s->ny, x0 = s->nx, y1 = 0, x1 = 0;
    for (int l = 0; l < model_nleaf(j->m); l++) {
        grid_tile t = tile[l];
        y0 = t.y0 < y0 ? t.y0 : y0;
        x0 = t.x0 < x0 ? t.x0 : x0;
        y1 = t.y0 + t.ny > y1 ? t.y0 + t.ny : y1;
        x1 = t.x0 + t.nx > x1 ? t.x0 + t.nx : x1;
    }
    stimulus_expect(j->p.stim, s->crop_y + y0, s->crop_x + x0, y1 > y0 ? y1 - y0 : 0, x1 > x0 ? x1 - x0 : 0, model_chunk_steps(j->m));
}

static void plan_simulate(job *j, const sections *sec)
{
    const settings *s = &j->p.set;
    if (sec->model) {
        j->m = model_create(&j->p.setup);
    }
    if (j->p.stim && j->m) {
        expect_stimulus(j);
    }
    /* Without input_effective: what this section adds to it is known when the result is opened. */
    record_facts facts = {.input_original = input_original(j->p.in),
                          .input_path = input_path(j->p.in),
                          .command = j->p.command,
                          .stimulus = j->p.stim ? stimulus_describe(j->p.stim) : "",
                          .device = j->device,
                          .step_s = s->step_s,
                          .pixels_per_deg = s->resolution_per_deg,
                          .nstep = s->nstep,
                          .seed = (uint64_t)s->seed};
    j->rec = record_plan(j->p.in, sec->record, j->m, &facts);
}

/* Every section is read before anything is said about any.  `validate` reads those of all modes, a run only its own. */
static void read_sections(job *j)
{
    enum command command = j->p.opt->command;
    input *in = j->p.in;
    sections sec = {0};
    key_spec keys[NSECTION];
    memcpy(keys, section_keys, sizeof keys);
    bool analyzes = input_child(input_root(in), "analyze") != NULL;
    for (int i = 0; i < NSECTION; i++) { /* an analysis may do without */
        bool may_lack = command == COMMAND_ANALYZE || (command == COMMAND_VALIDATE && analyzes);
        keys[i].fallback = may_lack ? "" : keys[i].fallback;
    }
    input_fill(in, input_root(in), "the input", keys, NSECTION, &sec);
    settings_read(in, sec.run, sec.field, &j->p.set);
    if (sec.stimulus) {
        open_stimulus(j, &sec);
    }
    prepare_setup(j);
    if (command == COMMAND_SIMULATE || (command == COMMAND_VALIDATE && (sec.model || !analyzes))) {
        plan_simulate(j, &sec);
    } else {
        input_accept(sec.record);
    }
    if (command == COMMAND_FIT || (command == COMMAND_VALIDATE && sec.fit)) {
        j->fit = fit_plan(&j->p, sec.fit);
    } else {
        input_accept(sec.fit);
    }
    if (command == COMMAND_ANALYZE || (command == COMMAND_VALIDATE && sec.analyze)) {
        j->analysis = analyze_plan(&j->p, sec.analyze);
        input_accept(sec.model);
    } else {
        input_accept(sec.analyze);
    }
    bool planned = (!j->rec || j->m) && (!j->fit || fit_model(j->fit)); /* else not every key was asked for */
    if (planned) {
        input_check_unknown(in);
    }
}

static enum exit_code job_read(job *j)
{
    j->p.in = input_read(j->p.opt->file, j->p.opt->set, j->p.opt->nset);
    enum exit_code code = agree_on_problems(j->p.in);
    if (code == EXIT_DONE) {
        read_sections(j);
        code = agree_on_problems(j->p.in);
    }
    return code;
}

/* Collective.  Folders of nodes may differ; what ranks compute must not. */
static void check_same_input(job *j)
{
    const char *mine = input_effective(j->p.in);
    size_t bytes = strlen(mine) + 1;
    comm_broadcast(&bytes, sizeof bytes, 0);
    char *first = MEMORY_NEW(char, bytes);
    if (comm_rank() == 0) {
        memcpy(first, mine, bytes);
    }
    comm_broadcast(first, bytes, 0);
    if (strcmp(first, mine) != 0) {
        error_fatal(EXIT_BAD_INPUT, "%s reads differently on %s than on rank 0; put it on a file system that all nodes share", j->p.opt->file,
                    comm_host());
    }
    memory_free(first);
}

/* --- plan --------------------------------------------------------------------------------------------------------- */

static const model *model_of(const job *j)
{
    return j->fit ? fit_model(j->fit) : j->m;
}

/* Of this rank, bytes: all that is still to be allocated. */
static size_t bytes_wanted(const job *j)
{
    const model *m = model_of(j);
    size_t bytes = j->p.stim ? stimulus_bytes(j->p.stim) : 0;
    if (m) {
        model_sizes size = model_size(m);
        bytes += size.bytes_arrays + size.bytes_state + size.bytes_tables;
    }
    if (j->rec) {
        bytes += record_bytes_buffer(j->rec) + restart_bytes(m);
    }
    return bytes + (j->fit ? fit_bytes(j->fit) : 0) + (j->analysis ? analyze_bytes(j->analysis) : 0);
}

/* Of this rank on a GPU. */
static double device_wanted(const job *j)
{
    const model *m = model_of(j);
    return m ? (double)model_size(m).bytes_device + (j->fit ? (double)fit_bytes_device(j->fit) : 0) : 0;
}

static void print_plan(const job *j)
{
    const settings *s = &j->p.set;
    char text[7][32];
    log_say(LOG_RESULT, "input     %s", j->p.opt->file);
    if (j->rec) {
        log_say(LOG_RESULT, "result    %s, %s and spikes", j->result, report_bytes(record_bytes_total(j->rec), text[0]));
    } else {
        log_say(LOG_RESULT, "result    %s", j->result);
    }
    log_say(LOG_RESULT, "time      %lld steps of %g ms, %g s", (long long)s->nstep, s->step_s * 1e3, (double)s->nstep * s->step_s);
    log_say(LOG_RESULT, "field     %d x %d pixels, %g x %g deg, %g pixels per deg", s->nx, s->ny, s->nx / s->resolution_per_deg,
            s->ny / s->resolution_per_deg, s->resolution_per_deg);
    if (j->p.stim) {
        log_say(LOG_RESULT, "stimulus  %s", stimulus_describe(j->p.stim));
    }
    model_sizes size = {0};
    if (model_of(j)) {
        size = model_size(model_of(j));
        model_print_plan(model_of(j));
    }
    if (j->rec) {
        record_print_plan(j->rec);
    } else if (j->fit) {
        fit_print_plan(j->fit);
    } else {
        analyze_print_plan(j->analysis);
    }
    if (model_of(j)) {
        log_say(LOG_RESULT, "work      %.3g GFLOP and %.3g GB moved a step, all ranks", size.flop_per_step * 1e-9, size.bytes_per_step * 1e-9);
    }
    size_t own = j->rec ? record_bytes_buffer(j->rec) : j->fit ? fit_bytes(j->fit) : analyze_bytes(j->analysis);
    log_say(LOG_RESULT, "memory    %s on rank %d of %d: arrays %s, state %s, tables %s, %s %s, stimulus %s, program %s",
            report_bytes((double)(j->bytes_before + bytes_wanted(j)), text[0]), j->p.setup.rank, j->p.setup.nrank,
            report_bytes((double)size.bytes_arrays, text[1]), report_bytes((double)size.bytes_state, text[2]),
            report_bytes((double)size.bytes_tables, text[3]), j->rec ? "record" : j->fit ? "fit" : "analysis", report_bytes((double)own, text[4]),
            report_bytes(j->p.stim ? (double)stimulus_bytes(j->p.stim) : 0, text[5]), report_bytes((double)j->bytes_before, text[6]));
    if (model_of(j)) {
        log_say(LOG_RESULT, "on a GPU  %s of its memory on rank %d of %d: %s a tile, %s of tables and working memory",
                report_bytes(device_wanted(j), text[0]),
                j->p.setup.rank, j->p.setup.nrank, report_bytes((double)size.bytes_device_leaf, text[1]), report_bytes((double)size.bytes_device_fixed, text[2]));
    }
}

/* What would fit: as many ranks as the tiles need that do not fit here; smaller tiles where not even one does.  A leaf grows with its pixels. */
static char *what_fits(const model *m, double wanted, double free_bytes)
{
    const grid *g = model_grid(m);
    model_sizes size = model_size(m);
    double fixed = (double)size.bytes_device_fixed, room = free_bytes - fixed;
    double leaf = (double)size.bytes_device_leaf + (wanted - (double)size.bytes_device) / (model_nleaf(m) > 0 ? model_nleaf(m) : 1);
    double pixel = leaf / ((double)g->tile_ny * g->tile_nx), side = room > 0 ? sqrt(room / pixel) : 0;
    char text[32];
    if (room >= leaf) {
        int some = (int)(room / leaf), need = (grid_nleaf(g) + some - 1) / some;
        return memory_text("%d of its %d tiles fit: use %d ranks, each with a GPU of its own, or a smaller run.chunk (now %d)", some, model_nleaf(m), need,
                           model_chunk_steps(m));
    }
    if (side < 1) {
        return memory_text("tables and working memory alone take %s: use a larger GPU, or --device cpu", report_bytes(fixed, text));
    }
    int ny = (int)ceil(g->ny / side), nx = (int)ceil(g->nx / side);
    return memory_text("at %s a pixel a tile of %d x %d fits: use field.tiles: [%d, %d] and %d ranks, each with a GPU of its own, "
                       "or a smaller run.chunk (now %d)", report_bytes(pixel, text), (int)side, (int)side, ny, nx, ny * nx * g->nseq * g->nnet,
                       model_chunk_steps(m));
}

/* Collective.  The rank that lacks most speaks. */
static enum exit_code check_device(job *j, const backend *be)
{
    size_t free_bytes, all_bytes;
    if (!backend_memory(be, &free_bytes, &all_bytes)) {
        return EXIT_DONE;
    }
    j->device_free = (double)free_bytes;
    double lack = device_wanted(j) - (double)free_bytes, most = lack;
    comm_max_double(&most, 1);
    if (most <= 0) {
        return EXIT_DONE;
    }
    double speaker = lack == most ? comm_rank() : comm_size();
    comm_min_double(&speaker, 1);
    if (comm_rank() == (int)speaker) {
        char text[2][32], *advice = what_fits(model_of(j), device_wanted(j), (double)free_bytes);
        fprintf(stderr, "chiasm: error: not enough memory on the GPU of rank %d: %s wanted, %s free; %s\n", comm_rank(),
                report_bytes(device_wanted(j), text[0]), report_bytes((double)free_bytes, text[1]), advice);
        memory_free(advice);
    }
    return EXIT_NO_DEVICE;
}

/* Collective. */
static enum exit_code check_memory(job *j, const backend *be)
{
    size_t elsewhere = 0, on_device, all;
    if (model_of(j) && backend_memory(be, &on_device, &all)) {
        model_sizes size = model_size(model_of(j));
        elsewhere = size.bytes_arrays + size.bytes_state;
    }
    size_t wanted = bytes_wanted(j) - elsewhere;
    size_t share = memory_bytes_available() / (size_t)comm_node_size();
    if (!comm_any(wanted > share)) {
        return check_device(j, be);
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

static enum exit_code job_simulate(job *j, backend *be)
{
    const settings *s = &j->p.set;
    const options *o = j->p.opt;
    model_attach(j->m, be);
    record_attach(j->rec, be);
    simulation sim = {.m = j->m,
                      .be = be,
                      .stim = j->p.stim,
                      .crop_y = s->crop_y,
                      .crop_x = s->crop_x,
                      .rec = j->rec,
                      .result = j->result,
                      .input_effective = input_effective(j->p.in),
                      .nstep = s->nstep,
                      .step_s = s->step_s,
                      .overwrite = o->overwrite,
                      .resume = o->resume,
                      .restart_every_s = o->restart_every_s,
                      .deadline_s = run_deadline(&j->p)};
    simulate_done done = simulate_run(&sim);
    if (done.code == EXIT_DONE || done.code == EXIT_STOPPED) {
        report_end(j->p.began_s, j->bytes_before + bytes_wanted(j));
    }
    if (done.steps > 0 && (done.code == EXIT_DONE || done.code == EXIT_STOPPED)) { /* none: the result was complete */
        log_say(LOG_PROGRESS, "%.6g s simulated in %.3f s: %.3g x real time", (double)done.steps * s->step_s, done.wall_s,
                (double)done.steps * s->step_s / done.wall_s);
    }
    return done.code;
}

static enum exit_code job_fit(job *j, backend *be)
{
    if (j->p.opt->check) {
        return fit_check(j->fit, be);
    }
    enum exit_code code = fit_run(j->fit, be);
    if (code == EXIT_DONE || code == EXIT_STOPPED) {
        report_end(j->p.began_s, j->bytes_before + bytes_wanted(j));
    }
    return code;
}

static enum exit_code job_analyze(job *j, backend *be)
{
    enum exit_code code = analyze_run(j->analysis, be);
    if (code == EXIT_DONE) {
        report_end(j->p.began_s, j->bytes_before + bytes_wanted(j));
    }
    return code;
}

/* The plan against what was taken, all plans and tables of CUDA's libraries with it. */
static void say_device_memory(const job *j, const backend *be)
{
    size_t free_bytes, all_bytes;
    char text[3][32];
    if (backend_memory(be, &free_bytes, &all_bytes)) {
        log_say(LOG_PROGRESS, "memory of the GPU of rank 0: %s taken (planned %s) of %s", report_bytes(j->device_free - (double)free_bytes, text[0]),
                report_bytes(device_wanted(j), text[1]), report_bytes((double)all_bytes, text[2]));
    }
}

/* Whatever holds memory of the backend, before the backend goes. */
static void destroy_modes(job *j)
{
    record_destroy(j->rec);
    model_destroy(j->m);
    fit_destroy(j->fit);
    analyze_destroy(j->analysis);
    j->rec = NULL;
    j->m = NULL;
    j->fit = NULL;
    j->analysis = NULL;
}

static enum exit_code job_execute(job *j)
{
    threads_use((int)j->p.set.threads);
    backend *be = backend_open(j->processor, (int)j->p.set.threads);
    snprintf(j->device, sizeof j->device, "%s", be->device);
    report_header(j->command, be->device, (int)j->p.set.threads);
    backend_say(be);
    enum exit_code code = check_memory(j, be);
    if (code == EXIT_DONE) {
        if (j->p.stim) {
            log_say(LOG_PROGRESS, "stimulus %s", stimulus_describe(j->p.stim));
        }
        log_say(LOG_PROGRESS, "result   %s", j->result);
        code = j->fit ? job_fit(j, be) : j->analysis ? job_analyze(j, be) : job_simulate(j, be);
        say_device_memory(j, be);
    }
    destroy_modes(j);
    backend_close(be);
    return code;
}

/* results/<name of the input>.h5, unless told otherwise; a fit and an analysis of the same input stand beside its simulation. */
static char *choose_result(const options *o)
{
    if (o->out) {
        return memory_text("%s", o->out);
    }
    const char *slash = strrchr(o->file, '/'), *name = slash ? slash + 1 : o->file, *dot = strrchr(name, '.');
    int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    if (comm_rank() == 0 && !o->plan && !o->check && mkdir("results", 0777) != 0 && errno != EEXIST) {
        error_fatal(EXIT_NO_OUTPUT, "the folder results cannot be created here (%s); name a result with --out", strerror(errno));
    }
    const char *mode = o->command == COMMAND_FIT ? "_fit" : o->command == COMMAND_ANALYZE ? "_analysis" : "";
    return memory_text("results/%.*s%s.h5", n, name, mode);
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
    if (j->p.opt->dump_input) {
        if (comm_rank() == 0) {
            fputs(input_effective(j->p.in), stdout);
        }
        return EXIT_DONE;
    }
    if (j->p.opt->command == COMMAND_VALIDATE) {
        log_say(LOG_RESULT, "%s: no problems", j->p.opt->file);
        return EXIT_DONE;
    }
    j->result = choose_result(j->p.opt);
    j->p.result = j->result;
    if (j->p.opt->plan) {
        print_plan(j);
        return EXIT_DONE;
    }
    return job_execute(j);
}

int job_run(const options *o, int argc, char *const argv[])
{
    job j = {.p = {.opt = o, .began_s = log_clock()}, .command = join_words(argc, argv)};
    j.p.command = j.command;
    j.p.device = j.device;
    log_start(comm_rank(), o->level);
    log_phase(PHASE_INIT);
    j.processor = backend_choose(o->device);
    enum exit_code code = job_read(&j);
    if (code == EXIT_DONE) {
        check_same_input(&j);
        code = job_do(&j);
    }
    destroy_modes(&j);
    if (j.p.stim) {
        stimulus_close(j.p.stim);
    }
    input_destroy(j.p.in);
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
    bool found = options_help_command(topic); /* `fit` is a command and a section */
    if (found && settings_nearest_topic(topic) && strcmp(settings_nearest_topic(topic), topic) == 0) {
        puts("");
        settings_help(topic);
    }
    if (found || settings_help(topic)) {
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

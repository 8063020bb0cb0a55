/* fit_settings.c - the section `fit`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/units.h"
#include "cluster/store.h"
#include "run/fit_own.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define AT(field) offsetof(fit_settings, field)

static const key_spec fit_keys[] = {
    {"target", KEY_WORD, NULL, "parameters", 0, 0, "parameters|stimulus", "what is changed: the model, or what it sees", AT(target), 0, 0},
    {"parameters", KEY_NODE, NULL, "", 0, 0, NULL, "all, or a list of STAGE.PARAMETER (chiasm help parameters)", AT(parameters), 0, 0},
    {"data", KEY_NODE, NULL, "", 0, 0, NULL, "responses that outputs are fitted to (chiasm help data)", AT(data), 0, 0},
    {"loss", KEY_NODE, NULL, "", 0, 0, NULL, "how far an output is from its response", AT(loss), 0, 0},
    {"penalties", KEY_NODE, NULL, "", 0, 0, NULL, "list of penalties on parameters", AT(penalties), 0, 0},
    {"sequences", KEY_NODE, NULL, "", 0, 0, NULL, "how the recording is cut and computed", AT(sequences), 0, 0},
    {"split", KEY_NODE, NULL, "", 0, 0, NULL, "what trains, validates and tests", AT(split), 0, 0},
    {"optimiser", KEY_NODE, NULL, "", 0, 0, NULL, "method and its rate", AT(optimiser), 0, 0},
    {"stopping", KEY_NODE, NULL, "", 0, 0, NULL, "when no better validation score ends the fit", AT(stopping), 0, 0},
    {"networks", KEY_NODE, NULL, "", 0, 0, NULL, "many copies of the model at once, each with own parameters", AT(networks), 0, 0},
    {"stimulus", KEY_NODE, NULL, "", 0, 0, NULL, "of target: stimulus: what it is made for, and its limits", AT(stimulus), 0, 0},
    {"epochs", KEY_INT, NULL, "50", 1, 1e9, NULL, "passes over the training sequences (methods that step; searches have max_steps)", AT(epochs), 0,
     0},
    {"score", KEY_WORD, NULL, "loss", 0, 0, "loss|correlation|bits_per_spike", "what is looked at in validation; the best model is kept", AT(score),
     0, 0},
    {"evaluate_every", KEY_INT, NULL, "0", 0, 1e9, NULL, "steps of the optimiser between looks at the validation score; 0: once an epoch",
     AT(evaluate_every), 0, 0},
    {"memory_mb", KEY_INT, NULL, "1024", 1, 1 << 24, NULL,
     "memory of each rank for the states that back-propagation comes back to, and of all for the arrays of a chunk; predictions that need more are "
     "not written, MiB",
     AT(memory_mb), 0, 0},
    {"movie_mb", KEY_INT, NULL, "1024", 0, 1 << 24, NULL,
     "memory of each rank for the frames of the stimulus, and for targets; if they need more, they are made anew each time, MiB", AT(movie_mb), 0, 0},
};

typedef struct parameter_keys {
    const char *name, *min, *max, *start;
    int map;
    double scale;
} parameter_keys;
static const key_spec parameter_list[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "STAGE.PARAMETER; * stands for any: opl.*, *.tau", offsetof(parameter_keys, name), 0, 0},
    {"min", KEY_TEXT, NULL, "", 0, 0, NULL, "smallest value, with the parameter's unit", offsetof(parameter_keys, min), 0, 0},
    {"max", KEY_TEXT, NULL, "", 0, 0, NULL, "largest value", offsetof(parameter_keys, max), 0, 0},
    {"map", KEY_WORD, NULL, "own", 0, 0, "own|free|positive|between",
     "how the optimiser sees it: p / scale, log p, logit of its place between min and max; own: as the stage says", offsetof(parameter_keys, map), 0,
     0},
    {"start", KEY_TEXT, NULL, "", 0, 0, NULL, "value to start from, or `normal SD`: drawn anew for each value and network",
     offsetof(parameter_keys, start), 0, 0},
    {"scale", KEY_REAL, "", "0", 0, 1e30, NULL, "of map: free; 0: the size of the start value", offsetof(parameter_keys, scale), 0, 0},
};

typedef struct data_keys {
    const char *stage;
    double weight, cells[4096];
    int ncell;
} data_keys;
static const key_spec data_list[] = {
    {"stage", KEY_TEXT, NULL, "", 0, 0, NULL, "whose output is fitted to these responses; not given: loss.stage, or the last one",
     offsetof(data_keys, stage), 0, 0},
    {"weight", KEY_REAL, "", "1", 0, 1e12, NULL, "of its loss among those of other outputs", offsetof(data_keys, weight), 0, 0},
    {"columns", KEY_REALS, "", "", 0, 1e9, NULL, "cells of the response, one for each element of the output; not given: as they stand",
     offsetof(data_keys, cells), offsetof(data_keys, ncell), 4096},
};

static const key_spec sequence_keys[] = {
    {"length", KEY_INT, NULL, "0", 0, 1e12, NULL, "counted steps of a sequence; 0: the recording is one", offsetof(fit_sequences, length), 0, 0},
    {"burn_in", KEY_INT, NULL, "0", 0, 1e9, NULL, "steps before each sequence that are computed, from the state before step 0, but not counted",
     offsetof(fit_sequences, burn_in), 0, 0},
    {"batch", KEY_INT, NULL, "1", 1, 65536, NULL, "sequences computed at once, for one step of the optimiser", offsetof(fit_sequences, batch), 0, 0},
    {"order", KEY_WORD, NULL, "shuffled", 0, 0, "shuffled|in_order", "in which sequences are taken in an epoch", offsetof(fit_sequences, order), 0,
     0},
    {"truncate", KEY_INT, NULL, "0", 0, 1e12, NULL, "steps of back-propagation: the state goes on, the derivative is cut; 0: whole sequences",
     offsetof(fit_sequences, truncate), 0, 0},
};

typedef struct network_keys {
    double window[2];
    int nwindow;
    const char *table;
    const input_node *each;
} network_keys;
static const key_spec network_list[] = {
    {"window", KEY_REALS, "", "", 1, 32768, NULL, "[nx, ny] pixels that each network sees; not given: the field", offsetof(network_keys, window),
     offsetof(network_keys, nwindow), 2},
    {"each", KEY_NODE, NULL, "", 0, 0, NULL, "list of networks: {name: a, at: [x0, y0], columns: [9]}", offsetof(network_keys, each), 0, 0},
    {"table", KEY_PATH, NULL, "", 0, 0, NULL, "the same as FILE.h5:/dataset [network][3]: x0, y0, column of the response",
     offsetof(network_keys, table), 0, 0},
};
typedef struct one_network {
    const char *name;
    double at[2], cells[4096];
    int nat, ncell;
} one_network;
static const key_spec one_network_keys[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "of the network, in the result", offsetof(one_network, name), 0, 0},
    {"at", KEY_REALS, "", "", 0, 32768, NULL, "[x0, y0] first pixel of its window", offsetof(one_network, at), offsetof(one_network, nat), 2},
    {"columns", KEY_REALS, "", "", 0, 1e9, NULL, "cells of the response, one for each element of the output", offsetof(one_network, cells),
     offsetof(one_network, ncell), 4096},
};

static const key_spec stimulus_keys[] = {
    {"objective", KEY_WORD, NULL, "maximise", 0, 0, "maximise|match", "makes an output large (the mean of its cells), or matches the data",
     offsetof(fit_stimulus, objective), 0, 0},
    {"stage", KEY_TEXT, NULL, "", 0, 0, NULL, "whose output is made large; not given: the last one", offsetof(fit_stimulus, stage), 0, 0},
    {"cells", KEY_REALS, "", "", 0, 1e9, NULL, "its cells; not given: all", offsetof(fit_stimulus, cells), offsetof(fit_stimulus, ncell), 4096},
    {"low", KEY_REAL, "", "0", -1e6, 1e6, NULL, "smallest luminance", offsetof(fit_stimulus, low), 0, 0},
    {"high", KEY_REAL, "", "1", -1e6, 1e6, NULL, "largest luminance", offsetof(fit_stimulus, high), 0, 0},
    {"norm", KEY_REAL, "", "0", 0, 1e6, NULL,
     "largest root mean square of (movie - background); 0: any.  sgd keeps to its shape, adam moves all pixels alike", offsetof(fit_stimulus, norm),
     0, 0},
    {"smooth_space", KEY_REAL, "", "0", 0, 1e12, NULL, "weight of the squared Laplacian of each frame, mean over pixels",
     offsetof(fit_stimulus, smooth_space), 0, 0},
    {"smooth_time", KEY_REAL, "", "0", 0, 1e12, NULL, "weight of squared second differences in time, mean over pixels",
     offsetof(fit_stimulus, smooth_time), 0, 0},
    {"noise", KEY_REAL, "", "0", 0, 1, NULL, "standard deviation of noise added to the section `stimulus`, which the movie starts from",
     offsetof(fit_stimulus, noise), 0, 0},
};

static const char fit_text[] =
    "  fit:\n"
    "    parameters: [opl.sigma, {name: low.tau, min: 1 ms, max: 1 s}, {name: cnn.kernel, start: normal 0.05}]\n"
    "    data: {stage: rate, source: responses.h5:/y, axes: [time, cell]}\n"
    "    loss: {type: poisson}\n"
    "    sequences: {length: 2000, burn_in: 20, batch: 4}\n"
    "    split: {validation: 0.1, test: 0.1}\n"
    "    optimiser: {method: adam, rate: 1e-3}\n"
    "    epochs: 50\n\n"
    "chiasm fit FILE --check compares every derivative with differences, on the user's own model and data.  The result has /parameters, /history,\n"
    "/prediction; RESULT_fitted.yaml beside it is the input with the fitted values, for chiasm simulate.  Searches of NLopt (lbfgs, ...) take all "
    "training\n"
    "sequences for each value; a stopped one begins again from the best point so far.  Without validation sequences the last parameters are kept.";
static const char parameters_text[] =
    "Parameters are the physical ones, in the units of their keys: chiasm fit FILE --plan lists those of the model, with limits and maps.";
static const char data_text[] = "Together with the keys of topic response.";
static const char sequences_text[] = "Sequence i counts steps [burn_in + i length, burn_in + (i + 1) length) of the recording; the burn_in steps "
                                     "before are computed too.  Every step but the\n"
                                     "first burn_in is so counted in one sequence; a rest shorter than length is left out.";

static const help_topic own_topics[] = {
    {"fit", "section `fit`: what is fitted to what, and how", fit_text, fit_keys, COUNT(fit_keys)},
    {"parameters", "item of `fit.parameters`: which are fitted, their limits and start", parameters_text, parameter_list, COUNT(parameter_list)},
    {"data", "section `fit.data`, or items of it: responses of an output", data_text, data_list, COUNT(data_list)},
    {"sequences", "section `fit.sequences`: how a recording is cut", sequences_text, sequence_keys, COUNT(sequence_keys)},
    {"networks", "section `fit.networks`: many small models at once", NULL, network_list, COUNT(network_list)},
    {"network", "item of `fit.networks.each`", NULL, one_network_keys, COUNT(one_network_keys)},
    {"fit_stimulus", "section `fit.stimulus`: the most exciting stimulus, or one that makes a response", NULL, stimulus_keys, COUNT(stimulus_keys)},
};

int fit_topic_count(void)
{
    return COUNT(own_topics) + 7;
}

help_topic fit_topic_at(int i)
{
    const help_topic *const other[] = {&response_topic, &loss_topic,  &loss_activity_topic, &penalty_topic,
                                       &split_topic,    &optim_topic, &stopping_topic};
    ASSERT(i >= 0 && i < fit_topic_count());
    return i < COUNT(own_topics) ? own_topics[i] : *other[i - COUNT(own_topics)];
}

/* --- the section itself --------------------------------------------------------------------------------------------- */

void fit_read(fit *f)
{
    input *in = f->in;
    fit_settings *s = &f->s;
    INPUT_FILL(in, f->section, "fit", fit_keys, s);
    INPUT_FILL(in, s->sequences, "fit.sequences", sequence_keys, &f->seq);
    loss_read(in, s->loss, &f->loss);
    split_read(in, s->split, &f->split);
    optim_read(in, s->optimiser, &f->optim);
    stopping_read(in, s->stopping, &f->stopping);
    if (s->target == FIT_STIMULUS) {
        INPUT_FILL(in, s->stimulus, "fit.stimulus", stimulus_keys, &f->stim);
        if (s->parameters || s->networks || s->penalties) {
            input_problem(in, f->section, "fit: target: stimulus fits no parameters: leave out parameters, penalties and networks");
            input_accept(s->parameters);
        }
        if (f->stim.low >= f->stim.high) {
            input_problem(in, s->stimulus, "fit.stimulus: low %g is not below high %g", f->stim.low, f->stim.high);
        }
    } else if (s->stimulus) {
        input_problem(in, s->stimulus, "fit: stimulus: is for target: stimulus only");
    } else if (!s->parameters) {
        input_problem(in, f->section, "fit: parameters: all, or a list of STAGE.PARAMETER is wanted");
    }
    if (s->target == FIT_PARAMETERS || f->stim.objective == 1) {
        if (!s->data) {
            input_problem(in, f->section, "fit: data: responses are wanted (chiasm help data)");
        }
    } else if (s->data) {
        input_problem(in, s->data, "fit: data: has no use with objective: maximise");
    }
}

/* --- networks ------------------------------------------------------------------------------------------------------- */

static void check_window(fit *f, const input_node *at, const fit_network *n)
{
    const settings *s = &f->p->set;
    if (n->y0 + f->setup.ny > s->ny || n->x0 + f->setup.nx > s->nx) {
        input_problem(f->in, at, "fit: networks: the window of %d x %d pixels at [%d, %d] leaves the field of %d x %d", f->setup.nx, f->setup.ny,
                      n->x0, n->y0, s->nx, s->ny);
    }
}

static void read_table(fit *f, const input_node *at, const char *path)
{
    const char *colon = strrchr(path, ':'), *why = NULL;
    char *file = memory_text("%.*s", colon ? (int)(colon - path) : 0, path);
    store *s = colon && colon[1] == '/' ? store_open_read(file, &why) : NULL;
    if (!s) {
        input_problem(f->in, at, "fit: networks: cannot read '%s': %s", path, why ? why : "write FILE.h5:/dataset");
        memory_free(file);
        return;
    }
    store_info info = store_look(s, colon + 1);
    bool shaped = info.found && info.rank == 2 && info.dims[0] > 0 && info.dims[0] < 1 << 20 && info.dims[1] == 3;
    double *rows = MEMORY_NEW(double, shaped ? info.dims[0] * 3 : 1);
    if (!shaped || !store_read(s, colon + 1, STORE_F64, NULL, NULL, rows)) {
        input_problem(f->in, at, "fit: networks: '%s' is not [network][3]: x0, y0, column", path);
    } else {
        f->nnet = (int)info.dims[0];
        f->network = MEMORY_NEW(fit_network, f->nnet);
        for (int k = 0; k < f->nnet; k++) {
            f->network[k] = (fit_network){"", (int)rows[3 * k + 1], (int)rows[3 * k], MEMORY_NEW(double, 1), 1};
            f->network[k].cells[0] = rows[3 * k + 2];
            check_window(f, at, &f->network[k]);
        }
    }
    memory_free(rows);
    store_close_read(s);
    memory_free(file);
}

static void read_list(fit *f, const input_node *list)
{
    f->nnet = input_count(list);
    f->network = MEMORY_NEW(fit_network, f->nnet);
    for (int k = 0; k < f->nnet; k++) {
        const input_node *at = input_item(list, k);
        one_network one;
        INPUT_FILL(f->in, at, "fit.networks.each", one_network_keys, &one);
        fit_network *n = &f->network[k];
        *n = (fit_network){one.name ? one.name : "", one.nat == 2 ? (int)one.at[1] : 0, one.nat == 2 ? (int)one.at[0] : 0,
                           MEMORY_NEW(double, one.ncell), one.ncell};
        memcpy(n->cells, one.cells, (size_t)one.ncell * sizeof(double));
        check_window(f, at, n);
    }
}

void fit_read_networks(fit *f)
{
    network_keys keys = {0};
    f->nnet = 1;
    if (f->s.networks) {
        const input_node *at = f->s.networks;
        INPUT_FILL(f->in, at, "fit.networks", network_list, &keys);
        if (keys.nwindow == 2) {
            f->setup.nx = (int)keys.window[0];
            f->setup.ny = (int)keys.window[1];
            f->setup.full_nx = f->setup.nx;
            f->setup.full_ny = f->setup.ny;
        }
        if ((keys.each != NULL) == (keys.table != NULL) || (keys.each && (!input_is_list(keys.each) || input_count(keys.each) == 0))) {
            input_problem(f->in, at, "fit: networks: give each, a list of networks, or table");
        } else if (keys.each) {
            read_list(f, keys.each);
        } else {
            read_table(f, at, keys.table);
        }
        if (optim_is_search(&f->optim)) {
            input_problem(f->in, at, "fit: networks: %s asks for values of one network at a time; many take adam, adamw, sgd or rprop",
                          f->optim.method);
        }
    }
    if (!f->network) {
        f->nnet = 1;
        f->network = MEMORY_NEW(fit_network, 1);
        f->network[0].name = "";
    }
}

/* --- parameters ------------------------------------------------------------------------------------------------------ */

static bool matches(const char *pattern, size_t n, const char *name)
{
    return (n == 1 && *pattern == '*') || (strlen(name) == n && strncmp(pattern, name, n) == 0);
}

static void list_parameters(const model *m, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < model_nparam(m) && n < size; i++) {
        model_param p = model_param_at(m, i);
        if (!p.p.statistic) {
            n += (size_t)snprintf(text + n, size - n, "%s%s.%s", n ? ", " : "", p.stage, p.p.name);
        }
    }
}

static void add_parameter(fit *f, const model *probe, int index, const parameter_keys *k, const input_node *at)
{
    static const char *const maps[] = {NULL, "free", "positive", "between"};
    model_param p = model_param_at(probe, index);
    fit_parameter one = {memory_text("%s.%s", p.stage, p.p.name), index, k->min, k->max, k->start, maps[k->map], k->scale, at};
    for (int i = 0; i < f->nparam; i++) {
        if (f->param[i].index == index) { /* what is said later, and to it alone, counts */
            memory_free(f->param[i].name);
            f->param[i] = one;
            return;
        }
    }
    f->param = memory_grow(f->param, (size_t)f->nparam + 1, sizeof *f->param);
    f->param[f->nparam++] = one;
}

static void read_one_parameter(fit *f, const model *probe, const input_node *at)
{
    parameter_keys k = {.name = input_scalar(at)};
    if (!k.name) {
        INPUT_FILL(f->in, at, "fit.parameters", parameter_list, &k);
    }
    const char *dot = k.name ? strchr(k.name, '.') : NULL;
    bool all = k.name && strcmp(k.name, "all") == 0, found = false;
    for (int i = 0; k.name && i < model_nparam(probe); i++) {
        model_param p = model_param_at(probe, i);
        if (p.p.statistic) {
            continue;
        }
        if (all || (dot && matches(k.name, (size_t)(dot - k.name), p.stage) && matches(dot + 1, strlen(dot + 1), p.p.name))) {
            add_parameter(f, probe, i, &k, at);
            found = true;
        }
    }
    if (k.name && !found) {
        char known[1024];
        list_parameters(probe, known, sizeof known);
        input_problem(f->in, at, "fit: there is no parameter '%s'; allowed: all, %s", k.name, known);
    }
}

static int by_index(const void *a, const void *b)
{
    return ((const fit_parameter *)a)->index - ((const fit_parameter *)b)->index;
}

static double read_value(fit *f, const fit_parameter *q, const char *key, const char *text, const char *unit)
{
    double x = NAN;
    const char *why = units_read(text, unit && strcmp(unit, "1") != 0 ? unit : "", &x);
    if (why) {
        input_problem(f->in, q->at, "fit: %s: %s: %s", q->name, key, why);
        return NAN;
    }
    return x;
}

bool fit_read_parameters(fit *f, const model *probe)
{
    int before = input_nproblem(f->in);
    const input_node *list = f->s.parameters;
    if (input_is_list(list)) {
        for (int i = 0; i < input_count(list); i++) {
            read_one_parameter(f, probe, input_item(list, i));
        }
    } else if (list) {
        read_one_parameter(f, probe, list);
    }
    qsort(f->param, (size_t)f->nparam, sizeof *f->param, by_index); /* as they stand in the model */
    f->fitted = MEMORY_NEW(stage_fitted, f->nparam);
    for (int i = 0; i < f->nparam; i++) {
        const fit_parameter *q = &f->param[i];
        model_param p = model_param_at(probe, q->index);
        double most = q->max ? read_value(f, q, "max", q->max, p.p.unit) : INFINITY;
        size_t n = strlen(p.stage);
        f->fitted[i] = (stage_fitted){memory_text("%s", p.stage), q->name + n + 1, isfinite(most) ? most : INFINITY};
    }
    return input_nproblem(f->in) == before;
}

static enum param_map choose_map(const fit_parameter *q, const stage_param *p)
{
    const char *const names[] = {"free", "positive", "between"};
    for (int i = 0; q->map && i < 3; i++) {
        if (strcmp(q->map, names[i]) == 0) {
            return (enum param_map)i;
        }
    }
    return p->map;
}

/* Of map: free: numbers of the order of 1 for the optimiser would make its rate a part of the value; kernels are left as they are. */
static double choose_scale(const fit_parameter *q, const double *value, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(value[i]));
    }
    return q->scale > 0 ? q->scale : n == 1 && most > 0 ? most : 1;
}

/* A search over a whole box wants to know the box. */
static void check_box(const fit *f)
{
    double *low = MEMORY_NEW(double, f->nu), *high = MEMORY_NEW(double, f->nu);
    int64_t at = 0;
    transform_bounds(&f->transform, low, high);
    for (int i = 0; i < f->nparam; at += f->transform.piece[i++].n) {
        if (!isfinite(low[at]) || !isfinite(high[at])) {
            input_problem(f->in, f->param[i].at, "fit: %s: optimiser method %s searches between limits: give min and max%s", f->param[i].name,
                          f->optim.method, f->transform.piece[i].map == PARAM_FREE ? "" : ", and map: free (or positive, with a min above 0)");
        }
    }
    memory_free(low);
    memory_free(high);
}

void fit_read_limits(fit *f)
{
    f->transform.npiece = f->nparam;
    f->transform.piece = MEMORY_NEW(transform_piece, f->nparam);
    f->nvalue = model_nvalue(f->m);
    double *start = MEMORY_NEW(double, f->nvalue);
    int before = input_nproblem(f->in);
    for (int i = 0; i < f->nparam; i++) {
        const fit_parameter *q = &f->param[i];
        model_param p = model_param_at(f->m, q->index);
        transform_piece *t = &f->transform.piece[i];
        *t = (transform_piece){q->name, p.at, p.p.n, choose_map(q, &p.p), p.p.min, p.p.max, 1};
        double low = q->min ? read_value(f, q, "min", q->min, p.p.unit) : t->min, high = q->max ? read_value(f, q, "max", q->max, p.p.unit) : t->max;
        if (low < p.p.min || high > p.p.max || low >= high) {
            input_problem(f->in, q->at, "fit: %s: limits %g to %g; allowed: within %g to %g", q->name, low, high, p.p.min, p.p.max);
        }
        t->min = low;
        t->max = high;
        if (t->map == PARAM_BETWEEN && !(isfinite(low) && isfinite(high))) {
            input_problem(f->in, q->at, "fit: %s: map: between needs min and max", q->name);
        }
        f->transform.n += t->n;
    }
    f->nu = f->transform.n;
    if (input_nproblem(f->in) == before) {
        fit_start_values(f, 0, start);
    }
    if (input_nproblem(f->in) == before) {
        for (int i = 0; i < f->nparam; i++) {
            transform_piece *t = &f->transform.piece[i];
            t->scale = choose_scale(&f->param[i], start + t->at, t->n);
        }
        int64_t which;
        int bad = transform_problem(&f->transform, start, &which);
        if (bad >= 0) {
            const transform_piece *t = &f->transform.piece[bad];
            input_problem(f->in, f->param[bad].at, "fit: %s: starts at %g, where its map cannot be: it must lie within %g to %g%s", t->name,
                          start[t->at + which], t->min, t->max, t->map == PARAM_FREE ? "" : ", not at a limit");
        }
    }
    if (input_nproblem(f->in) == before && optim_needs_bounds(&f->optim)) {
        check_box(f);
    }
    memory_free(start);
}

/* `normal SD`: false if the text is something else. */
static bool read_normal(const char *text, double *sd)
{
    char *end;
    if (strncmp(text, "normal ", 7) != 0) {
        return false;
    }
    *sd = strtod(text + 7, &end);
    return *end == '\0' && *sd >= 0;
}

void fit_start_values(fit *f, int network, double *value)
{
    for (int i = 0; i < model_nparam(f->m); i++) {
        model_param p = model_param_at(f->m, i);
        memcpy(value + p.at, p.p.start, (size_t)p.p.n * sizeof(double));
    }
    for (int i = 0; i < f->nparam; i++) {
        const fit_parameter *q = &f->param[i];
        model_param p = model_param_at(f->m, q->index);
        double sd = 0, x = 0;
        bool normal = q->start && read_normal(q->start, &sd);
        if (q->start && !normal) {
            x = read_value(f, q, "start", q->start, p.p.unit);
        }
        for (int64_t j = 0; q->start && j < p.p.n; j++) {
            if (normal) {
                random_block b = random_bits(f->setup.seed, RANDOM_FIT_START, (uint64_t)(p.at + j), (uint64_t)network, 0);
                value[p.at + j] = sd * (double)random_normal(b.v[0], b.v[1]);
            } else {
                value[p.at + j] = x;
            }
        }
    }
}

/* --- data ------------------------------------------------------------------------------------------------------------ */

/* The keys of an item that are the fit's own; response_open reads the others. */
void fit_read_item(fit *f, const input_node *at, fit_item *it)
{
    data_keys k = {0};
    INPUT_FILL(f->in, at, "fit.data", data_list, &k);
    *it = (fit_item){.at = at, .name = k.stage, .weight = k.weight, .cells = MEMORY_NEW(double, k.ncell), .ncell = k.ncell};
    memcpy(it->cells, k.cells, (size_t)k.ncell * sizeof(double));
}

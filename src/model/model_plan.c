/* model_plan.c - from the `stages` list to shapes, halos, histories and groups.  No backend memory. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/model_own.h"

/* Keys that every stage has. */
typedef struct common {
    const char *name, *input, *type, *values, *inputs[STAGE_MAX_INPUT];
    int ninput, ndelay, nrest;
    double delay[STAGE_MAX_INPUT], rest[1];
} common;

static const key_spec common_keys[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "name of the stage and of its output", offsetof(common, name), 0, 0},
    {"type", KEY_TEXT, NULL, NULL, 0, 0, NULL, "what it does; chiasm help lists the types", offsetof(common, type), 0, 0},
    {"input", KEY_TEXT, NULL, "", 0, 0, NULL, "name of an earlier stage, or stimulus", offsetof(common, input), 0, 0},
    {"inputs", KEY_TEXTS, NULL, "", 0, 0, NULL, "the same, for stages with several inputs", offsetof(common, inputs), offsetof(common, ninput),
     STAGE_MAX_INPUT},
    {"delay", KEY_REALS, "", "0", 0, 10000, NULL, "latency of each input in steps; one number: of all", offsetof(common, delay),
     offsetof(common, ndelay), STAGE_MAX_INPUT},
    {"rest", KEY_REALS, "", "", -1e12, 1e12, NULL, "output before step 0, as delayed stages see it (none: follows from the inputs)",
     offsetof(common, rest), offsetof(common, nrest), 1},
    {"values", KEY_PATH, NULL, "", 0, 0, NULL, "FILE.h5:/parameters/STAGE of a fit: its parameters, in place of what keys say",
     offsetof(common, values), 0, 0},
};
enum { NCOMMON = sizeof common_keys / sizeof *common_keys };

static const char stage_text[] = "  - {name: opl, type: blur, input: stimulus, sigma: 0.1 deg}\n"
                                 "  - {name: on, type: rectify, input: opl, value: 37 Hz, slope: 200 Hz}\n"
                                 "  - {name: cells, type: cells, input: on, density: 4 /deg}\n"
                                 "  - {name: spikes, type: lif, input: cells}";
const help_topic model_stage_topic = {"stage", "keys that every stage has, beside those of its type", stage_text, common_keys, NCOMMON};

static void list_types(char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < stage_count && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", stage_list[i]->name);
    }
}

/* Why a stage cannot read `name`. */
static void refuse_input(const model *m, const stage *s, const common *c, const char *name)
{
    const input_node *list = input_child(input_child(input_root(m->setup.in), "model"), "stages");
    bool below = false;
    for (int i = 0; i < input_count(list); i++) {
        const char *other = input_scalar(input_child(input_item(list, i), "name"));
        below = below || (other && strcmp(other, name) == 0);
    }
    if (strcmp(name, c->name) == 0) {
        input_problem(m->setup.in, s->node, "stage '%s': input '%s' is the stage itself", c->name, name);
    } else if (below) {
        input_problem(m->setup.in, s->node, "stage '%s': input '%s' comes below it; stages stand in order of execution: move it up", c->name, name);
    } else {
        char known[512];
        size_t n = 0;
        for (int i = 0; i < m->noutput && n < sizeof known; i++) {
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", m->output[i].name);
        }
        input_problem(m->setup.in, s->node, "stage '%s': there is no input '%s'; allowed: %s", c->name, name, known);
    }
}

/* Names of inputs to numbers; problems if one is unknown or of the wrong kind. */
static void plan_inputs(model *m, stage *s, const common *c)
{
    input *in = m->setup.in;
    const char *one[1] = {c->input};
    const char *const *names = c->ninput > 0 ? c->inputs : one;
    s->nin = c->ninput > 0 ? c->ninput : c->input ? 1 : 0;
    if (c->ninput > 0 && c->input) {
        input_problem(in, s->node, "stage '%s': give input or inputs, not both", c->name);
    }
    if (s->nin < 1 || s->nin > (s->type->many_inputs ? STAGE_MAX_INPUT : 1)) {
        input_problem(in, s->node, "stage '%s' of type %s takes 1 %s; %d given", c->name, s->type->name,
                      s->type->many_inputs ? "or more inputs" : "input", s->nin);
        s->nin = 0;
    }
    if (c->ndelay > 1 && c->ndelay != s->nin) {
        input_problem(in, s->node, "stage '%s': delay: %d numbers for %d inputs", c->name, c->ndelay, s->nin);
    }
    for (int k = 0; k < s->nin; k++) {
        s->in[k] = model_find(m, names[k]);
        double delay = c->ndelay > 1 ? c->delay[k] : c->ndelay == 1 ? c->delay[0] : 0;
        s->delay[k] = (int)delay;
        if (delay != s->delay[k]) {
            input_problem(in, s->node, "stage '%s': delay: %g is not a whole number of steps", c->name, delay);
        }
        if (s->in[k] < 0) {
            refuse_input(m, s, c, names[k]);
            s->in[k] = 0;
        } else if (!m->output[s->in[k]].doubtful && (m->output[s->in[k]].cells ? s->type->wants_map : s->type->wants_cells)) {
            input_problem(in, s->node, "stage '%s': type %s works on %s, but '%s' is a %s", c->name, s->type->name,
                          s->type->wants_cells ? "cells" : "a map", names[k], s->type->wants_map ? "population of cells" : "map");
        }
    }
}

/* Of the stage being planned. */
static int add_output(model *m, const char *name, const char *unit, double rest, bool rest_varies)
{
    const stage *s = &m->stage[m->nstage];
    output *o = &m->output[m->noutput];
    o->name = memory_text("%s", name);
    o->stage = m->nstage;
    o->nchan = s->plan.nchan;
    o->cells = s->plan.cells;
    o->unit = unit;
    o->rest = rest;
    o->rest_varies = rest_varies;
    const output *in = s->nin > 0 ? &m->output[s->in[0]] : NULL; /* what does not say otherwise keeps the shape of its input */
    bool own = s->plan.tile || s->plan.cells || !in;
    o->tile = own ? s->plan.tile : in->tile;
    o->pad_ny = s->plan.tile ? s->plan.pad_ny : own || !in->tile ? m->world.grid.tile_ny : in->pad_ny;
    o->pad_nx = s->plan.tile ? s->plan.pad_nx : own || !in->tile ? m->world.grid.tile_nx : in->pad_nx;
    return m->noutput++;
}

/* False: it is no name at all. */
static bool check_name(const model *m, const input_node *node, const char *name)
{
    bool fine = name && name[0] && name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
    if (!fine) {
        input_problem(m->setup.in, node, "name: '%s' must be letters, digits and _", name ? name : "");
    } else if (model_find(m, name) >= 0) {
        input_problem(m->setup.in, node, "name: '%s' is taken by an earlier stage", name);
    }
    return fine;
}

/* What the stage itself cannot check. */
static void check_plan(const model *m, const stage *s, const stage_input in[])
{
    const grid *g = &m->world.grid;
    if (s->plan.whole_field && grid_ntile(g) > 1) {
        input_problem(m->setup.in, s->node,
                      "stage '%s': it works on the whole field (deriche: along whole lines), which must be one tile (field.tiles: [1, 1]); it is "
                      "cut in %d x %d",
                      s->plan.name, g->ntile_y, g->ntile_x);
    }
    if (s->plan.coupled && g->nnet > 1) {
        input_problem(m->setup.in, s->node,
                      "stage '%s': its pixels depend on one another at every step: it cannot be part of several networks at once", s->plan.name);
    }
    if (s->plan.sums && g->nseq > 1) {
        input_problem(m->setup.in, s->node, "stage '%s': it needs sums over the field: one sequence at a time (sequences.batch: 1)", s->plan.name);
    }
    for (int k = 0; k < s->nin; k++) {
        if (s->plan.halo[k] > 0 && m->output[s->in[k]].tile) {
            input_problem(m->setup.in, s->node, "stage '%s': it reads beyond the border of '%s', a map of region: valid, which has no surroundings",
                          s->plan.name, m->output[s->in[k]].name);
        }
    }
    for (int k = 0; s->plan.wants_rest && k < s->nin; k++) {
        if (in[k].rest_varies) {
            input_problem(m->setup.in, s->node,
                          "stage '%s': start: rest: the channels of '%s' rest at different values; start: zero does not ask for them", s->plan.name,
                          in[k].name);
        }
    }
}

/* Of the stage being planned. */
static void add_outputs(model *m, stage *s, const common *c)
{
    s->out = add_output(m, c->name, s->plan.unit, c->nrest > 0 ? c->rest[0] : s->plan.rest, c->nrest == 0 && s->plan.rest_varies);
    m->output[s->out].rest_given = c->nrest > 0;
    s->second = -1;
    if (s->plan.second) {
        check_name(m, s->node, s->plan.second);
        s->second = add_output(m, s->plan.second, s->plan.second_unit, s->plan.second_rest, false);
    }
}

static void plan_stage(model *m, const input_node *node)
{
    input *in = m->setup.in;
    stage *s = &m->stage[m->nstage];
    common c;
    const char *type = input_scalar(input_child(node, "type"));
    s->node = node;
    s->type = type ? stage_find(type) : NULL;
    if (!s->type) {
        char types[512];
        list_types(types, sizeof types);
        input_problem(in, input_child(node, "type") ? input_child(node, "type") : node, "%s%s%s; the types are: %s",
                      type ? "unknown stage type '" : "a stage needs a type", type ? type : "", type ? "'" : "", types);
        const char *name = input_scalar(input_child(node, "name"));
        if (name && model_find(m, name) < 0) { /* stands in, so that later stages are still checked */
            s->plan.nchan = 1;
            m->output[add_output(m, name, "1", 0, false)].doubtful = true;
        }
        return;
    }
    char *where = memory_text("stage type %s", s->type->name);
    s->settings = memory_alloc(1, s->type->settings_size ? s->type->settings_size : 1);
    int before = input_nproblem(in);
    key_table tables[2] = {{common_keys, NCOMMON, &c}, {s->type->keys, s->type->nkey, s->settings}};
    input_fill_tables(in, node, where, tables, 2);
    memory_free(where);
    if (!check_name(m, node, c.name)) {
        memory_free(s->settings);
        s->settings = NULL;
        return;
    }
    plan_inputs(m, s, &c);
    if (s->nin == 0) { /* a problem; the stimulus stands in, so that the rest is still checked */
        s->nin = 1;
        s->in[0] = 0;
    }
    stage_input seen[STAGE_MAX_INPUT];
    bool sound = input_nproblem(in) == before;
    for (int k = 0; k < s->nin; k++) {
        const output *o = &m->output[s->in[k]];
        seen[k] = (stage_input){o->name, o->nchan, o->cells, o->tile, o->pad_ny, o->pad_nx, o->rest, o->rest_varies, o->unit};
        sound = sound && !o->doubtful;
    }
    /* If it is not sound, this stands in, so that later stages are still checked. */
    s->plan = (stage_plan){.name = c.name, .nin = s->nin, .nchan = seen[0].nchan, .cells = seen[0].cells, .unit = seen[0].unit};
    if (sound) {
        values_fitted expected = model_expect_values(m, c.name, c.values);
        s->own = s->type->plan(&m->world, s->settings, seen, node, &s->plan);
        model_expected_values(m, &expected);
        if (c.values) {
            model_read_values(m, s, input_child(node, "values"), c.values);
        }
    }
    check_plan(m, s, seen);
    add_outputs(m, s, &c);
    m->output[s->out].doubtful = !sound || input_nproblem(in) > before;
    m->nstage++;
}

void model_plan_stages(model *m, const input_node *list)
{
    m->output[0].name = memory_text("stimulus");
    m->output[0].stage = -1;
    m->output[0].nchan = 1;
    m->output[0].unit = "1";
    m->output[0].pad_ny = m->world.grid.tile_ny;
    m->output[0].pad_nx = m->world.grid.tile_nx;
    m->output[0].rest = m->setup.stimulus_rest;
    m->noutput = 1;
    for (int i = 0; i < input_count(list); i++) {
        if (i == MODEL_MAX_STAGE) {
            input_problem(m->setup.in, input_item(list, i), "more than %d stages", MODEL_MAX_STAGE);
            return;
        }
        plan_stage(m, input_item(list, i));
    }
}

/* What a consumer needs of an output's surroundings and past. */
static void plan_need(model *m, const stage *s, int k)
{
    output *o = &m->output[s->in[k]];
    int hist = s->delay[k] + s->plan.hist[k];
    o->halo = s->plan.halo[k] > o->halo ? s->plan.halo[k] : o->halo;
    o->hist = hist > o->hist ? hist : o->hist;
    if (hist > 0) {
        int past = s->plan.past_zero ? PAST_ZERO : s->plan.past_first_frame ? PAST_FIRST_FRAME : PAST_REST;
        if (o->past_fixed && o->past != (unsigned)past && !(o->rest == 0 && past != PAST_FIRST_FRAME && o->past != PAST_FIRST_FRAME)) {
            input_problem(m->setup.in, s->node, "start: '%s' has another past for itself or another stage; put a gain stage between", o->name);
        }
        if (past == PAST_REST && o->rest_varies) {
            input_problem(m->setup.in, s->node, "delay: channels of '%s' rest at different values; give it a rest, or its start: zero", o->name);
        }
        o->past_mixed = o->past_mixed || (o->past_fixed && o->past != (unsigned)past);
        o->past = past;
        o->past_fixed = true;
    }
}

static void plan_strides(const model *m, output *o)
{
    int ny = o->cells ? 1 : o->pad_ny, nx = o->cells ? o->cells->pad : o->pad_nx;
    int64_t row = nx + 2 * o->halo, line = 16;
    bool flat = o->halo == 0 && row < 4 * line; /* short rows without a gap: ops take a frame as one row */
    o->row_stride = flat ? row : (row + line - 1) / line * line;
    o->chan_stride = o->row_stride * (ny + 2 * o->halo);
    o->frame_stride = o->chan_stride * o->nchan;
    o->leaf_stride = o->frame_stride * (o->hist + m->world.max_nt);
}

/* A stage that reads a halo of an output of the running group, or its first frame as its past, closes the group; a coupled stage is a group of
 * its own. */
static void plan_groups(model *m)
{
    group *g = NULL;
    for (int i = 0; i < m->nstage; i++) {
        const stage *s = &m->stage[i];
        bool apart = s->plan.coupled;
        for (int k = 0; g && k < s->nin; k++) {
            int maker = m->output[s->in[k]].stage;
            apart = apart || ((s->plan.halo[k] > 0 || s->plan.past_first_frame) && maker >= g->first);
        }
        if (!g || g->coupled || apart) {
            g = &m->group[m->ngroup++];
            *g = (group){i, 0, s->plan.coupled};
        }
        g->count++;
    }
}

static int group_of(const model *m, int maker)
{
    int g = 0;
    while (maker >= m->group[g].first + m->group[g].count) {
        g++;
    }
    return g;
}

/* Which outputs nobody needs once their group has run, and where the history of those stands. */
void model_plan_passing(model *m)
{
    for (int i = 0; i < m->noutput; i++) {
        output *o = &m->output[i];
        o->passing = o->stage >= 0 && !m->world.differentiate && !o->kept && o->halo == 0 && o->past != PAST_FIRST_FRAME &&
                     !m->group[group_of(m, o->stage)].coupled;
    }
    for (int i = 0; i < m->nstage; i++) {
        for (int k = 0; k < m->stage[i].nin; k++) {
            output *o = &m->output[m->stage[i].in[k]];
            o->passing = o->passing && group_of(m, i) == group_of(m, o->stage);
        }
    }
    m->nstate = m->nstate_stages;
    for (int i = 0; i < m->noutput; i++) {
        output *o = &m->output[i];
        o->state_at = m->nstate;
        m->nstate += o->passing ? (o->hist * o->frame_stride + 15) / 16 * 16 : 0;
    }
}

void model_plan_arrays(model *m)
{
    for (int i = 0; i < m->nstage; i++) {
        stage *s = &m->stage[i];
        output *own = &m->output[s->out];
        own->halo = s->plan.out_halo > own->halo ? s->plan.out_halo : own->halo;
        own->hist = s->plan.out_hist > own->hist ? s->plan.out_hist : own->hist;
        own->past_fixed = own->past_fixed || s->plan.out_hist > 0; /* at rest */
        for (int k = 0; k < s->nin; k++) {
            plan_need(m, s, k);
        }
        for (int k = 0; k < s->plan.nstate; k++) { /* states of one stage stand without a gap */
            s->state_at[k] = m->nstate;
            m->nstate += s->plan.state[k].n;
        }
        m->nstate = (m->nstate + 15) / 16 * 16;
    }
    for (int i = 0; i < m->noutput; i++) {
        plan_strides(m, &m->output[i]);
    }
    plan_groups(m);
    m->nstate_stages = m->nstate;
    model_plan_passing(m);
}

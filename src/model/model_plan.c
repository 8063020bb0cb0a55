/* model_plan.c - from the `stages` list to shapes, halos, histories and groups.  No backend memory. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "model/model_own.h"

/* Keys that every stage has. */
typedef struct common {
    const char *name, *input, *type, *inputs[STAGE_MAX_INPUT];
    int ninput, ndelay, nrest;
    double delay[STAGE_MAX_INPUT], rest[1];
} common;

static const key_spec common_keys[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "name of the stage and of its output", offsetof(common, name), 0, 0},
    {"type", KEY_TEXT, NULL, NULL, 0, 0, NULL, "stage type; see chiasm help stages", offsetof(common, type), 0, 0},
    {"input", KEY_TEXT, NULL, "", 0, 0, NULL, "name of an earlier stage, or stimulus", offsetof(common, input), 0, 0},
    {"inputs", KEY_TEXTS, NULL, "", 0, 0, NULL, "the same, for stages with several inputs", offsetof(common, inputs), offsetof(common, ninput), STAGE_MAX_INPUT},
    {"delay", KEY_REALS, "", "0", 0, 10000, NULL, "latency of each input in steps; one number: of all", offsetof(common, delay), offsetof(common, ndelay), STAGE_MAX_INPUT},
    {"rest", KEY_REALS, "", "", -1e12, 1e12, NULL, "output before step 0, as delayed stages see it (none: follows from the inputs)", offsetof(common, rest), offsetof(common, nrest), 1},
};
enum { NCOMMON = sizeof common_keys / sizeof *common_keys };

const help_topic model_stage_topic = {"stage", "keys that every stage has", NULL, common_keys, NCOMMON};

static int find_output(const model *m, const char *name)
{
    for (int i = 0; i < m->noutput; i++) {
        if (strcmp(m->output[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static void list_types(char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < stage_count && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", stage_list[i]->name);
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
    if (s->nin < s->type->min_inputs || s->nin > s->type->max_inputs) {
        input_problem(in, s->node, "stage '%s' of type %s takes %d%s input%s; %d given", c->name, s->type->name, s->type->min_inputs,
                      s->type->max_inputs > s->type->min_inputs ? " or more" : "", s->type->max_inputs == 1 ? "" : "s", s->nin);
        s->nin = 0;
    }
    if (c->ndelay > 1 && c->ndelay != s->nin) {
        input_problem(in, s->node, "stage '%s': delay: %d numbers for %d inputs", c->name, c->ndelay, s->nin);
    }
    for (int k = 0; k < s->nin; k++) {
        s->in[k] = find_output(m, names[k]);
        double delay = c->ndelay > 1 ? c->delay[k] : c->ndelay == 1 ? c->delay[0] : 0;
        s->delay[k] = (int)delay;
        if (delay != s->delay[k]) {
            input_problem(in, s->node, "stage '%s': delay: %g is not a whole number of steps", c->name, delay);
        }
        if (s->in[k] < 0) {
            input_problem(in, s->node, "stage '%s': input '%s' is neither stimulus nor a stage above it", c->name, names[k]);
            s->in[k] = 0;
        } else if (s->type->wants_cells != (m->output[s->in[k]].cells != NULL) && (s->type->wants_cells || s->type == stage_find("cells"))) {
            input_problem(in, s->node, "stage '%s': type %s works on %s, but '%s' is a %s", c->name, s->type->name, s->type->wants_cells ? "cells" : "a map",
                          names[k], m->output[s->in[k]].cells ? "population of cells" : "map");
        }
    }
}

/* Of the stage being planned. */
static int add_output(model *m, const char *name, const char *unit, double rest)
{
    const stage *s = &m->stage[m->nstage];
    output *o = &m->output[m->noutput];
    o->name = memory_text("%s", name);
    o->stage = m->nstage;
    o->nchan = s->plan.nchan;
    o->cells = s->plan.cells;
    o->unit = unit;
    o->rest = rest;
    return m->noutput++;
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
        input_problem(in, input_child(node, "type") ? input_child(node, "type") : node, "%s%s%s; the types are: %s", type ? "unknown stage type '" : "a stage needs a type",
                      type ? type : "", type ? "'" : "", types);
        return;
    }
    char *where = memory_text("stage type %s", s->type->name);
    s->settings = memory_alloc(1, s->type->settings_size ? s->type->settings_size : 1);
    int before = input_nproblem(in);
    key_table tables[2] = {{common_keys, NCOMMON, &c}, {s->type->keys, s->type->nkey, s->settings}};
    input_fill_tables(in, node, where, tables, 2);
    memory_free(where);
    if (!c.name || c.name[strspn(c.name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0' || !c.name[0]) {
        input_problem(in, node, "name: '%s' must be letters, digits and _", c.name ? c.name : "");
        return;
    }
    if (find_output(m, c.name) >= 0) {
        input_problem(in, node, "name: '%s' is taken by an earlier stage", c.name);
    }
    plan_inputs(m, s, &c);
    if (s->nin == 0) {
        return;
    }
    stage_input seen[STAGE_MAX_INPUT];
    for (int k = 0; k < s->nin; k++) {
        const output *o = &m->output[s->in[k]];
        seen[k] = (stage_input){o->name, o->nchan, o->cells, o->rest, o->unit};
    }
    s->plan.name = c.name;
    if (input_nproblem(in) == before) {
        s->own = s->type->plan(&m->world, s->settings, s->nin, seen, node, &s->plan);
    } else { /* its output stands in, so that later stages are still checked */
        s->plan.nchan = seen[0].nchan;
        s->plan.cells = seen[0].cells;
        s->plan.unit = seen[0].unit;
    }
    if (s->plan.whole_field && grid_nleaf(&m->world.grid) > 1) {
        input_problem(in, node, "stage '%s': method: deriche works along whole lines: the field must be one tile (field.tiles: [1, 1]); it is cut in %d x %d", c.name,
                      m->world.grid.ntile_y, m->world.grid.ntile_x);
    }
    s->out = add_output(m, c.name, s->plan.unit, c.nrest > 0 ? c.rest[0] : s->plan.rest);
    s->second = -1;
    if (s->plan.second) {
        if (find_output(m, s->plan.second) >= 0) {
            input_problem(in, node, "'%s' is taken by an earlier stage", s->plan.second);
        }
        s->second = add_output(m, s->plan.second, s->plan.second_unit, 0);
    }
    m->nstage++;
}

void model_plan_stages(model *m, const input_node *list)
{
    m->output[0].name = memory_text("stimulus");
    m->output[0].stage = -1;
    m->output[0].nchan = 1;
    m->output[0].unit = "1";
    m->output[0].rest = m->setup.stimulus_rest;
    m->noutput = 1;
    for (int i = 0; i < input_count(list); i++) {
        if (m->nstage == MODEL_MAX_STAGE) {
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
        int past = s->plan.hist[k] == 0 ? PAST_REST : s->plan.past_zero ? PAST_ZERO : s->plan.past_first_frame ? PAST_FIRST_FRAME : PAST_REST;
        if (o->past_fixed && o->past != (unsigned)past && !(o->rest == 0 && past != PAST_FIRST_FRAME && o->past != PAST_FIRST_FRAME)) {
            input_problem(m->setup.in, s->node, "start: another stage that reads '%s' wants another past of it; put a gain stage between", o->name);
        }
        o->past = past;
        o->past_fixed = true;
    }
}

static void plan_strides(const model *m, output *o)
{
    int ny = o->cells ? 1 : m->world.grid.tile_ny, nx = o->cells ? o->cells->pad : m->world.grid.tile_nx;
    int64_t row = nx + 2 * o->halo, line = 16;
    o->row_stride = (row + line - 1) / line * line;
    o->chan_stride = o->row_stride * (ny + 2 * o->halo);
    o->frame_stride = o->chan_stride * o->nchan;
    o->leaf_stride = o->frame_stride * (o->hist + m->world.max_nt);
}

/* A stage that reads a halo of an output of the running group closes the group; a coupled stage is a group of its own. */
static void plan_groups(model *m)
{
    group *g = NULL;
    for (int i = 0; i < m->nstage; i++) {
        const stage *s = &m->stage[i];
        bool apart = s->plan.coupled;
        for (int k = 0; g && k < s->nin; k++) {
            int maker = m->output[s->in[k]].stage;
            apart = apart || (s->plan.halo[k] > 0 && maker >= g->first);
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
        o->passing = o->stage >= 0 && !o->kept && o->halo == 0 && o->past != PAST_FIRST_FRAME && !m->group[group_of(m, o->stage)].coupled;
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

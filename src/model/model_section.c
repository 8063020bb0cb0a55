/* model_section.c - the `model` section: preset, log-polar scheme, list of stages. */
#include <string.h>

#include "base/memory.h"
#include "model/model_own.h"
#include "model/preset.h"

typedef struct log_polar {
    double fovea_deg, scaling_per_deg;
} log_polar;

static const key_spec log_polar_keys[] = {
    {"fovea_radius", KEY_REAL, "deg", "0 deg", 0, 360, NULL, "eccentricity below which nothing changes", offsetof(log_polar, fovea_deg), 0, 0},
    {"scaling", KEY_REAL, "/deg", "0 /deg", 0, 1000, NULL, "K: sigma grows as 1 + K (r - fovea_radius), the density of rings falls alike",
     offsetof(log_polar, scaling_per_deg), 0, 0},
};

typedef struct section {
    preset_settings preset;
    const input_node *log_polar, *stages, *replace;
} section;

static const key_spec section_keys[] = {
    {"log_polar", KEY_NODE, NULL, "", 0, 0, NULL, "fovea_radius, scaling: receptive fields that grow with eccentricity", offsetof(section, log_polar),
     0, 0},
    {"stages", KEY_NODE, NULL, "", 0, 0, NULL, "list of stages, in order of execution; a preset writes it", offsetof(section, stages), 0, 0},
    {"replace", KEY_NODE, NULL, "", 0, 0, NULL, "other stages for some of a preset's: {NAME: {type: ..}}", offsetof(section, replace), 0, 0},
};

static section read_section(input *in, int field_ny, int field_nx, double pixels_per_deg)
{
    section s = {0};
    key_table tables[2] = {{section_keys, sizeof section_keys / sizeof *section_keys, &s}, {preset_keys, preset_nkey, &s.preset}};
    input_fill_tables(in, input_child(input_root(in), "model"), "model", tables, 2);
    s.preset.field_ny = field_ny;
    s.preset.field_nx = field_nx;
    s.preset.pixels_per_deg = pixels_per_deg;
    return s;
}

bool model_preset_field(input *in, int field_ny, int field_nx, double pixels_per_deg, int *ny, int *nx)
{
    int known = input_nproblem(in);
    section s = read_section(in, field_ny, field_nx, pixels_per_deg);
    preset_geometry g;
    if (input_nproblem(in) > known || !preset_geometry_of(&s.preset, &g)) {
        return false;
    }
    *ny = g.map_ny;
    *nx = g.map_nx;
    return true;
}

static const input_node *stage_named(const input_node *stages, const char *name)
{
    for (int i = 0; i < input_count(stages); i++) {
        const char *other = input_scalar(input_child(input_item(stages, i), "name"));
        if (other && strcmp(other, name) == 0) {
            return input_item(stages, i);
        }
    }
    return NULL;
}

/* Stages of a preset that the input wants otherwise, e.g. a blur by a kernel of its own.  What is not said stays: name, input and latency. */
static void replace_stages(input *in, const input_node *stages, const input_node *replace)
{
    static const char *const kept[] = {"name", "delay", "input", "inputs"};
    if (replace && !input_is_map(replace)) {
        input_problem(in, replace, "stages by name are wanted: {surround: {type: conv, kernel: FILE.h5:/dataset}}");
        return;
    }
    for (int i = 0; i < input_count(replace); i++) {
        const char *name = input_key(replace, i);
        const input_node *with = input_child(replace, name), *old = stage_named(stages, name);
        if (!old) {
            input_problem(in, with, "the preset has no stage '%s' (chiasm simulate FILE --dump-input without `replace` prints its stages)", name);
        } else if (!input_is_map(with)) {
            input_problem(in, with, "a stage is wanted: {type: conv, kernel: FILE.h5:/dataset}");
        } else {
            bool other_input = input_child(with, "input") || input_child(with, "inputs");
            input_replace(in, old, with, kept, other_input ? 2 : 4);
        }
    }
}

/* The effective input holds the stages that the preset wrote, and no preset any more. */
static void settle_preset(input *in, const log_polar *lp)
{
    char *text = memory_text("{fovea_radius: %.17g deg, scaling: %.17g /deg}", lp->fovea_deg, lp->scaling_per_deg);
    input_set(in, "model.preset", "none");
    input_set(in, "model.log_polar", text);
    input_set(in, "model.replace", "{}");
    memory_free(text);
}

const input_node *model_section_read(const model_setup *setup, model_section *out)
{
    input *in = setup->in;
    section s = read_section(in, setup->full_ny, setup->full_nx, setup->pixels_per_deg);
    log_polar lp = {0, 0};
    if (s.log_polar) {
        INPUT_FILL(in, s.log_polar, "model.log_polar", log_polar_keys, &lp);
    }
    if (s.preset.preset != PRESET_NONE) {
        if (input_is_list(s.stages)) {
            input_problem(
                in, s.stages,
                "model: a preset writes the stages; give one or the other (chiasm simulate FILE --dump-input prints a preset's stages for editing)");
            return NULL;
        }
        preset_geometry geometry;
        char *text = preset_stages(in, &s.preset);
        if (!text) {
            return NULL;
        }
        input_graft(in, "model.stages", text, "preset");
        memory_free(text);
        s.stages = input_child(input_child(input_root(in), "model"), "stages");
        replace_stages(in, s.stages, s.replace);
        if (!s.log_polar && preset_geometry_of(&s.preset, &geometry)) {
            lp = (log_polar){geometry.fovea_radius_deg, geometry.scaling_per_deg};
        }
        settle_preset(in, &lp); /* so that the effective input reads back to the same run */
        INPUT_FILL(in, input_child(input_child(input_root(in), "model"), "log_polar"), "model.log_polar", log_polar_keys, &lp);
    }
    if (s.preset.preset == PRESET_NONE && input_count(s.replace) > 0) {
        input_problem(in, s.replace, "there is no preset whose stages could be replaced; write the stage itself");
    }
    if (s.stages && !input_is_list(s.stages)) {
        input_problem(in, s.stages, "model.stages: a list of stages is wanted");
        return NULL;
    }
    out->fovea_deg = lp.fovea_deg;
    out->scaling_per_deg = lp.scaling_per_deg;
    return s.stages;
}

static const key_spec model_help_keys[] = {
    {"log_polar", KEY_NODE, NULL, "", 0, 0, NULL, "fovea_radius (deg), scaling (/deg): receptive fields that grow with eccentricity", 0, 0, 0},
    {"stages", KEY_NODE, NULL, "", 0, 0, NULL, "list of stages in order of execution (instead of a preset)", 0, 0, 0},
    {"replace", KEY_NODE, NULL, "", 0, 0, NULL, "other stages for some of a preset's: {surround: {type: conv, kernel: FILE.h5:/dataset}}", 0, 0, 0},
};

extern const help_topic model_stage_topic; /* model_plan.c */
const help_topic model_topics[] = {
    {"model", "the model: a preset, or an ordered list of stages", "  See chiasm help presets, chiasm help stage, and the name of each stage type.",
     model_help_keys, sizeof model_help_keys / sizeof *model_help_keys},
};
const help_topic *const model_preset_topics[] = {&model_stage_topic, &preset_topic, &preset_convis_topic};
const int model_preset_ntopic = sizeof model_preset_topics / sizeof *model_preset_topics;
const int model_ntopic = sizeof model_topics / sizeof *model_topics;

/* preset.c - VirtualRetina's stages and field, from its XML or a published set (A. Wohrer, P. Kornprobst, J. Comput. Neurosci. 26:219, 2009;
 * what its program computes: VirtualRetina 2.2.3). */
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/preset_own.h"
#include <math.h>
#include <stdio.h>

/* --- keys ----------------------------------------------------------------------------------------------------------- */
#define PRESET(name_, kind_, field, help_) .name = name_, .kind = kind_, .offset = offsetof(preset_settings, field), .help = help_
const key_spec preset_keys[] = {
    {PRESET("preset", KEY_WORD, preset, "a known retina instead of `stages`"), .fallback = "none",
     .words = "none|virtualretina|cat-x|cat-y|primate-parasol|primate-midget|human-parvo-magno|convis"},
    {PRESET("file", KEY_PATH, file, "preset virtualretina: its XML"), .fallback = ""},
    {PRESET("latency", KEY_WORD, latency, "virtualretina: each stage sees its input one step late"), .fallback = "virtualretina",
     .words = "virtualretina|none"},
    {PRESET("blur", KEY_WORD, blur, "gaussian: exact, the field may be cut in tiles; deriche: VirtualRetina's recursive filter"),
     .fallback = "gaussian", .words = "gaussian|deriche"},
    {PRESET("scheme", KEY_WORD, scheme, "uniform, log-polar: instead of the preset's scheme"), .fallback = "preset",
     .words = "preset|uniform|log-polar"},
    {PRESET("mosaic", KEY_WORD, mosaic, "array of the preset's cells"), .fallback = "preset", .words = "preset|square|circular|hexagonal"},
    {PRESET("density", KEY_REAL, density_per_deg, "cells per degree in the fovea; 0: the preset's"), .unit = "/deg", .fallback = "0 /deg", .min = 0,
     .max = 1e4},
    {PRESET("size", KEY_REALS, size_deg, "of the arrays: x and y, or a diameter; not given: the preset's, or the whole field"), .unit = "deg",
     .fallback = "", .min = 0, .max = 360, .count_offset = offsetof(preset_settings, nsize), .max_count = 2},
    {PRESET("convis", KEY_NODE, convis, "settings of preset convis, see `chiasm help convis`"), .fallback = ""},
};
const int preset_nkey = sizeof preset_keys / sizeof preset_keys[0];

/* --- parameters ----------------------------------------------------------------------------------------------------- */
static bool retina_of(input *in, const preset_settings *s, retina_xml *x)
{
    if (s->preset != PRESET_VIRTUALRETINA) {
        *x = preset_set((enum preset_kind)s->preset);
    } else if (!s->file) {
        input_problem(in, input_child(input_child(input_root(in), "model"), "preset"), "model: preset virtualretina needs `file: retina.xml`");
        return false;
    } else if (!retina_xml_read(in, s->file, x)) {
        return false;
    }
    if (s->scheme == 2 && !x->log_polar) { /* the primate's; model.log_polar says otherwise */
        x->log_polar = true;
        x->fovea_radius_deg = x->scaling_per_deg = 1;
    }
    if (s->scheme == 1 || x->scaling_per_deg == 0) {
        x->log_polar = false; /* no growth outside the fovea is the uniform scheme */
    }
    return true;
}

/* --- field and arrays ----------------------------------------------------------------------------------------------- */
/* VirtualRetina keeps cells away from the border of the image by 3.5 sigma of all its blurs together (its adjustSizes). */
static int border_px(const retina_xml *x, double pixels_per_deg)
{
    double pool = 0;
    for (int k = 0; k < x->nlayer; k++) {
        pool = fmax(pool, x->layer[k].pool_sigma_deg * x->layer[k].pool_sigma_deg);
    }
    double variance = pool + (x->center_sigma_deg * x->center_sigma_deg + x->surround_sigma_deg * x->surround_sigma_deg);
    if (x->gain_control) {
        variance += x->adaptation_sigma_deg * x->adaptation_sigma_deg;
    }
    return (int)ceil(7 * sqrt(variance) * pixels_per_deg);
}

/* One side of an array in a field that leaves room_px: 0 becomes all the room, more than the room becomes the room. */
static void fit_side(double *side_deg, int room_px, double pixels_per_deg, bool *reduced)
{
    bool too_large = round(*side_deg * pixels_per_deg) > room_px;
    if (too_large || *side_deg == 0) {
        *side_deg = room_px / pixels_per_deg;
    }
    *reduced = *reduced || too_large;
}

/* Returns true if the array had to be made smaller.  border: VirtualRetina's (without any blur 0: room for a pixel more than there are), else 1. */
static bool fit_array(retina_cells *c, int ny, int nx, int border, double pixels_per_deg)
{
    int room_y = ny - border + 1, room_x = nx - border + 1;
    room_y = room_y > 1 ? room_y : 1;
    room_x = room_x > 1 ? room_x : 1;
    bool reduced = false;
    if (c->mosaic == RETINA_CIRCULAR) {
        fit_side(&c->diameter_deg, room_x < room_y ? room_x : room_y, pixels_per_deg, &reduced);
    } else {
        fit_side(&c->size_x_deg, room_x, pixels_per_deg, &reduced);
        fit_side(&c->size_y_deg, room_y, pixels_per_deg, &reduced);
    }
    return reduced;
}

/* What the user says of the arrays goes over what the preset says. */
static void override_arrays(retina_xml *x, const preset_settings *s)
{
    for (int k = 0; k < x->nlayer; k++) {
        retina_cells *c = &x->layer[k].cells;
        if (c->mosaic == RETINA_NO_CELLS) {
            continue;
        }
        if (s->mosaic) {
            bool ring = c->mosaic == RETINA_CIRCULAR;
            c->size_x_deg = ring ? c->diameter_deg : c->size_x_deg;
            c->size_y_deg = ring ? c->diameter_deg : c->size_y_deg;
            c->diameter_deg = fmin(c->size_x_deg, c->size_y_deg);
            c->mosaic = s->mosaic;
        }
        if (s->density_per_deg > 0) {
            c->density_per_deg = s->density_per_deg;
        }
        if (s->nsize > 0) {
            c->size_x_deg = s->size_deg[0];
            c->size_y_deg = s->size_deg[s->nsize - 1];
            c->diameter_deg = fmin(c->size_x_deg, c->size_y_deg);
        }
    }
}

/* Size and place of the maps: the largest array and its border, as far as the image goes. */
static void fit_map(const retina_xml *x, const preset_settings *s, preset_geometry *g)
{
    int side_y = 0, side_x = 0;
    g->border_px = border_px(x, x->pixels_per_deg);
    for (int k = 0; k < x->nlayer; k++) {
        retina_cells c = x->layer[k].cells;
        if (c.mosaic != RETINA_NO_CELLS) {
            fit_array(&c, s->field_ny, s->field_nx, g->border_px, x->pixels_per_deg);
            bool ring = c.mosaic == RETINA_CIRCULAR;
            side_y = (int)fmax(side_y, round((ring ? c.diameter_deg : c.size_y_deg) * x->pixels_per_deg));
            side_x = (int)fmax(side_x, round((ring ? c.diameter_deg : c.size_x_deg) * x->pixels_per_deg));
        }
    }
    if (side_y > 0 || side_x > 0) { /* without cells the maps are as large as the image */
        g->map_ny = (int)fmax(1, fmin(side_y + g->border_px - 1, s->field_ny));
        g->map_nx = (int)fmax(1, fmin(side_x + g->border_px - 1, s->field_nx));
    }
    g->crop_y = (s->field_ny - g->map_ny) / 2;
    g->crop_x = (s->field_nx - g->map_nx) / 2;
}

bool preset_geometry_of(const preset_settings *s, preset_geometry *out)
{
    *out = (preset_geometry){.map_ny = s->field_ny, .map_nx = s->field_nx};
    if (s->preset == PRESET_NONE) {
        return false;
    }
    if (s->preset == PRESET_CONVIS) {
        out->step_s = 0.001;
        out->pixels_per_deg = 10;
        out->luminosity_range = 1;
        return true;
    }
    retina_xml x;
    input *quiet = input_from_text("preset: none\n", "preset", NULL, 0);
    bool known = retina_of(quiet, s, &x);
    input_destroy(quiet);
    if (!known) {
        return false;
    }
    override_arrays(&x, s);
    out->step_s = x.step_s;
    out->pixels_per_deg = x.pixels_per_deg;
    out->luminosity_range = x.luminosity_range;
    out->fovea_radius_deg = x.log_polar ? x.fovea_radius_deg : 0;
    out->scaling_per_deg = x.log_polar ? x.scaling_per_deg : 0;
    out->saccades = x.saccades;
    if (s->preset == PRESET_VIRTUALRETINA) {
        fit_map(&x, s, out);
    }
    return true;
}

/* --- VirtualRetina's stages ----------------------------------------------------------------------------------------- */
typedef struct style {
    const char *method;
    bool log_polar;
    int delay; /* steps from stage to stage */
} style;

static void blur_keys(preset_text *t, const style *s, double sigma_deg)
{
    preset_number(t, "sigma", sigma_deg, "deg");
    preset_word(t, "method", s->method);
    if (s->log_polar && sigma_deg > 0) {
        preset_word(t, "scheme", "log-polar");
    }
}

typedef struct smoothing {
    double sigma_deg, tau_s, gain;
    int order;
    bool leaky;
} smoothing;

/* Centre or surround: blur then low-pass, or both in one by the leaky heat equation. */
static void add_smoothing(preset_text *t, const style *s, const smoothing *m, const char *blur_name, const char *name, const char *from, int delay)
{
    if (m->leaky) {
        preset_begin(t, name, "leaky_heat", from, delay);
        blur_keys(t, s, m->sigma_deg);
        preset_number(t, "tau", m->tau_s, "s");
        preset_number(t, "gain", m->gain, "");
        preset_end(t);
        return;
    }
    if (m->sigma_deg > 0) {
        preset_begin(t, blur_name, "blur", from, delay);
        blur_keys(t, s, m->sigma_deg);
        preset_end(t);
        from = blur_name;
        delay = 0;
    }
    preset_begin(t, name, "lowpass", from, delay);
    preset_number(t, "tau", m->tau_s, "s");
    if (m->order > 0) {
        preset_say(t, ", order: %d", m->order);
    }
    preset_number(t, "gain", m->gain, "");
    preset_end(t);
}

/* What VirtualRetina's later stages see before step 0 of a stage that it does not start in its steady state. */
static void started_at_zero(preset_text *t, const style *s)
{
    if (s->delay > 0) {
        preset_number(t, "rest", 0, "");
    }
}

static void add_opl(preset_text *t, const style *s, const retina_xml *x)
{
    const char *center = x->undershoot ? "receptor_lowpass" : "receptor";
    smoothing c = {x->center_sigma_deg, x->center_tau_s, x->opl_gain, x->center_order, x->leaky_heat};
    add_smoothing(t, s, &c, "receptor_blur", center, "stimulus", 0);
    if (x->undershoot) {
        preset_begin(t, "receptor", "highpass", center, s->delay);
        preset_number(t, "tau", x->undershoot_tau_s, "s");
        preset_number(t, "weight", x->undershoot_weight, "");
        preset_end(t);
    }
    if (x->surround_weight == 0) { /* VirtualRetina has no surround then: the OPL is the receptors' signal */
        preset_begin(t, "opl", "gain", "receptor", 0);
        preset_end(t);
        return;
    }
    smoothing m = {x->surround_sigma_deg, x->surround_tau_s, x->surround_weight, 0, x->leaky_heat};
    add_smoothing(t, s, &m, "surround_blur", "surround", "receptor", s->delay);
    preset_say(t, "- {name: opl, type: sum, inputs: [receptor, surround], weights: [1, -1]");
    started_at_zero(t, s);
    preset_end(t);
}

static void add_cells(preset_text *t, const style *st, const preset_settings *s, const retina_ganglion *g, int k)
{
    static const char *const shapes[] = {"", "square", "circular", "hexagonal"};
    const retina_cells *c = &g->cells;
    char name[32], from[32];
    snprintf(name, sizeof name, "cells_%d", k);
    snprintf(from, sizeof from, "ganglion_%d", k);
    preset_begin(t, name, "cells", from, 0);
    preset_word(t, "mosaic", shapes[c->mosaic]);
    if (c->mosaic == RETINA_CIRCULAR) {
        preset_number(t, "diameter", c->diameter_deg, "deg");
    } else {
        preset_pair(t, "size", c->size_x_deg, c->size_y_deg, "deg");
    }
    preset_number(t, "density", c->density_per_deg, "/deg");
    if (st->log_polar && c->mosaic == RETINA_CIRCULAR) {
        preset_word(t, "scheme", "log-polar");
    }
    if (c->jitter > 0) {
        /* VirtualRetina draws the distance evenly from 0 to jitter/density: each coordinate has s.d. jitter/density/sqrt(6). */
        preset_number(t, "jitter", c->jitter / c->density_per_deg / sqrt(6.0), "deg");
    }
    if (s->preset == PRESET_VIRTUALRETINA) {
        /* It counts places from pixel size/2; the centre of the field is (size - 1)/2. */
        preset_pair(t, "shift", 0.5 / s->pixels_per_deg, -0.5 / s->pixels_per_deg, "deg");
    }
    preset_say(t, ", number: %d", k);
    if (g->label) {
        preset_word(t, "label", g->label);
    } else {
        preset_say(t, ", label: %s %d", g->sign < 0 ? "Off" : "On", k);
    }
    preset_end(t);
}

static void add_spikes(preset_text *t, const style *s, const retina_cells *c, int k)
{
    char name[32], from[32];
    snprintf(name, sizeof name, "spikes_%d", k);
    snprintf(from, sizeof from, "cells_%d", k);
    preset_begin(t, name, "lif", from, s->delay);
    preset_number(t, "leak", c->leak_hz, "Hz");
    preset_number(t, "noise", c->noise_v, "");
    preset_number(t, "refractory", c->refractory_s, "s");
    preset_number(t, "refractory_sd", c->refractory_sd_s, "s");
    preset_word(t, "random_start", c->random_start ? "true" : "false");
    if (c->adapts) {
        preset_number(t, "adaptation_delta", c->adaptation_delta_hz, "Hz");
        preset_number(t, "adaptation_tau", c->adaptation_tau_s, "s");
        preset_number(t, "adaptation_reversal", c->adaptation_reversal, "");
    }
    preset_end(t);
}

static void add_ganglion(preset_text *t, const style *s, const retina_ganglion *g, int k, const char *from)
{
    char transient[32], rate[32], pooled[32];
    snprintf(transient, sizeof transient, "ganglion_%d_transient", k);
    snprintf(rate, sizeof rate, g->pool_sigma_deg > 0 ? "ganglion_%d_rate" : "ganglion_%d", k);
    snprintf(pooled, sizeof pooled, "ganglion_%d", k);
    if (g->transient_weight != 0) { /* without it VirtualRetina has no such stage, and no step of latency for it */
        preset_begin(t, transient, "highpass", from, s->delay);
        preset_number(t, "tau", g->transient_tau_s, "s");
        preset_number(t, "weight", g->transient_weight, "");
        if (s->delay > 0) {
            preset_word(t, "start", "zero"); /* VirtualRetina starts its inner retina from nothing */
        }
        preset_end(t);
        from = transient;
    }
    preset_rectify(t, g, rate, "virtualretina", from, s->delay);
    if (g->pool_sigma_deg > 0) {
        preset_end(t);
        preset_begin(t, pooled, "blur", rate, 0);
        blur_keys(t, s, g->pool_sigma_deg);
    }
    started_at_zero(t, s);
    preset_end(t);
}

static void warn_of_unused(const preset_settings *s, const retina_xml *x)
{
    if (x->units_line) {
        log_warn("%s:%d: the positions in <all-units> are not used: cells are placed anew from the array element", s->file, x->units_line);
    }
    if (x->saccades.given) {
        log_warn("%s: <basic-microsaccade-generator> is not used by the model: eye movements belong to the `stimulus` section", s->file);
    }
    if (x->leaky_heat && x->center_order) {
        log_warn("%s: center-n__uint has no effect with leaky-heat-equation=\"1\"; it counts as 0", s->file);
    }
    if (x->fovea_radius_deg > 0 && x->scaling_per_deg == 0) {
        log_warn("%s: scaling-factor-outside-fovea__inv-deg=\"0\" counts as no log-polar scheme; VirtualRetina itself smooths with its recursion for "
                 "growing fields there, whose way back reads a pixel early", s->file);
    }
}

/* VirtualRetina goes on with a layer whose square array has no place for a cell. */
static bool is_empty(const retina_cells *c)
{
    return c->mosaic == RETINA_SQUARE && (floor(c->size_x_deg * c->density_per_deg) < 1 || floor(c->size_y_deg * c->density_per_deg) < 1);
}

static void retina_stages(preset_text *t, const preset_settings *s, retina_xml *x)
{
    style st = {s->blur ? "deriche" : "gaussian", x->log_polar, s->latency == 0};
    int border = s->preset == PRESET_VIRTUALRETINA ? border_px(x, s->pixels_per_deg) : 1;
    warn_of_unused(s, x);
    override_arrays(x, s);
    add_opl(t, &st, x);
    if (x->gain_control) {
        preset_begin(t, "bipolar", "gain_control", "opl", st.delay);
        preset_number(t, "gain", x->bipolar_gain_hz, "Hz");
        preset_number(t, "leak", x->leak_hz, "Hz");
        preset_number(t, "feedback", x->feedback_hz, "Hz");
        preset_number(t, "tau", x->adaptation_tau_s, "s");
        preset_word(t, "form", "virtualretina");
        blur_keys(t, &st, x->adaptation_sigma_deg);
        preset_end(t);
    }
    for (int k = 0; k < x->nlayer; k++) {
        retina_ganglion *g = &x->layer[k];
        add_ganglion(t, &st, g, k, x->gain_control ? "bipolar" : "opl");
        if (g->cells.mosaic == RETINA_NO_CELLS) {
            continue;
        }
        if (fit_array(&g->cells, s->field_ny, s->field_nx, border, s->pixels_per_deg)) {
            log_warn("model: the array of ganglion layer %d is larger than the field%s: made smaller", k,
                     s->preset == PRESET_VIRTUALRETINA ? " without VirtualRetina's border" : "");
        }
        if (s->preset == PRESET_VIRTUALRETINA && is_empty(&g->cells)) {
            log_warn("model: the square array of ganglion layer %d, %g x %g deg, has no place for a cell at %g cells per degree: no spikes of it", k,
                     g->cells.size_x_deg, g->cells.size_y_deg, g->cells.density_per_deg);
            continue;
        }
        add_cells(t, &st, s, g, k);
        add_spikes(t, &st, &g->cells, k);
    }
}

/* --- entry ---------------------------------------------------------------------------------------------------------- */
char *preset_stages(input *in, const preset_settings *s)
{
    if (s->preset == PRESET_NONE) {
        return NULL;
    }
    int before = input_nproblem(in);
    preset_text t = {0};
    retina_xml x;
    if (s->file && s->preset != PRESET_VIRTUALRETINA) {
        input_problem(in, input_child(input_child(input_root(in), "model"), "file"), "model: `file` belongs to preset virtualretina");
    }
    if (s->preset == PRESET_CONVIS) {
        preset_convis(in, s->convis, &t);
    } else if (s->convis) {
        input_problem(in, s->convis, "model: `convis` belongs to preset convis");
    } else if (retina_of(in, s, &x)) {
        ASSERT(s->field_ny > 0 && s->field_nx > 0 && s->pixels_per_deg > 0);
        retina_stages(&t, s, &x);
    }
    if (input_nproblem(in) > before) {
        memory_free(t.p);
        return NULL;
    }
    return t.p;
}

const help_topic preset_topic = {
    "presets", "known retinas",
    "A preset writes the list of stages; `chiasm simulate FILE --dump-input` prints it.\n"
    "  virtualretina      VirtualRetina's XML (file), 2.2; blur: deriche and latency: virtualretina give its numbers\n"
    "  cat-x, cat-y       On and Off X or Y cells of the cat\n"
    "  primate-parasol, primate-midget   log-polar: everything grows outside a fovea of 1 deg radius\n"
    "  human-parvo-magno  parvo and magno cells, On and Off; contrast gain control without feedback\n"
    "  convis             Convis' chain, every pixel a cell\n"
    "A. Wohrer, P. Kornprobst, J. Comput. Neurosci. 26:219 (2009); J. Huth, T. Masquelier, A. Arleo, Front. Neuroinform. 12:9 (2018).\n",
    preset_keys, sizeof preset_keys / sizeof preset_keys[0]};

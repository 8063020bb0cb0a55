/* test_preset.c - presets are text in the users' vocabulary, with the numbers of their source; VirtualRetina's field comes out at its size. */
#include "base/memory.h"
#include "model/preset.h"
#include "stages/stage.h"
#include "test.h"
#include <unistd.h>

static char xml_path[64];
static const char *center_sigma = "0.05", *surround_sigma = "0.15"; /* deg */

/* The case full_leaky_cgc_parvo_spikes of the reference data, with what a test wants changed. */
static void write_xml(const char *scheme, const char *linear, const char *inner)
{
    snprintf(xml_path, sizeof xml_path, "/tmp/chiasm_preset_%d.xml", (int)getpid());
    FILE *f = fopen(xml_path, "wb");
    fprintf(f,
            "<retina-description-file><retina temporal-step__sec=\"0.001\" input-luminosity-range=\"255\" pixels-per-degree=\"10.0\">%s\n"
            "<outer-plexiform-layer><linear-version center-sigma__deg=\"%s\" surround-sigma__deg=\"%s\" center-tau__sec=\"0.01\"\n"
            "surround-tau__sec=\"0.01\" opl-amplification=\"10\" %s</linear-version></outer-plexiform-layer>%s</retina></retina-description-file>\n",
            scheme, center_sigma, surround_sigma, linear, inner);
    fclose(f);
}

#define LEAKY "opl-relative-weight=\"1\" leaky-heat-equation=\"1\"><undershoot relative-weight=\"0.8\" tau__sec=\"0.1\"/>"
#define GAIN_CONTROL                                                                                                                                 \
    "<contrast-gain-control opl-amplification__Hz=\"150\" bipolar-inert-leaks__Hz=\"5\" adaptation-sigma__deg=\"0.2\" "                              \
    "adaptation-tau__sec=\"0.01\" adaptation-feedback-amplification__Hz=\"100\"/>"
#define GANGLION(sign, weight, pool)                                                                                                                 \
    "<ganglion-layer sign=\"" sign "\" transient-tau__sec=\"0.02\" transient-relative-weight=\"" weight "\" "                                        \
    "bipolar-linear-threshold=\"0\" value-at-linear-threshold__Hz=\"37\" bipolar-amplification__Hz=\"100\" sigma-pool__deg=\"" pool "\">"
#define CHANNEL      "<spiking-channel g-leak__Hz=\"50\" sigma-V=\"0\" refr-mean__sec=\"0.003\" refr-stdev__sec=\"0\" random-init=\"0\">"
#define CELLS(array) CHANNEL array "</spiking-channel>"
#define SQUARE(x, y) "<square-array size-x__deg=\"" x "\" size-y__deg=\"" y "\" uniform-density__inv-deg=\"10\"/>"

static input *in;

static bool has(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

static preset_settings settings_of(const char *yaml, int ny, int nx)
{
    preset_settings s;
    in = input_from_text(yaml, "test", NULL, 0);
    input_fill(in, input_root(in), "model", preset_keys, preset_nkey, &s);
    s.field_ny = ny;
    s.field_nx = nx;
    s.pixels_per_deg = 10;
    return s;
}

static preset_settings of_xml(const char *more, int ny, int nx)
{
    char *yaml = memory_text("preset: virtualretina\nfile: %s\n%s", xml_path, more);
    preset_settings s = settings_of(yaml, ny, nx);
    memory_free(yaml);
    return s;
}

/* The text, or "" with the problems printed. */
static char *text_of(const preset_settings *s)
{
    char *text = preset_stages(in, s);
    CHECK(text != NULL && input_nproblem(in) == 0);
    if (!text) {
        input_print_problems(in);
        return memory_text("%s", "");
    }
    return text;
}

/* VirtualRetina's chain, every link one step late except the image's (VirtualRetina 2.2.3). */
static void chain(void)
{
    write_xml("", LEAKY, GAIN_CONTROL GANGLION("-1", "0.7", "0") CELLS(SQUARE("1.0", "1.0")) "</ganglion-layer>");
    preset_settings s = of_xml("blur: deriche\n", 32, 32);
    char *text = text_of(&s);
    CHECK_TEXT(text, "- {name: receptor_lowpass, type: leaky_heat, input: stimulus, sigma: 0.05 deg, method: deriche, tau: 0.01 s, gain: 10}\n"
                     "- {name: receptor, type: highpass, input: receptor_lowpass, delay: 1, tau: 0.1 s, weight: 0.8}\n"
                     "- {name: surround, type: leaky_heat, input: receptor, delay: 1, sigma: 0.15 deg, method: deriche, tau: 0.01 s, gain: 1}\n"
                     "- {name: opl, type: sum, inputs: [receptor, surround], weights: [1, -1], rest: 0}\n"
                     "- {name: bipolar, type: gain_control, input: opl, delay: 1, gain: 150 Hz, leak: 5 Hz, feedback: 100 Hz, tau: 0.01 s, "
                     "form: virtualretina, sigma: 0.2 deg, method: deriche}\n"
                     "- {name: ganglion_0_transient, type: highpass, input: bipolar, delay: 1, tau: 0.02 s, weight: 0.7, start: zero}\n"
                     "- {name: ganglion_0, type: rectify, input: ganglion_0_transient, delay: 1, form: virtualretina, sign: -1, threshold: 0, "
                     "value: 37 Hz, slope: 100 Hz, rest: 0}\n"
                     "- {name: cells_0, type: cells, input: ganglion_0, mosaic: square, size: [1 deg, 1 deg], density: 10 /deg, "
                     "shift: [0.05 deg, -0.05 deg], number: 0, label: Off 0}\n"
                     "- {name: spikes_0, type: lif, input: cells_0, delay: 1, leak: 50 Hz, noise: 0, refractory: 0.003 s, refractory_sd: 0 s, "
                     "random_start: false}\n");
    memory_free(text);
    input_destroy(in);

    s = of_xml("latency: none\n", 32, 32);
    text = text_of(&s);
    CHECK(!has(text, "delay") && !has(text, "rest:") && !has(text, ", start:") && !has(text, "deriche") && has(text, "gaussian"));
    memory_free(text);
    input_destroy(in);
}

static void variants(void)
{
    /* no undershoot, separable, cascade, log-polar, pooled, no transient, ring array, no gain control */
    write_xml("<log-polar-scheme fovea-radius__deg=\"0.5\" scaling-factor-outside-fovea__inv-deg=\"2\"/>",
              "opl-relative-weight=\"0.5\" center-n__uint=\"3\">",
              GANGLION("1", "0", "0.1") CELLS("<circular-array fovea-density__inv-deg=\"8\" noise_pos=\"0.6\"/>") "</ganglion-layer>" GANGLION(
                  "1", "0.7", "0") "</ganglion-layer>");
    preset_settings s = of_xml("", 40, 32);
    char *text = text_of(&s);
    CHECK_TEXT(text,
               "- {name: receptor_blur, type: blur, input: stimulus, sigma: 0.05 deg, method: gaussian, scheme: log-polar}\n"
               "- {name: receptor, type: lowpass, input: receptor_blur, tau: 0.01 s, order: 3, gain: 10}\n"
               "- {name: surround_blur, type: blur, input: receptor, delay: 1, sigma: 0.15 deg, method: gaussian, scheme: log-polar}\n"
               "- {name: surround, type: lowpass, input: surround_blur, tau: 0.01 s, gain: 0.5}\n"
               "- {name: opl, type: sum, inputs: [receptor, surround], weights: [1, -1], rest: 0}\n"
               "- {name: ganglion_0_rate, type: rectify, input: opl, delay: 1, form: virtualretina, sign: 1, threshold: 0, "
               "value: 37 Hz, slope: 100 Hz}\n"
               "- {name: ganglion_0, type: blur, input: ganglion_0_rate, sigma: 0.1 deg, method: gaussian, scheme: log-polar, rest: 0}\n"
               "- {name: cells_0, type: cells, input: ganglion_0, mosaic: circular, diameter: 1.9 deg, density: 8 /deg, scheme: log-polar, "
               "jitter: 0.03061862178478973 deg, shift: [0.05 deg, -0.05 deg], number: 0, label: On 0}\n" /* 0.6 / 8 / sqrt(6); 32 - 14 + 1 px */
               "- {name: spikes_0, type: lif, input: cells_0, delay: 1, leak: 50 Hz, noise: 0, refractory: 0.003 s, refractory_sd: 0 s, "
               "random_start: false}\n"
               "- {name: ganglion_1_transient, type: highpass, input: opl, delay: 1, tau: 0.02 s, weight: 0.7, start: zero}\n"
               "- {name: ganglion_1, type: rectify, input: ganglion_1_transient, delay: 1, form: virtualretina, sign: 1, threshold: 0, "
               "value: 37 Hz, slope: 100 Hz, rest: 0}\n");
    memory_free(text);
    preset_geometry g;
    CHECK(preset_geometry_of(&s, &g) && g.fovea_radius_deg == 0.5 && g.scaling_per_deg == 2);
    s.scheme = 1;
    CHECK(preset_geometry_of(&s, &g) && g.scaling_per_deg == 0);
    text = text_of(&s);
    CHECK(!has(text, "log-polar"));
    memory_free(text);
    input_destroy(in);

    /* no surround: the OPL is the receptor, in its steady state before step 0 */
    write_xml("", "opl-relative-weight=\"0\" leaky-heat-equation=\"1\">", "");
    s = of_xml("", 32, 32);
    text = text_of(&s);
    CHECK_TEXT(text, "- {name: receptor, type: leaky_heat, input: stimulus, sigma: 0.05 deg, method: gaussian, tau: 0.01 s, gain: 10}\n"
                     "- {name: opl, type: gain, input: receptor}\n");
    memory_free(text);
    input_destroy(in);
}

/* Sizes by hand from adjustSizes: border ceil(7 sqrt(.05^2 + .15^2 + .2^2) 10) = 18, room 32 - 17 = 15 px, array 10 px: map 27, from pixel 2. */
static void field(void)
{
    static const struct {
        const char *array;
        int ny, nx, map_ny, map_nx, crop_y, crop_x;
        const char *says;
    } cases[] = {
        {SQUARE("1.0", "1.0"), 32, 32, 27, 27, 2, 2, "size: [1 deg, 1 deg]"},   /* as the reference data: 27 x 27 */
        {SQUARE("4.0", "1.0"), 32, 33, 27, 33, 2, 0, "size: [1.6 deg, 1 deg]"}, /* too wide: made 16 px */
        {SQUARE("0", "0"), 32, 40, 32, 40, 0, 0, "size: [2.3 deg, 1.5 deg]"},
        {"<circular-array diameter__deg=\"9\" fovea-density__inv-deg=\"10\"/>", 32, 60, 32, 32, 0, 14, "diameter: 1.5 deg"},
        {SQUARE("1.0", "1.0"), 10, 10, 10, 10, 0, 0, "size: [0.1 deg, 0.1 deg]"}, /* smaller than the border: one pixel is left */
        {NULL, 32, 40, 32, 40, 0, 0, "ganglion_0"},                               /* no cells: the whole image */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *inner = memory_text(GAIN_CONTROL GANGLION("1", "0.7", "0") "%s%s%s</ganglion-layer>", cases[i].array ? CHANNEL : "",
                                  cases[i].array ? cases[i].array : "", cases[i].array ? "</spiking-channel>" : "");
        write_xml("", LEAKY, inner);
        memory_free(inner);
        preset_settings s = of_xml("", cases[i].ny, cases[i].nx);
        preset_geometry g;
        CHECK(preset_geometry_of(&s, &g));
        CHECK(g.border_px == 18 && g.step_s == 0.001 && g.pixels_per_deg == 10 && g.luminosity_range == 255 && g.scaling_per_deg == 0);
        CHECK(g.map_ny == cases[i].map_ny && g.map_nx == cases[i].map_nx && g.crop_y == cases[i].crop_y && g.crop_x == cases[i].crop_x);
        char *text = text_of(&s);
        CHECK(has(text, cases[i].says));
        s.field_ny = g.map_ny; /* the reduced field leaves the same room, so the model may be told either */
        s.field_nx = g.map_nx;
        char *again = text_of(&s);
        CHECK_TEXT(again, text);
        memory_free(again);
        memory_free(text);
        input_destroy(in);
    }
}

/* Without any blur the border is 0: adjustSizes has room for a pixel more than there are, and a map of a pixel less than the array. */
static void field_without_blur(void)
{
    static const struct {
        const char *size;
        int map_nx;
        const char *says;
    } cases[] = {{"1.0", 9, "size: [1 deg, 1 deg]"}, {"0", 32, "size: [3.3 deg, 3.3 deg]"}, {"0.1", 1, "size: [0.1 deg, 0.1 deg]"}};
    center_sigma = surround_sigma = "0";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *inner = memory_text(GANGLION("1", "0.7", "0") CHANNEL "<square-array size-x__deg=\"%s\" size-y__deg=\"%s\" "
                                  "uniform-density__inv-deg=\"10\"/></spiking-channel></ganglion-layer>", cases[i].size, cases[i].size);
        write_xml("", LEAKY, inner);
        memory_free(inner);
        preset_settings s = of_xml("", 32, 32);
        preset_geometry g;
        CHECK(preset_geometry_of(&s, &g));
        CHECK(g.border_px == 0 && g.map_nx == cases[i].map_nx && g.map_ny == cases[i].map_nx);
        char *text = text_of(&s);
        CHECK(has(text, cases[i].says));
        memory_free(text);
        input_destroy(in);
    }
    center_sigma = "0.05";
    surround_sigma = "0.15";

    /* half a cell is none, and no fault; the layer's map stays */
    write_xml("", LEAKY, GANGLION("1", "0.7", "0") CELLS(SQUARE("0.05", "1.0")) "</ganglion-layer>");
    preset_settings s = of_xml("", 32, 32);
    char *text = text_of(&s);
    CHECK(has(text, "ganglion_0,") && !has(text, "cells_0") && !has(text, "spikes_0"));
    memory_free(text);
    input_destroy(in);
}

static void overrides(void)
{
    preset_settings s = settings_of("preset: cat-y\nmosaic: circular\ndensity: 3 /deg\nsize: [7 deg, 5 deg]\n", 100, 100);
    char *text = text_of(&s);
    CHECK(has(text, "mosaic: circular, diameter: 5 deg, density: 3 /deg") && !has(text, "shift"));
    CHECK(has(text, "sigma: 1.5 deg") && has(text, "slope: 400 Hz") && has(text, "weight: 1,"));
    memory_free(text);
    input_destroy(in);
    s = settings_of("preset: human-parvo-magno\nmosaic: hexagonal\n", 100, 200);
    text = text_of(&s);
    CHECK(has(text, "mosaic: hexagonal, size: [20 deg, 10 deg], density: 20 /deg"));
    CHECK(has(text, "density: 15 /deg") && has(text, "label: magno Off"));
    memory_free(text);
    input_destroy(in);
}

static void convis(void)
{
    preset_settings s = settings_of("preset: convis\n", 32, 32);
    char *text = text_of(&s);
    CHECK(has(text, "- {name: opl, type: sum, inputs: [receptor, surround], weights: [1, -1]}\n"));
    CHECK(has(text, "- {name: ganglion_1, type: rectify, input: ganglion_1_transient, form: convis, sign: -1, threshold: 0, value: 37 Hz, "
                    "slope: 100 Hz}\n"));
    CHECK(has(text, "- {name: spikes_1, type: pixel_lif, input: ganglion_1, "));
    CHECK(!has(text, "delay"));
    memory_free(text);
    input_destroy(in);

    s = settings_of("preset: convis\nconvis: {opl: false, bipolar: false, spikes: false, slope: 250 Hz, pool_sigma: 0.1 deg}\n", 32, 32);
    text = text_of(&s);
    CHECK_TEXT(text, "- {name: ganglion_0_transient, type: highpass, input: stimulus, form: fir, tau: 0.02 s, weight: 0.7, start: zero}\n"
                     "- {name: ganglion_0_rate, type: rectify, input: ganglion_0_transient, form: convis, sign: 1, threshold: 0, "
                     "value: 37 Hz, slope: 250 Hz}\n"
                     "- {name: ganglion_0, type: blur, input: ganglion_0_rate, sigma: 0.1 deg, method: convis}\n"
                     "- {name: ganglion_1_transient, type: highpass, input: stimulus, form: fir, tau: 0.02 s, weight: 0.7, start: zero}\n"
                     "- {name: ganglion_1_rate, type: rectify, input: ganglion_1_transient, form: convis, sign: -1, threshold: 0, "
                     "value: 37 Hz, slope: 250 Hz}\n"
                     "- {name: ganglion_1, type: blur, input: ganglion_1_rate, sigma: 0.1 deg, method: convis}\n");
    memory_free(text);
    input_destroy(in);

    s = settings_of("preset: convis\nconvis: {bipolar: false, gang: false}\n", 32, 32);
    text = text_of(&s);
    CHECK(has(text, "- {name: spikes_0, type: pixel_lif, input: opl, ") && has(text, "- {name: spikes_1, type: pixel_lif, input: opl, "));
    memory_free(text);
    input_destroy(in);
}

/* Every stage of every preset has a known type, the keys of that type, a new name and inputs that stand above it. */
typedef struct common {
    const char *name, *type, *input, *inputs[2];
    int ninput;
    double delay, rest;
} common;
static const key_spec common_keys[] = {
    {"name", KEY_TEXT, NULL, NULL, 0, 0, NULL, "", offsetof(common, name), 0, 0},
    {"type", KEY_TEXT, NULL, NULL, 0, 0, NULL, "", offsetof(common, type), 0, 0},
    {"input", KEY_TEXT, NULL, "", 0, 0, NULL, "", offsetof(common, input), 0, 0},
    {"inputs", KEY_TEXTS, NULL, "", 0, 0, NULL, "", offsetof(common, inputs), offsetof(common, ninput), 2},
    {"delay", KEY_REAL, "", "0", 0, 1, NULL, "", offsetof(common, delay), 0, 0},
    {"rest", KEY_REAL, "", "0", 0, 0, NULL, "", offsetof(common, rest), 0, 0},
};

static bool stands(const char *const names[], int n, const char *name)
{
    bool found = strcmp(name, "stimulus") == 0;
    for (int i = 0; i < n; i++) {
        found = found || strcmp(names[i], name) == 0;
    }
    return found;
}

static void check_vocabulary(const char *text, const char *preset)
{
    input *list = input_from_text("model: {stages: []}\n", "test", NULL, 0);
    input_graft(list, "model.stages", text, preset);
    const input_node *stages = input_child(input_child(input_root(list), "model"), "stages");
    const char *names[40];
    int n = input_count(stages);
    CHECK(n > 5 && n <= 40);
    for (int i = 0; i < n; i++) {
        const input_node *item = input_item(stages, i);
        const char *word = input_scalar(input_child(item, "type"));
        const stage_type *type = word ? stage_find(word) : NULL;
        CHECK(type != NULL);
        if (!type) {
            continue;
        }
        common c;
        void *settings = memory_alloc(1, type->settings_size + 1);
        key_table tables[] = {{common_keys, sizeof common_keys / sizeof *common_keys, &c}, {type->keys, type->nkey, settings}};
        input_fill_tables(list, item, word, tables, 2);
        memory_free(settings);
        CHECK(c.name && !stands(names, i, c.name));
        CHECK(!c.input || stands(names, i, c.input));
        for (int k = 0; k < c.ninput; k++) {
            CHECK(stands(names, i, c.inputs[k]));
        }
        names[i] = c.name;
    }
    input_check_unknown(list);
    input_print_problems(list);
    CHECK(input_nproblem(list) == 0);
    input_destroy(list);
}

static void vocabulary(void)
{
    static const char *const presets[] = {"cat-x", "cat-y", "primate-parasol", "primate-midget", "human-parvo-magno", "convis"};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        char *yaml = memory_text("preset: %s\n", presets[i]);
        preset_settings s = settings_of(yaml, 64, 48);
        preset_geometry g;
        CHECK(preset_geometry_of(&s, &g) && g.step_s > 0 && g.pixels_per_deg > 0 && g.map_ny == 64 && g.map_nx == 48);
        char *text = text_of(&s);
        check_vocabulary(text, presets[i]);
        memory_free(text);
        memory_free(yaml);
        input_destroy(in);
    }
    write_xml(
        "", LEAKY,
        GAIN_CONTROL GANGLION(
            "1", "1",
            "0.1") "<spiking-channel-adap g-leak__Hz=\"50\" sigma-V=\"0.1\" refr-mean__sec=\"0.003\" refr-stdev__sec=\"0.001\" random-init=\"1\" "
                   "delta-g-adap__Hz=\"20\" tau-g-adap__sec=\"0.2\" E-adap=\"-0.5\">" SQUARE("1", "1") "</spiking-channel-adap></ganglion-layer>");
    preset_settings s = of_xml("", 32, 32);
    char *text = text_of(&s);
    CHECK(has(text, "adaptation_delta: 20 Hz, adaptation_tau: 0.2 s, adaptation_reversal: -0.5}"));
    check_vocabulary(text, "virtualretina");
    memory_free(text);
    input_destroy(in);
}

static void problems(void)
{
    static const struct {
        const char *yaml, *says;
    } cases[] = {
        {"preset: virtualretina\n", "needs `file"},
        {"preset: virtualretina\nfile: /nowhere/retina.xml\n", "/nowhere/retina.xml"},
        {"preset: cat-x\nfile: retina.xml\n", "`file` belongs to preset virtualretina"},
        {"preset: cat-x\nconvis: {opl: true}\n", "`convis` belongs to preset convis"},
        {"preset: convis\nconvis: {opl: false, bipolar: false, gang: false, spikes: false}\n", "everything is switched off"},
        {"preset: convis\nconvis: {centre_sigma: 0.1 deg}\n", "center_sigma"},
        {"preset: convis\nconvis: {center_tau: 10}\n", "center_tau"},
        {"preset: cat\n", "cat-x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        preset_settings s = settings_of(cases[i].yaml, 32, 32);
        char *text = preset_stages(in, &s);
        input_check_unknown(in);
        CHECK(text == NULL || input_nproblem(in) > 0);
        bool said = input_nproblem(in) >= 1 && has(input_problem_text(in, 0), cases[i].says);
        if (!said) {
            printf("\n    %d problems, '%s' is wanted for: %s", input_nproblem(in), cases[i].says, cases[i].yaml);
            input_print_problems(in);
        }
        CHECK(said);
        memory_free(text);
        input_destroy(in);
    }
    preset_settings s = settings_of("preset: none\n", 32, 32);
    preset_geometry g;
    CHECK(preset_stages(in, &s) == NULL && input_nproblem(in) == 0 && !preset_geometry_of(&s, &g));
    input_destroy(in);

    write_xml("", "opl-relative-weight=\"-1\" tau=\"3\">", "");
    s = of_xml("", 32, 32);
    CHECK(!preset_geometry_of(&s, &g)); /* says nothing: */
    CHECK(input_nproblem(in) == 0);
    CHECK(preset_stages(in, &s) == NULL && input_nproblem(in) == 1);
    input_destroy(in);
    remove(xml_path);
}

TEST_MAIN("preset", {"VirtualRetina's chain and latencies", chain}, {"parts that are absent", variants}, {"reduced field and arrays", field},
          {"a retina without blur", field_without_blur}, {"overrides", overrides}, {"Convis' switches", convis},
          {"every preset is in the vocabulary", vocabulary}, {"problems", problems})

/* test_retina_xml.c - VirtualRetina's XML: every value arrives, everything else is a problem with file and line. */
#include "base/memory.h"
#include "input/retina_xml.h"
#include "test.h"
#include <unistd.h>

/* Attributes over several lines, as in VirtualRetina's own example files; line numbers in the tests below count from here. */
static const char *const whole =
    "<?xml version=\"1.0\"?>\n"
    "<!-- a comment -->\n"
    "<retina-description-file>\n"
    "<basic-microsaccade-generator pixels-per-degree=\"200\" temporal-step__sec=\"0.005\" angular-noise__pi-radians=\"0.3\"\n"
    " period-mean__sec=\"0.2\" period-stdev__sec=\"0\" amplitude-mean__deg=\"0.5\" amplitude-stdev__deg=\"0.1\"\n"
    " saccade-duration-mean__sec=\"0.025\" saccade-duration-stdev__sec=\"0.005\"/>\n"
    "<retina temporal-step__sec=\"0.005\" input-luminosity-range=\"255\" pixels-per-degree=\"20.0\">\n"
    "<log-polar-scheme fovea-radius__deg=\"1.5\" scaling-factor-outside-fovea__inv-deg=\"0.5\"/>\n"
    "<outer-plexiform-layer>\n"
    "<linear-version center-sigma__deg=\"0.03\" surround-sigma__deg=\"0.1\"\n"
    " center-tau__sec = \"0.01\" center-n__uint=\"2\" surround-tau__sec=\"0.004\"\n"
    " opl-amplification=\"10\" opl-relative-weight=\"0.9\" leaky-heat-equation=\"0\">\n"
    "<undershoot relative-weight=\"0.8\" tau__sec=\"0.1\"/>\n"
    "</linear-version></outer-plexiform-layer>\n"
    "<contrast-gain-control opl-amplification__Hz=\"150\" bipolar-inert-leaks__Hz=\"5\" adaptation-sigma__deg=\"0.2\" adaptation-tau__sec=\"0.02\"\n"
    " adaptation-feedback-amplification__Hz=\"100\"/>\n"
    "<ganglion-layer sign=\"-1\" transient-tau__sec=\"0.03\" transient-relative-weight=\"0.7\" bipolar-linear-threshold=\"0.1\"\n"
    " value-at-linear-threshold__Hz=\"80\" bipolar-amplification__Hz=\"400\" sigma-pool__deg=\"0.05\">\n"
    "<spiking-channel-adap g-leak__Hz=\"50\" sigma-V=\"0.1\" refr-mean__sec=\"0.003\" refr-stdev__sec=\"0.001\" random-init=\"1\"\n"
    " delta-g-adap__Hz=\"20\" tau-g-adap__sec=\"0.2\" E-adap=\"-0.5\">\n"
    "<circular-array diameter__deg=\"2.5\" fovea-density__inv-deg=\"15\" noise_pos=\"0.25\"/>\n"
    "</spiking-channel-adap>\n"
    "</ganglion-layer>\n"
    "<ganglion-layer sign=\"1\" transient-tau__sec=\"0.03\" transient-relative-weight=\"1\" bipolar-linear-threshold=\"0\"\n"
    " value-at-linear-threshold__Hz=\"37\" bipolar-amplification__Hz=\"100\">\n"
    "<spiking-channel g-leak__Hz=\"40\" sigma-V=\"0\" refr-mean__sec=\"0.003\" refr-stdev__sec=\"0\" random-init=\"0\">\n"
    "<square-array size-x__deg=\"1.0\" size-y__deg=\"2.0\" uniform-density__inv-deg=\"10\"/>\n"
    "<all-units><unit x-offset__deg=\"-0.45\" y-offset__deg=\"-0.45\" mvaspike-id=\"0\"/></all-units>\n"
    "</spiking-channel></ganglion-layer>\n"
    "</retina>\n"
    "</retina-description-file>\n";

static char path[64];

/* Reads text as a file; the caller destroys the input that holds the problems. */
static input *read_text(const char *text, retina_xml *x)
{
    snprintf(path, sizeof path, "/tmp/chiasm_xml_%d.xml", (int)getpid());
    FILE *f = fopen(path, "wb");
    fputs(text, f);
    fclose(f);
    input *in = input_from_text("a: 1\n", "test", NULL, 0);
    bool ok = retina_xml_read(in, path, x);
    CHECK(ok == (input_nproblem(in) == 0));
    remove(path);
    return in;
}

static char *with(const char *from, const char *to)
{
    const char *at = strstr(whole, from);
    CHECK(at != NULL);
    return at ? memory_text("%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from)) : memory_text("%s", whole);
}

/* whole with one piece replaced: one problem at `line` that says both words. */
static void refused(const char *from, const char *to, int line, const char *says, const char *also)
{
    retina_xml x;
    char *text = with(from, to);
    input *in = read_text(text, &x);
    char where[100];
    snprintf(where, sizeof where, "%s:%d", path, line);
    if (input_nproblem(in) != 1) {
        printf("\n    %d problems for %s", input_nproblem(in), to);
        input_print_problems(in);
    }
    CHECK(input_nproblem(in) == 1);
    const char *problem = input_nproblem(in) ? input_problem_text(in, 0) : "";
    bool found = (line == 0 || strstr(problem, where)) && strstr(problem, says) && strstr(problem, also);
    if (!found) {
        printf("\n    '%s' lacks %s, %s or %s", problem, where, says, also);
    }
    CHECK(found);
    input_destroy(in);
    memory_free(text);
}

static void every_value(void)
{
    retina_xml x;
    input *in = read_text(whole, &x);
    input_print_problems(in);
    CHECK(input_nproblem(in) == 0);
    CHECK(x.step_s == 0.005 && x.luminosity_range == 255 && x.pixels_per_deg == 20);
    CHECK(x.log_polar && x.fovea_radius_deg == 1.5 && x.scaling_per_deg == 0.5);
    CHECK(x.center_sigma_deg == 0.03 && x.surround_sigma_deg == 0.1 && x.center_tau_s == 0.01 && x.surround_tau_s == 0.004);
    CHECK(x.center_order == 2 && x.opl_gain == 10 && x.surround_weight == 0.9 && !x.leaky_heat);
    CHECK(x.undershoot && x.undershoot_weight == 0.8 && x.undershoot_tau_s == 0.1);
    CHECK(x.gain_control && x.bipolar_gain_hz == 150 && x.leak_hz == 5 && x.adaptation_sigma_deg == 0.2);
    CHECK(x.adaptation_tau_s == 0.02 && x.feedback_hz == 100);
    CHECK(x.nlayer == 2);
    const retina_ganglion *g = &x.layer[0];
    CHECK(g->sign == -1 && g->transient_tau_s == 0.03 && g->transient_weight == 0.7 && g->threshold == 0.1);
    CHECK(g->value_hz == 80 && g->slope_hz == 400 && g->pool_sigma_deg == 0.05);
    CHECK(g->cells.mosaic == RETINA_CIRCULAR && g->cells.diameter_deg == 2.5 && g->cells.density_per_deg == 15 && g->cells.jitter == 0.25);
    CHECK(g->cells.leak_hz == 50 && g->cells.noise_v == 0.1 && g->cells.refractory_s == 0.003 && g->cells.refractory_sd_s == 0.001);
    CHECK(g->cells.random_start);
    CHECK(g->cells.adapts && g->cells.adaptation_delta_hz == 20 && g->cells.adaptation_tau_s == 0.2 && g->cells.adaptation_reversal == -0.5);
    g = &x.layer[1];
    CHECK(g->sign == 1 && g->pool_sigma_deg == 0 && g->cells.leak_hz == 40 && !g->cells.random_start && !g->cells.adapts);
    CHECK(g->cells.mosaic == RETINA_SQUARE && g->cells.size_x_deg == 1 && g->cells.size_y_deg == 2 && g->cells.density_per_deg == 10);
    CHECK(x.units_line == 28);
    CHECK(x.saccades.given && x.saccades.period_s == 0.2 && x.saccades.amplitude_sd_deg == 0.1 && x.saccades.duration_s == 0.025);
    CHECK(x.saccades.direction_noise_pi == 0.3 && x.saccades.period_sd_s == 0 && x.saccades.amplitude_deg == 0.5);
    input_destroy(in);
}

/* Absent elements are absent parts. */
static void smallest(void)
{
    retina_xml x;
    input *in = read_text("<retina-description-file><retina temporal-step__sec='0.05' input-luminosity-range='1' pixels-per-degree='10'>"
                          "<outer-plexiform-layer><linear-version center-sigma__deg='0.1' surround-sigma__deg='0.3' center-tau__sec='0' "
                          "surround-tau__sec='0.01' opl-amplification='10' opl-relative-weight='0'/></outer-plexiform-layer></retina>"
                          "</retina-description-file>",
                          &x);
    CHECK(input_nproblem(in) == 0);
    CHECK(!x.log_polar && !x.undershoot && !x.gain_control && !x.saccades.given && x.nlayer == 0 && x.units_line == 0 && !x.leaky_heat);
    input_destroy(in);
}

static void wrong_values(void)
{
    refused("center-tau__sec = \"0.01\"", "center-tau__sec = \"-0.01\"", 11, "center-tau__sec", "0 or more");
    refused("tau__sec=\"0.1\"", "tau__sec=\"0\"", 13, "tau__sec of <undershoot>", "above 0");
    refused("sigma-V=\"0.1\"", "sigma-V=\"a little\"", 19, "'a little' is not a number", "sigma-V");
    refused("sigma-V=\"0.1\"", "sigma-V=\"\"", 19, "'' is not a number", "sigma-V");
    refused("sigma-V=\"0.1\"", "sigma-V=\"0.1 mV\"", 19, "'0.1 mV' is not a number", "sigma-V");
    refused("sigma-V=\"0.1\"", "sigma-V=\"nan\"", 19, "not a number", "sigma-V");
    refused("center-n__uint=\"2\"", "center-n__uint=\"2.5\"", 11, "center-n__uint", "whole number");
    refused("leaky-heat-equation=\"0\"", "leaky-heat-equation=\"yes\"", 12, "leaky-heat-equation", "0 or 1");
    refused("random-init=\"1\"", "random-init=\"2\"", 19, "random-init", "0 or 1");
    refused("pixels-per-degree=\"20.0\"", "pixels-per-degree=\"0\"", 7, "pixels-per-degree of <retina>", "above 0");
    refused("center-n__uint=\"2\" surround-tau__sec=\"0.004\"\n opl-amplification=\"10\" opl-relative-weight=\"0.9\" leaky-heat-equation=\"0\"",
            "surround-tau__sec=\"0\"\n opl-amplification=\"10\" opl-relative-weight=\"0.9\" leaky-heat-equation=\"1\"", 10, "leaky heat",
            "center-tau__sec");
}

static void unknown_and_missing(void)
{
    refused("sigma-pool__deg=\"0.05\"", "sigma-pool=\"0.05\"", 18, "sigma-pool", "allowed: sign, transient-tau__sec");
    refused("<undershoot relative-weight=\"0.8\"", "<undershoot", 13, "relative-weight is missing", "<undershoot>");
    refused("<contrast-gain-control opl-amplification__Hz=\"150\"", "<contrast-gain-control", 15, "opl-amplification__Hz is missing", "");
    refused("sign=\"-1\" ", "", 17, "sign is missing", "<ganglion-layer>");
    refused("<undershoot relative-weight=\"0.8\" tau__sec=\"0.1\"/>", "<overshoot/>", 13, "<overshoot>", "allowed: undershoot");
    refused("<outer-plexiform-layer>", "<outer-plexiform-layer depth=\"1\">", 9, "depth", "allowed: none");
    refused("tau__sec=\"0.1\"/>", "tau__sec=\"0.1\">deep</undershoot>", 13, "text", "<undershoot>");
    refused("tau__sec=\"0.1\"/>", "tau__sec=\"0.1\"/><undershoot relative-weight=\"0.8\" tau__sec=\"0.1\"/>", 13, "given twice", "<undershoot>");
    refused("<log-polar-scheme fovea-radius__deg=\"1.5\" scaling-factor-outside-fovea__inv-deg=\"0.5\"/>",
            "<contrast-gain-control-custom exponent=\"3\"/>", 8, "contrast-gain-control-custom", "use contrast-gain-control");
    refused("<circular-array diameter__deg=\"2.5\" fovea-density__inv-deg=\"15\" noise_pos=\"0.25\"/>", "", 19, "has no array", "square-array");
    refused("<circular-array ", "<square-array uniform-density__inv-deg=\"10\"/><circular-array ", 21, "an array already", "circular-array");
    refused("<unit x-offset__deg=\"-0.45\"", "<unit depth=\"1\" x-offset__deg=\"-0.45\"", 28, "depth", "mvaspike-id");
    refused("</spiking-channel></ganglion-layer>",
            "</spiking-channel><spiking-channel-adap g-leak__Hz=\"50\" sigma-V=\"0.1\" refr-mean__sec=\"0.003\" refr-stdev__sec=\"0.001\" "
            "random-init=\"1\" delta-g-adap__Hz=\"20\" tau-g-adap__sec=\"0.2\" E-adap=\"0\"><circular-array fovea-density__inv-deg=\"1\"/>"
            "</spiking-channel-adap></ganglion-layer>",
            29, "a spiking channel already", "");
}

static void broken_files(void)
{
    refused("</linear-version></outer", "</outer", 14, "not well-formed", "linear-version");
    refused("sign=\"-1\"", "sign=\"-1\" sign=\"1\"", 18, "not well-formed", "sign"); /* where the tag ends */
    refused("<retina-description-file>", "<description>", 0, "not well-formed", "");

    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not well-formed"},
        {"<html></html>", "<html> is not VirtualRetina's"},
        {"<retina-description-file/>", "<retina> is missing"},
        {"<retina-description-file><retina temporal-step__sec='1' input-luminosity-range='1' pixels-per-degree='1'/></retina-description-file>",
         "outer-plexiform-layer is missing"},
        {"<retina-description-file><retina temporal-step__sec='1' input-luminosity-range='1' pixels-per-degree='1'><outer-plexiform-layer/></retina>"
         "</retina-description-file>",
         "linear-version is wanted"},
        {"stages:\n  - name: opl\n", "not well-formed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retina_xml x;
        input *in = read_text(cases[i].text, &x);
        CHECK(input_nproblem(in) == 1 && strstr(input_problem_text(in, 0), cases[i].says) != NULL);
        input_destroy(in);
    }
    retina_xml x;
    char *text = with("<linear-version ", "<luminance-gain-control-version ");
    char *closed = NULL;
    char *end = strstr(text, "</linear-version>");
    if (end) {
        closed = memory_text("%.*s</luminance-gain-control-version>%s", (int)(end - text), text, end + strlen("</linear-version>"));
    }
    input *in = read_text(closed, &x);
    CHECK(input_nproblem(in) == 1);
    CHECK(strstr(input_problem_text(in, 0), "luminance-gain-control-version") && strstr(input_problem_text(in, 0), "use linear-version") != NULL);
    input_destroy(in);
    memory_free(closed);
    memory_free(text);

    in = input_from_text("a: 1\n", "test", NULL, 0);
    CHECK(!retina_xml_read(in, "/nowhere/retina.xml", &x));
    CHECK(input_nproblem(in) == 1 && strstr(input_problem_text(in, 0), "/nowhere/retina.xml") != NULL);
    CHECK(!retina_xml_read(in, "/tmp", &x)); /* a folder */
    CHECK(input_nproblem(in) == 2);
    input_destroy(in);
}

/* Many problems are all listed. */
static void all_at_once(void)
{
    retina_xml x;
    char *one = with("tau__sec=\"0.1\"", "tau__sec=\"-1\"");
    char *at = strstr(one, "sigma-V=\"0.1\"");
    CHECK(at != NULL);
    char *two = memory_text("%.*s%s%s", (int)(at - one), one, "sigma-V=\"x\" other=\"1\"", at + strlen("sigma-V=\"0.1\""));
    input *in = read_text(two, &x);
    CHECK(input_nproblem(in) == 3);
    input_destroy(in);
    memory_free(two);
    memory_free(one);
}

TEST_MAIN("retina_xml", {"every value of a whole file", every_value}, {"absent elements are absent parts", smallest}, {"wrong values", wrong_values},
          {"unknown and missing names", unknown_and_missing}, {"broken files", broken_files}, {"all problems at once", all_at_once})

/* retina_xml.c - tables of VirtualRetina's elements and attributes, and the walk that checks a file against them.
 *
 * Attributes that VirtualRetina's own example files leave out have its defaults; all others must be given, because a retina with
 * a built-in value nobody wrote down cannot be reproduced from its description. */
#include "input/retina_xml.h"
#include "base/memory.h"
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum attribute_kind { AS_REAL, AS_POSITIVE, AS_AMOUNT, AS_COUNT, AS_FLAG, AS_IGNORED };
static const char *const kind_wants[] = {"a number", "a number above 0", "a number, 0 or more", "a whole number from 0 to 20", "0 or 1", ""};

typedef struct attribute_spec {
    const char *name;
    enum attribute_kind kind;
    size_t offset;
    bool optional;
    double fallback; /* when optional */
} attribute_spec;

#define NEED(name, kind, type, field)                                                                                                                \
    {                                                                                                                                                \
        name, kind, offsetof(type, field), false, 0                                                                                                  \
    }
#define MAY(name, kind, type, field, value)                                                                                                          \
    {                                                                                                                                                \
        name, kind, offsetof(type, field), true, value                                                                                               \
    }

static const attribute_spec retina_attributes[] = {
    NEED("temporal-step__sec", AS_POSITIVE, retina_xml, step_s),
    NEED("input-luminosity-range", AS_POSITIVE, retina_xml, luminosity_range),
    NEED("pixels-per-degree", AS_POSITIVE, retina_xml, pixels_per_deg),
};
static const attribute_spec log_polar_attributes[] = {
    NEED("fovea-radius__deg", AS_POSITIVE, retina_xml, fovea_radius_deg),
    NEED("scaling-factor-outside-fovea__inv-deg", AS_AMOUNT, retina_xml, scaling_per_deg),
};
static const attribute_spec linear_attributes[] = {
    NEED("center-sigma__deg", AS_AMOUNT, retina_xml, center_sigma_deg), NEED("surround-sigma__deg", AS_AMOUNT, retina_xml, surround_sigma_deg),
    NEED("center-tau__sec", AS_AMOUNT, retina_xml, center_tau_s),       MAY("center-n__uint", AS_COUNT, retina_xml, center_order, 0),
    NEED("surround-tau__sec", AS_AMOUNT, retina_xml, surround_tau_s),   NEED("opl-amplification", AS_REAL, retina_xml, opl_gain),
    NEED("opl-relative-weight", AS_REAL, retina_xml, surround_weight),  MAY("leaky-heat-equation", AS_FLAG, retina_xml, leaky_heat, 0),
};
static const attribute_spec undershoot_attributes[] = {
    NEED("relative-weight", AS_REAL, retina_xml, undershoot_weight),
    NEED("tau__sec", AS_POSITIVE, retina_xml, undershoot_tau_s),
};
static const attribute_spec gain_control_attributes[] = {
    NEED("opl-amplification__Hz", AS_REAL, retina_xml, bipolar_gain_hz),
    NEED("bipolar-inert-leaks__Hz", AS_POSITIVE, retina_xml, leak_hz),
    NEED("adaptation-sigma__deg", AS_AMOUNT, retina_xml, adaptation_sigma_deg),
    NEED("adaptation-tau__sec", AS_POSITIVE, retina_xml, adaptation_tau_s),
    NEED("adaptation-feedback-amplification__Hz", AS_AMOUNT, retina_xml, feedback_hz),
};
static const attribute_spec ganglion_attributes[] = {
    NEED("sign", AS_REAL, retina_ganglion, sign),
    NEED("transient-tau__sec", AS_POSITIVE, retina_ganglion, transient_tau_s),
    NEED("transient-relative-weight", AS_REAL, retina_ganglion, transient_weight),
    NEED("bipolar-linear-threshold", AS_REAL, retina_ganglion, threshold),
    NEED("value-at-linear-threshold__Hz", AS_AMOUNT, retina_ganglion, value_hz),
    NEED("bipolar-amplification__Hz", AS_REAL, retina_ganglion, slope_hz),
    MAY("sigma-pool__deg", AS_AMOUNT, retina_ganglion, pool_sigma_deg, 0),
};
#define CHANNEL_ATTRIBUTES                                                                                                                           \
    NEED("g-leak__Hz", AS_POSITIVE, retina_cells, leak_hz), NEED("sigma-V", AS_AMOUNT, retina_cells, noise_v),                                       \
        NEED("refr-mean__sec", AS_AMOUNT, retina_cells, refractory_s), NEED("refr-stdev__sec", AS_AMOUNT, retina_cells, refractory_sd_s),            \
        NEED("random-init", AS_FLAG, retina_cells, random_start)
static const attribute_spec channel_attributes[] = {CHANNEL_ATTRIBUTES};
static const attribute_spec adapting_channel_attributes[] = {
    CHANNEL_ATTRIBUTES,
    NEED("delta-g-adap__Hz", AS_AMOUNT, retina_cells, adaptation_delta_hz),
    NEED("tau-g-adap__sec", AS_POSITIVE, retina_cells, adaptation_tau_s),
    NEED("E-adap", AS_REAL, retina_cells, adaptation_reversal),
};
static const attribute_spec square_attributes[] = {
    MAY("size-x__deg", AS_AMOUNT, retina_cells, size_x_deg, 0),
    MAY("size-y__deg", AS_AMOUNT, retina_cells, size_y_deg, 0),
    NEED("uniform-density__inv-deg", AS_POSITIVE, retina_cells, density_per_deg),
    MAY("noise_pos", AS_AMOUNT, retina_cells, jitter, 0),
};
static const attribute_spec circular_attributes[] = {
    MAY("diameter__deg", AS_AMOUNT, retina_cells, diameter_deg, 0),
    NEED("fovea-density__inv-deg", AS_POSITIVE, retina_cells, density_per_deg),
    MAY("noise_pos", AS_AMOUNT, retina_cells, jitter, 0),
};
static const attribute_spec unit_attributes[] = {
    {"x-offset__deg", AS_IGNORED, 0, true, 0},
    {"y-offset__deg", AS_IGNORED, 0, true, 0},
    {"mvaspike-id", AS_IGNORED, 0, true, 0},
};
static const attribute_spec saccade_attributes[] = {
    {"temporal-step__sec", AS_IGNORED, 0, true, 0},
    {"pixels-per-degree", AS_IGNORED, 0, true, 0},
    NEED("period-mean__sec", AS_POSITIVE, retina_saccades, period_s),
    NEED("period-stdev__sec", AS_AMOUNT, retina_saccades, period_sd_s),
    NEED("amplitude-mean__deg", AS_AMOUNT, retina_saccades, amplitude_deg),
    NEED("amplitude-stdev__deg", AS_AMOUNT, retina_saccades, amplitude_sd_deg),
    NEED("saccade-duration-mean__sec", AS_POSITIVE, retina_saccades, duration_s),
    NEED("saccade-duration-stdev__sec", AS_AMOUNT, retina_saccades, duration_sd_s),
    NEED("angular-noise__pi-radians", AS_AMOUNT, retina_saccades, direction_noise_pi),
};
#define ATTRIBUTES(table) table, (int)(sizeof(table) / sizeof((table)[0]))

/* --- the reader and its lines --------------------------------------------------------------------------------------- */
typedef struct reader {
    input *in;
    const char *path;
    char *text; /* the file, lines cut by zeros */
    size_t size;
    const char **line;
    int nline, units_line;
    xmlDocPtr doc;
} reader;

/* libxml2 numbers an element by the line its tag ends on; messages want where it starts ... */
static int element_line(const reader *r, const xmlNode *node)
{
    char open[128];
    snprintf(open, sizeof open, "<%s", (const char *)node->name);
    int last = (int)xmlGetLineNo(node);
    for (int i = last < r->nline ? last : r->nline; i > 0; i--) {
        if (strstr(r->line[i - 1], open)) {
            return i;
        }
    }
    return last;
}

/* ... or the line of the attribute itself. */
static int attribute_line(const reader *r, const xmlNode *node, const char *name)
{
    int first = element_line(r, node), last = (int)xmlGetLineNo(node);
    for (int i = first; i <= last && i <= r->nline; i++) {
        for (const char *p = strstr(r->line[i - 1], name); p; p = strstr(p + 1, name)) {
            const char *end = p + strlen(name);
            bool starts = p == r->line[i - 1] || isspace((unsigned char)p[-1]);
            if (starts && (*end == '=' || *end == '\0' || isspace((unsigned char)*end))) {
                return i;
            }
        }
    }
    return first;
}

static void list_names(char *text, size_t size, const void *table, size_t stride, int n)
{
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        const char *name = *(const char *const *)((const char *)table + (size_t)i * stride);
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", name);
    }
}

/* --- attributes ----------------------------------------------------------------------------------------------------- */
static bool fits(enum attribute_kind kind, double value)
{
    switch (kind) {
    case AS_POSITIVE:
        return value > 0;
    case AS_AMOUNT:
        return value >= 0;
    case AS_COUNT:
        return value >= 0 && value <= 20 && value == floor(value);
    case AS_FLAG:
        return value == 0 || value == 1;
    default:
        return true;
    }
}

static void put(const attribute_spec *spec, void *out, double value)
{
    char *place = (char *)out + spec->offset;
    if (spec->kind == AS_COUNT) {
        *(int *)place = (int)value;
    } else if (spec->kind == AS_FLAG) {
        *(bool *)place = value != 0;
    } else if (spec->kind != AS_IGNORED) {
        *(double *)place = value;
    }
}

static void read_value(reader *r, const xmlNode *node, const attribute_spec *spec, const char *text, void *out)
{
    char *end;
    double value = strtod(text, &end);
    bool number = end != text;
    while (isspace((unsigned char)*end)) {
        end++;
    }
    if (!number || *end != '\0' || !isfinite(value)) {
        input_problem_in(r->in, r->path, attribute_line(r, node, spec->name), "%s of <%s>: '%s' is not a number; %s is wanted", spec->name,
                         (const char *)node->name, text, kind_wants[spec->kind]);
    } else if (!fits(spec->kind, value)) {
        input_problem_in(r->in, r->path, attribute_line(r, node, spec->name), "%s of <%s>: %s is out of range; %s is wanted", spec->name,
                         (const char *)node->name, text, kind_wants[spec->kind]);
    } else {
        put(spec, out, value);
    }
}

static void read_attributes(reader *r, const xmlNode *node, const attribute_spec *specs, int n, void *out)
{
    for (int i = 0; i < n; i++) {
        if (out) {
            put(&specs[i], out, specs[i].optional ? specs[i].fallback : specs[i].kind == AS_POSITIVE ? 1 : 0);
        }
        if (!specs[i].optional && !xmlHasProp(node, (const xmlChar *)specs[i].name)) {
            input_problem_in(r->in, r->path, element_line(r, node), "<%s>: attribute %s is missing", (const char *)node->name, specs[i].name);
        }
    }
    for (xmlAttrPtr a = node->properties; a; a = a->next) {
        const char *name = (const char *)a->name;
        int i = 0;
        while (i < n && strcmp(specs[i].name, name) != 0) {
            i++;
        }
        if (i == n) {
            char allowed[600];
            list_names(allowed, sizeof allowed, specs, sizeof *specs, n);
            input_problem_in(r->in, r->path, attribute_line(r, node, name), "<%s>: attribute %s is not used; allowed: %s", (const char *)node->name,
                             name, n ? allowed : "none");
        } else if (specs[i].kind != AS_IGNORED) {
            xmlChar *text = xmlNodeListGetString(r->doc, a->children, 1);
            read_value(r, node, &specs[i], text ? (const char *)text : "", out);
            xmlFree(text);
        }
    }
}

/* --- elements ------------------------------------------------------------------------------------------------------- */
/* Parts of VirtualRetina that its author calls experimental and that have no published parameters. */
static const char *why_unsupported(const char *name)
{
    if (!strcmp(name, "luminance-gain-control-version")) {
        return "the luminance gain control of the outer plexiform layer is not part of the published model; use linear-version";
    }
    if (!strcmp(name, "contrast-gain-control-custom")) {
        return "only the published contrast gain control (exponent 2, On/Off symmetric, E = 0) is computed; use contrast-gain-control";
    }
    return NULL;
}

typedef struct child_spec {
    const char *name;
    bool many;
    void (*read)(reader *r, const xmlNode *node, void *out);
} child_spec;

static void read_children(reader *r, const xmlNode *node, const child_spec *specs, int n, void *out)
{
    int seen[8] = {0};
    for (const xmlNode *c = node->children; c; c = c->next) {
        if ((c->type == XML_TEXT_NODE && !xmlIsBlankNode(c)) || c->type == XML_CDATA_SECTION_NODE || c->type == XML_ENTITY_REF_NODE) {
            input_problem_in(r->in, r->path, (int)xmlGetLineNo(c), "<%s>: text between elements has no meaning here", (const char *)node->name);
        }
        if (c->type != XML_ELEMENT_NODE) {
            continue;
        }
        const char *name = (const char *)c->name;
        int i = 0;
        while (i < n && strcmp(specs[i].name, name) != 0) {
            i++;
        }
        if (i == n) {
            char allowed[400];
            list_names(allowed, sizeof allowed, specs, sizeof *specs, n);
            const char *why = why_unsupported(name);
            input_problem_in(r->in, r->path, element_line(r, c), "<%s> in <%s> is not used%s%s; allowed: %s", name, (const char *)node->name,
                             why ? ": " : "", why ? why : "", n ? allowed : "no elements");
        } else if (seen[i]++ && !specs[i].many) {
            input_problem_in(r->in, r->path, element_line(r, c), "<%s> is given twice in <%s>", name, (const char *)node->name);
        } else {
            specs[i].read(r, c, out);
        }
    }
}
#define CHILDREN(table) table, (int)(sizeof(table) / sizeof((table)[0]))

static bool has_child(const xmlNode *node, const char *name)
{
    for (const xmlNode *c = node->children; c; c = c->next) {
        if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, name)) {
            return true;
        }
    }
    return false;
}

static void no_children(reader *r, const xmlNode *node)
{
    read_children(r, node, NULL, 0, NULL);
}

static void read_array(reader *r, const xmlNode *node, retina_cells *cells, int mosaic, const attribute_spec *specs, int n)
{
    if (cells->mosaic != RETINA_NO_CELLS) {
        input_problem_in(r->in, r->path, element_line(r, node), "<%s>: there is an array already; one of square-array, circular-array is allowed",
                         (const char *)node->name);
    }
    cells->mosaic = mosaic;
    read_attributes(r, node, specs, n, cells);
    no_children(r, node);
}

static void read_square(reader *r, const xmlNode *node, void *out)
{
    read_array(r, node, out, RETINA_SQUARE, ATTRIBUTES(square_attributes));
}

static void read_circular(reader *r, const xmlNode *node, void *out)
{
    read_array(r, node, out, RETINA_CIRCULAR, ATTRIBUTES(circular_attributes));
}

static void read_unit(reader *r, const xmlNode *node, void *out)
{
    (void)out;
    read_attributes(r, node, ATTRIBUTES(unit_attributes), NULL);
    no_children(r, node);
}

/* VirtualRetina writes where it put its cells; we place them from the array again. */
static void read_all_units(reader *r, const xmlNode *node, void *out)
{
    static const child_spec children[] = {{"unit", true, read_unit}};
    read_attributes(r, node, NULL, 0, NULL);
    read_children(r, node, CHILDREN(children), out);
    if (has_child(node, "unit") && !r->units_line) {
        r->units_line = element_line(r, node);
    }
}

static void read_cells(reader *r, const xmlNode *node, retina_cells *cells, const attribute_spec *specs, int n)
{
    static const child_spec children[] = {
        {"square-array", false, read_square}, {"circular-array", false, read_circular}, {"all-units", false, read_all_units}};
    if (cells->leak_hz > 0) {
        input_problem_in(r->in, r->path, element_line(r, node), "<%s>: the layer has a spiking channel already", (const char *)node->name);
    }
    *cells = (retina_cells){.mosaic = RETINA_NO_CELLS};
    read_attributes(r, node, specs, n, cells);
    read_children(r, node, CHILDREN(children), cells);
    if (cells->mosaic == RETINA_NO_CELLS) {
        input_problem_in(r->in, r->path, element_line(r, node), "<%s> has no array; one of square-array, circular-array is wanted",
                         (const char *)node->name);
    }
}

static void read_channel(reader *r, const xmlNode *node, void *out)
{
    retina_ganglion *layer = out;
    read_cells(r, node, &layer->cells, ATTRIBUTES(channel_attributes));
}

static void read_adapting_channel(reader *r, const xmlNode *node, void *out)
{
    retina_ganglion *layer = out;
    read_cells(r, node, &layer->cells, ATTRIBUTES(adapting_channel_attributes));
    layer->cells.adapts = true;
}

static void read_ganglion(reader *r, const xmlNode *node, void *out)
{
    static const child_spec children[] = {{"spiking-channel", false, read_channel}, {"spiking-channel-adap", false, read_adapting_channel}};
    retina_xml *x = out;
    if (x->nlayer == RETINA_MAX_LAYER) {
        input_problem_in(r->in, r->path, element_line(r, node), "more than %d ganglion layers", RETINA_MAX_LAYER);
        return;
    }
    retina_ganglion *layer = &x->layer[x->nlayer++];
    read_attributes(r, node, ATTRIBUTES(ganglion_attributes), layer);
    read_children(r, node, CHILDREN(children), layer);
}

static void read_undershoot(reader *r, const xmlNode *node, void *out)
{
    ((retina_xml *)out)->undershoot = true;
    read_attributes(r, node, ATTRIBUTES(undershoot_attributes), out);
    no_children(r, node);
}

static void read_linear(reader *r, const xmlNode *node, void *out)
{
    static const child_spec children[] = {{"undershoot", false, read_undershoot}};
    retina_xml *x = out;
    read_attributes(r, node, ATTRIBUTES(linear_attributes), x);
    read_children(r, node, CHILDREN(children), x);
    if (x->leaky_heat && (x->center_tau_s == 0 || (x->surround_tau_s == 0 && x->surround_weight != 0))) {
        input_problem_in(r->in, r->path, element_line(r, node),
                         "<linear-version>: the leaky heat equation needs center-tau__sec and surround-tau__sec above 0");
    }
}

static void read_opl(reader *r, const xmlNode *node, void *out)
{
    static const child_spec children[] = {{"linear-version", false, read_linear}};
    read_attributes(r, node, NULL, 0, NULL);
    read_children(r, node, CHILDREN(children), out);
    if (!xmlChildElementCount((xmlNodePtr)node)) {
        input_problem_in(r->in, r->path, element_line(r, node), "<outer-plexiform-layer> is empty; linear-version is wanted");
    }
}

static void read_gain_control(reader *r, const xmlNode *node, void *out)
{
    ((retina_xml *)out)->gain_control = true;
    read_attributes(r, node, ATTRIBUTES(gain_control_attributes), out);
    no_children(r, node);
}

static void read_log_polar(reader *r, const xmlNode *node, void *out)
{
    ((retina_xml *)out)->log_polar = true;
    read_attributes(r, node, ATTRIBUTES(log_polar_attributes), out);
    no_children(r, node);
}

static void read_retina(reader *r, const xmlNode *node, void *out)
{
    static const child_spec children[] = {{"log-polar-scheme", false, read_log_polar},
                                          {"outer-plexiform-layer", false, read_opl},
                                          {"contrast-gain-control", false, read_gain_control},
                                          {"ganglion-layer", true, read_ganglion}};
    read_attributes(r, node, ATTRIBUTES(retina_attributes), out);
    if (!has_child(node, "outer-plexiform-layer")) {
        input_problem_in(r->in, r->path, element_line(r, node), "<retina>: outer-plexiform-layer is missing, its smallest part");
    }
    read_children(r, node, CHILDREN(children), out);
}

static void read_saccades(reader *r, const xmlNode *node, void *out)
{
    retina_saccades *s = &((retina_xml *)out)->saccades;
    s->given = true;
    read_attributes(r, node, ATTRIBUTES(saccade_attributes), s);
    no_children(r, node);
}

static void read_root(reader *r, const xmlNode *root, void *out)
{
    static const child_spec children[] = {{"retina", false, read_retina}, {"basic-microsaccade-generator", false, read_saccades}};
    if (strcmp((const char *)root->name, "retina-description-file") != 0) {
        input_problem_in(r->in, r->path, element_line(r, root), "<%s> is not VirtualRetina's; <retina-description-file> is wanted",
                         (const char *)root->name);
        return;
    }
    read_attributes(r, root, NULL, 0, NULL);
    if (!has_child(root, "retina")) {
        input_problem_in(r->in, r->path, element_line(r, root), "<retina> is missing");
    }
    read_children(r, root, CHILDREN(children), out);
}

/* --- the file ------------------------------------------------------------------------------------------------------- */
static bool load(reader *r)
{
    enum { LARGEST = 64 << 20 }; /* 600,000 cells with positions */
    FILE *f = fopen(r->path, "rb");
    if (!f) {
        input_problem_in(r->in, r->path, 0, "cannot be opened: %s", strerror(errno));
        return false;
    }
    size_t room = 1 << 16;
    r->text = MEMORY_NEW(char, room + 1);
    while ((r->size += fread(r->text + r->size, 1, room - r->size, f)) == room && room < LARGEST) {
        room *= 2;
        r->text = memory_grow(r->text, room + 1, 1);
    }
    bool read = !ferror(f);
    fclose(f);
    if (!read || r->size == LARGEST) {
        input_problem_in(r->in, r->path, 0, read ? "is larger than 64 MB; a retina's description is wanted" : "cannot be read: is it a file?");
        return false;
    }
    r->text[r->size] = '\0';
    return true;
}

static void cut_lines(reader *r)
{
    int n = 1;
    for (size_t i = 0; i < r->size; i++) {
        n += r->text[i] == '\n';
    }
    r->line = MEMORY_NEW(const char *, n);
    r->line[r->nline++] = r->text;
    for (size_t i = 0; i < r->size; i++) {
        if (r->text[i] == '\n') {
            r->text[i] = '\0';
            r->line[r->nline++] = r->text + i + 1;
        }
    }
}

/* The first error says what is wrong; those after it are its consequences. */
typedef struct first_error {
    int line;
    char what[300];
} first_error;

#if LIBXML_VERSION < 21200
static void keep_first(void *context, xmlError *e)
#else
static void keep_first(void *context, const xmlError *e)
#endif
{
    first_error *first = ((xmlParserCtxtPtr)context)->_private;
    if (!first->what[0] && e->level >= XML_ERR_ERROR) {
        first->line = e->line;
        snprintf(first->what, sizeof first->what, "%s", e->message ? e->message : "unreadable");
        first->what[strcspn(first->what, "\n")] = '\0';
    }
}

static bool parse(reader *r)
{
    first_error first = {0};
    xmlParserCtxtPtr context = xmlNewParserCtxt();
    if (!context) {
        input_problem_in(r->in, r->path, 0, "libxml2 cannot start");
        return false;
    }
    context->_private = &first;
    context->sax->serror = keep_first;
    r->doc = xmlCtxtReadMemory(context, r->text, (int)r->size, r->path, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!r->doc || !xmlDocGetRootElement(r->doc)) {
        input_problem_in(r->in, r->path, first.line, "not well-formed XML: %s", first.what[0] ? first.what : "the file is empty");
        xmlFreeDoc(r->doc);
        r->doc = NULL;
    }
    xmlFreeParserCtxt(context);
    return r->doc != NULL;
}

bool retina_xml_read(input *in, const char *path, retina_xml *out)
{
    int before = input_nproblem(in);
    *out = (retina_xml){.step_s = 0.001, .luminosity_range = 255, .pixels_per_deg = 1, .opl_gain = 1};
    reader r = {.in = in, .path = path};
    if (load(&r) && parse(&r)) {
        cut_lines(&r);
        read_root(&r, xmlDocGetRootElement(r.doc), out);
        out->units_line = r.units_line;
        xmlFreeDoc(r.doc);
    }
    memory_free(r.line);
    memory_free(r.text);
    return input_nproblem(in) == before;
}

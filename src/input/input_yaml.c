/* input_yaml.c - from YAML text to the tree, by libyaml's events.  Scalars stay text. */
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "input/input_tree.h"

typedef struct reader {
    input *in;
    yaml_parser_t parser;
    const char *text, *file;
    size_t size;
    bool stopped;      /* a syntax error ended the parsing */
    bool marks_known;  /* false: the text is not a file, lines mean nothing */
} reader;

static position position_of(const reader *r, yaml_mark_t mark)
{
    if (!r->marks_known) {
        return (position){r->file, 0, 0};
    }
    return (position){r->file, (int)mark.line + 1, (int)mark.column + 1};
}

static void complain(const reader *r, position at, const char *what)
{
    tree_problem_add(r->in, PROBLEM_PLAIN, NULL, at, what);
}

/* Bad bytes come with an offset in the text only. */
static position position_of_byte(const reader *r, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < r->size; i++) {
        bool newline = r->text[i] == '\n';
        mark.line += newline;
        mark.column = newline ? 0 : mark.column + (((unsigned char)r->text[i] & 0xC0) != 0x80);
    }
    return position_of(r, mark);
}

/* Marks count characters, the text is bytes. */
static bool is_tab(const reader *r, yaml_mark_t mark)
{
    const char *p = r->text, *end = r->text + r->size;
    for (size_t line = 0; line < mark.line && p; line++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    for (size_t column = 0; p && p < end && column < mark.column; p++) {
        column += ((unsigned char)*p & 0xC0) != 0x80;
    }
    return p && p < end && *p == '\t';
}

static void complain_syntax(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    r->stopped = true;
    const char *what = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_MEMORY_ERROR) {
        error_fatal(EXIT_NO_DEVICE, "out of memory while reading %s", r->file);
    }
    if (p->error == YAML_READER_ERROR) {
        complain(r, position_of_byte(r, p->problem_offset), tree_text(r->in, "not UTF-8 text: %s; allowed: printable UTF-8", what));
        return;
    }
    /* A key without its ':' is noticed only on a later line; the line of the key is the one to mend. */
    yaml_mark_t mark = p->problem_mark;
    if (strstr(what, "could not find expected ':'")) {
        complain(r, position_of(r, p->context_mark), "YAML: ':' is missing after a key; allowed: 'key: value' (with a space after the colon)");
        return;
    }
    if (is_tab(r, mark)) {
        complain(r, position_of(r, mark), "YAML: a tab cannot indent or start a value; allowed: spaces");
        return;
    }
    if (strstr(what, "mapping values are not allowed")) {
        complain(r, position_of(r, mark), "YAML: no key can stand here; look for a missing ':' or wrong indentation here or one line above, "
                                          "and quote a text that contains ': '");
        return;
    }
    const char *context = p->context ? p->context : "while reading";
    if (p->context && r->marks_known && p->context_mark.line != mark.line) {
        complain(r, position_of(r, mark), tree_text(r->in, "YAML: %s (%s from line %d); check indentation, quotes and brackets", what, context,
                                                    (int)p->context_mark.line + 1));
    } else {
        complain(r, position_of(r, mark), tree_text(r->in, "YAML: %s (%s); check indentation, quotes and brackets", what, context));
    }
}

static bool next_event(reader *r, yaml_event_t *event)
{
    if (r->stopped) {
        return false;
    }
    if (!yaml_parser_parse(&r->parser, event)) {
        complain_syntax(r);
        return false;
    }
    return true;
}

/* Anchors, aliases and tags would make a value depend on another place or on YAML's own types. */
static void complain_decorations(const reader *r, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    } else if (e->type == YAML_ALIAS_EVENT) {
        complain(r, position_of(r, e->start_mark),
                 tree_text(r->in, "the alias '*%s' is not allowed; write the value itself, or quote the text", (const char *)e->data.alias.anchor));
    }
    if (anchor) {
        complain(r, position_of(r, e->start_mark),
                 tree_text(r->in, "the anchor '&%s' is not allowed; write the value itself, or quote the text", (const char *)anchor));
    }
    if (tag) {
        complain(r, position_of(r, e->start_mark),
                 tree_text(r->in, "the tag '%s' is not allowed; the key says what its value is", (const char *)tag));
    }
}

static input_node *read_node(reader *r, const yaml_event_t *e, input_node *parent, const char *key);

static void read_list(reader *r, input_node *list)
{
    yaml_event_t e;
    while (next_event(r, &e)) {
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return;
        }
        tree_append(list, read_node(r, &e, list, NULL), NULL, (position){r->file, 0, 0});
        yaml_event_delete(&e);
    }
}

/* A second value for a key is read, to get past it, and dropped. */
static void add_pair(reader *r, input_node *map, const input_node *key, input_node *value)
{
    if (key->kind != NODE_SCALAR) {
        complain(r, key->at, "a key must be a word, not a list or a mapping");
        return;
    }
    const input_node *first = tree_find(map, key->text);
    if (first && r->marks_known) {
        tree_problem_add(r->in, PROBLEM_PLAIN, NULL, key->at,
                         tree_text(r->in, "%s: the key is given twice, first on line %d; keep one", tree_path(first, NULL), first->key_at.line));
    } else if (first) {
        complain(r, key->at, tree_text(r->in, "the key '%s' is given twice; keep one", key->text));
    } else {
        tree_append(map, value, key->text, key->at);
    }
}

static void read_map(reader *r, input_node *map)
{
    yaml_event_t e;
    while (next_event(r, &e)) {
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return;
        }
        input_node *key = read_node(r, &e, map, "");
        yaml_event_delete(&e);
        if (!next_event(r, &e)) {
            return;
        }
        input_node *value = read_node(r, &e, map, key->kind == NODE_SCALAR ? key->text : "");
        yaml_event_delete(&e);
        add_pair(r, map, key, value);
    }
}

static int depth_of(const input_node *n)
{
    int depth = 0;
    for (; n; n = n->parent) {
        depth++;
    }
    return depth;
}

/* A node knows its parent and key while it is read, for the paths in messages. */
static input_node *read_node(reader *r, const yaml_event_t *e, input_node *parent, const char *key)
{
    position at = position_of(r, e->start_mark);
    bool list = e->type == YAML_SEQUENCE_START_EVENT, map = e->type == YAML_MAPPING_START_EVENT;
    complain_decorations(r, e);
    input_node *n = list || map ? tree_node(r->in, list ? NODE_LIST : NODE_MAP, at) : tree_scalar(r->in, "", at);
    n->parent = parent;
    n->key = key;
    if (depth_of(n) > INPUT_MAX_DEPTH) {
        complain(r, at, tree_text(r->in, "nested too deeply; allowed: %d levels", INPUT_MAX_DEPTH));
        r->stopped = true;
    } else if (list) {
        read_list(r, n);
    } else if (map) {
        read_map(r, n);
    } else if (e->type == YAML_SCALAR_EVENT) {
        n->text = tree_text(r->in, "%s", (const char *)e->data.scalar.value);
        n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        n->broken = strlen(n->text) != e->data.scalar.length;
        if (n->broken) {
            complain(r, at, "a text with a zero byte in it is not allowed");
        }
    } else {
        ASSERT(e->type == YAML_ALIAS_EVENT);
        n->broken = true;
    }
    return n;
}

/* The first document; NULL when there is nothing in it. */
static input_node *read_stream(reader *r)
{
    input_node *root = NULL;
    int ndocument = 0;
    bool more = true;
    yaml_event_t e;
    while (more && next_event(r, &e)) {
        if (e.type == YAML_STREAM_END_EVENT) {
            more = false;
        } else if (e.type == YAML_DOCUMENT_START_EVENT && ndocument++ > 0) {
            complain(r, position_of(r, e.start_mark), "a second document ('---') is not allowed; one file is one run");
            more = false;
        } else if (e.type != YAML_STREAM_START_EVENT && e.type != YAML_DOCUMENT_START_EVENT && e.type != YAML_DOCUMENT_END_EVENT) {
            root = read_node(r, &e, NULL, NULL);
        }
        yaml_event_delete(&e);
    }
    return root;
}

static input_node *parse(input *in, const char *yaml, size_t n, const char *file, bool marks_known)
{
    reader r = {.in = in, .text = yaml, .file = file, .size = n, .marks_known = marks_known};
    if (!yaml_parser_initialize(&r.parser)) {
        error_fatal(EXIT_NO_DEVICE, "out of memory while reading %s", file);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)yaml, n);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    input_node *root = read_stream(&r);
    yaml_parser_delete(&r.parser);
    in->incomplete |= r.stopped;
    if (r.stopped && root) {
        root->broken = true;
    }
    return root;
}

input_node *tree_parse(input *in, const char *yaml, size_t n, const char *file)
{
    bool marked = n >= 3 && !memcmp(yaml, "\xEF\xBB\xBF", 3); /* some editors begin a UTF-8 file so; told its encoding, libyaml takes it for text */
    input_node *root = parse(in, yaml + (marked ? 3 : 0), n - (marked ? 3 : 0), file, true);
    return root ? root : tree_node(in, NODE_MAP, (position){file, 1, 1});
}

/* Inside [ ] the text is read as a value in flow style; the line end keeps a comment from hiding the bracket. */
input_node *tree_parse_value(input *in, const char *yaml, const char *file)
{
    const char *text = tree_text(in, "[%s\n]", yaml);
    int before = in->nproblem;
    input_node *list = parse(in, text, strlen(text), file, false);
    input_node *value = list && list->kind == NODE_LIST && list->nitem == 1 ? list->items[0] : NULL;
    if (!value || (list && list->broken)) {
        bool empty = list && list->nitem == 0 && in->nproblem == before;
        value = tree_scalar(in, "", (position){file, 0, 0});
        value->plain = empty;
        value->broken = !empty;
        if (!empty && in->nproblem == before) {
            complain(&(reader){.in = in}, (position){file, 0, 0}, "the value is not one value; put a list in [ ], a text with commas in quotes");
        }
    }
    value->parent = NULL;
    return value;
}

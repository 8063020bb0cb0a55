/* input_write.c - the effective input: the tree printed as YAML that reads back to the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "input/input_tree.h"

/* A text plain enough to need no quotes anywhere in YAML. */
static bool is_plain(const char *text)
{
    static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t n = strlen(text);
    if (n == 0 || text[n - 1] == ' ' || !strchr("+-./", text[0]) == !strchr(letters, text[0])) {
        return false;
    }
    if (strspn(text, "-.") >= 3 || (text[0] == '-' && (n == 1 || text[1] == ' '))) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool colon = text[i] == ':' && (text[i + 1] == '/' || (text[i + 1] && strchr(letters, text[i + 1])));
        if (!colon && !strchr(letters, text[i]) && !strchr(" +-./%^()", text[i])) {
            return false;
        }
    }
    return true;
}

/* Line breaks and characters that YAML would fold or refuse, as escapes: controls, U+0080 to U+009F, U+2028, U+2029, U+FEFF. */
static void write_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            fprintf(f, "\\%c", *p);
        } else if (*p < 0x20 || *p == 0x7F) {
            fprintf(f, "\\x%02X", *p);
        } else if (*p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0) {
            fprintf(f, "\\x%02X", *++p);
        } else if (*p == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9)) {
            fprintf(f, "\\u20%02X", p[2] - 0x80);
            p += 2;
        } else if (*p == 0xEF && p[1] == 0xBB && p[2] == 0xBF) {
            fputs("\\uFEFF", f);
            p += 2;
        } else {
            fputc(*p, f);
        }
    }
    fputc('"', f);
}

static void write_text(FILE *f, const char *text)
{
    if (is_plain(text)) {
        fputs(text, f);
    } else {
        write_quoted(f, text);
    }
}

static void write_path(FILE *f, input *in, const char *path)
{
    write_text(f, in->here && path[0] != '/' ? tree_text(in, "%s/%s", in->here, path) : path);
}

static void write_scalar(FILE *f, const input_node *n)
{
    const asked_key *asked = n->key ? tree_asked(n->parent, n->key) : NULL;
    if (asked && asked->path) {
        write_path(f, n->in, asked->path);
    } else if (!tree_empty(n)) {
        write_text(f, n->text);
    }
}

static bool printed_as_default(const input_node *map, const asked_key *a)
{
    return !tree_find(map, a->name) && (a->section || a->fallback);
}

/* Lines of a mapping: given ones and defaults.  An empty "section:" that was filled has lines too. */
static int count_lines(const input_node *n)
{
    int lines = n->kind == NODE_MAP ? n->nitem : 0;
    for (int i = 0; i < n->nasked; i++) {
        lines += printed_as_default(n, &n->asked[i]);
    }
    return lines;
}

static bool is_flow(const input_node *list)
{
    for (int i = 0; i < list->nitem; i++) {
        if (list->items[i]->kind != NODE_SCALAR) {
            return false;
        }
    }
    return true;
}

static void indent(FILE *f, int n)
{
    fprintf(f, "%*s", n, "");
}

static void write_map(FILE *f, const input_node *n, int column, bool first_inline);

static void write_flow(FILE *f, const input_node *list)
{
    fputc('[', f);
    for (int i = 0; i < list->nitem; i++) {
        const input_node *item = list->items[i];
        fputs(i ? ", " : "", f);
        fputs(tree_empty(item) ? "\"\"" : "", f);
        write_scalar(f, item);
    }
    fputs("]\n", f);
}

static void write_list(FILE *f, const input_node *list, int column)
{
    for (int i = 0; i < list->nitem; i++) {
        const input_node *item = list->items[i];
        indent(f, column);
        fputc('-', f);
        if (count_lines(item) > 0) {
            fputc(' ', f);
            write_map(f, item, column + 2, true);
        } else if (item->kind == NODE_MAP) {
            fputs(" {}\n", f);
        } else if (item->kind == NODE_SCALAR) {
            fputc(' ', f);
            write_scalar(f, item);
            fputc('\n', f);
        } else if (is_flow(item)) {
            fputc(' ', f);
            write_flow(f, item);
        } else {
            fputc('\n', f);
            write_list(f, item, column + 2);
        }
    }
}

/* What stands after "key:". */
static void write_value(FILE *f, const input_node *n, int column)
{
    if (count_lines(n) > 0) {
        fputc('\n', f);
        write_map(f, n, column + 2, false);
    } else if (n->kind == NODE_MAP) {
        fputs(" {}\n", f);
    } else if (n->kind == NODE_LIST && !is_flow(n)) {
        fputc('\n', f);
        write_list(f, n, column + 2);
    } else if (n->kind == NODE_LIST) {
        fputc(' ', f);
        write_flow(f, n);
    } else {
        fputs(tree_empty(n) ? "" : " ", f);
        write_scalar(f, n);
        fputc('\n', f);
    }
}

static void write_default(FILE *f, input *in, const asked_key *a, int column)
{
    if (a->section) {
        write_value(f, a->section, column);
        return;
    }
    fputc(' ', f);
    if (a->path) {
        write_path(f, in, a->path);
    } else if (a->fallback[0] == '[') {
        fputs(a->fallback, f);
    } else {
        write_text(f, a->fallback);
    }
    fputc('\n', f);
}

static void write_key(FILE *f, const char *key, int column, bool here)
{
    if (!here) {
        indent(f, column);
    }
    write_text(f, key);
    fputc(':', f);
}

static void write_map(FILE *f, const input_node *n, int column, bool first_inline)
{
    bool here = first_inline; /* the first line goes on after "- " */
    for (int i = 0; n->kind == NODE_MAP && i < n->nitem; i++) {
        write_key(f, n->items[i]->key, column, here);
        write_value(f, n->items[i], column);
        here = false;
    }
    for (int i = 0; i < n->nasked; i++) {
        if (printed_as_default(n, &n->asked[i])) {
            write_key(f, n->asked[i].name, column, here);
            write_default(f, n->in, &n->asked[i], column);
            here = false;
        }
    }
}

const char *input_effective(input *in)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) {
        error_fatal(EXIT_NO_DEVICE, "out of memory while printing the effective input of %s", in->path);
    }
    write_map(f, in->root, 0, false);
    fclose(f);
    const char *copy = tree_text(in, "%s", text);
    free(text);
    return copy;
}

const char *input_portable(input *in)
{
    char here[4096];
    in->here = getcwd(here, sizeof here) ? here : NULL;
    const char *text = input_effective(in);
    in->here = NULL;
    return text;
}

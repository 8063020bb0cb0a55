/* input.c - reading the file, overrides, grafts, and what callers ask of the tree. */
#include "input/input.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "input/input_tree.h"

/* --- the tree as callers see it --- */

const input_node *input_root(const input *in)
{
    return in->root;
}

const input_node *input_child(const input_node *map, const char *key)
{
    if (!map || map->kind == NODE_LIST || (map->kind == NODE_SCALAR && !tree_empty(map))) {
        return NULL;
    }
    tree_ask(map, key);
    return tree_find(map, key);
}

int input_count(const input_node *n)
{
    return n ? n->nitem : 0;
}

const input_node *input_item(const input_node *seq, int i)
{
    return seq && i >= 0 && i < seq->nitem ? seq->items[i] : NULL;
}

const char *input_key(const input_node *map, int i)
{
    if (!map || map->kind != NODE_MAP || i < 0 || i >= map->nitem) {
        return NULL;
    }
    tree_ask(map, map->items[i]->key);
    return map->items[i]->key;
}

const char *input_scalar(const input_node *n)
{
    return n && n->kind == NODE_SCALAR ? n->text : NULL;
}

bool input_is_map(const input_node *n)
{
    return n && n->kind == NODE_MAP;
}

bool input_is_list(const input_node *n)
{
    return n && n->kind == NODE_LIST;
}

void input_where(const input_node *n, const char **file, int *line, int *column)
{
    *file = n->at.file;
    *line = n->at.line;
    *column = n->at.column;
}

bool input_missing(const input *in)
{
    return in->missing;
}

const char *input_original(const input *in)
{
    return in->original;
}

const char *input_path(const input *in)
{
    return in->path;
}

/* --- problems --- */

void input_problem(input *in, const input_node *at, const char *fmt, ...)
{
    va_list args;
    char text[1024];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *path = at ? tree_path(at, NULL) : "";
    size_t n = strcspn(path, ".");
    if (at && n > 0 && strncmp(text, path, n) == 0 && (text[n] == ':' || text[n] == '.')) {
        position where = at->kind == NODE_SCALAR ? at->at : at->key_at;
        tree_problem_add(in, PROBLEM_PLAIN, NULL, where, text);
    } else if (at) {
        tree_problem(at, NULL, "%s", text);
    } else {
        tree_problem_add(in, PROBLEM_PLAIN, NULL, (position){in->path, 0, 0}, text);
    }
}

void input_problem_in(input *in, const char *file, int line, const char *fmt, ...)
{
    va_list args;
    char text[1024];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    tree_problem_add(in, PROBLEM_PLAIN, NULL, (position){tree_text(in, "%s", file), line > 0 ? line : 0, 0}, text);
}

int input_nproblem(const input *in)
{
    return in->nproblem;
}

const char *input_problem_text(const input *in, int i)
{
    ASSERT(i >= 0 && i < in->nproblem);
    return in->problems[i].text;
}

void input_print_problems(const input *in)
{
    for (int i = 0; i < in->nproblem; i++) {
        fprintf(stderr, "%s\n", in->problems[i].text);
    }
}

static void check_unknown(const input_node *n)
{
    for (int i = 0; i < n->nitem; i++) {
        const input_node *item = n->items[i];
        if (n->kind == NODE_MAP && !tree_asked(n, item->key)) {
            tree_problem_unknown(item, NULL);
        } else {
            check_unknown(item);
        }
    }
}

void input_check_unknown(input *in)
{
    check_unknown(in->root);
}

void input_accept(const input_node *n)
{
    for (int i = 0; n && i < n->nitem; i++) {
        if (n->kind == NODE_MAP) {
            tree_ask(n, n->items[i]->key);
        }
        input_accept(n->items[i]);
    }
}

/* --- overrides and grafts: putting a node at a path --- */

/* Index of the item of a list called `step`, by name or number; -1. */
static int find_item(const input_node *list, const char *step)
{
    for (int i = 0; i < list->nitem; i++) {
        const char *name = input_scalar(tree_find(list->items[i], "name"));
        if (name && strcmp(name, step) == 0) {
            return i;
        }
    }
    char *end;
    errno = 0;
    long i = strtol(step, &end, 10);
    return *step >= '0' && *step <= '9' && *end == '\0' && errno == 0 && i < list->nitem ? (int)i : -1;
}

static const char *list_names(const input_node *list)
{
    const char *names = "";
    for (int i = 0; i < list->nitem; i++) {
        const char *name = input_scalar(tree_find(list->items[i], "name"));
        names = name ? tree_text(list->in, "%s, %s", names, name) : names;
    }
    return list->nitem ? tree_text(list->in, "0 to %d%s", list->nitem - 1, names) : "none, the list is empty";
}

/* Puts `value` at `path` below the root, creating mappings on the way.  NULL when done, else what stands in the way. */
static const char *place(input *in, const char *path, input_node *value)
{
    input_node *at = in->root;
    char *steps = tree_text(in, "%s", path), *step = steps;
    for (int depth = 0; step; depth++) {
        char *dot = strchr(step, '.');
        if (dot) {
            *dot = '\0';
        }
        if (*step == '\0' || depth >= INPUT_MAX_DEPTH) {
            return tree_text(in, "'%s' is not a path of keys; allowed: section.key, section.list.name.key", path);
        }
        input_node *next;
        if (at->kind == NODE_LIST) {
            int i = find_item(at, step);
            if (i < 0) {
                return tree_text(in, "%s has no item '%s'; allowed: %s", tree_path(at, NULL), step, list_names(at));
            }
            next = at->items[i];
        } else if (at->kind == NODE_SCALAR && !tree_empty(at)) {
            return tree_text(in, "%s is '%s', which has no keys below it", tree_path(at, NULL), at->text);
        } else {
            at->kind = NODE_MAP; /* "key:" with nothing after it becomes a mapping */
            next = tree_find(at, step);
        }
        if (!next) {
            next = dot ? tree_node(in, NODE_MAP, value->at) : value;
            tree_append(at, next, step, value->at);
        } else if (!dot) {
            tree_replace(next, value);
        }
        at = next;
        step = dot ? dot + 1 : NULL;
    }
    return NULL;
}

static void apply_override(input *in, const char *override)
{
    const char *text = override + strlen("--set "), *equals = strchr(text, '=');
    position at = {override, 0, 0};
    tree_problem_withdraw(in, PROBLEM_PLACE, override);
    if (!equals) {
        tree_problem_add(in, PROBLEM_PLACE, override, at, "'=' is missing; allowed: --set section.key=value");
        return;
    }
    const char *path = tree_text(in, "%.*s", (int)(equals - text), text);
    input_node *value = tree_parse_value(in, equals + 1, override);
    const char *wrong = place(in, path, value);
    if (wrong) {
        tree_problem_add(in, PROBLEM_PLACE, override, at, wrong);
    }
}

/* Applies the overrides of `path` and of what is below it again. */
static void override_below(input *in, const char *path)
{
    size_t n = strlen(path);
    for (int i = 0; i < in->noverride; i++) {
        const char *text = in->overrides[i] + strlen("--set ");
        if (strncmp(text, path, n) == 0 && (text[n] == '.' || text[n] == '=')) {
            apply_override(in, in->overrides[i]);
        }
    }
}

void input_graft(input *in, const char *path, const char *yaml, const char *origin)
{
    input_node *node = tree_parse(in, yaml, strlen(yaml), tree_text(in, "%s", origin));
    const char *wrong = place(in, path, node);
    if (wrong) {
        tree_problem_add(in, PROBLEM_PLAIN, NULL, (position){node->at.file, 0, 0}, wrong);
    }
    override_below(in, path);
}

/* A node and all below it, with the places where they were written. */
static input_node *copy(input *in, const input_node *n)
{
    input_node *c = tree_node(in, n->kind, n->at);
    c->text = n->text;
    c->plain = n->plain;
    c->broken = n->broken;
    for (int i = 0; i < n->nitem; i++) {
        tree_append(c, copy(in, n->items[i]), n->items[i]->key, n->items[i]->key_at);
    }
    return c;
}

void input_replace(input *in, const input_node *old, const input_node *with, const char *const kept[], int nkept)
{
    ASSERT(old->kind == NODE_MAP && with->kind == NODE_MAP);
    const char *path = tree_path(old, NULL);
    input_node *item = copy(in, with);
    for (int k = 0; k < nkept; k++) {
        const input_node *n = tree_find(old, kept[k]);
        if (n && !tree_find(item, kept[k])) {
            tree_append(item, copy(in, n), kept[k], n->key_at);
        }
    }
    tree_replace((input_node *)old, item); /* const to callers, who may not change what they hold */
    override_below(in, path);
}

void input_set(input *in, const char *path, const char *yaml)
{
    input_node *value = tree_parse_value(in, yaml, in->path);
    const char *wrong = place(in, path, value);
    ASSERT(!wrong);
    asked_key *asked = value->key ? tree_asked(value->parent, value->key) : NULL;
    if (asked) { /* the path that was read is not that of the new text */
        asked->path = NULL;
    }
}

void input_remove(input *in, const char *path)
{
    char *step = tree_text(in, "%s", path);
    input_node *at = in->root;
    while (at && step) {
        char *dot = strchr(step, '.');
        if (dot) {
            *dot = '\0';
        }
        int i = at->kind == NODE_LIST ? find_item(at, step) : -1;
        at = i >= 0 ? at->items[i] : at->kind == NODE_MAP ? tree_find(at, step) : NULL;
        step = dot ? dot + 1 : NULL;
    }
    input_node *parent = at ? at->parent : NULL;
    for (int i = 0, left = 0; parent && i < parent->nitem; i++) {
        parent->items[left] = parent->items[i];
        left += parent->items[i] != at;
        if (i == parent->nitem - 1) {
            parent->nitem = left;
        }
    }
}

/* --- reading --- */

static void build(input *in, const char *const overrides[], int noverride)
{
    in->root = tree_parse(in, in->original, in->original_bytes, in->path);
    if (in->root->kind != NODE_MAP) {
        if (!tree_empty(in->root) && !in->root->broken) {
            tree_problem(in->root, NULL, "the file must be a mapping of sections; allowed: 'section:' with indented 'key: value' lines");
        }
        in->root = tree_node(in, NODE_MAP, (position){in->path, 1, 1});
    }
    in->overrides = tree_alloc(in, (size_t)(noverride + 1) * sizeof *in->overrides);
    in->noverride = noverride;
    for (int i = 0; i < noverride; i++) {
        in->overrides[i] = tree_text(in, "--set %s", overrides[i]);
        apply_override(in, in->overrides[i]);
    }
}

static input *create(const char *path)
{
    input *in = MEMORY_NEW(input, 1);
    const char *slash = strrchr(path, '/');
    in->path = tree_text(in, "%s", path);
    in->folder = tree_text(in, "%.*s", slash ? (int)(slash - path) + 1 : 0, path);
    return in;
}

/* The whole file, or NULL and errno. */
static char *read_file(const char *path, size_t *size)
{
    enum { STEP = 65536, MOST = 64 << 20 };
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    bool more = f != NULL;
    *size = 0;
    while (more) {
        text = memory_grow(text, *size + STEP + 1, 1);
        size_t n = fread(text + *size, 1, STEP, f);
        *size += n;
        more = n == STEP && *size < MOST;
    }
    int error = f && ferror(f) ? errno : f && *size >= MOST ? EFBIG : 0;
    if (f) {
        fclose(f);
    }
    if (error) {
        memory_free(text);
        text = NULL;
        errno = error;
    }
    return text;
}

input *input_read(const char *path, const char *const overrides[], int noverride)
{
    input *in = create(path);
    in->original = read_file(path, &in->original_bytes);
    if (!in->original) {
        input_problem(in, NULL, "cannot be read: %s; an input file (YAML) is wanted", strerror(errno));
        in->missing = in->incomplete = true;
        in->original = MEMORY_NEW(char, 1);
        in->original_bytes = 0;
    }
    build(in, overrides, noverride);
    return in;
}

input *input_from_text(const char *text, const char *origin, const char *const overrides[], int noverride)
{
    input *in = create(origin);
    in->folder = "";
    in->original_bytes = strlen(text);
    in->original = MEMORY_NEW(char, in->original_bytes + 1);
    memcpy(in->original, text, in->original_bytes);
    build(in, overrides, noverride);
    return in;
}

void input_destroy(input *in)
{
    if (!in) {
        return;
    }
    tree_free(in);
    memory_free(in->original);
    memory_free(in);
}

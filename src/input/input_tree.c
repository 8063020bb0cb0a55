/* input_tree.c - nodes, their memory, and the list of problems. */
#include "input/input_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/nearest.h"

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

void *tree_alloc(input *in, size_t bytes)
{
    enum { BLOCK = 16384 };
    bytes = (bytes + 15) / 16 * 16;
    arena_block *b = in->arena;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > BLOCK ? bytes : BLOCK;
        b = memory_alloc(sizeof *b + size, 1);
        b->size = size;
        b->next = in->arena;
        in->arena = b;
    }
    void *p = b->bytes + b->used;
    b->used += bytes;
    return p;
}

void tree_free(input *in)
{
    for (arena_block *b = in->arena, *next; b; b = next) {
        next = b->next;
        memory_free(b);
    }
    in->arena = NULL;
}

char *tree_text(input *in, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    char *text = tree_alloc(in, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

/* The array with room for n + 1 elements. */
static void *with_room(input *in, void *array, int n, int *room, size_t element_bytes)
{
    if (n < *room) {
        return array;
    }
    *room = *room ? 2 * *room : 8;
    void *grown = tree_alloc(in, (size_t)*room * element_bytes);
    if (n > 0) {
        memcpy(grown, array, (size_t)n * element_bytes);
    }
    return grown;
}

input_node *tree_node(input *in, enum node_kind kind, position at)
{
    input_node *n = tree_alloc(in, sizeof *n);
    n->in = in;
    n->kind = kind;
    n->at = n->key_at = at;
    return n;
}

input_node *tree_scalar(input *in, const char *text, position at)
{
    input_node *n = tree_node(in, NODE_SCALAR, at);
    n->text = tree_text(in, "%s", text);
    n->plain = true;
    return n;
}

void tree_append(input_node *parent, input_node *item, const char *key, position key_at)
{
    parent->items = with_room(parent->in, parent->items, parent->nitem, &parent->nitem_room, sizeof *parent->items);
    parent->items[parent->nitem++] = item;
    item->parent = parent;
    item->key = key;
    item->key_at = key ? key_at : item->at;
}

void tree_replace(input_node *old, input_node *item)
{
    input_node *parent = old->parent;
    item->parent = parent;
    item->key = old->key;
    item->key_at = item->at;
    if (!parent) {
        old->in->root = item;
        return;
    }
    for (int i = 0; i < parent->nitem; i++) {
        if (parent->items[i] == old) {
            parent->items[i] = item;
        }
    }
}

input_node *tree_find(const input_node *map, const char *key)
{
    for (int i = 0; map && map->kind == NODE_MAP && i < map->nitem; i++) {
        if (strcmp(map->items[i]->key, key) == 0) {
            return map->items[i];
        }
    }
    return NULL;
}

bool tree_empty(const input_node *n)
{
    return !n || (n->kind == NODE_SCALAR && n->plain && n->text[0] == '\0');
}

/* How an item of a list is called: by its name, when it has one, else by its number (while it is read: the next). */
static const char *item_label(const input_node *n)
{
    const input_node *name = tree_find(n, "name");
    if (name && name->kind == NODE_SCALAR && name->text[0]) {
        return name->text;
    }
    int i = 0;
    while (i < n->parent->nitem && n->parent->items[i] != n) {
        i++;
    }
    return tree_text(n->in, "%d", i);
}

const char *tree_path(const input_node *n, const char *sub)
{
    input *in = n->in;
    const char *path = sub ? sub : "";
    for (; n && n->parent; n = n->parent) {
        const char *label = n->key ? n->key : item_label(n);
        path = path[0] ? tree_text(in, "%s.%s", label, path) : label;
    }
    return path;
}

asked_key *tree_asked(const input_node *map, const char *key)
{
    for (int i = 0; map && i < map->nasked; i++) {
        if (strcmp(map->asked[i].name, key) == 0) {
            return &map->asked[i];
        }
    }
    return NULL;
}

/* The tree is const to the world, which may not change values; being asked is the tree's own note. */
asked_key *tree_ask(const input_node *map, const char *key)
{
    input_node *m = (input_node *)map;
    asked_key *a = tree_asked(m, key);
    if (!a) {
        m->asked = with_room(m->in, m->asked, m->nasked, &m->nasked_room, sizeof *m->asked);
        a = &m->asked[m->nasked++];
        *a = (asked_key){.name = tree_text(m->in, "%s", key)};
        const input_node *item = tree_find(m, key);
        if (item) {
            tree_problem_withdraw(m->in, PROBLEM_UNKNOWN, item);
        }
    }
    return a;
}

/* Order of the list: the input file, files it names, the command line; then line and column; then as found. */
static int compare(const problem *a, const problem *b)
{
    if (a->rank != b->rank) {
        return a->rank - b->rank;
    }
    int by_file = strcmp(a->at.file, b->at.file);
    if (by_file != 0) {
        return by_file;
    }
    return a->at.line != b->at.line ? a->at.line - b->at.line : a->at.column - b->at.column;
}

void tree_problem_add(input *in, enum problem_kind kind, const void *subject, position at, const char *text)
{
    problem p = {kind, subject, at, 0, NULL};
    p.rank = strcmp(at.file, in->path) == 0 ? 0 : strncmp(at.file, "--set ", 6) == 0 ? 2 : 1;
    if (at.line > 0 && at.column > 0) {
        p.text = tree_text(in, "%s:%d:%d: %s", at.file, at.line, at.column, text);
    } else if (at.line > 0) {
        p.text = tree_text(in, "%s:%d: %s", at.file, at.line, text);
    } else {
        p.text = tree_text(in, "%s: %s", at.file, text);
    }
    for (int i = 0; i < in->nproblem; i++) {
        if (strcmp(in->problems[i].text, p.text) == 0) {
            return;
        }
    }
    in->problems = with_room(in, in->problems, in->nproblem, &in->nproblem_room, sizeof p);
    int i = in->nproblem++;
    for (; i > 0 && compare(&in->problems[i - 1], &p) > 0; i--) {
        in->problems[i] = in->problems[i - 1];
    }
    in->problems[i] = p;
}

void tree_problem_withdraw(input *in, enum problem_kind kind, const void *subject)
{
    int kept = 0;
    for (int i = 0; i < in->nproblem; i++) {
        if (in->problems[i].kind != kind || in->problems[i].subject != subject) {
            in->problems[kept++] = in->problems[i];
        }
    }
    in->nproblem = kept;
}

static const char *under_path(const input_node *at, const char *sub, const char *text)
{
    const char *path = tree_path(at, sub);
    return path[0] ? tree_text(at->in, "%s: %s", path, text) : text;
}

void tree_problem(const input_node *at, const char *sub, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    text = tree_alloc(at->in, (size_t)n + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    position where = at->kind == NODE_SCALAR ? at->at : at->key_at;
    tree_problem_add(at->in, PROBLEM_PLAIN, NULL, where, under_path(at, sub, text));
}

void tree_problem_unknown(const input_node *item, const char *where)
{
    const input_node *map = item->parent;
    input *in = item->in;
    for (int i = 0; i < in->nproblem; i++) {
        if (in->problems[i].kind == PROBLEM_UNKNOWN && in->problems[i].subject == item) {
            return;
        }
    }
    const char *allowed = "", **names = tree_alloc(in, (size_t)(map->nasked + 1) * sizeof *names);
    for (int i = 0; i < map->nasked; i++) {
        names[i] = map->asked[i].name;
        allowed = tree_text(in, "%s%s%s", allowed, i ? ", " : "", names[i]);
    }
    const char *near = nearest_word(item->key, names, map->nasked);
    const char *meant = near ? tree_text(in, " (did you mean '%s'?)", near) : "";
    const char *of = where && where[0] ? tree_text(in, " in %s", where) : "";
    const char *text = tree_text(in, "unknown key%s%s; allowed: %s", of, meant, allowed[0] ? allowed : "no key here");
    tree_problem_add(in, PROBLEM_UNKNOWN, item, item->key_at, under_path(item, NULL, text));
}

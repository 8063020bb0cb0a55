/* input_fill.c - from texts of the tree to the fields of a struct, by key tables. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/nearest.h"
#include "base/units.h"
#include "input/input_tree.h"

/* Where the value of one key goes. */
typedef struct slot {
    input *in;
    const key_spec *key;
    void *field;
    int *count; /* KEY_REALS, KEY_TEXTS */
} slot;

static bool has_limits(const key_spec *k)
{
    return k->min != 0 || k->max != 0;
}

static const char *unit_of(const key_spec *k)
{
    return k->unit ? k->unit : "";
}

void tree_limits(const key_spec *k, char *text, size_t size)
{
    enum { BOUND = 80 };
    const double far = k->kind == KEY_INT ? 9e18 : 1e300; /* beyond it there is no limit on that side */
    const char *unit = k->kind == KEY_INT ? "" : unit_of(k);
    char low[BOUND], high[BOUND], top[BOUND];
    text[0] = '\0';
    if (!has_limits(k)) {
        return;
    }
    units_write(k->min, "", low, sizeof low);
    units_write(k->min, unit, high, sizeof high);
    units_write(k->max, unit, top, sizeof top);
    if (k->max < far && k->min > -far) {
        snprintf(text, size, "%s to %s", low, top);
    } else if (k->min > -far) {
        snprintf(text, size, "at least %s", high);
    } else if (k->max < far) {
        snprintf(text, size, "at most %s", top);
    }
}

/* The i-th word of "a|b|c" into `word`; false when there is none. */
static bool word_of(const char *words, int i, char *word, size_t size)
{
    for (; i > 0 && words; i--) {
        words = strchr(words, '|');
        words = words ? words + 1 : NULL;
    }
    if (!words) {
        return false;
    }
    snprintf(word, size, "%.*s", (int)strcspn(words, "|"), words);
    return true;
}

void tree_wanted(const key_spec *k, char *text, size_t size)
{
    enum { LIST = 24 };
    char limits[200], count[LIST] = "";
    tree_limits(k, limits, sizeof limits);
    const char *comma = limits[0] ? ", " : "";
    if (k->kind == KEY_REALS || k->kind == KEY_TEXTS) {
        snprintf(count, sizeof count, "list of up to %d: ", k->max_count);
    }
    switch (k->kind) {
    case KEY_INT:
        snprintf(text, size, "a whole number%s%s", comma, limits);
        break;
    case KEY_REAL:
    case KEY_REALS:
        snprintf(text, size, "%snumber (%s)%s%s", count, units_allowed(unit_of(k)), comma, limits);
        break;
    case KEY_FLAG:
        snprintf(text, size, "true, false");
        break;
    case KEY_WORD: {
        size_t n = 0;
        char word[64];
        text[0] = '\0';
        for (int i = 0; n < size && word_of(k->words, i, word, sizeof word); i++) {
            n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", word);
        }
        break;
    }
    case KEY_TEXT:
    case KEY_TEXTS:
        snprintf(text, size, "%stext", count);
        break;
    case KEY_PATH:
        snprintf(text, size, "a path of a file");
        break;
    case KEY_NODE:
        snprintf(text, size, "a section or a list");
        break;
    }
}

static void complain(const slot *s, input_node *n, const char *what)
{
    char wanted[400];
    tree_wanted(s->key, wanted, sizeof wanted);
    if (!n->broken) {
        tree_problem(n, NULL, "%s; allowed: %s", what, wanted);
        n->broken = true;
    }
}

/* NULL after a complaint when n is not a text with something in it. */
static const char *scalar_text(const slot *s, input_node *n)
{
    if (n->broken || n->kind != NODE_SCALAR) {
        complain(s, n, n->kind == NODE_MAP ? "is a mapping, not a value" : "is a list, not a value");
        return NULL;
    }
    if (tree_empty(n)) {
        complain(s, n, "has no value");
        return NULL;
    }
    return n->text;
}

static bool check_limits(const slot *s, input_node *n, double value)
{
    if (has_limits(s->key) && !(value >= s->key->min && value <= s->key->max)) {
        complain(s, n, tree_text(s->in, "'%s' is out of range", n->text));
        return false;
    }
    return true;
}

static bool read_int(const slot *s, input_node *n)
{
    const char *text = scalar_text(s, n);
    if (!text) {
        return false;
    }
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn(digits, "0123456789")] != '\0') {
        complain(s, n, tree_text(s->in, "'%s' is not a whole number", text));
        return false;
    }
    errno = 0;
    int64_t value = strtoll(text, NULL, 10);
    if (errno) {
        complain(s, n, tree_text(s->in, "'%s' is too large", text));
        return false;
    }
    if (!check_limits(s, n, (double)value)) {
        return false;
    }
    *(int64_t *)s->field = value;
    return true;
}

static bool read_real(const slot *s, input_node *n, double *field)
{
    const char *text = scalar_text(s, n);
    double value;
    if (!text) {
        return false;
    }
    const char *wrong = units_read(text, unit_of(s->key), &value);
    if (wrong) {
        tree_problem(n, NULL, "%s", wrong);
        n->broken = true;
        return false;
    }
    if (!check_limits(s, n, value)) {
        return false;
    }
    *field = value;
    return true;
}

static bool read_flag(const slot *s, input_node *n)
{
    const char *text = scalar_text(s, n);
    if (!text) {
        return false;
    }
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) {
        complain(s, n, tree_text(s->in, "'%s' is neither true nor false", text));
        return false;
    }
    *(bool *)s->field = yes;
    return true;
}

static bool read_word(const slot *s, input_node *n)
{
    enum { MOST = 64, LENGTH = 64 };
    const char *text = scalar_text(s, n), *names[MOST];
    char words[MOST][LENGTH];
    int count = 0;
    if (!text) {
        return false;
    }
    for (; count < MOST && word_of(s->key->words, count, words[count], LENGTH); count++) {
        names[count] = words[count];
        if (strcmp(text, words[count]) == 0) {
            *(int *)s->field = count;
            return true;
        }
    }
    const char *near = nearest_word(text, names, count);
    complain(s, n, tree_text(s->in, "unknown word '%s'%s", text, near ? tree_text(s->in, " (did you mean '%s'?)", near) : ""));
    return false;
}

/* A path in the file is seen from the file's folder; one on the command line from here. */
static const char *path_from_here(const input_node *n)
{
    bool command_line = strncmp(n->at.file, "--set ", 6) == 0;
    return n->text[0] == '/' || command_line ? n->text : tree_text(n->in, "%s%s", n->in->folder, n->text);
}

/* A list, or one value that counts as a list of one. */
static bool read_list(const slot *s, input_node *n)
{
    int count = n->kind == NODE_LIST ? n->nitem : 1;
    bool good = true;
    if (n->kind == NODE_MAP) {
        complain(s, n, "is a mapping, not a list");
        return false;
    }
    if (count > s->key->max_count) {
        complain(s, n, tree_text(s->in, "a list of %d is too long", count));
        return false;
    }
    for (int i = 0; i < count; i++) {
        input_node *item = n->kind == NODE_LIST ? n->items[i] : n;
        if (s->key->kind == KEY_REALS) {
            good = read_real(s, item, (double *)s->field + i) && good;
        } else {
            const char *text = scalar_text(s, item);
            ((const char **)s->field)[i] = text ? text : "";
            good = text && good;
        }
    }
    *s->count = good ? count : 0;
    return good;
}

/* Reads node n into the field; false after a problem. */
static bool read_value(const slot *s, input_node *n)
{
    switch (s->key->kind) {
    case KEY_INT:
        return read_int(s, n);
    case KEY_REAL:
        return read_real(s, n, s->field);
    case KEY_FLAG:
        return read_flag(s, n);
    case KEY_WORD:
        return read_word(s, n);
    case KEY_REALS:
    case KEY_TEXTS:
        return read_list(s, n);
    case KEY_TEXT:
    case KEY_PATH:
        if (!scalar_text(s, n)) {
            return false;
        }
        *(const char **)s->field = s->key->kind == KEY_PATH ? path_from_here(n) : n->text;
        return true;
    case KEY_NODE:
        *(const input_node **)s->field = n;
        return true;
    }
    return false;
}

/* Something within the limits, for a key that has no value of its own. */
static void set_empty(const slot *s, bool optional)
{
    const key_spec *k = s->key;
    double zero = !has_limits(k) || (k->min <= 0 && k->max >= 0) ? 0 : k->min > 0 ? k->min : k->max;
    switch (k->kind) {
    case KEY_INT:
        *(int64_t *)s->field = (int64_t)zero;
        break;
    case KEY_REAL:
        *(double *)s->field = zero;
        break;
    case KEY_FLAG:
        *(bool *)s->field = false;
        break;
    case KEY_WORD:
        *(int *)s->field = 0;
        break;
    case KEY_TEXT:
    case KEY_PATH:
        *(const char **)s->field = optional ? NULL : "";
        break;
    case KEY_REALS:
    case KEY_TEXTS:
        *s->count = 0;
        for (int i = 0; i < k->max_count; i++) {
            if (k->kind == KEY_REALS) {
                ((double *)s->field)[i] = zero;
            } else {
                ((const char **)s->field)[i] = "";
            }
        }
        break;
    case KEY_NODE:
        *(const input_node **)s->field = NULL;
        break;
    }
}

/* A fallback that its own key does not take is a mistake in our table. */
static void set_fallback(const slot *s, asked_key *asked)
{
    const key_spec *k = s->key;
    bool lists = k->kind == KEY_REALS || k->kind == KEY_TEXTS, optional = k->fallback && k->fallback[0] == '\0';
    set_empty(s, optional);
    if (!k->fallback || optional) {
        ASSERT(!optional || lists || k->kind == KEY_TEXT || k->kind == KEY_PATH || k->kind == KEY_NODE);
        return;
    }
    position at = {s->in->path, 0, 0};
    input_node *n = lists ? tree_parse_value(s->in, k->fallback, s->in->path) : tree_scalar(s->in, k->fallback, at);
    int before = s->in->nproblem;
    if (n->broken || !read_value(s, n)) {
        const char *why = s->in->nproblem > before ? s->in->problems[0].text : "";
        error_fatal(EXIT_INTERNAL, "key table: '%s' is no fallback for %s %s", k->fallback, k->name, why);
    }
    asked->fallback = k->fallback;
    asked->path = k->kind == KEY_PATH ? *(const char **)s->field : NULL;
    if (k->kind == KEY_REAL && unit_of(k)[0] && strcmp(k->fallback, "0") == 0) {
        asked->fallback = tree_text(s->in, "0 %s", unit_of(k));
    }
}

static bool in_tables(const char *name, const key_table *tables, int ntable)
{
    for (int t = 0; t < ntable; t++) {
        for (int i = 0; i < tables[t].nkey; i++) {
            if (strcmp(tables[t].keys[i].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* The section `key` of a mapping, given or filled with fallbacks before. */
static input_node *section_of(const input_node *map, const char *key)
{
    input_node *n = tree_find(map, key);
    const asked_key *asked = tree_asked(map, key);
    return n ? n : asked ? asked->section : NULL;
}

/* A section that is not given: an empty mapping, kept beside the tree for input_effective when `where` is the path of
 * a key that was asked for. */
static input_node *absent_section(input *in, const char *where)
{
    input_node *map = in->root;
    char *step = tree_text(in, "%s", where);
    for (char *dot; map && (dot = strchr(step, '.')); step = dot + 1) {
        *dot = '\0';
        map = section_of(map, step);
    }
    bool word = *step && step[strspn(step, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
    bool kept = map && word && tree_asked(map, step) && !tree_find(map, step);
    if (kept && section_of(map, step)) {
        return section_of(map, step);
    }
    input_node *section = tree_node(in, NODE_MAP, (position){in->path, 0, 0});
    section->key = kept ? step : where;
    section->parent = kept ? map : in->root;
    if (kept) {
        tree_ask(map, step)->section = section;
    }
    return section;
}

/* For a section that is something else than a mapping, which has been said: nothing is missing from it. */
static const input_node *stand_in(input *in, const input_node *map, const char *where)
{
    input_node *section = tree_node(in, NODE_MAP, map->at);
    section->key = where;
    section->parent = in->root;
    section->broken = true;
    return section;
}

static void fill_key(input *in, const input_node *map, const key_spec *k, void *out)
{
    char *base = out;
    bool lists = k->kind == KEY_REALS || k->kind == KEY_TEXTS;
    slot s = {in, k, base + k->offset, lists ? (int *)(base + k->count_offset) : NULL};
    asked_key *asked = tree_ask(map, k->name);
    input_node *n = tree_find(map, k->name);
    set_fallback(&s, asked);
    if (!n && !k->fallback && !map->broken && !in->incomplete) {
        char wanted[400];
        tree_wanted(k, wanted, sizeof wanted);
        if (k->kind == KEY_NODE) {
            snprintf(wanted, sizeof wanted, "%s", k->help);
        }
        tree_problem(map, k->name, "is missing; %s: %s", k->kind == KEY_NODE ? "wanted" : "allowed", wanted);
    }
    if (!n) {
        return;
    }
    if (!read_value(&s, n)) {
        set_fallback(&s, asked);
    } else if (k->kind == KEY_PATH) {
        asked->path = *(const char **)s.field;
    }
}

void input_fill_tables(input *in, const input_node *map, const char *where, const key_table *tables, int ntable)
{
    bool given = map && (map->kind == NODE_MAP || tree_empty(map));
    if (map && !given && !map->broken && !in->incomplete) {
        tree_problem(map, NULL, "is a %s; a mapping with the keys of %s is wanted", map->kind == NODE_LIST ? "list" : "text", where);
        ((input_node *)map)->broken = true;
    }
    const input_node *section = given ? map : map ? stand_in(in, map, where) : absent_section(in, where);
    for (int t = 0; t < ntable; t++) {
        for (int i = 0; i < tables[t].nkey; i++) {
            fill_key(in, section, &tables[t].keys[i], tables[t].out);
        }
    }
    for (int i = 0; section->kind == NODE_MAP && i < section->nitem; i++) {
        const char *key = section->items[i]->key;
        if (!in_tables(key, tables, ntable) && !tree_asked(section, key)) {
            tree_problem_unknown(section->items[i], where);
        }
    }
}

void input_fill(input *in, const input_node *map, const char *where, const key_spec *keys, int nkey, void *out)
{
    key_table table = {keys, nkey, out};
    input_fill_tables(in, map, where, &table, 1);
}

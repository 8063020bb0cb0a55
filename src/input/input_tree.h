/* input_tree.h - the tree behind input.h; private to the files of this folder.
 *
 * All nodes and texts live until input_destroy in one arena, so that a node which was replaced (override, preset) may still
 * be held by a caller. */
#ifndef INPUT_TREE_H
#define INPUT_TREE_H
#include "input/input.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };
enum { INPUT_MAX_DEPTH = 32 };

typedef struct position {
    const char *file;
    int line, column; /* from 1; line 0: the file as a whole */
} position;

/* A key that the program asked a mapping for, given or not. */
typedef struct asked_key {
    const char *name;
    const char *fallback;   /* YAML text of the value taken when the key is not given; NULL: none */
    const char *path;       /* KEY_PATH: the path as it can be used from here; else NULL */
    input_node *section;    /* a section that is not given and was filled with fallbacks; else NULL */
} asked_key;

struct input_node {
    input *in;
    enum node_kind kind;
    const char *text;      /* scalar */
    bool plain;            /* scalar without quotes; plain and empty is "no value" */
    bool broken;           /* a problem with it is on the list already */
    position at, key_at;   /* of the value; of its key in a mapping */
    input_node *parent;
    const char *key;       /* in a mapping, else NULL */
    input_node **items;    /* [nitem] of a list or a mapping */
    int nitem, nitem_room;
    asked_key *asked;      /* [nasked] of a mapping */
    int nasked, nasked_room;
};

enum problem_kind {
    PROBLEM_PLAIN,
    PROBLEM_UNKNOWN, /* an unknown key; withdrawn when somebody asks for it later; subject: its node */
    PROBLEM_PLACE    /* an override without a place; withdrawn when it is applied again; subject: its text */
};

typedef struct problem {
    enum problem_kind kind;
    const void *subject;
    position at;
    int rank; /* 0 the input file, 1 another file, 2 the command line */
    const char *text;
} problem;

typedef struct arena_block arena_block;

struct input {
    arena_block *arena;
    const char *path, *folder; /* folder: "" or ends in '/' */
    char *original;            /* as read, ends in '\0' */
    size_t original_bytes;
    bool missing;
    const char *here;          /* folder put before relative paths when the input is printed; NULL: none */
    bool incomplete;           /* missing, or cut by a syntax error: absent keys may well have been meant */
    input_node *root;          /* a mapping, always */
    const char **overrides;    /* [noverride] "--set a.b=c" */
    int noverride;
    problem *problems;         /* [nproblem], in the order printed */
    int nproblem, nproblem_room;
};

/* Arena. */
void *tree_alloc(input *in, size_t bytes);                                               /* zeroed */
void tree_free(input *in);                                                               /* the arena, all nodes and texts */
char *tree_text(input *in, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Nodes. */
input_node *tree_node(input *in, enum node_kind kind, position at);
input_node *tree_scalar(input *in, const char *text, position at);
void tree_append(input_node *parent, input_node *item, const char *key, position key_at);
void tree_replace(input_node *old, input_node *item); /* item takes the place, key and parent of old */
input_node *tree_find(const input_node *map, const char *key);
bool tree_empty(const input_node *n); /* NULL, or a key with nothing after it */
const char *tree_path(const input_node *n, const char *sub); /* "model.stages.opl" + ".sigma" (sub may be NULL) */
asked_key *tree_ask(const input_node *map, const char *key); /* notes that the key is known */
asked_key *tree_asked(const input_node *map, const char *key); /* NULL: never asked for */

/* Parses YAML of n bytes.  Problems go on the list; never NULL (an empty mapping for an empty text).  tree_parse_value reads
 * one value in flow style, as it stands after "key:" ("[1 deg, 2 deg]"). */
input_node *tree_parse(input *in, const char *yaml, size_t n, const char *file);
input_node *tree_parse_value(input *in, const char *yaml, const char *file);

/* Problems. */
void tree_problem(const input_node *at, const char *sub, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tree_problem_add(input *in, enum problem_kind kind, const void *subject, position at, const char *text);
void tree_problem_withdraw(input *in, enum problem_kind kind, const void *subject);
void tree_problem_unknown(const input_node *item, const char *where); /* allowed are the keys its mapping was asked for */

/* "1 to 10 deg", "at least 0 s", or "" without limits. */
void tree_limits(const key_spec *k, char *text, size_t size);
/* "a number of deg (deg, arcmin, ...)": what a key takes. */
void tree_wanted(const key_spec *k, char *text, size_t size);
#endif

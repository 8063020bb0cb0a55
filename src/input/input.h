/* input.h - the input file as a checked tree.  Knows nothing of models.
 *
 * YAML by libyaml; every scalar stays text until a key table asks for a type, so YAML's own typing never happens.
 * Anchors, aliases, tags, several documents, duplicate keys: problems.  Problems are collected, never fatal here:
 * all are listed together as  file:line:column: key: what is wrong; what is allowed  (job.c does so and exits 65). */
#ifndef INPUT_H
#define INPUT_H
#include "base/base.h"

typedef struct input input;           /* opaque */
typedef struct input_node input_node; /* one mapping, sequence or scalar of it; NULL: not given */

enum key_kind {
    KEY_INT,   /* int64_t                                                                    */
    KEY_REAL,  /* double, in the key's unit; a number with a unit must be written with one   */
    KEY_FLAG,  /* bool: true | false                                                         */
    KEY_WORD,  /* int: index into `words`, "gaussian|deriche"                                */
    KEY_TEXT,  /* const char *, owned by the input                                           */
    KEY_PATH,  /* const char *, a path relative to the folder of the file that names it, made usable from here;
                  owned by the input; a ":/dataset" suffix is kept                           */
    KEY_REALS, /* double[max_count], number given in an int at count_offset                  */
    KEY_TEXTS, /* const char *[max_count], same; a single scalar counts as a list of one     */
    KEY_NODE   /* const input_node *, for the caller to look into                            */
};

/* One allowed key.  The same table checks the file, fills the struct, prints the help and the effective input.
 * `fallback` is text as it would be written in a file; NULL: the key must be given; "": optional without a value (text,
 * path, reals, texts, node only: NULL or count 0). */
typedef struct key_spec {
    const char *name;
    enum key_kind kind;
    const char *unit;     /* KEY_REAL, KEY_REALS: "deg", "s", "Hz", ""                        */
    const char *fallback;
    double min, max;      /* inclusive, in `unit`; both 0: no limits                          */
    const char *words;    /* KEY_WORD                                                         */
    const char *help;     /* one line                                                         */
    size_t offset;        /* offsetof(struct, field)                                          */
    size_t count_offset;  /* KEY_REALS, KEY_TEXTS: offsetof(struct, int field)                */
    int max_count;
} key_spec;

/* Reads a file and applies overrides "a.b=c" (a list item is a number or, for a list of mappings, its `name`:
 * "model.stages.opl.sigma=0.1 deg").  A path in an override is seen from the current folder.
 * A file that cannot be opened is a problem too (input_missing says so). */
input *input_read(const char *path, const char *const overrides[], int noverride);
input *input_from_text(const char *text, const char *origin, const char *const overrides[], int noverride);
void input_destroy(input *in);
bool input_missing(const input *in); /* the file itself could not be opened: exit 66 instead of 65 */

const input_node *input_root(const input *in);
const input_node *input_child(const input_node *map, const char *key);  /* NULL if absent or not a mapping; marks the key as known */
int input_count(const input_node *n);                                   /* items of a sequence, keys of a mapping, 0 for a scalar or NULL */
const input_node *input_item(const input_node *seq, int i);
const char *input_key(const input_node *map, int i);                    /* name of the i-th key of a mapping */
const char *input_scalar(const input_node *n);                          /* text, or NULL if not a scalar */
bool input_is_map(const input_node *n);
bool input_is_list(const input_node *n);

/* Fills the struct at `out` from mapping `map` (NULL: all fallbacks).  Every problem goes on the list: unknown key (with the
 * nearest known one), missing key, wrong unit, not a number, out of range, unknown word (with the allowed ones).
 * `where` names the section in messages and help ("stimulus: grating").  Fields are always set to something valid. */
void input_fill(input *in, const input_node *map, const char *where, const key_spec *keys, int nkey, void *out);
#define INPUT_FILL(in, map, where, keys, out) input_fill(in, map, where, keys, (int)(sizeof(keys) / sizeof((keys)[0])), out)

/* Several tables may share one mapping (keys common to all stages + keys of the type): give them together. */
typedef struct key_table {
    const key_spec *keys;
    int nkey;
    void *out;
} key_table;
void input_fill_tables(input *in, const input_node *map, const char *where, const key_table *tables, int ntable);

/* Adds a problem at a node (NULL: the whole file).  file:line:column and the node's path of keys are put in front; not the path when
 * the text begins with its first key ("field: ..." at field.pixels). */
void input_problem(input *in, const input_node *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* ... or in another file (XML, movie): line <= 0: none. */
void input_problem_in(input *in, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int input_nproblem(const input *in);
void input_print_problems(const input *in); /* on stderr, in order of file and line */
const char *input_problem_text(const input *in, int i); /* as printed, for tests */
void input_where(const input_node *n, const char **file, int *line, int *column);

/* Puts YAML text in place of the node at `path` ("model.stages"), as presets do; origin is named in messages.  Overrides that
 * start with that path are applied again, so that --set reaches into a preset. */
void input_graft(input *in, const char *path, const char *yaml, const char *origin);

/* Puts a copy of the mapping `with` in place of the mapping `old`, e.g. one stage of a preset; those of the keys `kept` that it does not give
 * are taken from `old`.  Problems with it name the place where `with` was written; overrides as with input_graft. */
void input_replace(input *in, const input_node *old, const input_node *with, const char *const kept[], int nkept);

/* Puts a value at `path` without asking the overrides again: what the program settled, for input_effective to print ("model.preset",
 * "none" once its stages are written out). */
void input_set(input *in, const char *path, const char *yaml);
void input_remove(input *in, const char *path); /* a key that stands there or not */

/* Reports every key of the tree that no table and no input_child ever asked for.  Call once, after all sections were read. */
void input_check_unknown(input *in);
/* Takes all keys below a node as known: of a section that another mode reads. */
void input_accept(const input_node *n);

/* The effective input: every key that was asked for with its value, defaults written out, in file order; reads back to the same run.
 * Values stand as they were written, but paths as they can be used from here.  A section that is not given is written with its
 * defaults when input_child or a KEY_NODE asked for it and input_fill got NULL and its path as `where`.  Owned by the input. */
const char *input_effective(input *in);
const char *input_portable(input *in); /* the same with absolute paths, for a file in another folder */
const char *input_original(const input *in); /* text of the file as read */
const char *input_path(const input *in);

/* One help topic: printed by `chiasm help TOPIC` from the same table that checks the file. */
typedef struct help_topic {
    const char *name, *summary, *text; /* text: equations and references, may be NULL */
    const key_spec *keys;
    int nkey;
} help_topic;
void help_print(const help_topic *t); /* on stdout: name, summary, text, then a table key | unit | default | allowed | help */
#endif

/* help.c - a help topic, printed from the table that checks the file. */
#include <stdio.h>
#include <string.h>

#include "input/input_tree.h"

enum { ALLOWED = 400, COLUMNS = 5 };

static const char *default_of(const key_spec *k)
{
    return !k->fallback ? "required" : k->fallback[0] ? k->fallback : "-";
}

static const char *allowed_of(const key_spec *k, char *text)
{
    bool number = k->kind == KEY_INT || k->kind == KEY_REAL;
    if (number) {
        tree_limits(k, text, ALLOWED);
    }
    if (number && text[0] == '\0') {
        snprintf(text, ALLOWED, k->kind == KEY_INT ? "any whole number" : "any number");
    } else if (!number) {
        tree_wanted(k, text, ALLOWED);
    }
    return text;
}

static void cells_of(const key_spec *k, char *allowed, const char *cells[COLUMNS])
{
    cells[0] = k->name;
    cells[1] = k->unit && k->unit[0] ? k->unit : "-";
    cells[2] = default_of(k);
    cells[3] = allowed_of(k, allowed);
    cells[4] = k->help ? k->help : "";
}

void help_print(const help_topic *t)
{
    static const char *const head[COLUMNS] = {"key", "unit", "default", "allowed", "help"};
    const char *cells[COLUMNS];
    int width[COLUMNS] = {0};
    char allowed[ALLOWED];
    printf("%s - %s\n", t->name, t->summary);
    if (t->text) {
        printf("\n%s\n", t->text);
    }
    if (t->nkey == 0) {
        return;
    }
    for (int i = -1; i < t->nkey; i++) {
        if (i >= 0) {
            cells_of(&t->keys[i], allowed, cells);
        }
        for (int c = 0; c < COLUMNS; c++) {
            int n = (int)strlen(i < 0 ? head[c] : cells[c]);
            width[c] = n > width[c] ? n : width[c];
        }
    }
    printf("\n");
    for (int i = -1; i < t->nkey; i++) {
        if (i >= 0) {
            cells_of(&t->keys[i], allowed, cells);
        }
        const char *const *row = i < 0 ? head : cells;
        printf("  %-*s  %-*s  %-*s  %-*s  %s\n", width[0], row[0], width[1], row[1], width[2], row[2], width[3], row[3], row[4]);
    }
}

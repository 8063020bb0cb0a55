/* preset_own.h - the presets among their own files: text of stages, published sets, Convis' chain. */
#ifndef PRESET_OWN_H
#define PRESET_OWN_H
#include "model/preset.h"

/* Growing text; one stage is one line:  - {name: .., type: .., input: .., key: value} */
typedef struct preset_text {
    char *p; /* memory_free */
    size_t used, room;
} preset_text;
void preset_say(preset_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void preset_begin(preset_text *t, const char *name, const char *type, const char *from, int delay);
void preset_number(preset_text *t, const char *key, double value, const char *unit);
void preset_pair(preset_text *t, const char *key, double x, double y, const char *unit); /* key: [x, y] */
void preset_word(preset_text *t, const char *key, const char *value);
void preset_end(preset_text *t);

/* form: virtualretina|convis; the line is left open for further keys */
void preset_rectify(preset_text *t, const retina_ganglion *g, const char *name, const char *form, const char *from, int delay);

/* preset_sets.c: cat-x ... human-parvo-magno */
retina_xml preset_set(enum preset_kind kind);

/* preset_convis.c: reads model.convis and writes the chain; problems go on the list */
void preset_convis(input *in, const input_node *settings, preset_text *t);
#endif

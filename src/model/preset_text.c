/* preset_text.c - stages as lines of YAML. */
#include "base/error.h"
#include "base/memory.h"
#include "base/units.h"
#include "model/preset_own.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void preset_say(preset_text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char line[512];
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < sizeof line);
    if (t->used + (size_t)n + 1 > t->room) {
        t->room = 2 * t->room + 1024;
        t->p = memory_grow(t->p, t->room, 1);
    }
    memcpy(t->p + t->used, line, (size_t)n + 1);
    t->used += (size_t)n;
}

void preset_begin(preset_text *t, const char *name, const char *type, const char *from, int delay)
{
    preset_say(t, "- {name: %s, type: %s, input: %s", name, type, from);
    if (delay > 0) {
        preset_say(t, ", delay: %d", delay);
    }
}

void preset_number(preset_text *t, const char *key, double value, const char *unit)
{
    char written[64];
    units_write(value, unit, written, sizeof written);
    preset_say(t, ", %s: %s", key, written);
}

void preset_pair(preset_text *t, const char *key, double x, double y, const char *unit)
{
    char x_text[64], y_text[64];
    units_write(x, unit, x_text, sizeof x_text);
    units_write(y, unit, y_text, sizeof y_text);
    preset_say(t, ", %s: [%s, %s]", key, x_text, y_text);
}

void preset_word(preset_text *t, const char *key, const char *value)
{
    preset_say(t, ", %s: %s", key, value);
}

void preset_end(preset_text *t)
{
    preset_say(t, "}\n");
}

void preset_rectify(preset_text *t, const retina_ganglion *g, const char *name, const char *form, const char *from, int delay)
{
    preset_begin(t, name, "rectify", from, delay);
    preset_word(t, "form", form);
    preset_number(t, "sign", g->sign < 0 ? -1 : 1, "");
    preset_number(t, "threshold", g->threshold, "");
    preset_number(t, "value", g->value_hz, "Hz");
    preset_number(t, "slope", g->slope_hz, "Hz");
}

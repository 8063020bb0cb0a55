/* units.c - a unit is a product of powers of known symbols; its dimension is the vector of the powers' sums. */
#include "base/units.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { TIME, ANGLE, PIXEL, VOLT, DIMENSIONS };

#define PI 3.14159265358979323846

/* num / den base units (s, deg, px, V).  A ratio, so that 35 ms is 35 / 1000 s, correctly rounded, and not 35 * 0.001. */
static const struct {
    const char *name;
    double num, den;
    signed char power[DIMENSIONS];
} symbol[] = {
    {"s", 1, 1, {[TIME] = 1}},         {"ms", 1, 1000, {[TIME] = 1}},     {"us", 1, 1e6, {[TIME] = 1}},
    {"\xc2\xb5s", 1, 1e6, {[TIME] = 1}}, {"\xce\xbcs", 1, 1e6, {[TIME] = 1}}, /* micro sign, Greek mu */
    {"min", 60, 1, {[TIME] = 1}},      {"h", 3600, 1, {[TIME] = 1}},      {"Hz", 1, 1, {[TIME] = -1}},
    {"kHz", 1000, 1, {[TIME] = -1}},   {"deg", 1, 1, {[ANGLE] = 1}},      {"\xc2\xb0", 1, 1, {[ANGLE] = 1}},
    {"arcmin", 1, 60, {[ANGLE] = 1}},  {"arcsec", 1, 3600, {[ANGLE] = 1}}, {"rad", 180, PI, {[ANGLE] = 1}},
    {"cpd", 1, 1, {[ANGLE] = -1}},     {"px", 1, 1, {[PIXEL] = 1}},       {"V", 1, 1, {[VOLT] = 1}},
    {"mV", 1, 1000, {[VOLT] = 1}},     {"cycles", 1, 1, {0}},             {"spikes", 1, 1, {0}},
    {"%", 1, 100, {0}},
};

/* What a dimension is called and how it may be written. */
static const struct {
    signed char power[DIMENSIONS];
    const char *name, *allowed;
} dimension[] = {
    {{0}, "a plain number", "no unit, or %"},
    {{[TIME] = 1}, "a time", "s, ms, us, min, h"},
    {{[ANGLE] = 1}, "an angle", "deg, arcmin, arcsec, rad"},
    {{[TIME] = -1}, "a frequency", "Hz, kHz, 1/s, /s, /ms"},
    {{[ANGLE] = -1}, "an inverse angle", "/deg, 1/deg, /arcmin, cpd, cycles/deg"},
    {{[ANGLE] = -2}, "a density", "/deg^2, /arcmin^2"},
    {{[ANGLE] = 1, [TIME] = -1}, "a speed", "deg/s, arcmin/s, deg/ms, rad/s"},
    {{[ANGLE] = -1, [TIME] = -1}, "a rate per angle", "/deg/s, Hz/deg"},
    {{[PIXEL] = 1}, "a number of pixels", "px"},
    {{[PIXEL] = 1, [TIME] = -1}, "a speed in pixels", "px/s, px/ms"},
    {{[PIXEL] = 1, [ANGLE] = -1}, "a resolution", "px/deg, px/arcmin"},
    {{[VOLT] = 1}, "a voltage", "V, mV"},
};

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

typedef struct quantity {
    double num, den;
    signed char power[DIMENSIONS];
} quantity;

static const char *skip_spaces(const char *p)
{
    while (*p == ' ') {
        p++;
    }
    return p;
}

/* Multiplies q by the symbol of n bytes at p to the power `sign`, -9 to 9. */
static bool multiply_symbol(quantity *q, const char *p, size_t n, int sign)
{
    for (int i = 0; i < COUNT(symbol); i++) {
        if (strlen(symbol[i].name) != n || strncmp(symbol[i].name, p, n) != 0) {
            continue;
        }
        for (int k = 0; k < abs(sign); k++) {
            q->num *= sign > 0 ? symbol[i].num : symbol[i].den;
            q->den *= sign > 0 ? symbol[i].den : symbol[i].num;
        }
        for (int d = 0; d < DIMENSIONS; d++) {
            q->power[d] = (signed char)(q->power[d] + sign * symbol[i].power[d]);
        }
        return true;
    }
    return false;
}

/* "deg/s", "1/deg", "/deg^2", "": false when a symbol is unknown or the text is none of these. */
static bool parse_unit(const char *p, quantity *q)
{
    *q = (quantity){.num = 1, .den = 1};
    p = skip_spaces(p);
    if (*p == '\0') {
        return true;
    }
    if (*p == '1') {
        p = skip_spaces(p + 1);
        if (*p != '/') {
            return false;
        }
    }
    for (int sign = 1, factor = 0;; factor++) {
        if (*p == '/') {
            sign = -1;
            p = skip_spaces(p + 1);
        } else if (factor > 0 || factor > 8) {
            return *p == '\0';
        }
        size_t n = strcspn(p, "/^ ");
        int power = sign;
        const char *end = p + n;
        if (*end == '^') {
            if (end[1] < '1' || end[1] > '9') {
                return false;
            }
            power *= end[1] - '0';
            end += 2;
        }
        if (factor > 8 || !multiply_symbol(q, p, n, power)) {
            return false;
        }
        p = skip_spaces(end);
    }
}

static int find_dimension(const quantity *q)
{
    for (int i = 0; i < COUNT(dimension); i++) {
        if (memcmp(dimension[i].power, q->power, sizeof q->power) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *dimension_name(const quantity *q)
{
    int i = find_dimension(q);
    return i < 0 ? "another kind of quantity" : dimension[i].name;
}

const char *units_allowed(const char *unit)
{
    quantity q;
    ASSERT(unit && parse_unit(unit, &q));
    int i = find_dimension(&q);
    return i < 0 ? unit : dimension[i].allowed;
}

/* The message: "'TEXT' WHAT; an angle is wanted (deg, arcmin, arcsec, rad)".  Long texts are cut at a character of UTF-8. */
static const char *complain(const char *text, const char *what, const char *unit)
{
    static _Thread_local char buffer[400];
    quantity q;
    parse_unit(unit, &q);
    int i = find_dimension(&q), cut = (int)strnlen(text, 41);
    if (cut > 40) {
        for (cut = 40; cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80; cut--) {
        }
    }
    snprintf(buffer, sizeof buffer, "'%.*s%s' %s; %s is wanted (%s)", cut, text, text[cut] ? "..." : "", what,
             i < 0 ? "another kind of quantity" : dimension[i].name, i < 0 ? unit : dimension[i].allowed);
    return buffer;
}

/* Decimal numbers only: strtod alone would take "inf", "nan" and "0x10" as well. */
static bool parse_number(const char *text, double *value, const char **rest)
{
    const char *p = text;
    if (*p == '+' || *p == '-') {
        p++;
    }
    if (!(isdigit((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1]))) || (*p == '0' && (p[1] == 'x' || p[1] == 'X'))) {
        return false;
    }
    char *end;
    *value = strtod(text, &end);
    *rest = skip_spaces(end);
    unsigned char c = (unsigned char)**rest;
    return c == '\0' || c == '/' || c == '%' || c >= 0x80 || isalpha(c) || (c == '1' && end != *rest);
}

const char *units_read(const char *text, const char *unit, double *value)
{
    ASSERT(text && unit && value);
    quantity want, have;
    ASSERT(parse_unit(unit, &want));
    const char *rest;
    double number;
    if (!parse_number(skip_spaces(text), &number, &rest)) {
        return complain(text, "is not a number", unit);
    }
    if (!isfinite(number)) {
        return complain(text, "is not a finite number", unit);
    }
    if (*rest == '\0' && (*unit == '\0' || number == 0)) {
        *value = number;
        return NULL;
    }
    if (*rest == '\0') {
        return complain(text, "has no unit", unit);
    }
    if (!parse_unit(rest, &have)) {
        return complain(text, "has an unknown unit", unit);
    }
    if (memcmp(have.power, want.power, sizeof have.power) != 0) {
        char what[80];
        snprintf(what, sizeof what, "is %s", dimension_name(&have));
        return complain(text, what, unit);
    }
    if (*unit == '\0' && *rest != '%') {
        return complain(text, "has a unit", unit);
    }
    double num = have.num * want.den, den = have.den * want.num;
    bool up = fmod(num, den) == 0, down = fmod(den, num) == 0; /* one rounding where one suffices */
    number = up ? number * (num / den) : down ? number / (den / num) : number * num / den;
    if (!isfinite(number)) {
        return complain(text, "is not a finite number", unit);
    }
    *value = number;
    return NULL;
}

void units_write(double value, const char *unit, char *text, size_t size)
{
    ASSERT(unit && text && size > 0);
    char number[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (strtod(number, NULL) == value) {
            break;
        }
    }
    snprintf(text, size, "%s%s%s", number, *unit ? " " : "", unit);
}

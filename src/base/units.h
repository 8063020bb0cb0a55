/* units.h - "0.05 deg", "10 ms", "20 /deg": a number and its unit.  Pure. */
#ifndef UNITS_H
#define UNITS_H
#include "base/base.h"

/* Reads a whole scalar as a number with a unit of the same dimension as `unit` and converts it to `unit`.
 * unit "" : a bare number ("1e-3", "50 %" = 0.5), nothing after it.
 * Known: s ms us min h | deg arcmin arcsec rad | Hz kHz 1/s /s | /deg 1/deg /arcmin | px | V mV | deg/s | /deg/s ... (table in units.c).
 * A dimension other than "" needs its unit written.  Returns NULL when done, else what is wrong and what is allowed
 * (static text or thread-local buffer), e.g. "'0.05 s' is a time; an angle is wanted (deg, arcmin, arcsec, rad)". */
const char *units_read(const char *text, const char *unit, double *value);

/* value in `unit` as it is printed back: "0.05 deg", shortest text that reads back to the same double. */
void units_write(double value, const char *unit, char *text, size_t size);
/* The units allowed where `unit` is expected, for help: "s, ms, us, min, h". */
const char *units_allowed(const char *unit);
#endif

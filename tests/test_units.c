/* test_units.c - oracle: the definitions of the units, written as literals that the compiler rounds. */
#include "base/units.h"

#include "test.h"

/* The value must be the double nearest to the literal: no tolerance. */
static void reads(const char *text, const char *unit, double want)
{
    double value = NAN;
    const char *wrong = units_read(text, unit, &value);
    if (wrong || value != want) {
        printf("\n    '%s' in '%s': %.17g, want %.17g; %s", text, unit, value, want, wrong ? wrong : "");
    }
    CHECK(!wrong && value == want);
}

static void refuses(const char *text, const char *unit, const char *piece)
{
    double value = -77;
    const char *wrong = units_read(text, unit, &value);
    if (!wrong || !strstr(wrong, piece)) {
        printf("\n    '%s' in '%s': \"%s\" lacks \"%s\"", text, unit, wrong ? wrong : "(no problem)", piece);
    }
    CHECK(wrong && strstr(wrong, piece));
    CHECK(value == -77); /* untouched */
}

static void exact(void)
{
    reads("0.05 deg", "deg", 0.05);
    reads("  0.05   deg ", "deg", 0.05);
    reads("35 ms", "s", 0.035); /* 35 * 0.001 would be 0.035000000000000003 */
    reads("10ms", "ms", 10);
    reads("1.5 s", "ms", 1500);
    reads("7 us", "s", 7e-6);
    reads("7 \xc2\xb5s", "s", 7e-6);
    reads("2 min", "s", 120);
    reads("1 h", "min", 60);
    reads("3 arcmin", "deg", 0.05);
    reads("36 arcsec", "deg", 0.01);
    reads("60 arcsec", "arcmin", 1);
    reads("0.2 kHz", "Hz", 200);
    reads("20 1/s", "Hz", 20);
    reads("20 /s", "Hz", 20);
    reads("2 /ms", "Hz", 2000);
    reads("20 /deg", "/deg", 20);
    reads("20/deg", "/deg", 20);
    reads("20 1/deg", "/deg", 20);
    reads("1 /arcmin", "/deg", 60);
    reads("4 cpd", "/deg", 4);
    reads("4 cycles/deg", "cpd", 4);
    reads("12 px", "px", 12);
    reads("-70 mV", "V", -0.07);
    reads("5 deg/s", "deg/s", 5);
    reads("1 deg/ms", "deg/s", 1000);
    reads("3 /deg/s", "/deg/s", 3);
    reads("3 Hz/deg", "/deg/s", 3);
    reads("9 /deg^2", "1/deg^2", 9);
}

static void plain_numbers(void)
{
    reads("1e-3", "", 1e-3);
    reads("-.5", "", -0.5);
    reads("+2", "", 2);
    reads("50 %", "", 0.5);
    reads("7%", "", 0.07);
    reads("0.5 %", "%", 0.5);
    reads("0", "deg", 0); /* zero is zero in any unit */
    reads("0.0", "s", 0);
    reads("0 deg", "deg", 0);
    reads("123456789.123456789", "", 123456789.123456789);
}

static void to_rounding(void)
{
    double value = 0;
    CHECK(!units_read("3.14159265358979323846 rad", "deg", &value));
    CHECK_NEAR(value, 180, 1e-13, "two roundings of 180: 2 * 2^-53 * 180");
    CHECK(!units_read("180 deg", "rad", &value));
    CHECK_NEAR(value, 3.14159265358979323846, 2e-15, "two roundings near pi");
}

static void refused(void)
{
    CHECK_TEXT(units_read("0.05 s", "deg", &(double){0}), "'0.05 s' is a time; an angle is wanted (deg, arcmin, arcsec, rad)");
    refuses("0.05", "deg", "has no unit; an angle is wanted");
    refuses("0.05 degs", "deg", "unknown unit");
    refuses("0.05 DEG", "deg", "unknown unit");
    refuses("5 deg/", "deg", "unknown unit");
    refuses("5 1", "deg", "unknown unit");
    refuses("5 deg^0", "deg", "unknown unit");
    refuses("5 deg^", "deg", "unknown unit");
    refuses("0 s", "deg", "is a time");
    refuses("abc", "s", "is not a number; a time is wanted (s, ms, us, min, h)");
    refuses("", "", "is not a number");
    refuses("-", "", "is not a number");
    refuses("1,5", "", "is not a number");
    refuses("1 2", "", "is not a number");
    refuses("0x10", "", "is not a number");
    refuses("nan", "", "is not a number");
    refuses("inf s", "s", "is not a number");
    refuses("1e999", "", "is not a finite number");
    refuses("1e308 h", "us", "is not a finite number");
    refuses("5 ms", "", "is a time; a plain number is wanted");
    refuses("5 cycles", "", "has a unit");
    refuses("5 px/deg", "px", "is a resolution; a number of pixels is wanted (px)");
    refuses("5 V/s", "V", "another kind of quantity");
    refuses("5 s/s/s/s/s/s/s/s/s/s/s/s", "s", "unknown unit");
    char longest[500];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuses(longest, "deg", "...' is not a number");
}

/* What is written reads back to the same bits, in as few digits as that takes. */
static void written(void)
{
    char text[80];
    units_write(0.05, "deg", text, sizeof text);
    CHECK_TEXT(text, "0.05 deg");
    units_write(20, "/deg", text, sizeof text);
    CHECK_TEXT(text, "20 /deg");
    units_write(-1.5, "", text, sizeof text);
    CHECK_TEXT(text, "-1.5");
    uint64_t seed = 20;
    static const char *const units[] = {"", "s", "deg", "Hz", "/deg", "px", "mV", "deg/s", "%"};
    for (int i = 0; i < 2000; i++) {
        const char *unit = units[i % 9];
        double value = test_random(&seed) * exp2(40 * test_random(&seed)), back = NAN;
        units_write(value, unit, text, sizeof text);
        const char *wrong = units_read(text, unit, &back);
        CHECK(!wrong && back == value);
    }
    CHECK_TEXT(units_allowed("s"), "s, ms, us, min, h");
    CHECK_TEXT(units_allowed("mV/s"), "mV/s");
}

TEST_MAIN("units", {"exact conversions", exact}, {"numbers without a unit", plain_numbers}, {"conversions by pi", to_rounding},
          {"what is refused", refused}, {"written and read back", written})

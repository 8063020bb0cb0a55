/* test.h - what every CUnit program of ours shares.  A test file ends with
 *     TEST_MAIN("grid", {"tiles cover the field", tiles_cover}, {"...", ...})
 * Checks go on after a failure; a failed CHECK_NEAR prints both values, the difference and the tolerance. */
#ifndef TEST_H
#define TEST_H
#include <CUnit/Basic.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(c) CU_assertImplementation((c), __LINE__, #c, __FILE__, "", CU_FALSE)

/* |x - y| <= tol; `why` says where the tolerance comes from. */
#define CHECK_NEAR(x, y, tol, why) test_near((double)(x), (double)(y), (tol), #x " ~ " #y, (why), __FILE__, __LINE__)
static inline void test_near(double x, double y, double tol, const char *what, const char *why, const char *file, int line)
{
    bool ok = fabs(x - y) <= tol;
    if (!ok) {
        printf("\n    %s:%d: %.17g and %.17g differ by %.3g > %.3g (%s)", file, line, x, y, fabs(x - y), tol, why);
    }
    CU_assertImplementation(ok, (unsigned)line, what, file, "", CU_FALSE);
}

#define CHECK_TEXT(x, y) test_text((x), (y), #x, __FILE__, __LINE__)
static inline void test_text(const char *x, const char *y, const char *what, const char *file, int line)
{
    bool ok = x && y && strcmp(x, y) == 0;
    if (!ok) {
        printf("\n    %s:%d: \"%s\" is not \"%s\"", file, line, x ? x : "(null)", y ? y : "(null)");
    }
    CU_assertImplementation(ok, (unsigned)line, what, file, "", CU_FALSE);
}

/* Reproducible numbers in [-1, 1): splitmix64; every test names its own seed. */
static inline double test_random(uint64_t *s)
{
    uint64_t z = (*s += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1.0;
}

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

static inline int test_run(const char *suite_name, const test_case *tests, int n)
{
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 1;
    }
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    for (int i = 0; suite && i < n; i++) {
        if (!CU_add_test(suite, tests[i].name, tests[i].run)) {
            return 1;
        }
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures(), ran = CU_get_number_of_tests_run();
    for (const CU_FailureRecord *f = CU_get_failure_list(); f; f = f->pNext) { /* stdout of ranks above 0 may be hidden */
        fprintf(stderr, "%s: failed: %s:%u: %s\n", suite_name, f->strFileName, f->uiLineNumber, f->strCondition);
    }
    CU_cleanup_registry();
    return failed || ran != (unsigned)n;
}

#define TEST_MAIN(suite, ...)                                                                \
    int main(void)                                                                           \
    {                                                                                        \
        static const test_case tests[] = {__VA_ARGS__};                                      \
        return test_run(suite, tests, (int)(sizeof tests / sizeof tests[0]));                \
    }
#endif

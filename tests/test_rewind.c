/* test_rewind.c - states kept for the backward sweep, and what trains, validates and tests. */
#include "fit/rewind.h"
#include "fit/split.h"
#include "input/input.h"
#include "test.h"

/* --- rewind -------------------------------------------------------------------------------------------------------------------- */
typedef struct tape {
    int nforward, nstate;
    bool right;
} tape;

static real state_at(int chunk, int i)
{
    return (real)(chunk * 7 + i);
}

static void run_chunk(void *ctx, int chunk, const real *from, real *to)
{
    tape *a = ctx;
    a->nforward++;
    for (int i = 0; i < a->nstate; i++) {
        a->right = a->right && from[i] == state_at(chunk, i);
        to[i] = state_at(chunk + 1, i);
    }
}

static int thriftiest(int nchunk)
{
    int least = nchunk;
    for (int k = 1; k <= nchunk; k++) {
        int n = (nchunk + k - 1) / k + k - 1;
        least = n < least ? n : least;
    }
    return least;
}

/* Twice forth and back, as a fit does: every state right, as many forward calls as were promised, never more memory than was allowed. */
static bool rewinds(int nchunk, int nslot)
{
    tape a = {0, 2, true};
    size_t state = 2 * sizeof(real), needed, allowed = (size_t)nslot * state + 1;
    rewind_store *r = rewind_create(2, nchunk, allowed, &needed);
    bool right = needed == (size_t)thriftiest(nchunk) * state && (r != NULL) == (allowed >= needed);
    for (int sweep = 0; r && sweep < 2; sweep++) {
        a.nforward = 0;
        for (int c = 0; c < nchunk; c++) {
            real *at = rewind_keep(r, c);
            for (int i = 0; at && i < 2; i++) {
                at[i] = state_at(c, i);
            }
        }
        for (int c = nchunk - 1; c >= 0; c--) {
            const real *at = rewind_state(r, c, run_chunk, &a);
            right = right && at[0] == state_at(c, 0) && at[1] == state_at(c, 1);
        }
        right = right && a.right && a.nforward == rewind_nforward(r) && a.nforward < nchunk && rewind_bytes(r) <= allowed;
        right = right && (rewind_spacing(r) > 1 || a.nforward == 0) && (nslot < nchunk || rewind_spacing(r) == 1);
    }
    rewind_destroy(r);
    return right;
}

static void chunks_are_rewound(void)
{
    bool right = true;
    for (int nchunk = 1; nchunk <= 300; nchunk++) {
        for (int nslot = 0; nslot <= nchunk + 1; nslot += nslot < 40 || nslot > nchunk - 3 ? 1 : 9) {
            bool one = rewinds(nchunk, nslot);
            if (!one && right) {
                printf("\n    %d chunks, room for %d", nchunk, nslot);
            }
            right = right && one;
        }
    }
    CHECK(right);
    CHECK(rewinds(10000, 199) && thriftiest(10000) == 199); /* 100 + 99: what 10,000 frames take at a chunk each */
}

/* --- splits ---------------------------------------------------------------------------------------------------------------------- */
enum { NSEQ = 103 };
static int64_t seq_start[NSEQ], seq_trial[NSEQ];

static split_settings split_of(const char *text, int nproblem)
{
    split_settings s;
    input *in = input_from_text(text, "test", NULL, 0);
    split_read(in, input_root(in), &s);
    CHECK(input_nproblem(in) == nproblem);
    input_destroy(in);
    return s;
}

static void deal(const split_settings *s, enum split_part *part, int count[4])
{
    memset(count, 0, 4 * sizeof *count);
    split_deal(s, NSEQ, seq_start, 10, seq_trial, part);
    for (int i = 0; i < NSEQ; i++) {
        CHECK(part[i] <= SPLIT_NONE);
        count[part[i]]++;
    }
}

static void parts_are_dealt(void)
{
    enum split_part part[NSEQ], again[NSEQ];
    int count[4];
    for (int i = 0; i < NSEQ; i++) {
        seq_start[i] = i * 10;
        seq_trial[i] = i / 8;
    }
    static const char *const texts[] = {"{validation: 0.2, test: 0.1}", "{validation: 0.2, test: 0.1, how: last}",
                                        "{validation: 0.2, test: 0.1, how: interleaved}"};
    for (int k = 0; k < 3; k++) {
        split_settings s = split_of(texts[k], 0);
        deal(&s, part, count);
        CHECK(count[SPLIT_TEST] == 10 && count[SPLIT_VALIDATION] == 21 && count[SPLIT_TRAIN] == 72);
        deal(&s, again, count);
        CHECK(memcmp(part, again, sizeof part) == 0);
        if (k == 0) {
            s.seed = 2;
            deal(&s, again, count);
            CHECK(memcmp(part, again, sizeof part) != 0);
        }
        CHECK(k != 1 || (part[102] == SPLIT_TEST && part[93] == SPLIT_TEST && part[92] == SPLIT_VALIDATION && part[71] == SPLIT_TRAIN));
        int longest = 0, run = 0;
        for (int i = 0; i < NSEQ; i++) {
            run = part[i] == SPLIT_TRAIN ? run + 1 : 0;
            longest = run > longest ? run : longest;
        }
        CHECK(k != 2 || longest <= 6); /* evenly spread */
    }
    split_settings s = split_of("{validation: 0.3, block: 5}", 0);
    deal(&s, part, count);
    for (int i = 0; i < NSEQ; i++) {
        CHECK(part[i] == part[i - i % 5]);
    }
    CHECK(count[SPLIT_VALIDATION] >= 28 && count[SPLIT_VALIDATION] <= 30); /* 6 of 21 blocks, the last has 3 */
    s = split_of("{validation: 0.3, by_trial: true, test: 0.01}", 0);
    deal(&s, part, count);
    for (int i = 0; i < NSEQ; i++) {
        CHECK(part[i] == part[i - i % 8]);
    }
    CHECK(count[SPLIT_TEST] > 0 && count[SPLIT_TEST] <= 8); /* one trial, although 0.01 of 13 rounds to none */
    s = split_of("{validation: 0.4, test: 0.4}", 0);
    split_deal(&s, 2, seq_start, 10, NULL, part);
    CHECK((part[0] == SPLIT_TEST && part[1] == SPLIT_TRAIN) || (part[0] == SPLIT_TRAIN && part[1] == SPLIT_TEST)); /* something trains */
    split_deal(&s, 1, seq_start, 10, NULL, part);
    CHECK(part[0] == SPLIT_TRAIN);
}

static void folds_cover(void)
{
    static const char *const how[] = {"random", "last", "interleaved"};
    for (int k = 0; k < 3; k++) {
        enum split_part part[NSEQ];
        int times[NSEQ] = {0}, count[4], tested = 0;
        for (int fold = 0; fold < 7; fold++) {
            char text[80];
            snprintf(text, sizeof text, "{folds: 7, fold: %d, test: 0.1, how: %s}", fold, how[k]);
            split_settings s = split_of(text, 0);
            deal(&s, part, count);
            CHECK(count[SPLIT_VALIDATION] == 13 || count[SPLIT_VALIDATION] == 14);
            tested = count[SPLIT_TEST];
            for (int i = 0; i < NSEQ; i++) {
                times[i] += part[i] == SPLIT_VALIDATION ? 1 : part[i] == SPLIT_TEST ? 100 : 0;
            }
        }
        CHECK(tested == 10);
        for (int i = 0; i < NSEQ; i++) {
            CHECK(times[i] == 1 || times[i] == 700);
        }
    }
}

static void steps_decide(void)
{
    enum split_part part[NSEQ];
    int count[4];
    split_settings s = split_of("{train_steps: [0, 100, 500, 600], validation_steps: [105, 200], test_steps: [900, 1030]}", 0);
    deal(&s, part, count);
    CHECK(count[SPLIT_TRAIN] == 20 && count[SPLIT_VALIDATION] == 9 && count[SPLIT_TEST] == 13 && count[SPLIT_NONE] == 61);
    CHECK(part[9] == SPLIT_TRAIN && part[10] == SPLIT_NONE && part[11] == SPLIT_VALIDATION && part[50] == SPLIT_TRAIN);
    s = split_of("{test_steps: [900, 1030]}", 0);
    deal(&s, part, count);
    CHECK(count[SPLIT_TRAIN] == 90 && count[SPLIT_TEST] == 13);
    split_of("{train_steps: [5]}", 1);
    split_of("{validation: 0.5, test: 0.5}", 1);
    split_of("{folds: 3, fold: 3}", 1);
}

static void orders_are_permutations(void)
{
    int64_t order[50], other[50], sum = 0;
    bool seen[50] = {false};
    split_order(1, 3, 50, true, order);
    split_order(1, 3, 50, true, other);
    CHECK(memcmp(order, other, sizeof order) == 0);
    for (int i = 0; i < 50; i++) {
        CHECK(order[i] >= 0 && order[i] < 50 && !seen[order[i]]);
        seen[order[i]] = true;
        sum += order[i] == i;
    }
    CHECK(sum < 10);
    split_order(1, 4, 50, true, other);
    CHECK(memcmp(order, other, sizeof order) != 0);
    split_order(2, 3, 50, true, other);
    CHECK(memcmp(order, other, sizeof order) != 0);
    split_order(2, 3, 50, false, other);
    CHECK(other[0] == 0 && other[49] == 49);
}

TEST_MAIN("rewind", {"chunks are rewound", chunks_are_rewound}, {"parts are dealt", parts_are_dealt}, {"folds cover", folds_cover},
          {"steps decide", steps_decide}, {"orders are permutations", orders_are_permutations})

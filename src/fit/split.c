/* split.c - dealing sequences to training, validation and test. */
#include "fit/split.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#define PAIRS(name, help)                                                                                                                            \
    {                                                                                                                                                \
#name "_steps", KEY_REALS, "", "", 0, 9e15, NULL, help, offsetof(split_settings, name##_steps), offsetof(split_settings, n##name##_steps),   \
            SPLIT_MAX_STEPS                                                                                                                          \
    }

static const key_spec keys[] = {
    {"validation", KEY_REAL, "", "0.1", 0, 1, NULL, "part of the blocks that validates", offsetof(split_settings, validation), 0, 0},
    {"test", KEY_REAL, "", "0", 0, 1, NULL, "part of the blocks that is kept for the test", offsetof(split_settings, test), 0, 0},
    {"how", KEY_WORD, NULL, "random", 0, 0, "random|last|interleaved",
     "blocks drawn at random, the last ones (validation before test), or evenly spread", offsetof(split_settings, how), 0, 0},
    {"block", KEY_INT, NULL, "1", 1, 1e9, NULL, "sequences that stay together", offsetof(split_settings, block), 0, 0},
    {"by_trial", KEY_FLAG, NULL, "false", 0, 0, NULL, "the sequences of a trial stay together, whatever block says",
     offsetof(split_settings, by_trial), 0, 0},
    {"folds", KEY_INT, NULL, "0", 0, 1000, NULL, "k of k-fold cross-validation, in place of validation; 0: none", offsetof(split_settings, folds), 0,
     0},
    {"fold", KEY_INT, NULL, "0", 0, 999, NULL, "the fold that validates, from 0", offsetof(split_settings, fold), 0, 0},
    PAIRS(train, "[first, end, first, end, ...]: sequences inside these steps train"),
    PAIRS(validation, "sequences inside these steps validate"),
    PAIRS(test, "sequences inside these steps test"),
    {"seed", KEY_INT, NULL, "1", 0, 9007199254740992.0, NULL, "of the random deal", offsetof(split_settings, seed), 0, 0},
};

static const char text[] =
    "The recording is cut into sequences of equal length, sequences are dealt in blocks.  The test is dealt first; what is left is dealt to\n"
    "validation (or to the folds) and training.  The same settings and seed give the same parts.  If any list of steps is given, the lists alone\n"
    "decide: a sequence that lies in none of them is left out, or trains if there is no train_steps.";

const help_topic split_topic = {"split", "section `split` of a fit: what trains, validates and tests", text, keys, sizeof keys / sizeof *keys};

static void check_pairs(input *in, const input_node *section, const char *key, const double *steps, int n)
{
    bool good = n % 2 == 0;
    for (int i = 0; i + 1 < n; i += 2) {
        good = good && steps[i] == floor(steps[i]) && steps[i + 1] == floor(steps[i + 1]) && steps[i] < steps[i + 1];
    }
    if (!good) {
        input_problem(in, input_child(section, key), "split: %s: pairs of whole numbers are wanted, first < end", key);
    }
}

void split_read(input *in, const input_node *section, split_settings *s)
{
    INPUT_FILL(in, section, "split", keys, s);
    check_pairs(in, section, "train_steps", s->train_steps, s->ntrain_steps);
    check_pairs(in, section, "validation_steps", s->validation_steps, s->nvalidation_steps);
    check_pairs(in, section, "test_steps", s->test_steps, s->ntest_steps);
    if (s->validation + s->test >= 1) {
        input_problem(in, section, "split: validation and test take %g of the data; less than 1 together, so that something trains",
                      s->validation + s->test);
    }
    if (s->folds == 1 || (s->folds > 0 && s->fold >= s->folds)) {
        input_problem(in, input_child(section, "fold"), "split: fold %lld of %lld; allowed: 2 folds or more, fold from 0 to folds - 1",
                      (long long)s->fold, (long long)s->folds);
    }
}

static bool covered(const double *pairs, int n, int64_t first, int64_t end)
{
    for (int i = 0; i + 1 < n; i += 2) {
        if ((double)first >= pairs[i] && (double)end <= pairs[i + 1]) {
            return true;
        }
    }
    return false;
}

static enum split_part part_of_steps(const split_settings *s, int64_t first, int64_t end)
{
    if (covered(s->test_steps, s->ntest_steps, first, end)) {
        return SPLIT_TEST;
    }
    if (covered(s->validation_steps, s->nvalidation_steps, first, end)) {
        return SPLIT_VALIDATION;
    }
    return s->ntrain_steps == 0 || covered(s->train_steps, s->ntrain_steps, first, end) ? SPLIT_TRAIN : SPLIT_NONE;
}

/* Fisher and Yates; number i is drawn from (seed, use, i, when). */
static void shuffle(uint64_t seed, enum random_use use, uint64_t when, int64_t n, int64_t *order)
{
    for (int64_t i = n - 1; i > 0; i--) {
        random_block b = random_bits(seed, use, (uint64_t)i, when, 0);
        uint64_t bits = ((uint64_t)b.v[0] << 32) | b.v[1];
        int64_t j = (int64_t)(bits % (uint64_t)(i + 1)), kept = order[i]; /* n is far below 2^64: no number is favoured by more than n / 2^64 */
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Takes `wanted` of the nleft blocks in order[], evenly spread or from the end, and closes the gaps. */
static int64_t take(int64_t *order, int64_t nleft, int64_t wanted, bool evenly, enum split_part what, enum split_part *block_part)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < nleft; i++) {
        bool mine = evenly ? (i + 1) * wanted / nleft > i * wanted / nleft : i >= nleft - wanted;
        if (mine) {
            block_part[order[i]] = what;
        } else {
            order[kept++] = order[i];
        }
    }
    return kept;
}

/* At least one block of a part that was asked for, as long as one of the nleft stays for training. */
static int64_t share(double fraction, int64_t nblock, int64_t nleft)
{
    int64_t n = (int64_t)llround(fraction * (double)nblock);
    n = fraction > 0 && n == 0 ? 1 : n;
    return n < nleft ? n : nleft - 1;
}

static void deal_blocks(const split_settings *s, int64_t nblock, enum split_part *block_part)
{
    int64_t *order = MEMORY_NEW(int64_t, nblock);
    for (int64_t b = 0; b < nblock; b++) {
        order[b] = b;
        block_part[b] = SPLIT_TRAIN;
    }
    if (s->how == SPLIT_RANDOM) {
        shuffle((uint64_t)s->seed, RANDOM_SPLIT, 0, nblock, order);
    }
    bool evenly = s->how == SPLIT_INTERLEAVED;
    int64_t nleft = take(order, nblock, share(s->test, nblock, nblock), evenly, SPLIT_TEST, block_part);
    if (s->folds > 0) {
        for (int64_t i = 0; i < nleft; i++) {
            int64_t fold = s->how == SPLIT_LAST ? i * s->folds / nleft : i % s->folds;
            block_part[order[i]] = fold == s->fold ? SPLIT_VALIDATION : SPLIT_TRAIN;
        }
    } else {
        take(order, nleft, share(s->validation, nblock, nleft), evenly, SPLIT_VALIDATION, block_part);
    }
    memory_free(order);
}

void split_deal(const split_settings *s, int64_t nsequence, const int64_t *start, int64_t length, const int64_t *trial, enum split_part *part)
{
    if (s->ntrain_steps + s->nvalidation_steps + s->ntest_steps > 0) {
        for (int64_t i = 0; i < nsequence; i++) {
            part[i] = part_of_steps(s, start[i], start[i] + length);
        }
        return;
    }
    int64_t *block = MEMORY_NEW(int64_t, nsequence), nblock = 0;
    for (int64_t i = 0; i < nsequence; i++) {
        bool first = s->by_trial ? i == 0 || (trial && trial[i] != trial[i - 1]) : i % s->block == 0;
        nblock += first;
        block[i] = nblock - 1;
    }
    enum split_part *block_part = MEMORY_NEW(enum split_part, nblock);
    deal_blocks(s, nblock, block_part);
    for (int64_t i = 0; i < nsequence; i++) {
        part[i] = block_part[block[i]];
    }
    memory_free(block_part);
    memory_free(block);
}

void split_order(uint64_t seed, int64_t epoch, int64_t n, bool shuffled, int64_t *order)
{
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
    }
    if (shuffled) {
        shuffle(seed, RANDOM_ORDER, (uint64_t)epoch, n, order);
    }
}

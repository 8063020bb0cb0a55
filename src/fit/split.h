/* split.h - which sequences train, validate and test: a pure function of settings and seed.
 * The recording is cut in sequences of equal length; sequences are grouped in blocks of `block` consecutive ones, or by trial; blocks are dealt to
 * train, validation and test by fractions, by lists of steps, or as one fold of k. */
#ifndef SPLIT_H
#define SPLIT_H
#include "input/input.h"

enum split_part { SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST, SPLIT_NONE };
enum split_how { SPLIT_RANDOM, SPLIT_LAST, SPLIT_INTERLEAVED };
enum { SPLIT_MAX_STEPS = 16 };
typedef struct split_settings {
    double validation, test; /* fractions of the blocks; 0: none */
    int64_t block;           /* sequences that stay together */
    bool by_trial;           /* the sequences of a trial stay together instead */
    int64_t folds, fold;     /* k-fold: fold number `fold` validates; folds 0: no */
    int how;                 /* enum split_how */
    /* pairs [first, end) of steps, instead of all that */
    double train_steps[SPLIT_MAX_STEPS], validation_steps[SPLIT_MAX_STEPS], test_steps[SPLIT_MAX_STEPS];
    int ntrain_steps, nvalidation_steps, ntest_steps;
    int64_t seed;
} split_settings;
extern const help_topic split_topic; /* "split" */
void split_read(input *in, const input_node *section, split_settings *s);
/* part[nsequence]; sequence i covers steps [start[i], start[i] + length) of trial trial[i] (NULL: one trial; those of a trial follow each other).
 * With lists of steps a sequence belongs to the part one of whose pairs covers it whole, and to none otherwise; without train_steps the rest
 * trains. */
void split_deal(const split_settings *s, int64_t nsequence, const int64_t *start, int64_t length, const int64_t *trial, enum split_part *part);
/* The batches of an epoch: order[n] is a permutation of 0..n-1 that depends on seed and epoch only (shuffle false: as they stand). */
void split_order(uint64_t seed, int64_t epoch, int64_t n, bool shuffle, int64_t *order);
#endif

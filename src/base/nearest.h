/* nearest.h - "did you mean": the nearest of the words that are known. */
#ifndef NEAREST_H
#define NEAREST_H

/* The name within few mistakes of word (a third of its letters, at most 3; letters of either case are equal), or NULL.  names[n]. */
const char *nearest_word(const char *word, const char *const names[], int n);
#endif

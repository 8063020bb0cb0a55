/* nearest.c - what a mistyped word was meant to be. */
#include "base/nearest.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

/* Edit distance with swaps of neighbours (optimal string alignment: Damerau, Commun. ACM 7:171, 1964), letters of either case equal. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    int na = (int)strlen(a), nb = (int)strlen(b), d[MAX + 1][MAX + 1];
    if (na > MAX || nb > MAX) {
        return INT_MAX;
    }
    for (int i = 0; i <= na; i++) {
        for (int j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int best = d[i - 1][j - 1] + (strncasecmp(a + i - 1, b + j - 1, 1) != 0);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = d[i - 2][j - 2] + 1 < best ? d[i - 2][j - 2] + 1 : best;
            }
            d[i][j] = best;
        }
    }
    return d[na][nb];
}

const char *nearest_word(const char *word, const char *const names[], int n)
{
    const char *nearest = NULL;
    int least = (int)strlen(word) / 3 + 1;
    least = least > 3 ? 3 : least;
    for (int i = 0; i < n; i++) {
        int d = distance(word, names[i]);
        if (d <= least && d < (int)strlen(names[i]) && (!nearest || d < least)) {
            least = d;
            nearest = names[i];
        }
    }
    return nearest;
}

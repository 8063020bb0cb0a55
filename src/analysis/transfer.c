/* transfer.c - see transfer.h. */
#include "analysis/transfer.h"

#include <math.h>
#include <stdio.h>

#include "analysis/scores.h"
#include "base/log.h"

enum { MOST_PRINTED = 12 };

void transfer_matrix(int nmodel, int ncell, int64_t n, const double *prediction, const double *response, double *score, double *alike)
{
    for (int b = 0; b < ncell; b++) {
        for (int a = 0; a < nmodel; a++) {
            score[a * ncell + b] = scores_cc(n, prediction + a * n, response + b * n);
        }
        for (int a = 0; a < ncell; a++) {
            alike[a * ncell + b] = scores_cc(n, response + a * n, response + b * n);
        }
    }
}

static int write_row(char *text, int room, int ncell, const double *value)
{
    int used = 0;
    for (int b = 0; b < ncell && used < room; b++) {
        used += snprintf(text + used, (size_t)(room - used), isnan(value[b]) ? "      -" : " %6.3f", value[b]);
    }
    return used;
}

void transfer_print(int nmodel, int ncell, const double *score, const double *alike, const char *const *names)
{
    int shown = ncell < MOST_PRINTED ? ncell : MOST_PRINTED;
    log_say(LOG_RESULT, "transfer: rows are models, columns the responses they are scored on%*s| correlation of the responses themselves",
            7 * shown > 53 ? 7 * shown - 53 : 1, "");
    for (int a = 0; a < nmodel && a < MOST_PRINTED; a++) {
        char line[512], number[16];
        snprintf(number, sizeof number, "%d", a);
        int used = snprintf(line, sizeof line, "  %-10.10s", names ? names[a] : number);
        used += write_row(line + used, (int)sizeof line - used, shown, score + a * ncell);
        used += snprintf(line + used, sizeof line - (size_t)used, "   |");
        if (a < ncell) {
            write_row(line + used, (int)sizeof line - used, shown, alike + a * ncell);
        }
        log_say(LOG_RESULT, "%s", line);
    }
    if (ncell > MOST_PRINTED || nmodel > MOST_PRINTED) {
        log_say(LOG_RESULT, "  ... of %d models and %d cells; all are in the result", nmodel, ncell);
    }
}

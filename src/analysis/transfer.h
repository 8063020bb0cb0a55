/* transfer.h - how well the model of one cell (or of one stimulus) predicts another, beside how alike their responses are: cell specificity cannot
 * be told from overlap of receptive fields without the second. */
#ifndef TRANSFER_H
#define TRANSFER_H
#include "base/base.h"

/* prediction[nmodel][n], response[ncell][n] -> score[nmodel][ncell], correlations; alike[ncell][ncell], of responses.  NAN where nothing varies. */
void transfer_matrix(int nmodel, int ncell, int64_t n, const double *prediction, const double *response, double *score, double *alike);
/* One table beside the other, on the log.  names[ncell] may be NULL: numbers. */
void transfer_print(int nmodel, int ncell, const double *score, const double *alike, const char *const *names);
#endif

/* fit.h - the run mode `chiasm fit`: the section `fit` of an input.
 *
 * Parameters (or the stimulus itself) are changed until outputs of the model match responses.  A recording is cut in sequences; the sequences of a
 * batch are computed at once, as leaves of the grid (and so are many networks, each with parameters and responses of its own).  Gradients are
 * summed in one fixed tree, so that every rank takes the same step and nothing depends on the number of ranks. */
#ifndef FIT_H
#define FIT_H
#include "compute/backend.h"
#include "run/run.h"

typedef struct fit fit; /* opaque */

/* Reads the section and creates the model; problems go on the input's list.  Never NULL. */
fit *fit_plan(run_parts *p, const input_node *section);
void fit_destroy(fit *f);
model *fit_model(const fit *f); /* NULL: there are problems */
size_t fit_bytes(const fit *f);        /* host memory of this rank beside the model's */
size_t fit_bytes_device(const fit *f); /* of them those that a GPU holds */
void fit_print_plan(const fit *f);

/* Collective; the same answer on every rank: EXIT_DONE, EXIT_STOPPED, EXIT_DIVERGED, EXIT_NO_OUTPUT or EXIT_BAD_INPUT.  Writes p->result. */
enum exit_code fit_run(fit *f, backend *be);
/* Collective.  Taylor test of every fitted parameter on the first batch; EXIT_INTERNAL when a derivative is wrong. */
enum exit_code fit_check(fit *f, backend *be);

/* "fit", "sequences", ..., with those of fit/ and of responses. */
int fit_topic_count(void);
help_topic fit_topic_at(int i);
#endif

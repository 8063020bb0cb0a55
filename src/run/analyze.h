/* analyze.h - the run mode `chiasm analyze`: the section `analyze` of an input. */
#ifndef ANALYZE_H
#define ANALYZE_H
#include "compute/backend.h"
#include "run/run.h"

typedef struct analysis analysis; /* opaque */

/* Reads the section (NULL: not given); problems go on the input's list.  Never NULL.  The section `model` is not asked for: an analysis that runs a
 * model creates it itself (model_create(&p->setup)).  p->stim: NULL when the input has no stimulus. */
analysis *analyze_plan(const run_parts *p, const input_node *section);
size_t analyze_bytes(const analysis *a); /* host memory of this rank that analyze_run will allocate */
void analyze_print_plan(const analysis *a); /* LOG_RESULT lines */
/* Collective; writes p->result (provenance.h).  The same answer on every rank. */
enum exit_code analyze_run(analysis *a, backend *be);
void analyze_destroy(analysis *a);

extern const help_topic analyze_topics[]; /* "analyze" and what belongs to it */
extern const int analyze_ntopic;
#endif

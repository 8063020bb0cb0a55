/* report.h - what the log says at the start and at the end of a run. */
#ifndef REPORT_H
#define REPORT_H
#include "base/base.h"

/* Collective.  Version, build, command, place, ranks and nodes, device and threads. */
void report_header(const char *command, const char *device, int nthread);

/* Collective.  Wall time by phase: least, mean and most of all ranks, and share; then memory of the fullest rank against its plan.
 * first_s: log_clock() when the program started; planned_bytes: of this rank. */
void report_end(double first_s, size_t planned_bytes);

/* "12.3 MB" */
const char *report_bytes(double bytes, char text[32]);
/* Local time as ISO 8601 with its offset from UTC. */
void report_time(char text[40]);
#endif

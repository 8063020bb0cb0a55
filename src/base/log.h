/* log.h - what the program says.  Rank 0 speaks; other ranks only to die (error.h). */
#ifndef LOG_H
#define LOG_H
#include "base/base.h"

enum log_level { LOG_QUIET = 0, LOG_RESULT, LOG_PROGRESS, LOG_DETAIL };

void log_start(int rank, enum log_level level);
void log_say(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* one line on stdout, rank 0 */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));                      /* "chiasm: warning: ..." on stderr, rank 0 */
/* Progress of long work: on a terminal one line that is rewritten (at most 5 a second), else one line a minute. */
void log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_progress_end(void);

double log_clock(void); /* monotonic wall-clock seconds */

/* Wall time by phase, for the table at the end.  Phases do not nest: each ends the one before. */
enum log_phase { PHASE_INIT, PHASE_STIMULUS, PHASE_COMPUTE, PHASE_BORDERS, PHASE_RECORD, PHASE_OUTPUT, PHASE_RESTART, PHASE_OTHER, PHASE_COUNT };
extern const char *const log_phase_name[PHASE_COUNT];
void log_phase(enum log_phase next);       /* the work that follows belongs to this phase */
enum log_phase log_phase_now(void);        /* so that a service can put the caller's phase back */
double log_phase_seconds(enum log_phase p);
#endif

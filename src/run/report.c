/* report.c - log header and phase table. */
#include "run/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/version.h"
#include "cluster/comm.h"

const char *report_bytes(double bytes, char text[32])
{
    const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int i = 0;
    while (bytes >= 999.5 && i < 5) {
        bytes /= 1000;
        i++;
    }
    snprintf(text, 32, "%.3g %s", bytes, unit[i]);
    return text;
}

void report_time(char text[40])
{
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    strftime(text, 40, "%Y-%m-%dT%H:%M:%S%z", &local);
}

void report_header(const char *command, const char *device, int nthread)
{
    char folder[1024], now[40];
    int64_t nnode = comm_sum_int(comm_node_rank() == 0);
    if (!getcwd(folder, sizeof folder)) {
        snprintf(folder, sizeof folder, "?");
    }
    report_time(now);
    log_say(LOG_PROGRESS, "chiasm %s (%s, %s)  %s", version_number, version_commit, REAL_NAME, now);
    log_say(LOG_DETAIL, "build    %s", version_build);
    log_say(LOG_PROGRESS, "command  %s", command);
    log_say(LOG_PROGRESS, "folder   %s", folder);
    log_say(LOG_PROGRESS, "ranks    %d on %lld node%s, %d thread%s each; device %s; rank 0 on %s", comm_size(), (long long)nnode,
            nnode > 1 ? "s" : "", nthread, nthread > 1 ? "s" : "", device, comm_host());
    log_say(LOG_DETAIL, "mpi      %s", comm_library());
    const char *job = getenv("SLURM_JOB_ID"), *count = getenv("SLURM_RESTART_COUNT");
    if (job) {
        log_say(LOG_PROGRESS, "slurm    job %s%s%s", job, count ? ", restart " : "", count ? count : "");
    }
}

/* all[rank][n]: least, mean and most of column i. */
static void spread(const double *all, int n, int i, double *least, double *mean, double *most)
{
    *least = *most = all[i];
    *mean = 0;
    for (int r = 0; r < comm_size(); r++) {
        double x = all[(int64_t)r * n + i];
        *least = x < *least ? x : *least;
        *most = x > *most ? x : *most;
        *mean += x / comm_size();
    }
}

void report_end(double first_s, size_t planned_bytes)
{
    enum { RSS = PHASE_COUNT, PLANNED, N };
    double mine[N], least, mean, most, rss, planned, wall_s = log_clock() - first_s;
    log_phase(log_phase_now()); /* counts what runs now */
    for (int p = 0; p < PHASE_COUNT; p++) {
        mine[p] = log_phase_seconds((enum log_phase)p);
    }
    mine[RSS] = (double)memory_rss_peak();
    mine[PLANNED] = (double)planned_bytes;
    double *all = MEMORY_NEW(double, N *comm_size());
    comm_gather_double(mine, N, all);
    log_say(LOG_PROGRESS, "%-10s %10s %10s %10s %7s", "phase", "min s", "mean s", "max s", "%");
    for (int p = 0; p < PHASE_COUNT; p++) {
        spread(all, N, p, &least, &mean, &most);
        if (most > 0) {
            log_say(LOG_PROGRESS, "%-10s %10.3f %10.3f %10.3f %7.1f", log_phase_name[p], least, mean, most, 100 * mean / wall_s);
        }
    }
    log_say(LOG_PROGRESS, "%-10s %10s %10s %10.3f", "all", "", "", wall_s);
    spread(all, N, RSS, &least, &mean, &rss);
    spread(all, N, PLANNED, &least, &mean, &planned);
    char text[2][32];
    log_say(LOG_PROGRESS, "memory of the fullest rank %s (planned %s)", report_bytes(rss, text[0]), report_bytes(planned, text[1]));
    memory_free(all);
}

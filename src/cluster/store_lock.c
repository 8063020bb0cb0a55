/* store_lock.c - one run at a time writes a result.  Parallel HDF5 takes no lock of its own, so path.lock holds "host pid job restart". */
#include "cluster/store_own.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

typedef struct lock_holder {
    char host[256], job[64]; /* job "-": not under Slurm */
    long pid, restart;
} lock_holder;

static lock_holder myself(void)
{
    const char *job = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");
    lock_holder h = {.pid = (long)getpid(), .restart = restart ? atol(restart) : 0};
    snprintf(h.job, sizeof h.job, "%s", job && *job ? job : "-");
    if (gethostname(h.host, sizeof h.host - 1) != 0 || !h.host[0]) {
        snprintf(h.host, sizeof h.host, "unknown");
    }
    return h;
}

static _Noreturn void refuse(const store *s, const char *why)
{
    error_fatal(EXIT_NO_OUTPUT, "result '%s' cannot be created: lock '%s': %s; choose a folder that exists and may be written", s->path,
                s->lock, why);
}

static void write_holder(const store *s, int fd)
{
    lock_holder me = myself();
    char text[512];
    int n = snprintf(text, sizeof text, "%s %ld %s %ld\n", me.host, me.pid, me.job, me.restart);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n || fsync(fd) != 0) {
        int failed = errno;
        unlink(s->lock);
        refuse(s, failed == ENOSPC ? "disk full" : strerror(failed));
    }
}

/* A dead process that nobody has waited for yet still answers kill(). */
static bool is_running(long pid)
{
    char path[64], state = '?';
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1) {
            state = '?';
        }
        fclose(f);
    }
    return state != 'Z' && state != 'X';
}

/* Launchers return before the last rank of a killed run is gone: it gets some seconds. */
static bool is_gone_soon(long pid)
{
    const struct timespec wait = {0, 100000000};
    for (int i = 0; i < 50 && is_running(pid); i++) {
        nanosleep(&wait, NULL);
    }
    return !is_running(pid);
}

/* A process of this host that is gone, or an earlier start of this very Slurm job (requeued, perhaps on another node). */
static bool is_stale(const lock_holder *h)
{
    lock_holder me = myself();
    if (strcmp(h->host, me.host) == 0) {
        return is_gone_soon(h->pid);
    }
    return strcmp(me.job, "-") != 0 && strcmp(h->job, me.job) == 0 && h->restart < me.restart;
}

/* flock makes the change of holder atomic: of two runs that find the same stale lock, the second reads the first one's name. */
static void take_over(store *s, int fd)
{
    char text[512] = {0};
    lock_holder h = {.pid = 0};
    if (flock(fd, LOCK_EX) != 0 && errno != ENOSYS && errno != EOPNOTSUPP && errno != ENOLCK) {
        refuse(s, strerror(errno));
    }
    bool readable = pread(fd, text, sizeof text - 1, 0) > 0 && sscanf(text, "%255s %ld %63s %ld", h.host, &h.pid, h.job, &h.restart) == 4;
    if (!readable || !is_stale(&h)) {
        error_fatal(EXIT_NO_OUTPUT,
                    "result '%s' is being written by another run (host %s, process %ld, job %s); wait for it, choose another --out, or remove '%s' "
                    "if that run is dead",
                    s->path, readable ? h.host : "unknown", h.pid, readable ? h.job : "-", s->lock);
    }
    write_holder(s, fd);
}

void store_lock_take(store *s)
{
    int fd = open(s->lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) {
        write_holder(s, fd);
    } else if (errno == EEXIST && (fd = open(s->lock, O_RDWR | O_CLOEXEC)) >= 0) {
        take_over(s, fd);
    } else {
        refuse(s, errno == ENOSPC ? "disk full" : strerror(errno));
    }
    close(fd);
    s->locked = true;
}

void store_lock_release(store *s)
{
    if (s->locked && unlink(s->lock) != 0 && errno != ENOENT) {
        error_fatal(EXIT_IO, "lock '%s' cannot be removed: %s; remove it by hand", s->lock, strerror(errno));
    }
    s->locked = false;
}

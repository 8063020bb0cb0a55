/* provenance.c - where a result comes from. */
#include "run/provenance.h"

#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "base/version.h"
#include "cluster/comm.h"

static void now_text(char text[32])
{
    time_t t = time(NULL);
    struct tm utc;
    strftime(text, 32, "%Y-%m-%dT%H:%M:%S+00:00", gmtime_r(&t, &utc));
}

void provenance_define(store *s, input *in, const provenance_facts *f)
{
    char start[32];
    now_text(start);
    const struct {
        const char *name, *text;
    } part[] = {{"input", f->input_effective ? f->input_effective : input_effective(in)},
                {"original", f->input_original ? f->input_original : input_original(in)},
                {"input_path", f->input_path ? f->input_path : input_path(in)},
                {"command", f->command},
                {"stimulus", f->stimulus},
                {"device", f->device},
                {"host", comm_host()},
                {"mpi", comm_library()},
                {"version", version_number},
                {"commit", version_commit},
                {"build", version_build},
                {"precision", REAL_NAME},
                {"slurm_job_id", getenv("SLURM_JOB_ID")},
                {"slurm_array_task_id", getenv("SLURM_ARRAY_TASK_ID")},
                {"start", start}};
    store_define_group(s, "/provenance");
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (part[i].text) {
            char *name = memory_text("/provenance/%s", part[i].name);
            store_define_text(s, name, part[i].text);
            memory_free(name);
        }
    }
    int64_t seed = (int64_t)f->seed, ranks = comm_size(), nstep = f->nstep;
    store_attr_integers(s, "/provenance", "seed", STORE_U64, 0, &seed);
    store_attr_integers(s, "/provenance", "ranks", STORE_I64, 0, &ranks);
    store_attr_integers(s, "/provenance", "nstep", STORE_I64, 0, &nstep);
    store_attr_number(s, "/provenance", "step_s", f->step_s);
}

void provenance_end(store *s, double wall_s)
{
    char end[32];
    now_text(end);
    comm_broadcast(end, sizeof end, 0);
    comm_broadcast(&wall_s, sizeof wall_s, 0);
    store_attr_text(s, "/provenance", "end", end);
    store_attr_number(s, "/provenance", "wall_s", wall_s);
}

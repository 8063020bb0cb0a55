/* main.c - see run/job.c. */
#include "cluster/comm.h"
#include "run/job.h"

int main(int argc, char **argv)
{
    options o = options_read(argc, argv);
    int code;
    if (job_is_talk(&o)) {
        code = job_talk(&o);
    } else {
        comm_start(&argc, &argv);
        code = job_run(&o, argc, argv);
        comm_finish();
    }
    options_free(&o);
    return code;
}

/* options.h - the command line. */
#ifndef OPTIONS_H
#define OPTIONS_H
#include "base/base.h"
#include "base/log.h"

enum command { COMMAND_HELP, COMMAND_VERSION, COMMAND_VALIDATE, COMMAND_SIMULATE, COMMAND_FIT, COMMAND_ANALYZE };

typedef struct options {
    enum command command;
    const char *topic; /* what --help is about: the command, or the TOPIC of `chiasm help`; NULL: everything */
    const char *file;  /* input file: all but help and version */
    const char **set;  /* [nset] overrides "a.b=c" */
    int nset;
    const char *out;    /* NULL: results/<name of the input>.h5 */
    const char *device; /* "cpu" | "cuda" | "auto" */
    bool overwrite, plan, resume, dump_input;
    bool check; /* of fit */
    int ranks;              /* of --plan; 0: as started */
    double restart_every_s; /* 0: only when stopped */
    double max_walltime_s;  /* 0: none */
    enum log_level level;
    char problem[256]; /* "": none, else one line saying what is wrong */
} options;

/* Reads a command line; the texts of argv are kept by reference.  --flag VALUE and --flag=VALUE are the same, flags and the file
 * may stand in any order, "--" ends the flags.  Never fails: see problem. */
options options_read(int argc, char *const argv[]);
void options_free(options *o);

/* How the program is called, on stdout: every command, or the flags of one. */
void options_help(void);
bool options_help_command(const char *name); /* false: no such command */
#endif

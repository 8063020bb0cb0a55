/* stopping.c - the `stopping` section. */
#include "fit/stopping.h"

static const key_spec keys[] = {
    {"patience", KEY_INT, NULL, "0", 0, 1e9, NULL,
     "evaluations without a better validation score before the fit ends; 0: it goes on to its last step", offsetof(stopping_settings, patience), 0,
     0},
    {"least", KEY_REAL, "", "0", 0, 1e300, NULL, "by how much a score must beat the best one to count as better", offsetof(stopping_settings, least),
     0, 0},
    {"first", KEY_INT, NULL, "0", 0, 1e9, NULL, "evaluations before this one are not looked at (0: none)", offsetof(stopping_settings, first), 0, 0},
};

static const char text[] =
    "The model with the best validation score is kept, and is the result of the fit.  Yan et al. 2022: {least: 0.01, first: 25} with an\n"
    "evaluation every 20 steps (they scored on test data; here it is the validation part).";

const help_topic stopping_topic = {"stopping", "section `stopping` of a fit: when it ends, which model is kept", text, keys,
                                   sizeof keys / sizeof *keys};

void stopping_read(input *in, const input_node *section, stopping_settings *s)
{
    INPUT_FILL(in, section, "stopping", keys, s);
}

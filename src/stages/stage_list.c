/* stage_list.c - the one table of all stage types. */
#include <string.h>

#include "stages/stage.h"

#define STAGES(X)                                                                                                                                    \
    X(gain) X(sum) X(rectify) X(nonlinearity) X(naka_rushton) X(normalise) X(pool) X(delay) X(noise)                                                 \
    X(blur) X(lowpass) X(highpass) X(leaky_heat) X(gain_control) X(conv) X(cells) X(lif) X(pixel_lif)                                                \
    X(dense) X(lif_euler) X(izhikevich) X(fitzhugh_nagumo) X(hodgkin_huxley) X(event_sensor) X(poisson)                                              \
    X(photoreceptor) X(kinetics) X(history) X(glm) X(batch_norm) X(pool_space)

#define DECLARE(name) extern const stage_type stage_##name;
#define ENTRY(name) &stage_##name,
STAGES(DECLARE)
const stage_type *const stage_list[] = {STAGES(ENTRY)};
const int stage_count = sizeof stage_list / sizeof *stage_list;

const stage_type *stage_find(const char *name)
{
    for (int i = 0; i < stage_count; i++) {
        if (strcmp(stage_list[i]->name, name) == 0) {
            return stage_list[i];
        }
    }
    return NULL;
}

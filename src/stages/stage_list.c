/* stage_list.c - the one table of all stage types. */
#include <string.h>

#include "stages/stage.h"

extern const stage_type stage_gain, stage_sum, stage_rectify, stage_nonlinearity, stage_naka_rushton,
    stage_normalise, stage_pool, stage_delay, stage_noise, stage_blur, stage_lowpass, stage_highpass, stage_leaky_heat, stage_gain_control,
    stage_conv, stage_cells, stage_lif, stage_pixel_lif;

extern const stage_type stage_dense, stage_lif_euler, stage_izhikevich, stage_fitzhugh_nagumo, stage_hodgkin_huxley, stage_event_sensor, stage_poisson,
    stage_photoreceptor, stage_kinetics, stage_history, stage_glm, stage_batch_norm, stage_pool_space;

const stage_type *const stage_list[] = {&stage_gain,       &stage_sum,          &stage_rectify, &stage_nonlinearity, &stage_naka_rushton,
                                        &stage_normalise,  &stage_pool,         &stage_delay,        &stage_noise, &stage_blur,  &stage_lowpass, &stage_highpass,
                                        &stage_leaky_heat, &stage_gain_control, &stage_conv,    &stage_cells, &stage_lif,     &stage_pixel_lif,
    &stage_dense,           &stage_lif_euler,      &stage_izhikevich, &stage_fitzhugh_nagumo, &stage_hodgkin_huxley,
    &stage_event_sensor,    &stage_poisson,        &stage_photoreceptor, &stage_kinetics,     &stage_history,       &stage_glm,
    &stage_batch_norm, &stage_pool_space};
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

/* retina_xml.h - VirtualRetina's description of a retina (its XML, version 2.2) as a plain struct.  Knows nothing of stages.
 *
 * Elements that are absent are absent parts.  Whatever the struct has no place for is a problem by name, with file and line. */
#ifndef RETINA_XML_H
#define RETINA_XML_H
#include "input/input.h"

enum { RETINA_MAX_LAYER = 16 };

/* <basic-microsaccade-generator>.  As in VirtualRetina, step and pixels per degree are the retina's, whatever the element says. */
typedef struct retina_saccades {
    bool given;
    double period_s, period_sd_s, amplitude_deg, amplitude_sd_deg, duration_s, duration_sd_s;
    double direction_noise_pi; /* direction is towards the point of fixation +- this * pi */
} retina_saccades;

enum retina_mosaic { RETINA_NO_CELLS, RETINA_SQUARE, RETINA_CIRCULAR, RETINA_HEXAGONAL };

/* <spiking-channel> or <spiking-channel-adap> with its array. */
typedef struct retina_cells {
    int mosaic;                    /* enum retina_mosaic; HEXAGONAL is not in the XML, presets use it */
    double size_x_deg, size_y_deg; /* square, hexagonal; 0: what the field leaves                     */
    double diameter_deg;           /* circular; 0: what the field leaves                              */
    double density_per_deg;        /* cells per degree along a line, in the fovea                     */
    double jitter;                 /* largest displacement in units of the distance between cells     */
    double leak_hz, noise_v, refractory_s, refractory_sd_s;
    bool random_start;
    bool adapts;
    double adaptation_delta_hz, adaptation_tau_s, adaptation_reversal;
} retina_cells;

/* <ganglion-layer> */
typedef struct retina_ganglion {
    double sign; /* < 0: Off */
    double transient_tau_s, transient_weight, threshold, value_hz, slope_hz, pool_sigma_deg;
    retina_cells cells;
    const char *label; /* of presets; NULL: by sign and number */
} retina_ganglion;

typedef struct retina_xml {
    double step_s, luminosity_range, pixels_per_deg;
    retina_saccades saccades;
    bool log_polar;
    double fovea_radius_deg, scaling_per_deg;
    /* <linear-version> */
    double center_sigma_deg, surround_sigma_deg, center_tau_s, surround_tau_s, opl_gain, surround_weight;
    int center_order;
    bool leaky_heat, undershoot, gain_control;
    double undershoot_weight, undershoot_tau_s;
    /* <contrast-gain-control> */
    double bipolar_gain_hz, leak_hz, adaptation_sigma_deg, adaptation_tau_s, feedback_hz;
    int nlayer, units_line; /* units_line: of the first <all-units> with positions, which nobody uses; 0: none */
    retina_ganglion layer[RETINA_MAX_LAYER];
} retina_xml;

/* Reads the file.  Problems go on the input's list; true if there were none.  `out` is always filled with something valid. */
bool retina_xml_read(input *in, const char *path, retina_xml *out);
#endif

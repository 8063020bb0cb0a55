/* preset.h - known retinas as lists of stages: VirtualRetina's XML, its published parameter sets, Convis' chain.
 * A preset only writes text in the vocabulary a user writes, so whatever it says can be read, printed and overridden. */
#ifndef PRESET_H
#define PRESET_H
#include "input/input.h"
#include "input/retina_xml.h"

enum preset_kind {
    PRESET_NONE,
    PRESET_VIRTUALRETINA,
    PRESET_CAT_X,
    PRESET_CAT_Y,
    PRESET_PRIMATE_PARASOL,
    PRESET_PRIMATE_MIDGET,
    PRESET_HUMAN,
    PRESET_CONVIS
};

/* The keys of the `model` section that concern presets ... */
typedef struct preset_settings {
    int preset;               /* enum preset_kind                                                  */
    const char *file;         /* virtualretina: the XML; else NULL                                 */
    int latency;              /* 0: virtualretina, one step a stage; 1: none                       */
    int blur;                 /* 0: gaussian, 1: deriche                                           */
    int scheme;               /* 0: the preset's, 1: uniform, 2: log-polar                         */
    int mosaic;               /* 0: the preset's, else enum retina_mosaic                          */
    double density_per_deg;   /* 0: the preset's                                                   */
    double size_deg[2];       /* of the arrays (one number: square, or diameter)                   */
    int nsize;                /* 0: the preset's                                                   */
    const input_node *convis; /* settings of the chain, see preset_convis_topic                        */
    /* ... and what the caller adds */
    int field_ny, field_nx; /* pixels of the stimulus; arrays without a size fill what it leaves */
    double pixels_per_deg;  /* of the run                                                        */
} preset_settings;
extern const key_spec preset_keys[];
extern const int preset_nkey;

/* The list of stages as YAML text, for input_graft(in, "model.stages", text, origin); memory_free it.  NULL with problems on the input's list,
 * or when no preset is asked for. */
char *preset_stages(input *in, const preset_settings *s);

/* What a preset says of the run around it. */
typedef struct preset_geometry {
    double step_s, pixels_per_deg, luminosity_range;
    double fovea_radius_deg, scaling_per_deg; /* log-polar scheme; scaling 0: uniform                                                */
    int border_px;                            /* VirtualRetina's border of confidence; 0 for presets without a file                    */
    int map_ny, map_nx, crop_y, crop_x;       /* the part of the field that VirtualRetina computes, first pixel and size               */
    retina_saccades saccades;                 /* belong to the stimulus                                                                */
} preset_geometry;

/* For a field of field_ny x field_nx pixels at the preset's own pixels per degree.  Says nothing of problems (preset_stages does): false. */
bool preset_geometry_of(const preset_settings *s, preset_geometry *out);

extern const help_topic preset_topic, preset_convis_topic; /* "presets", "convis" */
#endif

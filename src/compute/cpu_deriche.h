/* cpu_deriche.h - VirtualRetina's recursive smoothing of a whole field, bit-faithful to its quirks (parity; `blur: gaussian` has none of them). */
#ifndef CPU_DERICHE_H
#define CPU_DERICHE_H
#include "compute/blur.h"
#include "compute/cpu.h"

typedef struct deriche_plan_field deriche_plan_field;
struct blur_back_io;
deriche_plan_field *deriche_field_create(const blur_desc *d); /* deriche_field_set comes next */
void deriche_field_set(deriche_plan_field *p, double sigma_px);
void deriche_field_destroy(deriche_plan_field *p);      /* NULL is allowed */
void deriche_field_blur(const deriche_plan_field *p, real *scratch, const blur_io *io); /* scratch: blur_info.scratch reals */
void deriche_field_back(const deriche_plan_field *p, real *scratch, const struct blur_back_io *io); /* adjoint */
void deriche_field_slope(const deriche_plan_field *p, real *scratch, const blur_io *io);            /* derivative by sigma_px */
#endif

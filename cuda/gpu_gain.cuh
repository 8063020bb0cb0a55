/* gpu_gain.cuh - gain control, forward (gpu_gain.cu) and adjoint (gpu_gain_back.cu): what both build for their blur. */
#ifndef GPU_GAIN_CUH
#define GPU_GAIN_CUH
#include "gpu_blur_pass.cuh"

gpu_view gpu_gain_planes(backend *be, view like, const dreal *at, int64_t leaf_stride); /* planes of the padded tile: adaptation */
blur_source gpu_gain_source(backend *be, const blur_plan *plan, const gain_par *par, view v_before); /* what is pooled of V */
#endif

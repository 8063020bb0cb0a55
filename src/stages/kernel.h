/* kernel.h - kernels of convolutions and dense layers before any fit: read from a file, drawn by chance, or of a named shape. */
#ifndef KERNEL_H
#define KERNEL_H
#include "stages/stage.h"

typedef struct kernel_settings {
    const char *path, *init;
    const input_node *gabor, *gaussian, *exponential;
    double size[3]; /* kt, ky, kx; ky or kx 0: of the whole map */
    int nsize;
    int64_t channels, seed;
} kernel_settings;

/* One of: kernel, size with channels, gabor, gaussian, exponential. */
#define KERNEL_SHAPE_KEYS(settings, field)                                                                                                           \
    {"kernel", KEY_PATH, NULL, "", 0, 0, NULL, "FILE.h5:/dataset, [t][y][x], [out][t][y][x] or [out][in][t][y][x]; its impulse response",            \
     offsetof(settings, field.path), 0, 0},                                                                                                          \
    {"size", KEY_REALS, "", "", 0, 100000, NULL, "instead: [kt, ky, kx] of a kernel drawn by chance; 0: of the whole map",                           \
     offsetof(settings, field.size), offsetof(settings, field.nsize), 3},                                                                            \
    {"channels", KEY_INT, NULL, "1", 1, 100000, NULL, "outputs of a kernel drawn by chance", offsetof(settings, field.channels), 0, 0},              \
    {"gabor", KEY_NODE, NULL, "", 0, 0, NULL, "instead: a bank of Gabor functions, {sigma, frequency, orientation, phase, ...}: see gabor below",    \
     offsetof(settings, field.gabor), 0, 0},                                                                                                         \
    {"gaussian", KEY_NODE, NULL, "", 0, 0, NULL, "instead: Gaussians, {sigma, tau, order, lags}", offsetof(settings, field.gaussian), 0, 0},         \
    {"exponential", KEY_NODE, NULL, "", 0, 0, NULL, "instead: exponentials or gamma functions of time, {tau, order, lags}",                          \
     offsetof(settings, field.exponential), 0, 0}
#define KERNEL_INIT_KEYS(settings, field)                                                                                                            \
    {"init", KEY_TEXT, NULL, "normal", 0, 0, NULL, "by chance: normal SD, uniform LIMIT or zeros; without a number 1/sqrt(taps of an output)",       \
     offsetof(settings, field.init), 0, 0},                                                                                                          \
    {"seed", KEY_INT, NULL, "0", 0, 1e15, NULL, "of what is drawn by chance; 0: that of the run", offsetof(settings, field.seed), 0, 0}

/* Values of dims [out][in of a group][t][y][x] (memory_free it), NULL with problems at `at`.  in: of the whole stage; groups divides its channels. */
double *kernel_make(const stage_world *w, const kernel_settings *s, const char *stage, const stage_input *in, int groups, const input_node *at,
                    int64_t dims[5]);

/* kernel_shapes.c: [out][1][t][y][x]; NULL with problems. */
double *kernel_gabor(const stage_world *w, const input_node *at, int64_t dims[5]);
double *kernel_gaussian(const stage_world *w, const input_node *at, int64_t dims[5]);
double *kernel_exponential(const stage_world *w, const input_node *at, int64_t dims[5]);
#define KERNEL_SHAPES_TEXT                                                                                                                           \
    "  gabor: {sigma: deg, frequency: /deg, orientation: [deg ...], phase: [deg ...], aspect, drift: Hz, tau: s, order, lags, balanced}\n"           \
    "    g(u, v, t) = h(t) G(u', v') cos(2 pi (f u' + drift t) + phase),  u' = u cos a + v sin a,  v' = v cos a - u sin a,\n"                        \
    "    G = exp(-(u'^2 + (aspect v')^2) / (2 sigma^2)) of sum 1; one output for each orientation a and, within it, each phase.\n"                   \
    "    The bars stand across a; with drift > 0 the cell prefers motion towards a.  balanced (default): no answer to uniform light.\n"              \
    "    A quadrature pair (phase: [0 deg, 90 deg]) squared and summed is the energy model of a complex cell (Adelson and Bergen 1985).\n"           \
    "  gaussian: {sigma: [deg ...], tau: s, order, lags}: G of sum 1, h(t);  exponential: {tau: [s ...], order, lags}: h(t) alone.\n"                \
    "    h(t) = (t/tau)^order exp(-t/tau) of sum 1 over `lags` steps (0: until it is below a thousandth of its maximum); tau 0: the present step."
#endif

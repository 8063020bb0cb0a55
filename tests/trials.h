/* trials.h - one table of small models with every stage type in it, and how to run one.  test_model.c runs them forward every way there is, test_adjoint.c
 * backward: a stage type that is not in the table fails both. */
#ifndef TRIALS_H
#define TRIALS_H
#include <unistd.h>

#include "base/memory.h"
#include "cluster/comm.h"
#include "cluster/store.h"
#include "device.h"
#include "model/model.h"
#include "test.h"

enum { STEPS = 15, NY = 9, NX = 11 };
static const double pixels_per_deg = 10;
static char kernels[64]; /* HDF5 file that stands for @ in the texts below */

/* What a trial may not be asked. */
enum { ONE_TILE = 1, /* works along whole lines */
       CUT = 2,      /* last bits follow the cut of the field: size of the transforms, order of the sum for a mean */
       STEADY = 4,   /* asked in addition: a field that stays at rest gives constant outputs from step 0 on */
       PLANE = 8,    /* needs a field of more than one row */
       NONLINEAR = 16, /* in its input: the adjoint identity is not asked, Taylor's remainder is */
       COUPLED = 64, /* its pixels depend on one another at every step: not for several networks */
       SUMS = 128,   /* it asks for sums over the field: not for several sequences */
       TRAINING = 256, /* derivatives are those of training, where a batch has statistics of its own: chunks show in them */
       UNDERIVED = 32 }; /* its derivative is 0 (spikes without a surrogate), or a surrogate's: test_adjoint does not ask for it */

typedef struct trial {
    const char *type; /* under test */
    int flags;
    const char *stages;
    const char *fit;  /* "a.taps b.scale": what test_adjoint derives by; NULL: every parameter */
} trial;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* most trials name no list to fit */
static const trial trials[] = {
    {"gain", STEADY, "{name: a, type: gain, input: stimulus, scale: 2, offset: -1, delay: 9}"},
    {"sum", STEADY,
     "{name: a, type: gain, input: stimulus, scale: 3}, {name: b, type: sum, inputs: [a, stimulus, a], weights: [1, -2, 0.5], delay: [3, 0, 8]}"},
    {"rectify", NONLINEAR | STEADY, "{name: a, type: rectify, input: stimulus, threshold: 0.5, value: 37 Hz, slope: 100 Hz, sign: -1}"},
    {"rectify", NONLINEAR | STEADY, "{name: a, type: rectify, input: stimulus, threshold: 0.5, value: 37 Hz, slope: 100 Hz, form: convis, delay: 1}"},
    {"rectify", NONLINEAR | STEADY, "{name: a, type: rectify, input: stimulus, threshold: 0.5, slope: 100 Hz, form: clip}"},
    {"rectify", NONLINEAR | STEADY,
     "{name: i, type: gain, input: stimulus, scale: 0}, {name: a, type: rectify, input: i, delay: 1}", " "}, /* at the kink: 0 Hz at a threshold "
     "of 0 */
    {"blur", STEADY, "{name: a, type: blur, input: stimulus, sigma: 0.07 deg}, {name: b, type: blur, input: a, sigma: 0 deg, delay: 2}"},
    {"blur", STEADY, "{name: a, type: blur, input: stimulus, sigma: 0.3 deg}"}, /* reads beyond the whole field */
    {"blur", STEADY, "{name: a, type: blur, input: stimulus, sigma: 0.1 deg, scheme: log-polar}"},
    {"blur", 0, "{name: a, type: blur, input: stimulus, sigma: 0.1 deg, method: convis}"},
    {"blur", STEADY | ONE_TILE, "{name: a, type: blur, input: stimulus, sigma: 0.1 deg, method: deriche}"},
    {"blur", ONE_TILE, "{name: a, type: blur, input: stimulus, sigma: 0.1 deg, method: deriche, scheme: log-polar}"},
    {"blur", 0,
     "{name: a, type: blur, input: stimulus, sigma: 0.1 deg, method: convis}, {name: b, type: blur, input: a, sigma: 0.06 deg, delay: 2},"
     "{name: c, type: blur, input: b, sigma: 0 deg}",
     "a.taps a.bias b.bias b.taps c.taps"},
    {"lowpass", STEADY,
     "{name: a, type: lowpass, input: stimulus, tau: 5 ms, gain: 3, delay: 1}, {name: b, type: lowpass, input: a, tau: 0 s, order: 1}",
     "a.tau a.gain b.gain"}, /* tau 0: no filter, and flat */
    {"lowpass", STEADY, "{name: a, type: lowpass, input: stimulus, tau: 5 ms, order: 3, gain: 2}"},
    {"lowpass", STEADY, "{name: a, type: lowpass, input: stimulus, tau: 5 ms, form: convis}"},
    {"lowpass", 0, "{name: a, type: lowpass, input: stimulus, tau: 5 ms, start: zero}, {name: b, type: blur, input: a, sigma: 0.1 deg, delay: 1}"},
    {"lowpass", PLANE | COUPLED,
     "{name: a, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: b, type: lowpass, input: a, tau: 5 ms, order: 1},"
     "{name: c, type: blur, input: b, sigma: 0.1 deg}, {name: d, type: highpass, input: c, tau: 4 ms, weight: 0.3},"
     "{name: e, type: sum, inputs: [d, a], delay: [2, 0]}, {name: f, type: leaky_heat, input: e, sigma: 0.1 deg, tau: 4 ms}"},
    {"highpass", STEADY, "{name: a, type: highpass, input: stimulus, tau: 5 ms, weight: 0.8, delay: 2}"},
    {"highpass", STEADY, "{name: a, type: highpass, input: stimulus, tau: 5 ms, weight: 0.8, form: convis}"},
    {"highpass", STEADY,
     "{name: a, type: highpass, input: stimulus, tau: 2 ms, weight: 0.8, form: fir, delay: 1}, {name: b, type: gain, input: a, delay: 3}"},
    {"highpass", 0, "{name: a, type: highpass, input: stimulus, tau: 2 ms, weight: 0.8, form: fir, start: zero}"},
    {"highpass", STEADY,
     "{name: a, type: highpass, input: stimulus, tau: 1e6 s, weight: 0.8}, {name: b, type: lowpass, input: a, tau: 1e6 s, delay: 2}"},
    {"highpass", STEADY, "{name: a, type: highpass, input: stimulus, tau: 2 ms, weight: 0.8, form: fir}, {name: b, type: gain, input: a, delay: 3}",
     "a.taps a.bias b.scale"},
    {"highpass", PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: highpass, input: i, tau: 2 ms, weight: 0.8, form: fir,"
     "start: zero}, {name: b, type: highpass, input: a, tau: 3 ms, weight: 0.5, form: convis, start: zero}"},
    {"leaky_heat", COUPLED | STEADY,
     "{name: a, type: leaky_heat, input: stimulus, sigma: 0.3 deg, tau: 4 ms, gain: 2, delay: 1}, {name: b, type: blur, input: a, sigma: 0.4 deg}"},
    {"leaky_heat", COUPLED | STEADY,
     "{name: a, type: leaky_heat, input: stimulus, sigma: 0 deg, tau: 4 ms}, {name: b, type: cells, input: a, density: 15 /deg}"},
    {"leaky_heat", COUPLED, "{name: a, type: leaky_heat, input: stimulus, sigma: 0.2 deg, tau: 4 ms, scheme: log-polar, start: zero}"},
    {"leaky_heat", COUPLED | STEADY | ONE_TILE, "{name: a, type: leaky_heat, input: stimulus, sigma: 0.4 deg, tau: 4 ms, method: deriche}"},
    {"leaky_heat", COUPLED, "{name: a, type: leaky_heat, input: stimulus, sigma: 0.3 deg, tau: 4 ms, method: convis, delay: 2}"},
    {"gain_control", COUPLED | NONLINEAR,
     "{name: i, type: gain, input: stimulus, offset: -0.5}, {name: a, type: gain_control, input: i, gain: 150 Hz, leak: 5 Hz,"
     "feedback: 100 Hz, sigma: 0.1 deg, tau: 5 ms, adaptation_output: g, delay: 1}, {name: b, type: blur, input: a, sigma: 0.2 deg},"
     "{name: c, type: blur, input: g, sigma: 0.2 deg, delay: 2}, {name: d, type: sum, inputs: [b, c, g], delay: 1}"},
    {"gain_control", COUPLED | SUMS | NONLINEAR | CUT,
     "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 50 Hz, feedback: 100 Hz, sigma: 0.1 deg, tau: 5 ms, form: convis,"
     "adaptation_output: g}, {name: b, type: blur, input: a, sigma: 0.2 deg}, {name: c, type: gain, input: g, delay: 1}"},
    {"gain_control", COUPLED | NONLINEAR,
     "{name: a, type: gain_control, input: stimulus, gain: 90 Hz, leak: 9 Hz, feedback: 100 Hz, sigma: 0.06 deg, tau: 5 ms, delay: 1}",
     "a.gain a.leak a.feedback a.tau a.taps"},
    {"gain_control", COUPLED | SUMS | NONLINEAR | CUT,
     "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 50 Hz, feedback: 100 Hz, sigma: 0.1 deg, tau: 5 ms, form: convis,"
     "method: convis}, {name: b, type: gain, input: a}",
     "a.feedback a.convis_tau a.taps a.bias"},
    {"gain_control", COUPLED | NONLINEAR | ONE_TILE,
     "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.08 deg, tau: 5 ms, method: deriche}"},
    {"gain_control", COUPLED | NONLINEAR,
     "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 50 Hz, feedback: 0 Hz, sigma: 0.1 deg, tau: 5 ms},"
     "{name: b, type: gain_control, input: a, gain: 50 Hz, leak: 50 Hz, feedback: 9 Hz, sigma: 0 deg, tau: 5 ms, delay: 4}"},
    {"gain_control", COUPLED | NONLINEAR,
     "{name: a, type: gain_control, input: stimulus, gain: 50 Hz, leak: 5 Hz, feedback: 100 Hz, sigma: 0.08 deg, tau: 5 ms, scheme: log-polar}"},
    {"conv", PLANE | STEADY,
     "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: direct, delay: 2}, {name: b, type: gain, input: a, delay: 1}"},
    {"conv", PLANE | STEADY | CUT,
     "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: fft}, {name: b, type: gain, input: a, delay: 1}"},
    {"conv", PLANE | STEADY, "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: separable}"},
    {"conv", PLANE | STEADY, "{name: a, type: conv, input: stimulus, kernel: '@:/smooth', algorithm: separable, start: first_frame, delay: 1}"},
    {"conv", PLANE | CUT,
     "{name: a, type: conv, input: stimulus, kernel: '@:/bank', algorithm: fft, start: first_frame},"
     "{name: b, type: conv, input: a, kernel: '@:/pairs', algorithm: fft, start: zero}"},
    {"conv", PLANE | CUT,
     "{name: a, type: conv, input: stimulus, kernel: '@:/smooth', algorithm: fft, start: zero},"
     "{name: b, type: conv, input: a, kernel: '@:/still', algorithm: fft, delay: 1}"},
    {"conv", STEADY,
     "{name: i, type: gain, input: stimulus, scale: 2}, {name: a, type: conv, input: i, kernel: '@:/time', start: first_frame, algorithm: direct}"},
    {"conv", PLANE | STEADY, "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: window, delay: 1}"},
    {"conv", PLANE | ONE_TILE | CUT, /* region valid with a past, channels that rest at different values, layers on a smaller map */
     "{name: a, type: conv, input: stimulus, size: [4, 3, 5], channels: 3, bias: true, region: valid, algorithm: fft, delay: 1},"
     "{name: b, type: conv, input: a, size: [1, 1, 1], channels: 2, init: uniform 0.5, start: zero, bias: true},"
     "{name: c, type: conv, input: b, size: [3, 2, 4], channels: 6, groups: 2, region: valid, start: zero, algorithm: window}"},
    {"conv", PLANE | CUT, /* groups; a past of one frame; Gabor functions */
     "{name: a, type: conv, input: stimulus, gabor: {sigma: 0.1 deg, frequency: 2 /deg, orientation: [0 deg, 60 deg], phase: [0 deg, 90 deg], "
     "drift: 40 Hz,"
     "tau: 2 ms, order: 1, lags: 4}, algorithm: fft, start: first_frame},"
     "{name: b, type: conv, input: a, size: [2, 2, 3], channels: 4, groups: 2, start: first_frame, algorithm: direct, bias: true}"},
    {"dense", PLANE | STEADY | ONE_TILE, "{name: a, type: dense, input: stimulus, channels: 3, lags: 3, init: normal 0.1}"},
    {"dense", PLANE | ONE_TILE | CUT,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', region: valid, start: zero}, {name: a, type: dense, input: i, lags: 4, start: "
     "first_frame, algorithm: fft}, {name: b, type: gain, input: a, delay: 1}"},
    {"cells", NONLINEAR | STEADY,
     "{name: a, type: cells, input: stimulus, density: 15 /deg, jitter: 0.02 deg}, {name: b, type: lowpass, input: a, tau: 5 ms, order: 2},"
     "{name: c, type: highpass, input: b, tau: 5 ms, weight: 0.5, delay: 1}, {name: d, type: sum, inputs: [a, c]}, {name: e, type: rectify, input: "
     "d}"},
    {"cells", STEADY,
     "{name: a, type: cells, input: stimulus, mosaic: hexagonal, density: 20 /deg, shift: [0.1 deg, 0.3 deg]},"
     "{name: b, type: cells, input: stimulus, mosaic: circular, scheme: log-polar, density: 25 /deg, diameter: 2 deg, delay: 1}"},
    {"nonlinearity", NONLINEAR | STEADY,
     "{name: a, type: nonlinearity, input: stimulus, scale: 2, bias: 0.3, delay: 2}, {name: b, type: nonlinearity, input: a, bias: -9},"
     "{name: c, type: nonlinearity, form: sigmoid, input: a, height: 3, slope: 4, threshold: 1.2, delay: 1}, {name: d, type: nonlinearity, form: "
     "identity,"
     "input: c, delay: 1}"},
    {"nonlinearity", UNDERIVED | STEADY, "{name: a, type: nonlinearity, input: stimulus, bias: -0.5}"}, /* a kink in the midst of the values */
    {"nonlinearity", NONLINEAR | STEADY,
     "{name: a, type: nonlinearity, form: softplus, input: stimulus, beta: 3, delay: 1}, {name: b, type: nonlinearity, form: exponential, input: "
     "a, scale:"
     " -2, bias: 0.1, delay: 2}, {name: c, type: nonlinearity, form: elu, input: b, offset: 1}, {name: d, type: nonlinearity, form: "
     "parametric_softplus,"
     "input: c, delay: 1}"},
    {"nonlinearity", NONLINEAR | STEADY,
     "{name: a, type: nonlinearity, form: square, input: stimulus, scale: 0.7, bias: -0.4, delay: 1}, {name: b, type: nonlinearity, form: "
     "rectified_square,"
     "input: stimulus, bias: -0.45}, {name: c, type: nonlinearity, form: power, input: a, exponent: 1.7, threshold: -0.3, scale: 2, delay: 1}"},
    {"nonlinearity", NONLINEAR | PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: nonlinearity, form: parametric_softplus, input: i,"
     "each_channel: true}, {name: b, type: nonlinearity, form: sigmoid, input: a, each_channel: true}"},
    {"nonlinearity", NONLINEAR | PLANE | STEADY, /* energy model */
     "{name: a, type: conv, input: stimulus, kernel: '@:/k', algorithm: direct}, {name: b, type: conv, input: stimulus, kernel: '@:/smooth', "
     "algorithm:"
     " direct},"
     "{name: c, type: nonlinearity, form: square, input: a}, {name: d, type: nonlinearity, form: square, input: b},"
     "{name: e, type: sum, inputs: [c, d]}, {name: f, type: nonlinearity, form: power, exponent: 0.5, input: e}"},
    {"naka_rushton", NONLINEAR | STEADY,
     "{name: i, type: gain, input: stimulus, offset: 0.1}, {name: a, type: naka_rushton, input: i, max: 40, exponent: 2.3, semi_saturation: 0.4, "
     "baseline:"
     " 2, delay: 1}, {name: b, type: lowpass, input: a, tau: 3 ms}"},
    {"normalise", NONLINEAR | PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: normalise, input: i, gain: 2, exponent: 2.5, "
     "semi_saturation:"
     " 0.1, weights: [0.5, 1, 2]}, {name: b, type: blur, input: a, sigma: 0.1 deg}"},
    {"normalise", NONLINEAR | STEADY,
     "{name: c, type: cells, input: stimulus, density: 15 /deg}, {name: i, type: gain, input: c, offset: 0.1}, {name: a, type: normalise, input: "
     "i, delay:"
     " 2}"},
    {"pool", PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: pool, input: i, weights: [0.5, -1, 2]},"
     "{name: b, type: pool, input: i, channels: 1}, {name: c, type: gain, input: b, each_channel: true}"},
    {"pool", STEADY, "{name: c, type: cells, input: stimulus, density: 15 /deg}, {name: a, type: pool, input: c, weights: [3], delay: 2},"
     "{name: b, type: pool, input: a, delay: 1}"},
    {"delay", STEADY, "{name: a, type: delay, input: stimulus, steps: 3}, {name: b, type: delay, input: a, steps: 9, delay: 2}"},
    {"delay", PLANE | STEADY, "{name: a, type: delay, input: stimulus, steps: 1, map: '@:/delays', delay: 1}, {name: b, type: gain, input: a, delay: 1}"},
    {"delay", PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: delay, input: i, map: '@:/delays', start: zero}"},
    {"delay", 0, "{name: a, type: delay, input: stimulus, steps: 4, start: zero}, {name: b, type: lowpass, input: a, tau: 3 ms}"},
    {"delay", NONLINEAR | STEADY, /* LNFDLNF */
     "{name: k1, type: conv, input: stimulus, kernel: '@:/time'}, {name: y1, type: nonlinearity, input: k1, bias: 2}, {name: f1, type: conv, "
     "input: y1,"
     "kernel: '@:/time'}, {name: s1, type: sum, inputs: [y1, f1], weights: [1, -1]}, {name: d, type: delay, input: s1, steps: 1},"
     "{name: k2, type: conv, input: d, kernel: '@:/time'}, {name: y2, type: nonlinearity, input: k2, bias: 2}, {name: f2, type: conv, input: y2,"
     "kernel: '@:/time'}, {name: s2, type: sum, inputs: [y2, f2], weights: [1, -1]}"},
    {"noise", 0,
     "{name: a, type: noise, input: stimulus, sd: 0.3, always: true, delay: 1}, {name: b, type: cells, input: a, density: 15 /deg},"
     "{name: c, type: noise, input: b, sd: 2, always: true}"},
    {"noise", STEADY, "{name: a, type: noise, input: stimulus, sd: 0.3}, {name: b, type: gain, input: a, delay: 2}"},
    {"lif", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 800}, {name: a, type: cells, input: i, density: 15 /deg},"
     "{name: s, type: lif, input: a, leak: 20 Hz, noise: 0.3, refractory: 2.5 ms, refractory_sd: 1 ms, random_start: true, delay: 1,"
     "adaptation_delta: 10 Hz, adaptation_tau: 8 ms, adaptation_reversal: -0.2}, {name: c, type: lowpass, input: s, tau: 2 ms}"},
    {"lif", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 1e5}, {name: a, type: cells, input: i, density: 15 /deg}, {name: s, type: lif, input: a, "
     "refractory: 0 s}"},
    {"lif_euler", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 400}, {name: a, type: cells, input: i, density: 15 /deg, delay: 1},"
     "{name: s, type: lif_euler, input: a, noise: 0.2, refractory_sd: 2 ms}, {name: c, type: lowpass, input: s, tau: 2 ms}"},
    {"lif_euler", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 0.3}, {name: a, type: lif_euler, input: i, form: leaky, drive: per_step, noise: 0.1},"
     "{name: b, type: lif_euler, input: i, form: ganglion, drive: per_step, surrogate: none}, {name: d, type: blur, input: a, sigma: 0.1 deg}"},
    {"izhikevich", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 30}, {name: a, type: izhikevich, input: i, output: all, preset: tonic_bursting, d: 1},"
     "{name: b, type: cells, input: i, density: 15 /deg}, {name: s, type: izhikevich, input: b, delay: 1, surrogate: triangle}"},
    {"izhikevich", NONLINEAR, /* without a spike: its slopes are true */
     "{name: i, type: gain, input: stimulus, scale: 4}, {name: a, type: izhikevich, input: i, output: v, threshold: 1000, delay: 1, rest: 0}"},
    {"fitzhugh_nagumo", NONLINEAR,
     "{name: a, type: fitzhugh_nagumo, input: stimulus, delay: 2}, {name: b, type: cells, input: a, density: 15 /deg},"
     "{name: c, type: fitzhugh_nagumo, input: b, a: -0.7, rate: 0.3, substeps: 5}"},
    {"hodgkin_huxley", NONLINEAR, /* too few channels for an action potential, where no step is small */
     "{name: i, type: gain, input: stimulus, scale: 6}, {name: a, type: hodgkin_huxley, input: i, sodium: 20, delay: 1}"},
    {"hodgkin_huxley", UNDERIVED, "{name: i, type: gain, input: stimulus, scale: 20}, {name: a, type: hodgkin_huxley, input: i, start: closed}"},
    {"event_sensor", UNDERIVED,
     "{name: i, type: sum, inputs: [stimulus, stimulus], weights: [1, -1], delay: [0, 1]}, {name: a, type: event_sensor, input: i, threshold: 0.1},"
     "{name: b, type: blur, input: a, sigma: 0.1 deg}"},
    {"event_sensor", UNDERIVED, "{name: a, type: event_sensor, input: stimulus, form: log, threshold: 1.2, delay: 1}, {name: b, type: gain, input: a}"},
    {"poisson", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 900}, {name: a, type: poisson, input: i}, {name: b, type: cells, input: i, density: 15 /deg},"
     "{name: s, type: poisson, input: b, delay: 1}, {name: d, type: poisson, input: b, form: bernoulli}, {name: e, type: blur, input: a, sigma: "
     "0.1 deg}"},
    {"photoreceptor", NONLINEAR | STEADY,
     "{name: a, type: photoreceptor, input: stimulus, delay: 1}, {name: b, type: cells, input: a, density: 15 /deg}, {name: c, type: gain, input: "
     "b, delay: 2}"},
    {"photoreceptor", NONLINEAR,
     "{name: a, type: photoreceptor, input: stimulus, receptor: rod, gamma: 0.2, start: zero, substeps: 2}"},
    {"kinetics", NONLINEAR | STEADY,
     "{name: a, type: kinetics, input: stimulus, delay: 1}, {name: b, type: cells, input: a, density: 15 /deg}, {name: c, type: gain, input: b, "
     "delay: 2}"},
    {"history", 0,
     "{name: a, type: history, input: stimulus, functions: 3, peaks: [1 ms, 4 ms], offset: 2 ms, weights: [0.5, -0.2, 0.1], delay: 1},"
     "{name: b, type: gain, input: a, delay: 1}"},
    {"history", PLANE,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: history, input: i, functions: 2, peaks: [1 ms, 3 ms],"
     "weights: [1, -0.5, 0.3, 0.2, -0.1, 0.7]}, {name: b, type: cells, input: stimulus, density: 15 /deg}, {name: k, type: lowpass, input: b, tau: "
     "2 ms,"
     "start: zero}, {name: c, type: history, input: k, functions: 3, peaks: [0 ms, 2 ms], weights: [-1, 0.5, 0.2]}"},
    {"glm", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 2, offset: 5}, {name: a, type: glm, input: i, functions: 2, peaks: [1 ms, 3 ms], offset: 1 ms,"
     "weights: [-2, 1], delay: 1}, {name: c, type: cells, input: i, density: 15 /deg}, {name: s, type: glm, input: c, functions: 2, peaks: [1 ms, "
     "4 ms],"
     "weights: [-9, -1]}, {name: b, type: blur, input: a, sigma: 0.1 deg}"},
    {"kinetics", NONLINEAR, "{name: a, type: kinetics, input: stimulus, start: zero, substeps: 3, ka: 200 Hz}"},
    {"batch_norm", COUPLED | STEADY,
     "{name: a, type: batch_norm, input: stimulus, scale: 2, shift: 0.3, mean: 0.4, variance: 0.1, delay: 1}, {name: b, type: gain, input: a, delay: 2}"},
    {"batch_norm", PLANE | COUPLED,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: batch_norm, input: i, scale: -0.5, positive_scale: true},"
     "{name: b, type: batch_norm, input: a, each: unit, mean: -0.3, epsilon: 0.1}, {name: c, type: blur, input: b, sigma: 0.1 deg},"
     "{name: d, type: cells, input: stimulus, density: 15 /deg}, {name: e, type: batch_norm, input: d, each: unit, variance: 4}"},
    {"batch_norm", TRAINING | COUPLED | NONLINEAR,
     "{name: a, type: batch_norm, input: stimulus, scale: 2, shift: 0.3, delay: 1}, {name: b, type: gain, input: a, delay: 2},"
     "{name: c, type: nonlinearity, form: elu, input: b}, {name: d, type: batch_norm, input: c, scale: -0.7, positive_scale: true, epsilon: 0.2}"},
    {"batch_norm", TRAINING | PLANE | COUPLED | NONLINEAR,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', start: zero}, {name: a, type: batch_norm, input: i}, {name: b, type: blur, input: a,"
     "sigma: 0.1 deg}, {name: c, type: batch_norm, input: b, each: unit, scale: 0.5, epsilon: 0.1}"},
    {"batch_norm", TRAINING | COUPLED | NONLINEAR,
     "{name: c, type: cells, input: stimulus, density: 15 /deg}, {name: a, type: batch_norm, input: c, shift: -1, delay: 1}, {name: b, type: lowpass, input: "
     "a,"
     "tau: 3 ms}, {name: d, type: batch_norm, input: b, each: unit, epsilon: 0.3}"},
    {"batch_norm", TRAINING | PLANE | ONE_TILE | COUPLED | NONLINEAR | CUT,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', region: valid, start: zero}, {name: a, type: batch_norm, input: i, each: unit, epsilon: 0.01},"
     "{name: b, type: nonlinearity, form: softplus, input: a}, {name: c, type: batch_norm, input: b}"},
    {"pool_space", PLANE | ONE_TILE | STEADY, "{name: a, type: pool_space, input: stimulus, size: 4, delay: 1}, {name: b, type: gain, input: a, delay: 2}"},
    {"pool_space", PLANE | ONE_TILE | CUT,
     "{name: i, type: conv, input: stimulus, kernel: '@:/bank', region: valid, start: zero}, {name: a, type: pool_space, input: i, size: 2},"
     "{name: b, type: dense, input: a, init: normal 0.3, start: zero}"},
    {"pool_space", UNDERIVED | PLANE | ONE_TILE | STEADY, /* kinks in the midst of the values; test_pool_space has its derivative */
     "{name: a, type: pool_space, input: stimulus, form: max, size: 3, delay: 1}, {name: b, type: gain, input: a, delay: 1}"},
    {"pixel_lif", UNDERIVED,
     "{name: i, type: gain, input: stimulus, scale: 400}, {name: a, type: pixel_lif, input: i, noise: 0.2, refractory_sd: 2 ms},"
     "{name: b, type: blur, input: a, sigma: 0.1 deg}"},
};
#pragma GCC diagnostic pop
enum { NTRIAL = sizeof trials / sizeof trials[0] };

/* --- running a model ------------------------------------------------------------------------------------------------- */
typedef struct way { /* of running it */
    int ny, nx, tiles_y, tiles_x, threads, chunk;
    bool training;
    bool mixed, steady; /* chunks of any length up to `chunk`; the stimulus stays at rest */
    bool passing;       /* only the last output is looked at: the others may live in working memory */
    int stop;           /* after so many steps the state goes to a new model; 0: never */
    int sequences, networks; /* 0: one */
    const stage_fitted *fitted; /* [nfitted]; NULL: no derivatives */
    int nfitted;
    bool blind;         /* no derivative by the stimulus is wanted */
    double push;        /* of the stimulus along test_adjoint's direction */
} way;

static inline double luminance(int64_t step, int y, int x)
{
    uint64_t seed = (uint64_t)((step * 1009 + y) * 1013 + x);
    return 0.5 + 0.3 * sin(0.4 * (double)step + 0.7 * x - 0.5 * y) + 0.2 * test_random(&seed);
}

static inline double push_direction(int64_t step, int y, int x)
{
    uint64_t seed = (uint64_t)((step * 2003 + y) * 3001 + x + 17);
    return test_random(&seed);
}

/* Text with @ replaced by the name of the file of kernels. */
static inline char *model_text(const char *stages)
{
    char *text = memory_text("%s", "model: {log_polar: {fovea_radius: 0.1 deg, scaling: 2 /deg}, stages: [");
    for (const char *at = stages; *at;) {
        size_t n = strcspn(at, "@");
        char *longer = memory_text("%s%.*s%s", text, (int)n, at, at[n] ? kernels : "");
        memory_free(text);
        text = longer;
        at += n + (at[n] == '@');
    }
    char *whole = memory_text("%s]}\n", text);
    memory_free(text);
    return whole;
}

typedef struct session {
    input *in;
    backend *be;
    model *m;
} session;

static inline session session_open(const char *stages, const way *w)
{
    char *text = model_text(stages);
    session s = {.in = input_from_text(text, "test", NULL, 0)};
    memory_free(text);
    model_setup setup = {.in = s.in,
                         .step_s = 0.001,
                         .pixels_per_deg = pixels_per_deg,
                         .seed = 3,
                         .ny = w->ny,
                         .nx = w->nx,
                         .full_ny = w->ny,
                         .full_nx = w->nx,
                         .ntile_y = w->tiles_y,
                         .ntile_x = w->tiles_x,
                         .chunk_steps = w->chunk,
                         .stimulus_rest = 0.5,
                         .rank = 0,
                         .nrank = 1};
    setup.nseq = w->sequences;
    setup.nnet = w->networks;
    setup.differentiate = w->fitted != NULL;
    setup.stimulus_gradient = w->fitted && !w->blind;
    setup.fitted = w->fitted;
    setup.nfitted = w->nfitted;
    s.m = model_create(&setup);
    if (s.m) {
        for (int i = w->passing ? model_noutput(s.m) - 1 : 0; i < model_noutput(s.m); i++) {
            model_keep(s.m, i);
        }
        s.be = test_backend(w->threads);
        model_attach(s.m, s.be);
        if (w->training) {
            model_training(s.m, true, 0);
        }
    } else {
        input_print_problems(s.in);
    }
    return s;
}

static inline void session_close(session *s)
{
    model_destroy(s->m);
    if (s->be) {
        test_backend_close(s->be);
    }
    input_destroy(s->in);
}

static inline void show(const session *s, const way *w, int64_t step0, int nt)
{
    view there = model_stimulus(s->m), v = test_take(s->be, there, nt);
    for (int l = 0; l < v.nleaf; l++) {
        for (int t = 0; t < nt; t++) {
            for (int y = 0; y < v.tile[l].ny; y++) {
                real *row = host(v.at) + l * v.leaf_stride + t * v.frame_stride + y * v.row_stride;
                for (int x = 0; x < v.tile[l].nx; x++) {
                    row[x] = (real)(w->steady ? 0.5 : luminance(step0 + t, v.tile[l].y0 + y, v.tile[l].x0 + x));
                    row[x] += w->push != 0 ? (real)(w->push * push_direction(step0 + t, v.tile[l].y0 + y, v.tile[l].x0 + x)) : 0;
                }
            }
        }
    }
    test_give(s->be, there, nt, v);
    memory_free(v.at);
}

static inline int64_t values_of(const model_output *o, const way *w)
{
    return o->cells ? o->cells->ncell : (int64_t)o->nchan * w->ny * w->nx;
}

/* --- kernels ----------------------------------------------------------------------------------------------------------- */
enum { KT = 4, KY = 5, KX = 3 };
static double kernel[KT][KY][KX];

static inline void write_kernel(store *s, const char *name, int rank, const int64_t *dims, uint64_t seed, bool smooth)
{
    int64_t n = 1, nx = dims[rank - 1], ny = dims[rank - 2], nt = dims[rank - 3];
    for (int i = 0; i < rank; i++) {
        n *= dims[i];
    }
    double *k = MEMORY_NEW(double, n);
    for (int64_t i = 0; i < n; i++) {
        double y = (double)(i / nx % ny) - 1, x = (double)(i % nx) - 1.5, t = (double)(i / (nx * ny) % nt);
        k[i] = smooth ? 0.2 * exp(-0.3 * (x * x + y * y) - 0.5 * t) : 0.1 * test_random(&seed);
    }
    if (strcmp(name, "k") == 0) {
        memcpy(kernel, k, sizeof kernel);
    }
    store_define_values(s, name, STORE_F64, rank, dims, "", k);
    memory_free(k);
}

static inline void write_kernels(void)
{
    snprintf(kernels, sizeof kernels, "/tmp/test_trials_%ld.h5", (long)getpid());
    store *s = store_create(kernels, true);
    write_kernel(s, "k", 3, (int64_t[]){KT, KY, KX}, 1, false);
    write_kernel(s, "smooth", 3, (int64_t[]){5, 4, 6}, 0, true);
    write_kernel(s, "bank", 4, (int64_t[]){3, 3, 4, 5}, 2, false);
    write_kernel(s, "pairs", 5, (int64_t[]){2, 3, 2, 3, 3}, 3, false);
    write_kernel(s, "still", 3, (int64_t[]){1, 3, 3}, 4, false);
    write_kernel(s, "time", 3, (int64_t[]){6, 1, 1}, 5, false);
    double delays[NY * NX];
    for (int i = 0; i < NY * NX; i++) {
        delays[i] = i * 7 % 5;
    }
    store_define_values(s, "delays", STORE_F64, 2, (int64_t[]){NY, NX}, "", delays);
    store_begin(s);
    store_close(s);
}
#endif

#!/usr/bin/env python3
"""Stages of stages/neuron.h and the history filter as an input file asks for them: every key reaches its equation.

    test_neuron_stages.py BUILD_FOLDER

Oracle: the equations of `chiasm help STAGE` in numpy.  Derivatives and ways of running are the business of
test_neuron.c and test_adjoint.c.
"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml

NT, N = 60, 6
DT = 0.008
LIGHT = np.random.default_rng(3).uniform(0, 1, (NT, N, N))
CONE = dict(sigma=22, phi=22, eta=2000, beta=9, k=0.01, n=3, c_dark=1, h=4, affinity=0.5, gamma=10, g_dark=35)
ROD = dict(CONE, sigma=7.07, phi=7.07, eta=2.53, beta=25, g_dark=15.5)
OTHER = {name: (1.05 + 0.01 * i) * CONE[name] for i, name in enumerate(CONE)}  # each key is another
HERTZ = {"sigma", "phi", "eta", "beta", "ka", "kfi", "kfr", "ksi", "ksr"}
# a, b, c, d, linear, constant: Izhikevich 2004, figure 1
PRESETS = {
    "tonic_spiking": (0.02, 0.2, -65, 6), "phasic_spiking": (0.02, 0.25, -65, 6), "tonic_bursting": (0.02, 0.2, -50, 2),
    "phasic_bursting": (0.02, 0.25, -55, 0.05),
    "mixed_mode": (0.02, 0.2, -55, 4), "frequency_adaptation": (0.01, 0.2, -65, 8), "class_1": (0.02, -0.1, -55, 6, 4.1, 108),
    "class_2": (0.2, 0.26, -65, 0),
    "spike_latency": (0.02, 0.2, -65, 6), "subthreshold_oscillations": (0.05, 0.26, -60, 0), "resonator": (0.1, 0.26, -60, -1),
    "integrator": (0.02, -0.1, -55, 6, 4.1, 108), "rebound_spike": (0.03, 0.25, -60, 4), "rebound_burst": (0.03, 0.25, -52, 0),
    "threshold_variability": (0.03, 0.25, -60, 4), "bistability": (0.1, 0.26, -60, 0), "afterpotential": (1, 0.2, -60, -21),
    "accommodation": (0.02, 1, -55, 4),
    "inhibition_induced_spiking": (-0.02, -1, -60, 8), "inhibition_induced_bursting": (-0.026, -1, -45, -2),
}


def photoreceptor(x, sigma, phi, eta, beta, k, n, c_dark, h, affinity, gamma, g_dark, dt=DT, substeps=1):
    """From darkness, as Idrees et al. 2024 write it (their frame is 8 ms)."""
    dark_current = k / 2 * g_dark**n
    smax, q = eta / phi * g_dark * (1 + (c_dark / affinity) ** h), beta * c_dark / dark_current
    r, p, c, g = (np.full(x.shape[1:], value) for value in (0.0, eta / phi, float(c_dark), float(g_dark)))
    out = []
    for light in x:
        for _ in range(substeps):
            s, current, step = smax / (1 + (c / affinity) ** h), k / 2 * g**n, dt / substeps
            r, p, c, g = (r + step * (gamma * light / 0.008 - sigma * r), p + step * (r + eta - phi * p),
                          c + step * (q * current - beta * c), g + step * (s - p * g))
        out.append(-k / 2 * g**n)
    return np.array(out)


def kinetics(u, ka, kfi, kfr, ksi, ksr, dt=DT, substeps=4):
    state = np.zeros((4,) + u.shape[1:])
    state[0] = 1
    out = []
    for x in u:
        for _ in range(substeps):
            R, A, I, J = state
            slope = [kfr * I - ka * x * R, ka * x * R - kfi * A, kfi * A - (kfr + ksi) * I + ksr * x * J, ksi * I - ksr * x * J]
            state = state + dt / substeps * np.array(slope)
        out.append(state[1])
    return np.array(out)


def history(x, functions, first, last, b, weights, dt=DT):
    centres = np.linspace(np.log(first + b), np.log(last + b), functions)
    y = np.zeros_like(x)
    for lag in range(1, len(x)):
        phase = (np.log(lag * dt + b) - centres) * np.pi / (2 * (centres[1] - centres[0]))
        y[lag:] += weights @ (0.5 * (1 + np.cos(np.clip(phase, -np.pi, np.pi)))) * x[:-lag]
    return y


def izhikevich_v(current, a, b, c, d, linear=5, constant=140, threshold=30, substeps=2):
    v, u, out = np.full(current.shape[1:], float(c)), np.full(current.shape[1:], float(b * c)), []
    for x in current:
        for _ in range(substeps):
            v, u = v + (0.04 * v * v + linear * v + constant - u + x) / substeps, u + a * (b * v - u) / substeps
        v, u = np.where(v >= threshold, c, v), np.where(v >= threshold, u + d, u)
        out.append(v)
    return np.array(out)


def with_units(keys):
    return {name: f"{value!r} Hz" if name in HERTZ else value for name, value in keys.items()}


def smooth_stages():
    rates, weights, s = dict(ka=31, kfi=41, kfr=71, ksi=5, ksr=3), [-3, 1.5, 0.5, 0.25], []
    s.append((photoreceptor(LIGHT, **CONE), dict(name="cone", type="photoreceptor", start="zero")))
    s.append((photoreceptor(LIGHT, **dict(ROD, gamma=0.1), substeps=3),
              dict(name="rod", type="photoreceptor", start="zero", receptor="rod", gamma=0.1, substeps=3)))
    s.append((photoreceptor(LIGHT, **OTHER), dict(name="other", type="photoreceptor", start="zero", **with_units(OTHER))))
    s.append((kinetics(LIGHT, **rates), dict(name="kinetics", type="kinetics", start="zero", substeps=4, **with_units(rates))))
    s.append((history(LIGHT, 4, 0.01, 0.1, 0.02, np.array(weights)),
              dict(name="given", type="history", functions=4, peaks=["10 ms", "100 ms"], offset="20 ms", weights=weights)))
    s.append((history(LIGHT, 5, DT, 50 * DT, 5 * DT, np.arange(5)), dict(name="usual", type="history", weights=list(range(5)))))
    return s


def neurons():
    """Each preset, as long as rounding does not grow too far; then every key."""
    s, current = [], 20 * LIGHT
    given = dict(a=0.03, b=0.21, c=-63, d=5, linear=5.1, constant=139, threshold=28)
    for name, values in PRESETS.items():
        s.append((izhikevich_v(current[:30], *values), dict(name=name, type="izhikevich", input="current", output="v", preset=name)))
    s.append((izhikevich_v(current, substeps=3, **given),
              dict(name="given", type="izhikevich", input="current", output="v", preset="resonator", substeps=3, **given)))
    s.append((izhikevich_v(current, *PRESETS["tonic_bursting"]),
              dict(name="bursting", type="izhikevich", input="current", output="v", preset="tonic_bursting")))
    return s


def compare(checks, build, folder, step, stages, tolerance):
    path = os.path.join(folder, step.replace(" ", ""))
    with h5py.File(path + "_light.h5", "w") as f:
        f["light"] = LIGHT
    write_yaml(path + ".yaml", {
        "run": {"step": step},
        "field": {"pixels": [N, N], "resolution": "10 /deg", "tiles": [1, 2]},
        "stimulus": {"type": "dataset", "file": path + "_light.h5:/light", "frame_duration": step},
        "model": {"stages": [dict(name="current", type="gain", input="stimulus", scale=20)] +
                            [dict({"input": "stimulus"}, **keys) for _, keys in stages]},
        "record": {"maps": [{"stage": keys["name"], "precision": "double"} for _, keys in stages]},
    })
    chiasm(build, "chiasm-double", ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet"])
    with h5py.File(path + ".h5") as f:
        for expected, keys in stages:
            checks.near(f[f"maps/{keys['name']}"][: len(expected), 0], expected, tolerance, f"{keys['type']}, {keys['name']}")
            checks.check(np.isfinite(expected).all() and np.ptp(expected) > 0, "... which does something")


def feedback(checks, build, folder):
    """The free-running model, and Poisson spikes of the rate that its own counts give through history: the same draws, so the same counts."""
    path, basis = os.path.join(folder, "feedback"), dict(functions=3, peaks=["1 ms", "20 ms"], weights=[-8, 0.8, -0.3])
    write_yaml(path + ".yaml", {
        "run": {"step": "1 ms", "duration": "0.4 s", "seed": 4},
        "field": {"pixels": [12, 13], "resolution": "10 /deg", "tiles": [2, 1]},
        "stimulus": {"type": "grating", "spatial_frequency": "1 /deg", "temporal_frequency": "4 Hz"},
        "model": {"stages": [
            dict(name="drive", type="gain", input="stimulus", scale=2, offset=4),
            dict(name="free", type="glm", input="drive", **basis),
            dict(name="past", type="history", input="free", **basis),
            dict(name="log_rate", type="sum", inputs=["drive", "past"]),
            dict(name="rate", type="nonlinearity", input="log_rate", form="exponential"),
            dict(name="driven", type="poisson", input="rate"),
            dict(name="alone", type="nonlinearity", input="drive", form="exponential"),
            dict(name="poisson", type="poisson", input="alone"),
        ]},
        "record": {"maps": ["free", "driven", "poisson"]},
    })
    chiasm(build, "chiasm-double", ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet"])
    with h5py.File(path + ".h5") as f:
        free, driven, poisson = (f[f"maps/{name}"][:, 0] for name in ("free", "driven", "poisson"))
    checks.check((free == driven).all() and free.sum() > 1000, f"glm: {int(free.sum())} spikes, the same from its history")
    pairs = (free[1:] * free[:-1]).sum() / free.sum(), (poisson[1:] * poisson[:-1]).sum() / poisson.sum()
    checks.check(pairs[0] < 0.02 < pairs[1], f"... which makes it refractory: {pairs[0]:.4f} instead of {pairs[1]:.4f} spikes follow at once")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        feedback(checks, build, folder)
        compare(checks, build, folder, "8 ms", smooth_stages(), 1e-11)  # powers by exp and log
        compare(checks, build, folder, "1 ms", neurons(), 1e-9)  # rounding grows by the slope of v at each spike
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

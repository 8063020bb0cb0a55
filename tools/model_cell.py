#!/usr/bin/env python3
"""The published biophysical model cell (Yan et al., IEEE Trans. Cybern. 52:39, 2022; subunits of inputs/model_cell.yaml): its kernels and its spikes.

usage: tools/model_cell.py kernel FILE.h5
         writes /subunit [20][2][2] (a 2 x 2 square times the temporal filter) and /pool [1][3][3] (its four places), which the input reads
       tools/model_cell.py spikes RESULT.h5 OUT.h5 [--seed -2000] [--draws 1] [--trials 1] [--skip STEPS]
         draws spikes from the recorded map `rate` (Hz) as the published script does: n = number of `draws` numbers u < rate dt, by the generator
         ran1, trial after trial; OUT.h5 has y [T][trials] counts, r [T][1] Hz, and X [T][8][8] of -0.5 and 0.5 when the stimulus was recorded.
         For exact spikes the rate must be exact: take chiasm-double.  The reference's test frames are 20 to 9019 of stimulus.running_seed -7777.
Needs Debian's python3-h5py.
"""
import argparse
import math
import sys

import h5py
import numpy as np


def temporal():
    """G4 - G5 of the published script, lags 0..19: gamma densities of tau = 50 ms, delayed by 2 frames, of unit norm, sign reversed (OFF).
    Its time axis is k / 29.99999 s."""
    tau = 0.05
    t = np.maximum(np.arange(20) / 29.99999 - 2 / 30, 0)
    gamma = lambda n: (t / tau) ** (n - 1) * np.exp(-t / tau) / (tau * math.factorial(n - 1))
    g = 0.05 * gamma(4) - 0.05 * gamma(5)
    return -g / np.linalg.norm(g)


def ran1(seed):
    """Uniform numbers of the minimal standard generator with shuffle, as in src/base/ran1.h; a generator without end."""
    x, place = -seed, [0] * 32
    for i in range(39, -1, -1):
        x = x * 16807 % 2147483647
        place[i % 32] = x
    last = place[0]
    while True:
        x = x * 16807 % 2147483647
        i = last >> 26
        last, place[i] = place[i], x
        yield min(last / 2147483647, 1 - 1.2e-7)


def draw(rate, dt, seed, draws, trials):
    """[T][trials] counts."""
    u = ran1(seed)
    counts = np.empty((trials, len(rate)), "u1")
    for trial in range(trials):
        numbers = np.fromiter(u, float, len(rate) * draws).reshape(len(rate), draws)
        counts[trial] = (numbers < (rate * dt)[:, None]).sum(axis=1)
    return counts.T


def write_kernels(path):
    with h5py.File(path, "w") as f:
        f["subunit"] = temporal()[:, None, None] * np.ones((2, 2))
        f["pool"] = np.array([[[1.0, 0, 1], [0, 0, 0], [1, 0, 1]]])


def write_spikes(a):
    with h5py.File(a.result) as f, h5py.File(a.out, "w") as out:
        rate = f["maps/rate"]
        dt, rate = rate.attrs["dt_s"], rate[a.skip :, 0, 0, 0].astype(float)
        y = draw(rate, dt, a.seed, a.draws, a.trials)
        out["y"], out["r"] = y, rate[:, None]
        if "maps/stimulus" in f:
            out["X"] = (f["maps/stimulus"][a.skip :, 0] - 0.5).astype("f4")
        out["y"].attrs.update({"seed": a.seed, "draws": a.draws, "frame_rate_hz": 1 / dt})
        print(f"{a.out}: {len(rate)} frames, {a.trials} trials, {int(y.sum())} spikes, mean rate {rate.mean():.4g} Hz")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    which = p.add_subparsers(dest="what", required=True)
    k = which.add_parser("kernel")
    k.add_argument("file")
    s = which.add_parser("spikes")
    s.add_argument("result")
    s.add_argument("out")
    s.add_argument("--seed", type=int, default=-2000)
    s.add_argument("--draws", type=int, default=1, help="numbers a frame: at most so many spikes [1]")
    s.add_argument("--trials", type=int, default=1)
    s.add_argument("--skip", type=int, default=0, help="first frames left out")
    a = p.parse_args()
    write_kernels(a.file) if a.what == "kernel" else write_spikes(a)
    return 0


if __name__ == "__main__":
    sys.exit(main())

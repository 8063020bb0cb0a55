#!/usr/bin/env python3
"""The published biophysical model cell (Yan et al., IEEE Trans. Cybern. 52:39, 2022; subunits of inputs/model_cell.yaml): its kernels and its spikes.

usage: tools/model_cell.py kernel FILE.h5
         writes /subunit [20][2][2] (a 2 x 2 square times the temporal filter) and /pool [1][3][3] (its four places), which the input reads
       tools/model_cell.py spikes RESULT.h5 OUT.h5 [--seed -2000] [--draws 1] [--trials 1] [--skip STEPS]
         draws spikes from the recorded map `rate` (Hz) as the published script does: n = number of `draws` numbers u < rate dt, by the generator
         ran1, trial after trial; OUT.h5 has y [T][trials] counts, r [T][1] Hz, and X [T][8][8] of -0.5 and 0.5 when the stimulus was recorded.
         For exact spikes the rate must be exact: take chiasm-double.  The reference's test frames are 20 to 9019 of stimulus.running_seed -7777.
       tools/model_cell.py score FIT.h5 [--kernel filters] [--rate PREDICTED.h5 TRUE.h5] [--skip 20]
         how well the filters of a fit, /parameters/<kernel>/kernel, match the four subunits: for each the best cosine between its 2 x 2 square and
         the spatial component (SVD) of any filter, placed at any position of the map; Moran's I of each filter; and the correlation of two recorded
         maps `rate`, of the fitted model and of the cell
       tools/model_cell.py cells TRAIN.h5 OUT.h5
         four cells that look at the X of training data: quad (the published one), pair (two diagonal squares), row3 (three squares in a row), one4
         (a single linear square of 4 x 4), with about the same mean rate; r [T][4] Hz and y [T][4] spikes of seeds -2000 ... -2003
       tools/model_cell.py transfer FIT.h5 CELLS.h5
         the correlation of each network (rows) with the rate of each cell (columns) at the test steps of a fit, beside that of the cells' true rates
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


def spatial(kernel):
    """[filter][y][x] profiles of kernels [filter][1][lag][y][x]: first spatial component, turned over because kernels are impulse responses."""
    found = []
    for k in kernel[:, 0]:
        v = np.linalg.svd(k.reshape(len(k), -1), full_matrices=False)[2][0]
        found.append(v.reshape(k.shape[1:])[::-1, ::-1])
    return np.array(found)


def subunit_cosines(profiles, side=8):
    """Best |cosine| of each subunit with any profile at any place of the board."""
    best = np.zeros(4)
    ny, nx = profiles.shape[1:]
    for i, (top, left) in enumerate(((2, 2), (2, 4), (4, 2), (4, 4))):
        square = np.zeros((side, side))
        square[top : top + 2, left : left + 2] = 0.5
        for p in profiles:
            for y in range(side - ny + 1):
                for x in range(side - nx + 1):
                    best[i] = max(best[i], abs((p * square[y : y + ny, x : x + nx]).sum()) / max(np.linalg.norm(p), 1e-300))
    return best


def moran(p):
    """Moran's I of a map with its four neighbours as weights."""
    d = p - p.mean()
    pairs = 2 * ((d[1:] * d[:-1]).sum() + (d[:, 1:] * d[:, :-1]).sum())
    return p.size / (2 * (d[1:].size + d[:, 1:].size)) * pairs / (d * d).sum()


def score(a):
    with h5py.File(a.fit) as f:
        profiles = spatial(f[f"parameters/{a.kernel}/kernel"][()])
    cosines = subunit_cosines(profiles)
    print("subunit cosines " + " ".join(f"{c:.4f}" for c in cosines) + f", mean {cosines.mean():.4f}")
    print("Moran's I " + " ".join(f"{moran(p):.2f}" for p in profiles))
    if a.rate:
        rates = []
        for path in a.rate:
            with h5py.File(path) as f:
                rates.append(f["maps/rate"][a.skip :, 0, 0, 0])
        print(f"CC with the rate {np.corrcoef(rates)[0, 1]:.4f} over {len(rates[0])} frames")


CELLS = {"quad": (((2, 2), (2, 4), (4, 2), (4, 4)), 2, 2.5), "pair": (((2, 2), (4, 4)), 2, 1.25), "row3": (((3, 1), (3, 3), (3, 5)), 2, 1.9),
         "one4": (((2, 2),), 4, 2)}  # corners of the squares, their side, threshold


def cells(a):
    with h5py.File(a.train) as f:
        x, dt, g = f["X"][()].astype(float), 1 / f["y"].attrs["frame_rate_hz"], temporal()
    rates = []
    for corners, side, threshold in CELLS.values():
        drive = [np.convolve(x[:, y : y + side, x0 : x0 + side].sum(axis=(1, 2)), g)[: len(x)] for y, x0 in corners]
        rates.append(2 * np.maximum(sum(np.maximum(d, 0) for d in drive) - threshold, 0))
    with h5py.File(a.out, "w") as out:
        out["r"] = np.array(rates).T
        out["y"] = np.hstack([draw(r, dt, -2000 - i, 1, 1) for i, r in enumerate(rates)])
    print("  ".join(f"{name} {r.mean():.4g} Hz" for name, r in zip(CELLS, rates)))


def transfer(a):
    with h5py.File(a.fit) as f, h5py.File(a.cells) as c:
        rates = c["r"][()][f["prediction/step"][()]].T
        found = f["prediction/rate"][()][:, :, 0]
    both = np.corrcoef(np.vstack([found, rates]))
    print("        " + "".join(f"{name:>8}" for name in CELLS) + "    true rates")
    for i, name in enumerate(CELLS):
        print(f"{name:>8}" + "".join(f"{v:8.3f}" for v in both[i, 4:]) + "    " + "".join(f"{v:8.3f}" for v in both[4 + i, 4:]))


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
    c = which.add_parser("score")
    c.add_argument("fit")
    c.add_argument("--kernel", default="filters", help="stage whose kernel is looked at")
    c.add_argument("--rate", nargs=2, metavar=("PREDICTED", "TRUE"))
    c.add_argument("--skip", type=int, default=20, help="first frames left out")
    m = which.add_parser("cells")
    m.add_argument("train")
    m.add_argument("out")
    t = which.add_parser("transfer")
    t.add_argument("fit")
    t.add_argument("cells")
    a = p.parse_args()
    {"kernel": lambda a: write_kernels(a.file), "spikes": write_spikes, "score": score, "cells": cells, "transfer": transfer}[a.what](a)
    return 0


if __name__ == "__main__":
    sys.exit(main())

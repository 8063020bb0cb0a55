#!/usr/bin/env python3
"""The published CNN of a single ganglion cell (Yan et al.; golden/cnn_grad.h5, float64): loss, gradients and ten steps of Adam by chiasm fit.

The 64 windows of 20 frames are 64 sequences that start from zero; only the last step of each has a response."""
import os
import sys

import h5py
import numpy as np

from parity import Checks, chiasm, work_folder

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

MODEL = """
run: {step: 33.333 ms}
field: {pixels: [8, 8], resolution: 10 /deg}
stimulus: {type: dataset, file: "data.h5:/X", black: 0, range: 1}
model:
  stages:
    - {name: cnn, type: conv, input: stimulus, size: [20, 7, 7], channels: 4, region: valid, bias: true, start: zero, algorithm: ALGORITHM,
       values: "data.h5:/cnn"}
    - {name: relu, type: nonlinearity, input: cnn}
    - {name: readout, type: dense, input: relu, values: "data.h5:/readout"}
    - {name: rate, type: nonlinearity, input: readout, form: parametric_softplus, a: 0.2, b: 5}
fit:
  parameters: [{name: cnn.kernel, scale: 1}, {name: cnn.bias, scale: 1}, {name: readout.kernel, scale: 1},
               {name: readout.bias, scale: 1}, {name: rate.a, scale: 1, map: free}, {name: rate.b, scale: 1, map: free}]
  data: {source: "data.h5:/t", axes: [time, cell]}
  loss: {type: poisson, activity: [{stage: readout, l1: 1e-3}]}
  penalties: [{parameter: cnn.kernel, l1: 5.5e-4, l2: 1e-3}, {parameter: readout.kernel, l2: 1e-3}]
  sequences: {length: 20, batch: 64, order: in_order}
  split: {validation: 0}
"""


def write_data(golden, folder):
    windows, frames = golden["X"].shape[:2]
    target = np.full((windows * frames, 1), np.nan)
    target[frames - 1::frames, 0] = golden["t"][()]
    with h5py.File(os.path.join(folder, "data.h5"), "w") as f:
        f["X"] = golden["X"][()].reshape(-1, 8, 8).astype(float)
        f["t"] = target
        f["cnn/kernel"], f["cnn/bias"] = to_impulse(golden["P0_W"][()]), golden["P0_b"][()]
        f["readout/kernel"], f["readout/bias"] = to_profile(golden["P0_D"][()]), golden["P0_c"][()]


def to_impulse(w):
    """The network's weights [filter][frame, oldest first][y][x] multiply a window as it stands; an impulse response is that turned over."""
    return w[:, None, ::-1, ::-1, ::-1]


def to_profile(d):
    return d.reshape(1, -1, 1, 2, 2)[..., ::-1, ::-1]


def fit(build, folder, algorithm, name, optimiser):
    with open(os.path.join(folder, name + ".yaml"), "w") as f:
        f.write(MODEL.replace("ALGORITHM", algorithm) + optimiser)
    out = os.path.join(folder, name + ".h5")
    chiasm(build, "chiasm-double", ["fit", os.path.join(folder, name + ".yaml"), "--out", out, "--overwrite", "--quiet"])
    return h5py.File(out)


def differs(result, golden, prefix, start=None):
    """Largest difference of every parameter from golden, or of start minus it (one step of rate 1: the gradient)."""
    pairs = {"cnn/kernel": to_impulse(golden[prefix + "W"][()]), "cnn/bias": golden[prefix + "b"][()], "readout/kernel": to_profile(golden[prefix + "D"][()]),
             "readout/bias": golden[prefix + "c"][()], "rate/a": golden[prefix + "al"][()], "rate/b": golden[prefix + "be"][()]}
    worst = {}
    for name, want in pairs.items():
        got = result["parameters/" + name][()].ravel()
        if start:
            got = result["start/" + name][()].ravel() - got
        worst[name] = float(np.abs(got - want.ravel()).max())
    return worst


def main(build):
    checks = Checks()
    with work_folder() as folder, h5py.File(os.path.join(ROOT, "tests", "golden", "cnn_grad.h5")) as golden:
        write_data(golden, folder)
        for algorithm in ["auto", "window", "direct", "fft"]:
            step = fit(build, folder, algorithm, "step", "  optimiser: {method: sgd, rate: 1}\n  epochs: 1\n")
            checks.near(step["history/train_loss"][:1], golden["loss"][:1], 1e-10, f"{algorithm}: loss")
            for name, worst in differs(step, golden, "G_", True).items():
                checks.check(worst <= 1e-10, f"{algorithm}: gradient by {name}: {worst:.2g}")
            step.close()
        adam = fit(build, folder, "auto", "adam", "  optimiser: {method: adam, rate: 1e-3}\n  epochs: 10\n")
        checks.near(adam["history/train_loss"][()], golden["loss"][()], 1e-10, "ten losses")
        for name, worst in differs(adam, golden, "P10_").items():
            checks.check(worst <= 1e-10, f"after ten steps of Adam: {name}: {worst:.2g}")
        adam.close()
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

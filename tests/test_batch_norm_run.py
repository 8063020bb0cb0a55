#!/usr/bin/env python3
"""A fit of a small network with batch normalisation: derivatives, running statistics, ranks, restarts, what is written back.   test_batch_norm_run.py BUILD_FOLDER"""
import os
import re
import signal
import subprocess
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder
from test_fit_run import Fits, value
from test_resume import ENVIRONMENT, ranks_of, wait_for

COMMON = {"run": {"duration": "7 s", "step": "10 ms", "seed": 3}, "field": {"pixels": [12, 12], "resolution": "10 /deg"},
          "stimulus": {"type": "checkerboard", "check": "0.1 deg", "rate": "100 Hz"}}
CONV = {"name": "conv", "type": "conv", "input": "stimulus", "size": [1, 5, 5], "channels": 2, "init": "normal 0.1", "region": "valid"}


def network(**norm):
    return {"stages": [CONV, dict({"name": "norm", "type": "batch_norm", "input": "conv"}, **norm),
                       {"name": "soft", "type": "nonlinearity", "form": "softplus", "input": "norm"},
                       {"name": "flat", "type": "batch_norm", "input": "soft", "each": "unit", "momentum": 0.3, "positive_scale": True, "scale": 0.8},
                       {"name": "out", "type": "dense", "input": "flat", "channels": 3, "init": "normal 0.1", "seed": 6}]}


def fit(**more):
    """Six sequences to train by, four at a time: every second step has two."""
    return dict({"parameters": ["conv.kernel", "norm.*", "flat.*", "out.*"], "data": {"source": "true.h5", "output": "out"}, "loss": {"type": "squared"},
                 "sequences": {"length": 80, "batch": 4, "burn_in": 20}, "split": {"validation": 0.2, "how": "last"},
                 "optimiser": {"method": "adam", "rate": 0.01}, "score": "correlation", "epochs": 4}, **more)


def statistics(fits):
    """With a momentum of 1 and next to no step, the running values are the mean and the unbiased variance of all sequences in flight."""
    sections = fit(parameters=["out.bias"], sequences={"length": 80, "batch": 8, "burn_in": 20, "order": "in_order"}, split={"validation": 0, "test": 0},
                   optimiser={"method": "sgd", "rate": 1e-12}, epochs=1)
    fits.write("all.yaml", **COMMON, model=network(momentum=1), record={"maps": ["conv"]}, fit=sections)
    fits.run("all.yaml", "conv.h5", command="simulate")
    fits.run("all.yaml", "all.h5")
    with h5py.File(fits.path("conv.h5")) as f:
        maps = f["maps/conv"][()][np.concatenate([np.arange(100) + 80 * i for i in range(8)])]  # with each sequence's burn-in
        wanted = maps.mean(axis=(0, 2, 3)), maps.var(axis=(0, 2, 3), ddof=1)
        fits.checks.near(value(fits.path("all.h5"), "norm.mean"), wanted[0], 1e-5, "running mean of all sequences (float)")
        fits.checks.near(value(fits.path("all.h5"), "norm.variance"), wanted[1], 1e-5, "running variance")


def whole(fits):
    checks = fits.checks
    fits.write("fit.yaml", **COMMON, record={"maps": ["out"]}, model=network(), fit=fit())
    orders = fits.run("fit.yaml", "none.h5", more=["--check"], program="chiasm-double")
    found = [float(x) for x in re.findall(r"([0-9.]+)  right$", orders, re.M)]
    checks.check(len(found) == 8 and all(1.9 <= x <= 2.1 for x in found) and "WRONG" not in orders, f"--check in double: Taylor orders {found}")
    fits.run("fit.yaml", "one.h5")
    for ranks, more in ((2, []), (5, []), (1, ["--set", "run.threads=2"])):
        fits.run("fit.yaml", "other.h5", ranks, more)
        fits.same("one.h5", "other.h5", f"{ranks} ranks {' '.join(more)}")
    with h5py.File(fits.path("one.h5")) as f:
        loss, mean = f["history/train_loss"][()], f["parameters/flat/mean"]
        checks.check(loss[-1] < 0.7 * loss[0], f"the loss falls from {loss[0]:.4g} to {loss[-1]:.4g}")
        checks.check(mean.shape == (2, 8, 8) and np.all(mean[()] > 0.1) and not mean.attrs["fitted"], f"a running mean of each unit: {mean.shape}")
        prediction, steps = f["prediction/out"][()], f["prediction/step"][()]
    fits.run("one_fitted.yaml", "again.h5", command="simulate")
    with h5py.File(fits.path("again.h5")) as f:
        checks.near(f["maps/out"][()][steps, :, 0, 0], prediction, 1e-5, "the fitted input simulates to the prediction, by running statistics")
        checks.check(prediction.std() > 0.01, "which varies")


def search(fits):
    """One channel, all sequences at once, a momentum of 1: a search finds the scale that the batch's own deviation asks for; keys hold the statistics."""
    def model(**norm):
        return {"stages": [{"name": "blurred", "type": "blur", "input": "stimulus", "sigma": "0.1 deg"},
                           dict({"name": "norm", "type": "batch_norm", "input": "blurred", "momentum": 1}, **norm)]}
    fits.write("line.yaml", **COMMON, model=model(scale=3, shift=2, mean=0.4, variance=0.05), record={"maps": ["norm", "blurred"]})
    fits.run("line.yaml", "line.h5", command="simulate")
    sections = fit(parameters=["norm.scale", "norm.shift"], data={"source": "line.h5", "output": "norm"}, sequences={"length": 100, "batch": 7},
                   split={"validation": 0}, optimiser={"method": "lbfgs", "max_steps": 40})
    fits.write("search.yaml", **COMMON, model=model(), record={"maps": ["norm"]}, fit=sections)
    tiles = ["--set", "field.tiles=[2, 3]"]
    fits.run("search.yaml", "tiles.h5", 1, tiles)
    fits.run("search.yaml", "tiles3.h5", 3, tiles)
    fits.same("tiles.h5", "tiles3.h5", "seven sequences in six tiles on 3 ranks")
    fits.run("search.yaml", "search.h5", 2)
    fits.run("search_fitted.yaml", "again.h5", command="simulate")
    with h5py.File(fits.path("line.h5")) as f, h5py.File(fits.path("again.h5")) as g:
        x, y = f["maps/blurred"][()].astype(float), f["maps/norm"][()]
        found = [float(value(fits.path("search.h5"), f"norm.{name}")[0]) for name in ("scale", "shift", "mean", "variance")]
        wanted = [3 * np.sqrt((x.var() + 1e-3) / 0.051), 2 + 3 * (x.mean() - 0.4) / np.sqrt(0.051), x.mean(), x.var(ddof=1)]
        fits.checks.near(np.array(found), np.array(wanted), 1e-4, f"scale, shift, mean and variance {found}")
        fits.checks.near(g["maps/norm"][()], y, 1e-4, "the fitted input, which says them in its keys, simulates to the response")
    with open(fits.path("search_fitted.yaml")) as text:
        fits.checks.check(re.search(r"mean: 0\.[0-9]+", text.read()), "its text has the running mean")


def interrupted(fits):
    fits.write("long.yaml", **COMMON, model=network(), fit=fit(epochs=500)) # some seconds on a fast machine
    fits.run("long.yaml", "whole.h5")
    command = ["mpirun", "--oversubscribe", "-n", "2", os.path.join(fits.build, "chiasm"), "fit", fits.path("long.yaml"), "--out", fits.path("term.h5"), "--quiet",
               "--restart-every", "0.05s"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    fits.checks.check(wait_for(fits.path("term.h5") + ".restart", process), "a restart file appears while the fit goes on")
    for rank in ranks_of(process):
        os.kill(rank, signal.SIGTERM)
    process.wait(60)
    said = chiasm(fits.build, "chiasm", ["fit", fits.path("long.yaml"), "--out", fits.path("term.h5"), "--resume"])
    fits.checks.check("goes on at epoch" in said, re.search(r"goes on.*|nothing.*", said).group(0))
    fits.same("whole.h5", "term.h5", "stopped on 2 ranks, resumed on 1")


def refused(fits):
    for what, words in ((["norm.mean"], "there is no parameter 'norm.mean'"),):
        fits.write("bad.yaml", **COMMON, model=network(), fit=fit(parameters=what))
        said = fits.run("bad.yaml", "bad.h5", expect=65)
        fits.checks.check(words in said, f"{what[0]} is refused")
    each = [{"name": f"cell{i}", "at": [0, 0], "columns": [i]} for i in range(3)]
    fits.write("bad.yaml", **COMMON, model=network(), fit=fit(networks={"window": [12, 12], "each": each}))
    fits.checks.check("cannot be part of several networks" in fits.run("bad.yaml", "bad.h5", expect=65), "several networks are refused")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        fits = Fits(build, folder, checks)
        fits.write("true.yaml", **COMMON, model={"stages": [CONV, {"name": "soft", "type": "nonlinearity", "form": "softplus", "input": "conv", "scale": 3},
                                                            {"name": "out", "type": "dense", "input": "soft", "channels": 3, "init": "normal 0.1"}]},
                   record={"maps": ["out"]})
        fits.run("true.yaml", "true.h5", command="simulate")
        for part in (statistics, whole, search, interrupted, refused):
            print(part.__name__)
            part(fits)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

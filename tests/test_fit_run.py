#!/usr/bin/env python3
"""chiasm fit through the command line: derivatives, recovery, ranks, restarts, memory, networks, stimuli, divergence.   test_fit_run.py BUILD_FOLDER [PART]"""
import os
import re
import signal
import subprocess
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml
from test_ranks import digests
from test_resume import ENVIRONMENT, ranks_of, wait_for

FIELD = {"pixels": [24, 20], "resolution": "10 /deg", "tiles": [2, 2]}
NOISE = {"type": "checkerboard", "check": "0.3 deg", "rate": "50 Hz"}


def retina(sigma, tau, gain):
    return {"stages": [{"name": "opl", "type": "blur", "input": "stimulus", "sigma": f"{sigma} deg"},
                       {"name": "low", "type": "lowpass", "input": "opl", "tau": f"{tau} ms", "gain": gain}]}


def cnn(channels):
    return {"stages": [{"name": "conv", "type": "conv", "input": "stimulus", "size": [6, 5, 5], "channels": 2, "init": "normal 0.1", "region": "valid"},
                       {"name": "relu", "type": "nonlinearity", "form": "relu", "input": "conv"},
                       {"name": "out", "type": "dense", "input": "relu", "channels": channels, "init": "normal 0.1", "seed": 6}]}


def fit_of(parameters, **more):
    return dict({"parameters": parameters, "data": {"source": "response.h5", "output": "low"}, "loss": {"type": "squared"},
                 "sequences": {"length": 100, "batch": 2, "burn_in": 60}, "split": {"validation": 0}, "optimiser": {"method": "adam", "rate": 0.05},
                 "epochs": 8}, **more)


class Fits:
    def __init__(self, build, folder, checks):
        self.build, self.folder, self.checks = build, folder, checks

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, **sections):
        write_yaml(self.path(name), dict({"run": {"duration": "400 ms", "step": "1 ms", "seed": 3}, "field": FIELD, "stimulus": NOISE}, **sections))

    def run(self, name, out, ranks=1, more=(), program="chiasm", expect=0, command="fit"):
        return chiasm(self.build, program, [command, self.path(name), "--out", self.path(out), "--overwrite"] + list(more), ranks, expect)

    def same(self, a, b, what):
        first, other = digests(self.path(a)), digests(self.path(b))
        differ = [name for name in first if other.get(name) != first[name]]
        self.checks.check(first.keys() == other.keys() and not differ, f"{what}: {len(first)} digests equal {differ or ''}")


def value(path, name):
    with h5py.File(path) as f:
        return f["parameters/" + name.replace(".", "/")][()]


def recovery(fits):
    """Three parameters of a small retina from starts up to 100 % off: by batches on any number of ranks, and by a search."""
    checks = fits.checks
    fits.write("true.yaml", model=retina(0.2, 10, 3), record={"maps": ["low"]})
    fits.run("true.yaml", "response.h5", command="simulate")
    fits.write("fit.yaml", model=retina(0.3, 20, 2), fit=fit_of(["opl.sigma", "low.tau", "low.gain"]))
    orders = fits.run("fit.yaml", "none.h5", more=["--check"], program="chiasm-double")
    found = [float(x) for x in re.findall(r"([0-9.]+)  right$", orders, re.M)]
    checks.check(len(found) == 4 and all(1.9 <= x <= 2.1 for x in found) and "WRONG" not in orders, f"--check in double: Taylor orders {found}")
    fits.run("fit.yaml", "one.h5")
    with h5py.File(fits.path("one.h5")) as f:
        loss, n = f["history/train_loss"][()], len(f["prediction/step"])
        checks.check(len(loss) == 8 and loss[-1] < 0.3 * loss[0] and n == 300, f"adam by batches: loss {loss[0]:.3g} to {loss[-1]:.3g} in 8 epochs")
    for ranks, more in ((2, []), (3, []), (5, []), (1, ["--set", "run.threads=2"])):
        fits.run("fit.yaml", "other.h5", ranks, more)
        fits.same("one.h5", "other.h5", f"{ranks} ranks {' '.join(more)}")
    fits.write("search.yaml", model=retina(0.3, 20, 2), fit=fit_of("all", optimiser={"method": "lbfgs", "max_steps": 60}))
    fits.run("search.yaml", "search.h5")
    fits.run("search.yaml", "search5.h5", 5)  # more ranks than leaves
    fits.same("search.h5", "search5.h5", "lbfgs on 5 ranks")
    for name, true in (("opl.sigma", 0.2), ("low.tau", 0.01), ("low.gain", 3)):
        seen = float(value(fits.path("search.h5"), name)[0])
        checks.check(abs(seen / true - 1) < 1e-3, f"lbfgs recovers {name}: {seen:.6g} for {true}")
    fits.write("correlation.yaml", model=retina(0.3, 20, 2), fit=fit_of(["opl.sigma", "low.tau"], loss={"type": "correlation"}))
    orders = fits.run("correlation.yaml", "none.h5", more=["--check"], program="chiasm-double")
    found = [float(x) for x in re.findall(r"([0-9.]+)  right$", orders, re.M)]
    checks.check(len(found) == 3 and all(1.9 <= x <= 2.1 for x in found), f"loss correlation: Taylor orders {found}")


def written_back(fits):
    """RESULT_fitted.yaml simulates to the prediction; kernels and biases included."""
    fits.write("true_cnn.yaml", run={"duration": "6 s", "step": "10 ms"}, field={"pixels": [12, 12], "resolution": "10 /deg"},
               stimulus={"type": "checkerboard", "check": "0.1 deg", "rate": "100 Hz"}, model=cnn(3), record={"maps": ["out"]})
    fits.run("true_cnn.yaml", "cnn.h5", command="simulate")
    common = {"run": {"duration": "6 s", "step": "10 ms", "seed": 3}, "field": {"pixels": [12, 12], "resolution": "10 /deg"},
              "stimulus": {"type": "checkerboard", "check": "0.1 deg", "rate": "100 Hz"}, "record": {"maps": ["out"]}}
    sections = fit_of(["conv.kernel", "out.*"], data={"source": "cnn.h5", "output": "out"}, sequences={"length": 100, "batch": 2, "burn_in": 5},
                      split={"validation": 0.2, "test": 0.2, "how": "last"}, optimiser={"method": "adam", "rate": 0.01}, score="correlation", epochs=5,
                      penalties=[{"parameter": "conv.kernel", "l2": 1e-4}])
    fits.write("cnn.yaml", **common, model=cnn(3), fit=sections)
    fits.run("cnn.yaml", "fitted.h5")
    fits.run("fitted_fitted.yaml", "again.h5", command="simulate")
    with h5py.File(fits.path("fitted.h5")) as f, h5py.File(fits.path("again.h5")) as g:
        prediction, steps = f["prediction/out"][()], f["prediction/step"][()]
        again = g["maps/out"][()][steps, :, 0, 0]
        # A simulation begins at step 0, a sequence 5 steps before it counts, which is all that the kernel sees.
        fits.checks.near(again, prediction, 1e-5, "the fitted input simulates to the prediction (rounding of FFT sizes)")
        fits.checks.check(prediction.std() > 0.01 and len(steps) == 100, f"{len(steps)} test steps, which vary")
        best, score = int(f["history/best"][0]), f["history/score"][()]
        fits.checks.check(score.argmax() == best, f"the best of {len(score)} looks is kept: {best}")

    normed = cnn(3)
    normed["stages"].insert(1, {"name": "norm", "type": "batch_norm", "input": "conv"})
    normed["stages"][2]["input"] = "norm"
    fits.write("normed.yaml", **common, model=normed, fit=dict(sections, parameters="all", penalties=[]))
    fits.run("normed.yaml", "normed.h5")
    fits.run("normed.yaml", "normed2.h5", 2)
    fits.same("normed.h5", "normed2.h5", "batch norm on 2 ranks")
    with h5py.File(fits.path("normed.h5")) as f:
        fits.checks.check((f["parameters/norm/mean"][()] != f["start/norm/mean"][()]).all(), "its running means are kept with the parameters")

    def network(columns):
        return dict(sections, parameters=["conv.kernel", "out.kernel", "out.bias"], epochs=3, networks={"window": [12, 12], "each": columns})
    each = [{"name": f"cell{i}", "at": [0, 0], "columns": [i]} for i in range(3)]
    fits.write("three.yaml", **common, model=cnn(1), fit=network(each))
    fits.write("second.yaml", **common, model=cnn(1), fit=network(each[1:2]))
    fits.run("three.yaml", "three.h5")
    fits.run("second.yaml", "second.h5")
    for ranks in (2, 4):
        fits.run("three.yaml", "three_ranks.h5", ranks)
        fits.same("three.h5", "three_ranks.h5", f"three networks on {ranks} ranks")
    with h5py.File(fits.path("three.h5")) as f, h5py.File(fits.path("second.h5")) as g:
        same = np.array_equal(f["parameters/conv/kernel"][1], g["parameters/conv/kernel"][0]) and np.array_equal(f["history/score"][:, 1], g["history/score"][:, 0])
        fits.checks.check(same, "a network among three has the bits of one alone")
        fits.checks.check(not np.array_equal(f["parameters/conv/kernel"][1], f["parameters/conv/kernel"][0]), "networks of other cells differ")


def memory(fits):
    """States kept sparsely, chunks of any length and back-propagation cut at the sequence's length give the same fit; a shorter cut another one."""
    field = {"pixels": [96, 80], "resolution": "10 /deg", "tiles": [1, 2]}
    fits.write("large.yaml", run={"duration": "160 ms", "step": "1 ms", "seed": 3}, field=field, model=retina(0.2, 10, 3), record={"maps": ["low"]})
    fits.run("large.yaml", "response.h5", program="chiasm-double", command="simulate")
    sections = fit_of(["opl.sigma", "low.tau", "low.gain"], sequences={"length": 160}, epochs=3)
    fits.write("large_fit.yaml", run={"duration": "160 ms", "step": "1 ms", "seed": 3}, field=field, model=retina(0.3, 20, 2), fit=sections)
    seen = {}
    for name, more in {"one chunk": [], "chunks of 3": ["--set", "run.chunk=3"], "1 MiB": ["--set", "run.chunk=3", "--set", "fit.memory_mb=1"],
                       "cut at the end": ["--set", "fit.sequences.truncate=160"], "cut at 8 steps": ["--set", "fit.sequences.truncate=8"]}.items():
        said = fits.run("large_fit.yaml", "large.h5", more=more, program="chiasm-double")
        seen[name] = np.array([value(fits.path("large.h5"), p)[0] for p in ("opl.sigma", "low.tau", "low.gain")])
        if name == "1 MiB":
            k = int(re.search(r"every (\d+)-th state", said).group(1))
            fits.checks.check(k > 1, f"in 1 MiB every {k}-th state is kept")
        if name != "one chunk":
            error = np.abs(seen[name] / seen["one chunk"] - 1).max()
            # Sums over other chunks are rounded otherwise: 1e-15 each, three steps of adam.
            fits.checks.check((error < 1e-10) == (name != "cut at 8 steps"), f"{name}: parameters differ by {error:.1e}")


def interrupted(fits):
    fits.write("long.yaml", model=retina(0.3, 20, 2), fit=fit_of(["opl.sigma", "low.tau", "low.gain"], epochs=30))
    fits.write("true.yaml", model=retina(0.2, 10, 3), record={"maps": ["low"]})
    fits.run("true.yaml", "response.h5", command="simulate")
    fits.run("long.yaml", "whole.h5", 2)

    def start(out, ranks):
        command = ["mpirun", "--oversubscribe", "-n", str(ranks), os.path.join(fits.build, "chiasm"), "fit", fits.path("long.yaml"), "--out", fits.path(out), "--quiet",
                   "--restart-every", "0.05s"]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for out, sent, code, ranks in (("term.h5", signal.SIGTERM, 75, 3), ("kill.h5", signal.SIGKILL, None, 1)):
        process = start(out, 2)
        fits.checks.check(wait_for(fits.path(out) + ".restart", process), "a restart file appears while the fit goes on")
        for rank in ranks_of(process)[: 1 if sent == signal.SIGKILL else None]:
            os.kill(rank, sent)
        process.wait(60)
        fits.checks.check(process.returncode == code if code else process.returncode != 0, f"{sent.name}: exit code {process.returncode}")
        fits.checks.check(not os.path.exists(fits.path(out)), "the result has no final name yet")
        open(fits.path(out) + ".restart.part", "w").close()  # as if it had been writing one
        said = chiasm(fits.build, "chiasm", ["fit", fits.path("long.yaml"), "--out", fits.path(out), "--resume"], ranks)
        fits.checks.check("goes on at epoch" in said, re.search(r"goes on.*|nothing.*", said).group(0))
        fits.same("whole.h5", out, f"{sent.name}, resumed on {ranks} rank{'s' * (ranks > 1)}")
        left = [f for f in os.listdir(fits.folder) if f.startswith(out + ".")]
        fits.checks.check(not left, f"nothing left behind {left or ''}")
    said = chiasm(fits.build, "chiasm", ["fit", fits.path("long.yaml"), "--out", fits.path("term.h5"), "--resume"])
    fits.checks.check("complete" in said, "--resume of a complete fit says so")
    chiasm(fits.build, "chiasm", ["fit", fits.path("long.yaml"), "--out", fits.path("term.h5")], expect=73)
    fits.checks.check(True, "an existing result is not overwritten: exit code 73")


def most_exciting(fits):
    """Of a linear cell under a norm: its receptive field, reversed in time (Cauchy and Schwarz)."""
    stages = [{"name": "centre", "type": "blur", "input": "stimulus", "sigma": "0.1 deg"}, {"name": "surround", "type": "blur", "input": "stimulus", "sigma": "0.25 deg"},
              {"name": "dog", "type": "sum", "inputs": ["centre", "surround"], "weights": [1, -1]}, {"name": "low", "type": "lowpass", "input": "dog", "tau": "10 ms"}]
    sections = {"target": "stimulus", "stimulus": {"stage": "low", "cells": [170], "norm": 0.005}, "sequences": {"length": 1, "burn_in": 29},
                "optimiser": {"method": "sgd", "rate": 1000}, "epochs": 20}
    common = {"run": {"duration": "60 ms", "step": "2 ms"}, "field": {"pixels": [20, 16], "resolution": "10 /deg", "tiles": [2, 2]}}
    fits.write("movie.yaml", **common, stimulus={"type": "uniform", "level": 0.5}, model={"stages": stages}, fit=sections)
    fits.run("movie.yaml", "movie.h5")
    fits.run("movie.yaml", "movie3.h5", 3)
    fits.same("movie.h5", "movie3.h5", "a stimulus on 3 ranks")
    with h5py.File(fits.path("movie.h5")) as f:
        movie = f["stimulus/movie"][()] - 0.5
        reached = f["prediction/low"][-1, 170]
    fits.checks.check(abs(np.sqrt((movie**2).mean()) - 0.005) < 1e-6, "its norm is the largest allowed")
    best = np.zeros_like(movie)  # responses to a small flash of the cell's own pixel at step 0: the filter is symmetric in space
    with h5py.File(fits.path("flash_in.h5"), "w") as f:
        frames = np.full(movie.shape, 0.5, np.float32)
        frames[0, 170 // 20, 170 % 20] = 1
        f["x"] = frames
    fits.write("flash.yaml", **common, stimulus={"type": "dataset", "file": fits.path("flash_in.h5") + ":/x", "frame_duration": "2 ms"}, model={"stages": stages}, record={"maps": ["low"]})
    fits.run("flash.yaml", "flash.h5", command="simulate")
    with h5py.File(fits.path("flash.h5")) as f:
        best = f["maps/low"][()][::-1, 0]
    cosine = float((movie * best).sum() / np.sqrt((movie**2).sum() * (best**2).sum()))
    # The response to a flash and the receptive field differ at the field's edge, whose pixels stand for all beyond: below 1e-3 here.
    fits.checks.check(cosine > 0.995 and reached > 0, f"most exciting movie and receptive field: cosine {cosine:.5f}, response {reached:.4g}")


def diverging(fits):
    fits.write("true.yaml", model=retina(0.2, 10, 3), record={"maps": ["low"]})
    fits.run("true.yaml", "response.h5", command="simulate")
    fits.write("wild.yaml", model=retina(0.3, 20, 2), fit=fit_of([{"name": "low.gain"}], optimiser={"method": "sgd", "rate": 1e6}, epochs=200))
    stages = [{"name": name, "type": "lowpass", "input": before, "tau": "10 ms", "gain": 1e12} for name, before in zip(["a", "b", "c", "low"], ["stimulus", "a", "b", "c"])]
    fits.write("nan.yaml", model={"stages": stages}, fit=fit_of(["low.gain"]))
    for name, ranks, word in (("wild.yaml", 1, "low.gain went furthest"), ("wild.yaml", 2, "low.gain went furthest"), ("nan.yaml", 1, "'low' has a value that is not finite")):
        lines = [line for line in fits.run(name, "wild.h5", ranks, expect=76).splitlines() if "chiasm: error" in line]
        fits.checks.check(len(lines) == 1 and re.search(r"epoch \d+, step \d+", lines[0]) and word in lines[0], f"{name}, {ranks} ranks: {lines}")
    fits.checks.check(not os.path.exists(fits.path("wild.h5")), "no result is left")


def networks_input(fits, name, nnet, epochs, batch=1, **loss):
    """So many networks, each with a window and a response of its own."""
    random = np.random.default_rng(5)
    with h5py.File(fits.path("networks.h5"), "w") as f:
        f["y"] = random.poisson(0.3, (130, nnet)).astype(np.float32)
        f["table"] = np.array([[3 * k % 12, 2 * k % 8, k] for k in range(nnet)], float)
    source = fits.path("networks.h5")
    fits.write(name, run={"duration": "1300 ms", "step": "10 ms", "seed": 3}, field={"pixels": [20, 16], "resolution": "10 /deg"},
               stimulus={"type": "checkerboard", "check": "0.1 deg", "rate": "100 Hz"}, model=cnn(1),
               fit={"parameters": ["conv.kernel", "out.*"], "data": {"source": source + ":/y", "axes": ["time", "cell"]},
                    "loss": dict({"type": "squared", "activity": [{"stage": "out", "l1": 1e-2, "l2": 1e-3}]}, **loss),
                    "penalties": [{"parameter": "conv.kernel", "l1": 1e-4, "laplace_space": 1e-3}],
                    "sequences": {"length": 30, "batch": batch, "burn_in": 6}, "split": {"validation": 0},
                    "optimiser": {"method": "adam", "rate": 1e-2}, "epochs": epochs, "evaluate_every": 1 << 20,
                    "networks": {"window": [8, 8], "table": source + ":/table"}})


def device_waits(fits):
    """The emulated device: the results of the CPU, and the host waits as often for many networks as for few."""
    if not os.path.exists(os.path.join(fits.build, "chiasm_emulated")):
        print("  skipped: no emulated device (sanitizers)")
        return
    checks = fits.checks
    for batch, chunk, loss in ((1, 4096, {}), (3, 4096, {}), (1, 16, {}), (3, 16, {"type": "correlation"}), (1, 4096, {"type": "correlation"})):
        networks_input(fits, "networks.yaml", 3, 3, batch, **loss)
        more = ["--set", f"run.chunk={chunk}"]
        for threads in (1, 2):
            fits.run("networks.yaml", f"cpu{threads}.h5", more=more + ["--threads", str(threads)])
        fits.run("networks.yaml", "ranks.h5", 2, more=more)
        fits.run("networks.yaml", "device.h5", more=more + ["--device", "cuda"], program="chiasm_emulated")
        what = f"networks, batches of {batch}, chunks of {chunk} {loss.get('type', '')}"
        fits.same("cpu1.h5", "cpu2.h5", what + ", 2 threads")
        fits.same("cpu1.h5", "ranks.h5", what + ", 2 ranks")
        ours, theirs = (value(fits.path(name), "conv.kernel") for name in ("device.h5", "cpu1.h5"))
        checks.near(ours, theirs, 1e-5, what + ", device: float, a dozen steps of Adam, which divides by the size of a derivative")

    def waits(nnet, epochs):
        networks_input(fits, "networks.yaml", nnet, epochs)
        return int(re.search(r"(\d+) waits", fits.run("networks.yaml", "none.h5", more=["--device", "cuda"], program="chiasm_emulated")).group(1))
    os.environ["CHIASM_EMULATE_COUNT"] = "1"
    few, many = ((waits(n, 3) - waits(n, 1)) / 8 for n in (2, 7))  # 4 batches an epoch
    del os.environ["CHIASM_EMULATE_COUNT"]
    checks.check(few == many <= 2, f"waits for the device in a step: {few:g} with 2 networks, {many:g} with 7")


def main(build, only=None):
    checks = Checks()
    with work_folder() as folder:
        fits = Fits(build, folder, checks)
        for part in (recovery, written_back, memory, interrupted, most_exciting, diverging, device_waits):
            if only in (None, part.__name__):
                print(part.__name__)
                part(fits)
    checks.done()


if __name__ == "__main__":
    main(*sys.argv[1:3])

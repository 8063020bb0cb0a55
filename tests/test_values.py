#!/usr/bin/env python3
"""`values` of a stage: parameters from a file do what the same ones written as keys do, also where sizes follow from them or only a fit has them.
test_values.py BUILD_FOLDER"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, read_maps, work_folder, write_yaml


def run(build, folder, name, stages, expect=0):
    tree = {"run": {"duration": "60 ms", "step": "2 ms"}, "field": {"pixels": [24, 24], "resolution": "10 /deg", "tiles": [2, 2]},
            "stimulus": {"type": "checkerboard", "check": "0.2 deg", "rate": "60 Hz"}, "model": {"stages": stages}, "record": {"maps": [stages[-1]["name"]]}}
    path, result = os.path.join(folder, name + ".yaml"), os.path.join(folder, name + ".h5")
    write_yaml(path, tree)
    said = chiasm(build, "chiasm", ["simulate", path, "--quiet", "--out", result], expect=expect)
    return said if expect else read_maps(result, stages[-1]["name"])


def main(build):
    checks, random = Checks(), np.random.default_rng(1)
    with work_folder() as folder:
        file = os.path.join(folder, "values.h5")
        kernel, taps = random.normal(size=(1, 1, 3, 7, 7)), random.normal(size=(11, 11))
        with h5py.File(file, "w") as f:
            f["wide/sigma"], f["slow/tau"], f["slow/weight"] = 0.3, 0.1, 0.9
            f["bank/kernel"], f["bank/bias"] = kernel, [0.7]
            f["free/taps"], f["free/bias"] = taps, 0.5
            f["two/kernel"], f["two/bias"] = np.zeros((2, 1, 1, 1, 1)), [1, 2]
            f["kernel"] = kernel

        def pair(name, given, written):
            ours = run(build, folder, name, [dict(given, name="a", input="stimulus", values=f"{file}:/{name}")])
            checks.near(ours, run(build, folder, name + "_key", written), 1e-6, f"{name}: as by keys")  # rounding of float

        pair("wide", {"type": "blur", "sigma": "0.1 deg"}, [{"name": "a", "type": "blur", "input": "stimulus", "sigma": "0.3 deg"}])
        fir = {"type": "highpass", "form": "fir", "weight": 0.9}
        pair("slow", dict(fir, tau="10 ms"), [dict(fir, name="a", input="stimulus", tau="100 ms")])
        pair("bank", {"type": "conv", "size": [3, 7, 7], "init": "zeros", "bias": True},
             [{"name": "c", "type": "conv", "input": "stimulus", "kernel": f"{file}:/kernel"}, {"name": "a", "type": "gain", "input": "c", "offset": 0.7}])
        ours = run(build, folder, "free", [{"name": "a", "type": "blur", "input": "stimulus", "sigma": "0.1 deg", "values": f"{file}:/free"}])
        seen = run(build, folder, "seen", [{"name": "a", "type": "gain", "input": "stimulus"}])
        wide = np.pad(seen, ((0, 0), (5, 5), (5, 5)), mode="edge")
        want = 0.5 + sum(taps[j, i] * wide[:, 10 - j : 34 - j, 10 - i : 34 - i] for j in range(11) for i in range(11))
        checks.near(ours, want, 1e-5, "free taps against numpy")  # 121 products in float
        two = {"name": "c", "type": "conv", "input": "stimulus", "size": [1, 1, 1], "channels": 2, "init": "zeros", "bias": True, "values": f"{file}:/two"}
        said = run(build, folder, "two", [two, {"name": "a", "type": "gain", "input": "c", "delay": 3}], expect=65)
        checks.check("rest at different values" in said, "channels that rest at different values do not feed a delay")
        with h5py.File(file, "a") as f:
            f["moved/scale"] = 3.0
        gain = {"name": "g", "type": "gain", "input": "stimulus", "scale": 2, "offset": -1, "values": f"{file}:/moved"}  # its rest leaves 0
        said = run(build, folder, "past", [gain, {"name": "z", "type": "delay", "input": "g", "steps": 2, "start": "zero"},
                                           {"name": "a", "type": "sum", "inputs": ["g", "z"], "delay": [3, 0]}], expect=65)
        checks.check("start: zero" in said and "'g' rests at 0.5" in said, "a rest value that leaves 0 is not taken for 0")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

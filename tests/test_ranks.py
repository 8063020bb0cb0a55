#!/usr/bin/env python3
"""The same bits for any number of ranks and threads and any chunk length: digests of every dataset.   test_ranks.py BUILD_FOLDER

One retina with everything that crosses tiles (leaky heat, gain control, pooling, an FFT convolution, noisy spikes with random refractoriness and start).
"""
import hashlib
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml


def digests(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("provenance"):
            found[name] = hashlib.sha256(repr((item.shape, str(item.dtype))).encode() + np.ascontiguousarray(item[()]).tobytes()).hexdigest()

    with h5py.File(path) as f:
        f.visititems(visit)
    return found


def retina(folder):
    rng = np.random.default_rng(5)
    with h5py.File(os.path.join(folder, "kernel.h5"), "w") as f:
        f["k"] = rng.normal(size=(12, 15, 13)) / 100
    stages = [
        {"name": "centre", "type": "leaky_heat", "input": "stimulus", "sigma": "0.08 deg", "tau": "10 ms", "gain": 10},
        {"name": "receptor", "type": "highpass", "input": "centre", "tau": "100 ms", "weight": 0.8, "delay": 1},
        {"name": "surround", "type": "leaky_heat", "input": "receptor", "sigma": "0.2 deg", "tau": "4 ms", "delay": 1},
        {"name": "opl", "type": "sum", "inputs": ["receptor", "surround"], "weights": [1, -1], "rest": 0},
        {"name": "bipolar", "type": "gain_control", "input": "opl", "gain": "150 Hz", "leak": "5 Hz", "feedback": "100 Hz", "sigma": "0.2 deg", "tau": "10 ms", "delay": 1},
        {"name": "transient", "type": "highpass", "input": "bipolar", "tau": "20 ms", "weight": 0.7, "delay": 1},
        {"name": "rate", "type": "rectify", "input": "transient", "value": "37 Hz", "slope": "200 Hz", "delay": 1},
        {"name": "pool", "type": "blur", "input": "rate", "sigma": "0.1 deg"},
        {"name": "cells", "type": "cells", "input": "pool", "mosaic": "hexagonal", "density": "8 /deg", "jitter": "0.02 deg"},
        {"name": "spikes", "type": "lif", "input": "cells", "noise": 0.2, "refractory_sd": "1 ms", "random_start": True, "delay": 1},
        {"name": "linear", "type": "conv", "input": "opl", "kernel": os.path.join(folder, "kernel.h5") + ":/k", "algorithm": "fft"},
    ]
    write_yaml(os.path.join(folder, "retina.yaml"), {
        "run": {"duration": "150 ms", "step": "1 ms", "seed": 11},
        "field": {"pixels": [101, 83], "resolution": "10 /deg", "tiles": [3, 4]},
        "stimulus": {"type": "grating", "kind": "drifting", "orientation": "30 deg", "spatial_frequency": "0.7 /deg", "temporal_frequency": "8 Hz", "contrast": 0.8},
        "model": {"stages": stages},
        "record": {"maps": [{"stage": s, "every": "5 ms"} for s in ("stimulus", "opl", "bipolar", "pool", "linear")], "reports": [{"stage": "cells"}], "spikes": "all"},
    })


def main(build):
    checks = Checks()
    with work_folder() as folder:
        retina(folder)
        first = None
        for ranks, threads, chunk in [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0), (7, 1, 0), (1, 2, 0), (2, 2, 5), (1, 1, 1), (3, 1, 7), (1, 1, 64)]:
            out = os.path.join(folder, f"r{ranks}t{threads}c{chunk}.h5")
            chiasm(build, "chiasm", ["simulate", os.path.join(folder, "retina.yaml"), "--out", out, "--quiet", "--set", f"run.threads={threads}", "--set", f"run.chunk={chunk}"], ranks)
            found = digests(out)
            if first is None:
                first = found
                with h5py.File(out) as f:
                    n = len(f["spikes/spikes/timestamps"])
                checks.check(n > 1000 and len(found) >= 10, f"{len(found)} datasets, {n} spikes")
            differ = [name for name in first if found.get(name) != first[name]] + [name for name in found if name not in first]
            checks.check(not differ, f"{ranks} ranks, {threads} threads, chunk {chunk or 'chosen'}: {len(found)} digests equal" + (f", but {differ}" if differ else ""))
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

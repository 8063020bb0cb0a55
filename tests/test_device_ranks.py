#!/usr/bin/env python3
"""The emulated device: the same bits for any chunk length and number of ranks, whether borders cross through pinned memory or MPI takes device pointers; frames
that come back late are those of their chunk.  test_device_ranks.py BUILD_FOLDER"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml

STAGES = [
    {"name": "opl", "type": "blur", "input": "stimulus", "sigma": "0.1 deg"},
    {"name": "rate", "type": "rectify", "input": "opl", "value": "37 Hz", "slope": "100 Hz", "delay": 1},
    {"name": "cells", "type": "cells", "input": "rate", "mosaic": "hexagonal", "density": "8 /deg", "jitter": "0.02 deg"},
    {"name": "spikes", "type": "lif", "input": "cells", "noise": 0.2, "delay": 1},
]


def main(build):
    checks = Checks()
    with work_folder() as folder:
        model = os.path.join(folder, "model.yaml")
        write_yaml(model, {
            "run": {"duration": "40 ms", "step": "1 ms", "seed": 11},
            "field": {"pixels": [61, 43], "resolution": "10 /deg", "tiles": [2, 3]},
            "stimulus": {"type": "grating", "kind": "drifting", "orientation": "30 deg", "spatial_frequency": "0.7 /deg", "temporal_frequency": "8 Hz", "contrast": 0.8},
            "model": {"stages": STAGES},
            "record": {"maps": [{"stage": "stimulus", "every": "2 ms"}, {"stage": "opl"}], "reports": [{"stage": "cells"}], "spikes": "all"}})
        first = os.path.join(folder, "first.h5")
        chiasm(build, "chiasm_emulated", ["simulate", model, "--device", "cuda", "--quiet", "--out", first])
        cases = [("chunk of 7", 1, ["--set", "run.chunk=7"], "auto"), ("2 ranks, staged", 2, [], "off"), ("2 ranks, device pointers", 2, [], "on"),
                 ("3 ranks, chunk of 11", 3, ["--set", "run.chunk=11"], "auto")]
        for name, ranks, words, aware in cases:
            os.environ["CHIASM_GPU_AWARE_MPI"] = aware
            os.environ.pop("CHIASM_EMULATE_OPEN", None)
            if aware == "on":
                os.environ["CHIASM_EMULATE_OPEN"] = "1"
            other = os.path.join(folder, "other.h5")
            said = chiasm(build, "chiasm_emulated", ["simulate", model, "--device", "cuda", "--overwrite", "--out", other] + words, ranks)
            same = all(subprocess.run(["h5diff", first, other, group], stdout=subprocess.DEVNULL).returncode == 0 for group in ("/maps", "/report", "/spikes"))
            checks.check(same, f"{name}: as one rank")
            if ranks > 1:
                way = "device to device" if aware == "on" else "pinned host memory"
                checks.check(said.count("borders  go") == 1 and way in said, f"{name}: the log says once, {way}")
        os.environ["CHIASM_GPU_AWARE_MPI"] = "perhaps"
        said = chiasm(build, "chiasm_emulated", ["simulate", model, "--device", "cuda", "--overwrite", "--out", other], 1, 64)
        checks.check("auto, on and off" in said, "CHIASM_GPU_AWARE_MPI=perhaps is refused")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

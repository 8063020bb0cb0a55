#!/usr/bin/env python3
"""Parity with the default retina of Convis 0.6.4.2: every stage to 1e-10 of its range in double (2e-5 in float), every spike.   test_convis.py BUILD_FOLDER"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, read_maps, work_folder, write_yaml

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
OURS = {"opl_center": "receptor", "opl_surround": "surround", "opl": "opl", "bipolar": "bipolar", "gang_on": "ganglion_0", "gang_off": "ganglion_1"}


def main(build):
    checks = Checks()
    with h5py.File(os.path.join(HERE, "convis.h5")) as golden, work_folder() as folder:
        frames = golden["frames"][()]
        for program, tolerance in (("chiasm-double", 1e-10), ("chiasm", 2e-5)):
            path = os.path.join(folder, program)
            start = {"noise": 0, "start_v": 0}  # as the reference was run: no noise, V and refractory time 0 at the start
            write_yaml(path + ".yaml", {
                "run": {"step": "1 ms"},
                "field": {"pixels": [32, 32], "resolution": "10 /deg", "tiles": [2, 2]},
                "stimulus": {"type": "dataset", "file": os.path.join(HERE, "virtualretina.h5") + ":/luminance", "frame_duration": "1 ms"},
                "model": {"preset": "convis", "latency": "none", "convis": start},
                "record": {"maps": [{"stage": s, "precision": "double"} for s in list(OURS.values()) + ["spikes_0", "spikes_1"]]},
            })
            options = [o for k in (0, 1) for o in ("--set", f"model.stages.spikes_{k}.start_refractory=0 s")]
            chiasm(build, program, ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet"] + options)
            for name, stage in OURS.items():
                checks.near(read_maps(path + ".h5", stage)[frames], golden[name][()], tolerance, f"{program} {name}")
            for k, name in enumerate(["spikes_on", "spikes_off"]):
                differ = int((read_maps(path + ".h5", f"spikes_{k}") != golden[name][()]).sum())
                checks.check(differ == 0, f"{program} {name}: {differ} of {int(np.sum(golden[name][()]))} spikes differ")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""Parity with the default retina of Convis 0.6.4.2: every stage to 1e-10 of its range in double (2e-5 in float), every spike; and
a field of one pixel against plain loops.   test_convis.py BUILD_FOLDER"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, read_maps, work_folder, write_yaml

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
OURS = {"opl_center": "receptor", "opl_surround": "surround", "opl": "opl", "bipolar": "bipolar", "gang_on": "ganglion_0", "gang_off": "ganglion_1"}


def gaussian_sum(sigma_px):
    """Of Convis' kernel of two dimensions: on one pixel, whose value is everywhere, all that a blur does."""
    half = int(np.ceil(np.sqrt(-2 * sigma_px ** 2 * np.log(0.001 * sigma_px * np.sqrt(2 * np.pi)))))
    i = np.arange(1 - half, half)
    return np.clip(np.exp(-i ** 2 / (2 * sigma_px ** 2)) / (sigma_px * np.sqrt(2 * np.pi)), 0, 1).sum() ** 2


def low_pass(x, tau, dt):
    y, out, e = 0.0, [], np.exp(-dt / tau)
    for value in x:
        y = (1 + e) * value + e * y
        out.append(y * dt / (2 * tau))
    return np.array(out)


def one_pixel(x, dt, pixels_per_deg):
    """The default retina up to the bipolar cells, with feedback 100 Hz, as plain loops; gain control in its steps of 1 ms whatever dt."""
    c1 = 10 * low_pass(gaussian_sum(0.05 * pixels_per_deg) * x, 0.01, dt)
    c = c1 - 0.8 * low_pass(np.concatenate([c1[:1], c1[:-1]]), 0.1, dt)
    opl = c - low_pass(gaussian_sum(0.15 * pixels_per_deg) * c, 0.004, dt)
    a1, v, a, bipolar = -np.exp(-0.001 / 5), 0.0, 1.0, []
    for current in opl:
        g = 50 + a
        e = 50 * current / g
        a = 100 * v * v * (1 - a1) - a1 * a  # its own mean: the pool has nothing to do
        v = (v - e) * np.exp(-0.001 * g) + e
        bipolar.append(v)
    return {"receptor": c, "opl": opl, "bipolar": np.array(bipolar)}


def check_one_pixel(checks, build, folder):
    """A field of one pixel, much smaller than the surround, at another step and resolution than the reference's."""
    x = np.random.default_rng(7).random(60)
    with h5py.File(os.path.join(folder, "pixel_x.h5"), "w") as f:
        f["x"] = x[:, None, None]
    path = os.path.join(folder, "pixel")
    for dt, resolution in [(0.001, 10), (0.0025, 31.7)]:
        wanted = one_pixel(x, dt, resolution)
        write_yaml(path + ".yaml", {
            "run": {"step": f"{dt} s"},
            "field": {"pixels": [1, 1], "resolution": f"{resolution} /deg"},
            "stimulus": {"type": "dataset", "file": os.path.join(folder, "pixel_x.h5") + ":/x"},
            "model": {"preset": "convis", "latency": "none", "convis": {"feedback": "100 Hz"}},
            "record": {"maps": list(wanted)},
        })
        chiasm(build, "chiasm-double", ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet", "--overwrite"])
        for name, want in wanted.items():
            checks.near(read_maps(path + ".h5", name)[:, 0, 0], want, 1e-11, f"one pixel, step {dt} s, {resolution} /deg: {name}")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        check_one_pixel(checks, build, folder)
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

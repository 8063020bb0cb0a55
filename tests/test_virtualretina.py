#!/usr/bin/env python3
"""Parity with VirtualRetina 2.2.3: six configurations, every map, every spike.   test_virtualretina.py BUILD_FOLDER

Double: 1e-9 of each map's range (two exact evaluations of the same recursions differ by rounding only), spikes in the same order with times within
1e-6 s (the reference's files keep 6 digits).  Float: 2e-5 of the range.
"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, read_maps, read_spikes, work_folder, write_yaml

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "virtualretina.h5")
OURS = {"receptorFrames": "receptor", "horizontalFrames": "surround", "oplFrames": "opl", "bipolarFrames": "bipolar", "cgc_adaptationFrames": "adaptation",
        "ganglion_Layer_0": "ganglion_0", "ganglion_Layer_1": "ganglion_1"}


def run_case(build, program, folder, golden, case):
    group = golden[case]
    xml = group["retina.xml"][()].decode()
    step = float(xml.split('temporal-step__sec="')[1].split('"')[0])
    maps = [OURS[name] for name in group["maps"] if name in OURS]
    path = os.path.join(folder, case)
    with open(path + ".xml", "w") as f:
        f.write(xml)
    write_yaml(path + ".yaml", {
        "run": {"step": f"{step} s"},
        "field": {"pixels": [32, 32], "resolution": "10 /deg", "tiles": [1, 1], "border": "virtualretina"},
        "stimulus": {"type": "dataset", "file": GOLDEN + ":/luminance", "frame_duration": f"{step} s"},
        "model": {"preset": "virtualretina", "file": path + ".xml", "latency": "virtualretina", "blur": "deriche"},
        "record": {"maps": [{"stage": m, "precision": "double"} for m in maps], "spikes": "all"},
    })
    options = ["--set", "model.stages.bipolar.adaptation_output=adaptation"] if "adaptation" in maps else []
    chiasm(build, program, ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet"] + options)
    return path + ".h5", xml, step


def compare_maps(checks, result, group, frames, case, xml, step, tolerance):
    for name, reference in group["maps"].items():
        if name == "cgc_attenuationFrames":  # exp(-(g0 + A_(t-1)) dt)
            leak = float(xml.split('bipolar-inert-leaks__Hz="')[1].split('"')[0])
            adaptation = read_maps(result, "adaptation")
            before = np.concatenate([np.zeros_like(adaptation[:1]), adaptation[:-1]])
            ours = np.exp(-(leak + before) * step)[frames]
        else:
            ours = read_maps(result, OURS[name])[frames]
        checks.near(ours, reference[()], tolerance, f"{case} {name}")


def compare_spikes(checks, result, group, case):
    """The reference numbers the cells on through its layers and lists all spikes by time."""
    cells, times, first = [], [], 0
    with h5py.File(result) as f:
        counts = [len(f[f"cells/cells_{k}/id"]) for k in range(2) if f"cells/cells_{k}" in f]
    for k, count in enumerate(counts):
        cell, time = read_spikes(result, f"spikes_{k}")
        cells.append(cell + first)
        times.append(time)
        first += count
    cell, time = np.concatenate(cells), np.concatenate(times)
    reference_cell, reference_time = group["spike_cell"][()], group["spike_time"][()]
    checks.check(len(cell) == len(reference_cell), f"{case} {len(cell)} spikes of {len(reference_cell)}")
    if len(cell) != len(reference_cell):
        return
    order = np.lexsort((cell, np.round(time, 6)))
    reference_order = np.lexsort((reference_cell, reference_time))
    error = np.abs(time[order] - reference_time[reference_order]).max()
    by_cell, reference_by_cell = np.lexsort((time, cell)), np.lexsort((reference_time, reference_cell))
    checks.check(np.array_equal(cell[by_cell], reference_cell[reference_by_cell]), f"{case} the same cells fire as often")
    error = np.abs(time[by_cell] - reference_time[reference_by_cell]).max()
    checks.check(error <= 1e-6, f"{case} spike times within {error:.1e} s (at most 1e-06)")
    time_order = np.argsort(time, kind="stable")
    distinct = np.diff(time[time_order]) > 2e-6
    moved = cell[time_order] != reference_cell[np.argsort(reference_time, kind="stable")]
    inside_ties = ~(np.concatenate([[True], distinct]) & np.concatenate([distinct, [True]]))
    checks.check(not np.any(moved & ~inside_ties), f"{case} the same order (up to spikes within 2e-6 s)")


def main(build):
    checks = Checks()
    with h5py.File(GOLDEN) as golden, work_folder() as folder:
        frames = golden["frames"][()]
        for case in [name for name, item in golden.items() if isinstance(item, h5py.Group)]:
            for program, tolerance in (("chiasm-double", 1e-9), ("chiasm", 2e-5)):
                result, xml, step = run_case(build, program, folder, golden, case)
                compare_maps(checks, result, golden[case], frames, f"{program} {case}", xml, step, tolerance)
                if program == "chiasm-double" and "spike_cell" in golden[case]:
                    compare_spikes(checks, result, golden[case], f"{program} {case}")
                os.remove(result)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

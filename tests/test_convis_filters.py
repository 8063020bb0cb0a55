#!/usr/bin/env python3
"""Parity with the spiking layers and sensors of Convis 0.6.4.2 in double.   test_convis_filters.py BUILD_FOLDER

The reference of Izhikevich and of the event sensors has Convis' fault: the k-th pixel that fires gets the reset of the k-th pixel of the image.  A
plain loop with the fault emulated meets the reference; the same loop without it is what the program must give.
"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
LIF = {"leak": "50 Hz", "noise": 0, "refractory": "3 ms", "refractory_sd": "0 s", "start_v": 0, "start_refractory": "0 s", "drive": "per_step"}


def stage(name, kind, source, **keys):
    return dict({"name": name, "type": kind, "input": source}, **keys)


STAGES = [
    stage("current_14", "gain", "stimulus", scale=14),
    stage("current_10", "gain", "stimulus", scale=10),
    stage("current_lif", "gain", "stimulus", scale=0.08, offset=0.06),
    stage("light", "gain", "stimulus", offset=0.1),
    {"name": "change", "type": "sum", "inputs": ["stimulus", "stimulus"], "weights": [1, -1], "delay": [0, 1]},
    stage("izhikevich", "izhikevich", "current_14", output="all"),
    stage("fitzhugh_nagumo", "fitzhugh_nagumo", "stimulus"),
    stage("hodgkin_huxley", "hodgkin_huxley", "current_10", start="closed"),
    stage("leaky", "lif_euler", "current_lif", form="leaky", **LIF),
    stage("refractory", "lif_euler", "current_lif", form="refractory", **LIF),
    stage("linear", "event_sensor", "change", form="linear", threshold=0.2),
    stage("log", "event_sensor", "light", form="log", threshold=1.2),
]


def assign(old, where, new, fault):
    """What masked_scatter does (fault), or what it was meant to do."""
    out = old.copy()
    out[where] = new.ravel()[: where.sum()] if fault else new[where]
    return out


def izhikevich(current, fault):
    v, u, out = np.full(current.shape[1:], -65.0), np.full(current.shape[1:], -13.0), []
    for x in current:
        for _ in range(2):
            dv, du = 0.5 * (0.04 * v * v + 5.0 * v + 140 - u + x), 0.5 * 0.02 * (0.2 * v - u)
            v, u = v + dv, u + du
        fires = v >= 30
        v = np.where(fires, -65.0, v)
        u = assign(u, fires, u + 6, fault)
        out.append([fires, v, u])
    return np.array(out, float)


def events_linear(change, threshold, fault):
    a, out = np.zeros(change.shape[1:]), []
    for x in change:
        a = a + x
        on, off = a > threshold, a < -threshold
        a = assign(a, on, a - threshold, fault)
        a = assign(a, off, a + threshold, fault)
        out.append([on, off])
    return np.array(out, float)


def events_log(light, threshold, fault):
    r, out = np.full(light.shape[1:], 0.5), []
    for x in light:
        on, off = x / r > threshold, x / r < 1 / threshold
        r = assign(r, on, r * threshold, fault)
        r = assign(r, off, r / threshold, fault)
        out.append([on, off])
    return np.array(out, float)


def main(build):
    checks = Checks()
    with h5py.File(os.path.join(HERE, "virtualretina.h5")) as f:
        x = f["luminance"][()].astype(float)
    with h5py.File(os.path.join(HERE, "convis_filters.h5")) as f:
        golden = {name: f[name][()] for name in f}
    rows, frames = golden["rows"], golden["frames"]
    with work_folder() as folder:
        path = os.path.join(folder, "filters")
        write_yaml(path + ".yaml", {
            "run": {"step": "1 ms"},
            "field": {"pixels": [32, 32], "resolution": "10 /deg", "tiles": [2, 2]},
            "stimulus": {"type": "dataset", "file": os.path.join(HERE, "virtualretina.h5") + ":/luminance", "frame_duration": "1 ms"},
            "model": {"stages": STAGES},
            "record": {"maps": [{"stage": s["name"], "precision": "double"} for s in STAGES[5:]]},
        })
        chiasm(build, "chiasm-double", ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet"])
        with h5py.File(path + ".h5") as f:
            ours = {s["name"]: f[f"maps/{s['name']}"][()] for s in STAGES[5:]}

    # what follows the reference itself
    checks.near(ours["fitzhugh_nagumo"][:, 0, rows, ::2], golden["FitzHughNagumo"], 1e-12, "FitzHugh-Nagumo")
    checks.near(ours["hodgkin_huxley"][:, 0, rows, ::2], golden["HogkinHuxley"], 1e-9, "Hodgkin-Huxley")
    for name, reference in (("leaky", "LeakyIntegrateAndFireNeuron"), ("refractory", "RefractoryLeakyIntegrateAndFireNeuron")):
        differ = int((ours[name][:, 0] != golden[reference]).sum())
        checks.check(differ == 0 and golden[reference].sum() > 1000,
                     f"{name} integrate-and-fire: {differ} of {int(golden[reference].sum())} spikes differ")

    # what follows the loop, which follows the reference with its fault
    faulty = izhikevich(14 * x, True)
    checks.check((faulty[:, 0] == golden["izhikevich_spikes"]).all(), "the loop with the fault has the spikes of Convis' Izhikevich")
    checks.near(faulty[frames, 1:, :, ::4], golden["izhikevich_v_u"], 1e-9, "... and its v, u (rounding grows by the slope of v at each spike)")
    right = izhikevich(14 * x, False)
    checks.check((right[:, 0] == ours["izhikevich"][:, 0]).all(), f"Izhikevich: {int(right[:, 0].sum())} spikes of the loop without the fault")
    checks.near(ours["izhikevich"][:, 1:], right[:, 1:], 1e-9, "... and its v, u")
    change = np.concatenate([0 * x[:1], np.diff(x, axis=0)])
    for name, loop, drive, threshold in (("linear", events_linear, change, 0.2), ("log", events_log, x + 0.1, 1.2)):
        checks.check((loop(drive, threshold, True) == golden[f"events_{name}"]).all(),
                     f"the loop with the fault has the events of Convis' {name} sensor")
        right = loop(drive, threshold, False)
        differ = int((right != ours[name]).sum())
        checks.check(differ == 0, f"{name} event sensor: {differ} of {int(right.sum())} events differ from the loop without the fault")
        checks.check((right != golden[f"events_{name}"]).any(), f"... which the fault changes ({int(golden[f'events_{name}'].sum())} events)")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

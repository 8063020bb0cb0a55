#!/usr/bin/env python3
"""tools/plot.py: every kind of picture from small results made here; what is drawn is looked up in the axes, not in pixels.
test_plot.py BUILD_FOLDER"""
import os
import subprocess
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(HERE, "..", "tools")
sys.path[:0] = [HERE, TOOLS]
sys.dont_write_bytecode = True
from parity import Checks, work_folder

try:
    import matplotlib
except ModuleNotFoundError:
    print("skipped: no matplotlib")
    sys.exit(77)
import plot
from plots import filters, fit
from plots.result import Result, expand, response_of, settings_of

STEP = 0.02
INPUT = """run:
  step: 20 ms
field:
  pixels: [6, 4]
  resolution: 10 /deg
  background: 0.5
"""


def fill(group, tree):
    """Nested tables of arrays; keys with @ are attributes."""
    for name, value in tree.items():
        if isinstance(value, dict):
            fill(group.require_group(name), value)
        elif name.startswith("@"):
            group.attrs[name[1:]] = value
        else:
            group[name] = value


def write(folder, name, tree, said=""):
    path = os.path.join(folder, name)
    with h5py.File(path, "w") as f:
        fill(f, dict(tree, provenance={"input": INPUT + said, "input_path": os.path.join(folder, "a.yaml"), "@step_s": STEP}))
    return path


def page_of(path, **more):
    with h5py.File(path) as f:
        return plot.draw(f, path, **more)


def of(page, name):
    return page.axes[page.panels.index(name)]


def texts(ax):
    return [t.get_text() for t in ax.texts]


def drawn(page):
    return all(ax.has_data() or texts(ax) for axes in page.axes for ax in axes)


def expect(checks, page, panels, what):
    page.fig.canvas.draw()
    checks.check(page.panels == panels, f"{what}: {len(page.panels)} panels" + ("" if page.panels == panels else f" {page.panels}, not {panels}"))
    checks.check(drawn(page), "all of them hold something")


def simulated(checks, folder):
    rng = np.random.default_rng(1)
    cells = {"x_deg": rng.uniform(-0.2, 0.2, 9), "y_deg": rng.uniform(-0.2, 0.2, 9), "type": "On midget"}
    spikes = {"timestamps": np.sort(rng.uniform(0, 1000, 300)), "node_ids": rng.integers(0, 9, 300)}
    tree = {"maps": {"opl": rng.normal(size=(50, 1, 4, 6)), "stimulus": rng.uniform(size=(50, 1, 4, 6))}, "cells": {"ganglion": cells},
            "spikes": {"ganglion": spikes}}
    path = write(folder, "simulated.h5", tree, "\nrecord:\n  maps: [stimulus, opl]\n")
    with h5py.File(path, "a") as f:
        for name in f["maps"]:
            f["maps"][name].attrs.update({"dt_s": STEP, "start_s": 0.0, "y0": 0, "x0": 0, "pixels_per_deg": 10})
    page = page_of(path, time=0.5)
    expect(checks, page, ["stimulus", "opl", "spikes", "raster", "rates"], "simulate")
    with h5py.File(path) as f:
        checks.check(np.array_equal(of(page, "opl")[0].images[0].get_array(), f["maps/opl"][25, 0]), "the map at the moment asked for")
    del tree["maps"]
    page = page_of(write(folder, "spikes.h5", tree))
    expect(checks, page, ["spikes", "raster", "rates"], "without maps")
    checks.check(len(of(page, "raster")[0].lines[0].get_xdata()) == 300, "every spike of a few cells is in the raster")


def history(nlook, nnet, best, score="correlation"):
    shape = (nlook,) if nnet == 0 else (nlook, nnet)
    down = np.exp(-np.arange(nlook) / 2.0).reshape(-1, *[1] * (len(shape) - 1)) * np.ones(shape)
    return {"epoch": np.arange(nlook), "step": 10 * np.arange(1, nlook + 1), "train_loss": down, "validation_loss": 1.1 * down,
            "score": 1 - down, "rate": np.full(shape, 0.01), "best": np.array(best, float)}


def fitted_numbers(checks, folder):
    rng = np.random.default_rng(2)
    target = rng.normal(size=(40, 7))
    tree = {"history": history(8, 0, [5]), "parameters": {"opl": {"sigma": [0.15], "tau": [0.01]}, "low": {"gain": [3.0]}},
            "start": {"opl": {"sigma": [0.225], "tau": [0.015]}, "low": {"gain": [3.0]}}, "score": {"loss": [0.1], "@part": "test"},
            "prediction": {"step": np.arange(100, 140), "low": target + 0.1}, "target": {"low": target}}
    path = write(folder, "numbers.h5", tree)
    with h5py.File(path, "a") as f:
        for name, unit, is_fitted in (("opl/sigma", "deg", 1), ("opl/tau", "s", 1), ("low/gain", "", 0)):
            f["parameters"][name].attrs.update({"units": unit, "fitted": float(is_fitted)})
        f["history/score"].attrs["kind"] = "correlation"
    page = page_of(path)
    expect(checks, page, ["loss", "score", "scalars", "prediction low", "scatter low"], "fit of numbers")
    said = texts(of(page, "scalars")[0])
    checks.check(said == ["0.225 deg  \u2192  0.15 deg", "15 ms  \u2192  10 ms"], f"those that were fitted, with units: {said}")
    kept = [line for line in of(page, "loss")[0].lines if line.get_linestyle() == ":"]
    checks.check(len(kept) == 1 and kept[0].get_xdata()[0] == 60, "the look that was kept is marked")
    ax = of(page, "prediction low")[0]
    checks.check(np.allclose(ax.lines[0].get_xdata(), STEP * np.arange(100, 140)) and ax.get_xlabel() == "time (s)" and "1.0000" in ax.get_title(),
                 "prediction in seconds, with its score")
    runs = fit.longest_run(np.array([7, 8, 9, 20, 21, 22, 23, 3, 4]), np.array([1, 1, 1, 1, 1, 1, 0, 1, 1], bool))
    checks.check(runs == slice(0, 3), "sequences that lie apart are not joined")


def fitted_kernels(checks, folder):
    rng = np.random.default_rng(3)
    space, time = rng.normal(size=(4, 6)), np.array([0, -0.5, 2, 1.0])
    map_, course, share = filters.separate(time[:, None, None] * space)
    checks.check(np.allclose(map_, 2 * space) and np.allclose(course, time / 2) and abs(share - 1) < 1e-12,
                 "a separable kernel: its map at the peak and its course")
    kernel = rng.normal(size=(3, 2, 1, 4, 4, 6))
    kernel[2] *= 10
    tree = {"history": history(3, 3, [0, 1, 2]), "networks": {"name": "a\nb\nc\n"}, "prediction": {"step": np.arange(5)}, "target": {},
            "parameters": {"conv": {"kernel": kernel, "bias": rng.normal(size=(3, 2))}}, "score": {"loss": np.ones(3)},
            "start": {"conv": {"kernel": kernel, "bias": np.zeros((3, 2))}}}
    page = page_of(write(folder, "kernels.h5", tree))
    bank = [f"kernel conv.kernel {n}: {o}" for n in "abc" for o in range(2)]
    expect(checks, page, ["loss", "score", "vector conv.bias"] + bank, "fit of networks")
    limits = {of(page, name)[0].images[0].get_clim() for name in bank}
    checks.check(len(limits) == 1 and -min(limits)[0] == min(limits)[1], "all filters under one symmetric scale")
    seen = of(page, bank[0])[0].images[0].get_array()
    checks.check(np.allclose(seen, filters.separate(kernel[0, 0, 0])[0][::-1, ::-1]),
                 "as a receptive field: the impulse response turned by 180 degrees")
    lags = of(page, bank[0])[1].lines[-1].get_xdata()
    checks.check(np.allclose(lags, [0, 20, 40, 60]) and of(page, bank[0])[1].get_xlabel() == "lag (ms)", "lags in ms")
    checks.check(np.allclose(of(page, bank[0])[0].images[0].get_extent(), [-0.3, 0.3, -0.2, 0.2]), "space in degrees")
    checks.check(page_of(os.path.join(folder, "kernels.h5"), only=["b"]).panels[-2:] == bank[2:4], "--only b")


def made_stimulus(checks, folder):
    movie = np.full((30, 4, 6), 0.5)
    movie[10:, 2, 3] += np.linspace(0.1, 0.3, 20)
    movie[10:, 0, 0] -= 0.1
    tree = {"history": history(4, 0, [3]), "parameters": {"low": {"tau": [0.1]}}, "start": {"low": {"tau": [0.1]}}, "stimulus": {"movie": movie},
            "prediction": {"step": np.arange(1), "low": np.ones((1, 24))}, "target": {"low": np.zeros((1, 24))}, "score": {"loss": [-1.0]}}
    path = write(folder, "movie.h5", tree, "fit:\n  target: stimulus\n")
    with h5py.File(path, "a") as f:
        f["parameters/low/tau"].attrs["fitted"] = 0.0
        f["history/score"].attrs["kind"] = "-loss"
    page = page_of(path)
    frames = [name for name in page.panels if name.startswith("frame")]
    expect(checks, page, frames + ["stimulus course", "stimulus slice", "loss"], "fit of a stimulus")
    lines = of(page, "stimulus course")[0].lines
    checks.check(len(frames) == 8 and frames[-1] == "frame 29", "frames up to the last")
    checks.check(np.array_equal(lines[1].get_ydata(), movie[:, 2, 3]) and np.array_equal(lines[2].get_ydata(), movie[:, 0, 0]),
                 "the pixel of most contrast and its opponent")


def cell(rng, nstep):
    sta = rng.normal(size=(5, 4, 6)) * np.array([1, 2, 9, 3, 1])[:, None, None]
    attributes = {"@nspike": 500.0, "@first_lag": 1.0, "@lag": 2.0, "@share": 0.9, "@window_y": 1.0, "@window_x": 2.0}
    scores = {"@cc": 0.4, "@part": "test", "@cc_frozen": 0.7, "@cc_norm": 0.8}
    kinds = {"histogram": {"edge": np.arange(5.0), "rate": np.array([0.1, 0.2, 0.3, 0.4]), "@bits_per_spike": 0.5, **scores},
             "softplus": {"@a": 0.1, "@b": 1.0, "@c": 0.0, "@bits_per_spike": 0.6, **scores}}
    stc = {"eigenvalues": np.linspace(2, -2, 9), "eigenvectors": rng.normal(size=(9, 3, 3)), "@null_low": -1.2, "@null_high": 1.6,
           "@excitatory": 1.0, "@suppressive": 2.0}
    return dict(attributes, sta=sta, temporal=rng.normal(size=5), spatial=rng.normal(size=(3, 3)), nonlinearity=kinds,
                prediction=rng.uniform(size=nstep), stc=stc, istac={"information": np.array([0.3, 0.4]), "@total": 0.5},
                stnmf={"modules": rng.uniform(size=(4, 3, 3)), "moran": np.array([0.6, 0.4, 0.1, 0.0]), "@localised": 2.0},
                glm={"stimulus": rng.normal(size=(5, 3, 3)), "history": rng.normal(size=3), "@bits_per_spike": 0.2},
                tuning={"value": np.arange(0, 360, 45.0), "f0": rng.uniform(size=8), "f1": rng.uniform(size=8), "@osi": 0.1, "@dsi": 0.2,
                        "@f1_f0": 0.5})


def analysed(checks, folder):
    rng = np.random.default_rng(4)
    counts = rng.poisson(0.5, (400, 2)).astype(float)
    np.save(os.path.join(folder, "y.npy"), counts)
    tree = {"analysis": {"cell0": cell(rng, 400), "transfer": {"score": rng.uniform(size=(2, 2)), "response_correlation": np.eye(2)}}}
    tree["analysis"]["cell1"] = {k: v for k, v in cell(rng, 400).items() if k not in ("stc", "stnmf", "istac", "glm", "tuning")}
    said = "analyze:\n  response:\n    source: y.npy\n    axes: [time, cell]\n  trial: 100\n  test: [2, 3]\n  skip: 5\n"
    path = write(folder, "analysed.h5", tree, said)
    page = page_of(path)
    one = ["sta", "time course", "nonlinearity", "prediction"]
    more = ["stc spectrum", "stc axis 0", "stc axis 8", "stc axis 7"] + [f"stnmf {k}" for k in range(4)]
    more += ["istac", "glm map", "glm time course", "glm history", "tuning"]
    expect(checks, page, ["overview 0", "overview 1"] + one + more + one + ["transfer", "response correlation"], "analyze")
    with h5py.File(path) as f:
        checks.check(np.array_equal(of(page, "sta")[0].images[0].get_array(), f["analysis/cell0/sta"][2]), "STA at its peak")
    checks.check(np.allclose(of(page, "time course")[0].lines[-1].get_xdata(), [20, 40, 60, 80, 100]), "lags in ms, from the first lag")
    square = of(page, "sta")[0].lines[0]  # window of 3 x 3 from (1, 2) in 4 x 6 pixels of 0.1 deg, y up
    x, y = square.get_xdata(), square.get_ydata()
    checks.check(np.allclose([min(x), max(x), min(y), max(y)], [-0.1, 0.2, -0.2, 0.1]), "its window")
    dots = of(page, "stc spectrum")[0].lines
    marked = [sum(line.get_xdata().size for line in dots if line.get_color() == c) for c in ("0.45", filters.LINES[1], filters.LINES[0])]
    checks.check(marked == [6, 1, 2], f"axes within and beyond the null band: {marked}")
    framed = [of(page, f"stnmf {k}")[0].spines["top"].get_linewidth() == 2 for k in range(4)]
    checks.check(framed == [True, True, False, False], "modules that are local are framed")
    checks.check(len(texts(of(page, "transfer")[0])) == 4 and "1.00" in texts(of(page, "response correlation")[0]), "numbers in the matrices")
    bars = of(page, "prediction")[0].patches
    checks.check(np.allclose([b.get_height() for b in bars], counts[205:400, 0] / STEP), "counts of the held-out bins beside the prediction, in Hz")
    os.remove(os.path.join(folder, "y.npy"))
    checks.check("no responses here" in texts(of(page_of(path, only=["cell0"]), "prediction")[0]), "a picture without its responses says so")
    empty = cell(rng, 0)
    tree = {"analysis": {"cell0": {k: empty[k] for k in empty if k.startswith("@") or k in ("temporal", "spatial")}}}
    tree["analysis"]["cell0"].update({"sta": np.zeros((5, 4, 6)), "temporal": np.zeros(5), "@nspike": 0.0, "@share": np.nan})
    expect(checks, page_of(write(folder, "empty.h5", tree)), ["sta", "time course"], "a cell without spikes")


def repeats(checks, folder):
    """Spike times with frame times; frozen steps 60 to 100 of trials of 100."""
    rng = np.random.default_rng(5)
    onset = 3 + STEP * np.arange(400)
    times = np.sort(rng.uniform(3, 11, 300))
    np.savetxt(os.path.join(folder, "frames.txt"), onset)
    np.savetxt(os.path.join(folder, "c2.txt"), times)
    said = ("analyze:\n  response:\n    source: \"c{1..3}.txt\"\n    values: spike_times\n    frame_times: frames.txt\n    shift: 2\n"
            "  trial: 100\n  frozen: [60, 100]\n")
    path = write(folder, "repeats.h5", {"analysis": {"2": cell(rng, 400)}}, said)
    truth = np.histogram(times, np.append(onset, 11))[0]
    with h5py.File(path) as f:
        result = Result(f, path)
        got = response_of(result, 1, 400)
        checks.check(np.array_equal(got[:398], truth[2:]) and np.isnan(got[398:]).all(), "spike times into frames, shifted by two")
        checks.check(response_of(result, 0, 400) is None and expand("c{08..10}") == ["c08", "c09", "c10"], "files of many cells")
        checks.check(settings_of(f)["analyze.response.values"] == "spike_times" and result.pixel_deg == 0.1, "settings read back")
    page = page_of(path)  # the only cell: number 0 of the file, whose responses are c1.txt
    checks.check("prediction" in page.panels, "no responses, no raster")
    np.savetxt(os.path.join(folder, "c1.txt"), times)
    page = page_of(path)
    upper, lower = of(page, "raster and PSTH")
    frozen = truth[2:].copy()
    frozen = np.append(frozen, [0, 0]).reshape(4, 100)[:, 60:]
    checks.check(upper.lines[0].get_xdata().size == (frozen > 0).sum() and len(lower.lines) == 1 and "0.700" in upper.get_title(),
                 "raster of the repeats, PSTH and prediction, with CC")


def command(checks, folder):
    def run(*arguments):
        return subprocess.run([sys.executable, "-B", os.path.join(TOOLS, "plot.py"), *arguments], capture_output=True, text=True)
    picture = os.path.join(folder, "a.png")
    run(os.path.join(folder, "numbers.h5"), picture)
    with open(picture, "rb") as f:
        checks.check(f.read(4) == b"\x89PNG" and os.path.getsize(picture) > 10000, f"a PNG of {os.path.getsize(picture):,} bytes")
    with open(os.path.join(folder, "text.h5"), "w") as f:
        f.write("no HDF5")
    write(folder, "other.h5", {"x": np.zeros(3)})
    for name, code, word in (("text.h5", 65, "no HDF5 file"), ("none.h5", 66, "no such file"), ("other.h5", 65, "no result of chiasm"),
                             ("numbers.h5", 73, "cannot be written")):
        done = run(os.path.join(folder, name), os.path.join(folder, "absent", "a.png") if code == 73 else picture)
        said = done.stderr.strip()
        checks.check(done.returncode == code and word in said and "\n" not in said, f"exit code {done.returncode}: {said[-90:]}")
    done = run(os.path.join(folder, "analysed.h5"), picture, "--only", "nobody")
    checks.check(done.returncode == 65 and "cell0, cell1" in done.stderr, done.stderr.strip()[-90:])


def main():
    checks = Checks()
    with work_folder() as folder:
        for part in (simulated, fitted_numbers, fitted_kernels, made_stimulus, analysed, repeats, command):
            print(part.__name__)
            part(checks, folder)
            matplotlib.pyplot.close("all")
    checks.done()


main()

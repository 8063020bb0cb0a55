#!/usr/bin/env python3
"""Every file of inputs/ does what its header says: runs it and checks the header's `# expect:` lines.

usage: tests/test_inputs.py BUILD [INPUT ...]
Each line is a Python expression of the names below, times in s, that must hold of the result.  An input with a section `fit` is simulated, then
fitted to that result: value("STAGE.PARAMETER") is what the fit found, score("OUTPUT") its correlation, movie a fitted stimulus.
A file without such lines (quickstart.yaml, whose film is not shipped) is the business of tests/test_quickstart.sh.
"""
import ast
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

LONGEST_S = 30  # 10 s on an idle core, promised by the headers; tests may share it


class Result:
    def __init__(self, file, fitted=None):
        self.file = file
        self.end = float(file["provenance"].attrs["nstep"]) * float(file["provenance"].attrs["step_s"])
        self.names = {k: getattr(self, k) for k in ("cells", "rate", "map", "mean", "sd", "f", "phase", "eccentricity")}
        self.names["np"] = np
        self.names["value"] = lambda name: np.squeeze(fitted["parameters/" + name.replace(".", "/")][()])[()]
        self.names["score"] = lambda name: float(np.nanmean(fitted[f"score/{name}/correlation"][()]))
        self.names["movie"] = fitted["stimulus/movie"][()] if fitted and "stimulus/movie" in fitted else None

    def cells(self, population):
        """Number of cells."""
        return self.file["cells"][population]["x_deg"].size

    def eccentricity(self, population):
        """Degrees from the centre of the field, of each cell."""
        c = self.file["cells"][population]
        return np.hypot(c["x_deg"][:], c["y_deg"][:])

    def rate(self, population, start=0, stop=None, within=None):
        """Spikes per cell and second; within: only cells less than that many degrees from the centre."""
        stop = self.end if stop is None else stop
        s = self.file["spikes"][population]
        t, r = s["timestamps"][:] / 1e3, self.eccentricity(population)
        chosen = r < (np.inf if within is None else within)
        return np.sum((t >= start) & (t < stop) & chosen[s["node_ids"][:]]) / max(chosen.sum(), 1) / (stop - start)

    def map(self, name, start=0, stop=None, within=None, channel=0):
        """[time, pixel]; within: only pixels less than that many degrees from the centre, or [from, to]."""
        m = self.file["maps"][name]
        dt, first, per_deg = (float(m.attrs[k]) for k in ("dt_s", "start_s", "pixels_per_deg"))
        ny, nx = m.shape[2:]
        y, x = np.mgrid[:ny, :nx]
        r = np.hypot(y - (ny - 1) / 2, x - (nx - 1) / 2) / per_deg
        low, high = (0, np.inf) if within is None else within if np.ndim(within) else (0, within)
        i = [int(round((t - first) / dt)) for t in (start, self.end if stop is None else stop)]
        return m[i[0] : i[1], channel][:, (r >= low) & (r < high)]

    def mean(self, name, start=0, stop=None, within=None, channel=0):
        return self.map(name, start, stop, within, channel).mean()

    def sd(self, name, start=0, stop=None, within=None, channel=0):
        return self.map(name, start, stop, within, channel).std()

    def fourier(self, name, hz, start, stop, within, channel):
        a = self.map(name, start, stop, within, channel).astype(float)
        t = np.arange(a.shape[0]) * float(self.file["maps"][name].attrs["dt_s"])
        return 2 / t.size * np.exp(-2j * np.pi * hz * t) @ a

    def f(self, name, hz, start, stop, within=None, channel=0):
        """Amplitude at that frequency, of each pixel."""
        return np.abs(self.fourier(name, hz, start, stop, within, channel))

    def phase(self, name, hz, start, stop, within=None, channel=0):
        """Degrees, of the pixel nearest the centre; larger is earlier."""
        return np.angle(self.fourier(name, hz, start, stop, within, channel)[0], deg=True)


def expectations(path):
    return re.findall(r"^# expect: (.*)$", open(path).read(), re.M)


def values(line, names):
    """The numbers on both sides of each comparison, for the log."""
    compared = [node for node in ast.walk(ast.parse(line, mode="eval")) if isinstance(node, ast.Compare)]
    sides = [side for c in compared for side in (c.left, *c.comparators) if not isinstance(side, ast.Constant)]
    numbers = [eval(compile(ast.Expression(side), line, "eval"), names) for side in sides]
    return ", ".join(f"{n:.4g}" for n in numbers if np.ndim(n) == 0)


def check(build, path, folder):
    result, found = os.path.join(folder, "result.h5"), os.path.join(folder, "fit.h5")
    fits = re.search(r"^fit:", open(path).read(), re.M) is not None
    data = ["--set", "fit.data.source=" + result] if "source: ../results/" in open(path).read() else []
    start = time.monotonic()
    run = subprocess.run([os.path.join(build, "chiasm"), "simulate", path, "--quiet", "--overwrite", "--out", result], capture_output=True, text=True)
    if fits and run.returncode == 0:
        run = subprocess.run([os.path.join(build, "chiasm"), "fit", path, "--quiet", "--overwrite", "--out", found] + data,
                             capture_output=True, text=True)
    took_s = time.monotonic() - start
    print(f"{path}: {took_s:.1f} s")
    if run.returncode != 0:
        print(run.stderr)
        return 1
    failures = int(took_s > LONGEST_S)
    with h5py.File(result, "r") as file, h5py.File(found if fits else result, "r") as fitted:
        names = Result(file, fitted).names
        for line in expectations(path):
            holds = bool(eval(line, names))
            print(f"  {'holds' if holds else 'FAILS'}: {line}   [{values(line, names)}]")
            failures += not holds
    return failures


def main():
    build = sys.argv[1]
    paths = sys.argv[2:] or [p for p in sorted(glob.glob("inputs/*.yaml")) if expectations(p)]
    with tempfile.TemporaryDirectory() as folder:
        failures = sum(check(build, p, folder) for p in paths)
    print(f"{len(paths)} inputs, {failures} failures")
    sys.exit(failures > 0 or not paths)


if __name__ == "__main__":
    main()

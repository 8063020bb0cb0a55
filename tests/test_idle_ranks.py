#!/usr/bin/env python3
"""More ranks than leaves: those without one stand by, and the bits are those of one rank; steps that sum over the field, fits that search and that step.
test_idle_ranks.py BUILD_FOLDER"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def same(checks, build, folder, name, words, groups):
    results = [os.path.join(folder, f"{name}{ranks}.h5") for ranks in (1, 3)]
    for ranks, result in zip((1, 3), results):
        chiasm(build, "chiasm", words + ["--quiet", "--set", "field.tiles=[1, 1]", "--out", result], ranks)
    for group in groups:
        code = subprocess.run(["h5diff", *results, group], stdout=subprocess.DEVNULL).returncode
        checks.check(code == 0, f"{name}: {group} of 3 ranks and one tile as of 1")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        convis, fit = (os.path.join(ROOT, "inputs", name + ".yaml") for name in ("convis", "fit_gain_control"))
        data = os.path.join(folder, "data.h5")
        same(checks, build, folder, "convis", ["simulate", convis, "--set", "run.duration=20 ms"], ["/maps"])
        chiasm(build, "chiasm", ["simulate", fit, "--quiet", "--out", data])
        words = ["fit", fit, "--set", f"fit.data.source={data}", "--set", "run.duration=100 ms"]
        groups = ["/parameters", "/history", "/score", "/prediction"]
        same(checks, build, folder, "search", words + ["--set", "fit.optimiser.max_steps=4"], groups)
        same(checks, build, folder, "step", words + ["--set", "fit.optimiser.method=adam", "--set", "fit.epochs=4"], groups)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""inputs/fit_liu2017.yaml on three salamander ganglion cells: a CNN predicts held-out trials better than the LN model does.
Needs CHIASM_DATA, the folder that holds realdata/.   test_real_fit.py BUILD_FOLDER"""
import os
import sys

import h5py

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from parity import Checks, chiasm, work_folder

INPUT = os.path.join(HERE, "..", "inputs", "fit_liu2017.yaml")


def one_cell(checks, build, folder, source):
    analysis, found = os.path.join(folder, "analysis.h5"), os.path.join(folder, "fit.h5")
    common = ["--quiet", "--overwrite", "--set", f"stimulus.file={source}:/X"]
    chiasm(build, "chiasm", ["analyze", INPUT, "--out", analysis, "--set", f"analyze.response.source={source}:/y"] + common)
    with h5py.File(analysis) as f:
        g = f["analysis/cell0"]
        ln = max(g[f"nonlinearity/{kind}"].attrs["bits_per_spike"] for kind in ("histogram", "softplus"))
        at = [int(g.attrs["window_x"]), int(g.attrs["window_y"])]
    chiasm(build, "chiasm", ["fit", INPUT, "--out", found, "--set", f"fit.data.source={source}:/y", "--set", "fit.epochs=12", "--set",
                             f"fit.networks.each=[{{name: cell, at: {at}, columns: [0]}}]", "--set",
                             f"model.stages.time.kernel={analysis}:/analysis/cell0/temporal_kernel"] + common)
    with h5py.File(found) as f:
        cnn, step = float(f["score/rate/bits_per_spike"][0, 0]), f["prediction/step"][()]
        part = f["score"].attrs["part"]
    name = os.path.basename(source)
    checks.check(part in ("test", b"test") and step.min() >= 30000 and step.max() < 36000, f"{name}: scored on trials 20-23")
    # 12 of the input's 40 epochs; all of them give 0.38 to 0.50 more than the LN model.
    checks.check(cnn > ln + 0.15, f"{name}: CNN {cnn:.4f} bits/spike on held-out trials, LN {ln:.4f}")


def main(build):
    if "CHIASM_DATA" not in os.environ:
        print("skipped: no data (CHIASM_DATA)")
        sys.exit(77)
    checks = Checks()
    with work_folder() as folder:
        for cell in ("009", "010", "030"):
            one_cell(checks, build, folder, f"{os.environ['CHIASM_DATA']}/realdata/liu2017/cell{cell}.h5")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

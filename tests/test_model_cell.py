#!/usr/bin/env python3
"""The published model cell (inputs/model_cell.yaml): its rate to 1e-12 and every spike, against the definition in plain numpy; with
CHIASM_DATA, against the published script's own numbers over 10,000 s.   test_model_cell.py BUILD_FOLDER"""
import os
import subprocess
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tools")]
import model_cell
from parity import Checks, chiasm, read_maps, work_folder

ROOT = os.path.join(HERE, "..")


def definition(frames):
    """Rate in Hz of the cell as cnn-retina's authors define it."""
    high = np.fromiter((u >= 0.5 for u in model_cell.ran1(-1000)), bool, frames * 64).reshape(frames, 8, 8)
    x = np.where(high, 0.5, -0.5)
    rate = np.zeros(frames)
    for top, left in ((2, 2), (2, 4), (4, 2), (4, 4)):
        subunit = x[:, top : top + 2, left : left + 2].sum(axis=(1, 2))
        rate += np.maximum(np.convolve(subunit, model_cell.temporal())[:frames], 0)
    return 2 * np.maximum(rate - 2.5, 0)


def run(build, folder, program, frames):
    result, out = os.path.join(folder, "cell.h5"), os.path.join(folder, "train.h5")
    chiasm(build, program, ["simulate", os.path.join(ROOT, "inputs", "model_cell.yaml"), "--quiet", "--overwrite", "--out", result,
                            "--set", f"run.duration={frames / 30:.9f} s"])
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "model_cell.py"), "spikes", result, out], check=True, stdout=subprocess.DEVNULL)
    return read_maps(result, "rate")[:, 0, 0], out


def main(build):
    checks = Checks()
    with work_folder() as folder:
        rate = definition(3000)
        ours, out = run(build, folder, "chiasm-double", 3000)
        checks.near(ours, rate, 1e-12, "rate, double")
        with h5py.File(out) as f:
            u = np.fromiter(model_cell.ran1(-2000), float, 3000)
            checks.check(f["y"].shape == (3000, 1) and np.array_equal(f["y"][:, 0], u < rate / 30), f"{int(f['y'][()].sum())} spikes")
            checks.check(f["X"].shape == (3000, 8, 8) and set(np.unique(f["X"][()])) == {-0.5, 0.5}, "training data: X")
        with h5py.File(os.path.join(ROOT, "inputs", "kernels", "model_cell.h5")) as f:
            # numpy's exp differs in the last bit from one version to the next
            checks.near(f["subunit"][:, 1, 0], model_cell.temporal(), 1e-15, "the kernel shipped against that of the tool")
        ours, _ = run(build, folder, "chiasm", 3000)
        checks.near(ours, rate, 2e-6, "rate, float")  # 20 x 4 products and their sum
        if "CHIASM_DATA" in os.environ:
            with h5py.File(os.path.join(os.environ["CHIASM_DATA"], "refdata/cnn-retina/yan.h5")) as ref:
                ours, out = run(build, folder, "chiasm-double", 300000)
                checks.near(ours[:3000], ref["yan_rate_head"][()], 1e-12, "rate, as published")
                with h5py.File(out) as f:
                    spikes = np.unpackbits(ref["yan_spikes_packed"][()])[:300000]
                    checks.check(np.array_equal(f["y"][:, 0], spikes), f"{int(spikes.sum())} spikes, as published")
        else:
            print("  skipped: no data (CHIASM_DATA)")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

#!/usr/bin/env python3
"""Models fitted to spikes of the published model cell (inputs/cnn_model_cell.yaml, cnn_separable.yaml, lnln_model_cell.yaml), on less data than the
inputs take: started with the subunits of an analysis, a model predicts its rate on new frames better than the LN model.
test_model_cell_fit.py BUILD_FOLDER"""
import os
import re
import subprocess
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tools")]
import model_cell
from parity import Checks, chiasm, read_maps, work_folder

FRAMES = 100000
SPLIT = [f"run.duration={FRAMES / 30:.9f} s", "fit.split.train_steps=[20, 95020]", f"fit.split.validation_steps=[95020, {FRAMES - 20}]"]
NEW = ["run.duration=301 s", "stimulus.running_seed=-7777"]


class Cell:
    def __init__(self, build, folder, checks):
        self.build, self.folder, self.checks = build, folder, checks
        self.simulate("model_cell.yaml", "cell.h5", [f"run.duration={FRAMES / 30:.9f} s"], "chiasm-double")
        subprocess.run([sys.executable, os.path.join(HERE, "..", "tools", "model_cell.py"), "spikes", self.path("cell.h5"), self.path("train.h5")],
                       check=True, stdout=subprocess.DEVNULL)
        self.simulate("model_cell.yaml", "new.h5", NEW)
        self.rate = read_maps(self.path("new.h5"), "rate")[20:, 0, 0]

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, command, source, out, settings, program="chiasm", more=("--quiet",)):
        where = source if os.path.isabs(source) else os.path.join(HERE, "..", "inputs", source)
        given = [x for s in settings for x in ("--set", s)]
        return chiasm(self.build, program, [command, where, "--overwrite", "--out", self.path(out), *more] + given)

    def simulate(self, source, out, settings, program="chiasm"):
        self.run("simulate", source, out, settings, program)

    def fit(self, source, settings, kernel):
        """Correlation with the rate on new frames, cosine of each subunit."""
        self.run("fit", source, "fit.h5", SPLIT + [f"fit.data.source={self.path('train.h5')}:/y"] + settings)
        self.simulate(self.path("fit_fitted.yaml"), "predicted.h5", NEW)
        with h5py.File(self.path("fit.h5")) as f:
            cosines = model_cell.subunit_cosines(model_cell.spatial(f[f"parameters/{kernel}/kernel"][()]))
        return np.corrcoef(read_maps(self.path("predicted.h5"), "rate")[20:, 0, 0], self.rate)[0, 1], cosines

    def linear(self):
        """Correlation of the best LN model of the analysis with the rate, on the frames that it was made from."""
        self.run("analyze", "lnln_model_cell.yaml", "analysis.h5", [SPLIT[0], f"analyze.response.source={self.path('train.h5')}:/y"])
        with h5py.File(self.path("analysis.h5")) as f, h5py.File(self.path("train.h5")) as g:
            predicted, rate = f["analysis/cell0/prediction"][()].ravel(), g["r"][:, 0]
            counted = np.isfinite(predicted)
            kernel = f["analysis/cell0/stnmf/kernel"][()]
        cosines = model_cell.subunit_cosines(model_cell.spatial(kernel[:, :, None]))
        # 1,200 spikes for 64 pixels; the reference found 0.63 to 0.96 from 450, and 0.99 from 3,600.
        self.checks.check(cosines.min() > 0.9, f"STNMF: {len(kernel)} local modules, cosines with the subunits {cosines.round(3)}")
        return np.corrcoef(predicted[counted], rate[counted])[0, 1]


def published(cell):
    said = cell.run("fit", "cnn_model_cell.yaml", "none.h5", SPLIT + [f"fit.data.source={cell.path('train.h5')}:/y"], more=("--plan",))
    values = int(re.search(r"(\d+) fitted values", said).group(1))
    cell.checks.check(values == 985 * 8 + 3, f"published network: {values} values, 985 for each of 8 filters and 3")
    cc, _ = cell.fit("cnn_model_cell.yaml", ["fit.epochs=5"], "filters")
    cell.checks.check(cc > 0.5, f"published recipe, 235 steps of its 12,000: correlation with the rate {cc:.4f}")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        cell = Cell(build, folder, checks)
        linear = cell.linear()
        kernels = [f"model.stages.{stage}.kernel={cell.path('analysis.h5')}:/analysis/cell0/{name}"
                   for stage, name in (("time", "temporal_kernel"), ("subunits", "stnmf/kernel"))]
        cc, cosines = cell.fit("lnln_model_cell.yaml", kernels, "subunits")
        checks.check(cc > linear + 0.05 and cc > 0.95, f"STNMF-started LNLN: correlation {cc:.4f}, LN {linear:.4f}")
        checks.check(cosines.min() > 0.95, f"  cosines with the subunits {cosines.round(4)}")
        cc, _ = cell.fit("cnn_separable.yaml", kernels[:1] + ["fit.epochs=20"], "space")
        checks.check(cc > linear + 0.02, f"CNN of random spatial filters: correlation {cc:.4f}")
        published(cell)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

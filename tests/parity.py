"""parity.py - runs a chiasm binary on a small input and compares its maps and spikes with reference outputs (used by test_*.py)."""
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, what):
        print(("  ok    " if ok else "  FAIL  ") + what, flush=True)
        self.passed += bool(ok)
        self.failed += not ok

    def near(self, ours, reference, tolerance, what):
        """Largest difference relative to the reference's range."""
        span = float(np.ptp(reference)) or max(1.0, float(np.abs(reference).max()))
        same = ours.shape == reference.shape
        error = float(np.abs(ours.astype(float) - reference).max()) / span if same else float("nan")
        self.check(same and error <= tolerance, f"{what}: {error:.2e} of the range (at most {tolerance:.0e})" + ("" if same else f"; shapes {ours.shape} {reference.shape}"))

    def done(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)


def chiasm(build, program, arguments, ranks=1, expect=0):
    """Runs the program; returns its output."""
    command = [os.path.join(build, program)] + arguments
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "-n", str(ranks)] + command
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                       OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=300)
    if run.returncode != expect:
        print(run.stdout)
        print(f"exit code {run.returncode} instead of {expect}: {' '.join(command)}")
        print("0 passed, 1 failed")
        sys.exit(1)
    return run.stdout


def write_yaml(path, tree):
    """JSON is YAML."""
    with open(path, "w") as f:
        json.dump(tree, f, indent=1)


def work_folder():
    return tempfile.TemporaryDirectory(prefix="chiasm-test-")


def read_maps(result, name):
    """[time][y][x] of the only channel."""
    with h5py.File(result) as f:
        return f[f"maps/{name}"][()][:, 0]


def read_spikes(result, name):
    """(cell ids, seconds), in file order; empty when the population never fired."""
    with h5py.File(result) as f:
        group = f.get(f"spikes/{name}")
        if group is None or "timestamps" not in group:
            return np.zeros(0, int), np.zeros(0)
        return group["node_ids"][()].astype(int), group["timestamps"][()] * 1e-3

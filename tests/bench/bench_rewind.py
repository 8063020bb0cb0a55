#!/usr/bin/env python3
"""Back-propagation through a movie of 10,000 frames in a stated memory: 64 x 64 pixels, retina with contrast gain control.

    python3 tests/bench/bench_rewind.py BUILD_FOLDER [FRAMES]      needs numpy and h5py

fit.memory_mb bounds the states that are kept and, by it, the length of chunks; what is not kept is computed again.  Once unconstrained (the whole
movie in one chunk), then with less and less.  Printed: chunks, states kept, the largest memory of the process (planned, and as the system saw it),
and the processor time of a step of the optimiser, which is one sweep forward and back (without the system's share, which is the clearing of fresh
pages and hits the unconstrained run most), beside that of the unconstrained run (at most 2.5).  The parameters must come out the same (sums of other
chunks are rounded otherwise)."""
import os
import re
import subprocess
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from parity import write_yaml

SIDE = 64
FITTED = ["centre.sigma", "centre.tau", "gain.feedback", "gain.tau"]


def write_input(folder, frames):
    data = os.path.join(folder, "data.h5")
    with h5py.File(data, "w") as f:  # never written: zeros, and no room on the disk
        f.create_dataset("y", (frames, SIDE * SIDE), np.float32, chunks=(64, SIDE * SIDE))
    write_yaml(os.path.join(folder, "fit.yaml"), {
        "run": {"duration": f"{frames} ms", "step": "1 ms", "threads": 1, "seed": 3}, "field": {"pixels": [SIDE, SIDE], "resolution": "10 /deg", "tiles": [1, 1]},
        "stimulus": {"type": "checkerboard", "check": "0.4 deg", "rate": "50 Hz"},
        "model": {"stages": [
            {"name": "centre", "type": "leaky_heat", "input": "stimulus", "sigma": "0.15 deg", "tau": "10 ms"},
            {"name": "high", "type": "highpass", "input": "centre", "tau": "100 ms", "weight": 1},
            {"name": "gain", "type": "gain_control", "input": "high", "gain": "100 Hz", "leak": "20 Hz", "feedback": "200 Hz", "sigma": "0.25 deg", "tau": "20 ms"}]},
        "fit": {"parameters": FITTED, "data": {"source": data + ":/y", "axes": ["time", "cell"], "values": "rates"}, "loss": {"type": "squared"},
                "split": {"validation": 0}, "optimiser": {"method": "adam", "rate": 1e-2}, "movie_mb": 0}})


def run(build, folder, memory_mb, epochs):
    """(processor seconds, peak MB, what it said, fitted values)"""
    out = os.path.join(folder, "out.h5")
    command = [os.path.join(build, "chiasm"), "fit", os.path.join(folder, "fit.yaml"), "--out", out, "--overwrite", "--verbose",
               "--set", f"fit.memory_mb={memory_mb}", "--set", f"fit.epochs={epochs}"]
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(said)
    with h5py.File(out) as f:
        values = np.array([f["parameters/" + name.replace(".", "/")][()].ravel()[0] for name in FITTED])
    return usage.ru_utime, usage.ru_maxrss / 1024, said, values


def main(build, frames):
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as folder:
        write_input(folder, frames)
        print(f"{frames} frames of {SIDE} x {SIDE}, gain control; one thread, processor time of one sweep forward and back")
        first = None
        for memory_mb in (8192, 20, 8):
            short, long = run(build, folder, memory_mb, 1), run(build, folder, memory_mb, 3)
            seconds, peak, said, values = (long[0] - short[0]) / 2, long[1], long[2], long[3]
            kept = re.search(r"through (\d+) chunks of (\d+) steps: (every \d+-th state kept, [^\n]*)", said)
            planned = re.search(r"planned ([^)]*)\)", said).group(1)
            first = first or (seconds, values)
            apart = np.abs(values / first[1] - 1).max()
            print(f"fit.memory_mb {memory_mb:5d}: {kept.group(1) + ' chunks of ' + kept.group(2) + ' steps, ' + kept.group(3) if kept else 'one chunk'}; "
                  f"peak {peak:.0f} MB (planned {planned}); {seconds:.2f} s, {seconds / first[0]:.2f} of the unconstrained; parameters differ by {apart:.0e}", flush=True)
            if seconds > 2.5 * first[0] or apart > 1e-3:
                sys.exit("FAIL: more than 2.5 sweeps, or other parameters")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10000)

#!/usr/bin/env python3
"""200 single-cell CNNs trained at once, beside PyTorch training them one by one: time of one step of one cell.

    python3 tests/bench/bench_networks.py BUILD_FOLDER [CELLS]     needs numpy, h5py and torch (pip install torch); without torch: only our own
                                                                   times, by phase too, and exit 77

The published network (Yan et al. 2022): windows of 20 frames of 8 x 8 pixels, 8 filters of 7 x 7, noise of 0.1 before the rectifier, a dense readout,
parametric softplus, Poisson loss, penalties on kernels and on the readout's output, Adam, batches of 2,000 windows.  Every cell sees a window of its
own in one larger checkerboard and has spikes of its own.  PyTorch trains a few of them and the time is per cell, so the ratio is that of 200.
All in float; one thread on both sides, then two.  Processor time of one thread, where the machine is shared; the wall's clock for two."""
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from parity import write_yaml

WINDOW, LAGS, FILTERS, BATCH = 8, 20, 8, 2000
ACROSS, NBATCH = 20, 2
STEPS = 10  # those that are timed
FLOP = 2 * 2 * BATCH * 4 * FILTERS * LAGS * 49  # the convolution of a step: forward, and backward by the kernel


def make_data(folder, ncell):
    random = np.random.default_rng(7)
    nstep, side = BATCH * NBATCH + LAGS, ACROSS + WINDOW
    with h5py.File(os.path.join(folder, "data.h5"), "w") as f:
        f["movie"] = random.integers(0, 2, (nstep, side, side)).astype(np.float32)
        f["spikes"] = (random.random((nstep, ncell)) < 0.05).astype(np.float32)
        f["table"] = np.array([[n % ACROSS, n // ACROSS % ACROSS, n] for n in range(ncell)], float)
    return nstep, side


def write_input(folder, name, nstep, side, epochs):
    data = os.path.join(folder, "data.h5")
    write_yaml(os.path.join(folder, name), {
        "run": {"duration": f"{nstep * 10} ms", "step": "10 ms", "seed": 1}, "field": {"pixels": [side, side], "resolution": "10 /deg"},
        "stimulus": {"type": "dataset", "file": data + ":/movie"},
        "model": {"stages": [
            {"name": "contrast", "type": "gain", "input": "stimulus", "offset": -0.5},
            {"name": "filters", "type": "conv", "input": "contrast", "delay": 1, "size": [LAGS, 7, 7], "channels": FILTERS, "bias": True, "region": "valid",
             "init": "normal 0.05", "start": "zero"},
            {"name": "noise", "type": "noise", "input": "filters", "sd": 0.1},
            {"name": "rectified", "type": "nonlinearity", "form": "relu", "input": "noise"},
            {"name": "readout", "type": "dense", "input": "rectified", "init": "normal 0.05", "seed": 2},
            {"name": "rate", "type": "nonlinearity", "form": "parametric_softplus", "input": "readout", "a": 0.2, "b": 5}]},
        "fit": {"parameters": [{"name": "filters.kernel", "start": "normal 0.05"}, "filters.bias", {"name": "readout.kernel", "start": "normal 0.05"},
                               "readout.bias", "rate.a", "rate.b"],
                "data": {"source": data + ":/spikes", "axes": ["time", "cell"], "values": "counts"},
                "loss": {"type": "poisson", "activity": [{"stage": "readout", "l1": 1e-3}]},
                "penalties": [{"parameter": "filters.kernel", "l1": 5.5e-4, "l2": 1e-3}, {"parameter": "readout.kernel", "l2": 1e-3}],
                "sequences": {"length": BATCH, "burn_in": LAGS}, "split": {"validation": 0}, "optimiser": {"method": "adam", "rate": 1e-3},
                "epochs": epochs, "evaluate_every": 1 << 20, "memory_mb": 2048, "networks": {"window": [WINDOW, WINDOW], "table": data + ":/table"}}})


PHASES = ("stimulus", "compute", "record", "other")


def chiasm(build, folder, name, threads, ranks=1):
    """(processor, wall, then by PHASES) seconds of a fit."""
    command = [os.path.join(build, "chiasm"), "fit", os.path.join(folder, name), "--out", os.path.join(folder, "out.h5"), "--overwrite", "--threads", str(threads)]
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "-n", str(ranks)] + command
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    if run.returncode:
        sys.exit(run.stdout)
    phases = [float(re.search(rf"^{phase} +([0-9.]+) ", run.stdout, re.M).group(1)) for phase in PHASES]
    return np.array([after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall] + phases)


def per_cell_step(build, folder, ncell, threads, repeats=2):
    """As chiasm(): best and median of the difference of a long and a short run."""
    seen = [(chiasm(build, folder, "long.yaml", threads) - chiasm(build, folder, "short.yaml", threads)) / (STEPS * ncell) for _ in range(repeats)]
    return np.min(seen, axis=0), np.median(seen, axis=0)


def say_own(build, folder, ncell):
    """A step of all cells, ms: where no other program is there to compare with."""
    for threads in (1, 2):
        best = 1e3 * ncell * per_cell_step(build, folder, ncell, threads)[0]
        phases = ", ".join(f"{phase} {t:.1f}" for phase, t in zip(PHASES, best[2:]))
        print(f"{threads} thread{'s' * (threads > 1)}, {ncell} cells, ms a step: processor {best[0]:.1f}, wall {best[1]:.1f}; {phases}", flush=True)


def torch_cell(torch, folder, cell, threads, steps=12):
    """Times of a step of one cell; windows are gathered once, outside the steps."""
    torch.set_num_threads(threads)
    torch.manual_seed(cell)
    with h5py.File(os.path.join(folder, "data.h5")) as f:
        x0, y0, column = (int(v) for v in f["table"][cell])
        movie = torch.tensor(f["movie"][:, y0 : y0 + WINDOW, x0 : x0 + WINDOW]) - 0.5
        spikes = torch.tensor(f["spikes"][:, column])
    windows = movie.unfold(0, LAGS, 1).permute(0, 3, 1, 2)
    batches = [(windows[i * BATCH : (i + 1) * BATCH].contiguous(), spikes[LAGS + i * BATCH : LAGS + (i + 1) * BATCH]) for i in range(NBATCH)]
    conv, dense = torch.nn.Conv2d(LAGS, FILTERS, 7), torch.nn.Linear(FILTERS * 4, 1)
    for w in (conv.weight, dense.weight):
        torch.nn.init.normal_(w, 0, 0.05)
    a, b = torch.nn.Parameter(torch.tensor(0.2)), torch.nn.Parameter(torch.tensor(5.0))
    optimiser = torch.optim.Adam(list(conv.parameters()) + list(dense.parameters()) + [a, b], lr=1e-3)
    times = []
    for step in range(steps):
        x, r = batches[step % NBATCH]
        began = np.array([time.process_time(), time.perf_counter()])
        optimiser.zero_grad()
        c = conv(x)
        z = dense(torch.relu(c + 0.1 * torch.randn_like(c)).flatten(1)).squeeze(1)
        y = a * torch.log1p(torch.exp(b * z))
        loss = (y - r * torch.log(y + 1e-7)).mean() + 1e-3 * z.abs().mean()
        loss = loss + 5.5e-4 * conv.weight.abs().sum() + 1e-3 * (conv.weight**2).sum() + 1e-3 * (dense.weight**2).sum()
        loss.backward()
        optimiser.step()
        times.append(np.array([time.process_time(), time.perf_counter()]) - began)
    return times[2:]


def main(build, ncell):
    try:
        import torch
    except ImportError:
        torch = None
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as folder:
        nstep, side = make_data(folder, ncell)
        write_input(folder, "short.yaml", nstep, side, 1)
        write_input(folder, "long.yaml", nstep, side, 1 + STEPS // NBATCH)
        if torch is None:
            say_own(build, folder, ncell)
            print("the comparison is skipped: no torch (pip install torch)")
            sys.exit(77)
        for threads, which, clock in ((1, 0, "processor time"), (2, 1, "wall time")):
            theirs = np.array([t for cell in range(3) for t in torch_cell(torch, folder, cell, threads)])[:, which]
            best, median = (1e3 * t[which] for t in per_cell_step(build, folder, ncell, threads))
            print(f"{threads} thread{'s' * (threads > 1)}, {clock}, ms a cell and step of {BATCH} windows:")
            print(f"  torch {torch.__version__}, one cell after the other (3 of {ncell} measured): best {1e3 * theirs.min():.3f}, "
                  f"median {1e3 * statistics.median(theirs):.3f}")
            print(f"  chiasm, {ncell} at once: best {best:.3f}, median {median:.3f}; {FLOP / best * 1e-6:.1f} GFLOP/s of the convolution's products")
            print(f"  ratio of the best {1e3 * theirs.min() / best:.1f}, of the medians {1e3 * statistics.median(theirs) / median:.1f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200)

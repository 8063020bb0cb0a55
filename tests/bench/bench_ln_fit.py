#!/usr/bin/env python3
"""Fit of an LN model, beside PyTorch on the same machine: time of one step, and where both end.

    python3 tests/bench/bench_ln_fit.py BUILD_FOLDER [STEPS]      needs numpy, h5py and torch (pip install torch); without torch: exit 77

The recovery of Convis' optimiser notebook: a random 10 x 5 x 5 LN (kernel standard normal, rectified at 0) answers 2,000 frames of 20 x 20 Gaussian
noise; a 12 x 7 x 7 kernel is fitted by the sum of squared errors, in chunks of 500 frames, by Adam.  Convis' own loss per chunk ends at 3.0e3.
The past is continuous on both sides: 11 more frames stand before the movie, and each chunk is computed with the true 11 frames before it, so no
chunk start is wrong.  Edges are replicated; the padding is done once for PyTorch, outside its steps.  Both sides: one thread, float, the same start,
the same order of chunks, the same Adam; losses are compared step by step.  Then L-BFGS on all chunks together, on our side.

Times are of the processor, not of the clock on the wall (of other programs on the machine they show little), the best of several, beside the median;
ours are the difference of a long and a short run, so that reading the input and writing the result do not count."""
import os
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

NY = NX = 20
CHUNK, NCHUNK, PAST = 500, 4, 11
RATE = 0.02
REPEATS = 5


def make_data(folder, torch):
    """Movie, responses and the start of the fit; the response in double, stored as float."""
    random = np.random.default_rng(5)
    movie = random.standard_normal((PAST + CHUNK * NCHUNK, NY, NX)).astype(np.float32)
    true = random.standard_normal((10, 5, 5))
    start = (0.1 * random.standard_normal((12, 7, 7))).astype(np.float32)
    pad = torch.nn.functional.pad
    frames = pad(pad(torch.tensor(movie, dtype=torch.float64)[None, None], (2, 2, 2, 2, 0, 0), mode="replicate"), (0, 0, 0, 0, 9, 0))
    response = torch.relu(torch.nn.functional.conv3d(frames, torch.tensor(true[::-1, ::-1, ::-1].copy())[None, None]))[0, 0].numpy()
    with h5py.File(os.path.join(folder, "data.h5"), "w") as f:
        f["movie"], f["start"] = movie, start
        f["response"] = response.reshape(len(movie), NY * NX).astype(np.float32)
    return movie, response.astype(np.float32), start


def write_input(folder, name, steps, evaluate_every, **optimiser):
    data = os.path.join(folder, "data.h5")
    write_yaml(os.path.join(folder, name), {
        "run": {"duration": f"{PAST + CHUNK * NCHUNK} ms", "step": "1 ms", "threads": 1},
        "field": {"pixels": [NX, NY], "resolution": "10 /deg", "tiles": [1, 1]},
        "stimulus": {"type": "dataset", "file": data + ":/movie", "outside": "replicate"},
        "model": {"stages": [{"name": "linear", "type": "conv", "input": "stimulus", "kernel": data + ":/start", "start": "zero"},
                             {"name": "rate", "type": "nonlinearity", "form": "relu", "input": "linear"}]},
        "fit": {"parameters": [{"name": "linear.kernel", "map": "free", "scale": 1}],
                "data": {"source": data + ":/response", "axes": ["time", "cell"]}, "loss": {"type": "squared", "reduce": "sum"},
                "sequences": {"length": CHUNK, "burn_in": PAST, "order": "in_order"}, "split": {"validation": 0},
                "optimiser": optimiser or {"method": "adam", "rate": RATE, "epsilon_form": "torch"}, "epochs": steps // NCHUNK,
                "evaluate_every": evaluate_every}})


def chiasm(build, folder, name):
    """Processor time of a fit, and its losses."""
    out = os.path.join(folder, "out.h5")
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([os.path.join(build, "chiasm"), "fit", os.path.join(folder, name), "--out", out, "--overwrite"], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        sys.exit(run.stdout)
    with h5py.File(out) as f:
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, f["history/train_loss"][()].ravel(), run.stdout


def torch_fit(torch, movie, response, start, steps):
    """Losses and processor times of Adam's steps; every way to write the convolution that is worth trying gives the same losses."""
    frames = torch.nn.functional.pad(torch.tensor(movie)[None, None], (3, 3, 3, 3, 0, 0), mode="replicate")
    chunks = [(frames[:, :, i * CHUNK : i * CHUNK + CHUNK + PAST].contiguous(),
               torch.tensor(response[PAST + i * CHUNK : PAST + (i + 1) * CHUNK])[None, None]) for i in range(NCHUNK)]
    kernel = torch.nn.Parameter(torch.tensor(start[::-1, ::-1, ::-1].copy())[None, None])
    optimiser = torch.optim.Adam([kernel], lr=RATE)
    losses, times = [], []
    for step in range(steps):
        x, r = chunks[step % NCHUNK]
        began = time.process_time()
        optimiser.zero_grad()
        loss = ((torch.relu(torch.nn.functional.conv3d(x, kernel)) - r) ** 2).sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        times.append(time.process_time() - began)
    return np.array(losses), times


def main(build, steps):
    try:
        import torch
    except ImportError:
        print("skipped: no torch (pip install torch)")
        sys.exit(77)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="chiasm-bench-") as folder:
        movie, response, start = make_data(folder, torch)
        write_input(folder, "short.yaml", NCHUNK, 1 << 20)
        write_input(folder, "long.yaml", NCHUNK + 200, 1 << 20)
        write_input(folder, "all.yaml", steps, 1)
        theirs, times = torch_fit(torch, movie, response, start, min(steps, 200))
        ours = []
        for _ in range(REPEATS):
            short, long = chiasm(build, folder, "short.yaml")[0], chiasm(build, folder, "long.yaml")[0]
            ours.append((long - short) / 200)
        print(f"torch {torch.__version__}, conv3d: best {1e3 * min(times):.2f} ms a step, median {1e3 * statistics.median(times):.2f} "
              "(one thread, processor time)")
        print(f"chiasm:                    best {1e3 * min(ours):.2f} ms a step, median {1e3 * statistics.median(ours):.2f}")
        print(f"ratio of the best {min(times) / min(ours):.1f}, of the medians {statistics.median(times) / statistics.median(ours):.1f}")
        losses = chiasm(build, folder, "all.yaml")[1]
        n = len(theirs)
        apart = np.abs(losses[:n] / theirs - 1)
        print(f"losses of {n} steps differ by at most {apart.max():.1e} (median {np.median(apart):.1e}); first {theirs[0]:.6g} and {losses[0]:.6g}")
        print(f"loss per chunk after {len(losses)} steps of Adam: " + " ".join(f"{x:.3g}" for x in losses[-NCHUNK:]) + "  (Convis: 3.0e3)")
        write_input(folder, "lbfgs.yaml", NCHUNK, 0, method="lbfgs", max_steps=60)
        cpu, lbfgs, _ = chiasm(build, folder, "lbfgs.yaml")
        print(f"L-BFGS from the same start: {lbfgs.min() / NCHUNK:.3g} a chunk after {len(lbfgs)} improvements, {cpu:.2f} s in all")
        if losses[-NCHUNK:].max() > 3e3 or apart.max() > 1e-2:
            sys.exit("FAIL: the loss does not come down, or the two programs part")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000)

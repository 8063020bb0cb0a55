#!/usr/bin/env python3
"""chiasm beside PyTorch on the same processor in the same run: time, ratio, distance from the floor, and whether both compute the same numbers.

    python3 tests/bench/bench_gpu_peer.py FOLDER [--device cuda|cpu] [--json FILE] [--rows ln,retina1024,...] [--limit SECONDS]
    FOLDER: a build folder with `chiasm` and the target `bench`, or one that tools/bundle made.  Needs torch, numpy and h5py.

  ceilings  copy bandwidth, multiply-adds per second (bench_gpu), and what torch reaches
  ln        20 x 21 x 21 kernel: forward, and a step of a fit (new kernel, forward, derivative by the kernel); torch: conv3d, as Convis has it, conv2d
            with the lags as channels, and 3-D FFT
  retinaN   N x N: both OPL filters, contrast gain control, On and Off.  `retina`: VirtualRetina's equations (bench_retina.c); `convis`: those of
            Convis 0.6.4.2.  torch: 2-D convolutions step by step, as Convis has it; the same as one CUDA graph; separable blurs; torch.compile
  cells     the retina with 1,000,000 spiking cells at 2048 x 2048: factor of real time, of the model alone and of the whole program
  networks  200 single-cell CNNs (bench_networks.py): torch one by one, all as one grouped convolution, all as one batched matrix product

TF32 is off: chiasm computes in float.  Each row is a process of its own with a time limit, so that one that fails or does not fit leaves the others.
Floor of a row: the greater of bytes over copy bandwidth and operations over the rate of multiply-adds; bytes: inputs read once, outputs written once,
and what must go from step to step; operations: of the cheapest algorithm here.  `copy` counts these bytes for all, `FMA` each one's own operations.
Ratios are to the first of chiasm's, which is what it does by itself; "replayed", other chunks and tiles are what it could do, or a user can set.
Errors are root mean squares, or parts of the range, against double; each bound has its reason where it stands.  Times are medians: of torch by
events, of chiasm's ops by events, of its programs by the clock.  Exit code 1: a row failed, or an error is above its bound; 77: no GPU or torch."""
import argparse
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

LIMIT_S = {"ceilings": 40, "ln": 80, "retina256": 60, "retina1024": 70, "retina2048": 90, "cells": 70, "networks": 110}
CUDA_ROWS = ["ceilings", "ln", "retina256", "retina1024", "retina2048", "networks", "cells"]
CPU_ROWS = ["ceilings", "ln", "retina64", "retina128", "networks", "cells"]
EPS = 2.0**-23


class Bench:
    """One row's child: where it runs, and where its findings go, a line each at once, so that what comes before a failure is kept."""

    def __init__(self, folder, device, part):
        import torch

        self.torch, self.device, self.part, self.folder = torch, device, part, os.path.abspath(folder)
        self.cuda = device == "cuda"
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.manual_seed(1)
        if not self.cuda:
            torch.set_num_threads(1)

    def say(self, **finding):
        with open(self.part, "a") as f:
            f.write(json.dumps(finding) + "\n")

    def program(self, name, *arguments):
        """Output of a program of chiasm."""
        bundle = os.path.join(self.folder, "run")
        command = ([bundle, name] if os.path.isfile(bundle) else [os.path.join(self.folder, name)]) + [str(a) for a in arguments]
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {run.returncode}\n{run.stdout[-2000:]}")
        return run.stdout

    def objects(self, name, *arguments):
        """What it says as JSON, a line each, among what libraries may say."""
        return [json.loads(line) for line in self.program(name, *arguments).splitlines() if line.startswith("{")]

    def tensor(self, array, dtype=None):
        return self.torch.as_tensor(array, dtype=dtype or self.torch.float32, device=self.device)

    def once(self, work):
        if not self.cuda:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3

    def seconds(self, work, long_s=0.5):
        """Median of nine, of five where they take long, after three that warm up (cuDNN tries its algorithms in the first)."""
        for _ in range(2):
            self.once(work)
        last = self.once(work)
        return statistics.median(self.once(work) for _ in range(9 if last < long_s else 5))

    def peer(self, what, who, make, per, **count):
        """make: what is to be timed, and its error; one that cannot run says why."""
        try:
            work, error = make()
            self.say(what=what, who=who, error=error, s=self.seconds(work) / per, **count)
        except Exception as e:  # pylint: disable=broad-except
            self.say(what=what, who=who, failed=f"{type(e).__name__}: {str(e)[:300]}")
            if self.cuda:
                self.torch.cuda.empty_cache()

    def graph(self, work):
        """work as one CUDA graph."""
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            work()
        return captured.replay


def rms(got, want):
    """Relative error; NaN never passes."""
    return float((got.double() - want).norm() / want.norm())


def of_range(got, want):
    """Largest error of several maps as a part of their range."""
    return max(float((g.double() - w).abs().max() / (w.max() - w.min())) for g, w in zip(got, want))


def less(long, short, n):
    """Seconds a step from whole runs of both lengths."""
    s = (statistics.median(long) - statistics.median(short)) / n
    if s <= 0:
        raise RuntimeError(f"long runs of {long} s, short ones of {short} s: too short to tell")
    return s


# --- ceilings ------------------------------------------------------------------------------------------------------------------------
def row_ceilings(b):
    torch = b.torch
    (measured,) = b.objects("bench_gpu", "ceilings", b.device)
    n, m = (1 << 28, 8192) if b.cuda else (1 << 24, 1024)
    x, y = torch.rand(n, device=b.device), torch.empty(n, device=b.device)
    a, c = torch.randn(m, m, device=b.device), torch.randn(m, m, device=b.device)
    copy, matrix = 8 * n / b.seconds(lambda: y.copy_(x)), 2 * m**3 / b.seconds(lambda: torch.mm(a, c))
    b.say(device=torch.cuda.get_device_name() if b.cuda else "cpu, one thread", torch=torch.__version__, copy=measured["copy_bytes_per_s"],
          fma=measured["fma_flop_per_s"], torch_copy=copy, torch_matrix=matrix)


# --- LN -------------------------------------------------------------------------------------------------------------------------------
def ln_chiasm(b, ln, y, gk, forward, fit):
    import numpy as np

    size, nt, n = ln.size, ln.nt, ln.frames[0].numel()
    with tempfile.TemporaryDirectory(prefix="chiasm-peer-") as folder:
        for name, x in (("frames", ln.frames), ("kernel", ln.kernel), ("gy", ln.gy)):
            x.cpu().numpy().tofile(os.path.join(folder, name + ".f32"))
        for d in b.objects("bench_gpu", "ln", b.device, size, nt, folder):
            who, flop = f"chiasm {d['algorithm']}", d["flop_per_frame"]
            got = b.tensor(np.fromfile(os.path.join(folder, f"y_{d['algorithm']}.f32"), np.float32)).view(y.shape)
            got_gk = b.tensor(np.fromfile(os.path.join(folder, f"gk_{d['algorithm']}.f32")), b.torch.float64).view(gk.shape)
            b.say(what="LN forward", who=who, s=d["forward_s"] / nt, flop=flop, error=rms(got, y), **forward)
            if "forward_replayed_s" in d:
                b.say(what="LN forward", who=who + ", replayed as a graph", s=d["forward_replayed_s"] / nt, flop=flop, error=rms(got, y), **forward)
            once = 2.5 * n * math.log2(n) if d["algorithm"] == "fft" else 0  # of gy alone: the products come twice, the transforms three times
            b.say(what="LN fit step", who=who, s=d["fit_s"] / nt, flop=2 * flop - once, error=rms(got_gk, gk), **dict(fit, bound=forward["bound"]))


def row_ln(b):
    from gpu_peers import K, KT, LN

    size, nt = (1024, 64) if b.cuda else (64, 12)
    ln = LN(b, size, nt)
    y, gk = ln.exact()
    # Sums of n products of random sign in float: roundings of up to eps/2 of partial sums that grow to the sum's own size, a random walk of n of
    # them.  A transform makes fewer (tf32 would be 3e-4).  gk has a sum over all pixels and frames on top: torch's in float, chiasm's in double.
    forward = {"unit": "frame", "bytes": 4 * (ln.frames[0].numel() + size**2), "bound": EPS * math.sqrt(KT * K * K)}
    fit = {"unit": "frame", "bytes": forward["bytes"] + 4 * size**2, "bound": EPS * math.sqrt(nt * size**2)}
    ln_chiasm(b, ln, y, gk, forward, fit)
    plain, spectrum = 2.0 * KT * K * K * size**2, ln.spectrum(ln.kernel)
    peers = [("torch 3-D FFT", ln.fft, lambda: ln.by_spectrum(spectrum, ln.frames), ln.fft_flop / nt, 1.5 * ln.fft_flop / nt),
             ("torch conv2d, lags as channels", ln.conv2d, lambda: ln.conv2d(ln.kernel), plain, 2 * plain),
             ("torch conv3d (Convis)", ln.conv3d, lambda: ln.conv3d(ln.kernel), plain, 2 * plain)]
    for who, form, run, flop, fit_flop in peers:
        with b.torch.no_grad():
            b.peer("LN forward", who, lambda run=run: (run, rms(run(), y)), nt, flop=flop, **forward)
        b.peer("LN fit step", who, lambda form=form: (lambda: ln.fit_step(form), rms(ln.fit_step(form)[1], gk)), nt, flop=fit_flop, **fit)


# --- retina ----------------------------------------------------------------------------------------------------------------------------
def retina_model(form):
    """chiasm's side of gpu_peers.Retina, from a state of zeros; names of On and Off."""
    zero = {"start": "zero"}
    if form == "convis":
        return {"preset": "convis", "latency": "none", "convis": {"feedback": "100 Hz", "spikes": False}}, ("ganglion_0", "ganglion_1")
    stages = [
        {"name": "receptor_blur", "type": "blur", "input": "stimulus", "sigma": "0.05 deg"},
        {"name": "receptor_lowpass", "type": "lowpass", "input": "receptor_blur", "tau": "10 ms", "gain": 10, **zero},
        {"name": "receptor", "type": "highpass", "input": "receptor_lowpass", "tau": "100 ms", "weight": 0.8, "delay": 1, **zero},
        {"name": "surround_blur", "type": "blur", "input": "receptor", "sigma": "0.15 deg", "delay": 1},
        {"name": "surround", "type": "lowpass", "input": "surround_blur", "tau": "4 ms", **zero},
        {"name": "opl", "type": "sum", "inputs": ["receptor", "surround"], "weights": [1, -1], "rest": 0},
        {"name": "bipolar", "type": "gain_control", "input": "opl", "gain": "150 Hz", "leak": "5 Hz", "feedback": "100 Hz", "sigma": "0.2 deg",
         "tau": "10 ms", "delay": 1}]
    for name, sign in (("on", 1), ("off", -1)):
        stages += [{"name": name + "_transient", "type": "highpass", "input": "bipolar", "tau": "20 ms", "weight": 0.7, "delay": 1, **zero},
                   {"name": name, "type": "rectify", "input": name + "_transient", "sign": sign, "value": "37 Hz", "slope": "100 Hz", "delay": 1}]
    return {"stages": stages}, ("on", "off")


def run_input(n, **more):
    from gpu_peers import PX_PER_DEG

    return {"field": {"pixels": [n, n], "resolution": f"{PX_PER_DEG} /deg"}, **more}


def retina_agreement(b, form, n, folder, model, outputs):
    """chiasm's error in the last of some steps of noise, against torch in double."""
    import h5py
    from gpu_peers import Retina
    from parity import write_yaml

    steps, last = 24, 4
    x, path = b.torch.rand((steps, n, n), device=b.device), os.path.join(folder, "agree")
    noise = {"type": "dataset", "file": os.path.join(folder, "noise.h5") + ":/x"}
    with h5py.File(os.path.join(folder, "noise.h5"), "w") as f:
        f["x"] = x.cpu().numpy()
    write_yaml(path + ".yaml", run_input(n, run={"step": "1 ms"}, stimulus=noise, model=model,
                                         record={"maps": [{"stage": s, "start": f"{steps - last} ms"} for s in outputs]}))
    b.program("chiasm", "simulate", path + ".yaml", "--out", path + ".h5", "--overwrite", "--quiet", "--device", b.device)
    with h5py.File(path + ".h5") as f:
        return of_range([b.tensor(f[f"maps/{s}"][:, 0]) for s in outputs], [y[-last:] for y in Retina(b, n, form, True, b.torch.float64)(x.double())])


def retina_times(b, n, model_path, density=0):
    """bench_retina, its input in the device's memory, with several ways to cut the work: (seconds a step, how, what else it said)."""
    steps = (256 if n <= 1024 else 96) if b.cuda else 32
    for chunk, tiles in ((0, 0), (32, 0), (32, 1)) if b.cuda else ((0, 0),):
        words = ["--device", b.device] + (["--model", model_path] if model_path else []) + [n, n, steps, density, 1, chunk, tiles]
        said = b.program("bench_retina", *words)
        m = re.search(r"^ *\d+ x \d+ +(\d+) +(\d+) +([\d.]+) s .* ([\d.e+-]+) +(\d+ x \d+), (\d+) spikes", said, re.M)
        yield (float(m[3]) / int(m[1]), f"chiasm, {m[5]} tiles x steps" + ("" if chunk or tiles else " (chosen)"),
               f"{m[2]} cells, {m[6]} spikes, {m[4]} of real time")


def row_retina(b, n):
    from gpu_peers import convis_transient, retina_taps

    for name, form in (("convis", "convis"), ("retina", "virtualretina")):  # torch.compile, which may take a minute, is the last of all
        model, outputs = retina_model(form)
        side, fir = [len(k) for k in retina_taps(form).values()], 2 * len(convis_transient(20e-3, 0.7)) if form == "convis" else 0
        flop = (sum(3 * k - 1 for k in side) + 100 + fir) * n**2  # symmetric taps: an addition and a multiply-add for two of them
        as_convis = (sum(2 * k * k for k in side) + 100 + 2 * fir) * n**2
        # Frame read, On and Off written, V and A in and out: the pool couples pixels, so these two cannot stay in a thread from step to step.
        # The bound is that of tests/test_convis.py: float, of the range.
        count = {"bytes": 28 * n**2, "unit": "step", "bound": 2e-5}
        with tempfile.TemporaryDirectory(prefix="chiasm-peer-") as folder:
            error = retina_agreement(b, form, n, folder, model, outputs)
            path = os.path.join(folder, "model.yaml")
            with open(path, "w") as f:
                json.dump({"model": model}, f)
            for s, how, _ in retina_times(b, n, path):
                b.say(what=f"{name} {n}", who=how, s=s, flop=flop, error=error, **count)
        retina_peers(b, f"{name} {n}", form, n, dict(count, flop=as_convis), dict(count, flop=flop), b.cuda and n == 1024 and form == "virtualretina")


def retina_peers(b, what, form, n, convis, fair, compiled):
    from gpu_peers import Retina

    steps = 32 if b.cuda else 16
    x = b.torch.rand((steps, n, n), device=b.device)
    want = Retina(b, n, form, True, b.torch.float64)(x.double())
    ways = [("torch 2-D, step by step (Convis)", False, False, False), ("torch separable, step by step", True, False, False)]
    ways += [("torch 2-D, one CUDA graph", False, True, False), ("torch separable, one CUDA graph", True, True, False)] if b.cuda else []
    ways += [("torch separable, compiled, one CUDA graph", True, True, True)] if compiled else []
    for who, separable, graph, fused in ways:

        def make(separable=separable, graph=graph, fused=fused):
            retina = Retina(b, n, form, separable, compiled=fused)
            error = of_range(retina(x), want)  # and its states are there, its first step is behind it
            return b.graph(lambda: retina(x)) if graph else lambda: retina(x), error

        b.peer(what, who, make, steps, **(fair if separable else convis))


# --- a million cells: chiasm alone ------------------------------------------------------------------------------------------------------
def row_cells(b):
    from parity import write_yaml

    n, density = (2048, 3.4527) if b.cuda else (128, 8.75)
    what, threads, seconds = f"retina {n}, cells", 8 if b.cuda else 1, []
    short, long = (20, 80) if b.cuda else (100, 1100)
    for s, how, note in retina_times(b, n, None, density):
        b.say(what=what, who=how, s=s, unit="step", bytes=28 * n**2, note=note)
    model, outputs = retina_model("virtualretina")
    for k in outputs:
        model["stages"] += [{"name": k + "_cells", "type": "cells", "input": k, "density": f"{density} /deg"},
                            {"name": k + "_spikes", "type": "lif", "input": k + "_cells", "noise": 0.1, "delay": 1}]
    with tempfile.TemporaryDirectory(prefix="chiasm-peer-") as folder:
        path = os.path.join(folder, "cells")
        grating = {"type": "grating", "spatial_frequency": "0.5 /deg", "temporal_frequency": "4 Hz"}
        for ms in 5 * (short, long):
            write_yaml(path + ".yaml", run_input(n, run={"duration": f"{ms} ms", "step": "1 ms", "seed": 1}, stimulus=grating, model=model))
            began = time.perf_counter()
            said = b.program("chiasm", "simulate", path + ".yaml", "--out", path + ".h5", "--overwrite", "--device", b.device, "--threads", threads)
            seconds.append(time.perf_counter() - began)
    step = less(seconds[1::2], seconds[::2], long - short)
    phases = ", ".join(f"{m[1]} {m[2]}" for m in re.finditer(r"^(init|stimulus|compute|borders|record|output|other) +[\d.]+ +([\d.]+)", said, re.M))
    b.say(what=what, who="chiasm simulate, long run less short", s=step, unit="step", bytes=28 * n**2,
          note=f"{1e-3 / step:.2f} of real time; a grating, spikes written, {threads} threads; seconds of {long} ms: {phases}")


# --- networks ------------------------------------------------------------------------------------------------------------------------------
def chiasm_fit(b, folder, name):
    """Seconds of a fit."""
    path = os.path.join(folder, name)
    began = time.perf_counter()
    b.program("chiasm", "fit", path + ".yaml", "--out", path + ".h5", "--overwrite", "--device", b.device)
    return time.perf_counter() - began


def first_steps(b, folder, nstep, side, epochs):
    """Parameters that chiasm begins with, as torch's layers take them (impulse responses turned over); its losses [step][network] without noise."""
    import bench_networks as net
    import h5py

    net.write_input(folder, "agree.yaml", nstep, side, epochs)
    path = os.path.join(folder, "agree")
    with open(path + ".yaml") as f:
        tree = json.load(f)
    next(s for s in tree["model"]["stages"] if s["name"] == "noise")["sd"] = 0
    same = {"scale": 1, "map": "free"}  # the numbers that torch's Adam moves: neither logarithms nor parts of a typical size
    tree["fit"]["parameters"] = [{**(p if isinstance(p, dict) else {"name": p}), **same} for p in tree["fit"]["parameters"]]
    tree["fit"]["sequences"]["order"], tree["fit"]["optimiser"]["epsilon_form"], tree["fit"]["evaluate_every"] = "in_order", "torch", 1
    with open(path + ".yaml", "w") as f:
        json.dump(tree, f)
    chiasm_fit(b, folder, "agree")
    with h5py.File(path + ".h5") as f:
        s = f["start"]
        w, d = s["filters/kernel"][()], s["readout/kernel"][()]
        start = {"w": w[:, :, 0, ::-1, ::-1, ::-1], "bias": s["filters/bias"][()], "d": d[:, 0, :, 0, ::-1, ::-1].reshape(len(d), -1),
                 "c": s["readout/bias"][()], "a": s["rate/a"][()], "b": s["rate/b"][()]}
        return start, f["history/train_loss"][()]


def row_networks(b):
    import bench_networks as net
    import numpy as np
    from gpu_peers import Networks

    ncell, epochs, pairs = (200, 101, 5) if b.cuda else (6, 6, 5)
    every, what = np.arange(ncell), f"{ncell} networks"
    # Losses of the first 8 steps of Adam from the same start: means of 2,000 terms in float, and of torch's penalties of 7,840 (seen on a CPU: chiasm
    # 2e-8, torch 2e-7).  A wrong derivative is seen from the second step on, at 1e-3.
    count = {"unit": "step of all", "bytes": 4.0 * ncell * (net.BATCH + net.LAGS) * net.WINDOW**2, "flop": float(net.FLOP) * ncell, "bound": 16 * EPS}
    with tempfile.TemporaryDirectory(prefix="chiasm-peer-") as folder:
        nstep, side = net.make_data(folder, ncell)
        start, losses = first_steps(b, folder, nstep, side, 4)
        want = Networks(b, folder, every, start, True, b.torch.float64).losses(len(losses))
        for name, n in (("short", 1), ("long", epochs)):
            net.write_input(folder, name + ".yaml", nstep, side, n)
        short, long = ([chiasm_fit(b, folder, name) for _ in range(pairs)] for name in ("short", "long"))
        error = float(np.abs(losses / want - 1).max())
        b.say(what=what, who="chiasm, all at once", s=less(long, short, net.NBATCH * (epochs - 1)), error=error, **count)

        def make(cells, matrix, steps):
            model = Networks(b, folder, cells, start, matrix)
            error = float(np.abs(model.losses(len(want)) / want[:, cells] - 1).max())
            return lambda: [model.step(i) for i in range(steps)], error

        b.peer(what, "torch, one batched product", lambda: make(every, True, net.NBATCH), net.NBATCH, **count)
        b.peer(what, "torch, one grouped convolution", lambda: make(every, False, net.NBATCH), net.NBATCH, **count)
        b.peer(what, "torch, one after the other", lambda: make(every[:1], False, 20), 20 / ncell, note="one of them, times all", **count)


# --- all rows ---------------------------------------------------------------------------------------------------------------------------------
def run_row(given, row, part, limit_s):
    """The child of a row, within its time; what went wrong, or None."""
    command = [sys.executable, os.path.abspath(__file__), given.folder, "--device", given.device, "--row", row, "--part", part]
    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = child.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return f"stopped after {limit_s:.0f} s " + child.communicate()[0][-500:]
    finally:
        if child.poll() is None:  # somebody ends this program: nothing of it stays on the device
            os.killpg(child.pid, signal.SIGKILL)
    return None if child.returncode == 0 else f"exit code {child.returncode}: {said[-1500:]}"


def finish(group, copy, fma):
    """Adds to the findings of one function what follows from all of them and the ceilings."""
    timed = [f for f in group if "s" in f]
    flop = min((f["flop"] for f in timed if "flop" in f), default=0)
    ours = next((f["s"] for f in timed if f["who"].startswith("chiasm")), math.nan)
    for f in timed:
        floor = max(f["bytes"] / copy, flop / fma)
        f.update(floor_s=floor, times_floor=f["s"] / floor, ratio_to_chiasm=f["s"] / ours, copy_share=f["bytes"] / f["s"] / copy)
        if "flop" in f:
            f["fma_share"] = f["flop"] / f["s"] / fma
        if "error" in f:
            f["agrees"] = f["error"] <= f["bound"]
    return timed[0] if timed else None


def show(findings, ceilings):
    """Table of one row's findings, those of one function together; returns what failed."""
    failed = []
    for what in dict.fromkeys(f["what"] for f in findings if "what" in f):
        group = [f for f in findings if f.get("what") == what]
        one = finish(group, ceilings["copy"], ceilings["fma"])
        print(f"\n{what}" + (f": floor {1e6 * one['floor_s']:.3g} us a {one['unit']}" if one else ""))
        for f in group:
            if "failed" in f:
                print(f"  {f['who']:<42} did not run: {f['failed']}")
                continue
            line = f"  {f['who']:<42} {1e6 * f['s']:>11.2f} us {f['ratio_to_chiasm']:>8.2f} x chiasm {f['times_floor']:>8.1f} x floor"
            line += f" {100 * f['copy_share']:5.1f} % copy" + (f" {100 * f['fma_share']:5.1f} % FMA" if "fma_share" in f else "")
            if "error" in f:
                line += f"  error {f['error']:.1e} (at most {f['bound']:.0e}{'' if f['agrees'] else ': FAILED'})"
                failed += [] if f["agrees"] else [f"{what}, {f['who']}: error"]
            print(line + (f"  {f['note']}" if "note" in f else ""), flush=True)
    return failed


def run_rows(given, rows):
    began, ceilings, everything, failed = time.monotonic(), None, [], []
    for row in rows:
        start = time.monotonic()
        left = given.limit - start + began
        limit_s = min(left, LIMIT_S.get(row, 60) if given.device == "cuda" else left)
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as part:
            trouble = run_row(given, row, part.name, limit_s) if left > 10 else "no time left"
            findings = [json.loads(line) for line in part]
        if row == "ceilings":
            ceilings = findings[0] if findings else {"device": "?", "copy": math.nan, "fma": math.nan}
            if findings:
                g = {k: 1e-9 * v for k, v in ceilings.items() if isinstance(v, float)}
                print(f"{ceilings['device']}, torch {ceilings['torch']}: copy {g['copy']:.1f} GB/s (torch {g['torch_copy']:.1f}), multiply-add "
                      f"{g['fma']:.1f} GFLOP/s (torch's matrix product {g['torch_matrix']:.1f})", flush=True)
        failed += show(findings, ceilings)
        everything += findings
        if trouble:
            failed.append(row)
            print(f"\n{row}: {trouble}", flush=True)
        print(f"  ({row}: {time.monotonic() - start:.0f} s)", flush=True)
    if given.json:
        with open(given.json, "w") as f:
            found = {"ceilings": ceilings, "findings": everything, "failed": failed, "seconds": time.monotonic() - began}
            json.dump(json.loads(json.dumps(found), parse_constant=lambda name: None), f, indent=1)  # JSON knows no NaN
    print(f"\n{time.monotonic() - began:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--json")
    parser.add_argument("--rows")
    parser.add_argument("--limit", type=float, default=290, help="seconds in all")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import torch
    except ImportError as e:
        print(f"skipped: {e}")
        sys.exit(77)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("skipped: no device")
        sys.exit(77)
    if given.row:
        torch.set_grad_enabled(given.row in ("ln", "networks"))
        b, size = Bench(given.folder, given.device, given.part), re.match(r"retina(\d+)$", given.row)
        row = {"ceilings": row_ceilings, "ln": row_ln, "cells": row_cells, "networks": row_networks}.get(given.row)
        row_retina(b, int(size[1])) if size else row(b)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = given.rows.split(",") if given.rows else CUDA_ROWS if given.device == "cuda" else CPU_ROWS
    sys.exit(run_rows(given, ["ceilings"] + [r for r in rows if r != "ceilings"]))


if __name__ == "__main__":
    main()

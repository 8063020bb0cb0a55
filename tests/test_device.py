#!/usr/bin/env python3
"""What a user sees of a GPU: whole runs on it and on the CPU agree, any number of ranks gives the same bits, stopped runs go on, devices are told and
shared ones reported, and every refusal is one line.   test_device.py BUILD_FOLDER

On the emulated device (programs chiasm_emulated and chiasm-double_emulated, tests/emulate), and on a real one where there is one."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, work_folder, write_yaml
from test_bad_input import ALARMS, ENVIRONMENT, without_launcher
from test_faults import ABORT_BOX
from test_ranks import digests, retina
from test_resume import wait_for

SMALL = ["--set", "run.duration=24 ms", "--set", "field.pixels=[37, 34]", "--set", "field.tiles=[2, 3]", "--set", "record.buffer_mb=1"]
# Float: sums in another order are off by some 1e-7 each and pass through recurrences; double: 1e-16, likewise.
ROUNDING = {"chiasm": 2e-5, "chiasm-double": 1e-12}
# Of inputs/: enough steps for every stage to speak.
INPUTS = {
    "cat_x_grating": "40 ms", "chirp": "30 ms", "contrast_switch": "40 ms", "conv_bank": "40 ms", "convis": "24 ms", "human_parvo_magno": "16 ms",
    "izhikevich": "260 ms", "ln_kernel": "60 ms", "lnfdlnf": "520 ms", "photoreceptor": "480 ms", "primate_midget": "60 ms", "replaced_stage": "24 ms",
    "v1_energy": "30 ms", "v1_normalisation": "30 ms", "virtualretina": "60 ms",
}


class Machine:
    def __init__(self, build, folder, suffix):
        self.build, self.folder, self.suffix, self.checks = os.path.abspath(build), folder, suffix, Checks()

    def at(self, name):
        return os.path.join(self.folder, name)

    def program(self, name="chiasm"):
        return os.path.join(self.build, name + self.suffix)

    def command(self, words, ranks=1, name="chiasm"):
        return (["mpirun", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []) + [self.program(name)] + words

    def run_command(self, command, emulate):
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, env=environment(emulate))
        return done.returncode, ABORT_BOX.sub("", without_launcher(done.stdout))

    def run(self, words, ranks=1, name="chiasm", **emulate):
        """Exit code, all that was said."""
        return self.run_command(self.command(words, ranks, name), emulate)

    def good(self, words, ranks=1, name="chiasm", **emulate):
        """What a run said that must end well."""
        code, said = self.run(words, ranks, name, **emulate)
        if code != 0:
            print(said)
            self.checks.check(False, f"{' '.join(words)} on {ranks} ranks: exit code {code}")
        return said if code == 0 else None

    def expect(self, what, words, code, pieces, ranks=1, **emulate):
        seen, said = self.run(words, ranks, **emulate)
        self.judge(f"{what}, {ranks} ranks", seen, said, code, pieces)

    def judge(self, what, seen, said, code, pieces):
        """Exit code and one line of the program with all pieces, and no second one."""
        lines = [line for line in said.splitlines() if "chiasm:" in line]
        ok = seen == code and len(lines) == 1 and all(p in lines[0] for p in pieces) and not ALARMS.search(said)
        self.checks.check(ok, f"{what}: " + (lines[0] if ok else f"exit code {seen} (wanted {code}), one line with {pieces} is wanted"))
        if not ok:
            print(said)


def environment(emulate):
    kept = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("CHIASM_EMULATE") and k != "CUDA_VISIBLE_DEVICES"}
    return dict(kept, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", **{"CHIASM_EMULATE_" + k: str(v) for k, v in emulate.items()})


# --- results ----------------------------------------------------------------------------------------------------------------


def numbers(path):
    """Every array of numbers of a result, but where it comes from."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("provenance") and item.dtype.kind in "fiu":
            found[name] = np.asarray(item[()], float)

    with h5py.File(path) as f:
        f.visititems(visit)
    return found


def difference(a, b, floor):
    """Largest, by the range of a; of what nearly cancels, by the floor."""
    if a.shape != b.shape:
        return np.inf
    if a.size == 0 or np.array_equal(a, b, equal_nan=True):
        return 0
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return np.inf
    a, b = a[finite], b[finite]
    return np.abs(a - b).max() / max(np.ptp(a), np.abs(a).max() * 1e-3, floor, 1e-300)


def same_spikes(a, b, most):
    """Share of spikes that one has and the other not, at the same cell within a microsecond (times are in ms)."""
    missing = 0
    for one, other in ((a, b), (b, a)):
        left = {}
        for cell, t in zip(other["node_ids"], other["timestamps"]):
            left.setdefault(int(cell), []).append(t)
        for cell, t in zip(one["node_ids"], one["timestamps"]):
            missing += not any(abs(t - u) < 1e-3 for u in left.get(int(cell), []))
    total = len(a["node_ids"]) + len(b["node_ids"])
    return missing <= most * total, f"{missing} of {total} spikes differ"


def compare(m, what, on_cpu, on_gpu, tolerance, spikes_differ=0.0):
    """Results of one input on two kinds of processor."""
    a, b = numbers(on_cpu), numbers(on_gpu)
    worst, at = 0, ""
    floor = 1e-5 * max([np.abs(x).max() for name, x in a.items() if name.startswith("maps/") and x.size and np.isfinite(x).all()], default=0)
    for name in a:
        if not name.startswith("spikes/"):
            d = difference(a[name], b[name], floor if name.startswith("maps/") else 0) if name in b else np.inf
            worst, at = (d, name) if d > worst else (worst, at)
    m.checks.check(a.keys() == b.keys() and worst <= tolerance, f"{what}: {len(a)} arrays, {worst:.1e} of the range at most (allowed {tolerance:.0e}) {at}")
    for population in sorted({name.split("/")[1] for name in a if name.startswith("spikes/")}):
        pick = [{k: r.get(f"spikes/{population}/{k}", np.zeros(0)) for k in ("node_ids", "timestamps")} for r in (a, b)]
        same, said = same_spikes(*pick, spikes_differ)
        m.checks.check(same, f"{what}: {population}: {said}")


# --- whole runs ---------------------------------------------------------------------------------------------------------------


def both(m, what, command, path, sets, name="chiasm-double", spikes_differ=0.0, tolerance=None):
    for device in ("cpu", "cuda"):
        if m.good([command, path, "--device", device, "--out", f"{device}.h5", "--overwrite", "--quiet"] + sets, name=name) is None:
            return False
    compare(m, f"{what}, {name}", m.at("cpu.h5"), m.at("cuda.h5"), tolerance or ROUNDING[name], spikes_differ)
    return True


UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def memory(m):
    """What runs take is what was planned, or less."""
    for name in ("retina.yaml", "tiny.yaml"):
        said = m.good(["simulate", name, "--device", "cuda", "--out", "memory.h5", "--overwrite"] + (SMALL if name == "retina.yaml" else [])) or ""
        found = re.search(r"memory of the GPU of rank 0: ([\d.]+) (\w+) taken \(planned ([\d.]+) (\w+)\) of 4.29 GB", said)
        taken, planned = (float(found.group(i)) * UNITS[found.group(i + 1)] for i in (1, 3)) if found else (1, 0)
        m.checks.check(0.05 * planned < taken <= planned, f"{name}: {found.group(0) if found else said}")


def simulations(m):
    for name, spikes_differ in (("chiasm-double", 0), ("chiasm", 0.02)):
        both(m, "retina", "simulate", "retina.yaml", SMALL, name, spikes_differ)
    with h5py.File(m.at("cuda.h5")) as f:
        device, n = f["provenance/device"][()].decode(), len(f["spikes/spikes/timestamps"])
    m.checks.check(device.startswith("cuda: ") and "sm_" in device and n > 100, f"provenance: {device}; {n} spikes")
    expected = digests(m.at("cuda.h5"))
    for ranks, chunk in ((2, 0), (3, 0), (7, 5), (1, 1), (1, 24)):
        if m.good(["simulate", "retina.yaml", "--device", "cuda", "--out", "again.h5", "--overwrite", "--quiet", "--set", f"run.chunk={chunk}"] + SMALL, ranks) is not None:
            found = digests(m.at("again.h5"))
            differ = [k for k in expected if found.get(k) != expected[k]]
            m.checks.check(found.keys() == expected.keys() and not differ, f"{ranks} ranks, chunk {chunk or 'chosen'}: {len(found)} digests equal {differ or ''}")


def accuracy(m, name, path, sets):
    """Maps in float on both kinds of processor against those in double on the CPU (cpu.h5): root of the mean square error, by the range of the truth.
    What counts spikes is left out: a spike more or less is no rounding."""
    shutil.copy(m.at("cpu.h5"), m.at("true.h5"))
    for device in ("cpu", "cuda"):
        if m.good(["simulate", path, "--device", device, "--out", f"{device}.h5", "--overwrite", "--quiet"] + sets) is None:
            return
    true, floats = numbers(m.at("true.h5")), [numbers(m.at(f"{device}.h5")) for device in ("cpu", "cuda")]
    worst, said, floor = 0, "no maps", 1e-5 * max(np.abs(true[k]).max() for k in true if k.startswith("maps/"))
    for at in (k for k in true if k.startswith("maps/") and np.ptp(true[k]) > 0 and not np.array_equal(true[k], np.rint(true[k]))):
        cpu, cuda = (np.sqrt(np.mean((f[at] - true[at]) ** 2)) / max(np.ptp(true[at]), floor) for f in floats)
        ratio = cuda / max(cpu, 2e-8)  # a third of float's rounding: of an output that is exact on the CPU
        if ratio >= worst:
            worst, said = ratio, f"{at}: {cuda:.1e} of the range, on the CPU {cpu:.1e}"
    m.checks.check(worst <= 4, f"{name}, error of float, {said}")


def inputs(m, source):
    for name, duration in INPUTS.items():
        path, sets = os.path.join(source, "inputs", name + ".yaml"), ["--set", f"run.duration={duration}"]
        began = time.monotonic()
        if both(m, name, "simulate", path, sets, tolerance=1e-9):  # steep nonlinearities on long recurrences
            accuracy(m, name, path, sets)
            print(f"        {time.monotonic() - began:.1f} s")


FITS = {  # parameters, optimiser, and how near the two kinds of processor must end
    "a retina": (["filter.sigma", "low.tau", "gain.feedback", "rate.slope"], {"method": "lbfgs", "max_steps": 4}, 1e-8),
    "a kernel": (["taps.kernel", "gain.sigma"], {"method": "adam", "rate": 0.01}, 1e-8),
}


def fit_input(m, parameters, optimiser):
    stages = [
        {"name": "filter", "type": "blur", "input": "stimulus", "sigma": "0.2 deg"},
        {"name": "low", "type": "lowpass", "input": "filter", "tau": "6 ms"},
        {"name": "taps", "type": "conv", "input": "low", "size": [3, 5, 5], "init": "normal 0.2", "seed": 5},
        {"name": "gain", "type": "gain_control", "input": "taps", "gain": "50 Hz", "leak": "5 Hz", "feedback": "30 Hz", "sigma": "0.2 deg", "tau": "10 ms"},
        {"name": "rate", "type": "rectify", "input": "gain", "value": "37 Hz", "slope": "200 Hz"},
    ]
    write_yaml(m.at("fit.yaml"), {
        "run": {"duration": "24 ms", "seed": 3}, "field": {"pixels": [20, 18], "resolution": "10 /deg", "tiles": [2, 2]},
        "stimulus": {"type": "checkerboard", "check": "0.2 deg", "rate": "250 Hz"}, "model": {"stages": stages}, "record": {"maps": ["rate"]},
        "fit": {"parameters": parameters, "data": {"source": m.at("truth.h5"), "output": "rate"}, "loss": {"type": "squared"},
                "split": {"validation": 0}, "optimiser": optimiser, **({"epochs": 3} if optimiser["method"] == "adam" else {})}})


def fits(m, name="chiasm-double"):
    for what, (parameters, optimiser, tolerance) in FITS.items():
        fit_input(m, parameters, optimiser)
        truth = ["simulate", "fit.yaml", "--device", "cpu", "--out", "truth.h5", "--overwrite", "--quiet", "--set", "model.stages.filter.sigma=0.25 deg"]
        if not (m.good(truth, name=name) is not None and both(m, f"fit of {what}", "fit", "fit.yaml", [], name, tolerance=tolerance)):
            continue
        expected = digests(m.at("cuda.h5"))
        if m.good(["fit", "fit.yaml", "--device", "cuda", "--out", "again.h5", "--overwrite", "--quiet"], 2, name) is not None:
            found = digests(m.at("again.h5"))
            m.checks.check(found == expected, f"fit of {what} on 2 ranks: {len(found)} digests equal {[k for k in expected if found.get(k) != expected[k]] or ''}")
        code, said = m.run(["fit", "fit.yaml", "--check", "--device", "cuda"], name=name)
        m.checks.check(code == 0, f"fit of {what}: Taylor test on the GPU, exit code {code}")
        if code != 0:
            print(said)


# --- stopped runs ---------------------------------------------------------------------------------------------------------------


def stop(m, out, device, hard):
    """Runs the retina on a device until a limit of time stops it, or kill -9 once it has a restart file; whether that was before its end."""
    words = ["simulate", "retina.yaml", "--device", device, "--out", out, "--overwrite", "--quiet"] + LONG
    if not hard:
        return m.run(words + ["--set", "run.chunk=16", "--max-walltime", "1ms"])[0] == 75
    process = subprocess.Popen(m.command(words + ["--set", "run.chunk=1", "--restart-every", "0.01s"]), cwd=m.folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=environment({}))
    wait_for(m.at(out + ".restart"), process)
    process.kill()
    return process.wait(60) == -signal.SIGKILL


LONG = SMALL + ["--set", "run.duration=60 ms"]


def restarts(m):
    words = ["simulate", "retina.yaml", "--quiet"] + LONG
    for device in ("cpu", "cuda"):
        m.good(words + ["--device", device, "--out", f"{device}.h5", "--overwrite"])
    for first, then, hard, ranks in (("cuda", "cuda", False, 1), ("cuda", "cuda", True, 2), ("cpu", "cuda", False, 1), ("cuda", "cpu", False, 2)):
        what = f"{'killed' if hard else 'stopped'} on {first}, resumed on {then}, {ranks} ranks"
        out = f"{first}-{then}-{ranks}.h5"
        if not stop(m, out, first, hard):
            m.checks.check(hard and not m.suffix, what + ": was over before")  # a real GPU may be too fast to be killed
            continue
        said = m.good(words + ["--device", then, "--out", out, "--resume"], ranks)
        if said is None:
            continue
        warned = f"was written on {first}, this run goes on on {then}" in said
        if first == then:
            m.checks.check(digests(m.at(out)) == digests(m.at(f"{then}.h5")) and not warned, what + ": the bits of a whole run")
        else:
            m.checks.check(warned, what + ": a warning says that bits differ")
            compare(m, what, m.at("cpu.h5"), m.at(out), ROUNDING["chiasm"], 0.02)


# --- words ------------------------------------------------------------------------------------------------------------------


def devices_told(m):
    words = ["simulate", "tiny.yaml", "--device", "cuda", "--overwrite", "--out", "tiny.h5"]
    shared = re.compile(r"warning: ranks 0-1 on \S+ share one GPU \(device 0, emulated device\)")
    said = m.good(words) or ""
    line = next((line for line in said.splitlines() if line.startswith("gpu ")), "")
    m.checks.check(re.search(r"gpu +\S+: rank 0 on 0 emulated device \(sm_90, 4\.295 GB, no MIG\) GPU-[0-9a-f]{8}-", line), f"log: {line}")
    for what, ranks, emulate, shares in (("one device", 2, {}, True), ("two devices", 2, {"DEVICES": 2}, False),
                                         ("one of two devices is visible", 2, {"DEVICES": 2, "VISIBLE": 1}, True)):
        said = m.good(words, ranks, **emulate) or ""
        seen = shared.search(said)
        m.checks.check(bool(seen) == shares and said.count("share one GPU") == shares, f"{what}, {ranks} ranks: {seen.group(0) if seen else 'not shared'}")
        if bool(seen) != shares:
            print(said)
    own = [piece for device in (0, 1) for piece in ([":"] if device else []) +
           ["-n", "1", "-x", f"CHIASM_EMULATE_VISIBLE={device}", m.program()] + words]
    code, said = m.run_command(["mpirun", "--oversubscribe"] + own, {"DEVICES": 2})
    line = next((line for line in said.splitlines() if line.startswith("gpu ")), said)
    m.checks.check(code == 0 and "share one GPU" not in said and "rank 0 on 0" in line and "rank 1 on 0" in line,
                   f"each rank sees its own device as number 0: {line}")


def choice(m):
    words = ["simulate", "tiny.yaml", "--overwrite", "--out", "tiny.h5"]
    auto = words + ["--device", "auto"]
    for ranks in (1, 2):
        for what, emulate, pieces in (("no device", {"DEVICES": 0}, ["no CUDA device is there"]),
                                      ("an old driver", {"DRIVER": 12040}, ["driver is for CUDA 12.4", "built with CUDA 13.0"]),
                                      ("no driver", {"DRIVER": 0}, ["no NVIDIA driver"])):
            m.expect(what, words + ["--device", "cuda"], 69, ["no GPU can be used on", "--device cpu"] + pieces, ranks, **emulate)
            said = m.good(auto, ranks, **emulate) or ""
            why = next((line for line in said.splitlines() if line.startswith("device ")), "")
            m.checks.check("device cpu;" in said and all(p in why for p in pieces), f"auto, {what}, {ranks} ranks: {why}")
        said = m.good(auto, ranks) or ""
        m.checks.check("device cuda: emulated device" in said, f"auto, with a device, {ranks} ranks: cuda")
    one = ["-n", "1", m.program()] + auto
    code, said = m.run_command(["mpirun", "--oversubscribe"] + one + [":", "-n", "1", "-x", "CHIASM_EMULATE_DEVICES=0", m.program()] + auto, {})
    m.checks.check(code == 0 and "device cpu;" in said, "auto, one rank of two without a device: all on the CPU")


def refusals(m):
    words = ["simulate", "retina.yaml", "--device", "cuda", "--out", "fault.h5", "--overwrite", "--quiet"] + SMALL
    fault = ["CUDA: launch of", ".cu:", "cudaErrorIllegalAddress", "the last that went well is"]
    m.expect("a fault of the device", words, 69, fault, FAULT=20)
    one = ["-n", "1", m.program()] + words
    code, said = m.run_command(["mpirun", "--oversubscribe"] + one + [":", "-n", "1", "-x", "CHIASM_EMULATE_FAULT=20", m.program()] + words, {"DEVICES": 2})
    m.judge("a fault of one device of two", code, said, 69, ["rank 1"] + fault)
    plan = m.good(["simulate", "retina.yaml", "--plan"] + SMALL) or ""
    line = re.search(r"^on a GPU +[\d.]+ [kM]B of its memory on rank 0 of 1: [\d.]+ [kM]B a tile, .*$", plan, re.M)
    m.checks.check(line, f"--plan: {line.group(0) if line else plan}")
    before = sorted(os.listdir(m.folder))
    big = ["simulate", "retina.yaml", "--device", "cuda", "--out", "big.h5", "--quiet", "--set", "field.pixels=[1200, 1000]", "--set", "run.duration=2 ms"]
    m.expect("too large for one device", big, 69, ["not enough memory on the GPU of rank 0", "tiles fit: use", "ranks"], MB=1800)
    m.expect("tiles too large for one device", big + ["--set", "field.tiles=[1, 1]"], 69, ["not enough memory", "a tile of", "field.tiles: ["], 2, DEVICES=2, MB=900)
    m.expect("no room for tables", big, 69, ["not enough memory", "a larger GPU"], MB=100)
    m.checks.check(sorted(os.listdir(m.folder)) == before, "nothing was written")


def advice(m):
    """What the refusal advises does fit; long chunks of which one step is computed, to be large and quick."""
    big = ["simulate", "retina.yaml", "--device", "cuda", "--out", "big.h5", "--quiet", "--overwrite", "--set", "field.pixels=[120, 100]",
           "--set", "run.duration=1 ms", "--set", "run.chunk=1000"]
    for what, tiles, ranks in (("tiles", "[4, 4]", r"use (\d+) ranks"), ("a tile", "[1, 1]", r"field.tiles: (\[\d+, \d+\]) and (\d+) ranks")):
        code, said = m.run(big + ["--set", f"field.tiles={tiles}"], MB=800)
        found = re.search(ranks, said)
        m.checks.check(code == 69 and found, f"too many {what}: {said.strip()}")
        if found:
            n, tiles = int(found.group(found.lastindex)), found.group(1) if found.lastindex > 1 else tiles
            code, said = m.run(big + ["--set", f"field.tiles={tiles}"], n, MB=800, DEVICES=n)
            m.checks.check(code == 0 and n > 1, f"... and {n} ranks with tiles {tiles} fit{'' if code == 0 else ': ' + said}")


def real_device(build, folder):
    """Whether the program itself can compute on a GPU here; says so."""
    m = Machine(build, folder, "")
    code, said = m.run(["simulate", "tiny.yaml", "--device", "cuda", "--out", "real.h5", "--overwrite", "--quiet"])
    line = " ".join(said.split())
    print("real device: there" if code == 0 else f"real device: skipped: no device ({line})")
    told = any(p in line for p in ("built without CUDA", "no NVIDIA driver", "no CUDA device", "its driver is for"))
    m.checks.check(code == 0 or (code == 69 and told and line.count("chiasm:") == 1), f"the program itself: {line or 'runs'}")
    return m, code == 0


def main(build):
    source = os.environ.get("CHIASM_SOURCE") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with work_folder() as folder:
        retina(folder)
        write_yaml(os.path.join(folder, "tiny.yaml"), {
            "run": {"duration": "4 ms"}, "field": {"pixels": [8, 6], "resolution": "10 /deg", "tiles": [1, 2]}, "stimulus": {"type": "flash"},
            "model": {"stages": [{"name": "scaled", "type": "rectify", "input": "stimulus", "value": "1 Hz", "slope": "2 Hz"}]}, "record": {"maps": ["scaled"]}})
        m = Machine(build, folder, "_emulated")
        parts = {"told": lambda: devices_told(m), "choice": lambda: choice(m), "refusals": lambda: refusals(m), "advice": lambda: advice(m),
                 "memory": lambda: memory(m), "simulations": lambda: simulations(m), "restarts": lambda: restarts(m), "fits": lambda: fits(m), "inputs": lambda: inputs(m, source)}
        for name in sys.argv[2:] or parts:
            print(f"== {name}")
            parts[name]()
        real, is_there = real_device(build, folder)
        real.checks.passed += m.checks.passed
        real.checks.failed += m.checks.failed
        if is_there and len(sys.argv) < 3:
            for part in (simulations, restarts, fits):
                part(real)
            inputs(real, source)
    real.checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

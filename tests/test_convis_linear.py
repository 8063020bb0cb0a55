#!/usr/bin/env python3
"""Parity with the linear filters of Convis 0.6.4.2, and the models made of them, in double.   test_convis_linear.py BUILD_FOLDER

Every number is Convis' own, to rounding, but for the recursive smoothing, whose recursions Convis starts wrongly at the borders: a plain loop with
that fault meets Convis, the same loop without it is what the program must give, and where the border hardly reaches the two agree.  What the
reference has no case of, kernels larger than the field, follows a plain sum.
"""
import os
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder, write_yaml

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
KERNELS = {  # dataset of the golden file: shape as the stage reads it
    "conv1d_9": (9, 1, 1), "conv2d_7x7": (1, 7, 7), "conv3d_1x3x5": (1, 3, 5), "conv3d_5x7x7": (5, 7, 7), "conv3d_6x8x8": (6, 8, 8),
    "LN_10x5x5": (10, 5, 5), "rf_8x32x32": (1, 1, 8, 32, 32), "McIntosh_w1": (8, 1, 10, 5, 5), "McIntosh_w2": (16, 8, 1, 1, 1),
    "McIntosh_w3": (1, 16, 1, 32, 32)}


def write_kernels(path, golden):
    """Impulse responses as Convis was given them.  An even kernel reaches one pixel further back in Convis than here (k/2 before, k/2 - 1 after the
    pixel; here k/2 - 1, k/2): a row and a column of zeros in front put it in the same place.  A readout is a profile: turned over."""
    with h5py.File(path, "w") as f:
        for name, shape in KERNELS.items():
            f[name] = golden[name if name in golden and name.startswith("McIntosh") else name + "_kernel_as_given"].reshape(shape)
        even, readout = f["conv3d_6x8x8"][()], f["McIntosh_w3"][()]
        del f["conv3d_6x8x8"], f["McIntosh_w3"]
        f["conv3d_6x8x8"] = np.pad(even, ((0, 0), (1, 0), (1, 0)))
        f["McIntosh_w3"] = readout[..., ::-1, ::-1]
        for i in range(2):
            f[f"LNLN_{i + 1}"], f[f"feedback_{i + 1}"] = golden["LNLN_kernels_as_given"][i], golden["LNFDLNF_feedback_as_given"][i].reshape(12, 1, 1)
        for i in range(3):
            f[f"smooth_{i + 1}"] = golden["smoothconv_g"][i]
        v = np.linspace(-5.25, 5.25, 21)  # samples.gabor_kernel(phi=0, size=21)
        f["gabor"] = (np.exp(-(v[:, None] / 2) ** 2 - (v / 2) ** 2) * np.sin(v[:, None] * 10 / (2 * np.pi)))[None]


def linear_stages(kernels):
    """Every case of Convis' linear filters, and the models made of them, under the names of the reference (_ for .)."""
    stages = []

    def add(name, kind, source, **keys):
        stages.append(dict({"name": name, "type": kind, "inputs" if isinstance(source, list) else "input": source}, **keys))

    def conv(name, source, kernel, **keys):
        add(name, "conv", source, kernel=f"{kernels}:/{kernel}", start="first_frame", **keys)

    for name in ["conv1d_9", "conv2d_7x7", "conv3d_1x3x5", "conv3d_5x7x7", "conv3d_6x8x8"]:
        conv(name, "stimulus", name)
    for algorithm in ["direct", "fft"]:
        conv(f"conv3d_5x7x7_{algorithm}", "stimulus", "conv3d_5x7x7", algorithm=algorithm)
    add("rf_8x32x32", "dense", "stimulus", kernel=f"{kernels}:/rf_8x32x32", bias=False, start="first_frame")
    conv("L", "stimulus", "LN_10x5x5")
    add("LN_10x5x5", "nonlinearity", "L")
    conv("L_gabor", "stimulus", "gabor")
    add("LN_gabor_phi0_21", "nonlinearity", "L_gabor")
    conv("L1", "stimulus", "LNLN_1")
    add("N1", "nonlinearity", "L1")
    conv("L2", "N1", "LNLN_2")
    add("LNLN_6x5x5", "nonlinearity", "L2")
    conv("F1", "N1", "feedback_1")
    add("N1_F1", "sum", ["N1", "F1"], weights=[1, -1])
    add("D", "delay", "N1_F1", steps=1, start="zero")
    conv("LD2", "D", "LNLN_2")
    add("ND2", "nonlinearity", "LD2")
    conv("F2", "ND2", "feedback_2")
    add("LNFDLNF_6x5x5_fb12", "sum", ["ND2", "F2"], weights=[1, -1])
    conv("M1", "stimulus", "McIntosh_w1")
    add("M1_relu", "nonlinearity", "M1")
    conv("M2", "M1_relu", "McIntosh_w2")
    add("M2_relu", "nonlinearity", "M2")
    add("McIntosh", "dense", "M2_relu", kernel=f"{kernels}:/McIntosh_w3", bias=False)
    for tau in ["004", "01", "05"]:
        add(f"lowpass_tau0_{tau}", "lowpass", "stimulus", tau=f"0.{tau} s", form="convis", start="zero")
    add("highpass_tau0_1_k0_8", "highpass", "stimulus", tau="0.1 s", weight=0.8, form="convis", start="zero")
    for i in range(1, 4):
        add(f"P{i}", "lowpass", "stimulus" if i == 1 else f"P{i - 1}", tau="20 ms", form="convis", start="zero")
        conv(f"G{i}", f"P{i}", f"smooth_{i}")
    add("smoothconv_n3_tau0_02", "sum", ["G1", "G2", "G3"])
    for sigma in (1, 3):
        add(f"spatial_recursive_sigma0_{sigma}deg", "blur", "stimulus", sigma=f"0.{sigma} deg", method="deriche")
    return stages


def recursive_smoothing(x, alpha, fault):
    """Along both axes a forward and a backward recursion.  Starts: the steady state of the line's end; with the fault zero, but for the input before
    the first pixel, which is that pixel in both directions."""
    m = np.exp(-alpha)
    k = (1 - m) ** 2 / (1 + 2 * alpha * m - m * m)
    for axis in (-1, -2):
        line = np.moveaxis(x, axis, 0)
        total, zero = np.zeros(line.shape), 0 * line[0]
        for forward in (True, False):
            order = range(len(line)) if forward else range(len(line) - 1, -1, -1)
            # weights of the inputs here, one before, two before
            a = (k, k * m * (alpha - 1), 0) if forward else (0, k * m * (alpha + 1), -k * m * m)
            end = line[order[0]]
            x1, x2, y1 = (line[0], zero, zero) if fault else (end, end, end * sum(a) / (1 - m) ** 2)
            y2 = y1
            for i in order:
                y1, y2 = a[0] * line[i] + a[1] * x1 + a[2] * x2 + 2 * m * y1 - m * m * y2, y1
                x1, x2 = line[i], x1
                total[i] += y1
        x = np.moveaxis(total, 0, axis)
    return x


def check_linear(checks, ours, golden, count, how):
    def check(name, reference):
        checks.near(ours[name][golden["frames"][: len(reference)], 0][:, golden["rows"]], reference, 1e-12, f"{name} {how}")

    cases = sorted(name for name in set(golden) & set(ours) if not name.startswith("spatial_recursive"))
    checks.check(len(cases) == count, f"{len(cases)} cases of the reference, {how}")
    for name in cases:
        if golden[name].ndim == 1:  # readouts: one pixel, every step
            checks.near(ours[name][: len(golden[name]), 0, 0, 0], golden[name], 1e-12, f"{name} {how}")
        else:
            check(name, golden[name])
    for algorithm in ["direct", "fft"]:
        check(f"conv3d_5x7x7_{algorithm}", golden["conv3d_5x7x7"])


def check_recursive(checks, ours, golden, x):
    """VirtualRetina's constant of the filter, and so the program's, is a float: alpha is 3e-8 larger than Convis'."""
    rows, frames = golden["rows"], golden["frames"]
    for pixels in (1, 3):
        name = f"spatial_recursive_sigma0_{pixels}deg"
        checks.near(recursive_smoothing(x[frames], 1.695 / pixels, True)[:, rows], golden[name], 1e-12, f"the loop with the fault is Convis' {name}")
        right = recursive_smoothing(x[frames], float(np.float32(1.695)) / pixels, False)
        checks.near(ours[name][frames, 0], right, 1e-12, "... the loop without it is the program's")
        checks.check(np.abs(right[:, rows] - golden[name]).max() > 0.1, "... which the fault changes")
        if pixels == 1:  # 10 pixels inside, (1 + 10 alpha) exp(-10 alpha) = 8e-7 of the border is left, at 3 pixels of sigma 2 %
            inside = slice(10, 22)
            checks.near(ours[name][frames, 0][:, rows[1:3], inside], golden[name][:, 1:3, inside], 8e-7, "... and 10 pixels inside they agree")


def replicated(x, kernel):
    """Convis' convolution as a plain sum: impulse response [t][y][x], ky/2 rows before a pixel and the others after it, the first frame for ever
    before, the edge for ever around."""
    kt, ky, kx = kernel.shape
    past = np.concatenate([np.repeat(x[:1], kt - 1, 0), x])
    past = np.pad(past, ((0, 0), (ky // 2, ky - 1 - ky // 2), (kx // 2, kx - 1 - kx // 2)), mode="edge")
    y = np.zeros(x.shape)
    for k, j, i in np.ndindex(kt, ky, kx):
        y += kernel[k, j, i] * past[kt - 1 - k:, ky - 1 - j:, kx - 1 - i:][: len(x), : x.shape[1], : x.shape[2]]
    return y


LARGER_KERNELS = [("auto", (4, 7, 8)), ("direct", (1, 6, 5)), ("fft", (12, 9, 4)), ("window", (2, 2, 9)), ("separable", (3, 5, 5))]


def check_small_fields(checks, build, folder):
    """Fields smaller than the kernel, down to one pixel, by every algorithm: their edge goes on for ever.  Even sides: a row of zeros in front."""
    draw = np.random.default_rng(20260101)
    for ny, nx in [(1, 1), (3, 2), (1, 6)]:
        path = os.path.join(folder, f"small_{ny}x{nx}")
        x, stages, wanted = draw.random((9, ny, nx)), [], {}
        with h5py.File(path + "_data.h5", "w") as f:
            f["x"] = x
            for algorithm, shape in LARGER_KERNELS:
                kernel = draw.standard_normal(shape) if algorithm != "separable" else np.einsum("t,y,x->tyx", *map(draw.standard_normal, shape))
                f[algorithm] = np.pad(kernel, ((0, 0), ((shape[1] + 1) % 2, 0), ((shape[2] + 1) % 2, 0)))
                stages.append({"name": algorithm, "type": "conv", "input": "stimulus", "kernel": f"{path}_data.h5:/{algorithm}",
                               "start": "first_frame", "algorithm": algorithm})
                wanted[algorithm] = replicated(x, kernel)
        ours = simulate(build, folder, stages, 1, path + "_data.h5:/x", (ny, nx))
        for name, want in wanted.items():
            checks.near(ours[name][:, 0], want, 1e-12, f"{ny} x {nx} pixels under a larger kernel, {name}")


def check_small_derivatives(checks, build, folder):
    """The Taylor test where the kernel and the blur are wider than the field; together too, so that sigma has room on both sides of its start."""
    path = os.path.join(folder, "small_fit")
    with h5py.File(path + "_data.h5", "w") as f:
        f["y"] = np.random.default_rng(1).random((20, 1))
    write_yaml(path + ".yaml", {
        "run": {"step": "1 ms", "duration": "20 ms"},
        "field": {"pixels": [3, 2], "resolution": "10 /deg"},
        "stimulus": {"type": "checkerboard", "check": "0.1 deg"},
        "model": {"stages": [{"name": "c", "type": "conv", "input": "stimulus", "size": [3, 7, 9]},
                             {"name": "b", "type": "blur", "input": "c", "sigma": "0.5 deg"}, {"name": "d", "type": "dense", "input": "b"}]},
        "fit": {"parameters": ["c.kernel", "b.sigma"], "data": {"stage": "d", "source": path + "_data.h5:/y", "axes": ["time", "cell"]},
                "loss": {"type": "squared"}, "split": {"validation": 0}},
    })
    said = chiasm(build, "chiasm-double", ["fit", path + ".yaml", "--check"])
    checks.check(said.count(" right\n") == 3 and "WRONG" not in said, "derivatives by a kernel and a sigma wider than the field")


def simulate(build, folder, stages, tiles, film=os.path.join(HERE, "virtualretina.h5") + ":/luminance", shape=(32, 32)):
    path = os.path.join(folder, f"tiles_{tiles}")
    write_yaml(path + ".yaml", {
        "run": {"step": "1 ms"},
        "field": {"pixels": [shape[1], shape[0]], "resolution": "10 /deg", "tiles": [tiles, tiles]},
        "stimulus": {"type": "dataset", "file": film, "frame_duration": "1 ms"},
        "model": {"stages": stages},
        "record": {"maps": [s["name"] for s in stages]},
    })
    chiasm(build, "chiasm-double", ["simulate", path + ".yaml", "--out", path + ".h5", "--quiet", "--overwrite"])
    with h5py.File(path + ".h5") as f:
        return {name: f[f"maps/{name}"][()] for name in f["maps"]}


def main(build):
    checks = Checks()
    with h5py.File(os.path.join(HERE, "virtualretina.h5")) as f:
        x = f["luminance"][()].astype(float)
    with h5py.File(os.path.join(HERE, "convis_linear.h5")) as f:
        golden = {name: f[name][()] for name in f}
    with work_folder() as folder:
        kernels = os.path.join(folder, "kernels.h5")
        write_kernels(kernels, golden)
        stages = linear_stages(kernels)
        ours = simulate(build, folder, stages, 1)
        local = [s for s in stages if s["type"] != "dense" and s.get("method") != "deriche"]  # those need the field in one tile
        check_linear(checks, ours, golden, 16, "whole")
        check_linear(checks, simulate(build, folder, local, 2), golden, 14, "in tiles")
        check_small_fields(checks, build, folder)
        check_small_derivatives(checks, build, folder)
    check_recursive(checks, ours, golden, x)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])

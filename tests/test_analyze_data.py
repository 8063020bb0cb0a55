#!/usr/bin/env python3
"""chiasm analyze on recordings of animals and on the seeded model cells of reference data: sums exact, eigenvalues, scores.
Needs CHIASM_DATA, the folder that holds realdata/ and refdata/.   test_analyze_data.py BUILD_FOLDER"""
import json
import os
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from parity import Checks, chiasm, work_folder, write_yaml

STEP = "33.333333333333336 ms"


def analyze(build, folder, tree, program="chiasm"):
    path, out = os.path.join(folder, "a.yaml"), os.path.join(folder, "a.h5")
    write_yaml(path, tree)
    chiasm(build, program, ["analyze", path, "--overwrite", "--out", out])
    return h5py.File(out)


def text(file, name):
    return json.loads(file["text/" + name][()])


def check_ganglion_cells(checks, build, folder, data):
    """Liu et al. 2017: trial 0 is not stationary, frames 0-18 of a trial have no whole window."""
    with h5py.File(f"{data}/refdata/cnn-retina/real_a.h5") as ref:
        for cell, bits, cc in (("009", 1.435, 0.446), ("010", 1.368, 0.427), ("030", 0.763, 0.355)):
            source = f"{data}/realdata/liu2017/cell{cell}.h5"
            with analyze(build, folder, {
                    "run": {"step": STEP}, "field": {"pixels": [24, 24], "resolution": "10 /deg"},
                    "stimulus": {"type": "dataset", "file": source + ":/X"},
                    "analyze": {"response": {"source": source + ":/y", "axes": ["time"]}, "lags": 20, "trial": 1500, "skip": 19, "train": [1, 20],
                                "test": [20, 24], "window": 14, "nonlinearity": ["histogram"], "bins": 30,
                                "stnmf": {"modules": 10, "iterations": 100, "perturbations": 10}}}) as f, h5py.File(source) as raw:
                g = f["analysis/cell0"]
                x, y = 2 * raw["X"][()].astype(np.int64) - 1, raw["y"][()].astype(np.int64)
                y = np.where((np.arange(36000) % 1500 >= 19) & (np.arange(36000) // 1500 > 0) & (np.arange(36000) // 1500 < 20), y, 0)
                plain = np.stack([np.tensordot(y[lag:], x[: 36000 - lag], 1) for lag in range(20)])
                checks.check(np.array_equal(g["sta_sum"][()], plain),
                             f"liu2017 cell {cell}: sums are exact, {int(plain.sum())}, {int(abs(plain).sum())}")
                checks.near(g["sta"][()], ref[f"liu_cell{cell}_sta"][()], 1e-7, "STA")  # the reference is float
                h = g["nonlinearity/histogram"].attrs
                checks.check(abs(h["bits_per_spike"] - bits) < 0.001 and abs(h["cc"] - cc) < 0.001,
                             f"LN {h['bits_per_spike']:.4f} bits/spike ({bits}), CC {h['cc']:.4f} ({cc})")
                checks.check(g["stnmf"].attrs["localised"] >= 2, f"{g['stnmf'].attrs['localised']:.0f} local modules")


def check_complex_cell(checks, build, folder, data):
    """Rust et al. 2005."""
    source = f"{data}/realdata/544l029.p21_stc.mat"
    with analyze(build, folder, {
            "run": {"step": "10 ms"}, "field": {"pixels": [24, 1], "resolution": "10 /deg"},
            "stimulus": {"type": "dataset", "file": source + ":/stim", "axes": "xt"},
            "analyze": {"response": {"source": source + ":/spikes_per_frm", "axes": ["time", "one"], "shift": 3}, "offset": 0, "unit": 1, "lags": 10,
                        "nonlinearity": [],
                        "stc": {"full": True, "whiten": True, "shifts": 12, "smallest_shift": 1000, "quantile": 1, "seed": 2}}}) as f:
        g = f["analysis/cell0"]
        with h5py.File(f"{data}/refdata/cnn-retina/real_a.h5") as ref:
            # 2e-5: whether the mean of the stimulus, 6e-5, is taken from C0
            checks.check(np.abs(g["stc/eigenvalues"][()] - ref["rust2005_stc_eigs"][()][::-1]).max() < 2e-5, "V1 complex cell: whitened eigenvalues")
            checks.near(g["sta"][:, 0], ref["rust2005_sta"][()], 1e-14, "STA")
        a = g["stc"].attrs
        checks.check(a["excitatory"] == 8 and a["suppressive"] == 15, f"{a['excitatory']:.0f} excitatory and {a['suppressive']:.0f} suppressive axes "
                     f"beyond {a['null_low']:.3f} .. {a['null_high']:.3f}")  # the extremes of 12 shifts: 0.916 .. 1.088


def check_flicker(checks, build, folder, data):
    """Course data of the Gollisch laboratory: running frames for the estimate, frozen ones for the score."""
    where = f"{data}/realdata/ggnb_data_LN_model/"
    expected = [0.801, 0.682, 0.881, 0.772, 0.846, 0.879, 0.659, 0.807]
    norm = [0.810, 0.713, 0.893, 0.780, 0.875, 0.908, 0.674, 0.829]
    with analyze(build, folder, {
            "run": {"step": "13.3233 ms"}, "field": {"pixels": [1, 1], "resolution": "10 /deg"},
            "stimulus": {"type": "dataset", "file": where + "stimulus_fullfieldnoise.txt", "axes": "t"},
            "analyze": {"response": {"source": where + "fullfieldnoise_C{1..8}.txt", "values": "spike_times",
                                     "frame_times": where + "frametimes_fullfieldnoise.txt"},
                        "offset": 0, "unit": 1, "lags": 45, "trial": 2400, "running": [0, 1800], "skip": 45, "train": [0, 41],
                        "frozen": [1845, 2400], "bins": 40, "nonlinearity": ["histogram"]}}) as f:
        for c in range(8):
            g = f[f"analysis/{c + 1}"]
            r = np.corrcoef(g["sta"][()].ravel()[::-1], np.loadtxt(where + f"STA_C{c + 1}.txt"))[0, 1]
            h = g["nonlinearity/histogram"].attrs
            # CC_norm: which halves of the trials are compared is not said; they move it by up to 0.006
            checks.check(r > 0.9999 and abs(h["cc_repeats"] - expected[c]) < 0.001 and abs(h["cc_norm"] - norm[c]) < 0.01,
                         f"flicker cell {c + 1}: STA r {r:.6f}, frozen CC {h['cc_repeats']:.4f} ({expected[c]}), "
                         f"CC_norm {h['cc_norm']:.4f} ({norm[c]})")
            if c == 0:
                with h5py.File(f"{data}/refdata/cnn-retina/real_a.h5") as ref:
                    checks.near(g["nonlinearity/histogram/rate"][()], ref["ggnb_nl_c1"][()], 1e-3, "its nonlinearity")  # one count of 1,799 in a bin


def check_subunit_cell(checks, build, folder, data):
    """Seeded cell of six Gaussian subunits, 12 x 12 checks drawn again from ran1."""
    source = f"{data}/refdata/cnn-retina/lnln.h5"
    with h5py.File(source) as ref:
        said = text(ref, "lnln.json")
        tree = {"run": {"step": STEP, "duration": "7666.666666666667 s"}, "field": {"pixels": [12, 12], "resolution": "10 /deg"},
                "stimulus": {"type": "ran1_noise", "running_seed": -10000},
                "analyze": {"response": {"source": source + ":/lnln_counts", "axes": ["time"]}, "lags": 15, "skip": 15, "train": [0, 200000],
                            "test": [200000, 230000], "bins": 40, "nonlinearity": ["histogram", "exp", "softplus", "sigmoid"], "stc": {},
                            "istac": {"dimensions": 4}, "stnmf": {"modules": 12, "iterations": 100, "perturbations": 10}}}
        with analyze(build, folder, tree) as f:
            g = f["analysis/cell0"]
            s = g["sta_sum"][()].ravel()
            checks.check(s.sum() == -331048 and (s * np.arange(s.size)).sum() == 306319916 and np.array_equal(s, ref["lnln_sta_sum"][()].ravel()),
                         "subunit cell: integer sums -331048 and 306319916")
            ours = g["stc/eigenvalues"][()][::-1]
            checks.check(np.abs(ours - ref["lnln_stc_eigs"][()]).max() < 1e-7, "STC eigenvalues")  # the reference weighted its windows in float
            kl = g["istac/information"][()] / g["istac"].attrs["total"]
            theirs = np.array([m["fraction"] for m in said["istac"]])
            checks.check(np.all(kl > theirs - 1e-5) and np.all(kl < theirs + 0.005), f"iSTAC {kl.round(4)} of the total, at least {theirs.round(4)}")
            checks.check(abs(g["istac"].attrs["total"] - said["istac"][0]["total_nats"]) < 1e-5, "its total")
            for name in ("hist", "exp", "softplus", "sigmoid"):
                a = g["nonlinearity/" + ("histogram" if name == "hist" else name)].attrs
                b = said["LN_" + name]["bits_per_spike"]
                # 1e-4: a bin at an edge of the reference's float generator moves the histogram by 2e-5, its search stops at 1e-5
                checks.check(abs(a["bits_per_spike"] - b) < 1e-4, f"LN {name}: {a['bits_per_spike']:.5f} bits/spike ({b:.5f})")
            truth, modules = ref["lnln_subunits"][()].reshape(6, -1), g["stnmf/modules"][()].reshape(12, -1)
            cosine = (truth @ modules.T / np.linalg.norm(truth, axis=1)[:, None] / np.linalg.norm(modules, axis=1)).max(1)
            checks.check(g["stnmf"].attrs["residual"] < said["stnmf"]["residual"][0] + 1 and np.sort(cosine)[-3:].min() > 0.85,
                         f"STNMF: residual {g['stnmf'].attrs['residual']:.2f}, cosines {np.sort(cosine)[::-1].round(2)}")
        tree["analyze"] = {"response": tree["analyze"]["response"], "lags": 15, "train": [100000, 200000], "test": [200000, 230000],
                           "nonlinearity": [], "glm": {"ridge": 10, "window": [3, 3, 6, 6]}}
        with analyze(build, folder, tree) as f:
            a = f["analysis/cell0/glm"].attrs
            checks.check(abs(a["objective"] - 32537.537087962) < 1e-7 and abs(a["bias"] + 2.6415172464400314) < 1e-9,
                         f"GLM: objective {a['objective']:.9f}, bias {a['bias']:.12f}")
            w = np.linalg.norm(f["analysis/cell0/glm/stimulus"][()])
            checks.check(abs(w - 1.40195479346937) < 1e-9 and abs(a["bits_per_spike"] - 1.30903) < 1e-5,
                         f"|w| {w:.12f}, {a['bits_per_spike']:.5f} bits/spike")


def check_model_cell(checks, build, folder, data):
    """The published model cell of Yan et al. 2022."""
    with h5py.File(f"{data}/refdata/cnn-retina/yan.h5") as ref:
        np.save(os.path.join(folder, "y.npy"), np.unpackbits(ref["yan_spikes_packed"][()])[:300000])
        with analyze(build, folder, {
                "run": {"step": STEP, "duration": "10000 s"}, "field": {"pixels": [8, 8], "resolution": "10 /deg"},
                "stimulus": {"type": "ran1_noise", "running_seed": -1000},
                "analyze": {"response": {"source": "y.npy", "axes": ["time"]}, "unit": 1, "lags": 20, "skip": 20, "nonlinearity": [],
                            "stc": {"unbiased": True, "shifts": 100}, "stnmf": {"modules": 8, "iterations": 100, "perturbations": 10}}}) as f:
            g = f["analysis/cell0"]
            checks.near(g["sta"][()].transpose(0, 2, 1), ref["yan_sta"][()].reshape(20, 8, 8), 1e-7, "model cell: STA")  # the reference is float
            checks.check(np.abs(np.sort(g["stc/eigenvalues"][()]) - np.sort(ref["yan_stc_eigs"][()])).max() < 1e-7, "STC eigenvalues")
            a = g["stc"].attrs
            checks.check(a["excitatory"] == 3 and a["suppressive"] == 1, "3 excitatory axes and 1 suppressive")
            truth, modules = ref["yan_subunits"][()].transpose(0, 2, 1).reshape(4, -1), g["stnmf/modules"][()].reshape(8, -1)
            cosine = (truth @ modules.T / np.linalg.norm(truth, axis=1)[:, None] / np.linalg.norm(modules, axis=1)).max(1)
            checks.check(cosine.min() > 0.99 and g["stnmf"].attrs["localised"] == 4, f"STNMF finds its subunits: cosines {cosine.round(4)}")


def main(build):
    data = os.environ.get("CHIASM_DATA")
    if not data:
        print("skipped: no data (CHIASM_DATA)")
        sys.exit(77)
    checks = Checks()
    with work_folder() as folder:
        for check in (check_ganglion_cells, check_complex_cell, check_flicker, check_subunit_cell, check_model_cell):
            check(checks, build, folder, data)
    checks.done()


main(sys.argv[1])

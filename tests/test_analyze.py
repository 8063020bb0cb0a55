#!/usr/bin/env python3
"""chiasm analyze on recordings made here: every figure against numpy, the same bits on 1, 2 and 3 ranks, bad input refused.
Recordings of animals are the business of test_analyze_data.py.   test_analyze.py BUILD_FOLDER"""
import os
import subprocess
import sys

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from parity import Checks, chiasm, work_folder, write_yaml

NSTEP, NY, NX, LAGS, NCELL = 6000, 7, 6, 5, 3


def record(folder, whole):
    """Three LN cells that look at a noise movie; luminance and counts as .npy."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (NSTEP, NY, NX)) * 2.0 - 1 if whole else rng.normal(size=(NSTEP, NY, NX))
    temporal = np.array([0, 0.3, 1, 0.5, -0.4])
    counts = np.zeros((NSTEP, NCELL))
    for c in range(NCELL):
        g = x[:, 2 : 4 + c % 2, 1 + c : 3 + c].sum((1, 2)) * (-1) ** c
        counts[:, c] = rng.poisson(0.4 * np.log1p(np.exp(np.convolve(g, temporal)[:NSTEP] - 0.5)))
    np.save(os.path.join(folder, "x.npy"), 0.5 + 0.5 * x if whole else x)
    np.save(os.path.join(folder, "y.npy"), counts)
    return x, counts


def describe(whole, **analyze):
    return {"run": {"step": "20 ms"}, "field": {"pixels": [NX, NY], "resolution": "10 /deg"},
            "stimulus": {"type": "npy", "file": "x.npy"},
            "analyze": {"response": {"source": "y.npy", "axes": ["time", "cell"]}, "lags": LAGS, "offset": 0.5 if whole else 0,
                        "unit": 0.5 if whole else 1, "trial": 600, "skip": 10, "test": [8, 10], **analyze}}


def rows(x, first_lag=0):
    """[step][lag][y][x]; zeros before the start."""
    out = np.zeros((NSTEP, LAGS, NY, NX))
    for lag in range(LAGS):
        back = lag + first_lag
        out[back:, lag] = x[: NSTEP - back]
    return out


def parts():
    t = np.arange(NSTEP)
    used = t % 600 >= 10
    return used & (t < 4800), used & (t >= 4800)


def bits_per_spike(y, mu):
    return ((y * np.log(mu) - mu).sum() - (y * np.log(y.mean()) - y.mean()).sum()) / y.sum() / np.log(2)


def check_sta(checks, build, folder, whole, first_lag):
    x, y = record(folder, whole)
    train, test = parts()
    write_yaml(os.path.join(folder, "a.yaml"), describe(whole, first_lag=first_lag, bins=10, filter="full", nonlinearity=["histogram", "exp"],
                                                        transfer=True))
    out = chiasm(build, "chiasm-double", ["analyze", os.path.join(folder, "a.yaml"), "--overwrite", "--out", os.path.join(folder, "a.h5")])
    r = rows(x, first_lag)
    name = f"{'binary' if whole else 'Gaussian'}, first lag {first_lag}"
    with h5py.File(os.path.join(folder, "a.h5")) as f:
        predicted = []
        for c in range(NCELL):
            g = f[f"analysis/cell{c}"]
            n = y[train, c].sum()
            total = np.tensordot(y[train, c], r[train], 1)
            sta = g["sta"][()]
            checks.near(sta, total / n, 1e-13, f"{name}: STA of cell {c}")  # sums of some 2000 numbers
            checks.check("sta_sum" in g and np.array_equal(g["sta_sum"][()], total) if whole else "sta_sum" not in g, "its sums are exact")
            s = np.linalg.svd(sta.reshape(LAGS, -1), compute_uv=False)
            checks.near(g["singular_values"][()], s, 1e-13, "singular values")
            gen = r.reshape(NSTEP, -1) @ sta.ravel()
            h = g["nonlinearity/histogram"]
            edges = np.quantile(gen[train], np.linspace(0, 1, 11))
            checks.near(h["edge"][()], edges, 1e-12, "edges of bins")
            place = np.clip(np.digitize(gen, edges[1:-1]), 0, 9)
            rate = np.bincount(place[train], y[train, c], 10) / np.bincount(place[train], minlength=10)
            # binary: generators are whole multiples of 1/n, and those equal to an edge fall on either side of it by rounding
            checks.near(h["rate"][()], rate, 1e-2 if whole else 1e-12, "counts in bins")
            bits = bits_per_spike(y[test, c], np.maximum(rate[place[test]], 1e-9))
            checks.check(abs(h.attrs["bits_per_spike"] - bits) < (1e-2 if whole else 1e-10), f"{bits:.4f} bits/spike held out")
            e = g["nonlinearity/exp"]
            mu = np.exp(e.attrs["a"] + e.attrs["b"] * gen[train])
            slope = np.array([(y[train, c] - mu).sum(), ((y[train, c] - mu) * gen[train]).sum()]) / n
            checks.check(np.abs(slope).max() < 1e-5, "exp: no better parameters")  # climbed until 1e-10 nats are left
            checks.near(g["prediction"][4800:], np.exp(e.attrs["a"] + e.attrs["b"] * gen)[4800:], 1e-12, "prediction")
            predicted.append(g["prediction"][()])
        cc = np.corrcoef(np.concatenate([np.array(predicted)[:, test], y[test].T]))
        checks.near(f["analysis/transfer/score"][()], cc[:NCELL, NCELL:], 1e-12, "transfer matrix")
        checks.near(f["analysis/transfer/response_correlation"][()], cc[NCELL:, NCELL:], 1e-12, "correlation of responses")
        checks.check("analyze" in f["provenance/input"][()].decode() and "transfer" in out, "provenance and table")


def check_space(checks, build, folder):
    """STC and GLM, double."""
    x, y = record(folder, False)
    train, _ = parts()
    write_yaml(os.path.join(folder, "b.yaml"),
               describe(False, nonlinearity=[], stc={"unbiased": True, "whiten": True}, glm={"ridge": 3, "history": 2}))
    chiasm(build, "chiasm-double", ["analyze", os.path.join(folder, "b.yaml"), "--overwrite", "--out", os.path.join(folder, "b.h5")])
    r = rows(x)
    with h5py.File(os.path.join(folder, "b.h5")) as f:
        g = f["analysis/cell1"]
        z = np.tensordot(r[train], g["temporal"][()], (1, 0)).reshape(train.sum(), -1)
        w, v = np.linalg.eigh(np.cov(z.T))
        half = (v / np.sqrt(w)) @ v.T
        values = np.linalg.eigvalsh(half @ np.cov(z.T, fweights=y[train, 1].astype(int)) @ half)[::-1]
        checks.near(g["stc/eigenvalues"][()], values, 1e-11, "whitened STC")
        a = g["glm"].attrs
        past = np.stack([np.concatenate([np.zeros(k), y[:-k, 1]]) for k in (1, 2)], 1)
        rows_ = np.concatenate([r.reshape(NSTEP, -1), past], 1)[train]
        weight = np.concatenate([g["glm/stimulus"][()].ravel(), g["glm/history"][()]])
        eta = rows_ @ weight + a["bias"]
        slope = rows_.T @ (np.exp(eta) - y[train, 1]) + 3 * weight
        objective = (np.exp(eta) - y[train, 1] * eta).sum() + 1.5 * weight @ weight
        checks.check(np.abs(slope).max() < 1e-5, f"GLM: largest slope {np.abs(slope).max():.1e}")
        checks.check(abs(objective - a["objective"]) < 1e-8, f"GLM: objective {objective:.6f}")


def van_rossum(a, b, tau):
    """Pairs of exponentials: D^2 = 1/2 (sum over a, a + sum over b, b) - sum over a, b of exp(-|difference| / tau)."""
    pairs = lambda p, q: np.exp(-np.abs(p[:, None] - q[None]) / tau).sum()
    return np.sqrt(0.5 * pairs(a, a) + 0.5 * pairs(b, b) - pairs(a, b))


def victor_purpura(a, b, cost):
    """The table of cheapest ways from the first i spikes to the first j."""
    row = np.arange(len(b) + 1.0)
    for i, time in enumerate(a):
        new = np.zeros_like(row)
        new[0] = i + 1
        for j, other in enumerate(b):
            new[j + 1] = min(row[j + 1] + 1, new[j] + 1, row[j] + cost * abs(time - other))
        row = new
    return row[-1]


def check_trains(checks, build, folder):
    """Distances to a jittered copy of the trains."""
    _, y = record(folder, True)
    other = y.copy()
    other[3:290] = y[1:288]
    other[100] += 1
    np.save(os.path.join(folder, "z.npy"), other)
    doc = describe(True, trial=100, skip=5, test=[2, 3], nonlinearity=[],
                   trains={"response": {"source": "z.npy", "axes": ["time", "cell"]}, "tau": "30 ms", "cost": "20 Hz"})
    doc["run"]["duration"] = "6 s"
    write_yaml(os.path.join(folder, "t.yaml"), doc)
    for ranks in (1, 2):
        out = chiasm(build, "chiasm", ["analyze", os.path.join(folder, "t.yaml"), "--overwrite", "--out", os.path.join(folder, "t.h5")], ranks)
        with h5py.File(os.path.join(folder, "t.h5")) as f:
            for c in range(NCELL):
                a, b = (np.repeat((np.arange(300) + 0.5) * 0.02, n[:300, c].astype(int)) for n in (y, other))
                for name, want in (("van_rossum", van_rossum(a, b, 0.03)), ("van_rossum_to_none", van_rossum(a, b[:0], 0.03)),
                                   ("victor_purpura", victor_purpura(a, b, 20)), ("victor_purpura_to_none", len(a))):
                    seen = f[f"analysis/trains/{name}"][c]
                    checks.check(abs(seen - want) < 1e-9 * want, f"{ranks} ranks, cell {c}: {name} {seen:.6f}, {want:.6f} by numpy")
    checks.check("van Rossum" in out, "and is said")
    doc["analyze"]["trains"]["response"]["cells"] = [0]
    write_yaml(os.path.join(folder, "t.yaml"), doc)
    out = chiasm(build, "chiasm", ["analyze", os.path.join(folder, "t.yaml"), "--out", os.path.join(folder, "u.h5")], expect=65)
    checks.check("3 cells are compared with 1" in out, f"refused: {out.strip().splitlines()[0][-110:]}")


def check_ranks(checks, build, folder):
    for whole in (True, False):
        record(folder, whole)
        write_yaml(os.path.join(folder, "c.yaml"),
                   describe(whole, window=4, stc={"shifts": 3}, istac={"dimensions": 2}, glm={"ridge": 1}, nonlinearity=["histogram", "softplus"],
                            stnmf={"modules": 3, "iterations": 20, "perturbations": 3}))
        for ranks in (1, 2, 3):
            chiasm(build, "chiasm", ["analyze", os.path.join(folder, "c.yaml"), "--overwrite", "--out", os.path.join(folder, f"c{ranks}.h5")], ranks)
        for ranks in (2, 3):
            same = subprocess.run(["h5diff", os.path.join(folder, "c1.h5"), os.path.join(folder, f"c{ranks}.h5"), "/analysis"]).returncode == 0
            checks.check(same, f"{'binary' if whole else 'Gaussian'}: {ranks} ranks give the bits of one")


def check_silence(checks, build, folder):
    """Cells without spikes or with one, and more ranks than pieces of time."""
    record(folder, True)
    counts = np.load(os.path.join(folder, "y.npy"))
    counts[:, 1] = 0
    counts[:, 2] = np.arange(NSTEP) == 1000
    np.save(os.path.join(folder, "y.npy"), counts)
    write_yaml(os.path.join(folder, "s.yaml"),
               describe(True, pieces=2, stc={"shifts": 2}, istac={"dimensions": 1}, glm={"coupled": True, "history": 1},
                        stnmf={"modules": 2, "iterations": 3, "perturbations": 1}, transfer=True))
    out = chiasm(build, "chiasm", ["analyze", os.path.join(folder, "s.yaml"), "--out", os.path.join(folder, "s.h5")], 3)
    with h5py.File(os.path.join(folder, "s.h5")) as f:
        silent, single = f["analysis/cell1"], f["analysis/cell2"]
        checks.check(not np.any(silent["sta"][()]) and "glm" not in silent, "a silent cell has an empty STA and no model")
        checks.check("stc" not in single and "stc" in f["analysis/cell0"] and "left out" in out, "one spike has no covariance")
        checks.check(np.isnan(f["analysis/transfer/score"][0, 1]), "nor is a silent cell predicted")


def check_refusals(checks, build, folder):
    record(folder, True)
    for change, word in (({"lags": 0}, "lags"), ({"test": [9, 8]}, "test"), ({"window": 7}, "window"), ({"nonlinearity": ["sofplus"]}, "softplus"),
                         ({"trial": 7000}, "trial"), ({"stc": {"shift": 3}}, "shifts"), ({"glm": {"window": [5, 5, 3, 3]}}, "window"),
                         ({"response": {"source": "none.npy"}}, "none.npy")):
        path = os.path.join(folder, "d.yaml")
        write_yaml(path, describe(True, **change))
        out = chiasm(build, "chiasm", ["analyze", path, "--out", os.path.join(folder, "d.h5")], expect=65)
        written = os.path.exists(os.path.join(folder, "d.h5"))
        checks.check(word in out and "d.yaml:" in out and not written, f"refused: {out.strip().splitlines()[0][-110:]}")


def check_input(checks, build, folder):
    """inputs/analyze_white_noise.yaml: its own simulation, analysed."""
    source, result = os.path.join(HERE, "..", "inputs", "analyze_white_noise.yaml"), os.path.join(folder, "sim.h5")
    chiasm(build, "chiasm", ["simulate", source, "--quiet", "--out", result])
    chiasm(build, "chiasm", ["analyze", source, "--out", os.path.join(folder, "ana.h5"), "--set", f"analyze.response.source={result}"])
    with h5py.File(os.path.join(folder, "ana.h5")) as f:
        cells = [g for g in f["analysis"].values() if "sta" in g]
        near = 0
        with h5py.File(result) as s:
            x, y = s["cells/spikes/x_deg"][()], s["cells/spikes/y_deg"][()]
        for c, g in enumerate(cells):
            top = np.unravel_index(np.abs(g["sta"][()]).max(0).argmax(), g["sta"].shape[1:])
            near += np.hypot(x[c] - (top[1] - 7.5) / 10, -y[c] - (top[0] - 7.5) / 10) < 0.2
        checks.check(near >= 0.9 * len(cells), f"white noise finds {near} of {len(cells)} cells where they are")
        checks.check(all(g["nonlinearity/softplus"].attrs["cc"] > 0.2 for g in cells), "LN predicts held-out bins")


def main(build):
    checks = Checks()
    with work_folder() as folder:
        for whole in (True, False):
            for first_lag in (0, 1):
                check_sta(checks, build, folder, whole, first_lag)
        check_space(checks, build, folder)
        check_trains(checks, build, folder)
        check_ranks(checks, build, folder)
        check_silence(checks, build, folder)
        check_refusals(checks, build, folder)
        check_input(checks, build, folder)
    checks.done()


main(sys.argv[1])

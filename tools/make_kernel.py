#!/usr/bin/env python3
"""Writes a space-time receptive field, or a bank of them, for the stage type `conv`.

usage: tools/make_kernel.py KIND FILE.h5 [options]         kinds: gaussian, dog, gabor, direction
  chiasm reads it as  kernel: FILE.h5:/kernel,  [time][y][x], or [orientation][time][y][x] if several orientations are given.
  gaussian   G(sigma) alone, at one moment: a blur
  dog        centre minus surround (G(sigma) - weight G(3 sigma)), biphasic in time: a ganglion cell
  gabor      even or odd Gabor function, biphasic in time: a simple cell (Jones & Palmer, J. Neurophysiol. 58:1233, 1987)
  direction  Gabor function whose wave drifts along its orientation: a direction-selective cell (Adelson & Bergen, JOSA A 2:284, 1985)
Needs Debian's python3-h5py.
"""
import argparse

import h5py
import numpy as np


def biphasic(nt, step_s, tau_s, order):
    """(t/tau)^n exp(-t/tau) (1/n! - (t/tau)^2/(n+2)!), of Adelson & Bergen 1985, eq. 1; sum of absolute values 1."""
    u = (np.arange(nt) + 0.5) * step_s / tau_s
    factorial = lambda n: float(np.prod(np.arange(1, n + 1)))
    h = u**order * np.exp(-u) * (1 / factorial(order) - u**2 / factorial(order + 2))
    return h / np.abs(h).sum()


def gauss(r2, sigma):
    return np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def kernel(a, orientation_deg):
    nt, ny, nx = a.size
    y, x = np.meshgrid((ny // 2 - np.arange(ny)) / a.resolution, (np.arange(nx) - nx // 2) / a.resolution, indexing="ij")  # y up
    pixel = 1 / a.resolution**2  # integrals over deg^2 become sums
    r2, angle = x**2 + y**2, np.deg2rad(orientation_deg)
    wave = 2 * np.pi * a.frequency * (x * np.cos(angle) + y * np.sin(angle))
    envelope = gauss(r2, a.sigma) * pixel
    fast = biphasic(nt, a.step, a.tau, 3)
    product = lambda time, space: time[:, None, None] * space
    if a.kind == "gaussian":
        return product(np.arange(nt) == 0, envelope / envelope.sum())
    if a.kind == "dog":
        surround = gauss(r2, 3 * a.sigma) * pixel
        return product(fast, envelope / envelope.sum() - a.weight * surround / surround.sum())
    if a.kind == "gabor":
        space = envelope * np.cos(wave - np.deg2rad(a.phase))
        return product(fast, space - envelope * space.sum() / envelope.sum())  # blind to uniform light
    t = (np.arange(nt) - (nt - 1) / 2) * a.step
    both = product(np.exp(-(t**2) / (2 * (t[-1] / 2) ** 2)), envelope)
    k = both * np.cos(wave - 2 * np.pi * a.temporal_frequency * t[:, None, None])
    return (k - both * k.sum() / both.sum()) / nt


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("kind", choices=["gaussian", "dog", "gabor", "direction"])
    p.add_argument("file")
    p.add_argument("--size", type=int, nargs=3, default=[20, 21, 21], metavar=("T", "Y", "X"), help="steps and pixels [20 21 21]")
    p.add_argument("--resolution", type=float, default=20, help="pixels per degree [20]")
    p.add_argument("--step", type=float, default=0.005, help="s, the run's [0.005]")
    p.add_argument("--sigma", type=float, default=0.12, help="deg, of the envelope or centre [0.12]")
    p.add_argument("--weight", type=float, default=1, help="of a dog's surround [1: blind to uniform light]")
    p.add_argument("--frequency", type=float, default=2, help="cycles per degree [2]")
    p.add_argument("--temporal-frequency", type=float, default=8, help="Hz, of direction [8]")
    p.add_argument("--phase", type=float, default=0, help="deg: 0 even, 90 odd [0]")
    p.add_argument("--tau", type=float, default=0.009, help="s, of the time course [0.009]")
    p.add_argument("--orientation", type=float, nargs="+", default=[0], help="deg, of the wave vector; several: a bank [0]")
    a = p.parse_args()
    bank = np.array([kernel(a, o) for o in a.orientation])
    with h5py.File(a.file, "w") as f:
        data = f.create_dataset("kernel", data=bank[0] if len(bank) == 1 else bank, dtype="f4", compression="gzip", shuffle=True)
        data.attrs.update({"kind": a.kind, "pixels_per_deg": a.resolution, "step_s": a.step, "orientation_deg": a.orientation})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes a grey picture with the statistics of natural scenes: dead leaves, discs that hide each other.

usage: tools/make_image.py FILE.png [--size WIDTH HEIGHT] [--seed N]
Radii r are distributed as 1/r^3, which makes edges at all scales and a spectrum near 1/f^2 (Lee, Mumford & Huang, Int. J. Comput. Vis. 41:35,
2001).  Needs Debian's python3-matplotlib.
"""
import argparse

import matplotlib.image
import numpy as np


def dead_leaves(nx, ny, seed):
    random = np.random.default_rng(seed)
    picture, empty = np.zeros((ny, nx)), np.ones((ny, nx), bool)
    y, x = np.ogrid[:ny, :nx]
    smallest, largest = 3.0, max(nx, ny) / 3
    while empty.any():  # from the front to the back, until nothing shines through
        u = random.random()
        r = 1 / np.sqrt(u / largest**2 + (1 - u) / smallest**2)
        cx, cy = random.uniform(-r, nx + r), random.uniform(-r, ny + r)
        rows = slice(max(int(cy - r), 0), max(int(cy + r) + 2, 0))
        columns = slice(max(int(cx - r), 0), max(int(cx + r) + 2, 0))
        leaf = empty[rows, columns] & ((x[:, columns] - cx) ** 2 + (y[rows] - cy) ** 2 < r * r)
        picture[rows, columns][leaf] = np.clip(random.normal(0.5, 0.2), 0, 1)
        empty[rows, columns] &= ~leaf
    return picture


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file")
    p.add_argument("--size", type=int, nargs=2, default=[480, 360])
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    grey = np.round(255 * dead_leaves(*a.size, a.seed)).astype(np.uint8)
    matplotlib.image.imsave(a.file, np.dstack([grey] * 3), metadata={"Software": None})


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Draws a result of chiasm, by what it holds.

usage: tools/plot.py RESULT.h5 PICTURE.png [--time SECONDS] [--only NAME,NAME ...]
  of simulate: maps and spikes at one moment (--time; else when the populations fire most), rasters, population rates
  of fit:      loss and score, fitted numbers and kernels, predictions and their targets, the stimulus that was made
  of analyze:  receptive field, nonlinearity and prediction of each cell, what else was asked for, transfer matrix
Needs Debian's python3-h5py and python3-matplotlib.
"""
import argparse
import os
import sys

try:
    import h5py

    from plots import analysis, fit, page, simulation
    from plots.result import Result, Unusable
except ModuleNotFoundError as missing:
    sys.exit(f"chiasm: no Python module {missing.name}: `tools/install plot` installs what pictures need")


def draw(file, path, time=None, only=None):
    """The page of an open result."""
    result = Result(file, path)
    if "analysis" in file:
        return analysis.draw(result, only)
    if "parameters" in file and "history" in file:
        return fit.draw(result, only)
    if "maps" in file or "cells" in file:
        return simulation.draw(result, time)
    raise Unusable("no result of chiasm: it has none of /maps, /cells, /parameters with /history, /analysis")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("result")
    parser.add_argument("picture")
    parser.add_argument("--time", type=float, help="moment of the maps of a simulation, s")
    parser.add_argument("--only", type=lambda text: text.split(","), help="cells of an analysis, or networks of a fit")
    args = parser.parse_args()
    page.set_look()
    if not os.path.isfile(args.result):
        print(f"chiasm: {args.result}: no such file", file=sys.stderr)
        return 66
    try:
        with h5py.File(args.result, "r") as file:
            picture = draw(file, args.result, args.time, args.only)
    except OSError:
        print(f"chiasm: {args.result}: no HDF5 file, or a broken one", file=sys.stderr)
        return 65
    except Unusable as wrong:
        print(f"chiasm: {args.result}: {wrong}", file=sys.stderr)
        return 65
    try:
        picture.fig.savefig(args.picture)
    except (OSError, ValueError) as wrong:
        print(f"chiasm: {args.picture} cannot be written: {wrong}", file=sys.stderr)
        return 73
    return 0


if __name__ == "__main__":
    sys.exit(main())

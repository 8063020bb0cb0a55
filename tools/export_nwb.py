#!/usr/bin/env python3
"""Writes a result of chiasm as an NWB 2 file, the format of pynwb, MatNWB and DANDI.

    tools/export_nwb.py RESULT.h5 [RESULT.nwb]

Spikes become the table /units (one row for each cell: population, node_id, x_deg, y_deg, spike_times in s), maps and reports become TimeSeries in
/acquisition.  Needs h5py only; the layout is that of the NWB schema 2.7 and passes pynwb's validator.
"""
import argparse
import os
import sys
import uuid

import h5py
import numpy as np

BLOCK_BYTES = 64 << 20
TEXT = h5py.string_dtype("utf-8")


def typed(thing, neurodata_type, namespace="core", **attributes):
    """The attributes that make a group or dataset an object of NWB."""
    thing.attrs["neurodata_type"] = neurodata_type
    thing.attrs["namespace"] = namespace
    thing.attrs["object_id"] = str(uuid.uuid4())
    for name, value in attributes.items():
        thing.attrs[name] = value
    return thing


def text_of(result, name, otherwise=""):
    return result[name].asstr()[()] if name in result else otherwise


def write_head(result, nwb):
    typed(nwb, "NWBFile", nwb_version="2.7.0")
    start = text_of(result, "provenance/start", "1970-01-01T00:00:00+00:00")
    version = text_of(result, "provenance/version", "unknown")
    for name, text in (
        ("identifier", str(uuid.uuid4())),
        ("session_description", "simulation by chiasm " + version),
        ("session_start_time", start),
        ("timestamps_reference_time", start),
    ):
        nwb.create_dataset(name, data=text, dtype=TEXT)
    nwb.create_dataset("file_create_date", data=[start], dtype=TEXT)
    for group in ("acquisition", "analysis", "processing", "stimulus/presentation", "stimulus/templates", "general"):
        nwb.create_group(group)
    note = "command: %s\n\n%s" % (text_of(result, "provenance/command"), text_of(result, "provenance/input"))
    nwb.create_dataset("general/notes", data=note, dtype=TEXT)


def copy_rows(source, target):
    """In blocks of time, so that memory does not grow with the length of the run."""
    rows = max(1, BLOCK_BYTES // max(1, source.dtype.itemsize * int(np.prod(source.shape[1:]))))
    for first in range(0, source.shape[0], rows):
        target[first : first + rows] = source[first : first + rows]


def write_series(nwb, name, source, unit, start_s, dt_s, description, comments):
    if source.shape[0] == 0:
        return
    series = typed(nwb.create_group("acquisition/" + name), "TimeSeries", description=description, comments=comments)
    data = series.create_dataset("data", shape=source.shape, dtype=source.dtype)
    copy_rows(source, data)
    data.attrs["unit"] = unit or "1"
    data.attrs["conversion"] = 1.0
    data.attrs["offset"] = 0.0
    data.attrs["resolution"] = -1.0
    time = series.create_dataset("starting_time", data=float(start_s))
    time.attrs["rate"] = 1.0 / float(dt_s)
    time.attrs["unit"] = "seconds"


def units_of(thing):
    unit = thing.attrs.get("units", "")
    return unit.decode() if isinstance(unit, bytes) else str(unit)


def write_maps(result, nwb):
    for name, data in result.get("maps", {}).items():
        a = data.attrs
        write_series(nwb, "map_" + name, data, units_of(data), a["start_s"], a["dt_s"], "map %s [time, channel, y, x]" % name,
                     "%g pixels per degree; the corner is pixel y %d, x %d of the field" % (a["pixels_per_deg"], a["y0"], a["x0"]))


def write_reports(result, nwb):
    for name, report in result.get("report", {}).items():
        start_ms, _, dt_ms = report["mapping/time"][()]
        ids = report["mapping/node_ids"][()]
        write_series(nwb, "report_" + name, report["data"], units_of(report["data"]), start_ms * 1e-3, dt_ms * 1e-3,
                     "values of cells over time, report %s" % name, "node ids: " + ranges(ids))


def ranges(ids):
    """0-99, 103, 110-112"""
    ends = np.flatnonzero(np.diff(ids.astype(np.int64)) != 1)
    first, last = np.r_[0, ends + 1], np.r_[ends, len(ids) - 1]
    return ", ".join("%d" % ids[a] if a == b else "%d-%d" % (ids[a], ids[b]) for a, b in zip(first, last))


def read_units(result, name):
    """Spike times in s, cell after cell, with the end of each cell in them; ids and positions."""
    times = result["spikes"][name]["timestamps"][()] * 1e-3
    ids = result["spikes"][name]["node_ids"][()].astype(np.int64)
    cells = result["cells"][name] if "cells" in result and name in result["cells"] else None
    node_id = cells["id"][()].astype(np.int64) if cells else np.unique(ids)
    order = np.lexsort((times, ids))
    ends = np.searchsorted(ids[order], node_id, side="right")
    x, y = (cells["x_deg"][()], cells["y_deg"][()]) if cells else (np.full(len(node_id), np.nan),) * 2
    return times[order], ends, node_id, x, y


def write_units(result, nwb):
    names = list(result.get("spikes", {}))
    parts = [read_units(result, name) for name in names]
    if not parts:
        return
    before = np.cumsum([0] + [len(part[0]) for part in parts])
    units = typed(nwb.create_group("units"), "Units", description="simulated cells")
    columns = ["population", "node_id", "x_deg", "y_deg", "spike_times"]
    units.attrs.create("colnames", columns, dtype=TEXT)

    def column(name, values, neurodata_type="VectorData", dtype=None, **attributes):
        return typed(units.create_dataset(name, data=values, dtype=dtype), neurodata_type, "hdmf-common", **attributes)

    count = sum(len(part[2]) for part in parts)
    column("id", np.arange(count), "ElementIdentifiers")
    population = np.repeat(np.array(names, dtype=object), [len(part[2]) for part in parts])
    column("population", population, dtype=TEXT, description="name of the spiking stage")
    for i, (name, description) in enumerate((("node_id", "id of the cell in its population"), ("x_deg", "position, degrees to the right"),
                                             ("y_deg", "position, degrees up")), start=2):
        column(name, np.concatenate([part[i] for part in parts]), description=description)
    times = column("spike_times", np.concatenate([part[0] for part in parts]), description="times of the spikes of each cell, s")
    ends = np.concatenate([part[1] + offset for part, offset in zip(parts, before)]).astype(np.uint64)
    column("spike_times_index", ends, "VectorIndex", description="end of each cell in spike_times", target=times.ref)


def export(source, target):
    part = target + ".part"
    with h5py.File(source, "r") as result, h5py.File(part, "w") as nwb:
        write_head(result, nwb)
        write_maps(result, nwb)
        write_reports(result, nwb)
        write_units(result, nwb)
    os.replace(part, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("nwb", nargs="?", help="default: the result's name with .nwb")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    target = args.nwb or os.path.splitext(args.result)[0] + ".nwb"
    if os.path.exists(target) and not args.overwrite:
        sys.exit("export_nwb.py: '%s' exists; give --overwrite or another name" % target)
    try:
        export(args.result, target)
    except OSError as error:
        sys.exit("export_nwb.py: '%s' to '%s': %s" % (args.result, target, error))
    print(target)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Reads a result as others do: libsonata, BMTK, and pynwb after tools/export_nwb.py.  test_sonata.py BUILD_FOLDER

The file is written by `test_record write`, whose values are known: 29 cells, 1000 steps of 1 ms; see test_record.c.  A reader that is not
installed is named as skipped; exit code 77 when none of the three is there (pip install libsonata bmtk pynwb)."""
import importlib.util
import os
import subprocess
import sys
import tempfile

if not (importlib.util.find_spec("h5py") and importlib.util.find_spec("numpy")):
    print("skipped: no h5py and numpy")
    sys.exit(77)
import h5py
import numpy as np

NCELL, NSTEP, CELLS_0 = 29, 1000, 2
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def expected_spikes():
    cell, step = np.meshgrid(np.arange(NCELL), np.arange(NSTEP))
    time_ms = ((step + (cell * 13 + step * 7) % 4 / 4) * 0.001) * 1e3
    spikes = (cell * 31 + step * 17) % 5 == 0
    order = np.lexsort((cell[spikes], time_ms[spikes]))
    return time_ms[spikes][order], cell[spikes][order]


def same(what, a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or not np.array_equal(a, b):
        sys.exit("%s: read %s %s, wanted %s %s" % (what, a.shape, a[:5], b.shape, b[:5]))


def report_value(frame, cell, every):
    return (frame[:, None] * every * NCELL + cell[None, :] + CELLS_0 * 1e6).astype("f4")


def check_libsonata(path, times, ids):
    import libsonata

    spikes = libsonata.SpikeReader(path)
    same("libsonata populations", sorted(spikes.get_population_names()), ["spikes_0", "spikes_1"])
    read = spikes["spikes_0"].get_dict()
    same("libsonata times", read["timestamps"], times)
    same("libsonata ids", read["node_ids"], ids)
    same("libsonata silent population", spikes["spikes_1"].get(), [])
    reports = libsonata.ElementReportReader(path)
    some = np.r_[3, 10:20, 28]
    for name, cell, every in (("cells_0", np.arange(NCELL), 1), ("some", some, 10)):
        population = reports[name]
        frames = population.get()
        nframe = NSTEP // every
        same("libsonata node ids", population.get_node_ids(), cell)
        same("libsonata report " + name, frames.data, report_value(np.arange(nframe), cell, every))
        if abs(frames.times[-1] - (nframe - 1) * every) > 1e-6:  # ms; libsonata adds dt up
            sys.exit("libsonata: last frame at %g ms" % frames.times[-1])
    same("libsonata window", reports["some"].get(node_ids=[10], tstart=100.0, tstop=120.0).data[:, 0],
         report_value(np.array([10, 11, 12]), np.array([10]), 10)[:, 0])


def check_bmtk(path, times, ids):
    from bmtk.utils.reports.compartment import CompartmentReport
    from bmtk.utils.reports.spike_trains import SpikeTrains

    spikes = SpikeTrains.from_sonata(path)
    for cell in range(NCELL):
        same("BMTK times of cell %d" % cell, np.sort(spikes.get_times(cell, population="spikes_0")), times[ids == cell])
    same("BMTK silent population", spikes.get_times(0, population="spikes_1"), [])
    report = CompartmentReport.load(path)["some"]
    some = np.r_[3, 10:20, 28]
    same("BMTK node ids", report.node_ids(), some)
    same("BMTK number of steps", report.n_steps(), NSTEP // 10)
    same("BMTK cell 15", report.data(node_id=15).ravel(), report_value(np.arange(NSTEP // 10), np.array([15]), 10)[:, 0])


def check_nwb(path, times, ids):
    import pynwb

    nwb = path[:-3] + ".nwb"
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "export_nwb.py"), path, nwb], check=True, stdout=subprocess.DEVNULL)
    with pynwb.NWBHDF5IO(nwb, "r") as io:
        errors = pynwb.validate(io=io)
        if errors:
            sys.exit("pynwb: %s" % errors)
        file = io.read()
        units = file.units.to_dataframe()
        same("NWB rows", len(units), 2 * NCELL)
        for cell in range(NCELL):
            same("NWB spikes of cell %d" % cell, units.spike_times[cell], times[ids == cell] * 1e-3)
        same("NWB silent cell", len(units.spike_times[NCELL + 3]), 0)
        same("NWB names", [units.population[0], units.population[NCELL]], ["spikes_0", "spikes_1"])
        series = file.acquisition["report_some"]
        same("NWB rate", [series.rate, series.data.shape[0]], [100.0, NSTEP // 10])
        with h5py.File(path, "r") as result:
            same("NWB map", file.acquisition["map_centre"].data[7], result["maps/centre"][7])


def main():
    program = os.path.join(sys.argv[1], "test_record")
    readers = [("libsonata", check_libsonata), ("bmtk", check_bmtk), ("pynwb", check_nwb)]
    there = [(name, check) for name, check in readers if importlib.util.find_spec(name)]
    for name, _ in readers:
        if name not in [t[0] for t in there]:
            print("skipped: no " + name)
    if not there:
        sys.exit(77)
    times, ids = expected_spikes()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.h5")
        subprocess.run([program, "write", path], check=True)
        for name, check in there:
            check(path, times, ids)
            print("passed: " + name)


if __name__ == "__main__":
    main()

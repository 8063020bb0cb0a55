#!/usr/bin/env python3
"""Extracts the small golden files of tests/ from the full reference outputs (not part of the project).

    make_golden.py REFDATA_FOLDER

Every map of VirtualRetina and of the default Convis retina at a few frames (both sides of each change of the stimulus), all spikes,
the stimulus, and the XML; float64, losslessly compressed.  Run again only when the reference itself changes.
"""
import sys

import h5py
import numpy as np

FRAMES = np.array([0, 1, 2, 3, 41, 60, 90, 120, 141, 170, 199])


def keep(group, name, data):
    group.create_dataset(name, data=data, compression="gzip", compression_opts=9, shuffle=True)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def spikes(listing):
    rows = [line.split() for line in listing.splitlines() if line.strip() and not line.startswith("#")]
    return np.array([int(float(r[0])) for r in rows]), np.array([float(r[1]) for r in rows])


def main(source, here):
    cases = ["cat_x_logpolar_step5ms_spikes", "full_default_parvo", "full_leaky_cgc_parvo_spikes", "linear_leaky_undershoot", "linear_separable_cascade3",
             "linear_separable_undershoot"]
    with h5py.File(f"{here}/virtualretina.h5", "w") as out:
        with h5py.File(f"{source}/retina_input.h5") as ref:
            keep(out, "luminance", ref["luminance"][()])
        out["frames"] = FRAMES
        for case in cases:
            with h5py.File(f"{source}/virtualretina/{case}.h5") as ref:
                group = out.create_group(case)
                group["retina.xml"] = text(ref["text/retina.xml"][()])
                for name, data in ref.items():
                    if isinstance(data, h5py.Dataset):
                        keep(group, f"maps/{name}", data[()][FRAMES])
                if "spikes.spk" in ref["text"]:
                    cell, time = spikes(text(ref["text/spikes.spk"][()]))
                    keep(group, "spike_cell", cell)
                    keep(group, "spike_time", time)
    with h5py.File(f"{here}/convis.h5", "w") as out, h5py.File(f"{source}/convis/retina_default_f64.h5") as ref:
        out["frames"] = FRAMES
        for name in ["opl", "opl_center", "opl_surround", "bipolar", "gang_on", "gang_off"]:
            keep(out, name, ref[name][()][FRAMES])
        for name in ["spikes_on", "spikes_off"]:
            keep(out, name, ref[name][()])


if __name__ == "__main__":
    main(sys.argv[1], __file__.rsplit("/", 1)[0])

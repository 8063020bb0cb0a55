"""result.py - what every result file says of itself: its input, its step, the size of its pixels; and the responses that it was made from."""
import os
import re

import h5py
import numpy as np


class Unusable(Exception):
    """What is wrong with a file, in one line."""


def text_of(value):
    value = value[()] if isinstance(value, h5py.Dataset) else value
    value = value.flat[0] if isinstance(value, np.ndarray) else value
    return value.decode() if isinstance(value, bytes) else str(value)


def natural(name):
    """Key that sorts cell2 before cell10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def settings_of(file):
    """The input as a flat table, 'fit.loss.type': 'poisson'; of lists the first element alone counts."""
    table, stack = {}, []
    for line in text_of(file["provenance/input"]).splitlines() if "provenance/input" in file else []:
        found = re.match(r"( *)((?:- )?)([\w.-]+):(?: (.*))?$", line)
        if found:
            indent = len(found[1]) + len(found[2])
            stack = [s for s in stack if s[0] < indent] + [(indent, found[3])]
            table.setdefault(".".join(s[1] for s in stack), (found[4] or "").strip('"'))
    return table


def numbers(text):
    return [float(x) for x in re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", text or "")]


class Result:
    """An open result with its clock and its pixels."""

    def __init__(self, file, path):
        self.file, self.path, self.name = file, path, os.path.basename(path)
        self.settings = settings_of(file)
        self.step_s = float(file["provenance"].attrs.get("step_s", 0)) if "provenance" in file else 0.0
        resolution = numbers(self.settings.get("field.resolution"))
        self.pixel_deg = 1 / resolution[0] if resolution and resolution[0] > 0 else 0.0

    def lags(self, n, first=0):
        return (np.arange(n) + first) * (self.step_s * 1e3 or 1)

    def lag_unit(self):
        return "ms" if self.step_s else "steps"

    def extent(self, ny, nx, y0=0, x0=0, centre=None):
        """Of an image: left, right, bottom, top, y up, from the centre of the field [ny, nx] (centre), or of the image."""
        cy, cx = (centre[0] / 2, centre[1] / 2) if centre else (ny / 2, nx / 2)
        size = self.pixel_deg or 1
        return np.array([x0 - cx, x0 + nx - cx, cy - y0 - ny, cy - y0]) * size

    def space_unit(self):
        return "deg" if self.pixel_deg else "pixels"

    def times(self, steps):
        return np.asarray(steps) * (self.step_s or 1)

    def time_unit(self):
        return "s" if self.step_s else "steps"


# --- responses of an analysis, which stay in their own files ---------------------------------------------------------------

def expand(source):
    """cell{01..03}.txt or cell{a,b}.txt: the names meant."""
    found = re.search(r"\{([^}]*)\}", source)
    if not found:
        return [source]
    ends = found[1].split("..")
    names = found[1].split(",") if len(ends) < 2 else [str(i).zfill(len(ends[0])) for i in range(int(ends[0]), int(ends[1]) + 1)]
    return [source[: found.start()] + name + source[found.end():] for name in names]


def find(result, path):
    """A path as the input has it is relative to the input."""
    home = os.path.dirname(text_of(result.file["provenance/input_path"])) if "provenance/input_path" in result.file else ""
    for folder in ("", home, os.path.dirname(result.path)):
        if os.path.exists(os.path.join(folder, path)):
            return os.path.join(folder, path)
    raise OSError(f"{path} is not here")


def from_array(values, axes, position):
    if values.ndim == 1:
        return values
    axes = axes or ["time", "cell"]
    values = np.moveaxis(values, axes.index("time"), 0).reshape(values.shape[axes.index("time")], -1)
    return values[:, position if values.shape[1] > 1 else 0]


def spike_counts(times, edges):
    place = np.searchsorted(edges, times, "right") - 1
    return np.bincount(place[(place >= 0) & (place < len(edges) - 1)], minlength=len(edges) - 1).astype(float)


def response_of(result, position, nstep):
    """Counts a step of one cell, [nstep]; None where this reader does not know the layout or the file has gone."""
    said = {k[len("analyze.response."):]: v for k, v in result.settings.items() if k.startswith("analyze.response.")}
    try:
        if said.get("part", "all") != "all" or said.get("cells"):
            return None
        names = expand(said["source"])
        name = names[position if len(names) > 1 else 0]
        path, _, inside = name.partition(":")
        path, unit = find(result, path), {"ms": 1e-3, "us": 1e-6}.get(said.get("unit"), 1.0)
        axes = re.findall(r"\w+", said.get("axes", ""))
        if inside:
            with h5py.File(path) as f:
                counts = from_array(f[inside][()].astype(float), axes, position)
        elif path.endswith(".h5"):
            with h5py.File(path) as f:
                spikes = f["spikes"][said["output"]]
                times = spikes["timestamps"][()][spikes["node_ids"][()] == position] * 1e-3
            counts = spike_counts(times + 1e-9, np.arange(nstep + 1) * result.step_s)
        elif path.endswith(".npy"):
            counts = from_array(np.load(path).astype(float), axes, position)
        elif said.get("values") == "spike_times":
            onset = np.loadtxt(find(result, said["frame_times"])).ravel() * unit if said.get("frame_times") else np.arange(nstep + 1) * result.step_s
            counts = spike_counts(np.loadtxt(path).ravel() * unit, np.append(onset, 2 * onset[-1] - onset[-2]))
        else:
            counts = from_array(np.loadtxt(path), axes, position)
        shift = int(numbers(said.get("shift"))[0]) if numbers(said.get("shift")) else 0
        out = np.full(nstep, np.nan)
        counts = counts[max(shift, 0):]
        out[max(-shift, 0):][: len(counts)] = counts[: nstep - max(-shift, 0)]
        return out
    except (OSError, KeyError, ValueError, IndexError):
        return None

"""simulation.py - results of `chiasm simulate`: recorded maps and spikes at one moment, rasters, population rates.  The file: src/run/record.h."""
import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from plots.page import OFF, ON, OTHER, Page
from plots.result import Unusable, text_of

MAX_MAPS, MAX_RASTERS, RASTER_CELLS, WINDOW_S = 11, 4, 100, 0.020
FEW, RASTER_SPIKES = 100, 200  # cells that are drawn one below the other; spikes of a cell in a raster, on average


class Map:
    """One channel of a recorded map, [time][channel][y][x], with its clock and place."""

    def __init__(self, name, data, channel=0):
        attr = data.attrs
        self.name, self.data, self.channel = name, data, channel
        self.unit = text_of(attr.get("units", ""))
        self.dt, self.start = float(attr.get("dt_s", 1)), float(attr.get("start_s", 0))
        self.y0, self.x0, self.pixels_per_deg = (float(attr.get(k, d)) for k, d in (("y0", 0), ("x0", 0), ("pixels_per_deg", 1)))
        self.ny, self.nx = data.shape[2:]

    def frame(self, time):
        i = int(round((time - self.start) / self.dt))
        return self.data[min(max(i, 0), self.data.shape[0] - 1)]

    def extent(self, field_ny, field_nx):
        """Left, right, bottom, top in degrees from the centre of the field, y up."""
        x, y = self.x0 - field_nx / 2, field_ny / 2 - self.y0
        return np.array([x, x + self.nx, y - self.ny, y]) / self.pixels_per_deg


class Population:
    """Cells with places and spikes."""

    def __init__(self, name, cells, spikes, k):
        self.name = name
        self.x, self.y = cells["x_deg"][:], cells["y_deg"][:]
        label = cells.get("type", cells.attrs.get("type", name))
        self.label = (text_of(label) if np.size(label) else "") or name
        self.time = spikes["timestamps"][:] / 1e3 if spikes else np.zeros(0)  # SONATA keeps ms
        self.cell = spikes["node_ids"][:].astype(np.int64) if spikes else np.zeros(0, np.int64)
        self.sign = -1 if re.search(r"\boff\b", self.label, re.I) else 1 if re.search(r"\bon\b", self.label, re.I) else 0
        self.color = {1: ON, -1: OFF, 0: OTHER[k % len(OTHER)]}[self.sign]


def recorded_order(file, names):
    """Maps in the order in which the input asks for them."""
    text = text_of(file["provenance/input"]) if "provenance/input" in file else ""
    asked = re.findall(r"[\w.-]+", text.split("\nrecord:")[-1])  # whether as `stage: opl` or as `[opl, ..]`
    return sorted(names, key=lambda n: (asked.index(n) if n in asked else len(asked), n))


def read(file):
    maps = [Map(n, file["maps"][n], c) for n in recorded_order(file, file["maps"]) for c in range(file["maps"][n].shape[1])] if "maps" in file else []
    populations, seen = [], []
    spikes = file["spikes"] if "spikes" in file else {}
    cells = file["cells"] if "cells" in file else {}
    for name in sorted(cells, key=lambda n: (n not in spikes, n)):  # cells that spike stand under two names, their own and the spikes'
        if cells[name] not in seen:
            seen.append(cells[name])
            populations.append(Population(name, cells[name], spikes.get(name), len(populations)))
    return [m for m in maps if m.data.shape[0]][:MAX_MAPS], populations


def population_rate(p, edges):
    return np.histogram(p.time, edges)[0] / (np.diff(edges) * max(p.x.size, 1))


def duration(maps, populations):
    return max([m.start + m.data.shape[0] * m.dt for m in maps] + [p.time.max() for p in populations if p.time.size] + [0.0])


def draw_map(fig, ax, m, time, extent):
    a = m.frame(time)  # all channels share a scale
    if m.name == "stimulus":
        look = dict(cmap="gray", vmin=0, vmax=1)
    elif a.min() < 0:
        top = np.percentile(np.abs(a), 99.7) or 1
        look = dict(cmap="RdBu_r", vmin=-top, vmax=top)
    else:
        low, top = np.percentile(a, [0.3, 99.7])
        look = dict(cmap="magma", vmin=low, vmax=top if top > low else low + 1)
    image = ax.imshow(a[m.channel], extent=extent, interpolation="nearest", **look)
    bar = fig.colorbar(image, cax=ax.inset_axes([1.02, 0, 0.025, 1]), ticks=matplotlib.ticker.MaxNLocator(5))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_linewidth(0.4)


def map_title(m, populations):
    unit = ", luminance (0 black, 1 white)" if m.name == "stimulus" else f" ({m.unit})" if m.unit not in ("", "1") else ""
    number = re.search(r"_\d+$", m.name)  # presets number their layers: ganglion_0 drives cells_0
    cells = [p.label for p in populations if number and p.name.endswith(number.group())]
    name = "OPL" if m.name == "opl" else m.name.replace("_", " ")
    channel = f", channel {m.channel}" if m.data.shape[1] > 1 else ""
    return name + (f", {cells[0]}" if cells else "") + channel + unit


def draw_spikes(ax, populations, time):
    for p in populations:
        now, count = np.unique(p.cell[np.abs(p.time - time) <= WINDOW_S / 2], return_counts=True)
        ax.scatter(p.x[now], p.y[now], s=0.22 * count**3, color=p.color, linewidths=0)
    ax.set_title(f"spikes in {WINDOW_S * 1e3:g} ms: the more, the larger the dot")


def degrees(ax, extent):
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    ax.set_aspect("equal")
    ax.tick_params(length=2)


def draw_cell_rates(fig, ax, populations, end):
    """Without maps: every cell at its place."""
    for p in populations:
        rate = np.bincount(p.cell, minlength=p.x.size) / max(end, 1e-9)
        dots = ax.scatter(p.x, p.y, s=max(4000 / max(p.x.size, 16), 6), c=rate, cmap="cividis", vmin=0, linewidths=0)
    if populations:
        fig.colorbar(dots, cax=ax.inset_axes([1.02, 0, 0.025, 1])).set_label("Hz")
    ax.margins(0.15)
    ax.set_aspect("equal")
    ax.set_title("mean rate of each cell")


def raster_cells(p):
    """At most RASTER_CELLS cells along the horizontal meridian, evenly spread over x."""
    edges = np.linspace(p.x.min(), p.x.max() + 1e-9, RASTER_CELLS + 1)
    column = np.digitize(p.x, edges)
    order = np.lexsort((np.abs(p.y), column))
    first = np.unique(column[order], return_index=True)[1]
    return order[first]


def draw_raster(ax, p):
    if p.x.size <= FEW:
        ax.plot(p.time, p.cell, "|", color=p.color, markersize=max(2.2, 60 / p.x.size), markeredgewidth=0.6)
        ax.set_ylim(p.x.size - 0.5, -0.5)
        ax.set_ylabel("cell")
        ax.set_title(f"{p.label}: spikes of its {p.x.size} cells", color=p.color)
        return
    chosen = np.zeros(p.x.size, bool)
    chosen[raster_cells(p)] = True
    shown = chosen[p.cell]
    ax.plot(p.time[shown], p.x[p.cell[shown]], "|", color=p.color, markersize=2.2, markeredgewidth=0.6)
    ax.set_ylim(p.x.min(), p.x.max())
    ax.set_ylabel("x (deg)")
    ax.set_title(f"{p.label}: spikes of {chosen.sum()} of {p.x.size:,} cells nearest the horizontal meridian", color=p.color)


def shown_span(populations, end, time):
    """[from, to) of rasters and rates: what of a long recording can still be told apart, around the moment."""
    most = max((p.time.size / p.x.size for p in populations if p.x.size), default=0)
    if most <= 1.5 * RASTER_SPIKES:
        return 0.0, end
    width = end * RASTER_SPIKES / most
    start = min(max(time - width / 2, 0), end - width)
    return start, start + width


def draw_rates(ax, populations, span):
    wide = span[1] - span[0]
    bins = max(int(round(wide / max(0.010, wide / 200))), 1)
    edges = np.linspace(*span, bins + 1)
    seen = []
    for p in populations:  # a second population of one sign: dashed
        dashes = ["-", "--", ":"][min(seen.count(p.color), 2)]
        ax.plot((edges[1:] + edges[:-1]) / 2, population_rate(p, edges), color=p.color, lw=1.3, ls=dashes, label=p.label)
        seen.append(p.color)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("rate per cell (Hz)")
    ax.set_title(f"population rates, bins of {1e3 * wide / bins:.3g} ms")
    ax.legend(frameon=False, ncol=len(populations), loc="lower right", bbox_to_anchor=(1, 0.99), borderaxespad=0, fontsize=8.5)


def busiest(populations, end, maps):
    edges = np.arange(0, end + 0.02, 0.02)
    if not any(p.time.size for p in populations) or edges.size < 3:
        return 0.7 * end
    rate = sum(population_rate(p, edges) for p in populations)
    rate[edges[:-1] < 0.2 * end] = 0  # what starts from rest is not yet a response to the movie
    time = edges[rate.argmax()] + 0.01
    return maps[0].start + maps[0].dt * round((time - maps[0].start) / maps[0].dt) if maps else time


def draw(result, time=None):
    maps, populations = read(result.file)
    if not maps and not populations:
        raise Unusable("its /maps and /cells are empty: nothing to draw")
    page = Page(result.name)
    end = duration(maps, populations)
    time = busiest(populations, end, maps) if time is None else time
    field_ny, field_nx = (max(values, default=1) for values in ([m.y0 + m.ny for m in maps], [m.x0 + m.nx for m in maps]))
    everywhere = np.array([[-1, 1, -1, 1]]) * max([np.abs([p.x, p.y]).max() for p in populations if p.x.size], default=1)
    extents = np.array([m.extent(field_ny, field_nx) for m in maps]) if maps else everywhere
    field = [extents[:, 0].min(), extents[:, 1].max(), extents[:, 2].min(), extents[:, 3].max()]
    rasters = [p for p in sorted(populations, key=lambda p: -p.sign) if p.x.size][:MAX_RASTERS]

    panels = len(maps) + bool(populations)
    span = shown_span(populations, end, time)
    columns = min(3, max(panels, 2))
    rows = -(-panels // columns)
    width = 11.0
    map_height = rows * ((width / columns) * (field[3] - field[2]) / (field[1] - field[0]) * 0.82 + 0.5)
    heights = [map_height] + [1.45] * len(rasters) + [1.9] * bool(populations)
    fig = page.fig = plt.figure(figsize=(width, sum(heights) + 0.9), layout="constrained")
    fig.get_layout_engine().set(h_pad=0.05, w_pad=0.05)
    count = f"{sum(p.x.size for p in populations):,} cells, " if populations else ""
    fig.suptitle(f"{page.title}: {count}{'maps' if maps else 'spikes'} at {time:.3f} s", fontsize=11, fontweight="bold", x=0.01, ha="left")
    outer = fig.add_gridspec(len(heights), 1, height_ratios=heights)

    grid = outer[0].subgridspec(rows, columns)
    for i in range(panels):
        ax = fig.add_subplot(grid[i // columns, i % columns])
        if i < len(maps):
            draw_map(fig, ax, maps[i], time, extents[i])
            ax.set_title(map_title(maps[i], populations))
        elif maps:
            draw_spikes(ax, populations, time)
        else:
            draw_cell_rates(fig, ax, populations, end)
        page.panels.append(maps[i].name if i < len(maps) else "spikes")
        page.axes.append([ax])
        if maps:
            degrees(ax, field)
        if i % columns == 0:
            ax.set_ylabel("y (deg)")
        if i + columns >= panels:
            ax.set_xlabel("x (deg)")

    shared = None
    for k, p in enumerate(rasters + [None] * bool(populations)):
        ax = shared = fig.add_subplot(outer[1 + k], sharex=shared)
        if p:
            draw_raster(ax, p)
            ax.tick_params(labelbottom=False)
        else:
            draw_rates(ax, sorted(populations, key=lambda q: -q.sign), span)
            ax.set_xlabel("time (s)")
        page.panels.append("raster" if p else "rates")
        page.axes.append([ax])
        ax.set_xlim(*span)
        ax.axvline(time, color="0.5", lw=0.8, ls=(0, (4, 3)), zorder=0)
        ax.spines[["top", "right"]].set_visible(False)
    return page

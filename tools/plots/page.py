"""page.py - a page of panels in rows, and the look that all pictures share."""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito: told apart by all eyes.  OURS is what chiasm says, DATA what it is compared with.
ON, OFF, OTHER = "#d55e00", "#0072b2", ["#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
OURS, DATA, LIGHT, MARK = "#d55e00", "#000000", "#bbbbbb", "#0072b2"
LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
SIGNED, POSITIVE = "RdBu_r", "Greys"
WIDTH = 10.0


def set_look():
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.linewidth": 0.6, "legend.frameon": False,
                         "legend.fontsize": 8, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 3, "ytick.major.size": 3,
                         "savefig.dpi": 150, "lines.linewidth": 1.3})


class Page:
    """Rows of panels.  A panel has a name, a width in inches and a function that draws it; after build(), `panels` holds the names and `axes`
    the axes, [panel][axes of it]."""

    def __init__(self, title):
        self.title, self.rows, self.panels, self.axes, self.fig = title, [], [], [], None

    def row(self, height, heading=None):
        self.rows.append((height + (0.3 if heading else 0), heading, []))

    def add(self, name, width, draw, stack=(1,)):
        """stack: heights of axes one above the other, all given to draw."""
        self.rows[-1][2].append((name, width, draw, stack))

    def build(self):
        rows = [r for r in self.rows if r[2]]
        heights = [r[0] for r in rows]
        self.fig = plt.figure(figsize=(WIDTH, sum(heights) + 0.45), layout="constrained")
        self.fig.get_layout_engine().set(h_pad=0.06, w_pad=0.06)
        self.fig.suptitle(self.title, fontsize=11, fontweight="bold", x=0.01, ha="left")
        bands = np.atleast_1d(self.fig.subfigures(len(rows), 1, height_ratios=heights))
        for band, (_, heading, panels) in zip(bands, rows):
            if heading:
                band.suptitle(heading, fontsize=9.5, x=0.01, ha="left")
            used = sum(p[1] for p in panels)
            ratios = [p[1] for p in panels] + ([WIDTH - used] if used < WIDTH - 0.3 else [])
            grid = band.add_gridspec(1, len(ratios), width_ratios=ratios)
            for cell, (name, _, draw, stack) in zip(grid, panels):
                inner = cell.subgridspec(len(stack), 1, height_ratios=stack, hspace=0.05) if len(stack) > 1 else [cell]
                axes = [band.add_subplot(inner[i]) for i in range(len(stack))]
                draw(*axes)
                self.panels.append(name)
                self.axes.append(axes)
            if len(ratios) > len(panels):
                band.add_subplot(grid[-1]).set_axis_off()  # keeps the others at their width
        return self


def plain(ax, xlabel="", ylabel="", title=""):
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)


def colour_bar(ax, image, label="", ticks=3):
    bar = ax.figure.colorbar(image, cax=ax.inset_axes([1.04, 0, 0.05, 1]), ticks=matplotlib.ticker.MaxNLocator(ticks, symmetric=True))
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.outline.set_linewidth(0.4)
    bar.set_label(label, fontsize=8)


def show_map(ax, values, limit=None, extent=None, cmap=SIGNED, aspect="equal"):
    """A signed map around 0; y down as in the file unless extent says otherwise."""
    limit = limit or float(np.nanmax(np.abs(values))) or 1.0
    low = -limit if cmap == SIGNED else 0
    image = ax.imshow(values, cmap=cmap, vmin=low, vmax=limit, extent=extent, interpolation="nearest", aspect=aspect)
    ax.tick_params(length=2)
    return image


def bare(ax):
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_linewidth(0.4)


def number(x):
    """Four digits that count, as short as they get."""
    return f"{x:.4g}"


def several(count, shown, what):
    return f"{shown} of {count:,} {what}" if shown < count else f"{count:,} {what}" if count != 1 else f"1 {what.rstrip('s')}"

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
WIDTH, TITLE = 10.0, 0.42  # inches


def set_look():
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.linewidth": 0.6, "legend.frameon": False,
                         "legend.fontsize": 8, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 3, "ytick.major.size": 3,
                         "savefig.dpi": 150, "lines.linewidth": 1.3})


class Panel:
    """A place of `width` inches in a row, its margins inside; `stack`: heights of axes one above the other, `gap` inches between them."""

    def __init__(self, name, width, draw, stack=(1,), gap=0.6, left=0.7, right=0.14):
        self.name, self.width, self.draw, self.stack, self.gap, self.left, self.right = name, width, draw, stack, gap, left, right


class Row:
    def __init__(self, height, heading=None, top=0.3, bottom=0.48):
        self.height, self.heading, self.top, self.bottom, self.panels = height, heading, top, bottom, []
        self.whole = height + (0.27 if heading else 0)

    def room(self):
        return WIDTH - sum(p.width for p in self.panels)


class Page:
    """Rows of panels, all lengths in inches: nothing moves because something else needs room.  After build(), `panels` holds the names of the panels
    and `axes` their axes, [panel][axes of it]."""

    def __init__(self, title):
        self.title, self.rows, self.panels, self.axes, self.fig = title, [], [], [], None

    def row(self, *args, **more):
        self.rows.append(Row(*args, **more))

    def add(self, *args, **more):
        self.rows[-1].panels.append(Panel(*args, **more))

    def flow(self, name, width, draw, height=2.3, **more):
        """In the row at hand if there is room, else in a new one."""
        if not self.rows or self.rows[-1].height != height or self.rows[-1].room() < width - 1e-6:
            self.row(height)
        self.add(name, width, draw, **more)

    def build(self):
        rows = [r for r in self.rows if r.panels]
        tall = sum(r.whole for r in rows) + TITLE
        self.fig = plt.figure(figsize=(WIDTH, tall))
        self.fig.text(0.1 / WIDTH, 1 - 0.1 / tall, self.title, fontsize=11, fontweight="bold", va="top")
        y = tall - TITLE
        for row in rows:
            if row.heading:
                self.fig.text(0.1 / WIDTH, (y - 0.07) / tall, row.heading, fontsize=9.5, va="top")
            y -= row.whole
            x = 0.0
            for panel in row.panels:
                self.place(panel, row, x, y, tall)
                x += panel.width
        return self

    def place(self, panel, row, x, y, tall):
        height = row.height - row.top - row.bottom - panel.gap * (len(panel.stack) - 1)
        upper, axes = y + row.height - row.top, []
        for part in panel.stack:
            h = height * part / sum(panel.stack)
            axes.append(self.fig.add_axes([(x + panel.left) / WIDTH, (upper - h) / tall, (panel.width - panel.left - panel.right) / WIDTH, h / tall]))
            upper -= h + panel.gap
        panel.draw(*axes)
        self.panels.append(panel.name)
        self.axes.append(axes)


def plain(ax, xlabel="", ylabel="", title=""):
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)


def bar_beside(ax):
    """0.1 inches wide, beside the map as it is drawn."""
    ax.apply_aspect()
    inch = 1 / (ax.get_position().width * ax.figure.get_figwidth())
    return ax.inset_axes([1 + 0.06 * inch, 0, 0.1 * inch, 1])


def colour_bar(ax, image, label="", ticks=3):
    bar = ax.figure.colorbar(image, cax=bar_beside(ax), ticks=matplotlib.ticker.MaxNLocator(ticks, symmetric=True))
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


def few_ticks(ax, n=3):
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(n))
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(n))


def one_of_many(ax, first, xlabel, ylabel):
    """Axes beside others with the same limits: labels at the first alone."""
    if first:
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
    else:
        ax.set_xlabel("")
        ax.set_ylabel("")
        ax.tick_params(labelleft=False, labelbottom=False)


def number(x):
    """Four digits that count, as short as they get."""
    return f"{x:.4g}"


def several(count, shown, what):
    return f"{shown} of {count:,} {what}" if shown < count else f"{count:,} {what}" if count != 1 else f"1 {what.rstrip('s')}"

"""filters.py - kernels in space and time: the first term of their singular value decomposition, banks of them under one colour scale."""
import numpy as np

from plots.page import LINES, bare, colour_bar, few_ticks, one_of_many, plain, show_map

MOST = 12     # filters of one bank
ACROSS = 6    # in a row


def separate(kernel):
    """[t][y][x] -> map at the peak of the time course, time course that is 1 at its peak, part of the power that they hold."""
    nt, ny, nx = kernel.shape
    u, s, v = np.linalg.svd(kernel.reshape(nt, -1).astype(float), full_matrices=False)
    time = u[:, 0]
    peak = time[np.abs(time).argmax()] or 1.0
    power = float((s**2).sum())
    return (s[0] * peak * v[0]).reshape(ny, nx), time / peak, float(s[0] ** 2) / power if power > 0 else 1.0


def draw_course(ax, result, course, start=None, first=0, label=True):
    lags = result.lags(len(course), first)
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    if start is not None:
        ax.plot(lags, start, color="0.6", lw=1, ls="--")
    ax.plot(lags, course, color=LINES[0], marker="." if len(course) < 12 else "", ms=4)
    ax.margins(x=0.02)
    plain(ax, f"lag ({result.lag_unit()})" if label else "")


def draw_filter(result, map_, course, share, name, limit, first, last):
    """Map above time course; either may be missing."""
    def draw(*axes):
        axes = list(axes)
        if map_ is not None:
            ax = axes.pop(0)
            image = show_map(ax, map_, limit, result.extent(*map_.shape))
            few_ticks(ax)
            ax.set_title(name + (f": {100 * share:.0f} %" if course is not None else ""), fontsize=8.5)
            if last:
                colour_bar(ax, image)
            one_of_many(ax, first, f"x ({result.space_unit()})", f"y ({result.space_unit()})")
        if course is not None:
            ax = axes.pop(0)
            draw_course(ax, result, course)
            ax.set_ylim(-1.15, 1.15)
            if map_ is None:
                ax.set_title(name, fontsize=8.5)
            one_of_many(ax, first, ax.get_xlabel(), "of its peak")
    return draw


def bank_names(nout, nin, network=""):
    if network and nout * nin == 1:
        return [network]
    before = f"{network}: " if network else ""
    return [before + (f"{o}" if nin == 1 else f"{o} from {i}") for o in range(nout) for i in range(nin)]


def add_bank(page, result, title, flat, names):
    """flat [filter][t][y][x].  The strongest MOST are shown, in their order.  A kernel in the file is an impulse response,
    y(x) = sum k(i) input(x - i): what a cell weighs its surroundings with, as an STA shows it, is that turned by 180 degrees."""
    nt, ny, nx = flat.shape[1:]
    flat = flat[:, :, ::-1, ::-1]
    chosen = np.sort(np.argsort(-np.abs(flat).reshape(len(flat), -1).max(1), kind="stable")[:MOST])
    parts = [separate(flat[i]) for i in chosen]
    limit = max(float(np.abs(p[0]).max()) for p in parts) or 1.0
    how = "; %: power in map times time course" if nt > 1 and ny * nx > 1 else ""
    how = ": weights of the input as the cell sees it" + how if ny * nx > 1 else how
    how = (" (output from input channel)" if any(" from " in n for n in names) else "") + how
    what = "" if len(flat) == 1 else f", the strongest {MOST} of {len(flat):,} filters" if len(chosen) < len(flat) else f", {len(flat)} filters"
    if ny * nx == 1:
        page.row(1.9, f"{title}{what}")
        page.add(f"kernel {title}", 5.0, lambda ax: draw_courses(ax, result, [flat[i][:, 0, 0] for i in chosen], [names[i] for i in chosen]))
        return
    side = 1.25
    tall = side * min(ny / nx, 1.3) + 0.75
    for row in range(0, len(chosen), ACROSS):
        page.row(tall + (1.25 if nt > 1 else 0), f"{title}{what}{how}" if row == 0 else None, top=0.27)
        some = range(row, min(row + ACROSS, len(chosen)))
        for k in some:
            map_, course, share = parts[k]
            last, name = k == some[-1], names[chosen[k]]
            left = 0.7 if k == row else 0.12
            page.add(f"kernel {title} {name}", side + left + (0.55 if last else 0.05),
                     draw_filter(result, map_, course if nt > 1 else None, share, name if len(flat) > 1 else "kernel", limit, k == row, last),
                     stack=(tall - 0.75, 0.7) if nt > 1 else (1,), gap=0.55, left=left, right=0.55 if last else 0.05)


def draw_courses(ax, result, courses, names):
    for i, course in enumerate(courses):
        ax.plot(result.lags(len(course)), course, color=LINES[i % len(LINES)], label=names[i], ls=["-", "--"][i // len(LINES) % 2])
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    if len(courses) > 1:
        ax.legend(ncol=2, title="filter")
    plain(ax, f"lag ({result.lag_unit()})", "weight")


def add_maps(page, name, maps, titles, across, size, cmap, limit=None, marked=None, heading=None):
    """Small maps without axes, one colour scale or (limit None) each its own."""
    for row in range(0, len(maps), across):
        page.row(size + 0.26, heading if row == 0 else None, top=0.24, bottom=0.1)
        for k in range(row, min(row + across, len(maps))):
            def draw(ax, k=k):
                show_map(ax, maps[k], limit, cmap=cmap)
                bare(ax)
                ax.set_title(titles[k], fontsize=8.5, color="k" if marked is None or marked[k] else "0.45")
                if marked is not None and marked[k]:
                    for spine in ax.spines.values():
                        spine.set(linewidth=2, color=LINES[1])
            page.add(f"{name} {k}", size, draw, left=0.08, right=0.04)

"""fit.py - results of `chiasm fit`: course of the loss, parameters against their start, kernels, predictions, the stimulus that was made.  The file:
src/run/fit_result.c."""
import matplotlib
import numpy as np

from plots import filters
from plots.page import DATA, LIGHT, LINES, MARK, OURS, Page, few_ticks, number, one_of_many, plain, several
from plots.result import Unusable, numbers, text_of

MOST_NETWORKS = 3  # whose kernels and predictions are shown
STRETCH = 300      # steps of a prediction
FRAMES = 8         # of a stimulus


class Fit:
    """The groups of a result; arrays always have the dimension [network] first."""

    def __init__(self, result, only=None):
        self.result, self.file = result, result.file
        self.many = "networks" in self.file
        self.names = text_of(self.file["networks/name"]).split() if self.many else [""]
        self.shown = [k for k, name in enumerate(self.names) if not only or name in only][: len(LINES) if only else MOST_NETWORKS]
        if len(self.names) == 1:
            self.names = [""]  # nothing to tell apart
        if not self.shown:
            raise Unusable(f"no network of that name; there are {', '.join(self.names[:20])}{' ...' if len(self.names) > 20 else ''}")

    def rows(self, name):
        values = self.file[name][()]
        return values if self.many else values[None]

    def parameters(self):
        """(name, unit, [network][...] fitted, the same at the start) of what was fitted."""
        out = []
        said = text_of(self.file["provenance/input"]) if "provenance/input" in self.file else ""
        for stage in sorted(self.file["parameters"], key=lambda s: (said.find(f"name: {s}\n"), s)):  # in the model's order
            for name in sorted(self.file["parameters"][stage]):
                data = self.file[f"parameters/{stage}/{name}"]
                if data.attrs.get("fitted", 1):
                    unit = text_of(data.attrs.get("units", ""))
                    path = f"{stage}/{name}"
                    out.append((f"{stage}.{name}", "" if unit == "1" else unit, self.rows(f"parameters/{path}"), self.rows(f"start/{path}")))
        return out


# --- course -----------------------------------------------------------------------------------------------------------------------
def courses(values):
    """[look][network] -> lines to draw: every network of few, median and quartiles of many."""
    if values.shape[1] <= len(LINES):
        return values, None
    return np.nanmedian(values, 1, keepdims=True), np.nanpercentile(values, [25, 75], axis=1)


def draw_course(ax, x, values, dashes, label, names):
    lines, band = courses(values)
    for k in range(lines.shape[1]):
        several_names = lines.shape[1] > 1
        ax.plot(x, lines[:, k], ls=dashes, color=LINES[k] if several_names else DATA if dashes == "-" else MARK,
                label=(names[k] if dashes == "-" else None) if several_names else label, lw=1.2,
                marker="." if np.isfinite(lines[:, k]).sum() < 8 else "", ms=5)
    if band is not None:
        ax.fill_between(x, *band, color=DATA if dashes == "-" else MARK, alpha=0.15, lw=0, zorder=0)


def mark_kept(ax, x, kept):
    """Where the values are from; of a search, which looks at nothing else, from its end."""
    some = [(k, int(at)) for k, at in enumerate(kept) if 0 <= at < len(x)]
    for k, at in some if len(kept) <= len(LINES) else []:
        ax.axvline(x[at], color=LINES[k] if len(kept) > 1 else "0.5", lw=1, ls=":", zorder=0, label="kept" if k == 0 else None)


def add_history(page, fit):
    h = fit.file["history"]
    table = {k: h[k][()].reshape(len(h["step"]), -1) for k in ("train_loss", "validation_loss", "score", "rate")}
    x, kept = h["step"][()], h["best"][()]
    kind = text_of(h["score"].attrs.get("kind", "score"))

    def loss(ax):
        draw_course(ax, x, table["train_loss"], "-", "training", fit.names)
        if np.isfinite(table["validation_loss"]).any():
            draw_course(ax, x, table["validation_loss"], "--", "validation", fit.names)
        everything = np.concatenate([table["train_loss"].ravel(), table["validation_loss"].ravel()])
        everything = everything[np.isfinite(everything)]
        if everything.size and everything.min() > 0 and everything.max() > 20 * everything.min():
            ax.set_yscale("log")
            ax.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        mark_kept(ax, x, kept)
        ax.legend()
        both = len(fit.names) > 1 and table["train_loss"].shape[1] <= len(LINES) and np.isfinite(table["validation_loss"]).any()
        plain(ax, "step of the optimiser", f"loss{of_loss(fit.result)}", "loss" + (", dashed: validation" if both else "") + many_note(table))
    page.flow("loss", 3.0 if fit.result.settings.get("fit.target") == "stimulus" else 4.2, loss, left=0.85)
    if kind != "-loss" and np.isfinite(table["score"]).any():
        def score(ax):
            draw_course(ax, x, table["score"], "-", kind, fit.names)
            mark_kept(ax, x, kept)
            best = [table["score"][int(k), i] for i, k in enumerate(kept) if 0 <= k < len(x)]
            plain(ax, "step of the optimiser", kind, f"validation score; kept: {number(float(np.median(best)))}" if best else "validation score")
        page.flow("score", 2.9, score)
    if np.ptp(table["rate"][np.isfinite(table["rate"])]) > 0 if np.isfinite(table["rate"]).any() else False:
        def rate(ax):
            draw_course(ax, x, table["rate"], "-", "rate", fit.names)
            ax.set_yscale("log")
            plain(ax, "step of the optimiser", "rate", "rate of the optimiser")
        page.flow("rate", 2.8, rate)


def of_loss(result):
    kind = result.settings.get("fit.loss.type")
    return f" ({kind})" if kind and result.settings.get("fit.target") != "stimulus" else ""


def many_note(table):
    n = table["train_loss"].shape[1]
    return f", median and quartiles of {n:,} networks" if n > len(LINES) else ""


# --- parameters ---------------------------------------------------------------------------------------------------------------------
UNITS = {"s": (1e3, "ms")}


def readable(value, unit):
    """Seconds below one are easier to read in ms."""
    if unit in UNITS and abs(value) < 1:
        return f"{number(value * UNITS[unit][0])} {UNITS[unit][1]}"
    return f"{number(value)} {unit}".strip()


def add_scalars(page, fit):
    """Every number that was fitted, as part of its start."""
    rows = []
    for name, unit, values, start in fit.parameters():
        if values[0].size == 1:
            rows.append((name, unit, values.reshape(len(values)), start.reshape(len(start))))
    if rows:
        from_zero = not any(np.median(start) for _, _, _, start in rows)
        width, left, right = (2.8, 0.1, 0.1) if from_zero else (5.8, 1.4, 1.7)
        height = 2.3 if len(rows) <= 7 else 0.8 + 0.26 * len(rows)
        draw_rows = list_scalars if from_zero else draw_scalars
        page.flow("scalars", width, lambda ax: draw_rows(ax, rows), height, left=left, right=right)


def list_scalars(ax, rows):
    """Numbers that started at 0 have no ratio."""
    for i, (name, unit, values, start) in enumerate(rows):
        ax.text(0, -i, f"{name}:  {readable(float(np.median(start)), unit)}  \u2192  {readable(float(np.median(values)), unit)}", va="center")
    ax.set_ylim(-max(len(rows), 7) + 0.5, 0.5)
    ax.set_axis_off()
    ax.set_title("fitted numbers" + (", medians" if len(rows[0][2]) > 1 else ""))


def draw_scalars(ax, rows):
    ratios = []
    for i, (_, unit, values, start) in enumerate(rows):
        begin, end = float(np.median(start)), float(np.median(values))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values / start
        ratio = ratio[np.isfinite(ratio)]
        if begin != 0 and ratio.size:
            ax.plot([1, np.median(ratio)], [i, i], color="0.75", lw=1.5, zorder=1)
            ax.plot(ratio, np.full(ratio.size, i), "o", color=OURS, ms=6 if ratio.size == 1 else 3, alpha=1 if ratio.size < 20 else 0.4, zorder=3)
            ax.plot(1, i, "o", mfc="w", mec="0.4", ms=6, zorder=2)
            ratios.extend(ratio)
        ax.text(1.02, i, f"{readable(begin, unit)}  \u2192  {readable(end, unit)}", transform=ax.get_yaxis_transform(), va="center")
    if ratios and min(ratios) > 0 and (max(ratios) > 3 or min(ratios) < 1 / 3):
        ax.set_xscale("log")
    ax.axvline(1, color="0.85", lw=0.8, zorder=0)
    ax.set_yticks(range(len(rows)), [r[0] for r in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.08)
    many = len(rows[0][2]) > 1
    plain(ax, "fitted value / start", "", "fitted numbers (open: start)" + (", a dot each network, medians at the right" if many else ""))


def add_vectors(page, fit):
    """Rows of numbers, one for each channel or lag."""
    some = [(n, u, v, s) for n, u, v, s in fit.parameters() if v[0].size > 1 and not is_kernel(v[0])]
    for name, unit, values, start in some:
        def draw(ax, name=name, unit=unit, values=values, start=start):
            taps = name.endswith(".taps")
            x = fit.result.lags(values[0].size) if taps else np.arange(values[0].size)
            ax.plot(x, start[0].ravel(), "o" if not taps else "--", mfc="w", color="0.5", ms=4, label="start")
            for i, k in enumerate(fit.shown):
                colour = LINES[i] if len(fit.names) > 1 else OURS
                ax.plot(x, values[k].ravel(), "o" if not taps else "-", color=colour, ms=4, label=fit.names[k] or "fitted")
            ax.axhline(0, color="0.85", lw=0.6, zorder=0)
            if not taps and len(x) < 12:
                ax.set_xticks(x)
            ax.legend(fontsize=7.5, handlelength=1)
            plain(ax, f"lag ({fit.result.lag_unit()})" if taps else "element", unit or "value", name)
        page.flow(f"vector {name}", 2.9, draw)


def is_kernel(values):
    """[out][in][t][y][x], or a map."""
    return (values.ndim == 5 and values[0, 0].size > 1) or (values.ndim == 2 and min(values.shape) > 1 and values.shape[0] == values.shape[1])


def as_bank(values):
    return values if values.ndim == 5 else values[None, None, None]


def add_kernels(page, fit):
    for name, _, values, _ in fit.parameters():
        if is_kernel(values[0]):
            banks = [as_bank(values[k]) for k in fit.shown]
            flat = np.concatenate([b.reshape(-1, *b.shape[2:]) for b in banks])
            names = [n for k, b in zip(fit.shown, banks) for n in filters.bank_names(*b.shape[:2], fit.names[k])]
            filters.add_bank(page, fit.result, name, flat, names)


# --- predictions ---------------------------------------------------------------------------------------------------------------------
def correlation(a, b):
    good = np.isfinite(a) & np.isfinite(b)
    a, b = a[good], b[good]
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0 else np.nan


def add_predictions(page, fit):
    part = text_of(fit.file["score"].attrs.get("part", "")) if "score" in fit.file else ""
    for output in sorted(n for n in fit.file["prediction"] if n != "step"):
        if f"target/{output}" not in fit.file:
            continue
        prediction, target = fit.rows(f"prediction/{output}"), fit.rows(f"target/{output}")
        if np.isfinite(target).any() and prediction.shape[1] > 2:
            for k in fit.shown:
                add_prediction(page, fit, output, k, prediction[k], target[k], part)


def add_prediction(page, fit, output, k, prediction, target, part):
    path = f"score/{output}/correlation"
    r = fit.rows(path)[k] if path in fit.file else np.array([correlation(prediction[:, e], target[:, e]) for e in range(prediction.shape[1])])
    bits_path = f"score/{output}/bits_per_spike"
    counts = bool(np.all(target[np.isfinite(target)] == np.rint(target[np.isfinite(target)])))
    bits = fit.rows(bits_path)[k] if bits_path in fit.file and counts else np.full(len(r), np.nan)
    order = np.argsort(np.where(np.isfinite(r), r, -2))
    typical = order[len(order) // 2]
    unit = text_of(fit.file[f"prediction/{output}"].attrs.get("units", ""))
    label = output + (f" ({unit})" if unit not in ("", "1") else " (counts a step)" if counts else "")
    score = f"correlation {r[typical]:.4f}" if np.isfinite(r[typical]) else "no correlation, as one does not vary"
    score += f", {bits[typical]:.3f} bits/spike" if np.isfinite(bits[typical]) else ""
    what = f"{fit.names[k]}, " if fit.names[k] else ""
    which = f"{what}element {typical}, the median of {len(r):,}: " if len(r) > 1 else what
    page.row(2.3)
    page.add(f"prediction {output}", 5.2, lambda ax: draw_trace(ax, fit, prediction[:, typical], target[:, typical], counts, label,
                                                              f"{which}{score} ({part} part)"))
    page.add(f"scatter {output}", 2.2, lambda ax: draw_scatter(ax, prediction, target, counts, output))
    if len(r) > 5 and np.isfinite(r).any() and np.ptp(r[np.isfinite(r)]) > 1e-3:
        page.add(f"scores {output}", 2.4, lambda ax: draw_scores(ax, r))


def longest_run(step, known):
    """The first of the longest stretches of steps that follow each other and have a target, STRETCH at most: sequences may lie apart."""
    breaks = np.flatnonzero((np.diff(step) != 1) | (np.diff(known.astype(int)) != 0)) + 1
    runs = [r for r in np.split(np.arange(len(step)), breaks) if known[r[0]]]
    run = max(runs, key=lambda r: min(len(r), STRETCH))
    return slice(run[0], min(run[-1] + 1, run[0] + STRETCH))


def draw_trace(ax, fit, prediction, target, counts, label, title):
    step = fit.file["prediction/step"][()]
    some = longest_run(step, np.isfinite(target))
    time, y, p = fit.result.times(step[some]), target[some], prediction[some]
    if counts:
        ax.bar(time, y, width=fit.result.step_s or 1, color=LIGHT, label="target")
    else:
        ax.plot(time, y, color=DATA, lw=1.1, label="target")
    ax.plot(time, p, color=OURS, lw=1.1, ls="-" if counts else "--", label="prediction")
    ax.set_xlim(time[0], time[-1])
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.2 * (high - low))
    ax.legend(ncol=2, loc="upper right", borderaxespad=0.1, handlelength=1.5)
    plain(ax, f"time ({fit.result.time_unit()})", label, title)


def draw_scatter(ax, prediction, target, counts, output):
    """Target against prediction, all elements; of counts their mean in bins of the prediction, as single counts say little."""
    good = np.isfinite(prediction) & np.isfinite(target)
    p, y = prediction[good], target[good]
    if counts and len(p) >= 100 and np.ptp(p) > 0:
        place = np.argsort(np.argsort(p, kind="stable"), kind="stable") * 20 // len(p)
        n = np.bincount(place)
        mean, at = np.bincount(place, y) / n, np.bincount(place, p) / n
        error = np.sqrt(np.maximum(np.bincount(place, y**2) / n - mean**2, 0) / n)
        ax.errorbar(at, mean, error, fmt="o", ms=3, color=OURS, elinewidth=0.8)
        ends, title = [0, max(at.max(), mean.max())], "means of 20 equal parts"
    else:
        some = np.linspace(0, len(p) - 1, min(len(p), 4000)).astype(int)
        ax.plot(p[some], y[some], ".", color=OURS, ms=2, alpha=0.4, mew=0, rasterized=True)
        ends, title = [min(p.min(), y.min()), max(p.max(), y.max())], "all elements" if prediction.shape[1] > 1 else ""
    ax.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
    plain(ax, "prediction", "target", title)


def draw_scores(ax, r):
    r = r[np.isfinite(r)]
    ax.hist(r, 20, color=LINES[5])
    ax.axvline(np.median(r), color=DATA, lw=1)
    ax.locator_params(axis="x", nbins=4)
    plain(ax, "correlation", "elements", f"median {np.median(r):.4f}")


# --- stimulus ---------------------------------------------------------------------------------------------------------------------------
def add_stimulus(page, fit):
    data = fit.file["stimulus/movie"]
    movie, result = fit.rows("stimulus/movie")[0], fit.result
    nt, ny, nx = movie.shape
    dt_ms = float(data.attrs.get("dt_s", result.step_s or 1)) * 1e3
    rest = (numbers(result.settings.get("field.background")) or [0.5])[0]
    limit = float(np.abs(movie - rest).max()) or 1.0
    last = nt - 1
    power = ((movie - rest) ** 2).sum((1, 2))
    first = int(np.argmax(np.cumsum(power) > 0.01 * power.sum()))
    frames = sorted(set(np.linspace(first, last, FRAMES).round().astype(int)))
    side = min(9.1 / len(frames) - 0.1, 1.6)
    page.row(min(side * ny / nx, 1.6) + 0.78, f"stimulus that was made: time before its last frame; grey is the background, {number(rest)}, "
             f"black and white \u00b1{number(limit)} from it")
    for k in frames:
        def draw(ax, k=k):
            ax.imshow(movie[k] - rest, cmap="gray", vmin=-limit, vmax=limit, extent=result.extent(ny, nx), interpolation="nearest")
            ax.set_title(f"{-(last - k) * dt_ms:g} ms" if k != last else "0 ms", fontsize=8.5)
            few_ticks(ax)
            one_of_many(ax, k == frames[0], f"x ({result.space_unit()})", f"y ({result.space_unit()})")
        left = 0.7 if k == frames[0] else 0.1
        page.add(f"frame {k}", side + left, draw, left=left, right=0)
    time = (np.arange(nt) - last) * dt_ms
    page.flow("stimulus course", 4.0, lambda ax: draw_pixels(ax, result, movie, rest, time))
    page.flow("stimulus slice", 2.8, lambda ax: draw_slice(ax, result, movie - rest, limit, time))


def peak_of(contrast):
    return np.unravel_index(np.abs(contrast).argmax(), contrast.shape)


def draw_pixels(ax, result, movie, rest, time):
    """The pixel of most contrast, and the one most opposed to it at that moment."""
    t, y, x = peak_of(movie - rest)
    frame = (movie[t] - rest) * np.sign(movie[t, y, x] - rest)
    ax.axhline(rest, color="0.8", lw=0.6, zorder=0)
    ax.plot(time, movie[:, y, x], color=LINES[0], label="pixel of most contrast")
    if frame.min() < -0.02 * frame.max():
        sy, sx = np.unravel_index(frame.argmin(), frame.shape)
        far = np.hypot(sy - y, sx - x) * (result.pixel_deg or 1)
        ax.plot(time, movie[:, sy, sx], color=LINES[1], label=f"most opposed, {far:.2g} {result.space_unit()} away")
    ax.legend(fontsize=7.5)
    plain(ax, "time before the last frame (ms)", "luminance", "time course")


def draw_slice(ax, result, contrast, limit, time):
    y = peak_of(contrast)[1]
    half = (time[1] - time[0]) / 2 if len(time) > 1 else 0.5
    ax.imshow(contrast[:, y], cmap="gray", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest",
              extent=[*result.extent(1, contrast.shape[2])[:2], time[-1] + half, time[0] - half])
    plain(ax, f"x ({result.space_unit()})", "time (ms)", "row of that pixel")


def draw(result, only=None):
    fit = Fit(result, only if "networks" in result.file else None)
    page = Page("")
    steps = fit.file["history/step"][()]
    loss = float(np.median(fit.file["score/loss"][()])) if "score/loss" in fit.file else np.nan
    part = text_of(fit.file["score"].attrs.get("part", "")) if "score" in fit.file else ""
    what = f", {several(len(fit.names), len(fit.shown), 'networks')}" if len(fit.names) > 1 else ""
    page.title = f"{result.name}: {int(steps[-1]) if len(steps) else 0:,} steps{what}, loss {number(loss)} ({part} part)"
    if "stimulus/movie" in fit.file:
        add_stimulus(page, fit)
    add_history(page, fit)
    add_scalars(page, fit)
    add_vectors(page, fit)
    add_predictions(page, fit)
    add_kernels(page, fit)
    return page.build()

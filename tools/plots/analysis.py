"""analysis.py - results of `chiasm analyze`: receptive fields, nonlinearities, predictions, covariance, subunits, regression, tuning, transfer."""
import numpy as np

from plots import filters
from plots.page import DATA, LIGHT, LINES, OURS, POSITIVE, SIGNED, WIDTH, Page, colour_bar, few_ticks, number, one_of_many, plain, several, show_map
from plots.result import Unusable, natural, numbers, response_of, text_of

MOST_INCHES = 21  # height of a page: cells that would go beyond it are left out
MOST_AXES = 4     # of a covariance, on each side
STRETCH = 240     # bins of a prediction
LOWER = 2.1       # inches of the last rows of a cell


def cells_of(group):
    return sorted((n for n in group if "sta" in group[n]), key=natural)


# --- receptive field ----------------------------------------------------------------------------------------------------------
def add_field(page, result, g):
    sta, first, peak = g["sta"][()], int(g.attrs["first_lag"]), int(g.attrs["lag"])
    nlag, ny, nx = sta.shape
    if ny > 1 and nx > 1:
        page.add("sta", 2.65, lambda ax: draw_map(ax, result, g, sta[peak], result.lags(1, peak + first)[0]), right=0.62)
    elif ny * nx > 1:
        page.add("sta", 2.75, lambda ax: draw_space_time(ax, result, sta.reshape(nlag, -1), first), right=0.6)
    page.add("time course", 2.3, lambda ax: draw_course(ax, result, g, first, ny * nx > 1))


def draw_map(ax, result, g, frame, lag):
    ny, nx = frame.shape
    image = show_map(ax, frame, None, result.extent(ny, nx))
    if g["spatial"].shape != (ny, nx):
        left, right, low, high = window_extent(result, g)
        ax.plot([left, right, right, left, left], [low, low, high, high, low], color="k", lw=0.8)
    colour_bar(ax, image)
    plain(ax, f"x ({result.space_unit()})", f"y ({result.space_unit()})", f"STA, {number(lag)} {result.lag_unit()} before the spike")
    ax.spines[["top", "right"]].set_visible(True)


def window_extent(result, g):
    """Of the cell's window in the field."""
    return result.extent(*g["spatial"].shape, g.attrs["window_y"], g.attrs["window_x"], centre=g["sta"].shape[1:])


def space_time_extent(result, nlag, n, first):
    """Of an image [lag][x], lag down."""
    half = result.lags(1, 1)[0] / 2
    return [*result.extent(1, n)[:2], result.lags(nlag, first)[-1] + half, result.lags(nlag, first)[0] - half]


def draw_space_time(ax, result, sta, first):
    image = show_map(ax, sta, None, space_time_extent(result, *sta.shape, first), aspect="auto")
    colour_bar(ax, image)
    plain(ax, f"x ({result.space_unit()})", f"lag ({result.lag_unit()})", "STA")


def draw_course(ax, result, g, first, space):
    filters.draw_course(ax, result, g["temporal"][()], first=first)
    ax.set_ylabel("weight (norm 1)")
    ax.set_title(f"time course, {100 * g.attrs['share']:.0f} % separable" if space else "STA")


# --- nonlinearity and prediction --------------------------------------------------------------------------------------------------
FORMS = {"exp": lambda g, a, b, c: np.exp(a + b * g), "softplus": lambda g, a, b, c: a * np.logaddexp(0, b * g + c),
         "sigmoid": lambda g, a, b, c: a / (1 + np.exp(-(b * g + c))), "parametric": lambda g, a, b, c: a * np.logaddexp(0, b * g)}


def draw_nonlinearity(ax, result, g):
    kinds, per_s = g["nonlinearity"], 1 / (result.step_s or 1)
    span = None
    if "histogram" in kinds:
        h = kinds["histogram"]
        edge, rate = h["edge"][()], h["rate"][()]
        filled = np.diff(edge) > 0
        centre, width = ((edge[1:] + edge[:-1]) / 2)[filled], np.diff(edge)[filled]
        in_bin = g.attrs["nspike"] / max(rate.sum(), 1e-30)  # the bins are equally full
        error = np.sqrt(rate[filled] / max(in_bin, 1))
        ax.errorbar(centre, rate[filled] * per_s, error * per_s, width / 2, fmt=".", ms=4, color=DATA, elinewidth=0.7, zorder=3,
                    label=f"histogram {bits(h)}")
        density = 1 / width / (1 / width).max() * 0.25 * rate.max() * per_s
        ax.stairs(density, np.append(edge[:-1][filled], edge[1:][filled][-1]), fill=True, color="0.9", zorder=0)
        span = edge[[0, -1]]
    for i, kind in enumerate(k for k in FORMS if k in kinds):
        a = kinds[kind].attrs
        at = np.linspace(*(span if span is not None else (-3 / abs(a["b"]), 3 / abs(a["b"]))), 200)
        ax.plot(at, FORMS[kind](at, a["a"], a["b"], a["c"]) * per_s, color=LINES[(1, 0, 2, 3)[i]], label=f"{kind} {bits(kinds[kind])}")
    if "histogram" in kinds:
        ax.set_ylim(0, (1.1 + 0.13 * len(kinds)) * (rate[filled] + error).max() * per_s or 1)
    ax.legend(loc="upper left", title="bits/spike", fontsize=7, title_fontsize=7, handlelength=1, borderaxespad=0.1)
    plain(ax, "filtered stimulus", "rate (Hz)" if result.step_s else "counts a bin", "nonlinearity; grey: occupancy")


def bits(group):
    value = group.attrs.get("bits_per_spike", np.nan)
    return f"{value:.2f}" if np.isfinite(value) else ""


def last_model(g):
    kinds = [k for k in ("histogram", *FORMS) if k in g["nonlinearity"]]
    return kinds[-1], g["nonlinearity"][kinds[-1]].attrs


def bins_of(result):
    """What the input says of bins: trial, skip, first and end of the frozen steps and of the test."""
    said = {k: numbers(result.settings.get("analyze." + k)) for k in ("trial", "skip", "frozen", "test")}
    trial = int(said["trial"][0]) if said["trial"] else 0
    return trial, int(said["skip"][0]) if said["skip"] else 0, [int(x) for x in said["frozen"]], [int(x) for x in said["test"]]


def add_prediction(page, result, g, position, width):
    prediction = g["prediction"][()]
    counts = response_of(result, position, len(prediction))
    trial, skip, frozen, test = bins_of(result)
    if trial and len(frozen) == 2 and counts is not None:
        page.add("raster and PSTH", width, lambda *axes: draw_repeats(axes, result, g, prediction, counts, trial, frozen), stack=(0.9, 1), gap=0.06)
        return
    begin = (test[0] * trial + skip if trial else test[0]) if len(test) == 2 else max(len(prediction) - STRETCH, 0)
    some = slice(begin, begin + STRETCH)
    page.add("prediction", width, lambda ax: draw_stretch(ax, result, g, prediction[some], None if counts is None else counts[some], begin))


def draw_stretch(ax, result, g, prediction, counts, begin):
    time, per_s = result.times(begin + np.arange(len(prediction))), 1 / (result.step_s or 1)
    kind, a = last_model(g)
    if counts is not None:
        ax.bar(time, counts * per_s, width=result.step_s or 1, color=LIGHT, label="response")
    ax.plot(time, prediction * per_s, color=OURS, label=f"LN, {kind}", lw=1)
    ax.set_xlim(time[0], time[-1])
    where = "held out" if text_of(a.get("part", "")) == "test" else "fitted bins"
    plain(ax, f"time ({result.time_unit()})", "rate (Hz)" if result.step_s else "counts a bin", f"{where}: CC {a.get('cc', np.nan):.2f} of bins")
    legend_inside(ax)
    if counts is None:
        ax.text(0.03, 0.98, "no responses here", transform=ax.transAxes, va="top", fontsize=7.5)


def legend_inside(ax):
    ax.set_ylim(0, 1.25 * ax.get_ylim()[1])
    ax.legend(loc="upper right", ncol=2, borderaxespad=0.1, fontsize=7.5, handlelength=1)


def draw_repeats(axes, result, g, prediction, counts, trial, frozen):
    upper, lower = axes
    ntrial, first, n = len(counts) // trial, frozen[0], frozen[1] - frozen[0]
    repeats = counts[: ntrial * trial].reshape(ntrial, trial)[:, first : first + n]
    mean = np.nanmean(repeats, 0)
    most = min(n, STRETCH)
    at = int(np.convolve(np.nan_to_num(mean), np.ones(most), "valid").argmax())  # where the cell is busiest
    some, per_s = slice(at, at + most), 1 / (result.step_s or 1)
    time = result.times(np.arange(at, at + most))
    row, column = np.nonzero(np.nan_to_num(repeats[:, some]) > 0)
    upper.plot(time[column], row, "|", color=DATA, ms=2.2, mew=0.5)
    upper.set_ylim(ntrial, -1)
    upper.tick_params(labelbottom=False)
    kind, a = last_model(g)
    plain(upper, "", "repeat", f"frozen stimulus: CC {a['cc_frozen']:.3f}, normalised {a['cc_norm']:.3f}")
    lower.fill_between(time, mean[some] * per_s, step="mid", color=LIGHT, label=f"PSTH of {ntrial} repeats", lw=0)
    lower.plot(time, prediction[first : first + n][some] * per_s, color=OURS, label=f"LN, {kind}", lw=1)
    for ax in (upper, lower):
        ax.set_xlim(time[0], time[-1])
    plain(lower, f"time in the frozen part ({result.time_unit()})", "rate (Hz)" if result.step_s else "counts a bin")
    legend_inside(lower)


# --- covariance, subunits, regression, tuning ---------------------------------------------------------------------------------------
def draw_spectrum(ax, g):
    value, a = g["eigenvalues"][()], g.attrs
    low, high, n = a.get("null_low", np.nan), a.get("null_high", np.nan), len(value)
    excitatory, suppressive = int(a.get("excitatory", 0)), int(a.get("suppressive", 0))
    if np.isfinite(low):
        ax.axhspan(low, high, color="0.88", label="shifted spikes", lw=0)
    kind = np.zeros(n, int)
    kind[:excitatory], kind[n - suppressive :] = 1, 2
    for k, (colour, name) in enumerate((("0.45", None), (LINES[1], f"{excitatory} excitatory"), (LINES[0], f"{suppressive} suppressive"))):
        at = np.flatnonzero(kind == k)
        if at.size:
            ax.plot(at + 1, value[at], "o", color=colour, ms=2.5 if k == 0 else 4, label=name)
    if np.isfinite(low):
        ax.legend(fontsize=7.5, handletextpad=0.3, borderaxespad=0.1)
    plain(ax, "axis", "eigenvalue", "STC spectrum")


def stc_axes(g):
    """Numbers of the axes to show and what they are."""
    n, a = len(g["eigenvalues"]), g.attrs
    tested = np.isfinite(a.get("null_low", np.nan))
    up, down = (int(a["excitatory"]), int(a["suppressive"])) if tested else (min(2, n // 2), min(2, n // 2))
    word = ("excitatory", "suppressive") if tested else ("largest", "smallest")
    return [(i, word[0]) for i in range(min(up, MOST_AXES))] + [(n - 1 - i, word[1]) for i in range(min(down, MOST_AXES))]


def axis_map(result, g, vector):
    """Eigenvectors are [y][x], or [lag][pixel]: a map of those is the first part of their SVD."""
    ny, nx = g["spatial"].shape
    full = vector.shape != (ny, nx) and vector.shape[0] == len(g["temporal"])
    return filters.separate(vector.reshape(-1, ny, nx))[0] if full and ny > 1 and nx > 1 else vector, full and (ny == 1 or nx == 1)


def add_stc(page, result, g, first):
    s = g["stc"]
    page.row(2.1, top=0.42)
    page.add("stc spectrum", 2.8, lambda ax: draw_spectrum(ax, s))
    shown = stc_axes(s)[: 2 * MOST_AXES]
    vectors = [axis_map(result, g, s["eigenvectors"][i]) for i, _ in shown]
    limit = max((float(np.abs(v[0]).max()) for v in vectors), default=1.0)
    for k, (i, word) in enumerate(shown):
        def draw(ax, k=k, i=i, word=word):
            v, over_time = vectors[k]
            if over_time:
                show_map(ax, v, limit, space_time_extent(result, *v.shape, first), aspect="auto")
            else:
                show_map(ax, v, limit, window_extent(result, g))
            ax.set_title(f"{word}\n{s['eigenvalues'][i]:.3g}", fontsize=7.5, color=LINES[1] if word in ("excitatory", "largest") else LINES[0])
            few_ticks(ax)
            one_of_many(ax, k == 0, f"x ({result.space_unit()})", f"lag ({result.lag_unit()})" if over_time else f"y ({result.space_unit()})")
        left = 0.7 if k == 0 else 0.1
        page.add(f"stc axis {i}", min((WIDTH - 3.7) / len(shown) - 0.1, 1.3) + left, draw, left=left, right=0)


def add_stnmf(page, result, g):
    s = g["stnmf"]
    modules, moran = s["modules"][()], s["moran"][()]
    bound = (numbers(result.settings.get("analyze.stnmf.localised")) or [0.25])[0]
    heading = f"STNMF modules with Moran's I; framed: local, I > {bound:g} ({int(s.attrs.get('localised', 0))} of {len(moran)})"
    filters.add_maps(page, "stnmf", modules, [f"I = {m:.2f}" for m in moran], 10, 0.98, POSITIVE, marked=moran > bound, heading=heading)


def draw_information(ax, g):
    kl, total = g["information"][()], g.attrs["total"]
    ax.plot(np.arange(len(kl)) + 1, kl, "o-", color=LINES[0], ms=4)
    ax.set_ylim(0, 1.15 * kl.max())
    ax.set_xticks(np.arange(len(kl)) + 1)
    plain(ax, "dimensions", "nats/spike", f"iSTAC; all dimensions: {number(total)}")


def add_glm(page, result, g, first):
    s = g["glm"]
    map_, course, share = filters.separate(s["stimulus"][()])
    if map_.size > 1:
        def draw(ax):
            at = numbers(result.settings.get("analyze.glm.window")) or [g.attrs["window_y"], g.attrs["window_x"]]
            image = show_map(ax, map_, None, result.extent(*map_.shape, *at[:2], centre=g["sta"].shape[1:]))
            colour_bar(ax, image)
            plain(ax, f"x ({result.space_unit()})", f"y ({result.space_unit()})", f"GLM, {100 * share:.0f} % separable")
        page.flow("glm map", 2.65, draw, LOWER, right=0.6)

    def draw_time(ax):
        filters.draw_course(ax, result, course * (1 if map_.size > 1 else map_.item()), first=first)
        plain(ax, f"lag ({result.lag_unit()})", "of its peak" if map_.size > 1 else "log rate", f"GLM: {s.attrs['bits_per_spike']:.2f} bits/spike")
    page.flow("glm time course", 2.5, draw_time, LOWER)
    if "history" in s:
        def draw_history(ax):
            filters.draw_course(ax, result, s["history"][()], first=1)
            plain(ax, f"after the spike ({result.lag_unit()})", "log rate", "GLM: history")
        page.flow("glm history", 2.5, draw_history, LOWER)


VARIED = {"direction": "direction (deg)", "orientation": "orientation (deg)", "spatial_frequency": "spatial frequency (/deg)",
          "temporal_frequency": "temporal frequency (Hz)"}


def draw_tuning(ax, result, g):
    value, order = g["value"][()], np.argsort(g["value"][()])
    for key, colour, mark in (("f0", LINES[0], "o-"), ("f1", LINES[1], "s--")):
        ax.plot(value[order], g[key][()][order], mark, ms=3.5, color=colour, label=key.upper())
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")
    indices = [f"{name} {g.attrs[key]:.2f}" for name, key in (("OSI", "osi"), ("DSI", "dsi"), ("F1/F0", "f1_f0")) if np.isfinite(g.attrs[key])]
    plain(ax, VARIED.get(result.settings.get("analyze.tuning.vary"), "condition"), "rate (Hz)", "tuning: " + ", ".join(indices))


# --- cells ------------------------------------------------------------------------------------------------------------------------
def add_cell(page, result, name, g, position):
    first = int(g.attrs["first_lag"])
    page.row(2.15, f"{'cell ' * name.isdigit()}{name}: {int(g.attrs['nspike']):,} spikes")
    add_field(page, result, g)
    if len(g.get("nonlinearity", ())):
        page.add("nonlinearity", 2.3, lambda ax: draw_nonlinearity(ax, result, g))
        if "prediction" in g:
            add_prediction(page, result, g, position, page.rows[-1].room())
    if "stc" in g:
        add_stc(page, result, g, first)
    if "stnmf" in g:
        add_stnmf(page, result, g)
    if any(k in g for k in ("istac", "glm", "tuning")):
        page.row(LOWER)
        if "istac" in g:
            page.flow("istac", 2.3, lambda ax: draw_information(ax, g["istac"]), LOWER)
        if "glm" in g:
            add_glm(page, result, g, first)
        if "tuning" in g:
            page.flow("tuning", 3.4, lambda ax: draw_tuning(ax, result, g["tuning"]), LOWER)


def draw_matrix(ax, values, names, limit, xlabel, ylabel, title):
    image = show_map(ax, values, limit)
    n = len(names)
    if n <= 14:
        for y in range(n):
            for x in range(n):
                v = values[y, x]
                ax.text(x, y, f"{v:.2f}".replace("0.", ".", 1), ha="center", va="center", fontsize=8.5 if n <= 9 else 6.5,
                        color="w" if abs(v) > 0.65 * limit else "k")
        ax.set_xticks(range(n), names, rotation=90 if max(map(len, names)) > 3 else 0)
        ax.set_yticks(range(n), names)
    colour_bar(ax, image)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)


def add_transfer(page, g, names):
    score, alike = g["score"][()], g["response_correlation"][()]
    apart = alike[~np.eye(len(alike), dtype=bool)]
    limit = max(float(np.nanmax(np.abs(score))), float(np.nanmax(np.abs(apart))) if apart.size else 0) or 1.0
    page.row(4.9)
    for name, values, labels in (("transfer", score, ("response of cell", "model of cell", "correlation of model and response")),
                                 ("response correlation", alike, ("cell", "cell", "correlation of responses"))):
        page.add(name, 5.0, lambda ax, v=values, l=labels: draw_matrix(ax, v, names, limit, *l), left=0.8, right=0.6)


def add_overview(page, result, group, names):
    """The map of every cell at its own peak."""
    maps = [group[n]["sta"][int(group[n].attrs["lag"])] for n in names]
    filters.add_maps(page, "overview", maps, names, 10, 0.98, SIGNED, heading="STA of each cell at its peak, each by its own scale")


def draw(result, only=None):
    group = result.file["analysis"]
    names = cells_of(group)
    chosen, page = [n for n in names if not only or n in only], Page("")
    if not chosen:
        raise Unusable(f"no cell of that name; there are {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}")
    shown = 0
    if len(chosen) > 1 and min(group[names[0]]["sta"].shape[1:]) > 1:
        add_overview(page, result, group, chosen[:40])
    for name in chosen:
        before = len(page.rows)
        add_cell(page, result, name, group[name], names.index(name))
        if shown and sum(r.whole for r in page.rows) > MOST_INCHES:
            del page.rows[before:]
            break
        shown += 1
    if "transfer" in group:
        add_transfer(page, group["transfer"], names)
    page.title = f"{result.name}: {several(len(names), shown, 'cells')}"
    return page.build()

"""Figures by matplotlib, which is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import FactflowError
from .heatmaps import Heatmap
from .packages import needed
from .table import Table

if TYPE_CHECKING:
    import matplotlib.figure

# Hues that differ for all eyes (Okabe & Ito), with dashes as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_COLUMNS = 4


def plot_curves(curves: Table, item: str, window: int | None) -> matplotlib.figure.Figure:
    """A panel per item, a line per model with the t interval of its mean, at one window size (by default the largest that all
    models have, else the largest of all)."""
    needed("matplotlib", "plot()", "matplotlib.pyplot")
    import matplotlib.pyplot as plt

    if curves.rows == 0:
        raise FactflowError("there is nothing to plot: no cell was computed")
    models, items = (list(dict.fromkeys(curves[name])) for name in ("model", item))
    sizes = [set(curves.where(model=model)["window"].tolist()) for model in models]
    common = set.intersection(*sizes) or set.union(*sizes)
    size = max(common) if window is None else window
    columns = min(_COLUMNS, len(items))
    rows = -(-len(items) // columns)
    figure, panels = plt.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, figsize=(3.1 * columns, 2.6 * rows + 0.4), layout="constrained"
    )
    for place, panel in enumerate(panels.flat):
        if place >= len(items):
            panel.set_axis_off()
            continue
        panel.axhline(0, color="#999999", linewidth=0.8)
        for number, model in enumerate(models):
            line = curves.where(model=model, window=size, **{item: items[place]})
            if line.rows == 0:
                continue
            colour = _COLOURS[number % len(_COLOURS)]
            dash = _DASHES[number // len(_COLOURS) % len(_DASHES)]
            depth = line["relative_depth"]
            panel.plot(depth, line["change"], dash, color=colour, label=model)
            panel.fill_between(depth, line["change_low"], line["change_high"], color=colour, alpha=0.2, linewidth=0)
        panel.set_title(str(items[place]).replace("->", " → "), fontsize="medium")
        if place % columns == 0:
            panel.set_ylabel("change of p, %")
        if place + columns >= len(items):
            panel.set_xlabel("relative depth")
    panels[0, 0].legend(fontsize="small", frameon=False)
    figure.suptitle(f"windows of {size} layers", fontsize="medium")
    made: matplotlib.figure.Figure = figure
    return made


def plot_heatmap(heatmap: Heatmap) -> matplotlib.figure.Figure:
    """A panel per model, one colour scale around 0 for all."""
    needed("matplotlib", "plot()", "matplotlib.pyplot")
    import matplotlib.pyplot as plt
    from matplotlib import cm, colors

    maps = list(heatmap.values())
    deepest = max(len(one.tokens) for one in maps)
    figure, panels = plt.subplots(
        1, len(maps), squeeze=False, figsize=(4.2 * len(maps), 0.26 * deepest + 1.4), layout="constrained"
    )
    largest = max(float(np.nanmax(np.abs(one.difference), initial=0.0)) for one in maps) or 1.0
    scale = colors.Normalize(-largest, largest)
    for panel, one in zip(panels[0], maps, strict=True):
        panel.imshow(one.difference, aspect="auto", cmap="RdBu", norm=scale, interpolation="nearest")
        texts = [text if text.isprintable() and "\ufffd" not in text else f"#{number}" for text, number in zip(one.tokens, one.token_ids, strict=True)]
        panel.set_yticks(range(len(texts)), texts, fontsize="small")
        for place in range(*one.subject):
            panel.get_yticklabels()[place].set_fontweight("bold")
        step = max(1, len(one.starts) // 6)
        panel.set_xticks(range(0, len(one.starts), step), one.starts[::step].tolist())
        panel.set_xlabel("centre layer" if one.placement == "centred" else "first layer")
        panel.set_title(f"{one.model.name}, windows of {one.window}", fontsize="medium")
    figure.colorbar(cm.ScalarMappable(scale, "RdBu"), ax=panels[0].tolist(), label="p - p_clean")
    made: matplotlib.figure.Figure = figure
    return made

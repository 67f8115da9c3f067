"""Networks that lost units of all layers at once, before and after they were trained again."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from shapprune.workflow.figures.layout import (
    draw_before_and_after,
    draw_lines,
    grid,
    legend,
    level,
    name_places,
    ranked,
    require,
    short,
    styled,
)
from shapprune.workflow.figures.styles import Styles, reference

_PANELS = {"accuracy": "trained again", "accuracy_before": "just pruned"}
_INTACT = reference("intact network")
_NEAR = 0.08  # of the axis; sizes that are nearer to each other share a label


@styled()
def compress_sizes(compress: pd.DataFrame, networks: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy against the number of parameters, trained again and, paler, before that.

    Where there is a single size, criteria are ranked instead.

    Args:
        compress: rows of ``compress.csv`` of one network.
        networks: rows of ``networks.csv`` of the same network.
        styles: of `criterion_styles`.
    """
    require(compress, "compressed networks")
    sizes = compress.groupby("target")["parameters"].mean().sort_values()
    table = compress.assign(parameters=compress["target"].map(sizes))
    order = ranked(table, styles, "accuracy")
    intact, whole = networks["test_accuracy"].mean(), short(networks["parameters"].mean())
    names = _names(sizes)
    if sizes.nunique() == 1:
        figure, panels = grid(2, size=(4, 0.9 + 0.2 * len(order)), room=0, sharey=True)
        draw_before_and_after(panels, order, _PANELS, intact)
        left = f"{', '.join(sizes.index.astype(str))}: {short(sizes.iloc[0])} parameters"
        figure.supxlabel(f"test accuracy, {left} (line: intact network, {whole})")
        return figure
    # Names that stand upright need height.
    longest = max(len(line) for name in names for line in name.split("\n"))
    figure, panels = grid(2, size=None if level(names) else (3.4, 2.4 + 0.06 * longest))
    for axes, (measure, title) in zip(panels, _PANELS.items(), strict=True):
        draw_lines(axes, table, "parameters", measure, styles, pale=measure != "accuracy")
        axes.axhline(intact, **_INTACT.line)
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        name_places(axes, names.values(), names)
        axes.set_title(title, loc="left")
        axes.set_ylabel("test accuracy")
    figure.supxlabel(f"parameters (intact network: {whole})")
    legend(figure, [*(style for style, _ in order), _INTACT], "best first")
    return figure


def _names(sizes: pd.Series) -> dict[str, float]:
    """What is written at which number of parameters: the names of the sizes, and the number."""
    place = np.log(sizes)
    group = (place.diff() > _NEAR * (place.max() - place.min())).cumsum()
    names = {}
    for _, some in sizes.groupby(group):
        counts = dict.fromkeys(short(each) for each in (some.min(), some.max()))
        names["\n".join([*some.index.astype(str), "–".join(counts)])] = float(np.exp(place[some.index].mean()))
    return names

"""What all figures share: tables in, panels, bands, rankings, legends, files out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.files import whole
from shapprune.workflow.figures.styles import Style, Styles

# Names are text even where a network is called 1 or a criterion null; images are numbers or the word "all".
_TEXT = (
    *("net", "layer", "criterion", "aggregate", "repair", "images", "estimator", "setting", "truth", "target"),
    *("method", "measure"),
)
PLAIN = StrMethodFormatter("{x:g}")
_INK = "#333333"
_PALE = 0.45
WIDE = 4  # a logarithmic axis over less than this factor has the ticks of a linear one
_LEGEND = 1.9  # inches
_ENTRY = 0.16  # inches
_BANDS = 8  # lines, beyond which their bands hide each other
_LEVEL = 40  # characters, beyond which there is no room for them side by side under a panel
_PANEL = {1: (4.4, 3.2), 2: (3.4, 2.6), 3: (2.6, 2.1), 4: (2.2, 1.8), 5: (1.9, 1.6)}  # inches, by panels in a row


@contextmanager
def styled() -> Iterator[None]:
    """The look of all figures, as a context or a decorator, whatever a user's matplotlibrc says."""
    with matplotlib.style.context(["default", Path(__file__).with_name("figures.mplstyle")]):
        yield


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of the study; names stay text."""
    return pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=["", "nan"])


def read(path: str | Path, net: str) -> pd.DataFrame:
    """The rows of one network in a table of the study.

    Raises:
        ShapPruneError: there are none.
    """
    table = read_table(path)
    rows = table[table["net"] == net]
    if rows.empty:
        raise ShapPruneError(f"{path} has no rows of network {net!r}, so there is nothing to draw")
    return rows


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG and PNG of the same name, each whole or not at all.

    Args:
        figure: the figure.
        path: of one of the two files, or without a suffix.
    """
    stem = Path(path)
    stem = stem.with_suffix("") if stem.suffix in (".svg", ".png") else stem
    with styled():
        for suffix, metadata in ((".svg", {"Date": None}), (".png", None)):  # a date would change the bytes
            with whole(f"{stem}{suffix}") as temporary:
                figure.savefig(temporary, metadata=metadata)


def require(table: pd.DataFrame, what: str) -> None:
    """Refuse a table without rows.

    Raises:
        ShapPruneError: there is nothing to draw.
    """
    if table.empty:
        raise ShapPruneError(f"the table of {what} has no rows, so there is nothing to draw")


def grid(
    count: int,
    columns: int | None = None,
    size: tuple[float, float] | None = None,
    room: float = _LEGEND,
    sharex: bool | Literal["row"] = False,
    sharey: bool | Literal["row"] = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of panels in rows.

    Args:
        count: how many panels.
        columns: panels in a row; left out, as many as make a square, five at most.
        size: width and height of a panel in inches; left out, what suits the columns.
        room: inches beside the panels, for a legend.
        sharex: whether all panels, or those of each row, have one horizontal axis.
        sharey: whether all panels, or those of each row, have one vertical axis.
    """
    columns = columns or min(5, math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    width, height = size or _PANEL[min(columns, max(_PANEL))]
    figure = Figure(figsize=(columns * width + room, rows * height))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).flatten().tolist()
    for spare in panels[count:]:
        spare.remove()
    for axes in panels[max(0, count - columns) : count]:  # where the last row is not full, the one above has labels too
        axes.tick_params(labelbottom=True)
    return figure, panels[:count]


def by_style(table: pd.DataFrame, styles: Styles) -> Iterator[tuple[Style, pd.DataFrame]]:
    """The rows of each criterion and aggregate, in the order of the styles.

    Raises:
        ShapPruneError: a criterion of the table has no style.
    """
    groups = dict(iter(table.groupby(["criterion", "aggregate"], sort=False)))
    for key in groups:
        if key not in styles:
            raise unknown("criterion", " ".join(key), (" ".join(each) for each in styles))
    for key, style in styles.items():
        if key in groups:
            yield style, groups[key]


def ranked(table: pd.DataFrame, styles: Styles, value: str) -> list[tuple[Style, pd.DataFrame]]:
    """The rows of each criterion and aggregate, sorted by their mean ``value``, the best first.

    The best is the highest accuracy and the lowest of everything else; what is not finite comes last.
    """
    sign = -1 if value == "accuracy" else 1
    means = ((sign * rows[value].mean(), style, rows) for style, rows in by_style(table, styles))
    order = sorted(means, key=lambda each: each[0] if math.isfinite(each[0]) else math.inf)
    return [(style, rows) for _, style, rows in order]


def removed(ratio: float) -> str:
    """The title of what lost this share of its units."""
    return f"{100 * ratio:.4g}% of the units removed"


def steps_of(table: pd.DataFrame) -> pd.Series:
    """The layer that each step prunes, in the order of the steps."""
    return table.groupby("step")["layer"].first().fillna("intact")


def short(number: float) -> str:
    """A number in three digits, such as 40.2k."""
    return EngFormatter(sep="")(float(f"{number:.3g}"))


def budget_in_words(amount: float, measure: str) -> str:
    """A budget in few words: a share below 1, else an absolute number."""
    of = measure.replace("macs", "MACs")
    return f"{100 * amount:g}% of the {of}" if amount < 1 else f"{short(amount)} {of}"


def level(names: Iterable[str]) -> bool:
    """Whether names fit side by side under a panel."""
    return sum(len(name) + 2 for name in names) <= _LEVEL


def name_places(axes: Axes, places: Iterable[float], names: Iterable[str]) -> None:
    """Names at places of the horizontal axis, upright where they would not fit side by side."""
    names = list(names)
    axes.set_xticks(list(places), names, rotation=0 if level(names) else 90)


def draw_lines(
    axes: Axes, table: pd.DataFrame, x: str, y: str, styles: Styles, band: bool = True, pale: bool = False
) -> None:
    """A line for each criterion and aggregate; bands only where they are few enough not to hide each other."""
    lines = list(by_style(table, styles))
    for style, rows in lines:
        draw_line(axes, rows, x, y, style, band and len(lines) <= _BANDS, pale)


def draw_line(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, style: Style, band: bool = True, pale: bool = False
) -> None:
    """The mean of all runs as a line, and one standard deviation to either side of it as a band."""
    runs = rows.groupby(x)[y]
    mean, deviation = runs.mean(), runs.std().fillna(0)
    place = mean.index.to_numpy(float)
    every = max(1, len(place) // 5)
    axes.plot(place, mean, **style.line, markevery=(style.place % every, every), alpha=_PALE if pale else 1)
    if band:
        edges = mean - deviation, mean + deviation
        axes.fill_between(place, *edges, color=style.colour, alpha=0.1, linewidth=0, zorder=1)


def draw_seeds(axes: Axes, rows: pd.DataFrame, x: str, y: str, style: Style) -> None:
    """Every seed as a thin pale line."""
    for _, run in rows.groupby("seed"):
        axes.plot(run[x], run[y], color=style.colour, alpha=_PALE, linewidth=0.5, zorder=1.5)


def draw_ranking(
    axes: Axes, order: Iterable[tuple[Style, pd.DataFrame]], value: str, bars: bool, pale: bool = False
) -> None:
    """A row for each criterion, the first on top: the mean of all runs as a bar or a circle, one standard deviation to
    either side as a whisker, and the runs themselves as dots. The row of a criterion without runs stays empty.
    """
    labels, alpha = [], _PALE if pale else 1
    for place, (style, rows) in enumerate(order):
        labels.append(style.label)
        if rows.empty:
            continue
        runs = rows[value].to_numpy(float)
        mean, deviation = runs.mean(), runs.std(ddof=1) if len(runs) > 1 else 0
        face = style.colour if style.shapley else "white"
        if bars:
            axes.barh(place, mean, 0.72, facecolor=face, edgecolor=style.colour, alpha=0.75, linewidth=1)
        else:
            axes.plot(mean, place, "o", color=style.colour, markerfacecolor=face, markersize=5.5, zorder=5, alpha=alpha)
        ink = _INK if bars else style.colour
        axes.errorbar(mean, place, xerr=deviation, color=ink, elinewidth=0.9, capsize=2, alpha=alpha)
        axes.plot(runs, np.full(len(runs), place), ".", color=_INK, alpha=0.35, markersize=3, zorder=4)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def draw_before_and_after(
    panels: Iterable[Axes], order: Sequence[tuple[Style, pd.DataFrame]], titles: Mapping[str, str], intact: float
) -> None:
    """Rankings in one order by the accuracies ``accuracy``, after a training, and ``accuracy_before``, paler; the
    accuracy of the intact network as a line. Each has an axis of its own, since a training makes differences small.

    Args:
        panels: one a title.
        order: of `ranked`.
        titles: column -> title.
        intact: accuracy of the intact network.
    """
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        draw_ranking(axes, order, measure, bars=False, pale=measure != "accuracy")
        axes.locator_params(axis="x", nbins=4)
        axes.axvline(intact, color="black", linewidth=0.8)
        axes.set_title(title, loc="left")


def scale_loss(panels: Iterable[Axes]) -> None:
    """A logarithmic loss axis that is common to all panels and goes as far as the mean lines do."""
    panels = list(panels)
    drawn = np.concatenate([line.get_ydata() for axes in panels for line in axes.lines])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    for axes in panels:
        axes.set_yscale("log")
        if drawn.size:
            axes.set_ylim(drawn.min() / 1.1, drawn.max() * 1.15)
        wide = not drawn.size or drawn.max() > WIDE * drawn.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(5))
        axes.yaxis.set_major_formatter(PLAIN)
        axes.yaxis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, styles: Iterable[Style], title: str = "") -> None:
    """A legend at the right of the panels, in the order given; the figure grows until it has room."""
    handles = [Line2D([], [], label=style.label, **style.line) for style in styles]
    figure.legend(handles=handles, title=title, loc="outside right upper", alignment="left")
    figure.set_figheight(max(figure.get_figheight(), _ENTRY * (len(handles) + 2)))

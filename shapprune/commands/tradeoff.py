"""What several budgets cost: a table, and a figure of accuracy or agreement against cost."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.tables import write_table
from shapprune.pruning.divergence import interval

_STEM = "tradeoff"
_PARTS = ("estimate", "low", "high")
_COLUMNS = (
    *("network", "macs", "parameters", "bytes", "milliseconds"),
    *("agreement", "agreement_low", "agreement_high", "loss", "accuracy", "accuracy_low", "accuracy_high", "seconds"),
)
_INTACT = "intact"
# Measure of a budget -> column, how many make one of the title, title; a ratio has no cost of its own.
_COSTS = {
    "macs": ("macs", 1, "MACs of an image"),
    "parameters": ("parameters", 1, "parameters"),
    "megabytes": ("bytes", 1_000_000, "megabytes"),
    "milliseconds": ("milliseconds", 1, "milliseconds"),
    "ratio": ("macs", 1, "MACs of an image"),
}


def require_figures() -> None:
    """Raise unless figures can be drawn.

    Raises:
        ShapPruneError: matplotlib or pandas is not installed.
    """
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook need not exist here
    for name in ("matplotlib", "pandas"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ShapPruneError(f"--budgets draws with {name}, which is not there: pip install {name}") from error


def remove_tradeoff(folder: Path) -> None:
    """Remove table and figure of a folder, if there are any."""
    for suffix in (".csv", ".svg", ".png"):
        (folder / f"{_STEM}{suffix}").unlink(missing_ok=True)


def write_tradeoff(folder: Path, manifests: Mapping[str, Mapping[str, Any]], measure: str) -> None:
    """Write the table and the figure.

    Args:
        folder: where they go.
        manifests: name of a network's folder -> its facts.
        measure: of the budgets.
    """
    whole = next(iter(manifests.values()))
    images = whole.get("evaluation_images", 0)
    rows = [_row(_INTACT, whole["before"], dict.fromkeys(_PARTS, 1.0), images, 0.0)]
    for name, facts in manifests.items():
        rows.append(_row(name, facts["after"], facts["agreement"], images, facts["cost"]["seconds"]))
    write_table(folder / f"{_STEM}.csv", _COLUMNS, rows)
    _draw(folder / _STEM, rows, "accuracy" if images else "agreement", measure)
    print(f"\n{folder / _STEM}.csv, .svg, .png")


def _row(
    name: str, size: Mapping[str, Any], agreement: Mapping[str, float], images: int, seconds: float
) -> dict[str, Any]:
    accuracy: Mapping[str, Any] = dict.fromkeys(_PARTS, "")
    if images:
        accuracy = interval(size["accuracy"] * images, images)._asdict()
    return {
        "network": name,
        **{each: size[each] for each in ("macs", "parameters", "bytes")},
        "milliseconds": size["latency"]["median_ms"],
        **_columns("agreement", agreement),
        "loss": size.get("loss", ""),
        **_columns("accuracy", accuracy),
        "seconds": seconds,
    }


def _columns(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values["estimate"], f"{name}_low": values["low"], f"{name}_high": values["high"]}


def _draw(stem: Path, rows: list[dict[str, Any]], value: str, measure: str) -> None:
    """Draw accuracy or agreement against cost."""
    from matplotlib.ticker import EngFormatter

    from shapprune.workflow.figures.layout import grid, legend, save, styled
    from shapprune.workflow.figures.styles import OKABE_ITO, SOLID, Style, reference

    column, scale, title = _COSTS[measure]
    intact, *smaller = rows
    smaller = sorted(smaller, key=lambda row: float(row[column]))
    style, line = Style("smaller networks", 0, True, OKABE_ITO[0], SOLID, "o"), reference("intact network")
    costs, values = [row[column] / scale for row in smaller], [row[value] for row in smaller]
    ends = [(row[value] - row[f"{value}_low"], row[f"{value}_high"] - row[value]) for row in smaller]
    with styled():
        figure, (axes,) = grid(1)
        axes.errorbar(costs, values, yerr=list(zip(*ends, strict=True)), **style.line, elinewidth=0.9, capsize=2.5)
        axes.axhline(intact[value], **line.line)
        axes.plot(intact[column] / scale, intact[value], "o", color="black")
        axes.set_xlim(0, 1.05 * intact[column] / scale)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(title)
        axes.set_ylabel("accuracy" if value == "accuracy" else "agreement with the intact network")
        legend(figure, [style, line])
        save(figure, stem)

"""Draw a figure of the table of figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from shapprune.core.resolve import resolve_function
from shapprune.workflow.figures.catalog import FIGURES
from shapprune.workflow.figures.layout import read
from shapprune.workflow.figures.styles import criterion_styles


def draw(name: str, net: str, tables: Mapping[str, str], params: Mapping[str, Any]) -> Figure:
    """Draw one figure of a network.

    Args:
        name: a figure of `FIGURES`.
        net: the network.
        tables: table -> its file.
        params: ``criteria``, ``estimators`` or ``methods`` of the configuration, and the facts, as the figure's row
            asks for them.

    Raises:
        ShapPruneError: a table has no rows of the network.
    """
    row = FIGURES[name]
    function = resolve_function(f"shapprune.workflow.figures.{row.function}", "figure")
    arguments: list[Any] = [read(tables[table], net) for table in row.tables]
    if row.styles:
        arguments.append(criterion_styles(params[row.styles]))
    measure = {"measure": row.measure} if row.measure else {}
    figure: Figure = function(*arguments, **measure, **{fact: params[fact] for fact in row.facts})
    return figure

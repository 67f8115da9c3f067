"""Networks that fit budgets: what is left of the accuracy, against what is left of the cost."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shapprune.workflow.figures.layout import (
    draw_lines,
    draw_ranking,
    grid,
    legend,
    ranked,
    require,
    styled,
)
from shapprune.workflow.figures.styles import Styles, reference

_INTACT = reference("intact network")
# So many lines are told apart.
_LINES = 12


@styled()
def budget_tradeoff(budgets: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy against the share of multiply-accumulate operations that is left, a line a method.

    Where there is a single budget, or there are too many methods to tell their lines apart, methods are ranked instead.

    Args:
        budgets: rows of ``budgets.csv`` of one network.
        styles: of `criterion_styles`, by the names of the methods.
    """
    require(budgets, "networks that fit budgets")
    table = budgets.assign(
        criterion=budgets["method"], aggregate="mean", share=budgets["macs"] / budgets["intact_macs"]
    )
    # Trials reach a budget with slightly different costs.
    table["share"] = table.groupby(["method", "budget"])["share"].transform("mean")
    order, intact = ranked(table, styles, "accuracy"), table["intact_accuracy"].mean()
    shares = table.groupby("budget")["share"].mean().sort_index(ascending=False)
    if len(shares) == 1 or len(order) > _LINES:
        width, height = 4 if len(shares) == 1 else 3, 0.9 + 0.2 * len(order)
        figure, panels = grid(len(shares), columns=len(shares), size=(width, height), room=0, sharey="row")
        for axes, (budget, share) in zip(panels, shares.items(), strict=True):
            there = [(style, rows[rows["budget"] == budget]) for style, rows in order]
            draw_ranking(axes, there, "accuracy", bars=False)
            axes.axvline(intact, color="black", linewidth=0.8)
            axes.set_xlabel(f"test accuracy\nwith {share:.0%} of the MACs\n(line: intact network)")
        return figure
    figure, (axes,) = grid(1)
    draw_lines(axes, table, "share", "accuracy", styles)
    axes.axhline(intact, **_INTACT.line)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("MACs that are left")
    axes.set_ylabel("test accuracy")
    legend(figure, [*(style for style, _ in order), _INTACT], "best first")
    return figure

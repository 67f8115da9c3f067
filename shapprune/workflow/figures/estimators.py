"""Estimators of Shapley values: how far they are from the truth at what cost, and whether that matters for pruning."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import PLAIN, by_style, draw_lines, grid, legend, ranked, require, styled
from shapprune.workflow.figures.styles import DOTTED, Style, Styles, reference

_EXACT = 1e-4  # of the variance; what has less of an error leaves the panel at the bottom
_TRUTH = reference("order of the true values", DOTTED)


@styled()
def estimators_cost(estimators: pd.DataFrame, styles: Styles) -> Figure:
    """Error and rank correlation against evaluations; two panels a layer.

    Args:
        estimators: rows of ``estimators.csv`` of one network.
        styles: of `criterion_styles`, for the estimators.
    """
    require(estimators, "estimators")
    table = _as_criteria(estimators[estimators["estimator"] != estimators["truth"]])
    table["evaluations"] = table["evaluations"].clip(lower=1)  # some look at the weights alone
    layers = table["layer"].unique()
    figure, panels = grid(2 * len(layers), columns=2 if len(layers) <= 4 else 4)
    for place, layer in enumerate(layers):
        here = table[table["layer"] == layer]
        error, rank = panels[2 * place : 2 * place + 2]
        draw_lines(error, here, "evaluations", "mse_ratio", styles, band=False)
        draw_lines(rank, here, "evaluations", "spearman", styles)
        error.set_yscale("log")
        error.set_ylim(bottom=max(error.get_ylim()[0], _EXACT))
        error.set_ylabel("squared error / variance")
        rank.set_ylabel("Spearman correlation")
        rank.set_ylim(min(0, rank.dataLim.y0) - 0.03, 1.03)
        for axes in (error, rank):
            axes.set_title(_title(here, layer), loc="left")
            axes.set_xlabel("evaluations")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(PLAIN)
    # A criterion's place in the legend is that of its best size.
    best = table.groupby(["criterion", "aggregate", "layer", "setting"], as_index=False)["mse_ratio"].mean()
    best = best.groupby(["criterion", "aggregate", "layer"], as_index=False)["mse_ratio"].min()
    legend(figure, [style for style, _ in ranked(best, styles, "mse_ratio")], "smallest error first")
    return figure


@styled()
def estimators_pruning(estimators: pd.DataFrame, styles: Styles) -> Figure:
    """Area under the loss curve, and the gap to the oracle sets where they are known, against rank correlation.

    Args:
        estimators: rows of ``estimators.csv`` of one network.
        styles: of `criterion_styles`, for the estimators.
    """
    require(estimators, "estimators")
    is_truth = estimators["estimator"] == estimators["truth"]
    table, truths = _as_criteria(estimators[~is_truth]), estimators[is_truth]
    measures = [(layer, measure) for layer, rows in truths.groupby("layer", sort=False) for measure in _measured(rows)]
    figure, panels = grid(len(measures), columns=2 if len(measures) <= 8 else 4)
    for axes, (layer, measure) in zip(panels, measures, strict=True):
        here = table[table["layer"] == layer]
        for style, rows in by_style(here, styles):
            _draw_path(axes, rows, measure, style)
        axes.axhline(truths[truths["layer"] == layer][measure].mean(), **_TRUTH.line)
        axes.set_title(_title(here, layer), loc="left")
        axes.set_xlabel("Spearman correlation with the truth")
        axes.set_ylabel("area under the loss curve" if measure == "auc_loss" else "mean gap to the oracle")
    order = [style for style, _ in ranked(table, styles, "auc_loss")]
    legend(figure, [*order, _TRUTH], "smallest area first")
    return figure


def _as_criteria(estimators: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns that styles go by."""
    return estimators.assign(
        criterion=estimators["estimator"], aggregate="mean", setting=estimators["setting"].fillna("")
    )


def _measured(truth: pd.DataFrame) -> list[str]:
    return ["auc_loss", *(["gap"] if truth["gap"].notna().any() else [])]


def _title(rows: pd.DataFrame, layer: object) -> str:
    return f"{layer} ({int(rows['units'].iloc[0])})"


def _draw_path(axes: Axes, rows: pd.DataFrame, measure: str, style: Style) -> None:
    """The sizes of an estimator, means of all runs, joined from the cheapest on."""
    means = rows.groupby("setting")[["evaluations", "spearman", measure]].mean().sort_values("evaluations")
    axes.plot(means["spearman"], means[measure], **style.line | {"linewidth": 0.7})

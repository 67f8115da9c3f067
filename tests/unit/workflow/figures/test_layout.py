"""What figures share: tables are read by network, and criteria keep their styles."""

from __future__ import annotations

import pytest

from shapprune import ShapPruneError
from shapprune.workflow.figures.layout import draw_lines, grid, ranked, read
from shapprune.workflow.figures.removal import auc_bars
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, MANY, tables


def test_a_criterion_without_a_style_is_refused():
    table = tables(CRITERIA, 1, 1, 1)["auc"]
    with pytest.raises(ShapPruneError, match="unknown criterion 'random mean'"):
        auc_bars(table, criterion_styles({"taylor": CRITERIA["taylor"]}))


def test_tables_are_read_by_network(tmp_path):
    path = tmp_path / "table.csv"
    tables(CRITERIA, 1, 1, 1)["auc"].to_csv(path, index=False)
    assert len(read(path, "net")) == 8
    with pytest.raises(ShapPruneError, match="no rows of network 'other'"):
        read(path, "other")


def test_the_best_has_the_lowest_loss_and_the_highest_accuracy():
    table = tables(CRITERIA, 1, 1, 1)["curves"]
    table["loss"] = table["accuracy"] = table["criterion"].map({"random": 3.0, "taylor": float("nan"), "shapley": 1.0})
    styles = criterion_styles(CRITERIA)
    names = lambda value: [style.label.split()[0] for style, _ in ranked(table, styles, value)]  # noqa: E731
    assert names("loss") == ["shapley", "shapley", "random", "taylor"]
    assert names("accuracy") == ["random", "shapley", "shapley", "taylor"]


@pytest.mark.parametrize(("criteria", "bands"), [(CRITERIA, 4), (MANY, 0)], ids=["few", "many"])
def test_bands_are_drawn_where_they_do_not_hide_each_other(criteria, bands):
    _, (axes,) = grid(1)
    draw_lines(axes, tables(criteria, 1, 2, 1)["curves"], "removed", "loss", criterion_styles(criteria))
    assert len(axes.collections) == bands
    assert len(axes.lines) == sum(len(settings["aggregates"]) for settings in criteria.values())

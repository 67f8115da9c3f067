"""The table of figures: every row is whole, and a study has the figures of what it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapprune.core.resolve import resolve_function
from shapprune.workflow.figures.catalog import FIGURES, by_rule, paths

ROOT = Path(__file__).resolve().parents[4]
GROUPS = {row.networks for row in FIGURES.values()}


@pytest.mark.parametrize("row", FIGURES.values(), ids=FIGURES)
def test_rows_name_what_is_there(row):
    assert resolve_function(f"shapprune.workflow.figures.{row.function}", "figure")
    assert (ROOT / "report" / f"{row.caption}.rst").is_file()
    assert row.measure in ("", "loss", "accuracy")
    assert row.styles in ("", "criteria", "estimators", "methods")


@pytest.mark.parametrize("rows", by_rule().values(), ids=by_rule())
def test_figures_of_a_rule_share_networks_and_params(rows):
    assert len({row.networks for row in rows}) == 1
    assert len({row.params for row in rows}) == 1


def test_every_figure_has_its_rule():
    assert sorted(row.name for rows in by_rule().values() for row in rows) == sorted(FIGURES)


def test_networks_have_the_figures_of_their_groups():
    groups = {group: [] for group in GROUPS} | {"studied": ["a"], "tabulated": ["a", "a"], "untrained": ["b"]}
    found = paths(groups)
    assert len(found) == len(set(found))
    assert {"results/figures/a/auc.svg", "results/figures/a/oracle.png", "results/figures/b/untrained.svg"} < set(found)
    assert not any("/a/training." in path or "/b/auc." in path for path in found)

"""Styles: lines that differ look different, and Shapley values stand out."""

from __future__ import annotations

import pytest

from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, ESTIMATORS, MANY


@pytest.mark.parametrize("criteria", [CRITERIA, MANY, ESTIMATORS], ids=["few", "many", "estimators"])
def test_styles_tell_criteria_apart(criteria):
    styles = criterion_styles({name: entry for name, entry in criteria.items() if name != "random"})
    looks = {(style.colour, style.dashes, style.marker, style.filled) for style in styles.values()}
    assert len(looks) == len(styles)


def test_styles_tell_shapley_values_and_aggregates():
    styles = criterion_styles(CRITERIA)
    assert styles["shapley", "mean"].shapley
    assert not styles["taylor", "mean"].shapley
    assert styles["shapley", "mean+2std"].colour == styles["shapley", "mean"].colour
    assert styles["shapley", "mean+2std"].label == "shapley (mean+2std)"
    assert styles["taylor", "mean"].label == "taylor"  # the aggregate is named only where there is a choice


def test_what_is_scored_again_looks_like_what_scores_it():
    rescored = {of: {"method": "rescored", "of": of, "aggregates": ["mean"]} for of in ("permutation", "taylor")}
    styles = criterion_styles(rescored)
    assert styles["permutation", "mean"].shapley
    assert not styles["taylor", "mean"].shapley

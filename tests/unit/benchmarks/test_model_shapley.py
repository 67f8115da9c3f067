"""The benchmark of Model Shapley: a table with a row for each layer, score and scope, made once."""

from __future__ import annotations

import pytest

from benchmarks import model_shapley
from benchmarks.cases import Case
from shapprune.core.tables import read_rows
from tests.toys import ConvNetwork, images, labels, randomise


@pytest.fixture
def case():
    model = randomise(ConvNetwork()).eval()
    parts = [(images(count, seed=count), labels(count, seed=count)) for count in (6, 5)]
    return Case("toy", "some.pth", model, {"features.0": 4, "fc": 8}, *parts)


def test_a_row_for_each_layer_score_and_scope(case, tmp_path, monkeypatch):
    out = tmp_path / "table.csv"
    model_shapley.measure(case, out, walks=4)
    rows = read_rows(out)
    scores = 1 + len(model_shapley.OF_UNITS) + 2 * len(model_shapley.OF_PARAMETERS)
    assert len(rows) == 2 * scores
    assert list(rows[0]) == [*model_shapley.COLUMNS, *model_shapley.MEASURED]
    converged = [row for row in rows if row["score"] == "converged"]
    assert [float(row["sum_share"]) for row in converged] == [1.0, 1.0]
    permutation = [row for row in rows if row["score"].startswith("permutation")]
    assert [float(row["sum_share"]) for row in permutation] == [1.0, 1.0]
    monkeypatch.setattr(model_shapley, "score", None)  # all is there, so nothing is scored again
    model_shapley.measure(case, out, walks=4)
    assert read_rows(out) == rows


def test_every_score_of_parameters_is_measured_with_both_scopes(case):
    found = [(name, scope) for name, scope, *_ in model_shapley.scores_of(case, "fc")]
    assert len(set(found)) == len(found)
    assert {scope for _, scope in found} == {"", "rows", "all"}

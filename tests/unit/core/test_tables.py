"""Tables as CSV files: what is written reads back equal."""

from __future__ import annotations

import csv

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.core.tables import write_table


def test_table_reads_back(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    write_table(path, ["a", "b"], [{"b": 0.1 + 0.2, "a": "x,y"}, {"a": "", "b": 1}])
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [{"a": "x,y", "b": "0.30000000000000004"}, {"a": "", "b": "1"}]
    write_table(path, ["a"], [])
    assert path.read_text() == "a\n"


def test_table_refuses_other_columns_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="columns"):
        write_table(tmp_path / "table.csv", ["a"], [{"a": 1}, {"b": 1}])
    assert list(tmp_path.iterdir()) == []


def test_table_holds_no_number_that_is_not_finite(tmp_path):
    with pytest.raises(ShapPruneError, match=r"table\.csv: loss is nan, not a finite number"):
        write_table(tmp_path / "table.csv", ["layer", "loss"], [{"layer": "fc", "loss": float("nan")}])
    assert list(tmp_path.iterdir()) == []

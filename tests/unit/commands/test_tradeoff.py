"""The table and the figure of several budgets."""

from __future__ import annotations

import csv
import sys

import pytest

from shapprune import ShapPruneError
from shapprune.commands.tradeoff import remove_tradeoff, require_figures, write_tradeoff

SIZE = {"macs": 100, "parameters": 10, "bytes": 40, "latency": {"median_ms": 2.0}}
AGREEMENT = {"estimate": 0.9, "low": 0.8, "high": 0.95}


@pytest.mark.parametrize("measure", ["macs", "parameters", "megabytes", "milliseconds", "ratio"])
def test_agreement_where_there_are_no_classes(tmp_path, measure):
    facts = {"before": SIZE, "after": SIZE | {"macs": 50}, "agreement": AGREEMENT, "cost": {"seconds": 3.0}}
    write_tradeoff(tmp_path, {"half": facts}, measure)
    with (tmp_path / "tradeoff.csv").open() as file:
        intact, half = csv.DictReader(file)
    assert (intact["network"], intact["macs"], intact["agreement"], intact["accuracy"]) == ("intact", "100", "1.0", "")
    assert (half["network"], half["macs"], half["agreement"], half["agreement_low"]) == ("half", "50", "0.9", "0.8")
    assert "agreement with the intact network" in (tmp_path / "tradeoff.svg").read_text()
    remove_tradeoff(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ShapPruneError, match="pip install matplotlib"):
        require_figures()

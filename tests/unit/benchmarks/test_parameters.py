"""Uses of scores of a small language model's parameters: a row each, and the table is gone on with."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks import parameters
from benchmarks.parameters import COLUMNS, SCHEMES, SCORES, measure_parameters
from shapprune.core.tables import read_rows
from shapprune.networks.evaluation import evaluate
from tests.unit.transformers import CASES, build


def test_every_use_has_a_row_and_the_table_is_gone_on_with(tmp_path, monkeypatch):
    texts = torch.randint(50, (6, 13), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(parameters, "read_sequences", lambda *_: (texts[:, :-1], texts[:, 1:]))
    monkeypatch.setattr(parameters, "SHARE", 0.25)
    monkeypatch.setattr(parameters, "SCORES", {name: SCORES[name] for name in ("random", "corrected sign")})
    monkeypatch.setattr(parameters, "SCHEMES", SCHEMES[::2])
    monkeypatch.setattr(parameters, "TORCHAO", [])
    model, given, out = build(CASES["llama"]), Namespace(text=Path(), sequences=6, length=12), tmp_path / "table.csv"
    measure_parameters(model, None, given, out)
    rows = read_rows(out)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 1 + 2 * 2 + 2
    assert float(rows[0]["loss"]) == pytest.approx(evaluate(model, texts[:, :-1], texts[:, 1:])[0])
    assert float(rows[0]["agreement"]) == 1
    assert len({row["loss"] for row in rows}) == len(rows)
    sizes = {row["units"]: int(row["bytes"]) for row in rows}
    assert sizes["4 bits"] < sizes["8 bits"] < sizes["rows"] == sizes["neurons"]
    monkeypatch.setattr(parameters, "score_parameters", lambda *_: pytest.fail("scored again"))
    measure_parameters(model, None, given, out)
    assert read_rows(out) == rows


def by_torchao(tmp_path, monkeypatch):
    """Rows of what torchao makes of a small network, and of rounding to the nearest."""
    texts = torch.randint(50, (6, 13), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(parameters, "read_sequences", lambda *_: (texts[:, :-1], texts[:, 1:]))
    monkeypatch.setattr(parameters, "SCORES", {})
    monkeypatch.setattr(parameters, "SCHEMES", SCHEMES[::2])
    out = tmp_path / "table.csv"
    measure_parameters(build(CASES["llama"]), None, Namespace(text=Path(), sequences=6, length=12), out)
    return {(row["method"], row["units"]): row for row in read_rows(out)}


def test_another_library_gives_the_same_layers_as_many_bytes(tmp_path, monkeypatch):
    pytest.importorskip("torchao")
    monkeypatch.setattr(parameters, "TORCHAO", [("torchao", 8, None), ("torchao", 4, None), ("groups", 4, 16)])
    rows = by_torchao(tmp_path, monkeypatch)
    for bits in ("8 bits", "4 bits"):
        ours, others = rows["round", bits], rows["torchao", bits]
        assert others["bytes"] == ours["bytes"]
        assert float(others["loss"]) == pytest.approx(float(ours["loss"]), rel=0.05)
    assert int(rows["groups", "4 bits"]["bytes"]) > int(rows["torchao", "4 bits"]["bytes"])


def test_a_library_that_is_not_installed_is_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert {method for method, _ in by_torchao(tmp_path, monkeypatch)} == {"", "round"}
    assert "torchao is not installed; its rows are left out" in capsys.readouterr().out

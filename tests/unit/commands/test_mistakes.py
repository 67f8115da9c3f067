"""Mistakes are one sentence, and nothing is written."""

from __future__ import annotations

import re

import pytest
import torch

from shapprune.commands.scoring import Scoring
from tests.toys import ConvNetwork, ResidualNetwork
from tests.unit.commands.files import LAYERS, TOY

MISTAKES = {
    "ratio of 1": (["--ratio", "1"], "ratio 1.0 "),
    "width": (["--widths", "{fc: 9}"], "'fc' has 8 units .* 9"),
    "width of no layer": (["--widths", "{fcc: 9}"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "width in words": (["--widths", "{fc: few}"], "width 'few' of layer 'fc'"),
    "growth": (["--loss-growth", "-1"], "loss_growth -1.0 "),
    "parameters": (["--parameters", "3"], "3 parameters"),
    "multiple": (["--ratio", "0.5", "--multiple", "0"], "multiple 0 "),
    "threads": (["--ratio", "0.5", "--threads", "0"], "--threads 0 "),
    "skip": (["--ratio", "0.5", "--skip", "fcc"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "skip of all": (["--ratio", "0.5", "--skip", *LAYERS], "--skip"),
    "criterion": (["--ratio", "0.5", "--criterion", "tailor"], "did you mean 'taylor'"),
    "criterion's option": (["--ratio", "0.5", "--criterion-options", "{point: 3}"], "did you mean 'points'"),
    "aggregate": (["--ratio", "0.5", "--aggregate", "median"], "'median'"),
    "payoff": (["--ratio", "0.5", "--payoff", "los"], "did you mean 'loss'"),
    "repair": (["--ratio", "0.5", "--repair", "batch-norm"], "did you mean 'batchnorm'"),
    "options": (["--ratio", "0.5", "--options", "{width: 3}"], f"{TOY!r} .*'width': 3"),
    "architecture": (["--ratio", "0.5", "--architecture", "lenet"], "did you mean 'lenet5'"),
    "seed": (["--ratio", "0.5", "--seed", "-1"], "--seed -1 "),
    "too many images": (["--ratio", "0.5", "--images", "25"], "25 images .* 24 for scoring"),
    "too many to evaluate": (["--ratio", "0.5", "--evaluate", "16"], "16 images .* 15 for evaluation"),
    "no data": (["--ratio", "0.5", "--data", "mnits"], "--data 'mnits' .*'mnist'"),
    "size": (["--ratio", "0.5", "--size", "0", "8"], "--size 0 8 "),
    "another size": (["--ratio", "0.5", "--size", "12", "12"], r"images \[1, 12, 12\]"),
    "colours": (["--ratio", "0.5", "--channels", "3"], r"images \[3, 8, 8\]"),
    "mean": (["--ratio", "0.5", "--mean", "0", "--std", "1", "1"], "std .* 1.0 1.0$"),
    "std of 0": (["--ratio", "0.5", "--mean", "0", "--std", "0"], "std .* 0.0$"),
    "mean alone": (["--ratio", "0.5", "--mean", "0"], "--mean and --std"),
    "growth of groups": (
        ["--loss-growth", "1", "--coupled", "--checkpoint", "{res}", "--architecture", "tests.toys:ResidualNetwork"],
        "loss_growth .* stem, conv2 ",
    ),
    "too few outputs": (
        ["--ratio", "0.5", "--checkpoint", "{two}", "--options", "{classes: 2}"],
        "labels up to 2, .* 2 outputs",
    ),
    "another network": (["--ratio", "0.5", "--checkpoint", "{res}"], "features.0.weight"),
    "no checkpoint": (["--ratio", "0.5", "--checkpoint", "gone.pth"], "gone.pth"),
    "scores and criterion": (["--ratio", "0.5", "--scores", "s", "--criterion", "taylor"], "--criterion .*--scores"),
    "out": (["--ratio", "0.5", "--out", "{res}"], "--out .*res.pth"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_sentences_and_nothing_is_written(name, call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Scoring, "score", lambda self, game, **_: pytest.fail("scored"))
    torch.save(ResidualNetwork().state_dict(), tmp_path / "res.pth")
    torch.save(ConvNetwork(classes=2).state_dict(), tmp_path / "two.pth")
    files = {"{res}": tmp_path / "res.pth", "{two}": tmp_path / "two.pth"}
    there = set(tmp_path.rglob("*"))
    arguments, named = MISTAKES[name]
    assert call("prune", *[files.get(each, each) for each in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(named, error.strip()), error
    assert set(tmp_path.rglob("*")) == there

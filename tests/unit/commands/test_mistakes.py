"""Mistakes are one sentence, and nothing is written."""

from __future__ import annotations

import re

import pytest
import torch

from shapprune.commands.scoring import Scoring
from shapprune.pruning.crossfit import Judge
from tests.toys import ConvNetwork, ResidualNetwork
from tests.unit.commands.files import LAYERS, TOY, write_images

FILES = (("res", ".pth"), ("two", ".pth"), ("empty", ""), ("flat", ""))
MISTAKES = {
    "ratio of 1": (["--ratio", "1"], "ratio 1.0 "),
    "width": (["--widths", "{fc: 9}"], "'fc' has 8 units .* 9"),
    "width of no layer": (["--widths", "{fcc: 9}"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "width in words": (["--widths", "{fc: few}"], "width 'few' of layer 'fc'"),
    "growth": (["--loss-growth", "-1"], "loss_growth -1.0 "),
    "parameters": (["--parameters", "3"], "3 parameters"),
    "parameters by scores": (["--parameters", "3", "--sequential"], "3 parameters"),
    "share of 0": (["--macs", "0%"], "--macs 0% is not a share"),
    "share of all": (["--macs", "100%"], "--macs 100% is not a share"),
    "more than all": (["--parameters", "1e9"], "which is within"),
    "0": (["--macs", "0"], "--macs 0 "),
    "1": (["--macs", "1"], "1 macs cannot be met"),
    "least widths": (["--macs", "0.1%"], "cannot be met: with the least units"),
    "negative": (["--megabytes", "-2"], "megabytes -2 "),
    "negative share": (["--macs=-20%"], "--macs -20% is not a share"),
    "infinite": (["--macs", "inf"], "macs inf "),
    "not a number": (["--macs", "nan"], "macs nan "),
    "in words": (["--macs", "half"], "--macs half is not a number"),
    "none": ([], "nothing says how small"),
    "two": (["--macs", "50%", "--parameters", "50%"], "--macs and --parameters are both given"),
    "two, one by scores": (["--macs", "50%", "--negative"], "--macs and --negative are both given"),
    "one of several": (["--budgets", "50%", "100%"], "100% is not a share"),
    "least of several": (["--budgets", "50%", "0.1%"], "cannot be met"),
    "twice": (["--budgets", "50%", "0.5"], "macs-50-percent twice"),
    "measure alone": (["--macs", "50%", "--measure", "macs"], "--measure .*--budgets"),
    "one image": (["--macs", "50%", "--images", "1"], "1 image calibrates, 2 or more"),
    "distil": (["--macs", "50%", "--distil", "some"], "--distil some "),
    "copies": (["--macs", "50%", "--copies", "-1"], "--copies -1 is not auto or a number"),
    "copies without repair": (["--macs", "50%", "--copies", "2", "--repair", "none"], "--copies .*--repair none"),
    "minutes": (["--macs", "50%", "--minutes", "-1"], "-1.0 minutes"),
    "minutes without end": (["--macs", "50%", "--minutes", "inf"], "inf minutes .* finite"),
    "minutes for steps": (["--macs", "50%", "--minutes", "1", "--distil", "5"], "--minutes .*--distil 5"),
    "allocation": (["--macs", "50%", "--allocation", "uniformly"], "did you mean 'uniform'"),
    "payoff without scores": (["--macs", "50%", "--payoff", "loss"], "--payoff goes only with one of --widths"),
    "coupled without scores": (["--macs", "50%", "--coupled"], "--coupled goes only with"),
    "aggregate without scores": (["--macs", "50%", "--aggregate", "abs"], "--aggregate .*reconstruction"),
    "allocation by scores": (["--negative", "--allocation", "uniform"], "--allocation .*--negative"),
    "flip by scores": (["--ratio", ".5", "--no-sequential", "--no-flip"], "--flip .*--sequential"),
    "share by scores": (["--macs", "50%", "--sequential"], "--macs 50% must be a number .*--sequential"),
    "milliseconds of a batch": (["--milliseconds", "50%", "--batch", "4"], "--milliseconds .*--batch"),
    "BatchNorm": (["--macs", "50%", "--criterion", "batchnorm-scale"], "batchnorm-scale needs .*'fc'"),
    "folder without images": (["--macs", "50%", "--data", "{empty}"], "empty holds no images"),
    "evaluate without classes": (
        ["--macs", "50%", "--data", "{flat}", "--images", "3", "--evaluate", "3"],
        "flat has no .*--evaluate",
    ),
    "scores without classes": (["--negative", "--data", "{flat}", "--images", "2"], "flat has no folders of classes"),
    "evaluate on no folder": (["--macs", "50%", "--evaluate-on", "gone"], "--evaluate-on gone"),
    "evaluate on a known set": (["--macs", "50%", "--data", "digits", "--evaluate-on", "x"], "--evaluate-on .*digits"),
    "evaluate on the same": (["--macs", "50%", "--evaluate-on", "{train}"], "--evaluate-on .*also in --data"),
    "multiple": (["--ratio", "0.5", "--multiple", "0"], "multiple 0 "),
    "threads": (["--ratio", "0.5", "--threads", "0"], "--threads 0 "),
    "skip": (["--ratio", "0.5", "--skip", "fcc"], "unknown layer 'fcc'; did you mean 'fc'?"),
    "skip of all by scores": (["--ratio", "0.5", "--sequential", "--skip", *LAYERS], "--skip"),
    "skip of all": (["--ratio", "0.5", "--skip", *LAYERS], "features.0: it is skipped"),
    "criterion": (["--ratio", "0.5", "--criterion", "tailor"], "did you mean 'taylor'"),
    "criterion's option": (
        ["--ratio", "0.5", "--sequential", "--criterion-options", "{point: 3}"],
        "did you mean 'points'",
    ),
    "reconstruction's option": (["--ratio", "0.5", "--criterion-options", "{rigde: 3}"], "did you mean 'ridge'"),
    "aggregate": (["--ratio", "0.5", "--criterion", "taylor", "--aggregate", "median"], "'median'"),
    "aggregate by scores": (["--ratio", "0.5", "--sequential", "--aggregate", "median"], "'median'"),
    "payoff": (["--ratio", "0.5", "--sequential", "--payoff", "los"], "did you mean 'loss'"),
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
def test_mistakes_are_sentences_and_nothing_is_written(name, made, call, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Scoring, "score", lambda self, game, **_: pytest.fail("scored"))
    monkeypatch.setattr(Judge, "judge", lambda self, *_: pytest.fail("pruned"))
    torch.save(ResidualNetwork().state_dict(), tmp_path / "res.pth")
    torch.save(ConvNetwork(classes=2).state_dict(), tmp_path / "two.pth")
    (tmp_path / "empty").mkdir()
    write_images(tmp_path, 3, ("flat",))
    files = {f"{{{name}}}": tmp_path / f"{name}{ending}" for name, ending in FILES} | {
        "{train}": made / "photos" / "train"
    }
    there = set(tmp_path.rglob("*"))
    arguments, named = MISTAKES[name]
    assert call("prune", *[files.get(each, each) for each in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(named, error.strip()), error
    assert set(tmp_path.rglob("*")) == there

"""``prune --branches`` and ``--blocks``."""

from __future__ import annotations

import pytest
import torch

from shapprune import BranchGame, score
from shapprune.networks.evaluation import evaluate
from shapprune.networks.storage import load
from tests.residual import SmallResNet
from tests.unit.commands.files import facts_of


def test_branches_leave_one_after_the_other(call, residual, made, out, capsys, monkeypatch):
    folder = made / "photos" / "train" / "a"  # images, and no folders of classes
    games = []
    monkeypatch.setattr(
        "shapprune.commands.scoring.score",
        lambda game, *given, **more: games.append(game) or score(game, *given, **more),
    )
    assert call("prune", "--branches", 2, *residual, "--data", folder, "--images", 6) == 0
    printed = capsys.readouterr().out
    small = load(out / "model.safetensors", SmallResNet)
    first = score(games[0], "leave-one-out").order().tolist()[0]
    rest = score(games[0].without([first]), "leave-one-out").order().tolist()
    second = next(place for place in rest if place != first)
    assert small.removed_branches == [f"blocks.{first}", f"blocks.{second}"]
    assert f"\nblocks.{first} leaves\nblocks.{second} leaves\n" in printed
    facts = facts_of(out)
    assert (facts["choice"], facts["repair"]) == ({"branches": 2}, "least-squares")
    assert facts["scores"]["payoff"] == "kl"
    assert facts["cost"]["evaluations"] > 0
    assert facts["after"]["macs"] < facts["before"]["macs"]
    assert "accuracy" not in facts["after"]
    assert isinstance(games[0], BranchGame)
    assert not list(out.glob("*.unfinished"))


def test_what_is_left_is_measured_where_there_are_classes(call, residual, out):
    assert call("prune", "--blocks", 1, *residual, "--criterion", "block-influence") == 0
    facts, small = facts_of(out), load(out / "model.safetensors", SmallResNet)
    assert facts["evaluation_images"] == 15
    assert {"loss", "accuracy"} <= set(facts["after"])
    assert len(small.removed_branches) >= 1
    assert evaluate(small, torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2]))[0] > 0


def test_layers_behind_are_fitted_unless_that_is_not_wanted(call, residual, out):
    kept = []
    for repair in ("none", "least-squares"):
        assert call("prune", "--branches", 1, *residual, "--repair", repair) == 0
        assert facts_of(out)["repair"] == repair
        kept.append(load(out / "model.safetensors", SmallResNet))
    (plain, fitted), (gone,) = (each.state_dict() for each in kept), {tuple(each.removed_branches) for each in kept}
    assert len(gone) == 1
    assert any(not torch.equal(plain[name], fitted[name]) for name in plain)


def test_it_goes_on_after_an_interruption(call, residual, out, monkeypatch, capsys):
    monkeypatch.setattr("shapprune.shapley.unfinished.INTERVAL", 0)
    monkeypatch.setattr("shapprune.commands.skipping.remove_branches", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("prune", "--branches", 2, *residual)
    monkeypatch.undo()
    monkeypatch.setattr("shapprune.commands.scoring.score", lambda *_, **__: pytest.fail("scored again"))
    assert call("prune", "--branches", 2, *residual) == 0
    assert "prune of branches: continues from 2 branches" in capsys.readouterr().err
    assert not list(out.glob("*.unfinished"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--branches", 0], "--branches 0 is not 1 or more"),
        (["--branches", 3], "--branches 3: the network has 3, so at most 2 can leave"),
        (["--branches", 1, "--macs", "50%"], "--macs and --branches are both given"),
        (["--blocks", 1, "--distil", 5], "--distil is about units of layers, so it does not go with --blocks"),
        (
            ["--blocks", 1, "--repair", "bias"],
            "--repair bias does not go with --blocks, which takes none or least-squares",
        ),
        (["--branches", 1, "--skip", "fc"], "--skip is about units of layers"),
        (["--branches", 1, "--criterion", "weight-norm"], "weight-norm scores units of a layer, not residual branches"),
        (["--branches", 1, "--scores", "folder"], "--scores is about units of layers"),
    ],
)
def test_mistakes(arguments, named, call, residual, out, capsys):
    assert call("prune", *arguments, *residual)
    assert named in capsys.readouterr().err
    assert not out.exists()

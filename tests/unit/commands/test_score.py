"""``python -m shapprune score``."""

from __future__ import annotations

import re

import pytest
import torch

from shapprune.commands.scoring import Scoring
from shapprune.graph import unit_graph
from shapprune.shapley.score_files import read_scores
from tests.toys import ConvNetwork, ResidualNetwork
from tests.unit.commands.files import LAYERS


def test_scores_are_taken_up_after_a_kill(call, out, monkeypatch, capsys):
    scored = []

    def count(self, game, **options):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(game.layer)
        return score(self, game, **options)

    score = Scoring.score
    monkeypatch.setattr(Scoring, "score", count)
    with pytest.raises(KeyboardInterrupt):
        call("score")
    assert scored == ["features.0", "features.4"]
    scored[:] = []
    assert call("score") == 0
    assert scored == ["fc"]
    assert capsys.readouterr().out.count("stored") == 2
    assert {path.name for path in out.iterdir()} == {f"{layer}{end}" for layer in LAYERS for end in (".npz", ".json")}
    scored[:] = []
    assert call("score", "--layers", "fc", "--seed", 1) == 0  # other settings
    assert scored == ["fc"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--layers", "fc", "fcc"], "'fcc'; did you mean 'fc'"),
        (["--layers", "stem", "--checkpoint", "{res}", "--architecture", "tests.toys:ResidualNetwork"],
         "'stem' cannot lose units: .* together with those of conv2; --coupled takes them"),
        (["--criterion", "exact", "--options", "{channels: [4, 30]}", "--checkpoint", "{wide}"],
         "exact .*20 .*'features.4' .*30"),
        (["--criterion", "batchnorm-scale"], "batchnorm-scale .*'fc'"),
        (["--out", "{wide}"], "--out .*wide.pth"),
    ],
)  # fmt: skip
def test_mistakes_of_score(arguments, named, call, out, tmp_path, capsys):
    torch.save(ConvNetwork(channels=(4, 30)).state_dict(), tmp_path / "wide.pth")
    torch.save(ResidualNetwork().state_dict(), tmp_path / "res.pth")
    files = {f"{{{name}}}": tmp_path / f"{name}.pth" for name in ("wide", "res")}
    assert call("score", *[files.get(each, each) for each in arguments])
    assert re.search(named, capsys.readouterr().err)
    assert not out.exists()


def test_branches_are_scored_without_classes(call, residual, made, out, capsys):
    folder = made / "photos" / "train" / "a"  # images, and no folders of classes
    assert call("score", "--branches", *residual, "--data", folder, "--images", 6) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^branches +3 ", printed, re.MULTILINE)
    scores = read_scores(out / "branches.npz")
    names = [f"blocks.{place}" for place in scores.order("mean")]
    assert printed.endswith(f"first to leave: {', '.join(names)}\n")
    assert (scores.criterion, scores.values.shape) == ("leave-one-out", (6, 3))
    assert call("score", "--branches", *residual, "--data", folder, "--images", 6) == 0
    assert "stored" in capsys.readouterr().out
    assert call("score", "--blocks", *residual, "--criterion", "block-influence") == 0
    assert read_scores(out / "blocks.npz").values.shape == (10, 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--branches", "--layers", "fc"], "--layers is about layers, so it does not go with --branches"),
        (["--blocks", "--coupled"], "--coupled is about layers, so it does not go with --blocks"),
        (["--branches", "--criterion", "weight-norm"], "weight-norm scores units of a layer, not residual branches"),
        (["--branches"], "ConvNetwork has no residual branches"),
        (["--criterion", "block-influence"], "block-influence scores residual branches and blocks, not units"),
    ],
)
def test_mistakes_about_branches(arguments, named, call, out, capsys):
    assert call("score", *arguments)
    assert named in capsys.readouterr().err
    assert not out.exists()


def test_branches_by_the_loss_need_classes(call, residual, made, out, capsys):
    folder = made / "photos" / "train" / "a"
    assert call("score", "--branches", *residual, "--data", folder, "--images", 6, "--payoff", "loss")
    assert "a score by the loss" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("command", [["score"], ["prune", "--macs", "50%", "--distil", "none"]])
def test_a_network_is_traced_once(command, call, monkeypatch):
    traced, trace = [], unit_graph.trace
    monkeypatch.setattr(unit_graph, "trace", lambda model, *given: traced.append(model) or trace(model, *given))
    assert call(*command) == 0
    assert len(traced) == 1

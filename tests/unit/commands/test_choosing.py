"""``python -m shapprune prune`` by scores."""

from __future__ import annotations

import pytest
import torch

from shapprune.__main__ import main
from shapprune.commands.scoring import Scoring
from tests.toys import ConvNetwork, ResidualNetwork, randomise
from tests.unit.commands.files import LAYERS, TOY, facts_of, widths_of


def test_the_manifest_says_how_it_was_made(call, out, capsys):
    assert call("prune", "--ratio", 0.5, "--sequential", "--skip", "fc", "--batch", 3, "--threads", 1, "--seed", 4) == 0
    facts = facts_of(out)
    assert facts["network"] == {"architecture": TOY, "options": {}}
    assert facts["choice"] == {"ratio": 0.5, "multiple": 1, "skip": ["fc"], "sequential": True}
    assert facts["scores"]["criterion"] == "coalition-gradient"
    assert (facts["scores"]["images"], facts["scores"]["seed"], facts["scores"]["aggregate"]) == (10, 4, "mean")
    assert facts["checkpoint"]["file"] == "net.pth"
    assert facts["data"]["mean"] == [0.449]
    assert "mean" not in facts["after"]
    for when in ("before", "after"):
        assert facts[when]["latency"]["median_ms"] > 0
        assert (facts[when]["latency"]["batch"], facts[when]["latency"]["threads"]) == (3, 1)
    assert {layer: len(kept) for layer, kept in facts["kept"].items()} == {"features.0": 2, "features.4": 3}
    assert facts["after"]["parameters"] < facts["before"]["parameters"]
    assert facts["after"]["macs"] < facts["before"]["macs"]
    assert "less 0.449, divided by 0.226 (ImageNet's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("choice", "widths"),
    [
        (["--ratio", 0.5, "--sequential"], [2, 3, 4]),
        (["--ratio", "50%", "--no-sequential"], [2, 3, 4]),
        (["--ratio", 0.5, "--sequential", "--multiple", 4], [4, 4, 4]),
        (["--widths", "{features.0: 1, fc: 5}"], [1, 6, 5]),
        (["--parameters", 200, "--sequential"], [2, 3, 4]),
        (["--macs", "4k", "--sequential", "--skip", "features.0"], [4, 2, 3]),
        (["--loss-growth", 1e9, "--multiple", 3], [3, 3, 3]),
        (["--loss-growth", 0, "--criterion", "weight-norm"], None),
        (["--negative", "--payoff", "margin"], None),
        (["--ratio", 0.3, "--sequential", "--repair", "batchnorm"], [3, 5, 6]),
        (["--parameters", 10**9, "--sequential"], [4, 6, 8]),
    ],
)
def test_choices(choice, widths, call, out):
    assert call("prune", *choice) == 0
    assert widths is None or widths_of(out) == widths
    facts = facts_of(out)
    assert choice[0].removeprefix("--").replace("-", "_") in facts["choice"]
    if choice[0] in ("--parameters", "--macs"):
        assert facts["after"][choice[0].removeprefix("--")] <= {"4k": 4000}.get(choice[1], choice[1])
    assert facts["choice"]["sequential"] == ("--no-sequential" not in choice)


def test_sequential_scores_what_is_left(call, monkeypatch):
    seen = []

    def note(self, game, **options):
        seen.append((game.layer, sum(each.numel() for each in game.model.parameters())))
        return score(self, game, **options)

    score = Scoring.score
    monkeypatch.setattr(Scoring, "score", note)
    assert call("prune", "--ratio", 0.5, "--sequential") == call("prune", "--ratio", 0.5, "--no-sequential") == 0
    layers, sizes = zip(*seen, strict=True)
    assert layers == (*reversed(LAYERS), *LAYERS)
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[3] == sizes[4] == sizes[5] == sizes[0]


def test_layers_that_keep_all_units_are_not_scored(call, monkeypatch):
    monkeypatch.setattr(Scoring, "score", lambda self, game, **_: pytest.fail("scored"))
    assert call("prune", "--ratio", 0.01, "--sequential") == 0


def test_what_is_pruned_can_be_pruned_again(made, call, out, tmp_path):
    assert call("prune", "--widths", "{fc: 6}", "--mean", 0.3, "--std", 0.2) == 0
    again = tmp_path / "again"
    given = [
        "--checkpoint",
        out / "model.safetensors",
        "--data",
        made / "photos",
        "--images",
        5,
        "--ratio",
        0.5,
        "--sequential",
    ]
    assert main(["prune", *map(str, given), "--criterion", "taylor", "--out", str(again)]) == 0
    assert widths_of(again) == [2, 3, 3]
    assert set(facts_of(again)["kept"]["fc"]) < set(facts_of(out)["kept"]["fc"])
    assert facts_of(again)["data"]["mean"] == [0.3]


def test_residual_streams(made, tmp_path, out, call):
    torch.save(randomise(ResidualNetwork()).state_dict(), tmp_path / "res.pt")
    given = ["--checkpoint", tmp_path / "res.pt", "--architecture", "tests.toys:ResidualNetwork", "--ratio", 0.5]
    given.append("--sequential")
    assert call("prune", *given) == 0
    assert {name: len(kept) for name, kept in facts_of(out)["kept"].items()} == {"conv1": 3}
    assert call("prune", *given, "--coupled") == 0
    kept = facts_of(out)["kept"]
    assert {name: len(each) for name, each in kept.items()} == {"conv1": 3, "stem": 2, "conv2": 2}
    assert kept["stem"] == kept["conv2"]
    assert call("prune", *given, "--coupled", "--skip", "conv2", "output") == 0  # and with it the whole group
    assert facts_of(out)["kept"].keys() == {"conv1"}


def test_prune_with_scores_of_before(call, out, tmp_path, monkeypatch):
    scores, small = tmp_path / "scores", tmp_path / "small"
    assert call("score", "--out", scores, "--criterion", "permutation", "--criterion-options", "{permutations: 2}") == 0
    assert call("prune", "--ratio", 0.5, "--no-sequential", "--criterion", "permutation", "--criterion-options",
                "{permutations: 2}") == 0  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(Scoring, "score", lambda self, game, **_: pytest.fail("scored"))
        assert call("prune", "--ratio", 0.5, "--scores", scores, "--out", small) == 0
        (scores / "fc.npz").unlink()
        assert call("prune", "--ratio", 0.5, "--scores", scores, "--out", tmp_path / "less") == 0
    assert facts_of(small)["kept"] == facts_of(out)["kept"]
    assert facts_of(small)["scores"]["criterion"] == "permutation"
    assert facts_of(small)["scores"]["digest"] == facts_of(out)["scores"]["digest"]
    assert facts_of(tmp_path / "less")["kept"].keys() == {"features.0", "features.4"}


def test_scores_that_do_not_belong_to_the_network(call, tmp_path, made, capsys):
    scores = tmp_path / "scores"
    given = ["--scores", scores, "--ratio", 0.5]
    assert call("prune", *given) == 1
    assert "scores has no scores of layers of this network (features.0, " in capsys.readouterr().err
    assert call("score", "--out", scores, "--criterion", "taylor") == 0
    assert call("score", "--out", scores, "--criterion", "apoz", "--layers", "fc") == 0
    assert call("prune", *given) == 1
    assert "are of several settings" in capsys.readouterr().err
    torch.save(randomise(ConvNetwork(), 5).state_dict(), tmp_path / "other.pth")
    assert call("prune", *given, "--checkpoint", tmp_path / "other.pth") == 1
    assert "features.0.npz are of another network than" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

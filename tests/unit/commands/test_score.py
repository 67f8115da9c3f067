"""``python -m shapprune score``."""

from __future__ import annotations

import re

import pytest
import torch

from shapprune.commands.scoring import Scoring
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

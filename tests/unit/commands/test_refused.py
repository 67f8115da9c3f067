"""What cannot be removed is known before anything is scored; the other layers lose units all the same."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from shapprune.commands.scoring import Scoring
from tests.toys import ConvNetwork, randomise


class Fixed(ConvNetwork):
    """Its view counts channels by itself."""

    def forward(self, x):
        return self.output(torch.relu(self.fc(self.features(x).view(-1, 24))))


class Frozen(ConvNetwork):
    """A backbone that does not learn, as in transfer learning."""

    def __init__(self):
        super().__init__()
        self.features.requires_grad_(False)


class Normed(ConvNetwork):
    """Its last hidden layer has its weights computed."""

    def __init__(self):
        super().__init__()
        self.fc = nn.utils.parametrizations.weight_norm(self.fc)


# Network -> the layers that can lose units.
NETWORKS = {Fixed: ["features.0", "fc"], Frozen: ["features.0", "features.4", "fc"], Normed: ["features.0"]}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "how", [["--ratio", "0.5", "--sequential"], ["--parameters", "90%", "--distil", "none"]], ids=["scores", "budget"]
)
def test_the_other_layers_lose_units(network, how, call, tmp_path, out, monkeypatch):
    torch.save(randomise(network()).state_dict(), tmp_path / "net.pth")
    given = ["--checkpoint", tmp_path / "net.pth", "--architecture", f"{__name__}:{network.__name__}"]
    scored = []
    monkeypatch.setattr(
        Scoring, "score", lambda self, game, **options: (scored.append(game.layer), score(self, game, **options))[1]
    )
    assert call("prune", *given, *how) == 0
    assert json.loads((out / "model.json").read_text())["kept"].keys() <= set(NETWORKS[network])
    assert set(scored) <= set(NETWORKS[network])


score = Scoring.score

"""What cannot be removed is known before anything is scored; the other layers lose units all the same."""

from __future__ import annotations

import json
import re

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


class Tokens(nn.Module):
    """Its hidden layer works on the places of a map, and its units are weighed against each other."""

    def __init__(self):
        super().__init__()
        self.patches, self.hidden, self.out = nn.Conv2d(1, 4, 4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(torch.softmax(self.hidden(self.patches(x).flatten(2).transpose(1, 2)), -1).mean(1))


class Undefined(ConvNetwork):
    """Puts out what is no number, though its weights are numbers."""

    def forward(self, x):
        return super().forward(x).abs().neg().log()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Tokens, r"\(patches: its units go .*; hidden: its units go on into 'softmax', of which it is not known"),
        (Undefined, r"the network puts out nan for the first images of \S*photos; look at its weights"),
    ],
)
@pytest.mark.parametrize(
    "how", [["score"], ["prune", "--ratio", "0.5", "--sequential"], ["prune", "--parameters", "90%"]], ids=" ".join
)
def test_networks_that_are_refused_say_why(network, how, message, call, tmp_path, capsys):
    torch.save(network().state_dict(), tmp_path / "net.pth")
    assert call(*how, "--checkpoint", tmp_path / "net.pth", "--architecture", f"{__name__}:{network.__name__}") == 1
    assert re.search(message, capsys.readouterr().err)

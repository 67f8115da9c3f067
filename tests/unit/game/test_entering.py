"""The part of a network before a layer runs when what comes out of it is asked for, and once."""

from __future__ import annotations

import pytest
import torch

import shapprune
from tests.toys import ConvNetwork, images, labels, randomise


@pytest.fixture
def played():
    """The game of a layer, and how many images its network was shown at a time since the game was made."""
    network = randomise(ConvNetwork()).eval()
    game = shapprune.LayerGame(network, "fc", images(12, (1, 8, 8)), labels(12))
    seen: list[int] = []
    network.features[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return game, seen


@pytest.mark.parametrize("criterion", ["weight-norm", "fpgm", "random"])
def test_a_criterion_that_looks_at_no_image_runs_no_network(played, criterion):
    game, seen = played
    shapprune.score(game, criterion)
    assert seen == []


def test_values_run_it_once(played):
    game, seen = played
    kept = torch.ones(1, game.units, dtype=torch.bool)
    whole = game.value(kept)
    assert sum(seen) == 12
    with torch.inference_mode():
        assert torch.equal(game.fresh().without([1]).value(kept).isfinite(), whole.isfinite())
    assert sum(seen) == 12


def test_what_is_first_valued_in_inference_mode_has_gradients_later(played):
    game, seen = played
    with torch.inference_mode():
        game.value(torch.ones(1, game.units, dtype=torch.bool))
    assert game.gate_gradient(torch.ones(1, game.units)).shape == (1, 12, game.units)
    assert sum(seen) == 12

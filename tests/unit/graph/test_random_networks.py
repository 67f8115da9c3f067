"""Random networks: what is listed can be removed and scored, the rest has a reason, and all is handed back."""

from __future__ import annotations

import os

import pytest
import torch

from shapprune import LayerGame, ShapPruneError, prunable_layers, remove_units, shapley
from shapprune.graph.outputs import are_close, tensors_of
from shapprune.networks.modes import mode
from shapprune.pruning.removal import mask_units
from tests.toys import images, labels
from tests.unit.graph.random_networks import SHAPE, network

# So many networks are tried; SHAPPRUNE_NETWORKS=500 tries more.
NETWORKS = int(os.environ.get("SHAPPRUNE_NETWORKS", "8"))


def first_logits(outputs, labels):
    """Minus the loss of the first of several outputs."""
    first = next(iter(tensors_of(outputs).values()))
    return -torch.nn.functional.cross_entropy(first, labels, reduction="none")


def state(model):
    flags = [(each.requires_grad, each.grad is None) for each in model.parameters()]
    modes = [each.training for each in model.modules()]
    return flags, modes, [*model.state_dict()], torch.get_rng_state().tolist()


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_what_is_listed_can_be_removed_and_the_rest_has_a_reason(seed):
    model, x, y = network(seed), images(4, SHAPE), labels(4)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = state(model)
    layers = prunable_layers(model, x, coupled=True)
    assert all(each.coupled for each in layers if not each.group)
    for each in (each for each in layers if each.group and each.group[0] == each.name):
        units = dict.fromkeys(each.group, sorted({0, each.units - 1})[: each.units - 1])
        small = remove_units(model, units, x)
        with torch.no_grad(), mode(small, training=False):
            outputs = small(x)
        assert are_close(outputs, mask_units(model, units, x))
    for each in layers:
        if each.group:
            continue
        with pytest.raises(ShapPruneError):
            remove_units(model, {each.name: [0]}, x)
    scored = [each for each in layers if each.site and each.units < 8][:2]
    for each in scored:
        game = LayerGame(model, each.name, x, y, payoff=first_logits)
        everything, nothing = game.value(torch.tensor([[True] * each.units, [False] * each.units])).double()
        shared = shapley.permutation(game, permutations=1).values.sum(1).double()
        torch.testing.assert_close(shared, everything - nothing, atol=1e-4, rtol=1e-4)
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())

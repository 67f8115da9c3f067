"""Random networks: what is listed can be removed, stored and scored, the rest has a reason, and all is handed back."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, load, prunable_layers, remove_units, save, shapley
from shapprune.graph.outputs import are_close, tensors_of
from shapprune.networks.modes import mode
from shapprune.networks.randomness import seeded
from shapprune.pruning.removal import mask_units
from tests.toys import images, labels
from tests.unit.graph.random_networks import SHAPE, network

# So many networks are tried; SHAPPRUNE_NETWORKS=500 tries more.
NETWORKS = int(os.environ.get("SHAPPRUNE_NETWORKS", "8"))
# Norms of a few positions that hardly differ make the rounding of float32 large.
CLOSE = {torch.float32: 1e-4, torch.float64: 1e-9}


def first_logits(outputs, labels):
    """Minus the loss of the first of several outputs."""
    first = next(iter(tensors_of(outputs).values()))
    return -torch.nn.functional.cross_entropy(first, labels, reduction="none")


def state(model):
    flags = [(each.requires_grad, each.grad is None) for each in model.parameters()]
    modes = [each.training for each in model.modules()]
    return flags, modes, [*model.state_dict()], torch.get_rng_state().tolist()


@pytest.fixture(params=range(NETWORKS))
def seed(request):
    return request.param


def build(seed):
    with seeded(0):
        return network(seed)


@pytest.fixture
def model(seed):
    """The network of a number, which is handed back as it came."""
    model = build(seed)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = state(model)
    yield model
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def outputs_of(model, x):
    with torch.no_grad(), mode(model, training=False):
        return model(x)


def runs_alone(model, one):
    """Whether a network runs on a single image; a GroupNorm of one number a group does not."""
    try:
        outputs_of(model, one)
    except ValueError as error:
        return "Expected more than 1 value per channel" not in str(error)
    return True


def draw(random, group, count):
    """Some units of a group, not all."""
    gone = sorted(random.choice(count, random.integers(1, count), replace=False).tolist())
    return dict.fromkeys(group, gone)


def check_removal(model, units, x):
    small = remove_units(model, units, x)
    assert are_close(outputs_of(small, x), mask_units(model, units, x))
    return small


def test_what_is_listed_can_be_removed_and_stored_and_the_rest_has_a_reason(model, seed, tmp_path):
    x, random = images(4, SHAPE), np.random.default_rng(seed)
    layers = prunable_layers(model, x, coupled=True)
    assert all(each.coupled for each in layers if not each.group)
    together = {}
    for group, count in {each.group: each.units for each in layers if each.group}.items():
        assert [each.units for each in layers if each.group == group] == [count] * len(group)
        check_removal(model, draw(random, group, count), x)
        together |= draw(random, group, count)
    for each in layers:
        if not each.group:
            with pytest.raises(ShapPruneError):
                remove_units(model, {each.name: [0]}, x)
    if together:
        small = check_removal(model, together, x)
        save(small, tmp_path / "small.safetensors")
        back = load(tmp_path / "small.safetensors", lambda: build(seed))
        assert back.kept_units == small.kept_units
        for one, other in zip(*(tensors_of(outputs_of(each, x)).values() for each in (back, small)), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", CLOSE)
def test_scores_share_out_what_all_units_are_worth_whatever_the_memory_and_the_order(model, seed, dtype):
    model.to(dtype)
    x, y, random = images(7, SHAPE).to(dtype), labels(7), np.random.default_rng(seed)
    close = {"atol": CLOSE[dtype], "rtol": CLOSE[dtype]}
    layers = [each for each in prunable_layers(model, x, coupled=True) if each.site and each.units < 8]
    if not runs_alone(model, x[:1]):
        with pytest.raises(ShapPruneError, match=r"fails on images of shape \(1, "):
            LayerGame(model, layers[0].name, x, y, payoff=first_logits)
        return
    for each in random.permutation(np.array(layers, dtype=object))[:2]:
        game = LayerGame(model, each.name, x, y, payoff=first_logits)
        coalitions = torch.from_numpy(random.random((9, each.units)) < 0.6)
        coalitions[:2] = torch.tensor([[True], [False]])
        values = game.value(coalitions).double()
        scores = shapley.permutation(game, permutations=1).values.double()
        torch.testing.assert_close(scores.sum(1), values[0] - values[1], **close)
        turned = torch.from_numpy(random.permutation(7))
        for memory, order in ((0, torch.arange(7)), (512, turned), (0, turned)):
            numbers = order.numpy()
            other = LayerGame(
                model, each.name, x[order], y[order], payoff=first_logits, examples=numbers, memory_mb=memory
            )
            torch.testing.assert_close(other.value(coalitions).double(), values[:, order], **close)
            found = shapley.permutation(other, permutations=1).values.double()
            torch.testing.assert_close(found, scores[order], **close)

"""Low-rank adaptation, by the library peft where it is installed."""

from __future__ import annotations

import copy
import importlib.util
import sys

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.networks.builders import build
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit
from shapprune.parameters.low_rank import LowRank
from tests.toys import ConvNetwork, images, labels, randomise

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")


@needs_peft
def test_matrices_train_and_are_added_to_the_weights_of_their_layers_alone():
    model = randomise(ConvNetwork()).eval()
    before = copy.deepcopy(model.state_dict())
    numbers = {"features.4": model.features[4].weight[0].numel() + 6, "fc": model.fc.in_features + 8}
    adapted = LowRank(model, numbers, trainable=round(2.4 * sum(numbers.values())))
    assert (adapted.rank, adapted.trainable) == (2, 2 * sum(numbers.values()))
    assert sum(each.numel() for each in adapted.parameters() if each.requires_grad) == adapted.trainable
    torch.testing.assert_close(adapted.eval()(images(3)), model(images(3)))  # one of the matrices is zero at first
    data = images(24), labels(24, 3)
    fit(adapted, *data, *data, Recipe(epochs=2, batch=8, lr=0.1, weight_decay=0.1), progress=False)
    merged = adapted.merged().eval()
    torch.testing.assert_close(merged(images(3)), adapted.eval()(images(3)))
    state = merged.state_dict()
    assert state.keys() == before.keys()
    norms = [name for name in before if "running" in name or "num_batches" in name]
    changed = {name for name in before if not torch.equal(state[name], before[name])} - {*norms}
    assert changed == {"features.4.weight", "fc.weight"}
    assert torch.linalg.matrix_rank(state["fc.weight"] - before["fc.weight"], rtol=1e-4) == 2
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(each.requires_grad for each in merged.parameters())


@needs_peft
def test_a_seed_gives_the_same_matrices_and_names_are_whole():
    model = build("char_gpt", shape=(5,), classes=7, width=8, depth=1, heads=2, head_dim=4, hidden=12)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, same, other = (LowRank(model, ["blocks.0.fc1"], 1, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    (name,) = (name for name in one if "lora_A" in name)
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    assert LowRank(model, ["blocks.0.fc1"], 1).trainable == 8 + 12  # rank 1 at least


@needs_peft
def test_layers_of_other_kinds_are_refused():
    model = build("char_gpt", shape=(5,), classes=7, width=8, depth=1, heads=2, head_dim=4, hidden=12)
    with pytest.raises(ShapPruneError, match="but 'embed' is a Embedding"):
        LowRank(model, ["embed"], 10)
    with pytest.raises(ShapPruneError, match="is given none"):
        LowRank(model, [], 10)
    with pytest.raises(ShapPruneError, match="given the network itself"):
        LowRank(torch.nn.Linear(2, 2), [""], 10)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ShapPruneError, match="needs the package peft, which is not installed"):
        LowRank(ConvNetwork(), ["fc"], 10)

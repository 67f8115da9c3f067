"""Neurons of tokens and attention heads of other people's transformers: valued, removed, stored."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shapprune
from shapprune import LayerGame, ShapPruneError, prunable_layers, remove_units
from shapprune.graph.outputs import find_difference
from shapprune.pruning.removal import mask_units
from shapprune.pruning.repair import repair
from tests.unit.transformers import CASES, build, logits

EVERY = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def total(outputs, labels):
    return logits(outputs).flatten(1)[:, :CLASSES_SEEN].sum(1)


CLASSES_SEEN = 3


def without(model, reader, units, of, transposed):
    """A copy of a network in which a layer does not read some of its equal parts."""
    copied = copy.deepcopy(model)
    weight = copied.get_submodule(reader).weight
    inputs = weight.shape[0] if transposed else weight.shape[1]
    size = inputs // of
    for unit in units:
        gone = slice(unit * size, (unit + 1) * size)
        with torch.no_grad():
            if transposed:
                weight[gone] = 0
            else:
                weight[:, gone] = 0
    return copied


@EVERY
def test_values_are_those_of_the_network_whose_next_layer_does_not_read_the_units(case):
    model = build(case)
    for layer, reader in (case.neurons, case.heads):
        game = LayerGame(model, layer, case.inputs, torch.zeros(3, dtype=torch.long), payoff=total)
        kept = torch.rand(3, game.units, generator=torch.Generator().manual_seed(0)) > 0.4
        kept[:, 0], kept[:, -1] = True, False
        values = game.value(kept)
        for coalition, value in zip(kept, values, strict=True):
            gone = (~coalition).nonzero().flatten().tolist()
            with torch.no_grad():
                expected = total(without(model, reader, gone, game.units, case.transposed)(case.inputs), None)
            assert torch.allclose(value, expected, atol=1e-3, rtol=1e-4)
        assert (values - game.full).abs().max() > 1e-3


@EVERY
def test_what_is_left_computes_what_the_masked_network_does_and_is_loaded_and_trained(case, tmp_path):
    model = build(case)
    units = {case.neurons[0]: [0, 3, 7]} | {case.heads[0]: [1]}
    small = remove_units(model, units, case.inputs)
    with torch.no_grad():
        found, intact = logits(small(case.inputs)), logits(model(case.inputs))
    masked = logits(mask_units(model, units, case.inputs))
    assert find_difference(found, masked) < 1e-4 < find_difference(found, intact)
    assert sum(each.numel() for each in small.parameters()) < sum(each.numel() for each in model.parameters())
    shapprune.save(small, tmp_path / "small.safetensors")
    loaded = shapprune.load(tmp_path / "small.safetensors", lambda: copy.deepcopy(model))
    assert find_difference(logits(loaded(case.inputs)), found) < 1e-6
    logits(loaded.train()(case.inputs)).sum().backward()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_sequences_may_have_another_length_in_each_call(name):
    case = CASES[name]
    model, units = build(case), {case.neurons[0]: [0, 3], case.heads[0]: [1]}
    small = remove_units(model, units, case.inputs[:, :5])
    longer = torch.randint(50, (2, 11), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert find_difference(logits(small(longer)), logits(mask_units(model, units, longer))) < 1e-4
    small = repair(small, model, units, longer, "least-squares")
    with torch.no_grad():
        assert logits(small(case.inputs)).shape == logits(model(case.inputs)).shape


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("timm vit", ["blocks.0.attn.qkv"]),
        ("llama", [f"model.layers.0.self_attn.{each}_proj" for each in "qkv"]),
        ("torchvision vit", []),
    ],
)
def test_layers_that_make_queries_keys_and_values_name_their_attention(name, layers):
    case = CASES[name]
    reason = f"it makes queries, keys or values of {case.heads[0]!r}, whose units are its heads"
    listed = prunable_layers(build(case), case.inputs, coupled=True)
    assert [each.name for each in listed if each.coupled == reason] == layers


@pytest.mark.parametrize("name", ["torchvision vit", "torchvision swin", "timm deit", "gpt2", "llama"])
def test_lists_what_can_be_removed(name):
    case = CASES[name]
    found = {each.name: each for each in prunable_layers(build(case), case.inputs)}
    assert found[case.neurons[0]].kind == "linear"
    assert (found[case.heads[0]].kind, found[case.heads[0]].units) == ("heads", case.groups)


def test_a_neuron_of_a_gated_block_has_one_name():
    case = CASES["llama"]
    found = {each.name: each.coupled for each in prunable_layers(build(case), case.inputs, coupled=True)}
    assert found["model.layers.0.mlp.up_proj"] == (
        "its units are those of 'model.layers.0.mlp.gate_proj', which it is multiplied with"
    )


def test_heads_that_share_keys_and_values_are_valued_alone_and_leave_together():
    case = CASES["llama"]
    model, (layer, reader) = build(case), case.heads
    found = {each.name: each for each in prunable_layers(model, case.inputs, coupled=True)}
    assert (found[layer].units, found[f"{layer}:queries"].units) == (2, 4)
    assert found[f"{layer}:queries"].coupled == (
        f"its heads share keys and values in groups, which leave whole, as units of '{layer}'"
    )
    game = LayerGame(model, f"{layer}:queries", case.inputs, torch.zeros(3, dtype=torch.long), payoff=total)
    value = game.value(torch.tensor([[True, False, True, True]]))[0]
    with torch.no_grad():
        expected = total(without(model, reader, [1], 4, transposed=False)(case.inputs), None)
    assert torch.allclose(value, expected, atol=1e-3)
    groups = LayerGame(model, layer, case.inputs, torch.zeros(3, dtype=torch.long), payoff=total)
    both = game.value(torch.tensor([[True, True, False, False]]))
    assert torch.allclose(groups.value(torch.tensor([[True, False]])), both, atol=1e-4)


@pytest.mark.parametrize("images", [1, 3])
def test_what_is_the_same_for_all_images_has_no_units(images):
    case = CASES["torchvision swin v2"]
    found = {each.name: each for each in prunable_layers(build(case), case.inputs[:images], coupled=True)}
    layer = found["features.1.0.attn.cpb_mlp.0"]
    assert (layer.site, layer.coupled) == (None, f"layer {layer.name!r} puts out the same for all images")


class Twice(nn.Module):
    """Neurons of tokens that are read as they are, and behind an operation."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.operation, self.last = nn.Linear(4, 6), operation, nn.Linear(6, 2)

    def forward(self, tokens):
        neurons = self.first(tokens)
        return self.last(neurons) + self.last(self.operation(neurons))


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (nn.LayerNorm(6), "of which it is not known what becomes of units"),
        (nn.Sigmoid(), "which does not leave zero at zero"),
    ],
)
def test_neurons_of_tokens_that_cannot_leave_say_why(operation, why):
    found = prunable_layers(Twice(operation), torch.rand(2, 3, 4), coupled=True)
    assert found[0].coupled == f"its units go on into 'operation', {why}"


def test_all_heads_are_too_many():
    case = CASES["torchvision vit"]
    with pytest.raises(ShapPruneError, match=r"removing all 4 units of layer 'encoder.layers"):
        remove_units(build(case), {case.heads[0]: range(4)}, case.inputs)

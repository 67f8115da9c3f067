"""Probes of activations, by hand and against the network."""

from __future__ import annotations

import pytest
import torch

from shapprune import LayerGame, ShapPruneError
from shapprune.networks.builders import build
from shapprune.parameters.probe import probe, unit_activations
from tests.toys import ConvNetwork, images, labels, randomise

TOKENS = torch.randint(0, 7, (6, 5), generator=torch.Generator().manual_seed(0))


def char_gpt() -> torch.nn.Module:
    return randomise(build("char_gpt", shape=(5,), classes=7, width=8, depth=2, heads=2, head_dim=4, hidden=12)).eval()


def test_activations_are_those_of_the_games_on_the_layers():
    model = randomise(ConvNetwork()).train()
    found = unit_activations(model, ["features.4", "fc"], images(5), batch=2)
    assert model.training
    for layer, numbers in found.items():
        values = LayerGame(model, layer, images(5), labels(5, 3)).activations
        torch.testing.assert_close(numbers[..., 0], values.flatten(2).mean(2) if values.dim() > 2 else values)


@pytest.mark.parametrize("over", ["mean", "last"])
def test_neurons_and_heads_of_tokens_have_numbers_at_positions(over):
    """Heads keep the four numbers that they put out, as one neuron keeps its one."""
    model = char_gpt()
    layers = {"blocks.1.attn": 2, "blocks.1.fc1": 12}
    found = unit_activations(model, layers, TOKENS, over)
    for layer, units in layers.items():
        values = LayerGame(model, layer, TOKENS, TOKENS.flip(1)).activations.view(6, units, 5, -1)
        expected = values.mean(2) if over == "mean" else values[:, :, -1]
        torch.testing.assert_close(found[layer], expected)
    assert found["blocks.1.attn"].shape == (6, 2, 4)


def test_a_probe_finds_the_feature_that_tells_and_no_other():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (300,), generator=generator)
    noise = torch.randn(300, 4, generator=generator)
    telling = torch.cat([noise, torch.eye(3)[truth] * 100 + 5], 1)  # on another scale
    train, test = slice(0, 200), slice(200, 300)
    found = probe(telling[train], truth[train], telling[test], truth[test])
    assert (found.accuracy, found.train_accuracy, found.features) == (1.0, 1.0, 7)
    blind = probe(noise[train], truth[train], noise[test], truth[test])
    assert blind.accuracy < 0.5
    assert blind == probe(noise[train], truth[train], noise[test], truth[test])


def test_what_cannot_be_probed_is_refused():
    model, features, truth = char_gpt(), torch.rand(9, 2), torch.arange(9) % 2
    with pytest.raises(ShapPruneError, match="unknown place of activations 'first'; allowed: last, mean"):
        unit_activations(model, ["blocks.0.fc1"], TOKENS, "first")
    with pytest.raises(ShapPruneError, match="'fc' is on no tokens, so there is no last one"):
        unit_activations(ConvNetwork().eval(), ["fc"], images(3), "last")
    with pytest.raises(ShapPruneError, match="of 0 examples"):
        unit_activations(model, ["blocks.0.fc1"], TOKENS[:0])
    for bad in ((features, truth[:3]), (features / 0, truth)):
        with pytest.raises(ShapPruneError, match="finite features and a label for each of 9 examples"):
            probe(*bad, features, truth)
    with pytest.raises(ShapPruneError, match="two classes, but 3 folds of 9 examples leave only one"):
        probe(features, truth * 0, features, truth)
    with pytest.raises(ShapPruneError, match="2 examples cannot be cross-validated in 3 folds"):
        probe(features[:2], truth[:2], features, truth)

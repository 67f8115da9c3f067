"""What networks share is run once, and their outputs are those of the networks themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import remove_units
from shapprune.graph.beginning import SharedBeginning
from shapprune.networks.builders import build
from shapprune.pruning.repair import repair
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
def test_outputs_are_those_of_the_small_network(layer):
    model = randomise(build("lenet5")).eval()
    batch = torch.rand(7, 1, 28, 28)
    shared = SharedBeginning(model, batch)
    small = repair(remove_units(model, {layer: [0, 3]}, batch), model, {layer: [0, 3]}, batch, "least-squares").eval()
    end, values = shared.split(small)
    assert torch.equal(end(values), small(batch))
    assert (values.shape == batch.shape) == (layer == "conv1")  # what comes before the layer is shared


def test_a_value_is_kept_for_networks_that_share_it():
    model, batch = randomise(build("lenet5")).eval(), torch.rand(5, 1, 28, 28)
    shared = SharedBeginning(model, batch)
    values = [shared.split(remove_units(model, {"fc2": [unit]}, batch).eval())[1] for unit in (0, 1)]
    assert values[0] is values[1]


def test_what_was_not_used_for_longest_is_dropped():
    model, batch = randomise(build("lenet5", widths=[20, 50, 800, 500])).eval(), torch.rand(5, 1, 28, 28)
    shared = SharedBeginning(model, batch)
    smaller = {layer: remove_units(model, {layer: [0]}, batch).eval() for layer in ("conv2", "fc1", "fc2")}
    kept = {layer: shared.split(small)[1] for layer, small in smaller.items()}
    again = {layer: shared.split(smaller[layer])[1] for layer in ("fc2", "fc1")}
    assert sum(values.numel() for values in kept.values()) > 4 * batch.numel()
    assert again["fc2"] is kept["fc2"]
    assert torch.equal(again["fc1"], kept["fc1"])
    assert shared.example.shape == (1, 1, 28, 28)


@pytest.mark.parametrize("network", [ConvNetwork, ResidualNetwork])
def test_networks_with_branches(network):
    model, batch = randomise(network()).eval(), images(6)
    shared = SharedBeginning(model, batch)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            small = randomise(network()).eval()
            small.load_state_dict(model.state_dict())
            with torch.no_grad():
                small.get_submodule(name).weight.mul_(1.5)
            end, values = shared.split(small)
            torch.testing.assert_close(end(values), small(batch), rtol=1e-5, atol=1e-5)
            assert not torch.equal(end(values), model(batch))


def test_a_network_that_cannot_be_traced_is_run_whole():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, rows):
            return self.layer(rows) if rows.sum() > 0 else self.layer(-rows)

    model, rows = Branching(), torch.rand(4, 3)
    end, values = SharedBeginning(model, rows).split(model)
    assert end is model
    assert values is rows

"""Two networks side by side compute what each computes alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, remove_units
from shapprune.graph.lockstep import Lockstep
from shapprune.graph.tracing import trace
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


class InPlace(nn.Module):
    """Values that are changed in place after others have read them."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.a(x)
        y = self.b(self.relu(x))
        y += x
        y.tanh_()
        return self.c(torch.nn.functional.relu(y, inplace=True))


@pytest.mark.parametrize(
    ("network", "units"),
    [(ConvNetwork, {"features.4": [1]}), (ResidualNetwork, {"conv1": [0, 2]}), (InPlace, {"a": [0], "b": [0]})],
)
def test_outputs_are_those_of_the_networks(network, units):
    model = randomise(network()).eval()
    x = images(6) if network is not InPlace else images(6, (4,))
    small = remove_units(model, units, x).eval()
    traced = trace(model)
    lockstep, seen = Lockstep(traced, small, x), []
    last = next(node for node in traced.graph.nodes if node.op == "output").all_input_nodes[0]
    with torch.no_grad():
        lockstep.run(lambda node: seen.append(node.name), last)
        one, other = lockstep.value(last)
        torch.testing.assert_close(one, model(x))
        torch.testing.assert_close(other, small(x))
    first = next(node.name for node in traced.graph.nodes if node.target == next(iter(units)))
    assert seen
    assert first not in seen  # its inputs are the same


def test_networks_of_other_operations():
    with pytest.raises(ShapPruneError, match="ResidualNetwork is not the network before"):
        Lockstep(trace(randomise(ConvNetwork()).eval()), randomise(ResidualNetwork()).eval(), images(2))

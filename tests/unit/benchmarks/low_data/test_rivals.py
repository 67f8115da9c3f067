"""Methods of others, run by their published rules."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from benchmarks.low_data.rivals import AsymInChange, ChannelPruning, Rival
from shapprune.graph.counting import count_macs
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise

RIVALS = [AsymInChange, ChannelPruning]


@pytest.mark.parametrize("rival", RIVALS)
def test_twins_and_dead_units_leave_and_nothing_is_lost(rival: type[Rival]):
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), images(50, (4,))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[0].weight[2], model[0].bias[2] = 0, -1
    small = rival(model, x).within(count_macs(model, x) * 4 / 6)
    assert small[0].out_features == 4
    torch.testing.assert_close(small(x), model(x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("rival", RIVALS)
def test_networks_fit(rival: type[Rival]):
    for network in (ConvNetwork, ResidualNetwork):
        model, x = randomise(network()).eval(), images(30)
        whole = count_macs(model, x)
        rule = rival(model, x)
        for share in (0.8, 0.5):
            assert 0.2 * whole < count_macs(rule(share), x) <= share * whole


def test_channel_pruning_chooses_by_the_lasso():
    """With units that do not overlap, the lasso keeps those whose own outputs are the largest."""
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4))
        model[1].weight.copy_(torch.tensor([[0.1, 3.0, 1.0, 2.0]]))
    x = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
    small = ChannelPruning(model, x).within(count_macs(model, x) / 2)
    assert small[0].weight.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(small[1].weight, torch.tensor([[3.0, 2.0]]), atol=1e-4, rtol=1e-4)

"""AsymInChange: a rival's rule, run as it was published."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.asym_in_change import AsymInChange
from shapprune.graph.counting import count_macs
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


def test_twins_and_dead_units_leave_and_nothing_is_lost():
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval(), images(50, (4,))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[0].weight[2], model[0].bias[2] = 0, -1
    small = AsymInChange(model, x).within(count_macs(model, x) * 4 / 6)
    assert small[0].out_features == 4
    torch.testing.assert_close(small(x), model(x), atol=1e-3, rtol=1e-3)


def test_networks_fit():
    for network in (ConvNetwork, ResidualNetwork):
        model, x = randomise(network()).eval(), images(30)
        whole = count_macs(model, x)
        rule = AsymInChange(model, x)
        for share in (0.8, 0.5):
            assert 0.2 * whole < count_macs(rule.within(share * whole), x) <= share * whole

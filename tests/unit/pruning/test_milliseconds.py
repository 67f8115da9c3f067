"""Networks that are timed, and budgets in milliseconds."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from shapprune.networks import latency
from shapprune.pruning.budget import Budget
from shapprune.pruning.maker import How
from shapprune.pruning.milliseconds import Milliseconds
from shapprune.pruning.selection import Structure
from shapprune.pruning.shrink import Shrinker
from tests.toys import ConvNetwork, images, randomise


def take(monkeypatch, slowness):
    """Let a pass take as long as a network has parameters, on a machine that is so many times slower."""

    def timed(network, *_):
        return slowness() * sum(map(torch.numel, network.parameters()))

    monkeypatch.setattr(latency, "_timed", timed)


def test_milliseconds():
    convolutions = nn.Conv2d(8, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 8, 3, padding=1)
    model, x = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(2, 8, 128, 128)
    shrinker = Shrinker(model, x, how=How(steps=0))
    small = shrinker.shrink(Budget(milliseconds=0.6))
    assert small.cost["after"]["macs"] < 0.8 * small.cost["before"]["macs"]
    table = Milliseconds(Structure.of(model.eval(), x), x[:1])
    assert table.estimate(torch.tensor([[64], [32], [16]]).numpy()).tolist()[0] == pytest.approx(table.whole)


def test_a_machine_that_slows_down_makes_no_network_slower_than_the_others(monkeypatch):
    model, x = randomise(ConvNetwork()).eval(), images(2, (1, 8, 8))
    slowness = 1.0
    take(monkeypatch, lambda: slowness)
    table = Milliseconds(Structure.of(model, x), x[:1])
    before = table.measure({"fc": 4})
    slowness = 2.5
    assert table.measure({"fc": 4}) == pytest.approx(before)
    assert before < table.whole
    assert table.measure({}) == pytest.approx(table.whole)


def test_the_time_before_is_of_the_same_minute_as_the_time_after(monkeypatch):
    passes = itertools.count(1)
    take(monkeypatch, lambda: next(passes))
    model = randomise(ConvNetwork()).eval()
    cost = Shrinker(model, images(4, (1, 8, 8)), how=How(steps=0)).shrink(Budget(macs=0.7)).cost
    share = cost["after"]["parameters"] / cost["before"]["parameters"]
    assert cost["after"]["milliseconds"] / cost["before"]["milliseconds"] == pytest.approx(share, rel=0.1)

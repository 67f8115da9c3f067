"""Looking at images left out: which rate distilling gets, and whether it is done at all."""

from __future__ import annotations

import pytest

import shapprune
from shapprune import ShapPruneError
from shapprune.pruning.crossfit import RATES
from shapprune.pruning.maker import Maker
from tests.toys import ConvNetwork, images, randomise

STEPS = 40


@pytest.fixture
def tried(monkeypatch):
    """What distilling was asked for: images, steps and rate; by default it does what it always does."""
    calls, distil = [], Maker.distil

    def record(self, small, removed, seen, steps, rate, *others):
        calls.append((len(seen), steps, rate))
        distil(self, small, removed, seen, steps, rate, *others)

    monkeypatch.setattr(Maker, "distil", record)
    return calls


def shrunk():
    return shapprune.prune(randomise(ConvNetwork()), images(40), macs=0.5, copies=0, steps=STEPS)


def test_the_first_part_has_half_of_the_steps_the_others_an_eighth_and_the_network_all(tried):
    result = shrunk()
    assert result.distilled == (STEPS, RATES[0])
    assert [steps for _, steps, _ in tried] == [20, 5, 5, 5, 40]
    assert [seen for seen, _, _ in tried] == [30, 30, 30, 30, 40]
    assert set(result.stages) == {"removed", "repaired", "distilled"}
    assert result.agreement == result.stages["distilled"]


@pytest.mark.parametrize("diverges", [True, False])
def test_a_lower_rate_is_tried_where_a_higher_one_does_harm(monkeypatch, tried, diverges):
    distil = Maker.distil

    def harm(self, small, removed, seen, steps, rate, *others):
        distil(self, small, removed, seen, steps, rate, *others)
        if rate == RATES[0]:
            if diverges:
                raise ShapPruneError("distilling diverged")
            for each in small.parameters():
                each.data.mul_(0)

    monkeypatch.setattr(Maker, "distil", harm)
    assert shrunk().distilled == (STEPS, RATES[1])
    assert [rate for _, _, rate in tried] == [RATES[0]] + [RATES[1]] * 5


def test_a_network_that_distilling_makes_worse_stays_as_it_was_repaired(monkeypatch):
    monkeypatch.setattr(
        Maker, "distil", lambda self, small, *others: [each.data.mul_(0) for each in small.parameters()]
    )
    result = shrunk()
    assert result.distilled is None
    assert "distilled" not in result.stages
    assert result.agreement == result.stages["repaired"]

"""How many units each layer keeps by a target."""

from __future__ import annotations

import pytest

from shapprune import remove_units
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.pruning.allocation import allocate
from shapprune.pruning.target import Target
from tests.toys import ConvNetwork, images

UNITS = {"features.0": 4, "features.4": 6, "fc": 8}


@pytest.mark.parametrize("target", [Target(ratio=0.5, multiple=4), Target(widths={"fc": 3})])
def test_what_needs_no_network_is_as_the_target_says(target):
    assert allocate(target, UNITS, ConvNetwork(), images(2)) == target.keep(UNITS)


@pytest.mark.parametrize("target", [Target(negative=True), Target(loss_growth=0.1)])
def test_scores_decide(target):
    assert allocate(target, UNITS, ConvNetwork(), images(2)) is None


def test_the_smallest_ratio_that_fits():
    model, x = ConvNetwork(), images(2)
    half = allocate(Target(ratio=0.5), UNITS, model, x)
    small = remove_units(model, {layer: range(count - half[layer]) for layer, count in UNITS.items()}, x)
    for target in (Target(parameters=count_parameters(small)), Target(macs=count_macs(small, x))):
        assert allocate(target, UNITS, model, x) == half
    assert allocate(Target(parameters=10**9), UNITS, model, x) == UNITS
    assert allocate(Target(parameters=10**9, multiple=5), UNITS, model, x) == UNITS  # where it fits, nothing is rounded

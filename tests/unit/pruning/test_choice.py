"""Which units leave."""

from __future__ import annotations

import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, removal_curve, remove_units
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.pruning.choice import choose_for_loss, choose_for_size, choose_units
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

SCORES = {"a": torch.tensor([3.0, -1.0, 2.0, -2.0]), "b": torch.tensor([0.0, 0.0, -1.0, 5.0, 1.0])}


def test_a_ratio_is_rounded_down():
    assert choose_units(SCORES, ratio=0.5) == {"a": [1, 3], "b": [0, 2]}  # of equal scores the lower index
    assert choose_units(SCORES, ratio=0.2) == {"a": [], "b": [2]}
    hundred = {"a": torch.arange(100.0)}
    assert len(choose_units(hundred, ratio=0.29)["a"]) == 29  # 0.29 * 100 is a little less than 29 in floats


def test_widths_and_negative_scores():
    assert choose_units(SCORES, widths={"a": 3}) == {"a": [3], "b": []}
    assert choose_units(SCORES, negative=True) == {"a": [1, 3], "b": [2]}
    assert choose_units({"a": torch.tensor([-3.0, -1.0, -2.0])}, negative=True) == {"a": [0, 2]}


def test_widths_are_rounded_up_to_a_multiple():
    assert choose_units(SCORES, ratio=0.5, multiple=2) == {"a": [1, 3], "b": [2]}
    assert choose_units(SCORES, ratio=0.5, multiple=3) == {"a": [3], "b": [0, 2]}
    assert choose_units(SCORES, ratio=0.5, multiple=8) == {"a": [], "b": []}  # there are no eight


def test_layers_of_a_group_lose_the_same_units():
    scores = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([9.0, 1.0, 1.0]), "c": torch.tensor([1.0, 0.0])}
    chosen = choose_units(scores, ratio=0.5, groups=[("a", "b"), ("x", "y")])
    assert chosen == {"a": [1], "b": [1], "c": [1]}
    assert list(chosen) == ["a", "b", "c"]
    assert choose_units(scores, widths={"b": 1}, groups=[("a", "b")]) == {"a": [1, 2], "b": [1, 2], "c": []}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of ratio, widths and negative"),
        ({"ratio": 0.5, "negative": True}, "exactly one of ratio, widths and negative"),
        ({"ratio": 1.0}, "ratio 1.0 is not strictly between 0 and 1"),
        ({"ratio": 0}, "ratio 0 is not strictly between 0 and 1"),
        ({"widths": {"a": 5}}, "layer 'a' has 4 units and cannot keep 5"),
        ({"widths": {"a": 0}}, "layer 'a' has 4 units and cannot keep 0"),
        ({"widths": {"d": 1}}, "unknown layer 'd'"),
        ({"ratio": 0.5, "multiple": 0}, "multiple 0 "),
        ({"ratio": 0.5, "groups": [("a", "d")]}, "'a' leave together with those of 'd'"),
        ({"ratio": 0.5, "groups": [("a", "b")]}, "differ in their number of units"),
        ({"widths": {"a": 2, "a2": 3}, "groups": [("a", "a2")]}, r"cannot keep \[2, 3\] units"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ShapPruneError, match=message):
        choose_units(SCORES | {"a2": SCORES["a"]}, **options)


@pytest.mark.parametrize("of", ["parameters", "macs"])
@pytest.mark.parametrize("multiple", [1, 2])
def test_the_largest_network_that_is_small_enough(of, multiple):
    model, x = randomise(ConvNetwork()), images(2)
    scores = {layer.name: torch.arange(layer.units).float() for layer in shapprune.prunable_layers(model, x)}
    count = count_parameters if of == "parameters" else lambda network: count_macs(network, x)
    whole, sizes = count(model), set()
    for share in (1.0, 0.9, 0.6, 0.3):
        chosen = choose_for_size(model, scores, x, multiple=multiple, **{of: int(share * whole)})
        size = count(remove_units(model, chosen, x))
        assert size <= share * whole
        sizes.add(size)
        ratios = [gone / units for units in (4, 6, 8) for gone in range(1, units)]
        larger = [
            found
            for ratio in ratios
            if (found := count(remove_units(model, choose_units(scores, ratio=ratio, multiple=multiple), x)))
            <= share * whole
        ]
        assert size >= max(larger, default=0)
    assert whole in sizes
    assert len(sizes) >= 3


def test_a_size_that_cannot_be_had():
    model, x = ConvNetwork(), images(2)
    scores = {"fc": torch.arange(8.0)}
    with pytest.raises(ShapPruneError, match=r"100 parameters cannot be reached: .* there are [0-9]"):
        choose_for_size(model, scores, x, parameters=100)
    with pytest.raises(ShapPruneError, match="exactly one of parameters and macs"):
        choose_for_size(model, scores, x)


def test_a_size_with_groups():
    model, x = randomise(ResidualNetwork()), images(2)
    layers = shapprune.prunable_layers(model, x, coupled=True)
    scores = {layer.name: torch.arange(layer.units).float() for layer in layers}
    half = count_parameters(model) // 2
    chosen = choose_for_size(model, scores, x, parameters=half, groups=[("stem", "conv2")])
    assert chosen["stem"] == chosen["conv2"] != []
    assert count_parameters(remove_units(model, chosen, x)) <= half


def test_units_leave_until_the_loss_has_grown_too_much():
    game = LayerGame(randomise(ConvNetwork()), "fc", images(12), labels(12))
    order = torch.arange(8)
    loss = removal_curve(game, order).loss
    for growth in (0, 0.01, 0.05, 0.2):
        gone = choose_for_loss(game, order, growth)
        assert gone == list(range(len(gone)))
        assert (loss[: len(gone) + 1] <= loss[0] * (1 + growth)).all()
        assert len(gone) == 7 or loss[len(gone) + 1] > loss[0] * (1 + growth)
    assert len(choose_for_loss(game, order, 1e9)) == 7  # never all
    with pytest.raises(ShapPruneError, match=r"loss_growth -0\.1 "):
        choose_for_loss(game, order, -0.1)

"""Outputs of one or several tensors, compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from shapprune.graph.outputs import are_close, find_difference, map_tensors, tensors_of

ONE, NAN = torch.tensor([1.0, -4.0]), torch.tensor([torch.nan, 1.0])


@dataclass
class Outputs:
    logits: torch.Tensor
    hidden: tuple


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        (ONE, ONE, 0),
        (torch.tensor([1.0, -3.0]), ONE, 0.25),
        ((ONE, ONE + torch.tensor([1.0, 0.0])), (ONE, ONE), 0.25),
        ({"a": ONE, "b": [ONE / 1000 * 2]}, {"a": ONE, "b": [ONE / 1000]}, 1),  # each by its own scale
        (ONE, ONE[:1], math.inf),  # not broadcast
        ((ONE, ONE), (ONE,), math.inf),
        ({"a": ONE}, {"b": ONE}, math.inf),
        (Outputs(ONE, (ONE / 1000 * 2,)), Outputs(ONE, (ONE / 1000,)), 1),
        (NAN, NAN, 0),
        (NAN, torch.tensor([0.0, 1.0]), math.inf),
        (torch.tensor([-torch.inf, 2.0]), torch.tensor([-torch.inf, 1.0]), 1),
        (torch.tensor([1.0]), torch.tensor([0.0]), math.inf),
        (torch.zeros(2), torch.zeros(2), 0),
        (torch.zeros(0), torch.zeros(0), 0),
    ],
)
def test_difference_as_a_share_of_the_largest(found, expected, difference):
    assert find_difference(found, expected) == pytest.approx(difference)
    assert are_close(found, expected) == (difference == 0)


def test_numbers_of_few_digits_round_by_more():
    one, other = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0078125])
    assert not are_close(other, one)
    assert are_close(other.bfloat16(), one.bfloat16())


def test_dataclasses_are_as_good_as_dictionaries():
    outputs = Outputs(ONE, (ONE, None))
    assert list(tensors_of(outputs)) == ["['logits']", "['hidden'][0]"]
    doubled = map_tensors(lambda each: 2 * each, outputs)
    assert isinstance(doubled, Outputs)
    assert torch.equal(doubled.logits, 2 * ONE)
    assert torch.equal(doubled.hidden[0], 2 * ONE)
    assert map_tensors(lambda each: 2 * each, Outputs) is Outputs

"""Losses of examples as functions of some parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from shapprune.parameters.choice import choose_parameters
from shapprune.parameters.loss import Losses
from tests.unit.parameters.cases import examples, small_network


def of(payoff="loss", count=7):
    model, (inputs, labels) = small_network(), examples(count)
    return Losses(model, choose_parameters(model, ["0.weight"]), payoff, inputs, labels), model


def test_losses_are_those_of_each_example_and_follow_the_chosen_parameters():
    losses, model = of()
    inputs, labels = examples(7)
    expected = F.cross_entropy(model(inputs), labels, reduction="none")
    torch.testing.assert_close(losses(inputs, labels), expected.detach())
    losses._weights["0.weight"] = torch.zeros(4, 3, dtype=torch.float64)
    with torch.no_grad():
        model[0].weight.zero_()
    torch.testing.assert_close(losses(inputs, labels), F.cross_entropy(model(inputs), labels, reduction="none"))


def test_batches_are_all_examples_in_turn_with_their_labels():
    losses, _ = of()
    batches = losses.batches(3)
    assert [len(each) for each, _ in batches] == [3, 4]  # a single one goes with those before it
    assert torch.equal(torch.cat([each for each, _ in batches]), examples(7)[0])
    assert torch.equal(torch.cat([each for _, each in batches]), examples(7)[1])


def test_divergences_compare_with_the_intact_network():
    losses, model = of("kl")
    inputs, labels = examples(7)
    answers = losses.answers_of(inputs, labels)
    assert torch.equal(answers, model(inputs))
    assert not answers.requires_grad
    torch.testing.assert_close(losses(inputs, answers), torch.zeros(7).double(), atol=1e-12, rtol=0)

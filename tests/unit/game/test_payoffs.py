"""What a coalition is worth: loss, accuracy, margin, and functions of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame
from shapprune.game.payoffs import minus_loss
from tests.toys import ConvNetwork, images, labels, randomise


def game(**options):
    return LayerGame(randomise(ConvNetwork()), "features.4", images(7), labels(7), **options)


def test_payoffs():
    ones = torch.ones(1, 6, dtype=torch.bool)
    outputs = game().model.eval()(images(7))
    y = labels(7)
    expected = {
        "loss": -nn.functional.cross_entropy(outputs, y, reduction="none"),
        "accuracy": (outputs.argmax(1) == y).float(),
        "margin": torch.stack(
            [row[t] - max(v for i, v in enumerate(row) if i != t) for row, t in zip(outputs, y, strict=True)]
        ),
    }
    for name, values in expected.items():
        torch.testing.assert_close(game(payoff=name).value(ones)[0], values)
    own = game(payoff=lambda outputs, labels: outputs[:, 0])
    torch.testing.assert_close(own.value(ones)[0], outputs[:, 0])
    loss, right = game(payoff="margin").loss_and_accuracy(ones)
    torch.testing.assert_close(loss[0], -expected["loss"])
    torch.testing.assert_close(right[0], expected["accuracy"])


@pytest.mark.parametrize("classes", [2, 10, 32, 33])
def test_the_loss_is_the_cross_entropy(classes):
    torch.manual_seed(0)
    outputs, y = 30 * torch.randn(50, classes, requires_grad=True), torch.arange(50) % classes
    found, expected = minus_loss(outputs, y), -nn.functional.cross_entropy(outputs, y, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each.sum(), outputs)[0] for each in (found, expected)))

"""What operations do to units."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from shapprune.graph.operations import Meaning, is_depthwise, meaning_of_function, meaning_of_module

MODULES = [
    (nn.BatchNorm2d(4), Meaning.NORM),
    (nn.GELU(), Meaning.ZERO),
    (nn.Sigmoid(), Meaning.ACTIVATION),
    (nn.AdaptiveAvgPool2d(1), Meaning.POOLING),
    (nn.Dropout(), Meaning.POOLING),
    (nn.ZeroPad2d(1), Meaning.POOLING),
    (nn.ReflectionPad2d(1), Meaning.POOLING),
    (nn.ConstantPad2d(1, 2.0), Meaning.OTHER),
    (nn.Flatten(), Meaning.FLATTEN),
    (nn.Conv2d(4, 4, 3, groups=4), Meaning.DEPTHWISE),
    (nn.Conv2d(4, 4, 3, groups=2), Meaning.OTHER),
    (nn.Conv2d(4, 4, 3), Meaning.MIXES),
    (nn.Linear(4, 4), Meaning.MIXES),
    (nn.Softmax(1), Meaning.OTHER),
]


@pytest.mark.parametrize(("module", "meaning"), MODULES, ids=lambda each: type(each).__name__)
def test_modules(module, meaning):
    assert meaning_of_module(module) is meaning
    assert is_depthwise(module) == (meaning is Meaning.DEPTHWISE)


def test_functions_and_methods():
    def forward(x):
        y = nn.functional.max_pool2d(torch.relu(x), 2) + torch.sigmoid(x)
        y = torch.cat([y, y * 2], 1).view(2, -1)
        y += 1
        return torch.softmax(y, 1)

    graph = fx.Tracer().trace(forward)
    assert {node.name: str(meaning_of_function(node)) for node in graph.nodes if node.op.startswith("call")} == {
        "relu": "zero",
        "max_pool2d": "pooling",
        "sigmoid": "activation",
        "add": "add",
        "mul": "scale",
        "cat": "join",
        "view": "flatten",
        "add_1": "add",  # of a number: only the shapes tell
        "softmax": "other",
    }

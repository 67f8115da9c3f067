"""Inputs of a layer as rows."""

import pytest
import torch
from torch import nn

from shapprune.graph.rows import Linear, input_rows, output_rows, some_input_rows


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        pytest.param(nn.Conv2d(3, 4, 3, bias=False), (6, 3, 7, 5), id="plain"),
        pytest.param(nn.Conv2d(3, 4, (3, 2), (2, 1), (1, 0), (1, 2), bias=False), (6, 3, 8, 9), id="uneven"),
        pytest.param(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect", bias=False), (6, 3, 6, 6), id="reflect"),
        pytest.param(nn.Conv2d(3, 4, 1, 2, bias=False), (6, 3, 5, 4), id="pointwise"),
        pytest.param(nn.Linear(3, 4, bias=False), (6, 5, 3), id="tokens"),
    ],
)
@pytest.mark.parametrize("count", [pytest.param(6, id="images"), pytest.param(3, id="two windows an image")])
def test_some_rows_are_those_of_all(layer: Linear, shape: tuple[int, ...], count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator)
    rows = input_rows(layer, values).reshape(count, -1, layer.weight[0].numel())
    images = torch.tensor([[2], [0]])
    positions = torch.stack([torch.randperm(rows.shape[1], generator=generator)[:7] for _ in images])
    some = some_input_rows(layer, values, count, images, positions)
    assert torch.equal(some, rows[images, positions])
    outputs = output_rows(layer, layer(values)).reshape(count, -1, 4)[images, positions]
    assert torch.allclose(some @ layer.weight.flatten(1).mT, outputs, atol=1e-5)

"""Layers as matrix products: equal to the layers they stand for, gradients in the values included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune.game import cpu_products as products
from shapprune.game.cpu_products import MapProduct, Product, suits


@pytest.fixture(params=["oneDNN", "without"])
def product(request, monkeypatch):
    """With oneDNN's own linear layer, where it is there, and without."""
    if request.param == "without":
        monkeypatch.setattr(products, "onednn_linear", lambda: None)
    elif products.onednn_linear() is None:
        pytest.skip("this torch has no oneDNN")


def same(found, layer, values):
    """Outputs and gradients are those of the layer."""
    made = []
    for run in (found, layer):
        given = values.clone().requires_grad_(True)
        outputs = run(given)
        (gradient,) = torch.autograd.grad((outputs * outputs.detach().cos()).sum(), given)
        with torch.no_grad():
            torch.testing.assert_close(run(values), outputs.detach())
        made.append((outputs.detach(), gradient))
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-5)
    return True


@pytest.mark.parametrize("shape", [(1,), (33,), (4, 5), (0,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer(product, shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(24, 17, bias=bias)
    values = torch.randn(*shape, 48)[..., ::2]  # not contiguous
    assert same(Product(layer.weight, layer.bias), layer, values)


CONVOLUTIONS = {
    "3 x 3 on 2 x 2": ({"kernel_size": 3, "padding": 1}, (2, 2)),
    "on one position": ({"kernel_size": 3, "padding": 1}, (1, 1)),
    "5 x 5 on 4 x 3": ({"kernel_size": 5, "padding": 2}, (4, 3)),
    "stride": ({"kernel_size": 3, "padding": 1, "stride": 2}, (2, 3)),
    "dilation": ({"kernel_size": 3, "padding": 2, "dilation": 2}, (2, 4)),
    "of two sizes": ({"kernel_size": (3, 2), "padding": (1, 0), "stride": (2, 1)}, (2, 2)),
    "without bias": ({"kernel_size": 3, "padding": 1, "bias": False}, (2, 2)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_of_a_small_map(product, name, memory_format):
    options, size = CONVOLUTIONS[name]
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 5, **options)
    values = torch.randn(7, 6, *size).to(memory_format=memory_format)
    out_size = layer(values).shape[2:]
    assert suits(layer, size, out_size)
    assert same(MapProduct(layer, size, out_size), layer, values)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"groups": 2}, (2, 2)),
        ({"padding_mode": "circular"}, (2, 2)),
        ({"padding": "same"}, (2, 2)),
        ({"dtype": torch.float64}, (2, 2)),
        ({}, (3, 3)),
        ({"out_channels": 2**19}, (2, 2)),
    ],
)
def test_what_stays_a_convolution(options, size):
    layer = nn.Conv2d(**({"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1} | options))
    assert suits(nn.Conv2d(4, 4, 3, padding=1), (2, 2), (2, 2))
    assert not suits(layer, size, size)


def test_a_rougher_precision_is_that_of_the_layer():
    torch.manual_seed(0)
    layer, values = nn.Linear(64, 8), torch.randn(5, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(Product(layer.weight, layer.bias)(values), layer(values))


def test_a_torch_without_it_is_no_hindrance(monkeypatch):
    def missing(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(products.F, "linear", missing)  # the comparison fails as the operator would
    assert products.onednn_linear.__wrapped__() is None

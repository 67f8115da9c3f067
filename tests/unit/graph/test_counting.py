"""Parameters and multiply-accumulate operations, counted by hand."""

from __future__ import annotations

from shapprune.graph.counting import count_macs, count_parameters
from tests.toys import ConvNetwork, images


def test_counting():
    model = ConvNetwork()
    assert count_parameters(model) == sum(p.numel() for p in model.parameters())
    # conv 4x1x9 on 64 positions, conv 6x4x9 on 16, linear 24x8, linear 8x3
    assert count_macs(model, images(2)) == 36 * 64 + 216 * 16 + 192 + 24

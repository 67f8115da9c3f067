"""The parts of a ResNet."""

from __future__ import annotations

import torch

from shapprune.networks.resnet import Shortcut


def test_the_shortcut_pads_half_before_and_half_behind():
    maps = torch.arange(2 * 3 * 3.0).view(1, 2, 3, 3)
    out = Shortcut(2, 4)(maps)
    assert out.shape == (1, 4, 2, 2)
    assert torch.equal(out[:, 1:3], maps[:, :, ::2, ::2])
    assert not out[:, [0, 3]].any()

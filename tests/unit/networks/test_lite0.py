"""The sizes of EfficientNet-Lite0."""

from __future__ import annotations

import pytest

from shapprune.core.errors import ShapPruneError
from shapprune.networks.lite0 import lite0_blocks
from shapprune.networks.tables import layer_table


def test_channels_are_rounded_as_tensorflow_rounds_them():
    assert [block.outputs for block in lite0_blocks(1.1)] == [
        *(16, 24, 24, 48, 48, 88, 88, 88, 120, 120, 120, 208, 208, 208, 208, 352)
    ]
    assert min(block.outputs for block in lite0_blocks(0.01)) == 8
    with pytest.raises(ShapPruneError, match="width"):
        layer_table("efficientnet_lite0", {"width": 0})

"""The sizes of EfficientNet-Lite0. Importing this module does not import torch."""

from __future__ import annotations

from typing import NamedTuple

# EfficientNet-Lite0: channels of the stem and of the last convolution; then, for each stage, the number of its blocks,
# the side of their depthwise convolutions, the stride of the first, how far they expand their channels, their outputs.
LITE0_STEM, LITE0_HEAD = 32, 1280
_LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class InvertedBlock(NamedTuple):
    """The sizes of an inverted residual: a narrow input is expanded, filtered depthwise, and projected to few channels.

    Attributes:
        kernel: side of the depthwise convolution.
        stride: its stride.
        inputs: channels that enter the block.
        inner: channels of the depthwise convolution.
        outputs: channels that leave the block.
    """

    kernel: int
    stride: int
    inputs: int
    inner: int
    outputs: int

    @property
    def expands(self) -> bool:
        """Whether a 1x1 convolution expands the input."""
        return self.inner != self.inputs

    @property
    def adds(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.inputs == self.outputs


def lite0_blocks(width: float) -> list[InvertedBlock]:
    """The blocks of EfficientNet-Lite0, their channels times ``width`` in multiples of 8, rounded as by TensorFlow."""

    def scaled(channels: int) -> int:
        rounded = max(8, int(channels * width + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * channels * width else rounded + 8

    blocks, inputs = list[InvertedBlock](), LITE0_STEM
    for count, kernel, stride, expansion, outputs in _LITE0_STAGES:
        for place in range(count):
            blocks.append(InvertedBlock(kernel, 1 if place else stride, inputs, expansion * inputs, scaled(outputs)))
            inputs = scaled(outputs)
    return blocks

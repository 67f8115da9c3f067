"""The table of architectures: their builders, options and layers. Importing this module does not import torch.

A new architecture is a module with its network and a row of `ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.options import Option
from shapprune.core.options import settle as settle_options

# Names of non-linearities -> of the classes in torch.nn.
NONLINEARITIES = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "GELU",
}
# VGG-16 (Simonyan and Zisserman 2015, configuration D): channels of the 3x3 convolutions, a pooling after each row.
VGG16_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
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


@dataclass(frozen=True)
class Architecture:
    """What is known of an architecture before it is built.

    Attributes:
        builder: the function or class that builds it, ``module:name``, called with the shape of an image, the number of
            classes and all options.
        layers: from all options to the units of each prunable layer, in forward order, without the output layer.
        image: the image shapes it takes, in words.
        takes: whether it takes images of this shape (channels, height, width).
        options: what can be chosen in it.
        normed: whether a BatchNorm follows a layer.
    """

    builder: str
    layers: Callable[[Mapping[str, Any]], dict[str, int]]
    image: str
    takes: Callable[[tuple[int, int, int]], bool]
    options: Mapping[str, Option] = field(default_factory=dict)
    normed: Callable[[str], bool] = lambda layer: False


def _widths(count: int, default: list[int] | None) -> Option:
    return Option(list, default, "units of each layer", each=Option(int, minimum=1), length=count)


def _mlp_layers(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(("fc1", "fc2"), options["widths"] or [options["width"]] * 2, strict=True))


def _lenet5_layers(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(("conv1", "conv2", "fc1", "fc2"), options["widths"], strict=True))


def _vgg16_layers(_: Mapping[str, Any]) -> dict[str, int]:
    layers, index = {}, 0
    for row in VGG16_CHANNELS:
        for channels in row:
            layers[f"features.{index}"] = channels
            index += 3  # the convolution, its BatchNorm and its ReLU
        index += 1  # the pooling
    return layers | {"classifier.1": 512, "classifier.4": 512}


def _resnet(depth: int) -> Architecture:
    """A CIFAR ResNet with the first convolution of each block; the other layers share their units with a shortcut."""
    blocks = [(stage, block) for stage in (1, 2, 3) for block in range((depth - 2) // 6)]
    layers = {f"layer{stage}.{block}.conv1": 8 * 2**stage for stage, block in blocks}
    return Architecture(
        f"shapprune.networks.resnet:resnet{depth}",
        lambda _: dict(layers),
        "at least 4 x 4 pixels",
        lambda shape: min(shape[1:]) >= 4,
        normed=lambda layer: True,
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


def _lite0_layers(options: Mapping[str, Any]) -> dict[str, int]:
    """The stem, expansions, the last convolution, and projections whose outputs no sum shares."""
    blocks, layers = lite0_blocks(options["width"]), {"_conv_stem": LITE0_STEM}
    for place, block in enumerate(blocks):
        if block.expands:
            layers[f"_blocks.{place}._expand_conv"] = block.inner
        if not any(each.adds for each in blocks[place : place + 2]):
            layers[f"_blocks.{place}._project_conv"] = block.outputs
    return layers | {"_conv_head": LITE0_HEAD}


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(
        "shapprune.networks.plain:MLP",
        _mlp_layers,
        "of any size",
        lambda shape: True,
        {
            "width": Option(int, 256, "units of both layers", minimum=1),
            "widths": _widths(2, None),
            "nonlinearity": Option(str, "relu", "what follows each layer", choices=tuple(NONLINEARITIES)),
        },
    ),
    "lenet5": Architecture(
        "shapprune.networks.plain:LeNet5",
        _lenet5_layers,
        "at least 16 x 16 pixels",
        lambda shape: min(shape[1:]) >= 16,
        {"widths": _widths(4, [10, 20, 100, 25])},
    ),
    "fmnist_cnn": Architecture(
        "shapprune.networks.plain:FashionCNN",
        lambda _: {"conv1": 32, "conv2": 64, "fc1": 4096},
        "at least 2 x 2 pixels",
        lambda shape: min(shape[1:]) >= 2,
    ),
    "vgg16": Architecture(
        "shapprune.networks.vgg:VGG16",
        _vgg16_layers,
        "of 3 channels and 32 to 63 pixels a side",
        lambda shape: shape[0] == 3 and min(shape[1:]) >= 32 and max(shape[1:]) < 64,
        normed=lambda layer: layer.startswith("features."),
    ),
    **{f"resnet{depth}": _resnet(depth) for depth in (20, 32, 44, 56)},
    "efficientnet_lite0": Architecture(
        "shapprune.networks.efficientnet:EfficientNetLite0",
        _lite0_layers,
        "of any size",
        lambda shape: True,
        {"width": Option(float, 1.0, "multiplies the channels of the blocks", above=0)},
        normed=lambda layer: True,
    ),
}


def settle(architecture: str, options: Mapping[str, Any], shape: tuple[int, int, int] | None = None) -> dict[str, Any]:
    """Check the options of an architecture, and fill in the defaults of the others.

    Args:
        architecture: a name in `ARCHITECTURES`.
        options: those given, by name.
        shape: channels, height and width of an image, to be checked too.

    Raises:
        ShapPruneError: an unknown architecture or option, a bad value, or images the architecture cannot take.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    known = ARCHITECTURES[architecture]
    settled = settle_options(known.options, options, architecture)
    if {"width", "widths"} <= options.keys():
        raise ShapPruneError(f"give {architecture} either width or widths, not both")
    if shape is not None and not known.takes(shape):
        raise ShapPruneError(f"{architecture} takes images {known.image}, not {' x '.join(map(str, shape))}")
    return settled


def builder_functions(architecture: str) -> tuple[str, ...]:
    """The function that builds an architecture, as ``module:name``, for the key of what it builds; none if unknown."""
    if ":" in architecture:
        return (architecture,)
    return (ARCHITECTURES[architecture].builder,) if architecture in ARCHITECTURES else ()


def without_batchnorm(architecture: str, layers: Iterable[str]) -> list[str]:
    """The layers that no BatchNorm follows; none of an architecture of one's own, of which that is not known."""
    if architecture not in ARCHITECTURES:
        return []
    return [layer for layer in layers if not ARCHITECTURES[architecture].normed(layer)]


def layer_table(
    architecture: str, options: Mapping[str, Any], shape: tuple[int, int, int] | None = None
) -> dict[str, int]:
    """The units of each prunable layer of an architecture, in forward order, without the output layer.

    Args:
        architecture: a name in `ARCHITECTURES`; the layers of one's own are not known before it is built.
        options: given to the builder.
        shape: channels, height and width of an image, checked when given; no layer's units depend on it.

    Raises:
        ShapPruneError: as `settle`, and for an architecture of one's own.
    """
    if ":" in architecture:
        raise ShapPruneError(
            f"the layers of {architecture} are not known before it is built: list them with their units, e.g."
            " layers: {conv1: 20, conv2: 50}"
        )
    settled = settle(architecture, options, shape)
    return ARCHITECTURES[architecture].layers(settled)

"""The table of architectures: their builders, options and layers. Importing this module does not import torch.

A new architecture is a module with its network and a row of `ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.games import PARTS
from shapprune.core.options import Option
from shapprune.core.options import settle as settle_options
from shapprune.networks.lite0 import LITE0_HEAD, LITE0_STEM, lite0_blocks

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
# CCT: channels of the convolutions before the last one.
CCT_CHANNELS = 64


@dataclass(frozen=True)
class Architecture:
    """What is known of an architecture before it is built.

    Attributes:
        builder: the function or class that builds it, ``module:name``, called with the shape of an image, the number of
            classes and all options; one of sequences with their length as a shape, and the size of the vocabulary.
        layers: from all options to the units of each prunable layer, in forward order, without the output layer. Units
            of an attention are its heads.
        image: the image shapes it takes, in words.
        takes: whether it takes images of this shape (channels, height, width), given all options.
        options: what can be chosen in it.
        normed: whether a BatchNorm follows a layer.
        tokens: whether it takes sequences of tokens in the place of images.
        parts: from all options to how many residual ``branches`` and ``blocks`` it has; it has none where that is left
            out (`shapprune.core.games.PARTS`).
    """

    builder: str
    layers: Callable[[Mapping[str, Any]], dict[str, int]]
    image: str = "of any size"
    takes: Callable[[tuple[int, ...], Mapping[str, Any]], bool] = lambda shape, options: len(shape) == 3
    options: Mapping[str, Option] = field(default_factory=dict)
    normed: Callable[[str], bool] = lambda layer: False
    tokens: bool = False
    parts: Callable[[Mapping[str, Any]], dict[str, int]] = lambda options: {}


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
        lambda shape, _: len(shape) == 3 and min(shape[1:]) >= 4,
        normed=lambda layer: True,
        # The first block of the second and third stage halves the size, so only its branch can be skipped.
        parts=lambda _: {"branches": len(blocks), "blocks": len(blocks) - 2},
    )


def _transformer_parts(options: Mapping[str, Any]) -> dict[str, int]:
    """An attention and a feed-forward part a block."""
    return {"branches": 2 * options["depth"], "blocks": options["depth"]}


def _block_layers(block: str, attention: str, first: str) -> Callable[[Mapping[str, Any]], dict[str, int]]:
    """The layers of a transformer: the heads of each attention, and the neurons of the first linear layer behind it.

    Args:
        block: name of a block, with ``{}`` for its number.
        attention: name of its attention.
        first: name of its first linear layer.
    """

    def layers(options: Mapping[str, Any]) -> dict[str, int]:
        units = {attention: options["heads"], first: options["hidden"]}
        places = range(options["depth"])
        return {f"{block.format(place)}.{name}": count for place in places for name, count in units.items()}

    return layers


def _cct_layers(options: Mapping[str, Any]) -> dict[str, int]:
    """The convolutions but the last, whose channels are the width of all tokens, and the blocks."""
    convolutions = {f"tokenizer.conv_layers.{place}.0": CCT_CHANNELS for place in range(options["convolutions"] - 1)}
    return convolutions | _block_layers("classifier.blocks.{}", "self_attn", "linear1")(options)


def _transformer(width: int, depth: int, heads: int, head_dim: int, hidden: int) -> dict[str, Option]:
    """The options of a transformer with their defaults."""
    return {
        "width": Option(int, width, "numbers in a token", minimum=1),
        "depth": Option(int, depth, "blocks", minimum=1),
        "heads": Option(int, heads, "heads of each attention", minimum=1),
        "head_dim": Option(int, head_dim, "numbers in a query, key or value of a head", minimum=1),
        "hidden": Option(int, hidden, "neurons between the two linear layers of a block", minimum=1),
    }


def _lite0_layers(options: Mapping[str, Any]) -> dict[str, int]:
    """The stem, expansions, the last convolution, and projections whose outputs no sum shares."""
    blocks, layers = lite0_blocks(options["width"]), {"_conv_stem": LITE0_STEM}
    for place, block in enumerate(blocks):
        if block.expands:
            layers[f"_blocks.{place}._expand_conv"] = block.inner
        if not any(each.adds for each in blocks[place : place + 2]):
            layers[f"_blocks.{place}._project_conv"] = block.outputs
    return layers | {"_conv_head": LITE0_HEAD}


def _lite0_parts(options: Mapping[str, Any]) -> dict[str, int]:
    """A branch, and a block of it alone, wherever the size stays."""
    return dict.fromkeys(PARTS, sum(block.adds for block in lite0_blocks(options["width"])))


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(
        "shapprune.networks.plain:MLP",
        _mlp_layers,
        "of any size",
        lambda shape, _: True,
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
        lambda shape, _: len(shape) == 3 and min(shape[1:]) >= 16,
        {"widths": _widths(4, [10, 20, 100, 25])},
    ),
    "fmnist_cnn": Architecture(
        "shapprune.networks.plain:FashionCNN",
        lambda _: {"conv1": 32, "conv2": 64, "fc1": 4096},
        "at least 2 x 2 pixels",
        lambda shape, _: len(shape) == 3 and min(shape[1:]) >= 2,
    ),
    "vgg16": Architecture(
        "shapprune.networks.vgg:VGG16",
        _vgg16_layers,
        "of 3 channels and 32 to 63 pixels a side",
        lambda shape, _: len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= 32 and max(shape[1:]) < 64,
        normed=lambda layer: layer.startswith("features."),
    ),
    **{f"resnet{depth}": _resnet(depth) for depth in (20, 32, 44, 56)},
    "efficientnet_lite0": Architecture(
        "shapprune.networks.efficientnet:EfficientNetLite0",
        _lite0_layers,
        options={"width": Option(float, 1.0, "multiplies the channels of the blocks", above=0)},
        normed=lambda layer: True,
        parts=_lite0_parts,
    ),
    "cct": Architecture(
        "shapprune.networks.transformers:CCT",
        _cct_layers,
        options={
            "convolutions": Option(int, 2, "convolutions with pooling that make the tokens", minimum=1),
            **_transformer(width=128, depth=2, heads=2, head_dim=64, hidden=128),
        },
        # A norm stands behind the first sum of a block, so no block hands on what it is given.
        parts=lambda options: {"branches": 2 * options["depth"]},
    ),
    "vit": Architecture(
        "shapprune.networks.transformers:ViT",
        _block_layers("blocks.{}", "attn", "fc1"),
        "whose sides are multiples of the patch",
        lambda shape, options: len(shape) == 3 and not any(side % options["patch"] for side in shape[1:]),
        {
            "patch": Option(int, 4, "pixels a side of the square that becomes a token", minimum=1),
            **_transformer(width=64, depth=4, heads=4, head_dim=16, hidden=128),
        },
        parts=_transformer_parts,
    ),
    "char_gpt": Architecture(
        "shapprune.networks.transformers:CharGPT",
        _block_layers("blocks.{}", "attn", "fc1"),
        options=_transformer(width=128, depth=4, heads=4, head_dim=32, hidden=512),
        tokens=True,
        parts=_transformer_parts,
    ),
}


def settle(architecture: str, options: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Check the options of an architecture, and fill in the defaults of the others.

    Args:
        architecture: a name in `ARCHITECTURES`.
        options: those given, by name.
        shape: channels, height and width of an image, or the length of a sequence of tokens, to be checked too.

    Raises:
        ShapPruneError: an unknown architecture or option, a bad value, or images the architecture cannot take.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    known = ARCHITECTURES[architecture]
    settled = settle_options(known.options, options, architecture)
    if {"width", "widths"} <= options.keys():
        raise ShapPruneError(f"give {architecture} either width or widths, not both")
    if shape is not None and not (len(shape) == 1 if known.tokens else known.takes(shape, settled)):
        taken = "sequences of tokens" if known.tokens else f"images {known.image}"
        raise ShapPruneError(f"{architecture} takes {taken}, not {' x '.join(map(str, shape))}")
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


def part_table(architecture: str, options: Mapping[str, Any]) -> dict[str, int]:
    """How many residual branches and blocks an architecture has, by `shapprune.core.games.PARTS`; empty without any.

    Args:
        architecture: a name in `ARCHITECTURES`.
        options: given to the builder.

    Raises:
        ShapPruneError: as `settle`.
    """
    return ARCHITECTURES[architecture].parts(settle(architecture, options))


def layer_table(architecture: str, options: Mapping[str, Any], shape: tuple[int, ...] | None = None) -> dict[str, int]:
    """The units of each prunable layer of an architecture, in forward order, without the output layer.

    Args:
        architecture: a name in `ARCHITECTURES`; the layers of one's own are not known before it is built.
        options: given to the builder.
        shape: channels, height and width of an image, or the length of a sequence of tokens, checked when given; no
            layer's units depend on it.

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

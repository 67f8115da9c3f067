"""Which architectures there are, what can be chosen in each, and which layers each has; all known without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown

NONLINEARITIES = ("relu", "leaky_relu", "tanh", "sigmoid", "gelu")

# VGG-16 (Simonyan and Zisserman 2015, configuration D): channels of the 3x3 convolutions, a pooling after each row.
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@dataclass(frozen=True)
class Option:
    """One thing that can be chosen in an architecture.

    Attributes:
        default: its value when it is not given.
        text: what it may be, as error messages say it.
        valid: whether a value may be given.
    """

    default: Any
    text: str
    valid: Callable[[Any], bool]


@dataclass(frozen=True)
class Architecture:
    """What is known of an architecture before it is built.

    Attributes:
        options: what can be chosen in it.
        layers: from all options to the units of each prunable layer, in forward order, without the output layer.
        image: the image shapes it takes, as error messages say it.
        takes: whether it takes images of this shape (channels, height, width).
        normed: whether a BatchNorm follows a layer.
    """

    options: Mapping[str, Option]
    layers: Callable[[Mapping[str, Any]], dict[str, int]]
    image: str
    takes: Callable[[tuple[int, int, int]], bool]
    normed: Callable[[str], bool] = lambda layer: False


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _widths(count: int, default: list[int] | None) -> Option:
    def valid(value: object) -> bool:
        return isinstance(value, list | tuple) and len(value) == count and all(map(_positive, value))

    return Option(default, f"a list of {count} positive integers", valid)


def _mlp_layers(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(("fc1", "fc2"), options["widths"] or [options["width"]] * 2, strict=True))


def _lenet5_layers(options: Mapping[str, Any]) -> dict[str, int]:
    return dict(zip(("conv1", "conv2", "fc1", "fc2"), options["widths"], strict=True))


def _vgg16_layers(_: Mapping[str, Any]) -> dict[str, int]:
    layers, index = {}, 0
    for row in _VGG16:
        for channels in row:
            layers[f"features.{index}"] = channels
            index += 3  # the convolution, its BatchNorm and its ReLU
        index += 1  # the pooling
    return layers | {"classifier.1": 512, "classifier.4": 512}


def _resnet(depth: int) -> Architecture:
    """Only the first convolution of each block is listed: the others' units are added to those of the shortcut."""
    blocks = [(stage, block) for stage in (1, 2, 3) for block in range((depth - 2) // 6)]
    layers = {f"layer{stage}.{block}.conv1": 8 * 2**stage for stage, block in blocks}
    return Architecture(
        {},
        lambda _: dict(layers),
        "at least 4 x 4 pixels",
        lambda shape: min(shape[1:]) >= 4,
        normed=lambda layer: True,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(
        {
            "width": Option(256, "a positive integer", _positive),
            "widths": _widths(2, None),
            "nonlinearity": Option(
                "relu", f"one of {', '.join(NONLINEARITIES)}", lambda value: value in NONLINEARITIES
            ),
        },
        _mlp_layers,
        "of any size",
        lambda shape: True,
    ),
    "lenet5": Architecture(
        {"widths": _widths(4, [10, 20, 100, 25])},
        _lenet5_layers,
        "at least 16 x 16 pixels",
        lambda shape: min(shape[1:]) >= 16,
    ),
    "fmnist_cnn": Architecture(
        {},
        lambda _: {"conv1": 32, "conv2": 64, "fc1": 4096},
        "at least 2 x 2 pixels",
        lambda shape: min(shape[1:]) >= 2,
    ),
    "vgg16": Architecture(
        {},
        _vgg16_layers,
        "of 3 channels and 32 to 63 pixels a side",
        lambda shape: shape[0] == 3 and min(shape[1:]) >= 32 and max(shape[1:]) < 64,
        normed=lambda layer: layer.startswith("features."),
    ),
    "resnet20": _resnet(20),
    "resnet56": _resnet(56),
}


def settle(architecture: str, options: Mapping[str, Any], shape: tuple[int, int, int] | None = None) -> dict[str, Any]:
    """All options of an architecture: those given, checked, and the defaults of the others.

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
    for name, value in options.items():
        if name not in known.options:
            if not known.options:
                raise ShapPruneError(f"architecture {architecture} has no options, but {name!r} was given")
            raise unknown(f"option of {architecture}", name, known.options)
        if not known.options[name].valid(value):
            raise ShapPruneError(f"option {name} of {architecture} must be {known.options[name].text}, not {value!r}")
    if {"width", "widths"} <= options.keys():
        raise ShapPruneError(f"give {architecture} either width or widths, not both")
    if shape is not None and not known.takes(shape):
        raise ShapPruneError(f"{architecture} takes images {known.image}, not {' x '.join(map(str, shape))}")
    return {name: option.default for name, option in known.options.items()} | dict(options)


def without_batchnorm(architecture: str, layers: Iterable[str]) -> list[str]:
    """The layers that no BatchNorm follows; none where it is not known, of an architecture of one's own."""
    if architecture not in ARCHITECTURES:
        return []
    return [layer for layer in layers if not ARCHITECTURES[architecture].normed(layer)]


def layer_table(
    architecture: str, options: Mapping[str, Any], shape: tuple[int, int, int] | None = None
) -> dict[str, int]:
    """The units of each prunable layer of an architecture, in forward order, without the output layer.

    Args:
        architecture: a name in `ARCHITECTURES`; what a function of one's own will build is not known beforehand.
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

"""Build networks: architectures by name, and those of one's own. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.resolve import call_function, resolve_function
from shapprune.networks.tables import ARCHITECTURES, layer_table, settle

if TYPE_CHECKING:
    from torch import nn

    from shapprune.data.prepared import DataInfo

__all__ = ["ARCHITECTURES", "build", "build_own", "builder_of", "layer_table"]


def build(architecture: str, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10, **options: Any) -> nn.Module:
    """Build a network with random weights from torch's global generator.

    `shapprune.networks.randomness.seeded` makes them a function of a seed.

    Args:
        architecture: a name in `ARCHITECTURES`, or ``"package.module:function"``. Such a function is called with the
            options alone and returns the network.
        shape: channels, height and width of an image, or the length of a sequence of tokens.
        classes: number of outputs; of sequences the size of the vocabulary.
        options: options of the architecture.

    Raises:
        ShapPruneError: an unknown architecture or option, a bad value, images the architecture cannot take, or a
            function of one's own that does not exist or returns something else.

    Examples:
        >>> from shapprune.networks.builders import build
        >>> network = build("lenet5", (1, 28, 28), 10, widths=[4, 8, 16, 12])
        >>> network.conv2.out_channels
        8
    """
    if ":" in architecture:
        return build_own(architecture, options)
    settled = settle(architecture, options, shape)
    return resolve_function(ARCHITECTURES[architecture].builder, "architecture")(shape, classes, **settled)


def build_own(architecture: str, options: Mapping[str, Any]) -> nn.Module:
    """Build a network by a function of one's own.

    Args:
        architecture: ``"package.module:function"``.
        options: the arguments of the function.

    Raises:
        ShapPruneError: it does not exist, does not take the options, fails, or does not return a network.
    """
    from torch import nn

    if isinstance(resolve_function(architecture, "architecture"), nn.Module):
        raise ShapPruneError(f"architecture {architecture!r} is a network; name a function that builds it")
    model = call_function(architecture, "architecture", options)
    if not isinstance(model, nn.Module):
        raise ShapPruneError(f"architecture {architecture!r} must return a torch.nn.Module, not {type(model).__name__}")
    return model


def builder_of(network: Mapping[str, Any], info: DataInfo) -> Callable[[], nn.Module]:
    """A function without arguments that builds a network with random weights.

    Args:
        network: its settings in the configuration.
        info: its data set.
    """
    architecture, options = network["architecture"], network["options"]
    if ":" in architecture:
        return lambda: build_own(architecture, options)
    return lambda: build(architecture, shape=info.shape, classes=info.classes, **options)

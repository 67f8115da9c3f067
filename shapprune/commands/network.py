"""The network that a command works on: a file of weights, and what builds it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Size, nn

from shapprune.commands.arguments import mapping
from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum, read_json
from shapprune.networks.builders import build, build_own
from shapprune.networks.storage import load, load_weights, read_weights


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and what builds the network that they are of.

    Attributes:
        path: the file.
        architecture: a name, or ``package.module:function``.
        options: of the builder.
        facts: the manifest that `shapprune.save` has written beside the file; empty where there is none.
        shapes: of all tensors in the file.
    """

    path: Path
    architecture: str
    options: Mapping[str, Any]
    facts: Mapping[str, Any]
    shapes: Mapping[str, Size]

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        return checksum(self.path, "sha256")

    def told(self) -> dict[str, Any]:
        """What a manifest says of the network, so that it can be built again."""
        return {"architecture": self.architecture, "options": dict(self.options)}

    def channels(self, size: tuple[int, int]) -> int | None:
        """How many channels an image of this height and width has by the first layer's weights; None if they hide it.

        They are [outputs, channels, ...] of a convolution or [outputs, channels * height * width] of a linear layer.
        """
        state = self._build((3, *size)).state_dict()
        first = next((name for name, tensor in state.items() if tensor.dim() > 1), None)
        if first is None:
            return None
        shape = self.shapes.get(first, state[first].shape)
        if len(shape) > 2:
            return shape[1]
        channels, left = divmod(shape[1], math.prod(size))
        return None if left else channels

    def network(self, shape: tuple[int, ...]) -> nn.Module:
        """The network with its weights, in eval mode, also when units were removed from it.

        Args:
            shape: channels, height and width of an image, which the named architectures are built for.

        Raises:
            ShapPruneError: it cannot be built, or the weights are not of it; the first tensor that differs is named.
        """

        def make() -> nn.Module:
            return self._build(shape)

        return load(self.path, make) if self.facts else load_weights(make(), self.path)

    def _build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network with fresh weights; the named architectures with as many outputs as the file has."""
        model = build_network(self.architecture, self.options, shape)
        if ":" in self.architecture or "classes" in self.options:
            return model
        *_, last = model.state_dict()  # the bias of the output layer
        classes = self.shapes.get(last) or [0]
        return build_network(self.architecture, {"classes": classes[0], **self.options}, shape) if classes[0] else model


def open_checkpoint(given: argparse.Namespace) -> Checkpoint:
    """Read what the arguments of `shapprune.commands.arguments.add_network` name.

    Raises:
        ShapPruneError: no such file, not weights, or nothing that says what builds the network.
    """
    path: Path = given.checkpoint
    shapes = {name: tensor.shape for name, tensor in read_weights(path).items()}
    manifest = path.with_suffix(".json")
    found = read_json(manifest) if path.suffix == ".safetensors" and manifest.exists() else {}
    facts = found if "kept" in found else {}  # or it is of somebody else
    told = facts.get("network", {})
    architecture = given.architecture or told.get("architecture")
    if architecture is None:
        raise ShapPruneError(f"nothing says what builds the network of {path}: give --architecture")
    options = mapping(given.options, "--options", "{width: 64}")
    if given.options is None and architecture == told.get("architecture"):
        options = told.get("options", {})
    return Checkpoint(path, architecture, options, facts, shapes)


def build_network(architecture: str, options: Mapping[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """Build a network with fresh weights, as `shapprune.networks.builders.build` does.

    A function of one's own gets all options, also those that are called ``shape`` or ``classes``; the named
    architectures take ``classes`` as an option too.

    Raises:
        ShapPruneError: as `build`, and where a function of one's own does not take the options.
    """
    if ":" not in architecture:
        return build(architecture, **{"shape": shape, **options})
    return build_own(architecture, options)

"""The network of a command: a file of weights, and what builds it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Size, nn

from shapprune.commands.arguments import read_mapping
from shapprune.commands.channels import channels_taken, find_channels
from shapprune.core.errors import ShapPruneError, few
from shapprune.core.files import checksum
from shapprune.networks.builders import build, build_own
from shapprune.networks.state_dicts import name_as
from shapprune.networks.storage import load, manifest_of
from shapprune.networks.weights import load_weights, read_weights


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights, and what builds their network.

    Attributes:
        path: the file.
        architecture: a name, or ``package.module:function``.
        options: of the builder.
        manifest: what `shapprune.save` has written beside the file; empty where there is none.
        shapes: name in the file -> shape, of all tensors.
    """

    path: Path
    architecture: str
    options: Mapping[str, Any]
    manifest: Mapping[str, Any]
    shapes: Mapping[str, Size]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return checksum(self.path, "sha256")

    def builder(self) -> dict[str, Any]:
        """Say, for a manifest, what builds the network."""
        return {"architecture": self.architecture, "options": dict(self.options)}

    def channels(self, size: tuple[int, int]) -> int | None:
        """Find how many channels an image has, by what runs first on it; None where nothing shows it.

        Args:
            size: height and width of an image.
        """
        model = self.fresh((3, *size))
        shapes = name_as(model, self.shapes, self.path)
        if ":" in self.architecture:
            return find_channels(model, size, shapes)
        return channels_taken(model, 3, size, shapes)  # grey images would have made another network

    def network(self, shape: tuple[int, ...]) -> nn.Module:
        """Build the network with its weights, in eval mode, also where units were removed from it.

        Args:
            shape: channels, height and width of an image; named architectures are built for it.

        Raises:
            ShapPruneError: it cannot be built, or the weights do not fit; the first tensor that differs is named.
        """

        def make() -> nn.Module:
            return self.fresh(shape)

        return load(self.path, make) if self.manifest else load_weights(make(), self.path)

    def fresh(self, shape: tuple[int, ...]) -> nn.Module:
        """Build the network with fresh weights; named architectures get as many outputs as the file has."""
        model = build_network(self.architecture, self.options, shape)
        if ":" in self.architecture or "classes" in self.options:
            return model
        *_, last = model.state_dict()  # the bias of the output layer
        classes = name_as(model, self.shapes, self.path).get(last) or [0]
        return build_network(self.architecture, {"classes": classes[0], **self.options}, shape) if classes[0] else model


def open_checkpoint(arguments: argparse.Namespace) -> Checkpoint:
    """Open the file of weights that the arguments name (`shapprune.commands.arguments.add_network`).

    Raises:
        ShapPruneError: there is no such file, it holds no weights, or nothing says what builds the network.
    """
    path: Path = arguments.checkpoint
    weights = read_weights(path)
    if weights.others:
        print(f"{path}: the weights {weights.key} are taken, not {few(weights.others)}", file=sys.stderr)
    shapes = {name: tensor.shape for name, tensor in weights.tensors.items()}
    manifest = _read_manifest(path)
    builder = manifest.get("network", {})
    architecture = arguments.architecture or builder.get("architecture")
    if architecture is None:
        raise ShapPruneError(f"nothing says what builds the network of {path}: give --architecture")
    options = read_mapping(arguments.options, "--options", "{width: 64}")
    if arguments.options is None and architecture == builder.get("architecture"):
        options = builder.get("options", {})
    return Checkpoint(path, architecture, options, manifest, shapes)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Read what `shapprune.save` has written beside a file; empty where there is nothing, or a file of others.

    Raises:
        ShapPruneError: what is there is no JSON, so that nothing says whether it is that.
    """
    beside = manifest_of(path)
    if path.suffix != ".safetensors" or not beside.exists():
        return {}
    try:
        content = json.loads(beside.read_text())
    except (OSError, ValueError) as error:
        raise ShapPruneError(
            f"{beside} cannot be read as JSON, and would be the manifest of {path.name} ({error}); mend it, or rename"
            " one of them if it is something else"
        ) from error
    return content if isinstance(content, dict) and "kept" in content else {}


def build_network(architecture: str, options: Mapping[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """Build a network with fresh weights, as `shapprune.networks.builders.build` does.

    A function of one's own gets all options, also one called ``shape`` or ``classes``; named architectures take
    ``classes`` as an option too.

    Raises:
        ShapPruneError: as `build`, and where a function of one's own does not take the options.
    """
    if ":" not in architecture:
        return build(architecture, **{"shape": shape, **options})
    return build_own(architecture, options)

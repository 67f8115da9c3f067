"""What `score` and `prune` open: a network and the images that score its units or calibrate."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from shapprune.commands.images import open_images
from shapprune.commands.measuring import check_fit
from shapprune.commands.network import Checkpoint, open_checkpoint
from shapprune.commands.parts import UserImages
from shapprune.core.errors import ShapPruneError
from shapprune.criteria.catalog import lookup
from shapprune.gpu.device import choose_device
from shapprune.graph.unit_graph import UnitGraph

_EXAMPLES = 8  # images that a network is timed and exported with


@dataclass(frozen=True, eq=False)
class Opened:
    """A network and images that it takes.

    Attributes:
        checkpoint: where the network comes from.
        model: the network, on its device, in eval mode.
        device: ``cpu`` or ``cuda``.
        outputs: how many it has.
        data: the images.
        seed: of all draws.
        places: of the images that score or calibrate.
        images: these images, as the network takes them.
    """

    checkpoint: Checkpoint
    model: nn.Module
    device: str
    outputs: int
    data: UserImages
    seed: int
    places: np.ndarray
    images: Tensor
    _traced: list[UnitGraph] = field(default_factory=list, repr=False, kw_only=True)  # shared by all made of this

    @property
    def graph(self) -> UnitGraph:
        """The network, traced when it is first asked for."""
        if not self._traced:
            self._traced.append(UnitGraph(self.model, self.example))
        return self._traced[0]

    @property
    def example(self) -> Tensor:
        """A few images on the device of the network."""
        return self.images[:_EXAMPLES].to(self.device)


def open_network(arguments: argparse.Namespace) -> Opened:
    """Open what the arguments name.

    Raises:
        ShapPruneError: an argument is wrong, or the network does not take the images.
    """
    device = choose_device(arguments.device)
    checkpoint = open_checkpoint(arguments)
    data = open_images(arguments, checkpoint)
    places = data.draw("scoring", arguments.images, arguments.seed)
    model = checkpoint.network(data.shape).to(device)
    images = data.scoring.read(places)
    outputs = check_fit(model, images[:2].to(device), data)
    return Opened(checkpoint, model, device, outputs, data, arguments.seed, places, images)


def check_criterion(criterion: str, units: Mapping[str, int], opened: Opened) -> None:
    """Raise where a layer is too wide for a criterion, or lacks the BatchNorm that it needs.

    Args:
        criterion: its name.
        units: layer -> how many units it has; the layers that are scored.
        opened: their network.
    """
    facts = lookup(criterion)
    limit = facts.max_units
    if limit is not None and (wide := [layer for layer, count in units.items() if count > limit]):
        raise ShapPruneError(f"{criterion} can score up to {limit} units, but layer {wide[0]!r} has {units[wide[0]]}")
    if facts.batchnorm and (bare := [layer for layer in units if opened.graph.norm_of(layer) is None]):
        raise ShapPruneError(f"{criterion} needs a BatchNorm, but none follows layer {bare[0]!r}")

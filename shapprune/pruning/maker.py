"""The steps from a network to a smaller one, with a few images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.criteria.catalog import lookup_for
from shapprune.graph.counting import count_macs
from shapprune.graph.outputs import are_close, map_tensors
from shapprune.graph.tracing import attributes_kept, record_again, trace
from shapprune.networks.augment import AUGMENTATIONS, augment, darkest, mix
from shapprune.networks.modes import mode
from shapprune.pruning.distil import Distilling, last_layer, times_used
from shapprune.pruning.removal import without_units
from shapprune.pruning.repair import REPAIRS, repair_by
from shapprune.pruning.selection import RECONSTRUCTION, Structure

# Copies of the images that the repair sees beside them, where that helps.
COPIES = 4
ALLOCATIONS = ("damage", "uniform")
# Multiply-accumulates a second that two cores do; distilling takes as many steps as fit the time asked by this.
_SPEED = 4e10
_STEPS = 100, 2000  # the least that are worth it, and the most


@dataclass(frozen=True)
class How:
    """How a network is made smaller.

    Attributes:
        criterion: what orders the units of a layer.
        options: of the criterion.
        aggregate: how its scores of examples become one score.
        allocation: ``damage`` splits a budget by what the outputs lose, ``uniform`` takes the same share of all layers.
        repair: ``least-squares``, ``bias``, ``batchnorm`` or ``none``.
        sums: whether the repair fits a layer that is added to a shortcut to the sum, rather than to its own outputs.
        copies: how many changed copies of the images, each mixed with another image, the repair sees beside them; None
            for four if they bring the outputs nearer on images left out.
        steps: of distilling; None for as many as fit the time, 0 for none.
        minutes: that distilling may take on two cores, about.
        augmentation: what may be done to images: ``shift`` moves them by up to an eighth of their side, ``flip``
            mirrors them, which is wrong for digits, text and pictures with two different sides.
        multiple: the number of units left in a layer is a multiple of it.
        skip: layers that are left whole.
        seed: of all draws.
        progress: report progress.

    Raises:
        ShapPruneError: a value that is not allowed.

    Examples:
        >>> from shapprune.pruning.maker import How
        >>> How(criterion="taylor", allocation="uniform", steps=0).repair
        'least-squares'
    """

    criterion: str = RECONSTRUCTION
    options: Mapping[str, Any] = field(default_factory=dict)
    aggregate: str = "mean"
    allocation: str = "damage"
    repair: str = "least-squares"
    sums: bool = True
    copies: int | None = None
    steps: int | None = None
    minutes: float = 5.0
    augmentation: Sequence[str] = ("shift",)
    multiple: int = 1
    skip: Sequence[str] = ()
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        lookup_for(self.criterion)
        for name, allowed in (("allocation", ALLOCATIONS), ("repair", REPAIRS)):
            if getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        for each in self.augmentation:
            if each not in AUGMENTATIONS:
                raise unknown("augmentation", each, AUGMENTATIONS)
        if self.multiple < 1:
            raise ShapPruneError(f"multiple {self.multiple} is not 1 or more units")
        for name, what in (("steps", "steps of distilling"), ("copies", "copies of the images")):
            if getattr(self, name) is not None and getattr(self, name) < 0:
                raise ShapPruneError(f"{getattr(self, name)} {what} are not 0 or more")
        if not 0 <= self.minutes < math.inf:
            raise ShapPruneError(f"{self.minutes} minutes of distilling are not a finite number of 0 or more")


class Maker:
    """Removes units of a network, and mends what is left.

    Args:
        structure: of the network.
        how: it is made smaller.
    """

    def __init__(self, structure: Structure, how: How):
        self._structure, self._how = structure, how
        self._twin: tuple[dict[str, int], fx.GraphModule] | None = None  # of networks without so many units

    def remove(
        self, orders: Mapping[str, Sequence[int]], widths: Mapping[str, int], example: Tensor
    ) -> tuple[nn.Module, dict[str, list[int]]]:
        """The network with the first units of an order gone, in eval mode; and what is gone, by layer."""
        removed = self._structure.removed(orders, widths)
        return without_units(self._structure.graph, removed, example).eval(), removed

    @property
    def repairs(self) -> bool:
        """Whether there is a repair."""
        return self._how.repair != "none"

    @property
    def copies(self) -> tuple[int, ...]:
        """How many copies of the images the repair may see beside them; those to choose from."""
        if self._how.copies is not None:
            return (self._how.copies,)
        return (0, COPIES) if self._how.repair == "least-squares" and self._how.augmentation else (0,)

    def repair(self, small: nn.Module, removed: Mapping[str, Sequence[int]], images: Tensor, copies: int) -> None:
        """Repair a smaller network in place, with images and so many changed copies of each, mixed with each other."""
        structure, seen = self._structure, self.with_copies(images, copies, mixed=True)
        repair_by(
            *(small, structure.graph, structure.dependencies, removed, seen),
            *(self._how.repair, len(images), self._how.sums),
            self._traced(small, removed) if self._how.repair == "least-squares" else None,
        )

    def _traced(self, small: nn.Module, removed: Mapping[str, Sequence[int]]) -> fx.GraphModule:
        """The graph of a smaller network; that of another one with layers as wide, if it computes the same."""
        example, gone = self._structure.example[:2], {name: len(units) for name, units in removed.items()}
        if self._twin is not None and self._twin[0] == gone:
            found = record_again(self._twin[1], small)
            with torch.no_grad(), mode(small, training=False), attributes_kept(small):
                if are_close(found(example.clone()), map_tensors(lambda each: each, small(example.clone()))):
                    return found
        self._twin = gone, trace(small, example)
        return self._twin[1]

    def with_copies(self, images: Tensor, copies: int, mixed: bool = False) -> Tensor:
        """Images and so many changed copies of each, where something may be done to them; or mixed with each other."""
        if not copies or images.dim() != 4 or not self._how.augmentation:
            return images
        generator = torch.Generator(images.device).manual_seed(self._how.seed)
        black, names = darkest(images), self._how.augmentation
        changed = [augment(images, names, black, generator) for _ in range(copies)]
        return torch.cat([images, *([mix(each, generator) for each in changed] if mixed else changed)])

    def distil(
        self,
        small: nn.Module,
        removed: Mapping[str, Sequence[int]],
        images: Tensor,
        steps: int,
        rate: float,
        checkpoint: Path | None = None,
        progress: bool = False,
    ) -> None:
        """Distil a smaller network in place; see `shapprune.pruning.distil.Distilling`."""
        names, kept = self._how.augmentation, self._kept_inputs(removed)
        training = Distilling(
            small,
            self._structure.graph,
            images,
            steps=steps,
            rate=rate,
            augmentation=names,
            kept=kept,
            seed=self._how.seed,
            twin=self._traced(small, removed),
        )
        training.run(checkpoint, progress)

    def steps(self, small: nn.Module, example: Tensor) -> int:
        """How many steps of distilling to take; 0 for none."""
        if self._how.steps is not None:
            return self._how.steps
        whole = count_macs(self._structure.model, example) / times_used(self._structure.graph)
        macs = 3 * count_macs(small, example) + whole
        # A step looks at 50 images. All trials together take about as long as the distilling itself.
        steps = int(self._how.minutes * 60 * _SPEED / (2 * 50 * macs))
        return 0 if steps < _STEPS[0] else min(steps, _STEPS[1])

    def _kept_inputs(self, removed: Mapping[str, Sequence[int]]) -> Tensor | None:
        """The inputs of the last layer that are left; None if it has lost none."""
        last, gone = last_layer(self._structure.graph), []
        for layer, readers in self._structure.readers.items():
            if layer in removed:
                gone += [each.places[list(removed[layer])].flatten() for each in readers if each.name == last]
        if not gone:
            return None
        weight = self._structure.graph.modules[last].get_parameter("weight")
        stay = torch.ones(weight.shape[1], dtype=torch.bool)
        stay[torch.cat(gone)] = False
        return stay.nonzero().flatten().to(weight.device)

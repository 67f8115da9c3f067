"""How far a network is pruned.

Importing this module costs nothing, so that a target is checked before anything is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shapprune.core.errors import ShapPruneError, unknown

MEASURES = ("ratio", "widths", "negative", "loss_growth", "parameters", "macs")

Groups = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Target:
    """How far a network is pruned, by exactly one measure; the other arguments go with any of them.

    Attributes:
        ratio: share of the units of each layer that leaves, rounded down to whole units.
        widths: layer -> how many units it keeps; a layer that is not here keeps all.
        negative: whether the units with a negative score leave, but for the highest of a layer.
        loss_growth: share by which the loss on the scoring images may grow with each layer, e.g. 0.05.
        parameters: how many parameters the network may have; all layers lose the smallest ratio that suffices.
        macs: how many multiply-accumulate operations an image may take; all layers lose the smallest ratio that
            suffices.
        multiple: the number of units kept is rounded up to a multiple of it, where the layer has so many.
        groups: layers whose units leave together (`shapprune.PrunableLayer.group`); their scores are added up.

    Raises:
        ShapPruneError: not exactly one measure, or a value that no network could have.

    Examples:
        >>> from shapprune.pruning.target import Target
        >>> Target(ratio=0.5, multiple=4).keep({"conv1": 16, "conv2": 22})
        {'conv1': 8, 'conv2': 12}
    """

    ratio: float | None = None
    widths: Mapping[str, int] | None = None
    negative: bool = False
    loss_growth: float | None = None
    parameters: int | None = None
    macs: int | None = None
    multiple: int = 1
    groups: Groups = ()

    def __post_init__(self) -> None:
        require_one(**{name: getattr(self, name) for name in MEASURES})
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ShapPruneError(f"ratio {self.ratio} is not strictly between 0 and 1, the share of units that leaves")
        for layer, width in (self.widths or {}).items():
            if type(width) is not int:
                raise ShapPruneError(f"width {width!r} of layer {layer!r} is not a whole number of units")
        if self.loss_growth is not None:
            self._check_growth(self.loss_growth)
        if self.multiple < 1:
            raise ShapPruneError(f"multiple {self.multiple} is not 1 or more units")

    @property
    def measure(self) -> str:
        """The name of the measure that was given."""
        return next(name for name in MEASURES if _is_given(getattr(self, name)))

    def keep(self, units: Mapping[str, int]) -> dict[str, int] | None:
        """Count the units that each layer keeps by a ratio or widths.

        Args:
            units: layer -> how many units it has; the layers that are pruned.

        Returns:
            Layer -> how many units it keeps; None by any other measure.

        Raises:
            ShapPruneError: a group whose layers are not all here or not of one width; a width that a layer does not
                have.
        """
        groups = self.together(units)
        if self.ratio is not None:
            kept = {layer: count - int(count * self.ratio + 1e-9) for layer, count in units.items()}  # 0.29 * 100 < 29
        elif self.widths is not None:
            _check_widths(self.widths, units, groups)
            listed = {layers: [self.widths[layer] for layer in layers if layer in self.widths] for layers in groups}
            kept = {layer: (listed[layers] or [units[layer]])[0] for layers in groups for layer in layers}
        else:
            return None
        return {layer: self.round_up(kept[layer], count) for layer, count in units.items()}

    def round_up(self, kept: int, units: int) -> int:
        """Round a number of units up to the multiple, but to no more than the layer has."""
        return min(units, self.multiple * math.ceil(kept / self.multiple))

    def together(self, units: Mapping[str, int]) -> list[tuple[str, ...]]:
        """Sort layers by the groups that lose units together.

        Args:
            units: layer -> how many units it has.

        Returns:
            The groups that are here, in the order of their first layers; a layer of no group is one by itself.

        Raises:
            ShapPruneError: a group whose layers are not all here or not of one width.
        """
        group_of = {layer: tuple(layers) for layers in self.groups for layer in layers}
        found = list(dict.fromkeys(group_of.get(layer, (layer,)) for layer in units))
        for layers in found:
            if missing := [layer for layer in layers if layer not in units]:
                there = next(layer for layer in layers if layer in units)
                raise ShapPruneError(f"the units of {there!r} leave together with those of {missing[0]!r}; give both")
            if len({units[layer] for layer in layers}) > 1:
                raise ShapPruneError(f"layers {', '.join(layers)} of one group differ in their number of units")
        return found

    def _check_growth(self, growth: float) -> None:
        if not 0 <= growth < math.inf:
            raise ShapPruneError(f"loss_growth {growth} is not a share of 0 or more, such as 0.05")
        if tied := [layers for layers in self.groups if len(layers) > 1]:
            raise ShapPruneError(
                f"loss_growth removes units of one layer at a time, but those of {', '.join(tied[0])} leave together;"
                " leave these layers whole"
            )


def require_one(**measures: object) -> None:
    """Raise unless exactly one of the measures is given, that is neither None nor False.

    Raises:
        ShapPruneError: none or several are given.
    """
    if sum(map(_is_given, measures.values())) != 1:
        *names, last = measures
        raise ShapPruneError(f"give exactly one of {', '.join(names)} and {last}")


def _is_given(value: object) -> bool:
    return value is not None and value is not False


def _check_widths(widths: Mapping[str, int], units: Mapping[str, int], groups: Groups) -> None:
    for layer, width in widths.items():
        if layer not in units:
            raise unknown("layer", layer, units)
        if not 0 < width <= units[layer]:
            raise ShapPruneError(f"layer {layer!r} has {units[layer]} units and cannot keep {width}")
    for layers in groups:
        different = {widths[layer] for layer in layers if layer in widths}
        if len(different) > 1:
            raise ShapPruneError(f"layers {', '.join(layers)} leave together and cannot keep {sorted(different)} units")

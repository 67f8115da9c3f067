"""How a target is split over layers: how many units each of them keeps."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.pruning.removal import remove_units
from shapprune.pruning.target import Target


def allocate(target: Target, units: Mapping[str, int], model: nn.Module, example: Tensor) -> dict[str, int] | None:
    """Count the units that each layer keeps, as far as it is known before units are scored.

    Args:
        target: how far the network is pruned.
        units: layer -> how many units it has; the layers that are pruned.
        model: the network.
        example: images, [N, ...], that it can run on.

    Returns:
        Layer -> how many units it keeps; None where scores decide it (``negative``, ``loss_growth``).

    Raises:
        ShapPruneError: widths that the layers cannot have, or a size that no ratio reaches.
    """
    if target.measure in ("parameters", "macs"):
        return _fit_size(target, units, model, example)
    return target.keep(units)


def _fit_size(target: Target, units: Mapping[str, int], model: nn.Module, example: Tensor) -> dict[str, int]:
    """Find the smallest ratio, the same for all layers, with which the network is small enough."""

    def kept(ratio: float) -> Mapping[str, int]:
        if ratio == 0:
            return units
        return Target(ratio=ratio, multiple=target.multiple, groups=target.groups).keep(units) or {}

    def size(ratio: float) -> int:  # which units leave makes no difference to it
        gone = {layer: range(units[layer] - width) for layer, width in kept(ratio).items()}
        small = remove_units(model, gone, example)
        return count_parameters(small) if target.measure == "parameters" else count_macs(small, example)

    limit: int = getattr(target, target.measure)
    # All ratios at which some layer loses one more unit; the size falls from one to the next.
    ratios = sorted({gone / count for count in set(units.values()) for gone in range(count)})
    if (least := size(ratios[-1])) > limit:
        what = "parameters" if target.measure == "parameters" else "MACs"
        raise ShapPruneError(
            f"{limit:,} {what} cannot be reached: with the least units that a ratio leaves there are {least:,}"
        )
    low, high = -1, len(ratios) - 1  # size(ratios[high]) fits, size(ratios[low]) does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(ratios[middle]) <= limit else (middle, high)
    return dict(kept(ratios[high]))

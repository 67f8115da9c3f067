"""How a target is split over layers: how many units each of them keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.pruning.removal import remove_units
from shapprune.pruning.target import Groups, Target


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

    def size(kept: Mapping[str, int]) -> int:  # which units leave makes no difference to it
        small = remove_units(model, {layer: range(units[layer] - width) for layer, width in kept.items()}, example)
        return count_parameters(small) if target.measure == "parameters" else count_macs(small, example)

    limit: int = getattr(target, target.measure)
    widths, least = uniform_within(units, size, limit, target.multiple, target.groups)
    if widths is None:
        what = "parameters" if target.measure == "parameters" else "MACs"
        raise ShapPruneError(
            f"{limit:,} {what} cannot be reached: with the least units that a ratio leaves there are {least:,.0f}"
        )
    return widths


def uniform_within(
    units: Mapping[str, int],
    size: Callable[[Mapping[str, int]], float],
    limit: float,
    multiple: int = 1,
    groups: Groups = (),
) -> tuple[dict[str, int] | None, float]:
    """Find the widths by the smallest ratio, the same for all layers, whose size is within a limit.

    Args:
        units: layer -> how many units it has.
        size: of a network with some widths; it falls with them.
        limit: what the size may be.
        multiple: widths are rounded up to a multiple of it.
        groups: layers whose units leave together.

    Returns:
        Layer -> width, None if no ratio suffices; and the size with the largest ratio.

    Examples:
        >>> from shapprune.pruning.allocation import uniform_within
        >>> uniform_within({"a": 10, "b": 4}, lambda widths: sum(widths.values()), 8)
        ({'a': 5, 'b': 2}, 2)
    """

    def kept(ratio: float) -> dict[str, int]:
        return dict(Target(ratio=ratio, multiple=multiple, groups=groups).keep(units) or {}) if ratio else dict(units)

    # All ratios at which some layer loses one more unit; the size falls from one to the next.
    ratios = sorted({gone / count for count in set(units.values()) for gone in range(count)})
    if (least := size(kept(ratios[-1]))) > limit:
        return None, least
    low, high = -1, len(ratios) - 1  # size(ratios[high]) fits, size(ratios[low]) does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(kept(ratios[middle])) <= limit else (middle, high)
    return kept(ratios[high]), least

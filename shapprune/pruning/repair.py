"""Repairs for a network that has just lost units, with a few images: no labels, no training.

Importing this module costs nothing: torch is imported by the repairs, so the command line can check their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shapprune.core.errors import ShapPruneError, unknown

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

    from shapprune.graph.dependents import Dependencies
    from shapprune.graph.unit_graph import UnitGraph

REPAIRS = ("none", "batchnorm", "bias", "least-squares")
# Those for a network that loses whole branches (`shapprune.pruning.branches.remove_branches`).
REPAIRS_OF_BRANCHES = ("none", "least-squares")


def repair(
    small: nn.Module,
    model: nn.Module,
    units: Mapping[str, Sequence[int]],
    images: Tensor,
    how: str,
    graph: UnitGraph | None = None,
) -> nn.Module:
    """Repair a network that has just lost units, with images alone.

    ``batchnorm`` estimates the running statistics of BatchNorms again
    (`shapprune.pruning.batchnorm.reestimate_statistics`). ``bias`` adds to a layer's bias what lost units put into it
    on average (`shapprune.pruning.bias.compensate`). ``least-squares`` fits the weights of the layers whose inputs have
    changed (`shapprune.pruning.sweep.sweep`).

    Args:
        small: what `shapprune.remove_units` returned for ``model`` and ``units``; it is changed in place.
        model: the network before; it is left as it is.
        units: layer -> indices of the units that left, as they count in ``model``.
        images: calibration images, [N, ...].
        how: ``none``, ``batchnorm``, ``bias`` or ``least-squares``.
        graph: of ``model``, where it has been traced already.

    Returns:
        ``small``, in its modes.

    Raises:
        ShapPruneError: an unknown repair, no images, a network that is not ``model`` without these units, a BatchNorm
            that sees a single value of each channel, or a layer whose bias cannot be changed.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.pruning.removal import remove_units
        >>> from shapprune.pruning.repair import repair
        >>> model, images = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), torch.randn(50, 4)
        >>> small = remove_units(model, {"0": [1]}, images)  # the other five can stand in for this unit
        >>> small = repair(small, model, {"0": [1]}, images, "least-squares")
        >>> torch.allclose(small(images), model(images), atol=1e-3)
        True
    """
    if how not in REPAIRS:
        raise unknown("repair", how, REPAIRS)
    if how == "none":
        return small
    if len(images) == 0:
        raise ShapPruneError(f"repair {how!r} got 0 images, it needs 1 or more")

    from shapprune.graph.dependents import Dependencies
    from shapprune.graph.unit_graph import UnitGraph
    from shapprune.networks.modes import mode

    images = images.to(next(model.parameters()).device)
    graph = graph or UnitGraph(model, images[:2])
    with mode(model, training=False):
        repair_by(small, graph, Dependencies(graph.traced, images[:2], graph), units, images, how)
    return small


def repair_by(
    small: nn.Module,
    graph: UnitGraph,
    dependencies: Dependencies,
    units: Mapping[str, Sequence[int]],
    images: Tensor,
    how: str,
    originals: int | None = None,
    sums: bool = True,
    twin: fx.GraphModule | None = None,
) -> None:
    """Repair as `repair` does, with what is known of the network before.

    Args:
        small: as for `repair`.
        graph: of the network before, in eval mode.
        dependencies: of its units.
        units: as for `repair`.
        images: as there, one or more.
        how: as there.
        originals: how many images come before copies of them, if there are any.
        sums: see `shapprune.pruning.sweep.sweep`.
        twin: as there.
    """
    from shapprune.networks.modes import mode
    from shapprune.networks.precision import at_precision
    from shapprune.pruning.batchnorm import reestimate_statistics
    from shapprune.pruning.bias import compensate
    from shapprune.pruning.removal import find_readers
    from shapprune.pruning.sweep import sweep

    # Where nothing is lost nothing is fitted, and that is seen in the last digits of float32.
    with mode(small, training=False), at_precision("fp32", images.device):
        if how == "batchnorm":
            reestimate_statistics(small, graph, find_readers(graph, small), images)
        elif how == "bias":
            compensate(small, graph, dependencies, units, images)
        elif how == "least-squares":
            sweep(small, graph, dependencies, units, images, originals, sums, twin=twin)

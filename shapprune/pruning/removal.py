"""Smaller networks without some of their units; Torch-Pruning follows what depends on them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.dependents import Dependencies
from shapprune.graph.prunable import describe_layer
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode

Removed = Mapping[str, Sequence[int]]

# How far outputs of the smaller and the masked network may differ, as a share of the largest output: rounding stays far
# below, a wrongly removed unit far above.
_TOLERANCE = 1e-3


def remove_units(model: nn.Module, units: Removed, example: Tensor) -> nn.Module:
    """Copy a network without some of its units.

    The outputs equal those of the network with the same units zeroed at the site ``activation`` (`mask_units`).

    Args:
        model: a network that torch.fx can trace; it is left as it is.
        units: layer -> indices of the units to remove, as they count in ``model``. Of layers whose units leave together
            (`shapprune.PrunableLayer.group`) all are given, with the same units.
        example: images, [N, ...], that the network can run on.

    Returns:
        The smaller network, in the model's modes (training or eval). Its attribute ``kept_units`` gives, for each layer
        ever named in a removal, the indices that its remaining units had in the original network.

    Raises:
        ShapPruneError: an unknown layer, an index outside it, all of its units, or a layer whose units are tied to
            those of others.

    Examples:
        >>> import shapprune
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> small = shapprune.remove_units(model, {"0": [1, 4]}, torch.zeros(1, 4))
        >>> small
        Sequential(
          (0): Linear(in_features=4, out_features=4, bias=True)
          (1): ReLU()
          (2): Linear(in_features=4, out_features=2, bias=True)
        )
        >>> small.kept_units
        {'0': [0, 2, 3, 5]}
    """
    example = example[:2]
    graph = UnitGraph(model, example)
    chosen = group_removed(graph, units)
    small = copy.deepcopy(model)
    cut_units(small, chosen, example)
    removed = {name: indices for group, indices in chosen.items() for name in group}
    _compare(small, model, graph, removed, example)
    kept = kept_units(model)
    for name in units:
        gone, before = set(removed.get(name, ())), kept.get(name, list(range(graph.units_of(name))))
        kept[name] = [original for place, original in enumerate(before) if place not in gone]
    small.kept_units = kept  # type: ignore[assignment]
    return small


def kept_units(model: nn.Module) -> dict[str, list[int]]:
    """Look up, for each layer of a network that was ever pruned, which indices its units had in the original."""
    return dict(getattr(model, "kept_units", {}))


def mask_units(model: nn.Module, units: Removed, images: Tensor) -> Tensor:
    """Compute the outputs of a network, in eval mode, with some units zeroed at the site ``activation``.

    Args:
        model: a network that torch.fx can trace; it is left as it is.
        units: layer -> indices of the units to zero.
        images: [N, ...].

    Raises:
        ShapPruneError: an unknown layer.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.pruning.removal import mask_units, remove_units
        >>> model, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(3, 4)
        >>> small = remove_units(model, {"0": [1, 4]}, images)
        >>> torch.allclose(small(images), mask_units(model, {"0": [1, 4]}, images), atol=1e-6)
        True
    """
    return _masked(UnitGraph(model, images[:2]), units, images)


def group_removed(graph: UnitGraph, units: Removed) -> dict[tuple[str, ...], list[int]]:
    """Check which units shall leave.

    Returns:
        Group of layers that loses units -> their indices, sorted, each once.

    Raises:
        ShapPruneError: as `remove_units`.
    """
    chosen: dict[tuple[str, ...], list[int]] = {}
    for name, indices in units.items():
        if name not in graph.calls:
            raise unknown("layer", name, graph.calls)
        layer, gone = describe_layer(graph, name), sorted({int(index) for index in indices})
        if not layer.group:
            raise ShapPruneError(f"the units of layer {name!r} cannot be removed: {layer.coupled}")
        if any({int(index) for index in units.get(other, ())} != set(gone) for other in layer.group):
            raise ShapPruneError(
                f"the units of layer {name!r} cannot be removed on their own: {layer.coupled}; give all of these layers"
                " the same units"
            )
        if gone and not 0 <= gone[0] <= gone[-1] < layer.units:
            raise ShapPruneError(f"layer {name!r} has units 0 ... {layer.units - 1}, not {gone}")
        if len(gone) == layer.units:
            raise ShapPruneError(f"removing all {layer.units} units of layer {name!r} would leave no network")
        if gone:
            chosen[layer.group] = gone
    return chosen


def cut_units(model: nn.Module, chosen: Mapping[tuple[str, ...], list[int]], example: Tensor) -> None:
    """Cut units out of a network, in place.

    Args:
        model: the network.
        chosen: what `group_removed` returned.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: Torch-Pruning cannot follow the network.
    """
    dependencies = Dependencies(model, example)
    for (name, *_), indices in chosen.items():  # the others of the group depend on the first
        dependencies.remove(name, indices)


def _masked(graph: UnitGraph, units: Removed, images: Tensor) -> Tensor:
    gone = {graph.site(name, "activation"): list(indices) for name, indices in units.items()}

    class Masked(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            if n in gone:
                result = result.clone()
                result[:, gone[n]] = 0
            return result

    with torch.no_grad(), mode(graph.traced, training=False):
        return Masked(graph.traced).run(images)


def _compare(small: nn.Module, model: nn.Module, graph: UnitGraph, removed: Removed, example: Tensor) -> None:
    """Raise unless the smaller network computes what the masked one does."""
    with torch.no_grad(), mode(small, training=False):
        try:
            outputs = small(example)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShapPruneError(f"{type(model).__name__} does not run without these units: {reason}") from error
    expected = _masked(graph, removed, example)
    difference, scale = float((outputs - expected).abs().max()), float(expected.abs().max())
    if difference > _TOLERANCE * scale:
        raise ShapPruneError(
            f"{type(model).__name__} without units of {', '.join(removed)} does not compute what it does with them at"
            f" zero (outputs differ by up to {difference:.3g}), so they cannot be removed from it"
        )


def find_readers(graph: UnitGraph, small: nn.Module) -> list[str]:
    """Find the layers that read units that left, in the order they run.

    Args:
        graph: of the network before.
        small: the network that has lost units.
    """

    def inputs(module: nn.Module) -> object:
        return module.in_features if isinstance(module, nn.Linear) else module.in_channels

    return [
        name
        for name in graph.calls
        if not graph.is_depthwise(name) and inputs(graph.modules[name]) != inputs(small.get_submodule(name))
    ]

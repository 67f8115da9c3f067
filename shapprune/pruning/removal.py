"""Smaller networks without some of their units; Torch-Pruning follows what depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.prunable import describe_layer
from shapprune.graph.removing import compare, copy_network, cut_units, masked
from shapprune.graph.unit_graph import UnitGraph
from shapprune.graph.units import read_units

Removed = Mapping[str, Sequence[int]]


def remove_units(model: nn.Module, units: Removed, example: Tensor) -> nn.Module:
    """Copy a network without some of its units.

    The outputs equal those of the network with the same units zeroed at the site ``activation`` (`mask_units`).

    Args:
        model: a network that torch.fx or torch.export can follow; it is left as it is.
        units: layer -> indices of the units to remove, as they count in ``model``. Of layers whose units leave together
            (`shapprune.PrunableLayer.group`) all are given, with the same units.
        example: images, [N, ...], that the network can run on.

    Returns:
        The smaller network, in the model's modes (training or eval). Its attribute ``kept_units`` gives, for each layer
        ever named in a removal, the indices that its remaining units had in the original network.

    Raises:
        ShapPruneError: an unknown layer, units that are no indices of it, all of its units, or a layer whose units
            cannot be removed or are tied to those of others.

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
    return without_units(UnitGraph(model, example[:2]), units, example)


def without_units(graph: UnitGraph, units: Removed, example: Tensor) -> nn.Module:
    """Copy a network that has been traced without some of its units; arguments are as for `remove_units`."""
    model, example = graph.modules[""], example[:2]
    chosen = group_removed(graph, units)
    small = copy_network(model)
    cut_units(small, graph, chosen, example)
    removed = {name: indices for group, indices in chosen.items() for name in group}
    compare(small, graph, removed, example)
    kept = kept_units(model)
    for name in units:
        gone, before = set(removed.get(name, ())), kept.get(name, list(range(graph.units_of(name))))
        kept[name] = [original for place, original in enumerate(before) if place not in gone]
    small.kept_units = kept  # type: ignore[assignment]
    return small


def kept_units(model: nn.Module) -> dict[str, list[int]]:
    """Look up, for each layer of a network that was ever pruned, which indices its units had in the original."""
    return dict(getattr(model, "kept_units", {}))


def mask_units(model: nn.Module, units: Removed, images: Tensor) -> Any:
    """Compute the outputs of a network, in eval mode, with some units zeroed at the site ``activation``.

    Args:
        model: a network that torch.fx or torch.export can follow; it is left as it is.
        units: layer -> indices of the units to zero.
        images: [N, ...].

    Raises:
        ShapPruneError: an unknown layer, or units that are no indices of it.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.pruning.removal import mask_units, remove_units
        >>> model, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(3, 4)
        >>> small = remove_units(model, {"0": [1, 4]}, images)
        >>> torch.allclose(small(images), mask_units(model, {"0": [1, 4]}, images), atol=1e-6)
        True
    """
    graph = UnitGraph(model, images[:2])
    return masked(graph, _read(graph, units), images)


def group_removed(graph: UnitGraph, units: Removed) -> dict[tuple[str, ...], list[int]]:
    """Check which units shall leave.

    Returns:
        Group of layers that loses units -> their indices, sorted, each once.

    Raises:
        ShapPruneError: as `remove_units`.
    """
    given = _read(graph, units)
    chosen: dict[tuple[str, ...], list[int]] = {}
    for name, gone in given.items():
        layer = describe_layer(graph, name)
        if not layer.group:
            raise ShapPruneError(f"the units of layer {name!r} cannot be removed: {layer.coupled}")
        if any(given.get(other, []) != gone for other in layer.group):
            raise ShapPruneError(
                f"the units of layer {name!r} cannot be removed on their own: {layer.coupled}; give all of these layers"
                " the same units"
            )
        if len(gone) == layer.units:
            raise ShapPruneError(f"removing all {layer.units} units of layer {name!r} would leave no network")
        if gone:
            chosen[layer.group] = gone
    return chosen


def _read(graph: UnitGraph, units: Removed) -> dict[str, list[int]]:
    """Read the units of each layer, in increasing order; raise unless they are its indices."""
    graph.require(*units)
    return {name: read_units(indices, graph.units_of(name), name) for name, indices in units.items()}


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

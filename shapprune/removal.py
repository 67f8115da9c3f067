"""Remove units for good: a smaller network with the outputs of the masked one.

Torch-Pruning follows the dependencies.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch_pruning as tp
from torch import Tensor, nn

from shapprune.errors import ShapPruneError, unknown
from shapprune.modes import mode
from shapprune.units import UnitGraph


def remove_units(model: nn.Module, units: Mapping[str, Sequence[int]], example: Tensor) -> nn.Module:
    """A copy of ``model`` without some of its units.

    The outputs equal those of the model with the same units zeroed at the site ``activation``.

    Args:
        model: a network that torch.fx can trace; it is left as it is.
        units: layer -> indices of the units to remove, counted as they are in ``model``.
        example: images, [N, ...], that the network can run on.

    Returns:
        The smaller network, in the model's modes. Its attribute ``kept_units`` gives, for each layer that was ever
        pruned, the indices the units left had in the original network.

    Raises:
        ShapPruneError: an unknown layer, an index outside it, all of its units, or a layer whose units are tied to
            those of others.
    """
    graph = UnitGraph(model, example[:2])
    chosen: dict[str, list[int]] = {}
    for name, indices in units.items():
        if name not in graph.calls:
            raise unknown("layer", name, graph.calls)
        layer = graph.layer(name)
        chosen[name] = sorted({int(index) for index in indices})
        if layer.coupled:
            raise ShapPruneError(f"the units of layer {name!r} cannot be removed on their own: {layer.coupled}")
        if chosen[name] and not 0 <= chosen[name][0] <= chosen[name][-1] < layer.units:
            raise ShapPruneError(f"layer {name!r} has units 0 ... {layer.units - 1}, not {chosen[name]}")
        if len(chosen[name]) == layer.units:
            raise ShapPruneError(f"removing all {layer.units} units of layer {name!r} would leave no network")

    small = copy.deepcopy(model)
    modules = dict(small.named_modules())
    kept = kept_units(model)
    with mode(small, training=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Torch-Pruning warns of parameters that no unit depends on
        dependencies = tp.DependencyGraph().build_dependency(small, example_inputs=example[:2])
        for name, indices in chosen.items():
            if not indices:
                continue
            module = modules[name]
            prune = tp.prune_linear_out_channels if isinstance(module, nn.Linear) else tp.prune_conv_out_channels
            before = kept.get(
                name,
                list(range(module.out_features if isinstance(module, nn.Linear) else module.out_channels)),
            )
            dependencies.get_pruning_group(module, prune, idxs=indices).prune()
            gone = set(indices)
            kept[name] = [original for place, original in enumerate(before) if place not in gone]
    small.kept_units = kept  # type: ignore[assignment]
    return small


def kept_units(model: nn.Module) -> dict[str, list[int]]:
    """For each layer of a network that was ever pruned, the indices its units had in the original."""
    return dict(getattr(model, "kept_units", {}))

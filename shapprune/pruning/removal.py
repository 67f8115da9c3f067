"""Remove units for good: a smaller network with the outputs of the masked one.

Torch-Pruning follows the dependencies.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch
import torch_pruning as tp
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.prunable import describe_layer
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode

Removed = Mapping[str, Sequence[int]]

# Between the outputs of the smaller network and those of the masked one, as a share of the largest output: far above
# rounding, far below what a wrong unit does.
_SAME = 1e-3


def remove_units(model: nn.Module, units: Removed, example: Tensor) -> nn.Module:
    """A copy of ``model`` without some of its units.

    The outputs equal those of the model with the same units zeroed at the site ``activation`` (`mask_units`).

    Args:
        model: a network that torch.fx can trace; it is left as it is.
        units: layer -> indices of the units to remove, counted as they are in ``model``. Layers whose units leave
            together (`shapprune.PrunableLayer.group`) are all given, with the same units.
        example: images, [N, ...], that the network can run on.

    Returns:
        The smaller network, in the model's modes. Its attribute ``kept_units`` gives, for each layer that was ever
        named in a removal, the indices the units left had in the original network.

    Raises:
        ShapPruneError: an unknown layer, an index outside it, all of its units, or a layer whose units are tied to
            those of others.
    """
    example = example[:2]
    graph = UnitGraph(model, example)
    chosen = _check(graph, units)
    small = copy.deepcopy(model)
    _slice(small, chosen, example)
    removed = {name: indices for group, indices in chosen.items() for name in group}
    _compare(small, model, graph, removed, example)
    kept = kept_units(model)
    for name in units:
        gone, before = set(removed.get(name, ())), kept.get(name, list(range(graph.units_of(name))))
        kept[name] = [original for place, original in enumerate(before) if place not in gone]
    small.kept_units = kept  # type: ignore[assignment]
    return small


def kept_units(model: nn.Module) -> dict[str, list[int]]:
    """For each layer of a network that was ever pruned, the indices its units had in the original."""
    return dict(getattr(model, "kept_units", {}))


def mask_units(model: nn.Module, units: Removed, images: Tensor) -> Tensor:
    """The outputs of a network, in eval mode, with some units zeroed at the site ``activation``.

    Args:
        model: a network that torch.fx can trace; it is left as it is.
        units: layer -> indices of the units to zero.
        images: [N, ...].

    Raises:
        ShapPruneError: an unknown layer.
    """
    return _masked(UnitGraph(model, images[:2]), units, images)


def carry_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, small: nn.Module, units: Removed, example: Tensor
) -> torch.optim.Optimizer:
    """The optimizer of a network for the smaller one, with its settings and its state of what is left.

    Whatever the optimizer keeps for each number of a parameter goes on (the momentum of SGD, the moments of Adam ...),
    and so do its counts of steps. Learning-rate schedules belong to the old optimizer; make them anew.

    Args:
        optimizer: of ``model``'s parameters; it is left as it is.
        model: the network before the removal.
        small: what `remove_units` returned for it.
        units: what was removed.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: the optimizer has parameters that the model has not.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any(parameter not in names for parameter in held):
        raise ShapPruneError("the optimizer has parameters that are not the model's")
    after = dict(small.named_parameters())
    carried = copy.deepcopy(optimizer, {id(parameter): after[names[parameter]] for parameter in held})
    chosen = _check(UnitGraph(model, example[:2]), units)
    state = {parameter: optimizer.state.get(parameter, {}) for parameter in held}
    like = {
        key
        for parameter, values in state.items()
        for key, value in values.items()
        if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim()
    }
    for key in sorted(like):
        # A network that has the state in place of its parameters loses the same numbers.
        holder = copy.deepcopy(model)
        of_holder = dict(holder.named_parameters())
        with torch.no_grad():
            for parameter, values in state.items():
                if isinstance(values.get(key), Tensor):
                    of_holder[names[parameter]].copy_(values[key])
        _slice(holder, chosen, example[:2])
        of_holder = dict(holder.named_parameters())
        for parameter, values in state.items():
            if isinstance(values.get(key), Tensor):
                name = names[parameter]
                carried.state[after[name]][key] = of_holder[name].detach().to(values[key].dtype)
    return carried


def _check(graph: UnitGraph, units: Removed) -> dict[tuple[str, ...], list[int]]:
    """The units that leave, sorted, each once, of each group of layers that loses any."""
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


def _slice(model: nn.Module, chosen: Mapping[tuple[str, ...], list[int]], example: Tensor) -> None:
    """Cut units out of a network, in place."""
    modules = dict(model.named_modules())
    with (
        mode(model, training=False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):  # Torch-Pruning looks at gradients
        warnings.simplefilter("ignore")  # Torch-Pruning warns of parameters that no unit depends on
        try:
            dependencies = tp.DependencyGraph().build_dependency(model, example_inputs=example)
            for (name, *_), indices in chosen.items():  # the others of the group depend on the first
                module = modules[name]
                prune = tp.prune_linear_out_channels if isinstance(module, nn.Linear) else tp.prune_conv_out_channels
                dependencies.get_pruning_group(module, prune, idxs=indices).prune()
        except Exception as error:  # Torch-Pruning passes on whatever it stumbles over
            reason = f"Torch-Pruning cannot follow it ({type(error).__name__}: {error})"
            raise ShapPruneError(f"no units can be removed from {type(model).__name__}: {reason}") from error


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
    """Refuse a network that does not compute what the masked one does."""
    with torch.no_grad(), mode(small, training=False):
        try:
            outputs = small(example)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShapPruneError(f"{type(model).__name__} does not run without these units: {reason}") from error
    expected = _masked(graph, removed, example)
    difference, scale = float((outputs - expected).abs().max()), float(expected.abs().max())
    if difference > _SAME * scale:
        raise ShapPruneError(
            f"{type(model).__name__} without units of {', '.join(removed)} does not compute what it does with them at"
            f" zero (outputs differ by up to {difference:.3g}), so they cannot be removed from it"
        )

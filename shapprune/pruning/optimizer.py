"""Optimizers that go on after units were removed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.removing import cut_units
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.removal import Removed, group_removed

State = Mapping[nn.Parameter, Mapping[str, Any]]


def carry_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, small: nn.Module, units: Removed, example: Tensor
) -> torch.optim.Optimizer:
    """Copy an optimizer for the smaller network, with its settings and the state of the parameters that are left.

    State of a parameter's shape (the momentum of SGD, the moments of Adam ...) loses the entries of the removed units;
    step counts stay. Learning-rate schedules belong to the old optimizer; make them anew.

    Args:
        optimizer: of ``model``'s parameters; it is left as it is.
        model: the network before the removal.
        small: what `remove_units` returned for it.
        units: what was removed.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: the optimizer has parameters that the model has not.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.pruning.optimizer import carry_optimizer
        >>> from shapprune.pruning.removal import remove_units
        >>> model, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(3, 4)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> model(images).sum().backward()
        >>> optimizer.step()
        >>> small = remove_units(model, {"0": [1, 4]}, images)
        >>> carried = carry_optimizer(optimizer, model, small, {"0": [1, 4]}, images)
        >>> carried.state[small[0].weight]["exp_avg"].shape
        torch.Size([4, 4])
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if any(parameter not in names for parameter in held):
        raise ShapPruneError("the optimizer has parameters that are not the model's")
    after = dict(small.named_parameters())
    carried = copy.deepcopy(optimizer, {id(parameter): after[names[parameter]] for parameter in held})
    graph = UnitGraph(model, example[:2])
    chosen = group_removed(graph, units)
    state = {parameter: optimizer.state.get(parameter, {}) for parameter in held}
    for key in _like_parameters(state):
        # A network that has the state in place of its parameters loses the same numbers.
        holder = copy.deepcopy(model)
        held_by = dict(holder.named_parameters())
        with torch.no_grad():
            for parameter, values in state.items():
                if isinstance(values.get(key), Tensor):
                    held_by[names[parameter]].copy_(values[key])
        cut_units(holder, graph, chosen, example[:2])
        held_by = dict(holder.named_parameters())
        for parameter, values in state.items():
            if isinstance(values.get(key), Tensor):
                name = names[parameter]
                carried.state[after[name]][key] = held_by[name].detach().to(values[key].dtype)
    return carried


def _like_parameters(state: State) -> list[str]:
    """List the keys of state that has the shape of its parameter."""
    return sorted(
        {
            key
            for parameter, values in state.items()
            for key, value in values.items()
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.dim()
        }
    )

"""The parameters of a network that are looked at, each of them once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.networks.resizing import is_transposed


@dataclass(frozen=True)
class Chosen:
    """Parameters of a network.

    Attributes:
        weights: name -> the parameter. It shares memory with the network's own, but has its own gradient.
        tied: another name of one of them -> the name that it has here.
        axes: name -> the axis along which its rows lie.
    """

    weights: dict[str, Tensor]
    tied: dict[str, str]
    axes: dict[str, int]


def choose_parameters(model: nn.Module, names: Iterable[str] | None = None) -> Chosen:
    """Choose parameters of a network by their names; one that is shared has the name of its first use, and counts once.

    Whether they learn plays no role: what a frozen parameter is worth is as well defined.

    Args:
        model: the network; it is left as it is.
        names: of parameters; None for all that are floating-point numbers.

    Raises:
        ShapPruneError: an unknown name, a parameter that is no floating-point number, or no parameter at all.

    Examples:
        >>> from torch import nn
        >>> from shapprune.parameters.choice import choose_parameters
        >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5, bias=False))
        >>> model[1].weight = model[0].weight
        >>> chosen = choose_parameters(model)
        >>> list(chosen.weights), chosen.tied
        (['0.weight'], {'1.weight': '0.weight'})
    """
    first = first_names(model)
    if names is None:
        wanted = [name for name, each in model.named_parameters() if each.is_floating_point()]
    else:
        wanted = list(dict.fromkeys(_known(first, name) for name in names))
    if not wanted:
        raise ShapPruneError(f"{type(model).__name__} has no floating-point parameters among those asked for")
    weights = {}
    for name in wanted:
        weights[name] = floating_point(model, name).detach().requires_grad_(True)
    tied = {name: own for name, own in first.items() if own != name and own in weights}
    return Chosen(weights, tied, {name: axis_of_rows(model, name) for name in weights})


def floating_point(model: nn.Module, name: str) -> nn.Parameter:
    """A parameter that can learn.

    Raises:
        ShapPruneError: it is no floating-point number.
    """
    parameter = model.get_parameter(name)
    if not parameter.is_floating_point():
        raise ShapPruneError(f"parameter {name!r} is {parameter.dtype}, only floating-point numbers have gradients")
    return parameter


def first_names(model: nn.Module) -> dict[str, str]:
    """Each name that a parameter of the network has -> the name of its first use."""
    found = {id(each): name for name, each in model.named_parameters()}
    return {name: found[id(each)] for name, each in model.named_parameters(remove_duplicate=False)}


def axis_of_rows(model: nn.Module, name: str) -> int:
    """The axis of a parameter along which the rows of its layer lie: the first, but of a weight that is transposed."""
    module, _, leaf = name.rpartition(".")
    return int(leaf == "weight" and is_transposed(model.get_submodule(module)))


def _known(first: dict[str, str], name: str) -> str:
    if name not in first:
        raise unknown("parameter", name, first)
    return first[name]

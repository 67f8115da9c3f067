"""Whether the shapes around an operation, and the axes that it names, leave units where they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import fx, nn

from shapprune.graph.operations import Meaning, name_of

# Functions that take the mean or the largest number over axes that they name.
_OVER_AXES = ("mean", "amax")
# Operations on images of k positions a unit have the k in their name.
_POSITIONS = re.compile(r"(?:pool|pad)(\d)d$", re.IGNORECASE)


def keeps_units(
    node: fx.Node, meaning: Meaning, shapes: Mapping[fx.Node, torch.Size], module: nn.Module | None = None
) -> bool:
    """Whether an operation has the meaning of its name: units stay on the second axis, images on the first.

    Axes that happen to have the same size do not count for it.

    Args:
        node: the operation.
        meaning: by its name alone.
        shapes: of all values.
        module: what a ``call_module`` calls.
    """
    inputs = [each for each in node.all_input_nodes if each in shapes]
    after = shapes.get(node)
    if not inputs or after is None or len(after) < 2:
        return False
    if meaning is Meaning.JOIN:
        return _argument(node, 1, ("dim", "axis"), 0) == 1
    if meaning is Meaning.ADD:
        numbers = [each for each in (*node.args, *node.kwargs.values()) if not isinstance(each, fx.Node)]
        return not numbers and all(shapes[each] == after for each in inputs)
    if meaning is Meaning.SCALE:
        return all(len(shapes[each]) == len(after) and shapes[each][1] == after[1] for each in inputs)
    before = shapes[inputs[0]]
    if len(before) < 2 or before[0] != after[0]:
        return False
    if meaning is Meaning.FLATTEN:
        return bool(after == before or (len(after) == 2 and after[1] == before[1:].numel()))
    return after[1] == before[1] and (meaning is not Meaning.POOLING or _pools_positions(node, len(before), module))


def keeps_last(
    node: fx.Node, meaning: Meaning, shapes: Mapping[fx.Node, torch.Size], module: nn.Module | None = None
) -> bool:
    """Whether an operation has the meaning of its name for units on the last axis, as neurons of tokens are.

    The arguments are those of `keeps_units`.
    """
    inputs = [each for each in node.all_input_nodes if each in shapes]
    after = shapes.get(node)
    if not inputs or after is None:
        return False
    if meaning is Meaning.MIXES:
        return isinstance(module, nn.Linear)
    if meaning is Meaning.ADD:
        return keeps_units(node, meaning, shapes, module)
    if meaning is Meaning.SCALE:
        return len(inputs) > 1 and all(shapes[each] == after for each in inputs)
    if meaning in (Meaning.ZERO, Meaning.ACTIVATION):
        return shapes[inputs[0]] == after and getattr(module, "num_parameters", 1) == 1  # a PReLU has axis 1
    return meaning is Meaning.POOLING and _pools_tokens(node, len(shapes[inputs[0]]), module)


def _pools_tokens(node: fx.Node, axes: int, module: nn.Module | None) -> bool:
    """Whether an operation leaves all numbers where they are, or takes a mean of tokens."""
    if module is not None:
        return isinstance(module, nn.Dropout | nn.Identity)
    if name_of(node) in _OVER_AXES:
        return all(0 < axis < axes - 1 for axis in _axes_named(node, axes))
    return name_of(node) in ("dropout", "stochastic_depth", "contiguous")


def _axes_named(node: fx.Node, axes: int) -> list[int]:
    """The axes that a mean or the like is taken over, of a value of so many axes; the first where it names none."""
    chosen = _argument(node, 1, ("dim", "axis"), None)
    over = chosen if isinstance(chosen, Sequence) else [chosen]
    return [axis % axes if isinstance(axis, int) else 0 for axis in over]


def _pools_positions(node: fx.Node, axes: int, module: nn.Module | None) -> bool:
    """Whether pooling, padding and the like look at each unit by itself, of a value of so many axes."""
    if module is not None:
        found = [match for kind in type(module).__mro__ if (match := _POSITIONS.search(kind.__name__))]
    else:
        name = name_of(node)
        found = [match] if (match := _POSITIONS.search(name)) else []
        if name == "pad":
            return _pads_with_zeros(node, axes)
        if name in _OVER_AXES:
            return all(axis > 1 for axis in _axes_named(node, axes))
    return not found or int(found[0][1]) + 2 == axes


def _argument(node: fx.Node, place: int, names: Sequence[str], default: object) -> object:
    """An argument of a call, by its place or one of its names."""
    if len(node.args) > place:
        return node.args[place]
    return next((node.kwargs[name] for name in names if name in node.kwargs), default)


def _pads_with_zeros(node: fx.Node, axes: int) -> bool:
    """Whether a call of `torch.nn.functional.pad` leaves images and units where they are and adds no constant but 0."""
    amounts = _argument(node, 1, ("pad",), None)
    if not isinstance(amounts, Sequence) or any(amounts[2 * (axes - 2) :]):
        return False
    return _argument(node, 3, ("value",), None) in (None, 0)

"""Cut units out of a network in place, compare with the network whose units are zero, and try that with each layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.graph.channels import Channels
from shapprune.graph.dependents import Dependencies
from shapprune.graph.heads import trace_heads
from shapprune.graph.outputs import are_close, find_difference, map_tensors, tensors_of
from shapprune.graph.tracing import attributes_kept, trace
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision

Group = tuple[str, ...]


def copy_network(model: nn.Module) -> nn.Module:
    """Copy a network, also under `torch.inference_mode` and with values that an earlier pass left in its attributes."""
    left = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    with torch.inference_mode(False):
        return copy.deepcopy(model, {id(value): value.detach().clone() for value in left if not value.is_leaf})


def cut_units(model: nn.Module, graph: UnitGraph, chosen: Mapping[Group, Sequence[int]], example: Tensor) -> None:
    """Cut units out of a network, in place.

    Args:
        model: a copy of the network.
        graph: of the network.
        chosen: group of layers whose units leave together -> the units.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: what depends on the units cannot be followed.
    """
    Dependencies(model, example, graph).remove(chosen)


def masked(graph: UnitGraph, units: Mapping[str, Sequence[int]], images: Tensor) -> object:
    """Outputs of a network, in eval mode and float32, with units zeroed at the site ``activation``."""
    gone = {graph.site(name, "activation"): (graph.layout(name), list(indices)) for name, indices in units.items()}

    class Masked(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            if n in gone:
                layout, indices = gone[n]
                result = result.clone()
                layout.split(result)[:, indices] = 0  # a view
            return result

    with torch.no_grad(), mode(graph.traced, training=False), at_precision("fp32", images.device):
        return map_tensors(lambda each: each, Masked(graph.traced).run(images))


def compare(small: nn.Module, graph: UnitGraph, removed: Mapping[str, Sequence[int]], example: Tensor) -> None:
    """Raise unless a smaller network computes what the network does with the same units at zero.

    Args:
        small: the smaller network.
        graph: of the network before.
        removed: layer -> the units that it lost.
        example: images, [N, ...].
    """
    require_same(
        small,
        graph,
        lambda images: masked(graph, removed, images),
        f"units of {', '.join(removed)}",
        "at zero",
        example,
    )


def require_same(
    small: nn.Module,
    graph: UnitGraph,
    expect: Callable[[Tensor], object],
    gone: str,
    otherwise: str,
    example: Tensor,
) -> None:
    """Raise unless a smaller network computes what the network does in which the same is zero, or skipped.

    Args:
        small: the smaller network.
        graph: of the network before.
        expect: from images to outputs of the network before, in eval mode and float32.
        gone: what it lost, in words.
        otherwise: what the network before does with it instead, in words.
        example: images, [N, ...].
    """
    name, images = type(small).__name__, _with_noise(example)
    try:
        with attributes_kept(small), torch.no_grad(), mode(small, training=False), at_precision("fp32", images.device):
            outputs = map_tensors(lambda each: each, small(images))
    except Exception as error:  # whatever the network's own code raises
        raise ShapPruneError(f"{name} does not run without {gone}: {first_line(error)}") from error
    expected = expect(images)
    if any(each.isnan().any() for each in tensors_of(expected).values()):
        raise ShapPruneError(
            f"{name} puts out nan, so that nothing can be compared; look at its weights and the images"
        )
    if are_close(outputs, expected):
        if graph.has_heads and trace_heads(small, trace(small), images) is None:
            raise ShapPruneError(f"a head that {name} uses in training only reads {gone}, and cannot do without")
        return
    if not are_close(expect(images), expected):
        raise ShapPruneError(
            f"{name} puts out other numbers each time in eval mode, so that nothing can be compared; F.dropout needs"
            " training=self.training"
        )
    raise ShapPruneError(
        f"{name} without {gone} does not compute what it does with them {otherwise} (outputs"
        f" differ by {find_difference(outputs, expected):.1%} of the largest), so they cannot be removed from it"
    )


def find_refused(model: nn.Module, graph: UnitGraph, groups: Iterable[Group], example: Tensor) -> dict[Group, str]:
    """Find the groups that cannot lose a unit, by trying, and why.

    Units of every group leave at once, the first, a middle and the last; where that fails, groups are tried by halves.
    """
    groups = list(groups)
    channels = [group for group in groups if not any(graph.is_cut_here(name) for name in group)]
    refused: dict[Group, str] = {}
    if channels:
        try:
            Channels(copy_network(model), example, graph.traced)
        except ShapPruneError as error:
            refused = dict.fromkeys(channels, str(error))
    return refused | _refused(model, graph, [group for group in groups if group not in refused], example)


def _refused(model: nn.Module, graph: UnitGraph, groups: list[Group], example: Tensor) -> dict[Group, str]:
    if not groups:
        return {}
    units = {group: graph.units_of(group[0]) for group in groups}
    chosen = {group: sorted({0, count // 2, count - 1})[: count - 1] for group, count in units.items()}
    try:
        small = copy_network(model)
        cut_units(small, graph, chosen, example)
        compare(small, graph, {name: units for group, units in chosen.items() for name in group}, example)
    except ShapPruneError as error:
        if len(groups) == 1:
            return {groups[0]: str(error)}
        half = len(groups) // 2
        return {**_refused(model, graph, groups[:half], example), **_refused(model, graph, groups[half:], example)}
    return {}


def _with_noise(example: Tensor) -> Tensor:
    """Images with noise on top: on black ones a unit may be zero all the same."""
    if not example.is_floating_point():
        return example
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(example.shape, generator=generator).to(example)
    largest = example.detach().abs().amax()
    return example + noise * torch.where(largest > 0, largest, 1)

"""A repair: weights of the layers that read lost units, refitted by least squares.

Source: He, Zhang and Sun 2017 (https://arxiv.org/abs/1707.06168), without a ridge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.batchnorm import Norm, find_norms
from shapprune.pruning.ridge import fit_ridge

Refitted = nn.Conv2d | nn.Linear
Look = Callable[[Refitted, Tensor, Tensor, Tensor], Tensor]  # layer, inputs, outputs, positions -> [n, P, ...]

# A refit looks at so many numbers (128 MiB as float64) and positions of an image: twice as many fitted no better.
NUMBERS, POSITIONS = 2**24, 128
# Images that run at a time.
BATCH = 16
# A share of a layer's outputs that is rounding, and not refitted.
_ROUNDING = 1e-6


@torch.no_grad()
def refit_readers(
    small: nn.Module,
    model: nn.Module,
    graph: UnitGraph,
    readers: Sequence[str],
    units: Mapping[str, Sequence[int]],
    images: Tensor,
) -> None:
    """Refit the layers that read lost units, in the order they run, so that their outputs come near those before.

    Each refit is a ridge regression of what is missing from the outputs on the layer's inputs; so with a strong ridge
    the weights stay. The strength is the one that is best for images left out, and no refit is made if that is better.
    Where the layer has a bias, or a BatchNorm behind it whose running mean can take one, that is refitted too. Only
    nn.Conv2d of one group and nn.Linear, used once, are refitted; other readers (Conv1d, grouped convolutions ...) keep
    their weights.

    Args:
        small: the network that has lost units, in eval mode; it is changed in place.
        model: the network before, in eval mode.
        graph: of the network before.
        readers: the layers that read lost units.
        units: layer -> indices of the units that left.
        images: calibration images, [N, ...].

    Raises:
        ShapPruneError: ``small`` is not ``model`` without these units.
    """
    for name in readers:
        module, calls = graph.modules[name], graph.calls[name]
        # The weights of a subclass, as parametrised layers are, may be something else.
        if type(module) in (nn.Conv2d, nn.Linear) and getattr(module, "groups", 1) == len(calls) == 1:
            _refit(small, model, graph, name, units.get(name, ()), images)


def _refit(
    small: nn.Module, model: nn.Module, graph: UnitGraph, name: str, removed: Sequence[int], images: Tensor
) -> None:
    """Refit the layer ``name`` of ``small``; ``removed`` are the units that it has lost itself."""
    layer = small.get_submodule(name)
    assert isinstance(layer, Refitted)  # checked in refit_readers
    kept = _check_kept(layer, name, graph.units_of(name), removed)
    images, positions = _draw_positions(layer, name, graph, images)
    seen = _at_layer(small, name, images, positions, _inputs)
    wanted = _at_layer(model, name, images, positions, _outputs)[..., kept]
    missing = wanted - seen @ layer.weight.double().flatten(1).mT
    if layer.bias is not None:
        missing -= layer.bias
    if missing.norm() <= _ROUNDING * wanted.norm():
        return
    norm = _norm_behind(small, graph, name)
    fitted = fit_ridge(seen, missing, intercept=norm is not None or layer.bias is not None)
    if fitted is not None:
        change, shift = fitted
        layer.weight.add_(change.mT.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.add_(shift)
        elif norm is not None:
            norm.get_buffer("running_mean").sub_(shift)


def _check_kept(layer: Refitted, name: str, units: int, removed: Sequence[int]) -> list[int]:
    """List the units of a layer that are left; raise unless the smaller network has as many."""
    gone = {int(unit) for unit in removed}
    kept = [unit for unit in range(units) if unit not in gone]
    if len(kept) != len(layer.weight):
        raise ShapPruneError(
            f"layer {name!r} has {len(layer.weight)} units left, but {len(kept)} of {units} are not among those removed"
        )
    return kept


def _draw_positions(layer: Refitted, name: str, graph: UnitGraph, images: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what a refit looks at: images, [N, ...], and positions in the outputs of each, int [N, P]."""
    units, (node,) = graph.units_of(name), graph.calls[name]
    width, positions = max(units, layer.weight[0].numel()), graph.shapes[node][1:].numel() // units
    images = images[:: 1 + len(images) * width // NUMBERS]
    some = min(positions, POSITIONS, max(1, NUMBERS // (len(images) * width)))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randperm(positions, generator=generator)[:some] for _ in images])
    return images, drawn.to(images.device)


def _norm_behind(small: nn.Module, graph: UnitGraph, name: str) -> Norm | None:
    """Find the BatchNorm that alone reads the layer's outputs: lowering its running mean gives the layer a bias."""
    (node,) = graph.calls[name]
    users = ignore_sizes(node.users)
    units_second = isinstance(graph.modules[name], nn.Conv2d) or len(graph.shapes[node]) == 2
    return find_norms(small, graph).get(str(users[0].target)) if units_second and len(users) == 1 else None


def _at_layer(network: nn.Module, name: str, images: Tensor, positions: Tensor, look: Look) -> Tensor:
    """Run a network and collect what ``look`` takes from a layer, float64 [N, P, ...]; positions are int [N, P]."""
    seen, batches = [], iter(positions.split(BATCH))

    def note(layer: Refitted, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(look(layer, inputs[0], output, next(batches)))

    hook = network.get_submodule(name).register_forward_hook(note)
    try:
        for batch in images.split(BATCH):
            network(batch)
    finally:
        hook.remove()
    return torch.cat(seen).double()


def _outputs(layer: Refitted, _: Tensor, values: Tensor, positions: Tensor) -> Tensor:
    """Take outputs at some positions: [n, units, height, width] or [n, ..., units] -> a copy, [n, P, units]."""
    rows = values.flatten(2).mT if isinstance(layer, nn.Conv2d) else values.reshape(len(values), -1, values.shape[-1])
    return rows[torch.arange(len(rows), device=rows.device)[:, None], positions]


def _inputs(layer: Refitted, values: Tensor, _: Tensor, positions: Tensor) -> Tensor:
    """Take the inputs of the outputs at some positions, in the order of the weights: [n, P, features]."""
    if isinstance(layer, nn.Linear):
        return _outputs(layer, _, values, positions)
    how = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    values = F.pad(values, layer._reversed_padding_repeated_twice, how)
    size: tuple[int, ...]
    size, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    patches = (F.unfold(image[None], size, dilation, stride=stride)[0] for image in values)  # large: one at a time
    return torch.stack([each[:, some].mT for each, some in zip(patches, positions, strict=True)])

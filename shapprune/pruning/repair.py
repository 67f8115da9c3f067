"""Repairs for a network that has just lost units: a few images, no labels, no training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode

Refitted = nn.Conv2d | nn.Linear
Look = Callable[[Refitted, Tensor, Tensor, Tensor], Tensor]  # layer, inputs, outputs, places -> [n, P, ...]
Norm = nn.modules.batchnorm._BatchNorm

REPAIRS = ("none", "batchnorm", "least-squares")

# Ridge strengths, in units of the mean eigenvalue: from as good as none to weights that as good as stay.
_STRENGTHS = tuple(10.0**power for power in range(-7, 4))
# Numbers that a refit looks at (128 MiB as float64) and positions of an image: twice as many fitted no better.
_NUMBERS, _POSITIONS = 2**24, 128
# A share of a layer's outputs that need not be made up for.
_ROUNDING = 1e-6
# Images that a refit runs at a time, and numbers in the largest value of a pass for BatchNorm.
_BATCH, _PASS = 16, 2**28


@torch.no_grad()
def repair(
    small: nn.Module, model: nn.Module, units: Mapping[str, Sequence[int]], images: Tensor, how: str
) -> nn.Module:
    """Repair a network that has just lost units, with images alone.

    ``batchnorm``: every BatchNorm behind a layer that read the lost units gets the mean and unbiased variance of what
    it sees on the images, each on top of the new ones before it. Those of the pruned layers themselves see what they
    saw before and stay, as do those that have no running statistics or are used more than once. A network without
    any is left as it is.

    ``least-squares``: every layer that read the lost units, in the order they run, has its weights refitted so that
    its outputs come near those it had in ``model``. It is a ridge regression of what is missing, so a strong one
    leaves the weights as they are; its strength is the one that is best for images left out, and no refit is made
    if that is better. Where the layer has a bias, or a BatchNorm behind it whose running mean can take one, that is
    refitted too. Only nn.Conv2d of one group and nn.Linear, used once, are refitted; others that read the units
    (Conv1d, grouped convolutions ...) keep their weights. Depthwise convolutions lose channels and nothing else.

    Args:
        small: what `shapprune.remove_units` returned for ``model`` and ``units``; it is changed in place.
        model: the network before; it is left as it is.
        units: layer -> indices of the units that left, counted as they are in ``model``.
        images: scoring images, [N, ...].
        how: ``none``, ``batchnorm`` or ``least-squares``.

    Returns:
        ``small``, in its modes.

    Raises:
        ShapPruneError: an unknown repair, no images, a network that is not ``model`` without these units, or a
            BatchNorm that sees a single value of each channel.

    Source: new statistics after pruning: Li et al. 2020 (https://arxiv.org/abs/2007.02491); least squares: He, Zhang
    and Sun 2017 (https://arxiv.org/abs/1707.06168), without a ridge.
    """
    if how not in REPAIRS:
        raise unknown("repair", how, REPAIRS)
    if how == "none":
        return small
    if len(images) == 0:
        raise ShapPruneError(f"repair {how!r} was given no images, it needs 1 or more")
    images = images.to(next(model.parameters()).device)
    graph = UnitGraph(model, images[:2])
    readers = _readers(graph, small)
    with mode(small, training=False), mode(model, training=False):
        if how == "batchnorm":
            _reestimate(small, graph, readers, images)
        else:
            for name in readers:
                module, calls = graph.modules[name], graph.calls[name]
                # In a subclass, as parametrised layers are, the weights may be something else.
                if type(module) in (nn.Conv2d, nn.Linear) and getattr(module, "groups", 1) == len(calls) == 1:
                    _refit(small, model, graph, name, units.get(name, ()), images)
    return small


def _readers(graph: UnitGraph, small: nn.Module) -> list[str]:
    """The layers that read units that left, in the order they run."""

    def inputs(module: nn.Module) -> object:
        return module.in_features if isinstance(module, nn.Linear) else module.in_channels

    return [
        name
        for name in graph.calls
        if not graph.is_depthwise(name) and inputs(graph.modules[name]) != inputs(small.get_submodule(name))
    ]


def _norms(small: nn.Module, graph: UnitGraph) -> dict[str, Norm]:
    """The BatchNorms that have running statistics and are used once, in the order they run."""
    calls = Counter(str(node.target) for node in graph.traced.graph.nodes if node.op == "call_module")
    once = {name: small.get_submodule(name) for name, count in calls.items() if count == 1}
    return {name: norm for name, norm in once.items() if isinstance(norm, Norm) and norm.running_mean is not None}


def _reestimate(small: nn.Module, graph: UnitGraph, readers: Sequence[str], images: Tensor) -> None:
    """Give the BatchNorms behind the readers the statistics of the images."""
    behind = {node for name in readers for node in graph.calls[name]}
    for node in graph.traced.graph.nodes:  # in the order they run
        if behind.intersection(node.all_input_nodes):
            behind.add(node)
    names = {node.target for node in behind}
    norms = [(name, norm) for name, norm in _norms(small, graph).items() if name in names]
    numbers = max(shape[1:].numel() for shape in graph.shapes.values())
    batches = images.split(max(1, _PASS // numbers))
    # A BatchNorm that sees all images at once passes them on with its new statistics, so one pass does for all. In
    # several batches each takes a pass of its own.
    for together in [norms] if len(batches) == 1 else [[each] for each in norms]:
        hooks = [norm.register_forward_pre_hook(_Statistics(name, len(images))) for name, norm in together]
        try:
            for batch in batches:
                small(batch)
        finally:
            for hook in hooks:
                hook.remove()


class _Statistics:
    """A hook in front of a BatchNorm: when all images went by, their mean and variance become its own."""

    def __init__(self, name: str, images: int):
        self._name, self._waiting = name, images
        self._count = 0
        self._mean: Tensor | float = 0.0
        self._variance: Tensor | float = 0.0

    def __call__(self, norm: Norm, inputs: tuple[Tensor]) -> None:
        (values,) = inputs
        moments = torch.var_mean(values, [0, *range(2, values.dim())], correction=0)
        variance, mean = (each.double() for each in moments)
        count = values.numel() // values.shape[1]
        self._count += count
        share, step = count / self._count, mean - self._mean
        self._mean = mean = self._mean + share * step
        self._variance = (1 - share) * self._variance + share * variance + share * (1 - share) * step**2
        self._waiting -= len(values)
        if self._waiting <= 0:
            if self._count == 1:
                raise ShapPruneError(f"BatchNorm {self._name!r} sees 1 value of each channel, it needs 2 or more")
            norm.get_buffer("running_mean").copy_(mean)
            norm.get_buffer("running_var").copy_(self._variance * self._count / (self._count - 1))


def _refit(
    small: nn.Module, model: nn.Module, graph: UnitGraph, name: str, removed: Sequence[int], images: Tensor
) -> None:
    """Refit the layer ``name`` of ``small``; ``removed`` are the units that it lost itself."""
    layer, (node,) = small.get_submodule(name), graph.calls[name]
    assert isinstance(layer, Refitted)  # seen to in repair
    units, gone = graph.units_of(name), {int(unit) for unit in removed}
    kept = [unit for unit in range(units) if unit not in gone]
    if len(kept) != len(layer.weight):
        raise ShapPruneError(
            f"layer {name!r} has {len(layer.weight)} units left, but {len(kept)} of {units} are not among those given"
        )
    width, positions = max(units, layer.weight[0].numel()), graph.shapes[node][1:].numel() // units
    images = images[:: 1 + len(images) * width // _NUMBERS]
    some = min(positions, _POSITIONS, max(1, _NUMBERS // (len(images) * width)))
    generator = torch.Generator().manual_seed(0)
    places = torch.stack([torch.randperm(positions, generator=generator)[:some] for _ in images]).to(images.device)
    seen = _at_layer(small, name, images, places, _inputs)
    wanted = _at_layer(model, name, images, places, _outputs)[..., kept]
    missing = wanted - seen @ layer.weight.double().flatten(1).mT
    if layer.bias is not None:
        missing -= layer.bias
    if missing.norm() <= _ROUNDING * wanted.norm():
        return
    norm = _norm_behind(small, graph, name)
    fitted = _ridge(seen, missing, intercept=norm is not None or layer.bias is not None)
    if fitted is not None:
        change, shift = fitted
        layer.weight.add_(change.mT.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.add_(shift)
        elif norm is not None:
            norm.get_buffer("running_mean").sub_(shift)


def _norm_behind(small: nn.Module, graph: UnitGraph, name: str) -> Norm | None:
    """The BatchNorm that alone reads the layer's outputs: to lower its running mean is to give the layer a bias."""
    (node,) = graph.calls[name]
    users = ignore_sizes(node.users)
    units_second = isinstance(graph.modules[name], nn.Conv2d) or len(graph.shapes[node]) == 2
    return _norms(small, graph).get(str(users[0].target)) if units_second and len(users) == 1 else None


def _at_layer(network: nn.Module, name: str, images: Tensor, places: Tensor, look: Look) -> Tensor:
    """What ``look`` finds at a layer when the network runs, float64 [N, P, ...]; places are int [N, P]."""
    seen, at = [], iter(places.split(_BATCH))

    def note(layer: Refitted, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(look(layer, inputs[0], output, next(at)))

    hook = network.get_submodule(name).register_forward_hook(note)
    try:
        for batch in images.split(_BATCH):
            network(batch)
    finally:
        hook.remove()
    return torch.cat(seen).double()


def _outputs(layer: Refitted, _: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """Outputs at some positions: [n, units, height, width] or [n, ..., units] -> a copy, [n, P, units]."""
    rows = values.flatten(2).mT if isinstance(layer, nn.Conv2d) else values.reshape(len(values), -1, values.shape[-1])
    return rows[torch.arange(len(rows), device=rows.device)[:, None], places]


def _inputs(layer: Refitted, values: Tensor, _: Tensor, places: Tensor) -> Tensor:
    """What the outputs at some positions are made of, in the order of the weights: [n, P, features]."""
    if isinstance(layer, nn.Linear):
        return _outputs(layer, _, values, places)
    how = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    values = F.pad(values, layer._reversed_padding_repeated_twice, how)
    size: tuple[int, ...]
    size, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    patches = (F.unfold(image[None], size, dilation, stride=stride)[0] for image in values)  # large: one at a time
    return torch.stack([each[:, some].mT for each, some in zip(patches, places, strict=True)])


def _ridge(seen: Tensor, missing: Tensor, intercept: bool) -> tuple[Tensor, Tensor] | None:
    """The ridge regression of ``missing`` on ``seen`` with the strength that is best for images left out.

    Args:
        seen: [N, P, features]; it may be overwritten.
        missing: [N, P, units]; it may be overwritten.
        intercept: whether there is one; it is not held small.

    Returns:
        The weights, [features, units], and the intercepts, [units]; None if 0 is better for images left out. A single
        image cannot be left out, and gets the strength in the middle.
    """
    nothing = float(missing.square().sum())
    center, shift = seen.mean((0, 1)) * intercept, missing.mean((0, 1)) * intercept
    seen, missing = seen.sub_(center), missing.sub_(shift)
    basis, eigenvalues = _principal_axes(seen)
    target = basis.flatten(0, 1).mT @ missing.flatten(0, 1)
    unit = float(eigenvalues.sum()) / seen.shape[2] or 1.0  # all inputs may be the same
    of_mean = intercept / (seen.shape[0] * seen.shape[1])

    def residuals(strength: float) -> Tensor:
        return missing - basis @ (target / (eigenvalues + strength)[:, None])

    strengths = [unit * each for each in _STRENGTHS]
    best = strengths[len(strengths) // 2]
    if len(seen) > 1:
        errors = [_left_out(basis, 1 / (eigenvalues + each), residuals(each), of_mean) for each in strengths]
        best = strengths[errors.index(min(errors))]
        if min(errors) >= nothing:
            return None
    # At the minimum of |y - X w|^2 + strength |w|^2 it is X' (y - X w) = strength w.
    change = seen.flatten(0, 1).mT @ residuals(best).flatten(0, 1) / best
    return change, shift - center @ change


def _principal_axes(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in the axes of their Gram matrix, [N, P, r], and its eigenvalues, [r], by the smaller of X X' and X' X."""
    rows = seen.flatten(0, 1)
    wide = len(rows) < rows.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(rows @ rows.mT if wide else rows.mT @ rows)
    # Beside the smallest ridge, rounding in place of a zero would count.
    eigenvalues[eigenvalues < 1e-12 * eigenvalues[-1]] = 0
    basis = vectors * eigenvalues.sqrt() if wide else rows @ vectors
    return basis.reshape(*seen.shape[:2], -1), eigenvalues


def _left_out(basis: Tensor, shrinkage: Tensor, residuals: Tensor, of_mean: float) -> float:
    """The squared error of all images, each predicted by the fit to the others, which need not be made for that.

    A linear fit is y -> H y; errors of rows i that are left out together are (1 - H_ii)^-1 times their residuals.

    Args:
        basis: rows in principal axes, [N, P, r].
        shrinkage: [r]; H = basis diag(shrinkage) basis' + of_mean.
        residuals: of the fit to all, [N, P, units].
        of_mean: what an intercept adds to H.

    Source: Allen 1974, for one row at a time (https://doi.org/10.1080/00401706.1974.10489157).
    """
    one, total = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device), 0.0
    some = max(1, _NUMBERS // (4 * one.numel()))
    for rows, errors in zip(basis.split(some), residuals.split(some), strict=True):
        left_out = torch.linalg.solve(one - (rows * shrinkage) @ rows.mT - of_mean, errors)
        total += float(left_out.square().sum())
    return total

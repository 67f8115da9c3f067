"""A repair: weights of layers whose inputs have changed, fitted anew from input to output.

Sources: least squares on what the smaller network puts out: He, Zhang and Sun 2017 (https://arxiv.org/abs/1707.06168),
whose enhanced variant also aims at the sum of a residual block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.dependents import Dependencies, Lost
from shapprune.graph.lockstep import Lockstep
from shapprune.graph.operations import Meaning, name_of, weight_of
from shapprune.graph.residual import ResidualPart
from shapprune.graph.rows import Linear, counted_rows, has_rows, output_rows, some_input_rows
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.folding import scale_of
from shapprune.networks.named_inputs import counted_positions
from shapprune.pruning.ridge import fit_ridge

# A refit looks at so many numbers (128 MiB as float64), positions of an image, and positions of all images: twice as
# many fitted no better.
NUMBERS, POSITIONS, ROWS = 2**24, 512, 25_600
# Numbers in the largest value of a pass.
PASS = 2**27
# A share of a layer's outputs that is rounding, and not refitted.
_ROUNDING = 1e-6
# A BatchNorm that multiplies a unit by less than this share of its largest scale says nothing about the unit's inputs.
_TINY = 1e-3


@torch.no_grad()
def sweep(
    small: nn.Module,
    graph: UnitGraph,
    dependencies: Dependencies,
    units: Mapping[str, Sequence[int]],
    images: Tensor,
    originals: int | None = None,
    sums: bool = True,
    skipped: Sequence[ResidualPart] = (),
    twin: fx.GraphModule | None = None,
) -> None:
    """Fit the layers whose inputs have changed, in the order they run, so that outputs come near those before.

    Each fit is a ridge regression of what is missing from the outputs on the layer's inputs as they are in the smaller
    network; so with a strong ridge the weights stay. The strength is the one that is best for images left out, and no
    fit is made if that is better. Where the outputs are added to others that have changed too, as in a residual block,
    the fit aims at the sum. Where the layer has a bias, or a BatchNorm behind it whose running mean can take one, that
    is fitted too. Only nn.Conv2d of one group and nn.Linear, used once and with weights that no other module has, are
    fitted; others keep their weights. Positions that are padding do not count.

    Args:
        small: the network that has lost units, in eval mode; it is changed in place.
        graph: of the network before, in eval mode.
        dependencies: of its units.
        units: layer -> indices of the units that left.
        images: calibration images, [N, ...].
        originals: how many of them come first and are no copies; all others are copies of these in the same order,
            again and again. By default there are no copies.
        sums: whether to aim at sums; False for a fit to each layer's own outputs.
        skipped: residual parts of the network that are to leave the smaller one, which still has them.
        twin: the graph of the smaller one, where it has been recorded already.

    Raises:
        ShapPruneError: ``small`` is not the network before without these units.
    """
    fitted = {calls[0] for name, calls in graph.calls.items() if _can_be_fitted(graph, name)}
    run = list(graph.traced.graph.nodes)
    while run and run[-1] not in fitted:
        run.pop()
    if not run:
        return
    largest = max(graph.shapes[node][1:].numel() for node in run if node in graph.shapes)
    images = images[: max(2, PASS // largest)]
    lost = dependencies.lost(units) if units else {}
    lockstep = Lockstep(graph.traced, small, images, skipped, twin)
    _Sweep(small, graph, lost, images, originals or len(images), sums, lockstep).run(run[-1])


class _Sweep:
    def __init__(
        self,
        small: nn.Module,
        graph: UnitGraph,
        lost: Mapping[str, Lost],
        images: Tensor,
        originals: int,
        sums: bool,
        lockstep: Lockstep,
    ):
        self._small, self._graph, self._sums, self._lockstep = small, graph, sums, lockstep
        self._originals, self._images = originals, len(images)
        layers = (name for name in graph.calls if not graph.is_depthwise(name))
        self._counted = counted_positions(graph.modules[""], images)
        modules = self._lockstep.small.submodules
        self._kept = {
            name: _check_kept(modules[name], name, graph.units_of(name), lost.get(name, Lost()).outputs)
            for name in layers
        }

    def run(self, last: fx.Node) -> None:
        """Fit all layers up to the call of the last."""
        self._lockstep.run(self._fit, last)

    def _fit(self, node: fx.Node) -> None:
        """Fit the layer that a node calls, if it is one that can be."""
        name = str(node.target)
        if node.op != "call_module" or not _can_be_fitted(self._graph, name):
            return
        layer, before = self._lockstep.small.submodules[name], self._graph.modules[name]
        assert isinstance(layer, Linear)
        _, seen = self._lockstep.value(node.all_input_nodes[0])
        outputs, lost = self._rows(before, self._lockstep.large.env[node]), self._lost(node, name)
        counted = counted_rows(self._counted, outputs)
        images, positions = _draw_positions(layer, outputs, counted)
        counted = None if counted is None else counted[images, positions]
        wanted = outputs[images, positions][..., self._kept[name]]
        if lost is not None:
            wanted = wanted + self._rows(before, lost)[images, positions]
        rows = some_input_rows(layer, seen, self._images, images, positions)
        missing = wanted - rows @ layer.weight.flatten(1).mT
        if layer.bias is not None:
            missing -= layer.bias
        norm = self._graph.norm_behind(name)
        which = slice(None) if counted is None else counted
        if missing[which].norm() > _ROUNDING * wanted[which].norm():
            copied = images[:, 0] % self._originals
            fitted = fit_ridge(rows, missing, self._graph.takes_intercept(name), copied, counted)
            if fitted is not None:
                change, shift = fitted
                layer.weight.add_(change.mT.reshape(layer.weight.shape))
                if layer.bias is not None:
                    layer.bias.add_(shift)
                elif norm is not None:
                    self._small.get_submodule(norm).get_buffer("running_mean").sub_(shift)

    def _rows(self, layer: Linear, values: Tensor) -> Tensor:
        """Outputs of a layer, [images, P, units]; an image may have several of the values, as it has windows."""
        rows = output_rows(layer, values)
        return rows.reshape(self._images, -1, rows.shape[-1])

    def _lost(self, node: fx.Node, name: str) -> Tensor | None:
        """What is lost of a value that is added to the outputs of a layer, in the units of its outputs."""
        if not self._sums:
            return None
        norm = self._graph.norm_behind(name)
        (value,) = ignore_sizes(node.users) if norm is not None else (node,)
        while len(users := ignore_sizes(value.users)) == 1 and _is_dropout(users[0], self._graph.modules):
            (value,) = users
        if len(users) != 1 or self._graph.meaning(users[0]) is not Meaning.ADD or not _is_plain_sum(users[0]):
            return None
        others = [each for each in users[0].all_input_nodes if each is not value]
        if len(others) != 1 or not self._lockstep.see_ahead(others[0]) or others[0] not in self._lockstep.differs:
            return None
        intact, small = self._lockstep.value(others[0])
        linear = isinstance(self._graph.modules[name], nn.Linear)
        kept = intact[..., self._kept[name]] if linear else intact[:, self._kept[name]]
        lost = kept - small
        if norm is None:
            return lost
        scale = scale_of(self._small.get_submodule(norm))
        shares = torch.where(scale.abs() > _TINY * scale.abs().max(), 1 / scale, 0)
        return lost * (shares if linear else shares.reshape(1, -1, *[1] * (lost.dim() - 2)))


def _can_be_fitted(graph: UnitGraph, name: str) -> bool:
    """Whether a module is a layer with weights that count nowhere else."""
    return len(graph.calls.get(name, ())) == 1 and has_rows(graph.modules[name]) and not graph.is_tied(name)


def _is_dropout(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node does nothing in eval mode."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.Dropout | nn.Identity)
    return name_of(node) == "dropout"


def _is_plain_sum(node: fx.Node) -> bool:
    """Whether a node adds its inputs with weights of one."""
    return name_of(node) in ("add", "iadd", "add_") and not node.kwargs.get("alpha")


def _check_kept(layer: nn.Module, name: str, units: int, gone: Collection[int]) -> list[int]:
    """List the units of a layer that are left; raise unless the smaller network has as many."""
    kept = [unit for unit in range(units) if unit not in gone]
    left = len(weight_of(layer))
    if len(kept) != left:
        raise ShapPruneError(
            f"layer {name!r} has {left} units left, but {len(kept)} of {units} are not among those removed"
        )
    return kept


def _draw_positions(layer: Linear, outputs: Tensor, counted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Draw what a fit looks at: images, int [N, 1], and positions in the outputs of each, int [N, P].

    Args:
        layer: what is fitted.
        outputs: of it, [N, P, units].
        counted: which of them count, bool [N, P], and are drawn first; None for all.
    """
    images, positions, _ = outputs.shape
    width = max(outputs.shape[2], layer.weight[0].numel())
    chosen = torch.arange(0, images, 1 + images * width // NUMBERS)
    some = min(positions, POSITIONS, max(1, min(ROWS, NUMBERS // width) // len(chosen)))
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for image in chosen:
        order = torch.randperm(positions, generator=generator)
        if counted is not None:
            order = order[counted[image].cpu()[order].logical_not().long().argsort(stable=True)]
        drawn.append(order[:some])
    return chosen[:, None].to(outputs.device), torch.stack(drawn).to(outputs.device)

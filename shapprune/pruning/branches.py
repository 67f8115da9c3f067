"""Networks without some of their residual branches or blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from shapprune.core.errors import unknown
from shapprune.graph.branches import parameters_of
from shapprune.graph.dependents import Dependencies
from shapprune.graph.removing import copy_network, require_same
from shapprune.graph.replacing import replace_branches
from shapprune.graph.residual import ResidualPart, find_parts
from shapprune.graph.skipping import Skipping
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.pruning.repair import REPAIRS_OF_BRANCHES
from shapprune.pruning.sweep import sweep


@dataclass(frozen=True)
class PrunableBranch:
    """A residual branch, or a block of branches, that can be skipped.

    Attributes:
        name: the path of the module that has its layers, as `remove_branches` and `shapprune.BranchGame` name it.
        kind: ``"branches"`` or ``"blocks"``.
        parameters: how many it has.
    """

    name: str
    kind: str
    parameters: int


def prunable_branches(model: nn.Module, example: Tensor, kind: str = "branches") -> list[PrunableBranch]:
    """The residual branches, or blocks of them, of a network, in the order they begin.

    Args:
        model: a network of one input that can be traced.
        example: images, [N, ...], that it can run on.
        kind: ``branches``, or ``blocks``: the innermost modules that hand on what they are given, unchanged, where all
            of their branches are skipped, as the layers of a transformer do.

    Raises:
        ShapPruneError: an unknown kind, or there are none; or the network cannot be traced, or fails on ``example``.

    Examples:
        >>> import torch, shapprune
        >>> from shapprune.networks.builders import build
        >>> network = build("resnet20", (3, 32, 32), 10)
        >>> shapprune.prunable_branches(network, torch.rand(1, 3, 32, 32))[0]
        PrunableBranch(name='layer1.0', kind='branches', parameters=4672)
    """
    graph = UnitGraph(model, example[:2])
    return [PrunableBranch(part.name, kind, _parameters(graph, part)) for part in find_parts(graph, kind)]


def remove_branches(
    model: nn.Module, names: Iterable[str], example: Tensor, kind: str = "branches", repair: str = "none"
) -> nn.Module:
    """Copy a network without some of its residual branches, or blocks of them.

    A module of which nothing is left but its shortcut is replaced by one that hands on its input. Where a module has
    more to do, as the convolution of a shortcut, the modules of its branch are replaced, the last by one that puts out
    zeros. Nothing of the branch is computed, and it has no parameters.

    Args:
        model: a network of one input that can be traced; it is left as it is.
        names: of the branches or blocks, as `prunable_branches` gives them.
        example: images, [N, ...], that the network can run on; all of them calibrate a repair.
        kind: of what is named, ``branches`` or ``blocks``.
        repair: ``none``, or ``least-squares``: the layers behind what leaves are fitted, from input to output, so that
            outputs come near those before (`shapprune.pruning.sweep.sweep`).

    Returns:
        The smaller network, in the model's modes. Its attribute ``removed_branches`` has the names of all that it ever
        lost; `shapprune.save` and `shapprune.load` know of it.

    Raises:
        ShapPruneError: an unknown name, kind or repair, or a branch without modules of its own. What is left is
            compared with the network that skips these branches, before it is handed out.

    Examples:
        >>> import torch, shapprune
        >>> from shapprune.networks.builders import build
        >>> network = build("resnet20", (3, 32, 32), 10).eval()
        >>> small = shapprune.remove_branches(network, ["layer1.1", "layer2.0"], torch.rand(1, 3, 32, 32))
        >>> small.removed_branches
        ['layer1.1', 'layer2.0']
        >>> small.layer1[1]
        StandIn(input)
    """
    if repair not in REPAIRS_OF_BRANCHES:
        raise unknown("repair of branches", repair, REPAIRS_OF_BRANCHES)
    images, example = example, example[:2]
    graph, wanted = UnitGraph(model, example), [names] if isinstance(names, str) else list(names)
    parts = find_parts(graph, kind)
    known = [part.name for part in parts]
    for name in wanted:
        if name not in known:
            raise unknown({"branches": "branch", "blocks": "block"}[kind], name, known)
    gone = [place for place, name in enumerate(known) if name in wanted]
    if repair == "least-squares":
        model = _fitted(model, graph, [parts[place] for place in gone], images)
        graph = UnitGraph(model, example)
        parts = find_parts(graph, kind)
    small = copy_network(model)
    replace_branches(small, graph, [parts[place] for place in gone], example)
    skipping = Skipping(graph, parts)
    require_same(
        small, graph, lambda images: skipping.whole(images, gone), f"{kind} {', '.join(wanted)}", "skipped", example
    )
    small.removed_branches = [*removed_branches(model), *(known[place] for place in gone)]  # type: ignore[assignment]
    return small


def _fitted(model: nn.Module, graph: UnitGraph, gone: Sequence[ResidualPart], images: Tensor) -> nn.Module:
    """A copy of a network whose layers are fitted for what they get where parts are skipped."""
    fitted, images = copy_network(model), images.to(next(model.parameters()).device)
    with mode(model, training=False), mode(fitted, training=False):
        sweep(fitted, graph, Dependencies(model, images[:2], graph), {}, images, skipped=gone)
    return fitted


def removed_branches(model: nn.Module) -> list[str]:
    """Look up which branches and blocks a network has ever lost."""
    return list(getattr(model, "removed_branches", []))


def _parameters(graph: UnitGraph, part: ResidualPart) -> int:
    """How many parameters the operations of a part have, each counted once."""
    return sum(each.numel() for each in {each for node in part.own for each in parameters_of(graph, node)})

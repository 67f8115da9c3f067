"""A repair: running statistics of BatchNorms, estimated again on a network that has lost units.

Source: Li et al. 2020 (https://arxiv.org/abs/2007.02491).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.rows import counted_rows
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.batches import in_batches
from shapprune.networks.named_inputs import counted_positions

Norm = nn.modules.batchnorm._BatchNorm

# Numbers in the largest value of a pass.
PASS = 2**28


@torch.no_grad()
def reestimate_statistics(small: nn.Module, graph: UnitGraph, readers: Sequence[str], images: Tensor) -> None:
    """Estimate the statistics of the BatchNorms behind the layers that read lost units.

    Each gets the mean and unbiased variance of what it sees on the images, once those before it have theirs. BatchNorms
    of the pruned layers themselves see what they saw before and stay as they are; so do those without running
    statistics and those used more than once.

    Args:
        small: the network that has lost units, in eval mode; it is changed in place.
        graph: of the network before.
        readers: the layers that read lost units.
        images: calibration images, [N, ...].

    Raises:
        ShapPruneError: a BatchNorm sees a single value of each channel.
    """
    behind = {node for name in readers for node in graph.calls[name]}
    for node in graph.traced.graph.nodes:  # in the order they run
        if behind.intersection(node.all_input_nodes):
            behind.add(node)
    names = {node.target for node in behind}
    norms = [(name, norm) for name, norm in find_norms(small, graph).items() if name in names]
    numbers = max(shape[1:].numel() for shape in graph.shapes.values())
    batches = in_batches(images, max(2, PASS // numbers))
    # A BatchNorm that sees all images in one batch passes them on with its new statistics, so one pass does for all
    # BatchNorms. With several batches, each BatchNorm takes a pass of its own.
    counted = [counted_positions(small, batch) for batch in batches]
    for together in [norms] if len(batches) == 1 else [[each] for each in norms]:
        hooks = [norm.register_forward_pre_hook(_Statistics(name, counted)) for name, norm in together]
        try:
            for batch in batches:
                small(batch)
        finally:
            for hook in hooks:
                hook.remove()


def find_norms(small: nn.Module, graph: UnitGraph) -> dict[str, Norm]:
    """Find the BatchNorms of a network that have running statistics and are used once, in the order they run."""
    calls = Counter(str(node.target) for node in graph.traced.graph.nodes if node.op == "call_module")
    once = {name: small.get_submodule(name) for name, count in calls.items() if count == 1}
    return {name: norm for name, norm in once.items() if isinstance(norm, Norm) and norm.running_mean is not None}


class _Statistics:
    """A hook in front of a BatchNorm: after the last batch it gives it the mean and variance of all of them.

    Args:
        name: of the BatchNorm.
        counted: for each batch, the positions of its sequences that are no padding; None where all count.
    """

    def __init__(self, name: str, counted: Iterable[Tensor | None]):
        self._name, self._waiting = name, deque(counted)
        self._count = 0
        self._mean: Tensor | float = 0.0
        self._variance: Tensor | float = 0.0

    def __call__(self, norm: Norm, inputs: tuple[Tensor]) -> None:
        (values,) = inputs
        counted = self._waiting.popleft()
        if values.dim() == 3 and (there := counted_rows(counted, values.mT)) is not None:
            values = values.mT[there]
        moments = torch.var_mean(values, [0, *range(2, values.dim())], correction=0)
        variance, mean = (each.double() for each in moments)
        count = values.numel() // values.shape[1]
        self._count += count
        share, step = count / self._count, mean - self._mean
        self._mean = mean = self._mean + share * step
        self._variance = (1 - share) * self._variance + share * variance + share * (1 - share) * step**2
        if not self._waiting:
            if self._count == 1:
                raise ShapPruneError(f"BatchNorm {self._name!r} sees 1 value of each channel, it needs 2 or more")
            norm.get_buffer("running_mean").copy_(mean)
            norm.get_buffer("running_var").copy_(self._variance * self._count / (self._count - 1))

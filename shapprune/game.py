"""The game of one layer: its units are the players, and a coalition (the units kept) is worth the payoff it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shapprune.cut import Cut, cut_at, repeat
from shapprune.errors import ShapPruneError, unknown
from shapprune.modes import mode
from shapprune.units import UnitGraph

Payoff = Callable[[Tensor, Tensor], Tensor]


def minus_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the cross-entropy of each example, float [N]."""
    return -F.cross_entropy(outputs, labels, reduction="none")


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """1 where the label has the largest output, else 0, float [N]."""
    return (outputs.argmax(1) == labels).to(outputs.dtype)


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    """Output of the label minus the largest other output, float [N]."""
    own = outputs.gather(1, labels[:, None])[:, 0]
    others = outputs.scatter(1, labels[:, None], -torch.inf)
    return own - others.amax(1)


PAYOFFS: dict[str, Payoff] = {"loss": minus_loss, "accuracy": accuracy, "margin": margin}


class Block(NamedTuple):
    """Some coalitions and some examples that share a call of the network."""

    coalitions: slice
    examples: slice


class CutNetwork(NamedTuple):
    """A cut network with the values of the scoring images: at the cut, [N, n, ...], and beside it."""

    cut: Cut
    values: Tensor
    crossing: list[object]

    def crossing_of(self, examples: slice) -> list[object]:
        """What crosses the cut beside the site, for some examples."""
        return [each[examples] if isinstance(each, Tensor) and each.dim() else each for each in self.crossing]

    def run(self, values: Tensor, examples: slice, times: int) -> Tensor:
        """Run the part after the cut on values of ``times`` coalitions of some examples."""
        return self.cut.after(values, *repeat(self.crossing_of(examples), times))


class LayerGame:
    """The game of one layer of a trained network on a set of scoring images.

    The network is cut at the layer's site once; every coalition runs only the part after it. The model is used in
    eval mode and handed back as it came: mode, gradients, BatchNorm statistics and random state are untouched.

    Args:
        model: a network of one input that torch.fx can trace; it stays where it is (CPU or CUDA).
        layer: name of a convolution or linear layer.
        images: scoring images, [N, ...].
        labels: their labels, [N]; what the payoff takes as its second argument.
        site: where a unit is zeroed: ``output``, ``norm`` or ``activation`` (default; equals removing the unit).
        payoff: ``loss`` (minus the example's loss), ``accuracy``, ``margin``, or a function of (outputs, labels) that
            returns a value for each example, [N], higher = better.
        examples: a number for each image that seeds its draws, int [N]; default 0 ... N-1. With the images' places in
            the data set, splitting the set over jobs changes no draw.
        memory_mb: about how much memory one call of the network may take.

    Attributes:
        units: how many players, n.
        examples: the numbers given for the images, int [N].
        evaluations: suffix passes of one coalition over all scoring images so far; a gradient counts as 3.

    Raises:
        ShapPruneError: the network cannot be cut at the layer, or images, labels and outputs do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        images: Tensor,
        labels: Tensor,
        *,
        site: str = "activation",
        payoff: str | Payoff = "loss",
        examples: np.ndarray | None = None,
        memory_mb: int = 256,
    ):
        if len(images) == 0 or len(images) != len(labels):
            raise ShapPruneError(
                f"{len(images)} scoring images and {len(labels)} labels were given, as many of each are needed"
            )
        self.model, self.layer, self.site = model, layer, site
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self.images, self.labels = images.to(device), labels.to(device)
        self.examples = np.arange(len(images)) if examples is None else np.asarray(examples)
        if callable(payoff):
            self.payoff_name, self._payoff = getattr(payoff, "__name__", "own"), payoff
        elif payoff in PAYOFFS:
            self.payoff_name, self._payoff = payoff, PAYOFFS[payoff]
        else:
            raise unknown("payoff", payoff, PAYOFFS)
        graph = UnitGraph(model, self.images[:2])
        self.units: int = graph.layer(layer).units
        self.module: nn.Module = graph.modules[layer]
        numbers = max(shape.numel() // shape[0] for shape in graph.shapes.values() if len(shape))
        self._rows = max(1, int(memory_mb * 2**20 / (4 * 3 * numbers)))  # about three such values are alive at a time
        self.evaluations = 0.0
        self._graph = graph
        self._site_node = graph.site(layer, site)
        self._gated = self._cut_at(graph.past_pooling(self._site_node))
        with torch.no_grad(), mode(model, training=False):
            outputs = self._gated.run(self._gated.values[:1], slice(0, 1), 1)
        self._check_labels(outputs)

    def __len__(self) -> int:
        """How many scoring images, N."""
        return len(self.images)

    def _cut_at(self, node: fx.Node) -> CutNetwork:
        """Cut the network after a node and run the part before it on the scoring images."""
        cut = cut_at(self._graph.traced, node)
        cut.check(self.model, self.images)
        with torch.no_grad(), mode(self.model, training=False):
            parts = [cut.before(images) for images in self.images.split(self._rows)]
        columns = list(zip(*parts, strict=True))
        values, *crossing = [torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in columns]
        return CutNetwork(cut, values, crossing)

    @cached_property
    def _at_site(self) -> CutNetwork:
        return self._cut_at(self._site_node)

    @property
    def activations(self) -> Tensor:
        """The values at the site, nothing removed, float [N, n, ...]."""
        return self._at_site.values

    def value(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """The payoff of coalitions for each example.

        Args:
            coalitions: True = the unit is kept; bool [C, n], or [C, N, n] for coalitions of each example's own.

        Returns:
            v(S) of each example, float [C, N].
        """
        return self._map(coalitions, lambda outputs, labels: self._payoff(outputs, labels)[None])[0]

    def loss_and_accuracy(self, coalitions: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of each example under coalitions, whatever the payoff; float [C, N] each."""
        both = self._map(
            coalitions,
            lambda outputs, labels: torch.stack([-minus_loss(outputs, labels), accuracy(outputs, labels)]),
        )
        return both[0], both[1]

    def gate_gradient(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """The gradient of each example's payoff in the gates (1 = kept, 0 = removed) that multiply the units.

        Args:
            coalitions: where to take it, bool [C, n] or [C, N, n].

        Returns:
            float [C, N, n].

        Raises:
            ShapPruneError: the payoff has no gradient.
        """
        self._require_gradient()
        masks = self._masks(coalitions)
        result = torch.empty(len(masks), len(self), self.units, device=self.images.device)
        with mode(self.model, training=False), torch.enable_grad():
            for block in self._blocks(len(masks), costs=3):
                gates = self._gates(masks, block).requires_grad_(True)
                outputs = self._run_masked(gates, block)
                values = self._values(outputs, block, self._payoff)
                (result[block.coalitions, block.examples],) = torch.autograd.grad(values.sum(), gates)
        self._count(len(masks), 3)
        return result

    def activation_gradient(self) -> Tensor:
        """The gradient of each example's payoff in the values at the site, nothing removed; shape of `activations`.

        Raises:
            ShapPruneError: the payoff has no gradient.
        """
        self._require_gradient()
        result = torch.empty_like(self.activations)
        with mode(self.model, training=False), torch.enable_grad():
            for block in self._blocks(1, costs=3):
                values = self.activations[block.examples].clone().requires_grad_(True)
                outputs = self._at_site.run(values * 1, block.examples, 1)  # times 1: what follows may be in place
                payoff = self._values(outputs, block, self._payoff)
                (result[block.examples],) = torch.autograd.grad(payoff.sum(), values)
        self._count(1, 3)
        return result

    def walk(self, ranks: Tensor) -> Tensor:
        """Values along removal orders, from the whole layer to the empty one.

        Args:
            ranks: place of each unit in the removal order of each example, int [N, n]; 0 leaves first.

        Returns:
            float [n + 1, N]; row j is the value when the first j units of the order are gone.
        """
        steps = torch.arange(1, self.units, device=ranks.device)
        block = max(1, self._rows // len(self))
        inner = [self.value(ranks[None] >= some[:, None, None]) for some in steps.split(block)]
        return torch.cat([self.full[None], *inner, self.empty[None]])

    @property
    def full(self) -> Tensor:
        """The value of the whole layer for each example, float [N]."""
        return self._end(True)

    @property
    def empty(self) -> Tensor:
        """The value when all units are gone for each example, float [N]."""
        return self._end(False)

    def _end(self, kept: bool) -> Tensor:
        """The value of the full or the empty coalition, computed once."""
        known: dict[bool, Tensor] = self.__dict__.setdefault("_ends", {})
        if kept not in known:
            known[kept] = self.value(torch.full((1, self.units), kept))[0]
        return known[kept]

    def _map(self, coalitions: Tensor | np.ndarray, of: Payoff) -> Tensor:
        """``of`` the outputs of every coalition: it returns [k, rows], the result is [k, C, N]."""
        masks = self._masks(coalitions)
        result: Tensor | None = None
        with torch.no_grad(), mode(self.model, training=False):
            for block in self._blocks(len(masks)):
                values = self._values(self._run_masked(self._gates(masks, block), block), block, of)
                if result is None:
                    result = torch.empty(len(values), len(masks), len(self), device=values.device, dtype=values.dtype)
                result[:, block.coalitions, block.examples] = values
        self._count(len(masks), 1)
        return result if result is not None else torch.empty(2, 0, len(self), device=self.images.device)

    def _masks(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """Coalitions as a bool tensor [C, 1 or N, n]."""
        masks = torch.as_tensor(coalitions).to(self.images.device)
        if masks.dtype != torch.bool:
            raise ShapPruneError(f"coalitions are {masks.dtype}, bool is needed (True = the unit is kept)")
        if masks.dim() == 2:
            masks = masks[:, None]
        if masks.dim() != 3 or masks.shape[2] != self.units or masks.shape[1] not in (1, len(self)):
            raise ShapPruneError(
                f"coalitions have shape {tuple(masks.shape)}, "
                f"[C, {self.units}] or [C, {len(self)}, {self.units}] is needed"
            )
        return masks

    def _blocks(self, coalitions: int, costs: int = 1) -> Iterator[Block]:
        """All coalitions and examples in blocks of at most `_rows` rows (fewer where a row costs more memory)."""
        rows = max(1, self._rows // costs)
        examples = min(len(self), rows)
        each = max(1, rows // examples)
        for e in range(0, len(self), examples):
            for c in range(0, coalitions, each):
                yield Block(slice(c, min(c + each, coalitions)), slice(e, min(e + examples, len(self))))

    def _gates(self, masks: Tensor, block: Block) -> Tensor:
        """The masks of a block as numbers, [c, e, n]."""
        part = masks[block.coalitions]
        part = (
            part[:, block.examples]
            if masks.shape[1] > 1
            else part.expand(-1, block.examples.stop - block.examples.start, -1)
        )
        return part.to(self._gated.values.dtype)

    def _run_masked(self, gates: Tensor, block: Block) -> Tensor:
        """Outputs of a block, one row for each coalition and example."""
        values = self._gated.values[block.examples]
        masked = values * gates.reshape(*gates.shape, *[1] * (values.dim() - 2))
        return self._gated.run(masked.flatten(0, 1), block.examples, len(gates))

    def _values(self, outputs: Tensor, block: Block, of: Payoff) -> Tensor:
        """``of`` the outputs of a block, [..., c, e]."""
        coalitions = block.coalitions.stop - block.coalitions.start
        labels = self.labels[block.examples]
        values = of(outputs, labels.repeat(coalitions, *[1] * (labels.dim() - 1)))
        return values.reshape(*values.shape[:-1], coalitions, len(labels))

    def _count(self, coalitions: int, costs: int) -> None:
        self.evaluations += coalitions * costs

    def _require_gradient(self) -> None:
        if self._payoff is accuracy:
            raise ShapPruneError("payoff 'accuracy' has no gradient, criteria that need one take 'loss' or 'margin'")

    def _check_labels(self, outputs: Tensor) -> None:
        """Refuse labels that the payoff cannot use."""
        if self._payoff not in PAYOFFS.values():
            return
        if outputs.dim() != 2 or self.labels.dim() != 1 or self.labels.is_floating_point():
            raise ShapPruneError(
                f"payoff {self.payoff_name!r} needs outputs [N, classes] and whole-number labels [N], "
                f"not {tuple(outputs.shape)} and {tuple(self.labels.shape)} {self.labels.dtype}"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= outputs.shape[1]:
            wrong = low if low < 0 else high
            raise ShapPruneError(
                f"label {wrong} is outside 0 ... {outputs.shape[1] - 1}, the network has {outputs.shape[1]} outputs"
            )

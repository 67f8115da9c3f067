"""The game of one layer: its units are the players, and a coalition (the units kept) is worth the payoff it leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.engine import Entry, MaskedEntry, SummedEntry
from shapprune.game.payoffs import Payoff, accuracy, check_labels, find_payoff, minus_loss, require_finite
from shapprune.game.protocol import PayoffGame
from shapprune.game.walks import walk_rows
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import PRECISIONS, at_precision

T = TypeVar("T")

# From so many coalitions of each example on, entering behind the next layer is cheaper than masking: the
# contributions of the units are computed once for all of them.
_SUMS_FROM = 4
# Numbers in the largest value of a call, and rows if that is more: measured to be fastest on a CPU; on CUDA larger
# calls would only take more memory.
_CALL_NUMBERS, _CALL_ROWS = {"cpu": 2**20, "cuda": 128 * 2**20}, 96
# What is prepared for examples at a time there: 16 of them, for walks side by side, within these bounds.
_PREPARED_EXAMPLES, _PREPARED_BYTES = 16, (16 * 2**20, 64 * 2**20)

# Numbers in the values of all coalitions of a walk: beyond, it takes a second or more on a CPU.
_LONG = 2**25


class Piece(NamedTuple):
    """Some coalitions of some examples that share a call of the network, and what the entry prepared for them."""

    coalitions: slice
    examples: slice
    prepared: Tensor


class LayerGame(PayoffGame):
    """The game of one layer of a trained network on a set of scoring images.

    The network is cut at the layer's site once; every coalition runs only what comes after it. The model is used in
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
        memory_mb: about how much memory a call of the network, and what is prepared for it, may take on a CPU; on
            CUDA it is half of what is free. It changes no result beyond rounding.
        precision: of the part of the network that coalitions run: ``tf32`` (on CUDA; elsewhere it is ``fp32``),
            ``fp32``, or ``bf16``, whose scores are rougher. What is prepared is float32 in any case.

    Attributes:
        units: how many players, n.
        examples: the numbers given for the images, int [N].
        payoff: the function of (outputs, labels) that values are by.
        module: the layer.
        norm: the BatchNorm that follows it, or None.

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
        memory_mb: int = 512,
        precision: str = "tf32",
    ):
        if len(images) == 0 or len(images) != len(labels):
            raise ShapPruneError(
                f"{len(images)} scoring images and {len(labels)} labels were given, as many of each are needed"
            )
        self.model, self.layer, self.site = model, layer, site
        self.device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self.images, self.labels = images.to(self.device), labels.to(self.device)
        self.examples = np.arange(len(images)) if examples is None else np.asarray(examples)
        self.payoff: Payoff = find_payoff(payoff)
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        self._precision = precision
        on_cuda = self.device.type == "cuda"
        self._bytes = torch.cuda.mem_get_info(self.device)[0] // 2 if on_cuda else memory_mb * 2**20
        self._graph = UnitGraph(model, self.images[:2])
        outputs = self._graph.outputs
        if not isinstance(outputs, Tensor):
            raise ShapPruneError(
                f"the network returns {type(outputs).__name__}, a tensor of one row an image is needed"
            )
        check_labels(self.payoff, outputs, self.labels)
        self._few_outputs = outputs
        self._graph.start(layer)  # refuses a layer that cannot be played
        self.units: int = self._graph.units_of(layer)
        self.module: nn.Module = self._graph.modules[layer]
        self.norm = self._graph.norm_of(layer)
        self._valued_so_far = [0.0]  # a list, so that games without some of the units count here too
        self._gone = torch.empty(0, dtype=torch.long, device=self.device)
        self._masked = self._enter_at_site(past_pooling=True)

    @property
    def evaluations(self) -> float:
        """Coalitions valued so far, on all scoring images, in this game and those without some of its units."""
        return self._valued_so_far[0]

    def count(self, evaluations: float) -> None:
        """Add the cost of passes that a criterion has run itself."""
        self._valued_so_far[0] += evaluations

    def identity(self) -> Iterable[object]:
        """What decides the values: the layer and its site, payoff, network, images and labels, as in `Game`."""
        payoff = getattr(self.payoff, "__module__", ""), getattr(self.payoff, "__qualname__", self.payoff)
        yield self.layer, self.site, payoff, self._precision, self.device.type, self._gone.tolist()
        yield from (self.model, self.examples, self.images, self.labels)
        yield from chain.from_iterable(self.model.state_dict().items())

    def at_once(self, draws: int) -> int:
        """How many draws to value together: so many, or one where each is long work that a checkpoint should keep."""
        return draws if self.units * len(self) * self._masked.numbers < _LONG else 1

    def without(self, units: Tensor | np.ndarray | Sequence[int]) -> LayerGame:
        """The game that is left when some units are gone.

        It has the same n units; those that are gone are null players: zero in every coalition, and free.

        Args:
            units: which are gone, int [k].
        """
        gone = torch.as_tensor(units, dtype=torch.long).to(self.device)
        other = copy.copy(self)
        for cached in ("full", "empty", "active_units", "_at_site"):
            other.__dict__.pop(cached, None)
        other._gone = torch.cat([self._gone, gone]).unique()
        other._masked = self._masked.without(gone)
        other._summed = None if self._summed is None else self._summed.without(gone)
        return other

    def __len__(self) -> int:
        """How many scoring images, N."""
        return len(self.images)

    def value(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """The payoff of coalitions for each example.

        Args:
            coalitions: True = the unit is kept; bool [C, n], or [C, N, n] for coalitions of each example's own.

        Returns:
            v(S) of each example, float [C, N].
        """
        return self.values_by(coalitions, [self.payoff])[0]

    def values_by(self, coalitions: Tensor | np.ndarray, payoffs: Sequence[Payoff]) -> Tensor:
        """What coalitions are worth to each example by several payoffs, from one pass of the network.

        Args:
            coalitions: as in `value`.
            payoffs: functions of (outputs, labels), k of them.

        Returns:
            float [k, C, N].
        """
        return self._map(coalitions, lambda outputs, labels: torch.stack([of(outputs, labels) for of in payoffs]))

    def loss_and_accuracy(self, coalitions: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of each example under coalitions, whatever the payoff; float [C, N] each."""
        both = self.values_by(coalitions, [minus_loss, accuracy])
        return -both[0], both[1]

    def gate_gradient(self, gates: Tensor | np.ndarray) -> Tensor:
        """The gradient of each example's payoff in the gates (1 = kept, 0 = removed) that multiply the units.

        Args:
            gates: where to take it, [C, n] or [C, N, n]; coalitions (bool), or numbers from 0 to 1.

        Returns:
            float [C, N, n].

        Raises:
            ShapPruneError: the payoff has no gradient, or is not finite.
        """
        self.require_gradient()
        masks = self._masks(gates, between=True)
        result = torch.empty(len(masks), len(self), self.units, device=self.device)
        worth = torch.empty(len(self), len(masks), device=self.device)
        entry = self._entry(len(masks))

        def compute() -> None:
            for piece in self._pieces(entry, len(masks), costs=3):
                at = self._gates(masks, piece).requires_grad_(True)
                values = self._valued(entry, piece, at, self.payoff)
                (gradient,) = torch.autograd.grad(values.sum(), at)
                worth[piece.examples, piece.coalitions] = values.detach()
                result[piece.coalitions, piece.examples] = gradient.transpose(0, 1)

        with torch.enable_grad():
            self._within_memory(compute)
        # The gradient of a loss that overflowed may well be a number.
        require_finite(worth, f"payoff of coalitions of layer {self.layer!r}")
        self._valued_so_far[0] += 3 * len(masks)
        return result

    @property
    def activations(self) -> Tensor:
        """The values at the site, nothing removed, float [N, n, ...]."""
        return self._at_site.values

    def activation_gradient(self) -> Tensor:
        """The gradient of each example's payoff in the values at the site, nothing removed; shape of `activations`.

        Raises:
            ShapPruneError: the payoff has no gradient.
        """
        self.require_gradient()
        entry = self._at_site
        result = torch.empty_like(self.activations)

        def compute() -> None:
            for piece in self._pieces(entry, 1, costs=3):
                values = piece.prepared.clone().requires_grad_(True)
                examples = torch.arange(len(self), device=self.device)[piece.examples]
                outputs = self._outputs(entry, values * 1, examples)  # times 1: what follows may be in place
                payoff = self.payoff(outputs, self.labels[examples])
                (result[piece.examples],) = torch.autograd.grad(payoff.sum(), values)

        with torch.enable_grad():
            self._within_memory(compute)
        self._valued_so_far[0] += 3
        return result

    def require_gradient(self) -> None:
        """Refuse a payoff that has no gradient.

        Raises:
            ShapPruneError: it is the accuracy.
        """
        if self.payoff is accuracy:
            raise ShapPruneError("payoff 'accuracy' has no gradient, criteria that need one take 'loss' or 'margin'")

    def sum_over_images(self, of: Callable[[Tensor, Tensor], Sequence[Tensor]], passes: int = 1) -> tuple[Tensor, ...]:
        """Sum what a function finds by running the whole network, over batches of the scoring images that fit.

        It runs in eval mode, in float32, with gradients on; units that are gone are not gone here.

        Args:
            of: from images and their labels to tensors, e.g. gradients; each is a sum over the images given.
            passes: what it costs. A pass forward is 1, a pass backward twice what it goes through: a gradient is 3,
                the gradient of a gradient 9.

        Returns:
            The sums, in float64.
        """
        # All values are kept for the way back; for a second way back, those of the first one too.
        numbers = sum(shape[1:].numel() for shape in self._graph.shapes.values() if len(shape))

        def compute() -> tuple[Tensor, ...]:
            rows = max(1, self._bytes // (4 * (1 + passes // 2) * numbers))
            total: tuple[Tensor, ...] = ()
            for images, labels in zip(self.images.split(rows), self.labels.split(rows), strict=True):
                found = [each.detach().double() for each in of(images, labels)]
                total = tuple(map(torch.add, total, found)) if total else tuple(found)
            return total

        with torch.enable_grad():
            result = self._within_memory(compute)
        self.count(passes)
        return result

    def walk(self, orders: Tensor, depth: int | None = None) -> Tensor:
        """Values along removal orders, from the whole layer on.

        A unit that is zero everywhere on an example is a null player there: its steps are not run, their value is that
        of the step before.

        Args:
            orders: removal orders of each example, int [K, N, n]; the first unit leaves first.
            depth: how many units leave; by default all.

        Returns:
            float [K, depth + 1, N]; row j is the value when the first j units of the order are gone.
        """
        orders = orders.to(self.device)
        depth = self.units if depth is None else min(depth, self.units)
        entry = self._entry(_SUMS_FROM)
        active = self.active_units[None].expand(len(orders), -1, -1).gather(2, orders)
        counts = self.active_units.sum(1)
        # Those that count come first, in their order. (This is faster than a stable sort.)
        so_far = active.cumsum(2)
        steps = torch.arange(1, self.units + 1, device=self.device)
        place = torch.where(active, so_far, counts[:, None] + steps - so_far) - 1
        leaving = torch.empty_like(orders).scatter_(2, place, orders)
        # Values by how many active units are gone; the inner ones are filled in below.
        values = self.full[:, None].repeat(len(orders), 1, self.units + 1)
        values[:, torch.arange(len(self), device=self.device), counts] = self.empty
        places = torch.nn.functional.pad(so_far, (1, 0))[..., : depth + 1]
        # When the last of them leaves the value is known.
        lengths = torch.minimum(places[..., -1], counts - 1).clamp(min=0).cpu().numpy()

        def compute() -> None:
            chunks = self._chunks(entry, len(self))
            for entering, (draw, example, gone) in walk_rows(entry, chunks, leaving, lengths, self._rows(entry)):
                values[draw, example, gone] = self.payoff(self._outputs(entry, entering, example), self.labels[example])

        with torch.no_grad():
            self._within_memory(compute)
        self._valued_so_far[0] += len(orders) * min(depth, self.units - len(self._gone) - 1)
        return values.gather(2, places).transpose(1, 2)

    @cached_property
    def full(self) -> Tensor:
        """The value of the whole layer for each example, float [N]."""
        return self.value(torch.ones(1, self.units, dtype=torch.bool))[0]

    @cached_property
    def empty(self) -> Tensor:
        """The value when all units are gone for each example, float [N]."""
        return self.value(torch.zeros(1, self.units, dtype=torch.bool))[0]

    @cached_property
    def active_units(self) -> Tensor:
        """Whether a unit is anything but zero on an example, bool [N, n]; one that is not is a null player there."""
        return (self._masked.values != 0).reshape(len(self), self.units, -1).any(2)

    @cached_property
    def _at_site(self) -> MaskedEntry:
        return self._enter_at_site(past_pooling=False)

    def _enter_at_site(self, past_pooling: bool) -> MaskedEntry:
        node = self._graph.site(self.layer, self.site)
        node = self._graph.past_pooling(node) if past_pooling else node
        with mode(self.model, training=False), at_precision("fp32", self.device):
            entry = MaskedEntry(self._graph, node, self.images, self._rows_before())
            entry.check(self._few_outputs)
        return entry.without(self._gone)

    @cached_property
    def _summed(self) -> SummedEntry | None:
        """The entry behind the next layer, where there is one that the network can go on from."""
        gate = self._graph.past_pooling(self._graph.site(self.layer, self.site))
        following = self._graph.next_linear(gate)
        if following is None:
            return None
        with mode(self.model, training=False), at_precision("fp32", self.device):
            entry = SummedEntry(
                self._graph, following, self._masked.values, self.images, self._rows_before(), self._bytes // 2
            )
            try:
                entry.check(self._few_outputs)
            except ShapPruneError:
                return None
        return entry

    def _rows_before(self) -> int:
        """Images for a call of the part before the cut."""
        numbers = max(shape[1:].numel() for shape in self._graph.shapes.values() if len(shape))
        return max(1, self._bytes // (4 * 3 * numbers))

    def _entry(self, coalitions: int) -> Entry:
        """Where so many coalitions of each example enter at the least cost."""
        return self._summed if self._summed is not None and coalitions >= _SUMS_FROM else self._masked

    def _rows(self, entry: Entry) -> int:
        """Rows for a call of the part after an entry."""
        rows = self._bytes // (4 * 3 * entry.numbers)  # about three of its largest values are alive at a time
        return max(1, min(rows, max(_CALL_ROWS, _CALL_NUMBERS[self.device.type] // entry.numbers)))

    def _within_memory(self, compute: Callable[[], T]) -> T:
        """Run a computation, with half the memory each time that the device has none left."""
        while True:
            try:
                with mode(self.model, training=False), at_precision("fp32", self.device):
                    return compute()
            except torch.OutOfMemoryError:
                smallest = 4 * 3 * max(self._masked.numbers, self._masked.values[0].numel())
                if self._bytes <= smallest:
                    raise
                self._bytes //= 2
                if self._summed is not None:
                    self._summed.forget()
                torch.cuda.empty_cache()

    def _chunks(self, entry: Entry, most: int) -> Iterator[tuple[slice, Tensor]]:
        """The examples in chunks of at most ``most``, with what the entry prepares for them."""
        limit = self._bytes // 2
        if self.device.type == "cpu":
            least, largest = _PREPARED_BYTES
            limit = min(limit, largest, max(least, _PREPARED_EXAMPLES * entry.memory()))
        size = max(1, min(most, limit // max(1, entry.memory())))
        for start in range(0, len(self), size):
            examples = slice(start, min(start + size, len(self)))
            yield examples, entry.prepare(examples)

    def _pieces(self, entry: Entry, coalitions: int, costs: int = 1) -> Iterator[Piece]:
        """All coalitions of all examples in pieces of at most `_rows` rows (fewer where a row costs more memory)."""
        rows = max(1, self._rows(entry) // costs)
        each = min(rows, coalitions)
        for examples, prepared in self._chunks(entry, max(1, rows // max(1, each))):
            for start in range(0, coalitions, max(1, each)):
                yield Piece(slice(start, min(start + each, coalitions)), examples, prepared)

    def _map(self, coalitions: Tensor | np.ndarray, of: Payoff) -> Tensor:
        """``of`` the outputs of every coalition: it returns [k, rows], the result is [k, C, N]."""
        masks = self._masks(coalitions)
        entry = self._entry(len(masks))
        parts: dict[int, Tensor] = {}

        def compute() -> None:
            for piece in self._pieces(entry, len(masks)):
                values = self._valued(entry, piece, self._gates(masks, piece), of)
                if 0 not in parts:
                    parts[0] = torch.empty(len(values), len(masks), len(self), device=self.device, dtype=values.dtype)
                parts[0][:, piece.coalitions, piece.examples] = values.transpose(1, 2)

        with torch.no_grad():
            self._within_memory(compute)
        self._valued_so_far[0] += len(masks)
        return parts[0] if parts else torch.empty(2, 0, len(self), device=self.device)

    def _masks(self, coalitions: Tensor | np.ndarray, between: bool = False) -> Tensor:
        """Coalitions as a bool tensor [C, 1 or N, n]; ``between``: numbers are allowed too."""
        masks = torch.as_tensor(coalitions).to(self.device)
        if masks.dtype != torch.bool and not (between and masks.is_floating_point()):
            raise ShapPruneError(f"coalitions are {masks.dtype}, bool is needed (True = the unit is kept)")
        if masks.dim() == 2:
            masks = masks[:, None]
        if masks.dim() != 3 or masks.shape[2] != self.units or masks.shape[1] not in (1, len(self)):
            raise ShapPruneError(
                f"coalitions have shape {tuple(masks.shape)}, "
                f"[C, {self.units}] or [C, {len(self)}, {self.units}] is needed"
            )
        return masks

    def _gates(self, masks: Tensor, piece: Piece) -> Tensor:
        """The masks of a piece as numbers, [e, c, n]."""
        part = masks[piece.coalitions].transpose(0, 1)
        examples = piece.examples.stop - piece.examples.start
        part = part[piece.examples] if len(part) > 1 else part.expand(examples, -1, -1)
        return part.to(self._masked.values.dtype)

    def _valued(self, entry: Entry, piece: Piece, gates: Tensor, of: Payoff) -> Tensor:
        """``of`` the outputs of a piece, [..., e, c]."""
        examples = torch.arange(piece.examples.start, piece.examples.stop, device=self.device)
        examples = examples.repeat_interleave(gates.shape[1])
        outputs = self._outputs(entry, entry.enter(piece.prepared, gates), examples)
        values = of(outputs, self.labels[examples])
        return values.reshape(*values.shape[:-1], *gates.shape[:2])

    def _outputs(self, entry: Entry, entering: Tensor, examples: Tensor) -> Tensor:
        with at_precision(self._precision, self.device):
            return entry.run(entering, examples).to(entering.dtype)

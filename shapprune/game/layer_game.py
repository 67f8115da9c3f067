"""The game of one layer: its units are the players, and a coalition (the units kept) is worth the payoff it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.game.cost import Cost
from shapprune.game.cut_network import CutNetwork
from shapprune.game.engine import Entry
from shapprune.game.masked import MaskedEntry
from shapprune.game.network_game import NetworkGame
from shapprune.game.payoffs import (
    Payoff,
    check_own,
    check_payoff,
    find_payoff,
    require_finite,
)
from shapprune.game.summed import SummedEntry
from shapprune.game.walks import active_first, walk_rows
from shapprune.graph.parts import Part
from shapprune.networks.modes import outside_inference

if TYPE_CHECKING:
    from shapprune.graph.dependents import Dependencies

# From so many coalitions an example on, entering behind the next layer is cheaper than masking: the contributions of
# the units are computed once for all of them.
_SUMS_FROM = 4
# A draw that makes so many numbers takes a second or more on a CPU.
_LONG = 2**25


class LayerGame(NetworkGame):
    """The game of one layer of a trained network on a set of scoring images.

    The network is cut at the layer's site once; every coalition runs only what comes after it. The model is used in
    eval mode and handed back as it came: mode, gradients, BatchNorm statistics and random state are untouched.

    Args:
        model: a network of one input that torch.fx or torch.export can follow; it stays where it is (CPU or CUDA).
        layer: name of a convolution, a linear layer, or a module with attention, whose units are heads; where queries
            share keys and values in groups, units of ``name`` are groups, and heads those of ``name:queries``.
        images: scoring images, [N, ...].
        labels: their labels, [N]; what the payoff takes as its second argument, whole numbers as int64. Payoffs that
            compare with the intact network need none.
        site: where a unit is zeroed: ``output``, ``norm`` or ``activation`` (default; equals removing the unit).
        payoff: ``loss`` (minus the example's loss), ``accuracy``, ``margin``, ``kl`` (minus the divergence of the
            outputs from those of the intact network), ``agreement`` (the same largest output as the intact network), or
            a function of (outputs, labels) that returns a value for each example, [N], higher = better; of several
            outputs it says which it takes.
        examples: a number for each image that seeds its draws, int [N]; default 0 ... N-1. With the images' places in
            the data set, splitting the set over jobs changes no draw.
        memory_mb: about how much memory a call and what it needs may take on a CPU; on CUDA half of what is free.
        precision: of the part of the network that coalitions run: ``tf32`` (on CUDA; elsewhere it is ``fp32``),
            ``fp32``, or ``bf16``, whose scores are rougher. What is prepared is float32 in any case.
        dependencies: of the network's units (`shapprune.graph.dependents.Dependencies`), where they are known already;
            then games of several layers do not trace it again. They were made with images of the same size.

    Attributes:
        units: how many players, n.
        examples: the numbers given for the images, int [N].
        payoff: the function of (outputs, labels) that values are by.
        module: the layer.
        norm: the BatchNorm that follows it, or None.

    Raises:
        ShapPruneError: the network cannot be cut at the layer, or images, labels, outputs and payoff do not fit.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune import LayerGame
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> images, labels = torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])
        >>> game = LayerGame(model, "0", images, labels)
        >>> game.units
        3
        >>> game.value(torch.tensor([[True, True, True], [True, False, False]])).shape  # 2 coalitions, 5 images
        torch.Size([2, 5])
        >>> game.evaluations
        2.0
    """

    @outside_inference
    def __init__(
        self,
        model: nn.Module,
        layer: str,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        site: str = "activation",
        payoff: str | Payoff = "loss",
        examples: np.ndarray | None = None,
        memory_mb: int = 512,
        precision: str = "tf32",
        dependencies: Dependencies | None = None,
    ):
        found = find_payoff(payoff)
        network = CutNetwork(model, layer, images, labels, site, memory_mb, precision, dependencies)
        check_payoff(found, network.outputs, network.answers, network.images)
        self._start_whole(network, found, examples)

    def _start(self, network: CutNetwork, payoff: Payoff, examples: np.ndarray, gone: Tensor, cost: Cost) -> None:  # type: ignore[override]
        super()._start(network, payoff, examples, gone, cost)
        self.site, self.module, self.norm = network.site, network.module, network.norm

    def at_once(self, draws: int) -> int:
        """How many draws to value together; see `Game.at_once`."""
        return draws if self.units * len(self) * self._network.masked.numbers < _LONG else 1

    @cached_property
    def active_units(self) -> Tensor:
        """Whether a unit is anything but zero on an example, bool [N, n]; one that is not is a null player there."""
        return (self._masked.values != 0).reshape(len(self), self.units, -1).any(2)

    @cached_property
    def _masked(self) -> MaskedEntry:
        return self._network.masked.without(self._gone)

    @cached_property
    def _summed(self) -> SummedEntry | None:
        summed = self._network.summed
        return None if summed is None else summed.without(self._gone)

    @cached_property
    def _at_site(self) -> MaskedEntry:
        return self._network.at_site.without(self._gone)

    def _entry(self, coalitions: int) -> Entry:
        """Where so many coalitions of each example enter at the least cost."""
        return self._summed if coalitions >= _SUMS_FROM and self._summed is not None else self._masked

    def _within_memory(self, compute: Callable[[], None]) -> None:
        """Run a computation with as much memory as there is; see `CutNetwork.within_memory`."""
        self._network.within_memory(compute, lambda: self._summed.forget() if self._summed is not None else None)

    def values_by(self, coalitions: Tensor | np.ndarray, payoffs: Sequence[Payoff]) -> Tensor:
        """Values of coalitions by several payoffs, float [k, C, N]; see `PayoffGame.values_by`."""
        network, masks = self._network, self._network.masks(coalitions)
        check_own([each for each in payoffs if each is not self.payoff], network.outputs, network.answers)
        entry = self._entry(len(masks))
        values: Tensor | None = None

        def compute() -> None:
            nonlocal values
            for piece in network.batching.pieces(entry, len(masks)):
                found = network.payoffs(entry, piece, network.gates(masks, piece), payoffs)
                if values is None:
                    values = found.new_empty(len(found), len(masks), len(self))
                values[:, piece.coalitions, piece.examples] = found.transpose(1, 2)

        with torch.no_grad():
            self._within_memory(compute)
        self.count(len(masks))
        return torch.empty(len(payoffs), 0, len(self), device=self.device) if values is None else values

    def walk(self, orders: Tensor, depth: int | None = None) -> Tensor:
        """Values along removal orders, float [K, depth + 1, N]; see `Game.walk`.

        A unit that is zero everywhere on an example is a null player there: its steps are not run, their value is that
        of the step before.
        """
        orders = orders.to(self.device)
        depth = self.units if depth is None else min(depth, self.units)
        network, entry = self._network, self._entry(_SUMS_FROM)
        leaving, gone_after = active_first(orders, self.active_units)
        counts = self.active_units.sum(1)
        # Values by how many active units are gone; those between the ends are filled in below.
        values = self.full[:, None].repeat(len(orders), 1, self.units + 1)
        values[:, torch.arange(len(self), device=self.device), counts] = self.empty
        places = gone_after[..., : depth + 1]
        # The value after the last active unit has left is known.
        lengths = torch.minimum(places[..., -1], counts - 1).clamp(min=0).cpu().numpy()

        def compute() -> None:
            chunks = network.batching.chunks(entry, len(self))
            limit = network.batching.rows(entry)
            for entering, (draw, example, gone) in walk_rows(entry, chunks, leaving, lengths, limit):
                outputs = network.run(entry, entering, example)
                values[draw, example, gone] = network.worth(outputs, example, [self.payoff])[0]

        with torch.no_grad():
            self._within_memory(compute)
        self.count(len(orders) * min(depth, self.units - len(self._gone) - 1))
        return values.gather(2, places).transpose(1, 2)

    def gate_gradient(self, gates: Tensor | np.ndarray) -> Tensor:
        """Gradients of payoffs in the units' gates, float [C, N, n]; see `PayoffGame.gate_gradient`."""
        self.require_gradient()
        network, masks = self._network, self._network.masks(gates, between=True)
        entry = self._entry(len(masks))
        result = torch.empty(len(masks), len(self), self.units, device=self.device)
        worth = torch.empty(len(self), len(masks), device=self.device)

        def compute() -> None:
            for piece in network.batching.pieces(entry, len(masks), passes=3):
                at = network.gates(masks, piece).requires_grad_(True)
                (values,) = network.payoffs(entry, piece, at, [self.payoff])
                (gradient,) = torch.autograd.grad(values.sum(), at)
                worth[piece.examples, piece.coalitions] = values.detach()
                result[piece.coalitions, piece.examples] = gradient.transpose(0, 1)

        with torch.enable_grad():
            self._within_memory(compute)
        # A loss that overflowed may still have a finite gradient.
        require_finite(worth, f"payoff of coalitions of layer {self.layer!r}")
        self.count(3 * len(masks))
        return result

    @property
    def activations(self) -> Tensor:
        """The values at the site, nothing removed, float [N, n, ...]."""
        return self._at_site.values

    @property
    def dependencies(self) -> Dependencies:
        """What depends on units of the network."""
        return self._network.dependencies

    @property
    def weights(self) -> list[Part]:
        """The parts of weights that make the units; see `CutNetwork.weights`."""
        return self._network.weights

    @property
    def incoming(self) -> Tensor:
        """The weights that make each unit, float64 [n, k]; of a head those of its queries, keys and values."""
        return self._network.incoming

    def activation_gradient(self) -> Tensor:
        """The gradient of each example's payoff in the values at the site, nothing removed; shape of `activations`.

        Raises:
            ShapPruneError: the payoff has no gradient.
        """
        self.require_gradient()
        network, entry = self._network, self._at_site
        result = torch.empty_like(self.activations)

        def compute() -> None:
            for piece in network.batching.pieces(entry, 1, passes=3):
                values = piece.prepared.clone().requires_grad_(True)
                examples = torch.arange(len(self), device=self.device)[piece.examples]
                outputs = network.run(entry, values * 1, examples)  # a copy: what follows may work in place
                worth = network.worth(outputs, examples, [self.payoff])
                (result[piece.examples],) = torch.autograd.grad(worth.sum(), values)

        with torch.enable_grad():
            self._within_memory(compute)
        self.count(3)
        return result

    def sum_over_images(
        self, function: Callable[[Tensor, Tensor], Sequence[Tensor]], passes: int = 1
    ) -> tuple[Tensor, ...]:
        """Sum what a function finds by running the whole network, over batches of the scoring images that fit.

        The network runs in eval mode and in float32, with gradients on. Units that are gone are not gone here.

        Args:
            function: from images and their labels (or what the payoff takes instead) to tensors, e.g. gradients; each
                is a sum over the images given.
            passes: what it costs. A forward pass is 1, a backward pass twice what it goes through: a gradient is 3,
                the gradient of a gradient 9.

        Returns:
            The sums, in float64.
        """
        result = self._network.sum_over_images(function, self._network.answers.of(self.payoff), passes)
        self.count(passes)
        return result

"""A network with its scoring images: what all games on it share, wherever it is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.batching import Batching
from shapprune.game.payoffs import Answers, Payoff, read_labels
from shapprune.graph.cut import node_shapes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.losses import logits_of
from shapprune.networks.modes import mode
from shapprune.networks.named_inputs import counted_positions
from shapprune.networks.precision import PRECISIONS, at_precision

T = TypeVar("T")


class PlayedNetwork:
    """A network with its scoring images, used in eval mode and handed back as it came.

    Args:
        model: the network.
        images: scoring images, [N, ...].
        labels: their labels, [N], or None.
        memory_mb: as for `Batching`.
        precision: of the part that coalitions run.
        graph: of the network, where it was traced already.

    Attributes:
        device: where the network, the images and the labels are.
        outputs: of the network for the first two images.
        answers: what payoffs compare outputs with.
        counted: which positions of sequences are no padding, bool [N, T]; None for all.
        batching: how many rows share a call.
        layer: a name for the players together.
        units: how many players there are, n.
        players: what tells them from other players of the network.

    Raises:
        ShapPruneError: an unknown precision, a network that cannot be traced or mixes images, images that are not
            finite, or not one label for each.
    """

    layer: str
    units: int
    players: tuple[object, ...]

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None,
        memory_mb: int,
        precision: str,
        graph: UnitGraph | None = None,
    ):
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        self.model, self.precision = model, precision
        self.device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self.images, self.labels = images.to(self.device), read_labels(labels, len(images), self.device)
        self.counted = counted_positions(model, self.images)
        self.answers = Answers(self.labels, self._run_whole, self.counted)
        self.batching = Batching(self.device, len(images), memory_mb)
        if (wrong := ~self.images.flatten(1).isfinite().all(1)).any():
            raise ShapPruneError(f"scoring image {int(wrong.nonzero()[0])} has numbers that are not finite")
        self._graph = UnitGraph(model, self.images[:2]) if graph is None else graph
        self._graph.company.require_independence()
        self.outputs = self._graph.outputs if graph is None else node_shapes(graph.traced, self.images[:2].clone())[1]

    def _sizes(self) -> list[int]:
        """The size of every value of the network for one image."""
        return [self._graph.numbers_of(node) for node in self._graph.shapes]

    def _images_at_once(self) -> int:
        return self.batching.images(max(self._sizes()))

    def _row_numbers(self) -> int:
        """The size of the largest value of a row; a budget of less is no use."""
        return max(self._sizes())

    def _run_whole(self) -> Any:
        """The outputs of the intact network for all images."""

        def compute() -> Any:
            parts = self.images.split(self._images_at_once())
            return torch.cat([logits_of(self._graph.traced(some.clone())) for some in parts])

        return self.within_memory(compute)

    def within_memory(self, compute: Callable[[], T], free: Callable[[], object] = lambda: None) -> T:
        """Run a computation in eval mode and float32; each time the device has no memory left, halve the budget.

        Args:
            compute: the computation; it is run again from its beginning.
            free: frees what is cached, before that.
        """
        while True:
            try:
                with mode(self.model, training=False), at_precision("fp32", self.device):
                    return compute()
            except torch.OutOfMemoryError:
                if not self.batching.halve(self._row_numbers()):
                    raise
                free()
                torch.cuda.empty_cache()

    def sum_over_images(
        self, function: Callable[[Tensor, Tensor], Sequence[Tensor]], answers: Tensor, passes: int
    ) -> tuple[Tensor, ...]:
        """Sum what a function of images and labels returns, over batches of the scoring images, in float64.

        Args:
            function: its tensors are sums over the images given; gradients are on.
            answers: the labels of all images, or what the payoff takes instead.
            passes: what it costs, as in `LayerGame.sum_over_images`.
        """
        # All values are kept for the backward pass; for a second backward pass those of the first one too.
        numbers, kept = sum(self._sizes()), 1 + passes // 2

        def compute() -> tuple[Tensor, ...]:
            rows = self.batching.images(numbers, kept)
            total: tuple[Tensor, ...] = ()
            for images, labels in zip(self.images.split(rows), answers.split(rows), strict=True):
                found = [each.detach().double() for each in function(images.clone(), labels)]
                total = tuple(map(torch.add, total, found)) if total else tuple(found)
            return total

        with torch.enable_grad():
            return self.within_memory(compute)

    def masks(self, coalitions: Tensor | np.ndarray, between: bool = False) -> Tensor:
        """Coalitions as a tensor [C, 1 or N, n] on the device.

        Args:
            coalitions: bool [C, n] or [C, N, n].
            between: whether gates between 0 and 1 are allowed too.

        Raises:
            ShapPruneError: another shape or type.
        """
        masks = torch.as_tensor(coalitions).to(self.device)
        if masks.dtype != torch.bool and not (between and masks.is_floating_point()):
            raise ShapPruneError(f"coalitions are {masks.dtype}, bool is needed (True = the unit is kept)")
        if masks.dim() == 2:
            masks = masks[:, None]
        examples = len(self.images)
        if masks.dim() != 3 or masks.shape[2] != self.units or masks.shape[1] not in (1, examples):
            raise ShapPruneError(
                f"coalitions have shape {tuple(masks.shape)}, "
                f"[C, {self.units}] or [C, {examples}, {self.units}] is needed"
            )
        return masks

    def worth(self, outputs: Any, examples: Tensor, payoffs: Sequence[Payoff]) -> Tensor:
        """What outputs are worth by each of some payoffs, [k, rows], for the example of each row."""
        return torch.stack([payoff(outputs, self.answers.of(payoff)[examples]) for payoff in payoffs])

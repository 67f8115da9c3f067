"""Distilling: train a smaller network on a few images to do what the whole one does. No labels.

Source: Hinton, Vinyals and Dean 2015 (https://arxiv.org/abs/1503.02531) for outputs; Wang, Wu and Wu 2022
(https://arxiv.org/abs/2206.10728) for features before pooling, with few images; Beyer et al. 2022
(https://arxiv.org/abs/2106.05237) for images that are mixed, whose right outputs the whole network knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from shapprune.core.checkpoint import load_checkpoint, save_checkpoint
from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.whole import uncounted
from shapprune.graph.cut import Cut, cut_at
from shapprune.graph.operations import Meaning
from shapprune.graph.tracing import trace
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.augment import augment, darkest, mix, paste
from shapprune.networks.losses import logits_of
from shapprune.networks.modes import mode
from shapprune.networks.named_inputs import counted_positions
from shapprune.networks.randomness import reproducible_sums
from shapprune.pruning.divergence import answers, divergence

# How much the features weigh beside the outputs.
_FEATURES = 10.0
_BATCH = 50
# The share of the steps over which the learning rate rises. Without it high rates destroy what the repair has left.
_WARMUP = 0.1
# Batches that are made at a time, how many times each is used, and the bytes that they may take; where that is too
# little, each is used once. What the whole network says of a batch takes up to half of the time.
_MADE, _TIMES, _BYTES = 20, 4, 2**30
_EVERY = 50  # steps between checkpoints, at least


class _Lesson(NamedTuple):
    """A batch, and what the whole network says of it.

    Attributes:
        images: changed, [n, ...].
        features: the last ones of the whole network, those that the smaller one still has.
        outputs: of the whole network.
        counted: which positions of sequences are no padding; None for all.
    """

    images: Tensor
    features: Tensor
    outputs: Tensor
    counted: Tensor | None


class Distilling:
    """Trains a smaller network, in place, to have the outputs and the last features of the network before.

    Adam runs with a short warm-up and a cosine schedule; BatchNorms keep their statistics. Features are what the last
    layer reads, before they are pooled (`last_features`). Their squared error, as a share of their mean square, weighs
    ten times the Kullback-Leibler divergence of the outputs. In one step each image is mixed with another, up to half
    and half; in the next it gets a part of another, up to half of it. The network before says what is right for any
    image, so a hundred are not all that there are. Twenty such batches are made at a time, and each is used four times.

    Args:
        small: the network that has lost units.
        graph: of the network before, which is left as it is.
        images: calibration images, [N, ...].
        steps: how many, of 50 images each.
        rate: the highest learning rate.
        augmentation: what may be done to the images: ``shift`` moves them, ``flip`` mirrors them.
        kept: the inputs of the last layer that the smaller network still has; None for all.
        seed: of the order of images and their augmentation.
        twin: the graph of the smaller network, where it has been recorded already.
    """

    def __init__(
        self,
        small: nn.Module,
        graph: UnitGraph,
        images: Tensor,
        *,
        steps: int,
        rate: float,
        augmentation: Sequence[str] = ("shift",),
        kept: Tensor | None = None,
        seed: int = 0,
        twin: fx.GraphModule | None = None,
    ):
        self._small, self._traced, self._images = small, graph.traced, images
        self._model = graph.modules[""]
        self._steps, self._rate = steps, rate
        self._batch = graph.at_once(_BATCH)
        self._augmentation = tuple(augmentation) if images.dim() == 4 else ()
        features = last_features(graph)
        self._whole, self._own = cut_at(graph.traced, features), _cut_as(twin or trace(small, images[:2]), features)
        self._kept = None if kept is None else _kept_channels(graph, features, kept)
        self._optimizer = torch.optim.Adam([each for each in small.parameters() if each.is_floating_point()], lr=rate)
        self._generator = torch.Generator(images.device).manual_seed(seed)
        self._black = darkest(images)
        self._order = torch.empty(0, dtype=torch.long)
        self._times = times_used(graph)
        self._queue = list[_Lesson]()
        sums = [float(each.double().sum()) for each in (images, *small.state_dict().values())]
        self._identity = f"{steps} {rate} {self._augmentation} {seed} {sums}"

    def run(self, checkpoint: Path | None = None, progress: bool = False) -> None:
        """Take all steps.

        Args:
            checkpoint: a file from which the same training continues after an interruption; the caller deletes it.
            progress: report progress.

        Raises:
            ShapPruneError: the loss is no longer finite.
        """
        done = 0
        with self._trainable():
            if (saved := load_checkpoint(checkpoint, self._identity)) is not None:
                done = saved["step"]
                self._load_state(saved)
            remaining = range(done, self._steps)
            for step in track(remaining, "distilling") if progress else remaining:
                if not self._queue:
                    self._queue = self._lessons(step)
                self._step(step, self._queue.pop())
                if not self._queue and step + 1 - done >= _EVERY and checkpoint is not None:
                    done = step + 1
                    save_checkpoint(checkpoint, self._identity, {"step": done, **self._state()})

    @contextmanager
    def _trainable(self) -> Iterator[None]:
        """Make the parameters of the smaller network ask for gradients, and hand them back as they came."""
        flags = [(each, each.requires_grad) for each in self._small.parameters()]
        modes = mode(self._small, training=False), mode(self._traced, training=False)
        with modes[0], modes[1], reproducible_sums(), torch.enable_grad():
            for group in self._optimizer.param_groups:
                for each in group["params"]:
                    each.requires_grad_(True)
            try:
                yield
            finally:
                for parameter, needed in flags:
                    parameter.grad = None
                    parameter.requires_grad_(needed)

    def _lessons(self, step: int) -> list[_Lesson]:
        """What a step and those after it learn from, the last first."""
        steps = self._steps - step
        made = [self._lesson(step + place) for place in range(min(_MADE if self._times > 1 else 1, steps))]
        orders = [
            torch.randperm(len(made), generator=self._generator, device=self._images.device) for _ in range(self._times)
        ]
        return [made[place] for place in torch.cat(orders)[:steps].tolist()]

    @torch.no_grad()
    def _lesson(self, number: int) -> _Lesson:
        """Change the next images, by mixing or pasting in turn, and ask the whole network about them."""
        if not len(self._order):
            self._order = torch.randperm(len(self._images), generator=self._generator, device=self._images.device)
        chosen, self._order = self._order[: self._batch], self._order[self._batch :]
        batch = augment(self._images[chosen], self._augmentation, self._black, self._generator)
        if batch.is_floating_point():
            change = paste if number % 2 and batch.dim() == 4 else mix
            batch = change(batch, self._generator)
        counted = counted_positions(self._model, batch)
        features, outputs = _run(self._whole, batch, counted)
        if self._kept is not None:
            features = features[:, self._kept]
        return _Lesson(batch, features, outputs, counted)

    def _step(self, number: int, lesson: _Lesson) -> None:
        """Take a step."""
        rise = min(1, (number + 1) / (_WARMUP * self._steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rise * (1 + math.cos(math.pi * number / self._steps)) / 2
        images, features, outputs, counted = lesson
        own_features, own = _run(self._own, images)
        if counted is not None and counted.shape == features.shape[:2]:
            features, own_features = features[counted], own_features[counted]
        loss = divergence(outputs, own)
        loss = loss + _FEATURES * (own_features - features).square().mean() / features.square().mean().clamp_min(1e-12)
        if not torch.isfinite(loss):
            raise ShapPruneError(f"distilling diverged at step {number + 1} with learning rate {self._rate:g}")
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def _state(self) -> dict[str, object]:
        """All that the rest of the training depends on."""
        return {
            "model": self._small.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "order": self._order,
        }

    def _load_state(self, state: dict[str, object]) -> None:
        """Continue from a state that `_state` returned."""
        self._small.load_state_dict(state["model"])  # type: ignore[arg-type]
        self._optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self._generator.set_state(state["generator"])  # type: ignore[arg-type]
        self._order = state["order"].to(self._images.device)  # type: ignore[attr-defined]


def times_used(graph: UnitGraph) -> int:
    """How many times distilling uses a batch: four times where twenty fit into a gigabyte, else once.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> from shapprune.pruning.distil import times_used
        >>> times_used(UnitGraph(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(2, 4)))
        4
    """
    nodes = graph.traced.graph
    kept = {*nodes.find_nodes(op="placeholder"), last_features(graph), *nodes.output_node().all_input_nodes}
    numbers = sum(graph.numbers_of(node) for node in kept if node in graph.shapes)
    return _TIMES if _MADE * graph.at_once(_BATCH) * numbers * 4 <= _BYTES else 1


def last_layer(graph: UnitGraph) -> str:
    """The layer that runs last, usually the classifier."""
    nodes = {node: name for name, calls in graph.calls.items() for node in calls}
    return [nodes[node] for node in graph.traced.graph.nodes if node in nodes][-1]


def last_features(graph: UnitGraph) -> fx.Node:
    """The value that the last layer reads, before it is pooled and flattened: [N, channels, ...].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> from shapprune.pruning.distil import last_features
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
        >>> last_features(UnitGraph(model, torch.rand(1, 1, 8, 8))).target  # the ReLU
        '1'
    """
    (node,) = graph.calls[last_layer(graph)][-1].all_input_nodes
    while graph.meaning(node) in (Meaning.POOLING, Meaning.FLATTEN):
        node = node.all_input_nodes[0]
    return node


def _kept_channels(graph: UnitGraph, features: fx.Node, kept: Tensor) -> Tensor:
    """The channels of the last features that are left, from the inputs of the last layer that are."""
    inputs = graph.modules[last_layer(graph)].get_parameter("weight").shape[1]
    return (kept // (inputs // graph.shapes[features][1])).unique()


def _cut_as(twin: fx.GraphModule, node: fx.Node) -> Cut:
    """Cut a smaller network at a value of the network before."""
    return cut_at(twin, next(each for each in twin.graph.nodes if each.name == node.name))


def _run(cut: Cut, images: Tensor, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The features of images at a cut, and the outputs; these are nan at positions that do not count, where given."""
    values = cut.before(images)
    return values[0], answers(uncounted(logits_of(cut.after(*values)), None, counted), len(images))

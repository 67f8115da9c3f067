"""Distilling: train a smaller network on a few images to do what the whole one does. No labels.

Source: Hinton, Vinyals and Dean 2015 (https://arxiv.org/abs/1503.02531) for outputs, Romero et al. 2015
(https://arxiv.org/abs/1412.6550) for features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shapprune.core.checkpoint import load_checkpoint, save_checkpoint
from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.augment import augment
from shapprune.networks.modes import mode
from shapprune.networks.randomness import reproducible_convolutions
from shapprune.pruning.divergence import divergence

# How much the features before the last layer weigh beside the outputs.
_FEATURES = 10.0
_BATCH = 50
_EVERY = 100  # steps between checkpoints


def distil(
    small: nn.Module,
    model: nn.Module,
    graph: UnitGraph,
    images: Tensor,
    *,
    steps: int,
    rate: float,
    augmentation: Sequence[str] = ("shift",),
    kept: Tensor | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> None:
    """Train a smaller network, in place, to have the outputs and the last features of the network before.

    Adam runs with a cosine schedule; BatchNorms keep their statistics. Features are what the last layer reads. Their
    squared error, as a share of their mean square, weighs ten times the Kullback-Leibler divergence of the outputs.

    Args:
        small: the network that has lost units.
        model: the network before; it is left as it is.
        graph: of the network before.
        images: calibration images, [N, ...].
        steps: how many, of 50 images each.
        rate: the first learning rate.
        augmentation: what may be done to the images: ``shift`` moves them, ``flip`` mirrors them.
        kept: the features before the last layer that the smaller network still has; None for all.
        seed: of the order of images and their augmentation.
        checkpoint: a file from which the same training continues after an interruption; the caller deletes it.
        progress: report progress.

    Raises:
        ShapPruneError: the loss is no longer finite.
    """
    training = _Distilling(small, model, graph, images, steps, rate, augmentation, kept, seed)
    sums = [float(each.double().sum()) for each in (images, *small.state_dict().values())]
    identity = f"{steps} {rate} {tuple(augmentation)} {seed} {sums}"
    done = 0
    with mode(small, training=False), mode(model, training=False), reproducible_convolutions(), torch.enable_grad():
        if (saved := load_checkpoint(checkpoint, identity)) is not None:
            done = saved["step"]
            training.load_state(saved)
        remaining = range(done, steps)
        for step in track(remaining, "distilling") if progress else remaining:
            training.step(step)
            if (step + 1) % _EVERY == 0 and checkpoint is not None:
                save_checkpoint(checkpoint, identity, {"step": step + 1, **training.state()})
    training.finish()


class _Distilling:
    """A training under way."""

    def __init__(
        self,
        small: nn.Module,
        model: nn.Module,
        graph: UnitGraph,
        images: Tensor,
        steps: int,
        rate: float,
        augmentation: Sequence[str],
        kept: Tensor | None,
        seed: int,
    ):
        self._small, self._model, self._images = small, model, images
        self._steps, self._rate, self._kept = steps, rate, kept
        self._augmentation = augmentation if images.dim() == 4 else ()
        self._last = last_layer(graph)
        self._flags = [(each, each.requires_grad) for each in small.parameters()]
        floating = [each for each in small.parameters() if each.is_floating_point()]
        for each in floating:
            each.requires_grad_(True)
        self._optimizer = torch.optim.Adam(floating, lr=rate)
        self._generator = torch.Generator(images.device).manual_seed(seed)
        self._black = images.amin([0, *range(2, images.dim())]).view(1, -1, *[1] * (images.dim() - 2))
        self._order = torch.empty(0, dtype=torch.long)

    def step(self, number: int) -> None:
        """Take a step on the next images."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * (1 + math.cos(math.pi * number / self._steps)) / 2
        if not len(self._order):
            self._order = torch.randperm(len(self._images), generator=self._generator, device=self._images.device)
        chosen, self._order = self._order[:_BATCH], self._order[_BATCH:]
        batch = augment(self._images[chosen], self._augmentation, self._black, self._generator)
        with torch.no_grad():
            features, outputs = _run(self._model, self._last, batch)
        if self._kept is not None:
            features = features[..., self._kept]
        own_features, own = _run(self._small, self._last, batch)
        loss = divergence(outputs, own)
        loss = loss + _FEATURES * (own_features - features).square().mean() / features.square().mean().clamp_min(1e-12)
        if not torch.isfinite(loss):
            raise ShapPruneError(f"distilling diverged at step {number + 1} with learning rate {self._rate:g}")
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def state(self) -> dict[str, object]:
        """All that the rest of the training depends on."""
        return {
            "model": self._small.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "order": self._order,
        }

    def load_state(self, state: dict[str, object]) -> None:
        """Continue from a state that `state` returned."""
        self._small.load_state_dict(state["model"])  # type: ignore[arg-type]
        self._optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self._generator.set_state(state["generator"])  # type: ignore[arg-type]
        self._order = state["order"].to(self._images.device)  # type: ignore[attr-defined]

    def finish(self) -> None:
        """Hand the parameters back as they came, without gradients."""
        for parameter, needed in self._flags:
            parameter.grad = None
            parameter.requires_grad_(needed)


def last_layer(graph: UnitGraph) -> str:
    """The layer that runs last, usually the classifier."""
    nodes = {node: name for name, calls in graph.calls.items() for node in calls}
    return [nodes[node] for node in graph.traced.graph.nodes if node in nodes][-1]


def _run(network: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of a layer, and the outputs of the network."""
    seen: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        outputs = network(images)
    finally:
        hook.remove()
    return seen[-1], outputs

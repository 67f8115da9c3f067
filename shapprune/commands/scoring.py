"""What `score` and `prune` have in common: a network, images, the layers that can lose units, and their scores."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.commands.arguments import criterion_of
from shapprune.commands.images import UserImages, check_fit, open_images
from shapprune.commands.network import Checkpoint, open_checkpoint
from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.files import read_json
from shapprune.criteria.catalog import lookup
from shapprune.criteria.scoring import score
from shapprune.game.layer_game import LayerGame
from shapprune.game.payoffs import find_payoff
from shapprune.gpu.device import choose_device
from shapprune.graph.prunable import prunable_layers
from shapprune.graph.unit_graph import UnitGraph
from shapprune.shapley.score_files import read_scores
from shapprune.shapley.scores import UnitScores, aggregate
from shapprune.workflow.store.keys import digest


@dataclass(frozen=True, eq=False)
class Task:
    """A network, its images, and how units are scored; everything that can be checked beforehand was.

    Attributes:
        checkpoint: where the network comes from.
        model: the network, on its device, in eval mode.
        device: ``cpu`` or ``cuda``.
        outputs: how many it has.
        data: the images.
        units: layer -> how many units it has, of the layers that can lose any.
        groups: the same layers, those that lose units together side by side, in the order they run.
        criterion: its name.
        options: its options.
        payoff: what a coalition is worth.
        aggregate: how scores of images become one.
        seed: of all draws.
        places: of the scoring images.
        images: the scoring images, as the network takes them.
        labels: theirs, int64 [N].
    """

    checkpoint: Checkpoint
    model: nn.Module
    device: str
    outputs: int
    data: UserImages
    units: Mapping[str, int]
    groups: Sequence[tuple[str, ...]]
    criterion: str
    options: Mapping[str, Any]
    payoff: str
    aggregate: str
    seed: int
    places: np.ndarray
    images: Tensor
    labels: Tensor

    def game(self, layer: str, model: nn.Module | None = None) -> LayerGame:
        """The game of a layer, of the network itself or of one that has lost units."""
        model = self.model if model is None else model
        return LayerGame(model, layer, self.images, self.labels, payoff=self.payoff, examples=self.places)

    def score(self, game: LayerGame, unfinished: Path | None = None) -> UnitScores:
        """Score a layer.

        Args:
            game: the layer.
            unfinished: a file from which a scoring that was cut off goes on; it is deleted.
        """
        scores = score(game, self.criterion, seed=self.seed, checkpoint=unfinished, **self.options)
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        return scores

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the scores of a layer, and with ``digest`` 32 digits that stand for all of it."""
        content = hashlib.sha256(self.images.numpy().tobytes() + self.labels.numpy().tobytes() + self.places.tobytes())
        settings = {
            "checkpoint": self.checkpoint.sha256,
            "network": self.checkpoint.told(),
            "data": self.data.facts() | {"sha256": content.hexdigest()},
            "criterion": self.criterion,
            "options": dict(self.options),
            "payoff": self.payoff,
            "images": len(self.places),
            "seed": self.seed,
            "shapprune": metadata.version("shapprune"),
        }
        return settings | {"digest": digest(settings)}


def open_task(given: argparse.Namespace) -> Task:
    """Open and check what the arguments name.

    Raises:
        ShapPruneError: the first of them that is wrong, in a sentence.
    """
    criterion, options = criterion_of(given)
    payoff = given.payoff or "loss"
    find_payoff(payoff)
    aggregate(torch.zeros(1, 2), given.aggregate)
    device = choose_device(given.device)
    checkpoint = open_checkpoint(given)
    data = open_images(given, checkpoint)
    places = data.draw("scoring", 100 if given.images is None else given.images, given.seed)
    model = checkpoint.network(data.shape).to(device)
    images = data.scoring.read(places)
    outputs = check_fit(model, images[:2].to(device), data)
    layers = [each for each in prunable_layers(model, images[:2].to(device), coupled=given.coupled) if each.group]
    if not layers:
        raise ShapPruneError("no layer of this network can lose units; python -m shapprune layers says why")
    return Task(
        checkpoint=checkpoint,
        model=model,
        device=device,
        outputs=outputs,
        data=data,
        units={each.name: each.units for each in layers},
        groups=list(dict.fromkeys(each.group for each in layers)),
        criterion=criterion,
        options=options,
        payoff=payoff,
        aggregate=given.aggregate,
        seed=given.seed,
        places=places,
        images=images,
        labels=torch.from_numpy(data.scoring.labels[places]),
    )


def check_layers(layers: Sequence[str], task: Task) -> None:
    """Refuse a layer that cannot lose units."""
    for layer in layers:
        if layer not in task.units:
            raise unknown("layer", layer, task.units)


def check_criterion(layers: Sequence[str], task: Task) -> None:
    """Refuse layers that are too wide for the criterion, or have no BatchNorm where it needs one."""
    criterion = lookup(task.criterion)
    limit = criterion.max_units
    if limit is not None and (wide := [layer for layer in layers if task.units[layer] > limit]):
        raise ShapPruneError(
            f"{task.criterion} can do up to {limit} units, but layer {wide[0]!r} has {task.units[wide[0]]}"
        )
    if criterion.batchnorm:
        graph = UnitGraph(task.model, task.images[:2].to(task.device))
        if bare := [layer for layer in layers if graph.norm_of(layer) is None]:
            raise ShapPruneError(f"{task.criterion} needs a BatchNorm, but none follows layer {bare[0]!r}")


def read_folder(folder: Path, task: Task) -> tuple[dict[str, UnitScores], dict[str, Any]]:
    """The scores that `score` has written of layers of a network, and their common settings.

    Raises:
        ShapPruneError: there are none, or they are of another network or of several settings.
    """
    files = {layer: folder / f"{layer}.npz" for layer in task.units}
    scores = {layer: read_scores(file) for layer, file in files.items() if file.exists()}
    if not scores:
        raise ShapPruneError(f"{folder} has no scores of layers of this network ({', '.join(task.units)})")
    told = {layer: read_json(files[layer].with_suffix(".json")).get("settings", {}) for layer in scores}
    for layer, settings in told.items():
        if settings.get("checkpoint") != task.checkpoint.sha256:
            raise ShapPruneError(f"the scores {files[layer]} are of another network than {task.checkpoint.path}")
    if len({settings.get("digest") for settings in told.values()}) > 1:
        raise ShapPruneError(f"the scores in {folder} are of several settings; score all layers with the same")
    return scores, next(iter(told.values()))

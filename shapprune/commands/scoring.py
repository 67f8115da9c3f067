"""What `score` and `prune` share: a network, images, the layers that can lose units, and their scores."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shapprune.commands.arguments import COALITION_GRADIENT, read_criterion
from shapprune.commands.opening import Opened, open_network
from shapprune.commands.parts import LabelledPart
from shapprune.core.errors import ShapPruneError, because, unknown
from shapprune.core.files import read_json
from shapprune.criteria.scoring import score
from shapprune.game.branch_game import BranchGame
from shapprune.game.layer_game import LayerGame
from shapprune.game.payoffs import find_payoff
from shapprune.game.whole import WITHOUT_LABELS
from shapprune.graph.dependents import Dependencies
from shapprune.graph.prunable import PrunableLayer, layers_of
from shapprune.pruning.branches import prunable_branches
from shapprune.shapley.score_files import read_scores
from shapprune.shapley.scores import UnitScores, aggregate
from shapprune.workflow.store.keys import digest


@dataclass(frozen=True, eq=False)
class Scoring(Opened):
    """A network, its images, and how its units are scored; all of it is checked.

    Attributes:
        units: layer -> how many units it has, of the layers that can lose any.
        groups: these layers in the order they run, those together whose units leave together.
        left: the other layers -> why they lose none.
        criterion: its name.
        options: of the criterion.
        payoff: what a coalition is worth.
        aggregate: how the scores of all images become one.
        labels: of the scoring images, int64 [N]; None where branches or blocks are scored with images without classes.
        kind: ``branches`` or ``blocks`` where these are scored, as the units of one layer of that name; else None.
    """

    units: Mapping[str, int]
    groups: Sequence[tuple[str, ...]]
    left: Mapping[str, str]
    criterion: str
    options: Mapping[str, Any]
    payoff: str
    aggregate: str
    labels: Tensor | None
    kind: str | None

    @property
    def game_options(self) -> dict[str, Any]:
        """Arguments of games beside network, layer, images and labels."""
        return {"payoff": self.payoff, "examples": self.places}

    @cached_property
    def _dependencies(self) -> Dependencies:
        return Dependencies(self.model, self.example, self.graph)

    def game(self, layer: str) -> LayerGame | BranchGame:
        """Make the game of a layer; the network is traced once for all of them."""
        if self.kind is not None:
            return BranchGame(self.model, self.images, self.labels, kind=self.kind, **self.game_options)
        known = self._dependencies
        return LayerGame(self.model, layer, self.images, self.labels, dependencies=known, **self.game_options)

    def score(self, game: LayerGame | BranchGame, unfinished: Path | None = None) -> UnitScores:
        """Score a layer.

        Args:
            game: of the layer.
            unfinished: a file from which a scoring that was cut off goes on; it is deleted at the end.
        """
        scores = score(game, self.criterion, seed=self.seed, checkpoint=unfinished, **self.options)
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        return scores

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the scores of a layer; ``digest`` is 32 digits that stand for all of it."""
        labels = b"" if self.labels is None else self.labels.numpy().tobytes()
        content = hashlib.sha256(self.images.numpy().tobytes() + labels + self.places.tobytes())
        settings = {
            "checkpoint": self.checkpoint.sha256,
            "network": self.checkpoint.builder(),
            "data": self.data.facts() | {"sha256": content.hexdigest()},
            "criterion": self.criterion,
            "options": dict(self.options),
            "payoff": self.payoff,
            "images": len(self.places),
            "seed": self.seed,
            "shapprune": metadata.version("shapprune"),
        }
        settings |= {} if self.kind is None else {"kind": self.kind}
        return settings | {"digest": digest(settings)}


def open_scoring(arguments: argparse.Namespace) -> Scoring:
    """Open and check what the arguments name.

    Raises:
        ShapPruneError: an argument is wrong.
    """
    kind = arguments.kind
    if kind is None:
        criterion, options = read_criterion(arguments, COALITION_GRADIENT)
    else:
        criterion, options = read_criterion(arguments, "leave-one-out", "BranchGame")
    payoff, how = arguments.payoff or ("loss" if kind is None else "kl"), arguments.aggregate or "mean"
    find_payoff(payoff)
    aggregate(torch.zeros(1, 2), how)
    opened = open_network(arguments)
    part = opened.data.scoring
    if not isinstance(part, LabelledPart) and (kind is None or payoff not in WITHOUT_LABELS):
        raise opened.data.classes_missing("a score by the loss", f"give {opened.data.name}/CLASS/IMAGE.png")
    if kind is None:
        layers, left = _find_layers(opened, arguments.coupled)
    else:
        layers, left = {kind: (len(prunable_branches(opened.model, opened.example, kind)), (kind,))}, {}
    return Scoring(
        **{each.name: getattr(opened, each.name) for each in fields(opened)},
        units={name: units for name, (units, _) in layers.items()},
        groups=list(dict.fromkeys(group for _, group in layers.values())),
        left=left,
        criterion=criterion,
        options=options,
        payoff=payoff,
        aggregate=how,
        labels=torch.from_numpy(part.labels[opened.places]) if isinstance(part, LabelledPart) else None,
        kind=kind,
    )


def _find_layers(opened: Opened, coupled: bool | None) -> tuple[dict[str, tuple[int, tuple[str, ...]]], dict[str, str]]:
    """Find the layers that can lose units, each with their number and its group, and why the others cannot."""
    found = layers_of(opened.graph, opened.example, coupled=True)
    layers = [each for each in found if each.group and (each.coupled is None or coupled)]
    left = {each.name: _reason(each) for each in found if each not in layers}
    if not layers:
        raise ShapPruneError(f"no layer of this network can lose units ({because(left) or 'it has no hidden layer'})")
    return {each.name: (each.units, each.group) for each in layers}, left


def _reason(layer: PrunableLayer) -> str:
    return f"{layer.coupled}; --coupled takes them" if layer.group else str(layer.coupled)


def check_layers(layers: Sequence[str], scoring: Scoring) -> None:
    """Raise unless all of these layers can lose units."""
    for layer in layers:
        if layer in scoring.left:
            raise ShapPruneError(f"layer {layer!r} cannot lose units: {scoring.left[layer]}")
        if layer not in scoring.units:
            raise unknown("layer", layer, scoring.units)


def read_folder(folder: Path, scoring: Scoring) -> tuple[dict[str, UnitScores], dict[str, Any]]:
    """Read the scores that `score` has written of layers of this network.

    Returns:
        Layer -> its scores, and their common settings.

    Raises:
        ShapPruneError: there are none, or they are of another network or of different settings.
    """
    files = {layer: folder / f"{layer}.npz" for layer in scoring.units}
    scores = {layer: read_scores(file) for layer, file in files.items() if file.exists()}
    if not scores:
        raise ShapPruneError(f"{folder} has no scores of layers of this network ({', '.join(scoring.units)})")
    settings_of = {layer: read_json(files[layer].with_suffix(".json")).get("settings", {}) for layer in scores}
    for layer, settings in settings_of.items():
        if settings.get("checkpoint") != scoring.checkpoint.sha256:
            raise ShapPruneError(f"the scores {files[layer]} are of another network than {scoring.checkpoint.path}")
    if len({settings.get("digest") for settings in settings_of.values()}) > 1:
        raise ShapPruneError(f"the scores in {folder} are of several settings; score all layers with the same")
    return scores, next(iter(settings_of.values()))

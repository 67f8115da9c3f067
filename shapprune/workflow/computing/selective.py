"""Networks of which only the units of the highest scores are trained on, and what they are compared with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.criteria.scoring import score
from shapprune.data.prepared import ImageSet, draw_images, splits, tensors
from shapprune.graph.counting import count_parameters
from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import best_epoch, fit
from shapprune.parameters.low_rank import LowRank
from shapprune.parameters.selective import SelectedUnits, select_units
from shapprune.shapley.scores import UnitScores
from shapprune.workflow.computing.run import Run, measure
from shapprune.workflow.computing.unit_scores import unit_scores
from shapprune.workflow.store.work import Work, columns


def on_data(run: Run, image_set: ImageSet) -> Run:
    """A network with another data set, for which it must have the right inputs and outputs.

    Raises:
        ShapPruneError: images or sequences of another shape, or another number of classes or tokens.
    """
    own, other = run.image_set.info, image_set.info
    if (own.shape, own.classes) != (other.shape, other.classes):
        raise ShapPruneError(
            f"{run.name['net']} takes {list(own.shape)} and tells {own.classes} classes or tokens apart, but data set"
            f" {other.name!r} has {list(other.shape)} and {other.classes}"
        )
    held_back = splits(len(image_set.train_labels), len(run.validation))[1]
    return replace(run, image_set=image_set, validation=held_back)


def keep_tuned(run: Run, work: Work) -> None:
    """Train a network on by a method, measure it on test images before and after, and keep a row a task.

    The training images are drawn by the trial from those that are not held back for validation; these choose the epoch
    with the lowest loss, or the network as it was. A training that was cut off goes on from the file
    ``work.unfinished``.

    Args:
        run: the network, with the data that it is trained on with.
        work: has the tasks, which are all of one method.
    """
    scored: dict[str, UnitScores] = {}
    for label in track(list(work.missing), "trainings"):
        _keep_one(run, label, work, scored)


def _keep_one(run: Run, label: str, work: Work, scored: dict[str, UnitScores]) -> None:
    parts = work.tasks[label]["parts"]
    trial, training = parts["trial"], run.training
    chosen = training if parts["images"] == "all" else draw_images(training, parts["images"], trial)
    held = tensors(run.image_set, "train", run.validation)
    learner, trainable = _learner(run, label, work, scored)
    start = evaluate(learner, *held)
    history = fit(
        learner,
        *tensors(run.image_set, "train", chosen),
        *held,
        Recipe.of(parts["train"]),
        trial,
        run.device,
        checkpoint=work.unfinished,
        start=start,
        best="loss",
    )
    tuned = learner.merged() if isinstance(learner, SelectedUnits | LowRank) else learner
    places = run.test_places(parts["test_images"], trial)
    before = run.intact(places)
    after = measure(tuned, *tensors(run.image_set, "test", places))
    row = {
        "trainable": trainable,
        "parameters": after["parameters"],
        "epochs": best_epoch(history, start, "loss"),
        "validation_loss": evaluate(tuned, *held)[0],
        "loss_before": before["loss"],
        "accuracy_before": before["accuracy"],
        "loss": after["loss"],
        "accuracy": after["accuracy"],
        "seconds": sum(epoch["seconds"] for epoch in history),
    }
    work.keep(label, {"columns": columns([row])})
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)


def _learner(run: Run, label: str, work: Work, scored: dict[str, UnitScores]) -> tuple[nn.Module, int]:
    """A module that trains what the method of a task trains, and how many parameters that is."""
    parts = work.tasks[label]["parts"]
    if parts.get("baseline") == "full":
        whole = copy.deepcopy(run.model).requires_grad_(True)
        return whole, count_parameters(whole)
    example = tensors(run.image_set, "train", np.arange(2))[0].to(run.device)
    if "game" in parts:
        _score(run, parts, scored)
        scores = {layer: each.aggregate(parts["aggregate"]) for layer, each in scored.items()}
    else:
        scores = unit_scores(parts, label, work)
    selection = select_units(run.model, scores, parts["share"], example)
    if parts.get("baseline") == "lora":
        matrices = [name for name in selection.rows if run.model.get_parameter(name).dim() > 1]
        layers = (name.rpartition(".")[0] for name in matrices)
        adapted = LowRank(run.model, layers, selection.trainable, parts["trial"])
        return adapted, adapted.trainable
    return SelectedUnits(run.model, selection), selection.trainable


def _score(run: Run, parts: Mapping[str, Any], scored: dict[str, UnitScores]) -> None:
    """Score the units of all layers on the first trial's draw of the validation images, once a job."""
    chosen = draw_images(run.validation, parts["scoring_images"], 0)
    for layer in parts["layers"]:
        if layer not in scored:
            game = run.game(layer, "train", chosen, **parts["game"])
            scored[layer] = score(game, parts["method"], seed=0, **parts["options"])

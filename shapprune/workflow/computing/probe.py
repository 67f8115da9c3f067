"""Probes of the units that criteria choose."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapprune.core.progress import track
from shapprune.data.prepared import NOT_COUNTED, draw_images, tensors
from shapprune.parameters.probe import probe, unit_activations
from shapprune.parameters.scored_parts import highest
from shapprune.workflow.computing.run import Run
from shapprune.workflow.computing.unit_scores import unit_scores
from shapprune.workflow.store.work import Work, columns

Seen = tuple[dict[str, Tensor], Tensor]  # layer -> activations of its units [N, units, numbers]; labels [N]


def keep_probed(run: Run, work: Work) -> None:
    """Fit probes to the activations of the units that each method chooses, and keep what they tell.

    A trial draws the images that probes are fitted to, from those that are not held back, and the test images that
    measure them.

    Args:
        run: the network.
        work: has the tasks.
    """
    trials: dict[int, list[str]] = {}
    for label, task in work.missing.items():
        trials.setdefault(task["parts"]["trial"], []).append(label)
    for trial, labels in track(list(trials.items()), "trials"):
        parts = work.tasks[labels[0]]["parts"]
        train = _seen(run, "train", draw_images(run.training, parts["images"], trial), parts)
        test = _seen(run, "test", run.test_places(parts["test_images"], trial), parts)
        for label in labels:
            work.keep(label, {"columns": columns(_probes(train, test, label, work))})


def _seen(run: Run, part: str, places: np.ndarray, parts: Mapping[str, Any]) -> Seen:
    """Activations and labels: means over an image; of a sequence those of its last token and what follows it."""
    images, labels = tensors(run.image_set, part, places)
    sequences = labels.dim() > 1
    if sequences:
        counted = labels[:, -1] != NOT_COUNTED
        images, labels = images[counted], labels[counted, -1]
    return unit_activations(run.model, parts["layers"], images, "last" if sequences else "mean"), labels


def _probes(train: Seen, test: Seen, label: str, work: Work) -> Iterator[dict[str, Any]]:
    """A row a layer, and one for all layers together."""
    parts = work.tasks[label]["parts"]
    if parts.get("baseline") == "all":
        chosen = {layer: torch.arange(units) for layer, units in parts["layers"].items()}
    else:
        chosen = {layer: highest(each, parts["share"]) for layer, each in unit_scores(parts, label, work).items()}
    for name, layers in [*((layer, [layer]) for layer in chosen), ("all", list(chosen))]:
        began = time.perf_counter()
        of_train, of_test = (
            torch.cat([values[layer][:, chosen[layer]].flatten(1) for layer in layers], 1)
            for values, _ in (train, test)
        )
        found = probe(of_train, train[1], of_test, test[1], seed=parts["trial"])
        yield {
            "layer": name,
            "units": sum(len(chosen[layer]) for layer in layers),
            "features": found.features,
            "regularisation": 1 / found.inverse,
            "train_accuracy": found.train_accuracy,
            "accuracy": found.accuracy,
            "seconds": time.perf_counter() - began,
        }

"""Networks that were never trained, without the units that score below zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from shapprune.criteria.scoring import score
from shapprune.data.prepared import ImageSet, draw_images, tensors
from shapprune.gpu.device import choose_device
from shapprune.networks.builders import builder_of
from shapprune.networks.randomness import seeded
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.removal import kept_units
from shapprune.pruning.target import Target
from shapprune.workflow.computing.run import measure
from shapprune.workflow.store.work import Work, columns


def keep_untrained(image_set: ImageSet, work: Work, device: str, memory_mb: int) -> None:
    """Remove the units of an untrained network that score below zero, layer by layer, and keep each step's result.

    A run that was cut off goes on after its last finished step. The first step tells of the whole network too.

    Args:
        image_set: the data.
        work: the steps of each criterion, from the first that is done; all are of one network.
        device: ``auto``, ``cpu`` or ``cuda``.
        memory_mb: about how much memory a call of the network may take.
    """
    chains: dict[str, list[str]] = {}
    for label, task in work.tasks.items():
        chains.setdefault(task["names"]["criterion"], []).append(label)
    parts, place = next(iter(work.tasks.values()))["parts"], choose_device(device)
    with seeded(parts["seed"]):
        model = builder_of(parts["network"], image_set.info)()
    model = model.to(place).eval()
    test = tensors(image_set, "test")
    intact = {"step": 0, "layer": "", "units_left": "", **measure(model, *test)}
    for labels in chains.values():
        if any(label in work.missing for label in labels):
            _keep_steps(model, image_set, test, intact, labels, work, memory_mb)


def _keep_steps(
    model: nn.Module,
    image_set: ImageSet,
    test: tuple[Tensor, Tensor],
    intact: Mapping[str, Any],
    labels: Sequence[str],
    work: Work,
    memory_mb: int,
) -> None:
    """The steps of one criterion."""
    parts = work.tasks[labels[0]]["parts"]
    label_of = {work.tasks[label]["parts"]["layer"]: label for label in reversed(labels)}
    done = {layer: work.facts[label] for layer, label in label_of.items() if label in work.facts}
    device = next(model.parameters()).device
    chosen = draw_images(np.arange(len(image_set.train_labels)), parts["images"], trial=parts["seed"])
    images, truth = (each.to(device) for each in tensors(image_set, "train", chosen))
    steps = prune_steps(
        model,
        list(label_of),
        Target(negative=True),
        images,
        truth,
        lambda game: score(game, parts["method"], seed=parts["seed"], **parts["options"]),
        done={layer: facts["removed"] for layer, facts in done.items()},
        **parts["game"],
        examples=chosen,
        memory_mb=memory_mb,
    )
    for step in steps:
        ((layer, removed),) = step.removed.items()
        if layer not in done:
            left = len(kept_units(step.model)[layer])
            row = {"step": step.number, "layer": layer, "units_left": left, **measure(step.model, *test)}
            rows = [intact, row] if step.number == 1 else [row]
            work.keep(label_of[layer], {"removed": removed, "columns": columns(rows)})

"""Networks that were never trained, without the units that score below zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shapprune.criteria.catalog import options_of
from shapprune.criteria.scoring import score
from shapprune.data.prepared import ImageSet, draw_images, tensors
from shapprune.gpu.device import choose_device
from shapprune.networks.builders import builder_of
from shapprune.networks.randomness import seeded
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.removal import kept_units
from shapprune.pruning.target import Target
from shapprune.workflow.stages.run import measure, rules_of
from shapprune.workflow.store.work import Work, columns


def keep_untrained(
    network: Mapping[str, Any],
    image_set: ImageSet,
    seed: int,
    criterion: str,
    entry: Mapping[str, Any],
    layers: Sequence[str],
    images: int,
    scoring: Mapping[str, Any],
    work: Work,
    device: str,
    memory_mb: int,
) -> None:
    """Remove the units of an untrained network that score below zero, layer by layer, and keep each step's result.

    A run that was cut off goes on after its last finished step. The first step tells of the whole network too.

    Args:
        network: its entry in the configuration.
        image_set: its data.
        seed: of its weights, of the draw of the scoring images, and of what the criterion draws.
        criterion: the name of the criterion.
        entry: its entry in the configuration.
        layers: those that are pruned, from input to output.
        images: how many training images score.
        scoring: the configuration's ``scoring``: site, payoff and precision.
        work: has the steps, labelled ``{criterion}/{layer}``.
        device: ``auto``, ``cpu`` or ``cuda``.
        memory_mb: about how much memory a call of the network may take.
    """
    place = choose_device(device)
    with seeded(seed):
        model = builder_of(network, image_set.info)()
    model = model.to(place).eval()
    chosen = draw_images(np.arange(len(image_set.train_labels)), images, trial=seed)
    scoring_images, labels = (each.to(place) for each in tensors(image_set, "train", chosen))
    test = tensors(image_set, "test")
    done = {layer: work.facts[f"{criterion}/{layer}"] for layer in layers if f"{criterion}/{layer}" in work.facts}
    steps = prune_steps(
        model,
        layers,
        Target(negative=True),
        scoring_images,
        labels,
        lambda game: score(game, entry["method"], seed=seed, **options_of(entry)),
        done={layer: facts["removed"] for layer, facts in done.items()},
        **rules_of(scoring),
        examples=chosen,
        memory_mb=memory_mb,
    )
    rows = [{"step": 0, "layer": "", "units_left": "", **measure(model, *test)}] if len(done) < len(layers) else []
    for step in steps:
        ((layer, removed),) = step.removed.items()
        if layer not in done:
            left = len(kept_units(step.model)[layer])
            row = {"step": step.number, "layer": layer, "units_left": left, **measure(step.model, *test)}
            told = [*rows, row] if step.number == 1 else [row]
            work.keep(f"{criterion}/{layer}", {"removed": removed, "columns": columns(told)})

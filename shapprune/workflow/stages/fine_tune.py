"""Pruned networks trained again with more or less data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapprune.core.files import read_json
from shapprune.data.prepared import draw_images, splits, tensors
from shapprune.networks.builders import builder_of
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import load
from shapprune.pruning.fine_tune import fine_tune
from shapprune.pruning.removal import kept_units
from shapprune.workflow.stages.low_data import test_of
from shapprune.workflow.stages.run import Run, measure
from shapprune.workflow.store.work import Work, columns


def keep_fine_tuned(
    run: Run,
    label: str,
    folder: Path,
    recipe: Mapping[str, Any],
    test_images: int | str,
    work: Work,
    unfinished: Path | None = None,
) -> None:
    """Train a network of the low-data protocol again, and measure it on the images that measured it before.

    The training images are drawn at random from those that are not held back for validation.

    Args:
        run: the network it was made from.
        label: of the task to keep; its names are those of the chain and ``images``, how many train or ``all``.
        folder: with a folder of chains for each criterion.
        recipe: of the training.
        test_images: how many measure, drawn by the trial, or ``all``.
        work: has the task.
        unfinished: a file from which a training that was cut off goes on; it is deleted at the end.
    """
    names = work.tasks[label]["names"]
    stem = folder / label.rpartition("/")[0]
    work.require(label, "chain", stem.with_suffix(".json"))
    told = read_json(stem.with_suffix(".json"))
    training, held_back = splits(len(run.image_set.train_labels), len(run.validation))
    images = len(training) if names["images"] == "all" else names["images"]
    chosen = draw_images(training, images, names["trial"]) if images else training[:0]
    model, epochs = fine_tune(
        load(stem.with_suffix(".safetensors"), builder_of(run.network, run.image_set.info)),
        *tensors(run.image_set, "train", chosen),
        *tensors(run.image_set, "train", held_back),
        Recipe.of(recipe),
        seed=names["trial"],
        device=run.device,
        checkpoint=unfinished,
    )
    last = told["steps"][-1]["layer"] if told["steps"] else ""
    row = {
        "step": len(told["steps"]),
        "layer": last,
        "units_left": len(kept_units(model)[last]) if last else "",
        **measure(model, *test_of(run, told, test_images)),
        "epochs": epochs,
    }
    work.keep(label, {"columns": columns([row])})
    if unfinished is not None:
        unfinished.unlink(missing_ok=True)

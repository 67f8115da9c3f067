"""Pruned networks trained again with more or less data."""

from __future__ import annotations

from shapprune.core.files import read_json
from shapprune.data.prepared import draw_images, splits, tensors
from shapprune.networks.builders import builder_of
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import load
from shapprune.pruning.fine_tune import fine_tune
from shapprune.pruning.removal import kept_units
from shapprune.workflow.computing.low_data import ScoringImages
from shapprune.workflow.computing.run import Run, measure
from shapprune.workflow.store.work import Work, columns


def keep_fine_tuned(run: Run, label: str, work: Work) -> None:
    """Train a network of the low-data protocol again, and measure it on the images that measured it before.

    The training images are drawn at random from those that are not held back for validation. A training that was cut
    off goes on from the file ``work.unfinished``.

    Args:
        run: the network that it was made from.
        label: of the task.
        work: has the task.
    """
    parts, stem = work.tasks[label]["parts"], work.consumed(label, "chain")
    chain = read_json(f"{stem}.json")
    training, held_back = splits(len(run.image_set.train_labels), len(run.validation))
    images = len(training) if parts["images"] == "all" else parts["images"]
    chosen = draw_images(training, images, chain["trial"]) if images else training[:0]
    model, epochs = fine_tune(
        load(f"{stem}.safetensors", builder_of(run.network, run.image_set.info)),
        *tensors(run.image_set, "train", chosen),
        *tensors(run.image_set, "train", held_back),
        Recipe.of(parts["train"]),
        seed=chain["trial"],
        device=run.device,
        checkpoint=work.unfinished,
    )
    places = ScoringImages.read(chain).places_to_measure(run, parts["test_images"])
    last = chain["steps"][-1]["layer"] if chain["steps"] else ""
    row = {
        "step": len(chain["steps"]),
        "layer": last,
        "units_left": len(kept_units(model)[last]) if last else "",
        **measure(model, *tensors(run.image_set, "test", places)),
        "epochs": epochs,
    }
    work.keep(label, {"columns": columns([row])})
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)

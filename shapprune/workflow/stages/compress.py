"""Networks that lose units of all layers at once and are trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shapprune.data.prepared import splits, tensors
from shapprune.gpu.device import machine_facts
from shapprune.networks.latency import measure_latency
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import save
from shapprune.networks.training import best_epoch, fit
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.stages.run import Run, measure
from shapprune.workflow.store.work import Work, require, score_label


def write_compressed(
    run: Run,
    label: str,
    criterion: str,
    layers: Sequence[str],
    scores: Path,
    folder: Path,
    recipe: Mapping[str, Any],
    work: Work,
    unfinished: Path | None = None,
) -> None:
    """Make a network smaller by the scores of a criterion's first trial, train it again, write and keep it.

    Args:
        run: the network.
        label: of the task: the stem of its files below the folder. Its names are ``aggregate`` and ``target``.
        criterion: the criterion.
        layers: those that are studied.
        scores: the folder of all scores.
        folder: where the files go.
        recipe: of the training.
        work: has the task.
        unfinished: a file from which a training that was cut off goes on; it is deleted at the end.
    """
    task = work.tasks[label]
    names, parts = task["names"], task["parts"]
    scored = {}
    for layer in layers:
        stem = scores / score_label(criterion, layer, trial=0)
        require(stem.with_suffix(".json"), parts["scores"][layer])
        scored[layer] = read_scores(stem.with_suffix(".npz"))
    training, held_back = splits(len(run.image_set.train_labels), len(run.validation))
    held = tensors(run.image_set, "train", held_back)
    test = tensors(run.image_set, "test")
    size = dict(parts["to"])
    skip = size.pop("skip", [])
    (step,) = prune_steps(
        run.model,
        [layer for layer in layers if layer not in skip],
        Target(**size),
        test[0][:2].to(run.device),
        stored=scored,
        aggregate=names["aggregate"],
        sequential=False,
    )
    small = step.model
    before = measure(small, *test)
    recipe_ = Recipe.of(recipe)
    train = tensors(run.image_set, "train", training)
    history = fit(small, *train, *held, recipe_, run.name["seed"], run.device, checkpoint=unfinished)
    small.eval()
    chosen = measure(small, *held)
    facts = {
        **names,
        "network": dict(run.network),
        **measure(small, *test),
        "loss_before": before["loss"],
        "accuracy_before": before["accuracy"],
        "validation_loss": chosen["loss"],
        "validation_accuracy": chosen["accuracy"],
        "intact": measure(run.model, *test),
        "latency": {
            name: asdict(measure_latency(network, test[0][:1].to(run.device)))
            for name, network in (("intact", run.model), ("compressed", small))
        },
        "epochs": best_epoch(history),
        "history": history,
        **machine_facts(run.device),
    }
    save(small, folder / f"{label}.safetensors", **facts)
    work.keep_files(label, folder, ".safetensors")
    if unfinished is not None:
        unfinished.unlink(missing_ok=True)

"""Networks that lose units of all layers at once and are trained again."""

from __future__ import annotations

from dataclasses import asdict

from shapprune.data.prepared import splits, tensors
from shapprune.gpu.device import machine_facts
from shapprune.networks.latency import measure_latencies
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import save
from shapprune.networks.training import best_epoch, fit
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.computing.run import Run, measure
from shapprune.workflow.store.work import Work


def keep_compressed(run: Run, label: str, work: Work) -> None:
    """Make a network smaller by the scores of a criterion's first trial, train it again, and keep it.

    A training that was cut off goes on from the file ``work.unfinished``.

    Args:
        run: the network.
        label: of the task.
        work: has the task.
    """
    names, parts = work.tasks[label]["names"], work.tasks[label]["parts"]
    scored = {layer: read_scores(f"{work.consumed(label, 'scores', layer)}.npz") for layer in parts["scores"]}
    training, held_back = splits(len(run.image_set.train_labels), len(run.validation))
    held = tensors(run.image_set, "train", held_back)
    test = tensors(run.image_set, "test")
    size = dict(parts["to"])
    skip = size.pop("skip", [])
    (step,) = prune_steps(
        run.model,
        [layer for layer in scored if layer not in skip],
        Target(**size),
        test[0][:2].to(run.device),
        stored=scored,
        aggregate=parts["aggregate"],
        sequential=False,
    )
    small = step.model
    before = measure(small, *test)
    recipe = Recipe.of(parts["train"])
    train = tensors(run.image_set, "train", training)
    history = fit(small, *train, *held, recipe, run.name["seed"], run.device, checkpoint=work.unfinished)
    small.eval()
    chosen = measure(small, *held)
    latencies = measure_latencies([run.model, small], test[0][:1].to(run.device))
    facts = {
        **names,
        "network": dict(run.network),
        **measure(small, *test),
        "loss_before": before["loss"],
        "accuracy_before": before["accuracy"],
        "validation_loss": chosen["loss"],
        "validation_accuracy": chosen["accuracy"],
        "intact": run.intact(run.test),
        "latency": dict(zip(("intact", "compressed"), map(asdict, latencies), strict=True)),
        "epochs": best_epoch(history),
        "history": history,
        **machine_facts(run.device),
    }
    save(small, work.path(label, ".safetensors"), **facts)
    work.keep_files(label, ".safetensors")
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)

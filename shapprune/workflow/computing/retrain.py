"""Networks that fit budgets, trained on."""

from __future__ import annotations

from shapprune.core.files import read_json
from shapprune.data.prepared import splits, tensors
from shapprune.gpu.device import machine_facts
from shapprune.networks.builders import builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import load, save
from shapprune.networks.teacher import Teacher
from shapprune.networks.training import best_epoch, fit
from shapprune.workflow.computing.run import Run, measure
from shapprune.workflow.store.work import Work


def keep_retrained(run: Run, label: str, work: Work) -> None:
    """Train a network that fits a budget on, with the whole network as its teacher, measure it, and keep it.

    It trains on all images that are not held back; those that are choose the epoch, or the network as it was. A
    training that was cut off goes on from the file ``work.unfinished``.

    Args:
        run: the network that it was made from.
        label: of the task.
        work: has the task.
    """
    parts, stem = work.tasks[label]["parts"], work.consumed(label, "fitted")
    fitted = read_json(f"{stem}.json")
    small = load(f"{stem}.safetensors", builder_of(run.network, run.image_set.info)).to(run.device).eval()
    places = splits(len(run.image_set.train_labels), len(run.validation))
    training, held_back = (tensors(run.image_set, "train", some) for some in places)
    start = evaluate(small, *held_back)
    history = fit(
        small,
        *training,
        *held_back,
        Recipe.of(parts["train"]),
        fitted["trial"],
        run.device,
        checkpoint=work.unfinished,
        start=start,
        teacher=Teacher(run.model, parts["teacher"]) if parts["teacher"] else None,
    )
    loss, accuracy = evaluate(small, *held_back)
    test = run.test_places(parts["test_images"], fitted["trial"])
    facts = {
        **work.tasks[label]["names"],
        "network": dict(run.network),
        **measure(small, *tensors(run.image_set, "test", test)),
        "loss_before": fitted["loss"],
        "accuracy_before": fitted["accuracy"],
        "intact_accuracy": fitted["intact_accuracy"],
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "epochs": best_epoch(history, start),
        "seconds": sum(row["seconds"] for row in history),
        "history": history,
        **machine_facts(run.device),
    }
    save(small, work.path(label, ".safetensors"), **facts)
    work.keep_files(label, ".safetensors")
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)

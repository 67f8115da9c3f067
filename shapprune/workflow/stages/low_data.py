"""Networks pruned layer by layer with little data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from shapprune.core.files import read_json
from shapprune.criteria.catalog import options_of
from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images, rest, tensors
from shapprune.gpu.device import machine_facts
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.storage import save
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.removal import kept_units
from shapprune.pruning.target import Target
from shapprune.workflow.stages.run import Run, measure, rules_of
from shapprune.workflow.store.work import Work, columns


def write_chain(
    run: Run,
    label: str,
    steps: Mapping[str, str],
    folder: Path,
    entry: Mapping[str, Any],
    images: int,
    scoring: Mapping[str, Any],
    work: Work,
    of_steps: Work,
) -> None:
    """Prune a network layer by layer with little data; write what is left, with the steps in its manifest, and keep it.

    A chain that was cut off goes on after its last finished step.

    Args:
        run: the network.
        label: the chain's: the stem of its files below the folder.
        steps: layer -> label of the step that prunes it, in the order of the layers.
        folder: where the files go.
        entry: the criterion's entry in the configuration.
        images: how many test images score.
        scoring: the configuration's ``scoring``: site, payoff and precision.
        work: has the chain; its names are aggregate, ratio, repair and trial beside those of the run and the criterion.
        of_steps: has the steps.
    """
    names = work.tasks[label]["names"]
    chain = {key: names[key] for key in ("aggregate", "ratio", "repair", "trial")}
    of_steps.find(steps.values())
    done = {layer: of_steps.facts[step] for layer, step in steps.items() if step in of_steps.facts}
    chosen = draw_images(run.test, images, chain["trial"])
    scoring_images, labels = (each.to(run.device) for each in tensors(run.image_set, "test", chosen))
    model, told = run.model, []
    for step in prune_steps(
        model,
        list(steps),
        Target(ratio=chain["ratio"]),
        scoring_images,
        labels,
        lambda game: score(game, entry["method"], seed=chain["trial"], **options_of(entry)),
        aggregate=chain["aggregate"],
        done={layer: facts["removed"] for layer, facts in done.items()},
        repair=chain["repair"],
        **rules_of(scoring),
        examples=chosen,
        memory_mb=run.memory_mb,
    ):
        model = step.model
        ((layer, removed),) = step.removed.items()
        if layer in done:
            told.append(done[layer])
            continue
        scores = step.scores[layer]
        cost = {"evaluations": scores.evaluations, "seconds": round(scores.seconds, 6)}
        told.append({"layer": layer, "removed": removed, **cost})
        of_steps.keep(steps[layer], told[-1])
    size = {"parameters": count_parameters(model), "macs": count_macs(model, scoring_images)}
    facts = {**names, **size, "steps": told, "images": chosen.tolist(), **machine_facts(run.device)}
    save(model, folder / f"{label}.safetensors", **facts)
    work.keep_files(label, folder, ".safetensors")


def keep_evaluation(run: Run, label: str, folder: Path, test_images: int | str, work: Work) -> None:
    """Measure a low-data chain: the network as it was and after each step, on test images that did not score.

    Args:
        run: the network.
        label: of the task to keep.
        folder: with a folder of chains for each criterion.
        test_images: how many, drawn by the trial, or ``all``.
        work: has the task; its label is the stem of the chain's files below the folder.
    """
    work.require(label, "chain", folder / f"{label}.json")
    told = read_json(folder / f"{label}.json")
    used = np.array(told["images"])
    images, labels = test_of(run, told, test_images)
    scoring_images = tensors(run.image_set, "test", used)[0].to(run.device)
    removed = {step["layer"]: step["removed"] for step in told["steps"]}
    steps = prune_steps(
        run.model,
        list(reversed(removed)),  # they are told in the order they were done
        Target(ratio=told["ratio"]),
        scoring_images,
        done=removed,
        repair=told["repair"],
    )
    rows = [{"step": 0, "layer": "", "units_left": "", **measure(run.model, images, labels)}]
    for step in steps:
        (layer,) = step.removed
        left = len(kept_units(step.model)[layer])
        rows.append({"step": step.number, "layer": layer, "units_left": left, **measure(step.model, images, labels)})
    work.keep(label, {"columns": columns(rows)})


def test_of(run: Run, chain: Mapping[str, Any], test_images: int | str) -> tuple[Tensor, Tensor]:
    """The images that measure a chain, and their labels: test images that did not score.

    Args:
        run: the network.
        chain: the manifest of the chain.
        test_images: how many, drawn by the trial, or ``all``.
    """
    others = rest(run.test, np.array(chain["images"]))
    if test_images != "all":
        others = draw_images(others, int(test_images), chain["trial"])
    return tensors(run.image_set, "test", others)

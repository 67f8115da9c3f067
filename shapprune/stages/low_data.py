"""Networks pruned layer by layer with little data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shapprune.counting import count_macs, count_parameters
from shapprune.criteria import score
from shapprune.criteria.catalog import options_of
from shapprune.data import draw_images, rest, tensors
from shapprune.files import read_json
from shapprune.gpu import machine_facts
from shapprune.networks.storage import save
from shapprune.protocols.low_data import prune_sequentially
from shapprune.removal import kept_units, remove_units
from shapprune.stages.run import Run, rules_of
from shapprune.training import evaluate
from shapprune.work import Work, columns


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
        work: has the chain; its names are aggregate, ratio and trial beside those of the run and the criterion.
        of_steps: has the steps.
    """
    names = work.units[label]["names"]
    chain = {key: names[key] for key in ("aggregate", "ratio", "trial")}
    of_steps.find(steps.values())
    done = {layer: of_steps.facts[step] for layer, step in steps.items() if step in of_steps.facts}
    chosen = draw_images(run.test, images, chain["trial"])
    scoring_images, labels = (each.to(run.device) for each in tensors(run.image_set, "test", chosen))
    model, told = run.model, []
    for step in prune_sequentially(
        model,
        list(steps),
        scoring_images,
        labels,
        lambda game: score(game, entry["method"], seed=chain["trial"], **options_of(entry)),
        chain["ratio"],
        chain["aggregate"],
        done={layer: facts["removed"] for layer, facts in done.items()},
        **rules_of(scoring),
        examples=chosen,
        memory_mb=run.memory_mb,
    ):
        model = step.model
        if step.scores is None:
            told.append(done[step.layer])
            continue
        cost = {"evaluations": step.scores.evaluations, "seconds": round(step.scores.seconds, 6)}
        told.append({"layer": step.layer, "removed": step.removed, **cost})
        of_steps.keep(steps[step.layer], told[-1])
    facts = {**names, "steps": told, "images": chosen.tolist(), **machine_facts(run.device)}
    save(model, folder / f"{label}.safetensors", **facts)
    work.keep_files(label, folder, ".safetensors")


def keep_evaluation(run: Run, label: str, folder: Path, work: Work) -> None:
    """Measure a low-data chain: the network as it was and after each step, on all test images that did not score.

    Args:
        run: the network.
        label: of the unit to keep.
        folder: with a folder of chains for each criterion.
        work: has the unit; its label is the stem of the chain's files below the folder.
    """
    work.require(label, "chain", folder / f"{label}.json")
    told = read_json(folder / f"{label}.json")
    images, labels = tensors(run.image_set, "test", rest(run.test, np.array(told["images"])))
    example = images[:2].to(run.device)
    model, rows = run.model, []
    first = {"layer": "", "removed": []}
    for number, step in enumerate([first, *told["steps"]]):
        left: Any = ""
        if step["layer"]:
            model = remove_units(model, {step["layer"]: step["removed"]}, example)
            left = len(kept_units(model)[step["layer"]])
        loss, accuracy = evaluate(model, images, labels)
        rows.append(
            {
                "step": number,
                "layer": step["layer"],
                "units_left": left,
                "loss": loss,
                "accuracy": accuracy,
                "parameters": count_parameters(model),
                "macs": count_macs(model, example),
            }
        )
    work.keep(label, {"columns": columns(rows)})

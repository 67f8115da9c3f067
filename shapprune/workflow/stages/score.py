"""Scores of the units of a layer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapprune.criteria.catalog import AGGREGATES, options_of
from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images
from shapprune.gpu.device import machine_facts
from shapprune.shapley.score_files import write_scores
from shapprune.workflow.stages.run import Run, rules_of
from shapprune.workflow.store.work import Work, score_label


def write_layer_scores(
    run: Run,
    layer: str,
    folder: Path,
    criteria: Mapping[str, Mapping[str, Any]],
    scoring: Mapping[str, Any],
    work: Work,
    unfinished: Path | None = None,
) -> None:
    """Score a layer by several criteria, each in its number of trials; what is missing is written and kept.

    The files are ``{criterion}/{layer}/trial{trial}.npz``, and ``.json`` beside each.

    A trial is a draw of scoring images from the validation images, the same for all criteria, and the seed of what a
    criterion draws itself.

    Args:
        run: the network.
        layer: the layer.
        folder: where the files go.
        criteria: entries of the configuration's ``criteria``.
        scoring: the configuration's ``scoring``.
        work: its missing tasks are made; their labels are the stems of their files below the folder.
        unfinished: a folder for the checkpoints of long scorings, from which a call that was cut off goes on; it is
            deleted when all files are written.
    """
    for trial in range(max(entry["trials"] for entry in criteria.values())):
        stems = {name: score_label(name, layer, trial) for name in criteria}
        wanted = [name for name in criteria if stems[name] in work.missing]
        if not wanted:
            continue
        chosen = draw_images(run.validation, scoring["images"], trial)
        game = run.game(layer, "train", chosen, **rules_of(scoring))
        for name in wanted:
            entry, stem = criteria[name], stems[name]
            checkpoint = None if unfinished is None else unfinished / f"{name}-trial{trial}.pt"
            scores = score(game, entry["method"], seed=trial, checkpoint=checkpoint, **options_of(entry))
            facts = {
                **run.name,
                "layer": layer,
                "criterion": name,
                "options": options_of(entry),
                "trial": trial,
                **rules_of(scoring),
                **machine_facts(run.device),
            }
            write_scores(folder / f"{stem}.npz", scores, chosen, facts, {*AGGREGATES, *entry["aggregates"]})
            work.keep_files(stem, folder, ".npz")
            open_end = ", not settled: the permutations were spent first" if scores.settled is False else ""
            cost = f"{scores.evaluations:g} evaluations, {scores.seconds:.2f} s{open_end}"
            print(f"{layer}: {name}, trial {trial}: {cost}", flush=True)
    if unfinished is not None:
        shutil.rmtree(unfinished, ignore_errors=True)

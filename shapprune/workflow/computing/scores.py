"""Scores of the units of layers."""

from __future__ import annotations

import shutil

from shapprune.criteria.catalog import AGGREGATES
from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images
from shapprune.gpu.device import machine_facts
from shapprune.shapley.score_files import write_scores
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work


def keep_scores(run: Run, work: Work) -> None:
    """Score layers by several criteria, each in its number of trials, and keep the scores.

    A trial is a draw of scoring images from the validation images, the same for all criteria, and the seed of what a
    criterion draws itself. Long scorings leave checkpoints in the folder ``work.unfinished``.

    Args:
        run: the network.
        work: the missing tasks, one a criterion, layer and trial.
    """
    games: dict[tuple[str, int], list[str]] = {}
    for label, task in work.missing.items():
        games.setdefault((task["parts"]["layer"], task["parts"]["trial"]), []).append(label)
    for (layer, trial), labels in games.items():
        parts = work.tasks[labels[0]]["parts"]
        chosen = draw_images(run.validation, parts["images"], trial)
        game = run.game(layer, "train", chosen, **parts["game"])
        for label in labels:
            parts, name = work.tasks[label]["parts"], work.tasks[label]["names"]["criterion"]
            checkpoint = None if work.unfinished is None else work.unfinished / f"{name}-trial{trial}.pt"
            scores = score(game, parts["method"], seed=trial, checkpoint=checkpoint, **parts["options"])
            facts = {
                **run.name,
                "layer": layer,
                "criterion": name,
                "options": parts["options"],
                "trial": trial,
                **parts["game"],
                **machine_facts(run.device),
            }
            write_scores(work.path(label, ".npz"), scores, chosen, facts, {*AGGREGATES, *parts["errors of"]})
            work.keep_files(label, ".npz")
            open_end = ", not settled: the permutations were spent first" if scores.settled is False else ""
            cost = f"{scores.evaluations:g} evaluations, {scores.seconds:.2f} s{open_end}"
            print(f"{layer}: {name}, trial {trial}: {cost}", flush=True)
    if work.unfinished is not None:
        shutil.rmtree(work.unfinished, ignore_errors=True)

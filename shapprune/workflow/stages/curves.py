"""Removal curves of a layer."""

from __future__ import annotations

from pathlib import Path

from shapprune.data.prepared import draw_images
from shapprune.pruning.curves import removal_curve
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.stages.run import Run
from shapprune.workflow.store.work import Work, score_label


def keep_curves(run: Run, layer: str, folder: Path, images: int, work: Work) -> None:
    """Measure the loss and accuracy of a layer along removal orders, and keep them.

    All curves are of the same test images, drawn once; units are removed for good, whatever site they were scored at.

    Args:
        run: the network.
        layer: the layer.
        folder: of the scores.
        images: how many test images measure.
        work: the missing tasks, one an order; their names say which criterion, aggregate and trial gave it.
    """
    game = run.game(layer, "test", draw_images(run.test, images, trial=0))
    for label, task in list(work.missing.items()):
        names = task["names"]
        stem = folder / score_label(names["criterion"], layer, names["trial"])
        work.require(label, "scores", stem.with_suffix(".json"))
        curve = removal_curve(game, read_scores(stem.with_suffix(".npz")).order(names["aggregate"]).numpy())
        removed = list(range(len(curve.loss)))
        told = {"removed": removed, "loss": curve.loss.tolist(), "accuracy": curve.accuracy.tolist()}
        work.keep(label, {"columns": told})

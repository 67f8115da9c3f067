"""Removal curves of a layer."""

from __future__ import annotations

from shapprune.data.prepared import draw_images
from shapprune.game.protocol import PayoffGame
from shapprune.pruning.curves import removal_curve
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work


def keep_curves(run: Run, work: Work) -> None:
    """Measure loss and accuracy along removal orders of a layer, and keep them.

    All curves are of the same test images, drawn once. Units are removed for good, at whatever site they were scored,
    and branches and blocks are skipped.

    Args:
        run: the network.
        work: the missing tasks, one an order; all are of the same layer and number of images.
    """
    game: PayoffGame | None = None
    for label, task in list(work.missing.items()):
        parts = task["parts"]
        if game is None:
            game = run.game(parts["layer"], "test", draw_images(run.test, parts["images"], trial=0))
        scores = read_scores(f"{work.consumed(label, 'scores')}.npz")
        curve = removal_curve(game, scores.order(parts["aggregate"]).numpy(), parts["points"])
        measured = {name: getattr(curve, name).tolist() for name in ("removed", "loss", "accuracy")}
        work.keep(label, {"columns": measured})

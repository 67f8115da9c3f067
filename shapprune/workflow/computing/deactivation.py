"""Networks whose lowest units are zero."""

from __future__ import annotations

from shapprune.core.progress import track
from shapprune.data.prepared import tensors
from shapprune.parameters.deactivation import deactivate
from shapprune.parameters.units import Pools
from shapprune.workflow.computing.comparison import Comparison
from shapprune.workflow.computing.run import Run
from shapprune.workflow.computing.unit_scores import unit_scores
from shapprune.workflow.store.work import Work


def keep_deactivated(run: Run, work: Work) -> None:
    """Set the lowest share of the units of every layer to zero, by stored scores, and keep what that does.

    All are measured on the same test images, drawn once.

    Args:
        run: the network.
        work: the missing tasks, one a share of an order; all with one number of test images.
    """
    pools, comparison = Pools(run.model, tensors(run.image_set, "test", run.test[:2])[0].to(run.device)), None
    for label, task in track(list(work.missing.items()), "orders and shares"):
        parts = task["parts"]
        if comparison is None:
            comparison = Comparison(run, run.test_places(parts["test_images"], trial=0))
        scores = unit_scores(parts, label, work)
        left = deactivate(run.model, scores, parts["share"], pools, scope=parts["scope"])
        counts = [len(each) for each in scores.values()]
        units = {"deactivated": sum(int(count * parts["share"]) for count in counts), "units": sum(counts)}
        measured = {**units, **comparison.measure(left)}
        work.keep(label, {"columns": {name: [value] for name, value in measured.items()}})

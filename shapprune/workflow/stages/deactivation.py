"""Networks whose lowest units are zero: what `deactivate_units` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.scores import scores_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table


class DeactivateUnits(Stage):
    """Loss and accuracy with the lowest units of every layer at zero, for each share and criterion."""

    rule = "deactivate_units"
    section = "deactivation"
    outputs = {"table": f"{RUN}/deactivated.csv", "manifest": f"{RUN}/deactivated.json"}
    place = f"{RUN}/deactivated.json"
    columns = (
        *("net", "seed", "criterion", "aggregate", "trial", "share", "deactivated", "units"),
        *("loss", "accuracy", "test_agreement", "intact_loss", "intact_accuracy"),
    )
    tables = (Table("deactivated", columns, title="Deactivated units"),)
    optional = True
    logged = "criterion"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job, where there are criteria, and layers whose units can leave."""
        yield from [{}] if self.config["deactivation"]["criteria"] and self.study.removable(net) else []

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a share of an order; the orders are those of the criteria's scores, in all their trials."""
        section = self.config["deactivation"]
        for criterion in section["criteria"]:
            settings = self.config["criteria"][criterion]
            for trial in range(settings["trials"]):
                layers = self.study.removable(at["net"])
                scores = {layer: scores_of(self, at, layer, criterion, trial) for layer in layers}
                for aggregate in settings["aggregates"]:
                    for share in section["shares"]:
                        names = {"criterion": criterion, "aggregate": aggregate, "trial": trial, "share": share}
                        yield self.task(
                            at,
                            f"{criterion}/{aggregate}/trial{trial}/share{share:.12g}",
                            {"aggregate": aggregate, "share": share}
                            | {name: section[name] for name in ("scope", "test_images")},
                            consumes={"model": self.network(at), "scores": scores},
                            names=names,
                        )

"""Networks that were never trained, without the units that score below zero: what `prune_untrained` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.low_data import STEP
from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table, functions_of, game_options, method_of
from shapprune.workflow.stages.train import network_functions, start_of


class PruneUntrained(Stage):
    """The steps of each criterion, in which one layer after the other loses the units that score below zero."""

    rule = "prune_untrained"
    section = "untrained"
    outputs = {"table": f"{RUN}/untrained.csv", "manifest": f"{RUN}/untrained.json"}
    place = f"{RUN}/untrained.json"
    columns = ("net", "seed", "criterion", "aggregate", *STEP)
    tables = (Table("untrained", columns, title="Untrained networks"),)
    optional = True
    logged = "untrained"

    def jobs(self) -> Iterator[dict[str, Any]]:
        """One job a network and seed."""
        for net, network in self.study.untrained.items():
            yield from ({"net": net, "seed": seed} for seed in network["seeds"])

    def tasks(self, at: Place) -> Iterator[Planned]:
        """The steps of each criterion, from the first that is done, that of the last layer."""
        section, network = self.config["untrained"], self.study.untrained[at["net"]]
        start = {"network": start_of(network, self.config), "seed": at["seed"], "images": section["images"]}
        start["game"] = game_options(self.config)
        for criterion in section["criteria"]:
            settings, before = self.config["criteria"][criterion], None
            for layer in reversed(self.study.layers(at["net"])):
                before = self.task(
                    at,
                    f"{criterion}/{layer}",
                    {**start, **method_of(settings), "layer": layer},
                    consumes={"step before": before} if before else {},
                    names={"criterion": criterion, "aggregate": "mean"},
                    functions=(*functions_of(settings), *network_functions(network, self.config)),
                )
                yield before

"""Probes of units: what `probe_units` makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapprune.workflow.stages.scores import scores_of
from shapprune.workflow.stages.stage import RUN, Place, Planned, Stage, Table

# What criteria are compared with: as many units drawn at random, and all units.
BASELINES = ("random", "all")


class ProbeUnits(Stage):
    """What classifiers tell from the activations of the units that each method chooses, layer by layer and together."""

    rule = "probe_units"
    section = "probe"
    outputs = {"table": f"{RUN}/probed.csv", "manifest": f"{RUN}/probed.json"}
    place = f"{RUN}/probed.json"
    columns = (
        *("net", "seed", "method", "aggregate", "share", "images", "trial", "layer", "units", "features"),
        *("regularisation", "train_accuracy", "accuracy", "seconds"),
    )
    tables = (Table("probed", columns, title="Probes"),)
    optional = True
    logged = "probed"

    def places(self, net: str) -> Iterator[dict[str, Any]]:
        """One job, if there are methods, and layers whose units can leave."""
        if self.config["probe"]["methods"] and self.study.removable(net):
            yield {}

    def tasks(self, at: Place) -> Iterator[Planned]:
        """One task a method, aggregate and trial."""
        section, layers = self.config["probe"], self.study.removable(at["net"])
        same = {name: section[name] for name in ("images", "test_images")} | {"layers": layers}
        for method in section["methods"]:
            share = 1.0 if method == "all" else section["share"]
            parts: dict[str, Any] = {**same, "share": share}
            consumes: dict[str, Any] = {"model": self.network(at)}
            aggregates = ["mean"]
            if method in BASELINES:
                parts["baseline"] = method
            else:
                consumes["scores"] = {layer: scores_of(self, at, layer, method, 0) for layer in layers}
                aggregates = self.config["criteria"][method]["aggregates"]
            for aggregate in aggregates:
                scored = {} if method in BASELINES else {"aggregate": aggregate}
                for trial in range(section["trials"]):
                    names = {"method": method, "aggregate": aggregate, "share": share, "images": section["images"]}
                    yield self.task(
                        at,
                        f"{method}/{aggregate}/trial{trial}",
                        {**parts, **scored, "trial": trial},
                        consumes=consumes,
                        names={**names, "trial": trial},
                    )
